"""A view made again beside the one that serves: switched whole, or not at all, and nobody notices."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from click.testing import Result

from lastresort import Conversations, HoldReason, open_conversations
from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.followers import follower, rebuild
from lastresort.adapters.followers.beside_log import came_to
from lastresort.adapters.followers.directory import NAME
from lastresort.adapters.followers.rebuild import Rebuilt, TakenOver, beside
from lastresort.adapters.followers.tables import Transaction
from lastresort.adapters.upkeep.rebuilding import rebuild_views

from .faults.zygote import Zygote
from .killed import killed_after, rebuild_again, zygote
from .operations_kit import checks, in_database, run
from .stores import DURABLE_STORES, OPERATOR, STORES, counting, done, ended, long, new_url, opened, started
from .test_followers import check_rows, directory_of, story

__all__ = ["zygote"]

KILLS = int(os.environ.get("LASTRESORT_FOLLOWER_KILLS", "12"))
Progress = Callable[[int, int], None]
ids = counting("rebuild-")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "_AT_ONCE", 20)
    monkeypatch.setattr(rebuild, "_REST", (0, 0))


@pytest.fixture(params=STORES)
def chats(request: pytest.FixtureRequest) -> Iterator[Conversations]:
    """A store with a directory that has caught up."""
    with opened(new_url(request.param, request)) as conversations:
        story(conversations)
        directory_of(conversations).catch_up()
        yield conversations


def rebuilt(chats: Conversations, progress: Progress = lambda done, of: None) -> Rebuilt:
    return rebuild.rebuild(directory_of(chats), ids, progress)


def rows_of(chats: Conversations) -> Any:
    """Every row of the directory, and how far it has come."""
    directory = directory_of(chats)
    tables = [
        [tuple(dict(row).values()) for row in directory.tables.rows(f"SELECT * FROM {{schema}}{name} ORDER BY 1, 2, 3")]
        for name in directory.table_names
    ]
    return tables, directory.mark()


def rows_from_nothing(chats: Conversations) -> Any:
    """The same of a view that is emptied, and filled from the beginning of the log."""
    with directory_of(chats).transaction() as writing:
        writing.clear()
    directory_of(chats).catch_up()
    return rows_of(chats)


def made_for_it(chats: Conversations) -> set[str]:
    """What is made in the database for the directory, without what the engines make by themselves."""
    own = ("directory", "followers")
    return {name for name in directory_of(chats).tables.made() if name.startswith(own) and "key" not in name}


def notes_of(chats: Conversations) -> set[str]:
    return {row["name"] for row in directory_of(chats).tables.rows("SELECT name FROM {schema}followers")}


def test_what_was_wrong_is_right_and_nothing_is_left_behind(chats: Conversations) -> None:
    """As often as it is done: tables and indexes are those of a new store, but for the second names of indexes."""
    expected, made = rows_of(chats), made_for_it(chats)
    for number in range(3):
        with directory_of(chats).tables.transaction("another") as writing:
            writing.execute("UPDATE {schema}directory SET model = 'wrong'")
            writing.execute("DELETE FROM {schema}directory_branches WHERE branch = 'child'")
        assert rows_of(chats) != expected
        assert rebuilt(chats) == Rebuilt(chats.store.head(), 0)
        assert rows_of(chats) == expected
        now = made_for_it(chats)
        assert {name.removesuffix("_2") for name in now} == made
        assert (len(now), any(name.endswith("_2") for name in now)) == (len(made), number % 2 == 0)
        assert notes_of(chats) == {NAME}
    check_rows(chats)
    assert rows_from_nothing(chats) == expected


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_who_opens_the_store_makes_no_index_twice(kind: str, request: pytest.FixtureRequest) -> None:
    url = new_url(kind, request)
    with opened(url) as chats:
        story(chats)
        directory_of(chats).catch_up()
        rebuilt(chats)
        made = made_for_it(chats)
    with opened(url) as chats:
        check_rows(chats)
        assert made_for_it(chats) == made


def test_the_live_view_goes_on_and_nobody_sees_the_other(chats: Conversations) -> None:
    """Between any two pieces of a rebuild it takes what was recorded, and is what a fold of the log is."""
    seen = []

    def meanwhile(done_: int, of: int) -> None:
        done(chats.chat("child").user_turn("Still there?"))
        check_rows(chats)
        seen.append((done_, of, made_for_it(chats) >= {"directory", "directory_beside"}))
        if done_ == of and len(seen) < 6:
            long(chats, 12, f"busy-{len(seen)}")  # so that the live view is ahead, by more than is written at a time
            check_rows(chats)

    rebuilt(chats, meanwhile)
    assert len(seen) >= 6
    assert all(both for *_, both in seen)
    check_rows(chats)
    assert rows_of(chats) == rows_from_nothing(chats)


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_readers_see_all_of_a_view_whenever_it_is_switched(kind: str, request: pytest.FixtureRequest) -> None:
    url = new_url(kind, request)
    with opened(url) as chats, open_again(url) as reading:
        story(chats)
        expected = list(chats.branch_rows()), directory_of(chats).counts(), chats.list().rows
        over, failed, looks = threading.Event(), [], 0

        def rebuilds() -> None:
            try:
                for _ in range(6):
                    rebuilt(chats)
            except BaseException as error:
                failed.append(error)
            over.set()

        thread = threading.Thread(target=rebuilds)
        thread.start()
        while not over.is_set():
            found = list(reading.branch_rows()), directory_of(reading).counts(), reading.list().rows
            assert found == expected
            looks += 1
        thread.join()
        assert failed == []
        assert looks > 3


@contextmanager
def open_again(url: str) -> Iterator[Conversations]:
    conversations = open_conversations(url, create=False)
    try:
        yield conversations
    finally:
        conversations.close()


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_killed_at_any_moment_the_live_view_is_whole(kind: str, request: pytest.FixtureRequest, zygote: Zygote) -> None:
    """It is followed while the rebuild is killed; what is left is taken up, and comes to what a new view would be."""
    url, random, midway, switched = new_url(kind, request), Random(kind), 0, 0
    with opened(url) as chats:
        story(chats)
        for number in range(KILLS):
            check_rows(chats)
            made = made_for_it(chats)
            worker = zygote.spawn(rebuild_again, url, os.environ.get("LASTRESORT_MASTER_KEY"), 10)
            assert worker.hear() == "rebuilding"
            with killed_after(worker, random.uniform(0, 0.15)):
                long(chats, number % 3, f"n{number}")
            check_rows(chats)
            midway += came_to(chats.store, beside(NAME)) is not None
            switched += made_for_it(chats) != made
        rebuilt(chats)
        assert notes_of(chats) == {NAME}
        assert {"directory_beside", "directory_retired"}.isdisjoint(made_for_it(chats))
        assert rows_of(chats) == rows_from_nothing(chats)
    assert midway + switched, "or nothing was killed that had begun"
    print(f"{kind}: {KILLS} kills, {midway} of them midway, {switched} after a switch or before its end")


def test_of_two_at_once_the_first_is_stopped_and_the_second_goes_on(chats: Conversations) -> None:
    came = []

    def second(done: int, of: int) -> None:
        came.append(rebuilt(chats))

    expected = rows_of(chats)
    with pytest.raises(TakenOver, match=rf"^{NAME}: another rebuild of it began, and goes on from where"):
        rebuilt(chats, second)
    assert came == [Rebuilt(chats.store.head(), 20)]
    assert rows_of(chats) == expected
    assert notes_of(chats) == {NAME}
    assert made_for_it(chats).isdisjoint({"directory_beside", "directory_retired"})


def test_one_that_is_overtaken_after_it_switched_has_done_its_work(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop, others = rebuild._Generation._drop, list[Rebuilt]()

    def overtaken(self: Any, which: str) -> None:
        if which == "_retired" and NAME in notes_of(chats) and "directory_retired" in made_for_it(chats) and not others:
            others.append(Rebuilt(0, 0))
            others[0] = rebuilt(chats)
        drop(self, which)

    monkeypatch.setattr(rebuild._Generation, "_drop", overtaken)
    expected = rows_of(chats)
    assert [rebuilt(chats), *others] == [Rebuilt(chats.store.head(), 0)] * 2
    assert (rows_of(chats), notes_of(chats)) == (expected, {NAME})


class Broken(Exception):
    """What a test breaks a transaction with."""


def test_a_switch_that_fails_at_any_statement_has_not_begun(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one goes on with what was made."""
    expected, events, execute, left = rows_of(chats), chats.store.head(), Transaction.execute, 0

    def breaks(self: Any, text: str, *params: Any) -> None:
        nonlocal left
        left -= text.startswith(("ALTER", "UPDATE", "DELETE FROM {schema}followers WHERE name = "))
        if left < 0:
            raise Broken
        execute(self, text, *params)

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "execute", breaks)
        for statement in range(9):
            left = statement
            with pytest.raises(Broken):
                rebuilt(chats)
            assert rows_of(chats) == expected
            made = made_for_it(chats)
            assert ("directory_beside" in made, "directory_retired" in made) == (True, False)
    assert rebuilt(chats) == Rebuilt(events, events)
    assert rows_of(chats) == expected


