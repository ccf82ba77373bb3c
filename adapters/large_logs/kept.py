"""The audits of parts that are done, kept so that nobody does them again.

One is known by all that it follows from: the bytes of the files, what was known of the rest of the log, what was asked,
and the version of this program. So what was kept of another log, or for another question, is never taken for it.
"""

import os
from collections.abc import Sequence
from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from lastresort.projections.parts import PartAudit

if TYPE_CHECKING:
    from .auditing import AuditJob

_FORM = 1
"""The version of the form of what is kept. It goes up when a part would be audited otherwise than before."""
_AUDITS = TypeAdapter(PartAudit)
_KEYS = TypeAdapter(tuple[object, ...])


class KeptAudits:
    """A folder with the audits of parts.

    Args:
        folder: which is made if it is not there.
        log: the folder that is audited.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._log = folder, log
        self._digests: dict[Path, str] = {}

    def of(self, job: "AuditJob") -> PartAudit | None:
        """Return the audit of a part; None if it was not done."""
        try:
            return _AUDITS.validate_json(self._path(job).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def keep(self, job: "AuditJob", found: PartAudit) -> None:
        """Keep the audit of a part, all of it or nothing."""
        path = self._path(job)
        draft = path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(_AUDITS.dump_json(found))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def _path(self, job: "AuditJob") -> Path:
        asked = job.read_twice, job.edition, sorted(job.together.items()), sorted(job.known.gaps.items())
        rest = sorted(job.known.unreadable), self._digests_of(job.files), job.name
        key = sha256(_KEYS.dump_json((_FORM, version("lastresort"), *asked, *rest))).hexdigest()
        return self._folder / f"part-{job.name}-{key[:32]}.json"

    def _digests_of(self, files: Sequence[Path]) -> list[tuple[str, str]]:
        return [(file.relative_to(self._log).as_posix(), self._digest(file)) for file in files]

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            with path.open("rb") as file:
                self._digests[path] = file_digest(file, "sha256").hexdigest()
        return self._digests[path]
