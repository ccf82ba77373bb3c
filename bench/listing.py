"""Listing: a page of the active, the ended and the branched conversations, among few and among many."""

from collections.abc import Sequence
from contextlib import ExitStack
from time import perf_counter

from lastresort.adapters import open_conversations
from lastresort.domain import Conversations
from lastresort.projections import views

from .measure import Round, Work, at_most, ratio, value
from .place import Place
from .stories import many, mixed, write

KINDS = ("active", "ended", "branched")
PAGE = 50


def page(conversations: Conversations, kind: str, after: str | None = None) -> Sequence[str]:
    """Return the names of the PAGE branches of a kind that come after one. The store has no list of its own yet."""
    rows = [row.branch for row in getattr(views(conversations.store.log()), kind)]
    first = rows.index(after) + 1 if after else 0
    return rows[first : first + PAGE]


def work(place: Place, few: int, many_: int, open_ones: ExitStack) -> Work:
    """Measure among `few` and among `many_` conversations: the second page, as the first may be a lucky one."""
    stores = {}
    stories = mixed()
    for count in (few, many_):
        stores[count] = open_conversations(f"sqlite:///{place.new_file()}")
        open_ones.callback(stores[count].close)
        write(stores[count].store, many(stories, count))
    lines = [value(f"a page of {kind} among {few:,}", "ms", at_most(3)) for kind in KINDS]
    lines += [value(f"a page of {kind} among {many_:,}", "ms") for kind in KINDS]
    lines += [
        ratio(
            f"a page of {kind} among {many_:,} / among {few:,}",
            f"a page of {kind} among {many_:,}",
            f"a page of {kind} among {few:,}",
            at_most(1.1),
            unit="times",
        )
        for kind in KINDS
    ]
    return Work("listing", f"pages of {PAGE} branches", [lambda: _pages(stores)], lines)


def _pages(stores: dict[int, Conversations]) -> Round:
    measured = {}
    for kind in KINDS:
        for count, conversations in stores.items():
            first = page(conversations, kind)
            assert len(first) == PAGE
            start = perf_counter()
            second = page(conversations, kind, first[-1])
            measured[f"a page of {kind} among {count:,}"] = (perf_counter() - start) * 1e3
            assert len(second) == PAGE
            assert not set(first) & set(second)
    return measured
