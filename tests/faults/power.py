"""Power is lost: what a disk may hold then, made from the trace of what was written.

What was synced is there. Each write since then is there, or not, or in part, sector by sector, in any order; so is each
truncation. The folder's entries are a journal: of those since the last sync some first ones are there.
"""

import pickle
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from .acts import Answer

SECTOR = 512


class File:
    """What was written to a file: for sure, and since its last sync."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.pending: list[tuple[Any, ...]] = []

    def sync(self) -> None:
        for done in self.pending:
            _do(self.synced, done)
        self.pending.clear()

    def after_loss(self, random: Random, kept: float) -> bytes:
        """Return what may be there: each write is kept whole, in part, or not at all."""
        content = bytearray(self.synced)
        for done in self.pending:
            if random.random() < kept:
                _do(content, done)
            elif done[0] == "write" and random.random() < 0.5:
                _tear(content, done, random)
        return bytes(content)


def _do(content: bytearray, done: tuple[Any, ...]) -> None:
    if done[0] == "truncate":
        del content[done[1] :]
        return
    _, offset, data = done
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def _tear(content: bytearray, done: tuple[Any, ...], random: Random) -> None:
    _, offset, data = done
    for start in range(0, len(data), SECTOR):
        if random.random() < 0.5:
            _do(content, ("write", offset + start, data[start : start + SECTOR]))


class Disk:
    """The files of a folder, as the trace goes on."""

    def __init__(self, folder: Path) -> None:
        self._folder_path = str(folder)
        self.files: dict[str, File] = {}
        self._entries: dict[str, File] = {}  # what the folder holds for sure
        self._pending: list[tuple[str, File | None]] = []

    def take(self, what: str, path: str, *more: Any) -> None:
        """Go on by a step of the trace."""
        if what == "create":
            self.files[path] = File()
            self._pending.append((path, self.files[path]))
        elif what == "delete":
            del self.files[path]
            self._pending.append((path, None))
            if more[0]:
                self._settle(len(self._pending))
        elif what in ("rename", "link"):
            self._move(path, more[0], stays=what == "link")
        elif what == "sync" and path == self._folder_path:
            self._settle(len(self._pending))
        elif what == "sync":
            file = self.files[path]
            file.sync()
            created = [n for n, (_, entry) in enumerate(self._pending, start=1) if entry is file]
            self._settle(max(created, default=0))
        else:
            self.files[path].pending.append((what, *more))

    def _move(self, path: str, to: str, *, stays: bool) -> None:
        self.files[to] = self.files[path]
        self._pending.append((to, self.files[to]))
        if not stays:
            del self.files[path]
            self._pending.append((path, None))

    def _settle(self, upto: int) -> None:
        self._entries = self._folder(upto)
        del self._pending[:upto]

    def _folder(self, upto: int) -> dict[str, File]:
        entries = {**self._entries, **dict(self._pending[:upto])}
        return {path: file for path, file in entries.items() if file is not None}

    def after_loss(self, random: Random) -> dict[str, bytes]:
        """Return the files that may be there, by path."""
        kept = random.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        folder = self._folder(random.choice([0, len(self._pending), random.randint(0, len(self._pending))]))
        return {path: file.after_loss(random, kept) for path, file in folder.items()}


class Image(NamedTuple):
    """What a disk may hold after a loss of power, and what had been acknowledged by then."""

    files: dict[str, bytes]
    told: list[Answer]
    sealed: dict[str, bytes]  # words that were acknowledged, sealed, by digest


def images(trace: Iterable[tuple[Any, ...]], folder: Path, number: int, random: Random) -> Iterator[Image]:
    """Yield `number` images of a trace of `folder`, power being lost after any of its steps."""
    steps = list(trace)
    losses = sorted(random.randrange(len(steps)) for _ in range(number))
    disk = Disk(folder)
    told: list[Any] = []
    sealed: dict[str, bytes] = {}
    for at, step in enumerate(steps):
        if step[0] == "told":
            told.append(step[1])
        elif step[0] == "sealed":
            sealed |= {"sha256:" + sha256(data).hexdigest(): data for data in step[1]}
        else:
            disk.take(*step)
        while losses and losses[0] == at:
            losses.pop(0)
            yield Image(disk.after_loss(random), list(told), dict(sealed))
    unseen = {str(path) for path in folder.iterdir()} - set(disk.files) - {f"{folder}/trace"}
    assert not unseen, f"written past the trace: {unseen}"


def load(path: Path) -> list[tuple[Any, ...]]:
    with path.open("rb") as file:
        trace: list[tuple[Any, ...]] = pickle.load(file)  # our own, of a moment ago
        return trace
