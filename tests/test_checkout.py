"""A checkout is run as it stands: no trick with paths, and an import that costs nothing until a name is used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .stores import ROOT

LOADED = "import json, sys; before = {*sys.modules}; import lastresort; print(json.dumps([*{*sys.modules} - before]))"


def test_the_tests_are_no_modules_of_their_own() -> None:
    """`stores`, `search` or `oracle` at the top level would stand for whatever somebody else calls so."""
    assert not {str(ROOT / "tests"), str(ROOT / "bench")} & {*sys.path}


@pytest.mark.parametrize("options", [("-P",), ()], ids=["pytest", "python -m pytest"])
def test_tests_are_collected_from_anywhere(options: tuple[str, ...], tmp_path: Path) -> None:
    """Those of the bench too, which is not installed. `pytest` alone is `python -P -m pytest`: no folder is added."""
    asked = ("--collect-only", "-q", "-n", "0", "-p", "no:cacheprovider", str(ROOT / "tests" / "test_bench.py"))
    command = [sys.executable, *options, "-m", "pytest", *asked]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" not in os.environ, reason="runs in a worker of pytest-xdist, as in `make test`"
)
@pytest.mark.xdist_group("heeded")
def test_groups_are_heeded(request: pytest.FixtureRequest) -> None:
    """Tests that share a server or a browser are to share a worker: else each worker starts its own, all at once."""
    assert request.node.nodeid.endswith("@heeded")


@pytest.mark.parametrize(
    "options", [("-c", "from lastresort import Policy"), ("-m", "lastresort")], ids=["import", "-m"]
)
def test_a_clone_that_hides_what_is_installed_says_so(options: tuple[str, ...]) -> None:
    """`-S`: with no package installed that would be found beside the folder `lastresort/`."""
    command = [sys.executable, "-S", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert "run Python in another folder, or install the clone by pip install -e" in done.stderr


def test_the_front_door_imports_the_standard_library_alone(tmp_path: Path) -> None:
    """Neither pydantic nor any room of ours: what a name needs is imported when the name is used."""
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded - {"lastresort"} <= sys.stdlib_module_names
    assert not [name for name in json.loads(done.stdout) if name.startswith("lastresort.")]
