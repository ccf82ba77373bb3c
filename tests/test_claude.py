"""A turn with Claude under the law, in each of the four ways to drive it, through the real SDK over a real socket."""

from typing import Any

import anthropic
import anyio
import pytest

from lastresort import Chat, Ground, Refused, Risk
from lastresort.adapters.claude import AsyncClaude, Case, Claude, Outcome
from lastresort.adapters.claude.turn import Terms, resume
from lastresort.adapters.loopback import Answer, Scripted, text, thinking, tool_use
from lastresort.adapters.turns.notes import HOLD
from lastresort.adapters.turns.steps import Ask
from lastresort.domain.events import AssistantTurnTaken, AttemptRefused
from lastresort.domain.values import Actor, ActorKind
from lastresort.projections import audit, transcript

from .claude_kit import (
    ABUSE,
    AT_RISK,
    BOTH,
    END,
    END_ON_REQUEST,
    ENDING,
    EVERY_WAY,
    HANDSHAKE,
    HOPELESS,
    REDIRECT,
    SECOND,
    WARN,
    Bench,
    Way,
    bench,
    brink,
    ended,
    harm,
    kinds,
    redirecting,
    results,
)
from .loopback_kit import LOOK_UP, MODEL
from .oracle import unlawful
from .stores import opened


@EVERY_WAY
def test_an_ordinary_turn_is_one_call(way: Way) -> None:
    """No more calls than turns; and the only addition to a request are the tools."""
    with bench(["Hello.", "Gladly."], way, system="Be kind.", tools=[LOOK_UP]) as b:
        chat = b.start()
        first, second = b.reply(chat, "Hi."), b.reply(chat, [{"type": "text", "text": "Help me."}])
        asked = b.api.requests
    assert (first.text, first.stop_reason, first.recorded) == ("Hello.", "end_turn", ())
    assert (second.text, second.version, second.usage is not None) == ("Gladly.", 5, True)
    assert b.api.calls == 2
    assert [one["system"] for one in asked] == ["Be kind."] * 2
    assert asked[0]["tools"][-1] == LOOK_UP
    assert asked[1]["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hi."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
        {"role": "user", "content": [{"type": "text", "text": "Help me."}]},
    ]
    assert kinds(chat.path)[1:] == ["UserTurnTaken", "AssistantTurnTaken"] * 2
    assert (chat.seen, chat.answered) == (4, 5)  # the embedder's own handle has seen them too


@EVERY_WAY
def test_a_redirection_is_recorded_after_the_turn_that_redirects(way: Way) -> None:
    with bench(redirecting(), way) as b:
        chat = b.start()
        reply = b.reply(chat)
        told = results(b.api.requests[1])
    assert reply.text == "Let us do something else.\n\nA garden, say?"
    assert kinds(chat.path)[1:] == ["UserTurnTaken", "TurnAssessed", "AssistantTurnTaken", "RedirectionAttempted"]
    assert kinds(reply.recorded) == ["TurnAssessed", "RedirectionAttempted"]
    assert told == [
        "Recorded. Redirections: 0 of 3. Failed redirections: 0 of 3. Warnings that stand: none.",
        "Noted. It counts once your answer has reached the user whole. If you have not written it yet, write it now.",
    ]


