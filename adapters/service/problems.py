"""What cannot be done, as RFC 9457 has it: `application/problem+json`. None repeats words, or what was passed.

A refusal by the law is none of these: it is a value, recorded, and comes with status 200.
"""

import re
from collections.abc import Container, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from lastresort.adapters.databases.errors import StoreError
from lastresort.application.arguments import NotAllowed
from lastresort.application.outcomes import CommandIdReused, Contention, UnknownBranch, UnknownTurn
from lastresort.application.ports import EventTooLarge, Locked, SealBroken

from .keys import TooMuch

BASE = "https://github.com/lastresort/lastresort/blob/main/docs/reference/service.md#"
KINDS: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "unauthenticated": (401, "No key was presented, or it opens nothing"),
    "not-allowed": (403, "The key may not do this"),
    "sign-in-again": (403, "This needs somebody who signed in a moment ago"),
    "other-origin": (403, "A browser sent this from another page"),
    "not-found": (404, "There is no such thing, or it is not this key's to see"),
    "method": (405, "This address takes another method"),
    "overtaken": (409, "Somebody wrote first"),
    "command-id-reused": (409, "The Idempotency-Key was given to another command"),
    "contended": (409, "Others kept writing first"),
    "too-large": (413, "The request is too large"),
    "invalid": (422, "An argument is wrong"),
    "too-many": (429, "The key has used up what it may"),
    "internal": (500, "This should not happen"),
    "upstream": (502, "The model could not be asked"),
    "store": (503, "The store cannot be read or written now"),
    "stopping": (503, "The service is about to stop"),
}
"""The kinds of problem: status and title."""


class Problem(BaseModel):
    """A problem, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: list[dict[str, str]] | None = None


class Failed(Exception):
    """A request that cannot be carried out."""

    def __init__(
        self,
        kind: str,
        detail: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(detail or kind)
        self.kind, self.detail, self.headers, self.errors = kind, detail, dict(headers or {}), errors


def problem(kind: str, detail: str | None = None, **more: Any) -> dict[str, Any]:
    """Return the body of a problem."""
    status, title = KINDS[kind]
    body = Problem(type=BASE + kind, title=title, status=status, detail=detail, **more)
    return body.model_dump(exclude_none=True)


def answer(kind: str, detail: str | None = None, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
    """Return a problem as a response."""
    body = problem(kind, detail, **more)
    return JSONResponse(body, body["status"], dict(headers or {}), media_type="application/problem+json")


_NO_RETRY = {"x-should-retry": "false"}
_TYPES: dict[type[Exception], tuple[str, dict[str, str]]] = {
    UnknownBranch: ("not-found", {}),
    UnknownTurn: ("invalid", {}),
    CommandIdReused: ("command-id-reused", _NO_RETRY),
    Contention: ("contended", {"retry-after": "1"}),
    Locked: ("store", {"retry-after": "1"}),
    StoreError: ("store", {"retry-after": "1"}),
    EventTooLarge: ("invalid", {}),
    NotAllowed: ("not-allowed", {}),
    SealBroken: ("store", {}),
    ValueError: ("invalid", {}),
}
"""What the house raises, the more special before the more general."""


def of(error: Exception) -> dict[str, Any]:
    """Return what an exception is to a caller: the body of a problem, with `headers` if it has any."""
    kind, detail, headers = _told(error)
    return problem(kind, detail) | ({"headers": dict(headers)} if headers else {})


def _told(error: Exception) -> tuple[str, str | None, Mapping[str, str]]:
    if isinstance(error, Failed):
        return error.kind, error.detail, error.headers
    if isinstance(error, TooMuch):
        return "too-many", str(error), {"retry-after": str(error.retry_after)}
    if isinstance(error, ValidationError):  # what it says of itself repeats what was passed
        return "invalid", "; ".join(sorted({one["type"] for one in error.errors(include_input=False)})), {}
    for kind, (name, headers) in _TYPES.items():
        if isinstance(error, kind):
            # A branch that is not found is not named again; the house's own messages repeat nothing that was passed.
            return name, None if name == "not-found" else str(error), headers
    return "internal", type(error).__name__, {}


def answered(error: Exception) -> JSONResponse:
    """Return an exception as a response."""
    return answer(*_told(error), errors=error.errors if isinstance(error, Failed) else None)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    return answered(error)


LAST = {"connection": "close"}
"""What the server closes after an answer has to say so, or a client asks on a connection that is being closed."""


async def _unforeseen(_: Request, error: Exception) -> JSONResponse:
    kind, detail, headers = _told(error)
    return answer(kind, detail, headers={**headers, **LAST})


def kind_of(error: HTTPException) -> str:
    """Return which kind of problem the framework means by a status."""
    return {404: "not-found", 405: "method", 413: "too-large"}.get(error.status_code, "malformed")


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return answer(kind_of(error), headers=error.headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    if any(one["type"] == "json_invalid" for one in error.errors()):
        return answer("malformed", "the body is not JSON")
    return answer("invalid", errors=[wrong(one) for one in error.errors()])


_NAME = re.compile(r"[\w-]+")  # the models' own names for a choice of types are not


def wrong(one: Any) -> dict[str, str]:
    """Say where and what is wrong; the name of a field that is none of ours may be anything, so it is not repeated."""
    place = [str(part) for part in one["loc"] if _NAME.fullmatch(str(part))]
    if one["type"] == "extra_forbidden":
        named = " `by` is never taken: it follows from the key" if place[-1] == "by" else ""
        return {"where": ".".join([*place[:-1], "?"]), "what": f"there is no such field.{named}"}
    return {"where": ".".join(place), "what": str(one["msg"]).removeprefix("Value error, ")}


def wrong_in(error: ValidationError, where: str, known: Container[str]) -> list[dict[str, str]]:
    """Say where and what is wrong with a part of what was passed, of which these names are known."""
    return [
        {
            "where": ".".join([where, *(str(part) if part in known else "?" for part in one["loc"][:1])]),
            "what": "there is no such field"
            if one["type"] == "extra_forbidden"
            else f"not as it should be: {one['type']}",
        }
        for one in error.errors(include_url=False, include_input=False)
    ]


def install(app: FastAPI) -> None:
    """Have an app answer with problems."""
    for kind in (Failed, TooMuch, *_TYPES):
        app.add_exception_handler(kind, _failed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)
    app.add_exception_handler(RequestValidationError, _invalid)
