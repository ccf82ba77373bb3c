"""States that are kept beside the log: a branch is the same with and without them, and never another for their sake."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from lastresort import BranchEnded, Conversations, RecordedEvent, Refused
from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.stores.memory import MemoryStore
from lastresort.adapters.testing.strategies import lawful_histories, trees, unlawful_histories
from lastresort.adapters.upkeep.audited import wrong_versions
from lastresort.adapters.vault import snapshots as shelf
from lastresort.adapters.vault.keys import MemoryKeys
from lastresort.adapters.vault.snapshots import SealedSnapshots, dumped, loaded
from lastresort.application.ports import Append, EventStore, NewEvent
from lastresort.domain import evolve, fold
from lastresort.domain.canonical import recorded_digest
from lastresort.domain.state import FOLD, Conversation
from lastresort.domain.values import ErasureCause, Rating, Risk, Verdict

from .drawing import drawn
from .stores import (
    DURABLE_STORES,
    OPERATOR,
    STORES,
    USER,
    abused,
    chats,
    cold,
    done,
    ended,
    lie_about,
    long,
    new_url,
    open_at,
    opened,
    redirected,
    snapshots_of,
    started,
    store_of,
    thanked,
    versions,
    warned,
)
from .worlds import HANDSHAKE, OTHER

__all__ = ["chats"]

RUNS = settings(**drawn(60), deadline=None)


class Counting:
    """A store that counts the events that are read from it."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.events = 0

    def read(self, *args: Any, **options: Any) -> Any:
        found = self.store.read(*args, **options)
        self.events += len(found)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def read_for(conversations: Conversations, branch: str) -> int:
    """How many events are read for the state of a branch that is not in memory."""
    counting = Counting(conversations.store)
    conversations.service.ports.store = counting
    cold(conversations).state(branch)
    conversations.service.ports.store = counting.store
    return counting.events


def whole(conversations: Conversations, branch: str) -> Conversation:
    return fold(conversations.path(branch))


def assert_same(conversations: Conversations, *branches: str) -> None:
    for branch in branches:
        assert cold(conversations).state(branch) == whole(conversations, branch)


def wrongly_kept(conversations: Conversations, branch: str) -> list[int]:
    """The versions of the snapshots of a branch that an audit names."""
    in_store = store_of(conversations).snapshot_versions(branch)
    return wrong_versions(snapshots_of(conversations), branch, in_store, conversations.path(branch))


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    return new_url(request.param, request)


@pytest.fixture
def kept(url: str) -> Iterator[Conversations]:
    """Conversations that keep a state every ten versions."""
    with opened(url, snapshot_every=10) as conversations:
        yield conversations


# --- The states ------------------------------------------------------------------------------------------------------


@RUNS
@given(
    history=lawful_histories()
    | lawful_histories(HANDSHAKE)
    | lawful_histories(OTHER)
    | unlawful_histories().map(lambda far: far.history)
)
def test_every_state_is_read_as_it_was_written(history: tuple[RecordedEvent, ...]) -> None:
    """Whatever events led to it, and of the very same types, since rules compare and count."""
    state = Conversation()
    for recorded in history:
        state = evolve(state, recorded.event)
        digest = recorded_digest(recorded)
        again, last = loaded(dumped(state, digest))
        assert (again, last) == (state, digest)
        assert repr(again) == repr(state) or again.unit is not None  # sets have no order
        assert _types(again) == _types(state)


@RUNS
@given(log=trees())
def test_every_state_of_a_tree_is_read_as_it_was_written(log: tuple[RecordedEvent, ...]) -> None:
    for recorded in log:
        state = fold(one for one in log if one.branch == recorded.branch)
        assert loaded(dumped(state, recorded_digest(recorded))).state == state


def _types(value: Any) -> Any:
    if isinstance(value, tuple):
        return type(value), [_types(one) for one in value]
    if isinstance(value, frozenset):
        return type(value), sorted(str(type(one)) for one in value)
    return type(value)


def test_a_snapshot_is_small() -> None:
    """What most states have in common is not written again: in the middle of an episode 200 bytes do."""
    conversations = open_at("memory:")
    chat = started(conversations)
    assert len(dumped(chat.state, recorded_digest(chat.path[-1]))) <= 80
    for _ in range(3):
        abused(chat)
        redirected(chat)
    abused(chat)
    warned(chat)
    assert len(dumped(chat.state, recorded_digest(chat.path[-1]))) <= 200


