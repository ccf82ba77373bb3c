"""What a test knows of a value, and its declared type does not say."""

from typing import TypeVar

T = TypeVar("T")


def must_be(kind: type[T], value: object) -> T:
    """Return what must be of a kind: one event of many, the refusal among the answers."""
    assert isinstance(value, kind), value
    return value


def present(value: T | None) -> T:
    """Return what must be there."""
    assert value is not None
    return value
