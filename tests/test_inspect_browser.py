"""The inspector in a real Chromium: evidence and endings that lead to each other, time, acts, and what it costs."""

from typing import Any

import pytest

from .browser import browser
from .pages_kit import Tab, Visitor
from .test_chat_browser import accessible
from .test_report_shadow import told
from .web_kit import service

__all__ = ["browser"]

pytestmark = pytest.mark.xdist_group("browser")


def test_an_auditor_goes_from_the_list_to_the_evidence_and_through_time(browser: Any) -> None:
    with service() as running:
        visitor = Visitor(running)
        ended = visitor.ended()
        visitor.start("Help me plan a small garden.")
        tab = Tab(browser, running, path="/inspect")
        page = tab.page
        accessible(page)
        page.set_viewport_size({"width": 390, "height": 844})
        accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator(".scrolls").evaluate("one => one.scrollWidth - one.clientWidth") <= 0
        page.set_viewport_size({"width": 1_440, "height": 900})
        page.get_by_role("link", name="last resort").click()
        page.get_by_label("No longer A branch ended on last resort").wait_for()
        for name, lines in (("CSV", 2), ("JSONL", 1)):  # of what is shown: the head, and the one that has ended
            with page.expect_download() as download:
                page.get_by_role("link", name=name, exact=True).click()
            assert len(download.value.path().read_text(encoding="utf-8").splitlines()) == lines
        page.get_by_role("link", name="You are useless").click()
        accessible(page)
        page.locator(".ending .proofs a").first.focus()
        assert page.locator(".tied").count() >= 6  # both ends are marked while one of them is looked at
        page.keyboard.press("Enter")
        first = page.evaluate("location.hash")
        page.locator(f"{first} .proofs.back a").click()
        assert page.evaluate("location.hash") == f"#{page.locator('.ending').get_attribute('id')}"
        page.locator("#at").focus()
        page.keyboard.press("ArrowLeft")
        page.wait_for_url("**at=**")
        page.get_by_text("As it was then.").wait_for()
        page.get_by_role("heading", name="Why not end it?").wait_for()
        page.get_by_role("link", name="on request").click()
        page.locator(".grounds [aria-current]", has_text="on request").wait_for()
        assert page.locator(".why summary", has_text="warned-first").count() == 0
        accessible(page)
        tab.go(f"/inspect/b/{ended}")
        page.get_by_role("treeitem").get_by_role("link").first.press("ArrowDown")
        tab.close()


def test_an_operator_takes_a_second_look_before_each_act(browser: Any) -> None:
    with service() as running:
        visitor = Visitor(running)
        branch = visitor.start("I want to die")
        appealed = visitor.ended()
        visitor.post(f"/api/v1/branches/{appealed}/appeals")
        tab = Tab(browser, running, path="/inspect/queue")
        page = tab.page
        accessible(page)
        page.get_by_role("link", name="I want to die").click()
        page.get_by_role("button", name="Clear", exact=True).click()
        accessible(page)
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Clear", exact=True).click()
        page.get_by_role("button", name="Clear it").click()
        page.get_by_text("cleared by operator ada").wait_for()
        page.get_by_text("Hold the words from erasure").click()
        page.get_by_label("Name").first.fill("<img src=x onerror=alert(1)>")  # a tab fails that shows a dialog
        page.get_by_role("button", name="Set the hold").click()
        page.get_by_role("button", name="Hold them").click()
        assert "alert(1)" not in page.get_by_role("alert").filter(visible=True).first.inner_text()
        assert all("422" in one for one in tab.wrong), tab.wrong
        tab.wrong.clear()
        page.get_by_label("Name").first.fill("case-7")
        page.get_by_role("button", name="Set the hold").click()
        page.get_by_role("button", name="Hold them").click()
        page.get_by_role("button", name="Release").wait_for()
        page.get_by_text("Erase the words").click()
        page.get_by_role("button", name="Erase the whole conversation").click()
        page.get_by_role("button", name="Erase it").click()
        page.get_by_role("alert").filter(has_text="The legal hold case-7 stands on these words.").wait_for()
        page.get_by_role("button", name="Release").click()
        page.get_by_role("button", name="Release it").click()
        page.get_by_text("words released").wait_for()
        tab.go(f"/inspect/b/{appealed}")
        page.get_by_role("button", name="Grant the appeal").click()
        page.locator("#ask-yes").click()
        page.get_by_text("granted").first.wait_for()
        page.locator(".line.user").first.hover()
        page.get_by_role("button", name="Erase the words of turn").first.click()
        page.get_by_role("button", name="Erase them").click()
        page.get_by_text("erased by operator ada").wait_for()
        acts = [one.act for one in running.house.log.page("default", 0, 1_000)]
        assert {"risk.cleared", "hold.set", "hold.released", "appeal.decided", "words.read"} <= {*acts}
        assert acts.count("words.erased.refused") == acts.count("words.erased") == 1
        assert branch in visitor.get("/inspect")
        tab.close()


def test_audits_and_replays_are_waited_for(browser: Any) -> None:
    with service() as running:
        Visitor(running).ended()
        tab = Tab(browser, running, path="/inspect/audit")
        page = tab.page
        page.get_by_role("button", name="Audit the log now").click()
        page.get_by_text("No finding in").wait_for()
        accessible(page)
        page.get_by_role("link", name="What if").click()
        page.get_by_label("or your own (TOML)").set_input_files(
            {"name": "own.toml", "mimeType": "text/plain", "buffer": b"min_failed_redirections = 1"}
        )
        page.get_by_role("button", name="Replay").click()
        assert page.get_by_role("alert").filter(has_text="no policy").inner_text().split("\n") == [
            "the file is no policy:", "name: it is missing",
            "line 1: min_failed_redirections: Input should be greater than or equal to 2",
        ]  # fmt: skip
        accessible(page)
        page.get_by_label("or your own (TOML)").set_input_files([])
        page.get_by_role("button", name="Replay").click()
        page.get_by_text("nothing was written").wait_for()
        accessible(page)
        for path in ("/inspect/figures", "/inspect/log"):
            tab.go(path)
            accessible(page)
        tab.wrong = [one for one in tab.wrong if "422" not in one]  # the policy that is none
        tab.close()


def test_what_is_counted_is_accessible_and_no_table_is_wider_than_a_phone(browser: Any) -> None:
    with service() as running:
        told(running.house.tenants["default"].conversations)
        visitor = Visitor(running)
        held = visitor.start("Help me plan a small garden.")
        visitor.post(
            f"/api/v1/branches/{held}/holds", {"hold": "case-1", "reason": "litigation", "until": "2030-01-31"}
        )
        tab = Tab(browser, running, path="/inspect/figures")
        page = tab.page
        for path in ("report?group=mode", "report?arm=x:on", "shadow", "shadow?group=policy", "log", "queue"):
            page.set_viewport_size({"width": 1_440, "height": 900})
            tab.go(f"/inspect/{path}")
            page.locator(".rows:visible").first.wait_for()
            accessible(page)
            page.set_viewport_size({"width": 390, "height": 844})
            accessible(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
            assert page.evaluate(_WIDE_TABLES) == 0, path
        tab.close()


_WIDE_TABLES = "[...document.querySelectorAll('.scrolls')].filter(one => one.scrollWidth > one.clientWidth + 1).length"
