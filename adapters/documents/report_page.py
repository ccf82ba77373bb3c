"""A report as a page: in short, as plots, as tables; each number leads to the branches behind it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from lastresort.adapters.exporters.report_table import (
    SPREADS,
    Section,
    count,
    of_key,
    sections,
    share,
    too_small,
    within,
)
from lastresort.projections.reports.report import EndingRow, Figure, GroupReport, LogReport, Spread

from . import plots
from .pages import anchor, page
from .sentences import of_ending

_SPREAD_OVER = {"turns_to_ending": "endings.ground.last_resort", "hold_hours": "holds"}
"""Behind which number stand the branches over which something is spread."""
_PLOTTED = 12
"""Groups that have plots of their own, and that are compared in one."""


class Plot(NamedTuple):
    """A plot, what it shows, and the table behind it."""

    title: str
    svg: Markup
    head: tuple[str, ...]
    rows: tuple[tuple[str | Markup, ...], ...]


class Cell(NamedTuple):
    """A number of a table, as it is shown; where it leads to, if branches behind it are named."""

    label: str
    number: str
    share: str
    within: str
    part: bool
    behind: str | None


class Table(NamedTuple):
    """The numbers of a section."""

    id: str
    title: str
    note: str
    per: str
    cells: tuple[Cell, ...]


class GroupPart(NamedTuple):
    """What a page says of a group."""

    id: str
    title: str
    short: tuple[Markup, ...]
    plots: tuple[Plot, ...]
    tables: tuple[Table, ...]
    spreads: tuple[tuple[str, Markup], ...]


class Behind(NamedTuple):
    """The branches behind a number, each with where its ending is told, if it is."""

    id: str
    label: str
    more: str
    branches: tuple[tuple[str, str | None], ...]


class Told(NamedTuple):
    """An ending and what it stands on."""

    id: str
    row: EndingRow
    sentences: tuple[str, ...]


def report_page(report: LogReport, program: str) -> str:
    """Return a report as one HTML file, made by a version of the program."""
    endings = [Told(anchor("e", row.branch), row, tuple(of_ending(row))) for row in report.endings]
    told = {one.row.branch: one.id for one in endings}
    groups = [_group(number, group, report) for number, group in enumerate(report.groups)]
    return page(
        "report.html",
        report=report,
        program=program,
        compared=_compared(report),
        groups=groups,
        endings=endings,
        behind=[
            (part.title, list(_behind(number, group, report, told)))
            for number, (part, group) in enumerate(zip(groups, report.groups, strict=True))
        ],
        left_out=any(one.suppressed for group in report.groups for one in group.figures.values()),
    )


def _group(number: int, group: GroupReport, report: LogReport) -> GroupPart:
    found = list(sections(group))
    return GroupPart(
        id=anchor("g", number),
        title=of_key(group, report) if report.by else "The whole log",
        short=tuple(_in_short(number, group, report.smallest)),
        plots=tuple(_plots(number, group)) if number < _PLOTTED else (),
        tables=tuple(_table(number, section, report.smallest) for section in found),
        spreads=tuple(
            (title, _linked(number, group, _SPREAD_OVER[name], _spread(group.spreads[name], unit, report.smallest)))
            for name, (title, unit) in SPREADS.items()
        ),
    )


def _linked(number: int, group: GroupReport, name: str, told: str) -> Markup:
    """Return a number with a link to the branches behind it, if any are named."""
    if name not in group.figures or not group.figures[name].branches:
        return Markup.escape(told)
    return Markup('<a href="#{}">{}</a>').format(anchor("b", number, name), told)


def _in_short(number: int, group: GroupReport, smallest: int) -> Iterator[Markup]:
    """Yield what there is to know first, a sentence each."""
    of = group.figures
    if of["conversations"].count is None:
        yield Markup("Fewer than {} conversations: nothing is published.").format(smallest)
        return

    def told(name: str) -> Markup:
        return _linked(number, group, name, _told(of[name], smallest))

    def counted(name: str) -> Markup:
        return _linked(number, group, name, count(of[name], smallest))

    yield Markup("{} conversations: harm in {} of them, a warning in {}.").format(
        counted("conversations"), told("conversations.harmful"), told("conversations.warned")
    )
    yield Markup("{} ended as a last resort, {} at the user's request.").format(
        told("conversations.ended.last_resort"), told("conversations.ended.user_request")
    )
    worked = [
        Markup("{} of the {} {}").format(told(f"{name}.users_relented"), counted(f"{name}.decided"), name)
        for name in ("redirections", "warnings")
        if of[f"{name}.decided"].count
    ]
    if worked:
        yield Markup("Users relented after {} that a decisive message followed.").format(Markup(" and ").join(worked))
    if of["attempts"].count:
        yield Markup("{} attempts to warn or to end broke a rule, and were refused.").format(counted("attempts"))


def _told(figure: Figure, smallest: int) -> str:
    if figure.count is None:
        return too_small(smallest) if figure.suppressed else "none"
    return f"{figure.count:,}" + (f" ({share(_in_hundred(figure))})" if figure.of and figure.count else "")


def _in_hundred(figure: Figure) -> Figure:
    rate = None if figure.rate is None else figure.rate * 100 / figure.per
    return figure.model_copy(update={"per": 100, "rate": rate})


def _table(number: int, section: Section, smallest: int) -> Table:
    rows = [row for row in section.rows if row.figure.count != 0 or not row.part]
    scales = {row.figure.per for row in rows if row.figure.base is not None}
    per = f"per {max(scales):,}" if len(scales) == 1 and max(scales) > 100 else "share"
    cells = (
        Cell(
            row.label,
            count(row.figure, smallest),
            share(row.figure) if per != "share" or row.figure.per == 100 else _with_scale(row.figure),
            within(row.figure),
            row.part,
            anchor("b", number, row.name) if row.figure.branches else None,
        )
        for row in rows
    )
    return Table(anchor("s", number, section.id), section.title, section.note, per, tuple(cells))


def _with_scale(figure: Figure) -> str:
    told = share(figure)
    return f"{told} in {figure.per:,}" if told else ""


def _spread(spread: Spread, unit: str, smallest: int) -> str:
    if spread.suppressed:
        return f"{too_small(smallest)}"
    if spread.median is None or spread.interval is None:
        return "none"
    low, high = spread.interval
    return f"median {spread.median:,} {unit} ({low:,.0f} to {high:,.0f}), of {spread.of:,}"


# --- Plots ------------------------------------------------------------------------------------------------------------


def _plots(number: int, group: GroupReport) -> Iterator[Plot]:
    relented = {
        "after a redirection": "redirections", "after a warning": "warnings", "warning withheld": "withheld",
    }  # fmt: skip
    shares = [(label, number, group, f"{name}.users_relented") for label, name in relented.items()]
    if plot := _shares("Users who relented", shares, "per cent of those followed by a decisive message", f"p{number}a"):
        yield plot
    attempts = [
        (name.removeprefix("attempts.rule."), figure.rate, figure.count)
        for name, figure in group.figures.items()
        if name.startswith("attempts.rule.") and figure.rate is not None and figure.count is not None
    ]
    attempts.sort(key=lambda one: (-(one[1] or 0), one[0]))
    if attempts:
        svg = plots.bars([(rule, rate or 0) for rule, rate, _ in attempts], "per 1,000 conversations", f"p{number}b")
        rows = tuple(
            (rule, _linked(number, group, f"attempts.rule.{rule}", f"{times:,}"), f"{rate:,.1f}")
            for rule, rate, times in attempts
        )
        yield Plot("Attempts refused, by rule", svg, ("rule", "attempts", "per 1,000 conversations"), rows)
    for name, (title, unit) in SPREADS.items():
        bins = [(_span(one.low, one.high), one.times) for one in group.spreads[name].bins]
        if sum(bool(times) for _, times in bins) > 1:
            svg = plots.columns([(span, times or 0) for span, times in bins], unit, f"p{number}{name[0]}")
            told = tuple((span, "left out" if times is None else f"{times:,}") for span, times in bins)
            yield Plot(title, svg, (unit, "times"), told)


def _span(low: int, high: int | None) -> str:
    return f"{low}+" if high is None else str(low) if low == high else f"{low}\N{EN DASH}{high}"


def _shares(title: str, rows: Sequence[tuple[str, int, GroupReport, str]], unit: str, prefix: str) -> Plot | None:
    """Return a plot of shares: of each its label, the group with its number, and the figure's name."""
    points: list[plots.Interval] = []
    told: list[tuple[str | Markup, ...]] = []
    for label, number, group, name in rows:
        figure = group.figures[name]
        if figure.rate is not None and figure.interval is not None:
            points.append(plots.Interval(label, figure.rate, *figure.interval))
            counted = _linked(number, group, name, f"{figure.count:,} of {figure.of:,}")
            told.append((label, counted, share(figure), within(figure)))
    if not points:
        return None
    return Plot(title, plots.intervals(points, unit, prefix), ("", "count", "share", "95 %"), tuple(told))


