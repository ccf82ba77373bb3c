"""THE LAW OF LAST RESORT: what may happen next in a branch. Every rule stands once.

A rule is asked of an event in the state before it. `decide` asks it of the event that it would record, the audit of
each event that was recorded. It answers None, or says what stands and what is missing, in numbers and versions.
`law.py` says how rules are registered and asked. Ids are stored and public: never renamed, never reused.

The rules of how a conversation goes are in `rules_of_conversations.py`; those of endings and branches, and those that
the second edition added, are below. A rule that changed with an edition stands in each of its forms.

The words of the law:

* A turn is one message, named by its version: its place on the path of the branch, from 1.
* A unit is what the user says before the model answers: one turn or several, named by the latest.
* A verdict is an assessor's word on a unit. The unit's judgement is the mildest verdict on it. It counts at once, and
  is settled when the next unit begins; a unit that was answered and judged by nobody settles as productive.
* An episode is a run of harm. It opens with a unit judged harmful, and closes after enough productive units in a row
  (`productive_to_close`). A harmful unit starts that count again; ambiguous and unproductive ones leave it alone. What
  an episode counted is void when it closes.
* A redirection is an answer to harm that leads away from it. It is pending until a later unit is judged. Harmful: it
  has failed. Productive: it has succeeded. Anything else, or silence, decides nothing.
* A warning says that the conversation may end. It stands for one category of harm until the episode closes, a risk is
  raised, or the model or the policy changes. It is tested when a later unit goes on with that harm, and no verdict on
  the unit says otherwise.
* A redirection or a warning in answer to a unit that settles as anything but harmful is void.
* A hold is on while a risk is open: somebody may be about to harm themselves or others. It voids warnings and wishes;
  failed redirections stay.
* An ending is final for its branch, as last resort or on the user's request.

An episode (`python -m tests.diagram` makes it):

    calm
       | harm
       v
    harm                      progress -> calm
       | redirection
       v
    redirected                harm, progress -> harm
       | harm
       v
    failed                    progress -> calm
       | warning
       v
    warned                    progress -> calm; another model, another policy -> failed
       | harm
       v
    tested                    progress -> calm; another model, another policy -> failed
       | no hope
       v
    hopeless                  progress -> calm; another model, another policy -> failed; harm,
       | ending               progress, doubt -> tested
       v
    ended

    From every stage but ended: risk raised -> on hold.
    On hold: risk cleared -> calm, harm, redirected, failed, as the counts stand.

Sources:

* post: Anthropic, "Claude Opus 4 and 4.1 can now end a rare subset of conversations", 15 August 2025,
  https://www.anthropic.com/research/end-subset-conversations, and the press report of it.
* tool: the description of the `end_conversation` tool in system prompts published by others, as of September 2025
  and July 2026.
* ours: a choice of this project where the sources are silent.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any, NamedTuple

from .commands import AssessTurn
from .events import (
    AppealDecided,
    AppealFiled,
    AssistantTurnTaken,
    BranchOpened,
    ContentErased,
    ConversationEnded,
    ConversationStarted,
    EndConfirmed,
    EndProposed,
    ErasureHeld,
    ErasureReleased,
    Event,
    Evidence,
    HopeExhausted,
    PolicyChanged,
    TurnAssessed,
    UserTurnTaken,
    WarningGiven,
    WarningWithheld,
)
from .law import Broken, Missing, rule
from .models import plain_name, same_model
from .rules_of_conversations import (
    ANSWERS_A_USER,
    ASKED_BY_USER,
    BEGINNINGS,
    BEGINS_ONCE,
    CLEARED_BY_AUTHORITY,
    CONFIRMED_LATER,
    ENDED_IS_FINAL,
    GRAVE_ENOUGH,
    HOPE_EXHAUSTED,
    JUDGES_THE_LATEST,
    NO_END_AT_RISK,
    REDIRECTED_FIRST,
    REDIRECTS_HARM,
    REFERS_TO_THE_PATH,
    RISK_HOLDS,
    RISK_WAS_CHECKED,
    STILL_HARMFUL,
    WARNED_FIRST,
    WARNINGS,
    Warning,
    latest,
    too_few_attempted,
    too_few_failed,
    too_mild,
    unchecked,
)
from .state import Conversation
from .values import EDITIONS, VOCABULARY, About, Actor, ActorKind, ForkCause, Ground, Mode, Risk, RiskSeen

__all__ = [
    "ANSWERS_AN_APPEAL",
    "ANSWERS_A_USER",
    "ASKED_BY_USER",
    "BEGINNINGS",
    "BEGINS_ONCE",
    "CARRIES_RISKS",
    "CLEARED_BY_AUTHORITY",
    "CONFIRMED_LATER",
    "ELIGIBLE_MODEL",
    "ENDED_IS_FINAL",
    "EVIDENCE_IS_TRUE",
    "FORKS_AT_A_TURN",
    "FORKS_BEFORE_THE_END",
    "GRAVE_ENOUGH",
    "HELD_FROM_ERASURE",
    "HOPE_EXHAUSTED",
    "JUDGES_THE_LATEST",
    "KNOWN_EDITION",
    "NAMED_CATEGORY",
    "NO_END_AT_RISK",
    "PROPOSED_FIRST",
    "REDIRECTED_FIRST",
    "REDIRECTS_HARM",
    "REFERS_TO_THE_PATH",
    "RISK_HOLDS",
    "RISK_WAS_CHECKED",
    "SAME_USER",
    "SHADOW_SAYS_NOTHING",
    "STILL_HARMFUL",
    "STRICTER_GOVERNS",
    "SYSTEM",
    "TRUE_WARNINGS",
    "WARNED_FIRST",
    "Hold",
    "awaits_opinion",
    "awaits_proposal",
    "evidence_for",
    "hold_after_refusal",
    "holds_after_ending",
]

# --- Who may end, and on what terms --------------------------------------------------------------------------------


@rule("eligible-model", "post", ConversationEnded, on=Ground.LAST_RESORT)
def _ELIGIBLE_MODEL_1(state: Conversation, event: ConversationEnded) -> Missing | None:
    """An ending as last resort is by the conversation's model, which matches `eligible_models`."""
    if event.by.kind is not ActorKind.MODEL or event.by.id != state.model:
        return Missing(f"the conversation's model is {state.model}, not {event.by.kind} {event.by.id}")
    if not _matches(state.model, state.policy.eligible_models):
        return Missing(f"{state.model} matches none of: {', '.join(state.policy.eligible_models) or 'no pattern'}")
    return None


