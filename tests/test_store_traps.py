"""What is known to go wrong with recorders and engines, one test a trap.

Some have their tests elsewhere: appends of a megabyte, gaps, processes that start together and synchronous=FULL in
test_store.py; sealed rows that were swapped, and a destroyed key in the write-ahead log, in test_vault.py; what commits
with the events in test_store.py and in the promises of `lastresort.adapters.testing.stores`.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from eventsourcing.persistence import ApplicationRecorder, StoredEvent

from lastresort import Receipt, StoreError, open_conversations
from lastresort.adapters.opening import Store, open_store
from lastresort.adapters.stores.postgres import PostgresStore
from lastresort.application.ports import Append, NewEvent, Place, VersionConflict
from lastresort.domain.events import UserTurnTaken
from lastresort.projections import audit

from .narrow import must_be, present
from .stores import DURABLE_STORES, LEFT, counting, log_of, new_url, opened, started, store, store_of

__all__ = ["store"]


def leave(command_id: str, branch: str, version: int) -> Append:
    return Append(branch, command_id, command_id, "2026-01-31T12:00:00+00:00", (NewEvent(branch, version, LEFT),))


@pytest.fixture(params=DURABLE_STORES)
def url(request: pytest.FixtureRequest) -> str:
    return new_url(request.param, request)


def within(seconds: float, act: Callable[[], Any]) -> Any:
    """Do `act` in a thread of its own, and fail if it has not finished in `seconds`."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(act())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert results, f"it has not finished in {seconds} s"
    return results[0]


# --- 1, 2, 3, 8: the log, and who follows it --------------------------------------------------------------------------


def library_of(store: Store) -> ApplicationRecorder:
    """The store as the library knows it."""
    assert isinstance(store, ApplicationRecorder)
    return store


def test_large_events_of_the_library_are_written(store: Store) -> None:
    """Trap 1: the library's own pipeline hangs above some 0.3 MB over a Unix socket, with the table locked."""
    event = StoredEvent("big", 1, "UserLeft", b"x" * 2_000_000)
    assert within(30, lambda: library_of(store).insert_events([event])) == [1]


def test_a_reader_that_follows_the_log_misses_nothing(url: str) -> None:
    """Trap 2: without a lock events are committed in another order than their positions have."""
    writers, rounds = 4, 25
    reading, vault, _ = open_store(url)

    def write(number: int) -> None:
        store, its_vault, _ = open_store(url)
        for version in range(1, rounds + 1):
            store.append(leave(f"{number}-{version}", f"b{number}", version))
        its_vault.close()
        store.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    while any(thread.is_alive() for thread in threads) or list(reading.log(after=len(seen), limit=1)):
        seen += [one.position for one in reading.log(after=seen[-1] if seen else 0, limit=10)]
    for thread in threads:
        thread.join()
    vault.close()
    reading.close()
    assert seen == list(range(1, writers * rounds + 1))


def test_the_functions_of_the_library_are_off(postgresql: Callable[[], str]) -> None:
    """Trap 2: they take no lock, and drop what was to be written beside the events."""
    store, vault, _ = open_store(postgresql())
    assert isinstance(store, PostgresStore)
    assert store.datastore.enable_db_functions is False
    vault.close()
    store.close()


def test_a_log_in_sqlite_is_followed_by_asking(tmp_path: Path) -> None:
    """Trap 3: there is nothing to subscribe to; the library's own way of asking sees every event."""
    store, vault, _ = open_store(f"sqlite:///{tmp_path}/log.db")
    with pytest.raises(NotImplementedError):
        library_of(store).subscribe()
    for version in (1, 2, 3):
        store.append(leave(f"{version}", "b", version))
        (new,) = library_of(store).select_notifications(version - 1, 10, inclusive_of_start=False)
        assert (new.id, new.originator_version, new.topic) == (version, version, "UserLeft")
    vault.close()
    store.close()


def test_positions_have_no_gaps_after_conflicts(store: Store) -> None:
    """Trap 8: a sequence of PostgreSQL's counts what was refused too."""
    store.append(leave("1", "b", 1))
    for attempt in range(3):
        with pytest.raises(VersionConflict):
            store.append(leave(f"taken-{attempt}", "b", 1))
    (second,) = store.append(leave("2", "b", 2))
    assert second.position == 2
    assert [entry.position for entry in store.log()] == [1, 2]


