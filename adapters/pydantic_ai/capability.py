"""The capability. One object serves an agent; each run has a copy, with a turn of its own.

Before the run, what the user says is recorded; before each request, somebody may have been faster; after it, all calls
of the message are carried out, and the tools, which run side by side, only return what came of it. A response that ends
the conversation loses its calls, so that no tool runs and nothing more is asked.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from copy import copy
from dataclasses import replace
from typing import Any

from pydantic_ai import AgentRunResult, AgentRunResultEvent, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import SkipModelRequest
from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_core import SchemaValidator, core_schema, to_json

from lastresort.adapters.turns.assessor import Assessor
from lastresort.adapters.turns.hosted import OnOutcome, Turn, all_tools, nobody_judges, told
from lastresort.adapters.turns.replies import NOTICE, Ended, Outcome
from lastresort.adapters.turns.tools import CALLS, END, Call, Tool, read_input
from lastresort.application.chat import Chat
from lastresort.domain.policy import Policy
from lastresort.domain.turn_text import BETWEEN
from lastresort.domain.values import Usage

_ANY_INPUT = SchemaValidator(core_schema.dict_schema())  # the law reads the input, in `after_model_request`


class ConversationOver(Exception):
    """The conversation has ended, or somebody was faster, in a run whose output is not text. `outcome` says more."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(told(outcome))
        self.outcome = outcome


class LastResort(AbstractCapability[Any]):
    """Puts an agent under the law: `Agent(..., capabilities=[LastResort(chat_of)])`.

    If the user asks to end or confirms it by a control of the application, pass `asks_to_end` or `confirms_end` in the
    run's `metadata`; `sent_as` there is the id of what they say.

    Args:
        chat_of: finds the chat of a run, by its `conversation_id` say.
        assessor: gives second opinions. Without one, nothing ends.
        policy: says which categories of harm the tools name.
        on_outcome: is told how each turn went.
    """

    def __init__(
        self,
        chat_of: Callable[[RunContext[Any]], Chat],
        assessor: Assessor = nobody_judges,
        *,
        policy: Policy | None = None,
        on_outcome: OnOutcome = lambda chat, outcome: None,
    ) -> None:
        self._chat_of, self._assessor, self._on_outcome = chat_of, assessor, on_outcome
        self._tools = {tool.name: _declared(tool) for tool in all_tools(policy)}
        self._turn: Turn

    async def for_run(self, ctx: RunContext[Any]) -> "LastResort":
        """Return a copy with a turn of its own."""
        return copy(self)

    def get_toolset(self) -> AbstractToolset[Any]:
        """Return the tools of the law."""
        return _Tools(self, self._tools)

    def came_of(self, call: str | None) -> str:
        """Return what a tool of ours returns for a call."""
        return self._turn.came_of(call)

    async def before_run(self, ctx: RunContext[Any]) -> None:
        """Record what the user says; without a prompt, take up what they said last."""
        await asyncio.to_thread(self._begin, ctx)

    def _begin(self, ctx: RunContext[Any]) -> None:
        self._turn = Turn(self._chat_of(ctx), self._assessor)
        if ctx.prompt is None:
            self._turn.resume()
            return
        prompt = [ctx.prompt] if isinstance(ctx.prompt, str) else ctx.prompt
        words = BETWEEN.join(part if isinstance(part, str) else getattr(part, "content", "") for part in prompt)
        self._turn.begin_with(words, ctx.metadata or {})

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Stop if the turn is over. Tell the model what it is to know, in this request only."""
        if not await asyncio.to_thread(self._turn.ask):
            if self._turn.over is not None and not _is_text(request_context):
                raise ConversationOver(self._turn.over)
            raise SkipModelRequest(ModelResponse([TextPart(self._turn.shown)]))
        if self._turn.note is None:
            return request_context
        noted = ModelRequest([UserPromptPart(self._turn.note)])
        return replace(request_context, messages=[*request_context.messages, noted])

    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Carry out all calls of the message. After an accepted ending, only its text is left of it."""
        until = _until_the_end(response)
        last = await self._turn.take_awaited(
            response.provider_response_id or self._turn.new_id(),
            "".join(part.content for part in until),
            [Call(part.tool_call_id, part.tool_name, _input(part)) for part in response.tool_calls],
            model=response.model_name,
            usage=Usage(input_tokens=response.usage.input_tokens, output_tokens=response.usage.output_tokens),
            stop_reason=response.finish_reason,
        )
        if not last:
            return replace(response, parts=[_callable(part) for part in response.parts])
        if not _is_text(request_context):
            raise ConversationOver(await asyncio.to_thread(self._finish))
        return replace(response, parts=list(until) or [TextPart("")])

    async def after_run(self, ctx: RunContext[Any], *, result: AgentRunResult[Any]) -> AgentRunResult[Any]:
        """Record the answer, and then an ending. What is shown of an output that is no text is its JSON."""
        shown = None if isinstance(result.output, str) else to_json(result.output).decode()
        outcome = await asyncio.to_thread(self._finish, shown)
        return replace(result, output=told(outcome)) if isinstance(outcome, Ended) else result

    def _finish(self, shown: str | None = None) -> Outcome:
        outcome = self._turn.finish(shown)
        self._on_outcome(self._turn.chat, outcome)
        return outcome


