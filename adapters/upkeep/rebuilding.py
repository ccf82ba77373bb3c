"""The lists that followers keep, made again beside those that serve, while the store is in use.

Nothing has to stop, and no reader waits: see `lastresort.adapters.followers.rebuild`.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from lastresort.adapters.followers.directory import ConversationDirectory
from lastresort.adapters.followers.holds import StandingHolds
from lastresort.adapters.followers.rebuild import rebuild
from lastresort.adapters.opening import new_id, open_conversations


class RebuiltView(NamedTuple):
    """A list that was made again: of how many events, and how many an interrupted rebuild had done of them."""

    view: str
    events: int
    resumed: int


def rebuild_views(
    url: str, progress: Callable[[str, int, int], None] = lambda view, done, of: None
) -> Iterator[RebuiltView]:
    """Make the directory and the list of holds of a store again; yield each once it serves.

    Args:
        url: of the store.
        progress: is told which list is being made, how many events it is made of so far, and of how many.

    Raises:
        TakenOver: somebody else rebuilds the same list, and goes on.
        StoreError: there is no store, or it cannot be read or written now. What serves is as it was.
    """
    conversations = open_conversations(url, create=False)
    try:
        directory, holds = conversations.service.ports.directory, conversations.service.ports.holds
        assert isinstance(directory, ConversationDirectory), "what opens a store gives it one"
        assert isinstance(holds, StandingHolds), "as above"
        for name, view in (("directory", directory), ("list of holds", holds)):
            done = rebuild(view, new_id, lambda done, of, name=name: progress(name, done, of))  # type: ignore[misc]
            yield RebuiltView(name, *done)
    finally:
        conversations.close()
