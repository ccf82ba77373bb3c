"""What a path holds: the messages for the API, and for an assessor who said what.

It grows with the path, and is kept in memory for the branches used last, since reading and unsealing a long
conversation takes longer than all else that a turn does. What is sent follows from the path alone, kept or not.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from lastresort.domain.chat import Chat
from lastresort.domain.events import AssistantTurnTaken, ContentErased, Recorded, UserTurnTaken
from lastresort.domain.state import Conversation
from lastresort.projections.said import is_messages, readable

from .words import Message

GONE = "[These words were erased.]"
REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class History:
    """A path up to a version.

    Attributes:
        version: of the last event that is taken in.
        messages: those that are sent. A unit that the API refused to answer is left out, since it refuses on as long as
            it is shown it.
        turns: `user` or `assistant`, and what people read.
        unit, sent: where in `turns` and in `messages` the current unit begins.
        setup: what the conversation began with, None if no turn has been kept with it.
    """

    version: int = 0
    messages: tuple[Message, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()
    unit: int = 0
    sent: int = 0
    setup: Mapping[str, Any] | None = None

    def after(self, events: Iterable[Recorded], words: Mapping[str, str]) -> "History":
        """Return the history after `events`. `words` are those that are kept, by digest."""
        messages, turns = list(self.messages), list(self.turns)
        version, unit, sent, setup = self.version, self.unit, self.sent, self.setup
        for recorded in events:
            event, version = recorded.event, recorded.version
            if not isinstance(event, UserTurnTaken | AssistantTurnTaken):
                continue
            role = "user" if isinstance(event, UserTurnTaken) else "assistant"
            said, told, began = _kept(role, recorded, words.get(event.content))
            setup = setup or began
            turns.append((role, told))
            if isinstance(event, AssistantTurnTaken) and event.stop_reason == REFUSAL:
                del messages[sent:]
            else:
                messages += said
            if isinstance(event, AssistantTurnTaken):
                unit, sent = len(turns), len(messages)
        return History(version, tuple(messages), tuple(turns), unit, sent, setup)

    @property
    def latest(self) -> tuple[str, ...]:
        """What the user has said since the last answer."""
        return tuple(told for role, told in self.turns[self.unit :])


def _kept(role: str, recorded: Recorded, words: str | None) -> tuple[Sequence[Message], str, Mapping[str, Any] | None]:
    """Return the messages of a turn, what people read of it, and, of the first, what the conversation began with."""
    if words is None or not is_messages(recorded):
        text = words if words and words.strip() else GONE
        return [{"role": role, "content": [{"type": "text", "text": text}]}], text, None
    kept = json.loads(words)
    return kept["messages"], readable(recorded, words), kept.get("setup")


class Histories:
    """The histories of the branches used last, at most `size` of them."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._kept: OrderedDict[str, History] = OrderedDict()
        self._lock = Lock()

    def upto(self, chat: Chat, state: Conversation) -> History:
        """Return the history of a branch, no shorter than `state`, reading what is not kept of it."""
        with self._lock:
            history = self._kept.get(chat.branch)
        if history is not None and history.version == state.version:
            return history
        new: Sequence[Recorded] = ()
        if history is not None:
            new = chat.conversations.store.read(chat.branch, after=history.version)
        if history is None or any(isinstance(recorded.event, ContentErased) for recorded in new):
            history, new = History(), chat.path
        return self.keep(chat.branch, history.after(new, chat.conversations.words(new)))

    def keep(self, branch: str, history: History) -> History:
        """Keep a history for the next turn, and return it."""
        with self._lock:
            self._kept[branch] = history
            self._kept.move_to_end(branch)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return history
