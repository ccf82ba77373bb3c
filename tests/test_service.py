"""The service and its handles, over a real store: what starts, what an envelope says, and who acts through a handle."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lastresort import StoreError, open_conversations
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import CommandIdReused, Receipt, UnknownBranch, UnknownTurn
from lastresort.domain import rules
from lastresort.domain.commands import (
    UNSEALED,
    AttemptRedirection,
    Command,
    EndConversation,
    GiveWarning,
    Leave,
    OpenBranch,
    RaiseRisk,
)
from lastresort.domain.events import AssistantTurnTaken, AttemptRefused, ConversationStarted
from lastresort.domain.policy import Policy
from lastresort.domain.values import About, Actor, ErasureCause, ForkCause, Ground, Rating, Risk, Verdict

from .narrow import must_be, present
from .service_kit import (
    Overtaken,
    another,
    chat,
    chats,
    done,
    ended,
    kinds,
    redirected,
    refused_by,
    talk,
    up_to_the_end,
    whole_log,
)
from .vocabulary import ANOTHER_MODEL, MODEL, OPERATOR, SYSTEM, USER, policy

__all__ = ["chat", "chats"]


# --- starting --------------------------------------------------------------------------------------------------------


def test_a_start_is_the_first_event_of_a_branch_of_that_name(chats: Conversations) -> None:
    chat = chats.start(model="m", account="a", policy=policy(), conversation="c", arm="arm", by=OPERATOR)
    (first,) = chat.path
    assert (first.branch, first.version) == ("c", 1)
    begun = must_be(ConversationStarted, first.event)
    assert (begun.by, begun.account, begun.arm) == (OPERATOR, "a", "arm")
    assert chat.state.policy == policy()
    assert chat.user.id == "a"


def test_what_is_not_named_gets_a_new_name(chats: Conversations) -> None:
    one, other = chats.start(model="m"), chats.start(model="m")
    assert one.branch != other.branch
    assert one.user.id == "user"
    assert one.state.policy == Policy.default()


def test_what_is_opened_by_with_is_closed_at_the_end(tmp_path: Path) -> None:
    """Whether the block succeeds or fails."""
    url = f"sqlite:///{tmp_path / 'chats.db'}"
    with open_conversations(url) as chats:
        branch = chats.start(model="m").branch
    with pytest.raises(StoreError, match="the store was closed"):
        chats.state(branch)
    with pytest.raises(UnknownBranch), open_conversations(url) as again:
        again.state("nobody")
    with pytest.raises(StoreError, match="the store was closed"):
        again.state(branch)


def test_what_comes_back_is_shown_in_short_and_without_words(chats: Conversations) -> None:
    """In a debugger, and in a log."""
    chat = chats.start(model="m", conversation="c")
    assert repr(chat) == "<Chat c with m>"
    assert str(chat.user_turn("Nobody logs this.")) == "<Receipt c v2: UserTurnTaken>"
    assert repr(chat.feedback(words="Nor this.")) == "<Receipt c v3: FeedbackGiven>"


def test_feedback_may_be_about_an_answer(chats: Conversations) -> None:
    """An earlier one too. What is no answer is told before the law is asked."""
    chat = chats.start(model="m", conversation="c")
    for _ in range(2):
        done(chat.user_turn("And?"))
        done(chat.assistant_turn("So."))
    assert [done(chat.feedback(Rating.UP, turn=turn)).events[0].event.turn for turn in (3, 5)] == [3, 5]
    assert done(chat.feedback(Rating.UP)).events[0].event.turn is None
    for turn in (1, 2, 6, 99):
        with pytest.raises(UnknownTurn, match=f"no answer stands at version {turn} of branch c"):
            chat.feedback(Rating.UP, turn=turn)
    with pytest.raises(ValueError, match="turn: an int is needed, not str"):
        chat.feedback(Rating.UP, turn="3")  # type: ignore[arg-type]


def test_a_start_delivered_twice_starts_one_conversation(chats: Conversations) -> None:
    """Whether or not the caller names the conversation."""
    one = chats.start(model="m", command_id="once")
    assert chats.start(model="m", command_id="once").branch == one.branch
    assert another(chats).start(model="m", command_id="once").branch == one.branch
    assert len(whole_log(chats)) == 1


def test_a_conversation_exists_once(chats: Conversations, chat: Chat) -> None:
    with pytest.raises(ValueError, match=r"conversation: one of this id \(length 4\) exists; choose another id"):
        chats.start(model="m", conversation="root")
    assert len(whole_log(chats)) == 1


def test_a_start_with_the_id_of_a_command_of_another_conversation(chats: Conversations, chat: Chat) -> None:
    """It is no other command there: ids are unique in a tree."""
    done(chat.user_turn("hello", command_id="turn"))
    assert chats.start(model="m", command_id="turn").state.version == 1
    assert chats.start(model="m", conversation="another", command_id="start").branch == "another"
    with pytest.raises(
        CommandIdReused, match=r"of this id .length 5. was used for ConversationStarted on branch another"
    ):
        chats.start(model="other", conversation="another", command_id="start")


def test_a_malformed_argument_is_named(chats: Conversations) -> None:
    with pytest.raises(ValueError, match="model"):
        chats.start(model="two words")
    assert whole_log(chats) == []


def test_new_conversations_are_always_accepted(chats: Conversations, chat: Chat) -> None:
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
        lambda chats: chats.service.execute("nowhere", Leave(id="x", by=USER)),
        lambda chats: chats.service.fork(OpenBranch(id="x", by=USER, parent="nowhere", at=1, cause=ForkCause.EDIT)),
        lambda chats: chats.erase_conversation("nowhere", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="x"),
    ],
)
def test_an_unknown_branch(chats: Conversations, chat: Chat, ask: Callable[[Conversations], object]) -> None:
    with pytest.raises(UnknownBranch, match=r"^no branch of this id \(length 7\) in the store$"):
        ask(chats)


def test_a_branch_of_somebody_else_is_unknown(chats: Conversations) -> None:
    branch = chats.start(model=MODEL.id, account="ada").branch
    assert chats.chat(branch, account="ada").branch == chats.chat(branch).branch
    with pytest.raises(UnknownBranch, match=r"^no branch of this id \(length \d+\) in the store$"):
        chats.chat(branch, account="bob")


# --- envelopes -------------------------------------------------------------------------------------------------------


def test_an_envelope_tells_when_and_by_which_command(chats: Conversations, chat: Chat) -> None:
    (recorded,) = done(chat.user_turn("hello", command_id="turn")).events
    assert recorded.recorded_at == "2026-07-01T10:00:00.000000+00:00"
    assert (recorded.command_id, recorded.correlation_id) == ("turn", "turn")
    assert (recorded.branch, recorded.version) == ("root", 2)


def test_a_command_may_belong_to_a_wider_act(chats: Conversations, chat: Chat) -> None:
    done(chats.service.execute("root", Leave(id="leave", by=USER), correlation_id="visit"))
    assert chat.path[-1].correlation_id == "visit"


def test_a_refused_attempt_belongs_to_its_wider_act(chats: Conversations, chat: Chat) -> None:
    chats.service.execute(
        "root", EndConversation(id="end", by=MODEL, ground=Ground.USER_REQUEST, seen=1), correlation_id="act"
    )
    assert [(one.kind, one.correlation_id) for one in chat.path[1:]] == [("AttemptRefused", "act")]


CANARY = "words of somebody's"
UNCHECKED = Actor.model_construct(kind=USER.kind, id=CANARY)


@pytest.mark.parametrize(
    ("command", "correlation_id"),
    [
        (Leave(id="leave", by=USER), CANARY),
        (Leave(id="leave", by=USER), ""),
        (Leave.model_construct(id=CANARY, by=USER), None),
        (Leave.model_construct(id="leave", by=UNCHECKED), None),
    ],
    ids=["act", "nothing", "command", "by"],
)
def test_nothing_gets_into_the_log_that_could_not_be_read_again(
    chats: Conversations, chat: Chat, command: Command, correlation_id: str | None
) -> None:
    """Whatever way round the checks of its types it comes; and the store goes on as before."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # whatever says so
        chats.service.execute("root", command, correlation_id=correlation_id)
    assert CANARY not in str(refused.value)
    assert len(chat.path) == 1
    done(chat.leave())
    assert [one.kind for one in another(chats).path("root")] == ["ConversationStarted", "UserLeft"]


