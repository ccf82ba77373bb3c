"""What a later edition would say of older events: for information, and apart from the findings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given, settings

from lastresort import Conversations
from lastresort.adapters.importers.log_file import checked_log
from lastresort.adapters.testing.strategies import trees
from lastresort.adapters.upkeep.audited import replayed
from lastresort.domain.events import ConversationStarted, RecordedEvent
from lastresort.domain.policy import Policy
from lastresort.domain.values import Mode, Risk, Verdict
from lastresort.projections import EditionReport, audit
from lastresort.projections.audit import audit_global, audit_tree, by_tree, merge
from lastresort.projections.replay import fork_points

from .cli_kit import as_json, run
from .drawing import drawn
from .service_kit import done
from .stores import ASSESSOR, OPERATOR, chats, ended, log_of, started, store_of
from .tampered import Log, edited

__all__ = ["chats", "run"]

Run = Callable[..., Result]
GOLDEN = Path(__file__).parent / "golden"


def mild(chats: Conversations, law: int = 1) -> Log:
    """Warned after three jibes, the third of them too mild to end anything: lawful in edition 1, and not in 2."""
    chat = started(chats, edition=law)
    for severity in (3, 3, 3, 1):
        done(chat.user_turn("You bucket."))
        done(chat.judge(Verdict.HARMFUL, category="abuse", severity=severity, risk=Risk.NONE, by=ASSESSOR))
        done(chat.assistant_turn("What can I do for you?"))
        done(chat.redirect() if severity > 1 else chat.warn("abuse"))
    return log_of(chats)


def hindsight(log: Any, edition: int = 2) -> EditionReport:
    found = audit(log, edition=edition).hindsight
    assert found is not None
    return found


def test_nothing_is_said_unless_an_edition_is_asked(chats: Conversations) -> None:
    """An audit is of the edition in force."""
    assert audit(mild(chats)).hindsight is None


def test_what_became_law_later(chats: Conversations) -> None:
    """A warning that could not lead to an ending: no finding, and edition 2 would refuse it."""
    log = mild(chats)
    report = audit(log, edition=2)
    assert report.findings == ()
    assert report.hindsight is not None
    (said,) = report.hindsight.would_say
    assert (said.branch, said.version, said.rules) == ("c", log[-1].version, ("true-warnings",))
    assert (report.hindsight.edition, report.hindsight.asked) == (2, len(log))


def test_of_a_finding_each_edition_says_what_it_has_to_say(chats: Conversations) -> None:
    """What was unlawful when it was recorded is a finding as ever."""
    log = edited(mild(chats), 1, law=1)
    broken = edited(log, 5, answers=2, turn=2)
    report = audit(broken, edition=2)
    assert [finding.version for finding in report.findings] == [5]
    assert 5 in [said.version for said in hindsight(broken).would_say]


def test_the_edition_in_force_is_not_asked_again(chats: Conversations) -> None:
    """Nor is an earlier one: it has nothing to say of later events."""
    log = log_of_second(chats)
    assert hindsight(log) == (2, 0, ())


def log_of_second(chats: Conversations) -> Log:
    ended(started(chats, edition=2))
    return log_of(chats)


def test_a_log_of_both_editions(chats: Conversations) -> None:
    """What comes after the change of policy is judged by edition 2 already; the change itself was by the first."""
    chat = started(chats, edition=1)
    done(chat.user_turn("Hello."))
    done(chat.change_policy(Policy.default(), edition=2, mode=Mode.ENFORCED, by=OPERATOR))
    done(chat.assistant_turn("Hello."))
    assert hindsight(log_of(chats)).asked == 3


def test_an_edition_that_nobody_knows(chats: Conversations) -> None:
    """It is not judged by the nearest one: the audit finds every event of it unlawful, and no edition speaks for it."""
    log = edited(mild(chats), 1, law=3)
    report = audit(log, edition=2)
    assert {finding.rules for finding in report.findings} == {("known-edition",)}
    assert len(report.findings) == len(log)
    assert report.hindsight == (2, 0, ())
    with pytest.raises(ValueError, match=r"edition: one of 1, 2 is needed"):
        audit(log, edition=3)


@settings(**drawn(60))
@given(trees(max_steps=30))
def test_by_tree_and_with_fork_points(log: tuple[RecordedEvent, ...]) -> None:
    """The audit of a whole log and of its trees say the same, whatever is kept of them."""
    whole = hindsight(log)
    assert audit(log, forks=fork_points(log), edition=2).hindsight == whole
    parts = [audit_tree(tree, edition=2) for tree in reversed(by_tree(log))]
    merged = merge(audit_global(log), parts).hindsight
    assert (merged == whole) if parts else merged is None


def test_a_log_with_a_gap(chats: Conversations) -> None:
    """The gap is a finding; the rest is asked as it stands."""
    log = mild(chats)
    report = audit([*log[:4], *log[5:]], edition=2)
    assert report.findings
    assert report.hindsight is not None
    assert report.hindsight.asked == len(log) - 1


def test_of_a_long_log_of_a_store(chats: Conversations) -> None:
    """Which is scanned before, for where its branches open."""
    mild(chats)
    store = store_of(chats)
    assert replayed(store, long=0, edition=2).hindsight == replayed(store, edition=2).hindsight


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
def test_of_every_golden_log(path: Path) -> None:
    """What it asks is what was recorded under edition 1."""
    log = checked_log(path)[0]
    first = [one for one in log if isinstance(one.event, ConversationStarted) and one.event.law == 1]
    assert (hindsight(log).asked > 0) == bool(first)


def test_the_command(run: Run, tmp_path: Path) -> None:
    """It says so beneath the findings, and in JSON apart from them; the exit status does not depend on it."""
    log = GOLDEN / "terms.jsonl"
    assert "edition 2 would" not in run("audit", log).stdout
    told = run("audit", log, "--edition", 2).stdout
    assert "no finding\nc at 13, edition 2 would say\n" in told
    assert max(map(len, told.splitlines())) <= 80
    found = as_json(run("audit", log, "--edition", 2, "--json"))
    assert found["findings"] == []
    assert found["hindsight"]["edition"] == 2
    assert [one["rules"] for one in found["hindsight"]["would_say"]] == [["redirected-first"]]
    assert "hindsight" not in as_json(run("audit", log, "--json"))
    assert "not one of 1, 2 (length 1)" in run("audit", log, "--edition", 3, status=2).stderr
    first = run("audit", log, "--edition", 1, status=2).stderr
    assert "edition 1 is the first: nothing was recorded under an earlier one" in first
    assert first.endswith("ask a later one: 2\n")
    with pytest.raises(ValueError, match="edition 1 is the first"):
        audit((), edition=1)


def test_the_command_on_a_store(run: Run, tmp_path: Path) -> None:
    """As on a file."""
    log = GOLDEN / "terms.jsonl"
    run("import", log, "--store", "sqlite:///log.db")
    assert run("audit", "sqlite:///log.db", "--edition", 2).stdout == run("audit", log, "--edition", 2).stdout
