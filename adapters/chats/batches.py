"""Requests and results of message batches, joined by `custom_id`, in whatever order and files they come.

The last messages of a request are the conversation so far; a result is one more answer, or several, if a request asks
for more than one choice. All of them are in memory while they are joined.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from . import fields
from .files import Value
from .left_out import LeftOut, known, says
from .message_lists import TOOLS, Said, in_a_row, of_role, of_roles
from .shapes import Aside, ForeignChat, Message, Speaker, Wrong

NAME = "batches"
NO_ANSWER = "results without an answer: errored, canceled or expired"
_REQUEST = known("a request", "custom_id params body method url")
_PARAMS = known(
    "the parameters of a request",
    "messages system model metadata user tools functions tool_choice function_call thinking stop stop_sequences "
    "service_tier response_format reasoning_effort modalities n",
    "prediction input instructions",
)
_METADATA = known("the metadata of a request", "user_id")
_RESULT = known("a result", "custom_id id result response error", "request_id")
_MESSAGE = known("the message of a result", "id type role model content stop_reason stop_sequence usage container")
_BODY = known(
    "the body of a result", "id object created model choices usage service_tier system_fingerprint error", "output"
)
_CHOICE = known("a choice of a result", "index message finish_reason", "logprobs")
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
    left = LeftOut()
    left.of(line, _REQUEST)
    params = fields.mapping(line, "params") or fields.mapping(line, "body")
    left.of(params, _PARAMS)
    said = [Said(Speaker.SYSTEM, fields.blocks(params.get("system"), "system"))]
    said += of_roles(fields.objects(params, "messages"), left)
    left.of(metadata := fields.mapping(params, "metadata"), _METADATA)
    user = fields.text(metadata, "user_id") or fields.text(params, "user")
    about = {name: params[name] for name in TOOLS if says(params.get(name))}
    chat = in_a_row(NAME, id, said, model=fields.text(params, "model"), about=about, left=left)
    return replace(chat, user=user, told_apart=json.dumps(params, sort_keys=True))  # of each batch the ids begin again


def _answered(chat: ForeignChat, line: Mapping[str, Any]) -> ForeignChat:
    left = LeftOut()
    left.of(line, _RESULT)
    result, response = fields.mapping(line, "result"), fields.mapping(line, "response")
    body = fields.mapping(response, "body")
    if result.get("type") == "succeeded":
        answers = [_of_messages_api(fields.mapping(result, "message"), left)]
    else:
        answers = _of_completions(body, left)
    last = chat.messages[-1] if chat.messages else None
    number, parent = (last.number, last.id) if last else (0, None)
    wrong = {"error": [one["error"] for one in (line, result, response, body) if says(one.get("error"))]}
    return replace(
        chat,
        messages=(*chat.messages, *(replace(one, parent=parent, number=number + one.number) for one in answers)),
        asides=chat.asides if answers else (*chat.asides, Aside(NO_ANSWER, 1)),
        about={**chat.about, **(wrong if wrong["error"] else {})},
        left_out=Counter(chat.left_out) + left.counted,
    )


def _of_messages_api(message: Mapping[str, Any], left: LeftOut) -> Message:
    left.of(message, _MESSAGE)
    id = fields.text(message, "id")
    return Message(
        id=id or "answer",
        parent=None,
        speaker=Speaker.ASSISTANT,
        blocks=fields.blocks(message.get("content")),
        number=1,
        model=fields.text(message, "model"),
        stop_reason=fields.text(message, "stop_reason"),
        usage=fields.usage(message, "usage"),
        named=id is not None,
    )


def _of_completions(body: Mapping[str, Any], left: LeftOut) -> list[Message]:
    """Return the choices of a result, which are one another's siblings. The tokens are those of all, and are told of
    the first."""
    left.of(body, _BODY)
    id, usage = fields.text(body, "id"), fields.mapping(body, "usage")
    answers = []
    for number, choice in enumerate(fields.objects(body, "choices"), 1):
        with fields.within(f"choice {number}"):
            left.of(choice, _CHOICE)
            *_, said = of_role({"role": "assistant", **fields.mapping(choice, "message")}, 1, left)
            answers.append(
                Message(
                    id=(id or "answer") if number == 1 else f"{id or 'answer'}~{number}",
                    parent=None,
                    speaker=Speaker.ASSISTANT,
                    blocks=said.blocks,
                    number=number,
                    at=fields.time(body, "created"),
                    model=fields.text(body, "model"),
                    stop_reason=fields.text(choice, "finish_reason"),
                    usage=fields.tokens(usage.get("prompt_tokens"), usage.get("completion_tokens"))
                    if number == 1
                    else None,
                    extra=said.extra,
                    named=id is not None and number == 1,
                )
            )
    return answers
