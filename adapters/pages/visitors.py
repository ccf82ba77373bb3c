"""Who opens a page: a person who has signed in. A key of a program opens none.

A person in the chat sees what they said themselves, and what was answered to them, without the scope `words`: that is
for reading what others said.
"""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from lastresort.adapters.service.tenants import Caller, House
from lastresort.application.chat import Chat


class SignInFirst(Exception):
    """Nobody has signed in."""


class NotForYou(Exception):
    """Somebody has signed in who may not open a page."""


def house_of(request: Request) -> House:
    """Return what the service holds."""
    house: House = request.app.state.house
    return house


def _visitor(request: Request) -> Caller:
    caller: Caller | None = request.state.caller
    if caller is None or caller.since is None:
        raise SignInFirst
    return caller


def _talker(caller: Annotated[Caller, Depends(_visitor)]) -> Caller:
    if caller.key.names("converse") is None:
        raise NotForYou("The chat is for people who have the scope converse.")
    return caller


def _auditor(caller: Annotated[Caller, Depends(_visitor)]) -> Caller:
    if not caller.key.may_any(("audit", "operate")) or caller.key.rights.account is not None:
        raise NotForYou("The inspector is for people who have the scope audit or operate, and are bound to no account.")
    return caller


def _reviewer(caller: Annotated[Caller, Depends(_visitor)]) -> Caller:
    if not caller.key.may_any(("audit", "operate", "assess")) or caller.key.rights.account is not None:
        raise NotForYou(
            "The queue is for people who have the scope audit, operate or assess, and are bound to no account."
        )
    return caller


Visitor = Annotated[Caller, Depends(_visitor)]
Talker = Annotated[Caller, Depends(_talker)]
Auditor = Annotated[Caller, Depends(_auditor)]
Reviewer = Annotated[Caller, Depends(_reviewer)]
Here = Annotated[House, Depends(house_of)]


def account_of(caller: Caller) -> str:
    """Return the account that a person talks under."""
    return caller.key.rights.account or caller.key.rights.actor


def own_chat(caller: Caller, branch: str) -> Chat:
    """Return a chat of the person's own. Somebody else's is as unknown as one that does not exist."""
    return caller.tenant.conversations.chat(branch, account=account_of(caller))


async def sign_in_first(_: Request, error: Exception) -> Response:
    """Send visitors who have not signed in to where that is explained."""
    return RedirectResponse("/sign-in", 303)
