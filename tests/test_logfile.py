"""The log as JSON lines is loss-free in both directions, and an import writes all of it or nothing."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from lastresort import Conversations, Event, Risk, Verdict
from lastresort.adapters.importers.inputs import BadInput
from lastresort.adapters.importers.log_file import checked_log, export_line, import_log, read_log
from lastresort.domain.events import RecordedEvent, Unreadable
from lastresort.projections import audit

from .narrow import present
from .stores import OPERATOR, abused, chats, counting, done, ended, ended_on_request, log_of, open_at, opened, started
from .vocabulary import any_event

__all__ = ["chats"]


def exported(chats: Conversations) -> bytes:
    return "".join(f"{export_line(entry)}\n" for entry in chats.store.log()).encode()


def filled(chats: Conversations) -> Conversations:
    """Two conversations, one of them with a branch and a risk in common."""
    chat = ended(started(chats))
    child = done(chat.edit(10, "Shall we start again?", child="d"))
    child.judge(Verdict.PRODUCTIVE, risk=Risk.POSSIBLE)
    child.clear_risk(child.state.risks[0].risk, by=OPERATOR)
    chat.erase(2)
    ended_on_request(started(chats, "other"))
    return chats


@pytest.fixture
def file(chats: Conversations, tmp_path: Path) -> Path:
    """An exported log."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(exported(filled(chats)))
    return path


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Conversations]:
    """An SQLite store that holds a conversation already."""
    with opened(f"sqlite:///{tmp_path}/target.db", new_id=counting("held-")) as held:
        abused(started(held, "held"))
        yield held


def import_into(chats: Conversations, path: Path) -> None:
    assert import_log(path, nullcontext(chats.store)).findings == ()


def test_an_exported_line_has_the_fields_of_the_format(chats: Conversations) -> None:
    """In their order, with the event's fields as the law has them, and nothing of what was said. The version of a kind
    is there from the second on."""
    started(chats).user_turn("xylophone")
    first, second = (json.loads(line) for line in exported(chats).splitlines())
    fields = ["position", "branch", "version", "kind", "recorded_at", "command_id", "schema_version", "event"]
    assert list(first) == fields
    assert list(second) == [field for field in fields if field != "schema_version"]
    assert second | {"event": None} == {
        "position": 2,
        "branch": "c",
        "version": 2,
        "kind": "UserTurnTaken",
        "recorded_at": "2026-01-31T12:00:01.000000+00:00",
        "command_id": "id-2",
        "event": None,
    }
    assert second["event"].keys() == {"by", "content"}
    assert b"xylophone" not in exported(chats)


def test_a_log_that_is_imported_is_exported_to_the_same_bytes(file: Path, tmp_path: Path) -> None:
    """Into SQLite and into memory; events, envelopes and commands."""
    for number, url in enumerate(["memory:", f"sqlite:///{tmp_path}/copy.db"]):
        with opened(url, new_id=counting(f"copy-{number}-")) as copy:
            import_into(copy, file)
            assert exported(copy) == file.read_bytes()
            assert audit(copy.store.entries()).findings == ()
            for entry in copy.store.log():
                assert entry.version in [
                    e.version
                    for e in copy.store.recorded_by(present(copy.store.tree_of(entry.branch)), entry.command_id)
                ]


def test_an_imported_conversation_goes_on(file: Path) -> None:
    """It is not a dead copy: its commands are still recorded once, and its branches are live."""
    with opened("memory:", new_id=counting("new-")) as copy:
        import_into(copy, file)
        chat = copy.chat("d")
        before = chat.state.version
        done(chat.user_turn("Where were we?"))
        assert chat.state.version == before + 1
        assert copy.state("c").ended is not None
        assert audit(copy.store.entries()).findings == ()


def test_a_correlation_is_exported_only_where_it_is_not_the_command(chats: Conversations, tmp_path: Path) -> None:
    """And comes back."""
    started(chats)
    log = [log_of(chats)[0]._replace(correlation_id="an-act")]
    line = json.loads(export_line(log[0]))
    assert line["correlation_id"] == "an-act"
    path = tmp_path / "log.jsonl"
    path.write_text(export_line(log[0]) + "\n")
    with opened("memory:") as copy:
        import_into(copy, path)
        assert log_of(copy) == log
        assert exported(copy) == path.read_bytes()


@settings(max_examples=150)
@given(any_event)
def test_any_event_is_exported_and_read_without_loss(tmp_path_factory: pytest.TempPathFactory, event: Event) -> None:
    """Of every kind, lawful or not."""
    recorded = RecordedEvent(3, "b", 2, event.kind, "2026-01-31T12:00:00+00:00", "command", event, "act")
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text(export_line(recorded) + "\n")
    assert list(read_log(path)) == [(1, recorded)]


# --- Broken lines -----------------------------------------------------------------------------------------------------


def with_line(path: Path, number: int, change: Callable[[dict[str, Any]], object]) -> Path:
    """The file with the line at `number` changed."""
    lines = path.read_text().splitlines()
    lines[number - 1] = json.dumps(changed) if (changed := change(json.loads(lines[number - 1]))) is not None else "{"
    path.write_text("\n".join(lines) + "\n")
    return path


