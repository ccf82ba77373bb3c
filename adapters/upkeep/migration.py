"""Tables of an earlier version brought up to date, and what follows from the log made again.

The log is not touched. What is made again follows from it, so this may be done at any time. It is needed after an
update of this program that says so, and mends lists and snapshots that `lastresort doctor` finds stale.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import NamedTuple

from lastresort.adapters.databases.errors import StoreError, reached
from lastresort.adapters.databases.files import StoreFiles, named
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.databases.urls import located
from lastresort.adapters.opening import open_store
from lastresort.adapters.stores.schema import SCHEMA
from lastresort.adapters.stores.sqlite import sqlite_store
from lastresort.adapters.stores.sqlite_recorder import check_is_a_log
from lastresort.application.ports import EventStore
from lastresort.application.reading import pieces_of
from lastresort.domain.events import RecordedEvent

_DEADLINE = 600.0  # seconds for a statement here: nobody waits for an answer to a turn


class Migration(NamedTuple):
    """What a migration did: the version that the tables were of, and are of; and how many snapshots there are now."""

    before: int
    now: int
    snapshots: int


@named()
def migrate(
    url: str, track: Callable[[Iterable[str]], Iterable[str]] = lambda branches: branches, *, snapshots: bool = True
) -> Migration:
    """Bring the tables of a store up to date in one transaction, then make its snapshots again.

    Args:
        url: of the store.
        track: shows how far it has come, as it goes through the branches.
        snapshots: whether to make snapshots again; if not, they come about as the store is used.

    Raises:
        StoreError: there is no store, or it cannot be brought up to date, and then nothing was changed.
    """
    address, settings = located(url)
    settings = settings._replace(deadline=max(settings.deadline, _DEADLINE))
    before = migrate_tables(address, settings)
    if not snapshots:
        return Migration(before, SCHEMA, 0)
    store, vault, kept = open_store(url, create=False)
    try:
        count = sum(kept.renew(branch, _path(store, branch)) for branch in track(kept.long_branches()))
    finally:
        store.close()
        vault.close()
    return Migration(before, SCHEMA, count)


def _path(store: EventStore, branch: str) -> list[RecordedEvent]:
    return [one for piece in pieces_of(store, None, store.tree_of(branch) or branch, branch) for one in piece.events]


def migrate_tables(address: str, settings: Settings) -> int:
    """Bring the tables at an address up to date, and the lists in them; return the version that they were of.

    Raises:
        StoreError: see `migrate`.
    """
    if (own := StoreFiles.at(address)) is not None:
        if not own.log.exists():
            raise StoreError(f"no store at {own.log}; there is nothing to migrate")
        with reached():
            check_is_a_log(own.log, settings)
            with closing(sqlite_store(own.log, settings)) as store:
                return int(store.migrate())
    if address == "memory:":
        raise StoreError("memory: holds nothing yet; migrate a store that is kept")
    from lastresort.adapters.stores import postgres

    with reached():
        return int(postgres.migrate(address, settings))
