"""The audit names every place where a log is not whole: gaps, branches from nowhere, risks that are not everywhere."""

from typing import Any

import pytest

from lastresort import Conversations, ForkCause, HoldReason
from lastresort.application.chat import Chat
from lastresort.domain.events import (
    BranchedOff,
    BranchOpened,
    RecordedEvent,
    RiskCleared,
    RiskRaised,
    Unreadable,
    UserLeft,
)
from lastresort.domain.values import OpenRisk
from lastresort.projections import audit

from .narrow import must_be
from .stores import LEFT, OPERATOR, USER, chats, done, ended, log_of, numbered, started
from .tampered import Log, ending, event_at, forked, found, instead, then

__all__ = ["chats", "ending", "forked"]


def test_a_removed_event_leaves_a_gap(ending: Log) -> None:
    """In the positions, and on the branch; once, not for all that follows."""
    log = [entry for entry in ending if entry.version != 16]
    assert found(log)[:2] == [("c", 17, {"structure-gap"}), ("c", 17, {"structure-gap"})]
    assert {rules for _, _, rule in found(log)[2:] for rules in rule}.isdisjoint({"structure-gap"})
    assert [finding.detail for finding in audit(log).findings][:2] == [
        "position 17 where 16 was to come",
        "version 17 follows version 15",
    ]


def test_events_are_counted_wherever_the_positions_begin(ending: Log) -> None:
    """What was cut off before is a gap, and no event."""
    later = [entry._replace(position=entry.position + 100) for entry in ending[:7]]
    report = audit(later)
    assert report.events == 7
    assert [finding.detail for finding in report.findings] == ["position 101 where 1 was to come"]


def test_a_removed_event_is_a_gap_even_if_the_positions_are_closed_up(ending: Log) -> None:
    """Removing what no rule needs breaks no rule, and is found all the same."""
    log = then(ending, RiskRaised(by=USER, risk="r", about="self"), RiskRaised(by=USER, risk="s", about="self"))
    assert found(numbered([*log[:22], log[23]])) == [("c", 24, {"structure-gap"})]


def test_a_log_out_of_order_is_found(ending: Log) -> None:
    """The warning before the turn that gave it: both are out of place, and the warning breaks the law."""
    log = [*ending[:15], ending[16], ending[15], *ending[17:]]
    gaps = [(version, rules) for _, version, rules in found(log) if rules == {"structure-gap"}]
    assert gaps == [(17, {"structure-gap"})] * 2 + [(16, {"structure-gap"})] * 2 + [(18, {"structure-gap"})] * 2
    assert [rules for _, version, rules in found(log) if version == 17][-1] == {"answers-a-user"}


def test_a_branch_that_does_not_begin_at_one_is_found() -> None:
    """Whatever it begins with."""
    event = UserLeft(by=USER)
    assert found([RecordedEvent(1, "c", 3, event.kind, "t", "one", event, "one")]) == [
        ("c", 3, {"structure-gap"}),
        ("c", 3, {"begins-once"}),
    ]


def test_an_unreadable_entry_is_found_and_takes_its_place(ending: Log) -> None:
    """What follows it is no gap; an unreadable branch does not stop the audit."""
    gone = ending[19]
    log: list[RecordedEvent | Unreadable] = [
        *ending[:19],
        Unreadable(20, "c", 20, "Future", "kind: Future is not a kind of event"),
        *ending[20:],
    ]
    assert gone.kind == "HopeExhausted"
    assert found(log) == [("c", 20, {"structure-unreadable"}), ("c", 22, {"hope-exhausted", "evidence-is-true"})]
    assert audit(log).findings[0].detail == "kind: Future is not a kind of event"
    assert audit(log).events == 22
    alone = audit([Unreadable(1, "d", 1, "Future", "why")])
    assert [(finding.branch, finding.version) for finding in alone.findings] == [("d", 1)]
    assert alone.branches == 0


def test_a_command_that_was_used_for_two_appends_is_found(ending: Log) -> None:
    """At the second of them."""
    log = [*ending[:20], ending[20]._replace(command_id=ending[3].command_id), *ending[21:]]
    assert found(log) == [("c", 21, {"structure-command"})]
    at_the_end = [*ending[:21], ending[21]._replace(command_id=ending[3].command_id)]
    assert found(at_the_end) == [("c", 22, {"structure-command"})]


