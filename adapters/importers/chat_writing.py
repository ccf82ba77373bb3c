"""What the turns of a foreign chat are written as: conversations of ours, with branches, as the law has them.

An import says that turns were taken and branches opened, and who answered. It judges nothing, warns of nothing and ends
nothing; what classifiers said is said under their names. It stands on the same service as every other act. That writes
to a log in memory here, of one conversation at a time, and what it wrote there is yielded for the store.

Ids follow from the ids of the file, by a key of the store. So the same file brings in the same events, and what is
there already is known; and nobody can tell from the log what a chat or a message is called elsewhere.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from heapq import heappop, heappush
from operator import itemgetter
from typing import Any, NamedTuple, TextIO, cast

from lastresort.adapters.chats.shapes import ForeignChat, Message, Speaker
from lastresort.adapters.opening import open_store
from lastresort.application.arguments import MOST_TAG, MOST_TAGS, MOST_TITLE
from lastresort.application.conversations import Conversations
from lastresort.application.ports import Annotations, Append, EventStore, NewEvent, Place
from lastresort.application.service import Service
from lastresort.application.words import Annotator
from lastresort.domain import commands as ask
from lastresort.domain.decider import Refused
from lastresort.domain.events import (
    AssistantTurnTaken,
    BranchOpened,
    FeedbackGiven,
    RecordedEvent,
    UserTurnTaken,
    content_of,
)
from lastresort.domain.policy import Policy
from lastresort.domain.values import Actor, ActorKind, ForkCause, Risk

from .chat_turns import Part, Turn, is_rated, usage_of
from .chat_words import ids_in, ids_of, say_the_same, whole, words_of
from .later import LaterAnnotations
from .log_file import appends_of

IMPORT = Actor(kind=ActorKind.SYSTEM, id="import")
"""Who says which model answers from a turn on."""
UNKNOWN_MODEL = "unknown"
"""The model of an answer that names none."""
COMMAND = "import~"
"""How the ids of commands of an import begin."""

_MOST_ID = 128
_CAUSES = {UserTurnTaken.kind: ForkCause.EDIT, AssistantTurnTaken.kind: ForkCause.RETRY}


@dataclass
class Brought:
    """What came in of a chat, and what was there before."""

    conversations: int = 0
    there: int = 0
    user_turns: int = 0
    answers: int = 0
    turns_there: int = 0
    branches: int = 0
    labels: int = 0
    ratings: int = 0
    changed: int = 0
    after_an_ending: int = 0
    unknown_model: int = 0
    models: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Brought") -> None:
        """Count what another one counts."""
        for name, value in vars(other).items():
            if isinstance(value, int):
                setattr(self, name, getattr(self, name) + value)
        self.models.update(other.models)


def model_of(messages: Sequence[Message]) -> str:
    """Return the name of the model of an answer, as events may carry it; `unknown`, if there is none."""
    named = next((one.model for one in reversed(messages) if one.speaker is Speaker.ASSISTANT and one.model), None)
    return named if named is not None and is_id(named) else UNKNOWN_MODEL


def is_id(name: str) -> bool:
    """Whether a name can stand in an event."""
    return 0 < len(name) <= _MOST_ID and all("!" <= one <= "~" for one in name)


class Writer:
    """Makes appends of chats. It is for one import.

    Args:
        conversations: of the store that they are for. It is read, and its keys seal.
        policy: the terms that the conversations start on.
        account: whose they are; if None, each is of the user that the file names, by a pseudonym.
        waiting: where waits what `describe` writes, sealed.
    """

    def __init__(self, conversations: Conversations, policy: Policy, account: str | None, waiting: TextIO) -> None:
        self._conversations = conversations
        self._ports = conversations.service.ports
        self._later = LaterAnnotations(waiting)
        self._describer = Annotator(replace(self._ports, annotations=cast(Annotations, self._later)))
        self._policy = policy
        self._account = account
        self._named: Callable[[str], str] = conversations.service.annotator.namer()
        self._accounts: dict[str, str] = {}
        self._now = self._ports.clock()
        self._held: dict[str, _Recorded] = {}  # by tree, of those that come again in this import

    def describe(self) -> None:
        """Write titles, tags and system prompts of what was made so far."""
        if self._ports.annotations is not None:
            self._later.write_to(self._ports.annotations)

    def tree_of(self, key: str, part: Part) -> str:
        """Return the id of the conversation that a part of a chat becomes; `key` names the chat."""
        return "chat-" + self._named(f"{key} {part.head or ''}")

    def appends(
        self, chat: ForeignChat, key: str, part: Part, brought: Brought, *, again: bool = False
    ) -> Iterator[Append]:
        """Yield what is to be written of a part of a chat, and count what that is. If it comes `again` in this import,
        what was yielded of it before counts as recorded, though no store has it yet."""
        tree = self.tree_of(key, part)
        before = self._held[tree] if tree in self._held else self._recorded_of(tree)
        there = bool(before.events)
        play = _Play(self, chat, key, tree, before)
        play.all(part.turns, brought)
        if again:
            self._held[tree] = play.recorded()
        brought.there += there
        brought.conversations += not there
        if not there:
            self._describe(chat, tree)
        yield from play.written()

    def _recorded_of(self, tree: str) -> "_Recorded":
        if not self._ports.store.read(tree, tree, limit=1):
            return _Recorded([], {})
        events = self._conversations.tree_log(tree)
        return _Recorded(events, self._conversations.words(events))

    def _describe(self, chat: ForeignChat, tree: str) -> None:
        title = whole(chat.title or "")[:MOST_TITLE] or None
        tags = tuple(dict.fromkeys(whole(tag)[:MOST_TAG] for tag in chat.tags if tag))[:MOST_TAGS]
        if title or tags:
            self._describer.describe(tree, title, tags or None)
        if chat.system:
            self._describer.instruct(tree, whole(chat.system))

    def account_of(self, chat: ForeignChat) -> str | None:
        """Return whose a chat is."""
        if self._account is not None or not chat.user:
            return self._account
        person = f"{chat.format}:{whole(chat.user)}"[:_MOST_ID]
        if person not in self._accounts:
            self._accounts[person] = self._conversations.pseudonym(person)
        return self._accounts[person]

    def command_id(self, *names: str) -> str:
        """Return the id of a command, which follows from names of the file."""
        return COMMAND + self._named("\n".join(names))[:24]

    @property
    def policy(self) -> Policy:
        return self._policy

    def service_on(self, store: EventStore, clock: Callable[[], datetime]) -> Service:
        """Return a service that writes to another store, and seals as this one's does."""
        ports = replace(
            self._ports, store=store, clock=clock, snapshots=None, directory=None, holds=None, observer=None,
            annotations=None,
        )  # fmt: skip
        return Service(ports)

    def time_of(self, at: str | None) -> datetime:
        """Return a time of a file, or else that of the import."""
        return self._now if at is None else datetime.fromisoformat(at)


