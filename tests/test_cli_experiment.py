"""`lastresort experiment`: a report for people in 80 columns, JSON for programs, and nothing is written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lastresort import Conversations, Mode, Policy

from .cli_kit import as_json, run
from .stores import MODEL, abused, counting, ended, opened, redirected, thanked

__all__ = ["run"]

Run = Callable[..., Result]
FIVE = Policy(name="five", min_failed_redirections=5)


def begin(chats: Conversations, arm: str, account: str | None, **options: object) -> None:
    chat = chats.start(model=MODEL.id, arm=arm, account=account, **options)  # type: ignore[arg-type]  # of `start`
    if arm.endswith("control"):
        ended(chat)
        return
    abused(chat)
    redirected(chat)
    thanked(chat)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Eight accounts in each of two arms; and what an experiment ought not to have."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        for number in range(8):
            begin(chats, "patience:control", f"c-{number}")
            begin(chats, "patience:patient", f"p-{number}", policy=FIVE)
    return url


def test_a_report_for_people(run: Run, url: str) -> None:
    """Arms, totals, shares with what can be told apart, at 80 columns."""
    told = run("experiment", url).stdout
    assert "Experiment patience" in told
    assert "control  8 of 8  100.0%  67.6% to 100.0%" in told
    assert "    patient: -100.0 points (-100.0 to -54.1): they differ" in told
    assert "    patient: +0.0 points (-32.4 to +32.4): not told apart;" in told
    assert "  patient  nobody to count" in told
    assert "The split was checked. As far as 16 accounts can show, it is as intended: p = 1." in told
    assert "The split is not as intended" not in told
    assert max(map(len, told.splitlines())) <= 80


def test_what_to_beware_of_comes_first(run: Run, url: str) -> None:
    """A split that was not meant, accounts in two arms or none, an arm that was changed, arms in different modes."""
    with opened(url, new_id=counting("then-")) as chats:
        for arm in ("control", "patient"):
            begin(chats, f"patience:{arm}", "both")
        begin(chats, "patience:control", None)
        begin(chats, "patience:patient", "p", mode=Mode.SHADOW)
    told = run("experiment", url, "--weights", "control=9,patient=1").stdout
    assert told.startswith("The split is not as intended: p = 2.3e-05.")
    assert "The split was checked" not in told
    told = run("experiment", url, "--weights", "control=1000,patient=1000").stdout
    for caution in ("Accounts in more than one arm, left out: 1.", "Conversations without an account, left out: 1."):
        assert caution in told
    assert "Conversations of patient began under 3 different terms" in told
    assert "In shadow mode nobody is warned" in told
    with opened(url, new_id=counting("more-")) as chats:
        for number in range(60):
            chats.start(model=MODEL.id, arm="patience:patient", account=f"more-{number}", policy=FIVE)
    assert run("experiment", url).stdout.startswith("The split is not as intended: p = ")


def test_json_for_programs(run: Run, url: str) -> None:
    """All of it, from a store or a file, and the same of both; the base is first."""
    told = as_json(run("experiment", url, "--base", "patient", "--json"))
    assert [arm["arm"] for arm in told["arms"]] == ["patience:patient", "patience:control"]
    assert told["arms"][1]["shares"]["ended_as_last_resort"]["count"] == 8
    assert told["arms"][1]["shares"]["ended_as_last_resort"]["apart"] is True
    log = run("export", url).stdout
    assert as_json(run("experiment", "-", "--base", "patient", "--json", input=log)) == told
    assert run("export", url).stdout == log


def test_many_arms(run: Run, url: str) -> None:
    """They stand beneath each other, where they would not fit."""
    with opened(url, new_id=counting("more-")) as chats:
        for number in range(6):
            chats.start(model=MODEL.id, arm=f"patience:an-arm-of-a-long-name-{number}", account=f"m-{number}")
    told = run("experiment", url).stdout
    assert told.count(" totals ") == 3
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--name", "other"], "no conversation is in an experiment of that name (length 5)"),
        (["--base", "other"], "base: no arm has that name (length 5); the arms are: "),
        (["--weights", "control"], "write ARM=N,ARM=N"),
        (["--weights", "control=0"], "write ARM=N,ARM=N"),
        (
            ["--weights", "control=1,control=2,patient=1"],
            "an arm has two weights (its name has length 7); name each arm once",
        ),
        (["--weights", "control=" + 5000 * "9"], "write ARM=N,ARM=N"),
        (["--weights", "control=1"], "arm patience:patient has conversations, and was given no weight; name every arm"),
    ],
)
def test_what_cannot_be_compared(run: Run, url: str, options: list[str], why: str) -> None:
    assert why in run("experiment", url, *options, status=2).stderr


def test_an_experiment_without_a_name(run: Run, tmp_path: Path) -> None:
    """Arms that were named by hand."""
    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        chats.start(model=MODEL.id, arm="by-hand", account="a")
    told = run("experiment", f"sqlite:///{tmp_path}/log.db").stdout
    assert "Experiment without a name" in told
    assert told.startswith("There are too few accounts to say whether the split is as intended.")
    assert "The split was checked" not in told
