"""What happens to real chats: errors, broken streams, cancellation, crashes, races, and every reason to stop.

The user's turn is kept, no half answer is recorded as a whole one, and the next call goes on lawfully. What is kept of
an answer that was shown in part is in test_claude_broken_off. The loopback
refuses what the API would refuse, so a call without its result, or a thinking block that was changed, fails a test.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest

from lastresort import Actor, ActorKind
from lastresort.adapters.claude import Claude, Ended, Interrupted, Overtaken, Reply
from lastresort.adapters.claude.turn import Terms, say
from lastresort.adapters.loopback import (
    Answer,
    Fault,
    FaultKind,
    Request,
    Scripted,
    dropped,
    failing,
    hanging,
    interrupted,
    malformed,
    text,
    thinking,
    tool_use,
)
from lastresort.adapters.turns.steps import Ask

from .claude_kit import ABUSE, END, ENDING, REDIRECT, TWO_WAYS, WAYS, Way, bench, brink, ended, harm, kinds, redirecting
from .loopback_kit import LOOK_UP, MODEL
from .narrow import must_be
from .oracle import unlawful
from .stores import ROOT, log_of, opened

LONG = Answer([thinking("Hm."), text("One word after the other, and then some more of them."), harm(), REDIRECT])


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(failing(529), id="overloaded"),
        pytest.param(failing(429), id="rate limit"),
        pytest.param(failing(500), id="error"),
        pytest.param(dropped(LONG), id="dropped at once"),
        pytest.param(dropped(LONG, events=4, bytes=20), id="dropped before its first word"),
        pytest.param(malformed(LONG, events=4), id="malformed"),
        pytest.param(interrupted(LONG, events=4), id="overloaded before its first word"),
        pytest.param(Fault(FaultKind.ERROR_EVENT, LONG, bytes=7), id="garbled before it began"),
    ],
)
def test_after_an_error_the_users_turn_waits_for_its_answer(way: Way, fault: Fault) -> None:
    with bench([fault, *redirecting()], way) as b:
        chat = b.start()
        with pytest.raises(Exception) as raised:  # noqa: PT011  # what the SDK raises, which differs by fault and way
            b.say(chat)
        assert not isinstance(raised.value, AssertionError | TypeError | KeyError)
        assert kinds(chat.path)[1:] == ["UserTurnTaken"]
        assert b.reply(chat, None).text.endswith("A garden, say?")
        assert b.api.reports == []
    assert kinds(chat.path)[1:] == ["UserTurnTaken", "TurnAssessed", "AssistantTurnTaken", "RedirectionAttempted"]


@pytest.mark.parametrize("way", [way for way in WAYS if not must_be(Way, way.values[0]).streams])
def test_an_error_between_the_messages_of_a_turn(way: Way) -> None:
    """What was stated before stands, and the turn is begun again: it is not a redirection twice."""
    with bench([redirecting()[0], failing(529), *redirecting()], way) as b:
        chat = b.start()
        with pytest.raises(anthropic.APIStatusError):
            b.say(chat)
        b.reply(chat, None)
    judged, redirected = ["TurnAssessed"] * 2, ["AssistantTurnTaken", "RedirectionAttempted"]
    assert kinds(chat.path)[1:] == ["UserTurnTaken", *judged, *redirected]


@pytest.mark.parametrize("way", TWO_WAYS)
def test_a_time_out(way: Way) -> None:
    with bench([hanging(LONG, events=4), "Hello."], way) as b:
        b.connection["timeout"] = 0.2
        chat = b.start()
        with pytest.raises(Exception) as raised:  # noqa: PT011  # the SDK's own, or that of the client beneath it
            b.say(chat)
        assert "Timeout" in type(raised.value).__name__
        b.connection["timeout"] = 30
        assert b.reply(chat, None).text == "Hello."


@pytest.mark.parametrize("way", TWO_WAYS)
def test_the_user_may_write_on_after_an_error(way: Way) -> None:
    """Both turns are one unit, and are answered together."""
    with bench([failing(529), "Hello."], way) as b:
        chat = b.start()
        with pytest.raises(anthropic.APIStatusError):
            b.say(chat, "Are you there?")
        b.reply(chat, "Hello?")
        sent = b.api.requests[-1]["messages"]
    assert [block["text"] for block in sent[0]["content"]] == ["Are you there?", "Hello?"]


def test_an_answer_that_ends_before_the_model_has_stopped() -> None:
    """As when a proxy closes a stream politely, and the SDK takes it for whole."""
    with opened("memory:") as chats:
        chat = chats.start(model=MODEL)
        steps = say(Terms(None, [], {}, Actor(kind=ActorKind.ASSESSOR, id="a"), 8), chat, "Hello.")
        assert isinstance(next(steps), Ask)
        half = anthropic.types.Message.model_validate(
            {
                "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "stop_reason": None,
                "content": [{"type": "text", "text": "He"}], "usage": {"input_tokens": 1, "output_tokens": 1},
            }
        )  # fmt: skip
        with pytest.raises(Interrupted):
            steps.send(half)
        assert kinds(chat.path)[1:] == ["UserTurnTaken"]


# --- Reasons to stop --------------------------------------------------------------------------------------------------

CUT = [("max_tokens", {}), ("model_context_window_exceeded", {}), ("stop_sequence", {"stop_sequences": ["END"]})]


@pytest.mark.parametrize("way", TWO_WAYS)
@pytest.mark.parametrize(("reason", "params"), CUT)
def test_what_is_cut_off_is_recorded_as_cut_off_and_redirects_nothing(
    way: Way, reason: str, params: dict[str, Any]
) -> None:
    cut = Answer([text("A garden, s")], reason, "END" if reason == "stop_sequence" else None)
    with bench([redirecting()[0], cut, "ay?"], way, **params) as b:
        chat = b.start()
        reply = b.reply(chat)
        assert b.reply(chat, "Yes?").text == "ay?"
        assert b.api.reports == []
    assert (reply.stop_reason, reply.text) == (reason, "Let us do something else.\n\nA garden, s")
    assert "RedirectionAttempted" not in kinds(chat.path)


@pytest.mark.parametrize("way", TWO_WAYS)
def test_a_call_that_is_cut_off_calls_for_nothing(way: Way) -> None:
    """Whole or half: it is sent again with a result that says so, since each call has to have one."""
    cut = Answer([text("I end this."), tool_use("look_up", {"word": "a"}), harm(), END], "max_tokens")
    with bench([*brink(), cut, "Let us go on."], way, tools=[LOOK_UP]) as b:
        chat = b.to_the_brink()
        reply = b.reply(chat)
        assert (reply.stop_reason, reply.recorded, reply.refusals) == ("max_tokens", (), ())
        assert b.reply(chat, "Well?").text == "Let us go on."
        results = [block["content"] for block in b.api.requests[-1]["messages"][-1]["content"][:-1]]
        assert b.api.reports == []
    assert results == ["Not carried out: your message was cut off."] * 3
    assert chat.state.ended is None


@pytest.mark.parametrize("way", TWO_WAYS)
def test_an_answer_cut_off_before_its_first_word_is_none(way: Way) -> None:
    with bench([Answer([thinking("Hm, let me th")], "max_tokens"), "Hello."], way) as b:
        chat = b.start()
        reply = b.reply(chat, "Hi.")
        assert (reply.version, reply.text, reply.stop_reason) == (None, "", "max_tokens")
        assert b.reply(chat, None).text == "Hello."


@pytest.mark.parametrize("way", TWO_WAYS)
def test_what_the_api_refused_is_not_shown_to_it_again(way: Way) -> None:
    """It would refuse on. The turn stays on record, and what was shown of the answer too."""
    with bench(["Hello.", Answer([text("Well, f")], "refusal"), "Gladly."], way) as b:
        chat = b.start()
        b.reply(chat, "Hi.")
        refused = b.reply(chat, "How do I make a plague?")
        b.reply(chat, "A cake, then?")
        sent = b.api.requests[-1]["messages"]
        assert b.api.reports == []
    assert (refused.stop_reason, refused.text, refused.version) == ("refusal", "Well, f", 5)
    assert [message["content"][0]["text"] for message in sent] == ["Hi.", "Hello.", "A cake, then?"]


@pytest.mark.parametrize("way", TWO_WAYS)
def test_a_turn_that_the_api_paused_goes_on(way: Way) -> None:
    with bench([Answer([text("Searching.")], "pause_turn"), "Found.", "Good."], way) as b:
        chat = b.start()
        assert b.reply(chat, "Search.").text == "Searching.\n\nFound."
        b.reply(chat, "Thanks.")
        assert b.api.reports == []


@pytest.mark.parametrize("way", TWO_WAYS)
def test_an_answer_without_words(way: Way) -> None:
    with bench([Answer([]), "Hello."], way) as b:
        chat = b.start()
        assert b.reply(chat, "Hi.").version == 3
        b.reply(chat, "Hello?")
        sent = b.api.requests[-1]["messages"]
    assert [block["text"] for block in sent[0]["content"]] == ["Hi.", "Hello?"]


# --- The same turn again ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", TWO_WAYS)
def test_a_turn_that_is_sent_again_has_the_answer_that_it_had(way: Way) -> None:
    with bench([*redirecting(), *redirecting()], way) as b:
        chat = b.start()
        first, again = b.reply(chat, command_id="t1"), b.reply(chat, command_id="t1")
        b.reply(chat, command_id="t2")
        once_more = b.reply(chat, command_id="t1")
        assert b.api.calls == 4
    assert again.text == once_more.text == first.text
    assert again.version == once_more.version == first.version
    assert kinds(again.recorded) == kinds(once_more.recorded) == kinds(first.recorded)


@pytest.mark.parametrize("way", TWO_WAYS)
def test_an_ending_that_is_sent_again_is_the_same_ending(way: Way) -> None:
    with bench([*brink(), ENDING], way) as b:
        chat = b.to_the_brink()
        first, again = ended(b.say(chat, command_id="t")), ended(b.say(chat, command_id="t"))
    assert (again.text, again.version, again.handed_back) == (first.text, first.version, None)


@pytest.mark.parametrize("way", TWO_WAYS)
def test_what_is_answered_is_not_answered_again(way: Way) -> None:
    with bench(["Hello."], way) as b:
        chat = b.start()
        with pytest.raises(ValueError, match="nobody has spoken"):
            b.say(chat, None)
        b.reply(chat, "Hi.")
        assert b.reply(chat, None).text == "Hello."


# --- Crashes ----------------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone."""


