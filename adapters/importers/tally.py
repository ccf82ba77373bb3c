"""What a run of commands came to: how many were recorded, how long they took, how often others wrote first."""

from dataclasses import dataclass

from lastresort.domain.commands import TakeUserTurn
from lastresort.domain.rules import ENDED_IS_FINAL


@dataclass(slots=True)
class Tally:
    """An observer that adds up. It is for one thread.

    Attributes:
        recorded, refusals: how many commands were recorded, and refused.
        late: how many turns of users came after an ending, and were handed back. No log tells of them.
        contentions: how often others wrote first.
        seconds: how long the commands took together, those that were refused too.
        slowest: how long the slowest of them took.
    """

    recorded: int = 0
    refusals: int = 0
    late: int = 0
    contentions: int = 0
    seconds: float = 0.0
    slowest: float = 0.0

    def committed(self, command: str, events: tuple[str, ...], seconds: float) -> None:
        """See `application.ports.Observer`."""
        self.recorded += 1
        self._took(seconds)

    def refused(self, command: str, rules: tuple[str, ...], seconds: float) -> None:
        """See `application.ports.Observer`."""
        if command == TakeUserTurn.__name__ and ENDED_IS_FINAL.id in rules:
            self.late += 1
        else:
            self.refusals += 1
        self._took(seconds)

    def contended(self, command: str, conflicts: int, seconds: float) -> None:
        """See `application.ports.Observer`."""
        self.contentions += 1

    def _took(self, seconds: float) -> None:
        self.seconds += seconds
        self.slowest = max(self.slowest, seconds)

    def __str__(self) -> str:
        late = f"; handed back, as they came after an ending: {self.late:,}" if self.late else ""
        first = f"; others wrote first: {self.contentions:,}" if self.contentions else ""
        return (
            f"{self.recorded:,} commands recorded and {self.refusals:,} refused in {self.seconds:,.1f} s, "
            f"the slowest in {self.slowest * 1_000:,.1f} ms{late}{first}"
        )
