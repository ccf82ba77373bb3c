"""What the tests of the service share: a service that runs, on a real socket, before a loopback of the model's API."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from lastresort.adapters.loopback import Loopback, Script, loopback
from lastresort.adapters.service.config import ChatPages, Config, Server, TenantConfig, Upstream
from lastresort.adapters.service.keys import Rights
from lastresort.adapters.web.serving import Serving

MODEL = "claude-opus-4-8"
OTHER = "other"
ALL = ("converse", "gateway", "model:*", "assess:desk", "operate", "audit", "words", "admin")


class Service:
    """A running service."""

    def __init__(self, serving: Serving, api: Loopback | None) -> None:
        self.serving, self.api, self.url = serving, api, serving.url
        self.house = serving.house
        self.closing: list[Any] = []  # clients, to be closed with it

    def key(self, *scopes: str, tenant: str = "default", **rights: Any) -> str:
        """Make a key."""
        made = self.house.keys.make(
            tenant, Rights(scopes=scopes, actor=rights.pop("actor", "op-1"), **rights), now=self.house.now()
        )
        return made.key

    def client(self, *scopes: str, tenant: str = "default", **rights: Any) -> httpx2.Client:
        """Return a client of the native API that has a key."""
        key = self.key(*(scopes or ALL), tenant=tenant, **rights)
        headers = {"lastresort-key": key, "x-api-key": "sk-upstream"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30)


@contextmanager
def service(script: Script | None = None, **changes: Any) -> Iterator[Service]:
    """Run a service with two tenants; before a loopback that answers from a script, if there is one."""
    if script is None:
        yield from _run(None, changes)
        return
    with loopback(script) as api:
        yield from _run(api, changes)


def _run(api: Loopback | None, changes: Mapping[str, Any]) -> Iterator[Service]:
    upstream = {
        "base_url": api.url if api is not None else "http://127.0.0.1:9",
        "model": MODEL,
        **changes.get("upstream", {}),
    }
    server = {"port": 0, "graceful": 5, **changes.get("server", {})}
    config = Config(
        store=changes.get("store", "memory:"),
        server=Server(**server),
        upstream=Upstream(**upstream),
        oidc=changes.get("oidc"),
        chat=ChatPages(**changes.get("chat", {})),
        tenants=changes.get("tenants", {OTHER: TenantConfig(store="memory:")}),
    )
    serving = Serving(config)
    thread = Thread(target=serving.run, kwargs={"signals": False}, name="service", daemon=True)
    thread.start()
    running = Service(serving, api)
    try:
        yield running
    finally:
        for one in running.closing:
            one.close()
        serving.stop()
        thread.join(20)
        assert not thread.is_alive(), "the service did not stop"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def started(client: httpx2.Client, **fields: Any) -> str:
    """Start a conversation; return its branch."""
    answer = client.post("/api/v1/conversations", json=fields, headers={"idempotency-key": uuid4().hex})
    assert answer.status_code == 201, answer.text
    branch: str = answer.json()["branch"]
    return branch


def events_of(text: str) -> list[tuple[str, str]]:
    """Return the names and data of server-sent events."""
    blocks = (block for block in text.split("\n\n") if block and not block.startswith(":"))
    found = []
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((fields["event"], fields["data"]))
    return found


def assessed(answers: Any) -> Any:
    """Return a script that answers in order, and agrees as the assessor does when it is asked for a second opinion."""
    waiting = iter(answers)
    agrees = json.dumps({"verdict": "harmful", "category": "abuse", "severity": 2, "risk": "none", "about": "self"})
    return lambda request: agrees if not request.tools else next(waiting)
