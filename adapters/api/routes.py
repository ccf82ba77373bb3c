"""The table of routes: of each, who may call it and what it gives. The OpenAPI description and the tests of scopes are
made of it, so a route that is not in it does not exist.
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Depends, Header, Path, Request

from lastresort.adapters.service.people import FRESH
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import Caller, House
from lastresort.application.arguments import checked_command_id
from lastresort.application.chat import Chat
from lastresort.domain.values import Actor

F = TypeVar("F", bound=Callable[..., Any])
_ID = r"^[!-.0-~]{1,128}$"  # an id, without a slash, which no address could carry in one piece

WORDS_TOO = ("converse", "audit", "operate")
"""Who may read, and with `words` read words too."""


class Endpoint(NamedTuple):
    """A route of the native API. A key needs one of `scopes`; none, if any key will do.

    `whole`: it tells of the whole tenant, so a key that is bound to an account does not have it.
    """

    method: str
    path: str
    run: Callable[..., Any]
    scopes: tuple[str, ...]
    returns: Any
    streams: bool = False
    status: int = 200
    whole: bool = False


ENDPOINTS: list[Endpoint] = []


def endpoint(
    method: str, path: str, *scopes: str, returns: Any, streams: bool = False, status: int = 200, whole: bool = False
) -> Callable[[F], F]:
    """Add a route to the table."""

    def add(run: F) -> F:
        ENDPOINTS.append(Endpoint(method, f"/api/v1{path}", run, scopes, returns, streams, status, whole))
        return run

    return add


def may_call(scopes: tuple[str, ...], whole: bool) -> Callable[[Request], None]:
    """Return the check that a key has one of these scopes, and is bound to no account if a route is of the `whole`."""

    def check(request: Request) -> None:
        caller: Caller = request.state.caller
        if scopes and not caller.key.may_any(scopes):
            raise Failed("not-allowed", f"this needs one of the scopes: {', '.join(scopes)}")
        if whole and caller.key.rights.account is not None:
            raise Failed("not-allowed", "this tells of all accounts, and the key is bound to one")
        if caller.since is not None and request.method == "POST" and not {*scopes} - _GRAVE:
            house: House = request.app.state.house
            if house.now() - caller.since > FRESH:
                raise Failed("sign-in-again", "this needs somebody who signed in within the last 15 minutes")

    return check


_GRAVE = {"operate", "admin"}


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def _house(request: Request) -> House:
    house: House = request.app.state.house
    return house


def _command(idempotency_key: Annotated[str | None, Header(pattern=r"^[!-~]{1,128}$")] = None) -> str | None:
    return None if idempotency_key is None else checked_command_id(idempotency_key)


By = Annotated[Caller, Depends(_caller)]
Here = Annotated[House, Depends(_house)]
Command = Annotated[str | None, Depends(_command)]
Branch = Annotated[str, Path(pattern=_ID)]
Name = Annotated[str, Path(pattern=_ID)]


def chat_of(caller: Caller, branch: str) -> Chat:
    """Return a handle on a branch that a caller may see. What is not theirs is as unknown as what is not there.

    A key that converses for one account sees that account's branches alone.
    """
    return caller.tenant.conversations.chat(branch, account=caller.key.rights.account)


def acting(caller: Caller, chat: Chat, *families: str) -> Actor:
    """Return whom a caller acts as on a branch: it follows from the key."""
    return caller.key.actor(families, model=chat.model.id, user=chat.user.id)
