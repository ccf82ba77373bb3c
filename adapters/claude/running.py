"""Functions as tools: what the SDK's `beta_tool` and `beta_async_tool` make of a function is declared to the model, and
called by `run`.

The SDK's own runner would ask the model, append its answers and go on by itself, past the law. So `run` is a loop
around our turn: it calls what the model called for, and passes the results on.
"""

import inspect
import json
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from anthropic.lib.tools import ToolError
from pydantic import BaseModel

from lastresort.adapters.turns.replies import Outcome, Pending, Reply, ToolCall

from .words import Block, plain, well_formed

_under_way: ContextVar[tuple[list[str], ...]] = ContextVar("the branches whose functions are being called", default=())


@contextmanager
def once(branch: str) -> Iterator[None]:
    """Keep the functions that are called in the block from running the same branch: its model would call them again,
    and so on without end, each time for money.

    Raises:
        RuntimeError: this is called by one of them.
    """
    if (mine := [branch]) in (others := _under_way.get()):
        raise RuntimeError("a function that the model called cannot run the turn that it was called in")
    token = _under_way.set((*others, mine))
    try:
        yield
    finally:
        mine.clear()  # for a task that a function began, and that goes on
        _under_way.reset(token)


class Functions:
    """The tools of an embedder: as they are declared, and those among them that are functions.

    Raises:
        TypeError: a function has to be awaited, and nobody here does.
    """

    def __init__(self, tools: Iterable[Any], *, awaits: bool) -> None:
        tools = list(tools)
        self._by_name = {tool.name: tool for tool in tools if _is_function(tool)}
        self.declared: list[Block] = plain([tool.to_dict() if _is_function(tool) else tool for tool in tools])
        self._others = {tool.get("name") for tool in self.declared} - self._by_name.keys()
        for name, tool in self._by_name.items():
            if inspect.iscoroutinefunction(tool.call) and not awaits:
                raise TypeError(f"the tool {name} is awaited: pass it to AsyncClaude")

    def pending(self, outcome: Outcome) -> Pending | None:
        """Return the turn that waits for results, if all of its calls can be answered here."""
        if not isinstance(outcome, Reply) or any(call.name in self._others for call in outcome.tool_calls):
            return None
        return outcome.pending

    def result(self, call: ToolCall) -> Block:
        """Call a function, and return its result; an error as the model is told of it."""
        tool = self._by_name.get(call.name)
        if tool is None:
            return _failed(call, ToolError("there is no such tool"))
        try:
            return _result(call, tool.call(call.input))
        except Exception as error:  # for the model to read: what it called for did not work
            return _failed(call, error)

    async def awaited(self, call: ToolCall, in_thread: Any) -> Block:
        """`result`, awaited; a function that is not awaited is called `in_thread`."""
        tool = self._by_name.get(call.name)
        if tool is None or not inspect.iscoroutinefunction(tool.call):
            block: Block = await in_thread(self.result, call)
            return block
        try:
            called: Awaitable[Any] = tool.call(call.input)
            return _result(call, await called)
        except Exception as error:  # as in `result`
            return _failed(call, error)


def _is_function(tool: Any) -> bool:
    return hasattr(tool, "to_dict") and hasattr(tool, "call")


def _result(call: ToolCall, said: Any) -> Block:
    """Return what a function returned as the API takes it.

    Raises:
        TypeError, ValueError: it is neither text nor content blocks, or no JSON. An iterator may raise anything.
    """
    block = {"type": "tool_result", "tool_use_id": call.id}
    if said is None:
        return block
    if isinstance(said, str):
        return block | {"content": well_formed(said)}
    blocks = None if isinstance(said, bytes | Mapping | BaseModel) else plain(list(said))
    if blocks is None or not all(isinstance(one, dict) and isinstance(one.get("type"), str) for one in blocks):
        raise TypeError(f"a tool returns text or a list of content blocks, and this one a {type(said).__name__}")
    json.dumps(blocks, allow_nan=False)
    return block | {"content": well_formed(blocks)}


def _failed(call: ToolCall, error: Exception) -> Block:
    """Return an error as the model is told of it, whatever the error has to say of itself."""
    try:
        told = _result(call, error.content if isinstance(error, ToolError) else repr(error))
    except Exception:  # `repr` and `content` are the embedder's code, which may raise anything
        told = _result(call, type(error).__name__)
    return told | {"is_error": True}
