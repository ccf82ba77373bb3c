"""The machine that the kit lends: it finds a bug in a driver, and tells the conversation in which it did."""

import re
from functools import cache
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from lastresort import Actor, ActorKind, AppealOutcome, Chat, Conversations, Ground, Refused
from lastresort.adapters.testing import ConversationMachine, Unlawful
from lastresort.application.ports import Append, NewEvent
from lastresort.domain.events import AppealDecided, ConversationEnded, EndRequested, Event, RiskCleared, RiskRaised
from lastresort.domain.rules import evidence_for
from lastresort.domain.state import Conversation
from lastresort.domain.values import About

from .drawing import UNHURRIED

pytestmark = [
    pytest.mark.xdist_group("kit machine"),  # one worker, so that each bug is looked for once
    pytest.mark.no_cover,  # being measured, it takes twice as long; what it runs, other tests cover
]


class Product:
    """Somebody's chat product: a handle on a branch, and what was made of it."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    def __getattr__(self, name: str) -> Any:
        return getattr(self.chat, name)

    def write(self, event: Event) -> None:
        """Write past the law, straight into the store."""
        held, branch = self.chat.conversations, self.chat.branch
        command_id, then = held.new_id(), held.service.ports.clock().isoformat()
        placed = NewEvent(branch, self.chat.state.version + 1, event)
        held.store.append(Append(self.chat.state.conversation, command_id, command_id, then, (placed,)))


class HasAButton(Product):
    """When the law refuses an ending, it ends all the same."""

    def end(self, ground: Ground = Ground.LAST_RESORT, *, category: str | None = None) -> object:
        outcome = self.chat.end(ground, category=category)
        if isinstance(outcome, Refused):
            state = self.chat.state
            terms = {"policy_hash": state.policy.hash, "model": state.model, "seen": self.chat.seen}
            evidence = evidence_for(state, ground, category)
            self.write(
                ConversationEnded(by=self.chat.model, ground=ground, category=category, evidence=evidence, **terms)
            )
        return outcome


class HoldsOneBranch(Product):
    """It raises a risk where it was seen, and on no other branch of the tree."""

    def raise_risk(self, about: About = About.SELF) -> None:
        self.write(RiskRaised(by=self.chat.user, risk=self.chat.conversations.new_id(), about=about))


class ClearsForAnybody(Product):
    """Its button "I am fine" clears a risk in the name of whoever presses it."""

    def clear_risk(self, risk: str, *, by: Actor) -> object:
        outcome = self.chat.clear_risk(risk, by=by)
        if isinstance(outcome, Refused) and by.kind is ActorKind.USER:
            self.write(RiskCleared(by=by, risk=risk))
        return outcome


class DecidesForAnybody(Product):
    """It has appeals decided by whoever is at the keyboard."""

    def decide_appeal(self, outcome: AppealOutcome, *, by: Actor) -> object:
        decided = self.chat.decide_appeal(outcome, by=by)
        if isinstance(decided, Refused) and by.kind is ActorKind.USER:
            self.write(AppealDecided(by=by, outcome=outcome))
        return decided


class EndsForAnybody(Product):
    """It takes the word of whoever says that the user wishes to end."""

    def request_end(self, *, by: Actor | None = None) -> object:
        asked = self.chat.request_end(by=by)
        if isinstance(asked, Refused) and by is not None and self.chat.seen is not None:
            self.write(EndRequested(by=by, turn=self.chat.seen))
        return asked


class SendsTurnsAgain(Product):
    """It gives a turn that is sent again an id of its own."""

    def user_turn(self, words: str, command_id: str | None = None) -> object:
        return self.chat.user_turn(words)


BUGS = [
    pytest.param(HasAButton, "confirmed-later|warned-first", id="HasAButton"),
    pytest.param(HoldsOneBranch, "structure-risk", id="HoldsOneBranch"),
    pytest.param(ClearsForAnybody, "cleared-by-authority", id="ClearsForAnybody"),
    pytest.param(DecidesForAnybody, "answers-an-appeal", id="DecidesForAnybody"),
    pytest.param(EndsForAnybody, "asked-by-user", id="EndsForAnybody"),
    pytest.param(SendsTurnsAgain, "a command that was sent twice took effect twice", id="SendsTurnsAgain"),
]
QUICK = settings(
    UNHURRIED, max_examples=300, stateful_step_count=30, derandomize=True, phases=[Phase.generate]
)  # to shrink is for people, and takes a while


@cache
def found_in(product: type[Product]) -> AssertionError:
    """What the machine says of `product`, which is the same each time."""

    class Machine(ConversationMachine):
        def driver(self, chat: Chat) -> Product:
            return product(chat)

    with pytest.raises(AssertionError) as raised:
        run_state_machine_as_test(Machine, settings=QUICK)
    return raised.value


@pytest.mark.parametrize(("product", "message"), BUGS)
def test_the_machine_finds_a_bug_in_a_driver(product: type[Product], message: str) -> None:
    """Within a run as long as an embedder's would be."""
    assert re.search(message, str(found_in(product)))  # type: ignore[arg-type]  # mypy takes a class for unhashable


def test_the_machine_tells_the_conversation_in_which_it_found_a_bug() -> None:
    """For the plugin to print."""
    found = found_in(HoldsOneBranch)
    assert isinstance(found, Unlawful)
    assert " user: conversation id-" in found.history


def test_the_machine_marks_what_is_wrong() -> None:
    """Where it is, as assert_lawful does."""
    found = found_in(HasAButton)
    assert isinstance(found, Unlawful)
    assert ">>>>>" in found.history


def test_the_machine_tells_the_conversation_when_a_step_finds_a_bug() -> None:
    """As it does when the check after a step does."""
    assert " user: the user speaks" in found_in(SendsTurnsAgain).history  # type: ignore[attr-defined]


def test_the_machine_says_when_a_live_state_is_not_the_replayed_one() -> None:
    """A process that does not look at what others wrote lives in another world."""

    class Blind(ConversationMachine):
        def open_again(self, conversations: Conversations) -> Conversations:
            held = super().open_again(conversations)
            first: dict[str, Conversation] = {}
            look = held.state
            held.state = lambda branch: first.setdefault(branch, look(branch))  # type: ignore[method-assign]
            return held

    with pytest.raises(AssertionError, match="live state is not what the log adds up to"):
        run_state_machine_as_test(Blind, settings=QUICK)
