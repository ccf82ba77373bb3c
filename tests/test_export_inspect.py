"""A log as an eval log of Inspect, which reads it, and whose viewer opens it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from inspect_ai.event import BranchEvent, InfoEvent
from inspect_ai.log import EvalSample, read_eval_log

from lastresort.adapters.evals import write_eval_log
from lastresort.adapters.evals.inspect_log import NO_WORDS
from lastresort.domain.law import RULES

from .cli_kit import run, url
from .test_export_forms import GOLDEN, log_in

__all__ = ["run", "url"]

pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages that Inspect is built on


def samples_in(path: Path) -> list[EvalSample]:
    return read_eval_log(str(path)).samples or []


@pytest.mark.parametrize("form", ["eval", "json"])
def test_inspect_reads_a_sample_for_each_branch(tmp_path: Path, form: str) -> None:
    """With a score for each rule: no finding."""
    for path in GOLDEN:
        log = log_in(path)
        samples = write_eval_log(log, tmp_path / f"log.{form}")
        read = read_eval_log(str(tmp_path / f"log.{form}"))
        assert read.status == "success"
        assert read.samples is not None
        assert {sample.id for sample in read.samples} == {one.branch for one in log}
        assert len(read.samples) == samples
        assert all(
            {name: score.value for name, score in (sample.scores or {}).items()} == dict.fromkeys(RULES, 0)
            for sample in read.samples
        )
        assert read.results is not None
        assert {score.name: score.metrics["findings"].value for score in read.results.scores} == dict.fromkeys(RULES, 0)


def test_a_sample_is_the_path_of_its_branch(run: Callable[..., Result], url: str) -> None:
    """With what its parent had before it, the law's events, and words only if they were asked for."""
    run("export", url, "--format", "inspect", "--output", "log.eval")
    assert "hello" not in run("export", url, "--format", "inspect", "--output", "log.json").stdout.lower()
    assert oct(Path("log.eval").stat().st_mode)[-3:] == "600"
    samples = {sample.id: sample for sample in read_eval_log("log.eval").samples or ()}
    assert {message.text for sample in samples.values() for message in sample.messages} == {NO_WORDS}
    child, parent = samples["d"], samples["c"]
    first = [event for event in child.events if isinstance(event, BranchEvent)]
    assert [event.from_anchor for event in first] == ["c@9"]
    assert len(child.messages) < len(parent.messages)
    assert (parent.metadata["ground"], parent.metadata["category"]) == ("last_resort", "abuse")
    told = [event.data for event in parent.events if isinstance(event, InfoEvent)]
    kinds = [event["kind"] for event in told if isinstance(event, dict)]
    assert kinds[0] == "ConversationStarted"
    assert "ConversationEnded" in kinds
    run("export", url, "--format", "inspect", "--words", "--output", "words.eval")
    said = {sample.id: sample.messages for sample in read_eval_log("words.eval").samples or ()}
    assert said["d"][-1].text == "Shall we start again?"


def test_a_finding_is_a_score(tmp_path: Path) -> None:
    log = log_in(next(path for path in GOLDEN if path.stem == "last_resort"))
    ended = next(place for place, one in enumerate(log) if one.kind == "ConversationEnded")
    early = [one for place, one in enumerate(log) if not (place < ended and one.kind == "HopeExhausted")]
    broken = [one._replace(version=nth, position=nth) for nth, one in enumerate(early, 1)]
    write_eval_log(broken, tmp_path / "log.json")
    (sample,) = samples_in(tmp_path / "log.json")
    assert sum(int(str(score.value)) for score in (sample.scores or {}).values()) > 0


def test_what_cannot_be_is_told(run: Callable[..., Result], url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the log is empty"):
        write_eval_log([], tmp_path / "log.eval")
    for output in ((), ("--output", "log.txt")):
        said = run("export", url, "--format", "inspect", *output, status=2).stderr
        assert said == "lastresort: --format inspect writes a file: name one by --output, FILE.eval or FILE.json\n"
    assert "--words is for --format inspect" in run("export", url, "--words", status=2).stderr
    said = run("export", url, "--format", "inspect", "--output", "no/log.eval", status=2).stderr
    assert said == "lastresort: no/log.eval: cannot be written: No such file or directory\n"
    said = run("export", url, "--after", 10_000, "--format", "inspect", "--output", "log.eval", status=2).stderr
    assert "the log is empty" in said
    assert not Path("log.eval").exists()


def test_inspect_view_opens_it(tmp_path: Path) -> None:
    """The real viewer, over a real socket: it lists the log, and shows it."""
    write_eval_log(log_in(next(path for path in GOLDEN if path.stem == "branches")), tmp_path / "log.eval")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("inspect")
    begin = [str(program)] if program.exists() else [sys.executable, "-m", "inspect_ai"]
    command = [*begin, "view", "start", "--log-dir", ".", "--port", str(port)]
    here = os.environ | {"INSPECT_LOG_LEVEL": "warning", "HOME": str(tmp_path)}
    viewer = subprocess.Popen(command, cwd=tmp_path, env=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        listed = json.loads(_answer(f"http://127.0.0.1:{port}/api/logs", viewer))
        names = [one["name"] for one in listed["files"]]
        assert [name.rpartition("/")[2] for name in names] == ["log.eval"]
        shown = json.loads(_answer(f"http://127.0.0.1:{port}/api/logs/{names[0]}", viewer))
        assert (shown["status"], shown["eval"]["task"]) == ("success", "lastresort")
        assert b"<html" in _answer(f"http://127.0.0.1:{port}/", viewer)
    finally:
        viewer.terminate()
        viewer.communicate(timeout=60)


def _answer(url: str, viewer: "subprocess.Popen[bytes]") -> bytes:
    """Ask until the viewer is there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert viewer.poll() is None, viewer.communicate()[0]
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                said: bytes = answer.read()
                return said
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{url}: {error}") from None
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the viewer did not come up")