def test_a_command_that_a_second_tree_used_for_two_appends_is_found(chats: Conversations) -> None:
    """Each tree may use an id once, whichever used it first."""
    for name in ("c", "other"):
        started(chats, name).user_turn("One.")
    done(chats.chat("other").leave())
    log = log_of(chats)
    once = [entry._replace(command_id="say" if entry.kind == "UserTurnTaken" else entry.command_id) for entry in log]
    assert found(once) == []
    assert found([*once[:-1], once[-1]._replace(command_id="say")]) == []  # with the turn, it is one append
    done(chats.chat("other").leave())
    log = [*once, log_of(chats)[-1]._replace(command_id="say")]
    assert found(log) == [("other", 4, {"structure-command"})]


def test_a_fork_that_only_the_child_knows_of_is_found(forked: Log) -> None:
    """The parent does not note it."""
    assert found(forked) == []
    assert found(instead(forked, 6, LEFT)) == [("d", 4, {"structure-fork"})]
    assert audit(instead(forked, 6, LEFT)).findings[0].detail == "branch c does not note this fork in the same append"


def test_a_fork_that_only_the_parent_knows_of_is_found(forked: Log) -> None:
    """The child never opened, or in another append, or elsewhere."""
    alone = forked[:6]
    assert found(alone) == [("c", 6, {"structure-fork"})]
    assert audit(alone).findings[0].detail == "branch d did not open at 3 in the same append"
    apart = [*forked[:6], *(entry._replace(command_id="another") for entry in forked[6:])]
    assert found(apart) == [("c", 6, {"structure-fork"}), ("d", 4, {"structure-fork"})]
    elsewhere = instead(forked, 6, BranchedOff(by=USER, child="d", at=1))
    assert found(elsewhere) == [("c", 6, {"structure-fork"}), ("d", 4, {"structure-fork"})]


def test_a_fork_from_nowhere_is_found(forked: Log) -> None:
    """A parent that is not in the log: nothing is known of the turn that the branch replaced."""
    log = edited_fork(forked, parent="nowhere")
    assert found(log)[0] == ("d", 4, {"structure-fork"})
    assert audit(log).findings[0].detail == "the fork points to branch nowhere, which is not there"
    assert found(log)[1] == ("d", 4, {"forks-at-a-turn", "refers-to-the-path"})


def test_a_branch_of_another_conversation_is_found(forked: Log) -> None:
    """It would be sealed, and erased, with that one."""
    log = edited_fork(forked, conversation="other")
    assert found(log) == [("d", 4, {"structure-conversation"})]


def test_a_second_root_of_a_conversation_is_found(forked: Log) -> None:
    """Two branches that begin would share a key."""
    again = forked[0]._replace(position=len(forked) + 1, branch="e", command_id="again", correlation_id="again")
    assert found((*forked, again)) == [("e", 1, {"structure-conversation"})]


def edited_fork(log: Log, **fields: Any) -> Log:
    return instead(log, 4, event_at(log, 4, "d").model_copy(update=fields), "d")


@pytest.mark.parametrize(
    ("at", "cause", "rules"),
    [
        (3, ForkCause.EDIT, set()),
        (3, ForkCause.RETRY, {"forks-at-a-turn"}),
        (4, ForkCause.EDIT, {"forks-at-a-turn"}),
        (4, ForkCause.RETRY, set()),
        (5, ForkCause.EDIT, {"forks-at-a-turn"}),
        (6, ForkCause.EDIT, {"forks-at-a-turn"}),
        (9, ForkCause.EDIT, {"forks-at-a-turn", "refers-to-the-path"}),
    ],
)
def test_a_fork_is_audited_where_it_opened(forked: Log, at: int, cause: ForkCause, rules: set[str]) -> None:
    """At a turn of the right kind, on the path of the parent as it then was."""
    note, opened_at, turn = forked[5], forked[6], forked[7]
    log = [
        *forked[:5],
        note._replace(event=BranchedOff(by=USER, child="d", at=at)),
        opened_at._replace(version=at + 1, event=opened_at.event.model_copy(update={"at": at, "cause": cause})),
        turn._replace(version=at + 2),
    ]
    broken = {
        rule
        for branch, version, found_rules in found(log)
        if (branch, version) == ("d", at + 1)
        for rule in found_rules
    }
    assert broken == rules


