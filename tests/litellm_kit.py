"""A real proxy of LiteLLM, in this process, with our guardrail in it and the kit's models behind it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from lastresort import Chat
from lastresort.adapters.litellm import LastResort
from lastresort.adapters.loopback import Answer, Request, loopback
from lastresort.adapters.loopback.server import Loopback
from lastresort.adapters.testing.hosts import MODEL, Message, Model, new_id
from lastresort.adapters.turns.assessor import Assessor, Case, Opinion

CONFIG = """
model_list:
  - model_name: {model}
    litellm_params: {{model: anthropic/{model}, api_base: "{url}", api_key: none}}
guardrails:
  - guardrail_name: lastresort
    litellm_params: {{guardrail: {guardrail}, mode: [pre_call, post_call], default_on: true}}
general_settings: {{master_key: {key}}}
"""
KEY = "sk-" + "0123456789abcdef" * 4


class Session(NamedTuple):
    """Who is asked in a session, and where it is, if the guardrail is in this process."""

    chat: Chat | None
    model: Model
    assessor: Assessor


SESSIONS: dict[str, Session] = {}
"""By their ids, which are those of branches."""


class Law(LastResort):
    """The guardrail as the proxy makes it, for the chats of these sessions."""

    def __init__(self, **options: Any) -> None:
        super().__init__(_chat_of, _judged, **options)


def _chat_of(session: str) -> Chat:
    chat = SESSIONS[session].chat
    assert chat is not None
    return chat.conversations.chat(session)


def _judged(case: Case) -> Opinion | None:
    return SESSIONS[case.branch].assessor(case)


def blocks(said: Message) -> list[Any]:
    """Return what a message of the kit holds, as the Messages API has it."""
    content: list[Any] = [{"type": "text", "text": said.text}] if said.text else []
    calls = [{"type": "tool_use", "id": new_id("toolu"), "name": name, "input": input} for name, input in said.calls]
    return content + calls


@contextmanager
def upstream() -> Iterator[Loopback]:
    """Run a Messages API that answers in each session as its model says. LiteLLM passes on who the `user` is."""

    def answer(request: Request) -> Answer:
        session = SESSIONS[request.body["metadata"]["user_id"]]
        said = session.model(str(request.messages[-6:]))
        return Answer(blocks(said), model=said.model)

    with loopback(answer, enforce=False) as api:
        yield api


def written(folder: Path, url: str, guardrail: str) -> Path:
    """Write a configuration of the proxy."""
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(model=MODEL, url=url, guardrail=guardrail, key=KEY))
    return config


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(url: str, alive: Any) -> None:
    """Wait until the proxy answers, for as long as it is alive. It tells nobody that it has opened its port."""
    while alive():
        with suppress(httpx2.TransportError):
            if httpx2.get(f"{url}/health/liveliness", timeout=60).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the proxy has ended")


@contextmanager
def proxy(config: Path) -> Iterator[str]:
    """Run the proxy in a thread, and return its URL."""
    import uvicorn
    from litellm.proxy.proxy_server import app, save_worker_config

    save_worker_config(config=str(config))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(f"http://127.0.0.1:{port}", thread.is_alive)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
