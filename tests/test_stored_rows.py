"""Rows as they are read: what is kept of the row before, and times as numbers."""

from typing import Any

import pytest

from lastresort import Actor, ActorKind
from lastresort.adapters.databases.times import packed, unpacked
from lastresort.adapters.stores import codec as encoding
from lastresort.adapters.stores.codec import Encoding, StoredEvent
from lastresort.domain.events import (
    ContentErased,
    ConversationStarted,
    Event,
    RecordedEvent,
    TurnAssessed,
    Unreadable,
    UserTurnTaken,
)
from lastresort.domain.policy import Policy

from .test_format import ASSESSOR, SURE, event_in

# --- What was read before ---------------------------------------------------------------------------------------------

AT = ("2026-01-31T12:00:00+00:00", "one", None)
USER = Actor(kind=ActorKind.USER, id="user")
SAID = UserTurnTaken(by=USER, content=f"sha256:{'a' * 64}")
STARTED = ConversationStarted(
    by=USER,
    policy=Policy.default(),
    policy_hash=Policy.default().hash,
    conversation="c",
    account=None,
    model="m",
    arm=None,
)


def row_of(event: Event, branch: str = "c", version: int = 1, **columns: Any) -> StoredEvent:
    """An event as it is written, but for some columns."""
    return StoredEvent(1, branch, version, event.kind, *Encoding().state(event), event.schema_version, *AT)._replace(
        **columns
    )


def read_after(first: StoredEvent, then: StoredEvent) -> RecordedEvent | Unreadable:
    """Read a row where another one was read before: alone, it must be read as the same thing."""
    encoding = Encoding()
    together = encoding.entries([first, first, first, then])[-1]
    assert together == encoding.entries([then])[0] == Encoding().entries([then])[0]
    return together


