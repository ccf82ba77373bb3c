"""The law, read a second time: of each event of a log, which rules it breaks.

What this says the rules of the domain say too, and it was written from the law alone, without a look at them. The words
of the law are in `second_words`; here is one function a rule, in the order of the law, named after the rule's id, that
answers whether `event` may come next on a path. Read it beside the law, line by line.

    broken(path, event)    the rules that `event` would break, after what is known of its path
    SecondReading          takes a log event by event, trees and all, in one pass
"""

from collections.abc import Callable, Container, Iterable
from fnmatch import fnmatchcase
from typing import Any

from lastresort.domain.events import (
    EVENTS,
    AppealDecided,
    AppealFiled,
    AssistantTurnTaken,
    BranchedOff,
    BranchOpened,
    ContentErased,
    ConversationEnded,
    ConversationStarted,
    EndConfirmed,
    EndProposed,
    EndRequested,
    Event,
    Evidence,
    FeedbackGiven,
    HopeExhausted,
    Recorded,
    RedirectionAttempted,
    RiskCleared,
    RiskRaised,
    TurnAssessed,
    UserTurnTaken,
    WarningGiven,
)
from lastresort.domain.values import ActorKind, ForkCause, Ground, Verdict

from .second_words import Fork, Path, Risks, WarningRecord

Answer = Callable[[Path, Any], bool]
LAW: dict[str, Answer] = {}
"""Every rule by its id: may the event come next?"""

_SPEAKS_OF: dict[type[Event], list[tuple[str, Answer]]] = {kind: [] for kind in EVENTS.values()}


def rule(*kinds: type[Event]) -> Callable[[Answer], Answer]:
    """Enter a function into the law under its name: it answers whether an event of these kinds may come next."""

    def enact(answer: Answer) -> Answer:
        id = answer.__name__.replace("_", "-")
        LAW[id] = answer
        for kind in kinds:
            _SPEAKS_OF[kind].append((id, answer))
        return answer

    return enact


def broken(path: Path, event: Event) -> tuple[str, ...]:
    """Return the ids of the rules that forbid `event` on `path`, in the order of the law."""
    return tuple([id for id, answer in _SPEAKS_OF[type(event)] if not answer(path, event)])


# --- The shape of a branch --------------------------------------------------------------------------------------------


@rule(*EVENTS.values())
def begins_once(path: Path, event: Event) -> bool:
    # The first event of a stream is its beginning, and no other is: of a root the start, of a fork its opening.
    if path.begun:
        return type(event) not in (ConversationStarted, BranchOpened)
    return type(event) is (BranchOpened if path.fork else ConversationStarted)


OPINIONS = (FeedbackGiven, AppealFiled, AppealDecided)


@rule(*EVENTS.values())
def ended_is_final(path: Path, event: Event) -> bool:
    # After the ending: opinions, appeals, risk, branches and erasure. Nothing else, not even after a won appeal.
    # (An ending in the prefix of a branch that is about to open is the business of `forks_before_the_end`.)
    if not path.ended or not path.begun:
        return True
    return type(event) in (*OPINIONS, RiskRaised, RiskCleared, BranchedOff, ContentErased)


ABOUT_A_TURN = (TurnAssessed, EndRequested, EndConfirmed, HopeExhausted)
HAVING_SEEN = (WarningGiven, EndProposed, ConversationEnded)


def _user_turn_named_by(event: Any) -> int:
    """Return the user turn that an act is about: what it answers, what it has seen, or its turn."""
    if type(event) is RedirectionAttempted:
        return event.answers
    turn: int = event.turn if type(event) in ABOUT_A_TURN else event.seen
    return turn


@rule(BranchOpened, BranchedOff, RedirectionAttempted, *ABOUT_A_TURN, *HAVING_SEEN)
def refers_to_the_path(path: Path, event: Event) -> bool:
    # What an event points at is there, and is what the field says.
    if type(event) is BranchOpened:
        return event.at == path.version
    if type(event) is BranchedOff:
        return event.at < path.version
    if not path.is_a(_user_turn_named_by(event), UserTurnTaken):
        return False
    if type(event) is RedirectionAttempted or type(event) is WarningGiven:
        return path.is_a(event.turn, AssistantTurnTaken)
    return type(event) is not ConversationEnded or _is_on(path, event.evidence)


