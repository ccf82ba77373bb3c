"""What has happened: the stored format.

Field names are fixed and public: a log outlives the program that wrote it. An event holds ids, enumerations,
numbers, versions and digests, never words. Its kind is the name of its class and stands in the envelope, not in
the event, so that a stored event has exactly the fields of the law.

Versions are positions on the path of a branch (the inherited prefix included), from 1. Turns are named by the
version of their event.
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, Self, get_args

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    ValidatorFunctionWrapHandler,
    WrapSerializer,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from .policy import Terms
from .values import (
    About,
    Actor,
    AppealOutcome,
    Assessment,
    Category,
    Digest,
    Edition,
    EndingGround,
    ErasureCause,
    ForkCause,
    Frozen,
    Ground,
    Id,
    LegalHold,
    Mode,
    OpenRisk,
    Rating,
    Usage,
    Version,
)


class EventBase(Frozen):
    """Something that has happened in a branch, and by whom."""

    kind: ClassVar[str]
    schema_version: ClassVar[int] = 1  # see UPCASTS before you change a field
    by: Actor

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.kind = cls.__name__


class _NamesItsTerms(EventBase):
    """What governs from here on: a policy, an edition of the law, and whether it is enforced."""

    schema_version: ClassVar[int] = 2
    policy: Terms
    policy_hash: Digest
    law: Edition = 1
    mode: Mode = Mode.ENFORCED

    @model_validator(mode="after")
    def _hash_is_of_the_policy(self) -> Self:
        if self.policy_hash != self.policy.hash:
            raise ValueError(f"policy_hash is not the hash of policy, which is {self.policy.hash}")
        return self


class ConversationStarted(_NamesItsTerms):
    """A conversation began: the first event of a root branch. `account` is a pseudonym, `arm` an experiment's."""

    conversation: Id
    account: Id | None
    model: Id
    arm: Id | None


class BranchOpened(EventBase):
    """A branch began, at its parent's version `at`; the path goes on with this event at `at` + 1.

    `absolved`: an appeal against the parent's ending was granted.
    """

    schema_version: ClassVar[int] = 2
    conversation: Id
    parent: Id
    at: Version
    cause: ForkCause
    risks: tuple[OpenRisk, ...]
    holds: tuple[LegalHold, ...] = ()
    absolved: StrictBool = False


class BranchedOff(EventBase):
    """A child was opened at version `at` of this branch's path, in the same append as its BranchOpened."""

    child: Id
    at: Version


class UserTurnTaken(EventBase):
    """The user said something."""

    content: Digest


class AssistantTurnTaken(EventBase):
    """The model answered."""

    content: Digest
    model: Id
    stop_reason: Id | None
    usage: Usage | None


class TurnAssessed(EventBase, Assessment):
    """An assessor gave a verdict on the unit that is named by user turn `turn`. A risk is `about` somebody."""

    schema_version: ClassVar[int] = 2
    turn: Version
    about: About | None = None


class RedirectionAttempted(EventBase):
    """Assistant turn `turn` tried to lead away from the harm in user turn `answers`."""

    turn: Version
    answers: Version


class WarningGiven(EventBase):
    """Assistant turn `turn`, having seen user turn `seen`, warned that the conversation may end."""

    turn: Version
    seen: Version
    category: Category
    names_behaviour: StrictBool
    redirects: StrictBool
    states_consequence: StrictBool


class WarningWithheld(EventBase):
    """In shadow mode: a warning would have been lawful, having seen user turn `seen`. Nothing was said."""

    seen: Version
    category: Category
    policy_hash: Digest
    model: Id


class RiskRaised(EventBase):
    """Somebody may be about to harm themselves or others. Recorded on every branch of the tree at once."""

    risk: Id
    about: About


class RiskCleared(EventBase):
    """A risk is over. Recorded on every branch of the tree at once."""

    risk: Id


class EndRequested(EventBase):
    """In user turn `turn` the user asked to end the conversation."""

    turn: Version


class EndConfirmed(EventBase):
    """In user turn `turn` the user confirmed it, knowing that the ending is permanent."""

    turn: Version


class HopeExhausted(EventBase):
    """As of user turn `turn` no productive interaction is to be hoped for."""

    turn: Version


class EndProposed(EventBase):
    """The first of two calls: an ending on `ground` was proposed, having seen user turn `seen`."""

    seen: Version
    ground: Ground


class Evidence(Frozen):
    """The versions of the events that an ending stands on; null or empty what its ground does not need."""

    redirections: tuple[Version, ...] = ()
    warning: Version | None = None
    tested_by: Version | None = None
    hope: Version | None = None
    request: Version | None = None
    confirmation: Version | None = None


class ConversationEnded(EventBase, EndingGround):
    """The branch ended, for good, having seen user turn `seen`."""

    seen: Version
    evidence: Evidence
    policy_hash: Digest
    model: Id


class AttemptRefused(EventBase):
    """An attempt to record an event of kind `attempted` was refused under `rules`."""

    attempted: Id
    rules: Annotated[tuple[Id, ...], Field(min_length=1)]


class UserLeft(EventBase):
    """The user went away. It locks nothing."""


class PolicyChanged(_NamesItsTerms):
    """Another policy governs from here on, and perhaps a later edition of the law, or in another mode."""


class ModelChanged(EventBase):
    """Another model answers from here on."""

    model: Id


