"""The welfare report: rates per 10,000 conversations, and a paragraph on what each does not show."""

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from lastresort import open_conversations
from lastresort.adapters.exporters.welfare import MEASURES, welfare_data, welfare_text
from lastresort.projections.reports.report import report

from .cli_kit import run
from .stores import MODEL, ended, log_of, opened, thanked
from .test_report import drawn

__all__ = ["run"]


def test_every_rate_and_what_it_does_not_show() -> None:
    """Per 10,000 conversations, with its interval, group by group."""
    found = report(drawn(1, 800), by=("arm",), smallest=1)
    told = welfare_text(found)
    for measure in MEASURES:
        assert f"## {measure.title}\n" in told
        assert measure.not_shown in told
        for group in found.groups:
            figure = group.figures[measure.name]
            assert (figure.per, figure.base) == (10_000, "conversations")
            assert f"{figure.count:,} of {group.figures['conversations'].count:,} conversations" in told
    assert "left out" not in told
    rates = welfare_data(found)["groups"][0]["rates"]
    first = found.groups[0].figures
    assert {name: rate["count"] for name, rate in rates.items()} == {name: first[name].count for name in rates}


def test_a_name_of_a_model_is_shown_as_it_is() -> None:
    """It is whatever a client says, and neither a tag nor a link nor code."""
    with open_conversations("memory:") as chats:
        thanked(chats.start(model="<b>x</b>`y`*z*[l](http://x)\\1"))
        told = welfare_text(report(log_of(chats), by=("model",), smallest=1))
    assert told.count("* \\<b\\>x\\</b\\>\\`y\\`\\*z\\*\\[l\\](http://x)\\\\1: ") == len(MEASURES)


def test_bail_and_refusal_split_the_conversations() -> None:
    """Those with either are those with one of them, and those with both."""
    of = report(drawn(2, 2_500), smallest=1).groups[0].figures
    bail, refusal, both = (of[f"conversations.{name}"].count or 0 for name in ("bail_alone", "refusal_alone", "both"))
    assert bail + both == of["conversations.ended.last_resort"].count
    assert refusal + both == of["conversations.model_refused"].count
    assert refusal > 0


def test_small_numbers_and_none() -> None:
    """They are left out; of no conversation there is nothing to tell."""
    assert "* nothing was recorded" in welfare_text(report([]))
    assert "<900\\*" in (told := welfare_text(report(drawn(1, 800), smallest=900)))
    assert "left out: below 900" in told


def test_the_command_writes_it(run: Callable[..., Result], tmp_path: Path) -> None:
    """As Markdown, or as JSON if the name of the file says so."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        for _ in range(5):
            ended(chats.start(model=MODEL.id))
            thanked(chats.start(model=MODEL.id))
        said = report(log_of(chats))
    run("report", url, "--welfare", tmp_path / "w.md")
    assert (tmp_path / "w.md").read_text(encoding="utf-8") == welfare_text(said)
    assert "5,000.0 (" in welfare_text(said)
    run("report", url, "--welfare", tmp_path / "w.json")
    assert json.loads((tmp_path / "w.json").read_text(encoding="utf-8")) == json.loads(json.dumps(welfare_data(said)))
