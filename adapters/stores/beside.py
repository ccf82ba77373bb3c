"""What stands beside the log and can be made anew from it: the lists of branches, and snapshots of their states.

    branches    where what began a branch, its root, and its ending stand in the log; whether its root has other ones
    snapshots   the state of a branch at a version, sealed

Few events change the lists, and those write them in their own transaction. The SQL here is what both engines
understand; `{...}` stands for what they call differently.
"""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from lastresort.application.ports import List
from lastresort.domain.events import BranchOpened

from .codec import unpacked
from .recorders import ENDS, Listed, LogRecorder

LISTS: dict[List, str] = {"active": "ended IS NULL", "ended": "ended IS NOT NULL", "branched": "branched = 1"}
"""The lists of branches, and what holds of those that are in one."""

TABLES = (
    "CREATE TABLE IF NOT EXISTS {schema}branches "
    "(position {integer} PRIMARY KEY, root {integer} NOT NULL, ended {integer}, branched {integer} NOT NULL)",
    *(
        f"CREATE INDEX IF NOT EXISTS branches_{name} ON {{schema}}branches (position) WHERE {holds}"
        for name, holds in LISTS.items()
    ),
    "CREATE TABLE IF NOT EXISTS {schema}snapshots (originator_id text, originator_version {integer}, "
    "data {bytes} NOT NULL, PRIMARY KEY (originator_id, originator_version)) {clustered}",
)
_FROM_THE_LOG = f"""
    WITH firsts AS (SELECT originator_id AS branch, min(originator_version) AS version FROM {{events}}
            GROUP BY originator_id),
        began AS (SELECT e.{{position}} AS position, f.branch,
                CASE WHEN e.topic = '{BranchOpened.kind}' THEN {{conversation}} END AS joins
            FROM firsts f JOIN {{events}} e ON e.originator_id = f.branch AND e.originator_version = f.version),
        rooted AS (SELECT b.position, b.branch, b.joins,
                CASE WHEN b.joins IS NULL THEN b.position ELSE coalesce(r.position, 0) END AS root
            FROM began b LEFT JOIN began r ON r.branch = b.joins),
        endings AS (SELECT originator_id AS branch, min({{position}}) AS ended FROM {{events}}
            WHERE topic = '{ENDS}' GROUP BY originator_id)
    SELECT position, root, ended, CASE WHEN joins IS NOT NULL
            OR position IN (SELECT root FROM rooted WHERE joins IS NOT NULL) THEN 1 ELSE 0 END AS branched
        FROM rooted LEFT JOIN endings ON endings.branch = rooted.branch
"""
REBUILD = (("DELETE FROM {schema}branches", ()), (f"INSERT INTO {{schema}}branches {_FROM_THE_LOG}", ()))
"""Statements that make the lists anew."""

Statement = tuple[str, Sequence[Any]]

_SQLITE = {
    "{schema}": "",
    "%s": "?",
    "{position}": "rowid",
    "{integer}": "INTEGER",
    "{bytes}": "BLOB",
    "{clustered}": "WITHOUT ROWID",
    "{by}": "INDEXED BY ",
    "{_}": "",
    "{conversation}": "json_extract(CASE WHEN json_valid({state}) THEN {state} END, '$.conversation')",
    "{state}": "CAST(e.state AS TEXT)",
}
_POSTGRES = {
    "{events}": "{schema}{events}",
    "{schema}": "{schema}.",
    "{position}": "notification_id",
    "{integer}": "bigint",
    "{bytes}": "bytea",
    "{clustered}": "",
    "{conversation}": "convert_from(e.state, 'UTF8')::json ->> 'conversation'",
}


def in_sqlite(statement: str, events: str) -> str:
    """Write a statement of this module as SQLite calls things; `events` is the table of the log."""
    return _in_other_words(statement, {"{events}": events, **_SQLITE})


def in_postgres(statement: str) -> str:
    """Write a statement of this module as PostgreSQL calls things, but for the names of the schema and of the log."""
    return _in_other_words(re.sub(r"\{by\}.*?\{_\}", "", statement), _POSTGRES)


def _in_other_words(statement: str, words: Mapping[str, str]) -> str:
    for word, here in words.items():
        statement = statement.replace(word, here)
    return statement