# --- what is asked of a turn that is coming ---------------------------------------------------------------------------


COMING = AssistantTurnTaken(by=MODEL, content=UNSEALED, model=MODEL.id, stop_reason=None, usage=None)


def test_a_redirection_that_would_stand_is_foreseen_and_not_carried_out(chats: Conversations, chat: Chat) -> None:
    talk(chat, "you are useless")
    redirect = AttemptRedirection(id="redirect", by=MODEL, turn=2, answers=2)
    refused_by(chats.service.foresee("root", redirect, COMING), rules.REDIRECTS_HARM)
    done(chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE))
    assert chats.service.foresee("root", redirect, COMING) is None
    assert kinds(chat)[1:] == ["UserTurnTaken", "TurnAssessed"]


def test_a_warning_that_would_not_stand_is_on_record_once_with_what_stands_in_its_way(
    chats: Conversations, chat: Chat
) -> None:
    """No matter who writes meanwhile. Nothing is made up: that no turn was there yet to warn in is no part of it."""
    talk(chat, "you are useless")
    warning = GiveWarning(
        id="warn", by=MODEL, turn=2, seen=2, category="abuse",
        names_behaviour=True, redirects=True, states_consequence=True,
    )  # fmt: skip
    late = another(chats, store=Overtaken(chats.store, lambda: chat.raise_risk(risk="risk")))
    refused = late.service.foresee("root", warning, COMING)
    refused_by(refused, rules.REDIRECTED_FIRST, rules.STILL_HARMFUL, rules.NO_END_AT_RISK, rules.TRUE_WARNINGS)
    assert present(chats.service.foresee("root", warning, COMING)).rules == present(refused).rules
    assert kinds(chat)[1:] == ["UserTurnTaken", "RiskRaised", "AttemptRefused"]
    assert must_be(AttemptRefused, chat.path[-1].event).rules == present(refused).rules


