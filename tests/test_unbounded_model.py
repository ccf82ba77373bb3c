"""The model of the proof is what the real code is: in histories and trees as well, under any policy; and it would show.

In the search of every state it is compared by `tests/unbounded/comparison.py`, on the way. What is left to see here is
that the caps of each search are as the proof asks, and that a model that drifts from the code, or code from the model,
is noticed.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from typing import Any

import hypothesis
import pytest

from lastresort.adapters.testing import lawful_histories, trees, unlawful_histories
from lastresort.adapters.testing.strategies import OneEventAway
from lastresort.domain import commands as ask
from lastresort.domain import episode, rules_of_conversations
from lastresort.domain.decider import propose
from lastresort.domain.events import BranchOpened, Event, RecordedEvent, RiskRaised
from lastresort.domain.law import RULES
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation, about_to_fork, evolve
from lastresort.domain.values import About

from . import test_every_state, test_every_state_2
from .oracle import History
from .search import LOOKS, MOST_RELAPSES, Acts, Turns, turns_of
from .test_every_state_2 import DUE, SHORT
from .unbounded import fold, rules
from .unbounded.always import ALWAYS, INVARIANTS, NO_PAST, Past, remember
from .unbounded.comparison import STATES, Comparison, Drifted, compare
from .unbounded.translation import Lexicon
from .unbounded.words import Unit, Warned
from .vocabulary import OTHER_USER
from .worlds import (
    ABUSED,
    ACTORS,
    ANSWER,
    CATEGORIES,
    LEAVE,
    RAISE,
    SAY,
    Race,
    Step,
    World,
    clear,
    end,
    harm,
    history_of,
    hope,
    judge,
    policy,
    redirect,
    started,
    warn,
)

# --- In histories ---------------------------------------------------------------------------------------------------


def lexicon_of(events: Iterable[Event]) -> Lexicon:
    """All names in some events."""
    events = tuple(events)
    categories: set[str] = set()
    risks: set[str] = set()
    holds: set[str] = set()
    for said in map(dict, events):
        risks |= {said.get("risk", ""), *(one.risk for one in said.get("risks", ()))}
        holds |= {said.get("hold", ""), *(one.hold for one in said.get("holds", ()))}
        categories |= {said["category"]} if said.get("category") else set()
        if isinstance(terms := said.get("policy"), Policy):
            categories |= {*terms.categories, *(one for group in terms.groups.values() for one in group)}
    return Lexicon(sorted(categories), sorted(risks), sorted(holds), (event.by for event in events))


def steps_of(log: Iterable[RecordedEvent]) -> Iterator[tuple[str, Conversation, Event]]:
    """Yield each event of a tree with its branch and the state before it."""
    paths: dict[str, list[tuple[Conversation, Event]]] = {}  # of each branch, what is inherited too
    for branch, event in ((recorded.branch, recorded.event) for recorded in log):
        path = paths.setdefault(branch, [])
        state = evolve(*path[-1]) if path else Conversation()
        if isinstance(event, BranchOpened):
            parent = paths[event.parent]
            path += parent[: event.at]
            following = type(parent[event.at][1]) if event.at < len(parent) else None
            prefix = evolve(*path[-1]) if path else state
            state = about_to_fork(prefix, following, event.risks, event.holds, event.absolved)
        path.append((state, event))
        yield branch, state, event


@hypothesis.settings(max_examples=60)
@hypothesis.given(lawful_histories() | trees())
def test_the_model_is_the_law_in_lawful_histories(log: tuple[RecordedEvent, ...]) -> None:
    """And what is proven of it is so there, with all that has happened."""
    lexicon = lexicon_of(recorded.event for recorded in log)
    pasts: dict[str, dict[int, Past]] = {}
    for branch, state, event in steps_of(log):
        after = compare(lexicon, state, event)
        known = pasts.setdefault(branch, dict(pasts[event.parent]) if isinstance(event, BranchOpened) else {0: NO_PAST})
        before, then, past = lexicon.state(state), lexicon.event(state, event), known[state.version]
        known[state.version + 1] = now = remember(past, before, then, after)
        assert [one.__name__ for one in INVARIANTS if not one(after, now)] == []
        assert [one.__name__ for one in ALWAYS if not one(before, past, then, after)] == []
        failed_at = evolve(state, event).episode.failed_at
        first, second, latest = (*failed_at, 0, 0)[0], (*failed_at, 0, 0)[1], (0, *failed_at)[-1]
        assert now.failed == (first, second, latest)


@hypothesis.settings(max_examples=60)
@hypothesis.given(unlawful_histories())
def test_the_model_is_the_law_one_event_away(found: OneEventAway) -> None:
    """What it finds broken is what the law does."""
    lexicon = lexicon_of(recorded.event for recorded in found.history)
    *_, (_, state, event) = steps_of(found.history)
    compare(lexicon, state, event)


# --- That it would show ---------------------------------------------------------------------------------------------

OTHER_SAYS = ask.TakeUserTurn(id="say", by=OTHER_USER, content=SAY.content)
MILD = SHORT.model_copy(update={"name": "mild", "min_severity": 1, "productive_to_close": 3})
FORGETFUL = SHORT.model_copy(update={"name": "forgetful", "relapse_cap": 0})
STORY: tuple[Step, ...] = (
    *started(SHORT, 2), *ABUSED, redirect, *ABUSED, redirect, warn, SAY, judge, ANSWER, *ABUSED, redirect, SAY, judge,
    ANSWER, SAY, ANSWER, policy(MILD), *ABUSED, redirect, *ABUSED, redirect, warn, OTHER_SAYS, harm, ANSWER, SAY, harm,
    hope, RAISE, clear(),
)  # fmt: skip
"""Two users, two episodes, and a warning in each."""


def acts(t: Turns) -> tuple[ask.Command, ...]:
    return (
        SAY, OTHER_SAYS, ANSWER, redirect(t), warn(t), warn(t, "threats"), hope(t), end(t), harm(t), harm(t, "threats"),
        harm(t, severity=1), judge(t), RAISE, RAISE.model_copy(update={"about": About.OTHERS}), clear(), policy(DUE),
        policy(FORGETFUL),
    )  # fmt: skip


def walk() -> int:
    """Compare what comes next and each act in each state of the story, and return how many there were."""
    lexicon = Lexicon(CATEGORIES, ("risk",), (), ACTORS)
    state, past, compared = Conversation(), History(), 0
    for event in history_of(STORY):
        tried = [proposed for command in acts(turns_of(state, past)) for proposed in propose(command, state)]
        for one in (event, *tried):
            compare(lexicon, state, one)
        state, past, compared = evolve(state, event), past.then(event), compared + 1 + len(tried)
    return compared


def test_it_is_so_all_along_a_story() -> None:
    assert walk() > 500


def keeping_warnings(state: Conversation, event: Event) -> Conversation:
    """The fold, but for a risk to others, which voids no warning."""
    after = evolve(state, event)
    if isinstance(event, RiskRaised) and event.about is About.OTHERS:
        return after._replace(episode=state.episode, unit=state.unit)
    return after


by_whom_it_answered = fold.tested


def by_anybody(warned: Warned, category: int, unit: Unit, *terms: Any) -> Warned:
    found = by_whom_it_answered(warned._replace(user=unit.user), category, unit._replace(shared=False), *terms)
    return found._replace(user=warned.user)


DRIFTS: dict[str, Callable[[pytest.MonkeyPatch], object]] = {
    # In the code, and not in the model.
    "a risk to others voids no warning": lambda to: to.setattr("tests.unbounded.comparison.evolve", keeping_warnings),
    "an episode is never over": lambda to: to.setattr(episode, "is_over", lambda episode: False),
    "one redirection is enough": lambda to: to.setattr(
        rules_of_conversations, "too_few_attempted", lambda state, need: None
    ),
    "nobody is grave": lambda to: to.setattr(episode.Unit, "grave", lambda unit, *_: False),
    "the latest number governs": lambda to: to.setattr("lastresort.domain.policy.Numbers.stricter", lambda _, new: new),
    # In the model, and not in the code.
    "a risk is no risk": lambda to: to.setattr(rules, "at_risk", lambda state: False),
    "anybody tests a warning": lambda to: to.setattr(fold, "tested", by_anybody),
    "relapses do not count": lambda to: to.setattr(fold, "bonus", lambda relapses, step, cap: 0),
    "no rule is asked": lambda to: to.setattr(rules, "GOVERNING", dict.fromkeys(fold.STEPS, ())),
}


def test_it_has_every_rule() -> None:
    assert {rule.id for rule in rules.RULES} == RULES.keys()


@pytest.mark.parametrize("drift", DRIFTS)
def test_what_drifts_is_noticed(drift: str, monkeypatch: pytest.MonkeyPatch) -> None:
    DRIFTS[drift](monkeypatch)
    with pytest.raises(Drifted):
        walk()


BEGUN, LEFT = history_of(STORY[:1]), propose(LEAVE, Conversation())


@pytest.mark.parametrize(
    ("kept", "then"),
    [
        (lambda state: state.version, ((*BEGUN, *LEFT), LEFT)),  # who leaves once or twice is told apart, and is one
        (lambda state: "all the same", (BEGUN, propose(SAY, Conversation()))),
    ],
)
def test_a_view_of_something_else_is_noticed(
    kept: Callable[[Conversation], Any], then: tuple[tuple[Event, ...], ...]
) -> None:
    """Where `canonical` tells apart what a view does not, or the other way about, the proof is about something else."""
    comparison = Comparison(Lexicon(CATEGORIES, ("risk",), (), ACTORS), kept, 2, 1, False)
    first, second = then
    comparison._compare(Conversation(), first)
    with pytest.raises(Drifted, match="canonical"):
        comparison._compare(reduce(evolve, first, Conversation()), second)


def test_a_state_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one act, in turn another one."""
    monkeypatch.setattr("tests.unbounded.comparison.STATES", 1)
    comparison = Comparison(Lexicon(CATEGORIES, ("risk",), (), ACTORS), lambda _: "", 2, 1, False)
    comparison._compare = lambda state, events: looked.append((state.version, *events))  # type: ignore[method-assign]
    looked: list[Any] = []
    for version, many in enumerate((3, 3, 3, 2, 2)):
        state = Conversation(version)
        for act in range(many):
            comparison.look(state, (act,))  # type: ignore[arg-type]
    comparison._leave()
    assert looked == [(0, 0), (1, 2), (2, 0), (3, 1), (4, 1)]
    assert not LOOKS


