"""What the events add up to: the facts that the rules look at. Small, and never the history.

A unit is the user turns since the last assistant turn. Its judgement counts at once, as it stands now, and is settled
when the next unit begins. So the state keeps the episode as the settled units left it beside the current
unit, and `Conversation.now` is the two together. `evolve` is total and pure: what is recorded has happened, and
only the rules judge.

What events add up to is for the edition of the law that is in force when they are recorded: see `episode.py`.
"""

from collections.abc import Iterable
from typing import NamedTuple, assert_never

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
from .values import Actor, AppealOutcome, Ground, LegalHold, Mode, OpenRisk

FOLD = 3
"""The number of this fold. It goes up with each change of what `evolve` makes of a log, or of the fields of the state:
states that were kept under another number are not used. `tests/test_fold.py` notices a change.
"""


class Wishes(NamedTuple):
    """What was asked for and lapses: with the next unit, or with the next user turn."""

    requested: int | None = None  # EndRequested in this unit
    to_confirm: int | None = None  # EndRequested in the unit before
    confirmed: tuple[int, int] | None = None  # EndRequested, EndConfirmed
    hope: int | None = None  # HopeExhausted
    proposed: tuple[tuple[Ground, Actor], ...] = ()
    requested_by: Who | None = None  # whose request that is
    to_confirm_by: Who | None = None


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
        return Terms(self.policy, self.law, self.mode)

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
    version = state.version + 1
    match event:
        case UserTurnTaken():
            return _user_turn(state, version, (event.by.kind, event.by.id))
        case AssistantTurnTaken():
            # By position, here and wherever a conversation often comes by: `_replace` costs more than a turn's rules.
            return Conversation(version, state.unit, version, *state[3:])
        case TurnAssessed():
            return _assessed(state, version, event)
        case RedirectionAttempted() | WarningGiven():
            return _led_away(state, version, event)
        case EndRequested() | EndConfirmed() | HopeExhausted() | EndProposed():
            return _wished(state, version, event)
        case ConversationEnded():
            return state._replace(version=version, ended=Ended(version, event.ground, event.category))
        case RiskRaised():
            return _without_warnings(state)._replace(
                version=version, risks=_opened(state.risks, event), wishes=NO_WISHES
            )
        case RiskCleared():
            return state._replace(version=version, risks=tuple(r for r in state.risks if r.risk != event.risk))
        case ConversationStarted():
            return Conversation(
                version,
                conversation=event.conversation,
                account=event.account,
                policy=event.policy,
                model=event.model,
                law=event.law,
                mode=event.mode,
            )
        case BranchOpened():
            return _opened_branch(state, version, event)
        case BranchedOff():
            return state._replace(version=version, children=(*state.children, event.child))
        case PolicyChanged():
            return _new_terms(state, version, Terms(event.policy, event.law, event.mode))
        case ModelChanged():
            if state.law == 1 or not same_model(state.model, event.model):
                state = _without_warnings(state)
            return state._replace(version=version, model=event.model)
        case AppealFiled() | AppealDecided():
            return state._replace(version=version, ended=state.ended and _appealed(state.ended, event))
        case WarningWithheld():
            episode = state.episode
            if episode.numbers is not None:
                episode = episode._replace(withheld=version)
            return state._replace(version=version, episode=episode)
        case ErasureHeld():
            hold = LegalHold(hold=event.hold, reason=event.reason, until=event.until)
            return state._replace(version=version, holds=(*_without(state.holds, event.hold), hold))
        case ErasureReleased():
            return state._replace(version=version, holds=_without(state.holds, event.hold))
        case UserLeft():
            if state.law > 1 and state.policy.leaving_voids_warnings:
                state = _without_warnings(state)
            return state._replace(version=version)
        case AttemptRefused() | FeedbackGiven() | ContentErased():
            return state._replace(version=version)
    assert_never(event)


def fold(history: Iterable[RecordedEvent], state: Conversation | None = None) -> Conversation:
    """Return the state after `history`, from `state` or from the beginning."""
    state = state or Conversation()
    for recorded in history:
        state = evolve(state, recorded.event)
    return state


def _user_turn(state: Conversation, version: int, user: Who) -> Conversation:
    unit, wishes = state.unit, state.wishes
    if unit is None or state.answered_by > unit.turn:
        episode = settled(state.episode, unit, state.terms) if unit else state.episode
        if wishes is not NO_WISHES:
            asked = Wishes(to_confirm=wishes.requested, to_confirm_by=wishes.requested_by)
            wishes = asked if wishes.requested else NO_WISHES
        return Conversation(version, Unit(version, user), state.answered_by, episode, wishes, *state[5:])
    return state._replace(
        version=version,
        unit=joined(unit, version, user),
        wishes=wishes._replace(confirmed=None, hope=None, proposed=()),
    )


