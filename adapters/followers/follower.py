"""A follower: reads the log from where it left off, and writes what follows from it.

The position up to which the log was read is written in the transaction of what was made of it, by the tracking
recorders of `eventsourcing`. So each event takes effect once, however often a follower is killed, and two followers
of one view exclude each other. The library's own runner wants its own applications, two threads, and a subscription
that SQLite does not have; the loop here needs `EventStore.log`, `head` and `wait`.

Beside the position stands which event was there. If the log has another one, or none, it is another log (a backup
was restored, say), and the view is made again from the beginning.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import NamedTuple, Protocol

from lastresort.application.ports import EventStore
from lastresort.domain.events import RecordedEvent

BATCH = 1_000
"""How many events are read and written at a time: bounds memory, and how long a transaction holds its locks."""


class Mark(NamedTuple):
    """How far a view has come: a position in the log, and which event stands there."""

    position: int
    branch: str
    version: int
    command_id: str


class ViewTransaction(Protocol):
    """One transaction of a view, which no other follower of the same view can be in."""

    def mark(self) -> Mark | None:
        """Return how far the view has come; None if it has not begun."""
        ...

    def clear(self) -> None:
        """Drop what the view holds, so that it begins again."""
        ...

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """Write what follows from `events`, which come after the mark."""
        ...

    def advance(self, mark: Mark) -> None:
        """Set how far the view has come."""
        ...


class View(Protocol):
    """Something that is kept up with the log."""

    name: str
    """Names the view and the version of its code: another version has another name, and begins again."""

    def transaction(self) -> AbstractContextManager[ViewTransaction]:
        """Begin a transaction; commit it unless the block raises."""
        ...


class Follower:
    """Keeps a view up with a log. Threads may share it; one writes at a time, and the others wait without a connection.

    Args:
        store: has the log.
        view: what is kept up.
    """

    def __init__(self, store: EventStore, view: View) -> None:
        self._store = store
        self._view = view
        self._lock = Lock()  # or threads that wait for the database would hold what the one that writes reads with

    def catch_up(self) -> int:
        """Bring the view up to what the log holds now, and return the position that it has come to.

        Raises:
            StoreError: the log or the view cannot be read or written now, or an event cannot be read. What was
                written stays, and the next call goes on from there.
        """
        head = self._store.head()
        with self._lock:
            while (position := self._step(head)) is None:
                pass
        return position

    def run(self, stopped: Callable[[], bool], patience: float = 1.0) -> None:
        """Keep the view up until `stopped` says so.

        Args:
            stopped: is asked after each wait.
            patience: how long one wait for new events lasts, in seconds.

        Raises:
            StoreError: as `catch_up`.
        """
        while not stopped():
            self._store.wait(self.catch_up(), patience)

    def _step(self, head: int) -> int | None:
        """Write one batch. Return the position once there is nothing more up to `head`, None to go on."""
        with self._view.transaction() as transaction:
            mark = transaction.mark()
            if mark is None or not is_here(self._store, mark):
                transaction.clear()  # a view of that name, or of an earlier form, may have left something there
                mark = None
            after = mark.position if mark else 0
            events = tuple(self._store.log(after=after, limit=BATCH)) if after < head else ()
            if not events:
                return after
            transaction.apply(events)
            transaction.advance(mark_of(events[-1]))
        return None


def is_here(store: EventStore, mark: Mark) -> bool:
    """Whether the log has the event of a mark where the mark says."""
    return any(mark_of(recorded) == mark for recorded in store.log(after=mark.position - 1, limit=1))


def mark_of(recorded: RecordedEvent) -> Mark:
    """Return the mark of a view that has come to an event of the log."""
    return Mark(recorded.position, recorded.branch, recorded.version, recorded.command_id)
