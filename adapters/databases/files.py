"""The files of an SQLite store: where each lies, and what names them to SQLite."""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from .errors import StoreError

_SCHEME = "sqlite:///"
_BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database while it is in use."""


class StoreFiles(NamedTuple):
    """The files of an SQLite store, or of a backup of one, which has no master key beside it."""

    log: Path

    @classmethod
    def at(cls, address: str) -> "StoreFiles | None":
        """Return the files of the store at an address, None if it is no SQLite store.

        Args:
            address: the URL of a store; settings after a `?` are passed over.
        """
        if not address.startswith(_SCHEME):
            return None
        return cls(Path(address.removeprefix(_SCHEME).partition("?")[0]))

    @property
    def keys(self) -> Path:
        """The wrapped keys of the words in the log."""
        return _beside(self.log, "-keys")

    @property
    def master(self) -> Path:
        """What wraps the keys, unless that comes from elsewhere."""
        return _beside(self.log, "-master")

    @property
    def destroyed(self) -> Path:
        """The names of the keys that were destroyed, so that no backup brings one back."""
        return _beside(self.log, "-destroyed")

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of the log that was published last, if it has a transparency log."""
        return _beside(self.log, "-checkpoint")

    @property
    def leftovers(self) -> tuple[Path, ...]:
        """What SQLite keeps beside the log and the keys, or left there: it would take it for that of a new store."""
        return tuple(_beside(path, end) for path in (self.log, self.keys) for end in _BESIDE)

    def owns(self, path: Path) -> bool:
        """Whether a path leads to one of these files, or to where one of them would come about, by whatever name."""
        real, master = _resolved(path), _resolved(self.master.parent) / self.master.name
        former = real.parent == master.parent and self._is_former(real)
        return former or any(_is_same(path, own) for own in self._all())

    def _is_former(self, path: Path) -> bool:
        """Whether a name is one that a rotation gives to a former master key, which backups may need."""
        return re.fullmatch(f"{re.escape(self.master.name)}-[0-9a-f]{{16}}", path.name) is not None

    def _all(self) -> Iterator[Path]:
        yield from (self.log, self.keys, self.master, self.checkpoint, self.destroyed)
        yield from self.leftovers
        with suppress(OSError):
            yield from filter(self._is_former, self.master.parent.iterdir())
        for path in (self.log, self.keys):
            yield from (_beside(_resolved(path), end) for end in _BESIDE)  # where SQLite looks, behind a link


def uri(path: Path, mode: str = "rw") -> str:
    """Return what names a database to SQLite, however the file is called.

    Not `mode=ro`, not even to read: SQLite would leave files beside a database that is in WAL mode. What
    `read_only_mode` returns leaves none.
    """
    return f"{path.absolute().as_uri()}?mode={mode}"


def may_write(path: Path) -> bool:
    """Whether this user may write a database, and own what SQLite makes beside it, without locking its owner out."""
    real = path.resolve()
    allowed = _writable(real) and _writable(real.parent)
    return allowed and os.geteuid() in (0, real.stat().st_uid)


def check_may_write(path: Path) -> None:
    """Check that this user may write a database, before SQLite makes files beside it that lock its owner out.

    Raises:
        StoreError: they may not.
    """
    real = path.resolve()
    beside = (_beside(real, "-wal"), _beside(real, "-shm"))
    there = real.parent if not all(one.exists() for one in beside) else real
    if not (_writable(real) and _writable(there)):
        raise StoreError(
            f"{real} cannot be written by this user, or its folder cannot: act as its owner. `lastresort audit` needs "
            f"only to read it; for anything else, ask its owner for a backup or an export: {_ASKED}"
        )


