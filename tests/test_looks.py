"""How the pages look: a few small golden pictures, with a tolerance, since fonts differ from machine to machine.

`LASTRESORT_LOOKS=folder pytest tests/test_looks.py` writes each state at three widths, in light and dark, into a
folder, to be looked at by a person; and the golden pictures and that of the README again.
"""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from .browser import browser
from .looks import shown, states
from .pages_kit import Tab, Visitor
from .web_kit import service

__all__ = ["browser"]

pytestmark = pytest.mark.xdist_group("browser")
ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "looks"
README = ROOT / "docs" / "pictures" / "pages.webp"
WIDTHS, SCHEMES = (390, 768, 1_440), ("light", "dark")
KEPT = {
    ("new", 1_440, "light"), ("ended", 390, "light"), ("held", 768, "dark"), ("arabic", 390, "dark"),
    ("list", 768, "light"), ("branch", 1_440, "light"), ("then", 1_440, "dark"), ("figures", 390, "light"),
}  # fmt: skip
"""The golden pictures."""
SMALL = 192
"""Their width."""
TOLERANCE = 8.0
"""By how much of 255 a picture may differ from its golden one, on the average: less than a page without its style."""


def small(picture: bytes) -> Any:
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    whole = image.open(BytesIO(picture)).convert("L")
    return whole.resize((SMALL, SMALL * whole.height // whole.width), image.Resampling.BOX)


def difference(one: Any, other: Any) -> float:
    """Return by how much two pictures differ, on the average of their points."""
    assert one.size == other.size
    pairs = zip(one.tobytes(), other.tobytes(), strict=True)
    by: float = sum(abs(a - b) for a, b in pairs) / (one.width * one.height)
    return by


def test_the_pages_look_as_they_were_seen_to(browser: Any) -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    folder = os.environ.get("LASTRESORT_LOOKS")
    wanted = {(width, scheme) for width in WIDTHS for scheme in SCHEMES}
    far: dict[str, float] = {}
    with service() as running:
        visitor, tab = Visitor(running), Tab(browser, running)
        for state in states(visitor):
            for width, scheme in sorted(wanted):
                kept = (state.name, width, scheme) in KEPT
                if not kept and not folder:
                    continue
                name, picture = f"{state.name}-{width}-{scheme}.png", shown(tab, state, width, scheme)
                if folder:
                    Path(folder, name).write_bytes(picture)
                    if kept:
                        small(picture).save(GOLDEN / name, optimize=True)
                else:
                    far[name] = difference(small(picture), image.open(GOLDEN / name))
        tab.wrong = [one for one in tab.wrong if "404" not in one]  # the page of a chat that is none
        tab.close()
    if folder:
        _for_readme(Path(folder))
    assert {name: by for name, by in far.items() if by > TOLERANCE} == {}


def test_a_page_without_its_style_would_be_noticed(browser: Any) -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    with service() as running:
        tab = Tab(browser, running)
        state = next(states(Visitor(running)))
        tab.page.route("**/style.css", lambda route: route.fulfill(body="", content_type="text/css"))
        bare = small(shown(tab, state, 1_440, "light"))
        assert difference(bare, image.open(GOLDEN / "new-1440-light.png")) > TOLERANCE
        tab.close()


def test_the_picture_of_the_readme_is_small() -> None:
    assert 0 < README.stat().st_size < 150_000


def _for_readme(folder: Path) -> None:
    """Put the end of a chat beside what the inspector shows of it."""
    from PIL import Image

    chat, inspector = (Image.open(folder / f"{name}-1440-light.png").convert("RGB") for name in ("ended", "evidence"))
    both = Image.new("RGB", (chat.width * 2 + 24, chat.height), "#8a8f8c")
    both.paste(chat, (0, 0))
    both.paste(inspector, (chat.width + 24, 0))
    README.parent.mkdir(exist_ok=True)
    both.resize((1_800, 1_800 * both.height // both.width)).save(README, quality=82, method=6)
