"""Ctrl-C while Python is still importing: exit status 130, and nothing to be seen."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lastresort.adapters.console.cli import main

from .cli_kit import LASTRESORT, run

__all__ = ["run"]

SLOW = """
import sys, time
try:
    print("importing", flush=True)
    time.sleep(60)
except BaseException:
    pass  # as some modules do around what they try to import
"""
"""A module that takes its time, and goes on whatever happens."""


def begun(*command: str | Path, heeding: bool = True, **environment: str) -> subprocess.Popen[str]:
    """Begin a command as a shell does that lets it be interrupted, or, in the background, keeps it from that."""
    deaf = signal.SIG_DFL if heeding else signal.SIG_IGN
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment}, preexec_fn=lambda: signal.signal(signal.SIGINT, deaf),
    )  # fmt: skip


@pytest.mark.parametrize("module", ["click", "pydantic"])
def test_nothing_is_to_be_seen_of_what_was_imported(tmp_path: Path, module: str) -> None:
    """Not even where a module would have swallowed it."""
    (tmp_path / f"{module}.py").write_text(SLOW)
    process = begun(LASTRESORT, "rules", PYTHONPATH=str(tmp_path))
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 130


@pytest.mark.parametrize("module", ["click", "pydantic", "lastresort.domain.rules", "lastresort.adapters.console.cli"])
def test_at_any_moment_it_ends_as_interrupted(tmp_path: Path, module: str) -> None:
    """As soon as a module was imported, whatever comes next; once the command has begun it is said, in one line."""
    command = [sys.executable, "-X", "importtime", "-c", "from lastresort.adapters.console import main; main()"]
    process = begun(*command, "chat", "--offline", "--store", f"sqlite:///{tmp_path}/log.db")
    assert process.stderr is not None
    for line in process.stderr:
        if line.split("|")[-1].strip() == module:
            break
    else:
        pytest.fail(f"{module} was not imported")
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(30) == 130
    assert [line for line in rest.splitlines() if not line.startswith("import time:")] in (
        [],
        ["lastresort: interrupted"],
    )
    process.communicate()


def test_a_job_that_is_deaf_to_it_stays_so(tmp_path: Path) -> None:
    """As a shell begins jobs in the background."""
    process = begun(
        LASTRESORT, "chat", "--offline", "--conversation", "c", "--store", f"sqlite:///{tmp_path}/log.db", heeding=False
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "branch c; /help tells the commands, /quit leaves\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate("Hello.\n", timeout=30)
    assert "user: Hello." in out
    assert (err, process.returncode) == ("", 0)


def test_so_it_does_while_the_command_is_read(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `click` would say that it was aborted, with the status of findings."""

    def interrupted(*_: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "parse_args", interrupted)
    assert run("rules", status=130).stderr == "lastresort: interrupted\n"
