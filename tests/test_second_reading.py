"""The second reading beside the first: what only the two together find, and what they are not asked of.

That each agrees with the law is for tests/test_oracle.py and tests/test_every_state.py.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lastresort.adapters.testing import Unlawful, assert_lawful
from lastresort.adapters.testing.vocabulary import Story
from lastresort.domain.events import AppealFiled, BranchOpened, Event, RecordedEvent, RiskRaised, Unreadable
from lastresort.domain.law import RULES, governing
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import About, Risk, Verdict
from lastresort.projections import audit
from lastresort.projections.second_log import Agreement, SecondReading

from .cli_kit import run, write
from .stores import LEFT, opened, started
from .tampered import Log, edited, ending, event_at, found, instead, then
from .vocabulary import (
    ABUSED,
    END,
    HOPELESS,
    STARTED,
    THREE_FAILED_REDIRECTIONS,
    USER,
    WARNED,
    risk_cleared,
    risk_raised,
)

__all__ = ["ending", "run"]


# --- A mistake in what the audit folds --------------------------------------------------------------------------------


def forgets_others(state: Conversation, event: Event) -> Conversation:
    """An `evolve` with a mistake: a risk about others leaves a standing warning standing."""
    after = evolve(state, event)
    if isinstance(event, RiskRaised) and event.about is About.OTHERS:
        return after._replace(episode=after.episode._replace(warnings=state.episode.warnings))
    return after


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> Log:
    """A log that is lawful by the faulty fold, which decided it and audits it: an ending on a warning that was void."""
    monkeypatch.setattr("lastresort.adapters.testing.vocabulary.evolve", forgets_others)
    monkeypatch.setattr("lastresort.projections.replay.evolve", forgets_others)
    risk = (risk_raised(about=About.OTHERS), risk_cleared())
    return list(Story().tell(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, ABUSED, *risk, HOPELESS, END).log)


SAID = "the rules say that it is lawful, the second reading says that it breaks "


def test_a_mistake_in_the_fold_is_found_by_the_second_reading_alone(unseen: Log) -> None:
    """The audit folds with the same mistake, so it finds nothing by itself."""
    assert audit(unseen, read_twice=0).findings == ()
    report = audit(unseen)
    assert report.read_twice == len(unseen)
    hopeless, end = len(unseen) - 1, len(unseen)
    assert [(one.branch, one.version, one.rules, one.detail) for one in report.findings] == [
        ("c", hopeless, ("disagreement",), f"{SAID}hope-exhausted"),
        ("c", end, ("disagreement",), f"{SAID}warned-first, evidence-is-true"),
    ]


def test_the_kit_asks_both(unseen: Log) -> None:
    """Whatever the length of the log."""
    with pytest.raises(Unlawful, match="disagreement"):
        assert_lawful(unseen)


def test_a_mistake_that_finds_too_much_is_a_disagreement_too(ending: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the fold forgets everything that failed."""

    def forgetful(state: Conversation, event: Event) -> Conversation:
        after = evolve(state, event)
        return after._replace(episode=after.episode._replace(failed=0))

    monkeypatch.setattr("lastresort.projections.replay.evolve", forgetful)
    told = {finding.detail for finding in audit(ending).findings if finding.rules == ("disagreement",)}
    assert any("the rules say that it breaks redirected-first" in detail for detail in told)
    assert all(detail.endswith("the second reading says that it is lawful") for detail in told)


# --- What is compared -------------------------------------------------------------------------------------------------


def test_another_law_has_no_second_reading(ending: Log) -> None:
    """The second reading is of the whole law."""
    assert audit(ending, governing([RULES["ended-is-final"]])).read_twice == 0


def test_a_long_log_is_read_twice_from_its_beginning(unseen: Log) -> None:
    """As far as it was to be; what is missing at the end is then nobody's to say."""
    report = audit(unseen, read_twice=5)
    assert (report.read_twice, report.findings) == (5, ())


