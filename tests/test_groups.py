"""Group commit: appends that wait share a transaction, each is answered for itself, and none harms another."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lastresort import StoreError
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.opening import Store, open_store
from lastresort.adapters.stores import postgres
from lastresort.adapters.stores.groups import GroupCommit, Job
from lastresort.adapters.stores.postgres import PostgresStore, open_postgres
from lastresort.adapters.stores.rows import entries_of
from lastresort.application.ports import Append, CommandRecorded, NewEvent, Place, VersionConflict

from .stores import LEFT

THEN = "2026-01-31T12:00:00+00:00"


def together(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do `acts`, each in a thread of its own, and return what each returned or raised."""
    results: list[Any] = [None] * len(acts)

    def run(number: int, act: Callable[[], Any]) -> None:
        try:
            results[number] = act()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


ON_POSTGRESQL = pytest.mark.xdist_group("postgresql")


@pytest.fixture(params=["SQLite", pytest.param("PostgreSQL", marks=ON_POSTGRESQL)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "SQLite":
        return f"sqlite:///{tmp_path}/log.db?deadline=30"
    return f"{request.getfixturevalue('postgresql')()}&deadline=30"


class Gated:
    """A real store whose first commit waits until `others` wait behind it."""

    def __init__(self, url: str, others: int) -> None:
        self.store, self.vault, _ = open_store(url)
        self.sizes: list[int] = []
        store: Any = self.store
        group: GroupCommit[Any] = store._group
        commit = group._commit

        def gated(jobs: Sequence[Job[Any]]) -> None:
            while not self.sizes and store.appends_waiting < others:
                time.sleep(0.001)
            self.sizes.append(len(jobs))
            commit(jobs)

        group._commit = gated

    def close(self) -> None:
        self.vault.close()
        self.store.close()


def writes(store: Store, *appends: Append) -> Callable[[], Any]:
    return lambda: store.append(*appends)


def leave(command_id: str, *places: tuple[str, int]) -> Append:
    return Append(
        places[0][0], command_id, command_id, THEN, tuple(NewEvent(*place, LEFT, b"sealed") for place in places)
    )


def test_appends_that_wait_share_a_transaction_and_none_harms_another(url: str) -> None:
    """Good ones, one of two branches, one that comes too late, one that was carried out, one that fails half way."""
    appends = [
        leave("first", ("z", 1)),
        *(leave(f"good-{number}", (f"b{number}", 1)) for number in range(8)),
        leave("two", ("c", 1), ("d", 1)),
        leave("late", ("z", 9)),
        leave("first", ("z", 2)),
        leave("half", ("f", 1), ("z", 9)),
    ]
    gated = Gated(url, len(appends) - 1)
    first = threading.Event()

    def begin() -> Any:
        first.set()
        return gated.store.append(appends[0])

    def after_the_first(append: Append) -> Callable[[], Any]:
        def act() -> Any:
            first.wait()
            while not gated.store._group._led:  # type: ignore[union-attr]
                time.sleep(0.001)
            return gated.store.append(append)

        return act

    results = together([begin, *map(after_the_first, appends[1:])])
    assert gated.sizes == [1, len(appends) - 1]
    for append, result in zip(appends[:10], results[:10], strict=True):
        assert [(e.branch, e.version, e.command_id) for e in result] == [
            (placed.branch, placed.version, append.command_id) for placed in append.events
        ]
    assert [type(result) for result in results[10:]] == [VersionConflict, CommandRecorded, VersionConflict]
    log = list(gated.store.log())
    assert sorted(entry.branch for entry in log) == sorted([f"b{number}" for number in range(8)] + ["c", "d", "z"])
    assert {entry.position: entry.branch for entry in log} == {e.position: e.branch for r in results[:10] for e in r}
    assert gated.store.contents([Place("f", 1), Place("z", 2)]) == {}
    assert len(gated.store.contents([Place("c", 1), Place("d", 1), Place("b3", 1)])) == 3
    gated.close()


def test_many_threads_write_many_branches(url: str) -> None:
    """Everything that was acknowledged is in the log, once and in order, and transactions were shared."""
    store, vault, _ = open_store(url)

    def speaker(number: int) -> Callable[[], Any]:
        def act() -> None:
            for version in range(1, 21):
                store.append(leave(f"{number}-{version}", (f"b{number}", version)))

        return act

    assert together([speaker(number) for number in range(16)]) == [None] * 16
    log = list(store.log())
    assert [entry.position for entry in log] == list(range(1, 321))
    for number in range(16):
        assert [entry.version for entry in log if entry.branch == f"b{number}"] == list(range(1, 21))
    vault.close()
    store.close()


def test_who_waits_too_long_is_told_that_nothing_was_written() -> None:
    """And what was written meanwhile or may yet be written is told from that."""
    go, begun = threading.Event(), threading.Event()
    taken: list[str] = []

    def commit(jobs: Sequence[Job[str]]) -> None:
        begun.set()
        go.wait(30)
        taken.extend(job.work for job in jobs)

    group = GroupCommit(commit, deadline=0.05)
    leader = threading.Thread(target=group.write, args=("slow",))
    leader.start()
    begun.wait()
    with pytest.raises(StoreError, match=r"another write did not finish within 0\.05 s; nothing was written"):
        group.write("late")
    go.set()
    leader.join()
    assert group.write("after") == 0
    assert taken == ["slow", "after"]


def test_a_failure_of_the_whole_transaction_is_told_to_all() -> None:
    """And the next ones are written."""
    go, begun = threading.Event(), threading.Event()
    fails = True

    def commit(jobs: Sequence[Job[str]]) -> None:
        begun.set()
        go.wait(30)
        if fails:
            raise OSError("the disk is full")

    group = GroupCommit(commit, deadline=30)

    def second() -> int:
        begun.wait()
        return group.write("two")

    def release() -> None:
        begun.wait()
        while not group._waiting:
            time.sleep(0.001)
        go.set()

    results = together([lambda: group.write("one"), second, release])
    assert [str(result) for result in results[:2]] == ["the disk is full"] * 2
    fails = False
    assert group.write("three") == 0
    assert not group._led


def test_all_that_share_a_transaction_are_told_that_it_failed() -> None:
    """Who leads, and who waits for it."""
    go, begun, batches = threading.Event(), threading.Event(), list[int]()

    def commit(jobs: Sequence[Job[str]]) -> None:
        batches.append(len(jobs))
        if len(batches) > 1:
            raise OSError("the disk is full")
        begun.set()
        go.wait(30)

    group = GroupCommit(commit, deadline=30)

    def later() -> int:
        begun.wait()
        return group.write("later")

    def release() -> None:
        begun.wait()
        while len(group._waiting) < 2:
            time.sleep(0.001)
        go.set()

    first, *others = together([lambda: group.write("first"), later, later, release])
    assert (first, [str(one) for one in others[:2]], batches) == (0, ["the disk is full"] * 2, [1, 2])


# --- On PostgreSQL ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(postgresql: Callable[[], str]) -> Iterator[PostgresStore]:
    store = open_postgres(postgresql(), Settings())
    yield store
    store.close()


def jobs_of(store: PostgresStore, *appends: Append) -> list[Job[Any]]:
    return [Job((entries_of(append, store._encoding), append.erased)) for append in appends]


def lost(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the first answer to a shared statement get lost, once it was committed; return how many were sent."""
    inserted, sent = store._inserted, list[int]()

    def unheard(connection: Any, works: Any) -> list[int]:
        sent.append(len(works))
        positions = inserted(connection, works)
        if len(sent) == 1:
            raise psycopg.OperationalError("the connection is lost")
        return positions

    monkeypatch.setattr(store, "_inserted", unheard)
    return sent


@ON_POSTGRESQL
def test_what_a_shared_statement_wrote_is_found_though_its_answer_was_lost(
    server: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent again it is refused, as it is there; each append finds its own."""
    sent = lost(server, monkeypatch)
    jobs = jobs_of(server, leave("one", ("a", 1)), leave("two", ("b", 1), ("c", 1)), leave("three", ("d", 1)))
    server._commit(jobs)
    assert sent[:2] == [3, 3]
    assert [(job.position, job.error) for job in jobs] == [(1, None), (2, None), (4, None)]
    assert [entry.branch for entry in server.log()] == ["a", "b", "c", "d"]


@ON_POSTGRESQL
def test_appends_that_are_too_large_together_are_written_one_by_one(
    server: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one fails, those before it are written, and those after it are told that they are not."""
    monkeypatch.setattr(postgres, "_MOST_TOGETHER", 3)
    write = server._write

    def full(connection: Any, entries: Any, erased: Any) -> int:
        if entries[0].row.branch == "c":
            raise psycopg.errors.DiskFull("no space left on device")
        return write(connection, entries, erased)

    monkeypatch.setattr(server, "_write", full)
    jobs = jobs_of(server, *(leave(branch, (branch, 1)) for branch in "abcd"), leave("late", ("a", 9)))
    jobs = [jobs[0], jobs[4], *jobs[1:4]]
    server._commit(jobs)
    assert [type(job.error) for job in jobs] == [type(None), VersionConflict, type(None), StoreError, StoreError]
    assert "nothing was written" in str(jobs[4].error)
    assert [entry.branch for entry in server.log()] == ["a", "b"]
