"""A store of a `shards.toml` moved to another place, with its words and keys, while the others serve.

In steps, each of which lasts before the next begins, so that the same call goes on wherever it was interrupted:

1. The store is frozen: it is read as before, and nobody writes to it, in whichever process.
2. A backup of it is restored in the new place, which audits it. It bears the number of the move until it is let go, so
   that nothing else is taken for it.
3. Both logs are compared, event by event.
4. The copy is let go, and the map names it in place of the other one, by one renaming.
5. The old store is marked as moved: it is not opened any more, and stays frozen for those that have it open.

At no moment can both be written to. What was frozen can be used again with `undo`, as long as the map names it.

One store of a map is moved at a time: each of two would undo what the other wrote to it. A move holds a lock on
a file beside the map, which the kernel releases when the process ends.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.databases.files import StoreFiles, new_draft, sync_folder
from lastresort.adapters.databases.urls import shown
from lastresort.adapters.opening import known_master_key, opened_apart
from lastresort.adapters.shards.shard_map import MappedStore, absolute, read_shard_map, written
from lastresort.adapters.stores.fence import FROZEN, MOVED
from lastresort.projections import Finding

from .backup import backup, restore

_FENCE, _ARRIVED = "fence ", "arrived "
Step = Callable[[str], None]
"""Called with the name of each step, before it is taken."""


class Move(NamedTuple):
    """What became of a move: the events of the store; what the audit of the copy found, and then it is not moved."""

    events: int
    findings: tuple[Finding, ...] = ()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from moving a store of a map.

    Raises:
        StoreError: somebody is at it.
    """
    place = path.with_name(f".{path.name}.lock")
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(
            f"{place}: a move of a store locks this file, and cannot: {error.strerror}; remove it, or let it be written"
        ) from None
    with open(descriptor, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{path}: a store of this map is being moved by another process; wait until that is done"
            ) from None
        yield


def move(path: Path, source: str, target: str, step: Step = lambda name: None) -> Move:
    """Move a store of a map to another place; or go on with that.

    Args:
        path: of the map.
        source, target: URLs: of a store in the map, and of a place of the same kind where there is none.
        step: is told what is done next: freeze, copy, compare, switch, close.

    Raises:
        StoreError: it cannot be moved so; the message says why. Before it was frozen nothing has changed; after that
            the same call goes on, or `undo` takes it back.
    """
    read_shard_map(path)  # or there is no map to be alone with
    with _alone(path):
        return _move(path, source, target, step)


def _move(path: Path, source: str, target: str, step: Step) -> Move:
    source, target = (absolute(url, path.absolute().parent) for url in (source, target))
    stores = read_shard_map(path)
    urls = [one.url for one in stores]
    if source not in urls and target in urls:
        return Move(_closed(source))
    if source not in urls:
        raise StoreError(f"{path}: names no store {shown(source)}; `lastresort shards show` lists them")
    if target in urls:
        raise StoreError(f"{path}: names {shown(target)} already; a store is moved to where there is none")
    if (StoreFiles.at(source) is None) != (StoreFiles.at(target) is None):
        raise StoreError("a store is moved to one of the same kind: SQLite to SQLite, PostgreSQL to PostgreSQL")
    move_id = _frozen(source, target, step)
    if not _bears(target, _ARRIVED + move_id):
        if not _bears(target, _FENCE + move_id):
            step("copy")
            if findings := _copied(source, target, path.absolute().parent):
                _undo(path, source)
                return Move(0, findings)
        step("compare")
        _compare(source, target)
        _let_go(target, move_id)
    step("switch")
    _replace(path, [MappedStore(target if url == source else url, shards) for url, shards in stores])
    step("close")
    return Move(_closed(source))


def undo(path: Path, source: str) -> None:
    """Let a store be written to again that was frozen to be moved, as long as the map names it.

    Raises:
        StoreError: the map does not, or it was moved, or somebody is moving a store of this map.
    """
    read_shard_map(path)
    with _alone(path):
        _undo(path, source)


