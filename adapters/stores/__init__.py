"""The log, kept in memory, in SQLite, in PostgreSQL. `lastresort.open_conversations` opens one by its URL."""

from lastresort.adapters import needs

needs(__name__, "store", "eventsourcing")
