"""What becomes of words: those that come after the ending, those that are kept, and those that are erased."""

from typing import Any

import pytest

from lastresort.adapters.vault.keys import Doomed
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import BranchEnded, CommandIdReused, Receipt, UnknownTurn
from lastresort.application.ports import Place
from lastresort.domain import rules
from lastresort.domain.commands import EraseContents
from lastresort.domain.events import ContentErased, RiskRaised, content_of
from lastresort.domain.values import About, AppealOutcome, ErasureCause, Rating, Risk, RiskSeen

from .narrow import must_be, present
from .service_kit import CRISIS, another, chat, chats, done, ended, kinds, refused_by, talk, transcript, tree, whole_log
from .vocabulary import MODEL, OPERATOR, SYSTEM, USER, policy

__all__ = ["chat", "chats", "tree"]


# --- after the ending ------------------------------------------------------------------------------------------------


def test_words_that_came_too_late_are_handed_back(chats: Conversations, chat: Chat) -> None:
    """With where to send them: on a branch in place of any earlier turn, the latest of which is named."""
    ended(chat)
    log = whole_log(chats)
    answer = chat.user_turn("one more thing")
    assert isinstance(answer, BranchEnded)
    assert (answer.branch, answer.turn, answer.risk, answer.words) == ("root", 5, Risk.UNKNOWN, "one more thing")
    assert answer.ended == chat.state.ended
    assert "one more thing" not in repr(answer)
    assert whole_log(chats) == log
    branch = done(chat.edit(present(answer.turn), answer.words))
    assert transcript(branch)[-1] == "one more thing"


def test_words_that_came_too_late_are_screened_for_risk(chats: Conversations, tree: dict[str, Chat]) -> None:
    """A cry for help reaches every branch of the tree, though the branch has ended."""
    answer = tree["root"].user_turn(CRISIS, command_id="cry")
    assert isinstance(answer, BranchEnded)
    assert answer.risk is Risk.POSSIBLE
    raised = must_be(RiskRaised, tree["root"].path[-1].event)
    assert raised.by.kind is SYSTEM.kind
    assert all([one.risk for one in state.risks] == [raised.risk] for state in chats.tree("root").values())


def test_whom_words_that_came_too_late_are_about(chats: Conversations, chat: Chat) -> None:
    """The one who wrote them, somebody else, or both: then each is a risk of its own, raised once and cleared alone."""
    ended(chat)
    threat = "I am going to kill my wife."
    for words, about in ((threat, ["others"]), (CRISIS, ["self"]), (f"{threat} {CRISIS}", ["self", "others"])):
        for _ in range(2):
            answer = must_be(BranchEnded, chat.user_turn(words, command_id=words.replace(" ", "-")))
            assert answer.risk is Risk.POSSIBLE
        risks = chat.state.risks
        assert [risk.about for risk in risks] == about
        assert len({risk.risk for risk in risks}) == len(about)
        for number, risk in enumerate(risks, 1):
            done(chat.clear_risk(risk.risk, by=OPERATOR))
            assert len(chat.state.risks) == len(about) - number


def test_what_the_policy_holds_on_is_asked_of_whom_the_words_are_about(chats: Conversations) -> None:
    """A possible risk to others holds here, and one to oneself does not; of whom nobody knows, it may be either."""
    terms = policy(hold_on_self=("imminent",), hold_on_others=("imminent", "possible"))
    possible = Risk.POSSIBLE
    told: list[tuple[RiskSeen, list[str]]] = [
        ({About.SELF: possible}, []),
        ({About.SELF: possible, About.OTHERS: possible}, ["others"]),
        (possible, ["self"]),
    ]
    seen = iter([one for one, _ in told])
    chats.service.ports.screen = lambda _: next(seen)
    for _, about in told:
        chat = ended(chats.start(model=MODEL.id, policy=terms))
        assert must_be(BranchEnded, chat.user_turn("hm")).risk is Risk.POSSIBLE
        assert [risk.about for risk in chat.state.risks] == about


def test_words_that_came_too_late_twice_raise_one_risk(chats: Conversations, chat: Chat) -> None:
    """Unless the first one is over by the time of the second delivery: nobody can tell if the words are the same."""
    ended(chat)
    for _ in range(2):
        assert isinstance(chat.user_turn(CRISIS, command_id="cry"), BranchEnded)
    assert kinds(chat).count("RiskRaised") == 1
    (risk,) = chat.state.risks
    done(chat.clear_risk(risk.risk, by=OPERATOR))
    assert isinstance(chat.user_turn(CRISIS, command_id="cry"), BranchEnded)
    assert len(chat.state.risks) == 1
    assert chat.state.risks != (risk,)


