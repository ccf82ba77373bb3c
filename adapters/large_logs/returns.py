"""Who came back after an ending: the one thing that a report counts and no part tells, since it is of an account."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from lastresort.projections.reports.lines import is_soon

from .plan import Part
from .rows import Database, table

_OF_PART = (
    "SELECT {number} AS part, place, branch, conversation, recorded_at, kind = 'ConversationEnded' AS ends, "
    "ConversationStarted.account FROM {rows} WHERE kind IN ('ConversationStarted', 'ConversationEnded')"
)
_STRANGE = (
    "SELECT (SELECT count(*) FROM begun WHERE branch <> conversation) + "
    "(SELECT count(*) FROM (SELECT branch FROM begun GROUP BY branch HAVING count(*) > 1))"
)
_PAIRS = (
    "SELECT ended.part, ended.place, ended.recorded_at, begun.recorded_at FROM begun ASOF JOIN ended "
    "ON begun.account = ended.account AND begun.place > ended.place"
)


def came_back(database: Database, parts: Sequence[Part]) -> Mapping[str, frozenset[int]] | None:
    """Return of each part the places of the endings after which the account began a conversation soon.

    Of the endings of an account that is the last one before the conversation. What is asked is that each conversation
    begins once, on the branch of its name: None if one does not, or a time cannot be read.
    """
    rows = " UNION ALL ".join(
        _OF_PART.format(number=number, rows=table(part.files)) for number, part in enumerate(parts)
    )
    database.sql.execute(f"CREATE OR REPLACE TEMP TABLE lives AS {rows}")
    database.sql.execute("CREATE OR REPLACE TEMP VIEW begun AS FROM lives WHERE NOT ends")
    ((strange,),) = database.rows(_STRANGE)
    if strange:
        return None
    database.sql.execute(
        "CREATE OR REPLACE TEMP TABLE ended AS SELECT lives.part, lives.place, lives.recorded_at, begun.account "
        "FROM lives JOIN begun USING (conversation) WHERE lives.ends AND begun.account IS NOT NULL"
    )
    found: dict[str, set[int]] = defaultdict(set)
    try:
        for part, place, ended_at, began_at in database.rows(_PAIRS):
            if is_soon(began_at, ended_at):
                found[parts[part].name].add(place)
    except ValueError:
        return None
    return {part.name: frozenset(found[part.name]) for part in parts}
