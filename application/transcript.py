"""What was said on a branch, page by page: when, by whom, as people read it and as it was kept."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from lastresort.domain.events import AssistantTurnTaken, ContentErased, RecordedEvent, UserTurnTaken
from lastresort.domain.turn_text import foreign_id_in, messages_in, readable, said_by
from lastresort.domain.values import MOST_POSITION, Actor, ErasureCause

from .ports import Place
from .reading import Reading
from .words import Words

MOST_TURNS = 1_000
Block = Mapping[str, Any]


class TranscriptTurn(NamedTuple):
    """A turn that was taken.

    Attributes:
        version: on the path, as `edit`, `retry` and `erase` take it.
        branch: the branch that it was recorded on, of whose path this one's begins.
        at: when it was recorded, ISO 8601 in UTC.
        speaker: `user` or `assistant`.
        by: the actor; a model's id is its name.
        text: what people read of it; None where its words are gone.
        blocks: its content blocks, as they were kept: thinking and calls of tools too. Plain text is one block.
        foreign_id: the id that it has in another system, if it was recorded with one.
        erased: why its words were erased. If they are gone and this is None, the store never had them.
        overtook: what the user was shown of answers to the turn before, which this one overtook. They are on record
            beside the log, and erased with this turn.
        stop_reason: why the model stopped, as it was recorded; `stopped` and `dropped` are of an answer that is not
            whole.
    """

    version: int
    branch: str
    at: str
    speaker: Literal["user", "assistant"]
    by: Actor
    text: str | None
    blocks: tuple[Block, ...]
    foreign_id: str | None
    erased: ErasureCause | None
    overtook: tuple[str, ...] = ()
    stop_reason: str | None = None


class TranscriptPage(NamedTuple):
    """A part of a transcript, and where to go on: `after` is None if this is the end of it."""

    turns: tuple[TranscriptTurn, ...]
    after: int | None


def transcript_page(reading: Reading, words: Words, branch: str, after: int, limit: int | None) -> TranscriptPage:
    """Return the turns on a path after a version, `limit` of them at most.

    Raises:
        UnknownBranch: the store has no such branch.
        SealBroken: kept bytes are not what was sealed there.
        ValueError: `after` or `limit` is out of range.
    """
    if type(after) is not int or not 0 <= after <= MOST_POSITION:
        raise ValueError("after: a version, or 0")
    if limit is not None and (type(limit) is not int or not 1 <= limit <= MOST_TURNS):
        raise ValueError(f"limit: from 1 to {MOST_TURNS}, or None")
    path = reading.path(branch)
    taken = [one for one in path if one.version > after and isinstance(one.event, UserTurnTaken | AssistantTurnTaken)]
    shown = taken[:limit]
    said = words.on(shown)
    gone = any(_digest(one) not in said for one in shown)
    erased = erasures(reading.tree_log(branch)) if gone else {}
    turns = tuple(_turn(one, said.get(_digest(one)), erased.get(_digest(one))) for one in shown)
    if overtook := overtaken_on(words, reading.tree_of(branch), path):
        turns = tuple(one._replace(overtook=overtook.get(Place(one.branch, one.version), ())) for one in turns)
    return TranscriptPage(turns, shown[-1].version if len(taken) > len(shown) else None)


def overtaken_on(words: Words, tree: str, path: Iterable[RecordedEvent]) -> dict[Place, tuple[str, ...]]:
    """Return what people read of answers that a turn of the user overtook, by the place of that turn.

    There is none unless two turns of the user follow each other, so otherwise nothing is read for it.
    """
    waits = False
    for one in path:
        if isinstance(one.event, UserTurnTaken) and waits:
            shown = words.annotator.shown(tree)
            return {place: tuple(said_by("assistant", said) for said in answers) for place, answers in shown.items()}
        waits = isinstance(one.event, UserTurnTaken) or (waits and not isinstance(one.event, AssistantTurnTaken))
    return {}


def _digest(recorded: RecordedEvent) -> str:
    assert isinstance(recorded.event, UserTurnTaken | AssistantTurnTaken)
    return recorded.event.content


def erasures(log: Iterable[RecordedEvent]) -> dict[str, ErasureCause]:
    """Return why words were erased, by digest."""
    erasures = (recorded.event for recorded in log if isinstance(recorded.event, ContentErased))
    return {digest: erasure.cause for erasure in erasures for digest in erasure.contents}


def _turn(recorded: RecordedEvent, words: str | None, erased: ErasureCause | None) -> TranscriptTurn:
    speaker: Literal["user", "assistant"] = "user" if isinstance(recorded.event, UserTurnTaken) else "assistant"
    return TranscriptTurn(
        version=recorded.version,
        branch=recorded.branch,
        at=recorded.recorded_at,
        speaker=speaker,
        by=recorded.event.by,
        text=None if words is None else readable(recorded, words),
        blocks=() if words is None else blocks_of(recorded, words),
        foreign_id=None if words is None else foreign_id_in(words),
        erased=erased,
        stop_reason=recorded.event.stop_reason if isinstance(recorded.event, AssistantTurnTaken) else None,
    )


def blocks_of(recorded: RecordedEvent, words: str) -> tuple[Block, ...]:
    """Return the content blocks of an event's words, those of the messages of the one who speaks in it."""
    speaker = "assistant" if isinstance(recorded.event, AssistantTurnTaken) else "user"
    kept = messages_in(words)
    if kept is None:
        return ({"type": "text", "text": words},)
    return tuple(block for message in kept["messages"] if message["role"] == speaker for block in message["content"])
