"""Conversations of a ChatGPT export: `conversations.json`, a tree each, by `mapping`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from . import fields
from .files import Value
from .shapes import Aside, Block, ForeignChat, Message, Speaker, Wrong

NAME = "chatgpt"

_SPEAKERS = {
    "user": Speaker.USER,
    "assistant": Speaker.ASSISTANT,
    "tool": Speaker.TOOL,
    "system": Speaker.SYSTEM,
    "developer": Speaker.SYSTEM,
}
_TO_ALL = "all"
_TEXTS = ("title", "text", "result", "content", "user_profile", "user_instructions")
EMPTY = "a message of the system with nothing in it"


def knows(value: Any) -> bool:
    """Whether a value is a chat of this form."""
    return isinstance(value, dict) and isinstance(value.get("mapping"), dict)


def read(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the chats of a file, each with its place."""
    for place, value in values:
        with fields.within(place):
            yield place, _chat(fields.an_object(value, ""))


def _chat(chat: Mapping[str, Any]) -> ForeignChat:
    fields.needed(chat.get("mapping"), "mapping")
    mapping = fields.mapping(chat, "mapping")
    nodes = {}
    for number, (id, node) in enumerate(mapping.items(), 1):
        nodes[id] = fields.an_object(node, f"mapping, node {number}")
    messages: dict[str, Message] = {}
    for number, (id, node) in enumerate(nodes.items(), 1):
        with fields.within(f"mapping, node {number}"):
            if (message := _message(id, node, number, nodes)) is not None:
                messages[id] = message
    above: dict[str | None, str | None] = {}
    for id, message in messages.items():
        messages[id] = replace(message, parent=_said_before(message.parent, nodes, messages, above))
    empty = sum(node.get("message") is not None for node in nodes.values()) - len(messages)
    return ForeignChat(
        format=NAME,
        id=fields.text(chat, "conversation_id") or fields.text(chat, "id"),
        messages=tuple(messages.values()),
        title=fields.text(chat, "title"),
        at=fields.time(chat, "create_time"),
        asides=(Aside(EMPTY, empty),) if empty else (),
    )


def _said_before(
    id: str | None,
    nodes: Mapping[str, Mapping[str, Any]],
    messages: Mapping[str, Message],
    above: dict[str | None, str | None],
) -> str | None:
    """Return the nearest message above, past nodes that hold none; an id that is not there stays as it is.

    `above` keeps what was found, so that a long way is gone once.
    """
    passed: dict[str | None, None] = {}
    while id is not None and id in nodes and id not in messages and id not in passed and id not in above:
        passed[id] = None
        id = fields.text(nodes[id], "parent")
    found = above.get(id, id)
    above.update(dict.fromkeys(passed, found))
    return found


def _message(id: str, node: Mapping[str, Any], number: int, nodes: Mapping[str, Mapping[str, Any]]) -> Message | None:
    message = fields.mapping(node, "message")
    if not message:
        return None
    author, metadata = fields.mapping(message, "author"), fields.mapping(message, "metadata")
    role = fields.needed(fields.text(author, "role"), "author.role")
    if (speaker := _SPEAKERS.get(role)) is None:
        raise Wrong("author.role", f"needs to be one of {', '.join(_SPEAKERS)}")
    if speaker is Speaker.USER and (
        metadata.get("is_user_system_message") is True or metadata.get("is_visually_hidden_from_conversation") is True
    ):
        speaker = Speaker.SYSTEM  # what the product says to the model, under the user's name
    parent = fields.text(node, "parent")
    recipient = fields.text(message, "recipient") or _TO_ALL
    blocks = _blocks(fields.mapping(message, "content"))
    if speaker is Speaker.ASSISTANT and recipient != _TO_ALL:
        blocks = (_call(id, recipient, blocks),)
    elif speaker is Speaker.TOOL:
        called = parent if parent is not None and _calls(nodes.get(parent, {})) else id
        blocks = ({"type": "tool_result", "tool_use_id": called, "content": list(blocks)},)
    blocks += tuple(
        fields.a_file(fields.text(one, "name"), fields.text(one, "id"))
        for one in fields.objects(metadata, "attachments")
    )
    if speaker is Speaker.SYSTEM and not blocks:
        return None
    return Message(
        id=id,
        parent=parent,
        speaker=speaker,
        blocks=blocks,
        number=number,
        at=fields.time(message, "create_time"),
        model=fields.text(metadata, "model_slug") if speaker is Speaker.ASSISTANT else None,
        stop_reason=_stopped(message, metadata) if speaker is Speaker.ASSISTANT else None,
    )


def _stopped(message: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    details = fields.text(fields.mapping(metadata, "finish_details"), "type")
    status = fields.text(message, "status")
    return details or (status if status != "finished_successfully" else None)


def _calls(node: Mapping[str, Any]) -> bool:
    message = node.get("message")
    return isinstance(message, dict) and message.get("recipient") not in (None, _TO_ALL)


def _call(id: str, recipient: str, blocks: tuple[Block, ...]) -> Block:
    said = fields.whole(str(one.get("text", "")) for one in blocks)
    return {"type": "tool_use", "id": id, "name": recipient, "input": {"text": said or ""}}


def _blocks(content: Mapping[str, Any]) -> tuple[Block, ...]:
    kind = fields.text(content, "content_type")
    if "parts" in content:
        parts = fields.listed(content, "parts")
        return tuple(block for nth, part in enumerate(parts, 1) for block in _part(part, f"content.parts, {nth}"))
    if kind == "thoughts":
        thoughts = fields.objects(content, "thoughts")
        return tuple(
            {"type": "thinking", "thinking": fields.whole((fields.text(one, "summary"), fields.text(one, "content")))}
            for one in thoughts
        )
    text = fields.whole(fields.text(content, name) for name in _TEXTS)
    if kind == "reasoning_recap":
        return ({"type": "thinking", "thinking": text or ""},)
    return fields.said(text)


def _part(part: Any, where: str) -> tuple[Block, ...]:
    if isinstance(part, str):
        return fields.said(part)
    found = fields.an_object(part, where)
    text = fields.text(found, "text")
    if text is not None:
        return fields.said(text)
    pointer = fields.text(found, "asset_pointer")
    kind = "image" if "image" in (fields.text(found, "content_type") or "") else "document"
    return (fields.a_file(None, pointer, kind=kind),)
