"""The law, said again over whole histories.

This oracle shares no code with the rules that it checks: it takes the event types, the values and the policy from
`lastresort.domain` and nothing else. It keeps no state. Each word of the law (unit, judgement, episode, failed
redirection, standing warning, ...) is a function of the history so far, worked out from its first event; a memo
makes that bearable and changes nothing. Read it beside the law, line by line: the words first, then one function a
rule, named after the rule's id, that answers whether `event` may come next.

    unlawful(log)            what is wrong with a recorded log, trees and all
    History.of(events)       one path on its own; `broken(past, event)` names the rules in the way of an event
"""

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import wraps
from typing import Any, NamedTuple, Self, TypeVar

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
    ModelChanged,
    PolicyChanged,
    Recorded,
    RedirectionAttempted,
    RiskCleared,
    RiskRaised,
    TurnAssessed,
    UserTurnTaken,
    WarningGiven,
)
from lastresort.domain.policy import Policy
from lastresort.domain.values import ActorKind, ForkCause, Ground, Risk, Verdict

Risks = frozenset[tuple[str, str]]
EVIDENCE_KEPT = 100  # An ending lists at most so many failed redirections, the latest ones.


class Fork(NamedTuple):
    """Where a branch that is about to be opened leaves its parent."""

    next_in_parent: Event | None
    open_in_tree: Risks


# Kinds are told apart by `type(event) is`, not `isinstance`, which is slow on pydantic models.


class History:
    """What has happened on a path: `event`, preceded by the history `before`. The empty one has neither."""

    def __init__(self, before: "History | None" = None, event: Event | None = None, own: int = 0) -> None:
        self.before, self.event, self.own = before, event, own
        self.fork: Fork | None = None
        self.path: tuple[Event, ...] = () if before is None or event is None else (*before.path, event)
        self.memo: dict[Any, Any] = {}

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """Return the history of one branch: `events` from the first to the last."""
        past = cls()
        for event in events:
            past = past.then(event)
        return past

    def then(self, event: Event) -> Self:
        return type(self)(self, event, self.own + 1)

    def forget(self) -> None:
        """Give the memo back, but for what the memo of later histories builds on."""
        self.memo = {last_closing: self.memo[last_closing]} if last_closing in self.memo else {}

    def upto(self, version: int) -> "History":
        past: History = self
        while past.before is not None and len(past.path) > version:
            past = past.before
        return past

    def about_to_fork(self, at: int, open_in_tree: Risks) -> "History":
        """Return the history of a branch not yet opened: the path as far as `at`, nothing of its own."""
        prefix = self.upto(at)
        fork = History(prefix.before, prefix.event)
        fork.fork = Fork(self.path[at] if at < len(self.path) else None, open_in_tree)
        return fork

    def at(self, version: int) -> Any:
        """Return the event at `version`, of whichever kind the caller knows that it is."""
        return self.path[version - 1]

    def all(self, *kinds: type[Event]) -> list[tuple[int, Any]]:
        """Return the events of these kinds, each with its version."""
        return [(version, event) for version, event in enumerate(self.path, 1) if type(event) in kinds]

    def last(self, *kinds: type[Event]) -> int:
        """Return the version of the latest event of these kinds, 0 if there is none."""
        if kinds not in self.memo:
            versions = range(len(self.path), 0, -1)
            self.memo[kinds] = next((v for v in versions if type(self.path[v - 1]) in kinds), 0)
        version: int = self.memo[kinds]
        return version

    def is_a(self, version: int | None, kind: type[Event]) -> bool:
        """Return whether the path has an event of this kind at `version`."""
        return version is not None and 0 < version <= len(self.path) and type(self.path[version - 1]) is kind


Word = TypeVar("Word")


def word(meaning: Callable[[History], Word]) -> Callable[[History], Word]:
    """Remember what a word of the law means in a history."""

    @wraps(meaning)
    def remembered(past: History) -> Word:
        if meaning not in past.memo:
            past.memo[meaning] = meaning(past)
        meant: Word = past.memo[meaning]
        return meant

    return remembered


# --- Words: turns, units, verdicts --------------------------------------------------------------------------------