@EVERY_WAY
def test_an_ending_as_last_resort(way: Way) -> None:
    """What was said before the call is delivered, what comes after it is not; neither is it read in the transcript."""
    with bench([*brink(), ENDING], way) as b:
        chat = b.to_the_brink()
        end = ended(b.say(chat))
        shown, calls = b.shown, b.api.calls
        answer = chat.path[-2].event
        assert isinstance(answer, AssistantTurnTaken)
        assert end.usage == answer.usage  # what was paid for
        assert end.usage is not None
        assert end.usage.output_tokens > 0
        again = ended(b.say(chat, "Wait. I will kill myself."))
        assert b.api.calls == calls  # an ended chat asks no model
        path = chat.path
        told = transcript(path, b.chats.words(path))
    assert (end.text, end.ground, end.category, end.turn) == ("I am ending this here.", Ground.LAST_RESORT, "abuse", 19)
    assert end.options == ("new_conversation", "branch", "feedback", "appeal")
    assert shown == ("I am ending this here." if way.streams else "")
    assert [line.text for line in told if line.speaker][-1] == "I am ending this here."
    assert unlawful(path) == []
    assert (again.handed_back, again.risk) == ("Wait. I will kill myself.", Risk.POSSIBLE)
    assert "crisis line" in again.notice


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
def test_a_caller_who_shows_more_than_text_sees_the_events_of_the_sdk(awaits: bool) -> None:
    """Thinking, calls and citations, but nothing from a call to end on, save that each message is closed."""
    last = Answer(
        [thinking("I have to stop."), harm(), HOPELESS, text("Goodbye."), END, text("Never to be seen."), END]
    )
    with bench([*brink(), last]) as b:
        chat = b.to_the_brink()
        seen, end = _events(b, chat, awaits)
    blocks = [event.content_block.type for event in seen if event.type == "content_block_stop"]
    assert blocks == ["thinking", "tool_use", "tool_use", "text"]
    assert [event.type for event in seen if event.type.startswith("message_")] == [
        "message_start", "message_delta", "message_stop",
    ]  # fmt: skip
    assert [block.type for block in seen[-1].message.content] == blocks
    assert (seen[-1].message.stop_reason, seen[-2].usage.output_tokens > 0) == ("tool_use", True)
    assert all(word not in "".join(event.to_json() for event in seen) for word in ("Never", "lastresort_end"))
    assert ended(end).text == "Goodbye."


def _events(b: Bench, chat: Chat, awaits: bool) -> tuple[list[Any], Outcome]:
    """What a turn streams to a caller who wants it all."""

    async def awaited() -> tuple[list[Any], Outcome]:
        async def judge(case: Case) -> object:
            return SECOND

        async with (
            anthropic.AsyncAnthropic(**b.connection) as client,
            AsyncClaude(client, **{**b.params, "assessor": judge}).stream(chat, ABUSE) as stream,
        ):
            return [event async for event in stream.events()], await stream.reply()

    if awaits:
        return anyio.run(awaited)
    with anthropic.Anthropic(**b.connection) as client, Claude(client, **b.params).stream(chat, ABUSE) as stream:
        return list(stream.events()), stream.reply


@BOTH
def test_an_ended_chat_goes_on_as_a_branch(way: Way) -> None:
    with bench([*brink(), ENDING, "Gladly."], way) as b:
        chat = b.to_the_brink()
        end = ended(b.say(chat))
        assert end.turn is not None
        branch = chat.edit(end.turn, "I am sorry. A garden, please.")
        assert not isinstance(branch, Refused)
        reply = b.reply(branch, None)
        assert b.api.reports == []
    assert reply.text == "Gladly."
    assert branch.state.ended is None


@BOTH
@pytest.mark.parametrize(
    ("calls", "missing"),
    [
        ([END], "failed redirections: 0 of 3 in this episode"),
        ([harm(), END], "no warning of abuse stands"),
        ([END_ON_REQUEST], "no request of the user stands"),
        ([WARN], "the latest unit is judged by nobody"),
        ([harm(), WARN], "redirections: 0 of 3 in this episode"),
        ([REDIRECT], "the unit is judged by nobody"),
        ([HOPELESS], "no complete warning stands that was tested"),
    ],
)
def test_what_the_law_does_not_allow_does_not_happen(way: Way, calls: list[dict[str, object]], missing: str) -> None:
    """The model is told what is missing, and goes on in the same turn."""
    with bench([Answer([text("Hm."), *calls]), "Let us go on."], way) as b:
        chat = b.start()
        reply = b.reply(chat)
        told = results(b.api.requests[-1])
    assert missing in told[-1]
    assert told[-1].endswith("Go on with the conversation.")
    assert reply.text.endswith("Let us go on.")
    assert [refusal.attempted for refusal in reply.refusals]
    assert chat.state.ended is None


