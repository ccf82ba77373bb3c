"""The log in PostgreSQL, where several processes or machines write.

The tables are those of `sqlite_recorder`. An append is one statement, one round trip: it calls a function of ours that
takes an advisory lock, checks, and writes. Appends of one process that wait for another of its own share a statement.
All come one after the other, so positions rise without gaps in the order of the commits, and a reader that follows the
log misses none. Each append notifies those who wait, in its own transaction.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from itertools import accumulate
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg
from eventsourcing import postgres as library  # its factory is not named here: the library takes a module to have one
from eventsourcing.persistence import ConnectionPoolClosedError
from eventsourcing.postgres import PostgresDatastore
from psycopg import errors
from psycopg.pq.abc import PGresult
from psycopg.rows import tuple_row

from lastresort.adapters.databases.errors import engine_message, not_durable, reached, unwritten
from lastresort.adapters.databases.postgres import GRACE, bound, check_has_no_code, confirmed, migrating
from lastresort.adapters.databases.postgres_listener import Listener
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.databases.watch import Watch
from lastresort.application.ports import Append, CommandRecorded, Place, StoreClosed, VersionConflict

from .codec import Encoding
from .derived import Statement, in_postgres
from .fence import FENCE, check_fence, constraint
from .groups import GroupCommit, Job
from .incoming import Chunk, one_ahead
from .postgres_recorder import PostgresProcessRecorder, PostgresRecorder, datastore_of
from .postgres_tables import (
    APPEND_LOCK,
    ARGUMENTS,
    BARRIER,
    BRANCH_TYPES,
    BRANCHED,
    CONTENT_TYPES,
    COPY_BRANCHES,
    COPY_CONTENTS,
    COPY_EVENTS,
    ENDED,
    EVENT_TYPES,
    HEAD,
    SNAPSHOTS,
    Sending,
    arguments_of,
    check_is_ours,
    checked,
    copied,
    executed,
    meant,
)
from .rows import Entry
from .signal import Commits
from .sql import SQLStore

_TRY = 0.5  # seconds that one attempt to get a connection may take
_LOOK = 2.0  # seconds between two looks at the log where nothing is heard: a pooler may keep notifications back
_IMPORT = 600.0  # seconds for a thousand events of an import
_APPEND = b"lastresort_append"  # a prepared statement of each connection that has appended
_MOST_TOGETHER = 8 * 2**20  # bytes of words that appends share a statement with, at most
Result = TypeVar("Result")
Work = tuple[Sequence[Entry], Sequence[Place]]


class PostgresStore(SQLStore, PostgresRecorder):
    """An event store in PostgreSQL, on the library's recorder. Threads may share it.

    Appends are serialized, so positions rise in the order of commits.

    Args:
        datastore: the library's.
        events_table_name: of the log.
        encoding: reads and writes events.
        deadline: seconds that a call may take.
    """

    def __init__(
        self,
        datastore: PostgresDatastore,
        *,
        events_table_name: str = "stored_events",
        encoding: Encoding | None = None,
        deadline: float = Settings().deadline,
    ) -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        self._encoding = encoding or Encoding()
        self.deadline = deadline
        self._watch = Watch()
        self._lock = Lock()
        self._at_hand: psycopg.Connection[Any] | None = None
        self._closed = False
        self._group = GroupCommit(self._commit, deadline)
        self._commits = Commits()
        self._listener = Listener(self._connected, self.channel_name, self._commits.set)
        self._prepared, self._settled = (WeakSet[psycopg.Connection[Any]]() for _ in range(2))
        notify = f"pg_notify('{self.channel_name}', '')"
        numbered = ", ".join(f"${number}::{kind}" for number, kind in enumerate(ARGUMENTS, start=1))
        self._append = self._composed(f"SELECT {{schema}}.write_event({numbered}), {notify}").as_bytes()
        arrays = ", ".join(f"%s::{kind}[]" for kind in ARGUMENTS)
        self._write_many = self._composed(
            f"SELECT {{schema}}.write_event(b, v, k, s, h, w, r, c, n, o, g, d, j, t), {notify} FROM unnest({arrays}) "
            "WITH ORDINALITY AS e (b, v, k, s, h, w, r, c, n, o, g, d, j, t, place) ORDER BY place"
        )
        self._erase = self._composed(
            "DELETE FROM {schema}.contents USING {schema}.{events} e, "
            "unnest(%s::text[], %s::bigint[]) AS erased (b, v) "
            "WHERE position = e.notification_id AND e.originator_id = b AND e.originator_version = v"
        )

    # --- writing --------------------------------------------------------------------------------------------------

    def write(self, entries: Sequence[Entry], erased: Sequence[Place] = ()) -> int:
        return self._group.write((entries, erased))

    def _commit(self, jobs: Sequence[Job[Work]]) -> None:
        """Write what waits in one transaction; or each in one of its own, if one of them is refused."""
        sent = False
        if len(jobs) > 1 and sum(map(_bytes_of, jobs)) <= _MOST_TOGETHER:
            together = Sending(lambda connection: self._inserted(connection, [job.work for job in jobs]))
            try:
                positions: list[int] = self._sent(together)
                for job, position in zip(jobs, positions, strict=True):
                    job.position = position
                return
            except (VersionConflict, CommandRecorded):
                sent = together.may_be_written  # and refused because it was, when it was sent before
        for at, job in enumerate(jobs):
            try:
                job.position = self._write_alone(*job.work, sent)
            except (VersionConflict, CommandRecorded) as error:
                job.error = error
            except Exception as error:  # whatever it is, those that come after raise it too: nobody has come to them
                for other in jobs[at:]:
                    other.error = error
                return

    def _write_alone(self, entries: Sequence[Entry], erased: Sequence[Place], sent: bool) -> int:
        """Write an append that nothing else shares a transaction with, and that may have been `sent` before."""
        until = time.monotonic() + self.deadline
        sending = Sending(lambda connection: self._write(connection, entries, erased), sent)
        try:
            return self._sent(sending, until)
        except CommandRecorded:
            if sending.may_be_written and (position := self._written(entries[0])):
                self._pass_barrier(until)
                return position
            raise

    def _sent(self, sending: Sending[Result], until: float | None = None) -> Result:
        """Send an append, again if an answer was lost, and return what came of it.

        Raises:
            VersionConflict, CommandRecorded: it was refused.
            StoreError: it was not written, or may have been.
        """
        try:
            return self._again_if_lost(sending, until)
        except psycopg.Error as error:
            if isinstance(said := meant(error), psycopg.Error):
                raise unwritten(said, self.deadline if sending.is_unanswered else None) from error
            raise said from None

    def barrier(self) -> None:
        """Have what can be read last as long as what was acknowledged. See `application.ports.EventStore`.

        An append waits for the standbys before anybody can read it. But if the server starts again meanwhile, or
        somebody cancels the wait, it counts as committed, and no standby may have it.

        Raises:
            StoreError: it did not come to that by the deadline.
        """
        self._pass_barrier(time.monotonic() + self.deadline)

    def _pass_barrier(self, until: float) -> None:
        try:
            self._again_if_lost(lambda connection: connection.execute(BARRIER), until)
        except psycopg.Error as error:
            said = f"the server did not confirm it within {self.deadline:g} s ({engine_message(error)})"
            raise not_durable(said) from error

    def _written(self, entry: Entry) -> int | None:
        """Return the position of `entry` if it is in the log: the answer to the append that wrote it was lost."""
        rows = self._rows(
            "SELECT {position}, originator_id, originator_version, topic, state FROM {events} "
            "WHERE originator_id = %s AND originator_version = %s AND command_id = %s",
            *(entry.row.branch, entry.row.version, entry.row.command_id),
        )
        return int(rows[0][0]) if rows and rows[0][1:] == tuple(entry.row[:4]) else None

    def _write(self, connection: psycopg.Connection[Any], entries: Sequence[Entry], erased: Sequence[Place]) -> int:
        if len(entries) == 1 and not erased:  # which is what a turn is: the driver's own way there costs half a commit
            result = self._executed(connection, arguments_of(entries[0]))
            return int.from_bytes(result.get_value(0, 0) or b"")
        return self._inserted(connection, [(entries, erased)])[0]

    def _inserted(self, connection: psycopg.Connection[Any], works: Sequence[Work]) -> list[int]:
        """Write the entries of appends, erase words, and return the position of the first entry of each."""
        rows = [(*row, *beside) for entries, _ in works for row, *beside in entries]
        places = [place for _, erased in works for place in erased]
        at: Sequence[tuple[Any, ...]] = ()
        with connection.transaction() if places else nullcontext():
            if rows:
                cursor = connection.cursor(row_factory=tuple_row)
                columns = [list(column) for column in zip(*rows, strict=True)]
                at = cursor.execute(self._write_many, columns).fetchall()
            if places:
                connection.execute(self._erase, [list(column) for column in zip(*places, strict=True)])
        firsts = accumulate((len(entries) for entries, _ in works[:-1]), initial=0)
        return [int(at[first][0]) if entries else 0 for first, (entries, _) in zip(firsts, works, strict=True)]

    def _executed(self, connection: psycopg.Connection[Any], values: Sequence[bytes | None]) -> PGresult:
        """Execute the append that is prepared on a connection, and prepare it where it is not."""
        if connection in self._prepared:
            # When it rolls back, the driver drops all that was prepared on a connection.
            with suppress(errors.InvalidSqlStatementName):
                return executed(connection, _APPEND, values)
        self._prepared.add(connection)  # first: should this be interrupted, it is found out above
        checked(connection, connection.pgconn.prepare(_APPEND, self._append))
        return executed(connection, _APPEND, values)

    def _again_if_lost(self, act: Callable[[psycopg.Connection[Any]], Result], until: float | None = None) -> Result:
        """Do `act` on a connection, and again on a new one if the connection was lost, until the deadline.

        An append whose answer was lost may have been committed. To send it again does no harm: it takes effect
        once, by its command's id, and who sent it learns that it was recorded.
        """
        until = time.monotonic() + self.deadline if until is None else until
        if self._closed:
            raise ConnectionPoolClosedError
        while True:
            try:
                return self._once(act, until)
            except (errors.LockNotAvailable, errors.QueryCanceled):
                raise
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if self._closed or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def _once(self, act: Callable[[psycopg.Connection[Any]], Result], until: float) -> Result:
        """Do `act` on the connection at hand, or on one of the pool's.

        One is kept at hand, since the pool takes a tenth of a turn to hand one out and to take it back.
        """
        with self._lock:
            connection, self._at_hand = self._at_hand, None
        if connection is None:
            try:
                connection = self.datastore.pool.getconn(timeout=max(0.0, min(_TRY, until - time.monotonic())))
            except psycopg.OperationalError as error:  # which tells how long the last try took
                why = "all are in use, or the server cannot be reached"
                raise psycopg.OperationalError(f"no connection within {self.deadline:g} s: {why}") from error
        try:
            socket = connection.pgconn.socket
            self._watch.begin(socket, until + GRACE)
            try:
                result = act(connection)
            finally:
                self._watch.end(socket)
            if not confirmed(connection):
                raise psycopg.OperationalError("somebody cancelled the wait for standbys")  # as if no answer had come
        except BaseException:
            if connection.closed:
                self.datastore.pool.drain()  # others lead to the same server; to try each may take a deadline each
            self.datastore.pool.putconn(connection)
            raise
        with self._lock:
            if self._at_hand is None and not self._closed:
                self._at_hand = connection
                return result
        self.datastore.pool.putconn(connection)
        return result

    @contextmanager
    def still(self) -> Iterator[None]:
        """Keep others from writing. See `application.ports.EventStore`.

        On a connection of its own: a caller that held one of the pool's could wait in vain for another to read with.
        """
        if self._closed:
            raise StoreClosed
        with reached(), self._connected() as connection:
            bound(connection, Settings()._replace(deadline=self.deadline))
            socket, until = connection.pgconn.socket, time.monotonic() + self.deadline + GRACE
            with self._watch.over(socket, until), connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
                cursor = connection.cursor(row_factory=tuple_row)
                check_fence(cursor.execute(self._composed(in_postgres(FENCE))).fetchone())
                yield
                connection.execute("SELECT 1")  # or else it was lost, and the lock with it

    def import_log(self, appends: Iterable[Append]) -> int:
        """Write appends, all or none of them. See `application.ports.EventStore`.

        Others who write wait meanwhile for as long as their own deadline allows; readers see nothing of it before its
        end. The deadline of a call counts for the wait for others; then each thousand events may take ten minutes.
        """
        with reached(), self._for_import() as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            (head,) = cursor.execute(self._composed(HEAD)).fetchone() or (0,)
            incoming = self._incoming(head + 1)
            with one_ahead() as behind:
                for chunk in incoming.chunks(appends):
                    behind(partial(self._write_chunk, connection, chunk))
            # Until the server has counted, it takes the tables for empty, and goes through them once for each branch.
            connection.execute(self._composed("ANALYZE {events}, {schema}.branches"))
        self.barrier()  # should somebody have cancelled its wait for standbys
        return incoming.count

    def _write_chunk(self, connection: psycopg.Connection[Any], chunk: Chunk) -> None:
        with self._watch.over(connection.pgconn.socket, time.monotonic() + _IMPORT + GRACE):
            copied(connection, self._composed(COPY_EVENTS), EVENT_TYPES, chunk.rows)
            copied(connection, self._composed(COPY_CONTENTS), CONTENT_TYPES, chunk.contents)
            copied(connection, self._composed(COPY_BRANCHES), BRANCH_TYPES, chunk.branches)
            for statement, rows in ((BRANCHED, chunk.branched), (ENDED, chunk.ended), (SNAPSHOTS, chunk.snapshots)):
                if rows:
                    connection.execute(self._composed(statement), [list(column) for column in zip(*rows, strict=True)])
            if chunk.erased:
                connection.execute(self._erase, [list(column) for column in zip(*chunk.erased, strict=True)])

    @contextmanager
    def _for_import(self) -> Iterator[psycopg.Connection[Any]]:
        """Begin a transaction in which nobody else appends, and whose statements may take long."""
        try:
            with self.datastore.pool.connection(timeout=self.deadline) as connection, connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
                for timeout in ("statement_timeout", "idle_in_transaction_session_timeout"):
                    connection.execute(f"SET LOCAL {timeout} = {round(_IMPORT * 1_000)}")
                yield connection
        except psycopg.Error as error:
            raise meant(error) from None

    # --- reading --------------------------------------------------------------------------------------------------

    def wait(self, after: int, timeout: float) -> bool:
        """Wait for an event after a position. See `application.ports.EventStore`.

        One thread and one connection listen, for all that wait on this store.
        """
        self._listener.start()
        return self._commits.wait_for(lambda: self.head() > after, timeout, _LOOK)

    def _connected(self) -> psycopg.Connection[Any]:
        kwargs = self.datastore.pool.kwargs
        assert isinstance(kwargs, dict)  # the library and we name no function that makes one
        return psycopg.connect(**kwargs)

    def _rows(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        query = self._composed(in_postgres(statement))

        def fetch(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
            self._settle(connection)
            cursor = connection.cursor(row_factory=tuple_row, binary=True)
            return cursor.execute(query, params, prepare=True).fetchall()

        return self._again_if_lost(fetch)

    def _settle(self, connection: psycopg.Connection[Any]) -> None:
        """Pass a barrier before anything is read on a new connection.

        The server may have started again, or taken over, and show what no other has: no state may rest on that (0080).
        """
        if connection in self._settled:
            return
        try:
            connection.execute(BARRIER)
            sure, why = confirmed(connection), None
        except psycopg.OperationalError as error:
            sure, why = False, error
        if not sure:  # in words of ours: it may have waited for the lock of others who wait for standbys
            said = f"what is in the log is not known to be durable: nothing confirmed it within {self.deadline:g} s"
            raise psycopg.OperationalError(said) from why
        self._settled.add(connection)

    def _change(self, *statements: Statement) -> None:
        def change(connection: psycopg.Connection[Any]) -> None:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
                for statement, params in statements:
                    connection.execute(self._composed(in_postgres(statement)), params)

        self._again_if_lost(change)

    def _fencing(self, fenced: bool) -> Sequence[Statement]:
        return constraint(fenced)

    def close(self) -> None:
        self._listener.close()
        self._watch.close()
        with self._lock:
            connection, self._at_hand, self._closed = self._at_hand, None, True
        if connection is not None:
            self.datastore.pool.putconn(connection)
        self.datastore.close()


def _bytes_of(job: Job[Work]) -> int:
    return sum(len(entry.sealed or b"") + len(entry.row.state) for entry in job.work[0])


class Factory(library.PostgresFactory):
    """Makes our recorders, for `InfrastructureFactory.construct` with `PERSISTENCE_MODULE` set to this module."""

    application_recorder_class = PostgresStore
    process_recorder_class = PostgresProcessRecorder  # type: ignore[assignment]  # the library has no protocol for it


def open_postgres(url: str, settings: Settings, *, create: bool = True) -> PostgresStore:
    """Open the store in a database, and make its tables if they are missing.

    Args:
        url: of the database.
        settings: of the calls.
        create: whether to make a store of a database that is none.

    Raises:
        StoreError: it is the database of something else, or no store and none is to be made; nothing was written.
    """
    # One connection first: it tells at once, and why, if the server cannot be reached.
    with migrating(url, settings) as connection:
        check_is_ours(connection, create)
    datastore = datastore_of(url, settings)
    datastore.pool.reconnect_timeout = _TRY  # each call tries again by itself; the pool would, ever more seldom
    datastore.pool.open()
    store = PostgresStore(datastore, deadline=settings.deadline)
    store.create_table()
    return store


def migrate(url: str, settings: Settings) -> str:
    """Bring the tables of a database up to date, and return the version that they were of. See `migration`."""
    with migrating(url, settings) as connection:
        check_has_no_code(connection)
        connection.execute(f"SET statement_timeout = {round(settings.deadline * 1_000)}")
        return PostgresRecorder(datastore_of(url, settings)).migrate(connection)
