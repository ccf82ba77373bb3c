"""People who sign in with a browser: by a link that opens once, and by a real OpenID provider on this machine."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from oidc_provider_mock import User, run_server_in_thread

from lastresort.adapters.api.sign_in import STATE_COOKIE
from lastresort.adapters.service.config import OpenID
from lastresort.adapters.service.people import COOKIE

from .web_kit import OTHER, Service, service, started

# The provider speaks to its library as an earlier version of that wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning")


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service() as one:
        yield one


class Browser:
    """What a browser does with cookies, on a page of the service: plain HTTP clients send no secure ones to it."""

    def __init__(self, running: Service) -> None:
        self._client = httpx2.Client(base_url=running.url)
        self.cookies: dict[str, str] = {}
        self.origin = running.url
        running.closing.append(self._client)

    def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        headers |= {"origin": self.origin, "x-lastresort-page": "1"} if method != "GET" else {}
        answer = self._client.request(method, path, headers=headers | more.pop("headers", {}), **more)
        for one in answer.headers.get_list("set-cookie"):
            assert all(part in one for part in ("Secure", "HttpOnly", "SameSite=lax", "Path=/")), one
            name, _, value = one.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return answer


def person(running: Service, *scopes: str, **more: Any) -> tuple[httpx2.Client, str]:
    admin = running.client("admin", tenant=more.pop("tenant", "default"))
    running.closing.append(admin)
    made = admin.post("/api/v1/admin/people", json={"scopes": scopes, "actor": "desk-1", **more})
    assert made.status_code == 201, made.text
    return admin, made.json()["id"]


def signed_in(running: Service, *scopes: str, **more: Any) -> Browser:
    admin, id = person(running, *scopes, **more)
    path = admin.post(f"/api/v1/admin/people/{id}/link", json={}).json()["path"]
    browser = Browser(running)
    assert browser.ask("POST", path).status_code == 303
    return browser


def test_a_link_signs_in_once_and_not_by_being_looked_at(running: Service) -> None:
    admin, id = person(running, "audit")
    path = admin.post(f"/api/v1/admin/people/{id}/link", json={}).json()["path"]
    browser = Browser(running)
    for _ in range(2):
        looked_at = browser.ask("GET", path)
        assert (looked_at.status_code, browser.cookies) == (200, {})
        assert "default-src 'none'" in looked_at.headers["content-security-policy"]
    elsewhere = browser.ask("POST", path, headers={"origin": "http://evil.example"})
    assert (elsewhere.status_code, browser.cookies) == (403, {})
    assert browser.ask("POST", path).status_code == 303
    whoami = browser.ask("GET", "/api/v1/whoami").json()
    assert (whoami["actor"], whoami["scopes"]) == ("desk-1", ["audit"])
    assert Browser(running).ask("POST", path).status_code == 404


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": ""}, {"x-lastresort-page": None}]
)
def test_item_20_what_another_page_sends_is_not_carried_out(running: Service, headers: dict[str, Any]) -> None:
    browser = signed_in(running, "converse")
    sent = {"origin": browser.origin, "x-lastresort-page": "1"} | headers
    cookie = {"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
    kept = {name: value for name, value in (sent | cookie).items() if value is not None}
    answer = httpx2.post(f"{running.url}/api/v1/conversations", json={}, headers=kept)
    assert (answer.status_code, answer.json()["type"].partition("#")[2]) == (403, "other-origin")
    assert browser.ask("POST", "/api/v1/conversations", json={}).status_code == 201


def test_item_20_no_other_origin_is_granted_anything(running: Service) -> None:
    browser = signed_in(running, "audit")
    for method in ("GET", "OPTIONS"):
        answer = browser.ask(method, "/api/v1/whoami", headers={"origin": "http://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]


MARKUP = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "</form><svg/onload=alert(1)>",
)


@pytest.mark.parametrize("words", MARKUP)
def test_item_21_words_that_are_markup_are_data_and_the_page_of_a_link_repeats_nothing(
    running: Service, words: str
) -> None:
    """In turns, titles, feedback and what is asked for: JSON, and nothing that a browser takes for a page."""
    browser = signed_in(running, "converse", "words", "admin")
    branch = browser.ask("POST", "/api/v1/conversations", json={}).json()["branch"]
    path = f"/api/v1/branches/{branch}"
    answers = [
        browser.ask("POST", f"{path}/turns", json={"content": words, "answer": False}),
        browser.ask("POST", f"/api/v1/conversations/{branch}/metadata", json={"title": words, "tags": [words]}),
        browser.ask("POST", f"{path}/feedback", json={"rating": "up", "content": words}),
        browser.ask("POST", "/api/v1/admin/people", json={"scopes": [words], "actor": "x"}),
        browser.ask("GET", f"{path}/transcript"),
        browser.ask("GET", "/api/v1/conversations", params={"titles": True, "model": words}),
        browser.ask("GET", "/api/v1/nothing", params={"x": words}),
    ]
    for one in answers:
        assert one.headers["content-type"] in ("application/json", "application/problem+json")
        assert one.headers["x-content-type-options"] == "nosniff"
    linked = browser.ask("GET", f"/auth/link/{words.replace('/', '')}")
    assert words.replace("/", "") not in linked.text
    assert linked.headers["x-content-type-options"] == "nosniff"


def test_a_session_ends(running: Service) -> None:
    browser = signed_in(running, "audit")
    before = dict(browser.cookies)
    assert browser.ask("POST", "/auth/out", headers={"origin": "http://evil.example"}).status_code == 403
    assert browser.ask("POST", "/auth/out").status_code == 303
    browser.cookies = before
    assert browser.ask("GET", "/api/v1/whoami").status_code == 401
    browser = signed_in(running, "audit")
    admin, id = person(running, "audit")
    other = Browser(running)
    other.ask("POST", admin.post(f"/api/v1/admin/people/{id}/link", json={}).json()["path"])
    admin.post(f"/api/v1/admin/people/{id}/revoke", json={})
    assert other.ask("GET", "/api/v1/whoami").status_code == 401
    assert admin.post(f"/api/v1/admin/people/{id}/link", json={}).status_code == 422
    now = running.house.now
    try:
        running.house.now = lambda: now() + timedelta(hours=13)
        assert browser.ask("GET", "/api/v1/whoami").status_code == 401
    finally:
        running.house.now = now


@pytest.mark.parametrize("cookie", ["", "x", "a" * 43, "' OR 1=1 --"])
def test_a_session_that_is_none_opens_nothing(running: Service, cookie: str) -> None:
    answer = httpx2.get(f"{running.url}/api/v1/whoami", headers={"cookie": f"{COOKIE}={cookie}"})
    assert answer.status_code == 401


def test_what_cannot_be_undone_needs_somebody_who_signed_in_a_moment_ago(running: Service) -> None:
    with running.client() as owner:
        branch = started(owner)
        browser = signed_in(running, "operate", "converse", "admin")
        hold = {"hold": "case", "reason": "other"}
        now = running.house.now
        try:
            running.house.now = lambda: now() + timedelta(minutes=16)
            late = browser.ask("POST", f"/api/v1/branches/{branch}/holds", json=hold)
            assert (late.status_code, late.json()["type"].partition("#")[2]) == (403, "sign-in-again")
            assert browser.ask("POST", f"/api/v1/branches/{branch}/leave", json={}).status_code == 200
            assert browser.ask("GET", "/api/v1/admin/keys").status_code == 200
        finally:
            running.house.now = now
        assert browser.ask("POST", f"/api/v1/branches/{branch}/holds", json=hold).status_code == 200


def test_people_are_of_one_tenant(running: Service) -> None:
    admin, id = person(running, "audit", tenant=OTHER)
    assert [one["id"] for one in admin.get("/api/v1/admin/people").json()["people"]].count(id) == 1
    with running.client() as owner:
        assert owner.post(f"/api/v1/admin/people/{id}/link", json={}).status_code == 404
        assert len(owner.get("/api/v1/admin/tenants").json()) == 2
    assert [one["tenant"] for one in admin.get("/api/v1/admin/tenants").json()] == [OTHER]


def test_who_starts_the_service_gets_a_link(running: Service) -> None:
    for _ in range(2):
        browser = Browser(running)
        url = running.serving.link()
        assert browser.ask("POST", urlsplit(url).path).status_code == 303
        assert browser.ask("GET", "/api/v1/whoami").json()["actor"] == "owner"


# --- by an OpenID provider --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with run_server_in_thread(require_nonce=True, user_claims=(User(sub="ann"), User(sub="bob"))) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def with_provider(provider: str) -> Iterator[Service]:
    config = OpenID(issuer=provider, client_id="lastresort", public_url="http://chats.example", enrol=("converse",))
    with pytest.MonkeyPatch.context() as patch, service(oidc=config) as one:
        patch.setenv("OIDC_CLIENT_SECRET", "secret-of-the-client")
        yield one


def came_back(browser: Browser, subject: str) -> str:
    """Go to the provider, say who one is there, and return the path that it sends back to."""
    sent = browser.ask("GET", "/auth/oidc")
    assert sent.status_code == 303, sent.text
    query = parse_qs(urlsplit(sent.headers["location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"] == ["http://chats.example/auth/oidc/back"]
    agreed = httpx2.post(sent.headers["location"], data={"sub": subject})
    assert agreed.status_code == 302, agreed.text
    back = urlsplit(agreed.headers["location"])
    return f"{back.path}?{back.query}"


def test_a_person_signs_in_by_a_provider_and_has_an_account_of_their_own(with_provider: Service) -> None:
    ann, again, bob = (Browser(with_provider) for _ in range(3))
    for browser, subject in ((ann, "ann"), (again, "ann"), (bob, "bob")):
        assert browser.ask("GET", came_back(browser, subject)).status_code == 303
    branch = ann.ask("POST", "/api/v1/conversations", json={}).json()["branch"]
    assert ann.ask("GET", f"/api/v1/branches/{branch}").status_code == 200
    assert again.ask("GET", f"/api/v1/branches/{branch}").status_code == 200
    assert bob.ask("GET", f"/api/v1/branches/{branch}").status_code == 404
    account = ann.ask("GET", "/api/v1/whoami").json()["account"]
    assert re.fullmatch(r"person-[0-9a-f]{24}", account)


def test_a_person_that_was_made_has_their_own_rights(with_provider: Service) -> None:
    person(with_provider, "audit", subject="carol")
    browser = Browser(with_provider)
    assert browser.ask("GET", came_back(browser, "carol")).status_code == 303
    assert browser.ask("GET", "/api/v1/whoami").json()["scopes"] == ["audit"]
    with with_provider.client("admin") as admin:
        twice = admin.post("/api/v1/admin/people", json={"scopes": ["audit"], "actor": "x", "subject": "carol"})
        assert twice.status_code == 422


def test_what_a_provider_did_not_say_to_this_browser_signs_nobody_in(with_provider: Service) -> None:
    browser, other = Browser(with_provider), Browser(with_provider)
    back = came_back(browser, "ann")
    assert other.ask("GET", back).status_code == 403
    forged = re.sub(r"code=[^&]+", "code=forged", came_back(other, "ann"))
    assert other.ask("GET", forged).status_code == 403
    assert COOKIE not in other.cookies
    assert browser.ask("GET", back).status_code == 303
    browser.cookies[STATE_COOKIE] = parse_qs(urlsplit(back).query)["state"][0]
    assert browser.ask("GET", back).status_code == 403  # it was used
    assert other.ask("GET", "/auth/oidc/back").status_code == 403


def test_a_nonce_of_another_time_signs_nobody_in(with_provider: Service) -> None:
    browser = Browser(with_provider)
    back = came_back(browser, "ann")
    people, now = with_provider.house.people, with_provider.house.now()
    state = parse_qs(urlsplit(back).query)["state"][0]
    _, _, verifier = str(people.expected(state, now=now)).partition(".")
    people.expect(state, f"another.{verifier}", now=now, lasts=timedelta(minutes=1))
    assert browser.ask("GET", back).status_code == 403
    assert COOKIE not in browser.cookies


def test_without_enrolment_nobody_comes_in_who_was_not_made_a_person(provider: str) -> None:
    config = OpenID(issuer=provider, client_id="lastresort", public_url="http://chats.example")
    with service(oidc=config) as running:
        browser = Browser(running)
        assert browser.ask("GET", came_back(browser, "ann")).status_code == 403


def test_a_provider_that_is_not_there_is_a_problem() -> None:
    config = OpenID(issuer="http://127.0.0.1:9", client_id="lastresort", public_url="http://chats.example")
    with service(oidc=config) as running:
        assert Browser(running).ask("GET", "/auth/oidc").status_code == 502
