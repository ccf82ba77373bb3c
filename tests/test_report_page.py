"""The report as a page: whole, offline, linked, and in a real browser as wide as the screen."""

import re
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lastresort import Conversations
from lastresort.adapters.documents.report_page import _compared, _plots, report_page
from lastresort.projections.reports.report import KEYS, Bin, report

from .browser import assert_fits, assert_whole, browser
from .cli_kit import run
from .stores import MODEL, chats, ended, ended_on_request, log_of, opened, thanked
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
    cells = [re.sub(r" <span.*?</span>", "", cell) for cell in re.findall(r'<td class="count">(.*?)</td>', html)]
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
    assert all("<a " in one or one.startswith("0 of") or one == "&lt;5*" for one in plotted)
    assert "at most 20" in html
    assert "None are named" in report_page(report(drawn(1, 800), branches=0), "1")


def test_each_share_says_of_how_many(chats: Conversations) -> None:
    """What it is a part of may stand further up."""
    for number in range(12):
        (ended if number < 6 else thanked)(chats.start(model=MODEL.id))
    html = report_page(report(log_of(chats)), "1")
    rows = re.findall(r'<tr class="part"><th scope="row">([^<]*)</th><td class="count">(.*?)</td><td>(.*?)</td>', html)
    told = {label: re.sub(r"<.*?>", "", counted) for label, counted, rate in rows if rate}
    assert told["as last resort, for abuse"] == "6 of 6"
    assert told["with bail and no refusal"] == "6 of 12"
    assert all(re.fullmatch(r"[\d,]+ (of|in) [\d,]+", one) for one in told.values()), told
    after = html[html.index(">What came after<") :]
    assert after.index('<tr><th scope="row">endings</th>') < after.index('<tr class="part">')
    assert "`" not in re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)
    assert "6 endings whose numbers are published above" in html
    assert "The first 2 endings whose" in report_page(report(log_of(chats), branches=2), "1")


def test_a_plot_says_what_it_leaves_out(chats: Conversations) -> None:
    """So that nobody takes it for nothing; or for a group that there is not."""
    for number in range(18):
        (ended if number < 6 else thanked)(chats.start(model=MODEL.id, arm="abc"[number % 3]))
    for _ in range(12):
        ended(chats.start(model=MODEL.id, arm="d"))
        thanked(chats.start(model=MODEL.id, arm="d"))
    found = report(log_of(chats), by=("arm",))
    (plot,) = [one for one in _compared(found) if one.title == "Conversations with an ending as last resort"]
    assert plot.note == "* 3 rows are left out: below 5, or they would tell a number that is."
    assert [row[1] for row in plot.rows[:3]] == ["<5*"] * 3
    assert plot.svg.count(">*<") == 3
    assert str(plot.note) in report_page(found, "1")
    bars = {
        **found.groups[3].figures,
        "attempts.rule.x": found.groups[0].figures["endings"],
        "attempts.rule.y": found.groups[3].figures["conversations.harmful"],
    }
    spread = found.groups[3].spreads["turns_to_ending"]
    spreads = {
        "turns_to_ending": spread.model_copy(update={"bins": (Bin(0, 0, None), Bin(1, 1, 12))}),
        "hold_hours": spread.model_copy(update={"bins": ()}),
    }
    made = found.groups[3].model_copy(update={"figures": bars, "spreads": spreads})
    notes = {one.title: one.note for one in _plots(0, made, 5)}
    left_out = "left out: below 5, or it would tell a number that is."
    assert notes["Attempts refused, by rule"] == f"* 1 bar is {left_out}"
    assert notes["Turns from the first harm to the ending as last resort"] == f"* 1 column is {left_out}"
    assert notes["Users who relented"] == "One has nothing to show."


def test_more_groups_than_a_plot_has_room_for() -> None:
    """It says that there are more."""
    found = report(drawn(1, 800), by=KEYS, smallest=1)
    notes = [one.note for one in _compared(found)]
    assert len(found.groups) > 13
    assert notes
    assert all(f"The first 12 groups; {len(found.groups) - 12} more are told below." in note for note in notes)


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


_CORNERS = """() => [...document.querySelectorAll('.plot svg')].map(svg => [...svg.querySelectorAll('text')])
.map(texts => texts.map(one => {
  const box = one.getBBox(), to = one.getScreenCTM(), right = box.x + box.width, low = box.y + box.height;
  return [[box.x, box.y], [right, box.y], [right, low], [box.x, low]].map(([x, y]) => {
    const at = new DOMPoint(x, y).matrixTransform(to); return [at.x, at.y];
  });
}))"""


def overlap(one: list[list[float]], other: list[list[float]]) -> bool:
    """Whether two boxes overlap, however they are turned: no line along a side of one parts them."""
    for box in (one, other):
        for (x, y), (to_x, to_y) in pairwise(box[:3]):
            shadows = [[px * (to_x - x) + py * (to_y - y) for px, py in points] for points in (one, other)]
            if max(shadows[0]) <= min(shadows[1]) or max(shadows[1]) <= min(shadows[0]):
                return False
    return True


def test_no_label_of_a_plot_lies_on_another(browser: Any, tmp_path: Path) -> None:
    """On a phone as at a desk, and in print, where the numbers behind a plot are open."""
    path = tmp_path / "report.html"
    found = report(drawn(3, 12_000), smallest=1)
    wide = [one for one in found.groups[0].spreads.values() if len(one.bins) > 12]
    assert wide
    path.write_text(report_page(found, "1"), encoding="utf-8")
    for width in (360, 800, 1_400):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(path.as_uri())
        plots = page.evaluate(_CORNERS)
        assert len(plots) == 4
        for labels in plots:
            assert not [(one, other) for one, other in combinations(labels, 2) if overlap(one, other)], width
        page.emulate_media(media="print")
        tables = page.evaluate(
            "[...document.querySelectorAll('.plot table')].map(one => one.getBoundingClientRect().height)"
        )
        assert all(height > 20 for height in tables)
        page.close()


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
