"""What `doctor` looks at in PostgreSQL."""

import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from lastresort.adapters.databases.postgres import address_of, code_in
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.opening import MASTER_KEY_VARIABLE
from lastresort.adapters.stores.postgres import open_postgres
from lastresort.adapters.stores.postgres_tables import has_another_function

from .checks import CHANGING, LEEWAY, LOG, Check, changing, of_a_store, of_tables, space

_PATIENCE = 5.0  # seconds that a server may keep silent
_OF_FAILOVER = ("wal_log_hints", "data_checksums", "wal_sender_timeout")
_MUST_BE_ON = ("fsync", "full_page_writes", "synchronous_commit")


def of_postgres(url: str, settings: Settings) -> Iterator[Check]:
    """Examine the store in a database."""
    with psycopg.connect(**address_of(url, _PATIENCE), autocommit=True) as connection:

        def ask(statement: str) -> Any:
            row = connection.execute(statement).fetchone()
            return row[0] if row else None

        yield engine(int(ask("SHOW server_version_num")), str(ask("SHOW server_version")))
        yield _durability({name: str(ask(f"SHOW {name}")) for name in (*_MUST_BE_ON, "data_checksums")})
        replicas = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
        yield (heard := standbys(str(ask("SHOW synchronous_standby_names")), [state for (state,) in replicas]))
        if replicas or ask("SELECT pg_is_in_recovery()"):
            settings_there = {name: str(ask(f"SHOW {name}")) for name in _OF_FAILOVER}
            yield failover(settings_there, bool(ask("SELECT pg_is_in_recovery()")), hosts_of(url))
        yield _space(connection)
        yield _keys(connection)
        yield (code := _code(connection))
        if not code.ok:
            return  # as such a store is not opened
        if ask("SELECT to_regclass('lastresort_keys.master')") is not None:
            yield from changing(ask(CHANGING.format(master="lastresort_keys.master")))
        if ask("SELECT to_regclass('lastresort_keys.keys')") is not None:
            yield _annotations(ask("SELECT to_regclass('lastresort_keys.annotations')") is not None)
        if MASTER_KEY_VARIABLE not in os.environ:
            yield Check("master key", False, f"{MASTER_KEY_VARIABLE} is not set", "pass `master_key`, or set it")
        yield _clock(ask("SELECT now()"))
        named = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
        tables = of_a_store(
            {name for (name,) in named},
            lambda query: connection.execute(query.format(schema="", events=LOG)).fetchone(),
        )
    if not heard.ok:
        return  # what is in the log is not known to last, and nobody is shown it
    yield from of_tables(tables, lambda: open_postgres(url, settings))


def engine(number: int, text: str) -> Check:
    """Look for bugs that are known to corrupt a database: 14.0 to 14.3 corrupted indexes that were built concurrently.

    Source: postgresql.org, the release notes of 14.4.
    """
    if 140_000 <= number < 140_004:
        found = f"PostgreSQL {text}: indexes that were built concurrently may be corrupt"
        return Check("engine", False, found, "update to 14.4 or later, and REINDEX")
    if number < 130_000:
        return Check("engine", False, f"PostgreSQL {text} gets no more fixes", "update to a version that does")
    return Check("engine", True, f"PostgreSQL {text}, without a known bug that corrupts")


def _durability(settings: dict[str, str]) -> Check:
    lax = [f"{name}={settings[name]}" for name in _MUST_BE_ON if settings[name] in ("off", "local", "remote_write")]
    told = ", ".join(f"{name}={value}" for name, value in settings.items())
    if lax:
        return Check("durability", False, told, f"turn on what is not: {', '.join(lax)}; committed turns may be lost")
    return Check("durability", True, told)


def standbys(names: str, states: Sequence[str | None]) -> Check:
    """Count the standbys that a commit waits for, those that may take the place of one of them included.

    Args:
        names: the setting `synchronous_standby_names`.
        states: the `sync_state` of each that is connected; null where this role may not see it.
    """
    if not names.strip():
        found = "no synchronous one: what is acknowledged is on the server's disk alone"
        return Check("standbys", True, found)
    needed, there = standbys_needed(names), len([state for state in states if state != "async"])
    told = f"synchronous_standby_names={names}: each commit waits for {needed}"
    if None in states:
        return Check("standbys", True, f"{told}; which are there, only a role sees that has pg_read_all_stats")
    if there < needed:
        found = f"{told}, and {there} can be reached: nothing is acknowledged"
        return Check("standbys", False, found, "start the standbys, or see why they do not connect")
    one_less = ": if one of them stops, so does every commit" if there == needed else ""
    return Check("standbys", True, f"{told}, and {there} can be reached{one_less}")


