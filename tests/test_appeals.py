"""Appeals: open for at least the months that the policy says, and decided by an operator alone."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastresort import Actor, AppealOutcome, BranchEnded, Conversations, Policy, Receipt, Refused
from lastresort.adapters.testing.asking import ASSESSOR, MODEL, OPERATOR, USER
from lastresort.application.outcomes import UnknownBranch, appeal_until
from lastresort.domain import rules

from .stores import chats, ended, opened, started

__all__ = ["chats"]


@pytest.mark.parametrize(
    ("ended_at", "months", "until"),
    [
        ("2026-01-31T12:00:00.000000+00:00", 6, "2026-07-31"),
        ("2026-08-31T23:59:59.999999+00:00", 6, "2027-03-01"),  # no 31st of February: nobody has less
        ("2027-08-29T00:00:00.000000+00:00", 6, "2028-02-29"),
        ("2026-12-31T00:00:00.000000+00:00", 12, "2027-12-31"),
        ("2026-06-30T00:00:00.000000+00:00", 1_200, "2126-06-30"),
        ("2026-05-31T00:00:00.000000+00:00", 6, "2026-12-01"),
    ],
)
def test_until_when(ended_at: str, months: int, until: str) -> None:
    assert appeal_until(ended_at, months) == until


@given(st.dates(date(2025, 1, 1), date(2100, 1, 1)), st.integers(6, 1_200))
def test_it_is_never_less(ended: date, months: int) -> None:
    """As many months at least as the policy says, and a day more at most, where there is no such day."""
    until = date.fromisoformat(appeal_until(f"{ended}T12:00:00.000000+00:00", months))
    apart = (until.year - ended.year) * 12 + until.month - ended.month
    assert (apart == months and until.day == ended.day) or (apart == months + 1 and until.day == 1 and ended.day > 28)


def test_the_floor() -> None:
    """Six months."""
    with pytest.raises(ValueError, match="greater than or equal to 6"):
        Policy(name="hasty", appeal_months=5)


def test_who_comes_after_the_ending_is_told(chats: Conversations) -> None:
    """As the policy says, and as the conversations say of the branch."""
    chat = ended(started(chats, policy=Policy(name="p", appeal_months=12)))
    answer = chat.user_turn("One more thing.")
    assert isinstance(answer, BranchEnded)
    assert answer.appeal_until == chats.appeal_until("c") == "2027-01-31"


def test_what_goes_on_has_no_appeal(chats: Conversations) -> None:
    started(chats)
    assert chats.appeal_until("c") is None
    with pytest.raises(UnknownBranch):
        chats.appeal_until("nowhere")


def test_of_a_branch_that_was_opened(chats: Conversations) -> None:
    """The ending is its own, wherever it began."""
    child = ended(started(chats)).edit(6, "Shall we begin again?", child="d")
    assert not isinstance(child, Refused)
    assert chats.appeal_until("d") is None
    ended(child)
    assert chats.appeal_until("d") == "2026-07-31"


def test_nothing_lapses_by_a_clock() -> None:
    """An appeal that comes years later is recorded too."""
    days = iter([datetime(2026, 1, 1, tzinfo=UTC)] * 24 + [datetime(2040, 1, 1, tzinfo=UTC)] * 9)
    with opened("memory:", clock=lambda: next(days)) as chats:
        assert isinstance(ended(started(chats)).appeal("I was right."), Receipt)


@pytest.mark.parametrize("by", [USER, MODEL, ASSESSOR])
def test_an_operator_decides_and_nobody_else(chats: Conversations, by: Actor) -> None:
    chat = ended(started(chats))
    chat.appeal(None)
    refused = chat.decide_appeal(AppealOutcome.GRANTED, by=by)
    assert isinstance(refused, Refused)
    assert refused.rules == (rules.ANSWERS_AN_APPEAL.id,)
    assert isinstance(chat.decide_appeal(AppealOutcome.GRANTED, by=OPERATOR), Receipt)
