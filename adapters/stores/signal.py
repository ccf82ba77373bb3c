"""Waiting for what others write, without asking for it all the time."""

from collections.abc import Callable
from threading import Condition
from time import monotonic


class Commits:
    """Wakes those who wait when something may have been committed. Threads share it."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._count = 0
        self._waiting = 0

    def set(self) -> None:
        """Tell those who wait that there may be something new. Costs next to nothing where nobody waits."""
        if not self._waiting:
            return
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait_for(self, is_there: Callable[[], bool], timeout: float, every: float | None = None) -> bool:
        """Wait at most `timeout` seconds until `is_there` holds, and return whether it does.

        Args:
            is_there: is asked at once, and after each `set`.
            timeout: in seconds; with 0 or less nobody waits.
            every: how many seconds apart it is asked too, where others may write unheard.
        """
        until = monotonic() + timeout
        with self._condition:
            self._waiting += 1  # before the first look: a commit after that look sees it
        try:
            while True:
                seen = self._count
                if is_there():
                    return True
                left = until - monotonic()
                if left <= 0:
                    return False
                self._wait(seen, left if every is None else min(left, every))
        finally:
            with self._condition:
                self._waiting -= 1

    def _wait(self, seen: int, timeout: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, timeout)
