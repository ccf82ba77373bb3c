"""What people see: trees and transcripts, in colour on a terminal and plain when piped. Lists are in `listings`."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from textwrap import wrap
from typing import Any

import click
from pydantic import BaseModel
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text
from rich.tree import Tree

from lastresort.adapters.exporters.text import json_of
from lastresort.adapters.importers.inputs import BadInput
from lastresort.domain.decider import Refused
from lastresort.domain.values import Mode
from lastresort.projections import Branch, Line

_PIPED_WIDTH = 80  # columns
_WIDEST = 10_000  # columns
_MARGIN = "       | "  # of what goes on in the next line: no matter who wrote it, no line of the law begins so
_DEEPER = 4  # columns that each level of a tree takes
NARROWEST = 20  # columns for words, however narrow the terminal is
_A_WHILE = timedelta(hours=1)
_SPEAKERS = {"user": "bold cyan", "assistant": "bold green"}
_WHOLE = (None, "end_turn", "tool_use")  # why a model stops that has said what it had to say
_MARKED = {
    "ConversationEnded": "bold red",
    "WarningGiven": "yellow",
    "RedirectionAttempted": "yellow",
    "RiskRaised": "bold magenta",
    "RiskCleared": "magenta",
    "AttemptRefused": "red",
}


class Screen(Console):
    """Shows names as they are, whatever markup or emoji they look like, and leaves a broken pipe to its caller.

    It is as wide as COLUMNS says, or else the terminal, or else 80 columns. Only where what is shown goes to a program,
    and nobody said how wide that is, are the lines of a transcript as long as what was said.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        there = (sys.stderr if stderr else sys.stdout).isatty()
        said = os.environ.get("COLUMNS", "")
        columns = int(said) if said.isdecimal() and 0 < int(said) <= _WIDEST else None
        self.endless = columns is None and not there
        width = columns or (None if there else _PIPED_WIDTH)
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        raise  # what is being handled


def console() -> Screen:
    """A console on standard output."""
    return Screen()


def progress() -> Screen:
    """A console on standard error, so that progress never mixes with results."""
    return Screen(stderr=True)


def rules_of(refused: Mapping[str, Refused]) -> dict[str, list[str]]:
    """Return under which rules each conversation was refused, for programs."""
    return {one: [broken.rule for broken in why.broken] for one, why in refused.items()}


def print_refused(refused: Mapping[str, Refused]) -> None:
    """Print for people which conversations were refused, and why, a line each."""
    for one, why in refused.items():
        click.echo(f"{one}: {'; '.join(map(str, why.broken))}")


def print_json(value: Any) -> None:
    """Print a value for programs: JSON on one line."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json_of(value, _plain) if unicode else json.dumps(value, default=_plain))


def print_json_with(value: dict[str, Any], name: str, rows: Iterable[Any]) -> None:
    """Print a value with one more field, a list, however long that is: what `print_json` prints of all of it."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    one = partial(json_of, default=_plain) if unicode else partial(json.dumps, default=_plain)
    print(f"{one(value)[:-1]}, {one(name)}: [", end="")
    for number, row in enumerate(rows):
        print(", " if number else "", one(row), sep="", end="")
    print("]}")


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def show_tree(out: Console, rows: Iterable[Branch], here: str | None = None) -> None:
    """Draw the branches of a conversation, parents before children; with numbers where one can go from `here`.

    A name is whole on its line, and what it is about beside it if there is room, or else beneath it. A terminal wraps
    what is wider than it.
    """
    nodes: dict[str, Tree] = {}
    depths: dict[str, int] = {}
    terms: dict[str, str] = {}  # of each branch; said where they are not its parent's
    for number, row in enumerate(rows, start=1):
        depths[row.branch] = depth = depths.get(row.parent or "", -1) + 1
        terms[row.branch] = edition(row)
        label = _label(row, max(NARROWEST, out.width - _DEEPER * depth), number if here is not None else None)
        if row.branch == here:
            label[0].append(" you are here", "bold cyan")
        other = "" if terms.get(row.parent or "") == terms[row.branch] else f", {terms[row.branch]}"
        when = f"{between(row.first_event_at, row.last_event_at)}{other}"
        label += [Text(line, "dim") for line in wrap(when, max(NARROWEST, out.width - _DEEPER * depth))]
        label += [Text(f"hold: {risk}", "magenta") for risk in row.open_risks]
        lines = Text("\n").join(label)
        nodes[row.branch] = nodes[row.parent].add(lines) if row.parent in nodes else Tree(lines)
        root = nodes[next(iter(nodes))]
    for line in out.render_lines(root, out.options.update(width=_WIDEST), pad=False):
        out.print(Text.assemble(*((part.text, part.style or "") for part in line)), soft_wrap=True)


