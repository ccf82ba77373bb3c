"""A follower: reads the log from where it left off, and writes what follows from it. One loop for all that do so: the
directory and other views in the database, the sequencer of a transparency log, telemetry.

How far it has come, its mark, is written in the transaction of what was made of the log, by the tracking recorders of
`eventsourcing`. So each event takes effect once, however often a follower is killed. What is read, and made ready, is
so outside of any transaction, so that nobody who writes to the same database waits for it; of two followers of one view
the second to come writes nothing. The library's own runner wants its own applications, two threads, and a subscription
that SQLite does not have.

A mark names the log too, and which event stands at its position. If this is another log, or the same one restored from
a backup, nothing that follows from it may be added to what is there. A view that can be made again begins again by
itself; any other follower stops, and says which log it was of.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from lastresort.adapters.databases.errors import StoreError
from lastresort.application.ports import EventStore
from lastresort.domain.events import RecordedEvent

BATCH = 1_000
"""How many events are read and written at a time: bounds memory, and how long a transaction holds its locks."""

Entry = TypeVar("Entry")
Ready = TypeVar("Ready")
Taken = TypeVar("Taken", contravariant=True)


class Mark(NamedTuple):
    """How far a follower has come: a position, which event stands there, and of which log, if that was noted."""

    position: int
    branch: str
    version: int
    command_id: str
    log: str = ""


class OtherLog(StoreError):
    """A follower is of another log than this one, or of this one as it was before it was restored."""


class Source(Protocol[Entry]):
    """A log, as a follower reads it."""

    def identity(self) -> str:
        """Return what tells this log from others; nothing, if it has no event that can be read."""
        ...

    def head(self) -> int:
        """Return the position of the latest entry."""
        ...

    def read(self, after: int, limit: int) -> Sequence[Entry]:
        """Return the entries after a position, the first `limit` of them."""
        ...

    def mark(self, entry: Entry) -> Mark:
        """Return the mark of what has come to an entry, without the log's name."""
        ...

    def wait(self, after: int, timeout: float) -> bool:
        """Wait for an entry after a position. See `application.ports.EventStore`."""
        ...


class ViewTransaction(Protocol[Taken]):
    """One transaction of a view, which no other follower of the same view can be in."""

    def mark(self) -> Mark | None:
        """Return how far the view has come; None if it has not begun."""
        ...

    def clear(self) -> None:
        """Drop what the view holds, so that it begins again."""
        ...

    def apply(self, ready: Taken) -> None:
        """Write what was made ready."""
        ...

    def advance(self, mark: Mark) -> None:
        """Set how far the view has come."""
        ...


class View(Protocol[Taken, Ready]):
    """Something that is kept up with the log."""

    name: str
    """Names the view and the version of its code: another version has another name, and begins again."""

    made_again: bool
    """Whether all of it can be made again from the log, and nobody else has what it held."""

    def mark(self) -> Mark | None:
        """Return how far the view has come, without a lock."""
        ...

    def ready(self, mark: Mark | None, entries: Sequence[Taken]) -> Ready:
        """Return what `apply` takes for the entries that come after a mark. Outside of any transaction."""
        ...

    def transaction(self) -> AbstractContextManager[ViewTransaction[Ready]]:
        """Begin a transaction; commit it unless the block raises."""
        ...


class Events:
    """The events of a store, as followers read them.

    Args:
        store: has the log.
        told_outside: whether what follows from them leaves the store's database. Then they are read once they last: a
            view in that database is lost with them, and anything else would tell of what a standby does not have.
    """

    def __init__(self, store: EventStore, *, told_outside: bool = False) -> None:
        self._store = store
        self._told_outside = told_outside
        self.head, self.wait = store.head, store.wait

    def identity(self) -> str:
        """See `Source`."""
        return identity_of(self._store)

    def read(self, after: int, limit: int) -> Sequence[RecordedEvent]:
        """See `Source`."""
        events = tuple(self._store.log(after=after, limit=limit))
        if events and self._told_outside:
            self._store.barrier()
        return events

    def mark(self, entry: RecordedEvent) -> Mark:
        """See `Source`."""
        return mark_of(entry)


