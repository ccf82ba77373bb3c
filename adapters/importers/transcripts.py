"""Transcripts: recorded conversations, one JSON object a line, with what assessors said of the user's turns.

The format is fixed, since others write it: see docs/reference/formats.md.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import FailFast, Field, PlainValidator, StrictBool, StringConstraints, model_validator

from lastresort.application.arguments import pseudonymous_id
from lastresort.domain.policy import PROFILES, Policy
from lastresort.domain.values import (
    EDITIONS,
    About,
    ActorKind,
    AppealOutcome,
    Category,
    Date,
    ErasureCause,
    Frozen,
    HoldReason,
    Id,
    Mode,
    Rating,
    Risk,
    Severity,
    Verdict,
)

from .inputs import BadInput, read_lines, shown_path

ConversationId = Annotated[str, StringConstraints(pattern=r"^[!-}]{1,100}$")]
"""Shorter than other ids and without `~`, since the ids of its commands and branches are made from it."""

_OF_THE_USER = (
    "verdict", "category", "severity", "risk", "about", "asks_to_end", "confirms_end", "edits", "by", "goes_on",
    "opinions",
)  # fmt: skip


class Judged(Frozen):
    """What somebody says of a user turn."""

    verdict: Verdict | None = None
    category: Category | None = None
    severity: Severity | None = None
    risk: Risk | None = None

    @model_validator(mode="after")
    def _harm_alone_has_a_category(self) -> Self:
        if self.verdict is not Verdict.HARMFUL and (self.category or self.severity):
            raise ValueError("only a harmful verdict has a category and a severity")
        return self


class Opinion(Judged):
    """One more word on a user turn, by an assessor of that name, or by an actor of another kind."""

    by: Id
    kind: ActorKind = ActorKind.ASSESSOR
    about: About = About.SELF


class Turn(Judged):
    """What somebody said, and what is known of it. An answer carries no more than its text and who gave it."""

    role: Literal["user", "assistant"]
    text: str
    model: Id | None = None
    about: About | None = None
    asks_to_end: StrictBool = False
    confirms_end: StrictBool = False
    edits: Annotated[int, Field(strict=True, ge=0)] | None = None
    by: Id | None = None
    goes_on: StrictBool = False
    opinions: tuple[Opinion, ...] = ()

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        said = [name for name in _OF_THE_USER if getattr(self, name) not in (None, False, ())]
        if self.role == "assistant" and said:
            raise ValueError(f"only a user turn has: {', '.join(said)}")
        if self.role == "user" and self.model is not None:
            raise ValueError("only an assistant turn has: model")
        if self.role == "user" and not self.text.strip():
            raise ValueError("text: a turn of the user has words; leave out one that has none")
        return self


class _Fields(NamedTuple):
    """What belongs to an act: what it needs, and what else it may have."""

    needed: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


_FIELDS: Mapping[str, _Fields] = {
    "leaves": _Fields(),
    "rates": _Fields(more=("rating", "text", "of")),
    "appeals": _Fields(more=("text",)),
    "retries": _Fields(("of",)),
    "decides_appeal": _Fields(("outcome",)),
    "judges": _Fields(("of",), ("verdict", "category", "severity", "risk", "about")),
    "raises_risk": _Fields(more=("about",)),
    "clears_risks": _Fields(),
    "changes_policy": _Fields(("policy",), ("edition", "mode")),
    "changes_model": _Fields(("model",)),
    "holds_words": _Fields(("hold", "reason"), ("until",)),
    "releases_words": _Fields(("hold",)),
    "erases_words": _Fields(("of",), ("answer", "cause")),
}
"""What may happen beside what is said, and what belongs to it."""
OF_THE_USER = frozenset({"leaves", "rates", "appeals", "retries"})
"""What the user does who spoke last, or the one that `by` names."""


class Act(Judged):
    """Something that happens beside what is said. An operator does it, unless `by` and `kind` name somebody else, or it
    is the user's to do.
    """

    role: Literal["act"]
    act: Literal[
        "leaves", "rates", "appeals", "retries", "decides_appeal", "judges", "raises_risk", "clears_risks",
        "changes_policy", "changes_model", "holds_words", "releases_words", "erases_words",
    ]  # fmt: skip
    by: Id = "transcript"
    kind: ActorKind = ActorKind.OPERATOR
    text: str | None = None
    rating: Rating | None = None
    outcome: AppealOutcome | None = None
    about: About = About.SELF
    of: Annotated[int, Field(strict=True, ge=0)] | None = None
    policy: Policy | None = None
    edition: Annotated[int, Field(strict=True)] | None = None
    mode: Mode | None = None
    model: Id | None = None
    hold: Id | None = None
    reason: HoldReason | None = None
    until: Date | None = None
    answer: StrictBool = False
    cause: ErasureCause = ErasureCause.USER_REQUEST

    @model_validator(mode="before")
    @classmethod
    def _policy_by_name(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return (
            {**fields, "policy": PROFILES.get(name, name)} if isinstance(name := fields.get("policy"), str) else fields
        )

    @model_validator(mode="after")
    def _fits_the_act(self) -> Self:
        needed, more = _FIELDS[self.act]
        strange = sorted(self.model_fields_set - {"role", "act", "by", "kind", *needed, *more})
        missing = [name for name in needed if getattr(self, name) is None]
        if strange or missing:
            said = f"does not have: {', '.join(strange)}" if strange else f"needs: {', '.join(missing)}"
            raise ValueError(f"{self.act} {said}")
        if self.act in OF_THE_USER and "kind" in self.model_fields_set and self.kind is not ActorKind.USER:
            raise ValueError(f"kind: {self.act} is the user's to do")
        if self.text is not None and not self.text.strip():
            raise ValueError("text: leave it out where there are no words")
        if self.edition is not None and self.edition not in EDITIONS:
            raise ValueError(f"edition {self.edition} is not one of {', '.join(map(str, EDITIONS))}")
        return self


def _entry(value: Any) -> "Turn | Act":
    """Read an entry by its role, so that what is wrong with it is said of the one and not of both."""
    return (Act if isinstance(value, Mapping) and value.get("role") == "act" else Turn).model_validate(value)


class Transcript(Frozen):
    """A recorded conversation."""

    conversation: ConversationId
    account: Id | None
    turns: Annotated[tuple[Annotated[Turn | Act, PlainValidator(_entry)], ...], FailFast()]

    @model_validator(mode="after")
    def _is_of_pseudonyms(self) -> Self:
        for field in ("conversation", "account"):
            pseudonymous_id(field, getattr(self, field))
        return self

    @model_validator(mode="after")
    def _names_earlier_user_turns(self) -> Self:
        for index, turn in enumerate(self.turns):
            name, named = ("of", turn.of) if isinstance(turn, Act) else ("edits", turn.edits)
            if named is None:
                continue
            there = self.turns[named] if named < index else turn
            if not isinstance(there, Turn) or there is turn or there.role != "user":
                raise ValueError(f"turns.{index}.{name}: {named} is not the index of an earlier user turn")
            if there.goes_on and _is_of_the_answer(turn):
                raise ValueError(f"turns.{index}.{name}: the turn at {named} goes on, and has no answer of its own")
        for step in steps(self):
            if step.turn.goes_on and step.reply is not None:
                raise ValueError(f"turns.{step.number}.goes_on: an answer follows before the user's next turn")
        return self


def _is_of_the_answer(turn: Turn | Act) -> bool:
    """Whether what `of` names is the answer to that turn, and not the turn."""
    return isinstance(turn, Act) and (turn.act in ("rates", "retries") or turn.answer)


class Step(NamedTuple):
    """A user turn and the recorded answer to it, if there is one, and what happens before and after the answer.

    Or another answer to a turn that was answered before, where it is a `retry`.
    """

    number: int  # its index in `turns`
    turn: Turn
    reply: str | None
    before: tuple[Act, ...] = ()
    after: tuple[Act, ...] = ()
    model: str | None = None  # that answered; the conversation's, if it does not say
    retry: Act | None = None


def steps(transcript: Transcript) -> tuple[Step, ...]:
    """Return the user turns of a transcript with their answers.

    Assistant turns in a row are one answer, of the model that the last of them names. What the assistant said before
    any user spoke answers nobody, and is left out. What happens between a turn and its answer stays there; where no
    answer is recorded, it comes after the answer that is given.
    """
    found: list[Step] = []
    for index, turn in enumerate(transcript.turns):
        if isinstance(turn, Turn) and turn.role == "user":
            found.append(Step(index, turn, None))
        elif isinstance(turn, Act) and turn.act == "retries":
            assert turn.of is not None
            found.append(Step(turn.of, _user_turn(transcript, turn.of), None, retry=turn))
        elif found:
            found[-1] = _with(found[-1], turn)
    return tuple(found)


def _user_turn(transcript: Transcript, index: int) -> Turn:
    turn = transcript.turns[index]
    assert isinstance(turn, Turn)
    return turn


def opening(transcript: Transcript) -> tuple[Act, ...]:
    """Return what happens before any user speaks."""
    acts: list[Act] = []
    for turn in transcript.turns:
        if turn.role == "user":
            break
        if isinstance(turn, Act):
            acts.append(turn)
    return tuple(acts)


def _with(step: Step, turn: Turn | Act) -> Step:
    if isinstance(turn, Act):
        return step._replace(after=(*step.after, turn))
    model = turn.model or step.model
    if step.reply is None:
        return step._replace(reply=turn.text, before=step.after, after=(), model=model)
    return step._replace(reply=f"{step.reply}\n{turn.text}", model=model)


def read_transcripts(paths: Iterable[Path]) -> list[Transcript]:
    """Read whole files, so that nothing is played if anything in them is wrong.

    Raises:
        BadInput: naming file, line and field.
    """
    transcripts: list[Transcript] = []
    places: dict[str, str] = {}
    for path in paths:
        for number, transcript in read_lines(path, Transcript, "a file of transcripts"):
            place = f"{shown_path(path)}:{number}"
            if first := places.get(transcript.conversation):
                raise BadInput(f"{place}: conversation: this id is also at {first}; ids are unique")
            places[transcript.conversation] = place
            transcripts.append(transcript)
    return transcripts
