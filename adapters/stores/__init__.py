"""The log, kept in memory, in SQLite, in PostgreSQL. `lastresort.open_conversations` opens one by its URL."""
