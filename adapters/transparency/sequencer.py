"""The sequencer: follows the log, makes the tree over it, and checkpoints of that.

It does nothing in an append. It reads what was appended, hashes it outside of any transaction, and writes tiles and its
place in one. A checkpoint is made in steps, each of which lasts before the next one begins:

1. the root is made from the tiles, and another time from the rows of the log, by a compact range. If the two are not
   the same, nothing is signed: a root that was signed wrongly ends a log for good.
2. the tree begins with the one that was signed last, as the file beside the key has it.
3. the checkpoint is kept unsigned, as durably as an event. All events under it were written before it, so whatever
   loses one of them loses the checkpoint too. What was never acknowledged is never signed.
4. it is signed, and kept beside the key.
5. witnesses are asked, and what satisfies the policy is published: beside the key, and in the database.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.followers.follower import Follower, Mark, OtherLog, identity_of
from lastresort.adapters.followers.tables import Transaction
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.merkle import CompactRange, consistency_proof, is_consistent, leaf_hash, root
from lastresort.adapters.tlog.notes import BadNote, Note
from lastresort.adapters.tlog.policy import TrustPolicy
from lastresort.adapters.tlog.tiles import MOST_ENTRY, grown

from .key_files import LogKey
from .leaves import leaf
from .tables import NAME, Identity, TransparencyTables, needed, write_tiles
from .witness_client import Cosigner

BATCH = 2_000
"""Events that are read and written at a time."""

Step = Callable[[str], None]
"""Is told the name of a step of a checkpoint before it is taken."""


class LogRewritten(StoreError):
    """The log is not the one that was signed: shorter, or another one. Nothing is signed."""


class Published(NamedTuple):
    """What became of a checkpoint: who cosigned it, and whether that is enough to publish it."""

    note: Note
    witnesses: dict[str, int]
    enough: bool
    refusals: dict[str, str]


class Sequencer:
    """Makes the tree over a log, and its checkpoints.

    Args:
        tables: where the tree is kept.
        key: signs.
        policy: whose cosignatures it takes to publish.
        now: tells the seconds since 1970.
        step: is told before each step of a checkpoint.
    """

    def __init__(
        self,
        tables: TransparencyTables,
        key: LogKey,
        policy: TrustPolicy,
        *,
        now: Callable[[], float] = time.time,
        step: Step = lambda name: None,
    ) -> None:
        self._tables = tables
        self._key = key
        self._policy = policy
        self._now = now
        self._step = step
        self._cosigners = [Cosigner(one, key.published()) for one in policy.witnesses if one.url is not None]
        self._identity = needed(tables.identity())
        self._follower = Follower(Rows(tables.store), Tree(tables, self._identity), BATCH)
        if key.origin != self._identity.origin:
            raise StoreError(f"the key is of {key.origin}, and the log is called {self._identity.origin}")

    def run(
        self, stopped: Callable[[], bool], every: float, made: Callable[[Published], None] = lambda done: None
    ) -> None:
        """Sequence what is appended, and make a checkpoint of it every so many seconds, until `stopped` says so.

        One that too few witnesses cosigned is made again, though nothing was appended: what it is of would not be
        published otherwise, until somebody speaks.

        Args:
            stopped: is asked again and again.
            every: how many seconds lie between two checkpoints.
            made: is told what became of each.
        """
        due, size = 0.0, 0

        def then(position: int) -> None:
            nonlocal due, size
            if position > size and self._now() >= due:
                done = self.checkpoint()
                due, size = self._now() + every, position if done.enough else size
                made(done)

        with _rewritten():
            self._follower.run(stopped, min(every, 1.0), then)

    def sequence(self) -> int:
        """Bring the tree up to what the log holds now, and return the position that it has come to.

        Raises:
            LogRewritten: what was sequenced is not there any more, or there is a gap.
            StoreError: the log cannot be read or written now.
        """
        with _rewritten():
            return self._follower.catch_up()

    def checkpoint(self) -> Published:
        """Make a checkpoint of what is sequenced, and publish it if enough witnesses cosign it.

        Raises:
            LogRewritten: the tree does not go on where the last signed one ended, or its root is not that of the log.
            StoreError: the log cannot be read or written now.
        """
        with self._key.alone():
            mark = self._tables.mark()
            size = 0 if mark is None else mark.position + len(self._identity.before)
            found = self._checked_head(size)
            self._step("pending")
            self._tables.keep("pending", Note(found.text))
            self._tables.store.barrier()
            self._step("sign")
            note = self._key.sign(found, int(self._now()))
            self._step("signed")
            self._key.keep_signed(note)
            self._tables.keep("signed", note)
            return self._publish(found, note)

    def _checked_head(self, size: int) -> Checkpoint:
        """Return the head of the tree, once it is made in two ways and goes on where the last one ended."""
        node = self._tables.nodes()
        whole = root(node, size)
        signed = self._key.signed()
        before = signed or Checkpoint(self._identity.origin, 0, CompactRange().root())
        if before.size > size or before.origin != self._identity.origin:
            raise LogRewritten(
                f"the log has {size:,} entries, and {before.size:,} of {before.origin} were signed: it was cut or "
                "restored from a backup. Nothing is signed; `lastresort log init --new-origin` goes on from here"
            )
        proof = consistency_proof(node, before.size, size)
        if not is_consistent(before.size, size, proof, before.root, whole):
            raise LogRewritten(
                f"the tree of {size:,} entries does not begin with the one of {before.size:,} that was signed: its "
                "tiles were changed. Nothing is signed; `lastresort log verify` says more"
            )
        self._step("second path")
        other = CompactRange(before.size, node)
        entries = entries_of(self._tables, self._identity, before.size, size)
        while hashes := list(map(leaf_hash, islice(entries, BATCH))):
            other.extend(hashes)
        if other.root() != whole:
            raise LogRewritten(
                f"the root of {size:,} entries is another one by the rows of the log than by the tiles: something "
                "changed since it was sequenced, or memory is bad. Nothing is signed"
            )
        return Checkpoint(self._identity.origin, size, whole)

    def _publish(self, found: Checkpoint, note: Note) -> Published:
        refusals: dict[str, str] = {}
        node = self._tables.nodes()
        for cosigner in self._cosigners:
            self._step("witness")
            try:
                lines = cosigner.cosign(found, note, lambda old: consistency_proof(node, old, found.size))
            except (OSError, BadNote) as error:
                refusals[cosigner.witness.name] = str(error)
            else:
                note = note._replace(signatures=(*note.signatures, *lines))
        seen = TrustPolicy((self._key.verifier,), *self._policy[1:]).look_at(note)
        if seen.enough:
            self._step("publish")
            self._key.keep_published(note)
            self._tables.keep("published", note)
        return Published(note, seen.witnesses, seen.enough, refusals)


@contextmanager
def _rewritten() -> Iterator[None]:
    try:
        yield
    except OtherLog as error:
        raise LogRewritten(f"{error}. `lastresort log verify` says what is missing") from None


class Rows:
    """The rows of a log, as followers read it: see `followers.follower.Source`. None is looked at."""

    def __init__(self, store: SQLStore) -> None:
        self._store = store
        self.head, self.wait = store.head, store.wait

    def identity(self) -> str:
        """Return what tells this log from others."""
        return identity_of(self._store)

    def read(self, after: int, limit: int) -> list[tuple[Any, ...]]:
        """Return the rows after a position."""
        return self._store.stored(after=after, limit=limit)

    def mark(self, entry: tuple[Any, ...]) -> Mark:
        """Return the mark of what has come to a row."""
        position, branch, version = entry[:3]
        return Mark(position, branch, version, entry[8])


class Tree:
    """The tree over a log, as a view of it: see `followers.follower.View`."""

    name, made_again = NAME, False

    def __init__(self, tables: TransparencyTables, identity: Identity) -> None:
        self._tables = tables
        self._before = identity.before
        self.mark = tables.mark

    def ready(self, mark: Mark | None, entries: Sequence[tuple[Any, ...]]) -> Mapping[tuple[int, int], bytes]:
        """Return the tiles that change.

        Raises:
            LogRewritten: there is a gap.
        """
        made, position = list(self._before if mark is None else ()), mark.position if mark else 0
        for row in entries:
            if row[0] != position + 1:
                raise LogRewritten(f"position {position + 1} is missing from the log, and {row[0]} is there")
            position = row[0]
            made.append(_checked(leaf(row), position))
        size = 0 if mark is None else mark.position + len(self._before)
        return grown(self._tables.edge(size), size, b"".join(map(leaf_hash, made)))

    @contextmanager
    def transaction(self) -> Iterator["_Writing"]:
        """Begin a transaction of the tree."""
        with self._tables.transaction() as transaction:
            yield _Writing(transaction)


class _Writing:
    """A transaction of the tree."""

    def __init__(self, transaction: Transaction) -> None:
        self.mark, self.advance, self._transaction = transaction.mark, transaction.advance, transaction

    def clear(self) -> None:
        """Leave what is there: tiles are written over, and `begin` drops those of another log."""

    def apply(self, ready: Mapping[tuple[int, int], bytes]) -> None:
        """Write tiles."""
        write_tiles(self._transaction, ready)


def _checked(entry: bytes, position: int) -> bytes:
    if len(entry) > MOST_ENTRY:
        raise StoreError(
            f"the event at position {position} takes {len(entry):,} bytes, where an entry of a transparency log has "
            f"{MOST_ENTRY:,}: it was recorded before events had a limit, and such a log cannot have one"
        )
    return entry


def entries_of(tables: TransparencyTables, identity: Identity, first: int, end: int) -> Iterator[bytes]:
    """Yield the entries of the log from index `first` on, up to index `end`, as its rows are now.

    There are fewer if rows are missing at its end; where one is missing elsewhere, the next comes in its place.
    """
    ahead = len(identity.before)
    yield from identity.before[first:end]
    position, last = max(0, first - ahead), end - ahead
    while position < last:
        rows = tables.store.stored(after=position, upto=last, limit=BATCH)
        if not rows:
            return
        for row in rows:
            yield leaf(row)
        position = rows[-1][0]