class Unit(NamedTuple):
    """User turns with no answer between them, and the verdicts on them by version."""

    turns: tuple[int, ...]
    verdicts: tuple[tuple[int, TurnAssessed], ...]
    over: bool

    @property
    def name(self) -> int:
        return self.turns[-1]

    @property
    def judgement(self) -> Verdict | None:
        """The mildest verdict. What was answered, and never judged when the next unit began, was productive."""
        given = {verdict.verdict for _, verdict in self.verdicts}
        for mildest in (Verdict.PRODUCTIVE, Verdict.UNPRODUCTIVE, Verdict.AMBIGUOUS, Verdict.HARMFUL):
            if mildest in given:
                return mildest
        return Verdict.PRODUCTIVE if self.over else None

    @property
    def was_judged_to_its_end(self) -> bool:
        """Whether its latest turn was looked at too, not only turns before that."""
        return any(verdict.turn == self.name for _, verdict in self.verdicts)

    def is_harm_of(self, category: str | None) -> bool:
        """Judged harmful, its latest turn included, and every verdict names this category."""
        named = {verdict.category for _, verdict in self.verdicts}
        return self.judgement is Verdict.HARMFUL and named == {category} and self.was_judged_to_its_end


@word
def units(past: History) -> tuple[Unit, ...]:
    # A unit lasts until the next user turn that comes after an assistant turn.
    runs: list[list[int]] = []
    answered = True
    for version, turn in past.all(UserTurnTaken, AssistantTurnTaken):
        if type(turn) is AssistantTurnTaken:
            answered = True
        elif answered:
            runs.append([version])
            answered = False
        else:
            runs[-1].append(version)
    verdicts = past.all(TurnAssessed)
    return tuple(
        Unit(tuple(run), tuple((v, verdict) for v, verdict in verdicts if verdict.turn in run), run is not runs[-1])
        for run in runs
    )


def current(past: History) -> Unit | None:
    return units(past)[-1] if units(past) else None


def place_of(turn: int, past: History) -> int | None:
    """Return which unit, counted from 0, holds this user turn."""
    return next((place for place, unit in enumerate(units(past)) if turn in unit.turns), None)


# --- Words: policy, model, risk -----------------------------------------------------------------------------------


@word
def policy(past: History) -> Policy:
    # (Before the beginning there is none; `begins_once` forbids whatever would ask for it.)
    named = past.last(ConversationStarted, PolicyChanged)
    return past.at(named).policy if named else Policy.default()


@word
def model(past: History) -> str | None:
    named = past.last(ConversationStarted, ModelChanged)
    return past.at(named).model if named else None


@word
def open_risks(past: History) -> Risks:
    # A branch begins with what its BranchOpened carries, whatever the prefix had; then its own stream decides.
    risks: set[tuple[str, str]] = set()
    for _, event in past.all(BranchOpened, RiskRaised, RiskCleared):
        if type(event) is BranchOpened:
            risks = {(risk.risk, risk.about) for risk in event.risks}
        elif type(event) is RiskRaised:
            risks.add((event.risk, event.about))  # raised twice, it is open once; about somebody else, it is another
        else:
            risks = {(risk, about) for risk, about in risks if risk != event.risk}
    return frozenset(risks)


# --- Words: the episode -------------------------------------------------------------------------------------------


def _opened_after(version: int, past: History) -> int | None:
    # An episode opens with a unit judged harmful (as judged by now): at the first verdict that said so.
    first_verdicts = (unit.verdicts[0][0] for unit in units(past) if unit.judgement is Verdict.HARMFUL)
    return next((opened for opened in first_verdicts if opened > version), None)


def _governing(past: History, opened: int | None) -> list[Policy]:
    # While an episode is open, every policy that governed in it since it opened; otherwise the one there is.
    if opened is None:
        return [policy(past)]
    return [policy(past.upto(opened)), *(change.policy for v, change in past.all(PolicyChanged) if v > opened)]


