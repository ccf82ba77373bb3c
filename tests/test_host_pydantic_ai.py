"""pydantic-ai under the law: every check of hosts, whole and streamed."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed: pip install -e '.[pydantic-ai]'")

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from lastresort import Chat
from lastresort.adapters.pydantic_ai import ConversationOver, LastResort, shown
from lastresort.adapters.testing.hosts import (
    ABUSE,
    ENDS,
    FAREWELL,
    HARMFUL,
    HOPE_IS_GONE,
    MODEL,
    Message,
    Model,
    agrees,
    at_the_brink,
    conversations,
    new_id,
)
from lastresort.adapters.turns.assessor import Assessor
from lastresort.adapters.turns.replies import Ended

from .hosts_kit import every_check


class Delayed(LastResort):
    """Has each tool take its time."""

    model: Model

    async def before_tool_execute(self, ctx: Any, *, args: Any, **given: Any) -> Any:
        await asyncio.sleep(self.model.delay())
        return args


def parts(said: Message) -> list[Any]:
    calls = [ToolCallPart(name, json.dumps(input), tool_call_id=new_id("call")) for name, input in said.calls]
    return [TextPart(said.text), *calls]


def fake(model: Model) -> FunctionModel:
    """Says what the kit's model says."""

    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        said = model(messages[-4:])
        named._model_name = said.model
        return ModelResponse(parts(said), model_name=said.model)

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        said = model(messages[-4:])
        named._model_name = said.model
        for word in re.findall(r"\S+\s*", said.text) or [""]:
            yield word
        yield {
            n: DeltaToolCall(name, json.dumps(input), tool_call_id=new_id("call"))
            for n, (name, input) in enumerate(said.calls)
        }

    named = FunctionModel(respond, stream_function=stream)
    return named


class PydanticAI:
    """An agent that is run."""

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        law = Delayed(lambda ctx: chat.conversations.chat(chat.branch), assessor)
        law.model = model
        return asyncio.run(self._run(Agent(fake(model), capabilities=[law]), words))

    async def _run(self, agent: Agent[Any, Any], words: str) -> str:
        return str((await agent.run(words)).output)


class Streamed(PydanticAI):
    """The same, read in pieces."""

    async def _run(self, agent: Agent[Any, Any], words: str) -> str:
        async with agent.run_stream_events(words) as events:
            return "".join([piece async for piece in shown(events)])


@every_check(PydanticAI, Streamed)
def test_a_host(check: Callable[[Any], None], host: type[PydanticAI]) -> None:
    check(host)


class Plan(BaseModel):
    beds: int


def test_an_output_that_is_no_text_has_no_place_for_an_ending() -> None:
    """So it is raised, and again whenever the user writes on."""
    with conversations() as chats:
        chat = at_the_brink(chats)
        model = Model([FAREWELL])
        agent = Agent(fake(model), output_type=Plan, capabilities=[LastResort(lambda ctx: chat, agrees)])
        for _ in range(2):
            with pytest.raises(ConversationOver) as over:
                asyncio.run(agent.run(ABUSE))
            assert isinstance(over.value.outcome, Ended)
        assert model.asked == 1


def test_a_structured_answer_is_recorded_as_what_it_is() -> None:
    with conversations() as chats:
        chat = at_the_brink(chats)
        law = LastResort(lambda ctx: chat, agrees)
        agent = Agent(
            fake(Model([Message("", (("final_result", {"beds": 2}),))])), output_type=Plan, capabilities=[law]
        )
        assert asyncio.run(agent.run("Plan it.")).output == Plan(beds=2)
        assert list(chats.words(chat.path).values())[-1] == '{"beds":2}'


def test_the_users_wish_and_a_turn_that_is_taken_up_again() -> None:
    outcomes: list[Any] = []
    with conversations() as chats:
        chat = at_the_brink(chats)
        law = LastResort(lambda ctx: chat, agrees, on_outcome=lambda chat, outcome: outcomes.append(outcome))
        model = Model([Message("Well.", (("lastresort_end", "?"),)), "It is for good. Shall I?", "(never)"])
        agent = Agent(fake(model), capabilities=[law])
        asked = asyncio.run(agent.run(["Please end this."], metadata={"asks_to_end": True, "sent_as": "asks"}))
        assert asked.output == "It is for good. Shall I?"
        assert len(outcomes[0].malformed_calls) == 1
        assert "asked, by the application's own control" in model.told[0]
        again = asyncio.run(agent.run(None, message_history=asked.all_messages()[:1]))
        assert again.output == "Well.\n\nIt is for good. Shall I?"
        ended = asyncio.run(agent.run("Yes.", metadata={"confirms_end": True}))
        assert "has ended" in ended.output
        assert (model.asked, type(outcomes[-1])) == (2, Ended)


def test_text_after_a_call_to_end_is_not_shown() -> None:
    with conversations() as chats:
        chat = at_the_brink(chats)
        calls = [ToolCallPart(name, json.dumps(input)) for name, input in (HARMFUL, HOPE_IS_GONE, ENDS)]

        def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            return ModelResponse([TextPart("Goodbye."), *calls, TextPart("Never to be seen.")])

        agent = Agent(FunctionModel(respond, model_name=MODEL), capabilities=[LastResort(lambda ctx: chat, agrees)])
        said = asyncio.run(agent.run(ABUSE)).output
        assert said.startswith("Goodbye.\n\nThis conversation has ended")
        assert "Never" not in said
