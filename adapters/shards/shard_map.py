"""The map of virtual shards to stores, in a file of TOML whose name ends in `shards.toml`.

    [[shard]]
    range = "0-127"
    url = "sqlite:///first.db"

    [[shard]]
    range = "128-255"
    url = "postgresql://lastresort@second/chats"

Each of the 256 virtual shards is in one range; a store may have several. A relative `sqlite:///` URL is relative to the
folder of the file, so that the same file means the same stores from wherever it is opened.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lastresort.adapters.databases.errors import StoreError
from lastresort.domain.policy import without_key

ENDING = "shards.toml"
SHARDS = 256
"""How many virtual shards there are, for ever: a conversation's follows from its id."""
_SQLITE = "sqlite:///"
_RANGE = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?", re.ASCII)
_FORM = '[[shard]] with range = "0-127" and url = "sqlite:///FILE"'


class MappedStore(NamedTuple):
    """A store and its virtual shards, in their order."""

    url: str
    shards: tuple[int, ...]


def is_shard_map(url: str) -> bool:
    """Whether what names a store names the map of several."""
    return "://" not in url and url.endswith(ENDING)


def read_shard_map(path: Path) -> list[MappedStore]:
    """Return the stores of a map, that of shard 0 first.

    Raises:
        StoreError: it cannot be read, or is no map: the message names the field, and says what to do.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what tomllib lets through beside it
        raise StoreError(f"{path}: not TOML: {without_key(str(error))}") from None
    try:
        return _stores(told, path.absolute().parent)
    except ValueError as error:
        raise StoreError(f"{path}: {error}") from None


def _stores(told: dict[str, Any], folder: Path) -> list[MappedStore]:
    entries = told.get("shard")
    if set(told) != {"shard"} or not isinstance(entries, list) or not entries:
        raise ValueError(f"one or more {_FORM} are needed, and nothing else")
    urls: dict[int, str] = {}
    for number, entry in enumerate(entries, start=1):
        shards, url = _entry(f"shard {number}", entry, folder)
        for shard in shards:
            if shard in urls:
                raise ValueError(f"shard {number}, range: {shard} is in an earlier range too; keep it in one")
            urls[shard] = url
    if missing := [shard for shard in range(SHARDS) if shard not in urls]:
        raise ValueError(f"range: {told_ranges(missing)} is in no range; all of 0-{SHARDS - 1} have to be in one")
    return [
        MappedStore(url, tuple(shard for shard, at in sorted(urls.items()) if at == url))
        for url in dict.fromkeys(at for _, at in sorted(urls.items()))
    ]


def _entry(where: str, entry: Any, folder: Path) -> tuple[Iterable[int], str]:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: is no table; write {_FORM}")
    if unknown := sorted(entry.keys() - {"range", "url"}):
        raise ValueError(f"{where}: an unknown key, of length {len(unknown[0])}; known are range and url")
    shards, url = parsed_range(f"{where}, range", entry.get("range")), entry.get("url")
    if not isinstance(url, str) or "://" not in url:
        raise ValueError(f"{where}, url: the URL of a store is needed, such as sqlite:///FILE")
    return shards, absolute(url, folder)


def absolute(url: str, folder: Path) -> str:
    """Return a URL that means the same from everywhere: a relative one of SQLite is relative to a folder."""
    if url.startswith(_SQLITE) and not url.startswith(f"{_SQLITE}/"):
        return f"{_SQLITE}{folder / url.removeprefix(_SQLITE)}"
    return url


def parsed_range(where: str, text: Any) -> range:
    """Return the virtual shards of a range, "0-127" or "7".

    Raises:
        ValueError: it is none; it begins with `where`.
    """
    found = _RANGE.fullmatch(text) if isinstance(text, str) else None
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not first <= last < SHARDS:
        raise ValueError(f'{where}: write two numbers from 0 to {SHARDS - 1}, the smaller first, as "0-127", or one')
    return range(first, last + 1)


def told_ranges(shards: Sequence[int]) -> str:
    """Return virtual shards, in their order, as ranges: `0-127, 200`."""
    spans: list[list[int]] = []
    for shard in shards:
        if spans and spans[-1][-1] == shard - 1:
            spans[-1][1:] = [shard]
        else:
            spans.append([shard])
    return ", ".join("-".join(map(str, span)) for span in spans)


def written(stores: Iterable[MappedStore]) -> str:
    """Return the map as a file has it."""
    lines = ["# Which store has which of the 256 virtual shards: docs/how-to/shards.md"]
    for url, shards in stores:
        for span in told_ranges(shards).split(", "):
            lines += ["", "[[shard]]", f'range = "{span}"', f"url = {_quoted(url)}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
