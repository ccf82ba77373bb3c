"""Tiles: the hashes of a tree in pieces of 256, as c2sp.org/tlog-tiles says, and the entries in bundles of as many.

A tile of level 0 has the hashes of leaves; one of a higher level has the roots of full tiles of the level below. The
last one of each level may be partial.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from .merkle import HASH_BYTES, Node

WIDTH = 256
"""Hashes in a full tile."""

MOST_ENTRY = 2**16 - 1
"""Bytes of an entry, at most: its length is told in two bytes."""

_HEIGHT = 8


class Tile(NamedTuple):
    """A place in the tiles of a tree; `width` says how much of it a tree of some size has."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """The path of the tile, as it is served."""
        return f"tile/{self.level}/{self._path}"

    @property
    def bundle(self) -> str:
        """The path of the entries that a tile of level 0 is over."""
        return f"tile/entries/{self._path}"

    @property
    def _path(self) -> str:
        digits = f"{self.number:03}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        path = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
        return path if self.width == WIDTH else f"{path}.p/{self.width}"


def tiles_of(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Yield the tiles of a tree of `size` leaves that one of `since` leaves does not have, level by level."""
    level = 0
    while size:
        full, rest = divmod(size, WIDTH)
        for index in range(since // WIDTH, full):
            yield Tile(level, index)
        if rest and size != since:
            yield Tile(level, full, rest)
        size, since, level = full, since // WIDTH, level + 1


def nodes(read: Callable[[int, int], bytes]) -> Node:
    """Return what tells the nodes of a tree by its tiles.

    Args:
        read: returns the hashes of a tile, by level and index: as many as it has, or more than a tree of some size has.
    """

    @lru_cache(64)
    def levels(level: int, index: int) -> list[bytes]:
        return [read(level, index)]

    def node(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, _HEIGHT)
        first = index << height
        kept = levels(tile_level, first // WIDTH)
        while len(kept) <= height:
            kept.append(halved(kept[-1]))
        at = (first % WIDTH >> height) * HASH_BYTES
        found = kept[height][at : at + HASH_BYTES]
        if len(found) != HASH_BYTES:
            raise MissingTile(f"{Tile(tile_level, first // WIDTH).path}: it has no hash {first % WIDTH}")
        return found

    return node


class MissingTile(Exception):
    """A tile is not there, or has fewer hashes than the tree: the message names it."""


def halved(hashes: bytes) -> bytes:
    """Return the hashes of the level above, of all pairs that are whole."""
    digest, pair = sha256, 2 * HASH_BYTES
    return b"".join([digest(b"\1" + hashes[at : at + pair]).digest() for at in range(0, len(hashes) - pair + 1, pair)])


def top_of(tile: bytes) -> bytes:
    """Return the root of a full tile."""
    while len(tile) > HASH_BYTES:
        tile = halved(tile)
    return tile


def grown(edge: Mapping[int, bytes], size: int, leaves: bytes) -> dict[tuple[int, int], bytes]:
    """Return the tiles that change when leaves are appended to a tree, by level and index.

    Args:
        edge: the partial tile of each level that has one.
        size: leaves that there are.
        leaves: hashes of the leaves that come behind.
    """
    changed: dict[tuple[int, int], bytes] = {}
    level, whole = 0, WIDTH * HASH_BYTES
    while leaves:
        index, above = size // WIDTH, []
        hashes = edge.get(level, b"") + leaves if size % WIDTH else leaves
        for at in range(0, len(hashes), whole):
            tile = hashes[at : at + whole]
            changed[level, index] = tile
            if len(tile) == whole:
                above.append(top_of(tile))
            index += 1
        level, size, leaves = level + 1, size // WIDTH, b"".join(above)
    return changed


def bundle_of(entries: Iterable[bytes]) -> bytes:
    """Return entries one behind the other, each after its length."""
    return b"".join([len(entry).to_bytes(2) + entry for entry in entries])


def entries_in(bundle: bytes) -> list[bytes]:
    """Return the entries of a bundle.

    Raises:
        ValueError: it ends within one.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2])
        if at + 2 > len(bundle) or end > len(bundle):
            raise ValueError(f"the bundle ends within its entry {len(entries)}")
        entries.append(bundle[at + 2 : end])
        at = end
    return entries
