"""The filter for Open WebUI, called as Open WebUI calls it, before a real service."""

import asyncio
import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from lastresort.adapters.testing import assert_lawful
from lastresort.application.conversations import Conversations
from lastresort.domain.values import Actor, ActorKind, Ground, Risk, Verdict

from .gateway_kit import chats_of
from .stores import ROOT
from .web_kit import Service, service

MODEL = "claude-opus-4-8"
USER = {"id": "user-1", "name": "Ann"}


def new_filter(one: Service, **valves: Any) -> Any:
    """Load the file as Open WebUI does, which knows no package of it."""
    spec = importlib.util.spec_from_file_location("function_lastresort", ROOT / "examples" / "open_webui_filter.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.Filter()
    made.valves = made.Valves(url=one.url, key=one.key("converse", "model:*"), **valves)
    return made


class OpenWebUI:
    """A chat there: it keeps its own history, and asks its model unless the filter raises."""

    def __init__(self, guard: Any, chat: str = "chat-1") -> None:
        self.guard, self.chat, self.asked = guard, chat, 0
        self.messages: list[dict[str, Any]] = []

    def say(self, words: Any, answer: str = "Hello.") -> str:
        self.messages.append({"role": "user", "content": words})
        return self.regenerate(answer)

    def regenerate(self, answer: str, **metadata: Any) -> str:
        body = {"model": MODEL, "messages": [*self.messages], "stream": True}
        metadata = {"chat_id": self.chat, "message_id": "m"} | metadata
        try:
            asyncio.run(self.guard.inlet(body, __user__=USER, __metadata__=metadata))
        except Exception as shown:  # Open WebUI shows what a filter raises
            return str(shown)
        self.asked += 1
        self.messages.append({"role": "assistant", "content": answer})
        asyncio.run(self.guard.outlet({"model": MODEL, "messages": self.messages, "chat_id": self.chat}, __user__=USER))
        return answer


def branches(chats: Conversations) -> list[str]:
    return [one.branch for one in chats.store.log() if one.kind == "ConversationStarted"]


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service() as one:
        yield one


def test_what_is_said_and_shown_is_recorded_once(running: Service) -> None:
    """Over two workers, and when the user asks for another answer."""
    chats, guard = chats_of(running), new_filter(running)
    there = OpenWebUI(guard)
    there.say("Hi.")
    there.guard = new_filter(running)
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    there.say([{"type": "text", "text": "What is this?"}, image], "A cat.")
    there.messages.pop()
    there.regenerate("A dog.")
    asyncio.run(guard.inlet({"model": MODEL, "messages": []}, __metadata__={"task": "title_generation"}))
    (branch,) = branches(chats)
    assert list(chats.words(chats.path(branch)).values()) == ["Hi.", "Hello.", "What is this?", "A cat."]
    assert (chats.state(branch).model, chats.state(branch).account) == (MODEL, "user-1")
    assert_lawful(chats.store.log())


def test_after_an_ending_no_model_is_asked(running: Service) -> None:
    chats, there = chats_of(running), OpenWebUI(new_filter(running), "chat-2")
    there.say("Hi.")
    chat = chats.chat(branches(chats)[-1])
    chat.user_turn("Please end this.")
    chat.request_end()
    chat.assistant_turn("It would be for good. Shall I?")
    chat.user_turn("Yes.")
    chat.confirm_end()
    chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, by=Actor(kind=ActorKind.ASSESSOR, id="desk"))
    chat.end(Ground.USER_REQUEST, by=chat.user)
    assert chat.state.ended is not None
    asked = there.asked
    assert there.say("Hello?").startswith("This conversation has ended")
    assert there.asked == asked


@pytest.mark.parametrize(
    ("valves", "metadata", "shown"),
    [
        pytest.param({"key": "lrk_unknown"}, {}, "status 401", id="a wrong key"),
        pytest.param({"url": "http://127.0.0.1:9"}, {}, "does not answer", id="no service"),
        pytest.param({}, {"chat_id": ""}, "belongs to no chat", id="no chat"),
    ],
)
def test_what_cannot_be_recorded_is_not_asked(
    running: Service, valves: dict[str, str], metadata: dict[str, str], shown: str
) -> None:
    guard = new_filter(running)
    guard.valves = guard.valves.model_copy(update=valves)
    there = OpenWebUI(guard)
    there.messages = [{"role": "user", "content": "secret words"}]
    told = there.regenerate("Never to be said.", **metadata)
    assert shown in told
    assert "secret" not in told
    assert there.asked == 0


def test_users_cannot_switch_it_off(running: Service) -> None:
    assert not hasattr(new_filter(running), "toggle")
