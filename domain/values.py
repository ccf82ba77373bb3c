"""The words of the law: ids, digests, actors and enumerations.

An event holds only these, so nothing that a person or a model wrote can enter the log: an id has no
white space and at most 128 characters, a category is a short lower-case name, and words are referred
to by the digest of their sealed bytes.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from .plainly import MadeByHand

Id = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
"""A name that a machine gave: printable ASCII without spaces, 1 to 128 characters."""

Category = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""A kind of harm, as the deployer's assessor names it: `abuse`, `threats`, ..."""

ARM_JOINT = ":"
"""What stands in the arm of a conversation between the name of the experiment and that of the arm in it."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""SHA-256 of sealed bytes (a digest of plain words could be guessed) or of a policy's canonical form."""

MOST_VERSIONS = 2**53
"""The last version that a branch can have."""
Version = Annotated[int, Field(strict=True, ge=1, le=MOST_VERSIONS)]
"""A position on a branch's path, from 1."""

MOST_POSITION = 2**63 - 1
"""The last position that a log can have, as databases count."""

MOST_POLICY, MOST_EVENT = 32 * 2**10, 60 * 2**10
"""Bytes that a policy and a recorded event may have in canonical form.

An entry of a transparency log has at most 65,535: some of them are left for what such a log says beside the event.
"""

Edition = Annotated[int, Field(strict=True, ge=1, le=2**53)]
"""An edition of the law. Of one that this program does not know it can say no more than that: see `EDITIONS`."""

EDITIONS = (1, 2)
"""The editions that this program knows."""

LATEST: Edition = EDITIONS[-1]
"""The newest edition, which a conversation starts in unless it is started in another."""

Date = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]
"""A day as ISO 8601 writes it: 2026-07-31."""

VOCABULARY: frozenset[Category] = frozenset({
    "abuse", "harassment", "hate", "threats", "sexual_content", "sexual_minors", "violence", "terrorism", "weapons",
    "self_harm", "child_safety", "harmful_content", "privacy", "fraud", "spam", "other",
})  # fmt: skip
"""The categories that edition 2 knows, beside those that a policy names."""

Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]
"""How many of something: tokens, say. Exact in every JSON reader."""

Severity = Annotated[int, Field(strict=True, ge=1, le=3)]
"""How grave harm is: 1 (mild) to 3 (extreme)."""


class Messages(str):
    """Words that are the messages of an API in JSON, `{"messages": [...]}`, where others are plain text.

    Which of the two they are is sealed with them, so that no text can pass for messages.
    """

    __slots__ = ()


class Frozen(BaseModel):
    """An immutable value whose fields are all known: an unknown field is an error, not noise."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, validated like a new one: pydantic's own would take anything."""
        fields = {
            name: getattr(self, name) for name in type(self).model_fields
        }  # and nothing that was computed of them
        return type(self)(**{**fields, **(update or {})})


def with_content(model: Any, digest: str) -> Any:
    """Return a copy of an event or a command with another `content`, a digest that needs no look."""
    return with_field(model, "content", digest)


# What a model consists of. To set it by name, as `object.__setattr__` does, takes half as long again.
_PARTS = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
_put_values, _put_given, _put_extra, _put_private = (vars(BaseModel)[part].__set__ for part in _PARTS)


def with_field(model: Any, field: str, value: Any) -> Any:
    """Return a copy of an event or a command with another value of a field, which needs no look.

    As pydantic's own `__copy__` does, in a tenth of the time of `model_copy`: each turn that is written or read is
    one such copy.
    """
    given = model.__pydantic_fields_set__
    made = object.__new__(model.__class__)
    _put_values(made, {**model.__dict__, field: value})
    _put_given(made, given if field in given else {*given, field})
    _put_extra(made, None)
    _put_private(made, None)
    return made


def with_fields(model: Any, values: Mapping[str, Any]) -> Any:
    """Return a copy of an event or a command with other values of some fields, as `with_field` does of one."""
    given = model.__pydantic_fields_set__
    made = object.__new__(model.__class__)
    _put_values(made, {**model.__dict__, **values})
    _put_given(made, given if given.issuperset(values) else given | values.keys())
    _put_extra(made, None)
    _put_private(made, None)
    return made


class Word(StrEnum):
    """A word of a closed list. Its hash is the text's, to which it is equal: an enumeration's own is a Python call."""

    __hash__ = str.__hash__


class ActorKind(Word):
    """Who acts. The kind is the authority: no text can lend another one."""

    USER = "user"
    MODEL = "model"
    ASSESSOR = "assessor"
    OPERATOR = "operator"
    SYSTEM = "system"


