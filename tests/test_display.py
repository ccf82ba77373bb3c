"""What is shown at a terminal and what is piped: names as they are, and words that cannot pass for lines of the law."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console
from rich.text import Text

from lastresort import Refused
from lastresort.adapters.console import display
from lastresort.adapters.testing.asking import OPERATOR
from lastresort.projections import Finding, Line, views

from .at_terminal import at_a_terminal
from .cli_kit import run, url
from .service_kit import done
from .stores import counting, opened, started

__all__ = ["run", "url"]

LAW = re.compile(r" {0,4}\d+    ")
"""How a line of the law begins."""

FAKE = "    25    · ended at the user's request, having seen turn 2; evidence: none"


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
    assert [line[:13] for line in lines[1:]] == ["    1    · co", "    2  user: ", "    3  assist", "       |     "]
    assert len(lines[2]) > 50_000


NAMES = ["x:100:y", "back\\", "[bold]x[/bold]", ":smile:", "[/]"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(run: Callable[..., Result], tmp_path: Path, name: str) -> None:
    """Whatever they would be elsewhere: markup, emoji, an escape."""
    url = f"sqlite:///{tmp_path}/names.db"
    with opened(url) as chats:
        started(chats, name).user_turn("Hello.")
        chats.chat(name).raise_risk(risk=name)
    assert f"\n{name}  v3  " in run("views", "--store", url).stdout
    assert f"hold: {name}" in run("tree", name, "--store", url).stdout
    assert f"conversation {name} with" in run("show", name, "--store", url).stdout
    assert f"risk {name} to self" in run("show", name, "--store", url).stdout


def test_a_deep_tree_keeps_its_labels_whole(tmp_path: Path) -> None:
    """On a narrow terminal, which wraps what is too wide for it; where a branch began stands beneath it then."""
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
    assert len(shown) == 40
    assert re.search(r"└── branch-of-depth-13 v\d+ active$", shown[-3])
    assert shown[-2].strip() == "edit after 14"


def test_a_fork_that_cannot_be_names_each_rule_once(tmp_path: Path) -> None:
    """Parent and child may break the same one."""
    with opened(f"sqlite:///{tmp_path}/fork.db", new_id=counting()) as chats:
        refused = started(chats).edit(999, "Hello.")
    assert isinstance(refused, Refused)
    rules = [one.rule for one in refused.broken]
    assert "refers-to-the-path" in rules
    assert len(rules) == len(set(rules))


# --- How wide ---------------------------------------------------------------------------------------------------------

LISTS = [
    ["views"],
    ["views", "ended", "--limit", "5"],
    ["why", "c"],
    ["why", "d"],
    ["tree", "c"],
    ["doctor", "--allow", "engine"],
    ["rules"],
    ["policies"],
]


@pytest.mark.parametrize("command", LISTS)
@pytest.mark.parametrize("columns", [None, 50, 60, 80, 132])
def test_a_list_fits(run: Callable[..., Result], url: str, command: list[str], columns: int | None) -> None:
    """In 80 columns, or in as many as COLUMNS says, at a terminal or piped; nothing in it is cut."""
    store = ["--store", url] if command[0] not in ("rules", "policies") else []
    env = {"COLUMNS": str(columns)} if columns else {}
    out = run(*command, *store, status=None, env=env).stdout
    assert all(len(line) <= (columns or 80) or len(line.split()) == 1 for line in out.splitlines())
    wide = run(*command, *store, status=None, env={"COLUMNS": "9999"}).stdout
    assert out.split() == wide.split() or command[0] == "doctor"  # which says how much room is free
    assert "\N{HORIZONTAL ELLIPSIS}" not in out


def test_an_id_is_whole_however_narrow_it_is(run: Callable[..., Result], tmp_path: Path) -> None:
    """It stands on a line of its own, and what is said of it beneath."""
    url = f"sqlite:///{tmp_path}/ids.db"
    parent, child = "p" * 128, "c" * 128
    with opened(url) as chats:
        chat = started(chats, parent)
        chat.user_turn("Hello.")
        done(chat.edit(2, "Good morning.", child=child))
    for width in ("30", "80"):
        for command in (["views"], ["views", "active", "--limit", "9"], ["tree", parent]):
            out = run(*command, "--store", url, env={"COLUMNS": width}).stdout
            assert parent in out
            assert child in out


@pytest.mark.parametrize(("columns", "lines"), [("60", 14), ("80", 10), ("", 3), ("0", 3), ("wide", 3)])
def test_a_transcript_is_as_wide_as_one_says(
    run: Callable[..., Result], tmp_path: Path, columns: str, lines: int
) -> None:
    """With COLUMNS; if nobody says, a turn is one line to the program that reads it."""
    url = f"sqlite:///{tmp_path}/words.db"
    with opened(url) as chats:
        started(chats).user_turn("word " * 100)
    out = run("show", "c", "--store", url, env={"COLUMNS": columns}).stdout.splitlines()
    assert len(out) == lines
    assert lines == 3 or max(map(len, out)) <= int(columns)


def test_a_list_at_a_terminal_is_as_wide_as_that(url: str) -> None:
    """A person sees no line wrapped by the terminal within a word."""
    with at_a_terminal("views", "--store", url, columns=60) as typist:
        shown = typist.left()
    assert max(map(len, shown.splitlines())) <= 60
    assert "    ended at 22: last_resort (abuse); evidence:" in shown


def test_no_line_ends_in_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is wrapped, whether the words come at once or in pieces."""
    words = "One two  three " * 30 + "\n a line of their own \n"
    for columns in range(21, 60):
        out = Console(file=io.StringIO(), width=columns)
        display.show_lines(out, [said(words, 5)])
        live = display.Live(out, None)
        for start in range(0, len(words), 7):
            live.show(words[start : start + 7])
        live.close()
        assert isinstance(out.file, io.StringIO)
        assert [line for line in out.file.getvalue().splitlines() if line != "       | " and line.endswith(" ")] == []


