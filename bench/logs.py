"""Exported logs of any length: the golden logs, which hold every kind of event, told again and again by other people.

Many conversations go on at once, and each has names, times, digests and tokens of its own, as in a log that grew.
"""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha256
from itertools import count, groupby
from pathlib import Path
from typing import Any

from lastresort import RecordedEvent
from lastresort.adapters.importers.log_file import read_log
from lastresort.domain.canonical import canonical

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
ABREAST = 200
"""Conversations that go on at the same time."""

Line = dict[str, Any]


def write_log(path: Path, lines: int, abreast: int = ABREAST) -> int:
    """Write a lawful log of at least so many lines, and return how many it has: each conversation comes to its end."""
    chance = random.Random(lines)
    abreast = min(abreast, lines // 100 + 1)
    tales = _tales()
    written = 0
    numbers = count()
    with path.open("w", encoding="ascii") as file:
        going_on: list[Iterator[list[Line]]] = []
        while True:
            while written < lines and len(going_on) < abreast:
                number = next(numbers)
                going_on.append(_told_again(tales[number % len(tales)], number, chance))
            if not going_on:
                return written
            place = chance.randrange(len(going_on))
            append = next(going_on[place], None)
            if append is None:
                going_on[place] = going_on[-1]
                going_on.pop()
                continue
            at = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=137 * written)).isoformat(
                timespec="microseconds"
            )
            for line in append:
                written += 1
                file.write(_text({**line, "position": written, "recorded_at": at}))


def _tales() -> list[list[list[Line]]]:
    """Return the appends of each golden log."""
    logs = [
        [json.loads(canonical(entry)) for _, entry in read_log(path) if isinstance(entry, RecordedEvent)]
        for path in sorted(GOLDEN.glob("*.jsonl"))
    ]
    return [[list(append) for _, append in groupby(log, key=lambda line: line["command_id"])] for log in logs]


def _told_again(tale: list[list[Line]], number: int, chance: random.Random) -> Iterator[list[Line]]:
    """Yield the appends of a tale, in which other names stand for branches, commands and accounts."""
    names: dict[str, str] = {}
    for append in tale:
        for line in append:
            branch = line["branch"]
            names.setdefault(branch, md5(f"{number}/{branch}".encode(), usedforsecurity=False).hexdigest())
        yield [_renamed(line, number, names, chance) for line in append]


def _renamed(line: Line, number: int, names: dict[str, str], chance: random.Random) -> Line:
    event = dict(line["event"])
    command = md5(f"{number}:{line['command_id']}".encode(), usedforsecurity=False).hexdigest()
    if event["by"]["kind"] == "user":
        event["by"] = {"kind": "user", "id": f"{event['by']['id']}-{number}"}
    for field in ("conversation", "parent", "child"):
        if field in event:
            name = event[field]
            event[field] = names.setdefault(name, md5(f"{number}/{name}".encode(), usedforsecurity=False).hexdigest())
    if event.get("account") is not None:
        event["account"] = f"{event['account']}-{number}"
    if event.get("content") is not None:
        event["content"] = _digest(event["content"], number)
    if "contents" in event:
        event["contents"] = [_digest(digest, number) for digest in event["contents"]]
    if line["kind"] == "AssistantTurnTaken" and number % 3:
        event["usage"] = {"input_tokens": chance.randrange(20_000), "output_tokens": chance.randrange(2_000)}
    other = {"correlation_id": f"{number}-{line['correlation_id']}"} if "correlation_id" in line else {}
    return {**line, "branch": names[line["branch"]], "command_id": command, **other, "event": event}


def _digest(digest: str, number: int) -> str:
    return f"sha256:{sha256(f'{number}/{digest}'.encode()).hexdigest()}"


def _text(line: Line) -> str:
    """Return a line as an export writes it."""
    envelope = {name: value for name, value in line.items() if name != "event"}
    return f'{json.dumps(envelope)[:-1]}, "event": {json.dumps(line["event"], separators=(",", ":"))}}}\n'
