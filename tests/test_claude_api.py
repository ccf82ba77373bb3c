"""What else the API does: containers, compaction, context editing, MCP servers; and what a reply says of all that."""

import json
from typing import Any

import anthropic
import pytest

from lastresort.adapters.claude import Claude, Interrupted
from lastresort.adapters.loopback import (
    Answer,
    Request,
    Scripted,
    compaction,
    fallback,
    loopback,
    redacted_thinking,
    server_tool,
    text,
    tool_use,
)
from lastresort.adapters.turns.replies import Cached, Pending, Reply
from lastresort.domain.events import TurnAssessed

from .claude_kit import AT_RISK, BOTH, EVERY_WAY, REDIRECT, Way, bench, harm, kinds
from .loopback_kit import LOOK_UP, MARKED, MODEL
from .narrow import must_be, present
from .stores import opened

LONG_FROM_NOW, LONG_AGO = "2999-01-01T00:00:00Z", "2001-01-01T00:00:00Z"
RAN = {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_1"}
RESULT: dict[str, Any] = {
    **RAN,
    "content": {"type": "code_execution_result", "content": [], "return_code": 0, "stderr": "", "stdout": "4"},
}
MCP: dict[str, Any] = {
    "betas": ["mcp-client-2025-11-20"],
    "mcp_servers": [{"type": "url", "name": "wiki", "url": "https://example.com"}],
}
COMPACT: dict[str, Any] = {
    "betas": ["compact-2026-01-12"],
    "context_management": {"edits": [{"type": "compact_20260112", "pause_after_compaction": True}]},
}
EDITING: dict[str, Any] = {
    "betas": ["context-management-2025-06-27"],
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
}
CLEARED = {"type": "clear_tool_uses_20250919", "cleared_tool_uses": 3, "cleared_input_tokens": 1_000}


def ran(words: str, container: str = "container_1", expires_at: str = LONG_FROM_NOW) -> Answer:
    return Answer(
        [server_tool("code_execution", {"code": "2 + 2"}, "srvtoolu_1"), RESULT, text(words)],
        container={"id": container, "expires_at": expires_at},
    )


# --- Containers -------------------------------------------------------------------------------------------------------


@EVERY_WAY
def test_code_goes_on_in_its_container(way: Way, tmp_path: Any) -> None:
    """In the next turn, in another process, on a branch. The loopback refuses a request that does not name it."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench([ran("Four."), "Five.", "Six.", "Seven."], way, url=url) as b:
        chat = b.start()
        assert b.reply(chat, "2 + 2?").container == "container_1"
        assert b.reply(chat, "And one?").container == "container_1"
        with opened(url) as others:
            elsewhere = others.chat(chat.branch)
            b.reply(elsewhere, "And one?")
            branch = elsewhere.edit(present(elsewhere.state.unit).turn, "And two?")
            b.reply(branch, None)  # type: ignore[arg-type]
        assert [one.get("container") for one in b.api.requests] == [None, *["container_1"] * 3]
        assert [*b.api.refused, *b.api.reports] == []


@BOTH
def test_code_goes_on_in_its_container_while_tools_are_run(way: Way) -> None:
    called = [*ran("Hm.").content, tool_use("look_up", {"word": "a"})]
    with bench([Answer(called, container=ran("").container), "Well."], way, tools=[LOOK_UP]) as b:
        chat = b.start()
        reply = b.reply(chat, "2 + 2?")
        assert reply.pending is not None
        pending = Pending.model_validate_json(reply.pending.model_dump_json())
        assert b.reply(chat, {call.id: "x" for call in reply.tool_calls}, pending=pending).container == "container_1"
        assert b.api.refused == []


@BOTH
@pytest.mark.parametrize(
    ("passed", "sent"),
    [
        ("mine", "mine"),
        ({"id": "mine", "skills": []}, {"id": "mine", "skills": []}),
        ({"skills": []}, {"skills": [], "id": "container_1"}),
    ],
)
def test_a_container_of_the_embedders(way: Way, passed: Any, sent: Any) -> None:
    with bench([ran("Four.", "mine" if "mine" in str(passed) else "container_1"), "Five."], way, container=passed) as b:
        chat = b.start()
        b.reply(chat, "2 + 2?")
        b.reply(chat, "And one?")
        assert b.api.requests[1]["container"] == sent


@BOTH
def test_a_container_that_has_expired_is_not_asked_for(way: Way) -> None:
    with bench([ran("Four.", expires_at=LONG_AGO), "Five."], way) as b:
        chat = b.start()
        b.reply(chat, "2 + 2?")
        b.reply(chat, "And one?")
        assert "container" not in b.api.requests[1]


# --- Compaction and context editing -----------------------------------------------------------------------------------


@EVERY_WAY
def test_a_pause_after_compaction_is_gone_on_from(way: Way) -> None:
    script: list[Scripted] = [Answer([compaction("They plan a garden.")], "compaction"), "Tulips.", "Roses."]
    with bench(script, way, **COMPACT) as b:
        chat = b.start()
        reply = b.reply(chat, "What shall I plant?")
        assert (reply.text, reply.stop_reason) == ("Tulips.", "end_turn")
        b.reply(chat, "And then?")
        (summary,) = b.api.requests[-1]["messages"][1]["content"]
        assert (summary["type"], summary["content"]) == ("compaction", "They plan a garden.")
        assert [*b.api.refused, *b.api.reports] == []
    assert kinds(chat.path)[1:3] == ["UserTurnTaken", "AssistantTurnTaken"]


@EVERY_WAY
@pytest.mark.parametrize("how", ["betas", "header"])
def test_a_compaction_in_an_answer_is_kept_as_it_is(way: Way, how: str) -> None:
    """However the beta was asked for; streamed too, where only the SDK's beta resource knows its pieces."""
    header = {
        "extra_headers": {"anthropic-beta": "compact-2026-01-12"},
        "extra_body": {"context_management": COMPACT["context_management"]},
    }
    summary = {**compaction("They plan a garden."), "encrypted_content": "0f0f"}
    with bench([Answer([summary, text("Tulips.")]), "Roses."], way, **(COMPACT if how == "betas" else header)) as b:
        chat = b.start()
        b.reply(chat, "What shall I plant?")
        b.reply(chat, "And then?")
        assert b.api.requests[-1]["messages"][1]["content"][0] == summary
        assert b.api.reports == []


@BOTH
def test_an_api_that_does_nothing_but_compact_is_not_asked_for_ever(way: Way) -> None:
    with bench(lambda request: Answer([compaction("...")], "compaction"), way, rounds=2, **COMPACT) as b:
        chat = b.start()
        with pytest.raises(Interrupted):
            b.say(chat, "Hello.")
        assert b.api.calls == 3
    assert kinds(chat.path)[1:] == ["UserTurnTaken"]


@pytest.mark.parametrize("name", ["compaction", "thread"])
def test_what_would_answer_nothing_is_not_the_embedders_to_pass(name: str) -> None:
    params: dict[str, Any] = {"max_tokens": 1, name: {"type": "summarize"}}
    with anthropic.Anthropic(api_key="x") as client, pytest.raises(ValueError, match=name):
        Claude(client, **params)


# --- Tools that run at the server -------------------------------------------------------------------------------------


@EVERY_WAY
def test_a_call_of_an_mcp_server_that_was_cut_off_is_not_sent_again(way: Way) -> None:
    cut = [text("Let me look."), server_tool("search", {"q": "a"}, "mcptoolu_1", server="wiki")]
    with bench([Answer(cut, "max_tokens"), "Well."], way, **MCP) as b:
        chat = b.start()
        assert b.reply(chat, "Look it up.").stop_reason == "max_tokens"
        b.reply(chat, "And?")
        assert [block["type"] for block in b.api.requests[-1]["messages"][1]["content"]] == ["text"]
        assert [*b.api.refused, *b.api.reports] == []


@BOTH
def test_a_call_that_another_model_took_over_from_is_not_sent_again(way: Way) -> None:
    took_over = [server_tool("search", {"q": "a"}, "mcptoolu_1", server="wiki"), redacted_thinking()]
    with bench([Answer([*took_over, fallback(MODEL, "claude-sonnet-5"), text("Well.")]), "Well."], way, **MCP) as b:
        chat = b.start()
        b.reply(chat, "Look it up.")
        b.reply(chat, "And?")
        assert [*b.api.refused, *b.api.reports] == []


# --- Choosing among tools ---------------------------------------------------------------------------------------------


@EVERY_WAY
@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "look_up"}])
def test_a_model_is_made_to_call_once_a_turn(way: Way, choice: dict[str, Any]) -> None:
    choice = {**choice, "disable_parallel_tool_use": True}

    def script(request: Request) -> Scripted:
        forced = request.body["tool_choice"]["type"] in ("any", "tool")
        return Answer([tool_use("look_up", {"word": "a"})]) if forced else "It means garden."

    with bench(script, way, tools=[LOOK_UP], tool_choice=choice) as b:
        chat = b.start()
        for _ in range(2):
            reply = b.reply(chat, "What is a?")
            reply = b.reply(chat, {call.id: "garden" for call in reply.tool_calls}, pending=reply.pending)
            assert reply.text == "It means garden."
        auto = {"type": "auto", "disable_parallel_tool_use": True}
        assert [one["tool_choice"] for one in b.api.requests] == [choice, auto] * 2


