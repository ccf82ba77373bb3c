"""What an operator ought to know of a store: what is wrong with it, or about to be, and what to do.

It looks and changes nothing. Whether the log itself is whole and lawful is for an audit to say.
"""

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from lastresort.adapters.databases.errors import StoreError, reached
from lastresort.adapters.databases.files import StoreFiles, check_may_write, named
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.databases.sqlite import code_in, looking_into
from lastresort.adapters.databases.urls import located
from lastresort.adapters.opening import MASTER_KEY_VARIABLE
from lastresort.adapters.stores.sqlite import open_sqlite

from .checks import CHANGING, Check, changing, of_tables, space, tables_in

_MOST_WAL = 64 * 2**20
_DEADLINE = 600.0
_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
"""The versions of SQLite from which on the WAL-reset bug is mended, the latest first; 3.52.0 has the fix too.
Source: sqlite.org/wal.html, "The WAL-reset bug"."""


@named()
def examine(url: str) -> list[Check]:
    """Examine a store.

    Raises:
        StoreError: there is none, or it cannot be reached.
    """
    address, settings = located(url)
    settings = settings._replace(deadline=_DEADLINE)
    if address == "memory:":
        raise StoreError("memory: holds nothing yet; examine a store that is kept")
    with reached():
        if (own := StoreFiles.at(address)) is not None:
            return list(_of_sqlite(own, settings))
        from .postgres_doctor import of_postgres

        return list(of_postgres(address, settings))


# --- SQLite ----------------------------------------------------------------------------------------------------------


def _of_sqlite(own: StoreFiles, settings: Settings) -> Iterator[Check]:
    if not own.log.exists():
        raise StoreError(f"no store at {own.log}")
    check_may_write(own.log)
    yield engine(sqlite3.sqlite_version_info)
    yield from _files(own)
    yield space(own.log)
    with looking_into(own.log) as file:
        yield _durability(file, settings)
        yield _whole(file)
        tables = tables_in(file)
    code = [check for path in (own.log, own.keys) if path.exists() for check in _code(path)]
    yield from code or [Check("planted code", True, "no trigger and no view in the log and the keys")]
    if code:
        return  # what it shows may be what the code makes of it
    if own.keys.exists():
        with looking_into(own.keys) as file:
            if file.execute("SELECT 1 FROM sqlite_master WHERE name='master'").fetchone():
                yield from changing(file.execute(CHANGING.format(master="master")).fetchone()[0])
    yield from of_tables(tables, lambda: open_sqlite(own.log, settings))


def engine(version: tuple[int, ...]) -> Check:
    """Look for bugs that are known to corrupt a database like ours, which several connections write to with a WAL."""
    text = ".".join(map(str, version))
    latest, *branches = _FIXED
    mended = version >= latest or any(version[:2] == one[:2] and version >= one for one in branches)
    if mended or version < (3, 7, 0):
        return Check("engine", True, f"SQLite {text}, without a known bug that corrupts")
    return Check(
        "engine",
        False,
        f"SQLite {text} has the WAL-reset bug (3.7.0 to 3.51.2): if two connections write and checkpoint at the same "
        "moment, the database may be corrupted. It is rare. This is about SQLite; whether the store is whole is said "
        "under integrity",
        "run Python with SQLite 3.51.3 or later (or 3.50.7, 3.44.6); until then write from one process, or accept it: "
        "--allow engine",
    )


def _files(own: StoreFiles) -> Iterator[Check]:
    keys, master = own.keys, own.master
    if keys.exists():
        yield permissions("keys", keys)
    else:
        yield Check("keys", False, f"no keys at {keys}: no words can be read", "restore the keys from a backup")
    if master.exists():
        found = permissions("master key", master)
        yield found._replace(found=f"{found.found}; it lies beside the keys that it wraps: keep a copy elsewhere")
    elif MASTER_KEY_VARIABLE not in os.environ:
        yield Check(
            "master key",
            not keys.exists(),
            f"neither {master} nor {MASTER_KEY_VARIABLE}",
            "restore the master key, or pass it; without it no words can be read",
        )
    wal = own.log.with_name(own.log.name + "-wal")
    size = wal.stat().st_size if wal.exists() else 0
    yield Check(
        "write-ahead log",
        size <= _MOST_WAL,
        f"{size:,} bytes",
        "" if size <= _MOST_WAL else "a reader keeps it from being checkpointed: end transactions that stay open",
    )


def permissions(name: str, path: Path) -> Check:
    """Check that only its owner can read a file."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Check(name, False, f"{path} is open to others: mode {mode:04o}", f"chmod 600 {path}")
    return Check(name, True, f"{path}: mode {mode:04o}")


def _durability(file: sqlite3.Connection, settings: Settings) -> Check:
    (mode,) = file.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        todo = "open it with this program, on a local disk, which turns it to WAL"
        return Check("durability", False, f"journal_mode is {mode}, not wal", todo)
    if settings.synchronous != "FULL":
        found = f"synchronous={settings.synchronous}: when the power fails, the latest turns may be lost"
        return Check("durability", False, found, "leave `synchronous` out of the URL, unless you mean it")
    return Check("durability", True, "journal_mode=wal, synchronous=FULL")


def _code(path: Path) -> Iterator[Check]:
    """Look for what this program never makes, and obeys in no case."""
    with looking_into(path) as file:
        if code := code_in(file):
            found = f"{path.name} holds code that this program did not make: {', '.join(sorted(set(code)))}"
            todo = "keep a copy, and restore a backup from before; see SECURITY.md"
            yield Check("planted code", False, found, todo)


def _whole(file: sqlite3.Connection) -> Check:
    try:
        (said,) = file.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said == "ok":
        return Check("integrity", True, "quick_check finds nothing")
    return Check("integrity", False, f"the file is damaged: {said}", "keep a copy of it, and restore the latest backup")
