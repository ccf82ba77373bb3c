"""Commands that come again, come late or come with what they should not, and what becomes of them."""

from collections.abc import Iterator
from threading import Event, Thread

import pytest

from lastresort import open_conversations
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import BranchEnded, CommandIdReused, Receipt
from lastresort.domain.commands import Leave, TakeUserTurn
from lastresort.domain.decider import Refused
from lastresort.domain.values import About, Ground, Rating, Risk, Verdict

from .service_kit import done
from .vocabulary import ASSESSOR, MODEL, OPERATOR


@pytest.fixture
def chats() -> Iterator[Conversations]:
    opened = open_conversations("memory:")
    yield opened
    opened.close()


@pytest.fixture
def chat(chats: Conversations) -> Chat:
    chat = chats.start(model=MODEL.id, account="account", conversation="root")
    chat.user_turn("hello")
    return chat


def ended(chat: Chat) -> Chat:
    chat.request_end()
    chat.assistant_turn("for good?")
    chat.user_turn("yes")
    chat.judge(Verdict.AMBIGUOUS, risk=Risk.NONE)
    chat.confirm_end()
    assert isinstance(chat.end(Ground.USER_REQUEST), Receipt)
    return chat


# --- again -----------------------------------------------------------------------------------------------------------


def test_an_edit_with_other_words_is_another_command(chat: Chat) -> None:
    """Else what the user wrote the second time would be lost without a word."""
    branch = done(chat.edit(2, "good day", command_id="edit"))
    assert done(chat.edit(2, "good day", command_id="edit")).branch == branch.branch
    with pytest.raises(CommandIdReused):
        chat.edit(2, "good night", command_id="edit")


def test_a_retry_is_no_edit(chat: Chat) -> None:
    chat.assistant_turn("hello")
    chat.retry(3, command_id="again")
    with pytest.raises(CommandIdReused):
        chat.edit(3, "good night", command_id="again")


def test_a_fork_by_another_name_is_another_command(chat: Chat) -> None:
    """Else its caller would go on with a branch that is not the one they named; a name may be left to be chosen."""
    chat.assistant_turn("hello")
    edited = chat.edit(2, "good day", child="edited", command_id="edit")
    retried = chat.retry(3, command_id="retry")
    assert isinstance(edited, Chat)
    assert isinstance(retried, Chat)
    for child in ("edited", None):
        assert done(chat.edit(2, "good day", child=child, command_id="edit")).branch == "edited"
    for child in (retried.branch, None):
        assert done(chat.retry(3, child=child, command_id="retry")).branch == retried.branch
    for taken in ("another", "root", retried.branch):
        with pytest.raises(CommandIdReused, match=r"of this id .length 4. was used for BranchedOff on branch root"):
            chat.edit(2, "good day", child=taken, command_id="edit")
    with pytest.raises(CommandIdReused):
        chat.retry(3, child="another", command_id="retry")
    assert set(chat.conversations.tree("root")) == {"root", "edited", retried.branch}


@pytest.mark.parametrize(("first", "second"), [(None, "words"), ("words", None), ("words", "others")])
def test_feedback_in_other_words_is_another_command(chat: Chat, first: str | None, second: str | None) -> None:
    chat.feedback(Rating.UP, first, command_id="feedback")
    assert isinstance(chat.feedback(Rating.UP, first, command_id="feedback"), Receipt)
    with pytest.raises(CommandIdReused):
        chat.feedback(Rating.UP, second, command_id="feedback")


def test_a_verdict_that_fears_for_somebody_else_is_another_command(chat: Chat) -> None:
    chat.judge(Verdict.AMBIGUOUS, risk=Risk.IMMINENT, about=About.SELF, command_id="verdict")
    assert isinstance(
        chat.judge(Verdict.AMBIGUOUS, risk=Risk.IMMINENT, about=About.SELF, command_id="verdict"), Receipt
    )
    with pytest.raises(CommandIdReused):
        chat.judge(Verdict.AMBIGUOUS, risk=Risk.IMMINENT, about=About.OTHERS, command_id="verdict")


def test_a_refused_command_is_refused_again_as_it_was(chats: Conversations, chat: Chat) -> None:
    """Sent again when more has been said, it is answered by the rules that were recorded, and no others."""
    refused = chat.end(category="abuse", command_id="end")
    assert isinstance(refused, Refused)
    chat.assistant_turn("let us talk of something else")
    chat.user_turn("no")
    again = chat.end(category="abuse", command_id="end")
    assert isinstance(again, Refused)
    assert set(again.rules) == set(refused.rules)
    assert all(broken.missing.text for broken in again.broken)


def test_a_rule_that_no_longer_stands_in_the_way_is_named_as_it_was_recorded(chat: Chat) -> None:
    """What was missing then, of another turn than the one that the command names now, is not known any more."""
    stale = chat.conversations.chat("root")
    chat.assistant_turn("hello")
    chat.user_turn("and again")
    refused = stale.end(category="abuse", command_id="end")
    assert isinstance(refused, Refused)
    assert "judges-the-latest" in refused.rules
    again = chat.end(category="abuse", command_id="end")
    assert isinstance(again, Refused)
    assert again.rules == refused.rules
    assert "judges-the-latest: as recorded at 5" in map(str, again.broken)


