"""A store in which a conversation is played again from its beginning, and what was played before is recognised.

What plays a transcript is deterministic, down to the ids of commands. So a conversation that was played in part is
gone on with by playing all of it: what is recorded already is not recorded again, and only what came to be read of it
so far is seen, as it was then.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from hashlib import sha256

from lastresort.application.ports import (
    Append,
    CommandRecorded,
    EventStore,
    Forgotten,
    Head,
    List,
    ListRow,
    NewEvent,
    Place,
    SealBroken,
    SealedWords,
    Snapshot,
    Snapshots,
    Vault,
    VersionConflict,
)
from lastresort.application.words import role_of
from lastresort.domain.commands import UNSEALED
from lastresort.domain.events import Event, RecordedEvent, Unreadable, content_of
from lastresort.domain.state import Conversation
from lastresort.domain.values import Messages, with_content


class NotPlayed(Exception):
    """What comes next was not played so far, and nothing else was recorded instead."""


class PlayedOtherwise(Exception):
    """The store has something else where this would stand: other words, other terms, or somebody else's events."""


class ReplayStore:
    """An event store that shows of one conversation what has been played, and takes what was recorded for recorded.

    Args:
        store: where it is recorded.
        conversation: the only one that is played.
        sealing: the vault that words come from.
        kept: the vault that opens the words in `store`.
        looking: whether to write nothing, and raise NotPlayed instead.
    """

    def __init__(
        self, store: EventStore, conversation: str, *, sealing: Vault, kept: Vault, looking: bool = False
    ) -> None:
        self._store = store
        self._conversation = conversation
        self._sealing, self._kept = sealing, kept
        self._looking = looking
        self._heads: dict[str, int] = {}  # by branch, the last version that has been played

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        """Write what is not written yet. See `application.ports.EventStore`.

        Raises:
            NotPlayed, PlayedOtherwise: see there.
        """
        return tuple(recorded for append in appends for recorded in self._take(append))

    def barrier(self) -> None:
        """See `application.ports.EventStore`."""
        self._store.barrier()

    def still(self) -> AbstractContextManager[None]:
        """See `application.ports.EventStore`."""
        return self._store.still()

    def import_log(self, appends: Iterable[Append]) -> int:
        """See `append`."""
        return len(self.append(*appends))

    def _take(self, append: Append) -> Sequence[RecordedEvent]:
        recorded = self._look(append) if self._looking else self._write(append)
        for one in recorded:
            self._heads[one.branch] = one.version
        return recorded

    def _look(self, append: Append) -> Sequence[RecordedEvent]:
        # In this order, since another process may be about to play the same.
        goes_on = any(
            self._store.read(append.tree, new.branch, after=self._heads.get(new.branch, 0), limit=1)
            for new in append.events
        )
        recorded = self._store.recorded_by(append.tree, append.command_id)
        if recorded:
            self._check_same(append, recorded)
        elif goes_on:
            raise PlayedOtherwise
        else:
            raise NotPlayed
        return recorded

    def _write(self, append: Append) -> Sequence[RecordedEvent]:
        try:
            return self._store.append(append)
        except (CommandRecorded, VersionConflict):
            recorded = self._store.recorded_by(append.tree, append.command_id)
            if not recorded:
                raise PlayedOtherwise from None
            self._check_same(append, recorded)
            return recorded

    def _check_same(self, append: Append, recorded: Sequence[RecordedEvent]) -> None:
        meant = [(new.branch, new.version, _wordless(new.event)) for new in append.events]
        if meant != [(one.branch, one.version, _wordless(one.event)) for one in recorded]:
            raise PlayedOtherwise
        for new, one in zip(append.events, recorded, strict=True):
            if not self._same_words(new, one.event):
                raise PlayedOtherwise

    def _same_words(self, new: NewEvent, event: Event) -> bool:
        """Whether the words are the same, as far as they are still kept."""
        place = Place(new.branch, new.version)
        data = self._store.contents([place]).get(place) if new.sealed is not None else None
        said, kept = content_of(new.event), content_of(event)
        if data is None or new.sealed is None or said is None or kept is None:
            return True
        try:
            role = role_of(event.kind, event.by)
            words = self._kept.open(self._conversation, *place, SealedWords(kept, data), role)
        except SealBroken:
            return True  # which is for the code that shows them to say
        meant = self._sealing.open(self._conversation, *place, SealedWords(said, new.sealed), role)
        return words in (None, meant)

    # --- reading --------------------------------------------------------------------------------------------------

    def read(
        self, tree: str, branch: str, *, after: int = 0, upto: int | None = None, limit: int | None = None
    ) -> Sequence[RecordedEvent]:
        """Return what has been played of a branch. See `application.ports.EventStore`."""
        head = self._heads.get(branch, 0)
        if head <= after:
            return ()
        return self._store.read(tree, branch, after=after, upto=head if upto is None else min(upto, head), limit=limit)

    def tree_of(self, branch: str) -> str | None:
        """See `application.ports.EventStore`."""
        return self._conversation if self._heads.get(branch) else None

    def heads(self, tree: str) -> Sequence[Head]:
        """Return what has been played of a tree. See `application.ports.EventStore`."""
        played = self._heads
        return [head._replace(version=played[head.branch]) for head in self._store.heads(tree) if head.branch in played]

    def drop(self, places: Iterable[Place]) -> None:
        """See `application.ports.EventStore`."""
        self._store.drop(places)

    def recorded_by(self, tree: str, command_id: str) -> Sequence[RecordedEvent]:
        """Return what a command wrote, if it has been played. See `application.ports.EventStore`."""
        recorded = self._store.recorded_by(tree, command_id)
        return recorded if all(one.version <= self._heads.get(one.branch, 0) for one in recorded) else ()

    def log(self, *, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent]:
        """See `application.ports.EventStore`."""
        return self._store.log(after=after, limit=limit)

    def entries(self, *, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent | Unreadable]:
        """See `application.ports.EventStore`."""
        return self._store.entries(after=after, limit=limit)

    def head(self) -> int:
        """See `application.ports.EventStore`."""
        return self._store.head()

    def wait(self, after: int, timeout: float) -> bool:
        """See `application.ports.EventStore`."""
        return self._store.wait(after, timeout)

    def contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """See `application.ports.EventStore`."""
        return self._store.contents(places)

    def with_words(self, trees: Iterable[str]) -> set[str]:
        """See `application.ports.EventStore`."""
        return self._store.with_words(trees)

    def page(self, which: List, *, after: int = 0, limit: int = 50) -> Sequence[ListRow]:
        """See `application.ports.EventStore`."""
        return self._store.page(which, after=after, limit=limit)

    def close(self) -> None:
        """Leave the store open: who opened it closes it."""


