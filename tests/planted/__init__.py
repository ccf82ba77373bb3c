"""Bugs to plant: what each is, where, and which tests must notice it. `tests.plants` plants them, one at a time.

They are in the `.diff` files beside this one, each a hunk of whole lines without numbers:

    # what is wrong then, in words
    # caught by tests/test_x.py::test_y
    --- domain/state.py
     a line that stays
    -a line that goes
    +a line that comes

The lines that stay or go must stand in the file exactly once. Several tests may be named; each must fail.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
CAUGHT_BY = "# caught by "


class Plant(NamedTuple):
    """A bug of a line or two, of the kind that somebody makes who knows the code."""

    what: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def planted_in(self, source: str) -> str:
        """Return the source with the bug in it.

        Raises:
            ValueError: what it takes the place of is not there exactly once.
        """
        lines = re.compile(f"^{re.escape(self.before)}", re.MULTILINE)
        planted, count = lines.subn(lambda _: self.after, source)
        if count != 1:
            raise ValueError(f"{self.what}: the lines that it changes are in {self.file} {count} times, not once")
        return planted


def plants(folder: Path = FOLDER) -> list[Plant]:
    """Return all plants, file by file."""
    return [plant for path in sorted(folder.glob("*.diff")) for plant in read(path.read_text(encoding="utf-8"))]


def read(text: str) -> Iterator[Plant]:
    """Yield the plants in the text of a file.

    Raises:
        ValueError: one of them is not written as this module says.
    """
    for block in filter(None, text.split("\n\n")):
        what, tests, file, before, after = "", list[str](), "", "", ""
        for line in block.strip("\n").split("\n"):
            if line.startswith(CAUGHT_BY):
                tests.append(line.removeprefix(CAUGHT_BY))
            elif line.startswith("# "):
                what = line[2:]
            elif line.startswith("--- "):
                file = line[4:]
            elif line[:1] in (" ", "-", "+"):
                before += f"{line[1:]}\n" if line[0] != "+" else ""
                after += f"{line[1:]}\n" if line[0] != "-" else ""
            else:
                raise ValueError(f"a plant has no line that begins like this one: {line}")
        if not (what and tests and file and before and before != after):
            raise ValueError(f"a plant needs words, tests, a file and a change: {block}")
        yield Plant(what, file, before, after, tuple(tests))