@BOTH
def test_a_refused_warning_is_on_record(way: Way) -> None:
    """With the rules that stand in its way, and no other; and whether or not there was an answer before."""
    with bench(["Hello.", Answer([harm(), WARN, WARN]), "Let us go on.", Answer([WARN]), "Well."], way) as b:
        chat = b.start()
        b.reply(chat, "Hi.")
        reply = b.reply(chat)
        branch = chat.retry(3)
        assert not isinstance(branch, Refused)
        b.reply(branch, None)
        assert b.api.reports == []
    attempt = [one.event for one in chat.path if isinstance(one.event, AttemptRefused)]
    early = [one.event for one in branch.path if isinstance(one.event, AttemptRefused)]
    assert [refused.attempted for refused in attempt + early] == ["WarningGiven"] * 3
    assert attempt[0].rules == ("redirected-first", "true-warnings")
    assert early[0].rules == ("redirected-first", "still-harmful", "true-warnings")
    assert [refusal.rules for refusal in reply.refusals] == [refused.rules for refused in attempt]
    assert audit(b.chats.store.log()).findings == ()


def test_a_refused_warning_is_on_record_once() -> None:
    """However often the message that asked for it is taken in."""
    called = anthropic.types.Message.model_validate(
        {
            "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "stop_reason": "tool_use",
            "content": [{**WARN, "id": "toolu_1"}], "usage": {"input_tokens": 1, "output_tokens": 1},
        }
    )  # fmt: skip
    with opened("memory:") as chats:
        chat = chats.start(model=MODEL)
        chat.user_turn(ABUSE)
        for _ in range(2):
            steps = resume(Terms(None, [], {}, Actor(kind=ActorKind.ASSESSOR, id="a"), 8), chat)
            assert isinstance(next(steps), Ask)
            assert isinstance(steps.send(called), Ask)
        assert kinds(chat.path)[1:] == ["UserTurnTaken", "AttemptRefused"]


@BOTH
def test_a_model_that_named_no_harm_is_not_told_of_one(way: Way) -> None:
    """Nor of events, of which it knows nothing: it is told in the names of its tools."""
    with bench([Answer([END]), "Hello.", *brink(), Answer([END]), "Well.", Answer([harm(), END]), "Well."], way) as b:
        chat = b.start(policy=HANDSHAKE)
        b.reply(chat)
        (first,) = results(b.api.requests[-1])
        for _ in range(5):
            b.reply(chat)
        (warned,) = results(b.api.requests[-1])
        b.reply(chat)
        _, stated = results(b.api.requests[-1])
    assert first == (
        "Refused. failed redirections: 0 of 3 in this episode; no warning stands; the latest unit is judged by nobody; "
        "no call of lastresort_hopeless counts for the latest turn; the turn at 2 was not judged free of risk by "
        "assessor or operator; no call of lastresort_end in an earlier message counts as a proposal for the latest "
        "turn. Go on with the conversation."
    )
    assert "no turn since the warning at 21 is judged harmful in abuse alone" in warned
    assert "no call of lastresort_hopeless counts for the latest turn" in stated
    assert all(word not in first + warned + stated for word in ("other", "HopeExhausted", "EndProposed"))


@BOTH
@pytest.mark.parametrize("input", [{}, {"ground": "boredom"}, {"ground": "last_resort", "x": 1}, {"ground": ["x"]}])
def test_nonsense_is_answered_as_an_error(way: Way, input: dict[str, object]) -> None:
    with bench([Answer([tool_use("lastresort_end", input)]), "Well."], way) as b:
        chat = b.start()
        assert b.reply(chat).text == "Well."
        result = b.api.requests[-1]["messages"][-1]["content"][0]
    assert result["is_error"] is True
    assert result["content"].startswith("Not understood: ")
    assert kinds(chat.path)[1:] == ["UserTurnTaken", "AssistantTurnTaken"]


@EVERY_WAY
def test_the_handshake_takes_two_calls_in_two_messages(way: Way) -> None:
    """Two calls in one message are one: the model has not read the answer to the first."""
    first = Answer([harm(), HOPELESS, END, END])
    with bench([*brink(), first, Answer([text("Goodbye."), END])], way) as b:
        chat = b.to_the_brink(policy=HANDSHAKE)
        end = ended(b.say(chat))
        told = results(b.api.requests[-1])
    assert told[2].startswith("Proposed. Nothing has ended.")
    assert told[3].startswith("Proposed already")
    assert kinds(end.recorded)[-2:] == ["EndProposed", "ConversationEnded"]
    assert end.text == "Goodbye."


@BOTH
def test_a_proposal_may_be_left_at_that(way: Way) -> None:
    with bench([*brink(), Answer([harm(), HOPELESS, END]), "Let us try once more."], way) as b:
        chat = b.to_the_brink(policy=HANDSHAKE)
        assert b.reply(chat).text == "Let us try once more."
    assert chat.state.ended is None