def test_positions_and_words_survive_a_vacuum_and_a_dump(tmp_path: Path) -> None:
    """Trap 8: SQLite numbers rows again then, unless their number is a column. Words are kept by it."""
    url, copy = f"sqlite:///{tmp_path}/log.db", f"sqlite:///{tmp_path}/copy.db"
    with opened(url) as chats:
        chat = started(chats)
        for number in range(10):
            chat.user_turn(f"words {number}")
        chat.erase(5)
        before, words = log_of(chats), chats.words(chat.path)
        assert len(words) == 9
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("DELETE FROM stored_events WHERE rowid = 1")  # so that there is a number to be had
        connection.rollback()
        connection.execute("VACUUM")
        with sqlite3.connect(tmp_path / "copy.db") as other:
            other.executescript("\n".join(connection.iterdump()))
    for beside in tmp_path.glob("log.db-*"):
        copied = tmp_path / beside.name.replace("log", "copy")
        copied.write_bytes(beside.read_bytes())
        copied.chmod(0o600)
    for one in (url, copy):
        with opened(one) as chats:
            assert log_of(chats) == before
            assert chats.words(chats.path("c")) == words


# --- 5: a commit whose answer was lost --------------------------------------------------------------------------------


@pytest.mark.xdist_group("postgresql")
@pytest.mark.parametrize("committed", [True, False], ids=["after the commit", "before it"])
def test_who_lost_the_answer_learns_the_truth(
    postgresql: Callable[[], str], monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """The server ends the connection: no conflict with oneself, and the command has taken effect once."""
    url = postgresql()
    write, losses = PostgresStore._write, [0]

    def lossy(self: PostgresStore, c: psycopg.Connection[Any], *args: Any) -> int:
        losses[0] += 1
        if committed:
            write(self, c, *args)
        if losses[0] > 1:
            return 0 if committed else write(self, c, *args)
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (c.info.backend_pid,))
        return int(present(c.execute("SELECT 1").fetchone())[0])

    with opened(url) as chats:
        chat = started(chats)
        monkeypatch.setattr(PostgresStore, "_write", lossy)
        outcome = chat.user_turn("hello", command_id="once")
        monkeypatch.undo()
        assert isinstance(outcome, Receipt)
        assert outcome.version == 2
        assert losses[0] == 2
        assert [entry.command_id for entry in log_of(chats)][1:] == ["once"]
        assert chats.words(chat.path) == {must_be(UserTurnTaken, outcome.events[0].event).content: "hello"}
        assert audit(chats.store.entries()).findings == ()


