"""A breadth-first search of the real `decide` and `evolve`, to fixpoint, with the oracle beside it.

States are told apart up to what any later decision can depend on (`canonical`), so the search ends; it goes breadth
first, so the history that led to a state, and to a counterexample, is a shortest one. The oracle reads that history,
never the state.

    Search(acts).run(start)        one branch: every act in every state
    TreeSearch(...).run(start)     a tree: two actors who read, decide and commit in any order
"""

import gc
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, reduce
from itertools import accumulate
from typing import Any, NamedTuple

from lastresort.domain.commands import BranchOff, Command, OpenBranch
from lastresort.domain.decider import Refused, decide, propose
from lastresort.domain.events import (
    BranchOpened,
    ConversationEnded,
    ConversationStarted,
    Event,
    PolicyChanged,
    RiskCleared,
    RiskRaised,
    UserTurnTaken,
)
from lastresort.domain.state import Conversation, about_to_fork, evolve
from lastresort.domain.values import ForkCause, Ground, Verdict

from . import oracle
from .narrow import present
from .oracle import History
from .vocabulary import USER

# --- When two states are one ----------------------------------------------------------------------------------------


def canonical(state: Conversation, cap: int) -> tuple[Any, ...]:
    """Return what a later decision can depend on, and nothing else: equal for states with the same future.

    Versions are only ever compared with each other and with what an event names, and every act names its turns
    relative to the latest ones; so it is enough to keep which versions there are, and which of them are the same.
    What an ending cites (the versions of its evidence) differs between merged states, and is checked on the shortest
    history. A count of failed redirections at or above `cap`, the most that a policy of the search asks for, is
    enough whatever is added to it. Nothing is ever decided on ids of children, nor on the order of warnings,
    proposals and risks.
    """
    unit, wishes, ended = state.unit, state.wishes, state.ended
    return (
        state.version > 0,
        state.answered_by > 0,
        unit and _canonical_unit(state),
        _canonical_episode(state, cap),
        (wishes.requested, wishes.to_confirm, wishes.confirmed, wishes.hope).count(None) < 4
        and tuple(version is not None for version in wishes[:4]),
        frozenset(wishes.proposed),
        frozenset((risk.risk, risk.about) for risk in state.risks),
        state.hold_due == state.version,
        ended and (ended.ground, ended.category, ended.appealed),
        state.policy.name,
        state.model,
        state.fork,
    )


def _canonical_unit(state: Conversation) -> tuple[Any, ...]:
    unit = present(state.unit)
    return (
        state.answered_by > unit.turn,
        unit.judged == unit.turn,
        unit.judgement,
        unit.categories,
        unit.severity,
        unit.at_risk,
        unit.safe_by,
        unit.redirection is not None,
        frozenset((warned.category, warned.complete) for warned in unit.warnings),
        unit.numbers,
    )


def _canonical_episode(state: Conversation, cap: int) -> tuple[Any, ...]:
    episode = state.episode
    warnings = frozenset((warned.category, warned.complete, warned.tested_by is None) for warned in episode.warnings)
    return (episode.numbers, min(episode.failed, cap), episode.pending is not None, episode.productive, warnings)


# --- Reading a history ----------------------------------------------------------------------------------------------


def told(event: Event) -> str:
    """One event as a person reads it."""
    fields = event.model_dump(mode="json", exclude={"by", "content", "policy_hash", "usage", "stop_reason"})
    if isinstance(event, ConversationStarted | PolicyChanged):
        fields["policy"] = event.policy.name
    said = ", ".join(f"{name}={_plain(value)}" for name, value in fields.items() if value not in (None, [], ()))
    return f"{event.kind} by {event.by.kind} {event.by.id}" + (f": {said}" if said else "")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={_plain(of)}" for name, of in value.items() if of not in (None, [])) + "}"
    return str(value)


def transcript(path: Sequence[Event]) -> str:
    """A history as a person reads it, one event a line, by version."""
    return "\n".join(f"{version:4}  {told(event)}" for version, event in enumerate(path, 1))


class Unsound(AssertionError):
    """Something that must always hold does not. The message holds the shortest history that shows it."""


