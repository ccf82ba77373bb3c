"""Files of foreign chats: an array or an object of JSON over many lines, JSON lines, or a zip file that holds one.

They are read value by value, in memory that the longest value bounds, and strictly: what is cut off, twice in one
object, not in UTF-8, or nested out of all reason is told by file and place, without a word that stands there.
"""

import codecs
import json
import math
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

MOST_CHARACTERS = 128 * 2**20
"""The longest value that is read: a conversation, or a line."""
MOST_VALUES = 2**21
"""How many values may be within one. What is made of an empty array takes twenty times as much as its two brackets."""
_CHUNK = 2**20
_SPACE = " \t\n\r"
_NO_SPACE = re.compile(r"[^ \t\n\r]")
_TEXT_OR_MARK = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|([][{},])', re.DOTALL)
_IN_ZIP = "conversations"
"""How the names of those files in a zip file begin that hold chats."""

_KNOWN_BY = {
    b"SQLite format 3\0": "this is an SQLite database; export the chats from the program that made it",
    b"\x1f\x8b": "is packed with gzip; unpack it first, with gunzip",
    b"BZh": "is packed with bzip2; unpack it first, with bunzip2",
    b"\xfd7zXZ\0": "is packed with xz; unpack it first, with unxz",
    b"\x28\xb5\x2f\xfd": "is packed with zstd; unpack it first, with unzstd",
    **dict.fromkeys((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "is in UTF-16; save it in UTF-8"),
}
"""What a file is that begins with these bytes, and what to do with it."""
_NESTED = (
    "it is nested too deeply: some 900 values, or 450 messages of LibreChat, may be within each other; LibreChat "
    "exports one message after the other if `Recursive` is off"
)
_CUT = "the file ends here: it is cut off"

Told = Callable[[int], None]


class BadFile(Exception):
    """A file of chats is not what it should be. The message names file, place and field, and says what is wrong."""


class Value(NamedTuple):
    """A value in a file, and where it stands: as people are told, `line 3` or `entry 3`."""

    place: str
    value: Any


class Source(NamedTuple):
    """A file to read, or one within a zip file."""

    name: str
    size: int
    path: Path
    member: zipfile.ZipInfo | None = None  # by itself, and not by its name, which two may have


class _Repeated(ValueError):
    """A field comes twice in one object."""


class _NoNumber(ValueError):
    """A number is none of JSON's."""


class _TooLarge(ValueError):
    """A number is larger than any that is kept."""


def sources(path: Path) -> tuple[list[Source], int]:
    """Return what is to be read of a file, and how many files of a zip file hold no chats.

    Raises:
        BadFile: it cannot be read, or there is nothing in it to read.
    """
    name = str(path)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise BadFile(f"{name}: is a pipe or a device, and chats are read twice; write them to a file")
        if not zipfile.is_zipfile(path):
            return [Source(name, path.stat().st_size, path)], 0
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
    except OSError as error:
        raise BadFile(f"{name}: cannot be read: {error.strerror}") from None
    except (zipfile.BadZipFile, ValueError):
        raise BadFile(f"{name}: is a damaged zip file; download it again") from None
    held = [one for one in members if _holds_chats(one.filename)]
    if not held:
        raise BadFile(f"{name}: holds no conversations.json; name the file with the chats itself")
    times = Counter(_last_of(one.filename) for one in held)
    found, nth = [], Counter[str]()
    for one in held:
        last = _last_of(one.filename)
        nth[last] += 1
        which = f" ({nth[last]})" if times[last] > 1 else ""
        found.append(Source(f"{name}, {last}{which}", one.file_size, path, one))
    return found, len(members) - len(held)


def _last_of(name: str) -> str:
    """Return the name of a file without its folders, which some programs for Windows write with a backslash."""
    return name.replace("\\", "/").rpartition("/")[2]


def _holds_chats(name: str) -> bool:
    last = _last_of(name)
    return last.startswith(_IN_ZIP) and last.endswith((".json", ".jsonl")) and last.isascii() and last.isprintable()


def values_in(source: Source, progress: Told = lambda read: None) -> Iterator[Value]:
    """Yield the values of a file: the elements of an array, or else the values that follow each other.

    Raises:
        BadFile: something is wrong with the file; the message says where.
    """
    try:
        with _bytes_of(source) as file:
            yield from _Reader(source.name, file, progress).values()
    except OSError as error:
        raise BadFile(f"{source.name}: cannot be read: {error.strerror or 'the zip file is damaged'}") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error):
        raise BadFile(f"{source.name}: cannot be unpacked: the zip file is damaged, or has a password") from None


@contextmanager
def _bytes_of(source: Source) -> Iterator[BinaryIO]:
    if source.member is None:
        with source.path.open("rb") as file:
            yield file
    else:
        with zipfile.ZipFile(source.path) as archive, archive.open(source.member) as packed:
            yield cast(BinaryIO, packed)


