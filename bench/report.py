"""What is shown of it: a table, bare columns in a pipe; JSON; a plot."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import ROUNDED
from rich.console import Console
from rich.table import Table

from .measure import Figure, Goal, Work

_UNITS_OF_TIME = ("ms", "s")


def show(console: Console, work: Work, figures: Sequence[Figure], notes: Sequence[str]) -> None:
    """Print the figures of one group of work: a table on a terminal, bare columns in a pipe."""
    console.print(f"\n[bold]{work.id}[/]: {work.title}", highlight=False)
    table = Table(box=ROUNDED if console.is_terminal else None, pad_edge=console.is_terminal)
    table.add_column("measured")
    for heading in ("median", "lowest", "highest"):
        table.add_column(heading, justify="right")
    table.add_column("")
    table.add_column("goal")
    for figure in figures:
        numbers = (number(value) for value in (figure.median, min(figure.rounds), max(figure.rounds)))
        table.add_row(figure.name, *numbers, figure.unit, _verdict(figure))
    console.print(table)
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True)


def number(value: float) -> str:
    """Return a value with three or more digits that say something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def goal(asked: Goal, unit: str) -> str:
    shown = f"{asked.bound:,.0f}" if asked.bound == int(asked.bound) else f"{asked.bound:g}"
    return f"{'at least' if asked.least else 'at most'} {shown}{f' {unit}' if unit in _UNITS_OF_TIME else ''}"


def _verdict(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    return f"{goal(figure.goal, figure.unit)}: {'met' if figure.met else 'MISSED'}"


def as_json(machine: dict[str, Any], figures: Sequence[Figure], notes: dict[str, list[str]], **more: Any) -> str:
    """Return everything that was measured, every round of it."""
    rows = [
        {
            "work": figure.work,
            "name": figure.name,
            "unit": figure.unit,
            "median": figure.median,
            "rounds": figure.rounds,
            "goal": figure.goal and {"bound": figure.goal.bound, "at_least": figure.goal.least},
            "met": figure.met,
        }
        for figure in figures
    ]
    return json.dumps({"machine": machine, **more, "figures": rows, "notes": notes}, indent=2) + "\n"


def plot(path: Path, figures: Sequence[Figure], caption: str) -> None:
    """Draw every figure that has a goal as a multiple of it, median and spread; right of the line is better."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    asked = [figure for figure in figures if figure.goal][::-1]
    chart, axes = pyplot.subplots(figsize=(10, 1.2 + 0.32 * len(asked)), layout="constrained")
    for row, figure in enumerate(asked):
        low, middle, high = sorted(
            _of_goal(figure, value) for value in (min(figure.rounds), figure.median, max(figure.rounds))
        )
        colour = "tab:green" if figure.met else "tab:red"
        axes.errorbar(middle, row, xerr=[[middle - low], [high - middle]], fmt="o", color=colour, capsize=3)
    axes.axvline(1, color="grey", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(
        range(len(asked)), [f"{f.work} {f.name} ({goal(f.goal, f.unit)})" for f in asked if f.goal], fontsize=8
    )
    axes.set_xlabel("times better than the goal (median, lowest, highest)")
    axes.set_title(caption, fontsize=8)
    chart.savefig(path)


def _of_goal(figure: Figure, value: float) -> float:
    assert figure.goal is not None
    return value / figure.goal.bound if figure.goal.least else figure.goal.bound / value