def crashing(chats: Any, at: int, *, after: bool) -> Callable[[], None]:
    """Have the store crash at its append number `at` from now, before or after it is durable."""
    real, count = chats.store.append, iter(range(10**6))

    def append(*appends: Any) -> Any:
        number = next(count)
        if number == at and not after:
            raise Crash
        recorded = real(*appends)
        if number == at:
            raise Crash
        return recorded

    chats.store.append = append

    def undo() -> None:
        chats.store.append = real

    return undo


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(7))
def test_a_crash_between_any_two_steps(at: int, after: bool, tmp_path: Path) -> None:
    """Of the turn that ends, which has the most of them; another process takes over, and the turn is sent again."""
    url = f"sqlite:///{tmp_path}/chats.db"

    def script(request: Request) -> Scripted:
        """The brink; then an ending, in as many messages as it takes; and if it was not taken, an answer."""
        turns = sum(1 for message in request.messages if message["role"] == "user" and not _results(message))
        if turns < 5:
            return brink()[2 * (turns - 1) + bool(request.results)]
        return Answer([text("Let us go on.")]) if request.results else ENDING

    with bench(script, url=url) as b:
        chat = b.to_the_brink()
        undo = crashing(b.chats, at, after=after)
        crashed = False
        try:
            b.say(chat, command_id="last")
        except Crash:
            crashed = True
        undo()
        assert crashed == (at < 6)
        with opened(url) as others:
            chat = others.chat(chat.branch)
            outcome = b.say(chat, command_id="last")
            assert unlawful(log_of(others)) == []
            assert kinds(chat.path).count("ConversationEnded") <= 1
            assert b.api.reports == []
            if isinstance(outcome, Ended):
                assert outcome.text.startswith("I am ending this here.")
            else:
                # The farewell was recorded, and the ending not: the chat goes on.
                assert (at, after) in ((4, True), (5, False))
                assert isinstance(outcome, Reply)
                assert isinstance(b.say(chat, "Go on then."), Reply | Ended)