def _label(row: Branch, width: int, number: int | None) -> list[Text]:
    """Return the lines that name a branch, and say how it ended and where it began: one, if there is room."""
    named = Text.assemble((row.branch, "bold"), f" v{row.version} ", (row.status, "red" if row.ground else "green"))
    ended, began, numbered = Text(), Text(), Text("" if number is None else f"  [{number}]", "dim")
    if row.ground:
        ended = Text(f" {row.ground}{f' ({row.category})' if row.category else ''} at {row.ended_at}")
    if row.parent is not None:
        began = Text(f"  {row.cause} after {row.at}", "dim")
    whole = named + ended + began + numbered
    if whole.cell_len <= width:
        return [whole]
    return [named + numbered, *(Text(text.plain.lstrip(), text.style) for text in (ended, began) if text)]


def edition(row: Branch) -> str:
    """Return the edition of the law that a branch is under, and that it is in shadow mode if it is."""
    return f"edition {row.law}{', in shadow mode' if row.mode is Mode.SHADOW else ''}"


def moment(recorded_at: str) -> str:
    """Return a time as people read it: the minute, in UTC."""
    return recorded_at[:16].replace("T", " ")


def between(first: str, last: str) -> str:
    """Return two times as people read them, in UTC, and the day once if it is one."""
    begin, end = moment(first), moment(last)
    until = f" to {end[11:] if begin[:10] == end[:10] else end}" if begin != end else ""
    return f"{begin}{until} UTC"


