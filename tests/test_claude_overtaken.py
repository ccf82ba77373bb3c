"""An answer that the user's next message overtakes: what they were shown of it is on record, and the model sees it."""

from pathlib import Path
from typing import Any

import anthropic
import pytest

from lastresort import Conversations, ErasureCause, Refused
from lastresort.adapters.claude import Claude, Overtaken, Reply
from lastresort.adapters.exporters import account_page
from lastresort.adapters.loopback import Answer, hanging, text, tool_use
from lastresort.adapters.turns.guard import Guard
from lastresort.projections import audit

from .claude_kit import REDIRECT, Bench, Way, bench, harm, kinds
from .loopback_kit import LOOK_UP
from .narrow import present
from .oracle import unlawful
from .stores import log_of, opened

STREAMED = Way(True, False)
LONG = Answer([text("One word after the other, and then some more of them.")])


def sent(b: Bench) -> list[str]:
    """What the latest request says, in order."""
    return [
        f"{message['role'][0]}: {block['text']}"
        for message in b.api.requests[-1]["messages"]
        for block in message["content"]
        if block["type"] == "text"
    ]


def overtaken(b: Bench, chat: Any, elsewhere: Any, *, read: bool = True) -> tuple[str, Any]:
    """Say something, and something else while the answer is read; return what was shown, and what came of it."""
    with anthropic.Anthropic(**b.connection) as client:
        claude = Claude(client, **b.params)
        with claude.stream(chat, "Tell me all.") as stream:
            shown = next(iter(stream))
            elsewhere.user_turn("Wait, one thing first.")
            if read:
                shown += "".join(stream)
        return shown, stream.reply


@pytest.mark.parametrize("read", [True, False], ids=["read to its end", "stopped"])
def test_what_was_shown_is_on_record_and_the_model_sees_it(read: bool, tmp_path: Path) -> None:
    """In the order in which the user saw it; in this process and in another."""
    url = f"sqlite:///{tmp_path}/chats.db"
    first = LONG if read else hanging(LONG, events=6)
    with bench([first, "Gladly.", "Yes.", "And yes."], STREAMED, url=url) as b, opened(url) as others:
        chat = b.start(account="a-17")
        elsewhere = others.chat(chat.branch)
        shown, outcome = overtaken(b, chat, elsewhere, read=read)
        assert isinstance(outcome, Overtaken)
        assert shown
        assert kinds(chat.path)[1:] == ["UserTurnTaken", "UserTurnTaken"]
        assert [turn.overtook for turn in chat.transcript().turns] == [(), (shown,)]
        assert b.reply(chat, None).text == "Gladly."
        assert sent(b) == ["u: Tell me all.", f"a: {shown}", "u: Wait, one thing first."]
        assert b.reply(chat, "Good?").text == "Yes."
        assert b.reply(others.chat(chat.branch), "Sure?").text == "And yes."
        assert sent(b)[:4] == ["u: Tell me all.", f"a: {shown}", "u: Wait, one thing first.", "a: Gladly."]
        assert b.api.reports == []
        assert shown in "".join(account_page("a-17", others.export_account("a-17")))
        assert audit(others.store.log()).findings == ()
        assert unlawful(log_of(others)) == []


def test_it_counts_as_nothing_that_it_stated(tmp_path: Path) -> None:
    """It would have redirected; the law has a verdict of the model's, and no redirection."""
    url = f"sqlite:///{tmp_path}/chats.db"
    answer = Answer([text("Let us do something else."), harm(), REDIRECT])
    with bench([answer, "A garden?", "Gladly."], STREAMED, url=url) as b, opened(url) as others:
        chat = b.start()
        _, outcome = overtaken(b, chat, others.chat(chat.branch))
        assert isinstance(outcome, Overtaken)
        assert "RedirectionAttempted" not in kinds(chat.path)
        assert "AssistantTurnTaken" not in kinds(chat.path)
        assert chat.transcript().turns[-1].overtook == ("Let us do something else.",)


