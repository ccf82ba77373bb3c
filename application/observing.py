"""What an observer is told of one command, and how long it took."""

from contextlib import suppress

from lastresort.domain.commands import Command
from lastresort.domain.decider import Refused

from .outcomes import Receipt
from .ports import Ports


class Stopwatch:
    """Measures from now on for an observer, if there is one. It belongs to one thread, and to one command."""

    __slots__ = ("_began", "_command", "_monotonic", "_observer")

    def __init__(self, ports: Ports, command: Command) -> None:
        self._observer, self._monotonic = ports.observer, ports.monotonic
        self._command = type(command).__name__
        self._began = 0.0 if self._observer is None else self._monotonic()

    def committed(self, outcome: Receipt) -> None:
        """Tell what was recorded; nothing if that is nothing."""
        if self._observer is not None and outcome.events:
            with suppress(Exception):
                kinds = tuple(recorded.kind for recorded in outcome.events)
                self._observer.committed(self._command, kinds, self._seconds())

    def refused(self, refused: Refused) -> None:
        """Tell under which rules it was refused."""
        if self._observer is not None:
            with suppress(Exception):
                self._observer.refused(self._command, tuple(refused.rules), self._seconds())

    def contended(self, conflicts: int) -> None:
        """Tell how often others wrote first."""
        if self._observer is not None:
            with suppress(Exception):
                self._observer.contended(self._command, conflicts, self._seconds())

    def _seconds(self) -> float:
        return self._monotonic() - self._began
