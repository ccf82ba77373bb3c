"""The tables of views in PostgreSQL."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from psycopg.sql import SQL, Composed, Identifier

from lastresort.adapters.databases.errors import reached
from lastresort.adapters.databases.postgres import MIGRATION_LOCK

from .tables import MARKS, Transaction

_TRACKING = "lastresort_tracking"


class PostgresTables(PostgresTrackingRecorder):
    """Tables of views in the schema of a store.

    Args:
        datastore: of the database, open.
        statements: make the views' own tables.
    """

    def __init__(self, datastore: PostgresDatastore, statements: Sequence[str]) -> None:
        super().__init__(datastore, tracking_table_name=_TRACKING)
        with reached(), datastore.transaction(commit=True) as cursor:
            # Alone: `IF NOT EXISTS` alone trips over others who make the same table.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            cursor.execute("SELECT to_regclass(%s) IS NULL AS missing", (f"{datastore.schema}.{_TRACKING}",))
            found = cursor.fetchone()
            if found is not None and found["missing"]:
                self._create_table(cursor)
            for statement in (MARKS, *statements):
                cursor.execute(self._composed(statement))

    @contextmanager
    def transaction(self, name: str) -> Iterator[Transaction]:
        with reached(), self.datastore.transaction(commit=True) as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"{self.datastore.schema} {name}",))
            yield Transaction(name, self, cursor, _TRACKING, self._composed)

    def rows(self, statement: str, *params: Any) -> list[Any]:
        with reached(), self.datastore.transaction(commit=False) as cursor:
            cursor.execute(self._composed(statement), params)
            return list(cursor.fetchall())

    def _composed(self, statement: str) -> Composed:
        text = statement.replace("{schema}", "{schema}.")
        return SQL(text).format(schema=Identifier(self.datastore.schema))


def mark_in(schema: str) -> tuple[str, tuple[str, ...], Composed]:
    """Return what asks whether there are followers, its parameters, and what asks how far one has come."""
    asked = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'followers'"
    found = SQL(
        "SELECT t.notification_id AS position, f.branch, f.version, f.command_id FROM {schema}.{table} t "
        "JOIN {schema}.followers f ON f.name = t.application_name WHERE t.application_name = %s "
        "ORDER BY position DESC LIMIT 1"
    )
    return asked, (schema,), found.format(schema=Identifier(schema), table=Identifier(_TRACKING))


def tally_in(schema: str, table: str, column: str) -> tuple[str, tuple[str, ...], Composed]:
    """Return what asks whether there is a table, its parameters, and what counts its rows."""
    made = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = %s"
    asked = SQL("SELECT count(*) AS number, min({column}) AS least FROM {schema}.{table}")
    names = {"schema": Identifier(schema), "table": Identifier(table), "column": Identifier(column)}
    return made, (schema, table), asked.format(**names)
