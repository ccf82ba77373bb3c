"""The tables in PostgreSQL, what writes to them, and whether those of a database are ours."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import psycopg
from psycopg import errors
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import tuple_row
from psycopg.sql import Composed

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.databases.postgres import check_has_no_code
from lastresort.application.ports import CommandRecorded, VersionConflict

from .derived import MAKE_COMMANDS, MAKE_ENDINGS, TABLES, in_postgres, of_command, tree_of
from .fence import FENCED
from .rows import ENDS, WRITTEN, Entry
from .schema import SCHEMA, check_schema, tables_of

APPEND_LOCK = 0x1A57_2E51  # and one at a time appends
_BARRIER_LOCK = (
    0x1A57_2E52  # and one at a time waits at a barrier: those that nobody waits for any more stay until then
)
BARRIER = (
    f"SELECT pg_advisory_xact_lock({_BARRIER_LOCK}), set_config('synchronous_commit', "
    "CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true), "
    "CASE WHEN NOT pg_is_in_recovery() THEN pg_logical_emit_message(true, 'lastresort', '') END"
)
"""A transaction that writes nothing but to the log of writes. Once it is committed, all that stands before it there is
where it has to be: on the server's disk, and on that of its synchronous standbys. A standby, which someone may export
from, shows what it has."""

TAKEN, RECORDED = "LR001", "LR002"  # what our function raises
_HERE = f"CASE WHEN begins THEN coalesce(joins, branch) ELSE coalesce({tree_of('branch')}, branch) END"
_RECORDED = in_postgres(of_command("command", f"({_HERE})"))
MADE = (
    "CREATE TABLE IF NOT EXISTS {schema}.{events} (notification_id bigint NOT NULL UNIQUE, "
    "originator_id text NOT NULL, originator_version bigint NOT NULL, topic text NOT NULL, state bytea NOT NULL, "
    "digest bytea, schema_version int, recorded_at text, command_id text, nth int, correlation_id text, "
    "PRIMARY KEY (originator_id, originator_version))",
    "CREATE TABLE IF NOT EXISTS {schema}.contents (position bigint PRIMARY KEY, data bytea NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {schema}.meta (name text PRIMARY KEY, value text NOT NULL)",
    f"INSERT INTO {{schema}}.meta VALUES ('schema', '{SCHEMA}') ON CONFLICT DO NOTHING",
    *(in_postgres(statement) for statement in (*TABLES, MAKE_ENDINGS, MAKE_COMMANDS)),
    # A volatile function sees what was committed before each of its statements, hence all that others wrote before they
    # let go of the lock. `begins` is null for an event that is to be written as it is. What is checked is part of the
    # insert, as each statement takes a tenth of the time of all; what was refused, and why, is looked up only then.
    f"""CREATE OR REPLACE FUNCTION {{schema}}.write_event(branch text, version bigint, kind text, state bytea,
        digest bytea, schema_version int, recorded_at text, command text, nth int, correlation text,
        begins boolean, sealed bytea, joins text, snapshot bytea)
    RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
    DECLARE begun boolean; place bigint; tree bigint;
    BEGIN
        PERFORM pg_advisory_xact_lock({APPEND_LOCK});
        IF begins THEN
            begun := EXISTS (SELECT 1 FROM {{schema}}.{{events}} e WHERE e.originator_id = branch);
        END IF;
        INSERT INTO {{schema}}.{{events}}
            SELECT coalesce((SELECT e.notification_id FROM {{schema}}.{{events}} e ORDER BY 1 DESC LIMIT 1), 0) + 1,
                branch, version, kind, state, digest, schema_version, recorded_at, command, nth, correlation
            WHERE begun IS NOT TRUE
                AND (nth <> 0 OR NOT EXISTS (SELECT 1 FROM {{schema}}.{{events}} k WHERE {_RECORDED}))
                AND (begins IS DISTINCT FROM false OR EXISTS (SELECT 1 FROM {{schema}}.{{events}} e
                    WHERE e.originator_id = branch AND e.originator_version = version - 1))
            RETURNING notification_id INTO place;
        IF place IS NULL THEN
            IF nth = 0 AND EXISTS (SELECT 1 FROM {{schema}}.{{events}} k WHERE {_RECORDED}) THEN
                RAISE EXCEPTION USING ERRCODE = '{RECORDED}', MESSAGE = command;
            END IF;
            RAISE EXCEPTION USING ERRCODE = '{TAKEN}', MESSAGE = 'branch ' || branch
                || CASE WHEN begins THEN ' has begun' ELSE ': version ' || version || ' leaves a gap' END;
        END IF;
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
_BODY = MADE[-1].split("$$")[1]
ARGUMENTS_1 = ("text", "bigint", "text", "bytea", "bytea", "int", "text", "text", "int", "text", "boolean", "bytea")
ARGUMENTS = (*ARGUMENTS_1, "text", "bytea")  # those before were the arguments in version 1 of the tables
_FUNCTION = (
    "SELECT prosrc, lanname, prosecdef, proconfig IS NULL FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang "
    "WHERE p.oid = to_regprocedure(%s)"
)
_OURS = {  # columns by which we know a table as ours, since others may use the name
    "stored_events": {"notification_id", "originator_id", "originator_version", "topic", "state"},
    "contents": {"position", "data"},
    "meta": {"name", "value"},
    "branches": {"position", "root", "ended", "branched"},
    "snapshots": {"originator_id", "originator_version", "data"},
}


