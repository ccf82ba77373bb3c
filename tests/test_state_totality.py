"""Whatever was recorded is read: `evolve` and `decide` are total, and every event survives its JSON."""

from functools import reduce
from typing import cast

import hypothesis
import pytest
from hypothesis import strategies as st

from lastresort.domain import events as log
from lastresort.domain.commands import Command
from lastresort.domain.decider import Acceptance, decide, in_the_way
from lastresort.domain.episode import NO_EPISODE
from lastresort.domain.events import EVENTS, Event, RecordedEvent
from lastresort.domain.law import broken_by, broken_rules
from lastresort.domain.policy import RECALLED
from lastresort.domain.rules_of_conversations import _USER_TURN_OF, NAMES_A_TURN
from lastresort.domain.state import _AFTER, NO_WISHES, Conversation, evolve, fold
from lastresort.domain.values import Assessment, EndingGround, Ground, Risk, Verdict

from .vocabulary import (
    AMBIGUOUS,
    ANSWERED,
    APPEALED,
    ASKED_AND_CONFIRMED,
    ASKED_TO_END,
    ASSESSOR,
    AT_RISK,
    CONFIRMED,
    END,
    END_ON_REQUEST,
    ERASED,
    FEEDBACK,
    HARMFUL,
    HOPELESS,
    LEFT,
    LENIENT,
    MODEL,
    OPERATOR,
    PRODUCTIVE,
    PROPOSED,
    SAID,
    STARTED,
    STRICT,
    UNPRODUCTIVE,
    UP_TO_THE_END,
    USER,
    WORDS,
    Story,
    Tell,
    any_command,
    any_event,
    appeal_decided,
    branched_off,
    events_of,
    harmful,
    model_changed,
    policy,
    policy_changed,
    redirected,
    resolve,
    risk_cleared,
    started,
    warned,
)

# --- totality: what is recorded has happened -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stray",
    [
        log.TurnAssessed(by=ASSESSOR, turn=1, verdict=Verdict.PRODUCTIVE, risk=Risk.NONE),
        log.RedirectionAttempted(by=MODEL, turn=1, answers=1),
        log.WarningGiven(
            by=MODEL, turn=1, seen=1, category="abuse", names_behaviour=True, redirects=True, states_consequence=True
        ),
        log.EndConfirmed(by=USER, turn=1),
        log.AppealFiled(by=USER, content=None),
        log.AppealDecided(by=OPERATOR, outcome="granted"),
    ],
    ids=lambda event: event.kind,
)
def test_a_stray_event_changes_nothing_but_the_version(given: Tell, stray: Event) -> None:
    """What a log holds against the law is for the audit to find; it must not keep anybody from reading the log."""
    before = given(STARTED).state
    assert evolve(before, stray) == before._replace(version=2)


@hypothesis.given(st.lists(any_event, max_size=30))
def test_evolve_is_total(events: list[Event]) -> None:
    """Any events, in any order, add up to a state, one version each; every question can be asked of it."""
    state = Conversation()
    for version, event in enumerate(events, start=1):
        assert evolve(state, event) == evolve(state, event)
        state = evolve(state, event)
        assert state.version == version
        assert state.now.failed >= len(state.now.failed_at)
        assert state.governing.min_failed_redirections >= 2
    for event in events:
        assert all(broken.missing.text for broken in broken_by(state, event))


STEPS = (
    SAID, ANSWERED, HARMFUL, harmful("threats", 3), harmful(severity=1, by=MODEL), PRODUCTIVE, AMBIGUOUS, UNPRODUCTIVE,
    redirected(), warned(), warned("threats"), AT_RISK, risk_cleared(), ASKED_TO_END, CONFIRMED, HOPELESS, PROPOSED,
    END, END_ON_REQUEST, LEFT, APPEALED, appeal_decided(), FEEDBACK, ERASED, policy_changed(LENIENT),
    policy_changed(STRICT), model_changed(), model_changed(MODEL.id), branched_off(2),
)  # fmt: skip
BEGINNINGS = ((), (STARTED,), (started(policy(handshake=True)), *UP_TO_THE_END), (STARTED, ASKED_AND_CONFIRMED))


@st.composite
def reachable(draw: st.DrawFn) -> Conversation:
    """A state that some driver could have led to: whatever it asked for and was refused has not happened."""
    state = Story().tell(*draw(st.sampled_from(BEGINNINGS))).state
    for step in draw(st.lists(st.sampled_from(STEPS), max_size=25)):
        decision = decide(cast(Command, resolve(step, state)), state)  # no step of these is an event
        if isinstance(decision, Acceptance):
            state = reduce(evolve, decision.events, state)
    return state


@hypothesis.given(reachable(), any_command, st.none() | st.sampled_from(["abuse", "spam"]))
def test_decide_is_total(state: Conversation, command: Command, category: str | None) -> None:
    """Any command, in any state that can be reached, is accepted as lawful events or refused by name."""
    decision = decide(command, state)
    if isinstance(decision, Acceptance):
        assert broken_rules(state, decision.events) == ()
    else:
        assert decision.broken
        assert broken_rules(state, decision.trace) == ()
    for ground in Ground:
        in_the_way(state, ground, category if ground is Ground.LAST_RESORT else None)


