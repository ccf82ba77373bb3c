"""The system prompt and the tools that a conversation began with, and goes on with.

They are kept with its first answer, and sent as they were then, byte for byte: otherwise no prompt cache would cover
what follows them. What the embedder passes later may differ where it makes no difference: the order of keys, a prompt
as text or as a block of text, and marks for the cache, which the embedder may set differently at any time.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lastresort.adapters.turns.tools import CALLS, THREATENS

from .words import MARK, Block, carried, digest, plain

OnChange = Literal["refuse", "keep"]
StoredSetup = Mapping[str, Any]


class SetupChanged(ValueError):
    """The system prompt or the tools differ from those that the conversation began with."""


class Setup:
    """The system prompt and the tools of a conversation: ours first, then the embedder's."""

    def __init__(self, system: Any, tools: Sequence[Block], own: Sequence[Block], on_change: OnChange) -> None:
        self._system, self._theirs = carried(plain(system)), carried(plain(list(tools)))
        self._own = list(own)
        self._tools = [*own, *self._theirs]
        self._digest = digest([self._system, self._theirs])
        self._on_change = on_change

    def stored(self) -> dict[str, Any]:
        """Return it as the first assistant turn keeps it."""
        return {"system": self._system, "tools": self._tools, "theirs": self._digest}

    def resumed(self, stored: StoredSetup | None) -> dict[str, Any]:
        """Return the parameters of a request: as `stored`, so that a newer release changes no conversation.

        Only a conversation that has gone over to shadow mode, or out of it, has its new mode's tools of ours.

        Raises:
            SetupChanged: what the embedder passes means something else than what was stored, and may not.
        """
        if stored is None:
            return _parameters(self._system, self._tools)
        stored = self._in_its_mode(stored)
        if stored["theirs"] == self._digest:
            return _parameters(stored["system"], stored["tools"])
        ours = _ours(stored)
        system, tools = _as_blocks(stored["system"]), stored["tools"][ours:]
        if _meaning([system, tools]) == _meaning([_as_blocks(self._system), self._theirs]):
            marked = _marked(stored["system"], self._system)
            return _parameters(marked, [*stored["tools"][:ours], *_marked(tools, self._theirs)])
        if self._on_change == "refuse":
            raise SetupChanged(
                "this conversation began with another system prompt or other tools, and cannot change them; pass those "
                'it began with, start a new conversation, or let it keep to them with on_setup_change="keep"'
            )
        return _parameters(stored["system"], stored["tools"])

    def _in_its_mode(self, stored: StoredSetup) -> StoredSetup:
        ours = [tool for tool in stored["tools"] if tool.get("name") in CALLS]
        if not ours or not self._own or _threatens(ours) == _threatens(self._own):
            return stored
        return {**stored, "tools": [*self._own, *(tool for tool in stored["tools"] if tool not in ours)]}


def _threatens(tools: Sequence[Block]) -> bool:
    return any(tool["name"] in THREATENS for tool in tools)


def _parameters(system: Any, tools: Sequence[Block]) -> dict[str, Any]:
    return {"tools": tools} if system is None else {"system": system, "tools": tools}


def _ours(stored: StoredSetup) -> int:
    """Return how many of the kept tools were ours, in the release that kept them: the digest kept beside them is of
    the others."""
    system, tools = stored["system"], stored["tools"]
    fits = (n for n in range(len(tools) + 1) if digest([system, tools[n:]]) == stored["theirs"])
    return next(fits, 0)


def _meaning(value: Any) -> str:
    return json.dumps(_unmarked(value), sort_keys=True)


def _unmarked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _unmarked(item) for name, item in value.items() if name != MARK}
    return [_unmarked(item) for item in value] if isinstance(value, list) else value


def _marked(stored: Any, now: Any) -> Any:
    """Return `stored` with the marks of `now`, which means the same."""
    if isinstance(stored, Mapping):
        words = {name: _marked(item, now[name]) for name, item in stored.items() if name != MARK}
        return words | ({MARK: now[MARK]} if MARK in now else {})
    if isinstance(stored, list):
        return [_marked(item, other) for item, other in zip(stored, _as_blocks(now), strict=True)]
    return _marked(_as_blocks(stored), now) if isinstance(now, list) else stored


def _as_blocks(system: Any) -> Any:
    """Return a prompt as the API reads it: text stands for one block."""
    return [{"type": "text", "text": system}] if isinstance(system, str) else system
