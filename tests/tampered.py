"""Logs that are lawful, and what somebody made of them: another event in the place of one, or more at the end."""

from collections.abc import Iterable
from typing import Any

import pytest

from lastresort import Conversations
from lastresort.domain.events import Event, RecordedEvent, Unreadable
from lastresort.projections import audit

from .stores import ended, log_of, opened, started

Log = list[RecordedEvent]


@pytest.fixture(scope="module")
def ending() -> Log:
    """A lawful ending as last resort, as `stores.ended` tells it: 22 events on one branch."""
    with opened("memory:") as chats:
        ended(started(chats))
        return log_of(chats)


@pytest.fixture
def forked(chats: Conversations) -> Log:
    """A conversation `c` of six events, and its branch `d`, which opened at 3 in place of turn 4."""
    chat = started(chats)
    chat.user_turn("One.")
    chat.assistant_turn("Two.")
    chat.user_turn("Three.")
    chat.assistant_turn("Four.")
    chat.edit(4, "Something else.", child="d")
    return log_of(chats)


def found(log: Iterable[RecordedEvent | Unreadable]) -> list[tuple[str, int, set[str]]]:
    return [(finding.branch, finding.version, set(finding.rules)) for finding in audit(log).findings]


def breaches(log: Iterable[RecordedEvent | Unreadable]) -> dict[int, set[str]]:
    """The rules that were found broken on the only branch, by version."""
    return {version: rules for _, version, rules in found(log)}


def event_at(log: Log, version: int, branch: str = "c") -> Any:
    return next(entry.event for entry in log if (entry.branch, entry.version) == (branch, version))


def instead(log: Log, version: int, event: Event, branch: str = "c") -> Log:
    """The log with another event at a version, and everything else as it was."""
    return [
        entry._replace(kind=event.kind, event=event) if (entry.branch, entry.version) == (branch, version) else entry
        for entry in log
    ]


def edited(log: Log, version: int, **fields: Any) -> Log:
    """The log with other values in the event at a version."""
    return instead(log, version, event_at(log, version).model_copy(update=fields))


def then(log: Log, *events: Event) -> Log:
    """The log with `events` at the end of its last branch, each by a command of its own."""
    last = log[-1]
    more = [
        RecordedEvent(
            last.position + n, last.branch, last.version + n, event.kind, "t", f"then-{n}", event, f"then-{n}"
        )
        for n, event in enumerate(events, start=1)
    ]
    return [*log, *more]
