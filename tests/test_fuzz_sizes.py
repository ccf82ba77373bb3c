"""What is too large, too long or too deep is refused before it takes much memory or time."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from lastresort import Policy
from lastresort.adapters.importers.inputs import MAX_LINE_BYTES, MAX_LINE_VALUES, BadInput, load_policy
from lastresort.adapters.importers.log_file import checked_log
from lastresort.adapters.importers.transcripts import read_transcripts
from lastresort.domain.policy import PolicyError

from .broken_files import path

__all__ = ["path"]


def peak_of(act: Callable[[], object]) -> int:
    """The most memory, in bytes, that Python held at a time for it."""
    tracemalloc.start()
    try:
        with pytest.raises(BadInput):
            act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


READERS = [
    pytest.param(lambda path: read_transcripts([path]), id="transcripts"),
    pytest.param(checked_log, id="logs"),
    pytest.param(lambda path: load_policy(str(path)), id="policies"),
]


@pytest.mark.parametrize("read", READERS)
def test_a_file_of_one_line_takes_no_more_than_three_times_the_longest_line(
    path: Path, read: Callable[[Path], object]
) -> None:
    """However long the line is: here sixteen times what is read."""
    with path.open("wb") as file:
        file.truncate(16 * MAX_LINE_BYTES)
    assert peak_of(lambda: read(path)) < 3 * MAX_LINE_BYTES
    path.unlink()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('{"conversation": "c", "account": null, "turns": [' + "0," * 99_999 + "0]}", id="turns"),
        pytest.param("{" + ",".join(f'"{n}":0' for n in range(99_999)) + "}", id="fields"),
    ],
)
@pytest.mark.parametrize("read", READERS[:2])
def test_a_line_that_is_wrong_in_many_places_takes_a_kilobyte_for_each(
    path: Path, line: str, read: Callable[[Path], object]
) -> None:
    """Pydantic has most of it; how many there may be is limited. And a person can read the message."""
    path.write_text(line + "\n")
    assert peak_of(lambda: read(path)) < 4 * len(line) + 100_000 * 2**10
    with pytest.raises(BadInput) as refused:
        read(path)
    assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize("mark", ["0,", "[],", "{},", '"",', '"\\"",'])
def test_a_line_of_too_many_values_is_refused_before_it_is_read(path: Path, mark: str) -> None:
    """By what begins a value; commas and brackets in what people said are none."""
    path.write_text('{"turns": [' + mark * MAX_LINE_VALUES + "0]}\n")
    with pytest.raises(BadInput, match=r"in\.jsonl:1: the line holds more than 262,144 values; split it"):
        read_transcripts([path])
    said = json.dumps('[,{"\\' * MAX_LINE_VALUES)
    path.write_text(f'{{"conversation": "c", "account": null, "turns": [{{"role": "user", "text": {said}}}]}}\n')
    assert read_transcripts([path])


WORST = """
import resource, sys
from pathlib import Path
from lastresort.adapters.importers.inputs import MAX_LINE_VALUES, BadInput
from lastresort.adapters.importers.transcripts import read_transcripts

path = Path(sys.argv[1])
with path.open("w") as file:
    file.write("{")
    file.writelines(f'"{number:054}":0,' for number in range(MAX_LINE_VALUES - 2))
    file.write('"":0}')
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_transcripts([path])
except BadInput as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, path.stat().st_size, error)
"""


def test_the_worst_line_takes_no_more_than_half_a_gigabyte(path: Path) -> None:
    """What pydantic holds outside of Python's sight included: every field of the longest line that is read is wrong."""
    told = subprocess.run([sys.executable, "-c", WORST, path], capture_output=True, text=True, check=True).stdout
    kilobytes, size, why = told.split(maxsplit=2)
    print(f"{int(size):,} bytes took {int(kilobytes) * 1024:,}")
    assert int(size) > 0.9 * MAX_LINE_BYTES
    assert int(kilobytes) < 2**19
    assert "262,146 fields are not as they should be" in why  # those, and the three that are missing


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_what_is_nested_deep_is_refused(path: Path, depth: int) -> None:
    """In JSON."""
    for opening, closing in ('{"a":', "}"), ("[", "]"):
        path.write_text(opening * depth + "1" + closing * depth + "\n")
        for read in (lambda: read_transcripts([path]), lambda: checked_log(path)):
            with pytest.raises(BadInput, match=r"in\.jsonl:1: "):
                read()


ESCAPES = [
    pytest.param("[" * 100_000, RecursionError, id="nested deep"),
    pytest.param("9" * 5_000, ValueError, id="a number of 5,000 digits"),
]


@pytest.mark.parametrize(("value", "escapes"), ESCAPES)
def test_what_tomllib_cannot_bear_is_refused(value: str, escapes: type[Exception]) -> None:
    """As everything else that is no policy is."""
    with pytest.raises(PolicyError):
        Policy.from_toml(f"name = {value}", "here")
