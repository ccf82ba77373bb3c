"""What an operator does: look at a store, bring it up to date, back it up, restore it; with real files and servers."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from stores import DURABLE_STORES, USER, abused, counting, done, ended, ended_on_request, new_url, started, thanked
from stores import opened as opened_with
from test_snapshots import lie_about, long, versions

from lastresort.adapters.console.cli import main
from lastresort.adapters.engines.keys import VARIABLE
from lastresort.adapters.engines.recorders import SCHEMA, WRITTEN, StoreError
from lastresort.adapters.upkeep import backup as backups
from lastresort.adapters.upkeep import doctor as looks
from lastresort.adapters.upkeep.backup import backup, restore
from lastresort.adapters.upkeep.doctor import Check, examine
from lastresort.adapters.upkeep.migration import migrate
from lastresort.domain import Conversations
from lastresort.domain.events import content_of
from lastresort.projections import audit, views

_sessions = count(1)


def opened(url: str, **options: Any) -> AbstractContextManager[Conversations]:
    """Open a store with ids that nobody has used, however often it is opened."""
    return opened_with(url, **{"new_id": counting(f"session-{next(_sessions)}-"), **options})


@pytest.fixture(params=DURABLE_STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def another(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Returns the URL of an empty place that a backup can be restored into, with the master key of the first store."""
    count = iter(range(1, 100))

    def url() -> str:
        if kind == "postgresql":
            return new_url(kind, request)
        folder = tmp_path / f"place-{next(count)}"
        folder.mkdir()
        if (tmp_path / "log.db-master").exists():
            shutil.copy(tmp_path / "log.db-master", folder / "log.db-master")
        return f"sqlite:///{folder}/log.db"

    return url


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest) -> str:
    """A store in which several things have happened."""
    found = new_url(kind, request)
    with opened(found, snapshot_every=10) as chats:
        story(chats)
    return found


def story(chats: Conversations) -> None:
    ended(started(chats, "a"))
    chat = long(chats, 15, "b")
    other = chat.edit(10, "Instead.", child="b2")
    assert other
    ended_on_request(chats.chat("b2"))
    erased = started(chats, "gone")
    thanked(erased)
    done(erased.erase(2))


def said(url: str) -> dict[str, dict[str, str]]:
    """All words that can be read in a store, by branch."""
    with opened(url) as chats:
        branches = [row.branch for row in views(chats.store.log()).all]
        return {branch: chats.words(chats.path(branch)) for branch in branches}


def logged(url: str) -> list[Any]:
    with opened(url) as chats:
        return list(chats.store.log())


def turns(url: str, *, before: bool = False) -> set[str]:
    """The digests of what was said: all of it, or what `story` says."""
    told = {
        digest for one in logged(url) if (digest := content_of(one.event)) and (not before or one.branch[:2] != "w-")
    }
    assert told
    return told


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def in_database(url: str, *statements: str) -> None:
    """Change a store behind the program's back."""
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite:///"))
        for statement in statements:
            file.execute(statement)
        file.commit()
        file.close()
        return
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


def checks(url: str) -> dict[str, Check]:
    """What the doctor finds; of two of one name that which is wrong."""
    return {check.name: check for check in sorted(examine(url), key=lambda check: not check.ok)}


def wrong(url: str) -> set[str]:
    return {check.name for check in examine(url) if not check.ok} - {"engine"}  # which is as it is on this machine


# --- Backups ---------------------------------------------------------------------------------------------------------


def test_a_backup_is_restored_as_it_was(url: str, another: Callable[[], str], tmp_path: Path) -> None:
    """The log, the words and the lists; what was erased stays erased."""
    before = said(url)
    assert sum(map(len, before.values())) > 30
    made = backup(url, tmp_path / "backup")
    assert made.events == len(logged(url))
    place = another()
    report = restore(tmp_path / "backup", place)
    assert (report.findings, report.events) == ((), made.events)
    assert logged(place) == logged(url)
    assert said(place) == before
    with opened(place) as chats, opened(url) as original:
        for which in ("active", "ended", "branched"):
            assert chats.page(which) == original.page(which)
        done(chats.chat("b").user_turn("It goes on."))
    assert wrong(place) == set()


def test_files_of_a_backup_are_its_owners_alone(url: str, tmp_path: Path) -> None:
    """And there are two, so that one can be kept apart from the other."""
    backup(url, tmp_path / "backup")
    files = sorted(path.name for path in tmp_path.iterdir() if "backup" in path.name)
    assert files == ["backup", "backup-keys"]
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in files} == {0o600}


