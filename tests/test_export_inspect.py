"""A log as an eval log of Inspect, which reads it, and whose viewer opens it."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from inspect_ai.event import BranchEvent, InfoEvent
from inspect_ai.log import EvalSample, read_eval_log
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool

from lastresort import Actor, ActorKind, Chat, Rating, Risk, Verdict
from lastresort.adapters.evals import write_eval_log
from lastresort.adapters.evals.turns import NO_WORDS
from lastresort.adapters.importers.chat_words import as_messages
from lastresort.application.ports import Place
from lastresort.domain.law import RULES
from lastresort.domain.values import Usage

from .browser import browser
from .cli_kit import run, url
from .stores import MODEL, ended, opened, started
from .test_export_forms import GOLDEN, log_in

__all__ = ["browser", "run", "url"]

NAME = "_a_*b*[c](d)`e`$f$~~g~~<h>&amp;\\[i\\]"
"""A name that would be Markdown."""
USAGE = Usage(input_tokens=7, output_tokens=5)
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
    told = [event for event in parent.events if isinstance(event, InfoEvent)]
    kinds = [(event.metadata or {})["kind"] for event in told]
    assert kinds[0] == "ConversationStarted"
    assert "ConversationEnded" in kinds
    assert str(told[0].data).startswith("1: conversation c with ")
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


@contextmanager
def viewer(folder: Path) -> Iterator[str]:
    """The real viewer of the logs in a folder, over a real socket: its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("inspect")
    begin = [str(program)] if program.exists() else [sys.executable, "-m", "inspect_ai"]
    command = [*begin, "view", "start", "--log-dir", ".", "--port", str(port)]
    here = os.environ | {"INSPECT_LOG_LEVEL": "warning", "HOME": str(folder)}
    process = subprocess.Popen(command, cwd=folder, env=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert b"<html" in _answer(f"http://127.0.0.1:{port}/", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_inspect_view_lists_what_ends_in_eval(run: Callable[..., Result], url: str, tmp_path: Path) -> None:
    """And of JSON only what has one of its own names, which the command says."""
    run("export", url, "--format", "inspect", "--output", "log.eval")
    assert "lists .json files of its own names alone" in run(
        "export", url, "--format", "inspect", "--output", "log.json"
    ).stderr  # fmt: skip
    with viewer(tmp_path) as address:
        listed = json.loads(_answer(f"{address}/api/logs"))
        names = [one["name"] for one in listed["files"]]
        assert [name.rpartition("/")[2] for name in names] == ["log.eval"]
        shown = json.loads(_answer(f"{address}/api/logs/{names[0]}"))
        assert (shown["status"], shown["eval"]["task"]) == ("success", "lastresort")


def test_asyncio_is_left_as_it_is(tmp_path: Path) -> None:
    """Where a loop runs, Inspect itself lets loops run within one another from then on, and closes none."""
    before = asyncio.run

    async def write() -> int:
        with opened("memory:") as chats:
            ended(started(chats))
            return write_eval_log(list(chats.store.log()), tmp_path / "log.eval")

    assert asyncio.run(write()) == 1
    assert asyncio.run is before


@pytest.mark.xdist_group("browser")
def test_a_person_reads_it_in_the_viewer(browser: Any, run: Callable[..., Result], tmp_path: Path) -> None:
    """In a real browser: the transcript has what was said and the law in sentences, in their order; and every time is
    one."""
    store = f"sqlite:///{tmp_path}/log.db"
    with opened(store) as chats:
        ended(started(chats))
        told(chats.start(model=MODEL.id, conversation="all"))
        other = started(chats, "named")
        other.user_turn("<b>A</b> *word* \x1b[31m")
        other.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, by=Actor(kind=ActorKind.ASSESSOR, id=NAME))
    run("export", store, "--format", "inspect", "--words", "--output", "log.eval")
    with viewer(tmp_path) as address:
        page = browser.new_page(viewport={"width": 1_300, "height": 6_000})
        page.goto(f"{address}/#/tasks/log.eval/samples")
        page.get_by_text("DURATION", exact=False).first.wait_for(timeout=120_000)
        page.get_by_text("You useless heap of bolts.").first.wait_for(timeout=60_000)
        assert "NaN" not in page.inner_text("body")
        in_order = [
            "You useless heap of bolts.", "turn 2 judged harmful (abuse, severity 2), risk none, by assessor",
            "What can I help you with instead?", "turn 4 redirects the harm in turn 2", "warns of an ending for abuse",
            "hope is exhausted as of turn 18", "I am ending this conversation.", "ended as a last resort for abuse",
        ]  # fmt: skip
        shown = _transcript(page, address, "c", in_order[-1])
        places = [shown.find(one) for one in in_order]
        assert -1 not in places
        assert places == sorted(places)
        assert '"content":' not in shown
        shown = _transcript(page, address, "all", "feedback on turn 3: down")
        assert {one for one in SAID if one not in shown} == {"A prompt."}
        shown = _transcript(page, address, "named", f"by assessor {NAME}")
        assert "<b>A</b> *word* \N{SYMBOL FOR ESCAPE}[31m" in shown
        page.goto(f"{address}/#/tasks/log.eval/samples/sample/all/1/messages")
        page.get_by_text("A prompt.").first.wait_for(timeout=60_000)
        assert "NaN" not in page.inner_text("body")
        page.close()


def _transcript(page: Any, address: str, sample: str, last: str) -> str:
    """Return the text of a sample's transcript, once its last event is there."""
    page.goto(f"{address}/#/tasks/log.eval/samples/sample/{sample}/1/transcript")
    page.get_by_text(last).first.wait_for(timeout=60_000)
    found: str = page.inner_text("body")
    assert "NaN" not in found
    return found


SAID = (
    "A greeting.", "A question?", "An attachment.", "A thought.", "a tool", "A query.", "A result.", "An answer.",
    "A remark.", "A prompt.", "An edit.", "Half an answer.",
)  # fmt: skip


def told(chat: Chat) -> None:
    """Every kind of words that a turn can have."""
    call = {"type": "tool_use", "id": "t-1", "name": "a tool", "input": {"q": "A query."}}
    result = {"type": "tool_result", "tool_use_id": "t-1", "content": [{"type": "text", "text": "A result."}]}
    asked = [
        {"type": "text", "text": "A question?"},
        {"type": "document", "title": "a.txt", "source": {"type": "text", "data": "An attachment."}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
    ]
    answered = [
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "A thought.", "signature": "s"}, call]},
        {"role": "user", "content": [result]},
        {"role": "assistant", "content": [{"type": "text", "text": "An answer."}]},
    ]
    greeting = {"speaker": "assistant", "before": 0, "content": [{"type": "text", "text": "A greeting."}]}
    chat.user_turn(as_messages({"messages": [{"role": "user", "content": asked}], "others": [greeting]}))
    chat.assistant_turn(as_messages({"messages": answered, "beside": {"m": {"edited": "An edit."}}}), usage=USAGE)
    chat.feedback(Rating.DOWN, "A remark.", turn=3)
    chat.user_turn("Wait.")
    annotator = chat.conversations.service.annotator
    annotator.keep_shown(chat.branch, Place(chat.branch, 5), "m", "Half an answer.")
    annotator.instruct(chat.branch, "A prompt.")
    chat.assistant_turn(as_messages({"messages": answered[:2]}))
    chat.assistant_turn("")


