"""The stored format, for ever: the schema of each event is pinned, and earlier versions are brought up to date.

`schemas/KIND.vN.json` is the JSON schema of version N of an event, made from its type. These files are never changed:
there are logs that were written by them. To change the fields of an event, give its type the next `schema_version`,
register the step from the version before in `lastresort.domain.events`, and run `python -m tests.test_format` from
the root, which writes the schema of the new version and changes none.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lastresort import Actor, ActorKind
from lastresort.adapters.stores.codec import Encoding, StoredEvent
from lastresort.adapters.stores.memory import MemoryStore
from lastresort.application.ports import Append, NewEvent
from lastresort.domain.events import (
    EVENTS,
    UPCASTS,
    AppealDecided,
    BranchOpened,
    ConversationStarted,
    Event,
    EventBase,
    PolicyChanged,
    RecordedEvent,
    TurnAssessed,
    Unreadable,
    Upcast,
    UserLeft,
)
from lastresort.domain.policy import Policy
from lastresort.domain.values import Frozen, LegalHold, Mode

from .narrow import must_be

SCHEMAS = Path(__file__).parent / "schemas"
OLD_LOG = Path(__file__).parent / "golden" / "upcasts" / "verdicts.v1.jsonl"


# --- Schemas ----------------------------------------------------------------------------------------------------------


def schema_of(event: type[EventBase]) -> str:
    """The JSON schema of an event as it is checked in. What is said about fields, to people, is no part of it."""
    schema = _without_descriptions(event.model_json_schema())
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def _without_descriptions(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: _without_descriptions(value)
            for key, value in schema.items()
            if not (key == "description" and isinstance(value, str))
        }
    return [_without_descriptions(one) for one in schema] if isinstance(schema, list) else schema


def problems(
    events: Mapping[str, type[EventBase]], schemas: Mapping[str, str], upcasts: Mapping[tuple[str, int], Upcast]
) -> list[str]:
    """Return what is wrong between the types, the schemas that are checked in, and the steps; and what to do."""
    found = []
    for kind, event in events.items():
        version = event.schema_version
        name = f"{kind}.v{version}.json"
        pinned = schemas.get(name)
        if pinned is None:
            found.append(f"{name} is not there; run `python -m tests.test_format`, which writes it, and check it in")
        elif pinned != schema_of(event):
            found.append(
                f"the fields of {kind} changed, and logs with version {version} exist: give {kind} schema_version "
                f"{version + 1}, register the step from {version} in domain/events.py, and run "
                "`python -m tests.test_format`"
            )
        for step in range(1, version):
            if (kind, step) not in upcasts:
                found.append(f"{kind} has no step from version {step} to {step + 1}; register it in domain/events.py")
            if f"{kind}.v{step}.json" not in schemas:
                found.append(f"{kind}.v{step}.json was removed; logs with version {step} exist: restore it")
    known = {
        f"{kind}.v{version}.json" for kind, event in events.items() for version in range(1, event.schema_version + 1)
    }
    return found + [
        f"{name} is of no event; an event that was stored is never removed" for name in set(schemas) - known
    ]


def checked_in() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in SCHEMAS.glob("*")}


def test_the_format_is_what_is_checked_in() -> None:
    """A change without the next version and a step is refused here, before it meets a log."""
    assert problems(EVENTS, checked_in(), UPCASTS) == []
    assert len(EVENTS) == 26


def test_schemas_hold_every_field_of_the_law() -> None:
    """`by` among them, and nothing that is not asked for."""
    for kind, event in EVENTS.items():
        schema = json.loads(schema_of(event))
        assert schema["additionalProperties"] is False, kind
        assert set(schema["properties"]) == set(event.model_fields)
        assert "by" in schema["required"]


def test_a_schema_that_exists_is_never_written_again(tmp_path: Path) -> None:
    """Only what is missing is."""
    write_missing(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{kind}.v{event.schema_version}.json" for kind, event in EVENTS.items()
    }
    changed = tmp_path / "UserLeft.v1.json"
    changed.write_text("{}\n")
    (tmp_path / "UserTurnTaken.v1.json").unlink()
    assert write_missing(tmp_path) == ["UserTurnTaken.v1.json"]
    assert changed.read_text() == "{}\n"


def write_missing(folder: Path) -> list[str]:
    """Write the schemas that are not in `folder`, and return their names."""
    folder.mkdir(exist_ok=True)
    missing = {
        folder / f"{kind}.v{event.schema_version}.json": schema_of(event)
        for kind, event in EVENTS.items()
        if not (folder / f"{kind}.v{event.schema_version}.json").exists()
    }
    for path, schema in missing.items():
        path.write_text(schema, encoding="utf-8")
    return sorted(path.name for path in missing)


# --- A later version, as it would be ---------------------------------------------------------------------------------


class Assurance(Frozen):
    """How sure an assessor was, in steps of a hundredth."""

    percent: int


class SurerTurnAssessed(TurnAssessed):
    """A verdict that says how sure the assessor was; nobody was asked before, and so it is null in old logs."""

    schema_version: ClassVar[int] = 3
    assurance: Assurance | None


SurerTurnAssessed.kind = TurnAssessed.kind  # the same kind of event: only its fields have changed


class Counted:
    """A step, and how often it was taken."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, fields: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        return {**fields, "assurance": None}


