"""Several stores as one: where a conversation lies, lists that are merged, people, an audit and a report over all."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lastresort import (
    ErasureCause,
    HoldReason,
    Receipt,
    Refused,
    StoreError,
    UnknownBranch,
    open_async_conversations,
    open_conversations,
)
from lastresort.adapters.console.cli import main
from lastresort.adapters.shards.conversations import ShardedConversations, shard_of
from lastresort.application.conversations import Conversations
from lastresort.application.directory import ConversationRow
from lastresort.application.ports import Append, NewEvent, Place
from lastresort.projections import audit
from lastresort.projections.reports.report import report

from .stores import LEFT, OPERATOR, USER

HALVES = (
    '[[shard]]\nrange = "0-127"\nurl = "sqlite:///a.db"\n',
    '[[shard]]\nrange = "128-255"\nurl = "sqlite:///b.db"\n',
)
NOW = datetime(2026, 12, 1, tzinfo=UTC)
ERASE: dict[str, Any] = {"by": OPERATOR, "cause": ErasureCause.USER_REQUEST}


def ticking() -> Callable[[], datetime]:
    """Return a clock that goes on by a microsecond each time that it is looked at."""
    ticks = count()
    return lambda: NOW + timedelta(microseconds=next(ticks))


@pytest.fixture
def chats() -> Iterator[ShardedConversations]:
    """Three stores in memory; one of them has two ranges."""
    shards = ((range(60, 120),), (range(120, 200),), (range(60), range(200, 256)))
    clock = ticking()
    stores = [(open_conversations("memory:", clock=clock), [one for span in spans for one in span]) for spans in shards]
    with ShardedConversations(stores) as opened:
        yield opened


@pytest.fixture
def mapped(tmp_path: Path) -> Path:
    path = tmp_path / "shards.toml"
    path.write_text("".join(HALVES))
    return path


def tell(chats: Conversations, many: int = 12) -> list[str]:
    """Start conversations that fall into all stores, of two accounts; every third has a second branch."""
    for number in range(many):
        account = f"user-{number % 2}"
        chat = chats.start(model="m", account=account, conversation=f"talk-{number:03}", command_id=f"start-{number}")
        chat.user_turn(f"words of {number}")
        chat.assistant_turn("an answer")
        if number % 3 == 0:
            assert not isinstance(chat.edit(2, "other words", child=f"child-{number:03}"), Refused)
    return [f"talk-{number:03}" for number in range(many)]


def test_the_shard_of_a_conversation_is_fixed_for_ever() -> None:
    assert [shard_of(name) for name in ("a", "b", "talk-000")] == [0xCA, 0x3E, shard_of("talk-000")]
    assert {shard_of(f"talk-{number}") for number in range(4_000)} == set(range(256))


class TestOneConversation:
    def test_lies_in_the_store_that_its_id_leads_to_with_all_its_branches(self, chats: ShardedConversations) -> None:
        for tree in tell(chats):
            (part,) = [one for one in chats.parts if one.store.heads(tree)]
            assert part is chats.holding(tree)
            assert {part.store.tree_of(branch) for branch in chats.tree(tree)} == {tree}
            assert [one.version for one in chats.tree_log(tree)] == [one.version for one in part.tree_log(tree)]

    def test_is_found_by_a_branch_that_is_no_root(self, chats: ShardedConversations) -> None:
        tell(chats)
        chats._found.clear()
        assert chats.chat("child-003").state.conversation == "talk-003"
        assert list(chats.words(chats.path("child-003")).values()) == ["other words"]
        assert chats.appeal_until("child-003") is None
        assert chats.words([]) == {}
        with pytest.raises(UnknownBranch):
            chats.state("nobody's")
        with pytest.raises(UnknownBranch):
            chats.chat("child-003", account="user-0")

    def test_forgets_where_branches_lie_rather_than_grow(
        self, chats: ShardedConversations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lastresort.adapters.shards.conversations._MOST_FOUND", 2)
        for tree in tell(chats):
            assert chats.state(tree).conversation == tree
        assert len(chats._found) <= 2

    def test_is_started_once_however_often_that_is_sent(self, chats: ShardedConversations) -> None:
        first, again = (chats.start(model="m", command_id="once").branch for _ in range(2))
        assert first == again
        assert chats.start(model="m").branch != first
        with pytest.raises(ValueError, match="person: pass either"):
            chats.start(model="m", account="a", person="b")
        assert len(chats.list().rows) == 2

    def test_has_no_service_for_all(self, chats: ShardedConversations) -> None:
        with pytest.raises(StoreError, match="these lie in several"):
            chats.service  # noqa: B018


class TestLists:
    @pytest.mark.parametrize("order", ["newest", "oldest"])
    def test_pages_are_those_of_one_store(self, chats: ShardedConversations, order: str) -> None:
        tell(chats)
        rows, pages = list[ConversationRow](), 0
        after: str | None = None
        while pages == 0 or after is not None:
            page = chats.list(order=order, after=after, limit=5, with_metadata=True)  # type: ignore[arg-type]
            assert page.metadata is not None
            assert [*page.metadata] == [row.conversation for row in page.rows]
            rows, after, pages = [*rows, *page.rows], page.after, pages + 1
        assert pages == 3
        times = [(row.started, row.conversation) for row in rows]
        assert times == sorted(times, reverse=order == "newest")
        assert {row.conversation for row in rows} == {f"talk-{number:03}" for number in range(12)}

    def test_of_an_account_and_of_a_person(self, chats: ShardedConversations) -> None:
        tell(chats)
        assert len(chats.list(account="user-1").rows) == 6
        mine = {chats.start(model="m", person="ada@example.org").branch for _ in range(6)}
        assert {row.conversation for row in chats.list(person="ada@example.org").rows} == mine
        assert len({id(chats.of(branch)) for branch in mine}) > 1
        assert (chats.list(person="nobody").rows, chats.holds(person="nobody").rows) == ((), ())

    def test_of_branches(self, chats: ShardedConversations) -> None:
        tell(chats)
        seen, after = [], 0
        while True:
            page = chats.page("branched", after=after, limit=3)
            seen += [row.branch for row in page.rows]
            if page.after is None:
                break
            after = page.after
        expected = [name for number in (0, 3, 6, 9) for name in (f"talk-{number:03}", f"child-{number:03}")]
        assert sorted(seen) == sorted(expected)
        assert len([*chats.branch_rows()]) == 16

    def test_of_holds(self, chats: ShardedConversations) -> None:
        tell(chats)
        held = chats.hold_account("user-0", "case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
        assert len(held.changed) == 6
        first = chats.holds(limit=4)
        second = chats.holds(limit=4, after=first.after)
        found = [row.conversation for row in (*first.rows, *second.rows)]
        assert (found, second.after) == (sorted(held.changed), None)
        assert len(chats.release_account("user-0", "case-1", by=OPERATOR).changed) == 6


class TestPeople:
    def test_an_account_is_erased_and_forgotten_in_all_stores(self, chats: ShardedConversations) -> None:
        mine = [chats.start(model="m", person="ada") for _ in range(6)]
        for chat in mine:
            chat.user_turn("a secret")
        account = chats.pseudonym("ada")
        assert [len(one.branches[0].events) for one in chats.export_account(person="ada")] == [2] * 6
        done = chats.erase_account(person="ada", forget=True, **ERASE)
        assert (len(done.erased), done.refused, done.forgotten) == (6, {}, True)
        assert chats.person_of(account) is None
        assert chats.store.with_words([chat.branch for chat in mine]) == set()

    def test_who_is_held_is_forgotten_with_the_last_release_in_any_store(self, chats: ShardedConversations) -> None:
        mine = [chats.start(model="m", person="ada") for _ in range(8)]
        for chat in mine:
            chat.user_turn("a secret")
        first, second = mine[0], next(one for one in mine if chats.of(one.branch) is not chats.of(mine[0].branch))
        for chat in (first, second):
            assert isinstance(chat.hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR), Receipt)
        account = chats.pseudonym("ada")
        done = chats.erase_account(account, forget=True, **ERASE)
        assert (len(done.erased), sorted(done.refused), done.forgotten) == (
            6, sorted([first.branch, second.branch]), False,
        )  # fmt: skip
        first.release_hold("case-1", by=OPERATOR)
        assert chats.person_of(account) == "ada"
        second.release_hold("case-1", by=OPERATOR)
        assert chats.person_of(account) is None
        assert chats.store.with_words([chat.branch for chat in mine]) == set()

    def test_what_is_old_is_erased_in_all_stores(self, chats: ShardedConversations) -> None:
        trees, told = tell(chats), list[int]()
        assert len(chats.retain(timedelta(), dry_run=True).erased) == 12
        done = chats.retain(timedelta(), progress=told.append)
        assert (sorted(done.erased), told[-1], done.refused) == (trees, 12, {})
        assert isinstance(chats.erase_conversation("talk-000", **ERASE), Receipt)


class TestTheLog:
    def test_is_a_log_of_its_own_once_it_is_read(self, chats: ShardedConversations) -> None:
        tell(chats)
        log = list(chats.store.log())
        assert [one.position for one in log] == list(range(1, chats.store.head() + 1))
        assert list(chats.store.entries(after=7, limit=20)) == log[7:27]
        assert list(chats.store.log(after=len(log))) == []
        assert audit(log).findings == ()

    def test_is_reported_on_as_that_of_one_store(self, chats: ShardedConversations) -> None:
        tell(chats)
        with open_conversations("memory:", clock=ticking()) as alone:
            tell(alone)
            own, merged = (report(one.store.log(), branches=0) for one in (alone, chats))
        assert own == merged  # but for which branches are named as examples: those that come first in the log

    def test_reads_and_writes_where_a_conversation_lies(self, chats: ShardedConversations) -> None:
        tell(chats)
        store, places = chats.store, [Place("talk-000", 2), Place("talk-001", 2), Place("child-003", 2)]
        assert store.recorded_by("talk-001", "start-1")[0].branch == "talk-001"
        assert [one.version for one in store.read("talk-001", "talk-001", after=1)] == [2, 3]
        assert (store.tree_of("child-003"), store.tree_of("nobody's")) == ("talk-003", None)
        assert store.contents([*places, Place("nobody's", 1)]).keys() == {*places} & store.contents(places).keys()
        store.drop(places)
        assert store.contents(places) == {}
        store.barrier()
        with store.still():
            pass

    def test_takes_appends_of_one_store_alone(self, chats: ShardedConversations) -> None:
        trees, store = tell(chats), chats.store
        other = next(one for one in trees if chats.of(one) is not chats.of("talk-001"))

        def leaving(tree: str) -> Append:
            new = NewEvent(tree, chats.state(tree).version + 1, LEFT)
            return Append(tree, "leave", "leave", "2026-12-01T00:00:00+00:00", (new,))

        assert store.append() == ()
        assert store.append(leaving("talk-001"))[0].kind == LEFT.kind
        with pytest.raises(StoreError, match="in several stores"):
            store.append(leaving("talk-001"), leaving(other))
        with pytest.raises(StoreError, match="into one store"):
            store.import_log([])
        with pytest.raises(StoreError, match="cannot be followed"):
            store.wait(0, 0)
        store.close()


class TestTheMap:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "one or more .*are needed, and nothing else"),
            ("shard = 3", "one or more"),
            ("shard = [3]", "shard 1: is no table"),
            (HALVES[0] + "[other]", "one or more"),
            ("shard", "not TOML"),
            (HALVES[0], "range: 128-255 is in no range"),
            ("".join(HALVES).replace("128-255", "127-255"), "shard 2, range: 127 is in an earlier range too"),
            ("".join(HALVES).replace("128-255", "255-128"), "shard 2, range: write two numbers"),
            ("".join(HALVES).replace("128-255", "128-256"), "shard 2, range: write two numbers"),
            ("".join(HALVES).replace('"128-255"', "128"), "shard 2, range: write two numbers"),
            ("".join(HALVES) + "urll = 3", "shard 2: an unknown key, of length 4"),
            ("".join(HALVES).replace("sqlite:///b.db", "b.db"), "shard 2, url: the URL of a store"),
            ("".join(HALVES).replace("b.db", "no/b.db"), "range 128-255, url: no folder"),
            ("".join(HALVES).replace("sqlite:///b.db", "oracle://b"), "range 128-255, url:"),
        ],
    )
    def test_a_bad_one_is_refused_by_the_name_of_the_field(self, mapped: Path, text: str, told: str) -> None:
        mapped.write_text(text)
        with pytest.raises(StoreError, match=told):
            open_conversations(str(mapped))

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="cannot be read"):
            open_conversations(str(tmp_path / "shards.toml"))

    def test_a_store_may_have_several_ranges(self, mapped: Path) -> None:
        third = (
            '[[shard]]\nrange = "200"\nurl = "sqlite:///a.db"\n[[shard]]\nrange = "201-255"\nurl = "sqlite:///b.db"\n'
        )
        mapped.write_text("".join(HALVES).replace("128-255", "128-199") + third)
        with open_conversations(str(mapped)) as chats:
            assert len(chats.parts) == 2

    def test_opens_the_same_stores_from_anywhere(self, mapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with open_conversations(str(mapped)) as chats:
            tell(chats)
        monkeypatch.chdir("/")
        with open_conversations(str(mapped), create=False) as chats:
            assert len(chats.list().rows) == 12
            assert isinstance(chats, ShardedConversations)
            assert chats.start(model="m", by=USER).state.conversation
        assert {path.name for path in mapped.parent.glob("*.db")} == {"a.db", "b.db"}

    def test_is_opened_with_asyncio_too(self, mapped: Path) -> None:
        async def told() -> int:
            async with await open_async_conversations(str(mapped)) as chats:
                await (await chats.start(model="m")).user_turn("hello")
                return len((await chats.list()).rows)

        assert asyncio.run(told()) == 1


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def test_the_commands_take_it_for_a_store(mapped: Path) -> None:
    with open_conversations(str(mapped)) as chats:
        tell(chats)
        chats.start(model="m", conversation="warned").user_turn("hello")
    named = str(mapped)
    assert run("audit", named) == (0, "50 events on 17 branches: no finding\n")
    assert json.loads(run("views", "--store", named, "--json")[1])["branched"]
    assert run("show", "child-003", "--store", named)[0] == 0
    assert json.loads(run("list", "--store", named, "--json")[1])
    assert run("export", named, "--output", str(mapped.parent / "log"))[0] == 0
    assert run("audit", str(mapped.parent / "log"))[0] == 0
    assert run("report", named)[0] == 0
    code, told = run("export", named, "--output", str(mapped.parent / "a.db"))
    assert (code, "is part of the store" in told) == (2, True)
    assert run("audit", named, "--read-only")[0] == 2