def check_is_ours(connection: psycopg.Connection[Any], create: bool, schema: str = "public") -> None:
    """Check that a database is a store, or has room for one where one may be made, before anything is written there.

    Other tables may stand beside ours, unless they bear the same names.

    Raises:
        StoreError: it is something else, or somebody planted code in it.
    """
    check_has_no_code(connection)
    found: dict[str, set[str]] = {}
    for table, column in connection.execute(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "WHERE n.nspname = %s AND c.relname = ANY(%s)",
        (schema, list(_OURS)),
    ).fetchall():
        found.setdefault(table, set()).add(column)
    strange = sorted(table for table, columns in found.items() if not columns >= _OURS[table])

    def ask(statement: str) -> Any:
        named = in_postgres(statement).replace("{events}", '"stored_events"').replace("{schema}", f'"{schema}"')
        return connection.execute(named.encode()).fetchone()

    tables = None if strange else tables_of(found.keys(), "stored_events", ask)
    if tables is None or (found and not tables.log and tables.version is None):
        named = ", ".join(strange or sorted(found))
        raise StoreError(
            f"not a lastresort store: what it has of the name {named} is something else's; nothing was written to it. "
            "Use another database"
        )
    if not found and not create:
        raise StoreError(
            "it has no log, and is not a lastresort store; nothing was written to it. "
            "`simulate` or `chat` makes one of it"
        )
    check_schema(tables)
    if has_another_function(connection, schema):
        raise StoreError(
            "its function write_event is not the one that this program made: somebody planted another, or it is of "
            "another version. If you know of no other version, keep a copy, and restore a backup from before; "
            "otherwise `lastresort migrate URL` makes it again"
        )


def has_another_function(connection: psycopg.Connection[Any], schema: str = "public") -> bool:
    """Whether tables of this version have another function to write to them than this program makes."""
    cursor = connection.cursor(row_factory=tuple_row)
    if cursor.execute("SELECT to_regclass(%s)", (f'"{schema}".meta',)).fetchone() == (None,):
        return False
    version = cursor.execute(f"SELECT value FROM \"{schema}\".meta WHERE name = 'schema'".encode()).fetchone()
    if version != (str(SCHEMA),):
        return False
    named = f'"{schema}".write_event({", ".join(ARGUMENTS)})'
    found = cursor.execute(_FUNCTION, (named,)).fetchone()
    body = _BODY.replace("{events}", '"stored_events"').replace("{schema}", f'"{schema}"')
    return found is not None and found != (body, "plpgsql", False, True)


# --- An append --------------------------------------------------------------------------------------------------------

