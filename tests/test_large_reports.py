"""Reports of a log in Parquet, and what another policy makes of it: to the byte those of the log, whole."""

import multiprocessing
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from lastresort import Policy
from lastresort.adapters.importers.log_file import write_file
from lastresort.adapters.large_logs import counting, reading, report_folder, suppose_folder, supposing
from lastresort.adapters.parquet import UnreadableParquet, write_parquet
from lastresort.domain.events import BranchOpened, ConversationStarted, RecordedEvent
from lastresort.projections import fork_points
from lastresort.projections.audit import by_tree
from lastresort.projections.parts import suppose_part
from lastresort.projections.replay import NotWhole
from lastresort.projections.reports import report
from lastresort.projections.reports.lines import is_soon
from lastresort.projections.reports.parts import count_part, merge_counts
from lastresort.projections.reports.report import KEYS, report_of
from lastresort.projections.supposed import WhatIf, WhatIfSum
from lastresort.projections.what_if import what_if

from .cli_kit import run, url
from .drawing import examples
from .test_report import drawn, erased

__all__ = ["run", "url"]

pytestmark = pytest.mark.xdist_group("report")  # with the other reports, so that each log is drawn once
Log = Sequence[RecordedEvent]
Placed = tuple[int, RecordedEvent]

STRICTER = Policy(name="stricter", min_failed_redirections=4, min_redirections_to_warn=4)
OFF = Policy(name="off", eligible_models=frozenset())
ASKED: tuple[dict[str, Any], ...] = (
    {"smallest": 1},
    {"by": KEYS, "branches": 3},
    {"by": ("month",), "since": "2026-02", "until": "2026-03-10", "smallest": 1},
    {"by": ("mode", "policy"), "branches": 0},
)


@pytest.fixture(scope="module")
def log() -> Log:
    """A log in which all sorts of things happen, and accounts come back, in whichever conversation."""
    return drawn(1)


