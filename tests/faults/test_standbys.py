"""A primary whose two standbys are silent: who may be answered from its log, and what is left when its disk is gone."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest

from lastresort import BranchEnded, Chat, Conversations, Ground, StoreError
from lastresort.adapters.stores.postgres import PostgresStore
from lastresort.adapters.upkeep.doctor import examine
from lastresort.application.outcomes import Receipt
from lastresort.application.reading import published

from ..service_kit import asked_and_confirmed, talk
from .acts import check_log, open_at
from .cluster import Cluster, until

pytestmark = pytest.mark.xdist_group("standbys")
NOT_KNOWN = r"may have been written: send (the command|it) again"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def chats(cluster: Cluster) -> Iterator[Conversations]:
    """Conversations whose calls take a second, on a primary that both standbys hear."""
    cluster.wait_for_standbys(2)
    with closing(open_at(f"{cluster.url}&deadline=1")) as chats:
        yield chats
        for standby in cluster.standbys:
            standby.go_on()


def says(chat: Chat) -> object:
    return chat.user_turn("words", command_id=f"{chat.branch}-says")


def ends(chat: Chat) -> object:
    return chat.end(Ground.USER_REQUEST, command_id=f"{chat.branch}-ends")


def edits(chat: Chat) -> object:
    return chat.edit(2, "other words", command_id=f"{chat.branch}-edits", child=f"{chat.branch}-child")


CASES = {
    "a turn that is sent again": (says, says, Receipt),
    "an ending, and a turn after it": (ends, says, BranchEnded),
    "a fork that is sent again": (edits, edits, Chat),
}
"""What is written while nobody hears it, what is asked then, and what the answer to that would be."""


@pytest.mark.parametrize("name", CASES)
def test_nobody_is_answered_what_no_standby_has(
    cluster: Cluster, chats: Conversations, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An append was never acknowledged; after a restart it is in the log all the same, on one disk."""
    act, ask, answer = CASES[name]
    chat = chats.start(model="m", conversation=name.replace(" ", "-").replace(",", ""))
    asked_and_confirmed(chat)
    cluster.wait_for_standbys(2)
    cluster.silence()
    written_unheard(cluster, lambda: act(chat))
    cluster.crash()
    command_id = f"{chat.branch}-{act.__name__}"
    assert cluster.has(command_id), "the restart did not bring it to light"
    assert "within 1 s" in not_durable(lambda: ask(chat))
    not_durable(lambda: next(published(chats.store)))
    not_durable(lambda: chats.state(chat.branch))  # nor does a state rest on it
    with monkeypatch.context() as without:  # the control: there is something that the barrier keeps from happening
        without.setattr(PostgresStore, "_pass_barrier", lambda store, until: None)
        without.setattr(PostgresStore, "_settle", lambda store, connection: None)
        assert isinstance(ask(chat), answer)
    assert not any(standby.has("chats", command_id) for standby in cluster.standbys), "a standby was not silent"
    cluster.standbys[0].go_on()
    until(lambda: tells(lambda: ask(chat), answer))
    assert cluster.standbys[0].has("chats", command_id)


def written_unheard(cluster: Cluster, act: Callable[[], object]) -> None:
    """Have something written that waits for the standbys. On a busy machine it may not come that far at once."""
    with pytest.raises(StoreError, match=NOT_KNOWN):
        act()
    while not cluster.waits():
        with pytest.raises(StoreError):
            act()


def not_durable(ask: Callable[[], object]) -> str:
    """Return what is said of an answer that no standby has. On a busy machine there may be no connection in time."""
    while True:
        with pytest.raises(StoreError) as refused:
            ask()
        if "no connection within" not in (said := str(refused.value)):
            assert "not known to be durable" in said
            return said


def tells(ask: Callable[[], object], answer: type) -> bool:
    """Whether the answer comes, and is the one that is due."""
    try:
        outcome = ask()
    except StoreError:
        return False
    assert isinstance(outcome, answer)
    return True


