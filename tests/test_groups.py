"""Group commit: appends that wait share a transaction, each is answered for itself, and none harms another."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lastresort import StoreError
from lastresort.adapters.opening import Store, open_store
from lastresort.adapters.stores.groups import GroupCommit, Job
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


class Gated:
    """A real SQLite store whose first commit waits until `others` wait behind it."""

    def __init__(self, path: Path, others: int) -> None:
        self.store, self.vault, _ = open_store(f"sqlite:///{path}/log.db")
        self.sizes: list[int] = []
        group: GroupCommit[Any] = self.store._group  # type: ignore[union-attr]
        commit = group._commit

        def gated(jobs: Sequence[Job[Any]]) -> None:
            while not self.sizes and len(group._waiting) < others:
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


def test_appends_that_wait_share_a_transaction_and_none_harms_another(tmp_path: Path) -> None:
    """Good ones, one of two branches, one that comes too late, one that was carried out, one that fails half way."""
    appends = [
        leave("first", ("z", 1)),
        *(leave(f"good-{number}", (f"b{number}", 1)) for number in range(8)),
        leave("two", ("c", 1), ("d", 1)),
        leave("late", ("z", 9)),
        leave("first", ("z", 2)),
        leave("half", ("f", 1), ("z", 9)),
    ]
    gated = Gated(tmp_path, len(appends) - 1)
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


def test_many_threads_write_many_branches(tmp_path: Path) -> None:
    """Everything that was acknowledged is in the log, once and in order, and transactions were shared."""
    store, vault, _ = open_store(f"sqlite:///{tmp_path}/log.db?deadline=30")

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
