"""Someone who is answered from the log, and not by an append of their own, is answered what lasts."""

import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lastresort import BranchEnded, Chat, Conversations, Ground, Receipt, Refused, StoreError
from lastresort.adapters.stores.postgres_tables import APPEND_LOCK
from lastresort.application.reading import published
from lastresort.domain.values import ErasureCause

from .service_kit import asked_and_confirmed, ended, talk
from .stores import MODEL, OPERATOR, opened


class Watched:
    """A store that notes what it is asked, and whose barriers nobody passes once it is closed to them."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.noted: list[str] = []
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, *appends: Any) -> Any:
        self.noted.append("append")
        return self._store.append(*appends)

    def barrier(self) -> None:
        self.noted.append("barrier")
        if self.closed:
            raise StoreError("not known to be durable")
        self._store.barrier()


@pytest.fixture
def chats() -> Iterator[Conversations]:
    with opened("memory:") as chats:
        watched: Any = Watched(chats.store)
        chats.service.ports.store = watched
        yield chats


@pytest.fixture
def chat(chats: Conversations) -> Chat:
    return chats.start(model=MODEL.id, conversation="root")


def noted(chats: Conversations) -> list[str]:
    watched: Any = chats.store
    found, watched.noted = watched.noted, []
    return list(found)


def test_an_append_is_its_own_barrier(chats: Conversations, chat: Chat) -> None:
    """An ordinary turn pays nothing, and nor does an ending."""
    asked_and_confirmed(chat)
    assert isinstance(chat.end(Ground.USER_REQUEST), Receipt)
    assert set(noted(chats)) == {"append"}


def again(chat: Chat) -> object:
    return chat.user_turn("hello", command_id="hello")


def started_again(chat: Chat) -> object:
    return chat.conversations.start(model=MODEL.id, conversation="root", command_id="begin")


def forked_again(chat: Chat) -> object:
    return chat.edit(2, "good day", command_id="edit", child="other")


def ends_too_soon(chat: Chat) -> object:
    return chat.end(category="abuse", command_id="too-soon")


def erased_again(chat: Chat) -> object:
    return chat.conversations.erase_conversation(
        "root", by=OPERATOR, cause=ErasureCause.USER_REQUEST, command_id="erase"
    )


SENT_TWICE: dict[str, tuple[Callable[[Chat], object], type]] = {
    "a turn": (again, Receipt),
    "a fork": (forked_again, Chat),
    "a refusal that left a trace": (ends_too_soon, Refused),
    "an erasure": (erased_again, Receipt),
}


@pytest.mark.parametrize("name", SENT_TWICE)
def test_what_is_found_recorded_passes_the_barrier(chats: Conversations, chat: Chat, name: str) -> None:
    """Last of all, so that all that the answer rests on was read by then; or else there is no answer."""
    act, answer = SENT_TWICE[name]
    talk(chat, "hello", "hello to you")
    assert isinstance(act(chat), answer)
    noted(chats)
    assert isinstance(act(chat), answer)
    assert noted(chats)[-1] == "barrier"
    closed: Any = chats.store
    closed.closed = True
    with pytest.raises(StoreError, match="not known to be durable"):
        act(chat)


def test_a_start_that_is_sent_again_passes_the_barrier(chats: Conversations) -> None:
    assert isinstance(chats.start(model=MODEL.id, conversation="root", command_id="begin"), Chat)
    assert noted(chats) == ["append"]
    assert isinstance(started_again(chats.chat("root")), Chat)
    assert noted(chats)[-1] == "barrier"


def test_an_ending_that_others_wrote_passes_the_barrier(chats: Conversations, chat: Chat) -> None:
    """Before the user is told of it, and before anything else is refused for it."""
    ended(chat)
    noted(chats)
    assert isinstance(chat.user_turn("hello"), BranchEnded)
    assert noted(chats) == ["barrier"]
    assert isinstance(chat.assistant_turn("hello"), Refused)
    assert noted(chats) == ["barrier"]
    closed: Any = chats.store
    closed.closed = True
    with pytest.raises(StoreError, match="not known to be durable"):
        chat.user_turn("hello")


def test_an_erasure_is_answered_once_the_keys_are_gone_for_good(chats: Conversations, chat: Chat) -> None:
    """The keys of words are no part of the log: a standby that takes over may still have them."""
    talk(chat, "hello")
    noted(chats)
    assert isinstance(erased_again(chat), Receipt)
    assert noted(chats)[-2:] == ["append", "barrier"]


def test_what_is_published_is_behind_a_barrier(chats: Conversations, chat: Chat) -> None:
    """A page at a time."""
    talk(chat, "hello", "hello to you")
    noted(chats)
    log = list(chats.store.log())
    assert list(published(chats.store, 1, at_once=1)) == log[1:]
    assert noted(chats) == ["barrier"] * 2
    closed: Any = chats.store
    closed.closed = True
    with pytest.raises(StoreError, match="not known to be durable"):
        next(published(chats.store))


# --- SQLite -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that this program syncs by itself."""
    names: list[str] = []
    fsync = os.fsync

    def noting(file: int) -> None:
        names.append(Path(os.readlink(f"/proc/self/fd/{file}")).name)
        fsync(file)

    monkeypatch.setattr(os, "fsync", noting)
    return names


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc, to know which file is synced")
@pytest.mark.parametrize(("level", "expected"), [("FULL", ["log.db-wal"]), ("NORMAL", [])])
def test_the_log_of_writes_is_synced_at_full(
    tmp_path: Path, synced: list[str], level: str, expected: list[str]
) -> None:
    """A writer that was killed before its sync left a commit there, which a loss of power would take back."""
    with opened(f"sqlite:///{tmp_path}/log.db?synchronous={level}") as chats:
        chat = chats.start(model=MODEL.id, conversation="root")
        again(chat)
        synced.clear()  # of its keys, which it made
        chat.user_turn("more")
        assert synced == []
        again(chat)
        assert synced == expected


