"""A log in Parquet, audited part by part by several processes: the findings are those of an audit of the whole."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from lastresort.adapters.importers.log_file import write_file
from lastresort.adapters.large_logs import WorkersDied, audit_folder, auditing, reading, workers
from lastresort.adapters.large_logs.reading import in_batches
from lastresort.adapters.large_logs.rows import Database
from lastresort.adapters.large_logs.workers import carry_out
from lastresort.adapters.parquet import UnreadableParquet, read_parquet, write_parquet
from lastresort.domain.events import BranchOpened, RecordedEvent, Unreadable
from lastresort.projections import Report
from lastresort.projections.audit import audit
from lastresort.projections.findings import Entry
from lastresort.projections.parts import Known, PartAudit, audit_part, merge_parts

from .cli_kit import as_json, run, url
from .drawing import examples
from .stores import USER
from .tampered import Log, ending
from .test_audit import TAMPERED
from .test_audit_by_tree import MUTATIONS, woods

__all__ = ["ending", "run", "url", "woods"]

AT = "2026-01-31T12:00:00.000000+00:00"
FUTURE = "kind: Future is not a kind of event"


def agree(log: Log, folder: Path, parts: int, unreadable: Collection[int] = (), **options: Any) -> Report:
    """Audit a log as a whole and in parts, and see that both say the same.

    Args:
        log: of events.
        folder: to write it to.
        parts: so many.
        unreadable: the places of events that somebody makes unreadable.
    """
    write_parquet(log, folder, parts)
    for file in folder.glob("*/*.parquet") if unreadable else ():
        rows = pq.read_table(file).to_pylist()
        for row in rows:
            row["kind"] = "Future" if row["place"] in unreadable else row["kind"]
        pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(file)), file)
    whole = audit(
        Unreadable(entry.position, entry.branch, entry.version, "Future", FUTURE) if place in unreadable else entry
        for place, entry in enumerate(log, 1)
    ) if unreadable else audit(log, **options)  # fmt: skip
    found = audit_folder(folder, **options)
    assert found.findings == whole.findings
    assert found == whole._replace(states={})
    return found


def told_again(log: Log, name: str) -> Iterator[RecordedEvent]:
    """Yield a log of one conversation under another name."""
    for entry in log:
        event: Any = entry.event
        if entry.kind == "ConversationStarted":
            event = event.model_copy(update={"conversation": name})
        yield entry._replace(branch=name, event=event, recorded_at=AT)


def in_a_row(log: Log) -> Log:
    return [entry._replace(position=position) for position, entry in enumerate(log, 1)]


@pytest.fixture(scope="module")
def corpus(ending: Log) -> Log:
    """Every tampered log of the tests of the audit, each as a conversation of its own, one after the other."""
    return in_a_row(
        [
            entry
            for number, (_, tamper, _) in enumerate(TAMPERED)
            for entry in told_again(tamper(ending), f"tampered-{number}")
        ]
    )


@pytest.mark.parametrize("parts", [1, 2, 16])
def test_every_tampered_log_is_found_in_any_number_of_parts(corpus: Log, tmp_path: Path, parts: int) -> None:
    report = agree(corpus, tmp_path / "log", parts, edition=2)
    assert {finding.branch for finding in report.findings} == {f"tampered-{number}" for number in range(len(TAMPERED))}


def damaged(log: Log, chance: random.Random) -> Log:
    """Return a log that something was done to, of which every event can still be read."""
    names = sorted(set(MUTATIONS) - {"unreadable"})
    changed: list[Entry] = list(log)
    for _ in range(chance.randint(1, 3)):
        MUTATIONS[chance.choice(names)](changed, chance.randrange(200) % len(changed), chance.randrange(len(changed)))
    return [entry._replace(kind=entry.event.kind) for entry in changed if isinstance(entry, RecordedEvent)]


def test_damaged_logs_are_found_out_whichever_parts_the_damage_spans(woods: Log, tmp_path: Path) -> None:
    """Trees that were joined or torn apart, commands that were used twice, gaps, and entries that cannot be read."""
    chance, guilty, count = random.Random(20), 0, examples(dev=4, ci=4, nightly=1_000)
    for number in range(count):
        log = damaged(woods, chance)
        unreadable = {chance.randrange(1, len(log)) for _ in range(number // 2 % 2)}
        guilty += bool(agree(log, tmp_path / str(number), (1, 4)[number % 2], unreadable).findings)
    assert guilty >= count // 2


def test_trees_that_span_parts_are_audited_together(woods: Log, tmp_path: Path) -> None:
    """A branch that says it is of another conversation, and one that opens by the command of a conversation elsewhere,
    behind an event that cannot be read."""
    begun = next(place for place, one in enumerate(woods) if one.kind == "BranchOpened")
    opened = woods[begun]
    assert isinstance(opened.event, BranchOpened)
    elsewhere = opened._replace(event=opened.event.model_copy(update={"conversation": "d"}))
    report = agree([*woods[:begun], elsewhere, *woods[begun + 1 :]], tmp_path / "log", 4)
    assert ("structure-conversation",) in [finding.rules for finding in report.findings]
    last = woods[-1]
    nowhere = BranchOpened(by=USER, conversation="z", parent="y", at=1, cause="edit", risks=())
    fork = RecordedEvent(0, "x", 2, nowhere.kind, AT, last.command_id, nowhere, last.command_id)
    twin = fork._replace(branch="w", command_id="other", event=nowhere.model_copy(update={"conversation": "v"}))
    agree(in_a_row([*woods, last, fork, twin]), tmp_path / "two", 4, {len(woods) + 1})


def test_an_empty_log_and_one_from_the_middle(woods: Log, tmp_path: Path) -> None:
    report = agree(woods[:1], tmp_path / "one", 256)
    assert (report.events, report.branches, report.findings) == (1, 1, ())
    later = [entry._replace(position=entry.position + 7) for entry in woods]
    assert [finding.rules for finding in agree(later, tmp_path / "later", 1).findings] == [("structure-gap",)]
    assert [*read_parquet(tmp_path / "later")] == later
    file = next((tmp_path / "one").glob("*/*.parquet"))
    pq.write_table(pq.read_table(file).slice(1), file)
    assert audit_folder(tmp_path / "one") == Report(0, 0, (), {}, 0)


def test_what_is_read_twice_is_of_the_whole_log(woods: Log, tmp_path: Path) -> None:
    write_parquet(woods, tmp_path / "log", 4)
    assert [audit_folder(tmp_path / "log", read_twice=asked).read_twice for asked in (0, 20, None)] == [
        0, 20, len(woods),
    ]  # fmt: skip


def test_a_policy_that_is_none_is_an_event_that_cannot_be_read(ending: Log, tmp_path: Path) -> None:
    """Whatever else somebody writes into its text."""
    write_parquet(ending, tmp_path / "log", 1)
    (file,) = (tmp_path / "log").glob("*/*.parquet")
    rows = pq.read_table(file).to_pylist()
    rows[0]["ConversationStarted"]["policy"] += ',"account":"hunter2"'
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(file)), file)
    first = audit_folder(tmp_path / "log").findings[0]
    assert (first.version, first.rules) == (1, ("structure-unreadable",))
    assert "event.policy" in first.detail
    assert "hunter2" not in first.detail


# --- Folders ----------------------------------------------------------------------------------------------------------


def test_a_large_part_is_sorted_some_trees_after_the_others(
    corpus: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_SORTED_AT_ONCE", len(corpus) // 3)
    agree(corpus, tmp_path / "log", 1)


def test_a_folder_that_is_not_whole_is_refused(corpus: Log, tmp_path: Path) -> None:
    with pytest.raises(UnreadableParquet, match=r"holds no conversation_hash=\*/\*\.parquet"):
        audit_folder(tmp_path)
    log = tmp_path / "a [log]*"
    write_parquet(corpus, log, 4)
    assert audit_folder(log).events == len(corpus)
    first, *_ = sorted(log.glob("*/*.parquet"))
    written = pq.read_table(first)

    def said(table: Any) -> str:
        pq.write_table(table, first)
        with pytest.raises(UnreadableParquet) as raised:
            audit_folder(log)
        return str(raised.value).replace(str(log), "LOG")

    twice = pa.concat_tables([written.slice(1), written.slice(1, 1)])
    for some in (written.slice(1), twice):
        assert said(some) == "LOG: is not whole: rows are missing or there twice; export the log again"
    rows = written.to_pylist()
    rows[0]["branch"] = None
    assert said(pa.Table.from_pylist(rows, written.schema)) == "LOG: 1 rows lack a field of the envelope"
    assert said(written.drop_columns(["place"])).endswith("than an export of this version writes: export it again")
    first.write_bytes(b"hunter2")
    with pytest.raises(UnreadableParquet, match=r"log\.parquet: is no Parquet file, or is damaged"):
        audit_folder(log)
    assert [*read_parquet_without_places(corpus, tmp_path / "old")] == corpus


def read_parquet_without_places(log: Log, folder: Path) -> Iterator[RecordedEvent]:
    """Read what an earlier version wrote."""
    write_parquet(log, folder, 2)
    for file in folder.glob("*/*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["place"]), file)
    return read_parquet(folder)


def test_what_duckdb_cannot_do_is_told(tmp_path: Path) -> None:
    with Database(20) as database:
        with pytest.raises(UnreadableParquet, match="a file of the folder cannot be read: CatalogException"):
            [*database.rows("FROM nothing")]
        with pytest.raises(MemoryError, match="takes more memory than it was given"):
            [*database.rows("SELECT list(range) FROM range(100_000_000)")]
    with pytest.raises(duckdb.ConnectionException):
        database.sql.execute("SELECT 1")


# --- Parts ------------------------------------------------------------------------------------------------------------


def test_entries_come_in_batches_of_whole_groups() -> None:
    entries: list[Any] = [(group, number) for number, group in enumerate("aabbbcd")]
    batches: Callable[..., Any] = in_batches
    assert [[*batch] for batch in batches(entries, 3)] == [[0, 1, 2, 3, 4], [5, 6]]
    assert [[*batch] for batch in batches(entries, 1)] == [[0, 1], [2, 3, 4], [5], [6]]
    assert [*batches([], 3)] == []


def test_parts_are_not_merged_if_what_cannot_be_read_was_not_known(woods: Log) -> None:
    entries: list[tuple[int, Entry]] = [*enumerate(woods, 1)]
    entries[3] = 4, Unreadable(4, "a", 4, "Future", FUTURE)
    part = audit_part([entries], Known())
    assert part.unreadable == (4,)
    with pytest.raises(ValueError, match="were not known: audit all parts again"):
        merge_parts(Known(), [part])
    known = Known(unreadable=frozenset({4}))
    assert merge_parts(known, [audit_part([entries], known)]).findings == audit(one for _, one in entries).findings


# --- Processes --------------------------------------------------------------------------------------------------------


def test_the_work_of_a_worker_that_is_killed_is_taken_up(corpus: Log, tmp_path: Path) -> None:
    write_parquet(corpus, tmp_path / "log", 4)
    killed: list[int | None] = []

    def kill(done: int, events: int) -> None:
        if done and not killed:
            worker, *_ = multiprocessing.active_children()
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            worker.join(60)
            killed.append(worker.exitcode)

    report = audit_folder(tmp_path / "log", 2, progress=kill)
    assert killed == [-signal.SIGKILL]
    assert report == audit(corpus)._replace(states={})
    assert multiprocessing.active_children() == []


def test_workers_that_die_again_and_again_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_TRIES", 1)
    with pytest.raises(WorkersDied, match=r"workers died 1 times at SIGKILL: is there enough memory for 2 of them\?"):
        [*carry_out(signal.raise_signal, [signal.SIGKILL, signal.SIGKILL], 2)]


KILLED = """
import os, signal, sys
from pathlib import Path
from lastresort.adapters.large_logs import audit_folder