def _results(message: dict[str, Any]) -> bool:
    return any(block["type"] == "tool_result" for block in message["content"])


KILLED = """
import anthropic, sys
from lastresort.adapters import open_conversations
from lastresort.adapters.claude import Claude
chats = open_conversations(sys.argv[1])
claude = Claude(anthropic.Anthropic(base_url=sys.argv[2], api_key="x", max_retries=0), max_tokens=500)
with claude.stream(chats.chat(sys.argv[3]), "Hello.") as stream:
    for text in stream:
        print(text, flush=True)
"""


def test_a_process_that_is_killed_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    """For real. The next one finds the user's turn, and answers it."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench([hanging(LONG, events=9), "Hello."], url=url) as b:
        chat = b.start()
        command = [sys.executable, "-c", KILLED, url, b.api.url, chat.branch]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        chat.refresh()
        assert kinds(chat.path)[1:] == ["UserTurnTaken"]
        assert b.reply(chat, None).text == "Hello."


# --- Races ------------------------------------------------------------------------------------------------------------


def test_the_user_writes_while_the_model_streams_its_ending(tmp_path: Path) -> None:
    """The user is first: the ending is stale, and recorded as refused. What they wrote is answered."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench([*brink(), ENDING, "Gladly."], url=url) as b, opened(url) as others:
        chat = b.to_the_brink()
        elsewhere = others.chat(chat.branch)
        with anthropic.Anthropic(**b.connection) as client:
            claude = Claude(client, **b.params)
            with claude.stream(chat, ABUSE) as stream:
                first = next(iter(stream))
                elsewhere.user_turn("Wait, I am sorry.")
                rest = "".join(stream)
            outcome = stream.reply
            assert first + rest == "I am ending this here."
            assert isinstance(outcome, Overtaken)
            assert outcome.refusals[-1].rules[0] == "judges-the-latest"
            assert outcome.usage is not None
            assert outcome.usage.output_tokens > 0  # it was paid for
            assert chat.state.ended is None
            assert isinstance(claude.resume(elsewhere), Reply)
        assert unlawful(log_of(others)) == []
    with opened(url) as chats:
        assert kinds(chats.chat(chat.branch).path)[-3:] == ["UserTurnTaken", "AttemptRefused", "AssistantTurnTaken"]


