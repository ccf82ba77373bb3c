"""Take any one rule away, and the search finds an unlawful history that only this rule prevents.

The search proposes raw events, not only what commands would propose, to the law without the rule, and asks the
oracle, which has the whole law. It goes breadth first, so the history that it finds and prints is a shortest one.
A rule that could be taken away unnoticed would be a rule that says nothing, or that no test could miss.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from lastresort.domain.commands import Command
from lastresort.domain.decider import propose
from lastresort.domain.events import BranchOpened, ConversationEnded, Event
from lastresort.domain.law import FORMS, RULES, Law, broken_by, governing
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation, about_to_fork, evolve
from lastresort.domain.values import About, ForkCause, Mode, OpenRisk, Risk

from . import oracle
from .oracle import History
from .search import Turns, canonical, told, transcript, turns_of
from .test_every_state import shape
from .test_every_state_2 import SHORT
from .test_every_state_2 import shape as shape_2
from .vocabulary import ANOTHER_MODEL, MODEL, OTHER_USER, USER
from .worlds import (
    ANSWER,
    ERASE,
    HANDSHAKE,
    OTHER,
    PLAIN,
    RAISE,
    SAY,
    START,
    call,
    clear,
    confirm,
    end,
    harm,
    hold,
    hope,
    judge,
    policy,
    redirect,
    release,
    request,
    warn,
    withhold,
)

pytestmark = pytest.mark.no_cover  # being measured, a search takes twice as long; what it runs, other tests cover

Acts = Callable[[Turns], tuple[Command, ...]]
CAP = 3

# --- Where each rule is looked for ----------------------------------------------------------------------------------


def anything(t: Turns) -> tuple[Command, ...]:
    others = (request(t, MODEL), clear(USER), judge(t, risk=Risk.IMMINENT), warn(t), policy(PLAIN, law=3))
    return (*shape(t), *others)


def last_resort(t: Turns) -> tuple[Command, ...]:
    """The straight way to an ending as last resort, and what goes wrong on it where a rule is missing."""
    return (
        SAY, ANSWER, harm(t), harm(t, severity=1), redirect(t), warn(t), warn(t, "threats"), hope(t), end(t),
        end(t, by=ANOTHER_MODEL), policy(PLAIN),
    )  # fmt: skip


def on_request(t: Turns) -> tuple[Command, ...]:
    """The straight way to an ending on request."""
    return SAY, ANSWER, judge(t), request(t), confirm(t), end(t, None)


def overtaken(t: Turns) -> tuple[Command, ...]:
    """A request in a user turn of an earlier unit, once there is one."""
    return (SAY, ANSWER, request(t._replace(user=t.stale))) if t.stale > 1 else (SAY, ANSWER)


def at_risk(t: Turns) -> tuple[Command, ...]:
    return SAY, RAISE, call(t)


# --- The second edition's --------------------------------------------------------------------------------------------

APART = SHORT.model_copy(update={"name": "apart", "categories": ("abuse", "fraud")})
"""Two harms that are in no group together."""
MORE_FIRST = SHORT.model_copy(update={"name": "more-first", "min_redirections_to_warn": 3})


def anything_2(t: Turns) -> tuple[Command, ...]:
    others = [act(t) for act in (redirect, hope, confirm)]
    return (
        *shape_2(t), *others, RAISE, clear(), clear(USER), request(t, MODEL), judge(t, risk=Risk.IMMINENT), warn(t),
    )  # fmt: skip


def last_resort_2(t: Turns) -> tuple[Command, ...]:
    """The straight way to an ending as last resort, and what goes wrong on it where a rule is missing."""
    return (
        SAY, ANSWER, harm(t), harm(t, severity=1), redirect(t), warn(t), warn(t, "fraud"), hope(t), end(t),
        hope(t).model_copy(update={"by": ANOTHER_MODEL}), policy(SHORT),
    )  # fmt: skip


def on_request_2(t: Turns) -> tuple[Command, ...]:
    """The straight way to an ending on request, on which somebody else may confirm."""
    return SAY, ANSWER, judge(t), request(t), confirm(t), confirm(t, OTHER_USER), end(t, None)


def in_shadow(t: Turns) -> tuple[Command, ...]:
    return SAY, ANSWER, harm(t), redirect(t), warn(t), withhold(t)


def held(t: Turns) -> tuple[Command, ...]:
    return hold(), release(), ERASE


def named(t: Turns) -> tuple[Command, ...]:
    return SAY, harm(t), harm(t, "trolling")


class World(NamedTuple):
    acts: Acts
    policy: Policy | None = PLAIN  # None: nothing has begun
    forks: bool = False
    behind: frozenset[str] = frozenset()  # rules in front of this one: see `SECOND_LINE`
    law: int = 1
    mode: Mode = Mode.ENFORCED


# One rule has another in front of it: no turn follows an ending, so where an ending is in the prefix no turn is next
# on the parent's path, and forks-at-a-turn forbids the fork. What the rule guards against is a log that is damaged
# already, in which a turn did follow an ending. So ended-is-final is taken away too, and what it forbids is let pass.
SECOND_LINE = World(on_request, forks=True, behind=frozenset({"ended-is-final"}))

WHERE: dict[str, World] = {
    "judges-the-latest": World(overtaken),
    "ended-is-final": World(on_request),
    "redirected-first": World(last_resort),
    "warned-first": World(last_resort),
    "still-harmful": World(last_resort),
    "grave-enough": World(last_resort),
    "eligible-model": World(last_resort),
    "stricter-governs": World(last_resort, OTHER),
    "no-end-at-risk": World(at_risk),
    "risk-was-checked": World(on_request),
    "confirmed-later": World(on_request),
    "proposed-first": World(on_request, HANDSHAKE),
    "evidence-is-true": World(on_request),
    "forks-at-a-turn": World(on_request, forks=True),
    "forks-before-the-end": SECOND_LINE,
    "carries-risks": World(at_risk, forks=True),
    "shadow-says-nothing": World(in_shadow, mode=Mode.SHADOW),
    "held-from-erasure": World(held),
}

TO_AN_END = World(last_resort_2, SHORT, law=2)
ASKED = World(on_request_2, law=2)
WHERE_2: dict[str, World] = {
    "judges-the-latest": World(overtaken, law=2),
    "ended-is-final": ASKED,
    "redirected-first": TO_AN_END,
    "warned-first": TO_AN_END,
    "still-harmful": World(last_resort_2, APART, law=2),
    "grave-enough": TO_AN_END,
    "eligible-model": TO_AN_END,
    "stricter-governs": World(last_resort_2, MORE_FIRST, law=2),
    "no-end-at-risk": World(at_risk, law=2),
    "risk-was-checked": ASKED,
    "confirmed-later": ASKED,
    "same-user": ASKED,
    "proposed-first": World(on_request_2, HANDSHAKE, law=2),
    "evidence-is-true": ASKED,
    "true-warnings": TO_AN_END,
    "shadow-says-nothing": World(in_shadow, SHORT, law=2, mode=Mode.SHADOW),
    "held-from-erasure": World(held, law=2),
    "named-category": World(named, law=2),
    "forks-at-a-turn": World(on_request_2, forks=True, law=2),
    "forks-before-the-end": SECOND_LINE._replace(law=2),
    "carries-risks": World(at_risk, forks=True, law=2),
}
OF_EDITION = {1: WHERE, 2: WHERE_2}
ANYTHING = {1: World(anything, policy=None), 2: World(anything_2, policy=None, law=2)}

# --- Raw events -----------------------------------------------------------------------------------------------------


def events_in(acts: Acts, state: Conversation, past: History) -> Iterator[Event]:
    """Yield what may be tried: the first event of each act on its own, and endings that say what is not so."""
    for command in acts(turns_of(state, past)):
        event = propose(command, state)[0]
        yield event
        if type(event) is ConversationEnded:
            yield event.model_copy(update={"model": "claude-imaginary"})
            yield event.model_copy(update={"policy_hash": OTHER.hash})
            yield event.model_copy(update={"evidence": event.evidence.model_copy(update={"hope": 1})})


def forks_in(state: Conversation, past: History, following: Event) -> Iterator[tuple[Conversation, History, Event]]:
    """Yield forks of a path that goes on with `following`, before it.

    A path goes on with whatever the law lets happen, so every way to leave a path is met in some state of the
    search. The rest of the tree may have raised or cleared a risk since.
    """
    risk = OpenRisk(risk="risk", about=About.SELF)
    path = past.then(following)
    for open_in_tree in ((), (risk,)):
        fork = about_to_fork(state, type(following), open_in_tree)
        known = frozenset((one.risk, one.about) for one in open_in_tree)
        for cause in ForkCause:
            for carried in ((), (risk,)):
                opened = BranchOpened(
                    by=USER, conversation="b0", parent="b0", at=state.version, cause=cause, risks=carried
                )
                yield fork, path.about_to_fork(state.version, known), opened


# --- The search -----------------------------------------------------------------------------------------------------


class Example(NamedTuple):
    """An event that the weakened law lets pass and the oracle does not."""

    state: Conversation
    past: History
    event: Event

    def __str__(self) -> str:
        following = self.past.fork.next_in_parent if self.past.fork else None
        where = f"   (on the parent's path: {following.kind})\n" if following else ""
        return f"{transcript(self.past.path)}\n{where}{len(self.past.path) + 1:4}> {told(self.event)}"


def unlawful_history(world: World, law: Law) -> Example | None:
    """Search `world` under `law` for a shortest history that ends in breach of a rule not `behind`."""
    state, past = Conversation(), History()
    if world.policy is not None:
        begins = {"policy": world.policy, "law": world.law, "mode": world.mode}
        [event] = propose(START.model_copy(update=begins), state)
        state, past = evolve(state, event), past.then(event)
    known = {canonical(state, CAP)}
    waiting = deque([(state, past)])
    while waiting:
        state, past = waiting.popleft()
        for event in events_in(world.acts, state, past):
            if broken_by(state, event, law):
                continue
            candidates = [(state, past, event)]
            if world.forks and state.version > 0:
                candidates += [fork for fork in forks_in(state, past, event) if not broken_by(fork[0], fork[2], law)]
            for found in candidates:
                if set(oracle.broken(*found[1:])) - world.behind:
                    return Example(*found)
            after = evolve(state, event)
            if (key := canonical(after, CAP)) not in known:
                known.add(key)
                waiting.append((after, past.then(event)))
    return None


def without(*ids: str) -> Law:
    return governing(form for form in FORMS if form.id not in ids)


CASES = [
    (edition, id)
    for edition in OF_EDITION
    for id in oracle.LAW
    if any(form.id == id and form.asked_since <= edition for form in FORMS)
]


@pytest.mark.parametrize(("edition", "id"), CASES)
def test_only_this_rule_prevents_it(edition: int, id: str) -> None:
    world = OF_EDITION[edition].get(id, ANYTHING[edition])
    found = unlawful_history(world, without(id, *world.behind))
    assert found is not None, f"without {id} the search of {world.acts.__name__} finds nothing unlawful"
    print(f"without {id}, in edition {edition}:\n{found}")
    assert found.past.known.law == edition or not found.past.path
    assert oracle.broken(found.past, found.event) == (id,)
    assert [broken.rule for broken in broken_by(found.state, found.event)] == [id]


def test_every_rule_is_taken_away_once() -> None:
    """In the first edition those that it has, and those that are asked in both of what only the second can record."""
    assert {id for edition, id in CASES if edition == 2} == set(RULES)
    assert len([id for edition, id in CASES if edition == 1]) == 28


WORLDS: dict[str, World] = {}
for edition, worlds in OF_EDITION.items():
    for id, one in worlds.items():
        if one not in WORLDS.values():
            WORLDS[f"{id} in edition {edition}"] = one


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_with_the_whole_law_it_finds_nothing(world: World) -> None:
    assert unlawful_history(world._replace(behind=frozenset()), without()) is None


@pytest.mark.parametrize("edition", OF_EDITION)
def test_the_second_line_is_one(edition: int) -> None:
    """Without forks-before-the-end alone nothing gets through, as long as ended-is-final stands in front of it."""
    line = SECOND_LINE._replace(behind=frozenset(), law=edition)
    assert unlawful_history(line, without("forks-before-the-end")) is None