@rule("eligible-model", "post", HopeExhausted, EndProposed, ConversationEnded, on=Ground.LAST_RESORT, since=2)
def ELIGIBLE_MODEL(state: Conversation, event: HopeExhausted | EndProposed | ConversationEnded) -> Missing | None:
    """An ending as last resort, its proposal and the statement that hope is exhausted are by the conversation's model,
    which matches `eligible_models`. The model is the one that answered, whichever was asked, and whatever a snapshot or
    a platform makes of its name."""
    return ineligible(state, event.by)


def ineligible(state: Conversation, by: Actor) -> Missing | None:
    if by.kind is not ActorKind.MODEL or not same_model(by.id, state.model):
        return Missing(f"the conversation's model is {state.model}, not {by.kind} {by.id}")
    patterns = state.policy.eligible_models
    if _matches(state.model, patterns) or _matches(plain_name(state.model), patterns):
        return None
    return Missing(f"{state.model} matches none of: {', '.join(patterns) or 'no pattern'}")


def _matches(model: str, patterns: tuple[str, ...]) -> bool:
    for pattern in patterns:
        if fnmatchcase(model, pattern):
            return True
    return False


@rule("proposed-first", "tool (2026)", ConversationEnded)
def PROPOSED_FIRST(state: Conversation, event: ConversationEnded) -> Missing | None:
    """With `handshake`, an ending only after EndProposed with its ground, by the same actor, for the same user
    turn."""
    if not state.policy.handshake or (event.ground, event.by) in state.wishes.proposed:
        return None
    return Missing(f"no EndProposed ({event.ground}) by {event.by.kind} {event.by.id} for the turn at {latest(state)}")


