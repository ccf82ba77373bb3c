"""Files that people hand in: JSON lines and policies. What is wrong with one is named by file, line and field."""

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lastresort.adapters.stores.codec import explain
from lastresort.domain.policy import PROFILES, Policy, PolicyError

MAX_LINE_BYTES = 16 * 2**20
"""The longest line that is read."""

MAX_LINE_VALUES = 2**18
"""The most values in a line: each may be wrong, and what is told of one takes much more memory than the value does."""

MAX_POLICY_BYTES = 2**16
"""The longest policy that is read."""

M = TypeVar("M", bound=BaseModel)


class BadInput(Exception):
    """A file is not what it should be. The message names file, line and field, and says what is wrong."""


def read_lines(path: Path, model: type[M]) -> Iterator[tuple[int, M]]:
    """Yield the objects in a file of JSON lines, each with its line number. Blank lines, and a mark that the file is
    UTF-8, are passed over.

    Raises:
        BadInput: the file cannot be read, or a line is not a `model`.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if len(line) > MAX_LINE_BYTES:
                    raise BadInput(f"{path}:{number}: the line is longer than {MAX_LINE_BYTES:,} bytes; split it")
                if _has_too_many_values(line):
                    raise BadInput(f"{path}:{number}: the line holds more than {MAX_LINE_VALUES:,} values; split it")
                if line.strip():
                    yield number, _parse(path, number, line, model)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None


_TEXT_OR_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|([,{[])', re.DOTALL)


def _has_too_many_values(line: bytes) -> bool:
    """Count what begins a value, but not within texts, before anything is made of the line."""
    if sum(map(line.count, (b",", b"{", b"["))) <= MAX_LINE_VALUES:
        return False
    marks = (found for found in _TEXT_OR_MARK.finditer(line) if found.lastindex)
    return next(islice(marks, MAX_LINE_VALUES, None), None) is not None


def _parse(path: Path, number: int, line: bytes, model: type[M]) -> M:
    text = line.rstrip()
    try:
        read = model.model_validate_json(text)
        json.loads(text, object_pairs_hook=_without_repetition, parse_int=str)
    except ValidationError as error:
        raise BadInput(f"{path}:{number}: {explain(error).replace(' at line 1 column ', ' at column ')}") from None
    except _Repetition:
        raise BadInput(
            f"{path}:{number}: value: an object has a field twice, and which of the two counts is anybody's guess"
        ) from None
    return read


class _Repetition(Exception):
    """A field comes twice in one object."""


def _without_repetition(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(fields)
    if len(read) < len(fields):
        raise _Repetition
    return read


def load_policy(name: str) -> Policy:
    """Return a shipped profile by its name, or the policy in a TOML file.

    Raises:
        BadInput: there is neither, or the file's policy cannot be.
    """
    if name in PROFILES:
        return PROFILES[name]
    path = Path(name)
    try:
        if not path.is_file():
            raise BadInput(f"no policy {name}: neither a profile ({', '.join(PROFILES)}) nor a file")
        if path.stat().st_size > MAX_POLICY_BYTES:
            raise BadInput(f"{path}: a policy of more than {MAX_POLICY_BYTES:,} bytes is none")
        return Policy.from_toml(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None
    except PolicyError as error:
        raise BadInput(str(error)) from None
