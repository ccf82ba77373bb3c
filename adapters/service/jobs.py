"""What takes long, asked for over HTTP: audits, what another policy would have made of the log, figures and reports.

A job is a row in the tenant's database, so each process of the service can tell of it. One runs at a time in a process,
which says so now and then; if it stops saying so, the job has failed.
"""

import hashlib
import secrets
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, TypeVar

from lastresort.adapters.followers.tables import Tables
from lastresort.application.ports import EventStore, StoreError
from lastresort.domain.events import RecordedEvent
from lastresort.domain.policy import Policy
from lastresort.domain.values import Frozen
from lastresort.projections.audit import audit
from lastresort.projections.findings import Finding
from lastresort.projections.replay import fork_points
from lastresort.projections.reports.narrowed import of_conversations
from lastresort.projections.supposed import BranchOutcome, Outcome
from lastresort.projections.what_if import what_if

from .problems import Failed

if TYPE_CHECKING:
    from .tenants import Tenant  # which has the tables made

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}service_jobs (id TEXT PRIMARY KEY, kind TEXT NOT NULL, begun TEXT NOT NULL, "
    "said TEXT NOT NULL, status TEXT NOT NULL, result TEXT)",
    "CREATE TABLE IF NOT EXISTS {schema}service_findings (job TEXT NOT NULL, n BIGINT NOT NULL, "
    "conversation TEXT NOT NULL, rule TEXT NOT NULL, finding TEXT NOT NULL, PRIMARY KEY (job, n, rule))",
)
KEPT = timedelta(days=7)
SILENT = timedelta(minutes=2)
"""After so long without a word of the process that runs it, a job has failed."""
MOST_WAITING = 8
MOST_FINDINGS = 1_000
MOST_BRANCHES = 1_000
FAILED_FOR = timedelta(minutes=1)
"""A count that failed is not tried again for so long, however often its page is asked for."""
_SAYS = timedelta(seconds=20)
Kind = Literal["audit", "what-if", "figures", "report"]
T = TypeVar("T")
FEW = 2_000, 100_000
"""So many conversations, of so many events in all, are read one by one for a count of them; else the whole log is."""


@dataclass(frozen=True)
class CountedLog:
    """A log up to a position, as a count reads it. While it is read, the count reports that it is still running."""

    store: EventStore
    head: int
    saying: Callable[[Iterable[RecordedEvent]], Iterator[RecordedEvent]]

    def events(self) -> Iterator[RecordedEvent]:
        """Yield all events."""
        return self.saying(self.store.log(limit=self.head))

    def of(self, conversations: Collection[str]) -> Iterator[RecordedEvent]:
        """Yield the events of some conversations, in the order of the log."""
        most, events = FEW
        few = conversations if len(conversations) <= most else ()
        heads = [(tree, head) for tree in few for head in self.store.heads(tree)]
        if len(conversations) > most or sum(head.version for _, head in heads) > events:
            return of_conversations(self.events(), conversations)
        read = (one for tree, head in heads for one in self.store.read(tree, head.branch) if one.position <= self.head)
        return iter(sorted(self.saying(read), key=attrgetter("position")))


Count = Callable[[CountedLog], str]


class Audited(Frozen):
    """What an audit found: nothing, if `findings` is empty. `more`: whether there are others than these."""

    events: int
    branches: int
    findings: tuple[Finding, ...]
    more: bool


class Supposed(Frozen):
    """What another policy makes of a log up to `head`: how many branches come to what, and those that differ."""

    policy: str
    policy_hash: str
    edition: int | None
    head: int
    events: int
    branches: int
    outcomes: dict[str, int]
    untried: int
    differ: tuple[BranchOutcome, ...]
    more: bool


class Job(Frozen):
    """A job as it stands."""

    id: str
    kind: str
    begun: str
    status: Literal["waiting", "running", "done", "failed"]
    result: str | None

    @property
    def head(self) -> int:
        """The position up to which something was counted."""
        return int(self.id.rpartition("-")[2])


