"""Backups: the log in one file, the keys in another, taken while the store is in use; and stores made from them.

A backup of an SQLite store is an SQLite file, one of a PostgreSQL database a file of ours with its rows. The keys lie
beside it in a file of the same name with `-keys` after it. The master key is in neither: without it a backup's words
are lost. Both files are sealed under it, so that a backup that somebody else wrote is not taken for one.

The log is copied first and the keys after it, so that no word in the copy lacks its key for having been said meanwhile.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from lastresort.adapters.databases.errors import StoreError, reached
from lastresort.adapters.databases.files import StoreFiles, check_may_write, named, new_draft
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.databases.sqlite import check_has_no_code, looking_into
from lastresort.adapters.databases.urls import located
from lastresort.adapters.opening import MASTER_KEY_VARIABLE, known_master_key, open_store
from lastresort.adapters.stores.schema import SCHEMA, check_migration
from lastresort.adapters.stores.sqlite import open_sqlite
from lastresort.projections import Report, audit

from . import seals
from .checks import tables_in

Progress = Callable[[int, int], None]
"""Called with how much is left, and how much there is in all."""

_DEADLINE = 600.0
_PAGES = 2_000  # copied at a time


class BackedUp(NamedTuple):
    """What was written: the files, and how many events are in them."""

    log: Path
    keys: Path
    events: int
    bytes: int
    sealed: bool  # or else there was no master key, and nobody who restores it can know whether it is as it was


@named()
def backup(
    url: str,
    file: Path,
    progress: Progress = lambda left, total: None,
    *,
    master_key: Callable[[], bytes] | None = None,
) -> BackedUp:
    """Write a backup of the store at `url` to `file`, and of its keys to the same name with `-keys` after it.

    Args:
        url: of the store.
        file: where to.
        progress: is told how far it has come.
        master_key: returns the store's; if it is not given, it is looked for where a store that is opened finds it.

    Raises:
        StoreError: there is no store, one of the files exists, or it cannot be written. Nothing is left half done.
    """
    address, _ = located(url)
    own, keys = StoreFiles.at(address), StoreFiles(file).keys
    for path in (file, keys):
        if path.is_dir():
            raise StoreError(f"{path} is a folder; name a file for the backup")
        if path.exists():
            raise StoreError(f"{path} exists; name a file that does not, or remove it")
        if own is not None and own.owns(path):
            raise StoreError(f"{path} is part of the store that is backed up; name another file")
    if not file.parent.is_dir():
        raise StoreError(f"no folder {file.parent} for the backup; create it first")
    if address == "memory:":
        raise StoreError("memory: is gone with its process; back up a store that is kept")
    with reached(), _drafts(file, keys) as (log_draft, keys_draft):
        if own is not None:
            events = _of_sqlite(own, log_draft, keys_draft, progress)
        else:
            from . import postgres_backup

            events = postgres_backup.dump(address, log_draft, keys_draft)
        master = known_master_key(master_key, own and own.master)
        if master is not None:
            seals.seal(log_draft, master, "log")
            seals.seal(keys_draft, master, "keys")
        size = log_draft.stat().st_size + keys_draft.stat().st_size
    return BackedUp(file, keys, events, size, master is not None)


@named()
def restore(
    file: Path,
    url: str,
    progress: Progress = lambda left, total: None,
    *,
    master_key: Callable[[], bytes] | None = None,
    unauthenticated: bool = False,
) -> Report:
    """Make a store at `url`, where there must be none, from a backup, and audit it. If it has findings, none is made.

    Args:
        file: the backup.
        url: where to.
        progress: is told how far it has come.
        master_key: returns the master key; if it is not given, it is looked for where a store at `url` would find it.
        unauthenticated: whether to take the backup though nobody can know that it is as it was written. What somebody
            else put into it is then in the store: whatever log is lawful, words that are not what was said, no words.

    Returns:
        What the audit found.

    Raises:
        StoreError: there is a store at `url`, or the files are no backup. Nothing is left half done.
    """
    address, settings = located(url)
    settings = settings._replace(deadline=_DEADLINE)
    keys = StoreFiles(file).keys
    for path in (file, keys):
        if not path.is_file():
            if path == keys and _begins_as_json(file):
                raise StoreError(f"{file} is an exported log, and no backup: use `lastresort import`")
            raise StoreError(f"no backup at {path}")
    if address == "memory:":
        raise StoreError("memory: is gone with its process; restore into a store that is kept")
    if (own := StoreFiles.at(address)) is not None:
        _check_is_empty(own)
    if not unauthenticated:
        _check_seals(StoreFiles(file), known_master_key(master_key, own and own.master), own)
    with reached():
        if own is not None:
            return _to_sqlite(StoreFiles(file), own, settings, progress)
        from . import postgres_backup

        return postgres_backup.load(file, keys, address, settings)


def _begins_as_json(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"{"


def _check_is_empty(place: StoreFiles) -> None:
    if not place.log.parent.is_dir():
        raise StoreError(f"no folder {place.log.parent} for the store {place.log.name}; create it first")
    for there in (place.log, place.keys, *place.leftovers):
        if there.exists():
            raise StoreError(f"{there} exists; a backup is restored into an empty place only")


def _check_seals(backed_up: StoreFiles, master: bytes | None, place: StoreFiles | None) -> None:
    """Check that a backup is as it was written.

    Raises:
        StoreError: it is not, or nobody can know without the master key.
    """
    otherwise = "or pass --unauthenticated if you know that nobody could change the files"
    if master is None:
        where = f"put a copy at {place.master}, or set {MASTER_KEY_VARIABLE}" if place else f"set {MASTER_KEY_VARIABLE}"
        raise StoreError(
            f"without the master key nobody knows whether the backup is as it was written: {where}, {otherwise}"
        )
    roles: tuple[tuple[Path, seals.Role], ...] = ((backed_up.log, "log"), (backed_up.keys, "keys"))
    for path, role in roles:
        if not seals.is_sealed(path, master, role):
            raise StoreError(
                f"{path} is not as a backup was written under this master key: it was changed since, or is damaged, or "
                f"it is of another master key, or of a version that did not seal; restore another one, {otherwise}"
            )


def why_closed(url: str) -> str | None:
    """Return why a store that was restored cannot be opened here, None if it can: its master key is not in a backup.

    A store that never had one is given one, as by whatever opens it first.
    """
    try:
        store, vault, _ = open_store(url, create=False)
    except StoreError as error:
        return str(error)
    store.close()
    vault.close()
    return None


@contextmanager
def _drafts(*paths: Path) -> Iterator[list[Path]]:
    """Have files written under other names, readable by their owner only, which take theirs when all are complete.

    The last takes its name first: a store is there once its log is.
    """
    drafts: list[Path] = []
    try:
        drafts.extend(map(new_draft, paths))
        yield drafts
        for path, draft in [*zip(paths, drafts, strict=True)][::-1]:
            _synced(draft)
            try:
                os.link(draft, path)  # unlike a renaming, it replaces nothing
            except FileExistsError:
                raise StoreError(f"{path} appeared meanwhile; nothing was replaced") from None
        _synced(paths[0].parent)
    finally:
        for draft in drafts:
            for end in ("", "-wal", "-shm", "-journal"):
                draft.with_name(draft.name + end).unlink(missing_ok=True)


def _synced(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


# --- SQLite ----------------------------------------------------------------------------------------------------------


def _of_sqlite(own: StoreFiles, log: Path, keys: Path, progress: Progress) -> int:
    if not own.log.exists():
        raise StoreError(f"no store at {own.log}")
    check_may_write(own.log)
    if not own.keys.exists():
        raise StoreError(f"no keys at {own.keys}: the words in the backup could never be read; restore them first")
    _copy(own.log, log, progress)
    _copy(own.keys, keys, lambda left, total: None)
    with looking_into(log) as file:
        check_migration(tables_in(file))  # a backup of what has lost something would hide the loss
        (events,) = file.execute("SELECT count(*) FROM stored_events").fetchone()
    return int(events)


def _copy(path: Path, to: Path, progress: Progress) -> None:
    """Copy a database as it is at one moment, however others write meanwhile, to a file that is whole by itself."""
    try:
        with looking_into(path, 60) as source, looking_into(to) as copy:
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on it stands still
            source.backup(copy, pages=_PAGES, progress=lambda _, left, total: progress(left, total))
            source.execute("COMMIT")
            copy.execute("PRAGMA journal_mode=DELETE")
            copy.execute("PRAGMA user_version=0")  # where its seal stood, if it is a backup
            copy.execute("PRAGMA application_id=0")
            check_has_no_code(copy)
            (said,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} is not a whole database: {error}") from error
    if said != "ok":
        raise StoreError(f"{path} is damaged: {said}")


def _to_sqlite(backed_up: StoreFiles, place: StoreFiles, settings: Settings, progress: Progress) -> Report:
    from .migration import migrate_tables

    try:
        with _drafts(place.log, place.keys) as (log_draft, keys_draft):
            _copy(backed_up.log, log_draft, progress)
            _copy(backed_up.keys, keys_draft, lambda left, total: None)
            migrate_tables(f"sqlite:///{log_draft}", settings)
            with closing(open_sqlite(log_draft, settings)) as store:
                report = audit(store.entries())
            if report.findings:
                raise _Unlawful(report)
            _settled(log_draft)
    except _Unlawful as refused:
        return refused.report
    return report


def _settled(path: Path) -> None:
    """Have all that is in a database's write-ahead log in its file: who closes it last does so."""
    with looking_into(path) as file:
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not path.with_name(path.name + "-wal").exists()


class _Unlawful(Exception):
    """What was restored has findings, and is to be taken away."""

    def __init__(self, report: Report) -> None:
        super().__init__(SCHEMA)
        self.report = report
