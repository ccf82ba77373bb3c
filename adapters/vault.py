"""The vault: words sealed with AES-GCM, under a key of their conversation that is kept elsewhere.

The associated data binds sealed bytes to conversation, branch and version: moved to another place they do not
open. Without the key nobody reads them, so destroying the key erases a conversation.
"""

import hashlib
import json
import os
import sqlite3
from pathlib import Path
from threading import Lock
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastresort.domain.ports import SealBroken, Sealed

_NAME_BYTES = 8
_NONCE_BYTES = 12
_KEY_BITS = 256


class Keys(Protocol):
    """Where keys are kept, by conversation."""

    def get(self, conversation: str) -> bytes | None:
        """Return the key, None if there is none."""
        ...

    def put(self, conversation: str, key: bytes) -> None:
        """Keep `key`, unless there is one."""
        ...

    def destroy(self, conversation: str) -> None:
        """Destroy the key."""
        ...

    def close(self) -> None:
        """Release what is held open."""
        ...


class AesGcmVault:
    """Seals words with AES-256-GCM: 8 bytes that name the key, a random nonce of 12, the ciphertext, a tag of 16."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def seal(self, conversation: str, branch: str, version: int, words: str) -> Sealed:
        key = self._keys.get(conversation)
        if key is None:
            self._keys.put(conversation, AESGCM.generate_key(_KEY_BITS))
            key = self._keys.get(conversation)
            assert key is not None
        nonce = os.urandom(_NONCE_BYTES)
        data = _name(key) + nonce + AESGCM(key).encrypt(nonce, words.encode(), _place(conversation, branch, version))
        return Sealed(_digest(data), data)

    def open(self, conversation: str, branch: str, version: int, sealed: Sealed) -> str | None:
        broken = SealBroken(f"branch {branch}, version {version}: the kept bytes are not what was sealed")
        if _digest(sealed.data) != sealed.digest:
            raise broken
        key = self._keys.get(conversation)
        named, data = sealed.data[:_NAME_BYTES], sealed.data[_NAME_BYTES:]
        if key is None or named != _name(key):
            return None  # the key that sealed it was destroyed; there may be a new one for what was said since
        try:
            place = _place(conversation, branch, version)
            return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], place).decode()
        except (InvalidTag, ValueError):
            raise broken from None

    def forget(self, conversation: str) -> None:
        self._keys.destroy(conversation)

    def close(self) -> None:
        self._keys.close()


def _name(key: bytes) -> bytes:
    return hashlib.sha256(b"name of " + key).digest()[:_NAME_BYTES]


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _place(conversation: str, branch: str, version: int) -> bytes:
    return json.dumps([conversation, branch, version]).encode()


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

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._lock = Lock()
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "PRAGMA secure_delete=ON",
            "CREATE TABLE IF NOT EXISTS keys (conversation TEXT PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID",
        ):
            self._connection.execute(statement)

    def get(self, conversation: str) -> bytes | None:
        with self._lock:
            row = self._connection.execute("SELECT key FROM keys WHERE conversation=?", (conversation,)).fetchone()
        return row[0] if row else None

    def put(self, conversation: str, key: bytes) -> None:
        with self._lock:
            self._connection.execute("INSERT OR IGNORE INTO keys VALUES (?,?)", (conversation, key))

    def destroy(self, conversation: str) -> None:
        """Destroy the key, in the write-ahead log too, where deleted rows stay readable until it is truncated."""
        with self._lock:
            self._connection.execute("DELETE FROM keys WHERE conversation=?", (conversation,))
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        with self._lock:
            self._connection.close()
