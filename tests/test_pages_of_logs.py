"""The audit and a conversation as pages: whole, offline, with links to the places, and words only where asked for."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lastresort.adapters.documents.conversation_page import WORDS_NOT_SHOWN
from lastresort.adapters.importers.log_file import write_file

from .browser import assert_fits, assert_whole, browser
from .cli_kit import run
from .stores import MODEL, abused, done, ended, log_of, opened, thanked

__all__ = ["browser", "run"]

Run = Callable[..., Result]
SAID = "<b>You & your bucket</b>"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A conversation that ended, with an edit, another answer, and a hold; and one beside it."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        chat = chats.start(model=MODEL.id, conversation="c")
        ended(chat)
        child = done(chat.edit(2, SAID, child="d"))
        done(child.assistant_turn("I see."))
        thanked(child)
        done(chat.retry(4, child="e"))
        done(child.raise_risk(risk="r"))
        abused(chats.start(model=MODEL.id, conversation="other"))
    return url


@pytest.fixture
def log(url: str, tmp_path: Path) -> Path:
    with opened(url) as chats:
        write_file(log_of(chats), tmp_path / "log.jsonl")
    return tmp_path / "log.jsonl"


# --- A conversation ---------------------------------------------------------------------------------------------------


def test_a_conversation_without_words(run: Run, url: str, log: Path, tmp_path: Path) -> None:
    """Nobody asked for them. The law's events are there, with when, and every branch where it opens."""
    out = tmp_path / "c.html"
    assert run("show", "d", "--store", url, "--html", out).stdout == f"3 branches: {out}\n"
    html = out.read_text(encoding="utf-8")
    outline = assert_whole(html)
    assert "bucket" not in html
    assert WORDS_NOT_SHOWN in html
    assert {"t.c", "t.d", "t.e", "t.c.2", "t.d.3"} <= set(outline.ids)
    assert html.count('href="#t.d"') == 2  # from the list of branches, and from where it opens
    assert "An edit, opened after version 1 of c." in html
    assert "Another answer, opened after version" in html
    assert "Ended as a last resort for abuse at version" in html
    assert "d (asked for)" in html
    assert "datetime=" in html
    of_file = tmp_path / "f.html"
    run("show", "d", "--file", log, "--html", of_file)
    assert "bucket" not in of_file.read_text(encoding="utf-8")
    said = run("show", "d", "--file", log, "--html", of_file, "--words", status=2).stderr
    assert "--words is for a store: an exported log has no words" in said


def test_branches_are_shown_side_by_side(run: Run, url: str, tmp_path: Path) -> None:
    """Where one opens, two turns of it, and two of the one that goes on."""
    out = tmp_path / "c.html"
    run("show", "c", "--store", url, "--html", out, "--words")
    fork = out.read_text(encoding="utf-8").partition('<div class="fork"')[2].partition("</li>")[0]
    goes_on, opened = fork.split('<a href="#t.d">')
    for side in (goes_on, opened):
        assert re.findall(r"<p>(user|assistant):</p>", side) == ["user", "assistant"]
    assert "bucket" in opened


def test_a_conversation_with_words(run: Run, url: str, tmp_path: Path) -> None:
    """Where somebody asked, and never as markup."""
    out = tmp_path / "c.html"
    run("show", "c", "--store", url, "--html", out, "--words")
    html = out.read_text(encoding="utf-8")
    assert_whole(html)
    assert SAID not in html
    assert "&lt;b&gt;You &amp; your bucket&lt;/b&gt;" in html


def test_what_does_not_go_together(run: Run, url: str, tmp_path: Path) -> None:
    """A page is of the whole conversation."""
    options = "show", "c", "--store", url
    assert "--words is for a page" in " ".join(run(*options, "--words", status=2).stderr.split())
    page = "--html", tmp_path / "c.html"
    for other in (("--at", "2"), ("--json",)):
        assert "leave out --at and --json" in " ".join(run(*options, *page, *other, status=2).stderr.split())


# --- An audit ---------------------------------------------------------------------------------------------------------


def test_an_audit_of_a_lawful_log(run: Run, url: str, log: Path, tmp_path: Path) -> None:
    """How many events, the digest of their canonical forms, editions; and no finding. Of store and file alike."""
    pages = []
    for source in (url, log):
        out = tmp_path / "audit.html"
        assert "no finding" in run("audit", source, "--html", out).stdout
        pages.append(out.read_text(encoding="utf-8"))
    assert pages[0] == pages[1]
    assert_whole(pages[0])
    assert f"sha256:{hashlib.sha256(log.read_bytes()).hexdigest()}" in pages[0]
    assert "<strong>No finding.</strong>" in pages[0]
    assert "2 on 4 branches" in pages[0]


def test_events_are_told_in_words(run: Run, url: str, log: Path, tmp_path: Path) -> None:
    """Without the names of the code, or that of a risk, which may be long and chosen by nobody."""
    with log.open("a", encoding="utf-8") as file:
        last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
        for branch, version in (("c", 99), ("d", 99), ("other", 99)):
            file.write(
                json.dumps({**last, "branch": branch, "version": version, "position": last["position"] + 1}) + "\n"
            )
    out = tmp_path / "audit.html"
    run("audit", log, "--html", out, status=1)
    html = out.read_text(encoding="utf-8")
    assert "ended as a last resort for abuse, having seen turn 18" in html
    assert "hold: the user may be at risk, raised by assessor assessor" in html
    assert "ConversationEnded" not in html
    assert "last_resort" not in html


def test_an_audit_with_findings(run: Run, log: Path, tmp_path: Path) -> None:
    """Each in sentences, with the rule, and a link to where it is."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if line["kind"] == "ConversationEnded":
            line["event"]["by"]["id"] = "somebody-else"
    lines[1]["kind"] = "Nonsense"
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    out = tmp_path / "audit.html"
    run("audit", log, "--html", out, status=1)
    html = out.read_text(encoding="utf-8")
    assert_whole(html)
    assert "The rule eligible-model says: " in html
    assert 'href="#t.c.22"' in html
    assert "none: an event cannot be read" in html
    assert "cannot be read" in html
    said = run("audit", "-", "--html", out, status=2, input=log.read_text(encoding="utf-8")).stderr
    assert "--html reads the log once more" in said


# --- In a browser -----------------------------------------------------------------------------------------------------


def test_they_fit_the_screen(browser: Any, run: Run, url: str, tmp_path: Path) -> None:
    """Of a phone, a tablet and a desk."""
    out = tmp_path / "page.html"
    run("show", "c", "--store", url, "--html", out, "--words")
    assert_fits(browser, out)
    run("audit", url, "--html", out)
    assert_fits(browser, out)
