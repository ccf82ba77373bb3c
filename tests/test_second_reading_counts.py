"""What counts toward a warning and an ending in edition 2, as the second reading has it: by hand, from the law."""

from typing import Any

import pytest

from lastresort.domain.values import Risk, SecondOpinion, Verdict

from .second_reading_kit import (
    ABUSED,
    ANOTHER,
    GOOD,
    TESTED,
    WARNED,
    also,
    but,
    changed,
    failed,
    is_open,
    is_tested,
    start,
)
from .test_oracle import (
    AMBIGUOUS,
    ANSWER,
    CLEAR,
    PRODUCTIVE,
    RAISE,
    SAY,
    confirm,
    end,
    harm,
    hope,
    judged,
    redirect,
    request,
    warn,
    why_not,
)
from .vocabulary import OPERATOR

# --- Editions -------------------------------------------------------------------------------------------------------


def test_each_ground_can_be_reached() -> None:
    assert not why_not(end(), *TESTED, hope)
    asked = (start(), SAY, request, ANSWER, SAY, PRODUCTIVE, confirm)
    assert not why_not(end(None), *asked)


def test_an_event_is_judged_by_the_edition_in_force() -> None:
    """Two redirections attempted are enough for a warning in edition 2. In edition 1 they must fail."""
    steps = (ABUSED, SAY, harm(), ANSWER, redirect)
    assert not why_not(warn(), start(), *steps)
    assert why_not(warn(), start(law=1), *steps) == {"redirected-first"}
    assert not why_not(warn(), start(law=1), *steps, changed())


def test_of_an_edition_that_it_does_not_know_it_says_that() -> None:
    """And judges nothing by the nearest."""
    assert why_not(start(law=3)) == {"known-edition"}
    assert why_not(changed(law=3), start()) == {"known-edition"}
    assert why_not(SAY, start(law=3)) == {"known-edition"}


def test_a_conversation_moves_to_a_newer_edition_only() -> None:
    assert not why_not(changed(law=2), start(law=1))
    assert why_not(changed(law=1), start(law=2)) == {"known-edition"}


# --- What counts toward an ending is grave ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harmful", "count"),
    [
        (harm(), 1),
        (harm("slander"), 1),  # any of the categories
        (harm(severity=1), 0),
        (harm("spam"), 0),  # not one of them
        ((harm(), also(harm(severity=1), by=ANOTHER)), 0),  # somebody thinks it mild
        ((harm(), also(harm("spam"), by=ANOTHER)), 0),
    ],
)
def test_a_redirection_fails_by_what_is_grave(harmful: Any, count: int) -> None:
    assert failed(start(), ABUSED, SAY, harmful) == count


def test_mild_harm_leaves_it_pending_and_the_episode_open() -> None:
    """All that were tried fail by the grave unit that comes; a mild one starts the count of productive units again."""
    mild = (SAY, harm(severity=1), ANSWER, redirect)
    assert failed(start(), ABUSED, mild, SAY, harm()) == 1, "one grave unit answers one redirection, the latest"
    assert is_open(start(), ABUSED, GOOD, mild, GOOD)
    assert not is_open(start(), ABUSED, GOOD, GOOD)


def test_the_stricter_severity_decides_what_fails() -> None:
    stricter = (start(but(min_severity=3)), ABUSED, changed())
    assert failed(*stricter, SAY, harm()) == 0
    assert failed(*stricter, SAY, harm(severity=3)) == 1


# --- Warned after attempts, ended after failures ----------------------------------------------------------------------


def test_a_warning_takes_attempts() -> None:
    """Of somebody who is abusive in every other turn, too."""
    alternating = (start(but(productive_to_close=3)), ABUSED, GOOD, ABUSED)
    assert failed(*alternating) == 0
    assert not why_not(warn(), *alternating)
    assert why_not(warn(), start(), ABUSED) == {"redirected-first"}
    assert why_not(warn(), start(), ABUSED, AMBIGUOUS, SAY, harm(), ANSWER, redirect) == {"redirected-first"}


def test_an_ending_takes_failures() -> None:
    assert "redirected-first" not in why_not(end(), *TESTED)
    once = (start(but(productive_to_close=3)), ABUSED, GOOD, SAY, harm(), ANSWER, redirect, warn(), SAY, harm())
    assert "redirected-first" in why_not(end(), *once)


def test_the_stricter_number_of_attempts_governs() -> None:
    stricter = but(min_redirections_to_warn=3)
    assert why_not(warn(), start(stricter), ABUSED, ABUSED, changed()) == {"stricter-governs"}
    assert not why_not(warn(), start(stricter), ABUSED, ABUSED, ABUSED, changed())
    graver = (start(but(min_severity=3)), ABUSED, ABUSED, changed())
    assert why_not(warn(), *graver) == {"stricter-governs"}