def test_a_fork_of_a_fork_is_audited_on_the_whole_path(chats: Conversations) -> None:
    """The turn that it replaces may stand on the branch, or on one that the branch inherits from."""
    chat = started(chats)
    for words in ("One.", "Two."):
        chat.user_turn(words)
        chat.assistant_turn("I see.")
    child = must_be(Chat, chat.edit(4, "Three.", child="d"))
    child.assistant_turn("I see.")
    grandchild = must_be(Chat, child.edit(5, "Four.", child="e"))
    grandchild.edit(2, "Five.", child="f")
    grandchild.retry(3, child="g")
    assert found(log_of(chats)) == []
    log = edited_fork_of(log_of(chats), "g", cause=ForkCause.EDIT)
    assert found(log) == [("g", 3, {"forks-at-a-turn"})]


def test_a_fork_at_the_fork_of_its_parent_replaces_no_turn(forked: Log) -> None:
    """What follows there on the parent's path is its own beginning, not the turn that it replaced in its turn."""
    event = BranchOpened(by=USER, conversation="c", parent="d", at=3, cause=ForkCause.EDIT, risks=())
    note = BranchedOff(by=USER, child="e", at=3)
    log = then(forked, note)
    log.append(RecordedEvent(10, "e", 4, event.kind, "t", log[-1].command_id, event, "t"))
    assert found(log) == [("e", 4, {"forks-at-a-turn"})]


def edited_fork_of(log: Log, branch: str, **fields: Any) -> Log:
    return [
        entry._replace(event=entry.event.model_copy(update=fields))
        if entry.branch == branch and entry.kind == "BranchOpened"
        else entry
        for entry in log
    ]


def test_a_fork_behind_the_ending_is_found(ending: Log) -> None:
    """The path would hold the ending; a fork before it is lawful, but for the note that is missing."""
    for at, rules in (
        (22, {"forks-before-the-end", "forks-at-a-turn", "structure-fork"}),
        (21, {"forks-at-a-turn", "structure-fork"}),
        (17, {"structure-fork"}),
    ):
        event = BranchOpened(by=USER, conversation="c", parent="c", at=at, cause="edit", risks=())
        log = [*ending, RecordedEvent(23, "d", at + 1, event.kind, "t", "fork", event, "fork")]
        assert {rule for _, _, found_rules in found(log) for rule in found_rules} == rules, at
    later = then(ending, RiskRaised(by=USER, risk="r", about="self"))
    event = BranchOpened(
        by=USER, conversation="c", parent="c", at=22, cause="edit", risks=(OpenRisk(risk="r", about="self"),)
    )
    log = [*later, RecordedEvent(24, "d", 23, event.kind, "t", "fork", event, "fork")]
    assert "forks-before-the-end" in found(log)[0][2]


def test_a_risk_that_is_not_everywhere_is_found(forked: Log) -> None:
    """Raised on one branch of two, or raised on one and cleared on the other: one finding for each event."""
    raised, other = RiskRaised(by=USER, risk="r", about="self"), RiskRaised(by=USER, risk="s", about="self")
    assert forked[-1].branch == "d"
    log = then(forked, raised)
    assert found(log) == [("d", 6, {"structure-risk"})]
    assert audit(log).findings[0].detail == "RiskRaised r is not on: c"
    cleared = RiskCleared(by=OPERATOR, risk="r")
    for on_c, findings in ((raised, []), (other, [6, 7]), (LEFT, [6]), (cleared, [6, 7])):
        both = [*log, RecordedEvent(10, "c", 7, on_c.kind, "t", log[-1].command_id, on_c, "t")]
        assert [version for _, version, rules in found(both) if rules == {"structure-risk"}] == findings


def test_a_risk_that_is_about_somebody_else_on_another_branch_is_found(chats: Conversations) -> None:
    """One risk is one person's, wherever it holds."""
    chat = started(chats)
    chat.user_turn("One.")
    must_be(Chat, chat.edit(2, "Something else.", child="d"))
    chat.raise_risk(risk="r")
    log = log_of(chats)
    both = [entry for entry in log if isinstance(entry.event, RiskRaised)]
    assert [entry.branch for entry in both] == ["c", "d"]
    other = RiskRaised(by=USER, risk="r", about="others")
    assert found([*log[:-1], log[-1]._replace(event=other)]) == [
        (entry.branch, entry.version, {"structure-risk"}) for entry in both
    ]


