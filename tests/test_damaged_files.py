"""A store whose files are damaged: it says so, and what to do, and never passes for another log."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from lastresort import StoreError, open_conversations

from .operations_kit import opened
from .stores import done, started

WHAT_TO_DO = "; keep a copy of it, and restore the latest backup"


def a_store(folder: Path) -> tuple[str, list[str]]:
    """Make a store of several pages, and return its URL and its log."""
    url = f"sqlite:///{folder}/log.db"
    with opened(url) as chats:
        for conversation in ("a", "b", "c"):
            chat = started(chats, conversation)
            for number in range(12):
                done(chat.user_turn(f"Hello for the {number}th time."))
                done(chat.assistant_turn("Well."))
        log = list(map(str, chats.store.log()))
    return url, log


def pages(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
    assert isinstance(size, int)
    assert path.stat().st_size % size == 0
    return size


@pytest.mark.parametrize("damage", ["emptied", "overwritten", "moved"])
def test_wherever_a_log_is_damaged_it_is_the_same_or_says_so(tmp_path: Path, damage: str) -> None:
    url, log = a_store(tmp_path)
    path = tmp_path / "log.db"
    size, whole = pages(path), path.read_bytes()
    became = Counter[str]()
    for start in range(0, len(whole), size):
        page = whole[start : start + size]
        spoiled = {"emptied": bytes(size), "overwritten": b"\xff" * size, "moved": page[7:] + bytes(7)}[damage]
        path.write_bytes(whole[:start] + spoiled + whole[start + size :])
        try:
            with opened(url) as chats:
                assert list(map(str, chats.store.log())) == log, f"page {start // size}"
            became["the same"] += 1
        except StoreError as error:
            said = str(error)
            assert "try again" not in said
            assert said.endswith(("file is not a database", WHAT_TO_DO)), f"page {start // size}: {said}"
            became["told"] += 1
    assert became["told"] > became["the same"]  # a page of an index that nobody asked, or one that is free


def test_a_file_that_lost_its_end_says_so(tmp_path: Path) -> None:
    url, _ = a_store(tmp_path)
    path = tmp_path / "log.db"
    path.write_bytes(path.read_bytes()[: -pages(path)])
    with pytest.raises(StoreError, match="malformed") as said, open_conversations(url) as chats:
        list(chats.store.log())
    assert str(said.value).endswith(WHAT_TO_DO)


def test_keys_that_are_damaged_say_so(tmp_path: Path) -> None:
    """And the log is there all the same."""
    url, log = a_store(tmp_path)
    path = tmp_path / "log.db-keys"
    size, whole, told = pages(path), path.read_bytes(), list[str]()
    for start in range(0, len(whole), size):
        path.write_bytes(whole[:start] + b"\xff" * size + whole[start + size :])
        try:
            with opened(url) as chats:
                assert list(map(str, chats.store.log())) == log
                chats.words(list(chats.store.log()))
        except StoreError as error:
            told.append(str(error))
    assert told
    assert all(said.endswith(("file is not a database", WHAT_TO_DO)) for said in told)
    assert max(said.count(WHAT_TO_DO) for said in told) == 1
