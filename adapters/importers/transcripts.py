"""Transcripts: recorded conversations, one JSON object a line, with what assessors said of the user's turns.

The format is fixed, since others write it: see docs/reference/formats.md.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import FailFast, Field, PlainValidator, StrictBool, StringConstraints, model_validator

from lastresort.domain.policy import PROFILES, Policy
from lastresort.domain.values import (
    EDITIONS,
    About,
    ActorKind,
    AppealOutcome,
    Category,
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


_FIELDS: Mapping[str, tuple[str, ...]] = {
    "leaves": (),
    "rates": ("rating", "text"),
    "appeals": ("text",),
    "decides_appeal": ("outcome",),
    "judges": ("verdict", "category", "severity", "risk", "about", "of"),
    "raises_risk": ("about",),
    "clears_risks": (),
    "changes_policy": ("policy", "edition", "mode"),
    "changes_model": ("model",),
    "holds_words": ("hold", "reason"),
    "releases_words": ("hold",),
}
"""What may happen beside what is said, and what belongs to it."""
_NEEDED = frozenset({"outcome", "of", "policy", "model", "hold", "reason"})


class Act(Judged):
    """Something that happens beside what is said. An operator does it, unless `by` and `kind` name somebody else."""

    role: Literal["act"]
    act: Literal[
        "leaves", "rates", "appeals", "decides_appeal", "judges", "raises_risk", "clears_risks", "changes_policy",
        "changes_model", "holds_words", "releases_words",
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

    @model_validator(mode="before")
    @classmethod
    def _policy_by_name(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return (
            {**fields, "policy": PROFILES.get(name, name)} if isinstance(name := fields.get("policy"), str) else fields
        )

    @model_validator(mode="after")
    def _fits_the_act(self) -> Self:
        belong = _FIELDS[self.act]
        strange = sorted(self.model_fields_set - {"role", "act", "by", "kind", *belong})
        missing = [name for name in belong if name in _NEEDED and getattr(self, name) is None]
        if strange or missing:
            said = f"does not have: {', '.join(strange)}" if strange else f"needs: {', '.join(missing)}"
            raise ValueError(f"{self.act} {said}")
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
    def _names_earlier_user_turns(self) -> Self:
        for index, turn in enumerate(self.turns):
            name, named = ("of", turn.of) if isinstance(turn, Act) else ("edits", turn.edits)
            if named is not None and (named >= index or self.turns[named].role != "user"):
                raise ValueError(f"turns.{index}.{name}: {named} is not the index of an earlier user turn")
        for step in steps(self):
            if step.turn.goes_on and step.reply is not None:
                raise ValueError(f"turns.{step.number}.goes_on: an answer follows before the user's next turn")
        return self


class Step(NamedTuple):
    """A user turn and the recorded answer to it, if there is one, and what happens before and after the answer."""

    number: int  # its index in `turns`
    turn: Turn
    reply: str | None
    before: tuple[Act, ...] = ()
    after: tuple[Act, ...] = ()
    model: str | None = None  # that answered; the conversation's, if it does not say


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
        elif found:
            found[-1] = _with(found[-1], turn)
    return tuple(found)


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
        for number, transcript in read_lines(path, Transcript):
            place = f"{shown_path(path)}:{number}"
            if first := places.get(transcript.conversation):
                raise BadInput(f"{place}: conversation: this id is also at {first}; ids are unique")
            places[transcript.conversation] = place
            transcripts.append(transcript)
    return transcripts
