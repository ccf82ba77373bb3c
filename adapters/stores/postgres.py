"""The log, and the keys, in PostgreSQL: where several processes or machines write.

The tables are those of `sqlite`. An append is one statement, one round trip: it calls a function of ours that takes an
advisory lock, checks, and writes. Appends come one after the other, so positions rise without gaps in the order of the
commits, and a reader that follows the log misses none.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg
from eventsourcing import postgres as library  # its factory is not named here: the library takes a module to have one
from eventsourcing.persistence import ProcessRecorder, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore, PostgresTrackingRecorder
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL, Composed

from lastresort.adapters.databases.postgres import GRACE, MIGRATION_LOCK, _bound, migrating
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.databases.watch import Watch
from lastresort.application.ports import CommandRecorded, Place, VersionConflict

from .beside import REBUILD, BesideTheLog, Statement, in_postgres
from .postgres_tables import APPEND_LOCK, ARGUMENTS, ARGUMENTS_1, KEYS, MADE, RECORDED, TAKEN, check_is_ours
from .recorders import READ, SCHEMA, Entry, Tables, by_branch, check_migration, check_schema, tables_of

_TRY = 0.5  # seconds that one attempt to get a connection may take
_APPEND = b"lastresort_append"  # a prepared statement of each connection that has appended
_BINARY = (1,) * len(ARGUMENTS)  # the format of each
_WELL = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
Result = TypeVar("Result")


class PostgresRecorder(BesideTheLog, PostgresApplicationRecorder):
    """Keeps the log in PostgreSQL. Appends are serialized, so positions rise in the order of commits."""

    deadline = Settings().deadline

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = "stored_events") -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        self._watch = Watch()
        self._lock = Lock()
        self._at_hand: psycopg.Connection[Any] | None = None
        self._closed = False
        self._prepared: WeakSet[psycopg.Connection[Any]] = WeakSet()
        self.sql_create_statements = [self._composed(statement) for statement in MADE]
        arguments = ", ".join(f"%s::{kind}" for kind in ARGUMENTS)
        self._write_one = self._composed(f"SELECT {{schema}}.write_event({arguments})")
        numbered = ", ".join(f"${number}::{kind}" for number, kind in enumerate(ARGUMENTS, start=1))
        self._append = self._composed(f"SELECT {{schema}}.write_event({numbered})").as_bytes()
        arrays = ", ".join(f"%s::{kind}[]" for kind in ARGUMENTS)
        self._write_many = self._composed(
            f"SELECT {{schema}}.write_event(b, v, k, s, h, w, r, c, n, o, g, d, j, t) FROM unnest({arrays}) "
            "WITH ORDINALITY AS e (b, v, k, s, h, w, r, c, n, o, g, d, j, t, place) ORDER BY place"
        )
        self._erase = self._composed(
            "DELETE FROM {schema}.contents USING {schema}.{events} e, "
            "unnest(%s::text[], %s::bigint[]) AS erased (b, v) "
            "WHERE position = e.notification_id AND e.originator_id = b AND e.originator_version = v"
        )

    def _composed(self, statement: str) -> Composed:
        table, schema = self.events_table_name, self.datastore.schema
        return SQL(statement.replace("{events}", f'"{table}"').replace("{schema}", f'"{schema}"')).format()

    # --- the tables -----------------------------------------------------------------------------------------------

    def create_table(self) -> None:
        """Make the tables that are missing.

        Raises:
            StoreError: the tables are of another version of this program.
        """
        with self.datastore.transaction(commit=True) as c:
            c.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            tables = self._made(c.connection)
            check_schema(tables)
            if not self._tables() <= tables.made:
                self._create_table(c)

    def _tables(self) -> set[str]:
        return {self.events_table_name, "contents", "meta", "branches", "snapshots"}

    # --- writing --------------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], erased: Sequence[Place] = ()) -> int:
        tries = 0

        def write(connection: psycopg.Connection[Any]) -> int:
            nonlocal tries
            tries += 1
            return self._write(connection, entries, erased)

        try:
            return self._again_if_lost(write)
        except errors.UniqueViolation as error:
            raise VersionConflict(str(error)) from None
        except psycopg.Error as error:
            if error.sqlstate == TAKEN:
                raise VersionConflict(error.diag.message_primary) from None
            if error.sqlstate == RECORDED:
                if tries > 1 and (position := self._written(entries[0])):
                    return position
                raise CommandRecorded(error.diag.message_primary) from None
            raise

    def _written(self, entry: Entry) -> int | None:
        """Return the position of `entry` if it is in the log: the answer to the append that wrote it was lost."""
        found = next(iter(self.select_command(entry.row.command_id)), None)
        return int(found[0]) if found is not None and found[1:5] == tuple(entry.row[:4]) else None

    def _write(self, connection: psycopg.Connection[Any], entries: Sequence[Entry], erased: Sequence[Place]) -> int:
        if not erased:
            return (
                self._inserted_one(connection, entries[0]) if len(entries) == 1 else self._inserted(connection, entries)
            )
        with connection.transaction():
            position = self._inserted(connection, entries)
            places = [place.branch for place in erased], [place.version for place in erased]
            connection.execute(self._erase, places)
        return position

    def _inserted(self, connection: psycopg.Connection[Any], entries: Sequence[Entry]) -> int:
        if not entries:
            return 0
        columns = zip(*((*row, *beside) for row, *beside in entries), strict=True)
        cursor = connection.cursor(row_factory=tuple_row)
        cursor.execute(self._write_many, [list(column) for column in columns])
        return int((cursor.fetchone() or (0,))[0])

    def _inserted_one(self, connection: psycopg.Connection[Any], entry: Entry) -> int:
        """Write one entry, which is what a turn is, by libpq itself: the driver's own way there costs half a commit."""
        row, begins, sealed, joins, snapshot = entry
        branch, version, kind, state, digest, schema_version, recorded_at, command, nth, correlation = row
        values = (
            branch.encode(),
            version.to_bytes(8),
            kind.encode(),
            state,
            digest,
            schema_version.to_bytes(4),
            str(recorded_at).encode(),
            command.encode(),
            nth.to_bytes(4),
            None if correlation is None else correlation.encode(),
            b"\1" if begins else b"\0",
            sealed,
            None if joins is None else joins.encode(),
            snapshot,
        )
        return int.from_bytes(self._executed(connection, values).get_value(0, 0) or b"")

    def _executed(self, connection: psycopg.Connection[Any], values: Sequence[bytes | None]) -> PGresult:
        """Execute the append that is prepared on a connection, and prepare it where it is not."""
        if connection in self._prepared:
            # When it rolls back, the driver drops all that was prepared on a connection.
            with suppress(errors.InvalidSqlStatementName):
                return _executed(connection, values)
        self._prepared.add(connection)  # first: should this be interrupted, it is found out above
        _checked(connection, connection.pgconn.prepare(_APPEND, self._append))
        return _executed(connection, values)

    def _again_if_lost(self, act: Callable[[psycopg.Connection[Any]], Result]) -> Result:
        """Do `act` on a connection, and again on a new one if the connection was lost, until the deadline.

        An append whose answer was lost may have been committed. To send it again does no harm: it takes effect
        once, by its command's id, and who sent it learns that it was recorded.
        """
        until = time.monotonic() + self.deadline
        while True:
            try:
                return self._once(act, until)
            except (errors.LockNotAvailable, errors.QueryCanceled):
                raise
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if time.monotonic() > until:
                    raise
                self.datastore.pool.check()  # has it drop the other connections that were lost
                time.sleep(0.01)

    def _once(self, act: Callable[[psycopg.Connection[Any]], Result], until: float) -> Result:
        """Do `act` on the connection at hand, or on one of the pool's.

        One is kept at hand, since the pool takes a tenth of a turn to hand one out and to take it back.
        """
        with self._lock:
            connection, self._at_hand = self._at_hand, None
        if connection is None:
            connection = self.datastore.pool.getconn(timeout=max(0.0, min(_TRY, until - time.monotonic())))
        try:
            socket = connection.pgconn.socket
            self._watch.begin(socket, until + GRACE)
            try:
                result = act(connection)
            finally:
                self._watch.end(socket)
        except BaseException:
            self.datastore.pool.putconn(connection)
            raise
        with self._lock:
            if self._at_hand is None and not self._closed:
                self._at_hand = connection
                return result
        self.datastore.pool.putconn(connection)
        return result

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Write events of the library's, as they are, in one plain transaction.

        Neither with the library's pipeline, which hangs above some 0.3 MB, nor with its retries.
        """
        positions = []
        with self.datastore.transaction(commit=True) as c:
            self._insert_events(c, stored_events, **kwargs)
            for e in stored_events:
                row = (e.originator_id, e.originator_version, e.topic, e.state)
                c.execute(self._write_one, (*row, *[None] * (len(ARGUMENTS) - len(row))), prepare=True)
                positions += [position for fetched in c.fetchall() for position in fetched.values()]
            if stored_events:
                self._notify_channel(c)
        return positions

    # --- reading --------------------------------------------------------------------------------------------------

    def _select(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        query = self._composed(statement)

        def fetch(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
            cursor = connection.cursor(row_factory=tuple_row, binary=True)
            return cursor.execute(query, params, prepare=True).fetchall()

        return self._again_if_lost(fetch)

    def select_branch(self, branch: str, after: int, upto: int | None, limit: int | None) -> list[tuple[Any, ...]]:
        return self._select(
            f"SELECT 0, {READ} FROM {{schema}}.{{events}} WHERE originator_id = %s AND originator_version > %s "
            "AND originator_version <= %s ORDER BY originator_version LIMIT %s",
            *(branch, after, 2**62 if upto is None else upto, limit),
        )

    def select_log(self, after: int, limit: int) -> list[tuple[Any, ...]]:
        return self._select(
            f"SELECT notification_id, {READ} FROM {{schema}}.{{events}} WHERE notification_id > %s "
            "ORDER BY notification_id LIMIT %s",
            *(after, limit),
        )

    def select_command(self, command_id: str) -> list[tuple[Any, ...]]:
        return self._select(
            f"SELECT notification_id, {READ} FROM {{schema}}.{{events}} WHERE command_id = %s ORDER BY nth", command_id
        )

    def select_contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        kept: dict[Place, bytes] = {}
        for branch, versions in by_branch(places).items():
            for version, data in self._select(
                "SELECT originator_version, data FROM {schema}.{events} JOIN {schema}.contents "
                "ON position = notification_id WHERE originator_id = %s AND originator_version BETWEEN %s AND %s",
                *(branch, min(versions), max(versions)),
            ):
                if (place := versions.get(version)) is not None:
                    kept[place] = data
        return kept

    def select_at(self, positions: Sequence[int]) -> list[tuple[Any, ...]]:
        return self._select(
            f"SELECT notification_id, {READ} FROM {{schema}}.{{events}} WHERE notification_id = ANY(%s)",
            list(positions),
        )

    def migrate(self, connection: psycopg.Connection[Any]) -> str:
        """Bring the tables up to date in the transaction of `connection`; return the version that they were of.

        Raises:
            StoreError: there are none, or they cannot be brought up to date; it says why.
        """
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        check_migration(tables := self._made(connection))
        version = tables.version
        if version == "1":
            connection.execute(
                self._composed(f"DROP FUNCTION IF EXISTS {{schema}}.write_event({', '.join(ARGUMENTS_1)})")
            )
        for statement in self.sql_create_statements:
            connection.execute(statement)
        for rebuild, _ in REBUILD:
            connection.execute(self._composed(in_postgres(rebuild)))
        connection.execute(self._composed("UPDATE {schema}.meta SET value = %s WHERE name = 'schema'"), (str(SCHEMA),))
        return str(version)

    def _rows(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        return self._select(in_postgres(statement), *params)

    def _change(self, *statements: Statement) -> None:
        def change(connection: psycopg.Connection[Any]) -> None:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
                for statement, params in statements:
                    connection.execute(self._composed(in_postgres(statement)), params)

        self._again_if_lost(change)

    def _made(self, connection: psycopg.Connection[Any]) -> Tables:
        cursor = connection.cursor(row_factory=tuple_row)
        found = cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (self.datastore.schema,)
        )
        made = {name for (name,) in found.fetchall()}
        return tables_of(
            made,
            self.events_table_name,
            lambda statement: cursor.execute(self._composed(in_postgres(statement))).fetchone(),
        )

    def close(self) -> None:
        self._watch.close()
        with self._lock:
            connection, self._at_hand, self._closed = self._at_hand, None, True
        if connection is not None:
            self.datastore.pool.putconn(connection)
        self.datastore.close()


def _executed(connection: psycopg.Connection[Any], values: Sequence[bytes | None]) -> PGresult:
    # It takes nulls too, which its type does not say.
    result = connection.pgconn.exec_prepared(_APPEND, values, _BINARY, 1)  # type: ignore[arg-type]
    return _checked(connection, result)


def _checked(connection: psycopg.Connection[Any], result: PGresult) -> PGresult:
    """Return what libpq answered.

    Raises:
        psycopg.Error: what the driver itself would raise in its place.
    """
    if result.status in _WELL:
        return result
    if connection.pgconn.status == ConnStatus.BAD:
        raise psycopg.OperationalError(f"the connection is lost: {result.get_error_message().strip()}")
    raise errors.error_from_result(result)


class PostgresProcessRecorder(PostgresTrackingRecorder, PostgresRecorder, ProcessRecorder):
    """A log in which a projection's own events and its place in another log are written together."""

    def __init__(
        self,
        datastore: PostgresDatastore,
        *,
        events_table_name: str = "stored_events",
        tracking_table_name: str = "notification_tracking",
    ) -> None:
        super().__init__(datastore, tracking_table_name=tracking_table_name, events_table_name=events_table_name)

    def _tables(self) -> set[str]:
        return super()._tables() | {self.tracking_table_name}

    def _insert_events(self, curs: Any, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        if (tracking := kwargs.get("tracking")) is not None:
            self._insert_tracking(curs, tracking=tracking)


class Factory(library.PostgresFactory):
    """Makes our recorders, for `InfrastructureFactory.construct` with `PERSISTENCE_MODULE` set to this module."""

    application_recorder_class = PostgresRecorder
    process_recorder_class = PostgresProcessRecorder  # type: ignore[assignment]  # the library has no protocol for it


def _datastore(url: str, settings: Settings) -> PostgresDatastore:
    """The library's, not yet open, with what it has no parameter for, and without what the URL does not name."""
    datastore = PostgresDatastore("", "", "", "", "", pool_size=1, max_overflow=9, originator_id_type="text")
    datastore.pool.kwargs = {**conninfo_to_dict(url), "row_factory": dict_row, "autocommit": True}
    datastore.pool._configure = lambda connection: _bound(connection, settings)
    return datastore


def open_recorder(url: str, settings: Settings, *, create: bool = True) -> PostgresRecorder:
    """Open the recorder of a database, and make the tables, of the keys too, if they are missing.

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
        for statement in KEYS:
            connection.execute(statement)
    datastore = _datastore(url, settings)
    datastore.pool.reconnect_timeout = _TRY  # whoever needs a connection tries again, and not the pool ever more seldom
    datastore.pool.open()
    recorder = PostgresRecorder(datastore)
    recorder.deadline = settings.deadline
    recorder.create_table()
    return recorder


def migrate(url: str, settings: Settings) -> str:
    """Bring the tables of a database up to date, and return the version that they were of. See `migration`."""
    with migrating(url, settings) as connection:
        connection.execute(f"SET statement_timeout = {round(settings.deadline * 1_000)}")
        return PostgresRecorder(_datastore(url, settings)).migrate(connection)
