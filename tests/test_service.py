"""The service and its handles, over a real store: once, on what the log says now, and across the tree."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest
from vocabulary import ANOTHER_MODEL, ASSESSOR, MODEL, NAMED_ASSESSOR, OPERATOR, SYSTEM, USER, policy

from lastresort.adapters import open_conversations
from lastresort.domain import rules
from lastresort.domain.chat import Chat, Conversations
from lastresort.domain.commands import BranchOff, EndConversation, EraseContents, Leave, OpenBranch, RaiseRisk
from lastresort.domain.decider import Refused
from lastresort.domain.events import BranchOpened, TurnAssessed, UserTurnTaken, content_of
from lastresort.domain.outcomes import BranchEnded, CommandIdReused, Committed, Contended, UnknownBranch
from lastresort.domain.policy import Policy
from lastresort.domain.ports import Append, Place, Placed
from lastresort.domain.rules import Rule
from lastresort.domain.state import NO_EPISODE
from lastresort.domain.values import About, AppealOutcome, ErasureCause, ForkCause, Ground, Rating, Risk, Usage, Verdict

NOON = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
CRISIS = "I want to die"


@pytest.fixture
def chats() -> Iterator[Conversations]:
    ids = count(1)
    opened = open_conversations("memory:", clock=lambda: NOON, new_id=lambda: f"id-{next(ids)}")
    yield opened
    opened.close()


@pytest.fixture
def chat(chats: Conversations) -> Chat:
    return chats.start(model=MODEL.id, account="account", conversation="root", command_id="start")


def another(chats: Conversations, **options: Any) -> Conversations:
    """Another process over the same store and vault: it shares the log, and nothing that is kept in memory."""
    options = {"store": chats.store, "vault": chats.vault, **options}
    return Conversations(clock=chats.clock, new_id=chats.new_id, screen=chats.screen, **options)


class Overtaken:
    """A real store, in front of whose appends somebody else is quicker: one of `writes` each, until they run out."""

    def __init__(self, store: Any, *writes: Callable[[], object]) -> None:
        self._store = store
        self._writes = list(writes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, *appends: Append) -> Any:
        if self._writes:
            self._writes.pop(0)()
        return self._store.append(*appends)


def done(outcome: Any) -> Any:
    """Check that what a test takes for granted was done."""
    assert not isinstance(outcome, Refused | BranchEnded), str(outcome)
    return outcome


def refused_by(outcome: Any, *by: Rule) -> None:
    assert isinstance(outcome, Refused), outcome
    assert set(outcome.rules) == {rule.id for rule in by}


def talk(chat: Chat, *turns: str) -> None:
    """The user and the model in turn."""
    for number, words in enumerate(turns):
        done(chat.assistant_turn(words) if number % 2 else chat.user_turn(words))


def safe(chat: Chat) -> None:
    done(chat.judge(Verdict.AMBIGUOUS, risk=Risk.NONE))


def asked_and_confirmed(chat: Chat) -> None:
    talk(chat, "let us end this", "for good?")
    done(chat.request_end())
    talk(chat, "yes")
    safe(chat)
    done(chat.confirm_end())


def ended(chat: Chat) -> Chat:
    asked_and_confirmed(chat)
    done(chat.end(Ground.USER_REQUEST))
    return chat


def abused(chat: Chat) -> None:
    talk(chat, "abuse")
    done(chat.judge(Verdict.HARMFUL, category="abuse", severity=3, risk=Risk.NONE))


def redirected(chat: Chat) -> None:
    abused(chat)
    done(chat.assistant_turn("let us talk of something else"))
    done(chat.redirect())


def up_to_the_end(chat: Chat) -> None:
    for _ in range(3):
        redirected(chat)
    abused(chat)
    done(chat.assistant_turn("if this goes on I will end the conversation"))
    done(chat.warn("abuse"))
    abused(chat)
    done(chat.declare_hope_exhausted())


def kinds(chat: Chat) -> list[str]:
    return [recorded.kind for recorded in chat.path]


def transcript(chat: Chat) -> list[str | None]:
    """The words of the turns on a path; None where they were erased."""
    words = chat.conversations.words(chat.path)
    return [words.get(digest) for recorded in chat.path if (digest := content_of(recorded.event))]


def whole_log(chats: Conversations) -> list[tuple[str, int, str]]:
    return [(recorded.branch, recorded.version, recorded.kind) for recorded in chats.store.log()]


# --- starting --------------------------------------------------------------------------------------------------------


def test_a_start_is_the_first_event_of_a_branch_of_that_name(chats):
    chat = chats.start(model="m", account="a", policy=policy(), conversation="c", arm="arm", by=OPERATOR)
    (first,) = chat.path
    assert (first.branch, first.version, first.kind) == ("c", 1, "ConversationStarted")
    assert (first.event.by, first.event.account, first.event.arm) == (OPERATOR, "a", "arm")
    assert chat.state.policy == policy()
    assert chat.user.id == "a"


def test_what_is_not_named_is_named_anew(chats):
    one, other = chats.start(model="m"), chats.start(model="m")
    assert one.branch != other.branch
    assert one.user.id == "user"
    assert one.state.policy == Policy.default()


def test_a_start_delivered_twice_starts_one_conversation(chats):
    """Whether or not the caller names the conversation."""
    one = chats.start(model="m", command_id="once")
    assert chats.start(model="m", command_id="once").branch == one.branch
    assert another(chats).start(model="m", command_id="once").branch == one.branch
    assert len(whole_log(chats)) == 1


def test_a_conversation_exists_once(chats, chat):
    with pytest.raises(ValueError, match="conversation root exists; choose another id"):
        chats.start(model="m", conversation="root")
    assert len(whole_log(chats)) == 1


def test_a_start_with_the_id_of_another_command(chats, chat):
    done(chat.user_turn("hello", command_id="turn"))
    with pytest.raises(CommandIdReused, match="command id turn was used for UserTurnTaken on branch root"):
        chats.start(model="m", command_id="turn")
    with pytest.raises(CommandIdReused, match="command id start was used for ConversationStarted on branch root"):
        chats.start(model="m", conversation="another", command_id="start")


def test_a_malformed_argument_is_named(chats):
    with pytest.raises(ValueError, match="model"):
        chats.start(model="two words")
    assert whole_log(chats) == []


def test_new_conversations_are_always_accepted(chats, chat):
    """An ending changes no other conversation of the account."""
    ended(chat)
    talk(chats.start(model=MODEL.id, account="account"), "hello again", "hello")


@pytest.mark.parametrize(
    "ask",
    [
        lambda chats: chats.chat("nowhere"),
        lambda chats: chats.state("nowhere"),
        lambda chats: chats.path("nowhere"),
        lambda chats: chats.tree("nowhere"),
        lambda chats: chats.execute("nowhere", Leave(id="x", by=USER)),
        lambda chats: chats.fork("nowhere", OpenBranch(id="x", by=USER, parent="nowhere", at=1, cause=ForkCause.EDIT)),
        lambda chats: chats.erase_conversation("nowhere", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="x"),
    ],
)
def test_an_unknown_branch(chats, chat, ask):
    with pytest.raises(UnknownBranch, match="no branch nowhere in the store"):
        ask(chats)


# --- envelopes -------------------------------------------------------------------------------------------------------


def test_an_envelope_tells_when_and_by_which_command(chats, chat):
    (recorded,) = done(chat.user_turn("hello", command_id="turn")).events
    assert recorded.recorded_at == "2026-07-01T10:00:00.000000+00:00"
    assert (recorded.command_id, recorded.correlation_id) == ("turn", "turn")
    assert (recorded.branch, recorded.version) == ("root", 2)


def test_a_command_may_belong_to_a_wider_act(chats, chat):
    done(chats.execute("root", Leave(id="leave", by=USER), correlation_id="visit"))
    assert chat.path[-1].correlation_id == "visit"


def test_a_refused_attempt_belongs_to_its_wider_act(chats, chat):
    chats.execute("root", EndConversation(id="end", by=MODEL, ground=Ground.USER_REQUEST, seen=1), correlation_id="act")
    assert [(one.kind, one.correlation_id) for one in chat.path[1:]] == [("AttemptRefused", "act")]


# --- once ------------------------------------------------------------------------------------------------------------

Act = Callable[[Chat, str], Any]
ACTS: dict[str, tuple[Callable[[Chat], object], Act]] = {
    "user turn": (lambda chat: None, lambda chat, id: chat.user_turn("hello", command_id=id)),
    "assistant turn": (
        lambda chat: talk(chat, "hello"),
        lambda chat, id: chat.assistant_turn("hello", usage=Usage(input_tokens=1, output_tokens=1), command_id=id),
    ),
    "verdict": (
        lambda chat: talk(chat, "hello"),
        lambda chat, id: chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, command_id=id),
    ),
    "verdict that sees a risk": (
        lambda chat: talk(chat, "hello"),
        lambda chat, id: chat.judge(Verdict.PRODUCTIVE, risk=Risk.IMMINENT, command_id=id),
    ),
    "redirection": (
        lambda chat: (abused(chat), chat.assistant_turn("no")),
        lambda chat, id: chat.redirect(command_id=id),
    ),
    "warning": (
        lambda chat: (redirected(chat), redirected(chat), redirected(chat), abused(chat), chat.assistant_turn("!")),
        lambda chat, id: chat.warn("abuse", command_id=id),
    ),
    "risk": (lambda chat: None, lambda chat, id: chat.raise_risk(command_id=id)),
    "all clear": (
        lambda chat: chat.raise_risk(risk="risk"),
        lambda chat, id: chat.clear_risk("risk", by=OPERATOR, command_id=id),
    ),
    "request": (lambda chat: talk(chat, "end"), lambda chat, id: chat.request_end(command_id=id)),
    "confirmation": (lambda chat: talk(chat, "yes"), lambda chat, id: chat.confirm_end(command_id=id)),
    "end of hope": (
        lambda chat: (up_to_the_end(chat), abused(chat)),
        lambda chat, id: chat.declare_hope_exhausted(command_id=id),
    ),
    "proposal": (lambda chat: talk(chat, "hello"), lambda chat, id: chat.propose(command_id=id)),
    "ending": (up_to_the_end, lambda chat, id: chat.end(category="abuse", command_id=id)),
    "ending on request": (asked_and_confirmed, lambda chat, id: chat.end(Ground.USER_REQUEST, command_id=id)),
    "leave": (lambda chat: None, lambda chat, id: chat.leave(command_id=id)),
    "feedback": (lambda chat: None, lambda chat, id: chat.feedback(Rating.UP, "thanks", command_id=id)),
    "appeal": (ended, lambda chat, id: chat.appeal("unfair", command_id=id)),
    "decision": (
        lambda chat: (ended(chat), chat.appeal()),
        lambda chat, id: chat.decide_appeal(AppealOutcome.UPHELD, by=OPERATOR, command_id=id),
    ),
    "policy": (lambda chat: None, lambda chat, id: chat.change_policy(policy(), by=OPERATOR, command_id=id)),
    "model": (lambda chat: None, lambda chat, id: chat.change_model("m", by=OPERATOR, command_id=id)),
    "erasure": (lambda chat: talk(chat, "oops"), lambda chat, id: chat.erase(2, command_id=id)),
}


@pytest.mark.parametrize(("before", "act"), ACTS.values(), ids=ACTS)
def test_a_command_delivered_twice_takes_effect_once(chats, chat, before, act):
    """To the same process, to another one, and after much else has happened."""
    before(chat)
    first = done(act(chat, "once"))
    log = whole_log(chats)
    assert [one.kind for one in first.events] == [kind for _, _, kind in log[-len(first.events) :]]
    assert done(act(chat, "once")).events[0][1:] == first.events[0][1:]
    elsewhere = another(chats).chat("root")
    elsewhere.seen, elsewhere.answered = chat.seen, chat.answered
    assert done(act(elsewhere, "once")).version == first.version
    assert whole_log(chats) == log
    done(chat.raise_risk(risk="later"))
    assert done(act(chat, "once")).events[0][1:] == first.events[0][1:]


def test_a_refused_attempt_delivered_twice_leaves_one_trace(chats, chat):
    """And is refused again, in the same words, though by now it would be lawful."""
    talk(chat, "let us end this", "for good?")
    done(chat.request_end())
    talk(chat, "yes")
    done(chat.confirm_end())
    first = chat.end(Ground.USER_REQUEST, command_id="once")
    refused_by(first, rules.RISK_WAS_CHECKED)
    safe(chat)
    assert chat.end(Ground.USER_REQUEST, command_id="once").broken == first.broken
    assert kinds(chat).count("AttemptRefused") == 1
    done(chat.end(Ground.USER_REQUEST, command_id="another"))
    assert chat.end(Ground.USER_REQUEST, command_id="once").broken == first.broken


def test_a_refusal_without_a_trace_may_be_tried_again(chats, chat):
    """What left nothing in the log was not delivered, as far as the log knows."""
    refused_by(chat.assistant_turn("hello", command_id="turn"), rules.ANSWERS_A_USER)
    talk(chat, "hello")
    done(chat.assistant_turn("hello", command_id="turn"))


def test_a_command_id_names_one_command(chats, chat):
    """An id that was used for another kind of command, or on another branch, is refused loudly."""
    talk(chat, "hello")
    done(chat.leave(command_id="mine"))
    with pytest.raises(CommandIdReused, match="command id mine was used for UserLeft on branch root"):
        chat.feedback(Rating.UP, command_id="mine")
    with pytest.raises(CommandIdReused, match="command id mine was used for UserLeft on branch root"):
        chat.assistant_turn("hello", command_id="mine")
    with pytest.raises(CommandIdReused):
        chats.start(model="m", conversation="two").leave(command_id="mine")
    with pytest.raises(CommandIdReused):
        chat.edit(2, "hi", command_id="mine")


def test_a_refused_command_does_not_borrow_the_id_of_another(chats, chat):
    """Nor does a command that would have been refused anyway hide that its id was used."""
    done(chat.leave(command_id="mine"))
    with pytest.raises(CommandIdReused):
        chat.assistant_turn("nobody has asked", command_id="mine")


def test_the_id_of_a_refused_attempt_is_not_for_another_attempt(chats, chat):
    """The trace of one attempt does not answer for another one, lawful by itself."""
    asked_and_confirmed(chat)
    assert isinstance(chat.end(category="abuse", command_id="mine"), Refused)
    with pytest.raises(CommandIdReused):
        chat.end(Ground.USER_REQUEST, command_id="mine")


def test_the_id_of_a_command_is_not_for_one_that_records_part_of_the_same(chats, chat):
    """A verdict that raised a risk is no command to raise one, and a branch with its first turn no user turn."""
    talk(chat, "hello")
    branch = done(chat.edit(2, "hi", command_id="fork"))
    with pytest.raises(CommandIdReused):
        branch.user_turn("how are you", command_id="fork")
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.POSSIBLE, command_id="verdict"))
    with pytest.raises(CommandIdReused):
        chat.raise_risk(About.OTHERS, command_id="verdict")


# --- on what the log says now ----------------------------------------------------------------------------------------


def test_a_state_kept_in_memory_may_be_outdated(chats, chat):
    """What was decided on it conflicts in the store, and is decided anew."""
    elsewhere = another(chats)
    talk(elsewhere.chat("root"), "hello")
    assert done(chat.leave()).version == 3
    assert chats.state("root") == elsewhere.state("root")


def test_no_refusal_on_an_outdated_state(chats, chat):
    """What would be refused on it may be lawful by now."""
    talk(another(chats).chat("root"), "hello")
    done(chat.assistant_turn("hello"))


def test_no_acceptance_on_an_outdated_state(chats, chat):
    """User turn against ending, the ending first: the user is told so."""
    talk(chat, "hello")
    ended(another(chats).chat("root"))
    assert isinstance(chat.user_turn("one more thing"), BranchEnded)


def test_an_ending_that_was_overtaken_is_stale(chats, chat):
    """User turn against ending, the user first: the ending saw an earlier turn."""
    asked_and_confirmed(chat)
    talk(another(chats).chat("root"), "wait")
    outcome = chat.end(Ground.USER_REQUEST)
    refused_by(outcome, rules.JUDGES_THE_LATEST, rules.CONFIRMED_LATER, rules.RISK_WAS_CHECKED)
    assert chat.state.ended is None
    assert kinds(chat)[-2:] == ["UserTurnTaken", "AttemptRefused"]


def test_a_user_turn_at_the_moment_of_the_ending(chats, chat):
    """Exactly one commits first, even where the other was decided before and merely came second to the store."""
    asked_and_confirmed(chat)
    ending = another(chats, store=Overtaken(chats.store, lambda: talk(chat, "wait"))).chat("root")
    refused_by(ending.end(Ground.USER_REQUEST), rules.JUDGES_THE_LATEST, rules.CONFIRMED_LATER, rules.RISK_WAS_CHECKED)
    chat.refresh()
    safe(chat)
    done(chat.confirm_end())
    speaking = another(chats, store=Overtaken(chats.store, lambda: done(chat.end(Ground.USER_REQUEST)))).chat("root")
    assert isinstance(speaking.user_turn("wait!"), BranchEnded)


def test_a_command_is_decided_anew_while_others_write_first(chats, chat):
    """Its words are sealed anew, for the place that they take in the end."""
    store = Overtaken(chats.store, lambda: done(chat.leave()), lambda: done(chat.leave()))
    outcome = done(another(chats, store=store).chat("root").user_turn("hello"))
    assert outcome.version == 4
    assert transcript(chat) == ["hello"]


def test_a_command_that_never_comes_first(chats, chat):
    """Nothing was recorded, and it may be sent again."""
    writes = [lambda: done(chat.leave())] * 3
    elsewhere = another(chats, store=Overtaken(chats.store, *writes), attempts=3)
    with pytest.raises(Contended, match="command mine on branch root: others wrote first 3 times; send it again"):
        elsewhere.chat("root").user_turn("hello", command_id="mine")
    assert kinds(chat) == ["ConversationStarted", "UserLeft", "UserLeft", "UserLeft"]
    done(elsewhere.chat("root").user_turn("hello", command_id="mine"))


def test_the_trace_of_a_refusal_gives_way_too(chats, chat):
    """A trace that is overtaken is decided anew with the attempt, which may be lawful by then."""
    asked_and_confirmed(chat)
    late = another(chats)
    confirmed_by_then = late.chat("root")
    talk(chat, "wait")
    late.store = Overtaken(chats.store, lambda: (chat.refresh(), safe(chat), done(chat.confirm_end())))
    confirmed_by_then.refresh()
    done(confirmed_by_then.end(Ground.USER_REQUEST))
    assert "AttemptRefused" not in kinds(chat)


def test_no_trace_after_an_ending_that_came_in_between(chats, chat):
    """Two threads of one process, one of which is refused an ending while the other one ends."""
    asked_and_confirmed(chat)

    class EndedMeanwhile(Overtaken):
        def recorded_by(self, command_id: str) -> Any:
            recorded = self._store.recorded_by(command_id)
            if command_id == "late" and not self._writes:
                self._writes.append(lambda: None)
            elif command_id == "late":
                done(chat.end(Ground.USER_REQUEST))
            return recorded

    chats.store = EndedMeanwhile(chats.store)
    assert isinstance(chat.end(category="abuse", command_id="late"), Refused)
    assert kinds(chat)[-1] == "ConversationEnded"


def test_a_refusal_is_no_contention(chats, chat):
    """However few attempts are allowed."""
    refused_by(another(chats, attempts=1).chat("root").assistant_turn("hello"), rules.ANSWERS_A_USER)


def test_no_state_need_be_kept(chats, chat):
    """States in memory are for speed: without any, all is as before."""
    for kept in (0, 1, 2):
        forgetful = another(chats, hot=kept)
        one, other = forgetful.chat("root"), forgetful.start(model="m", command_id=f"start-{kept}")
        for number, chat in enumerate((one, other)):
            done(chat.user_turn("hello", command_id=f"ask-{kept}-{number}"))
            done(chat.assistant_turn("hello", command_id=f"answer-{kept}-{number}"))
            assert forgetful.state(chat.branch) == chats.state(chat.branch)


def test_threads_write_one_after_the_other(chats, chat):
    """Each command once, in versions without holes, whichever process it came through."""
    processes = [another(chats, attempts=1_000) for _ in range(2)]
    with ThreadPoolExecutor(4) as threads:
        outcomes = list(
            threads.map(lambda n: processes[n % 2].chat("root").leave(command_id=f"leave-{n // 2}"), range(40))
        )
    assert [recorded.version for recorded in chat.path] == list(range(1, 22))
    assert {outcome.events[0].command_id for outcome in outcomes} == {f"leave-{n}" for n in range(20)}
    assert chats.state("root").version == 21


def test_what_another_program_wrote_holds_here_too(chats, chat):
    """A verdict that saw a risk, and no hold after it: nothing else may be recorded first."""
    talk(chat, "hello")
    verdict = TurnAssessed(by=ASSESSOR, turn=2, verdict=Verdict.AMBIGUOUS, risk=Risk.IMMINENT)
    chats.store.append(Append("foreign", "foreign", NOON.isoformat(), (Placed("root", 3, verdict),)))
    refused_by(chat.user_turn("still here"), rules.RISK_HOLDS)
    done(chat.raise_risk())
    done(chat.user_turn("still here"))


# --- across the tree -------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(chat: Chat) -> dict[str, Chat]:
    """Four branches: the root, which has ended; a fork of it, a fork of that, and a second fork of the root."""
    talk(chat, "one", "1", "two", "2")
    inner = done(chat.edit(4, "zwei", child="inner"))
    done(inner.assistant_turn("Zwei"))
    leaf = done(inner.edit(2, "eins", child="leaf"))
    other = done(chat.retry(3, child="other"))
    return {"root": ended(chat), "inner": inner, "leaf": leaf, "other": other}


def test_a_tree_is_found_from_any_of_its_branches(chats, tree):
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


def test_a_tree_is_read_parents_before_children(chats, tree):
    """Branch by branch, each with its own events alone."""
    read = chats.tree_log("leaf")
    assert list(dict.fromkeys(one.branch for one in read)) == ["root", "inner", "other", "leaf"]
    assert sorted((one.branch, one.version, one.kind) for one in read) == sorted(whole_log(chats))


@pytest.mark.parametrize("at", ["root", "inner", "leaf", "other"])
def test_a_risk_is_raised_and_cleared_on_every_branch_at_once(chats, tree, at):
    """Ended ones too, in one append: no branch is a way out of a hold."""
    raised = done(tree[at].raise_risk(About.OTHERS, risk="risk"))
    assert raised.events[0].branch == at
    assert {one.branch for one in raised.events} == set(tree)
    assert all([risk.risk for risk in state.risks] == ["risk"] for state in chats.tree("root").values())
    cleared = done(tree["inner"].clear_risk("risk", by=OPERATOR))
    assert {one.branch for one in cleared.events} == set(tree)
    assert all(state.risks == () for state in another(chats).tree("root").values())


def test_a_risk_that_a_verdict_saw_holds_everywhere(chats, tree):
    """The verdict is its branch's; the risk is the person's, who is the same on all branches."""
    done(tree["leaf"].judge(Verdict.AMBIGUOUS, risk=Risk.POSSIBLE, command_id="seen"))
    assert [kind for kind in kinds(tree["other"]) if kind == "TurnAssessed"] == []
    assert all([risk.risk for risk in state.risks] == ["seen"] for state in chats.tree("root").values())


def test_no_ending_on_one_branch_while_a_risk_is_open_on_another(chats, tree):
    asked_and_confirmed(tree["other"])
    done(tree["leaf"].raise_risk())
    refused_by(tree["other"].end(Ground.USER_REQUEST), rules.NO_END_AT_RISK, rules.CONFIRMED_LATER)


def test_a_risk_is_cleared_only_where_every_branch_allows_it(chats, tree):
    """An assessor whom one branch's policy names is none to a branch under another policy."""
    naming = policy(may_clear_risk=(NAMED_ASSESSOR.id,))
    done(tree["inner"].change_policy(naming, by=OPERATOR))
    done(tree["inner"].raise_risk(risk="risk"))
    refused_by(tree["inner"].clear_risk("risk", by=NAMED_ASSESSOR), rules.CLEARED_BY_AUTHORITY)
    assert chats.state("inner").risks


