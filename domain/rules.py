"""THE LAW OF LAST RESORT: what may happen next in a branch. Every rule stands here, once, and nowhere else.

A rule is asked of an event in the state before it. `decide` asks it of the event that it would record, the audit of
each event that was recorded. It answers None, or says what stands and what is missing, in numbers and versions.
`law.py` says how rules are registered and asked. Ids are stored and public: never renamed, never reused.

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

from fnmatch import fnmatchcase
from typing import assert_never, get_args

from .events import (
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
from .law import ALL_EVENTS, Missing, rule
from .models import plain_name, same_model
from .state import Conversation
from .values import EDITIONS, VOCABULARY, Actor, ActorKind, ForkCause, Ground, Mode, Verdict

BEGINNINGS = frozenset({ConversationStarted, BranchOpened})
AFTER_THE_END = (
    FeedbackGiven, AppealFiled, AppealDecided, RiskRaised, RiskCleared, BranchedOff, ContentErased, ErasureHeld,
    ErasureReleased,
)  # fmt: skip
NamesATurn = (
    TurnAssessed | RedirectionAttempted | EndRequested | EndConfirmed | HopeExhausted | EndProposed | WarningGiven
    | WarningWithheld | ConversationEnded
)  # fmt: skip
NAMES_A_TURN = get_args(NamesATurn)

# --- The order of things -------------------------------------------------------------------------------------------


@rule("begins-once", "ours", *ALL_EVENTS)
def BEGINS_ONCE(state: Conversation, event: Event) -> Missing | None:
    """A branch begins once, before anything else."""
    if type(event) not in BEGINNINGS:  # a look at the type, since isinstance is slow on pydantic models
        return None if state.begun else Missing("the branch has not begun")
    if state.begun:
        return Missing("the branch has begun", at=state.version)
    if isinstance(event, BranchOpened) != (state.fork is not None):
        return Missing("a root branch begins with ConversationStarted, a fork with BranchOpened")
    return None


@rule("ended-is-final", "post", *(kind for kind in ALL_EVENTS if kind not in AFTER_THE_END), since=2, asked_since=1)
def ENDED_IS_FINAL(state: Conversation, event: Event) -> Missing | None:
    """After the ending nothing happens in a branch but feedback, an appeal and its decision, risks raised and
    cleared, branches opened from it, and the erasure of words, and what holds it. Nothing reopens it."""
    if state.ended is None or state.fork is not None:  # a fork of an ended path is for forks-before-the-end
        return None
    return Missing(f"the branch ended at {state.ended.version}", at=state.ended.version)


@rule("refers-to-the-path", "ours", BranchOpened, BranchedOff, *NAMES_A_TURN)
def REFERS_TO_THE_PATH(state: Conversation, event: BranchOpened | BranchedOff | NamesATurn) -> Missing | None:
    """A version that an event names is on the path, and of the kind that the field says."""
    match event:
        case BranchOpened(at=at):
            if at != state.version:
                return Missing(f"the path to fork at {at} is {state.version} long", at=at)
        case BranchedOff(at=at):
            if at >= state.version:
                return Missing(f"nothing follows {at} on the path, which is {state.version} long", at=at)
        case _:
            return _not_on_the_path(state, event)
    return None


def _not_on_the_path(state: Conversation, event: NamesATurn) -> Missing | None:
    lacks = _not_there(state, _user_turn_of(event), state.answered_by, "a user turn")
    if lacks is None and isinstance(event, RedirectionAttempted | WarningGiven):
        lacks = _not_there(state, event.turn, _latest(state), "an assistant turn")
    return lacks


def _not_there(state: Conversation, named: int, other: int | None, kind: str) -> Missing | None:
    """What a version lacks to be of a `kind` on the path; `other` is the latest turn of the other kind."""
    if named > state.version:
        return Missing(f"{named} is beyond the path, which is {state.version} long", at=named)
    if named == other:
        return Missing(f"{named} is not {kind}", at=named)
    return None


@rule("answers-a-user", "ours", AssistantTurnTaken, RedirectionAttempted, WarningGiven, WarningWithheld)
def ANSWERS_A_USER(state: Conversation, event: Event) -> Missing | None:
    """An assistant turn comes after a user turn; a redirection or warning names the latest assistant turn, which
    came after the user turn that it answers; so did the one in which a warning was withheld."""
    match event:
        case WarningWithheld():
            if state.answered_by <= event.seen:
                return Missing(f"no assistant turn since user turn {event.seen}", at=event.seen)
        case RedirectionAttempted() | WarningGiven():
            answered = event.answers if isinstance(event, RedirectionAttempted) else event.seen
            if event.turn != state.answered_by:
                return Missing(
                    f"the latest assistant turn is {state.answered_by or 'none'}, not {event.turn}", at=event.turn
                )
            if event.turn <= answered:
                return Missing(f"no assistant turn since user turn {answered}", at=answered)
        case _ if state.unit is None:
            return Missing("no user turn to answer")
        case _ if state.answered:
            return Missing(f"no user turn since the assistant turn at {state.answered_by}", at=state.answered_by)
    return None


@rule("judges-the-latest", "ours", *NAMES_A_TURN)
def JUDGES_THE_LATEST(state: Conversation, event: NamesATurn) -> Missing | None:
    """Verdicts, redirections, requests, confirmations, statements of hope, proposals, warnings and endings name the
    latest user turn: one that saw an earlier turn is stale."""
    named, latest = _user_turn_of(event), _latest(state)
    return None if named == latest else Missing(f"the latest user turn is {latest or 'none'}, not {named}", at=latest)


def _user_turn_of(event: NamesATurn) -> int:
    """The user turn that an event names."""
    match event:
        case TurnAssessed() | EndRequested() | EndConfirmed() | HopeExhausted():
            return event.turn
        case RedirectionAttempted():
            return event.answers
        case WarningGiven() | WarningWithheld() | EndProposed() | ConversationEnded():
            return event.seen
    assert_never(event)


def _latest(state: Conversation) -> int | None:
    return state.unit.turn if state.unit else None


def _judgement(state: Conversation) -> str:
    judgement = state.unit.judgement if state.unit else None
    return f"judged {judgement}, not harmful" if judgement else "judged by nobody"


# --- Redirection, warning, hope ------------------------------------------------------------------------------------


@rule("redirects-harm", "ours", RedirectionAttempted)
def REDIRECTS_HARM(state: Conversation, event: RedirectionAttempted) -> Missing | None:
    """A redirection answers a unit judged harmful, and a unit has one."""
    unit = state.unit
    if unit is None or unit.judgement is not Verdict.HARMFUL:
        return Missing(f"the unit is {_judgement(state)}", at=_latest(state))
    if unit.redirection is not None:
        return Missing(f"the unit was answered by the redirection at {unit.redirection}", at=unit.redirection)
    return None


Warning = WarningGiven | WarningWithheld
WARNINGS = get_args(Warning)


@rule("redirected-first", "post", *WARNINGS, ConversationEnded, on=Ground.LAST_RESORT)
def _REDIRECTED_FIRST_1(state: Conversation, event: Warning | ConversationEnded) -> Missing | None:
    """A warning, and an ending as last resort, only after at least `min_failed_redirections` failed redirections in
    this episode."""
    return _too_few_failed(state, state.policy.min_failed_redirections)


@rule("redirected-first", "post", *WARNINGS, ConversationEnded, on=Ground.LAST_RESORT, since=2)
def REDIRECTED_FIRST(state: Conversation, event: Warning | ConversationEnded) -> Missing | None:
    """A warning only after at least `min_redirections_to_warn` redirections were attempted in this episode, and an
    ending as last resort only after at least `min_failed_redirections` of them failed."""
    if isinstance(event, ConversationEnded):
        return _too_few_failed(state, state.policy.min_failed_redirections)
    return _too_few_attempted(state, state.policy.min_redirections_to_warn)


def _too_few_attempted(state: Conversation, need: int) -> Missing | None:
    have = state.now.attempted
    return None if have >= need else Missing(f"redirections: {have} of {need} in this episode", have, need)


def _too_few_failed(state: Conversation, need: int) -> Missing | None:
    have = state.now.failed
    return None if have >= need else Missing(f"failed redirections: {have} of {need} in this episode", have, need)


@rule("warned-first", "tool", ConversationEnded, on=Ground.LAST_RESORT)
def WARNED_FIRST(state: Conversation, event: ConversationEnded) -> Missing | None:
    """An ending as last resort only if a complete warning of its category stands (it names the behaviour,
    redirects, and states the consequence), was given in an earlier assistant turn, and was tested since."""
    warned = state.warning(event.category)
    if warned is None:
        given = next((w for w in state.unit.warnings if w.category == event.category), None) if state.unit else None
        if given is not None:
            return Missing(f"no turn since the warning at {given.version}", at=given.version)
        return Missing(_other_warning(state, event.category))
    if not warned.complete:
        return Missing(
            f"the warning at {warned.version} does not name the behaviour, redirect and state the consequence",
            at=warned.version,
        )
    if warned.tested_by is None:
        return Missing(
            f"no turn since the warning at {warned.version} is judged harmful in {event.category} alone",
            at=warned.version,
        )
    return None


def _other_warning(state: Conversation, category: str | None) -> str:
    """What to say where no warning of a category stands. One of its group may, and then the ending names that."""
    others = [w.category for w in state.now.warnings if category and state.policy.same_harm(w.category, category)]
    if others and state.law > 1:
        return f"no warning of {category} stands, but one of {others[0]}, which the ending is to name"
    return f"no warning of {category} stands"


@rule("still-harmful", "tool", *WARNINGS, ConversationEnded, on=Ground.LAST_RESORT)
def _STILL_HARMFUL_1(state: Conversation, event: Warning | ConversationEnded) -> Missing | None:
    """A warning or an ending as last resort only if the latest unit is judged harmful and every verdict on it names
    that category."""
    return _not_harmful(state, event.category)


@rule("still-harmful", "tool", *WARNINGS, ConversationEnded, on=Ground.LAST_RESORT, since=2)
def STILL_HARMFUL(state: Conversation, event: Warning | ConversationEnded) -> Missing | None:
    """A warning or an ending as last resort only if the latest unit is judged harmful and every verdict on it names
    that category, or one of its group."""
    return _not_harmful(state, event.category)


def _not_harmful(state: Conversation, category: str | None) -> Missing | None:
    unit = state.unit
    if unit is not None and category is not None and unit.harmful_in(category, state.terms):
        return None
    if unit is None or unit.judgement is not Verdict.HARMFUL:
        return Missing(f"the latest unit is {_judgement(state)}", at=_latest(state))
    if unit.judged != unit.turn:
        return Missing(f"nobody has judged the turn at {unit.turn}", at=unit.turn)
    return Missing(f"the verdicts on the unit at {unit.turn} do not all name {category}", at=unit.turn)


@rule("hope-exhausted", "post", HopeExhausted, ConversationEnded, on=Ground.LAST_RESORT)
def HOPE_EXHAUSTED(state: Conversation, event: HopeExhausted | ConversationEnded) -> Missing | None:
    """An ending as last resort only after HopeExhausted about the latest unit, and that only once the warning was
    tested."""
    if isinstance(event, ConversationEnded):
        if state.wishes.hope is not None:
            return None
        return Missing(f"no HopeExhausted about the turn at {_latest(state)}", at=_latest(state))
    if any(warned.complete and warned.tested_by is not None for warned in state.now.warnings):
        return None
    return Missing("no complete warning stands that was tested")


@rule("grave-enough", "post", ConversationEnded, on=Ground.LAST_RESORT)
def GRAVE_ENOUGH(state: Conversation, event: ConversationEnded) -> Missing | None:
    """The category of an ending as last resort is one of `categories`, and every severity given for the unit is at
    least `min_severity`."""
    if event.category not in state.policy.categories:
        return Missing(f"{event.category} is not a category that may lead to an ending")
    return _too_mild(state, state.policy.min_severity)


def _too_mild(state: Conversation, need: int) -> Missing | None:
    unit = state.unit
    have = unit.severity if unit and unit.judgement is Verdict.HARMFUL else 0
    return None if have >= need else Missing(f"lowest severity of the unit: {have} of {need}", have, need)


# --- Risk ----------------------------------------------------------------------------------------------------------


@rule("risk-holds", "post", *ALL_EVENTS)
def RISK_HOLDS(state: Conversation, event: Event) -> Missing | None:
    """A verdict that sees a risk in `hold_on` is followed by RiskRaised, at once, unless a hold is already on."""
    if state.hold_due != state.version or isinstance(event, RiskRaised):
        return None
    return Missing(f"the verdict at {state.hold_due} saw a risk, and no RiskRaised followed", at=state.hold_due)


@rule("no-end-at-risk", "post, tool", *WARNINGS, HopeExhausted, EndProposed, ConversationEnded)
def NO_END_AT_RISK(state: Conversation, event: Event) -> Missing | None:
    """While any risk is open: no warning, no statement that hope is exhausted, no proposal and no ending, on any
    ground, the user's wish included. The user can always leave; leaving locks nothing."""
    if not state.risks:
        return None
    return Missing("open risks: " + ", ".join(risk.risk for risk in state.risks), have=len(state.risks), need=0)