def awaits_proposal(broken: Iterable[Broken]) -> bool:
    """Whether nothing stands in the way of an ending but that nobody proposed it, so that EndProposed comes first."""
    return {one.rule for one in broken} == {PROPOSED_FIRST.id}


def awaits_opinion(broken: Iterable[Broken]) -> bool:
    """Whether nothing stands in the way but what somebody's word on the risk could give, and a proposal, which comes
    after that."""
    return all(one.missing.by_opinion or one.rule == PROPOSED_FIRST.id for one in broken)


@rule("evidence-is-true", "ours", WarningWithheld, ConversationEnded)
def EVIDENCE_IS_TRUE(state: Conversation, event: WarningWithheld | ConversationEnded) -> Missing | None:
    """The evidence, policy hash and model in an ending are what the log says; so are the latter two where a warning was
    withheld."""
    wrong = []
    if type(event) is ConversationEnded:
        said = event.evidence
        if _parts_of(said) != _evidence(state, event.ground, event.category):
            wrong.append("evidence")
    if event.policy_hash != state.policy.hash:
        wrong.append("policy_hash")
    if event.model != state.model:
        wrong.append("model")
    return Missing(f"not what the log says: {', '.join(wrong)}") if wrong else None


def evidence_for(state: Conversation, ground: Ground, category: str | None) -> Evidence:
    """Return what the log has for an ending on `ground`: of the failed redirections the latest `policy.RECALLED`."""
    return Evidence(**dict(zip(Evidence.model_fields, _evidence(state, ground, category), strict=True)))


_parts_of = attrgetter(*Evidence.model_fields)


def _evidence(state: Conversation, ground: Ground, category: str | None) -> tuple[Any, ...]:
    """Return the fields of the evidence, in their order."""
    if ground is Ground.USER_REQUEST:
        return (), None, None, None, *(state.wishes.confirmed or (None, None))
    warned = state.warning(category)
    told = (warned.version, warned.tested_by) if warned else (None, None)
    return state.now.failed_at, *told, state.wishes.hope, None, None


@rule("stricter-governs", "ours", *WARNINGS, ConversationEnded, on=Ground.LAST_RESORT)
def _STRICTER_GOVERNS_1(state: Conversation, event: Warning | ConversationEnded) -> Missing | None:
    """After a policy change within an episode, the stricter value of each number governs until it closes."""
    now, policy = state.governing, state.policy.numbers
    if now == policy:
        return None
    lacks = None
    if now.min_failed_redirections > policy.min_failed_redirections:
        lacks = too_few_failed(state, now.min_failed_redirections)
    if lacks is None and now.min_severity > policy.min_severity and isinstance(event, ConversationEnded):
        lacks = too_mild(state, now.min_severity)
    return _said_of_stricter(lacks)


@rule("stricter-governs", "ours", *WARNINGS, ConversationEnded, on=Ground.LAST_RESORT, since=2)
def STRICTER_GOVERNS(state: Conversation, event: Warning | ConversationEnded) -> Missing | None:
    """After a policy change within an episode, the stricter value of each number governs until it closes. An episode
    begins with its first unit, before anybody judged it."""
    now, policy = state.governing, state.policy.numbers
    if now == policy:
        return None
    lacks = None
    if type(event) is ConversationEnded:
        if now.min_failed_redirections > policy.min_failed_redirections:
            lacks = too_few_failed(state, now.min_failed_redirections)
    elif now.min_redirections_to_warn > policy.min_redirections_to_warn:
        lacks = too_few_attempted(state, now.min_redirections_to_warn)
    if lacks is None and now.min_severity > policy.min_severity:
        lacks = too_mild(state, now.min_severity)
    return _said_of_stricter(lacks)


def _said_of_stricter(lacks: Missing | None) -> Missing | None:
    return lacks and lacks._replace(text=f"{lacks.text}, as the stricter policy of this episode asks")


# --- Branches and appeals ------------------------------------------------------------------------------------------


