"""What the import of a large file of chats takes: python -m bench.chat_files [--megabytes 1000] [--form FORM]

A file of each form is written, and imported by `lastresort import-chats` into a new SQLite store, in a process of its
own. What is told of that is what the system says of the process: time, processor time, and the most memory it had.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

WORDS = ["river", "lake", "stone", "garden", "please", "why", "blue", "quickly", "answer", "über", "日本"]
START = 1_700_000_000

Chat = dict[str, Any]


class Form(NamedTuple):
    """How a file of some form is written.

    Attributes:
        chat: makes a conversation of its number and of what was said, by user and model in turn.
        lines: whether each conversation stands on a line of its own, and not in an array.
    """

    chat: Callable[[int, list[str]], Chat]
    lines: bool


class Taken(NamedTuple):
    """What an import took."""

    conversations: int
    turns: int
    seconds: float
    processor: float
    mebibytes: float


def _of_chatgpt(number: int, said: list[str]) -> Chat:
    ids = [f"{number}-{place}" for place in range(len(said))]
    root = f"r{number}"
    mapping: Chat = {root: {"id": root, "message": None, "parent": None, "children": ids[:1]}}
    for place, (id, text) in enumerate(zip(ids, said, strict=True)):
        message = {
            "id": id,
            "author": {"role": "assistant" if place % 2 else "user"},
            "create_time": START + 100 * number + place,
            "content": {"content_type": "text", "parts": [text]},
            "metadata": {"model_slug": "some-model"} if place % 2 else {},
        }
        parent = ids[place - 1] if place else root
        mapping[id] = {"id": id, "message": message, "parent": parent, "children": ids[place + 1 : place + 2]}
    return {"id": f"c{number}", "title": f"t{number}", "create_time": START + 100 * number, "mapping": mapping}


def _of_claude(number: int, said: list[str]) -> Chat:
    messages: list[Chat] = [
        {
            "uuid": f"{number}-{place}",
            "parent_message_uuid": f"{number}-{place - 1}" if place else "00000000-0000-4000-8000-000000000000",
            "sender": "assistant" if place % 2 else "human",
            "created_at": START + 100 * number + place,
            "text": text,
            "content": [],
        }
        for place, text in enumerate(said)
    ]
    return {"uuid": f"c{number}", "name": f"t{number}", "account": {"uuid": "a"}, "chat_messages": messages}


def _of_messages(number: int, said: list[str]) -> Chat:
    roles = ("user", "assistant")
    return {"id": number, "messages": [{"role": roles[place % 2], "content": text} for place, text in enumerate(said)]}


FORMS = {
    "chatgpt": Form(_of_chatgpt, lines=False),
    "claude-ai": Form(_of_claude, lines=False),
    "messages": Form(_of_messages, lines=True),
}


def pieces(form: Form, size: int) -> Iterator[str]:
    """Yield a file of at least so many bytes, piece by piece: conversations of 4 to 40 messages, of some 100, 800 or
    4,000 characters each."""
    random, written, number = Random(1), 0, 0
    yield "" if form.lines else "["
    while written < size:
        said = [" ".join(random.choices(WORDS, k=random.choice([16, 133, 666]))) for _ in range(random.randint(4, 40))]
        text = json.dumps(form.chat(number, said), ensure_ascii=False) + "\n" * form.lines
        yield ("," if number and not form.lines else "") + text
        written += len(text.encode())
        number += 1
    yield "" if form.lines else "]"


def write(path: Path, form: str, size: int) -> None:
    """Write a file of a form, of at least so many bytes."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(pieces(FORMS[form], size))


def taken(path: Path, store: Path) -> Taken:
    """Import a file into a new store, in a process of its own."""
    command = [sys.executable, "-m", "lastresort", "import-chats", str(path), "--store", f"sqlite:///{store}", "--json"]
    environment = {"LASTRESORT_MASTER_KEY": b64encode(os.urandom(32)).decode(), **os.environ}
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    assert process.returncode == 0, path
    (report,) = json.loads(told)
    turns = report["user_turns"] + report["answers"]
    return Taken(report["conversations"], turns, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def main() -> None:
    """Write a file of each form, import it, and print what that took."""
    parser = argparse.ArgumentParser(prog="python -m bench.chat_files", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=1_000, help="of each file (default: %(default)s)")
    parser.add_argument("--form", action="append", choices=FORMS, help="this form only; may be repeated")
    parser.add_argument("--folder", type=Path, help="for files and stores (default: the temporary folder)")
    asked = parser.parse_args()
    print("form           MB conversations     turns  seconds processor MiB at most")
    for form in asked.form or FORMS:
        with TemporaryDirectory(dir=asked.folder) as folder:
            path = Path(folder) / "chats.json"
            write(path, form, int(asked.megabytes * 1_000_000))
            megabytes = path.stat().st_size / 1e6
            one = taken(path, Path(folder) / "chats.db")
        print(
            f"{form:10} {megabytes:6,.0f} {one.conversations:13,} {one.turns:9,} {one.seconds:8,.0f} "
            f"{one.processor:9,.0f} {one.mebibytes:11,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
