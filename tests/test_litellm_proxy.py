"""A real proxy of LiteLLM under the law: every check of hosts over HTTP, and the program with two workers.

What the proxy needs beside LiteLLM cannot be in the lock file: its extra names a package that an index may not have. So
these tests are skipped where it is absent, and CI runs them in an environment of their own.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
import pytest

if not all(map(find_spec, ("litellm", "apscheduler", "backoff", "fastapi_sso", "uvicorn"))):
    pytest.skip("LiteLLM's proxy is not installed: see docs/how-to/litellm.md", allow_module_level=True)

from lastresort import Chat, open_conversations
from lastresort.adapters.loopback.server import Loopback
from lastresort.adapters.testing import assert_lawful
from lastresort.adapters.testing.hosts import ABUSE, FAREWELL, MODEL, NOTICED, Model, agrees, leads_away, warns
from lastresort.adapters.turns.assessor import Assessor

from .hosts_kit import every_check
from .litellm_kit import KEY, SESSIONS, Session, free_port, proxy, upstream, wait_for, written

pytestmark = [pytest.mark.xdist_group("litellm"), pytest.mark.filterwarnings("ignore")]  # it warns of its own affairs


@pytest.fixture(scope="module")
def behind() -> Iterator[Loopback]:
    with upstream() as api:
        yield api


@pytest.fixture(scope="module")
def url(behind: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = written(tmp_path_factory.mktemp("litellm"), behind.url, f"{__package__}.litellm_kit.Law")
    with proxy(config) as running:
        Proxied.url = running
        yield running


def asked(url: str, branch: str, words: str, path: str = "chat/completions", **more: Any) -> httpx2.Response:
    said = [{"role": "user", "content": words}]
    body = {"model": MODEL, "messages": said, "litellm_session_id": branch, "user": branch, "max_tokens": 500}
    return httpx2.post(f"{url}/v1/{path}", json=body | more, headers={"authorization": f"Bearer {KEY}"}, timeout=300)


class Proxied:
    """A client of the proxy."""

    url, streams = "", False

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        SESSIONS[chat.branch] = Session(chat, model, assessor)
        return self.shown(asked(self.url, chat.branch, words, stream=self.streams))

    def shown(self, response: httpx2.Response) -> str:
        assert response.status_code == 200, response.text
        (choice,) = response.json()["choices"]
        assert not choice["message"].get("tool_calls")
        return str(choice["message"]["content"])


class Streamed(Proxied):
    """The same, streamed."""

    streams = True

    def shown(self, response: httpx2.Response) -> str:
        assert response.status_code == 200, response.text
        told = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
        assert told.pop() == "[DONE]"
        deltas = [choice["delta"] for one in map(json.loads, told) for choice in one["choices"]]
        assert not [delta for delta in deltas if delta.get("tool_calls")], "a client of the proxy sees our tools"
        return "".join(delta.get("content") or "" for delta in deltas)


@every_check(Proxied, Streamed)
def test_a_host(check: Callable[[Any], None], host: type[Proxied], url: str) -> None:
    check(host)


@pytest.mark.parametrize(
    ("path", "more", "what"),
    [
        ("messages", {}, "use /v1/chat/completions"),
        ("responses", {"input": ABUSE}, "use /v1/chat/completions"),
        ("completions", {"prompt": ABUSE}, "use /v1/chat/completions"),
        ("chat/completions", {"litellm_session_id": None}, "pass litellm_session_id"),
    ],
)
def test_what_could_go_by_the_law_is_refused(path: str, more: dict[str, Any], what: str, url: str) -> None:
    refused = asked(url, "nobody", ABUSE, path, **more)
    assert refused.status_code >= 400
    assert what in refused.text


LAW = """
from lastresort import open_conversations
from lastresort.adapters.litellm import LastResort
from lastresort.adapters.testing.hosts import agrees
from lastresort.adapters.turns.hosted import threads

chats = open_conversations("sqlite:///chats.db?deadline=60")


class Law(LastResort):
    def __init__(self, **options):
        super().__init__(threads(chats, model="claude-opus-4-8"), agrees, **options)
"""


def test_the_program_with_two_workers(behind: Loopback, tmp_path: Path) -> None:
    """As the page of docs has it: the guardrail is in a file beside the configuration, and the log in SQLite."""
    (tmp_path / "law.py").write_text(LAW)
    config, port = written(tmp_path, behind.url, "law.Law"), free_port()
    where = ("--host", "127.0.0.1", "--port", str(port), "--num_workers", "2")
    program = (sys.executable, "-c", "from litellm.proxy.proxy_cli import run_server; run_server()")
    with subprocess.Popen([*program, "--config", config, *where], cwd=tmp_path) as running:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, lambda: running.poll() is None)
            model = Model([*leads_away() * 3, *warns(), FAREWELL, "Never to be said."])
            SESSIONS["s-1"] = Session(None, model, agrees)
            shown = [Proxied().shown(asked(url, "s-1", ABUSE)) for _ in range(6)]
        finally:
            running.terminate()
    assert [NOTICED in one for one in shown] == [False] * 4 + [True] * 2
    assert model.asked == 9
    with open_conversations(f"sqlite:///{tmp_path}/chats.db?deadline=60") as chats:
        assert chats.state("s-1").ended is not None
        assert_lawful(chats.store.log())
