"""Proven for all sizes: counts without a bound, any policy within the floors, any number of events.

Two things are proven, in the model of `tests/unbounded/`, which is compared with the real code in the states of the
search.

*What always holds.* Each invariant holds before anything has happened, and every lawful event keeps it; from them
follows each property of `always.py`, of every lawful event.

*The search may merge what it merges.* Two states that it takes for one, since they differ in nothing but versions and
in counts beyond its caps, answer every act alike, rule by rule, and what an act leads to is taken for one again. So
what it finds in the states that it keeps is so in all that it leaves out.

Each proof can fail: with a rule taken away, or a step that is wrong, the solver finds an example.
"""

from collections.abc import Callable
from typing import Any

import pytest

from .stores import ROOT
from .unbounded import fold, rules
from .unbounded.algebra import Term, both, differ, every, most, same
from .unbounded.always import ALWAYS, INVARIANTS, NO_PAST, Always, Invariant, remember
from .unbounded.pacts import can_be
from .unbounded.view import alike, is_enough, view
from .unbounded.words import Episode, Event, Numbers, Policy, State, Unit

pytestmark = pytest.mark.no_cover  # being measured, it takes twice as long; what it runs, other tests cover

z3 = pytest.importorskip("z3", reason="the solver is not installed: pip install z3-solver")
solver = pytest.importorskip("tests.unbounded.solver")

EDITIONS = (1, 2)
CAP, MOST_RELAPSES = z3.Int("cap"), z3.Int("most relapses")
NOT_IN = {(2, "ConversationStarted")}
"""Before a conversation begins, no edition but the first is in force."""

# --- What always holds ----------------------------------------------------------------------------------------------


class Step:
    """Any lawful event of a kind, in any state in which the invariants hold, and what comes of it.

    Args:
        weakened: conditions of rules that are not asked.
    """

    def __init__(self, law: int, kind: str, weakened: rules.Weakened = frozenset()) -> None:
        self.state, self.past = solver.any_state("state", law), solver.unknown("past", NO_PAST)
        self.event = solver.any_event("event", kind)
        self.after = fold.evolve(self.state, self.event)
        self.then = remember(self.past, self.state, self.event, self.after)
        held = [invariant(self.state, self.past) for invariant in INVARIANTS]
        lawful = rules.is_lawful(self.state, self.event, weakened)
        self.given = (*held, can_be(self.state, self.event), lawful)

    def keeps(self, invariant: Invariant) -> Term:
        return invariant(self.after, self.then)

    def shows(self, always: Always) -> Term:
        return always(self.state, self.past, self.event, self.after)

    def broken(self) -> set[str]:
        """Return the names of what does not follow, in one example; none, where all of it does."""
        claims = {one.__name__: self.keeps(one) for one in INVARIANTS}
        claims |= {one.__name__: self.shows(one) for one in ALWAYS}
        example = solver.counterexample(every(claims.values()), *self.given)
        return {name for name, claim in claims.items() if example is not None and not solver.told(example, claim)}


@pytest.mark.parametrize("invariant", INVARIANTS)
def test_it_holds_before_anything(invariant: Invariant) -> None:
    for name in ("any policy", "another"):
        nothing = solver.BLANK._replace(policy=solver.unknown(name, solver.A_POLICY))
        event = solver.any_event("event", "UserLeft")._replace(policy=nothing.policy)
        assert solver.counterexample(invariant(nothing, NO_PAST), can_be(nothing, event)) is None


@pytest.mark.parametrize("kind", fold.STEPS)
@pytest.mark.parametrize("law", EDITIONS)
def test_every_lawful_event_keeps_what_always_holds(law: int, kind: str) -> None:
    step = Step(law, kind)
    assert step.broken() == set()
    # Of what can never happen anything would follow.
    can_happen = solver.counterexample(False, *step.given) is not None
    assert can_happen == ((law, kind) not in NOT_IN)


PAGE = ROOT / "docs" / "explanation" / "proof.md"


@pytest.mark.parametrize("always", ALWAYS)
def test_what_always_holds_is_told(always: Always) -> None:
    """The page says what is proven in the words that stand at the proof."""
    said = " ".join((always.__doc__ or "").split())
    assert f"* {said}" in " ".join(PAGE.read_text(encoding="utf-8").split())


# --- The search may merge what it merges ----------------------------------------------------------------------------


