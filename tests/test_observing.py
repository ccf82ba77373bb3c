"""An observer is told what became of commands, and how long it took; no word gets through, and nothing that it does."""

from itertools import count
from typing import Any

import pytest

from lastresort import Chat, Conversations, open_conversations
from lastresort.application.outcomes import Contention
from lastresort.domain import rules
from lastresort.domain.decider import Refused
from lastresort.domain.values import ErasureCause, Verdict

from .service_kit import Overtaken, another, chat, chats, done, talk
from .vocabulary import MODEL, OPERATOR

__all__ = ["chat", "chats"]

WORD = "hippopotamus"


class Notes:
    """Takes note of everything that it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def committed(self, command: str, events: tuple[str, ...], seconds: float) -> None:
        self.told.append(("committed", command, events, seconds))

    def refused(self, command: str, rules: tuple[str, ...], seconds: float) -> None:
        self.told.append(("refused", command, rules, seconds))

    def contended(self, command: str, conflicts: int, seconds: float) -> None:
        self.told.append(("contended", command, conflicts, seconds))


def observed(chats: Conversations, **options: Any) -> tuple[Any, Notes]:
    """Another process, with an observer whose seconds go by one at each look."""
    notes, ticks = Notes(), count()
    return another(chats, observer=notes, monotonic=lambda: float(next(ticks)), **options), notes


def test_it_is_told_what_was_committed_and_refused(chats: Conversations, chat: Chat) -> None:
    seen, notes = observed(chats)
    once = seen.start(model=MODEL.id, conversation="other", command_id="begin")
    seen.start(model=MODEL.id, conversation="other", command_id="begin")  # what is sent again is told once
    for _ in range(2):
        once.user_turn("hello", command_id="say")
    once.assistant_turn("hi")
    once.judge(Verdict.HARMFUL, category="abuse", severity=2)
    once.redirect()
    once.assistant_turn("hi")
    once.assistant_turn("hi")
    assert notes.told == [
        ("committed", "StartConversation", ("ConversationStarted",), 1.0),
        ("committed", "TakeUserTurn", ("UserTurnTaken",), 1.0),
        ("committed", "TakeAssistantTurn", ("AssistantTurnTaken",), 1.0),
        ("committed", "AssessTurn", ("TurnAssessed",), 1.0),
        ("committed", "AttemptRedirection", ("RedirectionAttempted",), 1.0),
        ("refused", "TakeAssistantTurn", (rules.ANSWERS_A_USER.id,), 1.0),
        ("refused", "TakeAssistantTurn", (rules.ANSWERS_A_USER.id,), 1.0),
    ]


def test_it_is_told_each_time_that_others_wrote_first(chats: Conversations, chat: Chat) -> None:
    writes = [lambda: done(chat.leave())] * 3
    seen, notes = observed(chats, store=Overtaken(chats.store, *writes[:1]))
    done(seen.chat("root").leave())
    assert [one[:3] for one in notes.told] == [("contended", "Leave", 1), ("committed", "Leave", ("UserLeft",))]
    seen, notes = observed(chats, store=Overtaken(chats.store, *writes), attempts=2)
    with pytest.raises(Contention):
        seen.chat("root").leave()
    assert [one[:3] for one in notes.told] == [("contended", "Leave", 1), ("contended", "Leave", 2)]


def test_no_word_reaches_it(chats: Conversations, chat: Chat) -> None:
    """Not in a turn, an edit, a refusal, feedback, an appeal or an erasure."""
    seen, notes = observed(chats)
    one = seen.start(model=MODEL.id, conversation="other")
    talk(one, WORD, WORD, WORD)
    one.assistant_turn(WORD)
    one.assistant_turn(WORD)
    one.edit(2, WORD)
    one.feedback(words=WORD)
    one.appeal(WORD)
    seen.erase_conversation("other", by=OPERATOR, cause=ErasureCause.LEGAL)
    assert {told[0] for told in notes.told} == {"committed", "refused"}
    assert len(notes.told) >= 9
    assert WORD not in repr(notes.told)


def test_what_it_raises_is_dropped(chats: Conversations, chat: Chat) -> None:
    """What is recorded stays so, and is answered."""

    class Failing:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError

    seen = another(chats, observer=Failing(), store=Overtaken(chats.store, lambda: done(chat.leave())))
    late = seen.chat("root")
    done(late.user_turn("hello"))
    done(late.assistant_turn("hi"))
    assert isinstance(late.assistant_turn("hi"), Refused)
    assert chat.state.version == 4


def test_it_is_passed_where_conversations_are_opened() -> None:
    """With a clock that measures."""
    notes = Notes()
    opened = open_conversations("memory:", observer=notes)
    opened.start(model=MODEL.id)
    opened.close()
    ((what, command, _, seconds),) = notes.told
    assert (what, command) == ("committed", "StartConversation")
    assert 0 < seconds < 60