@BOTH
def test_other_choices_are_sent_each_time(way: Way) -> None:
    with bench([Answer([harm(), REDIRECT]), "Well."], way, tool_choice={"type": "auto"}) as b:
        b.reply(b.start())
        assert [one["tool_choice"] for one in b.api.requests] == [{"type": "auto"}] * 2


# --- What a reply says ------------------------------------------------------------------------------------------------


@EVERY_WAY
def test_a_reply_says_what_the_api_said_beside_the_words(way: Way) -> None:
    script: list[Scripted] = [Answer([harm(), REDIRECT], applied_edits=[CLEARED]), "A garden?", "Well."]
    with bench(script, way, system=[MARKED], **EDITING) as b:
        chat = b.start()
        first = b.reply(chat)
        second = b.reply(chat, "Hm.")
    assert first.message_id != second.message_id
    assert first.message_id is not None
    assert first.request_id is not None
    assert first.message_id.startswith("msg_")
    assert first.request_id.startswith("req_")
    assert (first.applied_edits, second.applied_edits) == ((CLEARED,), ())
    assert first.usage is not None
    assert 0 < first.cached.read < first.usage.input_tokens
    assert first.cached.written == 0
    assert (first.container, first.refusal_category, first.malformed_calls) == (None, None, ())


@EVERY_WAY
def test_a_proxy_may_say_what_no_beta_was_asked_for(way: Way) -> None:
    with bench([Answer([text("Hello.")], applied_edits=[CLEARED])], way) as b:
        assert b.reply(b.start(), "Hi.").applied_edits == (() if way.streams else (CLEARED,))