@pytest.mark.parametrize(
    "tamper",
    [
        lambda log: then(instead(log, 9, LEFT), event_at(log, 2), event_at(log, 3)),
        lambda log: edited(log, 3, turn=18),  # of an older or a later turn a small state knows less
        lambda log: log[:8] + log[9:],
        lambda log: [*log[:8], Unreadable(9, "c", 9, "Unheard", "an unknown kind"), *log[9:]],
        lambda log: [Unreadable(1, "c", 1, "Unheard", "an unknown kind"), *log[1:]],
    ],
)
def test_what_is_damaged_for_both_is_compared_no_further(ending: Log, tamper: Callable[[Log], Log]) -> None:
    """What such a log adds up to, the law does not say."""
    rules = {rule for _, _, rules in found(tamper(ending)) for rule in rules}
    assert rules
    assert "disagreement" not in rules


def test_a_tree_apart_is_compared_all_the_same(unseen: Log) -> None:
    """A finding in one tree says nothing of another."""
    begun = event_at(unseen, 1).model_copy(update={"conversation": "d"})
    other = [
        entry._replace(branch="d", position=entry.position + len(unseen), command_id=f"d-{entry.version}")
        for entry in instead(unseen, 1, begun)
    ]
    log = [*instead(unseen, 4, LEFT), *other]
    told = {(branch, frozenset(rules)) for branch, _, rules in found(log)}
    assert ("d", frozenset({"disagreement"})) in told
    assert ("c", frozenset({"disagreement"})) not in told


# --- At the end of a log ----------------------------------------------------------------------------------------------


def at_risk() -> Log:
    """A verdict that sees a risk, and nothing after it."""
    with opened("memory:") as chats:
        chat = started(chats)
        chat.user_turn("I cannot go on.")
        chat.judge(Verdict.PRODUCTIVE, risk=Risk.IMMINENT)
        return [entry for entry in chats.store.log() if entry.kind != "RiskRaised"]


def test_both_find_a_hold_that_is_missing_at_the_end() -> None:
    """One finding, and no disagreement."""
    assert [rules for *_, rules in found(at_risk())] == [{"risk-holds"}]


def test_who_finds_it_alone_is_disagreed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Either of the two."""
    monkeypatch.setattr(sys.modules[audit.__module__], "_lacks_its_hold", lambda state: False)
    [finding] = audit(at_risk()).findings
    assert (finding.version, finding.detail) == (3, f"{SAID}risk-holds")
    agreement = Agreement()
    for entry in at_risk()[:2]:
        agreement.take(entry, (), ())
    expected = "the rules say that it breaks risk-holds, the second reading says that it is lawful"
    assert agreement.end([("c", 2)], [], {"c": 2}) == [("c", 2, expected)]
    assert agreement.end([("c", 2)], [], {"c": 3}) == []  # not read as far
    assert agreement.end([("c", 2)], ["c"], {"c": 2}) == []


# --- By itself --------------------------------------------------------------------------------------------------------


def test_it_reads_a_log_whatever_is_in_it() -> None:
    """A fork from nowhere is a root that does not begin; a fork below a place where no turn follows is no fork."""
    opening = BranchOpened(by=USER, conversation="c", parent="nobody", at=3, cause="edit", risks=())
    reading = SecondReading()
    assert reading.take(at(opening, "d", 4)) == ("begins-once", "refers-to-the-path", "forks-at-a-turn")
    assert reading.root_of("d") == "d"
    assert reading.take(at(AppealFiled(by=USER, content=None), "e", 1)) == ("begins-once", "answers-an-appeal")


def at(event: Any, branch: str, version: int) -> RecordedEvent:
    return RecordedEvent(version, branch, version, event.kind, "t", "command", event, "command")


# --- On the command line ----------------------------------------------------------------------------------------------


def test_the_command_reads_twice_if_it_is_told_to(run: Callable[..., Result], tmp_path: Path) -> None:
    """And says of how much it did."""
    log = tmp_path / "log.db"
    with opened(f"sqlite:///{log}") as chats:
        started(chats).user_turn("Hello.")
    url = f"sqlite:///{log}"
    for flag, read in (((), 2), (("--second-reading",), 2), (("--no-second-reading",), 0)):
        assert json.loads(run("audit", url, *flag, "--json").stdout)["read_twice"] == read
    assert "read twice" not in run("audit", url).stdout
    assert "0 of them were read twice" in run("audit", url, "--no-second-reading").stdout
    exported = write(tmp_path / "log.jsonl", *map(json.loads, run("export", url).stdout.splitlines()))
    assert "0 of them were read twice" in run("audit", exported, "--no-second-reading").stdout
