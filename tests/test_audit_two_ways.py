"""The audit takes most entries a short way, and says the same as the long way: in the same order, in the same words.

Of lawful logs in which every kind of event happens, and of what somebody made of them.
"""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from bench.diverse import diverse
from bench.stories import write
from lastresort.domain.events import EVENTS, ConversationStarted, EventBase, RecordedEvent
from lastresort.domain.values import Actor
from lastresort.projections import Report, audit
from lastresort.projections.audit import _Trees
from lastresort.projections.findings import Entry
from lastresort.projections.replay import fork_points

from .drawing import examples
from .stores import opened
from .tampered import Log
from .test_audit_by_tree import MUTATIONS, mutated

EVENTS_DRAWN = 5_000
IN_A_LOG = 80  # events, at least


@pytest.fixture(scope="module")
def logs() -> list[Log]:
    """Logs of some whole conversations each, in which every kind of event happens."""
    with opened("memory:") as chats:
        write(chats.store, diverse(EVENTS_DRAWN, seed=7))
        log = list(chats.store.log())
    assert {entry.kind for entry in log} == set(EVENTS)
    return list(_parts(log))


def _parts(log: Log) -> Iterator[Log]:
    """Cut a log in which one conversation comes after another."""
    part: Log = []
    for entry in log:
        if len(part) >= IN_A_LOG and isinstance(entry.event, ConversationStarted):
            yield part
            part = []
        part.append(entry._replace(position=len(part) + 1))
    yield part


def the_long_way(log: list[Entry], **options: Any) -> Report:
    """Audit a log as if each of its entries were unusual."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Trees, "take_all", _one_by_one)
        return audit(log, **options)


def _one_by_one(trees: Any, placed: Any) -> None:
    for one in placed:
        trees.take(*one)


def edited(log: list[Entry], chance: random.Random) -> None:
    """Put another value into a field of an event: another's of its kind, another number, or another actor."""
    at = chance.randrange(len(log))
    entry = log[at]
    if not isinstance(entry, RecordedEvent):
        return
    others = [one.event for one in log if isinstance(one, RecordedEvent) and type(one.event) is type(entry.event)]
    name = chance.choice(list(type(entry.event).model_fields))
    value = getattr(chance.choice(others), name)
    if isinstance(value, int):
        value += chance.choice((-1, 0, 1))
    elif isinstance(value, Actor):
        value = chance.choice([one.event.by for one in log if isinstance(one, RecordedEvent)])
    try:
        event: EventBase = entry.event.model_copy(update={name: value})
    except ValueError:
        return  # no such event can be read from a log
    log[at] = entry._replace(event=event)  # type: ignore[arg-type]  # of the same kind


def damaged(log: Log, chance: random.Random) -> list[Entry]:
    changes = [
        (chance.choice(sorted(MUTATIONS)), chance.randrange(200), chance.randrange(200))
        for _ in range(chance.randint(0, 2))
    ]
    changed = mutated(log, changes)
    for _ in range(chance.randint(0, 3)):
        edited(changed, chance)
    return changed


def agree(log: list[Entry], **options: Any) -> Report:
    short, long = audit(log, **options), the_long_way(log, **options)
    assert short == long
    assert list(short.states) == list(long.states)
    return short


def test_lawful_logs_have_no_finding_either_way(logs: list[Log]) -> None:
    for log in logs:
        assert agree(list(log), read_twice=0).findings == ()


def test_whatever_becomes_of_a_log_both_ways_say_the_same(logs: list[Log]) -> None:
    """With and without the turns at which branches open, with some of it read twice, and with hindsight."""
    chance = random.Random(11)
    guilty, rules = 0, set[str]()
    for number in range(examples(dev=300, ci=600, nightly=5_000)):
        log = damaged(chance.choice(logs), chance)
        options: dict[str, Any] = {"read_twice": 0}
        if number % 10 == 0:
            options = {"forks": fork_points(log), "read_twice": 40}
        elif number % 10 == 1:
            options = {"edition": 2}
        found = agree(log, **options).findings
        guilty += bool(found)
        rules.update(rule for finding in found for rule in finding.rules)
    assert guilty > 200
    assert len(rules) > 30, sorted(rules)
