"""Chats as plain lists: ShareGPT, `messages` as fine-tuning takes them, WildChat and LMSYS. They have no trees.

What WildChat and LMSYS say of a user's message by their classifiers comes in as the verdict of an assessor of that
name. A flag is no severity, so harm is mild; and it says nothing of risk.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from lastresort.domain.values import Category, Verdict

from . import fields
from .files import Value
from .left_out import Known, LeftOut, known, says
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


TOOLS = ("tools", "functions")
"""What a request says of the tools that the model may call."""
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
OF_ROLE = known(
    "a message",
    "role content refusal tool_call_id tool_calls function_call name weight annotations audio model timestamp "
    "created_at id type status end_turn recipient channel " + " ".join(_THOUGHTS),
    "metadata images videos audios files attachments citations reasoning_details",
)
_AUDIO = known("the audio of a message", "id expires_at transcript", "data")
_CALL = known("a call of a tool", "id type index function", "custom")
_FUNCTION = known("a call of a tool", "name arguments", "description")
_BLOCK = known("a block", "type text image_url", "annotations")
NO_TEXT = "blocks of a system prompt that are no text, left out"
_MESSAGES = known(
    "a conversation",
    "id messages system model tools functions timestamp created_at parallel_tool_calls tool_choice function_call",
    "metadata title prompt prompt_id source category images videos audios",
)
_SHAREGPT = known(
    "a conversation",
    "id conversations system model tools images timestamp created_at idx",
    "title source category tags dataset language hash avatarUrl items videos audios",
)
_OF_SHAREGPT = known(
    "a message", "from role value content weight timestamp created_at model name loss", "text markdown images thoughts"
)
_ROW = known(
    "a conversation",
    "conversation_id conversation_hash conversation model timestamp openai_moderation detoxify_moderation turn toxic "
    "redacted judge",
    "language state country hashed_ip header tstamp",
)
_OF_ROW = known(
    "a message",
    "role content turn_identifier language redacted toxic timestamp id",
    "state country hashed_ip header finish_reason",
)


class Said(NamedTuple):
    """A message of a list, and its speaker.

    Attributes:
        number: its place in the list, from 1; 0 of what stands beside the list.
        id: by what it is known, if not by its place.
    """

    speaker: Speaker
    blocks: tuple[Block, ...]
    extra: Mapping[str, Any] = {}
    number: int = 0
    id: str | None = None
    at: str | None = None
    model: str | None = None
    labels: tuple[Label, ...] = ()


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
    left = LeftOut()
    left.of(chat, _SHAREGPT)
    said = [Said(Speaker.SYSTEM, fields.said(left.text(chat, "system", _SHAREGPT)))]
    for number, one in enumerate(fields.objects(chat, "conversations"), 1):
        with fields.within(f"message {number}"):
            speaker = _speaker(fields.text(one, "from") or fields.text(one, "role"), "from")
            text = fields.text(one, "value") if "value" in one else fields.text(one, "content")
            left.of(one, _OF_SHAREGPT)
            when, model = _time(one, left, _OF_SHAREGPT), left.text(one, "model", _OF_SHAREGPT)
            said.append(Said(speaker, fields.said(text), {}, number, None, when, model))
    return in_a_row(
        SHAREGPT, fields.an_id(chat, "id"), said, model=fields.text(chat, "model"), at=_time(chat, left, _SHAREGPT),
        about=_about(chat, "tools", "images"), left=left,
    )  # fmt: skip


def _about(chat: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: chat[name] for name in names if says(chat.get(name))}


def _time(one: Mapping[str, Any], left: LeftOut, table: Known) -> str | None:
    """Return the time of what has no fixed form: one that cannot be read is counted, and not an error."""
    for name in ("timestamp", "created_at"):
        try:
            if (found := fields.time(one, name)) is not None:
                return found
        except Wrong:
            left.field(name, table)
    return None


def read_messages(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the chats of a file, each with its place."""
    return _each(values, _messages)


def _messages(chat: Mapping[str, Any]) -> ForeignChat:
    fields.needed(chat.get("messages"), "messages")
    left = LeftOut()
    left.of(chat, _MESSAGES)
    system = fields.blocks(chat.get("system"), "system")
    said = [Said(Speaker.SYSTEM, system), *of_roles(fields.objects(chat, "messages"), left)]
    return in_a_row(
        MESSAGES, fields.an_id(chat, "id"), said, model=fields.text(chat, "model"), at=_time(chat, left, _MESSAGES),
        about=_about(chat, *TOOLS), left=left,
    )  # fmt: skip


def of_roles(messages: Iterable[Mapping[str, Any]], left: LeftOut) -> list[Said]:
    """Return messages with a `role`, as the chat APIs have them: with calls of tools, and their results."""
    said: list[Said] = []
    called: str | None = None  # the last call of the form that has no ids
    for number, one in enumerate(messages, 1):
        with fields.within(f"message {number}"):
            said += of_role(one, number, left, called)
            called = f"{number}" if isinstance(one.get("function_call"), dict) else called
    return said


