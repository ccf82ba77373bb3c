"""The exported union of events: pydantic reads none as another, though several kinds have the same fields."""

from typing import Any

import pytest
from hypothesis import given
from pydantic import BaseModel, TypeAdapter, ValidationError

from lastresort import EVENTS, Event
from lastresort.domain.canonical import canonical_event

from .vocabulary import any_event

ADAPTER: TypeAdapter[Any] = TypeAdapter(Event)
BY = {"kind": "user", "id": "u"}


class Holder(BaseModel):
    """A model of an application's own."""

    event: Event


@given(any_event)
def test_an_event_is_read_as_what_it_was(event: Event) -> None:
    """From Python, from JSON, and within a model; an event that is one already is left as it is."""
    assert ADAPTER.validate_python(event) is event
    assert ADAPTER.validate_python(ADAPTER.dump_python(event)) == event
    read = ADAPTER.validate_json(ADAPTER.dump_json(event))
    assert (type(read), read) == (type(event), event)
    assert Holder.model_validate_json(Holder(event=event).model_dump_json()).event == event
    assert ADAPTER.dump_python(event)["kind"] == event.kind


@pytest.mark.parametrize(
    "fields",
    [
        {"by": BY, "turn": 2},
        {"by": BY},
        {"kind": "Nothing", "by": BY},
        {"kind": 1, "by": BY},
        {"kind": [], "by": BY},
        7,
    ],
)
def test_fields_without_a_kind_are_no_event(fields: object) -> None:
    """A request and its confirmation have the same: which of them it is, nobody can tell."""
    with pytest.raises(ValidationError, match="an event names its kind, in `kind`"):
        ADAPTER.validate_python(fields)


def test_what_is_wrong_with_an_event_is_said_of_its_kind() -> None:
    """And of its field."""
    with pytest.raises(ValidationError) as raised:
        ADAPTER.validate_python({"kind": "EndRequested", "by": BY, "turn": 0})
    (problem,) = raised.value.errors()
    assert problem["loc"] == ("turn",)


@given(any_event)
def test_the_stored_form_has_no_kind(event: Event) -> None:
    """It stands in the envelope."""
    assert b'"kind":"' + event.kind.encode() not in canonical_event(event)
    assert "kind" not in event.model_dump()
    assert EVENTS[event.kind] is type(event)
