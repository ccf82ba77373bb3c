"""`lastresort report`: numbers for people in 80 columns, JSON and CSV for programs, and nothing half done."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lastresort import open_conversations
from lastresort.adapters.exporters.report_table import as_csv
from lastresort.adapters.importers.log_file import write_file
from lastresort.projections.reports.report import report

from .cli_kit import as_json, run
from .stores import MODEL, done, ended, log_of, opened, thanked

__all__ = ["run"]

Run = Callable[..., Result]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Six conversations that ended, one of them with a branch, and six that went well."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        for number in range(6):
            ended(chats.start(model=MODEL.id, arm="a", conversation=f"e-{number}"))
            thanked(chats.start(model=MODEL.id, arm="b", conversation=f"t-{number}"))
        thanked(done(chats.chat("e-0").edit(2, "Hello.", child="d")))
    return url


@pytest.fixture
def log(url: str, tmp_path: Path) -> Path:
    with opened(url) as chats:
        write_file(log_of(chats), tmp_path / "log.jsonl")
    return tmp_path / "log.jsonl"


def test_a_report_for_people(run: Run, url: str) -> None:
    """Each number with its share and the interval of that, in 80 columns; what is too small is left out."""
    told = run("report", url).stdout.replace("\N{NO-BREAK SPACE}", " ")
    assert "  conversations " in told
    assert "    for abuse" not in told
    assert "    as last resort, for abuse  6 of 6  100.0 %  61.0 to 100.0" in told
    assert re.search(r"    with an ending +6 of 12  5,000.0 in 10,000  2,537.8 to 7,462.2", told)
    assert all(re.search(r" of \d|<5\*", line) for line in told.splitlines() if re.search(r"\d %|in 10,000", line))
    assert "* left out: below 5, or it would tell a number that is." in told
    spread = "Turns from the first harm to the ending as last resort: median 4 user turns (4 to 4) of 6"
    assert spread in " ".join(told.split())
    assert max(map(len, told.splitlines())) <= 80


def test_by_what_it_is_grouped(run: Run, url: str) -> None:
    """Each group is named; a policy by its name and its hash."""
    told = run("report", url, "--by", "arm,policy,month,model", "--smallest", "1").stdout
    assert told.count("policy default (") == 2
    assert MODEL.id in told
    assert "* left out" not in told


def test_of_a_period(run: Run, url: str) -> None:
    """It says so, and that nothing is there."""
    told = run("report", url, "--since", "1999-01", "--until", "1999-12-31").stdout
    assert "counted from 1999-01 to 1999-12-31" in told
    assert as_json(run("report", url, "--since", "1999-01", "--until", "1999-12", "--json"))["groups"] == []
    assert "Nothing was recorded in this time." in told
    assert "Wilson" not in told


def test_of_an_empty_store(run: Run, tmp_path: Path) -> None:
    """There is nothing to report, and so nothing to know of intervals."""
    url = f"sqlite:///{tmp_path}/empty.db"
    with opened(url):
        pass
    assert run("report", url).stdout == "0 events\nThere is nothing to report.\n"


def test_json_is_what_the_projection_says(run: Run, url: str, log: Path) -> None:
    """Of a store, of its log in a file, and of that on standard input."""
    with opened(url) as chats:
        said = report(log_of(chats), by=("arm",), branches=3).model_dump(mode="json")
    options = "--by", "arm", "--branches", "3", "--json"
    assert as_json(run("report", url, *options)) == said
    assert as_json(run("report", log, *options)) == said
    assert as_json(run("report", "-", *options, input=log.read_text(encoding="utf-8"))) == said
    assert said["form"] == 1


def test_csv_has_every_number(run: Run, url: str, tmp_path: Path) -> None:
    """A line each, with the key of its group before it; what is left out is empty."""
    out = tmp_path / "report.csv"
    found = as_json(run("report", url, "--by", "arm", "--csv", out, "--json"))
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    for group in found["groups"]:
        of_group = {row["figure"]: row for row in rows if row["arm"] == group["key"]["arm"]}
        for name, figure in group["figures"].items():
            assert of_group[name]["count"] == ("" if figure["count"] is None else str(figure["count"]))
            assert of_group[name]["suppressed"] == str(int(figure["suppressed"]))
    bins = [row for row in rows if row["figure"] == "turns_to_ending.bin"]
    assert [(row["from"], row["to"], row["count"]) for row in bins][-1] == ("4", "4", "6")
    assert len(list(tmp_path.glob(".report.csv*"))) == 0


def test_no_spreadsheet_takes_a_name_for_a_formula() -> None:
    """The name of a model is whatever a client says."""
    with open_conversations("memory:") as chats:
        for name in ("=cmd|x", "+1", "-1", "@SUM", "plain", None):
            thanked(chats.start(model=MODEL.id if name is None else name, arm="=a" if name is None else None))
        log = log_of(chats)
    rows = list(csv.reader(as_csv(report(log, by=("model", "arm"), smallest=1)).splitlines()))
    assert {row[0] for row in rows[1:]} == {"'=cmd|x", "'+1", "'-1", "'@SUM", "plain", MODEL.id}
    assert {row[1] for row in rows[1:]} == {"", "'=a"}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--by", "mood"], "--by: nothing has that name (length 4); group by model, policy, mode, arm, month"),
        (["--since", "yesterday"], "--since: write a day or a month, as 2026-07-31 or 2026-07"),
        (["--since", "2026-02", "--until", "2026-01"], "--since: is after until"),
        (["--csv", "nowhere/report.csv"], "nowhere/"),
    ],
)
def test_what_cannot_be_done(run: Run, url: str, tmp_path: Path, options: list[str], why: str) -> None:
    """It says why, and writes nothing."""
    csv_file = tmp_path / "kept.csv"
    csv_file.write_text("kept", encoding="utf-8")
    kept = () if "--csv" in options else ("--csv", csv_file)
    assert why in run("report", url, *kept, *options, status=2).stderr
    assert csv_file.read_text(encoding="utf-8") == "kept"


def test_a_file_that_is_no_whole_log(run: Run, log: Path, url: str) -> None:
    """It says where, and what says more. The store itself is no place for the numbers."""
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join(lines[1:]), encoding="utf-8")
    said = run("report", log, status=2).stderr
    assert "log.jsonl: is not a whole log: branch e-0: what began it, or its parent, is missing" in said
    log.write_text(lines[0] + lines[1].replace("UserTurnTaken", "UserTurn"), encoding="utf-8")
    assert "log.jsonl:2: " in run("report", log, status=2).stderr
    assert "part of the store" in run("report", url, "--csv", url.removeprefix("sqlite:///"), status=2).stderr