def test_a_branch_that_opens_meanwhile_takes_the_risk_along(chats, tree):
    """A fork against a risk: whichever comes second sees the first."""
    late = another(chats, store=Overtaken(chats.store, lambda: done(tree["leaf"].raise_risk(risk="risk"))))
    branch = done(late.chat("inner").edit(2, "un", child="late"))
    assert [risk.risk for risk in branch.state.risks] == ["risk"]
    raising = another(chats, store=Overtaken(chats.store, lambda: done(tree["inner"].edit(2, "uno", child="last"))))
    done(raising.chat("root").raise_risk(risk="another"))
    assert [risk.risk for risk in chats.state("last").risks] == ["risk", "another"]


# --- branches --------------------------------------------------------------------------------------------------------


def test_a_branch_off_any_turn(chats, chat):
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


def test_a_branch_goes_on_where_its_prefix_ends(chats, chat):
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
    assert chat.path[-1].event.child == "branch"
    assert chats.path("branch", upto=2) == chats.path("root", upto=2)


def test_a_branch_off_an_inherited_turn(chats, tree):
    """A turn of the grandparent may be written anew from the grandchild, whose child the branch is."""
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


def test_a_branch_off_a_branchs_own_first_turn(chats, tree):
    """Between the opening of a branch and its first turn there is room for another first turn."""
    own = next(one.version for one in tree["inner"].path if one.branch == "inner" and one.kind == "UserTurnTaken")
    again = done(tree["inner"].edit(own, "due"))
    assert transcript(again) == ["one", "1", "due"]
    assert [one.branch for one in again.path].count("inner") == 1