def _is_on(path: Path, evidence: Evidence) -> bool:
    cited: list[tuple[int | None, type[Event]]] = [
        *((version, RedirectionAttempted) for version in evidence.redirections),
        (evidence.warning, WarningGiven),
        (evidence.tested_by, UserTurnTaken),
        (evidence.hope, HopeExhausted),
        (evidence.request, EndRequested),
        (evidence.confirmation, EndConfirmed),
    ]
    return all(version is None or path.is_a(version, kind) for version, kind in cited)


@rule(AssistantTurnTaken, RedirectionAttempted, WarningGiven)
def answers_a_user(path: Path, event: AssistantTurnTaken | RedirectionAttempted | WarningGiven) -> bool:
    # The turn before an assistant turn is a user turn. What led away or warned was the latest assistant turn, and it
    # had the user turn before it that it answers.
    if isinstance(event, AssistantTurnTaken):
        return path.unit_name > path.answer
    return path.answer == event.turn > _user_turn_named_by(event)


@rule(RedirectionAttempted, *ABOUT_A_TURN, *HAVING_SEEN)
def judges_the_latest(path: Path, event: Event) -> bool:
    # What is said of a turn that is not the latest was overtaken.
    return _user_turn_named_by(event) == path.unit_name


# --- The last resort --------------------------------------------------------------------------------------------------


def on_request(event: WarningGiven | HopeExhausted | ConversationEnded) -> bool:
    return type(event) is ConversationEnded and event.ground is Ground.USER_REQUEST


@rule(RedirectionAttempted)
def redirects_harm(path: Path, event: RedirectionAttempted) -> bool:
    # There must be harm to lead away from; and trying twice in one answer is one attempt.
    unit = path.unit
    if unit is None or not unit.has(event.answers):
        return False
    return unit.judgement is Verdict.HARMFUL and unit.redirection is None


@rule(WarningGiven, ConversationEnded)
def redirected_first(path: Path, event: WarningGiven | ConversationEnded) -> bool:
    # Before a warning, and before an ending as last resort, enough redirections failed in this episode.
    return on_request(event) or len(path.stands.failed) >= path.policy.min_failed_redirections


@rule(ConversationEnded)
def warned_first(path: Path, event: ConversationEnded) -> bool:
    # A complete warning of this very harm stands from an earlier answer, and the harm went on after it.
    return on_request(event) or _was_put_to_the_test(path.stands.warning_of(event.category))


def _was_put_to_the_test(warning: WarningRecord | None) -> bool:
    return warning is not None and warning.is_complete and warning.tested_by is not None


@rule(WarningGiven, ConversationEnded)
def still_harmful(path: Path, event: WarningGiven | ConversationEnded) -> bool:
    # The harm is there now: in the latest unit, of this category, and nobody says otherwise.
    return on_request(event) or (path.unit is not None and path.unit.is_harm_of(event.category))


@rule(HopeExhausted, ConversationEnded)
def hope_exhausted(path: Path, event: HopeExhausted | ConversationEnded) -> bool:
    # There is hope as long as no warning was put to the test; and an ending needs that it was given up by now.
    if type(event) is HopeExhausted:
        return any(_was_put_to_the_test(warning) for warning in path.stands.warnings)
    return on_request(event) or path.hope is not None


@rule(ConversationEnded)
def grave_enough(path: Path, event: ConversationEnded) -> bool:
    # Not every harm may lead to an ending, and only if nobody thinks it mild.
    if on_request(event):
        return True
    return event.category in path.policy.categories and _is_as_grave_as(path, path.policy.min_severity)


def _is_as_grave_as(path: Path, least: int) -> bool:
    return path.unit is not None and path.unit.is_as_grave_as(least)


# --- Risk -------------------------------------------------------------------------------------------------------------


@rule(*EVENTS.values())
def risk_holds(path: Path, event: Event) -> bool:
    # Right after a verdict that sees such a risk, and with no hold on, comes the hold.
    return not path.must_hold or type(event) is RiskRaised


@rule(WarningGiven, HopeExhausted, EndProposed, ConversationEnded)
def no_end_at_risk(path: Path, event: Event) -> bool:
    # While somebody may come to harm nobody ends, or speaks of ending, no matter who wishes it.
    return not path.risks