def failover(settings: dict[str, str], is_standby: bool, hosts: int) -> Check:
    """Look at what a standby needs to take over, and the former primary to follow it then.

    Args:
        settings: those of `_OF_FAILOVER`.
        is_standby: whether the server that was asked is one.
        hosts: how many the URL names.
    """
    told = ", ".join(f"{name}={value}" for name, value in settings.items())
    if is_standby:
        todo = "name every node in the URL, with commas between them: the one that can be written to is found"
        return Check("failover", False, "this server is a standby: it may be behind, and takes no turn", todo)
    if settings["wal_log_hints"] == settings["data_checksums"] == "off":
        todo = "turn on wal_log_hints, or data checksums"
        return Check("failover", False, f"{told}: pg_rewind cannot have a former primary follow", todo)
    if settings["wal_sender_timeout"] == "0":
        todo = "set wal_sender_timeout, to 10s say"
        return Check("failover", False, f"{told}: a standby that is silent counts as one for ever", todo)
    one = "; the URL names one host: if that is lost, and is no proxy, name every node in it" if hosts == 1 else ""
    return Check("failover", True, told + one)


def hosts_of(url: str) -> int:
    """Return how many hosts a URL names."""
    at = address_of(url, _PATIENCE)
    return max(len(str(at.get(name, "")).split(",")) for name in ("host", "hostaddr"))


def standbys_needed(names: str) -> int:
    """Return how many standbys a commit waits for: `ANY 2 (a, b, c)` and `2 (a, b)` say so, and `a, b` means one."""
    counted = re.match(r"\s*(?:(?:FIRST|ANY)\s+)?(\d+)\s*\(", names, re.IGNORECASE)
    return int(counted[1]) if counted else 1


def _space(connection: psycopg.Connection[Any]) -> Check:
    """Ask where the data is, which only some may ask, and look there if it is on this machine."""
    try:
        row = connection.execute("SELECT setting FROM pg_settings WHERE name = 'data_directory'").fetchone()
        folder = Path(row[0]) if row else None
        if folder is not None and (folder / "PG_VERSION").exists():
            return space(folder / "PG_VERSION")
    except (psycopg.Error, OSError):
        pass
    return Check("free space", True, "the server's disk cannot be seen from here; watch it there")


def _keys(connection: psycopg.Connection[Any]) -> Check:
    row = connection.execute(
        "SELECT has_schema_privilege('public', oid, 'USAGE') FROM pg_namespace WHERE nspname = 'lastresort_keys'"
    ).fetchone()
    if row is None:
        return Check("keys", False, "no schema lastresort_keys: no words can be read", "restore the keys from a backup")
    if row[0]:
        todo = "REVOKE ALL ON SCHEMA lastresort_keys FROM PUBLIC"
        return Check("keys", False, "every role may use the schema lastresort_keys", todo)
    return Check("keys", True, "the schema lastresort_keys is not open to every role")


def _annotations(made: bool) -> Check:
    if made:
        return Check("annotations", True, "titles, tags and pseudonyms are kept beside the keys")
    todo = "run `lastresort migrate URL` as the owner of the schema lastresort_keys, which makes it"
    return Check("annotations", False, "no table for titles, tags and pseudonyms: none can be set", todo)


def _code(connection: psycopg.Connection[Any]) -> Check:
    """Look for what runs as the tables of the log, the words, the keys and the views are written or read."""
    code = [*code_in(connection), *["function"] * has_another_function(connection)]
    if code:
        kinds = ", ".join(sorted(set(code)))
        found = f"code on its tables that this program did not make ({kinds}): what it did is not known"
        return Check(
            "planted code", False, found, "keep a copy, see what it did (`\\d+ stored_events`), restore a backup"
        )
    return Check("planted code", True, "nothing runs as the tables of log, words, keys and views are used")


def _clock(there: datetime) -> Check:
    apart = abs(datetime.now(UTC) - there)
    if apart > LEEWAY:
        found = f"this machine and the server are {apart.total_seconds():,.0f} s apart"
        return Check("server's clock", False, found, "set the clocks, by NTP say")
    return Check("server's clock", True, f"{apart.total_seconds():.1f} s apart from this machine's")
