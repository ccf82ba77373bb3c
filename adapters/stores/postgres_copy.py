"""How an import writes to PostgreSQL: rows by COPY, and a statement a chunk for each thing that follows from them.

All of it takes part in the transaction of the import, which nobody sees into.
"""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.sql import Composed

from .rows import WRITTEN

HEAD = "SELECT coalesce(max(notification_id), 0) FROM {schema}.{events}"
COPY_EVENTS = f"COPY {{schema}}.{{events}} (notification_id, {WRITTEN}) FROM STDIN (FORMAT BINARY)"
EVENT_TYPES = ("int8", "text", "int8", "text", "bytea", "bytea", "int4", "text", "text", "int4", "text")
COPY_CONTENTS = "COPY {schema}.contents FROM STDIN (FORMAT BINARY)"
CONTENT_TYPES = ("int8", "bytea")
COPY_BRANCHES = "COPY {schema}.branches (position, root, branched) FROM STDIN (FORMAT BINARY)"
BRANCH_TYPES = ("int8", "int8", "int8")
BRANCHED = (
    "UPDATE {schema}.branches b SET branched = 1 FROM unnest(%s::bigint[]) AS root (position) "
    "WHERE b.position = root.position AND b.branched = 0"
)
ENDED = (
    "UPDATE {schema}.branches b SET ended = one.ended "
    "FROM (SELECT min(ended) AS ended, position FROM unnest(%s::bigint[], %s::bigint[]) AS e (ended, position) "
    "GROUP BY position) AS one WHERE b.position = one.position AND b.ended IS NULL"
)
SNAPSHOTS = (
    "INSERT INTO {schema}.snapshots SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bytea[]) "
    "ON CONFLICT (originator_id, originator_version) DO UPDATE SET data = excluded.data"
)


def copied(
    connection: psycopg.Connection[Any], statement: Composed, types: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Copy rows into a table, if there are any."""
    if not rows:
        return
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
