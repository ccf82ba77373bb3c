"""The wrapped keys in PostgreSQL, in a schema of their own."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from threading import Lock
from typing import Any, TypeVar

import psycopg

from lastresort.adapters.databases.errors import StoreError, not_durable, reached
from lastresort.adapters.databases.postgres import GRACE, confirmed, connect, migrating
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.databases.watch import Watch
from lastresort.application.ports import Annotations

from .annotations import STATEMENT, TABLE, SQLAnnotations
from .keys import FENCE, FENCED, RETIRED, Doomed, KeyRow, names_of

_AGAIN = 0.05  # seconds until a connection is opened again
_KEYS = "lastresort_keys.keys"
_TABLES = (
    "CREATE SCHEMA IF NOT EXISTS lastresort_keys",
    "CREATE TABLE IF NOT EXISTS lastresort_keys.keys (name bytea PRIMARY KEY, key bytea NOT NULL, conversation text)",
    "CREATE INDEX IF NOT EXISTS keys_of ON lastresort_keys.keys (conversation)",
    "CREATE TABLE IF NOT EXISTS lastresort_keys.master (fingerprint text PRIMARY KEY)",
)


_ANNOTATIONS = f"lastresort_keys.{TABLE}"
_ANNOTATED = f"CREATE TABLE IF NOT EXISTS {_ANNOTATIONS} {STATEMENT.format(bytes='bytea')}"

_NOTED = "noted AS (SELECT 1 FROM lastresort_keys.master WHERE fingerprint = %s FOR SHARE)"
"""The master key that new keys are wrapped by, if it is the one that is named. It is locked, so that of a key that is
made and a rotation that begins one comes first, and the rotation finds the key."""

_IS_NOTED = "(%s = '' OR EXISTS (SELECT 1 FROM noted))"
_MADE = "SELECT count(*) FROM pg_tables WHERE schemaname = 'lastresort_keys' AND tablename IN ('keys', 'master')"


Result = TypeVar("Result")


class PostgresKeys:
    """Keys in a schema of their own, so that they can be backed up, or not, apart from the log."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._at = url, settings
        with migrating(url, settings) as connection:
            if connection.execute(_MADE).fetchone() != (2,):  # once: later it takes no right to make any
                for statement in _TABLES:
                    connection.execute(statement)
            if not _has_annotations(connection):
                with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                    connection.execute(_ANNOTATED)  # of a store from before, whose user may be allowed to make none
            self._annotated = _has_annotations(connection)
        self.annotations: Annotations = SQLAnnotations(self)
        self._connection = self._open()
        self._watch = Watch()
        self._lock = Lock()
        self._deadline = settings.deadline + GRACE

    def _open(self) -> psycopg.Connection[Any]:
        connection = connect(*self._at)
        connection.execute("SET synchronous_commit = off")  # but for what must be durable at once
        return connection

    def _execute(self, statement: str, *params: Any, durable: bool = True) -> tuple[Any, ...] | None:
        """Execute a statement that may be sent twice, and is, if the connection was lost."""
        return self._again_if_lost(lambda: self._fetch(statement, params, durable))

    def _again_if_lost(self, act: Callable[[], Result]) -> Result:
        """Use the connection, on which one transaction at a time can be under way; where it was lost, a new one."""
        until = time.monotonic() + self._deadline
        with reached(), self._lock:
            while True:
                try:
                    if self._connection.broken:
                        self._connection = self._open()
                    return act()
                except (psycopg.OperationalError, psycopg.InterfaceError):
                    if not self._connection.broken or time.monotonic() > until:
                        raise
                time.sleep(_AGAIN)  # while another server takes over, say

    def _watched(self) -> AbstractContextManager[None]:
        return self._watch.over(self._connection.fileno(), time.monotonic() + self._deadline)

    def _fetch(self, statement: str, params: Sequence[Any], durable: bool) -> tuple[Any, ...] | None:
        with self._watched():
            if not durable:
                cursor = self._connection.execute(statement, params)
                return cursor.fetchone() if cursor.description else None
            with self._connection.transaction():
                self._connection.execute("SET LOCAL synchronous_commit = on")
                cursor = self._connection.execute(statement, params)
                row = cursor.fetchone() if cursor.description else None
            if not confirmed(self._connection):
                raise not_durable("somebody cancelled the wait for standbys")
            return row

    def select(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """See `annotations.Rows`."""
        if not self._annotated:
            return []
        statement = statement.replace("{table}", _ANNOTATIONS)

        def fetch() -> list[tuple[Any, ...]]:
            with self._watched():
                return self._connection.execute(statement, params).fetchall()

        return self._again_if_lost(fetch)

    def change(
        self, statement: str, rows: Sequence[Sequence[Any]], *, erases: bool = False, whole: bool = False
    ) -> bool:
        """See `annotations.Rows`. What is deleted stays in PostgreSQL's pages until VACUUM, as keys do."""
        if not self._annotated:
            raise StoreError(
                f"it has no table {_ANNOTATIONS}, and this user may not make it: run `lastresort migrate` as its owner"
            )
        statement = statement.replace("{table}", _ANNOTATIONS)

        def change() -> bool:
            with self._watched(), self._connection.transaction():
                self._connection.execute("SET LOCAL synchronous_commit = on")
                with self._connection.cursor() as cursor:
                    cursor.executemany(statement, rows)
                    if whole and cursor.rowcount < len(rows):
                        raise psycopg.Rollback
                    # Last: `freeze` locks the table until its note can be seen. Either it waits, or this sees the note.
                    if cursor.execute(_IS_FENCED).fetchone():
                        raise StoreError(FENCED)
                    return True
            return False  # it was rolled back

        return self._again_if_lost(change)

    def of(self, conversation: str) -> tuple[bytes, bytes] | None:
        row = self._execute(
            f"SELECT name, key FROM {_KEYS} WHERE conversation = %s LIMIT 1", conversation, durable=False
        )
        return (bytes(row[0]), bytes(row[1])) if row else None

    def find(self, conversation: str, name: bytes) -> KeyRow | None:
        row = self._execute(
            f"SELECT name, key, conversation FROM {_KEYS} WHERE name = ANY(%s::bytea[]) "
            "AND (conversation = %s OR conversation IS NULL OR starts_with(conversation, %s))",
            *(list(names_of(name)), conversation, conversation + RETIRED),
            durable=False,
        )
        return KeyRow(bytes(row[0]), bytes(row[1]), row[2]) if row else None

    def add(self, keys: Sequence[tuple[bytes, bytes]], conversation: str, master: str = "") -> bool:
        owners = [conversation, *[None] * (len(keys) - 1)]
        row = self._execute(  # sent a second time, it finds what it has kept the first time
            f"WITH {_NOTED}, kept AS (INSERT INTO {_KEYS} AS k SELECT name, key, conversation "
            "FROM unnest(%s::bytea[], %s::bytea[], %s::text[]) AS made (name, key, conversation) "
            f"WHERE {_IS_NOTED} ON CONFLICT (name) DO UPDATE SET key = excluded.key WHERE k.key = excluded.key "
            "RETURNING 1) SELECT count(*) FROM kept",
            *(master, [name for name, _ in keys], [key for _, key in keys], owners, master),
        )
        if row not in ((len(keys),), (0,)):
            raise StoreError("a new key has the name of another, and was not kept; try again")
        return row == (len(keys),)

    def assign(self, name: bytes, wrapped: bytes, conversation: str | None, master: str = "") -> bool:
        row = self._execute(
            f"WITH {_NOTED} UPDATE {_KEYS} SET key = %s, conversation = %s WHERE name = %s AND {_IS_NOTED} RETURNING 1",
            *(master, wrapped, conversation, name, master),
            durable=False,
        )
        return row is not None

    def notes(self) -> list[str]:
        row = self._execute("SELECT array_agg(fingerprint) FROM lastresort_keys.master", durable=False)
        return list(row[0]) if row and row[0] else []

    def note(self, text: str) -> None:
        self._execute("INSERT INTO lastresort_keys.master VALUES (%s) ON CONFLICT DO NOTHING", text)

    def freeze(self, note: str) -> None:
        def freeze() -> None:
            with self._watched(), self._connection.transaction():
                self._connection.execute("SET LOCAL synchronous_commit = on")
                if self._annotated:
                    self._connection.execute(f"LOCK TABLE {_ANNOTATIONS} IN EXCLUSIVE MODE")
                self._connection.execute(
                    "INSERT INTO lastresort_keys.master VALUES (%s) ON CONFLICT DO NOTHING", (note,)
                )

        self._again_if_lost(freeze)

    def replace_note(self, before: str, *after: str) -> bool:
        row = self._execute(
            "WITH gone AS (DELETE FROM lastresort_keys.master WHERE fingerprint = %s RETURNING 1), "
            "noted AS (INSERT INTO lastresort_keys.master SELECT unnest(%s::text[]) WHERE EXISTS (SELECT 1 FROM gone)) "
            "SELECT count(*) FROM gone",
            before,
            list(after),
        )
        return row == (1,)

    def page(self, after: bytes, limit: int) -> list[KeyRow]:
        row = self._execute(
            "SELECT array_agg(name), array_agg(key), array_agg(conversation) FROM "
            f"(SELECT * FROM {_KEYS} WHERE name > %s ORDER BY name LIMIT %s) AS page",
            *(after, limit),
            durable=False,
        )
        if row is None or row[0] is None:
            return []
        return [KeyRow(bytes(name), bytes(key), owner) for name, key, owner in zip(*row, strict=True)]

    def rewrap(self, keys: Sequence[tuple[KeyRow, bytes]]) -> None:
        self._execute(
            f"UPDATE {_KEYS} AS k SET key = made.key FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[]) "
            "AS made (name, before, key) WHERE k.name = made.name AND k.key = made.before",
            *([row.name for row, _ in keys], [row.wrapped for row, _ in keys], [wrapped for _, wrapped in keys]),
        )

    def retire(self, conversations: Sequence[str], retired: str) -> None:
        """Retire keys. It reads all of them, since no index knows those that are retired: so erase many at a time."""
        mark = RETIRED + retired
        self._execute(
            f"UPDATE {_KEYS} SET conversation = conversation || %s "
            f"WHERE {_OWNER} = ANY(%s::text[]) AND position(%s in conversation) = 0",
            *(mark, list(conversations), mark),
        )

    def destroy(self, doomed: Sequence[Doomed]) -> None:
        self._execute(f"DELETE FROM {_KEYS} WHERE {_DOOMED}", *_doomed(doomed))

    def named_by(self, doomed: Sequence[Doomed]) -> list[bytes]:
        row = self._execute(f"SELECT array_agg(name) FROM {_KEYS} WHERE {_DOOMED}", *_doomed(doomed))
        return sorted(row[0]) if row is not None and row[0] else []

    def destroy_named(self, names: Iterable[bytes]) -> int:
        gone = f"WITH gone AS (DELETE FROM {_KEYS} WHERE name = ANY(%s::bytea[]) RETURNING 1) SELECT count(*) FROM gone"
        row = self._execute(gone, list(names))
        assert row is not None
        return int(row[0])

    def is_new(self) -> bool:
        return self._execute("SELECT 1 FROM lastresort_keys.master") is None

    def named(self, fingerprint: str) -> str:
        self._execute(
            "INSERT INTO lastresort_keys.master SELECT %s::text "
            "WHERE NOT EXISTS (SELECT 1 FROM lastresort_keys.master) ON CONFLICT DO NOTHING",
            fingerprint,
        )
        row = self._execute("SELECT min(fingerprint) FROM lastresort_keys.master")
        assert row is not None
        return str(row[0])

    def close(self) -> None:
        self._watch.close()
        self._connection.close()


_OWNER = f"split_part(conversation, E'{ascii(RETIRED)[1:-1]}', 1)"
"""Whose a key is or was."""

_DOOMED = (
    f"(name, {_OWNER}) IN (SELECT * FROM unnest(%s::bytea[], %s::text[])) "
    "OR name = ANY(%s::bytea[]) AND conversation IS NULL OR EXISTS (SELECT 1 "
    f"FROM unnest(%s::text[], %s::text[]) AS r (owner, mark) WHERE owner = {_OWNER} "
    "AND position(mark in conversation) > 0)"
)
"""What holds of the keys that are to be destroyed, by what `_doomed` returns."""


_IS_FENCED = f"SELECT 1 FROM lastresort_keys.master WHERE starts_with(fingerprint, '{FENCE}')"


def _doomed(doomed: Sequence[Doomed]) -> tuple[list[Any], ...]:
    named = [(one, each.conversation) for each in doomed for name in each.names for one in names_of(name)]
    unowned = [one for each in doomed for name in each.unowned for one in names_of(name)]
    marked = [(each.conversation, RETIRED + each.retired) for each in doomed if each.retired]
    return (
        *([one[column] for one in named] for column in (0, 1)),
        unowned,
        *([one[column] for one in marked] for column in (0, 1)),
    )


def _has_annotations(connection: psycopg.Connection[Any]) -> bool:
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", (_ANNOTATIONS,)).fetchone() == (True,)
