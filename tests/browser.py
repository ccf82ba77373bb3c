"""A real browser, for pages that people open: Chromium, where the machine has it. `.ci/run` installs it."""

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (360, 800, 1_400)
"""A phone, a tablet, a desk."""
_FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright. For one test: while it is driven, nothing else in the process can run a loop."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=list(_FLAGS))
        yield chromium
        chromium.close()


def assert_fits(browser: Any, path: Path) -> None:
    """Check that a page fits a phone, a tablet and a desk, in light and dark, and asks nobody for anything."""
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        asked: list[str] = []
        wrong: list[str] = []
        page.on("request", lambda request: asked.append(request.url))  # noqa: B023
        page.on("console", lambda message: wrong.append(message.text))  # noqa: B023
        page.goto(path.as_uri())
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate(_TOO_WIDE)
            assert wide == [], (width, wide)
        assert [url for url in asked if not url.startswith("file:")] == []
        assert wrong == []
        assert page.evaluate(_CONTRAST) >= 4.5  # what WCAG 2 asks of text
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"  # what the keyboard comes to first
        page.close()


_TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  const found = [...document.querySelectorAll("body *")].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width > 0 && box.right > width + 1 && !one.closest(".skip, thead, svg");
  }).map(one => one.tagName + "." + one.className + ": " + one.textContent.slice(0, 40));
  if (document.documentElement.scrollWidth > width) found.push("the page scrolls sideways");
  return found;
}"""

_CONTRAST = """() => {
  const shown = (colour) => colour.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const light = (colour) => {
    const [r, g, b] = shown(colour).map(one => one / 255)
      .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const ratios = [...document.querySelectorAll("p, th, td, dt, dd, a, summary, figcaption, h1, h2, h3")]
    .filter(one => !one.closest(".short, .said, .skip"))
    .map(one => light(getComputedStyle(one).color))
    .map(ink => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05));
  return Math.min(...ratios);
}"""


class Outline(HTMLParser):
    """What a page consists of: ids, links, elements that are open, headings."""

    _VOID = frozenset({"meta", "br", "link", "img", "hr", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.headings: list[int] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if found := re.fullmatch("h([1-6])", tag):
            self.headings.append(int(found[1]))
        if tag not in self._VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self._VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def assert_whole(html: str) -> Outline:
    """Check that a page stands for itself: links lead to places in it, names are apart, headings go step by step."""
    found = Outline(html)
    assert len(found.ids) == len(set(found.ids))
    assert [link for link in found.links if not (link.startswith("#") and link[1:] in found.ids)] == []
    assert "script" not in found.tags
    assert found.headings[0] == 1
    assert all(after <= before + 1 for before, after in zip(found.headings, found.headings[1:], strict=False))
    return found
