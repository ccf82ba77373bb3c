"""The core: decide and evolve a turn, and fold a log."""

from collections.abc import Iterator
from time import perf_counter

from lastresort import Acceptance, Actor, ActorKind, Conversation, Policy, RecordedEvent, Risk, Verdict
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

from .measure import Contender, Round, Work, at_least, one_core, value

DIGEST = "sha256:" + "5" * 64
MODEL = "claude-opus-4-1"

QUESTIONS = 1_000  # of the conversation in which turns are decided
PASSES = 20  # over it, a round
EVENTS = 20_000  # of the log that is folded

_USER = Actor(kind=ActorKind.USER, id="u")
_MODEL = Actor(kind=ActorKind.MODEL, id=MODEL)
_ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="a")
_START = StartConversation(id="s", by=_USER, conversation="b", account=None, policy=Policy.default(), model=MODEL)
_ASK = TakeUserTurn(id="u", by=_USER, content=DIGEST)
_ANSWER = TakeAssistantTurn(id="m", by=_MODEL, content=DIGEST, model=MODEL, stop_reason="end_turn")


def work() -> Work:
    """Measure the core: nothing here waits for a disk."""
    return Work(
        "core",
        "the law alone, on one core",
        [_decisions(), _folds()],
        [value("decide and evolve a turn", "turns/s", at_least(200_000)), value("fold a log", "events/s")],
    )


def _after(state: Conversation, *commands: Command) -> Conversation:
    for command in commands:
        decision = decide(command, state)
        assert isinstance(decision, Acceptance), str(decision)
        for event in decision.events:
            state = evolve(state, event)
    return state


def _decisions() -> Contender:
    """A user turn, decided and evolved in every state that a long conversation of questions and answers passes."""
    states = [_after(Conversation(), _START)]
    while len(states) < QUESTIONS:
        states.append(_after(states[-1], _ASK, _ANSWER))

    def run() -> Round:
        with one_core():
            start = perf_counter()
            for _ in range(PASSES):
                for state in states:
                    decision = decide(_ASK, state)
                    assert isinstance(decision, Acceptance)
                    evolve(state, decision.events[0])
            seconds = perf_counter() - start
        return {"decide and evolve a turn": PASSES * len(states) / seconds}

    return run


def _folds() -> Contender:
    """A log in which every user turn was judged, and one in five of them was harmful and met by a redirection."""
    log: list[RecordedEvent] = []
    state = Conversation()
    for command in _judged_conversation():
        decision = decide(command, state)
        assert isinstance(decision, Acceptance), str(decision)
        for event in decision.events:
            state = evolve(state, event)
            at = state.version
            log.append(RecordedEvent(at, "b", at, event.kind, "2025-08-15T00:00:00.000000+00:00", "c", event, "c"))
        if len(log) >= EVENTS:
            break

    def run() -> Round:
        with one_core():
            start = perf_counter()
            fold(log)
            seconds = perf_counter() - start
        return {"fold a log": len(log) / seconds}

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
