"""States kept in memory are few, never older than what is known, and good for a fork anywhere."""

from collections.abc import Iterator
from typing import Any

import pytest

from lastresort import Conversations
from lastresort.application import hot_states as hot
from lastresort.application.hot_states import APART, HotStates
from lastresort.application.reading import FEW, pieces_of
from lastresort.domain.state import Conversation, fold

from .narrow import present
from .stores import MODEL, done, opened


def at(version: int) -> Conversation:
    return Conversation(version)


def test_a_later_state_is_not_replaced_by_an_earlier_one() -> None:
    """Two threads may come with theirs in another order than they were written."""
    states = HotStates(2)
    states.put("b", at(5))
    states.put("b", at(4))
    assert states.get("b") == at(5)


def test_the_branches_used_last_are_kept() -> None:
    """And no more of them than was said."""
    states = HotStates(2)
    for branch in "abc":
        states.put(branch, at(1))
    assert states.get("a") is None
    assert states.get("b") == at(1)
    states.put("d", at(1))
    assert [branch for branch in "abcd" if states.get(branch)] == ["b", "d"]


def test_earlier_states_are_kept_at_a_distance() -> None:
    """Of a branch's own versions, the latest that is no later than what is asked for."""
    states = HotStates(2)
    for version in range(1, 4 * APART):
        states.put("b", at(version))
    assert states.at("b", APART - 1) is None
    for asked in (APART, 2 * APART - 1, 2 * APART, 10 * APART):
        found = states.at("b", asked)
        assert found is not None
        assert found.version == min(asked // APART, 3) * APART
    assert states.at("other", 5) is None


@pytest.mark.parametrize(("most", "left"), [(6, "abc"), (5, "bc"), (4, "bc"), (3, "c"), (2, "c"), (1, "")])
def test_earlier_states_are_bounded(monkeypatch: pytest.MonkeyPatch, most: int, left: str) -> None:
    """In all, whatever the number and the length of branches; those used last stay."""
    monkeypatch.setattr(hot, "_EARLIER", most)
    states = HotStates(100)
    for branch in "abc":
        for version in range(1, 2 * APART + 2):
            states.put(branch, at(version))
    assert "".join(branch for branch in "abc" if states.at(branch, 10**6)) == left


@pytest.fixture
def chats() -> Iterator[Conversations]:
    with opened("memory:") as conversations:
        yield conversations


def test_a_fork_reads_as_much_of_a_long_branch_as_of_a_short_one(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its length, and wherever it opens."""
    chat = chats.start(model=MODEL.id)
    for _ in range(5 * APART):
        done(chat.user_turn("hello"))
        done(chat.assistant_turn("hello"))
    read, most = chats.store.read, []

    def counted(*args: object, **options: object) -> object:
        events = read(*args, **options)  # type: ignore[arg-type]
        most.append(len(events))
        return events

    monkeypatch.setattr(chats.store, "read", counted)
    for turn in (APART + 4, 4 * APART + 2, 9 * APART):
        most.clear()
        done(chat.edit(turn, "hello again"))
        assert sum(most) <= APART + 1


def test_a_fork_reads_as_much_of_a_deep_branch_as_of_a_root(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone who edits a turn edits it again: where a branch begins is kept, so that the path to it is not read."""
    chat = chats.start(model=MODEL.id)
    for _ in range(5):
        turn = done(chat.user_turn("hello")).version
        chat = done(chat.edit(turn, "hello again"))
        done(chat.assistant_turn("hello"))
    read, asked = chats.store.read, []

    def counted(tree: str, branch: str, **part: Any) -> object:
        asked.append(branch)
        return read(tree, branch, **part)

    monkeypatch.setattr(chats.store, "read", counted)
    deeper = done(chat.edit(present(chat.seen), "hello once more"))
    assert asked == [chat.branch, deeper.branch]  # the turn that is edited, and what the handle is on
    assert deeper.state == fold(deeper.path)
    assert [one.kind for one in deeper.path[-3:]] == ["BranchOpened", "BranchOpened", "UserTurnTaken"]


@pytest.mark.parametrize("events", [FEW - 1, FEW, FEW + 1, 2 * FEW])
def test_a_long_branch_is_folded_as_it_is_read(chats: Conversations, events: int) -> None:
    """A few events at a time, and all of them."""
    chat = chats.start(model=MODEL.id)
    for number in range(events - 1):
        done((chat.assistant_turn if number % 2 else chat.user_turn)("hello"))
    for read in (1, 7, FEW, None):
        (piece,) = pieces_of(chats.store, None, chat.branch, chat.branch, at_once=read)
        assert [entry.version for entry in piece.events] == list(range(1, events + 1))
        (piece,) = pieces_of(chats.store, None, chat.branch, chat.branch, upto=50, at_once=read)
        assert [entry.version for entry in piece.events] == list(range(1, 51))
    state, chats.service.reading.hot, chats.service.ports.snapshots = chats.state(chat.branch), HotStates(9), None
    assert chats.state(chat.branch) == state
