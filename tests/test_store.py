"""Every store keeps the same promises: in memory, in an SQLite file, in a real PostgreSQL."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from lastresort import Chat, CommandIdReused, StoreError
from lastresort.adapters.opening import Store, open_store
from lastresort.adapters.stores.rows import Entry, Row
from lastresort.adapters.upkeep.audited import wrong_counts
from lastresort.application.outcomes import UnknownTurn
from lastresort.application.ports import Append, CommandRecorded, NewEvent, Place, SealedWords, VersionConflict
from lastresort.domain.commands import RaiseRisk
from lastresort.domain.events import (
    BranchedOff,
    BranchOpened,
    ContentErased,
    Event,
    RecordedEvent,
    RiskRaised,
    Unreadable,
    UserTurnTaken,
)
from lastresort.domain.values import About, ErasureCause, ForkCause
from lastresort.projections import audit
from lastresort.projections.audit import audit_global, audit_tree, by_tree, merge

from .narrow import must_be
from .service_kit import done
from .stores import DURABLE_STORES, LEFT, OPERATOR, STORES, USER, log_of, new_url, opened, started, store, thanked

__all__ = ["store"]

SEALED = [SealedWords("sha256:" + digit * 64, f"sealed {digit}".encode()) for digit in "abc"]


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    return new_url(request.param, request)


FORK = BranchOpened(by=USER, conversation="b", parent="b", at=1, cause=ForkCause.EDIT, risks=())


def said(sealed: SealedWords = SEALED[0]) -> UserTurnTaken:
    return UserTurnTaken(by=USER, content=sealed.digest)


def placed(branch: str, *versions: int, event: Event = LEFT) -> tuple[NewEvent, ...]:
    return tuple(NewEvent(branch, version, event) for version in versions)


def worded(branch: str, version: int, sealed: SealedWords) -> NewEvent:
    return NewEvent(branch, version, said(sealed), sealed.data)


def append(
    command_id: str, *events: NewEvent, correlation_id: str | None = None, erased: tuple[Place, ...] = ()
) -> Append:
    return Append("b", command_id, correlation_id or command_id, "2026-01-31T12:00:00+00:00", events, erased)


def places(entries: Iterable[RecordedEvent | Unreadable]) -> list[tuple[int, str, int]]:
    return [(entry.position, entry.branch, entry.version) for entry in entries]


# --- What is written is read ------------------------------------------------------------------------------------------


def test_an_append_is_read_back_as_it_was_written(store: Store) -> None:
    """Envelope and event, from the stream and from the log, and as `append` returned it."""
    wrote = store.append(append("one", *placed("b", 1), NewEvent("b", 2, said()), correlation_id="act"))
    assert wrote == (
        RecordedEvent(1, "b", 1, "UserLeft", "2026-01-31T12:00:00+00:00", "one", LEFT, "act"),
        RecordedEvent(2, "b", 2, "UserTurnTaken", "2026-01-31T12:00:00+00:00", "one", said(), "act"),
    )
    assert tuple(store.log()) == tuple(store.entries()) == wrote
    assert [read._replace(position=0) for read in store.read("b", "b")] == [one._replace(position=0) for one in wrote]


def test_a_stream_is_read_between_versions(store: Store) -> None:
    """After one, up to another, and no more than so many."""
    store.append(append("one", *placed("b", 1, 2, 3, 4, 5)), append("other", *placed("other", 1, 2)))
    assert [entry.version for entry in store.read("b", "b", after=1, upto=4)] == [2, 3, 4]
    assert [entry.version for entry in store.read("b", "b", after=1, upto=4, limit=2)] == [2, 3]
    assert list(store.read("b", "nowhere")) == []


def test_the_log_is_in_the_order_of_the_appends(store: Store) -> None:
    """Positions count from 1 over all branches, and a refused append takes none."""
    store.append(append("1", *placed("b", 1)))
    store.append(append("2", *placed("a", 1), *placed("b", 2)))
    with pytest.raises(VersionConflict):
        store.append(append("3", *placed("a", 9)))
    last = store.append(append("4", *placed("c", 1)))
    assert places(store.log()) == [(1, "b", 1), (2, "a", 1), (3, "b", 2), (4, "c", 1)]
    assert places(last) == [(4, "c", 1)]


def test_the_log_is_read_page_by_page(store: Store) -> None:
    """More rows than a page holds come in order, each once."""
    store.append(append("many", *placed("b", *range(1, 2_101))))
    assert places(store.log()) == [(version, "b", version) for version in range(1, 2_101)]


def test_an_append_of_nothing_changes_nothing(store: Store) -> None:
    """As when an empty log is imported."""
    assert store.append() == ()
    assert list(store.log()) == []


# --- Versions have no holes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(placed("new", 2), id="a new branch begins at 2"),
        pytest.param(placed("b", 4), id="a gap"),
        pytest.param(placed("b", 2), id="a version that is taken"),
        pytest.param(placed("b", 3, 5), id="a gap within the append"),
        pytest.param(placed("b", 4, 3), id="backwards"),
        pytest.param((*placed("new", 1), *placed("b", 4)), id="a gap on the second of two branches"),
        pytest.param(
            placed("new", 5, event=BranchOpened(by=USER, conversation="b", parent="b", at=3, cause="edit", risks=())),
            id="a fork that does not begin after its prefix",
        ),
    ],
)
def test_a_gap_is_refused_and_nothing_is_written(store: Store, events: tuple[NewEvent, ...]) -> None:
    """No event of the append, no command, no words, and none are erased."""
    store.append(append("first", worded("b", 1, SEALED[0]), *placed("b", 2)))
    with pytest.raises(VersionConflict):
        store.append(append("second", worded("other", 1, SEALED[1]), *events, erased=(Place("b", 1),)))
    assert places(store.log()) == [(1, "b", 1), (2, "b", 2)]
    assert store.recorded_by("b", "second") == []
    assert store.contents([Place("b", 1), Place("other", 1)]) == {Place("b", 1): SEALED[0].data}


def test_a_fork_begins_after_its_prefix(store: Store) -> None:
    """The first version of a branch that opens at 3 is 4, and it goes on from there."""
    fork = BranchOpened(by=USER, conversation="b", parent="b", at=3, cause="edit", risks=())
    store.append(append("root", *placed("b", 1, 2, 3, 4)))
    store.append(append("fork", NewEvent("b", 5, BranchedOff(by=USER, child="f", at=3)), NewEvent("f", 4, fork)))
    store.append(append("on", *placed("f", 5)))
    assert [entry.version for entry in store.read("b", "f")] == [4, 5]


def test_several_appends_are_one_transaction(store: Store) -> None:
    """If the last of them is refused, none was written."""
    with pytest.raises(VersionConflict):
        store.append(append("good", worded("a", 1, SEALED[0])), append("bad", *placed("b", 2)))
    assert list(store.log()) == []
    assert store.recorded_by("b", "good") == []
    assert store.contents([Place("a", 1)]) == {}


# --- Commands ---------------------------------------------------------------------------------------------------------


MANY = [f"b{number}" for number in range(40)]


@pytest.mark.parametrize("wrong", [None, 0, 17, 39])
def test_the_branches_of_a_tree_are_written_to_at_once_or_not_at_all(store: Store, wrong: int | None) -> None:
    """As a risk is recorded. Where one of them has gone on, the error names it."""
    raised = RiskRaised(by=OPERATOR, risk="risk", about=About.SELF)
    store.append(append("begin", *placed("b", 1)))
    for branch in MANY:
        store.append(append(f"begin-{branch}", *placed(branch, 2, event=FORK)))
    if wrong is not None:
        store.append(append("first", *placed(MANY[wrong], 3)))
    before = places(store.log())
    risk = append("risk", *(NewEvent(branch, 3, raised) for branch in MANY))
    if wrong is not None:
        with pytest.raises(VersionConflict, match=f"{MANY[wrong]}\\b"):
            store.append(risk)
        assert places(store.log()) == before
        return
    wrote = store.append(risk)
    assert places(wrote) == [(42 + number, branch, 3) for number, branch in enumerate(MANY)]
    assert list(wrote) == list(store.recorded_by("b", "risk")) == list(store.log(after=41))
    with pytest.raises(CommandRecorded):
        store.append(append("risk", *(NewEvent(branch, 4, raised) for branch in MANY)))
    assert places(store.log(after=41)) == places(wrote)


def test_a_command_is_recorded_once(store: Store) -> None:
    """A second append by it is refused as such, on another branch too, and writes nothing."""
    store.append(append("once", *placed("b", 1)))
    store.append(append("more", *placed("b", 2)))
    for events in (placed("b", 1), placed("b", 3), placed("other", 2, event=FORK)):
        with pytest.raises(CommandRecorded):
            store.append(append("once", *events, worded("words", 1, SEALED[0])))
    assert places(store.log()) == [(1, "b", 1), (2, "b", 2)]
    assert store.contents([Place("words", 1)]) == {}


def test_two_conversations_may_use_one_command_id(url: str) -> None:
    """Each has its own command of that id, once, wherever in its tree; neither hears of the other."""
    with opened(url) as chats:
        one, other = started(chats, "one"), started(chats, "other")
        for chat, words in ((one, "Hello."), (other, "Good day.")):
            first, again = (done(chat.user_turn(words, command_id="k")) for _ in range(2))
            assert first.events[0][1:] == again.events[0][1:]
            assert first.version == 2
            assert first.events[0].branch == chat.branch
            child = must_be(Chat, chat.edit(2, "Good evening.", child=f"{chat.branch}-2", command_id="fork"))
            assert must_be(Chat, chat.edit(2, "Good evening.", command_id="fork")).branch == child.branch
            done(child.leave(command_id="leave"))
        with pytest.raises(CommandIdReused, match="used for UserLeft on branch other-2"):
            other.raise_risk(command_id="leave")
        report = audit(chats.store.entries())
        assert report.findings == ()
        assert report == merge(audit_global(chats.store.entries()), map(audit_tree, by_tree(chats.store.entries())))
        assert wrong_counts(chats) == ()
        assert chats.start(model="m", conversation="third", command_id="k").branch == "third"


def test_two_conversations_may_use_one_command_id_at_once(url: str) -> None:
    """Whichever comes first: there is nothing between them."""
    with opened(url) as chats:
        trees = [started(chats, f"c{number}") for number in range(8)]
        together = threading.Barrier(len(trees))

        def speak(chat: Chat) -> None:
            together.wait()
            done(chat.user_turn("Hello.", command_id="k"))

        threads = [threading.Thread(target=speak, args=(chat,)) for chat in trees]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [chat.state.version for chat in trees] == [2] * len(trees)


def test_what_a_command_wrote_is_found_by_its_id(store: Store) -> None:
    """All of its events on every branch, and none of the others between them."""
    store.append(append("before", *placed("b", 1), *placed("a", 2, event=FORK)))
    wrote = store.append(append("it", *placed("a", 3, 4), *placed("b", 2)))
    store.append(append("after", *placed("a", 5), *placed("b", 3)))
    assert {entry[1:] for entry in store.recorded_by("b", "it")} == {entry[1:] for entry in wrote}
    assert store.recorded_by("b", "nobody") == []


def test_what_a_command_wrote_comes_in_the_order_of_the_log(store: Store) -> None:
    """The branch that a command was sent to comes first, whatever its name."""
    store.append(append("it", *placed("b", 1), *placed("a", 2, event=FORK)))
    assert [entry.branch for entry in store.recorded_by("b", "it")] == ["b", "a"]


def test_a_command_delivered_twice_is_answered_twice_the_same(url: str) -> None:
    """A risk is raised on every branch; the answer is about the branch that was asked."""
    with opened(url) as chats:
        root = started(chats, "z")
        root.user_turn("Hello.")
        root.edit(2, "Good evening.", child="a")
        command = RaiseRisk(id="it", by=USER, risk="risk", about="self")
        first, again = (done(chats.service.execute("z", command)) for _ in range(2))
        assert first.version == again.version == 4
        assert first.state == again.state
        assert [entry.event for entry in log_of(chats)].count(RiskRaised(by=USER, risk="risk", about="self")) == 2


# --- Words beside the log ---------------------------------------------------------------------------------------------


def test_words_are_kept_with_the_events_and_erased_with_them(store: Store) -> None:
    """Erased bytes are gone, the others stay, and the log is as it was."""
    first, second, third = (Place("b", version) for version in (1, 2, 3))
    store.append(append("say", worded("b", 1, SEALED[0]), worded("b", 2, SEALED[1])))
    assert store.contents([first, second, third]) == {first: SEALED[0].data, second: SEALED[1].data}
    before = list(store.log())
    store.append(append("erase", *placed("b", 3), erased=(first,)))
    assert store.contents([first, second, third]) == {second: SEALED[1].data}
    assert list(store.log())[:2] == before


def test_no_other_words_come_with_those_that_are_asked_for(store: Store) -> None:
    """What stands between them is somebody else's, as far as the caller knows."""
    said = append("say", *(worded("b", version, SEALED[version % 2]) for version in (1, 2, 3)))
    store.append(said)
    assert store.contents([Place("b", 1), Place("b", 3)]) == {Place("b", n): SEALED[1].data for n in (1, 3)}


