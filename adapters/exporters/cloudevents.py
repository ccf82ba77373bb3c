"""The log as CloudEvents 1.0, one a line, and back.

`data` is the event in canonical form; what else a recorded event has is in the attributes: `position`, `branchversion`,
`commandid` and `correlationid` are extensions, numbers among them as text, since an Integer of CloudEvents has 32 bits.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lastresort.domain.canonical import canonical, canonical_event
from lastresort.domain.events import RecordedEvent

_TYPE = re.compile(r"lastresort\.([A-Za-z]{1,64})\.v([1-9][0-9]{0,5})")
_NUMBER = re.compile(r"[1-9][0-9]{0,15}")
_MARK = '"specversion"'


def source_of(first: RecordedEvent) -> str:
    """Return what a log is called as a source, unless somebody names it: by the id of its first event."""
    return f"urn:uuid:{first.event_id}"


def cloud_events(log: Iterable[RecordedEvent], source: str | None = None) -> Iterator[str]:
    """Yield the events of a log as CloudEvents in JSON, each a line without its end.

    Args:
        log: the events, in order.
        source: a URI reference that names the log; if it is None, it follows from the first event.
    """
    for recorded in log:
        source = source or source_of(recorded)
        yield json.dumps(_attributes(recorded, source))[:-1] + f', "data": {canonical_event(recorded.event).decode()}}}'


def _attributes(recorded: RecordedEvent, source: str) -> dict[str, str]:
    written = json.loads(canonical(recorded)).get("schema_version", 1)
    attributes = {
        "specversion": "1.0",
        "id": str(recorded.event_id),
        "source": source,
        "type": f"lastresort.{recorded.kind}.v{written}",
        "subject": recorded.branch,
        "time": recorded.recorded_at,
        "datacontenttype": "application/json",
        "position": str(recorded.position),
        "branchversion": str(recorded.version),
        "commandid": recorded.command_id,
    }
    if recorded.correlation_id != recorded.command_id:
        attributes["correlationid"] = recorded.correlation_id
    return attributes


def looks_like_one(line: str) -> bool:
    """Whether a line seems to be a CloudEvent."""
    return _MARK in line


def log_line(line: str) -> str:
    """Return the line of an exported log that a CloudEvent was made of. Whether it is a good one is for the log's
    reader to say.

    Raises:
        ValueError: it is no CloudEvent of ours; the message says which attribute is wrong.
    """
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(event, dict) or event.get("specversion") != "1.0":
        raise ValueError("specversion: is not that of a CloudEvent, 1.0")
    kind, version = _matched(event, "type", _TYPE, "lastresort.KIND.vVERSION").groups()
    envelope: dict[str, Any] = {
        "position": int(_matched(event, "position", _NUMBER, "a number")[0]),
        "branch": event.get("subject"),
        "version": int(_matched(event, "branchversion", _NUMBER, "a number")[0]),
        "kind": kind,
        "recorded_at": event.get("time"),
        "command_id": event.get("commandid"),
    }
    if "correlationid" in event:
        envelope["correlation_id"] = event["correlationid"]
    if version != "1":
        envelope["schema_version"] = int(version)
    return json.dumps({**envelope, "event": event.get("data")})


def _matched(event: Mapping[str, Any], name: str, pattern: re.Pattern[str], form: str) -> re.Match[str]:
    value = event.get(name)
    found = pattern.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{name}: needs to be {form}, as text")
    return found
