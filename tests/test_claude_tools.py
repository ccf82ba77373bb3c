"""The embedder's tools beside ours: whose calls are run, when a turn waits for results, and when it does not."""

import json

import anthropic
import pytest

from lastresort.adapters.claude import Overtaken
from lastresort.adapters.loopback import Answer, Request, text, thinking, tool_use

from .claude_kit import BOTH, END, EVERY_WAY, HOPELESS, REDIRECT, Way, bench, brink, ended, harm, kinds
from .loopback_kit import LOOK_UP
from .stores import ROOT


@EVERY_WAY
def test_the_embedders_tools_and_ours_in_one_message(way: Way) -> None:
    """Ours are carried out at once; theirs wait for their results, and the turn goes on from there."""
    mixed = Answer(
        [thinking("Hm."), harm(), tool_use("look_up", {"word": "a"}), REDIRECT, tool_use("look_up", {"word": "b"})]
    )
    with bench([mixed, "It means garden."], way, tools=[LOOK_UP]) as b:
        chat = b.start()
        waiting = b.reply(chat)
        assert [(call.name, call.input) for call in waiting.tool_calls] == [("look_up", {"word": w}) for w in "ab"]
        assert (waiting.stop_reason, waiting.version) == ("tool_use", None)
        assert waiting.pending is not None
        pending = type(waiting.pending).model_validate_json(waiting.pending.model_dump_json())
        results = {call.id: "a garden" for call in waiting.tool_calls}
        reply = b.reply(chat, results, pending=pending)
        assert b.api.reports == []
    assert reply.text == "It means garden."
    assert kinds(chat.path)[1:] == ["UserTurnTaken", "TurnAssessed", "AssistantTurnTaken", "RedirectionAttempted"]


@BOTH
def test_results_are_for_the_calls_that_were_made(way: Way) -> None:
    with bench([Answer([tool_use("look_up", {"word": "a"})])], way, tools=[LOOK_UP]) as b:
        chat = b.start()
        waiting = b.reply(chat)
        with pytest.raises(ValueError, match="each once"):
            b.say(chat, {"toolu_other": "x"}, pending=waiting.pending)


@BOTH
def test_a_user_who_writes_instead_of_waiting_for_tools_is_answered(way: Way) -> None:
    with bench([Answer([tool_use("look_up", {"word": "a"})]), "Never mind then."], way, tools=[LOOK_UP]) as b:
        chat = b.start()
        waiting = b.reply(chat, "Look up a.")
        assert waiting.pending is not None
        reply = b.reply(chat, "Never mind.")
        late = b.say(chat, {call.id: "a" for call in waiting.tool_calls}, pending=waiting.pending)
    assert reply.text == "Never mind then."
    assert isinstance(late, Overtaken)


@EVERY_WAY
def test_no_call_of_a_tool_is_run_in_a_message_that_ends(way: Way) -> None:
    last = Answer([harm(), HOPELESS, tool_use("look_up", {"word": "a"}), text("Goodbye."), END])
    with bench([*brink(), last], way, tools=[LOOK_UP]) as b:
        chat = b.to_the_brink()
        assert ended(b.say(chat)).text == "Goodbye."


@BOTH
def test_a_model_that_only_calls_has_to_answer_at_last(way: Way) -> None:
    """After so many rounds it is asked without its tools, which stay declared."""

    def script(request: Request) -> Answer:
        choice = request.body.get("tool_choice") or {}
        return Answer([text("Very well.")]) if choice.get("type") == "none" else Answer([END])

    with bench(script, way, rounds=3) as b:
        chat = b.start()
        assert b.reply(chat).text == "Very well."
        assert b.api.calls == 4
        assert len({str(one["tools"]) for one in b.api.requests}) == 1


def test_what_the_tools_cost_is_what_the_page_says() -> None:
    """In bytes, and in tokens as the loopback counts them, with the prompt that the API adds for tools: under 1,200."""
    with bench(["Hello."]) as b, anthropic.Anthropic(**b.connection) as client:
        b.reply(b.start(), "Hi.")
        asked = b.api.requests[0]
        size = len(json.dumps(asked["tools"], ensure_ascii=False, separators=(",", ":")).encode())
        said = {"model": asked["model"], "messages": asked["messages"]}
        without = client.messages.count_tokens(**said).input_tokens
        added = client.messages.count_tokens(**said, tools=asked["tools"]).input_tokens - without
    page = (ROOT / "docs" / "reference" / "claude.md").read_text(encoding="utf-8")
    assert f"{size:,} bytes" in page
    assert f"some {round(added, -1)} tokens" in page
    assert size / 3.5 + 346 < 1_200
