"""The keys that words are sealed with: one a conversation, kept apart from the log, and wrapped by a master key.

Someone with the keys' file or schema but not the master key can open nothing. To destroy a conversation's key is to
erase its words, wherever a copy of the sealed bytes may be. The master key comes from the caller that opens the store,
from the environment, or from a file that only its owner can read.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

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

    def retire(self, conversations: Sequence[str], retired: str) -> None:
        """Give the keys of conversations back for opening only, those that are retired too, and mark them `retired`."""
        ...

    def destroy(self, doomed: "Sequence[Doomed]") -> None:
        """Destroy keys, so that no file holds them, and no others."""
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

    def add(self, keys: Sequence[tuple[bytes, bytes]], conversation: str, master: str = "") -> bool:
        """Keep wrapped keys for good: the first is the conversation's, the others are nobody's yet.

        Returns:
            Whether they are kept: not if the master key of fingerprint `master` is not the one that is noted.

        Raises:
            StoreError: one of them could not be kept.
        """
        ...

    def assign(self, name: bytes, wrapped: bytes, conversation: str | None, master: str = "") -> bool:
        """Note whose a key is, wrapped for its owner. That need not be durable at once. Returns what `add` does."""
        ...

    def retire(self, conversations: Sequence[str], retired: str) -> None:
        """See `Keys.retire`. That is durable no later than what is written to the store after it."""
        ...

    def destroy(self, doomed: "Sequence[Doomed]") -> None:
        """See `Keys.destroy`. It is one transaction."""
        ...

    def named_by(self, doomed: "Sequence[Doomed]") -> list[bytes]:
        """Return the names of the keys that `destroy` would destroy."""
        ...

    def destroy_named(self, names: Iterable[bytes]) -> int:
        """Destroy the keys of these names, whosever they are; return how many there were."""
        ...

    def named(self, fingerprint: str) -> str:
        """Note the fingerprint of the master key, unless there is one; return the one that is noted."""
        ...

    def is_new(self) -> bool:
        """Whether no fingerprint is noted yet."""
        ...

    def notes(self) -> list[str]:
        """Return what is noted of master keys, and of the log: see `wrapped`. The fingerprint has no space in it."""
        ...

    def note(self, text: str) -> None:
        """Note something, unless it is noted."""
        ...

    def freeze(self, note: str) -> None:
        """Note something that begins with `FENCE`: from then on nobody changes annotations."""
        ...

    def replace_note(self, before: str, *after: str) -> bool:
        """Note `after` in place of `before`, for good and at once; return whether that was noted."""
        ...

    def page(self, after: bytes, limit: int) -> "list[KeyRow]":
        """Return the first keys whose names come after one."""
        ...

    def rewrap(self, keys: "Sequence[tuple[KeyRow, bytes]]") -> None:
        """Keep keys wrapped otherwise, for good, those that are still as in these rows."""
        ...

    def close(self) -> None:
        """Release what is held open."""
        ...


class Doomed(NamedTuple):
    """Keys of a conversation that are to be destroyed.

    Attributes:
        conversation: whose.
        retired: those that bear this mark, if it is one.
        names: those of these names.
        unowned: of those that are nobody's, these, which are known to have sealed words of the conversation.
    """

    conversation: str
    retired: str = ""
    names: Collection[bytes] = ()
    unowned: Collection[bytes] = ()


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


FENCE = "fence "
"""How a note begins that has nobody change annotations: the store is being moved, or was."""

FENCED = "the store is frozen, or was moved to another, and nothing was written: open it again later"
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

    def retire(self, conversations: Sequence[str], retired: str) -> None:
        with self._lock:
            for conversation in conversations:
                before = self._retired.setdefault(conversation, {})
                if (key := self._keys.pop(conversation, None)) is not None:
                    before[name_of(key)] = set()
                for marks in before.values():
                    marks.add(retired)

    def destroy(self, doomed: Sequence[Doomed]) -> None:
        with self._lock:
            for conversation, retired, names, _ in doomed:
                before = self._retired.get(conversation, {})
                for name in {*names, *(name for name, marks in before.items() if retired in marks)}:
                    before.pop(name, None)
                    key = self._by_name.pop((conversation, name), None)
                    if key is not None and key == self._keys.get(conversation):
                        del self._keys[conversation]

    def close(self) -> None:
        self._keys.clear()
        self._by_name.clear()


_IS_FENCED = f"SELECT 1 FROM master WHERE fingerprint >= '{FENCE}' AND fingerprint < '{FENCE}~'"
_IS_NOTED = "(?='' OR EXISTS (SELECT 1 FROM master WHERE fingerprint=?))"
"""Whether a master key is that which new keys are wrapped by; nobody asks where none is named."""


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

    def change(
        self, statement: str, rows: Sequence[Sequence[Any]], *, erases: bool = False, whole: bool = False
    ) -> bool:
        """See `annotations.Rows`."""
        written = self._durably(_in_sqlite(statement), rows, whole=whole, fenced=True)
        if erases:
            with reached(), self._lock:
                truncate_log(self._connection, self._deadline)
        return not whole or written == len(rows)

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

    def add(self, keys: Sequence[tuple[bytes, bytes]], conversation: str, master: str = "") -> bool:
        """Keep keys, at FULL whatever the log is written at: one that is lost takes all its words along."""
        owners = [conversation, *[None] * (len(keys) - 1)]
        rows = [(*key, owner, master, master) for key, owner in zip(keys, owners, strict=True)]
        return self._durably(f"INSERT INTO keys SELECT ?,?,? WHERE {_IS_NOTED}", rows) == len(rows)

    def _durably(
        self, statement: str, rows: Sequence[Sequence[Any]], *, whole: bool = False, fenced: bool = False
    ) -> int:
        """Execute a statement once a row of parameters, in one transaction that is on the disk when it is done.

        Returns how many rows it wrote; if it was to write all, and fewer were there to write, nothing is written.
        """
        with reached(), self._lock:
            self._connection.execute("PRAGMA synchronous=FULL")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                if fenced and self._connection.execute(_IS_FENCED).fetchone():
                    raise StoreError(FENCED)
                written = self._connection.executemany(statement, rows).rowcount
                self._connection.execute("ROLLBACK" if whole and written < len(rows) else "COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._connection.execute("PRAGMA synchronous=NORMAL")
            return written

    def assign(self, name: bytes, wrapped: bytes, conversation: str | None, master: str = "") -> bool:
        statement = f"UPDATE keys SET key=?, conversation=? WHERE name=? AND {_IS_NOTED}"
        with reached(), self._lock:
            done = self._connection.execute(statement, (wrapped, conversation, name, master, master))
            return done.rowcount == 1

    def retire(self, conversations: Sequence[str], retired: str) -> None:
        """Retire keys at FULL: or else what is said under them after an erasure would be lost if the power failed."""
        self._durably(
            "UPDATE keys SET conversation=conversation || ? WHERE conversation=? OR conversation>? AND conversation<?",
            [(RETIRED + retired, conversation, *_retired_of(conversation)) for conversation in conversations],
        )

    def destroy(self, doomed: Sequence[Doomed]) -> None:
        """Destroy keys, in the write-ahead log too, where deleted rows stay readable until it is truncated."""
        with reached(), self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for condition, params in _conditions(doomed):
                    self._connection.execute(f"DELETE FROM keys WHERE {condition}", params)
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            truncate_log(self._connection, self._deadline)

    def named_by(self, doomed: Sequence[Doomed]) -> list[bytes]:
        with reached(), self._lock:
            execute = self._connection.execute
            found = [execute(f"SELECT name FROM keys WHERE {one}", params) for one, params in _conditions(doomed)]
            return sorted({name for rows in found for (name,) in rows})

    def destroy_named(self, names: Iterable[bytes]) -> int:
        with reached(), self._lock:
            gone = self._connection.executemany("DELETE FROM keys WHERE name=?", [(name,) for name in names]).rowcount
            if gone > 0:
                truncate_log(self._connection, self._deadline)
        return max(0, gone)

    def is_new(self) -> bool:
        return self._execute("SELECT 1 FROM master") is None

    def notes(self) -> list[str]:
        with reached(), self._lock:
            return [text for (text,) in self._connection.execute("SELECT fingerprint FROM master")]

    def note(self, text: str) -> None:
        self._execute("INSERT OR IGNORE INTO master VALUES (?)", text)

    def freeze(self, note: str) -> None:
        self._durably("INSERT OR IGNORE INTO master VALUES (?)", [(note,)])

    def replace_note(self, before: str, *after: str) -> bool:
        with reached(), self._lock:
            self._connection.execute("PRAGMA synchronous=FULL")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                gone = self._connection.execute("DELETE FROM master WHERE fingerprint=?", (before,)).rowcount == 1
                if gone:
                    self._connection.executemany("INSERT INTO master VALUES (?)", [(text,) for text in after])
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._connection.execute("PRAGMA synchronous=NORMAL")
            truncate_log(self._connection, self._deadline)
            return gone

    def page(self, after: bytes, limit: int) -> list[KeyRow]:
        statement = "SELECT name, key, conversation FROM keys WHERE name>? ORDER BY name LIMIT ?"
        with reached(), self._lock:
            return [KeyRow._make(row) for row in self._connection.execute(statement, (after, limit))]

    def rewrap(self, keys: Sequence[tuple[KeyRow, bytes]]) -> None:
        rows = [(wrapped, row.name, row.wrapped) for row, wrapped in keys]
        self._durably("UPDATE keys SET key=? WHERE name=? AND key=?", rows)

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


def _conditions(doomed: Sequence[Doomed]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield what holds of the rows of keys that are to be destroyed: a condition, and its parameters."""
    for conversation, retired, names, unowned in doomed:
        own = (conversation, *_retired_of(conversation))
        if retired:
            yield "conversation>? AND conversation<? AND instr(conversation, ?)", (*own[1:], RETIRED + retired)
        for name in names:
            yield ("name IN (?,?) AND (conversation=? OR conversation>? AND conversation<?)", (*names_of(name), *own))
        for name in unowned:
            yield "name IN (?,?) AND conversation IS NULL", names_of(name)