@pytest.fixture(scope="module", params=[1, 2, 16])
def folder(request: pytest.FixtureRequest, log: Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in so many parts."""
    where = tmp_path_factory.mktemp("large") / "log"
    write_parquet(log, where, request.param)
    return where


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read in its order, and little at once; some conversations are longer than that."""
    monkeypatch.setattr(reading, "_EVENTS_AT_ONCE", 30)
    for module in (counting, supposing):
        monkeypatch.setattr(module, "events_in", None)


def trees_of(log: Log, parts: int, chance: random.Random) -> list[list[list[Placed]]]:
    """Divide a log into parts, each with several items of some conversations, all of it in any order."""
    divided: list[list[list[Placed]]] = [[] for _ in range(parts)]
    for tree in by_tree(log):
        placed = [(one.place, one.entry) for one in tree if isinstance(one.entry, RecordedEvent)]
        part = chance.choice(divided)
        if part and chance.random() < 0.5:
            part[-1] = sorted((*part[-1], *placed))
        else:
            part.append(placed)
    chance.shuffle(divided)
    return divided


def returned_to(log: Log) -> Iterator[int]:
    """Yield the places of the endings that an account came back after, found the plain way."""
    account = {one.branch: one.event.account for one in log if isinstance(one.event, ConversationStarted)}
    parent = {one.branch: one.event.parent for one in log if isinstance(one.event, BranchOpened)}

    def of(branch: str) -> str | None:
        return of(parent[branch]) if branch in parent else account[branch]

    ends = [(place, one) for place, one in enumerate(log, 1) if one.kind == "ConversationEnded"]
    for place, one in enumerate(log, 1):
        if one.kind == "ConversationStarted" and (who := of(one.branch)) is not None:
            before = [(at, ended) for at, ended in ends if at < place and of(ended.branch) == who]
            if before and is_soon(one.recorded_at, before[-1][1].recorded_at):
                yield before[-1][0]


# --- Projections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ASKED)
def test_what_parts_count_adds_up_to_the_report_of_the_log(log: Log, asked: dict[str, Any]) -> None:
    """In any number of parts, in any order, whatever is looked at together."""
    whole, chance, returned = report(log, **asked), random.Random(20), frozenset(returned_to(log))
    assert returned
    told: dict[str, Any] = {"since": None, "until": None, "by": (), "smallest": 5, "branches": 20, **asked}
    options = {name: told[name] for name in ("by", "since", "until")}
    for number in range(examples(dev=3, ci=3, nightly=200)):
        parts = [
            count_part(trees, len(log), returned, **options, most=told["branches"], forks=forks)
            for trees in trees_of(log, (1, 2, 16)[number % 3], chance)
            for forks in [fork_points(log) if number % 2 else None]
        ]
        found = report_of(merge_counts(parts, told["branches"]), len(log), **told)
        assert found.model_dump_json() == whole.model_dump_json()


def test_parts_count_the_same_after_everything_was_erased(log: Log) -> None:
    """However a log is divided, and whenever that was done."""
    without, chance = erased(log, 1, later=False), random.Random(4)
    returned = frozenset(returned_to(without))
    told: dict[str, Any] = {"since": None, "until": None, "by": ("month",), "smallest": 5, "branches": 20}
    parts = [
        count_part(trees, len(without), returned, by=told["by"], most=20) for trees in trees_of(without, 4, chance)
    ]
    assert report_of(merge_counts(parts, 20), len(without), **told) == report(log, by=told["by"])


@pytest.mark.parametrize(("policy", "edition"), [(STRICTER, None), (OFF, None), (Policy.default(), 1)])
def test_what_another_policy_makes_of_parts_is_what_it_makes_of_the_log(
    log: Log, policy: Policy, edition: int | None
) -> None:
    whole, chance = what_if(log, policy, edition=edition), random.Random(20)
    for parts in (1, 2, 16):
        rows, total = [], WhatIf.of(policy, edition, 0, ()).total
        for trees in trees_of(log, parts, chance):
            for begun, (found, again) in suppose_part(trees, [policy, policy], edition, fork_points(log)):
                assert found == again
                rows += [*zip(begun, found.branches, strict=True)]
                total = total.plus(found.total)
        assert tuple(row for _, row in sorted(rows, key=lambda one: one[0])) == whole.branches
        assert total == whole.total
    assert whole.total.branches - whole.total.outcomes["same"]


def test_parts_of_which_something_is_missing(log: Log) -> None:
    place, opened = next((place, one) for place, one in enumerate(log, 1) if isinstance(one.event, BranchOpened))
    for some, told in (
        ([(place, opened)], "what began it, or its parent, is missing"),
        ([(2, log[1])], "what began it, or its parent, is missing"),
        ([(1, log[0]), (2, log[0])], "version 1 follows 1"),
    ):
        with pytest.raises(NotWhole, match=told):
            count_part([some], len(log), ())
        with pytest.raises(NotWhole, match=told):
            [*suppose_part([some], [OFF])]


# --- Folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("asked", ASKED)
def test_the_report_of_a_folder_is_that_of_its_log(log: Log, folder: Path, asked: dict[str, Any]) -> None:
    assert report_folder(folder, **asked).model_dump_json() == report(log, **asked).model_dump_json()


@pytest.mark.usefixtures("in_parts")
def test_what_another_policy_makes_of_a_folder_is_what_it_makes_of_its_log(
    log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part may be sorted some conversations after the others."""
    monkeypatch.setattr(reading, "_SORTED_AT_ONCE", len(log) // 3)
    stricter, off = (what_if(log, policy) for policy in (STRICTER, OFF))
    with suppose_folder(folder, [STRICTER, OFF]) as found:
        assert found.totals == (stricter.total, off.total)
        assert tuple(found.branches(False)) == stricter.branches
        assert [*found.branches(True)] == [row for row in stricter.branches if row.outcome != "same"] != []


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("what", ["report", "what-if"])
def test_the_work_of_a_worker_that_is_killed_is_taken_up_and_what_was_kept_is_not_done_again(
    what: str, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, keep = tmp_path / "log", tmp_path / "kept"
    write_parquet(log, folder, 4)
    killed: list[int | None] = []

    def kill(done: int, events: int) -> None:
        if done and not killed and events == len(log):
            worker, *_ = multiprocessing.active_children()
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            worker.join(60)
            killed.append(worker.exitcode)

    def asked(workers: int, progress: Callable[[int, int], None] = lambda done, events: None) -> object:
        if what == "report":
            return report_folder(folder, workers, keep=keep, progress=progress).model_dump_json()
        with suppose_folder(folder, [OFF], None, workers, keep, progress) as found:
            return found.totals, [*found.branches(False)]

    found = asked(2, kill)
    assert killed == [-signal.SIGKILL]
    one = what_if(log, OFF)
    assert found == (report(log).model_dump_json() if what == "report" else ((one.total,), [*one.branches]))
    for module, name in ((counting, "count_job"), (supposing, "suppose_job")):
        monkeypatch.setattr(module, name, None)
    assert asked(1) == found
    if what == "what-if":
        next(keep.glob("*.parquet")).unlink()
        with pytest.raises(TypeError):  # it is to be done again
            asked(1)


def changed(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the rows of the first file of a folder."""
    file = min(folder.glob("*/*.parquet"))
    rows = pq.read_table(file).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(file)), file)


