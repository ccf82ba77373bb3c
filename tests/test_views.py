"""Views are folds of the log: active and ended share no branch and leave none out; the same log, the same bytes."""

import json
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from lastresort import About, Chat, Conversations, ForkCause, Ground, Policy, Rating, Refused, Risk, Verdict
from lastresort.projections import Replay, Views, views
from lastresort.projections.branches import Branch, row_after
from lastresort.projections.figures import figures

from .stores import (
    ASSESSOR,
    OPERATOR,
    abused,
    chats,
    done,
    ended,
    ended_on_request,
    log_of,
    opened,
    redirected,
    started,
    thanked,
    warned,
)

__all__ = ["chats"]


def as_bytes(found: Views) -> bytes:
    """The views as a program would get them."""
    return json.dumps([[row.model_dump(mode="json") for row in rows] for rows in found]).encode()


def names(rows: Iterable[Branch]) -> list[str]:
    return [row.branch for row in rows]


def test_a_branch_is_active_until_it_ends(chats: Conversations) -> None:
    """With what stands against it so far."""
    chat = started(chats, policy=Policy(name="mine"), arm="b")
    abused(chat)
    redirected(chat)
    abused(chat)
    (row,) = views(chats.store.log()).active
    assert (row.branch, row.conversation, row.version, row.status) == ("c", "c", 7, "active")
    assert (row.account, row.model) == ("account", "claude-opus-4-1")
    assert (row.policy, row.policy_name) == (Policy(name="mine").hash, "mine")
    assert (row.failed_redirections, row.harmful_verdicts, row.warned_of) == (1, 2, ())
    assert (row.ground, row.category, row.evidence, row.ended_at, row.ended_by) == (None,) * 5
    ended(started(chats, "d"))
    ended_on_request(chat)
    found = views(chats.store.log())
    assert (names(found.active), names(found.ended), found.branched) == ([], ["c", "d"], ())
    started(chats, "b")
    found = views(chats.store.log())
    assert (names(found.active), names(found.all)) == (["b"], ["c", "d", "b"])


def test_an_ended_branch_tells_its_ground_and_its_evidence(chats: Conversations) -> None:
    """Category and policy, the versions that it stands on, when and by whom; also after what came later."""
    ended(started(chats)).appeal()
    ended_on_request(started(chats, "d"))
    last_resort, request = views(chats.store.log()).ended
    assert last_resort.status == "ended"
    assert (last_resort.ground, last_resort.category) == (Ground.LAST_RESORT, "abuse")
    assert last_resort.policy == Policy.default().hash
    assert last_resort.evidence is not None
    assert last_resort.evidence.model_dump() == {
        "redirections": (5, 9, 13),
        "warning": 17,
        "tested_by": 18,
        "hope": 20,
        "request": None,
        "confirmation": None,
    }
    assert (last_resort.ended_at, last_resort.version) == (22, 23)
    assert last_resort.ended_by is not None
    assert last_resort.ended_by.id == "claude-opus-4-1"
    assert (last_resort.harmful_verdicts, last_resort.failed_redirections, last_resort.warned_of) == (5, 3, ("abuse",))
    assert (request.ground, request.category, request.ended_at) == (Ground.USER_REQUEST, None, 9)
    assert request.evidence is not None
    assert (request.evidence.request, request.evidence.confirmation) == (4, 8)


def test_branched_shows_the_tree_of_every_conversation_that_has_one(chats: Conversations) -> None:
    """Root and forks, ended or not; a conversation with one branch only is not there."""
    started(chats, "alone")
    chat = ended(started(chats))
    child = done(chat.edit(10, "Shall we start again?", child="d"))
    thanked(child)
    done(child.retry(8, child="e"))
    rows = views(chats.store.log()).branched
    assert names(rows) == ["c", "d", "e"]
    assert [(row.conversation, row.parent, row.at, row.cause, row.children) for row in rows] == [
        ("c", None, None, None, ("d",)),
        ("c", "c", 9, ForkCause.EDIT, ("e",)),
        ("c", "d", 7, ForkCause.RETRY, ()),
    ]
    assert [(row.status, row.version) for row in rows] == [("ended", 23), ("active", 14), ("active", 8)]
    assert [row.harmful_verdicts for row in rows] == [5, 0, 0]
    assert [row.failed_redirections for row in rows] == [3, 1, 1]


