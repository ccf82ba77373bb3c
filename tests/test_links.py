"""Every link of the documentation leads somewhere: relative ones, anchors, and those into the repository."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

import lastresort

from .stores import ROOT

REPOSITORY = "https://github.com/lastresort/lastresort"
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
PAGES = [*(page for page in TOP if page.is_file()), *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
SHELVES = ("tutorials", "how-to", "reference", "explanation")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Return where the links of a page lead, pictures included; not those that stand in code."""
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page).replace("[`", "[").replace("`]", "]")))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(
            slug if slug not in found else next(f"{slug}-{n}" for n in range(1, 99) if f"{slug}-{n}" not in found)
        )
    return found


def target(page: Path, link: str) -> tuple[Path, str] | None:
    """Return the file and the anchor that a link leads to; None if it leads out of the repository."""
    path, _, anchor = unquote(link).partition("#")
    if inside := re.fullmatch(rf"{re.escape(REPOSITORY)}/(?:blob|tree|raw)/main/(.+)", path):
        return ROOT / inside[1], anchor
    if re.match(r"[a-z]+:", path):
        return None
    return (page.parent / path).resolve() if path else page, anchor


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file or a folder that is there, and to a heading in it if the link names one."""
    broken = []
    for link in links(page):
        if (there := target(page, link)) is not None:
            path, anchor = there
            if not path.exists() or (anchor and anchor not in anchors(path)):
                broken.append(link)
    assert broken == []


def test_the_index_leads_to_every_page() -> None:
    """docs/README.md names each page on a shelf, once a shelf, and the index of the decisions."""
    index = ROOT / "docs" / "README.md"
    led_to = {there[0] for link in links(index) if (there := target(index, link)) is not None}
    on_shelves = {page for shelf in SHELVES for page in (ROOT / "docs" / shelf).rglob("*.md")}
    assert on_shelves - led_to == set()
    assert set((ROOT / "docs").glob("*.md")) == {index}


def test_every_decision_has_a_number_of_its_own() -> None:
    """They are cited by it."""
    numbers = [page.name[:4] for page in DECISIONS]
    assert sorted(set(numbers)) == sorted(numbers)


def test_the_index_of_the_decisions_names_each_by_its_title() -> None:
    """In the order of their numbers, by the first line of the page, which does not repeat the number."""
    rows = [f"* [{page.name[:4]}]({page.name}): {page.read_text().splitlines()[0][2:]}" for page in DECISIONS]
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    assert [line for line in index.splitlines() if line.startswith("* ")] == rows
    assert not [row for row in rows if re.search(r": \d", row)]


def test_anchors_are_made_as_github_makes_them() -> None:
    """In lower case, without punctuation, with a number where a heading comes twice."""
    assert "audit---json-import---json" in anchors(ROOT / "docs" / "reference" / "formats.md")


_MODULE = re.compile(r"`((?:[\w-]+/)*\w+\.py|lastresort(?:\.[a-z_]+)+)`")


def names_a_module(name: str) -> bool:
    """Whether a file of this name is here, or a folder or a module of the house; or something else that has a dot."""
    if name.endswith(".py"):
        return any(
            (ROOT / folder / name).is_file()
            for folder in ("", "domain", "projections", "tests", "adapters", "examples", "bench")
        )
    room, *rest = name.split(".")[1:]
    if not (ROOT / room).is_dir():
        return hasattr(lastresort, room)
    path = ROOT.joinpath(room, *rest)
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_every_module_that_a_page_names_is_there(page: Path) -> None:
    """By its file, or by its dotted name; the last part of that may be a function, where it is called."""
    assert [name for name in _MODULE.findall(prose(page)) if not names_a_module(name)] == []


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    """A page that says which test holds what it promises would otherwise promise on after that test is gone."""
    gone = [
        f"{file}::{name}"
        for file, name in re.findall(r"`((?:[\w-]+/)*test_\w+\.py)::(\w+)`", prose(page))
        if not (path := ROOT / "tests" / file.removeprefix("tests/")).is_file()
        or not re.search(rf"^(?:async )?def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert gone == []