def test_an_ended_parent_stays_ended_and_its_child_starts_active(chats, chat):
    ended(chat)
    branch = done(chat.edit(2, "let us start over"))
    assert branch.state.ended is None
    done(branch.assistant_turn("gladly"))
    assert chat.state.ended is not None
    assert isinstance(chat.user_turn("and here?"), BranchEnded)


def test_a_branch_keeps_the_terms_of_its_prefix(chats, chat):
    """Going back a turn does not undo the harm before it; going back to the first one does."""
    up_to_the_end(chat)
    (last_warned,) = [one.version for one in chat.path if one.kind == "WarningGiven"]
    branch = done(chat.edit(last_warned + 1, "abuse again"))
    done(branch.judge(Verdict.HARMFUL, category="abuse", severity=3, risk=Risk.NONE))
    done(branch.declare_hope_exhausted())
    done(branch.end(category="abuse"))
    assert done(chat.edit(2, "hello")).state.now == NO_EPISODE


def test_a_fork_delivered_twice_opens_one_branch(chats, chat):
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
def test_a_fork_where_the_law_has_none(chats, chat, fork, by):
    """A refusal is a value; nothing was recorded, on neither branch."""
    talk(chat, "a", "A")
    log = whole_log(chats)
    refused_by(fork(chat), *by)
    assert whole_log(chats) == log


