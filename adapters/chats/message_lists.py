"""Chats as plain lists: ShareGPT, `messages` as fine-tuning takes them, WildChat and LMSYS. They have no trees.

What WildChat and LMSYS say of a user's message by their classifiers comes in as the verdict of an assessor of that
name. A flag is no severity, so harm is mild; and it says nothing of risk.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lastresort.domain.values import Category, Verdict

from . import fields
from .files import Value
from .shapes import Aside, Block, ForeignChat, Label, Message, Speaker, Wrong

SHAREGPT, MESSAGES, WILDCHAT, LMSYS = "sharegpt", "messages", "wildchat", "lmsys"

ON_ANSWERS = "labels of answers: only a user's turn is judged"
SCORES = "scores of a classifier that says nothing without a threshold"
_MODERATION = "openai-moderation"
_OF_WILDCHAT = "wildchat-toxic"

_SPEAKERS = {
    **dict.fromkeys(("user", "human"), Speaker.USER),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "claude", "model"), Speaker.ASSISTANT),
    **dict.fromkeys(("system", "developer"), Speaker.SYSTEM),
    **dict.fromkeys(("tool", "function", "observation", "function_call", "ipython"), Speaker.TOOL),
}
_CATEGORIES: Mapping[str, Category] = {
    "harassment": "harassment", "harassment/threatening": "threats", "hate": "hate", "hate/threatening": "hate",
    "self-harm": "self_harm", "self-harm/intent": "self_harm", "self-harm/instructions": "self_harm",
    "sexual": "sexual_content", "sexual/minors": "sexual_minors", "violence": "violence",
    "violence/graphic": "violence",
}  # fmt: skip
"""What a category of the moderation API is in the vocabulary of the law."""
_GRAVEST = ("sexual_minors", "threats", "self_harm", "hate", "violence", "harassment", "sexual_content")


class Said(NamedTuple):
    """A message of a list, and its speaker."""

    speaker: Speaker
    blocks: tuple[Block, ...]
    extra: Mapping[str, Any] = {}


def knows_sharegpt(value: Any) -> bool:
    """Whether a value is a chat of ShareGPT."""
    return isinstance(value, dict) and isinstance(value.get("conversations"), list)


def knows_messages(value: Any) -> bool:
    """Whether a value is a list of messages with roles."""
    messages = value.get("messages") if isinstance(value, dict) else None
    return isinstance(messages, list) and all(isinstance(one, dict) and "role" in one for one in messages[:1])


def knows_wildchat(value: Any) -> bool:
    """Whether a value is a row of WildChat."""
    first = _first(value)
    return first is not None and ("turn_identifier" in first or "toxic" in first or "hashed_ip" in value)


def knows_lmsys(value: Any) -> bool:
    """Whether a value is a row of LMSYS."""
    return _first(value) is not None


def _first(value: Any) -> Mapping[str, Any] | None:
    said = value.get("conversation") if isinstance(value, dict) else None
    return said[0] if isinstance(said, list) and said and isinstance(said[0], dict) and "role" in said[0] else None


def _each(
    values: Iterable[Value], chat: Callable[[Mapping[str, Any]], ForeignChat]
) -> Iterator[tuple[str, ForeignChat]]:
    for place, value in values:
        with fields.within(place):
            yield place, chat(fields.an_object(value, ""))


def read_sharegpt(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the chats of a file, each with its place."""
    return _each(values, _sharegpt)


def _sharegpt(chat: Mapping[str, Any]) -> ForeignChat:
    fields.needed(chat.get("conversations"), "conversations")
    said = []
    for number, one in enumerate(fields.objects(chat, "conversations"), 1):
        with fields.within(f"message {number}"):
            speaker = _speaker(fields.text(one, "from") or fields.text(one, "role"), "from")
            text = fields.text(one, "value") if "value" in one else fields.text(one, "content")
            said.append(Said(speaker, fields.said(text)))
    return in_a_row(SHAREGPT, fields.an_id(chat, "id"), said, model=fields.text(chat, "model"))