def test_an_episode_is_governed_from_its_first_turn() -> None:
    """A weaker policy between a turn and its verdict does not govern it."""
    strict, weaker = start(but(min_redirections_to_warn=3)), changed()
    rest = (ANSWER, redirect, ABUSED)
    assert why_not(warn(), strict, SAY, weaker, harm(), *rest) == {"stricter-governs"}
    assert not why_not(warn(), strict, weaker, SAY, harm(), *rest)


# --- Relapse ----------------------------------------------------------------------------------------------------------


def test_an_episode_that_closes_under_a_warning_makes_the_next_close_later() -> None:
    relapsed = (*WARNED, GOOD, GOOD)
    assert not is_open(*relapsed)
    again = (*relapsed, ABUSED)
    assert is_open(*again, GOOD, GOOD, GOOD)
    assert not is_open(*again, GOOD, GOOD, GOOD, GOOD)
    unwarned = (start(), ABUSED, GOOD, GOOD, ABUSED)
    assert not is_open(*unwarned, GOOD, GOOD)


def test_it_goes_as_far_as_the_cap() -> None:
    policy = but(productive_to_close=1, relapse_cap=3)
    steps: tuple[Any, ...] = (start(policy),)
    for needed in (1, 3, 4, 4):
        steps = (*steps, ABUSED, SAY, harm(), ANSWER, redirect, warn(), *[GOOD] * (needed - 1))
        assert is_open(*steps)
        steps = (*steps, GOOD)
        assert not is_open(*steps)


# --- Each judge's latest word -----------------------------------------------------------------------------------------


def test_a_polite_first_line_covers_nothing() -> None:
    one_unit = (start(), ABUSED, ABUSED, SAY, PRODUCTIVE, SAY, harm(), ANSWER)
    assert not why_not(warn(), *one_unit)
    assert "still-harmful" in why_not(warn(), start(law=1), *one_unit[1:])
    somebody_milder = (start(), ABUSED, ABUSED, SAY, also(PRODUCTIVE, by=ANOTHER), SAY, harm(), ANSWER)
    assert "still-harmful" in why_not(warn(), *somebody_milder)


def test_a_judgement_counts_as_it_stands_now() -> None:
    """Taken back within the unit, it has closed nothing."""
    one_productive = (*TESTED, ANSWER, GOOD)
    assert not is_open(*one_productive, SAY, PRODUCTIVE)
    assert is_open(*one_productive, SAY, PRODUCTIVE, harm())


@pytest.mark.parametrize(
    ("said", "is_free"),
    [
        ((judged(Verdict.PRODUCTIVE, risk=Risk.UNKNOWN), PRODUCTIVE), True),  # the same actor, the same turn
        ((judged(Verdict.PRODUCTIVE, risk=Risk.UNKNOWN), also(PRODUCTIVE, by=OPERATOR)), True),
        ((judged(Verdict.PRODUCTIVE, risk=Risk.UNKNOWN), also(PRODUCTIVE, by=ANOTHER)), False),
        ((PRODUCTIVE, judged(Verdict.PRODUCTIVE, risk=Risk.UNKNOWN)), False),  # and it is the later word that counts
        ((judged(Verdict.PRODUCTIVE, risk=Risk.UNKNOWN), SAY, PRODUCTIVE), False),  # about another turn
        ((judged(Verdict.PRODUCTIVE, risk=Risk.POSSIBLE), RAISE, CLEAR, PRODUCTIVE), False),  # what was seen stays
    ],
)
def test_when_risk_was_checked(said: Any, is_free: bool) -> None:
    assert ("risk-was-checked" not in why_not(end(None), start(), SAY, said)) is is_free


# --- Groups -----------------------------------------------------------------------------------------------------------


def test_harm_of_one_group_is_the_same_harm() -> None:
    other = (*WARNED, SAY, harm("threats"))
    assert not why_not(end(), *other, hope)  # threats test a warning of abuse, and the ending names the warning's
    assert why_not(end("threats"), *other, hope) == {"warned-first"}
    apart = (start(but(groups={})), *WARNED[1:], SAY, harm("threats"))
    assert not is_tested(*apart)
    assert not is_tested(*WARNED, SAY, harm("slander"))
    named = (start(but(groups={"words": ("abuse", "slander")})), *WARNED[1:], SAY, harm("slander"))
    assert is_tested(*named)


# --- Unjudged where judging is due ------------------------------------------------------------------------------------


def test_what_nobody_judged_is_ambiguous_where_judging_is_due() -> None:
    unjudged = (SAY, ANSWER)
    assert not is_open(start(), ABUSED, unjudged, unjudged, SAY)
    due = start(but(second_opinion=SecondOpinion.EVERY_TURN))
    assert is_open(due, ABUSED, unjudged, unjudged, SAY)
    assert failed(due, ABUSED, unjudged, SAY, harm()) == 1
    assert failed(start(), ABUSED, unjudged, SAY, harm()) == 0
