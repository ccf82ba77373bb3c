"""Schedules of retention: who is due, by which schedule, and what a file of them may say."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result

from lastresort import AppealOutcome, Conversations, HoldReason
from lastresort.adapters import StoreError
from lastresort.adapters.upkeep.schedules import Schedule, read_schedules, retain_by
from lastresort.application.conversations import RETENTION

from .cli_kit import run
from .stores import OPERATOR, done, ended, new_url, opened, started, thanked
from .test_retention import DAY, Clock, clock

__all__ = ["clock", "run"]


@pytest.fixture
def chats(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Conversations]:
    with opened(new_url("sqlite", request), clock=clock) as found:
        ended(started(found, "ended"))
        thanked(started(found, "active"))
        appealed = ended(started(found, "appealed"))
        done(appealed.appeal("I did not mean it."))
        held = started(found, "held")
        thanked(held)
        done(held.hold("case", reason=HoldReason.LITIGATION, by=OPERATOR))
        clock.now += 10 * DAY
        done(appealed.decide_appeal(AppealOutcome.REJECTED, by=OPERATOR))
        yield found


def erased(chats: Conversations, *schedules: Schedule, dry_run: bool = False) -> dict[str, tuple[str, ...]]:
    done = retain_by(chats, schedules, RETENTION, dry_run=dry_run, progress=lambda count: None)
    return {name: tuple(sorted(one.erased)) for name, one in done.items()}


def test_since_when(chats: Conversations, clock: Clock) -> None:
    ending, appeal = Schedule("e", 5 * DAY, "ending"), Schedule("a", 5 * DAY, "appeal")
    assert erased(chats, ending, appeal, dry_run=True) == {"e": ("appealed", "ended"), "a": ()}
    assert erased(chats, appeal, ending._replace(policy="other"), dry_run=True) == {"a": (), "e": ()}
    clock.now += 6 * DAY
    assert erased(chats, appeal, ending, Schedule("all", DAY), dry_run=True) == {
        "a": ("appealed",), "e": ("ended",), "all": ("active",),
    }  # fmt: skip
    assert erased(chats, appeal, ending, Schedule("all", 400 * DAY)) == {"a": ("appealed",), "e": ("ended",), "all": ()}
    assert erased(chats, appeal, ending) == {"a": (), "e": ()}  # once
    assert erased(chats, Schedule("all", DAY)) == {"all": ("active",)}
    assert chats.words(chats.path("held"))


FILE = """
[[schedule]]
name = "ended"
after = "30d"
since = "ending"
policy = "default"

[[schedule]]
name = "silent"
after = "26w"
"""


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(FILE)
    assert read_schedules(tmp_path / "s.toml") == (
        Schedule("ended", timedelta(days=30), "ending", "default"),
        Schedule("silent", timedelta(weeks=26)),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "one or more"),
        ("[", "s.toml: "),
        ("schedule = 3", "one or more"),
        ("schedule = [3]", "schedule 1: it is not known"),
        ("[[schedule]]\nafter = '1d'", "name: a text"),
        ("[[schedule]]\nname = 'a'\nafter = 3", "after: a number and h"),
        ("[[schedule]]\nname = 'a'\nafter = '3d'\nsince = 'ever'", "since: one of last_turn, ending, appeal"),
        ("[[schedule]]\nname = 'a'\nafter = '3d'\npolicy = 3", "policy: the name"),
        (
            "[[schedule]]\nname = 'a'\nafter = '3d'\nuntil = 3",
            r"schedule 1: a key \(length 5\) is not known; these are: ",
        ),
        ("[[schedule]]\nname = 'a'\nafter = '3d'\n[[schedule]]\nname = 'a'\nafter = '3d'", "two schedules"),
    ],
)
def test_what_is_no_file_of_schedules(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(StoreError, match=why):
        read_schedules(tmp_path / "s.toml")


def test_on_the_command_line(run: Callable[..., Result], chats: Conversations, tmp_path: Path) -> None:
    chats.close()
    (tmp_path / "s.toml").write_text(FILE.replace("30d", "0h"))
    url = f"sqlite:///{tmp_path}/log.db"
    done = run("retain", "--schedules", str(tmp_path / "s.toml"), "--dry-run", "--store", url)
    assert "ended: 2 would be erased, 0 kept" in done.output
    done = run("retain", "--schedules", str(tmp_path / "s.toml"), "--json", "--store", url)
    told = json.loads(done.stdout)["schedules"]
    assert sorted(told["ended"]["erased"]) == ["appealed", "ended"]
    assert told["silent"]["refused"] == {"held": ["held-from-erasure"]}
    assert "name an age by --older-than, or a file" in run("retain", "--store", url, status=2).output
    assert "No such file" in run("retain", "--schedules", "none", "--store", url, status=2).output
