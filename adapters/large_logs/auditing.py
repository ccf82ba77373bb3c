"""The audit of a folder of Parquet: the same audit of each tree as of a small log, by as many processes as you like.

A worker has DuckDB sort a part by conversation, so that one tree comes after the other, and what is in memory is that
of some thousand events or of the longest tree. What takes the whole log to see is looked at before (see `plan.py`).
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from lastresort.projections import Report
from lastresort.projections.audit import READ_TWICE
from lastresort.projections.parts import Known, PartAudit, audit_part, merge_parts

from .kept import Kept
from .plan import Plan, plan
from .reading import PLANNING, SORTING, by_tree, in_batches
from .rows import Database, Placed, table
from .workers import each_part

TOGETHER = "together"


class AuditJob(NamedTuple):
    """A part that is to be audited, or what is together though it stands in several."""

    name: str
    files: tuple[Path, ...]
    together: Mapping[str, int]
    known: Known
    read_twice: int | None
    edition: int | None

    @property
    def asked(self) -> tuple[object, ...]:
        """All that the audit follows from, beside the files."""
        known = sorted(self.known.gaps.items()), sorted(self.known.unreadable)
        return "audit", self.read_twice, self.edition, sorted(self.together.items()), *known


def audit_folder(
    folder: Path,
    workers: int = 1,
    read_twice: int | None = READ_TWICE,
    edition: int | None = None,
    keep: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, events: None,
) -> Report:
    """Audit the log in a folder of Parquet. The report says what `audit` says of the log, without its states.

    Args:
        folder: which an export wrote.
        workers: how many processes audit it; 1: this one.
        read_twice, edition: as for `audit`.
        keep: a folder in which the audit of each part is kept once it is done, so that it is not done again if this is
            interrupted. It is made if it is not there.
        progress: is told how many events are audited, of how many.

    Raises:
        UnreadableParquet: no export wrote the folder, or something is missing from it.
        WorkersDied: workers die again and again.
        ValueError: this program knows no such edition, or it is the first.
    """
    kept = None if keep is None else Kept[PartAudit](keep, folder, PartAudit)
    unreadable = frozenset[int]()
    while True:
        with Database(PLANNING, workers) as database:
            planned = plan(database, folder, unreadable)
        jobs = list(_jobs(planned, read_twice, edition))
        parts = list(each_part(audit_job, jobs, workers, kept, planned.events, progress))
        unreadable = frozenset(place for part in parts for place in part.unreadable)
        if unreadable == planned.known.unreadable:
            return merge_parts(planned.known, parts)


def _jobs(planned: Plan, read_twice: int | None, edition: int | None) -> Iterator[AuditJob]:
    for part in planned.parts:
        yield AuditJob(part.name, part.files, planned.together, planned.known, read_twice, edition)
    if planned.together:
        yield AuditJob(TOGETHER, planned.files, planned.together, planned.known, read_twice, edition)


def audit_job(job: AuditJob) -> PartAudit:
    """Audit a part: what a worker does."""
    with Database(SORTING) as database:
        return audit_part(in_batches(entries_of(job, database)), job.known, job.read_twice, job.edition)


def entries_of(job: AuditJob, database: Database) -> Iterator[tuple[Any, Placed]]:
    """Yield the entries of a job tree by tree, each with what says which tree it is of."""
    together = pa.table(
        {"conversation": pa.array(list(job.together), pa.string()), "tree": pa.array(job.together.values(), pa.int64())}
    )
    database.sql.register("together", together)
    rows, tree = table(job.files), "conversation"
    if job.name == TOGETHER:
        rows, tree = f"(SELECT * FROM {rows} JOIN together USING (conversation))", "tree"
    elif job.together:
        rows = f"(SELECT * FROM {rows} ANTI JOIN together USING (conversation))"
    return by_tree(database, job.files, rows, tree)