def unsound(why: str, past: History, *events: Event) -> Unsound:
    """Tell the history, and what was to come next."""
    following = len(past.path) + 1
    proposed = "\n".join(f"{version:4}> {told(event)}" for version, event in enumerate(events, following))
    return Unsound(f"{why}\n{transcript(past.path)}\n{proposed}")


# --- What must always hold ------------------------------------------------------------------------------------------

# Of a turn that is not the latest a small state can say that it is stale and no more; the oracle, which has the whole
# history, can add that it is no user turn, or that its unit was answered, or that a proposal was for another turn.
BESIDE_STALE = frozenset({"refers-to-the-path", "redirects-harm", "proposed-first"})
AFTER_THE_END = frozenset(
    {"FeedbackGiven", "AppealFiled", "AppealDecided", "RiskRaised", "RiskCleared", "BranchedOff", "ContentErased"}
)


def forbidden(past: History, events: Sequence[Event]) -> frozenset[str]:
    """Return the rules that the oracle finds broken by `events`, one after the other."""
    if len(events) == 1:
        return frozenset(oracle.broken(past, events[0]))
    rules: set[str] = set()
    for event in events:
        rules.update(oracle.broken(past, event))
        past = past.then(event)
    return frozenset(rules)


def agree(decided: frozenset[str], foretold: frozenset[str]) -> bool:
    if "judges-the-latest" in decided & foretold:
        return decided - BESIDE_STALE == foretold - BESIDE_STALE
    return decided == foretold


def check(past: History, state: Conversation, events: tuple[Event, ...], refused: frozenset[str]) -> None:
    """Check what `decide` made of `events` against the oracle, and the properties that need no oracle."""
    foretold = forbidden(past, events)
    if not agree(refused, foretold):
        raise unsound(f"decide: {sorted(refused) or 'accepted'}, oracle: {sorted(foretold) or 'lawful'}", past, *events)
    if refused:
        return
    if state.ended is not None and any(event.kind not in AFTER_THE_END for event in events):
        raise unsound("something followed the ending", past, *events)
    if type(events[-1]) is ConversationEnded:
        _check_ending(past, state, events[-1])


def _check_ending(past: History, state: Conversation, ending: ConversationEnded) -> None:
    if state.risks or oracle.open_risks(past):
        raise unsound("an ending under risk", past, ending)
    evidence: Any = ending.evidence
    if ending.ground is Ground.USER_REQUEST:
        holds = evidence.request < evidence.confirmation and past.path[evidence.request - 1].by.kind == "user"
    else:
        # The floors of the law, whatever the policy says.
        warning, unit = past.at(evidence.warning), oracle.current(past)
        holds = (
            len(set(evidence.redirections)) >= 2
            and max(evidence.redirections[:2]) < evidence.warning < evidence.tested_by < evidence.hope
            and (warning.names_behaviour and warning.redirects and warning.states_consequence)
            and unit is not None
            and unit.judgement is Verdict.HARMFUL
        )
    if not holds:
        raise unsound("an ending below the floors", past, ending)


class Seen(NamedTuple):
    """What a search came across, for the properties that must hold sometimes."""

    states: int
    transitions: int
    refusals: Counter[str]
    kinds: Counter[str]
    grounds: Counter[str]

    def __str__(self) -> str:
        endings = ", ".join(f"{ground} {count}" for ground, count in sorted(self.grounds.items())) or "none"
        return f"{self.states:>8,} states {self.transitions:>10,} transitions, endings accepted: {endings}"


# --- One branch -----------------------------------------------------------------------------------------------------


class Turns(NamedTuple):
    """The versions that an act may name."""

    user: int  # the latest user turn, or the next version if there is none
    assistant: int  # likewise
    stale: int  # the latest user turn of an earlier unit; if there is none, what is no turn at all
    version: int


Acts = Callable[[Turns], tuple[Command, ...]]


def turns_of(state: Conversation, past: History) -> Turns:
    user = state.unit.turn if state.unit else state.version + 1
    unit = oracle.current(past)
    stale = past.upto(unit.first - 1).last(UserTurnTaken) if unit else 0
    return Turns(user, state.answered_by or state.version + 1, stale or 1, state.version)


SECOND_LOOK = 200


