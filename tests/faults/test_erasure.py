"""What was erased is in no file: not the words, which never were, nor the sealed bytes, nor the key of a conversation.

Bytes are searched for in pieces, so that it does not matter where a page ends. In the files of PostgreSQL they stay for
a while, since it deletes by marking: what is promised there, and what is not, is in docs/explanation/reliability.md.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from lastresort import Chat, Conversations, StoreError
from lastresort.adapters.console.display import moment
from lastresort.application.ports import Place, SealBroken
from lastresort.domain.values import ErasureCause
from lastresort.projections import transcript

from ..narrow import present
from ..stores import done
from .acts import OPERATOR, check_log, open_at
from .servers import FAULTS, Server
from .sizes import size

PIECE = 20
TURNS = 4
PER_STORE = 20


def pieces(data: bytes) -> list[bytes]:
    return [data[at : at + PIECE] for at in range(0, len(data) - PIECE + 1, PIECE)]


def files_with(folder: Path, wanted: list[bytes]) -> list[str]:
    """Return the files below `folder`, and those that this process holds open though deleted, with any of `wanted`."""
    found = []
    held = [fd for fd in Path("/proc/self/fd").iterdir() if os.path.islink(fd) and "(deleted)" in os.readlink(fd)]
    for path in (*(path for path in folder.rglob("*") if path.is_file()), *held):
        content = path.read_bytes()
        if any(piece in content for piece in wanted):
            found.append(str(path.relative_to(folder)) if path not in held else os.readlink(path))
    return found


def words(conversation: str, number: int) -> str:
    return f"canary {number} of {conversation}, to be erased." * (1 if number % 2 else 120)  # on one page, or on many


def started_chat(chats: Conversations, conversation: str) -> Chat:
    chat = chats.start(model="m", conversation=conversation)
    for number in range(TURNS):
        done(
            chat.assistant_turn(words(conversation, number))
            if number % 2
            else chat.user_turn(words(conversation, number))
        )
    return chat


def sealed(chats: Conversations, chat: Chat, version: int) -> bytes:
    place = Place(chat.branch, version)
    return chats.store.contents([place])[place]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the store is, and whatever SQLite may put into a temporary file."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path / "temporary"))
    return tmp_path


def test_an_erased_turn_is_in_no_file(folder: Path) -> None:
    """A turn's words, short and long, while its conversation goes on under the same key."""
    erasures = size(20, 500)
    for number in range(erasures):
        if number % PER_STORE == 0:
            chats = open_at(f"sqlite:///{folder}/{number}.db")
        chat = started_chat(chats, f"c-{number}")
        version = 2 + number % TURNS
        data, before = sealed(chats, chat, version), list(chats.store.log())
        assert files_with(folder, pieces(data))
        erased = done(chat.erase(version))
        assert files_with(folder, pieces(data)) == []
        assert files_with(folder, [b"canary"]) == []
        assert list(chats.store.log())[: len(before)] == before
        assert gone(chats, chat) == {version: f"erased at {moment(erased.events[0].recorded_at)} UTC (user_request)"}
        if number % PER_STORE == PER_STORE - 1 or number == erasures - 1:
            check_log(chats, list(chats.store.log()))
            chats.close()
            assert files_with(folder, [*pieces(data), b"canary"]) == []
            for file in folder.glob("*.db*"):
                file.unlink()


def gone(chats: Conversations, chat: Chat) -> dict[int, str | None]:
    """Return what the transcript says of the words that are gone, by version."""
    lines = transcript(chat.path, chats.words(chat.path), tree=chats.tree_log(chat.branch))
    return {line.version: line.gone for line in lines if line.speaker and line.text is None}


def test_an_erased_conversation_is_in_no_file(folder: Path) -> None:
    """Its words, on a branch too, and its key, wrapped as it is."""
    erasures = size(10, 500)
    for number in range(erasures):
        if number % PER_STORE == 0:
            url = f"sqlite:///{folder}/{number}.db"
            chats = open_at(url)
        chat = started_chat(chats, f"c-{number}")
        child = done(chat.edit(2, words("branch", 1)))
        data = [sealed(chats, chat, version) for version in range(2, 2 + TURNS)] + [sealed(chats, child, 3)]
        key = wrapped_key(folder / f"{number - number % PER_STORE}.db-keys", chat.branch)
        wanted = [piece for each in (*data, key) for piece in pieces(each)]
        assert files_with(folder, pieces(key))
        before = list(chats.store.log())
        chats.erase_conversation(chat.branch, by=OPERATOR, cause=ErasureCause.LEGAL, command_id=f"erase-{number}")
        assert files_with(folder, wanted) == []
        assert list(chats.store.log())[: len(before)] == before
        assert list(gone(chats, chat)) == [2, 3, 4, 5]
        assert all("(legal)" in str(why) for why in (*gone(chats, chat).values(), *gone(chats, child).values()))
        if number % PER_STORE == PER_STORE - 1 or number == erasures - 1:
            check_log(chats, list(chats.store.log()))
            chats.close()
            assert files_with(folder, [*wanted, b"canary"]) == []
            for file in folder.glob("*.db*"):
                file.unlink()


def wrapped_key(file: Path, conversation: str) -> bytes:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as keys:
        return bytes(keys.execute("SELECT key FROM keys WHERE conversation=?", (conversation,)).fetchone()[0])


