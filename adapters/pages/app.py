"""The pages of a service: an app that has them serves people who open it in a browser."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from lastresort.adapters.service import problems
from lastresort.adapters.service.people import LINK
from lastresort.adapters.service.problems import KINDS, Failed
from lastresort.adapters.service.tenants import Caller

from . import chat, inspect_branch, inspect_jobs, inspect_lists, inspect_reports, proofs
from .rendering import page, static
from .texts import direction, language_of, said_in
from .visitors import NotForYou, SignInFirst, Visitor, sign_in_first

_TITLES = {
    "not-found": "There is nothing here", "not-allowed": "This is not open to you",
    "other-origin": "Another page sent this", "invalid": "Something is wrong in this address",
    "internal": "Something went wrong here",
}  # fmt: skip
"""What people are told in place of what programs are."""
_BACK = {"link": "/", "label": "Go to the start"}
_OF_PROGRAMS = ("/api/", "/v1/")


def install(app: FastAPI) -> None:
    """Have an app serve the pages beside what it serves."""
    app.add_exception_handler(SignInFirst, sign_in_first)
    app.add_exception_handler(NotForYou, _not_for_you)
    for kind in (Failed, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _told(app.exception_handlers[kind]))
    for path, run in (
        ("/", _home), ("/sign-in", _sign_in), (LINK + "{token}", _link), ("/static/{digest}/{name}", static),
    ):  # fmt: skip
        app.add_api_route(path, run, methods=["GET"], include_in_schema=False, response_model=None)
    for room in (chat, inspect_lists, inspect_branch, inspect_jobs, inspect_reports, proofs):
        room.install(app)


def _home(caller: Visitor) -> Response:
    if caller.key.names("converse"):
        return RedirectResponse("/chat", 303)
    return RedirectResponse("/inspect" if caller.key.may_any(("audit", "operate")) else "/inspect/queue", 303)


def _sign_in(request: Request) -> Response:
    caller: Caller | None = request.state.caller
    if caller is not None and caller.since is not None:
        return RedirectResponse("/", 303)
    house = request.app.state.house
    oidc = house.config.oidc is not None
    sentences: tuple[str, ...]
    if oidc:
        sentences = ("Your organisation lets you in.",)
    elif house.people.has_standing_link():
        sentences = ("To come back in, open the link from the terminal again: it works for as long as this runs.",)
    else:
        sentences = (
            "This service has no passwords. It lets you in by a link that works once.",
            "The person who started it finds one in the terminal, until it was used; an administrator can make you "
            "another, and so can starting it again.",
        )
    link, label = ("/auth/oidc", "Sign in") if oidc else (None, None)
    return page("told.html", title="Sign in", sentences=sentences, link=link, label=label)


def _link(token: str, request: Request) -> Response:
    """Show a button: what only looks at links, as scanners of mail do, uses none up."""
    language = language_of(request)
    say = said_in(language)
    stands = request.app.state.house.people.stands(token)
    told = say.link_stands if stands else say.link_once
    return page("sign_in.html", say=say, told=told, language=language, direction=direction(language))


def _told(to_programs: Callable[..., Any]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return what tells people of a problem by a page, and programs as before."""

    async def told(request: Request, error: Exception) -> Response:
        path: str = request.scope["path"]
        if path.startswith(_OF_PROGRAMS) or "text/html" not in request.headers.get("accept", ""):
            answered: Response = await to_programs(request, error)
            return answered
        kind, detail = "internal", None
        if isinstance(error, Failed):
            kind, detail = error.kind, error.detail
        elif isinstance(error, HTTPException):
            kind = problems.kind_of(error)
        elif isinstance(error, RequestValidationError):
            first = problems.wrong(error.errors()[0])
            kind, detail = "invalid", f"{first['where'].rpartition('.')[2]}: {first['what']}"
        status, title = KINDS[kind]
        sentences = () if detail is None else (f"{detail[0].upper()}{detail[1:]}.",)
        shown = page("told.html", status=status, title=_TITLES.get(kind, title), sentences=sentences, **_BACK)
        if kind == "internal":
            shown.headers.update(problems.LAST)
        return shown

    return told


async def _not_for_you(request: Request, error: Exception) -> Response:
    return page("told.html", status=403, title=_TITLES["not-allowed"], sentences=(str(error),), **_BACK)