LATER: dict[str, type[EventBase]] = {**EVENTS, TurnAssessed.kind: SurerTurnAssessed}
ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="assessor")
SURE = SurerTurnAssessed(by=ASSESSOR, turn=2, verdict="ambiguous", risk="none", assurance=Assurance(percent=75))


NOW = TurnAssessed.schema_version


def old_rows() -> list[StoredEvent]:
    """The golden log, which is never written again, as the rows of a store."""
    rows = []
    for text in OLD_LOG.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        place = (line.pop("position"), line.pop("branch"), line.pop("version"), line.pop("kind"))
        envelope = (line.get("schema_version", 1), line["recorded_at"], line["command_id"], line.get("correlation_id"))
        rows.append(StoredEvent(*place, json.dumps(line["event"]).encode(), None, *envelope))
    return rows


def read(
    encoding: Encoding, state: bytes, version: int | None = NOW, kind: str = TurnAssessed.kind
) -> RecordedEvent | Unreadable:
    return read_all(
        encoding, [StoredEvent(1, "c", 3, kind, state, None, version, "2026-01-31T12:00:00+00:00", "one", None)]
    )[0]


def as_written(event: Event) -> StoredEvent:
    """An event as a store writes it today."""
    state, digest = Encoding().state(event)
    return StoredEvent(
        1, "c", 3, event.kind, state, digest, event.schema_version, "2026-01-31T12:00:00+00:00", "one", None
    )


def read_all(encoding: Encoding, rows: list[StoredEvent]) -> list[RecordedEvent | Unreadable]:
    return encoding.entries(rows)


def event_in(entry: RecordedEvent | Unreadable) -> Event:
    assert isinstance(entry, RecordedEvent), entry
    return entry.event


def test_a_log_of_version_1_is_read_by_a_later_program() -> None:
    """Each old verdict is brought up to date, once; all else in the log is as it was."""
    step = Counted()
    today = Encoding().entries(old_rows())
    later = Encoding(LATER, {**UPCASTS, (TurnAssessed.kind, NOW): step}).entries(old_rows())
    verdicts = [entry.kind == TurnAssessed.kind for entry in today]
    assert step.calls == sum(verdicts) > 1
    for old, new, is_verdict in zip(today, later, verdicts, strict=True):
        assert isinstance(old, RecordedEvent)
        assert isinstance(new, RecordedEvent)
        if is_verdict:
            assert isinstance(new.event, SurerTurnAssessed)
            assert new.event.model_dump() == {**old.event.model_dump(), "assurance": None}
            assert new._replace(event=old.event) == old
        else:
            assert new == old


