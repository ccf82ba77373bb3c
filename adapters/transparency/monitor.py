"""A monitor: follows what a log publishes, hashes every entry again, and remembers the checkpoint that it saw last.

It needs no store and no key. That somebody runs one who is not the operator, or that witnesses cosign, is what protects
from a log that shows different people different trees.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.merkle import CompactRange, is_consistent, leaf_hash, root
from lastresort.adapters.tlog.notes import BadNote, Note
from lastresort.adapters.tlog.policy import TrustPolicy
from lastresort.adapters.tlog.tiles import WIDTH, MissingTile, Tile, entries_in, grown, nodes, tiles_of

from .key_files import checkpoint_note, read_note, write_whole
from .sources import Read, piece, tile_reader

Entry = Callable[[int, bytes], None]
"""Is told each new entry, by its index."""

_AHEAD = 600.0  # seconds that a witness's clock may be ahead


class Finding(NamedTuple):
    """Something that is wrong: what kind of thing, and what it is."""

    kind: str
    text: str


class Watched(NamedTuple):
    """What a look at a log came to."""

    checkpoint: Checkpoint | None
    witnesses: dict[str, int]
    entries: int
    findings: tuple[Finding, ...]


class _Found(Exception):
    """Ends a look."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.finding = Finding(kind, text)


def look(
    read: Read,
    policy: TrustPolicy,
    state: Path | None = None,
    *,
    most_age: float | None = None,
    now: Callable[[], float] = time.time,
    entry: Entry = lambda index, entry: None,
) -> Watched:
    """Look at what a log publishes, from where the last look ended.

    Args:
        read: reads it.
        policy: which logs are believed, and whose cosignatures it takes.
        state: the file in which the checkpoint is remembered; None: everything is looked at.
        most_age: seconds that the latest cosignature, or the log's own signature, may be old.
        now: tells the seconds since 1970.
        entry: is told the new entries, before it is known whether they are what the checkpoint is over.

    Raises:
        StoreError: it cannot be read now.
    """
    before, checkpoint, witnesses, count = None if state is None else read_note(state), None, dict[str, int](), 0
    try:
        note = _note(read)
        checkpoint, witnesses = _checked_note(note, policy, most_age, now())
        last = Checkpoint.parse(before.text) if before else Checkpoint(checkpoint.origin, 0, CompactRange().root())
        _check_goes_on(read, last, checkpoint)
        count = _check_entries(read, last.size, checkpoint, entry)
    except _Found as found:
        return Watched(checkpoint, witnesses, count, (found.finding,))
    except MissingTile as error:
        return Watched(checkpoint, witnesses, count, (Finding("missing", str(error)),))
    if state is not None:
        write_whole(state, str(note))
    return Watched(checkpoint, witnesses, count, ())


def _note(read: Read) -> Note:
    try:
        return checkpoint_note(read("checkpoint") or b"")
    except BadNote as error:
        raise _Found("signature", f"checkpoint: {error}") from None


def check_note(
    note: Note, policy: TrustPolicy, most_age: float | None, now: float
) -> tuple[dict[str, int], tuple[Finding, ...]]:
    """Return who cosigned a checkpoint and when, and what is wrong with it."""
    try:
        return _checked_note(note, policy, most_age, now)[1], ()
    except _Found as found:
        return {}, (found.finding,)


def _checked_note(
    note: Note, policy: TrustPolicy, most_age: float | None, now: float
) -> tuple[Checkpoint, dict[str, int]]:
    """Return a checkpoint that satisfies the policy, and when witnesses cosigned it."""
    try:
        seen = policy.look_at(note)
    except BadNote as error:
        raise _Found("signature", f"checkpoint: {error}") from None
    if not seen.logs:
        raise _Found("signature", f"no key of the policy has signed the checkpoint of {seen.checkpoint.origin}")
    if not seen.enough:
        by = ", ".join(seen.witnesses) or "nobody"
        raise _Found("witnesses", f"the checkpoint is cosigned by {by}, which is not a quorum of the policy")
    if most_age is not None:
        latest = max(seen.witnesses.values(), default=0)
        if latest < now - most_age:
            told = "no witness tells a time" if not latest else f"the latest cosignature is {now - latest:,.0f} s old"
            raise _Found("stale", f"{told}, and {most_age:,.0f} s are allowed: an old checkpoint may be shown again")
        if latest > now + _AHEAD:
            raise _Found("stale", "a cosignature is of the future: the clock here or of a witness is wrong")
    return seen.checkpoint, seen.witnesses


def _check_goes_on(read: Read, last: Checkpoint, checkpoint: Checkpoint) -> None:
    if last.origin != checkpoint.origin:
        raise _Found("another log", f"this is {checkpoint.origin}, and what was seen before was {last.origin}")
    if last.size > checkpoint.size:
        told = f"{checkpoint.size:,} entries are published, and {last.size:,} were before"
        raise _Found("rolled back", f"{told}: the log was cut, or restored from a backup")
    tree = nodes(tile_reader(read, checkpoint.size))
    if root(tree, checkpoint.size) != checkpoint.root:
        raise _Found("tiles", "the tiles are not those of the checkpoint: they, or the tree, were changed")
    if last.size and root(tree, last.size) != last.root:
        raise _Found("fork", f"the log does not go on from the {last.size:,} entries that were seen before")


def _check_entries(read: Read, first: int, checkpoint: Checkpoint, told: Entry) -> int:
    """Hash the entries from `first` on, and compare every tile over them; return how many they are."""
    tile = tile_reader(read, checkpoint.size)
    size = first - first % WIDTH  # entries of a bundle that was partial are hashed again with it
    range_ = CompactRange(size, nodes(tile))
    partial = (one for one in tiles_of(size) if one.width < WIDTH)
    edge = {one.level: tile(one.level, one.number)[: one.width * 32] for one in partial}
    while size < checkpoint.size:
        width = min(WIDTH, checkpoint.size - size)
        bundle = Tile(0, size // WIDTH, width)
        try:
            entries = entries_in(piece(read, bundle, lambda one: one.bundle))[:width]
        except ValueError as error:
            raise _Found("entries", f"{bundle.bundle}: {error}") from None
        hashes = [leaf_hash(one) for one in entries]
        for at, hash in enumerate(hashes):
            if hash != tile(0, size // WIDTH)[at * 32 : at * 32 + 32]:
                raise _Found("entries", f"entry {size + at:,} is not the one that the tree is over: it was changed")
            if size + at >= first:
                told(size + at, entries[at])
            range_.append(hash)
        if len(entries) < width:
            raise _Found("entries", f"{bundle.bundle}: {len(entries)} entries are there, and {width} are needed")
        for (level, number), hashed in grown(edge, size, b"".join(hashes)).items():
            if hashed != tile(level, number)[: len(hashed)]:
                raise _Found("tiles", f"{Tile(level, number).path} is not over the entries below it: it was changed")
            edge[level] = hashed
        size += width
        edge = {level: part for level, part in edge.items() if len(part) < WIDTH * 32}
    if not is_consistent(checkpoint.size, checkpoint.size, (), range_.root(), checkpoint.root):
        raise _Found("entries", "the entries do not add up to the root of the checkpoint")
    return checkpoint.size - first