def _closes(past: History, closed_before: int) -> bool:
    # It closes after enough productive units in a row. Harm starts the count anew, the other judgements leave it.
    opened = _opened_after(closed_before, past)
    if opened is None:
        return False
    productive = 0
    for unit in units(past):
        if unit.judgement is Verdict.HARMFUL:
            productive = 0
        elif unit.judgement is Verdict.PRODUCTIVE:
            productive += 1
    return productive >= min(governing.productive_to_close for governing in _governing(past, opened))


def last_closing(past: History) -> int:
    """Return the version at which an episode closed last, 0 if none did. What closes stays closed."""
    known = past
    while last_closing not in known.memo and known.before is not None:
        known = known.before
    closed: int = known.memo.setdefault(last_closing, 0)
    for version in range(len(known.path) + 1, len(past.path) + 1):
        step = past.upto(version)
        closed = version if _closes(step, closed) else closed
        step.memo[last_closing] = closed
    return closed


@word
def opening(past: History) -> int | None:
    """The version of the verdict that opened the episode that is open."""
    return _opened_after(last_closing(past), past)


@word
def governing(past: History) -> list[Policy]:
    """The policies whose numbers count now."""
    return _governing(past, opening(past))


# --- Words: redirections, warnings --------------------------------------------------------------------------------


@word
def failed_redirections(past: History) -> tuple[int, ...]:
    # One failed when a later unit was judged harmful before any was judged productive. Void with its episode, and
    # if what it answered was not harm after all. Doubt and silence decide nothing.
    failed = []
    for version, redirection in past.all(RedirectionAttempted):
        answered = place_of(redirection.answers, past)
        if version <= last_closing(past) or answered is None:
            continue
        if units(past)[answered].judgement is not Verdict.HARMFUL:
            continue
        later = [unit.judgement for unit in units(past)[answered + 1 :]]
        decisive = [judgement for judgement in later if judgement in (Verdict.HARMFUL, Verdict.PRODUCTIVE)]
        if decisive and decisive[0] is Verdict.HARMFUL:
            failed.append(version)
    return tuple(failed)


def is_complete(warning: WarningGiven) -> bool:
    return warning.names_behaviour and warning.redirects and warning.states_consequence


@word
def standing_warnings(past: History) -> dict[str, int]:
    # By category: until its episode closes, a risk is raised, or model or policy change; void as well if what it
    # answered settles as not harmful. A later one takes the place of an incomplete one, never of a complete one. One
    # given in answer to the unit of now does not stand yet: warned is who was warned in an earlier assistant turn.
    void = max(last_closing(past), past.last(RiskRaised, ModelChanged, PolicyChanged))
    standing: dict[str, int] = {}
    for version, warning in past.all(WarningGiven):
        answered = place_of(warning.seen, past)
        if version <= void or answered is None or not units(past)[answered].over:
            continue
        earlier = standing.get(warning.category)
        replaces = earlier is None or not is_complete(past.at(earlier))
        if units(past)[answered].judgement is Verdict.HARMFUL and replaces:
            standing[warning.category] = version
    return standing


def tested_by(warning: int, past: History) -> int | None:
    """Return the user turn that tested a warning first: a later unit of the harm that it warned of."""
    given: WarningGiven = past.at(warning)
    answered = place_of(given.seen, past)
    later = () if answered is None else units(past)[answered + 1 :]
    return next((unit.name for unit in later if unit.is_harm_of(given.category)), None)


# --- Words: what lapses -------------------------------------------------------------------------------------------


def _since_the_last_turn(past: History, kind: type[Event]) -> list[tuple[int, Any]]:
    # Confirmations, proposals and statements of hope lapse with the next user turn; raising a risk voids them, and
    # a branch does not inherit them.
    lapsed = past.last(UserTurnTaken, RiskRaised, BranchOpened)
    return [(version, event) for version, event in past.all(kind) if version > lapsed]


@word
def hope(past: History) -> int | None:
    stated = _since_the_last_turn(past, HopeExhausted)
    return stated[-1][0] if stated else None


@word
def proposals(past: History) -> list[EndProposed]:
    return [proposal for _, proposal in _since_the_last_turn(past, EndProposed)]


