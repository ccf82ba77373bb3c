"""Clients in JavaScript and TypeScript: what is installed for them, and how they are run."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .stores import ROOT

FOLDER = ROOT / "tests" / "node"
INSTALLED = FOLDER / "node_modules"
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not INSTALLED.is_dir(),
    reason="node, or what `npm ci --prefix tests/node --ignore-scripts` installs, is not here",
)


def run_node(script: Path, **environment: str) -> Any:
    """Run a script, and return the JSON that it prints last."""
    done = subprocess.run(
        ["node", str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def run_tool(name: str, *arguments: str, cwd: Path) -> None:
    """Run a program that npm installed."""
    done = subprocess.run(
        ["node", str(INSTALLED / ".bin" / name), *arguments], capture_output=True, text=True, timeout=120, check=False,
        cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
