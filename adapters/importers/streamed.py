"""A log to be read once, from a store or from a file, without holding it in memory."""

from collections.abc import Container, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from lastresort.adapters import open_conversations
from lastresort.application.ports import EventStore
from lastresort.domain.events import RecordedEvent, Unreadable
from lastresort.projections import fork_points
from lastresort.projections.replay import Turn

from .inputs import BadInput, shown_path
from .log_file import forks_in, read_log

_PAGE = 1_000


class StreamedLog(NamedTuple):
    """The events of a log, and the turns at which its branches open, if that is known before they are read."""

    events: Iterable[RecordedEvent]
    forks: Container[Turn] | None


@contextmanager
def streamed(source: str | Path) -> Iterator[StreamedLog]:
    """Open a store by its URL, or the log in a file, and give its events.

    Raises:
        BadInput: while they are read: the file cannot be read, or a line of it is no event.
    """
    if isinstance(source, Path):
        yield StreamedLog(_of_file(source), forks_in(source))
        return
    with closing(open_conversations(source, create=False)) as conversations:
        store = conversations.store
        head = store.head()
        forks = fork_points(_branched(store))
        yield StreamedLog(store.log(limit=head), forks)


def _of_file(path: Path) -> Iterator[RecordedEvent]:
    for number, entry in read_log(path):
        if isinstance(entry, Unreadable):
            raise BadInput(f"{shown_path(path)}:{number}: {entry.why}")
        yield entry


def _branched(store: EventStore) -> Iterator[RecordedEvent]:
    """Yield what began each branch of the conversations that have several: all that opens one is among it."""
    after = 0
    while rows := store.page("branched", after=after, limit=_PAGE):
        for row in rows:
            yield row.began
        after = rows[-1].began.position
