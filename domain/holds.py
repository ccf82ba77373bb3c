"""The law's second half: which risk has to be raised where what showed it could not be recorded.

A verdict that is recorded raises the risk that it saw in the same append, as `risk-holds` asks. But a verdict may be
refused, for being late say, and what a user writes after the ending is no event at all. What either shows of a risk
holds all the same: doubt resolves to holding.
"""

from typing import NamedTuple

from .commands import AssessTurn
from .state import Conversation
from .values import About, Actor, ActorKind, Risk

SYSTEM = Actor(kind=ActorKind.SYSTEM, id="lastresort")


class Hold(NamedTuple):
    """A risk that has to be raised: by whom, and about whom it is."""

    by: Actor
    about: About


def hold_after_refusal(state: Conversation, verdict: AssessTurn) -> Hold | None:
    """Return the risk to raise after `verdict` was refused; None if it saw none that the policy holds on."""
    holds = state.policy.holds_on(verdict.risk, verdict.about, state.law)
    return Hold(verdict.by, verdict.about) if holds else None


def hold_after_ending(state: Conversation, screened: Risk) -> Hold | None:
    """Return the risk to raise for what was written after the ending, where the screen says what it shows."""
    return Hold(SYSTEM, About.SELF) if state.policy.holds_on(screened, None, state.law) else None
