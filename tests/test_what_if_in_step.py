"""What is not asked, since two policies see it alike, would be answered alike: the short way and the long agree."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastresort import Conversations
from lastresort.adapters.importers.log_file import checked_log
from lastresort.adapters.testing.asking import ASSESSOR, MODEL, OPERATOR, USER
from lastresort.adapters.testing.strategies import trees
from lastresort.domain.events import (
    AttemptRefused,
    ConversationEnded,
    EndConfirmed,
    EndProposed,
    EndRequested,
    Event,
    Evidence,
    HopeExhausted,
    RecordedEvent,
    RedirectionAttempted,
    RiskCleared,
    WarningGiven,
    WarningWithheld,
)
from lastresort.domain.law import GOVERNING, RULES
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import Ground, Mode
from lastresort.projections.supposed import Because, Outcome
from lastresort.projections.supposing import attempts
from lastresort.projections.supposing.attempts import OF_A_CATEGORY, Attempts
from lastresort.projections.supposing.in_step import OF_NO_EDITION, READS, Step
from lastresort.projections.what_if import Play, what_if

from .drawing import drawn
from .scripts import ANSWERS, REDIRECTS, SAYS, harm, pairs, play, scripts, terms
from .stores import abused, chats, done, log_of, redirected, started

__all__ = ["chats"]

GOLDEN = Path(__file__).parent / "golden"
MANY = settings(**drawn(120), deadline=None, suppress_health_check=list(HealthCheck))
EDITIONS = st.sampled_from([(2, None), (2, None), (1, None), (1, 2), (2, 1)])


def the_long_way(log: tuple[RecordedEvent, ...], other: Policy, edition: int | None) -> object:
    """Fold both states of every branch, whatever the policies see alike, and remember no set of categories."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempts, "_REMEMBERED", 0)
        patch.setattr(Play, "_stays_in_step", lambda *_: False)
        patch.setattr(Step, "is_in_step", lambda *_: False)
        return what_if(log, other, edition=edition)


@MANY
@given(st.data(), pairs(), EDITIONS, st.booleans())
def test_the_short_way_and_the_long_agree(
    data: st.DataObject, policies: tuple[Policy, Policy], editions: tuple[int, int | None], shadow: bool
) -> None:
    """Of scripts, under policies that differ in few things or in many."""
    (law, edition), mode = editions, Mode.SHADOW if shadow else Mode.ENFORCED
    log = play(data.draw(scripts(shadow=shadow)), policies[0], law, mode).log
    assert what_if(log, policies[1], edition=edition) == the_long_way(log, policies[1], edition)


@MANY
@given(trees(max_steps=30), terms(), st.sampled_from([None, 1, 2]))
def test_they_agree_on_trees(log: tuple[RecordedEvent, ...], other: Policy, edition: int | None) -> None:
    """Of branches, holds, changes of policy and model, appeals and erasures."""
    assert what_if(log, other, edition=edition) == the_long_way(log, other, edition)


# --- What a rule reads ------------------------------------------------------------------------------------------------


def acts(state: Conversation) -> list[Event]:
    """Whatever may be attempted, lawful or not."""
    turn, answer = state.unit.turn if state.unit else 1, state.answered_by or 1
    said = {"names_behaviour": True, "redirects": True, "states_consequence": True}
    told: dict[str, Any] = {"policy_hash": state.policy.hash, "model": MODEL.id}
    found: list[Event] = [
        RedirectionAttempted(by=MODEL, turn=answer, answers=turn),
        EndRequested(by=USER, turn=turn),
        EndConfirmed(by=USER, turn=turn),
        HopeExhausted(by=MODEL, turn=turn),
        *(EndProposed(by=MODEL, seen=turn, ground=ground) for ground in Ground),
        *(RiskCleared(by=by, risk=risk.risk) for risk in state.risks for by in (ASSESSOR, OPERATOR)),
        ConversationEnded(by=MODEL, ground=Ground.USER_REQUEST, category=None, seen=turn, evidence=Evidence(), **told),
    ]
    for category in ("abuse", "threats", "fraud"):
        of = {"by": MODEL, "seen": turn, "category": category}
        found.append(WarningGiven(**of, turn=answer, **said))
        found.append(WarningWithheld(**of, **told))
        found.append(ConversationEnded(**of, ground=Ground.LAST_RESORT, evidence=Evidence(), **told))
    return found


@MANY
@given(st.data(), pairs(), st.integers(1, 2))
def test_a_rule_reads_no_more_of_a_policy_than_it_says(
    data: st.DataObject, policies: tuple[Policy, Policy], law: int
) -> None:
    """Where two policies differ in nothing that it reads, it says the same of every act, in every state."""
    policy, other = policies
    step = Step(other, None, Attempts(other))
    differ = {name for name in Policy.model_fields if getattr(policy, name) != getattr(other, name)}
    state = Conversation()
    for recorded in play(data.draw(scripts()), policy, law).log:
        state = evolve(state, recorded.event)
        if state.unit is not None and state.unit.since_begun is not None:
            return  # from here on the numbers are not those of the policy
        there = step.like(state)
        for event in acts(state):
            for rule in GOVERNING[law][type(event)]:
                if rule.id != "evidence-is-true" and not differ & READS.get(rule.id, frozenset()):
                    assert (rule.lacks(state, event) is None) == (rule.lacks(there, event) is None), (rule.id, event)


