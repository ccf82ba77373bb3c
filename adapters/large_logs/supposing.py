"""What another policy makes of a folder of Parquet, part by part, by several processes.

What comes of a branch is written to a file beside what a part adds up to, and DuckDB puts the files of all parts into
the order of the log. So nobody holds what comes of all branches, however many there are.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from lastresort.adapters.parquet import UnreadableParquet
from lastresort.domain.policy import Policy
from lastresort.projections.parts import suppose_part
from lastresort.projections.replay import NotWhole
from lastresort.projections.supposed import BranchOutcome, Outcome, WhatIf, WhatIfSum

from .kept import Kept
from .plan import plan
from .reading import PLANNING, SORTING, conversations_in, events_in, forks_in, forks_of
from .rows import Database, table
from .workers import each_part

_SCHEMA = pa.schema([("place", pa.int64()), ("same", pa.bool_()), ("outcome", pa.string())])


class SupposeJob(NamedTuple):
    """A part of which it is asked what other policies make of it, and the file for what comes of its branches."""

    folder: Path
    name: str
    files: tuple[Path, ...]
    policies: tuple[Policy, ...]
    edition: int | None
    rows: Path | None = None

    @property
    def asked(self) -> tuple[object, ...]:
        """All that the answer follows from, beside the files."""
        return "what-if", [policy.model_dump(mode="json") for policy in self.policies], self.edition


class PartTotals(NamedTuple):
    """What each policy makes of a part, in sum."""

    totals: tuple[WhatIfSum, ...]

    @property
    def events(self) -> int:
        return self.totals[0].events


class FolderWhatIf(NamedTuple):
    """What other policies make of a log.

    Attributes:
        totals: of each policy, in sum.
        branches: returns what the first policy makes of each branch, in the order in which they begin: of all, or, if
            it is told so, of those alone of which it makes something else.
    """

    totals: tuple[WhatIfSum, ...]
    branches: Callable[[bool], Iterable[BranchOutcome]]


@contextmanager
def suppose_folder(
    folder: Path,
    policies: Sequence[Policy],
    edition: int | None = None,
    workers: int = 1,
    keep: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, events: None,
) -> Iterator[FolderWhatIf]:
    """Say what other policies make of the log in a folder of Parquet: the same as of the log.

    A log with which something is wrong is read in its order, by this process alone.

    Args:
        folder: which an export wrote.
        policies: the others, each by itself; one at least.
        edition: as for `what_if`.
        workers: how many processes look at it; 1: this one.
        keep, progress: as for `audit_folder`.

    Raises:
        UnreadableParquet: no export wrote the folder, or something is missing from it.
        WorkersDied: workers die again and again.
        ValueError: there is no such edition.
        NotWhole: something is missing from the log.
    """
    with TemporaryDirectory(prefix="lastresort-") as own, Database(PLANNING) as database:
        kept = Kept[PartTotals](keep or Path(own), folder, PartTotals)
        found = _supposed(database, folder, tuple(policies), edition, workers, kept, progress)
        yield found or _in_order(folder, policies, edition)


def _supposed(
    told: Database,
    folder: Path,
    policies: tuple[Policy, ...],
    edition: int | None,
    workers: int,
    kept: Kept[PartTotals],
    progress: Callable[[int, int], None],
) -> FolderWhatIf | None:
    """Return what the parts add up to, of which `told` tells the branches; None if something is wrong with the log."""
    with Database(PLANNING, workers) as database:
        planned = plan(database, folder)
    if planned.together:
        return None
    jobs = []
    for part in planned.parts:
        job = SupposeJob(folder, part.name, part.files, policies, edition)
        rows = kept.path(job.name, job.files, job.asked).with_suffix(".parquet")
        if not rows.exists():
            kept.forget(job.name, job.files, job.asked)
        jobs.append(job._replace(rows=rows))
    try:
        parts = [one.totals for one in each_part(suppose_job, jobs, workers, kept, planned.events, progress)]
    except (NotWhole, UnreadableParquet):
        return None
    totals = tuple(reduce(WhatIfSum.plus, each) for each in zip(*parts, strict=True))
    files = [job.rows for job in jobs if job.rows is not None]
    return FolderWhatIf(totals, lambda different: _in_files(told, files, different=different))


def suppose_job(job: SupposeJob) -> PartTotals:
    """Say what other policies make of a part: what a worker does."""
    assert job.rows is not None
    totals = [WhatIf.of(policy, job.edition, 0, ()).total for policy in job.policies]
    draft = job.rows.with_suffix(".rows")
    with Database(SORTING) as database, pq.ParquetWriter(draft, _SCHEMA, compression="zstd") as writer:
        trees = conversations_in(database, job.folder, job.files)
        for begun, found in suppose_part(trees, job.policies, job.edition, forks_of(database, job.files)):
            totals = [total.plus(one.total) for total, one in zip(totals, found, strict=True)]
            writer.write_batch(_rows(begun, found[0].branches))
    draft.replace(job.rows)
    return PartTotals(tuple(totals))


def _rows(begun: Sequence[int], branches: Sequence[BranchOutcome]) -> pa.RecordBatch:
    same = [row.outcome is Outcome.SAME for row in branches]
    return pa.record_batch([begun, same, [row.model_dump_json() for row in branches]], schema=_SCHEMA)


def _in_files(database: Database, files: Sequence[Path], *, different: bool) -> Iterator[BranchOutcome]:
    where = "WHERE NOT same" if different else ""
    for (outcome,) in database.rows(f"SELECT outcome FROM {table(files)} {where} ORDER BY place"):
        yield BranchOutcome.model_validate_json(outcome)


def _in_order(folder: Path, policies: Sequence[Policy], edition: int | None) -> FolderWhatIf:
    """Return what is said of a log that is read in its order."""
    with closing(events_in(folder)) as log:
        ((_, found),) = suppose_part([enumerate(log, 1)], policies, edition, forks_in(folder))

    def branches(different: bool) -> Iterable[BranchOutcome]:
        return (row for row in found[0].branches if not different or row.outcome is not Outcome.SAME)

    return FolderWhatIf(tuple(one.total for one in found), branches)
