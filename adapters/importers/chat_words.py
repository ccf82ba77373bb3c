"""The words of a turn that was said elsewhere, as they are sealed: the messages of an API, and what is kept beside.

`{"messages": [...], "id": ...}` as every turn has it that comes with blocks; and, where there is something,

* `ids`: of all messages that were folded into the turn;
* `conversation`: the id of the chat in its file, and `about`: what else that says of it, with the first turns;
* `others`: what a system, a tool or a model said that is nobody's act: who, what, and before which of `messages`;
* `beside`: what else the file says of a message, by its id.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lastresort.adapters.chats.shapes import Block, ForeignChat, Message, Speaker
from lastresort.domain.values import Messages

from .chat_turns import Turn

_HALF = re.compile("[\ud800-\udfff]")
_RESULT = "tool_result"


def words_of(chat: ForeignChat, turn: Turn) -> Messages:
    """Return the words of a turn."""
    kept: dict[str, Any] = {"messages": []}
    others = [_other(one, 0) for one in turn.before]
    reply: str | None = None
    for message in turn.said:
        if message.speaker is Speaker.SYSTEM:
            others.append(_other(message, len(kept["messages"])))
            continue
        goes_on = message.reply is not None and message.reply == reply
        _add(kept["messages"], message, goes_on=goes_on)
        reply = message.reply if message.speaker is Speaker.ASSISTANT else None
    named = ids_of(turn)
    beside = {one.id: dict(one.extra) for one in (*turn.before, *turn.said) if one.extra}
    said: dict[str, Any] = {
        "id": named[0] if named else None,
        "ids": named if len(named) > 1 else None,
        "conversation": chat.id if turn.parent is None else None,
        "about": dict(chat.about) if turn.parent is None else None,
        "others": others,
        "beside": beside,
    }
    return as_messages(kept | {name: value for name, value in said.items() if value})


def say_the_same(one: str, other: str) -> bool:
    """Whether two words of a turn differ in nothing but what a file says of the conversation as it goes on."""
    if one == other:
        return True
    return isinstance(one, Messages) and isinstance(other, Messages) and _without_about(one) == _without_about(other)


def _without_about(words: str) -> Any:
    kept = json.loads(words)
    return {name: value for name, value in kept.items() if name != "about"}


def ids_of(turn: Turn) -> tuple[str, ...]:
    """Return the ids that a file gives the messages of a turn."""
    return tuple(whole(one.id) for one in turn.said if one.named)


def ids_in(words: str) -> tuple[str, ...]:
    """Return the ids that the messages of a turn had elsewhere, of its words; none if it was not imported with any."""
    kept = json.loads(words) if isinstance(words, Messages) else {}
    return tuple(kept.get("ids", ())) or tuple(filter(None, (kept.get("id"),)))


def as_messages(kept: Mapping[str, Any]) -> Messages:
    """Return what is kept as words. Half a character, which cannot be kept, is marked in it."""
    return Messages(whole(json.dumps(kept, ensure_ascii=False, separators=(",", ":"))))


def whole(text: str) -> str:
    """Return a text with a mark for each half of a character."""
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", text)


def _other(message: Message, before: int) -> dict[str, Any]:
    id = {"id": message.id} if message.named else {}
    return {"speaker": message.speaker, "before": before, **id, "content": list(message.blocks)}


def _add(messages: list[dict[str, Any]], message: Message, *, goes_on: bool) -> None:
    """Add a message as an API has it: what a tool returned is said in the user's place."""
    role = "assistant" if message.speaker is Speaker.ASSISTANT else "user"
    first = True
    for said_by, blocks in _by_role(role, message.blocks):
        if goes_on and first and messages and messages[-1]["role"] == said_by:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": said_by, "content": list(blocks)})
        first = False
    if first:
        messages.append({"role": role, "content": []})


def _by_role(role: str, blocks: Iterable[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Yield blocks that stand together; results of tools within an answer apart."""
    run: list[Block] = []
    said_by = role
    for block in blocks:
        now = "user" if block["type"] == _RESULT else role
        if run and now != said_by:
            yield said_by, run
            run = []
        said_by = now
        run.append(block)
    if run:
        yield said_by, run
