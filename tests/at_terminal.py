"""Somebody at a terminal: a pseudo-terminal whose screen is what people see, drawn by an emulator of one."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import psutil
import pyte
from wcwidth import wcwidth

LASTRESORT = Path(sys.executable).with_name("lastresort")
PATIENCE = 120  # seconds, until something that was to be shown is missing


class Screen(pyte.Screen):
    """A screen that answers, as terminals do, where its cursor stands."""

    answer: Callable[[str], None] = staticmethod(lambda data: None)

    def write_process_input(self, data: str) -> None:
        self.answer(data)

    @property
    def display(self) -> list[str]:
        """What stands in the rows. The emulator's own looks at each cell, also where nothing was ever written."""
        return [self._drawn(row) if (row := self.buffer.get(y)) else " " * self.columns for y in range(self.lines)]

    def _drawn(self, row: Mapping[int, pyte.screens.Char]) -> str:
        cells, x, end = [], 0, max(row) + 1
        while x < end:
            cells.append(row[x].data)
            x += 2 if wcwidth(cells[-1][0]) == 2 else 1  # the second cell of a wide character holds nothing
        return "".join(cells) + " " * (self.columns - x)


class Typist:
    """Types, and waits for what is to be seen. The screen is so high that nothing scrolls away, unless one is given."""

    def __init__(self, terminal: int, process: subprocess.Popen[bytes], columns: int, rows: int) -> None:
        self.terminal = terminal
        self.process = process
        self.screen = Screen(columns, rows)
        self.screen.answer = self.type
        self._stream = pyte.ByteStream(self.screen)

    def type(self, text: str) -> None:
        with suppress(OSError):  # nobody is there any more
            os.write(self.terminal, text.encode())

    def say(self, line: str) -> None:
        """Wait for a prompt, type a line, see it there, and press Enter."""
        self.wait_until(self.is_asked)
        prompt = self.rows[-1]
        self.type(line)
        self.wait_until(lambda: self.rows[-1] == f"{prompt} {line}")
        self.type("\r")
        self.wait_until(lambda: self.rows[-1] != f"{prompt} {line}")

    @property
    def rows(self) -> list[str]:
        """What stands on the screen, without blanks at the end of rows and blank rows at the end."""
        return "\n".join(row.rstrip() for row in self.screen.display).rstrip().split("\n")

    @property
    def shown(self) -> str:
        return "\n".join(self.rows)

    @property
    def unwrapped(self) -> str:
        """All that is to be seen as one line, so that one that was wrapped is whole in it."""
        return "".join(self.screen.display)

    def is_asked(self) -> bool:
        """Whether the last row is a prompt with nothing after it."""
        return self.rows[-1].startswith("you") and self.rows[-1].endswith(">")

    def wait_for(self, text: str) -> None:
        """Wait until a text is to be seen."""
        self.wait_until(lambda: text in self.shown)

    def interrupt(self) -> None:
        """Press Ctrl-C at what reads. Between what it writes and what it then reads, Python's own reader hears none."""
        process = psutil.Process(self.process.pid)
        self.wait_until(lambda: process.status() == psutil.STATUS_SLEEPING)
        self.type("\x03")

    def wait_until(self, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not there():
            assert time.monotonic() < deadline, self.shown
            assert self._read() or there(), f"it has ended:\n{self.shown}"

    def _read(self) -> bool:
        """Take in what is written, if anything is; whether the other side is still there.

        What comes in pieces is taken in as a whole: each look at the screen goes over all of its cells.
        """
        wait = 0.2
        while select.select([self.terminal], [], [], wait)[0]:
            try:
                data = os.read(self.terminal, 65536)
            except OSError:  # how Linux says that the other side is closed
                return False
            self._stream.feed(data)
            if not data:
                return False
            wait = 0.01
        return True

    def resize(self, columns: int, rows: int) -> None:
        """Pull at the corner of the window."""
        self.screen.resize(rows, columns)
        set_size(self.terminal, columns, rows)
        self.process.send_signal(signal.SIGWINCH)

    def left(self) -> str:
        """Wait until the program has ended well, and return what is to be seen."""
        while self._read():
            pass
        assert self.process.wait(PATIENCE) == 0, self.shown
        return self.shown


def set_size(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def at_a_terminal(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    columns: int = 120,
    rows: int = 200,
    stdout: BinaryIO | None = None,
) -> Iterator[Typist]:
    """Run `lastresort` in a pseudo-terminal, its standard output there as well, unless it goes elsewhere."""
    ours, theirs = pty.openpty()
    set_size(theirs, columns, rows)
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [LASTRESORT, *arguments], stdin=theirs, stdout=stdout or theirs, stderr=theirs, start_new_session=True,
        close_fds=True, preexec_fn=_take_the_terminal, env={**kept, "TERM": "xterm-256color", **(env or {})},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Typist(ours, process, columns, rows)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def heed_interrupts() -> None:
    """Let a process that is about to begin be interrupted: a child of a job in the background is born deaf to it."""
    for deaf in (signal.SIGINT, signal.SIGHUP):
        signal.signal(deaf, signal.SIG_DFL)


def _take_the_terminal() -> None:
    """Make the terminal the one that Ctrl-C is typed at, and heed it."""
    heed_interrupts()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