def _assessed(state: Conversation, version: int, event: TurnAssessed) -> Conversation:
    if not state.risks and state.policy.holds_on(event.risk, event.about, state.law):
        state = state._replace(hold_due=version)
    unit = state.unit
    if unit is None:
        return state._replace(version=version)
    by = event.by.kind, event.by.id
    opinion = Opinion(by, event.turn, event.verdict, event.category, event.severity, event.risk)
    return Conversation(version, judged(unit, opinion, state.law), *state[2:])


def _led_away(state: Conversation, version: int, event: RedirectionAttempted | WarningGiven) -> Conversation:
    unit = state.unit
    if unit is not None:
        if isinstance(event, RedirectionAttempted):
            unit = unit._replace(redirection=unit.redirection or version)
        else:
            complete = event.names_behaviour and event.redirects and event.states_consequence
            warned = Warned(version, event.category, complete, user=unit.user)
            unit = unit._replace(warnings=standing(unit.warnings, (warned,)))
    return Conversation(version, unit, *state[2:])


def _wished(
    state: Conversation, version: int, event: EndRequested | EndConfirmed | HopeExhausted | EndProposed
) -> Conversation:
    """While a risk is open, what is asked for is recorded and has no effect."""
    wishes = state.wishes
    if not state.risks:
        match event:
            case EndRequested():
                wishes = wishes._replace(requested=version, requested_by=(event.by.kind, event.by.id))
            case EndConfirmed():
                by = event.by.kind, event.by.id
                if wishes.to_confirm is not None and (state.law == 1 or by == wishes.to_confirm_by):
                    wishes = wishes._replace(confirmed=(wishes.to_confirm, version))
            case HopeExhausted():
                wishes = wishes._replace(hope=version)
            case EndProposed():
                proposal = (event.ground, event.by)
                wishes = wishes._replace(proposed=(*(p for p in wishes.proposed if p != proposal), proposal))
            case _:
                assert_never(event)
    return state._replace(version=version, wishes=wishes)


def _new_terms(state: Conversation, version: int, terms: Terms) -> Conversation:
    """Another policy, and perhaps a later edition, which weighs what was said of the current unit in its own way."""
    state, before = _without_warnings(state), state.terms
    unit = state.unit
    if unit is not None and before.law == 1 < terms.law:
        unit = weighed(unit)
    episode, unit = under_new_numbers(state.episode, unit, before, terms)
    return state._replace(
        version=version, policy=terms.policy, law=terms.law, mode=terms.mode, episode=episode, unit=unit
    )


def _opened_branch(state: Conversation, version: int, event: BranchOpened) -> Conversation:
    """A branch starts with what its prefix adds up to, and with what is open in its tree."""
    if state.law > 1 and event.risks:
        state = _without_warnings(state)  # as if the risk had been raised on it
    if state.law > 1 and event.absolved:
        state = state._replace(
            episode=Episode(relapses=state.episode.relapses), unit=state.unit and absolved(state.unit)
        )
    return state._replace(
        version=version,
        conversation=event.conversation,
        parent=event.parent,
        risks=event.risks,
        holds=event.holds,
        wishes=NO_WISHES,
        children=(),
        fork=None,
    )


def _appealed(ended: Ended, event: AppealFiled | AppealDecided) -> Ended:
    if isinstance(event, AppealFiled):
        return ended._replace(appealed=True)
    return ended._replace(appealed=False, granted=ended.granted or event.outcome is AppealOutcome.GRANTED)


def _without(holds: tuple[LegalHold, ...], hold: str) -> tuple[LegalHold, ...]:
    return tuple(one for one in holds if one.hold != hold)


def _without_warnings(state: Conversation) -> Conversation:
    episode, unit = state.episode, state.unit
    if not episode.warnings and not (unit and unit.warnings):
        return state
    return state._replace(episode=episode._replace(warnings=()), unit=unit and unit._replace(warnings=()))


def _opened(risks: tuple[OpenRisk, ...], event: RiskRaised) -> tuple[OpenRisk, ...]:
    """A risk that is raised twice is open once; raised about others too, it is about both, until it is cleared."""
    opened = OpenRisk(risk=event.risk, about=event.about)
    return risks if opened in risks else (*risks, opened)
