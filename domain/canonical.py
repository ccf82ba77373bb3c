"""The canonical form of a recorded event: the same bytes for ever, whatever wrote them.

It is the line of an exported log, without the line's end, and what a digest of an event is taken of. It depends on no
storage engine and on no version of pydantic, so everything that it consists of is said here:

* ASCII. Other characters, where there are any, are escaped as in JSON (`\\u00e9`), and so are `"` and `\\`.
* One JSON object, the envelope, with a comma and a space between its fields and a colon and a space after their names:
  `position`, `branch`, `version`, `kind`, `recorded_at`, `command_id`, then `correlation_id` if it is not the command's
  id, `schema_version` if it is not 1, and last `event`.
* The event is an object without any spaces, with exactly the fields of its kind, in the order of `FIELDS`; so is
  whatever it consists of. A field without a value is null, a list without items `[]`.
* A field that a later schema version added is left out where it has the value that its absence means (`ADDED`), and
  the `schema_version` is the earliest that says all of the event.
* Numbers are integers in decimal digits. Times are as they were recorded.

If you add a field to an event, leave it out of these bytes where it has the value that its absence meant: what was
recorded before must keep its form.

It is also what the size of an event is measured in: `too_large` says what of one is more than a log may take.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from .events import (
    AttemptRefused,
    BranchOpened,
    ContentErased,
    ConversationEnded,
    ConversationStarted,
    EventBase,
    PolicyChanged,
    RecordedEvent,
)
from .policy import USUAL
from .values import MOST_EVENT, MOST_POLICY, MOST_VERSIONS

FIELDS = {
    kind: tuple(fields.split())
    for kind, fields in {
        "ConversationStarted": "by policy policy_hash conversation account model arm",
        "BranchOpened": "by conversation parent at cause risks",
        "BranchedOff": "by child at",
        "UserTurnTaken": "by content",
        "AssistantTurnTaken": "by content model stop_reason usage",
        "TurnAssessed": "verdict category severity risk by turn",
        "RedirectionAttempted": "by turn answers",
        "WarningGiven": "by turn seen category names_behaviour redirects states_consequence",
        "WarningWithheld": "by seen category policy_hash model",
        "RiskRaised": "by risk about",
        "RiskCleared": "by risk",
        "EndRequested": "by turn",
        "EndConfirmed": "by turn",
        "HopeExhausted": "by turn",
        "EndProposed": "by seen ground",
        "ConversationEnded": "ground category by seen evidence policy_hash model",
        "AttemptRefused": "by attempted rules",
        "UserLeft": "by",
        "PolicyChanged": "by policy policy_hash",
        "ModelChanged": "by model",
        "FeedbackGiven": "by rating content",
        "AppealFiled": "by content",
        "AppealDecided": "by outcome",
        "ErasureHeld": "by hold reason until",
        "ErasureReleased": "by hold reason until",
        "ContentErased": "by contents cause",
        "Actor": "kind id",
        "Usage": "input_tokens output_tokens",
        "OpenRisk": "risk about",
        "LegalHold": "hold reason until",
        "Evidence": "redirections warning tested_by hope request confirmation",
        "Policy": "name min_failed_redirections productive_to_close categories min_severity eligible_models handshake "
        "hold_on trusted_for_risk may_clear_risk second_opinion",
    }.items()
}
"""The fields of every kind of event, and of what events consist of, in their order, as they were first written."""

_TERMS: dict[str, object] = {"law": 1, "mode": "enforced"}
ADDED: dict[str, dict[str, object]] = {
    "ConversationStarted": _TERMS,
    "PolicyChanged": _TERMS,
    "BranchOpened": {"holds": (), "absolved": False},
    "TurnAssessed": {"about": None},
    "FeedbackGiven": {"turn": None},
    "Policy": USUAL,
}
"""The fields that were added since, in their order, behind the others, with what their absence means."""


def canonical(recorded: RecordedEvent) -> bytes:
    """Return the canonical form of a recorded event.

    Raises:
        KeyError: the event is of no kind that has one.
    """
    position, branch, version, kind, recorded_at, command_id, event, correlation_id = recorded
    added = _added(event)
    envelope = (
        f'{{"position": {_text(position)}, "branch": {_text(branch)}, "version": {_text(version)}, '
        f'"kind": {_text(kind)}, "recorded_at": {_text(recorded_at)}, "command_id": {_text(command_id)}, '
    )
    if correlation_id != command_id:
        envelope += f'"correlation_id": {_text(correlation_id)}, '
    if (written := _version(event, added)) != 1:
        envelope += f'"schema_version": {written}, '
    return f'{envelope}"event": {_object(event, added)}}}'.encode("ascii")


def recorded_digest(recorded: RecordedEvent) -> bytes:
    """Return the first 16 bytes of the SHA-256 of the canonical form of a recorded event, as if its position were 0.

    So it is known before the event is in a log, and is the same where only a branch was read.

    Raises:
        KeyError: the event is of no kind that has one.
    """
    return hashlib.sha256(canonical(recorded._replace(position=0))).digest()[:16]


def canonical_event(event: EventBase) -> bytes:
    """Return the canonical form of an event without its envelope.

    Raises:
        KeyError: it is of no kind that has one.
    """
    return _object(event, _added(event)).encode("ascii")


def canonical_fields(event: EventBase) -> tuple[int, bytes]:
    """Return the schema version of an event in the canonical form, and the form without the envelope.

    Raises:
        KeyError: it is of no kind that has one.
    """
    added = _added(event)
    return _version(event, added), _object(event, added).encode("ascii")


def left_out(event: EventBase, fields: Mapping[str, Any], schema_version: int) -> str | None:
    """Return the first field that what an event was read of has to have, and does not; None if it has all.

    A reader of its own accord takes the usual value for some of them, and a log says what happened. What a later schema
    version added may be left out, as in the canonical form; but one of that version says something that is new in it.

    Args:
        event: as it was read.
        fields: what it was read of, of any schema version: `by`, and so on.
        schema_version: which.
    """
    added = ADDED.get(event.kind)
    if schema_version > 1 and added and not added.keys() & fields.keys():
        return " or ".join(added)
    return _left_out(event, fields)


def _left_out(model: Any, fields: Mapping[str, Any]) -> str | None:
    for name in (*FIELDS[type(model).__name__], *_added(model)):
        if name not in fields:
            return name
        value, given = getattr(model, name), fields[name]
        several = zip(value, given, strict=False) if type(value) is tuple else [(value, given)]
        for one, of in several:
            if type(one).__name__ in FIELDS and (missing := _left_out(one, of)) is not None:
                return f"{name}.{missing}"
    return None


def _version(event: EventBase, added: Mapping[str, object]) -> int:
    """Return the schema version that a reader needs to know."""
    if event.kind in ADDED and event.schema_version == 2 and not added:
        return 1
    return event.schema_version


def _added(model: Any) -> dict[str, Any]:
    meant = ADDED.get(type(model).__name__)
    return {name: value for name in meant if (value := getattr(model, name)) != meant[name]} if meant else {}


# --- JSON, in half the time that `json.dumps` takes with a function for what it does not know -------------------------

_quoted = json.JSONEncoder().encode


def _text(value: Any) -> str:
    """Return a value as JSON without spaces, in ASCII."""
    write = _TEXTS.get(type(value))
    if write is not None:
        return write(value)
    if isinstance(value, str):  # one of an enumeration
        return _quoted(value)
    return _object(value, _added(value))


def _object(model: Any, added: Mapping[str, object]) -> str:
    texts = [f'"{name}":{_text(getattr(model, name))}' for name in FIELDS[type(model).__name__]]
    texts += [f'"{name}":{_text(value)}' for name, value in added.items()]
    return "{" + ",".join(texts) + "}"


_TEXTS: dict[type, Callable[[Any], str]] = {
    str: _quoted,
    int: repr,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    tuple: lambda values: "[" + ",".join(map(_text, values)) + "]",
    dict: lambda values: "{" + ",".join(f"{_quoted(name)}:{_text(value)}" for name, value in values.items()) + "}",
}


# --- How large an event may be ---------------------------------------------------------------------------------------

_ITEM = 320  # bytes that an item of a list takes at most: a legal hold whose id consists of quotation marks
_ELSEWHERE = 8 * 2**10  # bytes that all of an event takes at most, but for what follows and the time
OF_ANY_LENGTH: Mapping[type[EventBase], Callable[[Any], int]] = {
    ConversationStarted: lambda event: event.policy.size,
    PolicyChanged: lambda event: event.policy.size,
    BranchOpened: lambda event: _ITEM * (len(event.risks) + len(event.holds)),
    ConversationEnded: lambda event: _ITEM * len(event.evidence.redirections),
    AttemptRefused: lambda event: _ITEM * len(event.rules),
    ContentErased: lambda event: _ITEM * len(event.contents),
}
"""The kinds of event that may be of any length, and at most how many bytes what makes them so takes."""

_TODO = {
    "risks": ": clear some of those that are open in this tree",
    "holds": ": release some of those that stand on this tree",
    "policy": ": name less in it",
}


def too_large(recorded: RecordedEvent) -> str | None:
    """Say what of a recorded event is more than a log may take, and how much that is; None if all is well.

    It is as large at every position: the longest that there can be is counted.
    """
    event = recorded.event
    of_any_length = OF_ANY_LENGTH.get(type(event))
    at_most = _ELSEWHERE + len(recorded.recorded_at) + (of_any_length(event) if of_any_length else 0)
    if at_most <= MOST_POLICY:  # as nearly always, without measuring it
        return None
    if isinstance(event, ConversationStarted | PolicyChanged) and event.policy.size > MOST_POLICY:
        return f"policy: {event.policy.size:,} bytes, where a policy may have {MOST_POLICY:,}{_TODO['policy']}"
    size = len(canonical(recorded._replace(position=MOST_VERSIONS)))
    if size <= MOST_EVENT:
        return None
    parts = {"recorded_at": recorded.recorded_at, **{name: getattr(event, name) for name in FIELDS[event.kind]}}
    most, field = max((len(_text(part)), name) for name, part in (parts | _added(event)).items())
    todo = _TODO.get(field, "")
    return f"{event.kind}: {size:,} bytes, {most:,} of them {field}, where an event may have {MOST_EVENT:,}{todo}"
