"""The vault: words sealed with AES-GCM, under a key of their conversation that is kept elsewhere.

The associated data binds sealed bytes to conversation, branch, version and the form of what is sealed: moved to another
place they do not open. What is sealed is one byte for the kind of the words, and the words; in the first form, which is
still opened, it was the words alone. Without the key nobody reads them, so destroying the key erases a conversation.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock
from time import monotonic
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastresort.application.ports import SealBroken, SealedWords, Unmarked
from lastresort.domain.values import Messages

from .keys import NAME_BYTES, Keys, name_of

_ANY = "surrogatepass"  # what JSON lets through: half of a character is kept as it came, and no reason to lose a turn
_FORM = b" 2"  # of what is sealed; the first had nothing here
_TEXT, _MESSAGES = b"t", b"m"
_NONCE_BYTES = 12
_HEAD_BYTES = NAME_BYTES + _NONCE_BYTES
_TRUSTED = 5.0  # seconds for which a key in memory is sealed with before it is looked up again
_AT_HAND = 10_000  # keys that are kept in memory, ready to use


class _Ready(NamedTuple):
    """A key that is ready to use: its name, the cipher, and when it was looked up."""

    name: bytes
    cipher: AESGCM
    since: float


class AesGcmVault:
    """Seals words with AES-256-GCM: 8 bytes that name the key, a random nonce of 12, the ciphertext, a tag of 16."""

    def __init__(self, keys: Keys, monotonic: Callable[[], float] = monotonic) -> None:
        self._keys = keys
        self._monotonic = monotonic
        self._at_hand: OrderedDict[str, _Ready] = OrderedDict()  # by conversation, what to seal with
        self._lock = Lock()

    def seal(self, conversation: str, branch: str, version: int, words: str) -> SealedWords:
        ready = self._at_hand.get(conversation)
        if ready is None or self._monotonic() - ready.since > _TRUSTED:  # somebody else may have destroyed it
            ready = self._to_seal_with(conversation)
        name, cipher, _ = ready
        nonce = os.urandom(_NONCE_BYTES)
        marked = (_MESSAGES if isinstance(words, Messages) else _TEXT) + words.encode(errors=_ANY)
        data = name + nonce + cipher.encrypt(nonce, marked, _place(conversation, branch, version) + _FORM)
        return SealedWords(_digest(data), data)

    def open(self, conversation: str, branch: str, version: int, sealed: SealedWords) -> str | None:
        digest, data = sealed
        if _digest(data) != digest:
            raise _broken(branch, version)
        name = data[:NAME_BYTES]
        ready = self._at_hand.get(conversation)
        cipher = ready[1] if ready is not None and ready[0] == name else self._to_open(conversation, name)
        if cipher is None:
            return None  # the key that sealed it was destroyed
        try:
            return _opened(cipher, data, _place(conversation, branch, version))
        except (InvalidTag, ValueError):
            raise _broken(branch, version) from None

    def _to_seal_with(self, conversation: str) -> _Ready:
        with self._lock:  # while it is read too: a renewal comes either before that or after it is at hand
            key = self._keys.of(conversation) or self._keys.take(conversation)
            return self._have_at_hand(conversation, key)

    def _to_open(self, conversation: str, name: bytes) -> AESGCM | None:
        with self._lock:
            ready = self._at_hand.get(conversation)
            found = self._keys.find(conversation, name)
            if found is None:
                return None
            # What opens may be retired. And one of several stays: what a conversation is sealed with is not what each
            # of its words was.
            return (
                self._have_at_hand(conversation, found.key)[1] if ready is None and found.seals else AESGCM(found.key)
            )

    def _have_at_hand(self, conversation: str, key: bytes) -> _Ready:
        ready = _Ready(name_of(key), AESGCM(key), self._monotonic())
        self._at_hand[conversation] = ready
        if len(self._at_hand) > _AT_HAND:
            self._at_hand.popitem(last=False)
        return ready

    def renew(self, conversation: str) -> None:
        with self._lock:
            self._at_hand.pop(conversation, None)

    def retire(self, conversation: str) -> str:
        retired = os.urandom(_NONCE_BYTES).hex()
        self._keys.retire(conversation, retired)
        self.renew(conversation)
        return retired

    def forget(self, conversation: str, retired: str = "", sealed: Iterable[bytes] = ()) -> None:
        try:
            self._keys.destroy(conversation, retired, {data[:NAME_BYTES] for data in sealed})
        finally:
            self.renew(conversation)

    def close(self) -> None:
        self._keys.close()
        self._at_hand.clear()


def _broken(branch: str, version: int) -> SealBroken:
    return SealBroken(f"branch {branch}, version {version}: the kept bytes are not what was sealed")


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _opened(cipher: AESGCM, data: bytes, place: bytes) -> str:
    """Return the words in sealed bytes, of the form that is written now or of the first."""
    nonce, sealed = data[NAME_BYTES:_HEAD_BYTES], data[_HEAD_BYTES:]
    try:
        marked = cipher.decrypt(nonce, sealed, place + _FORM)
    except InvalidTag:
        return Unmarked(cipher.decrypt(nonce, sealed, place).decode(errors=_ANY))
    words = marked[1:].decode(errors=_ANY)
    return Messages(words) if marked[:1] == _MESSAGES else words


def _place(conversation: str, branch: str, version: int) -> bytes:
    """What binds sealed bytes to their place. Ids hold no spaces, so no two places look alike."""
    return f"{conversation} {branch} {version}".encode()
