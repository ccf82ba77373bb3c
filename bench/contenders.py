"""Who keeps a conversation durably: this project, the plain drivers, and the library's own aggregate.

Each does the same work through the door that its users have. An exchange is two turns, the user's and the model's; each
turn is a commit of its own, and is durable before the next begins.
"""

import os
import sqlite3
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from pydantic import BaseModel, TypeAdapter

from lastresort import Chat, Refused, open_conversations

MODEL = "claude-opus-4-1"
WORDS = ("Could you look at the second paragraph again? It still reads as if the meeting had not taken place. " * 2)[
    :200
]
ROLES = ("user", "assistant")


class Missing(Exception):
    """What was to be measured is not there; the message says what."""


class Contender(Protocol):
    """Keeps conversations, which are named by `new_name`."""

    def start(self, conversation: str) -> None: ...

    def exchange(self, conversation: str) -> None:
        """Take WORDS of the user and WORDS of the model, each durable by itself."""
        ...

    def load(self, conversation: str) -> Sequence[str]:
        """Return the words of a conversation, typed or parsed as its users get them."""
        ...

    def close(self) -> None: ...


class Fillable(Contender, Protocol):
    """One that can be filled without measuring each turn."""

    def fill(self, conversation: str, turns: int) -> None: ...


# --- This project ---------------------------------------------------------------------------------------------------


class Ours:
    """Sealed words, each command once, every rule asked."""

    def __init__(self, url: str) -> None:
        self.conversations = open_conversations(url)
        self.chats: dict[str, Chat] = {}

    def start(self, conversation: str) -> None:
        self.chats[conversation] = self.conversations.start(model=MODEL, conversation=conversation)

    def exchange(self, conversation: str) -> None:
        chat = self.chats[conversation]
        for outcome in (chat.user_turn(WORDS), chat.assistant_turn(WORDS)):
            assert not isinstance(outcome, Refused), str(outcome)

    def load(self, conversation: str) -> Sequence[str]:
        return list(self.conversations.words(self.conversations.path(conversation)).values())

    def close(self) -> None:
        self.conversations.close()


def ours_on_sqlite(path: Path, *, synchronous: str | None = None) -> Ours:
    """Raises Missing if the store knows no setting of that name."""
    if synchronous is None:
        return Ours(f"sqlite:///{path}")
    ours = Ours(f"sqlite:///{path}?synchronous={synchronous}")
    if not path.exists():  # what stands after the question mark was taken for a part of the name
        ours.close()
        raise Missing(f"the store has no setting synchronous={synchronous}")
    return ours


def ours_on_postgres(url: str) -> Ours:
    """Open a store whose keys are wrapped by a master key in the environment, as on PostgreSQL they have to be."""
    os.environ.setdefault("LASTRESORT_MASTER_KEY", b64encode(os.urandom(32)).decode())
    return Ours(url)


# --- The plain drivers ----------------------------------------------------------------------------------------------


class Turn(BaseModel):
    """A turn, typed: what is loaded is checked, as with us."""

    role: Literal["user", "assistant"]
    words: str


_TURNS = TypeAdapter(list[Turn])


class PlainSQLite:
    """One INSERT and one commit a turn: no law, no seal, no command that takes effect once."""

    def __init__(self, path: Path, synchronous: str = "FULL") -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=WAL",
            f"PRAGMA synchronous={synchronous}",
            "CREATE TABLE turns (id INTEGER PRIMARY KEY, conversation TEXT, role TEXT, words TEXT)",
            "CREATE INDEX by_conversation ON turns (conversation)",
        ):
            self.connection.execute(statement)

    def start(self, conversation: str) -> None:
        pass

    def exchange(self, conversation: str) -> None:
        for role in ROLES:
            self.connection.execute("BEGIN")
            self.connection.execute(_INSERT, (conversation, role, WORDS))
            self.connection.execute("COMMIT")

    def load(self, conversation: str) -> Sequence[str]:
        turns = _TURNS.validate_python([{"role": role, "words": words} for role, words in self.rows(conversation)])
        return [turn.words for turn in turns]

    def rows(self, conversation: str) -> list[tuple[str, str]]:
        """Return the turns of a conversation as the driver does."""
        return self.connection.execute(_SELECT, (conversation,)).fetchall()

    def fill(self, conversation: str, turns: int) -> None:
        """Write that many turns in one commit."""
        self.connection.execute("BEGIN")
        self.connection.executemany(_INSERT, [(conversation, ROLES[number % 2], WORDS) for number in range(turns)])
        self.connection.execute("COMMIT")

    def copy(self, conversation: str, turns: int, branch: str) -> None:
        """Branch without a tree: copy the first `turns`, and add one."""
        self.connection.execute("BEGIN")
        self.connection.execute(
            "INSERT INTO turns (conversation, role, words) SELECT ?, role, words FROM turns "
            "WHERE conversation=? ORDER BY id LIMIT ?",
            (branch, conversation, turns),
        )
        self.connection.execute(_INSERT, (branch, "user", WORDS))
        self.connection.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()


