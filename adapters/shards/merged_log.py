"""The logs of several stores read as one: each store's in its own order, the stores one after another.

A conversation lies in one store, so what comes before what within it is as that store's log has it. Between stores
there is no order to keep. Each reading numbers positions afresh: from 1, without gaps, as long as nothing is
appended. So an export of it is a log like any other; but nobody can follow it, and each store has a log for that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from heapq import merge
from itertools import islice

from lastresort.application.ports import Append, EventStore, Head, List, ListRow, Place, StoreError
from lastresort.domain.events import RecordedEvent, Unreadable

MOST_STORES = 256
"""Of which a position in a merged list tells one: it is the position in the store's list times this, and its number."""


class MergedLog:
    """Several stores, as an `EventStore` that is read. Threads may share it.

    Args:
        stores: by a number from 0 to 255 that stays theirs, in its order.
        of_tree: returns the store that a tree lies in, or would.
        of_branch: returns the store that a branch lies in; None if there is no such branch.
    """

    def __init__(
        self,
        stores: Mapping[int, EventStore],
        of_tree: Callable[[str], EventStore],
        of_branch: Callable[[str], EventStore | None],
    ) -> None:
        self._stores = stores
        self._of_tree = of_tree
        self._of_branch = of_branch

    # --- writing ------------------------------------------------------------------------------------------------

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        """Write appends that are all of one store.

        Raises:
            StoreError: they are of several, and no transaction spans two.
        """
        stores = [self._of_tree(append.tree) for append in appends]
        if any(store is not stores[0] for store in stores):
            raise StoreError("these appends are of conversations in several stores; append to each by itself")
        return stores[0].append(*appends) if stores else ()

    def barrier(self) -> None:
        """Return once all that could be read in any of them lasts."""
        for store in self._stores.values():
            store.barrier()

    def import_log(self, appends: Iterable[Append]) -> int:
        """Raises:
        StoreError: always, since nothing is all or nothing in several stores.
        """
        raise StoreError("a log is imported into one store: make one of it, and then `lastresort shards move` it")

    @contextmanager
    def still(self) -> Iterator[None]:
        """Keep everybody from writing to any of them, which are locked in their order."""
        with ExitStack() as still:
            for store in self._stores.values():
                still.enter_context(store.still())
            yield

    def drop(self, places: Iterable[Place]) -> None:
        """Have sealed words erased."""
        for store, own in self._by_store(places):
            store.drop(own)

    # --- reading ------------------------------------------------------------------------------------------------

    def read(
        self, tree: str, branch: str, *, after: int = 0, upto: int | None = None, limit: int | None = None
    ) -> Sequence[RecordedEvent]:
        """Return events of a branch's own stream."""
        return self._of_tree(tree).read(tree, branch, after=after, upto=upto, limit=limit)

    def tree_of(self, branch: str) -> str | None:
        """Return the tree that a branch belongs to."""
        store = self._of_branch(branch)
        return None if store is None else store.tree_of(branch)

    def heads(self, tree: str) -> Sequence[Head]:
        """Return every branch of a tree."""
        return self._of_tree(tree).heads(tree)

    def recorded_by(self, tree: str, command_id: str) -> Sequence[RecordedEvent]:
        """Return the events that a command wrote to a tree."""
        return self._of_tree(tree).recorded_by(tree, command_id)

    def contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """Return sealed words."""
        return {place: data for store, own in self._by_store(places) for place, data in store.contents(own).items()}

    def with_words(self, trees: Iterable[str]) -> set[str]:
        """Return the trees of which words are kept."""
        wanted = tuple(trees)
        return {tree for store in self._stores.values() for tree in store.with_words(wanted)}

    def log(self, *, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent]:
        """Yield the events of one store after those of another, as far as they had come when this was called."""
        for store, before, begin, many in self._spans(after, limit):
            for one in store.log(after=begin, limit=many):
                yield one._replace(position=before + one.position)

    def entries(self, *, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent | Unreadable]:
        """Yield entries as `log` does, those too that this program cannot read."""
        for store, before, begin, many in self._spans(after, limit):
            for one in store.entries(after=begin, limit=many):
                yield one._replace(position=before + one.position)

    def head(self) -> int:
        """Return how many events there are."""
        return sum(store.head() for store in self._stores.values())

    def wait(self, after: int, timeout: float) -> bool:
        """Raises:
        StoreError: always, since positions are those of one reading.
        """
        raise StoreError("the log of several stores cannot be followed; follow that of each store")

    def page(self, which: List, *, after: int = 0, limit: int = 50) -> Sequence[ListRow]:
        """Return branches of a list: the first of each store, then the second. Their positions say where to go on."""
        place, last = divmod(after, MOST_STORES)
        pages = []
        for number, store in self._stores.items():
            own = store.page(which, after=place if number <= last else max(0, place - 1), limit=limit)
            pages.append([_numbered(row, number) for row in own])
        return list(islice(merge(*pages, key=lambda row: row.began.position), limit))

    # --- which store --------------------------------------------------------------------------------------------

    def _spans(self, after: int, limit: int | None) -> Iterator[tuple[EventStore, int, int, int]]:
        """Yield each store, how many events come before it, and which of its own are meant: after, and how many."""
        heads = [(store, store.head()) for store in self._stores.values()]
        left = sum(head for _, head in heads) if limit is None else limit
        before = 0
        for store, head in heads:
            begin = max(0, after - before)
            many = min(left, head - begin)
            if many > 0:
                yield store, before, begin, many
                left -= many
            before += head

    def _by_store(self, places: Iterable[Place]) -> list[tuple[EventStore, list[Place]]]:
        found: list[tuple[EventStore, list[Place]]] = [(store, []) for store in self._stores.values()]
        for place in places:
            store = self._of_branch(place.branch)
            for one, own in found:
                if one is store:
                    own.append(place)
        return [(store, own) for store, own in found if own]

    def close(self) -> None:
        """Release all of them."""
        for store in self._stores.values():
            store.close()


def _numbered(row: ListRow, number: int) -> ListRow:
    began = row.began
    return row._replace(began=began._replace(position=began.position * MOST_STORES + number))
