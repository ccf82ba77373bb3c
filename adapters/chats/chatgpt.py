"""Conversations of a ChatGPT export: `conversations.json`, a tree each, by `mapping`."""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from . import fields
from .files import Value
from .left_out import LeftOut, known, says
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
_TEXTS = (
    "title", "name", "url", "text", "result", "summary", "snippet", "content", "user_profile", "user_instructions",
    "model_set_context", "repo_summary",
)  # fmt: skip
"""What is text of content that is no list of parts, in the order in which it is kept."""
_NO_WORDS = frozenset(
    ("content_type", "language", "response_format_name", "domain", "tether_id", "pub_type", "attribution", "ref_id",
     "source_analysis_msg_id", "direction", "decoding_id")
)  # fmt: skip
_CHAT = known(
    "a conversation",
    "id conversation_id title create_time update_time mapping current_node plugin_ids default_model_slug gizmo_id "
    "gizmo_type conversation_template_id conversation_origin async_status voice memory_scope workspace_id owner "
    "disabled_tool_ids safe_urls blocked_urls pinned_time context_scopes",
    "moderation_results",
)
_NODE = known("a node", "id message parent children")
_MESSAGE = known(
    "a message", "id author create_time update_time content status end_turn weight metadata recipient channel"
)
_AUTHOR = known("an author", "role name", "metadata")
_METADATA = known(
    "the metadata of a message",
    "attachments model_slug default_model_slug finish_details request_id message_type parent_id timestamp_ "
    "is_user_system_message is_visually_hidden_from_conversation user_context_message_data turn_exchange_id "
    "message_source requested_model_slug reasoning_status finished_text initial_text safe_urls gizmo_id kwargs "
    "voice_mode_message exclusive_key serialization_metadata paragen_variant_choice invoked_plugin status "
    "jit_plugin_data async_task_id async_task_type async_task_title filter_news_results real_time_audio_has_video "
    "resolved_model_slug selected_github_repos selected_sources thinking_effort classifier_response system_hints "
    "command",
    "citations _cite_metadata content_references search_result_groups search_queries search_display_string "
    "aggregate_result canvas image_results targeted_reply caterpillar_selected_sources dalle "
    "augmented_paragen_prompt_label",
)
_ATTACHMENT = known("a file", "id name mime_type size source height width file_token_size mimeType library_file_id")
_POINTER = known("a part of a message", "content_type asset_pointer format fovea", "metadata")
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
    left = LeftOut()
    left.of(chat, _CHAT)
    nodes = {}
    for number, (id, node) in enumerate(mapping.items(), 1):
        nodes[id] = fields.an_object(node, f"mapping, node {number}")
    messages: dict[str, Message] = {}
    for number, (id, node) in enumerate(nodes.items(), 1):
        with fields.within(f"mapping, node {number}"):
            if (message := _message(id, node, number, nodes, left)) is not None:
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
        left_out=left.counted,
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


def _message(
    id: str, node: Mapping[str, Any], number: int, nodes: Mapping[str, Mapping[str, Any]], left: LeftOut
) -> Message | None:
    left.of(node, _NODE)
    message = fields.mapping(node, "message")
    if not message:
        return None
    left.of(message, _MESSAGE)
    author, metadata = fields.mapping(message, "author"), fields.mapping(message, "metadata")
    left.of(author, _AUTHOR)
    left.of(metadata, _METADATA)
    role = fields.needed(fields.text(author, "role"), "author.role")
    if (speaker := _SPEAKERS.get(role)) is None:
        raise Wrong("author.role", f"needs to be one of {', '.join(_SPEAKERS)}")
    if speaker is Speaker.USER and (
        metadata.get("is_user_system_message") is True or metadata.get("is_visually_hidden_from_conversation") is True
    ):
        speaker = Speaker.SYSTEM  # what the product says to the model, under the user's name
    parent = fields.text(node, "parent")
    recipient = fields.text(message, "recipient") or _TO_ALL
    blocks = _blocks(fields.mapping(message, "content"), left)
    if speaker is Speaker.ASSISTANT and recipient != _TO_ALL:
        blocks = (_call(id, recipient, blocks),)
    elif speaker is Speaker.TOOL:
        called = parent if parent is not None and _calls(nodes.get(parent, {})) else id
        blocks = ({"type": "tool_result", "tool_use_id": called, "content": list(blocks)},)
    for one in fields.objects(metadata, "attachments"):
        left.of(one, _ATTACHMENT)
        blocks += (fields.a_file(fields.text(one, "name"), fields.text(one, "id")),)
    named = left.text(author, "name", _MESSAGE)
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
        extra={"name": named} if named else {},
    )


def _stopped(message: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    details = fields.text(fields.mapping(metadata, "finish_details"), "type")
    status = fields.text(message, "status")
    return details or (status if status != "finished_successfully" else None)


def _calls(node: Mapping[str, Any]) -> bool:
    message = node.get("message")
    return isinstance(message, dict) and message.get("recipient") not in (None, _TO_ALL)


def _call(id: str, recipient: str, blocks: tuple[Block, ...]) -> Block:
    said = fields.whole(str(one.get("text", "")) for one in blocks if one["type"] == "text")
    shown = [one for one in blocks if one["type"] != "text"]  # a picture that it is to change, say
    given = {"text": said or "", **({"content": shown} if shown else {})}
    return {"type": "tool_use", "id": id, "name": recipient, "input": given}


def _blocks(content: Mapping[str, Any], left: LeftOut) -> tuple[Block, ...]:
    """Return all that content holds. What stands in no field that holds text in any kind is kept as it is."""
    kind = fields.text(content, "content_type")
    if "parts" in content:
        parts = fields.listed(content, "parts")
        said = tuple(block for nth, part in enumerate(parts, 1) for block in _part(part, f"content.parts, {nth}", left))
        return (*said, *_rest(kind, content, {"parts"}))
    if kind == "thoughts":
        thoughts = fields.objects(content, "thoughts")
        said = tuple(
            {"type": "thinking", "thinking": fields.whole((fields.text(one, "summary"), fields.text(one, "content")))}
            for one in thoughts
        )
        for one in thoughts:
            said += _rest(kind, one, {"summary", "content", "finished", "chunks"})  # the content, as it came in bits
        return (*said, *_rest(kind, content, {"thoughts"}))
    texts = {name: found for name in _TEXTS if isinstance(found := content.get(name), str)}
    text, rest = fields.whole(texts.values()), _rest(kind, content, texts)
    if kind == "reasoning_recap":
        return ({"type": "thinking", "thinking": text or ""}, *rest)
    return (*fields.said(text), *rest)


def _rest(kind: str | None, content: Mapping[str, Any], taken: Container[str]) -> tuple[Block, ...]:
    """Return what content holds beside what was taken of it, as a document; none if there is no text in that."""
    rest = {name: value for name, value in content.items() if name not in taken and name not in _NO_WORDS}
    return (fields.unknown(kind, rest),) if says(rest) else ()


def _part(part: Any, where: str, left: LeftOut) -> tuple[Block, ...]:
    if isinstance(part, str):
        return fields.said(part)
    found = fields.an_object(part, where)
    text, kind = fields.text(found, "text"), fields.text(found, "content_type")
    if text is not None:
        return (*fields.said(text), *_rest(kind, found, {"text"}))
    if (pointer := fields.text(found, "asset_pointer")) is None:
        return (fields.unknown(kind, found),)
    left.of(found, _POINTER)
    return (fields.a_file(None, pointer, kind="image" if "image" in (kind or "") else "document"),)
