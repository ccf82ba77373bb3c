"""Three PostgreSQL under Patroni, whose leader is lost under load, disk and all: clients go on, and nothing is lost.

`LASTRESORT_FAULTS=full pytest tests/quorum -s`, or `python -m tests.quorum`, replaces the leader fifty times.
"""

import json
import subprocess
import sys

import pytest

from ..faults.sizes import ASKED, size
from ..stores import ROOT
from .network import missing

LACKS = missing()


@pytest.mark.skipif(LACKS is not None, reason=str(LACKS))
@pytest.mark.timeout(600 if ASKED == "ci" else 0)
def test_nothing_that_was_acknowledged_is_lost_with_the_leader_and_its_disk() -> None:
    """While clients write, read along, and send again what they got no answer to."""
    options = ["--brief", "--only", "disk_lost", "--clients", "1"] if ASKED == "ci" else []
    command = [sys.executable, "-m", "tests.quorum", "--count", str(size(1, 50)), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout[done.stdout.index("{") :])
    assert summary["found"] == []
    assert summary["replaced"] >= size(1, 50)
    assert summary["acknowledged"] > summary["replaced"]
