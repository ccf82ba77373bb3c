"""The log in an SQLite file.

A write takes the write lock at once (`BEGIN IMMEDIATE`), and checks what it must while it writes: that a branch goes on
where it stands, and that a command takes effect once in its tree, are conditions of the insert. Writes go through one
connection, those that wait share a transaction; reads go through the library's pool.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

from eventsourcing import sqlite as library  # its factory is not named here: the library takes a module to have one
from eventsourcing.persistence import ConnectionPoolClosedError
from eventsourcing.sqlite import SQLiteDatastore

from lastresort.adapters.databases.errors import StoreError, not_durable, reached
from lastresort.adapters.databases.files import make_private, uri
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.databases.sqlite import connect, truncate_log
from lastresort.adapters.databases.times import packed
from lastresort.application.ports import Append, CommandRecorded, Place, VersionConflict

from .codec import Encoding
from .derived import Statement, in_sqlite, of_command, tree_of
from .fence import FENCE, check_fence
from .groups import GroupCommit, Job
from .incoming import Chunk, one_ahead
from .rows import ENDS, WRITTEN, Entry, Row, conflict
from .signal import Commits
from .sql import SQLStore
from .sqlite_recorder import Datastore, SQLiteProcessRecorder, SQLiteRecorder

_LOOK = 0.05
"""Seconds between two looks for what other processes wrote: some 30 microseconds each, a thousandth of a processor."""
_IMPORT_CACHE = 64 * 2**20
"""Bytes of pages that an import keeps in memory: ids come in any order, so any page of an index may be next."""

_AT_ONCE = 2_000
"""Rows that an import writes by one statement, at most: of 11 values each, and SQLite may take no more than 32,766."""

_FENCE = in_sqlite(FENCE, "")
_MANY = 16
"""Rows from which on it is worth a savepoint to write them by one call."""


class SQLiteStore(SQLStore, SQLiteRecorder):
    """An event store in an SQLite file, on the library's recorder. Threads may share it.

    Args:
        datastore: the library's, with our connections.
        events_table_name: of the log.
        encoding: reads and writes events.
    """

    def __init__(
        self, datastore: SQLiteDatastore, events_table_name: str = "stored_events", *, encoding: Encoding | None = None
    ) -> None:
        super().__init__(datastore, events_table_name)
        self._encoding = encoding or Encoding()
        table = self.events_table_name
        # No row may be without a version, so one is refused where this finds none. As the condition of a SELECT, SQLite
        # would make a table of its own for each row, since it reads what it writes to: half as long again.
        insert = f"INSERT INTO {table} ({WRITTEN}) VALUES (?1,{{}},?3,?4,?5,?6,?7,?8,?9,?10)"
        exists = f"EXISTS (SELECT 1 FROM {table} WHERE originator_id=?1"
        follows = f"{exists} AND originator_version=?2-1)"
        once = f"(?9<>0 OR NOT EXISTS (SELECT 1 FROM {table} WHERE command_id=?8))"  # in any tree: nearly always so
        self._begin = insert.format(f"CASE WHEN NOT {exists}) THEN ?2 END")
        self._follow_once = insert.format(f"CASE WHEN {follows} AND {once} THEN ?2 END")
        self._follow = insert.format(f"CASE WHEN {follows} THEN ?2 END")
        self._tree_of = in_sqlite(f"SELECT {tree_of('?')}", table)
        self._recorded = in_sqlite(f"SELECT 1 FROM {{events}} k WHERE {of_command('?1', '?2')} LIMIT 1", table)
        self._group = GroupCommit(self._commit, self.datastore.settings.deadline)
        self._writer: sqlite3.Connection | None = None
        self._opening = Lock()
        self._closed = False
        self._residue = False  # words that were erased may still be in the write-ahead log
        self._commits = Commits()

    # --- writing --------------------------------------------------------------------------------------------------

    def _time(self, recorded_at: str) -> str | int:
        """Times are kept as numbers, in a column of no type: one that would lose something by that stays text."""
        return packed(recorded_at)

    def write(self, entries: Sequence[Entry], erased: Sequence[Place] = ()) -> int:
        try:
            return self._group.write((entries, erased))
        finally:
            if erased:  # also where the command was carried out before: it may not have come this far
                self._truncate_log(self.datastore.settings.deadline)
            elif self._residue:
                with suppress(StoreError):  # the command that erased has raised it; no other need
                    self._truncate_log(0)

    def _commit(self, jobs: Sequence[Job[tuple[Sequence[Entry], Sequence[Place]]]]) -> None:
        """Write what waits in one transaction; what is refused leaves nothing behind, and does no harm to the rest."""
        writer = self._writer or self._open_writer()
        cursor = writer.cursor()  # one for all statements, since making one takes half as long as using it
        execute = cursor.execute
        alone = len(jobs) == 1
        execute("BEGIN IMMEDIATE")
        try:
            check_fence(execute(_FENCE).fetchone())
            for job in jobs:
                entries, erased = job.work
                several = not alone and len(entries) + len(erased) > 1
                if several:
                    execute("SAVEPOINT append")
                try:
                    job.position = self._insert(cursor, entries)
                    for place in erased:
                        execute(self._erase, place)
                except (VersionConflict, CommandRecorded) as error:
                    if alone:
                        raise
                    if several:
                        execute("ROLLBACK TO append")
                    job.error = error
            execute("COMMIT")
        except BaseException as error:
            if writer.in_transaction:
                execute("ROLLBACK")
            if "not authorized" in str(error):  # it goes on knowing the trigger, though that may be gone by now
                self._writer = None
                writer.close()
            raise
        self._commits.set()

    def barrier(self) -> None:
        """Have what can be read last as long as what was acknowledged. See `application.ports.EventStore`.

        SQLite shows a commit once it is synced. But where a writer was killed between the write and the sync, the next
        process finds it whole in the write-ahead log, and reads it. So the log is synced here; what has left it was
        synced before that. At NORMAL an acknowledged append need not survive a loss of power, and nor need this.
        """
        if self.datastore.settings.synchronous != "FULL":
            return
        try:
            with open(f"{self.datastore.pool.db_name}-wal", "rb") as log:
                os.fsync(log.fileno())
        except FileNotFoundError:
            pass  # the last one to close the store took it away, once all of it was synced
        except OSError as error:
            raise not_durable(str(error.strerror)) from error

    @contextmanager
    def still(self) -> Iterator[None]:
        """Keep others from writing. See `application.ports.EventStore`."""
        with reached(), closing(self._connected()) as connection:  # which lets go of the lock when it is closed
            connection.execute("BEGIN IMMEDIATE")
            check_fence(connection.execute(_FENCE).fetchone())
            yield

    def import_log(self, appends: Iterable[Append]) -> int:
        """Write appends, all or none of them. See `application.ports.EventStore`.

        Others who write wait meanwhile for as long as their own deadline allows; readers see nothing of it before its
        end.
        """
        with reached(), closing(self._connected()) as connection:
            connection.execute(f"PRAGMA cache_size={-_IMPORT_CACHE // 1024}")  # what does not fit goes to the disk
            execute = connection.execute
            execute("BEGIN IMMEDIATE")  # which the connection rolls back when it is closed
            check_fence(execute(_FENCE).fetchone())
            (head,) = execute(f"SELECT coalesce(max(rowid), 0) FROM {self.events_table_name}").fetchone()
            incoming = self._incoming(head + 1)
            with one_ahead() as behind:
                for chunk in incoming.chunks(appends):
                    behind(partial(self._write_chunk, connection, chunk))
            execute("COMMIT")
            with suppress(StoreError, sqlite3.Error):  # or else the next writer does it
                truncate_log(connection, 0)
        self._commits.set()
        return incoming.count

    def _write_chunk(self, connection: sqlite3.Connection, chunk: Chunk) -> None:
        for first in range(0, len(chunk.rows), _AT_ONCE):  # an append of any length is in one chunk
            rows = chunk.rows[first : first + _AT_ONCE]
            marks = ",".join(["(?,?,?,?,?,?,?,?,?,?,?)"] * len(rows))
            insert = f"INSERT INTO {self.events_table_name} (rowid, {WRITTEN}) VALUES {marks}"
            # In one step of the engine's, in which it needs no interpreter.
            connection.execute(insert, tuple(chain.from_iterable(rows)))
        many = connection.executemany
        many("INSERT INTO contents VALUES (?,?)", chunk.contents)
        many("INSERT INTO branches VALUES (?,?,NULL,?)", chunk.branches)
        many("UPDATE branches SET branched=1 WHERE position=? AND branched=0", chunk.branched)
        many("UPDATE branches SET ended=? WHERE position=? AND ended IS NULL", chunk.ended)
        many("INSERT OR REPLACE INTO snapshots VALUES (?,?,?)", chunk.snapshots)
        many(self._erase, chunk.erased)

    def _insert(self, cursor: sqlite3.Cursor, entries: Sequence[Entry]) -> int:
        """Write entries, and return the position of the first."""
        if len(entries) >= _MANY and (many := self._insert_many(cursor, entries)):
            return many
        execute, first = cursor.execute, 0
        for row, begins, sealed, joins, snapshot in entries:
            if begins and row.nth == 0:
                self._check_command(execute, row, joins or row.branch)
            try:
                position = execute(self._begin if begins else self._follow_once, row).lastrowid
            except sqlite3.IntegrityError:
                position = self._insert_after_all(execute, row, begins)
            assert position is not None
            if sealed is not None:
                execute("INSERT INTO contents VALUES (?,?)", (position, sealed))
            if begins or row.kind == ENDS:
                self._list(execute, row, begins, joins, position)
            if snapshot is not None:
                execute("INSERT OR REPLACE INTO snapshots VALUES (?,?,?)", (row.branch, row.version, snapshot))
            first = first or position
        return first

    def _insert_after_all(self, execute: Callable[..., sqlite3.Cursor], row: Row, begins: bool) -> int | None:
        """Write a row that was refused only because another tree has a command of its id, or say what refuses it."""
        if not begins and row.nth == 0:
            self._check_command(execute, row, str(execute(self._tree_of, (row.branch,)).fetchone()[0] or row.branch))
            with suppress(sqlite3.IntegrityError):
                return execute(self._follow, row).lastrowid
        raise conflict(row, begins)

    def _check_command(self, execute: Callable[..., sqlite3.Cursor], row: Row, tree: str) -> None:
        if execute(self._recorded, (row.command_id, tree)).fetchone():
            raise CommandRecorded(row.command_id)

    def _insert_many(self, cursor: sqlite3.Cursor, entries: Sequence[Entry]) -> int | None:
        """Write entries that are rows and nothing else, as a risk's are, one on each branch of a tree.

        Return the position of the first; or None, and leave nothing behind, if one by one will tell what is wrong.
        """
        if any(begins or row.kind == ENDS or sealed or snapshot for row, begins, sealed, _, snapshot in entries):
            return None
        cursor.execute("SAVEPOINT many")
        try:
            cursor.executemany(self._follow_once, [entry.row for entry in entries])
        except sqlite3.IntegrityError:
            cursor.execute("ROLLBACK TO many")
            return None
        last: int = cursor.execute("SELECT last_insert_rowid()").fetchone()[0]
        return last - len(entries) + 1

    def _list(self, execute: Any, row: Row, begins: bool, joins: str | None, position: int) -> None:
        """Keep the lists of branches. Few events change them, so that an ordinary turn pays nothing for them."""
        if not begins:
            execute(
                f"UPDATE branches SET ended=? WHERE position={self._first} AND ended IS NULL", (position, row.branch)
            )
        elif joins is None:
            execute("INSERT INTO branches VALUES (?1, ?1, NULL, 0)", (position,))
        else:
            execute(f"INSERT INTO branches VALUES (?, coalesce({self._first}, 0), NULL, 1)", (position, joins))
            execute(f"UPDATE branches SET branched=1 WHERE position={self._first} AND branched=0", (joins,))

    @property
    def _first(self) -> str:
        """What began a branch."""
        table = self.events_table_name
        return f"(SELECT rowid FROM {table} WHERE originator_id=? ORDER BY originator_version LIMIT 1)"

    @property
    def _erase(self) -> str:
        place = "originator_id=? AND originator_version=?"
        return f"DELETE FROM contents WHERE position=(SELECT rowid FROM {self.events_table_name} WHERE {place})"

    def _open_writer(self) -> sqlite3.Connection:
        with self._opening:
            if self._writer is None:
                self._writer = self._connected()
            return self._writer

    def _connected(self) -> sqlite3.Connection:
        if self._closed:
            raise ConnectionPoolClosedError
        return connect(self.datastore.pool.db_name, self.datastore.settings, uri=True)

    def _truncate_log(self, deadline: float) -> None:
        """Have what was erased leave the write-ahead log too, where it would stay readable.

        Raises:
            StoreError: a reader kept it from being truncated until the deadline.
        """
        # A connection of its own. The writer's may be in use by now. And while the pool waits for one to write with, it
        # lets nobody read, not even the follower that has it.
        with closing(self._connected()) as connection:
            try:
                truncate_log(connection, deadline)
            except StoreError:
                self._residue = True
                raise
        self._residue = False

    # --- reading --------------------------------------------------------------------------------------------------

    def wait(self, after: int, timeout: float) -> bool:
        """Wait for an event after a position. See `application.ports.EventStore`.

        What this store writes wakes at once; what other processes write is noticed within some 50 milliseconds, since
        SQLite does not notify.
        """
        return self._commits.wait_for(lambda: self.head() > after, timeout, _LOOK)

    def _rows(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        with self.datastore.get_connection(commit=False) as connection:
            cursor = connection._sqlite_conn.cursor()
            cursor.row_factory = None
            return cursor.execute(in_sqlite(statement, self.events_table_name), params).fetchall()

    def _change(self, *statements: Statement) -> None:
        with self.datastore.transaction(commit=True) as c:
            for statement, params in statements:
                c.execute(in_sqlite(statement, self.events_table_name), tuple(params))

    def close(self) -> None:
        with self._opening:
            self._closed = True
            if self._writer is not None:
                self._writer.close()
        self.datastore.close()


class Factory(library.SQLiteFactory):
    """Makes our recorders, for `InfrastructureFactory.construct` with `PERSISTENCE_MODULE` set to this module."""

    application_recorder_class = SQLiteStore
    process_recorder_class = SQLiteProcessRecorder  # type: ignore[assignment]  # the library has no protocol for it

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.datastore.close()
        self.datastore = Datastore(self.datastore.pool.db_name, single_row_tracking=self.datastore.single_row_tracking)


def open_sqlite(path: Path, settings: Settings) -> SQLiteStore:
    """Open the store in the file at `path`, which its owner alone can read if it is new; make what is missing in it."""
    make_private(path)
    store = sqlite_store(path, settings)
    store.create_table()
    return store


def sqlite_store(path: Path, settings: Settings) -> SQLiteStore:
    """Return the store in the file at `path`, as it is."""
    address = str(path.absolute())  # SQLite would read `file:...` as a URI, and a folder may change meanwhile
    if settings.mode != "rw":
        address = uri(path, settings.mode)
    return SQLiteStore(Datastore(address, settings))
