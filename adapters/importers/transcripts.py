"""Transcripts: recorded conversations, one JSON object a line, with what assessors said of the user's turns.

The format is fixed, since others write it: see docs/reference/formats.md.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import FailFast, Field, StrictBool, StringConstraints, model_validator

from lastresort.domain.values import Category, Frozen, Id, Risk, Severity, Verdict

from .inputs import BadInput, read_lines, shown_path

ConversationId = Annotated[str, StringConstraints(pattern=r"^[!-}]{1,100}$")]
"""Shorter than other ids and without `~`, since the ids of its commands and branches are made from it."""

_OF_THE_USER = ("verdict", "category", "severity", "risk", "asks_to_end", "confirms_end", "edits")


class Turn(Frozen):
    """What somebody said, and what is known of it. Only the turns of a user carry more than their text."""

    role: Literal["user", "assistant"]
    text: str
    verdict: Verdict | None = None
    category: Category | None = None
    severity: Severity | None = None
    risk: Risk | None = None
    asks_to_end: StrictBool = False
    confirms_end: StrictBool = False
    edits: Annotated[int, Field(strict=True, ge=0)] | None = None

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        said = [name for name in _OF_THE_USER if getattr(self, name) not in (None, False)]
        if self.role == "assistant" and said:
            raise ValueError(f"only a user turn has: {', '.join(said)}")
        if self.verdict is not Verdict.HARMFUL and (self.category or self.severity):
            raise ValueError("only a harmful verdict has a category and a severity")
        if self.role == "user" and not self.text.strip():
            raise ValueError("text: a turn of the user has words; leave out one that has none")
        return self


class Transcript(Frozen):
    """A recorded conversation."""

    conversation: ConversationId
    account: Id | None
    turns: Annotated[tuple[Turn, ...], FailFast()]

    @model_validator(mode="after")
    def _edits_earlier_user_turns(self) -> Self:
        for index, turn in enumerate(self.turns):
            if turn.edits is not None and (turn.edits >= index or self.turns[turn.edits].role != "user"):
                raise ValueError(f"turns.{index}.edits: {turn.edits} is not the index of an earlier user turn")
        return self


class Step(NamedTuple):
    """A user turn and the recorded answer to it, if there is one."""

    number: int  # its index in `turns`
    turn: Turn
    reply: str | None


def steps(transcript: Transcript) -> tuple[Step, ...]:
    """Return the user turns of a transcript with their answers.

    Assistant turns in a row are one answer. What the assistant said before any user spoke answers nobody, and is left
    out.
    """
    turns = transcript.turns
    users = [index for index, turn in enumerate(turns) if turn.role == "user"]
    return tuple(
        Step(index, turns[index], _joined(turns[index + 1 : following]))
        for index, following in pairwise([*users, len(turns)])
    )


def _joined(turns: Sequence[Turn]) -> str | None:
    return "\n".join(turn.text for turn in turns) if turns else None


def read_transcripts(paths: Iterable[Path]) -> list[Transcript]:
    """Read whole files, so that nothing is played if anything in them is wrong.

    Raises:
        BadInput: naming file, line and field.
    """
    transcripts: list[Transcript] = []
    places: dict[str, str] = {}
    for path in paths:
        for number, transcript in read_lines(path, Transcript):
            place = f"{shown_path(path)}:{number}"
            if first := places.get(transcript.conversation):
                raise BadInput(f"{place}: conversation: {transcript.conversation} is also at {first}; ids are unique")
            places[transcript.conversation] = place
            transcripts.append(transcript)
    return transcripts
