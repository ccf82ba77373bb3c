"""A breadth-first search of the real `decide` and `evolve`, to fixpoint, with the oracle beside it.

States are told apart up to what any later decision can depend on (`canonical`), so the search ends; it goes breadth
first, so the history that led to a state, and to a counterexample, is a shortest one. The oracle reads that history,
never the state.

    Search(acts).run(start)        one branch: every act in every state

`tree_search.py` does the same for two actors in a tree of branches.
"""

import gc
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from typing import Any, NamedTuple

from lastresort.domain.commands import Command, TakeAssistantTurn, TakeUserTurn
from lastresort.domain.decider import Refused, decide, propose
from lastresort.domain.events import (
    BranchOpened,
    ContentErased,
    ConversationEnded,
    ConversationStarted,
    ErasureHeld,
    ErasureReleased,
    Event,
    ModelChanged,
    PolicyChanged,
    UserTurnTaken,
    WarningGiven,
    WarningWithheld,
)
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import Ground, Mode, Verdict

from . import oracle
from .both_ways import EVERY_ACT, check_both_ways
from .narrow import present
from .oracle import History
from .vocabulary import DATED, MODEL

MOST_RELAPSES = 1
"""More make no episode of a search close later: the policies under which one relapses have a cap that one reaches."""

# --- When two states are one ----------------------------------------------------------------------------------------


