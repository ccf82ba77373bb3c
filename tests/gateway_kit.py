"""What the tests of the gateway share: a client that has the SDK and a base URL, and keeps its own history."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

import anthropic
import pytest

from lastresort.adapters.turns.under_way import Sending
from lastresort.application.conversations import Conversations

from .web_kit import MODEL, Service


def client(one: Service, key: str = "sk-of-the-client", **options: Any) -> Any:
    made = anthropic.Anthropic(base_url=one.url, api_key=key, max_retries=0, **options)
    one.closing.append(made)
    return made


def user(words: str) -> dict[str, Any]:
    return {"role": "user", "content": words}


def chats_of(one: Service) -> Conversations:
    return one.house.tenants["default"].conversations


class Sent:
    """Counts the turns that are sent: those that are answered, and those that wait for the same one to be."""

    def __init__(self) -> None:
        self.count = 0

    def until(self, number: int) -> None:
        """Wait until so many have been sent."""
        deadline = monotonic() + 60
        while self.count < number and monotonic() < deadline:
            sleep(0.02)
        assert self.count >= number


@contextmanager
def counted() -> Iterator[Sent]:
    """Count the turns that are sent meanwhile."""
    counting, enter = Sent(), Sending._enter

    def entered(one: Sending) -> Sending | None:
        found = enter(one)
        counting.count += 1
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sending, "_enter", entered)
        yield counting


@pytest.fixture
def sent() -> Iterator[Sent]:
    with counted() as counting:
        yield counting


class Talk:
    """An application's chat: it holds its own history, and sends all of it."""

    def __init__(self, one: Service, *, streams: bool = False, headers: Any = None, **asked: Any) -> None:
        self.one, self.streams, self.headers = one, streams, dict(headers or {})
        self.client = client(one)
        self.asked = {"model": MODEL, "max_tokens": 200, **asked}
        self.messages: list[Any] = []
        self.matched: list[str] = []
        self.branches: list[str] = []

    def ask(self, **headers: str) -> Any:
        """Send the history as it is; return what came, and keep it in no history."""
        options = {**self.asked, "messages": self.messages, "extra_headers": {**self.headers, **headers}}
        if self.streams:
            with self.client.messages.stream(**options) as stream:
                answer, got = stream.get_final_message(), stream.response.headers
        else:
            raw = self.client.messages.with_raw_response.create(**options)
            answer, got = raw.parse(), raw.headers
        self.matched.append(got["lastresort-matched"])
        self.branches.append(got.get("lastresort-branch", ""))
        return answer

    def say(self, content: Any, **headers: str) -> str:
        """Say something, and keep the answer."""
        self.messages.append({"role": "user", "content": content})
        answer = self.ask(**headers)
        self.messages.append({"role": "assistant", "content": [block.to_dict() for block in answer.content]})
        return "".join(block.text for block in answer.content if block.type == "text")

    def close(self) -> None:
        self.client.close()
