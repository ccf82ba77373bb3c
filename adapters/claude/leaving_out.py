"""What a request is made without, where the API does not take all that is on record.

What is recorded stays. But one block that the API stops taking, a picture whose link is dead, a container that is
gone, or a window that is outgrown would be in every later request, and the conversation could never go on. So the
request is made again with less, as little less as will do; the answer keeps what it was given without, and later
requests are made without it too.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from anthropic import APIStatusError, RequestTooLargeError

from .words import Message

_PLACE = re.compile(r"messages\.(\d+)(?:\.content\.(\d+))?")
_OUTGROWN = re.compile(
    r"(prompt|input|request) is too (long|large)|context[ _](window|limit|length)|too many (input )?tokens",
    re.IGNORECASE,
)
_MEDIA = re.compile(r"\b(images?|documents?|pdf|files?|url|media|download)\b", re.IGNORECASE)
_ELSEWHERE = ("url", "file")

NOT_ALL = "[A note from the application, not from the user: what else was here can no longer be shown.]"
NOT_SHOWN = "[This answer can no longer be shown.]"
EARLIER = "[A note from the application, not from the user: this conversation is longer; it is shown from here on.]"


class LeftOut(NamedTuple):
    """What a request is made without: turns of the user that wait for an answer too (`without`); of answered turns, all
    but what people read of them (`as_text`), or the turns themselves, before the one at `since`. By version."""

    without: tuple[int, ...] = ()
    as_text: tuple[int, ...] = ()
    since: int = 0

    def kept(self) -> dict[str, Any]:
        """Return it as an answer keeps it."""
        return {name: value for name, value in self._asdict().items() if value}


def left_out(kept: dict[str, Any]) -> LeftOut:
    """Return what an answer was given without, as it keeps it."""
    without, as_text = (tuple(kept.get(name, ())) for name in ("without", "as_text"))
    return LeftOut(without, as_text, kept.get("since", 0))


class SentTurn(NamedTuple):
    """A turn: its version, whose it is (`user` or `assistant`), the messages that it is sent as, which may be none, and
    what people read of it."""

    version: int
    role: str
    messages: tuple[Message, ...]
    text: str

    def as_text(self) -> "SentTurn":
        """Return the turn as it is sent when the API no longer takes it as it was."""
        user = self.role == "user"
        text = "\n\n".join(filter(None, (self.text.strip(), NOT_ALL))) if user else self.text.strip() or NOT_SHOWN
        message = {"role": self.role, "content": [{"type": "text", "text": text}]}
        return self._replace(messages=(message,) if self.messages else ())

    @property
    def refers(self) -> bool:
        """Whether it refers to a picture or a document that is kept elsewhere, perhaps in the result of a tool."""
        return any(_refers(block) for message in self.messages for block in message["content"])


def _refers(block: dict[str, Any]) -> bool:
    inside, source = block.get("content"), block.get("source")
    if block["type"] == "tool_result":
        return isinstance(inside, list) and any(map(_refers, inside))
    return block["type"] == "container_upload" or (isinstance(source, dict) and source.get("type") in _ELSEWHERE)


class Full(NamedTuple):
    """A conversation that has outgrown the model's window: the turns that were sent, those that wait for an answer
    last."""

    branch: str
    turns: tuple[SentTurn, ...]


OnFull = Literal["raise", "drop-oldest"] | Callable[[Full], int | None]
"""What to do then: raise the error; send the later half, and of that the later half again; or what a function says,
which returns the version of the user's turn to send from, or None to raise the error."""


def said_in(refusal: APIStatusError) -> str:
    """Return what the API says of a request that it does not take."""
    return str(refusal.message)


def refused_place(said: str) -> tuple[int, int] | None:
    """Return the place that a refusal names first, as a message and a block, None if it names none."""
    found = _PLACE.search(said)
    return (int(found[1]), int(found[2] or 0)) if found else None


def outgrew(refusal: APIStatusError) -> bool:
    """Whether a request was refused since it is too long."""
    return isinstance(refusal, RequestTooLargeError) or _OUTGROWN.search(said_in(refusal)) is not None


def with_links(said: str, turns: Iterable[SentTurn]) -> tuple[int, ...]:
    """Return the turns that refer to what a refusal may be about, where it names no place: by version. What was sent
    whole, and taken once, is taken again."""
    if not _MEDIA.search(said) or refused_place(said) is not None:
        return ()
    return tuple(turn.version for turn in turns if turn.refers)


def sent_since(on_full: OnFull, branch: str, turns: Sequence[SentTurn]) -> int | None:
    """Return the version of the turn to send from, now that `turns` were too many; None if the error is to be raised.

    Raises:
        ValueError: the application's function names what is no later turn of the user that was sent.
    """
    later = [turn.version for turn in turns if turn.role == "user" and turn.messages][1:]
    if on_full == "raise" or not later:
        return None
    if on_full == "drop-oldest":
        return later[(len(later) - 1) // 2]
    since = on_full(Full(branch, tuple(turns)))
    if since is not None and (type(since) is not int or since not in later):  # without what it is: it was shown words
        raise ValueError(f"on_full returned what is no later turn of the user that was sent, which are: {later}")
    return since