def _undo(path: Path, source: str) -> None:
    source = absolute(source, path.absolute().parent)
    if source not in [one.url for one in read_shard_map(path)]:
        raise StoreError(f"{path}: names no store {shown(source)}, so nothing is undone")
    with opened_apart(source) as (store, keys):
        if (store.noted("fence") or "").startswith(MOVED):
            raise StoreError(f"{shown(source)} was moved, and another store has what came since")
        for note in keys.notes():
            if note.startswith(_FENCE):
                keys.replace_note(note)
        store.fence(None)


def _frozen(source: str, target: str, step: Step) -> str:
    """Freeze a store that is to be moved, and return the number of the move."""
    place = sha256(target.encode()).hexdigest()[:16]
    with opened_apart(source) as (store, keys):
        fence = (store.noted("fence") or "").split(" ")
        if fence[0] == MOVED:
            raise StoreError(f"{shown(source)} was moved before; the map should name the other store")
        if fence[0] == FROZEN and fence[2] != place:
            raise StoreError(f"{shown(source)} is being moved to another place; go on with that, or undo it")
        if fence[0] == FROZEN:
            move_id = fence[1]
        else:
            if store.noted("tlog") is not None:
                raise StoreError(
                    f"{shown(source)} has a transparency log, whose origin and witnesses would have to follow it, and "
                    "cannot be moved: leave it where it is, and move the other stores of the map"
                )
            _check_is_free(target)
            move_id = secrets.token_hex(8)
        step("freeze")
        store.fence(f"{FROZEN} {move_id} {place}")
        keys.freeze(_FENCE + move_id)
    return move_id


def _check_is_free(target: str) -> None:
    own = StoreFiles.at(target)
    if own is not None and not own.log.exists() and own.log.parent.is_dir():
        return
    if own is None:
        with opened_apart(target, create=True) as (store, _):
            if store.head() == 0:
                return
    raise StoreError(f"{shown(target)}: there is something, or no folder for it; move to an empty place")


def _bears(target: str, note: str) -> bool:
    """Whether there is a store that bears a note among its keys."""
    with suppress(StoreError), opened_apart(target) as (_, keys):  # nothing is there yet, or what was begun
        return note in keys.notes()
    return False


def _copied(source: str, target: str, folder: Path) -> tuple[Finding, ...]:
    """Restore a backup of a store in another place; return what the audit found, and then there is nothing."""
    own, there = StoreFiles.at(source), StoreFiles.at(target)
    master = known_master_key(None, own and own.master)
    with TemporaryDirectory(prefix=".moving-", dir=folder) as drafts:
        copy = Path(drafts) / "copy"
        backup(source, copy)
        findings = restore(copy, target, master_key=None if master is None else lambda: master).findings
    if own is not None and there is not None and not findings:
        for path, to in ((own.master, there.master), (own.destroyed, there.destroyed)):
            _copy_file(path, to)
    return findings


def _copy_file(path: Path, to: Path) -> None:
    """Copy a file that its owner alone may read, whole or not at all, unless there is one."""
    if path.exists() and not to.exists():
        draft = new_draft(to)
        shutil.copyfile(path, draft)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, to)
        draft.unlink()
        sync_folder(to.parent)


def _compare(source: str, target: str) -> None:
    """Check that two logs have the same entries.

    Raises:
        StoreError: they do not.
    """
    with opened_apart(source) as (store, _), opened_apart(target) as (copy, _):
        for one, other in zip_longest(store.entries(), copy.entries()):
            if one != other:
                raise StoreError(f"{shown(target)}: is not a copy of {shown(source)}; undo the move, and remove it")


def _let_go(target: str, move_id: str) -> None:
    with opened_apart(target) as (store, keys):
        store.fence(None)
        keys.replace_note(_FENCE + move_id, _ARRIVED + move_id)


def _replace(path: Path, stores: list[MappedStore]) -> None:
    """Write a map in place of the one that is there, by one renaming."""
    draft = new_draft(path)
    try:
        draft.write_text(written(stores), encoding="utf-8")
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.chmod(path.stat().st_mode & 0o777)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.absolute().parent)


def _closed(source: str) -> int:
    """Mark a store as moved; return how many events it has."""
    own = StoreFiles.at(source)
    if own is not None and not own.log.exists():
        return 0  # it was moved, and removed since
    with opened_apart(source) as (store, _):
        fence = (store.noted("fence") or "").split(" ")
        if fence[0] == FROZEN:
            store.fence(" ".join((MOVED, *fence[1:])))
        return store.head()