def canonical(state: Conversation, cap: int, onward: bool = False) -> tuple[Any, ...]:
    """Return what a later decision can depend on, and nothing else: equal for states with the same future.

    Versions are only ever compared with each other and with what an event names, and every act names its turns
    relative to the latest ones; so it is enough to keep which versions there are, and which of them are the same.
    What an ending cites (the versions of its evidence) differs between merged states, and is checked on the shortest
    history. A count of failed redirections at or above `cap`, the most that a policy of the search asks for, is
    enough whatever is added to it. Where a conversation may go `onward` from the first edition to the second, what the
    second weighs counts in the first already. Nothing is ever decided on ids of children, nor on the order of warnings,
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
        _canonical_withheld(state),
        _of_the_second_edition(state, cap) if onward or state.law > 1 else None,
        frozenset((hold.hold, hold.reason, hold.until) for hold in state.holds),
        state.mode,
    )


def _of_the_second_edition(state: Conversation, cap: int) -> tuple[Any, ...]:
    """Who said what of a unit, whose turns it is of, and what an episode has beside its failures."""
    unit, episode, wishes = state.unit, state.episode, state.wishes
    return (
        state.law,
        state.ended and state.ended.granted,
        wishes.requested_by,
        wishes.to_confirm_by,
        unit
        and (
            frozenset(opinion._replace(turn=opinion.turn == unit.turn) for opinion in unit.opinions),
            (unit.user, unit.shared, unit.absolved, unit.risk_seen, unit.since_begun),
            frozenset((warned.category, warned.user) for warned in unit.warnings),
        ),
        (
            min(episode.attempted, cap),
            min(episode.relapses, MOST_RELAPSES),
            frozenset((w.category, w.user) for w in episode.warnings),
        ),
    )


def _canonical_withheld(state: Conversation) -> int:
    """Whether a warning was withheld in the episode, and if so, in answer to this very unit."""
    withheld = state.episode.withheld
    return 0 if withheld is None else 2 if state.unit and withheld > state.unit.turn else 1


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
    {
        "FeedbackGiven",
        "AppealFiled",
        "AppealDecided",
        "RiskRaised",
        "RiskCleared",
        "BranchedOff",
        "ContentErased",
        "ErasureHeld",
        "ErasureReleased",
    }
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


LOOKS: list[Callable[[Conversation, Sequence[Event]], None]] = []
"""What else looks at each decision: the model of the proof is compared on the way, see `unbounded/comparison.py`."""


def check(past: History, state: Conversation, events: tuple[Event, ...], refused: frozenset[str]) -> None:
    """Check what `decide` made of `events` against the oracle, and the properties that need no oracle."""
    for look in LOOKS:
        look(state, events)
    foretold = forbidden(past, events)
    if not agree(refused, foretold):
        raise unsound(f"decide: {sorted(refused) or 'accepted'}, oracle: {sorted(foretold) or 'lawful'}", past, *events)
    if refused:
        return
    if state.ended is not None and any(event.kind not in AFTER_THE_END for event in events):
        raise unsound("something followed the ending", past, *events)
    for event in events:
        _check_second(past, state, event)
    if type(events[-1]) is ConversationEnded:
        _check_ending(past, state, events[-1])


def _check_second(past: History, state: Conversation, event: Event) -> None:
    """What the second edition promises, read off the history."""
    match event:
        case WarningGiven():
            if _in_the_shadow(past):
                raise unsound("a warning in shadow mode", past, event)
        case WarningWithheld():
            if past.last(WarningWithheld) >= (oracle.opening(past) or 0):
                raise unsound("a second warning was withheld in an episode", past, event)
            if not _in_the_shadow(past):
                raise unsound("a warning was withheld in the enforced mode", past, event)
        case ContentErased():
            if holds_that_stand(past):
                raise unsound("words were erased that are held", past, event)
        case ConversationEnded(ground=Ground.LAST_RESORT) if not _is_by_the_model(past, event):
            raise unsound("an ending as last resort by another model", past, event)
        case _:
            pass


def _in_the_shadow(past: History) -> bool:
    mode: Mode = past.at(past.last(ConversationStarted, PolicyChanged)).mode
    return mode is Mode.SHADOW


def _is_by_the_model(past: History, event: ConversationEnded) -> bool:
    named: str = past.at(past.last(ConversationStarted, ModelChanged)).model
    return event.by.kind == "model" and (event.by.id == named or {event.by.id, named} == {MODEL.id, DATED.id})


def holds_that_stand(past: History) -> set[str]:
    """The legal holds that were set on a path and not released."""
    holds: set[str] = set()
    for event in past.path:
        match event:
            case BranchOpened(holds=carried):
                holds = {hold.hold for hold in carried}
            case ErasureHeld(hold=hold):
                holds.add(hold)
            case ErasureReleased(hold=hold):
                holds.discard(hold)
            case _:
                pass
    return holds


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
            and (state.law > 1 or max(evidence.redirections[:2]) < present(evidence.warning))
            and present(evidence.warning) < evidence.tested_by < evidence.hope
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
TURNS = 1 if EVERY_ACT else 7
"""Of so many turns, one is taken on the short way and on the long one: that takes longer than all else about it."""


class Search:
    """Every act in every state of one branch.

    Of the histories that lead to a state already known, every 200th is followed one step further: each act must
    come to the same as it did after the history that was there first, and the oracle must agree there as well.

    Args:
        acts: the commands to try, given the turns that they may name.
        cap: the most failed redirections that any policy among them asks for.
        onward: whether they may lead from the first edition to the second.
    """

    def __init__(self, acts: Acts, cap: int, onward: bool = False) -> None:
        self.acts = lru_cache(maxsize=None)(acts)
        self.cap = cap
        self.onward = onward
        self.turns = 0
        self.refusals: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.grounds: Counter[str] = Counter()

    def run(self, *prelude: Event) -> Seen:
        """Search from the end of `prelude`, a lawful history, until nothing new turns up."""
        start = reduce(evolve, prelude, Conversation()), History.of(prelude)
        first = canonical(start[0], self.cap, self.onward)
        outcomes: dict[Any, Any] = {first: None}
        waiting, merged = deque([(first, start)]), list[tuple[Any, tuple[Conversation, History]]]()
        transitions = met_again = 0
        gc.disable()  # nothing here is cyclic, and looking for cycles in all that is kept takes a quarter of the time
        while waiting:
            here, (state, past) = waiting.popleft()
            taken = self._all_taken(state, past)
            transitions += len(taken)
            outcomes[here] = [outcome for *outcome, _ in taken]
            for _, key, after in taken:
                if after is None:
                    continue
                new = key not in outcomes
                met_again += not new
                if new or met_again % SECOND_LOOK == 0:
                    # Few are gone on from, and so it is here that a history is made of what was recorded.
                    following = after.state, reduce(History.then, after.events, past)
                    (waiting if new else merged).append((key, following))
                if new:
                    outcomes[key] = None
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
            found.append((rules, after and canonical(after.state, self.cap, self.onward), after))
        return found

    def _taken(self, command: Command, state: Conversation, past: History) -> "tuple[frozenset[str], Recorded | None]":
        if isinstance(command, TakeUserTurn | TakeAssistantTurn) and state.begun:
            self.turns += 1
            if self.turns % TURNS == 0:
                check_both_ways(command, state)
        decision = decide(command, state)
        if isinstance(decision, Refused):
            check(past, state, propose(command, state), frozenset(decision.rules))
            self.refusals.update(decision.rules)
            rules = frozenset(decision.rules)
            return rules, self._recorded(decision.trace, state, past) if decision.trace else None
        return frozenset(), self._recorded(decision.events, state, past)

    def _recorded(self, events: tuple[Event, ...], state: Conversation, past: History) -> "Recorded":
        check(past, state, events, frozenset())
        for event in events:
            self.kinds[event.kind] += 1
            if type(event) is ConversationEnded:
                self.grounds[event.ground] += 1
            state = evolve(state, event)
        return Recorded(state, events)


class Recorded(NamedTuple):
    """What was recorded, and the state after it."""

    state: Conversation
    events: tuple[Event, ...]
