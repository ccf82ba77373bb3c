"""Writers that are to be killed, and what they said until then."""

import signal
import time
from random import Random
from typing import Any

from .acts import Act, Answer
from .zygote import Worker


class Writer:
    """A writer with a day to live, and what it said until then."""

    def __init__(self, worker: Worker, random: Random) -> None:
        self.worker = worker
        self.acts: dict[str, Act] = {}
        self.told: list[Answer] = []
        self.errors = 0
        self.day = random.randrange(8)  # it is killed when it was told so much, and a little later
        self.later = random.uniform(0, 0.03 if self.day == 0 else 0.004)

    def hear(self, said: dict[str, Any]) -> None:
        if "sent" in said:
            act = Act(*said["sent"])
            self.acts[act.id] = act
        elif "told" in said:
            self.told.append(Answer(*said["told"]))
        else:
            self.errors += 1

    def kill(self) -> None:
        until = time.monotonic() + self.later
        while time.monotonic() < until:
            pass
        self.worker.send_signal(signal.SIGKILL)
        for said in self.worker.rest():
            self.hear(said)
        assert self.worker.reap() == -signal.SIGKILL

    @property
    def unanswered(self) -> list[Act]:
        answered = {one.id for one in self.told}
        return [act for act in self.acts.values() if act.id not in answered]