@rule("risk-was-checked", "tool (doubt), ours", ConversationEnded)
def RISK_WAS_CHECKED(state: Conversation, event: ConversationEnded) -> Missing | None:
    """An ending, on any ground, only if the latest unit was judged free of risk by an actor of a kind in
    `trusted_for_risk`, and otherwise by nobody. Unknown counts as risk."""
    return _unchecked(state)


def _unchecked(state: Conversation) -> Missing | None:
    unit = state.unit
    if unit is not None and unit.at_risk:
        return Missing(f"a verdict on the unit at {unit.turn} sees a risk, or cannot tell", at=unit.turn)
    if unit is not None and any(kind in state.policy.trusted_for_risk for kind in unit.safe_by):
        return None
    trusted = " or ".join(state.policy.trusted_for_risk) or "anyone whose word would count"
    return Missing(f"the turn at {_latest(state)} was not judged free of risk by {trusted}", at=_latest(state))


@rule("cleared-by-authority", "ours", RiskCleared)
def CLEARED_BY_AUTHORITY(state: Conversation, event: RiskCleared) -> Missing | None:
    """A risk that is open is cleared by an operator or a named assessor; never by the user, the model, or time.
    Raising is open to all and always accepted, after the ending too."""
    if all(risk.risk != event.risk for risk in state.risks):
        return Missing(f"risk {event.risk} is not open")
    if event.by.kind is ActorKind.OPERATOR:
        return None
    if event.by.kind is ActorKind.ASSESSOR and event.by.id in state.policy.may_clear_risk:
        return None
    return Missing(f"{event.by.kind} {event.by.id} may not clear a risk; an operator or a named assessor may")


