"""SQLite's lock goes to the one who asks at the right moment: what becomes of a command whose turn does not come."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lastresort import Chat, Conversations, Receipt, Risk, StoreError, Verdict, open_conversations
from lastresort.adapters.stores.sqlite import SQLiteStore
from lastresort.application.ports import Append, Locked

from .vocabulary import MODEL


class Lock:
    """Another connection that holds the lock, until appends have waited for it in vain so many `times`."""

    def __init__(self, path: Path, store: SQLiteStore, times: int) -> None:
        self._other = sqlite3.connect(path, isolation_level=None)
        self._other.execute("BEGIN IMMEDIATE")
        self._store = store
        self._left = times
        self.waits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, *appends: Append) -> Any:
        if self.waits == self._left:
            self.release()
        self.waits += 1
        return self._store.append(*appends)

    def release(self) -> None:
        self._other.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def chat(path: Path) -> Iterator[Chat]:
    """A conversation of two branches, in a store whose calls wait for no longer than a moment."""
    with closing(open_conversations(f"sqlite:///{path}?deadline=0.02")) as chats:
        chat = chats.start(model=MODEL.id, conversation="root")
        chat.user_turn("hello")
        chat.edit(2, "good day", child="other")
        yield chats.chat("root")


def locked(chats: Conversations, path: Path, times: int) -> Lock:
    assert isinstance(chats.store, SQLiteStore)
    lock = Lock(path, chats.store, times)
    chats.service.ports.store = lock
    return lock


def test_a_risk_is_raised_though_its_turn_does_not_come_at_once(chat: Chat, path: Path) -> None:
    """On both branches, once."""
    lock = locked(chat.conversations, path, times=4)
    assert isinstance(chat.raise_risk(command_id="risk"), Receipt)
    assert lock.waits == 5
    assert [len(chat.conversations.state(branch).risks) for branch in ("root", "other")] == [1, 1]


def test_so_is_the_risk_that_a_verdict_sees(chat: Chat, path: Path) -> None:
    """In one append with the verdict."""
    locked(chat.conversations, path, times=4)
    assert isinstance(chat.judge(Verdict.AMBIGUOUS, risk=Risk.IMMINENT), Receipt)
    assert [len(chat.conversations.state(branch).risks) for branch in ("root", "other")] == [1, 1]


def test_someone_who_holds_the_lock_for_ever_is_told_of(chat: Chat, path: Path) -> None:
    """Nobody waits for ever; nothing was written, and the command may be sent again."""
    lock = locked(chat.conversations, path, times=100)
    with pytest.raises(StoreError, match="another program held the store's lock until the deadline") as error:
        chat.raise_risk(command_id="risk")
    assert isinstance(error.value, Locked)
    assert lock.waits == 5
    lock.release()
    assert isinstance(chat.raise_risk(command_id="risk"), Receipt)
    assert len(chat.state.risks) == 1


def test_all_else_waits_once(chat: Chat, path: Path) -> None:
    """Someone who sends a turn is told in time, and decides what to do."""
    lock = locked(chat.conversations, path, times=100)
    with pytest.raises(Locked):
        chat.user_turn("and now?")
    assert lock.waits == 1
    lock.release()