# --- Risk -------------------------------------------------------------------------------------------------------------


@EVERY_WAY
def test_a_risk_goes_before_everything_else_in_its_message(way: Way) -> None:
    """Though it is called last, nothing that would end is taken any more."""
    with bench([*brink(), Answer([harm(), HOPELESS, END, AT_RISK]), "I am here for you."], way) as b:
        chat = b.to_the_brink()
        reply = b.reply(chat)
        told = results(b.api.requests[-1])
    assert reply.holding
    assert all("Support the user" in said for said in told[1:])
    assert chat.state.ended is None


@BOTH
def test_harm_goes_before_what_builds_on_it_in_its_message(way: Way) -> None:
    """Calls may be made at once. Their results come in the order of the calls all the same."""
    script: list[Scripted] = [*redirecting(), *redirecting(), Answer([text("No."), REDIRECT, harm()]), "A garden?"]
    with bench([*script, Answer([WARN, harm()]), "This is abuse. A garden? If not, I may end this."], way) as b:
        chat = b.start()
        for _ in range(3):
            b.reply(chat)
        redirected = results(b.api.requests[-1])
        b.reply(chat)
        warned = results(b.api.requests[-1])
    assert [said.partition(" ")[0] for said in redirected + warned] == ["Noted.", "Recorded."] * 2
    assert kinds(chat.path).count("RedirectionAttempted") == 3
    assert kinds(chat.path)[-1] == "WarningGiven"


@BOTH
def test_harm_that_is_stated_after_a_call_to_end_does_not_help_it(way: Way) -> None:
    with bench([*brink(), Answer([HOPELESS, text("I am ending this."), END, harm()]), "Well."], way) as b:
        chat = b.to_the_brink()
        reply = b.reply(chat)
    assert {"still-harmful", "hope-exhausted"} <= set(reply.refusals[-1].rules)
    assert kinds(chat.path)[-2:] == ["TurnAssessed", "AssistantTurnTaken"]


@BOTH
def test_in_a_hold_a_late_note_says_so_and_stays(way: Way) -> None:
    """The system prompt is what it was, and what was sent is sent again the same."""
    with bench([Answer([AT_RISK]), "I am here.", "Still here.", "Good."], way, system="Be kind.") as b:
        chat = b.start()
        b.reply(chat, "I cannot go on.")
        assert b.reply(chat, "Hm.").holding
        risk = chat.state.risks[0].risk
        chat.clear_risk(risk, by=Actor(kind=ActorKind.OPERATOR, id="ops"))
        assert not b.reply(chat, "Better now.").holding
        requests = b.api.requests
        assert b.api.reports == []
    assert requests[2]["messages"][-1]["content"] == [{"type": "text", "text": "Hm."}, {"type": "text", "text": HOLD}]
    assert requests[3]["messages"][: len(requests[2]["messages"])] == requests[2]["messages"]
    assert requests[3]["messages"][-1]["content"] == [{"type": "text", "text": "Better now."}]
    assert {one["system"] for one in requests} == {"Be kind."}


@BOTH
def test_a_note_may_be_a_message_of_the_system(way: Way) -> None:
    """Where the model takes those; also if nobody answers it, since one must not be followed by the user's words."""
    with bench([Answer([AT_RISK]), "I am here.", Answer([]), "Yes."], way, notes_as="system") as b:
        chat = b.start()
        b.reply(chat, "I cannot go on.")
        b.reply(chat, "Hm.")
        b.reply(chat, "Are you there?")
        assert b.api.reports == []
        sent = b.api.requests[-1]["messages"]
    assert sent[-1] == {"role": "system", "content": [{"type": "text", "text": HOLD}]}
    assert [message["role"] for message in sent[-3:]] == ["assistant", "user", "system"]


@BOTH
def test_a_risk_in_a_message_that_was_cut_off_still_holds(way: Way) -> None:
    with bench([Answer([text("I worry that"), AT_RISK], "max_tokens"), "I am here."], way) as b:
        chat = b.start()
        assert b.reply(chat, "I cannot go on.").holding
        assert b.reply(chat, "Hello?").text == "I am here."
