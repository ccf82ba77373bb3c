"""What has to be known of a whole log before its parts are audited: asked of all rows at once, in DuckDB.

* Places: that no row is missing from the folder, and none is in it twice.
* Positions that do not follow one another.
* Conversations that are not apart: which belong to one tree, though the folder has them as several. In a log that is
  whole there are none. In one that somebody tampered with, these are audited together.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from lastresort.adapters.parquet import PARTITION, SCHEMA, UnreadableParquet
from lastresort.projections.parts import Known

from .rows import Database, table

_ENVELOPE = ("place", "position", "conversation", "branch", "version", "kind", "recorded_at", "command_id")
_AT_ONCE = 1_000_000


class Part(NamedTuple):
    """The files of a part, which have conversations for themselves."""

    name: str
    files: tuple[Path, ...]


class Plan(NamedTuple):
    """How the audit of a folder is divided.

    Attributes:
        parts: of the folder.
        together: the conversations that are not apart, each with the number of the tree that it belongs to.
        known: what the audit of a part needs to know of the others.
        events: how many there are.
    """

    parts: tuple[Part, ...]
    together: Mapping[str, int]
    known: Known
    events: int

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(file for part in self.parts for file in part.files)


def parts_of(folder: Path) -> tuple[Part, ...]:
    """Return the parts of a folder that an export wrote.

    Raises:
        UnreadableParquet: it holds something else.
    """
    parts: dict[str, list[Path]] = {}
    for file in sorted(folder.glob(f"{PARTITION}=*/*.parquet")):
        try:
            columns = pq.read_schema(file)
        except (pa.ArrowException, OSError):
            raise UnreadableParquet(f"{file}: is no Parquet file, or is damaged") from None
        if not columns.equals(SCHEMA):
            raise UnreadableParquet(f"{file}: has other columns than an export of this version writes: export it again")
        parts.setdefault(file.parent.name.partition("=")[2], []).append(file)
    if not parts:
        raise UnreadableParquet(f"{folder}: holds no {PARTITION}=*/*.parquet")
    return tuple(Part(name, tuple(files)) for name, files in parts.items())


def plan(database: Database, folder: Path, unreadable: Collection[int] = ()) -> Plan:
    """Look at a whole folder.

    Args:
        database: what reads it.
        folder: which an export wrote.
        unreadable: the places of entries that cannot be read, if that is known.

    Raises:
        UnreadableParquet: it is none, or is not whole.
    """
    parts = parts_of(folder)
    files = [file for part in parts for file in part.files]
    events, displaced = check_whole(database, folder, files)
    known = Known(dict(_gaps(database, files)) if displaced else {}, frozenset(unreadable))
    return Plan(parts, _together(database, parts, known), known, events)


def check_whole(database: Database, folder: Path, files: Sequence[Path]) -> tuple[int, int]:
    """Return how many events there are, and how many have another position than their place.

    Raises:
        UnreadableParquet: rows are missing, or there twice.
    """
    rows = table(files, ", ".join(_ENVELOPE))
    missing = " OR ".join(f"{name} IS NULL" for name in _ENVELOPE)
    ((events, first, last, displaced, empty),) = database.rows(
        f"SELECT count(*), min(place), max(place), count_if(place <> position), count_if({missing}) FROM {rows}"
    )
    if empty:
        raise UnreadableParquet(f"{folder}: {empty:,} rows lack a field of the envelope")
    if not events:
        return 0, 0
    whole = first == 1 and last == events
    if whole:
        ((places,),) = database.rows(
            f"SELECT bit_count(bitstring_agg(place, 1::BIGINT, {events}::BIGINT)) FROM {table(files, 'place')}"
        )
        whole = places == events
    if not whole:
        raise UnreadableParquet(f"{folder}: is not whole: rows are missing or there twice; export the log again")
    return events, displaced


def _gaps(database: Database, files: Sequence[Path]) -> Iterator[tuple[int, int]]:
    """Yield the places at which a position does not follow the one before, and the one that was to come."""
    before = "lag(position, 1, 0) OVER (ORDER BY place) + 1"
    yield from database.rows(
        f"SELECT place, follows FROM (SELECT place, position, {before} AS follows FROM "
        f"{table(files, 'place, position')}) WHERE position <> follows"
    )


def _together(database: Database, parts: Sequence[Part], known: Known) -> dict[str, int]:
    """Return the conversations that are not apart, by tree."""
    files = [file for part in parts for file in part.files]
    rows = " UNION ALL ".join(
        f"SELECT *, {number} AS part FROM {table(part.files, 'branch, conversation')}"
        for number, part in enumerate(parts)
    )
    database.sql.execute(f"CREATE OR REPLACE TEMP TABLE branches AS SELECT DISTINCT * FROM ({rows})")
    opened = table(files, "place, conversation, command_id, kind, BranchOpened.parent AS parent, BranchedOff.child")
    database.sql.execute(
        "CREATE OR REPLACE TEMP TABLE forks AS SELECT place, conversation, command_id, kind = 'BranchOpened' AS opens, "
        f"if(opens, parent, child) AS other FROM {opened} AS log WHERE kind IN ('BranchOpened', 'BranchedOff')"
    )
    joined = _Joined()
    for link in _links(database, files, known):
        joined.join(*link)
    spread = "SELECT conversation FROM branches GROUP BY conversation HAVING count(DISTINCT part) > 1"
    alone = [conversation for (conversation,) in database.rows(spread)]
    return joined.conversations(alone)


def _links(database: Database, files: Sequence[Path], known: Known) -> Iterator[tuple[str, str]]:
    """Yield what belongs to one tree: conversations, as `c` and the id, or branches that are nowhere, as `b` and that.

    A branch of two conversations; one that names another as its parent or child; and one that opens by the command of
    the event before it, since that is the append of the tree of that event.
    """
    yield from database.rows(
        "SELECT 'c' || min(conversation) OVER (PARTITION BY branch), 'c' || conversation FROM branches "
        "WHERE branch IN (SELECT branch FROM branches GROUP BY branch HAVING count(DISTINCT conversation) > 1)"
    )
    yield from database.rows(
        "SELECT DISTINCT 'c' || forks.conversation, coalesce('c' || branches.conversation, 'b' || other) "
        "FROM forks LEFT JOIN branches ON branch = other "
        "WHERE other IS NOT NULL AND branches.conversation IS DISTINCT FROM forks.conversation"
    )
    skipping = [(place, known.before(place)) for place in sorted({one + 1 for one in known.unreadable})]
    database.sql.execute("CREATE OR REPLACE TEMP TABLE skips (place BIGINT, before BIGINT)")
    if skipping:
        database.sql.executemany("INSERT INTO skips VALUES (?, ?)", skipping)
    yield from database.rows(
        "SELECT DISTINCT 'c' || opening.conversation, 'c' || log.conversation "
        "FROM (SELECT forks.*, coalesce(before, forks.place - 1) AS last FROM forks LEFT JOIN skips USING (place) "
        f"WHERE opens) AS opening JOIN {table(files, 'place, conversation, command_id')} AS log "
        "ON log.place = opening.last AND log.command_id = opening.command_id "
        "WHERE log.conversation <> opening.conversation"
    )


class _Joined:
    """What belongs together, by one of each."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}

    def join(self, one: str, other: str) -> None:
        self._of[self._first(one)] = self._first(other)

    def _first(self, one: str) -> str:
        while (above := self._of.setdefault(one, one)) != one:
            self._of[one] = one = self._of[above]
        return one

    def conversations(self, alone: Collection[str]) -> dict[str, int]:
        """Return the conversations that were joined, and those that are alone and yet not apart, by number."""
        for conversation in alone:
            self._first(f"c{conversation}")
        numbers: dict[str, int] = {}
        return {
            one[1:]: numbers.setdefault(self._first(one), len(numbers))
            for one in sorted(self._of)
            if one.startswith("c")
        }
