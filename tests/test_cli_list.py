"""`list`: conversations by account, by person, by status; a page at a time."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from .cli_kit import as_json, run
from .service_kit import done
from .stores import MODEL, counting, ended_on_request, opened

__all__ = ["run"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Two conversations of one account, the older one with a branch and titled; one of a person."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url, new_id=counting()) as chats:
        chat = chats.start(model=MODEL.id, account="a-17", conversation="garden")
        ended_on_request(chat)
        done(chat.edit(2, "And now?", child="d"))
        chat.describe(title="A \x1b[1mgarden", tags=["green", "new"])
        chats.start(model=MODEL.id, account="a-17", conversation="kitchen").user_turn("Hello.")
        chats.start(model=MODEL.id, person="ada@example.org", conversation="attic")
    return url


def test_conversations_are_listed_the_newest_first(run: Callable[..., Result], url: str) -> None:
    """With what they are about; nothing that was typed takes over the terminal."""
    lines = run("list", "--account", "a-17", "--store", url).stdout.splitlines()
    assert [line for line in lines if "2026-" not in line] == [
        "    account a-17",
        "    active, claude-opus-4-1, 1 branch",
        "    A \N{REPLACEMENT CHARACTER}[1mgarden",
        "    tags: green, new",
        "    account a-17",
        "    active, claude-opus-4-1, 2 branches, 1 ended",
        "that is all",
    ]
    assert [line.split()[0] for line in lines if "2026-" in line] == ["kitchen", "garden"]


def test_they_are_listed_of_a_person_and_by_status(run: Callable[..., Result], url: str) -> None:
    """Nobody and nothing is an empty list, and no failure."""
    told = as_json(run("list", "--person", "ada@example.org", "--store", url, "--json"))
    assert [row["conversation"] for row in told["conversations"]] == ["attic"]
    assert run("list", "--person", "nobody", "--store", url).stdout == "no conversation\n"
    assert as_json(run("list", "--person", "nobody", "--store", url, "--json")) == {"conversations": [], "after": None}
    assert run("list", "--status", "ended", "--store", url).stdout == "no conversation\n"


def test_a_page_says_how_to_go_on(run: Callable[..., Result], url: str) -> None:
    """By when they were started, or by when somebody last spoke; and programs read the same."""
    first = run("list", "--limit", "2", "--by", "last-turn", "--store", url).stdout.splitlines()
    assert first[-1].startswith("more: --after ")
    rest = run("list", "--limit", "2", "--by", "last-turn", "--after", first[-1].split()[-1], "--store", url).stdout
    assert rest.splitlines()[-1] == "that is all"
    told = as_json(run("list", "--limit", "1", "--account", "a-17", "--store", url, "--json"))
    assert told["after"]
    assert told["conversations"][0].items() >= {"conversation": "kitchen", "branches": 1, "title": None}.items()


def test_what_cannot_be_listed_is_said(run: Callable[..., Result], url: str) -> None:
    """And nothing that was passed by mistake is repeated."""
    assert "--after: not a cursor" in run("list", "--after", "x", "--store", url, status=2).stderr
    assert "Usage: " in run("list", "--account", "a", "--person", "b", "--store", url, status=2).stderr
    said = run("list", "--account", "two words", "--store", url, status=2).stderr
    form = "an id is 1 to 128 printable ASCII characters without spaces"
    assert said == f"lastresort: --account: {form}; 9 characters were passed\n"
    said = run("list", "--account", "\u00e9", "--store", url, status=2).stderr
    assert said.endswith("; 1 character was passed\n")
    with opened(url) as chats, pytest.raises(ValueError, match=r"account: an id is .*; 1 character was passed$"):
        chats.list(account="\u00e9")
    assert run("export-account", "two words", "--store", url, status=2).stderr.startswith("lastresort: ACCOUNT: an id")
