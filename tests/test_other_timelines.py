"""Snapshots of a store that was copied and went on elsewhere: sealed with the same key, and of another history.

The same commands come to both, at the same versions. Somebody who can write the log's files carries the snapshots of
the copy into the store, where they would hide an open risk or a branch, or say that another model answers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lastresort import Conversations
from lastresort.adapters.upkeep.audited import wrong_snapshots
from lastresort.adapters.upkeep.backup import backup, restore
from lastresort.domain import fold
from lastresort.domain.events import BranchOpened
from lastresort.projections import audit

from .operations_kit import _apart, another, kind, opened
from .stores import OPERATOR, cold, done, long, new_url, snapshots_of, store_of

__all__ = ["_apart", "another", "kind"]

Act = Callable[[Conversations], Any]


def leave(chats: Conversations) -> Any:
    return chats.chat("c").leave(command_id="k")


def risk(chats: Conversations) -> Any:
    return chats.chat("c").raise_risk(command_id="k")


def branch(chats: Conversations) -> Any:
    return chats.chat("c").edit(4, "Instead.", child="d", command_id="k")


def model(chats: Conversations) -> Any:
    return chats.chat("c").change_model("another-model", by=OPERATOR, command_id="k")


def go_on(chats: Conversations, act: Act) -> None:
    """At version 8 something happens; what comes after it is the same everywhere."""
    done(act(chats))
    for number in range(9, 12):
        done(chats.chat("c").leave(command_id=f"k-{number}"))


def clock(month: int) -> Callable[[], datetime]:
    """The time in one of two places, which are never at the same moment."""
    seconds = count()
    return lambda: datetime(2026, month, 1, tzinfo=UTC) + timedelta(seconds=next(seconds))


@pytest.fixture
def misled(
    kind: str, request: pytest.FixtureRequest, another: Callable[[], str], tmp_path: Path
) -> Callable[[Act, Act], Any]:
    """Opens a store after an act, with the snapshot of its copy, where another act came, in the place of its own."""

    @contextmanager
    def after(act: Act, elsewhere: Act) -> Iterator[Conversations]:
        url = new_url(kind, request)
        with opened(url, clock=clock(1), snapshot_every=5) as chats:
            long(chats, 3)
        copy = another()
        backup(url, tmp_path / "backup")
        restore(tmp_path / "backup", copy)
        with opened(copy, clock=clock(2), snapshot_every=5) as chats:
            go_on(chats, elsewhere)
            version, data = store_of(chats).snapshot("c", 11, b"")
        with opened(url, clock=clock(3), snapshot_every=5) as chats:
            go_on(chats, act)
            store_of(chats).replace_snapshots("c", {version: bytes(data)})
            found = snapshots_of(chats).latest("c")
            assert found is not None, "it is sealed for this place with this store's key, or else this shows nothing"
            assert found.state != fold(chats.path("c", upto=version)), "and it says otherwise than the log"
            yield cold(chats)

    return after


def test_it_hides_no_open_risk(misled: Callable[[Act, Act], Any]) -> None:
    """Neither on the branch nor from a branch that opens now."""
    with misled(risk, leave) as chats:
        assert len(chats.state("c").risks) == 1
        assert len(done(cold(chats).chat("c").edit(4, "Instead.", child="d")).state.risks) == 1
        first = chats.path("d")[-2].event
        assert isinstance(first, BranchOpened)
        assert len(first.risks) == 1
        assert audit(chats.store.entries()).findings == ()


def test_it_hides_no_branch_from_a_risk(misled: Callable[[Act, Act], Any]) -> None:
    with misled(branch, leave) as chats:
        done(chats.chat("c").raise_risk())
        assert [len(cold(chats).state(one).risks) for one in ("c", "d")] == [1, 1]


def test_it_invents_no_risk_and_no_branch(misled: Callable[[Act, Act], Any]) -> None:
    with misled(leave, branch) as chats:
        assert list(chats.tree("c")) == ["c"]
        done(chats.chat("c").raise_risk())
        assert len(cold(chats).state("c").risks) == 1


def test_it_lets_no_other_model_answer(misled: Callable[[Act, Act], Any]) -> None:
    with misled(leave, model) as chats:
        assert chats.state("c") == fold(chats.path("c"))
        answer = cold(chats).chat("c")
        assert answer.model.id != "another-model"
        assert len(wrong_snapshots(chats)) == 1, "the audit names it, though nothing reads it"
