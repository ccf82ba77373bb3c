"""States kept beside the log, so that a long branch is read in the time of a short one.

A snapshot is never trusted over the log, and any of them can be thrown away. It is used only if all of this holds:

* it was made by the fold that would read the log now: it begins with that fold's number, `domain.state.FOLD`;
* it is as it was written, for this branch and version, by a process that had the store's keys: an HMAC says so, under
  a key that is kept with the keys of conversations, so that it takes more than the log's file to make one up;
* the event at its version is the one that it was taken after, to the byte, or else it is of another history;
* it has ended if and only if the log has an ending of the branch up to its version, which an index of endings says.

Otherwise it counts for nothing, and the branch is read from an earlier one, or from its beginning. What nobody can
undo, an ending, is decided on the whole log all the same; and an audit compares every snapshot with the log.
"""

import hmac
import zlib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from lastresort.adapters.databases.errors import StoreError
from lastresort.application.ports import Snapshot
from lastresort.domain.canonical import recorded_digest
from lastresort.domain.events import RecordedEvent
from lastresort.domain.state import FOLD, Conversation, evolve

from .keys import Keys

EVERY = 100
"""How many versions apart the snapshots of a branch are: about what can be read in the time of opening one."""

_KEY = "the snapshots of this store"  # no conversation is called that: an id has no spaces
_MOST_LOOKED_AT = 8
"""Snapshots that are looked at for one that counts. Somebody who can write to the log's file can put any number
there; a branch that is read from its beginning is just as right."""
_MARK_BYTES, _SEAL_BYTES, _LAST_BYTES = 8, 16, 16
_LAST = 2**62  # no branch comes as far


class SnapshotRows(Protocol):
    """Where snapshots are kept: a store, which knows nothing of what is in them.

    Raises:
        StoreError: it cannot be read or written now.
    """

    def snapshot(self, branch: str, upto: int, prefix: bytes) -> tuple[int, bytes] | None:
        """Return the latest snapshot of a branch up to a version that begins with `prefix`, after its version.

        A store need not look far for it: what it does not find is left out.
        """
        ...

    def ending(self, branch: str) -> int | None:
        """Return the version at which a branch ended, as its log has it; None if it has not."""
        ...

    def snapshot_versions(self, branch: str) -> list[int]:
        """Return the versions of which a branch has snapshots."""
        ...

    def replace_snapshots(self, branch: str, snapshots: Mapping[int, bytes]) -> None:
        """Keep `snapshots`, by version, and no others of a branch."""
        ...

    def long_branches(self, least: int) -> list[str]:
        """Return the branches with at least so many events of their own, or with snapshots."""
        ...


def mark() -> bytes:
    """Return what a snapshot in use begins with: 8 bytes that name the form of snapshots and the fold."""
    return b"last" + FOLD.to_bytes(_MARK_BYTES - 4)


@cache
def _states() -> TypeAdapter[Conversation]:
    return TypeAdapter(Conversation)


@cache
def _usual() -> bytes:
    """What most states have in them, so that a snapshot need not say it again."""
    return _states().dump_json(Conversation())


def dumped(state: Conversation, last: bytes) -> bytes:
    """Write a state, behind the digest of the event that led to it. Not one that is about to open at a fork."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_usual())
    return last + deflate.compress(_states().dump_json(state)) + deflate.flush()


def loaded(data: bytes) -> Snapshot:
    """Read what `dumped` wrote.

    Raises:
        ValueError, zlib.error: it is something else.
    """
    inflate = zlib.decompressobj(-15, zdict=_usual())
    return Snapshot(_states().validate_json(inflate.decompress(data[_LAST_BYTES:])), data[:_LAST_BYTES])


class SealedSnapshots:
    """The snapshots in a store. See `application.ports.Snapshots`.

    Args:
        rows: where they are kept.
        keys: keeps the key that they are sealed with.
        every: how many versions apart they are taken; with 0 none is taken, and those that there are are used.
    """

    def __init__(self, rows: SnapshotRows, keys: Keys, every: int = EVERY) -> None:
        self.every = every
        self._rows = rows
        self._keys = keys
        self._key: bytes | None = None

    def take(self, state: Conversation, last: RecordedEvent) -> bytes | None:
        key = self._sealing(make=True)
        if key is None:
            return None
        data = dumped(state, recorded_digest(last))
        return mark() + _seal(key, last.branch, last.version, data) + data

    def latest(self, branch: str, upto: int | None = None) -> Snapshot | None:
        key = self._sealing()
        most = _LAST if upto is None else min(upto, _LAST)
        for _ in range(_MOST_LOOKED_AT):
            found = None if key is None else self._rows.snapshot(branch, most, mark())
            if key is None or found is None:
                return None
            version, data = found
            if (kept := _opened(key, branch, version, bytes(data))) is not None and self._ends_as_logged(branch, kept):
                return kept
            most = version - 1
        return None

    def _ends_as_logged(self, branch: str, kept: Snapshot) -> bool:
        """Whether a state has ended if and only if the log says so: the state of another history may not."""
        ended = self._rows.ending(branch)
        return (kept.state.ended is not None) == (ended is not None and ended <= kept.state.version)

    def renew(self, branch: str, path: Iterable[RecordedEvent]) -> int:
        """Make the snapshots of a branch again, from its path; return how many there are now."""
        taken: dict[int, bytes] = {}
        state = Conversation()
        for recorded in path:
            state = evolve(state, recorded.event)
            due = self.every and recorded.version % self.every == 0
            if due and recorded.branch == branch and (data := self.take(state, recorded)):
                taken[recorded.version] = data
        if taken or self._rows.snapshot_versions(branch):
            self._rows.replace_snapshots(branch, taken)
        return len(taken)

    def long_branches(self) -> list[str]:
        """Return the branches that are long enough for snapshots, or have some."""
        return self._rows.long_branches(self.every or _LAST)

    def _sealing(self, *, make: bool = False) -> bytes | None:
        """Return the key that snapshots are sealed with: None if there is none, or it cannot be had now."""
        if self._key is None:
            try:
                self._key = self._keys.of(_KEY)
                if self._key is None and make:
                    self._keys.take(_KEY)
                    self._key = self._keys.of(_KEY)  # of two that came at once, both find the same one
            except StoreError:
                return None  # without snapshots everything takes longer, and nothing is wrong
        return self._key


def _opened(key: bytes, branch: str, version: int, data: bytes) -> Snapshot | None:
    seal, inside = data[_MARK_BYTES : _MARK_BYTES + _SEAL_BYTES], data[_MARK_BYTES + _SEAL_BYTES :]
    if not hmac.compare_digest(seal, _seal(key, branch, version, inside)):
        return None
    try:
        return loaded(inside)
    except (zlib.error, ValidationError, ValueError):
        return None


def _seal(key: bytes, branch: str, version: int, data: bytes) -> bytes:
    place = f"{branch} {version} ".encode()
    return hmac.digest(key, mark() + place + data, "sha256")[:_SEAL_BYTES]
