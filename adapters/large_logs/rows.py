"""The rows of a log in Parquet, sorted and written as JSON by DuckDB, and read by the codec of the stores.

An event is a struct of its kind. DuckDB writes it as the state of a store's row: JSON without the digest of the words,
which stands beside it. So the codec knows most of them again, and says of one that cannot be read what is wrong with it
as it says it of a store's.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import duckdb
from pydantic import ValidationError

from lastresort.adapters.parquet import STRUCTS, UnreadableParquet
from lastresort.adapters.stores.codec import Encoding, StoredEvent
from lastresort.domain.events import EVENTS, RecordedEvent, Unreadable
from lastresort.domain.policy import Policy

_AT_ONCE = 4_096
"""Rows that are read at a time."""
_DIGEST = "'sha256:[0-9a-f]{64}'"
_POLICY = b'"policy":"@"'
_STATE = StoredEvent._fields.index("state")


def _names(kind: str) -> list[str]:
    return [field.name for field in STRUCTS[kind]]


def _state(kind: str) -> str:
    """Return the SQL of the state of an event of a kind: without its digest, and with a mark in place of a policy."""
    names = _names(kind)
    if not {"content", "policy"} & set(names):
        return f"to_json({kind})"
    values = {name: f'{kind}."{name}"' for name in names}
    if "content" in values:
        content = values["content"]
        values["content"] = f"CASE WHEN regexp_full_match({content}, {_DIGEST}) THEN 'sha256:' ELSE {content} END"
    if "policy" in values:
        values["policy"] = "'@'"
    fields = ", ".join(f'"{name}" := {value}' for name, value in values.items())
    return f"CASE WHEN {kind} IS NULL THEN NULL ELSE to_json(struct_pack({fields})) END"


def _case(of: dict[str, str]) -> str:
    return f"CASE kind {' '.join(f'WHEN {kind!r} THEN {value}' for kind, value in of.items())} END"


def _digest(kind: str) -> str:
    content = f"{kind}.content"
    return f"CASE WHEN regexp_full_match({content}, {_DIGEST}) THEN unhex({content}[8:]) END"


_VERSIONS = " ".join(
    f"WHEN {kind!r} THEN {event.schema_version}" for kind, event in EVENTS.items() if event.schema_version > 1
)
_COLUMNS = ", ".join(
    (
        "position",
        "branch",
        "version",
        "kind",
        f"encode(coalesce({_case({kind: _state(kind) for kind in STRUCTS})}, 'null')) AS state",
        f"{_case({kind: _digest(kind) for kind in STRUCTS if 'content' in _names(kind)})} AS digest",
        f"CASE kind {_VERSIONS} ELSE 1 END AS schema_version",
        "recorded_at",
        "command_id",
        "correlation_id",
        f"{_case({kind: f'{kind}.policy' for kind in STRUCTS if 'policy' in _names(kind)})} AS policy",
        "place",
    )
)
"""The columns of a row of a store, and behind them two more."""

Placed = tuple[int, RecordedEvent | Unreadable]


class Database:
    """DuckDB, with so much memory; what is more is written to a folder that goes with it."""

    def __init__(self, megabytes: int, threads: int = 1) -> None:
        self._spilled = TemporaryDirectory(prefix="lastresort-")
        self.sql = duckdb.connect(
            config={
                "memory_limit": f"{megabytes}MB",
                "threads": threads,
                "temp_directory": self._spilled.name,
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        self.sql.execute("SET enable_progress_bar = false")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sql.close()
        self._spilled.cleanup()

    def rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, and raise what `columns` does."""
        for columns in self.columns(query):
            yield from zip(*columns, strict=True)

    def columns(self, query: str) -> Iterator[list[list[Any]]]:
        """Yield the columns of a query, some thousand rows of each at a time.

        Raises:
            UnreadableParquet: a file is damaged.
            MemoryError: it takes more memory than there is.
        """
        try:
            for batch in self.sql.sql(query).to_arrow_reader(_AT_ONCE):
                yield [column.to_pylist() for column in batch.columns]
        except duckdb.OutOfMemoryException:
            raise MemoryError("sorting a part of the log takes more memory than it was given") from None
        except duckdb.Error as error:
            raise UnreadableParquet(f"a file of the folder cannot be read: {type(error).__name__}") from None


def table(files: Sequence[Path], columns: str = "*") -> str:
    """Return the SQL of the rows in some files."""
    named = ", ".join(_literal(_escaped(str(file))) for file in files)
    return f"(SELECT {columns} FROM read_parquet([{named}], hive_partitioning = false))"


def _escaped(path: str) -> str:
    """Return a path in which nothing stands for other characters."""
    return "".join(f"[{one}]" if one in "[*?" else one for one in path)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class EntryReader:
    """Makes rows entries again, and knows events again."""

    def __init__(self) -> None:
        self._encoding = Encoding()
        self._policies: dict[str | None, bytes] = {}

    def entries(self, database: Database, rows: str, group: str, order: str) -> Iterator[tuple[Any, Placed]]:
        """Yield the entries of a table, each with the group that it is in and its place in the log.

        Args:
            database: reads them.
            rows: SQL of the table.
            group, order: SQL of what the rows are grouped by, and sorted by.
        """
        query = f"SELECT {_COLUMNS}, {group} AS sort_group FROM {rows} AS log ORDER BY {order}"
        for *stored, policies, places, groups in database.columns(query):
            states = stored[_STATE]
            for number, policy in enumerate(policies):
                if policy is not None:
                    states[number] = self._with_policy(states[number], policy)
            entries = self._encoding.entries(list(zip(*stored, strict=True)))
            yield from zip(groups, zip(places, entries, strict=True), strict=True)

    def _with_policy(self, state: bytes, policy: str) -> bytes:
        return state.replace(_POLICY, b'"policy":' + (self._policies.get(policy) or self._policy(policy)), 1)

    def _policy(self, text: str) -> bytes:
        """Return a policy as the codec writes it; what is none as a text, of which the codec says that it is none."""
        try:
            written = Policy.model_validate_json(text).model_dump_json().encode()
        except ValidationError:
            return json.dumps(text).encode()
        if len(self._policies) < 1_000:
            self._policies[text] = written
        return written