class Search:
    """Every act in every state of one branch.

    Of the histories that lead to a state already known, every 200th is followed one step further: each act must
    come to the same as it did after the history that was there first, and the oracle must agree there as well.

    Args:
        acts: the commands to try, given the turns that they may name.
        cap: the most failed redirections that any policy among them asks for.
    """

    def __init__(self, acts: Acts, cap: int) -> None:
        self.acts = lru_cache(maxsize=None)(acts)
        self.cap = cap
        self.refusals: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.grounds: Counter[str] = Counter()

    def run(self, *prelude: Event) -> Seen:
        """Search from the end of `prelude`, a lawful history, until nothing new turns up."""
        start = reduce(evolve, prelude, Conversation()), History.of(prelude)
        outcomes: dict[Any, Any] = {canonical(start[0], self.cap): None}
        waiting, merged = deque([start]), []
        transitions = met_again = 0
        gc.disable()  # nothing here is cyclic, and looking for cycles in all that is kept takes a quarter of the time
        while waiting:
            state, past = waiting.popleft()
            taken = self._all_taken(state, past)
            transitions += len(taken)
            outcomes[canonical(state, self.cap)] = [outcome for *outcome, _ in taken]
            for _, key, after in taken:
                if after is not None and key not in outcomes:
                    outcomes[key] = None
                    waiting.append(after)
                elif after is not None:
                    met_again += 1
                    if met_again % SECOND_LOOK == 0:
                        merged.append((key, after))
        gc.enable()
        seen = Seen(len(outcomes), transitions, self.refusals.copy(), self.kinds.copy(), self.grounds.copy())
        for key, (state, past) in merged:
            if outcomes[key] != [outcome for *outcome, _ in self._all_taken(state, past)]:
                raise unsound("this history leads to a state that is taken for another, and is not", past)
        return seen

    def _all_taken(self, state: Conversation, past: History) -> list[tuple[Any, Any, Any]]:
        """Return, for each act, the rules in its way, and what it leads to: the next state, by its key and itself."""
        found: list[tuple[Any, Any, Any]] = []
        for command in self.acts(turns_of(state, past)):
            rules, after = self._taken(command, state, past)
            found.append((rules, after and canonical(after[0], self.cap), after))
        return found

    def _taken(
        self, command: Command, state: Conversation, past: History
    ) -> tuple[frozenset[str], tuple[Conversation, History] | None]:
        decision = decide(command, state)
        if isinstance(decision, Refused):
            check(past, state, propose(command, state), frozenset(decision.rules))
            self.refusals.update(decision.rules)
            rules = frozenset(decision.rules)
            return rules, self._recorded(decision.trace, state, past) if decision.trace else None
        return frozenset(), self._recorded(decision.events, state, past)

    def _recorded(self, events: tuple[Event, ...], state: Conversation, past: History) -> tuple[Conversation, History]:
        check(past, state, events, frozenset())
        for event in events:
            self.kinds[event.kind] += 1
            if type(event) is ConversationEnded:
                self.grounds[event.ground] += 1
            state, past = evolve(state, event), past.then(event)
        return state, past


# --- Trees, and two who act at once ---------------------------------------------------------------------------------


class Branch(NamedTuple):
    """A branch of a tree in the search."""

    parent: int | None
    states: tuple[Conversation, ...]  # after each version of its path, the inherited ones too
    past: History
    key: tuple[Any, ...]  # what anything later can depend on

    @property
    def state(self) -> Conversation:
        return self.states[-1]


class Fork(NamedTuple):
    """Where on the path of a branch another may be opened: the act names the turn, not the version."""

    cause: ForkCause
    at: int


class Doing(NamedTuple):
    """What an actor has read and decided, and not yet committed."""

    act: int  # which of the actor's acts
    branch: int
    command: Command
    written: tuple[tuple[int, tuple[Event, ...]], ...]
    read: tuple[tuple[int, int], ...]  # which branches at which versions


class Tree(NamedTuple):
    """Branches in the order of their opening, what each actor is at, and the log that led here."""

    branches: tuple[Branch, ...]
    doing: tuple[Doing | None, ...]
    log: Any = None  # (before, branch, version, event)

    def open_risks(self) -> oracle.Risks:
        return frozenset(risk for branch in self.branches for risk in oracle.open_risks(branch.past))


TreeActs = Callable[[Turns], tuple[Command | Fork, ...]]


