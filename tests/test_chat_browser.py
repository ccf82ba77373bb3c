"""The chat in a real Chromium: by keyboard, for people who do not see it, over losses, and against what is hostile."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lastresort.adapters.loopback import Answer, Request, hanging, text
from lastresort.adapters.turns.partner import REDIRECTION

from .browser import browser
from .pages_kit import INSULT, Tab, Visitor, long_chat
from .test_chat_markdown import HOSTILE
from .test_inspect_page import until
from .web_kit import Service, service

__all__ = ["browser"]

pytestmark = pytest.mark.xdist_group("browser")
TURNS = int(os.environ.get("LASTRESORT_TURNS", "400"))
"""Of a chat that is long; 2,000 where the figures are taken."""
WHOLE = "# Bread\n\nFlour, water, salt.\n\n* mix\n* wait\n\nThen bake it."


def accessible(page: Any) -> None:
    """Check that axe-core finds nothing serious or critical on a page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = axe.Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in grave] == []


@contextmanager
def opened(browser: Any, script: Any = None, **more: Any) -> Iterator[tuple[Service, Tab]]:
    changes = {"upstream": {"credentials": "held"}} if script is not None else {}
    with service(script, **changes) as running:
        made = Tab(browser, running, **more)
        yield running, made
        made.close()


def spoken(page: Any) -> list[str]:
    """Return what a screen reader was told, in order."""
    return page.evaluate("window.told")  # type: ignore[no-any-return]


_LISTEN = """() => { window.told = []; new MutationObserver(() => {
  const text = document.querySelector("#status").textContent.trim();
  if (text && window.told.at(-1) !== text) window.told.push(text);
}).observe(document.querySelector("#status"), {childList: true, characterData: true, subtree: true}); }"""


_WATCH = """window.broken = [];
document.addEventListener("securitypolicyviolation", (event) => window.broken.push(event.blockedURI));"""


def test_a_chat_from_hello_to_its_ending_and_on_by_keyboard_alone(browser: Any) -> None:
    with opened(browser) as (_, tab):
        page, key = tab.page, tab.page.keyboard
        accessible(page)
        page.evaluate(_LISTEN)
        assert page.evaluate("document.activeElement.id") == "message"
        for number in range(5):
            key.type(INSULT)
            key.press("Enter")
            page.locator(".turn.assistant[data-version]").nth(number).wait_for()
            if number < 4:
                page.locator("#send:visible").wait_for()
        page.locator("#banner-title").wait_for()
        told = spoken(page)
        assert told.count("Answering…") == 5
        assert sum("rather not go on" in one for one in told) == 3  # each whole answer once, and no word of it before
        assert told[-1].endswith("This chat has ended")
        assert page.evaluate("document.activeElement.id") == "banner-title"
        accessible(page)
        ended = page.url
        assert page.locator("#inspector").get_attribute("href") == f"/inspect/b/{ended.rpartition('/')[2]}"
        assert page.get_by_role("button", name="Copy", exact=True).count() == 5
        for _ in range(2):
            key.press("Tab")
        assert page.evaluate("document.activeElement.dataset.act") == "edit-earlier"
        key.press("Enter")
        page.locator(".editing textarea").wait_for()
        accessible(page)
        key.press("Escape")
        assert page.evaluate("document.activeElement.dataset.act") == "edit"
        key.press("Enter")
        key.press("Control+A")
        key.type("Could you help me with a letter?")
        key.press("Enter")
        page.wait_for_url(lambda url: url != ended)
        page.locator(".turn.assistant").get_by_text("Tell me more about what you would like to do.").wait_for()
        page.get_by_text("Version 2 of 2").wait_for()
        page.get_by_label("Version before").focus()
        key.press("Enter")
        page.wait_for_url(ended)
        page.get_by_text("Version 1 of 2, ended").wait_for()
        key.press("Control+/")
        page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
        accessible(page)
        key.press("Escape")
        page.get_by_text("What do you think of this ending?").click()
        page.get_by_label("It was wrong").check()
        page.get_by_label("Anything you would like to add").press("Tab")
        key.press("Enter")
        page.get_by_text("Your opinion is on record").wait_for()
        page.get_by_text("Appeal", exact=True).click()
        assert "open until 20" in page.locator("[data-form=appeal]").inner_text()
        page.get_by_role("button", name="Send the appeal").click()
        page.get_by_text("A person will decide it").wait_for()
        key.press("Control+Shift+O")
        page.get_by_text("What would you like to talk about?").wait_for()
        assert "Skip to your message" in page.evaluate(
            "() => { document.activeElement.blur(); return document.querySelector('a').textContent; }"
        )


