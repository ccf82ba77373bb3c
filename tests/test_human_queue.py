"""The queue of people: one person a turn, leases that lapse, nothing lost and nothing twice, with several processes."""

import multiprocessing
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lastresort import Refused, Risk, StoreError, Verdict, open_conversations
from lastresort.adapters.human_queue import Claim, HumanQueue, LeaseLapsed
from lastresort.adapters.testing.hosts import ABUSE, FAREWELL, MODEL, Model, at_the_brink
from lastresort.adapters.turns.assessor import Case, Opinion

from .cli_kit import run
from .test_hosted import Loop

__all__ = ["run"]

Came = TypeVar("Came")
TURNS = int(os.environ.get("LASTRESORT_QUEUE_TURNS", "24"))
PROCESSES = int(os.environ.get("LASTRESORT_QUEUE_PROCESSES", "2"))
CALM = Opinion(verdict=Verdict.PRODUCTIVE, risk=Risk.NONE)
HARM = Opinion(verdict=Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE)


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_a_turn_waits_is_claimed_and_is_judged_once() -> None:
    judged: list[str] = []
    with open_conversations("memory:") as chats:
        clock = Clock()
        queue = HumanQueue(chats, clock=clock, on_judged=lambda chat: judged.append(chat.branch))
        chat = chats.start(model=MODEL)
        chat.user_turn("Hello.")
        case = Case(chat.branch, 2, "Hello.", ())
        assert queue(case) is None
        assert queue(case) is None  # asked again, it waits once
        assert [(one.branch, one.version, one.person) for one in queue.waiting()] == [(chat.branch, 2, None)]
        claim = queue.claim("ann")
        assert claim is not None
        assert queue.claim("ben") is None
        assert queue.waiting()[0].person == "ann"
        assert queue.case(claim).turn == "Hello."
        assert queue.find(claim.token) == claim
        assert not isinstance(queue.judge(claim, CALM), Refused)
        assert queue.waiting() == []
        assert judged == [chat.branch]
        with pytest.raises(LeaseLapsed, match="claim a turn again"):
            queue.judge(claim, CALM)
        assert chat.path[-1].event.by.id == "ann"


def test_a_lease_lapses_and_a_claim_can_be_given_back() -> None:
    with open_conversations("memory:") as chats:
        clock = Clock()
        queue = HumanQueue(chats, clock=clock, lease=timedelta(minutes=1))
        chat = chats.start(model=MODEL)
        chat.user_turn("Hello.")
        queue(Case(chat.branch, 2, "Hello.", ()))
        late = queue.claim("ann")
        clock.now += timedelta(minutes=2)
        assert queue.waiting()[0].person is None
        other = queue.claim("ben")
        assert late is not None
        assert other is not None
        with pytest.raises(LeaseLapsed):
            queue.judge(late, CALM)
        queue.release(other)
        third = queue.claim("ann")
        assert third is not None
        queue.judge(third, CALM)


def test_of_two_who_judge_one_turn_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody whose lease lapsed just after it was looked at."""
    with open_conversations("memory:") as chats:
        clock = Clock()
        queue = HumanQueue(chats, clock=clock)
        chat = chats.start(model=MODEL)
        chat.user_turn("Hello.")
        queue(Case(chat.branch, 2, "Hello.", ()))
        late = queue.claim("ann")
        clock.now += timedelta(hours=1)
        other = queue.claim("ben")
        assert late is not None
        assert other is not None
        queue.judge(other, CALM)
        monkeypatch.setattr(queue, "find", lambda token: late)
        with pytest.raises(LeaseLapsed, match="somebody else judged"):
            queue.judge(late, HARM)
        assert [one.kind for one in chat.path].count("TurnAssessed") == 1


@pytest.mark.parametrize("failures", [3, 1_000])
def test_a_verdict_that_could_not_be_taken_out_is_not_asked_for_again(
    failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again, and once the lease has lapsed."""
    with open_conversations("memory:") as chats:
        clock = Clock()
        queue, fails = HumanQueue(chats, clock=clock), iter(range(failures))
        chat = chats.start(model=MODEL)
        chat.user_turn("Hello.")
        queue(Case(chat.branch, 2, "Hello.", ()))
        claim, drop = queue.claim("ann"), queue._drop
        assert claim is not None

        def may_drop(claim: Claim) -> None:
            if next(fails, None) is not None:
                raise StoreError("busy")
            drop(claim)

        with monkeypatch.context() as patched:
            patched.setattr(queue, "_drop", may_drop)
            queue.judge(claim, CALM)
        assert len(queue.waiting()) == (failures > 3)
        clock.now += timedelta(hours=1)
        assert queue.claim("ben") is None
        assert queue.waiting() == []


