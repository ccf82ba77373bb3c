"""Items 17 and 18 for what is no native API: every page, by each scope, by a key, by nobody, and from another tenant.

The table of routes is the app's own: a route that has no row here fails, and so does a row that has no route.
"""

from collections.abc import Iterator

import httpx2
import pytest

from lastresort.adapters.api.routes import ENDPOINTS
from lastresort.adapters.service.config import OpenID

from .pages_kit import Visitor
from .web_kit import OTHER, Service, service

TALKER, AUDITOR, REVIEWER = ("converse",), ("audit", "operate"), ("audit", "operate", "assess:desk")
SCOPES = ("converse", "gateway", "model:*", "assess:desk", "operate", "audit", "words", "admin")
ANYBODY, SIGNED_IN = None, SCOPES
"""Who needs not sign in; and who needs nothing but that."""

ROWS: dict[str, tuple[str, ...] | None] = {
    "GET /api/v1/openapi.json": ANYBODY,
    "GET /healthz": ANYBODY,
    "GET /readyz": ANYBODY,
    "GET /sign-in": ANYBODY,
    "GET /static/{digest}/{name}": ANYBODY,
    "GET /auth/link/{token}": ANYBODY,
    "POST /auth/link/{token}": ANYBODY,
    "POST /auth/out": ANYBODY,
    "GET /auth/oidc": ANYBODY,
    "GET /auth/oidc/back": ANYBODY,
    "GET /": SIGNED_IN,
    "GET /chat": TALKER,
    "POST /chat": TALKER,
    "GET /chat/c/{branch}": TALKER,
    "GET /chat/open/{branch}": TALKER,
    "POST /chat/c/{branch}/turns": TALKER,
    "POST /chat/c/{branch}/resume": TALKER,
    "GET /chat/c/{branch}/turns/{turn}": TALKER,
    "POST /chat/c/{branch}/edits": TALKER,
    "POST /chat/c/{branch}/erasure": TALKER,
    "GET /chat/c/{branch}/proof": TALKER,
    "GET /inspect": AUDITOR,
    "GET /inspect/list.csv": AUDITOR,
    "GET /inspect/list.jsonl": AUDITOR,
    "GET /inspect/queue": REVIEWER,
    "GET /inspect/log": ("audit",),  # an operator who is an administrator, too
    "GET /inspect/b/{branch}": AUDITOR,
    "GET /inspect/b/{branch}/proof": AUDITOR,
    "GET /inspect/audit": ("audit",),
    "GET /inspect/what-if": ("audit",),
    "POST /inspect/what-ifs": ("audit",),
    "GET /inspect/figures": ("audit",),
    "GET /inspect/report": ("audit",),
    "GET /inspect/report.csv": ("audit",),
    "GET /inspect/report.json": ("audit",),
    "GET /inspect/report.html": ("audit",),
    "GET /inspect/report/{number}.svg": ("audit",),
    "GET /inspect/shadow": ("audit",),
    "GET /inspect/shadow.json": ("audit",),
}
BODIES = {"POST /inspect/what-ifs": {"toml": ""}, "POST /chat/c/{branch}/edits": {"turn": 2, "words": "Other words."}}
CANARY = "A canary sings."
REFUSED = (401, 403, 303)


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    nowhere = "http://127.0.0.1:9"
    with service(lambda _: "Gladly.", oidc=OpenID(issuer=nowhere, client_id="c", public_url=nowhere)) as one:
        yield one


@pytest.fixture(scope="module")
def branch(running: Service) -> str:
    """A chat of somebody's, in the first tenant."""
    return Visitor(running, *SCOPES, actor="owner").start(CANARY)


def filled(row: str, branch: str) -> tuple[str, str]:
    method, path = row.split(" ")
    return method, path.format(branch=branch, turn=2, number=0, token="t", digest="d", name="n")


def test_every_route_has_a_row(running: Service) -> None:
    native = {f"{one.method} {one.path}" for one in ENDPOINTS}
    routes = {
        f"{method} {route.path}"
        for route in running.serving.app.app.routes
        for method in route.methods - {"HEAD"}
    }  # fmt: skip
    assert routes - native == ROWS.keys()


@pytest.mark.parametrize("row", [row for row, scopes in ROWS.items() if scopes is not ANYBODY])
def test_nobody_opens_a_page_and_no_key_of_a_program_does(row: str, running: Service, branch: str) -> None:
    method, path = filled(row, branch)
    headers = {"origin": running.url, "x-lastresort-page": "1"}
    for key in ({}, {"lastresort-key": running.key(*SCOPES)}):
        answer = httpx2.request(method, running.url + path, headers={**headers, **key}, json={}, timeout=30)
        assert answer.status_code in REFUSED, (answer.status_code, answer.text[:300])
        assert answer.status_code != 303 or answer.headers["location"] == "/sign-in"
        assert CANARY not in answer.text


@pytest.mark.parametrize("scope", SCOPES)
def test_a_page_opens_for_those_scopes_that_its_row_names(scope: str, running: Service, branch: str) -> None:
    visitor = Visitor(running, scope, actor="owner")
    for row, scopes in ROWS.items():
        if scopes is ANYBODY:
            continue
        method, path = filled(row, branch)
        answer = visitor.ask(method, path, **({"json": BODIES.get(row, {})} if method == "POST" else {}))
        told = (row, scope, answer.status_code, answer.text[:300])
        assert (answer.status_code == 403) is (scope not in scopes), told
        assert answer.status_code < 500, told


@pytest.mark.parametrize("row", [row for row in ROWS if "{branch}" in row])
def test_what_is_another_tenant_s_or_another_person_s_is_as_unknown_as_what_is_not_there(
    row: str, running: Service, branch: str
) -> None:
    """In the chat of another person too: the inspector of the same tenant is for those who look at everybody's."""
    strangers = [Visitor(running, *SCOPES, actor="owner", tenant=OTHER)]
    if row.split(" ")[1].startswith("/chat"):
        strangers.append(Visitor(running, *SCOPES, actor="somebody"))
    for stranger in strangers:
        answers = []
        for one in (branch, "0" * len(branch)):
            method, path = filled(row, one)
            answer = stranger.ask(
                method, path, **({"json": BODIES.get(row, {"content": "Hello."})} if method == "POST" else {})
            )
            answers.append((answer.status_code, answer.text.replace(one, "")))
            assert CANARY not in answer.text
        assert answers[0] == answers[1]
        assert answers[0][0] in (404, 422), answers[0]
