"""Whether the log is still the one that was published, and if not, what was done to it.

A root tells that something differs, and the tiles tell where: the hash of each entry is in them. So the tiles have to
be those of the checkpoint, either those beside the log or those that somebody else has kept. With entries that somebody
kept, it is told as well which fields were changed.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.merkle import HASH_BYTES, CompactRange, leaf_hash, root
from lastresort.adapters.tlog.tiles import WIDTH, MissingTile, Tile, entries_in, grown, nodes, tiles_of

from .leaves import leaf
from .monitor import Finding
from .sources import Read, piece
from .tables import TransparencyTables, needed

_BATCH = 2_000
_TOLD = 10  # places that a finding names
Tiles = Callable[[int, int], bytes]
Entries = Callable[[int], bytes | None]
"""Returns the entry at an index, as somebody kept it."""


class Examined(NamedTuple):
    """What a look at a log came to: how many entries were compared, how many are too new, and what is wrong."""

    checkpoint: Checkpoint
    entries: int
    not_yet: int
    findings: tuple[Finding, ...]


def examine(
    tables: TransparencyTables,
    checkpoint: Checkpoint,
    *,
    tiles: Tiles | None = None,
    entries: Entries = lambda index: None,
) -> Examined:
    """Compare the rows of a log with a checkpoint of it.

    Args:
        tables: where the log is.
        checkpoint: one that is believed.
        tiles: what somebody else kept; None: those beside the log.
        entries: what somebody kept.
    """
    identity = needed(tables.identity())
    ahead = len(identity.before)
    head = tables.store.head()
    not_yet = max(0, head + ahead - checkpoint.size)
    own = _tiles_are_of(tables.tile, checkpoint)
    if _root(tables, identity.before, checkpoint.size - ahead) == checkpoint.root:
        changed = Finding("tiles changed", "the log is whole, but the tiles beside it are not its own")
        return Examined(checkpoint, checkpoint.size, not_yet, () if own else (changed,))
    rows = {row[0]: leaf_hash(leaf(row)) for row in _rows(tables)}
    authentic = tables.tile if own else tiles if tiles is not None and _tiles_are_of(tiles, checkpoint) else None
    if authentic is None:
        return Examined(checkpoint, checkpoint.size, not_yet, (_without_tiles(tables, checkpoint, ahead),))
    known = {}
    for index in range(ahead, checkpoint.size):
        tile, at = authentic(0, index // WIDTH), index % WIDTH * HASH_BYTES
        known[index - ahead + 1] = tile[at : at + HASH_BYTES]
    finding = _compared(known, rows)
    return Examined(checkpoint, checkpoint.size, not_yet, (_with_fields(tables, finding, known, rows, ahead, entries),))


def kept_entries(read: Read | None, size: int) -> Entries:
    """Return what reads the entries that somebody kept, as published tiles."""

    def entry(index: int) -> bytes | None:
        if read is None:
            return None
        width = min(WIDTH, size - index // WIDTH * WIDTH)
        try:
            return entries_in(piece(read, Tile(0, index // WIDTH, width), lambda one: one.bundle))[index % WIDTH]
        except (MissingTile, ValueError, IndexError):
            return None

    return entry


def _rows(tables: TransparencyTables, upto: int | None = None) -> Iterator[tuple[Any, ...]]:
    position = 0
    while rows := tables.store.stored(after=position, upto=upto, limit=_BATCH):
        yield from rows
        position = rows[-1][0]


def _root(tables: TransparencyTables, before: tuple[bytes, ...], upto: int) -> bytes | None:
    """Return the root of the rows up to a position, None if one is missing."""
    range_ = CompactRange()
    for entry in before:
        range_.append(leaf_hash(entry))
    for row in _rows(tables, upto):
        if row[0] != range_.size - len(before) + 1:
            return None
        range_.append(leaf_hash(leaf(row)))
    return range_.root()


def _tiles_are_of(tiles: Tiles, checkpoint: Checkpoint) -> bool:
    """Whether tiles, each of them, are those of a checkpoint."""
    size = checkpoint.size
    try:
        leaves = b"".join(tiles(0, one.number) for one in tiles_of(size) if one.level == 0)[: size * HASH_BYTES]
        made = grown({}, 0, leaves)
        same = all(tiles(*place)[: len(hashes)] == hashes for place, hashes in made.items())
        return same and checkpoint.root == root(nodes(lambda level, number: made[level, number]), size)
    except MissingTile:
        return False


def _without_tiles(tables: TransparencyTables, checkpoint: Checkpoint, ahead: int) -> Finding:
    """Say what can be said without the hashes of the entries."""
    head = tables.store.head()
    mark = tables.mark()
    sequenced = mark.position if mark else 0
    if head + ahead < checkpoint.size and sequenced <= head:
        return Finding(
            "rolled back",
            f"the log has {head + ahead:,} entries and {checkpoint.size:,} are published, and the tree beside it is as "
            "short: it was restored from a backup, or put back to an earlier state",
        )
    return Finding(
        "rewritten",
        "the log is not the one that was published, and the tiles beside it were changed with it: with the tiles that "
        "a monitor kept (--tiles) it is told which entries",
    )


def _compared(known: Mapping[int, bytes], rows: Mapping[int, bytes]) -> Finding:
    """Say what was done to rows, by the hashes that they should have."""
    are, were = set(rows.values()), set(known.values())
    gone = [position for position, hash in known.items() if hash not in are]
    new = [position for position, hash in rows.items() if position in known and hash not in were]
    moved = [position for position, hash in rows.items() if hash in were and known.get(position) != hash]
    missing = [position for position in known if position not in rows]
    if moved and set(new) <= set(range(len(known) - len(gone) + 1, len(known) + 1)):
        new = []  # what is newer than the checkpoint has moved up into the room of what is gone
    if len(gone) == len(known):
        return Finding("replaced", f"none of the {len(known):,} entries that were published is in the log")
    if gone and gone == missing == list(range(gone[0], len(known) + 1)) and not new:
        return Finding("cut", f"the log ends at position {gone[0] - 1}, and {len(known):,} were published")
    if gone and not new:
        return Finding("removed", f"{_at(gone)} {_are(gone)} not in the log any more{_and_moved(moved)}")
    if new and not gone:
        return Finding("inserted", f"{_at(new)} {_are(new)} not what was published there{_and_moved(moved)}")
    if not gone:
        kind = "renumbered" if missing else "moved"
        return Finding(kind, f"what stands at {_at(moved)} was published at other positions")
    if gone == sorted(new):
        return Finding("changed", f"{_at(gone)} {_are(gone)} not what was published{_and_moved(moved)}")
    told = f"{len(gone):,} entries are gone and {len(new):,} are new{_and_moved(moved)}; the first: {_at(gone[:1])}"
    return Finding("rewritten", told)


def _at(positions: list[int]) -> str:
    told = ", ".join(map(str, positions[:_TOLD]))
    more = f" and {len(positions) - _TOLD:,} more" if len(positions) > _TOLD else ""
    return f"position {told}" if len(positions) == 1 else f"positions {told}{more}"


def _are(positions: list[int]) -> str:
    return "is" if len(positions) == 1 else "are"


def _and_moved(moved: list[int]) -> str:
    return f", and {len(moved):,} others have moved" if moved else ""


def _with_fields(
    tables: TransparencyTables,
    finding: Finding,
    known: Mapping[int, bytes],
    rows: Mapping[int, bytes],
    ahead: int,
    entries: Entries,
) -> Finding:
    """Name the fields of the first entry that was changed, if somebody kept it."""
    if finding.kind != "changed":
        return finding
    position = min(at for at, hash in known.items() if rows.get(at) != hash)
    kept = entries(position - 1 + ahead)
    if kept is None or leaf_hash(kept) != known[position]:
        return finding
    now = leaf(tables.store.stored(after=position - 1, upto=position)[0])
    fields = ", ".join(_differing(json.loads(kept), _as_json(now)))
    return finding._replace(text=f"{finding.text}; of position {position} these fields: {fields}")


def _as_json(entry: bytes) -> object:
    try:
        return json.loads(entry)
    except ValueError:
        return None


def _differing(one: object, other: object, within: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        return [each for name in names for each in _differing(one.get(name), other.get(name), f"{within}.{name}")]
    return [within.removeprefix(".") or "all"]