# --- What cannot be read ----------------------------------------------------------------------------------------------

GOOD = b'{"by": {"kind": "user", "id": "user"}}'


@pytest.mark.parametrize(
    ("topic", "state", "why"),
    [
        ("Nonsense", GOOD, "Nonsense is not a kind of event"),
        ("canary_of_the_store:Event", GOOD, "canary_of_the_store:Event is not a kind of event"),
        ("UserLeft", b"{", "Invalid JSON"),
        ("UserLeft", b"{}", "event.by: Field required"),
        ("UserLeft", GOOD.replace(b'"user"}', b'"user", "words": "hi"}'), "event.by: a field that is not known"),
        ("UserTurnTaken", GOOD, "event.content: Field required"),
    ],
)
def test_an_entry_that_cannot_be_read_is_named_and_nothing_is_imported(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topic: str, state: bytes, why: str
) -> None:
    """The audit sees it as Unreadable; someone who needs the event is told where it stands and what to do."""
    (tmp_path / "canary_of_the_store.py").write_text("class Event: pass")
    monkeypatch.syspath_prepend(tmp_path)
    store.append(append("good", *placed("b", 1)))
    store.write([Entry(Row("b", 2, topic, state, None, 1, "t", "foreign", 0, None), False, None)])
    store.append(append("good-too", *placed("b", 3)))
    _, entry, after = store.entries()
    assert isinstance(entry, Unreadable)
    assert entry[:4] == (2, "b", 2, topic)
    assert why in entry.why
    assert after.version == 3
    assert "canary_of_the_store" not in sys.modules
    readings: list[Callable[[], object]] = [lambda: list(store.log()), lambda: store.read("b", "b")]
    for reading in readings:
        with pytest.raises(StoreError, match=r"^branch b, version 2: .*; run an audit of this store$"):
            reading()