def of_role(message: Mapping[str, Any], number: int, left: LeftOut, called: str | None = None) -> Iterator[Said]:
    """Yield a message; of what a user typed beside results of tools, the results first."""
    speaker = _speaker(role := fields.text(message, "role"), "role")
    left.of(message, OF_ROLE)
    content = _content(message, left)
    common = Said(speaker, (), _beside(message), number, None, _time(message, left, OF_ROLE))
    if speaker is Speaker.TOOL:
        id = fields.text(message, "tool_call_id") or (called if role == "function" else None) or f"{number}"
        content = ({"type": "tool_result", "tool_use_id": id, "content": list(content)},)
    elif speaker is Speaker.USER and (results := tuple(one for one in content if one["type"] == "tool_result")):
        content = tuple(one for one in content if one["type"] != "tool_result")
        returned = common._replace(speaker=Speaker.TOOL, blocks=results)
        if not content:
            yield returned
            return
        yield returned._replace(id=f"{number}~results", extra={})
    calls = [_call(one, left) for one in fields.objects(message, "tool_calls")]
    if function := left.mapping(message, "function_call", OF_ROLE):
        calls.append(_call({"id": f"{number}", "function": function}, left))
    yield common._replace(blocks=(*content, *calls), model=left.text(message, "model", OF_ROLE))


def _content(message: Mapping[str, Any], left: LeftOut) -> tuple[Block, ...]:
    """Return what was said, with what was thought before it, and what was refused or spoken beside it."""
    thought = (fields.thought(left.text(message, name, OF_ROLE)) for name in _THOUGHTS)
    said = tuple(_plain(one, left) for one in fields.blocks(message.get("content")))
    said += fields.said(fields.text(message, "refusal"))
    audio = left.mapping(message, "audio", OF_ROLE)
    left.of(audio, _AUDIO)
    spoken = left.text(audio, "transcript", _AUDIO)
    if said:
        left.repeated(spoken, said, "transcript", _AUDIO)
    return (*chain.from_iterable(thought), *(said or fields.said(spoken)))


def _beside(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: message[name] for name in ("name", "weight", "annotations") if message.get(name) not in (None, [])}


def _call(call: Mapping[str, Any], left: LeftOut) -> Block:
    function = fields.mapping(call, "function")
    left.of(call, _CALL)
    left.of(function, _FUNCTION)
    arguments = function.get("arguments")
    try:
        given = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        given = None
    found = given if isinstance(given, dict) else {"arguments": arguments}
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": found}


def _plain(block: Block, left: LeftOut) -> Block:
    """Return a block of the chat APIs as the Messages API has it."""
    if block["type"] in ("image_url", "input_text", "output_text"):
        left.of(block, _BLOCK)
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
    left = LeftOut()
    left.of(row, _ROW)
    said, on_answers = [], 0
    for number, one in enumerate(fields.objects(row, "conversation"), 1):
        with fields.within(f"message {number}"):
            speaker, blocks = _speaker(fields.text(one, "role"), "role"), fields.said(fields.text(one, "content"))
            left.of(one, _OF_ROW)
            extra = {name: one[name] for name in ("turn_identifier", "language", "redacted") if name in one}
            labels = _labels(one, flags[number - 1] if number <= len(flags) else {})
            on_answers += 0 if speaker is Speaker.USER else len(labels)
            mine = labels if speaker is Speaker.USER else ()
            said.append(Said(speaker, blocks, extra, number, at=_time(one, left, _OF_ROW), labels=mine))
    scores = len(fields.listed(row, "detoxify_moderation"))
    asides = (Aside(ON_ANSWERS, on_answers), Aside(SCORES, scores))
    return in_a_row(
        format, fields.an_id(row, "conversation_id"), _timed(said), model=fields.text(row, "model"),
        at=None if any(one.at for one in said) else fields.time(row, "timestamp"), left=left,
        asides=tuple(one for one in asides if one.number),
    )  # fmt: skip


def _timed(said: Sequence[Said]) -> list[Said]:
    """Return messages of which those without a time have that of the one before, or else of the first that has one:
    WildChat dates answers alone, and a row as its last answer."""
    at = next((one.at for one in said if one.at), None)
    timed = []
    for one in said:
        at = one.at or at
        timed.append(one._replace(at=at))
    return timed


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
    said: Iterable[Said],
    *,
    model: str | None = None,
    at: str | None = None,
    about: Mapping[str, Any] | None = None,
    left: LeftOut | None = None,
    asides: tuple[Aside, ...] = (),
) -> ForeignChat:
    """Return a chat whose messages follow each other, and are known by their places. What a system says first is what
    the model was told before anything was said."""
    held = [one for one in said if one.number or one.blocks]
    first = next((nth for nth, one in enumerate(held) if one.speaker is not Speaker.SYSTEM), len(held))
    told = fields.whole(str(block.get("text", "")) for one in held[:first] for block in one.blocks)
    left = left or LeftOut()
    if others := sum(one["type"] != "text" for said_first in held[:first] for one in said_first.blocks):
        left.counted[NO_TEXT] += others
    messages: list[Message] = []
    place = first
    for one in held[first:]:
        place += one.id is None
        messages.append(
            Message(
                id=one.id or str(place),
                parent=messages[-1].id if messages else None,
                speaker=one.speaker,
                blocks=one.blocks,
                number=one.number or place,
                at=one.at or at,
                model=(one.model or model) if one.speaker is Speaker.ASSISTANT else None,
                labels=one.labels,
                extra=one.extra,
                named=False,
            )
        )
    return ForeignChat(
        format=format, id=id, messages=messages, at=at, system=told, asides=asides, about=about or {},
        left_out=left.counted,
    )  # fmt: skip
