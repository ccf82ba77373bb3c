"""The master key, which wraps the keys of conversations: given by the caller, in the environment, or in a file."""

import base64
import binascii
import os
from collections.abc import Callable
from pathlib import Path

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.databases.files import StoreFiles, check_private, new_draft

from .keys import KEY_BYTES, KeyStore, new_key

MasterKey = Callable[[], bytes]
"""Returns the 32 bytes of the master key."""

VARIABLE = "LASTRESORT_MASTER_KEY"
_GIVEN = "what `master_key` returns"


def find_master_key(master_key: MasterKey | None, beside: Path | None, keys: KeyStore) -> bytes:
    """Return the master key that was given, or is in the environment, or in a file, which is made if need be.

    Args:
        master_key: what was given.
        beside: the file, where the store is one; a server has none that every machine sees.
        keys: what it is to wrap.

    Raises:
        StoreError: there is none, or it is not 32 bytes, or the file is gone and there are keys that it wrapped.
    """
    if (found := known(master_key, beside)) is not None:
        return found
    if beside is None:
        raise StoreError(
            f"its keys need a master key that every machine has: set {VARIABLE} to 32 random bytes in base64 "
            "(`head -c 32 /dev/urandom | base64`), or pass `master_key`"
        )
    new = keys.is_new()  # before the look at the file, which another process may be making: it notes the key after that
    if not beside.exists():
        if not new:
            raise StoreError(f"no master key at {beside}, and keys here need it; restore it or set {VARIABLE}")
        _make(beside)
    return _read(beside)


def known(master_key: MasterKey | None, beside: Path | None) -> bytes | None:
    """Return the master key that was given, or is in the environment, or in the file `beside`; None if there is none.

    Raises:
        StoreError: it is not 32 bytes, or the file is open to others.
    """
    given = given_key(master_key)
    if given is None and beside is not None and beside.exists():
        return _read(beside)
    return given


def asked_ahead(master_key: MasterKey | None, own: StoreFiles) -> MasterKey | None:
    """Ask for the master key of a store before anything of it is made, and return what gives that one again, once.

    Raises:
        StoreError: it is not 32 bytes, what is there already is open to others, or a link there leads nowhere.
    """
    for path in (own.master, own.keys):
        if path.is_symlink() and not path.exists():
            raise StoreError(f"{path} is a link that leads nowhere; put there what it leads to, or take the link away")
    if own.keys.exists():
        check_private(own.keys)
    if master_key is None:
        known(None, own.master)
        return None
    asked, ready = master_key, [_checked(master_key(), _GIVEN)]
    return lambda: ready.pop() if ready else asked()


def _read(path: Path) -> bytes:
    check_private(path, secret=True, log=path.with_name(path.name.removesuffix("-master")))
    return _checked(path.read_bytes(), str(path))


def given_key(master_key: MasterKey | None, variable: str = VARIABLE) -> bytes | None:
    """Return the master key that was given, or is in an environment variable; None if there is none.

    Raises:
        StoreError: it is not 32 bytes.
    """
    if master_key is not None:
        return _checked(master_key(), _GIVEN)
    text = os.environ.get(variable)
    if text is None:
        return None
    try:
        return _checked(base64.b64decode(text, validate=True), variable)
    except binascii.Error:
        raise StoreError(f"{variable} is not base64") from None


def _checked(key: bytes, where: str) -> bytes:
    if len(key) != KEY_BYTES:
        raise StoreError(f"{where} has {len(key)} bytes; a master key has {KEY_BYTES}")
    return key


def _make(path: Path) -> None:
    """Make a master key. Of several processes that do so at once one is first, and no file is seen half done."""
    draft = _draft(path, new_key())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first
    finally:
        draft.unlink()
    _sync(path.parent)


def replace(path: Path, master: bytes) -> None:
    """Put a master key in a file, in place of another if there is one; no file is seen half done."""
    os.replace(_draft(path, master), path)
    _sync(path.parent)


def _draft(path: Path, master: bytes) -> Path:
    """Write a master key to a draft of its file."""
    draft = new_draft(path)
    file = os.open(draft, os.O_WRONLY)
    try:
        os.write(file, master)
        os.fsync(file)
    except BaseException:
        draft.unlink()
        raise
    finally:
        os.close(file)
    return draft


def _sync(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
