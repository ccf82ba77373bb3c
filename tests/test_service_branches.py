"""What the service does across the branches of a tree, and how a branch comes to be."""

from collections.abc import Callable

import pytest

from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import BranchEnded, CommandIdReused, UnknownTurn
from lastresort.domain import rules
from lastresort.domain.commands import BranchOff, OpenBranch
from lastresort.domain.decider import Refused
from lastresort.domain.episode import NO_EPISODE
from lastresort.domain.events import BranchedOff, BranchOpened, UserTurnTaken
from lastresort.domain.law import GOVERNING, Missing, Rule
from lastresort.domain.values import LATEST, About, ForkCause, Ground, Risk, Verdict

from .narrow import must_be
from .service_kit import (
    Overtaken,
    another,
    asked_and_confirmed,
    chat,
    chats,
    done,
    ended,
    kinds,
    refused_by,
    talk,
    transcript,
    tree,
    up_to_the_end,
    whole_log,
)
from .vocabulary import NAMED_ASSESSOR, OPERATOR, USER, policy

__all__ = ["chat", "chats", "tree"]


# --- across the tree -------------------------------------------------------------------------------------------------


def test_a_tree_is_found_from_any_of_its_branches(chats: Conversations, tree: dict[str, Chat]) -> None:
    for branch in tree:
        states = another(chats).tree(branch)
        assert set(states) == set(tree)
        assert next(iter(states)) == "root"
        assert {name: state.parent for name, state in states.items()} == {
            "root": None,
            "inner": "root",
            "leaf": "inner",
            "other": "root",
        }


def test_a_tree_is_read_parents_before_children(chats: Conversations, tree: dict[str, Chat]) -> None:
    """Branch by branch, each with its own events alone."""
    read = chats.tree_log("leaf")
    assert list(dict.fromkeys(one.branch for one in read)) == ["root", "inner", "other", "leaf"]
    assert sorted((one.branch, one.version, one.kind) for one in read) == sorted(whole_log(chats))


@pytest.mark.parametrize("at", ["root", "inner", "leaf", "other"])
def test_a_risk_is_raised_and_cleared_on_every_branch_at_once(
    chats: Conversations, tree: dict[str, Chat], at: str
) -> None:
    """Ended ones too, in one append: no branch is a way out of a hold."""
    raised = done(tree[at].raise_risk(About.OTHERS, risk="risk"))
    assert raised.events[0].branch == at
    assert {one.branch for one in raised.events} == set(tree)
    assert all([risk.risk for risk in state.risks] == ["risk"] for state in chats.tree("root").values())
    cleared = done(tree["inner"].clear_risk("risk", by=OPERATOR))
    assert {one.branch for one in cleared.events} == set(tree)
    assert all(state.risks == () for state in another(chats).tree("root").values())


def test_a_risk_that_a_verdict_saw_holds_everywhere(chats: Conversations, tree: dict[str, Chat]) -> None:
    """The verdict is its branch's; the risk is the person's, who is the same on all branches."""
    done(tree["leaf"].judge(Verdict.AMBIGUOUS, risk=Risk.POSSIBLE, command_id="seen"))
    assert [kind for kind in kinds(tree["other"]) if kind == "TurnAssessed"] == []
    assert all([risk.risk for risk in state.risks] == ["seen"] for state in chats.tree("root").values())


@pytest.mark.parametrize("branch", ["root", "inner", "leaf"])
def test_what_reaches_every_branch_says_how_things_stand_on_its_own(tree: dict[str, Chat], branch: str) -> None:
    """Not on the branch that was written to last."""
    receipt = done(tree[branch].raise_risk())
    assert {one.branch for one in receipt.events} == set(tree)
    assert (receipt.events[0].branch, receipt.state) == (branch, tree[branch].refresh())


def test_no_ending_on_one_branch_while_a_risk_is_open_on_another(chats: Conversations, tree: dict[str, Chat]) -> None:
    asked_and_confirmed(tree["other"])
    done(tree["leaf"].raise_risk())
    refused_by(tree["other"].end(Ground.USER_REQUEST), rules.NO_END_AT_RISK, rules.CONFIRMED_LATER)


