"""Signed notes, their keys and their signatures: c2sp.org/signed-note and c2sp.org/tlog-cosignature.

Three kinds of signature are made and verified: a log's Ed25519 (type 1), a cosigner's Ed25519 with a time (4), and
ML-DSA-44 with a time (6), which logs and cosigners share.
"""

import base64
import binascii
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

ED25519, COSIGNED_ED25519, ML_DSA_44 = 1, 4, 6
"""The types of signature, by the byte that stands for them in keys."""

TIMED = (COSIGNED_ED25519, ML_DSA_44)
"""Those that tell when."""

_KEY_BYTES = {ED25519: 32, COSIGNED_ED25519: 32, ML_DSA_44: 1312}
_SIGNATURE_BYTES = {ED25519: 64, COSIGNED_ED25519: 64, ML_DSA_44: 2420}
_TIME_BYTES = 8
_MOST_SIGNATURES = 64
_MOST_BYTES = 2**20
_NAME = re.compile(r"[^\s+]+")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_PRIVATE = "PRIVATE+KEY+"
_LATEST_TIME = 2**63 - 1


class BadNote(ValueError):
    """A note, a key or a checkpoint is malformed, or a signature of a known key does not verify."""


class NoteSignature(NamedTuple):
    """A signature line: the name and the id of its key, and what follows them."""

    name: str
    key_id: bytes
    data: bytes

    def __str__(self) -> str:
        return f"— {self.name} {base64.b64encode(self.key_id + self.data).decode()}\n"


class Note(NamedTuple):
    """A text that ends with a line feed, and its signatures."""

    text: str
    signatures: tuple[NoteSignature, ...] = ()

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    @classmethod
    def parse(cls, data: str) -> Self:
        """Read a note.

        Raises:
            BadNote: it is none.
        """
        if len(data) > _MOST_BYTES or _CONTROL.search(data):
            raise BadNote("malformed note: it is larger than 1 MiB, or has control characters")
        text, gap, lines = data.rpartition("\n\n")
        if not gap or not lines.endswith("\n"):
            raise BadNote("malformed note: no empty line before its signatures, or no line feed at its end")
        return cls(text + "\n", signatures_in(lines))


def signatures_in(lines: str) -> tuple[NoteSignature, ...]:
    """Read signature lines, each of which ends with a line feed.

    Raises:
        BadNote: one is none, or there are more than 64.
    """
    *found, rest = lines.split("\n")
    if rest or not found or len(found) > _MOST_SIGNATURES:
        raise BadNote(f"malformed note: 1 to {_MOST_SIGNATURES} signature lines are needed")
    return tuple(map(_signature, found))


def _signature(line: str) -> NoteSignature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    try:
        data = base64.b64decode(encoded, validate=True)  # in whatever form: what is signed is elsewhere
    except (binascii.Error, ValueError):
        data = b""
    if dash != "—" or not _NAME.fullmatch(name) or len(data) < 5:
        raise BadNote("malformed note: a signature line is `— NAME BASE64`")
    return NoteSignature(name, data[:4], data[4:])


