"""Chats of Open WebUI: one, or an array of all, a tree each, by `parentId`. Several models may answer one message."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import unescape
from itertools import chain
from typing import Any

from lastresort.domain.values import Rating

from . import fields
from .files import Value
from .left_out import LeftOut, known, says
from .shapes import Block, ForeignChat, Message, Speaker, Wrong

NAME = "open-webui"
BESIDE = "messages of a list beside the tree that are not in it, left out"
_KEPT = ("sources", "citations", "merged", "code_executions")
"""What is kept with the words of a message as it is: what it rests on, an answer made of several, what was run."""
_NO_WORDS = ("type", "id", "status", "role")
_ENTRY = known(
    "a conversation", "id user_id title chat created_at updated_at meta share_id archived pinned folder_id last_read_at"
)
_CHAT = known(
    "a conversation", "id title models history messages params system timestamp tags originalChatId "
    "branchPointMessageId",
    "files",
)  # fmt: skip
_PARAMS = known("the parameters of a conversation", "system stop reasoning_effort function_calling format keep_alive")
_META = known("a conversation", "tags")
_MESSAGE = known(
    "a message",
    "id parentId childrenIds role content originalContent timestamp model modelName modelIdx models files error done "
    "usage annotation output lastSentence feedbackId selectedModelId arena info completedAt created_at chat_id user_id "
    + " ".join(_KEPT),
    "statusHistory followUps embeds userContext status suggestions",
)
_ITEM = known(
    "an item of the output", "type id status role call_id name arguments output content summary started_at ended_at "
    "duration tag_type start_tag end_tag attributes", "encrypted_content",
)  # fmt: skip
_TEXT = known("a text of the output", "type text", "annotations logprobs")
_ANNOTATION = known("feedback", "rating reason comment tags details model_id sibling_model_ids")
_FILE = known(
    "a file", "type name id url file content size status error collection_name itemId content_type context legacy meta",
    "files docs description user data knowledge urls",
)  # fmt: skip
_HELD = known("a file", "id user_id hash filename path data meta created_at updated_at", "access_control")
_DATA = known("a file", "content status", "error")
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
    params, meta = fields.mapping(chat, "params"), fields.mapping(entry, "meta")
    left = LeftOut()
    for one, table in ((entry, _ENTRY), (chat, _CHAT), (params, _PARAMS), (meta, _META)):
        left.of(one, table)
    history = fields.mapping(fields.mapping(chat, "history"), "messages")
    listed = fields.listed(chat, "messages")
    found = list(history.values()) or list(listed)
    messages: list[Message] = []
    for number, one in enumerate(found, 1):
        with fields.within(f"message {number}"):
            above = messages[-1].id if messages and not history else None
            messages.append(_message(fields.an_object(one, ""), number, above, left))
    ids = {one.id for one in messages}
    if beside := sum(isinstance(one, dict) and one.get("id") not in ids for one in listed):
        left.counted[BESIDE] += beside
    tags = (tag.get("name") if isinstance(tag, dict) else tag for tag in fields.listed(meta, "tags"))
    return ForeignChat(
        format=NAME,
        id=fields.text(entry, "id"),
        messages=messages,
        title=fields.text(entry, "title") or fields.text(chat, "title"),
        tags=tuple(tag for tag in tags if isinstance(tag, str)),
        user=fields.text(entry, "user_id"),
        at=fields.time(entry, "created_at"),
        system=fields.whole(dict.fromkeys((left.text(chat, "system", _CHAT), fields.text(params, "system")))),
        left_out=left.counted,
    )


def _message(message: Mapping[str, Any], number: int, above: str | None, left: LeftOut) -> Message:
    role = fields.text(message, "role")
    if (speaker := _SPEAKERS.get(role or "")) is None:
        raise Wrong("role", f"needs to be one of {', '.join(_SPEAKERS)}")
    left.of(message, _MESSAGE)
    answered = speaker is Speaker.ASSISTANT
    annotation = left.mapping(message, "annotation", _MESSAGE)
    left.of(annotation, _ANNOTATION)
    extra: dict[str, Any] = {name: message[name] for name in _KEPT if says(message.get(name))}
    extra |= {"feedback": {"tags": tags}} if says(tags := annotation.get("tags")) else {}
    content, first = fields.text(message, "content"), fields.text(message, "originalContent")
    if answered and first is not None and first != content:
        extra["edited"], content = content, first  # a person's words are not the model's
    blocks = _answer(content, left.objects(message, "output", _MESSAGE), left) if answered else fields.said(content)
    if answered and message.get("error"):
        if not blocks:
            speaker = Speaker.SYSTEM
        extra["error"] = message["error"]
    return Message(
        id=fields.needed(fields.text(message, "id"), "id"),
        parent=fields.text(message, "parentId") or above,
        speaker=speaker,
        blocks=(*(_file(one, left) for one in fields.objects(message, "files")), *blocks),
        number=number,
        at=fields.time(message, "timestamp"),
        model=fields.text(message, "model") if answered else None,
        stop_reason="unfinished" if answered and message.get("done") is False else None,
        usage=_usage(fields.mapping(message, "usage")) if answered else None,
        rating=_rating(annotation),
        remark=fields.whole((fields.text(annotation, "reason"), fields.text(annotation, "comment"))),
        extra=extra,
    )


def _answer(content: str | None, output: Sequence[Mapping[str, Any]], left: LeftOut) -> tuple[Block, ...]:
    """Return what a model said. Newer versions have all of it in `output`, and its text in `content` again, with what
    was thought and called as elements of HTML."""
    made = tuple(chain.from_iterable(_item(one, left) for one in output))
    said, bare = _without_details(content or "")
    if not made:
        return said
    texts = "".join(str(one["text"]) for one in made if one["type"] == "text")
    if not bare.strip() or "".join(bare.split()) == "".join(texts.split()):
        return made
    thoughts = "".join("".join(str(one["thinking"]).split()) for one in made if one["type"] == "thinking")
    return (
        *(one for one in made if one["type"] != "text"),
        *(one for one in said if one["type"] == "text" or "".join(str(one["thinking"]).split()) not in thoughts),
    )


def _item(item: Mapping[str, Any], left: LeftOut) -> Iterator[Block]:
    """Yield what an item of the Responses API holds."""
    kind, id = item.get("type"), item.get("call_id") or item.get("id")
    texts = _texts(item)
    if (kind in ("message", "reasoning") and texts is not None) or kind in ("function_call", "function_call_output"):
        left.of(item, _ITEM)
        for one in (one for name in ("summary", "content") for one in left.objects(item, name, _ITEM)):
            left.of(one, _TEXT)
    if kind == "message" and texts is not None:
        yield from fields.said(texts)
    elif kind == "reasoning" and texts is not None:
        yield from fields.thought(texts)
    elif kind == "function_call":
        given = {"arguments": item.get("arguments")}
        yield {"type": "tool_use", "id": id, "name": item.get("name"), "input": given}
    elif kind == "function_call_output":
        output = item.get("output")
        content = output if isinstance(output, str) else [fields.unknown(None, {"output": output})]
        yield {"type": "tool_result", "tool_use_id": id, "content": content}
    elif says({name: value for name, value in item.items() if name not in _NO_WORDS}):
        yield fields.unknown(kind if isinstance(kind, str) else None, item)


def _texts(item: Mapping[str, Any]) -> str | None:
    """Return the text in an item if it holds nothing but text, else None."""
    found: list[str] = []
    for name in ("summary", "content"):
        parts = item.get(name) or []
        if not isinstance(parts, list) or not all(isinstance(one, dict) for one in parts):
            return None
        texts = [one.get("text") for one in parts]
        if not all(isinstance(one, str) for one in texts):
            return None
        found += map(str, texts)
    return fields.whole(found) or ""


def _without_details(content: str) -> tuple[tuple[Block, ...], str]:
    """Return a text with what was thought in it as blocks of their own; and what is left of it without any element that
    the program shows folded."""
    blocks: list[Block] = []
    kept, bare, at = 0, [], 0
    while (begin := content.find("<details ", at)) >= 0:
        head = content.find(">", begin)
        end = content.find("</details>", head)
        if head < 0 or end < 0:
            break
        bare.append(content[at:begin])
        at = end + len("</details>")
        if 'type="reasoning"' in content[begin:head]:
            blocks += fields.said(content[kept:begin].strip())
            blocks += _folded(content[head + 1 : end])
            kept = at
    bare.append(content[at:])
    rest = content[kept:]
    return (*blocks, *fields.said(rest.lstrip() if kept else rest)), "".join(bare)


def _folded(html: str) -> tuple[Block, ...]:
    """Return what was thought, without the marks of a quotation; the line that is shown of it beside it."""
    head, _, said = html.rpartition("</summary>")
    lines = (line.removeprefix(">").removeprefix(" ") for line in unescape(said).strip().splitlines())
    shown = unescape(head.partition("<summary>")[2])
    return tuple({**one, **({"summary": shown} if shown else {})} for one in fields.thought("\n".join(lines)))


def _usage(usage: Mapping[str, Any]) -> Any:
    return fields.tokens(usage.get("prompt_tokens"), usage.get("completion_tokens"))


def _rating(annotation: Mapping[str, Any]) -> Rating | None:
    value = annotation.get("rating")
    return {1: Rating.UP, -1: Rating.DOWN}.get(value) if isinstance(value, int) else None


def _file(one: Mapping[str, Any], left: LeftOut) -> Block:
    left.of(one, _FILE)
    url = fields.text(one, "url")
    if fields.text(one, "type") == "image" and url:
        return fields.picture(url)
    held = left.mapping(one, "file", _FILE)
    left.of(held, _HELD)
    data = left.mapping(held, "data", _HELD)
    left.of(data, _DATA)
    text = left.text(data, "content", _DATA) or left.text(one, "content", _FILE) or None
    return fields.a_file(fields.text(one, "name"), fields.text(one, "id") or url, text)
