"""Tables of an earlier version are brought up to date, and the log stays as it is."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from lastresort import CommandIdReused, Conversations, Page
from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.stores.derived import LISTS
from lastresort.adapters.stores.rows import WRITTEN
from lastresort.adapters.stores.schema import SCHEMA
from lastresort.adapters.upkeep.migration import migrate
from lastresort.projections import audit

from .operations_kit import _apart, checks, in_database, kind, logged, opened, run, said, story, url, wrong
from .stores import abused, done, long, new_url, started, store_of, versions

__all__ = ["_apart", "kind", "url"]


def as_of_version_1(url: str) -> None:
    """Make the tables what they were in version 1: without lists and snapshots."""
    statements = ["DROP TABLE branches", "DROP TABLE snapshots", "UPDATE meta SET value = '1' WHERE name = 'schema'"]
    if url.startswith("sqlite"):
        columns = f"(rowid, {WRITTEN})"
        statements = [
            "ALTER TABLE stored_events RENAME TO later",
            "CREATE TABLE stored_events (rowid INTEGER PRIMARY KEY, originator_id TEXT NOT NULL, originator_version "
            "INTEGER NOT NULL, topic TEXT NOT NULL, state BLOB NOT NULL, digest BLOB, schema_version INTEGER, "
            "recorded_at TEXT, command_id TEXT, nth INTEGER, correlation_id TEXT, "
            "UNIQUE (originator_id, originator_version), UNIQUE (command_id, nth))",
            f"INSERT INTO stored_events {columns} SELECT {columns[1:-1]} FROM later",
            "UPDATE stored_events SET recorded_at = '2026-01-31T12:00:00.000000+00:00'",
            "DROP TABLE later",
            *statements,
        ]
    else:
        arguments = "text, bigint, text, bytea, bytea, int, text, text, int, text, boolean, bytea"
        statements += [
            f"DROP FUNCTION write_event({arguments}, text, bytea)",
            f"CREATE FUNCTION write_event({arguments}) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
        ]
    in_database(url, *statements)


def as_of_version_2(url: str) -> None:
    """Make the tables what they were in version 2: ids of commands are unique in the store."""
    statements = ["UPDATE meta SET value = '2' WHERE name = 'schema'"]
    if url.startswith("sqlite"):
        columns = f"(rowid, {WRITTEN})"
        statements += [
            "DROP INDEX endings_of_branches",
            "DROP INDEX events_of_commands",
            "ALTER TABLE stored_events RENAME TO later",
            "CREATE TABLE stored_events (rowid INTEGER PRIMARY KEY, originator_id TEXT NOT NULL, "
            "originator_version INTEGER NOT NULL, topic TEXT NOT NULL, state BLOB NOT NULL, digest BLOB, "
            "schema_version INTEGER, recorded_at, command_id TEXT, nth INTEGER, correlation_id TEXT, "
            "UNIQUE (originator_id, originator_version), UNIQUE (command_id, nth))",
            f"INSERT INTO stored_events {columns} SELECT {columns[1:-1]} FROM later",
            "DROP TABLE later",
            "CREATE INDEX endings_of_branches ON stored_events (originator_id) WHERE topic = 'ConversationEnded'",
        ]
    else:
        statements += ["DROP INDEX events_of_commands", "ALTER TABLE stored_events ADD UNIQUE (command_id, nth)"]
    in_database(url, *statements)


def test_tables_of_version_2_are_brought_up_to_date(url: str) -> None:
    """In them a command's id was unique in the store: the log stays as it is, and two trees may use one id since."""
    before = logged(url)
    with opened(url) as chats:
        pages, said_before = [chats.page(which) for which in LISTS], said(url)
    as_of_version_2(url)
    with pytest.raises(StoreError, match=r"of version 2, .* run `lastresort migrate URL`"):
        logged(url)
    assert (migrate(url).before, logged(url), said(url), wrong(url)) == (2, before, said_before, set())
    with opened(url) as chats:
        assert [chats.page(which) for which in LISTS] == pages
        for branch in ("new", "newer"):
            done(started(chats, branch).user_turn("Hello.", command_id="k"))
        with pytest.raises(CommandIdReused):
            chats.chat("new").leave(command_id="k")
    assert wrong(url) == set()
    assert "endings_of_branches" in indexes(url)
    assert "events_of_commands" in indexes(url)


def indexes(url: str) -> set[str]:
    """The names of the indexes of a store."""
    query = "SELECT name FROM sqlite_master WHERE type = 'index'"
    if url.startswith("postgresql"):
        with psycopg.connect(url) as connection:
            return {name for (name,) in connection.execute("SELECT indexname FROM pg_indexes").fetchall()}
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        return {name for (name,) in file.execute(query).fetchall()}


