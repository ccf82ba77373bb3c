"""Followers: what they write is what the log says, once, however they are killed, raced, or sent back."""

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lastresort import AppealOutcome, Conversations, HoldReason, Refused, open_conversations
from lastresort.adapters.followers import follower
from lastresort.adapters.followers.beside_log import came_to
from lastresort.adapters.followers.directory import NAME, ConversationDirectory
from lastresort.application.directory import ConversationRow, DirectoryQuery
from lastresort.projections import views

from .faults.zygote import Zygote
from .killed import follow, killed_after, zygote
from .stores import DURABLE_STORES, OPERATOR, STORES, done, ended, ended_on_request, long, new_url, opened, started

__all__ = ["zygote"]


def directory_of(conversations: Conversations) -> ConversationDirectory:
    found: Any = conversations.service.ports.directory
    assert isinstance(found, ConversationDirectory)
    return found


def story(conversations: Conversations) -> None:
    """Trees of several kinds: ended both ways, forked twice, one that goes on after its fork."""
    ended(started(conversations, "last-resort"))
    ended_on_request(started(conversations, "wish"))
    root = long(conversations, 3, "forked")
    child = done(root.edit(2, "Something else.", child="child"))
    done(child.assistant_turn("Gladly."))
    done(child.edit(3, "And again.", child="grandchild"))
    done(root.user_turn("Back to the root."))
    done(root.change_model("claude-opus-4-8", by=OPERATOR))


def check_rows(conversations: Conversations) -> None:
    """The rows of the follower are those of a fold over the whole log."""
    expected = views(conversations.store.log()).all
    assert list(conversations.branch_rows()) == [row.model_dump_json() for row in expected]
    by_tree: dict[str, list[Any]] = {}
    for row in expected:
        by_tree.setdefault(row.conversation, []).append(row)
    page = conversations.list(limit=1_000)
    rows = {row.conversation: row for row in page.rows}
    while page.after is not None:
        page = conversations.list(limit=1_000, after=page.after)
        rows |= {row.conversation: row for row in page.rows}
    assert set(rows) == set(by_tree)
    for tree, branches in by_tree.items():
        over = sum(branch.status == "ended" for branch in branches)
        assert (rows[tree].branches, rows[tree].ended_branches) == (len(branches), over)
        assert rows[tree].status == ("ended" if over == len(branches) else "active")
        assert (rows[tree].account, rows[tree].model) == (branches[0].account, branches[0].model)
    assert directory_of(conversations).counts() == counted_one_by_one(conversations, rows.values())


def counted_one_by_one(conversations: Conversations, rows: Iterable[ConversationRow]) -> dict[str, dict[str, int]]:
    """How many conversations have each value, counted in the rows of the directory."""
    facts = directory_of(conversations).tables.rows("SELECT fact, value FROM {schema}directory_facts")
    pairs = [(row["fact"], row["value"]) for row in facts]
    pairs += [(name, getattr(row, name)) for row in rows for name in ("arm", "model", "status")]
    counted: dict[str, dict[str, int]] = {}
    for (name, value), n in Counter(pair for pair in pairs if pair[1] is not None).items():
        counted.setdefault(name, {})[value] = n
    return counted


@pytest.mark.parametrize("kind", STORES)
def test_the_rows_are_those_of_a_fold_over_the_whole_log(kind: str, request: pytest.FixtureRequest) -> None:
    with opened(new_url(kind, request)) as conversations:
        story(conversations)
        check_rows(conversations)
        done(conversations.chat("child").user_turn("More."))
        check_rows(conversations)


@pytest.mark.parametrize("kind", STORES)
def test_a_log_of_several_batches(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "BATCH", 20)
    with opened(new_url(kind, request)) as conversations:
        long(conversations, 30, "long")
        story(conversations)
        check_rows(conversations)


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_it_goes_on_where_another_process_left_off(kind: str, request: pytest.FixtureRequest) -> None:
    url = new_url(kind, request)
    with opened(url) as conversations:
        story(conversations)
        position = directory_of(conversations).catch_up()
    with open_conversations_again(url) as conversations:
        done(conversations.chat("wish").feedback())
        with directory_of(conversations).transaction() as transaction:
            mark = transaction.mark()
        assert mark is not None
        assert mark.position == position
        check_rows(conversations)