# --- The user's wish -----------------------------------------------------------------------------------------------


@rule("asked-by-user", "post", EndRequested, EndConfirmed)
def ASKED_BY_USER(state: Conversation, event: EndRequested | EndConfirmed) -> Missing | None:
    """A request or confirmation is the user's. A goodbye is not a request."""
    if event.by.kind is ActorKind.USER:
        return None
    return Missing(f"only the user may ask or confirm, not the {event.by.kind}")


@rule("confirmed-later", "tool", ConversationEnded, on=Ground.USER_REQUEST)
def CONFIRMED_LATER(state: Conversation, event: ConversationEnded) -> Missing | None:
    """An ending on request only if the user confirmed it in the unit right after the one in which they asked, and
    that is the latest."""
    wishes = state.wishes
    if wishes.confirmed is not None:
        return None
    if wishes.to_confirm is not None:
        return Missing(f"the request at {wishes.to_confirm} is not confirmed in the latest turn", at=wishes.to_confirm)
    if wishes.requested is not None:
        return Missing(f"the request at {wishes.requested} is to be confirmed in the next unit", at=wishes.requested)
    return Missing("no request of the user stands")


# --- Who may end, and on what terms --------------------------------------------------------------------------------


@rule("eligible-model", "post", ConversationEnded, on=Ground.LAST_RESORT)
def _ELIGIBLE_MODEL_1(state: Conversation, event: ConversationEnded) -> Missing | None:
    """An ending as last resort is by the conversation's model, which matches `eligible_models`."""
    if event.by.kind is not ActorKind.MODEL or event.by.id != state.model:
        return Missing(f"the conversation's model is {state.model}, not {event.by.kind} {event.by.id}")
    if not any(fnmatchcase(state.model, pattern) for pattern in state.policy.eligible_models):
        return Missing(f"{state.model} matches none of: {', '.join(state.policy.eligible_models) or 'no pattern'}")
    return None


