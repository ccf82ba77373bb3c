"""Power is lost: what had been acknowledged is on the disk, whatever became of the writes that were not synced.

Each ten images are of a workload of their own, drawn from a seed of its own. The traces are of the real SQLite under
the real store. The controls are the same with less durable settings, which have to lose something: otherwise the
images would show nothing.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lastresort import RecordedEvent, StoreError
from lastresort.domain.events import ContentErased

from .acts import check, check_log, committed, lost, open_at, shares
from .power import Image, images, load
from .sizes import size
from .vfs import library
from .writers import write_traced
from .zygote import Zygote

IMAGES_OF_A_WORKLOAD = 10
_ACTS = 60  # of each of its two lives
_ENDLESS = 10_000  # entries: a table whose pages are a ring is read for ever


@pytest.fixture(autouse=True, scope="module")
def _traceable() -> None:
    try:
        library()
    except LookupError as error:
        pytest.skip(str(error))


def traced(zygote: Zygote, folder: Path, level: str, threads: int, seed: int) -> list[tuple[Any, ...]]:
    """Return the trace of a store's life."""
    folder.mkdir()
    worker = zygote.spawn(
        write_traced, f"sqlite:///{folder}/log.db", f"{folder}/trace", seed, level, threads, _ACTS // threads
    )
    assert worker.hear() > 10 * _ACTS
    assert worker.reap() == 0
    return load(folder / "trace")


def losses(
    zygote: Zygote, folder: Path, level: str, threads: int, number: int, drawn: Counter[str]
) -> Iterator[tuple[Image, Random]]:
    """Yield images of one workload after another, and count what these committed."""
    for workload in range(-(-number // IMAGES_OF_A_WORKLOAD)):
        seed = 1_000 * threads + workload
        trace = traced(zygote, folder / "traced", level, threads, seed)
        drawn.update(step[1].name for step in trace if step[0] == "told" and step[1].what == "committed")
        random = Random(seed)
        some = min(IMAGES_OF_A_WORKLOAD, number - workload * IMAGES_OF_A_WORKLOAD)
        for image in images(trace, folder / "traced", some, random):
            yield image, random
        clear(folder / "traced")


def write_out(image: Image, folder: Path, random: Random) -> str:
    """Put an image into a folder, with what is left of the shared memory, which is nothing or anything."""
    folder.mkdir()
    for path, content in image.files.items():
        (file := folder / Path(path).name).write_bytes(content)
        file.chmod(0o600)  # as the store makes its files
    if random.random() < 0.5:
        (folder / "log.db-shm").write_bytes(random.randbytes(32_768))
    return f"sqlite:///{folder}/log.db"


def clear(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.mark.parametrize(("threads", "number"), [(1, size(120, 5_000)), (4, size(60, 5_000))])
def test_nothing_acknowledged_is_lost_with_the_power(zygote: Zygote, tmp_path: Path, threads: int, number: int) -> None:
    """At FULL, which is the default: every image opens, holds what was acknowledged, and is lawful."""
    acknowledged = erased = snapshots = 0
    drawn: Counter[str] = Counter()
    for done, (image, random) in enumerate(losses(zygote, tmp_path, "FULL", threads, number, drawn), start=1):
        url = write_out(image, tmp_path / "image", random)
        if image.told:  # before that there may be no store yet
            erased += none_is_left(tmp_path / "image", erased_in(check(url, image.told), image))
            snapshots += snapshots_in(tmp_path / "image")
        clear(tmp_path / "image")
        acknowledged += committed(image.told)
        if done % 500 == 0:
            print(f"FULL, {threads} threads: {done} of {number} images, {acknowledged} acknowledgements", flush=True)
    workloads = -(-number // IMAGES_OF_A_WORKLOAD)
    print(f"FULL, {threads} threads: {number} images of {workloads} workloads; {shares(drawn)}")
    print(f"{acknowledged} acknowledgements held to, 0 lost; {erased} erasures looked for; {snapshots} snapshots read")
    assert acknowledged
    assert erased
    assert snapshots > number


def snapshots_in(folder: Path) -> int:
    """Return how many snapshots came through. That each state read from one is what the log says, `check` has seen."""
    with closing(sqlite3.connect(folder / "log.db")) as store:
        return int(store.execute("SELECT count(*) FROM snapshots").fetchone()[0])


def erased_in(log: list[RecordedEvent], image: Image) -> list[bytes]:
    """Return what was sealed of the words whose erasure was acknowledged."""
    known = {one.id for one in image.told}
    events = [entry.event for entry in log if entry.command_id in known and isinstance(entry.event, ContentErased)]
    return [image.sealed[digest] for event in events for digest in event.contents if digest in image.sealed]


def none_is_left(folder: Path, erased: list[bytes]) -> int:
    """Check that nothing of what was erased came back with the power; return how much was looked for."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for data in erased:
        assert not [name for name, content in files.items() if any(data[at : at + 20] in content for at in (0, 20, 40))]
    return len(erased)


@pytest.mark.parametrize(("level", "number"), [("NORMAL", size(40, 2_000)), ("OFF", size(40, 2_000))])
def test_less_durable_settings_lose_what_was_acknowledged(
    zygote: Zygote, tmp_path: Path, level: str, number: int
) -> None:
    """NORMAL loses the latest commands, and what is left is lawful; OFF may leave no database at all."""
    became: Counter[str] = Counter()
    for image, random in losses(zygote, tmp_path, level, 1, number, Counter()):
        url = write_out(image, tmp_path / "image", random)
        became[what_became_of(url, image, lawful=level == "NORMAL")] += 1
        clear(tmp_path / "image")
    print(f"{level}: {number} images, {dict(became)}")
    assert became["lost"]
    assert level == "OFF" or set(became) <= {"lost", "whole"}


def what_became_of(url: str, image: Image, *, lawful: bool) -> str:
    """Return `whole`, `lost` if something acknowledged is not there, `broken` if it cannot be read."""
    try:
        chats = open_at(url)
        try:
            log = list(islice(chats.store.log(), _ENDLESS))
            if len(log) == _ENDLESS:
                return "broken"
            if lawful:
                check_log(chats, log)
            return "lost" if lost(log, image.told) else "whole"
        finally:
            chats.close()
    except (StoreError, sqlite3.DatabaseError):
        return "broken"