def test_a_risk_that_is_not_on_a_branch_that_ended_is_found(chats: Conversations) -> None:
    """It has ended, and may be branched from all the same: what opens there is to carry the risk."""
    chat = ended(started(chats))
    must_be(Chat, chat.edit(18, "Something else.", child="d")).raise_risk(risk="r")
    log = log_of(chats)
    raised = [entry.branch for entry in log if isinstance(entry.event, RiskRaised)]
    assert sorted(raised) == ["c", "d"]
    assert found(log) == []
    without = numbered(e for e in log if not (e.branch == "c" and isinstance(e.event, RiskRaised)))
    assert found(without) == [("d", without[-1].version, {"structure-risk"})]
    assert audit(without).findings[0].detail == "RiskRaised r is not on: c"


def test_a_risk_that_is_cleared_on_one_branch_only_is_found(chats: Conversations) -> None:
    """The other branch is still held."""
    chat = started(chats)
    chat.user_turn("Hello.")
    chat.edit(2, "Good evening.", child="d")
    chat.raise_risk(risk="r")
    chat.clear_risk("r", by=OPERATOR)
    log = log_of(chats)
    assert found(log) == []
    assert [entry.kind for entry in log[-2:]] == ["RiskCleared", "RiskCleared"]
    assert found(log[:-1]) == [(log[-2].branch, log[-2].version, {"structure-risk"})]


def test_a_fork_carries_the_risks_of_its_tree(chats: Conversations) -> None:
    """A branch that left them behind, or invented one, is found."""
    chat = started(chats)
    chat.user_turn("Hello.")
    chat.raise_risk(risk="r")
    chat.edit(2, "Good evening.", child="d")
    log = log_of(chats)
    assert found(log) == []
    one, another = OpenRisk(risk="r", about="self"), OpenRisk(risk="s", about="others")
    for risks in ((), (another,), (one, another)):
        assert found(edited_fork_of(log, "d", risks=risks)) == [("d", 2, {"carries-risks"})]


def test_a_fork_carries_the_risks_of_every_branch_of_its_tree(chats: Conversations) -> None:
    """Of one that is not its parent too, where a damaged log has the risk there alone."""
    chat = started(chats)
    chat.user_turn("Hello.")
    chat.edit(2, "Good evening.", child="d")
    chat.raise_risk(risk="r")
    chat.edit(2, "Good morning.", child="e")
    log = numbered(e for e in log_of(chats) if not (e.branch == "c" and isinstance(e.event, RiskRaised)))
    assert {"carries-risks"} not in [rules for _, _, rules in found(log)]
    assert ("e", 2, {"carries-risks"}) in found(edited_fork_of(log, "e", risks=()))


@pytest.mark.parametrize("parents", [{"x": "x"}, {"x": "y", "y": "x"}], ids=["of itself", "of each other"])
def test_branches_that_are_forks_of_themselves_are_found(parents: dict[str, str]) -> None:
    """Someone who tampers with a log must not be able to keep the audit from ending."""
    log: list[RecordedEvent] = []
    for branch, parent, at in (*((b, p, 9) for b, p in parents.items()), ("z", "x", 3)):
        event = BranchOpened(by=USER, conversation="c", parent=parent, at=at, cause="edit", risks=())
        log.append(RecordedEvent(len(log) + 1, branch, at + 1, event.kind, "t", f"fork-{branch}", event, "fork"))
    with at_most(seconds=2):
        assert {rule for _, _, rules in found(log) for rule in rules} >= {"structure-fork"}


class at_most:
    """Interrupts the block after so many seconds."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        import signal

        def give_up(*_: object) -> None:
            raise TimeoutError(f"not done in {self.seconds} s")

        self.before = signal.signal(signal.SIGALRM, give_up)
        signal.alarm(self.seconds)

    def __exit__(self, *_: object) -> None:
        import signal

        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.before)


def test_a_legal_hold_that_is_not_everywhere_is_found(chats: Conversations) -> None:
    """Set on one branch of two, or released on one of them: words could be erased on the other."""
    chat = started(chats)
    chat.user_turn("Hello.")
    chat.edit(2, "Good evening.", child="d")
    chat.hold("h", reason=HoldReason.LITIGATION, by=OPERATOR)
    held = log_of(chats)
    chat.release_hold("h", by=OPERATOR)
    for log in (held, log_of(chats)):
        assert found(log) == []
        last, before = log[-1], log[-2]
        assert found(log[:-1]) == [(before.branch, before.version, {"structure-hold"})]
        assert audit(log[:-1]).findings[0].detail == f"{last.kind} h is not on: {last.branch}"