def test_events_of_a_later_version_say_so_and_cost_no_step() -> None:
    """In a store: what is written now stands beside what was written then."""
    step = Counted()
    encoding = Encoding(LATER, {(TurnAssessed.kind, 1): step})
    store = MemoryStore(encoding)
    left = UserLeft(by=ASSESSOR)
    events = (NewEvent("c", 1, left), NewEvent("c", 2, SURE), NewEvent("c", 3, SURE))
    store.append(Append("b", "one", "one", "2026-01-31T12:00:00+00:00", events))
    assert [store._stored(position).schema_version for position in (1, 2, 3)] == [1, 3, 3]
    assert [entry.event for entry in store.log()] == [left, SURE, SURE]
    assert step.calls == 0


def test_events_of_today_cost_no_step() -> None:
    """A step that is registered for them is not looked at."""
    step = Counted()
    rows = [as_written(event_in(entry)) for entry in Encoding().entries(old_rows())]
    upcasts = {(kind, version): step for kind in EVENTS for version in (1, 2)}
    for entry in Encoding(upcasts=upcasts).entries(rows):
        event_in(entry)
    assert step.calls == 0


def test_several_steps_are_taken_in_order() -> None:
    """From the version that is stored to that of today."""

    class Third(SurerTurnAssessed):
        schema_version: ClassVar[int] = 4
        asked: int

    Third.kind = TurnAssessed.kind
    first = Counted()
    taken: list[object] = []

    def second(fields: dict[str, Any]) -> dict[str, Any]:
        taken.append(fields["assurance"])
        return {**fields, "asked": len(taken)}

    steps: dict[tuple[str, int], Upcast] = {(TurnAssessed.kind, NOW): first, (TurnAssessed.kind, NOW + 1): second}
    encoding = Encoding({**EVENTS, TurnAssessed.kind: Third}, steps)
    old = TurnAssessed(by=ASSESSOR, turn=2, verdict="ambiguous", risk="none")
    assert event_in(read(encoding, encoding.state(old)[0])).model_dump()["asked"] == 1
    assert event_in(read(encoding, encoding.state(SURE)[0], NOW + 1)).model_dump()["asked"] == 2
    assert (first.calls, taken) == (1, [None, {"percent": 75}])


@pytest.mark.parametrize("version", [NOW + 1, NOW + 2, 99, 0, -1, None])
def test_a_version_of_the_future_is_unreadable_and_says_so(version: int) -> None:
    """It is not guessed at, even where the fields would fit."""
    old = TurnAssessed(by=ASSESSOR, turn=2, verdict="ambiguous", risk="none")
    encoding = Encoding(upcasts={(TurnAssessed.kind, n): dict for n in range(1, 100)})
    entry = read(encoding, encoding.state(old)[0], version)
    assert isinstance(entry, Unreadable)
    assert entry.why == f"schema_version: {version} where this program reads 1 to {NOW}"


