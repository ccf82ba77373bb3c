"""Whole processes: what an import costs someone who embeds this, and the command line someone who types it."""

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

from .measure import Round, Work, at_most, value
from .place import absent


def work(*, imports: bool) -> Work:
    """Measure a process of each kind from start to end; with `imports` those of the peers that are installed too."""
    python = [sys.executable, "-c"]
    commands: dict[str, Sequence[str]] = {
        "import lastresort.domain": [*python, "import lastresort.domain"],
        "lastresort --help": [str(Path(sys.executable).with_name("lastresort")), "--help"],
        "import lastresort.adapters": [*python, "import lastresort.adapters"],
        "python alone": [*python, "pass"],
        "import eventsourcing.application": [*python, "import eventsourcing.application"],
    }
    for package, module in (("langgraph", "langgraph.graph"), ("openai-agents", "agents")):
        if imports and not absent((package,)):
            commands[f"import {module}"] = [*python, f"import {module}"]
    goals = {"import lastresort.domain": at_most(0.25), "lastresort --help": at_most(0.5)}
    lines = [value(name, "s", goals.get(name)) for name in commands]
    return Work("start", "whole processes", [partial(_process, *item) for item in commands.items()], lines)


def _process(name: str, command: Sequence[str]) -> Round:
    start = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {name: perf_counter() - start}
