"""What is written about the law is made of the law."""

from itertools import pairwise
from pathlib import Path

import pytest

from lastresort.domain.law import RULES

from . import diagram, rules_page
from .diagram import HOLD, PLACES, STAGES


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_the_diagram_is_the_laws(place: Path) -> None:
    """Otherwise run `python -m tests.diagram`."""
    text = place.read_text(encoding="utf-8")
    assert diagram.MADE in text
    assert diagram.diagram() in text
    assert diagram.written(text) == text
    assert diagram.written(text.replace("-> calm", "-> hopeless")) == text, "what is wrong in it is put right"
    assert max(map(len, diagram.diagram().splitlines())) <= 100


def test_every_stage_comes_up_and_only_one_way_leads_to_an_ending() -> None:
    """From each stage one forward to the next, and none past it; out of an ending none at all."""
    found = {(begin, end) for begin, _, end in diagram.arrows()}
    place = {one: n for n, one in enumerate(STAGES)}
    forward = {(b, e) for b, e in found if HOLD not in (b, e) and place[e] > place[b]}
    assert forward == set(pairwise(STAGES))
    assert {e for b, e in found if b == "ended"} == set()
    assert {e for b, e in found if b == HOLD} == {"calm", "harm", "redirected", "failed"}


def test_the_page_of_the_rules_is_the_laws() -> None:
    """Otherwise run `python -m tests.rules_page`."""
    assert rules_page.PAGE.read_text(encoding="utf-8") == rules_page.page()
    assert all(f"| `{id}` |" in rules_page.page() for id in RULES)
