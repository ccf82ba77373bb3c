"""Words are erased by the age of what was last said; what is held stays, and is named."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import Result

from bench.retention import tell
from lastresort import Chat, Conversations, ErasureCause, HoldReason, Rating, Risk, Verdict
from lastresort.application.erasing import Erasing
from lastresort.domain.events import ContentErased, TurnAssessed
from lastresort.projections import audit

from .cli_kit import run
from .faults.zygote import Worker, Zygote
from .killed import retain, zygote
from .service_kit import another, done, talk
from .stores import ASSESSOR, DURABLE_STORES, MODEL, OPERATOR, STORES, new_url, opened

__all__ = ["run", "zygote"]

YEAR, DAY = 2020, timedelta(days=1)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime(YEAR, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=STORES)
def chats(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Conversations]:
    with opened(new_url(request.param, request), clock=clock) as conversations:
        yield conversations


def told(chats: Conversations, *names: str) -> list[Chat]:
    found = [chats.start(model=MODEL.id, account="a-17", conversation=name) for name in names]
    for chat in found:
        talk(chat, f"This is said in {chat.branch}.", "So it is.")
    return found


def kept(chats: Conversations, *names: str) -> list[str]:
    return [name for name in names if chats.words(chats.tree_log(name))]


def erasures(chats: Conversations) -> list[str]:
    return [one.branch for one in chats.store.log() if isinstance(one.event, ContentErased)]


def test_the_old_go_and_the_young_stay(chats: Conversations, clock: Clock) -> None:
    """By what was last said on any branch. The system erases, by way of retention; a second time it finds nothing."""
    old, revived, branched = told(chats, "old", "revived", "branched")
    clock.now += 100 * DAY
    talk(revived, "I am back.")
    done(branched.edit(2, "I am back, too.", child="child"))
    told(chats, "young")
    clock.now += 100 * DAY
    done(old.feedback(Rating.UP))  # nobody spoke by that
    looked_at: list[int] = []
    what = chats.retain(180 * DAY, progress=looked_at.append)
    assert what == ("2020-01-21T00:00:00.000000+00:00", ("old",), {})
    assert looked_at == [1]
    assert kept(chats, "old", "revived", "branched", "young") == ["revived", "branched", "young"]
    event: Any = next(one.event for one in chats.store.log() if isinstance(one.event, ContentErased))
    assert (event.cause, event.by.kind, event.by.id) == (ErasureCause.RETENTION, "system", "retention")
    assert chats.retain(180 * DAY).erased == ()
    assert chats.retain(100 * DAY).erased == ()  # since then means before then
    assert chats.retain(99 * DAY, by=OPERATOR).erased == ("branched", "revived", "young")
    assert kept(chats, "old", "revived", "branched", "young") == []
    assert erasures(chats) == ["old", "branched", "child", "revived", "young"]
    assert audit(chats.store.entries()).findings == ()


def test_what_is_held_is_left_and_named(chats: Conversations, clock: Clock) -> None:
    """Until it is released. A dry run says the same and erases nothing."""
    told(chats, "a", "held", "z")
    done(chats.chat("held").hold("case-12", reason=HoldReason.LITIGATION, by=OPERATOR))
    clock.now += 2 * DAY
    would = chats.retain(DAY, dry_run=True)
    assert (would.erased, list(would.refused)) == (("a", "z"), ["held"])
    assert kept(chats, "a", "held", "z") == ["a", "held", "z"]
    assert erasures(chats) == []
    assert chats.retain(DAY) == would
    assert [one.rule for one in would.refused["held"].broken] == ["held-from-erasure"]
    assert kept(chats, "a", "held", "z") == ["held"]
    done(chats.chat("held").release_hold("case-12", by=OPERATOR))
    assert chats.retain(DAY).erased == ("held",)


def test_words_that_came_after_an_erasure_grow_old_too(chats: Conversations, clock: Clock) -> None:
    """Turns, and what is no turn; each erasure is recorded once."""
    (chat,) = told(chats, "c")
    clock.now += 2 * DAY
    assert chats.retain(DAY).erased == ("c",)
    done(chat.feedback(Rating.DOWN, "You forgot me."))
    assert chats.retain(DAY).erased == ("c",)
    talk(chat, "And again.")
    assert chats.retain(DAY).erased == ()
    clock.now += 2 * DAY
    assert chats.retain(DAY).erased == ("c",)
    assert kept(chats, "c") == []
    assert len(erasures(chats)) == 3


def test_a_key_without_words_is_destroyed(chats: Conversations, clock: Clock) -> None:
    """They were erased one by one, and copies of them may be in a backup, which the key opens."""
    (chat,) = told(chats, "c")
    chats.start(model=MODEL.id, conversation="silent")  # nothing was said: there is nothing to erase
    done(chat.erase(2))
    done(chat.erase(3))
    vault = chats.service.ports.vault
    clock.now += 2 * DAY
    assert vault.has_key("c")
    assert chats.retain(DAY).erased == ("c",)
    assert not vault.has_key("c")
    assert chats.retain(DAY).erased == ()


def test_someone_who_speaks_meanwhile_is_heard(
    chats: Conversations, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the directory and the erasure, and between the decision and the append.

    What was to be erased together with theirs is erased all the same.
    """
    first, second, _ = told(chats, "first", "second", "third")
    clock.now += 2 * DAY
    read, record = Erasing.read, Erasing.record

    def overtaken(self: Erasing, branch: str) -> Any:
        if branch == "first":
            monkeypatch.setattr(Erasing, "read", read)
            talk(first, "Wait.")
        return read(self, branch)

    def overtaken_later(self: Erasing, plans: Any) -> Any:
        monkeypatch.setattr(Erasing, "record", record)
        talk(second, "Wait, too.")
        return record(self, plans)

    monkeypatch.setattr(Erasing, "read", overtaken)
    monkeypatch.setattr(Erasing, "record", overtaken_later)
    assert chats.retain(DAY) == ("2020-01-02T00:00:00.000000+00:00", ("third",), {})
    assert len(chats.words(chats.tree_log("first"))) == len(chats.words(chats.tree_log("second"))) == 3
    assert erasures(chats) == ["third"]


