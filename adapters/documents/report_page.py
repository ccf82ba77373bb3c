"""A report as a page: in short, as plots, as tables; each number leads to the branches behind it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from lastresort.adapters.exporters.report_table import (
    SPREADS,
    Section,
    base,
    count,
    of_key,
    sections,
    share,
    too_small,
    within,
)
from lastresort.projections.reports.report import SPREAD_OVER, EndingRow, Figure, GroupReport, LogReport, Spread

from . import plots
from .pages import anchor, page
from .sentences import of_ending

_PLOTTED = 12
"""Groups that have plots of their own, and that are compared in one."""


class Plot(NamedTuple):
    """A plot, what it shows, and the table behind it."""

    title: str
    svg: Markup
    head: tuple[str, ...]
    rows: tuple[tuple[str | Markup, ...], ...]
    note: str = ""


class Cell(NamedTuple):
    """A number of a table and its base, as they are shown; where it leads to, if branches behind it are named."""

    label: str
    number: str
    base: str
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
        plots=tuple(_plots(number, group, report.smallest)) if number < _PLOTTED else (),
        tables=tuple(_table(number, section, report.smallest) for section in found),
        spreads=tuple(
            (title, _linked(number, group, SPREAD_OVER[name], _spread(group.spreads[name], unit, report.smallest)))
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
            base(row.figure),
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


def _plots(number: int, group: GroupReport, smallest: int) -> Iterator[Plot]:
    relented = {
        "after a redirection": "redirections", "after a warning": "warnings", "warning withheld": "withheld",
    }  # fmt: skip
    shares = [(label, number, group, f"{name}.users_relented") for label, name in relented.items()]
    unit = "per cent of those followed by a decisive message"
    if plot := _shares("Users who relented", shares, unit, f"p{number}a", smallest):
        yield plot
    attempts = [(name, one) for name, one in group.figures.items() if name.startswith("attempts.rule.")]
    attempts.sort(key=lambda one: (-(one[1].rate or 0), one[0]))
    if any(one.rate is not None for _, one in attempts):
        bars = [(name.removeprefix("attempts.rule."), one.rate) for name, one in attempts]
        svg = plots.bars(bars, "per 1,000 conversations", f"p{number}b")
        told = [(_linked(number, group, name, count(one, smallest)), share(one)) for name, one in attempts]
        rows = tuple((rule, *one) for (rule, _), one in zip(bars, told, strict=True))
        head = "rule", "attempts", "per 1,000 conversations"
        note = _missing([rate for _, rate in bars], "bar", smallest)
        yield Plot("Attempts refused, by rule", svg, head, rows, note)
    for name, (title, unit) in SPREADS.items():
        bins = [(_span(one.low, one.high), one.times) for one in group.spreads[name].bins]
        if sum(times != 0 for _, times in bins) > 1 and any(times for _, times in bins):
            svg = plots.columns(bins, unit, f"p{number}{name[0]}")
            cells = tuple((span, too_small(smallest) if times is None else f"{times:,}") for span, times in bins)
            yield Plot(title, svg, (unit, "times"), cells, _missing([times for _, times in bins], "column", smallest))


def _missing(values: Sequence[float | None], what: str, smallest: int) -> str:
    """Say how many of some values a plot leaves out; nothing if it has all."""
    number = sum(one is None for one in values)
    if not number:
        return ""
    several, they = (f"{number} {what}s are", "they") if number > 1 else (f"1 {what} is", "it")
    return f"* {several} left out: below {smallest}, or {they} would tell a number that is."


def _span(low: int, high: int | None) -> str:
    return f"{low}+" if high is None else str(low) if low == high else f"{low}\N{EN DASH}{high}"


def _shares(
    title: str, rows: Sequence[tuple[str, int, GroupReport, str]], unit: str, prefix: str, smallest: int
) -> Plot | None:
    """Return a plot of shares: of each its label, the group with its number, and the figure's name."""
    points: list[plots.Interval] = []
    told: list[tuple[str | Markup, ...]] = []
    for label, number, group, name in rows:
        figure = group.figures[name]
        if figure.rate is not None and figure.interval is not None:
            points.append(plots.Interval(label, figure.rate, *figure.interval))
            counted = _linked(number, group, name, f"{figure.count:,} of {figure.of:,}")
            told.append((label, counted, share(figure), within(figure)))
        elif figure.suppressed:
            points.append(plots.Interval(label))
            told.append((label, too_small(smallest), "", ""))
    if all(one.value is None for one in points):
        return None
    note = _missing([one.value for one in points], "row", smallest)
    if nothing := len(rows) - len(points):
        note = f"{note} {'One has' if nothing == 1 else f'{nothing} have'} nothing to show.".strip()
    return Plot(title, plots.intervals(points, unit, prefix), ("", "count", "share", "95 %"), tuple(told), note)


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
        plot = _shares(title, rows, unit, f"c{place}", report.smallest)
        if plot is not None and (more := len(report.groups) - len(rows)) > 0:
            plot = plot._replace(note=f"{plot.note} The first {len(rows)} groups; {more} more are told below.".strip())
        found.append(plot)
    return [plot for plot in found if plot is not None]


def pictures(report: LogReport) -> list[tuple[int | None, Plot]]:
    """Return the plots of a report, each with the number of its group; None for those that compare groups."""
    compared: list[tuple[int | None, Plot]] = [(None, plot) for plot in _compared(report)]
    return compared + [
        (number, plot)
        for number, group in enumerate(report.groups[:_PLOTTED])
        for plot in _plots(number, group, report.smallest)
    ]


def _short_key(group: GroupReport, report: LogReport) -> str:
    told = of_key(group, report)
    return told if len(told) <= 34 else f"{told[:33]}\N{HORIZONTAL ELLIPSIS}"


# --- What is behind a number ------------------------------------------------------------------------------------------


def _behind(number: int, group: GroupReport, report: LogReport, told: dict[str, str]) -> Iterator[Behind]:
    seen = set[str]()
    for section in sections(group):
        for row in section.rows:
            if row.name not in seen and (branches := row.figure.branches):
                seen.add(row.name)
                more = "all" if len(branches) < report.named else f"the first {len(branches)}"
                named = tuple((branch, told.get(branch)) for branch in branches)
                yield Behind(anchor("b", number, row.name), f"{section.title}: {row.label}", more, named)