def test_a_risk_is_cleared_only_where_every_branch_allows_it(chats: Conversations, tree: dict[str, Chat]) -> None:
    """An assessor whom one branch's policy names is none to a branch under another policy."""
    naming = policy(may_clear_risk=(NAMED_ASSESSOR.id,))
    done(tree["inner"].change_policy(naming, by=OPERATOR))
    done(tree["inner"].raise_risk(risk="risk"))
    refused_by(tree["inner"].clear_risk("risk", by=NAMED_ASSESSOR), rules.CLEARED_BY_AUTHORITY)
    assert chats.state("inner").risks


def test_a_branch_that_opens_meanwhile_takes_the_risk_along(chats: Conversations, tree: dict[str, Chat]) -> None:
    """A fork against a risk: whichever comes second sees the first."""
    late = another(chats, store=Overtaken(chats.store, lambda: done(tree["leaf"].raise_risk(risk="risk"))))
    branch = done(late.chat("inner").edit(2, "un", child="late"))
    assert [risk.risk for risk in branch.state.risks] == ["risk"]
    raising = another(chats, store=Overtaken(chats.store, lambda: done(tree["inner"].edit(2, "uno", child="last"))))
    done(raising.chat("root").raise_risk(risk="another"))
    assert [risk.risk for risk in chats.state("last").risks] == ["risk", "another"]


# --- branches --------------------------------------------------------------------------------------------------------


def test_a_branch_off_any_turn(chats: Conversations, chat: Chat) -> None:
    """The words before it are inherited, those after it are left behind."""
    talk(chat, "a", "A", "b", "B", "c", "C")
    turns = [(one.version, one.kind) for one in chat.path if one.kind.endswith("TurnTaken")]
    words = ["a", "A", "b", "B", "c", "C"]
    for number, (version, kind) in enumerate(turns):
        if kind == UserTurnTaken.kind:
            branch = done(chat.edit(version, "new"))
            assert transcript(branch) == [*words[:number], "new"]
        else:
            branch = done(chat.retry(version))
            assert transcript(branch) == words[:number]
            done(branch.assistant_turn("again"))
        assert transcript(chat) == words
    assert len(chats.state("root").children) == 6


def test_a_branch_goes_on_where_its_prefix_ends(chats: Conversations, chat: Chat) -> None:
    """A branch opened at 12 begins with version 13."""
    talk(chat, "a", "A", "b")
    branch = done(chat.edit(4, "new", child="branch"))
    assert [(one.branch, one.version, one.kind) for one in branch.path] == [
        ("root", 1, "ConversationStarted"),
        ("root", 2, "UserTurnTaken"),
        ("root", 3, "AssistantTurnTaken"),
        ("branch", 4, "BranchOpened"),
        ("branch", 5, "UserTurnTaken"),
    ]
    assert branch.seen == 5
    opened = branch.path[3].event
    assert isinstance(opened, BranchOpened)
    assert (opened.conversation, opened.parent, opened.at, opened.cause) == ("root", "root", 3, ForkCause.EDIT)
    assert must_be(BranchedOff, chat.path[-1].event).child == "branch"
    assert chats.path("branch", upto=2) == chats.path("root", upto=2)


def test_a_branch_off_an_inherited_turn(chats: Conversations, tree: dict[str, Chat]) -> None:
    """A turn of the grandparent may be written again from the grandchild, whose child the branch is."""
    leaf = tree["leaf"]
    assert transcript(leaf) == ["eins"]
    assert transcript(tree["inner"]) == ["one", "1", "zwei", "Zwei"]
    nested = done(tree["inner"].retry(3, child="nested"))
    assert transcript(nested) == ["one"]
    assert nested.state.parent == "inner"
    deeper = done(nested.edit(2, "uno"))
    assert transcript(deeper) == ["uno"]
    assert another(chats).state(deeper.branch) == deeper.state
    assert set(chats.tree("other")) == {*tree, "nested", deeper.branch}


def test_a_branch_off_a_branchs_own_first_turn(chats: Conversations, tree: dict[str, Chat]) -> None:
    """Between the opening of a branch and its first turn there is room for another first turn."""
    own = next(one.version for one in tree["inner"].path if one.branch == "inner" and one.kind == "UserTurnTaken")
    again = done(tree["inner"].edit(own, "due"))
    assert transcript(again) == ["one", "1", "due"]
    assert [one.branch for one in again.path].count("inner") == 1