@pytest.mark.parametrize("step", ["retire", "append", "forget_all", "drop", "barrier"])
def test_what_was_erased_together_is_finished_together(
    chats: Conversations, clock: Clock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """It broke off before a step; each conversation is erased once, and its key goes. What is held stays."""
    told(chats, "a", "b", "c", "held")
    done(chats.chat("held").hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR))
    clock.now += 2 * DAY
    ports = chats.service.ports
    with monkeypatch.context() as patched:
        patched.setattr(ports.store if hasattr(ports.store, step) else ports.vault, step, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            chats.retain(DAY)
    recorded = erasures(chats)
    assert recorded == ([] if step in ("retire", "append") else ["a", "b", "c"])
    chats.retain(DAY)
    assert sorted(erasures(chats)) == ["a", "b", "c"]
    assert kept(chats, "a", "b", "c", "held") == ["held"]
    assert [name for name in ("a", "b", "c", "held") if ports.vault.has_key(name)] == ["held"]
    assert chats.retain(DAY).erased == ()
    assert audit(chats.store.entries()).findings == ()


def test_an_age_is_a_time(chats: Conversations) -> None:
    for wrong in (180, -DAY, 36_501 * DAY, None):
        with pytest.raises(ValueError, match="older_than: a timedelta is needed, from zero to 36,500 days"):
            chats.retain(wrong)  # type: ignore[arg-type]


def test_there_may_be_more_than_a_page(chats: Conversations, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lastresort.application.erasing.TOGETHER", 2)
    told(chats, "a", "b", "c", "d", "e")
    clock.now += 2 * DAY
    assert chats.retain(DAY).erased == ("a", "b", "c", "d", "e")


# --- On the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def url(tmp_path: Path, clock: Clock) -> str:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url, clock=clock) as chats:
        told(chats, "c-1", "c-2", "c-3")
        chats.chat("c-2").hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
    return url


def test_retention_on_the_command_line(run: Callable[..., Result], url: str) -> None:
    would = run("retain", "--older-than", "30d", "--dry-run", "--store", url).output
    assert "2 would be erased, 1 kept; nobody has spoken in them since 2" in would
    assert "c-2: held-from-erasure: legal holds: case-1" in would
    did = json.loads(run("retain", "--older-than", "4w", "--operator", "op", "--json", "--store", url).output)
    assert {name: did[name] for name in ("erased", "refused", "dry_run")} == {
        "erased": ["c-1", "c-3"], "refused": {"c-2": ["held-from-erasure"]}, "dry_run": False,
    }  # fmt: skip
    with opened(url) as chats:
        assert kept(chats, "c-1", "c-2", "c-3") == ["c-2"]
    assert run("retain", "--older-than", "700h", "--store", url).output.startswith("0 erased, 1 kept")


@pytest.mark.parametrize(
    ("age", "why"),
    [
        ("180", "not an age (length 3): write a number and h, d or w"),
        ("d", "not an age"),
        ("99999d", "'--older-than': too long ago (length 6): at most 36500d; write a number and h, d or w"),
        ("999999w", "too long ago"),
        ("3000000d", "too long ago"),
    ],
)
def test_an_age_that_is_none_is_refused(run: Callable[..., Result], url: str, age: str, why: str) -> None:
    assert why in run("retain", "--older-than", age, "--store", url, status=2).output


def test_what_else_is_in_the_way_shows_in_the_status(run: Callable[..., Result], url: str) -> None:
    """As a verdict that saw a risk, in a log from elsewhere, and no hold after it."""
    from lastresort.application.ports import Append, NewEvent

    with opened(url) as chats:
        verdict = TurnAssessed(by=ASSESSOR, turn=2, verdict=Verdict.AMBIGUOUS, risk=Risk.IMMINENT)
        chats.store.append(Append("c-1", "x", "x", f"{YEAR}-01-02T00:00:00+00:00", (NewEvent("c-1", 4, verdict),)))
    assert "c-1: risk-holds" in run("retain", "--older-than", "30d", "--store", url, status=1).output


# --- A kill -----------------------------------------------------------------------------------------------------------

MANY = int(os.environ.get("LASTRESORT_RETAINED", "200"))
KILLS = int(os.environ.get("LASTRESORT_RETENTION_KILLS", "4"))
LOOKED_AT = 16  # conversations of which the words are read after a kill


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_retention_that_was_killed_goes_on(
    kind: str, request: pytest.FixtureRequest, clock: Clock, zygote: Zygote
) -> None:
    """By SIGKILL, again and again, at any moment: each conversation is whole or erased or goes on being erased.

    `LASTRESORT_RETAINED=100000 LASTRESORT_RETENTION_KILLS=100` is the size of docs/explanation/reliability.md.
    """
    url, random, kills, begun = new_url(kind, request), Random(kind), 0, time.monotonic()
    url = f"{url}&deadline=60" if kind == "postgresql" else url  # hundreds are told at a time
    with opened(url, clock=clock) as chats:
        tell(chats, MANY, clock)
        done(chats.chat("c-7").hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR))
        chats.list(limit=1)  # the directory catches up, as it would have day by day
        erased = Erased(chats)
        print(f"{kind}: {MANY:,} conversations told in {time.monotonic() - begun:.0f} s", flush=True)
        begun = time.monotonic()
        while True:
            # From the first erasures on, so that all kills fall into what there is to do.
            worker, before = zygote.spawn(retain, url, os.environ.get("LASTRESORT_MASTER_KEY")), len(erased.names)
            if kills < KILLS and erased.more_than(before + random.randrange(max(1, MANY // KILLS // 2)), worker):
                time.sleep(random.uniform(0, 0.05))  # the moment of the kill, drawn: nothing is waited for
                worker.send_signal(signal.SIGKILL)
            told, status = list(worker.rest()), worker.reap()
            if told:
                break  # it said that it was done, though it may have been killed after that
            assert status == -signal.SIGKILL
            kills += 1
            erased.look()
            for name in random.sample(erased.all, LOOKED_AT):
                words = chats.words(chats.tree_log(name))
                assert len(words) in ((0, 2) if name in erased.names else (2,)), "words are half gone"
        print(f"{kind}: {kills} kills; all of it took {time.monotonic() - begun:.0f} s")
        assert kills
        erased.look()
        assert sorted(erased.names) == sorted(name for name in erased.all if name != "c-7")
        assert chats.store.with_words(erased.all) == {"c-7"}
        assert [name for name in erased.all if chats.service.ports.vault.has_key(name)] == ["c-7"]
        assert another(chats).retain(30 * DAY).erased == ()
        assert audit(chats.store.entries()).findings == ()


class Erased:
    """The conversations whose erasure a log has, each of them once."""

    def __init__(self, chats: Conversations) -> None:
        self.all, self.names = [f"c-{number}" for number in range(MANY)], set[str]()
        self._store, self._read = chats.store, chats.store.head()

    def look(self) -> None:
        for one in self._store.log(after=self._read):
            self._read = one.position
            if isinstance(one.event, ContentErased):
                assert one.branch not in self.names, "it was erased twice"
                self.names.add(one.branch)

    def more_than(self, number: int, worker: Worker) -> bool:
        """Wait until there are more than that. A worker that is at its end makes no more."""
        until = time.monotonic() + 60
        while len(self.names) <= number and not worker.has_spoken() and time.monotonic() < until:
            self._store.wait(self._read, 0.05)
            self.look()
        return len(self.names) > number