def test_a_view_of_another_log_or_none_gives_way(chats: Conversations) -> None:
    """As after a restore: though it had come further than this log goes."""
    expected, directory = rows_of(chats), directory_of(chats)
    mark = directory.mark()
    assert mark is not None
    with directory.transaction() as writing:
        writing.clear()
        writing.advance(mark._replace(position=10_000, log="another"))
    rebuilt(chats)
    assert rows_of(chats) == expected
    with directory.transaction() as writing:
        writing.clear()
    rebuilt(chats)
    assert rows_of(chats) == expected


def test_of_an_empty_log_there_is_nothing_to_make() -> None:
    with opened("memory:") as chats:
        assert rebuilt(chats) == Rebuilt(0, 0)
        started(chats)
        assert rebuilt(chats) == Rebuilt(1, 0)
        check_rows(chats)


def test_what_another_version_of_the_code_left_is_not_gone_on_with(chats: Conversations) -> None:
    expected = rows_of(chats)
    with directory_of(chats).tables.transaction(beside("directory.3")) as writing:
        writing.execute("CREATE TABLE {schema}directory_beside (conversation TEXT PRIMARY KEY)")
        writing.execute("INSERT INTO {schema}directory_beside VALUES ('of another form')")
        writing.advance(follower.Mark(3, "b", 3, "c"))
    assert rebuilt(chats) == Rebuilt(chats.store.head(), 0)
    assert (rows_of(chats), notes_of(chats)) == (expected, {NAME})


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_the_command_makes_both_lists(kind: str, request: pytest.FixtureRequest) -> None:
    """An interrupted rebuild is told by the doctor, and gone on with."""
    url = new_url(kind, request)
    with opened(url) as chats:
        story(chats)
        done(chats.chat("wish").hold("case", reason=HoldReason.LITIGATION, by=OPERATOR))
        events = chats.store.head()
    told = said(run("rebuild", url, "--json"))
    views = [{"view": view, "events": events, "resumed": 0} for view in ("directory", "list of holds")]
    assert told == {"views": views}

    def interrupted(view: str, done: int, of: int) -> None:
        raise Broken

    with pytest.raises(Broken):
        list(rebuild_views(url, interrupted))
    check = checks(url)["directory"]
    assert (check.ok, "interrupted at 20: `lastresort rebuild URL` goes on with it" in check.found) == (True, True)
    lines = run("rebuild", url).stdout.splitlines()
    assert lines == [
        f"directory: made again of {events} events, 20 of them by a rebuild that was interrupted",
        f"list of holds: made again of {events} events",
    ]
    with opened(url) as chats:
        check_rows(chats)
        assert [row.hold for row in chats.holds().rows] == ["case"]


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.xdist_group("postgresql")
def test_what_is_planted_on_the_new_tables_is_found(request: pytest.FixtureRequest) -> None:
    """Rows that a rebuild would have written, and that go nowhere, are not switched to."""
    url = new_url("postgresql", request)
    with opened(url) as chats:
        ended(started(chats))
        with pytest.raises(Broken):
            rebuilt(chats, stop)
    in_database(url, "CREATE RULE x AS ON INSERT TO directory_facts_beside DO INSTEAD NOTHING")
    with pytest.raises(StoreError, match=r"somebody planted code on its tables .* \(rule\)"):
        list(rebuild_views(url))


def stop(done: int, of: int) -> None:
    raise Broken
