"""The pages of a service: an app that has them serves people who open it in a browser."""

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from lastresort.adapters.service.tenants import Caller

from . import chat, inspect_branch, inspect_jobs, inspect_lists
from .rendering import page, static
from .visitors import NotForYou, SignInFirst, Visitor, sign_in_first


def install(app: FastAPI) -> None:
    """Have an app serve the pages beside what it serves."""
    app.add_exception_handler(SignInFirst, sign_in_first)
    app.add_exception_handler(NotForYou, _not_for_you)
    for path, run in (("/", _home), ("/sign-in", _sign_in), ("/static/{digest}/{name}", static)):
        app.add_api_route(path, run, methods=["GET"], include_in_schema=False, response_model=None)
    for room in (chat, inspect_lists, inspect_branch, inspect_jobs):
        room.install(app)


def _home(caller: Visitor) -> Response:
    return RedirectResponse("/chat" if caller.key.names("converse") else "/inspect", 303)


def _sign_in(request: Request) -> Response:
    caller: Caller | None = request.state.caller
    if caller is not None and caller.since is not None:
        return RedirectResponse("/", 303)
    oidc = request.app.state.house.config.oidc is not None
    sentences = (
        ("Your organisation lets you in.",) if oidc else
        ("This service has no passwords. It lets you in by a link that works once.",
         "The person who started it finds one in the terminal; an administrator can make you another.")
    )  # fmt: skip
    link, label = ("/auth/oidc", "Sign in") if oidc else (None, None)
    return page("told.html", title="Sign in", sentences=sentences, link=link, label=label)


async def _not_for_you(request: Request, error: Exception) -> Response:
    return page(
        "told.html", status=403, title="This is not open to you", sentences=(str(error),), link="/", label="Go back"
    )
