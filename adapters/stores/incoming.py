"""A log that comes in as a whole: what its appends write, chunk by chunk, and what of that the lists show.

An append of its own checks each row against the table. Here that is done beforehand and in memory, as far as the log
goes; the store is asked once a chunk, and only for branches that are not the log's own. What is kept of the log is
where each of its branches began and how far it has come: some 250 bytes a branch.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from lastresort.application.ports import Append, CommandRecorded, Place
from lastresort.domain.events import ConversationStarted, EventBase, UserTurnTaken
from lastresort.domain.values import Actor, ActorKind

from .codec import ALL_BUT_NAMES, BEGINNING, PREFIX, Encoding, is_digest
from .rows import ENDS, PAGE, Entry, checked_places, conflict

_MOST_KNOWN = 4_000
"""Events that are known, and as many beginnings: what bounds memory."""
_PLAIN = re.compile(r"[!#-\[\]-~]{1,128}")  # an id that is in JSON as it is

State = tuple[bytes, bytes | None]
"""The state of an event's row, and the digest of its words."""


class Begun(NamedTuple):
    """A branch that there is: where in the log it began, and the version of its latest event."""

    position: int
    version: int


class Chunk:
    """What a part of a log writes."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []  # a position, and the fields of a `Row`
        self.contents: list[tuple[int, bytes]] = []
        self.snapshots: list[tuple[str, int, bytes]] = []
        self.erased: list[Place] = []
        self.branches: list[tuple[int, int, int]] = []  # position, root, branched
        self.branched: list[tuple[int]] = []  # the roots that have another branch now
        self.ended: list[tuple[int, int]] = []  # the ending's position, and the branch's


class Incoming:
    """Makes chunks of the appends of a log.

    Args:
        entries: returns the rows of an append, or says what is malformed.
        begun: returns what the store holds of branches, by name; of those that it does not have, nothing.
        recorded: says whether the store holds a command, by tree and id.
        position: the first that is free.
    """

    def __init__(
        self,
        entries: Callable[[Append], list[Entry]],
        begun: Callable[[Collection[str]], Mapping[str, Begun]],
        recorded: Callable[[str, str], object],
        position: int,
    ) -> None:
        self._entries = entries
        self._ask = begun
        self._recorded = recorded
        self._first = position
        self._is_new = position == 1  # the store: there is nothing to ask it
        self._begun: dict[str, Begun] = {}
        self.count = 0
        self._position = position

    def chunks(self, appends: Iterable[Append]) -> Iterator[Chunk]:
        """Yield what is to be written, in order: at most some `PAGE` rows at a time, and no append divided.

        Raises:
            VersionConflict: an event does not follow what its branch holds, or begins a branch that has begun.
            CommandRecorded: the store holds a command, or the chunk holds it twice in one tree. Whether it comes twice
                in the log, far from each other, takes an audit.
            ValueError: something is malformed.
        """
        part: list[tuple[Append, list[Entry]]] = []
        rows = 0
        for append in appends:
            part.append((append, self._entries(append)))
            rows += len(append.events)
            if rows >= PAGE:
                yield self._chunk(part)
                part, rows = [], 0
        if part:
            yield self._chunk(part)

    def _chunk(self, part: list[tuple[Append, list[Entry]]]) -> Chunk:
        if not self._is_new:
            self._look_up(part)
        chunk = Chunk()
        commands = set[tuple[str, str]]()
        for append, entries in part:
            command = append.tree, append.command_id
            if command in commands or (self._is_held(append.tree) and self._recorded(*command)):
                raise CommandRecorded(append.command_id)
            commands.add(command)
            for entry in entries:
                self._take(chunk, entry)
            if append.erased:
                chunk.erased += checked_places(append.erased)
        self.count += len(chunk.rows)
        return chunk

    def _take(self, chunk: Chunk, entry: Entry) -> None:
        row, begins, sealed, joins, snapshot = entry
        branch, version, kind = row[:3]
        position = self._position
        known = self._begun.get(branch)
        if begins and known is None:
            known = Begun(position, version)
            self._list(chunk, position, joins)
        elif known is None or begins or version != known.version + 1:
            raise conflict(row, begins)
        elif kind == ENDS:
            chunk.ended.append((position, known.position))
        self._begun[branch] = Begun(known.position, version)
        chunk.rows.append((position, *row))
        if sealed is not None:
            chunk.contents.append((position, sealed))
        if snapshot is not None:
            chunk.snapshots.append((branch, version, snapshot))
        self._position = position + 1

    def _list(self, chunk: Chunk, position: int, joins: str | None) -> None:
        if joins is None:
            chunk.branches.append((position, position, 0))
            return
        root = self._begun[joins].position if joins in self._begun else 0
        chunk.branches.append((position, root, 1))
        chunk.branched.append((root,))

    def _look_up(self, part: Iterable[tuple[Append, list[Entry]]]) -> None:
        """Ask the store for branches that are named for the first time."""
        named = {append.tree for append, _ in part}
        named |= {name for _, entries in part for one in entries for name in (one.row.branch, one.joins) if name}
        self._begun.update(self._ask(named - self._begun.keys()))

    def _is_held(self, tree: str) -> bool:
        """Whether the store held a tree before the log came."""
        return tree in self._begun and self._begun[tree].position < self._first


# --- What of it is written once ---------------------------------------------------------------------------------------


class KnownStates:
    """Writes events, as `Encoding.written` does, for as long as one log comes in.

    Few of them are new. A reader of lines returns the same object for what it knows again, so an object is written
    once; and what differs in names alone is put together from what was written.

    Args:
        encoding: writes what is new, and sees that it can be read again.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._known: dict[int, tuple[EventBase, State]] = {}  # by `id`, which is theirs while they are kept here
        self._beginnings: dict[tuple[Any, ...], tuple[object, tuple[bytes, ...]]] = {}  # with the policy, for its `id`
        self._user_said: tuple[bytes, ...] = ()  # before and behind the user's name

    def written(self, event: EventBase) -> State:
        """Return the state of an event that is to be kept for ever, and the digest of its words.

        Raises:
            ValueError: it could not be read again: it was made by a way round its type's checks.
        """
        known = self._known.get(id(event))
        if known is not None:
            return known[1]
        kind = type(event)
        if kind is UserTurnTaken:
            return self._said(event)
        if kind is ConversationStarted:
            return self._beginning(event)
        state = self._encoding.written(event)
        if state[1] is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[id(event)] = event, state
        return state

    def _said(self, event: Any) -> State:
        """Write what a user said, which differs in the user's name and in the digest."""
        by, content = event.by, event.content
        if type(by) is not Actor or by.kind is not ActorKind.USER or not (_is_plain(by.id) and is_digest(content)):
            return self._encoding.written(event)
        if not self._user_said:
            state, _ = self._encoding.written(event)
            self._user_said = tuple(state.split(b'"id":"%b"' % by.id.encode()))
        before, behind = self._user_said
        return b'%b"id":"%b"%b' % (before, by.id.encode(), behind), bytes.fromhex(content[len(PREFIX) :])

    def _beginning(self, event: Any) -> State:
        """Write what begins a conversation, which differs in names from others under one policy."""
        if not _is_plainly_begun(event):
            return self._encoding.written(event)
        names = event.by.id, event.conversation, event.account, event.arm
        key = id(event.policy), event.policy_hash, event.by.kind, event.model, event.law, event.mode
        if (known := self._beginnings.get(key)) is None:
            state = self._encoding.written(event)
            if (parts := BEGINNING.fullmatch(state[0])) is not None:
                if len(self._beginnings) >= _MOST_KNOWN:
                    self._beginnings.clear()
                self._beginnings[key] = event.policy, parts.group(*ALL_BUT_NAMES)
            return state
        pieces = *known[1][:4], (known[1][4] or b"") + b"}"
        quoted = [b"null" if name is None else b'"%b"' % name.encode() for name in names]
        return b"".join(chain.from_iterable(zip_longest(pieces, quoted, fillvalue=b""))), None


def _is_plainly_begun(event: Any) -> bool:
    """Whether what differs in a beginning are names as they are in JSON, and all else is what it seems to be."""
    if type(event.by) is not Actor or type(event.law) is not int:
        return False
    texts = event.model, event.policy_hash
    needed, may_be_null = (event.by.id, event.conversation), (event.account, event.arm)
    named = all(map(_is_plain, needed)) and all(name is None or _is_plain(name) for name in may_be_null)
    return named and all(type(text) is str for text in texts)


def _is_plain(name: object) -> bool:
    return type(name) is str and _PLAIN.fullmatch(name) is not None


# --- At the same time -------------------------------------------------------------------------------------------------


@contextmanager
def one_ahead() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Yield what has a piece of work done while the caller makes the next one ready.

    A piece waits for the one before. What one raises is raised by the next call, or at the end. So the database works
    while the next rows are checked, as it needs no interpreter for most of what it does.
    """
    with ThreadPoolExecutor(1, "import") as pool:
        last: list[Future[None]] = []

        def do(work: Callable[[], None]) -> None:
            if last:
                last.pop().result()
            last.append(pool.submit(work))

        yield do
        if last:
            last.pop().result()