@BOTH
def test_a_turn_that_waits_for_tools_counts_what_was_cached(way: Way) -> None:
    with bench([Answer([tool_use("look_up", {"word": "a"})]), "Well."], way, tools=[LOOK_UP], system=[MARKED]) as b:
        chat = b.start()
        waiting = b.reply(chat, "Look it up.")
        reply = b.reply(chat, {call.id: "x" for call in waiting.tool_calls}, pending=waiting.pending)
    assert waiting.cached == Cached()
    assert reply.cached.read > 0


@EVERY_WAY
def test_a_reply_says_why_the_model_refused(way: Way) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "..."}
    with bench([Answer([], "refusal", stop_details=details), "Gladly."], way) as b:
        chat = b.start()
        assert b.reply(chat, "How?").refusal_category == "cyber"
        assert b.reply(chat, "Hello.").refusal_category is None


@EVERY_WAY
def test_a_reply_shows_a_malformed_call(way: Way) -> None:
    with bench([Answer([tool_use("lastresort_harm", {"category": "abuse"})]), "Well."], way) as b:
        (call,) = b.reply(b.start()).malformed_calls
    assert (call.name, call.input) == ("lastresort_harm", {"category": "abuse"})
    assert "severity" in call.reason


@BOTH
def test_a_reply_says_that_the_assessor_failed(way: Way) -> None:
    def fails(case: object) -> None:
        raise LookupError("no such model")

    with bench(["Shall I?", "Not now."], way, assessor=fails) as b:
        chat = b.start()
        b.say(chat, "End this.", asks_to_end=True)
        assert isinstance(b.reply(chat, "Yes.", confirms_end=True).assessor_error, LookupError)


# --- Words ------------------------------------------------------------------------------------------------------------


@EVERY_WAY
def test_words_that_cannot_be_encoded_are_mended(way: Way) -> None:
    """A model, or a proxy, may send half a character. What is recorded can be sent again."""
    half = [text("\ud83d\ude00 fine"), tool_use("look_up", {"word": ["a\ud83d", 1]})]
    with bench([Answer(half), "Well.", "Well."], way, tools=[LOOK_UP]) as b:
        b.way = Way(False, way.awaits)  # what was shown has the half of it
        chat = b.start()
        reply = b.reply(chat, "Hello.")
        b.reply(chat, {call.id: "x" for call in reply.tool_calls}, pending=reply.pending)
        b.reply(chat, "And?")
        sent = b.api.requests[-1]["messages"][1]["content"]
    assert sent[0]["text"] == "\N{GRINNING FACE} fine"
    assert sent[1]["input"] == {"word": ["a\N{REPLACEMENT CHARACTER}", 1]}


@EVERY_WAY
@pytest.mark.parametrize("word", ["my neighbour Ann", "kill-ann-tomorrow", "x" * 500, "spam"])
def test_no_word_of_the_models_enters_the_log_as_a_category(way: Way, word: str) -> None:
    """The tool has a list of categories; anything else is `other`."""
    with bench([Answer([harm(word), AT_RISK]), "Well."], way) as b:
        chat = b.start()
        b.reply(chat)
        log = "".join(recorded.event.model_dump_json() for recorded in chat.path)
    assessed = next(recorded.event for recorded in chat.path if recorded.kind == "TurnAssessed")
    assert must_be(TurnAssessed, assessed).category == "other"
    assert json.dumps(word)[1:-1] not in log


def test_the_betas_of_a_client_are_betas_too() -> None:
    headers = {"anthropic-beta": "compact-2026-01-12"}
    with (
        loopback([Answer([compaction("A garden."), text("Tulips.")])]) as api,
        opened("memory:") as chats,
        anthropic.Anthropic(base_url=api.url, api_key="x", default_headers=headers) as client,
    ):
        with Claude(client, max_tokens=500).stream(chats.start(model=MODEL), "Hello.") as stream:
            assert "".join(stream) == "Tulips."
        kept = must_be(Reply, stream.reply).messages
    assert kept[0]["content"][0]["content"] == "A garden."
