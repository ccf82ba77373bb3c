"""Opening a store: one that is there, one that is not, and one that cannot be."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lastresort import StoreError, open_conversations
from lastresort.application.ports import Append, CommandRecorded, NewEvent
from lastresort.projections import audit, views

from .service_kit import done
from .stores import (
    DURABLE_STORES,
    LEFT,
    STORES,
    counting,
    ended,
    ended_on_request,
    log_of,
    new_url,
    opened,
    started,
    store_of,
)

AT = "2026-01-31T12:00:00+00:00"


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    return new_url(request.param, request)


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_a_store_opened_again_holds_what_it_held(kind: str, request: pytest.FixtureRequest) -> None:
    """Events, commands and words; and the conversation goes on."""
    url = new_url(kind, request)
    with opened(url) as chats:
        ended(started(chats))
        before, words = log_of(chats), chats.words(chats.path("c"))
        assert len(words) == 10
    with opened(url, new_id=counting("again-")) as chats:
        assert log_of(chats) == before
        assert chats.words(chats.path("c")) == words
        assert chats.state("c").ended is not None
        following = NewEvent("c", chats.state("c").version + 1, LEFT)
        with pytest.raises(CommandRecorded):
            chats.store.append(Append("c", before[0].command_id, "again", AT, (following,)))
        child = done(chats.chat("c").edit(2, "Hello.", child="d"))
        assert child.state.ended is None


def test_the_same_story_is_the_same_log_in_every_store(url: str) -> None:
    """Kinds, versions, commands and times; the audit is clean, and live states are what the log adds up to."""
    with opened("memory:") as expected, opened(url) as chats:
        for told in (expected, chats):
            ended(started(told))
            ended_on_request(started(told, "d"))
            told.chat("c").edit(10, "Let us start again.", child="e")
            told.chat("e").raise_risk(risk="r")
        assert [entry[:6] for entry in log_of(chats)] == [entry[:6] for entry in log_of(expected)]
        report = audit(chats.store.entries())
        assert report.findings == ()
        assert report.states == {branch: chats.state(branch) for branch in ("c", "d", "e")}
        assert [row.branch for row in views(chats.store.log()).ended] == ["c", "d"]


@pytest.mark.xdist_group("postgresql")
def test_processes_that_start_together_create_the_tables_once(postgresql: Callable[[], str]) -> None:
    """PostgreSQL fails for some of those that create the same tables at the same moment, unless they queue."""
    url, outcomes = postgresql(), []

    def start(number: int) -> None:
        try:
            with opened(url, new_id=counting(f"{number}-")) as chats:
                started(chats, f"c-{number}")
            outcomes.append("started")
        except Exception as error:
            outcomes.append(repr(error))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcomes == ["started"] * 5


def test_sqlite_is_written_so_that_it_survives_power_loss(tmp_path: Path) -> None:
    """In WAL mode only synchronous=FULL (2) does."""
    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        for commit in (True, False):
            with store_of(chats).datastore.transaction(commit=commit) as cursor:
                cursor.execute("PRAGMA synchronous")
                assert cursor.fetchone()[0] == 2
                cursor.execute("PRAGMA journal_mode")
                assert cursor.fetchone()[0] == "wal"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("here", r"not the URL of a store \(length 4\); use memory:, sqlite:///FILE or postgresql://"),
        ("sqlite:///", r"not the URL of a store"),
        ("mysql://root@localhost/x", r"not the URL of a store"),
        ("sqlite:///nowhere/log.db", r"no folder nowhere for the store log\.db; create it first"),
        ("sqlite:///.", r"cannot open sqlite:///\.: "),
        ("sqlite:///text.db", r"cannot open sqlite:///text\.db: file is not a database"),
    ],
)
def test_a_store_that_cannot_be_opened_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, message: str
) -> None:
    """What, where, and what to do; and no file is left behind."""
    monkeypatch.chdir(tmp_path)
    Path("text.db").write_text("This is a text, and longer than the header of a database. " * 20)
    with pytest.raises(StoreError, match=message):
        open_conversations(url)
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


def test_a_store_that_is_not_there_is_created_only_if_asked(tmp_path: Path) -> None:
    """Looking at a store must not leave an empty one behind."""
    url = f"sqlite:///{tmp_path}/log.db"
    with pytest.raises(StoreError, match=r"no store at .*log\.db; `simulate` or `chat` creates one"):
        open_conversations(url, create=False)
    assert list(tmp_path.iterdir()) == []
    open_conversations(url).close()
    open_conversations(url, create=False).close()
