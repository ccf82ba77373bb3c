"""A store of which a table is gone says so: an empty one instead would hide the loss."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from lastresort import StoreError
from lastresort.adapters.databases.urls import located
from lastresort.adapters.upkeep.backup import backup
from lastresort.adapters.upkeep.checks import Check
from lastresort.adapters.upkeep.doctor import examine
from lastresort.adapters.upkeep.migration import migrate

from .cli_kit import as_json, run
from .service_kit import done
from .stores import DURABLE_STORES, ROOT, counting, ended, log_of, new_url, opened, started

__all__ = ["run"]

OPERATING = (ROOT / "docs" / "how-to" / "operate.md").read_text(encoding="utf-8")


@pytest.fixture(params=DURABLE_STORES)
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with a conversation that ended, and a branch of it."""
    url = new_url(request.param, request)
    with opened(url, snapshot_every=5) as chats:
        ended(started(chats)).edit(10, "Shall we start again?", child="d")
    return url


def in_database(url: str, *statements: str) -> None:
    """Change a store behind the program's back."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(located(url)[0].removeprefix("sqlite:///"))) as file:
            for statement in statements:
                file.execute(statement)
            file.commit()
        return
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def refused(url: str) -> str:
    """Open a store that cannot be; return why. Someone who only looks is told the same, and nothing is made of it."""
    with pytest.raises(StoreError) as error, opened(url):
        pass
    (check,) = [check for check in examine(url) if check.name == "migrations"]
    assert not check.ok
    assert f"{check.found}: {check.todo}" in str(error.value)
    with pytest.raises(StoreError) as again, opened(url):
        pass
    assert str(again.value) == str(error.value)
    return str(error.value)


def pages(run: Callable[..., Result], url: str) -> list[str]:
    found = as_json(run("views", "ended", "--limit", 9, "--store", url, "--json"))["ended"]
    return [row["branch"] for row in found]


@pytest.mark.parametrize("table", ["branches", "snapshots"])
def test_what_follows_from_the_log_is_made_again_by_the_command_that_is_named(
    run: Callable[..., Result], url: str, table: str
) -> None:
    """And not by the one who opens the store first, who might be in a hurry."""
    in_database(url, f"DROP TABLE {table}")
    assert f"it has no table {table} any more: run `lastresort migrate URL`" in refused(url)
    migrate(url)
    assert pages(run, url) == ["c"]
    assert [check for check in examine(url) if not check.ok and check.name in ("migrations", "lists")] == []
    run("audit", url)


def test_words_that_are_gone_are_not_forgotten_in_silence(run: Callable[..., Result], url: str, tmp_path: Path) -> None:
    """Not by a migration either, nor a backup; the page says how to go on without them."""
    with opened(url) as chats:
        before = log_of(chats)
    in_database(url, "DROP TABLE contents")
    why = "its table contents, and with it the words of every turn, is gone: restore the latest backup"
    assert why in refused(url)
    with pytest.raises(StoreError, match=why):
        migrate(url)
    with pytest.raises(StoreError, match=r"its table contents|no table contents"):
        backup(url, tmp_path / "backup")
    assert not [path for path in tmp_path.iterdir() if "backup" in path.name]
    in_database(url, in_the_page("CREATE TABLE contents", url))
    with opened(url, new_id=counting("more-")) as chats:
        assert log_of(chats) == before
        assert chats.words(chats.path("c")) == {}
        chats.chat("d").assistant_turn("Gladly.")
        assert list(chats.words(chats.path("d")).values()) == ["Gladly."]
    assert "user: [not kept in this store]" in run("show", "c", "--store", url).stdout
    run("audit", url)


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_where_no_words_were_said_none_are_missed(request: pytest.FixtureRequest, kind: str) -> None:
    """The table is made, as in a new store."""
    url = new_url(kind, request)
    with opened(url) as chats:
        started(chats)
    in_database(url, "DROP TABLE contents")
    with opened(url, new_id=counting("more-")) as chats:
        assert done(chats.chat("c").user_turn("Hello.")).version == 2
        assert list(chats.words(chats.path("c")).values()) == ["Hello."]


@pytest.mark.parametrize("loss", ["DROP TABLE meta", "DELETE FROM meta"])
def test_a_store_whose_version_is_gone_is_no_new_one(run: Callable[..., Result], url: str, loss: str) -> None:
    """Nor one of another version; the page says what to do."""
    in_database(url, loss)
    why = "its table meta, or the version of the tables that stood in it, is gone: restore the latest backup"
    assert why in refused(url)
    with pytest.raises(StoreError, match=why):
        migrate(url)
    if loss.startswith("DROP"):
        in_database(url, in_the_page("CREATE TABLE meta", url))
    in_database(url, in_the_page("INSERT INTO meta", url))
    run("audit", url)


def test_a_log_that_is_gone_is_not_begun_again(url: str) -> None:
    """Where all else is there: it is named, and the store is not taken for the database of somebody else."""
    in_database(url, "DROP TABLE stored_events CASCADE" if "postgres" in url else "DROP TABLE stored_events")
    why = "its log, the table stored_events, is gone: restore the latest backup"
    assert why in refused(url)
    with pytest.raises(StoreError, match=why):
        migrate(url)


def test_a_doctor_makes_no_table(url: str) -> None:
    """It says what is wrong, and the store is as it was."""
    in_database(url, "DROP TABLE snapshots")
    found: list[Check] = [check for check in examine(url) if check.name == "migrations"]
    assert [check.ok for check in found] == [False]
    with pytest.raises(Exception, match="snapshots"):
        in_database(url, "SELECT * FROM snapshots")


def in_the_page(statement: str, url: str) -> str:
    """A statement that docs/how-to/operate.md tells operators to give."""
    (found,) = re.findall(rf"`({statement}[^`]*)`", OPERATING)
    return str(found) if url.startswith("sqlite") else str(found).replace("BLOB", "BYTEA")
