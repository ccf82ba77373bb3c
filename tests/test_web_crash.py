"""Items 6 and 14: a worker that is killed at any moment, and a user's turn against an ending; on each engine."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx2
import pytest

from lastresort import Refused, open_conversations
from lastresort.adapters.gateway import tables as kept
from lastresort.adapters.loopback import Request, loopback
from lastresort.adapters.service.config import Config
from lastresort.adapters.service.tenants import open_house
from lastresort.domain.events import AssistantTurnTaken
from lastresort.projections.audit import audit

from .gateway_kit import Talk
from .service_kit import up_to_the_end
from .web_kit import MODEL, service

pytestmark = pytest.mark.no_cover  # being measured, it takes twice as long; what it runs, other tests cover

KILLS = int(os.environ.get("SERVE_KILLS", "5"))


def started(folder: Path, upstream: str) -> tuple[subprocess.Popen[str], str]:
    store = f"sqlite:///{folder / 'chats.db'}"
    command = [sys.executable, "-m", "lastresort", "serve", "--port", "0", "--store", store, "--upstream", upstream]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    url = running.stdout.readline().split()[1]
    for _ in range(300):
        try:
            httpx2.get(f"{url}/healthz")
            break
        except httpx2.TransportError:
            time.sleep(0.05)
    return running, url


def test_item_14_links_and_log_agree_after_kill_9(tmp_path: Path) -> None:
    """What a client was given whole is found again; what it was not is answered once."""
    chance = random.Random(14)

    def answers(request: Request) -> str:
        time.sleep(0.01)
        return f"You said {request.last_text}."

    acknowledged: list[list[dict[str, str]]] = []
    headers = {"x-api-key": "sk-client", "anthropic-version": "2023-06-01"}
    with loopback(answers) as api:
        for round in range(KILLS):
            running, url = started(tmp_path, api.url)

            def talk(url: str = url, round: int = round) -> None:
                messages = list(acknowledged[-1]) if acknowledged else []
                for n in range(1_000):
                    messages = [*messages, {"role": "user", "content": f"word {round}.{n}"}]
                    body = {"model": MODEL, "max_tokens": 99, "messages": messages}
                    try:
                        answer = httpx2.post(f"{url}/v1/messages", json=body, headers=headers, timeout=20)
                    except httpx2.TransportError:
                        return
                    assert answer.status_code == 200, answer.text
                    if acknowledged:
                        assert answer.headers["lastresort-matched"] in ("head", "edit", "resume"), answer.headers
                    messages = [*messages, {"role": "assistant", "content": answer.json()["content"][0]["text"]}]
                    acknowledged.append(messages)

            talking = threading.Thread(target=talk)
            before = len(acknowledged)
            talking.start()
            for _ in range(400):
                if len(acknowledged) > before + 1:
                    break
                time.sleep(0.05)
            time.sleep(chance.uniform(0, 0.2))
            running.send_signal(signal.SIGKILL)
            running.wait(10)
            talking.join(20)
            assert running.stdout is not None
            running.stdout.close()
    house = open_house(Config(store=f"sqlite:///{tmp_path / 'chats.db'}"))
    tenant = house.tenants["default"]
    try:
        assert audit(tenant.conversations.store.entries()).findings == ()
        [row] = tenant.conversations.list().rows
        said = {
            turn.text
            for branch in tenant.conversations.tree(row.conversation)
            for turn in tenant.conversations.chat(branch).transcript().turns
        }
        assert acknowledged
        assert {message["content"] for message in acknowledged[-1]} <= said
        rows = tenant.tables.rows("SELECT branch, turn FROM {schema}gateway_links WHERE kind = %s", kept.ANSWERED)
        answered = sum(isinstance(one.event, AssistantTurnTaken) for one in tenant.conversations.store.log())
        assert len(rows) >= answered
    finally:
        house.close()


def _race(barrier: threading.Barrier, got: dict[str, object], name: str, act: Callable[[], object]) -> None:
    barrier.wait()
    got[name] = act()


def test_item_6_a_turn_against_an_ending_one_is_first() -> None:
    """In each race one commits first; words that come after the ending are handed back."""
    outcomes = set()
    with open_conversations("memory:") as chats:
        for n in range(150):
            chat = chats.start(model=MODEL)
            up_to_the_end(chat)
            other = chats.chat(chat.branch)
            got: dict[str, object] = {}
            barrier = threading.Barrier(2)

            threads = [
                threading.Thread(target=_race, args=(barrier, got, "end", partial(chat.end, category="abuse"))),
                threading.Thread(target=_race, args=(barrier, got, "say", partial(other.user_turn, f"wait {n}"))),
            ]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
            ended = not isinstance(got["end"], Refused)
            assert ended == (type(got["say"]).__name__ == "BranchEnded")
            outcomes.add(ended)
    assert outcomes


def test_the_tables_of_the_service_are_the_same_on_postgresql(postgresql: Callable[[], str]) -> None:
    with service(lambda request: "Gladly.", store=postgresql()) as one, one.client() as client:
        talk = Talk(one)
        talk.say("Hello.")
        talk.say("More.")
        assert talk.matched == ["new", "head"]
        assert client.get("/api/v1/admin/keys").json()["keys"]
        assert client.get(f"/api/v1/branches/{talk.branches[0]}/transcript").json()["turns"]
        assert client.get("/api/v1/admin/log").json()["whole"]
