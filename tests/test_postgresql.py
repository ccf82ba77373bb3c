"""A PostgreSQL database that may be somebody else's, and how its connections are used."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from lastresort import StoreError
from lastresort.adapters.console.cli import main
from lastresort.adapters.databases.postgres import address_of
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.stores.postgres import open_postgres

from .stores import log_of, opened, started, store_of

pytestmark = pytest.mark.xdist_group("postgresql")


def holds(url: str, *statements: str) -> list[tuple[str, ...]]:
    """Execute statements, and return every table, function and schema of a database that is not PostgreSQL's own."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
        return connection.execute(
            "SELECT nspname, relname FROM pg_namespace LEFT JOIN pg_class ON relnamespace = pg_namespace.oid "
            "WHERE nspname !~ '^(pg_|information_schema)' UNION "
            "SELECT nspname, proname FROM pg_proc JOIN pg_namespace ON pronamespace = pg_namespace.oid "
            "WHERE nspname = 'public' ORDER BY 1, 2"
        ).fetchall()


def test_nothing_waits_long_for_a_server_that_is_silent() -> None:
    """Of several hosts the one is meant that can be written to. What the URL says itself comes first."""
    silent = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    one = address_of("postgresql://user@a/chats", 4)
    assert one == {
        "user": "user",
        "host": "a",
        "dbname": "chats",
        "connect_timeout": 4,
        "tcp_user_timeout": 4000,
        **silent,
    }
    assert address_of("postgresql://user@a/chats", 0.5)["connect_timeout"] == 2
    assert address_of("postgresql://user@a,b:5433/chats", 2)["target_session_attrs"] == "read-write"
    own = address_of("postgresql://a,b/chats?target_session_attrs=primary&tcp_user_timeout=7&connect_timeout=9", 2)
    assert (own["target_session_attrs"], own["tcp_user_timeout"], own["connect_timeout"]) == ("primary", "7", "9")


FOREIGN = {
    "CREATE TABLE stored_events (id bigint)": r"name stored_events is something else's",
    "CREATE TABLE contents (id bigint)": r"name contents is something else's",
    "CREATE TABLE meta (name text, value text)": r"name meta is something else's",
    "CREATE TABLE stored_events (originator_id uuid, originator_version bigint, topic text, state bytea, "
    "notification_id bigint)": "before the first release",
}


@pytest.mark.parametrize("create", [True, False], ids=["writing", "reading"])
@pytest.mark.parametrize("statement", FOREIGN)
def test_tables_of_somebody_else_are_left_alone(postgresql: Callable[[], str], statement: str, create: bool) -> None:
    url = postgresql()
    before = holds(url, statement)
    with pytest.raises(StoreError, match=FOREIGN[statement]):
        open_postgres(url, Settings(), create=create)
    assert holds(url) == before


def test_who_reads_makes_no_store_of_a_database(postgresql: Callable[[], str]) -> None:
    """A role that writes may, and other tables may stand beside; then it is a store for a role that reads too."""
    url = postgresql()
    before = holds(url, "CREATE TABLE customers (id bigint)")
    with pytest.raises(StoreError, match=r"it has no log, and is not a lastresort store; nothing was written to it"):
        open_postgres(url, Settings(), create=False)
    assert holds(url) == before
    open_postgres(url, Settings()).close()
    open_postgres(url, Settings(), create=False).close()
    with opened(url) as chats:
        started(chats).user_turn("hello")
        assert len(log_of(chats)) == 2


def test_a_command_that_reads_leaves_a_database_as_it_was(postgresql: Callable[[], str]) -> None:
    url = postgresql()
    before = holds(url)
    for command in (["audit", url], ["export", url], ["views", "--store", url], ["tree", "c", "--store", url]):
        result = CliRunner().invoke(main, command)
        assert (result.exit_code, result.stdout) == (2, ""), command
        assert "it has no log, and is not a lastresort store" in result.stderr
        assert holds(url) == before, command


def test_one_connection_is_kept_at_hand(postgresql: Callable[[], str]) -> None:
    """However many threads there were: the pool has the others back, for what of the library's asks for them."""
    with opened(postgresql()) as chats, ThreadPoolExecutor(8) as threads:
        all_ = [started(chats, f"c-{number}") for number in range(8)]
        for _ in range(5):
            list(threads.map(lambda chat: chat.user_turn("hello"), all_))
        recorder = store_of(chats)
        pool, until = recorder.datastore.pool, time.monotonic() + 30
        while (lent := pool.get_stats()["pool_size"] - pool.get_stats()["pool_available"]) > 1:
            assert time.monotonic() < until, f"{lent} connections are kept"
            time.sleep(0.01)  # the pool takes back what it is given in threads of its own
        assert lent == 1
        assert [one.position for one in log_of(chats)] == list(range(1, 49))
        assert recorder.max_notification_id() == 48


def test_a_turn_after_a_rollback(postgresql: Callable[[], str]) -> None:
    """With which the driver takes what was prepared off a connection, what we prepared there included."""
    with opened(postgresql()) as chats:
        chat = started(chats)
        chat.user_turn("hello")
        recorder = store_of(chats)
        for words in ("still there?", "and now?"):
            with pytest.raises(ZeroDivisionError):
                recorder._again_if_lost(rolled_back)
            chat.user_turn(words)
        assert list(chats.words(chat.path).values()) == ["hello", "still there?", "and now?"]


def rolled_back(connection: psycopg.Connection[Any]) -> None:
    with connection.transaction():
        connection.execute("SELECT 1", prepare=True)
        raise ZeroDivisionError
