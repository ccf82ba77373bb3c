"""The page of the scenarios, made of the table: `python -m tests.scenarios_page` writes it.

tests/test_pages.py holds docs/explanation/scenarios.md against it.
"""

import re
import sys
from pathlib import Path

from lastresort.domain.law import RULES

from .scenario import Scenario
from .scenarios import SCENARIOS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "scenarios.md"

HEAD = """\
# Scenarios

<!-- `python -m tests.scenarios_page` makes this page of `tests/scenarios.py`. -->

{number} short stories, each with the outcome that the [sources of the law](../reference/rules.md) call right, and why.
The tests play each of them through a store, with the offline partner, which redirects, warns and ends as soon as the
law allows, under edition 2 and the default policy unless the story says otherwise. They check what comes of it, which
rules stood in the way at one point of the story, and that [both readings](proof.md) of the law find every event lawful.
The stories are ours.

*Active*: the conversation goes on. *Warned*: it goes on, and a warning stands. *Held*: a risk is open, and nothing may
end. *Ended at 5*: in answer to the user's fifth turn on that branch. An outcome is of the branch that the story is on
at last.

{exceptions}
"""

TABLE = """
## {title}

| scenario | what happens | outcome | why |
| --- | --- | --- | --- |
"""

_ID = re.compile(r"\b(" + "|".join(sorted(RULES, key=len, reverse=True)) + r"|[a-z]+(?:_[a-z]+)+)\b(?!`)")


def page() -> str:
    stories = [scenario for group in SCENARIOS.values() for scenario in group]
    otherwise = [scenario for scenario in stories if scenario.instead]
    head = HEAD.format(number=len(stories), exceptions=_exceptions(otherwise))
    return head + "".join(TABLE.format(title=title) + "".join(map(row, group)) for title, group in SCENARIOS.items())


def _exceptions(otherwise: list[Scenario]) -> str:
    if not otherwise:
        return "In all of them the law comes out where the sources do."
    names = ", ".join(f"*{scenario.name}*" for scenario in otherwise)
    return f"In {len(otherwise)} of them the law comes out elsewhere than we think right; the table says why: {names}."


def row(scenario: Scenario) -> str:
    outcome = scenario.outcome
    if scenario.left and scenario.left != outcome:
        outcome = f"{outcome}; the first branch: {scenario.left}"
    if scenario.instead:
        outcome = f"{outcome} (under this law: {scenario.instead})"
    why = _ID.sub(r"`\1`", " ".join(filter(None, (scenario.why, scenario.differs))))
    return f"| {scenario.name} | {scenario.happens} | {outcome} | {why} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.exit(0)
