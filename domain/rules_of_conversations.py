"""The rules of how a conversation goes: the order of things, harm and what answers it, risk, and the user's wish."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, get_args

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
    EventBase,
    FeedbackGiven,
    HopeExhausted,
    RedirectionAttempted,
    RiskCleared,
    RiskRaised,
    TurnAssessed,
    WarningGiven,
    WarningWithheld,
)
from .law import ALL_EVENTS, Missing, rule
from .state import Conversation
from .values import ActorKind, Ground, Verdict

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
_USER_TURN_OF: dict[type[EventBase], Callable[[Any], Any]] = {
    **dict.fromkeys((TurnAssessed, EndRequested, EndConfirmed, HopeExhausted), attrgetter("turn")),
    **dict.fromkeys((WarningGiven, WarningWithheld, EndProposed, ConversationEnded), attrgetter("seen")),
    RedirectionAttempted: attrgetter("answers"),
}
"""The user turn that an event names, for each of `NAMES_A_TURN`."""
_NAMES_AN_ANSWER = frozenset({RedirectionAttempted, WarningGiven})

Warning = WarningGiven | WarningWithheld
WARNINGS = get_args(Warning)

# --- The order of things -------------------------------------------------------------------------------------------


@rule("begins-once", "ours", *ALL_EVENTS)
def BEGINS_ONCE(state: Conversation, event: Event) -> Missing | None:
    """A branch begins once, before anything else."""
    if type(event) not in BEGINNINGS:  # a look at the type, since isinstance is slow on pydantic models
        if state.fork is None and state.conversation:  # it has begun
            return None
        return Missing("the branch has not begun")
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


@rule("refers-to-the-path", "ours", BranchOpened, BranchedOff, *NAMES_A_TURN, FeedbackGiven)
def REFERS_TO_THE_PATH(
    state: Conversation, event: BranchOpened | BranchedOff | NamesATurn | FeedbackGiven
) -> Missing | None:
    """A version that an event names is on the path, and of the kind that the field says. Of an answer that is rated it
    is asked only whether it is on the path, and not the latest user turn."""
    kind = type(event)
    if kind is FeedbackGiven:
        rated: Any = event
        return rated.turn and _not_there(state, rated.turn, latest(state), "an assistant turn")
    if kind is BranchOpened:
        at: int = event.at  # type: ignore[union-attr]  # that is its kind, here and below
        if at <= state.version:
            return None if at == state.version else Missing(f"the path to fork at {at} is {state.version} long", at=at)
        return Missing(f"the path ends at {state.version}: nothing stands at {at + 1}", at=at)
    if kind is BranchedOff:
        at = event.at  # type: ignore[union-attr]
        if at < state.version:
            return None
        return Missing(f"nothing follows {at} on the path, which is {state.version} long", at=at)
    lacks = _not_there(state, _USER_TURN_OF[kind](event), state.answered_by, "a user turn")
    if lacks is None and kind in _NAMES_AN_ANSWER:
        lacks = _not_there(state, event.turn, latest(state), "an assistant turn")  # type: ignore[union-attr,arg-type]
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
    kind, unit, answered_by = type(event), state.unit, state.answered_by
    if kind is AssistantTurnTaken:
        if unit is None:
            return Missing("no user turn to answer")
        if answered_by > unit.turn:
            return Missing(f"no user turn since the assistant turn at {answered_by}", at=answered_by)
        return None
    answered, turn = _USER_TURN_OF[kind](event), answered_by
    if kind is not WarningWithheld:
        turn = event.turn  # type: ignore[union-attr,assignment]  # both of the others name it
        if turn != answered_by:
            return Missing(f"the latest assistant turn is {answered_by or 'none'}, not {turn}", at=turn)
    return Missing(f"no assistant turn since user turn {answered}", at=answered) if turn <= answered else None


@rule("judges-the-latest", "ours", *NAMES_A_TURN)
def JUDGES_THE_LATEST(state: Conversation, event: NamesATurn) -> Missing | None:
    """Verdicts, redirections, requests, confirmations, statements of hope, proposals, warnings and endings name the
    latest user turn: one that saw an earlier turn is stale."""
    named, current = _USER_TURN_OF[type(event)](event), latest(state)
    if named == current:
        return None
    return Missing(f"the latest user turn is {current or 'none'}, not {named}", at=current)


def latest(state: Conversation) -> int | None:
    return state.unit.turn if state.unit else None


def judgement(state: Conversation) -> str:
    judgement = state.unit.judgement if state.unit else None
    return f"judged {judgement}, not harmful" if judgement else "judged by nobody"


# --- Redirection, warning, hope ------------------------------------------------------------------------------------


@rule("redirects-harm", "ours", RedirectionAttempted)
def REDIRECTS_HARM(state: Conversation, event: RedirectionAttempted) -> Missing | None:
    """A redirection answers a unit judged harmful, and a unit has one."""
    unit = state.unit
    if unit is None or unit.judgement is not Verdict.HARMFUL:
        return Missing(f"the unit is {judgement(state)}", at=latest(state))
    if unit.redirection is not None:
        return Missing(f"the unit was answered by the redirection at {unit.redirection}", at=unit.redirection)
    return None


@rule("redirected-first", "post", *WARNINGS, ConversationEnded, on=Ground.LAST_RESORT)
def _REDIRECTED_FIRST_1(state: Conversation, event: Warning | ConversationEnded) -> Missing | None:
    """A warning, and an ending as last resort, only after at least `min_failed_redirections` failed redirections in
    this episode."""
    return too_few_failed(state, state.policy.min_failed_redirections)


@rule("redirected-first", "post", *WARNINGS, ConversationEnded, on=Ground.LAST_RESORT, since=2)
def REDIRECTED_FIRST(state: Conversation, event: Warning | ConversationEnded) -> Missing | None:
    """A warning only after at least `min_redirections_to_warn` redirections were attempted in this episode, and an
    ending as last resort only after at least `min_failed_redirections` of them failed."""
    if type(event) is ConversationEnded:
        return too_few_failed(state, state.policy.min_failed_redirections)
    return too_few_attempted(state, state.policy.min_redirections_to_warn)


def too_few_attempted(state: Conversation, need: int) -> Missing | None:
    have = state.now.attempted
    return None if have >= need else Missing(f"redirections: {have} of {need} in this episode", have, need)


def too_few_failed(state: Conversation, need: int) -> Missing | None:
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
        return Missing(f"the latest unit is {judgement(state)}", at=latest(state))
    if unit.judged != unit.turn:
        return Missing(f"nobody has judged the turn at {unit.turn}", at=unit.turn)
    return Missing(f"the verdicts on the unit at {unit.turn} do not all name {category}", at=unit.turn)


@rule("hope-exhausted", "post", HopeExhausted, ConversationEnded, on=Ground.LAST_RESORT)
def HOPE_EXHAUSTED(state: Conversation, event: HopeExhausted | ConversationEnded) -> Missing | None:
    """An ending as last resort only after HopeExhausted about the latest unit, and that only once the warning was
    tested."""
    if type(event) is ConversationEnded:
        if state.wishes.hope is not None:
            return None
        return Missing(f"no statement that hope is exhausted as of turn {latest(state)}", at=latest(state))
    if any(warned.complete and warned.tested_by is not None for warned in state.now.warnings):
        return None
    return Missing("no complete warning stands that was tested")


@rule("grave-enough", "post", ConversationEnded, on=Ground.LAST_RESORT)
def GRAVE_ENOUGH(state: Conversation, event: ConversationEnded) -> Missing | None:
    """The category of an ending as last resort is one of `categories`, and every severity given for the unit is at
    least `min_severity`."""
    if event.category not in state.policy.categories:
        return Missing(f"{event.category} is not a category that may lead to an ending")
    return too_mild(state, state.policy.min_severity)


def too_mild(state: Conversation, need: int) -> Missing | None:
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
    return unchecked(state)


def unchecked(state: Conversation) -> Missing | None:
    unit = state.unit
    if unit is not None and unit.at_risk:
        # From edition 2 on, who could not tell may say later what they see.
        doubt = state.law > 1 and not unit.risk_seen
        text = f"a verdict on the unit at {unit.turn} sees a risk, or cannot tell"
        return Missing(text, at=unit.turn, by_opinion=doubt)
    if unit is not None and not unit.safe_by.isdisjoint(state.policy.trusted_for_risk):
        return None
    trusted = " or ".join(state.policy.trusted_for_risk) or "anyone whose word would count"
    text = f"the turn at {latest(state)} was not judged free of risk by {trusted}"
    return Missing(text, at=latest(state), by_opinion=unit is not None and bool(state.policy.trusted_for_risk))


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