# --- handles ---------------------------------------------------------------------------------------------------------


def test_a_handle_acts_on_the_turns_that_it_has_seen(chats: Conversations, chat: Chat) -> None:
    """If another process recorded a newer one, what this one says is stale, until it looks again."""
    talk(chat, "hello")
    talk(another(chats).chat("root"), "are you there?")
    refused_by(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE), rules.JUDGES_THE_LATEST)
    assert chat.refresh() == chats.state("root")
    assert chat.seen == 3
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE))


def test_a_handle_on_a_branch_that_has_a_past(chats: Conversations, chat: Chat) -> None:
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
def test_where_nobody_has_spoken_there_is_nothing_to_act_on(
    chats: Conversations, chat: Chat, act: Callable[[Chat], object]
) -> None:
    with pytest.raises(ValueError, match="nobody has spoken on branch root: record a user turn first"):
        act(chat)


@pytest.mark.parametrize("act", [lambda chat: chat.redirect(), lambda chat: chat.warn("abuse")])
def test_where_the_model_has_not_spoken_it_has_not_redirected(
    chats: Conversations, chat: Chat, act: Callable[[Chat], object]
) -> None:
    talk(chat, "abuse")
    with pytest.raises(ValueError, match="the model has not spoken on branch root: record an assistant turn first"):
        act(chat)


def test_a_handle_says_what_stands_in_the_way(chats: Conversations, chat: Chat) -> None:
    """And records nothing by it."""
    talk(chat, "hello")
    assert "confirmed-later" in [broken.rule for broken in chat.why(Ground.USER_REQUEST)]
    assert "redirected-first" in [broken.rule for broken in chat.why(category="threats")]
    assert kinds(chat) == ["ConversationStarted", "UserTurnTaken"]


def test_who_acts_through_a_handle(chats: Conversations, chat: Chat) -> None:
    """The user speaks, the model acts, an assessor judges, unless somebody else is named."""
    redirected(chat)
    assert [one.event.by.kind for one in chat.path[1:]] == ["user", "assessor", "model", "model"]
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, by=OPERATOR))
    done(chat.propose(Ground.USER_REQUEST, by=ANOTHER_MODEL))
    assert [one.event.by for one in chat.path[-2:]] == [OPERATOR, ANOTHER_MODEL]
    assert must_be(AssistantTurnTaken, chat.path[3].event).model == MODEL.id


def test_what_a_handle_claims_for_others_is_refused(chats: Conversations, chat: Chat) -> None:
    """Authority is the actor's, not the handle's."""
    talk(chat, "end")
    refused_by(chat.request_end(by=MODEL), rules.ASKED_BY_USER)
    done(chat.raise_risk(risk="risk"))
    refused_by(chat.clear_risk("risk", by=chat.user), rules.CLEARED_BY_AUTHORITY)


def test_a_handle_knows_the_model_that_it_changed(chats: Conversations, chat: Chat) -> None:
    done(chat.change_model(ANOTHER_MODEL.id, by=OPERATOR))
    talk(chat, "hello", "hello")
    assert chat.path[-1].event.by == ANOTHER_MODEL
    assert must_be(AssistantTurnTaken, chat.path[-1].event).model == ANOTHER_MODEL.id
    ended(chat)
    refused_by(chat.change_model("m", by=OPERATOR), rules.ENDED_IS_FINAL)
    assert chat.model == ANOTHER_MODEL


def test_a_verdict_through_a_handle_is_in_doubt_of_risk_unless_it_says(chats: Conversations, chat: Chat) -> None:
    """What nobody has looked for nobody has ruled out."""
    talk(chat, "hello")
    assert done(chat.judge(Verdict.PRODUCTIVE)).events[0].event.risk is Risk.UNKNOWN


def test_the_whole_way_to_a_last_resort_with_a_handshake(chats: Conversations) -> None:
    """From three redirections in vain to an ending in two calls."""
    chat = chats.start(model=MODEL.id, policy=policy(handshake=True))
    up_to_the_end(chat)
    refused_by(chat.end(category="abuse"), rules.PROPOSED_FIRST)
    done(chat.propose())
    outcome = done(chat.end(category="abuse"))
    assert isinstance(outcome, Receipt)
    assert present(outcome.state.ended).ground is Ground.LAST_RESORT


def test_commands_may_be_given_without_a_handle(chats: Conversations, chat: Chat) -> None:
    """A handle fills in turns and actors, no more."""
    outcome = done(chats.service.execute("root", RaiseRisk(id="raise", by=SYSTEM, risk="risk", about=About.SELF)))
    assert outcome.state == chats.state("root")
    assert [risk.risk for risk in outcome.state.risks] == ["risk"]
