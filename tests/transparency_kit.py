"""What the tests of the transparency log share: a store that has one, and ways to tamper with it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lastresort import Conversations
from lastresort.adapters.stores.rows import WRITTEN
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.policy import TrustPolicy
from lastresort.adapters.transparency.key_files import LogKey, make_log_key
from lastresort.adapters.transparency.sequencer import Published, Sequencer
from lastresort.adapters.transparency.tables import Identity, TransparencyTables

from .stores import ended, long, opened, started

ORIGIN = "log.example/chats"
Row = tuple[Any, ...]
"""A row of the log: its position, and the columns that are written."""
AT = {name: at for at, name in enumerate(["position", *WRITTEN.split(", ")])}


def story(chats: Conversations) -> None:
    """A few conversations: an ending, a fork, words, some forty events."""
    ended(started(chats, "a"))
    chat = long(chats, 4, "b")
    assert chat.edit(4, "Instead.", child="b2")


class Log(NamedTuple):
    """A store with a transparency log."""

    url: str
    chats: Conversations
    tables: TransparencyTables
    key: LogKey
    sequencer: Sequencer

    @property
    def store(self) -> SQLStore:
        return self.tables.store

    @property
    def policy(self) -> TrustPolicy:
        return TrustPolicy((self.key.verifier,))

    def checkpoint(self) -> Published:
        self.sequencer.sequence()
        return self.sequencer.checkpoint()

    def head(self) -> Checkpoint:
        note = self.tables.checkpoint("published")
        assert note is not None
        return Checkpoint.parse(note.text)

    # --- tampering: behind the program's back, by statements that both engines understand ---

    def rows(self) -> list[Row]:
        return [tuple(row) for row in self.store.stored()]

    def rewrite(self, rows: Sequence[Row]) -> None:
        """Have the log consist of these rows."""
        marks = ", ".join(["%s"] * len(AT))
        insert = f"INSERT INTO {{events}} ({{position}}, {WRITTEN}) VALUES ({marks})"
        self.store._change(("DELETE FROM {events}", ()), *((insert, row) for row in rows))

    def tiles(self) -> list[Row]:
        return list(self.store._rows("SELECT level, number, hashes FROM {schema}tlog_tiles ORDER BY level, number"))

    def rewrite_tiles(self, tiles: Sequence[Row]) -> None:
        insert = "INSERT INTO {schema}tlog_tiles VALUES (%s, %s, %s)"
        self.store._change(("DELETE FROM {schema}tlog_tiles", ()), *((insert, tile) for tile in tiles))


@contextmanager
def log_of(
    url: str,
    folder: Path,
    *,
    policy: TrustPolicy | None = None,
    tell: Callable[[Conversations], None] = story,
    now: Callable[[], float] = time.time,
    key: LogKey | None = None,
) -> Iterator[Log]:
    """Give a store with a story and a transparency log, of which nothing is sequenced yet."""
    with opened(url) as chats:
        tell(chats)
        assert isinstance(chats.store, SQLStore)
        tables = TransparencyTables(chats.store)
        key = key or make_log_key(folder / "log.key", ORIGIN)
        tables.begin(Identity(ORIGIN))
        yield Log(url, chats, tables, key, Sequencer(tables, key, policy or TrustPolicy(), now=now))


@contextmanager
def as_before(log: Log) -> Iterator[None]:
    """Put rows and tiles back as they were."""
    rows, tiles = log.rows(), log.tiles()
    yield
    log.rewrite(rows)
    log.rewrite_tiles(tiles)


def changed(row: Row, **columns: Any) -> Row:
    """Return a row with other columns."""
    values = list(row)
    for name, value in columns.items():
        values[AT[name]] = value
    return tuple(values)


def in_state(row: Row, change: Callable[[Any], None]) -> Row:
    """Return a row with another state."""
    state = json.loads(row[AT["state"]])
    change(state)
    return changed(row, state=json.dumps(state, separators=(",", ":")).encode())


def numbered(rows: Sequence[Row]) -> list[Row]:
    """Return rows at positions one behind the other."""
    return [changed(row, position=number) for number, row in enumerate(rows, start=1)]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder for what is kept outside of the database."""
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder
