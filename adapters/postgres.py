"""The log, and the keys, in PostgreSQL: where several processes or machines write."""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from lastresort.domain.ports import CommandRecorded

from .recorders import Beside, LogRecorder, Span, check_follows, first_versions

_MIGRATION_LOCK = 0x1A57_2E50  # any number that nobody else locks: one process at a time creates tables
_LOCK_SECONDS = 2
_TABLES = (
    "CREATE TABLE IF NOT EXISTS commands (command_id text, ordinal int, branch text, first bigint, last bigint, "
    "PRIMARY KEY (command_id, ordinal))",
    "CREATE TABLE IF NOT EXISTS contents (digest text PRIMARY KEY, data bytea NOT NULL)",
)
_KEYS = (
    "CREATE SCHEMA IF NOT EXISTS lastresort_keys",
    "CREATE TABLE IF NOT EXISTS lastresort_keys.keys (conversation text PRIMARY KEY, key bytea NOT NULL)",
)


class PostgresRecorder(PostgresApplicationRecorder, LogRecorder):
    """Keeps the log in PostgreSQL. Appends are serialized, so positions rise in the order of commits."""

    def __init__(self, url: str) -> None:
        # One connection first: it tells at once, and why, if the server cannot be reached.
        with psycopg.connect(url, autocommit=True) as connection:
            self._set_up(connection, {**conninfo_to_dict(url)})

    def _set_up(self, connection: psycopg.Connection, at: dict[str, Any]) -> None:
        """Make the tables, one process at a time: together they would trip over each other."""
        connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        super().__init__(
            PostgresDatastore(
                dbname=at.get("dbname", "postgres"),
                host=at.get("host", "127.0.0.1"),
                port=at.get("port", 5432),
                user=at.get("user", "postgres"),
                password=at.get("password", ""),
                lock_timeout=_LOCK_SECONDS,
                pool_size=2,
                max_overflow=8,
                originator_id_type="text",
            )
        )
        self.datastore.pool.kwargs = {**at, "row_factory": dict_row}  # with what the library has no parameter for
        self.create_table()
        for statement in (*_TABLES, *_KEYS):
            connection.execute(statement)

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Write an append in one plain transaction.

        Neither the library's pipeline, which hangs above some 0.3 MB, nor its retries: a commit whose answer was lost
        is resolved by the command id, not by inserting again.
        """
        beside: Beside = kwargs.get("beside", Beside())
        with self.datastore.transaction(commit=True) as c:
            self._lock_table(c)
            self._notify_channel(c)
            c.execute("SELECT command_id FROM commands WHERE command_id = ANY(%s) LIMIT 1", (beside.command_ids,))
            if row := c.fetchone():
                raise CommandRecorded(row["command_id"])
            for branch, first in first_versions(stored_events).items():
                c.execute("SELECT MAX(originator_version) FROM stored_events WHERE originator_id = %s", (branch,))
                check_follows(branch, first, c.fetchall()[0]["max"], beside.starts.get(branch))
            for span in beside.spans:
                c.execute("INSERT INTO commands VALUES (%s, %s, %s, %s, %s)", span)
            for content in beside.contents:
                c.execute("INSERT INTO contents VALUES (%s, %s)", content)
            c.execute("DELETE FROM contents WHERE digest = ANY(%s)", (list(beside.erased),))
            c.execute(
                "INSERT INTO stored_events (originator_id, originator_version, topic, state) "
                "SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::bytea[]) RETURNING notification_id",
                (
                    [event.originator_id for event in stored_events],
                    [event.originator_version for event in stored_events],
                    [event.topic for event in stored_events],
                    [event.state for event in stored_events],
                ),
            )
            return [row["notification_id"] for row in c.fetchall()]

    def select_spans(self, command_id: str) -> list[Span]:
        with self.datastore.get_connection() as connection, connection.cursor() as c:
            c.execute("SELECT * FROM commands WHERE command_id = %s ORDER BY ordinal", (command_id,))
            return [Span(**row) for row in c.fetchall()]

    def select_contents(self, digests: Iterable[str]) -> dict[str, bytes]:
        with self.datastore.get_connection() as connection, connection.cursor() as c:
            c.execute("SELECT digest, data FROM contents WHERE digest = ANY(%s)", (list(digests),))
            return {row["digest"]: bytes(row["data"]) for row in c.fetchall()}

    def close(self) -> None:
        self.datastore.close()


class PostgresKeys:
    """Keys in a schema of their own, so that they can be backed up, or not, apart from the log."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def get(self, conversation: str) -> bytes | None:
        row = self._connection.execute(
            "SELECT key FROM lastresort_keys.keys WHERE conversation = %s", (conversation,)
        ).fetchone()
        return bytes(row[0]) if row else None

    def put(self, conversation: str, key: bytes) -> None:
        self._connection.execute(
            "INSERT INTO lastresort_keys.keys VALUES (%s, %s) ON CONFLICT DO NOTHING", (conversation, key)
        )

    def destroy(self, conversation: str) -> None:
        self._connection.execute("DELETE FROM lastresort_keys.keys WHERE conversation = %s", (conversation,))

    def close(self) -> None:
        self._connection.close()
