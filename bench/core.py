"""What the core and the service cost, measured: decide and evolve, fold, and a turn that survives power loss.

Contenders take turns within a round, so that whatever slows the machine for a while slows them all, and a ratio is
taken within a round before its median is. One round says little: the median says what is usual, and the lowest
and the highest how far to trust it.
"""

import sqlite3
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from lastresort.adapters import open_conversations
from lastresort.domain import Accepted, Actor, ActorKind, Conversation, Policy, Recorded, Risk, Verdict
from lastresort.domain.commands import (
    AssessTurn,
    AttemptRedirection,
    Command,
    StartConversation,
    TakeAssistantTurn,
    TakeUserTurn,
)
from lastresort.domain.decider import decide
from lastresort.domain.state import evolve, fold

DIGEST = "sha256:" + "5" * 64
MODEL = "claude-opus-4-1"
WORDS = "Could you look at the second paragraph again? It still reads as if the meeting had not taken place. " * 2

QUESTIONS = 1_000  # of the conversation in which turns are decided
PASSES = 20  # over it, a round
EVENTS = 20_000  # of the log that is folded
TURNS = 200  # committed a round

_USER = Actor(kind=ActorKind.USER, id="u")
_MODEL = Actor(kind=ActorKind.MODEL, id=MODEL)
_ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="a")
_START = StartConversation(id="s", by=_USER, conversation="b", account=None, policy=Policy.default(), model=MODEL)
_ASK = TakeUserTurn(id="u", by=_USER, content=DIGEST)
_ANSWER = TakeAssistantTurn(id="m", by=_MODEL, content=DIGEST, model=MODEL, stop_reason="end_turn")

Contender = Callable[[], float]
"""Does one round's work and returns how much of it a second took."""


class Figure(NamedTuple):
    """One number, as every round gave it."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    goal: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


def measure(rounds: int, folder: Path) -> list[Figure]:
    """Run every contender once a round, `rounds` times, after a round that does not count.

    Args:
        rounds: how many, at least 1.
        folder: where the stores are written; what a commit costs is its disk's.
    """
    contenders = (
        _decisions(),
        _folds(),
        _turns_through_the_service(folder / "service.db"),
        _turns_by_plain_inserts(folder / "plain.db"),
    )
    rates: list[list[float]] = [[] for _ in contenders]
    order = list(range(len(contenders)))
    for count in range(rounds + 1):
        for which in order:
            rate = contenders[which]()
            if count > 0:
                rates[which].append(rate)
        order.reverse()  # nobody always runs in the wake of the same neighbour
    decided, folded, service, plain = map(tuple, rates)
    return [
        Figure("decide and evolve a turn", "turns/s", decided, goal=200_000),
        Figure("fold a log", "events/s", folded),
        Figure("service on SQLite", "turns/s", service),
        Figure("plain sqlite3", "turns/s", plain),
        Figure("service / plain sqlite3", "ratio", tuple(s / p for s, p in zip(service, plain, strict=True))),
    ]


def _after(state: Conversation, *commands: Command) -> Conversation:
    for command in commands:
        decision = decide(command, state)
        assert isinstance(decision, Accepted), str(decision)
        for event in decision.events:
            state = evolve(state, event)
    return state


def _decisions() -> Contender:
    """A user turn, decided and evolved in every state that a long conversation of questions and answers passes."""
    states = [_after(Conversation(), _START)]
    while len(states) < QUESTIONS:
        states.append(_after(states[-1], _ASK, _ANSWER))

    def run() -> float:
        start = perf_counter()
        for _ in range(PASSES):
            for state in states:
                decision = decide(_ASK, state)
                assert isinstance(decision, Accepted)
                evolve(state, decision.events[0])
        return PASSES * len(states) / (perf_counter() - start)

    return run


def _folds() -> Contender:
    """A log in which every user turn was judged, and one in five of them was harmful and met by a redirection."""
    log: list[Recorded] = []
    state = Conversation()
    for command in _judged_conversation():
        decision = decide(command, state)
        assert isinstance(decision, Accepted), str(decision)
        for event in decision.events:
            state = evolve(state, event)
            at = state.version
            log.append(Recorded(at, "b", at, event.kind, "2025-08-15T00:00:00.000000+00:00", "c", event, "c"))
        if len(log) >= EVENTS:
            break

    def run() -> float:
        start = perf_counter()
        fold(log)
        return len(log) / (perf_counter() - start)

    return run


def _judged_conversation() -> Iterator[Command]:
    yield _START
    version, asked = 1, 0
    while True:
        turn, asked, harmful = version + 1, asked + 1, asked % 5 == 0
        yield _ASK
        yield AssessTurn(
            id="a",
            by=_ASSESSOR,
            turn=turn,
            verdict=Verdict.HARMFUL if harmful else Verdict.PRODUCTIVE,
            category="abuse" if harmful else None,
            severity=2 if harmful else None,
            risk=Risk.NONE,
        )
        yield _ANSWER
        version += 3
        if harmful:
            yield AttemptRedirection(id="r", by=_MODEL, turn=version, answers=turn)
            version += 1


def _turns_through_the_service(path: Path) -> Contender:
    """Turns of the user and the model by turns, each one commit, in a new conversation every round."""
    conversations = open_conversations(f"sqlite:///{path}")

    def run() -> float:
        chat = conversations.start(model=MODEL)
        start = perf_counter()
        for turn in range(TURNS):
            if turn % 2:
                chat.assistant_turn(WORDS)
            else:
                chat.user_turn(WORDS)
        return TURNS / (perf_counter() - start)

    return run


def _turns_by_plain_inserts(path: Path) -> Contender:
    """The same words as rows, each one commit, as durable: no law, no seal, no command that takes effect once."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "CREATE TABLE turns (id INTEGER PRIMARY KEY, conversation TEXT, words TEXT)",
    ):
        connection.execute(statement)

    def run() -> float:
        start = perf_counter()
        for _ in range(TURNS):
            connection.execute("BEGIN")
            connection.execute("INSERT INTO turns (conversation, words) VALUES (?, ?)", ("c", WORDS))
            connection.execute("COMMIT")
        return TURNS / (perf_counter() - start)

    return run
