"""From the messages of a foreign chat to turns that the law knows.

The law knows turns of a user and of a model, and that a model answers a user. Foreign trees hold more: several
messages of a model in a row, results of tools, instructions midway, a greeting before anybody asked. So

* what a model and its tools say without a user between is one answer;
* what a system says, a summary, a tool that nobody called, and a model that nobody asked, are kept with the words of
  the turn that comes next, and act for nobody;
* a message whose parent is missing, and one of a circle of parents, begin a conversation of their own.

Nothing is lost without a note that says what, where and why.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from lastresort.adapters.chats.shapes import ForeignChat, Message, Speaker, Wrong
from lastresort.domain.values import Usage


class Became(StrEnum):
    """What became of a message that is no turn of its own."""

    PART_OF_ANSWER = "folded into the answer that it is a part of"
    TOOL_IN_ANSWER = "a tool's, folded into the answer that called it"
    WITH_NEXT = "a system's or a tool's, kept with the words of the next turn, acts for nobody"
    WITH_ANSWER = "a system's, kept with the words of the answer around it, acts for nobody"
    OPENING = "a model's before anybody asked, kept with the words of the first turn of the user"
    TWICE = "the same message again, left out"
    NOTHING_AFTER = "left out: no turn comes after it that it could be kept with"
    ORPHAN = "begins a conversation of its own: the message that it follows is missing"
    CIRCLE = "begins a conversation of its own: it follows itself, by a circle of messages"
    SECOND_BEGINNING = "begins a conversation of its own: it is a second beginning"


class Note(NamedTuple):
    """What became of a message, by its number."""

    became: Became
    number: int


class Turn(NamedTuple):
    """A turn, and the one that it follows, by its place among the turns of its part; None: it is a first one.

    Attributes:
        key: what it is known by when the file comes again: the id of a message of it.
        said: the messages of it; of a user, one.
        before: messages that are kept with it, and are nobody's act.
    """

    key: str
    parent: int | None
    speaker: Speaker
    said: tuple[Message, ...]
    before: tuple[Message, ...]


class Part(NamedTuple):
    """Turns with one beginning, parents before children. `head` names the message that begins it, if the file's own
    beginning does not."""

    head: str | None
    turns: tuple[Turn, ...]


class _Open(NamedTuple):
    """Where a walk stands: after which turn, in which answer and with what before it, and what waits for what comes."""

    turn: int | None = None
    key: str = ""
    answer: tuple[Message, ...] = ()
    before: tuple[Message, ...] = ()
    waiting: tuple[Message, ...] = ()


def turns_of(chat: ForeignChat) -> tuple[tuple[Part, ...], tuple[Note, ...]]:
    """Return the turns of a chat, part by part, and what became of the messages that are none.

    Raises:
        Wrong: two messages have one id and are not the same.
    """
    notes: list[Note] = []
    by_id = _by_id(chat.messages, notes)
    children: dict[str | None, list[Message]] = defaultdict(list)
    for message in by_id.values():
        children[message.parent].append(message)
    for siblings in children.values():
        siblings.sort(key=lambda one: (one.at or "", one.number))
    parts: list[Part] = []
    for head, firsts, why in _beginnings(chat, by_id, children):
        walk = _Walk(children)
        walk.down(firsts)
        if walk.turns:
            parts.append(Part(head, tuple(walk.turns)))
            notes += [Note(why, firsts[0].number)] if why is not None else []
        notes += walk.notes()
    return tuple(parts), tuple(sorted(notes, key=lambda note: note.number))


def _by_id(messages: Iterable[Message], notes: list[Note]) -> dict[str, Message]:
    found: dict[str, Message] = {}
    for message in messages:
        first = found.setdefault(message.id, message)
        if first is not message:
            if first != message:
                raise Wrong(f"message {message.number}", f"has the id of message {first.number}, and is another one")
            notes.append(Note(Became.TWICE, message.number))
    return found


def _beginnings(
    chat: ForeignChat, by_id: Mapping[str, Message], children: Mapping[str | None, list[Message]]
) -> Iterator[tuple[str | None, Sequence[Message], Became | None]]:
    """Yield where the walks begin, so that they reach each message once, each with what names it, and why it begins a
    conversation of its own, if it does.

    A circle is cut where it is walked into, before its message of the least number.
    """
    reached: set[str] = set()
    roots = children.get(None, [])
    if chat.roots_are_edits and roots:
        _reach(roots, children, reached)
        yield None, roots, None
        roots = []
    for number, root in enumerate(roots):
        _reach([root], children, reached)
        yield (root.id, [root], Became.SECOND_BEGINNING) if number else (None, [root], None)
    orphans = [one for one in by_id.values() if one.parent is not None and one.parent not in by_id]
    for orphan in orphans:
        _reach([orphan], children, reached)
        yield orphan.id, [orphan], Became.ORPHAN
    for message in by_id.values():
        if message.id not in reached:
            head = _in_circle(message, by_id)
            siblings = children[head.parent]
            siblings.remove(head)
            _reach([head], children, reached)
            yield head.id, [head], Became.CIRCLE


def _in_circle(message: Message, by_id: Mapping[str, Message]) -> Message:
    """Return the message of the least number in the circle that the parents of a message run into."""
    seen: dict[str, None] = {}
    while message.id not in seen:
        seen[message.id] = None
        assert message.parent is not None
        message = by_id[message.parent]
    order = list(seen)
    return min((by_id[one] for one in order[order.index(message.id) :]), key=lambda one: one.number)


def _reach(firsts: Iterable[Message], children: Mapping[str | None, list[Message]], reached: set[str]) -> None:
    left = list(firsts)
    while left:
        message = left.pop()
        reached.add(message.id)
        left.extend(children.get(message.id, ()))


class _Walk:
    """A walk down from the beginnings of a part."""

    def __init__(self, children: Mapping[str | None, list[Message]]) -> None:
        self.turns: list[Turn] = []
        self._children = children
        self._became: dict[int, Became] = {}
        self._answers: dict[str, int] = {}  # the turn of an answer, by the last message of it

    def notes(self) -> list[Note]:
        """Return what became of the messages that are no turn of their own."""
        return [Note(became, number) for number, became in self._became.items()]

    def down(self, firsts: Sequence[Message]) -> None:
        """Walk, and make the turns."""
        left = [(one, _Open()) for one in reversed(firsts)]
        while left:
            message, before = left.pop()
            after = self._after(message, before)
            below = self._children.get(message.id, [])
            if not below:
                self._leave(self._closed(after).waiting, Became.NOTHING_AFTER)
                continue
            closed = after
            if any(child.speaker is Speaker.USER for child in below):
                # The answer that goes on first is known by its first message; one that ends here by its last.
                ends_first = below[0].speaker is Speaker.USER
                closed = self._closed(after if ends_first else after._replace(key=f"{message.id}\n"))
            for nth, child in reversed(list(enumerate(below))):
                known = after if nth == 0 else after._replace(key="")
                left.append((child, closed if child.speaker is Speaker.USER else known))

    def _after(self, message: Message, open_: _Open) -> _Open:
        """Return where a walk stands after a message."""
        match message.speaker:
            case Speaker.USER:
                self._leave(open_.waiting, Became.WITH_NEXT)
                self.turns.append(Turn(message.id, open_.turn, Speaker.USER, (message,), open_.waiting))
                return _Open(len(self.turns) - 1)
            case Speaker.ASSISTANT | Speaker.TOOL if open_.answer:
                tool = message.speaker is Speaker.TOOL
                self._leave([message], Became.TOOL_IN_ANSWER if tool else Became.PART_OF_ANSWER)
                self._leave(open_.waiting, Became.WITH_ANSWER)
                said = (*open_.answer, *open_.waiting, message)
                return open_._replace(key=open_.key or message.id, answer=said, waiting=())
            case Speaker.ASSISTANT if open_.turn is not None:
                self._leave(open_.waiting, Became.WITH_NEXT)
                return _Open(open_.turn, message.id, (message,), open_.waiting)
        return open_._replace(waiting=(*open_.waiting, message))

    def _closed(self, open_: _Open) -> _Open:
        """End the answer that is open, if one is: make a turn of it, once. What waits goes on waiting."""
        if not open_.answer:
            return open_
        last = open_.answer[-1].id
        if (turn := self._answers.get(last)) is None:
            turn = self._answers[last] = len(self.turns)
            said = Turn(open_.key or f"{last}\n", open_.turn, Speaker.ASSISTANT, open_.answer, open_.before)
            self.turns.append(said)
        return _Open(turn, waiting=open_.waiting)

    def _leave(self, messages: Iterable[Message], became: Became) -> None:
        """Note what became of messages. What is kept on one way down is not left out, though it is on another."""
        for one in messages:
            if became is Became.WITH_NEXT and one.speaker is Speaker.ASSISTANT:
                self._became[one.number] = Became.OPENING
            elif became is not Became.NOTHING_AFTER or one.number not in self._became:
                self._became[one.number] = became


def is_rated(message: Message) -> bool:
    """Whether a message is a model's, and the file says what the user thought of it."""
    return message.speaker is Speaker.ASSISTANT and bool(message.rating or message.remark)


def usage_of(said: Sequence[Message]) -> Usage | None:
    """Return the tokens of an answer: those of its replies together, each as its last part has them."""
    replies = {one.reply or one.id: one.usage for one in said if one.usage is not None}
    if not replies:
        return None
    return Usage(
        input_tokens=sum(one.input_tokens for one in replies.values()),
        output_tokens=sum(one.output_tokens for one in replies.values()),
    )
