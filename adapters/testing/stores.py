"""The promises of an event store, as checks: `check_store(factory)` holds any store to them.

`STORE_CHECKS` are the same checks by name, if you want one test for each:

    @pytest.mark.parametrize("check", STORE_CHECKS.values(), ids=STORE_CHECKS)
    def test_my_store(check):
        check(MyStore())
"""

from collections.abc import Callable, Iterator
from threading import Barrier, Thread
from threading import Event as Signal

from lastresort.application.ports import (
    Append,
    CommandRecorded,
    EventStore,
    EventTooLarge,
    Head,
    NewEvent,
    Place,
    SealedWords,
    VersionConflict,
)
from lastresort.domain.events import (
    BranchedOff,
    BranchOpened,
    ContentErased,
    Event,
    RecordedEvent,
    UserLeft,
    UserTurnTaken,
)
from lastresort.domain.values import ErasureCause, ForkCause

from .asking import USER
from .strategies import THEN

StoreCheck = Callable[[EventStore], None]

STORE_CHECKS: dict[str, StoreCheck] = {}
"""What a store promises, by name. Each check takes an empty store."""

LEFT = UserLeft(by=USER)
SEALED = SealedWords("sha256:" + "5" * 64, b"sealed")
SAID = UserTurnTaken(by=USER, content=SEALED.digest)


class _Left(Exception):
    """Leaves a block."""


def check_store(factory: Callable[[], EventStore]) -> None:
    """Hold the stores that `factory` makes, each empty, to every promise of the port.

    Raises:
        AssertionError: naming the promise that was broken.
    """
    for name, check in STORE_CHECKS.items():
        store = factory()
        try:
            check(store)
        except Exception as error:  # a promise may be broken in any way
            raise AssertionError(f"the store breaks a promise: {name.replace('_', ' ')}: {error}") from error
        finally:
            store.close()


def _promise(check: StoreCheck) -> StoreCheck:
    STORE_CHECKS[check.__name__] = check
    return check


def _append(command_id: str, *places: tuple[str, int], event: Event = LEFT, erased: tuple[Place, ...] = ()) -> Append:
    events = tuple(NewEvent(branch, version, event) for branch, version in places)
    return Append("a", command_id, command_id, THEN.isoformat(), events, erased)


def _places(recorded: object) -> list[tuple[str, int]]:
    assert isinstance(recorded, list | tuple)
    return [(one.branch, one.version) for one in recorded]


def _refuses(store: EventStore, error: type[Exception], *appends: Append) -> None:
    before = list(store.log())
    try:
        store.append(*appends)
    except error:
        pass
    else:
        raise AssertionError(f"it wrote what it must refuse with {error.__name__}")
    assert list(store.log()) == before, "what it refused left something behind"


@_promise
def what_is_appended_is_read_again(store: EventStore) -> None:
    append = _append("one", ("a", 1), ("a", 2))._replace(correlation_id="wider")
    returned = store.append(append)
    logged = list(store.log())
    assert list(returned) == logged, "append returns other events than the log holds"
    assert _places(logged) == [("a", 1), ("a", 2)], "the log holds other events than were appended"
    for one in logged:
        assert isinstance(one, RecordedEvent)
        assert (one.kind, one.event, one.recorded_at) == ("UserLeft", LEFT, THEN.isoformat()), "an event was changed"
        assert (one.command_id, one.correlation_id) == ("one", "wider"), "an envelope was changed"
    assert _places(list(store.read("a", "a"))) == [("a", 1), ("a", 2)], "a branch reads otherwise than it was written"


@_promise
def positions_rise_in_the_order_of_appends(store: EventStore) -> None:
    for number in range(1, 4):
        store.append(_append(f"b{number}", ("b", number)), _append(f"a{number}", ("a", number)))
    logged = list(store.log())
    assert _places(logged) == [(branch, n) for n in range(1, 4) for branch in "ba"], "the log is out of order"
    assert [one.position for one in logged] == list(range(1, 7)), "positions do not count from 1"
    assert list(store.entries()) == logged, "entries are not what the log is"


