"""What a script answers with: content blocks and a stop reason, or a fault; and the request that it is asked with."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, get_args

from anthropic.types import StopReason
from jiter import from_json

from lastresort.adapters.messages_api.wire import Block

STOP_REASONS: tuple[str, ...] = get_args(StopReason)
AFTER_COMPACTION = "compaction"
"""The stop reason that a beta adds."""


@dataclass(frozen=True)
class Request:
    """A request that passed the checks.

    `seed` names its words, the turns before them, and how often the same was asked before; whatever a script draws from
    it is the same in the next run. `conversation` is the number of the conversation that it goes on with, from 0.
    """

    body: dict[str, Any]
    headers: Mapping[str, str]
    seed: str
    conversation: int

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body["messages"])

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The declared tools, the server's own left out."""
        return [tool for tool in self.body.get("tools") or [] if "input_schema" in tool]

    @property
    def last_text(self) -> str:
        """What the last message says in text blocks, joined by newlines."""
        content = self.messages[-1]["content"]
        if isinstance(content, str):
            return content
        return "\n".join(block["text"] for block in content if block["type"] == "text")

    @property
    def results(self) -> list[dict[str, Any]]:
        """The `tool_result` blocks of the last message."""
        content = self.messages[-1]["content"]
        return [] if isinstance(content, str) else [block for block in content if block["type"] == "tool_result"]