BROKEN: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda line: None, "value: Invalid JSON"),
    (lambda line: [line], "value: Input should be an object"),
    (lambda line: {**line, "position": 0}, "position: Input should be greater than or equal to 1"),
    (lambda line: {**line, "position": "7"}, "position: Input should be a valid integer"),
    (lambda line: {**line, "version": 1.5}, "version: Input should be a valid integer"),
    (lambda line: {**line, "branch": ""}, "branch: String should match pattern"),
    (lambda line: {**line, "command_id": "two words"}, "command_id: String should match pattern"),
    (lambda line: {**line, "recorded_at": "yesterday"}, "recorded_at: not a time in UTC"),
    (lambda line: {**line, "recorded_at": "2026-01-31T12:00:00"}, "recorded_at: not a time in UTC"),
    (lambda line: {**line, "recorded_at": "2026-01-31T12:00:00+01:00"}, "recorded_at: not a time in UTC"),
    (lambda line: {**line, "words": "Hello."}, "value: a field that is not known"),
    (lambda line: {k: v for k, v in line.items() if k != "event"}, "event: Field required"),
    (lambda line: {**line, "event": "none"}, "event: Input should be"),
    (lambda line: {**line, "schema_version": 0}, "schema_version: Input should be greater than or equal to 1"),
    (lambda line: {**line, "schema_version": 99}, "schema_version: "),
    (lambda line: {**line, "kind": "Future"}, "kind: not a known kind of event"),
    (lambda line: {**line, "event": {"turn": 2}}, "event.verdict: Field required; event.risk: Field"),
    (lambda line: {**line, "event": {**line["event"], "words": "Hello."}}, "event: a field that is not known"),
    (lambda line: {**line, "event": {**line["event"], "severity": 7}}, "event.severity: Input should be less than"),
]


@pytest.mark.parametrize(("change", "problem"), BROKEN)
def test_a_broken_line_is_named_and_leaves_the_store_as_it_was(
    file: Path, target: Conversations, change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    """By file, line and field; the lines before it are not written either."""
    before = exported(target)
    with pytest.raises(BadInput) as raised:
        import_into(target, with_line(file, 7, change))
    assert str(raised.value).startswith(f"{file}:7: {problem}")
    assert exported(target) == before


def test_an_event_that_is_none_is_for_the_audit_to_name(file: Path) -> None:
    """Reading goes on behind it; an envelope that is none stops it."""
    with_line(file, 7, lambda line: {**line, "kind": "Future"})
    unreadable = [(number, entry) for number, entry in read_log(file) if isinstance(entry, Unreadable)]
    assert [(number, entry[:4]) for number, entry in unreadable] == [(7, (7, "c", 7, "Future"))]
    assert audit(entry for _, entry in read_log(file)).findings[0].version == 7


def test_a_log_that_breaks_a_rule_says_so_before_anything_is_written(file: Path) -> None:
    """It is the report that `import` looks at first."""
    with_line(file, 7, lambda line: {**line, "version": 70})
    _, report = checked_log(file)
    assert "structure-gap" in {rule for finding in report.findings for rule in finding.rules}


# --- All or nothing ---------------------------------------------------------------------------------------------------


def test_a_log_is_not_imported_over_itself(file: Path, target: Conversations) -> None:
    """Neither twice, nor where one of its commands or branches is; nothing is written then."""
    import_into(target, file)
    before = exported(target)
    with pytest.raises(
        BadInput, match=rf"^{file}: the store holds some of this log already: .*; import it into another$"
    ):
        import_into(target, file)
    assert exported(target) == before


@pytest.mark.parametrize("branch", ["c", "other"])
def test_a_log_of_a_branch_that_exists_is_not_imported(file: Path, branch: str) -> None:
    """The first of its branches, or the last."""
    with opened("memory:", new_id=counting("held-")) as held:
        abused(started(held, branch))
        before = exported(held)
        with pytest.raises(BadInput, match="the store holds some of this log already"):
            import_into(held, file)
        assert exported(held) == before


def test_an_empty_log_is_refused(target: Conversations, tmp_path: Path) -> None:
    """It holds no event that could be unlawful, and none that was meant: an export that failed, say."""
    (tmp_path / "empty.jsonl").touch()
    before = exported(target)
    with pytest.raises(BadInput, match="is empty"):
        import_into(target, tmp_path / "empty.jsonl")
    assert exported(target) == before


@pytest.mark.parametrize("field", ["recorded_at", "correlation_id"])
def test_the_events_of_a_command_that_differ_in_their_envelope_are_kept_or_refused(
    file: Path, tmp_path: Path, field: str
) -> None:
    """Loss-free, or not at all: never silently another log."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    number = next(n for n in range(1, len(lines)) if lines[n]["command_id"] == lines[n - 1]["command_id"])
    with_line(file, number + 1, lambda line: {**line, field: "2027-01-31T12:00:00+00:00"})
    copy = open_at("memory:", new_id=counting("copy-"))
    try:
        import_into(copy, file)
    except (BadInput, AssertionError):
        return
    assert exported(copy) == file.read_bytes()