Result = TypeVar("Result")
_BINARY = (1,) * len(ARGUMENTS)  # the format of each
_WELL = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class Sending(Generic[Result]):
    """What is sent to the server, again where an answer was lost, and what is known of that.

    Args:
        act: sends it on a connection, and returns what the server answered.
        sent: whether it was sent before, and may have been written.
    """

    def __init__(self, act: Callable[[psycopg.Connection[Any]], Result], sent: bool = False) -> None:
        self._act = act
        self._tries = int(sent)
        self._refused = 0

    def __call__(self, connection: psycopg.Connection[Any]) -> Result:
        self._tries += 1
        try:
            return self._act(connection)
        except psycopg.Error as error:
            self._refused += error.sqlstate is not None  # or else nobody knows what became of it
            raise

    @property
    def may_be_written(self) -> bool:
        """Whether it was sent before the last time, so that a refusal may be of what it wrote itself."""
        return self._tries > 1

    @property
    def is_unanswered(self) -> bool:
        """Whether it was sent more often than it was answered."""
        return self._tries > self._refused


def arguments_of(entry: Entry) -> tuple[bytes | None, ...]:
    """Return what our function is given of an entry, as libpq takes it."""
    row, begins, sealed, joins, snapshot = entry
    branch, version, kind, state, digest, schema_version, recorded_at, command, nth, correlation = row
    return (
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


def executed(connection: psycopg.Connection[Any], name: bytes, values: Sequence[bytes | None]) -> PGresult:
    # It takes nulls too, which its type does not say.
    result = connection.pgconn.exec_prepared(name, values, _BINARY, 1)  # type: ignore[arg-type]
    return checked(connection, result)


def checked(connection: psycopg.Connection[Any], result: PGresult) -> PGresult:
    """Return what libpq answered.

    Raises:
        psycopg.Error: what the driver itself would raise.
    """
    if result.status in _WELL:
        return result
    error = errors.error_from_result(result)
    if error.sqlstate is None or connection.pgconn.status == ConnStatus.BAD:  # the server itself says what it refuses
        connection.close()
        raise psycopg.OperationalError(f"the connection is lost: {result.get_error_message().strip()}")
    raise error


def meant(error: psycopg.Error) -> Exception:
    """Return what an error means where it is a refusal of our function's, or else the error."""
    if isinstance(error, errors.UniqueViolation):
        return VersionConflict(str(error))
    if isinstance(error, errors.CheckViolation):
        return StoreError(FENCED)
    if error.sqlstate == TAKEN:
        return VersionConflict(error.diag.message_primary)
    if error.sqlstate == RECORDED:
        return CommandRecorded(error.diag.message_primary)
    return error


# --- An import --------------------------------------------------------------------------------------------------------
#
# Rows by COPY, and a statement a chunk for each thing that follows from them, in the import's own transaction.

HEAD = "SELECT coalesce(max(notification_id), 0) FROM {schema}.{events}"
COPY_EVENTS = f"COPY {{schema}}.{{events}} (notification_id, {WRITTEN}) FROM STDIN (FORMAT BINARY)"
EVENT_TYPES = ("int8", "text", "int8", "text", "bytea", "bytea", "int4", "text", "text", "int4", "text")
COPY_CONTENTS = "COPY {schema}.contents FROM STDIN (FORMAT BINARY)"
CONTENT_TYPES = ("int8", "bytea")
COPY_BRANCHES = "COPY {schema}.branches (position, root, branched) FROM STDIN (FORMAT BINARY)"
BRANCH_TYPES = ("int8", "int8", "int8")
BRANCHED = (
    "UPDATE {schema}.branches b SET branched = 1 FROM unnest(%s::bigint[]) AS root (position) "
    "WHERE b.position = root.position AND b.branched = 0"
)
ENDED = (
    "UPDATE {schema}.branches b SET ended = one.ended "
    "FROM (SELECT min(ended) AS ended, position FROM unnest(%s::bigint[], %s::bigint[]) AS e (ended, position) "
    "GROUP BY position) AS one WHERE b.position = one.position AND b.ended IS NULL"
)
SNAPSHOTS = (
    "INSERT INTO {schema}.snapshots SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bytea[]) "
    "ON CONFLICT (originator_id, originator_version) DO UPDATE SET data = excluded.data"
)


def copied(
    connection: psycopg.Connection[Any], statement: Composed, types: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Copy rows into a table, if there are any."""
    if not rows:
        return
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
