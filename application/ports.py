"""What the application needs from outside: a store of events, a vault for words, a clock, and new ids."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, cast

from lastresort.domain.events import Event, RecordedEvent, Unreadable
from lastresort.domain.state import Conversation
from lastresort.domain.values import RiskSeen

from .directory import Directory, HoldList


class Place(NamedTuple):
    """Where an event stands: its branch, and its version there."""

    branch: str
    version: int


class NewEvent(NamedTuple):
    """An event, the place that it is to take, and the sealed words that it stands for, where they are to be kept."""

    branch: str
    version: int
    event: Event
    sealed: bytes | None = None
    snapshot: bytes | None = None  # of the state after it, as `Snapshots.take` made it


class SealedWords(NamedTuple):
    """Words that only the key of their conversation opens; `digest` is the SHA-256 of `data`, as events carry it."""

    digest: str
    data: bytes


class Forgotten(NamedTuple):
    """Keys of a conversation that are to be destroyed: those that were retired, and those that open `sealed` words.

    Attributes:
        conversation: whose.
        retired: what `Vault.retire` returned, if they were.
        sealed: words with their roles, by the place where they stand.
    """

    conversation: str
    retired: str
    sealed: Mapping[Place, tuple[SealedWords, str]]


class Append(NamedTuple):
    """What one command writes, all of it or nothing: events of branches of one tree, and the words to erase."""

    tree: str  # the id of the conversation, which is its root branch's too
    command_id: str  # unique within the tree
    correlation_id: str
    recorded_at: str  # ISO 8601, UTC
    events: tuple[NewEvent, ...]
    erased: tuple[Place, ...] = ()  # the turns whose words are erased


class Head(NamedTuple):
    """A branch of a tree, and how far it has come."""

    branch: str
    version: int  # of its latest event
    parent: str | None = None  # None: it is the root
    at: int | None = None  # where it opened, on its parent's path


List = Literal["active", "ended", "branched"]
"""The lists of branches: active and ended are disjoint and cover all of them, branched is orthogonal to both."""


class ListRow(NamedTuple):
    """A branch as a list finds it: its version, what began it, what began its conversation, and its ending."""

    version: int
    began: RecordedEvent
    started: RecordedEvent
    ending: RecordedEvent | None


class StoreError(Exception):
    """The store cannot be opened, read or written: the message says what, where, and what to do."""


class StoreClosed(StoreError):
    """The store was closed before this call."""

    def __init__(self) -> None:
        super().__init__("the store was closed, by `close` or at the end of `with`; open it again")


class VersionConflict(Exception):
    """Somebody else wrote to a branch of the append first, or it would leave a gap. Nothing was written."""


class CommandRecorded(Exception):
    """The command was carried out before. Nothing was written now."""


class EventTooLarge(ValueError):
    """An event, or the policy in it, is larger than a log may take. Nothing was written."""


class Locked(Exception):
    """Somebody else kept the store's lock for as long as a call may take. Nothing was written."""


