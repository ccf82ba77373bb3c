"""A file of the wrong kind is told by what it looks like, with what is expected there, and without a word of it."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from .cli_kit import run, url

__all__ = ["run", "url"]

SAYS = "Zebras graze here, at night."
NO_JSON_LINES = {
    "policy.toml": (b'name = "mine"\nmin_severity = 2\n', "this is TOML, as a policy is"),
    "tables.toml": (b"[upstream]\nmodel = 'm'\n", "this is TOML, as a policy is"),
    "README.md": (f"# {SAYS}\n".encode(), "this is not JSON"),
    "words.txt": (SAYS.encode(), "this is not JSON"),
    "table.csv": (f'"{SAYS}",2\n'.encode(), "this is not JSON"),
    "list.json": (b'[\n{"conversation": "c"}\n]', "this is a JSON array"),
    "latin.txt": ("Zébres".encode("latin-1"), "this is not text"),
    "wide.txt": (SAYS.encode("utf-16"), "this is not text"),
    "program": (b"\x7fELF\x02\x01\x01\x00\n", "this is not text"),
    "log.jsonl.gz": (gzip.compress(SAYS.encode()), "this is a compressed file; unpack it first"),
}


@pytest.mark.parametrize("name", NO_JSON_LINES)
@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (["import", "FILE", "--store", "sqlite:///new.db"], "an exported log"),
        (["simulate", "FILE", "--store", "sqlite:///new.db"], "a file of transcripts"),
        (["audit", "--file", "FILE"], "an exported log"),
        (["views", "--file", "FILE"], "an exported log"),
    ],
)
def test_what_is_no_json_lines_is_told_by_its_beginning(
    run: Callable[..., Result], tmp_path: Path, name: str, command: list[str], wanted: str
) -> None:
    data, looks = NO_JSON_LINES[name]
    (tmp_path / name).write_bytes(data)
    told = run(*(name if one == "FILE" else one for one in command), status=2).stderr
    assert told == f"lastresort: {name}:1: {looks}; {wanted} has one JSON object a line\n"
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("policy.toml", "this is not JSON; chats are in JSON, JSON lines or a zip file"),
        ("README.md", "this is not JSON; chats are in JSON, JSON lines or a zip file"),
        ("latin.txt", "byte 2 is not UTF-8"),
        ("log.jsonl", "line 1: this is an exported log: use `lastresort import`, or `lastresort audit`"),
        ("calls.jsonl", "line 1: this is a transcript: use `lastresort simulate`"),
        ("log.db", "this is an SQLite database"),
        ("other.json", "line 1: not a chat in a known format"),
        ("strange.jsonl", "entry 1: not a chat in a known format"),
    ],
)
def test_what_holds_no_chats_is_told_too(
    run: Callable[..., Result], url: str, tmp_path: Path, name: str, told: str
) -> None:
    """A log and a transcript of this program's too, which are JSON lines as chats may be."""
    (tmp_path / "calls.jsonl").write_text('{"conversation": "c", "account": null, "turns": []}\n')
    (tmp_path / "other.json").write_text(f'{{"title": "{SAYS}"}}')
    (tmp_path / "strange.jsonl").write_text(f'["{SAYS}"]')
    run("export", "--store", url, "--output", "log.jsonl")
    if name in NO_JSON_LINES:
        (tmp_path / name).write_bytes(NO_JSON_LINES[name][0])
    said = run("import-chats", name, "--store", "sqlite:///new.db", status=2).stderr
    assert re.match(f"lastresort: {re.escape(name)}:(1:)? {re.escape(told)}", said), said
    assert SAYS not in said
    assert not (tmp_path / "new.db").exists()


ELSEWHERE = "takes the URL of a store, such as sqlite:///FILE; "


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (["list", "--store", "empty.jsonl"], "`lastresort import` brings an exported log into one"),
        (["holds", "--store", "empty.jsonl"], "`lastresort import` brings an exported log into one"),
        (["doctor", "empty.jsonl"], "`lastresort import` brings an exported log into one"),
        (["backup", "--store", "empty.jsonl", "there"], "`lastresort import` brings an exported log into one"),
        (["views", "--store", "empty.jsonl"], "name an exported log by --file"),
        (["why", "c", "--store", "empty.jsonl"], "name an exported log by --file"),
        (["list", "--store", "log.db"], "for this one, write sqlite:/// before its path"),
        (["doctor", "log.db"], "for this one, write sqlite:/// before its path"),
        (["views", "--store", "log.db"], "for this one, write sqlite:/// before its path"),
    ],
)
def test_a_file_in_the_place_of_a_store_is_told(
    run: Callable[..., Result], url: str, tmp_path: Path, command: list[str], instead: str
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    what = "--store" if "--store" in command else "the argument"
    assert f"Error: {what} {ELSEWHERE}{instead}\n" in run(*command, status=2).stderr


@pytest.mark.parametrize("more", [[], ["--store", "sqlite:///log.db"]])
def test_a_word_in_the_place_of_a_store_is_told(run: Callable[..., Result], url: str, more: list[str]) -> None:
    """As if it were a command: with a store, that was said to be named twice."""
    for command in ("queue", "doctor", "migrate"):
        told = run(command, "zebra", *more, status=2).stderr
        assert "the argument is the URL of a store, such as sqlite:///FILE, and not a word (length 5)" in told
        assert "zebra" not in told


def test_a_store_is_named_once(run: Callable[..., Result], url: str) -> None:
    assert "name the store once" in run("doctor", url, "--store", url, status=2).stderr
    assert "name what to read once" in run("audit", url, "--store", url, status=2).stderr
    assert "name what to read once" in run("audit", url, "--file", "log.jsonl", status=2).stderr
