"""The oracle of these tests finds what it is there for, and the disk that loses power loses what it may, no more."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from .acts import Act, Answer, carry_out, check, open_at
from .power import SECTOR, Disk

LOG = Path("/folder/log.db")


@pytest.fixture
def written(tmp_path: Path) -> tuple[str, list[Answer]]:
    """A store, and what its writer was told: a start and three turns."""
    url = f"sqlite:///{tmp_path}/log.db"
    acts = [
        Act("start", "one", "start", {"conversation": "one"}),
        Act("turn", "one", "user_turn", {"words": "hello"}),
        Act("answer", "one", "assistant_turn", {"words": "hello"}),
        Act("another", "one", "user_turn", {"words": "how are you"}),
    ]
    with closing(open_at(url)) as chats:
        told = [carry_out(chats, act) for act in acts]
    return url, told


def test_what_is_whole_passes(written: tuple[str, list[Answer]]) -> None:
    """All was committed, and is there."""
    url, told = written
    assert [one.what for one in told] == ["committed"] * 4
    assert [entry.command_id for entry in check(url, told)] == ["start", "turn", "answer", "another"]


FALSE = {
    "of a command that is not there": lambda told: [*told, told[-1]._replace(id="more")],
    "of an event that is not there": lambda told: [told[0]._replace(events=told[0].events * 2), *told[1:]],
    "of other words": lambda told: [*told[:3], told[3]._replace(words=dict.fromkeys(told[3].words, "other words"))],
}


@pytest.mark.parametrize("what", FALSE)
def test_an_acknowledgement_that_is_not_held_is_found(written: tuple[str, list[Answer]], what: str) -> None:
    """As when the store had lost something."""
    url, told = written
    change: Callable[[list[Answer]], list[Answer]] = FALSE[what]
    with pytest.raises(AssertionError, match=r"acknowledged, and not in the log|the words under"):
        check(url, change(told))


DAMAGE = {
    "the last event": ("DELETE FROM stored_events WHERE rowid=4", "not in the log"),
    "an event in the middle": ("DELETE FROM stored_events WHERE rowid=3", "not in the log"),
    "its words": ("DELETE FROM contents WHERE position=2", "the words under"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_lost_is_found(written: tuple[str, list[Answer]], tmp_path: Path, what: str) -> None:
    """Taken from the file of the store."""
    url, told = written
    statement, found = DAMAGE[what]
    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as store:
        store.execute(statement)
    with pytest.raises(AssertionError, match=found):
        check(url, told)


def test_a_gap_is_found_that_nobody_was_told_of(written: tuple[str, list[Answer]], tmp_path: Path) -> None:
    """Without any acknowledgement to hold it to."""
    url, _ = written
    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as store:
        store.execute("DELETE FROM stored_events WHERE rowid=3")
    with pytest.raises(AssertionError, match="structure-gap"):
        check(url, [])


# --- The disk --------------------------------------------------------------------------------------------------------


def after(*steps: tuple[Any, ...]) -> set[bytes | None]:
    """Return what may be in the log after the steps, as far as a thousand losses of power show it."""
    disk = Disk(LOG.parent)
    for what, *more in steps:
        disk.take(what, str(LOG), *more)
    random = Random(1)
    return {disk.after_loss(random).get(str(LOG)) for _ in range(1_000)}


def test_what_was_synced_is_kept() -> None:
    """Whatever else happens."""
    assert after(("create",), ("write", 0, b"abc"), ("sync",)) == {b"abc"}


def test_what_was_not_synced_may_be_kept_or_not() -> None:
    """The file itself too."""
    assert after(("create",), ("write", 0, b"abc")) == {None, b"", b"abc"}
    assert after(("create",), ("write", 0, b"abc"), ("sync",), ("write", 0, b"x")) == {b"abc", b"xbc"}
    assert after(("create",), ("write", 0, b"abc"), ("sync",), ("truncate", 1)) == {b"abc", b"a"}


def test_writes_come_in_any_order_and_in_part() -> None:
    """A later one without an earlier one, and one sector of two."""
    synced = (("create",), ("write", 0, b"a" * 2 * SECTOR), ("sync",))
    seen = after(*synced, ("write", 0, b"b" * 2 * SECTOR), ("write", 0, b"c"))
    a, b = b"a" * SECTOR, b"b" * SECTOR
    assert {a + a, b + b, a + b, b + a, b"c" + a[1:] + a, b"c" + b[1:] + b} <= seen


def test_a_deleted_file_may_come_back() -> None:
    """Unless the folder was synced."""
    made = (("create",), ("write", 0, b"abc"), ("sync",))
    assert after(*made, ("delete", False)) == {None, b"abc"}
    assert after(*made, ("delete", True)) == {None}
