"""A recorded event has one form in bytes, whatever wrote it: for exports, golden logs and digests."""

import json
from collections import OrderedDict
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from lastresort import EVENTS, Actor, ActorKind, Conversations, Event, RecordedEvent, Risk, Verdict
from lastresort.adapters.importers.log_file import import_log, read_log
from lastresort.domain.canonical import ADDED, FIELDS, canonical, canonical_event
from lastresort.domain.events import BranchOpened, Evidence, TurnAssessed, Unreadable, UserLeft, UserTurnTaken
from lastresort.domain.policy import SINCE_2, Policy
from lastresort.domain.values import LegalHold, OpenRisk, Usage

from .stores import chats, in_words_of_today
from .vocabulary import any_event, events_of

__all__ = ["chats"]

GOLDEN = Path(__file__).parent / "golden"
TIME = "2026-01-31T12:00:00.000000+00:00"
PARTS: tuple[type[BaseModel], ...] = (Actor, Usage, OpenRisk, LegalHold, Evidence, Policy)


_TERMS: dict[str, Any] = {"law": 1, "mode": "enforced"}
ABSENT: dict[str, dict[str, Any]] = {
    "ConversationStarted": _TERMS,
    "PolicyChanged": _TERMS,
    "BranchOpened": {"holds": [], "absolved": False},
    "TurnAssessed": {"about": None},
    "FeedbackGiven": {"turn": None},
    "Policy": dict.fromkeys(SINCE_2),  # which its own writer leaves out where nothing is said of them
}
"""What the absence of a field means that was added later."""


def by_hand(recorded: RecordedEvent) -> bytes:
    """Another writer: the standard library's, of plain fields, with options that stand in docs/reference/formats.md."""
    plain = recorded.event.model_dump(mode="json")
    event = json.dumps(_in_order(type(recorded.event), plain), separators=(",", ":"), ensure_ascii=True)
    envelope = {name: getattr(recorded, name) for name in ("position", "branch", "version", "kind", "recorded_at")}
    envelope["command_id"] = recorded.command_id
    if recorded.correlation_id != recorded.command_id:
        envelope["correlation_id"] = recorded.correlation_id
    says_more = recorded.kind == "AppealDecided" or set(_in_order(type(recorded.event), plain)) - {
        *FIELDS[recorded.kind]
    }
    if recorded.event.schema_version == 2 and says_more:
        envelope["schema_version"] = 2
    head = json.dumps({**envelope, "event": 0}, separators=(", ", ": "), ensure_ascii=True)
    return (head.removesuffix("0}") + event + "}").encode()


def _in_order(kind: type[BaseModel], fields: dict[str, Any]) -> dict[str, Any]:
    ordered = OrderedDict((name, fields[name]) for name in FIELDS[kind.__name__])
    absent = ABSENT.get(kind.__name__, {})
    ordered.update((name, fields[name]) for name in absent if name in fields and fields[name] != absent[name])
    parts: dict[str, type[BaseModel]] = {"by": Actor, "policy": Policy, "usage": Usage, "evidence": Evidence}
    for name, part in parts.items():
        if ordered.get(name) is not None:
            ordered[name] = _in_order(part, ordered[name])
    if kind is BranchOpened:
        ordered["risks"] = [_in_order(OpenRisk, risk) for risk in ordered["risks"]]
    return ordered


ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
envelopes = st.builds(
    lambda event, position, branch, version, command, correlation: RecordedEvent(
        position, branch, version, event.kind, TIME, command, event, correlation or command
    ),
    any_event,
    st.integers(1, 2**53),
    ids,
    st.integers(1, 2**53),
    ids,
    st.none() | ids,
)


@given(envelopes)
def test_two_writers_write_the_same(recorded: RecordedEvent) -> None:
    """Of any event in any envelope; and it is JSON that says the same."""
    written = canonical(recorded)
    assert written == by_hand(recorded)
    assert written.isascii()
    assert b"\n" not in written
    fields = json.loads(written)
    assert type(recorded.event).model_validate(fields["event"]) == recorded.event
    assert fields.get("schema_version", 1) <= recorded.event.schema_version


