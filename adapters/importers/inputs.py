"""Files that people hand in: JSON lines and policies. What is wrong with one is named by file, line and field.

A file of another kind than asked for is told by its first line, so that people learn which command takes it.
"""

import codecs
import json
import re
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from lastresort.adapters.stores.codec import explain
from lastresort.domain.policy import PROFILES, Policy, PolicyError

MAX_LINE_BYTES = 16 * 2**20
"""The longest line that is read."""

MAX_LINE_VALUES = 2**18
"""The most values in a line: each may be wrong, and what is told of one takes much more memory than the value does."""

MAX_POLICY_BYTES = 2**16
"""The longest policy that is read."""

_NEAR = 0.75
"""How alike two names are, of 1, for one to be taken for a typing error of the other."""
_SLIPS = 100
"""The most mistakes in a line for which something is suggested: beyond that it is something else."""

M = TypeVar("M", bound=BaseModel)


_AT_ONCE = 2**20
"""Bytes that are read at a time. Each read releases the interpreter's lock and acquires it again; small reads, and so
many of them, would keep it from the thread that writes."""

STANDARD_INPUT = Path("-")
"""Stands for what is piped in, wherever a file is read."""


class BadInput(Exception):
    """A file is not what it should be. The message names file, line and field, and says what is wrong."""


def shown_path(path: Path) -> str:
    """Return what a file is called in messages."""
    return "standard input" if path == STANDARD_INPUT else str(path)


@contextmanager
def _bytes_of(path: Path) -> Iterator[BinaryIO]:
    """Open a file, or what is piped in, which is left open."""
    if path != STANDARD_INPUT:
        with path.open("rb", buffering=_AT_ONCE) as file:
            yield file
    elif sys.stdin is None:
        raise BadInput("standard input: is closed")
    else:
        yield sys.stdin.buffer


def read_lines(path: Path, model: type[M], wanted: str = "what is read here") -> Iterator[tuple[int, M]]:
    """Yield the objects in a file of JSON lines, each with its line number. Blank lines, and a mark that the file is
    UTF-8, are passed over. `wanted` is what such a file is called where another one was handed in.

    Raises:
        BadInput: the file cannot be read, holds nothing, or a line is not a `model`.
    """
    source = shown_path(path)
    for number, line in raw_lines(path, wanted):
        yield number, parsed(source, number, line, model)


