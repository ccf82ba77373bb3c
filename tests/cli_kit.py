"""What the tests of the command line share: a store to look at, and ways to run a command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lastresort import PROFILES
from lastresort.adapters.console.cli import main

from .stores import abused, done, ended, ended_on_request, opened, started

LASTRESORT = Path(sys.executable).with_name("lastresort")
HARM = {"verdict": "harmful", "category": "abuse", "severity": 2, "risk": "none"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with an ended conversation `c`, its branch `d`, a request `other` that ended, and an active `e`."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        chat = ended(started(chats))
        done(chat.edit(10, "Shall we start again?", child="d"))
        ended_on_request(started(chats, "other"))
        abused(started(chats, "e", policy=PROFILES["2026-07"]))
    return url


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LASTRESORT_STORE", raising=False)

    def run(*arguments: object, status: int | None = 0, **options: Any) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert status is None or result.exit_code == status, result.output
        return result

    return run


def shell(folder: Path, *arguments: object, status: int = 0, stdin: str = "", **environment: str) -> tuple[str, str]:
    """Run the console script as a user does, in a process of its own."""
    done = subprocess.run(
        [LASTRESORT, *map(str, arguments)],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def write(path: Path, *objects: object) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in objects))
    return path


def transcripts(path: Path) -> Path:
    return write(
        path,
        {"conversation": "t-1", "account": "a", "turns": [{"role": "user", "text": "You bucket.", **HARM}] * 5},
        {"conversation": "t-2", "account": None, "turns": [{"role": "user", "text": "Hello."}]},
    )


def wishes(path: Path) -> Path:
    """A user who asks to end and confirms it, and nobody who looked at the risk: the law refuses."""
    said: list[dict[str, Any]] = [{"asks_to_end": True}, {"verdict": "productive", "confirms_end": True}]
    turns = [{"role": "user", "text": "Please end this.", **one} for one in said]
    return write(path, {"conversation": "t-1", "account": "a", "turns": turns})


def as_json(result: Result) -> Any:
    """Read what was printed: one line of JSON, and nothing else."""
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)