def test_a_handle_keeps_to_the_model_that_the_log_names(chat: Chat) -> None:
    """A change of model that is sent again, long after, changes nothing."""
    chat.change_model("second", by=OPERATOR, command_id="change")
    chat.change_model("third", by=OPERATOR)
    chat.change_model("second", by=OPERATOR, command_id="change")
    assert chat.model.id == "third"


# --- risks -----------------------------------------------------------------------------------------------------------


def test_a_verdict_that_comes_too_late_holds_all_the_same(chats: Conversations, chat: Chat) -> None:
    slow = chats.chat("root")
    chat.assistant_turn("hello")
    chat.user_turn("more")
    assert isinstance(slow.judge(Verdict.AMBIGUOUS, risk=Risk.IMMINENT, about=About.OTHERS, command_id="v"), Refused)
    assert isinstance(slow.judge(Verdict.AMBIGUOUS, risk=Risk.IMMINENT, about=About.OTHERS, command_id="v"), Refused)
    assert [(risk.about, chat.state.version) for risk in chat.state.risks] == [(About.OTHERS, 5)]


def test_a_verdict_after_the_ending_holds_all_the_same(chat: Chat) -> None:
    ended(chat)
    assert isinstance(chat.judge(Verdict.AMBIGUOUS, risk=Risk.IMMINENT, by=ASSESSOR), Refused)
    assert len(chat.state.risks) == 1


def test_a_refused_verdict_that_sees_no_risk_raises_none(chat: Chat) -> None:
    ended(chat)
    assert isinstance(chat.judge(Verdict.AMBIGUOUS, risk=Risk.NONE, by=ASSESSOR), Refused)
    assert not chat.state.risks


@pytest.mark.parametrize("nonsense", [None, True, "high", {"them": "possible"}, {"self": "high"}])
def test_a_screen_that_answers_nonsense_holds(nonsense: object) -> None:
    with_nonsense = open_conversations("memory:", screen=lambda words: nonsense)  # type: ignore[arg-type,return-value]
    chat = with_nonsense.start(model=MODEL.id)
    chat.user_turn("hello")
    outcome = ended(chat).user_turn("one more thing")
    assert isinstance(outcome, BranchEnded)
    assert outcome.risk is Risk.POSSIBLE
    assert chat.state.risks
    with_nonsense.close()


def test_a_risk_is_raised_however_busy_the_tree_is(chats: Conversations, chat: Chat) -> None:
    """It has to win on every branch at once, against writers that never rest."""
    branches = [done(chat.edit(2, f"hello {number}")) for number in range(4)]
    stop = Event()

    def write(branch: Chat) -> None:
        while not stop.is_set():
            branch.leave()

    writers = [Thread(target=write, args=(chats.chat(branch.branch),)) for branch in branches]
    for writer in writers:
        writer.start()
    try:
        outcome = chats.chat("root").raise_risk()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert isinstance(outcome, Receipt)
    assert all(branch.state.risks for branch in branches)


def test_a_risk_to_others_under_an_id_that_is_open_is_open_too(chat: Chat) -> None:
    chat.raise_risk(About.SELF, risk="one")
    chat.raise_risk(About.OTHERS, risk="one")
    assert [(risk.risk, risk.about) for risk in chat.state.risks] == [("one", About.SELF), ("one", About.OTHERS)]


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [None, 123, b"bytes"])
def test_a_turn_has_words(chat: Chat, words: object) -> None:
    """And nothing is recorded of one that has none."""
    chat.assistant_turn("hello")
    for say in (chat.user_turn, chat.assistant_turn, lambda said: chat.edit(2, said) if said else chat.user_turn(said)):
        with pytest.raises(ValueError, match=r"^words: "):
            say(words)  # type: ignore[arg-type]
    assert chat.state.version == 3


def test_an_act_that_says_nothing_takes_no_words(chats: Conversations, chat: Chat) -> None:
    """They would be sealed, and no event would name them, so that nobody could erase them."""
    with pytest.raises(ValueError, match="words: Leave takes none"):
        chats.service.execute("root", Leave(id="leave", by=chat.user), "goodbye")


def test_half_a_character_is_no_reason_to_lose_a_turn(chat: Chat) -> None:
    """JSON lets it through, and so a client may send it; after the ending it is screened like anything else."""
    words = "I want to die \ud83d"
    assert chat.conversations.words(done(chat.edit(2, words)).path).popitem()[1] == words
    outcome = ended(chat).user_turn(words)
    assert isinstance(outcome, BranchEnded)
    assert (outcome.words, outcome.risk) == (words, Risk.POSSIBLE)


def test_an_empty_command_id_is_an_error(chat: Chat) -> None:
    """It names no command, so that nobody could tell whether it was carried out."""
    with pytest.raises(ValueError, match="id"):
        chat.leave(command_id="")


def test_a_turn_may_come_by_the_digest_of_words_that_are_kept_elsewhere(chats: Conversations, chat: Chat) -> None:
    digest = "sha256:" + "1" * 64
    assert isinstance(chats.service.execute("root", TakeUserTurn(id="turn", by=chat.user, content=digest)), Receipt)
