"""A request of a client, read: what it asks for, whose conversation it may be, and whether it comes under the law."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from lastresort.adapters.turns.tools import CALLS

from . import answers
from .answers import Broken, deeper_than, parsed
from .canon import Group, Message, blocks_of, groups_of
from .visitors import Declined

MOST_DEPTH = 128
"""How deep the JSON of a request may be nested: what is kept of it is read again wherever a turn is."""


class Asked(NamedTuple):
    """A request.

    Attributes:
        body: as it was sent, read.
        raw: its bytes.
        headers: by their names in lower case.
        groups: its messages by role, a prefill aside.
        prefill: what the client has the answer begin with.
        last: the place of the group with the user's last turn; None if there is none.
    """

    body: dict[str, Any]
    raw: bytes
    headers: Mapping[str, str]
    groups: list[Group]
    prefill: Message | None
    last: int | None

    @property
    def messages(self) -> list[Message]:
        """The messages, the prefill aside."""
        messages: list[Message] = self.body["messages"]
        return messages[:-1] if self.prefill is not None else messages

    @property
    def streams(self) -> bool:
        """Whether the answer is to come in pieces."""
        return self.body.get("stream") is True

    @property
    def is_sent_again(self) -> bool:
        """Whether the client's SDK says that it sends it again."""
        return self.headers.get("x-stainless-retry-count", "0").strip() not in ("", "0")

    @property
    def results(self) -> list[str]:
        """The ids of the calls whose results it brings, if it goes on with a turn that waited for tools."""
        return self.groups[-1].results if self.groups else []

    @property
    def user(self) -> str | None:
        """Who its user is, as the client names them."""
        metadata = self.body.get("metadata")
        named = metadata.get("user_id") if isinstance(metadata, dict) else None
        return named if isinstance(named, str) and named else None

    @property
    def session(self) -> str | None:
        """The session that the client says it is part of."""
        if session := self.headers.get("x-claude-code-session-id"):
            return session
        try:
            told = json.loads(self.user or "")
        except (ValueError, RecursionError):
            return None
        session = told.get("session_id") if isinstance(told, dict) else None
        return session if isinstance(session, str) and session else None

    def why_untracked(self, track: str) -> str | None:
        """Return why a request acts for nobody, None if it comes under the law."""
        named = self.headers.get("lastresort-conversation")
        if named == "none" or (track == "header" and named is None):
            return "the client says so"
        if "x-claude-code-agent-id" in self.headers or self.headers.get("x-app") == "cli-bg":
            return "an agent's"
        if "compaction" in self.body or self.last is None:
            return "no turn of a user"
        return None


def read(raw: bytes, headers: Mapping[str, str]) -> Asked:
    """Read a request.

    Raises:
        Declined: it is none that the gateway takes.
    """
    try:
        body = parsed(raw)
    except ValueError:
        raise Declined(400, "The request body is not valid JSON") from None
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise Declined(400, "messages: Field required")
    if deeper_than(body, MOST_DEPTH):
        raise Declined(400, f"The request body is nested deeper than {MOST_DEPTH}")
    if not all(isinstance(message, dict) for message in body["messages"]):
        raise Declined(400, "messages: each is an object")
    if not isinstance(body.get("model"), str):
        raise Declined(400, "model: Field required")
    if "thread" in body:
        raise Declined(
            400, "thread: this endpoint keeps no threads; send whole histories",
            details={"error_code": "thread_unsupported_request", "unsupported": []},
        )  # fmt: skip
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        raise Declined(400, "tools: Input should be a valid list")
    if any(isinstance(one, dict) and _is_ours(one.get("name")) for one in tools):
        raise Declined(400, "tools: a name that begins with lastresort_ is the gateway's own")
    body["messages"] = without_ours(body["messages"])
    groups, prefill = groups_of(body["messages"]), None
    if groups and groups[-1].role == "assistant":
        prefill = _checked_prefill(body["messages"][-1])
        groups = groups_of(body["messages"][:-1])
    last = next((n for n in range(len(groups) - 1, -1, -1) if groups[n].role == "user" and not groups[n].results), None)
    return Asked(body, raw, headers, groups, prefill, last)


def _is_ours(name: Any) -> bool:
    return isinstance(name, str) and name in CALLS


def _checked_prefill(message: Message) -> Message:
    """Return what an answer is to begin with. Raises Declined: it is no message."""
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    try:
        answers.message({"content": blocks})
        if not blocks or any(one["type"] == "text" and "text" not in one for one in blocks):
            raise Broken
    except Broken:
        raise Declined(400, "messages: the last one, which the answer is to begin with, is not a message") from None
    return message


def without_ours(messages: list[Message]) -> list[Message]:
    """Return what a client shows without calls of our tools and results of these. No client was ever shown one, so
    one that is shown was made up: the real ones are in the log."""
    forged = {
        str(block.get("id"))
        for message in messages
        for block in blocks_of(message.get("content"))
        if block.get("type") == "tool_use" and _is_ours(block.get("name"))
    }
    if not forged:
        return messages
    kept = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            left = [block for block in content if not (isinstance(block, dict) and _names(block) in forged)]
            if left:
                kept.append({**message, "content": left})
        else:
            kept.append(message)
    return kept


def _names(block: dict[str, Any]) -> str | None:
    """Return the call that a block is, or is the result of."""
    kind = block.get("type")
    named = block.get("id") if kind == "tool_use" else block.get("tool_use_id") if kind == "tool_result" else None
    return None if named is None else str(named)
