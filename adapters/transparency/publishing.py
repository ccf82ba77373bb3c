"""What a log gives out: proofs of events and of consistency, and its tiles in a folder that any server may serve."""

import base64
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.databases.files import named, sync_folder
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.merkle import HASH_BYTES, consistency_proof, inclusion_proof, leaf_hash, root
from lastresort.adapters.tlog.notes import Note
from lastresort.adapters.tlog.proofs import ProofFile, Proven
from lastresort.adapters.tlog.tiles import WIDTH, Tile, bundle_of, tiles_of
from lastresort.application.conversations import Conversations
from lastresort.application.ports import EventStore
from lastresort.domain.events import BranchOpened, ConversationEnded, ConversationStarted, RecordedEvent

from .key_files import read_note, write_whole
from .leaves import leaf
from .sequencer import LogRewritten, entries_of
from .tables import NONE, TransparencyTables

NOT_YET = (
    "the event is not under a published checkpoint yet: what was recorded since the last one is not evident yet. "
    "`lastresort log checkpoint` makes one"
)


class Unproven(StoreError):
    """There is no proof: the message says why."""


class NotYet(Unproven):
    """An event is too new for a proof."""


class PublishedLog:
    """A transparency log, as far as its checkpoints are published.

    Args:
        tables: where it is kept.

    Raises:
        StoreError: there is none, or nothing of it is published.
    """

    def __init__(self, tables: TransparencyTables) -> None:
        self._tables = tables
        if (identity := tables.identity()) is None:
            raise Unproven(NONE)
        self._identity = identity
        note = tables.checkpoint("published")
        if note is None:
            raise Unproven("nothing of the log is published: `lastresort log checkpoint` makes a first checkpoint")
        self.note: Note = note
        self.checkpoint = Checkpoint.parse(note.text)

    def prove(self, positions: Sequence[int]) -> ProofFile:
        """Return the proof that the first of these events is in the log, and that the others are.

        Raises:
            NotYet: one of them is not under the published checkpoint.
            LogRewritten: one is not what was sequenced.
        """
        proven, *rests_on = map(self._proven, positions)
        return ProofFile(proven, tuple(rests_on), self.note)

    def _proven(self, position: int) -> Proven:
        index = position - 1 + len(self._identity.before)
        rows = self._tables.store.stored(after=position - 1, upto=position)
        if not rows:
            raise Unproven(f"there is no event at position {position}")
        if index >= self.checkpoint.size:
            raise NotYet(NOT_YET)
        found = inclusion_proof(self._tables.nodes(), index, self.checkpoint.size)
        proven = Proven(index, leaf(rows[0]), tuple(found))
        if not proven.is_in(self.checkpoint):
            raise LogRewritten(
                f"the event at position {position} is not the one that was sequenced; `lastresort log verify` says more"
            )
        return proven

    def consistency(self, old: int, new: int) -> str:
        """Return the proof that the tree of `new` entries begins with that of `old`: roots and hashes, a line each.

        Raises:
            StoreError: the log is not published as far.
        """
        if not 0 <= old <= new <= self.checkpoint.size:
            raise StoreError(f"0 <= A <= B <= {self.checkpoint.size} is needed, which is the size that is published")
        node = self._tables.nodes()
        heads = [Checkpoint(self.checkpoint.origin, size, root(node, size)).text for size in (old, new)]
        proof = "".join(f"{base64.b64encode(part).decode()}\n" for part in consistency_proof(node, old, new))
        return f"{heads[0]}\n{heads[1]}\n{proof}"

    def export_tiles(self, folder: Path) -> int:
        """Write what is new since the last time into a folder; return how many entries that is.

        The checkpoint is written last, so the folder can be served meanwhile; and once all else would outlast a power
        failure, since the next export goes on from there.

        Raises:
            StoreError: it cannot be written, or holds another log.
            LogRewritten: an entry is not what was sequenced.
        """
        since = self._exported(folder)
        size = self.checkpoint.size
        written = set[Path]()
        for tile in tiles_of(size, since=since):
            hashes = self._tables.tile(tile.level, tile.number)[: tile.width * HASH_BYTES]
            written.add(self._write(folder, tile.path, hashes))
            if tile.level == 0:
                written.add(self._write(folder, tile.bundle, self._bundle(tile, hashes)))
        with named():
            folder.mkdir(parents=True, exist_ok=True)
            for one in {up for path in written for up in path.parents if up.is_relative_to(folder)}:
                sync_folder(one)
        write_whole(folder / "checkpoint", str(self.note))
        return size - since

    def _exported(self, folder: Path) -> int:
        if (note := read_note(folder / "checkpoint")) is None:
            return 0
        found = Checkpoint.parse(note.text)
        if found.origin != self.checkpoint.origin or found.size > self.checkpoint.size:
            raise StoreError(f"{folder} has {found.size:,} entries of {found.origin}: name another folder")
        if root(self._tables.nodes(), found.size) != found.root:
            raise LogRewritten(f"{folder} has another tree than this log; `lastresort log verify` says more")
        return found.size

    def _bundle(self, tile: Tile, hashes: bytes) -> bytes:
        first = tile.number * WIDTH
        entries = list(entries_of(self._tables, self._identity, first, first + tile.width))
        if b"".join(map(leaf_hash, entries)) != hashes:
            raise LogRewritten(f"entries {first:,} to {first + tile.width - 1:,} are not what was sequenced")
        return bundle_of(entries)

    def _write(self, folder: Path, path: str, data: bytes) -> Path:
        with named():
            whole = folder / path
            whole.parent.mkdir(parents=True, exist_ok=True)
            # Through no link: others may be able to write the folder, and have prepared one.
            handle = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            return whole


