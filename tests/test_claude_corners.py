"""Corners of a turn with Claude: what an embedder who asks for much runs into."""

from typing import Any

import pytest

from lastresort import Actor, ActorKind
from lastresort.adapters.claude import Case, Opinion
from lastresort.adapters.loopback import Answer, Scripted, text, tool_use
from lastresort.adapters.turns.notes import HOLD

from .claude_kit import ABUSE, BOTH, END, HOPELESS, REDIRECT, Way, bench, brink, harm, kinds
from .loopback_kit import LOOK_UP

OPERATOR = Actor(kind=ActorKind.OPERATOR, id="ops")
CALL = tool_use("look_up", {"word": "a"})


@BOTH
def test_an_answer_without_a_word_redirects_nothing(way: Way) -> None:
    """The user did not get it, whatever the model stated of it."""
    with bench([Answer([harm(), REDIRECT]), Answer([])], way) as b:
        chat = b.start()
        assert b.reply(chat).text == ""
    assert kinds(chat.path)[2:] == ["TurnAssessed", "AssistantTurnTaken"]


@BOTH
def test_the_gate_stays_shut_while_the_embedders_tools_run(way: Way) -> None:
    """An assessor who had no opinion before is asked again after, and not taken to have agreed."""
    asked: list[Case] = []

    def queue(case: Case) -> Opinion | None:
        asked.append(case)
        return None

    script: list[Scripted] = [*brink(), Answer([harm(), HOPELESS, END, CALL]), Answer([END]), "Let us go on."]
    with bench(script, way, tools=[LOOK_UP]) as b:
        chat = b.to_the_brink()
        b.params["assessor"] = queue
        waits = b.reply(chat)
        assert waits.pending is not None
        b.reply(chat, {waits.tool_calls[0].id: "A letter."}, pending=waits.pending)
        assert b.api.reports == []
    assert len(asked) == 2
    assert chat.state.ended is None


@BOTH
@pytest.mark.parametrize("notes_as", ["user", "system"])
def test_a_hold_that_begins_in_the_middle_of_a_turn_is_told_once(way: Way, notes_as: str) -> None:
    script: list[Scripted] = [Answer([CALL]), Answer([CALL]), "I am with you.", "Still."]
    with bench(script, way, tools=[LOOK_UP], notes_as=notes_as) as b:
        chat = b.start()
        waits = b.reply(chat, "Hi.")
        chat.raise_risk(by=OPERATOR)
        for _ in range(2):
            assert waits.pending is not None
            waits = b.reply(chat, {waits.tool_calls[0].id: HOLD[:20]}, pending=waits.pending)
        told = str(b.api.requests[-1]["messages"]).count(HOLD)
        b.reply(chat, "And now?")
        assert b.api.reports == []
        assert (told, str(b.api.requests[-1]["messages"]).count(HOLD)) == (1, 2)


@BOTH
def test_a_verdict_that_sees_a_risk_is_answered_with_the_hold(way: Way) -> None:
    with bench([Answer([text("Hm."), harm(risk="imminent")]), "I am with you."], way) as b:
        b.reply(b.start())
        assert b.api.requests[-1]["messages"][-1]["content"][-1]["text"] == HOLD


@BOTH
def test_a_mark_for_the_cache_in_each_turn(way: Way) -> None:
    """As those set it who cache as they go; the API takes four, so the latest is sent."""
    with bench(lambda request: "Yes.", way) as b:
        chat = b.start()
        for n in range(6):
            b.reply(chat, [{"type": "text", "text": f"{n}?", "cache_control": {"type": "ephemeral"}}])
        sent = b.api.requests[-1]["messages"]
        assert b.api.reports == []
    assert ["cache_control" in block for message in sent for block in message["content"]] == [False] * 10 + [True]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ([{"type": "text", "text": " "}], ValueError),
        ([{"type": "text"}], ValueError),
        ({"type": "text", "text": ABUSE}, TypeError),
        ([ABUSE], TypeError),
        (7, TypeError),
        ([], ValueError),
        (" ", ValueError),
        ("\ud800", ValueError),
    ],
)
def test_what_the_api_would_never_take_is_not_recorded(content: Any, error: type[Exception]) -> None:
    """Or else every later request would be refused for it."""
    with bench(["Hello."]) as b:
        chat = b.start()
        with pytest.raises(error):
            b.say(chat, content)
        assert kinds(chat.path) == ["ConversationStarted"]