def test_an_event_that_says_the_same_is_kept() -> None:
    """Each has its own words, and each conversation its own id."""
    verdict = TurnAssessed(by=ASSESSOR, turn=2, verdict="ambiguous", risk="none")
    first, second, third = (event_in(entry) for entry in Encoding().entries([row_of(verdict)] * 3))
    assert first == second
    assert second is third
    other = SAID.model_copy(update={"content": f"sha256:{'b' * 64}"})
    assert event_in(read_after(row_of(SAID), row_of(other))) == other
    another = STARTED.model_copy(update={"conversation": "d"})
    read = event_in(read_after(row_of(STARTED), row_of(another, "d")))
    assert read == another
    assert read.model_dump_json() == another.model_dump_json()


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by length: reading goes on as before when there is no room for more."""
    erased = ContentErased(by=USER, contents=(SAID.content,) * 100, cause="legal")
    first, *rest = (event_in(entry) for entry in Encoding().entries([row_of(erased)] * 3))
    assert all(event == first and event is not first for event in rest)
    monkeypatch.setattr(encoding, "_MOST_KNOWN", 2)
    events = [TurnAssessed(by=ASSESSOR, turn=turn, verdict="ambiguous", risk="none") for turn in (2, 2, 2, 3, 4, 2)]
    assert [event_in(entry) for entry in Encoding().entries([row_of(event) for event in events])] == events


@pytest.mark.parametrize(
    "state",
    [
        b'{"by":{"kind":"user","id":"user"},"content":"sha256:","content":"sha256:' + b"a" * 64 + b'"}',
        b'{"content":"sha256:","by":{"kind":"user","id":"user"}}',
        b'{"by": {"kind":"user","id":"user"},"content":"sha256:"}',
    ],
)
def test_an_event_that_is_not_written_as_we_write_it_stands_for_itself_alone(state: bytes) -> None:
    """One that says a thing twice, say: with other words in one place it would not be what it is."""
    first = row_of(SAID)._replace(state=state)
    read_after(first, first._replace(digest=b"b" * 32))
    twice = Encoding().state(STARTED)[0].replace(b'"conversation":"c"', b'"conversation":"c","conversation":"c"')
    then = row_of(STARTED, "d")._replace(state=twice.replace(b'n":"c"', b'n":"d"', 1))
    read = event_in(read_after(row_of(STARTED)._replace(state=twice), then))
    assert isinstance(read, ConversationStarted)
    assert read.conversation == "c"


@pytest.mark.parametrize("branch", ["d", 'q"', "b\\", "", "with space", "é", "a" * 129, None, 7])
def test_a_conversation_that_is_not_its_branch_is_read_as_it_says(branch: Any) -> None:
    """Whatever stands in the column, and after one that is as it should be."""
    read = read_after(row_of(STARTED), row_of(STARTED)._replace(branch=branch))
    if isinstance(read, RecordedEvent):
        assert read.event == STARTED
    else:
        assert read.why == "branch or version: no such thing"
    empty = row_of(STARTED, "c")._replace(
        state=Encoding().state(STARTED)[0].replace(b'"conversation":"c"', b'"conversation":""')
    )
    assert isinstance(read_after(row_of(STARTED), empty), Unreadable)


@pytest.mark.parametrize("digest", [b"", b"short", "text", 5, b"x" * 33])
@pytest.mark.parametrize("event", [SAID, STARTED, SURE])
def test_a_digest_that_is_none_is_unreadable(event: Event, digest: Any) -> None:
    """So is one of an event that stands for no words: then it is not known whose they are."""
    if event is SURE:
        event = TurnAssessed(by=ASSESSOR, turn=2, verdict="ambiguous", risk="none")
    read = read_after(row_of(event), row_of(event)._replace(digest=digest))
    assert isinstance(read, Unreadable)
    assert read.why == (
        "event.content: String should match pattern '^sha256:[0-9a-f]{64}$'"
        if event is SAID
        else "digest: of words that the event does not stand for"
    )
    missing = read_after(row_of(SAID), row_of(SAID)._replace(digest=None))
    assert isinstance(missing, Unreadable)
    assert missing.why == "event.content: String should match pattern '^sha256:[0-9a-f]{64}$'"


@pytest.mark.parametrize("wrong", [None, "", "two words", "line\nline", "é", "a" * 129, 7, b"one"])
@pytest.mark.parametrize("column", ["command_id", "correlation_id"])
def test_one_id_that_is_none_is_told_from_those_beside_it(column: str, wrong: Any) -> None:
    """The ids of a page are looked at together, and one by one where anything is wrong with any of them."""
    good = row_of(SAID)
    for place in range(3):
        rows = [good, good, good]
        rows[place] = good._replace(**{column: wrong})
        read = Encoding().entries(rows)
        fine = column == "correlation_id" and wrong is None
        assert [isinstance(entry, RecordedEvent) for entry in read] == [fine or number != place for number in range(3)]


def test_times_are_told_apart_by_what_they_are() -> None:
    """A number is not taken for one that it equals, nor a time for the one before."""
    number = packed("2026-01-31T12:00:00.000000+00:00")
    assert isinstance(number, int)
    kept: list[Any] = [number, number, float(number), number, "2026-01-31T12:00:00Z", number + 1, "noon", number]
    read = Encoding().entries([row_of(SAID)._replace(recorded_at=one) for one in kept])
    assert [entry.recorded_at if isinstance(entry, RecordedEvent) else None for entry in read] == [
        *["2026-01-31T12:00:00.000000+00:00"] * 2,
        None,
        "2026-01-31T12:00:00.000000+00:00",
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.000001+00:00",
        None,
        "2026-01-31T12:00:00.000000+00:00",
    ]


# --- Times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-31T12:00:00.000000+00:00",
        "2026-01-31T12:00:00.000001+00:00",
        "1969-12-31T23:59:59.999999+00:00",
        "0001-01-01T00:00:00.000000+00:00",
        "9999-12-31T23:59:59.999999+00:00",
    ],
)
def test_a_time_is_kept_as_a_number(time: str) -> None:
    """Of microseconds, and read as it was written."""
    number = packed(time)
    assert isinstance(number, int)
    assert unpacked(number) == time


@pytest.mark.parametrize(
    "time",
    [
        *("2026-01-31T12:00:00+00:00", "2026-01-31T12:00:00.000000Z", "2026-01-31T13:00:00.000000+01:00", "noon", ""),
        *("2026-02-30T12:00:00.000000+00:00", "2026-01-31 12:00:00.000000+00:00", "2026-01-31T12:00:00,000000+00:00"),
        *(
            "2026-01-31T12:00:00.00000+00:00",
            "2026-01-31T12:00:00.00000\u0660+00:00",
            "2026-W05-6T12:00:0.000000+00:00",
        ),
    ],
)
def test_what_a_number_would_not_say_stays_text(time: str) -> None:
    """Imported logs are exported as they came."""
    assert packed(time) == time


@pytest.mark.parametrize("number", [10**30, -(10**30), 10**18])
def test_a_number_that_is_no_time_is_unreadable(number: int) -> None:
    """It is named as an entry, and not an error of the program."""
    event = TurnAssessed(by=ASSESSOR, turn=2, verdict="ambiguous", risk="none")
    row = StoredEvent(
        1, "c", 3, TurnAssessed.kind, Encoding().state(event)[0], None, event.schema_version, number, "one", None
    )
    (entry,) = Encoding().entries([row])
    assert isinstance(entry, Unreadable)
    assert "recorded_at" in entry.why
