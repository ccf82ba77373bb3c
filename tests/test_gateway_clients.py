"""Items 1 and 12 with other clients, each set up with a base URL and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest
from anthropic.types import Message

from lastresort.adapters.loopback import Answer, Request, Scripted, loopback, text, tool_use

from .claude_kit import ENDING, redirecting, warning
from .gateway_kit import Talk, chats_of, client, user
from .web_kit import MODEL, Service, assessed, service

STORY = [*redirecting(), *redirecting(), *redirecting(), *warning(), ENDING]


def answers(request: Request) -> Scripted:
    if request.results:
        return f"It says: {request.results[0]['content']}."
    if "look up" in request.last_text:
        return Answer([text("Let me see."), tool_use("look_up", {"word": "last"})])
    return f"You said {request.last_text}."


def langchain(one: Service) -> Any:
    from langchain_anthropic import ChatAnthropic

    options: dict[str, Any] = {"model": MODEL, "base_url": one.url, "api_key": "sk-client", "max_retries": 0}
    return ChatAnthropic(**options)


def test_item_1_langchain() -> None:
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool
    def look_up(word: str) -> str:
        """Look a word up."""
        return f"{word}: an expedient"

    with service(answers) as one:
        chat = langchain(one).bind_tools([look_up])
        history: list[Any] = []
        for n in range(10):
            history.append(HumanMessage(f"look up {n}" if n % 3 == 1 else f"word {n}"))
            came: AIMessage = chat.invoke(history)
            history.append(came)
            while came.tool_calls:
                calls = came.tool_calls
                history += [ToolMessage(look_up.invoke(call["args"]), tool_call_id=call["id"]) for call in calls]
                came = chat.invoke(history)
                history.append(came)
            expected = "It says: last: an expedient." if n % 3 == 1 else f"You said word {n}."
            assert came.text == expected
        [row] = chats_of(one).list().rows
        assert row.branches == 1
        assert one.api is not None
        assert one.api.reports == []


def test_item_12_langchain_shows_an_ending() -> None:
    from langchain_core.messages import HumanMessage

    with service(assessed(STORY)) as one:
        chat, history = langchain(one), []
        for n in range(5):
            history.append(HumanMessage(f"You are useless, {n}."))
            history.append(chat.invoke(history))
        assert "This conversation has ended" in str(history[-1].text)
        assert one.api is not None
        calls = one.api.calls
        history.append(HumanMessage("Hello?"))
        assert "This conversation has ended" in str(chat.invoke(history).text)
        assert one.api.calls == calls


@asynccontextmanager
async def pydantic_agent(url: str) -> AsyncIterator[Any]:
    """An agent whose connections are closed in the loop that opened them."""
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-client", max_retries=0) as sdk:
        yield Agent(AnthropicModel(MODEL, provider=AnthropicProvider(anthropic_client=sdk)))


def ten_turns_by_pydantic_ai(url: str) -> list[str]:
    async def talk() -> list[str]:
        history, said = None, []
        async with pydantic_agent(url) as agent:

            @agent.tool_plain  # type: ignore[untyped-decorator]
            def look_up(word: str) -> str:
                return f"{word}: an expedient"

            for n in range(10):
                words = f"look up {n}" if n % 3 == 1 else f"word {n}"
                result = await agent.run(words, message_history=history)
                history = result.all_messages()
                said.append(result.output)
        return said

    return asyncio.run(talk())


def test_item_1_pydantic_ai() -> None:
    with loopback(answers) as api:
        direct = ten_turns_by_pydantic_ai(api.url)
    with service(answers) as one:
        assert ten_turns_by_pydantic_ai(one.url) == direct
        [row] = chats_of(one).list().rows
        assert row.branches == 1


def test_item_12_pydantic_ai_shows_an_ending() -> None:
    with service(assessed(STORY)) as one:

        async def talk() -> list[str]:
            history, said = None, []
            async with pydantic_agent(one.url) as agent:
                for n in range(6):
                    result = await agent.run(f"You are useless, {n}.", message_history=history)
                    history = result.all_messages()
                    said.append(result.output)
            return said

        said = asyncio.run(talk())
        assert "This conversation has ended" in said[-1]
        assert "This conversation has ended" in said[-2]


def test_item_12_the_extra_key_can_be_read_and_nobody_asks_another_model() -> None:
    with service(assessed(STORY)) as one:
        talk = Talk(one)
        for n in range(4):
            talk.say(f"You are useless, {n}.")
        talk.messages.append(user("You are useless, 4."))
        answer: Message = talk.ask()
        told: Any = answer.to_dict()
        assert told["lastresort"]["ended"]["ground"] == "last_resort"
        assert told["stop_reason"] == "end_turn"


def test_item_12_an_ending_as_an_error_for_who_wants_it() -> None:
    with service(assessed(STORY)) as one:
        key = one.key("gateway", ended_as="error")
        talk = Talk(one, headers={"lastresort-key": key})
        for n in range(4):
            talk.say(f"You are useless, {n}.")
        talk.messages.append(user("You are useless, 4."))
        with pytest.raises(anthropic.BadRequestError) as raised:
            talk.ask()
        error: Any = raised.value.body
        assert error["error"]["details"]["error_code"] == "conversation_ended"
        assert raised.value.response.headers["x-should-retry"] == "false"


def test_item_12_the_thread_helper_is_told_to_send_whole_histories() -> None:
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": 9, "messages": [user("Hi.")]}
    asked["extra_body"] = {"thread": {"previous_message_id": "msg_1"}}
    with service(answers) as one:
        ours = client(one)
        with pytest.raises(anthropic.BadRequestError) as raised:
            ours.messages.create(**asked)
    error: Any = raised.value.body
    assert error["error"]["details"] == {"error_code": "thread_unsupported_request", "unsupported": []}
