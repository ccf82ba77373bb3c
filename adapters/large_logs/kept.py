"""What was found in parts that are done, kept so that nobody does them again.

It is known by all that it follows from: the bytes of the files, what was known of the rest of the log, what was asked,
and the version of this program. So what was kept of another log, or for another question, is never taken for it.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

_FORM = 3
"""The version of the form of what is kept. It goes up when something else would be found in a part than before."""
_KEYS = TypeAdapter(tuple[object, ...])
Found = TypeVar("Found")


class Kept(Generic[Found]):
    """A folder with what was found in parts.

    Args:
        folder: which is made if it is not there.
        log: the folder in which the log is.
        form: of what is found.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: Path, log: Path, form: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._log = folder, log
        self._form: TypeAdapter[Found] = TypeAdapter(form)
        self._digests: dict[Path, str] = {}

    def of(self, name: str, files: Sequence[Path], asked: tuple[object, ...]) -> Found | None:
        """Return what was found in a part; None if it was not done.

        Args:
            name: of the part.
            files: that it is in.
            asked: of it, and what is known of the rest of the log.
        """
        with suppress(FileNotFoundError, ValidationError):
            return self._form.validate_json(self.path(name, files, asked).read_bytes())
        return None

    def keep(self, name: str, files: Sequence[Path], asked: tuple[object, ...], found: Found) -> None:
        """Keep what was found in a part, all of it or nothing."""
        path = self.path(name, files, asked)
        draft = path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(self._form.dump_json(found))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def forget(self, name: str, files: Sequence[Path], asked: tuple[object, ...]) -> None:
        """Keep nothing of a part."""
        self.path(name, files, asked).unlink(missing_ok=True)

    def path(self, name: str, files: Sequence[Path], asked: tuple[object, ...]) -> Path:
        """Return where it is kept what was found in a part."""
        digests = [(file.relative_to(self._log).as_posix(), self._digest(file)) for file in files]
        key = sha256(_KEYS.dump_json((_FORM, version("lastresort"), name, *asked, digests))).hexdigest()
        return self._folder / f"part-{name}-{key[:32]}.json"

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            with path.open("rb") as file:
                self._digests[path] = file_digest(file, "sha256").hexdigest()
        return self._digests[path]
