"""Group commit: writers that come while another one commits share the next transaction.

A disk confirms a commit of fifty appends in the time of one. There is no thread of its own: the first to come
leads, commits for all that wait, and hands over to the next. So a lone writer pays two looks at a lock, and waits for
nobody.
"""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

from lastresort.adapters.databases.errors import StoreError, StoreLocked

Work = TypeVar("Work")
_TOGETHER = 256  # appends in a transaction, at most: bounds how long the first of them waits for the last
_WAITING = 4_096  # more than these are refused


class Job(Generic[Work]):
    """An append that is to be committed. What commits it sets `position`, or `error`."""

    __slots__ = ("error", "gate", "leads", "position", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.position = 0
        self.error: Exception | None = None
        self.leads = False
        self.gate: Lock | None = None  # opens when the job is done, or is to lead


class GroupCommit(Generic[Work]):
    """Calls `commit` with the jobs of all that wait, by one thread at a time.

    Args:
        commit: writes jobs in one transaction. It sets each job's position or error, or raises, for all of them.
        deadline: how many seconds a job waits for others, at most.
    """

    def __init__(self, commit: Callable[[Sequence[Job[Work]]], None], deadline: float) -> None:
        self._commit = commit
        self._deadline = deadline
        self._mutex = Lock()
        self._led = False
        self._waiting: deque[Job[Work]] = deque()

    @property
    def waiting(self) -> int:
        """How many jobs wait for the transaction under way."""
        return len(self._waiting)

    def write(self, work: Work) -> int:
        """Commit `work`, with that of others, and return its position.

        Raises:
            StoreError: other writes took too long.
            Exception: what `commit` set or raised.
        """
        job = Job(work)
        with self._mutex:
            follows = self._led
            if follows:
                if len(self._waiting) >= _WAITING:
                    raise StoreError(f"{_WAITING:,} appends are waiting already: the disk does not keep up; try again")
                job.gate = Lock()
                job.gate.acquire()
                self._waiting.append(job)
            else:
                self._led = True
        if not follows:
            self._lead([job])  # nobody waits where nobody led
        else:
            self._wait(job)
            if job.leads:
                self._lead(self._with_those_waiting(job))
        if job.error is not None:
            raise job.error
        return job.position

    def _wait(self, job: Job[Work]) -> None:
        """Wait until the job is done, or is to lead."""
        assert job.gate is not None
        if job.gate.acquire(timeout=self._deadline):
            return
        with self._mutex:
            if job in self._waiting:
                self._waiting.remove(job)
                job.error = StoreLocked(
                    f"another write did not finish within {self._deadline:g} s; nothing was written"
                )
            elif not job.leads and not job.gate.acquire(blocking=False):
                job.error = StoreError(
                    f"a write did not finish within {self._deadline:g} s and may still succeed; send the command again"
                )

    def _with_those_waiting(self, job: Job[Work]) -> list[Job[Work]]:
        with self._mutex:
            return [job, *(self._waiting.popleft() for _ in range(min(_TOGETHER - 1, len(self._waiting))))]

    def _lead(self, batch: Sequence[Job[Work]]) -> None:
        try:
            self._commit(batch)
        except Exception as error:  # whatever it is, all that waited raise it
            for one in batch:
                one.error = error
        except BaseException:  # this thread is being stopped; the others are to know
            for one in batch:
                one.error = StoreError("the write was interrupted and may still have succeeded; send the command again")
            raise
        finally:
            self._hand_over(batch)

    def _hand_over(self, batch: Sequence[Job[Work]]) -> None:
        with self._mutex:
            heir = self._waiting.popleft() if self._waiting else None
            self._led = heir is not None
            if heir is not None:
                heir.leads = True
                assert heir.gate is not None
                heir.gate.release()  # first, so that the next transaction begins while the others wake
        for done in batch[1:]:
            assert done.gate is not None
            done.gate.release()
