"""The README's table of rules is the law's."""

from pathlib import Path

from lastresort.domain.law import RULES

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_table_of_rules_is_the_law() -> None:
    """Every rule stands in the table, in order, in the words of domain/rules.py, and nothing else does."""
    rows = [line for line in README.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{rule.id}` | {rule.text} | {rule.source} |" for rule in RULES.values()]