@pytest.mark.xdist_group("postgresql")
def test_lost_connections_are_replaced(postgresql: Callable[[], str]) -> None:
    """All of them at once, those of the keys too, as when the server is restarted."""
    url = postgresql()
    with opened(url) as chats:
        chat = started(chats)
        chat.user_turn("hello")
        for words in ("still there?", "and now?"):
            with psycopg.connect(url, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            chat.user_turn(words)
            started(chats, f"another-{len(words)}").user_turn("a new key")
        assert list(chats.words(chat.path).values()) == ["hello", "still there?", "and now?"]


# --- 9, 10: SQLite ----------------------------------------------------------------------------------------------------


def test_writes_take_the_lock_at_once(tmp_path: Path) -> None:
    """Trap 9: a transaction that begins by reading could find its reads outdated when it comes to write."""
    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        chat = started(chats)
        statements: list[str] = []
        store_of(chats)._writer.set_trace_callback(statements.append)
        chat.user_turn("hello")
        assert statements[0] == "BEGIN IMMEDIATE"
        assert statements[-1] == "COMMIT"
        assert statements.count("COMMIT") == 1
        with store_of(chats).datastore.get_connection(commit=True) as connection:
            connection._sqlite_conn.set_trace_callback(statements.append)
            with connection.transaction(commit=True):
                assert statements[-1] == "BEGIN IMMEDIATE"


def test_a_reader_that_keeps_erased_bytes_alive_is_noticed(tmp_path: Path) -> None:
    """Trap 10: the log cannot be truncated under a reader. Someone who erases is told; what comes next truncates."""
    with opened(f"sqlite:///{tmp_path}/log.db?deadline=0.2") as chats:
        chat = started(chats)
        chat.user_turn("secret")
        (data,) = chats.store.contents([Place(entry.branch, entry.version) for entry in chat.path]).values()
        reader = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM contents").fetchall()
        with pytest.raises(StoreError, match="a reader keeps it in the write-ahead log; send the command again"):
            chat.erase(2, command_id="erase")
        assert any(data in path.read_bytes() for path in tmp_path.iterdir())
        reader.close()
        chat.erase(2, command_id="erase")
        assert not any(data in path.read_bytes() for path in tmp_path.iterdir())
        assert [entry.command_id for entry in log_of(chats)].count("erase") == 1


# --- 11, 12: locks, deadlines, and what comes after -------------------------------------------------------------------

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_lock_that_is_held_is_told_in_time_and_does_no_harm(url: str) -> None:
    """Traps 11 and 12: another program hangs with the lock. Afterwards the same command is carried out, once."""
    with opened(f"{url}{'&' if '?' in url else '?'}deadline=0.3", new_id=counting()) as chats:
        chat = started(chats)
        chat.user_turn("hello")
        with _locked(url):
            begun = time.monotonic()
            with pytest.raises(StoreError, match="lock"):
                chat.assistant_turn("hello", command_id="answer")
            assert time.monotonic() - begun < 5
            assert len(chats.path("c")) == 2  # who only reads is not kept from it
        outcome = chat.assistant_turn("hello", command_id="answer")
        assert isinstance(outcome, Receipt)
        assert outcome.version == 3
        assert len(log_of(chats)) == 3


class _locked:
    """Hold the lock that appends take, from another process or another session."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        if self._url.startswith("sqlite"):
            path = self._url.removeprefix("sqlite:///")
            self._process = subprocess.Popen(
                [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == b"held\n"
        else:
            self._session = psycopg.connect(self._url)
            self._session.execute("LOCK TABLE stored_events IN EXCLUSIVE MODE")

    def __exit__(self, *_: object) -> None:
        if self._url.startswith("sqlite"):
            self._process.communicate(b"\n")
        else:
            self._session.close()


@pytest.mark.xdist_group("postgresql")
def test_a_server_that_hangs_is_told_in_time(postgresql: Callable[[], str]) -> None:
    """It is stopped, with the connection open: no deadline of its own can pass."""
    url = postgresql()
    with opened(f"{url}&deadline=0.3") as chats:
        chat = started(chats)
        chat.user_turn("hello")
        with psycopg.connect(url) as other:
            sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            pids = [pid for (pid,) in other.execute(sessions).fetchall()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            outcome = within(20, lambda: chat.assistant_turn("hello", command_id="answer"))
            assert isinstance(outcome, StoreError)
            assert time.monotonic() - begun < 5
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert isinstance(chat.assistant_turn("hello", command_id="answer"), Receipt)
        assert [entry.command_id for entry in log_of(chats)].count("answer") == 1


# --- Opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("synchronous=OFF", "synchronous: FULL or NORMAL is needed; 3 other characters were passed"),
        ("deadline=soon", "deadline: seconds from 0 to 3600 are needed; 4 other characters were passed"),
        ("deadline=0", "deadline: seconds from 0 to 3600 are needed"),
        ("speed=11", r"unknown setting \(length 5\); known for this store: deadline, synchronous"),
    ],
)
def test_a_setting_that_is_none_is_refused_by_name(tmp_path: Path, query: str, why: str) -> None:
    """And nothing is made."""
    with pytest.raises(StoreError, match=why):
        open_conversations(f"sqlite:///{tmp_path}/log.db?{query}")
    assert list(tmp_path.iterdir()) == []


def test_the_lesser_setting_is_named_and_kept(tmp_path: Path) -> None:
    """Every connection has it, the writer's too."""
    with opened(f"sqlite:///{tmp_path}/log.db?synchronous=normal") as chats:
        started(chats)
        assert store_of(chats)._writer.execute("PRAGMA synchronous").fetchone() == (1,)
    assert (tmp_path / "log.db").exists()


def test_a_setting_that_sqlite_does_not_keep_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for is read back."""
    monkeypatch.setitem(sys.modules["lastresort.adapters.databases.sqlite"].LEVELS, "FULL", 3)
    with pytest.raises(StoreError, match="synchronous=2, secure_delete=1 where wal, FULL and ON were asked for"):
        open_conversations(f"sqlite:///{tmp_path}/log.db")


@pytest.mark.parametrize("kind", DURABLE_STORES)
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("DROP TABLE branches; DROP TABLE snapshots; DROP TABLE meta", "before the first release"),
        ("UPDATE meta SET value = '9'", "of version 9, and this"),
    ],
)
def test_tables_of_another_version_are_refused(
    kind: str, request: pytest.FixtureRequest, change: str, why: str
) -> None:
    """With the version that they have."""
    url = new_url(kind, request)
    open_conversations(url).close()
    connection: Any = sqlite3.connect(url.removeprefix("sqlite:///")) if kind == "sqlite" else psycopg.connect(url)
    for statement in change.split("; "):
        connection.execute(statement)
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=why):
        open_conversations(url)
