"""Attachments in a real Chromium: chosen, shown, sent upstream as they are, or refused in a sentence."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from lastresort.adapters.loopback import Request

from .browser import browser
from .test_chat_browser import accessible, opened

__all__ = ["browser"]

pytestmark = pytest.mark.xdist_group("browser")
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PAPER = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def file(name: str, kind: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": kind, "buffer": data}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What a model was asked, of which there is one."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    return []


def thanks(asked: list[Request]) -> Callable[[Request], str]:
    def script(request: Request) -> str:
        asked.append(request)
        return "Thank you."

    return script


def test_pictures_papers_and_texts_pass_through_and_others_are_refused_politely(
    browser: Any, asked: list[Request]
) -> None:
    with opened(browser, thanks(asked)) as (_, tab):
        page, files = tab.page, tab.page.locator("#files button")
        trouble = page.get_by_role("alert")
        for wrong, said in (
            (file("program.exe", "application/x-msdownload", b"MZ\0"), "can be attached"),
            (file("broken.txt", "text/plain", b"\xff\xfe\0"), "can be attached"),
            (file("drawing.svg", "image/svg+xml", b"<svg/>"), "can be attached"),
            (file("long.txt", "text/plain", b"\n" * 600_000), "700 KB"),  # each is two bytes in JSON
            (file("film.png", "image/png", bytes(1_000_000)), "700 KB"),
        ):
            page.locator("#file").set_input_files(wrong)
            trouble.filter(has_text=said).wait_for()
            assert files.count() == 0
        page.locator("#file").set_input_files(
            [
                file("dot.png", "image/png", PICTURE),
                file("paper.pdf", "application/pdf", PAPER),
                file("notes.md", "text/markdown", "Rye, süß".encode()),
                file("settings.toml", "", b"a = 1"),
                file("away.txt", "text/plain", b"away"),
            ]
        )
        page.get_by_label("Remove: away.txt").click()
        names = ["dot.png", "paper.pdf", "notes.md", "settings.toml"]
        assert [one.split()[0] for one in files.all_inner_texts()] == names
        assert not trouble.is_visible()
        accessible(page)
        tab.say("What are these?")
        picture, paper, notes, settings, text = asked[-1].body["messages"][-1]["content"]
        assert base64.b64decode(picture["source"]["data"]) == PICTURE
        assert picture["source"]["media_type"] == "image/png"
        assert base64.b64decode(paper["source"]["data"]) == PAPER
        assert (paper["type"], paper["title"]) == ("document", "paper.pdf")
        assert paper["source"]["media_type"] == "application/pdf"
        assert (notes["source"]["data"], notes["title"]) == ("Rye, süß", "notes.md")
        assert settings["source"]["data"] == "a = 1"
        assert text["text"] == "What are these?"
        assert files.count() == 0
        page.reload()
        shown = page.locator(".turn.user .attached")
        assert shown.locator("img").evaluate("one => one.complete && one.naturalWidth") == 1
        assert shown.locator(".chip").all_inner_texts() == names[1:]
        accessible(page)
        tab.say("And now without any?")
        assert len(asked[-1].body["messages"]) == 3  # the turn before is sent again as it was
        assert asked[-1].body["messages"][0]["content"][0] == picture


def test_an_edited_message_keeps_what_came_with_it_but_for_what_is_removed(browser: Any, asked: list[Request]) -> None:
    with opened(browser, thanks(asked)) as (_, tab):
        page = tab.page
        page.locator("#file").set_input_files(
            [file("dot.png", "image/png", PICTURE), file("notes.txt", "text/plain", b"Rye"),
             file("away.txt", "text/plain", b"Wheat")]
        )  # fmt: skip
        page.get_by_label("Remove: away.txt").wait_for()
        tab.say("What are these?")
        turn, first = page.locator(".turn.user"), page.url
        assert turn.inner_text().split("\n")[-1] == "What are these?"
        assert "[" not in page.locator("body").inner_text()
        page.get_by_role("button", name="Edit", exact=True).click()
        area, chips = page.locator(".editing textarea"), page.locator(".editing .chip")
        assert area.input_value() == "What are these?"
        removes = [page.locator(".editing").get_by_label(f"Remove: {one}") for one in ("png", "notes.txt", "away.txt")]
        assert [one.count() for one in removes] == [1, 1, 1] == [chips.count() // 3] * 3
        accessible(page)
        chips.last.click()
        area.fill("And these two?")
        area.press("Enter")
        page.wait_for_url(lambda url: url != first)
        page.locator(".turn.assistant[data-version]").wait_for()
        sent = asked[-1].body["messages"][-1]["content"]
        assert [one.get("title") or one.get("text") or one["type"] for one in sent] == [
            "image", "notes.txt", "And these two?",
        ]  # fmt: skip
        assert turn.locator(".chip").all_inner_texts() == ["notes.txt"]
        assert turn.locator("img").count() == 1
        page.get_by_label("Version before").click()
        page.wait_for_url(first)
        assert turn.locator(".chip").all_inner_texts() == ["notes.txt", "away.txt"]  # what was said stays as it was


def test_a_message_of_a_file_alone_is_edited_and_shown_without_words(browser: Any) -> None:
    with opened(browser) as (_, tab):
        page = tab.page
        page.locator("#file").set_input_files(file("notes.txt", "text/plain", b"Rye"))
        page.get_by_label("Remove: notes.txt").wait_for()
        page.get_by_role("button", name="Send").click()
        page.locator(".turn.assistant[data-version]").wait_for()
        turn = page.locator(".turn.user")
        assert page.locator("#title").inner_text() == "notes.txt"
        assert not turn.locator(".said").is_visible()
        page.get_by_role("button", name="Edit", exact=True).click()
        page.keyboard.press("Escape")
        assert not turn.locator(".said").is_visible()
        assert turn.locator(".chip").is_visible()
        page.get_by_role("button", name="Edit", exact=True).click()
        first = page.url
        page.locator(".editing textarea").press("Enter")
        page.wait_for_url(lambda url: url != first)
        page.locator(".turn.assistant[data-version]").wait_for()
        assert turn.locator(".chip").all_inner_texts() == ["notes.txt"]
