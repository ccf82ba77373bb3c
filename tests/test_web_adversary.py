"""The service as an adversary would try it: keys that are rotated and revoked at once, an admin log that was changed,
secrets of ours that would go to others, caches that know no keys, and what a database cannot hold."""

import json
from collections.abc import Iterator
from datetime import timedelta

import httpx2
import pytest
from pydantic import ValidationError

from lastresort.adapters.service import problems
from lastresort.adapters.service.admin_log import Entry
from lastresort.adapters.service.keys import Rights
from lastresort.adapters.service.people import COOKIE

from .gateway_kit import Talk, user
from .stores import new_url
from .test_gateway_garbage import GOOD, Upstream
from .web_kit import ALL, MODEL, Service, service, started

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service(lambda request: "Gladly.") as one:
        yield one


def test_a_key_that_was_revoked_is_not_brought_back_by_a_rotation_that_began_before(running: Service) -> None:
    keys, now = running.house.keys, running.house.now()
    made = keys.make("default", Rights(scopes=("audit",), actor="a"), now=now)
    read_before = keys.find(made.made.id)
    assert read_before is not None
    keys.revoke(read_before)
    assert keys.rotate(read_before, grace=HOUR, now=now) is None
    assert keys.known(made.key, now=now) is None


def test_a_key_that_expires_expires_however_often_it_is_rotated(running: Service) -> None:
    keys, now = running.house.keys, running.house.now()
    until = (now + HOUR).isoformat(timespec="seconds")
    made = keys.make("default", Rights(scopes=("audit",), actor="a", expires=until), now=now)
    later = now + HOUR / 2
    rotated = keys.rotate(made.made, grace=timedelta(days=9), now=later)
    assert rotated is not None
    assert keys.known(rotated.key, now=later + HOUR * 0.9) is not None
    assert keys.known(rotated.key, now=later + HOUR * 1.1) is None
    assert keys.known(made.key, now=now + HOUR * 1.1) is None


def test_an_entry_of_the_admin_log_that_is_hidden_or_spoilt_is_seen() -> None:
    with service() as one, one.client() as client:
        for _ in range(3):
            client.post("/api/v1/admin/keys", json={"scopes": ["audit"], "actor": "a"})
        log, tables = one.house.log, one.house.tenants["default"].tables
        statement = "UPDATE {schema}service_log SET %s = %%s WHERE seq = %%s"
        for column, value, before in (("tenant", "other", "default"), ("entry", "spoilt", None), ("hash", "x", None)):
            kept = next(row for row in tables.rows("SELECT * FROM {schema}service_log ORDER BY seq") if row["seq"] == 2)
            with tables.transaction("service") as writing:
                writing.write(statement % column, [(value, 2)])
            assert log.checked(one.house.now()).broken_at == 2, column
            answer = client.get("/api/v1/admin/log")
            assert (answer.status_code, answer.json()["whole"]) == (200, False)
            assert "spoilt" not in answer.text
            with tables.transaction("service") as writing:
                writing.write(statement % column, [(before or kept[column], 2)])
            assert log.checked(one.house.now()).broken_at is None


@pytest.mark.parametrize("where", ["authorization", "x-api-key", "lastresort-key", "x-anything"])
def test_no_key_and_no_cookie_of_ours_goes_upstream(where: str) -> None:
    """A client that presents both keys in the two headers that the API knows, and a browser that sends its session."""
    upstream = Upstream()
    with service(upstream={"base_url": upstream.url}) as one:
        key = one.key(*ALL)
        bearer = f"Bearer {key}" if where == "authorization" else key
        headers = {"x-api-key": "sk", "authorization": "Bearer sk"} | {where: bearer, "cookie": f"{COOKIE}=session"}
        if where not in ("authorization", "x-api-key"):
            headers["lastresort-key"] = key
        for tracked in ("new", "none"):
            upstream.gives(GOOD, streams=False)
            body = {"model": MODEL, "max_tokens": 5, "messages": [user("Hello.")]}
            asked = {**headers, "lastresort-conversation": tracked}
            answer = httpx2.post(f"{one.url}/v1/messages", json=body, headers=asked)
            assert answer.status_code == 200, answer.text
            assert key not in upstream.headers
            assert "session" not in upstream.headers
            assert "sk" in upstream.headers
    upstream.close()


