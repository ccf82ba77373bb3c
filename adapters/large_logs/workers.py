"""Work that several processes share, that goes on if one of them dies, and is not done again if it is kept."""

import gc
import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol, TypeVar

from .kept import Kept

_TRIES = 3
"""How often a job is begun whose worker dies."""


class Named(Protocol):
    @property
    def name(self) -> str: ...


Job = TypeVar("Job", bound=Named)
Result = TypeVar("Result")


class PartJob(Named, Protocol):
    """What is to be done with a part: where it is, and what else the result follows from."""

    @property
    def files(self) -> Sequence[Path]: ...
    @property
    def asked(self) -> tuple[object, ...]: ...


class PartResult(Protocol):
    """What was found in a part of so many events."""

    @property
    def events(self) -> int: ...


OfPart = TypeVar("OfPart", bound=PartJob)
InPart = TypeVar("InPart", bound=PartResult)


class WorkersDied(Exception):
    """Workers die again and again, so that a job does not get done; the message says which."""


def each_part(
    do: Callable[[OfPart], InPart],
    jobs: Sequence[OfPart],
    workers: int,
    kept: Kept[InPart] | None,
    events: int,
    progress: Callable[[int, int], None],
) -> Iterator[InPart]:
    """Yield what is found in each part, as they are done: those that are kept first.

    Args:
        do, jobs, workers: as for `carry_out`.
        kept: where it is looked for, and kept; None: nowhere.
        events: of the whole log, how many.
        progress: is told how many events are done, of how many.

    Raises:
        WorkersDied: a job was begun three times, and each time a worker died meanwhile.
    """
    left, done = [], 0
    for job in jobs:
        found = None if kept is None else kept.of(job.name, job.files, job.asked)
        if found is None:
            left.append(job)
        else:
            done += found.events
            yield found
    progress(done, events)
    for job, found in carry_out(do, left, workers):
        if kept is not None:
            kept.keep(job.name, job.files, job.asked, found)
        done += found.events
        progress(done, events)
        yield found


def carry_out(do: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Result]]:
    """Yield each job with its result, as they are done.

    If a worker is killed, what was under way is begun again by others. One worker is this process.

    Args:
        do: does a job; a function of a module, since other processes look it up by its name.
        jobs: what is to be done.
        workers: how many processes do it.

    Raises:
        WorkersDied: a job was begun three times, and each time a worker died meanwhile.
    """
    if workers == 1 or len(jobs) < 2:
        yield from ((job, do(job)) for job in jobs)
        return
    left, tries = deque(jobs), Counter[str]()
    while left:
        running: dict[Future[Result], Job] = {}
        try:
            yield from _until_one_dies(do, left, running, workers)
        except BrokenProcessPool:
            tries.update(job.name for job in running.values())
            if worst := sorted(name for name, times in tries.items() if times >= _TRIES):
                raise WorkersDied(
                    f"workers died {_TRIES} times at {', '.join(worst)}: is there enough memory for {workers} of them?"
                ) from None
            left.extendleft(running.values())


def _until_one_dies(
    do: Callable[[Job], Result], left: deque[Job], running: dict[Future[Result], Job], workers: int
) -> Iterator[tuple[Job, Result]]:
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(workers, len(left)), mp_context=multiprocessing.get_context("spawn"), initializer=_begin
    )
    try:
        while left or running:
            while left and len(running) < workers:
                running[pool.submit(do, left[0])] = left[0]
                left.popleft()
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                result = done.result()
                yield running.pop(done), result
    finally:
        if running:  # nobody waits for it any more
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Begin as a worker: Ctrl-C is for the process that asked, and an audit leaves nothing to collect."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
