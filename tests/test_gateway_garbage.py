"""An upstream of the gateway that answers with garbage: the client is told so, what it was shown is on record, and the
turn can be sent again."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import httpx2
import pytest

from .gateway_kit import Sent, chats_of, sent, user
from .web_kit import MODEL, Service, service

__all__ = ["sent"]

HEADERS = {"x-api-key": "sk", "anthropic-version": "2023-06-01"}
WORDS = "Gladly, said the model."
USAGE = {"input_tokens": 3, "output_tokens": 4}
GOOD: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": [{"type": "text", "text": WORDS}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE,
}  # fmt: skip
STARTED = {"type": "message_start", "message": {**GOOD, "content": [], "stop_reason": None}}
BEGUN = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
SAID = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORDS}}
STREAM: list[Any] = [
    STARTED, BEGUN, SAID, {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": USAGE},
    {"type": "message_stop"},
]  # fmt: skip


def lines(events: Any) -> bytes:
    return b"".join(
        one if isinstance(one, bytes) else f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode()
        for one in events
    )


class Upstream:
    """Answers with what it is told to, and counts."""

    def __init__(self) -> None:
        self.kind, self.body, self.asked = "application/json", b"", 0
        self.headers, self.more = "", dict[str, str]()
        self.before: Callable[[], object] = bool  # is called before it answers
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                upstream.asked += 1
                upstream.headers = str(self.headers)
                upstream.before()
                self.send_response(200)
                self.send_header("content-type", upstream.kind)
                self.send_header("content-length", str(len(upstream.body)))
                for name, value in upstream.more.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(upstream.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def gives(self, what: Any, *, streams: bool) -> None:
        self.kind = "text/event-stream" if streams else "application/json"
        self.body = lines(what) if streams else what if isinstance(what, bytes) else json.dumps(what).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="module")
def behind() -> Iterator[tuple[Service, Upstream]]:
    upstream = Upstream()
    with service(upstream={"base_url": upstream.url}) as one, httpx2.Client(timeout=60, headers=HEADERS) as client:
        one.closing.append(client)
        yield one, upstream
    upstream.close()


def ask(one: Service, words: str, *, streams: bool, **headers: str) -> httpx2.Response:
    return asked(one, [user(words)], headers, stream=streams)


def asked(one: Service, messages: Any, headers: Any = None, path: str = "messages", **more: Any) -> httpx2.Response:
    client: httpx2.Client = one.closing[0]
    body = {"model": MODEL, "max_tokens": 50, "messages": messages, **more}
    return client.post(f"{one.url}/v1/{path}", content=json.dumps(body), headers=headers or {})


NO_MESSAGES: list[Any] = [
    b"", b"{", b"[]", b"null", b'{"content": ' + b"[" * 100_000, {**GOOD, "content": None}, {**GOOD, "content": ["a"]},
    {**GOOD, "content": [[["type", "text"]]]}, {**GOOD, "content": [{}]}, {**GOOD, "content": [{"type": "text"}]},
    {**GOOD, "content": [{"type": "text", "text": 7}]}, {**GOOD, "content": [{"type": {}, "text": "a"}]},
    {**GOOD, "usage": [1]}, {**GOOD, "usage": {"input_tokens": "many"}}, {**GOOD, "usage": {"output_tokens": -5}},
    {**GOOD, "usage": {"iterations": 5}}, {**GOOD, "model": {"a": 1}}, {**GOOD, "stop_reason": ["end_turn"]},
    {**GOOD, "stop_reason": "x" * 9_000}, {**GOOD, "id": 7}, {**GOOD, "model": "\ud800"},
    {**GOOD, "content": [{"type": "tool_use", "name": "lastresort_end", "input": 7}]},
    {**GOOD, "content": [{"type": "tool_use", "id": [], "name": [], "input": []}], "stop_reason": "tool_use"},
    {**GOOD, "content": [{"type": "fallback", "to": 7}]}, {**GOOD, "content": [{"type": "text", "text": "\ud800"}]},
]  # fmt: skip
NO_STREAMS: list[list[Any]] = [
    [{"type": "message_start"}], [{"type": "message_start", "message": []}], [b"data: [1]\n\n"], [b"data: {\n\n"],
    [b"data: " + b"[" * 50_000 + b"\n\n"], [STARTED, b"data: null\n\n"],
    [STARTED, {"type": "content_block_stop", "index": 9}],
    [STARTED, {"type": "content_block_start", "index": 0}], [STARTED, SAID], [STARTED, {**BEGUN, "content_block": 7}],
    [STARTED, BEGUN, SAID, {**SAID, "index": -1}], [STARTED, BEGUN, SAID, {**SAID, "index": "x"}],
    [STARTED, BEGUN, SAID, {**SAID, "delta": 7}], [STARTED, BEGUN, SAID, {**SAID, "delta": {"type": "text_delta"}}],
    [STARTED, BEGUN, SAID, {**SAID, "delta": {"type": "text_delta", "text": 7}}],
    [STARTED, BEGUN, SAID, {**SAID, "delta": {"type": "input_json_delta", "partial_json": 7}}],
    [STARTED, BEGUN, SAID, {**STREAM[4], "usage": 7}, STREAM[5]],
    [STARTED, BEGUN, SAID, {"type": "message_delta", "delta": 7}],
    [STARTED, BEGUN, SAID, {**STREAM[4], "usage": {"output_tokens": "many"}}, STREAM[5]],
    [STARTED, BEGUN, SAID, {"type": 7}, STREAM[5]], [STREAM[5]], [BEGUN, SAID],
    [{**STARTED, "message": {**GOOD, "usage": 7}}, BEGUN, SAID, *STREAM[3:]],
    [STARTED, BEGUN, SAID, STARTED, BEGUN, *STREAM[3:]], [STARTED, BEGUN, SAID, BEGUN, SAID, *STREAM[3:]],
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NO_MESSAGES)))
def test_an_answer_that_is_no_message(number: int, behind: tuple[Service, Upstream]) -> None:
    one, upstream = behind
    words, given = f"Hello, {number}.", NO_MESSAGES[number]
    upstream.gives(given, streams=False)
    answer = ask(one, words, streams=False)
    assert answer.status_code in (200, 502), (given, answer.text)
    upstream.gives(GOOD, streams=False)
    again = ask(one, words, streams=False, **{"x-stainless-retry-count": "1"})
    assert again.status_code == 200, again.text
    if answer.status_code == 502:
        assert again.json()["content"] == GOOD["content"]
    assert kinds(one, again).count("UserTurnTaken") == 1


@pytest.mark.parametrize("number", range(len(NO_STREAMS)))
def test_a_stream_that_is_none_of_a_message(number: int, behind: tuple[Service, Upstream]) -> None:
    """The client hears of it, and what it had of the answer is on record."""
    one, upstream = behind
    words, given = f"Hello again, {number}.", NO_STREAMS[number]
    upstream.gives(given, streams=True)
    answer = ask(one, words, streams=True)
    assert answer.status_code in (200, 502), answer.text
    assert "Internal error" not in answer.text
    assert "message_stop" in answer.text or '"error"' in answer.text
    log = kinds(one, answer) if answer.status_code == 200 else []
    if WORDS in answer.text:
        assert log[-1] == "AssistantTurnTaken", log
        assert WORDS in said(one, answer)
    upstream.gives(STREAM, streams=True)
    again = ask(one, words, streams=True, **{"x-stainless-retry-count": "1"})
    assert "message_stop" in again.text
    assert kinds(one, again).count("UserTurnTaken") == 1


def kinds(one: Service, answer: httpx2.Response) -> list[str]:
    path = chats_of(one).path(answer.headers["lastresort-branch"])
    return [event.kind for event in path]


def said(one: Service, answer: httpx2.Response) -> str:
    turns = chats_of(one).chat(answer.headers["lastresort-branch"]).transcript().turns
    return turns[-1].text or ""


# --- requests that are none -----------------------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


PREFILLS: list[dict[str, Any]] = [
    {}, {"content": []}, {"content": 5}, {"content": [5]}, {"content": [{"type": "text"}]}, {"content": {"a": 1}},
    {"content": [{"type": "text", "text": 7}]}, {"content": [{"type": "tool_use", "id": {}, "name": "a"}]},
]  # fmt: skip


@pytest.mark.parametrize("path", ["messages", "messages/count_tokens"])
def test_an_answer_is_to_begin_with_nothing_that_can_be_said(path: str, behind: tuple[Service, Upstream]) -> None:
    one, upstream = behind
    upstream.gives(GOOD, streams=False)
    before = upstream.asked
    for number, prefill in enumerate(PREFILLS):
        answer = asked(one, [user(f"Begin, {number}."), {"role": "assistant", **prefill}], path=path)
        assert answer.status_code == 400, (prefill, answer.text)
    assert upstream.asked == before


def test_what_no_json_has_and_what_cannot_be_read_again_is_refused(behind: tuple[Service, Upstream]) -> None:
    """Sent on as it was read, it would be no JSON; kept, it could be too deep for who reads it later."""
    one, upstream = behind
    upstream.gives(GOOD, streams=False)
    before = upstream.asked
    for depth in (120, 300, 900, 100_000):
        body = json.dumps({"model": MODEL, "max_tokens": 5, "messages": [user("?")]})
        deep = body.replace('"?"', '[{"type": "text", "text": "a", "x": %s}]' % ("[" * depth + "]" * depth))
        answer = one.closing[0].post(f"{one.url}/v1/messages", content=deep)
        assert (answer.status_code, upstream.asked) == (400 if depth > 120 else 200, before + 1), answer.text
    for number in ("1e999", "-1e999", "NaN", "Infinity"):
        odd = json.dumps({"model": MODEL, "temperature": 0.5, "max_tokens": 5, "messages": [user("Odd.")]})
        answer = one.closing[0].post(f"{one.url}/v1/messages", content=odd.replace("0.5", number))
        assert (answer.status_code, upstream.asked) == (400, before + 1), number


def test_names_that_are_no_names(behind: tuple[Service, Upstream]) -> None:
    one, upstream = behind
    upstream.gives(GOOD, streams=False)
    names: list[Any] = [{}, [], 7, None]
    for name in names:
        tools, call = [{"name": name}], {"type": "tool_use", "id": name, "name": name}
        assert asked(one, [user("Tools.")], tools=tools).status_code < 500
        assert asked(one, [{"role": "user", "content": [{"type": "text", "text": "Named."}, call]}]).status_code < 500


# --- the same results of tools, several times ------------------------------------------------------------------------

CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
TOOLS = [{"name": "look", "input_schema": {"type": "object"}}]


def three_at_once(one: Service, upstream: Upstream, sent: Sent, messages: list[Any]) -> list[httpx2.Response]:
    """Send the same three times, and have the upstream answer nobody until all are there."""
    before, all_there = sent.count, Event()
    upstream.before = all_there.wait
    answers: list[httpx2.Response] = []

    def send() -> None:
        with httpx2.Client(timeout=60, headers=HEADERS) as client:
            body = {"model": MODEL, "max_tokens": 50, "messages": messages, "tools": TOOLS}
            answers.append(client.post(f"{one.url}/v1/messages", json=body))

    threads = [Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    sent.until(before + 3)
    all_there.set()
    for thread in threads:
        thread.join()
    upstream.before = bool
    return answers


def test_item_5_results_that_are_sent_several_times_at_once_are_one_call(
    behind: tuple[Service, Upstream], sent: Sent
) -> None:
    """All get the one answer that is on record, and so does who lost it. Each would be paid otherwise."""
    one, upstream = behind
    call = {**CALL, "id": f"toolu_{upstream.asked}"}
    upstream.gives({**GOOD, "content": [call], "stop_reason": "tool_use"}, streams=False)
    first = asked(one, [user("Please look.")], tools=TOOLS)
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "A hat."}
    messages = [user("Please look."), {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    upstream.gives(GOOD, streams=False)
    before = upstream.asked
    answers = three_at_once(one, upstream, sent, messages)
    assert [answer.json()["content"] for answer in answers] == [GOOD["content"]] * 3
    assert upstream.asked == before + 1
    again = asked(one, messages, {"x-stainless-retry-count": "1"}, tools=TOOLS)
    assert (again.json()["content"], again.headers["lastresort-matched"]) == (GOOD["content"], "replay")
    assert upstream.asked == before + 1
    assert kinds(one, first) == ["ConversationStarted", "UserTurnTaken", "AssistantTurnTaken"]


def test_item_5_a_call_of_tools_that_is_asked_for_twice_at_once_is_given_twice(
    behind: tuple[Service, Upstream], sent: Sent
) -> None:
    one, upstream = behind
    call = {**CALL, "id": f"toolu_{upstream.asked}"}
    upstream.gives({**GOOD, "content": [call], "stop_reason": "tool_use"}, streams=False)
    first = asked(one, [user("Begin to look.")], tools=TOOLS)
    assert first.json()["content"] == [call]
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "A hat."}
    messages = [user("Begin to look."), {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    more = {**CALL, "id": f"toolu_more_{upstream.asked}"}
    upstream.gives({**GOOD, "content": [more], "stop_reason": "tool_use"}, streams=False)
    before = upstream.asked
    answers = three_at_once(one, upstream, sent, messages)
    assert [answer.json().get("content") for answer in answers] == [[more]] * 3
    assert {answer.json()["stop_reason"] for answer in answers} == {"tool_use"}
    assert upstream.asked == before + 1