def test_no_cookie_of_the_upstream_is_set_here() -> None:
    """It would be one of this service's address, whose name the upstream chose."""
    upstream = Upstream()
    upstream.gives(GOOD, streams=False)
    upstream.more = {"set-cookie": f"{COOKIE}=planted; Path=/; Secure"}
    with service(upstream={"base_url": upstream.url}) as one:
        for tracked in ("new", "none"):
            body = {"model": MODEL, "max_tokens": 5, "messages": [user("Hello.")]}
            headers = {"x-api-key": "sk", "lastresort-conversation": tracked}
            answer = httpx2.post(f"{one.url}/v1/messages", json=body, headers=headers)
            assert (answer.status_code, answer.headers.get("set-cookie")) == (200, None)
    upstream.close()


def test_no_cache_keeps_what_a_key_was_given(running: Service) -> None:
    with running.client() as client:
        branch = started(client)
        for path in ("whoami", "conversations", f"branches/{branch}/transcript", "admin/keys", "no-such-thing"):
            assert client.get(f"/api/v1/{path}").headers["cache-control"] == "no-store", path
        assert client.get("/sign-in").headers["cache-control"] == "no-store"
        stream = client.get("/api/v1/log/stream?limit=1")
        assert stream.headers["cache-control"] == "no-cache"
    assert httpx2.get(f"{running.url}/api/v1/whoami").headers["cache-control"] == "no-store"


def test_what_a_model_of_ours_does_not_take_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as raised:
        Entry.model_validate({"seq": "canary"})
    told = problems.of(raised.value)
    assert told["status"] == 422
    assert "canary" not in json.dumps(told)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def test_what_a_database_cannot_hold_is_told_as_it_is(kind: str, request: pytest.FixtureRequest) -> None:
    """No byte of nothing fits into a text of PostgreSQL."""
    with service(store=new_url(kind, request)) as one, one.client() as client:
        branch = started(client)
        for path in (
            "conversations?policy=%00", "conversations?since=%00", "conversations?after=%00", "holds?after=%00",
            "admin/keys?after=%00", "admin/people?after=%00", "branches/%00", "conversations?finding=%00",
            "conversations?model=%00", f"branches/{branch}/why?category=%00",
        ):  # fmt: skip
            answer = client.get(f"/api/v1/{path}")
            assert answer.status_code < 500, (path, answer.text)
        for path, body in (
            (f"conversations/{branch}/metadata", {"title": "a\0b", "tags": ["\0"]}),
            (f"branches/{branch}/turns", {"content": "a\0b", "answer": False}),
            (f"branches/{branch}/feedback", {"content": "a\0b"}),
            (f"conversations/{branch}/selected", {"branch": "a\0b"}),
            ("admin/people", {"scopes": ["audit"], "actor": "a", "subject": "a\0b"}),
        ):
            answer = client.post(f"/api/v1/{path}", json=body)
            assert answer.status_code < 500, (path, answer.text)
        said = {"model": MODEL, "max_tokens": 5, "metadata": {"user_id": "a\0b"}, "messages": [user("a\0b")]}
        headers = {"x-api-key": "sk", "anthropic-version": "2023-06-01", "x-claude-code-session-id": "a" * 300}
        session = httpx2.post(f"{one.url}/v1/messages", headers=headers, json=said)
        assert session.status_code in (200, 502), session.text


def test_a_conversation_stays_what_it_is_when_its_key_is_rotated() -> None:
    """One that was ended, or is held, would go on as a new one otherwise."""
    with service(lambda request: "Gladly.") as one:
        keys, now = one.house.keys, one.house.now()
        made = keys.make("default", Rights(scopes=("gateway",), actor="a"), now=now)
        talk = Talk(one, headers={"lastresort-key": made.key})
        talk.say("one")
        for _ in range(2):
            rotated = keys.rotate(made.made, grace=timedelta(0), now=now)
            assert rotated is not None
            made = rotated
            talk.headers = {"lastresort-key": made.key}
            talk.say("and on")
        talk.close()
        assert talk.matched == ["new", "head", "head"]
        assert len(set(talk.branches)) == 1
