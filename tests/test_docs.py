"""Whatever the documentation shows is run, as it stands there, so that a reader who tries it gets what they read.

In README.md, SECURITY.md, CONTRIBUTING.md and docs/, each page from top to bottom in a folder of its own: `python`
blocks in one namespace, as a script, and the lines of `console` and `bash` blocks that begin with `$ `. What stands
below such a line is what it prints, where `...` stands for anything; text after `<!-- prints -->` is what the Python
before it prints. TOML that begins with `# policy` is a policy, JSON after `<!-- transcript -->` or `<!-- log -->` is
one.
"""

import doctest
import gc
import importlib
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

from lastresort import Policy
from lastresort.adapters.importers.log_file import read_log
from lastresort.adapters.importers.transcripts import read_transcripts
from lastresort.domain.events import Unreadable

from .stores import ROOT

TOP = [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").rglob("*.md"))]
RUN = {"python", "console", "bash", "sh", "toml", "json", "jsonl"}
_FENCE = re.compile(r"^(?:<!-- (\w+) -->\n)?```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: what it is marked as, its language, its text, and the line of the page on which it begins."""

    mark: str | None
    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        mark, language, inside = found.groups()
        yield Block(mark, language, inside, text.count("\n", 0, found.start(3)) + 1)


def of(page: Path, *languages: str) -> list[Block]:
    return [block for block in blocks(page) if block.language in languages]


def pages_with(*languages: str) -> list[object]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if of(page, *languages)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like a fresh checkout, for somebody who follows a page: examples and the verifier are there."""
    here = tmp_path / "checkout"
    here.mkdir()
    for name in ("examples", "verify"):
        (here / name).symlink_to(ROOT / name)
    monkeypatch.chdir(here)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "160")
    return here


def test_the_readme_shows_how_to_embed_it() -> None:
    """With a block of Python at least."""
    assert of(ROOT / "README.md", "python")


def test_every_block_is_of_a_language_that_is_run_or_is_text() -> None:
    """A block that nobody runs is a promise that nobody keeps."""
    for page in PAGES:
        for block in blocks(page):
            assert block.language in RUN | {"text"}, f"{page.name}:{block.line}: {block.language or 'no language'}"


@pytest.mark.filterwarnings("ignore:Item:UserWarning")  # pydantic's, of types of LiteLLM's
@pytest.mark.parametrize("page", pages_with("python", "console", "bash", "sh"))
def test_a_page_runs(page: Path, folder: Path) -> None:
    """From top to bottom, and prints what it shows."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        if block.language == "python":
            printed = run_python(page, block, namespace)
        elif block.mark == "prints":
            assert not missing_from(printed, block.text.splitlines()), f"{page.name}:{block.line}\n{printed}"
        elif block.language in ("console", "bash", "sh"):
            run_commands(page, block, folder)
    for thing in list(namespace.values()):
        if callable(close := getattr(thing, "close", None)) and not isinstance(thing, type):
            close()
    namespace.clear()
    with warnings.catch_warnings():  # a script leaves its connections to the end of the process; here that is no end
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def run_python(page: Path, block: Block, namespace: dict[str, object]) -> str:
    """Run a block as the next lines of a script, and return what it prints."""
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    with redirect_stdout(StringIO()) as printed:
        exec(code, namespace)
    return printed.getvalue()


# --- Commands ---------------------------------------------------------------------------------------------------------


class Command(NamedTuple):
    """A line that is typed, and the lines that it is shown to print."""

    typed: str
    shown: list[str]
    line: int


def commands(block: Block) -> list[Command]:
    """Read a block: `$ ` begins a command, `> ` or a backslash goes on with it, and the rest is what it prints."""
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        if line.startswith("$ "):
            found.append(Command(line[2:], [], number))
        elif found and not found[-1].shown and found[-1].typed.endswith("\\"):
            found[-1] = found[-1]._replace(typed=f"{found[-1].typed}\n{line.removeprefix('> ')}")
        elif found and line.strip():
            found[-1].shown.append(line)
    return found


def missing_from(printed: str, shown: list[str]) -> list[str]:
    """The lines that are shown and were not printed, in this order, with anything in place of `...`."""
    rest = [" ".join(line.split()) for line in printed.splitlines()]
    missing = []
    for line in shown:
        pattern = re.compile(".*".join(re.escape(" ".join(part.split())) for part in line.split("...")))
        at = next((n for n, one in enumerate(rest) if pattern.search(one)), None)
        if at is None:
            missing.append(line)
        elif line.strip() != "...":
            rest = rest[at + 1 :]
    return missing


def run_commands(page: Path, block: Block, folder: Path) -> None:
    """Run the commands of a block; `make` and `pip` are for another test, and another machine."""
    for command in commands(block):
        if re.match(r"(make|pip|python3? -m pip|python3? -m venv|git|docker|psql|createdb)\b", command.typed):
            continue
        done = subprocess.run(
            ["bash", "-c", command.typed],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        where = f"{page.name}:{command.line}: $ {command.typed}"
        assert done.returncode in (0, 1), f"{where}\n{done.stdout}"
        assert "Traceback" not in done.stdout, f"{where}\n{done.stdout}"
        assert not missing_from(done.stdout, command.shown), f"{where}\n{done.stdout}"


def test_what_is_shown_is_compared_with_what_is_printed() -> None:
    """The comparison itself can fail: on a line that is not there, and on one out of order."""
    printed = "one 1 events\ntwo   words\nthree\n"
    assert missing_from(printed, ["one ... events", "two words", "..."]) == []
    assert missing_from(printed, ["..."]) == []
    assert missing_from(printed, ["one 2 events"]) == ["one 2 events"]
    assert missing_from(printed, ["three", "two words"]) == ["two words"]


def test_commands_are_read_from_a_block() -> None:
    """With what they print, over several lines, and without the prose between them."""
    block = Block(None, "console", "$ one \\\n> two\nprinted\n\n$ three\n", 7)
    assert commands(block) == [Command("one \\\ntwo", ["printed"], 7), Command("three", [], 11)]


# --- Formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", pages_with("toml"))
def test_policies_that_are_shown_can_be(page: Path) -> None:
    """Those that say so in their first line."""
    for block in of(page, "toml"):
        if block.text.startswith("# policy"):
            Policy.from_toml(block.text, f"{page.name}:{block.line}")


@pytest.mark.parametrize("page", pages_with("json", "jsonl"))
def test_transcripts_and_logs_that_are_shown_can_be_read(page: Path, tmp_path: Path) -> None:
    """Each line of them."""
    for block in of(page, "json", "jsonl"):
        path = tmp_path / f"{page.name}-{block.line}"
        path.write_text(block.text, encoding="utf-8")
        if block.mark == "transcript":
            assert read_transcripts([path])
        elif block.mark == "log":
            entries = [entry for _, entry in read_log(path)]
            assert entries
            assert not [entry for entry in entries if isinstance(entry, Unreadable)]
        else:
            assert block.mark is None, f"{page.name}:{block.line}: nothing is known of {block.mark}"


# --- Docstrings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["lastresort.domain.policy", "lastresort.adapters"])
def test_docstrings_show_what_python_says(module: str) -> None:
    """By the name of the module, since it is installed under another path than it stands in."""
    failed, tried = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert tried > 0
    assert failed == 0
