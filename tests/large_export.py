"""An export of chats of any size, in the form of conversations.json: python -m tests.large_export FILE MEGABYTES"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

WORDS = ["river", "lake", "stone", "garden", "please", "why", "blue", "quickly", "answer", "über", "日本"]


def conversation(number: int, random: Random) -> dict[str, Any]:
    """Return a conversation of 4 to 40 messages of some 100, 800 or 4,000 characters."""
    start, messages = 1_700_000_000 + 100 * number, random.randint(4, 40)
    ids = [f"{number}-{place}" for place in range(messages)]
    mapping: dict[str, Any] = {f"r{number}": {"id": f"r{number}", "message": None, "parent": None, "children": ids[:1]}}
    for place, id in enumerate(ids):
        message = {
            "id": id,
            "author": {"role": "assistant" if place % 2 else "user"},
            "create_time": start + place,
            "content": {
                "content_type": "text",
                "parts": [" ".join(random.choices(WORDS, k=random.choice([16, 133, 666])))],
            },
            "metadata": {"model_slug": "some-model"} if place % 2 else {},
        }
        parent = ids[place - 1] if place else f"r{number}"
        mapping[id] = {"id": id, "message": message, "parent": parent, "children": ids[place + 1 : place + 2]}
    return {"id": f"c{number}", "title": f"t{number}", "create_time": start, "update_time": start, "mapping": mapping}


def export(size: int) -> Iterator[str]:
    """Yield an export of at least so many bytes, piece by piece."""
    random, written, number = Random(1), 0, 0
    yield "["
    while written < size:
        text = json.dumps(conversation(number, random), ensure_ascii=False)
        yield ("," if number else "") + text
        written += len(text.encode())
        number += 1
    yield "]"


def write(path: Path, size: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(export(size))


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(float(sys.argv[2]) * 1_000_000))