def test_asking_to_end_leaving_renaming_and_deleting(browser: Any) -> None:
    with opened(browser) as (_, tab):
        page = tab.page
        tab.say("Hello.")
        page.get_by_role("button", name="End chat").click()
        page.get_by_role("button", name="Ask to end it").click()
        page.get_by_role("heading", name="End this chat for good?").wait_for()
        accessible(page)
        page.get_by_role("button", name="End it for good").click()
        page.get_by_role("heading", name="You ended this chat").wait_for()
        page.get_by_label("More about this chat").click()
        page.get_by_role("button", name="Rename").click()
        page.get_by_role("textbox", name="Title", exact=True).fill("A farewell")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="A farewell").wait_for()
        tab.go("/chat")
        tab.say("I want to die")
        page.get_by_role("heading", name="You are not alone").wait_for()
        accessible(page)
        for word in ("ended", "ending", "End chat", "permanent"):
            assert word not in page.locator("body").inner_text()
        page.get_by_role("button", name="Leave").click()
        page.locator("#notice.good", has_text="Nothing is locked").wait_for()
        page.get_by_role("link", name="A farewell").click()
        page.get_by_label("More about this chat").click()
        page.get_by_role("button", name="Delete").click()
        page.locator("#ask-yes").click()
        page.locator("#notice.good", has_text="The chat was deleted").wait_for()
        assert page.get_by_role("link", name="A farewell").count() == 0


