"""Clients that write to a store while its servers fail, send again what they know nothing of, and note all of it."""

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import Any

from lastresort import Conversations, RecordedEvent, StoreError
from lastresort.application.outcomes import UnknownBranch
from lastresort.application.reading import published
from lastresort.domain.events import BranchOpened, ConversationEnded

from ..faults.acts import MODEL, Act, Answer, carry_out, draw, open_at
from .history import Call, Entry, Reading

_MOST = 6  # branches that are written to
_PAUSE = 0.02  # seconds between two commands of a client
_AGAIN = 0.1  # seconds until one that failed is sent again
_LOOK = 0.5  # seconds between two looks of a reader
_PATIENCE = 180  # seconds in which nobody is answered, after which something else is wrong


class Notes:
    """What all clients were told. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls: list[Call] = []
        self.told: list[Answer] = []
        self.errors: dict[str, int] = {}
        self.answered = time.monotonic()  # when somebody was, for the last time
        self._branches: list[str] = []

    def note(self, call: Call, answer: Answer | None) -> None:
        with self._lock:
            self.calls.append(call)
            if answer is not None:
                self.answered = time.monotonic()
            if answer is not None and answer.what == "committed":
                self.told.append(answer)
                for branch, _, kind in answer.events:
                    if kind == ConversationEnded.kind and branch in self._branches:
                        self._branches.remove(branch)
                    elif kind in ("ConversationStarted", "BranchOpened"):
                        self._branches.append(branch)

    def failed(self, said: str) -> None:
        with self._lock:
            said = said.partition("(")[0][:80]
            self.errors[said] = self.errors.get(said, 0) + 1

    def branches(self) -> list[str]:
        """Return the branches that are written to: few, so that clients meet on them."""
        with self._lock:
            return self._branches[-_MOST:]

    def stall(self, since: float) -> float | None:
        """Return after how many seconds a command was acknowledged that was sent after a moment; None: none yet."""
        with self._lock:
            ended = [call.ended for call in self.calls[-2000:] if call.answer == "acknowledged" and call.began >= since]
        return min(ended) - since if ended else None


class Client(threading.Thread):
    """Writes until it is told to stop; then it sends what it has no answer to, until it has one."""

    def __init__(self, url: str, name: str, seed: str, notes: Notes, stop: threading.Event) -> None:
        super().__init__(name=name)
        self._url, self._random, self._notes, self._stopped = url, Random(seed), notes, stop
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            chats = self._opened()
            try:
                number = 0
                while not self._stopped.wait(_PAUSE):
                    number += 1
                    self._acts(chats, f"{self.name}-{number}")
            finally:
                chats.close()
        except BaseException as error:
            self.error = error

    def _opened(self) -> Conversations:
        while True:
            with suppress(StoreError):
                return open_at(self._url, snapshot_every=20)
            time.sleep(_AGAIN)

    def _acts(self, chats: Conversations, command: str) -> None:
        branches = self._notes.branches()
        try:
            if not branches or self._random.random() < 0.02:
                act = Act(command, command, "start", {"conversation": f"started-by-{command}"})
            else:
                branch = self._random.choice(branches)
                act = draw(self._random, chats.state(branch), branch, command)
        except (StoreError, UnknownBranch) as error:  # a branch that was lost: the checker says so
            self._notes.failed(str(error))
            time.sleep(_AGAIN)
            return
        while not sent(chats, act, self._notes):
            assert time.monotonic() - self._notes.answered < _PATIENCE, f"no answer to {act}: {self._notes.errors}"
            time.sleep(_AGAIN)


def sent(chats: Conversations, act: Act, notes: Notes) -> bool:
    """Send a command, note what became of it, and return whether it was answered."""
    began = time.monotonic()
    try:
        answer = carry_out(chats, act)
    except StoreError as error:
        notes.failed(str(error))
        unwritten = "nothing was written" in str(error)
        notes.note(Call(act.id, began, time.monotonic(), "unwritten" if unwritten else "unknown"), None)
        return False
    except UnknownBranch:
        answer = Answer(act.id, "refused", [], {})
    what = "acknowledged" if answer.what == "committed" else "refused"
    events = tuple((str(branch), int(version), str(kind)) for branch, version, kind in answer.events)
    notes.note(Call(act.id, began, time.monotonic(), what, events), answer)
    return True


class Reader(threading.Thread):
    """Follows the log as those do who publish it."""

    def __init__(self, url: str, stop: threading.Event) -> None:
        super().__init__(name="reader")
        self._url, self._stopped = url, stop
        self._read: list[RecordedEvent] = []

    def run(self) -> None:
        chats = None
        while not self._stopped.wait(_LOOK):
            with suppress(StoreError):
                chats = chats or open_at(self._url)
                for entry in published(chats.store, len(self._read)):
                    self._read.append(entry)
        if chats is not None:
            chats.close()

    def reading(self) -> Reading:
        return Reading(self.name, entries_of(self._read))


def entries_of(log: Iterable[RecordedEvent]) -> tuple[Entry, ...]:
    """Return a log as the checker takes it."""
    trees: dict[str, str] = {}
    entries = []
    for one in log:
        event: Any = one.event
        begins = one.kind == "ConversationStarted" or isinstance(event, BranchOpened)
        if begins:
            trees[one.branch] = trees[event.parent] if isinstance(event, BranchOpened) else one.branch
        entries.append(Entry(trees[one.branch], one.branch, one.version, one.kind, one.command_id, begins))
    return tuple(entries)


def start(url: str, name: str) -> None:
    """Make a store, and a first conversation in it."""
    chats = open_at(url)
    chats.start(model=MODEL, conversation=name)
    chats.close()
