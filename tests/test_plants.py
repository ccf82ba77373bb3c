"""Planted bugs: each still applies, and names tests that there are; a sample is planted, and so are some that fail."""

import ast
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from . import plants as runner
from .planted import Plant, plants, read

ROOT = runner.ROOT
PLANTS = plants()
UNNOTICED = (
    "a risk about others keeps a standing warning",
    "the audit does not ask ended branches for a risk of the tree",
)
"""What a reader planted, and every test passed."""

ROOMS = (
    "domain",
    "application",
    "projections",
    "adapters/stores",
    "adapters/vault",
    "adapters/claude",
    "adapters/upkeep",
)


def test_there_are_bugs_in_every_room() -> None:
    rooms = Counter(str(Path(plant.file).parent) for plant in PLANTS)
    assert rooms.total() >= 60
    assert all(rooms[room] >= 2 for room in ROOMS), rooms
    assert set(UNNOTICED) <= {plant.what for plant in PLANTS}
    assert not [what for what, times in Counter(plant.what for plant in PLANTS).items() if times > 1]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.what)
def test_a_plant_still_applies(plant: Plant) -> None:
    """What it changes is there once, what comes of it is Python, and the tests that are to notice it are there."""
    source = (ROOT / plant.file).read_text(encoding="utf-8")
    planted = plant.planted_in(source)
    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(source))
    for test in plant.tests:
        file, _, name = test.partition("::")
        assert name.partition("[")[0] in names_in(file), f"{test} is not there"


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own: here the project is imported already, from where it stands."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    command = [sys.executable, "-m", "tests.plants", "--jobs", "1", *arguments]
    return subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)


def test_a_sample_is_caught() -> None:
    """Those that nobody noticed. `make plants` plants all."""
    done = run(*(word for what in UNNOTICED for word in ("--only", what)))
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 plants, each caught by every test that it names" in done.stdout


PASSES = "tests/test_state_terms.py::test_a_risk_voids_wishes_and_hope"
CONTROLS = {
    "noticed by nobody": (f"{PASSES}\n--- domain/state.py\n-FOLD = 3\n+FOLD = 4", 1, "the tests pass with it"),
    "no Python": (f"{PASSES}\n--- domain/state.py\n-FOLD = 3\n+FOLD = (", 1, "the tests do not run with it"),
    "tests that are not there": ("tests/test_state.py::test_x\n--- domain/state.py\n-FOLD = 3\n+FOLD = 4", 2, "first"),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_a_plant_that_proves_nothing_is_told(control: str, tmp_path: Path) -> None:
    """Or else any list of bugs would do."""
    rest, status, said = CONTROLS[control]
    (tmp_path / "one.diff").write_text(f"# {control}\n# caught by {rest}\n", encoding="utf-8")
    done = run("--folder", str(tmp_path))
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert (ROOT / "domain" / "state.py").read_text(encoding="utf-8").count("FOLD = 3\n") == 1


def test_what_no_plant_says_is_refused() -> None:
    """A line of no known kind; nothing that is changed; what is not there, or twice."""
    with pytest.raises(ValueError, match="no line that begins like this one"):
        list(read("# x\n# caught by y\n--- z\nFOLD = 3\n"))
    with pytest.raises(ValueError, match="needs words, tests, a file and a change"):
        list(read("# x\n--- z\n-FOLD = 3\n+FOLD = 4\n"))
    (plant,) = read("# x\n# caught by y\n--- z\n-FOLD = 3\n+FOLD = 4\n")
    assert plant.planted_in("FOLD = 3\n") == "FOLD = 4\n"
    for source in ("", "FOLD = 3\nFOLD = 3\n"):
        with pytest.raises(ValueError, match=r"^x: the lines that it changes are in z . times, not once$"):
            plant.planted_in(source)


def test_words_that_no_plant_has_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["--only", "no plant has this"]) == 2
    assert "no plant has these words" in capsys.readouterr().err