def pages_of(chats: Conversations) -> list[Page]:
    """The lists of branches, without times, which `as_of_version_1` does not keep."""
    pages = [chats.page(which) for which in LISTS]
    return [
        page._replace(
            rows=tuple(row.model_copy(update={"first_event_at": "", "ending_recorded_at": None}) for row in page.rows)
        )
        for page in pages
    ]


def test_tables_of_version_1_are_brought_up_to_date(url: str) -> None:
    """The log stays as it is, lists and snapshots are made from it; before that it says what to do."""
    before = [one._replace(recorded_at="") for one in logged(url)]
    with opened(url) as chats:
        pages = pages_of(chats)
    as_of_version_1(url)
    with pytest.raises(StoreError, match=r"of version 1, .* run `lastresort migrate URL`"):
        logged(url)
    assert "migrations" in wrong(url)
    assert "lastresort migrate" in checks(url)["migrations"].todo
    result = run("migrate", url, "--json")
    assert (result.exit_code, json.loads(result.stdout)["before"]) == (0, 1)
    assert [one._replace(recorded_at="") for one in logged(url)] == before
    with opened(url) as chats:
        assert pages_of(chats) == pages
        abused(chats.start(model="m", conversation="new"))
    assert all(one.recorded_at.startswith("2026-01-31T12:") for one in logged(url))
    assert wrong(url) == set()
    assert migrate(url).before == SCHEMA, "to do it again changes nothing"


def test_keys_of_before_the_first_release_are_told(tmp_path: Path) -> None:
    """They were kept by conversation and not by name; the log can be had without them."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        story(chats)
    (tmp_path / "log.db-keys").unlink()
    in_database(f"{url}-keys", "CREATE TABLE keys (conversation TEXT PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID")
    with pytest.raises(StoreError, match="before the first release kept them"):
        said(url)
    (tmp_path / "log.db-keys").unlink()
    with pytest.raises(StoreError, match="which is gone; restore it, with its master key"):
        said(url)
    assert not (tmp_path / "log.db-keys").exists()  # what only looks makes no others in their place
    (tmp_path / "log.db-keys").touch(mode=0o600)
    assert set(map(len, said(url).values())) == {0}


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """A store whose tables cannot be brought up to date is left as it is, and the reason is given."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        started(chats)
    as_of_version_1(url)
    in_database(url, "CREATE TABLE branches (other TEXT)")
    with pytest.raises(StoreError, match="position"):
        migrate(url)
    with pytest.raises(StoreError, match="of version 1"):
        logged(url)
    in_database(url, "DROP TABLE branches")
    assert migrate(url).before == 1
    assert len(logged(url)) == 1


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (f"'{SCHEMA + 1}'", "of version 4, .* later version"),
        ("'x'", "of version x"),
        (None, "its table meta, or the version of the tables that stood in it, is gone"),
    ],
)
def test_tables_that_cannot_be_brought_up_to_date_say_why(url: str, version: str | None, told: str) -> None:
    """Of a later version, of none that there is, or of one that is not known any more."""
    if version is None:
        in_database(url, "DELETE FROM meta WHERE name = 'schema'")
    else:
        in_database(url, f"UPDATE meta SET value = {version} WHERE name = 'schema'")
    for attempt in (migrate, logged):
        with pytest.raises(StoreError, match=told):
            attempt(url)
    assert "migrations" in wrong(url)


def test_a_migration_makes_lists_and_snapshots_again(url: str) -> None:
    """Whatever was wrong with them; the doctor tells before, and nothing after."""
    in_database(
        url,
        "UPDATE branches SET ended = NULL",
        "DELETE FROM branches WHERE branched = 1",
        "INSERT INTO branches VALUES (99, 99, NULL, 0)",
    )
    with opened(url) as chats:
        store_of(chats).replace_snapshots("b", {10: b"of other code, and not one"})
    assert wrong(url) == {"lists", "snapshots"}
    assert migrate(url).snapshots == 0, "a snapshot is due every hundred versions"
    assert wrong(url) == set()
    with opened(url, snapshot_every=10) as chats:
        assert [row.branch for row in chats.page("ended").rows] == ["a", "b2"]
        assert [row.branch for row in chats.page("branched").rows] == ["b", "b2"]
        assert versions(chats, "b") == []
        assert audit(chats.store.entries()).findings == ()


def test_a_migration_writes_the_snapshots_that_are_due(kind: str, request: pytest.FixtureRequest) -> None:
    url = new_url(kind, request)
    with opened(url, snapshot_every=0) as chats:
        long(chats, 110)
        assert versions(chats) == []
    assert migrate(url).snapshots == 2
    with opened(url) as chats:
        assert versions(chats) == [100, 200]
