"""What clients were told while servers failed, held against the log that is left.

`findings` is a pure function. It shares no code with the store, the service or the law: it knows commands and events by
their names alone.

    durable     what was acknowledged is in the log, as it was told; what was said not to be written is not
    once        a command has one effect, whatever became of its answers, and every answer to it says the same
    one order   of each tree: versions without gaps, as everybody who read along saw them; what was acknowledged before
                another command was sent comes before it
    exclusive   after an ending there is no turn

Sources of the kinds of findings: Jepsen's `set-full` (lost, stale), Elle's recoverability and real-time order.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

TURNS = frozenset({"UserTurnTaken", "AssistantTurnTaken"})
ENDING = "ConversationEnded"


class Entry(NamedTuple):
    """An event in a log."""

    tree: str
    branch: str
    version: int
    kind: str
    command: str
    begins: bool = False  # the first on its branch, whatever its version

    @property
    def told(self) -> tuple[str, int, str]:
        return self.branch, self.version, self.kind


class Call(NamedTuple):
    """A command that was sent, and what its sender was told."""

    command: str
    began: float
    ended: float
    answer: str  # acknowledged, refused, unwritten ("nothing was written"), or unknown
    events: tuple[tuple[str, int, str], ...] = ()  # that were acknowledged: branch, version, kind


class Reading(NamedTuple):
    """What somebody who follows the log was shown of it as published, in the order of the log."""

    reader: str
    entries: tuple[Entry, ...]


def findings(
    calls: Iterable[Call],
    final: Sequence[Entry],
    readings: Iterable[Reading] = (),
    copies: Mapping[str, str] | None = None,
) -> list[str]:
    """Return what is wrong with a history, each as one line; nothing if it holds.

    Args:
        calls: of every client, in any order.
        final: the log, once all faults are over.
        readings: of those who read along.
        copies: a digest of the log as each node has it; all must be the same.
    """
    calls = list(calls)
    return sorted(
        [
            *_durable(calls, final),
            *_once(calls, final),
            *_in_versions(final),
            *_exclusive(final),
            *_in_real_time(calls),
            *(found for reading in readings for found in _as_read(reading, final)),
            *([f"order: the nodes have different logs: {copies}"] if copies and len(set(copies.values())) > 1 else []),
        ]
    )


def acknowledged(calls: Iterable[Call]) -> int:
    """Return how many commands were acknowledged."""
    return len({call.command for call in calls if call.answer == "acknowledged"})


def _by_command(final: Sequence[Entry]) -> dict[str, list[tuple[str, int, str]]]:
    written: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for entry in final:
        written[entry.command].append(entry.told)
    return written


def _durable(calls: Sequence[Call], final: Sequence[Entry]) -> Iterable[str]:
    written = _by_command(final)
    answers: dict[str, set[str]] = defaultdict(set)
    for call in calls:
        answers[call.command].add(call.answer)
        there = written.get(call.command, [])
        if call.answer == "acknowledged" and not set(call.events) <= set(there):
            yield f"lost: {call.command} was acknowledged as {list(call.events)}, the log has {there}"
    for command, told in answers.items():
        if told == {"unwritten"} and command in written:
            yield f"written: {command} is in the log, and every answer said that nothing was written"


def _once(calls: Sequence[Call], final: Sequence[Entry]) -> Iterable[str]:
    at: dict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(final):
        at[entry.command].append(place)
    for command, places in at.items():
        if places[-1] - places[0] != len(places) - 1:
            yield f"twice: {command} wrote at {places}"
    told: dict[str, set[tuple[tuple[str, int, str], ...]]] = defaultdict(set)
    for call in calls:
        if call.answer == "acknowledged":
            told[call.command].add(call.events)
    for command, answers in told.items():
        if len(answers) > 1:
            yield f"twice: {command} was acknowledged as {sorted(answers)}"


def _in_versions(final: Sequence[Entry]) -> Iterable[str]:
    latest: dict[str, int] = {}
    for entry in final:
        if entry.branch in latest and entry.version != latest[entry.branch] + 1:
            yield f"order: {entry.branch} has version {entry.version} after {latest[entry.branch]}"
        elif entry.branch not in latest and not entry.begins:
            yield f"order: {entry.branch} begins with version {entry.version}"
        latest[entry.branch] = entry.version


def _exclusive(final: Sequence[Entry]) -> Iterable[str]:
    ended: dict[str, int] = {}
    for entry in final:
        if entry.kind in TURNS | {ENDING} and entry.branch in ended:
            yield f"both: {entry.kind} at {entry.version} of {entry.branch}, which ended at {ended[entry.branch]}"
        if entry.kind == ENDING:
            ended.setdefault(entry.branch, entry.version)


def _in_real_time(calls: Sequence[Call]) -> Iterable[str]:
    """What was acknowledged before a command was sent for the first time comes before what that wrote."""
    sent: dict[str, float] = {}
    done: dict[str, float] = {}
    version: dict[str, dict[str, int]] = defaultdict(dict)
    for call in calls:
        sent[call.command] = min(call.began, sent.get(call.command, call.began))
        if call.answer == "acknowledged":
            done[call.command] = min(call.ended, done.get(call.command, call.ended))
            for branch, number, _ in call.events:
                version[branch].setdefault(call.command, number)
    for branch, commands in version.items():
        in_order = sorted(commands, key=commands.__getitem__)
        # Each must have been sent before any later one was done: so it is compared with the earliest of those.
        earliest = float("inf")
        for command in reversed(in_order):
            if sent[command] > earliest:
                yield f"order: {command} on {branch} comes before what was done when it was sent"
            earliest = min(earliest, done[command])


def _as_read(reading: Reading, final: Sequence[Entry]) -> Iterable[str]:
    """What was published of a tree is how its log begins, or goes on from where the reader came in."""
    places: dict[Entry, int] = {}
    numbers: dict[str, int] = defaultdict(int)
    for entry in final:
        numbers[entry.tree] += 1
        places[entry] = numbers[entry.tree]
    latest: dict[str, int] = {}
    for entry in reading.entries:
        if (place := places.get(entry)) is None:
            yield f"lost: {reading.reader} read {entry.told} by {entry.command} in {entry.tree}, which is gone"
        elif place != latest.get(entry.tree, place - 1) + 1:
            yield f"order: {reading.reader} read {entry.told} of {entry.tree} at another place"
        latest[entry.tree] = place or latest.get(entry.tree, 0)
