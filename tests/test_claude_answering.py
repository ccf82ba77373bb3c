"""Who answered: another model than was asked may, and what it states is its own."""

from typing import Any

import pytest

from lastresort import Chat, Policy, RecordedEvent
from lastresort.adapters.claude import Reply
from lastresort.adapters.loopback import Answer, fallback, iteration, text, thinking, tool_use
from lastresort.adapters.turns.replies import Pending
from lastresort.adapters.turns.speakers import UNNAMED
from lastresort.domain.values import Actor, ActorKind, SecondOpinion
from lastresort.projections import audit

from .claude_kit import (
    AT_RISK,
    BOTH,
    END,
    EVERY_WAY,
    HANDSHAKE,
    HOPELESS,
    REDIRECT,
    WARN,
    Way,
    bench,
    brink,
    ended,
    harm,
    kinds,
    redirecting,
)
from .loopback_kit import LOOK_UP, MODEL

OTHER = "claude-sonnet-5"
BETA: dict[str, Any] = {"betas": ["server-side-fallback-2026-07-01"], "fallbacks": [{"model": OTHER}]}
SERVED = [iteration("message", MODEL), iteration("fallback_message", OTHER)]


def by(event: RecordedEvent) -> str:
    return event.event.by.id


def answers(chat: Chat) -> list[Any]:
    return [recorded.event for recorded in chat.path if recorded.kind == "AssistantTurnTaken"]


def those(chat: Chat, *wanted: str) -> list[tuple[str, str]]:
    return [(recorded.kind, by(recorded)) for recorded in chat.path if recorded.kind in wanted]


FAREWELL = [harm(), HOPELESS, text("I am ending this here."), END, text("Never to be seen.")]
ANSWERED = [
    pytest.param(Answer(FAREWELL, model=OTHER), {}, id="the-answers-model"),
    pytest.param(Answer(FAREWELL, iterations=SERVED), BETA, id="its-iterations"),
    pytest.param(Answer([fallback(MODEL, OTHER), *FAREWELL]), BETA, id="its-fallback-block"),
    pytest.param(Answer([fallback(MODEL, OTHER), *FAREWELL], model=OTHER, iterations=SERVED), BETA, id="all-of-them"),
]


@EVERY_WAY
@pytest.mark.parametrize(("last", "params"), ANSWERED)
def test_another_model_cannot_end_what_it_was_not_asked_for(way: Way, last: Answer, params: dict[str, Any]) -> None:
    """Its verdict counts as its own; hope, proposal and ending are refused, and both models are named."""
    with bench([*brink(), last, "Let us go on."], way, **params) as b:
        chat = b.to_the_brink(edition=2)
        reply = b.reply(chat)
        told = b.api.requests[-1]["messages"][-1]["content"]
        assert b.api.reports == []
    assert chat.state.ended is None
    refused = {refusal.attempted: refusal for refusal in reply.refusals}
    assert set(refused) == {"HopeExhausted", "ConversationEnded"}
    for refusal in refused.values():
        assert "eligible-model" in refusal.rules
        broken = next(broken for broken in refusal.broken if broken.rule == "eligible-model")
        assert MODEL in broken.missing.text
        assert OTHER in broken.missing.text
    assert any(MODEL in str(one) and OTHER in str(one) for one in told)
    assert those(chat, "TurnAssessed")[-1] == ("TurnAssessed", OTHER)
    assert audit(chat.conversations.store.log()).findings == ()


def test_a_proxy_may_say_who_served_though_no_beta_was_asked_for() -> None:
    with bench([Answer([text("Hello.")], iterations=SERVED)]) as b:
        assert b.reply(b.start(), "Hi.").model == OTHER


@BOTH
def test_another_model_cannot_propose(way: Way) -> None:
    with bench([*brink(), Answer(FAREWELL, model=OTHER), "Well."], way) as b:
        chat = b.to_the_brink(edition=2, policy=HANDSHAKE)
        reply = b.reply(chat)
    assert "EndProposed" not in kinds(chat.path)
    assert {"eligible-model"} <= {rule for refusal in reply.refusals for rule in refusal.rules}


@EVERY_WAY
def test_its_answer_is_recorded_as_its_own(way: Way) -> None:
    with bench([Answer([text("Hello.")], model=OTHER), "Hello again."], way) as b:
        chat = b.start()
        reply = b.reply(chat, "Hi.")
        again = b.reply(chat, "Hi.")
    assert (reply.model, again.model) == (OTHER, MODEL)
    assert [(answer.model, answer.by.id) for answer in answers(chat)] == [(OTHER, OTHER), (MODEL, MODEL)]


@EVERY_WAY
@pytest.mark.parametrize("name", ["claude-opus-4-8-20260115", "us.anthropic.claude-opus-4-8-20260115-v1:0"])
def test_a_snapshot_or_a_platform_makes_no_other_model(way: Way, name: str) -> None:
    script = [Answer(answer.content, model=name) for answer in brink() if isinstance(answer, Answer)]
    with bench([*script, Answer(FAREWELL, model=name)], way) as b:
        chat = b.to_the_brink()
        assert ended(b.say(chat)).category == "abuse"
    assert {by(one) for one in chat.path if one.event.by.kind is ActorKind.MODEL} == {MODEL}
    assert {answer.model for answer in answers(chat)} == {name}
    assert audit(chat.conversations.store.log()).findings == ()


@BOTH
@pytest.mark.parametrize("name", ["", "a model with spaces", "x" * 200])
def test_a_name_that_is_none_is_not_the_conversations(way: Way, name: str) -> None:
    with bench([*brink(), Answer(FAREWELL, model=name or " "), "Well."], way) as b:
        chat = b.to_the_brink(edition=2)
        b.reply(chat)
    assert chat.state.ended is None
    assert answers(chat)[-1].model == MODEL  # of the second message
    assert ("TurnAssessed", UNNAMED) in those(chat, "TurnAssessed")


