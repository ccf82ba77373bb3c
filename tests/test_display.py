"""What is shown at a terminal and what is piped: names as they are, and words that cannot pass for lines of the law."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console
from rich.text import Text

from lastresort import Refused
from lastresort.adapters.console import display
from lastresort.projections import Line, views

from .cli_kit import run
from .service_kit import done
from .stores import counting, opened, started

__all__ = ["run"]

LAW = re.compile(r" {0,4}\d+    ")
"""How a line of the law begins."""

FAKE = "    25    · ended: user_request, having seen turn 2; evidence: none"


def at_terminal(lines: list[Line], width: int) -> list[str]:
    """What a terminal of a width shows, row by row."""
    out = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False, force_terminal=False)
    display.show_lines(out, lines)
    assert isinstance(out.file, io.StringIO)
    rows = out.file.getvalue().splitlines()
    assert all(Text(row).cell_len <= width for row in rows)
    return rows


def said(text: str, version: int = 2) -> Line:
    return Line(version, "c", "UserTurnTaken", "user", text)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(f"{'x' * 59} {FAKE.strip()}", id="wrapped at a word"),
        pytest.param("x" * 66 + FAKE, id="one long word"),
        pytest.param("\u4f60" * 33 + FAKE, id="wide letters"),
        pytest.param(f"Hello.\n{FAKE}\n\n{FAKE}", id="lines of their own"),
        pytest.param(f"Hello.\r{FAKE}\x0b{FAKE}\u2028{FAKE}\x85{FAKE}", id="other ends of lines"),
    ],
)
def test_words_cannot_pass_for_a_line_of_the_law(words: str, width: int) -> None:
    """However they are wrapped: what goes on stands behind a margin, in feedback too."""
    for line in (said(words), Line(24, "c", "FeedbackGiven", None, f"feedback: down: {words}")):
        first, *rest = at_terminal([line], width)
        assert first.startswith(f"{line.version:>5}  ")
        assert rest
        assert all(row.startswith("       | ") for row in rest)
        assert not [row for row in rest if LAW.match(row)]


def test_a_turn_that_is_piped_is_one_line(run: Callable[..., Result], tmp_path: Path) -> None:
    """However long; but for the lines that it has itself, which stand behind the margin."""
    url = f"sqlite:///{tmp_path}/words.db"
    with opened(url) as chats:
        chat = started(chats)
        chat.user_turn("word " * 10_000)
        chat.assistant_turn(f"One.\n{FAKE}")
    lines = run("show", "c", "--store", url).stdout.splitlines()
    assert [line[:13] for line in lines] == ["    1    · co", "    2  user: ", "    3  assist", "       |     "]
    assert len(lines[1]) > 50_000


NAMES = ["x:100:y", "back\\", "[bold]x[/bold]", ":smile:", "[/]"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(run: Callable[..., Result], tmp_path: Path, name: str) -> None:
    """Whatever they would be elsewhere: markup, emoji, an escape."""
    url = f"sqlite:///{tmp_path}/names.db"
    with opened(url) as chats:
        started(chats, name).user_turn("Hello.")
        chats.chat(name).raise_risk(risk=name)
    rows = run("views", "--store", url).stdout.splitlines()
    assert [cell.strip() for row in rows for cell in row.split("│")[1:3] if row.count("│") > 5][:2] == [name, name]
    assert f"hold: {name}" in run("tree", name, "--store", url).stdout
    assert f"conversation {name} with" in run("show", name, "--store", url).stdout
    assert f"risk {name} to self" in run("show", name, "--store", url).stdout


def test_a_deep_tree_keeps_its_labels_whole(tmp_path: Path) -> None:
    """On a narrow terminal, which wraps what is too wide for it."""
    with opened(f"sqlite:///{tmp_path}/deep.db", new_id=counting()) as chats:
        chat = started(chats)
        chat.user_turn("Hello.")
        for depth in range(14):
            chat = done(chat.edit(chat.seen or 2, "Hello.", child=f"branch-of-depth-{depth}"))
        rows = views(chats.tree_log("c")).all
    out = Console(file=io.StringIO(), width=60)
    display.show_tree(out, rows)
    assert isinstance(out.file, io.StringIO)
    shown = out.file.getvalue().splitlines()
    assert len(shown) == 15
    assert re.search(r"└── branch-of-depth-13 v\d+ active  edit after \d+$", shown[-1])


def test_a_fork_that_cannot_be_names_each_rule_once(tmp_path: Path) -> None:
    """Parent and child may break the same one."""
    with opened(f"sqlite:///{tmp_path}/fork.db", new_id=counting()) as chats:
        refused = started(chats).edit(999, "Hello.")
    assert isinstance(refused, Refused)
    rules = [one.rule for one in refused.broken]
    assert "refers-to-the-path" in rules
    assert len(rules) == len(set(rules))
