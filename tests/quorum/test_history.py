"""The checker of histories passes what holds, and finds each thing that it is there for."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from .history import Call, Entry, Reading, acknowledged, findings

LOG = (
    Entry("one", "one", 1, "ConversationStarted", "start", begins=True),
    Entry("two", "two", 1, "ConversationStarted", "begin", begins=True),
    Entry("one", "one", 2, "UserTurnTaken", "says"),
    Entry("one", "fork", 2, "BranchOpened", "edits", begins=True),
    Entry("one", "one", 3, "BranchedOff", "edits"),
    Entry("one", "one", 4, "ConversationEnded", "ends"),
    Entry("one", "one", 5, "FeedbackGiven", "thanks"),
)
BY_COMMAND = {command: tuple(one.told for one in LOG if one.command == command) for command in {e.command for e in LOG}}


def call(command: str, began: float, answer: str = "acknowledged", **changes: Any) -> Call:
    events = BY_COMMAND.get(command, ()) if answer == "acknowledged" else ()
    return Call(command, began, began + 1, answer, events)._replace(**changes)


CALLS = (
    *(call("start", 0), call("begin", 0), call("says", 2, "unknown"), call("says", 4, "unwritten"), call("says", 6)),
    *(call("edits", 8), call("ends", 10), call("says too", 10, "refused"), call("never", 12, "unwritten")),
    *(call("thanks", 12), call("thanks", 14)),
)
READ = Reading("reader", LOG[:4])


def test_a_history_that_holds_has_no_findings() -> None:
    """With answers that were lost, commands that were sent twice, and one that was never written."""
    later = Reading("who came late", LOG[2:])
    assert findings(CALLS, LOG, [READ, later], {"a": "digest", "b": "digest"}) == []
    assert acknowledged(CALLS) == 6


def without(*commands: str) -> tuple[Entry, ...]:
    return tuple(entry for entry in LOG if entry.command not in commands)


def moved(place: int, to: int) -> tuple[Entry, ...]:
    log = list(LOG)
    log.insert(to, log.pop(place))
    return tuple(log)


History = tuple[tuple[Call, ...], tuple[Entry, ...], tuple[Reading, ...]]
WRONG: dict[str, tuple[Callable[[], History], str]] = {
    "an acknowledged event is gone": (lambda: (CALLS, without("thanks"), ()), "lost: thanks was acknowledged"),
    "a part of an append is gone": (lambda: (CALLS, LOG[:3] + LOG[4:], ()), "lost: edits was acknowledged"),
    "an event was replaced by another": (
        lambda: (CALLS, (*LOG[:-1], LOG[-1]._replace(kind="AppealFiled")), ()),
        "lost: thanks was acknowledged",
    ),
    "what was published is gone": (
        lambda: (CALLS[:2], without("says")[:2], (READ,)),
        "lost: reader read .*by says in one, which is gone",
    ),
    "what was said not to be written was": (
        lambda: ((call("says", 0, "unwritten"), call("says", 2, "unwritten")), LOG, ()),
        "written: says is in the log",
    ),
    "a command took effect twice": (
        lambda: (CALLS, (*LOG, LOG[2]._replace(version=6, kind="UserLeft")), ()),
        "twice: says wrote at",
    ),
    "an unknown outcome was resolved in two ways": (
        lambda: ((*CALLS, call("says", 20, events=(("one", 7, "UserTurnTaken"),))), LOG, ()),
        "twice: says was acknowledged as",
    ),
    "a turn after an ending": (
        lambda: (CALLS, (*LOG, Entry("one", "one", 6, "UserTurnTaken", "more")), ()),
        "both: UserTurnTaken at 6 of one, which ended at 4",
    ),
    "two endings": (
        lambda: (CALLS, (*LOG, Entry("one", "one", 6, "ConversationEnded", "more")), ()),
        "both: ConversationEnded at 6 of one",
    ),
    "a gap": (lambda: ((), without("says"), ()), "order: one has version 3 after 1"),
    "a version twice": (lambda: ((), (*LOG, LOG[-1]._replace(command="more")), ()), "order: one has version 5 after 5"),
    "a branch without its beginning": (lambda: ((), without("begin", "start"), ()), "order: one begins with version 2"),
    "another order than was published": (
        lambda: ((), LOG, (Reading("reader", (LOG[0], LOG[2], LOG[4], LOG[3])),)),
        "order: reader read .* of one at another place",
    ),
    "what came later stands before": (
        lambda: ((call("ends", 0), call("says", 20)), LOG, ()),
        "order: says on one comes before what was done when it was sent",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found(name: str) -> None:
    history, expected = WRONG[name]
    calls, log, readings = history()
    found = findings(calls, log, readings)
    assert any(re.match(expected, one) for one in found), found


def test_nodes_that_have_different_logs_are_found() -> None:
    assert findings((), LOG, (), {"a": "digest", "b": "another"}) == [
        "order: the nodes have different logs: {'a': 'digest', 'b': 'another'}"
    ]