@pytest.mark.parametrize("kind", EVENTS)
def test_of_every_kind_two_writers_write_the_same(kind: str) -> None:
    """Those of every kind, so that none is left to chance."""

    @given(events_of(kind))
    def of_a_kind(event: Event) -> None:
        recorded = RecordedEvent(1, "c", 1, kind, TIME, "k", event, "k")
        assert canonical(recorded) == by_hand(recorded)
        assert json.loads(canonical_event(event)) == _in_order(type(event), event.model_dump(mode="json"))

    of_a_kind()


def test_every_field_of_every_kind_has_its_place() -> None:
    """One that is added without a place in the canonical form fails here."""
    for kind, model in {**EVENTS, **{part.__name__: part for part in PARTS}}.items():
        assert sorted((*FIELDS[kind], *ADDED.get(kind, ()))) == sorted(model.model_fields), kind
    assert set(FIELDS) == {*EVENTS, *(part.__name__ for part in PARTS)}


USER = Actor(kind=ActorKind.USER, id='"a\\b/c<')
PINNED = [
    (
        RecordedEvent(7, "c", 3, "UserLeft", TIME, "k-1", UserLeft(by=USER), "k-1"),
        b'{"position": 7, "branch": "c", "version": 3, "kind": "UserLeft", '
        b'"recorded_at": "2026-01-31T12:00:00.000000+00:00", "command_id": "k-1", '
        b'"event": {"by":{"kind":"user","id":"\\"a\\\\b/c<"}}}',
    ),
    (
        RecordedEvent(
            9007199254740992,
            "d",
            4,
            "TurnAssessed",
            TIME,
            "k-2",
            TurnAssessed(by=USER, turn=2, verdict=Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE),
            "act",
        ),
        b'{"position": 9007199254740992, "branch": "d", "version": 4, "kind": "TurnAssessed", '
        b'"recorded_at": "2026-01-31T12:00:00.000000+00:00", "command_id": "k-2", "correlation_id": "act", '
        b'"event": {"verdict":"harmful","category":"abuse","severity":2,"risk":"none",'
        b'"by":{"kind":"user","id":"\\"a\\\\b/c<"},"turn":2}}',
    ),
    (
        RecordedEvent(
            8,
            "e",
            2,
            "BranchOpened",
            "caf\u00e9",  # an old log may hold any text for a time
            "k-3",
            BranchOpened(by=USER, conversation="c", parent="c", at=1, cause="edit", risks=[]),
            "k-3",
        ),
        b'{"position": 8, "branch": "e", "version": 2, "kind": "BranchOpened", '
        b'"recorded_at": "caf\\u00e9", "command_id": "k-3", '
        b'"event": {"by":{"kind":"user","id":"\\"a\\\\b/c<"},"conversation":"c","parent":"c","at":1,"cause":"edit",'
        b'"risks":[]}}',
    ),
]


@pytest.mark.parametrize(("recorded", "written"), PINNED, ids=[recorded.kind for recorded, _ in PINNED])
def test_the_form_is_this_to_the_byte(recorded: RecordedEvent, written: bytes) -> None:
    """Written out, so that no change of any library goes unseen."""
    assert canonical(recorded) == written


def test_a_later_schema_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Just before the event; the first goes without saying."""
    monkeypatch.setattr(UserTurnTaken, "schema_version", 2)
    event = UserTurnTaken(by=USER, content="sha256:" + "0" * 64)
    assert b'"command_id": "k", "schema_version": 2, "event": {' in canonical(
        RecordedEvent(1, "c", 2, "UserTurnTaken", TIME, "k", event, "k")
    )


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
def test_an_exported_log_is_in_canonical_form(path: Path) -> None:
    """Those that were written before the form had a name, too."""
    for number, entry in read_log(path):
        assert not isinstance(entry, Unreadable)
        assert canonical(entry) == in_words_of_today(path).encode().splitlines()[number - 1]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_engine_gives_the_same_bytes(path: Path, chats: Conversations) -> None:
    """However a store keeps its rows."""
    import_log(path, nullcontext(chats.store))
    assert b"".join(canonical(entry) + b"\n" for entry in chats.store.log()) == in_words_of_today(path).encode()
