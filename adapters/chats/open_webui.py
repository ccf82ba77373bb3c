"""Chats of Open WebUI: one, or an array of all, a tree each, by `parentId`. Several models may answer one message."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lastresort.domain.values import Rating

from . import fields
from .files import Value
from .shapes import Block, ForeignChat, Message, Speaker, Wrong

NAME = "open-webui"
_SPEAKERS = {"user": Speaker.USER, "assistant": Speaker.ASSISTANT, "system": Speaker.SYSTEM, "tool": Speaker.TOOL}


def knows(value: Any) -> bool:
    """Whether a value is a chat of this form."""
    chat = value.get("chat") if isinstance(value, dict) else None
    return isinstance(chat, dict) and ("history" in chat or "messages" in chat)


def read(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the chats of a file, each with its place."""
    for place, value in values:
        with fields.within(place):
            yield place, _chat(fields.an_object(value, ""))


def _chat(entry: Mapping[str, Any]) -> ForeignChat:
    chat = fields.an_object(entry.get("chat"), "chat")
    history = fields.mapping(fields.mapping(chat, "history"), "messages")
    found = list(history.values()) or list(fields.listed(chat, "messages"))
    messages: list[Message] = []
    for number, one in enumerate(found, 1):
        with fields.within(f"message {number}"):
            above = messages[-1].id if messages and not history else None
            messages.append(_message(fields.an_object(one, ""), number, above))
    tags = fields.listed(fields.mapping(entry, "meta"), "tags")
    return ForeignChat(
        format=NAME,
        id=fields.text(entry, "id"),
        messages=messages,
        title=fields.text(entry, "title") or fields.text(chat, "title"),
        tags=tuple(tag for tag in tags if isinstance(tag, str)),
        user=fields.text(entry, "user_id"),
        at=fields.time(entry, "created_at"),
        system=fields.text(fields.mapping(chat, "params"), "system"),
    )


def _message(message: Mapping[str, Any], number: int, above: str | None) -> Message:
    role = fields.text(message, "role")
    if (speaker := _SPEAKERS.get(role or "")) is None:
        raise Wrong("role", f"needs to be one of {', '.join(_SPEAKERS)}")
    answered = speaker is Speaker.ASSISTANT
    extra: dict[str, Any] = {}
    content, first = fields.text(message, "content"), fields.text(message, "originalContent")
    if answered and first is not None and first != content:
        extra["edited"], content = content, first  # a person's words are not the model's
    blocks = fields.said(content)
    if answered and message.get("error"):
        if not blocks:
            speaker = Speaker.SYSTEM
        extra["error"] = message["error"]
    annotation = fields.mapping(message, "annotation")
    return Message(
        id=fields.needed(fields.text(message, "id"), "id"),
        parent=fields.text(message, "parentId") or above,
        speaker=speaker,
        blocks=(*(_file(one) for one in fields.objects(message, "files")), *blocks),
        number=number,
        at=fields.time(message, "timestamp"),
        model=fields.text(message, "model") if answered else None,
        stop_reason="unfinished" if answered and message.get("done") is False else None,
        usage=_usage(fields.mapping(message, "usage")) if answered else None,
        rating=_rating(annotation) if answered else None,
        remark=fields.whole((fields.text(annotation, "reason"), fields.text(annotation, "comment"))),
        extra=extra,
    )


def _usage(usage: Mapping[str, Any]) -> Any:
    return fields.tokens(usage.get("prompt_tokens"), usage.get("completion_tokens"))


def _rating(annotation: Mapping[str, Any]) -> Rating | None:
    value = annotation.get("rating")
    return {1: Rating.UP, -1: Rating.DOWN}.get(value) if isinstance(value, int) else None


def _file(one: Mapping[str, Any]) -> Block:
    url = fields.text(one, "url")
    if fields.text(one, "type") == "image" and url:
        return fields.picture(url)
    return fields.a_file(fields.text(one, "name"), fields.text(one, "id"))
