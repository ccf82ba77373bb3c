"""Lines that look as an export writes them are read fast, and never otherwise than slowly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from bench.logs import write_log
from lastresort.adapters.importers.inputs import BadInput, parsed, raw_lines
from lastresort.adapters.importers.log_file import forks_in, read_log
from lastresort.adapters.importers.log_lines import Entry, LogLine, LogReader, beginnings, entry_of
from lastresort.projections import fork_points

from .broken_files import LOGS, files
from .drawing import UNHURRIED, examples

GOLDEN = sorted((Path(__file__).parent / "golden").rglob("*.jsonl"))
LINES = [line for path in GOLDEN for line in path.read_bytes().splitlines(keepends=True)]
AGAIN = 3  # an event is known from the second time on


def slowly(line: bytes) -> Entry | None:
    """What a line is, read with every check; None if it is nothing."""
    try:
        return entry_of(parsed("file", 1, line, LogLine))
    except BadInput:
        return None


@pytest.fixture(scope="module")
def reader() -> LogReader:
    """One that knows all events of the golden logs."""
    reader = LogReader()
    for line in LINES * AGAIN:
        reader.entry(line)
    return reader


def test_every_line_that_an_export_wrote_is_read_fast(reader: LogReader) -> None:
    """As one that is new, and as one that is known."""
    for line in LINES:
        assert LogReader().entry(line) == reader.entry(line) == slowly(line)


def test_lines_of_other_people_are_read_fast(reader: LogReader, tmp_path: Path) -> None:
    """What is known of an event is not taken over from the conversation in which it was learnt."""
    write_log(tmp_path / "log.jsonl", 3_000)
    read = [(reader.entry(line), slowly(line)) for _, line in raw_lines(tmp_path / "log.jsonl")]
    assert [fast for fast, _ in read] == [slow for _, slow in read]


@settings(UNHURRIED, max_examples=examples(dev=200, ci=1_000, nightly=20_000))
@given(files(LOGS))
def test_a_broken_line_is_read_as_it_is_or_not_at_all(reader: LogReader, data: bytes) -> None:
    for line in data.splitlines(keepends=True):
        for read in (reader.entry(line), LogReader().entry(line)):
            assert read is None or read == slowly(line)


def told(number: int, change: Callable[[str], str]) -> bytes:
    return change(LINES[number].decode()).encode()


ODD: dict[str, Callable[[str], str]] = {
    "a field twice in the event": lambda line: line.replace('"event": {', '"event": {"by":{"kind":"user","id":"b"},'),
    "a field twice in the actor": lambda line: line.replace('"kind":', '"kind":"user","kind":'),
    "a digest twice": lambda line: line.replace('"content":', '"content":"sha256:' + "0" * 64 + '","content":'),
    "a digest in capitals": lambda line: line.replace('"content":"sha256:', '"content":"sha256:A'),
    "a digest elsewhere": lambda line: line.replace('"id":', '"content":"sha256:' + "0" * 64 + '","id":'),
    "a digest of an actor": lambda line: line.replace('"id":"', '"id":"sha256:' + "0" * 64 + '","content":"'),
    "a day that is none": lambda line: line.replace("2026-01-31", "2026-02-31"),
    "another zone": lambda line: line.replace("+00:00", "+01:00"),
    "an older version": lambda line: line.replace('"schema_version": 2', '"schema_version": 1'),
    "a version too many": lambda line: line.replace('"schema_version": 2', '"schema_version": 3'),
    "a kind of another": lambda line: line.replace("UserTurnTaken", "AppealFiled"),
    "a kind that is none": lambda line: line.replace("UserTurnTaken", "UserTurn"),
    "a name with a quotation mark": lambda line: line.replace('"branch": "', '"branch": "\\"'),
    "an account of two words": lambda line: line.replace('"account":"', '"account":"two '),
    "an actor of no kind": lambda line: line.replace('"kind":"user"', '"kind":"users"'),
    "a conversation of another name": lambda line: line.replace('"conversation":"', '"conversation":"x'),
    "spaces": lambda line: line.replace('":', '": '),
    "a line's end of Windows": lambda line: line.replace("\n", "\r\n"),
    "more behind it": lambda line: line.replace("}\n", "}{}\n"),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_an_odd_line_is_read_as_it_is_or_not_at_all(reader: LogReader, change: Callable[[str], str]) -> None:
    """By a reader that knows the line as it was, and the odd one from before."""
    odd = [line for number in range(len(LINES)) if (line := told(number, change)) != LINES[number]]
    assert odd
    for line in odd:
        for _ in range(AGAIN):
            read = reader.entry(line)
            assert read is None or read == slowly(line)


def test_what_is_known_is_forgotten_rather_than_hoarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lastresort.adapters.importers.log_lines._MOST_KNOWN", 5)
    reader = LogReader()
    for line in LINES * 2:
        assert reader.entry(line) == slowly(line)
        assert len(reader._known) <= 5


# --- Where branches open ----------------------------------------------------------------------------------------------


def same_forks(path: Path) -> frozenset[Any]:
    forks = fork_points(beginnings(path))
    assert forks == fork_points(entry for _, entry in read_log(path))
    return forks


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_scan_finds_the_turns_at_which_branches_open(path: Path) -> None:
    same_forks(path)


def test_the_scan_finds_them_in_lines_that_are_written_otherwise(tmp_path: Path) -> None:
    """With escapes, in another order, with spaces; and passes over what is no line."""
    path = Path(__file__).parent / "golden" / "branches.jsonl"
    plain = same_forks(path)
    assert plain
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    escaped = [json.dumps(line).replace("BranchOpened", "BranchOpene\\u0064") for line in lines]
    turned = [json.dumps(dict(reversed(line.items())), separators=(" ,", " :")) for line in lines]
    for number, other in enumerate((escaped, turned)):
        (tmp_path / str(number)).write_text("\n".join(other))
        assert same_forks(tmp_path / str(number)) == plain
    (tmp_path / "broken").write_text("\n".join(["{}", *escaped, "nonsense"]))
    assert fork_points(beginnings(tmp_path / "broken")) == plain


def test_a_short_log_is_not_scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_log(tmp_path / "log.jsonl", 1_000)
    assert forks_in(tmp_path / "log.jsonl") is None
    monkeypatch.setattr("lastresort.adapters.importers.log_file._SCANNED_FROM", 1_000)
    assert forks_in(tmp_path / "log.jsonl") == same_forks(tmp_path / "log.jsonl")
    assert forks_in(tmp_path) is None
