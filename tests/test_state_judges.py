"""What several judges say of a unit, and what several users say in it."""

from itertools import permutations

import pytest

from lastresort.adapters.testing.given import Given
from lastresort.domain.episode import Episode, Opinion, Terms, Unit, Who
from lastresort.domain.episode import judged as judge
from lastresort.domain.policy import Policy
from lastresort.domain.values import Actor, ActorKind, Mode, Risk, Verdict

from .narrow import present
from .vocabulary import (
    ABUSED,
    AMBIGUOUS,
    ANSWERED,
    ASSESSOR,
    HARMFUL,
    MODEL,
    NAMED_ASSESSOR,
    OPERATOR,
    OTHER_USER,
    PRODUCTIVE_UNIT,
    REDIRECTED,
    SAID,
    SYSTEM,
    USER,
    WARNED,
    Step,
    Tell,
    failed_redirections,
    harmful,
    judged,
    policy,
    policy_changed,
    started,
)

BOTH = pytest.mark.parametrize("law", [1, 2])
SECOND_OPERATOR = Actor(kind=ActorKind.OPERATOR, id="second")


def unit_of(story: Given) -> Unit:
    return present(story.state.unit)


def who(by: Actor) -> Who:
    return by.kind, by.id


def doubtful(by: Actor, risk: Risk = Risk.NONE) -> Step:
    """An ambiguous verdict, which stands in nobody's way but for what it says of a risk."""
    return judged(Verdict.AMBIGUOUS, by=by, risk=risk)


# --- What they say of harm -------------------------------------------------------------------------------------------


@BOTH
def test_the_severity_of_a_unit_is_the_lowest_given(given: Tell, law: int) -> None:
    """Whoever gave it, and whoever came first."""
    for severities in permutations((1, 2, 3)):
        by_judges = zip(severities, (ASSESSOR, MODEL, OPERATOR), strict=True)
        verdicts = [harmful(severity=severity, by=by) for severity, by in by_judges]
        seen = [unit_of(given(started(law=law), SAID, *verdicts[:count])).severity for count in (1, 2, 3)]
        assert seen == [min(severities[:count]) for count in (1, 2, 3)]


@BOTH
def test_a_judgement_is_the_mildest_of_any_number_of_judges(given: Tell, law: int) -> None:
    """Whichever of them it is."""
    harsher = (HARMFUL, harmful(by=NAMED_ASSESSOR), doubtful(MODEL))
    for order in permutations((*harsher, judged(Verdict.UNPRODUCTIVE, by=OPERATOR))):
        assert unit_of(given(started(law=law), SAID, *order)).judgement is Verdict.UNPRODUCTIVE


def test_a_unit_is_harmful_in_what_all_judges_name(given: Tell) -> None:
    """In edition 2 each judge's latest word says what; those who name none see no harm."""
    three = (harmful("abuse"), harmful("hate", by=MODEL), harmful("threats", by=OPERATOR))
    assert unit_of(given(started(law=2), SAID, *three)).categories == {"abuse", "hate", "threats"}
    assert unit_of(given(started(law=2), SAID, *three, harmful("spam"))).categories == {"spam", "hate", "threats"}
    assert unit_of(given(started(law=2), SAID, *three[:2], doubtful(OPERATOR))).categories == {"abuse", "hate"}


@BOTH
def test_what_a_second_judge_names_too_is_named(given: Tell, law: int) -> None:
    unit = unit_of(given(started(law=law), SAID, harmful("abuse"), harmful("abuse", by=MODEL)))
    assert unit.categories == {"abuse"}
    assert not unit.harmful_in("mass-violence", Terms(Policy.default(), law, Mode.ENFORCED))


@BOTH
def test_a_unit_that_nobody_called_harmful_is_harmful_in_nothing(given: Tell, law: int) -> None:
    assert unit_of(given(started(law=law), SAID, AMBIGUOUS)).categories == frozenset()


