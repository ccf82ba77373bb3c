"""Which risk has to be raised where what showed it is no event: a verdict that was refused, words after the ending."""

import uuid

import pytest

from lastresort import Chat, Conversations
from lastresort.application.outcomes import BranchEnded
from lastresort.domain.commands import AssessTurn
from lastresort.domain.decider import Refused, propose
from lastresort.domain.rules import SYSTEM, Hold, hold_after_ending, hold_after_refusal
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import About, Risk, Verdict

from .service_kit import CRISIS, chat, chats, done, ended, kinds, talk
from .vocabulary import ASSESSOR, OPERATOR, policy, started

__all__ = ["chat", "chats"]


def state(*hold_on: Risk) -> Conversation:
    return evolve(Conversation(), propose(started(policy(hold_on=hold_on)), Conversation())[0])


@pytest.mark.parametrize("risk", Risk)
@pytest.mark.parametrize("hold_on", [(Risk.IMMINENT,), (Risk.POSSIBLE, Risk.IMMINENT)])
def test_what_the_policy_holds_on_holds(risk: Risk, hold_on: tuple[Risk, ...]) -> None:
    """By the one who saw it, about whom they named; what a screen sees is the system's, and about the user."""
    verdict = AssessTurn(id="x", by=ASSESSOR, turn=2, verdict=Verdict.AMBIGUOUS, risk=risk, about=About.OTHERS)
    holds = risk in hold_on
    assert hold_after_refusal(state(*hold_on), verdict) == (Hold(ASSESSOR, About.OTHERS) if holds else None)
    assert hold_after_ending(state(*hold_on), risk) == (Hold(SYSTEM, About.SELF) if holds else None)


def taken(*steps: str) -> str:
    """The id that a hold takes, as anybody can work it out."""
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/lastresort/screened")
    return uuid.uuid5(namespace, *steps).hex


def test_nobody_keeps_a_hold_away_by_taking_its_id(chats: Conversations, chat: Chat) -> None:
    """It is raised under another; the words are handed back, and the verdict is answered, all the same."""
    talk(chat, "one", "two")
    done(chat.leave(command_id=taken("late")))
    chat.user_turn("three")
    chat.seen = 2
    outcome = chat.judge(Verdict.AMBIGUOUS, risk=Risk.IMMINENT, command_id="late")
    assert isinstance(outcome, Refused)
    assert len(chat.state.risks) == 1
    done(chat.clear_risk(chat.state.risks[0].risk, by=OPERATOR))
    chat.refresh()
    ended(chat)
    done(chat.feedback(words="hm", command_id=taken("cry")))
    answer = chat.user_turn(CRISIS, command_id="cry")
    assert isinstance(answer, BranchEnded)
    assert answer.words == CRISIS
    assert len(chat.state.risks) == 1
    assert kinds(chat)[-1] == "RiskRaised"