@rule(ConversationEnded)
def risk_was_checked(path: Path, event: ConversationEnded) -> bool:
    # Somebody trusted looked at the latest turn and saw no risk, and nobody saw any, or was unsure, in the unit.
    unit = path.unit
    return unit is not None and not unit.at_risk and bool(unit.no_risk_by & {*path.policy.trusted_for_risk})


@rule(RiskCleared)
def cleared_by_authority(path: Path, event: RiskCleared) -> bool:
    # What is cleared was open, and who clears it is an operator or an assessor whom the policy names.
    is_open = event.risk in {risk for risk, _ in path.risks}
    named = event.by.kind is ActorKind.ASSESSOR and event.by.id in path.policy.may_clear_risk
    return is_open and (event.by.kind is ActorKind.OPERATOR or named)


# --- The user's wish --------------------------------------------------------------------------------------------------


@rule(EndRequested, EndConfirmed)
def asked_by_user(path: Path, event: EndRequested | EndConfirmed) -> bool:
    # Nobody asks in the user's name.
    return event.by.kind is ActorKind.USER


@rule(ConversationEnded)
def confirmed_later(path: Path, event: ConversationEnded) -> bool:
    # The wish was slept on: asked in one unit, confirmed in the next, and that is the latest.
    return not on_request(event) or (path.asked is not None and path.confirmation is not None)


# --- The ending itself ------------------------------------------------------------------------------------------------


@rule(ConversationEnded)
def eligible_model(path: Path, event: ConversationEnded) -> bool:
    # Only the model of this conversation ends it as a last resort, and only if its kind may.
    if on_request(event):
        return True
    its_own = event.by.kind is ActorKind.MODEL and event.by.id == path.model
    return its_own and any(fnmatchcase(event.by.id, pattern) for pattern in path.policy.eligible_models)


@rule(ConversationEnded)
def proposed_first(path: Path, event: ConversationEnded) -> bool:
    # Where two calls are needed: the first was by the same actor, on the same ground, for the same turn.
    return not path.policy.handshake or (event.ground, event.by.kind, event.by.id, event.seen) in path.proposals


@rule(ConversationEnded)
def evidence_is_true(path: Path, event: ConversationEnded) -> bool:
    # An ending says what it stands on, and that is so.
    told = (event.evidence, event.policy_hash, event.model)
    return told == (evidence(path, event.ground, event.category), path.policy.hash, path.model)


def evidence(path: Path, ground: Ground, category: str | None) -> Evidence:
    """Return what an ending on `path` stands on."""
    if ground is Ground.USER_REQUEST:
        confirmed = path.asked is not None and path.confirmation is not None
        return Evidence(request=path.asked, confirmation=path.confirmation) if confirmed else Evidence()
    episode = path.stands
    warning = episode.warning_of(category)
    return Evidence(
        redirections=episode.failed,
        warning=warning.version if warning else None,
        tested_by=warning.tested_by if warning else None,
        hope=path.hope,
    )


# --- The tree, the policy, the appeal ---------------------------------------------------------------------------------


@rule(BranchOpened)
def forks_at_a_turn(path: Path, event: BranchOpened) -> bool:
    # A branch takes the place of a turn: an edit of one of the user's, a retry of one of the model's.
    replaced = UserTurnTaken if event.cause is ForkCause.EDIT else AssistantTurnTaken
    return path.fork is not None and path.fork.next_in_parent is replaced


@rule(BranchOpened)
def forks_before_the_end(path: Path, event: BranchOpened) -> bool:
    # What a branch inherits has not ended.
    return not path.ended


@rule(BranchOpened)
def carries_risks(path: Path, event: BranchOpened) -> bool:
    # A risk is about people, not about a line of talk: a new branch knows every one that is open, and no other.
    carried = frozenset((risk.risk, risk.about) for risk in event.risks)
    return carried == (path.fork.open_in_tree if path.fork else frozenset())


@rule(WarningGiven, ConversationEnded)
def stricter_governs(path: Path, event: WarningGiven | ConversationEnded) -> bool:
    # Where an earlier policy of this episode asks for more than the one of now, that much is needed. (That an episode
    # closes by the stricter count is part of the word. That floors hold, of the type Policy.)
    episode, now = path.stands, path.policy
    if on_request(event) or episode.terms is None:
        return True
    if now.min_failed_redirections < episode.terms.min_failed_redirections > len(episode.failed):
        return False
    asks_for_graver = type(event) is ConversationEnded and episode.terms.min_severity > now.min_severity
    return not asks_for_graver or _is_as_grave_as(path, episode.terms.min_severity)


