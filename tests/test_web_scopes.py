"""Items 17 and 18: every route, as each scope and from another tenant. A route without a row here fails."""

import itertools
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from lastresort.adapters.api.routes import ENDPOINTS, Endpoint
from lastresort.adapters.service.keys import SCOPES

from .web_kit import OTHER, Service, service, started

SINGLE = ("converse", "gateway", "model:*", "assess:desk", "operate", "audit", "words", "admin")

BODIES: dict[str, Any] = {
    "start": {},
    "edit": {"turn": 2, "content": "Hi."},
    "retry": {"turn": 3},
    "leave": {},
    "feedback": {"rating": "up"},
    "appeal": {},
    "record_answer": {"content": "Hello."},
    "judge": {"verdict": "productive", "risk": "none"},
    "redirect": {},
    "warn": {"category": "abuse"},
    "hope": {},
    "propose": {},
    "end": {"category": "abuse"},
    "raise_risk": {},
    "clear_risk": {},
    "decide_appeal": {"outcome": "granted"},
    "change_policy": {"policy": "default"},
    "change_model": {"model": "claude-opus-4-7"},
    "erase": {"cause": "user_request", "turn": 2},
    "hold": {"hold": "case-1", "reason": "other"},
    "release": {},
    "make_key": {"scopes": ["audit"], "actor": "auditor"},
    "revoke_key": {},
    "rotate_key": {"grace": 0},
    "begin_audit": {},
    "begin_what_if": {"policy": "default"},
    "erase_account": {"cause": "user_request"},
    "describe": {"title": "A canary's title", "tags": ["birds"]},
    "select": {"branch": "{branch}"},
    "queue_turn": {},
    "claim_turn": {},
    "judge_claim": {"verdict": "productive", "risk": "none"},
    "release_claim": {},
    "make_person": {"scopes": ["audit"], "actor": "auditor"},
    "make_link": {},
    "revoke_person": {},
    "turn": {"content": "Hello again.", "answer": False},
    "resume": {},
    "tool_results": {"results": [{"type": "tool_result"}], "pending": "none"},
    "stop": {},
    **dict.fromkeys(
        (
            "conversations", "tree", "branch_state", "transcript", "events", "why", "rules", "policies", "whoami",
            "show_figures", "list_keys", "admin_log", "facts", "holds", "metadata", "show_siblings", "list_people",
            "list_tenants", "list_upstreams", "show_proof", "prove_position", "turns_to_judge", "show_claim",
        ),
    ),
    "show_audit": None,
    "show_what_if": None,
    "rejoin": None,
    "follow": None,
}  # fmt: skip
"""What each route is asked with. None: nothing is sent."""

NEEDS_WHAT_IS_NOT_THERE = {
    "show_audit", "show_what_if", "tool_results", "clear_risk", "release", "rejoin", "make_link", "revoke_person",
    "show_proof", "prove_position", "judge_claim", "release_claim",
}  # fmt: skip
NEEDS_WORDS = {"metadata", "claim_turn", "show_claim"}
"""What no key reads without `words` beside its scope."""


def test_every_route_has_a_row() -> None:
    assert {one.run.__name__ for one in ENDPOINTS} == BODIES.keys()
    assert len(ENDPOINTS) == len({one.run.__name__ for one in ENDPOINTS})


def test_every_scope_is_tried() -> None:
    assert {one.partition(":")[0] for one in SINGLE} == {one.partition(":")[0] for one in SCOPES}


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service(lambda request: "Gladly.") as one:
        yield one


def asked(one: Endpoint, client: httpx2.Client, ids: dict[str, str]) -> httpx2.Response:
    path = one.path.format(**{**NONE_OF_THEM, **ids}, turn=2, account="user-1")
    query = {"limit": 1} if one.run.__name__ == "follow" else {}
    body = BODIES[one.run.__name__]
    if body and "branch" in body:
        body = {"branch": ids["branch"]}
    return client.request(one.method, path, json=body, params=query)