def test_branched_shows_a_tree_of_which_one_branch_goes_on(chats: Conversations) -> None:
    """Of two that ended too."""
    child = done(ended(started(chats)).edit(10, "Shall we start again?", child="d"))
    assert names(views(chats.store.log()).branched) == ["c", "d"]
    ended_on_request(child)
    assert names(views(chats.store.log()).branched) == ["c", "d"]


def test_a_row_goes_on_as_a_fold_of_the_whole_log_has_it(chats: Conversations) -> None:
    """After the ending too, which the row keeps: event by event, as a follower may take them."""
    chat = ended(started(chats))
    chat.feedback(Rating.DOWN)
    chat.appeal()
    row, replay, log = None, Replay(), log_of(chats)
    for recorded in log:
        replay.take(recorded, replay.before(recorded))
        row = row_after(row, "c", replay.states["c"], [recorded])
    assert (row,) == views(log).ended


def test_an_open_risk_is_shown_on_every_branch_of_its_tree(chats: Conversations) -> None:
    """Until it is cleared."""
    chat = started(chats)
    chat.user_turn("Hello.")
    chat.edit(2, "Good evening.", child="d")
    started(chats, "other")
    chat.raise_risk(About.OTHERS, risk="r")
    assert {row.branch: row.open_risks for row in views(chats.store.log()).all} == {
        "c": ("r",), "d": ("r",), "other": (),
    }  # fmt: skip
    chat.clear_risk("r", by=OPERATOR)
    assert all(row.open_risks == () for row in views(chats.store.log()).all)


def test_a_policy_and_a_model_that_changed_are_shown(chats: Conversations) -> None:
    """On the branch where they changed."""
    chat = started(chats)
    chat.change_policy(Policy(name="later"), by=OPERATOR)
    chat.change_model("another", by=OPERATOR)
    (row,) = views(chats.store.log()).active
    assert (row.policy_name, row.policy, row.model) == ("later", Policy(name="later").hash, "another")


ACTS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["abuse", "thank", "end", "ask", "confirm", "fork", "risk", "clear"])),
    max_size=40,
)


def take(chat: Chat, what: str) -> Chat | None:
    """Do something on a branch, lawful or not, and return the branch that it opened, if any."""
    state = chat.refresh()
    if what == "abuse":
        chat.user_turn("You useless heap of bolts.")
        if chat.state.ended is None:
            chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE, by=ASSESSOR)
            chat.assistant_turn("Shall we talk about something else?")
            chat.warn("abuse") if chat.state.now.failed > 2 else chat.redirect()
    elif what == "thank":
        chat.user_turn("Thank you.")
        chat.assistant_turn("You are welcome.")
    elif what == "fork" and state.unit is not None:
        child = chat.edit(state.unit.turn, "Something else.")
        return None if isinstance(child, Refused) else child
    elif what == "risk":
        chat.raise_risk()
    elif what == "clear":
        for risk in state.risks:
            chat.clear_risk(risk.risk, by=OPERATOR)
    elif state.unit is not None and state.ended is None:
        if what == "ask":
            chat.request_end()
        elif what == "confirm":
            chat.user_turn("Yes.")
            chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, by=ASSESSOR)
            chat.confirm_end()
            chat.end(Ground.USER_REQUEST)
        else:
            chat.declare_hope_exhausted()
            chat.end(category="abuse")
    return None


