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
"""

import json
from typing import Any

from .events import EventBase, RecordedEvent
from .policy import USUAL

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
    "Policy": USUAL,
}
"""The fields that were added since, in their order, behind the others, with what their absence means."""


def canonical(recorded: RecordedEvent) -> bytes:
    """Return the canonical form of a recorded event.

    Raises:
        KeyError: the event is of no kind that has one.
    """
    envelope: dict[str, Any] = {
        "position": recorded.position,
        "branch": recorded.branch,
        "version": recorded.version,
        "kind": recorded.kind,
        "recorded_at": recorded.recorded_at,
        "command_id": recorded.command_id,
    }
    if recorded.correlation_id != recorded.command_id:
        envelope["correlation_id"] = recorded.correlation_id
    if (written := _version(recorded.event)) != 1:
        envelope["schema_version"] = written
    return b'%b, "event": %b}' % (json.dumps(envelope)[:-1].encode("ascii"), canonical_event(recorded.event))


def canonical_event(event: EventBase) -> bytes:
    """Return the canonical form of an event without its envelope.

    Raises:
        KeyError: it is of no kind that has one.
    """
    return json.dumps(_fields(event), default=_fields, separators=(",", ":")).encode("ascii")


def _version(event: EventBase) -> int:
    """Return the schema version that a reader needs to know."""
    if event.kind in ADDED and event.schema_version == 2 and not _added(event):
        return 1
    return event.schema_version


def _fields(model: Any) -> dict[str, Any]:
    return {name: getattr(model, name) for name in FIELDS[type(model).__name__]} | _added(model)


def _added(model: Any) -> dict[str, Any]:
    meant = ADDED.get(type(model).__name__, {})
    return {name: value for name in meant if (value := getattr(model, name)) != meant[name]}
