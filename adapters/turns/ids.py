"""The ids of the commands that follow from a turn."""

from collections.abc import Iterator
from contextlib import contextmanager

from lastresort.application.arguments import DerivedId, derived_id, described_id
from lastresort.application.outcomes import CommandIdReused


def command_id(*parts: object) -> DerivedId:
    """Return the id of a command that follows from `parts`, so that it takes effect once however often it is sent."""
    return derived_id("turn", *parts)


@contextmanager
def named_as_sent(sent_as: str) -> Iterator[None]:
    """Say of a command whose id follows from `sent_as`, and was another's already, what the caller sent.

    Raises:
        CommandIdReused: in place of one that names the id that follows.
    """
    try:
        yield
    except CommandIdReused as error:
        told = f"command_id: one {described_id(sent_as)} was used for other words, or another place"
        raise CommandIdReused(told) from error