class _Recorded(NamedTuple):
    """What there is of a conversation: its events, and the words that are kept of them, by their digests."""

    events: Sequence[RecordedEvent]
    words: Mapping[str, str]


class _Play:
    """Writes the turns of one conversation to a log in memory, which begins with what is recorded of it."""

    def __init__(self, writer: Writer, chat: ForeignChat, key: str, tree: str, before: _Recorded) -> None:
        self._writer, self._chat, self._key, self._tree = writer, chat, key, tree
        self._store = open_store("memory:").store
        self._time = writer.time_of(chat.at)
        self._service = writer.service_on(self._store, lambda: self._time)
        self._own: dict[str, list[tuple[int, str]]] = {}  # by branch, its own turns: version and kind
        self._said: dict[str, RecordedEvent] = {}  # by command, the turns that are recorded
        self._before = before.events
        self._carried_out = {one.command_id for one in before.events}
        self._kept = before.words
        self._new: dict[str, str] = {}  # words that are kept now, by their digests
        for number, one in enumerate(before.events):
            seed = Append(tree, f"seed~{number}", f"seed~{number}", one.recorded_at, (NewEvent(*one[1:3], one.event),))
            self._store.append(seed)
            self._take(one)
            if content_of(one.event) is not None and one.kind in _CAUSES:
                self._said[one.command_id] = one
        self._seeded = self._store.head()

    def _take(self, one: RecordedEvent) -> None:
        if one.kind in _CAUSES:
            self._own.setdefault(one.branch, []).append((one.version, one.kind))

    def all(self, turns: Sequence[Turn], brought: Brought) -> None:
        """Write turns that are not there yet, by their times, and each after the one that it follows."""
        if not self._seeded:
            self._start(turns)
        places: dict[int | None, Place] = {None: Place(self._tree, 1)}
        below: dict[int | None, list[int]] = {}
        for number, turn in enumerate(turns):
            below.setdefault(turn.parent, []).append(number)
        waiting: list[tuple[bool, str, int]] = []
        times: dict[int | None, str] = {None: self._chat.at or ""}

        def come(parent: int | None) -> None:
            for number in below.get(parent, ()):
                at = turns[number].said[-1].at or times[parent]
                times[number] = at
                heappush(waiting, (self._recorded(turns[number])[1] is None, at, number))

        come(None)
        while waiting:
            _, at, number = heappop(waiting)
            turn = turns[number]
            self._time = self._writer.time_of(at or None)
            place = self._one(turn, places[turn.parent], brought)
            if place is None:
                brought.after_an_ending += self._below(number, below)
                continue
            places[number] = place
            self._rate(turn, place, brought)
            come(number)

    @staticmethod
    def _below(number: int, below: Mapping[int | None, Sequence[int]]) -> int:
        """Return how many turns there are from one on."""
        left, counted = [number], 0
        while left:
            counted += 1
            left += below.get(left.pop(), ())
        return counted

    def _id(self, turn: Turn, *more: str) -> str:
        return self._writer.command_id(self._key, turn.key, *more)

    def _start(self, turns: Sequence[Turn]) -> None:
        self._time = self._writer.time_of(self._chat.at or next((one.at for turn in turns for one in turn.said), None))
        account = self._writer.account_of(self._chat)
        first = next((turn.said for turn in turns if turn.speaker is Speaker.ASSISTANT), ())
        begin = ask.StartConversation(
            id=self._writer.command_id(self._key, "start", self._tree), by=IMPORT, conversation=self._tree,
            account=account, policy=self._writer.policy, model=model_of(first),
        )  # fmt: skip
        self._service.begin(begin)

    def _one(self, turn: Turn, after: Place, brought: Brought) -> Place | None:
        """Write a turn after another one, unless it is there; return where it is. None: its branch has ended."""
        turn, recorded = self._recorded(turn)
        words = words_of(self._chat, turn)
        if recorded is not None:
            brought.turns_there += 1
            kept = self._kept.get(content_of(recorded.event) or "")
            brought.changed += kept is not None and not say_the_same(kept, words)
            return Place(recorded.branch, recorded.version)
        taken = self._next(after)
        branch = after.branch
        if taken is None and self._service.reading.state(branch).ended is not None:
            return None
        if turn.speaker is Speaker.USER:
            place = self._said_by_user(turn, words, branch, taken, brought)
        else:
            place = self._answered(turn, words, branch, taken, brought)
        return place

    def _recorded(self, turn: Turn) -> tuple[Turn, RecordedEvent | None]:
        """Return a turn as it is to be known, and what is recorded of it.

        It is known by the ids of all its messages, or else by its key. Which of several answers is the first follows
        the order of a file without times, so that what has this key may be another answer: one that the file has too,
        or that has gone on since. Then this one is known by its last message as well, which no two have in common.
        """
        ids = ids_of(turn)
        if (same := self._by_ids.get(ids)) is not None:
            return turn, same
        recorded = self._said.get(self._id(turn))
        known = () if recorded is None else ids_in(self._kept.get(content_of(recorded.event) or "", ""))
        if turn.speaker is Speaker.ASSISTANT and known and ids and not self._is_beginning(ids, known):
            turn = turn._replace(key=f"{turn.key}\n{ids[-1]}")
            recorded = self._said.get(self._id(turn))
        return turn, recorded

    def _is_beginning(self, ids: Sequence[str], known: Sequence[str]) -> bool:
        """Whether an answer is what a file had of the recorded one before it went on, and not another one beside it."""
        return set(ids) <= set(known) and not self._held.issuperset(known)

    @cached_property
    def _held(self) -> frozenset[str]:
        """The ids of all messages that the file has of the conversation."""
        return frozenset(whole(one.id) for one in self._chat.messages if one.named)

    @cached_property
    def _by_ids(self) -> dict[tuple[str, ...], RecordedEvent]:
        """The turns that were there before, by the ids of all their messages."""
        kept = ((self._kept.get(content_of(one.event) or "", ""), one) for one in self._said.values())
        return {ids: one for words, one in kept if (ids := ids_in(words))}

    def _next(self, after: Place) -> tuple[int, str] | None:
        """Return the turn that comes next on a branch, by version and kind: another one needs a branch of its own."""
        own = self._own.get(after.branch, [])
        place = bisect_right(own, after.version, key=itemgetter(0))
        return own[place] if place < len(own) else None

    @property
    def _user(self) -> Actor:
        state = self._service.reading.state(self._tree)
        return Actor(kind=ActorKind.USER, id=state.account or "user")

    def _said_by_user(
        self, turn: Turn, words: str, branch: str, taken: tuple[int, str] | None, brought: Brought
    ) -> Place:
        id = self._id(turn)
        if taken is not None and taken[1] == UserTurnTaken.kind:
            place = self._forked(turn, branch, taken, brought, words)
        else:
            if taken is not None:
                branch = self._forked(turn, branch, taken, brought, None).branch
            place = self._done(branch, ask.TakeUserTurn(id=id, by=self._user), words)
        brought.user_turns += 1
        for number, label in enumerate(turn.said[0].labels):
            by = Actor(kind=ActorKind.ASSESSOR, id=label.by)
            verdict = ask.AssessTurn(
                id=self._id(turn, "label", str(number)), by=by, turn=place.version, verdict=label.verdict,
                category=label.category, severity=label.severity, risk=Risk.UNKNOWN,
            )  # fmt: skip
            self._done(place.branch, verdict, None)
            brought.labels += 1
        return place

    def _answered(self, turn: Turn, words: str, branch: str, taken: tuple[int, str] | None, brought: Brought) -> Place:
        model = model_of(turn.said)
        if taken is not None:
            branch = self._forked(turn, branch, taken, brought, None).branch
        if self._service.reading.state(branch).model != model:
            self._done(branch, ask.ChangeModel(id=self._id(turn, "model"), by=IMPORT, model=model), None)
        stop_reason = next((one.stop_reason for one in reversed(turn.said) if one.speaker is Speaker.ASSISTANT), None)
        command = ask.TakeAssistantTurn(
            id=self._id(turn), by=Actor(kind=ActorKind.MODEL, id=model), model=model,
            stop_reason=stop_reason if stop_reason is not None and is_id(stop_reason) else None,
            usage=usage_of(turn.said),
        )  # fmt: skip
        brought.answers += 1
        brought.models[model] += 1
        brought.unknown_model += model == UNKNOWN_MODEL
        return self._done(branch, command, words)

    def _rate(self, turn: Turn, place: Place, brought: Brought) -> None:
        """Record what the user thought of an answer, unless it is there."""
        for message in filter(is_rated, turn.said if turn.speaker is Speaker.ASSISTANT else ()):
            if (id := self._rating_id(turn, message, place)) is not None:
                rating = ask.GiveFeedback(id=id, by=self._user, rating=message.rating, turn=place.version)
                self._done(place.branch, rating, whole(message.remark) if message.remark else None)
                brought.ratings += 1

    def _rating_id(self, turn: Turn, message: Message, place: Place) -> str | None:
        """Return the id of a command that records feedback; None if it is what was recorded last.

        Someone who changes their mind, and then changes it back, has given feedback three times: ids of the same are
        told apart by a number.
        """
        given = self._feedback.get(place, [])

        def ids(rating: str, remark: str) -> list[str]:
            said = ("rating", message.id, rating, remark)
            return [self._id(turn, *said, *([str(nth)] if nth else [])) for nth in range(len(given) + 1)]

        now = ids(message.rating or "", message.remark or "")
        for one in reversed(given):
            if one.command_id in now:
                return None
            assert isinstance(one.event, FeedbackGiven)
            if one.command_id in ids(one.event.rating or "", self._kept.get(one.event.content or "", "")):
                break
        return next((id for id in now if id not in self._carried_out), None)

    @cached_property
    def _feedback(self) -> dict[Place, list[RecordedEvent]]:
        """What was recorded before that users thought of answers, by the answer."""
        found: dict[Place, list[RecordedEvent]] = {}
        for one in self._before:
            if isinstance(one.event, FeedbackGiven) and one.event.turn is not None:
                found.setdefault(Place(one.branch, one.event.turn), []).append(one)
        return found

    def _forked(self, turn: Turn, branch: str, taken: tuple[int, str], brought: Brought, words: str | None) -> Place:
        """Open a branch before a turn that is taken; return the place of what is said there, or of its beginning."""
        version, kind = taken
        id = self._id(turn) if words is not None else self._id(turn, "branch")
        command = ask.OpenBranch(id=id, by=self._user, parent=branch, at=version - 1, cause=_CAUSES[kind])
        child = f"{self._tree}~{self._id(turn).removeprefix(COMMAND)}"
        outcome = self._service.fork(command, words, child=child)
        brought.branches += 1
        return self._placed(outcome, words)

    def _done(self, branch: str, command: Any, words: str | None) -> Place:
        return self._placed(self._service.execute(branch, command, words), words)

    def _placed(self, outcome: Any, words: str | None) -> Place:
        if isinstance(outcome, Refused):
            raise AssertionError(f"an import was refused: {outcome}")
        for one in outcome.events:
            self._take(one)
            if words is not None and (digest := content_of(one.event)) is not None:
                self._new[digest] = words
        turns = [one for one in outcome.events if one.kind in _CAUSES or one.kind == BranchOpened.kind]
        last = turns[-1] if turns else outcome.events[0]
        return Place(last.branch, last.version)

    def recorded(self) -> _Recorded:
        """Return what there is of the conversation when this is written."""
        return _Recorded([*self._before, *self._store.log(after=self._seeded)], {**self._kept, **self._new})

    def written(self) -> Iterator[Append]:
        """Yield what was written, with the words that it stands for."""
        for append in appends_of(self._store.log(after=self._seeded)):
            sealed = self._store.contents(Place(new.branch, new.version) for new in append.events)
            events = tuple(new._replace(sealed=sealed.get(Place(new.branch, new.version))) for new in append.events)
            yield append._replace(events=events, tree=self._tree)
