"""What goes over the wire: a message, the events of its stream, and errors, in the shapes of the API."""

import json
from collections.abc import Iterator
from typing import Any

Block = dict[str, Any]
"""A content block as it stands on the wire."""

_PIECE = 24  # characters of text in one delta

ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The type of an error, by its status code."""

_SAID = {
    401: "x-api-key header is required",
    429: "This request would exceed your organization's rate limit.",
    500: "Internal server error",
    504: "Request timed out",
    529: "Overloaded",
}


def error(status: int, message: str | None, request_id: str) -> dict[str, Any]:
    """Return the body of an error, in the usual words if no `message` is given."""
    kind = ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    said = message or _SAID.get(status, kind.replace("_", " "))
    return {"type": "error", "error": {"type": kind, "message": said}, "request_id": request_id}


def message(
    id: str,
    model: str,
    content: list[Block],
    usage: dict[str, Any],
    *,
    stop_reason: str | None,
    stop_sequence: str | None = None,
    stop_details: dict[str, Any] | None = None,
    container: dict[str, Any] | None = None,
    applied_edits: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return a message of the model, whole. A refusal has details, which are empty if none are given.

    Args:
        id, model, content, usage, stop_reason, stop_sequence, stop_details: as the API has them.
        container: that the code of the model ran in, its id and when it expires.
        applied_edits: what was done to the context.
    """
    if stop_reason == "refusal" and stop_details is None:
        stop_details = {"type": "refusal", "category": None, "explanation": None}
    whole = {
        "id": id, "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": stop_reason, "stop_sequence": stop_sequence, "stop_details": stop_details,
        "usage": usage,
    }  # fmt: skip
    if container is not None:
        whole["container"] = container
    if applied_edits is not None:
        whole["context_management"] = {"applied_edits": applied_edits}
    return whole


def events(whole: dict[str, Any], written: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the events that stream a message.

    Args:
        whole: the message.
        written: how far the JSON of the last block's input came, if the model was cut off while it wrote it.
    """
    usage = whole["usage"]
    begun = {**usage, "output_tokens": 1}
    begun.pop("iterations", None)
    start = {**whole, "content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None, "usage": begun}
    start.update({name: None for name in ("container", "context_management") if name in whole})
    yield {"type": "message_start", "message": {**start, "model": _begun_by(whole)}}
    for index, block in enumerate(whole["content"]):
        last = index == len(whole["content"]) - 1
        yield {"type": "content_block_start", "index": index, "content_block": _begun(block)}
        if index == 0:
            yield {"type": "ping"}
        for delta in _deltas(block, written if last else None):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ending = {
        name: whole[name] for name in ("stop_reason", "stop_sequence", "stop_details", "container") if name in whole
    }
    edits = {name: whole[name] for name in ("context_management",) if name in whole}
    yield {"type": "message_delta", "delta": ending, "usage": usage, **edits}
    yield {"type": "message_stop"}


def _begun_by(whole: dict[str, Any]) -> str:
    """Return the model that a stream begins with: not the one that took over in the middle."""
    handed_over = (block["from"]["model"] for block in whole["content"][1:] if block["type"] == "fallback")
    first = whole["content"][:1]
    return str(whole["model"] if first and first[0]["type"] == "fallback" else next(handed_over, whole["model"]))


def _begun(block: Block) -> Block:
    match block["type"]:
        case "text":
            return {**block, "text": "", **({"citations": []} if "citations" in block else {})}
        case "thinking":
            return {**block, "thinking": "", "signature": ""}
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            return {**block, "input": {}}
        case "compaction":
            return {**block, "content": None}
        case _:
            return block


def _deltas(block: Block, written: str | None) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            for piece in _pieces(block["text"]):
                yield {"type": "text_delta", "text": piece}
            for citation in block.get("citations") or []:
                yield {"type": "citations_delta", "citation": citation}
        case "thinking":
            for piece in _pieces(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "compaction":
            yield {"type": "compaction_delta", **{name: block.get(name) for name in ("content", "encrypted_content")}}
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            yield {"type": "input_json_delta", "partial_json": ""}
            for piece in _pieces(json.dumps(block["input"], ensure_ascii=False) if written is None else written):
                yield {"type": "input_json_delta", "partial_json": piece}


def _pieces(words: str) -> Iterator[str]:
    return (words[at : at + _PIECE] for at in range(0, len(words), _PIECE))


def line(event: dict[str, Any]) -> bytes:
    """Return an event as server-sent events carry it."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), as_json(event))


def as_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; half a character, which has no form there, escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
