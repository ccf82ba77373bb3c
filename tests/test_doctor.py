"""The doctor finds what is wrong with a store, says what to do, and changes nothing."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.human_queue import HumanQueue
from lastresort.adapters.opening import open_store
from lastresort.adapters.turns.assessor import Case
from lastresort.adapters.upkeep import checks as common
from lastresort.adapters.upkeep import doctor as looks
from lastresort.adapters.upkeep.backup import backup
from lastresort.adapters.upkeep.doctor import examine

from .operations_kit import _apart, checks, in_database, kind, opened, run, story, url, wrong
from .stores import done, lie_about, long, started, store_of

__all__ = ["_apart", "kind", "url"]


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
    assert ("whether the store is whole is said under integrity" in check.found) is not well
    assert ("accept it: --allow engine" in check.todo) is not well


def test_versions_of_postgresql_with_a_bug_are_known() -> None:
    from lastresort.adapters.upkeep.postgres_doctor import engine

    known = [(120_022, False), (130_014, True), (140_003, False), (140_004, True), (180_000, True)]
    assert [engine(number, "x").ok for number, _ in known] == [well for _, well in known]


def test_everything_is_looked_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        started(chats)
    names = [check.name for check in examine(url)]
    assert len(names) == len(set(names))
    assert checks(url)["master key"].found.endswith(
        "mode 0600; it lies beside the keys that it wraps: keep a copy elsewhere"
    )


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
    assert checks(url)["standbys"].found.startswith("no synchronous one")
    for value in ("off", "local", "remote_write"):
        in_database(url, f"ALTER DATABASE {name} SET synchronous_commit = {value}")
        assert wrong(url) == {"durability"}
        assert f"synchronous_commit={value}" in checks(url)["durability"].todo
    in_database(url, f"ALTER DATABASE {name} SET synchronous_commit = remote_apply")
    assert wrong(url) == set()


@pytest.mark.parametrize(
    ("names", "needed"),
    [("a", 1), ("a, b", 1), ("*", 1), ("2 (a, b)", 2), ("ANY 1 (a, b)", 1), ("first 3(a, b, c)", 3), ('"2 (x", b', 1)],
)
def test_how_many_standbys_a_commit_waits_for(names: str, needed: int) -> None:
    from lastresort.adapters.upkeep.postgres_doctor import standbys_needed

    assert standbys_needed(names) == needed


def test_standbys_are_counted() -> None:
    from lastresort.adapters.upkeep.postgres_doctor import standbys

    assert standbys("ANY 1 (a, b)", ["quorum", "quorum", "async"]).found.endswith("waits for 1, and 2 can be reached")
    assert standbys("a", ["sync"]).found.endswith("if one of them stops, so does every commit")
    assert standbys("a", [None]).ok
    none = standbys("ANY 2 (a, b)", ["quorum", "async"])
    assert not none.ok
    assert none.found.endswith("waits for 2, and 1 can be reached: nothing is acknowledged")


def test_what_keeps_a_standby_from_taking_over_is_found() -> None:
    from lastresort.adapters.upkeep.postgres_doctor import failover, hosts_of

    whole = {"wal_log_hints": "on", "data_checksums": "off", "wal_sender_timeout": "10s"}
    assert failover(whole, False, 3).ok
    assert failover(whole, False, 3).found == "wal_log_hints=on, data_checksums=off, wal_sender_timeout=10s"
    assert "the URL names one host" in failover(whole, False, 1).found
    assert "pg_rewind" in failover({**whole, "wal_log_hints": "off"}, False, 3).found
    assert "counts as one for ever" in failover({**whole, "wal_sender_timeout": "0"}, False, 3).found
    assert not failover(whole, True, 3).ok
    assert hosts_of("postgresql://user@a:1,b:2,c/chats") == 3
    assert hosts_of("postgresql:///chats") == 1


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
        store_of(chats).replace_snapshots("c", {})
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
    assert common.space(path).ok
    monkeypatch.setattr(common, "_LEAST_FREE", shutil.disk_usage(tmp_path).total * 2)
    check = common.space(path)
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


def test_lists_of_another_log_are_told_of(url: str) -> None:
    """As after a restore; they begin again by themselves."""
    with opened(url) as chats:
        chats.list()
        chats.holds()
        assert checks(url)["directory"].found == f"0 of {chats.store.head()} events behind the log"
    for name in ("directory", "list of holds"):
        assert checks(url)[name].ok
    in_database(url, "UPDATE followers SET command_id = 'of-another-log'")
    assert checks(url)["directory"].found.startswith("it followed another log, and begins again when")
    assert checks(url)["list of holds"].found.startswith("it followed another log")
    with opened(url) as chats:
        assert len(chats.list().rows) == 3
        assert chats.holds().rows == ()
    assert "behind the log" in checks(url)["list of holds"].found


def test_a_master_key_that_is_being_changed_is_told_of(url: str) -> None:
    """Until that is finished, since the former one opens the store as well."""
    store, vault, _ = open_store(url)
    rows: Any = vault._keys
    rows._keys.note("over 0123456789abcdef 00 00")
    assert wrong(url) == {"change of the master key"}
    assert rows._keys.replace_note("over 0123456789abcdef 00 00")
    assert wrong(url) == set()
    vault.close()
    store.close()


def test_turns_that_wait_for_people_for_days_are_found(url: str) -> None:
    assert "turns for people" not in checks(url)
    with opened(url) as chats:
        long_ago = HumanQueue(chats, clock=lambda: datetime.now(UTC) - timedelta(days=2))
        long_ago(Case("somewhere", 2, "", ()))
        assert "turns for people" in wrong(url)
        assert checks(url)["turns for people"].found.startswith("1 turn in the queue, the first since ")
        assert long_ago.claim("ann") is None  # there is no such branch, so it is taken out
    assert checks(url)["turns for people"] == ("turns for people", True, "0 turns in the queue", "")


def test_words_in_traces_are_told_of(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE", "content")
    assert wrong(url) == {"words in traces"}