@rule(AppealFiled, AppealDecided)
def answers_an_appeal(path: Path, event: AppealFiled | AppealDecided) -> bool:
    # There is nothing to appeal against before the ending; what was filed is decided once, by an operator.
    if not path.ended:
        return False
    return type(event) is AppealFiled or (path.appealed and event.by.kind is ActorKind.OPERATOR)


# --- Trees ------------------------------------------------------------------------------------------------------------


class SecondReading:
    """What is known of every branch of a log, as far as it was read.

    Memory: a `Path` for each turn, since a branch may open before any of them; they share what is the same in them.

    Args:
        forks: the turns, by branch and version, before which branches open, if it is known: then no others are kept.
    """

    def __init__(self, forks: Container[tuple[str, int]] | None = None) -> None:
        self._wanted = forks
        self.branches: dict[str, Path] = {}
        self._roots: dict[str, str] = {}
        self._trees: dict[str, list[str]] = {}
        self._forks: dict[str, BranchOpened] = {}
        self._before_turns: dict[tuple[str, int], tuple[Path, type[Event]]] = {}

    def take(self, entry: Recorded) -> tuple[str, ...]:
        """Return the ids of the rules that an event breaks, in the order of the law, and go on from it."""
        branch, event = entry.branch, entry.event
        path = self.before(branch, event)
        rules = broken(path, event)
        self.record(branch, event, path)
        return rules

    def root_of(self, branch: str) -> str:
        """Return the root of a branch's tree: the branch itself, if it opened nowhere that is known."""
        return self._roots.get(branch, branch)

    def open_in_tree(self, branch: str) -> Risks:
        """Return every risk that is open on some branch of the tree."""
        tree = self._trees.get(self.root_of(branch), ())
        return frozenset(risk for other in tree for risk in self.branches[other].risks)

    def before(self, branch: str, event: Event) -> Path:
        """Return the path that `event` would continue: for a fork, its prefix."""
        known = self.branches.get(branch)
        if known is not None:
            return known
        if type(event) is not BranchOpened or event.parent not in self.branches:
            return Path()
        prefix, following = self._prefix(event)
        return prefix._replace(begun=False, fork=Fork(following, self.open_in_tree(event.parent)))

    def record(self, branch: str, event: Event, path: Path) -> None:
        """Go on from an event on `path`, lawful or not: it has happened."""
        kind = type(event)
        if kind is UserTurnTaken or kind is AssistantTurnTaken:
            turn = branch, path.version + 1
            if self._wanted is None or turn in self._wanted:
                self._before_turns[turn] = path, kind
        if branch not in self.branches:
            self._plant(branch, event)
        self.branches[branch] = path.then(event)

    def _plant(self, branch: str, event: Event) -> None:
        root = branch
        if type(event) is BranchOpened and event.parent in self.branches:
            root = self._roots[event.parent]
            self._forks[branch] = event
        self._roots[branch] = root
        self._trees.setdefault(root, []).append(branch)

    def _prefix(self, opened: BranchOpened) -> tuple[Path, type[Event] | None]:
        """Return what is known of the path as far as the fork, and the kind of the turn that follows on the parent's.

        Where no turn follows, no branch may open, and what is known of the parent by now stands for the prefix.
        """
        owner = opened.parent
        while owner in self._forks and opened.at < self._forks[owner].at:
            owner = self._forks[owner].parent
        if (found := self._before_turns.get((owner, opened.at + 1))) is not None:
            return found
        head = self.branches[opened.parent]
        ended = head.ended if head.ended <= opened.at else 0
        return head._replace(version=min(head.version, opened.at), ended=ended, must_hold=False), None

    def has_read(self, branch: str, version: int | None) -> bool:
        """Whether `version` is the last that was read of a branch."""
        return branch in self.branches and self.branches[branch].version == version

    def unheld(self) -> Iterable[tuple[str, int]]:
        """Yield each branch that ends with a verdict that saw a risk, so that a hold is missing, and its version."""
        return ((branch, path.version) for branch, path in self.branches.items() if path.must_hold)