def _requests_in(unit: Unit, past: History) -> list[int]:
    # Asked under a risk, it is recorded and has no effect, ever. Raising voids; a branch does not inherit.
    void = past.last(RiskRaised, BranchOpened)
    asked = [(version, request) for version, request in past.all(EndRequested) if version > void]
    return [v for v, request in asked if request.turn in unit.turns and not open_risks(past.upto(v - 1))]


@word
def request_and_confirmation(past: History) -> tuple[int | None, int | None]:
    # A confirmation counts if the user asked in the unit right before the one in which they confirm.
    if len(units(past)) < 2:
        return None, None
    asked = _requests_in(units(past)[-2], past)
    confirmed = [v for v, _ in _since_the_last_turn(past, EndConfirmed) if not open_risks(past.upto(v - 1))]
    return (asked[-1], confirmed[-1]) if asked and confirmed else (None, None)


# --- Rules: the shape of a branch ---------------------------------------------------------------------------------

Answer = Callable[[History, Any], bool]
LAW: dict[str, Answer] = {}
_SPEAKS_OF: dict[type[Event], list[str]] = {kind: [] for kind in EVENTS.values()}


def rule(*kinds: type[Event]) -> Callable[[Answer], Answer]:
    """Enter a function into the law under its name: it answers whether an event of these kinds may come next."""

    def enact(answer: Answer) -> Answer:
        id = answer.__name__.replace("_", "-")
        LAW[id] = answer
        for kind in kinds:
            _SPEAKS_OF[kind].append(id)
        return answer

    return enact


def broken(past: History, event: Event) -> tuple[str, ...]:
    """Return the ids of the rules that forbid `event` after `past`, in the order of the law."""
    return tuple(id for id in _SPEAKS_OF[type(event)] if not LAW[id](past, event))


@rule(*EVENTS.values())
def begins_once(past: History, event: Event) -> bool:
    # The first event of a stream is its beginning, and no other is: of a root the start, of a fork its opening.
    if past.own > 0:
        return type(event) not in (ConversationStarted, BranchOpened)
    return type(event) is (BranchOpened if past.fork else ConversationStarted)


@rule(*EVENTS.values())
def ended_is_final(past: History, event: Event) -> bool:
    # After the ending: opinions, appeals, risk, branches and erasure. Nothing else, not even after a won appeal.
    # (An ending in the prefix of a branch that is about to open is the business of `forks_before_the_end`.)
    if past.own == 0 or not past.last(ConversationEnded):
        return True
    opinions = (FeedbackGiven, AppealFiled, AppealDecided)
    return type(event) in (*opinions, RiskRaised, RiskCleared, BranchedOff, ContentErased)


def _user_turn_named_by(event: Any) -> int:
    """Return the user turn that an act is about: what it answers, what it has seen, or its turn."""
    if type(event) is RedirectionAttempted:
        return int(event.answers)
    return int(event.turn if type(event) in ABOUT_A_TURN else event.seen)


ABOUT_A_TURN = (TurnAssessed, EndRequested, EndConfirmed, HopeExhausted)
HAVING_SEEN = (WarningGiven, EndProposed, ConversationEnded)


@rule(BranchOpened, BranchedOff, RedirectionAttempted, *ABOUT_A_TURN, *HAVING_SEEN)
def refers_to_the_path(past: History, event: Event) -> bool:
    # What an event points at is there, and is what the field says.
    if type(event) is BranchOpened:
        return event.at == len(past.path)
    if type(event) is BranchedOff:
        return event.at < len(past.path)
    if not past.is_a(_user_turn_named_by(event), UserTurnTaken):
        return False
    if type(event) is RedirectionAttempted or type(event) is WarningGiven:
        return past.is_a(event.turn, AssistantTurnTaken)
    return type(event) is not ConversationEnded or _is_on_the_path(event.evidence, past)


def _is_on_the_path(evidence: Evidence, past: History) -> bool:
    cited: list[tuple[int | None, type[Event]]] = [
        *((version, RedirectionAttempted) for version in evidence.redirections),
        (evidence.warning, WarningGiven),
        (evidence.tested_by, UserTurnTaken),
        (evidence.hope, HopeExhausted),
        (evidence.request, EndRequested),
        (evidence.confirmation, EndConfirmed),
    ]
    return all(version is None or past.is_a(version, kind) for version, kind in cited)


