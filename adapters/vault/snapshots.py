"""States kept beside the log, so that a long branch is read in the time of a short one.

A snapshot is never trusted over the log, and any of them can be thrown away. It is used only if all of this holds:

* it was made by the code that would fold the log now: it begins with a digest of that code's sources;
* it is as it was written, for this branch and version, by a process that had the store's keys: an HMAC says so, under
  a key that is kept with the keys of conversations, so that who can write to the log's file alone cannot make one up;
* the event at its version was recorded by the command that it names, or else it is of another history.

Otherwise it counts for nothing, and the branch is read from an earlier one, or from its beginning. What nobody can
undo, an ending, is decided on the whole log all the same; and an audit compares every snapshot with the log.
"""

import hashlib
import hmac
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType

from pydantic import TypeAdapter, ValidationError

from lastresort.adapters.databases.errors import StoreError, reached
from lastresort.adapters.stores import codec as encoding
from lastresort.adapters.stores.recorders import LogRecorder
from lastresort.application.ports import Kept
from lastresort.domain import events, policy, state, values
from lastresort.domain.events import Recorded
from lastresort.domain.state import Conversation, evolve

from .keys import Keys

EVERY = 100
"""How many versions apart the snapshots of a branch are: about what can be read in the time of opening one."""

_OF_THE_FOLD: tuple[ModuleType, ...] = (values, policy, events, state, encoding)
_KEY = "the snapshots of this store"  # no conversation is called that: an id has no spaces
_FOLD_BYTES, _SEAL_BYTES = 8, 16


@cache
def fold_digest() -> bytes | None:
    """Name the code that folds the log, by its sources: 8 bytes. None where these cannot be read."""
    digest = hashlib.sha256(_usual())
    try:
        for module in _OF_THE_FOLD:
            digest.update(Path(str(module.__file__)).read_bytes())
    except OSError:
        return None
    return digest.digest()[:_FOLD_BYTES]


@cache
def _states() -> TypeAdapter[Conversation]:
    return TypeAdapter(Conversation)


@cache
def _usual() -> bytes:
    """What most states have in them, so that a snapshot need not say it again."""
    return _states().dump_json(Conversation())


def dumped(state: Conversation, command_id: str) -> bytes:
    """Write a state, and the command that led to it. Not one that is about to open at a fork: that is of no event."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_usual())
    return deflate.compress(command_id.encode() + b" " + _states().dump_json(state)) + deflate.flush()


def loaded(data: bytes) -> Kept:
    """Read what `dumped` wrote.

    Raises:
        ValueError, zlib.error: it is something else.
    """
    inflate = zlib.decompressobj(-15, zdict=_usual())
    command_id, _, text = inflate.decompress(data).partition(b" ")
    return Kept(_states().validate_json(text), command_id.decode())


class SealedSnapshots:
    """The snapshots in a store. See `application.ports.Snapshots`.

    Args:
        recorder: keeps them.
        keys: keeps the key that they are sealed with.
        every: how many versions apart they are taken; with 0 none is taken, and those that there are are used.
    """

    def __init__(self, recorder: LogRecorder, keys: Keys, every: int = EVERY) -> None:
        self.every = every
        self._recorder = recorder
        self._keys = keys
        self._key: bytes | None = None

    def take(self, branch: str, state: Conversation, command_id: str) -> bytes | None:
        fold, key = fold_digest(), self._sealing(make=True)
        if fold is None or key is None:
            return None
        data = dumped(state, command_id)
        return fold + _seal(key, fold, branch, state.version, data) + data

    def latest(self, branch: str, upto: int | None = None) -> Kept | None:
        fold, key = fold_digest(), self._sealing()
        most = 2**62 if upto is None else min(upto, 2**62)
        while fold is not None and key is not None:
            with reached():
                found = self._recorder.select_snapshot(branch, most, fold)
            if found is None:
                return None
            version, data = found
            if (kept := _opened(key, fold, branch, version, bytes(data))) is not None:
                return kept
            most = version - 1
        return None

    def wrong(self, branch: str, path: Iterable[Recorded]) -> list[int]:
        """Return the versions of the snapshots of a branch that are not what its path adds up to, those in use."""
        fold, key = fold_digest(), self._sealing()
        with reached():
            versions = set(self._recorder.select_versions(branch))
        if fold is None or key is None or not versions:
            return []
        found, state = [], Conversation()
        for recorded in path:
            state = evolve(state, recorded.event)
            if recorded.branch == branch and recorded.version in versions:
                kept = self.latest(branch, recorded.version)
                if kept is not None and kept.state.version == recorded.version and kept.state != state:
                    found.append(recorded.version)
        return found

    def renew(self, branch: str, path: Iterable[Recorded]) -> int:
        """Make the snapshots of a branch anew, from its path; return how many there are now."""
        taken: dict[int, bytes] = {}
        state = Conversation()
        for recorded in path:
            state = evolve(state, recorded.event)
            due = self.every and recorded.version % self.every == 0
            if due and recorded.branch == branch and (data := self.take(branch, state, recorded.command_id)):
                taken[recorded.version] = data
        with reached():
            if taken or self._recorder.select_versions(branch):
                self._recorder.replace_snapshots(branch, taken)
        return len(taken)

    def long_branches(self) -> list[str]:
        """Return the branches that are long enough for snapshots, or have some."""
        with reached():
            return self._recorder.select_long(self.every or 2**62)

    def stale(self) -> tuple[int, int]:
        """Return how many branches are not listed as the log has them, and how many snapshots are of other code."""
        with reached():
            return self._recorder.count_stale(fold_digest() or b"")

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


def _opened(key: bytes, fold: bytes, branch: str, version: int, data: bytes) -> Kept | None:
    seal, inside = data[_FOLD_BYTES : _FOLD_BYTES + _SEAL_BYTES], data[_FOLD_BYTES + _SEAL_BYTES :]
    if not hmac.compare_digest(seal, _seal(key, fold, branch, version, inside)):
        return None
    try:
        return loaded(inside)
    except (zlib.error, ValidationError, ValueError):
        return None


def _seal(key: bytes, fold: bytes, branch: str, version: int, data: bytes) -> bytes:
    place = f"{branch} {version} ".encode()
    return hmac.digest(key, fold + place + data, "sha256")[:_SEAL_BYTES]
