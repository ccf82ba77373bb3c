"""The client of the native API against a service that runs: types, streams, pages, and what is sent again."""

import itertools
from collections.abc import Iterator

import httpx2
import pytest

from lastresort.adapters.loopback import Answer, Request, Scripted, failing, tool_use
from lastresort.adapters.native_api.client import Branch, Client, Problem
from lastresort.adapters.native_api.shapes import Answered, Done, RefusedOut, Tree, Whoami

from .stores import ROOT
from .web_kit import ALL, MODEL, Service, service


def answers(request: Request) -> Scripted:
    if request.results:
        return "So it is."
    if "look up" in request.last_text:
        return Answer([tool_use("look_up", {"word": "last"})])
    return failing(529) if "overloaded" in request.last_text else "Gladly."


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service(answers) as one:
        yield one


@pytest.fixture
def client(running: Service) -> Iterator[Client]:
    with Client(running.url, running.key(*ALL), upstream_key="sk-upstream") as one:
        yield one


def test_it_has_two_hundred_lines_at_most() -> None:
    assert len((ROOT / "adapters" / "native_api" / "client.py").read_text().splitlines()) <= 200


def test_a_conversation_and_the_branches_of_it(client: Client) -> None:
    chat = client.start(account="user-17", model=MODEL)
    said = chat.say("Hello.")
    assert isinstance(said, Answered)
    assert (said.text, chat.state.account) == ("Gladly.", "user-17")
    assert [one.rule for one in chat.why(category="abuse").in_the_way]
    refused = chat.act("endings", category="abuse")
    assert isinstance(refused, RefusedOut)
    assert isinstance(chat.act("feedback", rating="up"), Done)
    other = chat.edit(2, "Good day.")
    again = chat.retry(3)
    assert isinstance(other, Branch)
    assert isinstance(again, Branch)
    assert [one.text for one in (other.resume(), again.resume()) if isinstance(one, Answered)] == ["Gladly.", "Gladly."]
    tree = client.get(Tree, f"/conversations/{chat.branch}")
    assert {one.branch for one in tree.branches} == {chat.branch, other.branch, again.branch}
    assert [one.text for one in chat.transcript(limit=1)] == ["Hello.", "Gladly."]
    assert [one.conversation for one in client.conversations(account="user-17", limit=1)] == [chat.branch]
    assert client.branch(chat.branch).state == chat.state


def test_streams(client: Client) -> None:
    chat = client.start()
    *pieces, whole = chat.stream("Hello.")
    assert isinstance(whole, Answered)
    assert "".join(str(piece) for piece in pieces) == whole.text == "Gladly."
    kinds = [one.kind for one in itertools.islice(client.follow(limit=3), 3)]
    assert len(kinds) == 3


def test_a_turn_that_waits_for_the_results_of_tools(client: Client) -> None:
    chat = client.start()
    waiting = chat.say("look up")
    assert isinstance(waiting, Answered)
    assert waiting.pending is not None
    results = [{"type": "tool_result", "tool_use_id": waiting.tool_calls[0].id, "content": "an expedient"}]
    done = chat.give(waiting.pending, results)
    assert isinstance(done, Answered)
    assert done.text == "So it is."


def test_what_cannot_be_done_is_a_problem(client: Client, running: Service) -> None:
    with pytest.raises(Problem) as unknown:
        _ = client.branch("nobody").state
    assert (unknown.value.status, unknown.value.kind) == (404, "not-found")
    with pytest.raises(Problem, match=r"body.content: nothing was said"):
        client.start().say(" ")
    with pytest.raises(Problem) as failed:
        list(client.start().stream("overloaded"))
    assert failed.value.kind == "upstream"
    with Client(running.url, "lrk_none") as nobody, pytest.raises(Problem) as closed:
        next(nobody.follow())
    assert closed.value.status == 401


def test_what_is_too_much_now_is_sent_again(running: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("lastresort.adapters.native_api.client.time.sleep", waits.append)
    key = running.key("audit", limits={"requests_per_minute": 1})
    with Client(running.url, key) as client:
        assert client.get(Whoami, "/whoami").scopes == ["audit"]
        with pytest.raises(Problem) as too_many:
            client.get(Whoami, "/whoami")
    assert too_many.value.status == 429
    assert len(waits) == 3
    with Client("http://127.0.0.1:9", key) as nowhere, pytest.raises(httpx2.TransportError):
        nowhere.request("GET", "/whoami")
