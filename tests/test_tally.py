"""What `simulate` says of a run, on standard error: how much was recorded, in what time, and who came in between."""

from pathlib import Path

import pytest

from lastresort.adapters.console.cli import main
from lastresort.adapters.importers.tally import Tally


def test_a_tally_adds_up() -> None:
    tally = Tally()
    tally.committed("TakeUserTurn", ("UserTurnTaken",), 0.25)
    tally.refused("EndConversation", ("warned-first",), 0.5)
    tally.committed("Leave", ("UserLeft",), 0.25)
    assert str(tally) == "2 commands recorded and 1 refused in 1.0 s, the slowest in 500.0 ms"
    tally.refused("TakeUserTurn", ("ended-is-final",), 0.1)
    assert (tally.refusals, tally.late) == (1, 1)
    assert str(tally).endswith("; handed back, as they came after an ending: 1")
    tally.contended("Leave", 1, 0.1)
    assert str(tally).endswith("; others wrote first: 1")


def test_simulate_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once: what is in the store already is not recorded again."""
    file = Path(__file__).parent.parent / "examples" / "ends-as-last-resort.jsonl"
    url = f"sqlite:///{tmp_path}/store.db"
    for expected in (1, 0):
        with pytest.raises(SystemExit, match=r"^0$"):
            main(["simulate", str(file), "--store", url])
        out, err = capsys.readouterr()
        assert err.count("25 commands recorded and 0 refused in ") == expected
        assert err.count("handed back, as they came after an ending: 1") == expected
        assert "commands recorded" not in out
