"""A store of a map moved to another place: whole, while others serve, wherever it is killed; and the old one fenced."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lastresort import StoreError, open_conversations
from lastresort.adapters.databases.errors import reached
from lastresort.adapters.opening import opened_apart
from lastresort.adapters.shards.checking import misplaced
from lastresort.adapters.shards.conversations import ShardedConversations
from lastresort.adapters.shards.shard_map import read_shard_map
from lastresort.adapters.upkeep.moving import move, undo
from lastresort.application.conversations import Conversations
from lastresort.application.ports import Append, NewEvent
from lastresort.domain.events import ConversationStarted

from .stores import LEFT
from .test_shards import HALVES, run, tell

STEPS = ("freeze", "copy", "compare", "switch", "close")
FROM, TO = "sqlite:///a.db", "sqlite:///new/a.db"


@pytest.fixture
def mapped(tmp_path: Path) -> Path:
    path = tmp_path / "shards.toml"
    path.write_text("".join(HALVES))
    (tmp_path / "new").mkdir()
    with open_conversations(str(path)) as chats:
        tell(chats)
        for tree in ("talk-000", "talk-001", "talk-002", "talk-003"):
            chats.chat(tree).describe(title=f"title of {tree}")
    return path


@pytest.fixture
def chats(mapped: Path) -> Iterator[Conversations]:
    with open_conversations(str(mapped)) as opened:
        yield opened


def map_of(folder: Path, first: str, second: str) -> Path:
    """Write a map of two stores, and return where it is."""
    path = folder / "shards.toml"
    path.write_text("".join(HALVES).replace("sqlite:///a.db", first).replace("sqlite:///b.db", second))
    return path


def all_told(path: Path) -> object:
    """All that can be read of the conversations of a map."""
    with open_conversations(str(path), create=False) as chats:
        page = chats.list(with_metadata=True)
        said = {row.conversation: chats.words(chats.tree_log(row.conversation)) for row in page.rows}
        return [*chats.store.log()], page, said


def in_first(chats: Conversations) -> str:
    return next(row.conversation for row in chats.list().rows if chats.of(row.conversation) is chats.parts[0])


def in_second(chats: Conversations) -> str:
    return next(row.conversation for row in chats.list().rows if chats.of(row.conversation) is chats.parts[1])


def test_a_store_is_moved_with_its_words_and_its_titles(mapped: Path) -> None:
    before, steps = all_told(mapped), list[str]()
    with open_conversations(str(mapped)) as chats:
        events = chats.parts[0].store.head()
    assert move(mapped, FROM, TO, steps.append) == (events, ())
    assert steps == list(STEPS)
    assert [one.url for one in read_shard_map(mapped)] == [
        f"sqlite:///{mapped.parent}/new/a.db", f"sqlite:///{mapped.parent}/b.db"
    ]  # fmt: skip
    assert all_told(mapped) == before
    with open_conversations(str(mapped)) as chats:
        assert chats.chat(in_first(chats)).user_turn("more") is not None
    assert move(mapped, FROM, TO) == (events, ())  # again: there is nothing left to do
    (mapped.parent / "a.db").unlink()
    assert move(mapped, FROM, TO) == (0, ())


def test_the_others_serve_meanwhile_and_the_frozen_one_is_read(mapped: Path, chats: Conversations) -> None:
    first, second, seen = in_first(chats), in_second(chats), list[str]()

    def step(name: str) -> None:
        seen.append(name)
        if name == "freeze":
            return
        chats.chat(second).user_turn(f"while it is at {name}")
        assert chats.state(first).conversation == first
        with pytest.raises(StoreError, match=r"frozen while it is moved|was moved to another store"):
            chats.chat(first).user_turn("too late")

    move(mapped, FROM, TO, step)
    assert seen == list(STEPS)


def test_a_process_that_holds_the_old_map_writes_nothing_to_the_old_store(mapped: Path, chats: Conversations) -> None:
    first = in_first(chats)
    part, before = chats.of(first), chats.of(first).store.head()
    move(mapped, FROM, TO)
    stale = chats.chat(first)
    with pytest.raises(StoreError, match="was moved to another store, and nothing was written"):
        stale.user_turn("lost")
    with pytest.raises(StoreError, match="nothing was written"):
        stale.describe(title="lost")
    with pytest.raises(StoreError, match="was moved"), reached(), part.store.still():
        raise AssertionError("it was kept still")
    with pytest.raises(StoreError, match="was moved"):
        part.store.import_log([])
    assert part.store.head() == before
    with pytest.raises(StoreError, match="it was moved to another store, which its"):
        open_conversations(f"sqlite:///{mapped.parent}/a.db")


@pytest.mark.parametrize("at", STEPS)
def test_a_move_that_is_killed_goes_on(mapped: Path, at: str) -> None:
    before = all_told(mapped)

    def die(name: str) -> None:
        if name == at:
            os.kill(os.getpid(), signal.SIGKILL)

    if (child := os.fork()) == 0:  # pragma: no cover  # the child is killed
        with suppress(BaseException):  # or else there would be two of this very process
            move(mapped, FROM, TO, die)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert all_told(mapped) == before  # one store or the other, and never a half
    assert move(mapped, FROM, TO).findings == ()
    assert all_told(mapped) == before
    with pytest.raises(StoreError, match="it was moved"):
        open_conversations(f"sqlite:///{mapped.parent}/a.db")


@pytest.mark.xdist_group("postgresql")
@pytest.mark.parametrize("at", STEPS)
def test_a_move_on_postgresql_that_is_killed_goes_on(postgresql: Callable[[], str], tmp_path: Path, at: str) -> None:
    first, second, new = (postgresql() for _ in range(3))
    path = map_of(tmp_path, first, second)
    with open_conversations(str(path)) as chats:
        tell(chats, 4)
    before = all_told(path)
    done = subprocess.run([sys.executable, "-c", KILLED, path, first, new, at], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert all_told(path) == before
    assert move(path, first, new).findings == ()
    assert all_told(path) == before
    assert [one.url for one in read_shard_map(path)] == [new, second]
    with pytest.raises(StoreError, match="it was moved"):
        open_conversations(first)


KILLED = """
import os, signal, sys
from pathlib import Path
from lastresort.adapters.upkeep.moving import move

