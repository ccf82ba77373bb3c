"""What runs in the processes that are killed, stopped and starved. Each says what it was told only once it was told."""

import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from lastresort.adapters import StoreError, open_conversations, recorders
from lastresort.domain import Conversations

from .acts import Act, carry_out, draw
from .vfs import Traced, trace_os
from .zygote import Link

BRANCHES = ["one", "two", "three"]


def write(link: Link, url: str, seed: int, branches: list[str], name: str) -> None:
    """Write for ever: say each act before it is carried out, and what came of it after."""
    random = Random(seed)
    chats = open_conversations(url)
    for number in count(1):
        try:
            branch = random.choice(branches)
            act = draw(random, chats.state(branch), branch, f"{name}-{number}")
            link.say({"sent": act})
            link.say({"told": carry_out(chats, act)})
        except StoreError as error:
            link.say({"error": str(error), "after": time.monotonic()})


def write_traced(link: Link, url: str, trace: str, seed: int, level: str, threads: int, acts: int) -> None:
    """Write in several threads, from the first file on, with a restart half-way; leave the trace of the disk."""
    steps: list[tuple[Any, ...]] = []

    def note(*done: Any) -> None:
        steps.append(done)

    Traced(note)
    trace_os(note, Path(trace).parent)
    if level != "FULL":
        _lessen(level)
    for life in ("first", "second"):
        chats = open_conversations(url)
        for branch in BRANCHES:
            act = Act(f"start-{branch}", branch, "start", {"conversation": branch})
            note("told", carry_out(chats, act))  # in the second life it is known
        with ThreadPoolExecutor(threads) as pool:
            done = [
                pool.submit(_act, chats, Random(seed + thread), f"{life}-{thread}", acts, note)
                for thread in range(threads)
            ]
        for one in done:
            one.result()
        chats.close()
    Path(trace).write_bytes(pickle.dumps(steps))
    link.say(len(steps))


def _act(chats: Conversations, random: Random, name: str, acts: int, note: Callable[..., None]) -> None:
    for number in range(acts):
        branch = random.choice(BRANCHES)
        act = draw(random, chats.state(branch), branch, f"{name}-{number}")
        note("told", carry_out(chats, act))


def _lessen(level: str) -> None:
    create = recorders._Pool._create_connection

    def created(pool: Any) -> Any:
        connection = create(pool)
        connection._sqlite_conn.execute(f"PRAGMA synchronous={level}")
        return connection

    recorders._Pool._create_connection = created
