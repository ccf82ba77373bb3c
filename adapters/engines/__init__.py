"""Where the log and the keys are kept: in memory, in SQLite, in PostgreSQL. Open them by `store.open_store`."""
