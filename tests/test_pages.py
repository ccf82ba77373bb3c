"""The pages that are made from the code say what the code says. Otherwise run `make pages`."""

from collections.abc import Callable
from pathlib import Path

import pytest

import lastresort

from . import api_page
from .pages import GENERATED


@pytest.mark.parametrize(("path", "made"), [pytest.param(*one, id=one[0].name) for one in GENERATED.items()])
def test_a_generated_page_is_current(path: Path, made: Callable[[], str]) -> None:
    """Run `make pages` after a change of rules, commands or docstrings."""
    assert path.read_text(encoding="utf-8") == made()


def test_every_public_name_is_in_the_reference() -> None:
    """Once, in one of its sections."""
    named = [name for names in api_page.SECTIONS.values() for name in names]
    assert sorted(named) == sorted(set(lastresort.__all__) - {"__version__"})
