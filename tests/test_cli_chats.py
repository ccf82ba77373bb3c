"""`import-chats` on the command line: what it prints, and what it says of files that are none."""

from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from lastresort.adapters.chats import FORMATS

from .chats_kit import write_json, write_lines
from .cli_kit import as_json, run
from .test_import_chats import TREE, exported

__all__ = ["run"]

STORE = ["--store", "sqlite:///chats.db"]


def test_what_came_in_is_told_and_what_became_of_the_rest(run: Callable[..., Result], tmp_path: Path) -> None:
    tool = {"role": "tool", "tool_call_id": "t", "content": "7"}
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hm"}, tool]
    write_json(tmp_path / "c.json", [exported(*TREE), exported(*TREE)])
    write_lines(tmp_path / "m.jsonl", {"messages": said})
    out = " ".join(run("import-chats", "c.json", "m.jsonl", *STORE).stdout.split())
    assert out == (
        "c.json claude-ai 1 new conversation: 4 turns of users, 4 answers, on 3 branches beside the first "
        "answers by model: unknown 4 1: the same conversation again, left out (entry 2) "
        "m.jsonl messages 1 new conversation: 1 turn of users, 1 answer answers by model: unknown 1 "
        "1: a tool's, folded into the answer that called it (line 1, message 3)"
    )
    again = " ".join(run("import-chats", "c.json", *STORE).stdout.split())
    assert "0 new conversations: 0 turns of users, 0 answers there before: 1 conversation" in again
    assert run("audit", "sqlite:///chats.db").stdout.endswith("no finding\n")


def test_programs_are_told_the_same(run: Callable[..., Result], tmp_path: Path) -> None:
    write_json(tmp_path / "c.json", [exported(*TREE)])
    (told,) = as_json(run("import-chats", "c.json", *STORE, "--account", "user-7", "--json"))
    assert (told["file"], told["format"], told["conversations"], told["models"]) == (
        "c.json",
        "claude-ai",
        1,
        {"unknown": 4},
    )
    (row,) = as_json(run("list", "--account", "user-7", *STORE, "--json"))["conversations"]
    assert (row["title"], row["branches"]) == ("Herbs", 4)


def test_a_bad_file_is_told_in_a_line(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('[{"chat_messages": [')
    said = run("import-chats", "c.json", *STORE, status=2).stderr
    assert said == "lastresort: c.json:1: entry 1: the file ends here: it is cut off\n"
    assert [one.name for one in tmp_path.iterdir()] == ["c.json"]  # and no store was made
    write_json(tmp_path / "c.json", [{"hunter2": 1}])
    assert run("import-chats", "c.json", *STORE, status=2).stderr == (
        "lastresort: c.json: entry 1: not a chat in a known format; name it by --format: " + ", ".join(FORMATS) + "\n"
    )
    assert (
        "chat_messages: is missing" in run("import-chats", "c.json", "--format", "claude-ai", *STORE, status=2).stderr
    )
    assert "name a file for the policy" in run("import-chats", "c.json", "--policy", "-", *STORE, status=2).stderr
    assert "is part of the store" in run("import-chats", "chats.db", *STORE, status=2).stderr
