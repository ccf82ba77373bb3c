"""Items 17 and 19 as an adversary would try them: hostile JSON, addresses, headers and patience, at every door."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from lastresort.adapters.loopback import Request
from lastresort.adapters.service import protocol

from .gateway_kit import Talk, user
from .test_web_door import raw, status
from .web_kit import ALL, MODEL, OTHER, Service, service, started

ASKED = {"model": MODEL, "max_tokens": 9, "messages": [user("Hello.")]}
HOSTILE = [
    b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"[]", b"null", b'"x"', b"", b"{", b'{"content": 1e999}', b'{"content": NaN}',
    b'{"content": ' + b"9" * 5_000 + b"}", b'{"content": "\\ud800"}', b'{"content": "\\u0000"}',
    b'{"content": [{"type": "text", "text": "\\ud800"}]}', b'{"content": [{"type": 1e308}], "answer": false}',
    b'{"content": [{"type": "tool_result", "tool_use_id": {}}], "answer": true}', b'{"content": ["a"]}',
    b'{"content": "a", "act": "__class__"}', b'{"content": ' + b'{"a":' * 70 + b"1" + b"}" * 70 + b"}",
]  # fmt: skip
POSTS = ("conversations", "branches/{b}/turns", "branches/{b}/edits", "branches/{b}/tool_results", "what-ifs",
         "branches/{b}/holds", "conversations/{b}/metadata", "admin/keys", "admin/people")  # fmt: skip


def part(**changed: Any) -> bytes:
    return json.dumps({**ASKED, **changed}).encode()


TO_THE_GATEWAY = [
    b"\xff", b"[]", b"{}", part(messages=1), part(messages=[1]), part(messages=[user(1)]),  # type: ignore[arg-type]
    part(messages=[user("\ud800")]), part(messages=[{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}]),
    part(messages=[{"role": "user", "content": [{"type": 1}]}]), part(messages=[{"role": {}, "content": []}]),
    part(messages=[{"role": "user", "content": [{"type": "tool_result", "tool_use_id": {"a": 1}}]}]),
    part(messages=[{"role": "user", "content": [{"type": "text", "text": {"a": 1}}]}]), part(model=[]),
    part(max_tokens={}), part(tools=5), part(tools=[5]), part(metadata=5), part(metadata={"user_id": ["x"]}),
    part(metadata={"user_id": '{"session_id": [1]}'}), part(system={"a": 1}), part(stream="yes"), part(tool_choice=7),
    b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", part(messages=[{"role": "assistant", "content": "b"}]),
]  # fmt: skip
HEADERS: list[dict[str, Any]] = [
    {}, {"lastresort-conversation": "new"}, {"lastresort-conversation": b"\xff\xfe"}, {"lastresort-act": "nonsense"},
    {"x-claude-code-session-id": "x" * 500}, {"x-stainless-retry-count": "9" * 400},
]  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service(lambda request: "Gladly.") as one:
        yield one


@pytest.mark.parametrize("path", POSTS)
def test_item_19_hostile_json_breaks_nothing(path: str, running: Service) -> None:
    with running.client() as client:
        branch = started(client)
        for body in HOSTILE:
            answer = client.post(f"/api/v1/{path.format(b=branch)}", content=body)
            assert answer.status_code < 500, (body[:60], answer.text)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_item_19_hostile_requests_break_no_gateway(path: str, running: Service) -> None:
    with running.client() as client:
        for body in TO_THE_GATEWAY:
            for headers in HEADERS:
                answer = client.post(path, content=body, headers=headers)
                assert answer.status_code < 500, (body[:90], headers, answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/../../admin", "/v1/files/%2e%2e/%2e%2e/admin", "/v1/files/x%0d%0aX-Injected:%20y", "/v1/files//etc",
        "/v1/models/../messages", "/v1/files/a%3Fb=c", "/v1/messages/batches/x%00", "/v1/files/x%23y", "/v1/other",
        "/v1/files/http:%2f%2fevil", "/v1/skills/%5c..%5c",
    ],
)  # fmt: skip
def test_item_19_no_address_reaches_elsewhere_upstream(path: str, running: Service) -> None:
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\nlastresort-key: {running.key(*ALL)}\r\nx-api-key: sk\r\n\r\n"
    answer = raw(running, request.encode())
    assert status(answer) == 404, answer[:200]
    assert b"lastresort-matched" not in answer  # which says that something was passed on


def test_item_17_what_the_upstreams_account_has_is_no_tenant_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key of the service's own upstream, each caller would see the files and batches of all."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-service")
    for shared in (False, True):
        with service(lambda request: "Gladly.", upstream={"credentials": "held", "shared": shared}) as one:
            for tenant in ("default", OTHER):
                headers = {"x-api-key": one.key("gateway", tenant=tenant), "anthropic-version": "2023-06-01"}
                for path, passed in (("messages/batches", shared), ("files/file_1", shared), ("models", True)):
                    answer = httpx2.get(f"{one.url}/v1/{path}", headers=headers)
                    assert ("lastresort-matched" in answer.headers) == passed, path


@pytest.mark.parametrize(
    "head",
    [
        b"host: a\r\nhost: b\r\n", b"host: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n",
        b"host: a\r\ncontent-length: +2\r\n",
        b"host: a\r\ntransfer-encoding: xchunked\r\n", b"host: a\r\ntransfer-encoding : chunked\r\n",
        b"host: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", b"host: a\r\nx: a\nb: c\r\n",
        b"host: a\r\nlastresort-key: lrk_\r\nlastresort-key: lrk_\r\n", b"host: a\r\ncookie: a=b\r\ncookie: c=d\r\n",
        b"host: a\r\ncontent-length: " + b"9" * 30 + b"\r\n",
    ],
)  # fmt: skip
def test_item_19_headers_that_two_servers_would_read_in_two_ways_are_refused(head: bytes, running: Service) -> None:
    answer = raw(running, b"POST /api/v1/conversations HTTP/1.1\r\n" + head + b"\r\n{}")
    assert status(answer) in (0, 400, 413), answer[:200]


def test_item_19_an_end_to_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers that do not end, a body that stops and an answer that nobody takes are broken off; others are served."""
    monkeypatch.setattr(protocol, "HEADERS", 0.5)
    monkeypatch.setattr(protocol, "STALLED", 0.5)
    with service(lambda request: "Gladly. " * 200_000) as one:
        host, port = one.url.removeprefix("http://").split(":")
        key = one.key(*ALL).encode()
        body = json.dumps({**ASKED, "stream": True}).encode()
        begins = [
            b"GET /api/v1/whoami HTTP/1.1\r\nhost: x\r\n",
            b"",
            b"POST /api/v1/conversations HTTP/1.1\r\nhost: x\r\nlastresort-key: "
            + key
            + b"\r\ncontent-length: 99\r\n\r\n{",
            b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: sk\r\nanthropic-version: 2023-06-01\r\n"
            b"content-length: %d\r\n\r\n" % len(body) + body,
        ]
        open_ones = []
        for begin in begins:
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.connect((host, int(port)))
            connection.sendall(begin)
            open_ones.append(connection)
        assert httpx2.get(f"{one.url}/healthz").status_code == 200
        still = one.serving._server.server_state.connections
        deadline = time.monotonic() + 60
        while len(still) > 1 and time.monotonic() < deadline:  # one is kept alive by the client above
            time.sleep(0.05)
        assert len(still) <= 1
        for connection in open_ones:
            connection.close()


