"""LangChain's `create_agent` under the law: every check of hosts, sync, awaited and streamed."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

pytest.importorskip("langchain", reason="langchain is not installed: pip install -e '.[langchain]'")

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.checkpoint.memory import InMemorySaver

from lastresort import Chat
from lastresort.adapters.langchain import LastResort, shown
from lastresort.adapters.testing import HOST_CHECKS
from lastresort.adapters.testing.hosts import Message, Model, new_id
from lastresort.adapters.turns.assessor import Assessor


class Fake(BaseChatModel):
    """Says what the kit's model says."""

    says: Any

    @property
    def _llm_type(self) -> str:
        return "kit"

    def bind_tools(self, tools: Sequence[Any], **how: Any) -> Any:
        return self

    def _message(self, messages: list[BaseMessage]) -> AIMessage:
        said: Message = self.says([message.content for message in messages[-4:]])
        calls = [{"name": name, "args": input, "id": new_id("call")} for name, input in said.calls]
        return AIMessage(said.text, id=new_id("message"), tool_calls=calls, response_metadata={"model_name": said.model})

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **how: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._message(messages))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: Any = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **how: Any,
    ) -> Iterator[ChatGenerationChunk]:
        whole = self._message(messages)
        for word in re.findall(r"\S+\s*", str(whole.content)):
            yield ChatGenerationChunk(message=AIMessageChunk(word, id=whole.id))
        calls: Any = [
            {"name": call["name"], "args": str(call["args"]).replace("'", '"'), "id": call["id"], "index": n}
            for n, call in enumerate(whole.tool_calls)
        ]
        calls = [{**call, "args": call["args"].replace("True", "true")} for call in calls]
        facts = whole.response_metadata
        yield ChatGenerationChunk(message=AIMessageChunk("", id=whole.id, tool_call_chunks=calls, response_metadata=facts))


class Delays(AgentMiddleware[Any, Any, Any]):
    """Has each tool take its time."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        time.sleep(self._model.delay())
        return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        await asyncio.sleep(self._model.delay())
        return await handler(request)


class LangChain:
    """An agent that is invoked."""

    def __init__(self) -> None:
        self._saver = InMemorySaver()

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        law = LastResort(lambda thread: chat.conversations.chat(thread), assessor)
        agent = create_agent(Fake(says=model), middleware=[Delays(model), law], checkpointer=self._saver)
        said = {"messages": [HumanMessage(words)]}
        return self._shown(agent, said, {"configurable": {"thread_id": chat.branch}})

    def _shown(self, agent: Any, said: Any, config: Any) -> str:
        return _since_the_user(agent.invoke(said, config))


class Awaited(LangChain):
    """The same, awaited."""

    def _shown(self, agent: Any, said: Any, config: Any) -> str:
        return _since_the_user(asyncio.run(agent.ainvoke(said, config)))


class Streamed(LangChain):
    """The same, streamed."""

    def _shown(self, agent: Any, said: Any, config: Any) -> str:
        return "".join(shown(agent.stream(said, config, stream_mode="messages")))


def _since_the_user(state: Any) -> str:
    texts: list[str] = []
    for message in state["messages"]:
        texts = [] if isinstance(message, HumanMessage) else texts
        if isinstance(message, AIMessage):
            texts.append(str(message.text))
    return "\n\n".join(filter(None, texts))


@pytest.mark.parametrize("host", [LangChain, Awaited, Streamed])
@pytest.mark.parametrize("check", HOST_CHECKS, ids=lambda check: check.__name__)
def test_a_host(check: Callable[[Any], None], host: type[LangChain]) -> None:
    check(host)
