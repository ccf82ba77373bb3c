"""Which branch of a conversation somebody last looked at. It can be lost without loss."""

from lastresort.adapters.followers.tables import Tables

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}service_selected (who TEXT NOT NULL, conversation TEXT NOT NULL, "
    "branch TEXT NOT NULL, PRIMARY KEY (who, conversation))",
)


def select(tables: Tables, who: str, conversation: str, branch: str) -> None:
    """Remember what somebody looks at."""
    with tables.transaction("service") as writing:
        writing.write(
            "INSERT INTO {schema}service_selected VALUES (%s, %s, %s) "
            "ON CONFLICT (who, conversation) DO UPDATE SET branch = excluded.branch",
            [(who, conversation, branch)],
        )


def selected(tables: Tables, who: str, conversation: str) -> str | None:
    """Return what somebody last looked at."""
    statement = "SELECT branch FROM {schema}service_selected WHERE who = %s AND conversation = %s"
    rows = tables.rows(statement, who, conversation)
    return rows[0]["branch"] if rows else None