def test_one_state_in_several_is_compared() -> None:
    """Which act it is moves on from one of them to the next."""
    comparison = Comparison(Lexicon(CATEGORIES, ("risk",), (), ACTORS), lambda _: "", 2, 1, False)
    comparison._compare = lambda state, events: looked.append((state.version, *events))  # type: ignore[method-assign]
    looked: list[Any] = []
    for version in range(1, 3 * STATES + 1):
        state = Conversation(version)
        for act in range(3):
            comparison.look(state, (act,))  # type: ignore[arg-type]
    comparison._leave()
    assert [version for version, _ in looked] == [STATES, 2 * STATES, 3 * STATES]
    assert len({act for _, act in looked}) == 3


# --- The caps of the searches ---------------------------------------------------------------------------------------

SEARCHES = {
    f"{name} in edition {edition}": search
    for edition, module in ((1, test_every_state), (2, test_every_state_2))
    for name, search in (*module.WORLDS.items(), *((f"race: {name}", race) for name, race in module.RACES.items()))
}
COUNTS_NOTHING = {"shape in edition 2"}
"""No redirection is lawful in it, so nothing is counted, whatever its policies ask for."""


def terms_of(search: World | Race) -> tuple[list[Policy], bool]:
    """The policies of a search, and whether it comes to the second edition."""
    tried: list[Acts | Any] = [search.acts] if isinstance(search, World) else [search.one, search.other]
    begins = search.begins if isinstance(search, World) else search.prelude
    t = Turns(2, 3, 1, 4)
    commands = [step(t) if callable(step) else step for step in begins] + [one for acts in tried for one in acts(t)]
    terms = [one for one in commands if isinstance(one, ask.StartConversation | ask.ChangePolicy)]
    return [one.policy for one in terms], any(one.law == 2 for one in terms)


@pytest.mark.parametrize("name", SEARCHES)
def test_the_caps_are_what_the_proof_asks(name: str) -> None:
    """No policy asks for more than a cap; and as many relapses as are told apart are the most that count."""
    search, (policies, second) = SEARCHES[name], terms_of(SEARCHES[name])
    assert policies
    enough = []
    for numbers in (one.numbers for one in policies):
        saturated = numbers.relapse_step == 0 or MOST_RELAPSES * numbers.relapse_step >= numbers.relapse_cap
        of_second = not second or (numbers.min_redirections_to_warn <= search.cap and saturated)
        enough.append(numbers.min_failed_redirections <= search.cap and of_second)
    assert all(enough) == (name not in COUNTS_NOTHING)
