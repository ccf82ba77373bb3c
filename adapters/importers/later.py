"""What an import keeps beside the log, put off until all of the log is made: an import that fails leaves none of it.

It is sealed when it comes, and waits in a file, so that it takes no memory.
"""

import json
from collections.abc import Iterable, Mapping
from typing import TextIO

from lastresort.application.ports import Annotations


class LaterAnnotations:
    """Annotations that are put when `write_to` says so, and are not to be found before.

    Of `application.ports.Annotations` it has what it takes to describe a conversation that nobody has described.

    Args:
        file: where they wait.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def put(self, owner: str, entries: Mapping[str, bytes], *, replace: bool = True) -> None:
        sealed = {name: data.hex() for name, data in entries.items()}
        self._file.write(f"{json.dumps([owner, sealed, replace])}\n")

    def write_to(self, annotations: Annotations) -> None:
        """Put what has come."""
        self._file.seek(0)
        for line in self._file:
            owner, sealed, replace = json.loads(line)
            annotations.put(owner, {name: bytes.fromhex(data) for name, data in sealed.items()}, replace=replace)

    def find(self, owner: str, name: str) -> bytes | None:
        return None

    def drop(self, owner: str, names: Iterable[str]) -> None:
        assert not list(names), "nothing is dropped that was not put"
