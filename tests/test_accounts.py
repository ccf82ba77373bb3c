"""Everything of one account: handed out in plain, and erased."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lastresort import Chat, Conversations, ErasureCause, HoldReason, Rating, open_conversations
from lastresort.adapters.exporters import account_json, account_page
from lastresort.application.service import Service
from lastresort.domain.values import Messages

from .at_terminal import PATIENCE, at_a_terminal
from .cli_kit import as_json, run
from .stores import MODEL as ACTOR
from .stores import OPERATOR, USER, counting, opened

__all__ = ["run"]

MODEL = ACTOR.id
WHO = USER.model_copy(update={"id": "a-17"})
PICTURE = Messages(
    '{"messages":[{"role":"user","content":[{"type":"image","source":{}},{"type":"text","text":"Here."}]}]}'
)


def told(chats: Conversations) -> dict[str, Chat]:
    """Three conversations of an account, one with a branch, and one of somebody else."""
    found = {}
    for name, account in (("c-1", "a-17"), ("c-2", "a-17"), ("other", "b-3"), ("c-3", "a-17")):
        found[name] = chat = chats.start(model=MODEL, account=account, conversation=name)
        chat.user_turn(f"My name is <Zebra> in {name}.")
        chat.assistant_turn("Hello.")
    found["c-1"].user_turn(PICTURE)
    found["c-1"].edit(2, "I am nobody.", child="d-1")
    found["c-1"].feedback(Rating.UP, "Well done.")
    return found


def exported(chats: Conversations, account: str = "a-17") -> Any:
    return json.loads("".join(account_json(account, chats.export_account(account))))


def test_what_is_handed_out_is_whole() -> None:
    chats = open_conversations("memory:")
    told(chats)
    got = exported(chats)
    assert (got["format"], got["version"], got["account"]) == ("lastresort-account", 1, "a-17")
    assert [one["conversation"] for one in got["conversations"]] == ["c-1", "c-2", "c-3"]
    root, child = got["conversations"][0]["branches"]
    assert (root["parent"], root["forked_at"], child["parent"], child["forked_at"]) == (None, None, "c-1", 1)
    assert [event["text"] for event in root["events"]] == [
        None, "My name is <Zebra> in c-1.", "Hello.", "[image]Here.", None, "Well done.",
    ]  # fmt: skip
    assert [block["type"] for block in root["events"][3]["blocks"]] == ["image", "text"]
    assert root["events"][1]["event"]["by"] == {"kind": "user", "id": "a-17"}
    assert [event["text"] for event in child["events"]] == [None, "I am nobody."]
    assert exported(chats, "nobody")["conversations"] == []


def test_the_page_shows_words_as_text() -> None:
    chats = open_conversations("memory:")
    found = told(chats)
    found["c-2"].erase(2)
    page = "".join(account_page("a-17", chats.export_account("a-17")))
    assert "My name is &lt;Zebra&gt; in c-1." in page
    assert "<Zebra>" not in page
    assert "A branch, after 1 of c-1" in page
    assert "[erased]" in page
    assert "b-3" not in page


def test_erasing_an_account_erases_all_of_it_and_nothing_else() -> None:
    chats = open_conversations("memory:")
    found = told(chats)
    done = chats.erase_account("a-17", by=WHO, cause=ErasureCause.USER_REQUEST)
    assert done == (("c-1", "c-2", "c-3"), {}, False)
    for name, chat in found.items():
        assert bool(chats.words(chats.tree_log(chat.branch))) == (name == "other")
    erased = [event for one in exported(chats)["conversations"] for event in one["branches"][0]["events"][1:2]]
    assert [(event["text"], event["blocks"], event["erased"]) for event in erased] == [(None, [], "user_request")] * 3


def test_what_is_under_a_legal_hold_is_left_and_named() -> None:
    chats = open_conversations("memory:")
    found = told(chats)
    found["c-2"].hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
    done = chats.erase_account("a-17", by=WHO, cause=ErasureCause.USER_REQUEST)
    assert done.erased == ("c-1", "c-3")
    assert [broken.rule for broken in done.refused["c-2"].broken] == ["held-from-erasure"]
    assert chats.words(found["c-2"].path)


def test_an_account_is_named() -> None:
    """None would be everybody's."""
    chats = open_conversations("memory:")
    told(chats)
    for call in (chats.export_account, lambda account: chats.erase_account(account, by=WHO, cause=ErasureCause.LEGAL)):
        with pytest.raises(ValueError, match="account: a str is needed"):
            call(None)
    assert chats.words(chats.chat("c-1").path)