def test_a_backup_while_others_write_is_of_one_moment(url: str, another: Callable[[], str], tmp_path: Path) -> None:
    """Whole turns, lawful, and with a key for each word."""
    stop = threading.Event()

    def write() -> None:
        with opened(url) as chats:
            number = 0
            while not stop.is_set():
                number += 1
                chat = started(chats, f"w-{number}")
                thanked(chat)
                done(chat.assistant_turn("You are welcome."))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [backup(url, tmp_path / f"backup-{number}") for number in range(3)]
    finally:
        stop.set()
        writer.join()
    assert made[0].events < made[-1].events, "or else nobody wrote meanwhile"
    for number in range(3):
        place = another()
        report = restore(tmp_path / f"backup-{number}", place)
        assert report.findings == ()
        assert logged(place) == logged(url)[: made[number].events]
        words = {digest for of_branch in said(place).values() for digest in of_branch}
        assert turns(place) - turns(url, before=True) <= words, "words were copied and not their key"


def test_what_is_erased_after_a_backup_comes_back_with_its_keys_only(
    url: str, another: Callable[[], str], tmp_path: Path
) -> None:
    """A backup of the log is no copy of the words of a conversation whose key is destroyed everywhere."""
    backup(url, tmp_path / "old")
    with opened(url) as chats:
        chats.erase_conversation("b", by=USER, cause="user_request", command_id="erase")
    backup(url, tmp_path / "new")
    place = another()
    restore(tmp_path / "old", place)
    assert said(place)["b"], "the old keys open what was erased since: they must go too"
    shutil.copy(tmp_path / "new-keys", tmp_path / "old-keys")
    place = another()
    assert restore(tmp_path / "old", place).findings == ()
    assert said(place)["b"] == {}
    assert said(place)["a"]


