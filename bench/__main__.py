"""`python -m bench`: what this project costs, beside plain drivers and peers: docs/explanation/performance.md."""

import argparse
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from . import (
    branching,
    claude,
    core,
    hosts,
    importing,
    large,
    listing,
    long,
    replay,
    report,
    reporting,
    starting,
    supposing,
    telemetry,
    turns,
)
from .measure import Figure, Work, measure
from .place import Place, absent, describe, opened


class Size(NamedTuple):
    """How much work there is."""

    rounds: int
    conversations: int  # in W1
    lengths: tuple[int, ...]  # of conversations in W2 and W3, in turns; 1,000 among them
    few: int  # conversations to list
    many: int
    events: int  # in W4
    imports: bool  # of the peers, which take seconds
    lines: int  # of a log that is imported


QUICK = Size(3, conversations=5, lengths=(100, 1_000), few=1_000, many=2_000, events=10_000, imports=False, lines=5_000)
FULL = Size(
    3,
    conversations=1_000,
    lengths=(100, 1_000, 10_000),
    few=1_000,
    many=100_000,
    events=250_000,
    imports=True,
    lines=1_000_000,
)

WORKS: dict[str, Callable[[Place, Size, ExitStack], Work]] = {
    "core": lambda place, size, opened: core.work(),
    "start": lambda place, size, opened: starting.work(imports=size.imports),
    "W1": lambda place, size, opened: turns.work(place, size.conversations),
    "W2": lambda place, size, opened: long.work(place, size.lengths, opened),
    "W3": lambda place, size, opened: branching.work(place, size.lengths, opened),
    "W4": lambda place, size, opened: replay.work(place, size.events, opened),
    "diverse": lambda place, size, opened: replay.work(place, size.events, opened, everything=True),
    "what-if": lambda place, size, opened: supposing.work(size.events),
    "report": lambda place, size, opened: reporting.work(place, size.lines),
    "large": lambda place, size, opened: large.work(place, size.lines),
    "import": lambda place, size, opened: importing.work(place, size.lines),
    "hosts": lambda place, size, opened: hosts.work(opened),
    "listing": lambda place, size, opened: listing.work(place, size.few, size.many, opened),
}
if find_spec("anthropic") and find_spec("lastresort.adapters.claude"):
    WORKS["claude"] = lambda place, size, opened: claude.work(place, opened)
if not absent(("opentelemetry-sdk",)):
    WORKS["telemetry"] = lambda place, size, opened: telemetry.work(place)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure, side by side with plain drivers and peers."
    )
    parser.add_argument("--full", action="store_true", help="the sizes of the table of goals; takes many minutes")
    parser.add_argument(
        "--rounds", type=int, help=f"how often each is measured ({QUICK.rounds}; --full: {FULL.rounds})"
    )
    parser.add_argument("--only", metavar="A,B", help=f"some of: {', '.join(WORKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to FILE as well")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the goals to FILE (.png, .svg); needs matplotlib"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the stores are written, on whose disk (default: the temporary folder)"
    )
    asked = parser.parse_args()
    size = FULL if asked.full else QUICK
    size = size if asked.rounds is None else size._replace(rounds=asked.rounds)
    if size.rounds < 1:
        parser.error(f"--rounds {asked.rounds}: measure at least once")
    chosen = asked.only.split(",") if asked.only else list(WORKS)
    if unknown := sorted(set(chosen) - set(WORKS)):
        parser.error(f"--only {', '.join(unknown)}: choose from {', '.join(WORKS)}")
    if asked.plot and absent(("matplotlib",)):
        parser.error("--plot needs matplotlib: pip install -e '.[bench]'")
    if asked.folder and not asked.folder.is_dir():
        parser.error(f"--folder {asked.folder}: there is no such folder")
    with (
        tempfile.TemporaryDirectory(prefix="lastresort-bench-", dir=asked.folder) as folder,
        opened(Path(folder)) as place,
    ):
        run(place, size, chosen, asked)


def run(place: Place, size: Size, chosen: list[str], asked: argparse.Namespace) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 140
    machine = describe(place)
    console.print("\n".join(f"{name}: {value}" for name, value in machine.items()), highlight=False)
    console.print(_size_in_words(size, full=asked.full), highlight=False)
    if missing := absent():
        console.print(f"not installed (pip install -e '.[bench]'): {', '.join(missing)}", highlight=False, markup=False)
    figures: list[Figure] = []
    notes: dict[str, list[str]] = {}
    for name in chosen:
        found, work = _measured(name, place, size)
        notes[work.id] = list(work.notes())
        report.show(console, work, found, notes[work.id])
        figures += found
    judged = [figure for figure in figures if figure.goal]
    met = sum(bool(figure.met) for figure in judged)
    console.print(f"\n{met} of {len(judged)} goals met{_busy(machine)}", highlight=False)
    if asked.json:
        asked.json.write_text(
            report.as_json(machine, figures, notes, rounds=size.rounds, full=asked.full, absent=missing)
        )
    if asked.plot:
        report.plot(
            asked.plot,
            figures,
            f"{machine['cpu']}, {machine['cores']} cores, {machine['file system']}; {size.rounds} rounds",
        )


def _measured(name: str, place: Place, size: Size) -> tuple[list[Figure], Work]:
    """Measure, and show on standard error how far it is."""
    errors = Console(stderr=True)
    with Progress(
        SpinnerColumn(), "{task.description}", TimeElapsedColumn(), console=errors, transient=True
    ) as progress:
        task = progress.add_task(f"{name}: preparing")

        def tell(count: int) -> None:
            what = f"{name}: {f'round {count} of {size.rounds}' if count else 'warming up'}"
            progress.update(task, description=what)
            if not errors.is_terminal:
                errors.print(what, highlight=False)

        with ExitStack() as open_ones:
            work = WORKS[name](place, size, open_ones)
            return measure(work, size.rounds, tell), work


def _busy(machine: dict[str, Any]) -> str:
    """Return a warning if others, or this, kept more cores busy than there are."""
    load = max(machine["load"], os.getloadavg()[0])
    return f"; the machine was busy (load {load:.1f}): measure again when it is not" if load > machine["cores"] else ""


def _size_in_words(size: Size, *, full: bool) -> str:
    what = "the sizes of the table of goals" if full else "QUICK sizes, smaller than the table's: --full for those"
    return f"{size.rounds} rounds after one that is not counted; {what}"


if __name__ == "__main__":
    main()
