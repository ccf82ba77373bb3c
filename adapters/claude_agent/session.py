"""A session of the Claude Agent SDK. The SDK drives Claude Code, which asks our hooks on its way:

* `UserPromptSubmit`, before the model is asked: blocks a prompt that nobody said here, adds what the model is to know;
* `PreToolUse`, before a tool runs: waits until the message has come whole, and runs nothing after an accepted ending;
* `PostToolBatch`, before the model is asked again: stops if somebody was faster.

Claude Code runs a tool as soon as its call has come, while the rest of the message is still being written. What the
model writes is read from the stream of messages, where all calls of a message are carried out at once.
"""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    HookMatcher,
    ResultMessage,
    SdkMcpTool,
    StreamEvent,
    ToolUseBlock,
    create_sdk_mcp_server,
)
from claude_agent_sdk.types import HookEvent

from lastresort.adapters.turns import notes
from lastresort.adapters.turns.assessor import Assessor
from lastresort.adapters.turns.hosted import Turn, nobody_judges
from lastresort.adapters.turns.replies import Ended, Outcome
from lastresort.adapters.turns.tools import END, Call, Tool, declarations
from lastresort.application.chat import Chat
from lastresort.domain.turn_text import BETWEEN
from lastresort.domain.values import Usage

SERVER = "lastresort"
"""The name of the MCP server, in this process, that has the tools of the law."""
_OURS = f"mcp__{SERVER}__"
_THEIR_ENDING = "EndConversation"
_LONGEST_MESSAGE = 3_600.0  # seconds that a tool waits for the rest of its message

Hook = Callable[[Any, str | None, Any], Awaitable[Any]]


class AgentFailed(RuntimeError):
    """Claude Code came back with an error and no answer. What the user said waits for one: say it again by its id."""


class LastResort:
    """Puts a `ClaudeSDKClient` under the law: make it with `options()`, and speak to it by `say`.

    One object serves one client, and so one session. Nothing of it is needed afterwards: a new one begins from the log.

    Args:
        chat: where.
        assessor: gives second opinions. Without one, nothing ends.

    Attributes:
        outcome: what came of the latest turn.
    """

    def __init__(self, chat: Chat, assessor: Assessor = nobody_judges) -> None:
        self._chat, self._assessor = chat, assessor
        self._said: _Said | None = None
        self.outcome: Outcome | None = None

    def options(self, theirs: ClaudeAgentOptions | None = None) -> ClaudeAgentOptions:
        """Return options with the hooks and tools of the law, and all that yours say.

        Raises:
            ValueError: their `mcp_servers` name a file, to which no server can be added.
        """
        theirs, state = theirs or ClaudeAgentOptions(), self._chat.state
        if not isinstance(theirs.mcp_servers, dict):
            raise ValueError("pass mcp_servers as a dictionary: the tools of the law are a server beside them")
        tools = [self._declared(tool) for tool in declarations(state.policy.categories, state.mode)]
        hooks: dict[HookEvent, list[HookMatcher]] = dict(theirs.hooks or {})
        ours = {"UserPromptSubmit": self._prompt, "PreToolUse": self._tool, "PostToolBatch": self._batch}
        for event, hook in cast("dict[HookEvent, Hook]", ours).items():
            guard = HookMatcher(hooks=[hook], timeout=_LONGEST_MESSAGE, on_failure="block")
            hooks[event] = [guard, *hooks.get(event, [])]
        return replace(
            theirs,
            hooks=hooks,
            mcp_servers={**theirs.mcp_servers, SERVER: create_sdk_mcp_server(SERVER, tools=tools)},
            disallowed_tools=[*theirs.disallowed_tools, _THEIR_ENDING],
            include_partial_messages=True,
            # A message that does not come as a stream could not be waited for.
            env={"CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1", **theirs.env},
        )

    async def say(
        self,
        client: ClaudeSDKClient,
        words: str,
        *,
        sent_as: str | None = None,
        asks_to_end: bool = False,
        confirms_end: bool = False,
    ) -> AsyncIterator[str]:
        """Say something to the agent, and yield what to show of the answer, in pieces. Read it to the end.

        Args:
            client: made with `options()`, and connected.
            words: what the user says.
            sent_as: its id: sent again under the same one, it is said once.
            asks_to_end, confirms_end: whether the user, by a control of the application, asks to end or confirms it.

        Raises:
            AgentFailed: there is no answer.
        """
        said = self._said = _Said(Turn(self._chat, self._assessor))
        turn, sent_as = said.turn, sent_as or self._chat.conversations.new_id()
        self.outcome = None
        if await asyncio.to_thread(turn.begin, words, sent_as, asks=asks_to_end, confirms=confirms_end):
            yield turn.shown
        else:
            await client.query(words)
            async for message in client.receive_response():
                if piece := await said.read(message):
                    yield piece
                if isinstance(message, ResultMessage) and message.is_error and not said.shown:
                    raise AgentFailed(f"Claude Code came to no answer: {message.subtype} {message.api_error_status}")
        was_over = turn.over is not None
        self.outcome = await asyncio.to_thread(turn.finish, whole=said.whole)
        if isinstance(self.outcome, Ended) and not was_over:
            yield BETWEEN + self.outcome.notice if said.shown else self.outcome.notice

    def _declared(self, tool: Tool) -> SdkMcpTool[Any]:
        async def came_of(input: dict[str, Any]) -> dict[str, Any]:
            came = self._said.came_of(tool.name, input) if self._said else notes.OF_TASK
            return {"content": [{"type": "text", "text": came}]}

        return SdkMcpTool(tool.name, tool.description, tool.schema, came_of)

    async def _prompt(self, given: Any, id: str | None, context: Any) -> Any:
        if self._said is None or not await self._said.may_ask():
            return {"decision": "block", "reason": "No turn is under way here: say it by LastResort.say."}
        return self._said.noted("UserPromptSubmit")

    async def _batch(self, given: Any, id: str | None, context: Any) -> Any:
        if self._said is None or "agent_id" in given:
            return {}
        if not await self._said.may_ask():
            return {"continue_": False, "stopReason": notes.NOT_RUN}
        return self._said.noted("PostToolBatch")

    async def _tool(self, given: Any, id: str | None, context: Any) -> Any:
        name, said = given["tool_name"], self._said
        ours = name.startswith(_OURS)
        if "agent_id" in given or said is None:  # a subagent, or a task in the background, acts for nobody
            if ours and said is not None:
                said.of_tasks.append(Call(given["tool_use_id"], name.removeprefix(_OURS), {}, of_task=True))
            return _denied(notes.OF_TASK) if ours or name == _THEIR_ENDING else {}
        if name == _THEIR_ENDING:
            return _denied(f"Not available here. Use {_OURS}{END}.")
        await said.came[given["tool_use_id"]].wait()
        if said.turn.stops:
            return {"continue_": False, "stopReason": notes.NOT_RUN, **_denied(notes.NOT_RUN)}
        return _decided("allow") if ours else {}


