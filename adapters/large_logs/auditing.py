"""The audit of a folder of Parquet: the same audit of each tree as of a small log, by as many processes as you like.

A worker has DuckDB sort a part by conversation, so that one tree comes after the other, and what is in memory is that
of some thousand events or of the longest tree. What takes the whole log to see is looked at before (see `plan.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from lastresort.projections import Report
from lastresort.projections.audit import READ_TWICE
from lastresort.projections.parts import Known, PartAudit, audit_part, merge_parts

from .kept import KeptAudits
from .plan import Plan, plan
from .rows import Database, EntryReader, Placed, table
from .workers import carry_out

_EVENTS_AT_ONCE = 10_000
"""Events whose trees are audited together, at least: to begin an audit takes as long as some hundred of them."""
_SORTED_AT_ONCE = 400_000
"""Rows of a part that are sorted at a time, about: of a larger part, some of its trees after the others. DuckDB puts on
disk what it sorts, but not all that it needs for that."""
_PLANNING = 512
_SORTING = 100
"""Megabytes that DuckDB takes at most, to look at the whole log and to sort a part."""
TOGETHER = "together"


class AuditJob(NamedTuple):
    """A part that is to be audited, or what is together though it stands in several."""

    name: str
    files: tuple[Path, ...]
    together: Mapping[str, int]
    known: Known
    read_twice: int | None
    edition: int | None


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
        UnreadableParquet: the folder is none that an export wrote, or something is missing from it.
        WorkersDied: workers die again and again.
        ValueError: this program knows no such edition, or it is the first.
    """
    kept = None if keep is None else KeptAudits(keep, folder)
    unreadable = frozenset[int]()
    while True:
        with Database(_PLANNING, workers) as database:
            planned = plan(database, folder, unreadable)
        parts = list(_audited(planned, workers, read_twice, edition, kept, progress))
        unreadable = frozenset(place for part in parts for place in part.unreadable)
        if unreadable == planned.known.unreadable:
            return merge_parts(planned.known, parts)


def _audited(
    planned: Plan,
    workers: int,
    read_twice: int | None,
    edition: int | None,
    kept: KeptAudits | None,
    progress: Callable[[int, int], None],
) -> Iterator[PartAudit]:
    jobs = [
        AuditJob(part.name, part.files, planned.together, planned.known, read_twice, edition) for part in planned.parts
    ]
    if planned.together:
        jobs.append(AuditJob(TOGETHER, planned.files, planned.together, planned.known, read_twice, edition))
    left, done = [], 0
    for job in jobs:
        found = None if kept is None else kept.of(job)
        if found is None:
            left.append(job)
        else:
            done += found.events
            yield found
    progress(done, planned.events)
    for job, found in carry_out(audit_job, left, workers):
        if kept is not None:
            kept.keep(job, found)
        done += found.events
        progress(done, planned.events)
        yield found


def audit_job(job: AuditJob) -> PartAudit:
    """Audit a part: what a worker does."""
    with Database(_SORTING) as database:
        entries = entries_of(job, database)
        return audit_part(in_batches(entries, _EVENTS_AT_ONCE), job.known, job.read_twice, job.edition)


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
    reader = EntryReader()
    slices = max(1, -(-sum(pq.read_metadata(file).num_rows for file in job.files) // _SORTED_AT_ONCE))
    for number in range(slices):
        some = rows if slices == 1 else f"(SELECT * FROM {rows} WHERE hash({tree}) % {slices} = {number})"
        yield from reader.entries(database, some, tree, f"{tree}, place")


def in_batches(entries: Iterable[tuple[Any, Placed]], least: int) -> Iterator[Iterator[Placed]]:
    """Yield entries of whole groups, at least so many at a time, but for the last. Take all of one before the next."""
    coming = iter(entries)
    following = next(coming, None)

    def batch() -> Iterator[Placed]:
        nonlocal following
        count, group = 0, None
        while following is not None and (count < least or following[0] == group):
            group, placed = following
            yield placed
            count += 1
            following = next(coming, None)

    while following is not None:
        yield batch()
