"""What the log and the keys share: connections to SQLite and PostgreSQL, their settings, and what their errors mean."""
