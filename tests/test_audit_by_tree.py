"""A log audited tree by tree has the findings of the whole, so the audit can be distributed."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastresort import Conversations
from lastresort.adapters.importers.log_file import checked_log
from lastresort.adapters.upkeep.audited import replayed
from lastresort.application import ports as application
from lastresort.domain.events import BranchedOff, BranchOpened, HopeExhausted, RecordedEvent, RiskRaised, Unreadable
from lastresort.domain.law import governing
from lastresort.projections import Report
from lastresort.projections.audit import audit, audit_global, audit_tree, by_tree, merge
from lastresort.projections.findings import Entry
from lastresort.projections.replay import fork_points

from .drawing import UNHURRIED, examples
from .service_kit import done
from .stores import MODEL, OPERATOR, USER, abused, chats, ended, ended_on_request, log_of, opened, redirected, started
from .tampered import Log, ending, forked
from .test_audit import TAMPERED

__all__ = ["chats", "ending", "forked"]

GOLDEN = Path(__file__).parent / "golden"


def split(log: list[Entry] | Log, order: random.Random | None = None) -> Report:
    """Audit a log tree by tree, the trees in any order."""
    trees = list(by_tree(log))
    if order is not None:
        order.shuffle(trees)
    return merge(audit_global(log), map(audit_tree, trees))


def agree(log: list[Entry] | Log, order: random.Random | None = None) -> Report:
    """Audit a log as a whole, with the turns known at which branches open, and by tree: all say the same."""
    whole = audit(log)
    for other in (audit(iter(log), forks=fork_points(log)), split(log, order)):
        assert other.findings == whole.findings
        assert other.states == whole.states
        assert (other.events, other.branches) == (whole.events, whole.branches)
    return whole


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_golden_log_has_no_finding_by_tree_either(path: Path) -> None:
    assert agree(checked_log(path)[0]).findings == ()


@pytest.mark.parametrize("tamper", [pytest.param(rest[0], id=name) for name, *rest in TAMPERED])
def test_a_tampered_log_is_found_out_by_tree(ending: Log, tamper: Callable[[Log], Log]) -> None:
    assert agree(tamper(ending)).findings


def test_an_empty_log_has_no_trees() -> None:
    assert by_tree([]) == ()
    assert agree([]).findings == ()


# --- Logs of several trees -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def woods() -> Log:
    """Four trees whose events stand between one another's: forks of forks, risks, and both ways to end."""
    with opened("memory:") as chats:
        first, second = started(chats, "a"), started(chats, "b")
        abused(first)
        redirected(first)
        abused(second)
        child = done(first.retry(4, child="a2"))
        second.raise_risk(risk="r")
        child.assistant_turn("Gladly.")
        grandchild = done(child.edit(2, "Good day.", child="a3"))
        second.edit(2, "Hello.", child="b2")
        grandchild.raise_risk(risk="s")
        second.clear_risk("r", by=OPERATOR)
        ended(started(chats, "c"))
        child.clear_risk("s", by=OPERATOR)
        ended_on_request(started(chats, "d"))
        second.leave()
        return log_of(chats)


def test_trees_are_split_and_put_together(woods: Log) -> None:
    """Each event is in one tree, in the order of the log; and the trees come in the order in which they begin."""
    trees = by_tree(woods)
    assert [sorted({placed.entry.branch for placed in tree}) for tree in trees] == [
        ["a", "a2", "a3"],
        ["b", "b2"],
        ["c"],
        ["d"],
    ]
    assert sorted(placed.place for tree in trees for placed in tree) == [entry.position for entry in woods]
    assert all([*tree] == sorted(tree) for tree in trees)
    assert agree(woods).findings == ()


def test_a_branch_in_two_trees_is_no_split(woods: Log) -> None:
    """What was not split by tree is refused, since neither half knows of the other."""
    halves = [audit_tree(by_tree(woods[:20])[0]), audit_tree(by_tree(woods)[0])]
    with pytest.raises(ValueError, match="branch a is in two trees"):
        merge((), halves)


def test_what_takes_the_whole_log_is_found_once(woods: Log) -> None:
    """Gaps and command ids are of no tree: a worker that has one tree cannot see them."""
    first = next(one for one in woods if one.branch == woods[-1].branch)
    again = woods[-1]._replace(command_id=first.command_id, position=len(woods) + 7)
    found = audit_global([*woods[:-1], again])
    assert [located.finding.rules for located in found] == [("structure-gap",), ("structure-command",)]
    assert {located.place for located in found} == {len(woods)}
    assert all(audit_tree(tree).findings == () for tree in by_tree([*woods[:-1], again]))