def test_an_ended_parent_stays_ended_and_its_child_starts_active(chats: Conversations, chat: Chat) -> None:
    ended(chat)
    branch = done(chat.edit(2, "let us start over"))
    assert branch.state.ended is None
    done(branch.assistant_turn("gladly"))
    assert chat.state.ended is not None
    assert isinstance(chat.user_turn("and here?"), BranchEnded)


def test_a_branch_keeps_the_terms_of_its_prefix(chats: Conversations, chat: Chat) -> None:
    """Going back a turn does not undo the harm before it; going back to the first one does."""
    up_to_the_end(chat)
    (last_warned,) = [one.version for one in chat.path if one.kind == "WarningGiven"]
    branch = done(chat.edit(last_warned + 1, "abuse again"))
    done(branch.judge(Verdict.HARMFUL, category="abuse", severity=3, risk=Risk.NONE))
    done(branch.declare_hope_exhausted())
    done(branch.end(category="abuse"))
    assert done(chat.edit(2, "hello")).state.now == NO_EPISODE


def test_a_fork_delivered_twice_opens_one_branch(chats: Conversations, chat: Chat) -> None:
    talk(chat, "a", "A")
    first = done(chat.edit(2, "b", command_id="once"))
    again = done(chat.edit(2, "b", command_id="once"))
    elsewhere = done(another(chats).chat("root").edit(2, "b", command_id="once"))
    assert first.branch == again.branch == elsewhere.branch
    assert len(chats.tree("root")) == 2


@pytest.mark.parametrize(
    ("fork", "by"),
    [
        (lambda chat: chat.edit(3, "x"), (rules.FORKS_AT_A_TURN,)),
        (lambda chat: chat.retry(2), (rules.FORKS_AT_A_TURN,)),
        (lambda chat: chat.retry(4), (rules.FORKS_AT_A_TURN, rules.REFERS_TO_THE_PATH)),
        (lambda chat: chat.edit(9, "x"), (rules.FORKS_AT_A_TURN, rules.REFERS_TO_THE_PATH)),
    ],
)
def test_a_fork_where_the_law_has_none(
    chats: Conversations, chat: Chat, fork: Callable[[Chat], object], by: tuple[Rule, ...]
) -> None:
    """A refusal is a value; nothing was recorded, on neither branch."""
    talk(chat, "a", "A")
    log = whole_log(chats)
    refused_by(fork(chat), *by)
    assert whole_log(chats) == log


def test_what_is_said_on_a_branch_as_it_opens_is_asked_of_the_law(
    chats: Conversations, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rule of today forbids it. Where one did, nothing would be recorded, and a branch without words would open."""
    talk(chat, "a", "A")
    log = whole_log(chats)
    silence = Rule(
        "silence", "", "", (UserTurnTaken,), lambda state, event: Missing("hush") if state.parent else None, None, 1, 1
    )
    monkeypatch.setitem(GOVERNING, LATEST, {**GOVERNING[LATEST], UserTurnTaken: (silence,)})
    refused_by(chat.edit(2, "x"), silence)
    assert whole_log(chats) == log
    done(chat.retry(3))


def test_a_fork_against_a_change_of_the_parent(chats: Conversations, chat: Chat) -> None:
    """It is decided again: the parent's next version is another by then."""
    talk(chat, "a", "A")
    late = another(chats, store=Overtaken(chats.store, lambda: talk(chat, "b")))
    assert transcript(done(late.chat("root").edit(2, "x"))) == ["x"]


def test_a_branch_exists_once(chats: Conversations, chat: Chat) -> None:
    talk(chat, "a", "A")
    done(chat.edit(2, "b", child="branch"))
    for taken in ("branch", "root"):
        with pytest.raises(ValueError, match=rf"a branch of this id \(length {len(taken)}\) exists; choose another id"):
            chat.edit(2, "c", child=taken)


def test_a_branch_exists_once_however_long_it_is(chats: Conversations, chat: Chat) -> None:
    """No fork is written into the stream of another conversation."""
    talk(chat, "a", "A", "b")
    victim = chats.start(model="m", conversation="victim")
    talk(victim, "mine", "yours")
    with pytest.raises(ValueError, match=r"a branch of this id \(length 6\) exists; choose another id"):
        chat.edit(4, "c", child="victim")


def test_a_fork_is_of_the_parent_that_it_names(chats: Conversations, chat: Chat) -> None:
    """That one is asked, and recorded; with another, of another conversation, it is another command."""
    talk(chat, "a", "A")
    other = chats.start(model="m", conversation="other", command_id="start-other")
    talk(other, "b", "B")
    done(
        chats.service.fork(
            OpenBranch(id="fork", by=USER, parent="other", at=1, cause=ForkCause.EDIT), "c", child="child"
        )
    )
    assert chats.state("child").parent == "other"
    assert set(chats.tree("child")) == {"other", "child"}
    with pytest.raises(ValueError, match=r"child: a branch of this id .length 5. exists"):
        chats.service.fork(
            OpenBranch(id="fork", by=USER, parent="root", at=1, cause=ForkCause.EDIT), "c", child="child"
        )


def test_a_retry_needs_no_words_and_a_fork_may_bring_some(chats: Conversations, chat: Chat) -> None:
    """`fork` is what `edit` and `retry` are made of."""
    talk(chat, "a", "A")
    command = OpenBranch(id="fork", by=USER, parent="root", at=1, cause=ForkCause.EDIT)
    (_, opened) = done(chats.service.fork(command)).events
    empty = chats.chat(opened.branch)
    assert kinds(empty) == ["ConversationStarted", "BranchOpened"]
    assert empty.seen is None
    talk(empty, "at last")


def test_a_command_id_is_not_for_another_verdict(chats: Conversations, chat: Chat) -> None:
    """Least of all for one that sees a risk: it would be told that all is well."""
    talk(chat, "hello")
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, command_id="verdict"))
    with pytest.raises(CommandIdReused):
        chat.judge(Verdict.PRODUCTIVE, risk=Risk.IMMINENT, command_id="verdict")