@_promise
def a_branch_is_read_in_part(store: EventStore) -> None:
    store.append(_append("one", *(("a", version) for version in range(1, 10))))
    assert _places(list(store.read("a", "a", after=2, upto=5))) == [("a", 3), ("a", 4), ("a", 5)], (
        "after or upto is off"
    )
    assert _places(list(store.read("a", "a", after=2, limit=2))) == [("a", 3), ("a", 4)], "limit is off"
    assert list(store.read("a", "nobody")) == [], "a branch that is not there has events"


@_promise
def versions_have_no_gaps(store: EventStore) -> None:
    _refuses(store, VersionConflict, _append("late", ("a", 2)))
    store.append(_append("one", ("a", 1)))
    _refuses(store, VersionConflict, _append("gap", ("a", 3)))
    _refuses(store, VersionConflict, _append("gap-inside", ("a", 2), ("a", 4)))


@_promise
def a_version_is_taken_once(store: EventStore) -> None:
    store.append(_append("one", ("a", 1), ("a", 2)))
    _refuses(store, VersionConflict, _append("again", ("a", 2)))
    _refuses(store, VersionConflict, _append("from-the-start", ("a", 1)))


@_promise
def an_append_is_all_or_nothing(store: EventStore) -> None:
    store.append(_append("one", ("a", 1)))
    worded = Append(
        "a", "both", "both", THEN.isoformat(), (NewEvent("b", 1, SAID, SEALED.data), NewEvent("a", 3, LEFT))
    )
    _refuses(store, VersionConflict, worded)
    assert store.contents([Place("b", 1)]) == {}, "the words of a refused append are kept"
    _refuses(store, VersionConflict, _append("fine", ("b", 1)), _append("not", ("a", 1)))
    store.append(_append("both", ("a", 2), ("a", 3)))
    assert _places(list(store.recorded_by("a", "both"))) == [("a", 2), ("a", 3)], "a refused command id is used up"


@_promise
def what_is_too_large_is_not_written(store: EventStore) -> None:
    store.append(_append("one", ("a", 1)))
    large = ContentErased(by=USER, contents=(SEALED.digest,) * 900, cause=ErasureCause.LEGAL)  # some 66 kilobytes
    _refuses(store, EventTooLarge, _append("large", ("a", 2), event=large))
    before = list(store.log())
    try:
        store.import_log((_append("fine", ("b", 1)), _append("large", ("a", 2), event=large)))
    except EventTooLarge:
        pass
    else:
        raise AssertionError("it imported what it must refuse with EventTooLarge")
    assert list(store.log()) == before, "an import of what is too large left something behind"


@_promise
def a_command_is_carried_out_once(store: EventStore) -> None:
    store.append(_append("one", ("a", 1)))
    _refuses(store, CommandRecorded, _append("one", ("a", 2)))
    opened = BranchOpened(by=USER, conversation="a", parent="a", at=1, cause=ForkCause.EDIT, risks=())
    _refuses(store, CommandRecorded, _append("one", ("b", 2), event=opened))
    assert list(store.recorded_by("a", "two")) == [], "a command that nobody sent is recorded"


@_promise
def two_trees_may_each_have_a_command_of_one_id(store: EventStore) -> None:
    def other(version: int) -> Append:
        return Append("z", "one", "one", THEN.isoformat(), (NewEvent("z", version, LEFT),))

    store.append(_append("before", ("a", 1)))
    store.append(_append("one", ("a", 2)))
    store.append(other(1))
    for again in (other(2), _append("one", ("a", 3))):
        _refuses(store, CommandRecorded, again)
    opened = BranchOpened(by=USER, conversation="z", parent="z", at=1, cause=ForkCause.EDIT, risks=())
    store.append(Append("z", "two", "two", THEN.isoformat(), (NewEvent("z2", 2, opened),)))
    store.append(_append("two", ("a", 3)))
    _refuses(store, CommandRecorded, Append("z", "two", "two", THEN.isoformat(), (NewEvent("z2", 3, LEFT),)))
    assert _places(list(store.recorded_by("a", "one"))) == [("a", 2)], "what another tree's command wrote is found"
    assert _places(list(store.recorded_by("z", "one"))) == [("z", 1)], "a command is not found in its tree"
    assert _places(list(store.recorded_by("z", "two"))) == [("z2", 2)], "a command is not found on a branch of its tree"
    assert list(store.recorded_by("y", "one")) == [], "a tree that is not there has a command"