NONE_OF_THEM = {
    "position": "1",
    "risk": "risk-1",
    "hold": "case-1",
    "audit": "none",
    "replay": "none",
    "person": "none",
    "claim": "none",
}


def made(owner: httpx2.Client, running: Service) -> dict[str, str]:
    """A conversation with a canary in it, and a key: what a route may be asked with."""
    branch = started(owner)
    owner.post(f"/api/v1/branches/{branch}/turns", json={"content": "A canary sings.", "answer": False})
    owner.post(f"/api/v1/branches/{branch}/answers", json={"content": "So it does."})
    owner.post(f"/api/v1/conversations/{branch}/metadata", json={"title": "A canary's title"})
    return {"branch": branch, "conversation": branch, "key": running.key("audit").split("_")[1]}


@pytest.mark.parametrize("one", ENDPOINTS, ids=lambda one: one.run.__name__)
def test_item_17_and_18_every_route_by_every_scope(one: Endpoint, running: Service) -> None:
    with running.client() as owner:
        for scope in SINGLE:
            ids = made(owner, running)
            may = not one.scopes or scope.partition(":")[0] in one.scopes
            with running.client(scope) as client:
                answer = asked(one, client, ids)
            told = f"{one.path} as {scope}: {answer.status_code} {answer.text[:300]}"
            if not may or one.run.__name__ in NEEDS_WORDS:
                assert answer.status_code == 403, told
            elif one.run.__name__ in NEEDS_WHAT_IS_NOT_THERE:
                assert answer.status_code in (200, 404), told
            else:
                assert answer.status_code in (200, 201, 202), told
            assert "canary" not in answer.text or one.run.__name__ == "describe", told


@pytest.mark.parametrize(
    "one",
    [one for one in ENDPOINTS if "{" in one.path and "{account}" not in one.path],
    ids=lambda one: one.run.__name__,
)
def test_item_17_what_is_another_tenant_s_is_as_unknown_as_what_is_not_there(one: Endpoint, running: Service) -> None:
    with running.client() as owner, running.client(*SINGLE, tenant=OTHER) as stranger:
        ids = made(owner, running)
        ids["audit"] = owner.post("/api/v1/audits", json={}).json()["id"]
        ids["replay"] = owner.post("/api/v1/what-ifs", json={"policy": "default"}).json()["id"]
        ids["person"] = owner.post("/api/v1/admin/people", json={"scopes": ["audit"], "actor": "a"}).json()["id"]
        owner.post(f"/api/v1/branches/{ids['branch']}/queue", json={})
        ids["claim"] = owner.post("/api/v1/queue/claims", json={}).json()["claim"]
        theirs = asked(one, stranger, ids)
        nobody_s = asked(one, stranger, dict.fromkeys(ids, "000000000000"))
        assert theirs.status_code == 404, f"{theirs.status_code} {theirs.text[:200]}"
        assert (nobody_s.status_code, nobody_s.json()) == (404, theirs.json())


def test_item_17_an_account_of_another_tenant_has_nothing_to_erase(running: Service) -> None:
    with running.client() as owner, running.client(*SINGLE, tenant=OTHER) as stranger:
        branch = started(owner, account="user-9")
        owner.post(f"/api/v1/branches/{branch}/turns", json={"content": "A canary sings.", "answer": False})
        answer = stranger.post("/api/v1/accounts/user-9/erasures", json={"cause": "user_request"})
        assert answer.json() == {"erased": [], "refused": {}}
        assert "A canary sings." in owner.get(f"/api/v1/branches/{branch}/transcript").text
        assert owner.post("/api/v1/accounts/user-9/erasures", json={"cause": "user_request"}).json()["erased"] == [
            branch
        ]
        assert "canary" not in owner.get(f"/api/v1/branches/{branch}/transcript").text