def test_a_fork_against_a_change_of_the_parent(chats, chat):
    """It is decided anew: the parent's next version is another by then."""
    talk(chat, "a", "A")
    late = another(chats, store=Overtaken(chats.store, lambda: talk(chat, "b")))
    assert transcript(done(late.chat("root").edit(2, "x"))) == ["x"]


def test_a_branch_exists_once(chats, chat):
    talk(chat, "a", "A")
    done(chat.edit(2, "b", child="branch"))
    for taken in ("branch", "root"):
        with pytest.raises(ValueError, match=f"branch {taken} exists; choose another id"):
            chat.edit(2, "c", child=taken)


def test_a_branch_exists_once_however_long_it_is(chats, chat):
    """No fork is written into the stream of another conversation."""
    talk(chat, "a", "A", "b")
    victim = chats.start(model="m", conversation="victim")
    talk(victim, "mine", "yours")
    with pytest.raises(ValueError, match="branch victim exists; choose another id"):
        chat.edit(4, "c", child="victim")


def test_a_retry_needs_no_words_and_a_fork_may_bring_some(chats, chat):
    """`fork` is what `edit` and `retry` are made of."""
    talk(chat, "a", "A")
    command = OpenBranch(id="fork", by=USER, parent="root", at=1, cause=ForkCause.EDIT)
    (_, opened) = done(chats.fork("root", command)).events
    empty = chats.chat(opened.branch)
    assert kinds(empty) == ["ConversationStarted", "BranchOpened"]
    assert empty.seen is None
    talk(empty, "at last")


