"""A simulation that was interrupted goes on where it was, whatever it was doing, and two at once play it once."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lastresort import ErasureCause, Policy
from lastresort.adapters.importers.inputs import BadInput
from lastresort.adapters.importers.log_file import appends_of
from lastresort.adapters.importers.simulate import Progress, Simulation
from lastresort.adapters.importers.transcripts import Transcript
from lastresort.domain.events import RecordedEvent
from lastresort.domain.values import Rating
from lastresort.projections import audit

from .at_terminal import heed_interrupts
from .cli_kit import HARM, LASTRESORT, shell
from .stores import OPERATOR, opened

FINE = {"verdict": "productive", "risk": "none"}


def user(text: str = "Well?", **more: Any) -> dict[str, Any]:
    return {"role": "user", "text": text, **more}


def transcript(*turns: dict[str, Any], conversation: str = "c", account: str | None = "a") -> Transcript:
    return Transcript.model_validate({"conversation": conversation, "account": account, "turns": turns})


def everything(risk: str = "none") -> Transcript:
    """Return an ending, branches from it, a hold, a request: each way in which something is written."""
    return transcript(
        *[user(f"You bucket, {n} times over.", **HARM) for n in range(4)],
        user("You bucket, four times over.", **{**HARM, "risk": risk}),
        user("Sorry. Where were we?", **FINE, edits=2),
        {"role": "assistant", "text": "At the beginning."},
        user("I cannot go on.", risk="possible", edits=5),
        user("Please end it.", **FINE, asks_to_end=True, edits=0),
        user("Yes.", **FINE, confirms_end=True),
        user("Anybody?", risk="imminent"),
    )


EVERYTHING = everything()
IN_DOUBT = everything(risk="unknown")
"""The same, with an attempt to end that is refused."""


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    """A simulation into an empty store in memory."""
    made = new()
    yield made
    made.conversations.close()


def new(url: str = "memory:", **terms: Any) -> Simulation:
    return Simulation(url, **{"model": "claude-opus-4-1", "policy": Policy.default(), **terms})


def log_lines(simulation: Simulation) -> list[tuple[str, int, str, str]]:
    return [(e.branch, e.version, e.kind, e.command_id) for e in simulation.conversations.store.log()]


def commands(simulation: Simulation) -> list[list[RecordedEvent]]:
    """The log, by what wrote it."""
    found: list[list[RecordedEvent]] = []
    for entry in simulation.conversations.store.log():
        if not found or found[-1][-1].command_id != entry.command_id:
            found.append([])
        found[-1].append(entry)
    return found


def interrupted(whole: list[list[RecordedEvent]], after: int) -> Simulation:
    """A simulation into a store in which the first commands of another have been carried out."""
    made = new()
    made.conversations.store.import_log(appends_of(entry for command in whole[:after] for entry in command))
    return made


@pytest.mark.parametrize(("script", "kind"), [(EVERYTHING, "ConversationEnded"), (IN_DOUBT, "AttemptRefused")])
def test_it_goes_on_after_whatever_was_recorded_last(script: Transcript, kind: str) -> None:
    """Cut off after each command: what comes of it is what would have come of it, and nothing is recorded twice."""
    simulation = new()
    simulation.play(script)
    whole = commands(simulation)
    kinds = {entry.kind for command in whole for entry in command}
    assert {"BranchOpened", "RiskRaised", "EndRequested", "HopeExhausted", kind} <= kinds
    for after in range(1, len(whole)):
        again = interrupted(whole, after)
        assert again.check([script]) == {"c": Progress.PART}
        assert len(log_lines(again)) == sum(map(len, whole[:after]))  # a look writes nothing
        again.play(script)
        assert log_lines(again) == log_lines(simulation)
        assert audit(again.conversations.store.entries()).findings == ()
        assert again.check([script]) == {"c": Progress.WHOLE}
        again.conversations.close()


def test_what_was_played_whole_is_not_played_again(simulation: Simulation) -> None:
    """Nor is it, where somebody went on with it in another way; what is not there yet is played."""
    simulation.play(EVERYTHING)
    simulation.conversations.chat("c").feedback(Rating.DOWN, "Why?")
    before = log_lines(simulation)
    other = transcript(user(**FINE), conversation="d")
    assert simulation.check([EVERYTHING, other]) == {"c": Progress.WHOLE, "d": Progress.NOTHING}
    simulation.play(EVERYTHING)
    assert log_lines(simulation) == before
    simulation.play(other)
    assert simulation.figures([other]).conversations == 1
    assert simulation.check([other]) == {"d": Progress.WHOLE}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(transcript(user("Hello.", **FINE), user("Now what?", **FINE)), id="other words"),
        pytest.param(transcript(user("Hello.", **FINE), user("And now?", **HARM)), id="another verdict"),
        pytest.param(transcript(user("Hello.", **FINE), user("And now?", **FINE), account="b"), id="another account"),
    ],
)
def test_another_conversation_of_that_name_is_refused(simulation: Simulation, other: Transcript) -> None:
    """Before anything is played, and again if it comes up only then."""
    simulation.play(transcript(user("Hello.", **FINE), user("And now?", **FINE)))
    before = log_lines(simulation)
    for play in (lambda: simulation.check([other]), lambda: simulation.play(other)):
        with pytest.raises(BadInput, match=r"^conversation c is in this store already, and was not played from this"):
            play()
    assert log_lines(simulation) == before


def test_other_terms_are_refused_and_so_is_what_somebody_else_went_on_with(simulation: Simulation) -> None:
    """What was played in part, and then went on otherwise, cannot be gone on with."""
    short, long = transcript(user(**FINE)), transcript(user(**FINE), user("Go on.", **FINE))
    simulation.play(short)
    assert simulation.check([long]) == {"c": Progress.PART}
    simulation._model = "another"
    with pytest.raises(BadInput, match="use another store"):
        simulation.check([short])
    simulation._model = "claude-opus-4-1"
    simulation.conversations.chat("c").leave()
    for play in (lambda: simulation.check([long]), lambda: simulation.play(long)):
        with pytest.raises(BadInput, match="use another store"):
            play()


def test_words_that_were_erased_are_not_missed(simulation: Simulation) -> None:
    """Whatever they were: they cannot be compared, and do not come back."""
    simulation.play(EVERYTHING)
    simulation.conversations.erase_conversation("c", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
    assert simulation.check([EVERYTHING]) == {"c": Progress.WHOLE}
    simulation.play(EVERYTHING)
    assert simulation.conversations.words(simulation.conversations.path("c")) == {}


# --- As a user runs it ------------------------------------------------------------------------------------------------


def many(path: Path, count: int) -> Path:
    """A file of conversations, each of which ends."""
    turns = [{"role": "user", "text": f"You bucket, {n} times over.", **HARM} for n in range(5)]
    lines = (json.dumps({"conversation": f"m-{n}", "account": "a", "turns": turns}) for n in range(count))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def begun(folder: Path) -> subprocess.Popen[str]:
    """A simulation in a process of its own, when it has played a little."""
    process = subprocess.Popen(
        [LASTRESORT, "simulate", many(folder / "in.jsonl", 60), "--store", "sqlite:///log.db"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "300"},
        preexec_fn=heed_interrupts,
    )  # fmt: skip
    until = time.monotonic() + 60
    while not ((folder / "log.db-wal").exists() and (folder / "log.db-wal").stat().st_size > 60_000):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_simulation_that_is_stopped_is_gone_on_with(tmp_path: Path, number: int, status: int) -> None:
    """By Ctrl-C, which is answered with what was kept, or by a kill; the same command does the rest."""
    process = begun(tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "Traceback" not in err
    if number == signal.SIGINT:
        assert "of 60 conversations are played whole, and what was recorded of the next one is kept" in err
    out, err = shell(tmp_path, "simulate", "in.jsonl", "--store", "sqlite:///log.db", "--json")
    assert "in this store already: " in err
    assert json.loads(out)["endings"] == {"last_resort": 60}
    assert json.loads(out)["user_turns"] == 300
    shell(tmp_path, "audit", "sqlite:///log.db")


def test_two_at_once_play_it_once(tmp_path: Path) -> None:
    """In one store, no matter who is first with which of its events."""
    many(tmp_path / "in.jsonl", 8)
    # Two seconds to wait for the other one, which is the usual, are few on a busy machine.
    command = [str(LASTRESORT), "simulate", "in.jsonl", "--store", "sqlite:///log.db?deadline=60", "--json"]
    both = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert json.loads(out)["user_turns"] == 40
    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        assert audit(chats.store.entries()).findings == ()