@contextmanager
def open_conversations_again(url: str) -> Iterator[Conversations]:
    conversations = open_conversations(url, create=False)
    try:
        yield conversations
    finally:
        conversations.close()


@pytest.mark.parametrize("kind", STORES)
def test_of_another_log_it_begins_again(kind: str, request: pytest.FixtureRequest) -> None:
    """As after a restore: the event that it came to is not in the log."""
    with opened(new_url(kind, request)) as conversations:
        story(conversations)
        directory = directory_of(conversations)
        directory.catch_up()
        with directory.transaction() as transaction:
            mark = transaction.mark()
            assert mark is not None
            transaction.clear()
            transaction.advance(mark._replace(command_id="of-another-log"))
        assert conversations.list().rows != ()
        check_rows(conversations)


def test_a_mark_names_its_log_as_the_keys_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as conversations:
        assert follower.identity_of(conversations.store) == ""
        started(conversations).user_turn("words")  # which name the keys of this log, so that these may note it
        directory = directory_of(conversations)
        directory.catch_up()
        mark = directory.mark()
    assert mark is not None
    with opened(url) as conversations:
        keys: Any = conversations.service.ports.vault
        assert f"log {mark.log}" in keys._keys._keys.notes()


class Told:
    """A view of somebody else's, which nobody can make again."""

    name, made_again = "told", False

    def __init__(self) -> None:
        self.at: Any = None
        self.events: list[Any] = []
        self.ready = lambda mark, entries: entries
        self.clear = self.events.clear

    def mark(self) -> Any:
        return self.at

    @contextmanager
    def transaction(self) -> Iterator["Told"]:
        yield self

    def apply(self, ready: Any) -> None:
        self.events += ready

    def advance(self, mark: Any) -> None:
        self.at = mark


def test_a_follower_of_another_log_stops_and_names_it() -> None:
    """Of a log that began otherwise, that is shorter, or that went another way after a backup was restored."""
    view = Told()
    with opened("memory:") as one, opened("memory:") as other:
        started(one, "c")
        started(other, "d")
        assert follower.Follower(follower.Events(one.store, told_outside=True), view).catch_up() == one.store.head()
        told = len(view.events)
        mine, its = (follower.identity_of(log.store) for log in (one, other))
        with pytest.raises(follower.OtherLog, match=f"told: it follows log {mine}, .* and this is log {its}"):
            follower.Follower(follower.Events(other.store), view).catch_up()
        view.at = view.at._replace(command_id="of-another-history")
        with pytest.raises(follower.OtherLog, match="the event that was there is not there any more"):
            follower.Follower(follower.Events(one.store), view).catch_up()
        view.at = view.at._replace(position=99)
        with pytest.raises(follower.OtherLog, match=r"cut, renumbered or restored from a backup"):
            follower.Follower(follower.Events(one.store), view).run(lambda: False)
        assert len(view.events) == told


def test_two_followers_that_read_the_same_write_it_once() -> None:
    with opened("memory:") as conversations:
        started(conversations)
        view = Told()
        events = follower.Events(conversations.store)

        def overtaken(mark: Any, entries: Any) -> Any:
            view.ready = lambda mark, entries: entries
            follower.Follower(events, view).catch_up()
            return entries

        view.ready = overtaken
        follower.Follower(events, view).catch_up()
        assert [one.position for one in view.events] == [*range(1, conversations.store.head() + 1)]


