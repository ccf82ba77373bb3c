"""What the events add up to: the facts that the rules look at. Small, and never the history.

A unit is the user turns since the last assistant turn. Its judgement counts at once, as it stands now, and is settled
when the next unit begins. So the state keeps the episode as the settled units left it beside the current
unit, and `Conversation.now` is the two together. `evolve` is total and pure: what is recorded has happened, and
only the rules judge.

What events add up to is for the edition of the law that is in force when they are recorded: see `episode.py`.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .episode import (
    NO_EPISODE,
    Episode,
    Opinion,
    Terms,
    Unit,
    Warned,
    Who,
    absolved,
    counted,
    joined,
    judged,
    settled,
    standing,
    under_new_numbers,
    weighed,
)
from .events import (
    AppealDecided,
    AppealFiled,
    AssistantTurnTaken,
    AttemptRefused,
    BranchedOff,
    BranchOpened,
    ContentErased,
    ConversationEnded,
    ConversationStarted,
    EndConfirmed,
    EndProposed,
    EndRequested,
    ErasureHeld,
    ErasureReleased,
    Event,
    EventBase,
    FeedbackGiven,
    HopeExhausted,
    ModelChanged,
    PolicyChanged,
    RecordedEvent,
    RedirectionAttempted,
    RiskCleared,
    RiskRaised,
    TurnAssessed,
    UserLeft,
    UserTurnTaken,
    WarningGiven,
    WarningWithheld,
)
from .models import same_model
from .policy import Numbers, Policy
from .tuples import made, quickly_replaced
from .values import Actor, AppealOutcome, Ground, LegalHold, Mode, OpenRisk, Risk, Verdict

FOLD = 3
"""The number of this fold. It goes up with each change of what `evolve` makes of a log, or of the fields of the state:
states that were kept under another number are not used. `tests/test_fold.py` notices a change.
"""


@quickly_replaced
class Wishes(NamedTuple):
    """What was asked for and lapses: with the next unit, or with the next user turn."""

    requested: int | None = None  # EndRequested in this unit
    to_confirm: int | None = None  # EndRequested in the unit before
    confirmed: tuple[int, int] | None = None  # EndRequested, EndConfirmed
    hope: int | None = None  # HopeExhausted
    proposed: tuple[tuple[Ground, Actor], ...] = ()
    requested_by: Who | None = None  # whose request that is
    to_confirm_by: Who | None = None


@quickly_replaced
class Ended(NamedTuple):
    """The ending of a branch, and what became of it."""

    version: int
    ground: Ground
    category: str | None
    appealed: bool = False  # an appeal waits for its decision
    granted: bool = False  # one was decided: the ending was wrong


class ForkPoint(NamedTuple):
    """Where a branch is about to open: what comes next on its parent's path, and what it is to carry.

    That is every risk and every legal hold that is open in its tree, and whether its parent's ending was wrong.
    """

    next: type[EventBase] | None
    risks: tuple[OpenRisk, ...]
    holds: tuple[LegalHold, ...]
    absolved: bool


NO_WISHES = Wishes()
_JUST_BEGUN = Unit(1)[2:]  # all of a unit but its turn and its user
_HARMFUL, _NO_RISK = Verdict.HARMFUL, Risk.NONE  # a look-up in its class takes as long as a call, before 3.12


@quickly_replaced
class Conversation(NamedTuple):
    """A branch at a version. `Conversation()` is the state before a root branch begins.

    The fields that change with nearly every event come first: `evolve` makes new values of those and takes over the
    rest by position.
    """

    version: int = 0
    unit: Unit | None = None
    answered_by: int = 0  # the latest assistant turn
    episode: Episode = NO_EPISODE  # as the settled units left it
    wishes: Wishes = NO_WISHES
    risks: tuple[OpenRisk, ...] = ()
    hold_due: int = -1  # the verdict that saw a risk: what follows that version must be RiskRaised
    ended: Ended | None = None
    conversation: str = ""
    account: str | None = None
    policy: Policy = Policy.default()
    model: str = ""
    parent: str | None = None
    children: tuple[str, ...] = ()
    fork: ForkPoint | None = None  # not None: about to open at a fork, not begun
    law: int = 1  # the edition in force
    mode: Mode = Mode.ENFORCED
    holds: tuple[LegalHold, ...] = ()

    @property
    def begun(self) -> bool:
        return self.conversation != "" and self.fork is None

    @property
    def answered(self) -> bool:
        """Whether the current unit has been answered."""
        return self.unit is not None and self.answered_by > self.unit.turn

    @property
    def terms(self) -> Terms:
        """What is in force."""
        return made(Terms, (self.policy, self.law, self.mode))

    @property
    def now(self) -> Episode:
        """The episode with the current unit's judgement counted as it stands."""
        return counted(self.episode, self.unit, self.terms) if self.unit else self.episode

    @property
    def governing(self) -> Numbers:
        """The numbers that govern now: the stricter ones, where the policy changed within an open episode."""
        return self.now.numbers or self.policy.numbers

    def warning(self, category: str | None) -> Warned | None:
        """The warning that stands for `category`, if there is one."""
        return next((warned for warned in self.now.warnings if warned.category == category), None)

    @property
    def absolved(self) -> bool:
        """Whether an appeal against the ending was granted, so that what is branched from it has no strikes."""
        return self.law > 1 and self.ended is not None and self.ended.granted


