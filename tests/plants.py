"""`make plants`: plant each bug of `tests/planted`, one at a time, and see whether the tests that it names notice.

A plant is put into a copy of the tree; the checkout is never touched. The named tests must pass without any plant, and
each of them must fail with its own. A test that does not run at all has noticed nothing.

Each run is in a process of its own, forked from one that has imported what others wrote, and nothing of this project.
"""

import argparse
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from .planted import FOLDER, Plant, plants

ROOT = Path(__file__).resolve().parent.parent
COPIED = (
    ".typing", "README.md", "adapters", "application", "bench", "docs", "domain", "examples", "lastresort",
    "projections", "pyproject.toml", "tests",
)  # fmt: skip
AHEAD = (
    "anthropic", "anyio", "click", "cryptography.hazmat.primitives.ciphers.aead", "eventsourcing.sqlite",
    "hypothesis.stateful", "hypothesis.strategies", "psycopg", "rich", "starlette.applications", "uvicorn",
)  # fmt: skip
SAID = "said"  # the file, in a copy, with what a run printed
SECONDS = 120
"""What one test may take before it counts as failed."""

OPTIONS = (
    "-q", "-x", "--tb=short", "--disable-plugin-autoload", "-ppytest_timeout", "-omarkers=xdist_group",
    "-pno:cacheprovider", f"--timeout={SECONDS}",
)  # fmt: skip

CAUGHT, PASSED, BROKEN = "caught", "the tests pass with it", "the tests do not run with it"
_SAYS = {0: PASSED, 1: CAUGHT}  # the exit status of pytest; every other one means that nothing was tested


class Copy:
    """A copy of the tree, in which tests run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.time = folder, 1_000_000_000
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)

    def run(self, *tests: str) -> int:
        """Run tests, and return the exit status of pytest."""
        if not (child := os.fork()):
            status = 3
            try:
                status = self._run(tests)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    @property
    def said(self) -> str:
        """What the latest run printed."""
        return (self.folder / SAID).read_text(encoding="utf-8", errors="replace")

    def _run(self, tests: Iterable[str]) -> int:
        said = os.open(self.folder / SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.chdir(self.folder)
        # What is imported is the copy: before what is installed, and without the folder of the copy itself, in which
        # `lastresort` is the front door alone.
        here = str(self.folder / ".typing")
        sys.path[:] = [here, *(path for path in sys.path if path not in ("", str(ROOT)))]
        sys.modules["tests"].__path__ = [str(self.folder / "tests")]
        os.environ["PYTHONPATH"] = here  # of what the tests start
        return int(pytest.main([*OPTIONS, *tests]))

    def says_of(self, plant: Plant) -> str:
        """Return what comes of a plant: caught, if each of its tests fails."""
        file = self.folder / plant.file
        source = file.read_text(encoding="utf-8")
        self.write(file, plant.planted_in(source))
        try:
            for test in plant.tests:
                if (said := _SAYS.get(self.run(test), BROKEN)) is not CAUGHT:
                    return f"{said}: {test}"
        finally:
            self.write(file, source)
        return CAUGHT

    def write(self, file: Path, source: str) -> None:
        """Write a file at a time of its own, in seconds: Python knows by that and the size if what it compiled is of
        this source, and a plant may come and go within a second."""
        file.write_text(source, encoding="utf-8")
        self.time += 10
        os.utime(file, (self.time, self.time))


COPY: list[Copy] = []
"""In the processes of the pool: the copy of each."""


def take_a_copy(folder: Path) -> None:
    COPY.append(Copy(folder / str(os.getpid())))


def try_one(plant: Plant) -> str:
    return COPY[0].says_of(plant)


def try_all(wanted: list[Plant], jobs: int, folder: Path) -> Iterator[tuple[Plant, str]]:
    """Yield what came of each plant, in their order."""
    forked = multiprocessing.get_context("fork")
    with forked.Pool(jobs, take_a_copy, [folder]) as pool:
        yield from zip(wanted, pool.imap(try_one, wanted), strict=True)


def figures(wanted: Iterable[Plant], seconds: float) -> str:
    """Return how many were caught where."""
    rooms = Counter("/".join(Path(plant.file).parts[:-1]) for plant in wanted)
    told = ", ".join(f"{room} {number}" for room, number in sorted(rooms.items()))
    return f"{rooms.total()} plants, each caught by every test that it names, in {seconds:.0f} s: {told}"


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if all were caught, 1 if one was not, 2 if the tests fail without any."""
    parser = argparse.ArgumentParser(prog="python -m tests.plants", description=__doc__.split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="WORDS", help="plants with these words; may be repeated")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    wanted = [plant for plant in plants(asked.folder) if any(words in plant.what for words in asked.only or [""])]
    if not wanted:
        print(f"no plant has these words: {asked.only}", file=sys.stderr)
        return 2
    began, missed = monotonic(), 0
    for name in AHEAD:
        with suppress(ImportError):  # of an extra that is not there
            importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="lastresort-plants-") as named:
        folder = Path(named).resolve()
        without = Copy(folder / "without")
        if without.run(*dict.fromkeys(test for plant in wanted for test in plant.tests)):
            print(f"{without.said}\nthe tests fail without any plant: mend that first", file=sys.stderr)
            return 2
        for plant, said in try_all(wanted, max(1, min(asked.jobs, len(wanted))), folder):
            missed += said != CAUGHT
            print(f"{plant.file}: {plant.what}: {said}", flush=True)
    print(f"{missed} of {len(wanted)} were not caught" if missed else figures(wanted, monotonic() - began))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
