"""Files that begin as valid ones and are then broken.

In their structure (fields dropped, doubled, retyped, nested deep), byte by byte, and policies line by line.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from lastresort import PROFILES, Policy

from .stores import ROOT

TRANSCRIPTS = sorted((ROOT / "examples").glob("*.jsonl"))
LOGS = [ROOT / "tests" / "golden" / f"{name}.jsonl" for name in ("request", "risks", "terms")]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files are put, one after the other."""
    return tmp_path_factory.mktemp("fuzz") / "in.jsonl"


# --- JSON, broken in its structure ------------------------------------------------------------------------------------


class Fields(list[tuple[str, Any]]):
    """An object as its fields stand in the text, so that one may come twice."""


class Raw(str):
    """What stands in the text as it is."""


def parsed(line: str) -> Fields:
    fields: Fields = json.loads(line, object_pairs_hook=Fields)
    return fields


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
            return b"".join((data[:at], draw(st.sampled_from(CHUNKS)), data[at:]))
        case "delete":
            return data[:at] + data[to:]
        case "replace":
            return b"".join((data[:at], draw(st.binary(max_size=4)), data[to:]))
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


# --- Policies, broken line by line ------------------------------------------------------------------------------------


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