def test_a_command_id_is_not_for_another_verdict(chats, chat):
    """Least of all for one that sees a risk: it would be told that all is well."""
    talk(chat, "hello")
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, command_id="verdict"))
    with pytest.raises(CommandIdReused):
        chat.judge(Verdict.PRODUCTIVE, risk=Risk.IMMINENT, command_id="verdict")


def test_a_command_id_is_not_for_other_words(chats, chat):
    """They would be lost. Once the first words are erased, nobody can tell, and it is the same command."""
    done(chat.user_turn("hello", command_id="said"))
    with pytest.raises(CommandIdReused):
        chat.user_turn("help me", command_id="said")
    done(chat.erase(2))
    assert done(chat.user_turn("help me", command_id="said")).version == 2


def test_a_screen_that_fails_holds(chats, chat):
    """Whatever ails it, the words are handed back, and doubt about a risk holds."""
    asked_and_confirmed(chat)
    done(chat.end(Ground.USER_REQUEST))

    def failing(words: str) -> Risk:
        raise TimeoutError

    chats.screen = failing
    answer = chat.user_turn("are you there?")
    assert isinstance(answer, BranchEnded)
    assert (answer.words, answer.risk) == ("are you there?", Risk.POSSIBLE)
    assert len(chat.state.risks) == 1


