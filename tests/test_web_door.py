"""What stands before the service: items 19 and 22, the configuration, and `lastresort serve` itself."""

import json
import logging
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lastresort.adapters.api.app import deeper_than
from lastresort.adapters.service.admin_log import AdminLog
from lastresort.adapters.service.config import ConfigError, load, parse

from .gateway_kit import Talk
from .stores import ROOT
from .web_kit import Service, service, started

CANARY = "canary-7f3a"
POST = b"POST /api/v1/conversations HTTP/1.1\r\nhost: x\r\n"


def raw(one: Service, request: bytes, *, wait: float = 5) -> bytes:
    """Send bytes; return what comes back before the connection is closed, or for a while."""
    host, port = one.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as connection:
        connection.sendall(request)
        found = b""
        try:
            while piece := connection.recv(65_536):
                found += piece
                if b"\r\n\r\n" in found and b"content-length: 0" not in found:
                    break
        except TimeoutError:
            pass
        return found


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        (POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", {0, 400}),
        (b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999999\r\n\r\n", {413}),
        (b"POST /api/v1/conversations HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n\r\n", {413}),
        (b"GET /api/v1/whoami HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 40_000 + b"\r\n\r\n", {0, 400, 413}),
        (b"GET /api/v1/whoami HTTP/1.1\r\nhost: a@b/../c?d#e\r\n\r\n", {400, 401}),
        (b"nonsense\r\n\r\n", {0, 400}),
        (b"GET /v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n", {401}),
        (b"GET /v1/../api/v1/whoami HTTP/1.1\r\nhost: x\r\n\r\n", {401}),
    ],
)  # fmt: skip
def test_item_19_what_nobody_needs_to_read_is_refused(request_bytes: bytes, statuses: set[int]) -> None:
    with service(server={"hosts": ()}) as one:
        assert status(raw(one, request_bytes)) in statuses
        assert httpx2.get(f"{one.url}/healthz").json() == {"status": "ok"}


def test_item_19_only_known_hosts_are_served() -> None:
    with service(server={"hosts": ("chats.example",)}) as one:
        assert httpx2.get(f"{one.url}/healthz").status_code == 400
        assert httpx2.get(f"{one.url}/healthz", headers={"host": "chats.example:80"}).status_code == 200


def test_item_19_deep_json_is_not_read() -> None:
    assert deeper_than(b"[" * 65, 64)
    assert not deeper_than(b'"' + b"[" * 100 + b'"', 64)
    assert not deeper_than(b"[]" * 100, 64)
    with service() as one, one.client() as client:
        deep = b'{"account": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        answer = client.post("/api/v1/conversations", content=deep)
        assert answer.status_code == 400
        gateway = httpx2.post(f"{one.url}/v1/messages", content=deep, headers={"x-api-key": "sk"})
        assert gateway.status_code == 400


def test_item_19_readers_that_stall_do_not_keep_others_waiting() -> None:
    with service(lambda request: "Gladly. " * 2_000) as one:
        host, port = one.url.removeprefix("http://").split(":")
        body = json.dumps(
            {
                "model": "claude-opus-4-8",
                "max_tokens": 9,
                "stream": True,
                "messages": [{"role": "user", "content": "Hi"}],
            }
        )
        request = (
            f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: sk\r\nanthropic-version: 2023-06-01\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        )
        stalled = []
        for _ in range(40):
            connection = socket.create_connection((host, int(port)))
            connection.sendall(request.encode())
            stalled.append(connection)
        half = socket.create_connection((host, int(port)))
        half.sendall(b"POST /v1/messages HTTP/1.1\r\n")
        assert Talk(one).say("Hello.").startswith("Gladly.")
        for connection in [*stalled, half]:
            connection.close()


def test_item_22_no_word_no_header_and_no_key_is_in_a_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with service(lambda request: f"{CANARY} sings.") as one, one.client() as client:
        branch = started(client)
        for words in (CANARY, ""):
            client.post(f"/api/v1/branches/{branch}/turns", json={"content": words}, headers={"x-canary": CANARY})
        client.post("/api/v1/conversations", json={CANARY: CANARY})
        client.get(f"/api/v1/branches/{CANARY}")
        talk = Talk(one, headers={"x-canary": CANARY})
        talk.say(CANARY)
        httpx2.post(f"{one.url}/v1/messages", content=b"{" + CANARY.encode(), headers={"x-api-key": CANARY})
        errors = httpx2.get(f"{one.url}/api/v1/{CANARY}", headers={"x-api-key": CANARY})
    assert CANARY not in errors.text
    theirs = [
        one
        for one in caplog.records
        if one.name.partition(".")[0] not in ("httpx2", "httpcore", "httpcore2", "anthropic")
    ]
    assert CANARY not in "\n".join(one.getMessage() for one in theirs)
    assert CANARY not in "".join(capfd.readouterr())


def test_an_admin_log_that_was_changed_says_so() -> None:
    with service() as one, one.client() as client:
        for _ in range(3):
            client.post("/api/v1/admin/keys", json={"scopes": ["audit"], "actor": "a"})
        log: AdminLog = one.house.log
        assert log.checked(one.house.now()).broken_at is None
        tables = one.house.tenants["default"].tables
        with tables.transaction("service") as writing:
            writing.write("DELETE FROM {schema}service_log WHERE seq = %s", [(2,)])
        assert log.checked(one.house.now()).broken_at == 2
        assert not client.get("/api/v1/admin/log").json()["whole"]


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("secret = 'x'", "an unknown key of 6 characters at the top; allowed: store, policy"),
        ("[server]\nport = 99999", "server.port"),
        ("[server]\nprot = 1", "allowed: host, port"),
        ("[upstream]\ncredentials = 'lent'", "'held' or 'pass-through'"),
        ("[upstream]\nbase_url = 'ftp://x'", "upstream.base_url"),
        ("policy = 'none'", "one of"),
        ("[tenants.a]\nstroe = 'x'", "tenants.a"),
        ("store = ", "not TOML"),
    ],
)
def test_an_error_of_the_configuration_names_the_key_and_what_is_allowed(toml: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(toml)
    assert told in str(raised.value)
    assert "lent" not in str(raised.value)


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[str, list[str]]]:
    """Start the command with no configuration: what its address is, and which keys it prints. Then stop it."""
    command = [sys.executable, "-m", "lastresort", "serve", "--port", "0", *options]
    pipe, both = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=both, text=True) as running:
        assert running.stdout is not None
        try:
            told: dict[str, str] = {}
            while "sign" not in told:  # the last that it says
                line = running.stdout.readline()
                assert line, f"it stopped, and had said {told}"
                what, _, more = line.strip().partition(" ")
                told[what] = more
            yield told["address"], [told["key"]] if "key" in told else []
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 0
        finally:
            running.kill()