class TreeSearch:
    """Every order in which two actors read, decide and commit on a tree of up to three branches.

    An actor reads every branch that the act concerns and decides; others may commit before it does. Then the append
    conflicts, as in the store, and the act is decided anew on what is there now: it still names the turn that
    the actor had seen. A refusal is given only on a fresh state, and leaves nothing behind.

    Args:
        actors: for each actor the acts that it may try on any branch. A `Fork` opens a branch at a turn.
        cap: the most failed redirections that any policy among them asks for.
    """

    MOST_BRANCHES = 3

    def __init__(self, actors: Sequence[TreeActs], cap: int) -> None:
        self.actors = [lru_cache(maxsize=None)(acts) for acts in actors]
        self.cap = cap
        self.refusals: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.grounds: Counter[str] = Counter()

    def run(self, *prelude: Event) -> Seen:
        """Search from a tree of one branch whose history is `prelude`, until nothing new turns up."""
        root = self._branch(None, tuple(accumulate(prelude, evolve, initial=Conversation())), History.of(prelude))
        start = Tree((root,), (None,) * len(self.actors))
        known = {self._key(start)}
        waiting = deque([start])
        transitions = 0
        gc.disable()
        while waiting:
            tree = waiting.popleft()
            for after in self._steps(tree):
                transitions += 1
                key = self._key(after)
                if key not in known:
                    known.add(key)
                    waiting.append(after)
        gc.enable()
        return Seen(len(known), transitions, self.refusals, self.kinds, self.grounds)

    def _steps(self, tree: Tree) -> Iterator[Tree]:
        for actor, doing in enumerate(tree.doing):
            if doing is not None:
                yield self._commit(tree, actor, doing)
                continue
            for place, branch in enumerate(tree.branches):
                for act, command in enumerate(self.actors[actor](turns_of(branch.state, branch.past))):
                    yield self._read_and_decide(tree, actor, act, place, command)

    def _read_and_decide(self, tree: Tree, actor: int, act: int, place: int, command: Command | Fork) -> Tree:
        if isinstance(command, Fork):
            if len(tree.branches) == self.MOST_BRANCHES:
                return tree
            command = OpenBranch(id="fork", by=USER, parent=f"b{place}", at=command.at, cause=command.cause)
        written = self._decide(tree, place, command)
        if written is None:
            return tree
        read = tuple((other, tree.branches[other].state.version) for other, _ in written if other < len(tree.branches))
        return _at(tree, actor, Doing(act, place, command, written, read))

    def _commit(self, tree: Tree, actor: int, doing: Doing) -> Tree:
        written: Written | None = doing.written
        if any(tree.branches[other].state.version != version for other, version in doing.read):
            written = self._decide(tree, doing.branch, doing.command)
        tree = _at(tree, actor, None)
        return tree if written is None else self._append(tree, written)

    def _decide(self, tree: Tree, place: int, command: Command) -> "Written | None":
        """Return what each branch is to record, None if the law refuses. The oracle is asked about each decision."""
        branch = tree.branches[place]
        if isinstance(command, OpenBranch):
            return self._decide_fork(tree, place, command)
        # A branch is part of many trees, and what is decided on it depends on it alone: once is enough.
        if id(command) not in branch.past.memo:
            branch.past.memo[id(command)] = self._accepts(command, branch.state, branch.past)
        if not branch.past.memo[id(command)]:
            return None
        events = propose(command, branch.state)
        shared = tuple(event for event in events if type(event) in (RiskRaised, RiskCleared))
        others = [(other, shared) for other in range(len(tree.branches)) if other != place and shared]
        return ((place, events), *others)

    def _decide_fork(self, tree: Tree, place: int, command: OpenBranch) -> "Written | None":
        parent, child = tree.branches[place], len(tree.branches)
        if child == self.MOST_BRANCHES:
            return None
        following = type(parent.past.path[command.at]) if command.at < parent.state.version else None
        at_fork = about_to_fork(parent.states[command.at], following, parent.state.risks)
        past = parent.past.about_to_fork(command.at, tree.open_risks())
        note = BranchOff(id="fork", by=command.by, child=f"b{child}", at=command.at)
        # Both are asked, so that both are compared with the oracle.
        if not all([self._accepts(command, at_fork, past), self._accepts(note, parent.state, parent.past)]):
            return None
        return ((place, propose(note, parent.state)), (child, propose(command, at_fork)))

    def _accepts(self, command: Command, state: Conversation, past: History) -> bool:
        decision = decide(command, state)
        if isinstance(decision, Refused):
            check(past, state, propose(command, state), frozenset(decision.rules))
            self.refusals.update(decision.rules)
            return False
        check(past, state, decision.events, frozenset())
        return True

    def _append(self, tree: Tree, written: "Written") -> Tree:
        """Append, and ask the oracle once more of each event: now it is in the log."""
        branches, log = list(tree.branches), tree.log
        for place, events in written:
            for event in events:
                if type(event) is BranchOpened:
                    parent = int(event.parent[1:])
                    states = branches[parent].states[: event.at + 1]
                    past = branches[parent].past.about_to_fork(event.at, tree.open_risks())
                    branches.append(Branch(parent, states, past, ()))
                branch = branches[place]
                if rules := oracle.broken(branch.past, event):
                    raise unsound(f"b{place} recorded what is unlawful: {rules}\n{told_log(log)}", branch.past, event)
                self.kinds[event.kind] += 1
                if type(event) is ConversationEnded:
                    self.grounds[event.ground] += 1
                log = (log, place, len(branch.states), event)
                states = (*branch.states, evolve(branch.state, event))
                branches[place] = self._branch(branch.parent, states, branch.past.then(event))
        after = Tree(tuple(branches), tree.doing, log)
        self._check_tree(tree, after, written)
        return after

    def _check_tree(self, before: Tree, after: Tree, written: "Written") -> None:
        """What must hold of a tree whatever happens in it."""
        known = {oracle.open_risks(branch.past) for branch in after.branches}
        if len(known) > 1:
            raise unsound(f"the branches do not agree on what is open\n{told_log(after.log)}", after.branches[0].past)
        for was, branch in zip(before.branches, after.branches, strict=False):
            if was.state.ended is not None and branch.state.ended is None:
                raise unsound(f"an ending was undone\n{told_log(after.log)}", branch.past)
        if any(type(event) is ConversationEnded for _, events in written for event in events) and len(written) > 1:
            raise unsound(f"an ending touched another branch\n{told_log(after.log)}", after.branches[0].past)

    def _branch(self, parent: int | None, states: tuple[Conversation, ...], past: History) -> Branch:
        """Where a branch can be left is part of what may happen: the state before each turn that a `Fork` can name.

        That is the latest user turn and the latest assistant turn; the first one is the same in all.
        """
        state = states[-1]
        before_user = canonical(states[state.unit.turn - 1], self.cap) if state.unit else None
        before_answer = canonical(states[state.answered_by - 1], self.cap) if state.answered_by else None
        return Branch(parent, states, past, (parent, canonical(state, self.cap), before_user, before_answer))

    def _key(self, tree: Tree) -> tuple[Any, ...]:
        return (
            tuple(branch.key for branch in tree.branches),
            tuple(doing and self._key_of_doing(tree, doing) for doing in tree.doing),
        )

    def _key_of_doing(self, tree: Tree, doing: Doing) -> tuple[Any, ...]:
        # Of what was decided only this matters: whether it can still be committed, and if not, what is asked anew:
        # about the latest turn or about one that is stale for ever, or to fork at a place that stays what it is.
        branch, command = tree.branches[doing.branch], doing.command
        current = all(tree.branches[other].state.version == version for other, version in doing.read)
        if isinstance(command, OpenBranch):
            named: Any = canonical(branch.states[command.at], self.cap), type(branch.past.path[command.at])
        else:
            turn = command.__dict__.get("seen") or command.__dict__.get("turn")
            named = turn is None or turn == present(branch.state.unit).turn
        return doing.act, doing.branch, current, named


Written = tuple[tuple[int, tuple[Event, ...]], ...]


def _at(tree: Tree, actor: int, doing: Doing | None) -> Tree:
    return tree._replace(doing=(*tree.doing[:actor], doing, *tree.doing[actor + 1 :]))


def told_log(log: Any) -> str:
    """The log of a tree since the search began, one event a line."""
    lines: list[str] = []
    while log is not None:
        log, place, version, event = log
        lines.append(f"b{place} {version:4}  {told(event)}")
    return "\n".join(reversed(lines))
