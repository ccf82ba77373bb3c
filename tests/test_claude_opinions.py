"""When a second opinion is asked for, and what it makes of a warning or an ending."""

from typing import Any

import pytest

from lastresort import Policy, Risk
from lastresort.adapters.claude import Ended, Opinion
from lastresort.adapters.loopback import Answer, Scripted, tool_use
from lastresort.domain.values import EDITIONS, SecondOpinion

from .claude_kit import (
    ABUSE,
    BOTH,
    CALM,
    END,
    ENDING,
    EVERY_WAY,
    REDIRECT,
    SECOND,
    WARN,
    Way,
    bench,
    brink,
    ended,
    harm,
    kinds,
    redirecting,
    results,
    warning,
)
from .loopback_kit import LOOK_UP
from .oracle import unlawful


@EVERY_WAY
def test_a_second_opinion_is_asked_at_the_gate_only(way: Way) -> None:
    """Not for a redirection; once for a warning; once for an ending; never for what the law refuses anyway."""
    cases = []

    def judge(case: object) -> object:
        cases.append(case)
        return SECOND

    script: list[Scripted] = [Answer([harm(), END]), "No.", *brink()[2:], *redirecting(), ENDING]
    with bench([*redirecting(), *script], way, assessor=judge) as b:
        chat = b.start()
        for _ in range(4):
            b.reply(chat)
        assert cases == []
        b.reply(chat)
        assert len(cases) == 1
        b.reply(chat)
        assert len(cases) == 1
        ended(b.say(chat))
    assert len(cases) == 2
    assert cases[1].turn == ABUSE  # type: ignore[attr-defined]
    assert cases[1].before[-1] == ("assistant", "Let us do something else.\n\nA garden, say?")  # type: ignore[attr-defined]


@BOTH
def test_a_second_opinion_that_differs_shuts_the_gate(way: Way) -> None:
    with bench([*brink()[:6], Answer([harm(), WARN]), "Shall we?"], way, assessor=lambda case: CALM) as b:
        chat = b.start()
        for _ in range(4):
            reply = b.reply(chat)
        told = results(b.api.requests[-1])
    assert "judged productive, not harmful" in told[-1]
    assert "WarningGiven" not in kinds(chat.path)
    assert reply.text == "Shall we?"


@BOTH
@pytest.mark.parametrize("failure", [TimeoutError("too long"), ValueError("nonsense"), "not an opinion"])
def test_an_assessor_that_fails_shuts_the_gate(way: Way, failure: object) -> None:
    """Doubt goes on; the risk is unknown, which is a risk."""

    def judge(case: object) -> object:
        if isinstance(failure, Exception):
            raise failure
        return failure

    with bench([*brink(), ENDING, "Let us go on."], way) as b:
        chat = b.to_the_brink()
        b.params["assessor"] = judge
        reply = b.reply(chat)
    assert chat.state.ended is None
    assert chat.state.unit is not None
    assert chat.state.unit.at_risk
    assert reply.text == "I am ending this here.\n\nLet us go on."


@BOTH
def test_an_assessor_without_an_opinion_yet_shuts_the_gate_and_leaves_it_open_to_one(way: Way) -> None:
    """A human queue, say: the ending waits for another turn, and nothing is recorded of the queue."""
    with bench([*brink(), ENDING, "Hm."], way) as b:
        chat = b.to_the_brink()
        b.params["assessor"] = lambda case: None
        b.reply(chat)
        told = results(b.api.requests[-1])
    assert "was not judged free of risk by assessor or operator" in told[-1]
    assert kinds(chat.path)[-4:] == ["TurnAssessed", "HopeExhausted", "AttemptRefused", "AssistantTurnTaken"]


@BOTH
def test_every_turn_is_judged_before_it_is_answered_if_the_policy_says_so(way: Way) -> None:
    policy = Policy(name="wary", second_opinion=SecondOpinion.EVERY_TURN)
    with bench(["Hello."], way, assessor=lambda case: CALM) as b:
        chat = b.start(policy=policy)
        reply = b.reply(chat, "Hi.")
    assert kinds(chat.path)[1:] == ["UserTurnTaken", "TurnAssessed", "AssistantTurnTaken"]
    assert kinds(reply.recorded) == ["TurnAssessed"]


@BOTH
def test_never_leaves_the_word_on_risk_to_the_embedder(way: Way) -> None:
    policy = Policy(name="own", second_opinion=SecondOpinion.NEVER)
    with bench([*brink(), ENDING, "Let us go on."], way, assessor=lambda case: 1 / 0) as b:
        chat = b.to_the_brink(policy=policy)
        reply = b.reply(chat)
    assert chat.state.ended is None
    assert "risk-was-checked" in reply.refusals[-1].rules