class Live:
    """An answer on its way: printed piece by piece at a terminal, after a word that it is waited for."""

    def __init__(self, out: Console | None, waiting: str | None) -> None:
        self._out = out
        self._status = out.status(Text(waiting, "dim")) if out and waiting else None
        self._fitted = _Fitted()
        self.said = ""  # of what was printed
        if self._status is not None:
            self._status.start()

    def show(self, piece: str) -> None:
        """Print what has come, each word once it is whole."""
        if self._out is None:
            return
        if not self.said:
            self._no_longer_waiting()
            speaker = Text("       ") + Text("assistant: ", _SPEAKERS["assistant"])
            self._fitted.column = speaker.cell_len
            self._out.print(speaker, end="", soft_wrap=True)
        self.said += piece
        self._out.print(Text(self._fitted.more(harmless(piece), _edge(self._out))), end="", soft_wrap=True)

    def close(self) -> None:
        """End the line, if one was begun."""
        self._no_longer_waiting()
        if self.said and self._out is not None:
            self._out.print(Text(self._fitted.rest(_edge(self._out))), soft_wrap=True)

    def _no_longer_waiting(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


class _Fitted:
    """Fits words that come in pieces between the margin and the edge of the terminal, as if they came at once."""

    def __init__(self) -> None:
        self.column = 0
        self._word = ""  # that may go on
        self._gap = 0  # spaces before it, which no line ends with

    def more(self, piece: str, edge: int) -> str:
        """Return what of it can be shown, in lines."""
        fitted = ""
        for character in piece:
            if not character.isspace():
                if cell_len(self._word + character) > edge - len(_MARGIN):  # no line is as long as this word
                    fitted += self.rest(edge)
                self._word += character
                continue
            fitted += self.rest(edge)
            if character == "\n":
                fitted += self._next_line()
            elif self.column + self._gap < edge:
                self._gap += 1
        return fitted

    def rest(self, edge: int) -> str:
        """Return the word that the last piece ended with."""
        if not self._word:
            return ""
        fitted = self._next_line() if self.column + self._gap + cell_len(self._word) > edge else ""
        fitted += " " * self._gap + self._word
        self.column += self._gap + cell_len(self._word)
        self._word, self._gap = "", 0
        return fitted

    def _next_line(self) -> str:
        self.column, self._gap = len(_MARGIN), 0
        return f"\n{_MARGIN}"


def _edge(out: Console) -> int:
    """The column that words reach to."""
    return len(_MARGIN) + max(NARROWEST, out.width - len(_MARGIN) - 2)


def show_lines(
    out: Console, lines: Iterable[Line], *, said_above: str = "", dates: Mapping[int, str] | None = None
) -> None:
    """Print a transcript: turns at the margin, the law's events between them.

    Args:
        out: where to.
        lines: of it.
        said_above: words of the assistant that have been printed already: of their turn only the place is printed.
        dates: when each version was recorded, if that is to be shown: each day, and an hour after the time above.
    """
    above = None  # the time that was printed last: none of the lines beneath it is an hour later
    for line in lines:
        if dates is not None:
            now = datetime.fromisoformat(dates[line.version])
            if above is None or now.date() != above.date() or now - above >= _A_WHILE:
                out.print(Text(f"       {moment(dates[line.version])} UTC", "dim"))
                above = now
        number = Text(f"{line.version:>5}  ", "dim")
        for shown in line.overtook:
            told = Text("assistant (overtaken): ", _SPEAKERS["assistant"]) + harmless(shown)
            _show_within(out, Text(" " * number.cell_len), told)
        if line.speaker is None:
            _show_within(out, number + "  ", Text(f"· {harmless(line.text)}", _MARKED.get(line.kind, "dim")))
            continue
        speaker = line.speaker if line.stop_reason in _WHOLE else f"{line.speaker} ({harmless(line.stop_reason)})"
        if said_above and line.speaker == "assistant" and line.text == said_above:
            out.print(number + Text(f"{speaker}, as above", "dim"))
            continue
        said = Text(f"[{line.gone}]", "dim italic") if line.text is None else Text(harmless(line.text))
        _show_within(out, number, Text(f"{speaker}: ", _SPEAKERS[line.speaker]) + said)


def _show_within(out: Console, number: Text, told: Text) -> None:
    """Print a turn or an event of the law. What goes on in further lines does so behind a margin, so that no words can
    pass for a line of the law; but for the lines that they have themselves, there is one, unless a terminal wraps it.
    """
    endless = isinstance(out, Screen) and out.endless
    lines = told.split("\n") if endless else told.wrap(out, _edge(out) - len(_MARGIN))
    for nth, line in enumerate(lines):
        if not endless:
            line.rstrip()  # the space between the last word and that of the next line
        out.print((number if nth == 0 else Text(_MARGIN, "dim")) + line, soft_wrap=True)


def harmless(text: str | None) -> str:
    """What somebody wrote, unable to take over a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text or "")


@contextmanager
def copying(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how far a copy has come; yields what is to be told how much is left, and of how much."""
    out = progress()
    with Progress(console=out, disable=quiet or not out.is_terminal, transient=True) as bar:
        task = bar.add_task("copying", total=None)
        yield lambda left, total: bar.update(task, total=total, completed=total - left)


@contextmanager
def listing(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show how far lists are made; yields what is to be told which one, how much of it, and of how much."""
    out = progress()
    with Progress(console=out, disable=quiet or not out.is_terminal, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], total=total, completed=done)

        yield show


@contextmanager
def counting(what: str, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show how far something has come that nobody knows the length of; yields what is to be told."""
    out = progress()
    columns = SpinnerColumn(), TextColumn("{task.completed:,} {task.description}")
    with Progress(*columns, console=out, disable=quiet or not out.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def reading(quiet: bool, what: str = "reading") -> Iterator[Callable[[int, int], None]]:
    """Show how much of something is read; yields what is to be told how much, and of how much."""
    out = progress()
    with Progress(console=out, disable=quiet or not out.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, total=total, completed=done)


@contextmanager
def read_in_parts(what: str, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how much of a folder is done; yield what is to be told.

    Raises:
        BadInput: a package is missing, or this is not a folder of Parquet, or it cannot be read.
    """
    try:
        from lastresort.adapters.large_logs import WorkersDied
        from lastresort.adapters.parquet import UnreadableParquet
    except ModuleNotFoundError as error:
        raise BadInput(str(error)) from None
    try:
        with reading(as_json, what) as progress:
            yield progress
    except (MemoryError, UnreadableParquet, WorkersDied) as error:
        raise BadInput(str(error)) from None
