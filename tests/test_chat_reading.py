"""Where a reader of the chat is, in a real Chromium: what is in sight, has the focus, and is being written."""

from typing import Any

import pytest

from .browser import browser
from .pages_kit import INSULT, long_chat
from .test_chat_browser import accessible, opened

__all__ = ["browser"]

pytestmark = pytest.mark.xdist_group("browser")
PHONE, DESK = (390, 844), (1_440, 900)
_IN_SIGHT = """(one) => { const box = one.getBoundingClientRect(), below = document.querySelector("#below");
  const end = getComputedStyle(document.querySelector("#main")).overflowY === "auto" ? innerHeight
    : below.getBoundingClientRect().top;
  return box.height > 0 && box.bottom <= end + 1 && box.bottom > 0; }"""


def drawn(page: Any) -> None:
    """Wait for two pictures: by then all that came near has been laid out."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def at_end(page: Any) -> None:
    """Wait until the end of the last turn is in sight, and stays there while what is above takes on its height."""
    last = page.locator("#log > .turn").last
    for _ in range(200):
        drawn(page)
        if last.evaluate(_IN_SIGHT):
            return
    scroll = page.locator("#scroll")
    raise AssertionError(scroll.evaluate("(one) => [one.scrollTop, one.scrollHeight, one.clientHeight]"))


def has_focus(page: Any) -> Any:
    return page.evaluate("() => { const one = document.activeElement; return one.id || one.ariaLabel || one.tagName; }")


def sized(page: Any, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_end_of_a_chat_is_in_sight_whatever_was_said_unless_the_reader_scrolled_up(
    browser: Any, size: tuple[int, int]
) -> None:
    with opened(browser) as (running, tab):
        page = tab.page
        sized(page, size)
        tab.say("I would like to plan a garden. " * 200)
        at_end(page)
        tab.say("It is shady, and the soil is heavy. " * 60)
        at_end(page)
        branch = long_chat(running, 80, "Word after word. " * 60)
        tab.go(f"/chat/c/{branch}")
        at_end(page)
        page.reload()
        at_end(page)
        scroll, seen = page.locator("#scroll"), page.get_by_text("Answer 36.")
        scroll.evaluate("(one) => one.scrollBy(0, -2500)")
        seen.evaluate("(one) => one.scrollIntoView({block: 'start'})")
        drawn(page)
        tab.say("Who reads what was said before is not taken from it?")
        at_end(page)  # what one says oneself is gone to
        seen.evaluate("(one) => one.scrollIntoView({block: 'start'})")
        before = seen.evaluate("(one) => one.getBoundingClientRect().top")
        page.get_by_label("More about this chat").click()
        page.get_by_role("button", name="Rename").click()
        page.get_by_role("textbox", name="Title", exact=True).fill("Read it again")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Read it again").wait_for()
        assert has_focus(page) == "More about this chat"
        assert abs(seen.evaluate("(one) => one.getBoundingClientRect().top") - before) < 2
        page.reload()
        seen.wait_for()
        drawn(page)
        assert abs(seen.evaluate("(one) => one.getBoundingClientRect().top") - before) < 2
        tab.go(f"/chat/c/{branch}")
        at_end(page)


def test_the_way_to_a_sibling_leaves_focus_and_place_where_they_were(browser: Any) -> None:
    with opened(browser) as (running, tab):
        page, key = tab.page, tab.page.keyboard
        branch = long_chat(running, 40, "Word after word. " * 30)
        tab.go(f"/chat/c/{branch}")
        answer = page.locator(".turn.assistant").nth(8)
        answer.get_by_role("button", name="Another answer").focus()
        key.press("Enter")
        page.wait_for_url(lambda url: branch not in url)
        page.get_by_text("Version 2 of 2").wait_for()
        page.locator("#send:visible").wait_for()
        assert has_focus(page) == "message"
        arrow = page.get_by_label("Version before")
        arrow.focus()
        top = arrow.evaluate("(one) => one.closest('.turn').getBoundingClientRect().top")
        key.press("Enter")
        page.wait_for_url(f"**/{branch}")
        page.get_by_text("Version 1 of 2").wait_for()
        assert has_focus(page) == "Version after"
        drawn(page)
        turn = page.locator(".turn", has=page.get_by_label("Version after"))
        assert abs(turn.evaluate("(one) => one.getBoundingClientRect().top") - top) < 2
        page.get_by_label("Version after").click()
        page.get_by_text("Version 2 of 2").wait_for()
        assert has_focus(page) == "message"  # who uses a mouse goes on writing
        page.locator("#language").focus()
        page.locator("#language").select_option("de")
        page.locator("html[lang=de]").wait_for()
        assert has_focus(page) == "language"
        page.locator("#search").fill("long")
        key.press("Enter")
        page.wait_for_url("**q=long")
        assert has_focus(page) == "search"
        sized(page, PHONE)
        page.reload()
        page.locator("#chats").get_by_role("link", name="A long chat").wait_for()  # and it is seen on a phone
        page.locator("#search:focus").wait_for()


def test_what_is_written_outlives_a_reload_and_is_forgotten_once_it_is_sent(browser: Any) -> None:
    with opened(browser) as (_, tab):
        page, message = tab.page, tab.page.locator("#message")
        message.fill("A first line\nand a second")
        page.reload()
        assert message.input_value() == "A first line\nand a second"
        message.press("Enter")
        page.locator(".turn.assistant[data-version]").wait_for()
        page.reload()
        assert message.input_value() == ""
        message.fill("Not sent yet")
        page.get_by_role("button", name="Edit", exact=True).click()
        page.locator(".editing textarea").fill("Not yet edited")
        page.reload()
        assert message.input_value() == "Not sent yet"
        page.get_by_role("button", name="Edit", exact=True).click()
        assert page.locator(".editing textarea").input_value() == "Not yet edited"
        message.fill("It comes while something is edited.")
        message.press("Enter")
        page.locator(".turn.assistant[data-version]").nth(1).wait_for()
        assert page.locator(".editing textarea").input_value() == "Not yet edited"
        page.keyboard.press("Control+Shift+O")
        page.wait_for_url("**/chat")
        message.fill("Of another chat")
        page.go_back()
        page.get_by_label("More about this chat").click()
        page.get_by_role("button", name="Delete").click()
        page.locator("#ask-yes").click()
        news = page.locator("#notice", has_text="The chat was deleted.")
        news.wait_for()
        assert "good" in (news.get_attribute("class") or "")
        assert not page.get_by_role("alert").is_visible()
        assert message.input_value() == "Of another chat"
        kept = page.evaluate("JSON.stringify(sessionStorage)")
        assert "Not yet edited" not in kept
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        assert "Of another chat" not in page.evaluate("JSON.stringify(sessionStorage)")


def test_a_lost_network_is_told_in_sight_and_come_back_from(browser: Any) -> None:
    with opened(browser) as (_, tab):
        page = tab.page
        tab.say("Hello.")
        tab.context.set_offline(True)
        page.locator("#message").fill("Is anybody there?")
        page.keyboard.press("Enter")
        page.locator("#notice", has_text="The connection was lost").wait_for()
        accessible(page)
        assert page.locator(".turn.assistant[data-version]").count() == 1
        tab.context.set_offline(False)
        page.locator(".turn.assistant[data-version]").nth(1).wait_for()
        page.locator("#notice").wait_for(state="hidden")
        assert page.locator(".turn.user").count() == 2
        tab.wrong = [told for told in tab.wrong if "Failed to load resource" not in told]


def test_at_twice_the_size_the_header_and_the_message_stay_in_sight(browser: Any) -> None:
    with opened(browser) as (running, tab):
        page = tab.page
        for width, height in ((720, 450), (640, 360)):  # 1,440 by 900 px and 1,280 by 720 px, at 200 %
            sized(page, (width, height))
            tab.go(f"/chat/c/{long_chat(running, 40)}")
            at_end(page)
            page.locator("#scroll").evaluate("(one) => one.scrollBy(0, -400)")
            for part in ("#top", "#composer"):
                box = page.locator(part).bounding_box()
                assert box["y"] >= 0
                assert box["y"] + box["height"] <= height, part
            assert page.locator("#scroll").bounding_box()["height"] > height / 2
        tab.go("/chat")
        for number in range(5):
            tab.say(INSULT) if number < 4 else page.locator("#message").fill(INSULT)
        page.keyboard.press("Enter")
        page.locator("#banner-title").wait_for()
        page.locator("#main").evaluate("(one) => { one.scrollTop = 0; one.scrollTop = one.scrollHeight; }")
        assert page.locator("#top").bounding_box()["y"] == 0
