"""An answer of the API: who wrote which part of it, and what it says beside its words.

The model that is asked is not always the one that answers: a server may fall back to another one in place of a refused
answer, even in the middle of it, and a router or a proxy may ask another one from the beginning. An answer says so in
three places: its `model`, a `fallback` block where one model's words give way to the next one's, and the entry of
`usage.iterations` for the attempt that served it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from anthropic.types import Message
from anthropic.types.beta import BetaMessage

from lastresort.adapters.turns.replies import Cached
from lastresort.adapters.turns.tools import Call
from lastresort.domain.values import Usage

from .words import Block, last_fallback, plain

Answer = Message | BetaMessage


def with_request_id(answer: Answer, request_id: str | None) -> Answer:
    """Return an answer that came in pieces with the id of its request, as the SDK sets it of one that came whole."""
    answer._request_id = request_id
    return answer


def model_of(answer: Answer, content: Sequence[Block]) -> str:
    """Return the name of the model that finished an answer; empty if the answer has none."""
    served = [one.get("model") for one in _told(answer.usage, "iterations") if one.get("type") == "fallback_message"]
    taken_over = [_named(block, "to") for block in content if block["type"] == "fallback"]
    named = [*taken_over, *served] or [answer.model]
    return str(named[-1] or "")


def calls_of(content: Sequence[Block], model: str) -> Iterator[Call]:
    """Yield the calls of a message that `model` finished, each with the name of the model that made it."""
    last = last_fallback(content)
    writes = [*(_named(block, "from") for block in content if block["type"] == "fallback"), model]
    for place, block in enumerate(content):
        if block["type"] == "fallback":
            writes.pop(0)
        elif block["type"] == "tool_use":
            called_by_code = (block.get("caller") or {}).get("type", "direct") != "direct"
            yield Call(block["id"], block["name"], block["input"], writes[0], place < last, of_task=called_by_code)


class Details(NamedTuple):
    """What the answers of a turn say beside its words. It has the names that a `Reply` has for it."""

    message_id: str | None = None
    request_id: str | None = None
    refusal_category: str | None = None
    cached: Cached = Cached()
    applied_edits: tuple[dict[str, Any], ...] = ()

    def after(self, answer: Answer) -> "Details":
        """Return what they say with another one."""
        used, why = answer.usage, answer.stop_details
        edits = _told(answer, "context_management").get("applied_edits") or ()
        return Details(
            answer.id,
            getattr(answer, "_request_id", None),
            why.category if why is not None else None,
            Cached(
                self.cached.read + (used.cache_read_input_tokens or 0),
                self.cached.written + (used.cache_creation_input_tokens or 0),
            ),
            (*self.applied_edits, *edits),
        )


def _told(told: Any, name: str) -> Any:
    """Return a field as JSON, empty if there is none: of answers to betas the SDK knows it, of others it keeps it."""
    return plain(getattr(told, name, None)) or {}


def container_of(answer: Answer) -> dict[str, Any] | None:
    """Return the container that the code of an answer ran in, None if there is none."""
    if answer.container is None:
        return None
    kept: dict[str, Any] = plain(answer.container)
    return {name: kept[name] for name in ("id", "expires_at") if name in kept}


def usage_of(answer: Answer) -> Usage:
    """Return what an answer took, cached or not."""
    used = answer.usage
    read = used.input_tokens + (used.cache_creation_input_tokens or 0) + (used.cache_read_input_tokens or 0)
    return Usage(input_tokens=read, output_tokens=used.output_tokens)


def _named(block: Block, side: str) -> str:
    return str((block.get(side) or {}).get("model") or "")
