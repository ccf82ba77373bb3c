"""The kit proves what it says: it passes what is right, and fails, saying why, on each of many things made wrong.

How much is drawn is set by HYPOTHESIS_PROFILE: `dev` (the default), `ci`, `nightly`.
"""

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import Phase, seed, settings
from hypothesis import given as holds_for
from hypothesis import strategies as st

from lastresort import Ground, Policy, RecordedEvent, Refused
from lastresort.adapters.testing import (
    Unlawful,
    as_text,
    assert_lawful,
    commands,
    given,
    in_memory,
    lawful_histories,
    policies,
    trees,
    unlawful_histories,
)
from lastresort.adapters.testing.vocabulary import (
    ANSWERED,
    END,
    MODEL,
    PROPOSED,
    SAID,
    STARTED,
    UP_TO_THE_END,
    WARNED,
    Failed,
)
from lastresort.domain import rules
from lastresort.domain.commands import Command
from lastresort.domain.decider import Acceptance, decide
from lastresort.domain.events import EVENTS, BranchOpened, ConversationEnded, HopeExhausted
from lastresort.domain.law import RULES
from lastresort.domain.state import fold
from lastresort.domain.values import EDITIONS, Mode
from lastresort.projections import audit

from . import oracle
from .drawing import UNHURRIED, examples
from .search import agree
from .stores import ROOT

pytest_plugins = ["pytester"]

pytestmark = [
    pytest.mark.xdist_group("kit"),  # one worker, so that everything is drawn once
    pytest.mark.no_cover,  # being measured, it takes twice as long; what it runs, other tests cover
]

DRAWN = examples(dev=400, ci=2_000, nightly=20_000)
PROFILE = settings(UNHURRIED, max_examples=DRAWN)


# --- Strategies -------------------------------------------------------------------------------------------------------


def drawn(strategy: st.SearchStrategy[Any], check: Callable[[Any], object], runs: int = DRAWN) -> list[Any]:
    """Hold what is drawn to `check`, and return all of it."""
    seen = []

    @seed(20250815)
    @settings(PROFILE, max_examples=runs)
    @holds_for(strategy)
    def run(one: Any) -> None:
        check(one)
        seen.append(one)

    run()
    return seen


@cache
def lawful() -> list[tuple[RecordedEvent, ...]]:
    return drawn(lawful_histories(), assert_lawful)


def breaks_what_it_names(one: Any) -> None:
    """And the oracle says so too. (It knows of no end of a log, where a hold is missing.)"""
    last = one.history[-1]
    assert audit(one.before).findings == ()
    findings = audit(one.history).findings
    assert {(finding.branch, finding.version) for finding in findings} == {(last.branch, last.version)}
    assert {rule for finding in findings for rule in finding.rules} == set(one.rules)
    told = {(found.branch, found.version): {*found.rules} for found in oracle.unlawful(one.history)}
    if last.kind == "TurnAssessed" and "risk-holds" in one.rules:
        told.setdefault((last.branch, last.version), set()).add("risk-holds")
    assert told.keys() == {(last.branch, last.version)}
    decided, foretold = frozenset(one.rules), frozenset(told[last.branch, last.version])
    if "answers-a-user" in decided & foretold:  # an older turn, of which a small state knows no more
        foretold -= {"refers-to-the-path"} - decided
    assert agree(decided, foretold)


@cache
def unlawful() -> list[Any]:
    return drawn(unlawful_histories(), breaks_what_it_names)


