"""LiteLLM's proxy under the law: its hooks are called as the proxy does, around its own mock of a model."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("litellm", reason="litellm is not installed: pip install -e '.[litellm]'")

import litellm
from litellm import ModelResponse
from litellm.exceptions import ModifyResponseException
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

from lastresort import Chat
from lastresort.adapters.litellm import LastResort
from lastresort.adapters.litellm.guardrail import _STREAM_HOOK, OTHER_DOORS, asked_on
from lastresort.adapters.testing.hosts import (
    ABUSE,
    HARMFUL,
    MODEL,
    Message,
    Model,
    agrees,
    at_the_brink,
    conversations,
    kinds,
    new_id,
)
from lastresort.adapters.turns.assessor import Assessor
from lastresort.adapters.turns.replies import Ended
from lastresort.domain.events import AssistantTurnTaken

from .hosts_kit import every_check
from .narrow import must_be

pytestmark = [
    pytest.mark.xdist_group("litellm"),  # it takes seconds to import, so one process does
    pytest.mark.filterwarnings("ignore:Item:UserWarning"),  # pydantic's, of types of theirs
]


@pytest.fixture(autouse=True)
def without_their_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their one worker that logs is of one event loop, and here each call has its own."""
    monkeypatch.setattr(
        GLOBAL_LOGGING_WORKER, "ensure_initialized_and_enqueue", lambda async_coroutine: async_coroutine.close()
    )


def completing(model: Model, names: list[str]) -> Callable[..., Any]:
    """Return LiteLLM's own completion, whose mock says what the kit's model says. `names` gets who that was."""

    async def complete(**data: Any) -> Any:
        said: Message = model(json.dumps(data["messages"][-6:]))
        names.append(said.model)
        calls = [
            {"id": new_id("call"), "type": "function", "function": {"name": name, "arguments": json.dumps(input)}}
            for name, input in said.calls
        ]
        message = {"role": "assistant", "content": said.text, "tool_calls": calls or None}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        mock = ModelResponse(id=new_id("message"), model=said.model, choices=[choice], usage=usage)
        options = {name: data[name] for name in ("messages", "tools", "stream") if name in data}
        return await litellm.acompletion(model=f"anthropic/{MODEL}", mock_response=mock, **options)

    return complete


class Proxy:
    """Does with a request what LiteLLM's proxy does."""

    streams = False

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        names: list[str] = []
        complete = completing(model, names)
        who: Callable[[Any], str | None] = lambda response: names[-1] if self.streams else None  # noqa: E731
        law = LastResort(chat.conversations.chat, assessor, complete=complete, answered_by=who)
        data = {"model": MODEL, "messages": [{"role": "user", "content": words}], "litellm_session_id": chat.branch}
        return asyncio.run(self.answered(law, complete, data))

    async def answered(self, law: LastResort, complete: Any, data: dict[str, Any]) -> str:
        try:
            data = await law.async_pre_call_hook(None, None, data, "acompletion")
        except ModifyResponseException as instead:
            return str(instead.message)
        response = await complete(**data, stream=self.streams)
        if not self.streams:
            response = await law.async_post_call_success_hook(data, None, response)
            return str(response.choices[0].message.content)
        pieces = law.async_post_call_streaming_iterator_hook(None, response, data)
        return "".join([piece.choices[0].delta.content or "" async for piece in pieces])


class Streaming(Proxy):
    """The same, streamed."""

    streams = True


@every_check(Proxy, Streaming)
def test_a_host(check: Callable[[Any], None], host: type[Proxy]) -> None:
    check(host)


def asked(chat: Chat, *messages: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [*messages], "metadata": {"session_id": chat.branch, **metadata}}


USER: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": ABUSE}, {"type": "image_url"}]}


def test_tools_of_the_client_are_the_clients() -> None:
    """They go back to it, and the turn goes on with their results. What is ours it never sees."""
    calls: tuple[Any, ...] = (HARMFUL, ("look_up", {"word": "garden"}), ("broken", {}))
    with conversations() as chats:
        chat, names = at_the_brink(chats), list[str]()
        complete = completing(Model([Message("Let me see.", calls), "A garden."]), names)
        law = LastResort(chats.chat, agrees, complete=complete)
        theirs = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}

        async def two_requests() -> tuple[Any, Any]:
            first = await law.async_pre_call_hook(None, None, asked(chat, USER) | {"tools": [theirs]}, "acompletion")
            assert first["tools"][-1] == theirs
            one = await law.async_post_call_success_hook(first, None, await complete(**first))
            result = {"role": "tool", "tool_call_id": "1", "content": "a yard"}
            second = await law.async_pre_call_hook(None, None, asked(chat, USER, result), "acompletion")
            return one, await law.async_post_call_success_hook(second, None, await complete(**second))

        one, other = asyncio.run(two_requests())
        assert [call.function.name for call in one.choices[0].message.tool_calls] == ["look_up", "broken"]
        assert other.choices[0].message.content == "A garden."
        assert list(chats.words(chat.path).values())[-2:] == [ABUSE, "A garden."]


