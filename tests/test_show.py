"""What `show` says of answers that were not whole: that they were stopped, broke off, or were overtaken."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from click.testing import Result

from lastresort.application.ports import Place

from .cli_kit import as_json, run
from .narrow import present
from .service_kit import done
from .stores import opened, started

__all__ = ["run"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with a conversation `c`: an answer that was stopped, one that was overtaken, one that is whole."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        chat = started(chats)
        chat.user_turn("How much?")
        chat.assistant_turn("The dose is", stop_reason="stopped")
        chat.user_turn("Tell me all.")
        chat.user_turn("Wait.")
        chats.service.annotator.keep_shown("c", Place("c", 5), "m-1", "First of all,\n    9    · ended")
        chat.assistant_turn("Gladly.", stop_reason="end_turn")
        done(chat.edit(5, "Never mind.", child="d"))
    return url


def test_an_answer_that_is_not_whole_bears_its_mark(run: Callable[..., Result], url: str) -> None:
    """Before its words, where no words can stand; what was overtaken stands where the user saw it, without a number."""
    lines = run("show", "c", "--store", url).stdout.splitlines()[2:]
    assert lines == [
        "    2  user: How much?",
        "    3  assistant (stopped): The dose is",
        "    4  user: Tell me all.",
        "       assistant (overtaken): First of all,",
        "       |     9    · ended",
        "    5  user: Wait.",
        "    6  assistant: Gladly.",
        "    7    · branch d opened after 4",
    ]
    piped = run("chat", "--offline", "--branch", "c", "--store", url, input="/quit\n").stdout
    assert "    3  assistant (stopped): The dose is\n" in piped
    assert "       assistant (overtaken): First of all,\n       |     9    · ended\n    5  user: Wait.\n" in piped


def test_the_time_is_shown_before_an_hour_adds_up(run: Callable[..., Result], tmp_path: Path) -> None:
    """Events that come every 59 minutes are told apart in time: no line is an hour later than the time above it."""
    moments = (datetime(2026, 12, 1, 9, tzinfo=UTC) + timedelta(minutes=59) * step for step in count())
    url = f"sqlite:///{tmp_path}/slow.db"
    with opened(url, clock=lambda: next(moments)) as chats:
        chat = started(chats)
        for _ in range(5):
            chat.user_turn("And?")
    shown = run("show", "c", "--store", url).stdout.splitlines()
    times = [line.strip() for line in shown if line.endswith(" UTC")]
    assert times == [f"2026-12-01 {at} UTC" for at in ("09:00", "10:58", "12:56")]
    assert shown.index(f"       {times[1]}") == 3


def test_programs_read_it_too(run: Callable[..., Result], url: str) -> None:
    """The reason with the answer; what was shown with the turn that overtook it, and with no other."""
    lines = as_json(run("show", "c", "--store", url, "--json"))
    assert [line["stop_reason"] for line in lines] == [None, None, "stopped", None, None, "end_turn", None]
    assert [line["overtook"] for line in lines if line["overtook"]] == [["First of all,\n    9    · ended"]]
    assert [line["overtook"] for line in as_json(run("show", "d", "--store", url, "--json"))] == [[]] * 6
    assert lines[4]["overtook"]
    with opened(url) as chats:
        assert [turn.stop_reason for turn in chats.chat("c").transcript().turns] == [
            None, "stopped", None, None, "end_turn",
        ]  # fmt: skip


def test_of_a_file_the_mark_is_shown_and_no_words(run: Callable[..., Result], url: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(run("export", url).stdout)
    shown = run("show", "c", "--file", "log.jsonl").stdout
    assert "    3  assistant (stopped): [a log holds no words]\n" in shown
    assert "overtaken" not in shown


def test_no_words_look_reversed_on_a_page(run: Callable[..., Result], url: str) -> None:
    """Someone who decides an appeal reads what was said, in the order in which it was written."""
    controls = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x9b"
    with opened(url, new_id=iter(map(str, count())).__next__) as chats:
        for control in controls:
            chats.chat("c").user_turn(f"I will {control}not do it.")
    run("show", "c", "--store", url, "--html", "out.html", "--words")
    told = Path("out.html").read_text(encoding="utf-8")
    assert told.count("I will \N{REPLACEMENT CHARACTER}not do it.") == len(controls)
    assert not set(controls) & set(told)


def test_what_is_damaged_of_it_is_named(run: Callable[..., Result], url: str) -> None:
    """The rest is shown, and the exit status is 1."""
    with opened(url) as chats:
        kept = present(chats.service.ports.annotations)
        (name,) = (name for name in kept.of("c") if "m-1" in name)
        chats.chat("c").describe(title="Another")
        kept.put("c", {name: present(kept.find("c", "title"))})
    result = run("show", "c", "--store", url, status=1)
    assert result.stderr.startswith("lastresort: damaged: ")
    assert "    5  user: Wait.\n" in result.stdout
