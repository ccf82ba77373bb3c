"""The ids of the commands that follow from a turn."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from lastresort.application.outcomes import CommandIdReused

_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/lastresort/claude")


def command_id(*parts: object) -> str:
    """Return the id of a command that follows from `parts`, so that it takes effect once however often it is sent."""
    named = json.dumps([str(part) for part in parts], ensure_ascii=False, separators=(",", ":"))
    return uuid.uuid5(_IDS, named).hex


@contextmanager
def named_as_sent(sent_as: str) -> Iterator[None]:
    """Say of a command whose id follows from `sent_as`, and was another's already, what the caller sent.

    Raises:
        CommandIdReused: in place of one that names the id that follows.
    """
    try:
        yield
    except CommandIdReused as error:
        raise CommandIdReused(f"command id {sent_as} was used for other words, or another place") from error
