"""A part of a log: some of its conversations, whole, in the order of the log."""

from collections.abc import Collection, Iterable, Iterator

from lastresort.domain.events import BranchOpened, RecordedEvent


def of_conversations(log: Iterable[RecordedEvent], conversations: Collection[str]) -> Iterator[RecordedEvent]:
    """Yield the events of some conversations, on all their branches.

    A report of them is a report of a log in which nothing else ever happened: of an ending it counts as a return only
    a conversation that is among them.

    Args:
        log: every event from the beginning, in order.
        conversations: their ids.
    """
    branches = set(conversations)
    for recorded in log:
        event = recorded.event
        if isinstance(event, BranchOpened) and event.parent in branches:
            branches.add(recorded.branch)
        if recorded.branch in branches:
            yield recorded
