"""The states of a log's events as they come in, few of which are new.

What an event says beside words and names is said again and again. A reader of lines returns the same object for what it
knows again; so here an object is written once, and what differs in names alone is put together from what was written.
"""

import re
from itertools import chain, zip_longest
from typing import Any

from lastresort.domain.events import ConversationStarted, EventBase, UserTurnTaken
from lastresort.domain.values import Actor, ActorKind

from .codec import ALL_BUT_NAMES, BEGINNING, PREFIX, Encoding, is_digest

_MOST_KNOWN = 4_000
"""Events that are known, and as many beginnings: what bounds memory."""
_PLAIN = re.compile(r"[!#-\[\]-~]{1,128}")  # an id that is in JSON as it is

State = tuple[bytes, bytes | None]
"""The state of an event's row, and the digest of its words."""


class KnownStates:
    """Writes events, as `Encoding.written` does, for as long as one log comes in.

    Args:
        encoding: writes what is new, and sees that it can be read again.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._known: dict[int, tuple[EventBase, State]] = {}  # by `id`, which is theirs while they are kept here
        self._beginnings: dict[tuple[Any, ...], tuple[object, tuple[bytes, ...]]] = {}  # with the policy, for its `id`
        self._user_said: tuple[bytes, ...] = ()  # before and behind the user's name

    def written(self, event: EventBase) -> State:
        """Return the state of an event that is to be kept for ever, and the digest of its words.

        Raises:
            ValueError: it could not be read again: it was made by a way round its type's checks.
        """
        known = self._known.get(id(event))
        if known is not None:
            return known[1]
        kind = type(event)
        if kind is UserTurnTaken:
            return self._said(event)
        if kind is ConversationStarted:
            return self._beginning(event)
        state = self._encoding.written(event)
        if state[1] is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[id(event)] = event, state
        return state

    def _said(self, event: Any) -> State:
        """Write what a user said, which differs in the user's name and in the digest."""
        by, content = event.by, event.content
        if type(by) is not Actor or by.kind is not ActorKind.USER or not (_is_plain(by.id) and is_digest(content)):
            return self._encoding.written(event)
        if not self._user_said:
            state, _ = self._encoding.written(event)
            self._user_said = tuple(state.split(b'"id":"%b"' % by.id.encode()))
        before, behind = self._user_said
        return b'%b"id":"%b"%b' % (before, by.id.encode(), behind), bytes.fromhex(content[len(PREFIX) :])

    def _beginning(self, event: Any) -> State:
        """Write what begins a conversation, which differs in names from others under one policy."""
        if not _is_plainly_begun(event):
            return self._encoding.written(event)
        names = event.by.id, event.conversation, event.account, event.arm
        key = id(event.policy), event.policy_hash, event.by.kind, event.model, event.law, event.mode
        if (known := self._beginnings.get(key)) is None:
            state = self._encoding.written(event)
            if (parts := BEGINNING.fullmatch(state[0])) is not None:
                if len(self._beginnings) >= _MOST_KNOWN:
                    self._beginnings.clear()
                self._beginnings[key] = event.policy, parts.group(*ALL_BUT_NAMES)
            return state
        pieces = *known[1][:4], (known[1][4] or b"") + b"}"
        quoted = [b"null" if name is None else b'"%b"' % name.encode() for name in names]
        return b"".join(chain.from_iterable(zip_longest(pieces, quoted, fillvalue=b""))), None


def _is_plainly_begun(event: Any) -> bool:
    """Whether what differs in a beginning are names as they are in JSON, and all else is what it seems to be."""
    if type(event.by) is not Actor or type(event.law) is not int:
        return False
    texts = event.model, event.policy_hash
    needed, may_be_null = (event.by.id, event.conversation), (event.account, event.arm)
    named = all(map(_is_plain, needed)) and all(name is None or _is_plain(name) for name in may_be_null)
    return named and all(type(text) is str for text in texts)


def _is_plain(name: object) -> bool:
    return type(name) is str and _PLAIN.fullmatch(name) is not None
