"""Two workers behind one PostgreSQL, restarted one after the other while people talk: nothing acknowledged is lost."""

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2

from lastresort import open_conversations
from lastresort.adapters.loopback import Request, loopback
from lastresort.adapters.service.config import Config
from lastresort.adapters.service.keys import Rights
from lastresort.adapters.service.tenants import open_house
from lastresort.projections.audit import audit

from .web_kit import MODEL

PEOPLE, TURNS = 3, 6


class Worker:
    """A process of the service."""

    def __init__(self, store: str, upstream: str) -> None:
        command = [sys.executable, "-m", "lastresort", "serve", "--port", "0", "--store", store, "--upstream", upstream]
        with tempfile.TemporaryFile("w+") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            assert self.process.stdout is not None
            said = self.process.stdout.readline()
            errors.seek(0)
            assert said, f"it did not start: {errors.read()}"
        self.url = said.split()[1]
        for _ in range(600):
            try:
                if httpx2.get(f"{self.url}/readyz").status_code == 200:
                    break
            except httpx2.TransportError:
                time.sleep(0.05)

    def stop(self) -> int:
        """Tell it to stop, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout is not None
        try:
            return self.process.wait(60)
        finally:
            self.process.stdout.close()


def test_a_rolling_restart_loses_no_acknowledged_event_and_no_answer(postgresql: Callable[[], str]) -> None:
    """What one worker did not finish, the other answers: under the same Idempotency-Key, once."""
    store = postgresql()
    house = open_house(Config(store=store))
    key = house.keys.make("default", Rights(scopes=("converse", "words"), actor="app"), now=house.now()).key
    house.close()

    def answers(request: Request) -> str:
        time.sleep(0.15)
        return f"You said {request.last_text}."

    headers = {"lastresort-key": key, "x-api-key": "sk-upstream"}
    told: dict[int, list[str]] = {n: [] for n in range(PEOPLE)}
    wrong: list[str] = []
    branches: dict[int, str] = {}
    done = threading.Event()

    with loopback(answers) as api:
        workers = [Worker(store, api.url), Worker(store, api.url)]

        def ask(path: str, body: Any, id: str) -> httpx2.Response:
            for attempt in range(200):
                url = workers[attempt % 2].url
                try:
                    answer = httpx2.post(
                        f"{url}{path}", json=body, headers=headers | {"idempotency-key": id}, timeout=60
                    )
                except httpx2.TransportError:
                    time.sleep(0.05)
                    continue
                if answer.status_code not in (502, 503):
                    return answer
                time.sleep(0.05)
            raise AssertionError("no worker answers")

        def talk(person: int) -> None:
            started = ask("/api/v1/conversations", {"account": f"user-{person}", "model": MODEL}, f"start-{person}")
            branch = branches[person] = started.json()["branch"]
            turn = 0
            while turn < TURNS or not done.is_set():
                said = f"word {person}.{turn}"
                answer = ask(f"/api/v1/branches/{branch}/turns", {"content": said}, f"turn-{person}-{turn}")
                if answer.status_code != 200 or answer.json().get("text") != f"You said {said}.":
                    wrong.append(f"{answer.status_code} {answer.text[:300]}")
                    return
                told[person].append(answer.json()["text"])
                turn += 1

        people = [threading.Thread(target=talk, args=(person,)) for person in range(PEOPLE)]
        try:
            for one in people:
                one.start()
            for place in range(2):
                while min(map(len, told.values())) < 1 + place and not wrong:
                    time.sleep(0.05)
                old, workers[place] = workers[place], Worker(store, api.url)
                assert old.stop() == 0
        finally:
            done.set()
            for one in people:
                one.join(120)
            for worker in workers:
                worker.stop()
    assert wrong == []
    with open_conversations(store) as chats:
        assert audit(chats.store.entries()).findings == ()
        for person, branch in branches.items():
            turns = chats.chat(branch).transcript().turns
            assert [turn.text for turn in turns if turn.speaker == "assistant"] == told[person]
            assert [turn.text for turn in turns if turn.speaker == "user"] == [
                f"word {person}.{n}" for n in range(len(told[person]))
            ]