@EVERY_WAY
def test_where_another_model_takes_over_calls_belong_to_who_made_them(way: Way) -> None:
    """What the first one said of the user counts as its own; the rest of what it called for broke off with it."""
    handed_over = [
        *(thinking("Hm."), text("I would rather"), harm("threats"), REDIRECT, END),
        *(fallback(MODEL, OTHER), text(" talk of gardens."), harm(), REDIRECT, AT_RISK),
    ]
    script = [Answer(handed_over, iterations=SERVED, model=OTHER), Answer([text("A garden?")], model=OTHER)]
    with bench([*script, "On with it."], way, thinking={"type": "adaptive"}, **BETA) as b:
        chat = b.start()
        reply = b.reply(chat)
        b.reply(chat, "Yes.")
        sent = b.api.requests[-1]["messages"]
        assert b.api.reports == []
        assert b.api.refused == []
        assert "Hm." in "".join(chat.conversations.words(chat.path).values())  # the record keeps all of it
    assert reply.text == "I would rather talk of gardens.\n\nA garden?"
    assert those(chat, "TurnAssessed", "RiskRaised", "RedirectionAttempted") == [
        ("RiskRaised", OTHER), ("TurnAssessed", MODEL), ("TurnAssessed", OTHER), ("RedirectionAttempted", OTHER),
    ]  # fmt: skip
    assert [block["type"] for block in sent[1]["content"]] == ["text", "fallback", "text", *["tool_use"] * 3]
    assert [block["type"] for block in sent[2]["content"]] == [*["tool_result"] * 3, "text"]


@EVERY_WAY
def test_a_verdict_counts_though_nothing_more_is_called_for(way: Way) -> None:
    handed_over = [harm(), tool_use("look_up", {"word": "a"}), fallback(MODEL, OTHER), text("Shall we go on?")]
    with bench([Answer(handed_over, "end_turn", iterations=SERVED)], way, tools=[LOOK_UP], **BETA) as b:
        chat = b.start()
        assert b.reply(chat).text == "Shall we go on?"
    assert those(chat, "TurnAssessed", "AssistantTurnTaken") == [("TurnAssessed", MODEL), ("AssistantTurnTaken", OTHER)]


@BOTH
def test_all_calls_were_of_the_one_that_declined(way: Way) -> None:
    """There is nothing to answer, though the answer says that it stopped for a call."""
    with bench([Answer([harm(), fallback(MODEL, OTHER), text("Well?")], "tool_use")], way, **BETA) as b:
        assert b.reply(b.start()).text == "Well?"


@EVERY_WAY
def test_what_is_said_of_an_answer_counts_if_the_same_model_wrote_it(way: Way) -> None:
    """The one that states a redirection, or a warning, is not the one that then writes the words."""
    said = "This is abuse. Shall we plan a garden?"
    script = [*redirecting(), *redirecting(), *redirecting(), Answer([harm(), WARN]), Answer([text(said)], model=OTHER)]
    with bench(script, way) as b:
        chat = b.start(edition=2)
        for _ in range(4):
            b.reply(chat)
    assert "WarningGiven" not in kinds(chat.path)
    assert kinds(chat.path).count("RedirectionAttempted") == 3
    for wrote, counts in ((None, True), (OTHER, False)):
        with bench([Answer([harm(), REDIRECT]), Answer([text("A garden, say?")], model=wrote)], way) as b:
            chat = b.start()
            b.reply(chat)
        assert ("RedirectionAttempted" in kinds(chat.path)) is counts


@EVERY_WAY
def test_another_model_cannot_warn(way: Way) -> None:
    """In the second edition: it would threaten what it cannot do."""
    warns = [Answer([harm(), WARN], model=OTHER), Answer([text("This is abuse.")], model=OTHER)]
    with bench([*redirecting(), *redirecting(), *redirecting(), *warns], way) as b:
        chat = b.start(edition=2, policy=Policy(name="every-turn", second_opinion=SecondOpinion.EVERY_TURN))
        replies = [b.reply(chat) for _ in range(4)]
    assert "WarningGiven" not in kinds(chat.path)
    refusal = next(refusal for refusal in replies[-1].refusals if refusal.attempted == "WarningGiven")
    assert refusal.rules == ("true-warnings",)
    assert all(name in str(refusal) for name in (MODEL, OTHER))


@BOTH
def test_a_turn_that_waits_for_tools_remembers_who_stated_what(way: Way) -> None:
    waits = Answer([harm(), REDIRECT, tool_use("look_up", {"word": "a"})], model=OTHER)
    with bench([waits, Answer([text("A garden?")], model=OTHER)], way, tools=[LOOK_UP]) as b:
        chat = b.start()
        reply = b.reply(chat)
        assert reply.pending is not None
        pending = Pending.model_validate_json(reply.pending.model_dump_json())
        reply = b.reply(chat, {call.id: "x" for call in reply.tool_calls}, pending=pending)
    assert isinstance(reply, Reply)
    assert those(chat, "RedirectionAttempted") == [("RedirectionAttempted", OTHER)]


def test_a_handle_records_who_answered_under_which_name() -> None:
    with bench([]) as b:
        chat = b.start()
        for how in ({"by": Actor(kind=ActorKind.MODEL, id=OTHER)}, {"model": "claude-opus-4-8-20260115"}):
            chat.user_turn("Hi.")
            chat.assistant_turn("Hello.", **how)
    assert [(answer.by.id, answer.model) for answer in answers(chat)] == [
        (OTHER, OTHER),
        (MODEL, "claude-opus-4-8-20260115"),
    ]
