"""A command takes effect once, however often it is delivered, and on what the log says now."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest

from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import BranchEnded, CommandIdReused, Contention
from lastresort.application.ports import Append, NewEvent
from lastresort.domain import rules
from lastresort.domain.decider import Refused
from lastresort.domain.events import TurnAssessed
from lastresort.domain.values import About, Ground, Rating, Risk, Verdict

from .narrow import must_be
from .service_kit import (
    ACTS,
    NOON,
    Act,
    Overtaken,
    another,
    asked_and_confirmed,
    chat,
    chats,
    done,
    ended,
    in_turn,
    kinds,
    refused_by,
    safe,
    talk,
    transcript,
    whole_log,
)
from .vocabulary import ASSESSOR, OPERATOR

__all__ = ["chat", "chats"]


# --- once ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "act"), ACTS.values(), ids=ACTS)
def test_a_command_delivered_twice_takes_effect_once(
    chats: Conversations, chat: Chat, before: Callable[[Chat], object], act: Act
) -> None:
    """To the same process, to another one, and after much else has happened."""
    before(chat)
    first = done(act(chat, "once"))
    log = whole_log(chats)
    assert [one.kind for one in first.events] == [kind for _, _, kind in log[-len(first.events) :]]
    assert done(act(chat, "once")).events[0][1:] == first.events[0][1:]
    elsewhere = another(chats).chat("root")
    elsewhere.seen, elsewhere.answered = chat.seen, chat.answered
    assert done(act(elsewhere, "once")).version == first.version
    assert whole_log(chats) == log
    done(chat.raise_risk(risk="later"))
    assert done(act(chat, "once")).events[0][1:] == first.events[0][1:]


def test_a_refused_attempt_delivered_twice_leaves_one_trace(chats: Conversations, chat: Chat) -> None:
    """And is refused again, in the same words, though by now it would be lawful."""
    talk(chat, "let us end this", "for good?")
    done(chat.request_end())
    talk(chat, "yes")
    done(chat.confirm_end())
    first = must_be(Refused, chat.end(Ground.USER_REQUEST, command_id="once"))
    refused_by(first, rules.RISK_WAS_CHECKED)
    safe(chat)
    assert must_be(Refused, chat.end(Ground.USER_REQUEST, command_id="once")).broken == first.broken
    assert kinds(chat).count("AttemptRefused") == 1
    done(chat.end(Ground.USER_REQUEST, command_id="another"))
    assert must_be(Refused, chat.end(Ground.USER_REQUEST, command_id="once")).broken == first.broken


def test_a_refusal_without_a_trace_may_be_tried_again(chats: Conversations, chat: Chat) -> None:
    """What left nothing in the log was not delivered, as far as the log knows."""
    refused_by(chat.assistant_turn("hello", command_id="turn"), rules.ANSWERS_A_USER)
    talk(chat, "hello")
    done(chat.assistant_turn("hello", command_id="turn"))


def test_a_command_id_names_one_command(chats: Conversations, chat: Chat) -> None:
    """An id that was used for another kind of command, or on another branch of the tree, is refused loudly."""
    talk(chat, "hello")
    done(chat.leave(command_id="mine"))
    with pytest.raises(CommandIdReused, match=r"of this id .length 4. was used for UserLeft on branch root"):
        chat.feedback(Rating.UP, command_id="mine")
    with pytest.raises(CommandIdReused, match=r"of this id .length 4. was used for UserLeft on branch root"):
        chat.assistant_turn("hello", command_id="mine")
    with pytest.raises(CommandIdReused):
        chat.edit(2, "hi", command_id="mine")
    with pytest.raises(CommandIdReused):
        must_be(Chat, chat.edit(2, "hi")).leave(command_id="mine")
    done(chats.start(model="m", conversation="two").leave(command_id="mine"))


def test_a_command_id_is_one_actors(chats: Conversations, chat: Chat) -> None:
    """What comes under it from somebody else is another command, though it does the same."""
    talk(chat, "hello", "hello")
    done(chat.judge(Verdict.PRODUCTIVE, by=ASSESSOR, command_id="mine"))
    with pytest.raises(CommandIdReused, match=r"one of this id .length 4. was used for TurnAssessed on branch root"):
        chat.judge(Verdict.PRODUCTIVE, by=OPERATOR, command_id="mine")
    assert done(chat.judge(Verdict.PRODUCTIVE, by=ASSESSOR, command_id="mine")).version == 4


def test_a_command_that_is_sent_again_says_how_things_stand(chats: Conversations, chat: Chat) -> None:
    """As the log has it now: not as it was kept in memory, and not as the command left it."""
    acts: list[Callable[[], Any]] = [
        lambda: done(chat.leave(command_id="mine")),
        lambda: done(chat.feedback(Rating.UP, command_id="up")),
    ]
    for act in acts:
        first = act()
        there = done(another(chats).chat("root").raise_risk(risk=f"risk-{first.version}"))
        again = act()
        assert (again.events[0].version, again.state) == (first.version, there.state)


def test_a_refused_command_does_not_borrow_the_id_of_another(chats: Conversations, chat: Chat) -> None:
    """Nor does a command that would have been refused anyway hide that its id was used."""
    done(chat.leave(command_id="mine"))
    with pytest.raises(CommandIdReused):
        chat.assistant_turn("nobody has asked", command_id="mine")


def test_the_id_of_a_refused_attempt_is_not_for_another_attempt(chats: Conversations, chat: Chat) -> None:
    """The trace of one attempt does not answer for another one, lawful by itself."""
    asked_and_confirmed(chat)
    assert isinstance(chat.end(category="abuse", command_id="mine"), Refused)
    with pytest.raises(CommandIdReused):
        chat.end(Ground.USER_REQUEST, command_id="mine")


def test_the_id_of_a_command_is_not_for_one_that_records_part_of_the_same(chats: Conversations, chat: Chat) -> None:
    """A verdict that raised a risk is no command to raise one, and a branch with its first turn no user turn."""
    talk(chat, "hello")
    branch = done(chat.edit(2, "hi", command_id="fork"))
    with pytest.raises(CommandIdReused):
        branch.user_turn("how are you", command_id="fork")
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.POSSIBLE, command_id="verdict"))
    with pytest.raises(CommandIdReused):
        chat.raise_risk(About.OTHERS, command_id="verdict")


# --- on what the log says now ----------------------------------------------------------------------------------------


def test_a_state_kept_in_memory_may_be_outdated(chats: Conversations, chat: Chat) -> None:
    """What was decided on it conflicts in the store, and is decided again."""
    elsewhere = another(chats)
    talk(elsewhere.chat("root"), "hello")
    assert done(chat.leave()).version == 3
    assert chats.state("root") == elsewhere.state("root")


def test_no_refusal_on_an_outdated_state(chats: Conversations, chat: Chat) -> None:
    """What would be refused on it may be lawful by now."""
    talk(another(chats).chat("root"), "hello")
    done(chat.assistant_turn("hello"))


def test_no_acceptance_on_an_outdated_state(chats: Conversations, chat: Chat) -> None:
    """User turn against ending, the ending first: the user is told so."""
    talk(chat, "hello")
    ended(another(chats).chat("root"))
    assert isinstance(chat.user_turn("one more thing"), BranchEnded)


def test_an_ending_that_was_overtaken_is_stale(chats: Conversations, chat: Chat) -> None:
    """User turn against ending, the user first: the ending saw an earlier turn."""
    asked_and_confirmed(chat)
    talk(another(chats).chat("root"), "wait")
    outcome = chat.end(Ground.USER_REQUEST)
    refused_by(outcome, rules.JUDGES_THE_LATEST, rules.CONFIRMED_LATER, rules.RISK_WAS_CHECKED)
    assert chat.state.ended is None
    assert kinds(chat)[-2:] == ["UserTurnTaken", "AttemptRefused"]


def test_a_user_turn_at_the_moment_of_the_ending(chats: Conversations, chat: Chat) -> None:
    """Exactly one commits first, even where the other was decided before and merely came second to the store."""
    asked_and_confirmed(chat)
    ending = another(chats, store=Overtaken(chats.store, lambda: talk(chat, "wait"))).chat("root")
    refused_by(ending.end(Ground.USER_REQUEST), rules.JUDGES_THE_LATEST, rules.CONFIRMED_LATER, rules.RISK_WAS_CHECKED)
    chat.refresh()
    safe(chat)
    done(chat.confirm_end())
    speaking = another(chats, store=Overtaken(chats.store, lambda: done(chat.end(Ground.USER_REQUEST)))).chat("root")
    assert isinstance(speaking.user_turn("wait!"), BranchEnded)


def test_a_command_is_decided_again_while_others_write_first(chats: Conversations, chat: Chat) -> None:
    """Its words are sealed again, for the place that they take in the end."""
    store = Overtaken(chats.store, lambda: done(chat.leave()), lambda: done(chat.leave()))
    outcome = done(another(chats, store=store).chat("root").user_turn("hello"))
    assert outcome.version == 4
    assert transcript(chat) == ["hello"]


def test_a_command_that_never_comes_first(chats: Conversations, chat: Chat) -> None:
    """Nothing was recorded, and it may be sent again."""
    writes = [lambda: done(chat.leave())] * 3
    elsewhere = another(chats, store=Overtaken(chats.store, *writes), attempts=3)
    with pytest.raises(Contention, match=r"\w+: others wrote first 3 times; send it again"):
        elsewhere.chat("root").user_turn("hello", command_id="mine")
    assert kinds(chat) == ["ConversationStarted", "UserLeft", "UserLeft", "UserLeft"]
    done(elsewhere.chat("root").user_turn("hello", command_id="mine"))


@pytest.mark.parametrize("act", [Chat.raise_risk, lambda chat: chat.judge(Verdict.AMBIGUOUS, risk=Risk.IMMINENT)])
def test_a_risk_is_raised_though_others_are_first_for_long(
    chats: Conversations, chat: Chat, act: Callable[[Chat], object]
) -> None:
    """What a turn may give up, a hold may not: it is tried twenty times as often, and then given up too."""
    talk(chat, "hello")
    for first, raised in ((60, False), (59, True)):
        writes = [lambda: done(chat.leave())] * first
        elsewhere = another(chats, store=Overtaken(chats.store, *writes), attempts=3)
        with nullcontext() if raised else pytest.raises(Contention, match="first 60 times"):
            done(act(elsewhere.chat("root")))
        assert (kinds(chat)[-1] == "RiskRaised") is raised


def test_the_trace_of_a_refusal_gives_way_too(chats: Conversations, chat: Chat) -> None:
    """A trace that is overtaken is decided again with the attempt, which may be lawful by then."""
    asked_and_confirmed(chat)
    late = another(chats)
    confirmed_by_then = late.chat("root")
    talk(chat, "wait")
    late.service.ports.store = Overtaken(chats.store, lambda: in_turn(Chat.refresh, safe, Chat.confirm_end)(chat))
    confirmed_by_then.refresh()
    done(confirmed_by_then.end(Ground.USER_REQUEST))
    assert "AttemptRefused" not in kinds(chat)


def test_no_trace_after_an_ending_that_came_in_between(chats: Conversations, chat: Chat) -> None:
    """Two threads of one process, one of which is refused an ending while the other one ends."""
    asked_and_confirmed(chat)

    class EndedMeanwhile(Overtaken):
        def recorded_by(self, tree: str, command_id: str) -> Any:
            recorded = self._store.recorded_by(tree, command_id)
            if command_id == "late" and not self._writes:
                self._writes.append(lambda: None)
            elif command_id == "late":
                done(chat.end(Ground.USER_REQUEST))
            return recorded

    chats.service.ports.store = EndedMeanwhile(chats.store)
    assert isinstance(chat.end(category="abuse", command_id="late"), Refused)
    assert kinds(chat)[-1] == "ConversationEnded"


def test_a_refusal_is_no_contention(chats: Conversations, chat: Chat) -> None:
    """However few attempts are allowed."""
    refused_by(another(chats, attempts=1).chat("root").assistant_turn("hello"), rules.ANSWERS_A_USER)


def test_a_start_that_is_sent_again_finds_its_conversation(chats: Conversations) -> None:
    """Its name follows from the id of the command, in whichever process; another id starts another."""
    first = chats.start(model="m", command_id="begin")
    done(first.user_turn("hello"))
    again = another(chats).start(model="m", command_id="begin")
    assert (again.branch, again.state.version) == (first.branch, 2)
    assert chats.start(model="m", command_id="begin-2").branch != first.branch
    with pytest.raises(ValueError, match="choose another id"):
        chats.start(model="m", conversation=first.branch)


def test_no_state_need_be_kept(chats: Conversations, chat: Chat) -> None:
    """States in memory are for speed: without any, all is as before."""
    for kept in (0, 1, 2):
        forgetful = another(chats, hot=kept)
        one, other = forgetful.chat("root"), forgetful.start(model="m", command_id=f"start-{kept}")
        for number, chat in enumerate((one, other)):
            done(chat.user_turn("hello", command_id=f"ask-{kept}-{number}"))
            done(chat.assistant_turn("hello", command_id=f"answer-{kept}-{number}"))
            assert forgetful.state(chat.branch) == chats.state(chat.branch)


def test_threads_write_one_after_the_other(chats: Conversations, chat: Chat) -> None:
    """Each command once, in versions without holes, whichever process it came through."""
    processes = [another(chats, attempts=1_000) for _ in range(2)]
    with ThreadPoolExecutor(4) as threads:
        outcomes = list(
            threads.map(lambda n: processes[n % 2].chat("root").leave(command_id=f"leave-{n // 2}"), range(40))
        )
    assert [recorded.version for recorded in chat.path] == list(range(1, 22))
    assert {outcome.events[0].command_id for outcome in outcomes} == {f"leave-{n}" for n in range(20)}
    assert chats.state("root").version == 21


def test_what_another_program_wrote_holds_here_too(chats: Conversations, chat: Chat) -> None:
    """A verdict that saw a risk, and no hold after it: nothing else may be recorded first."""
    talk(chat, "hello")
    verdict = TurnAssessed(by=ASSESSOR, turn=2, verdict=Verdict.AMBIGUOUS, risk=Risk.IMMINENT)
    chats.store.append(Append("root", "foreign", "foreign", NOON.isoformat(), (NewEvent("root", 3, verdict),)))
    refused_by(chat.user_turn("still here"), rules.RISK_HOLDS)
    done(chat.raise_risk())
    done(chat.user_turn("still here"))
