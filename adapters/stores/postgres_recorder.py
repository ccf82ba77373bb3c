"""The library's recorders on our tables in PostgreSQL."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg
from eventsourcing.persistence import ProcessRecorder
from eventsourcing.persistence import StoredEvent as LibraryEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore, PostgresTrackingRecorder
from psycopg import errors
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL, Composed

from lastresort.adapters.databases.postgres import MIGRATION_LOCK, UNHURRIED, address_of, bound
from lastresort.adapters.databases.settings import Settings

from .derived import INDEX, REBUILD, in_postgres
from .postgres_tables import APPEND_LOCK, ARGUMENTS, ARGUMENTS_1, MADE
from .schema import SCHEMA, Tables, check_migration, check_schema, tables_of


class PostgresRecorder(PostgresApplicationRecorder):
    """The library's recorder on our tables, written to by our function."""

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = "stored_events") -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        self.channel_name = f"{self.datastore.schema}.{self.events_table_name}"  # the library's is every schema's
        self.sql_create_statements = [self._composed(statement) for statement in MADE]
        arguments = ", ".join(f"%s::{kind}" for kind in ARGUMENTS)
        self._write_one = self._composed(f"SELECT {{schema}}.write_event({arguments})")

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
            c.execute(UNHURRIED)
            c.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            tables = self._made(c.connection)
            check_schema(tables)
            missing = self._wanted() - tables.made
            if missing == {INDEX}:  # without which all is read as well, if more slowly
                with suppress(errors.InsufficientPrivilege), c.connection.transaction():
                    self._create_table(c)
            elif missing:
                self._create_table(c)

    def _wanted(self) -> set[str]:
        return {self.events_table_name, "contents", "meta", "branches", INDEX, "snapshots"}

    def _made(self, connection: psycopg.Connection[Any]) -> Tables:
        cursor = connection.cursor(row_factory=tuple_row)
        # With the indexes: making one that is there waits for who writes, and who writes may wait for it.
        found = cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %(schema)s"
            " UNION SELECT indexname FROM pg_indexes WHERE schemaname = %(schema)s",
            {"schema": self.datastore.schema},
        )
        made = {name for (name,) in found.fetchall()}
        return tables_of(
            made,
            self.events_table_name,
            lambda statement: cursor.execute(self._composed(in_postgres(statement))).fetchone(),
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
        once = f'"{self.events_table_name}_command_id_nth_key"'  # by which ids were unique in the store, before 3
        connection.execute(self._composed(f"ALTER TABLE {{schema}}.{{events}} DROP CONSTRAINT IF EXISTS {once}"))
        for statement in self.sql_create_statements:
            connection.execute(statement)
        for rebuild, _ in REBUILD:
            connection.execute(self._composed(in_postgres(rebuild)))
        connection.execute(self._composed("UPDATE {schema}.meta SET value = %s WHERE name = 'schema'"), (str(SCHEMA),))
        return str(version)

    # --- the library's own way to write ---------------------------------------------------------------------------

    def insert_events(self, stored_events: Sequence[LibraryEvent], **kwargs: Any) -> Sequence[int] | None:
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

    def _wanted(self) -> set[str]:
        return super()._wanted() | {self.tracking_table_name}

    def _insert_events(self, curs: Any, stored_events: Sequence[LibraryEvent], **kwargs: Any) -> None:
        if (tracking := kwargs.get("tracking")) is not None:
            self._insert_tracking(curs, tracking=tracking)


def datastore_of(url: str, settings: Settings) -> PostgresDatastore:
    """Return the library's, not yet open, with what it has no parameter for, and without what the URL does not name."""
    datastore = PostgresDatastore("", "", "", "", "", pool_size=1, max_overflow=9, originator_id_type="text")
    datastore.pool.kwargs = {**address_of(url, settings.deadline), "row_factory": dict_row, "autocommit": True}
    datastore.pool._configure = lambda connection: bound(connection, settings)
    return datastore
