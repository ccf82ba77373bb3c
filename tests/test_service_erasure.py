"""A conversation is erased by the law first, then its key, then its words; what was interrupted can be finished."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from lastresort import Chat, Conversations
from lastresort.adapters.stores.memory import MemoryStore
from lastresort.adapters.vault.keys import Keys, name_of
from lastresort.adapters.vault.sealing import AesGcmVault
from lastresort.application.erasing import erasure
from lastresort.application.outcomes import Receipt, SpokenSince
from lastresort.application.ports import Append, NewEvent, Place
from lastresort.domain import rules
from lastresort.domain.decider import Refused
from lastresort.domain.events import ErasureHeld, TurnAssessed
from lastresort.domain.values import ErasureCause, HoldReason, Risk, Verdict

from .narrow import must_be
from .service_kit import NOON, another, chat, chats, done, kinds, refused_by, talk, transcript
from .vocabulary import ASSESSOR, MODEL, OPERATOR

__all__ = ["chat", "chats"]

PLACES = [Place("root", 2), Place("root", 3)]


class Killed(Exception):
    """The process is gone."""


class FailsIn:
    """A real vault or store, one method of which does not come to be called, once."""

    def __init__(self, real: Any, method: str) -> None:
        self._real, self._method = real, method

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            self._method = ""
            raise Killed
        return getattr(self._real, name)


def erased(chats: Conversations) -> Receipt | Refused:
    return chats.erase_conversation("root", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")


def keys(chats: Conversations) -> Keys:
    return must_be(AesGcmVault, chats.service.ports.vault)._keys


def key(chats: Conversations) -> bytes | None:
    return keys(chats).of("root")


def test_it_says_what_it_recorded(chats: Conversations, chat: Chat) -> None:
    talk(chat, "secret", "answer")
    outcome = done(erased(chats))
    assert [one.kind for one in outcome.events] == ["ContentErased"]
    assert len(outcome.events[0].event.contents) == 2
    assert done(erased(another(chats))).events == tuple(one._replace(position=4) for one in outcome.events)
    assert transcript(chat) == [None, None]
    assert (key(chats), chats.store.contents(PLACES)) == (None, {})


def test_what_the_law_refuses_touches_neither_key_nor_words(chats: Conversations, chat: Chat) -> None:
    talk(chat, "secret")
    verdict = TurnAssessed(by=ASSESSOR, turn=2, verdict=Verdict.AMBIGUOUS, risk=Risk.IMMINENT)
    chats.store.append(Append("root", "foreign", "foreign", NOON.isoformat(), (NewEvent("root", 3, verdict),)))
    refused_by(erased(chats), rules.RISK_HOLDS)
    assert transcript(chat) == ["secret"]
    assert key(chats) is not None


@pytest.mark.parametrize(("port", "method"), [("vault", "forget_all"), ("store", "drop")])
def test_whatever_interrupts_it_it_can_be_finished(chats: Conversations, chat: Chat, port: str, method: str) -> None:
    """By the same command, in another process, once what is in the way is over; it is recorded once."""
    talk(chat, "secret", "answer")
    with pytest.raises(Killed):
        erased(another(chats, **{port: FailsIn(getattr(chats.service.ports, port), method)}))
    assert kinds(chat)[-1] == "ContentErased"
    assert len(chats.store.contents(PLACES)) == 2
    assert transcript(chat) == ([None, None] if port == "store" else ["secret", "answer"])
    done(erased(another(chats)))
    assert (key(chats), chats.store.contents(PLACES)) == (None, {})
    assert kinds(chat).count("ContentErased") == 1


def test_what_was_said_since_is_not_meant(chats: Conversations, chat: Chat) -> None:
    """Sent again, be it finished or not: what was said under another key stays."""
    talk(chat, "secret", "answer")
    with pytest.raises(Killed):
        erased(another(chats, store=FailsIn(chats.store, "drop")))
    late = another(chats).chat("root")
    talk(late, "after")
    for _ in range(2):
        done(erased(another(chats)))
        assert transcript(late) == [None, None, "after"]
    assert chats.store.contents(PLACES) == {}
    assert kinds(chat).count("ContentErased") == 1


def test_a_branch_that_is_opened_while_the_conversation_is_read_is_erased_too(chats: Conversations, chat: Chat) -> None:
    talk(chat, "secret", "answer")

    class Meanwhile:
        """Somebody branches off once it was said that there is one branch."""

        def __getattr__(self, name: str) -> Any:
            return getattr(chats.store, name)

        def heads(self, tree: str) -> Any:
            found = chats.store.heads(tree)
            if len(found) == 1:
                done(chat.edit(2, "another secret", child="b"))
            return found

    done(erased(another(chats, store=Meanwhile())))
    assert chats.words(chats.tree_log("root")) == {}
    assert kinds(chats.chat("b"))[-1] == "ContentErased"
    assert key(chats) is None


def test_what_somebody_spoke_in_since_is_not_erased(chats: Conversations, chat: Chat) -> None:
    """Nor if they spoke at the very moment; where they spoke a microsecond before it, it is."""
    talk(chat, "hello")
    erase = partial(chats.service.erase_conversation, "root", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
    for moment in (NOON, NOON - timedelta(microseconds=1)):
        with pytest.raises(SpokenSince):
            erase(spoken_before=utc_text(moment))
        assert transcript(chat) == ["hello"]
    done(erase(spoken_before=utc_text(NOON + timedelta(microseconds=1))))
    assert transcript(chat) == [None]


def test_conversations_that_are_erased_together_each_have_their_own_receipt(chats: Conversations) -> None:
    """Of their own events, and with their own words gone."""
    trees = {name: chats.start(model=MODEL.id, conversation=name) for name in "abcd"}
    for number, one in enumerate(trees.values()):
        talk(one, *["hello"] * number)
    receipts = chats.service.erasing.together(
        trees, lambda found: erasure(f"erase-{found.tree}", OPERATOR, ErasureCause.LEGAL), "9999"
    )
    for name, erased_one in trees.items():
        assert [(one.branch, one.kind) for one in receipts[name].events] == [(name, "ContentErased")]
        assert receipts[name].state == erased_one.refresh()
        assert set(transcript(erased_one)) <= {None}


def utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def test_damaged_words_do_not_keep_their_key(chats: Conversations, chat: Chat) -> None:
    """They bear its name; so it goes, and they do. What was said since is under another key, and stays."""
    talk(chat, "secret", "answer")
    before = key(chats)
    with pytest.raises(Killed):
        erased(another(chats, vault=FailsIn(chats.service.ports.vault, "forget_all")))
    contents = must_be(MemoryStore, chats.store)._contents
    for place in PLACES:
        contents[place] = contents[place][:-1] + bytes([contents[place][-1] ^ 1])
    talk(chat, "after")
    done(erased(another(chats)))
    assert before is not None
    assert keys(chats).find("root", name_of(before)) is None
    assert (chats.store.contents(PLACES), transcript(chat)) == ({}, [None, None, "after"])


def test_a_conversation_without_words_has_no_key_afterwards(chats: Conversations, chat: Chat) -> None:
    """They were erased one by one; copies of them may be elsewhere, which the key opens."""
    talk(chat, "secret")
    done(chat.erase(2))
    assert key(chats) is not None
    done(erased(chats))
    assert key(chats) is None


def test_a_hold_on_another_branch_alone_is_in_the_way(chats: Conversations, chat: Chat) -> None:
    """As a log from elsewhere may have it: an audit finds that, and no word of the tree is erased meanwhile."""
    talk(chat, "Hello.", "Hello to you.")
    child = done(chat.edit(2, "Good evening.", child="child"))
    held = ErasureHeld(by=OPERATOR, hold="h", reason=HoldReason.LITIGATION)
    at = child.state.version + 1
    chats.store.append(Append("root", "foreign", "foreign", NOON.isoformat(), (NewEvent("child", at, held),)))
    before = chats.words(chat.path)
    outcome = erased(chats)
    refused_by(outcome, rules.HELD_FROM_ERASURE)
    assert chats.words(chat.path) == before
    assert before
