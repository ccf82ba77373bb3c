"""PostgreSQL is killed under load, hangs, is locked, and its answers get lost on the way."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random

import psycopg
import pytest

from lastresort import Chat, Conversations, StoreError
from lastresort.application.outcomes import Receipt

from .acts import MODEL, Answer, check, check_log, committed, open_at, open_branches
from .servers import FAULTS, Line, Server
from .sizes import size
from .victims import Writer
from .writers import BRANCHES, write
from .zygote import Zygote, first_to_speak

pytestmark = FAULTS
IN_TIME = 4  # seconds; the deadline is 2


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    """A database for all, since it takes long to make one; so ids are new ones in each test."""
    return new_database(server)


def test_a_server_that_is_killed_under_load(zygote: Zygote, server: Server, url: str) -> None:
    """And started again: what was acknowledged is there, and the same writers go on."""
    random = Random(1)
    cycles = size(2, 200)
    told: list[Answer] = []
    acknowledged = errors = 0
    for cycle in range(cycles):
        branches = [*BRANCHES, *open_branches(told, len(BRANCHES))][-len(BRANCHES) :]
        writers = [
            Writer(zygote.spawn(write, url, random.getrandbits(32), branches, f"{cycle}-{number}"), random)
            for number in range(2)
        ]
        let_write(writers, random.randrange(2, 30))
        server.kill()
        server.start()
        let_write(writers, 2)
        for writer in writers:
            writer.kill()
        told += [one for writer in writers for one in writer.told]
        check(url, told, [act for writer in writers for act in writer.unanswered])
        acknowledged += committed([one for writer in writers for one in writer.told])
        errors += sum(writer.errors for writer in writers)
        if cycle % 20 == 19:
            print(f"{cycle + 1} of {cycles} kills of the server, {acknowledged} acknowledged", flush=True)
            told, url = [], new_database(server)
    print(f"{cycles} kills of the server, {acknowledged} acknowledged, {errors} errors told to callers")
    assert acknowledged  # of errors there may be none: a server that is back within the deadline is written to again


def new_database(server: Server) -> str:
    url = server.create_database()
    chats = open_at(url)
    for branch in BRANCHES:
        chats.start(model=MODEL, conversation=branch)
    chats.close()
    return url


def let_write(writers: list[Writer], answers: int) -> None:
    """Wait until each writer was told so many more answers."""
    enough = {writer.worker: len(writer.told) + answers for writer in writers}
    by_worker = {writer.worker: writer for writer in writers}
    while waiting := [writer.worker for writer in writers if len(writer.told) < enough[writer.worker]]:
        for worker in first_to_speak(waiting):
            by_worker[worker].hear(worker.hear())


# --- Lost answers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def line(url: str) -> Iterator[Line]:
    with tempfile.TemporaryDirectory() as folder:
        line = Line(url, Path(folder))
        yield line
        line.close()


LOST = {
    "start": lambda chats, chat, id: chats.start(model="m", conversation=f"by-{id}", command_id=id),
    "user turn": lambda chats, chat, id: chat.user_turn("words", command_id=id),
    "leave": lambda chats, chat, id: chat.leave(command_id=id),
    "edit": lambda chats, chat, id: chat.edit(2, "other words", command_id=id),
    "risk": lambda chats, chat, id: chat.raise_risk(command_id=id),
    "erasure": lambda chats, chat, id: chat.erase(2, command_id=id),
}


@pytest.mark.parametrize("name", LOST)
def test_any_answer_may_be_lost(url: str, line: Line, name: str) -> None:
    """That to the commit too: someone who asks again by the same id learns the truth, and nothing is done twice."""
    with closing(open_at(url)) as directly, closing(open_at(line.url)) as chats:
        lose_answers(directly, chats, line, LOST[name], name.replace(" ", "-"))


def lose_answers(
    directly: Conversations,
    chats: Conversations,
    line: Line,
    act: Callable[[Conversations, Chat, str], object],
    name: str,
) -> None:
    """Lose the first answer on the line that an act waits for, then the second, up to the last."""
    resolved = unanswered = 0
    for answer in range(100):
        chat = chats.start(model="m", conversation=f"{name}-{answer}")
        chat.user_turn("words")
        line.arm(answer)
        outcome = None
        try:
            outcome = act(chats, chat, f"act-{name}-{answer}")
        except StoreError:
            unanswered += 1
        tree = f"by-act-{name}-{answer}" if name == "start" else chat.branch  # a beginning is in a tree of its own
        cut, recorded = line.cut, list(directly.store.recorded_by(tree, f"act-{name}-{answer}"))
        line.arm(None)
        if isinstance(outcome, Receipt):
            assert [one[1:] for one in outcome.events] == [one[1:] for one in recorded]
        again = act(chats, chat, f"act-{name}-{answer}")
        wrote = list(directly.store.recorded_by(tree, f"act-{name}-{answer}"))
        assert wrote
        assert not recorded or wrote == recorded
        if isinstance(again, Receipt):
            assert [one[1:] for one in again.events] == [one[1:] for one in wrote]
        resolved += bool(cut and recorded)
        if not cut:
            break
    check_log(directly, list(directly.store.log()))
    assert answer >= 1
    assert resolved, "no answer to a commit was lost"
    print(f"{name}: {answer} answers lost one by one, {unanswered} times the caller was told so")


# --- Locks and hanging -----------------------------------------------------------------------------------------------


def refused_in_time(chat: Chat, command_id: str) -> None:
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"the store cannot be |held the store's lock"):
        chat.user_turn("words", command_id=command_id)
    assert time.monotonic() - started < IN_TIME


@pytest.fixture
def chat(url: str) -> Iterator[Chat]:
    with closing(open_at(url)) as chats:
        chat = chats.start(model="m")
        chat.user_turn("words")
        yield chat


def test_tables_that_somebody_else_holds(url: str, chat: Chat) -> None:
    """For longer than the deadline; once they are let go, the same process goes on."""
    with psycopg.connect(url) as other:
        for schema, table in other.execute("SELECT schemaname, tablename FROM pg_tables").fetchall():
            if schema == "public":
                other.execute(f'LOCK TABLE "{schema}"."{table}" IN ACCESS EXCLUSIVE MODE')
        refused_in_time(chat, f"{chat.branch}-meanwhile")
        refused_in_time(chat, f"{chat.branch}-again")
        other.rollback()
    assert isinstance(chat.user_turn("words", command_id=f"{chat.branch}-meanwhile"), Receipt)
    check(url, [])


def test_a_server_that_hangs(server: Server, url: str, chat: Chat) -> None:
    """Every process of it: the call fails in time, and works once the server goes on."""
    server.stop()
    going_on = threading.Timer(2 * IN_TIME, server.go_on)  # for a call that would wait for ever
    going_on.start()
    try:
        refused_in_time(chat, f"{chat.branch}-meanwhile")
    finally:
        going_on.cancel()
        server.go_on()
    assert isinstance(chat.user_turn("words", command_id=f"{chat.branch}-meanwhile"), Receipt)
    check(url, [])


def test_a_server_that_is_gone(server: Server, url: str, chat: Chat) -> None:
    """The call fails in time, and works once the server is there again."""
    server.kill()
    try:
        refused_in_time(chat, f"{chat.branch}-meanwhile")
    finally:
        server.start()
    assert isinstance(chat.user_turn("words", command_id=f"{chat.branch}-meanwhile"), Receipt)
    check(url, [])


def test_a_server_that_is_back_within_the_deadline(server: Server, url: str) -> None:
    """As when another takes over: a call that is made meanwhile waits, for the keys of words too."""
    with closing(open_at(f"{url}&deadline=60")) as chats:
        chat = chats.start(model="m")
        server.kill()
        with ThreadPoolExecutor(1) as thread:
            said = thread.submit(chat.user_turn, "the first, for which it takes a key")
            server.start()
            assert isinstance(said.result(60), Receipt)
        assert list(chats.words(chats.path(chat.branch)).values()) == ["the first, for which it takes a key"]


def test_a_process_that_is_terminated_by_the_server(url: str, chat: Chat) -> None:
    """Connections that an administrator closes: at most one call fails for each, and then it goes on."""
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s",
            (other.info.backend_pid,),
        )
    assert isinstance(chat.user_turn("words"), Receipt)