def test_a_key_that_is_bound_to_an_account_sees_no_other_s(running: Service) -> None:
    with running.client("converse", "words", account="ann") as ann, running.client("converse", account="bob") as bob:
        branch = started(ann)
        assert ann.get(f"/api/v1/branches/{branch}").json()["account"] == "ann"
        assert bob.get(f"/api/v1/branches/{branch}").status_code == 404
        listed = bob.get("/api/v1/conversations", params={"account": "ann"}).json()["conversations"]
        assert listed == []
        assert bob.post("/api/v1/conversations", json={"account": "ann"}).status_code == 403


def test_what_tells_of_all_accounts_is_not_for_a_key_that_is_bound_to_one(running: Service) -> None:
    """Every route that names neither a branch nor a conversation, but those that look at the key's account."""
    own = {"start", "conversations", "rules", "policies", "whoami", "list_upstreams"}
    with running.client(*SINGLE, account="ann") as ann:
        for one in ENDPOINTS:
            if "{branch}" in one.path or "{conversation}" in one.path or one.run.__name__ in own:
                continue
            answer = asked(one, ann, {"key": "none", "branch": "none", "conversation": "none"})
            assert answer.status_code == 403, one.path


@pytest.mark.parametrize("key", ["", "lrk_x", "lrk_" + "a" * 12 + "_" + "b" * 43, "lrk_' OR 1=1 --"])
def test_a_key_that_is_none_opens_nothing(key: str, running: Service) -> None:
    answer = httpx2.get(f"{running.url}/api/v1/whoami", headers={"x-api-key": key})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_a_key_expires_and_is_revoked_and_rotated(running: Service) -> None:
    with running.client("admin") as admin:
        made = admin.post("/api/v1/admin/keys", json={"scopes": ["audit"], "actor": "a"}).json()
        late = admin.post("/api/v1/admin/keys", json={"scopes": ["audit"], "actor": "a", "expires_in": 1}).json()

        def status(key: str) -> int:
            return httpx2.get(f"{running.url}/api/v1/whoami", headers={"lastresort-key": key}).status_code

        assert status(made["key"]) == 200
        other = admin.post(f"/api/v1/admin/keys/{made['id']}/rotate", json={"grace": 0}).json()
        assert (status(made["key"]), status(other["key"])) == (401, 200)
        admin.post(f"/api/v1/admin/keys/{other['id']}/revoke", json={})
        assert status(other["key"]) == 401
        for _ in itertools.takewhile(lambda _: status(late["key"]) == 200, range(40)):
            import time

            time.sleep(0.1)
        assert status(late["key"]) == 401
        after, acts = 0, []
        while after is not None:
            page = admin.get(f"/api/v1/admin/log?after={after}").json()
            acts += [entry["act"] for entry in page["entries"]]
            after = page["after"]
        assert acts[-4:] == ["key.made", "key.made", "key.rotated", "key.revoked"]
        assert page["whole"]


def test_item_23_each_reading_of_words_is_in_the_admin_log(running: Service) -> None:
    with running.client("audit", "words", "admin") as reader, running.client() as owner:
        branch = started(owner)
        owner.post(f"/api/v1/branches/{branch}/turns", json={"content": "A canary sings.", "answer": False})
        before = reader.get("/api/v1/admin/log", params={"limit": 1000}).json()["entries"]
        read = reader.get(f"/api/v1/branches/{branch}/transcript").json()
        assert read["turns"][0]["text"] == "A canary sings."
        entries = reader.get("/api/v1/admin/log", params={"limit": 1000}).json()["entries"][len(before) :]
        assert [(entry["act"], entry["target"]) for entry in entries] == [("words.read", branch)]
        assert "canary" not in str(entries)


def test_limits_of_a_key(running: Service) -> None:
    with running.client("audit", limits={"requests_per_minute": 2}) as client:
        answers = [client.get("/api/v1/whoami") for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
