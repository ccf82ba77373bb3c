"""What events say beside words, users and numbers of tokens: by that a state is known that was written or read before.

Few events are new. Somebody speaks again, another turn is found harmless, an answer took other tokens. What is the same
in all of them is written out, and read back, once.
"""

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from lastresort.domain.events import (
    AssistantTurnTaken,
    AttemptRefused,
    EventBase,
    HopeExhausted,
    RedirectionAttempted,
    TurnAssessed,
    UserTurnTaken,
    WarningGiven,
)
from lastresort.domain.values import Actor, ActorKind, Usage, with_field, with_fields

MOST_TOKENS = 2**53
BY_A_USER = b'{"by":{"kind":"user","id":"'
"""How the state of an event begins that is by a user, but for the few kinds whose fields come in another order."""
_PLAIN = re.compile(rb"[!#-\[\]-~]{1,128}")  # an id that is in JSON as it is: without a quotation mark and a backslash
_SOMEBODY = Actor(kind=ActorKind.USER, id="somebody")
_MOST_USERS = 20_000
_COUNTED = re.compile(rb'(.*"usage":\{"input_tokens":)(0|[1-9][0-9]{0,15}),"output_tokens":(0|[1-9][0-9]{0,15})\}\}')

Said = tuple[Any, ...]


class _Counts:
    """Stands for tokens, in what an answer says beside their number."""


def said(event: EventBase) -> Said | None:
    """Return all that an event says beside the digest of its words, and how many tokens it took.

    None if it is of a kind that hardly ever says the same again.

    Raises:
        AttributeError, TypeError: the event was made by a way round the checks of its type.
    """
    kind = type(event)
    says = _SAYS.get(kind)
    if says is None:
        return None
    by = event.by
    return (kind, by.kind, by.id, *says(event))


def _answered(event: Any) -> Said:
    usage = event.usage
    return event.model, event.stop_reason, usage if usage is None else _Counts


def _of(*fields: str) -> Callable[[Any], Said]:
    """Return what takes fields of an event, with their classes: a number of another may be as large, and is not it."""
    values = attrgetter(*fields, "kind")

    def says(event: Any) -> Said:
        taken: Said = values(event)
        return taken + tuple(map(type, taken))

    return says


_SAYS: dict[type[EventBase], Callable[[Any], Said]] = {
    UserTurnTaken: lambda event: (),
    AssistantTurnTaken: _answered,
    TurnAssessed: _of("verdict", "category", "severity", "risk", "turn", "about"),
    RedirectionAttempted: _of("turn", "answers"),
    WarningGiven: _of("turn", "seen", "category", "names_behaviour", "redirects", "states_consequence"),
    HopeExhausted: _of("turn"),
    AttemptRefused: lambda event: (event.attempted, event.rules, *map(type, event.rules)),
}

WORDED = frozenset({UserTurnTaken, AssistantTurnTaken})
"""The kinds of these that stand for words."""


# --- Users ------------------------------------------------------------------------------------------------------------


class Users:
    """Users by their names. Nearly every conversation has one of its own, who says the same as those of others."""

    def __init__(self) -> None:
        self._known: dict[bytes, Actor] = {}

    def divide(self, state: bytes) -> tuple[Actor, bytes] | None:
        """Divide what begins with `BY_A_USER` into the user and what comes behind their name.

        None if that is to be read with every check.
        """
        start = len(BY_A_USER)
        end = state.find(b'"', start)
        name = state[start:end]
        by = self._known.get(name)
        if by is None:
            if not _PLAIN.fullmatch(name):
                return None
            if len(self._known) >= _MOST_USERS:
                self._known.clear()
            by = self._known[name] = with_field(_SOMEBODY, "id", name.decode())
        return by, state[end:]


# --- Tokens -----------------------------------------------------------------------------------------------------------


def without_tokens(event: EventBase, state: bytes) -> bytes | None:
    """Return what of the state of an event is the same for all of which `said` says the same; None if it is no such."""
    if type(event) is not AssistantTurnTaken or event.usage is None:
        return state
    counted = split(state)
    return None if counted is None else counted[0]


def with_tokens(event: Any, known: bytes) -> bytes | None:
    """Return the state of an event of which `known` is the same in others; None if its tokens are no numbers."""
    if type(event) is not AssistantTurnTaken or event.usage is None:
        return known
    usage = event.usage
    if type(usage) is not Usage:
        return None
    taken, given = usage.input_tokens, usage.output_tokens
    if not (type(taken) is int and type(given) is int and 0 <= taken <= MOST_TOKENS and 0 <= given <= MOST_TOKENS):
        return None
    return b'%b%d,"output_tokens":%d}}' % (known, taken, given)


def split(state: bytes) -> tuple[bytes, int, int] | None:
    """Divide what an answer says into what comes before its tokens and these; None if that is not its form."""
    found = _COUNTED.fullmatch(state)
    if found is None:
        return None
    head, taken, given = found[1], int(found[2]), int(found[3])
    return (head, taken, given) if taken <= MOST_TOKENS and given <= MOST_TOKENS else None


def counting(event: Any, taken: int, given: int, **fields: object) -> Any:
    """Return a copy of an answer that took other tokens, and has other `fields`, which need no look."""
    usage = with_fields(event.usage, {"input_tokens": taken, "output_tokens": given})
    return with_fields(event, {"usage": usage, **fields})