def _compared(report: LogReport) -> list[Plot]:
    """Return what is compared between groups."""
    if len(report.groups) < 2:
        return []
    told = {
        "conversations.ended.last_resort": ("Conversations with an ending as last resort", "per 10,000 conversations"),
        "conversations.harmful": ("Conversations with harm", "per 10,000 conversations"),
        "endings.overturned": ("Endings overturned", "per cent of the appeals decided"),
    }
    found = []
    for place, (name, (title, unit)) in enumerate(told.items()):
        groups = enumerate(report.groups[:_PLOTTED])
        rows = [(_short_key(group, report), number, group, name) for number, group in groups]
        found.append(_shares(title, rows, unit, f"c{place}"))
    return [plot for plot in found if plot is not None]


def pictures(report: LogReport) -> list[tuple[int | None, Plot]]:
    """Return the plots of a report, each with the number of its group; None for those that compare groups."""
    compared: list[tuple[int | None, Plot]] = [(None, plot) for plot in _compared(report)]
    return compared + [
        (number, plot) for number, group in enumerate(report.groups[:_PLOTTED]) for plot in _plots(number, group)
    ]


def _short_key(group: GroupReport, report: LogReport) -> str:
    told = of_key(group, report)
    return told if len(told) <= 34 else f"{told[:33]}\N{HORIZONTAL ELLIPSIS}"


# --- What is behind a number ------------------------------------------------------------------------------------------


def _behind(number: int, group: GroupReport, report: LogReport, told: dict[str, str]) -> Iterator[Behind]:
    for section in sections(group):
        for row in section.rows:
            if branches := row.figure.branches:
                more = "all" if len(branches) < report.named else f"the first {len(branches)}"
                named = tuple((branch, told.get(branch)) for branch in branches)
                yield Behind(anchor("b", number, row.name), f"{section.title}: {row.label}", more, named)
