"""Power is lost: what had been acknowledged is on the disk, whatever became of the writes that were not synced.

The traces are of the real SQLite under the real store. The controls are the same with less durable settings, which have
to lose something: otherwise the images would show nothing.
"""

import sqlite3
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lastresort import RecordedEvent, StoreError
from lastresort.domain.events import ContentErased

from .acts import check, check_log, lost, open_at
from .power import Image, images, load
from .sizes import size
from .vfs import library
from .writers import write_traced
from .zygote import Zygote

_ENDLESS = 10_000  # entries: a table whose pages are a ring is read for ever


@pytest.fixture(autouse=True, scope="module")
def _traceable() -> None:
    try:
        library()
    except LookupError as error:
        pytest.skip(str(error))


def traced(zygote: Zygote, folder: Path, level: str, threads: int, acts: int = 60) -> list[tuple[Any, ...]]:
    """Return the trace of a store's life."""
    worker = zygote.spawn(
        write_traced, f"sqlite:///{folder}/log.db", f"{folder}/trace", threads, level, threads, acts // threads
    )
    assert worker.hear() > 10 * acts
    assert worker.reap() == 0
    return load(folder / "trace")


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
    random = Random(threads)
    trace = traced(zygote, tmp_path, "FULL", threads)
    acknowledged = erased = 0
    for image in images(trace, tmp_path, number, random):
        url = write_out(image, tmp_path / "image", random)
        if image.told:  # before that there may be no store yet
            erased += none_is_left(tmp_path / "image", erased_in(check(url, image.told), image))
        clear(tmp_path / "image")
        acknowledged += len(image.told)
    print(
        f"FULL, {threads} threads: {number} images, {acknowledged} acknowledgements held to, 0 lost, {erased} erasures"
    )
    assert acknowledged
    assert erased


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
    random = Random(7)
    became: Counter[str] = Counter()
    for image in images(traced(zygote, tmp_path, level, 1), tmp_path, number, random):
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
