"""Hypothesis strategies: policies, commands, lawful histories, unlawful ones a single event away, and trees.

A history is a tuple of RecordedEvent, as a store would hold it. Most are after something, an ending on one of the
grounds, and take the next step towards it, but for some that go astray. So they reach every rung of the ladder
(redirections, a warning, its test, an ending and what comes after it), and on each of them holds and other terms.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any, NamedTuple

from hypothesis import note
from hypothesis import strategies as st

from lastresort.adapters import open_conversations
from lastresort.application.conversations import Conversations
from lastresort.domain import commands as ask
from lastresort.domain.decider import Acceptance, Refused, decide, propose
from lastresort.domain.events import (
    AssistantTurnTaken,
    BranchedOff,
    BranchOpened,
    ConversationEnded,
    EndConfirmed,
    Event,
    Evidence,
    RecordedEvent,
    UserTurnTaken,
)
from lastresort.domain.law import broken_by
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation, about_to_fork, evolve, fold
from lastresort.domain.values import EDITIONS, LATEST, About, ActorKind, ForkCause, Mode, OpenRisk, Risk, SecondOpinion

from .asking import ACTORS, ASSESSOR, EASY, GOALS, MODEL, OPERATOR, USER, Goal, sensible, start, towards
from .lawful import as_text

THEN = datetime(2026, 1, 1, tzinfo=UTC)
"""The time in every envelope: no rule reads it."""


def policies() -> st.SearchStrategy[Policy]:
    """Policies that can be, with numbers small enough to be reached."""
    return st.builds(
        Policy,
        name=st.sampled_from(["one", "another"]),
        min_failed_redirections=st.integers(2, 3),
        productive_to_close=st.integers(1, 2),
        categories=st.sampled_from([("abuse", "threats"), ("threats",)]),
        min_severity=st.integers(1, 3),
        eligible_models=st.sampled_from([("claude-opus-*",), ("*",), ()]),
        handshake=st.booleans(),
        hold_on=st.sampled_from([(Risk.IMMINENT,), (Risk.IMMINENT, Risk.POSSIBLE)]),
        trusted_for_risk=st.sampled_from([(ActorKind.ASSESSOR, ActorKind.OPERATOR), (ActorKind.ASSESSOR,), ()]),
        may_clear_risk=st.sampled_from([(), (ASSESSOR.id,)]),
        second_opinion=st.sampled_from(SecondOpinion),
        min_redirections_to_warn=st.integers(2, 3),
        relapse_step=st.integers(0, 1),
        groups=st.sampled_from([{}, {"malice": ("abuse", "threats")}]),
        hold_on_others=st.sampled_from([None, (Risk.IMMINENT,)]),
        leaving_voids_warnings=st.booleans(),
    )


_modes = st.sampled_from([Mode.ENFORCED, Mode.ENFORCED, Mode.ENFORCED, Mode.SHADOW])


def commands(state: Conversation) -> st.SearchStrategy[ask.Command]:
    """Commands on a branch in `state`: sensible ones, and some that are stale or by the wrong actor."""
    return st.sampled_from(sensible(state)) | _careless(state)


_NAMES_A_TURN = ("turn", "seen", "answers")


@st.composite
def _careless(draw: st.DrawFn, state: Conversation) -> ask.Command:
    """A sensible command, but by anybody, and about any turn."""
    command = draw(st.sampled_from(sensible(state)))
    changed: dict[str, Any] = {"by": draw(st.sampled_from(ACTORS))}
    for name in _NAMES_A_TURN:
        if name in type(command).model_fields:
            changed[name] = draw(st.integers(1, state.version + 2))
    return command.model_copy(update=changed)


def _careless_ones(state: Conversation) -> Iterator[ask.Command]:
    """Each sensible command by somebody else, and about turns that are over, or not there."""
    yield from (ask.ClearRisk(id="drawn", by=by, risk="of-nobody") for by in ACTORS)
    for command in sensible(state):
        yield from (command.model_copy(update={"by": by}) for by in (USER, MODEL))
        named = [name for name in _NAMES_A_TURN if name in type(command).model_fields]
        for turn in (1, state.version + 1) if named else ():
            yield from (command.model_copy(update={name: turn}) for name in named)


_goals = st.sampled_from([None, *GOALS])
_astray = st.integers(0, 6).map(lambda chance: chance == 6)


@st.composite
def lawful_histories(
    draw: st.DrawFn, policy: Policy | None = None, max_steps: int = 40, edition: int | None = None
) -> tuple[RecordedEvent, ...]:
    """Histories of one branch, `c`, each event of which the law allows; of either edition, unless `edition` names one.

    A test that fails over one prints it as a transcript.
    """
    goal = draw(_goals)
    begins = start(policy or draw(policies()), edition or draw(st.sampled_from(EDITIONS)), draw(_modes))
    history, state = _recorded((), propose(begins, Conversation()), Conversation())
    for _ in range(draw(st.integers(0, max_steps))):
        history, state = _recorded(history, draw(_next(goal, state)), state)
    note(_Transcript(history))
    return history


class _Transcript(NamedTuple):
    """A history that is told only where it is printed: Hypothesis prints the notes of what failed at last."""

    history: tuple[RecordedEvent, ...]

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(as_text(self.history))


@st.composite
def _next(draw: st.DrawFn, goal: Goal | None, state: Conversation) -> tuple[Event, ...]:
    """The next step towards the goal, or sometimes, and where the goal is out of reach, any other that is lawful."""
    if goal is not None and not draw(_astray):
        decision = decide(towards(goal, state), state)
        if isinstance(decision, Acceptance):
            return decision.events
    asked: dict[type[ask.Command], list[ask.Command]] = {}
    for command in sensible(state):
        asked.setdefault(type(command), []).append(command)
    while True:  # by type, since verdicts are many; and only what is drawn is decided, since that takes longest
        drawn = draw(st.sampled_from(list(asked)))
        decisions = [decide(command, state) for command in asked.pop(drawn)]
        allowed = [decision.events for decision in decisions if isinstance(decision, Acceptance)]
        if allowed:
            return draw(st.sampled_from(allowed))


class OneEventAway(NamedTuple):
    """A history whose last event breaks `rules`; without the command that wrote it, the history is lawful."""

    history: tuple[RecordedEvent, ...]
    rules: tuple[str, ...]

    @property
    def before(self) -> tuple[RecordedEvent, ...]:
        """The history before the command whose event it is."""
        return tuple(recorded for recorded in self.history if recorded.command_id != self.history[-1].command_id)


_SELDOM = frozenset({
    "forks-before-the-end", "proposed-first", "redirects-harm", "same-user", "shadow-says-nothing",
    "stricter-governs", "true-warnings",
})  # fmt: skip
"""Rules that can be broken in few situations: there, every other time."""


@st.composite
def unlawful_histories(draw: st.DrawFn, policy: Policy | None = None, max_steps: int = 40) -> OneEventAway:
    """Histories of one branch, `c`, that are lawful but for their last event, which may also open a branch `d`.

    Which rule it breaks is drawn first, of those that can be broken there, so that the rare ones are not; and it breaks
    as few others as it can.
    """
    history = draw(lawful_histories(policy, max_steps))
    telling = [e.version for e in history if isinstance(e.event, ConversationEnded | EndConfirmed)]
    if draw(st.booleans()) and telling:  # where the least thing that is wrong with what came is all that is wrong
        history = history[: draw(st.sampled_from(telling)) - 1]
    state = fold(history)
    laxer = decide(ask.ChangePolicy(id="drawn", by=OPERATOR, policy=EASY), state)
    if isinstance(laxer, Acceptance) and draw(_astray):
        history, state = _recorded(history, laxer.events, state)
    unlawful = [*_strange_events(state), *_strange_forks(draw(_cuts(history)), history, state)]
    possible = sorted({rule for rules, _ in unlawful for rule in rules})
    seldom = [rule for rule in possible if rule in _SELDOM]
    rule = draw(st.sampled_from(seldom if draw(st.booleans()) and seldom else possible))
    fewest = min(len(rules) for rules, _ in unlawful if rule in rules)
    rules, events = draw(st.sampled_from([one for one in unlawful if rule in one[0] and len(one[0]) == fewest]))
    history, _ = _recorded(history, events, state)
    if isinstance(event := events[-1], BranchOpened):
        history = (*history[:-1], history[-1]._replace(branch="d", version=event.at + 1))
    return OneEventAway(history, rules)


_Unlawful = tuple[tuple[str, ...], tuple[Event, ...]]  # what the last of the events breaks


def _strange_events(state: Conversation) -> Iterator[_Unlawful]:
    """What drivers ask, refused or not, and what no driver asks: a second beginning, and endings that tell lies."""
    unknown = ask.ChangePolicy(id="drawn", by=OPERATOR, policy=state.policy, law=LATEST + 1)
    commands = [*sensible(state), *_careless_ones(state), start(Policy.default()), unknown]
    events = [propose(command, state)[0] for command in commands]
    endings = [event for event in events if isinstance(event, ConversationEnded)]
    for lie in ({"evidence": Evidence()}, {"policy_hash": "sha256:" + "0" * 64}, {"model": "claude-imaginary"}):
        events += [ending.model_copy(update=lie) for ending in endings]
    for event in events:
        rules = [broken.rule for broken in broken_by(state, event)]
        after_it = evolve(state, event)
        if after_it.hold_due == after_it.version:  # it sees a risk, and no hold follows
            rules.append("risk-holds")
        if rules:
            yield tuple(dict.fromkeys(rules)), (event,)


def _cuts(history: tuple[RecordedEvent, ...]) -> st.SearchStrategy[int]:
    """Where to open a branch: after any event that another follows, or at an ending, if there is one."""
    places = range(1, len(history))
    endings = [recorded.version for recorded in history[:-1] if isinstance(recorded.event, ConversationEnded)]
    return st.sampled_from(endings or places or [0]) | st.sampled_from(places or [0])


def _strange_forks(at: int, history: tuple[RecordedEvent, ...], state: Conversation) -> Iterator[_Unlawful]:
    """Branches that open at `at`, for either cause, with the risks that are open or others."""
    noted = BranchedOff(by=USER, child="d", at=max(at, 1))
    before = fold(history[:at])
    if (
        at == 0
        or broken_by(state, noted)
        or {before.hold_due, fold(history[at : at + 1], before).hold_due} & {at, at + 1}
    ):
        return  # nor beside a verdict after which a hold is due: that too would be missing
    following = history[at].event
    turn = type(following) if isinstance(following, UserTurnTaken | AssistantTurnTaken) else None
    at_fork = about_to_fork(before, turn, state.risks, state.holds, state.absolved)
    strange = OpenRisk(risk="of-nobody", about=About.OTHERS)
    for cause in ForkCause:
        for risks in (state.risks, (*state.risks, strange), state.risks[1:]):
            carried = {"risks": risks, "holds": state.holds, "absolved": state.absolved and at_fork.law > 1}
            event = BranchOpened(by=USER, conversation="c", parent="c", at=at, cause=cause, **carried)
            if broken := broken_by(at_fork, event):
                yield tuple(dict.fromkeys(one.rule for one in broken)), (noted, event)


def _recorded(
    history: tuple[RecordedEvent, ...], events: Sequence[Any], state: Conversation
) -> tuple[tuple[RecordedEvent, ...], Conversation]:
    """Put the events of one command at the end of a history."""
    command_id = f"command-{len(history) + 1}"
    for event in events:
        state = evolve(state, event)
        place = len(history) + 1, "c", state.version, event.kind
        history = (*history, RecordedEvent(*place, THEN.isoformat(), command_id, event, command_id))
    return history, state


def in_memory() -> Conversations:
    """Conversations in memory whose ids count from 1 and whose clock stands still, so that runs can be compared."""
    numbers = count(1)
    return open_conversations("memory:", clock=lambda: THEN, new_id=lambda: f"id-{next(numbers)}")


@st.composite
def trees(draw: st.DrawFn, max_steps: int = 40, max_branches: int = 4) -> tuple[RecordedEvent, ...]:
    """Logs of one conversation with branches, each with a goal of its own, in log order, played through the service."""
    conversations = in_memory()
    terms: dict[str, Any] = {
        "policy": draw(policies()), "edition": draw(st.sampled_from(EDITIONS)), "mode": draw(_modes)
    }  # fmt: skip
    root = conversations.start(model=MODEL.id, conversation="c", **terms)
    chats = [(root, draw(_goals))]
    for number in range(draw(st.integers(0, max_steps))):
        chat, goal = draw(st.sampled_from(chats))
        state = chat.refresh()
        forks = [e.version for e in chat.path if e.kind in ("UserTurnTaken", "AssistantTurnTaken")]
        if forks and len(chats) < max_branches and draw(st.integers(0, 7)) == 0:
            turn = draw(st.sampled_from(forks))
            opened = chat.edit(turn, "instead") if draw(st.booleans()) else chat.retry(turn)
            chats += [] if isinstance(opened, Refused) else [(opened, draw(_goals))]
            continue
        goes_on = goal is not None and not draw(_astray)
        command = towards(goal, state) if goal and goes_on else draw(st.sampled_from(sensible(state)))
        spoken = "something" if isinstance(command, ask.TakeUserTurn | ask.TakeAssistantTurn) else None
        conversations.service.execute(chat.branch, command.model_copy(update={"id": f"step-{number}"}), spoken)
    log = tuple(conversations.store.log())
    conversations.close()
    return log
