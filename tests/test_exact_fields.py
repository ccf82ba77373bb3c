"""A log that is handed in has exactly the fields of each kind and version, down to the last one within them."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from lastresort.adapters.importers.inputs import BadInput, parsed
from lastresort.adapters.importers.log_file import audit_file, import_log, read_log
from lastresort.adapters.importers.log_lines import Entry, LogLine, LogReader, entry_of
from lastresort.adapters.stores.memory import MemoryStore
from lastresort.domain.events import EVENTS, RecordedEvent, Unreadable

from .narrow import must_be

GOLDEN = Path(__file__).parent / "golden"
Line = dict[str, Any]
Path_ = tuple[str | int, ...]

ABSENT_BY_RIGHT = {("ConversationStarted", 2, "law"), ("ConversationStarted", 2, "mode")}
"""What may go where the other stays: each is new in version 2, and left out where it says what version 1 meant."""


def shape(value: Any) -> Any:
    """What fields a value has, whatever is in them."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in sorted(value.items())}
    return [shape(one) for one in value[:1]] if isinstance(value, list) else None


def examples() -> Iterator[tuple[str, Line]]:
    """A line of each kind and version, and of each set of fields that it has in the golden logs."""
    seen = set()
    for path in sorted(GOLDEN.rglob("*.jsonl")):
        for line in map(json.loads, path.read_text().splitlines()):
            name = f"{line['kind']}.v{line.get('schema_version', 1)}"
            if (one := (name, json.dumps(shape(line["event"])))) not in seen:
                seen.add(one)
                yield f"{name}-{path.stem}", line


LINES = dict(examples())


def places(value: Any, within: Path_ = ()) -> Iterator[Path_]:
    """Where the objects are within a value."""
    if isinstance(value, dict):
        yield within
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in named:
        yield from places(one, (*within, name))


def at(line: Line, place: Path_) -> Any:
    found = line["event"]
    for name in place:
        found = found[name]
    return found


def both_ways(line: Line) -> tuple[Entry | None, Entry | None]:
    """What a line is, read fast and slowly; None if it is nothing."""
    text = json.dumps({**line, "event": None}).encode()
    text = text.replace(b'"event": null', b'"event": ' + json.dumps(line["event"], separators=(",", ":")).encode())
    try:
        slowly = entry_of(parsed("file", 1, text, LogLine))
    except BadInput:
        slowly = None
    return LogReader().entry(text), slowly


def test_every_kind_and_version_is_here() -> None:
    known = {f"{kind}.v{version}" for kind, event in EVENTS.items() for version in range(1, event.schema_version + 1)}
    assert {name.partition("-")[0] for name in LINES} == known
    assert all(isinstance(one, RecordedEvent) for line in LINES.values() for one in both_ways(line)[1:])


@pytest.mark.parametrize("name", LINES)
def test_a_field_that_is_missing_or_not_known_makes_it_unreadable(name: str) -> None:
    line = LINES[name]
    for place in places(line["event"]):
        for field in at(line, place):
            less = deepcopy(line)
            del at(less, place)[field]
            if (line["kind"], line.get("schema_version", 1), field) in ABSENT_BY_RIGHT and "mode" in line["event"]:
                assert isinstance(both_ways(less)[1], RecordedEvent)
                continue
            fast, slow = both_ways(less)
            assert fast is None
            why = must_be(Unreadable, slow).why
            assert field in why or "policy_hash is not the hash of policy" in why
        more = deepcopy(line)
        at(more, place)["more"] = None
        fast, slow = both_ways(more)
        assert fast is None
        assert "a field that is not known" in must_be(Unreadable, slow).why


def test_one_of_a_version_without_what_is_new_in_it_is_none() -> None:
    """It would be read as of the edition before, and was recorded under this one."""
    line = next(line for line in LINES.values() if line["kind"] == "ConversationStarted" and "law" in line["event"])
    del (changed := deepcopy(line))["event"]["law"]
    assert must_be(Unreadable, both_ways(changed)[1]).why == "event.law or mode: Field required"
    spelt_out = deepcopy(line)
    spelt_out["event"]["mode"] = "enforced"
    assert must_be(RecordedEvent, both_ways(spelt_out)[1]).event == must_be(RecordedEvent, both_ways(line)[1]).event


def test_the_audit_names_it_and_nothing_is_imported(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (GOLDEN / "last_resort.jsonl").read_text().splitlines()]
    (ending,) = [line for line in lines if line["kind"] == "ConversationEnded"]
    del ending["event"]["evidence"]["hope"]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert sum(isinstance(entry, Unreadable) for _, entry in read_log(path)) == 1
    found = [one for one in audit_file(path).findings if one.rules == ("structure-unreadable",)]
    assert [(one.version, one.detail) for one in found] == [(ending["version"], "event.evidence.hope: Field required")]
    store = MemoryStore()
    with pytest.raises(BadInput, match=rf"^{path}:\d+: event.evidence.hope: Field required$"):
        import_log(path, nullcontext(store))
    assert store.head() == 0
