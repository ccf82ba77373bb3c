"""The columns: one for each field of the envelope, and a struct for each kind of event, null where it is of another.

The types follow from those of the events. A policy is in its canonical form in JSON, as text: it has fields of every
depth, and what is asked of it is mostly its hash.
"""

import json
import types
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from lastresort.domain.canonical import canonical_event
from lastresort.domain.events import EVENTS, EventBase, RecordedEvent
from lastresort.domain.policy import Policy

CONVERSATION, PARTITION = "conversation", "conversation_hash"

ENVELOPE: tuple[tuple[str, Any], ...] = (
    ("place", pa.int64()),
    ("position", pa.int64()),
    (CONVERSATION, pa.string()),
    ("branch", pa.string()),
    ("version", pa.int64()),
    ("kind", pa.string()),
    ("recorded_at", pa.string()),
    ("at", pa.timestamp("us", tz="UTC")),
    ("command_id", pa.string()),
    ("correlation_id", pa.string()),
)
"""`place` is where the event stands in the log as it was read, from 1, whatever its position says. `recorded_at` is the
time as the log has it, to the byte, and `at` the same as a time."""


def _type_of(annotation: Any) -> Any:
    """Return the column's type for a field's."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type_of(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        (some,) = [one for one in get_args(annotation) if one is not type(None)]
        return _type_of(some)
    if origin is tuple:
        return pa.list_(_type_of(get_args(annotation)[0]))
    if issubclass(annotation, Policy):
        return pa.string()
    if issubclass(annotation, BaseModel):
        return pa.struct(_fields_of(annotation))
    if issubclass(annotation, bool):
        return pa.bool_()
    if issubclass(annotation, int):
        return pa.int64()
    assert issubclass(annotation, str | Enum), annotation
    return pa.string()


def _fields_of(model: type[BaseModel]) -> list[Any]:
    return [pa.field(name, _type_of(field.annotation)) for name, field in model.model_fields.items()]


STRUCTS: Mapping[str, Any] = {kind: pa.struct(_fields_of(event)) for kind, event in EVENTS.items()}
SCHEMA = pa.schema([*ENVELOPE, *((kind, struct) for kind, struct in STRUCTS.items())])


def row_of(place: int, recorded: RecordedEvent, conversation: str, at: Any) -> dict[str, Any]:
    """Return the row of an event."""
    return {
        "place": place,
        "position": recorded.position,
        CONVERSATION: conversation,
        "branch": recorded.branch,
        "version": recorded.version,
        "kind": recorded.kind,
        "recorded_at": recorded.recorded_at,
        "at": at,
        "command_id": recorded.command_id,
        "correlation_id": recorded.correlation_id,
        recorded.kind: _said(recorded.event),
    }


def _said(event: EventBase) -> dict[str, Any]:
    said = event.model_dump(mode="json")
    if "policy" in said:
        said["policy"] = json.dumps(json.loads(canonical_event(event))["policy"], separators=(",", ":"))
    return said


def event_of(row: Mapping[str, Any]) -> RecordedEvent:
    """Return the event of a row.

    Raises:
        ValueError: the row is none that was written here.
    """
    kind = row["kind"]
    if kind not in EVENTS or row.get(kind) is None:
        raise ValueError("kind: names no column that says what happened")
    said = dict(row[kind])
    if "policy" in said:
        said["policy"] = json.loads(said["policy"] or "null")
    event: Any = EVENTS[kind].model_validate_json(json.dumps(said))
    return RecordedEvent(
        row["position"], row["branch"], row["version"], kind, row["recorded_at"], row["command_id"], event,
        row["correlation_id"],
    )  # fmt: skip
