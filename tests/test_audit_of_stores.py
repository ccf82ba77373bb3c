"""What an audit of a database sees that is in no exported log: how the events of a command are counted."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from .cli_kit import run
from .stores import DURABLE_STORES, counting, done, new_url, opened, started

__all__ = ["run"]


@pytest.fixture(params=DURABLE_STORES)
def url(request: pytest.FixtureRequest) -> str:
    """A store with a conversation of two branches, and a risk on both."""
    url = new_url(request.param, request)
    with opened(url) as chats:
        chat = started(chats)
        done(chat.user_turn("Hello.", command_id="turn"))
        done(chat.edit(2, "Good day.", child="d", command_id="edit"))
        done(chat.raise_risk(command_id="risk"))
    return url


def in_database(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            assert file.execute(statement).rowcount > 0
        return
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute(statement).rowcount > 0


def found(run: Callable[..., Result], url: str) -> list[tuple[str, int, list[str]]]:
    report = json.loads(run("audit", url, "--json", status=1).stdout)
    return [(one["branch"], one["version"], one["rules"]) for one in report["findings"]]


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        ("nth = 7 WHERE command_id = 'turn'", ("c", 2)),
        ("nth = NULL WHERE command_id = 'turn'", ("c", 2)),
        ("nth = nth + 1 WHERE command_id = 'edit' AND nth = 2", ("c", 3)),
        ("nth = -1 WHERE command_id = 'edit' AND nth = 1", ("c", 3)),
        ("nth = NULL WHERE command_id = 'risk' AND nth = 1", ("c", 4)),
    ],
)
def test_events_of_a_command_that_are_counted_otherwise_are_found(
    run: Callable[..., Result], url: str, damage: str, place: tuple[str, int]
) -> None:
    """Though no event that is read differs."""
    run("audit", url)
    before = run("export", url).stdout
    in_database(url, f"UPDATE stored_events SET {damage}")
    assert sorted(run("export", url).stdout.splitlines()) == sorted(before.splitlines())
    assert found(run, url) == [(*place, ["structure-command"])]


@pytest.mark.parametrize(
    ("tampered", "place"),
    [
        ("UPDATE branches SET ended = 3 WHERE position = 1", ("c", 1)),
        ("DELETE FROM branches WHERE position = 1", ("c", 1)),
        ("UPDATE branches SET branched = 1 - branched WHERE position = 1", ("c", 1)),
        ("INSERT INTO branches VALUES (999, 999, NULL, 0)", ("position-999", 0)),
    ],
)
def test_a_list_that_was_tampered_with_is_found(
    run: Callable[..., Result], url: str, tampered: str, place: tuple[str, int]
) -> None:
    """Pages are read from it, and no event differs."""
    run("audit", url)
    in_database(url, tampered)
    assert (*place, ["structure-state"]) in found(run, url)
    run("migrate", url)
    run("audit", url)


def test_a_command_that_is_counted_wrongly_takes_effect_once_all_the_same(run: Callable[..., Result], url: str) -> None:
    """A store knows it by its id and its tree."""
    with opened(url, new_id=counting("first-")) as chats:
        done(started(chats, "counted").user_turn("Hello.", command_id="mine"))
    in_database(url, "UPDATE stored_events SET nth = 7 WHERE command_id = 'mine'")
    with opened(url, new_id=counting("more-")) as chats:
        assert done(chats.chat("counted").user_turn("Hello.", command_id="mine")).version == 2
    assert found(run, url) == [("counted", 2, ["structure-command"])]


def test_what_nobody_damaged_is_counted_as_it_stands(run: Callable[..., Result], url: str) -> None:
    """After an import too, and where words of several turns were written at once."""
    run("export", url, "--output", "log.jsonl")
    run("import", "log.jsonl", "--store", "sqlite:///copy.db")
    run("audit", "sqlite:///copy.db")


def test_a_long_file_is_read_twice_and_audited_alike(
    run: Callable[..., Result], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To keep memory to its branches: 1,000,000 events on 47,620 branches took 780 MB, and take 310."""
    log = tmp_path / "log.jsonl"
    log.write_text(run("export", url).stdout)
    whole = run("audit", log, "--json").stdout
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:3], *lines[4:]]) + "\n")
    broken = run("audit", log, "--json", status=1).stdout
    monkeypatch.setattr("lastresort.adapters.importers.log_file._SCANNED_FROM", 0)
    assert run("audit", log, "--json", status=1).stdout == broken
    log.write_text("\n".join(lines) + "\n")
    assert run("audit", log, "--json").stdout == whole
