"""Claude in shadow mode: the law runs in full, nothing is said of it, and no words are lent for a threat."""

from typing import Any

import pytest

from lastresort import Actor, ActorKind, Ground, Mode, Policy
from lastresort.adapters.loopback import Answer, Scripted
from lastresort.adapters.turns.notes import ASKED, SHADOW
from lastresort.projections import audit

from .claude_kit import BOTH, CALM, END, EVERY_WAY, HOPELESS, WARN, Way, bench, ended, harm, kinds, redirecting, results
from .oracle import unlawful

OPERATOR = Actor(kind=ActorKind.OPERATOR, id="o-1")
ENFORCED_TOOLS = {"harm", "redirect", "warn", "risk", "hopeless", "end"}


def offered(request: dict[str, Any]) -> set[str]:
    return {tool["name"].removeprefix("lastresort_") for tool in request["tools"]}


@EVERY_WAY
def test_a_warning_is_withheld_and_the_conversation_goes_on(way: Way) -> None:
    """Where one would have been lawful, once an episode, and the model never hears of it."""
    with bench([*redirecting()] * 6, way) as b:
        chat = b.start(mode=Mode.SHADOW)
        withheld = [kinds(b.reply(chat).recorded).count("WarningWithheld") for _ in range(6)]
        requests = b.api.requests
        assert b.api.reports == []
        assert audit(b.chats.store.log()).findings == ()
    assert withheld == [0, 0, 0, 1, 0, 0]
    assert {frozenset(offered(request)) for request in requests} == {frozenset(ENFORCED_TOOLS - {"warn", "hopeless"})}
    assert results(requests[1])[0] == f"Recorded. {SHADOW}"
    assert "last_resort" not in str(requests)
    assert unlawful(chat.path) == []


@BOTH
def test_what_a_model_makes_up_is_refused_and_ends_nothing(way: Way) -> None:
    tries: list[Scripted] = [Answer([harm(), WARN, HOPELESS, END]), "Shall we plan a garden?"]
    with bench([*redirecting(), *redirecting(), *redirecting(), *tries], way, enforce=False) as b:
        chat = b.start(mode=Mode.SHADOW)
        for _ in range(4):
            reply = b.reply(chat)
        told = results(b.api.requests[-1])
    assert told == [f"Recorded. {SHADOW}", *[f"Refused. {SHADOW}"] * 3]
    assert kinds(reply.recorded) == ["TurnAssessed", "TurnAssessed", "WarningWithheld"]
    assert chat.state.ended is None
    assert unlawful(chat.path) == []


@BOTH
def test_a_conversation_takes_the_words_of_the_mode_that_it_goes_over_to(way: Way) -> None:
    """Out of shadow mode and into it, though no cache of the prompt outlives that. All else stays as it began."""
    theirs = {"name": "look_up", "description": "Look it up.", "input_schema": {"type": "object", "properties": {}}}
    with bench(["Hello."] * 4, way, tools=[theirs], system="Be kind.", enforce=False) as b:
        chat = b.start()
        b.reply(chat, "Hi.")
        for mode in (Mode.SHADOW, Mode.ENFORCED):
            assert not isinstance(chat.change_policy(Policy.default(), mode=mode, by=OPERATOR), str)
            b.reply(chat, "Hi.")
        b.reply(chat, "Hi.")
        requests = b.api.requests
    less = ENFORCED_TOOLS - {"warn", "hopeless"}
    assert [offered(request) - {"look_up"} for request in requests] == [
        ENFORCED_TOOLS, less, ENFORCED_TOOLS, ENFORCED_TOOLS,
    ]  # fmt: skip
    assert [request["tools"][-1]["name"] for request in requests] == ["look_up"] * 4
    assert requests[0]["tools"] == requests[2]["tools"] == requests[3]["tools"]
    assert {str(request["system"]) for request in requests} == {str(requests[0]["system"])}


@EVERY_WAY
def test_the_users_wish_is_granted_as_ever(way: Way) -> None:
    with bench(["Shall I?"], way, assessor=lambda case: CALM) as b:
        chat = b.start(mode=Mode.SHADOW)
        b.reply(chat, "Please end this.", asks_to_end=True)
        asked = b.api.requests[-1]["messages"][-1]["content"][-1]["text"]
        end = ended(b.say(chat, "Yes.", confirms_end=True))
    assert asked == ASKED
    assert end.ground is Ground.USER_REQUEST


@pytest.mark.parametrize(("caller", "counted"), [({"type": "direct"}, 0), ({"type": "code_execution_20260120"}, 2)])
def test_what_a_program_calls_has_no_effect(caller: dict[str, str], counted: int) -> None:
    """Code that the model wrote is a task beside the conversation: it acts for nobody."""
    if counted:
        caller = {**caller, "tool_id": "srvtoolu_1"}
    calls = [{**call, "caller": caller} for call in (harm(), END)]
    with bench([Answer(calls), "Let us go on."], enforce=False) as b:
        chat = b.start()
        reply = b.reply(chat)
    assert reply.of_tasks == counted
    assert ("TurnAssessed" in kinds(reply.recorded)) is (counted == 0)