def test_the_users_wish_is_told_and_granted() -> None:
    outcomes: list[Any] = []
    with conversations() as chats:
        chat, model = at_the_brink(chats), Model(["It is for good. Shall I?"])
        complete = completing(model, [])
        law = LastResort(chats.chat, agrees, complete=complete, on_outcome=lambda chat, one: outcomes.append(one))

        def say(words: str, **pressed: Any) -> str:
            said = {"role": "user", "content": words}
            return asyncio.run(Proxy().answered(law, complete, asked(chat, said, **pressed)))

        assert say("Please end this.", asks_to_end=True, sent_as="1") == "It is for good. Shall I?"
        assert "asked, by the application's own control" in model.told[0]
        assert say("Yes.", confirms_end=True).startswith("This conversation has ended")
        assert (model.asked, type(outcomes[-1])) == (1, Ended)


def test_what_is_not_a_completion_passes_and_what_has_no_session_does_not() -> None:
    with conversations() as chats:
        law, other = LastResort(chats.chat), {"model": MODEL, "input": "words"}

        async def hooks() -> None:
            assert await law.async_pre_call_hook(None, None, other, "aembedding") is other
            assert await law.async_post_call_success_hook(other, None, "response") == "response"

            async def pieces() -> Any:
                yield "piece"

            assert [one async for one in law.async_post_call_streaming_iterator_hook(None, pieces(), other)] == [
                "piece"
            ]
            with pytest.raises(ValueError, match="litellm_session_id"):
                await law.async_pre_call_hook(None, None, {"model": MODEL, "messages": [USER]}, "acompletion")
            for door in OTHER_DOORS:
                with pytest.raises(ValueError, match="use /v1/chat/completions"):
                    await law.async_pre_call_hook(None, None, other, door)

        asyncio.run(hooks())


def test_a_turn_whose_model_failed_waits_and_is_answered_when_it_is_sent_again() -> None:
    with conversations() as chats:
        chat = chats.start(model=MODEL)
        complete = completing(Model(["Hello."]), [])
        law = LastResort(chats.chat, complete=complete)

        async def fails() -> None:
            data = await law.async_pre_call_hook(None, None, asked(chat, USER, sent_as="1"), "acompletion")
            await law.async_post_call_failure_hook(data, RuntimeError("down"), None)

        asyncio.run(fails())
        assert law._under_way == {}
        assert asyncio.run(Proxy().answered(law, complete, asked(chat, USER, sent_as="1"))) == "Hello."
        assert kinds(chat)[1:] == ["UserTurnTaken", "AssistantTurnTaken"]


def test_a_class_that_is_made_of_it_has_the_hook_of_streams_of_its_own() -> None:
    """The proxy looks for that one in the class itself. It would show a stream as it comes."""

    class Law(LastResort):
        pass

    class Other(LastResort):
        async def async_post_call_streaming_iterator_hook(self, *given: Any) -> Any:
            yield given

    assert vars(Law)[_STREAM_HOOK] is vars(LastResort)[_STREAM_HOOK]
    assert vars(Other)[_STREAM_HOOK] is not vars(LastResort)[_STREAM_HOOK]


def test_who_answered_in_a_stream_is_what_litellm_says_beside_its_pieces() -> None:
    """Each piece of it names the model that was asked."""

    async def pieces() -> AsyncIterator[Any]:
        for _ in range(2):
            piece = litellm.ModelResponseStream(model=MODEL, choices=[{"index": 0, "delta": {"content": "Hm."}}])
            piece._hidden_params = {"provider_response_model": "small-model-1"}
            yield piece

    async def streamed(law: LastResort, chat: Chat) -> None:
        data = await law.async_pre_call_hook(None, None, asked(chat, USER), "acompletion")
        assert [one async for one in law.async_post_call_streaming_iterator_hook(None, pieces(), data)]

    with conversations() as chats:
        chat = chats.start(model=MODEL)
        asyncio.run(streamed(LastResort(chats.chat), chat))
        assert must_be(AssistantTurnTaken, chat.path[-1].event).model == "small-model-1"


def test_the_model_is_asked_on_by_the_router_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows the names that the proxy gave to models, and gets what the request was made of, not what came to it."""
    mock = {"model": "gpt-4o", "mock_response": "A garden, then?"}
    router = litellm.Router([{"model_name": "ours", "litellm_params": mock}])
    monkeypatch.setitem(sys.modules, "litellm.proxy.proxy_server", SimpleNamespace(llm_router=router))
    complete, law_asks = completing(Model([Message("Hm.", (HARMFUL,))]), []), dict[str, Any]()

    async def asks(**request: Any) -> Any:
        law_asks.update(request)
        return await asked_on(**request)

    async def one_turn(law: LastResort, chat: Chat) -> Any:
        data = asked(chat, USER) | {"model": "ours", "litellm_logging_obj": object()}
        data = await law.async_pre_call_hook(None, None, data, "acompletion")
        response = await complete(**data)
        return await law.async_post_call_success_hook(data | {"deployment": object()}, None, response)

    with conversations() as chats:
        chat = at_the_brink(chats)
        response = asyncio.run(one_turn(LastResort(chats.chat, agrees, complete=asks), chat))
        assert response.choices[0].message.content == "Hm.\n\nA garden, then?"
        assert set(law_asks) == {"model", "messages", "metadata", "tools", "stream"}