def test_a_log_with_which_something_is_wrong_is_read_in_its_order(log: Log, tmp_path: Path) -> None:
    """What is said of it is what is said of the log: numbers, or what is missing."""
    begun = next(place for place, one in enumerate(log) if one.kind == "BranchOpened")
    event = log[begun].event
    elsewhere = log[begun]._replace(event=event.model_copy(update={"conversation": "elsewhere"}))
    spans = [*log[:begun], elsewhere, *log[begun + 1 :]]
    write_parquet(spans, tmp_path / "spans", 16)
    assert report_folder(tmp_path / "spans", smallest=1) == report(spans, smallest=1)
    whole = what_if(spans, OFF)
    with suppose_folder(tmp_path / "spans", [OFF]) as found:
        assert (found.totals, [*found.branches(False)]) == ((whole.total,), [*whole.branches])
        assert [*found.branches(True)] == [row for row in whole.branches if row.outcome != "same"]
    write_parquet(log[1:], tmp_path / "late", 2)
    for read in (report_folder, supposed):
        with pytest.raises(NotWhole, match="what began it, or its parent, is missing"):
            read(tmp_path / "late")
    write_parquet(log, tmp_path / "unreadable", 2)
    changed(tmp_path / "unreadable", lambda rows: rows[0].update(kind="Future"))
    for read in (report_folder, supposed):
        with pytest.raises(UnreadableParquet, match=r"at place \d+: kind: Future is not a kind of event"):
            read(tmp_path / "unreadable")


def supposed(folder: Path) -> tuple[WhatIfSum, ...]:
    with suppose_folder(folder, [OFF]) as found:
        return found.totals


def test_who_came_back_is_not_asked_of_conversations_that_are_strange(log: Log, tmp_path: Path) -> None:
    """One whose rows all say that they are of another, and one that ended or began at no time."""
    write_parquet(log, tmp_path / "renamed", 1)

    def renamed(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["conversation"] == log[0].branch:
                row["conversation"] = "another"

    changed(tmp_path / "renamed", renamed)
    assert report_folder(tmp_path / "renamed", smallest=1) == report(log, smallest=1)
    place = min(returned_to(log))
    write_parquet(log, tmp_path / "timeless", 1)
    changed(tmp_path / "timeless", lambda rows: rows[place - 1].update(recorded_at="never"))
    with pytest.raises(UnreadableParquet, match=f"at place {place}: command_id, correlation_id or recorded_at"):
        report_folder(tmp_path / "timeless")


def test_a_day_is_soon() -> None:
    at = "2026-01-31T12:00:00.000000+00:00"
    assert is_soon("2026-02-01T13:00:00.000000+01:00", at)
    assert not is_soon("2026-02-01T12:00:00.000001+00:00", at)


# --- The command line -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_parts")
def test_the_commands_say_of_a_folder_what_they_say_of_its_log(run: Callable[..., Result], log: Log) -> None:
    """For people, and for programs."""
    write_file(log, Path("log.jsonl"))
    write_parquet(log, Path("log"), 4)
    Path("off.toml").write_text('name = "off"\neligible_models = []\n')
    for asked in (
        ("report", "--smallest", 1, "--by", "model,month", "--json"),
        ("report",),
        ("what-if", "--policy", "off.toml", "--json"),
        ("what-if", "--policy", "off.toml"),
        ("what-if", "--policy", "default", "--sweep", "min_failed_redirections=2..4"),
        ("what-if", "--policy", "default", "--sweep", "min_failed_redirections=2..3", "--json"),
    ):
        command, *options = asked
        of_log = run(command, "log.jsonl", *options).stdout
        assert run(command, "log", *options, "--workers", 1, "--keep", "kept").stdout == of_log


def test_what_cannot_be_read_is_told(run: Callable[..., Result], log: Log, url: str) -> None:
    write_parquet(log[1:], Path("late"), 1)
    for command in (("report",), ("what-if", "--policy", "default")):
        said = run(command[0], "late", *command[1:], "--workers", 1, status=2).stderr
        assert said.startswith("lastresort: late: is not a whole log: branch ")
        said = run(command[0], url, *command[1:], "--workers", 1, status=2).stderr
        assert "--workers and --keep are for a folder" in said
        Path("nothing").mkdir(exist_ok=True)
        assert "holds no conversation_hash=*" in run(command[0], "nothing", *command[1:], status=2).stderr