told = []
def progress(done, events):
    told.append(done)
    if len(told) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

audit_folder(Path(sys.argv[1]), keep=Path(sys.argv[2]), progress=progress)
"""


def test_an_audit_that_was_killed_goes_on(corpus: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that were done are not audited again, unless something is not as it was."""
    log, kept = tmp_path / "log", tmp_path / "kept"
    write_parquet(corpus, log, 4)
    done = subprocess.run([sys.executable, "-c", KILLED, log, kept], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len([*kept.glob("part-*.json")]) == 2
    audited: list[str] = []

    def noted(job: auditing.AuditJob) -> PartAudit:
        audited.append(job.name)
        return do(job)

    do = auditing.audit_job
    monkeypatch.setattr(auditing, "audit_job", noted)
    assert audit_folder(log, keep=kept) == audit(corpus)._replace(states={})
    parts = {one.name.partition("=")[2] for one in log.iterdir()}
    assert (len(audited), len(parts)) == (2, 4)
    audited.clear()
    audit_folder(log, keep=kept)
    assert audited == []
    (damaged_one,) = kept.glob("part-0-*.json")
    damaged_one.write_text("{}")
    audit_folder(log, keep=kept)
    assert audited == ["0"]
    audit_folder(log, read_twice=0, keep=kept)
    assert {*audited} == parts
    audited.clear()
    file = log / "conversation_hash=0" / "log.parquet"
    pq.write_table(pq.read_table(file), file, compression="snappy")
    audit_folder(log, keep=kept)
    assert audited == ["0"]


# --- The command line -------------------------------------------------------------------------------------------------


def test_a_folder_is_audited_as_its_log_is(
    run: Callable[..., Result], url: str, corpus: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same words for people, and for programs."""
    run("export", url, "--format", "parquet", "--partitions", 4, "--output", "log")
    assert run("audit", "log", "--workers", 1).stdout == run("audit", url).stdout
    write_file(corpus, Path("broken.jsonl"))
    write_parquet(corpus, Path("broken"), 2)
    for options in ([], ["--json", "--second-reading", "--edition", "2"]):
        told = run("audit", "broken", *options, "--workers", 1, status=1).stdout
        assert told == run("audit", "broken.jsonl", *options, status=1).stdout
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert as_json(run("audit", "log", "--json", "--keep", "kept"))["findings"] == []
    assert [*Path("kept").iterdir()]


def test_what_an_audit_of_a_folder_cannot_do_is_told(run: Callable[..., Result], url: str, tmp_path: Path) -> None:
    def said(*arguments: object) -> str:
        return run(*arguments, status=2).stderr.removeprefix("lastresort: ").rstrip()

    assert said("audit", url, "--workers", 2) == (
        "--workers and --keep are for a folder that `export --format parquet` wrote"
    )
    assert said("export", url, "--partitions", 2) == "--partitions is for --format parquet"
    assert said("audit", tmp_path) == f"{tmp_path}: holds no conversation_hash=*/*.parquet"
    assert said("audit", tmp_path, "--html", "page.html").startswith("--html is for a store, or a file of JSON lines")


def test_a_folder_is_reported_as_its_log_is(run: Callable[..., Result], url: str, corpus: Log) -> None:
    """The same numbers, and the same names behind them, to the byte; a log that is not whole is refused in both."""
    run("export", url, "--format", "parquet", "--output", "log")
    options = ("--smallest", 1, "--by", "model,month", "--json")
    assert run("report", "log", *options).stdout == run("report", url, *options).stdout
    file = next(Path("log").glob("*/*.parquet"))
    written = pq.read_table(file)
    rows = written.to_pylist()
    rows[0]["kind"] = "Future"
    pq.write_table(pa.Table.from_pylist(rows, written.schema), file)
    said = run("report", "log", status=2).stderr
    assert said == f"lastresort: log: at place {rows[0]['place']}: {FUTURE}\n"
    write_parquet(corpus[1:], Path("broken"), 1)
    assert "broken: is not a whole log" in run("report", "broken", status=2).stderr
