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
from lastresort.adapters.testing.hosts import (
    ABUSE,
    ENDS,
    HARMFUL,
    HOPE_IS_GONE,
    WORRIES,
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

from .hosts_kit import every_check


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
        return AIMessage(
            said.text, id=new_id("message"), tool_calls=calls, response_metadata={"model_name": said.model}
        )

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
            yield ChatGenerationChunk(message=AIMessageChunk(content=word, id=whole.id))
        calls: Any = [
            {"name": call["name"], "args": str(call["args"]).replace("'", '"'), "id": call["id"], "index": n}
            for n, call in enumerate(whole.tool_calls)
        ]
        calls = [{**call, "args": call["args"].replace("True", "true")} for call in calls]
        facts = whole.response_metadata
        yield ChatGenerationChunk(
            message=AIMessageChunk(content="", id=whole.id, tool_call_chunks=calls, response_metadata=facts)
        )


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


@every_check(LangChain, Awaited, Streamed)
def test_a_host(check: Callable[[Any], None], host: type[LangChain]) -> None:
    check(host)


def blocks(*kinds: Any) -> AIMessage:
    """A message whose text and calls stand in an order, as Claude's do."""
    content: list[Any] = []
    for kind in kinds:
        block = {"type": "text", "text": kind} if isinstance(kind, str) else {"type": "tool_use", "name": kind[0]}
        content.append(block)
    calls: Any = [
        {"name": kind[0], "args": kind[1], "id": new_id("call")} for kind in kinds if not isinstance(kind, str)
    ]
    return AIMessage(content=content, tool_calls=calls)


class Blocks(Fake):
    """Says blocks."""

    def _generate(self, *given: Any, **how: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=next(self.says))])


def test_text_after_a_call_to_end_is_neither_shown_nor_recorded() -> None:
    with conversations() as chats:
        chat = at_the_brink(chats)
        said = blocks("Goodbye.", HARMFUL, HOPE_IS_GONE, ENDS, "Never to be seen.")
        agent = create_agent(
            Blocks(says=iter([said]), disable_streaming=True), middleware=[LastResort(lambda thread: chat, agrees)]
        )
        config: Any = {"configurable": {"thread_id": "t"}}
        stream: Any = agent.stream({"messages": [HumanMessage(ABUSE)]}, config, stream_mode="messages")
        text = "".join(shown(stream))
        assert text.startswith("Goodbye.This conversation has ended")
        assert list(chats.words(chat.path).values())[-1] == "Goodbye."


def test_the_users_wish_and_a_run_that_says_nothing_new() -> None:
    """It takes up what the user said last. The model is told of the wish, in the request and not in the history."""
    outcomes: list[Any] = []
    with conversations() as chats:
        chat, model = at_the_brink(chats), Model(["It is for good. Shall I?"])
        law = LastResort(lambda thread: chat, agrees, on_outcome=lambda chat, outcome: outcomes.append(outcome))
        agent = create_agent(Fake(says=model), middleware=[law], checkpointer=InMemorySaver())

        def run(messages: list[Any], **pressed: Any) -> Any:
            said: Any = {"messages": messages}
            return agent.invoke(said, {"configurable": {"thread_id": "t", **pressed}})["messages"]

        kept = run([HumanMessage("Please end this.")], asks_to_end=True)
        assert "asked, by the application's own control" in model.told[0]
        assert "control" not in str(kept)
        assert run([AIMessage("(nothing new)")])[-1].text == "It is for good. Shall I?"
        assert "has ended" in run([HumanMessage("Yes.")], confirms_end=True)[-1].text
        assert (model.asked, type(outcomes[-1])) == (1, Ended)


def test_a_run_that_was_interrupted_goes_on_from_the_log() -> None:
    """A checkpoint has no turn in it."""
    with conversations() as chats:
        chat, model = at_the_brink(chats), Model([Message("Hm.", (WORRIES, ("their_tool", {}))), "I am with you."])

        def their_tool() -> str:
            """Theirs."""
            return "done"

        law, config = LastResort(lambda thread: chat, agrees), {"configurable": {"thread_id": "t"}}
        saver, said = InMemorySaver(), {"messages": [HumanMessage(ABUSE)]}
        agent: Any = create_agent(Fake(says=model), [their_tool], middleware=[law], checkpointer=saver)
        agent.invoke(said, config, interrupt_before=["tools"])
        assert kinds(chat)[-1] == "RiskRaised"
        assert agent.invoke(None, config)["messages"][-1].text == "I am with you."
        assert kinds(chat)[-1] == "AssistantTurnTaken"


def test_the_tools_are_answered_by_the_middleware_alone() -> None:
    with pytest.raises(AssertionError, match="ran outside of the middleware"):
        LastResort(lambda thread: None).tools[0].invoke({"category": "abuse", "severity": 2, "risk": "none"})  # type: ignore[arg-type,return-value]
