"""The OpenAI Agents SDK under the law: every check of hosts, whole and streamed, and after a handoff."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("agents", reason="openai-agents is not installed: pip install -e '.[openai-agents]'")

from agents import Agent, RunConfig, RunHooks, SQLiteSession
from agents.testing import ModelStep, ScriptedModel, function_call
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

from lastresort import Chat
from lastresort.adapters.openai_agents import ClosedSession, GuardedSession, guarded_run, guarded_stream, law_tools
from lastresort.adapters.testing.hosts import (
    ABUSE,
    ENDS,
    FAREWELL,
    WORRIES,
    Message,
    Model,
    agrees,
    at_the_brink,
    conversations,
    leads_away,
    new_id,
)
from lastresort.adapters.turns.assessor import Assessor
from lastresort.adapters.turns.hosted import told
from lastresort.adapters.turns.replies import Ended, Reply

from .hosts_kit import every_check

QUIET = RunConfig(tracing_disabled=True)


class Delays(RunHooks[Any]):
    """Has each tool take its time."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def on_tool_start(self, *given: Any) -> None:
        await asyncio.sleep(self._model.delay())


def output(said: Message) -> list[Any]:
    who: dict[str, Any] = {"provider_data": {"model": said.model}}
    text = ResponseOutputText(text=said.text, type="output_text", annotations=[], logprobs=[])
    message = ResponseOutputMessage(
        id=new_id("message"), type="message", role="assistant", status="completed", content=[text], **who
    )
    calls = [function_call(name, input, call_id=new_id("call")) for name, input in said.calls]
    return [message, *calls]


def scripted(model: Model) -> ScriptedModel:
    """Says what the kit's model says."""

    def respond(call: Any) -> ModelStep:
        return ModelStep(output=output(model(call.input[-4:])))

    return ScriptedModel([ModelStep.respond(respond)] * 40)


class OpenAIAgents:
    """An agent that is run."""

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        agent = Agent[Any](name="kit", model=scripted(model), tools=law_tools())
        return asyncio.run(self._run(agent, words, chat, assessor=assessor, hooks=Delays(model), run_config=QUIET))

    async def _run(self, agent: Agent[Any], words: str, chat: Chat, **options: Any) -> str:
        return told(await guarded_run(agent, words, chat=chat, **options))


class Streamed(OpenAIAgents):
    """The same, read in pieces."""

    async def _run(self, agent: Agent[Any], words: str, chat: Chat, **options: Any) -> str:
        return "".join([piece async for piece in guarded_stream(agent, words, chat=chat, **options)])


class HandedOff(OpenAIAgents):
    """An agent that hands off to the one that answers."""

    async def _run(self, agent: Agent[Any], words: str, chat: Chat, **options: Any) -> str:
        hands_off = ScriptedModel([[function_call("transfer_to_kit", {}, call_id=new_id("call"))]])
        first = Agent[Any](name="first", model=hands_off, tools=law_tools(), handoffs=[agent])
        return told(await guarded_run(first, words, chat=chat, **options))


@every_check(OpenAIAgents, Streamed, HandedOff)
def test_a_host(check: Callable[[Any], None], host: type[OpenAIAgents]) -> None:
    check(host)


def test_a_session_takes_nothing_more_once_its_conversation_has_ended() -> None:
    async def run() -> None:
        with conversations() as chats:
            chat = at_the_brink(chats)
            session = GuardedSession(SQLiteSession("kit"), chat)
            agent = Agent[Any](name="kit", model=scripted(Model([*leads_away(), FAREWELL])), tools=law_tools())
            options: dict[str, Any] = {"chat": chat, "assessor": agrees, "session": session, "run_config": QUIET}
            assert isinstance(await guarded_run(agent, ABUSE, **options), Reply)
            kept = await session.get_items()
            assert len(kept) >= 4
            assert await session.pop_item() is not None
            assert isinstance(await guarded_run(agent, ABUSE, **options), Ended)
            before = await session.get_items()
            for act in (session.add_items([]), session.pop_item(), session.clear_session()):
                with pytest.raises(ClosedSession, match="has ended: start a new conversation"):
                    await act
            assert await session.get_items() == before
            await guarded_run(agent, "Hello?", **options)
            assert await session.get_items() == before

    asyncio.run(run())


def test_the_users_wish_and_what_the_application_passes() -> None:
    """Its own hooks and filters are called too, and a call without sense is answered as such."""
    seen: list[str] = []

    class Theirs(RunHooks[Any]):
        async def on_llm_end(self, *given: Any) -> None:
            seen.append("hook")

    def theirs(data: Any) -> Any:
        seen.append("filter")
        return data.model_data

    async def run() -> None:
        with conversations() as chats:
            chat = at_the_brink(chats)
            nonsense = ModelStep(output=[function_call("lastresort_end", "{", call_id="1")])
            model = ScriptedModel([nonsense, ModelStep(output=output(Message("It is for good. Shall I?")))])
            agent = Agent[Any](name="kit", model=model, tools=law_tools())
            config = RunConfig(tracing_disabled=True, call_model_input_filter=theirs)
            options: dict[str, Any] = {"chat": chat, "assessor": agrees, "hooks": Theirs(), "run_config": config}
            asked = await guarded_run(agent, "Please end this.", asks_to_end=True, **options)
            assert isinstance(asked, Reply)
            assert [call.name for call in asked.malformed_calls] == ["lastresort_end"]
            assert "asked, by the application's own control" in str(model.calls[0].input)
            assert seen == ["filter", "hook"] * 2
            again = await guarded_run(agent, "Yes.", confirms_end=True, **options)
            assert isinstance(again, Ended)
            assert len(model.calls) == 2

    asyncio.run(run())


def test_an_agent_that_is_a_tool_acts_for_nobody_and_is_counted() -> None:
    """Though it was given the tools of the law, and inherits the configuration of the run. It is told of no note."""
    asks: list[Any] = [function_call(name, input, call_id=new_id("call")) for name, input in (WORRIES, ENDS)]

    async def run() -> None:
        with conversations() as chats:
            chat = at_the_brink(chats)
            below = ScriptedModel([ModelStep(output=asks), ModelStep(output=output(Message("Nothing unusual.")))])
            helper = Agent[Any](name="helper", model=below, tools=law_tools()).as_tool("helper", "Looks into it.")
            above = [ModelStep(output=[function_call("helper", {"input": "Look."}, call_id=new_id("call"))])]
            model = ScriptedModel([*above, ModelStep(output=output(Message("I looked into it. Shall I end it?")))])
            agent = Agent[Any](name="kit", model=model, tools=[*law_tools(), helper])
            options: dict[str, Any] = {"chat": chat, "assessor": agrees, "run_config": QUIET}
            came = await guarded_run(agent, "Please end this.", asks_to_end=True, **options)
            assert isinstance(came, Reply)
            assert (came.of_tasks, came.holding, came.refusals) == (2, False, ())
            assert chat.refresh().ended is None
            told_below = str([call.input for call in below.calls])
            assert told_below.count("acts for nobody") == 2
            assert "application's own control" not in told_below
            assert "application's own control" in str(model.calls[-1].input)

    asyncio.run(run())


def test_a_tool_that_runs_outside_of_a_guarded_run_does_nothing() -> None:
    """As an agent that is a tool of another one does: a task beside the conversation acts for nobody."""
    (harm, *_) = law_tools()
    assert "acts for nobody" in asyncio.run(harm.on_invoke_tool(None, "{}"))  # type: ignore[union-attr,arg-type]
