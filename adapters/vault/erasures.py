"""Whether the log says that the keys of a conversation are to be destroyed: what the vault asks before it does."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from lastresort.application.ports import EventStore, StoreError
from lastresort.domain.events import ContentErased, ErasureHeld, ErasureReleased, content_of

PermitErasure = Callable[[Sequence[str]], AbstractContextManager[None]]
"""Enters a block in which the keys of conversations may be destroyed. Raises KeyHeld if those of one may not."""


class KeyHeld(StoreError):
    """The keys of a conversation may not be destroyed: the message says why. None was."""


@contextmanager
def permitted(store: EventStore, trees: Sequence[str]) -> Iterator[None]:
    """Keep the log still, and enter the block if it says that the words of each of these conversations are erased.

    An erasure is recorded before its keys are destroyed, and is not lawful while a hold stands. So a conversation keeps
    its keys, no matter who asks, if its log has no erasure of all that was said by then, or if a hold stands that was
    there before it. A hold that came after the erasure has nothing left to hold of those words, and none can come in
    between, since nobody else writes meanwhile.

    Raises:
        KeyHeld: they may not be destroyed.
        StoreError: the log cannot be read, or could not be kept still.
    """
    with store.still():
        for tree in trees:
            _check(store, tree)
        yield


def _check(store: EventStore, tree: str) -> None:
    erased, said = False, set[str]()
    holds: dict[str, bool] = {}  # of each that stands, whether an erasure came before it
    for recorded in store.read(tree, tree):  # the root: holds and erasures of the whole are on every branch
        event = recorded.event
        if isinstance(event, ContentErased):
            said -= set(event.contents)
            erased |= not said
        elif isinstance(event, ErasureHeld):
            holds[event.hold] = erased
        elif isinstance(event, ErasureReleased):
            holds.pop(event.hold, None)
        elif (content := content_of(event)) is not None:
            said.add(content)
    if not erased:
        raise KeyHeld(f"conversation {tree}: the log has no erasure of all of it, so none of its keys was destroyed")
    if before := [hold for hold, after in holds.items() if not after]:
        held = f"legal hold {before[0]} stands on it"
        raise KeyHeld(f"conversation {tree}: {held}, so none of its keys was destroyed; release it first")