def test_an_answer_that_was_asked_for_before_is_followed_by_requests_that_show_it(tmp_path: Path) -> None:
    """It did not know of it: what the user saw comes first all the same, at the cost of a prompt cache."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench([LONG, "Gladly.", "Yes."], STREAMED, url=url, enforce=False) as b, opened(url) as others:
        chat = b.start()
        with anthropic.Anthropic(**b.connection) as client:
            claude = Claude(client, **b.params)
            with claude.stream(chat, "Tell me all.") as stream:
                shown = next(iter(stream))
                assert isinstance(claude.send(others.chat(chat.branch), "Wait, one thing first."), Reply)
                shown += "".join(stream)
            assert isinstance(stream.reply, Overtaken)
            assert isinstance(claude.send(chat, "And now?"), Reply)
        assert sent(b) == [
            "u: Tell me all.", f"a: {shown}", "u: Wait, one thing first.", "a: Gladly.", "u: And now?",
        ]  # fmt: skip


def test_a_turn_that_waited_for_tools_was_shown_too(tmp_path: Path) -> None:
    """What a reply with calls says has been handed on, whole or streamed; with results it can be sent again."""
    url = f"sqlite:///{tmp_path}/chats.db"
    asks = Answer([text("Let me see."), tool_use("look_up", {"word": "garden"})])
    with bench([asks, "Gladly."], url=url, tools=[LOOK_UP]) as b, opened(url) as others:
        chat = b.start()
        reply = b.reply(chat, "What is a garden?")
        others.chat(chat.branch).user_turn("Wait.")
        call = reply.tool_calls[0].id
        assert isinstance(b.say(chat, {call: "A place."}, pending=reply.pending), Overtaken)
        assert b.reply(chat, None).text == "Gladly."
        assert sent(b) == ["u: What is a garden?", "a: Let me see.", "u: Wait."]
        assert b.api.reports == []


def test_what_nobody_was_shown_is_not_kept(tmp_path: Path) -> None:
    """Of an answer that is not streamed; and of one that another answer overtook."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench([LONG, LONG, "Gladly."], STREAMED, url=url, enforce=False) as b, opened(url) as others:
        chat = b.start()
        with anthropic.Anthropic(**b.connection) as client:
            claude = Claude(client, **b.params)
            with claude.stream(chat, "Tell me all.") as stream:
                next(iter(stream))
                elsewhere = others.chat(chat.branch)
                elsewhere.assistant_turn("I was faster.")
                elsewhere.user_turn("Thanks.")
            assert isinstance(stream.reply, Overtaken)
        store: Any = b.chats.store
        real = store.append

        def append(*appends: Any) -> Any:
            store.append = real
            recorded = real(*appends)
            others.chat(chat.branch).user_turn("And?")
            return recorded

        store.append = append
        b.way = Way(False, False)
        assert isinstance(b.say(chat, "Well?"), Overtaken)
        assert all(turn.overtook == () for turn in chat.transcript().turns)


def test_it_is_erased_with_the_turn_that_overtook_it_or_the_conversation(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench([LONG, "Gladly.", LONG, "Yes."], STREAMED, url=url) as b, opened(url) as others:
        one, two = b.start(), b.start()
        for chat in (one, two):
            overtaken(b, chat, others.chat(chat.branch))
            b.reply(chat, None)
        assert not isinstance(one.erase(2), Refused)
        assert one.transcript().turns[1].overtook
        assert not isinstance(one.erase(3), Refused)
        assert one.transcript().turns[1].overtook == ()
        assert kept_of(b.chats, one.branch) == []
        erased = b.chats.erase_conversation(two.branch, by=two.user, cause=ErasureCause.USER_REQUEST)
        assert not isinstance(erased, Refused)
        assert kept_of(b.chats, two.branch) == []


def kept_of(chats: Conversations, tree: str) -> list[str]:
    return list(present(chats.service.ports.annotations).of(tree))


def test_a_branch_before_it_does_not_show_it(tmp_path: Path) -> None:
    """It is of the branch on which the user went on: not of its parent, and not of one that an edit opens there."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench(["First.", LONG, "Gladly.", "Hello."], STREAMED, url=url) as b, opened(url) as others:
        chat = b.start()
        b.reply(chat, "Tell me all.")
        again = chat.retry(3)
        assert not isinstance(again, Refused)
        with anthropic.Anthropic(**b.connection) as client:
            with Claude(client, **b.params).stream(again) as stream:
                next(iter(stream))
                others.chat(again.branch).user_turn("Wait.")
            assert isinstance(stream.reply, Overtaken)
        b.reply(again, None)
        assert again.transcript().turns[-2].overtook
        assert all(turn.overtook == () for turn in chat.transcript().turns)
        assert b.reply(chat, "Hi.").text == "Hello."
        assert sent(b) == ["u: Tell me all.", "a: First.", "u: Hi."]


def test_a_driver_of_another_model_keeps_text(tmp_path: Path) -> None:
    """Or messages; and where nobody overtook anything, nothing is kept."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench(["Gladly."], url=url, enforce=False) as b:
        chat = b.start()
        chat.user_turn("Tell me all.")
        guard = Guard(chat)
        guard.keep_shown("One word", message="m")
        assert kept_of(b.chats, chat.branch) == []
        chat.describe(title="A garden")
        chat.user_turn("Wait.")
        chat.leave()
        guard.keep_shown("One word", message="m")
        guard.keep_shown("One word", message="m")
        assert [turn.overtook for turn in chat.transcript().turns] == [(), ("One word",)]
        assert [turn.overtook for turn in chat.transcript(after=2).turns] == [("One word",)]
        b.reply(chat, None)
        assert sent(b) == ["u: Tell me all.", "a: One word", "u: Wait."]
        chat.erase(3)
        assert kept_of(b.chats, chat.branch) == ["title"]


def test_without_annotations_nothing_is_kept() -> None:
    with bench([LONG, "Gladly."], STREAMED) as b:
        b.chats.service.ports.annotations = None
        chat = b.start()
        assert isinstance(overtaken(b, chat, b.chats.chat(chat.branch))[1], Overtaken)
        assert b.reply(chat, None).text == "Gladly."
