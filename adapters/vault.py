"""The vault: words sealed with AES-GCM, under a key of their conversation that is kept elsewhere.

The associated data binds sealed bytes to conversation, branch and version: moved to another place they do not
open. Without the key nobody reads them, so destroying the key erases a conversation.
"""

import hashlib
import os
from collections import OrderedDict
from threading import Lock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastresort.domain.ports import SealBroken, Sealed

from .engines.keys import KEY_BYTES, Keys

_NAME_BYTES = 8
_NONCE_BYTES = 12
_AT_HAND = 10_000  # keys that are kept in memory, ready to use


class AesGcmVault:
    """Seals words with AES-256-GCM: 8 bytes that name the key, a random nonce of 12, the ciphertext, a tag of 16."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._at_hand: OrderedDict[str, tuple[bytes, AESGCM]] = OrderedDict()
        self._lock = Lock()

    def seal(self, conversation: str, branch: str, version: int, words: str) -> Sealed:
        name, cipher = self._at_hand.get(conversation) or self._key(conversation, make=True)  # type: ignore[misc]
        nonce = os.urandom(_NONCE_BYTES)
        data = name + nonce + cipher.encrypt(nonce, words.encode(), _place(conversation, branch, version))
        return Sealed(_digest(data), data)

    def open(self, conversation: str, branch: str, version: int, sealed: Sealed) -> str | None:
        broken = SealBroken(f"branch {branch}, version {version}: the kept bytes are not what was sealed")
        if _digest(sealed.data) != sealed.digest:
            raise broken
        key = self._at_hand.get(conversation) or self._key(conversation)
        named, data = sealed.data[:_NAME_BYTES], sealed.data[_NAME_BYTES:]
        if key is None or named != key[0]:
            return None  # the key that sealed it was destroyed; there may be a new one for what was said since
        try:
            place = _place(conversation, branch, version)
            return key[1].decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], place).decode()
        except (InvalidTag, ValueError):
            raise broken from None

    def _key(self, conversation: str, *, make: bool = False) -> tuple[bytes, AESGCM] | None:
        """Return the name of a conversation's key and the cipher with it, and keep them at hand."""
        with self._lock:  # while it is read too: whoever renews comes either before that or after it is at hand
            key = self._keys.get(conversation)
            while key is None and make:
                self._keys.put(conversation, AESGCM.generate_key(KEY_BYTES * 8))
                key = self._keys.get(conversation)  # another process may have been first
            if key is None:
                return None
            ready = _name(key), AESGCM(key)
            self._at_hand[conversation] = ready
            if len(self._at_hand) > _AT_HAND:
                self._at_hand.popitem(last=False)
            return ready

    def renew(self, conversation: str) -> None:
        with self._lock:
            self._at_hand.pop(conversation, None)

    def forget(self, conversation: str) -> None:
        try:
            self._keys.destroy(conversation)
        finally:
            self.renew(conversation)

    def close(self) -> None:
        self._keys.close()
        self._at_hand.clear()


def _name(key: bytes) -> bytes:
    return hashlib.sha256(b"name of " + key).digest()[:_NAME_BYTES]


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _place(conversation: str, branch: str, version: int) -> bytes:
    """What binds sealed bytes to their place. Ids hold no spaces, so no two places look alike."""
    return f"{conversation} {branch} {version}".encode()