class Follower(Generic[Entry, Ready]):
    """Keeps a view up with a log. Threads may share it; one writes at a time, and the others wait without a connection.

    Args:
        source: the log.
        view: what is kept up.
        batch: how many entries are read at a time; `BATCH`, if it is not said.
    """

    def __init__(self, source: Source[Entry], view: View[Entry, Ready], batch: int | None = None) -> None:
        self._source = source
        self._view = view
        self._batch = batch
        self._lock = Lock()

    def catch_up(self) -> int:
        """Bring the view up to what the log holds now, and return the position that it has come to.

        Raises:
            OtherLog: the view is of another log, and cannot be made again.
            StoreError: the log or the view cannot be read or written now, or an event cannot be read. What was
                written stays, and the next call goes on from there.
        """
        head = self._source.head()
        with self._lock:
            while (position := self._step(head)) is None:
                pass
        return position

    def run(
        self, stopped: Callable[[], bool], patience: float = 1.0, then: Callable[[int], None] = lambda position: None
    ) -> None:
        """Keep the view up until `stopped` says so.

        Args:
            stopped: is asked after each wait.
            patience: how long one wait for new events lasts, in seconds.
            then: is told the position that the view has come to, before each wait.

        Raises:
            OtherLog, StoreError: as `catch_up`.
        """
        while not stopped():
            position = self.catch_up()
            then(position)
            self._source.wait(position, patience)

    def _step(self, head: int) -> int | None:
        """Write one batch. Return the position once there is nothing more up to `head`, None to go on."""
        mark = self._view.mark()
        if mark is not None and (why := why_not_here(self._source, mark)) is not None:
            if not self._view.made_again:
                raise OtherLog(f"{self._view.name}: {why}. Follow that log, or begin again from the start of this one")
            with self._view.transaction() as transaction:
                if transaction.mark() == mark:
                    transaction.clear()
            return None
        after = mark.position if mark else 0
        entries = self._source.read(after, self._batch or BATCH) if after < head else ()
        if not entries:
            return after
        ready = self._view.ready(mark, entries)
        with self._view.transaction() as transaction:
            if transaction.mark() == mark:  # or else another follower was here
                if mark is None:
                    transaction.clear()  # an earlier form of the view may have left something there
                transaction.apply(ready)
                transaction.advance(self._source.mark(entries[-1])._replace(log=self._source.identity()))
        return None


def why_not_here(source: Source[Entry], mark: Mark) -> str | None:
    """Return why what follows from a log may not be added to what has come to a mark, None if it may."""
    log = source.identity()
    if mark.log and log and log != mark.log:
        return f"it follows log {mark.log}, up to position {mark.position:,}, and this is log {log}"
    found = source.read(mark.position - 1, 1)
    if not found or source.mark(found[0]) != mark._replace(log=""):
        return (
            f"it follows log {mark.log or log} up to position {mark.position:,}, and the event that was there is "
            "not there any more: the log was cut, renumbered or restored from a backup"
        )
    return None


def identity_of(store: EventStore) -> str:
    """Return 16 characters that tell a log from others, by what it begins with: those that its keys note, too.

    Nothing, if it has no event that can be read.
    """
    first: Any = next(iter(store.entries(limit=1)), None)
    if not isinstance(first, RecordedEvent):
        return ""
    return hashlib.sha256(" ".join((first.branch, first.command_id, first.recorded_at)).encode()).hexdigest()[:16]


def is_here(store: EventStore, mark: Mark) -> bool:
    """Whether the log has the event of a mark where the mark says."""
    return any(mark_of(recorded) == mark._replace(log="") for recorded in store.log(after=mark.position - 1, limit=1))


def mark_of(recorded: RecordedEvent) -> Mark:
    """Return the mark of what has come to an event of the log."""
    return Mark(recorded.position, recorded.branch, recorded.version, recorded.command_id)
