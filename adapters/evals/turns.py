"""The events of a branch as Inspect shows them: what was said as messages and calls of a model, the law as sentences.

In the viewer's transcript a user's turn is an InputEvent, which is shown as plain text; an answer is a ModelEvent, and
what the law recorded an InfoEvent whose data is a sentence in Markdown, with the event itself in its metadata.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from inspect_ai.event import BranchEvent, Event, InfoEvent, InputEvent, ModelEvent
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolCall

from lastresort.application.ports import Place
from lastresort.domain.events import AssistantTurnTaken, BranchOpened, RecordedEvent, UserTurnTaken, content_of
from lastresort.domain.turn_text import Piece, leaves, pieces
from lastresort.projections.transcript import describe

SOURCE = "lastresort"
NO_WORDS = "[words are not in this log]"
_STOPS: Mapping[str, Any] = {"max_tokens": "max_tokens", "tool_use": "tool_calls", "refusal": "content_filter"}
_CALLED = frozenset({"id", "name", "input"})
_MARKDOWN = re.compile(r"[\\`*\]~$]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
"""What could make a name in a sentence into markup; the viewer itself takes care of HTML, and knows no entities."""


class Said(NamedTuple):
    """The words that go into an eval log.

    Attributes:
        words: by digest.
        prompts: the system prompts of conversations, by their ids.
        overtook: what users were shown of answers, by the place of the turn that overtook them.
    """

    words: Mapping[str, str] = {}
    prompts: Mapping[str, str] = {}
    overtook: Mapping[Place, tuple[str, ...]] = {}


NOTHING = Said()
"""No words at all: of messages there is only that there were some."""


def prompt_of(conversation: str, said: Said) -> list[ChatMessage]:
    """Return the system prompt of a conversation as a message, if it has one."""
    found = said.prompts.get(conversation)
    return [] if found is None else [ChatMessageSystem(content=found)]


def messages_of(one: RecordedEvent, said: Said) -> list[ChatMessage]:
    """Return what a turn consists of, a message for each who speaks in it, and first answers that it overtook; none of
    what is no turn."""
    if not isinstance(one.event, UserTurnTaken | AssistantTurnTaken):
        return []
    user = isinstance(one.event, UserTurnTaken)
    place = Place(one.branch, one.version)
    found = [piece for shown in said.overtook.get(place, ()) for piece in pieces(shown, "assistant", "overtook")]
    words = said.words.get(one.event.content)
    role = "user" if user else "assistant"
    found += [Piece(role, "text", "", NO_WORDS)] if words is None else pieces(words, role)
    beside = {piece.kind: piece.text or piece.rest for piece in found if piece.by is None}
    told = {"branch": one.branch, "version": one.version, "at": one.recorded_at, **({"kept": beside} if beside else {})}
    runs = groupby((piece for piece in found if piece.by is not None), lambda piece: _speaker(piece, one))
    messages = [_message(role, list(run), told, one) for (role, _), run in runs]
    return messages or [_message(role, [], told, one)]


def _speaker(piece: Piece, one: RecordedEvent) -> tuple[str, bool]:
    """Return who says a piece, and whether it stood before the turn."""
    return piece.by or "", piece.place.startswith(("overtook", "others"))


def _message(role: str, run: list[Piece], told: dict[str, Any], one: RecordedEvent) -> ChatMessage:
    about: dict[str, Any] = {"content": [_content(piece) for piece in run if not _is_call(piece)], "metadata": told}
    if role == "assistant":
        calls = [_call(piece) for piece in run if _is_call(piece)]
        return ChatMessageAssistant(model=getattr(one.event, "model", None), tool_calls=calls or None, **about)
    if role == "tool":
        return ChatMessageTool(tool_call_id=_id_in(run), **about)
    return (ChatMessageUser if role == "user" else ChatMessageSystem)(**about)


def _is_call(piece: Piece) -> bool:
    called = piece.rest
    return piece.kind.endswith("tool_use") and called.keys() == _CALLED and isinstance(called["input"], dict)


def _call(piece: Piece) -> ToolCall:
    return ToolCall(id=str(piece.rest["id"]), function=str(piece.rest["name"]), arguments=piece.rest["input"])


def _id_in(run: list[Piece]) -> str | None:
    return next((str(piece.rest["tool_use_id"]) for piece in run if "tool_use_id" in piece.rest), None)


def _content(piece: Piece) -> Content:
    if piece.kind == "thinking" and piece.rest.keys() <= {"signature"}:
        return ContentReasoning(reasoning=piece.text, signature=piece.rest.get("signature"))
    return ContentText(text=_text(piece))


def _text(piece: Piece) -> str:
    kind = piece.kind if piece.read else f"{piece.kind}, not shown to the user"
    rest = "".join(f"; {name}: {value}" for name, value in leaves(piece.rest))
    return piece.text if kind == "text" and not rest else f"[{kind}{rest}] {piece.text}".rstrip()


def usage_of(one: RecordedEvent) -> ModelUsage | None:
    """Return the tokens that an answer took, if they are recorded."""
    found = one.event.usage if isinstance(one.event, AssistantTurnTaken) else None
    if found is None:
        return None
    total = found.input_tokens + found.output_tokens
    return ModelUsage(input_tokens=found.input_tokens, output_tokens=found.output_tokens, total_tokens=total)


# --- events -----------------------------------------------------------------------------------------------------------


def events_of(path: Iterable[RecordedEvent], said: Said) -> Iterator[Event]:
    """Yield the events of a path as Inspect has them, in order."""
    begun: datetime | None = None
    for one in path:
        at = datetime.fromisoformat(one.recorded_at)
        begun = begun or at
        told = {"branch": one.branch, "version": one.version, "command_id": one.command_id}
        told |= {"kind": one.kind, "event": one.event.model_dump(mode="json")}
        since = max(0.0, (at - begun).total_seconds())
        common: dict[str, Any] = {"timestamp": at, "working_start": since, "metadata": told}
        named = common | {"uuid": str(one.event_id)}
        if isinstance(one.event, BranchOpened):
            yield BranchEvent(from_anchor=f"{one.event.parent}@{one.event.at}", **named)
        elif isinstance(one.event, UserTurnTaken):
            yield _spoken(f"turn {one.version}, the user", messages_of(one, said), named)
        elif isinstance(one.event, AssistantTurnTaken):
            yield from _answered(one, one.event, said, named)
        else:
            yield InfoEvent(source=SOURCE, data=f"{one.version}: {_in_markdown(describe(one.event))}", **named)
            if (words := said.words.get(content_of(one.event) or "")) is not None:
                found = [ChatMessageUser(content=_text(piece)) for piece in pieces(words, "user")]
                yield _spoken(f"{one.version}, in the user's words", [*found], common)


def _spoken(head: str, messages: list[ChatMessage], common: dict[str, Any]) -> InputEvent:
    said = [_plain(message, "user") for message in messages]
    beside = [f"[{name}: {value}]" for one in messages[-1:] for name, value in leaves(_kept(one))]
    told = "\n\n".join((f"\n{head}:", *said, *beside))  # a line first, over which the viewer has the event's head
    return InputEvent(input=told, input_ansi=told.replace("\x1b", "\N{SYMBOL FOR ESCAPE}"), **common)


def _answered(one: RecordedEvent, event: AssistantTurnTaken, said: Said, common: dict[str, Any]) -> Iterator[Event]:
    """Yield an answer, a call for each message of the model in it; the last one is the turn, and bears its id."""
    spoken = messages_of(one, said)
    if not isinstance(spoken[-1], ChatMessageAssistant):  # a tool's result, say, at which the answer broke off
        spoken.append(ChatMessageAssistant(content="", model=event.model, metadata=spoken[-1].metadata))
    heard: list[ChatMessage] = []
    for number, message in enumerate(spoken, 1):
        last = number == len(spoken)
        beside = dict(leaves(_kept(message))) if last else {}
        shown = message.model_copy(update={"metadata": beside or None})
        if not isinstance(shown, ChatMessageAssistant):
            heard.append(shown)
            continue
        stop = _STOPS.get(event.stop_reason or "", "stop") if last else "tool_calls"
        output = ModelOutput(
            model=event.model,
            choices=[ChatCompletionChoice(message=shown, stop_reason=stop)],
            usage=usage_of(one) if last else None,
        )
        yield ModelEvent(
            model=event.model,
            role=f"turn {one.version}",
            input=heard,
            tools=[],
            tool_choice="none",
            config=GenerateConfig(),
            output=output,
            **(common if last else {name: value for name, value in common.items() if name != "uuid"}),
        )
        heard = []


def _kept(message: ChatMessage) -> dict[str, Any]:
    """Return what was kept beside a message; where and when it was said, its event tells."""
    found = (message.metadata or {}).get("kept")
    return found if isinstance(found, dict) else {}


def _plain(message: ChatMessage, speaker: str) -> str:
    by = "" if message.role == speaker else f"{message.role}: "
    return by + "\n".join(
        one.reasoning if isinstance(one, ContentReasoning) else getattr(one, "text", "")
        for one in (message.content if isinstance(message.content, list) else [ContentText(text=message.content)])
    )


def _in_markdown(told: str) -> str:
    """Return a sentence so that no name in it is markup."""
    return _MARKDOWN.sub(r"\\\g<0>", told)
