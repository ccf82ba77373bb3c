"""Merkle trees of RFC 6962: hashes, proofs, and their verification as RFC 9162 says it.

A tree is asked by its nodes: `Node(level, index)` is the hash of the complete subtree over the leaves from
`index * 2**level` on. Where it comes from, tiles say, or a list in memory.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY = sha256().digest()
"""The root of the tree without leaves."""

Node = Callable[[int, int], bytes]
"""Returns the hash of the complete subtree of 2**level leaves, the index-th of them."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a subtree of these two."""
    return sha256(b"\1" + left + right).digest()


def _split(leaves: int) -> int:
    """Return the largest power of two that is less than a number of leaves, which is 2 at least."""
    return 1 << (leaves - 1).bit_length() - 1


def range_hash(node: Node, first: int, end: int) -> bytes:
    """Return the hash of the subtree over the leaves `first` to `end`, which begins where such a subtree may."""
    parts: list[bytes] = []
    while first < end:
        level = (end - first).bit_length() - 1
        parts.append(node(level, first >> level))
        first += 1 << level
    return _joined(parts)


def _joined(parts: Sequence[bytes]) -> bytes:
    """Return the hash over subtrees that stand side by side, each smaller than the one before."""
    if not parts:
        return EMPTY
    whole = parts[-1]
    for part in reversed(parts[:-1]):
        whole = node_hash(part, whole)
    return whole


def root(node: Node, size: int) -> bytes:
    """Return the root of the first `size` leaves."""
    return range_hash(node, 0, size)


def inclusion_proof(node: Node, index: int, size: int) -> list[bytes]:
    """Return the proof that the leaf at `index` is in the tree of `size` leaves (RFC 6962, 2.1.1).

    Raises:
        ValueError: there is no such leaf in it.
    """
    if not 0 <= index < size:
        raise ValueError(f"no entry {index} is in a tree of {size}")
    first, end, proof = 0, size, []
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            proof.append(range_hash(node, middle, end))
            end = middle
        else:
            proof.append(range_hash(node, first, middle))
            first = middle
    return proof[::-1]


def consistency_proof(node: Node, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of `new` leaves begins with that of `old` leaves (RFC 6962, 2.1.2).

    It is empty where one of them is empty or both are the same.

    Raises:
        ValueError: the first is the larger one.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} cannot begin with one of {old}")
    if old in (0, new):
        return []
    first, end, whole, proof = 0, new, True, []
    while old != end:
        middle = first + _split(end - first)
        if old <= middle:
            proof.append(range_hash(node, middle, end))
            end = middle
        else:
            proof.append(range_hash(node, first, middle))
            first, whole = middle, False
    if not whole:
        proof.append(range_hash(node, first, end))
    return proof[::-1]


def is_included(leaf: bytes, index: int, size: int, proof: Iterable[bytes], root: bytes) -> bool:
    """Whether a proof shows that the leaf of this hash is at `index` of the tree (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or len(leaf) != HASH_BYTES:
        return False
    at, last, found = index, size - 1, leaf
    for part in proof:
        if last == 0 or len(part) != HASH_BYTES:
            return False
        if at & 1 or at == last:
            found = node_hash(part, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, part)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether a proof shows that the tree of `new` leaves begins with that of `old` leaves (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new or any(len(part) != HASH_BYTES for part in proof):
        return False
    if old == 0:
        return not proof and old_root == EMPTY and (new > 0 or new_root == EMPTY)
    if old == new:
        return not proof and old_root == new_root
    path = list(proof) if old & old - 1 else [old_root, *proof]
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    was = now = path[0]
    for part in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            was, now = node_hash(part, was), node_hash(part, now)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            now = node_hash(now, part)
        at, last = at >> 1, last >> 1
    return last == 0 and was == old_root and now == new_root


class CompactRange:
    """The roots of the complete subtrees that a tree consists of: what it takes to append to it, and to tell its root.

    It needs no tile, so it is a second way to a root.

    Args:
        size: leaves that there are.
        node: returns the hashes of the subtrees over them.
    """

    def __init__(self, size: int = 0, node: Node | None = None) -> None:
        self.size = size
        self._parts: list[bytes] = []
        first = 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                assert node is not None
                self._parts.append(node(level, first >> level))
                first += 1 << level

    def append(self, leaf: bytes) -> None:
        """Append a leaf, by its hash."""
        size, part = self.size, leaf
        while size & 1:
            part = node_hash(self._parts.pop(), part)
            size >>= 1
        self._parts.append(part)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaves, by their hashes: a level of the tree at a time, which takes a third of the time."""
        digest, hashes = sha256, list(leaves)
        size, left = self.size, list[bytes]()
        self.size += len(hashes)
        while hashes:
            if size & 1:
                hashes.insert(0, self._parts.pop())
            if len(hashes) & 1:
                left.append(hashes.pop())
            pairs = zip(hashes[::2], hashes[1::2], strict=True)
            hashes = [digest(b"\1" + one + other).digest() for one, other in pairs]
            size >>= 1
        self._parts += reversed(left)

    def root(self) -> bytes:
        """Return the root of all leaves so far."""
        return _joined(self._parts)
