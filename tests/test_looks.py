"""How the pages look: of each state a small golden sheet, with a tolerance, since fonts differ from machine to machine.

A sheet has a state at three widths, in light and dark. An ordinary run compares each state at one of the six,
another for each state. `LASTRESORT_LOOKS=all` compares all. `LASTRESORT_LOOKS=folder` writes
pictures of their full size into a folder, to be looked at by a person, and the golden sheets and the picture of the
README again; of the states that `LASTRESORT_STATES` names, with commas, or else of all.
"""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from .browser import browser
from .looks import opened, shown, states
from .pages_kit import Tab, Visitor
from .web_kit import service

__all__ = ["browser"]

pytestmark = pytest.mark.xdist_group("browser")
ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "looks"
README = ROOT / "docs" / "pictures" / "pages.webp"
CASES = tuple((width, scheme) for width in (390, 768, 1_440) for scheme in ("light", "dark"))
SMALL, TALL = 192, 416
"""The width of a picture on a sheet, and the height of the sheet."""
TOLERANCE = 8.0
"""By how much of 255 a picture may differ from its golden one, on the average: less than a page without its style."""
ALL = "all"


def small(picture: bytes) -> Any:
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    whole = image.open(BytesIO(picture)).convert("RGB")
    return whole.resize((SMALL, SMALL * whole.height // whole.width), image.Resampling.BOX)


def golden(state: str, case: tuple[int, str], height: int) -> Any:
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    left = SMALL * CASES.index(case)
    with image.open(GOLDEN / f"{state}.webp") as sheet:
        return sheet.convert("RGB").crop((left, 0, left + SMALL, height))


def difference(one: Any, other: Any) -> float:
    """Return by how much two pictures differ, on the average of their points."""
    assert one.size == other.size
    pairs = zip(one.tobytes(), other.tobytes(), strict=True)
    by: float = sum(abs(a - b) for a, b in pairs) / (3 * one.width * one.height)
    return by


def test_the_pages_look_as_they_were_seen_to(browser: Any) -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    asked, only = os.environ.get("LASTRESORT_LOOKS"), os.environ.get("LASTRESORT_STATES", "")
    folder = None if asked in (None, ALL) else Path(asked)
    far: dict[str, float] = {}
    seen = set()
    with service() as running:
        visitor, tab = Visitor(running), Tab(browser, running)
        tab.page.set_default_timeout(120_000)
        for nth, state in enumerate(states(running, visitor)):
            seen.add(f"{state.name}.webp")
            if only and state.name not in only.split(","):
                continue
            sheet = image.new("RGB", (SMALL * len(CASES), TALL), "#8a8f8c")
            for place, (width, scheme) in enumerate(CASES):
                if not asked and place != nth % len(CASES):
                    continue
                if not asked or scheme == "light":
                    opened(tab, state, width)
                name, picture = f"{state.name}-{width}-{scheme}", shown(tab, scheme)
                thumb = small(picture)
                if folder:
                    (folder / f"{name}.png").write_bytes(picture)
                    sheet.paste(thumb, (SMALL * place, 0))
                else:
                    far[name] = difference(thumb, golden(state.name, (width, scheme), thumb.height))
            if folder:
                sheet.save(GOLDEN / f"{state.name}.webp", quality=70, method=6)
        tab.wrong = [one for one in tab.wrong if "404" not in one]  # the page of a chat that is none
        tab.close()
    assert len(seen) >= 24
    assert {one.name for one in GOLDEN.iterdir()} == seen
    if folder and not only:
        _for_readme(folder)
    assert {name: by for name, by in far.items() if by > TOLERANCE} == {}


def test_a_page_without_its_style_would_be_noticed(browser: Any) -> None:
    with service() as running:
        tab = Tab(browser, running)
        state = next(states(running, Visitor(running)))
        tab.page.route("**/style.css", lambda route: route.fulfill(body="", content_type="text/css"))
        opened(tab, state, 1_440)
        bare = small(shown(tab, "light"))
        assert difference(bare, golden(state.name, (1_440, "light"), bare.height)) > TOLERANCE
        tab.close()


def test_light_would_not_be_taken_for_dark() -> None:
    for sheet in GOLDEN.iterdir():
        light, dark = (golden(sheet.stem, (1_440, scheme), 120) for scheme in ("light", "dark"))
        assert difference(light, dark) > TOLERANCE, sheet.stem


def test_the_pictures_are_small() -> None:
    assert 0 < README.stat().st_size < 150_000
    assert sum(one.stat().st_size for one in GOLDEN.iterdir()) < 1_000_000


def _for_readme(folder: Path) -> None:
    """Put the end of a chat beside what the inspector shows of it."""
    from PIL import Image

    chat, inspector = (Image.open(folder / f"{name}-1440-light.png").convert("RGB") for name in ("ended", "evidence"))
    both = Image.new("RGB", (chat.width * 2 + 24, chat.height), "#8a8f8c")
    both.paste(chat, (0, 0))
    both.paste(inspector, (chat.width + 24, 0))
    README.parent.mkdir(exist_ok=True)
    both.resize((1_800, 1_800 * both.height // both.width)).save(README, quality=82, method=6)