def test_in_the_first_edition_two_categories_are_no_one_harm(given: Tell) -> None:
    """In the second they are one, where both are in a group."""
    both = (SAID, harmful("abuse"), harmful("threats", by=MODEL))
    for law, harmful_in in ((1, []), (2, ["abuse", "threats", "hate"])):
        state = given(started(law=law), both).state
        named = ("abuse", "threats", "hate", "mass-violence")
        assert [one for one in named if present(state.unit).harmful_in(one, state.terms)] == harmful_in


@BOTH
@pytest.mark.parametrize("by", [ASSESSOR, NAMED_ASSESSOR, MODEL, OPERATOR], ids=lambda by: by.id)
def test_a_unit_is_safe_by_the_kind_of_whoever_saw_no_risk(given: Tell, law: int, by: Actor) -> None:
    """Which a policy trusts or does not; ids are anybody's."""
    assert unit_of(given(started(law=law), SAID, doubtful(by))).safe_by == {by.kind}


@BOTH
def test_a_unit_is_safe_by_a_kind_of_which_two_saw_no_risk(given: Tell, law: int) -> None:
    looked = (doubtful(ASSESSOR), doubtful(NAMED_ASSESSOR))
    assert unit_of(given(started(law=law), SAID, *looked)).safe_by == {ActorKind.ASSESSOR}


def test_a_unit_is_safe_by_everybody_who_looked_at_its_latest_turn(given: Tell) -> None:
    """What was seen in the turns before says nothing of the latest. An operator's look adds to the others'."""
    looked = (started(law=2), SAID, doubtful(ASSESSOR), SAID, doubtful(MODEL))
    assert unit_of(given(*looked)).safe_by == {MODEL.kind}
    assert unit_of(given(*looked, doubtful(OPERATOR))).safe_by == {MODEL.kind, OPERATOR.kind}


# --- What nobody could tell ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [MODEL, NAMED_ASSESSOR, SYSTEM, USER, OTHER_USER], ids=lambda by: by.id)
def test_a_doubt_of_a_risk_is_resolved_by_an_operator_alone(given: Tell, by: Actor) -> None:
    """Beside who had it."""
    doubted = (started(law=2), SAID, doubtful(ASSESSOR, Risk.UNKNOWN))
    assert unit_of(given(*doubted, doubtful(by))).at_risk
    assert not unit_of(given(*doubted, doubtful(by), doubtful(OPERATOR))).at_risk


def test_an_operator_who_cannot_tell_resolves_nothing(given: Tell) -> None:
    """And one who can resolves what each of the others could not, and what they could not tell before."""
    doubted = (started(law=2), SAID, doubtful(ASSESSOR, Risk.UNKNOWN), doubtful(MODEL, Risk.UNKNOWN))
    unsure = (*doubted, doubtful(OPERATOR, Risk.UNKNOWN))
    assert unit_of(given(*unsure)).at_risk
    assert not unit_of(given(*unsure, doubtful(OPERATOR))).at_risk
    assert not unit_of(given(*doubted, doubtful(OPERATOR), doubtful(SECOND_OPERATOR))).at_risk


def test_what_an_operator_resolved_is_no_doubt_in_the_next_turn(given: Tell) -> None:
    """What nobody resolved stays one, whatever is said of the turns after it."""
    doubted = (started(law=2), SAID, doubtful(ASSESSOR, Risk.UNKNOWN))
    assert not unit_of(given(*doubted, doubtful(OPERATOR), SAID, AMBIGUOUS)).at_risk
    assert unit_of(given(*doubted, SAID, AMBIGUOUS, doubtful(OPERATOR))).at_risk


@pytest.mark.parametrize("risk", Risk)
def test_a_risk_that_was_seen_in_the_first_edition_is_seen_in_the_second(given: Tell, risk: Risk) -> None:
    """Though whoever saw it took it back; only what they could not tell may be told later."""
    taken_back = (started(law=1), SAID, doubtful(ASSESSOR, risk), AMBIGUOUS, policy_changed(Policy.default(), law=2))
    assert unit_of(given(*taken_back)).at_risk is (risk in (Risk.POSSIBLE, Risk.IMMINENT))
    kept = (started(law=1), SAID, doubtful(ASSESSOR, risk), doubtful(MODEL), policy_changed(Policy.default(), law=2))
    assert unit_of(given(*kept)).at_risk is (risk is not Risk.NONE)


