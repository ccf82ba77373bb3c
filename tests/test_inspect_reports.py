"""The inspector's figures and reports: of what the list is narrowed to, counted once, and shown at once."""

import csv
import json
import re
import time
from collections.abc import Iterator
from html import unescape
from io import StringIO
from typing import Any

import pytest

from lastresort.adapters.pages import counted
from lastresort.adapters.service import jobs

from .pages_kit import Visitor
from .stores import MODEL, ended, thanked
from .test_inspect_page import until
from .test_report_shadow import told
from .web_kit import Service, service


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service() as one:
        told(one.house.tenants["default"].conversations)
        yield one


@pytest.fixture(scope="module")
def auditor(running: Service) -> Visitor:
    return Visitor(running, "audit")


def shown(visitor: Visitor, path: str) -> str:
    """Return a page once what it shows is counted: on a machine under load that may take longer than the page waits."""
    while "data-poll" in (page := visitor.get(path)):
        time.sleep(0.1)
    return page


def tags(page: str) -> list[str]:
    return [unescape(one) for one in re.findall(r'class="tag" href="[^"]*" aria-label="No longer ([^"]+)"', page)]


def test_figures_are_of_the_whole_log(auditor: Visitor) -> None:
    page = shown(auditor, "/inspect/figures")
    assert "last resort" in page
    assert re.search(r"<dt>conversations</dt><dd>23</dd>", page)
    assert "Of the whole log, up to position" in page
    assert shown(auditor, "/inspect/figures") == page


def test_a_report_is_of_what_the_list_is_narrowed_to_and_leads_back_to_it(auditor: Visitor) -> None:
    listed = auditor.get("/inspect?arm=x:on&status=ended&by=last_turn&since=2020-01-01&limit=5")
    found = re.search(r'href="(/inspect/report\?[^"]+)">Report of these', listed)
    assert found is not None
    page = shown(auditor, unescape(found[1]))
    assert "8 conversations listed</a>" in page
    assert tags(page) == tags(listed) == ["Arm x:on", "Status ended on every branch", "Since 2020-01-01"]
    back = re.search(r'Of the <a href="([^"]+)">', page)
    assert back is not None
    assert auditor.get(unescape(back[1])).count('th scope="row"') == 8
    assert 'value="x:on"' in page  # the form keeps it
    assert "Report of all" in auditor.get("/inspect")
    assert "23 conversation" not in shown(auditor, "/inspect/report")
    assert "Of the whole log" in shown(auditor, "/inspect/report?by=last_turn")  # says nothing of which
    assert "Nothing of that was recorded" in shown(auditor, "/inspect/report?model=nobody")
    assert "Nothing of that was recorded in this time" in shown(auditor, "/inspect/report?to=2020-01")
    few = shown(auditor, "/inspect/report?account=b-1")
    assert "1 conversation listed</a>" in few
    assert "With fewer than 5 conversations" in few


def test_groups_stand_side_by_side_and_each_can_be_read_whole(auditor: Visitor) -> None:
    page = shown(auditor, "/inspect/report?group=mode")
    assert "Side by side" in page
    assert '<h2 id="whole">enforced</h2>' in page
    assert '<h2 id="whole">shadow</h2>' in shown(auditor, "/inspect/report?group=mode&part=1")
    assert '<h2 id="whole">shadow</h2>' in shown(auditor, "/inspect/report?group=mode&part=99")
    assert re.search(r'<details class="behind">.*?<a class="id" href="/inspect/b/e-0">', page)
    (plot, *others) = re.findall(r'<img src="(/inspect/[^"]+)" alt="', page)
    assert len(others) >= 1
    drawn = auditor.ask("GET", unescape(plot))
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert drawn.text.startswith("<svg xmlns=")
    assert "prefers-color-scheme" in drawn.text
    assert "The numbers of this plot" in page
    auditor.get("/inspect/report/99.svg", 404)


