"""The reference page of the rules, made of the law: `python -m tests.rules_page` writes it.

tests/test_law_pages.py holds docs/reference/rules.md against it.
"""

import sys
from pathlib import Path

from lastresort.domain.events import EVENTS
from lastresort.domain.law import FORMS, RULES, Rule

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "rules.md"

HEAD = """\
# Rules

<!-- `python -m tests.rules_page` makes this page of the rules in `domain/`. -->

May this happen next? Each rule is asked of the events that it governs, in the state before them. A refusal names every
rule that stands in the way. Ids are stored in the log: they are never renamed and never reused. `lastresort rules`
prints the same list. [The law](../explanation/the-law.md) explains the words.

Sources: *post* is Anthropic, [Claude Opus 4 and 4.1 can now end a rare subset of
conversations](https://www.anthropic.com/research/end-subset-conversations), 15 August 2025, and the press report of it.
*tool* is the description of the `end_conversation` tool in system prompts published by others, September 2025 and July
2026. *ours* is a choice of this project where the sources are silent.

The law has editions. A rule that changed meaning has another form since then; the forms before it are below, and are
asked where an earlier edition is in force.

| id | rule | source | since edition | asked of |
| --- | --- | --- | --- | --- |
"""

BEFORE = """
Earlier forms:

| id | rule | source | since edition | asked of |
| --- | --- | --- | --- | --- |
"""


def asked_of(rule: Rule) -> str:
    """Name the events that a rule governs, and the only ground on which it is asked of an ending, if there is one."""
    if len(rule.governs) == len(EVENTS):
        return "every event"
    ground = f" (`{rule.on}`)" if rule.on else ""
    governed = [kind for kind in EVENTS if EVENTS[kind] in rule.governs]
    spared = [kind for kind in EVENTS if kind not in governed]
    if len(spared) < len(governed):
        return "every event but " + ", ".join(spared)
    return ", ".join(kind + (ground if kind == "ConversationEnded" else "") for kind in governed)


def page() -> str:
    earlier = (form for form in FORMS if form is not RULES[form.id])
    return HEAD + "".join(map(row, RULES.values())) + BEFORE + "".join(map(row, earlier))


def row(rule: Rule) -> str:
    return f"| `{rule.id}` | {rule.text} | {rule.source} | {rule.since} | {asked_of(rule)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.exit(0)