def test_with_words_every_part_of_a_turn_is_there(run: Callable[..., Result], tmp_path: Path) -> None:
    """As Inspect has them: thinking as reasoning, calls and results of tools as such; and the tokens by model."""
    store = f"sqlite:///{tmp_path}/log.db"
    with opened(store) as chats:
        told(chats.start(model=MODEL.id, conversation="all"))
    run("export", store, "--format", "inspect", "--words", "--output", "log.eval")
    read = read_eval_log("log.eval")
    (sample,) = read.samples or []
    assert {one for one in SAID if one not in sample.model_dump_json()} == set()
    roles = [one.role for one in sample.messages]
    assert roles == [
        "system", "assistant", "user", "assistant", "tool", "assistant", "assistant", "user", "assistant", "tool",
    ]  # fmt: skip
    asked, tool = sample.messages[3], sample.messages[4]
    assert isinstance(asked, ChatMessageAssistant)
    assert isinstance(tool, ChatMessageTool)
    assert [(one.function, one.arguments) for one in asked.tool_calls or ()] == [("a tool", {"q": "A query."})]
    assert [one.type for one in asked.content if not isinstance(one, str)] == ["reasoning"]
    assert tool.tool_call_id == "t-1"
    assert "4 characters of Base64" in sample.messages[2].text
    assert sample.messages[5].metadata == {
        "branch": "all", "version": 3, "at": (sample.messages[5].metadata or {})["at"],
        "kept": {"beside": {"m": {"edited": "An edit."}}},
    }  # fmt: skip
    assert sample.model_usage[MODEL.id].total_tokens == read.stats.model_usage[MODEL.id].total_tokens == 12
    assert sample.started_at == read.stats.started_at != ""
    assert (sample.total_time or 0) >= 0


def _answer(url: str, viewer: "subprocess.Popen[bytes] | None" = None) -> bytes:
    """Ask until the viewer is there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert viewer is None or viewer.poll() is None, viewer and viewer.communicate()[0]
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                said: bytes = answer.read()
                return said
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{url}: {error}") from None
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the viewer did not come up")
