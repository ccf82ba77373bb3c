"""What the inspector counts in a whole log: once, and apart from the pages that show it, so that these are quick.

A short log is counted again when it has grown. Of a long one the last count is shown, with the position up to which it
goes, and counted again when somebody asks for that.
"""

from typing import NamedTuple

from fastapi import Request

from lastresort.adapters.service.jobs import Count, Job, Jobs, Kind, latest_counted
from lastresort.adapters.service.tenants import Caller

from .rendering import with_query

SHORT = 5_000
"""Events of a log that is counted again whenever it has grown."""
_PATIENCE = 5.0  # seconds that a page of a short log waits; that of a long one says that it is being counted
_GLANCE = 0.1


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
