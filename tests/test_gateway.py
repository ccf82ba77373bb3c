"""The gateway with the real SDK, by base_url alone, before a loopback of the API."""

from typing import Any

import anthropic
import pytest

from .claude_kit import ENDING, redirecting, warning
from .gateway_kit import client, user
from .web_kit import MODEL, assessed, service


def test_a_conversation_by_base_url_alone() -> None:
    with service(lambda request: f"You said {request.last_text}.") as one:
        ours, asked = client(one), {"model": MODEL, "max_tokens": 100}
        messages: list[Any] = []
        matched = []
        for n in range(4):
            messages.append(user(f"word {n}"))
            raw = ours.messages.with_raw_response.create(**asked, messages=messages)
            answer = raw.parse()
            matched.append(raw.headers["lastresort-matched"])
            assert answer.content[0].text == f"You said word {n}."
            messages.append(answer.to_param())
        assert matched == ["new", "head", "head", "head"]
        assert one.api is not None
        assert one.api.calls == 4
        assert one.api.reports == []
        chats = one.house.tenants["default"].conversations
        assert len(chats.list().rows) == 1
        chat = chats.chat(raw.headers["lastresort-branch"])
        assert [turn.text for turn in chat.transcript().turns][:2] == ["word 0", "You said word 0."]


def test_a_stream_comes_as_it_is() -> None:
    with service(lambda request: "Gladly. What would you like to know about gardens?") as one:
        ours, asked = client(one), {"model": MODEL, "max_tokens": 100}
        with ours.messages.stream(**asked, messages=[user("Hello.")]) as stream:
            said = "".join(stream.text_stream)
            first = stream.get_final_message()
        assert said == "Gladly. What would you like to know about gardens?"
        with ours.messages.stream(**asked, messages=[user("Hello."), first.to_param(), user("More.")]) as stream:
            stream.get_final_message()
            assert stream.response.headers["lastresort-matched"] == "head"


STORY = [*redirecting(), *redirecting(), *redirecting(), *warning(), ENDING]


@pytest.mark.parametrize("streams", [False, True])
def test_a_conversation_is_lost_lawfully(streams: bool) -> None:
    with service(assessed(STORY)) as one:
        ours, asked = client(one), {"model": MODEL, "max_tokens": 100}
        messages: list[Any] = []
        for n in range(5):
            messages.append(user(f"You are useless, {n}."))
            if streams:
                with ours.messages.stream(**asked, messages=messages) as stream:
                    answer = stream.get_final_message()
            else:
                answer = ours.messages.create(**asked, messages=messages)
            assert not [block for block in answer.content if block.type == "tool_use"]
            messages.append(answer.to_param())
        assert answer.stop_reason == "end_turn"
        said = "".join(block.text for block in answer.content if block.type == "text")
        assert said.startswith("I am ending this here.")
        assert "This conversation has ended" in said
        assert "Never to be seen" not in said
        assert one.api is not None
        calls = one.api.calls
        messages.append(user("Hello?"))
        again = ours.messages.with_raw_response.create(**asked, messages=messages)
        assert again.headers["lastresort-matched"] == "ended"
        assert again.parse().content[0].text.startswith("This conversation has ended")
        assert one.api.calls == calls
        assert one.api.reports == []


def test_an_upstream_that_is_not_there_is_told_with_what_to_look_at() -> None:
    with service() as one, pytest.raises(anthropic.APIStatusError, match="base_url under") as raised:
        client(one).messages.create(model=MODEL, max_tokens=100, messages=[user("Hello.")])
    assert raised.value.status_code == 502
