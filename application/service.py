"""The service: read, fold, decide, append.

A state may be outdated: an append that was decided on one conflicts in the store and is decided again, and a refusal is
given only on a fresh one. Nothing but the log is trusted.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from pydantic import ConfigDict, TypeAdapter

from lastresort.domain.commands import (
    AssessTurn,
    AttemptRedirection,
    BranchOff,
    Command,
    EraseContents,
    GiveWarning,
    OpenBranch,
    RaiseRisk,
    StartConversation,
    TakeUserTurn,
)
from lastresort.domain.decider import Refused, decide, propose
from lastresort.domain.events import (
    AssistantTurnTaken,
    AttemptRefused,
    BranchOpened,
    ContentErased,
    ConversationEnded,
    ErasureHeld,
    ErasureReleased,
    Event,
    RiskCleared,
    RiskRaised,
)
from lastresort.domain.law import broken_rules, judged_on
from lastresort.domain.rules import Hold, hold_after_refusal, holds_after_ending
from lastresort.domain.state import Conversation, evolve, fold
from lastresort.domain.turn_text import spoken_in
from lastresort.domain.values import About, Actor, ErasureCause, Id, gravest

from .arguments import derived_id, described_id
from .erasing import Erasing, erasure
from .outcomes import BranchEnded, CommandIdReused, Contention, Receipt, Refusal, SpokenSince, Stopwatch, screened
from .ports import CommandRecorded, EventStore, Locked, Ports, SealedWords, StoreError, VersionConflict
from .reading import Reading
from .redelivery import check_same, check_same_child, check_same_words, refused_again
from .words import Annotator, Words
from .writing import Writing

if TYPE_CHECKING:
    from .conversations import Conversations

_ID = TypeAdapter[str](Id, config=ConfigDict(hide_input_in_errors=True))
_FOR_A_HOLD = 20  # times as many attempts as for anything else,
_LOCKED_FOR_A_HOLD = 5  # and so many waits for the store's lock, which is free for a moment now and then
_HALVES = (BranchOff, OpenBranch)
_OF_THE_TREE = (RiskRaised, RiskCleared, ErasureHeld, ErasureReleased, ContentErased)


class Service:
    """Carries out commands on the branches in a store. Threads may share it.

    Beside the handles of `chat`, it is the low-level door, for adapters that have a command rather than an act of
    somebody's, or that need the ports themselves.

    Args:
        ports: what it is given from outside.
        attempts: how often a command is decided when others write first.
        hot: how many states are kept in memory.

    Attributes:
        ports: as given.
        reading: the read side.
        words: what was said.
        annotator: what is kept beside the log and is no event.
        erasing: erases conversations whole.
    """

    def __init__(self, ports: Ports, *, attempts: int = 10, hot: int = 10_000) -> None:
        self.ports = ports
        self.reading = Reading(ports, hot)
        self.annotator = Annotator(ports)
        self.words = Words(ports, self.reading, self.annotator)
        self._writing = Writing(ports, self.reading.hot)
        self.erasing = Erasing(ports, self.reading, self.words, self._writing)
        self._attempts = attempts

    def close(self) -> None:
        """Release the store and the vault. Whatever is called later raises StoreClosed."""
        self.ports.close()

    # --- conversations and branches -----------------------------------------------------------------------------

    def begin(self, command: StartConversation) -> str:
        """Start a conversation and return its root branch, which bears the conversation's id.

        Raises:
            CommandIdReused: the command's id belongs to another command.
            ValueError: a conversation of that id exists.
        """
        if type(command) is not StartConversation:
            raise ValueError(f"a conversation begins with StartConversation, not with {type(command).__name__}")
        root, nothing = command.conversation, Conversation()
        decision = decide(command, nothing)
        if isinstance(decision, Refused):
            raise ValueError(str(decision))
        stopwatch = Stopwatch(self.ports, command)
        try:
            stopwatch.committed(self._writing.append(command, {root: nothing}, {root: decision.events}))
        except (CommandRecorded, VersionConflict):
            earlier = self._earlier_outcome(command, root, root)
            if earlier is None:
                raise ValueError(f"conversation: one {described_id(root)} exists; choose another id") from None
            assert isinstance(earlier, Receipt)
            return earlier.events[0].branch
        return root

    # --- commands -----------------------------------------------------------------------------------------------

    def execute(
        self, branch: str, command: Command, words: str | None = None, *, correlation_id: str | None = None
    ) -> Receipt | Refused:
        """Carry out `command` on `branch`, once however often it is delivered.

        A risk raised or cleared, a legal hold set or released, and words erased, are recorded on every branch of the
        tree in one append. What a refused verdict saw of a risk holds all the same. What a user says goes through
        `user_turn`, which screens it if the branch has ended.

        Args:
            branch: where.
            command: what; if there are words, its `content` is set here.
            words: what was said, sealed beside the log.
            correlation_id: the wider act that the command belongs to: an id, as it stands in the log.

        Raises:
            UnknownBranch: the store has no such branch.
            CommandIdReused: the command's id belongs to another command.
            Contention: others wrote first, again and again.
            ValueError: words are to be erased that were not said in this conversation, a turn has no words or an act
                has that needs none, or the command is one half of a fork, which `fork` does whole.
        """
        if isinstance(command, _HALVES):
            raise ValueError(f"{type(command).__name__} is one half of a fork; use `fork`")
        conflicts = 0
        if correlation_id is not None:
            _ID.validate_python(correlation_id)
        else:
            try:
                if (taken := self._writing.plain_turn(branch, command, words)) is not None:
                    return taken
            except VersionConflict:
                conflicts = 1
        self.words.check(command, words)
        outcome = self._carried_out(branch, command, words, correlation_id, conflicts)
        if isinstance(command, EraseContents) and isinstance(outcome, Receipt):
            tree, events = outcome.state.conversation, [one.event for one in outcome.events]
            self.annotator.drop_shown(tree, lambda: self.words.places_of(events, tree, self.reading.tree(branch)))
        if isinstance(command, AssessTurn) and isinstance(outcome, Refused):
            self._hold(branch, command, hold_after_refusal(self.reading.state(branch, fresh=False), command))
        return outcome

    def _carried_out(
        self, branch: str, command: Command, words: str | None, correlation_id: str | None, conflicts: int
    ) -> Receipt | Refused:
        def attempt(fresh: bool) -> Receipt | Refusal:
            state = self.reading.state(branch, fresh=fresh)
            meant, sealed = self.words.seal(command, state.conversation, branch, state.version + 1, words)
            decision = decide(meant, state)
            if not isinstance(decision, Refused) and isinstance(decision.events[0], ConversationEnded):
                state = fold(self.reading.path(branch))  # what cannot be undone is decided on the whole log alone
                decision = decide(meant, state)
            if isinstance(decision, Refused):
                return Refusal(decision, state)
            shared = tuple(event for event in decision.events if isinstance(event, _OF_THE_TREE))
            if not shared:
                return self._writing.append(
                    meant, {branch: state}, {branch: decision.events}, sealed, (), correlation_id
                )
            # What is to be erased may have been said on a branch that others opened. The rest conflicts, if they did.
            tree = self.reading.tree(branch, fresh=fresh or isinstance(command, EraseContents))
            erased = self.words.places_of(shared, state.conversation, tree)
            before = tree | {branch: state}
            written = dict.fromkeys((branch, *tree), shared) | {branch: decision.events}
            broken, after = judged_on(before, written)
            if broken:
                return Refusal(Refused(decision.events[0].kind, broken), state)
            return self._writing.append(meant, before, written, sealed, erased, correlation_id, after)

        return self._until_decided(branch, command, attempt, words, correlation_id, conflicts)

    def foresee(
        self, branch: str, command: AttemptRedirection | GiveWarning, coming: AssistantTurnTaken
    ) -> Refused | None:
        """Ask what would stand in the way of `command`, were it about the turn that is coming; None if nothing.

        Its `turn` is set here. It is not carried out; but if it is refused, that leaves a trace, as in `execute`.
        """

        def attempt(fresh: bool) -> Receipt | Refusal:
            state = self.reading.state(branch)
            spoken = evolve(state, coming)
            decision = decide(command.model_copy(update={"turn": spoken.version}), spoken)
            return Refusal(decision, state) if isinstance(decision, Refused) else Receipt((), state)

        outcome = self._until_decided(branch, command, attempt)
        return outcome if isinstance(outcome, Refused) else None

    def user_turn(self, branch: str, command: TakeUserTurn, words: str) -> Receipt | BranchEnded | Refused:
        """Record what the user said. After an ending it is not recorded, but screened for risk and handed back."""
        outcome = self.execute(branch, command, words)
        if isinstance(outcome, Receipt):
            return outcome
        state = self.reading.state(branch, fresh=False)
        if state.ended is None:
            return outcome
        seen = screened(self.ports.screen, spoken_in(words))
        for number, hold in enumerate(holds_after_ending(state, seen)):
            self._hold(branch, command, hold, *[hold.about] * number)
        turn = state.unit.turn if state.unit else None
        return BranchEnded(branch, state.ended, turn, gravest(seen), words, self.reading.appeal_until(branch))

    def _hold(self, branch: str, command: Command, hold: Hold | None, *also: About) -> None:
        """Raise the risk that was seen with `command`, if any; `also` tells a second one from the first.

        Its id follows from the command's, so it is raised once. It is raised again, under an id of its own, where that
        risk was cleared since, or the id is another command's, which may be in a log from elsewhere: the command itself
        is not recorded, so what comes under its id now need not be what came then, and doubt holds.
        """
        if hold is None:
            return
        with suppress(CommandIdReused):
            raised = str(derived_id("hold", branch, command.id, *also))
            outcome = self.execute(branch, RaiseRisk(id=raised, by=hold.by, risk=raised, about=hold.about))
            if isinstance(outcome, Receipt) and any(one.risk == raised for one in outcome.state.risks):
                return
        raised = str(derived_id("hold", branch, self.ports.new_id()))
        self.execute(branch, RaiseRisk(id=raised, by=hold.by, risk=raised, about=hold.about))

    def fork(self, command: OpenBranch, words: str | None = None, *, child: str | None = None) -> Receipt | Refused:
        """Open a branch at a turn on its parent's path, with `words` as its first user turn if there are any.

        Args:
            command: where, and why.
            words: what is said in place of the turn that was edited.
            child: what to call the new branch.

        Raises:
            UnknownBranch, CommandIdReused, Contention: as `execute`.
            EventTooLarge: so many risks and legal holds are open in the tree that no branch can carry them.
            ValueError: a branch `child` exists.
        """
        branch, opened = command.parent, self.ports.new_id() if child is None else child
        turn = TakeUserTurn(id=command.id, by=command.by)
        if words is not None:
            self.words.check(turn, words)

        def attempt(fresh: bool) -> Receipt | Refusal:
            parent = self.reading.state(branch, fresh=fresh)
            at_fork = self.reading.state_at_fork(branch, command.at, parent)
            noted = propose(BranchOff(id=command.id, by=command.by, child=opened, at=command.at), parent)
            events = propose(command, at_fork)
            broken, after = judged_on({branch: parent, opened: at_fork}, {branch: noted, opened: events})
            if words is not None and not broken:  # on a branch that cannot open nobody can say anything
                broken = broken_rules(after[opened], propose(turn, after[opened]))
            if broken:  # on either branch, or on both for one reason
                each = {one.rule: one for one in broken}
                return Refusal(Refused(BranchOpened.kind, tuple(each.values())), parent)
            sealed: SealedWords | None = None
            if words is not None:
                meant, sealed = self.words.seal(turn, parent.conversation, opened, command.at + 2, words)
                events = (events[0], *propose(meant, at_fork))
            if fresh and child is not None and self.ports.store.read(parent.conversation, child, limit=1):
                raise ValueError(f"child: a branch {described_id(child)} exists; choose another id")
            written = {branch: noted, opened: events}
            receipt = self._writing.append(command, {branch: parent, opened: at_fork}, written, sealed)
            self.reading.hot.keep(opened, evolve(at_fork, events[0]))  # where its first turn may be edited next
            return receipt

        outcome = self._until_decided(branch, command, attempt, words)
        if isinstance(outcome, Receipt):
            check_same_child(command, child, outcome.events)
        return outcome

    def erase_conversation(
        self, branch: str, *, by: Actor, cause: ErasureCause, command_id: str, spoken_before: str | None = None
    ) -> Receipt | Refused:
        """Erase every word of the conversation that `branch` belongs to, and destroy its key.

        The law is asked first. What it lets through is recorded once the conversation's keys are retired, so that what
        is said later takes a new one; then these keys are destroyed, and then the sealed words. If that was
        interrupted, send it again under the same `command_id`: what is left to do is done. What was said since is not
        meant, and stays.

        Args:
            branch, by, cause, command_id: as `EraseContents` has them.
            spoken_before: a time, ISO 8601 in UTC: nothing is erased if somebody spoke then or later.

        Raises:
            UnknownBranch: the store has no such branch.
            SpokenSince: somebody spoke, on one of its branches.
            CommandIdReused, Contention: as `execute`.
        """
        command = erasure(command_id, by, cause)
        tree, retired = self.reading.tree_of(branch), ""

        def attempt(fresh: bool) -> Receipt | Refusal:
            nonlocal retired
            found = self.erasing.read(tree)
            planned = self.erasing.plan(command, branch, found)
            if isinstance(planned, Refusal):
                return planned
            if spoken_before is not None and found.last_turn >= spoken_before:
                raise SpokenSince(tree)
            (receipt,), keys = self.erasing.record([planned])
            retired = keys  # only now: if another delivery was first, words may be sealed under these since
            return receipt

        outcome = self._earlier_outcome(command, tree, branch) or self._until_decided(branch, command, attempt)
        if isinstance(outcome, Receipt):
            self.erasing.finish([(outcome, retired, self.erasing.read(tree))])
        return outcome

    def refusal_to_erase(self, branch: str, *, by: Actor, cause: ErasureCause) -> Refused | None:
        """Ask what would stand in the way of `erase_conversation`, now; None if nothing. Records nothing."""
        planned = self.erasing.plan(erasure("asked", by, cause), branch, self.erasing.read(branch))
        return planned.refused if isinstance(planned, Refusal) else None

    def _until_decided(
        self,
        branch: str,
        command: Command,
        attempt: Callable[[bool], Receipt | Refusal],
        words: str | None = None,
        correlation_id: str | None = None,
        conflicts: int = 0,
    ) -> Receipt | Refused:
        """Decide again while others write first; refuse only what was not done before, and on what the log says now."""
        locked, fresh, tree = 0, conflicts > 0, self.reading.tree_of(branch)
        stopwatch = Stopwatch(self.ports, command)
        if conflicts:  # on the short way
            stopwatch.contended(conflicts)
            self.ports.pause(conflicts)
        hold = isinstance(command, RaiseRisk | AssessTurn)  # which has to win on every branch at once, and always
        attempts = self._attempts * (_FOR_A_HOLD if hold else 1)
        while conflicts < attempts:
            try:
                outcome = attempt(fresh)
                if isinstance(outcome, Receipt):
                    stopwatch.committed(outcome)
                    return outcome
                if (earlier := self._earlier_outcome(command, tree, branch, words)) is not None:
                    return earlier
                if fresh:
                    self._leave_trace(command, branch, outcome, correlation_id)
                    stopwatch.refused(outcome.refused)
                    return outcome.refused
            except CommandRecorded:
                earlier = self._earlier_outcome(command, tree, branch, words)
                assert earlier is not None
                return earlier
            except VersionConflict:
                conflicts += 1
                stopwatch.contended(conflicts)
                self.ports.pause(conflicts)
            except Locked:
                locked += 1
                if not hold or locked == _LOCKED_FOR_A_HOLD:
                    raise
            fresh = True
        why = f"others wrote first {conflicts} times; send it again"
        raise Contention(f"{type(command).__name__}: {why}")

    def _leave_trace(self, command: Command, branch: str, refusal: Refusal, correlation_id: str | None) -> None:
        if refusal.refused.trace:
            written: dict[str, tuple[Event, ...]] = {branch: refusal.refused.trace}
            self._writing.append(command, {branch: refusal.state}, written, correlation_id=correlation_id)
        else:
            self.ports.store.barrier()  # it is refused for what others wrote, an ending say

    def _earlier_outcome(
        self, command: Command, tree: str, branch: str, words: str | None = None
    ) -> Receipt | Refused | None:
        """Return what became of a command that was delivered before, None if it was not.

        Raises:
            CommandIdReused: what was delivered under this id was another command, or other words.
        """
        events = tuple(self.ports.store.recorded_by(tree, command.id))
        if not events:
            return None
        check_same(command, branch, events)
        check_same_words(command, words, events, self.words.on(events))
        first, outcome = events[0], None
        if isinstance(first.event, AttemptRefused):
            outcome = refused_again(command, first.event, fold(self.reading.path(first.branch, upto=first.version - 1)))
        found = outcome or Receipt(events, self.reading.state(first.branch))
        self.ports.store.barrier()  # nobody may have been told yet that it was written
        return found


class Opened:
    """An open store with its service, or several of them (`adapters.shards`). `whole` is all that was opened together.

    `parts` are the conversations of each store, of which the first has the pseudonyms of people; itself, if there is
    one. `of` returns those of the store that has a branch: itself, if there is one store; or raises UnknownBranch.
    """

    whole: "Conversations"

    def __init__(self, service: Service | None) -> None:
        self._service = service
        self.whole = cast("Conversations", self)

    @property
    def service(self) -> Service:
        """The low-level door, for adapters: carries out any command on any branch, and holds the ports."""
        if self._service is None:
            raise StoreError("this needs the conversations of one store, and these lie in several; name one of them")
        return self._service

    @property
    def store(self) -> EventStore:
        """The log, for what reads it: an audit, an export, a view. What is appended here is not asked of the law."""
        return self.service.ports.store

    @property
    def parts(self) -> "tuple[Conversations, ...]":
        return (cast("Conversations", self),)

    @property
    def annotator(self) -> Annotator:
        """What knows whom the accounts stand for."""
        return self.service.annotator

    def of(self, branch: str) -> "Conversations":
        return cast("Conversations", self)
