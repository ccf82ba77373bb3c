"""Functions as tools: what the SDK's `beta_tool` and `beta_async_tool` make of a function is declared to the model, and
called by `run`.

The SDK's own runner would ask the model, append its answers and go on by itself, past the law. So `run` is a loop
around our turn: it calls what the model called for, and passes the results on.
"""

import inspect
from collections.abc import Awaitable, Iterable
from typing import Any

from anthropic.lib.tools import ToolError

from lastresort.adapters.turns.replies import Outcome, Pending, Reply, ToolCall

from .words import Block, plain, well_formed


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
    block = {"type": "tool_result", "tool_use_id": call.id}
    if said is None:
        return block
    return block | {"content": well_formed(said if isinstance(said, str) else plain(list(said)))}


def _failed(call: ToolCall, error: Exception) -> Block:
    return _result(call, error.content if isinstance(error, ToolError) else repr(error)) | {"is_error": True}
