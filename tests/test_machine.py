"""The real service, driven by adversaries in any order, on the stores that are shipped.

How much is tried is set by HYPOTHESIS_PROFILE: `dev` (the default), `ci` (1,000 runs of 50 steps), `nightly` (10,000).
"""

import inspect
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from lastresort import Chat, Conversations, RecordedEvent, open_conversations
from lastresort.adapters.testing import ConversationMachine
from lastresort.application.ports import Append
from lastresort.application.service import Service
from lastresort.domain.events import (
    EVENTS,
    AppealDecided,
    AppealFiled,
    HopeExhausted,
    RiskCleared,
    WarningGiven,
    WarningWithheld,
)
from lastresort.domain.state import fold
from lastresort.projections import Replay, views

from .drawing import PROFILE_NAME, UNHURRIED, examples
from .narrow import must_be
from .oracle import Forest, broken, divided_on_risk

pytestmark = pytest.mark.no_cover  # being measured, a search takes twice as long; what it runs, other tests cover

PROFILE = settings(
    UNHURRIED,
    max_examples=examples(dev=60, ci=1_000, nightly=10_000),
    derandomize=PROFILE_NAME != "nightly",
    stateful_step_count=50,
)


MEMORY = Path("/dev/shm")  # where there is one: what is tested here is the law, not the disk


SELDOM = {
    AppealDecided.kind, AppealFiled.kind, HopeExhausted.kind, RiskCleared.kind, WarningGiven.kind, WarningWithheld.kind,
}  # fmt: skip
"""What a run as short as in development need not reach."""


class Fault(Exception):
    """The store failed: before it wrote, or after, when its answer was lost."""


class FaultyStore:
    """A real store whose next append fails, if it is told so."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.fails: str | None = None

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        fails, self.fails = self.fails, None
        if fails == "before":
            raise Fault
        recorded: tuple[RecordedEvent, ...] = self.store.append(*appends)
        if fails == "after":
            raise Fault
        return recorded

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def insisting(act: Callable[..., Any], new_id: Callable[[], str]) -> Callable[..., Any]:
    """Do `act` once more, under the same command id, when the store failed."""

    def insist(*args: Any, command_id: str | None = None, **options: Any) -> Any:
        command_id = command_id or new_id()
        try:
            return act(*args, command_id=command_id, **options)
        except Fault:
            return act(*args, command_id=command_id, **options)

    return insist


class Stubborn:
    """A handle that insists."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    def __getattr__(self, name: str) -> Any:
        act = getattr(self.chat, name)
        if not callable(act) or "command_id" not in inspect.signature(act).parameters:
            return act
        return insisting(act, self.chat.conversations.new_id)


def erasing_at_last(held: Any) -> Conversations:
    held.erase_conversation = insisting(held.erase_conversation, held.new_id)
    return cast(Conversations, held)


def failing_at_times(held: Any) -> Conversations:
    held.service.ports.snapshots.every = 3  # a short run is to come across some
    held.service.ports.store = FaultyStore(held.store)
    return erasing_at_last(held)


class Proof(ConversationMachine):
    """What must be true after each step, by the oracle too; and what must have happened at some time."""

    happened: ClassVar[Counter[str]] = Counter()
    taken: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.forest = Forest()
        self.live = Replay()
        self.told = 0
        self.taken["runs"] += 1

    def open(self) -> Conversations:
        return failing_at_times(super().open())

    def open_again(self, conversations: Conversations) -> Conversations:
        return erasing_at_last(super().open_again(conversations))

    def check(self) -> None:
        super().check()
        self.taken["steps"] += 1
        log = tuple(self.conversations.store.log())
        self._any_prefix_will_do(log)
        self._oracle_agrees(log)
        self._views_cover(log)
        self.told = len(log)

    def _any_prefix_will_do(self, log: tuple[RecordedEvent, ...]) -> None:
        """A state at any version, and the events since then, add up to what the whole path adds up to."""
        for branch in {recorded.branch for recorded in log[self.told :]}:
            path, now = self.conversations.path(branch), self.conversations.state(branch)
            cut = self.told % (len(path) + 1)
            assert fold(path[cut:], fold(path[:cut])) == now, f"{branch} adds up to something else from {cut} on"

    def _oracle_agrees(self, log: tuple[RecordedEvent, ...]) -> None:
        for recorded in log[self.told :]:
            past = self.forest.before(recorded.branch, recorded.event)
            assert not broken(past, recorded.event), f"the oracle forbids {recorded.kind} on {recorded.branch}"
            self.forest.record(recorded.branch, recorded.event)
            self.happened[recorded.kind] += 1

    def _views_cover(self, log: tuple[RecordedEvent, ...]) -> None:
        for recorded in log[self.told :]:
            self.live.take(recorded, self.live.before(recorded))
        assert self.live.states == Replay(log).states, "what was taken as it came is not what is replayed"
        found = views(log)
        active, ended = ({row.branch for row in rows} for rows in (found.active, found.ended))
        assert not active & ended
        assert active | ended == {recorded.branch for recorded in log} == {row.branch for row in found.all}

    def driver(self, chat: Chat) -> Any:
        return Stubborn(chat)

    @rule(kind=st.sampled_from(["before", "after"]))
    def the_store_is_about_to_fail(self, kind: str) -> None:
        """Before it writes or after, whatever comes next; sent again, it takes effect once, or the audit says so."""
        must_be(FaultyStore, self.conversations.store).fails = kind

    @rule(branch=ConversationMachine.branches)
    def a_process_begins_again(self, branch: str) -> None:
        """A state that is read from a snapshot and what follows it is what the whole path adds up to."""
        held = self.conversations
        reopened = Conversations(Service(held.service.ports, hot=0))
        for one in held.tree(branch):
            assert reopened.state(one) == fold(reopened.path(one))

    def teardown(self) -> None:
        log = tuple(self.conversations.store.log())
        assert divided_on_risk(log) == []
        super().teardown()


class OnSQLite(Proof):
    """The same in an SQLite file, where the other process has connections of its own."""

    happened: ClassVar[Counter[str]] = Counter()
    taken: ClassVar[Counter[str]] = Counter()

    def open(self) -> Conversations:
        self.folder = tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None)
        return failing_at_times(open_conversations(f"sqlite:///{self.folder}/log.db"))

    def open_again(self, conversations: Conversations) -> Conversations:
        return open_conversations(f"sqlite:///{self.folder}/log.db", snapshot_every=2)

    def teardown(self) -> None:
        super().teardown()
        self.others.close()
        shutil.rmtree(self.folder)


@pytest.mark.parametrize("machine", [Proof, OnSQLite], ids=["memory", "sqlite"])
def test_no_adversary_gets_an_unlawful_event_recorded(machine: type[Proof]) -> None:
    """And every kind of event happened, so that nothing was proved by doing nothing."""
    run_state_machine_as_test(machine, settings=PROFILE)
    print(dict(machine.taken), dict(sorted(machine.happened.items())))
    assert set(EVENTS) - (SELDOM if PROFILE_NAME == "dev" else set()) <= set(machine.happened)