def about_to_fork(
    prefix: Conversation,
    following: type[EventBase] | None,
    risks: tuple[OpenRisk, ...],
    holds: tuple[LegalHold, ...] = (),
    absolved: bool = False,
) -> Conversation:
    """Return the state in which a branch may open after `prefix`.

    Args:
        prefix: the parent's path up to the fork.
        following: the type of the next event on the parent's path, None if there is none.
        risks: every risk that is open anywhere in the tree.
        holds: every legal hold that stands on the tree.
        absolved: whether an appeal against the parent's ending was granted.
    """
    return prefix._replace(fork=ForkPoint(following, risks, holds, absolved and prefix.law > 1))


def evolve(state: Conversation, event: Event) -> Conversation:
    """Return the state after `event`. Total and pure: it judges nothing, and every event has its place."""
    return _AFTER[type(event)](state, event)


def fold(history: Iterable[RecordedEvent], state: Conversation | None = None) -> Conversation:
    """Return the state after `history`, from `state` or from the beginning."""
    state = state or Conversation()
    for recorded in history:
        state = evolve(state, recorded.event)
    return state


# --- turns and what is said of them -----------------------------------------------------------------------------------
#
# What comes by with nearly every turn is made by position: see `tuples.py`.


def _user_turn(state: Conversation, event: UserTurnTaken) -> Conversation:
    version, unit, answered_by, episode, wishes = state[:5]
    by = event.by
    user = by.kind, by.id
    version += 1
    if unit is None or answered_by > unit.turn:
        if unit is not None and (episode.numbers is not None or unit.judgement is _HARMFUL):
            episode = settled(episode, unit, state.terms)
        if wishes is not NO_WISHES:
            asked = Wishes(to_confirm=wishes.requested, to_confirm_by=wishes.requested_by)
            wishes = asked if wishes.requested else NO_WISHES
        begun = made(Unit, (version, user) + _JUST_BEGUN)
        return made(Conversation, (version, begun, answered_by, episode, wishes) + state[5:])
    unit = joined(unit, version, user)
    if wishes is not NO_WISHES:
        wishes = wishes._replace(confirmed=None, hope=None, proposed=())
    return made(Conversation, (version, unit, answered_by, episode, wishes) + state[5:])


def _assistant_turn(state: Conversation, _: AssistantTurnTaken) -> Conversation:
    version = state.version + 1
    return made(Conversation, (version, state.unit, version) + state[3:])


def _assessed(state: Conversation, event: TurnAssessed) -> Conversation:
    version, unit = state.version + 1, state.unit
    if event.risk is not _NO_RISK and not state.risks and state.policy.holds_on(event.risk, event.about, state.law):
        state = state._replace(hold_due=version)
    if unit is not None:
        by = event.by
        said = (by.kind, by.id), event.turn, event.verdict, event.category, event.severity, event.risk
        opinion = made(Opinion, said)
        unit = judged(unit, opinion, state.law)
    return made(Conversation, (version, unit) + state[2:])


