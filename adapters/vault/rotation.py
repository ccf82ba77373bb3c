"""A master key that takes the place of another one, while the store is in use.

First it is noted that the new one is the current one, and each of the two is noted wrapped by the other, so that a
program that has either opens the store; then every key is wrapped again, some at a time; then the former one is done
with. From the first note on, what is made is wrapped by the new one. Wherever that is interrupted, all keys open as
before, and the same call goes on.

Where the master key is in a file beside the store, programs look there again, and the former one is done with at once.
Where it is given to each program, the operator gives all of them the new one in between, and says when that is done.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lastresort.adapters.databases.errors import StoreError

from .keys import KeyRow, KeyStore, new_key
from .master_key import MasterKey, find_master_key, given_key, replace
from .wrapped import Masters, fingerprint, masters_of, unwrap, wrap

NEW_VARIABLE = "LASTRESORT_NEW_MASTER_KEY"
_AT_A_TIME = 500  # keys: bounds how long somebody waits who needs a new one
_HOW = f"set {NEW_VARIABLE} to 32 random bytes in base64 (`head -c 32 /dev/urandom | base64`)"


class Rotation(NamedTuple):
    """What a rotation came to.

    Attributes:
        fingerprint: of the master key that wraps all keys now.
        keys: how many there are.
        rewrapped: how many of them were wrapped again by this call.
        damaged: how many neither master key opens. They are left as they are.
        finished: whether the former master key opens nothing more.
        former: the file in which the former one is kept for backups, where the master key is in a file.
    """

    fingerprint: str
    keys: int
    rewrapped: int
    damaged: int
    finished: bool
    former: Path | None = None


def rotate(
    keys: KeyStore,
    beside: Path | None,
    master_key: MasterKey | None,
    new_master_key: MasterKey | None,
    *,
    finish: bool,
    progress: Callable[[int], None],
) -> Rotation:
    """Change the master key of a store for a new one, or go on with that. See `opening.rotate_master_key`."""
    in_file = beside if given_key(master_key) is None else None
    known = find_master_key(master_key, beside, keys)
    masters = masters_of(keys, known)
    if not finish:
        masters = _begun(keys, masters, given_key(new_master_key, NEW_VARIABLE), make=in_file is not None)
    elif masters.handover and known != masters.current:
        raise StoreError(
            "this is the former master key: give the programs that use the store the new one first, and this one too"
        )
    found, rewrapped, damaged = _wrapped_again(keys, masters, progress)
    former = _put_in_place(in_file, masters) if in_file is not None and masters.former is not None else None
    finished = finish or in_file is not None
    if finished and masters.handover:
        keys.replace_note(masters.handover)
    return Rotation(fingerprint(masters.current), found, rewrapped, damaged, finished, former)


def _begun(keys: KeyStore, masters: Masters, new: bytes | None, *, make: bool) -> Masters:
    """Note that another master key takes the place of the current one, unless one is about to."""
    if masters.handover:
        if new not in (None, masters.current):
            raise StoreError(
                f"its master key is being changed already, for the one of fingerprint {fingerprint(masters.current)}: "
                "go on with that one, and finish"
            )
        return masters
    if new is None and not make:
        raise StoreError(f"it needs a new master key, which every program can be given: {_HOW}")
    new = new or new_key()
    if new == masters.current:
        raise StoreError(f"the new master key is the one that it has; {_HOW}")
    keys.replace_note(fingerprint(masters.current), *masters.over(new))  # or else somebody else was first: go on there
    begun = masters_of(keys, masters.current)
    return _begun(keys, begun, new if not make else None, make=make)


def _wrapped_again(keys: KeyStore, masters: Masters, progress: Callable[[int], None]) -> tuple[int, int, int]:
    """Wrap every key by the current master key; return how many there are, were wrapped again, and open by none.

    It looks until a whole look finds nothing to do: an earlier version of this program may have made one meanwhile.
    """
    rewrapped = 0
    while True:
        found = todo = damaged = 0
        after = b""
        while rows := keys.page(after, _AT_A_TIME):
            changed: list[tuple[KeyRow, bytes]] = []
            for row in rows:
                if unwrap(masters.current, row) is not None:
                    continue
                if (key := unwrap(masters.former, row)) is None:
                    damaged += 1
                else:
                    changed.append((row, wrap(masters.current, key, row.conversation)))
            if changed:
                keys.rewrap(changed)
            after, found, todo = rows[-1].name, found + len(rows), todo + len(changed)
            progress(found)
        rewrapped += todo
        if not todo:
            return found, rewrapped, damaged


def _put_in_place(file: Path, masters: Masters) -> Path:
    """Write the current master key to its file, and keep the former one in a file beside it, for backups."""
    assert masters.former is not None
    kept = file.with_name(f"{file.name}-{fingerprint(masters.former)}")
    replace(kept, masters.former)
    replace(file, masters.current)
    return kept
