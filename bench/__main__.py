"""`python -m bench`: how fast this machine decides, folds and commits. Quick unless asked for more rounds."""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

from rich.box import ROUNDED
from rich.console import Console
from rich.table import Table

from .core import Figure, measure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the core and the service.")
    parser.add_argument("--rounds", type=int, default=11, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to FILE as well")
    asked = parser.parse_args()
    if asked.rounds < 1:
        parser.error(f"--rounds {asked.rounds}: measure at least once")
    with tempfile.TemporaryDirectory(prefix="lastresort-bench-") as folder:
        machine = describe_machine(Path(folder))
        figures = measure(asked.rounds, Path(folder))
    show(machine, figures)
    if asked.json:
        report = {"machine": machine, "figures": [{**figure._asdict(), "median": figure.median} for figure in figures]}
        asked.json.write_text(json.dumps(report, indent=2) + "\n")


def describe_machine(folder: Path) -> dict[str, str | int]:
    """Name what the figures depend on, the file system beneath `folder` included: on tmpfs a commit costs nothing."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count() or 1,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.platform(terse=True),
        "file system": _file_system(folder),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _file_system(folder: Path) -> str:
    """The type of the deepest mount above `folder`, where the system lists its mounts."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    above = [(len(point), kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(above, default=(0, "unknown"))[1]


def show(machine: dict[str, str | int], figures: list[Figure]) -> None:
    """Print the figures: a table on a terminal, bare columns in a pipe."""
    console = Console()
    if not console.is_terminal:
        console.width = 120
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), highlight=False)
    table = Table(box=ROUNDED if console.is_terminal else None, pad_edge=console.is_terminal)
    table.add_column("measured")
    for heading in ("median", "lowest", "highest"):
        table.add_column(heading, justify="right")
    table.add_column("")
    table.add_column("goal")
    for figure in figures:
        shape = ".2f" if figure.unit == "ratio" else ",.0f"
        numbers = (format(value, shape) for value in (figure.median, min(figure.rounds), max(figure.rounds)))
        goal = f"{figure.goal:{shape}}: {'met' if figure.median >= figure.goal else 'missed'}" if figure.goal else ""
        table.add_row(figure.name, *numbers, figure.unit, goal)
    console.print(table)
    rounds = len(figures[0].rounds)
    console.print(f"{rounds} rounds, one core; a turn is one commit in WAL mode, synchronous=FULL.", highlight=False)


if __name__ == "__main__":
    main()