def test_an_erasure_that_was_interrupted_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was done before is not done again; what was said since, in a conversation that was erased, stays."""
    chats = open_conversations("memory:")
    found = told(chats)
    erase, left = Service.erase_conversation, iter([True])

    def interrupted(self: Service, branch: str, **how: Any) -> Any:
        if not next(left, False):
            raise KeyboardInterrupt
        return erase(self, branch, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Service, "erase_conversation", interrupted)
        with pytest.raises(KeyboardInterrupt):
            chats.erase_account("a-17", by=WHO, cause=ErasureCause.USER_REQUEST, command_id="forget")
    found["c-1"].user_turn("I am back.")
    done = chats.erase_account("a-17", by=WHO, cause=ErasureCause.USER_REQUEST, command_id="forget")
    assert done.erased == ("c-1", "c-2", "c-3")
    assert list(chats.words(chats.tree_log("c-1")).values()) == ["I am back."]
    assert chats.words(chats.tree_log("c-2")) == chats.words(chats.tree_log("c-3")) == {}


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        told(chats)["c-2"].hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
    return url


def test_an_account_is_exported_as_json_and_as_a_page(run: Callable[..., Result], url: str) -> None:
    assert len(json.loads(run("export-account", "a-17", "--store", url).stdout)["conversations"]) == 3
    run("export-account", "a-17", "--store", url, "--page", "--output", "a.html")
    assert "&lt;Zebra&gt;" in Path("a.html").read_text()
    assert stat.S_IMODE(os.stat("a.html").st_mode) == 0o600
    how = ("--store", url, "--output", "a.json", "--json")
    assert as_json(run("export-account", "a-17", *how)) == {"file": "a.json", "account": "a-17"}
    assert len(json.loads(Path("a.json").read_text())["conversations"]) == 3
    assert run("export-account", "a-17", "--store", url, "--json").stdout == Path("a.json").read_text()
    both = run("export-account", "a-17", "--store", url, "--json", "--page", status=2)
    assert "use one of them, or --output" in both.stderr
    again = run("export-account", "a-17", "--store", url, "--output", "a.html", status=2)
    assert "a.html: cannot be written: File exists" in again.output
    assert "is part of the store" in run(
        "export-account", "a-17", "--store", url, "--output", url[10:], status=2
    ).output  # fmt: skip


def test_a_file_that_cannot_be_whole_is_not_there(
    run: Callable[..., Result], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Any:
        yield "{"
        raise KeyboardInterrupt

    monkeypatch.setattr("lastresort.adapters.exporters.account_json", broken)
    run("export-account", "a-17", "--store", url, "--output", "a.json", status=130)
    assert not Path("a.json").exists()


def test_where_nobody_can_be_asked_nothing_is_erased(run: Callable[..., Result], url: str) -> None:
    """A job has to say `--yes`; that is wrong usage, and no refusal."""
    asked = run("erase-account", "a-17", "--store", url, status=2)
    assert asked.stderr.endswith("Error: nobody is here to say yes; pass --yes if you mean it\n")


def test_at_the_question_control_c_is_an_interruption(url: str) -> None:
    """As it is everywhere else: 130, and nothing is erased."""
    with at_a_terminal("erase-account", "a-17", "--store", url) as typist:
        typist.wait_for("for good? [y/N]:")
        typist.interrupt()
        typist.wait_for("lastresort: interrupted")
        assert typist.process.wait(PATIENCE) == 130
    with opened(url) as chats:
        assert chats.words(chats.tree_log("c-1"))


def test_an_account_is_erased_once_that_is_confirmed(run: Callable[..., Result], url: str) -> None:
    asked = run("erase-account", "a-17", "--store", url, input="n\n", status=1)
    assert "Erase the words of 3 conversations of a-17, for good?" in asked.output
    assert asked.stderr.endswith("nothing was erased\n")
    done = run("erase-account", "a-17", "--store", url, input="y\n", status=1)
    assert "2 erased, 1 refused" in done.output
    assert "c-2: held-from-erasure: legal holds: " in done.output
    with opened(url) as chats:
        chats.chat("c-2").release_hold("case-1", by=OPERATOR, command_id="release")
    how = ("--yes", "--operator", "op", "--cause", "legal", "--command-id", "x-1", "--json")
    said = json.loads(run("erase-account", "a-17", "--store", url, *how).stdout)
    assert said == {
        "account": "a-17",
        "command_id": "x-1",
        "erased": ["c-1", "c-2", "c-3"],
        "refused": {},
        "forgotten": False,
    }
    with opened(url) as chats:
        assert all(chats.words(chats.tree_log(one)) == {} for one in ("c-1", "c-2", "c-3"))


def test_an_account_with_more_conversations_than_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page, the oldest first."""
    monkeypatch.setattr("lastresort.application.accounts.MOST_ROWS", 2)
    with opened("memory:") as chats:
        told(chats)
        assert [one["conversation"] for one in exported(chats)["conversations"]] == ["c-1", "c-2", "c-3"]
        assert chats.erase_account("a-17", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase").refused == {}
        assert {text for one in exported(chats)["conversations"] for text in words_in(one)} == set()


def words_in(conversation: Any) -> list[str]:
    return [event["text"] for branch in conversation["branches"] for event in branch["events"] if event["text"]]


def test_a_person_is_exported_erased_and_forgotten(run: Callable[..., Result], url: str) -> None:
    """By what the application calls them, or by their account; and it is said if nobody knows them."""
    with opened(url, new_id=counting("new-")) as chats:
        chats.start(model=MODEL, person="ada@example.org", conversation="hers").describe(title="A garden")
        account = chats.pseudonym("ada@example.org")
    got = json.loads(run("export-account", "--person", "ada@example.org", "--store", url).stdout)
    assert (got["account"], [one["title"] for one in got["conversations"]]) == (account, ["A garden"])
    assert "name an ACCOUNT, or a --person" in run("export-account", "--store", url, status=2).stderr
    assert (
        "name an ACCOUNT, or a --person" in run("erase-account", "a", "--person", "b", "--store", url, status=2).stderr
    )
    done = run("erase-account", "--person", "ada@example.org", "--forget", "--yes", "--store", url)
    assert done.stdout == "1 erased, 0 refused; nobody knows any more whom the account stood for\n"
    again = run("erase-account", "--person", "ada@example.org", "--forget", "--yes", "--store", url, status=2)
    assert "no account is known of this person" in again.stderr
    assert "person: nobody was named" in run("export-account", "--person", "", "--store", url, status=2).stderr
    assert "ada@" not in again.stderr


@pytest.mark.parametrize("command", [("export-account",), ("erase-account", "--yes")])
def test_an_account_that_has_nothing_is_an_error(
    run: Callable[..., Result], url: str, command: tuple[str, ...]
) -> None:
    """Its name may be mistyped: nobody is to believe that somebody's words were handed out, or are gone."""
    said = run(*command, "typo", "--store", url, status=2)
    assert (said.stdout, said.stderr) == ("", "lastresort: no conversation of this account is in the store\n")


@pytest.mark.parametrize("form", [(), ("--page",)])
def test_an_export_holds_what_no_file_and_no_terminal_takes(
    run: Callable[..., Result], url: str, tmp_path: Path, form: tuple[str, ...]
) -> None:
    """Half a character, or a control that a terminal obeys: nobody's account is kept from export by what it says."""
    said = "half \ud800 \x9b31m \x1b[2J \u202e of \U0001f468\u200d\U0001f469"
    with open_conversations(url) as chats:
        chat = chats.start(account="a-1", model="m", conversation="c")
        chat.user_turn(said)
        chat.describe(title="\x9b31m")
    out = tmp_path / "out"
    run("export-account", "a-1", *form, "--store", url, "--output", str(out))
    written = out.read_text("utf-8")
    printed = run("export-account", "a-1", *form, "--store", url).stdout
    for text in (written, printed, run("show", "c", "--json", "--store", url).stdout):
        assert not {"\ud800", "\x9b", "\x1b", "\u202e"} & set(text)
    if form:
        assert "half \N{REPLACEMENT CHARACTER} " in written
        assert " \N{REPLACEMENT CHARACTER} of " in written
        assert "\U0001f468\u200d\U0001f469" in written
    else:
        (told,) = json.loads(written)["conversations"]
        assert told["branches"][0]["events"][1]["text"] == said
        assert told["title"] == "\x9b31m"
