"""The ids of the commands that follow from a turn."""

import json
import uuid

_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/lastresort/claude")


def command_id(*parts: object) -> str:
    """Return the id of a command that follows from `parts`, so that it takes effect once however often it is sent."""
    named = json.dumps([str(part) for part in parts], ensure_ascii=False, separators=(",", ":"))
    return uuid.uuid5(_IDS, named).hex
