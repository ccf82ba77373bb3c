"""Kills the sequencer at each step of a checkpoint, and looks whether all that was ever signed is one history.

`python -m tests.killed_sequencer URL FOLDER KILLS` prints how many heads were signed, and how many are of one tree. It
forks, so that a life of a sequencer takes some milliseconds; nothing is open meanwhile in the process that forks.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lastresort import Chat, open_conversations
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.merkle import root
from lastresort.adapters.tlog.notes import COSIGNED_ED25519, Signer
from lastresort.adapters.tlog.policy import TrustPolicy
from lastresort.adapters.transparency.key_files import LogKey, make_log_key, read_note
from lastresort.adapters.transparency.sequencer import Sequencer
from lastresort.adapters.transparency.tables import Identity, TransparencyTables

STEPS = ("second path", "pending", "sign", "signed", "witness", "publish", "some time")


def main(url: str, folder: Path, kills: int) -> None:
    chance = random.Random(19)
    key = make_log_key(folder / "key", "log.example/killed")
    dead = Signer.generate("w.example/dead", COSIGNED_ED25519).verifier  # asked, and never there
    policy = TrustPolicy.parse(f"witness w {dead} http://127.0.0.1:9/\nquorum none")
    with_store(url, lambda tables: tables.begin(Identity(key.origin)))
    heads = set[Checkpoint]()
    for number in range(kills):
        _append(url, number)
        step = STEPS[number % len(STEPS)]
        pid = os.fork()
        if pid == 0:
            _live(url, key, policy, step, chance.random() * 0.02)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) or step == "some time", f"it lived through {step}: {status}"
        heads |= _heads(folder)

    def look(tables: TransparencyTables) -> None:
        sequencer = Sequencer(tables, key, TrustPolicy())
        sequencer.sequence()
        assert sequencer.checkpoint().enough
        node = tables.nodes()
        print(len(heads), sum(root(node, one.size) == one.root for one in heads))

    with_store(url, look)


def with_store(url: str, act: Callable[[TransparencyTables], None]) -> None:
    with open_conversations(url) as chats:
        assert isinstance(chats.store, SQLStore)
        act(TransparencyTables(chats.store))


def _append(url: str, number: int) -> None:
    with open_conversations(url) as chats:
        chat: Chat = chats.start(model="m", conversation=f"c{number}")
        for turn in range(number % 9):
            chat.user_turn(f"{turn}")


def _live(url: str, key: LogKey, policy: TrustPolicy, step: str, seconds: float) -> None:
    """Be a sequencer until the step comes."""

    def die(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    if step == "some time":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0.001 + seconds)
    with open_conversations(url) as chats:
        assert isinstance(chats.store, SQLStore)
        sequencer = Sequencer(TransparencyTables(chats.store), key, policy, step=die)
        while True:
            sequencer.sequence()
            sequencer.checkpoint()
            time.sleep(0.001)


def _heads(folder: Path) -> set[Checkpoint]:
    notes = (read_note(folder / f"key.{which}") for which in ("signed", "published"))
    return {Checkpoint.parse(note.text) for note in notes if note is not None}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
