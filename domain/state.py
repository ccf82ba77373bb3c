"""What the events add up to: the facts that the rules look at. Small, and never the history.

A unit is the user turns since the last assistant turn. Its judgement counts at once, as it stands now, and is settled
when the next unit begins. So the state keeps the episode as the settled units left it beside the current
unit, and `Conversation.now` is the two together. `evolve` is total and pure: what is recorded has happened, and
only the rules judge.
"""

from collections.abc import Iterable
from typing import NamedTuple, assert_never

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
    Event,
    EventBase,
    FeedbackGiven,
    HopeExhausted,
    ModelChanged,
    PolicyChanged,
    Recorded,
    RedirectionAttempted,
    RiskCleared,
    RiskRaised,
    TurnAssessed,
    UserLeft,
    UserTurnTaken,
    WarningGiven,
)
from .policy import RECALLED, Numbers, Policy
from .values import Actor, ActorKind, Ground, OpenRisk, Risk, Verdict, milder

FOLD = 1
"""The number of this fold. It goes up with each change of what `evolve` makes of a log, or of the fields of the state:
states that were kept under another number are not used. `tests/test_fold.py` notices a change.
"""


class Warned(NamedTuple):
    """A warning that stands for its category. It is tested once a later unit goes on with the harm it names."""

    version: int
    category: str
    complete: bool
    tested_by: int | None = None


class Unit(NamedTuple):
    """The user turns since the last assistant turn, and what has been said of them.

    The mildest verdict is the unit's judgement, and a risk that somebody saw counts for the whole unit. But to warn and
    to end it takes a verdict on the unit's latest turn too, since a turn that nobody has judged may be anything.
    """

    turn: int  # the latest user turn, which names the unit
    judged: int = 0  # the turn that the latest verdict names
    judgement: Verdict | None = None  # the mildest verdict
    categories: frozenset[str] = frozenset()  # of its verdicts of harm; two are enough to know that they differ
    severity: int = 3  # the lowest given
    at_risk: bool = False  # somebody saw a risk, or could not tell
    safe_by: frozenset[ActorKind] = frozenset()  # who saw none in the latest turn
    redirection: int | None = None
    warnings: tuple[Warned, ...] = ()
    numbers: Numbers | None = None  # what governs an episode that this unit opened before the policy changed

    def harmful_in(self, category: str) -> bool:
        """Whether the unit as it stands is judged harmful, and every verdict names `category`."""
        return (
            self.judgement is Verdict.HARMFUL and self.judged == self.turn and self.categories == frozenset({category})
        )


class Episode(NamedTuple):
    """A run of harm: what it counts, and what governs it. `numbers` is None while no episode is open."""

    numbers: Numbers | None = None
    failed: int = 0  # failed redirections, whatever the category
    failed_at: tuple[int, ...] = ()  # their versions: of the latest RECALLED
    pending: int | None = None  # the redirection that no later unit has answered
    productive: int = 0  # productive units in a row
    warnings: tuple[Warned, ...] = ()


class Wishes(NamedTuple):
    """What was asked for and lapses: with the next unit, or with the next user turn."""

    requested: int | None = None  # EndRequested in this unit
    to_confirm: int | None = None  # EndRequested in the unit before
    confirmed: tuple[int, int] | None = None  # EndRequested, EndConfirmed
    hope: int | None = None  # HopeExhausted
    proposed: tuple[tuple[Ground, Actor], ...] = ()


class Ended(NamedTuple):
    """The ending of a branch, and what became of it."""

    version: int
    ground: Ground
    category: str | None
    appealed: bool = False  # an appeal waits for its decision


class ForkPoint(NamedTuple):
    """Where a branch is about to open: what comes next on its parent's path, and the risks open in the tree."""

    next: type[EventBase] | None
    risks: tuple[OpenRisk, ...]


NO_EPISODE = Episode()
NOBODY: frozenset[ActorKind] = frozenset()
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

    @property
    def begun(self) -> bool:
        return self.conversation != "" and self.fork is None

    @property
    def answered(self) -> bool:
        """Whether the current unit has been answered."""
        return self.unit is not None and self.answered_by > self.unit.turn

    @property
    def now(self) -> Episode:
        """The episode with the current unit's judgement counted as it stands."""
        return counted(self.episode, self.unit, self.policy) if self.unit else self.episode

    @property
    def governing(self) -> Numbers:
        """The numbers that govern now: the stricter ones, where the policy changed within an open episode."""
        return self.now.numbers or self.policy.numbers

    def warning(self, category: str | None) -> Warned | None:
        """The warning that stands for `category`, if there is one."""
        return next((warned for warned in self.now.warnings if warned.category == category), None)


