"""W3: a branch in the middle of a conversation, and the first turn on it; in appends, and in bytes."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from lastresort import Refused

from . import contenders, peers
from .contenders import WORDS, Ours, PlainSQLite
from .measure import Round, Work, at_most, medians, ratio, value
from .place import Place
from .stories import tell_turns
from .turns import size

BRANCHES = 10  # timed at each length, a round
COUNTED = 100  # whose bytes are: a table grows by whole pages
MIDDLE_OF = 1_000  # turns: where the goals are asked


def work(place: Place, lengths: Sequence[int], open_ones: ExitStack) -> Work:
    """Measure at these lengths, MIDDLE_OF among them, in one store."""
    path = place.new_file()
    ours = contenders.ours_on_sqlite(path)
    open_ones.callback(ours.close)
    names = {length: tell_turns(ours.conversations, length) for length in lengths}
    runs = [lambda: _ours(ours, path, names), _copying(place, open_ones)]
    others = [
        value(f"branch in the middle of {MIDDLE_OF:,}, {label}, {what}", unit)
        for label in ("copying with plain sqlite3", *([] if not _langgraph() else ["LangGraph"]))
        for what, unit in (("time", "ms"), ("bytes", "bytes"))
    ]
    if _langgraph():
        runs.append(_forking(place, open_ones))
    longest, shortest = max(lengths), min(lengths)
    lines = [
        ratio(
            f"branch in the middle of {MIDDLE_OF:,} / append", _branch(MIDDLE_OF), "append", at_most(3), unit="appends"
        ),
        value(f"bytes that it adds, of {MIDDLE_OF:,}", "bytes", at_most(1_500), of=f"{_branch(MIDDLE_OF)}: bytes"),
        ratio(
            f"branch of {longest:,} / of {shortest:,}", _branch(longest), _branch(shortest), at_most(1.1), unit="times"
        ),
        value("append", "ms"),
        *(value(_branch(length), "ms") for length in lengths),
        *(
            value(f"bytes that it adds, of {n:,}", "bytes", of=f"{_branch(n)}: bytes")
            for n in lengths
            if n != MIDDLE_OF
        ),
        *others,
    ]
    return Work("W3", "a branch in the middle, its first turn included", runs, lines)


def _branch(length: int) -> str:
    return f"branch in the middle of {length:,}"


def _middle(length: int) -> int:
    """The version of a user turn in the middle: turns begin at version 2 with one of the user."""
    return length // 2 // 2 * 2 + 2


def _ours(ours: Ours, path: Path, names: dict[int, str]) -> Round:
    """Branch at every length by turns, with an append between, in milliseconds; then count the bytes."""
    chats = {length: ours.conversations.chat(name) for length, name in names.items()}
    other = ours.conversations.start(model=contenders.MODEL)
    samples: dict[str, list[float]] = {}
    for _ in range(BRANCHES):
        for length, chat in chats.items():
            start = perf_counter()
            branch = chat.edit(_middle(length), WORDS)
            samples.setdefault(_branch(length), []).append((perf_counter() - start) * 1e3)
            assert not isinstance(branch, Refused)
            start = perf_counter()
            outcome = other.user_turn(WORDS)
            samples.setdefault("append", []).append((perf_counter() - start) * 1e3)
            assert not isinstance(outcome, Refused)
    added = {}
    for length, chat in chats.items():
        before = sum(size(path).values())
        for _ in range(COUNTED):
            chat.edit(_middle(length), WORDS)
        added[f"{_branch(length)}: bytes"] = (sum(size(path).values()) - before) / (COUNTED)
    return {**medians(samples), **added}


def _copying(place: Place, open_ones: ExitStack) -> Callable[[], Round]:
    path = place.new_file()
    plain = PlainSQLite(path)
    open_ones.callback(plain.close)
    name = contenders.new_name()
    plain.fill(name, MIDDLE_OF)
    return lambda: _others(
        "copying with plain sqlite3", path, lambda: plain.copy(name, MIDDLE_OF // 2, contenders.new_name())
    )


def _langgraph() -> bool:
    return any(peer.label == "LangGraph" for peer in peers.on_sqlite())


def _forking(place: Place, open_ones: ExitStack) -> Callable[[], Round]:
    path = place.new_file()
    graph = peers.langgraph_on_sqlite(path)
    open_ones.callback(graph.close)
    name = contenders.new_name()
    graph.fill(name, MIDDLE_OF // 2)
    middle = graph.head(name)
    graph.fill(name, MIDDLE_OF // 2)
    return lambda: _others("LangGraph", path, lambda: graph.branch(middle))


def _others(label: str, path: Path, branch: Callable[[], object]) -> Round:
    samples = []
    before = sum(size(path).values())
    for _ in range(BRANCHES):
        start = perf_counter()
        branch()
        samples.append((perf_counter() - start) * 1e3)
    added = (sum(size(path).values()) - before) / BRANCHES
    what = f"branch in the middle of {MIDDLE_OF:,}, {label}"
    return {**medians({f"{what}, time": samples}), f"{what}, bytes": added}
