"""The scenarios: what comes of each, what stood in the way at one point, and that both readings find it lawful."""

from collections import Counter
from itertools import count

import pytest

from lastresort import open_conversations
from lastresort.projections import audit

from .scenario import Scenario
from .scenario_steps import Play, outcome
from .scenarios import SCENARIOS

ALL = [scenario for group in SCENARIOS.values() for scenario in group]


def names_of(scenario: Scenario) -> str:
    return scenario.name


@pytest.mark.parametrize("scenario", ALL, ids=names_of)
def test_a_scenario_comes_out_as_the_sources_would_have_it(scenario: Scenario) -> None:
    """Or, where it is marked so, as law.md has it instead."""
    ids = count(1)
    chats = open_conversations("memory:", new_id=lambda: f"id-{next(ids)}")
    play = Play(chats, scenario.policy, scenario.law, scenario.mode)
    for step in scenario.steps:
        step(play)
    if play.point is None:
        play.stand("at the end", tuple(one.rule for one in play.chat.why()))

    assert outcome(play.chat) == (scenario.instead or scenario.outcome)
    assert play.rules == frozenset(scenario.stood.split()), play.point
    assert scenario.left == (outcome(play.left[0]) if play.left else "")
    report = audit(chats.store.entries(), read_twice=None)
    assert report.findings == ()
    assert report.read_twice == report.events
    chats.close()


def test_there_are_many_and_each_is_told_once() -> None:
    assert len(ALL) >= 60
    assert max(Counter(scenario.name for scenario in ALL).values()) == 1


def test_what_the_law_decides_otherwise_says_by_which_sentence() -> None:
    """And decides it otherwise indeed."""
    for scenario in ALL:
        assert bool(scenario.instead) is bool(scenario.differs)
        assert scenario.instead != scenario.outcome