def _redirected(state: Conversation, _: RedirectionAttempted) -> Conversation:
    version, unit = state.version + 1, state.unit
    if unit is not None and unit.redirection is None:
        unit = unit._replace(redirection=version)
    return made(Conversation, (version, unit) + state[2:])


def _warned(state: Conversation, event: WarningGiven) -> Conversation:
    version, unit = state.version + 1, state.unit
    if unit is not None:
        complete = event.names_behaviour and event.redirects and event.states_consequence
        warned = Warned(version, event.category, complete, user=unit.user)
        unit = unit._replace(warnings=standing(unit.warnings, (warned,)))
    return made(Conversation, (version, unit) + state[2:])


def _withheld(state: Conversation, _: WarningWithheld) -> Conversation:
    version, episode = state.version + 1, state.episode
    if episode.numbers is not None:
        episode = episode._replace(withheld=version)
    return state._replace(version=version, episode=episode)


# --- wishes, hope, endings --------------------------------------------------------------------------------------------


def _wishing(state: Conversation, wishes: Wishes) -> Conversation:
    """While a risk is open, what is asked for is recorded and has no effect."""
    return state._replace(version=state.version + 1, wishes=wishes if not state.risks else state.wishes)


def _end_requested(state: Conversation, event: EndRequested) -> Conversation:
    by = event.by.kind, event.by.id
    return _wishing(state, state.wishes._replace(requested=state.version + 1, requested_by=by))


def _end_confirmed(state: Conversation, event: EndConfirmed) -> Conversation:
    wishes, by = state.wishes, (event.by.kind, event.by.id)
    if wishes.to_confirm is not None and (state.law == 1 or by == wishes.to_confirm_by):
        wishes = wishes._replace(confirmed=(wishes.to_confirm, state.version + 1))
    return _wishing(state, wishes)


def _hope_exhausted(state: Conversation, _: HopeExhausted) -> Conversation:
    return _wishing(state, state.wishes._replace(hope=state.version + 1))


def _end_proposed(state: Conversation, event: EndProposed) -> Conversation:
    proposal, wishes = (event.ground, event.by), state.wishes
    others = (other for other in wishes.proposed if other != proposal)
    return _wishing(state, wishes._replace(proposed=(*others, proposal)))


def _ended(state: Conversation, event: ConversationEnded) -> Conversation:
    version = state.version + 1
    return state._replace(version=version, ended=Ended(version, event.ground, event.category))


def _appealed(state: Conversation, _: AppealFiled) -> Conversation:
    ended = state.ended and state.ended._replace(appealed=True)
    return state._replace(version=state.version + 1, ended=ended)


def _appeal_decided(state: Conversation, event: AppealDecided) -> Conversation:
    ended = state.ended
    if ended is not None:
        ended = ended._replace(appealed=False, granted=ended.granted or event.outcome is AppealOutcome.GRANTED)
    return state._replace(version=state.version + 1, ended=ended)


# --- risks and holds --------------------------------------------------------------------------------------------------


def _risk_raised(state: Conversation, event: RiskRaised) -> Conversation:
    """A risk that is raised twice is open once; raised about others too, it is about both, until it is cleared."""
    opened, risks = OpenRisk(risk=event.risk, about=event.about), state.risks
    risks = risks if opened in risks else (*risks, opened)
    return _without_warnings(state)._replace(version=state.version + 1, risks=risks, wishes=NO_WISHES)


def _risk_cleared(state: Conversation, event: RiskCleared) -> Conversation:
    risks = tuple(risk for risk in state.risks if risk.risk != event.risk)
    return state._replace(version=state.version + 1, risks=risks)


def _erasure_held(state: Conversation, event: ErasureHeld) -> Conversation:
    holds = *_without(state.holds, event.hold), LegalHold(hold=event.hold, reason=event.reason, until=event.until)
    return state._replace(version=state.version + 1, holds=holds)