class Actor(Frozen, metaclass=MadeByHand):
    """Somebody who acts: `{"kind": ..., "id": ...}`. A model's id is the model's name.

    In a command and an event it is made again of plain values, whatever it was: a rule is to look at what is recorded,
    and one of another class, or one that was made round the checks, may say one thing and be written down as another.
    """

    model_config = ConfigDict(revalidate_instances="always")

    kind: ActorKind
    id: Id


class Verdict(Word):
    """What an assessor says of a unit, the mildest first: the mildest verdict is the unit's judgement."""

    PRODUCTIVE = "productive"
    UNPRODUCTIVE = "unproductive"
    AMBIGUOUS = "ambiguous"
    HARMFUL = "harmful"


_HARSHNESS = {verdict: rank for rank, verdict in enumerate(Verdict)}


def milder(one: Verdict, other: Verdict) -> Verdict:
    """Return the milder of two verdicts: one milder opinion is enough to go on."""
    return one if _HARSHNESS[one] <= _HARSHNESS[other] else other


class Risk(Word):
    """What an assessor sees of somebody about to harm themselves or others. Unknown counts as risk."""

    NONE = "none"
    POSSIBLE = "possible"
    IMMINENT = "imminent"
    UNKNOWN = "unknown"


class About(Word):
    """Whom a risk is about."""

    SELF = "self"
    OTHERS = "others"


RiskSeen = Risk | Mapping[About, Risk]
"""What words show of a risk: to nobody knows whom, or to each. Of whom nothing is said, it is unknown."""

_GRAVITY = (Risk.NONE, Risk.UNKNOWN, Risk.POSSIBLE, Risk.IMMINENT)


def graver(one: Risk, other: Risk) -> Risk:
    """Return the graver of two risks: one voice of concern is enough."""
    return max(one, other, key=_GRAVITY.index)


def gravest(seen: RiskSeen) -> Risk:
    """Return the gravest risk that was seen, to whomever."""
    return seen if isinstance(seen, Risk) else graver(*(seen.get(about, Risk.UNKNOWN) for about in About))


class Ground(Word):
    """Why a branch ended."""

    LAST_RESORT = "last_resort"
    USER_REQUEST = "user_request"


class ForkCause(Word):
    """What opened a branch: a user turn that was rewritten, or an answer that was asked for again."""

    EDIT = "edit"
    RETRY = "retry"


class Rating(Word):
    """What a user thinks of an ending."""

    UP = "up"
    DOWN = "down"


class AppealOutcome(Word):
    """How an operator decided an appeal. Granted: the ending was wrong, and the user is offered a branch."""

    GRANTED = "granted"
    REJECTED = "rejected"


class ErasureCause(Word):
    """Why words were erased."""

    USER_REQUEST = "user_request"
    RETENTION = "retention"
    LEGAL = "legal"


class Mode(Word):
    """Whether the law is enforced, or runs in the shadow: in full, and with nothing said to the user."""

    ENFORCED = "enforced"
    SHADOW = "shadow"


class HoldReason(Word):
    """Why words are held from erasure."""

    LITIGATION = "litigation"
    INVESTIGATION = "investigation"
    REGULATOR = "regulator"
    APPEAL = "appeal"
    OTHER = "other"


class SecondOpinion(Word):
    """When to ask an assessor besides the model."""

    NEVER = "never"
    AT_GATE = "at_gate"
    EVERY_TURN = "every_turn"


class Usage(Frozen):
    """The tokens that an answer took."""

    model_config = ConfigDict(revalidate_instances="always")

    input_tokens: Count
    output_tokens: Count


class OpenRisk(Frozen):
    """A risk that is open in a tree, as a new branch inherits it."""

    risk: Id
    about: About


class LegalHold(Frozen):
    """What holds the words of a tree from erasure. `until` is information: nothing lapses by a clock."""

    hold: Id
    reason: HoldReason
    until: Date | None = None


class Assessment(Frozen):
    """What an assessor says of a unit. Harm has a category and a severity; nothing else has."""

    verdict: Verdict
    category: Category | None = None
    severity: Severity | None = None
    risk: Risk

    @model_validator(mode="after")
    def _harm_has_category_and_severity(self) -> Self:
        harmful = self.verdict is Verdict.HARMFUL
        if (self.category is not None) != harmful or (self.severity is not None) != harmful:
            needed = "needs a category and a severity" if harmful else "has neither category nor severity"
            raise ValueError(f"a verdict of {self.verdict} {needed}")
        return self


class EndingGround(Frozen):
    """Why a branch is to end. A last resort is about a category of harm; a user's wish is not."""

    ground: Ground
    category: Category | None = None

    @model_validator(mode="after")
    def _category_belongs_to_the_ground(self) -> Self:
        if (self.category is None) != (self.ground is Ground.USER_REQUEST):
            raise ValueError("an ending as last resort names a category, an ending on request none")
        return self