def test_the_policy_says_what_raises_a_hold_after_the_ending_too(chats: Conversations) -> None:
    chat = ended(chats.start(model=MODEL.id, policy=policy(hold_on=("imminent",))))
    answer = must_be(BranchEnded, chat.user_turn(CRISIS))
    assert answer.risk is Risk.POSSIBLE
    assert chat.state.risks == ()


def test_a_turn_that_was_recorded_before_the_ending_was_recorded(chats: Conversations, chat: Chat) -> None:
    """Its delivery is answered as it was the first time, though the branch has ended since."""
    first = done(chat.user_turn("hello", command_id="turn"))
    done(chat.assistant_turn("hello"))
    ended(chat)
    assert done(chat.user_turn("hello", command_id="turn")).version == first.version
    assert chat.state.risks == ()


def test_a_cry_for_help_under_the_longest_of_command_ids(chats: Conversations, chat: Chat) -> None:
    """No id that a command may bear keeps a risk from being raised."""
    ended(chat)
    assert isinstance(chat.user_turn(CRISIS, command_id="x" * 128), BranchEnded)
    assert chat.state.risks


def test_what_the_user_has_after_the_ending(chats: Conversations, chat: Chat) -> None:
    """Feedback and an appeal, in words if they like; an operator decides; nothing reopens."""
    ended(chat)
    done(chat.feedback(Rating.DOWN, "harsh"))
    done(chat.feedback())
    done(chat.appeal("I did not mean it"))
    done(chat.decide_appeal(AppealOutcome.GRANTED, by=OPERATOR))
    assert transcript(chat)[-2:] == ["harsh", "I did not mean it"]
    refused_by(chat.assistant_turn("welcome back"), rules.ENDED_IS_FINAL)


# --- words -----------------------------------------------------------------------------------------------------------


def test_no_words_stand_in_the_log(chats: Conversations, chat: Chat) -> None:
    """Digests do, of sealed bytes: the same words twice have two."""
    talk(chat, "open sesame", "open sesame")
    assert "sesame" not in repr(list(chats.store.log()))
    assert content_of(chat.path[1].event) != content_of(chat.path[2].event)
    assert transcript(chat) == ["open sesame", "open sesame"]


def test_words_stand_beside_the_event_that_they_are_of_and_no_other(chats: Conversations, chat: Chat) -> None:
    """A command may record several events, of which one stands for its words."""
    done(chat.user_turn("hello"))
    done(chat.edit(2, "or rather", command_id="edits"))
    log = [one for branch in chats.tree("root") for one in chats.store.read("root", branch)]
    assert len([one for one in log if one.command_id == "edits"]) == 3
    places = [Place(one.branch, one.version) for one in log]
    assert set(chats.store.contents(places)) == {Place(one.branch, one.version) for one in log if content_of(one.event)}


def test_words_of_a_turn_are_erased_wherever_they_are_inherited(chats: Conversations, chat: Chat) -> None:
    """On every branch at once; the turn stays, and all that the log says of it."""
    talk(chat, "my address", "noted", "more")
    branch = done(chat.edit(4, "less", child="branch"))
    erased = done(branch.erase(2, cause=ErasureCause.LEGAL))
    assert {one.branch for one in erased.events} == {"root", "branch"}
    assert transcript(chat) == [None, "noted", "more"]
    assert transcript(branch) == [None, "noted", "less"]
    assert erased.events[0].event.cause is ErasureCause.LEGAL
    assert erased.events[0].event.contents == (content_of(chat.path[1].event),)


def test_words_on_a_branch_that_others_opened_are_erased(chats: Conversations, chat: Chat) -> None:
    """Whoever erases them need not have heard of it."""
    talk(chat, "my address")
    elsewhere = another(chats)
    elsewhere.tree("root")  # which it now has in memory
    branch = done(chat.edit(2, "my other address", child="branch"))
    digest = content_of(branch.path[-1].event)
    erasure = EraseContents(id="erase", by=OPERATOR, contents=(present(digest),), cause=ErasureCause.LEGAL)
    done(elsewhere.service.execute("root", erasure))
    assert transcript(branch) == [None]


def test_words_of_an_ended_branch_are_erased(chats: Conversations, chat: Chat) -> None:
    ended(chat)
    done(chat.erase(2))
    assert transcript(chat) == [None, "for good?", "yes"]


