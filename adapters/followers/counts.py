"""How many conversations have each value of what they are found by: kept with the directory, so that nobody counts.

    directory_counts  a column of the directory or the name of a fact, a value of it, and how many have that

The follower that writes the directory adds and takes away in the same transaction what its rows and facts gain and
lose. So the numbers are those of the rows, however often it is killed.
"""

from collections import Counter
from collections.abc import Mapping

from .tables import Tables, Transaction

TABLE = "directory_counts"
STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}directory_counts (fact TEXT NOT NULL, value TEXT NOT NULL, "
    "n BIGINT NOT NULL, PRIMARY KEY (fact, value))",
)

Changes = Counter[tuple[str, str]]
"""By how many more conversations have a value of a fact."""


def write(transaction: Transaction, changes: Changes) -> None:
    """Add what has changed."""
    transaction.write(
        "INSERT INTO {schema}directory_counts AS known VALUES (%s, %s, %s) "
        "ON CONFLICT (fact, value) DO UPDATE SET n = known.n + excluded.n",
        [(*which, by) for which, by in sorted(changes.items()) if by],
    )


def read(tables: Tables) -> Mapping[str, Mapping[str, int]]:
    """Return how many conversations have each value of each fact, the most common first."""
    found: dict[str, dict[str, int]] = {}
    statement = "SELECT fact, value, n FROM {schema}directory_counts WHERE n > 0 ORDER BY fact, n DESC, value"
    for row in tables.rows(statement):
        found.setdefault(row["fact"], {})[row["value"]] = row["n"]
    return found


def of(tables: Tables, fact: str, value: str) -> int:
    """Return how many conversations have a value of a fact."""
    rows = tables.rows("SELECT n FROM {schema}directory_counts WHERE fact = %s AND value = %s", fact, value)
    return rows[0]["n"] if rows else 0