class EventStore(Protocol):
    """An append-only log of events in branches, and the sealed words beside it. Threads may share it.

    Branches belong to trees, one a conversation. A tree is the unit of consistency: an append is about one, and command
    ids are unique within it. Another tree may have a command of the same id.
    """

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        """Write `appends`, each about one tree, in one transaction and return their events as recorded.

        Raises:
            VersionConflict: the first version of a branch in it is not the next one, or not free.
            CommandRecorded: one of the command ids is in the log, in its tree.
            EventTooLarge: `domain.canonical.too_large` says so of one of the events.
            Locked: its turn to write did not come in time.
        """
        ...

    def barrier(self) -> None:
        """Return once all that could be read here before the call lasts as long as an append that was acknowledged.

        An append may be read before that: one that was never acknowledged, and that a restart brought to light. So
        nobody is answered from the log, and nothing of it is published elsewhere, before this has returned. In memory
        nothing lasts longer than the process, so there is nothing to wait for. An error is no answer: what was read
        may still be lost.
        """
        ...

    def import_log(self, appends: Iterable[Append]) -> int:
        """Write `appends`, of any number and of several trees, and return how many events they hold.

        They are seen once all of them are written, or never. That may take longer than other calls may; someone who
        appends meanwhile may be told to try again. That none of its own commands comes twice in a tree is for an audit
        of it to say: a store need not remember them all.

        Raises:
            VersionConflict, CommandRecorded, EventTooLarge, Locked: as `append`; nothing was written.
        """
        ...

    def still(self) -> AbstractContextManager[None]:
        """Keep everybody from writing to the log while the block lasts, other processes too; it can be read meanwhile.

        So what is done elsewhere in the block, on the strength of what the log says, comes before whatever is appended
        next. The block must be short, and must not append: those who write wait as long as a call may take.

        Raises:
            Locked: the store's lock did not come free in time; the block was not entered.
            StoreError: the log was not kept still until the end of the block.
        """
        ...

    def read(
        self, tree: str, branch: str, *, after: int = 0, upto: int | None = None, limit: int | None = None
    ) -> Sequence[RecordedEvent]:
        """Return the events of a branch's own stream with `after` < version <= `upto`, the first `limit` of them.

        Their position is 0: only `append`, `log` and `entries` know an event's place among all branches. None are
        returned if there is no such branch.
        """
        ...

    def tree_of(self, branch: str) -> str | None:
        """Return the tree that a branch belongs to, for someone who knows no more; None if there is no such branch."""
        ...

    def heads(self, tree: str) -> Sequence[Head]:
        """Return every branch of a tree, parents before children; none if there is no such tree."""
        ...

    def drop(self, places: Iterable[Place]) -> None:
        """Have the sealed words that are kept of what stands at `places` erased for good, as an append does."""
        ...

    def recorded_by(self, tree: str, command_id: str) -> Sequence[RecordedEvent]:
        """Return the events that a command wrote to a tree, in log order; none if it is not in the log there."""
        ...

    def log(self, *, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent]:
        """Yield the events after position `after` in log order, the first `limit` of them."""
        ...

    def entries(self, *, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent | Unreadable]:
        """Yield entries as `log` does, those too that this program cannot read: for the audit."""
        ...

    def head(self) -> int:
        """Return the position of the latest event, 0 if there is none."""
        ...

    def wait(self, after: int, timeout: float) -> bool:
        """Wait at most `timeout` seconds for an event after position `after`; return whether there is one."""
        ...

    def contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """Return the sealed words that are kept of what stands at `places`."""
        ...

    def with_words(self, trees: Iterable[str]) -> set[str]:
        """Return those of `trees` of which sealed words are kept, on any branch."""
        ...

    def page(self, which: List, *, after: int = 0, limit: int = 50) -> Sequence[ListRow]:
        """Return up to `limit` branches of a list, in the order in which they began, after position `after`."""
        ...

    def close(self) -> None:
        """Release what the store holds open."""
        ...


class Unmarked(str):
    """Words that were sealed before their kind was sealed with them: whether they are messages, their command says."""

    __slots__ = ()


class SealBroken(Exception):
    """Sealed bytes are not what was sealed for this place: truncated, edited, or moved from another."""


class Vault(Protocol):
    """Seals words under a key of their conversation, bound to the place where they stand. Threads may share it.

    They are bound to their `role` too, the kind of event that they stand for and its actor, so that nobody can say of
    a user's words that they are the model's.
    """

    def seal(self, conversation: str, branch: str, version: int, words: str, role: str = "") -> SealedWords:
        """Seal `words` and whether they are `Messages`, under a new key if the conversation has none."""
        ...

    def open(self, conversation: str, branch: str, version: int, sealed: SealedWords, role: str = "") -> str | None:
        """Return the words that were sealed, `Messages` or `Unmarked` among them; None if their key was destroyed.

        Raises:
            SealBroken: the bytes were not sealed for this place and role.
        """
        ...

    def has_key(self, conversation: str) -> bool:
        """Whether the conversation has a key that its words are sealed with."""
        ...

    def new_secret(self) -> str:
        """Return 32 random bytes, in hexadecimal."""
        ...

    def seals(self, conversation: str, data: bytes) -> bool:
        """Whether bytes were sealed under a key of the conversation that still seals: neither retired nor destroyed."""
        ...

    def renew(self, conversation: str) -> None:
        """Look up the conversation's key again before it is used again: somebody else may have retired it."""
        ...

    def retire(self, *conversations: str) -> str:
        """Seal nothing more under the keys of conversations, which still open; return what they are known by then."""
        ...

    def forget_all(self, forgotten: Sequence[Forgotten]) -> None:
        """Destroy keys of conversations, and of no others: of all of them, or of none."""
        ...

    def close(self) -> None:
        """Release what the vault holds open."""
        ...


