"""The history of a branch: the messages for the API, and who said what, for an assessor.

It grows with the path, and is kept in memory for the branches used last, since reading and unsealing a long
conversation takes longer than the rest of a turn. What is sent follows from the path alone, kept or not.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple

from lastresort.application.chat import Chat
from lastresort.application.ports import Place
from lastresort.domain.events import AssistantTurnTaken, ContentErased, RecordedEvent, UserTurnTaken
from lastresort.domain.state import Conversation
from lastresort.domain.turn_text import messages_in, readable

from .leaving_out import EARLIER, LeftOut, SentTurn, left_out
from .words import Message, sendable, well_formed

GONE = "[These words were erased.]"
REFUSAL = "refusal"


class WaitingTurn(NamedTuple):
    """A turn of the user: its version, the messages it is sent as, and what people read of it.

    `overtook` are the messages of an answer to the turn before, as far as the user was shown it by then.
    """

    version: int
    messages: Sequence[Message]
    text: str
    overtook: Sequence[Message] = ()


@dataclass(frozen=True, slots=True)
class History:
    """A path up to a version.

    Attributes:
        version: of the last event that it covers.
        answered: the turns up to the last answer. What the model refused to answer, or the API refused to take, is not
            sent, or sent as text: they would refuse every request that shows it.
        waiting: what the user said since. A turn that came while the model was answering an earlier one is on the path
            before that answer, and sent after it, as the model saw it.
        setup: what the conversation began with, None if no turn has been kept with it.
        container: that the latest code of the model ran in, None if there was none.
        since: the turn that is sent first, by version; 0 if all are.
        doubled: whether the user ever took a turn before the one before was answered: only then can there be `shown`.
        shown: what is kept beside the log of answers that were overtaken, by the place of the turn that overtook them.
    """

    version: int = 0
    answered: tuple[SentTurn, ...] = ()
    waiting: tuple[WaitingTurn, ...] = ()
    setup: Mapping[str, Any] | None = None
    container: Mapping[str, Any] | None = None
    since: int = 0
    doubled: bool = False
    shown: Mapping[Place, tuple[str, ...]] = field(default_factory=dict)

    @property
    def turns(self) -> list[tuple[str, str]]:
        """`user` or `assistant`, and what people read, up to the last answer."""
        return [(turn.role, turn.text) for turn in self.answered]

    def sent(self, left: LeftOut) -> list[SentTurn]:
        """Return the turns to send: all that are sent usually, but for what is left out."""
        since = max(self.since, left.since)
        turns = [turn.as_text() if turn.version in left.as_text else turn for turn in self.answered]
        waiting = [turn for turn in _as_sent(self.waiting, left.without) if turn.version not in left.without]
        return [turn for turn in (*turns, *waiting) if turn.version >= since]

    def messages(self, left: LeftOut) -> list[tuple[int, Message]]:
        """Return the messages to send, each with the version of its turn; 0 of a note that there are earlier ones."""
        note = {"role": "user", "content": [{"type": "text", "text": EARLIER}]}
        noted = [(0, note)] if max(self.since, left.since) else []
        return [*noted, *((turn.version, message) for turn in self.sent(left) for message in turn.messages)]

    def refused_for(self, answer: int) -> tuple[int, ...]:
        """Return the user's turns that the refusal at version `answer` may be about, the likeliest first.

        That is the latest. But what was refused is not sent again: if the answer before it was refused as well, it is
        about a turn that was answered before.
        """
        said = [turn for turn in (*self.answered, *_as_sent(self.waiting, ())) if self.since <= turn.version < answer]
        answers = [place for place, turn in enumerate(said) if turn.role == "assistant"]
        before, unit = (said[: answers[-1] + 1], said[answers[-1] + 1 :]) if answers else ([], said)
        earlier = [turn.version for turn in reversed(before) if turn.role == "user" and turn.messages]
        latest = [turn.version for turn in reversed(unit)]
        again = bool(before) and not before[-1].messages
        return tuple([*earlier, *latest] if again else [*latest, *earlier])

    def after(self, events: Iterable[RecordedEvent], words: Mapping[str, str]) -> "History":
        """Return the history after `events`, given the `words` that are still kept, by digest."""
        answered, waiting = list(self.answered), list(self.waiting)
        version, setup, container, since = self.version, self.setup, self.container, self.since
        doubled = self.doubled
        for recorded in events:
            event, version = recorded.event, recorded.version
            if isinstance(event, UserTurnTaken):
                kept, text = _kept("user", recorded, words.get(event.content))
                doubled = doubled or bool(waiting)
                overtook = self.shown.get(Place(recorded.branch, version), ())
                waiting.append(WaitingTurn(version, kept["messages"], text, list(_messages_of(overtook))))
            elif isinstance(event, AssistantTurnTaken):
                kept, text = _kept("assistant", recorded, words.get(event.content))
                setup = setup or kept.get("setup")
                container = kept.get("container", container)
                seen, left = kept.get("answers", version), left_out(kept)
                since = max(since, left.since)
                if left.as_text:
                    answered = [turn.as_text() if turn.version in left.as_text else turn for turn in answered]
                heard = [said for said in waiting if said.version <= seen]
                refused = [said.version for said in heard] if event.stop_reason == REFUSAL else []
                answered += _as_sent(heard, (*left.without, *refused))
                sent = event.stop_reason != REFUSAL
                answered.append(SentTurn(version, "assistant", tuple(sendable(kept["messages"])) if sent else (), text))
                waiting = [said for said in waiting if said.version > seen]
        return History(version, tuple(answered), tuple(waiting), setup, container, since, doubled, self.shown)


def _as_sent(waiting: Iterable[WaitingTurn], without: Sequence[int]) -> Iterator[SentTurn]:
    """Yield turns of the user as they are sent: with no messages, if an answer is given `without` them."""
    follows = False  # what a turn overtook follows another turn
    for said in waiting:
        sent = said.version not in without
        messages = (*(said.overtook if follows else ()), *said.messages) if sent else ()
        yield SentTurn(said.version, "user", messages, said.text)
        follows = follows or sent


def _messages_of(answers: Iterable[str]) -> Iterator[Message]:
    for words in answers:
        kept = messages_in(words)
        yield from sendable(
            [{"role": "assistant", "content": [{"type": "text", "text": words}]}] if kept is None else kept["messages"]
        )


def given_without(words: str) -> LeftOut:
    """Return what an answer was given without."""
    return left_out(messages_in(words) or {})


def _kept(role: str, recorded: RecordedEvent, words: str | None) -> tuple[dict[str, Any], str]:
    """Return what is kept of a turn, and what people read of it."""
    messages = messages_in(words) if words else None
    if words is None or messages is None:
        text = well_formed(words) if words and words.strip() else GONE  # kept by others, it may hold half a character
        return {"messages": [{"role": role, "content": [{"type": "text", "text": text}]}]}, text
    return messages, readable(recorded, words)


class Histories:
    """The histories of the branches used last, at most `size` of them."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._kept: OrderedDict[str, History] = OrderedDict()
        self._lock = Lock()

    def upto(self, chat: Chat, state: Conversation) -> History:
        """Return the history of a branch up to `state` at least; what is not in memory is read."""
        with self._lock:
            history = self._kept.get(chat.branch)
        if history is not None and history.doubled and history.shown != _shown(chat, state):
            history = None  # an answer was overtaken since, and that is no event
        if history is not None and history.version == state.version:
            return history
        new: Sequence[RecordedEvent] = ()
        if history is not None:
            new = chat.conversations.store.read(state.conversation, chat.branch, after=history.version)
        if history is None or any(isinstance(recorded.event, ContentErased) for recorded in new):
            history, new = History(), chat.path
        after = history.after(new, chat.conversations.words(new))
        if after.doubled and after.shown != (shown := _shown(chat, state)):
            path = chat.path
            after = History(shown=shown).after(path, chat.conversations.words(path))
        return self.keep(chat.branch, after)

    def keep(self, branch: str, history: History) -> History:
        """Keep a history for the next turn, and return it."""
        with self._lock:
            self._kept[branch] = history
            self._kept.move_to_end(branch)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return history


def _shown(chat: Chat, state: Conversation) -> Mapping[Place, tuple[str, ...]]:
    return chat.conversations.service.annotator.shown(state.conversation)
