"""The README is what a first reader sees, on the package index too."""

import re

from lastresort import RULES

from .stores import ROOT
from .test_links import REPOSITORY, links

README = ROOT / "README.md"


def test_links_work_on_a_package_page() -> None:
    """They are whole: a relative one leads nowhere there."""
    assert [link for link in links(README) if not re.match(r"https://|#", link)] == []
    assert any(link.startswith(REPOSITORY) for link in links(README))


def test_it_counts_the_rules() -> None:
    """As many as there are."""
    assert set(re.findall(r"(\d+) rules", README.read_text(encoding="utf-8"))) == {str(len(RULES))}


def test_it_is_read_in_a_few_minutes() -> None:
    """About 120 lines."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130