# --- Several writers --------------------------------------------------------------------------------------------------


def test_of_two_writers_on_a_branch_exactly_one_wins(url: str) -> None:
    """Time after time, both write the same next version at the same moment, each through a connection of its own."""
    rounds = 25
    first, vault, _ = open_store(url)
    second, other_vault = (first, vault) if url == "memory:" else open_store(url)[:2]
    barrier = threading.Barrier(2, timeout=30)
    won: dict[str, list[int]] = {"first": [], "second": []}

    def write(name: str, store: Store) -> None:
        for version in range(1, rounds + 1):
            barrier.wait()
            try:
                store.append(append(f"{name}-{version}", *placed("b", version)))
            except VersionConflict:
                continue
            won[name].append(version)

    threads = [threading.Thread(target=write, args=pair) for pair in (("first", first), ("second", second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    try:
        assert sorted(won["first"] + won["second"]) == list(range(1, rounds + 1))
        assert [entry.version for entry in first.log()] == list(range(1, rounds + 1))
        for entry in first.log():
            assert entry.version in won[entry.command_id.split("-")[0]]
    finally:
        for opened_store, its_vault in {id(first): (first, vault), id(second): (second, other_vault)}.values():
            its_vault.close()
            opened_store.close()


SPEAK = """
import sys
from lastresort import Contention, open_conversations
chats = open_conversations(sys.argv[1], create=False)
chat = chats.chat("c")
sys.stdin.readline()
number = 0
while number < 15:
    try:
        chat.user_turn(f"{sys.argv[2]} {number}", command_id=f"{sys.argv[2]}-{number}")
    except Contention:
        continue
    number += 1
chats.close()
"""


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_two_processes_speak_on_a_branch_and_nothing_is_lost(kind: str, request: pytest.FixtureRequest) -> None:
    """Each decides again when the other wrote first, and repeats the command when that happens too often."""
    url = new_url(kind, request)
    with opened(url) as chats:
        started(chats)
        speakers = [
            subprocess.Popen([sys.executable, "-c", SPEAK, url, name], stdin=subprocess.PIPE) for name in ("a", "b")
        ]
        for speaker in speakers:
            assert speaker.stdin is not None
            speaker.stdin.write(b"now\n")
            speaker.stdin.flush()
        for speaker in speakers:
            speaker.communicate(timeout=60)
            assert speaker.returncode == 0
        path = chats.path("c")
        assert [entry.version for entry in path] == list(range(1, 32))
        expected = {f"{name} {number}" for name in "ab" for number in range(15)}
        assert set(chats.words(path).values()) == expected
        assert audit(chats.store.entries()).findings == ()


def test_an_append_of_a_megabyte_is_written(url: str) -> None:
    """Sealed words, and the events themselves. The library's own way of inserting hangs above some 0.3 MB."""
    erased = ["sha256:" + f"{number:064x}" for number in range(15_000)]
    events = [
        ContentErased(by=OPERATOR, contents=tuple(erased[start : start + 500]), cause=ErasureCause.LEGAL)
        for start in range(0, 15_000, 500)
    ]

    def write() -> None:
        with opened(url) as chats:
            chat = started(chats)
            chat.user_turn("x" * 1_000_000)
            chats.erase_conversation("c", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
            store = chats.store
            store.append(append("big", *(NewEvent("c", version, event) for version, event in enumerate(events, 4))))
            lengths.append(
                sum(len(must_be(ContentErased, one.event).contents) for one in store.recorded_by("c", "big"))
            )

    lengths: list[int] = []
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(30)
    assert lengths == [15_000]


# --- Numbers that no database takes -----------------------------------------------------------------------------------

HUGE = 10**30


def test_a_number_of_any_size_is_no_disaster(url: str) -> None:
    """Where no log can hold it, it is an argument that is out of range, or a turn that nobody knows."""
    with opened(url) as chats:
        chat = started(chats, "A")
        thanked(chat)
        with pytest.raises(ValueError, match="upto: a version is at most"):
            chats.path("A", upto=HUGE)
        assert chats.path("A", upto=2**63 - 1) == chats.path("A")
        assert list(chats.store.read("b", "A", after=HUGE)) == []
        assert chats.state("A") == chat.state
        for number in (HUGE, 2**63):
            with pytest.raises(ValueError, match="no such page"):
                chats.page("active", after=number)
        assert chats.page("active", after=2**63 - 1).rows == ()
        with pytest.raises(UnknownTurn, match="turn: a version is at most"):
            chat.erase(HUGE)
        with pytest.raises(UnknownTurn, match="turn: a version is at most"):
            chat.edit(HUGE, "Instead.")
