"""The real service, driven by adversaries in any order, on the stores that are shipped.

How much is tried is set by HYPOTHESIS_PROFILE: `dev` (the default), `ci` (1,000 runs of 50 steps), `nightly` (10,000).
"""

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from oracle import Forest, broken, divided_on_risk

from lastresort.adapters import open_conversations
from lastresort.adapters.testing import ConversationMachine
from lastresort.domain import Conversations, Recorded
from lastresort.domain.events import EVENTS, AppealDecided, AppealFiled, HopeExhausted, RiskCleared, WarningGiven
from lastresort.domain.ports import Append
from lastresort.domain.state import fold
from lastresort.projections import Replay, views

PROFILE_NAME = os.environ.get("HYPOTHESIS_PROFILE", "dev")
_RUNS = {"dev": 40, "ci": 1_000, "nightly": 10_000}
PROFILE = settings(
    max_examples=_RUNS[PROFILE_NAME],
    derandomize=PROFILE_NAME != "nightly",
    stateful_step_count=50,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


MEMORY = Path("/dev/shm")  # where there is one: what is tested here is the law, not the disk


SELDOM = {AppealDecided.kind, AppealFiled.kind, HopeExhausted.kind, RiskCleared.kind, WarningGiven.kind}
"""What a run as short as in development need not reach."""


class Fault(Exception):
    """The store failed: before it wrote, or after, when its answer was lost."""


class FaultyStore:
    """A real store whose next append fails, if it is told so."""

    def __init__(self, store):
        self.store = store
        self.fails = None

    def append(self, *appends: Append) -> tuple[Recorded, ...]:
        fails, self.fails = self.fails, None
        if fails == "before":
            raise Fault
        recorded = self.store.append(*appends)
        if fails == "after":
            raise Fault
        return recorded

    def __getattr__(self, name):
        return getattr(self.store, name)


class Proof(ConversationMachine):
    """What must be true after each step, by the oracle too; and what must have happened at some time."""

    happened: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.forest = Forest()
        self.told = 0

    def open(self) -> Conversations:
        held = super().open()
        held.store = FaultyStore(held.store)
        return held

    def check(self) -> None:
        super().check()
        log = tuple(self.conversations.store.log())
        self._oracle_agrees(log)
        self._views_cover(log)

    def _oracle_agrees(self, log: tuple[Recorded, ...]) -> None:
        for recorded in log[self.told :]:
            past = self.forest.before(recorded.branch, recorded.event)
            assert not broken(past, recorded.event), f"the oracle forbids {recorded.kind} on {recorded.branch}"
            self.forest.record(recorded.branch, recorded.event)
            self.happened[recorded.kind] += 1
        self.told = len(log)

    def _views_cover(self, log: tuple[Recorded, ...]) -> None:
        found = views(log)
        active, ended = ({row.branch for row in rows} for rows in (found.active, found.ended))
        assert not active & ended
        assert active | ended == {recorded.branch for recorded in log} == {row.branch for row in found.all}

    @rule(branch=ConversationMachine.branches, kind=st.sampled_from(["before", "after"]), turn=st.booleans())
    def the_store_fails(self, branch: str, kind: str, turn: bool) -> None:
        """Before or after it wrote; sent again under the same id, the command has taken effect once."""
        store, command_id = self.conversations.store, self.conversations.new_id()
        chat = self.conversations.chat(branch)
        act = chat.user_turn if turn else lambda words, command_id: chat.leave(command_id=command_id)
        before = len(tuple(store.log()))
        store.fails = kind
        try:
            act("words of the user", command_id=command_id)
        except Fault:
            assert (len(tuple(store.log())) > before) == (kind == "after"), "half an append was written"
        store.fails = None
        act("words of the user", command_id=command_id)
        once = [recorded for recorded in store.log() if recorded.command_id == command_id]
        assert len({(recorded.branch, recorded.version) for recorded in once}) == len(once)
        assert len([recorded for recorded in once if recorded.branch == branch]) <= 1, "it took effect twice"

    @rule(branch=ConversationMachine.branches, cut=st.integers(0, 200))
    def a_state_is_taken_up_midway(self, branch: str, cut: int) -> None:
        """A state at any version and the events since then add up to what the whole path adds up to."""
        path = self.conversations.path(branch)
        at = cut % (len(path) + 1)
        assert fold(path[at:], fold(path[:at])) == self.conversations.state(branch)

    def teardown(self) -> None:
        log = tuple(self.conversations.store.log())
        assert divided_on_risk(log) == []
        assert Replay(log).states.keys() == {recorded.branch for recorded in log}
        super().teardown()


class OnSQLite(Proof):
    """The same in an SQLite file, where the other process has connections of its own."""

    happened: ClassVar[Counter[str]] = Counter()

    def open(self) -> Conversations:
        self.folder = tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None)
        held = open_conversations(f"sqlite:///{self.folder}/log.db")
        held.store = FaultyStore(held.store)
        return held

    def open_again(self, conversations: Conversations) -> Conversations:
        return open_conversations(f"sqlite:///{self.folder}/log.db")

    def teardown(self) -> None:
        super().teardown()
        self.others.close()
        shutil.rmtree(self.folder)


@pytest.mark.parametrize("machine", [Proof, OnSQLite], ids=["memory", "sqlite"])
def test_no_adversary_gets_an_unlawful_event_recorded(machine: type[Proof]) -> None:
    """And every kind of event happened, so that nothing was proved by doing nothing."""
    run_state_machine_as_test(machine, settings=PROFILE)
    print(dict(sorted(machine.happened.items())))
    assert set(EVENTS) - (SELDOM if PROFILE_NAME == "dev" else set()) <= set(machine.happened)