def test_marks_of_before_they_named_their_log_are_gone_on_from(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as conversations:
        story(conversations)
        directory_of(conversations).catch_up()
    with closing(sqlite3.connect(tmp_path / "log.db")) as file:
        file.execute("ALTER TABLE followers DROP COLUMN log")
        file.commit()
    with opened(url) as conversations:
        assert came_to(conversations.store, NAME) == directory_of(conversations).mark()
        done(conversations.chat("wish").feedback())
        check_rows(conversations)
        mark = directory_of(conversations).mark()
        assert mark is not None
        assert mark.log == follower.identity_of(conversations.store)


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_two_followers_of_one_view_write_each_event_once(kind: str, request: pytest.FixtureRequest) -> None:
    url = new_url(kind, request)
    with opened(url) as conversations, open_conversations_again(url) as other:
        failed: list[BaseException] = []

        def follow(one: Conversations, stopped: threading.Event) -> None:
            try:
                directory_of(one).run(stopped.is_set, patience=0.05)
            except BaseException as error:
                failed.append(error)

        stopped = threading.Event()
        threads = [threading.Thread(target=follow, args=(one, stopped)) for one in (conversations, other)]
        for thread in threads:
            thread.start()
        story(conversations)
        for number in range(20):
            long(conversations, 3, f"more-{number}")
        stopped.set()
        for thread in threads:
            thread.join(30)
        assert failed == []
        check_rows(other)


@pytest.mark.parametrize("kind", STORES)
def test_many_threads_list_while_others_write(kind: str, request: pytest.FixtureRequest) -> None:
    """A thread that waits for the directory holds no connection, or the one that writes it would find none to read."""
    threads, turns = 40, 3
    with opened(new_url(kind, request)) as conversations, ThreadPoolExecutor(threads) as pool:

        def one(number: int) -> list[str]:
            chat = conversations.start(model="claude-opus-4-1", account=f"a-{number}", conversation=f"c-{number}")
            for _ in range(turns):
                done(chat.user_turn("Hello."))
                done(chat.assistant_turn("Hello!"))
                found = [row.conversation for row in conversations.list(account=f"a-{number}").rows]
            return found

        assert list(pool.map(one, range(threads))) == [[f"c-{number}"] for number in range(threads)]
        check_rows(conversations)


KILLS = int(os.environ.get("LASTRESORT_FOLLOWER_KILLS", "12"))


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_killed_at_any_moment_it_writes_nothing_twice_and_loses_nothing(
    kind: str, request: pytest.FixtureRequest, zygote: Zygote
) -> None:
    """Each of them while others write. What is left is what a rebuild makes of the log."""
    url, random, came = new_url(kind, request), Random(kind), 0
    with opened(url) as conversations:
        started(conversations, "first")
        for number in range(KILLS):
            follower = zygote.spawn(follow, url, os.environ.get("LASTRESORT_MASTER_KEY"))
            assert follower.hear() == "following"
            with killed_after(follower, random.uniform(0, 0.06)):
                long(conversations, number % 6, f"n{number}")
            mark = came_to(conversations.store, NAME)
            came += mark is not None and mark.position < conversations.store.head()
        check_rows(conversations)
        left, counts = list(conversations.branch_rows()), directory_of(conversations).counts()
        with directory_of(conversations).transaction() as writing:
            writing.clear()
        assert (list(conversations.branch_rows()), directory_of(conversations).counts()) == (left, counts)
    print(f"{kind}: {KILLS} kills, {came} of them before it had caught up")


def test_an_idle_follower_uses_no_processor(tmp_path: Path) -> None:
    """It waits; it does not look again and again."""
    with opened(f"sqlite:///{tmp_path}/log.db") as conversations:
        started(conversations)
        begun, used = time.monotonic(), time.process_time()
        directory_of(conversations).run(lambda: time.monotonic() > begun + 1.0, patience=0.5)
        assert time.process_time() - used < 0.3


def test_the_name_says_the_version_of_the_code() -> None:
    """Rows that another version wrote are made again under another name."""
    assert NAME == "directory.5"


Listing = Callable[[Conversations], list[str]]


@pytest.mark.parametrize("kind", STORES)
def test_conversations_are_found_by_what_they_are_listed_by(kind: str, request: pytest.FixtureRequest) -> None:
    with opened(new_url(kind, request)) as conversations:
        for number in range(6):
            chat = conversations.start(
                conversation=f"c{number}", model=f"model-{number % 3}", account=f"user-{number % 2}",
                arm="shadow" if number > 3 else None,
            )  # fmt: skip
            if number == 2:
                ended_on_request(chat)
        done(conversations.chat("c0").user_turn("The latest word."))

        def found(**asked: Any) -> list[str]:
            return [row.conversation for row in conversations.list(**asked).rows]

        assert found() == ["c5", "c4", "c3", "c2", "c1", "c0"]
        assert found(order="oldest") == ["c0", "c1", "c2", "c3", "c4", "c5"]
        assert found(by="last_turn")[0] == "c0"
        assert found(account="user-1") == ["c5", "c3", "c1"]
        assert found(model="model-1", order="oldest") == ["c1", "c4"]
        assert found(arm="shadow") == ["c5", "c4"]
        assert found(status="ended") == ["c2"]
        assert found(status="active", account="user-0") == ["c4", "c0"]
        assert found(account="nobody") == []
        started_at = {row.conversation: row.started for row in conversations.list().rows}
        assert found(since=started_at["c3"]) == ["c5", "c4", "c3"]
        assert found(until=started_at["c3"], order="oldest") == ["c0", "c1", "c2"]


@pytest.mark.parametrize("kind", STORES)
def test_conversations_are_found_by_what_happened_in_them(kind: str, request: pytest.FixtureRequest) -> None:
    """Facts come and, where they say that something is open, go; a rebuilt directory has the same."""
    with opened(new_url(kind, request)) as conversations:
        story(conversations)
        directory = directory_of(conversations)

        def found(among: tuple[str, ...] | None = None, **facts: str) -> list[str]:
            query = DirectoryQuery(facts=facts, among=among, order="oldest")
            return [row.conversation for row in directory.select(query)]

        assert found(ground="last_resort") == ["last-resort"]
        assert found(ground="user_request") == ["wish"]
        assert found(ground="last_resort", category="abuse") == ["last-resort"]
        assert found(policy="default") == ["last-resort", "wish", "forked"]
        assert found(policy="default", mode="enforced", law="2", among=("wish", "forked")) == ["wish", "forked"]
        assert found(policy="default", among=()) == []
        chat = conversations.chat("forked")
        done(chat.raise_risk(risk="r1"))
        done(chat.raise_risk(risk="r2"))
        done(chat.hold("case", reason=HoldReason.OTHER, by=OPERATOR))
        assert (found(risk="open"), found(hold="open")) == (["forked"], ["forked"])
        done(chat.clear_risk("r1", by=OPERATOR))
        assert found(risk="open") == ["forked"]
        done(chat.clear_risk("r2", by=OPERATOR))
        done(chat.release_hold("case", by=OPERATOR))
        assert (found(risk="open"), found(risk="raised"), found(hold="open")) == ([], ["forked"], [])
        assert isinstance(chat.end(category="abuse"), Refused)
        assert found(refused="warned-first") == ["forked"]
        over = conversations.chat("last-resort")
        done(over.appeal())
        assert found(appeal="open") == ["last-resort"]
        done(over.decide_appeal(AppealOutcome.REJECTED, by=OPERATOR))
        assert (found(appeal="open"), found(appeal="rejected")) == ([], ["last-resort"])
        counts = directory.counts()
        assert counts["status"] == {"ended": 2, "active": 1}
        assert counts["risk"] == {"raised": 1}
        with directory.transaction() as writing:
            writing.clear()
        assert directory.counts() == counts


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("by", ["started", "last_turn"])
def test_pages_follow_each_other(kind: str, order: Any, by: Any, request: pytest.FixtureRequest) -> None:
    with opened(new_url(kind, request)) as conversations:
        for number in range(7):
            started(conversations, f"c{number}")
        whole = conversations.list(order=order, by=by).rows
        rows: list[Any] = []
        after: str | None = None
        while True:
            page = conversations.list(order=order, by=by, limit=3, after=after)
            rows += page.rows
            if page.after is None:
                break
            after = page.after
        assert tuple(rows) == whole
        assert len(rows) == 7


def test_what_cannot_be_listed_is_an_error_that_names_it() -> None:
    with opened("memory:") as conversations:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"order": "sideways"}, "order"),
            ({"by": "name"}, "by"),
            ({"status": "gone"}, "status"),
            ({"limit": 0}, "limit"),
            ({"limit": 1_001}, "limit"),
            ({"after": "nonsense"}, "after"),
            ({"after": "2026-01-01/c"}, "after"),
            ({"after": "2026-01-31T12:00:00Z/c"}, "after"),  # a time, and not as the directory writes it
            ({"since": "yesterday"}, "since"),
            ({"until": "2026-01-01T00:00:00"}, "until"),
        ]
        for wrong, named in cases:
            with pytest.raises(ValueError, match=named):
                conversations.list(**wrong)