def test_the_doctor_counts_the_standbys(cluster: Cluster, chats: Conversations) -> None:
    assert chats.store.head() >= 0
    found = {one.name: one for one in examine(cluster.url)}
    counted = "synchronous_standby_names=ANY 1 (a, b): each commit waits for 1, and 2 can be reached"
    assert found["standbys"].found == counted
    assert found["failover"].found.endswith("if that is lost, and is no proxy, name every node in it")
    assert "migrations" in found
    of_all = next(one for one in examine(cluster.url_of_all) if one.name == "failover")
    assert of_all.ok
    assert "the URL names" not in of_all.found


def test_the_doctor_does_not_wait_for_standbys(cluster: Cluster, chats: Conversations) -> None:
    """Where there are too few it says so, and that is all that there is to say."""
    assert chats.store.head() >= 0
    cluster.ask_for(3)
    try:
        found = {one.name: one for one in examine(cluster.url)}
    finally:
        cluster.ask_for(1)
    assert found["standbys"].found.endswith("each commit waits for 3, and 2 can be reached: nothing is acknowledged")
    assert "migrations" not in found


def test_of_several_hosts_the_one_is_found_that_can_be_written_to(cluster: Cluster, chats: Conversations) -> None:
    """The standbys come first in the URL, and one of them is not there."""
    chat = chats.start(model="m", conversation="of-several")
    with closing(open_at(cluster.url_of_all)) as others:
        assert isinstance(says(others.chat("of-several")), Receipt)
    assert isinstance(says(chat), Receipt)
    one = cluster.standbys[0].url("chats")
    assert "this server is a standby" in next(one.found for one in examine(one) if one.name == "failover")


def test_a_wait_for_standbys_that_is_cancelled_is_no_answer(cluster: Cluster, chats: Conversations) -> None:
    """The server calls it a success, with a warning."""
    chat = chats.start(model="m", conversation="cancelled")
    talk(chat, "hello", "hello")
    cluster.wait_for_standbys(2)
    cluster.silence()
    cancelled = threading.Event()

    def cancel() -> None:
        until(cluster.cancel)
        cancelled.set()

    other = threading.Thread(target=cancel)
    other.start()
    with pytest.raises(StoreError, match=NOT_KNOWN):
        says(chat)
    other.join()
    assert cancelled.is_set()
    assert cluster.has("cancelled-says"), "it was written, and can be read"
    not_durable(lambda: says(chat))
    cluster.standbys[1].go_on()
    until(lambda: tells(lambda: says(chat), Receipt))
    assert cluster.standbys[1].has("chats", "cancelled-says")


def test_a_lone_answer_outlives_the_disk_of_the_primary(cluster: Cluster, chats: Conversations) -> None:
    """Everything that was acknowledged is on the standby that takes over: the last to be so after a restart, too."""
    told = [chats.start(model="m", conversation=f"lone-{number}") for number in range(4)]
    talk(told[0], "hello", "hello")
    acknowledged = {f"{chat.branch}-says" for chat in told[1:] if isinstance(says(chat), Receipt)}
    assert len(acknowledged) == 3
    cluster.wait_for_standbys(2)
    cluster.silence()
    written_unheard(cluster, lambda: says(told[0]))
    cluster.crash()
    heir = cluster.standbys[0]
    heir.go_on()
    until(lambda: tells(lambda: says(told[0]), Receipt))
    before = list(chats.store.log())
    cluster.lose_primary()
    heir.promote()
    with psycopg.connect(heir.url("chats"), autocommit=True) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
    with closing(open_at(heir.url("chats"))) as after:
        log = list(after.store.log())
        assert log == before
        assert acknowledged | {"lone-0-says"} <= {one.command_id for one in log}
        check_log(after, log)
        assert list(after.words(after.path("lone-0")).values()) == ["hello", "hello", "words"]
        assert isinstance(after.chat("lone-0").leave(), Receipt)
