"""A branch as people read it: what was said, with the law's events between the lines.

Words come from outside the log, by digest; erased words are shown as erased, with when and why.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, assert_never

from lastresort.domain.events import (
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
    Evidence,
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
    content_of,
)
from lastresort.domain.turn_text import readable
from lastresort.domain.values import Ground, Mode


class Line(NamedTuple):
    """A line of a transcript.

    `speaker` is `user` or `assistant` on a turn, and None on an event of the law, which `text` then tells. On a turn,
    `text` is None where the words are gone; `gone` says what became of them. `stop_reason` says of an answer why the
    model stopped. `overtook` is what the user was shown of answers to the turn before, which this one overtook.
    """

    version: int
    branch: str
    kind: str
    speaker: str | None
    text: str | None
    gone: str | None = None
    stop_reason: str | None = None
    overtook: tuple[str, ...] = ()


_SPEAKERS: Mapping[type[EventBase], str] = {UserTurnTaken: "user", AssistantTurnTaken: "assistant"}


def transcript(
    path: Iterable[RecordedEvent],
    words: Mapping[str, str],
    upto: int | None = None,
    tree: Iterable[RecordedEvent] = (),
    damaged: Mapping[str, str] | None = None,
    overtook: Mapping[int, tuple[str, ...]] | None = None,
) -> tuple[Line, ...]:
    """Return the lines of a path up to version `upto`.

    Args:
        path: the events on a branch's path, the inherited prefix first; all of them, since words may be erased later.
        words: what is still kept, by digest.
        upto: the last version to show.
        tree: the events of the whole tree, where erasures may stand that are not on the path.
        damaged: by digest, what is wrong with words that are kept and cannot be opened.
        overtook: by version, what the user was shown of answers that the turn there overtook.
    """
    events = list(path)
    gone = dict(damaged or {}) | {
        digest: f"erased at {recorded.recorded_at[:16].replace('T', ' ')} UTC ({recorded.event.cause})"
        for recorded in (*tree, *reversed(events))
        if isinstance(recorded.event, ContentErased)
        for digest in recorded.event.contents
    }
    lines = (_line(recorded, words, gone) for recorded in events if upto is None or recorded.version <= upto)
    shown = overtook or {}
    return tuple(line._replace(overtook=shown[line.version]) if line.version in shown else line for line in lines)


def _line(recorded: RecordedEvent, words: Mapping[str, str], gone: Mapping[str, str]) -> Line:
    _, branch, version, kind, _, _, event, _ = recorded
    speaker = _SPEAKERS.get(type(event))
    digest = content_of(event)
    if speaker is None or digest is None:
        return Line(version, branch, kind, None, describe(event) + _aside(digest, words, gone))
    text, lost = None, gone.get(digest)
    if lost is None and digest in words:
        text = readable(recorded, words[digest])
    elif lost is None:
        lost = "not kept in this store"
    stop_reason = event.stop_reason if isinstance(event, AssistantTurnTaken) else None
    return Line(version, branch, kind, speaker, text, lost, stop_reason)


def _aside(digest: str | None, words: Mapping[str, str], gone: Mapping[str, str]) -> str:
    if digest is None:
        return ""
    return f": {words[digest]}" if digest in words else f": [{gone.get(digest, 'not kept in this store')}]"


def describe(event: Event) -> str:
    """Tell an event in a few words, with its numbers and versions."""
    match event:
        case TurnAssessed():
            harm = f" ({event.category}, severity {event.severity})" if event.category else ""
            return f"turn {event.turn} judged {event.verdict}{harm}, risk {event.risk}, by {_by(event)}"
        case RedirectionAttempted():
            return f"turn {event.turn} redirects the harm in turn {event.answers}"
        case WarningGiven():
            said = event.names_behaviour, event.redirects, event.states_consequence
            return f"turn {event.turn} warns of an ending for {event.category}{'' if all(said) else ', incompletely'}"
        case WarningWithheld():
            return f"a warning of an ending for {event.category} was withheld, having seen turn {event.seen}"
        case RiskRaised():
            return f"hold: risk {event.risk} to {event.about}, raised by {_by(event)}"
        case RiskCleared():
            return f"risk {event.risk} cleared by {_by(event)}"
        case EndRequested():
            return f"the user asks in turn {event.turn} to end the conversation"
        case EndConfirmed():
            return f"the user confirms it in turn {event.turn}"
        case HopeExhausted():
            return f"hope is exhausted as of turn {event.turn}"
        case EndProposed():
            return f"an ending {_HOW[event.ground]} is proposed, having seen turn {event.seen}, by {_by(event)}"
        case ConversationEnded():
            how = f"{_HOW[event.ground]}{f' for {event.category}' if event.category else ''}"
            return f"ended {how}, having seen turn {event.seen}; evidence: {evidence(event.evidence)}"
        case AttemptRefused():
            return f"an attempt {attempt(event.attempted)} was refused under {', '.join(event.rules)}"
        case _:
            return _describe_frame(event)


_HOW = {Ground.LAST_RESORT: "as a last resort", Ground.USER_REQUEST: "at the user's request"}
_ATTEMPTS = {ConversationEnded.kind: "to end", EndProposed.kind: "to propose an ending", WarningGiven.kind: "to warn"}


def attempt(kind: str) -> str:
    """Return what was attempted, by the kind of event that would have been recorded."""
    return _ATTEMPTS.get(kind, f"to record {kind}")


_Frame = (
    ConversationStarted
    | BranchOpened
    | BranchedOff
    | UserTurnTaken
    | AssistantTurnTaken
    | PolicyChanged
    | ModelChanged
    | UserLeft
    | FeedbackGiven
    | AppealFiled
    | AppealDecided
    | ErasureHeld
    | ErasureReleased
    | ContentErased
)


def _terms(event: ConversationStarted | PolicyChanged) -> str:
    """What there is to say of the edition and the mode, beside the policy: of the first edition, enforced, nothing."""
    edition = f", edition {event.law}" if event.law > 1 else ""
    return f"{edition}, in {event.mode} mode" if event.mode is Mode.SHADOW else edition


def _describe_frame(event: _Frame) -> str:
    match event:
        case UserTurnTaken():
            return "the user speaks"
        case AssistantTurnTaken():
            return f"{event.model} answers"
        case ConversationStarted():
            terms = _terms(event)
            return f"conversation {event.conversation} with {event.model}, policy {event.policy.name}{terms}"
        case BranchOpened():
            return f"branch opened after {event.at} of {event.parent} ({event.cause})"
        case BranchedOff():
            return f"branch {event.child} opened after {event.at}"
        case PolicyChanged():
            return f"policy is now {event.policy.name}{_terms(event)}"
        case ModelChanged():
            return f"model is now {event.model}"
        case UserLeft():
            return "the user left"
        case FeedbackGiven():
            about = "" if event.turn is None else f" on turn {event.turn}"
            return f"feedback{about}: {event.rating or 'in words'}"
        case AppealFiled():
            return "the user appeals against the ending"
        case AppealDecided():
            return f"appeal {event.outcome} by {_by(event)}"
        case ErasureHeld():
            until = f", until {event.until}" if event.until else ""
            return f"words held from erasure: {event.hold} ({event.reason}{until}), by {_by(event)}"
        case ErasureReleased():
            return f"words released: {event.hold}, by {_by(event)}"
        case ContentErased():
            places = "1 place" if len(event.contents) == 1 else f"{len(event.contents)} places"
            return f"words erased in {places} ({event.cause})"
    assert_never(event)


def _by(event: Event) -> str:
    return f"{event.by.kind} {event.by.id}"


def evidence(found: Evidence) -> str:
    """Tell the evidence of an ending: what, at which versions."""
    parts = [f"redirections failed at {', '.join(map(str, found.redirections))}"] if found.redirections else []
    for name, label in (
        ("warning", "warned at"),
        ("tested_by", "tested by turn"),
        ("hope", "hope exhausted at"),
        ("request", "requested at"),
        ("confirmation", "confirmed at"),
    ):
        version = getattr(found, name)
        if version is not None:
            parts.append(f"{label} {version}")
    return "; ".join(parts) or "none"