def test_what_nobody_need_judge_any_more_is_taken_out() -> None:
    with open_conversations("memory:") as chats:
        queue = HumanQueue(chats)
        chat = chats.start(model=MODEL)
        chat.user_turn("Hello.")
        for branch, version in ((chat.branch, 2), ("gone", 7)):
            queue(Case(branch, version, "", ()))
        chat.assistant_turn("Hi.")
        chat.user_turn("How are you?")
        assert queue.claim("ann") is None
        assert queue.waiting() == []


def test_a_turn_that_waits_for_a_person_goes_on_with_what_they_say() -> None:
    """Within its patience, and later: then the answer is made again."""
    with open_conversations("memory:") as chats:
        chat, model = at_the_brink(chats), Model([FAREWELL, "Never to be said."])
        queue = HumanQueue(chats)

        class Person(HumanQueue):
            def _row(self, branch: str, version: int) -> Any:
                if (claim := self.claim("ann")) is not None:
                    self.judge(claim, HARM)
                return super()._row(branch, version)

        Loop().say(chat, ABUSE, model, Person(chats, patience=30.0))
        assert chats.state(chat.branch).ended is not None
        without = at_the_brink(chats)
        Loop().say(without, ABUSE, Model([FAREWELL, "Well."]), queue)
        assert chats.state(without.branch).ended is None
        assert [one.branch for one in queue.waiting()] == [without.branch]


def test_the_command_lists_claims_judges_and_gives_back(tmp_path: Path, run: Callable[..., Any]) -> None:
    url = f"sqlite:///{tmp_path}/chats.db"
    with open_conversations(url) as chats:
        assert run("queue", url).stdout == "nobody waits\n"
        for _ in range(2):
            chat = chats.start(model=MODEL)
            chat.user_turn("Hello there.")
            HumanQueue(chats)(Case(chat.branch, 2, "", ()))
    assert run("queue", url).stdout.count("waits since") == 2
    claimed = run("queue", url, "--claim", "ann").stdout
    assert "Hello there." in claimed
    token = next(line.split()[1] for line in claimed.splitlines() if line.startswith("token"))
    assert "ann" in run("queue", url).stdout
    run("queue", url, "--release", token)
    token = next(
        line.split()[1] for line in run("queue", url, "--claim", "ben").stdout.splitlines() if line.startswith("token")
    )
    done = run("queue", url, "--judge", token, "--verdict", "harmful", "--category", "abuse", "--severity", 2)
    assert "recorded" in done.stdout
    assert run("queue", url, "--json").stdout.count("branch") == 1
    assert "lapsed" in run("queue", url, "--judge", token, "--verdict", "productive", status=2).stderr
    assert "--verdict" in run("queue", url, "--judge", token, status=2).stderr
    run("queue", url, "--claim", "ann")
    assert "nobody waits" in run("queue", url, "--claim", "ann").stdout
    assert "one of" in run("queue", url, "--claim", "ann", "--release", "x", status=2).stderr


def judge_all(url: str, person: str) -> None:
    """Judge as a person does, who tries again where the store was too busy."""
    with again(lambda: open_conversations(url)) as chats:
        queue = again(lambda: HumanQueue(chats))
        while (claim := again(lambda: queue.claim(person))) is not None:
            again(partial(queue.judge, claim, CALM))


def again(act: Callable[[], Came]) -> Came:
    while True:
        with suppress(StoreError):
            return act()


def race(url: str) -> None:
    """Have several processes judge all turns of a queue, and look in the log."""
    with open_conversations(url) as chats:
        queue = HumanQueue(chats)
        for _ in range(TURNS):
            chat = chats.start(model=MODEL)
            chat.user_turn("Hello.")
            queue(Case(chat.branch, 2, "", ()))
        people = [
            multiprocessing.get_context("spawn").Process(target=judge_all, args=(url, f"person-{n}"))
            for n in range(PROCESSES)
        ]
        for person in people:
            person.start()
        for person in people:
            person.join()
        assert [person.exitcode for person in people] == [0] * PROCESSES
        verdicts = [one.branch for one in chats.store.log() if one.kind == "TurnAssessed"]
        assert len(verdicts) == len(set(verdicts)) == TURNS
        assert queue.waiting() == []


def test_with_several_processes_none_is_lost_and_none_is_twice(tmp_path: Path) -> None:
    race(f"sqlite:///{tmp_path}/chats.db")


@pytest.mark.xdist_group("postgresql")
def test_so_with_postgresql(postgresql: Callable[[], str]) -> None:
    race(postgresql())
