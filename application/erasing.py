"""Erasing conversations whole, one or several together: those of an age, say.

In steps, each of which lasts before the next begins: the keys are retired, so that what is said later takes new ones;
the erasures are recorded; the keys are destroyed; the sealed words are deleted. Of several conversations each step is
one transaction, since a disk confirms a hundred in the time of one. Each is decided by itself all the same, and
recorded by a command of its own, on every branch as it was read: whatever came since, a legal hold say, is in the way
of the append, in the transaction that would record the erasure.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from lastresort.domain.commands import EraseContents
from lastresort.domain.decider import Refused, decide
from lastresort.domain.events import AssistantTurnTaken, Event, RecordedEvent, UserTurnTaken, content_of
from lastresort.domain.law import judged_on
from lastresort.domain.state import Conversation, fold
from lastresort.domain.values import Actor, ErasureCause

from .arguments import checked, derived_id
from .directory import utc
from .outcomes import Receipt, Refusal, SpokenSince, Stopwatch
from .ports import CommandRecorded, Locked, Ports, VersionConflict
from .reading import Reading
from .redelivery import check_same
from .words import Erased, Words
from .writing import Writing, Written

if TYPE_CHECKING:
    from .conversations import Conversations
    from .service import Service

_TURNS = (UserTurnTaken, AssistantTurnTaken)

TOGETHER = 100
"""How many conversations are erased in a transaction: bounds how long those wait who write meanwhile."""

LONGEST = timedelta(days=36_500)


def erasure(id: str, by: Actor, cause: ErasureCause) -> EraseContents:
    """Return the command that erases a conversation.

    Raises:
        ValueError: an argument is malformed.
    """
    return checked(EraseContents, id=id, by=by, contents=(), cause=cause)


class Retention(NamedTuple):
    """What became of the conversations in which nobody spoke since a time.

    Attributes:
        before: that time, ISO 8601 in UTC.
        erased: the conversations whose words are gone; after a dry run, would be. Not those that had none before.
        refused: those that the law let nobody erase, as under a legal hold, and why. Their words are all there.
    """

    before: str
    erased: tuple[str, ...]
    refused: Mapping[str, Refused]


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
            self._ports.forget_beside([one.tree for one in erased])  # first: what is left of words has all done again
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


# --- by age -----------------------------------------------------------------------------------------------------------


def erase_older(
    conversations: "Conversations",
    older_than: timedelta,
    by: Actor,
    *,
    dry_run: bool,
    progress: Callable[[int], None],
    only: Callable[[str, str], bool] = lambda conversation, before: True,
) -> Retention:
    """Erase every conversation in which nobody spoke since a time, those first that are silent for longest.

    What is left of an erasure that was interrupted is erased too: a conversation is done when neither words nor a key
    of it are kept. `only` says, by that time too, whether a conversation is meant.

    Raises:
        ValueError: `older_than` is out of range.
    """
    if not isinstance(older_than, timedelta) or not timedelta() <= older_than <= LONGEST:
        raise ValueError(f"older_than: a timedelta is needed, from zero to {LONGEST.days:,} days")
    looked_at = 0
    before = utc(conversations.parts[0].service.ports.clock() - older_than)
    erased: list[str] = []
    refused: dict[str, Refused] = {}
    for part in conversations.parts:
        service = part.service
        for trees in _silent_since(part, before):
            words = service.ports.store.with_words(trees)
            due = [
                tree for tree in trees if (tree in words or service.ports.vault.has_key(tree)) and only(tree, before)
            ]
            for tree, outcome in _outcomes(service, due, before, by, dry_run=dry_run):
                if isinstance(outcome, Refused):
                    refused[tree] = outcome
                elif outcome:
                    erased.append(tree)
            looked_at += len(trees)
            progress(looked_at)
    return Retention(before, tuple(erased), refused)


def _silent_since(conversations: "Conversations", before: str) -> Iterator[tuple[str, ...]]:
    """Yield the conversations in which nobody spoke since a time, so many at a time as are erased together."""
    after: str | None = None
    while True:
        page = conversations.list(until=before, by="last_turn", order="oldest", after=after, limit=TOGETHER)
        if page.rows:
            yield tuple(row.conversation for row in page.rows)
        if (after := page.after) is None:
            return


def _outcomes(
    service: "Service", trees: Sequence[str], before: str, by: Actor, *, dry_run: bool
) -> Iterator[tuple[str, Refused | bool]]:
    """Erase conversations, and yield what became of each, in their order; False if somebody spoke meanwhile.

    They are erased together, and what something stands in the way of, one by one. The same words are erased by the same
    command.
    """
    cause = ErasureCause.RETENTION
    if dry_run:
        for tree in trees:
            yield tree, service.refusal_to_erase(tree, by=by, cause=cause) or True
        return
    done = service.erasing.together(trees, lambda found: _retained(found, by), before) if trees else {}
    for tree in trees:
        if tree in done:
            yield tree, True
            continue
        id = _retained(service.erasing.read(tree), by).id
        try:
            outcome = service.erase_conversation(tree, by=by, cause=cause, command_id=id, spoken_before=before)
        except SpokenSince:
            yield tree, False
        else:
            yield tree, outcome if isinstance(outcome, Refused) else True


def _retained(found: TreeEvents, by: Actor) -> EraseContents:
    return erasure(derived_id("retain", by.kind, by.id, found.tree, *sorted(found.said)), by, ErasureCause.RETENTION)