class BesideTheLog(LogRecorder):
    """Keeps in a database what stands beside the log."""

    @abstractmethod
    def _rows(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query in the SQL of this module."""

    @abstractmethod
    def _change(self, *statements: Statement) -> None:
        """Execute statements in the SQL of this module, in one transaction that no append comes between."""

    def select_list(self, which: List, after: int, limit: int) -> list[Listed]:
        # The page first, then what is joined to it: a planner that knows nothing of the tables yet would join it all.
        page = (
            f"SELECT * FROM {{schema}}branches {{by}}branches_{which}{{_}} "
            f"WHERE {LISTS[which]} AND position > %s ORDER BY position LIMIT %s"
        )
        rows = self._rows(
            "SELECT b.position, root, ended, (SELECT max(originator_version) FROM {events} "
            f"WHERE originator_id = e.originator_id) FROM ({page}) AS b "
            "JOIN {events} e ON e.{position} = b.position ORDER BY b.position",
            *(after, limit),
        )
        return [Listed._make(row) for row in rows]

    def rebuild_lists(self) -> None:
        self._change(*REBUILD)

    def count_stale(self, prefix: bytes) -> tuple[int, int]:
        rebuilt, kept = f"SELECT * FROM ({_FROM_THE_LOG}) AS rebuilt", "SELECT * FROM {schema}branches"
        (lists,) = self._rows(
            "SELECT count(DISTINCT position) FROM "
            f"(SELECT * FROM ({rebuilt} EXCEPT {kept}) AS missing UNION "
            f"SELECT * FROM ({kept} EXCEPT {rebuilt}) AS wrong) AS differing"
        )
        (snapshots,) = self._rows(
            "SELECT count(*) FROM {schema}snapshots WHERE substr(data, 1, %s) <> %s", len(prefix), prefix
        )
        return int(lists[0]), int(snapshots[0])

    def select_misplaced(self) -> list[tuple[str, int]]:
        rows = self._rows(
            "SELECT originator_id, originator_version FROM (SELECT min({position}) AS first FROM {events} "
            "WHERE command_id IS NOT NULL GROUP BY command_id HAVING coalesce(min(nth), -1) <> 0 "
            "OR count(nth) <> count(*) OR min({position} - nth) <> max({position} - nth)) AS wrong "
            "JOIN {events} e ON e.{position} = wrong.first ORDER BY wrong.first"
        )
        return [(str(branch), int(version)) for branch, version in rows]

    def select_long(self, least: int) -> list[str]:
        rows = self._rows(
            "SELECT originator_id FROM {events} GROUP BY originator_id HAVING count(*) >= %s "
            "UNION SELECT originator_id FROM {schema}snapshots ORDER BY originator_id",
            least,
        )
        return [branch for (branch,) in rows]

    def select_snapshot(self, branch: str, upto: int, prefix: bytes) -> tuple[int, bytes] | None:
        rows = self._rows(
            "SELECT originator_version, data FROM {schema}snapshots WHERE originator_id = %s "
            "AND originator_version <= %s AND substr(data, 1, %s) = %s ORDER BY originator_version DESC LIMIT 1",
            *(branch, upto, len(prefix), prefix),
        )
        return (rows[0][0], bytes(rows[0][1])) if rows else None

    def select_versions(self, branch: str) -> list[int]:
        rows = self._rows("SELECT originator_version FROM {schema}snapshots WHERE originator_id = %s", branch)
        return [version for (version,) in rows]

    def replace_snapshots(self, branch: str, snapshots: Mapping[int, bytes]) -> None:
        self._change(
            ("DELETE FROM {schema}snapshots WHERE originator_id = %s", (branch,)),
            *(("INSERT INTO {schema}snapshots VALUES (%s, %s, %s)", (branch, *one)) for one in snapshots.items()),
        )

    def newest(self) -> str | None:
        """Return the time that the latest event bears, None if there is no event."""
        rows = self._rows("SELECT recorded_at FROM {events} ORDER BY {position} DESC LIMIT 1")
        time = rows[0][0] if rows else None
        return unpacked(time) if isinstance(time, int) else time

    def note(self, name: str, value: str) -> None:
        self._change(
            (
                "INSERT INTO {schema}meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )
        )

    def noted(self, name: str) -> str | None:
        rows = self._rows("SELECT value FROM {schema}meta WHERE name = %s", name)
        return str(rows[0][0]) if rows else None