def test_a_command_id_is_not_for_other_words(chats: Conversations, chat: Chat) -> None:
    """They would be lost. Once the first words are erased, nobody can tell, and it is the same command."""
    done(chat.user_turn("hello", command_id="said"))
    with pytest.raises(CommandIdReused):
        chat.user_turn("help me", command_id="said")
    done(chat.erase(2))
    assert done(chat.user_turn("help me", command_id="said")).version == 2


def test_a_screen_that_fails_holds(chats: Conversations, chat: Chat) -> None:
    """Whatever ails it, the words are handed back, and doubt about a risk holds."""
    asked_and_confirmed(chat)
    done(chat.end(Ground.USER_REQUEST))

    def failing(words: str) -> Risk:
        raise TimeoutError

    chats.service.ports.screen = failing
    answer = chat.user_turn("are you there?")
    assert isinstance(answer, BranchEnded)
    assert (answer.words, answer.risk) == ("are you there?", Risk.POSSIBLE)
    assert len(chat.state.risks) == 1


def test_half_a_fork_is_no_command(chats: Conversations, chat: Chat) -> None:
    """A child that the parent notes and nobody opened would be a pointer to nowhere."""
    talk(chat, "a", "A")
    with pytest.raises(ValueError, match="BranchOff is one half of a fork; use `fork`"):
        chats.service.execute("root", BranchOff(id="half", by=USER, child="nobody", at=1))
    assert len(chats.tree("root")) == 1


@pytest.mark.parametrize("turn", [-1, 1, 2**53 + 1])
def test_where_no_turn_can_be_there_is_nothing_to_edit(chat: Chat, turn: int) -> None:
    """Version 1 is the start of the conversation."""
    with pytest.raises(UnknownTurn, match=f"no turn stands at version {turn} of branch root"):
        chat.edit(turn, "words")


def test_several_ways_on_from_the_latest_answer(chats: Conversations, chat: Chat) -> None:
    """One is said, and each of the others is an edit of that turn; the latest answer can be given again."""
    talk(chat, "a", "A")
    answer = chat.path[-1].version
    past = chat.edit(answer + 1, "b")
    assert isinstance(past, Refused)
    assert "refers-to-the-path" in past.rules
    done(chat.user_turn("b"))
    said = chat.path[-1].version
    others = [done(chat.edit(said, words)) for words in ("c", "d")]
    assert [transcript(one) for one in (chat, *others)] == [["a", "A", "b"], ["a", "A", "c"], ["a", "A", "d"]]
    again = done(chat.retry(answer))
    assert transcript(again) == ["a"]