def test_an_old_version_without_a_step_is_unreadable() -> None:
    """As it is with a step that does not make it what it should be, or that fails."""

    def fails(fields: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(fields)

    old = Encoding().state(TurnAssessed(by=ASSESSOR, turn=2, verdict="ambiguous", risk="none"))[0]
    for upcasts in ({}, {(TurnAssessed.kind, NOW): dict}, {(TurnAssessed.kind, NOW): fails}):
        entry = read(Encoding(LATER, upcasts), old)
        assert isinstance(entry, Unreadable)
        assert entry[:4] == (1, "c", 3, TurnAssessed.kind)
        assert "assurance: Field required" in entry.why


def test_a_step_does_not_meet_what_is_no_event() -> None:
    """A row in which something else stands is for the audit to name, not for each step to expect."""

    def renames(fields: dict[str, Any]) -> dict[str, Any]:
        return {"assurance": None, **dict(fields.items())}

    assert isinstance(read(Encoding(LATER, {(TurnAssessed.kind, NOW): renames}), b"[1]"), Unreadable)


USER = Actor(kind=ActorKind.USER, id="user")
HOLD = LegalHold(hold="case-7", reason="litigation", until="2027-01-31")

# --- The steps that there are -----------------------------------------------------------------------------------------


def test_version_1_reads_as_edition_1() -> None:
    """Enforced, with no legal hold, nobody absolved, and of a risk nobody knows whom it is about."""
    began, *_ = old_rows()
    read_now = event_in(Encoding().entries([began])[0])
    assert isinstance(read_now, ConversationStarted)
    assert (began.schema_version, read_now.law, read_now.mode) == (1, 1, Mode.ENFORCED)
    changed = PolicyChanged(by=USER, policy=Policy.default(), policy_hash=Policy.default().hash, law=2, mode="shadow")
    opened = BranchOpened(
        by=USER, conversation="c", parent="c", at=1, cause="edit", risks=(), holds=(HOLD,), absolved=True
    )
    verdict = TurnAssessed(by=ASSESSOR, turn=2, verdict="ambiguous", risk="possible", about="others")
    for event, meant in (
        (changed, {"law": 1, "mode": Mode.ENFORCED}),
        (opened, {"holds": (), "absolved": False}),
        (verdict, {"about": None}),
    ):
        fields = {name: value for name, value in event.model_dump(mode="json").items() if name not in meant}
        old = read(Encoding(), json.dumps(fields).encode(), 1, event.kind)
        assert event_in(old) == event.model_copy(update=meant)
        strange = read(Encoding(), Encoding().state(event)[0], 1, event.kind)  # it says what version 1 could not
        assert isinstance(strange, Unreadable)


@pytest.mark.parametrize(("then", "now"), [("upheld", "granted"), ("overturned", "rejected"), ("granted", None)])
def test_the_outcome_of_an_appeal_says_now_what_it_meant(then: str, now: str | None) -> None:
    """Of the appeal, which is granted where the ending was wrong; the old words are of version 1 alone."""
    by = json.dumps({"kind": "operator", "id": "operator"})
    state = f'{{"by": {by}, "outcome": "{then}"}}'.encode()
    entry = read(Encoding(), state, 1, AppealDecided.kind)
    outcome = must_be(AppealDecided, entry.event).outcome if isinstance(entry, RecordedEvent) else None
    assert outcome == now
    today = read(Encoding(), state, 2, AppealDecided.kind)
    assert isinstance(today, RecordedEvent) is (now is None)


# --- The pin itself ---------------------------------------------------------------------------------------------------


class LongerTurnAssessed(TurnAssessed):
    """What somebody might do in a hurry: a field more, and no new version."""

    mood: str | None = None


LongerTurnAssessed.kind = TurnAssessed.kind


def test_a_change_without_a_version_is_refused_and_told_what_to_do() -> None:
    """Even of a field that may be left out: an earlier program could not read it."""
    (found,) = problems({**EVENTS, TurnAssessed.kind: LongerTurnAssessed}, checked_in(), UPCASTS)
    assert found == (
        "the fields of TurnAssessed changed, and logs with version 2 exist: give TurnAssessed schema_version 3, "
        "register the step from 2 in domain/events.py, and run `python -m tests.test_format`"
    )


def test_a_version_without_its_step_or_its_schema_is_refused() -> None:
    """And passes with both."""
    schemas = {**checked_in(), "TurnAssessed.v3.json": schema_of(SurerTurnAssessed)}
    steps: dict[tuple[str, int], Upcast] = {**UPCASTS, (TurnAssessed.kind, NOW): Counted()}
    assert problems(LATER, schemas, steps) == []
    assert problems(LATER, schemas, UPCASTS) == [
        "TurnAssessed has no step from version 2 to 3; register it in domain/events.py"
    ]
    assert problems(LATER, checked_in(), steps) == [
        "TurnAssessed.v3.json is not there; run `python -m tests.test_format`, which writes it, and check it in"
    ]
    del schemas["TurnAssessed.v1.json"]
    assert problems(LATER, schemas, steps) == [
        "TurnAssessed.v1.json was removed; logs with version 1 exist: restore it"
    ]


def test_an_event_that_was_stored_is_never_removed() -> None:
    """Its schema stays, and so its absence is seen."""
    fewer = {kind: event for kind, event in EVENTS.items() if kind != "UserLeft"}
    assert problems(fewer, checked_in(), UPCASTS) == [
        "UserLeft.v1.json is of no event; an event that was stored is never removed"
    ]


if __name__ == "__main__":
    print(*(write_missing(SCHEMAS) or ["nothing is missing"]), sep="\n")
    if left := problems(EVENTS, checked_in(), UPCASTS):
        sys.exit("\n".join(left))
