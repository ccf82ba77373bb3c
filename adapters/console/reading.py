"""What somebody types: lines from a pipe, or, at a terminal, lines that can be edited, recalled and completed.

What was typed is recalled while the chat lasts, and no longer: words of people are kept in the store, sealed, and
nowhere else.
"""

import signal
import sys
import termios
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output

Read = Callable[[str, str], str | None]
"""Returns the next line, stripped, given a prompt and a draft to begin with; None at the end of the input."""


@contextmanager
def reading(commands: Iterable[str], tell: Callable[[str], None]) -> Iterator[Read]:
    """Give what reads lines: `commands` are those that can be completed, `tell` says something in between."""
    if not sys.stdin.isatty():
        yield _from_a_pipe()
        return
    before = signal.getsignal(signal.SIGINT)
    with _without_echo():
        try:
            yield _at_a_terminal(commands, tell)
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _without_echo() -> Iterator[None]:
    """Keep what is typed while an answer comes out of the answer: it stands in the next prompt."""
    shown = termios.tcgetattr(sys.stdin)
    hidden = [*shown]
    hidden[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, shown)


def _from_a_pipe() -> Read:
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # what is no text is said as something, and ends nothing

    def read(prompt: str, draft: str) -> str | None:
        line = sys.stdin.readline()
        return line.strip() if line else None

    return read


def _at_a_terminal(commands: Iterable[str], tell: Callable[[str], None]) -> Read:
    session: PromptSession[str] = PromptSession(
        history=InMemoryHistory(),
        completer=WordCompleter(list(commands), WORD=True),
        complete_while_typing=False,
        key_bindings=_keys(),
        erase_when_done=sys.stdout.isatty(),  # the line is shown again as the log has it
        output=create_output(sys.stdout if sys.stdout.isatty() else sys.stderr),
    )

    def read(prompt: str, draft: str) -> str | None:
        warned = False
        while True:
            try:
                return session.prompt(prompt, default=draft).strip()
            except EOFError:
                return None
            except KeyboardInterrupt:
                if warned:
                    return None
                tell("Ctrl-C once more, or Ctrl-D, leaves the chat")
                warned = True
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the next prompt: no record is cut in two by a key

    return read


def _keys() -> KeyBindings:
    """Ctrl-C clears the line, and on a line that is empty wants to leave."""
    keys = KeyBindings()

    @keys.add("c-c")
    @keys.add("<sigint>")
    def clear(event: KeyPressEvent) -> Any:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return keys
