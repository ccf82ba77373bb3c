"""The keys that words are sealed with: one a conversation, kept apart from the log, and wrapped by a master key.

Someone with the keys' file or schema but not the master key can open nothing. To destroy a conversation's key is to
erase its words, wherever a copy of the sealed bytes may be. The master key comes from the caller that opens the store,
from the environment, or from a file that only its owner can read.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastresort.adapters.databases.errors import StoreError, reached
from lastresort.adapters.databases.files import make_private
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.databases.sqlite import connect, truncate_log
from lastresort.application.ports import Annotations

from .annotations import STATEMENT, TABLE, MemoryAnnotations, SQLAnnotations

KEY_BYTES = 32
NAME_BYTES = 16
FORMER_NAME_BYTES = 8  # of keys that were made before: the first of those that name a key now
_AT_A_TIME = 64
_NONCE_BYTES = 12


class Keys(Protocol):
    """Where keys are kept. A conversation may have several; sealed bytes say which they were sealed with."""

    annotations: Annotations
    """What is kept in the same database, sealed with the keys."""

    def of(self, conversation: str) -> bytes | None:
        """Return a key of the conversation, None if it has none."""
        ...

    def take(self, conversation: str) -> bytes:
        """Give the conversation a key, and return it once it is durable."""
        ...

    def find(self, conversation: str, name: bytes) -> "OpeningKey | None":
        """Return the key of that name if it is the conversation's, or was given away when the power failed."""
        ...

    def retire(self, conversation: str, retired: str) -> None:
        """Give the conversation's keys back for opening only, those that are retired too, and mark them `retired`."""
        ...

    def destroy(self, conversation: str, retired: str, names: Iterable[bytes], unowned: Iterable[bytes] = ()) -> None:
        """Destroy keys of the conversation, so that no file holds them, and of no other one.

        Args:
            conversation: whose.
            retired: those that bear this mark.
            names: those of these names.
            unowned: of those that are nobody's, these, which are known to have sealed words of the conversation.
        """
        ...

    def close(self) -> None:
        """Release what is held open."""
        ...


class KeyStore(Protocol):
    """Where wrapped keys are kept, by name, and what tells by which master key they were wrapped."""

    annotations: Annotations

    def of(self, conversation: str) -> tuple[bytes, bytes] | None:
        """Return the name of a key of the conversation, and the wrapped key."""
        ...

    def find(self, conversation: str, name: bytes) -> "KeyRow | None":
        """Return the row of the key of that name, or of its former one, if it is the conversation's or nobody's."""
        ...

    def add(self, keys: Sequence[tuple[bytes, bytes]], conversation: str) -> None:
        """Keep wrapped keys for good: the first is the conversation's, the others are nobody's yet.

        Raises:
            StoreError: one of them could not be kept.
        """
        ...

    def assign(self, name: bytes, wrapped: bytes, conversation: str | None) -> None:
        """Note whose a key is, wrapped for its owner. That need not be durable at once."""
        ...

    def retire(self, conversation: str, retired: str) -> None:
        """See `Keys.retire`. That is durable no later than what is written to the store after it."""
        ...

    def destroy(self, conversation: str, retired: str, names: Iterable[bytes], unowned: Iterable[bytes] = ()) -> None:
        """See `Keys.destroy`."""
        ...

    def named(self, fingerprint: str) -> str:
        """Note the fingerprint of the master key, unless there is one; return the one that is noted."""
        ...

    def is_new(self) -> bool:
        """Whether no fingerprint is noted yet."""
        ...

    def close(self) -> None:
        """Release what is held open."""
        ...


class OpeningKey(NamedTuple):
    """A key that opens, whether the conversation seals with it (not if it is retired), and whether it is nobody's."""

    key: bytes
    seals: bool
    unowned: bool = False


class KeyRow(NamedTuple):
    """A wrapped key as it is kept."""

    name: bytes
    wrapped: bytes
    conversation: str | None  # and after it, if it is retired, `RETIRED` and what by; None: it is nobody's


RETIRED = "\n"
"""Between the conversation in a row of a key and what it was retired by: no id has one."""


def name_of(key: bytes) -> bytes:
    """Return the 16 bytes that name a key, and tell nothing of it."""
    return hashlib.sha256(b"name of " + key).digest()[:NAME_BYTES]


def names_of(name: bytes) -> tuple[bytes, bytes]:
    """Return the names under which the key called `name` may be kept: that one, and the shorter one of before."""
    return name, name[:FORMER_NAME_BYTES]


def new_key() -> bytes:
    return AESGCM.generate_key(KEY_BYTES * 8)


