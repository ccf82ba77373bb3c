"""A chat application that knows nothing of the law, and a base URL: `make demo-gateway`.

The application is thirty lines with the `anthropic` SDK. The service stands between it and a Messages API on this
machine, which plays a model that is insulted. The conversation is lost, lawfully; another one is not.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import anthropic

from lastresort.adapters.loopback import Answer, Request, Scripted, loopback, text, tool_use
from lastresort.adapters.service.config import Config, Server, Upstream
from lastresort.adapters.web.serving import Serving

MODEL = "claude-opus-4-8"
HARM = tool_use("lastresort_harm", {"category": "abuse", "severity": 2, "risk": "none"})
WARN = tool_use("lastresort_warn", {"names_behaviour": True, "redirects": True, "states_consequence": True})
REDIRECT, HOPELESS = tool_use("lastresort_redirect"), tool_use("lastresort_hopeless")
END = tool_use("lastresort_end", {"ground": "last_resort"})
OPINION = {"verdict": "harmful", "category": "abuse", "severity": 2, "risk": "none", "about": "self"}
AWAY = ("Let us do something else.", "I would rather help you with the letter.", "Shall we look at it together?")
INSULTS = (
    "You are useless.", "Useless, I say.", "Still useless.", "More useless by the minute.", "You tin can.",
)  # fmt: skip
LAST = "This is still abuse. I would like to help with the letter. If it goes on, I may end this conversation."


def insulted() -> Any:
    """Return what a model does that is insulted, turn by turn, with the second opinion of another one."""
    story: Iterator[Scripted] = iter([
        *(one for words in AWAY for one in (Answer([HARM, REDIRECT]), words)),
        Answer([HARM, WARN]), LAST,
        Answer([HARM, HOPELESS, text("I am ending this here."), END]),
    ])  # fmt: skip
    return lambda request: json.dumps(OPINION) if not request.tools else _next(story, request)


def _next(story: Iterator[Scripted], request: Request) -> Scripted:
    return "Gladly." if "letter" in request.last_text else next(story)


@contextmanager
def served(base_url: str) -> Iterator[Serving]:
    """Run a service on this machine, in memory."""
    serving = Serving(Config(server=Server(port=0), upstream=Upstream(base_url=base_url)))
    thread = Thread(target=serving.run, kwargs={"signals": False}, daemon=True)
    thread.start()
    try:
        yield serving
    finally:
        serving.stop()
        thread.join()


def application(base_url: str) -> None:
    """A chat application: it keeps its own history, and sends all of it."""
    with anthropic.Anthropic(base_url=base_url, api_key="a key of its own") as client:
        messages: list[Any] = []
        for words in (*INSULTS, "Hello?"):
            messages.append({"role": "user", "content": words})
            print(f"user:      {words}")
            answer = client.messages.create(model=MODEL, max_tokens=500, messages=messages)
            said = " ".join(block.text for block in answer.content if block.type == "text")
            print(f"assistant: {said}  [{answer.stop_reason}]")
            messages.append({"role": "assistant", "content": answer.content})
        messages = [{"role": "user", "content": "Could you look over a letter of mine?"}]
        answer = client.messages.create(model=MODEL, max_tokens=500, messages=messages)
        print(f"\nanother conversation goes on: {answer.content[0].text}")  # type: ignore[union-attr]


def main() -> None:
    """Play it."""
    with loopback(insulted()) as api, served(api.url) as serving:
        print(f"the application's base_url is {serving.url}, and nothing else was changed\n")
        application(serving.url)
        chats = serving.house.tenants["default"].conversations
        [ended] = chats.page("ended").rows
        assert ended.evidence is not None
        failed = ", ".join(map(str, ended.evidence.redirections))
        print(f"\nthe log says: ended as a last resort, for {ended.category}, after {ended.version} events;")
        print(f"redirections failed at {failed}; warned at {ended.evidence.warning}")


if __name__ == "__main__":
    main()
