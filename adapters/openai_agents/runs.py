"""One run of an agent is one turn. What the user says is recorded before the run; a hook carries out the calls of each
message as it comes, whichever agent of a handoff it is from; the answer is recorded after the run.

Once an ending is accepted, the hook breaks the run off, before any tool of that message runs. An input guardrail could
not do it: it is asked for the first agent only, once a run, and beside the model unless told otherwise.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from agents import Agent, FunctionTool, ModelResponse, RunConfig, RunHooks, Runner, Tool
from agents.items import TResponseInputItem
from agents.run_config import CallModelData, ModelInputData
from agents.tool_context import ToolContext

from lastresort.adapters.turns import notes
from lastresort.adapters.turns.assessor import Assessor
from lastresort.adapters.turns.hosted import Turn, all_tools, nobody_judges
from lastresort.adapters.turns.replies import Ended, Outcome
from lastresort.adapters.turns.tools import END, Call, read_input
from lastresort.application.chat import Chat
from lastresort.domain.policy import Policy
from lastresort.domain.turn_text import BETWEEN
from lastresort.domain.values import Usage

_running: ContextVar[Turn] = ContextVar("_running")


class _Over(Exception):
    """Breaks a run off: the turn is over."""


def law_tools(policy: Policy | None = None) -> list[Tool]:
    """Return the tools of the law. Give them to every agent that talks with the user, and to no other one."""

    async def came_of(context: ToolContext[Any], input: str) -> str:
        turn = _running.get(None)
        return notes.OF_TASK if turn is None else turn.came_of(context.tool_call_id)

    return [
        FunctionTool(tool.name, tool.description, tool.schema, came_of, strict_json_schema=False)
        for tool in all_tools(policy)
    ]


async def guarded_run(agent: Agent[Any], words: str, *, chat: Chat, **options: Any) -> Outcome:
    """Run an agent on what the user says; return what came of it.

    Args:
        agent: who begins; it and those that it hands off to have `law_tools` among their tools.
        words: what the user says.
        chat: where.
        options: those of `guarded_stream`.
    """
    stream = guarded_stream(agent, words, chat=chat, **options)
    async for _ in stream:
        pass
    assert stream.outcome is not None
    return stream.outcome


def guarded_stream(agent: Agent[Any], words: str, *, chat: Chat, **options: Any) -> "GuardedStream":
    """Run an agent on what the user says, and read the answer in pieces.

    Args:
        agent, words, chat: as of `guarded_run`.
        options: `assessor` for second opinions; `sent_as`, the id of what the user says; `asks_to_end`, `confirms_end`;
            `input`, what the agent is given if it is not the words; `answered_by`, which says of a `ModelResponse` who
            answered, since the SDK does not; and those of `Runner.run_streamed`.
    """
    return GuardedStream(agent, words, chat, **options)


class GuardedStream:
    """The answer to show, in pieces. Read it to the end: `outcome` then says how it went, and `result` is the SDK's."""

    def __init__(
        self,
        agent: Agent[Any],
        words: str,
        chat: Chat,
        *,
        assessor: Assessor = nobody_judges,
        sent_as: str | None = None,
        asks_to_end: bool = False,
        confirms_end: bool = False,
        input: str | list[TResponseInputItem] | None = None,
        answered_by: Callable[[ModelResponse], str | None] = lambda response: None,
        hooks: RunHooks[Any] | None = None,
        run_config: RunConfig | None = None,
        **options: Any,
    ) -> None:
        self._turn, self._agent, self._words = Turn(chat, assessor), agent, words
        self._begins = (words, sent_as or chat.conversations.new_id(), asks_to_end, confirms_end)
        config = run_config or RunConfig()
        ours = _Hooks(self._turn, hooks, answered_by)
        config = replace(config, call_model_input_filter=_Filter(self._turn, ours, config.call_model_input_filter))
        self._input = words if input is None else input
        self._options = {**options, "hooks": ours, "run_config": config}
        self.outcome: Outcome | None = None
        self.result: Any = None

    async def __aiter__(self) -> AsyncIterator[str]:
        words, sent_as, asks, confirms = self._begins
        begins = asyncio.to_thread(self._turn.begin, words, sent_as, asks=asks, confirms=confirms)
        if await begins is None:
            token = _running.set(self._turn)
            try:
                self.result = Runner.run_streamed(self._agent, self._input, **self._options)
                async for piece in _shown(self.result.stream_events()):
                    yield piece
            except _Over:
                pass
            finally:
                _running.reset(token)
        elif self._turn.shown:
            yield self._turn.shown
        ended_before = self._turn.over is not None
        self.outcome = await asyncio.to_thread(self._turn.finish)
        if isinstance(self.outcome, Ended) and not ended_before:
            yield BETWEEN + self.outcome.notice


