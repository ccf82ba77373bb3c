"""A whole log written at once is seen as a whole or not at all, whatever the deadline and whichever process dies."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from lastresort import Policy, StoreError
from lastresort.adapters.opening import Store, open_store
from lastresort.adapters.stores.sql import SQLStore
from lastresort.application.ports import Append, CommandRecorded, List, Locked, NewEvent, Place, VersionConflict
from lastresort.domain.events import BranchOpened, ConversationEnded, Evidence
from lastresort.domain.values import Ground

from .stores import DURABLE_STORES, LEFT, ROOT, STORES, USER, new_url, patient, store

__all__ = ["store"]

LISTS: tuple[List, ...] = ("active", "ended", "branched")
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


def test_an_append_of_any_length_is_written(store: Store) -> None:
    """A risk is one append on every branch of its tree. Of these no SQLite takes the rows in one statement."""
    (first,) = left("b", range(1, 2))
    many = tuple(NewEvent("b", version, LEFT) for version in range(2, 24_001))
    assert store.import_log([first, Append("b", "all", "all", THEN, many)]) == 24_000
    assert len(list(store.recorded_by("b", "all"))) == 23_999
    assert [row.version for row in store.page("active")] == [24_000]


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
    """A call may take half a second, and this takes longer. Who only looks sees nothing of it before its end."""
    url = new_url(kind, request)
    store, vault, _ = open_store(f"{url}{'&' if '?' in url else '?'}deadline=0.5")
    begun = time.monotonic()

    def slow() -> Iterator[Append]:
        for append in left("b", range(1, 5_001)):
            if append.events[0].version == 4_999:
                assert store.head() == 0
                assert list(store.read("b", "b", limit=1)) == []
                with pytest.raises(Locked):
                    store.append(*left("other", range(1, 2)))
                time.sleep(0.5)
            yield append

    assert store.import_log(slow()) == 5_000
    assert time.monotonic() - begun > 0.5
    assert store.head() == 5_000
    vault.close()
    store.close()


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_someone_who_holds_the_lock_is_not_waited_for_for_ever(kind: str, request: pytest.FixtureRequest) -> None:
    url = new_url(kind, request)
    store, vault, _ = open_store(f"{url}{'&' if '?' in url else '?'}deadline=0.5")
    other, its_vault, _ = open_store(patient(url))

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
        if append.events[0].version == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield append
    os.kill(os.getpid(), signal.SIGKILL)

open_store(sys.argv[1]).store.import_log(appends())
"""


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_of_one_that_is_killed_nothing_is_left(kind: str, request: pytest.FixtureRequest) -> None:
    """At its first event, in the middle, at its last, and when all of it is written and nothing is committed."""
    url = new_url(kind, request)
    for moment in ("1", "2500", "5000", "0"):
        done = subprocess.run([sys.executable, "-c", KILLED, url, moment], cwd=ROOT, check=False)
        assert done.returncode == -9
        store, vault, _ = open_store(url)
        with closing(store), closing(vault):
            assert (store.head(), list(store.log()), store.page("active")) == (0, [], [])
    store, vault, _ = open_store(url)
    with closing(store), closing(vault):
        assert store.import_log(left("b", range(1, 5_001))) == 5_000


# --- What follows from it ---------------------------------------------------------------------------------------------


def opens(branch: str, parent: str) -> NewEvent:
    at = {"conversation": "root", "parent": parent, "at": 1}
    return NewEvent(branch, 2, BranchOpened.model_validate({**at, "by": USER, "cause": "edit", "risks": ()}))


END = ConversationEnded(
    by=USER, ground=Ground.USER_REQUEST, seen=1, evidence=Evidence(), policy_hash=Policy.default().hash, model="m"
)
TREES = [
    Append("root", "c1", "c1", THEN, (NewEvent("root", 1, LEFT, b"words", b"a snapshot"),)),
    Append("root", "c2", "c2", THEN, (opens("child", "root"), NewEvent("root", 2, LEFT))),
    Append("other", "c3", "c3", THEN, (NewEvent("other", 1, LEFT, b"other words"),)),
    Append("root", "c4", "c4", THEN, (NewEvent("child", 3, END), opens("grandchild", "child"))),
    Append("root", "c5", "c5", THEN, (NewEvent("root", 3, END),)),
    Append("root", "c6", "c6", THEN, (NewEvent("grandchild", 3, LEFT),), (Place("root", 1),)),
]


@pytest.mark.parametrize("held", range(len(TREES)))
def test_what_follows_from_it_is_as_after_appends(store: Store, held: int) -> None:
    """Lists, words, those that are erased, snapshots; and where the store holds some of these trees already."""
    for append in TREES[:held]:
        store.append(append)
    store.import_log(TREES[held:])
    told = open_store("memory:").store
    told.append(*TREES)
    for which in LISTS:
        assert store.page(which) == told.page(which)
    assert store.heads("root") == told.heads("root")
    assert list(store.log()) == list(told.log())
    places = [Place("root", 1), Place("other", 1)]
    assert store.contents(places) == told.contents(places) == {places[1]: b"other words"}
    assert store.snapshot("root", 9, b"") == (1, b"a snapshot")
    if isinstance(store, SQLStore):
        assert store.wrongly_listed() == store.miscounted() == []


def test_a_command_of_a_tree_that_the_store_holds_is_not_carried_out_again(store: Store) -> None:
    """On whichever branch; another tree may have one of that id."""
    store.append(*TREES[:2])
    with pytest.raises(CommandRecorded):
        store.import_log([Append("root", "c1", "c1", THEN, (NewEvent("child", 3, LEFT),))])
    store.import_log([Append("other", "c1", "c1", THEN, (NewEvent("other", 1, LEFT),))])
    assert [one.branch for one in store.recorded_by("other", "c1")] == ["other"]
    assert store.head() == 4
