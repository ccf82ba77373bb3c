"""Waiting for what others write: it is told, in time, and costs nothing meanwhile."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from lastresort.adapters.stores import postgres, sqlite
from lastresort.application.ports import Append, NewEvent, VersionConflict

from .stores import DURABLE_STORES, LEFT, STORES, counting, new_url, opened, started

THEN = "2026-01-31T12:00:00+00:00"
LONG = 30.0  # seconds that no wait here may take


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    return new_url(request.param, request)


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by themselves: a thread that wakes was told."""
    for engine in (sqlite, postgres):
        monkeypatch.setattr(engine, "_LOOK", 10 * LONG)


@contextmanager
def waiting(store: Any, after: int, waiters: int = 1) -> Iterator[list[bool]]:
    """Wait in other threads; at the end of the block they must have come back, with what is in the list then."""
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(store.wait(after, LONG))) for _ in range(waiters)]
    for thread in threads:
        thread.start()
    yield answers
    for thread in threads:
        thread.join(LONG / 2)
        assert not thread.is_alive(), "nobody told it"


def test_what_is_there_is_not_waited_for(url: str) -> None:
    with opened(url) as chats:
        assert chats.store.head() == 0
        assert not chats.store.wait(0, 0)
        started(chats).user_turn("Hello.")
        assert chats.store.head() == 2
        assert chats.store.wait(0, 0)
        assert chats.store.wait(1, LONG)
        assert not chats.store.wait(2, 0)


def test_someone_who_waits_in_this_process_is_told(url: str, seldom: None) -> None:
    """All of them, whichever append it was."""
    with opened(url) as chats:
        chat = started(chats)
        for _ in range(3):
            with waiting(chats.store, chats.store.head(), waiters=3) as answers:
                time.sleep(0.05)
                assert answers == []
                chat.user_turn("Hello.")
            assert answers == [True] * 3


def test_nothing_comes_of_what_is_refused(url: str) -> None:
    with opened(url) as chats:
        chat = started(chats)
        with waiting(chats.store, 1) as answers:
            with pytest.raises(VersionConflict):
                chats.store.append(Append("c", "x", "x", THEN, (NewEvent("c", 9, LEFT),)))
            time.sleep(0.1)
            assert answers == []
            chat.user_turn("Hello.")
        assert answers == [True]


def test_a_wait_comes_to_an_end_and_burns_no_processor(url: str) -> None:
    """After its timeout, not before, and not by asking all the time."""
    with opened(url) as chats:
        started(chats)
        chats.store.wait(1, 0.05)  # whatever is made once is made now
        at, cpu = time.monotonic(), time.process_time()
        assert not chats.store.wait(1, 1.0)
        assert 1.0 <= time.monotonic() - at < LONG
        assert time.process_time() - cpu < 0.15


WRITE = """
import sys
from lastresort import open_conversations
chats = open_conversations(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
chats.chat("c").user_turn("Hello.")
"""


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_someone_who_waits_is_told_of_what_another_process_writes(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL tells it; in SQLite, which tells nobody, it is noticed."""
    monkeypatch.setattr(postgres, "_LOOK", 10 * LONG)
    url = new_url(kind, request)
    with opened(url) as chats:
        started(chats)
        arguments = [sys.executable, "-c", WRITE, url]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdin is not None
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            with waiting(chats.store, 1) as answers:
                time.sleep(0.2)
                assert answers == []
                print(file=writer.stdin, flush=True)
            assert answers == [True]


@pytest.mark.xdist_group("postgresql")
def test_a_listener_that_lost_its_connection_listens_again(postgresql: Any, seldom: None) -> None:
    """And misses nothing that was written meanwhile."""
    url = postgresql()
    with opened(url) as chats, psycopg.connect(url, autocommit=True) as other:
        started(chats)
        with waiting(chats.store, 1) as answers:
            ask = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            while not (found := other.execute(ask).fetchall()):
                time.sleep(0.01)
            other.execute("SELECT pg_terminate_backend(%s)", found[0])
            with opened(url, new_id=counting("other-")) as elsewhere:
                elsewhere.chat("c").user_turn("Hello.")
        assert answers == [True]


@pytest.mark.xdist_group("postgresql")
def test_each_schema_has_a_channel_of_its_own(postgresql: Any) -> None:
    with opened(postgresql()) as chats:
        assert chats.store.channel_name == "public.stored_events"  # type: ignore[attr-defined]


def test_a_store_that_was_waited_on_leaves_no_thread(url: str) -> None:
    before = set(threading.enumerate())
    with opened(url) as chats:
        chats.store.wait(0, 0.05)
    assert {thread.name for thread in set(threading.enumerate()) - before} == set()