class FeedbackGiven(EventBase):
    """The user rated the ending, or the conversation; or one answer, assistant turn `turn`."""

    schema_version: ClassVar[int] = 2
    rating: Rating | None
    content: Digest | None
    turn: Version | None = None


class AppealFiled(EventBase):
    """The user holds the ending to be wrong."""

    content: Digest | None


class AppealDecided(EventBase):
    """An operator decided the appeal. Even granted it reopens nothing: the user is offered a branch."""

    schema_version: ClassVar[int] = 2
    outcome: AppealOutcome


class ErasureHeld(EventBase, LegalHold):
    """The words of a tree are held from erasure. Recorded on every branch of the tree at once."""


class ErasureReleased(EventBase, LegalHold):
    """A hold on the words of a tree is over. Recorded on every branch of the tree at once."""


class ContentErased(EventBase):
    """Words were erased; their digests stay, and all that the log says with them."""

    contents: tuple[Digest, ...]
    cause: ErasureCause


_AnyEvent = (
    ConversationStarted
    | BranchOpened
    | BranchedOff
    | UserTurnTaken
    | AssistantTurnTaken
    | TurnAssessed
    | RedirectionAttempted
    | WarningGiven
    | WarningWithheld
    | RiskRaised
    | RiskCleared
    | EndRequested
    | EndConfirmed
    | HopeExhausted
    | EndProposed
    | ConversationEnded
    | AttemptRefused
    | UserLeft
    | PolicyChanged
    | ModelChanged
    | FeedbackGiven
    | AppealFiled
    | AppealDecided
    | ErasureHeld
    | ErasureReleased
    | ContentErased
)
EVENTS: dict[str, type[_AnyEvent]] = {event.kind: event for event in get_args(_AnyEvent)}
"""Every kind of event by its stored name."""
_TYPES = frozenset(EVENTS.values())


def _read_by_kind(value: Any, _: ValidatorFunctionWrapHandler) -> _AnyEvent:
    """Read an event by the kind that it names: several kinds have the same fields, and one would pass for another."""
    if type(value) in _TYPES:
        event: _AnyEvent = value
        return event
    fields = dict(value) if isinstance(value, Mapping) else {}
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in EVENTS:
        raise PydanticCustomError("event_kind", "an event names its kind, in `kind`: one of those in EVENTS")
    return EVENTS[kind].model_validate(fields)


def _write_with_kind(event: _AnyEvent, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
    return {"kind": event.kind, **fields(event)}


Event = Annotated[_AnyEvent, WrapValidator(_read_by_kind), WrapSerializer(_write_with_kind)]
"""Any of them. Where pydantic reads or writes one as a field, or as `TypeAdapter(Event)`, its kind stands beside its
fields, in `kind`. The stored form has it in the envelope: see `EVENTS` and docs/decisions/0002.
"""


Upcast = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the fields of an event of one version and returns those of the next."""


def _with(**more: Any) -> Upcast:
    """The step to a version that says more: what the version before could not say is what it meant."""

    def step(fields: dict[str, Any]) -> dict[str, Any]:
        if more.keys() & fields.keys():
            raise ValueError("fields of a later version")
        return {**fields, **more}

    return step


_OUTCOMES = {"upheld": "granted", "overturned": "rejected"}  # of an appeal, where operators read them of an ending


def _appeal_decided_2(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "outcome": _OUTCOMES[fields["outcome"]]}


UPCASTS: Mapping[tuple[str, int], Upcast] = {
    (ConversationStarted.kind, 1): _with(law=1, mode=Mode.ENFORCED),
    (BranchOpened.kind, 1): _with(holds=(), absolved=False),
    (TurnAssessed.kind, 1): _with(about=None),
    (PolicyChanged.kind, 1): _with(law=1, mode=Mode.ENFORCED),
    (FeedbackGiven.kind, 1): _with(turn=None),
    (AppealDecided.kind, 1): _appeal_decided_2,
}
"""How events of earlier schema versions become those of today: the steps, by kind and the version they start from.

A log outlives the program that wrote it. If you change the fields of an event, give its type the next
`schema_version` and register here the step that turns the old fields into the new ones. A step is pure, and steps are
never removed.
"""


_OF_WORDS = frozenset({UserTurnTaken, AssistantTurnTaken, FeedbackGiven, AppealFiled})


def content_of(event: Event) -> str | None:
    """The digest of the words that an event stands for, if any."""
    return event.content if type(event) in _OF_WORDS else None  # type: ignore[union-attr]  # these have one


_EVENT_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/lastresort/events")


class RecordedEvent(NamedTuple):
    """An event in its envelope.

    `position` is the event's place in the whole log, from 1 and rising, or 0 where only its branch was read;
    `recorded_at` an ISO 8601 time in UTC that no rule and no fold reads; `command_id` names the command that caused it,
    `correlation_id` the wider act that the command belongs to (the command itself, unless the caller said otherwise).
    """

    position: int
    branch: str
    version: int
    kind: str
    recorded_at: str
    command_id: str
    event: Event
    correlation_id: str

    @property
    def event_id(self) -> uuid.UUID:
        """The event's own id: a branch has one event a version, so it follows from the two."""
        return uuid.uuid5(_EVENT_IDS, f"{self.branch}@{self.version}")


class Unreadable(NamedTuple):
    """An entry of the log that this program cannot read, and why: an unknown kind, say, or fields that are not its."""

    position: int
    branch: str
    version: int
    kind: str
    why: str
