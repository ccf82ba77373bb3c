"""The bench does the work that it says it times. What it says of the time, no test asks.

Everything runs at tiny sizes; the peers that are not installed are skipped.
"""

import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bench import (
    branching,
    claude,
    contenders,
    core,
    hosts,
    importing,
    listing,
    long,
    peers,
    replay,
    report,
    starting,
    supposing,
    telemetry,
    turns,
)
from bench.diverse import diverse
from bench.measure import Figure, Work, at_least, at_most, measure, ratio, value
from bench.place import Place, absent, describe
from bench.stories import tell_turns
from lastresort.domain.events import AssistantTurnTaken, UserTurnTaken

from .stores import ROOT

ON_SQLITE: dict[str, Callable[[Any], contenders.Contender]] = {
    "ours": contenders.ours_on_sqlite,
    "plain": contenders.PlainSQLite,
    "sealed": contenders.SealedSQLite,
    "eventsourcing": contenders.library_on_sqlite,
    "langgraph": peers.langgraph_on_sqlite,
    "openai-agents": peers.Session,
}
ON_POSTGRES: dict[str, Callable[[Any], contenders.Contender]] = {
    "ours": contenders.ours_on_postgres,
    "plain": contenders.PlainPostgres,
    "eventsourcing": contenders.library_on_postgres,
    "langgraph": peers.langgraph_on_postgres,
}
NEEDS = {
    "langgraph": ("langgraph", "langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres"),
    "openai-agents": ("openai-agents",),
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder, and no server."""
    return Place(tmp_path, None)


@pytest.fixture
def open_ones() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def opened(opening: Callable[[Any], contenders.Contender], name: str, at: object, open_ones: ExitStack) -> Any:
    """Open a contender until the end of the test, if it is installed."""
    if missing := absent(NEEDS.get(name, ())):
        pytest.skip(f"not installed: {', '.join(missing)}")
    contender = opening(at)
    open_ones.callback(contender.close)
    return contender


# --- The contenders ---------------------------------------------------------------------------------------------------


def keeps_what_is_said(contender: contenders.Contender) -> None:
    one, other = contenders.new_name(), contenders.new_name()
    for name in (one, other):
        contender.start(name)
    for _ in range(3):
        contender.exchange(one)
    contender.exchange(other)
    assert list(contender.load(one)) == [contenders.WORDS] * 6
    assert list(contender.load(other)) == [contenders.WORDS] * 2


@pytest.mark.parametrize("name", ON_SQLITE)
def test_a_contender_on_sqlite_keeps_what_is_said(name: str, tmp_path: Path, open_ones: ExitStack) -> None:
    keeps_what_is_said(opened(ON_SQLITE[name], name, tmp_path / "log.db", open_ones))


@pytest.mark.xdist_group("postgresql")
@pytest.mark.parametrize("name", ON_POSTGRES)
def test_a_contender_on_postgresql_keeps_what_is_said(
    name: str, postgresql: Callable[[], str], open_ones: ExitStack
) -> None:
    keeps_what_is_said(opened(ON_POSTGRES[name], name, postgresql(), open_ones))


@pytest.mark.parametrize("name", ["plain", "langgraph", "openai-agents"])
def test_a_conversation_that_was_filled_holds_as_many_turns(name: str, tmp_path: Path, open_ones: ExitStack) -> None:
    contender = opened(ON_SQLITE[name], name, tmp_path / "log.db", open_ones)
    contender.fill("c", 12)
    assert list(contender.load("c")) == [contenders.WORDS] * 12


def test_a_turn_of_ours_is_an_event_of_its_own_and_one_of_the_plain_driver_a_row(
    tmp_path: Path, open_ones: ExitStack
) -> None:
    ours = opened(contenders.ours_on_sqlite, "ours", tmp_path / "ours.db", open_ones)
    plain = opened(contenders.PlainSQLite, "plain", tmp_path / "plain.db", open_ones)
    said: list[str] = []
    plain.connection.set_trace_callback(said.append)
    for contender in (ours, plain):
        contender.start("c")
        contender.exchange("c")
    kinds = [recorded.kind for recorded in ours.conversations.store.log()]
    assert kinds == ["ConversationStarted", UserTurnTaken.kind, AssistantTurnTaken.kind]
    assert [statement.split()[0] for statement in said] == ["BEGIN", "INSERT", "COMMIT"] * 2
    with sqlite3.connect(tmp_path / "plain.db") as connection:
        assert connection.execute("SELECT role, words FROM turns").fetchall() == [
            (role, contenders.WORDS) for role in contenders.ROLES
        ]
    connection.close()


@pytest.mark.parametrize(("setting", "number"), [("FULL", 2), ("NORMAL", 1)])
def test_the_plain_driver_is_as_durable_as_asked(
    setting: str, number: int, tmp_path: Path, open_ones: ExitStack
) -> None:
    plain = contenders.PlainSQLite(tmp_path / "log.db", setting)
    open_ones.callback(plain.close)
    assert plain.connection.execute("PRAGMA synchronous").fetchone() == (number,)
    assert plain.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_others_are_as_durable_as_the_plain_driver(tmp_path: Path, open_ones: ExitStack) -> None:
    library = opened(contenders.library_on_sqlite, "eventsourcing", tmp_path / "library.db", open_ones)
    with library.app.recorder.datastore.get_connection(commit=False) as connection:
        assert tuple(connection._sqlite_conn.execute("PRAGMA synchronous").fetchone()) == (2,)
    session = opened(peers.Session, "openai-agents", tmp_path / "session.db", open_ones)
    session.start("c")
    assert session._sessions["c"]._get_connection().execute("PRAGMA synchronous").fetchone() == (2,)


# --- The works --------------------------------------------------------------------------------------------------------


def figures(work: Work) -> dict[str, float]:
    """Measure a round, and check that every figure came to something."""
    found = {figure.name: figure.median for figure in measure(work, 1)}
    assert list(found) == [line.name for line in work.lines]
    assert all(math.isfinite(number) and number > 0 for number in found.values()), found
    return found


def test_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, small in (("QUESTIONS", 4), ("PASSES", 1), ("EVENTS", 20)):
        monkeypatch.setattr(core, name, small)
    figures(core.work())


def test_whole_processes() -> None:
    figures(starting.work(imports=False))


@pytest.mark.xdist_group("postgresql")
def test_w1__every_store_holds_every_turn(tmp_path: Path, postgresql: Callable[[], str]) -> None:
    """Which W1 itself checks, each round: see below."""
    found = figures(turns.work(Place(tmp_path, postgresql), conversations=2))
    assert found["bytes on disk a turn"] > len(contenders.WORDS)
    assert list(tmp_path.iterdir()) == [], "stores are left behind"


def test_w1_notices_a_contender_that_loses_turns(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(contenders.PlainSQLite):
        def exchange(self, conversation: str) -> None:
            if not self.rows(conversation):
                super().exchange(conversation)

    monkeypatch.setattr(contenders, "PlainSQLite", Forgetful)
    with pytest.raises(AssertionError, match=r"plain sqlite3, (FULL|NORMAL) has lost turns"):
        measure(turns.work(place, conversations=2), 1)


def test_w1_counts_the_bytes_of_log_and_keys(tmp_path: Path, open_ones: ExitStack) -> None:
    ours = opened(contenders.ours_on_sqlite, "ours", tmp_path / "log.db", open_ones)
    ours.start("c")
    sizes = turns.size(tmp_path / "log.db")
    assert sum(sizes.values()) == sum((tmp_path / name).stat().st_size for name in ("log.db", "log.db-keys"))


def test_w2(place: Place, open_ones: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, small in (("EXCHANGES", 2), ("MIDDLE", 14), ("READ_ALOUD", 20), ("COLD", 30)):
        monkeypatch.setattr(long, name, small)
    figures(long.work(place, (14, 16), open_ones))


def test_w3(place: Place, open_ones: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, small in (("BRANCHES", 2), ("COUNTED", 30), ("MIDDLE_OF", 12)):
        monkeypatch.setattr(branching, name, small)
    figures(branching.work(place, (6, 12), open_ones))


@pytest.mark.parametrize("length", [1, 2, 11, 12])
def test_w3_branches_at_a_turn_of_the_user(length: int, tmp_path: Path, open_ones: ExitStack) -> None:
    ours = opened(contenders.ours_on_sqlite, "ours", tmp_path / "log.db", open_ones)
    name = tell_turns(ours.conversations, length)
    assert ours.conversations.path(name)[branching._middle(length) - 1].kind == UserTurnTaken.kind


def test_w4(place: Place, open_ones: ExitStack) -> None:
    figures(replay.work(place, 150, open_ones))


def test_a_log_in_which_everything_happens(place: Place, open_ones: ExitStack) -> None:
    """The same from the same seed, but for the seals, and lawful: the bench stops where its audit finds something."""
    figures(replay.work(place, 300, open_ones, everything=True))

    def told(seed: int) -> list[tuple[str, list[str]]]:
        return [(append.command_id, [one.event.kind for one in append.events]) for append in diverse(100, seed)]

    assert told(3) == told(3) != told(4)


def test_what_if() -> None:
    figures(supposing.work(100))


def test_import(place: Place) -> None:
    figures(importing.work(place, 300))


def test_claude(place: Place, open_ones: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lastresort.adapters.claude", reason="there is no adapter for Claude")
    monkeypatch.setattr(claude, "SENT", 2)
    monkeypatch.setattr(claude, "LENGTHS", (2, 6))
    figures(claude.work(place, open_ones))


@pytest.mark.filterwarnings("ignore:Item:UserWarning")  # pydantic's, of types of LiteLLM's
def test_hosts(open_ones: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "TURNS", 1)
    work = hosts.work(open_ones)
    assert [line.name for line in work.lines] == [figure.name for figure in measure(work, 1)]


def test_telemetry(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")
    monkeypatch.setattr(telemetry, "EXCHANGES", 2)
    monkeypatch.setattr(telemetry, "COMMITS", 20)
    figures(telemetry.work(place))


def test_listing(place: Place, open_ones: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    figures(listing.work(place, 40, 60, open_ones))


# --- Rounds -----------------------------------------------------------------------------------------------------------


def test_the_first_round_is_not_counted_and_the_order_turns_about() -> None:
    said: list[str] = []
    rates = iter([1.0, 100.0, 2.0, 3.0, 10.0])

    def one() -> dict[str, float]:
        said.append("one")
        return {"one": next(rates)}

    def other() -> dict[str, float]:
        said.append("other")
        return {"other": 2.0}

    work = Work("W", "", [one, other], [value("one", "turns/s"), ratio("half", "one", "other", at_least(2))])
    plain, half = measure(work, 4)
    assert said == ["one", "other", "other", "one"] * 2 + ["one", "other"]
    assert plain.rounds == (100, 2, 3, 10)
    assert half.rounds == (50, 1, 1.5, 5)
    assert (plain.median, half.median, half.met, plain.met) == (6.5, 3.25, True, None)


@pytest.mark.parametrize(
    ("goal", "number", "met"),
    [(at_least(2), 2, True), (at_least(2), 1.99, False), (at_most(2), 2, True), (at_most(2), 2.01, False)],
)
def test_a_goal_is_met_or_missed(goal: Any, number: float, met: bool) -> None:
    assert Figure("W", "f", "ms", (number,), goal).met is met


# --- The program ------------------------------------------------------------------------------------------------------


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_it_prints_a_table_and_writes_every_round(tmp_path: Path) -> None:
    done = bench("--only", "core", "--rounds", "2", "--json", str(tmp_path / "all.json"), "--folder", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "decide and evolve a turn" in done.stdout
    assert "at least 200,000: " in done.stdout
    assert "core: round 2 of 2" in done.stderr
    told = json.loads((tmp_path / "all.json").read_text())
    assert set(told["machine"]) >= {"cpu", "cores", "python", "file system", "sqlite"}
    decided = told["figures"][0]
    assert (len(decided["rounds"]), decided["goal"]) == (2, {"bound": 200_000, "at_least": True})
    assert decided["met"] is (decided["median"] >= 200_000)
    assert [path.name for path in tmp_path.iterdir()] == ["all.json"], "something is left behind"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds 0: measure at least once"),
        (["--only", "W1,W9"], "--only W9: choose from core, start, W1"),
        (["--folder", "nowhere"], "--folder nowhere: there is no such folder"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_measured(arguments: list[str], message: str) -> None:
    done = bench(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    asked = [Figure("W1", "ratio", "ratio", (0.5, 0.6, 0.9), at_least(0.75)), Figure("W1", "rate", "turns/s", (1.0,))]
    report.plot(tmp_path / "goals.svg", asked, "a machine")
    assert "ratio" in (tmp_path / "goals.svg").read_text()


def test_the_machine_is_described(place: Place) -> None:
    assert all(str(said) for said in describe(place).values())
