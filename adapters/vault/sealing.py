"""The vault: words sealed with AES-GCM, under a key of their conversation that is kept elsewhere.

The associated data binds sealed bytes to conversation, branch, version, the kind of event and its actor, and the form
of what is sealed: moved to another place, or said to be somebody else's, they do not open. What is sealed is one byte
for the kind of the words, the words, and padding if it is asked for. Without the key nobody reads them, so destroying
the key erases a conversation.

Two earlier forms are still opened: the second was not bound to kind and actor, and the first had the words alone. Both
begin with the 8 bytes that named a key then.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from threading import Lock
from time import monotonic
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastresort.application.ports import Forgotten, Place, SealBroken, SealedWords, Unmarked
from lastresort.domain.values import Messages

from .erasures import PermitErasure
from .keys import FORMER_NAME_BYTES, NAME_BYTES, Doomed, Keys, name_of

_ANY = "surrogatepass"  # what JSON lets through: half of a character is kept as it came, and no reason to lose a turn
_SECOND, _FORM = b" 2", b" 3 "  # of what is sealed; the first had nothing here
_BEGINS = b"\x03"  # sealed bytes of this form, as one in 256 of the earlier ones do
_TEXT, _MESSAGES = b"t", b"m"
_PADDED = {b"T": _TEXT, b"M": _MESSAGES}
_END = b"\x80"  # before padding; in UTF-8 no character begins with it
_NONCE_BYTES = 12
_NAMED = 1 + NAME_BYTES  # bytes before the nonce, as it is written now, and
_HEAD = _NAMED + _NONCE_BYTES  # before the ciphertext
BEGINNING = _NAMED
"""Bytes of sealed words that name their key."""

_TRUSTED = 5.0  # seconds for which a key in memory is sealed with before it is looked up again
_AT_HAND = 10_000  # keys that are kept in memory, ready to use


class _Ready(NamedTuple):
    """A key that is ready to use: its name, the cipher, and when it was looked up."""

    name: bytes
    cipher: AESGCM
    since: float


class _Sealed(NamedTuple):
    """Sealed bytes taken apart, as of one form."""

    name: bytes
    nonce: bytes
    ciphertext: bytes
    former: bool


class AesGcmVault:
    """Seals words with AES-256-GCM: a byte 3, 16 bytes that name the key, a random nonce of 12, the ciphertext, a tag.

    Args:
        keys: where they are kept.
        monotonic: tells seconds.
        pad_words: what is sealed is made a multiple of so many bytes long, so that its length tells less; 0: as it is.
        permit: is entered while keys are destroyed; raises if the log does not say that they are to be.
    """

    def __init__(
        self,
        keys: Keys,
        monotonic: Callable[[], float] = monotonic,
        *,
        pad_words: int = 0,
        permit: PermitErasure = lambda conversations: nullcontext(),
    ) -> None:
        self.annotations = keys.annotations
        self._keys = keys
        self._monotonic = monotonic
        self._pad = pad_words
        self._permit = permit
        self._at_hand: OrderedDict[str, _Ready] = OrderedDict()  # by conversation, what to seal with
        self._lock = Lock()

    def seal(self, conversation: str, branch: str, version: int, words: str, role: str = "") -> SealedWords:
        ready = self._at_hand.get(conversation)
        if ready is None or self._monotonic() - ready.since > _TRUSTED:  # somebody else may have destroyed it
            ready = self._to_seal_with(conversation)
        name, cipher, _ = ready
        nonce = os.urandom(_NONCE_BYTES)
        marked = (_MESSAGES if isinstance(words, Messages) else _TEXT) + words.encode(errors=_ANY)
        if self._pad:
            marked = _padded(marked, self._pad)
        bound = _place(conversation, branch, version) + _FORM + role.encode()
        data = _BEGINS + name + nonce + cipher.encrypt(nonce, marked, bound)
        return SealedWords(_digest(data), data)

    def open(self, conversation: str, branch: str, version: int, sealed: SealedWords, role: str = "") -> str | None:
        digest, data = sealed
        if _digest(data) != digest:
            raise _broken(branch, version)
        place, found = _place(conversation, branch, version), False
        ready = self._at_hand.get(conversation)
        if ready is not None and data.startswith(_BEGINS + ready.name):  # as nearly all that is read
            try:
                return _words_in(ready.cipher.decrypt(data[_NAMED:_HEAD], data[_HEAD:], place + _FORM + role.encode()))
            except (InvalidTag, ValueError):
                found = True
        for one in _forms(data):
            if (cipher := self._cipher(conversation, one)) is None:
                continue  # the key that sealed it was destroyed, or it is not of this form
            found = True
            with suppress(InvalidTag, ValueError):
                return _opened(cipher, one, place, role)
        if found:
            raise _broken(branch, version)
        return None

    def _cipher(self, conversation: str, sealed: _Sealed) -> AESGCM | None:
        ready = self._at_hand.get(conversation)
        at_hand = ready is not None and ready.name[: len(sealed.name)] == sealed.name
        return ready.cipher if ready is not None and at_hand else self._to_open(conversation, sealed.name)

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

    def has_key(self, conversation: str) -> bool:
        return self._keys.of(conversation) is not None

    def new_secret(self) -> str:
        return os.urandom(32).hex()

    def seals(self, conversation: str, data: bytes) -> bool:
        found = (self._keys.find(conversation, one.name) for one in _forms(data))
        return any(key is not None and key.seals for key in found)

    def renew(self, conversation: str) -> None:
        with self._lock:
            self._at_hand.pop(conversation, None)

    def retire(self, *conversations: str) -> str:
        retired = os.urandom(_NONCE_BYTES).hex()
        self._keys.retire(conversations, retired)
        for conversation in conversations:
            self.renew(conversation)
        return retired

    def forget(
        self, conversation: str, retired: str = "", sealed: Mapping[Place, tuple[SealedWords, str]] | None = None
    ) -> None:
        """Destroy keys of one conversation: see `forget_all`."""
        self.forget_all([Forgotten(conversation, retired, sealed or {})])

    def forget_all(self, forgotten: Sequence[Forgotten]) -> None:
        """Destroy keys. See `application.ports.Vault`."""
        doomed = [self._doomed(*one) for one in forgotten]
        try:
            with self._permit([one.conversation for one in forgotten]):
                self._keys.destroy(doomed)
        finally:
            for one in forgotten:
                self.renew(one.conversation)

    def _doomed(self, conversation: str, retired: str, sealed: Mapping[Place, tuple[SealedWords, str]]) -> Doomed:
        """Return which keys are to be destroyed.

        The rows that `sealed` comes from say which, and someone who can write these could name another's. So a key goes
        only if it is the conversation's; and one that is nobody's, if it does open words of this conversation.
        """
        named: dict[bytes, list[Place]] = {}
        for place, (words, _) in sealed.items():
            for one in _forms(words.data):
                named.setdefault(one.name, []).append(place)
        unowned = set[bytes]()
        for name, places in named.items():
            found = self._keys.find(conversation, name)
            if found is not None and found.unowned and any(self._opens(conversation, at, *sealed[at]) for at in places):
                unowned.add(name)
        return Doomed(conversation, retired, named.keys(), unowned)

    def _opens(self, conversation: str, place: Place, words: SealedWords, role: str) -> bool:
        with suppress(SealBroken):
            return self.open(conversation, *place, words, role) is not None
        return False

    def close(self) -> None:
        self._keys.close()
        self._at_hand.clear()


def names_in(data: bytes) -> Iterator[bytes]:
    """Yield the first 8 bytes of the names that sealed bytes may give their key: as of this form, and of a former one.

    The first `BEGINNING` bytes are enough.
    """
    for one in _forms(data):
        if len(name := one.name[:FORMER_NAME_BYTES]) == FORMER_NAME_BYTES:  # damaged words may be shorter
            yield name


def _broken(branch: str, version: int) -> SealBroken:
    return SealBroken(f"branch {branch}, version {version}: the kept bytes are not what was sealed")


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _forms(data: bytes) -> Iterator[_Sealed]:
    """Yield what sealed bytes are made of: as of this form if they begin so, and as of the former ones."""
    if data[:1] == _BEGINS:
        yield _taken_apart(data[1:], NAME_BYTES, former=False)
    yield _taken_apart(data, FORMER_NAME_BYTES, former=True)


def _taken_apart(data: bytes, name_bytes: int, *, former: bool) -> _Sealed:
    head = name_bytes + _NONCE_BYTES
    return _Sealed(data[:name_bytes], data[name_bytes:head], data[head:], former)


def _opened(cipher: AESGCM, sealed: _Sealed, place: bytes, role: str) -> str:
    """Return the words in sealed bytes, of the form that is written now or of an earlier one."""
    _, nonce, ciphertext, former = sealed
    if not former:
        marked = cipher.decrypt(nonce, ciphertext, place + _FORM + role.encode())
    else:
        try:
            marked = cipher.decrypt(nonce, ciphertext, place + _SECOND)
        except InvalidTag:
            return Unmarked(cipher.decrypt(nonce, ciphertext, place).decode(errors=_ANY))
    return _words_in(marked)


def _words_in(marked: bytes) -> str:
    """Return the words that are marked as text or as messages."""
    kind, said = marked[:1], marked[1:]
    if kind in _PADDED:
        kind, said = _PADDED[kind], said.rstrip(b"\0")[:-1]
    words = said.decode(errors=_ANY)
    return Messages(words) if kind == _MESSAGES else words


def _padded(marked: bytes, multiple: int) -> bytes:
    marked = marked[:1].upper() + marked[1:] + _END
    return marked + bytes(-len(marked) % multiple)


def _place(conversation: str, branch: str, version: int) -> bytes:
    """What binds sealed bytes to their place. Ids hold no spaces, so no two places look alike."""
    return f"{conversation} {branch} {version}".encode()
