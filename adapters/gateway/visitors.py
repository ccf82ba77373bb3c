"""Who calls the gateway, and with what: what the service that it is part of tells it of a key."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from lastresort.adapters.followers.tables import Tables
from lastresort.adapters.turns.assessor import AsyncAssessor
from lastresort.application.conversations import Conversations
from lastresort.domain.policy import Policy

from .upstream import Headers


class Visitor(NamedTuple):
    """Who calls.

    Attributes:
        key: the id of their key.
        conversations, tables, policy: of their tenant.
        account: whose conversations they have, if the key is bound to one.
        credentials: what is presented upstream in place of theirs; nothing, if theirs go upstream.
        owns_account: whether what the upstream's account has, files and batches, is theirs to see.
        track: `all`, or `header`: only requests that name a conversation come under the law.
        ended_as: `message` or `error`: how they are told of an ending.
        assessor: gives second opinions.
        used: is told of tokens.
        stream: counts a request while it is answered.
    """

    key: str
    conversations: Conversations
    tables: Tables
    policy: Policy
    account: str | None
    credentials: Headers
    owns_account: bool
    track: str
    ended_as: str
    assessor: AsyncAssessor
    used: Callable[[int], None]
    stream: AbstractContextManager[None]


class Declined(Exception):
    """A request that is not carried out, in the API's own form.

    Attributes:
        status: the status code.
        said: the message.
        headers: more headers.
        details: more of the error.
    """

    def __init__(
        self, status: int, said: str, headers: Mapping[str, str] | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(said)
        self.status, self.said, self.headers, self.details = status, said, dict(headers or {}), dict(details or {})


class Reception(Protocol):
    """Finds out who calls."""

    def __call__(self, headers: Mapping[bytes, bytes], path: str) -> Awaitable[Visitor]:
        """Return who calls. Raises Declined, if they may not."""
        ...
