"""A report of a log: what harm there was, what was done about it, and what came of that; by model, policy, mode, arm,
month.

Each number has its base, and where it is a share of that an interval of 95 % by Wilson's score, one by one: of twenty
months that do not differ, one may well seem to. Numbers from 1 up to the smallest that is to be published are left out,
and so is what would tell them within the same report (see `left_out.py`). That does not help against someone who has
several reports of the same log, nor where branches are named: who is behind two numbers can be looked up.

It needs no words, and is the same after every word was erased: neither an erasure nor a legal hold counts in anything.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from lastresort.domain.events import RecordedEvent
from lastresort.domain.values import Frozen
from lastresort.projections.intervals import Interval, median, median_interval, median_ranks, share_interval
from lastresort.projections.replay import NotWhole, Turn, fork_points

from .counts import Counts
from .left_out import Numbers, Relation, left_out
from .lines import KEYS, Counted, EndingRow, GroupCounts, PlacedEnding

__all__ = [
    "FORM", "KEYS", "MEASURES", "SMALLEST", "Bin", "EndingRow", "Figure", "GroupReport", "LogReport", "Measure",
    "NotWhole", "Spread", "check", "report", "report_of",
]  # fmt: skip

FORM = 1
"""The version of the form of a report, for those who read its JSON. It goes up when a field changes what it means."""
SMALLEST = 5
"""The smallest number that is published, unless somebody says otherwise."""
BRANCHES = 20
"""How many of the branches behind a number are named, unless somebody says otherwise."""


class Measure(NamedTuple):
    """A number of a report: its name, or how the names of several begin; its base, and per how many of that it is told.

    `whole`: no base. Not `shares`: one of the base may count several times, so that there is no interval.
    """

    name: str
    base: str | None = None
    per: int = 100
    shares: bool = True

    @property
    def many(self) -> bool:
        """Whether it stands for several, one for each kind of thing that came up."""
        return self.name.endswith(".")


_CONVERSATIONS = (
    "harmful", "redirected", "warned", "warning_withheld", "held", "attempt_refused", "model_refused", "ended",
    "ended.last_resort", "ended.user_request", "both", "bail_alone", "refusal_alone",
)  # fmt: skip
MEASURES: tuple[Measure, ...] = (
    Measure("conversations"),
    *(Measure(f"conversations.{name}", "conversations", 10_000) for name in _CONVERSATIONS),
    Measure("conversations.refused_under.", "conversations", 1_000),
    Measure("branches.opened"),
    Measure("units"),
    Measure("units.judged", "units"),
    Measure("units.unjudged", "units"),
    Measure("units.verdict.", "units", 10_000),
    Measure("units.category.", "units", 10_000),
    Measure("units.severity.", "units", 10_000),
    Measure("units.judged_by.", "units.judged"),
    Measure("units.both", "units.judged"),
    *(Measure(f"units.both.{name}", "units.both") for name in ("agree", "model_harsher", "assessor_harsher")),
    Measure("answers"),
    Measure("answers.refused", "answers", 10_000),
    Measure("episodes"),
    *(
        Measure(f"episodes.{name}", "episodes")
        for name in (
            "opened", "carried", "relented", "ended.last_resort", "ended.user_request", "left_open", "withdrawn",
        )
    ),
    Measure("redirections"),
    *(Measure(f"redirections.{name}", "redirections") for name in ("succeeded", "failed", "pending", "void")),
    Measure("redirections.decided", "redirections"),
    Measure("redirections.users_relented", "redirections.decided"),
    Measure("warnings"),
    Measure("warnings.tested", "warnings"),
    *(
        Measure(f"warnings.{name}", "warnings")
        for name in (
            "relented", "ended", "standing", "void.risk", "void.terms", "void.leaving", "void.superseded",
            "void.withdrawn",
        )
    ),
    Measure("warnings.decided", "warnings"),
    Measure("warnings.users_relented", "warnings.decided"),
    Measure("withheld"),
    Measure("withheld.decided", "withheld"),
    Measure("withheld.users_relented", "withheld.decided"),
    Measure("attempts"),
    Measure("attempts.of.", "attempts"),
    Measure("attempts.by.", "attempts"),
    Measure("attempts.rule.", "conversations", 1_000, shares=False),
    Measure("attempts.to_end", "attempts"),
    Measure("attempts.held", "attempts.to_end"),
    Measure("attempts.held_alone", "attempts.to_end"),
    Measure("holds"),
    Measure("holds.by.", "holds"),
    Measure("holds.cleared_by.", "holds"),
    Measure("holds.open", "holds"),
    Measure("endings"),
    Measure("endings.ground.", "endings"),
    Measure("endings.category.", "endings.ground.last_resort"),
    Measure("endings.by.", "endings"),
    Measure("endings.branched", "endings"),
    Measure("endings.with_account", "endings"),
    Measure("endings.returned", "endings.with_account"),
    Measure("endings.rated", "endings"),
    *(Measure(f"endings.rated.{name}", "endings.rated") for name in ("up", "down")),
    Measure("endings.appealed", "endings"),
    Measure("endings.decided", "endings.appealed"),
    Measure("endings.overturned", "endings.decided"),
)  # fmt: skip
"""Every number, in the order in which it is told."""

_SHARES = frozenset(one.name for one in MEASURES if one.base is not None and one.shares)
SPREAD_OVER = {"turns_to_ending": "endings.ground.last_resort", "hold_hours": "holds"}
"""What is spread, and the number of which that is told."""


class Figure(Frozen):
    """So many of a base, told per so many of it. All null where it is too small to be published."""

    count: int | None
    base: str | None  # the name of the figure that is the base
    of: int | None
    per: int
    rate: float | None
    interval: Interval | None  # per as many
    suppressed: bool = False
    branches: tuple[str, ...] = ()  # the first behind it; of a conversation its root


class Bin(NamedTuple):
    """How many there are from `low` to `high`, both in it; `high` null without end, `times` if it is too small."""

    low: int
    high: int | None
    times: int | None


class Spread(Frozen):
    """How a number is spread: its median, with the interval of that, and how often it is from where to where."""

    of: int | None
    median: int | None
    interval: Interval | None
    bins: tuple[Bin, ...]
    suppressed: bool = False


class GroupReport(Frozen):
    """The figures under one key."""

    key: Mapping[str, str | None]
    figures: Mapping[str, Figure]
    spreads: Mapping[str, Spread]


class LogReport(Frozen):
    """What a log tells."""

    form: int = FORM
    events: int  # in the whole log, whatever the period, but for those that are about erasing words alone
    since: str | None
    until: str | None
    by: tuple[str, ...]
    smallest: int
    named: int  # how many of the branches behind each number, and how many endings, are named at most
    policies: Mapping[str, str]  # names by hash, where the report is by policy
    groups: tuple[GroupReport, ...]
    endings: tuple[EndingRow, ...]  # the first ones, of numbers that are published


def report(
    log: Iterable[RecordedEvent],
    *,
    by: Sequence[str] = (),
    since: str | None = None,
    until: str | None = None,
    smallest: int = SMALLEST,
    branches: int = BRANCHES,
    forks: Container[Turn] | None = None,
) -> LogReport:
    """Count a log.

    Args:
        log: every event from the beginning, in order; read once if `forks` are given or it is no sequence.
        by: what to group by, some of `KEYS`.
        since: the first day or month that counts, as 2026-07-01 or 2026-07; in UTC, as recorded.
        until: the last one, which counts too.
        smallest: the smallest number that is published; 1 for all.
        branches: how many of the branches behind each number, and how many endings, are named at most.
        forks: the turns at which branches open, as `fork_points` returns them for the same log, to save memory.

    Raises:
        ValueError: an argument is out of range.
        NotWhole: something is missing from the log.
    """
    check(by, since, until, smallest, branches)
    if forks is None and isinstance(log, Sequence):
        forks = fork_points(log)
    counts = Counts(by, since, until, branches, forks)
    counts.take(log)
    counted = counts.finish()
    return report_of(counted, counts.events, by=by, since=since, until=until, smallest=smallest, branches=branches)


def report_of(
    counted: Counted,
    events: int,
    *,
    by: Sequence[str],
    since: str | None,
    until: str | None,
    smallest: int,
    branches: int,
) -> LogReport:
    """Return the report of what was counted in a log of so many events. The rest is what it was asked with."""
    groups = sorted(counted.groups, key=lambda group: [(one is not None, one or "") for one in group.key])
    told = dict(zip((group.key for group in groups), _groups(groups, by, smallest), strict=True))
    return LogReport(
        events=events - counted.of_words,
        since=since,
        until=until,
        by=tuple(by),
        smallest=smallest,
        named=branches,
        policies=dict(sorted(counted.policies.items())),
        groups=tuple(told.values()),
        endings=tuple(one.row for one in counted.endings if _published(one, told[one.key])),
    )


_PERIOD = re.compile(r"\d{4}-\d\d(-\d\d)?", re.ASCII)


def check(by: Sequence[str], since: str | None, until: str | None, smallest: int, branches: int) -> None:
    """Check what is asked of a report.

    Raises:
        ValueError: an argument is out of range.
    """
    if strange := [name for name in by if name not in KEYS]:
        raise ValueError(f"by: nothing has that name (length {len(strange[0])}); group by {', '.join(KEYS)}")
    if len(set(by)) != len(by):
        raise ValueError("by: name each once")
    for name, value in (("since", since), ("until", until)):
        if value is not None and not _is_period(value):
            raise ValueError(f"{name}: write a day or a month, as 2026-07-31 or 2026-07")
    if since is not None and until is not None and since[: len(until)] > until:
        raise ValueError("since: is after until")
    for name, number in (("smallest", smallest), ("branches", branches)):
        if number < 0:
            raise ValueError(f"{name}: 0 is the least")


def _is_period(value: str) -> bool:
    if not _PERIOD.fullmatch(value):
        return False
    try:
        date.fromisoformat(f"{value}-01"[:10])
    except ValueError:
        return False
    return True


# --- The figures of a group -------------------------------------------------------------------------------------------


def _groups(groups: Sequence[GroupCounts], by: Sequence[str], smallest: int) -> Iterator[GroupReport]:
    found = [dict(_figures(group)) for group in groups]
    spread = [{name: _bins(group.spreads.get(name, {})) for name in SPREAD_OVER} for group in groups]
    numbers = [_numbers(*one) for one in zip(groups, found, spread, strict=True)]
    for group, figures, bins, hidden in zip(groups, found, spread, left_out(numbers, smallest), strict=True):
        yield GroupReport(
            key=dict(zip(by, group.key, strict=True)),
            figures={name: _withheld(one) if name in hidden else one for name, one in figures.items()},
            spreads={name: _spread(name, group.spreads.get(name, {}), bins[name], hidden) for name in SPREAD_OVER},
        )


def _figures(group: GroupCounts) -> Iterator[tuple[str, Figure]]:
    for measure in MEASURES:
        for name in _names(group, measure):
            yield name, _figure(group, name, measure)


def _names(group: GroupCounts, measure: Measure) -> Sequence[str]:
    """Return the names that a measure stands for in a group."""
    return sorted(name for name in group.counts if name.startswith(measure.name)) if measure.many else (measure.name,)


def _figure(group: GroupCounts, name: str, measure: Measure) -> Figure:
    count, behind = group.counts.get(name, 0), tuple(branch for _, branch in group.behind.get(name, ()))
    if measure.base is None:
        return Figure(count=count, base=None, of=None, per=1, rate=None, interval=None, branches=behind)
    of = group.counts.get(measure.base, 0)
    within = share_interval(count, of) if measure.shares else None
    return Figure(
        count=count,
        base=measure.base,
        of=of,
        per=measure.per,
        rate=measure.per * count / of if of else None,
        interval=within and Interval(measure.per * within.low, measure.per * within.high),
        branches=behind,
    )


def _withheld(figure: Figure) -> Figure:
    return Figure(count=None, base=figure.base, of=None, per=figure.per, rate=None, interval=None, suppressed=True)


def _numbers(group: GroupCounts, figures: Mapping[str, Figure], spread: Mapping[str, Sequence[Bin]]) -> Numbers:
    """Return the numbers of a group, what is spread among them, as what is left out is found."""
    counts = {name: one.count or 0 for name, one in figures.items()}
    bases = {name: one.base for name, one in figures.items() if one.base is not None}
    shares = {name for name, one in figures.items() if one.interval is not None}
    families: dict[str, Sequence[str]] = {one.name: _names(group, one) for one in MEASURES if one.many}
    also: list[Relation] = []
    for name, bins in spread.items():
        of = counts[name] = sum(one.times or 0 for one in bins)
        bases[name] = SPREAD_OVER[name]
        parts = families[f"{name}."] = [f"{name}.{one.low}" for one in bins]
        counts.update(zip(parts, (one.times or 0 for one in bins), strict=True))
        bases.update(dict.fromkeys(parts, name))
        if of:
            counts[f"{name} median"], bases[f"{name} median"] = of, name
            also += [((f"{name} median",), tuple(parts[:most])) for most in _told_by_median(group.spreads[name], bins)]
    return Numbers(counts, bases, shares, families, also)


_ENDS = (*range(11), 20, 50, 100)
"""The last number of each bin."""


def _bins(values: Mapping[int, int]) -> list[Bin]:
    bins = []
    for low, high in zip((0, *(end + 1 for end in _ENDS)), (*_ENDS, None), strict=True):
        bins.append(Bin(low, high, sum(values[one] for one in values if low <= one and (high is None or one <= high))))
    while bins and not bins[-1].times:
        bins.pop()
    return bins


def _told_by_median(values: Mapping[int, int], bins: Sequence[Bin]) -> Iterator[int]:
    """Yield of how many of the bins a reader knows exactly how many there are in them: the rank of the median is known,
    and so are those of the ends of its interval."""
    within = median_interval(values)
    assert within is not None
    told = within.low, median(values) or 0, within.high
    for rank, value in zip(median_ranks(sum(values.values())), told, strict=True):
        place = next(at for at, one in enumerate(bins) if one.high is None or value <= one.high)
        before, upto = (sum(one.times or 0 for one in bins[:most]) for most in (place, place + 1))
        if before == rank - 1 > 0:
            yield place
        if upto == rank:
            yield place + 1


def _spread(name: str, values: Mapping[int, int], bins: Sequence[Bin], hidden: Container[str]) -> Spread:
    if name in hidden:
        return Spread(of=None, median=None, interval=None, bins=(), suppressed=True)
    told = f"{name} median" not in hidden
    return Spread(
        of=sum(values.values()),
        median=median(values) if told else None,
        interval=median_interval(values) if told else None,
        bins=tuple(one._replace(times=None) if f"{name}.{one.low}" in hidden else one for one in bins),
    )


# --- Endings ----------------------------------------------------------------------------------------------------------


def _published(ending: PlacedEnding, group: GroupReport) -> bool:
    """Whether the numbers in which an ending counts are published, so that it may be named."""
    row = ending.row
    names = {
        f"endings.ground.{row.ground.value}",
        f"endings.category.{row.category}",
        f"endings.by.{row.by.kind.value}",
    }
    return not any(group.figures[name].suppressed for name in names & group.figures.keys())
