"""Turns that are recorded as content blocks, without asking a model: what was said elsewhere, as it was."""

from collections.abc import Callable
from typing import Any

import pytest

from lastresort import BranchEnded, Chat, Receipt, Risk, open_conversations
from lastresort.adapters.loopback import tool_use
from lastresort.domain.turn_text import foreign_id_in
from lastresort.domain.values import Messages

from .claude_kit import bench
from .loopback_kit import LOOK_UP, MODEL
from .narrow import must_be
from .stores import ended, started

PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
CALL = tool_use("look_up", {"word": "hello"}, id="toolu_foreign")
RESULT = {"type": "tool_result", "tool_use_id": "toolu_foreign", "content": "A greeting."}
LOOKED_UP: list[dict[str, Any]] = [
    {"role": "assistant", "content": [{"type": "text", "text": "Let me look."}, CALL]},
    {"role": "user", "content": [RESULT]},
    {"role": "assistant", "content": [{"type": "text", "text": "It is a greeting."}]},
]


def said(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]


def test_what_was_recorded_is_shown_and_sent_as_it_was() -> None:
    """The ids of others are kept, and are no part of a request."""
    with bench(["Gladly."], tools=[LOOK_UP], enforce=False) as b:  # which knows what it has answered itself alone
        chat = b.start()
        chat.user_turn([PICTURE, *said("What does hello mean?")], foreign_id="msg-1")
        chat.assistant_turn(LOOKED_UP, foreign_id="msg-2", stop_reason="end_turn")
        chat.user_turn("Thank you.", foreign_id="msg-3")
        chat.assistant_turn("You are welcome.", foreign_id="msg-4")
        b.reply(chat, "One more?")
        sent = b.api.requests[0]["messages"]
        turns = chat.transcript().turns
    assert [turn.foreign_id for turn in turns] == ["msg-1", "msg-2", "msg-3", "msg-4", None, None]
    assert [turn.text for turn in turns[:3]] == [
        "[image]What does hello mean?", "Let me look.\n\nIt is a greeting.", "Thank you.",
    ]  # fmt: skip
    assert turns[0].blocks[0] == PICTURE
    assert sent[0]["content"] == [PICTURE, *said("What does hello mean?")]
    assert [message["content"] for message in sent[1:4]] == [message["content"] for message in LOOKED_UP]
    assert not any("id" in message for message in sent)


def test_the_same_blocks_sent_again_are_said_once() -> None:
    chat = open_conversations("memory:").start(model=MODEL)
    outcomes = [chat.user_turn(said("Hello."), foreign_id="m-1", command_id="u") for _ in range(2)]
    assert all(isinstance(one, Receipt) and one.version == 2 for one in outcomes)
    answers = [must_be(Receipt, chat.assistant_turn(said("Hi."), command_id="a")) for _ in range(2)]
    assert [answer.version for answer in answers] == [3, 3]


def test_after_an_ending_the_screen_sees_what_was_said() -> None:
    seen: list[str] = []

    def screen(words: str) -> Risk:
        seen.append(words)
        return Risk.NONE

    chat = ended(started(open_conversations("memory:", screen=screen)))
    assert isinstance(chat.user_turn(said("Was that all?")), BranchEnded)
    assert seen == ["Was that all?"]


def test_an_id_that_is_no_text_is_none() -> None:
    assert foreign_id_in(Messages('{"messages":[],"id":7}')) is None


@pytest.mark.parametrize(
    ("argument", "act"),
    [
        ("words", lambda chat: chat.user_turn([])),
        ("words", lambda chat: chat.user_turn({"type": "text", "text": "zebra"})),
        ("words", lambda chat: chat.user_turn(["zebra"])),
        ("words", lambda chat: chat.user_turn([{"text": "zebra"}])),
        ("words", lambda chat: chat.user_turn([{"type": "text"}])),
        ("words", lambda chat: chat.user_turn([RESULT])),
        ("words", lambda chat: chat.user_turn([{"type": "image", "source": b"zebra"}])),
        ("words", lambda chat: chat.user_turn(said("zebra \ud800"))),
        ("foreign_id", lambda chat: chat.user_turn("zebra", foreign_id="two words")),
        ("foreign_id", lambda chat: chat.user_turn(Messages('{"messages":[]}'), foreign_id="m-1")),
        ("words", lambda chat: chat.assistant_turn(None)),
        ("words", lambda chat: chat.assistant_turn(b"zebra")),
        ("words", lambda chat: chat.assistant_turn([CALL])),
        ("words", lambda chat: chat.assistant_turn(LOOKED_UP[1:])),
        ("words", lambda chat: chat.assistant_turn([{"role": "assistant", "content": "zebra"}])),
        ("words", lambda chat: chat.assistant_turn([{"role": "user", "content": said("zebra")}])),
        ("words", lambda chat: chat.assistant_turn([*LOOKED_UP, {"role": "system", "content": said("zebra")}])),
    ],
)
def test_what_cannot_be_a_turn_is_refused_under_its_name(argument: str, act: Callable[[Chat], object]) -> None:
    chat = open_conversations("memory:").start(model=MODEL)
    chat.user_turn("Hello.")
    with pytest.raises(ValueError, match=f"^{argument}: ") as raised:
        act(chat)
    assert "zebra" not in str(raised.value)
    assert chat.state.version == 2