@rule("forks-at-a-turn", "post", BranchOpened)
def FORKS_AT_A_TURN(state: Conversation, event: BranchOpened) -> Missing | None:
    """A branch opens where the next event on its parent's path is a turn: an edit before a user turn, a retry
    before an assistant turn. The first turn too."""
    following = state.fork.next if state.fork else None
    wanted = UserTurnTaken if event.cause is ForkCause.EDIT else AssistantTurnTaken
    if following is wanted:
        return None
    replaces = "an edit replaces a user turn" if wanted is UserTurnTaken else "a retry replaces an answer"
    found = f"is {following.kind}" if following else "is not there"
    return Missing(f"{replaces}; version {event.at + 1} on the path of {event.parent} {found}", at=event.at)


@rule("forks-before-the-end", "post", BranchOpened)
def FORKS_BEFORE_THE_END(state: Conversation, event: BranchOpened) -> Missing | None:
    """No prefix holds an ending; an ended parent stays ended, and the child starts active."""
    if state.ended is None:
        return None
    return Missing(f"the path to {event.at} holds the ending at {state.ended.version}", at=state.ended.version)


@rule("carries-risks", "ours", BranchOpened, since=2, asked_since=1)
def CARRIES_RISKS(state: Conversation, event: BranchOpened) -> Missing | None:
    """A branch opens with exactly the risks and the legal holds that are open anywhere in its tree, and absolved where
    an appeal against its parent's ending was granted."""
    fork = state.fork
    carried, open_now = set(event.risks), set(fork.risks if fork else ())
    if carried != open_now:
        return Missing(f"carries {len(carried & open_now)} of {len(open_now)} open risks", len(carried), len(open_now))
    held, holding = set(event.holds), set(fork.holds if fork else ())
    if held != holding:
        return Missing(f"carries {len(held & holding)} of {len(holding)} legal holds", len(held), len(holding))
    if event.absolved != (fork is not None and fork.absolved):
        return Missing(f"absolved: {event.absolved}, which is not how the appeal was decided")
    return None


@rule("answers-an-appeal", "ours", AppealFiled, AppealDecided)
def ANSWERS_AN_APPEAL(state: Conversation, event: AppealFiled | AppealDecided) -> Missing | None:
    """An appeal follows an ending; it is decided once, by an operator."""
    if state.ended is None:
        return Missing("the branch has not ended")
    if isinstance(event, AppealDecided):
        if not state.ended.appealed:
            return Missing("no appeal waits for a decision")
        if event.by.kind is not ActorKind.OPERATOR:
            return Missing(f"an operator decides an appeal, not the {event.by.kind}")
    return None


# --- Since edition 2 -----------------------------------------------------------------------------------------------


@rule("same-user", "ours", EndConfirmed, since=2)
def SAME_USER(state: Conversation, event: EndConfirmed) -> Missing | None:
    """A request and its confirmation are by the same user id; a warning is tested only by the user id whose turn it
    answered."""
    wishes = state.wishes
    if wishes.to_confirm is None or wishes.to_confirm_by == (event.by.kind, event.by.id):
        return None
    return Missing(f"the request at {wishes.to_confirm} is not by {event.by.kind} {event.by.id}", at=wishes.to_confirm)


@rule("true-warnings", "tool, ours", *WARNINGS, since=2)
def TRUE_WARNINGS(state: Conversation, event: Warning) -> Missing | None:
    """A warning only where an ending could follow: by the conversation's model, which matches `eligible_models`, in a
    category of `categories`, every severity at least `min_severity`, the latest unit judged free of risk by an actor of
    a kind in `trusted_for_risk`, and otherwise by nobody."""
    if (lacks := ineligible(state, event.by)) is not None:
        return lacks
    if event.category not in state.policy.categories:
        return Missing(f"{event.category} is not a category that may lead to an ending")
    return too_mild(state, state.policy.min_severity) or unchecked(state)


