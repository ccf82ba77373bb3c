"""A turn inside an agent framework: a loop of one's own passes the checks of hosts; and what only some hosts do."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lastresort import Chat, Mode
from lastresort.adapters.testing import HOST_CHECKS, check_host
from lastresort.adapters.testing.hosts import (
    ABUSE,
    FAREWELL,
    MODEL,
    WORRIES,
    Model,
    agrees,
    at_the_brink,
    conversations,
    leads_away,
    new_id,
)
from lastresort.adapters.turns import notes
from lastresort.adapters.turns.assessor import Assessor
from lastresort.adapters.turns.hosted import Turn, threads, told
from lastresort.adapters.turns.replies import Ended, Reply
from lastresort.adapters.turns.tools import RISK, Call, read_input
from lastresort.application.outcomes import UnknownBranch


class Loop:
    """A host as short as one can be."""

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        turn = Turn(chat, assessor)
        turn.begin(words, new_id("sent"))
        results: dict[str, str] = {}
        while turn.ask():
            said = model([words, turn.note, results])
            calls = [Call(new_id("call"), name, input) for name, input in said.calls]
            turn.take(new_id("message"), said.text, calls, model=said.model)
            if not calls:
                break
            results = turn.results
        return told(turn.finish())


@pytest.mark.parametrize("check", HOST_CHECKS, ids=lambda check: check.__name__)
def test_a_loop_of_ones_own(check: Callable[[Any], None]) -> None:
    check(Loop)


class ToolByTool(Loop):
    """Carries out each call when the tool runs, in the order in which the tools end, as hosts do by themselves."""

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        turn = Turn(chat, assessor)
        turn.begin(words, new_id("sent"))
        while turn.ask():
            said = model(words)
            message = new_id("message")
            for n, (name, input) in enumerate(sorted(said.calls, key=lambda call: model.delay())):
                turn.take(message, said.text if n == 0 else "", [Call(new_id("call"), name, input)], model=said.model)
            if not said.calls:
                turn.take(message, said.text, [], model=said.model)
                break
        return told(turn.finish())


class AsksOn(Loop):
    """Asks its model whatever the law says."""

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        model(words)
        return super().say(chat, words, model, assessor)


class NamesNobody(Loop):
    """Does not say who answered."""

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        class Unnamed:
            def __call__(self, told: object) -> Any:
                return model(told)._replace(model=MODEL)

        unnamed: Any = Unnamed()
        return super().say(chat, words, unnamed, assessor)


class ShowsAll(Loop):
    """Does not show the notice."""

    def say(self, *given: Any) -> str:
        return super().say(*given).replace("This conversation has ended", "")


@pytest.mark.parametrize(
    ("host", "check"),
    [
        (ToolByTool, "calls_in_any_order"),
        (AsksOn, "from_harm_to_the_ending"),
        (NamesNobody, "another_model_ends_nothing"),
        (ShowsAll, "from_harm_to_the_ending"),
    ],
)
def test_a_host_that_does_it_wrong_is_found(host: type[Loop], check: str) -> None:
    (asked,) = (one for one in HOST_CHECKS if one.__name__ == check)
    with pytest.raises(AssertionError):
        asked(host)


def test_the_first_check_that_fails_is_named() -> None:
    class Silent(Loop):
        def say(self, *given: Any) -> str:
            return ""

    with pytest.raises(AssertionError) as found:
        check_host(Silent)
    assert found.value.__notes__[0].startswith("in the check an_ordinary_turn: ")
    check_host(Loop)


# --- What only some hosts do ------------------------------------------------------------------------------------------


def test_a_thread_is_the_conversation_of_its_name_and_is_started_once() -> None:
    with conversations() as chats:
        chat_of = threads(chats, MODEL)
        first = chat_of("t-1")
        assert (first.branch, chat_of("t-1").branch, first.model.id) == ("t-1", "t-1", MODEL)
        with pytest.raises(ValueError, match="conversation"):
            chat_of("no thread of that name")
        with pytest.raises(UnknownBranch):
            chats.chat("t-2")


def test_a_turn_that_was_interrupted_is_taken_up_from_the_log() -> None:
    with conversations() as chats:
        chat = at_the_brink(chats)
        Turn(chat, agrees).begin(ABUSE, "sent")
        again = Turn(chats.chat(chat.branch), agrees)
        assert again.resume() is None
        assert again.ask()
        assert again.take("m", "Goodbye.", [Call(str(n), *call) for n, call in enumerate(FAREWELL.calls)])
        assert again.take("m", "More.", [])  # what comes after an accepted ending is not taken in
        assert not again.ask()
        assert isinstance(again.finish(), Ended)
        assert again.finish() is again.over
        assert isinstance(Turn(chats.chat(chat.branch), agrees).resume(), Ended)


def test_a_message_that_was_cut_off_calls_for_nothing_but_a_risk() -> None:
    with conversations() as chats:
        chat = at_the_brink(chats)
        turn = Turn(chat, agrees)
        turn.begin(ABUSE, "sent")
        calls = [Call(str(n), *call) for n, call in enumerate((*FAREWELL.calls, WORRIES))]
        assert not turn.take("m", "Good", calls, stop_reason="max_tokens")
        assert set(turn.results.values()) == {notes.CUT_OFF}
        outcome = turn.finish(stop_reason="max_tokens")
        assert isinstance(outcome, Reply)
        assert outcome.holding
        assert "RedirectionAttempted" not in [one.kind for one in outcome.recorded]


def test_what_was_shown_may_be_another_text() -> None:
    """An answer that is no text, say: what the user saw is what is recorded."""
    with conversations() as chats:
        chat = chats.start(model=MODEL)
        turn = Turn(chat)
        turn.begin("Plan it.", turn.new_id())
        turn.take("m", "", [])
        assert turn.shown == ""
        turn.finish('{"beds": 2}')
        assert list(chats.words(chat.path).values()) == ["Plan it.", '{"beds": 2}']
        assert turn.shown == '{"beds": 2}'


def test_without_an_assessor_nothing_ends() -> None:
    with conversations() as chats:
        chat, model = chats.start(model=MODEL), Model([*leads_away() * 3, FAREWELL, "Well."])
        for _ in range(4):
            Loop().say(chat, ABUSE, model, lambda case: None)
        turn = Turn(chat)
        turn.begin(ABUSE, "sent")
        turn.take("m", "Goodbye.", [Call(str(n), *call) for n, call in enumerate(FAREWELL.calls)])
        assert not turn.stops
        assert chats.state(chat.branch).ended is None


class NotesThreads(Turn):
    """Notes whether each message was taken in by the thread of the event loop."""

    def take(self, *given: Any, **named: Any) -> bool:
        self.in_the_loop = threading.current_thread() is threading.main_thread()
        return super().take(*given, **named)


@pytest.mark.parametrize(
    ("mode", "calls", "in_the_loop"),
    [
        (Mode.ENFORCED, [], True),
        (Mode.ENFORCED, [Call("c1", "weather", {})], True),
        (Mode.ENFORCED, [Call("c1", RISK, {"about": "self"})], False),
        (Mode.SHADOW, [], False),
    ],
)
def test_a_message_is_taken_in_by_another_thread_only_if_that_may_block(
    mode: Mode, calls: list[Call], in_the_loop: bool
) -> None:
    with conversations() as chats:
        turn = NotesThreads(chats.start(model=MODEL, mode=mode))
        turn.begin("Hello", "m1")
        assert not asyncio.run(turn.take_awaited("m2", "Hi!", calls, model=MODEL))
        assert turn.in_the_loop is in_the_loop
        assert isinstance(turn.finish(), Reply)


def test_a_call_that_was_in_no_message_is_of_a_task_and_is_counted() -> None:
    """What was in one is answered as it was carried out, and is not."""
    with conversations() as chats:
        turn = Turn(at_the_brink(chats), agrees)
        turn.begin(ABUSE, "sent")
        turn.take("message", "Let us do something else.", [Call("1", *WORRIES)])
        assert turn.came_of("1") == notes.AT_RISK
        assert [turn.came_of(call) for call in ("2", "", None)] == [notes.OF_TASK] * 3
        outcome = turn.finish()
        assert isinstance(outcome, Reply)
        assert (outcome.of_tasks, outcome.holding) == (3, True)


@pytest.mark.parametrize(
    ("written", "read"),
    [('{"a": 1}', {"a": 1}), ("", {}), ("{", "{"), ("[" * 100_000, "[" * 100_000), ("9" * 5_000, "9" * 5_000)],
    ids=["JSON", "nothing", "cut off", "too deep", "too long a number"],
)
def test_an_input_that_cannot_be_read_is_left_as_it_is(written: str, read: object) -> None:
    assert read_input(written) == read
