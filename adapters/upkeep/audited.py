"""What an audit of a store does beside replaying its log.

It looks at how the events of a command are counted, and at the snapshots, and is noted for the doctor.
"""

import gc
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.stores.rows import LAST
from lastresort.adapters.stores.sql import SQLStore
from lastresort.application.conversations import Conversations
from lastresort.application.ports import EventStore, Snapshots
from lastresort.domain.events import RecordedEvent
from lastresort.domain.state import Conversation, evolve
from lastresort.projections import Finding, Report, audit, fork_points
from lastresort.projections.audit import READ_TWICE

from .checks import AUDITED

LONG = 1_000_000  # events: beyond that the states before all turns take hundreds of megabytes


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep the garbage collector away while a log is replayed.

    A replay leaves no cycles behind, so there is nothing to collect; but all that it keeps would be looked through
    again and again, which takes a third of the time where the log is long. The collector is the whole process's, so
    this is for a command, which does nothing else meanwhile, and not for a program that embeds this one.
    """
    usual = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if usual:
            gc.enable()


def replayed(
    store: EventStore, read_twice: int | None = READ_TWICE, long: int = LONG, edition: int | None = None
) -> Report:
    """Audit the log of a store; one of more than `long` events is scanned before, to keep memory to its branches."""
    head = store.head()
    if head <= long:
        return audit(store.entries(), read_twice=read_twice, edition=edition)
    forks = fork_points(store.entries(limit=head))
    return audit(store.entries(limit=head), forks=forks, read_twice=read_twice, edition=edition)


def wrong_counts(conversations: Conversations) -> tuple[Finding, ...]:
    """Return a finding for each command whose events are not counted as they stand: it might take effect once more."""
    stores = [part.store for part in conversations.parts]
    detail = "the events of this command are not counted from 0, and if it were sent again nobody would know"
    return tuple(
        Finding(branch=branch, version=version, rules=("structure-command",), detail=detail)
        for store in stores
        if isinstance(store, SQLStore)
        for branch, version in store.miscounted()
    )


def wrong_lists(conversations: Conversations) -> tuple[Finding, ...]:
    """Return a finding for each branch that the lists, which `page` reads, have otherwise than the log."""
    stores = [part.store for part in conversations.parts]
    detail = "the lists have this branch otherwise than the log; `lastresort migrate` makes them again"
    return tuple(
        Finding(branch=branch, version=version, rules=("structure-state",), detail=detail)
        for store in stores
        if isinstance(store, SQLStore)
        for branch, version in store.wrongly_listed()
    )


def wrong_snapshots(conversations: Conversations) -> tuple[Finding, ...]:
    """Return a finding for each snapshot in use that is not what the log adds up to."""
    detail = "the snapshot at this version is not what the log adds up to; `lastresort migrate` makes it again"
    return tuple(
        Finding(branch=branch, version=version, rules=("structure-state",), detail=detail)
        for part in conversations.parts
        if isinstance(store := part.store, SQLStore) and (snapshots := part.service.ports.snapshots) is not None
        for branch in store.long_branches(snapshots.every or LAST)
        for version in wrong_versions(snapshots, branch, store.snapshot_versions(branch), part.path(branch))
    )


def wrong_versions(
    snapshots: Snapshots, branch: str, versions: Iterable[int], path: Iterable[RecordedEvent]
) -> list[int]:
    """Return the versions of the snapshots of a branch, of those in use, that are not what its path adds up to.

    Each is looked up by itself: between two of them there may be any number that are not in use.
    """
    kept = (snapshots.latest(branch, version) for version in versions)
    in_use = {found.state.version: found.state for found in kept if found is not None}
    wrong, state = [], Conversation()
    for recorded in path if in_use else ():
        state = evolve(state, recorded.event)
        if recorded.branch == branch and in_use.get(recorded.version, state) != state:
            wrong.append(recorded.version)
    return wrong


def note_audit(conversations: Conversations, events: int, findings: int) -> None:
    """Note that there was an audit, and what came of it; not where the auditor may only read.

    Of several stores that were audited together, each has this note.
    """
    for part in conversations.parts:
        at = part.service.ports.clock().astimezone(UTC).isoformat(timespec="seconds")
        with suppress(StoreError):
            if isinstance(part.store, SQLStore):
                note = {"at": at, "events": events, "findings": findings}
                part.store.note(AUDITED, json.dumps(note))
