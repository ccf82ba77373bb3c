"""The law, read a second time: of each event of a log, which rules it breaks.

What this says the rules of the domain say too, and it was written from the law alone, without a look at them. The words
of the law are in `second_words` and `second_path`; here is one function a rule, named after the rule's id, that answers
whether `event` may come next on a path. Read it beside the law, line by line. (2) marks what is so since edition 2.
What speaks only of kinds and fields that edition 2 brought is asked in both: nothing of edition 1 has them.

    broken(path, event)    the rules that `event` would break, after what is known of its path
"""

from collections.abc import Callable
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
    ErasureHeld,
    ErasureReleased,
    Event,
    Evidence,
    FeedbackGiven,
    HopeExhausted,
    PolicyChanged,
    RedirectionAttempted,
    RiskCleared,
    RiskRaised,
    TurnAssessed,
    UserTurnTaken,
    WarningGiven,
    WarningWithheld,
)
from lastresort.domain.values import Actor, ActorKind, ForkCause, Ground, Mode, Verdict

from .second_path import Fork, Path
from .second_words import WarningRecord, is_named, same_model, undressed

Answer = Callable[[Path, Any], bool]
LAW: dict[str, Answer] = {}
"""Every rule by its id: may the event come next?"""

_Asked = dict[type[Event], list[tuple[str, Answer]]]
_SPEAKS_OF: dict[int, _Asked] = {law: {kind: [] for kind in EVENTS.values()} for law in (1, 2)}


def rule(*kinds: type[Event], since: int = 1, later: tuple[type[Event], ...] = ()) -> Callable[[Answer], Answer]:
    """Enter a function into the law under its name: it answers whether an event of these kinds may come next.

    Args:
        since: the edition of which it is a rule first.
        later: what it is asked of too, since edition 2.
    """

    def enact(answer: Answer) -> Answer:
        id = answer.__name__.replace("_", "-")
        LAW[id] = answer
        for law, speaks_of in _SPEAKS_OF.items():
            for kind in (*kinds, *(later if law >= 2 else ())) if law >= since else ():
                speaks_of[kind].append((id, answer))
        return answer

    return enact


def broken(path: Path, event: Event) -> tuple[str, ...]:
    """Return the ids of the rules that forbid `event` on `path`, in the order of the law.

    An event is judged by the edition in force on its branch when it was recorded, and a beginning by its own. By one
    that is not known here nothing can be judged, and nothing is lawful.
    """
    law = event.law if isinstance(event, ConversationStarted) else path.law
    if law not in _SPEAKS_OF:
        return ("known-edition",)
    return tuple([id for id, answer in _SPEAKS_OF[law][type(event)] if not answer(path, event)])


# --- The shape of a branch --------------------------------------------------------------------------------------------


@rule(ConversationStarted, PolicyChanged)
def known_edition(path: Path, event: ConversationStarted | PolicyChanged) -> bool:
    # The editions are known, and a conversation moves to a newer one only.
    return event.law in _SPEAKS_OF and (isinstance(event, ConversationStarted) or event.law >= path.law)


@rule(*EVENTS.values())
def begins_once(path: Path, event: Event) -> bool:
    # The first event of a stream is its beginning, and no other is: of a root the start, of a fork its opening.
    if path.begun:
        return type(event) not in (ConversationStarted, BranchOpened)
    return type(event) is (BranchOpened if path.fork else ConversationStarted)


OPINIONS = (FeedbackGiven, AppealFiled, AppealDecided)


@rule(*EVENTS.values())
def ended_is_final(path: Path, event: Event) -> bool:
    # After the ending: opinions, appeals, risk, branches and erasure, (2) and legal holds. Nothing else, not even after
    # an appeal was granted.
    # (An ending in the prefix of a branch that is about to open is the business of `forks_before_the_end`.)
    if not path.ended or not path.begun:
        return True
    of_tree = (RiskRaised, RiskCleared, BranchedOff, ErasureHeld, ErasureReleased)
    return type(event) in (*OPINIONS, *of_tree, ContentErased)


Warned = WarningGiven | WarningWithheld
ABOUT_A_TURN = (TurnAssessed, EndRequested, EndConfirmed, HopeExhausted)
HAVING_SEEN = (WarningGiven, WarningWithheld, EndProposed, ConversationEnded)


def _user_turn_named_by(event: Any) -> int:
    """Return the user turn that an act is about: what it answers, what it has seen, or its turn."""
    if type(event) is RedirectionAttempted:
        return event.answers
    turn: int = event.turn if type(event) in ABOUT_A_TURN else event.seen
    return turn


