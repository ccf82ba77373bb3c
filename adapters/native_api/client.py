"""A client of the native API.

>>> from lastresort.adapters.native_api.client import Client
>>> with Client("http://127.0.0.1:8417", "lrk_...") as client:  # doctest: +SKIP
...     chat = client.start(account="user-17")
...     print(chat.say("Hello.").text)

What the law refuses is a value, `RefusedOut`. What cannot be done raises a `Problem`. What nobody answered is sent
again under the same Idempotency-Key, so that an act is done once.
"""

import time
from collections.abc import Iterator
from typing import Any, TypeVar
from uuid import uuid4

import httpx2
from pydantic import BaseModel, TypeAdapter

from lastresort.adapters.messages_api import sse

from . import bodies, shapes
from .shapes import BranchOut, Done, EndedOut, Opened, OvertakenOut, RefusedOut

T = TypeVar("T")
Act = Done | RefusedOut | EndedOut
Reply = shapes.Answered | EndedOut | OvertakenOut
_REPLY: Any = TypeAdapter(Reply)
_ACT: Any = TypeAdapter(Done | RefusedOut | EndedOut)
_OPENED: Any = TypeAdapter(Opened | RefusedOut)
_TRIES, _PAUSE = 3, 0.25
_AGAIN = (429, 503)


class Problem(Exception):
    """What was asked for cannot be done.

    Attributes:
        status: the status code.
        kind: `not-found`, `invalid`, ...; see the reference of the service.
    """

    def __init__(self, answer: httpx2.Response) -> None:
        try:
            told = answer.json()
        except ValueError:
            told = {}
        self.status, self.kind = answer.status_code, str(told.get("type", "")).partition("#")[2]
        wrong = [f"{one['where']}: {one['what']}" for one in told.get("errors") or ()]
        super().__init__("; ".join([told.get("detail") or told.get("title") or f"status {self.status}", *wrong]))