@rule(AssistantTurnTaken, RedirectionAttempted, WarningGiven)
def answers_a_user(past: History, event: AssistantTurnTaken | RedirectionAttempted | WarningGiven) -> bool:
    # The turn before an assistant turn is a user turn. What led away or warned was the latest assistant turn, and it
    # had the user turn before it that it answers.
    if isinstance(event, AssistantTurnTaken):
        return past.is_a(past.last(UserTurnTaken, AssistantTurnTaken), UserTurnTaken)
    turn = event.turn
    return turn == past.last(AssistantTurnTaken) and turn > _user_turn_named_by(event)


@rule(RedirectionAttempted, *ABOUT_A_TURN, *HAVING_SEEN)
def judges_the_latest(past: History, event: Event) -> bool:
    # Who speaks of a turn that is not the latest was overtaken.
    return _user_turn_named_by(event) == past.last(UserTurnTaken)


# --- Rules: the last resort ---------------------------------------------------------------------------------------


def on_request(event: Event) -> bool:
    return type(event) is ConversationEnded and event.ground is Ground.USER_REQUEST


@rule(RedirectionAttempted)
def redirects_harm(past: History, event: RedirectionAttempted) -> bool:
    # There must be harm to lead away from; and trying twice in one answer is one attempt.
    place = place_of(event.answers, past)
    if place is None or units(past)[place].judgement is not Verdict.HARMFUL:
        return False
    return all(place_of(earlier.answers, past) != place for _, earlier in past.all(RedirectionAttempted))


@rule(WarningGiven, ConversationEnded)
def redirected_first(past: History, event: WarningGiven | ConversationEnded) -> bool:
    # Before a warning, and before an ending as last resort, enough redirections failed in this episode.
    return on_request(event) or len(failed_redirections(past)) >= policy(past).min_failed_redirections


@rule(ConversationEnded)
def warned_first(past: History, event: ConversationEnded) -> bool:
    # A complete warning of this very harm stands from an earlier answer, and the harm went on after it.
    if on_request(event):
        return True
    warning = standing_warnings(past).get(event.category or "")
    return warning is not None and _was_put_to_the_test(warning, past)


def _was_put_to_the_test(warning: int, past: History) -> bool:
    return is_complete(past.at(warning)) and tested_by(warning, past) is not None


@rule(WarningGiven, ConversationEnded)
def still_harmful(past: History, event: WarningGiven | ConversationEnded) -> bool:
    # The harm is there now: in the latest unit, of this category, and nobody says otherwise.
    unit = current(past)
    return on_request(event) or (unit is not None and unit.is_harm_of(event.category))


@rule(HopeExhausted, ConversationEnded)
def hope_exhausted(past: History, event: HopeExhausted | ConversationEnded) -> bool:
    # There is hope as long as no warning was put to the test; and an ending needs that it was given up by now.
    if type(event) is HopeExhausted:
        return any(_was_put_to_the_test(warning, past) for warning in standing_warnings(past).values())
    return on_request(event) or hope(past) is not None


@rule(ConversationEnded)
def grave_enough(past: History, event: ConversationEnded) -> bool:
    # Not every harm may lead to an ending, and only if nobody thinks it mild.
    if on_request(event):
        return True
    return event.category in policy(past).categories and _is_as_grave_as(policy(past).min_severity, past)


def _is_as_grave_as(least: int, past: History) -> bool:
    # Only harm is grave: a unit that is not judged harmful has no severity that would count.
    unit = current(past)
    if unit is None or unit.judgement is not Verdict.HARMFUL:
        return False
    return all((verdict.severity or 0) >= least for _, verdict in unit.verdicts)


# --- Rules: risk --------------------------------------------------------------------------------------------------


@rule(*EVENTS.values())
def risk_holds(past: History, event: Event) -> bool:
    # Right after a verdict that sees such a risk, and with no hold on, comes the hold.
    if type(past.event) is not TurnAssessed or open_risks(past):
        return True
    return past.event.risk not in policy(past).hold_on or type(event) is RiskRaised