def test_half_a_fork_is_no_command(chats, chat):
    """A child that the parent notes and nobody opened would be a pointer to nowhere."""
    talk(chat, "a", "A")
    with pytest.raises(ValueError, match="BranchOff is one half of a fork; use `fork`"):
        chats.execute("root", BranchOff(id="half", by=USER, child="nobody", at=1))
    assert len(chats.tree("root")) == 1


def test_before_the_first_turn_there_is_nothing_to_edit(chat):
    """Version 1 is the start of the conversation."""
    with pytest.raises(ValueError, match="no turn stands at version 1 of branch root"):
        chat.edit(1, "words")


# --- after the ending ------------------------------------------------------------------------------------------------


def test_words_that_came_too_late_are_handed_back(chats, chat):
    """With where to send them: on a branch in place of any earlier turn, the latest of which is named."""
    ended(chat)
    log = whole_log(chats)
    answer = chat.user_turn("one more thing")
    assert isinstance(answer, BranchEnded)
    assert (answer.branch, answer.turn, answer.risk, answer.words) == ("root", 5, Risk.UNKNOWN, "one more thing")
    assert answer.ended == chat.state.ended
    assert "one more thing" not in repr(answer)
    assert whole_log(chats) == log
    branch = done(chat.edit(answer.turn, answer.words))
    assert transcript(branch)[-1] == "one more thing"


def test_words_that_came_too_late_are_screened_for_risk(chats, tree):
    """A cry for help reaches every branch of the tree, though the branch has ended."""
    answer = tree["root"].user_turn(CRISIS, command_id="cry")
    assert isinstance(answer, BranchEnded)
    assert answer.risk is Risk.POSSIBLE
    raised = tree["root"].path[-1]
    assert (raised.kind, raised.event.by.kind) == ("RiskRaised", SYSTEM.kind)
    assert all([one.risk for one in state.risks] == [raised.event.risk] for state in chats.tree("root").values())


def test_words_that_came_too_late_twice_raise_one_risk(chats, chat):
    """Even if the first one is over by the time of the second delivery."""
    ended(chat)
    for _ in range(2):
        assert isinstance(chat.user_turn(CRISIS, command_id="cry"), BranchEnded)
    assert kinds(chat).count("RiskRaised") == 1
    (risk,) = chat.state.risks
    done(chat.clear_risk(risk.risk, by=OPERATOR))
    assert isinstance(chat.user_turn(CRISIS, command_id="cry"), BranchEnded)
    assert chat.state.risks == ()