def die(name):
    if name == sys.argv[4]:
        os.kill(os.getpid(), signal.SIGKILL)

move(Path(sys.argv[1]), sys.argv[2], sys.argv[3], die)
"""


def test_a_lock_that_somebody_prepared_is_not_followed(mapped: Path) -> None:
    elsewhere = mapped.parent / "elsewhere"
    (mapped.parent / f".{mapped.name}.lock").symlink_to(elsewhere)
    with pytest.raises(StoreError, match=r"locks this file, and cannot: .*; remove it"):
        move(mapped, FROM, TO)
    assert not elsewhere.exists()


def test_one_store_of_a_map_is_moved_at_a_time(mapped: Path) -> None:
    """Two that replace the map would each take back what the other wrote. After the first the second may begin."""
    refused: list[str] = []

    def another(name: str) -> None:
        for act in (lambda: move(mapped, "sqlite:///b.db", "sqlite:///new/b.db"), lambda: undo(mapped, FROM)):
            with pytest.raises(StoreError, match="is being moved by another process; wait until that is done"):
                act()
        refused.append(name)

    before = all_told(mapped)
    move(mapped, FROM, TO, another)
    assert refused == list(STEPS)
    assert move(mapped, "sqlite:///b.db", "sqlite:///new/b.db").findings == ()
    assert [Path(one.url).parent.name for one in read_shard_map(mapped)] == ["new", "new"]
    assert all_told(mapped) == before


def test_it_is_taken_back_as_long_as_the_map_names_the_store(mapped: Path) -> None:
    def stop(name: str) -> None:
        if name == "switch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(mapped, FROM, TO, stop)
    with pytest.raises(StoreError, match="is being moved to another place"):
        move(mapped, FROM, "sqlite:///new/other.db")
    undo(mapped, FROM)
    with open_conversations(str(mapped)) as chats:
        chat = chats.chat(in_first(chats))
        chat.user_turn("after all")
        chat.describe(title="after all")
    with pytest.raises(StoreError, match="there is something"):
        move(mapped, FROM, TO)  # the copy lacks what came since
    assert move(mapped, FROM, "sqlite:///new/other.db").findings == ()
    with pytest.raises(StoreError, match="so nothing is undone"):
        undo(mapped, FROM)
    mapped.write_text("".join(HALVES))
    for act in (lambda: undo(mapped, FROM), lambda: move(mapped, FROM, "sqlite:///new/c.db")):
        with pytest.raises(StoreError, match="was moved"):
            act()


def test_what_cannot_be_moved(mapped: Path) -> None:
    for source, target, told in (
        ("sqlite:///c.db", TO, "names no store"),
        (FROM, "sqlite:///b.db", "names .* already"),
        (FROM, "postgresql://localhost/nowhere", "of the same kind"),
        (FROM, "sqlite:///no/a.db", "no folder for it"),
    ):
        with pytest.raises(StoreError, match=told):
            move(mapped, source, target)
    with opened_apart(f"sqlite:///{mapped.parent}/a.db") as (store, _):
        assert store.noted("fence") is None
        store.note("tlog", "{}")
    with pytest.raises(StoreError, match=r"has a transparency log.* leave it where it is"):
        move(mapped, FROM, TO)


def test_a_log_with_findings_stays_where_it_is(mapped: Path) -> None:
    with opened_apart(f"sqlite:///{mapped.parent}/a.db") as (store, _):
        began = next(one for one in store.log() if isinstance(one.event, ConversationStarted))
        version = len(store.read(began.branch, began.branch)) + 2
        with pytest.raises(Exception, match="leaves a gap"):
            store.append(Append(began.branch, "c", "c", began.recorded_at, (NewEvent(began.branch, version, LEFT),)))
        store._change(("UPDATE {events} SET recorded_at = 'no time' WHERE {position} = 1", ()))
    code, told = run("shards", "move", str(mapped), FROM, TO)
    assert (code, "so it was not moved" in told) == (1, True)
    assert [*(mapped.parent / "new").iterdir()] == []
    with opened_apart(f"sqlite:///{mapped.parent}/a.db") as (store, _):
        assert store.noted("fence") is None


def test_the_commands(mapped: Path) -> None:
    named = str(mapped)
    shown = json.loads(run("shards", "show", named, "--json")[1])
    assert [(row["shards"], row["state"]) for row in shown] == [("0-127", "open"), ("128-255", "open")]
    assert run("shards", "check", named) == (0, "every branch is in its store alone\n")
    assert json.loads(run("shards", "check", named, "--json")[1]) == {"findings": []}
    assert run("shards", "move", named, FROM)[0] == 2
    assert run("shards", "move", named, FROM, "--undo") == (0, "it can be written to again\n")
    assert json.loads(run("shards", "move", named, FROM, "--undo", "--json")[1]) == {"undone": True}
    assert json.loads(run("shards", "move", named, FROM, TO, "--json")[1])["findings"] == []
    code, told = run("shards", "move", named, "sqlite:///b.db", "sqlite:///new/b.db")
    assert (code, "events moved; open" in told) == (0, True)
    assert "new/b.db" in run("shards", "show", named)[1]


def test_what_lies_in_the_wrong_store_is_named(mapped: Path, chats: Conversations) -> None:
    tree = in_first(chats)
    chats.parts[1].start(model="m", conversation=tree)
    assert isinstance(chats, ShardedConversations)
    assert sorted(one.detail for one in misplaced(chats) if one.branch == tree) == [
        "lies in a store to which its conversation's id does not lead", "lies in two stores"
    ]  # fmt: skip
    code, told = run("shards", "check", str(mapped))
    assert (code, "2 branches in the wrong place" in told) == (1, True)


@pytest.mark.xdist_group("postgresql")
def test_on_postgresql(postgresql: Callable[[], str], tmp_path: Path) -> None:
    first, second, new = (postgresql() for _ in range(3))
    mapped = map_of(tmp_path, first, second)
    with open_conversations(str(mapped)) as chats:
        tell(chats, 6)
        tree = in_first(chats)
        chats.chat(tree).describe(title="a title")
        part, frozen = chats.of(tree), list[str]()

        def step(name: str) -> None:
            if name in ("copy", "close"):
                chat = chats.chat(tree)
                for act in (lambda: chat.user_turn("late"), lambda: chat.describe(title="late")):
                    with pytest.raises(StoreError, match="nothing was written"):
                        act()
                with pytest.raises(StoreError, match="nothing was written"), part.store.still():
                    raise AssertionError("it was kept still")
                with pytest.raises(StoreError, match="nothing was written"):
                    part.store.import_log([Append("x", "x", "x", "2026-12-01T00:00:00+00:00", (began_as("x"),))])
                frozen.append(name)

        def began_as(name: str) -> NewEvent:
            return NewEvent(name, 1, part.store.read(tree, tree)[0].event.model_copy(update={"conversation": name}))

        told = [*chats.store.log()], chats.list(with_metadata=True)
        assert move(mapped, first, new, step).findings == ()
        assert frozen == ["copy", "close"]
    with open_conversations(str(mapped)) as chats:
        assert ([*chats.store.log()], chats.list(with_metadata=True)) == told
        assert chats.chat(tree).user_turn("more") is not None
    with pytest.raises(StoreError, match="it was moved"):
        open_conversations(first)
    with pytest.raises(StoreError, match="there is something"):
        move(mapped, second, first)
    undo(mapped, second)
