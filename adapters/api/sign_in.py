"""Signing in with a browser: by a link that opens once, or by an OpenID provider. No passwords of our own.

A session is a cookie that scripts cannot read and other sites cannot use: what comes with one and writes has to come
from a page of this service, as its `Origin` and a header of its own say.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc6749 import OAuth2Error
from authlib.oidc.core import CodeIDToken
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from httpx2 import HTTPError
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.concurrency import run_in_threadpool

from lastresort.adapters.service.config import OpenID
from lastresort.adapters.service.keys import Rights
from lastresort.adapters.service.people import COOKIE, LASTS, LINK, Person
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import OWN, House

HOME = "/"
"""Where people come to who have signed in."""
PAGE_HEADER = b"x-lastresort-page"
"""The header that a page of this service sends with what writes. A page of another site cannot: no CORS is granted."""
STATE_COOKIE = "__Host-lastresort-state"
_STATE_LASTS = timedelta(minutes=10)
_WAIT = 10.0
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_CSP = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_SAFE = {"cache-control": "no-store", "content-security-policy": _CSP}


def install(app: FastAPI, house: House) -> None:
    """Have an app let people in."""

    async def follow(token: str, request: Request) -> Response:
        check_same_origin(dict(request.headers.raw))
        session = await run_in_threadpool(lambda: house.people.follow(token, now=house.now()))
        if session is None:
            raise Failed("not-found", "this link opens nothing: it was used, or is older than ten minutes")
        return _signed_in(session)

    async def out(request: Request) -> Response:
        check_same_origin(dict(request.headers.raw))
        await run_in_threadpool(house.people.sign_out, request.cookies.get(COOKIE, ""))
        response = RedirectResponse(HOME, 303, _SAFE)
        response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax")
        return response

    for path, run in ((LINK + "{token}", follow), ("/auth/out", out)):
        app.add_api_route(path, run, methods=["POST"], include_in_schema=False)
    if house.config.oidc is not None:
        provider = Provider(house, house.config.oidc)
        app.add_api_route("/auth/oidc", provider.begin, methods=["GET"], include_in_schema=False)
        app.add_api_route("/auth/oidc/back", provider.back, methods=["GET"], include_in_schema=False)


def check_same_origin(headers: Mapping[bytes, bytes]) -> None:
    """Check that a page of this service sent something.

    Raises:
        Failed: another one did, or nobody says.
    """
    origin, host = headers.get(b"origin", b"").lower(), headers.get(b"host", b"").lower()
    if not host or origin not in (b"https://" + host, b"http://" + host):
        raise Failed("other-origin", "origin: only pages of this service may send this")


def check_page(headers: Mapping[bytes, bytes], method: str) -> None:
    """Check that what comes with a session comes from a page of this service, if it writes.

    Raises:
        Failed: it does not.
    """
    if method in ("GET", "HEAD"):
        return
    check_same_origin(headers)
    if PAGE_HEADER not in headers:
        raise Failed("other-origin", f"{PAGE_HEADER.decode()}: pages send this header with what they write")


def _signed_in(session: str) -> Response:
    response = RedirectResponse(HOME, 303, _SAFE)
    response.set_cookie(COOKIE, session, max_age=int(LASTS.total_seconds()), secure=True, httponly=True, samesite="lax")
    return response


class Provider:
    """An OpenID provider: the code flow with PKCE, a state that is bound to the browser, and a nonce."""

    def __init__(self, house: House, config: OpenID) -> None:
        self._house, self._config = house, config
        self._about: dict[str, Any] | None = None

    def _client(self) -> AsyncOAuth2Client:
        secret = os.environ.get(self._config.client_secret_env) or None
        return AsyncOAuth2Client(
            self._config.client_id, secret, scope="openid", code_challenge_method="S256", timeout=_WAIT,
            redirect_uri=f"{self._config.public_url}/auth/oidc/back", follow_redirects=False, trust_env=False,
        )  # fmt: skip

    async def _told(self, client: AsyncOAuth2Client) -> dict[str, Any]:
        """Return what the provider says of itself."""
        if self._about is None:
            issuer = self._config.issuer.rstrip("/")
            answer = await client.request("GET", f"{issuer}/.well-known/openid-configuration", withhold_token=True)
            answer.raise_for_status()
            about = answer.json()
            if about.get("issuer", "").rstrip("/") != issuer:
                raise Failed("upstream", "the OpenID provider says that it is another issuer")
            self._about = about
        return self._about

    async def begin(self) -> Response:
        """Send a browser to the provider."""
        state, nonce, verifier = generate_token(43), generate_token(43), generate_token(64)
        try:
            async with self._client() as client:
                about = await self._told(client)
                url, _ = client.create_authorization_url(
                    about["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
                )
        except (HTTPError, OAuth2Error, ValueError, KeyError):
            raise Failed("upstream", "the OpenID provider cannot be asked") from None
        await run_in_threadpool(self._keep, state, nonce, verifier)
        response = RedirectResponse(url, 303, {"cache-control": "no-store"})
        seconds = int(_STATE_LASTS.total_seconds())
        response.set_cookie(STATE_COOKIE, state, max_age=seconds, secure=True, httponly=True, samesite="lax")
        return response

    def _keep(self, state: str, nonce: str, verifier: str) -> None:
        self._house.people.expect(state, f"{nonce}.{verifier}", now=self._house.now(), lasts=_STATE_LASTS)

    async def back(self, request: Request) -> Response:
        """Take a browser back that the provider sent, and sign its person in."""
        state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
        mine = request.cookies.get(STATE_COOKIE, "")
        if not state or not hmac.compare_digest(state.encode(), mine.encode()):
            raise Failed("other-origin", "state: this browser did not begin to sign in here, or too long ago")
        kept = await run_in_threadpool(lambda: self._house.people.expected(state, now=self._house.now()))
        if kept is None or not code:
            raise Failed("not-allowed", "the OpenID provider let nobody in, or this was used before")
        nonce, _, verifier = kept.partition(".")
        try:
            subject = await self._subject(code, nonce, verifier)
        except (HTTPError, OAuth2Error, OAuthError, JoseError, ValueError, KeyError):
            raise Failed("not-allowed", "what the OpenID provider says of this person does not hold") from None
        session = await run_in_threadpool(self._let_in, subject)
        if session is None:
            raise Failed("not-allowed", "this person may not sign in here; an administrator can let them")
        response = _signed_in(session)
        response.delete_cookie(STATE_COOKIE, secure=True, httponly=True, samesite="lax")
        return response

    async def _subject(self, code: str, nonce: str, verifier: str) -> str:
        async with self._client() as client:
            about = await self._told(client)
            token = await client.fetch_token(about["token_endpoint"], code=code, code_verifier=verifier)
            answer = await client.request("GET", about["jwks_uri"], withhold_token=True)
            answer.raise_for_status()
        known = KeySet.import_key_set(answer.json())
        read = jwt.decode(token["id_token"], known, algorithms=_ALGORITHMS)
        claims = CodeIDToken(
            read.claims, read.header,
            options={"iss": {"value": about["issuer"]}, "aud": {"value": self._config.client_id}},
            params={"nonce": nonce, "client_id": self._config.client_id},
        )  # fmt: skip
        claims.validate(now=int(self._house.now().timestamp()), leeway=60)
        return str(claims["sub"])

    def _let_in(self, subject: str) -> str | None:
        house, digest = self._house, self._house.subject_digest(subject)
        person = house.people.known(digest)
        if person is None and self._config.enrol:
            person = self._enrolled(digest)
        return None if person is None else house.people.sign_in(person, now=house.now())

    def _enrolled(self, digest: str) -> Person:
        account = hashlib.sha256(digest.encode()).hexdigest()[:24]
        rights = Rights(scopes=self._config.enrol, actor=f"person-{account}", account=f"person-{account}")
        person = self._house.people.make(OWN, rights, subject=digest, now=self._house.now())
        self._house.log.note("person.enrolled", who="oidc", tenant=OWN, target=person.id, now=self._house.now())
        return person