def counted(episode: Episode, unit: Unit, policy: Policy) -> Episode:
    """Return `episode` after `unit` as it is judged so far; one that nobody judged leaves it as it was."""
    match unit.judgement:
        case Verdict.HARMFUL:
            return _harm_went_on(episode, unit, policy)
        case Verdict.PRODUCTIVE:
            return _made_progress(episode)
        case Verdict.AMBIGUOUS | Verdict.UNPRODUCTIVE | None:
            return NO_EPISODE if _is_over(episode) else episode
    assert_never(unit.judgement)


def _is_over(episode: Episode) -> bool:
    """Whether there were enough productive units; a stricter policy may have made them enough."""
    return episode.numbers is not None and episode.productive >= episode.numbers.productive_to_close


def _made_progress(episode: Episode) -> Episode:
    if episode.numbers is None or episode.productive + 1 >= episode.numbers.productive_to_close:
        return NO_EPISODE
    return episode._replace(pending=None, productive=episode.productive + 1)


def _harm_went_on(episode: Episode, unit: Unit, policy: Policy) -> Episode:
    failed, failed_at = episode.failed, episode.failed_at
    if episode.pending is not None:
        failed, failed_at = failed + 1, (*failed_at, episode.pending)[-RECALLED:]
    return Episode(
        numbers=episode.numbers or unit.numbers or policy.numbers,
        failed=failed,
        failed_at=failed_at,
        warnings=tuple(
            warned._replace(tested_by=unit.turn)
            if warned.tested_by is None and unit.harmful_in(warned.category)
            else warned
            for warned in episode.warnings
        ),
    )


def settled(episode: Episode, unit: Unit, policy: Policy) -> Episode:
    """Return `episode` after `unit`, which is over: answered and never judged, it counts as productive.

    Only what answered harm outlives its unit: a redirection becomes pending, a warning stands.
    """
    if unit.judgement is None:
        return _made_progress(episode)
    after = counted(episode, unit, policy)
    if unit.judgement is not Verdict.HARMFUL:
        return after
    return after._replace(pending=unit.redirection, warnings=_standing(after.warnings, unit.warnings))


def _standing(warnings: tuple[Warned, ...], new: tuple[Warned, ...]) -> tuple[Warned, ...]:
    """One warning a category: the first complete one, or else the latest."""
    standing = {warned.category: warned for warned in warnings}
    for warned in new:
        if warned.category not in standing or not standing[warned.category].complete:
            standing[warned.category] = warned
    return tuple(standing.values())


def about_to_fork(prefix: Conversation, following: type[EventBase] | None, risks: tuple[OpenRisk, ...]) -> Conversation:
    """Return the state in which a branch may open after `prefix`.

    Args:
        prefix: the parent's path up to the fork.
        following: the type of the next event on the parent's path, None if there is none.
        risks: every risk that is open anywhere in the tree.
    """
    return prefix._replace(fork=ForkPoint(following, risks))


def evolve(state: Conversation, event: Event) -> Conversation:
    """Return the state after `event`. Total and pure: it judges nothing, and every event has its place."""
    version = state.version + 1
    match event:
        case UserTurnTaken():
            return _user_turn(state, version)
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
                version, conversation=event.conversation, account=event.account, policy=event.policy, model=event.model
            )
        case BranchOpened():
            return state._replace(
                version=version,
                conversation=event.conversation,
                parent=event.parent,
                risks=event.risks,
                wishes=NO_WISHES,
                children=(),
                fork=None,
            )
        case BranchedOff():
            return state._replace(version=version, children=(*state.children, event.child))
        case PolicyChanged():
            return _new_policy(state, version, event.policy)
        case ModelChanged():
            return _without_warnings(state)._replace(version=version, model=event.model)
        case AppealFiled() | AppealDecided():
            ended = state.ended and state.ended._replace(appealed=isinstance(event, AppealFiled))
            return state._replace(version=version, ended=ended)
        case AttemptRefused() | UserLeft() | FeedbackGiven() | ContentErased():
            return state._replace(version=version)
    assert_never(event)


