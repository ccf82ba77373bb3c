"""The offline chat in a real terminal: keys, Ctrl-C, a window that is resized, a terminal that is closed."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lastresort.adapters.turns.partner import REDIRECTION, REPLY
from lastresort.projections import audit, views

from .at_terminal import Typist, at_a_terminal
from .service_kit import done
from .stores import opened
from .test_terminal import Talk, url

__all__ = ["url"]


@contextmanager
def offline(url: str, *, options: tuple[str, ...] = (), **how: Any) -> Iterator[Typist]:
    with at_a_terminal("chat", "--offline", "--conversation", "c", "--store", url, *options, **how) as typist:
        yield typist


def test_a_chat_at_a_terminal(url: str) -> None:
    """It prompts, shows colours, redirects, and says why; Ctrl-D leaves."""
    with offline(url) as typist:
        typist.say("/label harmful abuse 2 none")
        typist.say("You bucket.")
        typist.say("/why")
        typist.wait_for("redirected-first")
        typist.wait_until(typist.is_asked)
        row = typist.rows.index(next(row for row in typist.rows if "redirects the harm in turn 2" in row))
        assert "brown" in {cell.fg for cell in typist.screen.buffer[row].values()}  # what the emulator calls yellow
        typist.type("\x04")
        shown = typist.left()
    assert "    2  user: You bucket.\n    3    · turn 2 judged harmful (abuse, severity 2)" in shown
    assert f"    4  assistant: {REDIRECTION}\n" in shown
    assert "> /label harmful abuse 2 none\nthe next turn will be judged so" in shown
    assert "you>" not in shown  # what was typed is shown as it is in the log, and nowhere else
    assert Talk(url, "").kinds()[-1] == "UserLeft"


def test_keys_edit_recall_and_complete_a_line(url: str) -> None:
    """As everywhere: arrows, Home, deletion, the line before, and Tab for a command."""
    up, left, home, delete_to_end = "\x1b[A", "\x1b[D", "\x01", "\x0b"
    with offline(url) as typist:
        typist.say("I am here.")
        typist.wait_until(typist.is_asked)
        typist.type(f"{up}{left}{delete_to_end} now?{home}So ")
        typist.wait_for("you> So I am here now?")
        typist.type("\r")
        typist.wait_for("user: So I am here now?")
        typist.wait_until(typist.is_asked)
        typist.type("/polic\t")
        typist.wait_for("you> /policy")
        typist.type(" 2025-08\r")
        typist.wait_for("policy is now 2025-08")
        typist.wait_until(typist.is_asked)
        typist.type("\x04")
        typist.left()
    assert [line for line in Talk(url, "").said() if line.startswith("u:")] == ["u: I am here.", "u: So I am here now?"]


def test_control_c_clears_the_line_and_leaves_at_an_empty_one(url: str) -> None:
    """The second time, as a departure that locks nothing, and with no traceback."""
    with offline(url) as typist:
        typist.say("Hello.")
        typist.wait_for(REPLY)
        typist.wait_until(typist.is_asked)
        typist.type("I was about to")
        typist.wait_for("you> I was about to")
        typist.type("\x03")
        typist.wait_until(typist.is_asked)
        typist.type("\x03")
        typist.wait_for("Ctrl-C once more, or Ctrl-D, leaves the chat")
        typist.wait_until(typist.is_asked)
        typist.type("\x03")
        assert "Traceback" not in typist.left()
    talk = Talk(url, "")
    assert talk.said() == ["u: Hello.", f"a: {REPLY}"]
    assert talk.kinds()[-1] == "UserLeft"


def test_a_window_that_is_resized_shows_the_line_whole(url: str) -> None:
    """Wrapped again while it is typed; and what is said is what was typed."""
    line = "This is a line that is longer than the window is wide, once somebody has pulled at its corner."
    with offline(url, columns=100, rows=40) as typist:
        typist.wait_until(typist.is_asked)
        typist.type(line[:59])
        typist.wait_for(line[:59])
        typist.resize(40, 40)
        typist.type(line[59:])
        typist.wait_until(lambda: line in typist.unwrapped)
        typist.resize(120, 40)
        typist.type("!")
        typist.wait_until(lambda: f"{line}!" in typist.shown)
        typist.type("\r")
        typist.wait_until(typist.is_asked)
        assert f"    2  user: {line}!" in typist.shown
        typist.type("\x04")
        typist.left()
    assert Talk(url, "").said()[0] == f"u: {line}!"


def test_what_was_said_can_be_edited_in_place(url: str) -> None:
    """`/edit` with a version alone brings the words back to the prompt."""
    with offline(url) as typist:
        typist.say("Hello there.")
        typist.say("/edit 2")
        typist.wait_for("you> /edit 2 Hello there.")
        typist.type("\x7f again.\r")
        typist.wait_for("user: Hello there again.")
        typist.wait_until(typist.is_asked)
        typist.say("/edit 4")
        typist.wait_for("not done: what stands at 4 is not a turn of yours")
        typist.wait_until(typist.is_asked)
        typist.type("\x04")
        typist.left()
    talk = Talk(url, "")
    assert talk.said(talk.forks()[0])[0] == "u: Hello there again."


def test_words_after_the_ending_are_handed_back(url: str) -> None:
    """To an edit of the last turn; they do not stand in the way of the next line."""
    with offline(url) as typist:
        typist.say("/end")
        typist.say("/confirm")
        typist.wait_for("you (ended)>")
        assert "/new starts another conversation" in typist.shown
        typist.say("Wait, one more thing.")
        typist.wait_for("`/edit 6` says it on a new branch")
        assert "> Wait, one more thing." in typist.rows
        typist.wait_until(typist.is_asked)
        assert typist.rows[-1] == "you (ended)>"
        typist.say("/edit 6")
        typist.wait_for("user: Wait, one more thing.")
        typist.wait_until(typist.is_asked)
        assert typist.rows[-1] == "you>"
        typist.say("/new")
        typist.wait_for("conversation")
        typist.wait_until(typist.is_asked)
        typist.type("\x04")
        typist.left()
    with opened(url) as chats:
        assert len({row.conversation for row in views(chats.store.log()).all}) == 2


def test_a_hold_is_seen_at_the_prompt(url: str) -> None:
    """As long as it lasts."""
    with offline(url) as typist:
        typist.say("Hello.")
        typist.say("/risk")
        typist.wait_for("you (hold)>")
        typist.say("/end")
        typist.wait_for("while somebody may be at risk, nothing ends; /quit leaves, and locks nothing")
        typist.say("/clear")
        typist.wait_until(lambda: typist.rows[-1] == "you>")
        typist.type("\x04")
        typist.left()


def test_what_goes_to_a_file_is_the_transcript_alone(url: str, tmp_path: Path) -> None:
    """In JSON, with the prompt and what is told at the terminal."""
    with (tmp_path / "out").open("wb") as out, offline(url, options=("--json",), stdout=out) as typist:
        typist.say("Hello.")
        typist.say("/nonsense")
        typist.wait_for("not done: unknown command (length 8)")
        typist.wait_until(typist.is_asked)
        typist.type("\x04")
        typist.left()
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [line["text"] for line in lines if line["speaker"]] == ["Hello.", REPLY]


def test_a_terminal_that_is_closed_leaves_a_whole_log(url: str) -> None:
    """The window is shut in the middle of a line."""
    with offline(url) as typist:
        typist.say("Hello.")
        typist.wait_for(REPLY)
        typist.wait_until(typist.is_asked)
        typist.type("I was about to")
        typist.process.send_signal(signal.SIGHUP)
        assert typist.process.wait(30) == -signal.SIGHUP
    with opened(url) as chats:
        assert audit(chats.store.entries()).findings == ()
        assert done(chats.chat("c").user_turn("Back again.")).version == 4