@hypothesis.given(reachable())
def test_what_holds_in_every_state_that_can_be_reached(state: Conversation) -> None:
    """While a risk is open no warning stands and no wish is pending; what stands is complete in its episode."""
    if state.risks:
        assert state.wishes == NO_WISHES
        assert state.now.warnings == ()
    if state.now.numbers is None:
        assert state.now == NO_EPISODE
    assert len(state.now.failed_at) == min(state.now.failed, RECALLED)
    assert len({warned.category for warned in state.now.warnings}) == len(state.now.warnings)


def test_a_fold_goes_on_from_any_state(given: Tell) -> None:
    """A history may be folded in pieces."""
    story = given(STARTED, *UP_TO_THE_END, END).story
    recorded = [
        RecordedEvent(n, "c", n, event.kind, "2026-07-01T00:00:00+00:00", "command", event, "command")
        for n, event in enumerate(story.events, start=1)
    ]
    assert fold([]) == Conversation()
    assert fold(recorded) == story.state
    assert fold(recorded[9:], fold(recorded[:9])) == story.state
    assert len({entry.event_id for entry in recorded}) == len(recorded)
    assert recorded[3].event_id == recorded[3]._replace(position=99, command_id="another").event_id


# --- the stored format -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVENTS)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=25)
def test_an_event_survives_its_json_byte_for_byte(kind: str, data: st.DataObject) -> None:
    """A log outlives the program that wrote it: what is read and written again is what was written."""
    event = data.draw(events_of(kind))
    stored = event.model_dump_json()
    assert type(event).model_validate_json(stored) == event
    assert type(event).model_validate_json(stored).model_dump_json() == stored


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_names_who_it_is_by_and_nothing_unknown(kind: str) -> None:
    """An unknown field is an error, not noise, and no event is anonymous."""
    assert EVENTS[kind].kind == kind
    assert "by" in EVENTS[kind].model_fields
    with pytest.raises(ValueError, match="by\n"):
        EVENTS[kind].model_validate_json("{}")
    with pytest.raises(ValueError, match="words\n"):
        EVENTS[kind].model_validate_json('{"words": "no event holds words"}')


def test_a_policy_in_the_log_is_the_one_that_its_hash_names() -> None:
    """A log cannot say one policy and mean another."""
    with pytest.raises(ValueError, match=f"policy_hash is not the hash of policy, which is {STRICT.hash}"):
        log.PolicyChanged(by=OPERATOR, policy=STRICT, policy_hash=LENIENT.hash)


@pytest.mark.parametrize(
    ("verdict", "category", "severity", "needed"),
    [
        (Verdict.HARMFUL, None, None, "needs a category and a severity"),
        (Verdict.HARMFUL, "abuse", None, "needs a category and a severity"),
        (Verdict.HARMFUL, None, 2, "needs a category and a severity"),
        (Verdict.AMBIGUOUS, "abuse", None, "has neither category nor severity"),
        (Verdict.PRODUCTIVE, None, 1, "has neither category nor severity"),
    ],
)
def test_harm_has_a_category_and_a_severity_and_nothing_else_has(
    verdict: Verdict, category: str | None, severity: int | None, needed: str
) -> None:
    with pytest.raises(ValueError, match=f"a verdict of {verdict} {needed}"):
        Assessment(verdict=verdict, category=category, severity=severity, risk=Risk.NONE)


@pytest.mark.parametrize(("ground", "category"), [(Ground.USER_REQUEST, "abuse"), (Ground.LAST_RESORT, None)])
def test_a_last_resort_is_about_harm_and_a_wish_is_not(ground: Ground, category: str | None) -> None:
    with pytest.raises(ValueError, match="an ending as last resort names a category, an ending on request none"):
        EndingGround(ground=ground, category=category)


@pytest.mark.parametrize(
    ("event", "content"),
    [
        (log.UserTurnTaken(by=USER, content=WORDS), WORDS),
        (log.AssistantTurnTaken(by=MODEL, content=WORDS, model="m", stop_reason=None, usage=None), WORDS),
        (log.FeedbackGiven(by=USER, rating=None, content=WORDS), WORDS),
        (log.AppealFiled(by=USER, content=None), None),
        (log.ContentErased(by=USER, contents=(WORDS,), cause="legal"), None),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_words_are_referred_to_by_digest(event: Event, content: str | None) -> None:
    """Four kinds of events stand for words; what erases words does not."""
    assert log.content_of(event) == content


def test_every_kind_of_event_has_its_place_in_the_tables() -> None:
    """`evolve` and the rules find what they need of an event by its type, so none may be missing."""
    assert set(_AFTER) == set(EVENTS.values())
    assert set(_USER_TURN_OF) == set(NAMES_A_TURN)