@pytest.mark.parametrize("version", [1, 4, 99, -1])
def test_where_no_words_stand_there_is_nothing_to_erase(chats: Conversations, chat: Chat, version: int) -> None:
    talk(chat, "hello", "hello")
    done(chat.leave())
    with pytest.raises(UnknownTurn, match=f"no words stand at version {version} of branch root"):
        chat.erase(version)


def test_where_no_version_is_there_is_nothing_to_erase(chats: Conversations, chat: Chat) -> None:
    with pytest.raises(UnknownTurn, match="no words stand at version 0 of branch root"):
        chat.erase(0)


def test_nobody_erases_the_words_of_another_conversation(chats: Conversations, chat: Chat) -> None:
    """To erase words is a matter of the conversation that they were said in."""
    talk(chat, "mine")
    stranger = chats.start(model="m", conversation="stranger")
    digest = present(content_of(chat.path[1].event))
    command = EraseContents(id="erase", by=USER, contents=(digest,), cause=ErasureCause.USER_REQUEST)
    with pytest.raises(ValueError, match=r"^contents: this conversation has no words of 1 of these digests$"):
        chats.service.execute(stranger.branch, command)
    assert transcript(chat) == ["mine"]


@pytest.mark.parametrize("named_by", ["root", "leaf"])
def test_a_conversation_is_erased_with_its_key(chats: Conversations, tree: dict[str, Chat], named_by: str) -> None:
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


def test_words_whose_key_is_gone_are_gone(chats: Conversations, chat: Chat) -> None:
    """Wherever a copy of the sealed bytes may have survived."""
    talk(chat, "secret")
    assert chats.words(chat.path) != {}
    vault: Any = chats.service.ports.vault
    vault._keys.destroy(
        [Doomed("root", vault.retire("root"))]
    )  # as another program may have done: this vault asks the log
    assert chats.words(chat.path) == {}


def test_an_erasure_delivered_twice_spares_what_was_said_since(chats: Conversations, chat: Chat) -> None:
    """It erased what there was, once."""
    talk(chat, "before", "yes")
    for _ in range(2):
        chats.erase_conversation("root", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
        if transcript(chat) == [None, None]:
            talk(chat, "after")
    assert transcript(chat) == [None, None, "after"]


def test_an_erasure_that_bears_the_id_of_another_command(chats: Conversations, chat: Chat) -> None:
    """Someone who asks to erase is told if nothing was erased."""
    talk(chat, "secret")
    done(chat.leave(command_id="mine"))
    with pytest.raises(CommandIdReused):
        chats.erase_conversation("root", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="mine")


@pytest.mark.parametrize("when", ["retire", "forget_all"])
def test_what_is_said_while_a_conversation_is_erased(chats: Conversations, chat: Chat, when: str) -> None:
    """Before the event it is erased with the rest; after it, it stays, whatever was read of the old words meanwhile."""
    talk(chat, "before")
    vault = chats.service.ports.vault
    said: list[Receipt] = []

    class SpokenMeanwhile:
        def __getattr__(self, name: str) -> Any:
            act = getattr(vault, name)
            if name != when or said:
                return act

            def meanwhile(*args: Any) -> Any:
                done_before = act(*args) if when == "retire" else None
                elsewhere = another(chats).chat("root")
                assert when == "forget_all" or transcript(elsewhere) == ["before"]
                said.append(done(elsewhere.user_turn("meanwhile")))
                return act(*args) if when == "forget_all" else done_before

            return meanwhile

    erasing = another(chats, vault=SpokenMeanwhile())
    erasing.erase_conversation("root", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
    talk(chat, "after")
    assert transcript(chat) == [None, "meanwhile" if when == "forget_all" else None, "after"]
    gone = [one.event.contents for one in chat.path if isinstance(one.event, ContentErased)]
    assert [len(contents) for contents in gone] == [1 if when == "forget_all" else 2]


def test_an_erasure_that_was_delivered_twice_at_once(chats: Conversations, chat: Chat) -> None:
    """The second to come retires a key that words were sealed under since; it must not destroy it."""
    talk(chat, "before")
    vault = chats.service.ports.vault
    erase: Any = {"by": OPERATOR, "cause": ErasureCause.LEGAL, "command_id": "erase"}

    class Overtaken:
        def __getattr__(self, name: str) -> Any:
            return getattr(vault, name)

        def retire(self, *conversations: str) -> str:
            another(chats).erase_conversation("root", **erase)
            talk(another(chats).chat("root"), "after")
            return vault.retire(*conversations)

    another(chats, vault=Overtaken()).erase_conversation("root", **erase)
    assert transcript(chat) == [None, "after"]
