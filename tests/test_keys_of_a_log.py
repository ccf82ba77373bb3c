"""Keys say which log they are of: its words decide, and a note spares looking at them again."""

import os
import shutil
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lastresort import Conversations, ErasureCause, StoreError, open_conversations
from lastresort.adapters.opening import open_store
from lastresort.adapters.upkeep.backup import backup, restore
from lastresort.adapters.vault.sealing import names_in

from .service_kit import done
from .stores import DURABLE_STORES, MODEL, OPERATOR, new_url, started

ANOTHER_STORE = "the keys beside this log are of another store"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by default: other tests set them for the whole session."""
    monkeypatch.delenv("LASTRESORT_MASTER_KEY", raising=False)


def url_of(folder: Path, name: str) -> str:
    return f"sqlite:///{folder}/{name}.db"


def opened(folder: Path, name: str) -> "closing[Conversations]":
    return closing(open_conversations(url_of(folder, name)))


def said(chats: Conversations) -> set[str]:
    branches = dict.fromkeys(recorded.branch for recorded in chats.store.log())
    return {words for branch in branches for words in chats.words(chats.path(branch)).values()}


def begin(folder: Path, name: str, *, words: bool = True, title: bool = False, times: int = 1) -> None:
    """Begin a conversation each time that the store is opened."""
    for _ in range(times):
        with opened(folder, name) as chats:
            chat = chats.start(model=MODEL.id, conversation=f"{name}-{chats.new_id()}")
            if words:
                done(chat.user_turn(f"Said in {name}."))
            if title:
                chat.describe(title=f"Of {name}")


def swap(folder: Path, *names: str) -> None:
    """Have each store's keys stand beside the log of the next one."""
    for end in ("-keys", "-master"):
        files = [folder / f"{name}.db{end}" for name in names]
        beside = folder / "beside"
        files[0].rename(beside)
        for to, what in pairwise(files):
            what.rename(to)
        beside.rename(files[-1])


def notes(folder: Path, name: str) -> list[str]:
    with closing(sqlite3.connect(folder / f"{name}.db-keys")) as keys:
        return [text for (text,) in keys.execute("SELECT fingerprint FROM master WHERE fingerprint LIKE 'log %'")]


@pytest.mark.parametrize("times", [1, 2], ids=["opened once before", "opened twice before"])
@pytest.mark.parametrize("wrongly", [1, 2], ids=["and once wrongly", "and twice wrongly"])
def test_keys_that_were_swapped_open_nothing__and_their_own_log_afterwards(
    times: int, wrongly: int, tmp_path: Path
) -> None:
    """Keys of which a log was begun note nothing of it yet: what stands beside the wrong log must not note that one."""
    for name in ("one", "two"):
        begin(tmp_path, name, times=times)
    swap(tmp_path, "one", "two")
    for _ in range(wrongly):
        for name in ("one", "two"):
            with pytest.raises(StoreError, match=ANOTHER_STORE):
                open_conversations(url_of(tmp_path, name))
    swap(tmp_path, "one", "two")
    for _ in range(2):
        for name in ("one", "two"):
            with opened(tmp_path, name) as chats:
                assert said(chats) == {f"Said in {name}."}
    assert notes(tmp_path, "one") != notes(tmp_path, "two")
    assert len(notes(tmp_path, "one")) == len(notes(tmp_path, "two")) == 1


@pytest.mark.parametrize("title", [False, True], ids=["no keys", "keys of titles"])
def test_logs_without_words_lock_nobody_out(title: bool, tmp_path: Path) -> None:
    """Nothing says whose the keys are that stand beside them."""
    begin(tmp_path, "one", times=2)
    begin(tmp_path, "two", words=False, title=title, times=2)
    begin(tmp_path, "three", words=False, title=title)
    swap(tmp_path, "two", "three")
    for name in ("two", "three"):
        begin(tmp_path, name, words=False)
    swap(tmp_path, "two", "three")
    for name in ("two", "three"):
        begin(tmp_path, name, title=True, times=2)
    swap(tmp_path, "one", "two")
    with pytest.raises(StoreError, match=ANOTHER_STORE):
        open_conversations(url_of(tmp_path, "one"))
    swap(tmp_path, "one", "two")
    for name in ("one", "two", "three"):
        with opened(tmp_path, name) as chats:
            assert said(chats) == {f"Said in {name}."}


