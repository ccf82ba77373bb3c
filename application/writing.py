"""The write side: one append for all that a command does, on however many branches of its tree.

And the short way of a turn: nearly all that is ever recorded is a turn on a branch that nobody else writes to just now.
It asks the same rules of the same event as the long way, and appends the same. What is not plain it leaves to the long
way: a state that is not in memory, or of which a snapshot is due; a turn that the law refuses; words that may be too
long. Which way a turn took cannot be told from the log.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import NamedTuple

from lastresort.domain.commands import Command, TakeAssistantTurn, TakeUserTurn
from lastresort.domain.decider import turn_taken
from lastresort.domain.events import AssistantTurnTaken, Event, RecordedEvent, UserTurnTaken
from lastresort.domain.law import broken_by
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import Messages

from .hot_states import HotStates
from .outcomes import Receipt, Stopwatch
from .ports import Append, CommandRecorded, NewEvent, Place, Ports, SealedWords
from .words import role_of

_KINDS = {TakeUserTurn: UserTurnTaken.kind, TakeAssistantTurn: AssistantTurnTaken.kind}
_MOST_BYTES = 4  # of a character


class Written(NamedTuple):
    """What a command records: the states of branches of a tree before it, its events on them, and the states after.

    The command's own branch comes first among the events.
    """

    command: Command
    before: Mapping[str, Conversation]
    events: Mapping[str, tuple[Event, ...]]
    after: Mapping[str, Conversation]


class Writing:
    """Appends to a store, and keeps the states that follow hot. Threads may share it."""

    def __init__(self, ports: Ports, hot: HotStates) -> None:
        self._ports = ports
        self._hot = hot

    def append(
        self,
        command: Command,
        before: Mapping[str, Conversation],
        written: Mapping[str, tuple[Event, ...]],
        sealed: SealedWords | None = None,
        erased: tuple[Place, ...] = (),
        correlation_id: str | None = None,
        after: Mapping[str, Conversation] | None = None,
    ) -> Receipt:
        """Append the events of branches of a tree after the states that they were decided in.

        Args:
            command: what is carried out.
            before: the states, by branch.
            written: the events, by branch; of the command's own branch first.
            sealed: the words that one of them stands for.
            erased: the turns whose words are erased.
            correlation_id: the wider act that the command belongs to, if there is one.
            after: the states after these events, where they are known.

        Raises:
            VersionConflict, CommandRecorded, Locked: as `EventStore.append`.
        """
        after = after or {branch: reduce(evolve, events, before[branch]) for branch, events in written.items()}
        (receipt,) = self.append_all([Written(command, before, written, after)], sealed, erased, correlation_id)
        return receipt

    def append_all(
        self,
        commands: Sequence[Written],
        sealed: SealedWords | None = None,
        erased: tuple[Place, ...] = (),
        correlation_id: str | None = None,
    ) -> list[Receipt]:
        """Append what commands record, each on a tree of its own, in one transaction. See `append`."""
        appends = [self._append_of(one, sealed, erased, correlation_id) for one in commands]
        recorded = self._ports.store.append(*appends)
        receipts, first = [], 0
        for one, append in zip(commands, appends, strict=True):
            for branch, state in one.after.items():
                self._hot.put(branch, state)
            events = recorded[first : first + len(append.events)]
            receipts.append(Receipt(events, one.after[append.events[0].branch]))
            first += len(events)
        return receipts

    def _append_of(
        self, written: Written, sealed: SealedWords | None, erased: tuple[Place, ...], correlation_id: str | None
    ) -> Append:
        placed: list[NewEvent] = []
        command, before, written_on, after = written
        correlated, recorded_at = correlation_id or command.id, self._now()
        kept = self._ports.snapshots
        for branch, events in written_on.items():
            version = before[branch].version
            for event in events:
                version += 1
                said = sealed is not None and getattr(event, "content", None) == sealed.digest
                placed.append(NewEvent(branch, version, event, sealed.data if sealed and said else None))
            if kept and kept.every and version // kept.every != before[branch].version // kept.every:
                last = RecordedEvent(0, branch, version, event.kind, recorded_at, command.id, event, correlated)
                placed[-1] = placed[-1]._replace(snapshot=kept.take(after[branch], last))
        return Append(
            tree=next(iter(after.values())).conversation,
            command_id=command.id,
            correlation_id=correlated,
            recorded_at=recorded_at,
            events=tuple(placed),
            erased=erased,
        )

    def plain_turn(self, branch: str, command: Command, words: str | None) -> Receipt | None:
        """Record a turn the short way; or return None, and have recorded nothing.

        Raises:
            VersionConflict, Locked: as `EventStore.append`.
        """
        if not isinstance(command, TakeUserTurn | TakeAssistantTurn) or words is None:
            return None
        if type(words) not in (str, Messages):  # one of another class may say other things of its length
            return None
        kind = _KINDS.get(type(command))
        ports, state = self._ports, self._hot.get(branch)
        if kind is None or state is None or len(words) * _MOST_BYTES > ports.max_words:
            return None
        version = state.version + 1
        if ports.snapshots is not None and ports.snapshots.every and version % ports.snapshots.every == 0:
            return None
        stopwatch = None if ports.observer is None else Stopwatch(ports, command)
        sealed = ports.vault.seal(state.conversation, branch, version, words, role_of(kind, command.by))
        event = turn_taken(command, sealed.digest)
        if broken_by(state, event):
            return None
        after = evolve(state, event)
        new = (NewEvent(branch, version, event, sealed.data),)
        try:
            recorded = ports.store.append(Append(state.conversation, command.id, command.id, self._now(), new))
        except CommandRecorded:
            return None
        self._hot.put(branch, after)
        receipt = Receipt(recorded, after)
        if stopwatch is not None:
            stopwatch.committed(receipt)
        return receipt

    def _now(self) -> str:
        time = self._ports.clock()
        if not isinstance(time, datetime):
            raise ValueError(f"clock: it returned no datetime, but {type(time).__name__}")
        return (time if time.tzinfo is UTC else time.astimezone(UTC)).isoformat(timespec="microseconds")