_INSERT = "INSERT INTO turns (conversation, role, words) VALUES (?, ?, ?)"
_SELECT = "SELECT role, words FROM turns WHERE conversation=? ORDER BY id"


class SealedSQLite(PlainSQLite):
    """The least that keeps a turn as we promise to, in one table, by the plain driver: all but the law and the log.

    What lies between this and `plain` is the price of the promise; what lies between this and us is ours.
    """

    def __init__(self, path: Path, synchronous: str = "FULL") -> None:
        super().__init__(path, synchronous)
        self.connection.execute(
            "CREATE TABLE sealed (id INTEGER PRIMARY KEY, conversation TEXT, version INTEGER, role TEXT, command TEXT, "
            "digest BLOB, words BLOB, UNIQUE (conversation, version), UNIQUE (command))"
        )
        self.ciphers: dict[str, AESGCM] = {}
        self.versions: dict[str, int] = {}

    def start(self, conversation: str) -> None:
        self.ciphers[conversation] = AESGCM(os.urandom(32))
        self.versions[conversation] = 0

    def exchange(self, conversation: str) -> None:
        for role in ROLES:
            version = self.versions[conversation] = self.versions[conversation] + 1
            nonce, place = os.urandom(12), f"{conversation} {version}".encode()
            words = nonce + self.ciphers[conversation].encrypt(nonce, WORDS.encode(), place)
            row = (conversation, version, role, new_name(), sha256(words).digest(), words)
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.execute(
                "INSERT INTO sealed (conversation, version, role, command, digest, words) VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
            self.connection.execute("COMMIT")

    def rows(self, conversation: str) -> list[tuple[str, str]]:
        found = self.connection.execute(
            "SELECT role, words, version FROM sealed WHERE conversation=? ORDER BY version", (conversation,)
        )
        cipher = self.ciphers[conversation]
        return [
            (role, cipher.decrypt(words[:12], words[12:], f"{conversation} {version}".encode()).decode())
            for role, words, version in found
        ]


class PlainPostgres:
    """The same with psycopg."""

    def __init__(self, url: str) -> None:
        import psycopg

        self.connection = psycopg.connect(url, autocommit=True)
        for statement in (
            "CREATE TABLE turns (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
            "conversation text, role text, words text)",
            "CREATE INDEX ON turns (conversation)",
        ):
            self.connection.execute(statement)

    def start(self, conversation: str) -> None:
        pass

    def exchange(self, conversation: str) -> None:
        for role in ROLES:
            self.connection.execute(
                "INSERT INTO turns (conversation, role, words) VALUES (%s, %s, %s)", (conversation, role, WORDS)
            )

    def load(self, conversation: str) -> Sequence[str]:
        rows = self.connection.execute("SELECT words FROM turns WHERE conversation=%s ORDER BY id", (conversation,))
        return [row[0] for row in rows]

    def close(self) -> None:
        self.connection.close()


# --- The library ----------------------------------------------------------------------------------------------------


class Dialogue(Aggregate):
    """A conversation as `eventsourcing` has one declare it."""

    @event("Started")
    def __init__(self) -> None:
        self.turns: list[tuple[str, str]] = []

    @event("TurnTaken")
    def take(self, role: str, words: str) -> None:
        self.turns.append((role, words))


class Library:
    """`eventsourcing`'s own aggregate: loaded, changed, saved."""

    def __init__(self, **env: str) -> None:
        self.app: Application[UUID] = Application(env={"AGGREGATE_CACHE_MAXSIZE": "10000", **env})
        self.ids: dict[str, UUID] = {}

    def start(self, conversation: str) -> None:
        dialogue = Dialogue()
        self.ids[conversation] = dialogue.id
        self.app.save(dialogue)

    def exchange(self, conversation: str) -> None:
        for role in ROLES:
            dialogue: Dialogue = self.app.repository.get(self.ids[conversation])
            dialogue.take(role, WORDS)
            self.app.save(dialogue)

    def load(self, conversation: str) -> Sequence[str]:
        dialogue: Dialogue = self.app.repository.get(self.ids[conversation])
        return [words for _, words in dialogue.turns]

    def close(self) -> None:
        self.app.close()


def library_on_sqlite(path: Path) -> Library:
    return Library(PERSISTENCE_MODULE="eventsourcing.sqlite", SQLITE_DBNAME=str(path))


def library_on_postgres(url: str) -> Library:
    from psycopg.conninfo import conninfo_to_dict

    at: dict[str, Any] = {"user": "postgres", "password": "", "port": "5432", **conninfo_to_dict(url)}
    return Library(
        PERSISTENCE_MODULE="eventsourcing.postgres",
        POSTGRES_DBNAME=at["dbname"],
        POSTGRES_HOST=at["host"],
        POSTGRES_PORT=str(at["port"]),
        POSTGRES_USER=at["user"],
        POSTGRES_PASSWORD=at["password"],
    )


def new_name() -> str:
    """Return a name of a conversation that nobody has used, for everybody such as our store makes them."""
    return _NAMES.new_id()


_NAMES = open_conversations("memory:")