class _Reader:
    """Reads the values of one file."""

    def __init__(self, name: str, file: BinaryIO, progress: Told) -> None:
        self._name, self._file, self._progress = name, file, progress
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at = "", 0
        self._bytes, self._lines, self._counted = 0, 1, 0  # read so far; the line that the text is in, and up to where
        self._ended = False
        self._many = False  # whether there may be more values at hand than one may hold
        self._parse = json.JSONDecoder(
            object_pairs_hook=_once, parse_float=_number, parse_constant=_no_number, strict=False
        ).raw_decode

    def values(self) -> Iterator[Value]:
        """Yield them."""
        self._more()
        self._check_encoding()
        first = self._next()
        if not first:
            raise BadFile(f"{self._name}: is empty: there is no JSON in it")
        if first == "[":
            self._at += 1
            yield from self._elements()
        elif first == "{":
            yield from self._lined()
        else:
            self._wrong("this is not JSON; chats are in JSON, JSON lines or a zip file")

    def _elements(self) -> Iterator[Value]:
        number, mark = 0, self._next()
        while mark != "]":
            number += 1
            place = f"entry {number}"
            yield Value(place, self._value(place))
            mark = self._next()
            if mark == ",":
                self._at += 1
                mark = self._next()
                if mark == "]":
                    self._wrong("a comma, and nothing comes after it")
            elif mark != "]":
                self._wrong("a comma is missing" if mark else _CUT)
        self._at += 1
        if self._next():
            self._wrong("something comes after the end of the array")

    def _lined(self) -> Iterator[Value]:
        while self._next():
            place = f"line {self._line()}"
            yield Value(place, self._value(place))

    def _value(self, place: str) -> Any:
        """Parse the value that begins here; read on while it may be that only the rest of it is missing."""
        while True:
            if self._many:
                self._check_number(place)
            try:
                value, end = self._parse(self._text, self._at)
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            except _Repeated:
                self._wrong("an object has a field twice, and which of the two counts is anybody's guess", place)
            except _NoNumber:
                self._wrong("NaN and Infinity are not numbers in JSON", place)
            except _TooLarge:
                self._wrong("a number is too large", place)
            except json.JSONDecodeError as error:
                if self._ended or not self._may_go_on(error):
                    cut = self._ended and error.pos >= len(self._text.rstrip(_SPACE)) - 1
                    cut = cut or error.msg.startswith("Unterminated string")
                    self._at = error.pos
                    self._wrong(_CUT if cut else "this is not JSON", place)
            except RecursionError:
                self._wrong(_NESTED, place)
            except ValueError:  # a number of thousands of digits
                self._wrong("a number is too long", place)
            if len(self._text) - self._at > MOST_CHARACTERS:
                self._wrong(f"it is longer than {MOST_CHARACTERS:,} characters", place)
            self._more(len(self._text) - self._at)

    def _check_number(self, place: str) -> None:
        """Check how many values there are in the one that begins here, before anything is made of them."""
        number, depth = 0, 0
        for found in _TEXT_OR_MARK.finditer(self._text, self._at):
            mark = found[1]
            if mark is None:
                continue
            if mark in "]}":
                depth -= 1
                if depth <= 0:
                    return
                continue
            depth += mark != ","
            number += 1
            if number > MOST_VALUES:
                self._wrong(f"it holds more than {MOST_VALUES:,} values", place)

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        near_the_end = error.pos >= len(self._text) - 20  # `fals`, half of an escape
        return near_the_end or error.msg.startswith("Unterminated string")

    def _next(self) -> str:
        """Pass over white space; return the character that comes next, nothing at the end."""
        while True:
            found = _NO_SPACE.search(self._text, self._at)
            if found is not None:
                self._at = found.start()
                return found[0]
            self._at = len(self._text)
            if self._ended:
                return ""
            self._more()

    def _more(self, least: int = 0) -> None:
        """Read on, and forget what was read before the place at hand."""
        self._line()
        data = self._file.read(max(_CHUNK, least))
        self._ended = not data
        if not self._bytes and (what := next((said for mark, said in _KNOWN_BY.items() if data.startswith(mark)), "")):
            raise BadFile(f"{self._name}: {what}")
        try:
            text = self._utf8.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            pending = len(error.object) - len(data)
            self._wrong(f"byte {self._bytes - pending + error.start + 1:,} is not UTF-8; save the file in that")
        if not self._bytes:
            text = text.removeprefix("\ufeff")
        self._bytes += len(data)
        self._text, self._at, self._counted = self._text[self._at :] + text, 0, 0
        self._many = len(self._text) > MOST_VALUES and sum(map(self._text.count, ",{[")) > MOST_VALUES
        self._progress(self._bytes)

    def _check_encoding(self) -> None:
        if "\0" in self._text[:4]:
            raise BadFile(f"{self._name}: is not in UTF-8, but perhaps in UTF-16; save it in UTF-8")

    def _line(self) -> int:
        """Return the line of the place at hand. Places come in order, so each line's end is counted once."""
        self._lines += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._lines

    def _wrong(self, why: str, place: str = "") -> Any:
        about = f": {place}" if place.startswith("entry") else ""
        raise BadFile(f"{self._name}:{self._line()}{about}: {why}")


def _once(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(fields)
    if len(read) < len(fields):
        raise _Repeated
    return read


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _TooLarge
    return number


def _no_number(name: str) -> Any:
    raise _NoNumber(name)