def read_messages(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the chats of a file, each with its place."""
    return _each(values, _messages)


def _messages(chat: Mapping[str, Any]) -> ForeignChat:
    fields.needed(chat.get("messages"), "messages")
    system = fields.blocks(chat.get("system"), "system")
    said = [Said(Speaker.SYSTEM, system)] if system else []
    said += [of_role(one, number) for number, one in enumerate(fields.objects(chat, "messages"), 1)]
    return in_a_row(MESSAGES, fields.an_id(chat, "id"), said, model=fields.text(chat, "model"))


def of_role(message: Mapping[str, Any], number: int) -> Said:
    """Return a message with a `role`, as the chat APIs have them: with calls of tools, and their results."""
    with fields.within(f"message {number}"):
        role = fields.text(message, "role")
        speaker = _speaker(role, "role")
        content = fields.blocks(message.get("content")) or fields.said(fields.text(message, "refusal"))
        if speaker is Speaker.USER and content and all(one["type"] == "tool_result" for one in content):
            speaker = Speaker.TOOL
        if speaker is Speaker.TOOL and role != "user":
            id = fields.text(message, "tool_call_id") or f"{number}"
            content = ({"type": "tool_result", "tool_use_id": id, "content": list(content)},)
        calls = tuple(_call(one) for one in fields.objects(message, "tool_calls"))
        return Said(speaker, (*map(_plain, content), *calls), _beside(message))


def _beside(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: message[name] for name in ("name", "weight") if message.get(name) is not None}


def _call(call: Mapping[str, Any]) -> Block:
    function = fields.mapping(call, "function")
    arguments = function.get("arguments")
    try:
        given = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        given = None
    found = given if isinstance(given, dict) else {"arguments": arguments}
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": found}


def _plain(block: Block) -> Block:
    """Return a block of the chat APIs as the Messages API has it."""
    if block["type"] == "image_url":
        url = fields.text(fields.mapping(block, "image_url"), "url")
        return fields.picture(fields.needed(url, "image_url.url"))
    if block["type"] in ("input_text", "output_text"):
        return {"type": "text", "text": fields.text(block, "text") or ""}
    return block


def read_wildchat(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the chats of a file, each with its place."""
    return _each(values, lambda row: _labelled(WILDCHAT, row))


def read_lmsys(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the chats of a file, each with its place."""
    return _each(values, lambda row: _labelled(LMSYS, row))


def _labelled(format: str, row: Mapping[str, Any]) -> ForeignChat:
    fields.needed(row.get("conversation"), "conversation")
    flags = fields.objects(row, "openai_moderation")
    said, labels, on_answers = [], [], 0
    for number, one in enumerate(fields.objects(row, "conversation"), 1):
        with fields.within(f"message {number}"):
            found = Said(_speaker(fields.text(one, "role"), "role"), fields.said(fields.text(one, "content")))
            extra = {name: one[name] for name in ("turn_identifier", "language", "redacted") if name in one}
            said.append(found._replace(extra=extra))
            mine = _labels(one, flags[number - 1] if number <= len(flags) else {})
            labels.append(mine if found.speaker is Speaker.USER else ())
            on_answers += 0 if found.speaker is Speaker.USER else len(mine)
    scores = len(fields.listed(row, "detoxify_moderation"))
    asides = (Aside(ON_ANSWERS, on_answers), Aside(SCORES, scores))
    return in_a_row(
        format, fields.an_id(row, "conversation_id"), said, model=fields.text(row, "model"),
        at=fields.time(row, "timestamp"), labels=labels, asides=tuple(one for one in asides if one.number),
    )  # fmt: skip


def _labels(message: Mapping[str, Any], moderation: Mapping[str, Any]) -> tuple[Label, ...]:
    labels = []
    if isinstance(toxic := message.get("toxic"), bool):
        labels.append(_label(_OF_WILDCHAT, toxic, "other"))
    if isinstance(flagged := moderation.get("flagged"), bool):
        named = {
            _CATEGORIES.get(name, "other") for name, is_ in fields.mapping(moderation, "categories").items() if is_
        }
        labels.append(_label(_MODERATION, flagged, next((one for one in _GRAVEST if one in named), "other")))
    return tuple(labels)


def _label(by: str, harmful: bool, category: Category) -> Label:
    return Label(by, Verdict.HARMFUL, category, 1) if harmful else Label(by, Verdict.PRODUCTIVE)


def _speaker(role: str | None, name: str) -> Speaker:
    if (speaker := _SPEAKERS.get(role or "")) is None:
        raise Wrong(name, f"needs to be one of {', '.join(_SPEAKERS)}")
    return speaker


def in_a_row(
    format: str,
    id: str | None,
    said: Sequence[Said],
    *,
    model: str | None = None,
    at: str | None = None,
    labels: Sequence[tuple[Label, ...]] = (),
    asides: tuple[Aside, ...] = (),
) -> ForeignChat:
    """Return a chat whose messages follow each other, and are known by their places. What a system says first is what
    the model was told before anything was said."""
    first = next((nth for nth, one in enumerate(said) if one.speaker is not Speaker.SYSTEM), len(said))
    told = fields.whole(str(block.get("text", "")) for one in said[:first] for block in one.blocks)
    messages = [
        Message(
            id=str(number),
            parent=str(number - 1) if number > first + 1 else None,
            speaker=one.speaker,
            blocks=one.blocks,
            number=number,
            at=at,
            model=model if one.speaker is Speaker.ASSISTANT else None,
            labels=labels[number - 1] if labels else (),
            extra=one.extra,
            named=False,
        )
        for number, one in enumerate(said, 1)
        if number > first
    ]
    return ForeignChat(format=format, id=id, messages=messages, at=at, system=told, asides=asides)