@pytest.fixture(params=DURABLE_STORES)
def url(request: pytest.FixtureRequest) -> str:
    return new_url(request.param, request)


def keys_at(url: str) -> Any:
    """Return what opens the wrapped keys of a store, which is not closed."""
    vault: Any = open_store(url, master_key=lambda: bytes(32))[1]
    return vault._keys._keys


def test_keys_that_note_another_log_and_yet_open_this_one(url: str) -> None:
    """As an earlier version noted the first log beside which they stood."""
    for _ in range(2):
        with closing(open_conversations(url, master_key=lambda: bytes(32))) as chats:
            done(started(chats, chats.new_id()).user_turn("Said before."))
    with closing(keys_at(url)) as keys:
        (own,) = (note for note in keys.notes() if note.startswith("log "))
        assert keys.replace_note(own, "log of another", "log of a third")
    for _ in range(2):
        with closing(open_conversations(url, master_key=lambda: bytes(32))) as chats:
            assert said(chats) == {"Said before."}
    with closing(keys_at(url)) as keys:
        assert [note for note in keys.notes() if note.startswith("log ")] == [own]


def test_a_few_of_the_words_are_looked_at(url: str) -> None:
    """However many there are: how the oldest and the newest begin."""
    with closing(open_conversations(url, master_key=lambda: bytes(32))) as chats:
        for number in range(5):
            done(started(chats, f"c-{number}").user_turn(f"Said {number} times."))
        store: Any = chats.store
        all_of_them, some = store.sealed_beginnings(100, 17), store.sealed_beginnings(4, 17)
        assert {len(data) for data in all_of_them} == {17}
        in_order = all_of_them[:5]
        assert all_of_them == in_order + in_order[::-1]
        assert some == [*in_order[:2], *in_order[:2:-1]]
        assert [len(list(names_in(data))) for data in (some[0], b"", b"\3too", b"\3shorter", b"as before")] == [
            2, 0, 0, 1, 1,
        ]  # fmt: skip


def test_keys_of_another_store_are_told_of(tmp_path: Path) -> None:
    """On opening, and not by words that nobody kept. An empty file says that one goes on without the words."""
    for name in ("one", "two"):
        begin(tmp_path, name, times=2)
    for end in ("-keys", "-master"):
        shutil.copy(tmp_path / f"one.db{end}", tmp_path / f"two.db{end}")
    with pytest.raises(StoreError, match=ANOTHER_STORE):
        open_conversations(url_of(tmp_path, "two"))
    (tmp_path / "two.db-keys").write_bytes(b"")
    with opened(tmp_path, "two") as chats:
        assert said(chats) == set()
    begin(tmp_path, "two", words=False, title=True)
    with opened(tmp_path, "two") as chats:
        assert said(chats) == set()
    with opened(tmp_path, "one") as chats:
        assert said(chats) == {"Said in one."}


def test_keys_of_which_the_log_was_erased_are_its_own(tmp_path: Path) -> None:
    """It has no words any more, and its keys are others than those that sealed what it had."""
    begin(tmp_path, "one")
    with opened(tmp_path, "one") as chats:
        (branch,) = {recorded.branch for recorded in chats.store.log()}
        done(chats.erase_conversation(branch, by=OPERATOR, cause=ErasureCause.LEGAL))
    begin(tmp_path, "one", words=False, title=True)
    with opened(tmp_path, "one") as chats:
        assert said(chats) == set()


def test_keys_of_a_restored_backup_are_its_logs(tmp_path: Path) -> None:
    """The newest keys go with an older copy of the log, since both begin alike."""
    begin(tmp_path, "log", times=2)
    backup(url_of(tmp_path, "log"), tmp_path / "monday")
    with opened(tmp_path, "log") as chats:
        done(started(chats, "tuesday").user_turn("Said on Tuesday."))
    shutil.copy(tmp_path / "log.db-master", tmp_path / "again.db-master")
    assert restore(tmp_path / "monday", url_of(tmp_path, "again")).findings == ()
    for _ in range(2):
        with opened(tmp_path, "again") as chats:
            assert said(chats) == {"Said in log."}
    os.unlink(tmp_path / "again.db-keys")
    shutil.copy(tmp_path / "log.db-keys", tmp_path / "again.db-keys")
    with opened(tmp_path, "again") as chats:
        assert said(chats) == {"Said in log."}