def fold(history: Iterable[Recorded], state: Conversation | None = None) -> Conversation:
    """Return the state after `history`, from `state` or from the beginning."""
    state = state or Conversation()
    for recorded in history:
        state = evolve(state, recorded.event)
    return state


def _user_turn(state: Conversation, version: int) -> Conversation:
    unit, wishes = state.unit, state.wishes
    if unit is None or state.answered_by > unit.turn:
        episode = settled(state.episode, unit, state.policy) if unit else state.episode
        if wishes is not NO_WISHES:
            wishes = Wishes(to_confirm=wishes.requested) if wishes.requested else NO_WISHES
        return Conversation(version, Unit(version), state.answered_by, episode, wishes, *state[5:])
    return state._replace(
        version=version,
        unit=unit._replace(turn=version, safe_by=NOBODY),
        wishes=Wishes(requested=wishes.requested, to_confirm=wishes.to_confirm),
    )


def _assessed(state: Conversation, version: int, event: TurnAssessed) -> Conversation:
    if event.risk in state.policy.hold_on and not state.risks:
        state = state._replace(hold_due=version)
    unit = state.unit
    if unit is None:
        return state._replace(version=version)
    categories = unit.categories
    if event.category is not None and len(categories) < 2:
        categories = categories | {event.category}
    safe = event.risk is Risk.NONE
    unit = Unit(
        unit.turn,
        event.turn,
        event.verdict if unit.judgement is None else milder(unit.judgement, event.verdict),
        categories,
        min(unit.severity, event.severity or 3),
        unit.at_risk or not safe,
        unit.safe_by | {event.by.kind} if safe else unit.safe_by,
        *unit[7:],
    )
    return Conversation(version, unit, *state[2:])


def _led_away(state: Conversation, version: int, event: RedirectionAttempted | WarningGiven) -> Conversation:
    unit = state.unit
    if unit is not None:
        if isinstance(event, RedirectionAttempted):
            unit = unit._replace(redirection=unit.redirection or version)
        else:
            complete = event.names_behaviour and event.redirects and event.states_consequence
            unit = unit._replace(warnings=_standing(unit.warnings, (Warned(version, event.category, complete),)))
    return Conversation(version, unit, *state[2:])


def _wished(
    state: Conversation, version: int, event: EndRequested | EndConfirmed | HopeExhausted | EndProposed
) -> Conversation:
    """While a risk is open, what is asked for is recorded and has no effect."""
    wishes = state.wishes
    if not state.risks:
        match event:
            case EndRequested():
                wishes = wishes._replace(requested=version)
            case EndConfirmed():
                if wishes.to_confirm is not None:
                    wishes = wishes._replace(confirmed=(wishes.to_confirm, version))
            case HopeExhausted():
                wishes = wishes._replace(hope=version)
            case EndProposed():
                proposal = (event.ground, event.by)
                wishes = wishes._replace(proposed=(*(p for p in wishes.proposed if p != proposal), proposal))
            case _:
                assert_never(event)
    return state._replace(version=version, wishes=wishes)


def _new_policy(state: Conversation, version: int, policy: Policy) -> Conversation:
    """Within an episode, the stricter value of each number governs until it closes.

    An episode that the current unit opens may yet prove to be none, so then the numbers are the unit's to keep.
    """
    state = _without_warnings(state)
    episode, unit, numbers = state.episode, state.unit, state.now.numbers
    if numbers is not None:
        numbers = numbers.stricter(policy.numbers)
        if state.now.productive >= numbers.productive_to_close:
            episode = NO_EPISODE
        elif episode.numbers is not None:
            episode = episode._replace(numbers=numbers)
        else:
            unit = unit and unit._replace(numbers=numbers)
    return state._replace(version=version, policy=policy, episode=episode, unit=unit)


def _without_warnings(state: Conversation) -> Conversation:
    return state._replace(
        episode=state.episode._replace(warnings=()), unit=state.unit and state.unit._replace(warnings=())
    )


def _opened(risks: tuple[OpenRisk, ...], event: RiskRaised) -> tuple[OpenRisk, ...]:
    """A risk that is raised twice is open once; raised about others too, it is about both, until it is cleared."""
    opened = OpenRisk(risk=event.risk, about=event.about)
    return risks if opened in risks else (*risks, opened)