def read_only_mode(path: Path) -> str:
    """Return the mode, for `uri`, in which SQLite reads a database and makes no file beside it.

    Raises:
        StoreError: it cannot be read so now; the message says what to do.
    """
    real = path.resolve()
    wal, shared = _beside(real, "-wal"), _beside(real, "-shm")
    ask = f"ask its owner for a backup or an export, and audit that: {_ASKED}"
    if not _readable(real):
        raise StoreError(f"{real} cannot be read by this user; {ask}")
    if _readable(wal) and _readable(shared):
        return "ro&readonly_shm=1"
    if wal.exists() and wal.stat().st_size:
        raise StoreError(
            f"{wal} holds what is not yet in the log's file, and without writing it cannot be read: if no program "
            f"has the store open, its owner empties that file by running `lastresort audit`; else {ask}"
        )
    return IMMUTABLE


IMMUTABLE = "ro&immutable=1"
"""The mode in which SQLite assumes that nobody writes. Someone who reads in it checks afterwards that nobody did."""

_ASKED = "`lastresort backup URL FILE`, `lastresort export URL --output FILE`"


def _readable(path: Path) -> bool:
    return os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Check that nobody wrote a database while it was read as one that nobody writes.

    Raises:
        StoreError: somebody did, so what was read may be a mixture.
    """
    real = path.resolve()
    before = _state_of(real)
    yield
    if _state_of(real) != before:
        raise StoreError("the log was written while it was read, so nothing can be said of it; try again")


def _state_of(real: Path) -> tuple[int, int, int]:
    found, wal = real.stat(), _beside(real, "-wal")
    return found.st_mtime_ns, found.st_size, wal.stat().st_size if wal.exists() else 0


@contextmanager
def named() -> Iterator[None]:
    """Say of a file that cannot be looked at, read or written which it is, and why.

    Raises:
        StoreError: in place of what the system raised.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise StoreError(f"{os.fsdecode(error.filename)}: {error.strerror}") from error


def make_private(path: Path) -> None:
    """Make an empty file that its owner alone can read and write, unless there is one; check the one that there is.

    Raises:
        StoreError: that one is open to others, see `check_private`.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        check_private(path)


def check_private(path: Path, *, secret: bool = False, log: Path | None = None) -> None:
    """Check that nobody else can have written a file of a store, nor read it, if it is `secret`.

    A secret, and a link to it, has to belong to the user who asks or to root. Root may be asked for somebody else's
    store, and takes what belongs to the owner of its `log`.

    Raises:
        StoreError: others can, or the file is another user's; the message has the command that mends it.
    """
    found = path.stat()
    mode, closed = stat.S_IMODE(found.st_mode), 0o077 if secret else 0o002
    if mode & closed:
        can = "read" if mode & closed & 0o044 else "write"
        raise StoreError(f"{path} has mode {mode:04o}, so others can {can} it; if they did not, run: chmod 600 {path}")
    if not secret:
        return
    owners = {0, os.geteuid()}
    if os.geteuid() == 0 and log is not None and log.exists():
        owners.add(log.stat().st_uid)
    if not {found.st_uid, path.lstat().st_uid} <= owners:
        owner = "$USER" if os.geteuid() else "root" if log is None else f"--reference={log}"
        link = "" if found.st_uid not in owners else "-h "
        raise StoreError(
            f"{path} belongs to another user, who may have planted it; if it is yours, run: chown {link}{owner} {path}"
        )


def new_draft(path: Path) -> Path:
    """Make an empty file beside `path`, which its owner alone can read, to be written and renamed when it is complete.

    Its name cannot be guessed, and it follows no link: nobody can have prepared what is written into.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    return draft


def sync_folder(folder: Path) -> None:
    """Have what was made in a folder, or renamed there, outlast a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(path: Path, end: str) -> Path:
    return path.parent / (path.name + end)  # unlike `with_name`, of a folder too: what is wrong is for others to say


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return _resolved(one) == _resolved(other)


def _resolved(path: Path) -> Path:
    """Return what a path leads to, itself where it leads nowhere: round in a ring, or through what is no name."""
    with suppress(OSError, RuntimeError):
        return path.resolve()
    return path
