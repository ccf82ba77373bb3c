"""What runs in the processes that are killed, stopped and starved. Each says what it was told only once it was told."""

import os
import pickle
import resource
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from lastresort import Conversations, ErasureCause, StoreError
from lastresort.adapters.databases.settings import LEVELS
from lastresort.application.ports import Place

from ..service_kit import done
from .acts import OPERATOR, Act, Answer, carry_out, draw, open_at, open_branches
from .vfs import Traced, trace_os
from .zygote import Link

BRANCHES = ["one", "two", "three"]
SNAPSHOT_EVERY = 5  # versions: the fewest at which a snapshot is not of every act, so that faults meet many of them


def write(link: Link, url: str, seed: int, branches: list[str], name: str) -> None:
    """Write for ever: say each act before it is carried out, and what came of it after."""
    random = Random(seed)
    chats = open_at(url, snapshot_every=SNAPSHOT_EVERY)
    for number in count(1):
        try:
            branch = random.choice(branches)
            act = draw(random, chats.state(branch), branch, f"{name}-{number}")
            link.say({"sent": act})
            link.say({"told": carry_out(chats, act)})
        except StoreError as error:
            link.say({"error": str(error)})
            time.sleep(0.02)  # as a client would


def write_traced(link: Link, url: str, trace: str, seed: int, level: str, threads: int, acts: int) -> None:
    """Write in several threads, from the first file on, with a restart half-way; leave the trace of the disk."""
    steps: list[tuple[Any, ...]] = []

    def note(*done: Any) -> None:
        steps.append(done)

    Traced(note)
    trace_os(note, Path(trace).parent)
    LEVELS["OFF"] = 0  # which the store knows no setting for: it is good for nothing but this
    for life in ("first", "second"):
        chats = open_at(f"{url}?synchronous={level}", snapshot_every=SNAPSHOT_EVERY)
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
    answers: list[Answer] = []
    for number in range(acts):
        branch = random.choice([*BRANCHES, *open_branches(answers, len(BRANCHES))][-len(BRANCHES) :])
        act = draw(random, chats.state(branch), branch, f"{name}-{number}")
        told = carry_out(chats, act)
        note("told", told)
        answers.append(told)
        if told.words:
            places = [Place(branch, version) for branch, version, _ in told.events]
            note("sealed", list(chats.store.contents(places).values()))


def serve_turns(link: Link, url: str, uid: int | None = None) -> None:
    """Say a user turn whenever asked, and report: the answer, or the error, and how many seconds it took.

    Args:
        link: where it is asked: a request is a command's id, `erase...` to erase the conversation; or `["refuse", what,
            part of a file's name, error]`; error 0 stops the process in the middle of it.
        url: the store.
        uid: whom to be, for one who is root otherwise and may do anything.
    """
    disk = None
    with suppress(LookupError):  # the caller that asks for a fault has looked whether there can be one
        disk = Traced()
    if uid is not None:
        os.setuid(uid)
    try:
        chats = open_at(url)
        chat = chats.chat("one")
    except StoreError as error:
        link.say({"error": str(error), "took": 0})
        return
    link.say("ready")
    while (asked := link.hear()) is not None:
        if isinstance(asked, list):
            assert disk is not None
            disk.refuse = _refusal(*asked[1:]) if asked[1:] else lambda what, path: 0
            link.say("armed")
            continue
        started = time.monotonic()
        try:
            outcome = done(_erased(chats, asked) if asked[:5] == "erase" else chat.user_turn("words", command_id=asked))
            answer: dict[str, Any] = {"version": outcome.version}
        except StoreError as error:
            answer = {"error": str(error)}
        link.say(answer | {"took": time.monotonic() - started})


def _erased(chats: Conversations, command_id: str) -> object:
    return chats.erase_conversation("one", by=OPERATOR, cause=ErasureCause.LEGAL, command_id=command_id)


def _refusal(what: str, part: str, error: int) -> Callable[[str, str], int]:
    """Return what refuses an operation on some file; error 0 stops the process there instead."""
    stopped: list[bool] = []

    def refuse(done: str, path: str) -> int:
        if done == what and part in path.rpartition("/")[2]:
            if error == 0 and not stopped:
                stopped.append(True)
                os.kill(os.getpid(), signal.SIGSTOP)
            return error
        return 0

    return refuse


def fill(link: Link, url: str, limit: int) -> None:
    """Write turns under a limit on the size of files until one fails; lift it, and send that one again."""
    chats = open_at(url)
    chat = chats.chat("one")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    for number in count(1):
        try:
            link.say({"version": done(chat.user_turn("words " * 200, command_id=str(number))).version})
        except StoreError as error:
            link.say({"error": str(error)})
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    link.say({"version": done(chat.user_turn("words " * 200, command_id=str(number))).version})
    chats.close()
