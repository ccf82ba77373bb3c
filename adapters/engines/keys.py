"""The keys that words are sealed with: one a conversation, kept apart from the log, and wrapped by a master key.

Who has the keys' file or schema but not the master key can open nothing; who destroys a conversation's key has erased
its words, wherever a copy of the sealed bytes may be. The master key comes from whoever opens the store, from the
environment, or from a file that only its owner can read.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .recorders import Settings, StoreError, reached
from .sqlite import connect, truncate_log

MasterKey = Callable[[], bytes]
"""Returns the 32 bytes of the master key."""

VARIABLE = "LASTRESORT_MASTER_KEY"
KEY_BYTES = 32
_NONCE_BYTES = 12


class Keys(Protocol):
    """Where keys are kept, by conversation."""

    def get(self, conversation: str) -> bytes | None:
        """Return the key, None if there is none."""
        ...

    def put(self, conversation: str, key: bytes) -> None:
        """Keep `key`, unless there is one."""
        ...

    def destroy(self, conversation: str) -> None:
        """Destroy the key, so that no file holds it any more."""
        ...

    def close(self) -> None:
        """Release what is held open."""
        ...


class KeyStore(Keys, Protocol):
    """Where wrapped keys are kept, and what tells by which master key they were wrapped."""

    def named(self, fingerprint: str) -> str:
        """Note the fingerprint of the master key, unless there is one; return the one that is noted."""
        ...

    def is_new(self) -> bool:
        """Whether no fingerprint is noted yet."""
        ...


class MemoryKeys:
    """Keys in memory, gone with the process."""

    def __init__(self) -> None:
        self._keys: dict[str, bytes] = {}

    def get(self, conversation: str) -> bytes | None:
        return self._keys.get(conversation)

    def put(self, conversation: str, key: bytes) -> None:
        self._keys.setdefault(conversation, key)

    def destroy(self, conversation: str) -> None:
        self._keys.pop(conversation, None)

    def close(self) -> None:
        self._keys.clear()


class SQLiteKeys:
    """Keys in an SQLite file of their own, readable by its owner only."""

    def __init__(self, path: Path, settings: Settings | None = None) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._deadline = (settings or Settings()).deadline
        # Always at FULL: a key that is lost with the power takes every word of its conversation along.
        self._connection = connect(str(path), Settings(deadline=self._deadline))
        self._lock = Lock()
        for table in (
            "keys (conversation TEXT PRIMARY KEY, key BLOB NOT NULL)",
            "master (fingerprint TEXT PRIMARY KEY)",
        ):
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} WITHOUT ROWID")

    def get(self, conversation: str) -> bytes | None:
        with reached(), self._lock:
            row = self._connection.execute("SELECT key FROM keys WHERE conversation=?", (conversation,)).fetchone()
        return row[0] if row else None

    def put(self, conversation: str, key: bytes) -> None:
        with reached(), self._lock:
            self._connection.execute("INSERT OR IGNORE INTO keys VALUES (?,?)", (conversation, key))

    def destroy(self, conversation: str) -> None:
        """Destroy the key, in the write-ahead log too, where deleted rows stay readable until it is truncated."""
        with reached(), self._lock:
            self._connection.execute("DELETE FROM keys WHERE conversation=?", (conversation,))
            truncate_log(self._connection, self._deadline)

    def is_new(self) -> bool:
        with reached(), self._lock:
            return self._connection.execute("SELECT 1 FROM master").fetchone() is None

    def named(self, fingerprint: str) -> str:
        with reached(), self._lock:
            self._connection.execute(
                "INSERT INTO master SELECT ? WHERE NOT EXISTS (SELECT 1 FROM master)", (fingerprint,)
            )
            return str(self._connection.execute("SELECT fingerprint FROM master").fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class WrappedKeys:
    """Keys of which only what a master key makes of them is kept: a nonce of 12 bytes, the sealed key, a tag of 16.

    Raises:
        StoreError: the keys were wrapped by another master key.
    """

    def __init__(self, keys: KeyStore, master: bytes) -> None:
        self._keys = keys
        self._wrapping = AESGCM(master)
        fingerprint = hashlib.sha256(b"fingerprint of " + master).hexdigest()[:16]
        if (noted := keys.named(fingerprint)) != fingerprint:
            raise StoreError(
                f"its keys were wrapped by another master key than this one (fingerprint {noted}, not {fingerprint}); "
                f"give it the one that it was made with: {VARIABLE}, the -master file, or `master_key`"
            )

    def get(self, conversation: str) -> bytes | None:
        wrapped = self._keys.get(conversation)
        if wrapped is None:
            return None
        nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        try:
            return self._wrapping.decrypt(nonce, sealed, conversation.encode())
        except (InvalidTag, ValueError):
            raise StoreError(f"the key of conversation {conversation} is not what was kept; restore the keys") from None

    def put(self, conversation: str, key: bytes) -> None:
        nonce = os.urandom(_NONCE_BYTES)
        self._keys.put(conversation, nonce + self._wrapping.encrypt(nonce, key, conversation.encode()))

    def destroy(self, conversation: str) -> None:
        self._keys.destroy(conversation)

    def close(self) -> None:
        self._keys.close()


def find_master_key(master_key: MasterKey | None, beside: Path | None, keys: KeyStore) -> bytes:
    """Return the master key that was given, or is in the environment, or in a file, which is made if need be.

    Args:
        master_key: what was given.
        beside: the file, where the store is one; a server has none that every machine sees.
        keys: what it is to wrap.

    Raises:
        StoreError: there is none, or it is not 32 bytes, or the file is gone and there are keys that it wrapped.
    """
    given = _given(master_key)
    if given is not None:
        return given
    if beside is None:
        raise StoreError(
            f"its keys need a master key that every machine has: set {VARIABLE} to 32 random bytes in base64 "
            "(`head -c 32 /dev/urandom | base64`), or pass `master_key`"
        )
    if not beside.exists():
        if not keys.is_new():
            raise StoreError(
                f"no master key at {beside}, and there are keys that need it; restore it or set {VARIABLE}"
            )
        _make(beside)
    return _checked(beside.read_bytes(), str(beside))


def _given(master_key: MasterKey | None) -> bytes | None:
    if master_key is not None:
        return _checked(master_key(), "what `master_key` returns")
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    try:
        return _checked(base64.b64decode(text, validate=True), VARIABLE)
    except binascii.Error:
        raise StoreError(f"{VARIABLE} is not base64") from None


def _checked(key: bytes, where: str) -> bytes:
    if len(key) != KEY_BYTES:
        raise StoreError(f"{where} has {len(key)} bytes; a master key has {KEY_BYTES}")
    return key


def _make(path: Path) -> None:
    """Make a master key. Of several processes that do so at once one is first, and no file is seen half done."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, AESGCM.generate_key(KEY_BYTES * 8))
        os.fsync(file)
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first
    finally:
        os.close(file)
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
