"""The report as a page: whole, offline, linked, and in a real browser as wide as the screen."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lastresort import Conversations
from lastresort.adapters.documents.report_page import report_page
from lastresort.projections.reports.report import KEYS, report

from .browser import assert_fits, assert_whole, browser
from .cli_kit import run
from .stores import MODEL, chats, ended, ended_on_request, log_of, opened
from .test_report import drawn

__all__ = ["browser", "chats", "run"]


def test_each_number_leads_to_the_branches_behind_it(chats: Conversations) -> None:
    """And each of these to its ending, told in sentences."""
    for number in range(6):
        ended(chats.start(model=MODEL.id, conversation=f"c-{number}"))
    html = report_page(report(log_of(chats)), "1.2.3")
    assert_whole(html)
    (link,) = re.findall(r">ended as last resort</th><td class=.count.><a href=.#([^\"]+).>6</a>", html)
    behind = html[html.index(f'id="{link}"') :]
    assert '<a class="id" href="#e.c-0">c-0</a>' in behind[:600]
    told = html[html.index('<article id="e.c-0">') :].partition("</article>")[0]
    assert f"The model {MODEL.id} ended it as a last resort for abuse, in version 22" in told
    assert "Three redirections had failed: in versions " in told
    assert "which tested the warning" in told
    assert "lastresort 1.2.3" in html


@pytest.mark.parametrize("by", [(), ("arm",)])
def test_no_number_is_without_a_link(by: tuple[str, ...]) -> None:
    """In the tables, in short, of what is spread, and of the plots; zero has nothing behind it."""
    found = report(drawn(1, 800), by=by)
    html = report_page(found, "1")
    assert_whole(html)  # so that each link leads somewhere
    cells = re.findall(r'<td class="count">(.*?)</td>', html)
    assert {cell for cell in cells if "<a " not in cell} <= {"0", "&lt;5*"}
    assert len([cell for cell in cells if "<a " in cell]) > 50
    assert "<dd>median" not in html
    told = re.findall(r'<div class="short">(.*?)</div>', html)
    assert len(told) == len(found.groups)
    for one in told:
        bare = re.sub(r"<a .*?</a>|&lt;5\*|0 \(0\.0\W%\)|\b0\b", "", one)
        assert re.search(r"\d", bare) is None, bare
    plotted = re.findall(r"<tr><th scope=.row.>[^<]*</th><td>(.*?)</td><td>", html)
    assert plotted
    assert all("<a " in one or one.startswith("0 of") for one in plotted)
    assert "at most 20" in html
    assert "None are named" in report_page(report(drawn(1, 800), branches=0), "1")


def test_groups_stand_side_by_side() -> None:
    """With a plot of each, and the numbers behind it."""
    found = report(drawn(1, 800), by=("arm",), smallest=1)
    html = report_page(found, "1")
    outline = assert_whole(html)
    assert "Side by side" in html
    assert "no arm" in html
    assert outline.tags.count("svg") == html.count("The numbers of this plot") >= 9
    assert html == report_page(found, "1")
    assert "http" not in re.sub(r"https?://www\.w3\.org/\S+", "", html.replace("http-equiv", ""))


def test_of_many_groups_and_of_none(chats: Conversations) -> None:
    """More than can be compared are told, and not drawn; of none there is nothing to tell."""
    many = report_page(report(drawn(1, 800), by=KEYS), "1")
    assert_whole(many)
    assert "Nothing was recorded in this period." in report_page(report([], since="2026-01", until="2026-02"), "1")
    ended_on_request(chats.start(model=MODEL.id))
    few = report_page(report(log_of(chats)), "1")
    assert_whole(few)
    assert "Fewer than 5 conversations: nothing is published." in few
    one = report_page(report(log_of(chats), smallest=1), "1")
    assert "The user asked for it in version" in one
    assert "The user confirmed it in version" in one


@pytest.mark.parametrize("by", [(), ("model", "policy", "arm", "month")])
def test_it_fits_the_screen(browser: Any, tmp_path: Path, by: tuple[str, ...]) -> None:
    """Of a phone, a tablet and a desk."""
    path = tmp_path / "report.html"
    path.write_text(report_page(report(drawn(2, 800), by=by, smallest=1), "1"), encoding="utf-8")
    assert_fits(browser, path)
    page = browser.new_page(viewport={"width": 360, "height": 900})
    page.goto(path.as_uri())
    head = page.locator("table.figures thead").first
    assert head.locator("th").nth(2).bounding_box()["x"] > 0  # per how many: no number is told without it
    assert head.inner_text().split("\n")[-2:] == ["per 10,000", "95 % interval"]
    page.close()


def test_the_command_writes_a_page(run: Callable[..., Result], tmp_path: Path) -> None:
    """Beside what it prints."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        ended(chats.start(model=MODEL.id))
    out = tmp_path / "report.html"
    assert "Endings" in run("report", url, "--html", out, "--smallest", "1").stdout
    assert_whole(out.read_text(encoding="utf-8"))
