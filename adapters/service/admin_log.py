"""The admin log: who did what to the service, and who read whose words. Append-only, and each entry names the one
before it by its digest, so that one that is changed or taken out is seen.

It holds no words and no secrets: ids, names of acts, and digests of what was before and after.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from lastresort.adapters.followers.tables import Tables
from lastresort.domain.values import Frozen

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}service_log (seq BIGINT PRIMARY KEY, tenant TEXT NOT NULL, "
    "entry TEXT NOT NULL, hash TEXT NOT NULL)",
)
_FIRST = "0" * 64


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


class AdminLog:
    """The admin log of a service. Threads and processes may share it."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

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
            "SELECT entry FROM {schema}service_log WHERE seq > %s AND tenant = %s ORDER BY seq LIMIT %s",
            after, tenant, limit,
        )  # fmt: skip
        return [one for row in rows if (one := _entry(row["entry"])) is not None]

    def broken_at(self) -> int | None:
        """Return the place of the first entry that does not follow from the one before it; None if all do."""
        previous, expected = _FIRST, 1
        for row in self._tables.rows("SELECT seq, tenant, entry, hash FROM {schema}service_log ORDER BY seq"):
            if (entry := _entry(row["entry"])) is None:
                return expected
            told = (row["seq"], row["tenant"], entry.seq, entry.previous, row["hash"])
            if told != (expected, entry.tenant, expected, previous, entry.hash):
                return expected
            previous, expected = entry.hash, expected + 1
        return None


def _entry(text: str) -> Entry | None:
    """Return an entry; None if it is none any more, which `broken_at` says."""
    try:
        return Entry.model_validate_json(text)
    except ValidationError:
        return None


def _digest(value: Any) -> str | None:
    if value is None:
        return None
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