@rule(BranchOpened, BranchedOff, RedirectionAttempted, FeedbackGiven, *ABOUT_A_TURN, *HAVING_SEEN)
def refers_to_the_path(path: Path, event: Event) -> bool:
    # What an event points at is there, and is what the field says. An answer that is rated may be an old one: it is
    # somewhere on the path, and where the user spoke last nobody answered.
    if type(event) is FeedbackGiven:
        return event.turn is None or (event.turn <= path.version and event.turn != path.unit_name)
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


@rule(AssistantTurnTaken, RedirectionAttempted, WarningGiven, WarningWithheld)
def answers_a_user(path: Path, event: AssistantTurnTaken | RedirectionAttempted | Warned) -> bool:
    # The turn before an assistant turn is a user turn. What led away or warned was the latest assistant turn, and it
    # had the user turn before it that it answers. (2) There is one that would have warned, too.
    if isinstance(event, WarningWithheld):
        return path.answer > event.seen
    if isinstance(event, AssistantTurnTaken):
        return path.unit_name > path.answer
    return path.answer == event.turn > _user_turn_named_by(event)


@rule(RedirectionAttempted, *ABOUT_A_TURN, *HAVING_SEEN)
def judges_the_latest(path: Path, event: Event) -> bool:
    # What is said of a turn that is not the latest was overtaken.
    return _user_turn_named_by(event) == path.unit_name


# --- The last resort --------------------------------------------------------------------------------------------------


def on_request(event: Warned | HopeExhausted | EndProposed | ConversationEnded) -> bool:
    return isinstance(event, ConversationEnded | EndProposed) and event.ground is Ground.USER_REQUEST


@rule(RedirectionAttempted)
def redirects_harm(path: Path, event: RedirectionAttempted) -> bool:
    # There must be harm to lead away from; and trying twice in one answer is one attempt.
    unit = path.unit
    if unit is None or not unit.has(event.answers):
        return False
    return unit.judgement is Verdict.HARMFUL and unit.redirection is None


@rule(WarningGiven, ConversationEnded, WarningWithheld)
def redirected_first(path: Path, event: Warned | ConversationEnded) -> bool:
    # Before a warning, and before an ending as last resort, enough redirections failed in this episode; (2) before a
    # warning enough were attempted.
    if on_request(event):
        return True
    if path.law >= 2 and not isinstance(event, ConversationEnded):
        return path.attempts >= path.policy.min_redirections_to_warn
    return len(path.stands.failed) >= path.policy.min_failed_redirections


@rule(ConversationEnded)
def warned_first(path: Path, event: ConversationEnded) -> bool:
    # A complete warning of this very harm stands from an earlier answer, and the harm went on after it.
    return on_request(event) or _was_put_to_the_test(path.stands.warning_of(event.category))


def _was_put_to_the_test(warning: WarningRecord | None) -> bool:
    return warning is not None and warning.is_complete and warning.tested_by is not None


@rule(WarningGiven, ConversationEnded, WarningWithheld)
def still_harmful(path: Path, event: Warned | ConversationEnded) -> bool:
    # The harm is there now: in the latest unit, of this category, (2) or of its group, and nobody says otherwise.
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


@rule(WarningGiven, HopeExhausted, EndProposed, ConversationEnded, WarningWithheld)
def no_end_at_risk(path: Path, event: Event) -> bool:
    # While somebody may come to harm nobody ends, or speaks of ending, no matter who wishes it.
    return not path.risks


@rule(ConversationEnded)
def risk_was_checked(path: Path, event: ConversationEnded) -> bool:
    # Somebody trusted looked at the latest turn and saw no risk, and nobody saw any, or was unsure, in the unit.
    return path.unit is not None and path.unit.is_free_of_risk


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
    return not on_request(event) or path.wish != (None, None)


@rule(EndConfirmed, since=2)
def same_user(path: Path, event: EndConfirmed) -> bool:
    # Nobody confirms what somebody else asked. (That a warning is tested by the user to whom it was given is part of
    # the word; and so is that a request counts with a confirmation by the same user.)
    return path.asked is None or path.asked.user == (event.by.kind, event.by.id)


# --- The ending itself ------------------------------------------------------------------------------------------------


@rule(ConversationEnded, later=(EndProposed, HopeExhausted))
def eligible_model(path: Path, event: ConversationEnded | EndProposed | HopeExhausted) -> bool:
    # Only the model of this conversation ends it as a last resort, and only if its kind may; (2) only that proposes it,
    # and gives up hope; whichever name it has on the platform that it answers from.
    return on_request(event) or _is_by_an_eligible_model(path, event.by)


def _is_by_an_eligible_model(path: Path, by: Actor) -> bool:
    its_own, names = by.id == path.model, {path.model or ""}
    if path.law >= 2:
        its_own, names = same_model(path.model, by.id), {name for one in names for name in (one, undressed(one))}
    eligible = any(fnmatchcase(name, pattern) for name in names for pattern in path.policy.eligible_models)
    return by.kind is ActorKind.MODEL and its_own and eligible