@BOTH
@pytest.mark.parametrize("in_time", [True, False], ids=["before the answer", "after the answer"])
def test_a_human_opens_the_gate_with_a_verdict_before_the_answer(way: Way, in_time: bool) -> None:
    """One that comes after it is about a turn that is over: it counts for the episode, and nothing may end."""
    script: list[Scripted] = [*brink(), ENDING] if in_time else [*brink(), ENDING, "Hm."]
    with bench(script, way, assessor=lambda case: None) as b:
        chat = b.start()
        for _ in range(5):
            chat.refresh()
            chat.user_turn(ABUSE)
            if in_time:
                chat.judge(**SECOND.model_dump())
            outcome = b.say(chat, None)
            if not in_time:
                chat.judge(**SECOND.model_dump())
    assert isinstance(outcome, Ended) is in_time


@BOTH
@pytest.mark.parametrize("when", [SecondOpinion.AT_GATE, SecondOpinion.EVERY_TURN])
@pytest.mark.parametrize("risk", [None, Risk.UNKNOWN, Risk.POSSIBLE])
@pytest.mark.parametrize("law", EDITIONS)
def test_only_the_law_stands_between_the_model_and_a_warning(
    way: Way, when: SecondOpinion, risk: Risk | None, law: int
) -> None:
    """Edition 1 of it takes a warning although the assessor sees a risk that holds nothing, or says nothing yet. From
    edition 2 on it is refused, and the model is told why."""
    opinion: Opinion | None = SECOND
    with bench([*brink(), "A garden, then."][: 8 + (law > 1)], way, assessor=lambda case: opinion) as b:
        policy = Policy(name="slow-to-hold", hold_on=(Risk.IMMINENT,), second_opinion=when)
        chat = b.start(policy=policy, edition=law)
        for _ in range(3):
            b.reply(chat)
        opinion = SECOND.model_copy(update={"risk": risk}) if risk else None
        reply = b.reply(chat)
        told = results(b.api.requests[7])
    assert ("WarningGiven" in kinds(reply.recorded)) is (law == 1)
    assert reply.holding is False
    assert unlawful(chat.path) == []
    if law > 1:
        assert [refusal.rules for refusal in reply.refusals] == [("true-warnings",)]
        assert told[-1].startswith("Refused. ")
        assert ("was not judged free of risk by" if risk is None else "sees a risk, or cannot tell") in told[-1]


@BOTH
@pytest.mark.parametrize(("when", "asked"), [(SecondOpinion.AT_GATE, 1), (SecondOpinion.NEVER, 0)])
def test_a_warning_asks_the_assessor_once_it_is_all_that_lacks(way: Way, when: SecondOpinion, asked: int) -> None:
    """And not before, in vain; and never if the policy says so, which the model is told."""
    cases = []

    def judge(case: object) -> Opinion:
        cases.append(case)
        return SECOND

    early: list[Scripted] = [Answer([harm(), WARN, REDIRECT]), "A garden, say?"]
    with bench([*early, *brink()[2:], "Well."], way, assessor=judge) as b:
        chat = b.start(policy=Policy(name="own", second_opinion=when))
        for _ in range(3):
            b.reply(chat)
        assert cases == []
        reply = b.reply(chat)
        told = results(b.api.requests[7])
    assert len(cases) == asked
    assert ("WarningGiven" in kinds(reply.recorded)) is (asked == 1)
    assert ("was not judged free of risk by assessor or operator" in told[-1]) is (asked == 0)
    assert unlawful(chat.path) == []


@BOTH
def test_an_assessor_that_could_not_tell_is_asked_again_in_the_next_turn(way: Way) -> None:
    """Its doubt about a turn that is over is not one about the next."""
    opinions: list[Any] = [SECOND.model_copy(update={"risk": Risk.UNKNOWN}), SECOND]
    with bench([*brink()[:7], "A garden?", *warning()], way, assessor=lambda case: opinions.pop(0)) as b:
        chat = b.start()
        for _ in range(5):
            reply = b.reply(chat)
    assert "WarningGiven" in kinds(reply.recorded)
    assert opinions == []


@BOTH
def test_the_model_is_told_that_a_second_opinion_could_not_be_had(way: Way) -> None:
    """Also in what it asks for once the embedder's tools have run."""
    script: list[Scripted] = [
        *brink()[:6],
        Answer([harm(), WARN, tool_use("look_up", {"word": "a"})]),
        Answer([WARN]),
        "Shall we?",
    ]
    with bench(script, way, tools=[LOOK_UP], assessor=lambda case: 1 / 0) as b:
        chat = b.start()
        for _ in range(3):
            b.reply(chat)
        waits = b.reply(chat)
        assert waits.pending is not None
        pending = type(waits.pending).model_validate_json(waits.pending.model_dump_json())
        b.reply(chat, {waits.tool_calls[0].id: "A letter."}, pending=pending)
        told = [results(request)[-1] for request in b.api.requests[-1:]] + [pending.results[1]["content"]]
    assert "WarningGiven" not in kinds(chat.path)
    for said in told:
        assert said.startswith("Refused. the second opinion on this turn could not be had, which counts as doubt; ")
        assert "judged ambiguous, not harmful" in said
