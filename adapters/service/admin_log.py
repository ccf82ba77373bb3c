"""The admin log: who did what to the service, and who read whose words. Append-only, and each entry names the one
before it by its digest, so that one that is changed or taken out is seen.

A page of the log says whether all of it follows. A short one is checked whole each time. In a long one each look at it
checks what has been added since the last, and goes on with a check of the whole, which begins again after some minutes;
so nobody waits for that, and the page says when the last whole check began.

It holds no words and no secrets: ids, names of acts, and digests of what was before and after.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple

from pydantic import ValidationError

from lastresort.adapters.followers.tables import Tables
from lastresort.domain.values import Frozen

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}service_log (seq BIGINT PRIMARY KEY, tenant TEXT NOT NULL, "
    "entry TEXT NOT NULL, hash TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS service_log_by_tenant ON {schema}service_log (tenant, seq)",
)
_FIRST = "0" * 64
AT_ONCE = 1_000
"""Entries that are checked while somebody waits. A log of no more is checked whole each time."""
LASTS = timedelta(minutes=10)
"""After that the whole of a long log is checked again."""


class Entry(Frozen):
    """What somebody did.

    Attributes:
        seq: its place, from 1.
        at: when, ISO 8601 in UTC.
        who: the id of the key.
        act: what: `words.read`, `key.made`, ...
        target: of what: a branch, a key.
        before, after: digests of what it changed.
        previous: the hash of the entry before it.
    """

    seq: int
    at: str
    tenant: str
    who: str
    act: str
    target: str
    before: str | None = None
    after: str | None = None
    previous: str

    @property
    def hash(self) -> str:
        """The digest of all of it."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Checked(NamedTuple):
    """What is known of the chain.

    Attributes:
        broken_at: the place of the first entry that does not follow from the one before it, or is gone; None if none
            was found.
        upto: up to where a check of the whole came, the last that came to the end, or else the first.
        at: when that began; None if none has come to the end since the service was started.
        last: the place of the last entry.
    """

    broken_at: int | None
    upto: int
    at: datetime | None
    last: int


class _Pass(NamedTuple):
    """A check of the whole log that is under way, or has come to the end and goes on with what is added."""

    began: datetime
    upto: int = 0
    hash: str = _FIRST
    broken_at: int | None = None


class AdminLog:
    """The admin log of a service. Threads and processes may share it."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._lock = Lock()
        self._pass: _Pass | None = None
        self._known = Checked(None, 0, None, 0)
        self._seen = 0

    def note(
        self, act: str, *, who: str, tenant: str, target: str, before: Any = None, after: Any = None, now: datetime
    ) -> Entry:
        """Append an entry; it is durable when this returns."""
        with self._tables.transaction("service") as writing:
            last = writing.rows("SELECT seq, hash FROM {schema}service_log ORDER BY seq DESC LIMIT 1")
            entry = Entry(
                seq=last[0]["seq"] + 1 if last else 1,
                at=now.astimezone(UTC).isoformat(timespec="microseconds"),
                tenant=tenant,
                who=who,
                act=act,
                target=target,
                before=_digest(before),
                after=_digest(after),
                previous=last[0]["hash"] if last else _FIRST,
            )
            row = (entry.seq, tenant, entry.model_dump_json(), entry.hash)
            writing.write("INSERT INTO {schema}service_log VALUES (%s, %s, %s, %s)", [row])
        return entry

    def page(self, tenant: str, after: int, limit: int) -> list[Entry]:
        """Return entries about a tenant, the oldest first."""
        rows = self._tables.rows(
            "SELECT entry FROM {schema}service_log WHERE tenant = %s AND seq > %s ORDER BY seq LIMIT %s",
            tenant, after, limit,
        )  # fmt: skip
        return _entries(rows)

    def latest(self, tenant: str, before: int, limit: int) -> list[Entry]:
        """Return entries about a tenant that stand before a place, the newest first."""
        rows = self._tables.rows(
            "SELECT entry FROM {schema}service_log WHERE tenant = %s AND seq < %s ORDER BY seq DESC LIMIT %s",
            tenant, before, limit,
        )  # fmt: skip
        return _entries(rows)

    def checked(self, now: datetime) -> Checked:
        """Go on checking that each entry follows from the one before it; return what is known of that."""
        with self._lock:
            last = self._tables.rows("SELECT MAX(seq) AS seq FROM {schema}service_log")[0]["seq"] or 0
            one = self._pass
            if one is None or last <= AT_ONCE or (self._known.at == one.began and now - one.began > LASTS):
                one = _Pass(now)
            self._pass = one = self._gone_on(one)
            self._seen = max(self._seen, one.upto)
            if one.broken_at is not None or one.upto >= last:
                self._known = Checked(one.broken_at, one.upto, one.began, last)
            if last < self._seen:
                return Checked(last + 1, last, now, last)
            return self._known._replace(upto=one.upto if self._known.at is None else self._known.upto, last=last)

    def _gone_on(self, one: _Pass) -> _Pass:
        """Check some more entries."""
        statement = "SELECT seq, tenant, entry, hash FROM {schema}service_log WHERE seq > %s ORDER BY seq LIMIT %s"
        rows = self._tables.rows(statement, one.upto, AT_ONCE) if one.broken_at is None else ()
        for row in rows:
            entry, place = _entry(row["entry"]), one.upto + 1
            if entry is None or (row["seq"], row["tenant"], entry.seq, entry.previous, row["hash"]) != (
                place, entry.tenant, place, one.hash, entry.hash,
            ):  # fmt: skip
                return one._replace(broken_at=place)
            one = one._replace(upto=place, hash=entry.hash)
        return one


def _entries(rows: Sequence[Any]) -> list[Entry]:
    return [one for row in rows if (one := _entry(row["entry"])) is not None]


def _entry(text: str) -> Entry | None:
    """Return an entry; None if the row no longer holds one, which `checked` reports."""
    try:
        return Entry.model_validate_json(text)
    except ValidationError:
        return None


def _digest(value: Any) -> str | None:
    if value is None:
        return None
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