def test_nothing_is_overwritten(url: str, another: Callable[[], str], tmp_path: Path) -> None:
    """Neither a file by a backup, nor a store by a restoring."""
    backup(url, tmp_path / "backup")
    before = (tmp_path / "backup").read_bytes()
    with pytest.raises(StoreError, match="exists"):
        backup(url, tmp_path / "backup")
    (tmp_path / "other-keys").write_text("mine")
    with pytest.raises(StoreError, match="other-keys exists"):
        backup(url, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert (tmp_path / "backup").read_bytes() == before
    log = logged(url)
    with pytest.raises(StoreError, match="empty place only"):
        restore(tmp_path / "backup", url)
    assert logged(url) == log


def test_a_backup_with_findings_is_not_restored(url: str, another: Callable[[], str], tmp_path: Path) -> None:
    """It is all or nothing, and can be done again into the same place."""
    in_database(url, "DELETE FROM stored_events WHERE originator_id = 'b' AND originator_version = 5")
    backup(url, tmp_path / "bad")
    place = another()
    report = restore(tmp_path / "bad", place)
    assert report.findings
    if place.startswith("sqlite"):
        assert [path.name for path in Path(place.removeprefix("sqlite:///")).parent.iterdir()] == ["log.db-master"]
    else:
        assert logged(place) == []
    result = run("restore", tmp_path / "bad", "--store", place)
    assert result.exit_code == 1
    assert "Nothing was restored." in result.output


@pytest.mark.parametrize("damage", ["cut", "nothing", "not there"])
def test_a_damaged_backup_is_refused(url: str, another: Callable[[], str], tmp_path: Path, damage: str) -> None:
    """And leaves the place empty, so that another can be restored into it."""
    backup(url, tmp_path / "backup")
    file = tmp_path / "backup"
    good = file.read_bytes()
    if damage == "not there":
        file.unlink()
    else:
        file.write_bytes(good[: len(good) // 2] if damage == "cut" else b"not a backup at all\n" * 500)
    place = another()
    result = run("restore", file, "--store", place)
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    file.write_bytes(good)
    assert restore(file, place).findings == ()
    assert logged(place) == logged(url)


def test_a_restoring_that_is_killed_leaves_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it had written by then; and it can be done again."""
    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        story(chats)
    backup(f"sqlite:///{tmp_path}/log.db", tmp_path / "backup")
    place = tmp_path / "place.db"

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(backups, "audit", killed)
    with pytest.raises(KeyboardInterrupt):
        restore(tmp_path / "backup", f"sqlite:///{place}")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("place", ".place"))]
    monkeypatch.undo()
    assert restore(tmp_path / "backup", f"sqlite:///{place}").findings == ()


def test_an_interrupted_restoring_is_no_store_of_postgresql(
    postgresql: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables say so until it is done again."""
    from lastresort.adapters.upkeep import postgres_backup

    url, place = postgresql(), postgresql()
    with opened(url) as chats:
        story(chats)
    backup(url, tmp_path / "backup")

    def killed(*_: Any) -> Any:
        os._exit(9)

    pid = os.fork()
    if pid == 0:  # pragma: no cover  # the child is killed
        monkeypatch.setattr(postgres_backup, "audit", killed)
        with suppress(BaseException):
            restore(tmp_path / "backup", place)
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 9, "it came to the audit, and was killed there"
    with pytest.raises(StoreError, match="did not come to its end; restore it again"):
        logged(place)
    assert restore(tmp_path / "backup", place).findings == ()
    assert logged(place) == logged(url)


def test_a_backup_needs_a_program_of_the_servers_version(
    postgresql: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is none it says which, and leaves no file; the server's own programs are found where it runs."""
    from lastresort.adapters.upkeep import postgres_backup

    url = postgresql()
    with opened(url) as chats:
        started(chats)
    monkeypatch.setenv("PATH", str(tmp_path))
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.1'\n")
    old.chmod(0o755)
    assert backup(url, tmp_path / "fine").events == 1
    asked = postgres_backup._asked
    monkeypatch.setattr(
        postgres_backup,
        "_asked",
        lambda c, statement, *p: None if "pg_config" in statement else asked(c, statement, *p),
    )
    with pytest.raises(StoreError, match=r"no pg_dump of version \d+ or later .* only .*9\.6\.1"):
        backup(url, tmp_path / "not")
    old.unlink()
    with pytest.raises(StoreError, match=r"no pg_dump of version .* install the client programs"):
        backup(url, tmp_path / "not")
    assert not list(tmp_path.glob("*not*"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["backup", "memory:", "{tmp}/b"], "memory: is gone"),
        (["backup", "sqlite:///{tmp}/none.db", "{tmp}/b"], "no store at"),
        (["backup", "sqlite:///{tmp}/log.db", "{tmp}/no/b"], "no folder"),
        (["backup", "mysql://x", "{tmp}/b"], "not the URL of a store"),
        (["restore", "{tmp}/none", "--store", "sqlite:///{tmp}/new.db"], "no backup at"),
        (["restore", "{tmp}/log.db", "--store", "memory:"], "memory: is gone"),
        (["restore", "{tmp}/log.db", "--store", "sqlite:///{tmp}/no/new.db"], "no folder"),
        (["doctor", "memory:"], "memory: holds nothing"),
        (["doctor", "sqlite:///{tmp}/none.db"], "no store at"),
        (["doctor", "sqlite:///{tmp}/empty.db"], "no log"),
        (["doctor", "postgresql://localhost:1/none"], "cannot be read"),
        (["migrate", "sqlite:///{tmp}/none.db"], "no store at"),
        (["migrate", "memory:"], "memory: holds nothing"),
        (["migrate", "sqlite:///{tmp}/empty.db"], "no tables"),
    ],
)
def test_what_cannot_be_done_is_said_on_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    """With exit status 2, and no file is made for it."""
    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        started(chats)
    (tmp_path / "empty.db").touch()
    before = sorted(path.name for path in tmp_path.iterdir())
    result = run(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert told in result.output
    assert result.output.count("\n") <= 2
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("log.db-")) == sorted(
        name for name in before if not name.startswith("log.db-")
    )


# --- Migrations ------------------------------------------------------------------------------------------------------


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


def test_tables_of_version_1_are_brought_up_to_date(url: str) -> None:
    """The log stays as it is, lists and snapshots are made from it; before that it says what to do."""
    before = [one._replace(recorded_at="") for one in logged(url)]
    with opened(url) as chats:
        pages = [chats.page(which) for which in ("active", "ended", "branched")]
    as_of_version_1(url)
    with pytest.raises(StoreError, match=r"of version 1, .* run `lastresort migrate URL`"):
        logged(url)
    assert "migrations" in wrong(url)
    assert "lastresort migrate" in checks(url)["migrations"].todo
    result = run("migrate", url, "--json")
    assert (result.exit_code, json.loads(result.stdout)["before"]) == (0, 1)
    assert [one._replace(recorded_at="") for one in logged(url)] == before
    with opened(url) as chats:
        assert [chats.page(which) for which in ("active", "ended", "branched")] == pages
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
        (f"'{SCHEMA + 1}'", "of version 3, .* later version"),
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


def test_a_migration_makes_lists_and_snapshots_anew(url: str) -> None:
    """Whatever was wrong with them; the doctor tells before, and nothing after."""
    in_database(
        url,
        "UPDATE branches SET ended = NULL",
        "DELETE FROM branches WHERE branched = 1",
        "INSERT INTO branches VALUES (99, 99, NULL, 0)",
    )
    with opened(url) as chats:
        chats.store.recorder.replace_snapshots("b", {10: b"of other code, and not one"})
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


# --- The doctor ------------------------------------------------------------------------------------------------------


def test_a_store_that_is_well_has_no_finding(url: str) -> None:
    """But for the engine of the machine that this runs on."""
    assert wrong(url) == set()
    names = set(checks(url))
    assert {"engine", "durability", "keys", "free space", "migrations", "clock", "last audit", "lists"} <= names
    assert all(check.todo for check in examine(url) if not check.ok)


def test_it_changes_nothing(tmp_path: Path) -> None:
    """Not even in a store without its keys, where opening it would make new ones."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        story(chats)
    for name in ("log.db-keys", "log.db-master"):
        (tmp_path / name).unlink()
    before = (tmp_path / "log.db").read_bytes()
    assert {"keys"} <= wrong(url)
    assert (tmp_path / "log.db").read_bytes() == before
    assert not (tmp_path / "log.db-keys").exists()
    assert not (tmp_path / "log.db-master").exists()


@pytest.mark.parametrize(
    ("version", "well"),
    [
        ((3, 6, 23), True),
        ((3, 7, 0), False),
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 0), True),
    ],
)
def test_versions_of_sqlite_with_the_bug_are_known(version: tuple[int, ...], well: bool) -> None:
    check = looks.engine(version)
    assert check.ok is well
    assert bool(check.todo) is not well


def test_versions_of_postgresql_with_a_bug_are_known() -> None:
    from lastresort.adapters.upkeep.postgres_doctor import engine

    known = [(120_022, False), (130_014, True), (140_003, False), (140_004, True), (180_000, True)]
    assert [engine(number, "x").ok for number, _ in known] == [well for _, well in known]


def test_keys_that_others_can_read_are_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        started(chats)
    for name, what in (("log.db-keys", "keys"), ("log.db-master", "master key")):
        (tmp_path / name).chmod(0o640)
        assert wrong(url) == {what}
        assert checks(url)[what].todo == f"chmod 600 {tmp_path / name}"
        (tmp_path / name).chmod(0o600)
    assert wrong(url) == set()


def test_keys_that_every_role_may_use_are_found(postgresql: Callable[[], str]) -> None:
    url = postgresql()
    with opened(url) as chats:
        started(chats)
    in_database(url, "GRANT USAGE ON SCHEMA lastresort_keys TO PUBLIC")
    assert wrong(url) == {"keys"}
    assert "REVOKE" in checks(url)["keys"].todo
    in_database(url, "DROP SCHEMA lastresort_keys CASCADE")
    assert wrong(url) == {"keys"}


def test_a_server_that_may_lose_turns_is_found(postgresql: Callable[[], str]) -> None:
    url = postgresql()
    with opened(url) as chats:
        started(chats)
    name = url.split("?")[0].rsplit("/", 1)[1]
    in_database(url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert wrong(url) == {"durability"}
    assert "synchronous_commit=off" in checks(url)["durability"].todo


def test_settings_that_may_lose_turns_are_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        started(chats)
    assert wrong(f"{url}?synchronous=NORMAL") == {"durability"}
    file = sqlite3.connect(tmp_path / "log.db")
    file.execute("PRAGMA journal_mode=DELETE")
    file.close()
    assert wrong(url) == {"durability"}


def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    """Where a page of it was overwritten."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        story(chats)
    file = sqlite3.connect(tmp_path / "log.db")
    ((page,),) = file.execute("SELECT rootpage FROM sqlite_master WHERE name = 'contents'").fetchall()
    ((size,),) = file.execute("PRAGMA page_size").fetchall()
    file.close()
    data = bytearray((tmp_path / "log.db").read_bytes())
    data[(page - 1) * size : page * size] = os.urandom(size)
    (tmp_path / "log.db").write_bytes(data)
    assert "integrity" in wrong(url)
    with pytest.raises(StoreError, match=r"damaged|whole database"):
        backup(url, tmp_path / "backup")
    assert not list(tmp_path.glob("*backup*"))


def test_events_of_the_future_are_found(url: str) -> None:
    """An hour is, a few seconds are not."""
    for ahead, found in ((timedelta(seconds=5), set()), (timedelta(hours=1), {"clock"})):
        with opened(url, clock=lambda by=ahead: datetime.now(UTC) + by) as chats:
            done(chats.chat("b").leave())
        assert wrong(url) == found


def test_the_last_audit_is_known(url: str) -> None:
    """When it was, and what came of it."""
    assert "never" in checks(url)["last audit"].found
    assert run("audit", url).exit_code == 0
    with opened(url) as chats:
        events = len(list(chats.store.log()))
    assert f"{events} events, 0 findings" in checks(url)["last audit"].found
    in_database(url, "DELETE FROM stored_events WHERE originator_id = 'b' AND originator_version = 5")
    assert run("audit", url).exit_code == 1
    assert "last audit" in wrong(url)


def test_an_audit_finds_a_snapshot_that_lies(url: str) -> None:
    """Of a branch as it stands now, and in the middle of one, where a fork would read it."""
    with opened(url, snapshot_every=10) as chats:
        chats.store.recorder.replace_snapshots("c", {})
        long(chats, 15, "c")
        assert run("audit", url).exit_code == 0
        lie_about(chats, 20, model="another")
        long(chats, 15, "d")
    result = run("audit", url, "--json")
    found = json.loads(result.stdout)["findings"]
    assert result.exit_code == 1
    assert ("c", 20, ["structure-state"]) in [(one["branch"], one["version"], one["rules"]) for one in found]
    assert any("the snapshot at this version" in one["detail"] for one in found)
    assert run("migrate", url).exit_code == 0
    assert run("audit", url).exit_code == 0


def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operating system says is compared with what a copy would take."""
    path = tmp_path / "log.db"
    path.write_bytes(b"x")
    assert looks.space(path).ok
    monkeypatch.setattr(looks, "_LEAST_FREE", shutil.disk_usage(tmp_path).total * 2)
    check = looks.space(path)
    assert not check.ok
    assert "make room" in check.todo


def test_a_write_ahead_log_that_only_grows_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that stays in its transaction keeps it from being checkpointed."""
    url = f"sqlite:///{tmp_path}/log.db"
    monkeypatch.setattr(looks, "_MOST_WAL", 20_000)
    with opened(url) as chats:
        started(chats)
        reader = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM stored_events").fetchall()
        long(chats, 20, "d")
        assert "write-ahead log" in wrong(url)
        reader.close()


def test_the_doctor_tells_people_and_programs(url: str) -> None:
    """And says by its exit status whether there is something to do."""
    found = examine(url)
    result = run("doctor", url, "--json")
    told = json.loads(result.stdout)
    assert [check["name"] for check in told["checks"]] == [check.name for check in found]
    assert told["findings"] == sum(not check.ok for check in found)
    assert result.exit_code == (1 if told["findings"] else 0)
    shown = run("doctor", url)
    assert shown.exit_code == result.exit_code
    assert all(check.name in shown.output for check in found)


# --- Lists on the command line ---------------------------------------------------------------------------------------


def test_views_can_be_had_page_by_page(url: str) -> None:
    """Each with where to go on, for people and for programs."""
    first = json.loads(run("views", "ended", "--limit", "1", "--store", url, "--json").stdout)
    assert [row["branch"] for row in first["ended"]] == ["a"]
    row = first["ended"][0]
    assert {"branch", "conversation", "version", "ground", "category", "policy", "policy_name", "evidence"} <= set(row)
    rest = json.loads(run("views", "ended", "--after", str(first["after"]), "--store", url, "--json").stdout)
    assert ([row["branch"] for row in rest["ended"]], rest["after"]) == (["b2"], None)
    whole = json.loads(run("views", "ended", "--store", url, "--json").stdout)["ended"]
    for shown, rebuilt in zip(first["ended"] + rest["ended"], whole, strict=True):
        assert shown == {name: rebuilt[name] for name in shown}
    people = run("views", "ended", "--limit", "1", "--store", url).output
    assert f"more: --after {first['after']}" in people
    assert "that is all" in run("views", "branched", "--limit", "9", "--store", url).output
    refused = run("views", "--limit", "1", "--store", url)
    assert (refused.exit_code, "say active, ended or branched" in refused.output) == (2, True)


# --- Start-up --------------------------------------------------------------------------------------------------------


def test_help_imports_nothing_that_only_the_commands_need() -> None:
    """So that it comes at once."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom lastresort.adapters.console.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print([name for name in sys.modules if 'upkeep.' in name and 'adapters.upkeep' in name or name in "
        "('psycopg_pool', 'rich.progress', 'lastresort.projections.audit')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "upkeep" not in found


@pytest.fixture(autouse=True)
def _apart(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An SQLite store has a master key of its own; and no draft is left behind, whatever happened."""
    if "postgresql" not in (*request.fixturenames, "kind" in request.fixturenames and request.getfixturevalue("kind")):
        monkeypatch.delenv(VARIABLE, raising=False)
    yield
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
