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
    """

    content: list[Block]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        calls = any(block["type"] == "tool_use" for block in self.content)
        reason = self.stop_reason or ("tool_use" if calls else "end_turn")
        if reason not in STOP_REASONS:
            raise ValueError(f"unknown stop reason {reason!r}; use one of: {', '.join(STOP_REASONS)}")
        if reason == "tool_use" and not calls:
            raise ValueError("an answer that stops for tool_use calls a tool: add a block by tool_use(...)")
        if reason in ("end_turn", "stop_sequence", "pause_turn") and calls:
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
    """An event whose data is no JSON, then the end of the stream."""
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
