"""The checks of stores that the kit lends: they pass what keeps every promise, and tell which one another breaks."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import Any

import pytest

from lastresort import RecordedEvent
from lastresort.adapters.opening import open_store
from lastresort.adapters.stores.memory import MemoryStore
from lastresort.adapters.stores.rows import Entry
from lastresort.adapters.testing import STORE_CHECKS, check_store
from lastresort.adapters.testing.stores import LEFT
from lastresort.application.ports import Append, CommandRecorded, EventStore, Head, NewEvent, Place
from lastresort.domain.events import ContentErased

from .service_kit import NOON
from .stores import STORES, new_url

# --- Stores that keep every promise -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STORES)
def test_our_stores_keep_every_promise(kind: str, request: pytest.FixtureRequest) -> None:
    """The three that are shipped; each check gets a store that nobody has used."""
    folder, numbers = request.getfixturevalue("tmp_path"), count()

    def factory() -> EventStore:
        url = f"sqlite:///{folder}/{next(numbers)}.db" if kind == "sqlite" else new_url(kind, request)
        store, vault, _ = open_store(url)
        vault.close()
        return store

    check_store(factory)


# --- Stores that break one --------------------------------------------------------------------------------------------


class Broken:
    """A store in memory with one defect, which a subclass makes."""

    def __init__(self) -> None:
        self.store = self.make()

    def make(self) -> MemoryStore:
        return MemoryStore()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class AcceptsGaps(Broken):
    """It looks that a version is free, and not that it is the next."""

    class Store(MemoryStore):
        def _check_versions(self, entries: Sequence[Entry]) -> None:
            pass

    make = Store


class TakesVersionsTwice(Broken):
    """Who comes late is put behind, instead of being told."""

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        recorded: list[RecordedEvent] = []
        for append in appends:
            ends = {event.branch: len(self.store.read(append.tree, event.branch)) for event in append.events}
            late = [e for e in append.events if e.version <= ends[e.branch]]
            behind = tuple(e._replace(version=e.version + ends[e.branch]) if e in late else e for e in append.events)
            recorded += self.store.append(append._replace(events=behind))
        return tuple(recorded)


class ForgetsCommands(Broken):
    """A command that is sent twice takes effect twice."""

    class Store(MemoryStore):
        def _check_commands(self, entries: Sequence[Entry]) -> None:
            pass

    make = Store


class HoldsIdsUniqueInTheStore(Broken):
    """A command is refused, since another conversation has one of its id."""

    class Store(MemoryStore):
        def _check_commands(self, entries: Sequence[Entry]) -> None:
            if {entry.row.command_id for entry in entries} & {command for _, command in self._commands}:
                raise CommandRecorded

    make = Store


class WritesBranchByBranch(Broken):
    """An append to two branches is two appends, of which the first stays when the second fails."""

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        recorded: list[RecordedEvent] = []
        for number, append in enumerate(appends):
            for branch in dict.fromkeys(event.branch for event in append.events):
                events = tuple(event for event in append.events if event.branch == branch)
                command_id = append.command_id if events[0] == append.events[0] else f"{append.command_id}-{number}"
                recorded += self.store.append(append._replace(command_id=command_id, events=events))
        return tuple(recorded)


class WritesWordsFirst(Broken):
    """Words are kept before the events are, and stay when these are refused."""

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        contents = self.store._contents
        for append in appends:
            for event in append.events:
                if event.sealed is not None:
                    contents[Place(event.branch, event.version)] = event.sealed
        return self.store.append(*appends)


class WritesWhatIsTooLarge(Broken):
    """It leaves out what it cannot keep, and says that all is well."""

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        small = [a for a in appends if not any(isinstance(one.event, ContentErased) for one in a.events)]
        return self.store.append(*small)


class KeepsErasedWords(Broken):
    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        return self.store.append(*(append._replace(erased=()) for append in appends))


class LosesWords(Broken):
    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        return self.store.append(
            *(append._replace(events=tuple(e._replace(sealed=None) for e in append.events)) for append in appends)
        )


class SortsByBranch(Broken):
    """As a table does that is read without ORDER BY."""

    def log(self, **part: Any) -> list[RecordedEvent]:
        return sorted(self.store.log(**part), key=lambda recorded: recorded.branch)

    entries = log


class SortsCommandsByBranch(Broken):
    def recorded_by(self, tree: str, command_id: str) -> list[RecordedEvent]:
        return sorted(self.store.recorded_by(tree, command_id), key=lambda recorded: recorded.branch)


class LosesCorrelations(Broken):
    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        return self.store.append(*(append._replace(correlation_id=append.command_id) for append in appends))


class ReadsTooMuch(Broken):
    """It leaves `upto` to the caller."""

    def read(self, tree: str, branch: str, *, after: int = 0, upto: int | None = None, limit: int | None = None) -> Any:
        return self.store.read(tree, branch, after=after, limit=limit)


class BeginsForksAtOne(Broken):
    class Store(MemoryStore):
        def _check_versions(self, entries: Sequence[Entry]) -> None:
            super()._check_versions([entry._replace(begins=entry.row.version == 1) for entry in entries])

    make = Store


class BeginsForksAnywhere(Broken):
    """A branch that has begun begins once more, if somebody says so."""

    class Store(MemoryStore):
        def _check_versions(self, entries: Sequence[Entry]) -> None:
            begun = {branch for branch, versions in self._stored_events_index.items() if versions}
            super()._check_versions([e._replace(begins=e.begins and e.row.branch not in begun) for e in entries])

    make = Store


class AnswersBeforeItWrites(Broken):
    """It says that it wrote what another writer overtook."""

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        said = tuple(
            RecordedEvent(1, branch, version, event.kind, a.recorded_at, a.command_id, event, a.correlation_id)
            for a in appends
            for branch, version, event, *_ in a.events
        )
        clever = len({event.branch for a in appends for event in a.events}) == 1 and appends[0].command_id[0].isdigit()
        try:
            return self.store.append(*appends)
        except Exception:
            if clever:
                return said
            raise


class ImportsOneByOne(Broken):
    """Each append of an import is a transaction of its own."""

    def import_log(self, appends: Iterable[Append]) -> int:
        return sum(len(self.store.append(append)) for append in appends)


class LosesBranches(Broken):
    """What a command wrote is found on the first of its branches only."""

    def recorded_by(self, tree: str, command_id: str) -> list[RecordedEvent]:
        found = self.store.recorded_by(tree, command_id)
        return [one for one in found if one.branch == found[0].branch]


class FindsTheRootOnly(Broken):
    """It has lost the branches of a tree."""

    def heads(self, tree: str) -> Sequence[Head]:
        return self.store.heads(tree)[:1]


class ReadsTheWholeLog(Broken):
    """It cannot read on from a position."""

    def log(self, *, after: int = 0, limit: int | None = None) -> list[RecordedEvent]:
        return list(self.store.log())


class NeverWakes(Broken):
    def wait(self, after: int, timeout: float) -> bool:
        return False


class MarksBarriers(Broken):
    """It makes a barrier of an event of its own."""

    def barrier(self) -> None:
        if number := self.store.head():
            self.store.append(Append("a", "mark", "mark", NOON.isoformat(), (NewEvent("a", number + 1, LEFT),)))


class LetsOthersWrite(Broken):
    """It keeps nobody from writing."""

    def still(self) -> AbstractContextManager[None]:
        return nullcontext()


class FindsWordsOfRootsOnly(Broken):
    """It looks for words on the root of a tree alone."""

    def with_words(self, trees: Iterable[str]) -> set[str]:
        return {tree for tree in trees if self.store.contents([Place(tree, version) for version in range(1, 9)])}


SEEDED = {
    AcceptsGaps: "versions_have_no_gaps",
    TakesVersionsTwice: "a_version_is_taken_once",
    ForgetsCommands: "a_command_is_carried_out_once",
    HoldsIdsUniqueInTheStore: "two_trees_may_each_have_a_command_of_one_id",
    WritesBranchByBranch: "an_append_is_all_or_nothing",
    WritesWhatIsTooLarge: "what_is_too_large_is_not_written",
    WritesWordsFirst: "an_append_is_all_or_nothing",
    KeepsErasedWords: "words_come_and_go_with_their_events",
    LosesWords: "words_come_and_go_with_their_events",
    SortsByBranch: "positions_rise_in_the_order_of_appends",
    SortsCommandsByBranch: "a_command_is_found_in_log_order",
    LosesCorrelations: "what_is_appended_is_read_again",
    ReadsTooMuch: "a_branch_is_read_in_part",
    BeginsForksAtOne: "a_fork_begins_after_its_prefix",
    BeginsForksAnywhere: "a_fork_begins_after_its_prefix",
    AnswersBeforeItWrites: "of_several_writers_one_comes_first",
    FindsTheRootOnly: "a_tree_is_known_by_each_of_its_branches",
    ReadsTheWholeLog: "the_log_is_followed_from_anywhere",
    NeverWakes: "the_log_is_followed_from_anywhere",
    FindsWordsOfRootsOnly: "trees_with_words_are_known",
    MarksBarriers: "a_barrier_changes_nothing",
    LetsOthersWrite: "nobody_writes_while_it_is_still",
    ImportsOneByOne: "an_import_is_seen_as_a_whole",
    LosesBranches: "a_command_is_found_in_log_order",
}
"""Each defect, and the promise that it breaks."""


@pytest.mark.parametrize(("store", "promise"), SEEDED.items(), ids=[store.__name__ for store in SEEDED])
def test_a_store_that_breaks_a_promise_is_told_which(store: type[Broken], promise: str) -> None:
    """By its check, and by the run of all of them; the store itself works well enough for most of the others."""
    failed = []
    for name, check in STORE_CHECKS.items():
        try:
            check(store())
        except Exception:
            failed.append(name)
    assert promise in failed
    assert len(failed) <= 5, failed
    with pytest.raises(AssertionError, match=f"^the store breaks a promise: {failed[0].replace('_', ' ')}: "):
        check_store(store)


def test_every_promise_is_broken_by_a_store_here() -> None:
    """So that no check passes by looking at nothing."""
    assert set(SEEDED.values()) == set(STORE_CHECKS)