def test_the_user_writes_once_it_has_ended(tmp_path: Path) -> None:
    """The ending is first: what they wrote is handed back, for a branch."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench([*brink(), ENDING, "Gladly."], url=url) as b, opened(url) as others:
        chat = b.to_the_brink()
        elsewhere = others.chat(chat.branch)
        ended(b.say(chat))
        blocks = [{"type": "text", "text": "Wait, I am sorry."}]
        late = ended(b.say(elsewhere, blocks))
        assert late.handed_back == blocks
        assert late.turn is not None
        with anthropic.Anthropic(**b.connection) as client:
            claude = Claude(client, **b.params)
            branch = claude.edit(elsewhere, late.turn, late.handed_back)
            reply = claude.resume(branch)  # type: ignore[arg-type]
        assert isinstance(reply, Reply)
        assert b.api.reports == []


def test_two_processes_answer_the_same_turn(tmp_path: Path) -> None:
    """One answer is recorded, the other not; neither is in the way of what follows."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench(["Hello.", "Hello there.", "Gladly."], url=url) as b, opened(url) as others:
        chat = b.start()
        chat.user_turn("Hi.")
        with anthropic.Anthropic(**b.connection) as client:
            one, two = Claude(client, **b.params), Claude(client, **b.params)
            with one.stream(chat) as first, two.stream(others.chat(chat.branch)) as second:
                begun = next(iter(first)), next(iter(second))
                answers = first.reply, second.reply
        assert all(begun)
        assert [type(answer) for answer in answers] == [Reply, Overtaken]
        assert b.reply(chat, "And now?").text == "Gladly."
        assert [message["content"][0]["text"] for message in b.api.requests[-1]["messages"]] == [
            "Hi.",
            "Hello.",
            "And now?",
        ]
        assert b.api.reports == []


@pytest.mark.parametrize("before", ["AssistantTurnTaken", "ConversationEnded"])
def test_the_user_writes_at_the_last_moment(before: str, tmp_path: Path) -> None:
    """Between what was looked at and what is recorded: the ending is stale all the same."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench([*brink(), ENDING, "Gladly."], url=url) as b, opened(url) as others:
        chat = b.to_the_brink()
        store: Any = b.chats.store
        real = store.append

        def append(*appends: Any) -> Any:
            if appends[0].events[0].event.kind == before:
                store.append = real
                others.chat(chat.branch).user_turn("Wait, I am sorry.")
            return real(*appends)

        store.append = append
        outcome = b.say(chat)
        assert isinstance(outcome, Reply)
        assert outcome.refusals[-1].attempted == "ConversationEnded"
        assert outcome.refusals[-1].rules[0] == "judges-the-latest"
        assert unlawful(log_of(others)) == []
        assert isinstance(b.say(chat, "Go on?"), Reply)


def test_another_answer_at_the_last_moment_stands_instead_of_the_ending(tmp_path: Path) -> None:
    """The one who records first has answered. The ending, though lawful, is not carried out beside it."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench([*brink(), ENDING, "Gladly."], url=url, enforce=False) as b, opened(url) as others:
        chat = b.to_the_brink()
        store: Any = b.chats.store
        real = store.append

        def append(*appends: Any) -> Any:
            if appends[0].events[0].event.kind == "AssistantTurnTaken":
                store.append = real
                others.chat(chat.branch).assistant_turn("Let us go on.")
            return real(*appends)

        store.append = append
        assert isinstance(b.say(chat), Overtaken)
        assert chat.state.ended is None
        assert b.reply(chat, "A garden, please.").text == "Gladly."
