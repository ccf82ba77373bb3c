"""The key of a log, in a file, and beside it the checkpoints that it signed and published last.

    FILE             private keys, a line each: Ed25519, which every reader of the public network knows, and ML-DSA-44
    FILE.signed      the checkpoint that was signed last: nothing that is inconsistent with it is signed
    FILE.published   the one that was published last

They belong to the key and not to the database, so that a database that is restored from a backup does not take them
back with it.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.databases.files import named, sync_folder
from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.notes import ED25519, ML_DSA_44, BadNote, Note, Signer, VerifierKey


class LogKey:
    """The key of a log.

    Args:
        path: of its file.
        copies: files where the published checkpoint is kept too.

    Raises:
        StoreError: it cannot be read, or is no key.
    """

    def __init__(self, path: Path, copies: tuple[Path, ...] = ()) -> None:
        self.path = path
        self._copies = copies
        self._signers = read_signers(path)
        self.origin = self._signers[0].name
        if any(one.name != self.origin for one in self._signers) or self._signers[0].kind != ED25519:
            raise StoreError(f"{path}: an Ed25519 key of a log is needed first, and others of the same name")

    @property
    def verifier(self) -> VerifierKey:
        """The public key that policies name."""
        return self._signers[0].verifier

    @property
    def verifiers(self) -> tuple[VerifierKey, ...]:
        """All public keys."""
        return tuple(one.verifier for one in self._signers)

    def sign(self, checkpoint: Checkpoint, now: int) -> Note:
        """Sign a checkpoint."""
        text = checkpoint.text
        return Note(text, tuple(one.sign(text, now) for one in self._signers))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from signing with the key while the block lasts."""
        with named(), self.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def signed(self) -> Checkpoint | None:
        """Return the checkpoint that was signed last."""
        note = read_note(self._beside("signed"))
        return None if note is None else Checkpoint.parse(note.text)

    def published(self) -> Note | None:
        """Return the checkpoint that was published last, with its signatures."""
        return read_note(self._beside("published"))

    def keep_signed(self, note: Note) -> None:
        """Keep the checkpoint that was signed, for good."""
        write_whole(self._beside("signed"), str(note))

    def keep_published(self, note: Note) -> None:
        """Keep the checkpoint that is published, for good."""
        for path in (self._beside("published"), *self._copies):
            write_whole(path, str(note))

    def _beside(self, end: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{end}")


def read_signers(path: Path) -> tuple[Signer, ...]:
    """Read private keys, a line each.

    Raises:
        StoreError: they cannot be read.
    """
    with named():
        data = path.read_bytes()
    try:
        return tuple(map(Signer.parse, data.decode().splitlines())) or _none(path)
    except (BadNote, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: {error}") from None


def _none(path: Path) -> tuple[Signer, ...]:
    raise StoreError(f"{path}: it is empty, and a private key is needed")


def make_keys(path: Path, name: str, *kinds: int) -> tuple[Signer, ...]:
    """Make private keys of a name in a file that was not there, for its owner alone.

    Raises:
        StoreError: it cannot be written.
        BadNote: nobody can have that name.
    """
    signers = tuple(Signer.generate(name, kind) for kind in kinds)
    with named():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w") as file:
            file.write("".join(f"{one}\n" for one in signers))
            file.flush()
            os.fsync(handle)
        sync_folder(path.parent)
    return signers


def make_log_key(path: Path, origin: str) -> LogKey:
    """Make the keys of a log in a file that was not there."""
    make_keys(path, origin, ED25519, ML_DSA_44)
    return LogKey(path)


def read_note(path: Path) -> Note | None:
    """Read a checkpoint from a file, None if there is none.

    Raises:
        StoreError: it cannot be read, or is none.
    """
    try:
        with named():
            return checkpoint_note(path.read_bytes()) if path.exists() else None
    except BadNote as error:
        raise StoreError(f"{path}: {error}") from None


def checkpoint_note(data: bytes) -> Note:
    """Read a checkpoint with its signatures.

    Raises:
        BadNote: it is none.
    """
    try:
        note = Note.parse(data.decode())
    except UnicodeDecodeError:
        raise BadNote("malformed note: it is not UTF-8") from None
    Checkpoint.parse(note.text)
    return note


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds all of it or what was there before, and so that it lasts.

    Nobody can have prepared what it is first written into: the folder may be one that others can write.

    Raises:
        StoreError: it cannot be written, or something is there that is no plain file, and that nothing replaces.
    """
    if path.exists() and not path.is_file():
        raise StoreError(f"{path}: is there, and is not a file")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with named():
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        try:
            with open(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)