def _wordless(event: Event) -> Event:
    return event if content_of(event) is None else with_content(event, UNSEALED)


class PlainVault:
    """Seals nothing, for who only looks: a key that is not needed is not to be made."""

    def seal(self, conversation: str, branch: str, version: int, words: str, role: str = "") -> SealedWords:
        """See `application.ports.Vault`."""
        data = (b"m" if isinstance(words, Messages) else b"t") + words.encode()
        return SealedWords(f"sha256:{sha256(data).hexdigest()}", data)

    def open(self, conversation: str, branch: str, version: int, sealed: SealedWords, role: str = "") -> str | None:
        """See `application.ports.Vault`."""
        words = sealed.data[1:].decode()
        return Messages(words) if sealed.data[:1] == b"m" else words

    def has_key(self, conversation: str) -> bool:
        """See `application.ports.Vault`."""
        return False

    def new_secret(self) -> str:
        """See `application.ports.Vault`."""
        return ""

    def seals(self, conversation: str, data: bytes) -> bool:
        """See `application.ports.Vault`."""
        return True

    def renew(self, conversation: str) -> None:
        """See `application.ports.Vault`."""

    def retire(self, *conversations: str) -> str:
        """See `application.ports.Vault`."""
        return ""

    def forget_all(self, forgotten: Sequence[Forgotten]) -> None:
        """See `application.ports.Vault`."""

    def close(self) -> None:
        """See `application.ports.Vault`."""


class TakenOnly:
    """Snapshots that are taken and never used: those that are there may be of what has not been played yet."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self.every = snapshots.every

    def take(self, state: Conversation, last: RecordedEvent) -> bytes | None:
        """See `application.ports.Snapshots`."""
        return self._snapshots.take(state, last)

    def latest(self, branch: str, upto: int | None = None) -> Snapshot | None:
        """None."""
        return None
