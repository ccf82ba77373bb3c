"""What the log and the keys share: connections to SQLite and PostgreSQL, their settings, and what their errors mean."""

from lastresort.adapters import needs

needs(__name__, "store", "eventsourcing")
