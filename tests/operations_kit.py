"""What the tests of operations share: a store in which several things have happened, with real files and servers."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lastresort import Conversations
from lastresort.adapters.console.cli import main
from lastresort.adapters.upkeep.checks import Check
from lastresort.adapters.upkeep.doctor import examine
from lastresort.adapters.vault.master_key import VARIABLE
from lastresort.domain.events import content_of
from lastresort.projections import views

from .stores import DURABLE_STORES, counting, done, ended, ended_on_request, long, new_url, started, thanked
from .stores import opened as opened_with

_sessions = count(1)


def opened(url: str, **options: Any) -> AbstractContextManager[Conversations]:
    """Open a store with ids that nobody has used, however often it is opened."""
    return opened_with(url, **{"new_id": counting(f"session-{next(_sessions)}-"), **options})


@pytest.fixture(params=DURABLE_STORES)
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


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
            connection.execute(statement)


def checks(url: str) -> dict[str, Check]:
    """What the doctor finds; of two of one name that which is wrong."""
    return {check.name: check for check in sorted(examine(url), key=lambda check: not check.ok)}


def wrong(url: str) -> set[str]:
    return {check.name for check in examine(url) if not check.ok} - {"engine"}  # which is as it is on this machine


@pytest.fixture(autouse=True)
def _apart(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An SQLite store has a master key of its own; and no draft is left behind, whatever happened."""
    if "postgresql" not in (*request.fixturenames, "kind" in request.fixturenames and request.getfixturevalue("kind")):
        monkeypatch.delenv(VARIABLE, raising=False)
    yield
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