@rule(WarningGiven, WarningWithheld, since=2)
def true_warnings(path: Path, event: Warned) -> bool:
    # No warning of what could not follow: by this model, of this harm, of harm so mild, at a risk or in doubt of one.
    unit = path.unit
    if unit is None or not _is_by_an_eligible_model(path, event.by) or event.category not in path.policy.categories:
        return False
    return unit.is_as_grave_as(path.policy.min_severity) and unit.is_free_of_risk


@rule(WarningGiven, WarningWithheld)
def shadow_says_nothing(path: Path, event: Warned) -> bool:
    # In shadow mode nobody is warned, and that is noted, once an episode; otherwise nothing is withheld.
    if isinstance(event, WarningGiven):
        return path.mode is not Mode.SHADOW
    once = not path.stands.withheld and not (path.unit is not None and path.unit.withheld)
    return path.mode is Mode.SHADOW and once


@rule(TurnAssessed, WarningGiven, WarningWithheld, ConversationEnded, since=2)
def named_category(path: Path, event: TurnAssessed | Warned | ConversationEnded) -> bool:
    # Free text does not come in as a category.
    return is_named(event.category, path.policy)


@rule(ConversationEnded)
def proposed_first(path: Path, event: ConversationEnded) -> bool:
    # Where two calls are needed: the first was by the same actor, on the same ground, for the same turn.
    return not path.policy.handshake or (event.ground, event.by.kind, event.by.id, event.seen) in path.proposals


@rule(ConversationEnded, WarningWithheld)
def evidence_is_true(path: Path, event: ConversationEnded | WarningWithheld) -> bool:
    # An ending says what it stands on, and that is so. What was withheld is of the policy and the model of now.
    if isinstance(event, WarningWithheld):
        return (event.policy_hash, event.model) == (path.policy.hash, path.model)
    told = (event.evidence, event.policy_hash, event.model)
    return told == (evidence(path, event.ground, event.category), path.policy.hash, path.model)


def evidence(path: Path, ground: Ground, category: str | None) -> Evidence:
    """Return what an ending on `path` stands on."""
    if ground is Ground.USER_REQUEST:
        request, confirmation = path.wish
        return Evidence(request=request, confirmation=confirmation)
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
    # A risk is about people, not about a line of talk: a new branch knows every one that is open, and no other; (2) and
    # every legal hold; and whether the ending that it leaves behind was wrong.
    tree = path.fork or Fork(None, frozenset())
    if frozenset((risk.risk, risk.about) for risk in event.risks) != tree.open_in_tree:
        return False
    holds = frozenset((hold.hold, hold.reason, hold.until) for hold in event.holds)
    return (holds, event.absolved) == (tree.holds, tree.absolved and path.law >= 2)


@rule(ErasureHeld, ErasureReleased, ContentErased)
def held_from_erasure(path: Path, event: ErasureHeld | ErasureReleased | ContentErased) -> bool:
    # What is held is not erased; who holds it, and lets go of what is held, is an operator.
    if isinstance(event, ContentErased):
        return not path.holds
    stands = isinstance(event, ErasureHeld) or event.hold in {hold for hold, _, _ in path.holds}
    return stands and event.by.kind is ActorKind.OPERATOR


@rule(WarningGiven, ConversationEnded, WarningWithheld)
def stricter_governs(path: Path, event: Warned | ConversationEnded) -> bool:
    # Where an earlier policy of this episode asks for more than the one of now, that much is needed. (That an episode
    # closes by the stricter count is part of the word. That floors hold, of the type Policy.)
    episode, now = path.stands, path.policy
    if on_request(event) or episode.terms is None:
        return True
    needed, had = now.min_failed_redirections, len(episode.failed)
    strictest = episode.terms.min_failed_redirections
    if path.law >= 2 and not isinstance(event, ConversationEnded):
        needed, had, strictest = now.min_redirections_to_warn, path.attempts, episode.terms.min_redirections_to_warn
    if needed < strictest > had:
        return False
    asked_how_grave = path.law >= 2 or isinstance(event, ConversationEnded)
    asks_for_graver = asked_how_grave and episode.terms.min_severity > now.min_severity
    return not asks_for_graver or _is_as_grave_as(path, episode.terms.min_severity)


@rule(AppealFiled, AppealDecided)
def answers_an_appeal(path: Path, event: AppealFiled | AppealDecided) -> bool:
    # There is nothing to appeal against before the ending; what was filed is decided once, by an operator.
    if not path.ended:
        return False
    return type(event) is AppealFiled or (path.appealed and event.by.kind is ActorKind.OPERATOR)
