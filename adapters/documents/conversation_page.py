"""A conversation as a page: what was said, the law between the lines, and its branches side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from lastresort.adapters.exporters.page_style import MARKS
from lastresort.projections import Branch, Line
from lastresort.projections.transcript import evidence

from .pages import anchor, page

WORDS_NOT_SHOWN = "words not shown"
"""What stands for words that nobody asked to see."""
_PEEK = 2  # turns of a branch that are shown where it opens


class ToldLine(NamedTuple):
    """A line of a branch: when, by whom, and how it is to look. Where others open before it, they stand above it, and
    beside them the turns with which this one goes on.
    """

    id: str
    line: Line
    at: str | None
    mark: str
    opened: tuple["Peek", ...]
    goes_on: tuple[Line, ...]


class Peek(NamedTuple):
    """What a branch is, and how it begins: shown where it opens, beside the others."""

    id: str
    branch: str
    told: str
    lines: tuple[Line, ...]


class Part(NamedTuple):
    """A branch, from the turn at which it opens."""

    id: str
    row: Branch
    told: str
    lines: tuple[ToldLine, ...]


def conversation_page(
    rows: Sequence[Branch],
    lines_of: Callable[[str], Sequence[Line]],
    dates_of: Callable[[str], Mapping[int, str]],
    program: str,
    *,
    words: bool,
    here: str,
) -> str:
    """Return a conversation as one HTML file.

    Args:
        rows: its branches, parents before children.
        lines_of: returns the lines of a branch's path.
        dates_of: returns when each version of it was recorded.
        program: the version of the program that makes it.
        words: whether the lines have words in them, where any are kept.
        here: the branch that was asked for.
    """
    lines = {row.branch: lines_of(row.branch) for row in rows}
    parts = [_part(row, rows, lines, dates_of(row.branch)) for row in rows]
    return page("conversation.html", parts=parts, rows=rows, program=program, words=words, here=anchor("t", here))


def _part(row: Branch, rows: Sequence[Branch], lines: Mapping[str, Sequence[Line]], dates: Mapping[int, str]) -> Part:
    own = [line for line in lines[row.branch] if line.version > (row.at or 0)]
    children = {row.branch: row for row in rows}
    opened: dict[int, list[Peek]] = {}
    for child in children.values():
        if child.parent == row.branch and child.at is not None:
            opened.setdefault(child.at + 1, []).append(_peek(child, lines[child.branch]))
    told = [
        ToldLine(
            anchor("t", row.branch, line.version),
            line,
            dates.get(line.version),
            MARKS.get(line.kind, ""),
            tuple(opened.get(line.version, ())),
            _first_turns(own, line.version - 1) if line.version in opened else (),
        )
        for line in own
    ]
    return Part(anchor("t", row.branch), row, " ".join(_told(row)), tuple(told))


def _peek(child: Branch, lines: Sequence[Line]) -> Peek:
    first = _first_turns(lines, child.at or 0)
    return Peek(anchor("t", child.branch), child.branch, " ".join(_told(child)), first)


def _first_turns(lines: Sequence[Line], after: int) -> tuple[Line, ...]:
    turns = (line for line in lines if line.version > after and line.speaker is not None)
    return tuple(islice(turns, _PEEK))


def _told(row: Branch) -> Iterator[str]:
    if row.parent is not None:
        how = "An edit" if row.cause == "edit" else "Another answer"
        yield f"{how}, opened after version {row.at} of {row.parent}."
    if row.ground is None:
        yield f"Goes on, at version {row.version}."
        return
    about = f" for {row.category}" if row.category else ""
    how = "as a last resort" if row.ground == "last_resort" else "at the user's request"
    yield f"Ended {how}{about} at version {row.ended_at}; {evidence(row.evidence) if row.evidence else 'no evidence'}."
