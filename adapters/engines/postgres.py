"""The log, and the keys, in PostgreSQL: where several processes or machines write.

The tables are those of `sqlite`. An append is one statement, one round trip: it calls a function of ours that takes an
advisory lock, checks, and writes. Appends come one after the other, so positions rise without gaps in the order of the
commits, and a reader that follows the log misses none.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from eventsourcing import postgres as library  # its factory is not named here: the library takes a module to have one
from eventsourcing.persistence import ProcessRecorder, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore, PostgresTrackingRecorder
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL, Composed

from lastresort.domain.ports import CommandRecorded, Place, VersionConflict

from .beside import REBUILD, TABLES, BesideTheLog, Statement, in_postgres
from .recorders import ENDS, READ, SCHEMA, Entry, Settings, Tables, by_branch, check_migration, check_schema, tables_of
from .watch import Watch

_MIGRATION_LOCK = 0x1A57_2E50  # any numbers that nobody else locks: one process at a time makes the tables,
_APPEND_LOCK = 0x1A57_2E51  # and one at a time appends
GRACE = 0.25  # seconds for the server to say itself that a deadline has passed
_TRY = 0.5  # seconds that one attempt to get a connection may take
_TAKEN, _RECORDED = "LR001", "LR002"  # what our function raises
_TABLES = (
    "CREATE TABLE IF NOT EXISTS {schema}.{events} (notification_id bigint NOT NULL UNIQUE, "
    "originator_id text NOT NULL, originator_version bigint NOT NULL, topic text NOT NULL, state bytea NOT NULL, "
    "digest bytea, schema_version int, recorded_at text, command_id text, nth int, correlation_id text, "
    "PRIMARY KEY (originator_id, originator_version), "
    "UNIQUE (command_id, nth))",
    "CREATE TABLE IF NOT EXISTS {schema}.contents (position bigint PRIMARY KEY, data bytea NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {schema}.meta (name text PRIMARY KEY, value text NOT NULL)",
    f"INSERT INTO {{schema}}.meta VALUES ('schema', '{SCHEMA}') ON CONFLICT DO NOTHING",
    *(in_postgres(statement) for statement in TABLES),
    # A volatile function sees what was committed before each of its statements, hence all that others wrote before they
    # let go of the lock. `begins` is null for an event that is to be written as it is.
    f"""CREATE OR REPLACE FUNCTION {{schema}}.write_event(branch text, version bigint, kind text, state bytea,
        digest bytea, schema_version int, recorded_at text, command text, nth int, correlation text,
        begins boolean, sealed bytea, joins text, snapshot bytea)
    RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
    DECLARE place bigint; tree bigint;
    BEGIN
        PERFORM pg_advisory_xact_lock({_APPEND_LOCK});
        IF nth = 0 AND EXISTS (SELECT 1 FROM {{schema}}.{{events}} e WHERE e.command_id = command) THEN
            RAISE EXCEPTION USING ERRCODE = '{_RECORDED}', MESSAGE = command;
        END IF;
        IF begins THEN
            IF EXISTS (SELECT 1 FROM {{schema}}.{{events}} e WHERE e.originator_id = branch) THEN
                RAISE EXCEPTION USING ERRCODE = '{_TAKEN}', MESSAGE = 'branch ' || branch || ' has begun';
            END IF;
        ELSIF NOT begins AND NOT EXISTS (SELECT 1 FROM {{schema}}.{{events}} e
                WHERE e.originator_id = branch AND e.originator_version = version - 1) THEN
            RAISE EXCEPTION USING ERRCODE = '{_TAKEN}',
                MESSAGE = 'branch ' || branch || ': version ' || version || ' leaves a gap';
        END IF;
        SELECT coalesce(max(e.notification_id), 0) + 1 INTO place FROM {{schema}}.{{events}} e;
        INSERT INTO {{schema}}.{{events}}
            VALUES (place, branch, version, kind, state, digest,
                schema_version, recorded_at, command, nth, correlation);
        IF sealed IS NOT NULL THEN
            INSERT INTO {{schema}}.contents VALUES (place, sealed);
        END IF;
        IF begins AND joins IS NULL THEN
            INSERT INTO {{schema}}.branches VALUES (place, place, NULL, 0);
        ELSIF begins THEN
            SELECT e.notification_id INTO tree FROM {{schema}}.{{events}} e
                WHERE e.originator_id = joins ORDER BY e.originator_version LIMIT 1;
            INSERT INTO {{schema}}.branches VALUES (place, coalesce(tree, 0), NULL, 1);
            UPDATE {{schema}}.branches SET branched = 1 WHERE position = tree AND branched = 0;
        ELSIF kind = '{ENDS}' THEN
            UPDATE {{schema}}.branches SET ended = place WHERE ended IS NULL AND position = (
                SELECT e.notification_id FROM {{schema}}.{{events}} e
                WHERE e.originator_id = branch ORDER BY e.originator_version LIMIT 1);
        END IF;
        IF snapshot IS NOT NULL THEN
            INSERT INTO {{schema}}.snapshots VALUES (branch, version, snapshot)
                ON CONFLICT (originator_id, originator_version) DO UPDATE SET data = snapshot;
        END IF;
        RETURN place;
    END $$""",
)
_KEYS = (
    "CREATE SCHEMA IF NOT EXISTS lastresort_keys",
    "CREATE TABLE IF NOT EXISTS lastresort_keys.keys (name bytea PRIMARY KEY, key bytea NOT NULL, conversation text)",
    "CREATE INDEX IF NOT EXISTS keys_of ON lastresort_keys.keys (conversation)",
    "CREATE TABLE IF NOT EXISTS lastresort_keys.master (fingerprint text PRIMARY KEY)",
)
Result = TypeVar("Result")


def connect(url: str, settings: Settings, **options: Any) -> psycopg.Connection[Any]:
    """Open a connection on which nothing waits for ever."""
    at = conninfo_to_dict(url)
    at.setdefault("connect_timeout", str(max(1, round(settings.deadline))))
    connection = psycopg.connect(**{**at, **options}, autocommit=True)
    _bound(connection, settings)
    return connection


def _bound(connection: psycopg.Connection[Any], settings: Settings) -> None:
    milliseconds = max(2, round(settings.deadline * 1_000))
    for timeout in ("statement_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(f"SET {timeout} = {milliseconds}")
    connection.execute(f"SET lock_timeout = {milliseconds * 9 // 10}")  # first, since it says more


@contextmanager
def _migrating(url: str, settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """Make tables, one process at a time: together they would trip over each other, and who waits need not hurry."""
    with connect(url, settings) as connection:
        connection.execute("SET lock_timeout = 60000")
        connection.execute("SET statement_timeout = 60000")
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            yield connection


class PostgresRecorder(BesideTheLog, PostgresApplicationRecorder):
    """Keeps the log in PostgreSQL. Appends are serialized, so positions rise in the order of commits."""

    deadline = Settings().deadline

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = "stored_events") -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        self._watch = Watch()
        self.sql_create_statements = [self._composed(statement) for statement in _TABLES]
        arguments = ", ".join(f"%s::{kind}" for kind in _ARGUMENTS)
        self._write_one = self._composed(f"SELECT {{schema}}.write_event({arguments})")
        arrays = ", ".join(f"%s::{kind}[]" for kind in _ARGUMENTS)
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
            c.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            tables = self._made(c.connection)
            check_schema(tables)
            if not self._tables() <= tables.made:
                self._create_table(c)

    def _tables(self) -> set[str]:
        return {self.events_table_name, "contents", "meta", "branches", "snapshots"}

    # --- writing --------------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], erased: Sequence[Place] = ()) -> int:
        rows = [(*row, *beside) for row, *beside in entries]
        tries = 0

        def write(connection: psycopg.Connection[Any]) -> int:
            nonlocal tries
            tries += 1
            return self._write(connection, rows, erased)

        try:
            return self._again_if_lost(write)
        except errors.UniqueViolation as error:
            raise VersionConflict(str(error)) from None
        except psycopg.Error as error:
            if error.sqlstate == _TAKEN:
                raise VersionConflict(error.diag.message_primary) from None
            if error.sqlstate == _RECORDED:
                if tries > 1 and (position := self._written(entries[0])):
                    return position
                raise CommandRecorded(error.diag.message_primary) from None
            raise

    def _written(self, entry: Entry) -> int | None:
        """Return the position of `entry` if it is in the log: the answer to the append that wrote it was lost."""
        found = next(iter(self.select_command(entry.row.command_id)), None)
        return int(found[0]) if found is not None and found[1:5] == tuple(entry.row[:4]) else None

    def _write(self, c: psycopg.Connection[Any], rows: Sequence[tuple[Any, ...]], erased: Sequence[Place]) -> int:
        if not erased:
            return self._inserted(c, rows)
        with c.transaction():
            position = self._inserted(c, rows)
            c.execute(self._erase, ([place.branch for place in erased], [place.version for place in erased]))
        return position

    def _inserted(self, c: psycopg.Connection[Any], rows: Sequence[tuple[Any, ...]]) -> int:
        if not rows:
            return 0
        cursor = c.cursor(row_factory=tuple_row)
        if len(rows) == 1:
            cursor.execute(self._write_one, rows[0], prepare=True)
        else:
            cursor.execute(self._write_many, [list(column) for column in zip(*rows, strict=True)])
        return int((cursor.fetchone() or (0,))[0])

    def _again_if_lost(self, act: Callable[[psycopg.Connection[Any]], Result]) -> Result:
        """Do `act` on a connection, and again on a new one if the connection was lost, until the deadline.

        An append whose answer was lost may have been committed. To send it again does no harm: it takes effect
        once, by its command's id, and who sent it learns that it was recorded.
        """
        until = time.monotonic() + self.deadline
        while True:
            try:
                left = max(0.0, min(_TRY, until - time.monotonic()))
                with (
                    self.datastore.pool.connection(timeout=left) as connection,
                    self._watch.over(connection.fileno(), until + GRACE),
                ):
                    return act(connection)
            except (errors.LockNotAvailable, errors.QueryCanceled):
                raise
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if time.monotonic() > until:
                    raise
                self.datastore.pool.check()  # has it drop the other connections that were lost
                time.sleep(0.01)

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Write events of the library's, as they are, in one plain transaction.

        Neither with the library's pipeline, which hangs above some 0.3 MB, nor with its retries.
        """
        positions = []
        with self.datastore.transaction(commit=True) as c:
            self._insert_events(c, stored_events, **kwargs)
            for e in stored_events:
                row = (e.originator_id, e.originator_version, e.topic, e.state)
                c.execute(self._write_one, (*row, *[None] * (len(_ARGUMENTS) - len(row))), prepare=True)
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
                if version in versions:
                    kept[Place(branch, version)] = data
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
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_APPEND_LOCK,))
        check_migration(tables := self._made(connection))
        version = tables.version
        if version == "1":
            connection.execute(
                self._composed(f"DROP FUNCTION IF EXISTS {{schema}}.write_event({', '.join(_ARGUMENTS_1)})")
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
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_APPEND_LOCK,))
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
        self.datastore.close()


_ARGUMENTS_1 = ("text", "bigint", "text", "bytea", "bytea", "int", "text", "text", "int", "text", "boolean", "bytea")
_ARGUMENTS = (*_ARGUMENTS_1, "text", "bytea")  # those before were the arguments in version 1 of the tables


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


def open_recorder(url: str, settings: Settings) -> PostgresRecorder:
    """Open the recorder of a database, and make the tables, of the keys too, if they are missing."""
    # One connection first: it tells at once, and why, if the server cannot be reached.
    with _migrating(url, settings) as connection:
        for statement in _KEYS:
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
    with _migrating(url, settings) as connection:
        connection.execute(f"SET statement_timeout = {round(settings.deadline * 1_000)}")
        return PostgresRecorder(_datastore(url, settings)).migrate(connection)
