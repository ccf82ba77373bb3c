"""What a page of the chat shows of a branch: its turns with the ways on from each, and what stands below them."""

import base64
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from lastresort.adapters.service import looking
from lastresort.adapters.service.tenants import Caller
from lastresort.application.arguments import Content
from lastresort.application.chat import Chat
from lastresort.application.directory import ConversationRow, Metadata
from lastresort.application.transcript import TranscriptTurn
from lastresort.domain.events import AssistantTurnTaken, FeedbackGiven, RecordedEvent, UserTurnTaken
from lastresort.projections.branches import Crossing, siblings

from .markdown import rendered
from .rendering import named
from .visitors import account_of

WINDOW = 100
"""Turns on a page; the earlier ones are a link away."""
_LISTED, _SEARCHED = 60, 1_000
_TITLE = 60
ATTACHMENTS = ("image", "document", "search_result", "container_upload")
"""The types of content blocks of a user's message that are no text."""
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")


class Arrows(NamedTuple):
    """Where one stands among several ways on, from 1, and where the ways beside it lead. They part after `at`."""

    at: int
    place: int
    of: int
    before: str | None
    after: str | None
    ended: bool
    ended_beside: int


class Attached(NamedTuple):
    """What came with a message: a picture to look at, or the name of a file, or of its kind if it has none.

    `block` is its place among the content blocks of the message.
    """

    block: int
    kind: str
    picture: str | None


class TurnView(NamedTuple):
    """A turn as it is shown."""

    version: int
    speaker: str
    at: str
    text: str | None
    html: Markup
    attached: tuple[Attached, ...]
    arrows: Arrows | None
    stopped: bool
    overtook: tuple[Markup, ...]


class ChatView(NamedTuple):
    """A branch as it is shown.

    Attributes:
        waits: the user turn that waits for its answer; 0 if none does.
        asked: whether the user asked to end it, and was answered; so the next message may confirm that.
        earlier: before which version a page with earlier turns ends; None if these are all.
        is_earlier: whether this is such a page itself.
        rated, appealed, decided: what became of the ending.
    """

    chat: Chat
    title: str | None
    turns: Sequence[TurnView]
    earlier: int | None
    is_earlier: bool
    waits: int
    held: bool
    asked: bool
    ended: Any
    appeal_until: str | None
    rated: str | None
    held_from_erasure: bool


class Listed(NamedTuple):
    """A conversation in the list at the side."""

    row: ConversationRow
    title: str | None


def chat_view(caller: Caller, chat: Chat, before: int | None) -> ChatView:
    """Return what to show of a branch: its last turns, or those before a version."""
    state, path = chat.state, chat.path
    spoken = [one.version for one in path if isinstance(one.event, UserTurnTaken | AssistantTurnTaken)]
    shown = [one for one in spoken if before is None or one < before][-WINDOW:]
    first = shown[0] if shown else 1
    log = chat.conversations.tree_log(chat.branch)
    arrows = _arrows(siblings(log, chat.branch), spoken)
    page = chat.transcript(after=first - 1, limit=max(1, len(shown)))
    waits = state.unit.turn if state.unit is not None and not state.answered and state.ended is None else 0
    return ChatView(
        chat=chat,
        title=chat.metadata().title,
        turns=[_turn(one, arrows.get(one.version)) for one in page.turns],
        earlier=first if shown and shown[0] != spoken[0] else None,
        is_earlier=before is not None,
        waits=0 if before is not None else waits,
        held=bool(state.risks),
        asked=state.wishes.requested is not None and state.answered,
        ended=state.ended,
        appeal_until=chat.conversations.appeal_until(chat.branch) if state.ended else None,
        rated=_rated(path),
        held_from_erasure=bool(state.holds),
    )


def _rated(path: Iterable[RecordedEvent]) -> str | None:
    given = [one.event for one in path if isinstance(one.event, FeedbackGiven) and one.event.turn is None]
    return str(given[-1].rating or "words") if given else None