@dataclass(frozen=True)
class Answer:
    """A message of the model. Its `thinking` blocks need no signature: the loopback signs what it sends.

    Without a stop reason it stops for `tool_use` if it calls a tool, else at `end_turn`. Cut off by `max_tokens` while
    it writes the input of a tool, as its last block, it sends the first half of that input, as the API may.

    It is by the model that was asked, unless it names another `model`. One that another model took over from has a
    `fallback` block there, and an entry of `iterations` for each attempt. `container` is where code ran,
    `applied_edits` what was done to the context; both stand on the wire as the API has them.
    """

    content: list[Block]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    model: str | None = None
    iterations: list[dict[str, Any]] | None = None
    container: dict[str, Any] | None = None
    applied_edits: list[dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        calls = any(block["type"] == "tool_use" for block in self.content)
        reason = self.stop_reason or ("tool_use" if calls else "end_turn")
        if reason not in (*STOP_REASONS, AFTER_COMPACTION):
            raise ValueError(f"unknown stop reason (length {len(reason)}); use one of: {', '.join(STOP_REASONS)}")
        if reason == "tool_use" and not calls:
            raise ValueError("an answer that stops for tool_use calls a tool: add a block by tool_use(...)")
        taken_over = any(block["type"] == "fallback" for block in self.content)
        if reason in ("end_turn", "stop_sequence", "pause_turn") and calls and not taken_over:
            raise ValueError(f"an answer that calls a tool does not stop at {reason}")
        if (reason == "stop_sequence") != (self.stop_sequence is not None):
            raise ValueError("stop_sequence is given with the stop reason stop_sequence, and only with it")
        object.__setattr__(self, "stop_reason", reason)

    @property
    def half_a_call(self) -> tuple[str, dict[str, Any]] | None:
        """The JSON of an input that was cut off, and what the SDK makes of it; None if none was cut off."""
        calls = bool(self.content) and self.content[-1]["type"] == "tool_use"
        return _halved(self.content[-1]["input"]) if calls and self.stop_reason == "max_tokens" else None


class FaultKind(StrEnum):
    """What can go wrong instead of an answer, or in the middle of one."""

    STATUS = "status"
    """An error with its status code, before anything else."""
    HANG = "hang"
    """Nothing more comes until the client or the loopback closes."""
    DROP = "drop"
    """The connection is closed."""
    END = "end"
    """The stream ends as if it were whole."""
    MALFORMED = "malformed"
    """An event whose data is not JSON, then the end of the stream."""
    ERROR_EVENT = "error_event"
    """An `error` event, then the end of the stream."""


@dataclass(frozen=True)
class Fault:
    """A fault, after the first `events` events of the stream of `answer`, or the first `bytes` bytes.

    Without `stream` in the request, `bytes` counts those of the body, and `events` counts nothing; what would have been
    an event gone wrong is then an error with status 500, or with that of the fault.
    """

    kind: FaultKind
    answer: Answer = field(default_factory=lambda: Answer([text("This is cut off somewhere.")]))
    events: int = 0
    bytes: int = 0
    status: int = 529
    retry_after: float | None = None
    message: str | None = None


Scripted = Answer | Fault | str
Script = Callable[[Request], Scripted] | Iterable[Scripted]
"""What answers: a function of the request, or answers in order, a string being text that ends the turn."""


def text(words: str, *, citations: list[dict[str, Any]] | None = None) -> Block:
    """Return a text block."""
    return {"type": "text", "text": words, **({"citations": citations} if citations else {})}


def thinking(words: str) -> Block:
    """Return a thinking block, which is signed when it is sent."""
    return {"type": "thinking", "thinking": words}


def redacted_thinking(words: str = "hidden") -> Block:
    """Return a thinking block that shows nothing."""
    return {"type": "redacted_thinking", "data": words}


def tool_use(name: str, input: dict[str, Any] | None = None, *, id: str | None = None) -> Block:
    """Return a call of a tool. If no id is given, it gets one from the request when it is sent."""
    return {"type": "tool_use", "name": name, "input": input or {}, **({"id": id} if id else {})}


def fallback(declined: str, served: str, *, category: str | None = None) -> Block:
    """Return the block where the words of a model that `declined` give way to those of the one that `served`."""
    trigger = {"type": "refusal", "category": category}
    return {"type": "fallback", "from": {"model": declined}, "to": {"model": served}, "trigger": trigger}


def iteration(kind: str, model: str, input_tokens: int = 10, output_tokens: int = 5) -> dict[str, Any]:
    """Return an entry of `usage.iterations`: `message` of an attempt that was declined, `fallback_message` of the one
    that served the answer."""
    cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation": None}
    return {
        "type": kind, "model": model, "input_tokens": input_tokens, "output_tokens": output_tokens, **cached
    }  # fmt: skip


def compaction(summary: str | None) -> Block:
    """Return a block that stands for all before it."""
    return {"type": "compaction", "content": summary}


def server_tool(name: str, input: dict[str, Any], id: str, *, server: str | None = None) -> Block:
    """Return a call of a tool that runs at the server: one of the API's own, or one of an MCP `server`."""
    if server is not None:
        return {"type": "mcp_tool_use", "id": id, "name": name, "input": input, "server_name": server}
    return {"type": "server_tool_use", "id": id, "name": name, "input": input}


def failing(status: int, *, retry_after: float | None = None, message: str | None = None) -> Fault:
    """Return an error in place of an answer; `retry_after` is in seconds."""
    return Fault(FaultKind.STATUS, status=status, retry_after=retry_after, message=message)


def hanging(answer: Answer | None = None, *, events: int = 0) -> Fault:
    """Return an answer that stalls after so many events of its stream, with the connection open."""
    return _within(FaultKind.HANG, answer, events=events)


def dropped(answer: Answer | None = None, *, events: int = 0, bytes: int = 0) -> Fault:
    """Return an answer whose connection is closed after so many events or bytes."""
    return _within(FaultKind.DROP, answer, events=events, bytes=bytes)


def ended(answer: Answer | None = None, *, events: int = 0) -> Fault:
    """Return an answer whose stream ends cleanly after so many events, without the rest."""
    return _within(FaultKind.END, answer, events=events)


def malformed(answer: Answer | None = None, *, events: int = 0) -> Fault:
    """Return an answer whose stream turns into no JSON after so many events."""
    return _within(FaultKind.MALFORMED, answer, events=events)


def interrupted(answer: Answer | None = None, *, events: int = 0, status: int = 529) -> Fault:
    """Return an answer whose stream ends in an `error` event: overloaded for 529, an error of the API for 500."""
    return _within(FaultKind.ERROR_EVENT, answer, events=events, status=status)


def _within(kind: FaultKind, answer: Answer | None, **where: Any) -> Fault:
    return Fault(kind, answer, **where) if answer else Fault(kind, **where)


def _halved(input: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the first half of a tool's input as it is streamed, and what the SDK makes of it."""
    whole = json.dumps(input, ensure_ascii=False)
    half = whole[: len(whole) // 2]
    return half, from_json(half.encode(), partial_mode=True) or {}
