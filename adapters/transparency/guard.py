"""What a store that has a transparency log may not do: lose what was acknowledged, or go on after a loss.

The checkpoint that was published last is kept outside of the database: beside an SQLite store, in a file of the same
name with `-checkpoint` after it, or where LASTRESORT_CHECKPOINT says. A log that is shorter, or another one, was
restored from a backup, cut, or exchanged. It can be read; what were appended would make two histories of one log.
"""

import os
from pathlib import Path

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.merkle import CompactRange, leaf_hash, root
from lastresort.adapters.tlog.tiles import MissingTile

from .key_files import read_note
from .leaves import leaf
from .tables import NOTE, Identity, TransparencyTables

VARIABLE = "LASTRESORT_CHECKPOINT"
_TODO = (
    "it can be read, and nothing is written to it. Restore a later backup; or go on with what is left, under a new "
    "origin that says so: `lastresort log init --new-origin`"
)


def kept_at(beside: Path | None) -> Path | None:
    """Return where the checkpoint that was published last is kept, outside of the database."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else beside


def guard(store: SQLStore, settings: Settings, beside: Path | None) -> None:
    """Keep a store from being written to if it is not the one that was published last.

    Args:
        store: to look at.
        settings: how it was opened.
        beside: where an SQLite store has its checkpoint.

    Raises:
        StoreError: it has a transparency log, and is opened so that an acknowledged event may be lost.
    """
    noted, path = store.noted(NOTE), kept_at(beside)
    note = None if path is None else read_note(path)
    if noted is None and note is None:
        return
    if settings.synchronous != "FULL":
        raise StoreError(
            "it has a transparency log, and with synchronous=NORMAL what was acknowledged may be lost when the power "
            "fails: leave `synchronous` out of the URL"
        )
    if note is not None:
        why = _why_not(store, noted, Checkpoint.parse(note.text))
        store.read_only = None if why is None else f"this log is not the one that was published last: {why}. {_TODO}"


def _why_not(store: SQLStore, noted: str | None, published: Checkpoint) -> str | None:
    identity = None if noted is None else Identity.parse(noted)
    if identity is None or identity.origin != published.origin:
        found = "has no transparency log" if identity is None else f"is that of {identity.origin}"
        return f"{published.origin} was published, and this {found}"
    entries = store.head() + len(identity.before)
    if entries < published.size:
        return f"it has {entries:,} entries, and {published.size:,} were published"
    if _root(store, identity, published.size) != published.root:
        return f"its first {published.size:,} entries are others"
    return None


def _root(store: SQLStore, identity: Identity, size: int) -> bytes:
    """Return the root of the first entries: by the tiles, or by the rows where the tiles do not come as far."""
    tables = TransparencyTables(store)
    mark = tables.mark()
    if mark is not None and mark.position + len(identity.before) >= size:
        try:
            return root(tables.nodes(), size)
        except MissingTile:
            pass
    range_ = CompactRange()
    for entry in identity.before:
        range_.append(leaf_hash(entry))
    for row in store.stored(upto=size - len(identity.before)):
        range_.append(leaf_hash(leaf(row)))
    return range_.root()
