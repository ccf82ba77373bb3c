"""Plots as SVG within a page, in the colours of the page, by matplotlib. The same numbers give the same bytes."""

import re
from collections.abc import Sequence
from io import StringIO
from typing import Any, NamedTuple

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_COLOURS = {"#010101": "ink", "#020202": "muted", "#030303": "line", "#040404": "accent"}
"""What stands for the colours of a page, which are those of the light or of the dark."""
_INK, _MUTED, _LINE, _ACCENT = _COLOURS
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lastresort",
    "font.size": 9.5,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _LINE,
    "ytick.labelcolor": _INK,
    "xtick.labelcolor": _MUTED,
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
}
_LIGHT_AND_DARK = (
    ":root{--ink:#1c1f21;--muted:#5b6065;--line:#e3dfd6;--accent:#2f5d62}"
    "@media (prefers-color-scheme:dark){:root{--ink:#e8e5df;--muted:#a3a7a8;--line:#32373a;--accent:#8fc4c4}}"
)
_WIDTH, _ROW = 4.6, 0.27  # inches: as wide as a phone shows without making it smaller


_LEFT_OUT: Any = {"color": _MUTED, "fontsize": 12, "va": "center"}
_UPRIGHT = 10  # columns whose labels have room beside each other


class Interval(NamedTuple):
    """A share and its interval, as a plot shows them. All three are None where the share is left out."""

    label: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


def intervals(rows: Sequence[Interval], unit: str, prefix: str) -> Markup:
    """Return shares as points with the intervals of them, one below the other."""
    with rc_context(_STYLE):
        figure, axes = _axes(len(rows))
        for place, row in enumerate(reversed(rows)):
            if row.value is None:
                _mark(axes, place)
                continue
            axes.plot([row.low, row.high], [place, place], color=_ACCENT, linewidth=2, solid_capstyle="round")
            axes.plot([row.value], [place], "o", color=_ACCENT, markersize=6)
        axes.set_yticks(range(len(rows)), [row.label for row in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlim(left=0)
        return _finished(figure, axes, unit, prefix)


def bars(rows: Sequence[tuple[str, float | None]], unit: str, prefix: str) -> Markup:
    """Return numbers as bars, one below the other. None is left out."""
    with rc_context(_STYLE):
        figure, axes = _axes(len(rows))
        labels = [label for label, _ in reversed(rows)]
        axes.barh(range(len(rows)), [value or 0 for _, value in reversed(rows)], height=0.62, color=_ACCENT)
        for place, (_, value) in enumerate(reversed(rows)):
            if value is None:
                _mark(axes, place)
        axes.set_yticks(range(len(rows)), labels)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        return _finished(figure, axes, unit, prefix)


def columns(rows: Sequence[tuple[str, int | None]], unit: str, prefix: str) -> Markup:
    """Return how often each of some values came, as columns side by side. None is left out."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 2.2), layout="constrained")
        axes = figure.add_subplot()
        axes.bar(range(len(rows)), [times or 0 for _, times in rows], width=0.72, color=_ACCENT)
        for place, (_, times) in enumerate(rows):
            if times is None:
                axes.annotate("*", (place, 0), (0, 5), textcoords="offset points", ha="center", **_LEFT_OUT)
        slanted: Any = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(rows) > _UPRIGHT else {}
        axes.set_xticks(range(len(rows)), [label for label, _ in rows], **slanted)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.tick_params(length=0, axis="both")
        axes.tick_params(axis="y", labelcolor=_MUTED)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.set_xlabel(unit)
        return _drawn(figure, prefix)


def as_file(svg: str) -> str:
    """Return a plot as a file of its own, which follows its reader from light to dark."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    return str(svg).replace("<svg ", head, 1).replace(">", f"><style>{_LIGHT_AND_DARK}</style>", 1)


def _axes(rows: int) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_WIDTH, 0.62 + _ROW * rows), layout="constrained")
    return figure, figure.add_subplot()


def _mark(axes: Any, place: int) -> None:
    """Mark a row as left out, so that it is not taken for zero."""
    axes.annotate("*", (0, place), (6, 0), textcoords="offset points", **_LEFT_OUT)


def _finished(figure: Figure, axes: Any, unit: str, prefix: str) -> Markup:
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(unit)
    return _drawn(figure, prefix)


def _drawn(figure: Figure, prefix: str) -> Markup:
    """Return a figure as SVG whose names are apart from those of others on the page."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r' (?:width|height)="[0-9.]+pt"', "", svg, count=2)
    svg = re.sub(r' xmlns(?::\w+)?="[^"]*"', "", svg)
    for colour, name in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg.replace("xlink:href", "href").replace("<svg ", '<svg aria-hidden="true" ', 1))