class MemoryKeys:
    """Keys in memory, gone with the process."""

    def __init__(self) -> None:
        self.annotations: Annotations = MemoryAnnotations()
        self._keys: dict[str, bytes] = {}
        self._retired: dict[str, dict[bytes, set[str]]] = {}  # by conversation and name, the marks of a key
        self._by_name: dict[tuple[str, bytes], bytes] = {}
        self._lock = Lock()

    def of(self, conversation: str) -> bytes | None:
        return self._keys.get(conversation)

    def take(self, conversation: str) -> bytes:
        with self._lock:
            key = self._keys.setdefault(conversation, new_key())
            self._by_name[conversation, name_of(key)] = key
            return key

    def find(self, conversation: str, name: bytes) -> OpeningKey | None:
        key = self._by_name.get((conversation, name))  # none is older than this process, so none has a shorter name
        return None if key is None else OpeningKey(key, key == self._keys.get(conversation))

    def retire(self, conversation: str, retired: str) -> None:
        with self._lock:
            before = self._retired.setdefault(conversation, {})
            if (key := self._keys.pop(conversation, None)) is not None:
                before[name_of(key)] = set()
            for marks in before.values():
                marks.add(retired)

    def destroy(self, conversation: str, retired: str, names: Iterable[bytes], unowned: Iterable[bytes] = ()) -> None:
        with self._lock:
            before = self._retired.get(conversation, {})
            for name in {*names, *(name for name, marks in before.items() if retired in marks)}:
                before.pop(name, None)
                key = self._by_name.pop((conversation, name), None)
                if key is not None and key == self._keys.get(conversation):
                    del self._keys[conversation]

    def close(self) -> None:
        self._keys.clear()
        self._by_name.clear()


