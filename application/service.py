"""The service: read, fold, decide, append.

States are kept hot in memory, each valid only at the version it was read at: an append that was decided on a stale
one conflicts in the store and is decided anew, and a refusal is given only on a fresh one. Nothing but the log is
trusted.
"""

import uuid
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC

from pydantic import ConfigDict, TypeAdapter

from lastresort.domain.commands import (
    UNSEALED,
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
    check_words,
)
from lastresort.domain.decider import Refused, decide, propose
from lastresort.domain.events import (
    AssistantTurnTaken,
    AttemptRefused,
    BranchOpened,
    ContentErased,
    ConversationEnded,
    Event,
    Recorded,
    RiskCleared,
    RiskRaised,
    content_of,
)
from lastresort.domain.law import broken_rules
from lastresort.domain.state import Conversation, evolve, fold
from lastresort.domain.values import About, Actor, ActorKind, ErasureCause, Id, Messages, Risk, with_content

from .directory import Directory
from .hot_states import FEW, HotStates, pieces_of, state_at_fork
from .outcomes import BranchEnded, Committed, Contended, Standing, UnknownBranch
from .ports import (
    Append,
    Clock,
    CommandRecorded,
    EventStore,
    Locked,
    NewId,
    Place,
    Placed,
    RiskScreen,
    Sealed,
    Snapshots,
    Unmarked,
    Vault,
    VersionConflict,
)
from .redelivery import check_same, check_same_child, check_same_words, refused_again

_ID = TypeAdapter[str](Id, config=ConfigDict(hide_input_in_errors=True))
_SEEN = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/lastresort/screened")
_FORMERLY = "messages:"  # so began the ids of commands that came with messages, before that was sealed with them
_FOR_A_HOLD = 20  # times as many attempts as for anything else,
_LOCKED_FOR_A_HOLD = 5  # and so many waits for the store's lock, which goes to whoever asks at the right moment
_HALVES = (BranchOff, OpenBranch)
_OF_THE_TREE = (RiskRaised, RiskCleared, ContentErased)
SYSTEM = Actor(kind=ActorKind.SYSTEM, id="lastresort")