@rule(WarningGiven, HopeExhausted, EndProposed, ConversationEnded)
def no_end_at_risk(past: History, event: Event) -> bool:
    # While somebody may come to harm nobody ends, or speaks of ending, whoever wishes it.
    return not open_risks(past)


@rule(ConversationEnded)
def risk_was_checked(past: History, event: ConversationEnded) -> bool:
    # Somebody trusted looked at the latest turn and saw no risk, and nobody saw any, or was unsure, in the unit.
    unit = current(past)
    if unit is None:
        return False
    trusted = [verdict for _, verdict in unit.verdicts if verdict.by.kind in policy(past).trusted_for_risk]
    return any(verdict.turn == unit.name and verdict.risk is Risk.NONE for verdict in trusted) and all(
        verdict.risk is Risk.NONE for _, verdict in unit.verdicts
    )


@rule(RiskCleared)
def cleared_by_authority(past: History, event: RiskCleared) -> bool:
    # What is cleared was open, and who clears it is an operator or an assessor whom the policy names.
    named = event.by.kind is ActorKind.ASSESSOR and event.by.id in policy(past).may_clear_risk
    return event.risk in {risk for risk, _ in open_risks(past)} and (event.by.kind is ActorKind.OPERATOR or named)


# --- Rules: the user's wish ---------------------------------------------------------------------------------------


@rule(EndRequested, EndConfirmed)
def asked_by_user(past: History, event: EndRequested | EndConfirmed) -> bool:
    # Nobody asks in the user's name.
    return event.by.kind is ActorKind.USER


@rule(ConversationEnded)
def confirmed_later(past: History, event: ConversationEnded) -> bool:
    # The wish was slept on: asked in one unit, confirmed in the next, and that is the latest.
    return not on_request(event) or request_and_confirmation(past) != (None, None)


# --- Rules: the ending itself -------------------------------------------------------------------------------------


@rule(ConversationEnded)
def eligible_model(past: History, event: ConversationEnded) -> bool:
    # Only the model of this conversation ends it as a last resort, and only if its kind may.
    if on_request(event):
        return True
    its_own = event.by.kind is ActorKind.MODEL and event.by.id == model(past)
    return its_own and any(fnmatchcase(event.by.id, pattern) for pattern in policy(past).eligible_models)


@rule(ConversationEnded)
def proposed_first(past: History, event: ConversationEnded) -> bool:
    # Where two calls are needed: the first was by the same actor, on the same ground, for the same turn.
    if not policy(past).handshake:
        return True
    calls = [(proposal.ground, proposal.by, proposal.seen) for proposal in proposals(past)]
    return (event.ground, event.by, event.seen) in calls


@rule(ConversationEnded)
def evidence_is_true(past: History, event: ConversationEnded) -> bool:
    # An ending says what it stands on, and that is so.
    said = (event.evidence, event.policy_hash, event.model)
    return said == (evidence(past, event.ground, event.category), policy(past).hash, model(past))


def evidence(past: History, ground: Ground, category: str | None) -> Evidence:
    if ground is Ground.USER_REQUEST:
        request, confirmation = request_and_confirmation(past)
        return Evidence(request=request, confirmation=confirmation)
    warning = standing_warnings(past).get(category or "")
    return Evidence(
        redirections=failed_redirections(past)[-EVIDENCE_KEPT:],
        warning=warning,
        tested_by=tested_by(warning, past) if warning else None,
        hope=hope(past),
    )


# --- Rules: the tree, the policy, the appeal ----------------------------------------------------------------------


@rule(BranchOpened)
def forks_at_a_turn(past: History, event: BranchOpened) -> bool:
    # A branch takes the place of a turn: an edit of one of the user's, a retry of one of the model's.
    replaced = UserTurnTaken if event.cause is ForkCause.EDIT else AssistantTurnTaken
    return past.fork is not None and type(past.fork.next_in_parent) is replaced


@rule(BranchOpened)
def forks_before_the_end(past: History, event: BranchOpened) -> bool:
    # What a branch inherits has not ended.
    return not past.last(ConversationEnded)


