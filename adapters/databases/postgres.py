"""Connections to PostgreSQL on which nothing waits for ever."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakSet, ref

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row

from .errors import StoreError
from .settings import Settings

MIGRATION_LOCK = 0x1A57_2E50  # a number that nobody else locks: one process at a time makes the tables


_UNCONFIRMED: WeakSet[psycopg.Connection[Any]] = WeakSet()
GRACE = 0.25  # seconds for the server to say itself that a deadline has passed


_HALF_OPEN = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}  # seconds, seconds, times
"""After how long a connection that only listens is known to lead nowhere. By default that takes two hours."""


def address_of(url: str, deadline: float) -> dict[str, Any]:
    """Return what PostgreSQL's library is told of a server, so that nothing waits long for one that is silent.

    Where a URL names several hosts, the one is meant that can be written to: the others follow it, and may be behind.
    What the URL says itself comes first.

    Args:
        url: of the database.
        deadline: seconds that a call may take.
    """
    at = dict(conninfo_to_dict(url))
    if any("," in str(at.get(name, "")) for name in ("host", "hostaddr")):
        at.setdefault("target_session_attrs", "read-write")
    defaults = {"connect_timeout": max(2, round(deadline)), "tcp_user_timeout": round(deadline * 1_000), **_HALF_OPEN}
    return {**defaults, **at}


def connect(url: str, settings: Settings, **options: Any) -> psycopg.Connection[Any]:
    """Open a connection on which nothing waits for ever."""
    connection = psycopg.connect(**{**address_of(url, settings.deadline), **options}, autocommit=True)
    bound(connection, settings)
    return connection


def bound(connection: psycopg.Connection[Any], settings: Settings) -> None:
    """Have what is done on a connection take no longer than its deadline."""
    milliseconds = max(2, round(settings.deadline * 1_000))
    for timeout in ("statement_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(f"SET {timeout} = {milliseconds}")
    connection.execute(f"SET lock_timeout = {milliseconds * 9 // 10}")  # first, since it says more
    connection.add_notice_handler(partial(_heard, ref(connection)))


def confirmed(connection: psycopg.Connection[Any]) -> bool:
    """Whether no wait for standbys was cancelled on a connection since this was asked before.

    Somebody may do that. The client is told of a commit then, and of a warning.
    """
    if connection not in _UNCONFIRMED:
        return True
    _UNCONFIRMED.discard(connection)
    return False


def _heard(connection: "ref[psycopg.Connection[Any]]", notice: psycopg.errors.Diagnostic) -> None:
    """Note that a wait was cancelled. The text is in the server's language; where it comes from is not."""
    cancelled = notice.source_function == "SyncRepWaitForLSN" or "synchronous rep" in (notice.message_primary or "")
    if cancelled and (found := connection()) is not None:
        _UNCONFIRMED.add(found)


UNHURRIED = "SET LOCAL idle_in_transaction_session_timeout = 60000"
"""In a transaction that makes tables, statement by statement: a busy machine may put its program aside in between, and
nobody who answers a person waits for it."""


@contextmanager
def migrating(url: str, settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """Make tables, one process at a time: together they would trip over each other, and nobody need hurry."""
    with connect(url, settings) as connection:
        connection.execute("SET lock_timeout = 60000")
        connection.execute("SET statement_timeout = 60000")
        with connection.transaction():
            connection.execute(UNHURRIED)
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            yield connection


# --- planted code -----------------------------------------------------------------------------------------------------

_OF_OURS = (
    *("stored_events", "contents", "meta", "branches", "snapshots"),
    *("keys", "master", "annotations"),
    # made by the first to ask
    *("followers", "lastresort_tracking", "legal_holds", "legal_holds_beside"),
    *("directory", "directory_branches", "directory_facts", "directory_counts"),
    *("directory_beside", "directory_branches_beside", "directory_facts_beside", "directory_counts_beside"),
    *("service_keys", "service_log", "service_enrolled", "service_people", "service_sessions", "service_jobs"),
    *("gateway_links", "gateway_aliases", "gateway_parked", "gateway_secrets"),
    *("tlog_tiles", "tlog_checkpoints"),
)
_PLANTED = """
    WITH ours AS (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN (current_schema(), 'lastresort_keys') AND c.relname = ANY(%s))
    SELECT 'trigger' FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM ours) AND NOT tgisinternal
    UNION ALL SELECT CASE ev_type WHEN '1' THEN 'view' ELSE 'rule' END FROM pg_rewrite
        WHERE ev_class IN (SELECT oid FROM ours)
    UNION ALL SELECT 'row policy' FROM pg_policy WHERE polrelid IN (SELECT oid FROM ours)
    UNION ALL SELECT 'check' FROM pg_constraint WHERE conrelid IN (SELECT oid FROM ours) AND contype = 'c'
        AND (conname, pg_get_constraintdef(oid)) <> ('lastresort_fence', 'CHECK ((notification_id < 0)) NOT VALID')
    UNION ALL SELECT 'default' FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM ours)
    UNION ALL SELECT 'index of an expression' FROM pg_index
        WHERE indrelid IN (SELECT oid FROM ours) AND indexprs IS NOT NULL
"""


def code_in(connection: psycopg.Connection[Any]) -> list[str]:
    """Return the kinds of code on our tables, once for each that there is: what runs as they are written or read.

    This program makes none there, but for the fence round a log that is moved: see `stores.fence`. A view of somebody's
    that reads them is their own affair.
    """
    cursor = connection.cursor(row_factory=tuple_row)
    return [str(kind) for (kind,) in cursor.execute(_PLANTED, (list(_OF_OURS),)).fetchall()]


def check_has_no_code(connection: psycopg.Connection[Any]) -> None:
    """Check that nothing runs as our tables are written or read.

    Raises:
        StoreError: something does. Its name is not repeated: somebody else chose it.
    """
    if code := code_in(connection):
        raise StoreError(
            f"somebody planted code on its tables that this program did not make ({', '.join(sorted(set(code)))}): "
            "what it did to the log or the words is not known. Keep a copy, and restore a backup from before; "
            "`\\d+ stored_events` in psql, and so on, shows it"
        )