@settings(max_examples=25)
@given(ACTS)
def test_active_and_ended_are_disjoint_and_cover_all_branches(acts: list[tuple[int, str]]) -> None:
    """Whatever happens; and the views agree with the live states, and are the same when they are folded again."""
    with opened("memory:") as chats:
        handles = [started(chats)]
        for number, what in acts:
            child = take(handles[number % len(handles)], what)
            handles += [child] if child is not None else []
        found = views(chats.store.log())
        branches = {handle.branch: handle.state for handle in handles}
        active, finished = set(names(found.active)), set(names(found.ended))
        assert active | finished == branches.keys()
        assert active & finished == set()
        assert finished == {branch for branch, state in branches.items() if state.ended}
        assert set(names(found.branched)) == (branches.keys() if len(branches) > 1 else set())
        assert {row.branch: row.version for row in found.all} == {b: state.version for b, state in branches.items()}
        assert Replay(chats.store.log()).states == branches
        assert as_bytes(views(log_of(chats))) == as_bytes(found)


def test_the_same_log_gives_the_same_bytes(chats: Conversations) -> None:
    """Folded twice; and the streams of one tree, parents first, give the same rows as the whole log."""
    chat = ended(started(chats))
    chat.edit(10, "Shall we start again?", child="d")
    ended_on_request(started(chats, "other"))
    log = log_of(chats)
    assert as_bytes(views(log)) == as_bytes(views(iter(log)))
    of_the_tree = [entry for branch in ("c", "d") for entry in chats.store.read("c", branch)]
    assert as_bytes(views(of_the_tree)) == as_bytes(views([e for e in log if e.branch != "other"]))


def test_a_log_that_begins_in_the_middle_is_folded_all_the_same(chats: Conversations) -> None:
    """Views judge nothing; the audit does."""
    log = log_of(chats)
    assert views(log) == Views((), (), (), ())
    ended(started(chats))
    (row,) = views(log_of(chats)[21:]).ended
    assert (row.conversation, row.ground) == ("", Ground.LAST_RESORT)


# --- Figures ----------------------------------------------------------------------------------------------------------


def test_figures_count_what_happened(chats: Conversations) -> None:
    """Over all conversations and branches; an attempt refused under two rules counts under both."""
    chat = ended(started(chats))
    chat.edit(10, "Shall we start again?", child="d")
    other = ended_on_request(started(chats, "other"))
    third = started(chats, "third")
    abused(third)
    refused = third.end(category="abuse")
    assert isinstance(refused, Refused)
    third.end(category="abuse")
    third.assistant_turn("I would rather not.")
    third.judge(Verdict.AMBIGUOUS, risk=Risk.NONE)
    other.raise_risk(risk="s")
    chat.raise_risk(risk="r")
    counted = figures(chats.store.log()).model_dump()
    assert counted == {
        "conversations": 3,
        "branches": 4,
        "user_turns": 5 + 1 + 2 + 1,
        "assistant_turns": 5 + 1 + 1,
        "verdicts": {"ambiguous": 1, "harmful": 6, "productive": 2},
        "redirections": 3,
        "warnings": 1,
        "requests": 1,
        "confirmations": 1,
        "endings": {"last_resort": 1, "user_request": 1},
        "refusals": dict.fromkeys(sorted(refused.rules), 2),
        "holds": 2,
    }
    assert len(refused.rules) > 1
    assert list(counted["verdicts"]) == ["ambiguous", "harmful", "productive"]


def test_figures_of_nothing_are_nothing() -> None:
    """And no kind of anything is named."""
    assert all(not value for _, value in figures([]))


def test_holds_of_two_conversations_are_two(chats: Conversations) -> None:
    """An embedder may call the risk in each conversation the same."""
    for conversation in ("c", "d"):
        started(chats, conversation).raise_risk(risk="self-harm")
    assert figures(chats.store.log()).holds == 2


def test_a_warning_that_stands_is_shown(chats: Conversations) -> None:
    """Once the unit in which it was given is over; and no longer when the episode has closed."""
    chat = started(chats)
    for _ in range(3):
        abused(chat)
        redirected(chat)
    abused(chat)
    warned(chat)
    thanked(chat)
    (row,) = views(chats.store.log()).active
    assert (row.warned_of, row.failed_redirections) == (("abuse",), 3)
    done(chat.assistant_turn("You are welcome."))
    thanked(chat)
    (row,) = views(chats.store.log()).active
    assert (row.warned_of, row.failed_redirections, row.harmful_verdicts) == ((), 0, 4)