def raw_lines(path: Path, wanted: str = "what is read here") -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file of JSON lines that are to be parsed, each with its number, as `read_lines` does.

    Raises:
        BadInput: the file cannot be read, holds nothing, or a line is longer than may be.
    """
    source, read = shown_path(path), 0
    try:
        with _bytes_of(path) as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if not read:
                    _check_is_json_lines(source, number, line, wanted)
                if len(line) > MAX_LINE_BYTES:
                    raise BadInput(f"{source}:{number}: the line is longer than {MAX_LINE_BYTES:,} bytes; split it")
                if len(line) > MAX_LINE_VALUES and _has_too_many_values(line):
                    raise BadInput(f"{source}:{number}: the line holds more than {MAX_LINE_VALUES:,} values; split it")
                if line.strip():
                    read += 1
                    yield number, line
    except OSError as error:
        raise BadInput(f"{source}: cannot be read: {error.strerror}") from None
    if not read:
        raise BadInput(f"{source}: is empty: there is not one line of JSON in it")


_PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")
"""How files begin that are compressed by gzip, zip, zstd, bzip2 and xz."""

_TOML = re.compile(rb"[\w.\"'-]+\s*=|\[\[?[\w.\"'-]+\]\]?\s*$")


def _check_is_json_lines(source: str, number: int, line: bytes, wanted: str) -> None:
    """Tell by its beginning a file that is often mistaken for one of JSON lines."""
    begins = line.strip()
    if line.startswith(b"SQLite format 3\0"):
        raise BadInput(f"{source}: this is an SQLite database, not a file of JSON lines; a store is named by its URL")
    if line.startswith(_PACKED):
        this = "a compressed file; unpack it first"
    elif b"\0" in line or not (begins.startswith(b"{") or _is_text(line)):
        this = "not text"
    elif _TOML.match(begins):
        this = "TOML, as a policy is"
    elif begins.startswith(b"["):
        this = "a JSON array"
    elif begins and not (begins.startswith(b"{") or _is_json(begins)):
        this = "not JSON"
    else:
        return
    raise BadInput(f"{source}:{number}: this is {this}; {wanted} has one JSON object a line")


def _is_text(line: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line)  # of a line that is too long, the end may be missing
    except UnicodeDecodeError:
        return False
    return True


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return True


_TEXT_OR_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|([,{[])', re.DOTALL)


def _has_too_many_values(line: bytes) -> bool:
    """Count what begins a value, but not within texts, before anything is made of the line."""
    if sum(map(line.count, (b",", b"{", b"["))) <= MAX_LINE_VALUES:
        return False
    marks = (found for found in _TEXT_OR_MARK.finditer(line) if found.lastindex)
    return next(islice(marks, MAX_LINE_VALUES, None), None) is not None


def parsed(source: str, number: int, line: bytes, model: type[M]) -> M:
    """Return the object of a line.

    Raises:
        BadInput: it is not a `model`.
    """
    text = line.rstrip()
    try:
        read = model.model_validate_json(text)
    except ValidationError as error:
        told = _of_another_kind(text, model)
        if told is None:
            told = explain(error).replace(" at line 1 column ", " at column ")
            ends = "; a line holds a whole JSON object" if "EOF while parsing" in told else ""
            told += ends + _suggestion(error, model)
        raise BadInput(f"{source}:{number}: {told}") from None
    if repeats_a_field(text):
        raise BadInput(
            f"{source}:{number}: value: an object has a field twice, and which of the two counts is anybody's guess"
        )
    return read


_KINDS = {
    "turns": "this is a transcript: use `lastresort simulate`",
    "recorded_at": "this is an exported log: use `lastresort import`, or `lastresort audit`",
}
"""What a line is that has a certain field, where another kind of line is asked for, and which command takes it."""


def _of_another_kind(text: bytes, model: type[BaseModel]) -> str | None:
    """Say what a line is if it is of another kind than the one that was asked for."""
    others = {name: said for name, said in _KINDS.items() if name not in model.model_fields}
    if not any(f'"{name}"'.encode() in text for name in others):
        return None
    try:
        fields = json.loads(text, parse_int=str)
    except (ValueError, RecursionError):
        return None
    return of_another_kind(fields, others) if isinstance(fields, dict) else None


def of_another_kind(fields: Container[str], kinds: Mapping[str, str] = _KINDS) -> str | None:
    """Say what an object is, by its fields, that was handed in for something else; None if it is nothing of ours."""
    return next((said for name, said in kinds.items() if name in fields), None)


def _suggestion(error: ValidationError, model: type[BaseModel]) -> str:
    """Suggest fields for those that are not known: these may be somebody's words, and are not repeated."""
    if error.error_count() > _SLIPS:
        return ""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    unknown = [str(one["loc"][-1]) for one in problems if one["type"] == "extra_forbidden"]
    known = sorted(_fields_within(model))
    near = dict.fromkeys(name for one in unknown for name in get_close_matches(one, known, n=1, cutoff=_NEAR))
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _fields_within(kind: Any) -> set[str]:
    """Return the names of all fields of a model, and of the models within it."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields
        return set(fields).union(*(_fields_within(field.annotation) for field in fields.values()))
    return set[str]().union(*map(_fields_within, get_args(kind)))


class _Repetition(Exception):
    """A field comes twice in one object."""


def repeats_a_field(text: bytes) -> bool:
    """Whether an object in JSON has a field twice, which JSON's readers pass over in silence."""
    try:
        _REPETITIONS.decode(text.decode())
    except _Repetition:
        return True
    return False


def _without_repetition(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(fields)
    if len(read) < len(fields):
        raise _Repetition
    return read


_REPETITIONS = json.JSONDecoder(object_pairs_hook=_without_repetition, parse_int=str)


def load_policy(name: str) -> Policy:
    """Return a shipped profile by its name, or the policy in a TOML file; of `-`, in what is piped in.

    Raises:
        BadInput: there is neither, or the file's policy cannot be.
    """
    if name in PROFILES:
        return PROFILES[name]
    path = Path(name)
    source = shown_path(path)
    try:
        if path != STANDARD_INPUT and not path.is_file():
            near = get_close_matches(name, PROFILES, n=1, cutoff=_NEAR)
            meant = f"; did you mean {near[0]}?" if near else ""
            known = ", ".join(PROFILES)
            raise BadInput(f"no policy (length {len(name)}): neither a profile ({known}) nor a file{meant}")
        with _bytes_of(path) as file:
            text = file.read(MAX_POLICY_BYTES + 1)
        if len(text) > MAX_POLICY_BYTES:
            raise BadInput(f"{source}: longer than {MAX_POLICY_BYTES:,} bytes, which no policy is")
        if not (words := text.decode("utf-8-sig")).strip():
            raise BadInput(f"{source}: is empty: there is no policy in it")
        return Policy.from_toml(words, source)
    except OSError as error:
        raise BadInput(f"{source}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{source}: cannot be read: {error}") from None
    except PolicyError as error:
        raise BadInput(str(error)) from None
