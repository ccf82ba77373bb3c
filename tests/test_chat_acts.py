"""What a person does in the chat beside talking, in a real Chromium, and what a screen reader is given of the pages.

`LASTRESORT_ARIA=1` writes the trees that a screen reader is given again, to be read by a person.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from lastresort.domain.values import Actor, ActorKind, HoldReason

from .browser import browser
from .looks import opened as opened_state
from .looks import states
from .pages_kit import Tab, Visitor
from .test_chat_browser import opened
from .web_kit import service

__all__ = ["browser"]

pytestmark = pytest.mark.xdist_group("browser")
GOLDEN = Path(__file__).parent / "golden" / "aria"
OPERATOR = Actor(kind=ActorKind.OPERATOR, id="bob")
TOLD = (
    "new", "answered", "editing", "ways", "asked", "ended", "appeal", "held", "menu", "keys", "list", "branch", "then",
    "queue", "log",
)  # fmt: skip
"""The states of which the tree is kept."""
_VARIES = (
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "DAY"),
    (re.compile(r"(?<=/chat/c/)[\w-]+|(?<=/inspect/b/)[\w-]{12,}"), "ID"),
    (re.compile(r"(?<=\bbranch )\S+(?= opened)|[\w-]{10}(?= (?:edit|another answer) after)|(?<=person-)\w{12}"), "ID"),
    (re.compile(r"(?<=serve TIME )\S+|(?<=cell \")[\w-]{12}(?=\")|\b[0-9a-f]{8,32}\b"), "ID"),
    (re.compile(r'"ID"'), "ID"),
)
"""What differs from run to run, and what stands for it."""


def told(page: Any) -> str:
    """Return the tree that a screen reader is given, without what differs from run to run."""
    tree: str = page.locator("body").aria_snapshot()
    for what, name in _VARIES:
        tree = what.sub(name, tree)
    return f"{tree}\n"


def test_what_a_screen_reader_is_given_is_what_somebody_read(browser: Any) -> None:
    changed, seen = {}, set()
    with service() as running:
        tab = Tab(browser, running)
        tab.page.set_default_timeout(120_000)
        for state in states(running, Visitor(running)):
            if state.name not in TOLD:
                continue
            seen.add(f"{state.name}.yaml")
            opened_state(tab, state, 1_440)
            file, tree = GOLDEN / f"{state.name}.yaml", told(tab.page)
            if os.environ.get("LASTRESORT_ARIA"):
                file.parent.mkdir(exist_ok=True)
                file.write_text(tree)
            elif tree != file.read_text():
                changed[state.name] = tree
        tab.close()
    assert {one.name for one in GOLDEN.iterdir()} == seen
    assert changed == {}


def test_another_answer_to_any_turn_and_the_way_chosen_last_is_come_back_to(browser: Any) -> None:
    with opened(browser) as (_, tab):
        page = tab.page
        tab.say("Help me plan a small garden.")
        tab.say("It is shady.")
        first = page.url
        page.get_by_role("button", name="Another answer").first.click()
        page.wait_for_url(lambda url: url != first and "/chat/c/" in url)
        page.locator(".turn.assistant[data-version]").wait_for()
        page.get_by_text("Version 2 of 2").wait_for()
        second = page.url
        for chosen, label in ((first, "Version before"), (second, "Version after")):
            page.get_by_label(label).click()
            page.wait_for_url(chosen)
            tab.go("/chat")
            page.get_by_role("link", name="Help me plan a small garden.").click()
            page.wait_for_url(chosen)
        page.locator("#message").press("ArrowUp")
        page.locator(".editing textarea").wait_for()
        page.keyboard.press("Escape")
        page.locator(".editing").wait_for(state="detached")


def test_titles_are_searched_and_a_legal_hold_keeps_a_chat_that_is_deleted(browser: Any) -> None:
    with opened(browser) as (running, tab):
        page = tab.page
        tab.say("Help me plan a small garden.")
        kept = page.url.rsplit("/", 1)[1]
        page.get_by_role("button", name="End chat").click()
        page.get_by_role("button", name="Ask to end it").click()
        page.get_by_role("button", name="End it for good").click()
        page.get_by_role("heading", name="You ended this chat").wait_for()
        page.get_by_text("Appeal", exact=True).click()
        page.locator("#appeal-words").fill("I meant the other one.")
        page.get_by_text("What do you think of this ending?").click()
        page.get_by_label("It was wrong").check()
        page.locator("[data-form=feedback] button").click()
        page.get_by_text("Thank you. Your opinion is on record.").wait_for()
        assert page.locator("#appeal-words").is_visible()
        assert page.locator("#appeal-words").input_value() == "I meant the other one."
        tab.go("/chat")
        tab.say("Could you look over a letter?")
        page.keyboard.press("Control+K")
        page.keyboard.type("garden")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=garden")
        links = page.locator("#chats a")
        assert links.all_inner_texts() == ["Help me plan a small garden.\nended"]
        links.first.click()
        page.wait_for_url(f"**/chat/c/{kept}")
        chat = running.house.tenants["default"].conversations.chat(kept)
        chat.hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
        page.get_by_label("More about this chat").click()
        page.get_by_role("button", name="Rename").click()
        page.locator("#ask-input").fill("A letter")
        page.keyboard.press("Enter")
        page.get_by_role("alert").filter(has_text="cannot be renamed now").wait_for()
        assert page.locator("#title").inner_text() == "Help me plan a small garden."
        page.get_by_label("More about this chat").click()
        page.get_by_role("button", name="Delete").click()
        page.locator("#ask-yes").click()
        page.get_by_role("alert").filter(has_text="Nothing was erased").wait_for()
        assert page.evaluate("document.activeElement.ariaLabel") == "More about this chat"
        assert "garden" in page.locator(".turn.user").first.inner_text()
        assert not any(word in page.get_by_role("alert").inner_text() for word in ("litigation", "case-1"))


def test_another_language_and_the_way_out(browser: Any) -> None:
    with opened(browser) as (running, tab):
        page = tab.page
        page.locator("#language").select_option("fr")
        page.locator("html[lang=fr]").wait_for()
        page.locator(".foot button").click()
        page.wait_for_url("**/sign-in")
        tab.go("/chat")
        assert page.url.endswith("/sign-in")
        auditor = Tab(browser, running, "audit", path="/inspect")
        auditor.page.get_by_role("button", name="Sign out").click()
        auditor.page.wait_for_url("**/sign-in")
        auditor.close()