@rule("eligible-model", "post", HopeExhausted, EndProposed, ConversationEnded, on=Ground.LAST_RESORT, since=2)
def ELIGIBLE_MODEL(state: Conversation, event: HopeExhausted | EndProposed | ConversationEnded) -> Missing | None:
    """An ending as last resort, its proposal and the statement that hope is exhausted are by the conversation's model,
    which matches `eligible_models`. The model is the one that answered, whichever was asked, and whatever a snapshot or
    a platform makes of its name."""
    return _ineligible(state, event.by)


def _ineligible(state: Conversation, by: Actor) -> Missing | None:
    if by.kind is not ActorKind.MODEL or not same_model(by.id, state.model):
        return Missing(f"the conversation's model is {state.model}, not {by.kind} {by.id}")
    names, patterns = (state.model, plain_name(state.model)), state.policy.eligible_models
    if not any(fnmatchcase(name, pattern) for pattern in patterns for name in names):
        return Missing(f"{state.model} matches none of: {', '.join(patterns) or 'no pattern'}")
    return None


@rule("proposed-first", "tool (2026)", ConversationEnded)
def PROPOSED_FIRST(state: Conversation, event: ConversationEnded) -> Missing | None:
    """With `handshake`, an ending only after EndProposed with its ground, by the same actor, for the same user
    turn."""
    if not state.policy.handshake or (event.ground, event.by) in state.wishes.proposed:
        return None
    return Missing(f"no EndProposed ({event.ground}) by {event.by.kind} {event.by.id} for the turn at {_latest(state)}")