class Jobs:
    """The jobs that this process runs, and the tables of all of them."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._thread = ThreadPoolExecutor(1, "jobs")
        self._waiting: deque[str] = deque()
        self._futures: dict[tuple[str, str], Future[None]] = {}  # by tenant and job
        self._lock = threading.RLock()
        self._stopping = threading.Event()

    def close(self) -> None:
        """Begin no other job; the one that runs fails."""
        self._stopping.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def audit(self, tenant: "Tenant") -> Job:
        """Have the whole log of a tenant audited."""
        return self._begin(tenant, "audit", lambda id: self._audit(tenant, id))

    def what_if(self, tenant: "Tenant", policy: Policy, edition: int | None) -> Job:
        """Have the log of a tenant replayed under another policy."""
        return self._begin(tenant, "what-if", lambda id: self._what_if(tenant, id, policy, edition))

    def counted(self, tenant: "Tenant", kind: Kind, query: str, head: int, run: "Count", patience: float = 0.0) -> Job:
        """Return what is counted in the log of a tenant up to `head`; have it counted, if nobody has.

        Args:
            query: says what is counted. It may be of any length, and is kept as a digest alone.
            run: counts: it is given the log up to `head`, which it may read several times.
            patience: how long to wait for it, in seconds.
        """
        id = f"{_digest(query)}-{head}"
        with self._lock:
            found = self.find(tenant, kind, id)
            if found is not None and found.status == "failed" and found.begun < _text(self._now() - FAILED_FOR):
                with tenant.tables.transaction("jobs") as writing:
                    writing.write("DELETE FROM {schema}service_jobs WHERE id = %s", [(id,)])
                found = None
            if found is None:
                found = self._begin(tenant, kind, lambda id: self._count(tenant, id, head, run), id)
            under_way = self._futures.get((tenant.name, id))
        if under_way is not None and patience:
            wait_for([under_way], patience)
            found = self.find(tenant, kind, id) or found
        return found

    def _count(self, tenant: "Tenant", id: str, head: int, run: "Count") -> str:
        store = tenant.conversations.store
        result = run(CountedLog(store, head, partial(self._saying, tenant.tables, id)))
        with tenant.tables.transaction("jobs") as writing:  # an earlier count of the same is of no more use
            statement = "DELETE FROM {schema}service_jobs WHERE id LIKE %s AND status = 'done'"
            writing.write(statement, [(f"{id.partition('-')[0]}-%",)])
        return result

    def _begin(self, tenant: "Tenant", kind: Kind, run: Callable[[str], str], id: str | None = None) -> Job:
        id, now = id or secrets.token_hex(8), _text(self._now())
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                raise Failed("too-many", "as much as may wait to be worked out is waiting", {"retry-after": "10"})
            self._waiting.append(id)
        with tenant.tables.transaction("jobs") as writing:
            old = _text(self._now() - KEPT)
            writing.write("DELETE FROM {schema}service_findings WHERE job IN "
                          "(SELECT id FROM {schema}service_jobs WHERE begun < %s)", [(old,)])  # fmt: skip
            writing.write("DELETE FROM {schema}service_jobs WHERE begun < %s", [(old,)])
            row = (id, kind, now, now, "waiting", None)
            statement = "INSERT INTO {schema}service_jobs VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
            writing.write(statement, [row])
        with self._lock:
            self._futures[tenant.name, id] = self._thread.submit(self._run, tenant, id, run)
        return Job(id=id, kind=kind, begun=now, status="waiting", result=None)

    def _run(self, tenant: "Tenant", id: str, run: Callable[[str], str]) -> None:
        tables = tenant.tables
        try:
            self._say(tables, id, "running")
            self._say(tables, id, "done", run(id))
        except StoreError:
            return  # it goes silent, which is how it is seen to have failed
        except Exception:  # in a thread of its own: whatever came between, who asks is told that it failed
            self._say(tables, id, "failed")
        finally:
            with self._lock:
                self._waiting.remove(id)
                del self._futures[tenant.name, id]

    def _say(self, tables: Tables, id: str, status: str, result: str | None = None) -> None:
        with tables.transaction("jobs") as writing:
            row = (status, _text(self._now()), result, id)
            writing.write("UPDATE {schema}service_jobs SET status = %s, said = %s, result = %s WHERE id = %s", [row])

    def _saying(self, tables: Tables, id: str, log: Iterable[T]) -> Iterator[T]:
        """Yield a log, and say now and then that the job is still running."""
        said = self._now()
        for number, one in enumerate(log):
            if number % 500 == 0:
                if self._stopping.is_set():
                    raise InterruptedError
                if self._now() - said > _SAYS:
                    said = self._now()
                    self._say(tables, id, "running")
            yield one

    def _audit(self, tenant: "Tenant", id: str) -> str:
        store = tenant.conversations.store
        report = audit(self._saying(tenant.tables, id, store.entries()))
        findings = report.findings[:MOST_FINDINGS]
        rows = [
            (id, number, store.tree_of(one.branch) or one.branch, rule, one.model_dump_json())
            for number, one in enumerate(findings)
            for rule in one.rules
        ]
        with tenant.tables.transaction("jobs") as writing:
            writing.write("INSERT INTO {schema}service_findings VALUES (%s, %s, %s, %s, %s)", rows)
        more = len(report.findings) > len(findings)
        done = Audited(events=report.events, branches=report.branches, findings=findings, more=more)
        return done.model_dump_json()

    def _what_if(self, tenant: "Tenant", id: str, policy: Policy, edition: int | None) -> str:
        store = tenant.conversations.store
        head = store.head()
        forks = fork_points(self._saying(tenant.tables, id, store.log(limit=head)))
        found = what_if(self._saying(tenant.tables, id, store.log(limit=head)), policy, edition=edition, forks=forks)
        differ = [one for one in found.branches if one.outcome is not Outcome.SAME]
        done = Supposed(
            policy=found.policy, policy_hash=found.policy_hash, edition=edition, head=head, events=found.events,
            branches=len(found.branches), outcomes=dict(found.sum), untried=found.untried,
            differ=tuple(differ[:MOST_BRANCHES]), more=len(differ) > MOST_BRANCHES,
        )  # fmt: skip
        return done.model_dump_json()

    def find(self, tenant: "Tenant", kind: Kind, id: str) -> Job | None:
        """Return a job of a tenant."""
        statement = "SELECT * FROM {schema}service_jobs WHERE id = %s AND kind = %s"
        rows = tenant.tables.rows(statement, id, kind)
        if not rows:
            return None
        row = rows[0]
        status = row["status"]
        if status in ("running", "waiting") and row["said"] < _text(self._now() - SILENT) and not self._is_mine(id):
            status = "failed"
        return Job(id=id, kind=kind, begun=row["begun"], status=status, result=row["result"])

    def _is_mine(self, id: str) -> bool:
        return id in self._waiting


def latest(tables: Tables, kind: str) -> str | None:
    """Return the job of a kind that was begun last; None if there is none."""
    statement = "SELECT id FROM {schema}service_jobs WHERE kind = %s ORDER BY begun DESC, id LIMIT 1"
    rows = tables.rows(statement, kind)
    return rows[0]["id"] if rows else None


def latest_counted(tables: Tables, kind: Kind, query: str) -> str | None:
    """Return the job that counted something in the longest log; None if there is none."""
    statement = (
        "SELECT id FROM {schema}service_jobs WHERE kind = %s AND id LIKE %s AND status = 'done' "
        "ORDER BY begun DESC, id LIMIT 1"
    )
    rows = tables.rows(statement, kind, f"{_digest(query)}-%")
    return rows[0]["id"] if rows else None


def found_in(tables: Tables, rule: str | None) -> tuple[str, ...] | None:
    """Return the conversations that the latest audit found something in, under a rule or any; None if there is none."""
    last = "SELECT id FROM {schema}service_jobs WHERE kind = 'audit' AND status = 'done' ORDER BY begun DESC LIMIT 1"
    if not (rows := tables.rows(last)):
        return None
    which, params = ("", ()) if rule is None else (" AND rule = %s", (rule,))
    statement = f"SELECT DISTINCT conversation FROM {{schema}}service_findings WHERE job = %s{which}"
    return tuple(row["conversation"] for row in tables.rows(statement, rows[0]["id"], *params))


def _digest(query: str) -> str:
    return hashlib.sha256(query.encode()).hexdigest()[:16]


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