def test_stop_keeps_what_was_shown_and_a_file_passes_through(
    browser: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    asked: list[Request] = []

    def script(request: Request) -> Any:
        asked.append(request)
        return hanging(Answer([text("The beginning of a long answer. " * 20)]), events=6) if len(asked) == 1 else WHOLE

    with opened(browser, script) as (_, tab):
        page = tab.page
        page.locator("#message").fill("Tell me a long story.")
        page.keyboard.press("Enter")
        page.locator(".grows").get_by_text("The beginning").wait_for()
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("Stopped here.").wait_for()
        assert "The beginning" in page.locator(".turn.assistant[data-version]").inner_text()
        file = tmp_path / "recipe.txt"
        file.write_text("Rye flour")
        page.locator("#file").set_input_files(file)
        page.get_by_label("Remove: recipe.txt").wait_for()
        page.locator("#file").set_input_files({"name": "x.exe", "mimeType": "application/x-exe", "buffer": b"x"})
        page.get_by_role("alert").filter(has_text="can be attached").wait_for()
        tab.say("What do you think of it?")
        assert page.locator(".turn.assistant li").all_inner_texts()[-2:] == ["mix", "wait"]
        assert "Rye flour" in str(asked[-1].body["messages"][-1])


def test_the_offline_partner_can_be_stopped_and_what_was_shown_is_all_that_it_said(browser: Any) -> None:
    with service(chat={"pace": 1.0}) as running:
        tab = Tab(browser, running)
        page = tab.page
        page.locator("#message").fill(INSULT)
        page.keyboard.press("Enter")
        page.locator(".grows").get_by_text("I would").wait_for()
        page.keyboard.press("Escape")
        page.get_by_text("Stopped here.").wait_for()
        shown = page.locator(".turn.assistant[data-version] .said").inner_text()
        assert REDIRECTION.startswith(shown)
        assert len(shown) < len(REDIRECTION)
        page.locator("#send:visible").wait_for()
        tab.close()


def test_an_answer_goes_on_over_a_reload_a_second_tab_and_a_lost_network(
    browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    goes_on = threading.Event()

    def script(request: Request) -> str:
        assert goes_on.wait(60)
        return WHOLE

    with opened(browser, script) as (_, tab):
        page = tab.page
        page.locator("#message").fill("How do I bake bread?")
        page.keyboard.press("Enter")
        page.wait_for_url("**/chat/c/*")
        page.locator("#stop:visible").wait_for()
        second = tab.open()
        second.goto(page.url)
        second.locator("#stop:visible").wait_for()
        page.reload()
        page.locator("#stop:visible").wait_for()
        tab.context.set_offline(True)
        for one in (page, second):
            one.locator("#notice", has_text="The connection was lost").wait_for()
        tab.context.set_offline(False)
        goes_on.set()
        for one in (page, second):
            one.get_by_role("heading", name="Bread", exact=True).wait_for()
            one.locator(".turn.assistant[data-version]").wait_for()
            assert one.locator(".turn.assistant").count() == 1
            one.locator("#notice").wait_for(state="hidden")
        tab.wrong = [told for told in tab.wrong if "ERR_INTERNET_DISCONNECTED" not in told]


def test_an_answer_comes_though_the_service_stops_and_another_one_starts(
    browser: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    changes: dict[str, Any] = {"store": f"sqlite:///{tmp_path}/chats.db", "upstream": {"credentials": "held"}}
    with service(lambda request: hanging(Answer([text(WHOLE)]), events=1), server={"graceful": 0.5}, **changes) as one:
        tab = Tab(browser, one)
        tab.page.locator("#message").fill("How do I bake bread?")
        tab.page.keyboard.press("Enter")
        tab.page.locator(".grows").wait_for()
        tab.page.wait_for_url("**/chat/c/*")
    with service(lambda request: WHOLE, server={"port": int(one.url.rpartition(":")[2])}, **changes):
        tab.page.locator(".turn.assistant[data-version]").get_by_role("heading", name="Bread").wait_for()
        tab.wrong = [told for told in tab.wrong if "Failed to load resource" not in told]  # while nobody was there
        tab.close()


def test_nothing_hostile_runs_or_loads_wherever_it_is_written(browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    everything = "\n\n".join(HOSTILE)
    with opened(browser, lambda request: everything) as (running, tab):
        page = tab.page
        page.add_init_script(_WATCH)
        tab.go("/chat")
        tab.say(everything)
        branch = page.url.rsplit("/", 1)[1]
        visitor = Visitor(running)
        visitor.post(f"/api/v1/conversations/{branch}/metadata", {"title": HOSTILE[0] + HOSTILE[1]})
        visitor.post(f"/api/v1/branches/{branch}/feedback", {"content": everything})
        policy = {"toml": f"name = {json.dumps(HOSTILE[0])}\nmin_failed_redirections = 9\n"}
        replay = visitor.post("/inspect/what-ifs", policy, 202)["id"]
        until(lambda: visitor.get(f"/inspect/what-if?id={replay}"), "nothing was written")
        asked = quote(HOSTILE[0], safe="")
        for path in (
            f"/chat/c/{branch}",
            f"/inspect/b/{branch}",
            f"/inspect/b/{branch}?replay={replay}",
            f"/inspect/what-if?id={replay}",
            "/inspect",
            "/inspect/log",
            f"/chat?q={asked}",
            *(f"/inspect?{name}={asked}" for name in ("account", "model", "policy", "refused", "since", "after", "x")),
            f"/inspect/report?from={asked}",
            f"/inspect/shadow?model={asked}",
            f"/inspect/audit?id={asked}",
        ):
            tab.go(path)
            page.locator("body").wait_for()
            assert page.evaluate("window.broken") == [], path
            assert page.locator("img:not([src^='/static']):not([src^='data:'])").count() == 0
        tab.wrong = [told for told in tab.wrong if "422" not in told]  # for the month that does not exist
        # `close` checks that no dialog came up, nothing was logged, and nobody else was asked.


def test_a_chat_of_many_turns_is_there_at_once(browser: Any) -> None:
    with opened(browser) as (running, tab):
        branch = long_chat(running, TURNS)
        tab.go(f"/chat/c/{branch}")
        took = tab.page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
        print(f"interactive after {took:.0f} ms")
        assert tab.page.locator(".turn[data-version]").count() == 100
        assert tab.page.get_by_text(f"Answer {TURNS // 2 - 1}.").is_visible()
        assert took < 60_000  # the figure is measured by hand: a machine under load takes as long as it likes


def test_right_to_left_zoom_and_a_phone_scroll_nothing_sideways(browser: Any) -> None:
    with service() as running:
        tab = Tab(browser, running, settings={"reduced_motion": "reduce", "has_touch": True})
        page = tab.page
        tab.say("مرحبا، كيف حالك؟")
        path = page.url.removeprefix(running.url)
        assert page.evaluate("getComputedStyle(document.querySelector('.turn.user .said')).direction") == "rtl"
        for language, width in (("ar", 390), ("en", 390), ("ar", 1_440), ("de", 720)):  # 720 px: 1,440 at 200 %
            page.set_viewport_size({"width": width, "height": 844})
            tab.go(f"{path}?lang={language}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            accessible(page)
        page.get_by_role("button", name="Chats").first.click()
        page.locator("#side").get_by_role("link", name="Neuer Chat").wait_for()
        tab.close()