def _arrows(crossings: Iterable[Crossing], spoken: Sequence[int]) -> Mapping[int, Arrows]:
    """Return the arrows of the turns that have any, by version."""
    found = {}
    for one in crossings:
        turn = next((version for version in spoken if version > one.at), None)
        if one.taken is None or turn is None:
            continue
        ways, here = one.ways, one.taken
        found[turn] = Arrows(
            at=one.at, place=here + 1, of=len(ways),
            before=ways[here - 1].branch if here > 0 else None,
            after=ways[here + 1].branch if here + 1 < len(ways) else None,
            ended=ways[here].ended,
            ended_beside=sum(way.ended for way in ways) - ways[here].ended,
        )  # fmt: skip
    return found


def _turn(turn: TranscriptTurn, arrows: Arrows | None) -> TurnView:
    attached = tuple(_attached(turn.blocks)) if turn.speaker == "user" else ()
    # What people read of a turn has a word for each attachment. Here these are seen, so the words alone are shown.
    text = "".join(str(one.get("text", "")) for one in turn.blocks if one["type"] == "text") if attached else turn.text
    if text is None:
        html = Markup("")
    elif turn.speaker == "assistant":
        html = Markup(rendered(text))  # sanitised there
    else:
        html = Markup.escape(text)
    return TurnView(
        version=turn.version, speaker=turn.speaker, at=turn.at, text=text, html=html,
        attached=attached, arrows=arrows, stopped=turn.stop_reason in ("stopped", "dropped"),
        overtook=tuple(Markup(rendered(one)) for one in turn.overtook),
    )  # fmt: skip


def _attached(blocks: Iterable[Mapping[str, Any]]) -> Iterable[Attached]:
    for number, block in enumerate(blocks):
        kind, source = block["type"], block.get("source")
        if kind not in ATTACHMENTS:
            continue
        source = source if isinstance(source, Mapping) else {}
        media, data = str(source.get("media_type", "")), source.get("data")
        shown = kind == "image" and media in _PICTURES and isinstance(data, str) and _is_base64(data)
        title = block.get("title")
        name = title if isinstance(title, str) and title else media.rpartition("/")[2] or named(str(kind))
        yield Attached(number, name, f"data:{media};base64,{data}" if shown else None)


def _is_base64(data: str) -> bool:
    try:
        base64.b64decode(data, validate=True)
    except ValueError:
        return False
    return True


def with_other_words(chat: Chat, turn: int, words: str, without: Collection[int]) -> Content:
    """Return what to say in place of a turn of the user: other words, and what came with it but for the blocks named.

    A turn that does not exist had nothing with it; that it does not is for `Chat.edit` to say.
    """
    found = chat.transcript(after=turn - 1, limit=1).turns
    blocks = found[0].blocks if found and found[0].version == turn else ()
    kept = [one for number, one in enumerate(blocks) if one["type"] in ATTACHMENTS and number not in without]
    if not kept:
        return words
    return [*kept, {"type": "text", "text": words}] if words.strip() else kept


def title_of(text: str) -> str:
    """Return the first words of a message, as a title."""
    line = " ".join(text.split())
    if len(line) <= _TITLE:
        return line
    cut = line[:_TITLE].rpartition(" ")[0] or line[:_TITLE]
    return f"{cut}…"


def listed(caller: Caller, search: str | None) -> tuple[list[Listed], bool]:
    """Return the chats of a person, the one that was spoken in last first, and whether there are others.

    Titles are sealed, so a search opens them one by one: of the last thousand chats at most. A chat whose words were
    erased is in the log for ever, and in no list.
    """
    conversations, wanted = caller.tenant.conversations, (search or "").strip().casefold()
    found: list[Listed] = []
    after: str | None = None
    looked_at = 0
    while len(found) < _LISTED and looked_at < _SEARCHED:
        page = conversations.list(
            account=account_of(caller), by="last_turn", after=after, limit=_LISTED, with_metadata=True
        )
        kept = conversations.store.with_words(row.conversation for row in page.rows)
        said = page.metadata or {}
        for row in page.rows:
            title = said.get(row.conversation, Metadata()).title
            if row.conversation in kept and wanted in (title or "").casefold():
                found.append(Listed(row, title))
        looked_at, after = looked_at + len(page.rows), page.after
        if after is None:
            break
    return found[:_LISTED], after is not None or len(found) > _LISTED


def last_looked_at(caller: Caller, chat: Chat) -> str:
    """Return the branch of a conversation that a person looked at last; the root, if they never did."""
    tree = chat.state.conversation
    return looking.selected(caller.tenant.tables, caller.key.line, tree) or tree