class _Hooks(RunHooks[Any]):
    """Carries out the calls of each message when it has come. All else goes to the hooks of the application."""

    def __init__(
        self, turn: Turn, theirs: RunHooks[Any] | None, answered_by: Callable[[ModelResponse], str | None]
    ) -> None:
        self._turn, self._theirs, self._answered_by = turn, theirs or RunHooks[Any](), answered_by
        self.speaks: Any = None  # the agent that talks with the user now
        for name in ("on_llm_start", "on_agent_end", "on_handoff", "on_tool_start", "on_tool_end"):
            setattr(self, name, getattr(self._theirs, name))

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        self.speaks = agent
        await self._theirs.on_agent_start(context, agent)

    async def on_llm_end(self, context: Any, agent: Agent[Any], response: ModelResponse) -> None:
        await self._theirs.on_llm_end(context, agent, response)
        calls: list[Any] = [item for item in response.output if item.type == "function_call"]
        usage = response.usage
        last = await self._turn.take_awaited(
            getattr(response.output[0], "id", None) or self._turn.new_id(),
            _until_the_end(response),
            [Call(call.call_id, call.name, read_input(call.arguments)) for call in calls],
            model=self._answered_by(response) or _named(agent, response),
            usage=Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens),
        )
        if last:
            raise _Over


class _Filter:
    """Looks, before each request, whether somebody was faster, and adds what the model is to be told.

    An agent that is a tool of another one inherits it with the configuration of the run. Nobody talks to that agent, so
    it is told nothing: what the user asked for by a control, say, is not its affair.
    """

    def __init__(self, turn: Turn, hooks: _Hooks, theirs: Any) -> None:
        self._turn, self._hooks, self._theirs = turn, hooks, theirs

    async def __call__(self, data: CallModelData[Any]) -> ModelInputData:
        speaks = data.agent is self._hooks.speaks
        if speaks and not await asyncio.to_thread(self._turn.ask):
            raise _Over
        sent = data.model_data
        if self._theirs is not None:
            sent = self._theirs(data)
            sent = await sent if asyncio.iscoroutine(sent) else sent
        if self._turn.note is None or not speaks:
            return sent
        return ModelInputData([*sent.input, {"role": "user", "content": self._turn.note}], sent.instructions)


def _named(agent: Agent[Any], response: ModelResponse) -> str | None:
    """Return who answered, as far as the SDK says: some models note it with what they put out."""
    told = (getattr(item, "provider_data", None) or {} for item in response.output)
    said = next((data["model"] for data in told if data.get("model")), None)
    asked = agent.model if isinstance(agent.model, str) else getattr(agent.model, "model", None)
    return said or (asked if isinstance(asked, str) else None)


def _until_the_end(response: ModelResponse) -> str:
    texts: list[str] = []
    for item in response.output:
        if item.type == "function_call" and item.name == END:
            break
        if item.type == "message":
            texts += [part.text for part in item.content if part.type == "output_text"]
    return BETWEEN.join(filter(None, texts))


async def _shown(events: AsyncIterator[Any]) -> AsyncIterator[str]:
    """Yield the text of a run's events: of each message, what is before a call to end."""
    shown, closed, begins = "", False, False
    async for event in events:
        if event.type != "raw_response_event":
            continue
        data = event.data
        if data.type == "response.created":
            closed = False
        elif data.type == "response.output_item.added":
            closed = closed or getattr(data.item, "name", None) == END
            begins = data.item.type == "message"
        elif data.type == "response.output_text.delta" and not closed and data.delta:
            piece = BETWEEN + data.delta if begins and shown else data.delta
            shown, begins = shown + piece, False
            yield piece