class Service:
    """Carries out commands on the branches in a store.

    Args:
        store: the log, and the sealed words beside it.
        vault: seals and opens words.
        clock: tells the time that envelopes carry; no rule reads it.
        new_id: names conversations, branches and commands that the caller leaves unnamed.
        screen: looks at what a user writes after an ending.
        attempts: how often a command is decided anew when others write first.
        pause: called with the number of conflicts so far before a command is decided anew, so that an adapter can wait.
        hot: how many states are kept in memory.
        snapshots: keeps states beside the log, so that a branch that is not in memory need not be read as a whole.
        directory: lists conversations; it follows the log.
    """

    def __init__(
        self,
        store: EventStore,
        vault: Vault,
        *,
        clock: Clock,
        new_id: NewId,
        screen: RiskScreen,
        attempts: int = 10,
        pause: Callable[[int], None] = lambda conflicts: None,
        hot: int = 10_000,
        snapshots: Snapshots | None = None,
        directory: Directory | None = None,
    ) -> None:
        self.store = store
        self.vault = vault
        self.new_id = new_id
        self.clock = clock
        self.screen = screen
        self._attempts = attempts
        self._pause = pause
        self._hot = HotStates(hot)
        self._snapshots = snapshots
        self.directory = directory

    def close(self) -> None:
        """Release the store and the vault."""
        self.store.close()
        self.vault.close()

    # --- conversations and branches -----------------------------------------------------------------------------

    def begin(self, command: StartConversation, *, named: bool = True) -> str:
        """Start a conversation and return its root branch, which bears the conversation's id.

        Args:
            command: what to start.
            named: whether the caller chose the conversation's id; if not, a repeated command may come with another.

        Raises:
            CommandIdReused: the command's id belongs to another command.
            ValueError: a conversation of that id exists.
        """
        root, nothing = command.conversation, Conversation()
        try:
            self._append(command, {root: nothing}, {root: propose(command, nothing)})
        except (CommandRecorded, VersionConflict):
            told = self._told_before(command, root, root if named else None)
            if told is None:
                raise ValueError(f"conversation {root} exists; choose another id") from None
            assert isinstance(told, Committed)
            return told.events[0].branch
        return root

    def state(self, branch: str) -> Conversation:
        """Return the state of a branch as the log has it now.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        return self._state(branch, fresh=True)

    def path(self, branch: str, upto: int | None = None) -> list[Recorded]:
        """Return the events on the path of a branch, the inherited prefix first, up to version `upto`.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        return [
            recorded
            for piece in pieces_of(self.store, None, self.tree_of(branch), branch, upto)
            for recorded in piece.events
        ]

    def tree(self, branch: str) -> dict[str, Conversation]:
        """Return the branches of the tree that `branch` belongs to, root first, by reading the log alone.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        state = self.state(branch)
        while state.parent is not None:
            branch, state = state.parent, self.state(state.parent)
        states = {branch: state}
        waiting = deque(state.children)
        while waiting:
            child = waiting.popleft()
            states[child] = self.state(child)
            waiting.extend(states[child].children)
        return states

    def tree_log(self, branch: str) -> list[Recorded]:
        """Return the events of every branch of the tree that `branch` belongs to, parents before children.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        tree = self.tree_of(branch)
        return [recorded for one in self.tree(branch) for recorded in self.store.read(tree, one)]

    def tree_of(self, branch: str) -> str:
        """Return the conversation that a branch belongs to.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        state = self._hot.get(branch)
        tree = state.conversation if state else self.store.tree_of(branch)
        if tree is None:
            raise UnknownBranch(f"no branch {branch} in the store")
        return tree

    def words(self, path: Iterable[Recorded]) -> dict[str, str]:
        """Return the words that stand on a path, by digest, those that are still kept: text, or `Messages`.

        Raises:
            SealBroken: kept bytes are not what was sealed there.
        """
        told = {Place(one.branch, one.version): one for one in path if content_of(one.event)}
        conversation = ""
        words: dict[str, str] = {}
        for place, data in self.store.contents(told).items():
            conversation = conversation or self._state(place.branch).conversation
            digest = content_of(told[place].event) or ""
            opened = self.vault.open(conversation, *place, Sealed(digest, data))
            if isinstance(opened, Unmarked):
                opened = (Messages if told[place].command_id.startswith(_FORMERLY) else str)(opened)
            if opened is not None:
                words[digest] = opened
        return words

    # --- commands -----------------------------------------------------------------------------------------------

    def execute(
        self, branch: str, command: Command, words: str | None = None, *, correlation_id: str | None = None
    ) -> Committed | Refused:
        """Carry out `command` on `branch`, once however often it is delivered.

        A risk raised or cleared, and words erased, are recorded on every branch of the tree in one append. What a
        refused verdict saw of a risk holds all the same. What a user says goes through `user_turn`, which screens it if
        the branch has ended.

        Args:
            branch: where.
            command: what; if there are words, its `content` is set here.
            words: what was said, sealed beside the log.
            correlation_id: the wider act that the command belongs to: an id, as it stands in the log.

        Raises:
            UnknownBranch: the store has no such branch.
            CommandIdReused: the command's id belongs to another command.
            Contended: others wrote first, again and again.
            ValueError: words are to be erased that were not said in this conversation, a turn has no words or an act
                has that needs none, or the command is one half of a fork, which `fork` does whole.
        """
        if isinstance(command, _HALVES):
            raise ValueError(f"{type(command).__name__} is one half of a fork; use `fork`")
        check_words(command, words)
        if correlation_id is not None:
            _ID.validate_python(correlation_id)

        def attempt(fresh: bool) -> Committed | Standing:
            state = self._state(branch, fresh=fresh)
            told, sealed = self._seal(command, state, branch, state.version + 1, words)
            decision = decide(told, state)
            if not isinstance(decision, Refused) and isinstance(decision.events[0], ConversationEnded):
                state = fold(self.path(branch))  # what cannot be undone is decided on the whole log, and nothing else
                decision = decide(told, state)
            if isinstance(decision, Refused):
                return Standing(decision, state)
            before, written = {branch: state}, {branch: decision.events}
            erased: tuple[Place, ...] = ()
            shared = tuple(event for event in decision.events if isinstance(event, _OF_THE_TREE))
            if shared:
                tree = self.tree(branch)
                erased = self._places_of(shared, tree)
                before |= {other: state for other, state in tree.items() if other != branch}
                written |= {other: shared for other in before if other != branch}
                broken = tuple(b for other in written for b in broken_rules(before[other], written[other]))
                if broken:
                    return Standing(Refused(decision.events[0].kind, broken), state)
            return self._append(told, before, written, sealed, erased, correlation_id)

        outcome = self._until_decided(branch, command, attempt, words, correlation_id)
        seen = command.risk if isinstance(command, AssessTurn) and isinstance(outcome, Refused) else None
        if isinstance(command, AssessTurn) and seen in self._state(branch).policy.hold_on:
            self._hold(branch, command, command.by, command.about)
        return outcome

    def foresee(
        self, branch: str, command: AttemptRedirection | GiveWarning, coming: AssistantTurnTaken
    ) -> Refused | None:
        """Ask what would stand in the way of `command`, were it about the turn that is coming; None if nothing.

        Its `turn` is set here. It is not carried out; but if it is refused, that leaves a trace, as in `execute`.
        """

        def attempt(fresh: bool) -> Committed | Standing:
            state = self._state(branch, fresh=True)
            spoken = evolve(state, coming)
            decision = decide(command.model_copy(update={"turn": spoken.version}), spoken)
            return Standing(decision, state) if isinstance(decision, Refused) else Committed((), state)

        outcome = self._until_decided(branch, command, attempt)
        return outcome if isinstance(outcome, Refused) else None

    def _places_of(self, events: tuple[Event, ...], tree: Iterable[str]) -> tuple[Place, ...]:
        """Find where in a tree the words stand that `events` erase."""
        digests = [digest for event in events if isinstance(event, ContentErased) for digest in event.contents]
        if not digests:
            return ()
        places = self._contents_of(tree)
        strange = set(digests) - places.keys()
        if strange:
            raise ValueError(f"no words of this conversation have the digest {', '.join(sorted(strange))}")
        return tuple(places[digest] for digest in dict.fromkeys(digests))

    def _contents_of(self, branches: Iterable[str]) -> dict[str, Place]:
        """The digests of the words on branches, without those that these inherited, and where they stand."""
        return {
            digest: Place(one.branch, one.version)
            for branch in branches
            for one in self.store.read(self.tree_of(branch), branch)
            if (digest := content_of(one.event))
        }

    def user_turn(self, branch: str, command: TakeUserTurn, words: str) -> Committed | BranchEnded | Refused:
        """Record what the user said. After an ending it is not recorded, but screened for risk and handed back."""
        outcome = self.execute(branch, command, words)
        if isinstance(outcome, Committed):
            return outcome
        state = self._state(branch)
        if state.ended is None:
            return outcome
        risk = self._screened(words)
        if risk in state.policy.hold_on:
            self._hold(branch, command, SYSTEM, About.SELF)
        return BranchEnded(branch, state.ended, state.unit.turn if state.unit else None, risk, words)

    def _screened(self, words: str) -> Risk:
        try:
            return Risk(self.screen(words))
        except Exception:
            return Risk.POSSIBLE  # whatever ails the screen, the words are handed back, and doubt holds

    def _hold(self, branch: str, command: Command, by: Actor, about: About) -> None:
        """Raise the risk that was seen with `command`. Its id follows from the command's, so that it is raised once."""
        raised = uuid.uuid5(_SEEN, command.id).hex
        self.execute(branch, RaiseRisk(id=raised, by=by, risk=raised, about=about))

    def fork(self, command: OpenBranch, words: str | None = None, *, child: str | None = None) -> Committed | Refused:
        """Open a branch at a turn on its parent's path, with `words` as its first user turn if there are any.

        Args:
            command: where, and why.
            words: what is said in place of the turn that was edited.
            child: what to call the new branch.

        Raises:
            UnknownBranch, CommandIdReused, Contended: as `execute`.
            ValueError: a branch `child` exists.
        """
        branch, opened = command.parent, child or self.new_id()
        if words is not None:
            check_words(TakeUserTurn(id=command.id, by=command.by), words)

        def attempt(fresh: bool) -> Committed | Standing:
            parent = self._state(branch, fresh=fresh)
            at_fork = state_at_fork(self.store, self._snapshots, self._hot, branch, command.at, parent)
            decision = decide(command, at_fork)
            noted = decide(BranchOff(id=command.id, by=command.by, child=opened, at=command.at), parent)
            if isinstance(decision, Refused) or isinstance(noted, Refused):
                halves = (half for half in (noted, decision) if isinstance(half, Refused))  # either may break it
                broken = {one.rule: one for half in halves for one in half.broken}
                return Standing(Refused(BranchOpened.kind, tuple(broken.values())), parent)
            events: tuple[Event, ...] = decision.events
            sealed: Sealed | None = None
            if words is not None:
                turn = TakeUserTurn(id=command.id, by=command.by, content=UNSEALED)
                told, sealed = self._seal(turn, at_fork, opened, command.at + 2, words)
                events += propose(told, evolve(at_fork, events[0]))
            if fresh and child is not None and self.store.read(parent.conversation, child, limit=1):
                raise ValueError(f"branch {child} exists; choose another id")
            return self._append(
                command, {branch: parent, opened: at_fork}, {branch: noted.events, opened: events}, sealed
            )

        outcome = self._until_decided(branch, command, attempt, words)
        if isinstance(outcome, Committed):
            check_same_child(command, child, outcome.events)
        return outcome

    def erase_conversation(self, conversation: str, *, by: Actor, cause: ErasureCause, command_id: str) -> None:
        """Erase every word of a conversation, and destroy its key.

        Raises:
            UnknownBranch: the store has no such conversation.
        """
        tree = self.tree(conversation)
        command = EraseContents(id=command_id, by=by, contents=(), cause=cause)
        contents: Iterable[str] = ()  # what was said since the command was delivered before is not meant
        if self._told_before(command, conversation, conversation) is None:
            # The key first: should this be interrupted, then what is to be erased is gone, and may be sent again.
            places = self._contents_of(tree)
            self.vault.forget(tree[conversation].conversation, self.store.contents(places.values()).values())
            contents = self._contents_of(tree)
        self.execute(conversation, command.model_copy(update={"contents": tuple(contents)}))

    def _until_decided(
        self,
        branch: str,
        command: Command,
        attempt: Callable[[bool], Committed | Standing],
        words: str | None = None,
        correlation_id: str | None = None,
    ) -> Committed | Refused:
        """Decide anew while others write first; refuse only what was not done before, and on what the log says now."""
        conflicts, locked, fresh, tree = 0, 0, False, self.tree_of(branch)
        hold = isinstance(command, RaiseRisk | AssessTurn)  # which has to win on every branch at once, and always
        attempts = self._attempts * (_FOR_A_HOLD if hold else 1)
        while conflicts < attempts:
            try:
                outcome = attempt(fresh)
                if isinstance(outcome, Committed):
                    return outcome
                if (told := self._told_before(command, tree, branch, words)) is not None:
                    return told
                if fresh:
                    self._leave_trace(command, branch, outcome, correlation_id)
                    return outcome.refused
            except CommandRecorded:
                told = self._told_before(command, tree, branch, words)
                assert told is not None
                return told
            except VersionConflict:
                conflicts += 1
                self._pause(conflicts)
            except Locked:
                locked += 1
                if not hold or locked == _LOCKED_FOR_A_HOLD:
                    raise
            fresh = True
        why = f"others wrote first {conflicts} times; send it again"
        raise Contended(f"command {command.id} on branch {branch}: {why}")

    def _leave_trace(self, command: Command, branch: str, standing: Standing, correlation_id: str | None) -> None:
        if standing.refused.trace:
            written: dict[str, tuple[Event, ...]] = {branch: standing.refused.trace}
            self._append(command, {branch: standing.state}, written, correlation_id=correlation_id)

    def _told_before(
        self, command: Command, tree: str, branch: str | None, words: str | None = None
    ) -> Committed | Refused | None:
        """Return what became of a command that was delivered before, None if it was not.

        Raises:
            CommandIdReused: what was delivered under this id was another command, or other words.
        """
        events = tuple(self.store.recorded_by(tree, command.id))
        if not events:
            return None
        check_same(command, branch, events)
        check_same_words(command, words, events, self.words(events))
        first = events[0]
        if isinstance(first.event, AttemptRefused):
            return refused_again(command, first.event, fold(self.path(first.branch, upto=first.version - 1)))
        return Committed(events, self._state(first.branch, fresh=True))

    def _seal(
        self, command: Command, state: Conversation, branch: str, version: int, words: str | None
    ) -> tuple[Command, Sealed | None]:
        """Seal `words` for the place that the command's event would take."""
        if words is None:
            return command, None
        sealed = self.vault.seal(state.conversation, branch, version, words)
        return with_content(command, sealed.digest), sealed

    def _append(
        self,
        command: Command,
        before: dict[str, Conversation],
        written: dict[str, tuple[Event, ...]],
        sealed: Sealed | None = None,
        erased: tuple[Place, ...] = (),
        correlation_id: str | None = None,
    ) -> Committed:
        """Append the events of each branch after the state it was decided in, and keep the new states hot."""
        placed: list[Placed] = []
        after: dict[str, Conversation] = {}
        for branch, events in written.items():
            state = before[branch]
            for event in events:
                said = sealed is not None and getattr(event, "content", None) == sealed.digest
                placed.append(Placed(branch, state.version + 1, event, sealed.data if sealed and said else None))
                state = evolve(state, event)
            after[branch] = state
            kept = self._snapshots
            if kept and kept.every and state.version // kept.every != before[branch].version // kept.every:
                placed[-1] = placed[-1]._replace(snapshot=kept.take(branch, state, command.id))
        recorded = self.store.append(
            Append(
                tree=next(iter(after.values())).conversation,
                command_id=command.id,
                correlation_id=correlation_id or command.id,
                recorded_at=self.clock().astimezone(UTC).isoformat(timespec="microseconds"),
                events=tuple(placed),
                erased=erased,
            )
        )
        for branch, state in after.items():
            self._hot.put(branch, state)
        return Committed(recorded, after[placed[0].branch])

    def _state(self, branch: str, *, fresh: bool = False) -> Conversation:
        state = self._hot.get(branch)
        if state is not None and not fresh:
            return state
        if state is None:
            pieces = pieces_of(self.store, self._snapshots, self.tree_of(branch), branch, at_once=FEW)
            inherited = fold((one for piece in pieces[:-1] for one in piece.events), pieces[0].state)
            state = self._hot.fold(branch, pieces[-1].events, inherited)
        elif new := self.store.read(state.conversation, branch, after=state.version):
            state = self._hot.fold(branch, new, state)
        else:
            return state
        self.vault.renew(state.conversation)  # an erasure may be among what others wrote
        return state