def test_a_log_of_writes_that_cannot_be_synced_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(file: int) -> None:
        raise OSError(5, "Input/output error")

    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        chat = chats.start(model=MODEL.id, conversation="root")
        again(chat)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", fails)
            with pytest.raises(StoreError, match="not known to be durable"):
                again(chat)
        assert isinstance(again(chat), Receipt)


# --- deadlines on PostgreSQL ------------------------------------------------------------------------------------------


@pytest.mark.xdist_group("postgresql")
def test_many_threads_that_start_at_once_are_told_of_the_whole_wait(postgresql: Callable[[], str]) -> None:
    """While another program holds the lock: those that wait for a connection, or for one that writes for them, too."""
    url = postgresql()
    with opened(f"{url}&deadline=1") as chats, ThreadPoolExecutor(32) as threads:
        all_ = [chats.start(model=MODEL.id, conversation=f"c-{number}") for number in range(32)]
        for chat in all_:
            chat.user_turn("hello")
        with psycopg.connect(url) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            errors = list(threads.map(refused, all_))
        told = {
            "all in use": "no connection within 1 s: all are in use.*; nothing was written, try again$",
            "locked": "lock timeout.*; nothing was written$",
            "written by another": "a write did not finish within 1 s and may still succeed; send the command again",
            "a connection, but late": "no answer within 1 s .*; it may have been written: send the command again",
        }
        found = {name for error, _ in errors for name, pattern in told.items() if re.search(pattern, error)}
        assert "locked" in found
        assert all(any(re.search(pattern, error) for pattern in told.values()) for error, _ in errors), errors
        assert all(seconds > 0.8 for _, seconds in errors), "it gave up before the deadline"
        assert all(isinstance(chat.user_turn("words", command_id=f"{chat.branch}-words"), Receipt) for chat in all_)


def refused(chat: Chat) -> tuple[str, float]:
    """Return the error of a turn, and how long it took."""
    began = time.monotonic()
    with pytest.raises(StoreError) as error:
        chat.user_turn("words", command_id=f"{chat.branch}-words")
    return str(error.value), time.monotonic() - began


@pytest.mark.xdist_group("postgresql")
def test_a_barrier_waits_for_no_lock_of_appends(postgresql: Callable[[], str]) -> None:
    """What is recorded is answered while somebody imports, say."""
    url = postgresql()
    with opened(url) as chats, closing(psycopg.connect(url)) as other:
        chat = chats.start(model=MODEL.id, conversation="root")
        again(chat)
        other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        chats.store.barrier()
