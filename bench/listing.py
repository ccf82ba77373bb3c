"""Listing: a page of branches, and of the directory of conversations, among few and among many."""

from contextlib import ExitStack
from time import perf_counter
from typing import Any

from lastresort import Conversations, open_conversations
from lastresort.application.ports import List

from .contenders import MODEL
from .measure import Round, Work, at_most, ratio, value
from .place import Place
from .stories import many, mixed, write

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
    measured = {}
    for kind in KINDS:
        for count, conversations in stores.items():
            first = conversations.page(kind, limit=PAGE)
            assert first.after is not None
            start = perf_counter()
            second = conversations.page(kind, after=first.after, limit=PAGE)
            measured[f"a page of {kind} among {count:,}"] = (perf_counter() - start) * 1e3
            assert len(first.rows) == len(second.rows) == PAGE
            assert not {row.branch for row in first.rows} & {row.branch for row in second.rows}
    for name, asked in ASKED.items():
        for count, conversations in stores.items():
            cursor = conversations.list(limit=PAGE, **asked).after
            start = perf_counter()
            rows = conversations.list(limit=PAGE, after=cursor, **asked).rows
            measured[f"a page of {name} among {count:,}"] = (perf_counter() - start) * 1e3
            assert cursor is not None
            assert len(rows) == PAGE
    return measured
