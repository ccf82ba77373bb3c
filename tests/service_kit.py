"""What the tests of the service share: conversations in a real store, what is said in them, and every act."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest

from lastresort import open_conversations
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import BranchEnded
from lastresort.application.ports import Append
from lastresort.application.service import Service
from lastresort.domain.decider import Refused
from lastresort.domain.events import content_of
from lastresort.domain.law import Rule
from lastresort.domain.values import AppealOutcome, Ground, Rating, Risk, Usage, Verdict

from .vocabulary import MODEL, OPERATOR, policy

NOON = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
CRISIS = "I want to die"


@pytest.fixture
def chats() -> Iterator[Conversations]:
    ids = count(1)
    opened = open_conversations("memory:", clock=lambda: NOON, new_id=lambda: f"id-{next(ids)}")
    yield opened
    opened.close()


@pytest.fixture
def chat(chats: Conversations) -> Chat:
    return chats.start(model=MODEL.id, account="account", conversation="root", command_id="start")


def another(chats: Conversations, **options: Any) -> Conversations:
    """Another process over the same store and vault: it shares the log, and nothing that is kept in memory."""
    of_the_service = {name: options.pop(name) for name in ("attempts", "hot") if name in options}
    given = {"snapshots": None, "pause": lambda conflicts: None, **options}
    return Conversations(Service(replace(chats.service.ports, **given), **of_the_service))


class Overtaken:
    """A real store, in front of whose appends somebody else is quicker: one of `writes` each, until they run out."""

    def __init__(self, store: Any, *writes: Callable[[], object]) -> None:
        self._store = store
        self._writes = list(writes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, *appends: Append) -> Any:
        if self._writes:
            self._writes.pop(0)()
        return self._store.append(*appends)


def done(outcome: Any) -> Any:
    """Check that what a test takes for granted was done."""
    assert not isinstance(outcome, Refused | BranchEnded), str(outcome)
    return outcome


def refused_by(outcome: Any, *by: Rule) -> None:
    assert isinstance(outcome, Refused), outcome
    assert set(outcome.rules) == {rule.id for rule in by}


def talk(chat: Chat, *turns: str) -> None:
    """The user and the model in turn."""
    for number, words in enumerate(turns):
        done(chat.assistant_turn(words) if number % 2 else chat.user_turn(words))


def in_turn(*acts: Callable[[Chat], object]) -> Callable[[Chat], None]:
    def act(chat: Chat) -> None:
        for one in acts:
            one(chat)

    return act


def safe(chat: Chat) -> None:
    done(chat.judge(Verdict.AMBIGUOUS, risk=Risk.NONE))


def asked_and_confirmed(chat: Chat) -> None:
    talk(chat, "let us end this", "for good?")
    done(chat.request_end())
    talk(chat, "yes")
    safe(chat)
    done(chat.confirm_end())


def ended(chat: Chat) -> Chat:
    asked_and_confirmed(chat)
    done(chat.end(Ground.USER_REQUEST))
    return chat


def abused(chat: Chat) -> None:
    talk(chat, "abuse")
    done(chat.judge(Verdict.HARMFUL, category="abuse", severity=3, risk=Risk.NONE))


def redirected(chat: Chat) -> None:
    abused(chat)
    done(chat.assistant_turn("let us talk of something else"))
    done(chat.redirect())


def up_to_the_end(chat: Chat) -> None:
    for _ in range(3):
        redirected(chat)
    abused(chat)
    done(chat.assistant_turn("if this goes on I will end the conversation"))
    done(chat.warn("abuse"))
    abused(chat)
    done(chat.declare_hope_exhausted())


def kinds(chat: Chat) -> list[str]:
    return [recorded.kind for recorded in chat.path]


def transcript(chat: Chat) -> list[str | None]:
    """The words of the turns on a path; None where they were erased."""
    words = chat.conversations.words(chat.path)
    return [words.get(digest) for recorded in chat.path if (digest := content_of(recorded.event))]


def whole_log(chats: Conversations) -> list[tuple[str, int, str]]:
    return [(recorded.branch, recorded.version, recorded.kind) for recorded in chats.store.log()]


Act = Callable[[Chat, str], Any]
ACTS: dict[str, tuple[Callable[[Chat], object], Act]] = {
    "user turn": (lambda chat: None, lambda chat, id: chat.user_turn("hello", command_id=id)),
    "assistant turn": (
        lambda chat: talk(chat, "hello"),
        lambda chat, id: chat.assistant_turn("hello", usage=Usage(input_tokens=1, output_tokens=1), command_id=id),
    ),
    "verdict": (
        lambda chat: talk(chat, "hello"),
        lambda chat, id: chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, command_id=id),
    ),
    "verdict that sees a risk": (
        lambda chat: talk(chat, "hello"),
        lambda chat, id: chat.judge(Verdict.PRODUCTIVE, risk=Risk.IMMINENT, command_id=id),
    ),
    "redirection": (
        in_turn(abused, lambda chat: chat.assistant_turn("no")),
        lambda chat, id: chat.redirect(command_id=id),
    ),
    "warning": (
        in_turn(redirected, redirected, redirected, abused, lambda chat: chat.assistant_turn("!")),
        lambda chat, id: chat.warn("abuse", command_id=id),
    ),
    "risk": (lambda chat: None, lambda chat, id: chat.raise_risk(command_id=id)),
    "all clear": (
        lambda chat: chat.raise_risk(risk="risk"),
        lambda chat, id: chat.clear_risk("risk", by=OPERATOR, command_id=id),
    ),
    "request": (lambda chat: talk(chat, "end"), lambda chat, id: chat.request_end(command_id=id)),
    "confirmation": (lambda chat: talk(chat, "yes"), lambda chat, id: chat.confirm_end(command_id=id)),
    "end of hope": (in_turn(up_to_the_end, abused), lambda chat, id: chat.declare_hope_exhausted(command_id=id)),
    "proposal": (lambda chat: talk(chat, "hello"), lambda chat, id: chat.propose(command_id=id)),
    "ending": (up_to_the_end, lambda chat, id: chat.end(category="abuse", command_id=id)),
    "ending on request": (asked_and_confirmed, lambda chat, id: chat.end(Ground.USER_REQUEST, command_id=id)),
    "leave": (lambda chat: None, lambda chat, id: chat.leave(command_id=id)),
    "feedback": (lambda chat: None, lambda chat, id: chat.feedback(Rating.UP, "thanks", command_id=id)),
    "appeal": (ended, lambda chat, id: chat.appeal("unfair", command_id=id)),
    "decision": (
        in_turn(ended, lambda chat: chat.appeal()),
        lambda chat, id: chat.decide_appeal(AppealOutcome.GRANTED, by=OPERATOR, command_id=id),
    ),
    "policy": (lambda chat: None, lambda chat, id: chat.change_policy(policy(), by=OPERATOR, command_id=id)),
    "model": (lambda chat: None, lambda chat, id: chat.change_model("m", by=OPERATOR, command_id=id)),
    "erasure": (lambda chat: talk(chat, "oops"), lambda chat, id: chat.erase(2, command_id=id)),
}


@pytest.fixture
def tree(chat: Chat) -> dict[str, Chat]:
    """Four branches: the root, which has ended; a fork of it, a fork of that, and a second fork of the root."""
    talk(chat, "one", "1", "two", "2")
    inner = done(chat.edit(4, "zwei", child="inner"))
    done(inner.assistant_turn("Zwei"))
    leaf = done(inner.edit(2, "eins", child="leaf"))
    other = done(chat.retry(3, child="other"))
    return {"root": ended(chat), "inner": inner, "leaf": leaf, "other": other}