class _Tools(AbstractToolset[Any]):
    """The tools of the law in one run. To declare them for each request took as long as the law does."""

    id = None

    def __init__(self, run: LastResort, declared: dict[str, ToolDefinition]) -> None:
        self._run = run
        self._declared = {
            name: ToolsetTool(toolset=self, tool_def=tool, max_retries=1, args_validator=_ANY_INPUT)
            for name, tool in declared.items()
        }

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        return self._declared

    async def call_tool(self, name: str, tool_args: Any, ctx: RunContext[Any], tool: ToolsetTool[Any]) -> str:
        """Return what came of the call when its message had come."""
        return self._run.came_of(ctx.tool_call_id)


async def shown(events: AsyncIterable[Any]) -> AsyncIterator[str]:
    """Yield what to show of `agent.run_stream_events(...)`: of each message, what is before a call to end; the notice.

    Do not use `agent.run_stream`: it takes the first text for the answer, whatever is called after it.
    """
    said, closed = "", False
    async for event in events:
        piece = ""
        if isinstance(event, PartStartEvent):
            closed = (closed and event.index > 0) or _ends(event.part)
            if isinstance(event.part, TextPart) and event.part.content:
                piece = BETWEEN + event.part.content if said else event.part.content
        elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
            piece = event.delta.content_delta
        elif isinstance(event, AgentRunResultEvent) and NOTICE in str(event.result.output) and NOTICE not in said:
            closed, piece = False, BETWEEN + event.result.output[event.result.output.index(NOTICE) :]
        if piece and not closed:
            said += piece
            yield piece


def _declared(tool: Tool) -> ToolDefinition:
    return ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=tool.schema)


def _is_text(request: ModelRequestContext) -> bool:
    """Whether the run's output is text, so that a notice can stand in its place."""
    return request.model_request_parameters.output_mode in ("text", "tool_or_text")


def _callable(part: Any) -> Any:
    """Return a call of ours that was answered as not understood so that the tool can be run at all."""
    ours = isinstance(part, ToolCallPart) and part.tool_name in CALLS and not isinstance(_input(part), dict)
    return replace(part, args={}) if ours else part


def _ends(part: Any) -> bool:
    return isinstance(part, ToolCallPart) and part.tool_name == END


def _input(part: ToolCallPart) -> Any:
    return part.args if isinstance(part.args, dict) else read_input(part.args or "")


def _until_the_end(response: ModelResponse) -> list[TextPart]:
    """Return the text of a message up to a call to end."""
    end = next((n for n, part in enumerate(response.parts) if _ends(part)), len(response.parts))
    return [part for part in response.parts[:end] if isinstance(part, TextPart)]
