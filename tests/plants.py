"""`make plants`: plant each bug of `tests/planted`, one at a time, and see whether the tests that it names notice.

A plant is put into a copy of the tree; the checkout is never touched. The named tests must pass without any plant, and
each of them must fail with its own. A test that does not run at all has noticed nothing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

from .planted import FOLDER, Plant, plants

ROOT = Path(__file__).resolve().parent.parent
COPIED = (
    ".typing", "README.md", "adapters", "application", "bench", "docs", "domain", "examples", "lastresort",
    "projections", "pyproject.toml", "tests",
)  # fmt: skip
SECONDS = 120
"""What one test may take before it counts as failed."""

CAUGHT, PASSED, BROKEN = "caught", "the tests pass with it", "the tests do not run with it"
_SAYS = {0: PASSED, 1: CAUGHT}  # the exit status of pytest; every other one means that nothing was tested


class Copy:
    """A copy of the tree, in which tests run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)

    def run(self, *tests: str) -> int:
        """Run tests, and return the exit status of pytest."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
        # What is imported is the copy: before what is installed, and without the folder of the copy itself, in which
        # `lastresort` is the front door alone. Compiled code is not kept: a plant may come and go within a second.
        found = {"PYTHONPATH": str(self.folder / ".typing"), "PYTHONDONTWRITEBYTECODE": "1"}
        options = ["-q", "-x", "--tb=short", "-p", "no:cacheprovider", f"--timeout={SECONDS}"]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pytest", *options, *tests],
            cwd=self.folder,
            env=kept | found,
            capture_output=True,
            text=True,
            check=False,
        )
        self.said = done.stdout + done.stderr
        return done.returncode

    def says_of(self, plant: Plant) -> str:
        """Return what comes of a plant: caught, if each of its tests fails."""
        file = self.folder / plant.file
        source = file.read_text(encoding="utf-8")
        file.write_text(plant.planted_in(source), encoding="utf-8")
        try:
            for test in plant.tests:
                if (said := _SAYS.get(self.run(test), BROKEN)) is not CAUGHT:
                    return f"{said}: {test}"
        finally:
            file.write_text(source, encoding="utf-8")
        return CAUGHT


def try_all(wanted: list[Plant], copies: list[Copy]) -> Iterator[tuple[Plant, str]]:
    """Yield what came of each plant, in their order."""
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def try_one(plant: Plant) -> str:
        copy = free.get()
        try:
            return copy.says_of(plant)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        yield from zip(wanted, pool.map(try_one, wanted), strict=True)


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
    with tempfile.TemporaryDirectory(prefix="lastresort-plants-") as folder:
        jobs = max(1, min(asked.jobs, len(wanted)))
        copies = [Copy(Path(folder).resolve() / str(number)) for number in range(jobs)]
        if copies[0].run(*dict.fromkeys(test for plant in wanted for test in plant.tests)):
            print(f"{copies[0].said}\nthe tests fail without any plant: mend that first", file=sys.stderr)
            return 2
        for plant, said in try_all(wanted, copies):
            missed += said is not CAUGHT
            print(f"{plant.file}: {plant.what}: {said}", flush=True)
    print(f"{missed} of {len(wanted)} were not caught" if missed else figures(wanted, monotonic() - began))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