def asked(url: str, path: str, key: str) -> Any:
    """Ask as soon as it serves."""
    for _ in range(600):
        with suppress(httpx2.ConnectError):
            return httpx2.get(f"{url}/api/v1/{path}", headers={"lastresort-key": key}, timeout=60).json()
        time.sleep(0.1)
    raise AssertionError("nobody answers")


def test_the_command_prints_a_key_once_and_one_more_where_it_is_told_to(tmp_path: Path) -> None:
    with serving(tmp_path) as (url, first):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        assert "admin" in asked(url, "whoami", *first)["scopes"]
    with serving(tmp_path) as (url, keys):
        assert keys == []
        assert "admin" in asked(url, "whoami", *first)["scopes"]
    with serving(tmp_path, "--new-key") as (url, another):
        assert another != first
        assert "admin" in asked(url, "whoami", *another)["scopes"]
        assert "admin" in asked(url, "whoami", *first)["scopes"]
        made = [one for one in asked(url, "admin/log", *another)["entries"] if one["act"] == "key.made"]
        assert len(made) == 2


def test_the_command_says_what_is_wrong_with_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / "service.toml"
    config.write_text("[server]\nprot = 1\n")
    command = [sys.executable, "-m", "lastresort", "serve", "--config", str(config)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "allowed: host, port" in done.stderr


def test_the_configuration_in_the_docs_is_one() -> None:
    page = (ROOT / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
    config = parse(page.partition("```toml\n")[2].partition("```")[0])
    assert config.server.hosts == ("chats.example",)
    assert set(config.tenants) == {"acme"}


def test_who_asks_while_the_store_is_locked_is_told_to_come_again(tmp_path: Path) -> None:
    """A key that opens is noted once a day, which takes the lock that somebody else has."""
    with service(store=f"sqlite:///{tmp_path}/log.db?deadline=0.5") as running:
        key = running.key("audit")

        def ask() -> httpx2.Response:
            return httpx2.get(f"{running.url}/api/v1/whoami", headers={"lastresort-key": key}, timeout=30)

        with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = ask()
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert answer.headers["retry-after"] == "1"
        assert ask().status_code == 200