def test_item_19_followers_keep_nobody_from_being_served(running: Service) -> None:
    """More of them than there are threads; and each is a stream of its key."""
    host, port = running.url.removeprefix("http://").split(":")
    key = running.key("audit", limits={"streams": 60})
    request = f"GET /api/v1/log/stream HTTP/1.1\r\nhost: x\r\nlastresort-key: {key}\r\n\r\n".encode()
    following = []
    for _ in range(60):
        connection = socket.create_connection((host, int(port)), timeout=60)
        connection.sendall(request)
        following.append(connection)
    assert [connection.recv(12) for connection in following] == [b"HTTP/1.1 200"] * 60
    one_more = httpx2.get(f"{running.url}/api/v1/log/stream", headers={"lastresort-key": key})
    assert one_more.status_code == 429
    with running.client() as client:
        branch = started(client)
    for connection in following[:3]:
        seen = b""
        while branch.encode() not in seen:
            seen += connection.recv(65_536)
    for connection in following:
        connection.close()


def test_what_is_counted_is_what_would_be_sent() -> None:
    """With our tools, and the thinking that the log has where the client shows none. Nothing is begun by it."""
    counted: list[int] = []

    def answers(request: Request) -> Any:
        return "Gladly, and at some length."

    with service(answers) as one:
        talk = Talk(one)
        bare = {"model": MODEL, "messages": [user("Hello.")]}
        headers = {"x-api-key": "sk", "anthropic-version": "2023-06-01"}

        def count(messages: Any, **more: Any) -> int:
            answer = httpx2.post(
                f"{one.url}/v1/messages/count_tokens", json={**bare, "messages": messages}, headers=headers | more
            )
            assert answer.status_code == 200, answer.text
            return int(answer.json()["input_tokens"])

        first = count([user("Hello.")])
        assert first > count([user("Hello.")], **{"lastresort-conversation": "none"})
        talk.say("Hello.")
        shown = [*talk.messages, user("And now?")]
        log = one.house.tenants["default"].conversations.store
        head = log.head()
        counted.append(count(shown))
        assert counted[0] > first
        assert log.head() == head
        assert count([{**talk.messages[0]}, {"role": "assistant", "content": "Made up."}, user("And now?")]) > first
