"""Logs of the command `llm`, as `llm logs --json` prints them: a response each, in conversations."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from . import fields
from .files import Value
from .left_out import LeftOut, known
from .shapes import Block, ForeignChat, Message, Speaker, Wrong

NAME = "llm"
_FRAGMENTS = ("prompt_fragments", "fragments")
_RESPONSE = known(
    "a response",
    "id conversation_id conversation_name conversation_model model resolved_model prompt system response reasoning "
    "datetime_utc attachments tool_calls tool_results prompt_fragments fragments system_fragments schema_id",
    "tools schema_json prompt_json response_json options_json token_details",
)
_ATTACHMENT = known("an attachment", "id type path url", "content")
_FRAGMENT = known("a fragment", "id hash source content datetime_utc aliases")
_CALL = known("a call of a tool", "id tool_call_id name arguments tool_id")
_RESULT = known("a result of a tool", "id tool_call_id name output exception attachments tool_id", "instance")


def knows(value: Any) -> bool:
    """Whether a value is a response of this form."""
    return isinstance(value, dict) and "prompt" in value and "response" in value and "conversation_id" in value


def read(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the conversations of a file, each with the place of its first response. All of it is in memory: responses
    of one conversation may stand anywhere."""
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for place, value in values:
        with fields.within(place):
            response = fields.an_object(value, "")
            id = fields.needed(fields.text(response, "id"), "id")
            if "prompt" not in response:
                fields.needed(response.get("response"), "prompt")
            found.setdefault(fields.text(response, "conversation_id") or id, []).append((place, response))
    for id, responses in found.items():
        yield responses[0][0], _chat(id, responses)


def _chat(id: str, responses: list[tuple[str, Mapping[str, Any]]]) -> ForeignChat:
    dated = []
    for place, response in responses:
        with fields.within(place):
            dated.append((fields.time(response, "datetime_utc") or "", place, response))
    dated.sort(key=lambda one: one[0])  # as sorts do, it leaves what is of one time in its order
    messages: list[Message] = []
    left = LeftOut()
    system: str | None = None
    for nth, (_, place, response) in enumerate(dated):
        with fields.within(place):
            left.of(response, _RESPONSE)
            parts = _fragments(response, ("system_fragments",), left)
            told = fields.whole((*(text for _, text in parts), fields.text(response, "system")))
            if nth == 0:
                system = told
            for one in _messages(response, told if nth and told != system else None, left):
                above = messages[-1].id if messages else None
                messages.append(replace(one, parent=above, number=len(messages) + 1))
    first = dated[0][2]
    return ForeignChat(
        NAME,
        id,
        messages,
        title=fields.text(first, "conversation_name"),
        at=messages[0].at,
        system=system,
        left_out=left.counted,
    )


def _fragments(response: Mapping[str, Any], names: Iterable[str], left: LeftOut) -> list[tuple[str | None, str]]:
    """Return where pieces of a prompt are from, and what is in them."""
    found = []
    for one in (one for name in names for one in left.objects(response, name, _RESPONSE)):
        left.of(one, _FRAGMENT)
        if text := left.text(one, "content", _FRAGMENT):
            found.append((left.text(one, "source", _FRAGMENT), text))
    return found


def _messages(response: Mapping[str, Any], told: str | None, left: LeftOut) -> Iterator[Message]:
    id = fields.needed(fields.text(response, "id"), "id")
    at = fields.time(response, "datetime_utc")
    if told:
        yield Message(f"{id}~system", None, Speaker.SYSTEM, fields.said(told), 0, at, named=False)
    results = tuple(
        _result(one, f"{id}~{nth}", left) for nth, one in enumerate(fields.objects(response, "tool_results"))
    )
    if results:
        yield Message(f"{id}~results", None, Speaker.TOOL, results, 0, at, named=False)
    asked = (
        *(_attached(one, left) for one in fields.objects(response, "attachments")),
        *(fields.a_file(source, None, text) for source, text in _fragments(response, _FRAGMENTS, left)),
        *fields.said(fields.text(response, "prompt")),
    )
    if asked or not results:
        yield Message(f"{id}~prompt", None, Speaker.USER, asked, 0, at, named=False)
    calls = tuple(_call(one, f"{id}~{nth}", left) for nth, one in enumerate(fields.objects(response, "tool_calls")))
    yield Message(
        id=id,
        parent=None,
        speaker=Speaker.ASSISTANT,
        blocks=(
            *fields.thought(left.text(response, "reasoning", _RESPONSE)),
            *fields.said(fields.text(response, "response")),
            *calls,
        ),
        number=0,
        at=at,
        model=fields.text(response, "model"),
        usage=fields.tokens(response.get("input_tokens"), response.get("output_tokens")),
    )


def _attached(one: Mapping[str, Any], left: LeftOut) -> Block:
    left.of(one, _ATTACHMENT)
    kind = "image" if (fields.text(one, "type") or "").startswith("image/") else "document"
    url = fields.text(one, "url")
    return (
        fields.picture(url)
        if url and kind == "image"
        else fields.a_file(fields.text(one, "path"), fields.text(one, "id") or url, kind=kind)
    )


def _call(one: Mapping[str, Any], id: str, left: LeftOut) -> Block:
    left.of(one, _CALL)
    given = one.get("arguments")
    named = fields.text(one, "tool_call_id") or id
    found = given if isinstance(given, dict) else {"arguments": given}
    return {"type": "tool_use", "id": named, "name": fields.text(one, "name"), "input": found}


def _result(one: Mapping[str, Any], id: str, left: LeftOut) -> Block:
    left.of(one, _RESULT)
    output = one.get("output")
    if output is not None and not isinstance(output, str):
        raise Wrong("tool_results.output", f"text is needed, not {fields.kind_of(output)}")
    said: dict[str, Any] = {"type": "tool_result", "tool_use_id": fields.text(one, "tool_call_id") or id}
    if name := left.text(one, "name", _RESULT):
        said["name"] = name
    exception = left.text(one, "exception", _RESULT)
    attached = [_attached(each, left) for each in left.objects(one, "attachments", _RESULT)]
    text = fields.whole((output, exception))
    return {
        **said,
        "content": [*fields.said(text), *attached] if attached else text or "",
        **({"is_error": True} if exception else {}),
    }
