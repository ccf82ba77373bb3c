"""Lists of branches, page by page: what they show is what the views rebuilt from the log show, on every store."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastresort import BranchRow, Conversations, Policy, RecordedEvent, open_conversations
from lastresort.adapters.importers.log_file import appends_of
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.testing.strategies import trees
from lastresort.application.ports import List
from lastresort.projections import views

from .drawing import drawn
from .stores import (
    DURABLE_STORES,
    OPERATOR,
    STORES,
    abused,
    done,
    ended,
    ended_on_request,
    new_url,
    opened,
    started,
    store_of,
    thanked,
)

LISTS: tuple[List, ...] = ("active", "ended", "branched")
RUNS = settings(
    **drawn(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(params=STORES)
def chats(request: pytest.FixtureRequest) -> Iterator[Conversations]:
    with opened(new_url(request.param, request)) as conversations:
        yield conversations


def pages(chats: Conversations, which: List, limit: int) -> list[list[BranchRow]]:
    """A whole list, page by page."""
    found: list[list[BranchRow]] = []
    after: int | None = 0
    while after is not None:
        page = chats.page(which, after=after, limit=limit)
        found.append(list(page.rows))
        after = page.after
    return found


def rows(chats: Conversations, which: List, limit: int = 3) -> list[BranchRow]:
    return [row for page in pages(chats, which, limit) for row in page]


def names(chats: Conversations, which: List) -> list[str]:
    return [row.branch for row in rows(chats, which)]


def assert_as_rebuilt(chats: Conversations, log: tuple[RecordedEvent, ...], limit: int = 3) -> None:
    """Every list has the rows of the view of that name, in its order, and says the same of each."""
    rebuilt = views(log)
    for which in LISTS:
        shown = rows(chats, which, limit)
        wanted = getattr(rebuilt, which)
        assert [row.branch for row in shown] == [row.branch for row in wanted]
        for row, branch in zip(shown, wanted, strict=True):
            same = set(BranchRow.model_fields) - (set() if branch.ground else {"policy", "policy_name"})
            same.remove("ending_recorded_at")
            when = {one.version: one.recorded_at for one in log if one.branch == row.branch}
            assert row.ending_recorded_at == when.get(row.ended_at or 0)
            assert {name: getattr(row, name) for name in same} == {name: getattr(branch, name) for name in same}
    active, over = ({row.branch for row in rows(chats, which)} for which in ("active", "ended"))
    assert not active & over
    assert active | over == {recorded.branch for recorded in log}


def test_lists_are_the_views_of_the_log(chats: Conversations) -> None:
    """Branches that are active, ended, branched, and both; of one conversation and of several."""
    for name in ("a", "b", "c", "d"):
        started(chats, name, policy=Policy(name="mine"))
    ended(chats.chat("b"))
    done(chats.chat("c").user_turn("Hello."))
    chats.chat("c").edit(2, "Hello again.", child="c2")
    ended_on_request(chats.chat("c2"))
    chats.chat("c2").edit(3, "And again.", child="c3")
    assert names(chats, "active") == ["a", "c", "d", "c3"]
    assert names(chats, "ended") == ["b", "c2"]
    assert names(chats, "branched") == ["c", "c2", "c3"]
    assert_as_rebuilt(chats, tuple(chats.store.log()))


def test_an_ending_is_shown_with_its_ground_and_the_policy_it_ended_under(chats: Conversations) -> None:
    """Also where that is not the policy that the conversation began with."""
    ended(started(chats, "a"))
    chat = started(chats, "b")
    done(chat.change_policy(Policy(name="later"), by=OPERATOR))
    ended_on_request(chat)
    one, other = rows(chats, "ended")
    assert (one.ground, one.category, one.policy_name) == ("last_resort", "abuse", "default")
    assert one.evidence is not None
    assert one.evidence.redirections == (5, 9, 13)
    assert (other.ground, other.category, other.policy_name) == ("user_request", None, "later")
    assert other.policy == Policy(name="later").hash
    assert_as_rebuilt(chats, tuple(chats.store.log()))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_follow_one_another_without_gap_or_overlap(chats: Conversations, limit: int) -> None:
    for number in range(7):
        started(chats, f"c{number}")
    found = pages(chats, "active", limit)
    assert [row.branch for page in found for row in page] == [f"c{number}" for number in range(7)]
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


def test_a_page_of_nothing_is_the_last(chats: Conversations) -> None:
    for which in LISTS:
        assert chats.page(which) == ((), None)


@pytest.mark.parametrize(
    ("which", "after", "limit"), [("gone", 0, 1), ("ended", -1, 1), ("ended", 0, 0), ("ended", 0, 1001)]
)
def test_a_page_that_cannot_be_is_refused(chats: Conversations, which: str, after: int, limit: int) -> None:
    with pytest.raises(ValueError, match="no such page"):
        chats.page(which, after=after, limit=limit)  # type: ignore[arg-type]


def test_a_branch_that_ends_between_two_pages_is_shown_once(chats: Conversations) -> None:
    """And by one of the two lists at any time."""
    for name in "abcd":
        started(chats, name)
    first = chats.page("active", limit=2)
    ended_on_request(chats.chat("c"))
    ended_on_request(chats.chat("a"))
    assert [row.branch for row in first.rows] == ["a", "b"]
    assert [row.branch for row in chats.page("active", after=first.after or 0).rows] == ["d"]
    assert names(chats, "ended") == ["a", "c"]


def test_what_was_refused_is_in_no_list(chats: Conversations) -> None:
    """A conversation whose id is taken, a fork where no turn follows, an ending that the law forbids."""
    chat = started(chats, "a")
    with pytest.raises(ValueError, match="exists"):
        started(chats, "a")
    abused(chat)
    chat.end(category="abuse")
    chat.retry(3)
    assert (names(chats, "active"), names(chats, "ended"), names(chats, "branched")) == (["a"], [], [])


@pytest.mark.parametrize("kind", STORES)
def test_lists_of_any_log_are_its_views(kind: str, request: pytest.FixtureRequest) -> None:
    """A random log, written append by append, and again in one transaction as an import is."""

    @settings(RUNS, max_examples=5 if kind == "postgresql" else 25)  # a database for each takes its time
    @given(log=trees(max_steps=25), together=st.booleans(), limit=st.integers(1, 4))
    def run(log: tuple[RecordedEvent, ...], together: bool, limit: int) -> None:
        url = new_url(kind, request) if kind != "sqlite" else f"{new_url(kind, request)}-{next(numbers)}"
        with opened(url) as chats:
            for appends in [list(appends_of(log))] if together else [[one] for one in appends_of(log)]:
                chats.store.append(*appends)
            assert_as_rebuilt(chats, log, limit)

    numbers = iter(range(1_000))
    run()


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_lists_are_there_when_the_store_is_opened_again(kind: str, request: pytest.FixtureRequest) -> None:
    url = new_url(kind, request)
    with opened(url) as chats:
        ended(started(chats, "a"))
        thanked(started(chats, "b"))
    again = open_conversations(url)
    assert isinstance(again.store, SQLStore)
    assert (names(again, "active"), names(again, "ended")) == (["b"], ["a"])
    done(again.chat("b").leave())
    assert [row.version for row in rows(again, "active")] == [4]
    again.close()


def test_an_ordinary_turn_writes_nothing_to_the_lists(chats: Conversations) -> None:
    """So that it costs nothing to have them: a version is read from the log."""
    chat = started(chats, "a")
    before = store_of(chats).branch_rows("active", 0, 9)
    thanked(chat)
    done(chat.assistant_turn("You are welcome."))
    after = store_of(chats).branch_rows("active", 0, 9)
    assert [one._replace(version=0) for one in before] == [one._replace(version=0) for one in after]
    assert [one.version for one in after] == [4]