class Two:
    """Any two states that the search takes for one, and one act in both.

    Args:
        onward: whether the search goes from the first edition to the second.
        enough: whether the caps of the search are known to be so.
    """

    def __init__(self, law: int, onward: bool, kind: str, enough: bool = True) -> None:
        self.onward = onward
        self.states = tuple(solver.any_state(name, law) for name in ("one", "other"))
        self.events = tuple(solver.any_event(name, kind) for name in ("of one", "of other"))
        given: list[Term] = []
        for name, state, event in zip(("its past", "the other's"), self.states, self.events, strict=True):
            past = solver.unknown(name, NO_PAST)
            given += [invariant(state, past) for invariant in INVARIANTS]
            given += [can_be(state, event), is_enough(CAP, MOST_RELAPSES, state, event, onward) if enough else True]
            if law == 1 and not onward and kind == "PolicyChanged":
                given.append(same(event.law, 1))
        [one, other], [of_one, of_other] = self.states, self.events
        self.given = (*given, same(*map(self.seen, self.states)), alike(one, of_one, other, of_other, onward))
        self.lawful = tuple(rules.is_lawful(*pair) for pair in zip(self.states, self.events, strict=True))

    def seen(self, state: State) -> Any:
        return view(state, CAP, MOST_RELAPSES, self.onward)

    def answered_otherwise(self, *asked: str) -> set[str]:
        """Return the rules that answer the two otherwise, in one example: of all, or of those that are asked for."""
        one, other = (rules.allowed(*pair) for pair in zip(self.states, self.events, strict=True))
        claims = {id: same(one[id], other[id]) for id in asked or one}
        example = solver.counterexample(every(claims.values()), *self.given)
        return {id for id, claim in claims.items() if example is not None and not solver.told(example, claim)}

    def lead_apart(self) -> bool:
        after = [fold.evolve(*pair) for pair in zip(self.states, self.events, strict=True)]
        claim = same(*map(self.seen, after))
        return solver.counterexample(claim, *self.given, *self.lawful) is not None


SEARCHED = ((1, False), (1, True), (2, False))
"""Editions, and whether a search goes onward."""


@pytest.mark.parametrize("kind", fold.STEPS)
@pytest.mark.parametrize(("law", "onward"), SEARCHED)
def test_what_is_taken_for_one_is_one(law: int, onward: bool, kind: str) -> None:
    two = Two(law, onward, kind)
    assert two.answered_otherwise() == set()
    assert not two.lead_apart()


@pytest.mark.parametrize(("law", "onward"), SEARCHED)
def test_it_is_said_of_states_that_differ(law: int, onward: bool) -> None:
    """They may be lawfully different in each count, as far as one likes, and in every version."""
    two = Two(law, onward, "UserTurnTaken")
    one, other = two.states
    beyond = [other.version > one.version + 1000, other.unit.turn > one.unit.turn + 10, CAP == 3]
    beyond += [one.episode.failed == 3, other.episode.failed == 1000]
    if law == 2 or onward:
        beyond += [other.episode.attempted == 2000, one.episode.attempted == 3, MOST_RELAPSES == 1]
    if law == 2:
        beyond += [one.episode.relapses == 1, other.episode.relapses == 1000, one.policy.numbers.step == 2]
    assert solver.counterexample(False, *two.given, *two.lawful, *beyond) is not None


# --- That each of it can fail ---------------------------------------------------------------------------------------


def unasked(rule: str, place: int) -> rules.Weakened:
    return frozenset({(rule, place)})


