"""What was written before is known again, and never taken for what it is not."""

from typing import Any

import pytest
from hypothesis import given, settings

from lastresort import Actor, ActorKind
from lastresort.adapters.stores.codec import Encoding
from lastresort.adapters.testing.strategies import trees
from lastresort.domain.events import (
    AssistantTurnTaken,
    AttemptRefused,
    Event,
    RecordedEvent,
    RedirectionAttempted,
    WarningGiven,
)
from lastresort.domain.values import MOST_VERSIONS, Usage, with_field

from .drawing import UNHURRIED, examples

MODEL = Actor(kind=ActorKind.MODEL, id="claude")
TOKENS: Any = Usage.model_construct
DIGEST = f"sha256:{'a' * 64}"


def answer(usage: Any) -> Event:
    return AssistantTurnTaken(by=MODEL, content=DIGEST, model="claude", stop_reason=None, usage=usage)


WARNED = WarningGiven(
    by=MODEL, turn=3, seen=2, category="abuse", names_behaviour=True, redirects=True, states_consequence=True
)
LIKE: dict[str, Event] = {
    "an answer": answer(Usage(input_tokens=1, output_tokens=2)),
    "a redirection": RedirectionAttempted(by=MODEL, turn=1, answers=1),
    "a warning": WARNED,
    "a refusal": AttemptRefused(by=MODEL, attempted="WarningGiven", rules=("redirected-first",)),
}


def knowing(*events: Event) -> Encoding:
    """One that has written and read events, each more than once."""
    encoding = Encoding()
    for event in events * 3:
        state, digest = encoding.written(event)
        encoding.entries([(1, "b", 1, event.kind, state, digest, event.schema_version, 0, "c", None)])
    return encoding


@settings(UNHURRIED, max_examples=examples(dev=20, ci=50, nightly=1_000))
@given(trees())
def test_what_is_known_is_written_and_read_as_what_is_new(log: tuple[RecordedEvent, ...]) -> None:
    known = knowing(*(recorded.event for recorded in log))
    for recorded in log:
        event = recorded.event
        row = known.written(event)
        assert row == Encoding().written(event)
        (read,) = known.entries([(1, "b", 1, event.kind, *row, event.schema_version, 0, "c", None)])
        assert isinstance(read, RecordedEvent)
        assert read.event == event
        assert read.event.model_dump_json() == event.model_dump_json()


@pytest.mark.parametrize("counts", [(0, 0), (7, MOST_VERSIONS), (MOST_VERSIONS, 7), (1, 2)])
def test_answers_that_took_other_tokens_are_known(counts: tuple[int, int]) -> None:
    event = answer(Usage(input_tokens=counts[0], output_tokens=counts[1]))
    for encoding in (known := knowing(LIKE["an answer"]), Encoding()):
        state, digest = encoding.written(event)
        assert state == Encoding().state(event)[0]
        (read,) = known.entries([(1, "b", 1, event.kind, state, digest, 1, 0, "c", None)])
        assert isinstance(read, RecordedEvent)
        assert read.event == event


@pytest.mark.parametrize(
    ("like", "field", "value"),
    [
        ("an answer", "usage", {"input_tokens": 1, "output_tokens": -2}),
        ("an answer", "usage", TOKENS(input_tokens=MOST_VERSIONS + 1, output_tokens=2)),
        ("an answer", "usage", TOKENS(input_tokens=1, output_tokens=-2)),
        ("an answer", "usage", TOKENS(input_tokens=1.5, output_tokens=2)),
        ("an answer", "usage", TOKENS(input_tokens=1)),
        ("an answer", "content", None),
        ("an answer", "by", None),
        ("a redirection", "turn", 1.5),
        ("a warning", "redirects", 7),
        ("a refusal", "rules", ["redirected-first", 7]),
    ],
)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_what_could_not_be_read_is_refused_though_its_like_is_known(like: str, field: str, value: Any) -> None:
    event = with_field(LIKE[like], field, value)
    for encoding in (knowing(*LIKE.values()), Encoding()):
        with pytest.raises((ValueError, AttributeError)):
            encoding.written(event)


@pytest.mark.parametrize(
    "change",
    [
        (b"1,", b"01,"),
        (b"1,", b"-1,"),
        (b"1,", b"1.0,"),
        (b"1,", b"%d," % (MOST_VERSIONS + 1)),
        (b"1,", b"99999999999999999,"),
        (b'{"input_tokens":1,"output_tokens":2}', b'{"output_tokens":2,"input_tokens":1}'),
        (b'"stop_reason":null', b'"stop_reason":null,"usage":null'),
    ],
)
def test_a_row_with_odd_tokens_is_read_as_by_one_that_knows_nothing(change: tuple[bytes, bytes]) -> None:
    known, (state, digest) = knowing(LIKE["an answer"]), Encoding().written(LIKE["an answer"])
    odd = state.replace(*change)
    assert odd != state
    row = (1, "b", 1, "AssistantTurnTaken", odd, digest, 1, 0, "c", None)
    assert known.entries([row]) == Encoding().entries([row])
    cut = (*row[:5], None, *row[6:])
    assert known.entries([cut]) == Encoding().entries([cut])
