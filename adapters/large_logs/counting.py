"""The report of a folder of Parquet: the same numbers as of the log, counted part by part, by several processes."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from lastresort.adapters.parquet import UnreadableParquet
from lastresort.projections.replay import NotWhole
from lastresort.projections.reports import LogReport, report
from lastresort.projections.reports.lines import Counted
from lastresort.projections.reports.parts import count_part, merge_counts
from lastresort.projections.reports.report import BRANCHES, SMALLEST, check, report_of

from .kept import Kept
from .plan import Plan, plan
from .reading import PLANNING, SORTING, conversations_in, events_in, forks_in, forks_of, rows_in
from .returns import came_back
from .rows import Database
from .workers import each_part


class CountJob(NamedTuple):
    """A part that is to be counted, and what is known of the whole log: its events, and who came back."""

    folder: Path
    name: str
    files: tuple[Path, ...]
    whole: int
    returned: frozenset[int]
    by: tuple[str, ...]
    since: str | None
    until: str | None
    most: int

    @property
    def asked(self) -> tuple[object, ...]:
        """All that the numbers follow from, beside the files."""
        return "report", self.whole, sorted(self.returned), self.by, self.since, self.until, self.most


class PartCount(NamedTuple):
    """What was counted of a part."""

    events: int
    counted: Counted


def report_folder(
    folder: Path,
    workers: int = 1,
    *,
    by: Sequence[str] = (),
    since: str | None = None,
    until: str | None = None,
    smallest: int = SMALLEST,
    branches: int = BRANCHES,
    keep: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, events: None,
) -> LogReport:
    """Report the log in a folder of Parquet. The report is that of the log.

    A log with which something is wrong is read in its order, by this process alone, so that what is said of it is said
    of the log.

    Args:
        folder: which an export wrote.
        workers: how many processes count it; 1: this one.
        by, since, until, smallest, branches: as for `report`.
        keep, progress: as for `audit_folder`.

    Raises:
        UnreadableParquet: no export wrote the folder, or something is missing from it.
        WorkersDied: workers die again and again.
        ValueError: an argument is out of range.
        NotWhole: something is missing from the log.
    """
    check(by, since, until, smallest, branches)
    with Database(PLANNING, workers) as database:
        planned = plan(database, folder)
        returned = None if planned.together else came_back(database, planned.parts)
    counted = None
    if returned is not None:
        jobs = [
            CountJob(folder, one.name, one.files, planned.events, returned[one.name], tuple(by), since, until, branches)
            for one in planned.parts
        ]
        kept = None if keep is None else Kept[PartCount](keep, folder, PartCount)
        counted = _counted(jobs, workers, kept, planned, progress)
    asked: dict[str, Any] = {"by": by, "since": since, "until": until, "smallest": smallest, "branches": branches}
    if counted is None:
        with closing(events_in(folder)) as log:
            return report(log, forks=forks_in(folder), **asked)
    return report_of(counted, planned.events, **asked)


def _counted(
    jobs: Sequence[CountJob],
    workers: int,
    kept: Kept[PartCount] | None,
    planned: Plan,
    progress: Callable[[int, int], None],
) -> Counted | None:
    """Return what was counted of all parts; None if something is wrong with one."""
    found = each_part(count_job, jobs, workers, kept, planned.events, progress)
    try:
        return merge_counts((one.counted for one in found), jobs[0].most)
    except (NotWhole, UnreadableParquet):
        return None


def count_job(job: CountJob) -> PartCount:
    """Count a part: what a worker does."""
    with Database(SORTING) as database:
        forks = forks_of(database, job.files)
        counted = count_part(
            conversations_in(database, job.folder, job.files),
            job.whole,
            job.returned,
            by=job.by,
            since=job.since,
            until=job.until,
            most=job.most,
            forks=forks,
        )
    return PartCount(rows_in(job.files), counted)