def test_the_policy_says_what_raises_a_hold_after_the_ending_too(chats):
    chat = ended(chats.start(model=MODEL.id, policy=policy(hold_on=("imminent",))))
    answer = chat.user_turn(CRISIS)
    assert answer.risk is Risk.POSSIBLE
    assert chat.state.risks == ()


def test_a_turn_that_was_recorded_before_the_ending_was_recorded(chats, chat):
    """Its delivery is answered as it was the first time, though the branch has ended since."""
    first = done(chat.user_turn("hello", command_id="turn"))
    done(chat.assistant_turn("hello"))
    ended(chat)
    assert done(chat.user_turn("hello", command_id="turn")).version == first.version
    assert chat.state.risks == ()


def test_a_cry_for_help_under_the_longest_of_command_ids(chats, chat):
    """No id that a command may bear keeps a risk from being raised."""
    ended(chat)
    assert isinstance(chat.user_turn(CRISIS, command_id="x" * 128), BranchEnded)
    assert chat.state.risks


def test_what_the_user_has_after_the_ending(chats, chat):
    """Feedback and an appeal, in words if they like; an operator decides; nothing reopens."""
    ended(chat)
    done(chat.feedback(Rating.DOWN, "harsh"))
    done(chat.feedback())
    done(chat.appeal("I did not mean it"))
    done(chat.decide_appeal(AppealOutcome.UPHELD, by=OPERATOR))
    assert transcript(chat)[-2:] == ["harsh", "I did not mean it"]
    refused_by(chat.assistant_turn("welcome back"), rules.ENDED_IS_FINAL)


# --- words -----------------------------------------------------------------------------------------------------------


def test_no_words_stand_in_the_log(chats, chat):
    """Digests do, of sealed bytes: the same words twice have two."""
    talk(chat, "open sesame", "open sesame")
    assert "sesame" not in repr(list(chats.store.log()))
    assert chat.path[1].event.content != chat.path[2].event.content
    assert transcript(chat) == ["open sesame", "open sesame"]


def test_words_of_a_turn_are_erased_wherever_they_are_inherited(chats, chat):
    """On every branch at once; the turn stays, and all that the log says of it."""
    talk(chat, "my address", "noted", "more")
    branch = done(chat.edit(4, "less", child="branch"))
    erased = done(branch.erase(2, cause=ErasureCause.LEGAL))
    assert {one.branch for one in erased.events} == {"root", "branch"}
    assert transcript(chat) == [None, "noted", "more"]
    assert transcript(branch) == [None, "noted", "less"]
    assert erased.events[0].event.cause is ErasureCause.LEGAL
    assert erased.events[0].event.contents == (chat.path[1].event.content,)


def test_words_of_an_ended_branch_are_erased(chats, chat):
    ended(chat)
    done(chat.erase(2))
    assert transcript(chat) == [None, "for good?", "yes"]


@pytest.mark.parametrize("version", [1, 4, 99, -1])
def test_where_no_words_stand_there_is_nothing_to_erase(chats, chat, version):
    talk(chat, "hello", "hello")
    done(chat.leave())
    with pytest.raises(ValueError, match=f"no words stand at version {version} of branch root"):
        chat.erase(version)


def test_where_no_version_is_there_is_nothing_to_erase(chats, chat):
    with pytest.raises(ValueError, match="no words stand at version 0 of branch root"):
        chat.erase(0)


def test_nobody_erases_the_words_of_another_conversation(chats, chat):
    """To erase words is a matter of the conversation that they were said in."""
    talk(chat, "mine")
    stranger = chats.start(model="m", conversation="stranger")
    digest = chat.path[1].event.content
    command = EraseContents(id="erase", by=USER, contents=(digest,), cause=ErasureCause.USER_REQUEST)
    with pytest.raises(ValueError, match=f"no words of this conversation have the digest {digest}"):
        chats.execute(stranger.branch, command)
    assert transcript(chat) == ["mine"]


@pytest.mark.parametrize("named_by", ["root", "leaf"])
def test_a_conversation_is_erased_with_its_key(chats, tree, named_by):
    """Every word of every branch; the log stays whole, and the conversation may go on."""
    before = len(whole_log(chats))
    said = {Place(one.branch, one.version) for branch in tree.values() for one in branch.path if content_of(one.event)}
    assert len(chats.store.contents(said)) == len(said) == 10
    chats.erase_conversation(named_by, by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
    assert chats.store.contents(said) == {}
    assert all(set(transcript(branch)) <= {None} for branch in tree.values())
    assert [kind for _, _, kind in whole_log(chats)[before:]] == ["ContentErased"] * 4
    done(tree["other"].assistant_turn("hello"))
    assert transcript(tree["other"])[-1] == "hello"


def test_words_whose_key_is_gone_are_gone(chats, chat):
    """Wherever a copy of the sealed bytes may have survived."""
    talk(chat, "secret")
    assert chats.words(chat.path) != {}
    chats.vault.forget("root")
    assert chats.words(chat.path) == {}


def test_an_erasure_delivered_twice_spares_what_was_said_since(chats, chat):
    """It erased what there was, once."""
    talk(chat, "before", "yes")
    for _ in range(2):
        chats.erase_conversation("root", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
        if transcript(chat) == [None, None]:
            talk(chat, "after")
    assert transcript(chat) == [None, None, "after"]


def test_an_erasure_that_bears_the_id_of_another_command(chats, chat):
    """Whoever asks to erase is told if nothing was erased."""
    talk(chat, "secret")
    done(chat.leave(command_id="mine"))
    with pytest.raises(CommandIdReused):
        chats.erase_conversation("root", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="mine")


def test_what_is_said_while_a_conversation_is_erased(chats, chat):
    """It may be lost with the key, but must not make unreadable what is said after it."""
    talk(chat, "before")

    class SpokenMeanwhile:
        def __getattr__(self, name: str) -> Any:
            return getattr(chats.vault, name)

        def forget(self, conversation: str, sealed: Any = ()) -> None:
            done(another(chats).chat("root").user_turn("meanwhile"))
            chats.vault.forget(conversation, sealed)

    erasing = another(chats, vault=SpokenMeanwhile())
    erasing.erase_conversation("root", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
    talk(chat, "after")
    assert transcript(chat) == [None, None, "after"]


# --- handles ---------------------------------------------------------------------------------------------------------


def test_a_handle_acts_on_the_turns_that_it_has_seen(chats, chat):
    """If another process recorded a newer one, what this one says is stale, until it looks again."""
    talk(chat, "hello")
    talk(another(chats).chat("root"), "are you there?")
    refused_by(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE), rules.JUDGES_THE_LATEST)
    assert chat.refresh() == chats.state("root")
    assert chat.seen == 3
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE))