# --- When -------------------------------------------------------------------------------------------------------------


def test_a_transcript_says_when(tmp_path: Path) -> None:
    """Once a day, and wherever an hour went by; where nobody asks, as in a chat, not at all."""
    times = ["2026-01-31T22:00:00", "2026-01-31T22:59:59", "2026-01-31T23:59:59", "2026-02-01T00:00:01"]
    dates = {version: f"{at}.000000+00:00" for version, at in enumerate(times, 1)}
    out = Console(file=io.StringIO(), width=80)
    display.show_lines(out, [said("Hello.", version) for version in dates], dates=dates)
    display.show_lines(out, [said("Hello.", 5)])
    assert isinstance(out.file, io.StringIO)
    assert [line.strip() for line in out.file.getvalue().splitlines()] == [
        "2026-01-31 22:00 UTC", "1  user: Hello.", "2  user: Hello.", "2026-01-31 23:59 UTC", "3  user: Hello.",
        "2026-02-01 00:00 UTC", "4  user: Hello.", "5  user: Hello.",
    ]  # fmt: skip


def test_times_are_told_once_where_they_are_one() -> None:
    """And the day, where it is."""
    first = "2026-01-31T22:00:00.000000+00:00"
    assert display.between(first, first) == "2026-01-31 22:00 UTC"
    assert display.between(first, "2026-01-31T22:05:00.000000+00:00") == "2026-01-31 22:00 to 22:05 UTC"
    assert display.between(first, "2026-02-01T22:05:00.000000+00:00") == "2026-01-31 22:00 to 2026-02-01 22:05 UTC"


@pytest.mark.parametrize("source", ["--store", "--file"])
def test_what_is_looked_at_says_when(run: Callable[..., Result], url: str, tmp_path: Path, source: str) -> None:
    """A list, a tree, a transcript, an answer to why: of a store and of a file."""
    (tmp_path / "log.jsonl").write_text(run("export", url).stdout)
    where = [source, url if source == "--store" else "log.jsonl"]
    for command in (["views"], ["views", "active", "--limit", "1"], ["tree", "c"], ["show", "c"], ["why", "c"]):
        assert "2026-01-31 12:00" in run(*command, *where, status=None).stdout, command
    rows = json.loads(run("views", *where, "--json").stdout)["active"]
    assert rows[0]["first_event_at"] <= rows[0]["last_event_at"]


def test_lists_and_trees_name_the_edition_and_the_mode(run: Callable[..., Result], tmp_path: Path) -> None:
    """A tree where they are not its parent's, in no more than 80 columns; programs read both of every branch."""
    url = f"sqlite:///{tmp_path}/shadow.db"
    with opened(url) as chats:
        chat = started(chats, mode="shadow", edition=1)
        done(chat.user_turn("Hello."))
        done(chat.change_policy(chat.state.policy, edition=2, by=OPERATOR))
        done(chat.edit(2, "Good day.", child="d"))
    shown = run("views", "--store", url).stdout + run("tree", "c", "--store", url).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert run("tree", "c", "--store", url).stdout.splitlines()[1:] == [
        "2026-01-31 12:00 UTC, edition 2, in shadow mode",
        "└── d v3 active  edit after 1",
        "    2026-01-31 12:00 UTC, edition 1, in shadow mode",
    ]
    assert "policy default, edition 1, in shadow mode" in shown
    for rows in (
        json.loads(run("tree", "c", "--store", url, "--json").stdout),
        json.loads(run("views", "--store", url, "--json").stdout)["active"],
    ):
        assert [(row["law"], row["mode"]) for row in rows] == [(2, "shadow"), (1, "shadow")]


def test_of_what_has_ended_why_says_until_when_an_appeal_is_open(run: Callable[..., Result], url: str) -> None:
    told = "It has ended; an appeal is open until 2026-07-31 at least\n"
    assert told in run("why", "c", "--store", url, status=None).stdout
    assert "appeal" not in run("why", "d", "--store", url, status=None).stdout


def test_one_is_not_several(run: Callable[..., Result], tmp_path: Path) -> None:
    """Of events, of branches, of findings."""
    url = f"sqlite:///{tmp_path}/one.db"
    with opened(url) as chats:
        started(chats)
    assert run("audit", url).stdout == "1 event on 1 branch: no finding\n"
    first = json.loads(run("export", url).stdout)
    refused = {**first, "position": 2, "version": 2, "command_id": "x", "kind": "RiskCleared", "schema_version": 1}
    refused["event"] = {"by": {"kind": "operator", "id": "o"}, "risk": "r"}
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (first, refused)))
    told = run("audit", "log.jsonl", status=1).stdout
    assert told.endswith("2 events on 1 branch: 1 finding\n")
    assert told.count("cleared-by-authority") == 1


def test_a_finding_names_each_rule_once() -> None:
    """Those that its detail names already are not named before it."""
    finding = Finding(
        branch="c", version=7, rules=("warned-first", "structure-fork"), detail="warned-first: no warning"
    )
    assert str(finding) == "structure-fork: warned-first: no warning"
    assert str(finding.model_copy(update={"rules": ("warned-first",)})) == "warned-first: no warning"