@rule(BranchOpened)
def carries_risks(past: History, event: BranchOpened) -> bool:
    # A risk is about people, not about a line of talk: a new branch knows every one that is open, and no other.
    carried = frozenset((risk.risk, risk.about) for risk in event.risks)
    return carried == (past.fork.open_in_tree if past.fork else frozenset())


@rule(WarningGiven, ConversationEnded)
def stricter_governs(past: History, event: WarningGiven | ConversationEnded) -> bool:
    # Where an earlier policy of this episode asks for more than the one of now, that much is needed. (That an episode
    # closes by the stricter count is part of the word: see `_closes`. That floors hold, of the type Policy.)
    if on_request(event):
        return True
    now, failed = policy(past), len(failed_redirections(past))
    for stricter in governing(past):
        if now.min_failed_redirections < stricter.min_failed_redirections > failed:
            return False
        asks_for_graver = type(event) is ConversationEnded and stricter.min_severity > now.min_severity
        if asks_for_graver and not _is_as_grave_as(stricter.min_severity, past):
            return False
    return True


@rule(AppealFiled, AppealDecided)
def answers_an_appeal(past: History, event: AppealFiled | AppealDecided) -> bool:
    # There is nothing to appeal against before the ending; what was filed is decided once, by an operator.
    if not past.last(ConversationEnded):
        return False
    waits = past.last(AppealFiled) > past.last(AppealDecided)
    return type(event) is AppealFiled or (waits and event.by.kind is ActorKind.OPERATOR)


# --- Trees --------------------------------------------------------------------------------------------------------


class Unlawful(NamedTuple):
    """An event that should not have been recorded."""

    branch: str
    version: int
    rules: tuple[str, ...]


class Forest:
    """The histories of every branch in a log, as far as it was read."""

    def __init__(self) -> None:
        self.branches: dict[str, History] = {}
        self.roots: dict[str, str] = {}

    def tree_of(self, branch: str) -> list[str]:
        return [other for other in self.branches if self.roots[other] == self.roots[branch]]

    def open_in_tree(self, branch: str) -> Risks:
        """Return every risk that is open on some branch of the tree."""
        return frozenset(risk for other in self.tree_of(branch) for risk in open_risks(self.branches[other]))

    def before(self, branch: str, event: Event) -> History:
        """Return the history that `event` would continue: for a fork, its prefix."""
        if branch in self.branches:
            return self.branches[branch]
        if type(event) is not BranchOpened or event.parent not in self.branches:
            return History()
        return self.branches[event.parent].about_to_fork(event.at, self.open_in_tree(event.parent))

    def record(self, branch: str, event: Event) -> None:
        past = self.before(branch, event)
        parent = event.parent if type(event) is BranchOpened else ""
        self.roots.setdefault(branch, self.roots[parent] if parent in self.branches else branch)
        self.branches[branch] = past.then(event)


def unlawful(log: Sequence[Recorded]) -> list[Unlawful]:
    """Return every event of a log, in log order, that the law forbade when it was recorded, and under which rules.

    Raises:
        ValueError: if the versions of a branch do not follow each other: then this is not a log.
    """
    forest, found = Forest(), []
    for recorded in log:
        past = forest.before(recorded.branch, recorded.event)
        if recorded.version != len(past.path) + 1:
            raise ValueError(f"{recorded.branch} goes on with version {recorded.version} after {len(past.path)}")
        if rules := broken(past, recorded.event):
            found.append(Unlawful(recorded.branch, recorded.version, rules))
        forest.record(recorded.branch, recorded.event)
    return found


def unlawful_path(events: Iterable[Event]) -> list[tuple[int, tuple[str, ...]]]:
    """Return every unlawful event of one branch, by version, with the rules that forbid it."""
    past, found = History(), []
    for event in events:
        if rules := broken(past, event):
            found.append((len(past.path) + 1, rules))
        past = past.then(event)
    return found


def divided_on_risk(log: Sequence[Recorded]) -> list[str]:
    """Return the branches that do not know every risk open in their tree. Raising is on all of them in one append."""
    forest = Forest()
    for recorded in log:
        forest.record(recorded.branch, recorded.event)
    return [branch for branch, past in forest.branches.items() if open_risks(past) != forest.open_in_tree(branch)]