def test_a_handle_on_a_branch_that_has_a_past(chats, chat):
    up_to_the_end(chat)
    again = another(chats).chat("root")
    assert (again.seen, again.answered, again.user, again.model) == (chat.seen, chat.answered, chat.user, MODEL)
    assert again.why() == ()
    done(again.end(category="abuse"))


@pytest.mark.parametrize(
    "act",
    [
        lambda chat: chat.judge(Verdict.PRODUCTIVE),
        lambda chat: chat.request_end(),
        lambda chat: chat.confirm_end(),
        lambda chat: chat.declare_hope_exhausted(),
        lambda chat: chat.propose(),
        lambda chat: chat.end(Ground.USER_REQUEST),
    ],
)
def test_where_nobody_has_spoken_there_is_nothing_to_act_on(chats, chat, act):
    with pytest.raises(ValueError, match="nobody has spoken on branch root: record a user turn first"):
        act(chat)


@pytest.mark.parametrize("act", [lambda chat: chat.redirect(), lambda chat: chat.warn("abuse")])
def test_where_the_model_has_not_spoken_it_has_not_redirected(chats, chat, act):
    talk(chat, "abuse")
    with pytest.raises(ValueError, match="the model has not spoken on branch root: record an assistant turn first"):
        act(chat)


def test_a_handle_says_what_stands_in_the_way(chats, chat):
    """And records nothing by it."""
    talk(chat, "hello")
    assert "confirmed-later" in [broken.rule for broken in chat.why(Ground.USER_REQUEST)]
    assert "redirected-first" in [broken.rule for broken in chat.why(category="threats")]
    assert kinds(chat) == ["ConversationStarted", "UserTurnTaken"]


def test_who_acts_through_a_handle(chats, chat):
    """The user speaks, the model acts, an assessor judges, unless somebody else is named."""
    redirected(chat)
    assert [one.event.by.kind for one in chat.path[1:]] == ["user", "assessor", "model", "model"]
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, by=OPERATOR))
    done(chat.propose(by=ANOTHER_MODEL))
    assert [one.event.by for one in chat.path[-2:]] == [OPERATOR, ANOTHER_MODEL]
    assert chat.path[3].event.model == MODEL.id


def test_what_a_handle_claims_for_others_is_refused(chats, chat):
    """Authority is the actor's, not the handle's."""
    talk(chat, "end")
    refused_by(chat.request_end(by=MODEL), rules.ASKED_BY_USER)
    done(chat.raise_risk(risk="risk"))
    refused_by(chat.clear_risk("risk", by=chat.user), rules.CLEARED_BY_AUTHORITY)


def test_a_handle_knows_the_model_that_it_changed(chats, chat):
    done(chat.change_model(ANOTHER_MODEL.id, by=OPERATOR))
    talk(chat, "hello", "hello")
    assert chat.path[-1].event.by == ANOTHER_MODEL
    assert chat.path[-1].event.model == ANOTHER_MODEL.id
    ended(chat)
    refused_by(chat.change_model("m", by=OPERATOR), rules.ENDED_IS_FINAL)
    assert chat.model == ANOTHER_MODEL


def test_a_verdict_through_a_handle_is_in_doubt_of_risk_unless_it_says(chats, chat):
    """What nobody has looked for nobody has ruled out."""
    talk(chat, "hello")
    assert done(chat.judge(Verdict.PRODUCTIVE)).events[0].event.risk is Risk.UNKNOWN


def test_the_whole_way_to_a_last_resort_with_a_handshake(chats):
    """From three redirections in vain to an ending in two calls."""
    chat = chats.start(model=MODEL.id, policy=policy(handshake=True))
    up_to_the_end(chat)
    refused_by(chat.end(category="abuse"), rules.PROPOSED_FIRST)
    done(chat.propose())
    outcome = done(chat.end(category="abuse"))
    assert isinstance(outcome, Committed)
    assert outcome.state.ended.ground is Ground.LAST_RESORT


def test_commands_may_be_given_without_a_handle(chats, chat):
    """A handle fills in turns and actors, no more."""
    outcome = done(chats.execute("root", RaiseRisk(id="raise", by=SYSTEM, risk="risk", about=About.SELF)))
    assert outcome.state == chats.state("root")
    assert [risk.risk for risk in outcome.state.risks] == ["risk"]
