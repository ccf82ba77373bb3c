"""Somebody who can write to the log's file can put any number of snapshots there, and any bytes. They cost little, and
hide nothing.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from lastresort import Conversations
from lastresort.adapters.upkeep.audited import wrong_versions
from lastresort.adapters.vault import snapshots as shelf
from lastresort.domain import fold

from .stores import DURABLE_STORES, cold, lie_about, long, new_url, opened, snapshots_of, store_of, versions

JUNK = shelf.mark() + b"junk" * 20


class Looks:
    """The rows of a store, which count how often they are looked at, and keep what they returned."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self.found: list[tuple[int, bytes] | None] = []

    def snapshot(self, branch: str, upto: int, prefix: bytes) -> tuple[int, bytes] | None:
        self.found.append(self._rows.snapshot(branch, upto, prefix))
        return self.found[-1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)


@pytest.fixture(params=DURABLE_STORES)
def kept(request: pytest.FixtureRequest) -> Iterator[Conversations]:
    """Conversations that keep a state every ten versions; a conversation `c` of 61 events."""
    with opened(new_url(request.param, request), snapshot_every=10) as conversations:
        long(conversations)
        assert versions(conversations) == [10, 20, 30, 40, 50, 60]
        yield conversations


def plant(kept: Conversations, junk: dict[int, bytes]) -> None:
    """Put junk beside the snapshots of `c`, in the place of the junk before."""
    store = store_of(kept)
    good = {version: bytes(store.snapshot("c", version, b"")[1]) for version in versions(kept) if version % 10 == 0}
    store.replace_snapshots("c", {**good, **junk})


def looks_of(kept: Conversations) -> Looks:
    """Count the looks of the snapshots in use."""
    snapshots_of(kept)._rows = looks = Looks(store_of(kept))
    return looks


def test_few_of_them_are_looked_at(kept: Conversations) -> None:
    """Beyond that the branch is read from its beginning; and where fewer stand before it, from the next that counts."""
    honest = fold(kept.path("c"))
    plant(kept, dict.fromkeys(range(61, 100061, 100), JUNK))
    looks = looks_of(kept)
    assert cold(kept).state("c") == honest
    assert len(looks.found) == shelf._MOST_LOOKED_AT
    plant(kept, dict.fromkeys(range(61, 65), JUNK))
    assert cold(kept).state("c") == honest
    assert [found and found[0] for found in looks.found[shelf._MOST_LOOKED_AT :]] == [64, 63, 62, 61, 60]


def test_one_that_is_too_large_is_not_read(kept: Conversations) -> None:
    honest = fold(kept.path("c"))
    plant(kept, {61: JUNK + b"\0" * 2**20})
    looks = looks_of(kept)
    assert cold(kept).state("c") == honest
    assert [found and found[0] for found in looks.found] == [60]


def test_an_audit_finds_one_that_lies_beneath_them(kept: Conversations) -> None:
    lie_about(kept, 30, model="another")
    assert cold(kept).state("c").model == "another", "or else this test shows nothing"
    plant(kept, dict.fromkeys(range(31, 60), JUNK))
    in_store = versions(kept)
    assert wrong_versions(snapshots_of(kept), "c", in_store, kept.path("c")) == [30]


def test_few_of_another_history_are_looked_at(kept: Conversations) -> None:
    """To tell one takes reading all that follows it."""
    honest, path = fold(kept.path("c")), kept.path("c")
    take = snapshots_of(kept).take
    lies = {at: take(fold(path[:at]), path[at - 1]._replace(command_id="elsewhere")) for at in range(1, 61)}
    store_of(kept).replace_snapshots("c", lies)
    looks = looks_of(kept)
    assert cold(kept).state("c") == honest
    assert [found and found[0] for found in looks.found] == [60, 59, 58, 57]