def test_a_reader_that_keeps_erased_words_in_the_log(folder: Path) -> None:
    """The caller is told that they are not gone yet; sent again when the reader has ended, the same command ends it."""
    with closing(open_at(f"sqlite:///{folder}/log.db?deadline=0.2")) as chats:
        chat = started_chat(chats, "c")
        data = sealed(chats, chat, 2)
        with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with pytest.raises(StoreError, match="a reader keeps it in the write-ahead log"):
                chat.erase(2, command_id="erase")
            assert files_with(folder, pieces(data))
        done(chat.erase(2, command_id="erase"))
        assert files_with(folder, pieces(data)) == []
        assert [one.command_id for one in chats.store.log()].count("erase") == 1


def test_whatever_is_written_next_clears_what_a_reader_kept(folder: Path) -> None:
    """By this store, though nobody sends the erasure again."""
    with closing(open_at(f"sqlite:///{folder}/log.db?deadline=0.2")) as chats:
        chat = started_chat(chats, "c")
        data = sealed(chats, chat, 2)
        with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with pytest.raises(StoreError, match="a reader keeps it in the write-ahead log"):
                chat.erase(2, command_id="erase")
            done(chat.leave())  # which nobody has to wait for, or is told of
            assert files_with(folder, pieces(data))
        done(chat.leave())
        assert files_with(folder, pieces(data)) == []


# --- Bytes that are not what they were -------------------------------------------------------------------------------


def swapped(data: dict[int, bytes]) -> dict[int, bytes]:
    one, other = list(data)[:2]
    return {one: data[other], other: data[one]}


DAMAGE: dict[str, Callable[[dict[int, bytes]], dict[int, bytes]]] = {
    "swapped": swapped,
    "truncated": lambda data: {position: each[:-1] for position, each in data.items()},
    "emptied": lambda data: dict.fromkeys(data, b""),
    "edited": lambda data: {position: each[:30] + bytes([each[30] ^ 1]) + each[31:] for position, each in data.items()},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_contents_are_named_and_not_shown(folder: Path, damage: str) -> None:
    """By someone who may write to the file."""
    with closing(open_at(f"sqlite:///{folder}/log.db")) as chats:
        chat = started_chat(chats, "c")
        with closing(sqlite3.connect(folder / "log.db")) as other:
            data: dict[int, bytes] = dict(other.execute("SELECT position, data FROM contents").fetchall())
            for position, each in DAMAGE[damage](data).items():
                other.execute("UPDATE contents SET data=? WHERE position=?", (each, position))
            other.commit()
        with pytest.raises(SealBroken, match=r"branch c, version 2: the kept bytes are not what was sealed"):
            chats.words(chat.path)
        check_log(chats, list(chats.store.log()))


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@FAULTS
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_contents_are_named_on_postgresql_too(server: Server, damage: str) -> None:
    """By someone who may write to the tables."""
    url = server.create_database()
    with closing(open_at(url)) as chats:
        chat = started_chat(chats, "c")
        with psycopg.connect(url) as other:
            data: dict[int, bytes] = dict(other.execute("SELECT position, data FROM contents").fetchall())
            for position, each in DAMAGE[damage](data).items():
                other.execute("UPDATE contents SET data=%s WHERE position=%s", (each, position))
        with pytest.raises(SealBroken, match=r"branch c, version 2: the kept bytes are not what was sealed"):
            chats.words(chat.path)


@FAULTS
def test_words_are_in_no_file_of_postgresql(server: Server) -> None:
    """In plain: not in tables, nor its log of writes, nor the log that it writes for people."""
    with closing(open_at(server.create_database())) as chats:
        chat = started_chat(chats, "c")
        server.checkpoint()
        assert files_with(server.folder, pieces(sealed(chats, chat, 3))[:1]), "the search finds nothing at all"
        assert files_with(server.folder, [b"canary"]) == []


@FAULTS
def test_erased_bytes_on_postgresql(server: Server) -> None:
    """They are in no row; in the files of the tables until these are written again, and then only in old segments of
    the server's log of writes, which it reuses in time.
    """
    url = server.create_database()
    with closing(open_at(url)) as chats:
        chat, other = started_chat(chats, "c"), started_chat(chats, "d")
        data = [sealed(chats, chat, 2), sealed(chats, chat, 3), sealed(chats, other, 2), sealed(chats, other, 3)]
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute("SELECT key FROM lastresort_keys.keys WHERE conversation = 'd'").fetchone()
            key = present(row)[0]
            before = list(chats.store.log())
            done(chat.erase(2))
            done(chat.erase(3))
            chats.erase_conversation("d", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
            rows = connection.execute("SELECT data FROM contents UNION SELECT key FROM lastresort_keys.keys").fetchall()
            assert not {bytes(row[0]) for row in rows} & {*data, key}
            for table in ("contents", "lastresort_keys.keys"):
                connection.execute(f"VACUUM FULL {table}")
        server.checkpoint()
        wanted = [piece for each in (*data, key) for piece in pieces(each)[::25]]
        assert all(file.startswith("pg_wal/") for file in files_with(server.folder, wanted))
        assert list(chats.store.log())[: len(before)] == before
        assert list(gone(chats, chat)) == [2, 3]
        assert list(gone(chats, other)) == [2, 3, 4, 5]
        check_log(chats, list(chats.store.log()))