@MANY
@given(st.data(), terms(), st.integers(1, 2))
def test_a_rule_of_no_edition_says_the_same_in_both(data: st.DataObject, policy: Policy, law: int) -> None:
    """It has one form, and reads nothing that they add up otherwise."""
    step = Step(policy, 3 - law, Attempts(policy))
    state = Conversation()
    for recorded in play(data.draw(scripts()), policy, law).log:
        state = evolve(state, recorded.event)
        if state.unit is not None and state.unit.since_begun is not None:
            return  # from here on the numbers are not those of the policy
        there = step.like(state)
        for event in acts(state):
            here, other = ({rule.id: rule for rule in GOVERNING[of][type(event)]} for of in (law, 3 - law))
            for id in OF_NO_EDITION & (here.keys() | other.keys()):
                assert here[id] is other[id]
                assert (here[id].lacks(state, event) is None) == (here[id].lacks(there, event) is None), (id, event)


def test_what_is_read_is_of_policies_and_rules_that_there_are() -> None:
    assert READS.keys() <= RULES.keys()
    assert set().union(*READS.values()) <= set(Policy.model_fields)


# --- Corners ----------------------------------------------------------------------------------------------------------


def test_a_policy_that_changed_within_an_episode(chats: Conversations) -> None:
    """The stricter numbers govern until it closes, in the one as in the other."""
    chat = started(chats, policy=Policy(name="a", min_failed_redirections=5))
    for _ in range(2):
        abused(chat)
        redirected(chat)
    done(chat.change_policy(Policy(name="b"), by=OPERATOR))
    abused(chat)
    redirected(chat)
    abused(chat)
    log = tuple(log_of(chats))
    for other in (Policy(name="c"), Policy(name="d", min_severity=3)):
        assert what_if(log, other) == the_long_way(log, other, None)


def test_a_refusal_before_anybody_has_spoken() -> None:
    """It is refused in any edition."""
    log = play([("proposes", Ground.LAST_RESORT), SAYS, ANSWERS], Policy(name="a"), 1).log
    assert what_if(log, Policy(name="b"), edition=2).branches[0].outcome is Outcome.SAME


def test_a_branch_that_begins_twice() -> None:
    """An audit says so; here it begins again."""
    log = play([SAYS, harm(severity=1), ANSWERS], Policy(name="a", categories=("abuse",), min_severity=1), 1).log
    twice = [*log, log[0]._replace(version=5, position=5)]
    assert what_if(twice, Policy(name="b"), edition=2).branches[0].because in (None, Because.REDIRECTION)


def test_a_log_of_both_editions() -> None:
    """Each event is asked of the edition that it was recorded under, or all of them of the one that is named."""
    log = tuple(checked_log(GOLDEN / "second_edition.jsonl")[0])
    for edition in (None, 1, 2):
        found = what_if(log, Policy.default(), edition=edition)
        assert found == the_long_way(log, Policy.default(), edition)
        assert found.edition == edition
        assert found.sum["same" if edition != 1 else "undecidable"] == 2


@MANY
@given(st.data(), terms(), st.integers(1, 2))
def test_a_rule_that_is_not_of_a_category_says_the_same_of_all(data: st.DataObject, policy: Policy, law: int) -> None:
    """Such rules are asked once of all that may have been attempted."""
    state = Conversation()
    for recorded in play(data.draw(scripts()), policy, law).log:
        state = evolve(state, recorded.event)
        for event in acts(state):
            if getattr(event, "category", None) != "abuse":
                continue
            another = event.model_copy(update={"category": "threats"})
            for rule in GOVERNING[law][type(event)]:
                if rule.id != "evidence-is-true" and rule.id not in OF_A_CATEGORY:
                    assert (rule.lacks(state, event) is None) == (rule.lacks(state, another) is None), rule.id
    assert RULES.keys() >= OF_A_CATEGORY


@pytest.mark.parametrize("rules", [("eligible-model",), ("redirected-first", "hope-exhausted")])
def test_a_refusal_that_the_recorded_law_does_not_give(rules: tuple[str, ...]) -> None:
    """An audit says so. What the laws have alike is asked here all the same, since what refused it is not known."""
    script = [*[SAYS, harm(), ANSWERS, REDIRECTS] * 4, SAYS, harm(), ("ends", Ground.LAST_RESORT, "abuse"), ANSWERS]
    log = play(script, Policy(name="a"), 2).log
    refused = [isinstance(one.event, AttemptRefused) for one in log]
    assert any(refused)
    told = tuple(
        one._replace(event=one.event.model_copy(update={"rules": rules})) if there else one
        for one, there in zip(log, refused, strict=True)
    )
    for other, edition in ((Policy(name="b", min_failed_redirections=2), None), (Policy(name="a"), 1)):
        assert what_if(told, other, edition=edition) == the_long_way(told, other, edition)
