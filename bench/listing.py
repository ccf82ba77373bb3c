"""Listing: a page of branches, and of the directory of conversations, among few and among many."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from time import perf_counter
from typing import Any

from lastresort import Conversations, open_conversations
from lastresort.application.ports import List

from .contenders import MODEL
from .measure import Round, Work, at_most, medians, ratio, value
from .place import Place
from .stories import many, mixed, write

TIMES = 15
"""How often a page is read in a round: of one reading of half a millisecond, what else the machine does is the most."""
KINDS: tuple[List, ...] = ("active", "ended", "branched")
ASKED: dict[str, dict[str, Any]] = {
    "the newest": {},
    "the latest to speak": {"by": "last_turn"},
    "those that ended": {"status": "ended"},
    "one model's": {"model": MODEL},
}
"""What the directory is asked for."""
LISTS = (*KINDS, *ASKED)
PAGE = 50


def work(place: Place, few: int, many_: int, open_ones: ExitStack) -> Work:
    """Measure among `few` and among `many_` conversations: the second page, as the first may be a lucky one."""
    stores = {}
    stories = mixed()
    for count in (few, many_):
        stores[count] = open_conversations(f"sqlite:///{place.new_file()}")
        open_ones.callback(stores[count].close)
        write(stores[count].store, many(stories, count))
    lines = [value(f"a page of {kind} among {few:,}", "ms", at_most(3)) for kind in LISTS]
    lines += [value(f"a page of {kind} among {many_:,}", "ms") for kind in LISTS]
    lines += [
        ratio(
            f"a page of {kind} among {many_:,} / among {few:,}",
            f"a page of {kind} among {many_:,}",
            f"a page of {kind} among {few:,}",
            at_most(1.1),
            unit="times",
        )
        for kind in LISTS
    ]
    return Work("listing", f"pages of {PAGE} branches", [lambda: _pages(stores)], lines)


def _pages(stores: dict[int, Conversations]) -> Round:
    """Read each page in turn from few and from many, so that whatever slows the machine slows both."""
    took: dict[str, list[float]] = {}
    for _ in range(TIMES):
        for kind in LISTS:
            for count, conversations in stores.items():
                took.setdefault(f"a page of {kind} among {count:,}", []).append(_page(conversations, kind))
    return medians(took)


def _page(conversations: Conversations, kind: str) -> float:
    """Return how many milliseconds the second page takes."""
    list_of: Callable[..., Any] = conversations.page
    read = partial(conversations.list, **ASKED[kind]) if kind in ASKED else partial(list_of, kind)
    first = read(limit=PAGE)
    assert first.after is not None
    start = perf_counter()
    second = read(after=first.after, limit=PAGE)
    taken = (perf_counter() - start) * 1e3
    assert len(first.rows) == len(second.rows) == PAGE
    assert not set(first.rows) & set(second.rows)
    return taken
