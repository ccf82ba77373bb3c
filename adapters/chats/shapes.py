"""A chat of another product as every reader hands it over, whatever its file looks like: messages with parents.

Nothing in it is of the law yet. A message has a speaker and content blocks, in the form that the Messages API has. What
becomes of it is for `turns` to say, and what is written for `writing`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from lastresort.domain.values import Category, Rating, Severity, Usage, Verdict

Block = Mapping[str, Any]


class Speaker(StrEnum):
    """Who a message is by. What a tool or a system says acts for nobody: it is kept with the words of a turn."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    SYSTEM = "system"


class Label(NamedTuple):
    """What a classifier said of a message of the user, under its name. Of risk it said nothing."""

    by: str
    verdict: Verdict
    category: Category | None = None
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A node of a chat.

    Attributes:
        id: within its chat: the one that the file gives it, or else its place.
        parent: the id of the message that it follows; None: nothing comes before it.
        number: its place in the chat, from 1, as people are told of it.
        at: when it was said, ISO 8601 in UTC; None if the file does not say.
        model: the name of the model, as the file has it; None if it names none.
        reply: the id of the answer of a model that this is a part of, where answers come in parts.
        extra: what else is kept with its words.
        named: whether `id` is one that the file gives.
    """

    id: str
    parent: str | None
    speaker: Speaker
    blocks: tuple[Block, ...]
    number: int = field(compare=False)
    at: str | None = None
    model: str | None = None
    reply: str | None = None
    stop_reason: str | None = None
    usage: Usage | None = None
    rating: Rating | None = None
    remark: str | None = None
    labels: tuple[Label, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    named: bool = True


class Aside(NamedTuple):
    """Something in a file that comes in as no message, and why."""

    why: str
    number: int = 0
    """How many there are that are not told one by one, or 0 of one that is."""
    places: tuple[str, ...] = ()
    """Where they are, if not where the chat is."""


@dataclass(frozen=True, slots=True)
class ForeignChat:
    """A conversation in a file.

    Attributes:
        format: which form of file it is from.
        id: of the conversation, as the file has it; None if it has none.
        user: whose it is, as the file has it.
        at: when it began, ISO 8601 in UTC.
        model: the model that answers where a message names none.
        system: what the model was told before anything was said.
        roots_are_edits: whether the first messages of the file are one another's edits; if not, each begins a
            conversation of its own.
        asides: what of it is no message.
        places: where messages are, by their numbers, if each has a place of its own in the file.
        about: what else the file says of the conversation, kept with the words of its first turn.
        left_out: what of it is not taken in, and how often.
        told_apart: what tells chats apart that bear one id, where a form of file gives an id to several.
    """

    format: str
    id: str | None
    messages: Sequence[Message]
    title: str | None = None
    tags: tuple[str, ...] = ()
    user: str | None = None
    at: str | None = None
    model: str | None = None
    system: str | None = None
    roots_are_edits: bool = True
    asides: tuple[Aside, ...] = ()
    places: Mapping[int, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    told_apart: str = ""


class Wrong(Exception):
    """A field of a chat is not what it should be: where in it, and why, without a word that stands there."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}" if where else why)
        self.where, self.why = where, why