class _Said:
    """A turn under way: what the model writes, until it is carried out."""

    def __init__(self, turn: Turn) -> None:
        self.turn, self.shown, self.whole = turn, "", True
        self.came: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.of_tasks: list[Call] = []
        self._results: defaultdict[str, deque[str]] = defaultdict(deque)
        self._message: dict[str, Any] = {}
        self._calls: list[Call] = []
        self._text, self._closed = "", False
        self._noted: str | None = None

    async def may_ask(self) -> bool:
        """Say whether the model may be asked now."""
        return await asyncio.to_thread(self.turn.ask)

    def noted(self, event: str) -> dict[str, Any]:
        """Return what the model is to know, once: it stays in the session's history."""
        if self.turn.note in (None, self._noted):
            return {}
        self._noted = self.turn.note
        return {"hookSpecificOutput": {"hookEventName": event, "additionalContext": self._noted}}

    async def read(self, message: Any) -> str:
        """Take in what comes; return what to show of it. What belongs to a subagent is not the conversation's."""
        if getattr(message, "parent_tool_use_id", None) is not None:
            return ""
        if isinstance(message, AssistantMessage):
            for block in message.content:
                if isinstance(block, ToolUseBlock):
                    self._calls.append(Call(block.id, block.name.removeprefix(_OURS), block.input))
        elif isinstance(message, ResultMessage):
            self.whole = not message.is_error
        elif isinstance(message, StreamEvent):
            return await self._streamed(message.event)
        return ""

    async def _streamed(self, event: dict[str, Any]) -> str:
        match event["type"]:
            case "message_start":  # again, if the connection broke: what was shown was shown, and its calls are gone
                self._message, self._calls, self._closed = dict(event["message"]), [], False
            case "content_block_start" if event["content_block"].get("name") == _OURS + END:
                self._closed = True
            case "content_block_delta" if event["delta"]["type"] == "text_delta" and not self._closed:
                text: str = event["delta"]["text"]
                piece = BETWEEN + text if text and self.shown and not self._text else text
                self._text, self.shown = self._text + text, self.shown + piece
                return piece
            case "message_delta":
                self._message |= {"usage": event["usage"], "stop_reason": event["delta"]["stop_reason"]}
            case "message_stop":
                await self._take()
        return ""

    async def _take(self) -> None:
        used, calls = self._message["usage"], [*self._calls, *self.of_tasks]
        read = (
            used.get(kind) or 0 for kind in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        )
        await self.turn.take_awaited(
            self._message["id"],
            self._text,
            calls,
            model=self._message["model"],
            usage=Usage(input_tokens=sum(read), output_tokens=used["output_tokens"]),
            stop_reason=self._message["stop_reason"],
        )
        self._text, self.of_tasks = "", []
        self._results.clear()
        for call in self._calls:
            self._results[_key(call.name, call.input)].append(self.turn.results.get(call.id, notes.OF_TASK))
            self.came[call.id].set()

    def came_of(self, name: str, input: Any) -> str:
        """Return what came of a call. Of two that are the same the first is asked for first: they run one by one."""
        waiting = self._results[_key(name, input)]
        return waiting.popleft() if waiting else notes.OF_TASK


def _key(name: str, input: Any) -> str:
    return f"{name} {json.dumps(input, sort_keys=True)}"


def _denied(why: str) -> dict[str, Any]:
    return _decided("deny", permissionDecisionReason=why)


def _decided(decision: str, **why: str) -> dict[str, Any]:
    return {"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": decision, **why}}
