"""Conversations of an export of Claude.ai: `conversations.json`, a tree each, by `parent_message_uuid`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import fields
from .files import Value
from .left_out import LeftOut, known
from .shapes import Block, ForeignChat, Message, Speaker, Wrong

NAME = "claude-ai"
_ROOT = "00000000-0000-4000-8000-000000000000"
_SPEAKERS = {"human": Speaker.USER, "assistant": Speaker.ASSISTANT}
_UNSUPPORTED = "This block is not supported on your current device yet."
"""What stands in `text` for a call of a tool."""
_CHAT = known(
    "a conversation",
    "uuid name summary account created_at updated_at chat_messages model is_starred current_leaf_message_uuid settings "
    "project_uuid platform",
    "project",
)
_ACCOUNT = known("an account", "uuid", "full_name email_address")
_MESSAGE = known(
    "a message",
    "uuid sender text content attachments files created_at updated_at parent_message_uuid model index truncated "
    "stop_reason input_mode",
    "files_v2 sync_sources feedback chat_feedback metadata",
)
_ATTACHED = known("a file", "file_name extracted_content file_type file_size id created_at file_uuid file_kind path")
_TIMES = {"start_timestamp", "stop_timestamp"}


def knows(value: Any) -> bool:
    """Whether a value is a chat of this form."""
    return isinstance(value, dict) and isinstance(value.get("chat_messages"), list)


def read(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the chats of a file, each with its place."""
    for place, value in values:
        with fields.within(place):
            yield place, _chat(fields.an_object(value, ""))


def _chat(chat: Mapping[str, Any]) -> ForeignChat:
    fields.needed(chat.get("chat_messages"), "chat_messages")
    messages: list[Message] = []
    left = LeftOut()
    left.of(chat, _CHAT)
    left.of(account := fields.mapping(chat, "account"), _ACCOUNT)
    for number, one in enumerate(fields.objects(chat, "chat_messages"), 1):
        with fields.within(f"message {number}"):
            messages.append(_message(one, number, messages[-1].id if messages else None, left))
    summary = left.text(chat, "summary", _CHAT)
    return ForeignChat(
        format=NAME,
        id=fields.text(chat, "uuid"),
        messages=messages,
        title=fields.text(chat, "name"),
        user=fields.text(account, "uuid"),
        at=fields.time(chat, "created_at"),
        model=fields.text(chat, "model"),
        about={"summary": summary} if summary else {},
        left_out=left.counted,
    )


def _message(message: Mapping[str, Any], number: int, previous: str | None, left: LeftOut) -> Message:
    left.of(message, _MESSAGE)
    sender = fields.text(message, "sender")
    if (speaker := _SPEAKERS.get(sender or "")) is None:
        raise Wrong("sender", f"needs to be one of {', '.join(_SPEAKERS)}")
    given = fields.text(message, "uuid")
    id = given or f"{number}"
    parent = fields.text(message, "parent_message_uuid") if "parent_message_uuid" in message else previous
    said = fields.blocks(message.get("content"))
    text = (fields.text(message, "text") or "").replace(f"```\n{_UNSUPPORTED}\n```", "")
    if any(one["type"] == "text" for one in said):
        left.repeated(text, said, "text", _MESSAGE)
    elif text.strip():
        said += fields.said(text)
    for one in (*fields.objects(message, "attachments"), *fields.objects(message, "files")):
        left.of(one, _ATTACHED)
    attached = tuple(
        fields.a_file(fields.text(one, "file_name"), None, fields.text(one, "extracted_content"))
        for one in fields.objects(message, "attachments")
    )
    files = tuple(
        fields.a_file(fields.text(one, "file_name"), fields.text(one, "file_uuid"))
        for one in fields.objects(message, "files")
    )
    return Message(
        id=id,
        parent=None if parent == _ROOT else parent,
        speaker=speaker,
        blocks=(*attached, *files, *_with_ids(id, said)),
        number=number,
        at=fields.time(message, "created_at"),
        model=fields.text(message, "model"),
        named=given is not None,
    )


def _with_ids(message: str, blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield blocks without times; calls of tools and their results, where the export has no ids, with ids that pair."""
    waiting: list[tuple[Any, str]] = []  # name and id of the calls that have no result yet
    for number, block in enumerate(blocks, 1):
        found = {name: value for name, value in block.items() if name not in _TIMES}
        if block["type"] == "tool_use":
            found["id"] = block.get("id") or f"{message}~{number}"
            waiting.append((block.get("name"), found["id"]))
        elif block["type"] == "tool_result" and not block.get("tool_use_id"):
            same = [one for one in waiting if one[0] == block.get("name")] or waiting
            found["tool_use_id"] = same[0][1] if same else f"{message}~{number}"
            waiting = [one for one in waiting if one[1] != found["tool_use_id"]]
        yield found
