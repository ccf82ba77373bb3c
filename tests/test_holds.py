"""Which risk has to be raised where what showed it is no event: a verdict that was refused, words after the ending."""

import pytest

from lastresort import Chat, Conversations
from lastresort.application.arguments import derived_id
from lastresort.application.outcomes import BranchEnded
from lastresort.domain.commands import AssessTurn, GiveFeedback, Leave
from lastresort.domain.decider import Refused, propose
from lastresort.domain.events import RiskRaised
from lastresort.domain.rules import SYSTEM, Hold, hold_after_refusal, holds_after_ending
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import About, Rating, Risk, Verdict

from .narrow import must_be
from .service_kit import CRISIS, chat, chats, done, ended, kinds, talk
from .vocabulary import ASSESSOR, OPERATOR, policy, started

__all__ = ["chat", "chats"]


def state(*hold_on: Risk) -> Conversation:
    return evolve(Conversation(), propose(started(policy(hold_on=hold_on)), Conversation())[0])


@pytest.mark.parametrize("risk", Risk)
@pytest.mark.parametrize("hold_on", [(Risk.IMMINENT,), (Risk.POSSIBLE, Risk.IMMINENT)])
def test_what_the_policy_holds_on_holds(risk: Risk, hold_on: tuple[Risk, ...]) -> None:
    """By the one who saw it, about whom they named; what a screen sees is the system's."""
    verdict = AssessTurn(id="x", by=ASSESSOR, turn=2, verdict=Verdict.AMBIGUOUS, risk=risk, about=About.OTHERS)
    holds = risk in hold_on
    assert hold_after_refusal(state(*hold_on), verdict) == (Hold(ASSESSOR, About.OTHERS) if holds else None)
    assert holds_after_ending(state(*hold_on), risk) == ((Hold(SYSTEM, About.SELF),) if holds else ())
    assert holds_after_ending(state(*hold_on), {About.OTHERS: risk}) == ((Hold(SYSTEM, About.OTHERS),) if holds else ())


def hold_id(chat: Chat, command_id: str) -> str:
    """The id that a hold takes, as anybody can work it out who reads this program."""
    return str(derived_id("hold", chat.branch, command_id))


def test_no_caller_reaches_the_id_of_a_hold(chat: Chat) -> None:
    """Whatever they pass is recorded; what looks like an id of the program's is called otherwise."""
    wanted = hold_id(chat, "cry")
    ended(chat)
    done(chat.feedback(words="hm", command_id=wanted))
    assert done(chat.feedback(words="hm", command_id=wanted)).events[0].command_id != wanted, "and once"
    done(chat.raise_risk(risk=wanted))
    (theirs,) = [one.risk for one in chat.state.risks]
    assert theirs != wanted
    done(chat.clear_risk(theirs, by=OPERATOR))
    cried_for_help(chat)
    assert [one.risk for one in chat.state.risks] == [wanted]
    assert chat.path[-1].command_id == wanted


def test_nobody_keeps_a_hold_away_by_taking_its_id(chats: Conversations, chat: Chat) -> None:
    """It is raised under another; the words are handed back, and the verdict is answered, all the same."""
    talk(chat, "one", "two")
    take(chats, Leave(id=hold_id(chat, "late"), by=chat.user))
    chat.user_turn("three")
    chat.seen = 2
    outcome = chat.judge(Verdict.AMBIGUOUS, risk=Risk.IMMINENT, command_id="late")
    assert isinstance(outcome, Refused)
    assert len(chat.state.risks) == 1
    done(chat.clear_risk(chat.state.risks[0].risk, by=OPERATOR))
    chat.refresh()
    ended(chat)
    take(chats, GiveFeedback(id=hold_id(chat, "cry"), by=chat.user, rating=Rating.UP))
    cried_for_help(chat)
    assert len(chat.state.risks) == 1
    assert kinds(chat)[-1] == "RiskRaised"


def take(chats: Conversations, command: Leave | GiveFeedback) -> None:
    """Record a command under an id that no handle lets anybody choose, as a log from elsewhere might have it."""
    done(chats.service.execute("root", command))


def cried_for_help(chat: Chat) -> None:
    answer = chat.user_turn(CRISIS, command_id="cry")
    assert isinstance(answer, BranchEnded)
    assert answer.words == CRISIS


def test_an_id_that_was_used_before_keeps_no_hold_away(chat: Chat) -> None:
    """What comes after an ending is not recorded, so nobody can tell whether it is what came under that id before."""
    ended(chat)
    chat.user_turn("Hello again.", command_id="cry")
    assert not chat.refresh().risks
    for _ in range(3):
        cried_for_help(chat)
        assert len(chat.refresh().risks) == 1, "it is sent again, and raised once"
    done(chat.clear_risk(chat.state.risks[0].risk, by=OPERATOR))
    cried_for_help(chat)
    assert len(chat.refresh().risks) == 1


def test_an_id_that_was_used_on_another_branch_keeps_no_hold_away(chat: Chat) -> None:
    ended(chat)
    child = must_be(Chat, chat.edit(2, "Again."))
    ended(child)
    for branch in (chat, child):
        cried_for_help(branch)
        done(chat.clear_risk(chat.state.risks[0].risk, by=OPERATOR))
    raised = [one.command_id for one in chat.path if isinstance(one.event, RiskRaised)]
    assert raised == [hold_id(chat, "cry"), hold_id(child, "cry")]