def _erasure_released(state: Conversation, event: ErasureReleased) -> Conversation:
    return state._replace(version=state.version + 1, holds=_without(state.holds, event.hold))


def _without(holds: tuple[LegalHold, ...], hold: str) -> tuple[LegalHold, ...]:
    return tuple(one for one in holds if one.hold != hold)


# --- beginnings, and other terms --------------------------------------------------------------------------------------


def _started(state: Conversation, event: ConversationStarted) -> Conversation:
    return Conversation(
        state.version + 1,
        conversation=event.conversation,
        account=event.account,
        policy=event.policy,
        model=event.model,
        law=event.law,
        mode=event.mode,
    )


def _opened(state: Conversation, event: BranchOpened) -> Conversation:
    """A branch starts with what its prefix adds up to, and with what is open in its tree."""
    if state.law > 1 and event.risks:
        state = _without_warnings(state)  # as if the risk had been raised on it
    if state.law > 1 and event.absolved:
        state = state._replace(
            episode=Episode(relapses=state.episode.relapses), unit=state.unit and absolved(state.unit)
        )
    return state._replace(
        version=state.version + 1,
        conversation=event.conversation,
        parent=event.parent,
        risks=event.risks,
        holds=event.holds,
        wishes=NO_WISHES,
        children=(),
        fork=None,
    )


def _branched_off(state: Conversation, event: BranchedOff) -> Conversation:
    return state._replace(version=state.version + 1, children=(*state.children, event.child))


def _policy_changed(state: Conversation, event: PolicyChanged) -> Conversation:
    """Another policy, and perhaps a later edition, which weighs what was said of the current unit in its own way."""
    state, before = _without_warnings(state), state.terms
    terms = Terms(event.policy, event.law, event.mode)
    unit = state.unit
    if unit is not None and before.law == 1 < terms.law:
        unit = weighed(unit)
    episode, unit = under_new_numbers(state.episode, unit, before, terms)
    return state._replace(
        version=state.version + 1, policy=terms.policy, law=terms.law, mode=terms.mode, episode=episode, unit=unit
    )


def _model_changed(state: Conversation, event: ModelChanged) -> Conversation:
    if state.law == 1 or not same_model(state.model, event.model):
        state = _without_warnings(state)
    return state._replace(version=state.version + 1, model=event.model)


def _left(state: Conversation, event: UserLeft) -> Conversation:
    if state.law > 1 and state.policy.leaving_voids_warnings:
        state = _without_warnings(state)
    return _went_on(state, event)


def _went_on(state: Conversation, _: Event) -> Conversation:
    return made(Conversation, (state.version + 1,) + state[1:])


def _without_warnings(state: Conversation) -> Conversation:
    episode, unit = state.episode, state.unit
    if not episode.warnings and not (unit and unit.warnings):
        return state
    return state._replace(episode=episode._replace(warnings=()), unit=unit and unit._replace(warnings=()))


_AFTER: dict[type[EventBase], Callable[[Conversation, Any], Conversation]] = {
    UserTurnTaken: _user_turn,
    AssistantTurnTaken: _assistant_turn,
    TurnAssessed: _assessed,
    RedirectionAttempted: _redirected,
    WarningGiven: _warned,
    WarningWithheld: _withheld,
    EndRequested: _end_requested,
    EndConfirmed: _end_confirmed,
    HopeExhausted: _hope_exhausted,
    EndProposed: _end_proposed,
    ConversationEnded: _ended,
    AppealFiled: _appealed,
    AppealDecided: _appeal_decided,
    RiskRaised: _risk_raised,
    RiskCleared: _risk_cleared,
    ErasureHeld: _erasure_held,
    ErasureReleased: _erasure_released,
    ConversationStarted: _started,
    BranchOpened: _opened,
    BranchedOff: _branched_off,
    PolicyChanged: _policy_changed,
    ModelChanged: _model_changed,
    UserLeft: _left,
    **dict.fromkeys((AttemptRefused, FeedbackGiven, ContentErased), _went_on),
}
"""What comes of each kind of event: every one of `EVENTS`, which a test looks at.

A table and no `match`, since a look whether a pydantic model is of a class takes as long as a rule.
"""
