"""White space of an answer: people read it as it came, the record has it, and only a request leaves it out."""

import json
from pathlib import Path
from typing import Any

import pytest

from lastresort.adapters.loopback import Answer, Scripted, text, thinking, tool_use
from lastresort.domain.values import Messages

from .claude_kit import AT_RISK, EVERY_WAY, TWO_WAYS, Way, bench, harm
from .loopback_kit import LOOK_UP, MODEL
from .stores import opened
from .test_claude_words import CITATION, lines

BOTH = pytest.mark.parametrize("way", TWO_WAYS)
CITED = [
    text("Tulips."),
    text("\n\n"),
    text("Roses are red.", citations=[CITATION]),
    text(" "),
    text("Violets are blue."),
]
READ = "Tulips.\n\nRoses are red. Violets are blue."
BLANK = [
    pytest.param(Answer([text("  ")]), id="alone"),
    pytest.param(Answer([thinking("Hm."), text("\n")]), id="thought"),
]


@EVERY_WAY
def test_blank_text_is_read_as_it_came_here_and_in_other_processes(way: Way, tmp_path: Path) -> None:
    """What is streamed is checked against the reply by the bench."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench([Answer(CITED), "Good."], way, url=url) as b:
        chat = b.start()
        assert b.reply(chat, "Recite.", command_id="once").text == READ
        with opened(url) as others:
            elsewhere = others.chat(chat.branch)
            assert lines(elsewhere) == ["Recite.", READ]
            assert b.reply(elsewhere, "Recite.", command_id="once").text == READ
            b.reply(elsewhere, "Go on.")
        sent = b.api.requests[-1]["messages"]
        assert b.api.reports == []
    assert sent[1]["content"] == [block for block in CITED if block["text"].strip()]


@EVERY_WAY
@pytest.mark.parametrize("blank", BLANK)
def test_an_answer_of_white_space_alone_is_read_as_it_came_and_not_sent(way: Way, blank: Answer) -> None:
    params: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4000}
    with bench(["Hello.", blank, "Well."], way, **params) as b:
        chat = b.start()
        b.reply(chat, "Hi.")
        reply = b.reply(chat, "Say nothing.")
        assert reply.text == blank.content[-1]["text"] == lines(chat)[-1]
        assert b.reply(chat, "Thanks.").text == "Well."
        sent = b.api.requests[-1]["messages"]
        assert b.api.reports == []
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert [block["text"] for block in sent[-1]["content"]] == ["Say nothing.", "Thanks."]


@EVERY_WAY
def test_blank_text_between_the_messages_of_a_turn(way: Way) -> None:
    calls = [text("\n"), tool_use("look_up", {"word": "a"})]
    with bench(
        [Answer([text(" "), harm()]), Answer(calls), Answer([text(" A."), text("\n")])], way, tools=[LOOK_UP]
    ) as b:
        chat = b.start()
        waits = b.reply(chat)
        assert (waits.text, waits.pending is not None) == (" \n\n\n", True)
        with_result = {waits.tool_calls[0].id: "A letter."}
        assert b.reply(chat, with_result, pending=waits.pending).text == " \n\n\n\n\n A.\n"
        assert lines(chat)[-1] == " \n\n\n\n\n A.\n"
        assert b.api.reports == []


@BOTH
def test_white_space_redirects_nobody_and_is_no_first_word(way: Way) -> None:
    """As an answer without any: cut off after it, the turn waits for its answer."""
    with bench([Answer([text(" ")], "max_tokens"), "Hello."], way) as b:
        chat = b.start()
        reply = b.reply(chat, "Hi.")
        assert (reply.text, reply.version) == (" ", None)
        assert b.reply(chat, None).text == "Hello."


@BOTH
def test_a_note_that_only_white_space_answered_does_not_stand_in_the_way(way: Way) -> None:
    """A note of the system must be followed by an answer; also one that came in the middle of a turn."""
    script: list[Scripted] = [Answer([AT_RISK]), Answer([text(" ")]), Answer([text(" ")]), "Yes."]
    with bench(script, way, notes_as="system") as b:
        chat = b.start()
        for said in ("I cannot go on.", "Hm.", "Are you there?"):
            b.reply(chat, said)
        assert b.api.reports == []
        assert [message["role"] for message in b.api.requests[-1]["messages"]][-2:] == ["user", "system"]


def test_what_was_recorded_without_its_white_space_is_still_read() -> None:
    """As releases before this one kept it."""
    kept = {"messages": [{"role": "assistant", "content": [text("Tulips."), text("Roses.")]}], "answers": 2}
    with bench(["Good."], enforce=False) as b:
        chat = b.start(model=MODEL)
        chat.user_turn("Recite.")
        chat.assistant_turn(Messages(json.dumps(kept)), stop_reason="end_turn")
        assert lines(chat)[-1] == "Tulips.Roses."
        assert b.reply(chat, "And?").text == "Good."
        assert b.api.requests[-1]["messages"][1] == kept["messages"][0]  # type: ignore[index]


@EVERY_WAY
def test_the_streams_of_a_turn_go_on_with_each_other(way: Way) -> None:
    """Also if nothing comes after the tools, or nothing came before them: together they are what the reply says."""
    call = tool_use("look_up", {"word": "a"})
    script: list[Scripted] = [
        Answer([text("Let me look."), call]),
        "It says.",
        Answer([text("Hm."), call]),
        Answer([]),
        Answer([call]),
        "So.",
    ]
    with bench(script, way, tools=[LOOK_UP]) as b:
        chat = b.start()
        for read in ("Let me look.\n\nIt says.", "Hm.", "So."):
            waits = b.reply(chat, "What is it?")
            reply = b.reply(chat, {waits.tool_calls[0].id: "A letter."}, pending=waits.pending)
            assert reply.text == lines(chat)[-1] == read
            assert b.shown == (read if way.streams else "")
