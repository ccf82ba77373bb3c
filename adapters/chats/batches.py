"""Requests and results of message batches, joined by `custom_id`, in whatever order and files they come.

The last messages of a request are the conversation so far; a result is one more answer. All of them are in memory while
they are joined.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from . import fields
from .files import Value
from .message_lists import Said, in_a_row, of_role
from .shapes import Aside, ForeignChat, Message, Speaker, Wrong

NAME = "batches"
NO_ANSWER = "results without an answer: errored, canceled or expired"
NO_REQUEST = "results whose request is in none of the files: nobody is known to have asked"


def knows(value: Any) -> bool:
    """Whether a value is a request or a result of this form."""
    return isinstance(value, dict) and "custom_id" in value


def read(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the conversations of all files of a call, each with the place of its request."""
    requests: dict[str, tuple[str, Mapping[str, Any]]] = {}
    results: dict[str, tuple[str, Mapping[str, Any]]] = {}
    first = ""
    for place, value in values:
        first = first or place
        with fields.within(place):
            line = fields.an_object(value, "")
            id = fields.needed(fields.text(line, "custom_id"), "custom_id")
            asks = "params" in line or "body" in line
            if id in (requests if asks else results):
                other = (requests if asks else results)[id]
                if other[1] != line:
                    raise Wrong("custom_id", f"is that of {other[0]}, which says something else")
                continue
            (requests if asks else results)[id] = place, line
    for id, (place, line) in requests.items():
        with fields.within(place):
            chat = _asked(id, line)
        if id in results:
            with fields.within(results[id][0]):
                chat = _answered(chat, results.pop(id)[1])
        yield place, chat
    if results:
        yield first, ForeignChat(NAME, None, (), asides=(Aside(NO_REQUEST, len(results)),))


def _asked(id: str, line: Mapping[str, Any]) -> ForeignChat:
    params = fields.mapping(line, "params") or fields.mapping(line, "body")
    system = fields.blocks(params.get("system"), "system")
    said = [Said(Speaker.SYSTEM, system)] if system else []
    said += [of_role(one, number) for number, one in enumerate(fields.objects(params, "messages"), 1)]
    user = fields.text(fields.mapping(params, "metadata"), "user_id") or fields.text(params, "user")
    chat = in_a_row(NAME, id, said, model=fields.text(params, "model"))
    return replace(chat, user=user, told_apart=json.dumps(params, sort_keys=True))  # of each batch the ids begin again


def _answered(chat: ForeignChat, line: Mapping[str, Any]) -> ForeignChat:
    result, response = fields.mapping(line, "result"), fields.mapping(line, "response")
    body = fields.mapping(response, "body")
    if result.get("type") == "succeeded":
        answer = _of_messages_api(fields.mapping(result, "message"))
    elif fields.listed(body, "choices"):
        answer = _of_completions(body)
    else:
        return replace(chat, asides=(*chat.asides, Aside(NO_ANSWER, 1)))
    last = chat.messages[-1] if chat.messages else None
    number = last.number + 1 if last else 1
    return replace(chat, messages=(*chat.messages, replace(answer, parent=last.id if last else None, number=number)))


def _of_messages_api(message: Mapping[str, Any]) -> Message:
    id = fields.text(message, "id")
    return Message(
        id=id or "answer",
        parent=None,
        speaker=Speaker.ASSISTANT,
        blocks=fields.blocks(message.get("content")),
        number=0,
        model=fields.text(message, "model"),
        stop_reason=fields.text(message, "stop_reason"),
        usage=fields.usage(message, "usage"),
        named=id is not None,
    )


def _of_completions(body: Mapping[str, Any]) -> Message:
    choice = fields.objects(body, "choices")[0]
    id, usage = fields.text(body, "id"), fields.mapping(body, "usage")
    return Message(
        id=id or "answer",
        parent=None,
        speaker=Speaker.ASSISTANT,
        blocks=of_role(fields.mapping(choice, "message"), 1).blocks,
        number=0,
        at=fields.time(body, "created"),
        model=fields.text(body, "model"),
        stop_reason=fields.text(choice, "finish_reason"),
        usage=fields.tokens(usage.get("prompt_tokens"), usage.get("completion_tokens")),
        named=id is not None,
    )
