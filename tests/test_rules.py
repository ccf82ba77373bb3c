"""The law as a whole: every rule is stated, sourced, and tested from both sides."""

import ast
from pathlib import Path

import pytest

from lastresort.domain import rules
from lastresort.domain.events import EVENTS, ConversationEnded
from lastresort.domain.law import FORMS, GOVERNING, RULES, Rule, broken_by
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import EDITIONS, Ground

from .vocabulary import MODEL

LAW = (
    "begins-once", "ended-is-final", "refers-to-the-path", "answers-a-user", "judges-the-latest", "redirects-harm",
    "redirected-first", "warned-first", "still-harmful", "hope-exhausted", "grave-enough", "risk-holds",
    "no-end-at-risk", "risk-was-checked", "cleared-by-authority", "asked-by-user", "confirmed-later", "eligible-model",
    "proposed-first", "evidence-is-true", "stricter-governs", "forks-at-a-turn", "forks-before-the-end",
    "carries-risks", "answers-an-appeal", "same-user", "true-warnings", "shadow-says-nothing", "held-from-erasure",
    "named-category", "known-edition",
)  # fmt: skip
"""Ids are stored and public: a rule that is renamed or dropped fails here."""


def written_tests() -> dict[str, ast.FunctionDef]:
    """The tests of single rules, by name, as they are written."""
    return {
        node.name: node
        for file in sorted(Path(__file__).parent.glob("test_rules_*.py"))
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


WRITTEN = written_tests()


def constant(id: str) -> str:
    return id.replace("-", "_").upper()


def test_the_law_has_31_rules() -> None:
    """No more, no fewer, and in the order in which the law states them; 25 of them since its first edition."""
    assert tuple(RULES) == LAW
    assert len(LAW) == 31
    changed = {form.id for form in FORMS if form.since > 1}
    assert changed == set(LAW[25:]) | {
        "ended-is-final", "redirected-first", "still-harmful", "eligible-model", "stricter-governs", "carries-risks",
    }  # fmt: skip
    asked_first = {rule.id for rules in GOVERNING[1].values() for rule in rules}
    assert asked_first == set(LAW[:25]) | {"shadow-says-nothing", "held-from-erasure", "known-edition"}
    assert {id: getattr(rules, constant(id)) for id in RULES} == RULES


def test_every_form_stands_since_an_edition_that_there_is() -> None:
    """And is asked in no later one than it stands in."""
    assert {form.since for form in FORMS} == {form.asked_since for form in FORMS} == set(EDITIONS)
    assert all(form.asked_since <= form.since for form in FORMS)


def test_before_anything_is_recorded_the_first_edition_is_in_force() -> None:
    """A log that names no edition is of the first."""
    assert Conversation().law == EDITIONS[0]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_is_stated_and_sourced(rule: Rule) -> None:
    """Each rule has a sentence for people, a source, and events that it speaks of."""
    assert rule.text.endswith(".")
    assert "  " not in rule.text
    assert "\n" not in rule.text
    assert set(rule.source.replace(",", "").split()) & {"post", "tool", "ours"}
    assert rule.governs
    assert set(rule.governs) <= set(EVENTS.values())
    assert len(set(rule.governs)) == len(rule.governs)


OF_LAST_RESORT = {
    "redirected-first", "warned-first", "still-harmful", "hope-exhausted", "grave-enough", "eligible-model",
    "stricter-governs",
}  # fmt: skip
ON_REQUEST = {"confirmed-later"}


def test_a_rule_says_on_which_ground_it_is_asked_of_an_ending() -> None:
    """Of endings as last resort, on request, or both."""
    assert {id for id, rule in RULES.items() if rule.on is Ground.LAST_RESORT} == OF_LAST_RESORT
    assert {id for id, rule in RULES.items() if rule.on is Ground.USER_REQUEST} == ON_REQUEST


@pytest.mark.parametrize(
    ("ground", "asked"),
    # Without an episode, stricter-governs finds nothing amiss.
    [(Ground.LAST_RESORT, OF_LAST_RESORT - {"stricter-governs"}), (Ground.USER_REQUEST, ON_REQUEST)],
)
def test_a_rule_of_one_ground_is_asked_of_no_ending_on_the_other(ground: Ground, asked: set[str]) -> None:
    """Its predicate need not look at the ground."""
    ending = ConversationEnded(
        by=MODEL,
        ground=ground,
        category="abuse" if ground is Ground.LAST_RESORT else None,
        seen=1,
        evidence={},
        policy_hash=Policy.default().hash,
        model=MODEL.id,
    )
    broken = {one.rule for one in broken_by(Conversation(), ending)}
    assert broken & (OF_LAST_RESORT | ON_REQUEST) == asked


@pytest.mark.parametrize("id", RULES)
def test_a_rule_is_tested_from_both_sides(id: str) -> None:
    """Each rule has a case that it allows, a case that it refuses, and one on the boundary, each with its sentence."""
    cases = [test for name, test in WRITTEN.items() if name.startswith(f"test_{constant(id).lower()}__")]
    assert len(cases) >= 3
    refusing = [case for case in cases if f"rules.{constant(id)}" in ast.unparse(case)]
    allowing = [case for case in cases if ".accepted" in ast.unparse(case)]
    assert refusing, "no case is refused by it"
    assert allowing, "no case is accepted"


def test_every_test_of_a_rule_is_of_a_rule_and_says_what_the_law_says() -> None:
    """A test of a rule is named after it, and opens with what the law says, in one line."""
    for name, test in WRITTEN.items():
        assert constant(name.removeprefix("test_").split("__")[0]) in {constant(id) for id in RULES}, name
        sentence = ast.get_docstring(test)
        assert sentence, name
        assert "\n" not in sentence, name
        assert sentence.endswith("."), name
