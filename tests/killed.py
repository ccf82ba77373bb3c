"""What is killed while it works: followers, retention, a witness. Each runs in a process that a zygote forks, which
takes milliseconds where a command that is started takes a second, so that many can be killed.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from lastresort import Conversations, open_conversations
from lastresort.adapters.followers import rebuild
from lastresort.adapters.tlog.notes import Signer, VerifierKey
from lastresort.adapters.transparency.witness import Witness
from lastresort.adapters.vault.master_key import VARIABLE

from .faults.zygote import Link, Worker, Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    if sys.platform != "linux":
        pytest.skip("needs Linux: sockets that keep packets apart")
    server = Zygote()
    yield server
    server.close()


@contextmanager
def killed_after(worker: Worker, seconds: float) -> Iterator[None]:
    """Kill a worker so many seconds after the block was entered, and wait for its end."""
    timer = Timer(seconds, worker.send_signal, [signal.SIGKILL])
    timer.start()
    yield
    timer.join()
    assert worker.reap() == -signal.SIGKILL


def follow(link: Link, url: str, master: str | None) -> None:
    """Keep the directory up until it is killed."""
    conversations = _opened(url, master)
    directory: Any = conversations.service.ports.directory
    link.say("following")
    directory.run(lambda: False)


def rebuild_again(link: Link, url: str, master: str | None, batch: int) -> None:
    """Make the directory again, so many events at a time, and again, until it is killed. It says so once it began."""
    rebuild._AT_ONCE = batch
    conversations = _opened(url, master)
    directory: Any = conversations.service.ports.directory
    heard: list[int] = []

    def tell(done: int, of: int) -> None:
        if not heard:
            link.say("rebuilding")
        heard.append(done)

    while True:
        rebuild.rebuild(directory, conversations.service.ports.new_id, tell)


def retain(link: Link, url: str, master: str | None) -> None:
    """Erase what is 30 days old, as the command does; say so at the end."""
    with _opened(url, master) as conversations:
        link.say(len(conversations.retain(timedelta(days=30)).erased))


def _opened(url: str, master: str | None) -> Conversations:
    if master is not None:
        os.environ[VARIABLE] = master
    return open_conversations(url, create=False)


def cosign(link: Link, state: str, signer: str, log: str, body: str) -> None:
    """Be a witness that is killed once it has kept what it was to answer, and before it answers."""
    witness = Witness(Path(state), [Signer.parse(signer)], [VerifierKey.parse(log)])
    answer = witness.add_checkpoint(body.encode())
    assert answer.status == 200, answer
    os.kill(os.getpid(), signal.SIGKILL)