class Client:
    """A service, by its address and a key. A context manager. Threads may share it."""

    def __init__(self, url: str, key: str, *, upstream_key: str | None = None, timeout: float = 600) -> None:
        headers = {"lastresort-key": key} | ({"x-api-key": upstream_key} if upstream_key is not None else {})
        self._http = httpx2.Client(base_url=url.rstrip("/") + "/api/v1", headers=headers, timeout=timeout)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *raised: object) -> None:
        self._http.close()

    def request(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Send a request to a route under /api/v1; return its JSON. Raises Problem or TransportError."""
        if isinstance(body, BaseModel):
            body = body.model_dump(mode="json", exclude_none=True)
        headers = {"idempotency-key": uuid4().hex} if method == "POST" else {}
        params = {name: value for name, value in query.items() if value is not None}
        for left in reversed(range(_TRIES)):
            try:
                answer = self._http.request(method, path, json=body, params=params, headers=headers)
            except httpx2.TransportError:
                if not left:
                    raise
                time.sleep(_PAUSE)
                continue
            if answer.is_success:
                return answer.json()
            if answer.status_code not in _AGAIN:
                break
            time.sleep(min(float(answer.headers.get("retry-after", _PAUSE)), 10))
        raise Problem(answer)

    def get(self, of: type[T], path: str, **query: Any) -> T:
        """Read something of a type."""
        return TypeAdapter(of).validate_python(self.request("GET", path, **query))

    def pages(self, path: str, **query: Any) -> Iterator[Any]:
        """Yield the pages of a list, as JSON."""
        while True:
            page = self.request("GET", path, **query)
            yield page
            if page["after"] is None:
                return
            query["after"] = page["after"]

    # --- conversations ------------------------------------------------------------------------------------------------

    def start(self, **fields: Any) -> "Branch":
        """Start a conversation: see `bodies.Start`."""
        return Branch(self, shapes.Started(**self.request("POST", "/conversations", bodies.Start(**fields))).branch)

    def branch(self, branch: str) -> "Branch":
        """Return a handle on a branch."""
        return Branch(self, branch)

    def conversations(self, **asked: Any) -> Iterator[shapes.ConversationOut]:
        """Yield the conversations of which all that is asked for is true."""
        for page in self.pages("/conversations", **asked):
            yield from shapes.ConversationPage(**page).conversations

    def follow(self, after: int = 0, limit: int | None = None) -> Iterator[shapes.EventOut]:
        """Yield the events of the log as they are committed."""
        query = {"after": after} | ({"limit": limit} if limit is not None else {})
        with self._http.stream("GET", "/log/stream", params=query) as answer:
            for one in _events(answer):
                yield shapes.EventOut.model_validate_json(one.data)


class Branch:
    """A branch of a conversation."""

    def __init__(self, client: Client, branch: str) -> None:
        self.client, self.branch = client, branch
        self._path = f"/branches/{branch}"

    @property
    def state(self) -> BranchOut:
        """How it stands now."""
        return self.client.get(BranchOut, self._path)

    def say(self, content: str | list[dict[str, Any]], act: str | None = None) -> Reply:
        """Say something, and return what the model answers."""
        return self._reply("turns", {"content": content, "act": act})

    def stream(self, content: str | list[dict[str, Any]], act: str | None = None) -> Iterator[str | Reply]:
        """Say something; yield what the model answers as it comes, and at last all that came of it."""
        headers = {"accept": sse.MEDIA_TYPE, "idempotency-key": uuid4().hex}
        body = {"content": content, "act": act}
        with self.client._http.stream("POST", f"{self._path}/turns", json=body, headers=headers) as answer:
            for one in _events(answer):
                if one.name == "delta":
                    yield shapes.Delta.model_validate_json(one.data).text
                elif one.name == "error":
                    raise Problem(httpx2.Response(shapes.Failure.model_validate_json(one.data).status, text=one.data))
                elif one.name != "turn":
                    yield _REPLY.validate_json(one.data)

    def resume(self) -> Reply:
        """Return the answer to what was said last."""
        return self._reply("resume", {})

    def give(self, pending: str, results: list[dict[str, Any]]) -> Reply:
        """Go on with a turn that waits for the results of its calls."""
        return self._reply("tool_results", {"pending": pending, "results": results})

    def edit(self, turn: int, content: str | list[dict[str, Any]]) -> "Branch | RefusedOut":
        """Open a branch on which other words stand in place of a user's turn; `resume` answers it."""
        return self._opened("edits", {"turn": turn, "content": content})

    def retry(self, turn: int) -> "Branch | RefusedOut":
        """Open a branch on which an answer is yet to be given; `resume` gives it."""
        return self._opened("retries", {"turn": turn})

    def act(self, name: str, **fields: Any) -> Act:
        """Carry out an act of the law: `feedback`, `appeals`, `judgements`, `endings`, `holds/NAME/release`, ..."""
        found: Act = _ACT.validate_python(self.client.request("POST", f"{self._path}/{name}", fields))
        return found

    def why(self, **asked: Any) -> shapes.Why:
        """Return every rule that stands between the branch and its ending."""
        return self.client.get(shapes.Why, f"{self._path}/why", **asked)

    def transcript(self, **asked: Any) -> Iterator[shapes.TurnOut]:
        """Yield who said what."""
        for page in self.client.pages(f"{self._path}/transcript", **asked):
            yield from shapes.TranscriptOut(**page).turns

    def _reply(self, name: str, body: Any) -> Reply:
        found: Reply = _REPLY.validate_python(self.client.request("POST", f"{self._path}/{name}", body))
        return found

    def _opened(self, name: str, body: Any) -> "Branch | RefusedOut":
        found = _OPENED.validate_python(self.client.request("POST", f"{self._path}/{name}", body))
        return Branch(self.client, found.branch) if isinstance(found, Opened) else found


def _events(answer: httpx2.Response) -> Iterator[sse.Event]:
    if not answer.is_success:
        answer.read()
        raise Problem(answer)
    reader = sse.Reader()
    for piece in answer.iter_bytes():
        yield from (one for one in reader.feed(piece) if one.name)
