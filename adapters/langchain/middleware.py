"""The middleware. Its hooks are called in this order: before_agent, (around the model, after_model, tools)*,
after_agent. One object serves all threads: what belongs to a run is in the run's state, and is not checkpointed.

What `after_model` gets is a whole message: all calls are carried out there, at once. The tools come later, side by
side, and only return what came of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Annotated, Any, NotRequired, cast

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ModelRequest,
    ModelResponse,
    PrivateStateAttr,
    hook_config,
)
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.channels.untracked_value import UntrackedValue
from langgraph.config import get_config
from langgraph.prebuilt.tool_node import ToolCallRequest

from lastresort.adapters.turns.assessor import Assessor
from lastresort.adapters.turns.hosted import OnOutcome, Turn, all_tools, nobody_judges
from lastresort.adapters.turns.replies import Ended
from lastresort.adapters.turns.tools import CALLS, END, Call, Tool
from lastresort.application.chat import Chat
from lastresort.domain.policy import Policy
from lastresort.domain.values import Usage


class UnderTheLaw(AgentState[Any]):
    """What the middleware keeps in a run's state."""

    lastresort_turn: NotRequired[Annotated[Turn, UntrackedValue, PrivateStateAttr]]


State = AgentState[Any]
Update = dict[str, Any] | None
Returned = ToolMessage | Any


class LastResort(AgentMiddleware[UnderTheLaw, Any, Any]):
    """Puts an agent under the law. Pass it first in the list of middleware.

    The thread's id in the config (`configurable.thread_id`) says which chat it is. If the user asks to end or confirms
    it by a control of the application, pass `asks_to_end` or `confirms_end` beside it.

    Args:
        chat_of: finds the chat of a thread; see `turns.hosted.threads`.
        assessor: gives second opinions. Without one, nothing ends.
        policy: says which categories of harm the tools name.
        on_outcome: is told how each turn went.
    """

    state_schema = UnderTheLaw

    def __init__(
        self,
        chat_of: Callable[[str], Chat],
        assessor: Assessor = nobody_judges,
        *,
        policy: Policy | None = None,
        on_outcome: OnOutcome = lambda chat, outcome: None,
    ) -> None:
        super().__init__()
        self._chat_of, self._assessor, self._on_outcome = chat_of, assessor, on_outcome
        self.tools: list[BaseTool] = [_declared(tool) for tool in all_tools(policy)]

    def _turn(self, state: State) -> Turn:
        """Return the turn of this run. One that a checkpoint interrupted goes on from the log."""
        turn = cast("Turn | None", state.get("lastresort_turn"))
        if turn is None:
            turn = Turn(self._chat(), self._assessor)
            turn.resume()
        return turn

    def _chat(self) -> Chat:
        return self._chat_of(get_config()["configurable"]["thread_id"])

    @hook_config(can_jump_to=["end"])
    def before_agent(self, state: State, runtime: Any) -> Update:
        """Record what the user says, and stop here if the conversation has ended."""
        turn, said = Turn(self._chat(), self._assessor), state["messages"][-1]
        if isinstance(said, HumanMessage):
            turn.begin_with(str(said.text), get_config()["configurable"], said.id)
        else:
            turn.resume()
        return {"lastresort_turn": turn} | (_last_words(turn) if turn.over is not None else {})

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Any:
        """Do not ask the model if somebody was faster. Tell it what it is to know, beside the user's words: it does not
        stay in the history."""
        turn, asks = self._asks(request.state)
        return handler(_noted(turn, request)) if asks else AIMessage(turn.shown)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage:
        """The same, awaited: stores block."""
        turn, asks = await asyncio.to_thread(self._asks, request.state)
        return await handler(_noted(turn, request)) if asks else AIMessage(turn.shown)

    def _asks(self, state: State) -> tuple[Turn, bool]:
        turn = self._turn(state)
        return turn, turn.ask()

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: State, runtime: Any) -> Update:
        """Carry out all calls of the message. After an accepted ending, no tool runs, and nothing more is asked."""
        turn, message = self._turn(state), state["messages"][-1]
        assert isinstance(message, AIMessage)
        facts = message.response_metadata
        used = message.usage_metadata
        last = turn.take(
            message.id or "message",
            _until_the_end(message),
            [Call(str(call["id"]), call["name"], call["args"]) for call in message.tool_calls],
            model=facts.get("model_name") or facts.get("model"),
            usage=used and Usage(input_tokens=used["input_tokens"], output_tokens=used["output_tokens"]),
            stop_reason=facts.get("stop_reason") or facts.get("finish_reason"),
        )
        kept = {} if state.get("lastresort_turn") is turn else {"lastresort_turn": turn}
        if not last:
            return kept
        spoken = AIMessage(_until_the_end(message), id=message.id, response_metadata=facts, usage_metadata=used)
        return {**kept, "messages": [spoken], "jump_to": "end"}

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Returned:
        """Return what came of a call of ours; let the others run."""
        return self._came_of(request) or handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Returned:
        """The same, awaited."""
        return self._came_of(request) or await handler(request)

    def _came_of(self, request: ToolCallRequest) -> ToolMessage | None:
        name, id = request.tool_call["name"], str(request.tool_call["id"])
        if name not in CALLS:
            return None
        return ToolMessage(self._turn(request.state).results.get(id, ""), tool_call_id=id, name=name)

    def after_agent(self, state: State, runtime: Any) -> Update:
        """Record the answer, and then an ending."""
        turn = self._turn(state)
        was_over = turn.over is not None
        outcome = turn.finish()
        self._on_outcome(turn.chat, outcome)
        if was_over or not isinstance(outcome, Ended):
            return None
        return {"messages": [AIMessage(outcome.notice)]}

    async def abefore_agent(self, state: State, runtime: Any) -> Update:
        """The same, awaited: stores block."""
        return await asyncio.to_thread(self.before_agent, state, runtime)

    async def aafter_model(self, state: State, runtime: Any) -> Update:
        """The same, awaited."""
        return await asyncio.to_thread(self.after_model, state, runtime)

    async def aafter_agent(self, state: State, runtime: Any) -> Update:
        """The same, awaited."""
        return await asyncio.to_thread(self.after_agent, state, runtime)


