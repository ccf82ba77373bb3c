"""The tables of views in PostgreSQL."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from psycopg.sql import SQL, Composed, Identifier

from lastresort.adapters.databases.errors import reached
from lastresort.adapters.databases.postgres import MIGRATION_LOCK

from .follower import Mark
from .tables import MARKS, NAMES_LOG, Transaction, mark_in, mark_statement, not_made

_TRACKING = "lastresort_tracking"
_ALL = "SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s"


class PostgresTables(PostgresTrackingRecorder):
    """Tables of views in the schema of a store.

    Args:
        datastore: of the database, open.
        statements: make the views' own tables.
    """

    one_writer = False

    def __init__(self, datastore: PostgresDatastore, statements: Sequence[str]) -> None:
        super().__init__(datastore, tracking_table_name=_TRACKING)
        with reached(), datastore.transaction(commit=True) as cursor:
            # Alone: `IF NOT EXISTS` alone trips over others who make the same table.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            cursor.execute("SELECT to_regclass(%s) IS NULL AS missing", (f"{datastore.schema}.{_TRACKING}",))
            found = cursor.fetchone()
            if found is not None and found["missing"]:
                self._create_table(cursor)
            cursor.execute(_ALL, (datastore.schema,))
            for statement in not_made((MARKS, *statements), {row["name"] for row in cursor.fetchall()}):
                cursor.execute(self._composed(statement))
            cursor.execute(
                "SELECT 1 FROM information_schema.columns "
                "WHERE table_schema = %s AND table_name = 'followers' AND column_name = 'log'",
                (datastore.schema,),
            )
            if cursor.fetchone() is None:  # or else it would wait for all who follow
                cursor.execute(self._composed(NAMES_LOG))

    @contextmanager
    def transaction(self, name: str, *others: str) -> Iterator[Transaction]:
        with reached(), self.datastore.transaction(commit=True) as cursor:
            for one in (name, *others):
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"{self.datastore.schema} {one}",))
            yield Transaction(name, self, cursor, _TRACKING, self._composed)

    def rows(self, statement: str, *params: Any) -> list[Any]:
        with reached(), self.datastore.transaction(commit=False) as cursor:
            cursor.execute(self._composed(statement), params)
            return list(cursor.fetchall())

    def mark(self, name: str) -> Mark | None:
        return mark_in(self.rows(mark_statement(_TRACKING), name))

    def made(self) -> set[str]:
        return {row["name"] for row in self.rows(_ALL, self.datastore.schema)}

    def _composed(self, statement: str) -> Composed:
        text = statement.replace("{schema}", "{schema}.")
        return SQL(text).format(schema=Identifier(self.datastore.schema))


def asked_in(schema: str) -> tuple[str, tuple[str, ...], Composed]:
    """Return what asks whether there are followers, its parameters, and what asks how far one has come."""
    asked = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'followers'"
    found = mark_statement(_TRACKING).replace("{schema}", "{schema}.")
    return asked, (schema,), SQL(found).format(schema=Identifier(schema))


def tally_in(schema: str, table: str, column: str) -> tuple[str, tuple[str, ...], Composed]:
    """Return what asks whether there is a table, its parameters, and what counts its rows."""
    made = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = %s"
    asked = SQL("SELECT count(*) AS number, min({column}) AS least FROM {schema}.{table}")
    names = {"schema": Identifier(schema), "table": Identifier(table), "column": Identifier(column)}
    return made, (schema, table), asked.format(**names)