def decoded(text: str) -> bytes | None:
    """Return what base64 stands for; None if it is not in its one form."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


@dataclass(frozen=True)
class VerifierKey:
    """A public key: who, of which type of signature, and its bytes."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key as `NAME+ID+BASE64`.

        Raises:
            BadNote: it is none, of no type that is known here, or its id is not its own.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        data = decoded(encoded)
        if not _NAME.fullmatch(name) or not data or len(data) != 1 + _KEY_BYTES.get(data[0], -1):
            kinds = "Ed25519 (1 or 4) or ML-DSA-44 (6)"
            raise BadNote(f"malformed key: NAME+ID+BASE64 is needed, of the type {kinds}")
        key = cls(name, data[0], data[1:])
        if key.key_id.hex() != key_id:
            raise BadNote(f"the key of {name} has the id {key_id}, and its bytes have {key.key_id.hex()}")
        return key

    @cached_property
    def key_id(self) -> bytes:
        """Four bytes that name the key together with its name."""
        return sha256(f"{self.name}\n".encode() + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    def verify(self, text: str, signature: NoteSignature) -> int | None:
        """Return the time of a signature of this key over the text of a note, 0 if it tells none.

        None: it is not this key's.

        Raises:
            BadNote: it is, and does not verify.
        """
        if (signature.name, signature.key_id) != (self.name, self.key_id):
            return None
        data, time = signature.data, 0
        if self.kind in TIMED:
            time, data = int.from_bytes(data[:_TIME_BYTES]), data[_TIME_BYTES:]
        try:
            if len(data) != _SIGNATURE_BYTES[self.kind] or time > _LATEST_TIME:
                raise InvalidSignature
            if self.kind == ML_DSA_44:
                MLDSA44PublicKey.from_public_bytes(self.public).verify(data, _subtree(self.name, time, text))
            else:
                signed = text.encode() if self.kind == ED25519 else _timed(time, text)
                Ed25519PublicKey.from_public_bytes(self.public).verify(data, signed)
        except InvalidSignature:
            raise BadNote(f"the signature of {self.name} does not verify") from None
        return time


def verified(note: Note, keys: Sequence[VerifierKey]) -> dict[VerifierKey, int]:
    """Return the keys that signed a note, each with the latest time that it tells, 0 if none. Others are passed over.

    Raises:
        BadNote: a signature of one of them does not verify.
    """
    found: dict[VerifierKey, int] = {}
    for signature in note.signatures:
        for key in keys:
            time = key.verify(note.text, signature)
            if time is not None:
                found[key] = max(time, found.get(key, 0))
    return found


class Signer(NamedTuple):
    """A private key: who, of which type of signature, and its 32 bytes."""

    name: str
    kind: int
    seed: bytes

    @classmethod
    def generate(cls, name: str, kind: int) -> Self:
        """Make a key.

        Raises:
            BadNote: nobody can have that name.
        """
        if not _NAME.fullmatch(name) or not name.isprintable():
            raise BadNote("a name of a key has no spaces and no `+`: use a URL without scheme, such as example.com/log")
        return cls(name, kind, os.urandom(32))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key as `PRIVATE+KEY+NAME+ID+BASE64`.

        Raises:
            BadNote: it is none.
        """
        name, _, rest = text.strip().removeprefix(_PRIVATE).partition("+")
        data = decoded(rest.partition("+")[2])
        if not text.startswith(_PRIVATE) or not data or len(data) != 33 or data[0] not in _KEY_BYTES:
            raise BadNote("malformed private key: a line `PRIVATE+KEY+NAME+ID+BASE64` is needed")
        return cls(name, data[0], data[1:])

    @property
    def verifier(self) -> VerifierKey:
        """The public key."""
        if self.kind == ML_DSA_44:
            return VerifierKey(self.name, self.kind, self._ml_dsa.public_key().public_bytes_raw())
        return VerifierKey(self.name, self.kind, self._ed25519.public_key().public_bytes_raw())

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.kind]) + self.seed).decode()
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{encoded}"

    @property
    def _ed25519(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def _ml_dsa(self) -> MLDSA44PrivateKey:
        return MLDSA44PrivateKey.from_seed_bytes(self.seed)

    def sign(self, text: str, time: int) -> NoteSignature:
        """Sign the text of a note.

        Args:
            text: of a checkpoint, if the type tells the time.
            time: in seconds since 1970; a type that tells none passes it over.
        """
        if self.kind == ED25519:
            data = self._ed25519.sign(text.encode())
        elif self.kind == COSIGNED_ED25519:
            data = time.to_bytes(_TIME_BYTES) + self._ed25519.sign(_timed(time, text))
        else:
            data = time.to_bytes(_TIME_BYTES) + self._ml_dsa.sign(_subtree(self.name, time, text))
        return NoteSignature(self.name, self.verifier.key_id, data)


def _timed(time: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _subtree(name: str, time: int, text: str) -> bytes:
    """Return what an ML-DSA-44 cosignature signs of a checkpoint: the whole tree, from 0 on.

    Raises:
        BadNote: the text is no checkpoint.
    """
    origin, size, root = text.split("\n")[:3] if text.count("\n") >= 3 else ("", "", "")
    hash = decoded(root)
    if not size.isascii() or not size.isdecimal() or hash is None or len(hash) != 32:
        raise BadNote("only checkpoints are signed by ML-DSA-44")
    parts = b"subtree/v1\n\0", _opaque(name), time.to_bytes(8), _opaque(origin), bytes(8), int(size).to_bytes(8), hash
    return b"".join(parts)


def _opaque(text: str) -> bytes:
    data = text.encode()
    if not 0 < len(data) < 256:
        raise BadNote("an origin or a name of a cosigner has 1 to 255 bytes")
    return bytes([len(data)]) + data