class Annotations(Protocol):
    """Sealed bytes beside the log that belong to no event, by their owner (a conversation, say) and a name.

    Threads may share it. What is kept is durable, and what is dropped is gone for good, as far as the engine goes.
    """

    def of(self, owner: str) -> dict[str, bytes]:
        """Return all of an owner's, by name, in the order of the names."""
        ...

    def find(self, owner: str, name: str) -> bytes | None:
        """Return one of an owner's."""
        ...

    def named(self, name: str, owners: Collection[str]) -> dict[str, bytes]:
        """Return those of that name, by owner."""
        ...

    def put(self, owner: str, entries: Mapping[str, bytes], *, replace: bool = True) -> None:
        """Keep entries, by name, all or none: none where one of them is there already and is not to be replaced."""
        ...

    def take(self, owner: str, entries: Mapping[str, bytes]) -> bool:
        """Take away entries if all of them are there and as they are here, all or none; return whether they were.

        They may be read in the files yet, until the next `drop`.
        """
        ...

    def drop(self, owner: str, names: Iterable[str]) -> None:
        """Erase some of an owner's, be they there or not, and what was taken away."""
        ...


class Snapshot(NamedTuple):
    """A state that was kept, and the `recorded_digest` of the event that led to it: any other is another history."""

    state: Conversation
    last: bytes


class Snapshots(Protocol):
    """States kept beside the log, to spare reads. They can all be thrown away: the log has all that is in them."""

    every: int
    """How many versions apart the states are that a branch keeps."""

    def take(self, state: Conversation, last: RecordedEvent) -> bytes | None:
        """Return what a store keeps of `state`, which `last` led to, on its branch; None if it is not to be kept."""
        ...

    def latest(self, branch: str, upto: int | None = None) -> Snapshot | None:
        """Return the latest state of a branch's own that is kept, no later than version `upto`.

        What is damaged, of another place, or made by another version of the fold, is no such state.
        """
        ...


Clock = Callable[[], datetime]
"""Returns the time, aware of its zone."""

NewId = Callable[[], str]
"""Returns an id that nobody has used."""

RiskScreen = Callable[[str], RiskSeen]
"""Looks at a text and says what risk it shows, and to whom; `unknown` if it cannot tell. If it fails, it is `possible`.

`{About.OTHERS: Risk.IMMINENT}` is one to others, and `Risk.IMMINENT` alone one to nobody knows whom.
"""


class Observer(Protocol):
    """Is told what becomes of commands, without a word that was said: for logs, traces and metrics.

    A command goes by the name of its type, `TakeUserTurn` say. The caller waits meanwhile, and several threads may come
    at once. What it raises is dropped, since what is recorded stays so.
    """

    def committed(self, command: str, events: tuple[str, ...], seconds: float) -> None:
        """Take note that a command was recorded, as events of these kinds. One that was recorded before is not told."""
        ...

    def refused(self, command: str, rules: tuple[str, ...], seconds: float) -> None:
        """Take note that a command was refused, and by which rules."""
        ...

    def contended(self, command: str, conflicts: int, seconds: float) -> None:
        """Take note that others wrote first, for the `conflicts`th time. The command is decided again, or given up."""
        ...


Monotonic = Callable[[], float]
"""Returns seconds that never go back, from any beginning."""


class _Closed:
    """Stands for a port once it is closed."""

    def __getattr__(self, name: str) -> Any:
        raise StoreClosed

    def close(self) -> None:
        """To close twice does no harm."""


@dataclass(slots=True)
class Ports:
    """What the application is given from outside.

    Attributes:
        store: the log, and the sealed words beside it.
        vault: seals and opens words.
        clock: tells the time that envelopes carry; no rule reads it.
        new_id: names conversations, branches and commands that the caller leaves unnamed.
        screen: looks at what a user writes after an ending.
        snapshots: keeps states beside the log, so that a branch that is not in memory need not be read as a whole.
        pause: called with the number of conflicts so far before a command is decided again, so that it can wait.
        observer: is told what becomes of commands.
        monotonic: measures how long they take, for the observer.
        directory: lists conversations; it follows the log.
        max_words: bytes that the words of a turn may have; as content blocks, 32 times as many.
        holds: lists legal holds; it follows the log.
        annotations: what is kept beside the log and belongs to no event.
        forget_beside: drops what else is kept of conversations whose words are erased, as a gateway's links to them.
    """

    store: EventStore
    vault: Vault
    clock: Clock
    new_id: NewId
    screen: RiskScreen
    snapshots: Snapshots | None = None
    pause: Callable[[int], None] = lambda conflicts: None
    observer: Observer | None = None
    monotonic: Monotonic = lambda: 0.0
    directory: Directory | None = None
    max_words: int = 2**20
    holds: HoldList | None = None
    annotations: Annotations | None = None
    forget_beside: Callable[[Sequence[str]], None] = lambda conversations: None

    def close(self) -> None:
        """Release the store and the vault. A call that comes later raises StoreClosed, on every engine and at once."""
        store, vault, closed = self.store, self.vault, cast(Any, _Closed())
        self.store = self.vault = self.snapshots = self.directory = self.holds = self.annotations = closed
        store.close()
        vault.close()