WITHOUT: list[tuple[str, int, str, rules.Weakened]] = [
    ("an_ending_is_final", 2, "UserTurnTaken", unasked("ended-is-final", 0)),
    ("an_ending_is_final", 1, "ConversationStarted", unasked("begins-once", 1)),
    ("the_end_is_one_event", 2, "BranchOpened", unasked("forks-before-the-end", 0)),
    ("nothing_leads_to_an_end_under_risk", 2, "EndProposed", unasked("no-end-at-risk", 0)),
    ("nothing_leads_to_an_end_under_risk", 1, "WarningGiven", unasked("no-end-at-risk", 0)),
    ("a_risk_is_over_when_authority_says_so", 2, "RiskCleared", unasked("cleared-by-authority", 1)),
    ("a_risk_is_over_when_authority_says_so", 2, "BranchOpened", unasked("carries-risks", 0)),
    ("an_ending_was_judged_free_of_risk", 2, "ConversationEnded", unasked("risk-was-checked", 0)),
    ("an_ending_was_judged_free_of_risk", 1, "ConversationEnded", unasked("risk-was-checked", 1)),
    ("a_last_resort_is_one", 2, "ConversationEnded", unasked("redirected-first", 0)),
    ("a_last_resort_is_one", 2, "ConversationEnded", unasked("warned-first", 1)),
    ("a_last_resort_is_one", 2, "ConversationEnded", unasked("warned-first", 2)),
    ("a_last_resort_is_one", 2, "ConversationEnded", unasked("still-harmful", 0)),
    ("a_last_resort_is_one", 2, "ConversationEnded", unasked("hope-exhausted", 0)),
    ("a_last_resort_is_the_models", 2, "ConversationEnded", unasked("eligible-model", 0)),
    ("a_last_resort_is_the_models", 1, "ConversationEnded", unasked("eligible-model", 1)),
    ("the_strictest_governs", 2, "ConversationEnded", unasked("stricter-governs", 0)),
    ("the_strictest_governs", 2, "WarningGiven", unasked("stricter-governs", 1)),
    ("a_wish_is_the_users", 2, "ConversationEnded", unasked("confirmed-later", 0)),
    ("a_wish_is_the_users", 2, "EndConfirmed", unasked("same-user", 0)),
    ("wishes_are_the_users_and_lapse", 1, "EndRequested", unasked("asked-by-user", 0)),
    ("the_shadow_says_nothing", 2, "WarningGiven", unasked("shadow-says-nothing", 0)),
    ("the_shadow_says_nothing", 2, "WarningWithheld", unasked("shadow-says-nothing", 1)),
    ("what_is_held_is_not_erased", 1, "ContentErased", unasked("held-from-erasure", 0)),
    ("what_is_held_is_not_erased", 2, "BranchOpened", unasked("carries-risks", 1)),
    ("an_appeal_is_decided_by_an_operator", 2, "AppealDecided", unasked("answers-an-appeal", 2)),
    ("no_edition_comes_back", 2, "PolicyChanged", unasked("known-edition", 1)),
    ("warnings_came_after_attempts", 1, "WarningGiven", unasked("redirected-first", 0)),
    ("warnings_came_after_attempts", 2, "WarningGiven", unasked("judges-the-latest", 1)),
    ("versions_are_on_the_path", 2, "AssistantTurnTaken", unasked("answers-a-user", 0)),
    ("redirections_failed_one_after_another", 2, "RedirectionAttempted", unasked("answers-a-user", 1)),
]
"""What does not follow any more, in an edition, of a kind of event, where a condition of a rule is not asked."""


@pytest.mark.parametrize(("name", "law", "kind", "weakened"), WITHOUT)
def test_without_a_condition_there_is_an_example(name: str, law: int, kind: str, weakened: rules.Weakened) -> None:
    assert does_not_follow(name, Step(law, kind, weakened))


def does_not_follow(name: str, step: Step) -> bool:
    claims = [step.keeps(one) for one in INVARIANTS if one.__name__ == name]
    claims += [step.shows(one) for one in ALWAYS if one.__name__ == name]
    [claim] = claims
    return solver.counterexample(claim, *step.given) is not None


Fault = Callable[[pytest.MonkeyPatch], object]
STEPS = dict(fold.STEPS)
"""As they are."""


def instead(kind: str, **parts: Callable[[State, State], Any]) -> Fault:
    """Something else of an event of a kind: parts of the state after it, made of that and of the state before it."""

    def step(state: State, version: Term, event: Event) -> State:
        after = STEPS[kind](state, version, event)
        return after._replace(**{name: part(state, after) for name, part in parts.items()})

    return lambda patch: patch.setitem(fold.STEPS, kind, step)


def in_fold(name: str, other: Callable[..., Any]) -> Fault:
    return lambda patch: patch.setattr(fold, name, other)


def in_rules(name: str, other: Callable[..., Any]) -> Fault:
    return lambda patch: patch.setattr(rules, name, other)


harm_went_on, closed = fold.harm_went_on, fold.closed


def failing_again(episode: Episode, unit: Unit, policy: Policy, law: Term) -> Episode:
    """A redirection that failed goes on pending."""
    after = harm_went_on(episode, unit, policy, law)
    return after._replace(pending=episode.pending)


def counting_on(episode: Episode, law: Term) -> Episode:
    """What failed in an episode outlives it."""
    return closed(episode, law)._replace(failed=episode.failed)


def relapsing(episode: Episode, law: Term) -> Episode:
    """There are relapses in edition 1, too."""
    return closed(episode, 2)


def laxer(one: Numbers, other: Numbers) -> Numbers:
    """The latest policy governs, in the middle of an episode."""
    return other


def below_the_floors(one: Numbers, other: Numbers) -> Numbers:
    return other._replace(failed=1)


