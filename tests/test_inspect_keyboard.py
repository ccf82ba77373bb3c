"""The inspector by the keyboard, on a phone and at 200 % zoom, in a real Chromium."""

from typing import Any

import pytest

from .browser import browser
from .pages_kit import Tab, Visitor
from .test_chat_browser import accessible
from .web_kit import service

__all__ = ["browser"]

pytestmark = pytest.mark.xdist_group("browser")


def pressed(page: Any, selector: str, key: str = "Enter") -> None:
    """Press a key on an element, and wait until the page that comes has the focus there again."""
    page.locator(selector).focus()
    with page.expect_navigation():
        page.keyboard.press(key)
    page.locator(f"{selector}:focus").wait_for()


def test_the_focus_stays_where_it_was_when_a_page_comes_again(browser: Any) -> None:
    with service() as running:
        visitor = Visitor(running)
        ended = visitor.ended()
        tab = Tab(browser, running, path=f"/inspect/b/{ended}")
        page = tab.page
        for selector in ("[data-step='-1']", "[data-step='-1']", "[data-step='1']"):
            pressed(page, selector)
        for key in ("PageDown", "ArrowLeft", "Home", "End"):
            pressed(page, "#at", key)
        pressed(page, "#at", "PageDown")
        pressed(page, "select[name=category]", "ArrowDown")
        assert "category=" in page.url
        pressed(page, ".grounds a:last-child")
        pressed(page, ".here a")
        tab.go("/inspect")
        pressed(page, ".facets section:first-of-type li:last-child a")
        tab.go("/inspect/audit")
        pressed(page, "[data-job]")
        page.get_by_text("No finding in").wait_for()
        page.locator("[data-job]:focus").wait_for()
        tab.go(f"/inspect/b/{ended}")
        page.locator("[data-step='-1']").click()
        page.wait_for_url("**at=**")
        page.get_by_text("As it was then.").wait_for()
        assert page.evaluate("document.activeElement.localName") == "body"  # somebody with a mouse has no focus to lose
        tab.close()


def test_after_an_act_it_is_said_that_it_is_done_and_the_focus_is_on_the_page(browser: Any) -> None:
    with service() as running:
        branch = Visitor(running).start("I want to die")
        tab = Tab(browser, running, path=f"/inspect/b/{branch}")
        page = tab.page
        page.get_by_role("button", name="Clear", exact=True).press("Enter")
        with page.expect_navigation():
            page.locator("#ask-yes").press("Enter")
        page.locator("#status", has_text="Done.").wait_for()
        assert page.evaluate("document.activeElement.localName") == "h1"  # the button that was pressed is gone
        page.get_by_text("Hold the words from erasure").press("Enter")
        page.get_by_label("Name").first.fill("case-7")
        page.get_by_role("button", name="Set the hold").press("Enter")
        with page.expect_navigation():
            page.locator("#ask-yes").press("Enter")
        page.locator("#status", has_text="Done.").wait_for()
        assert page.evaluate("document.activeElement.localName") == "h1"  # it is in what is folded again
        tab.close()


def test_all_is_shaded_of_which_nothing_can_be_told(browser: Any) -> None:
    with service() as running:
        visitor = Visitor(running)
        ended = visitor.ended()
        replay = visitor.post("/inspect/what-ifs", {"toml": 'name = "slow"\nmin_failed_redirections = 9\n'}, 202)["id"]
        tab = Tab(browser, running, path=f"/inspect/what-if?id={replay}")
        page = tab.page
        page.locator("tr.undecidable a").click()
        page.get_by_text("From here on nothing can be told").wait_for()
        shaded = page.locator(".line.undecidable")
        assert shaded.first.get_attribute("class") == "line law ending undecidable"
        for nth in range(shaded.count()):
            assert "gradient" in shaded.nth(nth).evaluate("one => getComputedStyle(one).backgroundImage")
        accessible(page)
        pressed(page, "#at", "ArrowLeft")
        assert f"replay={replay}" in page.url  # what the page is about stays
        tab.go(f"/inspect/b/{ended}?replay={replay}#v22")
        assert "gradient" in page.locator("#v22:target").evaluate("one => getComputedStyle(one).backgroundImage")
        tab.close()


_TREE = "ones => ones.map(one => one.getBoundingClientRect().left)"
_TOP = "one => one.getBoundingClientRect().top"


def test_on_a_phone_nothing_covers_anything_and_the_state_is_a_link_away(browser: Any) -> None:
    with service() as running:
        visitor = Visitor(running)
        ended = visitor.ended()
        visitor.post(f"/api/v1/branches/{ended}/edits", {"turn": 2, "content": "Could you look over a letter?"})
        tab = Tab(browser, running, path=f"/inspect/b/{ended}")
        page = tab.page
        for width, height in ((390, 844), (720, 450)):  # a phone, and 200 % zoom of 1,440 px
            page.set_viewport_size({"width": width, "height": height})
            tab.go("/inspect")
            tab.go(f"/inspect/b/{ended}")
            accessible(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for line in page.locator(".line.user, .line.assistant").all():
                time, button = line.locator("time").bounding_box(), line.locator(".quiet").bounding_box()
                assert time is not None
                assert button is not None
                beside = button["x"] >= time["x"] + time["width"] or button["y"] >= time["y"] + time["height"]
                assert beside, (width, time, button)
            root, child = page.locator(".tree li").evaluate_all(_TREE)
            assert child > root + 8
            page.get_by_role("link", name="State: ended").click()
            bar = page.get_by_role("navigation", name="Inspector").bounding_box()
            assert bar is not None
            below = bar["y"] + bar["height"]
            assert 0 <= bar["y"] < below < height / 4  # it is in sight, and leaves room
            assert below <= page.get_by_role("heading", name="State").evaluate(_TOP) < height / 2
            page.locator(".proofs a").first.focus()
            page.keyboard.press("Enter")
            assert below <= page.locator(":target").evaluate(_TOP)
            page.get_by_role("button", name="Sign out").focus()
            assert page.get_by_role("button", name="Sign out").evaluate(_TOP) >= 0
        tab.close()
