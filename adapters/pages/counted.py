"""What the inspector counts in a log: figures of the whole of it, and reports of what its list is narrowed to.

It is counted once, and apart from the pages that show it, so that these are quick. A short log is counted again when it
has grown. Of a long one the last count is shown, with the position up to which it goes, and counted again when somebody
asks for that.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import Annotated, Literal, NamedTuple

from fastapi import Query, Request
from markupsafe import Markup

from lastresort.adapters.api import reads
from lastresort.adapters.service.jobs import Count, CountedLog, Job, Jobs, Kind, latest, latest_counted
from lastresort.adapters.service.tenants import Caller, House
from lastresort.domain.events import RecordedEvent
from lastresort.domain.values import Frozen
from lastresort.projections.replay import fork_points
from lastresort.projections.reports.report import LogReport, report
from lastresort.projections.reports.shadow import BY_POLICY

from . import facets
from .rendering import with_query

SHORT = 5_000
"""Events of a log that is counted again whenever it has grown."""
_PATIENCE = 5.0  # seconds that a page of a short log waits; that of a long one says that it is being counted
_GLANCE = 0.1
BRANCHES = 10
"""How many of the branches behind a number are named."""
Grouping = Literal["", "model", "policy", "mode", "arm", "month"]
Group = Annotated[Grouping, Query()]
Since = Annotated[str | None, Query(alias="from", max_length=10)]
Until = Annotated[str | None, Query(alias="to", max_length=10)]
Upto = Annotated[int | None, Query(ge=1, le=2**53)]


class Counted(NamedTuple):
    """A count as it stands.

    Attributes:
        job: what counts, or has counted.
        head: the position of the last event in the log now.
        again: the address of the page with a count up to there; None if this is one.
    """

    job: Job
    head: int
    again: str | None


def counted(request: Request, caller: Caller, kind: Kind, query: str, upto: int | None, run: Count) -> Counted:
    """Return the count of something: up to `upto`, or else the last one; have it made, if there is none.

    Args:
        query: says what is counted.
        run: counts it.
    """
    jobs: Jobs = request.app.state.jobs
    tenant = caller.tenant
    head = tenant.conversations.store.head()
    short = head <= SHORT
    known = None if upto or short else latest_counted(tenant.tables, kind, query)
    job = None if known is None else jobs.find(tenant, kind, known)
    if job is None:
        at = min(upto or head, head)
        job = jobs.counted(tenant, kind, query, at, run, _PATIENCE if short else _GLANCE)
    return Counted(job, head, with_query(request, upto=head) if job.head < head else None)


class Picture(Frozen):
    """A plot: which group it is of, None if it compares groups; the plot as a file; the numbers behind it; and what of
    them it leaves out."""

    group: int | None
    title: str
    svg: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


class Reported(Frozen):
    """A report as it was counted. `listed`: of how many conversations, null if of the whole log."""

    listed: int | None
    report: LogReport
    pictures: tuple[Picture, ...]


class Asked(NamedTuple):
    """Which conversations are reported on, how they are grouped, and from which day or month to which things count."""

    narrowing: Mapping[str, str]
    by: tuple[str, ...]
    since: str | None
    until: str | None


def asked(request: Request, by: tuple[str, ...], since: str | None = None, until: str | None = None) -> Asked:
    """Return what an address asks for. A field that was left empty asks for nothing."""
    return Asked(facets.narrowing(request), by, since or None, until or None)


def reported(request: Request, caller: Caller, house: House, what: Asked, upto: int | None) -> Counted:
    """Return the report, or what counts it.

    Raises:
        Failed, ValueError: one of the parameters is out of range.
    """
    facts = facets.asked_for(what.narrowing) if what.narrowing else None
    if facts is not None:
        reads.conversations(caller, house, facts.model_copy(update={"limit": 1}))  # so that what is wrong is told now
    report((), by=what.by, since=what.since, until=what.until)
    audited = latest(caller.tenant.tables, "audit") if "finding" in what.narrowing else None
    query = json.dumps([sorted(what.narrowing.items()), *what[1:], audited])

    def run(log: CountedLog) -> str:
        listed = None if facts is None else set(facets.all_of(caller, house, facts))

        def told() -> Iterable[RecordedEvent]:
            return log.events() if listed is None else log.of(listed)

        forks = fork_points(told())
        made = report(told(), by=what.by, since=what.since, until=what.until, branches=BRANCHES, forks=forks)
        number = None if listed is None else len(listed)
        return Reported(listed=number, report=made, pictures=tuple(_pictures(made))).model_dump_json()

    return counted(request, caller, "report", query, upto, run)


def result_of(found: Counted) -> Reported | None:
    """Return what was counted; None if it is not yet, or failed."""
    return None if found.job.result is None else Reported.model_validate_json(found.job.result)


def has_plots() -> bool:
    """Whether what draws plots is installed."""
    return find_spec("matplotlib") is not None


def _pictures(made: LogReport) -> Iterator[Picture]:
    if made.by == BY_POLICY or not has_plots():  # that is the comparison with the shadow alone, which is a table
        return
    from lastresort.adapters.documents.plots import as_file
    from lastresort.adapters.documents.report_page import pictures

    for number, plot in pictures(made):
        rows = tuple(tuple(Markup.escape(cell).striptags() for cell in row) for row in plot.rows)
        svg = as_file(plot.svg)
        yield Picture(group=number, title=plot.title, svg=svg, head=plot.head, rows=rows, note=plot.note)
