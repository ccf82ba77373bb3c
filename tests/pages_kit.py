"""What the tests of the pages share: somebody who has signed in, by plain HTTP or in a real browser."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx2

from lastresort.adapters.pages.answers import OFFLINE
from lastresort.adapters.service.keys import Rights
from lastresort.adapters.service.people import link_path
from lastresort.domain.values import Actor, ActorKind

from .web_kit import Service, events_of

ALL = ("converse", "operate", "audit", "words", "admin")
INSULT = "You are useless, you stupid toaster."
JUDGE = Actor(kind=ActorKind.ASSESSOR, id="desk")


def link_of(running: Service, *scopes: str, tenant: str = "default", **rights: Any) -> str:
    """Make a person, and return the path that signs them in."""
    people, now = running.house.people, running.house.now()
    rights = {"actor": "ada", **rights}
    person = people.make(tenant, Rights(scopes=scopes or ALL, **rights), subject=None, now=now)
    return link_path(people.link(person, now=now))


class Visitor:
    """Somebody with a browser that runs no scripts: what it sends is what the scripts send."""

    def __init__(self, running: Service, *scopes: str, language: str = "en", **rights: Any) -> None:
        self._client = httpx2.Client(base_url=running.url, timeout=30)
        running.closing.append(self._client)
        self.url, self._cookie = running.url, ""
        self._language = language
        answer = self.ask("POST", link_of(running, *scopes, **rights))
        assert answer.status_code == 303, answer.text
        self._cookie = answer.headers["set-cookie"].partition(";")[0]

    def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = {"cookie": self._cookie, "accept-language": self._language}
        if method == "POST":
            headers |= {"origin": self.url, "x-lastresort-page": "1", "idempotency-key": uuid4().hex}
        return self._client.request(method, path, headers=headers | more.pop("headers", {}), **more)

    def get(self, path: str, status: int = 200) -> str:
        """Return a page."""
        answer = self.ask("GET", path)
        assert answer.status_code == status, (path, answer.status_code, answer.text[:500])
        return answer.text

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """Send JSON, and return what comes back."""
        answer = self.ask("POST", path, json=body or {})
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer.json()

    def start(self, text: str) -> str:
        """Begin a chat with a message, and return its branch."""
        branch: str = self.post("/chat", {"title": text}, 201)["branch"]
        self.say(branch, text)
        return branch

    def say(self, branch: str, content: Any, act: str | None = None) -> list[tuple[str, Any]]:
        """Say something, and return the events of the answer."""
        answer = self.ask("POST", f"/chat/c/{branch}/turns", json={"content": content, "act": act})
        assert answer.status_code == 200, answer.text
        return [(name, json.loads(data)) for name, data in events_of(answer.text)]

    def ended(self) -> str:
        """Have a chat with the offline partner end as a last resort, and return its branch."""
        branch = self.start(INSULT)
        for _ in range(4):
            self.say(branch, INSULT)
        assert 'id="banner-title"' in self.get(f"/chat/c/{branch}")
        return branch


class Tab:
    """A tab of a real browser, of somebody who has signed in. What it logs, and what fails, is kept."""

    def __init__(self, browser: Any, running: Service, *scopes: str, path: str = "/chat", **more: Any) -> None:
        settings = {"viewport": {"width": 1_440, "height": 900}, "locale": "en", **more.pop("settings", {})}
        self.context = browser.new_context(**settings)
        self.url = running.url
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page = self.open()
        self.page.goto(running.url + link_of(running, *scopes, **more))
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(running.url + "/*")
        self.go(path)

    def open(self) -> Any:
        page = self.context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: self.wrong.append(message.text) if message.type in _WRONG else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self.asked.append(request.url))
        return page

    def _dialog(self, dialog: Any) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def say(self, text: str) -> None:
        """Write a message, send it, and wait for its whole answer."""
        answers = self.page.locator(".turn.assistant[data-version]")
        before = answers.count()
        self.page.locator("#message").fill(text)
        self.page.keyboard.press("Enter")
        answers.nth(before).wait_for()

    def close(self) -> None:
        """Close it, and check that nothing went wrong, and that nobody else was asked for anything."""
        self.context.close()
        assert self.wrong == [], self.wrong
        assert [url for url in self.asked if not url.startswith((self.url, "data:", "blob:"))] == []


_WRONG = ("error", "warning")


def tab(browser: Any, running: Service, *scopes: str, **more: Any) -> Iterator[Tab]:
    """A tab for one test."""
    made = Tab(browser, running, *scopes, **more)
    yield made
    made.close()


def long_chat(running: Service, turns: int, words: str = "Word after word.") -> str:
    """Return a branch of the person `ada` with that many turns."""
    conversations = running.house.tenants["default"].conversations
    chat = conversations.start(account="ada", model=OFFLINE)
    chat.describe(title="A long chat")
    for number in range(turns // 2):
        chat.user_turn(f"Question {number}. {words}")
        chat.assistant_turn(f"Answer {number}. **{words}**")
    return chat.branch