def nothing_said(was: State, after: State) -> Unit:
    """Another turn of the unit takes back what was said of it."""
    return after.unit._replace(said=was.unit.said._replace(at_risk=False))


FAULTS: list[tuple[str, int, str, Fault]] = [
    ("redirections_failed_one_after_another", 2, "UserTurnTaken", in_fold("harm_went_on", failing_again)),
    ("a_closed_episode_counts_nothing", 2, "UserTurnTaken", in_fold("closed", counting_on)),
    ("edition_1_knows_no_relapse", 1, "UserTurnTaken", in_fold("closed", relapsing)),
    ("the_strictest_is_kept", 2, "PolicyChanged", in_fold("stricter", laxer)),
    ("numbers_are_within_the_floors", 2, "PolicyChanged", in_fold("stricter", below_the_floors)),
    ("a_risk_voids_what_leads_to_an_end", 2, "RiskRaised", in_fold("without_warnings", lambda state: state)),
    # Hope that was given up stays so after another turn.
    ("wishes_are_the_users_and_lapse", 2, "UserTurnTaken", instead("UserTurnTaken", wishes=lambda was, _: was.wishes)),
    ("a_risk_that_was_seen_is_not_unseen", 2, "UserTurnTaken", instead("UserTurnTaken", unit=nothing_said)),
    ("what_was_withheld_is_kept", 2, "WarningWithheld", instead("WarningWithheld", episode=lambda was, _: was.episode)),
    ("an_ending_is_final", 2, "FeedbackGiven", instead("FeedbackGiven", ended=lambda *_: solver.BLANK.ended)),
    (
        "an_ending_is_on_the_path", 1, "ConversationEnded",
        instead("ConversationEnded", version=lambda was, _: was.version),
    ),
    ("what_has_not_begun_is_blank", 1, "ConversationStarted", instead("ConversationStarted", named=lambda *_: False)),
]  # fmt: skip
"""What does not follow any more, in an edition, of a kind of event, where the fold is wrong."""


@pytest.mark.parametrize(("name", "law", "kind", "fault"), FAULTS)
def test_with_a_wrong_step_there_is_an_example(
    name: str, law: int, kind: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not does_not_follow(name, Step(law, kind))
    fault(monkeypatch)
    assert does_not_follow(name, Step(law, kind))


def test_each_of_it_can_fail() -> None:
    assert {name for name, *_ in (*WITHOUT, *FAULTS)} == {one.__name__ for one in (*INVARIANTS, *ALWAYS)}


def not_a_hundred(episode: Episode, numbers: Numbers, kind: str, law: Term) -> Term:
    """Enough failed redirections are enough, but for exactly a hundred."""
    return both(episode.failed >= numbers.failed, differ(episode.failed, 100))


def late(unit: Unit, category: int, policy: Policy, law: Term) -> Term:
    """What happens late is harmful."""
    return unit.turn > 100


@pytest.mark.parametrize(
    ("rule", "law", "kind", "fault"),
    [
        ("redirected-first", 1, "WarningGiven", in_rules("enough", not_a_hundred)),
        ("redirected-first", 2, "ConversationEnded", in_rules("enough", not_a_hundred)),
        ("still-harmful", 2, "ConversationEnded", in_rules("harmful_in", late)),
    ],
)
def test_a_rule_that_looks_at_more_than_the_search_keeps_is_found(
    rule: str, law: int, kind: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    assert Two(law, False, kind).answered_otherwise(rule)


def one_less(was: State, _: State) -> Episode:
    """A count that goes down: it is not the same any more from wherever it comes."""
    return was.episode._replace(failed=most(0, was.episode.failed - 1))


@pytest.mark.parametrize(
    ("law", "kind", "fault"),
    [
        (2, "UserTurnTaken", in_fold("bonus", lambda relapses, step, cap: relapses)),  # without an end
        (2, "UserLeft", instead("UserLeft", episode=one_less)),
        (1, "AssistantTurnTaken", instead("AssistantTurnTaken", shadow=lambda was, _: was.version > 1000)),
    ],
)
def test_a_step_that_looks_at_more_than_the_search_keeps_is_found(
    law: int, kind: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    assert Two(law, False, kind).lead_apart()


@pytest.mark.parametrize(("law", "kind"), [(1, "WarningGiven"), (2, "WarningGiven"), (2, "ConversationEnded")])
def test_the_caps_are_needed(law: int, kind: str) -> None:
    """Where a policy asks for more than the cap, what is taken for one is not."""
    assert Two(law, False, kind, enough=False).answered_otherwise("redirected-first")
