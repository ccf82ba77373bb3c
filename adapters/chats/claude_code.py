"""Sessions of Claude Code: JSON lines, one a content block, a tree by `parentUuid`. A file may hold several sessions.

What a helper of the model said (a sidechain) is no part of the conversation. A summary that stands for what was
compacted, a note of the program's own, and an error that it shows as an answer act for nobody. What a person typed
beside a result of a tool stands in one line with it: that is two messages, of which the person's has the line's id.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import fields
from .files import Value
from .left_out import LeftOut, known, says
from .shapes import Aside, Block, ForeignChat, Message, Speaker

NAME = "claude-code"
_SYNTHETIC = "<synthetic>"
_REMINDER = "<system-reminder>"
"""How a text begins that the program puts beside what a tool returned, under the user's name."""
_LINE = known(
    "a line",
    "type uuid parentUuid logicalParentUuid sessionId isSidechain isMeta isCompactSummary isApiErrorMessage message "
    "content timestamp version cwd gitBranch userType requestId slug level toolUseID parentToolUseID subtype "
    "toolUseResult "
    "isVisibleInTranscriptOnly compactMetadata entrypoint permissionMode promptId sourceToolAssistantUUID "
    "sourceToolUseID agentId teamName forkedFrom origin thinkingMetadata imagePasteIds apiErrorStatus hookCount "
    "durationMs",
    "error hookInfos hookErrors stopReason todos attachment data attributionSkill mcpMeta snapshot",
)
_MESSAGE = known(
    "the message of a line",
    "id type role model content stop_reason stop_sequence usage container",
    "context_management",
)
SIDECHAIN = "lines of sidechains, which are no part of the conversation"
OTHER = "lines that hold no message"


@dataclass
class _Session:
    """What was read so far of a session."""

    first: str
    messages: list[Message] = field(default_factory=list)
    passed: dict[str, str | None] = field(default_factory=dict)  # the parents of lines that are no messages
    places: dict[int, str] = field(default_factory=dict)  # of the messages, by their numbers
    sidechain: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    left: LeftOut = field(default_factory=LeftOut)


def knows(value: Any) -> bool:
    """Whether a value is a line of this form."""
    if not isinstance(value, dict):
        return False
    a_line = "parentUuid" in value and "sessionId" in value
    return a_line or ("leafUuid" in value and value.get("type") == "summary") or value.get("type") in _BESIDE


_BESIDE = ("file-history-snapshot", "queue-operation")


def read(values: Iterable[Value]) -> Iterator[tuple[str, ForeignChat]]:
    """Yield the sessions of a file, each with the place of its first line."""
    sessions: dict[str, _Session] = {}
    title: str | None = None
    other: list[str] = []  # of no session, and told with those of the first
    for place, value in values:
        with fields.within(place):
            line = fields.an_object(value, "")
            kind = fields.text(line, "type")
            id = fields.text(line, "sessionId")
            if id is None:
                title = fields.text(line, "summary") if kind == "summary" else title
                other.append(place)
                continue
            if id not in sessions:
                sessions[id] = _Session(place, other=[] if sessions else other)
            _take(sessions[id], place, line, kind)
    if other and not sessions:
        yield other[0], ForeignChat(NAME, None, (), asides=(Aside(OTHER, len(other), tuple(other)),))
    for id, session in sessions.items():
        left = ((SIDECHAIN, session.sidechain), (OTHER, session.other))
        yield (
            session.first,
            ForeignChat(
                format=NAME,
                id=id,
                messages=tuple(_past(message, session.passed) for message in session.messages),
                title=title,
                roots_are_edits=False,
                asides=tuple(Aside(why, len(places), tuple(places)) for why, places in left if places),
                places=session.places,
                left_out=session.left.counted,
            ),
        )


def _past(message: Message, passed: dict[str, str | None]) -> Message:
    """Return a message that follows the nearest message above it. `passed` then leads there at once."""
    parent, seen = message.parent, set[str]()
    while parent is not None and parent in passed and parent not in seen:
        seen.add(parent)
        parent = passed[parent]
    passed.update(dict.fromkeys(seen, parent))
    return message if parent == message.parent else replace(message, parent=parent)


def _take(session: _Session, place: str, line: Mapping[str, Any], kind: str | None) -> None:
    id = fields.text(line, "uuid")
    parent = fields.text(line, "parentUuid") or fields.text(line, "logicalParentUuid")
    if id is None:
        session.other.append(place)
        return
    if line.get("isSidechain") is True:
        session.sidechain.append(place)
        return
    said = fields.mapping(line, "message")
    content = said.get("content") if said else line.get("content")
    if kind not in ("user", "assistant", "system") or content is None:
        session.passed[id] = parent
        session.other.append(place)
        return
    session.left.of(line, _LINE)
    session.left.of(said, _MESSAGE)
    if said and says(line.get("content")):
        session.left.field("content", _LINE)
    returned = line.get("toolUseResult")
    blocks = fields.blocks(content)
    model = fields.text(said, "model")
    message = Message(
        id=id,
        parent=parent,
        speaker=_speaker(kind, line, model, any(one["type"] == "tool_result" for one in blocks)),
        blocks=blocks,
        number=0,
        at=fields.time(line, "timestamp"),
        model=None if model == _SYNTHETIC else model,
        reply=fields.text(said, "id"),
        stop_reason=fields.text(said, "stop_reason"),
        usage=_usage(said),
        extra={"toolUseResult": returned} if says(returned) else {},
    )
    for one in _apart(message):
        session.messages.append(replace(one, number=len(session.messages) + 1))
        session.places[len(session.messages)] = place


def _apart(message: Message) -> Iterator[Message]:
    """Yield a message, or what tools returned and what a person typed beside that, if one line holds both."""
    typed = tuple(one for one in message.blocks if not _is_the_tools(one))
    if message.speaker is not Speaker.TOOL or not any(one["type"] == "text" and one["text"].strip() for one in typed):
        yield message
        return
    results = f"{message.id}~results"
    returned = tuple(filter(_is_the_tools, message.blocks))
    yield replace(message, id=results, speaker=Speaker.TOOL, blocks=returned, named=False)
    yield replace(message, parent=results, speaker=Speaker.USER, blocks=typed, extra={})


def _is_the_tools(block: Block) -> bool:
    return block["type"] == "tool_result" or (block["type"] == "text" and str(block["text"]).startswith(_REMINDER))


def _usage(said: Mapping[str, Any]) -> Any:
    """Return the tokens of an answer; what was read from a cache or written to it was sent as well."""
    found = fields.mapping(said, "usage")
    sent = [found.get(f"{name}input_tokens", 0) for name in ("", "cache_creation_", "cache_read_")]
    counts = [one for one in sent if type(one) is int]
    return fields.tokens(sum(counts), found.get("output_tokens")) if len(counts) == len(sent) else None


def _speaker(kind: str, line: Mapping[str, Any], model: str | None, holds_result: bool) -> Speaker:
    nobody = any(line.get(name) is True for name in ("isMeta", "isCompactSummary", "isApiErrorMessage"))
    if kind == "system" or nobody or model == _SYNTHETIC:
        return Speaker.SYSTEM
    if kind == "assistant":
        return Speaker.ASSISTANT
    return Speaker.TOOL if holds_result else Speaker.USER
