"""What is said of a store that cannot be reached names it, and shows no password, however its URL is written."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lastresort import StoreError, open_conversations
from lastresort.adapters.upkeep.backup import backup
from lastresort.adapters.upkeep.doctor import examine
from lastresort.adapters.upkeep.migration import migrate


@pytest.fixture(scope="module")
def unanswered() -> str:
    """What is said of a server that is not there: port 1 of this machine serves no database."""
    with pytest.raises(StoreError) as raised:
        open_conversations("postgresql://somebody:xylophone@127.0.0.1:1/x")
    return str(raised.value)


@pytest.mark.xdist_group("postgresql")
def test_a_server_that_does_not_answer_is_named(unanswered: str) -> None:
    """With its address."""
    assert unanswered.startswith("cannot open postgresql://somebody")
    assert "@127.0.0.1:1/x: " in unanswered


@pytest.mark.xdist_group("postgresql")
def test_a_password_is_not_printed(unanswered: str) -> None:
    """Error messages go to screens and logs."""
    assert "xylophone" not in unanswered


@pytest.mark.xdist_group("postgresql")
def test_a_server_that_does_not_answer_says_why(unanswered: str) -> None:
    """Refused, unknown user, unknown database: what the server or the driver says."""
    assert "refused" in unanswered


SECRETS = [
    "postgresql://127.0.0.1:1/x?user=u&password=HUNTER2",
    "postgresql://127.0.0.1:1/x?password=abc&HUNTER2=x",
    "postgresql://127.0.0.1:1/x?password=abc&HUNTER2",
    "postgresql://127.0.0.1:1/x?password=HUNTER2%zz",
    "postgresql://u:HUNTER2@127.0.0.1:1/x?nonsense=1",
    "postgresql://u:p@HUNTER2@127.0.0.1:1/x",
    "postgresql://u:HUNTER2%zz@127.0.0.1:1/x",
    "postgresql://u:HUNTER2%00@127.0.0.1:1/x",
    "postgresql://u:pa/HUNTER2@127.0.0.1:1/x",
    "postgresql://u:HUNTER2/pa@127.0.0.1:1/x",
    "postgresql://u:12/HUNTER2@127.0.0.1:1/x",
    "postgresql://u:HUNTER2?pa@127.0.0.1:1/x",
    "postgresql://u:HUNTER2@[::1]x/db",
    "postgresql://u:HUNTER2",
    "postgres://u:HUNTER2#@127.0.0.1:1/x",
    "postgresql:u:HUNTER2@127.0.0.1/x",
    "mysql://u:HUNTER2@127.0.0.1/x",
    "host=127.0.0.1 password=HUNTER2",
    "sqlite:u:HUNTER2@x",
    "HUNTER2@x",
]


@pytest.mark.parametrize("url", SECRETS)
@pytest.mark.parametrize("act", [open_conversations, examine, migrate, lambda url: backup(url, Path("nowhere"))])
def test_no_form_of_a_url_shows_a_password(url: str, act: Callable[[str], object]) -> None:
    """Neither by what is said of the URL, nor by what PostgreSQL's library repeats of it; on one line."""
    with pytest.raises(StoreError) as raised:
        act(url)
    assert "HUNTER2" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me@[::1]:1,127.0.0.1:1/x?deadline=1", "cannot open postgresql://me@[::1]:1,127.0.0.1:1/x: "),
        ("postgresql://%2Ftmp%2Fnowhere/x", "cannot open postgresql://%2Ftmp%2Fnowhere/x: "),
        ("postgresql:///x?host=/tmp/nowhere&user=me@there", "cannot open postgresql:///x: "),
        ("postgresql://u:a%40b@127.0.0.1:1", "cannot open postgresql://u:***@127.0.0.1:1: "),
        ("postgresql://u:p@q@h/x", "cannot open postgresql://***: the URL is ambiguous"),
        ("sqlite:log.db", "not the URL of a store (length 13); use "),
    ],
)
def test_what_is_no_secret_of_a_url_is_shown(url: str, shown: str) -> None:
    """Someone who mistyped it has to see where."""
    with pytest.raises(StoreError) as raised:
        open_conversations(url)
    assert str(raised.value).startswith(shown)


def test_without_its_driver_postgresql_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is an extra."""
    monkeypatch.setitem(sys.modules, "lastresort.adapters.stores.postgres", None)
    with pytest.raises(StoreError, match=r"pip install -e '\.\[postgres\]'"):
        open_conversations("postgresql://localhost/x")
