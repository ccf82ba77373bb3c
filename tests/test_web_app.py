"""The example web app, run as a process of its own on a loopback port, with fifty people who use it at once."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import httpx2

from lastresort import Ground, HoldReason, open_conversations
from lastresort.projections import audit, views

from .stores import OPERATOR, ROOT, done

USERS = 50
INSULT = "You are useless, you stupid machine."
JSON = {"content-type": "application/json"}
PATHS = ("talks", "edits", "asks_to_end", "is_in_a_crisis", "insults", "erases")


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[str]:
    """Run the app on a port that is free, and give its address."""
    known = {name: value for name, value in os.environ.items() if name != "ANTHROPIC_API_KEY"}
    with subprocess.Popen(
        [sys.executable, ROOT / "examples" / "web_app.py"],
        cwd=folder,
        env={**known, "PORT": "0", "LASTRESORT_STORE": "sqlite:///web.db?deadline=30", **environment},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said: list[str] = []
        begun: SimpleQueue[str] = SimpleQueue()

        def listen(lines: Iterable[str]) -> None:
            for line in lines:
                said.append(line)
                if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                    begun.put(found[1])
            begun.put("")  # it is over, before or after it had begun

        listener = Thread(target=listen, args=(process.stderr,), daemon=True)
        listener.start()
        try:
            address = begun.get(timeout=60)
            assert address, "".join(said)
            yield address
        finally:
            process.terminate()
            listener.join(timeout=30)
            print("".join(said))  # shown if the test fails
    assert "Traceback" not in "".join(said), "".join(said)


class Person:
    """Somebody at a browser: a session, and a chat."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.branch = ""

    async def starts(self) -> None:
        self.branch = (await self.calls("POST", "/chats"))["branch"]

    async def calls(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.client.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def says(self, text: str | None, **more: str) -> tuple[str, dict[str, Any]]:
        """Say something; return the answer, as it came in pieces, and what the page was told after it."""
        words, told = "", {}
        turn = {"text": text, **more}
        async with self.client.stream("POST", f"/chats/{self.branch}/turns", json=turn) as answer:
            answer.raise_for_status()
            assert answer.headers["content-type"].startswith("text/event-stream")
            name = ""
            async for line in answer.aiter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "data" and name == "text":
                    words += json.loads(value)
                elif key == "data":
                    assert name == "done"
                    told = json.loads(value)
        return words, told

    async def turns(self) -> list[dict[str, Any]]:
        return list((await self.calls("GET", f"/chats/{self.branch}"))["turns"])

    async def talks(self) -> None:
        once = await self.says("Hello.", id="1")
        assert "Tell me more" in once[0]
        assert await self.says("Hello.", id="1") == once  # sent again, as a browser does that lost the answer
        assert [turn["speaker"] for turn in await self.turns()] == ["user", "assistant"]
        assert [row["conversation"] for row in await self.calls("GET", "/chats")] == [self.branch]

    async def edits(self) -> None:
        await self.says("Hello.")
        before = self.branch
        opened = await self.calls("PUT", f"/chats/{before}/turns/2", {"text": "Good morning."})
        self.branch = opened["branch"]
        assert "Tell me more" in (await self.says(None))[0]
        assert (await self.turns())[0]["text"] == "Good morning."
        self.branch = before
        assert (await self.turns())[0]["text"] == "Hello."

    async def asks_to_end(self) -> None:
        await self.says("Hello.")
        words, told = await self.says("Please end this.", end="request")
        assert ("Shall I end it?" in words, told["ended"]) == (True, None)
        assert (await self.says("Yes.", end="confirm"))[1]["ended"] == "user_request"
        assert "This conversation has ended" in (await self.says("Wait!"))[0]
        await self.calls("POST", f"/chats/{self.branch}/feedback", {"rating": "down"})

    async def is_in_a_crisis(self) -> None:
        assert (await self.says("I want to die."))[1]["holding"]
        await self.says("Please end this.", end="request")
        told = (await self.says("Yes.", end="confirm"))[1]
        assert (told["ended"], told["holding"]) == (None, True)

    async def insults(self) -> None:
        told: dict[str, Any] = {"ended": None}
        said = []
        for _ in range(9):
            if told["ended"] is None:
                words, told = await self.says(INSULT)
                said.append(words)
        assert told["ended"] == "last_resort"
        assert any("I may end this conversation" in words for words in said[:-1])

    async def erases(self) -> None:
        await self.says("My name is Ada.")
        await self.says("I live in Paris.")
        await self.calls("DELETE", f"/chats/{self.branch}/turns/2")
        assert (await self.turns())[0]["text"] is None
        await self.calls("DELETE", f"/chats/{self.branch}")
        assert {turn["text"] for turn in await self.turns()} == {None}


@asynccontextmanager
async def person(url: str) -> AsyncIterator[Person]:
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        yield Person(client)


async def everybody(url: str) -> None:
    async def one(number: int) -> None:
        async with person(url) as somebody:
            await somebody.starts()
            await getattr(somebody, PATHS[number % len(PATHS)])()

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for number in range(USERS):
            group.create_task(one(number))


def test_fifty_people_at_once(tmp_path: Path) -> None:
    """Each gets what they should, and the log is lawful."""
    with serving(tmp_path) as url:
        asyncio.run(everybody(url))
    conversations = open_conversations(f"sqlite:///{tmp_path}/web.db", create=False)
    try:
        report = audit(conversations.store.entries())
        ended = views(conversations.store.log()).ended
    finally:
        conversations.close()
    assert report.findings == ()
    took = [PATHS[number % len(PATHS)] for number in range(USERS)]
    grounds = [row.ground for row in ended]
    assert grounds.count(Ground.USER_REQUEST) == took.count("asks_to_end")
    assert grounds.count(Ground.LAST_RESORT) == took.count("insults")
    assert report.branches == USERS + took.count("edits")


def test_nobody_sees_the_chat_of_somebody_else(tmp_path: Path) -> None:
    """Nor changes it: to others it is not there."""

    async def tried(url: str) -> set[int]:
        async with person(url) as ada, person(url) as bob:
            await ada.starts()
            await bob.starts()
            calls = [("GET", ""), ("POST", "/turns"), ("PUT", "/turns/2"), ("DELETE", "/turns/2"), ("DELETE", "")]
            return {
                (await bob.client.request(method, f"/chats/{ada.branch}{path}", json={"text": "x"})).status_code
                for method, path in calls
            }

    with serving(tmp_path) as url:
        assert asyncio.run(tried(url)) == {404}


def test_who_has_no_chat_yet_is_told_how_to_start_one(tmp_path: Path) -> None:
    """A browser without the cookie, or with an empty one, and a script that does not send it back."""

    async def tried(url: str) -> set[tuple[int, bool]]:
        async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
            asked = [
                await client.request(method, path, json={"text": "x"}, headers=headers)
                for method, path in (("GET", "/chats"), ("GET", "/chats/c"), ("POST", "/chats/c/turns"))
                for headers in ({}, {"cookie": "session="})
            ]
            return {(one.status_code, "POST /chats starts one" in one.json()["detail"]) for one in asked}

    with serving(tmp_path) as url:
        assert asyncio.run(tried(url)) == {(401, True)}


def test_requests_that_make_no_sense_are_refused_and_harm_no_chat(tmp_path: Path) -> None:
    """No message, half of a character in one, ids and versions that none has, an erasure that an operator holds."""

    async def tried(url: str) -> list[int]:
        async with person(url) as ada:
            await ada.starts()
            path = f"/chats/{ada.branch}"

            async def erased(at: str) -> int:
                return (await ada.client.delete(at)).status_code

            empty: list[dict[str, str]] = [
                {},
                {"end": "request"},
                {"end": "confirm"},
            ]  # and nobody has said anything yet
            codes = [(await ada.client.post(f"{path}/turns", json=turn)).status_code for turn in empty]
            half = json.dumps({"text": "half \ud800"}).encode()
            await ada.client.post(f"{path}/turns", content=half, headers=JSON)
            for turn in (b'{"text": "x", "id": "\\ud800"}', b'{"text": ""}'):
                asked = await ada.client.post(f"{path}/turns", content=turn, headers=JSON)
                codes.append(asked.status_code)
            codes += [await erased(f"{path}/turns/{version}") for version in (0, 1, 10**25)]
            with closing(open_conversations(f"sqlite:///{tmp_path}/web.db", create=False)) as chats:
                done(chats.chat(ada.branch).hold("h", reason=HoldReason.LITIGATION, by=OPERATOR))
            codes += [await erased(f"{path}{held}") for held in ("", "/turns/2")]
            said = (await ada.calls("GET", path))["turns"]
            assert [turn["text"] for turn in said if turn["speaker"] == "user"] == ["half ?"]
            return codes

    with serving(tmp_path) as url:
        assert asyncio.run(tried(url)) == [409, 409, 409, 422, 422, 404, 404, 404, 409, 409]


def test_what_cannot_be_edited_is_said_for_a_user(tmp_path: Path) -> None:
    """Without rules, versions and events."""

    async def tried(url: str) -> list[tuple[int, str]]:
        async with person(url) as ada:
            await ada.starts()
            path = f"/chats/{ada.branch}/turns"
            await ada.client.post(path, json={"text": "Hello."})
            versions = (-1, 0, 1, 3, 4, 10**25)
            answers = [await ada.client.put(f"{path}/{version}", json={"text": "x"}) for version in versions]
            return [(answer.status_code, answer.json()["detail"]) for answer in answers]

    with serving(tmp_path) as url:
        answers = asyncio.run(tried(url))
    missing, wrong = (404, "Not Found"), (409, "Only a message that you wrote yourself can be edited.")
    assert answers == [missing, missing, missing, wrong, wrong, missing]


def test_a_confirmation_that_is_sent_twice_at_once_ends_it_once(tmp_path: Path) -> None:
    """The other one is told that it has ended."""

    async def tried(url: str) -> list[tuple[str, dict[str, Any]]]:
        async with person(url) as ada:
            await ada.starts()
            await ada.says("Please end this.", end="request")
            return await asyncio.gather(*[ada.says("Yes.", end="confirm") for _ in range(2)])

    with serving(tmp_path) as url:
        answers = asyncio.run(tried(url))
    assert [told["ended"] for _, told in answers] == ["user_request"] * 2
    assert sum("This conversation has ended" in words for words, _ in answers) == 1


def test_an_erasure_while_claude_answers_leaves_no_words_from_before_it(tmp_path: Path) -> None:
    """The stream goes on to its end, and what the model says after the erasure is the only thing left to read."""
    from lastresort.adapters.loopback import Request, loopback

    asked, erased = Event(), Event()

    def script(request: Request) -> str:
        asked.set()
        assert erased.wait(60)
        return "Gladly."

    async def tried(url: str) -> tuple[tuple[str, dict[str, Any]], list[dict[str, Any]]]:
        async with person(url) as ada:
            await ada.starts()
            stream = asyncio.create_task(ada.says("My name is Ada."))
            await asyncio.to_thread(asked.wait, 60)
            await ada.calls("DELETE", f"/chats/{ada.branch}")
            erased.set()
            return await stream, await ada.turns()

    with loopback(script) as api, serving(tmp_path, ANTHROPIC_API_KEY="x", ANTHROPIC_BASE_URL=api.url) as url:
        said, turns = asyncio.run(tried(url))
    assert said[0] == "Gladly."
    assert [turn["text"] for turn in turns] == [None, "Gladly."]


def test_with_a_key_claude_answers(tmp_path: Path) -> None:
    """Here it is the loopback that answers, over the real SDK."""
    from lastresort.adapters.loopback import loopback

    async def asked(url: str) -> tuple[str, dict[str, Any]]:
        async with person(url) as ada:
            await ada.starts()
            return await ada.says("Can you help me plan a garden?", id="1")

    with (
        loopback(["Gladly. How much sun does it get?"]) as api,
        serving(tmp_path, ANTHROPIC_API_KEY="x", ANTHROPIC_BASE_URL=api.url) as url,
    ):
        words, told = asyncio.run(asked(url))
    assert words == "Gladly. How much sun does it get?"
    assert told["ended"] is None