# --- Reading ---------------------------------------------------------------------------------------------------------


def test_a_long_branch_is_read_from_its_latest_snapshot(kept: Conversations) -> None:
    long(kept)
    assert versions(kept) == [10, 20, 30, 40, 50, 60]
    assert read_for(kept, "c") == 2  # the event that the snapshot is of, and the one since
    assert_same(kept, "c")


def test_several_events_at_once_are_kept_with_the_last_of_them(kept: Conversations) -> None:
    """A state between two events of one append is nobody's to read."""
    chat = long(kept, 4)
    done(chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.IMMINENT))
    assert kept.state("c").version == 11
    assert versions(kept) == [11]
    assert_same(kept, "c")


@pytest.mark.parametrize(("every", "most"), [(1, 13), (3, 13), (4, 13), (2, 520)])
def test_one_is_taken_where_one_is_due_and_nowhere_else(every: int, most: int) -> None:
    """Whether an act comes the short way or the long one, and however many there are."""
    with opened("memory:", snapshot_every=every) as conversations:
        chat = started(conversations)
        while chat.state.version < most:
            done(chat.user_turn("Hello."))
            done(chat.leave())
            done(chat.assistant_turn("Hello."))
        assert versions(conversations) == list(range(every, chat.state.version + 1, every))


def test_a_fork_is_read_from_a_snapshot_of_its_parent(kept: Conversations) -> None:
    """And a fork of a fork; in the middle, at either side of a snapshot, and at the first turn."""
    chat = long(kept)
    for turn in (2, 20, 22, 30, 31, 32, 60):
        opened_ = chat.edit(turn, "Instead.") if turn % 2 == 0 else chat.retry(turn)
        assert not isinstance(opened_, Refused)
        done(opened_.leave())
        twice = cold(kept).chat(opened_.branch).edit(turn + 1, "Again.") if turn % 2 == 0 else opened_
        assert not isinstance(twice, Refused)
        assert_same(kept, "c", opened_.branch, twice.branch)
        assert read_for(kept, twice.branch) <= 15 + 2 * 4


def test_opening_a_branch_reads_no_more_of_a_long_conversation_than_of_a_short_one(kept: Conversations) -> None:
    """In a process that has nothing of it in memory, the first turn on the branch included."""
    figures = []
    for name, turns, middle in (("short", 20, 20), ("long", 200, 200)):
        long(kept, turns, name)
        counting = Counting(kept.store)
        kept.service.ports.store = counting
        opened_ = cold(kept).chat(name).edit(middle, "Instead.")
        assert not isinstance(opened_, Refused)
        figures.append(counting.events)
        kept.service.ports.store = counting.store
        assert_same(kept, opened_.branch)
    assert figures[1] <= figures[0] + 10


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_a_branch_is_the_same_with_snapshots_anywhere(url: str, every: int) -> None:
    """Through everything that happens up to an ending and after it."""
    with opened(url, snapshot_every=every) as conversations:
        chat = ended(started(conversations))
        done(chat.feedback(Rating.DOWN))
        other = chat.edit(6, "Instead.")
        assert not isinstance(other, Refused)
        thanked(other)
        done(other.raise_risk())
        assert_same(conversations, "c", other.branch)
        assert [one for branch in ("c", other.branch) for one in wrongly_kept(conversations, branch)] == []
        assert cold(conversations).state("c").ended is not None


def test_none_is_taken_if_none_is_wanted(url: str) -> None:
    with opened(url, snapshot_every=0) as conversations:
        long(conversations)
        assert versions(conversations) == []
        assert read_for(conversations, "c") == 61


def test_without_any_snapshot_the_answers_are_the_same(kept: Conversations) -> None:
    """They can all be thrown away at any time."""
    chat = long(kept)
    opened_ = chat.edit(30, "Instead.", child="d")
    assert not isinstance(opened_, Refused)
    before = {branch: cold(kept).state(branch) for branch in ("c", "d")}
    for branch in before:
        store_of(kept).replace_snapshots(branch, {})
    assert {branch: cold(kept).state(branch) for branch in before} == before
    assert read_for(kept, "c") == 62
    done(kept.chat("c").user_turn("Hello."))
    for _ in range(10):
        done(kept.chat("c").leave())
    assert versions(kept) == [70]


# --- Snapshots that are not to be trusted ----------------------------------------------------------------------------