def test_only_the_states_before_forks_are_needed(woods: Log) -> None:
    """Those of a branch's own turns, or of turns that it inherits."""
    assert fork_points(woods) == {("a", 4), ("a", 2), ("b", 2)}
    assert audit(woods, forks=frozenset()).findings, "without the states at its forks a log is not audited rightly"


def test_a_long_log_of_a_store_is_read_twice_and_says_the_same(chats: Conversations) -> None:
    """First for where branches open; with findings or without."""
    chat = started(chats)
    abused(chat)
    redirected(chat)
    chat.retry(4, child="d")
    assert replayed(chats.store, long=0) == replayed(chats.store) == audit(chats.store.entries())
    unlawful = application.NewEvent("c", chat.state.version + 1, HopeExhausted(by=MODEL, turn=2))
    chats.store.append(application.Append("c", "x", "x", "2026-01-31T12:00:00.000000+00:00", (unlawful,)))
    report = replayed(chats.store, long=0)
    assert [finding.rules for finding in report.findings] == [("hope-exhausted",)]
    assert report == audit(chats.store.entries())


def test_trees_are_asked_another_law(woods: Log) -> None:
    """What-if, by tree."""
    trees = by_tree([entry for entry in woods if not isinstance(entry.event, RiskRaised)])

    def found(**options: Any) -> set[str]:
        return {rule for tree in trees for one in audit_tree(tree, **options).findings for rule in one.finding.rules}

    assert found() == {"cleared-by-authority", "carries-risks", "structure-gap"}
    assert found(law=governing([])) == {"structure-gap"}


# --- What somebody made of them --------------------------------------------------------------------------------------


def _moved(log: list[Entry], at: int, to: int) -> None:
    log.insert(to, log.pop(at))


def _twice(log: list[Entry], at: int, to: int) -> None:
    log.insert(to, log[at])


def _dropped(log: list[Entry], at: int, to: int) -> None:
    del log[at]


def _unreadable(log: list[Entry], at: int, to: int) -> None:
    entry = log[at]
    log[at] = Unreadable(entry.position, log[to].branch, entry.version, "Future", "why")


def _with(name: str) -> Callable[[list[Entry], int, int], None]:
    """An entry with a field of another's."""

    def mutated(log: list[Entry], at: int, to: int) -> None:
        fields: dict[str, Any] = {name: getattr(log[to], name, getattr(log[at], name, None))}
        if isinstance(log[at], RecordedEvent):
            log[at] = log[at]._replace(**fields)  # of the same field

    return mutated


def _forked_elsewhere(log: list[Entry], at: int, to: int) -> None:
    """A fork from another branch, or of another."""
    entry, other = log[at], log[to].branch
    if isinstance(entry, RecordedEvent):
        if isinstance(entry.event, BranchOpened):
            event: Any = entry.event.model_copy(update={"parent": other})
        elif isinstance(entry.event, BranchedOff):
            event = entry.event.model_copy(update={"child": other})
        else:
            event = BranchOpened(by=USER, conversation=other, parent=other, at=1 + to % 4, cause="edit", risks=())
        log[at] = entry._replace(event=event, kind=event.kind)


MUTATIONS = {
    "moved": _moved,
    "twice": _twice,
    "dropped": _dropped,
    "unreadable": _unreadable,
    "forked elsewhere": _forked_elsewhere,
    **{name: _with(name) for name in ("position", "branch", "version", "command_id", "event")},
}


def mutated(log: Log, changes: list[tuple[str, int, int]]) -> list[Entry]:
    changed: list[Entry] = list(log)
    for name, at, to in changes:
        MUTATIONS[name](changed, at % len(changed), to % len(changed))
    return changed


changes = st.lists(
    st.tuples(st.sampled_from(sorted(MUTATIONS)), st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=6
)


@UNHURRIED
@given(changes=changes, order=st.randoms(use_true_random=False))
def test_whatever_becomes_of_a_log_its_audit_by_tree_says_the_same(
    woods: Log, changes: list[tuple[str, int, int]], order: random.Random
) -> None:
    """The same findings in the same order, and the same states, in whatever order the trees are done."""
    agree(mutated(woods, changes), order)


def test_a_thousand_damaged_logs(woods: Log) -> None:
    """Each kind of damage comes up, most of it is found, and none tells the audits apart."""
    chance = random.Random(10)
    names, guilty = sorted(MUTATIONS), 0
    for _ in range(examples(dev=300, ci=1_000, nightly=10_000)):
        damage = [
            (chance.choice(names), chance.randrange(200), chance.randrange(200)) for _ in range(chance.randint(1, 3))
        ]
        guilty += bool(agree(mutated(woods, damage), chance).findings)
    assert guilty > 250
