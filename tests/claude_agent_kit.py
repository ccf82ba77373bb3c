"""What stands in place of Claude Code: a transport of the SDK's own kind, which speaks the protocol of the program.

As it does, it asks a hook for each tool as soon as its call has come, while the message goes on, and runs the tools
afterwards, side by side and each with a delay of its own.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions, Transport

from lastresort.adapters.loopback import Answer, loopback
from lastresort.adapters.loopback.answers import Request
from lastresort.adapters.loopback.server import Loopback
from lastresort.adapters.messages_api import wire
from lastresort.adapters.testing.hosts import MODEL, Message, Model, new_id

OURS = "mcp__lastresort__"
BROKEN = Message("", (("broken", {}),))
"""A message that never comes: the API is down."""
HALF: tuple[str, dict[str, Any]] = ("half", {})
"""As the last call of a message: the connection breaks before its end, and Claude Code asks again."""


def blocks(said: Message) -> list[dict[str, Any]]:
    """Return what a message of the kit holds, as the API has it. What is not of the law is named as it is."""
    content = [{"type": "text", "text": said.text}] if said.text else []
    for name, input in said.calls:
        if name == "text":
            content.append({"type": "text", **input})
        else:
            named = OURS + name if name.startswith("lastresort") else name
            content.append({"type": "tool_use", "id": new_id("toolu"), "name": named, "input": input})
    return content


class ScriptedClaudeCode(Transport):
    """Answers as Claude Code does, with what the kit's model says. A tool `Task` has a subagent call what it says."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._out: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._hooks: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = count(1)
        self.blocked: list[str] = []
        self.refused: list[str] = []
        self.context: list[str] = []

    async def connect(self) -> None:
        pass

    def is_ready(self) -> bool:
        return True

    async def end_input(self) -> None:
        pass

    async def close(self) -> None:
        self._out.put_nowait(None)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        while (message := await self._out.get()) is not None:
            yield message

    async def write(self, data: str) -> None:
        sent = json.loads(data)
        if sent["type"] == "control_response":
            answer = sent["response"]
            self._answers.pop(answer["request_id"]).set_result(answer.get("response", answer))
        elif sent["type"] == "control_request":
            self._hooks = sent["request"]["hooks"]
            done = {"hook_on_failure_supported": True}
            self._put(
                "control_response", response={"subtype": "success", "request_id": sent["request_id"], "response": done}
            )
            await self._rpc(
                "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "t", "version": "1"}
            )
        else:
            task = asyncio.create_task(self._turn(sent["message"]["content"]))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._end("error", is_error=True, errors=[repr(task.exception())])

    def _put(self, kind: str, **what: Any) -> None:
        self._out.put_nowait({"type": kind, "session_id": "s", "uuid": new_id("uuid"), **what})

    async def _request(self, **request: Any) -> Any:
        id = f"request-{next(self._numbers)}"
        answer = self._answers[id] = asyncio.get_running_loop().create_future()
        self._put("control_request", request_id=id, request=request)
        return await answer

    async def _rpc(self, method: str, **params: Any) -> Any:
        message = {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": params}
        return (await self._request(subtype="mcp_message", server_name="lastresort", message=message))["mcp_response"]

    async def _hook(self, event: str, **given: Any) -> dict[str, Any]:
        (id,) = self._hooks[event][0]["hookCallbackIds"]
        given |= {"hook_event_name": event, "session_id": "s", "transcript_path": "", "cwd": ""}
        answer = await self._request(
            subtype="hook_callback", callback_id=id, input=given, tool_use_id=given.get("tool_use_id")
        )
        self.context += filter(None, [answer.get("hookSpecificOutput", {}).get("additionalContext")])
        assert isinstance(answer, dict)
        return answer

    async def _turn(self, words: str) -> None:
        told: list[Any] = [words]
        answer = await self._hook("UserPromptSubmit", prompt=words)
        if answer.get("decision") == "block":
            self.blocked.append(words)
            return self._end("completed")
        while True:
            said = self._model([*told, *self.context])
            if said is BROKEN:
                return self._end("error", is_error=True, api_error_status=529)
            if HALF in said.calls:
                await self._message(said._replace(calls=said.calls[:-1]), half=True)
                continue
            results = await self._message(said)
            if results is None:
                return self._end("hook_stopped")
            if not results:
                return self._end("completed")
            told = results
            if (await self._hook("PostToolBatch")).get("continue") is False:
                return self._end("hook_stopped")

    def _end(self, why: str, **error: Any) -> None:
        facts = {"duration_ms": 1, "duration_api_ms": 1, "num_turns": 1, "is_error": False, "terminal_reason": why}
        self._put("result", subtype="success", **facts | error)

    async def _message(self, said: Message, *, half: bool = False) -> list[str] | None:
        """Stream a message and run its tools; return their results, None if a hook stopped it."""
        content, used = blocks(said), {"input_tokens": 3, "output_tokens": 2}
        stop = "tool_use" if said.calls else "end_turn"
        whole = wire.message(new_id("msg"), said.model, content, used, stop_reason=stop)
        asked: list[asyncio.Task[Any]] = []
        for event in wire.events(whole):
            if half and event["type"] == "message_delta":
                return None
            if event["type"] == "content_block_stop":
                block = content[event["index"]]
                self._put("assistant", parent_tool_use_id=None, message={**whole, "content": [block]})
                if block["type"] == "tool_use" and not half:
                    asked.append(asyncio.create_task(self._tool(block)))
            self._put("stream_event", parent_tool_use_id=None, event=event)
            await asyncio.sleep(0)
        results = await asyncio.gather(*asked)
        return None if None in results else results

    async def _tool(self, block: dict[str, Any]) -> str | None:
        given = {"tool_name": block["name"], "tool_input": block["input"], "tool_use_id": block["id"]}
        answer = await self._hook("PreToolUse", **given)
        if answer.get("continue") is False:
            return None
        decided = answer.get("hookSpecificOutput", {})
        if decided.get("permissionDecision") == "deny":
            self.refused.append(decided["permissionDecisionReason"])
            return str(decided["permissionDecisionReason"])
        if block["name"] == "Task":
            await self._task(block["input"])
        if not block["name"].startswith(OURS):
            return "done"
        await asyncio.sleep(self._model.delay())
        came = await self._rpc("tools/call", name=block["name"].removeprefix(OURS), arguments=block["input"])
        return str(came["result"]["content"][0]["text"])

    async def _task(self, calls: dict[str, Any]) -> None:
        self._put("stream_event", parent_tool_use_id="task", event={"type": "message_stop"})
        for name, input in calls.items():
            given = {"tool_name": name, "tool_input": input, "tool_use_id": new_id("toolu"), "agent_id": "a"}
            decided = (await self._hook("PreToolUse", **given)).get("hookSpecificOutput", {})
            self.refused.append(decided.get("permissionDecisionReason", f"{name} may run"))
        assert await self._hook("PostToolBatch", agent_id="a") == {}


@contextmanager
def claude_code(model: Model) -> Iterator[tuple[ClaudeAgentOptions, Loopback]]:
    """Have the real Claude Code that the SDK brings along ask the loopback, which answers as the kit's model."""

    def answer(request: Request) -> Answer:
        said = model(json.dumps(request.messages[-4:]))
        return Answer(blocks(said), model=said.model)

    with loopback(answer) as api, tempfile.TemporaryDirectory() as home:
        env = {
            "ANTHROPIC_BASE_URL": api.url,
            "ANTHROPIC_API_KEY": "x",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CONFIG_DIR": home,
            "HOME": home,
        }
        options = ClaudeAgentOptions(
            model=MODEL, system_prompt="Be brief.", tools=[], setting_sources=[], cwd=home, env=env
        )
        yield options, api