def test_a_snapshot_by_another_fold_is_replaced(kept: Conversations, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fold that changed may make something else of the same log."""
    long(kept)
    before = kept.state("c")
    monkeypatch.setattr(shelf, "FOLD", FOLD + 1)
    assert read_for(kept, "c") == 61
    assert cold(kept).state("c") == before
    snapshots = snapshots_of(kept)
    assert snapshots.renew("c", kept.path("c")) == 6
    assert read_for(kept, "c") == 2
    monkeypatch.undo()
    assert read_for(kept, "c") == 61, "of the fold before there are none left"


def kept_bytes(conversations: Conversations, version: int, branch: str = "c") -> bytes:
    found = store_of(conversations).snapshot(branch, version, b"")
    assert found is not None
    assert found[0] == version
    return bytes(found[1])


@pytest.mark.parametrize("damage", ["cut", "edited", "emptied", "of an earlier version", "of another branch"])
def test_a_damaged_or_moved_snapshot_is_ignored(kept: Conversations, damage: str) -> None:
    """The one before it is read, or the branch from its beginning."""
    long(kept)
    done(long(kept, name="d").leave())
    good = {version: kept_bytes(kept, version) for version in versions(kept)}
    last = good[60]
    bad = {
        "cut": last[:-1],
        "edited": last[:-3] + bytes([last[-3] ^ 1]) + last[-2:],
        "emptied": last[:8],
        "of an earlier version": good[50],
        "of another branch": kept_bytes(kept, 60, "d"),
    }[damage]
    store_of(kept).replace_snapshots("c", {**good, 60: bad})
    assert read_for(kept, "c") == 12
    assert_same(kept, "c")
    store_of(kept).replace_snapshots(
        "c", {version: bad for version in good if version != 50 or "earlier" not in damage}
    )
    assert_same(kept, "c")


def test_a_snapshot_made_without_the_key_is_ignored(kept: Conversations) -> None:
    """Who can write to the log's file alone cannot make one up: a branch that has ended, say, that goes on."""
    chat = ended(started(kept))
    lie = kept.state("c")._replace(ended=None)
    forged = SealedSnapshots(MemoryStore(), MemoryKeys())
    store_of(kept).replace_snapshots("c", {lie.version: forged.take(lie, chat.path[-1]) or b""})
    assert cold(kept).state("c").ended is not None


def test_a_snapshot_of_another_history_is_ignored(kept: Conversations) -> None:
    """One that was made in this store, of this branch and version, after an event that the log has not there."""
    long(kept)
    honest = cold(kept).state("c")
    snapshots = snapshots_of(kept)
    path = kept.path("c", upto=60)
    state = fold(path)._replace(model="another")
    elsewhere: dict[str, Any] = {
        "command_id": "elsewhere",
        "correlation_id": "elsewhere",
        "recorded_at": "2026-01-01T00:00:00.000000+00:00",
        "event": path[-1].event.model_copy(update={"by": OPERATOR}),
    }
    for field, value in elsewhere.items():
        last = path[-1]._replace(**{field: value})
        store_of(kept).replace_snapshots("c", {60: snapshots.take(state, last) or b""})
        assert cold(kept).state("c") == honest, field
    beyond = honest._replace(version=70)
    last = path[-1]._replace(version=70)
    store_of(kept).replace_snapshots("c", {70: snapshots.take(beyond, last) or b""})
    assert cold(kept).state("c") == honest


def test_no_snapshot_closes_a_branch_or_opens_it_again(kept: Conversations) -> None:
    """Not even one that this store sealed, after the very event that the log has there."""
    snapshots = snapshots_of(kept)
    chat = ended(started(kept))
    last = chat.path[-1]
    truth = fold(chat.path)
    open_again = snapshots.take(truth._replace(ended=None), last)
    store_of(kept).replace_snapshots("c", {truth.version: open_again or b""})
    assert cold(kept).state("c") == truth
    assert isinstance(cold(kept).chat("c").user_turn("Hello?"), BranchEnded)
    goes_on = done(started(kept, "d").user_turn("Hello."))
    closed = kept.state("d")._replace(ended=truth.ended)
    store_of(kept).replace_snapshots("d", {2: snapshots.take(closed, goes_on.events[-1]) or b""})
    assert cold(kept).state("d").ended is None
    done(cold(kept).chat("d").user_turn("I am still here."))


def test_no_ending_rests_on_a_snapshot(kept: Conversations) -> None:
    """A snapshot that says that three redirections failed and a warning was tested ends nothing."""
    other = ended(started(kept, "other"))
    before_ending = fold(other.path[:-1])
    chat = started(kept)
    while kept.state("c").version < before_ending.version - 2:
        done(chat.leave())
    abused(chat)
    done(chat.leave()) if kept.state("c").version < before_ending.version else None
    version = kept.state("c").version
    unit = kept.state("c").unit
    assert unit is not None
    lie_about(kept, version, episode=before_ending.episode, wishes=before_ending.wishes._replace(hope=version))
    trapped = kept.chat("c")
    assert trapped.why(category="abuse") == (), "or else this test shows nothing"
    answer = trapped.end(category="abuse")
    assert isinstance(answer, Refused)
    assert {"redirected-first", "warned-first", "hope-exhausted"} <= set(answer.rules)
    assert [one.kind for one in chat.path[-1:]] == ["AttemptRefused"]


def test_an_audit_names_a_snapshot_that_lies(kept: Conversations) -> None:
    """And only that one."""
    long(kept)
    assert wrongly_kept(kept, "c") == []
    lie_about(kept, 60, model="another")
    assert cold(kept).state("c").model == "another", "or else this test shows nothing"
    assert wrongly_kept(kept, "c") == [60]
    snapshots_of(kept).renew("c", kept.path("c"))
    assert wrongly_kept(kept, "c") == []
    assert_same(kept, "c")


# --- Keeping them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_another_process_reads_them(kind: str, request: pytest.FixtureRequest) -> None:
    url = new_url(kind, request)
    with opened(url, snapshot_every=10) as conversations:
        long(conversations)
    with opened(url) as conversations:
        assert read_for(conversations, "c") == 2


def test_a_snapshot_is_written_with_its_events_or_not_at_all(kept: Conversations) -> None:
    """An append that conflicts leaves none, and none of an append that it was to go with."""
    long(kept, 4)
    event = kept.path("c")[-1].event
    store: EventStore = kept.store
    bad = Append(
        "c",
        "x",
        "x",
        "2026-01-31T12:00:00+00:00",
        (NewEvent("c", 10, event, None, b"snapshot"), NewEvent("c", 12, event)),
    )
    with pytest.raises(Exception, match="version 12"):
        store.append(bad)
    assert versions(kept) == []


def test_without_the_key_a_turn_is_recorded_all_the_same(tmp_path: Any) -> None:
    """Nothing that is said is refused for want of a snapshot."""

    class Failing(MemoryKeys):
        def of(self, conversation: str) -> bytes | None:
            raise StoreError("the keys cannot be read")

    conversations = open_at("memory:", snapshot_every=10)
    snapshots_of(conversations)._keys = Failing()
    long(conversations)
    assert versions(conversations) == []
    assert_same(conversations, "c")


def test_no_words_are_in_a_snapshot(tmp_path: Any) -> None:
    """They are made of the state, which has none; a canary is looked for in every byte all the same."""
    canary = "canary-7f3a"
    with opened(f"sqlite:///{tmp_path}/log.db", snapshot_every=1) as conversations:
        chat = started(conversations)
        for _ in range(5):
            done(chat.user_turn(canary))
            done(chat.assistant_turn(canary))
        texts = []
        for version in versions(conversations):
            data = kept_bytes(conversations, version)[24:]
            texts.append(shelf.loaded(data))
    assert len(texts) >= 10
    assert canary not in repr(texts)


def test_a_conversation_whose_key_is_gone_keeps_its_snapshots(kept: Conversations) -> None:
    """They hold no words, so that erasing a conversation need not touch them; its log is untouched, too."""
    long(kept)
    kept.erase_conversation("c", by=USER, cause=ErasureCause.USER_REQUEST, command_id="erase")
    assert read_for(kept, "c") == 3
    assert_same(kept, "c")


def test_sqlite_keeps_them_in_a_table_of_their_own(tmp_path: Any) -> None:
    """100 events take 110 bytes more with them than without, at most."""
    with opened(f"sqlite:///{tmp_path}/log.db") as conversations:
        long(conversations, 100)
    with sqlite3.connect(tmp_path / "log.db") as file:
        ((count, size),) = file.execute("SELECT count(*), sum(length(data)) FROM snapshots").fetchall()
    file.close()
    assert count == 2
    assert size < 220