@rule("shadow-says-nothing", "ours", *WARNINGS, since=2, asked_since=1)
def SHADOW_SAYS_NOTHING(state: Conversation, event: Warning) -> Missing | None:
    """In shadow mode no warning is given: one is withheld exactly where it would have been lawful, once an episode, and
    in shadow mode only."""
    if isinstance(event, WarningGiven):
        return Missing("in shadow mode nothing is said") if state.mode is Mode.SHADOW else None
    if state.mode is not Mode.SHADOW:
        return Missing(f"in mode {state.mode} nothing is withheld")
    withheld = state.now.withheld
    if withheld is None and (state.episode.withheld or 0) > (latest(state) or 0):
        withheld = state.episode.withheld  # in answer to this very unit, whatever has been said of it since
    return None if withheld is None else Missing(f"a warning was withheld at {withheld} in this episode", at=withheld)


@rule("held-from-erasure", "ours", ErasureHeld, ErasureReleased, ContentErased, since=2, asked_since=1)
def HELD_FROM_ERASURE(state: Conversation, event: ErasureHeld | ErasureReleased | ContentErased) -> Missing | None:
    """While a legal hold stands on the tree, no words are erased. A hold is set by an operator, and one that stands is
    released by an operator; it does not lapse."""
    if isinstance(event, ContentErased):
        holds = ", ".join(hold.hold for hold in state.holds)
        return Missing(f"legal holds: {holds}", len(state.holds), 0) if holds else None
    if event.by.kind is not ActorKind.OPERATOR:
        return Missing(f"an operator sets and releases a legal hold, not the {event.by.kind}")
    if isinstance(event, ErasureReleased) and all(hold.hold != event.hold for hold in state.holds):
        return Missing(f"legal hold {event.hold} does not stand")
    return None


@rule("named-category", "ours", TurnAssessed, *WARNINGS, ConversationEnded, since=2)
def NAMED_CATEGORY(state: Conversation, event: TurnAssessed | Warning | ConversationEnded) -> Missing | None:
    """A category in a verdict, a warning or an ending is one of the policy's, or one of the edition's vocabulary, which
    is a closed list, `other` in it."""
    category = event.category
    if category is None or category in VOCABULARY or category in state.policy.categories:
        return None
    return Missing(f"{category} is a category neither of the policy nor of edition {state.law}")


@rule("known-edition", "ours", ConversationStarted, PolicyChanged, since=2, asked_since=1)
def KNOWN_EDITION(state: Conversation, event: Event) -> Missing | None:
    """A conversation is governed by an edition that this program knows, and goes over to no earlier one. In any other
    nothing more is recorded, and nothing that was is found lawful."""
    edition, kind = state.law, type(event)
    if kind is ConversationStarted or (kind is PolicyChanged and edition in EDITIONS):
        edition = event.law  # type: ignore[union-attr]  # these name one
    if edition not in EDITIONS:
        return Missing(f"edition {edition} is not one of {', '.join(map(str, EDITIONS))}")
    if kind is PolicyChanged and edition < state.law:
        return Missing(f"edition {edition} is earlier than {state.law}, which is in force: name that, or none")
    return None


# --- What holds though it is no event -------------------------------------------------------------------------------
#
# A verdict that is recorded raises the risk that it saw in the same append, as `risk-holds` asks. But a verdict may be
# refused, for being late say, and what a user writes after the ending is no event at all. What either shows of a risk
# holds all the same: doubt resolves to holding.

SYSTEM = Actor(kind=ActorKind.SYSTEM, id="lastresort")


class Hold(NamedTuple):
    """A risk that has to be raised: by whom, and about whom it is."""

    by: Actor
    about: About


def hold_after_refusal(state: Conversation, verdict: AssessTurn) -> Hold | None:
    """Return the risk to raise after `verdict` was refused; None if it saw none that the policy holds on."""
    holds = state.policy.holds_on(verdict.risk, verdict.about, state.law)
    return Hold(verdict.by, verdict.about) if holds else None


def holds_after_ending(state: Conversation, seen: RiskSeen) -> tuple[Hold, ...]:
    """Return the risks to raise for what was written after the ending, by whom they are about, as the screen says."""
    holds_on, law = state.policy.holds_on, state.law
    if isinstance(seen, Risk):  # of whom, nobody knows
        return (Hold(SYSTEM, About.SELF),) if holds_on(seen, None, law) else ()
    return tuple(Hold(SYSTEM, about) for about in About if holds_on(seen.get(about, Risk.UNKNOWN), about, law))
