"""Whatever people hand in, nothing but the documented errors comes out, and nothing is written, imported or hoarded.

Files begin as valid ones and are then broken: in their structure (fields dropped, doubled, retyped, nested deep), and
byte by byte. How often is set by HYPOTHESIS_PROFILE, for each test: `dev` (the default), `ci`, `nightly`.
"""

import json
import os
import re
import sqlite3
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import LEFT, ROOT

from lastresort.adapters.console.cli import main
from lastresort.adapters.engines.recorders import MemoryRecorder
from lastresort.adapters.inputs import MAX_LINE_BYTES, MAX_LINE_VALUES, BadInput, load_policy
from lastresort.adapters.logfile import checked_log, export_line, read_log, write_log
from lastresort.adapters.simulate import Simulation
from lastresort.adapters.store import RecorderStore
from lastresort.adapters.transcripts import read_transcripts
from lastresort.domain import PROFILES, Policy
from lastresort.domain.events import Unreadable
from lastresort.domain.policy import PolicyError
from lastresort.domain.ports import Append, Placed

PROFILE_NAME = os.environ.get("HYPOTHESIS_PROFILE", "dev")
EXECUTIONS = {"dev": 300, "ci": 2_000, "nightly": 100_000}[PROFILE_NAME]
PROFILE = settings(
    max_examples=EXECUTIONS,
    derandomize=PROFILE_NAME != "nightly",
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
TRANSCRIPTS = sorted((ROOT / "examples").glob("*.jsonl"))
LOGS = [ROOT / "tests" / "golden" / f"{name}.jsonl" for name in ("request", "risks", "terms")]


# --- JSON, broken in its structure ------------------------------------------------------------------------------------


class Fields(list[tuple[str, Any]]):
    """An object as its fields stand in the text, so that one may come twice."""


class Raw(str):
    """What stands in the text as it is."""


def parsed(line: str) -> Fields:
    return json.loads(line, object_pairs_hook=Fields)


def text_of(value: Any) -> str:
    if isinstance(value, Raw):
        return value
    if isinstance(value, Fields):
        return "{" + ", ".join(f"{json.dumps(key)}: {text_of(inner)}" for key, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(text_of, value)) + "]"
    return json.dumps(value)


NAMES = ["os:system", "antigravity:fly", "builtins:exec", "lastresort_decoy:Event", "this", "lastresort.domain.events"]
"""What a program that imports what a file names would import."""

TOKENS = [
    *("NaN", "Infinity", "-Infinity", "1e999", "-0", "-1", "1.0", "0", "2", "9007199254740993", "01", "9" * 5_000),
    *('"\\ud800"', '"\\u0000"', '"\\ufeff"', '"\\udfff\\ud800"', '"\x00"', '"\x7f\x80"', '"' + "x" * 70_000 + '"'),
    *("[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300, "[" * 100_000, "nul", "", "\n", "}", "[1,]", "/**/1"),
    *('"c"', '"d"', '"held"', '"2026-01-31T12:00:00Z"', '"2026-13-31"', '"0001-01-01T00:00:00+00:00"', "'x'"),
]  # fmt: skip
JUNK = [None, True, False, "", [], Fields(), [None], *NAMES, *(Raw(token) for token in TOKENS)]


def places(value: Any) -> Iterator[tuple[Any, int]]:
    """Every place in a value, as what holds it and the index there."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield value, index
            yield from places(inner[1] if isinstance(value, Fields) else inner)


def break_structure(draw: Callable[[st.SearchStrategy[Any]], Any], whole: Fields) -> None:
    """Do one thing to one place of it."""
    found = list(places(whole))
    if not found:
        return
    held, index = found[draw(st.integers(0, len(found) - 1))]
    key, value = held[index] if isinstance(held, Fields) else ("", held[index])

    def put(new: Any, name: str = key) -> None:
        held[index] = (name, new) if isinstance(held, Fields) else new

    match draw(st.sampled_from(["retype", "drop", "double", "nest", "rename", "move", "kind"])):
        case "drop":
            del held[index]
        case "double":
            held.insert(index, deepcopy(held[index]))
        case "nest":
            put([value] if draw(st.booleans()) else Fields([(key or "x", value)]))
        case "rename":
            put(value, draw(st.sampled_from(["x", "", "event", "by", "turns", "__class__", "schema_version"])))
        case "move":
            held.append(held.pop(index))
        case "kind":
            whole.append(("kind", draw(st.sampled_from(NAMES))))
        case _:
            put(deepcopy(draw(st.sampled_from(JUNK))))


# --- Files, broken byte by byte ---------------------------------------------------------------------------------------

CHUNKS = [
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xef\xbb\xbf", b"\xff\xfe"),
    *(b"\n", b"\r\n", b"\r", b"\x0b", b"\x85", b"\xe2\x80\xa8", b'"', b"\\", b"{", b"[", b"]", b"=", b"#"),
    b"x" * 100_000,
]
SHAPES: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda data: data,
    "with CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "with a BOM": lambda data: b"\xef\xbb\xbf" + data,
    "in UTF-16": lambda data: data.decode("utf-8", "replace").encode("utf-16"),
    "without an end": lambda data: data.rstrip(b"\n"),
}


def break_bytes(draw: Callable[[st.SearchStrategy[Any]], Any], data: bytes) -> bytes:
    at = draw(st.integers(0, len(data)))
    to = min(len(data), at + draw(st.integers(0, 20)))
    match draw(st.sampled_from(["insert", "delete", "replace", "truncate", "repeat"])):
        case "insert":
            return data[:at] + draw(st.sampled_from(CHUNKS)) + data[at:]
        case "delete":
            return data[:at] + data[to:]
        case "replace":
            return data[:at] + draw(st.binary(max_size=4)) + data[to:]
        case "truncate":
            return data[:at]
        case _:
            return data[:to] + data[at:]


@cache
def lines_of(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8").splitlines())


@st.composite
def files(draw: st.DrawFn, sources: Sequence[Path]) -> bytes:
    """A file of JSON lines that was a valid one."""
    lines: list[Any] = list(lines_of(draw(st.sampled_from(sources))))
    for _ in range(draw(st.integers(0, 3))):
        index = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["break", "break", "break", "drop", "double", "swap"])):
            case "drop" if len(lines) > 1:
                del lines[index]
            case "double":
                lines.insert(index, deepcopy(lines[index]))
            case "swap":
                lines.append(lines.pop(index))
            case _:
                lines[index] = parsed(lines[index]) if isinstance(lines[index], str) else lines[index]
                break_structure(draw, lines[index])
    data = "".join(f"{line if isinstance(line, str) else text_of(line)}\n" for line in lines).encode(
        "utf-8", "surrogatepass"
    )
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        data = break_bytes(draw, data)
    return SHAPES[draw(st.sampled_from([*["as it is"] * 6, *SHAPES]))](data)


# --- What must be true, whatever comes --------------------------------------------------------------------------------


LAZY = ("hypothesis.", "encodings.", "rich.", "sqlite3.")
"""Packages that load parts of themselves when they are first asked for."""


@contextmanager
def counted(what: str, *outcomes: str) -> Iterator[Counter[str]]:
    """Count what becomes of files, print it, see that each of `outcomes` was among it, and that nothing was imported.

    There is something to import under a name that is in the files.
    """
    came: Counter[str] = Counter()
    before = set(sys.modules)
    yield came
    print(f"{what}: {sum(came.values()):,} executions: {dict(came.most_common())}")
    assert set(outcomes) <= set(came)
    imported = {name for name in set(sys.modules) - before if not name.startswith(LAZY)}
    assert imported == set()


@pytest.fixture(autouse=True)
def _decoy(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("decoy")
    (folder / "lastresort_decoy.py").write_text("class Event: ...\n")
    monkeypatch.syspath_prepend(str(folder))


def names_file_and_line(error: BadInput, path: Path, data: bytes) -> None:
    """On one line, and a line that the file has."""
    message = str(error)
    found = re.match(rf"{re.escape(str(path))}(:(\d+))?: ", message)
    assert found, message
    assert "\n" not in message
    if found[2] is None:
        assert "cannot be read" in message or "holds some of this log already" in message, message
    else:
        assert 1 <= int(found[2]) <= data.count(b"\n") + 1, message


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files are put, one after the other."""
    return tmp_path_factory.mktemp("fuzz") / "in.jsonl"


def take_transcripts(path: Path, data: bytes) -> str:
    """They are read, or refused; what is read can be played."""
    path.write_bytes(data)
    try:
        read = read_transcripts([path])
    except BadInput as error:
        names_file_and_line(error, path, data)
        return "refused"
    played = Simulation("memory:", model="claude-opus-4-1", policy=Policy.default())
    for transcript in read:
        played.play(transcript)
    played.conversations.close()
    return "read"


def test_transcripts(path: Path) -> None:
    with counted("transcripts", "read", "refused") as came:

        @PROFILE
        @given(files(TRANSCRIPTS))
        def run(data: bytes) -> None:
            came[take_transcripts(path, data)] += 1

        run()


def held_store() -> RecorderStore:
    """A store that holds something already."""
    store = RecorderStore(MemoryRecorder())
    store.append(Append("held", "held", "2026-01-31T12:00:00+00:00", (Placed("held", 1, LEFT, b"sealed"),)))
    return store


def bytes_of(store: RecorderStore) -> object:
    recorder = store.recorder
    return recorder.select_log(0, 10**6), dict(recorder._commands), dict(recorder._contents)


def take_log(path: Path, data: bytes) -> str:
    """It is imported without loss, or refused; and a store that refuses one is as it was, to the byte."""
    path.write_bytes(data)
    store = held_store()
    before = bytes_of(store)
    try:
        entries, report = checked_log(path)
        if not report.findings:
            write_log(path, entries, store)
    except BadInput as error:
        names_file_and_line(error, path, data)
        assert bytes_of(store) == before
        return "refused"
    if report.findings:
        assert bytes_of(store) == before
        return "unlawful"
    written = [e._replace(position=0) for e in store.log() if e.branch != "held"]
    assert written == [entry._replace(position=0) for entry in entries]
    path.write_text("".join(f"{export_line(entry)}\n" for entry in entries))
    assert [entry for _, entry in read_log(path)] == entries
    return "imported"


def test_logs(path: Path) -> None:
    with counted("logs", "imported", "unlawful", "refused") as came:

        @PROFILE
        @given(files(LOGS))
        def run(data: bytes) -> None:
            came[take_log(path, data)] += 1

        run()


def test_logs_on_the_command_line(path: Path) -> None:
    """Exit status 0, 1 or 2 and never a traceback; a refused import leaves the SQLite file as it was."""
    target = path.with_name("target.db")
    CliRunner().invoke(main, ["import", str(LOGS[0]), "--store", f"sqlite:///{target}"], catch_exceptions=False)
    held = target.read_bytes()
    with counted("logs on the command line") as came:

        @settings(PROFILE, max_examples=max(20, EXECUTIONS // 20))
        @given(files(LOGS[1:]))
        def run(data: bytes) -> None:
            path.write_bytes(data)
            for beside in path.parent.glob("target.db*"):
                beside.unlink()
            target.write_bytes(held)
            before = dump(target)
            arguments = ["import", str(path), "--store", f"sqlite:///{target}"]
            result = CliRunner().invoke(main, arguments, catch_exceptions=False)
            came[f"exit {result.exit_code}"] += 1
            assert result.exit_code in (0, 1, 2)
            if result.exit_code:
                assert dump(target) == before

        run()


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_that_names_code_is_unreadable(path: Path, name: str) -> None:
    """A kind is looked up among the kinds of events, and nowhere else."""
    line = {**json.loads(LOGS[0].read_text().splitlines()[1]), "kind": name}
    path.write_text(json.dumps(line) + "\n")
    ((number, entry),) = read_log(path)
    assert isinstance(entry, Unreadable)
    assert (number, entry.why) == (1, f"kind: {name} is no kind of event")


# --- Policies ---------------------------------------------------------------------------------------------------------


def toml_of(policy: Policy) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in policy.model_dump(mode="json").items()]


VALUES = [
    *("1979-05-27T07:32:00Z", "1979-05-27", "07:32:00", "1979-13-41", "inf", "nan", "-inf", "0x10", "0b2", "1_0", "+3"),
    *("2", "100", "101", "9" * 400, "1e9", "true", '""', "''", '"""a\nb"""', '"\\ud800"', '"\\u0000"', "[]", "[1]"),
    *("[[]]", "{}", "{a = 1}", "{a = {b = {c = 1}}}", "[" * 50 + "]" * 50, '["imminent"]', '["none"]', '["user"]'),
    *('"' + "x" * 200 + '"', '["' + "a" * 65 + '"]', '"at_gate"', '["imminent", 1979-05-27]', '["*"]', "[", "nope"),
]  # fmt: skip
LINES = [
    "[name]",
    "[[name]]",
    "[a.b.c]",
    "name = 'twice'",
    "name.x = 1",
    "'' = 1",
    '"\\u0000" = 1',
    "# \x01",
    "=",
    "\t",
    "[",
    "x",
]


@st.composite
def policies(draw: st.DrawFn) -> bytes:
    """A file that held a policy."""
    lines = toml_of(draw(st.sampled_from(list(PROFILES.values()))))
    for _ in range(draw(st.integers(0, 3))):
        index = draw(st.integers(0, len(lines) - 1))
        key = lines[index].partition(" = ")[0]
        match draw(st.sampled_from(["value", "value", "drop", "double", "insert", "rename"])):
            case "value":
                lines[index] = f"{key} = {draw(st.sampled_from(VALUES))}"
            case "drop" if len(lines) > 1:
                del lines[index]
            case "double":
                lines.append(lines[index])
            case "insert":
                lines.insert(index, draw(st.sampled_from(LINES)))
            case _:
                lines[index] = lines[index].replace(
                    key, draw(st.sampled_from(["x", '"a b"', "'.'", "a.b", "\u00e9"])), 1
                )
    data = ("\n".join(lines) + "\n").encode()
    for _ in range(draw(st.sampled_from([0, 0, 1]))):
        data = break_bytes(draw, data)
    return SHAPES[draw(st.sampled_from([*["as it is"] * 6, *SHAPES]))](data)


def names_file(error: Exception, name: str) -> None:
    """On each line, since every wrong key has one."""
    assert all(line.startswith(f"{name}: ") for line in str(error).split("\n")), str(error)


def take_policy(path: Path, data: bytes) -> str:
    """It is at or above every floor, or refused; the message names the file, and the line where there is one."""
    path.write_bytes(data)
    try:
        policy = load_policy(str(path))
    except BadInput as error:
        names_file(error, str(path))
        return "refused"
    assert Policy.model_validate_json(policy.model_dump_json()) == policy
    assert policy.min_failed_redirections >= 2
    assert "imminent" in policy.hold_on
    assert not {"user", "model"} & set(policy.trusted_for_risk)
    return "read"


def test_policies(path: Path) -> None:
    with counted("policies", "read", "refused") as came:

        @PROFILE
        @given(policies())
        def run(data: bytes) -> None:
            came[take_policy(path, data)] += 1

        run()


def test_policies_as_text() -> None:
    """Whoever hands in text gets a PolicyError, and no other error."""
    with counted("policies as text") as came:

        @PROFILE
        @given(st.text() | policies().map(lambda data: data.decode("utf-8", "replace")))
        def run(text: str) -> None:
            came["tried"] += 1
            try:
                Policy.from_toml(text, "here")
            except PolicyError as error:
                names_file(error, "here")

        run()


# --- What is too large ------------------------------------------------------------------------------------------------


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
from lastresort.adapters.inputs import MAX_LINE_VALUES, BadInput
from lastresort.adapters.transcripts import read_transcripts

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