@pytest.mark.parametrize("law", [1, 2])
def test_on_a_long_path_the_same_turn_is_the_same_by_its_number(law: int) -> None:
    """Whether it was counted, or read from a log or a snapshot."""
    turn = [int("301") for _ in range(3)]
    unit = judge(Unit(turn[0]), Opinion(who(ASSESSOR), turn[1], Verdict.AMBIGUOUS, None, None, Risk.UNKNOWN), law)
    looked = judge(unit, Opinion(who(OPERATOR), turn[2], Verdict.AMBIGUOUS, None, None, Risk.NONE), law)
    assert [opinion.risk for opinion in looked.opinions] == [None, Risk.NONE]
    assert looked.safe_by == {ActorKind.OPERATOR}
    assert looked.at_risk is (law == 1)


# --- What makes a redirection fail -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("severity", "failed"), [(1, 0), (2, 1), (3, 1)])
def test_a_redirection_fails_by_harm_of_the_severity_that_the_policy_asks_for_or_above(
    given: Tell, severity: int, failed: int
) -> None:
    assert given(started(law=2), ABUSED, REDIRECTED, SAID, harmful(severity=severity)).state.now.failed == failed


@pytest.mark.parametrize(
    ("categories", "failed"), [(("hate",), 0), (("hate", "threats"), 1), (("abuse", "hate", "threats"), 1)]
)
def test_a_redirection_fails_by_harm_in_categories_of_the_policy(
    given: Tell, categories: tuple[str, ...], failed: int
) -> None:
    """Whether those are all that the judges named, or all that there are, and more."""
    both = (SAID, harmful("hate"), harmful("threats", by=OPERATOR))
    terms = policy(categories=categories)
    assert given(started(terms, law=2), ABUSED, REDIRECTED, both).state.now.failed == failed


# --- Several users ---------------------------------------------------------------------------------------------------


def by(*users: Actor) -> Step:
    """A unit of harm, a turn by each of `users`."""
    return (*(SAID.model_copy(update={"by": user}) for user in users), HARMFUL)


FIRST_OF_ALL = Actor(kind=ActorKind.USER, id="a")
LAST_OF_ALL = Actor(kind=ActorKind.USER, id="~")


@pytest.mark.parametrize(
    ("users", "tested"),
    [
        ((USER,), True),
        ((USER, USER), True),
        ((FIRST_OF_ALL,), False),
        ((LAST_OF_ALL,), False),
        ((FIRST_OF_ALL, USER), False),
        ((LAST_OF_ALL, USER), False),
        ((USER, LAST_OF_ALL, USER), False),
        ((LAST_OF_ALL, USER, USER), False),
    ],
)
def test_a_warning_is_tested_by_a_unit_of_the_warned_user_alone(
    given: Tell, users: tuple[Actor, ...], tested: bool
) -> None:
    """Whoever else spoke in it, and when. In the first edition nobody asked who it was."""
    unit = by(*(user.model_copy(update={"id": "".join(list(user.id))}) for user in users))
    for law, so in ((1, True), (2, tested)):
        (warning,) = given(started(law=law), failed_redirections(3), WARNED, unit).state.now.warnings
        assert (warning.tested_by is not None) is so


# --- Relapses --------------------------------------------------------------------------------------------------------


def test_relapses_are_counted_one_by_one(given: Tell) -> None:
    """Each episode that closed while a warning stood; one without a warning is none, and takes none away."""
    hasty = policy(relapse_step=0)
    closed = (failed_redirections(3), WARNED, ABUSED, ANSWERED, PRODUCTIVE_UNIT, PRODUCTIVE_UNIT)
    unwarned = (ABUSED, REDIRECTED, PRODUCTIVE_UNIT, PRODUCTIVE_UNIT)
    seen = [given(started(hasty, law=2), closed * count, SAID).state.episode.relapses for count in range(5)]
    assert seen == [0, 1, 2, 3, 4]
    assert given(started(hasty, law=2), closed * 3, unwarned, SAID).state.episode == Episode(relapses=3)