def prove_event(conversations: Conversations, log: PublishedLog, branch: str, version: int | None = None) -> ProofFile:
    """Return the proof of an event of a branch: of its ending, with what that rests on, if no version is named.

    Raises:
        StoreError: the branch has not ended, or has no such version.
        UnknownBranch: there is no such branch.
    """
    path = conversations.path(branch)
    if version is None:
        ending = next((one for one in path if isinstance(one.event, ConversationEnded)), None)
        if ending is None:
            raise StoreError(f"branch {branch} has not ended; name another of its events by --version")
        wanted = [ending, *_rests_on(path, ending)]
    else:
        wanted = [one for one in path if one.version == version]
        if not wanted:
            raise StoreError(f"branch {branch} has no version {version}; its latest is {path[-1].version}")
    return log.prove([_position(conversations, one) for one in wanted])


class SignedHead(NamedTuple):
    """A signed tree head: of which log, how many events of the store are under it, its root in base64, the names of the
    keys that signed it, and all of it as a note.
    """

    origin: str
    events: int
    root: str
    signers: tuple[str, ...]
    note: str


def signed_head(conversations: Conversations) -> SignedHead | None:
    """Return the signed tree head that was published last, as the store keeps it; None if there is none."""
    store = conversations.store
    if not isinstance(store, SQLStore):
        return None
    tables = TransparencyTables(store)
    try:
        log = PublishedLog(tables)
    except Unproven:
        return None
    _, _, root_line, *_ = log.note.text.split("\n")
    identity = tables.identity()
    before = len(identity.before) if identity is not None else 0
    signers = tuple(one.name for one in log.note.signatures)
    return SignedHead(log.checkpoint.origin, log.checkpoint.size - before, root_line, signers, str(log.note))


def ending_proof(conversations: Conversations, branch: str) -> str:
    """Return the proof of a branch's ending, as it is written to a file.

    Raises:
        StoreError: the branch has not ended, nothing of it is published, or there is no transparency log.
    """
    store = conversations.store
    if not isinstance(store, SQLStore):
        raise Unproven("only a store that is kept has a transparency log")
    return str(prove_event(conversations, PublishedLog(TransparencyTables(store)), branch))


def event_proof(store: EventStore, position: int) -> str:
    """Return the proof of the event at a position of the log, as it is written to a file.

    Raises:
        Unproven: there is no such event, it is too new, nothing is published, or there is no transparency log.
    """
    if not isinstance(store, SQLStore):
        raise Unproven("only a store that is kept has a transparency log")
    return str(PublishedLog(TransparencyTables(store)).prove([position]))


def _rests_on(path: Sequence[RecordedEvent], ending: RecordedEvent) -> Iterable[RecordedEvent]:
    """Return what an ending rests on: its evidence, and what says to which branch and conversation that belongs."""
    event = ending.event
    assert isinstance(event, ConversationEnded)
    told = event.evidence.model_dump()
    versions = {*told.pop("redirections"), *(version for version in told.values() if version is not None)}
    return [one for one in path if one.version in versions or isinstance(one.event, BranchOpened | ConversationStarted)]


def _position(conversations: Conversations, recorded: RecordedEvent) -> int:
    store = conversations.store
    found = store.position_of(recorded.branch, recorded.version) if isinstance(store, SQLStore) else None
    if found is None:
        raise StoreError("only a store that is kept has a transparency log")
    return found
