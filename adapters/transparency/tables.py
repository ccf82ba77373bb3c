"""Where a transparency log is kept: beside the log that it is of, in its database.

    tlog_tiles          the tiles of the tree, the partial one of each level among them
    tlog_checkpoints    the latest checkpoint of each stage: pending (unsigned), signed, published

All of it but the signatures can be made again from the log. What the log is called, and what it continues, is a note of
the store (`tlog`), which a backup has too.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.followers.beside_log import beside, came_to
from lastresort.adapters.followers.follower import Mark
from lastresort.adapters.followers.tables import Tables, Transaction
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.merkle import Node
from lastresort.adapters.tlog.notes import Note
from lastresort.adapters.tlog.tiles import WIDTH, MissingTile, Tile, nodes

from .leaves import continuation

NAME = "transparency.1"
NOTE = "tlog"
NONE = "the store has no transparency log: `lastresort log init` begins one"
STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}tlog_tiles (level BIGINT, number BIGINT, hashes BYTEA NOT NULL, "
    "PRIMARY KEY (level, number))",
    "CREATE TABLE IF NOT EXISTS {schema}tlog_checkpoints (stage TEXT PRIMARY KEY, note TEXT NOT NULL)",
)
Stage = Literal["pending", "signed", "published"]


class Identity(NamedTuple):
    """What a transparency log is called, and the last published checkpoint of the log that it continues, if it does."""

    origin: str
    continues: Checkpoint | None = None

    @property
    def before(self) -> tuple[bytes, ...]:
        """The entries that stand before the first event."""
        return () if self.continues is None else (continuation(self.continues),)

    def __str__(self) -> str:
        return json.dumps({"origin": self.origin, "continues": self.continues and self.continues.text})

    @classmethod
    def parse(cls, text: str) -> Self:
        told = json.loads(text)
        return cls(told["origin"], Checkpoint.parse(told["continues"]) if told["continues"] else None)


class TransparencyTables:
    """The transparency log of a store.

    Args:
        store: has the log, in a database.
    """

    def __init__(self, store: SQLStore) -> None:
        self.store = store

    @cached_property
    def _tables(self) -> Tables:
        return beside(self.store, STATEMENTS)

    def identity(self) -> Identity | None:
        """Return what the log is called, None if there is none."""
        noted = self.store.noted(NOTE)
        return None if noted is None else Identity.parse(noted)

    def begin(self, identity: Identity) -> None:
        """Begin a transparency log, in place of one that there may be."""
        with self.transaction() as transaction:
            transaction.clear("tlog_tiles", "tlog_checkpoints")
        self.store.note(NOTE, str(identity))

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Begin a transaction that no other of a transparency log of this store is in; commit unless it raises."""
        with self._tables.transaction(NAME) as transaction:
            yield transaction

    def mark(self) -> Mark | None:
        """Return the last event that is in the tree, None if there is none."""
        return came_to(self.store, NAME)

    def tile(self, level: int, number: int) -> bytes:
        """Return the hashes of a tile.

        Raises:
            MissingTile: there is none.
        """
        rows = self._tables.rows(
            "SELECT hashes FROM {schema}tlog_tiles WHERE level = %s AND number = %s", level, number
        )
        if not rows:
            raise MissingTile(f"{Tile(level, number).path}: it is gone")
        return bytes(rows[0]["hashes"])

    def nodes(self) -> Node:
        """Return what tells the nodes of the tree."""
        return nodes(self.tile)

    def edge(self, size: int) -> dict[int, bytes]:
        """Return the partial tiles of the tree, by level."""
        found, level = {}, 0
        while size:
            size, width = divmod(size, WIDTH)
            if width:
                found[level] = self.tile(level, size)
            level += 1
        return found

    def checkpoint(self, stage: Stage) -> Note | None:
        """Return the latest checkpoint of a stage, None if there is none. One that is pending has no signatures."""
        rows = self._tables.rows("SELECT note FROM {schema}tlog_checkpoints WHERE stage = %s", stage)
        if not rows:
            return None
        found = str(rows[0]["note"])
        return Note(found) if stage == "pending" else Note.parse(found)

    def keep(self, stage: Stage, note: Note) -> None:
        """Keep a checkpoint, as durably as an event."""
        text = note.text if stage == "pending" else str(note)
        with self.transaction() as transaction:
            transaction.write(
                "INSERT INTO {schema}tlog_checkpoints VALUES (%s, %s) "
                "ON CONFLICT (stage) DO UPDATE SET note = excluded.note",
                [(stage, text)],
            )


def write_tiles(transaction: Transaction, changed: Mapping[tuple[int, int], bytes]) -> None:
    """Write tiles in place of what they are of a later state of."""
    rows: Iterable[tuple[Any, ...]] = ((*place, hashes) for place, hashes in changed.items())
    transaction.write(
        "INSERT INTO {schema}tlog_tiles VALUES (%s, %s, %s) "
        "ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes",
        list(rows),
    )


def needed(identity: Identity | None) -> Identity:
    """Return the identity of a log that there has to be.

    Raises:
        StoreError: there is none.
    """
    if identity is None:
        raise StoreError(NONE)
    return identity
