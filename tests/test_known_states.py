"""Events of a log that comes in are written as any others are, however much of them is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from bench.logs import write_log
from lastresort import Actor, ActorKind, Policy
from lastresort.adapters.importers.log_file import read_log
from lastresort.adapters.stores import incoming
from lastresort.adapters.stores.codec import Encoding
from lastresort.adapters.stores.incoming import KnownStates
from lastresort.adapters.testing.strategies import trees
from lastresort.domain.events import ConversationStarted, Event, RecordedEvent, UserLeft, UserTurnTaken
from lastresort.domain.values import Mode, with_field

from .drawing import UNHURRIED, examples
from .narrow import must_be

USER = Actor(kind=ActorKind.USER, id="u-1")
SAID: Event = UserTurnTaken(by=USER, content=f"sha256:{'a' * 64}")
POLICY = Policy.default()
STARTED: Event = ConversationStarted(
    by=USER, policy=POLICY, policy_hash=POLICY.hash, conversation="c", account="a", model="m", arm=None
)


class Text(str):
    """A text of another class, which says what it likes."""

    __slots__ = ()


def outcome(written: Callable[[Any], Any], event: Any) -> object:
    try:
        return written(event)
    except (ValueError, AttributeError, TypeError) as error:
        return type(error)


@settings(UNHURRIED, max_examples=examples(dev=20, ci=50, nightly=1_000))
@given(trees())
def test_what_is_known_is_written_as_what_is_new(log: tuple[RecordedEvent, ...]) -> None:
    states = KnownStates(Encoding())
    for recorded in log * 2:
        assert states.written(recorded.event) == Encoding().written(recorded.event)


def test_a_long_log_of_many_people_is_written_as_it_was(tmp_path: Path) -> None:
    """Its users, accounts and conversations differ, and little else does."""
    write_log(tmp_path / "log.jsonl", 3_000)
    states, plain = KnownStates(Encoding()), Encoding()
    for _, entry in read_log(tmp_path / "log.jsonl"):
        event = must_be(RecordedEvent, entry).event
        assert states.written(event) == plain.written(event)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("by", Actor(kind=ActorKind.USER, id="u-2")),
        ("by", Actor(kind=ActorKind.USER, id='a"b')),
        ("by", Actor(kind=ActorKind.USER, id="a\\b")),
        ("by", Actor(kind=ActorKind.OPERATOR, id="u-1")),
        ("by", with_field(USER, "id", Text("u-1"))),
        ("by", with_field(USER, "id", "two words")),
        ("by", with_field(USER, "id", 7)),
        ("by", {"kind": "user", "id": "u-1"}),
        ("content", "sha256:A"),
        ("content", None),
        ("account", 'a"b'),
        ("account", "two words"),
        ("account", None),
        ("conversation", "other"),
        ("conversation", None),
        ("arm", "b"),
        ("model", Text("m")),
        ("model", "other"),
        ("law", True),
        ("law", 2),
        ("mode", Mode.SHADOW),
        ("mode", "shadow"),
        ("policy", Policy(name="other")),
        ("policy_hash", Text(POLICY.hash)),
        ("policy_hash", f"sha256:{'0' * 64}"),
    ],
)
def test_an_odd_one_is_written_as_by_one_that_knows_nothing(field: str, value: Any) -> None:
    for event in (one for one in (SAID, STARTED) if field in type(one).model_fields):
        states = KnownStates(Encoding())
        for _ in range(2):
            states.written(event)
        odd = with_field(event, field, value)
        assert outcome(states.written, odd) == outcome(Encoding().written, odd)


def test_what_is_known_is_forgotten_rather_than_hoarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "_MOST_KNOWN", 3)
    states = KnownStates(Encoding())
    for number in range(10):
        left = UserLeft(by=Actor(kind=ActorKind.USER, id=f"u-{number}"))
        other = Policy(name=f"p-{number}")
        begun = STARTED.model_copy(update={"policy": other, "policy_hash": other.hash})
        for event in (left, begun, left, begun):
            assert states.written(event) == Encoding().written(event)
        assert max(len(states._known), len(states._beginnings)) <= 3