@_promise
def a_command_is_found_in_log_order(store: EventStore) -> None:
    opened = BranchOpened(by=USER, conversation="z", parent="z", at=1, cause=ForkCause.EDIT, risks=())
    events = (NewEvent("z", 1, LEFT), NewEvent("z", 2, LEFT), NewEvent("a", 2, opened))
    store.append(Append("z", "one", "one", THEN.isoformat(), events))
    assert _places(list(store.recorded_by("z", "one"))) == [("z", 1), ("z", 2), ("a", 2)], (
        "not what it wrote, in log order"
    )


@_promise
def a_fork_begins_after_its_prefix(store: EventStore) -> None:
    store.append(_append("one", ("a", 1), ("a", 2), ("a", 3)))
    opened = BranchOpened(by=USER, conversation="a", parent="a", at=2, cause=ForkCause.EDIT, risks=())
    noted = NewEvent("a", 4, BranchedOff(by=USER, child="b", at=2))
    fork = Append("a", "fork", "fork", THEN.isoformat(), (noted, NewEvent("b", 3, opened), NewEvent("b", 4, LEFT)))
    _refuses(store, VersionConflict, fork._replace(events=(noted, NewEvent("b", 4, opened))))
    store.append(fork)
    assert _places(list(store.read("a", "b"))) == [("b", 3), ("b", 4)], "a fork does not begin after its prefix"
    into = BranchOpened(by=USER, conversation="a", parent="a", at=4, cause=ForkCause.EDIT, risks=())
    _refuses(store, VersionConflict, _append("into", ("a", 5), event=into))  # the next version, but not a beginning


@_promise
def a_tree_is_known_by_each_of_its_branches(store: EventStore) -> None:
    assert store.tree_of("a") is None, "a branch that is not there has a tree"
    assert list(store.heads("a")) == [], "a tree that is not there has branches"
    store.append(_append("one", ("a", 1), ("a", 2), ("a", 3)))
    opened = [BranchOpened(by=USER, conversation="a", parent=p, at=2, cause=ForkCause.EDIT, risks=()) for p in "ab"]
    for parent, child, at, event in (("a", "b", 4, opened[0]), ("b", "c", 4, opened[1])):
        noted = NewEvent(parent, at, BranchedOff(by=USER, child=child, at=2))
        events = (noted, NewEvent(child, 3, event))
        store.append(Append("a", f"fork-{child}", f"fork-{child}", THEN.isoformat(), events))
    other = Append("z", "other", "other", THEN.isoformat(), (NewEvent("z", 1, LEFT),))
    store.append(other)
    assert [store.tree_of(branch) for branch in "abcz"] == ["a", "a", "a", "z"], "a branch is in the wrong tree"
    heads = [Head("a", 4), Head("b", 4, "a", 2), Head("c", 3, "b", 2)]
    assert list(store.heads("a")) == heads, "the branches of a tree are others, or in another order"


@_promise
def the_log_is_followed_from_anywhere(store: EventStore) -> None:
    assert store.head() == 0, "an empty log has a head"
    assert not store.wait(0, 0.001), "an event came that nobody wrote"
    store.append(_append("one", *(("a", version) for version in range(1, 6))))
    assert store.head() == 5, "the head is not the position of the latest event"
    for read in (store.log, store.entries):
        assert [one.version for one in read(after=2)] == [3, 4, 5], "the log is not read on from a position"
        assert [one.version for one in read(after=1, limit=2)] == [2, 3], "limit is off"
        assert list(read(after=5)) == [] == list(read(limit=0)), "more is read than there is"
    assert store.wait(4, 0.001), "an event that is there is waited for"
    writer = Thread(target=lambda: store.append(_append("two", ("a", 6))))
    writer.start()
    assert store.wait(5, 10), "an event that was written meanwhile went unnoticed"
    writer.join()


@_promise
def a_barrier_changes_nothing(store: EventStore) -> None:
    store.barrier()  # before there is anything, too
    store.append(_append("one", ("a", 1)))
    before = list(store.log())
    store.barrier()
    assert list(store.log()) == before, "a barrier is seen in the log"