@pytest.mark.parametrize("upto", [0, 3])
def test_few_conversations_are_read_one_by_one_as_they_are_in_the_whole_log(
    running: Service, monkeypatch: pytest.MonkeyPatch, upto: int
) -> None:
    store = running.house.tenants["default"].conversations.store
    log = jobs.CountedLog(store, store.head() - upto, iter)
    some = {one.branch for one in store.log() if one.version == 1 and one.position % 3 == 0}
    alone = list(log.of(some))
    assert [one.position for one in alone] == sorted(one.position for one in alone)
    for few in ((0, 0), (len(some), len(alone) // 2)):
        monkeypatch.setattr(jobs, "FEW", few)
        assert list(log.of(some)) == alone


def test_what_is_shown_comes_as_files_that_say_the_same(auditor: Visitor) -> None:
    page = shown(auditor, "/inspect/report?arm=x:on&group=policy")
    files = {unescape(one) for one in re.findall(r'href="(/inspect/report\.\w+\?[^"]+)"', page)}
    by_kind = {re.findall(r"\.(\w+)\?", one)[0]: one for one in files}
    assert set(by_kind) == {"csv", "json", "html"}
    data = json.loads(auditor.get(by_kind["json"]))
    assert data["groups"][0]["figures"]["conversations"]["count"] == 8
    lines = list(csv.DictReader(StringIO(auditor.get(by_kind["csv"]))))
    assert next(one["count"] for one in lines if one["figure"] == "conversations") == "8"
    kept = auditor.ask("GET", by_kind["html"])
    assert "What a log tells" in kept.text
    assert "script-src" not in kept.headers["content-security-policy"]
    shadow = shown(auditor, "/inspect/shadow?group=policy")
    found = re.search(r'href="(/inspect/shadow\.json\?[^"]+)"', shadow)
    assert found is not None
    assert {one["shadow"] for one in json.loads(auditor.get(unescape(found[1])))} == {8, None}


def test_the_shadow_stands_beside_what_is_enforced(auditor: Visitor) -> None:
    page = shown(auditor, "/inspect/shadow")
    assert "All policies" in page
    assert "<b>57.1 %</b> <small>8 of 14</small>" in page
    assert "8 of 9" not in page  # one of nine is left, which would be told
    assert "+0.0 <small>" in page
    assert "not told apart" in page
    assert "&lt;5*" in page
    by_policy = shown(auditor, "/inspect/shadow?group=policy&since=2020-01-01")
    assert by_policy.count("<table") == 2
    assert "fewer than 5" in by_policy
    assert tags(by_policy) == ["Since 2020-01-01"]
    assert "No conversation was in the shadow" in shown(auditor, "/inspect/shadow?arm=x:on")
    assert "Nothing of that was recorded" in shown(auditor, "/inspect/shadow?model=nobody")


@pytest.mark.parametrize("page", ["report", "shadow"])
@pytest.mark.parametrize(
    ("query", "told"),
    [("mode=x", "mode"), ("from=yesterday", "since: write a day or a month"), ("finding=any", "no audit was made yet"),
     ("since=x", "since")],
)  # fmt: skip
def test_what_is_wrong_in_an_address_is_told(auditor: Visitor, page: str, query: str, told: str) -> None:
    assert told in auditor.get(f"/inspect/{page}?{query}")
    assert auditor.ask("GET", f"/inspect/{page}.json?{query}").status_code == 422


def test_without_the_extra_for_plots_there_is_a_report_without_plots(
    running: Service, auditor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lastresort.adapters.pages.counted.find_spec", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "lastresort.adapters.documents.report_page", None)
    page = shown(auditor, "/inspect/report?arm=x:shadow")
    assert "<code>documents</code>" in page
    assert '<img src="/inspect' not in page
    assert "One file" not in page
    assert "There is no such report" in auditor.get("/inspect/report.html", 501)


def test_a_long_log_is_counted_beside_the_pages_and_again_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "SHORT", 0)
    monkeypatch.setattr(counted, "_GLANCE", 0.0)
    with service() as one:
        conversations = one.house.tenants["default"].conversations
        for _ in range(5):
            ended(conversations.start(model=MODEL.id))
        visitor = Visitor(one, "audit")
        head = conversations.store.head()
        first = until(lambda: visitor.get("/inspect/report"), "5</")
        assert f"up to position {head:,}." in first
        moved = visitor.ask("GET", "/inspect/report.csv?group=month", follow_redirects=False)
        assert moved.status_code in (200, 303)
        thanked(conversations.start(model=MODEL.id))
        later = visitor.get("/inspect/report")
        assert f"up to position {head:,}. The log goes on to {head + 3:,}" in later
        again = re.search(r'href="([^"]+)">count again', later)
        assert again is not None
        until(lambda: visitor.get(unescape(again[1])), f"up to position {head + 3:,}.", "6</")
        assert "count again" not in visitor.get("/inspect/report")  # the longest count is the one that is shown
        until(lambda: visitor.get("/inspect/figures"), "<dd>6</dd>")
        rows = one.house.tenants["default"].tables.rows("SELECT id FROM service_jobs WHERE kind = 'report'")
        assert len([row for row in rows if row["id"].startswith(rows[0]["id"][:16])]) == 1  # earlier ones are gone


def test_a_count_that_fails_says_so_and_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError

    with service() as one:
        visitor = Visitor(one, "audit")
        conversations = one.house.tenants["default"].conversations
        thanked(conversations.start(model=MODEL.id))
        with monkeypatch.context() as patch:
            patch.setattr("lastresort.adapters.pages.inspect_reports.figures", broken)
            assert "could not be counted" in visitor.get("/inspect/figures")
        assert "could not be counted" in visitor.get("/inspect/figures")
        monkeypatch.setattr(jobs, "FAILED_FOR", jobs.FAILED_FOR * 0)
        time.sleep(0.01)
        assert "<dt>conversations</dt>" in visitor.get("/inspect/figures")
