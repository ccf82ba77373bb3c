"""Ids that name a user are pseudonyms: what looks like an address comes in by no door, and what is there stays."""

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import Result

from lastresort import Actor, ActorKind, Chat, Policy, open_async_conversations, open_conversations
from lastresort.adapters.importers.chat_import import import_chats
from lastresort.application.arguments import pseudonymous_id
from lastresort.domain import commands as ask

from .chats_kit import write_json, write_lines
from .cli_kit import run
from .service_kit import done
from .test_import_chats import TREE, exported
from .web_kit import service, started

__all__ = ["run"]

MAIL = ["ada@example.org", "ada@host", "Ada.Lovelace+x@mail.example.org", "ada%40example.org", "mailto:ada@example.org"]
NETWORKS = ["19:ab_cd@unq.gbl.spaces", "4915112345678@c.us", "@ada:matrix@example.org", "user:ada@example.org/7"]
TELEPHONES = ["+4915112345678", "+49-151-1234.5678", "+1(415)5550100", "tel:4155550100", "whatsapp:+14155550100",
              "%2B4915112345678"]  # fmt: skip
PSEUDONYMS = ["a-17", "ada", "@ada", "ada@", "40", "100%40", "12345678", "+12", "a+b", "1+1234567890", "c-2026.11.30",
              "0199f3a2-7c1e-7d6a-8b1f-0242ac120002", "telephone:7", "tenant:7", "tenant/17.x"]  # fmt: skip
LOOKS = r"this looks like (an e-mail address, or one of a chat network|a telephone number) \(length \d+\)"


@pytest.mark.parametrize("id", [*MAIL, *NETWORKS, *TELEPHONES])
def test_an_address_is_refused_and_not_repeated(id: str) -> None:
    for field in ("account", "conversation"):
        with closing(open_conversations("memory:")) as chats:
            given: Any = {"model": "m", field: id}
            with pytest.raises(ValueError, match=f"^{field}: {LOOKS}, and it would stay in the log") as raised:
                chats.start(**given)
            assert (id in str(raised.value), chats.store.head()) == (False, 0)


@pytest.mark.parametrize("id", PSEUDONYMS)
def test_what_could_be_anything_is_taken(id: str) -> None:
    with closing(open_conversations("memory:")) as chats:
        chat = chats.start(model="m", account=id, conversation=id)
        assert (chat.branch, chat.state.account) == (id, id)


def test_no_branch_is_called_by_an_address() -> None:
    with closing(open_conversations("memory:")) as chats:
        chat = chats.start(model="m")
        done(chat.user_turn("Hello."))
        with pytest.raises(ValueError, match=f"^child: {LOOKS}"):
            chat.edit(2, "Hi.", child="ada@example.org")
        assert len(chats.tree(chat.branch)) == 1


def test_async_handles_refuse_it_too() -> None:
    async def start() -> None:
        async with await open_async_conversations("memory:") as chats:
            with pytest.raises(ValueError, match=f"^account: {LOOKS}"):
                await chats.start(model="m", account="ada@host")

    anyio.run(start)


def test_an_import_of_chats_is_of_no_address(tmp_path: Path) -> None:
    path = write_json(tmp_path / "conversations.json", [exported(*TREE)])
    with closing(open_conversations("memory:")) as chats:
        with pytest.raises(ValueError, match=f"^account: {LOOKS}"):
            import_chats([path], chats, account="+4915112345678")
        assert chats.store.head() == 0


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["chat", "--offline", "--conversation", "ada@example.org"], "--conversation: "),
        (["import-chats", "--account", "ada@example.org", "chats.json"], "--account: "),
        (["simulate", "calls.jsonl"], r"calls\.jsonl:1: account: "),
        (["simulate", "mails.jsonl"], r"mails\.jsonl:1: conversation: "),
    ],
)
def test_the_command_line_refuses_it_and_makes_no_store(
    run: Callable[..., Result], tmp_path: Path, arguments: list[str], where: str
) -> None:
    write_json(tmp_path / "chats.json", [exported(*TREE)])
    turns: list[object] = [{"role": "user", "text": "Hello."}]
    write_lines(tmp_path / "calls.jsonl", {"conversation": "c", "account": "+4915112345678", "turns": turns})
    write_lines(tmp_path / "mails.jsonl", {"conversation": "ada@example.org", "account": None, "turns": turns})
    result = run(*arguments, "--store", "sqlite:///log.db", status=2, input="Hello.\n")
    assert re.match(f"lastresort: {where}{LOOKS}", result.stderr), result.stderr
    assert not (tmp_path / "log.db").exists()


def test_over_http_it_is_refused_too() -> None:
    """Of a conversation; and of the keys and people as whom others will act."""
    with service() as running, running.client("admin", "converse") as client:
        told = client.post("/api/v1/conversations", json={"account": "ada@example.org"})
        assert (told.status_code, told.json()["detail"][:9]) == (422, "account: ")
        for path in ("keys", "people"):
            for field in ("actor", "account"):
                rights = {"scopes": ["converse"], "actor": "desk-1", field: "ada@example.org"}
                refused = client.post(f"/api/v1/admin/{path}", json=rights)
                assert refused.status_code == 422
                assert re.match(f"{field}: {LOOKS}", refused.json()["detail"])
        assert client.get("/api/v1/conversations").json()["conversations"] == []
        assert started(client, account="a-17")


def of_before(url: str) -> None:
    """Record what earlier versions took: they looked for the dot of an e-mail address, and at accounts alone."""
    with closing(open_conversations(url)) as chats:
        by = Actor(kind=ActorKind.USER, id="ada@host")
        chats.service.begin(
            ask.StartConversation(
                id="begin", by=by, conversation="ada@example.org", account=by.id, policy=Policy.default(), model="m"
            )
        )
        done(chats.chat("ada@example.org").user_turn("Hello."))
        done(chats.chat("ada@example.org").assistant_turn("Good morning."))


def test_what_is_in_the_log_is_read_and_goes_on(run: Callable[..., Result], tmp_path: Path) -> None:
    """It is exported, and imported into another store, where its account can be listed and erased."""
    of_before("sqlite:///" + str(tmp_path / "log.db"))
    run("export", "--store", "sqlite:///log.db", "--output", "log.jsonl")
    run("import", "log.jsonl", "--store", "sqlite:///again.db")
    for name in ("log", "again"):
        with closing(open_conversations(f"sqlite:///{tmp_path}/{name}.db")) as chats:
            (row,) = chats.list(account="ada@host").rows
            chat = chats.chat(row.conversation)
            done(chat.user_turn("And again."))
            branch = chat.edit(2, "Hi.")
            assert isinstance(branch, Chat)
            done(branch.assistant_turn("Hello."))
        assert "ada@example.org" in run("list", "--account", "ada@host", "--store", f"sqlite:///{name}.db").output
        run("audit", f"sqlite:///{name}.db")
        run("erase-account", "ada@host", "--yes", "--store", f"sqlite:///{name}.db")


def test_what_is_no_id_is_told_as_before() -> None:
    assert pseudonymous_id("account", None) is None
    with pytest.raises(ValueError, match=r"^account: an id is 1 to 128 printable ASCII characters"):
        pseudonymous_id("account", "ada @ home")
