"""How events are written down, and read again for ever.

A stored event is read by the type that is registered for its kind; nothing is imported by a stored name. An event of
an earlier schema version is first brought up to date, step by step, by the upcasts of its kind. Events of the
current version cost nothing for that: their envelope says so, and they are read in one go.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError, create_model
from pydantic_core import from_json

from lastresort.domain.events import EVENTS, EventBase, Recorded, Unreadable
from lastresort.domain.ports import Append
from lastresort.domain.upcasts import UPCASTS, Upcast

_TOLD = 10  # how much of what is wrong with a line is told: who mends that will find the rest
_TOO_MUCH = 1_000  # and where that much is wrong, none of it: pydantic can only tell all, at half a kilobyte each


class Encoding:
    """Writes events as the state of a row, and reads them.

    Args:
        events: the type of each kind; its `schema_version` is the current one.
        upcasts: by kind and version, the step to the next version.
    """

    def __init__(
        self, events: Mapping[str, type[EventBase]] = EVENTS, upcasts: Mapping[tuple[str, int], Upcast] = UPCASTS
    ) -> None:
        self._events = events
        self._upcasts = upcasts
        self._readers = {kind: _reader(event) for kind, event in events.items()}

    def state(self, append: Append, event: EventBase) -> bytes:
        """Return the state of an event's row: its envelope, and in it the event with exactly the fields of the law."""
        envelope: dict[str, Any] = {"recorded_at": append.recorded_at, "command_id": append.command_id}
        if append.correlation_id != append.command_id:
            envelope["correlation_id"] = append.correlation_id
        return with_event(envelope, event).encode()

    def entry(self, position: int, branch: str, version: int, kind: str, state: bytes) -> Recorded | Unreadable:
        """Read a row."""
        reader = self._readers.get(kind)
        if reader is None:
            return Unreadable(position, branch, version, kind, f"kind: {kind} is no kind of event")
        try:
            stored = reader.model_validate_json(state)
        except ValidationError as error:
            try:
                stored = reader.model_validate_json(self._upcast(kind, state))
            except (_NoUpcast, KeyError, TypeError, ValueError):
                return Unreadable(position, branch, version, kind, explain(error))
        return Recorded(
            position=position,
            branch=branch,
            version=version,
            kind=kind,
            recorded_at=stored.recorded_at,
            command_id=stored.command_id,
            event=stored.event,
            correlation_id=stored.correlation_id or stored.command_id,
        )

    def _upcast(self, kind: str, state: bytes) -> str:
        """Bring a state of an earlier schema version up to date."""
        stored = from_json(state)
        current = self._events[kind].schema_version
        version = stored.get("schema_version", 1) if isinstance(stored, dict) else current
        if not isinstance(version, int) or version >= current or not isinstance(stored.get("event"), dict):
            raise _NoUpcast
        for step in range(version, current):
            stored["event"] = self._upcasts[kind, step](stored["event"])
        return json.dumps({**stored, "schema_version": current})


class _NoUpcast(Exception):
    """The state is not of an earlier version; it is just wrong."""


def _reader(event: type[EventBase]) -> type[Any]:
    """Make a model for the state of a row that holds an `event` of the current version."""
    current = event.schema_version
    only_the_current: Any = Literal[current]
    return create_model(
        f"Stored{event.kind}",
        recorded_at=(str, ...),
        command_id=(str, ...),
        correlation_id=(str | None, None),
        schema_version=(only_the_current, 1 if current == 1 else ...),
        event=(event, ...),
    )


def with_event(envelope: Mapping[str, Any], event: EventBase) -> str:
    """Return an envelope with an event in it, as JSON. Its schema version stands there if it is not 1."""
    if event.schema_version != 1:
        envelope = {**envelope, "schema_version": event.schema_version}
    return f'{json.dumps(envelope)[:-1]}, "event": {event.model_dump_json()}}}'


def explain(error: ValidationError) -> str:
    """Say what pydantic found, field by field, on one line and without the values."""
    if error.error_count() > _TOO_MUCH:
        return f"{error.error_count():,} fields are not as they should be; is this something else?"
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    told = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'value'}: {problem['msg']}" for problem in problems[:_TOLD]
    ]
    if len(problems) > _TOLD:
        told.append(f"and {len(problems) - _TOLD:,} more")
    return "; ".join(told)