@_promise
def nobody_writes_while_it_is_still(store: EventStore) -> None:
    store.append(_append("before", ("a", 1)))
    begun = Signal()
    order: list[str] = []

    def write() -> None:
        begun.set()
        store.append(_append("meanwhile", ("a", 2)))
        order.append("written")

    writer = Thread(target=write)
    with store.still():
        writer.start()
        begun.wait()
        writer.join(0.05)
        assert _places(list(store.log())) == [("a", 1)], "somebody wrote while the log was still"
        order.append("still")
    writer.join()
    assert order == ["still", "written"], "somebody was told of a write while the log was still"
    try:
        with store.still():
            raise _Left
    except _Left:
        store.append(_append("after", ("a", 3)))
    assert store.head() == 3, "what was to be written afterwards is not"


@_promise
def an_import_is_seen_as_a_whole(store: EventStore) -> None:
    store.append(_append("before", ("a", 1)))
    heads: list[int] = []

    def one_by_one() -> Iterator[Append]:
        for version in range(1, 4):
            heads.append(store.head())
            yield _append(f"b{version}", ("b", version))
        yield _append("after", ("a", 2))

    assert store.import_log(one_by_one()) == 4, "it returns another number than that of the events"
    assert set(heads) == {1}, "some of an import is seen before the rest is written"
    assert _places(list(store.log())) == [("a", 1), ("b", 1), ("b", 2), ("b", 3), ("a", 2)], "an import is out of order"
    before = list(store.log())
    try:
        store.import_log((_append("c1", ("c", 1)), _append("taken", ("a", 1))))
    except VersionConflict:
        pass
    else:
        raise AssertionError("it imported what it must refuse with VersionConflict")
    assert list(store.log()) == before, "an import that was refused left something behind"


@_promise
def words_come_and_go_with_their_events(store: EventStore) -> None:
    said = tuple(NewEvent("a", version, SAID, SEALED.data) for version in (1, 2))
    store.append(Append("a", "one", "one", THEN.isoformat(), said))
    first, second, nobody = Place("a", 1), Place("a", 2), Place("a", 3)
    kept = dict(store.contents([first, second, nobody]))
    assert kept == {first: SEALED.data, second: SEALED.data}, "words are lost"
    assert dict(store.contents([second])) == {second: SEALED.data}, "words come that nobody asked for"
    store.append(_append("two", ("a", 3), erased=(first,)))
    assert store.contents([first]) == {}, "erased words are kept"
    assert dict(store.contents([second])) == {second: SEALED.data}, "more words are erased than was asked for"
    assert _places(list(store.log())) == [("a", 1), ("a", 2), ("a", 3)], "erasing words changed the log"


@_promise
def trees_with_words_are_known(store: EventStore) -> None:
    said = (NewEvent("a", 1, SAID, SEALED.data),)
    store.append(Append("a", "one", "one", THEN.isoformat(), said))
    store.append(_append("two", ("b", 1)))
    opened = BranchOpened(by=LEFT.by, conversation="b", parent="b", at=1, cause=ForkCause.EDIT, risks=())
    of_a_child = (NewEvent("b2", 2, opened), NewEvent("b2", 3, SAID, SEALED.data))
    store.append(Append("b", "three", "three", THEN.isoformat(), of_a_child))
    assert store.with_words(["a", "b", "c", "b2"]) == {"a", "b"}, "a tree whose words are kept is not known as one"
    assert store.with_words([]) == set(), "trees come that nobody asked for"
    store.append(_append("four", ("a", 2), erased=(Place("a", 1),)))
    assert store.with_words(["a", "b"]) == {"b"}, "a tree is known as one whose words are kept, and they are erased"


@_promise
def of_several_writers_one_comes_first(store: EventStore) -> None:
    writers, rounds = 4, 8
    outcomes: list[tuple[int, bool]] = []
    together = Barrier(writers)

    def write(writer: int) -> None:
        for version in range(1, rounds + 1):
            together.wait()
            try:
                store.append(_append(f"{writer}-{version}", ("a", version)))
                outcomes.append((version, True))
            except VersionConflict:
                outcomes.append((version, False))
            together.wait()

    threads = [Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = sorted(version for version, first in outcomes if first)
    assert won == list(range(1, rounds + 1)), f"versions were written {won}"
    assert len(outcomes) == writers * rounds, "a writer got neither an answer nor a conflict"
    assert _places(list(store.log())) == [("a", version) for version in won], "the log is not what was acknowledged"
