"""A log goes out as CloudEvents and as Parquet, and comes in again: the same log, to the byte, and the same audit."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import Result
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings

from lastresort import RecordedEvent
from lastresort.adapters.exporters.cloudevents import cloud_events, log_line, source_of
from lastresort.adapters.importers.log_file import export_line, read_log
from lastresort.adapters.parquet import UnreadableParquet, read_parquet, write_parquet
from lastresort.adapters.testing import lawful_histories
from lastresort.domain.canonical import canonical
from lastresort.domain.events import EVENTS, TurnAssessed, Unreadable

from .cli_kit import as_json, run, url
from .drawing import UNHURRIED, examples

__all__ = ["run", "url"]

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.jsonl"))


def log_in(path: Path) -> list[RecordedEvent]:
    return [entry for _, entry in read_log(path) if not isinstance(entry, Unreadable)]


def again(lines: Iterator[str], path: Path) -> list[RecordedEvent]:
    """What is read of CloudEvents."""
    path.write_text("".join(log_line(line) + "\n" for line in lines))
    return log_in(path)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_log_goes_out_and_in_again_to_the_byte(path: Path, tmp_path: Path) -> None:
    """Every kind of event, of every schema version that was ever written, is in the golden logs."""
    log = log_in(path)
    lines = [canonical(one) for one in log]
    assert [canonical(one) for one in again(cloud_events(log), tmp_path / "ce.jsonl")] == lines
    write_parquet(log, tmp_path / "parquet")
    assert [canonical(one) for one in read_parquet(tmp_path / "parquet")] == lines


def test_the_golden_logs_hold_every_kind() -> None:
    assert {one.kind for path in GOLDEN for one in log_in(path)} == set(EVENTS)


@settings(UNHURRIED, max_examples=examples(dev=15, ci=60, nightly=600))
@given(lawful_histories())
def test_any_lawful_history_does(tmp_path_factory: pytest.TempPathFactory, history: tuple[RecordedEvent, ...]) -> None:
    folder = tmp_path_factory.mktemp("out")
    lines = [export_line(one) for one in history]
    assert [export_line(one) for one in again(cloud_events(history), folder / "ce.jsonl")] == lines
    write_parquet(history, folder / "parquet")
    assert [export_line(one) for one in read_parquet(folder / "parquet")] == lines


# --- CloudEvents ------------------------------------------------------------------------------------------------------


def test_the_package_for_cloudevents_reads_them() -> None:
    """And finds that they keep to the specification: it checks attributes, their names and their types."""
    for path in GOLDEN:
        log = log_in(path)
        for line, recorded in zip(cloud_events(log, "https://example.org/log"), log, strict=True):
            event = JSONFormat().read(CloudEvent, line)
            assert event.get_id() == str(recorded.event_id)
            assert event.get_source() == "https://example.org/log"
            assert event.get_type() in (f"lastresort.{recorded.kind}.v{number}" for number in (1, 2))
            assert event.get_subject() == recorded.branch
            assert event.get_time() is not None
            assert event.get_extension("branchversion") == str(recorded.version)
            data = event.get_data()
            assert isinstance(data, dict)
            assert data["by"] == recorded.event.by.model_dump(mode="json")


def test_a_source_follows_from_the_first_event_or_is_named() -> None:
    log = log_in(GOLDEN[0])
    named = {json.loads(line)["source"] for line in cloud_events(log)}
    assert named == {source_of(log[0])} == {f"urn:uuid:{log[0].event_id}"}
    assert {json.loads(line)["source"] for line in cloud_events(log, "/mine")} == {"/mine"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"specversion": "0.3"}, "specversion: is not that of a CloudEvent"),
        ({"type": "com.example.hunter2"}, "type: needs to be lastresort.KIND.vVERSION, as text"),
        ({"position": 5}, "position: needs to be a number, as text"),
        ({"branchversion": "-1"}, "branchversion: needs to be a number, as text"),
    ],
)
def test_what_is_wrong_with_a_cloud_event_is_named(changed: dict[str, Any], said: str) -> None:
    (line, *_) = cloud_events(log_in(GOLDEN[0]))
    with pytest.raises(ValueError, match=said) as raised:
        log_line(json.dumps(json.loads(line) | changed))
    assert "hunter2" not in str(raised.value)
    for text in ("[]", "5", "{", "[" * 100_000):
        with pytest.raises(ValueError, match=r"specversion|is not JSON"):
            log_line(text)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def test_duckdb_asks_it(tmp_path: Path) -> None:
    """A column for each field of the envelope, a struct for each kind, and parts by the hash of the conversation."""
    log = log_in(next(path for path in GOLDEN if path.stem == "last_resort"))
    write_parquet(log, tmp_path / "log")
    table = f"read_parquet('{tmp_path}/log/**/*.parquet', hive_partitioning=true)"
    with duckdb.connect() as database:
        kinds = dict(database.execute(f"SELECT kind, count(*) FROM {table} GROUP BY kind").fetchall())
        assert kinds == {kind: sum(one.kind == kind for one in log) for kind in {one.kind for one in log}}
        asked = f"SELECT TurnAssessed.verdict, TurnAssessed.severity FROM {table} WHERE kind = 'TurnAssessed'"
        verdicts = [one.event for one in log if isinstance(one.event, TurnAssessed)]
        assert database.execute(f"{asked} ORDER BY position").fetchall() == [
            (verdict.verdict, verdict.severity) for verdict in verdicts
        ]
        columns = {name: kind for name, kind, *_ in database.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}
        assert set(EVENTS) <= columns.keys()
        assert columns["at"] == "TIMESTAMP WITH TIME ZONE"
        (conversation, part) = database.execute(
            f"SELECT conversation, conversation_hash FROM {table} LIMIT 1"
        ).fetchone()  # type: ignore[misc]
        assert (conversation, len(str(part))) == ("c", 1)


def test_a_conversation_is_in_one_part_and_a_long_log_in_several_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lastresort.adapters.parquet import files

    monkeypatch.setattr(files, "_ROWS", 7)
    log = log_in(next(path for path in GOLDEN if path.stem == "both_editions"))
    assert write_parquet(log, tmp_path / "log") == len(log)
    parts = sorted(path.parent.name for path in (tmp_path / "log").glob("*/*.parquet"))
    assert len(parts) > 1
    assert [export_line(one) for one in read_parquet(tmp_path / "log")] == [export_line(one) for one in log]


def test_what_is_no_parquet_of_ours_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableParquet, match=r"holds no conversation_hash=\*/\*\.parquet"):
        list(read_parquet(tmp_path))
    log = log_in(GOLDEN[0])
    write_parquet(log, tmp_path / "log")
    with pytest.raises(FileExistsError):
        write_parquet(log, tmp_path / "log")
    (file, *_) = (tmp_path / "log").glob("*/*.parquet")
    file.write_bytes(b"hunter2")
    with pytest.raises(UnreadableParquet, match="is no Parquet file that an export wrote"):
        list(read_parquet(tmp_path / "log"))
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT 'hunter2' AS kind, 1 AS position) TO '{file}' (FORMAT parquet)")
    with pytest.raises(UnreadableParquet, match="kind: names no column that says what happened"):
        list(read_parquet(tmp_path / "log"))


# --- The command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["cloudevents", "parquet"])
def test_a_store_goes_out_and_in_again(run: Callable[..., Result], url: str, form: str) -> None:
    """The same log, and the same audit."""
    told = as_json(run("export", url, "--format", form, "--output", "out", "--json"))
    assert told["events"] == len(run("export", url).stdout.splitlines())
    audit = as_json(run("import", "out", "--store", "sqlite:///two.db", "--json"))
    assert audit == as_json(run("audit", url, "--json"))
    assert run("export", "sqlite:///two.db").stdout == run("export", url).stdout


def test_cloud_events_are_printed_too_from_a_position_on(run: Callable[..., Result], url: str) -> None:
    whole = run("export", url, "--format", "cloudevents").stdout.splitlines()
    assert run("export", url, "--format", "cloudevents", "--after", 5).stdout.splitlines() == whole[5:]
    named = run("export", url, "--format", "cloudevents", "--source", "/mine").stdout
    assert {json.loads(line)["source"] for line in named.splitlines()} == {"/mine"}


def test_what_cannot_be_is_told(run: Callable[..., Result], url: str) -> None:
    def said(*arguments: str) -> str:
        return run(*arguments, status=2).stderr.removeprefix("lastresort: ").rstrip()

    assert said("export", url, "--format", "parquet") == "--format parquet writes a folder: name one by --output"
    assert said("export", url, "--source", "/a") == (
        "--source is what CloudEvents call the log: pass it with --format cloudevents"
    )
    Path("there").mkdir()
    assert (
        said("export", url, "--format", "parquet", "--output", "there")
        == "there: is there already; name another folder"
    )
    assert said("export", url, "--format", "parquet", "--output", "no/folder") == (
        "no/folder: cannot be written: No such file or directory"
    )
    assert said("import", "there", "--store", "sqlite:///n.db").startswith("there: holds no conversation_hash=")
    assert (
        said("import", "nothing", "--store", "sqlite:///n.db") == "nothing: cannot be read: No such file or directory"
    )
    run("export", url, "--format", "cloudevents", "--output", "ce.jsonl")
    lines = Path("ce.jsonl").read_text().splitlines()
    Path("ce.jsonl").write_text("\n".join([lines[0], lines[1].replace("branchversion", "hunter2")]))
    assert (
        said("import", "ce.jsonl", "--store", "sqlite:///n.db")
        == "ce.jsonl:2: branchversion: needs to be a number, as text"
    )
    Path("ce.jsonl").write_bytes(lines[0].encode() + b"\n\xff\n")
    assert said("import", "ce.jsonl", "--store", "sqlite:///n.db") == "ce.jsonl:2: is not UTF-8"
    assert not Path("n.db").exists()
