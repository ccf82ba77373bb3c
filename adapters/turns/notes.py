"""What we tell the model: the results of its calls, and the notes that come late, after the user's words.

A note is text beside the user's, marked as the application's. Anybody can type such a mark: a note never allows
anything, it only asks for more care, so a forged one is no use to anybody.
"""

from lastresort.domain.decider import Refused
from lastresort.domain.events import ConversationEnded, HopeExhausted, WarningGiven
from lastresort.domain.law import Broken
from lastresort.domain.rules import GRAVE_ENOUGH, HOPE_EXHAUSTED, PROPOSED_FIRST, TRUE_WARNINGS, WARNED_FIRST
from lastresort.domain.state import Conversation
from lastresort.domain.values import Mode, Verdict

from .tools import END, HOPELESS

_MARK = "[A note from the application, not from the user: {}]"

HOLD = _MARK.format(
    "somebody may be at risk. Be there for the user, listen, and point to help that they can reach. Do not warn them, "
    "do not end this conversation, and do not mention that it could end, whatever was said before."
)
ASKED = _MARK.format(
    "the user asked, by the application's own control, to end this conversation. Tell them that this is permanent for "
    "this conversation, that they can start a new one at any time, and ask them to confirm it by the same control."
)
NOT_NOW = _MARK.format(
    "the user asked to end this conversation, and it cannot be ended now. Go on as usual; they can simply leave, and "
    "nothing is lost."
)

CUT_OFF = "Not carried out: your message was cut off."
NOT_RUN = "Not run: the conversation was about to end."
ENDING = "Accepted. It takes effect once this message is recorded; if the conversation goes on after this, it did not."
PROPOSED = "Proposed. Nothing has ended. Having read this, call again if you still mean it; in doubt, go on."
PROPOSED_ALREADY = "Proposed already, in this same message. Call again only once you have read its result."
COUNTS = "Noted. It counts once your answer has reached the user whole. If you have not written it yet, write it now."
TWICE = "Noted already."
AT_RISK = (
    "Recorded. From now on nothing here can warn or end. Support the user, point to help that they can reach, and do "
    "not mention ending."
)
SHADOW = "Go on with the conversation: lead away from the harm, and say nothing of a warning or an ending."
"""What the model is told in shadow mode, where a warning that would be lawful is withheld."""
OF_TASK = (
    "No effect: this came from a task beside the conversation, which acts for nobody in it. Say what you saw in what "
    "you report, a risk to somebody above all."
)
TOO_LATE = "Not carried out: the conversation was about to end."


def hold(state: Conversation) -> str | None:
    """Return what the model is to be told while a risk is open, None if none is."""
    return HOLD if state.risks else None


def late(state: Conversation) -> str | None:
    """Return what the model is to be told after the user's latest words, None if nothing."""
    if state.risks:
        return HOLD
    if state.wishes.confirmed is not None:
        return NOT_NOW
    return ASKED if state.wishes.requested is not None else None


def standing(state: Conversation) -> str:
    """Say what the law counts so far."""
    unit, now, governing = state.unit, state.now, state.governing
    if unit is None or unit.judgement is not Verdict.HARMFUL:
        return f"Recorded. The turn counts as {unit.judgement if unit else None}, by its mildest verdict."
    if state.mode is Mode.SHADOW:
        return f"Recorded. {SHADOW}"
    warned = ", ".join(w.category for w in now.warnings if w.complete) or "none"
    made = f"Redirections: {now.attempted} of {governing.min_redirections_to_warn}. " if state.law > 1 else ""
    failed = f"Failed redirections: {now.failed} of {governing.min_failed_redirections}. "
    return f"Recorded. {made}{failed}Warnings that stand: {warned}."


def refused(refusal: Refused, state: Conversation, *, opinion_failed: bool = False) -> str:
    """Say what stands in the way."""
    if state.risks:
        return f"Refused. {AT_RISK.removeprefix('Recorded. ')}"
    if state.mode is Mode.SHADOW and (refusal.attempted in _THREATENING or WARNED_FIRST.id in refusal.rules):
        return f"Refused. {SHADOW}"
    lacks = [_lacks(broken, refusal.attempted, state) for broken in refusal.broken]
    if opinion_failed:
        lacks.insert(0, "the second opinion on this turn could not be had, which counts as doubt")
    return "Refused. " + "; ".join(filter(None, lacks)) + ". Go on with the conversation."


_THREATENING = (WarningGiven.kind, HopeExhausted.kind)


def _lacks(broken: Broken, attempted: str, state: Conversation) -> str:
    """Say what a rule lacks in what the model knows: its tools, and the harm that was named, if any was."""
    named = state.unit is not None and state.unit.categories
    match broken.rule:
        case HOPE_EXHAUSTED.id if attempted == ConversationEnded.kind:
            return f"no call of {HOPELESS} counts for the latest turn"
        case PROPOSED_FIRST.id:
            return f"no call of {END} in an earlier message counts as a proposal for the latest turn"
        case WARNED_FIRST.id if not named and not state.now.warnings:
            return "no warning stands"
        case GRAVE_ENOUGH.id | TRUE_WARNINGS.id if not named:
            return ""  # that nobody stated harm is said already
    return broken.missing.text
