"""Who answered: the model that an answer names, whichever was asked. A server that falls back, a router and a proxy may
each answer by another one, and what it states is its own."""

from pydantic import TypeAdapter, ValidationError

from lastresort.domain.models import same_model
from lastresort.domain.values import Actor, ActorKind, Id

UNNAMED = "unnamed-model"
"""Who answered where an answer names nobody, or by no name: nobody vouches that it was the conversation's model."""

_ID = TypeAdapter(Id)


def name_of(asked: str, answered: str | None) -> str:
    """Return the name of the model that answered, as it was `answered`; that which was `asked`, if a driver knows of no
    other."""
    if answered is None:
        return asked
    try:
        return _ID.validate_python(answered)
    except ValidationError:
        return UNNAMED


def speaker(asked: str, answered: str | None) -> Actor:
    """Return the actor that answered. A snapshot's date and a platform's dress make no other model of it."""
    name = name_of(asked, answered)
    return Actor(kind=ActorKind.MODEL, id=asked if same_model(name, asked) else name)
