"""Keys of which only what a master key makes of them is kept; and which master keys that may be.

What the keys' store notes of them, each as one text:

    FINGERPRINT             of the master key that wraps what is kept from now on
    over FINGERPRINT A B    while that takes the place of the one of this fingerprint: the new master key wrapped by the
                            former (A), and the former by the new one (B), in hexadecimal. Either opens the store
    gone NUMBER             of how many keys the ledger knew when they were compared with it last
    log DIGEST              which log the keys are of: see `log_note` and `check_log`

Notes with a space come after any fingerprint in the order of their characters, so that earlier versions, which look for
the least, find the fingerprint.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastresort.adapters.databases.errors import StoreError

from .keys import FORMER_NAME_BYTES, NAME_BYTES, RETIRED, Doomed, KeyRow, KeyStore, OpeningKey, name_of, new_key
from .ledger import Ledger
from .master_key import VARIABLE
from .sealing import names_in

_AT_A_TIME = 64
_LOOKED_AT = 100  # of a log's words, to see whether they were sealed with these keys
_NONCE_BYTES = 12
_OVER, _LOG, _DESTROYED = "over ", "log ", "gone "
_HANDED_OVER = b"a master key for another"


def fingerprint(master: bytes) -> str:
    """Return the 16 characters that name a master key, and tell nothing of it."""
    return hashlib.sha256(b"fingerprint of " + master).hexdigest()[:16]


class Masters(NamedTuple):
    """The master keys that open a store: the one that wraps; and the one before it, until that is done with."""

    current: bytes
    former: bytes | None = None
    handover: str = ""  # the note

    @classmethod
    def of(cls, notes: Sequence[str], *known: bytes) -> "Masters | None":
        """Return the master keys of a store, by its notes and those that are known; None if it has others."""
        noted = next((note for note in notes if " " not in note), "")
        handover = next((note for note in notes if note.startswith(_OVER)), "")
        of_the_former, new, former = (handover or "   ").removeprefix(_OVER).split(" ")[:3]
        for master in known:
            mine = fingerprint(master)
            if mine == noted:
                return cls(master, _opened(master, former) if handover else None, handover)
            if mine == of_the_former:
                return cls(_opened(master, new), master, handover)
        return None

    def unwrap(self, row: KeyRow) -> bytes | None:
        """Return the key in a row; None if neither master key opens it."""
        return unwrap(self.current, row) or unwrap(self.former, row)

    def over(self, new: bytes) -> tuple[str, str]:
        """Return what is to be noted while `new` takes the place of the current one."""
        wrapped = _sealed(self.current, new), _sealed(new, self.current)
        return fingerprint(new), f"{_OVER}{fingerprint(self.current)} {' '.join(one.hex() for one in wrapped)}"


def _sealed(by: bytes, master: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(by).encrypt(nonce, master, _HANDED_OVER)


def _opened(by: bytes, text: str) -> bytes:
    data = bytes.fromhex(text)
    try:
        return AESGCM(by).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _HANDED_OVER)
    except (InvalidTag, ValueError):
        raise StoreError("what is noted of its master keys is damaged; restore the keys") from None


def log_note(first: tuple[str, str, str]) -> str:
    """Return what keys note of their log: a digest of the branch, the command and the time of its first event."""
    return _LOG + hashlib.sha256(" ".join(first).encode()).hexdigest()[:16]


def check_log(keys: KeyStore, first: tuple[str, str, str], sealed: Callable[[int], Iterable[bytes]]) -> None:
    """Check that keys are those of the log that begins with this event; note it, if they do not yet.

    What they note may be wrong: of another log, beside which they once stood. So the log's words decide, which say what
    keys they were sealed with. Some of them are looked at, and only until the log is noted.

    Args:
        keys: those beside the log.
        first: tells one log from another.
        sealed: returns how the sealed words of that log begin, of so many at most.

    Raises:
        StoreError: they are of another one.
    """
    mine, noted = log_note(first), [note for note in keys.notes() if note.startswith(_LOG)]
    if mine in noted:
        return
    words = list(sealed(_LOOKED_AT))
    if not any(_has(keys, name) for data in words for name in names_in(data)):
        kept = bool(keys.page(b"", 1))
        if (noted and (words or kept)) or (words and kept):
            raise StoreError(
                "the keys beside this log are of another store, and open none of its words; put this log's own keys "
                "there. If they are lost, an empty file, or no schema lastresort_keys, says that you go on without its "
                "words"
            )
        if not words:
            return  # nothing says whose the keys are, and there is nothing to open
    for other in noted:
        keys.replace_note(other)
    keys.note(mine)


def _has(keys: KeyStore, begins: bytes) -> bool:
    """Return whether there is a key whose name begins so, whosever it is."""
    number = int.from_bytes(begins)
    before = (number - 1).to_bytes(len(begins)) + b"\xff" * NAME_BYTES if number else b""
    return any(row.name.startswith(begins) for row in keys.page(before, 1))


def _destroy_again(keys: KeyStore, ledger: Ledger) -> None:
    """Destroy what the ledger names. That is done once for what is in it, and not each time that keys are opened."""
    names = ledger.names()
    noted = next((note for note in keys.notes() if note.startswith(_DESTROYED)), None)
    now = f"{_DESTROYED}{len(names)}"
    if noted == now or (noted is None and not names):
        return
    keys.destroy_named(names)
    if noted is None or not keys.replace_note(noted, now):
        keys.note(now)


class WrappedKeys:
    """Keys of which only what a master key makes of them is kept: a nonce of 12 bytes, the sealed key, a tag of 16.

    What is wrapped is bound to the key's name and owner. Keys of before have names of 8 bytes, which is how they are
    told apart, and are bound to these alone.

    Making a key durable costs as much as a turn, so they are made some at a time, more each time: a process that
    starts one conversation makes one. Whose a key is needs no such care, since sealed bytes bear the key's name.

    The master key may be changed for another one meanwhile, see `rotation`: what cannot be kept under this one, or is
    not opened by it, has it looked up again.

    Args:
        keys: where they are kept.
        look_up: returns the master key, as it is now.
        ledger: of the keys that were destroyed; those that a backup brought back are destroyed again.

    Raises:
        StoreError: the keys were wrapped by another master key.
    """

    def __init__(self, keys: KeyStore, look_up: Callable[[], bytes], ledger: Ledger | None = None) -> None:
        self.annotations = keys.annotations
        self._ledger = ledger
        self._keys = keys
        self._look_up = look_up
        self._ready: list[bytes] = []  # keys that are kept, and nobody's yet
        self._made = 0
        self._lock = RLock()
        self.masters = masters_of(keys, look_up())
        if ledger is not None:
            _destroy_again(keys, ledger)

    def of(self, conversation: str) -> bytes | None:
        found = self._keys.of(conversation)
        return None if found is None else self._unwrapped(KeyRow(*found, conversation))

    def take(self, conversation: str) -> bytes:
        with self._lock:
            while True:
                masters = self.masters
                if (key := self._taken(conversation, fingerprint(masters.current))) is not None:
                    return key
                self._renew()
                if self.masters == masters:
                    raise StoreError("a new key could not be kept; try again")

    def _taken(self, conversation: str, master: str) -> bytes | None:
        """Give the conversation a key that is ready, or a new one; None if the master key is another by now."""
        if self._ready:
            key = self._ready[-1]
            if not self._keys.assign(name_of(key), self._wrapped(key, conversation), conversation, master):
                self._ready.clear()  # they are kept all the same, and nobody's
                return None
            return self._ready.pop()
        keys = [new_key() for _ in range(min(self._made + 1, _AT_A_TIME))]
        owners = [conversation, *[None] * (len(keys) - 1)]
        wrapped = [(name_of(key), self._wrapped(key, owner)) for key, owner in zip(keys, owners, strict=True)]
        if not self._keys.add(wrapped, conversation, master):
            return None
        self._made += len(keys)
        self._ready = keys[1:]
        return keys[0]

    def _renew(self) -> None:
        """Look up the master key again.

        Raises:
            StoreError: another one took its place, and this program was not given that one.
        """
        with self._lock:
            notes = self._keys.notes()
            known = filter(None, (self.masters.current, self.masters.former))
            self.masters = Masters.of(notes, *known) or masters_of(self._keys, self._look_up())

    def find(self, conversation: str, name: bytes) -> OpeningKey | None:
        row = self._keys.find(conversation, name)
        if row is None:
            return None
        return OpeningKey(self._unwrapped(row), row.conversation == conversation, row.conversation is None)

    def _wrapped(self, key: bytes, owner: str | None) -> bytes:
        return wrap(self.masters.current, key, owner)

    def _unwrapped(self, row: KeyRow) -> bytes:
        if (key := self.masters.unwrap(row)) is None:
            self._renew()
            key = self.masters.unwrap(row)
        if key is None:
            raise StoreError(f"key {row.name.hex()} is damaged, or not its owner's; restore the keys")
        return key

    def retire(self, conversations: Sequence[str], retired: str) -> None:
        self._keys.retire(conversations, retired)

    def destroy(self, doomed: Sequence[Doomed]) -> None:
        if self._ledger is not None:  # first: a key that is gone and not in it could come back from a backup
            self._ledger.add(self._keys.named_by(doomed))
        self._keys.destroy(doomed)

    def close(self) -> None:
        self._keys.close()


def masters_of(keys: KeyStore, master: bytes) -> Masters:
    """Return the master keys of a store, where one is known; of a store that has none yet, this becomes the one.

    Raises:
        StoreError: it has others.
    """
    noted = keys.named(fingerprint(master))
    found = Masters.of(keys.notes(), master)
    if found is None:
        raise StoreError(
            f"its keys were wrapped by another master key than this one (fingerprint {noted}, not "
            f"{fingerprint(master)}); give it the one that it was made with, or that took its place since: {VARIABLE}, "
            "the -master file, or `master_key`"
        )
    return found


def wrap(master: bytes, key: bytes, owner: str | None) -> bytes:
    """Wrap a key for its owner."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(master).encrypt(nonce, key, _bound(name_of(key), owner))


def unwrap(master: bytes | None, row: KeyRow) -> bytes | None:
    """Return the key in a row; None if this master key does not open it."""
    name, wrapped, owner = row
    try:
        cipher = AESGCM(master or b"")
        return cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _bound(name, owner))
    except (InvalidTag, ValueError):
        return None


def _bound(name: bytes, owner: str | None) -> bytes:
    """Return what a wrapped key is bound to: its name, and whose it is, retired or not; of before, its name alone."""
    if len(name) == FORMER_NAME_BYTES:
        return name
    return b"2 " + name + b" " + (owner or "").partition(RETIRED)[0].encode()