class SQLiteKeys:
    """Wrapped keys in an SQLite file of their own, readable by its owner only."""

    def __init__(self, path: Path, settings: Settings | None = None) -> None:
        make_private(path)
        self._deadline = (settings or Settings()).deadline
        self._connection = connect(str(path.absolute()), Settings("NORMAL", self._deadline))
        self._lock = Lock()
        columns = [column for _, column, *_ in self._connection.execute("PRAGMA table_info(keys)")]
        if columns and "name" not in columns:
            self._connection.close()
            raise StoreError(
                f"{path} holds keys as a version before the first release kept them; read the words with that version, "
                "or replace it with an empty file: then the log opens, and its words do not"
            )
        for statement in (
            "CREATE TABLE IF NOT EXISTS keys (name BLOB PRIMARY KEY, key BLOB NOT NULL, conversation TEXT) "
            "WITHOUT ROWID",
            "CREATE INDEX IF NOT EXISTS keys_of ON keys (conversation)",
            "CREATE TABLE IF NOT EXISTS master (fingerprint TEXT PRIMARY KEY) WITHOUT ROWID",
            f"CREATE TABLE IF NOT EXISTS {TABLE} {STATEMENT.format(bytes='BLOB')} WITHOUT ROWID",
        ):
            self._connection.execute(statement)
        self.annotations: Annotations = SQLAnnotations(self)

    def select(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """See `annotations.Rows`."""
        with reached(), self._lock:
            return list(self._connection.execute(_in_sqlite(statement), params))

    def change(self, statement: str, rows: Sequence[Sequence[Any]], *, erases: bool = False) -> None:
        """See `annotations.Rows`."""
        self._durably(_in_sqlite(statement), rows)
        if erases:
            with reached(), self._lock:
                truncate_log(self._connection, self._deadline)

    def _execute(self, statement: str, *params: Any) -> Any:
        with reached(), self._lock:
            return self._connection.execute(statement, params).fetchone()

    def of(self, conversation: str) -> tuple[bytes, bytes] | None:
        found: tuple[bytes, bytes] | None = self._execute(
            "SELECT name, key FROM keys WHERE conversation=? LIMIT 1", conversation
        )
        return found

    def find(self, conversation: str, name: bytes) -> KeyRow | None:
        row = self._execute(
            "SELECT name, key, conversation FROM keys WHERE name IN (?,?) AND "
            "(conversation=?3 OR conversation IS NULL OR substr(conversation, 1, length(?4))=?4)",
            *(*names_of(name), conversation, conversation + RETIRED),
        )
        return KeyRow._make(row) if row else None

    def add(self, keys: Sequence[tuple[bytes, bytes]], conversation: str) -> None:
        """Keep keys, at FULL whatever the log is written at: one that is lost takes all its words along."""
        owners = [conversation, *[None] * (len(keys) - 1)]
        rows = [(*key, owner) for key, owner in zip(keys, owners, strict=True)]
        self._durably("INSERT INTO keys VALUES (?,?,?)", rows)

    def _durably(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement once a row of parameters, in one transaction that is on the disk when it is done."""
        with reached(), self._lock:
            self._connection.execute("PRAGMA synchronous=FULL")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(statement, rows)
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._connection.execute("PRAGMA synchronous=NORMAL")

    def assign(self, name: bytes, wrapped: bytes, conversation: str | None) -> None:
        self._execute("UPDATE keys SET key=?, conversation=? WHERE name=?", wrapped, conversation, name)

    def retire(self, conversation: str, retired: str) -> None:
        """Retire keys at FULL: or else what is said under them after an erasure would be lost if the power failed."""
        self._durably(
            "UPDATE keys SET conversation=conversation || ? WHERE conversation=? OR conversation>? AND conversation<?",
            [(RETIRED + retired, conversation, *_retired_of(conversation))],
        )

    def destroy(self, conversation: str, retired: str, names: Iterable[bytes], unowned: Iterable[bytes] = ()) -> None:
        """Destroy keys, in the write-ahead log too, where deleted rows stay readable until it is truncated."""
        with reached(), self._lock:
            if retired:
                self._connection.execute(
                    "DELETE FROM keys WHERE conversation>? AND conversation<? AND instr(conversation, ?)",
                    (*_retired_of(conversation), RETIRED + retired),
                )
            owned = [(*names_of(name), conversation, *_retired_of(conversation)) for name in names]
            self._connection.executemany(
                "DELETE FROM keys WHERE name IN (?,?) AND (conversation=? OR conversation>? AND conversation<?)", owned
            )
            self._connection.executemany(
                "DELETE FROM keys WHERE name IN (?,?) AND conversation IS NULL", [names_of(name) for name in unowned]
            )
            truncate_log(self._connection, self._deadline)

    def is_new(self) -> bool:
        return self._execute("SELECT 1 FROM master") is None

    def named(self, fingerprint: str) -> str:
        self._execute("INSERT INTO master SELECT ? WHERE NOT EXISTS (SELECT 1 FROM master)", fingerprint)
        return str(self._execute("SELECT fingerprint FROM master")[0])

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _in_sqlite(statement: str) -> str:
    return statement.replace("{table}", TABLE).replace("%s", "?")


def _retired_of(conversation: str) -> tuple[str, str]:
    """Return what the rows of a conversation's retired keys stand between: no character comes between the two."""
    return conversation + RETIRED, conversation + chr(ord(RETIRED) + 1)


class WrappedKeys:
    """Keys of which only what a master key makes of them is kept: a nonce of 12 bytes, the sealed key, a tag of 16.

    What is wrapped is bound to the key's name and owner. Keys of before have names of 8 bytes, which is how they are
    told apart, and are bound to these alone.

    Making a key durable costs as much as a turn, so they are made some at a time, more each time: a process that
    starts one conversation makes one. Whose a key is needs no such care, since sealed bytes bear the key's name.

    Raises:
        StoreError: the keys were wrapped by another master key.
    """

    def __init__(self, keys: KeyStore, master: bytes) -> None:
        self.annotations = keys.annotations
        self._keys = keys
        self._wrapping = AESGCM(master)
        self._ready: list[bytes] = []  # keys that are kept, and nobody's yet
        self._made = 0
        self._lock = Lock()
        fingerprint = hashlib.sha256(b"fingerprint of " + master).hexdigest()[:16]
        if (noted := keys.named(fingerprint)) != fingerprint:
            raise StoreError(
                f"its keys were wrapped by another master key than this one (fingerprint {noted}, not {fingerprint}); "
                f"give it the one that it was made with: LASTRESORT_MASTER_KEY, the -master file, or `master_key`"
            )

    def of(self, conversation: str) -> bytes | None:
        found = self._keys.of(conversation)
        return None if found is None else self._unwrapped(KeyRow(*found, conversation))

    def take(self, conversation: str) -> bytes:
        with self._lock:
            if self._ready:
                key = self._ready.pop()
                self._keys.assign(name_of(key), self._wrapped(key, conversation), conversation)
                return key
            keys = [new_key() for _ in range(min(self._made + 1, _AT_A_TIME))]
            owners = [conversation, *[None] * (len(keys) - 1)]
            wrapped = [(name_of(key), self._wrapped(key, owner)) for key, owner in zip(keys, owners, strict=True)]
            self._keys.add(wrapped, conversation)
            self._made += len(keys)
            self._ready = keys[1:]
            return keys[0]

    def find(self, conversation: str, name: bytes) -> OpeningKey | None:
        row = self._keys.find(conversation, name)
        if row is None:
            return None
        return OpeningKey(self._unwrapped(row), row.conversation == conversation, row.conversation is None)

    def _wrapped(self, key: bytes, owner: str | None) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._wrapping.encrypt(nonce, key, _bound(name_of(key), owner))

    def _unwrapped(self, row: KeyRow) -> bytes:
        name, wrapped, owner = row
        try:
            return self._wrapping.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _bound(name, owner))
        except (InvalidTag, ValueError):
            raise StoreError(f"key {name.hex()} is damaged, or not its owner's; restore the keys") from None

    def retire(self, conversation: str, retired: str) -> None:
        self._keys.retire(conversation, retired)

    def destroy(self, conversation: str, retired: str, names: Iterable[bytes], unowned: Iterable[bytes] = ()) -> None:
        self._keys.destroy(conversation, retired, names, unowned)

    def close(self) -> None:
        self._keys.close()


def _bound(name: bytes, owner: str | None) -> bytes:
    """Return what a wrapped key is bound to: its name, and whose it is, retired or not; of before, its name alone."""
    if len(name) == FORMER_NAME_BYTES:
        return name
    return b"2 " + name + b" " + (owner or "").partition(RETIRED)[0].encode()
