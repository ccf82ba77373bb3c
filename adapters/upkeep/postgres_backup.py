"""Backups of a PostgreSQL database, by `pg_dump` and `psql`: the rows of the log and the words, and those of the keys.

What can be made from the log again is not in a backup, nor are tables: those that it is restored into are of this
program.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.opening import open_log
from lastresort.adapters.stores.schema import RESTORING, SCHEMA
from lastresort.projections import Report, audit

_LOG = ("stored_events", "contents")
_KEYS = ("lastresort_keys.keys", "lastresort_keys.master")


def dump(url: str, log: Path, keys: Path) -> int:
    """Write the rows of the log, then those of the keys, and return how many events there are.

    Raises:
        StoreError: there is no store, no `pg_dump` that knows the server's version, or it failed.
    """
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        for table in (*_LOG, *_KEYS):
            if _asked(connection, "SELECT to_regclass(%s)", table) is None:
                raise StoreError(f"it has no table {table}: this is no store, or not all of one")
        schema = str(_asked(connection, "SELECT current_schema()"))
        program = _program("pg_dump", connection)
        for tables, path in (([f"{schema}.{name}" for name in _LOG], log), (list(_KEYS), keys)):
            named = [f"--table={table}" for table in tables]
            _run(url, [program, "--data-only", "--no-owner", *named, f"--file={path}"])
    return _events_in(log)


def load(log: Path, keys: Path, url: str, settings: Settings) -> Report:
    """Load rows into a database whose tables are empty, in one transaction, and audit them; take them out on findings.

    Until the audit is done the tables say that a backup is being restored, and nobody can open them as a store.

    Raises:
        StoreError: the tables are not empty, there is no `psql`, or it failed. The tables are left empty.
    """
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        _resumed(connection)
    store = open_log(url, settings)
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            for table in (*_LOG, _KEYS[0]):  # which master key it is for is noted when a store is opened
                if _asked(connection, f"SELECT EXISTS (SELECT 1 FROM {table})"):
                    raise StoreError(f"table {table} is not empty; a backup is restored into an empty place only")
            program = _program("psql", connection)
            _marked(connection, RESTORING)
            report = None
            try:
                _emptied(connection)
                files = [f"--file={path}" for path in (log, keys)]
                options = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
                _run(url, [program, *options, *files])
                report = audit(store.entries())
            finally:
                if report is None or report.findings:
                    _emptied(connection)
                else:
                    store.rebuild_lists()
                _marked(connection, str(SCHEMA))
    finally:
        store.close()
    return report


def _resumed(connection: psycopg.Connection[Any]) -> None:
    """Take away what a restoring that was interrupted left."""
    if _asked(connection, "SELECT to_regclass('meta')") is None:
        return
    if _asked(connection, "SELECT value FROM meta WHERE name = 'schema'") == RESTORING:
        _emptied(connection)
        _marked(connection, str(SCHEMA))


def _emptied(connection: psycopg.Connection[Any]) -> None:
    connection.execute(f"TRUNCATE {', '.join((*_LOG, *_KEYS, 'branches', 'snapshots'))}")


def _marked(connection: psycopg.Connection[Any], version: str) -> None:
    connection.execute("UPDATE meta SET value = %s WHERE name = 'schema'", (version,))


def _asked(connection: psycopg.Connection[Any], statement: str, *params: Any) -> Any:
    row = connection.execute(statement, params).fetchone()
    return row[0] if row else None


def _program(name: str, connection: psycopg.Connection[Any]) -> str:
    """Find a program of PostgreSQL's, on the PATH or beside the server, that is no older than the server."""
    server = connection.info.server_version // 10_000
    beside = None
    with suppress(psycopg.Error):  # not everybody may ask
        beside = _asked(connection, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")
    seen = []
    for path in filter(None, (shutil.which(name), beside and shutil.which(name, path=beside))):
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"(\d+)", said.split(")")[-1])
        if found and int(found[1]) >= server:
            return str(path)
        seen.append(f"{path} ({said.strip() or 'does not run'})")
    raise StoreError(
        f"no {name} of version {server} or later on the PATH or beside the server"
        + (f", only {', '.join(seen)}" if seen else "")
        + f"; install the client programs of PostgreSQL {server}"
    )


def _run(url: str, command: Sequence[str]) -> None:
    """Run a program of PostgreSQL's on a database. A password is handed over where other users cannot see it."""
    at: dict[str, Any] = dict(conninfo_to_dict(url))
    password = at.pop("password", None)
    environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    done = subprocess.run(
        [*command, f"--dbname={make_conninfo(**at)}"], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise StoreError(f"{Path(command[0]).name} failed: {said[0] if said else f'exit status {done.returncode}'}")


def _events_in(path: Path) -> int:
    """Count the rows of the log in a dump: the lines between `COPY ... stored_events` and a backslash with a dot."""
    count, inside = 0, False
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if inside:
                inside = line != "\\.\n"
                count += inside
            elif line.startswith("COPY ") and ".stored_events " in line:
                inside = True
    return count
