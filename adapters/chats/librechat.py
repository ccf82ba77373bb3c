"""Exports of LibreChat: a conversation in a file, its messages within each other, or flat with `parentMessageId`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lastresort.domain.values import Rating

from . import fields
from .files import Value
from .left_out import LeftOut, known
from .shapes import Block, ForeignChat, Message, Speaker, Wrong

NAME = "librechat"
_ROOT = "00000000-0000-0000-0000-000000000000"
_CHAT = known(
    "a conversation",
    "conversationId title options messages endpoint exportAt branches recursive user createdAt updatedAt _id __v",
    "tags",
)
_OPTIONS = known(
    "the options of a conversation",
    "promptPrefix system model endpoint endpointType presetId agent_id assistant_id chatGptLabel modelLabel title "
    "greeting "
    "conversationId user spec iconURL tools imageDetail resendFiles stop reasoning_effort artifacts _id createdAt "
    "updatedAt messages files key",
    "examples instructions additional_instructions context",
)
_MESSAGE = known(
    "a message",
    "messageId parentMessageId isCreatedByUser sender text content files attachments createdAt updatedAt model "
    "finish_reason unfinished feedback error children user conversationId endpoint iconURL _id __v id depth "
    "siblingIndex "
    "clientId overrideParentMessageId bg thread_id invocationId conversationSignature expiredAt isEdited",
    "quotes summary plugin plugins metadata manualSkills alwaysAppliedSkills",
)
_FILE = known(
    "a file",
    "file_id temp_file_id filename filepath type text bytes source embedded width height object usage context user "
    "_id __v "
    "createdAt updatedAt expiresAt progress model status preview messageId toolCallId conversationId name",
)
_PART = known("a part of a message", "type text think tool_call tool_call_ids agentId groupId", "signature annotations")
_CALL = known("a call of a tool", "id name args output type progress expires_at", "auth attachments")
_FEEDBACK = known("feedback", "rating text tag")
_RATINGS = {"thumbsUp": Rating.UP, "thumbsDown": Rating.DOWN}


def knows(value: Any) -> bool:
    """Whether a value is a chat of this form."""
    if not isinstance(value, dict) or not isinstance(messages := value.get("messages"), list):
        return False
    return "conversationId" in value or any(isinstance(one, dict) and "isCreatedByUser" in one for one in messages[:1])


def read(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the chats of a file, each with its place."""
    for place, value in values:
        with fields.within(place):
            yield place, _chat(fields.an_object(value, ""))


def _chat(chat: Mapping[str, Any]) -> ForeignChat:
    fields.needed(chat.get("messages"), "messages")
    options = fields.mapping(chat, "options")
    messages: list[Message] = []
    left = LeftOut()
    left.of(chat, _CHAT)
    left.of(options, _OPTIONS)
    user = None
    for number, (one, above) in enumerate(_flat(chat), 1):
        with fields.within(f"message {number}"):
            messages.append(_message(one, above, number, left))
            user = user or fields.text(one, "user")
    return ForeignChat(
        format=NAME,
        id=fields.text(chat, "conversationId"),
        messages=messages,
        title=fields.text(chat, "title"),
        user=user,
        at=messages[0].at if messages else None,
        system=fields.whole((fields.text(options, "promptPrefix"), fields.text(options, "system"))),
        left_out=left.counted,
    )


def _flat(chat: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    """Yield the messages, each with the id of the one that it stands within."""
    left: list[tuple[Mapping[str, Any], str | None]] = [
        (one, None) for one in reversed(fields.objects(chat, "messages"))
    ]
    while left:
        message, above = left.pop()
        yield message, above
        id = fields.text(message, "messageId")
        left += [(one, id) for one in reversed(fields.objects(message, "children"))]


def _message(message: Mapping[str, Any], above: str | None, number: int, left: LeftOut) -> Message:
    left.of(message, _MESSAGE)
    id = fields.needed(fields.text(message, "messageId"), "messageId")
    by_user = message.get("isCreatedByUser")
    if not isinstance(by_user, bool):
        raise Wrong("isCreatedByUser", f"true or false is needed, not {fields.kind_of(by_user)}")
    speaker = Speaker.USER if by_user else Speaker.ASSISTANT
    parent = fields.text(message, "parentMessageId") or above
    unfinished = "unfinished" if message.get("unfinished") is True else None
    feedback = fields.mapping(message, "feedback")
    left.of(feedback, _FEEDBACK)
    answered = speaker is Speaker.ASSISTANT
    if answered and message.get("error") is True:
        speaker = Speaker.SYSTEM  # the program's own words
    files = tuple(
        _file(one, left) for one in (*fields.objects(message, "files"), *fields.objects(message, "attachments"))
    )
    return Message(
        id=id,
        parent=None if parent == _ROOT else parent,
        speaker=speaker,
        blocks=(*files, *_content(message, id, left)),
        number=number,
        at=fields.time(message, "createdAt"),
        model=fields.text(message, "model") if answered else None,
        stop_reason=(fields.text(message, "finish_reason") or unfinished) if answered else None,
        rating=_RATINGS.get(fields.text(feedback, "rating") or ""),
        remark=fields.text(feedback, "text"),
        extra={"feedback": {"tag": feedback["tag"]}} if "tag" in feedback else {},
    )


def _file(one: Mapping[str, Any], left: LeftOut) -> Block:
    left.of(one, _FILE)
    kind = "image" if (fields.text(one, "type") or "").startswith("image/") else "document"
    text = left.text(one, "text", _FILE) or None
    return fields.a_file(
        fields.text(one, "filename"), fields.text(one, "file_id"), text, kind="document" if text else kind
    )


def _content(message: Mapping[str, Any], id: str, left: LeftOut) -> tuple[Block, ...]:
    parts = fields.objects(message, "content") if isinstance(message.get("content"), list) else []
    if not parts:
        return fields.said(fields.text(message, "text"))
    said = tuple(block for nth, part in enumerate(parts, 1) for block in _part(part, f"{id}~{nth}", left))
    text = fields.text(message, "text")
    if text and not any(one["type"] == "text" for one in said):
        return (*said, *fields.said(text))
    left.repeated(text, said, "text", _MESSAGE)
    return said


def _part(part: Mapping[str, Any], id: str, left: LeftOut) -> tuple[Block, ...]:
    kind = fields.text(part, "type")
    if kind in ("tool_call", "think", "text"):
        left.of(part, _PART)
    if kind == "tool_call":
        call = fields.mapping(part, "tool_call")
        left.of(call, _CALL)
        named = fields.text(call, "id") or id
        made = {"type": "tool_use", "id": named, "name": call.get("name"), "input": {"arguments": call.get("args")}}
        output = call.get("output")
        result = {"type": "tool_result", "tool_use_id": named, "content": output}
        return (made, result) if output is not None else (made,)
    if kind == "think":
        return ({"type": "thinking", "thinking": fields.text(part, "think") or ""},)
    if kind == "text":
        text = part.get("text")
        return fields.said(
            fields.text(text if isinstance(text, dict) else part, "value" if isinstance(text, dict) else "text")
        )
    return ({**part, "type": kind or "unknown"},)