@cache
def grown() -> list[tuple[RecordedEvent, ...]]:
    return drawn(trees(), assert_lawful, DRAWN // 4)


def test_lawful_histories_are_lawful() -> None:
    """Each of them, as the audit sees it."""
    assert len(lawful()) >= DRAWN // 2


def test_lawful_histories_reach_what_matters() -> None:
    """Endings on each ground and what comes after them, and holds, so that a property over them says something."""
    kinds = Counter(kind for history in lawful() for kind in {recorded.kind for recorded in history})
    share = {kind: number / len(lawful()) for kind, number in kinds.most_common()}
    grounds = Counter(e.event.ground for history in lawful() for e in history if isinstance(e.event, ConversationEnded))
    print({kind: f"{part:.1%}" for kind, part in share.items()}, dict(grounds))
    assert set(kinds) == set(EVENTS) - {"BranchOpened", "BranchedOff", "AttemptRefused", "ContentErased"}
    assert all(grounds[ground] >= len(lawful()) * 0.05 for ground in Ground)
    for kind in ("ConversationEnded", "WarningGiven", "RiskRaised", "RiskCleared", "PolicyChanged", "ModelChanged"):
        assert share[kind] >= 0.15, kind
    assert share["ErasureHeld"] >= 0.15
    assert share["WarningWithheld"] >= 0.01


@pytest.mark.parametrize("edition", EDITIONS)
def test_lawful_histories_of_either_edition_reach_an_ending(edition: int) -> None:
    """By the edition in force at their end."""
    states = [fold(history) for history in lawful()]
    of_edition = [state for state in states if state.law == edition]
    assert len(of_edition) >= len(states) * 0.2
    assert sum(state.ended is not None for state in of_edition) >= len(of_edition) * 0.1
    assert any(state.holds for state in of_edition)
    assert any(state.mode is Mode.SHADOW for state in of_edition)


def test_a_property_that_fails_tells_the_history_as_a_transcript() -> None:
    """Beside the raw value, which no person reads."""

    @settings(PROFILE, max_examples=50, phases=[Phase.generate])
    @holds_for(lawful_histories())
    def run(history: tuple[RecordedEvent, ...]) -> None:
        assert not history

    with pytest.raises(AssertionError) as raised:
        run()
    assert "user: conversation c with" in "\n".join(raised.value.__notes__)


def test_unlawful_histories_break_the_rules_that_they_name_in_their_last_event() -> None:
    """Exactly those, and nothing before it."""
    assert len(unlawful()) >= DRAWN // 2


def test_unlawful_histories_break_all_of_the_law() -> None:
    """Each rule; in as few draws as in development all but the rarest."""
    named = Counter(rule for one in unlawful() for rule in one.rules)
    print(f"{len(named)} of {len(RULES)} rules: {dict(named.most_common())}")
    assert len(named) >= (len(RULES) if DRAWN >= 2_000 else len(RULES) - 3), sorted(set(RULES) - set(named))


def test_trees_are_lawful_and_have_forks() -> None:
    """Of several branches, of branches of branches, and by both causes."""
    forks = [[e.event for e in log if isinstance(e.event, BranchOpened)] for log in grown()]
    assert sum(len(one) > 1 for one in forks) > 1
    assert any(event.parent != "c" for one in forks for event in one)
    assert {event.cause for one in forks for event in one} == {"edit", "retry"}
    assert sum(any(e.kind == "ConversationEnded" for e in log) for log in grown()) >= len(grown()) * 0.1


@settings(PROFILE, max_examples=max(20, DRAWN // 20))
@holds_for(st.data())
def test_commands_are_decided_without_an_error(data: st.DataObject) -> None:
    """Whatever is asked, in whatever state: a refusal is a value."""
    state = fold(data.draw(lawful_histories()))
    command = data.draw(commands(state))
    assert isinstance(command, Command)
    assert isinstance(decide(command, state), Acceptance | Refused)


@settings(PROFILE)
@holds_for(policies())
def test_policies_are_policies(policy: Policy) -> None:
    """At or above every floor; a policy below one cannot be constructed."""
    assert Policy.model_validate_json(policy.model_dump_json()) == policy


# --- Given, when, then ------------------------------------------------------------------------------------------------


def test_a_story_is_told_as_a_log() -> None:
    """As a store would hold it, and so the audit can be asked."""
    ended = given(STARTED, *UP_TO_THE_END, END)
    assert assert_lawful(ended.story.log)["c"] == ended.state
    assert ended.story.log[-1].kind == "ConversationEnded"


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        (lambda: given(STARTED, SAID).when(ANSWERED).refused_by(rules.ANSWERS_A_USER), "accepted: "),
        (lambda: given(STARTED, SAID).when(END).accepted(), "ConversationEnded refused: "),
        (lambda: given(STARTED, SAID).when(END).refused_by(rules.WARNED_FIRST), "ConversationEnded refused: "),
        (lambda: given(STARTED, SAID, ANSWERED, END), "not a lawful history: ConversationEnded refused: "),
        (lambda: given(STARTED, SAID, HopeExhausted(by=MODEL, turn=2)), "not a lawful"),
        (lambda: given(STARTED, SAID).then(lambda state: state.ended), "Conversation("),
        (lambda: given(STARTED, SAID).when(ANSWERED).then(lambda state: state.ended), "Conversation("),
        (lambda: given(STARTED, SAID).when(ANSWERED).accepted_as(), "not (), but "),
        (
            lambda: given(STARTED).when(ANSWERED).refused_by(rules.ANSWERS_A_USER, lacking="nothing"),
            "not 'nothing': AssistantTurnTaken refused: ",
        ),
    ],
)
def test_what_is_not_as_a_test_says_is_told_with_its_history(expect: Callable[[], object], message: str) -> None:
    """So that the plugin can print it."""
    with pytest.raises(Failed) as raised:
        expect()
    assert str(raised.value).startswith(message)
    assert "user: " in raised.value.history


def test_a_refusal_is_compared_whole() -> None:
    """A test that names too few rules fails, and one that names them all passes."""
    asked = given(STARTED, SAID).when(WARNED[1])
    assert isinstance(asked.decision, Refused)
    asked.refused_by(*(RULES[rule] for rule in asked.decision.rules))
    with pytest.raises(Failed):
        asked.refused_by(*(RULES[rule] for rule in asked.decision.rules[1:]))
    given(STARTED, SAID).when(PROPOSED).accepted()


# --- The plugin -------------------------------------------------------------------------------------------------------

FAILING = """
from lastresort.adapters.testing import given
from lastresort.adapters.testing.vocabulary import END, SAID, STARTED
from lastresort.domain.events import ConversationEnded, Evidence
from lastresort.application.ports import Append, NewEvent

def test_a_conversation_that_is_not_as_it_should_be(conversations):
    chat = conversations.start(model="claude-opus-4-1", account="a-17")
    chat.user_turn("xylophone")
    assert chat.state.ended

def test_a_log_that_is_not_lawful(conversations):
    chat = conversations.start(model="claude-opus-4-1", account="a-18")
    chat.user_turn("xylophone")
    terms = dict(seen=2, evidence=Evidence(), policy_hash=chat.state.policy.hash, model="claude-opus-4-1")
    event = ConversationEnded(by=chat.model, ground="last_resort", category="abuse", **terms)
    placed = (NewEvent(chat.branch, 3, event),)
    conversations.store.append(Append(chat.branch, "x", "x", "2026-01-31T12:00:00+00:00", placed))

def test_a_story():
    given(STARTED, SAID).when(END).accepted()

def test_several_that_were_found_at_once():
    found = []
    for history in (STARTED, SAID), (STARTED, SAID, SAID):
        try:
            given(*history).when(END).accepted()
        except AssertionError as error:
            found.append(error)
    raise ExceptionGroup("as Hypothesis raises", found)

def test_something_else():
    assert 1 == 2

def test_what_is_right(conversations):
    conversations.start(model="claude-opus-4-1", account="a-19")
"""


def test_the_plugin_prints_the_conversation_of_a_failing_test(pytester: pytest.Pytester) -> None:
    """Whether it failed in the middle, at its end when the log was looked at, or as a story; and of no other test."""
    pytester.makeconftest('pytest_plugins = ["lastresort.adapters.testing.plugin"]')
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly")
    result.assert_outcomes(failed=4, passed=2, errors=1)
    printed = result.stdout.str()
    shown = [part.split("\n____")[0] for part in printed.split("- the conversation -")[1:]]
    assert len(shown) == 4, printed
    assert all(" user: " in one for one in shown)
    assert sorted(one.count(" user: conversation c") for one in shown)[-1] == 2
    assert sum(">>>>>" in one for one in shown) == 1
    assert "warned-first" in printed
    assert not any("xylophone" in one for one in shown)


def test_a_transcript_shows_the_findings_where_they_are() -> None:
    """And each event on a line, by whom."""
    with pytest.raises(Unlawful) as raised:
        assert_lawful(given(STARTED, SAID).story.log[1:])
    assert raised.value.findings
    held = in_memory()
    held.start(model="claude-opus-4-1", account="account")
    text = as_text(held.store.log())
    assert len(text.splitlines()) == 1
    assert " user: " in text


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Below each block that prints something; test_docs.py runs the blocks too, and does not look at that."""
    text = (ROOT / "docs" / "how-to" / "test-your-integration.md").read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "__main__"}
    shown = 0
    for language, block in re.findall(r"^```(python|text)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language == "text":
            assert capsys.readouterr().out == block
            shown += 1
        else:
            assert capsys.readouterr().out == ""
            exec(block, namespace)
    assert shown == 2
