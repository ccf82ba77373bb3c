"""A whole log written at once is seen as a whole or not at all, whatever the deadline and whichever process dies."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from lastresort import StoreError
from lastresort.adapters.opening import Store, open_store
from lastresort.application.ports import Append, CommandRecorded, Locked, NewEvent, Place, VersionConflict

from .stores import DURABLE_STORES, LEFT, ROOT, STORES, new_url, store

__all__ = ["store"]

THEN = "2026-01-31T12:00:00.000000+00:00"


def left(tree: str, versions: range) -> Iterator[Append]:
    """Appends of an event each."""
    return (Append(tree, f"{tree}-{v}", f"{tree}-{v}", THEN, (NewEvent(tree, v, LEFT, b"sealed"),)) for v in versions)


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    return new_url(request.param, request)


def test_it_is_written_as_appends_are(store: Store) -> None:
    """Positions, commands, words and lists, over several chunks, after what was there before."""
    store.append(*left("first", range(1, 3)))
    assert store.import_log(left("b", range(1, 2_501))) == 2_500
    assert store.head() == 2_502
    assert [one.position for one in store.log()] == list(range(1, 2_503))
    assert [one.version for one in store.recorded_by("b", "b-2500")] == [2_500]
    assert store.contents([Place("b", 2_000)]) == {Place("b", 2_000): b"sealed"}
    assert [(row.began.branch, row.version) for row in store.page("active")] == [("first", 2), ("b", 2_500)]
    (after,) = store.append(*left("first", range(3, 4)))
    assert after.position == 2_503


def test_of_one_that_conflicts_nothing_is_left(store: Store) -> None:
    """However late it does so."""
    store.append(*left("b", range(1, 2)))
    for error, bad in ((VersionConflict, range(9, 10)), (CommandRecorded, range(1, 2))):
        with pytest.raises(error):
            store.import_log((*left("a", range(1, 1_501)), *left("b", bad)))
        assert [one.branch for one in store.log()] == ["b"]
        assert store.contents([Place("a", 1)]) == {}
    assert store.import_log(()) == 0
    assert store.import_log(left("a", range(1, 3))) == 2


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_its_deadline_is_not_that_of_a_call(kind: str, request: pytest.FixtureRequest) -> None:
    """A call may take 50 milliseconds, and this takes longer. Who only looks sees nothing of it before its end."""
    url = new_url(kind, request)
    store, vault, _ = open_store(f"{url}{'&' if '?' in url else '?'}deadline=0.05")
    begun = time.monotonic()

    def slow() -> Iterator[Append]:
        for append in left("b", range(1, 5_001)):
            if append.events[0].version == 4_999:
                assert store.head() == 0
                assert list(store.read("b", "b", limit=1)) == []
                with pytest.raises(Locked):
                    store.append(*left("other", range(1, 2)))
                time.sleep(0.1)
            yield append

    assert store.import_log(slow()) == 5_000
    assert time.monotonic() - begun > 0.1
    assert store.head() == 5_000
    vault.close()
    store.close()


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_someone_who_holds_the_lock_is_not_waited_for_for_ever(kind: str, request: pytest.FixtureRequest) -> None:
    url = new_url(kind, request)
    store, vault, _ = open_store(f"{url}{'&' if '?' in url else '?'}deadline=0.05")
    other, its_vault, _ = open_store(url)

    def meanwhile() -> Iterator[Append]:
        yield from left("c", range(1, 1_001))
        with pytest.raises(StoreError, match="lock"):
            store.import_log(left("b", range(1, 3)))
        yield from left("a", range(1, 3))

    assert other.import_log(meanwhile()) == 1_002
    assert {one.branch for one in store.log()} == {"a", "c"}
    for opened in (vault, its_vault, store, other):
        opened.close()


KILLED = """
import os, signal, sys
from lastresort.adapters.opening import open_store
from tests.test_import_log import left

def appends():
    for append in left("b", range(1, 5_001)):
        if append.events[0].version == 4_500:
            os.kill(os.getpid(), signal.SIGKILL)
        yield append

open_store(sys.argv[1]).store.import_log(appends())
"""


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_of_one_that_is_killed_nothing_is_left(kind: str, request: pytest.FixtureRequest) -> None:
    url = new_url(kind, request)
    done = subprocess.run([sys.executable, "-c", KILLED, url], cwd=ROOT, check=False)
    assert done.returncode == -9
    store, vault, _ = open_store(url)
    with closing(store), closing(vault):
        assert (store.head(), list(store.log()), store.page("active")) == (0, [], [])
        assert store.import_log(left("b", range(1, 5_001))) == 5_000
