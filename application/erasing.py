"""Erasing conversations whole, one or several together.

In steps, each of which lasts before the next begins: the keys are retired, so that what is said later takes new ones;
the erasures are recorded; the keys are destroyed; the sealed words are deleted. Of several conversations each step is
one transaction, since a disk confirms a hundred in the time of one. Each is decided by itself all the same, and
recorded by a command of its own, on every branch as it was read: whatever came since, a legal hold say, is in the way
of the append, in the transaction that would record the erasure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from lastresort.domain.commands import EraseContents
from lastresort.domain.decider import Refused, decide
from lastresort.domain.events import AssistantTurnTaken, Event, RecordedEvent, UserTurnTaken, content_of
from lastresort.domain.law import judged_on
from lastresort.domain.state import Conversation, fold
from lastresort.domain.values import Actor, ErasureCause

from .arguments import checked
from .directory import utc
from .outcomes import Receipt, Refusal, Stopwatch
from .ports import CommandRecorded, Locked, Ports, VersionConflict
from .reading import Reading
from .redelivery import check_same
from .words import Erased, Words
from .writing import Writing, Written

_TURNS = (UserTurnTaken, AssistantTurnTaken)


def erasure(id: str, by: Actor, cause: ErasureCause) -> EraseContents:
    """Return the command that erases a conversation.

    Raises:
        ValueError: an argument is malformed.
    """
    return checked(EraseContents, id=id, by=by, contents=(), cause=cause)


class TreeEvents(NamedTuple):
    """The events of a conversation as they were read, without what branches inherited, and the state of each branch."""

    tree: str
    events: tuple[RecordedEvent, ...]
    states: Mapping[str, Conversation]

    @property
    def said(self) -> dict[str, RecordedEvent]:
        """The events of its words, by digest."""
        return {digest: one for one in self.events if (digest := content_of(one.event))}

    @property
    def last_turn(self) -> str:
        """When somebody last spoke in it, ISO 8601 in UTC; nothing, if nobody did."""
        return max((utc(one.recorded_at) for one in self.events if isinstance(one.event, _TURNS)), default="")


class Plan(NamedTuple):
    """An erasure that the law lets through: what is to be recorded, and each state after that."""

    command: EraseContents
    before: Mapping[str, Conversation]
    written: Mapping[str, tuple[Event, ...]]
    after: Mapping[str, Conversation]


class Erasing:
    """Erases conversations. Threads may share it."""

    def __init__(self, ports: Ports, reading: Reading, words: Words, writing: Writing) -> None:
        self._ports = ports
        self._reading = reading
        self._words = words
        self._writing = writing

    def read(self, branch: str) -> TreeEvents:
        """Return a conversation as the log has it now.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        store, tree = self._ports.store, self._reading.tree_of(branch)
        if len(store.heads(tree)) == 1 and (events := tuple(store.read(tree, tree))):
            state = fold(events)
            if not state.children:
                return TreeEvents(tree, events, {tree: state})
        states = self._reading.tree(tree)
        return TreeEvents(tree, tuple(one for each in states for one in store.read(tree, each)), states)

    def plan(self, command: EraseContents, branch: str, found: TreeEvents) -> Plan | Refusal:
        """Return what is to be recorded on each branch to erase what was said: what comes later conflicts with it."""
        before = found.states
        state = before[branch]
        decision = decide(command.model_copy(update={"contents": tuple(found.said)}), state)
        if isinstance(decision, Refused):
            return Refusal(decision, state)
        written: dict[str, tuple[Event, ...]] = dict.fromkeys((branch, *before), decision.events)
        broken, after = judged_on(before, written)
        if broken:
            return Refusal(Refused(decision.events[0].kind, broken), state)
        return Plan(command, before, written, after)

    def record(self, plans: Sequence[Plan]) -> tuple[list[Receipt], str]:
        """Retire the keys of conversations and record their erasure, of all or of none; return the mark of the keys.

        Raises:
            VersionConflict, CommandRecorded, Locked: as `EventStore.append`.
        """
        if not plans:
            return [], ""
        retired = self._ports.vault.retire(*(next(iter(plan.after.values())).conversation for plan in plans))
        receipts = self._writing.append_all([Written(plan.command, *plan[1:]) for plan in plans])
        return receipts, retired

    def finish(self, done: Iterable[tuple[Receipt, str, TreeEvents]]) -> None:
        """Destroy the keys and the words of erasures that are recorded, by what their keys were retired as.

        If this is interrupted, it can be done again, without that.
        """
        erased = []
        for receipt, retired, found in done:
            contents = [one for event in receipt.events for one in getattr(event.event, "contents", ())]
            said = found.said
            erased.append(Erased(found.tree, retired, {digest: said[digest] for digest in contents}))
        if erased:
            self._words.destroy(erased)
            self._ports.store.barrier()  # or a standby that takes over might still have the keys

    def together(
        self, trees: Iterable[str], command_of: Callable[[TreeEvents], EraseContents], spoken_before: str
    ) -> dict[str, Receipt]:
        """Erase conversations in which nobody spoke since a time, those where nothing is in the way.

        Returns:
            What was recorded, now or before, by conversation. Those that are left are to be erased one by one: where
            somebody spoke, what the law refuses, and all that were not erased yet if others wrote first to one.
        """
        done: dict[str, tuple[Receipt, str, TreeEvents]] = {}
        plans: list[tuple[TreeEvents, Plan]] = []
        for found in map(self.read, trees):
            command = command_of(found)
            if earlier := tuple(one for one in found.events if one.command_id == command.id):
                check_same(command, found.tree, earlier)
                done[found.tree] = Receipt(earlier, found.states[found.tree]), "", found
            elif found.last_turn < spoken_before:
                planned = self.plan(command, found.tree, found)
                if isinstance(planned, Plan):
                    plans.append((found, planned))
        if done:
            self._ports.store.barrier()  # nobody may have been told yet that they were written
        stopwatches = [Stopwatch(self._ports, planned.command) for _, planned in plans]
        with suppress(VersionConflict, CommandRecorded, Locked):  # one by one it will be told of which
            receipts, retired = self.record([planned for _, planned in plans])
            for (found, _), receipt, stopwatch in zip(plans, receipts, stopwatches, strict=True):
                stopwatch.committed(receipt)
                done[found.tree] = receipt, retired, found
        self.finish(done.values())
        return {tree: receipt for tree, (receipt, *_) in done.items()}
