"""What follows from the log and can be made from it again: the lists of branches, and snapshots of their states.

    branches    where what began a branch, its root, and its ending stand in the log; whether its root has other ones
    snapshots   the state of a branch at a version, sealed

Few events change the lists, and those write them in their own transaction. The SQL here, and that of `sql`, is what
both engines understand; `{...}` stands for what they call differently.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from lastresort.application.ports import List
from lastresort.domain.events import BranchOpened

from .rows import ENDS

LISTS: dict[List, str] = {"active": "ended IS NULL", "ended": "ended IS NOT NULL", "branched": "branched = 1"}
"""The lists of branches, and what holds of those that are in one."""

INDEX = "branches_of_a_tree"
"""An index that stores did not have at first: it is made when one of these is opened by someone who may."""

ENDINGS = "endings_of_branches"
"""An index of the few events that are endings, so that no snapshot need be believed about them; made as that one is."""

COMMANDS = "events_of_commands"
"""An index of the log by command. It is not unique: two trees may each have a command of the same id."""

MAKE_COMMANDS = f"CREATE INDEX IF NOT EXISTS {COMMANDS} ON {{events}} (command_id)"
MAKE_ENDINGS = f"CREATE INDEX IF NOT EXISTS {ENDINGS} ON {{events}} (originator_id) WHERE topic = '{ENDS}'"

TABLES = (
    "CREATE TABLE IF NOT EXISTS {schema}branches "
    "(position {integer} PRIMARY KEY, root {integer} NOT NULL, ended {integer}, branched {integer} NOT NULL)",
    *(
        f"CREATE INDEX IF NOT EXISTS branches_{name} ON {{schema}}branches (position) WHERE {holds}"
        for name, holds in LISTS.items()
    ),
    f"CREATE INDEX IF NOT EXISTS {INDEX} ON {{schema}}branches (root)",
    "CREATE TABLE IF NOT EXISTS {schema}snapshots (originator_id text, originator_version {integer}, "
    "data {bytes} NOT NULL, PRIMARY KEY (originator_id, originator_version)) {clustered}",
)
_BEGAN = f"""
    SELECT e.{{position}} AS position, f.branch,
            CASE WHEN e.topic = '{BranchOpened.kind}' THEN {{conversation}} END AS joins
        FROM (SELECT originator_id AS branch, min(originator_version) AS version FROM {{events}}
            GROUP BY originator_id) AS f
        JOIN {{events}} e ON e.originator_id = f.branch AND e.originator_version = f.version
"""
_FROM_THE_LOG = f"""
    WITH began AS ({_BEGAN}),
        rooted AS (SELECT b.position, b.branch, b.joins,
                CASE WHEN b.joins IS NULL THEN b.position ELSE coalesce(r.position, 0) END AS root
            FROM began b LEFT JOIN began r ON r.branch = b.joins),
        endings AS (SELECT originator_id AS branch, min({{position}}) AS ended FROM {{events}}
            WHERE topic = '{ENDS}' GROUP BY originator_id)
    SELECT position, root, ended, CASE WHEN joins IS NOT NULL
            OR position IN (SELECT root FROM rooted WHERE joins IS NOT NULL) THEN 1 ELSE 0 END AS branched
        FROM rooted LEFT JOIN endings ON endings.branch = rooted.branch
"""


def tree_of(branch: str) -> str:
    """Return the expression for the tree of a branch, as what began it says; null if it has not begun."""
    return (
        f"(SELECT CASE WHEN e.topic = '{BranchOpened.kind}' THEN {{conversation}} ELSE e.originator_id END "
        f"FROM {{events}} e WHERE e.originator_id = {branch} ORDER BY e.originator_version LIMIT 1)"
    )


def of_command(command: str, tree: str) -> str:
    """Return the condition that an event `k` is of a command in a tree.

    Where nobody can tell the event's tree, it is this one: a command is rather refused than carried out twice.
    """
    return f"k.command_id = {command} AND coalesce({tree_of('k.originator_id')}, {tree}) = {tree}"


REBUILD = (("DELETE FROM {schema}branches", ()), (f"INSERT INTO {{schema}}branches {_FROM_THE_LOG}", ()))
"""Statements that make the lists again."""

_REBUILT, _HELD = f"SELECT * FROM ({_FROM_THE_LOG}) AS rebuilt", "SELECT * FROM {schema}branches"
_DIFFERING = (
    f"(SELECT * FROM ({_REBUILT} EXCEPT {_HELD}) AS missing UNION "
    f"SELECT * FROM ({_HELD} EXCEPT {_REBUILT}) AS wrong) AS differing"
)
STALE_BRANCHES = f"SELECT count(DISTINCT position) FROM {_DIFFERING}"
"""Counts the branches that are not listed as the log has them."""

WRONGLY_LISTED = (
    "SELECT DISTINCT differing.position, e.originator_id, e.originator_version "
    f"FROM {_DIFFERING} LEFT JOIN {{events}} e ON e.{{position}} = differing.position ORDER BY differing.position"
)
"""Where those of them begin: the position in the log, and the branch and version, null if no event stands there."""

MISCOUNTED = (
    "SELECT e.originator_id, e.originator_version FROM (SELECT min(position) AS first FROM "
    "(SELECT l.{position} AS position, l.command_id, l.nth, coalesce(b.joins, b.branch) AS tree "
    f"FROM {{events}} l JOIN ({_BEGAN}) AS b ON b.branch = l.originator_id WHERE l.command_id IS NOT NULL) AS one "
    "GROUP BY tree, command_id HAVING coalesce(min(nth), -1) <> 0 "
    "OR count(nth) <> count(*) OR min(position - nth) <> max(position - nth)) AS wrong "
    "JOIN {events} e ON e.{position} = wrong.first ORDER BY wrong.first"
)
"""Where the events of those commands begin that are not counted from 0, as they stand in the log."""

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


@lru_cache(256)
def in_sqlite(statement: str, events: str) -> str:
    """Write a statement of this module as SQLite calls things; `events` is the table of the log."""
    return _in_other_words(statement, {"{events}": events, **_SQLITE})


@lru_cache(256)
def in_postgres(statement: str) -> str:
    """Write a statement of this module as PostgreSQL calls things, but for the names of the schema and of the log."""
    return _in_other_words(re.sub(r"\{by\}.*?\{_\}", "", statement), _POSTGRES)


def _in_other_words(statement: str, words: Mapping[str, str]) -> str:
    for word, here in words.items():
        statement = statement.replace(word, here)
    return statement