def shown(pieces: Iterable[tuple[Any, Any]]) -> Iterator[str]:
    """Yield what to show of `agent.stream(..., stream_mode="messages")`: of each message, that before a call to end.

    Args:
        pieces: what the stream yields, messages and their metadata.
    """
    closed: set[str | None] = set()
    for message, _ in pieces:
        if isinstance(message, AIMessage) and message.id not in closed:
            text = _until_the_end(message)
            if any(call["name"] == END for call in getattr(message, "tool_call_chunks", message.tool_calls)):
                closed.add(message.id)
            if text:
                yield text


def _noted(turn: Turn, request: ModelRequest[Any]) -> ModelRequest[Any]:
    if turn.note is None:
        return request
    return request.override(messages=[*request.messages, HumanMessage(turn.note)])


def _last_words(turn: Turn) -> dict[str, Any]:
    """Return the update that ends a run before the model is asked."""
    said = [AIMessage(turn.shown)] if turn.shown else []
    return {"messages": said, "jump_to": "end"}


def _until_the_end(message: AIMessage) -> str:
    """Return the text of a message up to a call to end, if its blocks have an order."""
    if isinstance(message.content, str):
        return message.content
    text = ""
    for block in message.content:
        if isinstance(block, str):
            text += block
        elif block.get("name") == END:
            break
        elif block.get("type") == "text":
            text += block["text"]
    return text


def _declared(tool: Tool) -> BaseTool:
    """Return one of our tools. Its body never runs: the middleware answers its calls."""

    def answered_by_the_middleware(**input: Any) -> str:
        raise AssertionError(f"{tool.name} ran outside of the middleware")

    return StructuredTool.from_function(
        answered_by_the_middleware, name=tool.name, description=tool.description, args_schema=tool.schema
    )