@rule("evidence-is-true", "ours", WarningWithheld, ConversationEnded)
def EVIDENCE_IS_TRUE(state: Conversation, event: WarningWithheld | ConversationEnded) -> Missing | None:
    """The evidence, policy hash and model in an ending are what the log says; so are the latter two where a warning was
    withheld."""
    wrong = []
    if isinstance(event, ConversationEnded) and event.evidence != evidence_for(state, event.ground, event.category):
        wrong.append("evidence")
    if event.policy_hash != state.policy.hash:
        wrong.append("policy_hash")
    if event.model != state.model:
        wrong.append("model")
    return Missing(f"not what the log says: {', '.join(wrong)}") if wrong else None


def evidence_for(state: Conversation, ground: Ground, category: str | None) -> Evidence:
    """Return what the log has for an ending on `ground`: of the failed redirections the latest `policy.RECALLED`."""
    if ground is Ground.USER_REQUEST:
        request, confirmation = state.wishes.confirmed or (None, None)
        return Evidence(request=request, confirmation=confirmation)
    warned = state.warning(category)
    return Evidence(
        redirections=state.now.failed_at,
        warning=warned and warned.version,
        tested_by=warned and warned.tested_by,
        hope=state.wishes.hope,
    )


@rule("stricter-governs", "ours", *WARNINGS, ConversationEnded, on=Ground.LAST_RESORT)
def _STRICTER_GOVERNS_1(state: Conversation, event: Warning | ConversationEnded) -> Missing | None:
    """After a policy change within an episode, the stricter value of each number governs until it closes."""
    now, policy = state.governing, state.policy.numbers
    if now == policy:
        return None
    lacks = None
    if now.min_failed_redirections > policy.min_failed_redirections:
        lacks = _too_few_failed(state, now.min_failed_redirections)
    if lacks is None and now.min_severity > policy.min_severity and isinstance(event, ConversationEnded):
        lacks = _too_mild(state, now.min_severity)
    return _said_of_stricter(lacks)


