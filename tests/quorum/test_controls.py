"""What the checker of histories must find: a standby takes over, and something that was acknowledged is gone."""

import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from lastresort.adapters.stores.postgres import PostgresStore

from ..faults.acts import MODEL, Act, open_at
from ..faults.cluster import Cluster
from .clients import Notes, entries_of, sent
from .history import findings

pytestmark = [
    pytest.mark.xdist_group("standbys"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: signals and /proc"),
]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.delenv("LASTRESORT_MASTER_KEY", raising=False)
    cluster = Cluster()
    yield cluster
    cluster.close()


def says(branch: str) -> Act:
    return Act(f"says-{branch}", branch, "user_turn", {"words": "hello"})


def test_without_the_barrier_and_without_synchronous_standbys_an_answer_is_lost(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader's disk is deleted after each. What was acknowledged by the quorum before is there."""
    notes = Notes()
    with closing(open_at(f"{cluster.url}&deadline=1")) as chats:
        for branch in ("safe", "no-barrier", "asynchronous"):
            chats.start(model=MODEL, conversation=branch).user_turn("hello")  # for which it has a key now
        assert sent(chats, says("safe"), notes)
        cluster.wait_for_standbys(2)
        cluster.silence()
        while not cluster.waits():  # on a busy machine it may not come that far at once
            assert not sent(chats, says("no-barrier"), notes)
        cluster.crash()
        assert not sent(chats, says("no-barrier"), notes)
        with monkeypatch.context() as without:
            without.setattr(PostgresStore, "_pass_barrier", lambda store, until: None)
            without.setattr(PostgresStore, "_settle", lambda store, connection: None)
            assert sent(chats, says("no-barrier"), notes)
            cluster.ask_for(0)
            assert sent(chats, says("asynchronous"), notes)
            assert findings(notes.calls, entries_of(chats.store.log())) == []
    cluster.lose_primary()
    heir = cluster.standbys[0]
    heir.deafen()
    heir.promote()
    with closing(open_at(heir.url("chats"))) as after:
        found = findings(notes.calls, entries_of(after.store.log()))
    assert [one.partition(" was")[0] for one in found] == ["lost: says-asynchronous", "lost: says-no-barrier"]
