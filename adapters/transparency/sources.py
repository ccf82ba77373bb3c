"""Where published tiles are read from: a folder, or a server."""

import http.client
import os
import stat
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.tlog.merkle import HASH_BYTES
from lastresort.adapters.tlog.tiles import WIDTH, MissingTile, Tile

_TIMEOUT = 10.0
_MOST_BYTES = 2**25  # 256 entries of 64 KiB, and what stands between them

Read = Callable[[str], bytes | None]
"""Returns what is published at a path, None if nothing is."""


def source(place: str) -> Read:
    """Return what reads published tiles.

    Args:
        place: a folder, or the URL of one.
    """
    if place.startswith(("http://", "https://")):
        return lambda path: _fetched(f"{place.rstrip('/')}/{path}")
    folder = Path(place)
    if not folder.is_dir():
        raise StoreError(f"no folder {place} with the tiles of a log; `lastresort log export-tiles` writes one")
    return lambda path: _file(folder / path)


def _file(path: Path) -> bytes | None:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a pipe would be waited for, a device has no end
                raise StoreError(f"{path} cannot be read: it is no file")
            return file.read(_MOST_BYTES)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None


def _fetched(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            data: bytes = answer.read(_MOST_BYTES)
            if answer.length:
                raise StoreError(f"{url} cannot be read: it was cut off, or has more than {_MOST_BYTES:,} bytes")
            return data
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (404, 410):
                return None
            raise StoreError(f"{url} cannot be read: the server answered {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StoreError(f"{url} cannot be read: {error or type(error).__name__}") from None


def tile_reader(read: Read, size: int) -> Callable[[int, int], bytes]:
    """Return what reads the tiles of a tree of `size` leaves, by level and number.

    Of a partial one that is full by now, the full one will do.
    """

    def tile(level: int, number: int) -> bytes:
        width = min(WIDTH, (size >> 8 * level) - number * WIDTH)
        return piece(read, Tile(level, number, width), lambda one: one.path)[: width * HASH_BYTES]

    return tile


def piece(read: Read, tile: Tile, path: Callable[[Tile], str]) -> bytes:
    """Return a tile, or what else is published by tiles.

    Raises:
        MissingTile: it is not there, or shorter than it has to be.
    """
    found = read(path(tile))
    if found is None and tile.width != WIDTH:
        found = read(path(tile._replace(width=WIDTH)))
    if found is None:
        raise MissingTile(f"{path(tile)}: it is not there")
    return found