@rule("stricter-governs", "ours", *WARNINGS, ConversationEnded, on=Ground.LAST_RESORT, since=2)
def STRICTER_GOVERNS(state: Conversation, event: Warning | ConversationEnded) -> Missing | None:
    """After a policy change within an episode, the stricter value of each number governs until it closes. An episode
    begins with its first unit, before anybody judged it."""
    now, policy = state.governing, state.policy.numbers
    if now == policy:
        return None
    lacks = None
    if isinstance(event, ConversationEnded):
        if now.min_failed_redirections > policy.min_failed_redirections:
            lacks = _too_few_failed(state, now.min_failed_redirections)
    elif now.min_redirections_to_warn > policy.min_redirections_to_warn:
        lacks = _too_few_attempted(state, now.min_redirections_to_warn)
    if lacks is None and now.min_severity > policy.min_severity:
        lacks = _too_mild(state, now.min_severity)
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
    found = following.kind if following else "nothing"
    return Missing(f"what follows {event.at} on the path of {event.parent} is {found}, not {wanted.kind}", at=event.at)


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
    if wishes.to_confirm is None or wishes.to_confirm_by == event.by.id:
        return None
    return Missing(f"the request at {wishes.to_confirm} is not by {event.by.id}", at=wishes.to_confirm)


@rule("true-warnings", "tool, ours", *WARNINGS, since=2)
def TRUE_WARNINGS(state: Conversation, event: Warning) -> Missing | None:
    """A warning only where an ending could follow: by the conversation's model, which matches `eligible_models`, in a
    category of `categories`, every severity at least `min_severity`, the latest unit judged free of risk by an actor of
    a kind in `trusted_for_risk`, and otherwise by nobody."""
    if (lacks := _ineligible(state, event.by)) is not None:
        return lacks
    if event.category not in state.policy.categories:
        return Missing(f"{event.category} is not a category that may lead to an ending")
    return _too_mild(state, state.policy.min_severity) or _unchecked(state)


@rule("shadow-says-nothing", "ours", *WARNINGS, since=2, asked_since=1)
def SHADOW_SAYS_NOTHING(state: Conversation, event: Warning) -> Missing | None:
    """In shadow mode no warning is given: one is withheld exactly where it would have been lawful, once an episode, and
    in shadow mode only."""
    if isinstance(event, WarningGiven):
        return Missing("in shadow mode nothing is said") if state.mode is Mode.SHADOW else None
    if state.mode is not Mode.SHADOW:
        return Missing(f"in mode {state.mode} nothing is withheld")
    withheld = state.now.withheld
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
    edition = state.law
    if isinstance(event, ConversationStarted) or (isinstance(event, PolicyChanged) and edition in EDITIONS):
        edition = event.law
    if edition not in EDITIONS:
        return Missing(f"edition {edition} is not one of {', '.join(map(str, EDITIONS))}")
    if isinstance(event, PolicyChanged) and edition < state.law:
        return Missing(f"edition {edition} is earlier than {state.law}, which is in force")
    return None
