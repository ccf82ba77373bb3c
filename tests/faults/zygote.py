"""Processes that cost a fork each: a server that has imported everything forks the workers, and they talk by packets.

A worker is a function of this folder that takes a `Link` first. It is reaped only when asked, so its number is never
another process's when it is killed.
"""

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_LARGEST = 1 << 20
_PATIENCE = 60  # seconds without a word from a worker that owes one: then the test fails, and says so


class Link:
    """One end of a connection that keeps packets apart: what was said before a kill arrives whole, or not at all."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    def say(self, said: Any) -> None:
        self.end.send(json.dumps(said).encode())

    def hear(self, patience: float | None = None) -> Any:
        """Return what the other end said next, None at its end.

        Raises:
            TimeoutError: it said nothing for so many seconds.
        """
        self.end.settimeout(patience)
        try:
            heard = self.end.recv(_LARGEST)
        except ConnectionResetError:
            return None
        return json.loads(heard) if heard else None


class Worker:
    """A process that was forked from the zygote."""

    def __init__(self, zygote: "Zygote", pid: int, link: Link) -> None:
        self.zygote, self.pid, self.link = zygote, pid, link

    def say(self, said: Any) -> None:
        self.link.say(said)

    def hear(self) -> Any:
        """Return what the worker said next.

        Raises:
            AssertionError: it failed, or ended without a word.
        """
        heard = self.link.hear(_PATIENCE)
        assert heard is not None, f"worker {self.pid} ended without a word"
        return _sound(heard)

    def has_spoken(self) -> bool:
        """Whether the worker has said something that nobody heard yet, or has ended."""
        return bool(select.select([self.link.end], [], [], 0)[0])

    def rest(self) -> Iterator[Any]:
        """Yield what the worker still says before it exits."""
        while (heard := self.link.hear(_PATIENCE)) is not None:
            yield _sound(heard)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def reap(self) -> int:
        """Wait for the end of the process and return its status, as of `os.waitstatus_to_exitcode`."""
        self.link.end.close()
        return self.zygote.ask("reap", self.pid)


def _sound(heard: Any) -> Any:
    assert not (isinstance(heard, dict) and "failed" in heard), heard["failed"]
    return heard


class Zygote:
    """The server that forks workers."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: value for name, value in os.environ.items() if name != "LASTRESORT_MASTER_KEY"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.faults.zygote import serve; serve()", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**environment, "PYTHONPATH": str(ROOT)},
        )
        theirs.close()

    def spawn(self, function: Callable[..., None], *arguments: Any) -> Worker:
        """Fork a process that calls `function` with a link and JSON-able `arguments`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        name = f"{function.__module__}:{function.__name__}"
        pid = self.ask("fork", name, *arguments, passing=[theirs.fileno()])
        theirs.close()
        return Worker(self, pid, Link(ours))

    def ask(self, *request: Any, passing: Sequence[int] = ()) -> int:
        """Have the server do something that is answered by a number."""
        socket.send_fds(self._control, [json.dumps(request).encode()], passing)
        return int(json.loads(self._control.recv(_LARGEST)))

    def close(self) -> None:
        self._control.close()
        self._process.wait(_PATIENCE)


def kill_all(workers: Sequence[Worker]) -> None:
    """Kill workers that may be stopped or dead, and reap them."""
    for worker in workers:
        with suppress(ProcessLookupError):
            worker.send_signal(signal.SIGKILL)
        worker.reap()


def first_to_speak(workers: Sequence[Worker]) -> list[Worker]:
    """Wait until workers have something to say, or ended, and return those."""
    ready, _, _ = select.select([worker.link.end for worker in workers], [], [], _PATIENCE)
    assert ready, "no worker says anything"
    return [worker for worker in workers if worker.link.end in ready]


# --- In the server ---------------------------------------------------------------------------------------------------


def serve() -> None:
    """Fork and reap on request, until the tests end."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in (
        "tests.faults.writers",
        "lastresort.adapters.stores.postgres",
        "psycopg",
    ):  # all that a worker will need
        importlib.import_module(module)
    while True:
        packet, passed, _, _ = socket.recv_fds(control, _LARGEST, 1)
        if not packet:
            return
        what, *arguments = json.loads(packet)
        if what == "reap":
            answer = os.waitstatus_to_exitcode(os.waitpid(arguments[0], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                control.close()
                _work(Link(socket.socket(fileno=passed[0])), *arguments)
            os.close(passed[0])
        control.send(str(answer).encode())


def _work(link: Link, name: str, *arguments: Any) -> None:
    """Be the worker. Never returns: what the server holds is not the worker's to clean up."""
    module, _, function = name.partition(":")
    status = 1
    try:
        getattr(importlib.import_module(module), function)(link, *arguments)
        status = 0
    except BaseException:
        with suppress(OSError):
            link.say({"failed": traceback.format_exc()[-20_000:]})
    finally:
        os._exit(status)
