"""Who answers in the chat, and its answer as HTML, piece by piece.

With no key of the upstream the offline partner answers, under a name of its own: a conversation goes on with whom it
began.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from lastresort.adapters.api.answering import begin_answer
from lastresort.adapters.messages_api import sse
from lastresort.adapters.offline.driver import AsyncOffline, Pieces
from lastresort.adapters.service.tenants import Caller, House
from lastresort.adapters.service.under_way import Running
from lastresort.adapters.turns.replies import Ended, Outcome, Reply
from lastresort.application.chat import Chat

from .markdown import Growing

OFFLINE = "claude-opus-offline"
"""The model's name in conversations with the offline partner: the policies that are shipped let Claude Opus end."""
_OFTEN = 0.1  # the last block is rendered again at most ten times a second


class _Offline:
    """An answer of the offline partner, with what the answer of a model has: pieces, what came of it, and an end."""

    def __init__(self, chat: Chat, pieces: Pieces) -> None:
        self._chat, self._pieces, self._said = chat, pieces, ""

    async def __aiter__(self) -> AsyncIterator[str]:
        async for piece in self._pieces:
            self._said += piece
            yield piece

    async def reply(self) -> Outcome:
        state = await run_in_threadpool(self._chat.refresh)
        if (ended := state.ended) is not None:
            until = await run_in_threadpool(self._chat.conversations.appeal_until, self._chat.branch)
            return Ended(self._chat.branch, ended.ground, ended.category, ended.version, self._said, appeal_until=until)
        return Reply(self._said, "end_turn", (), state.answered_by or None, model=state.model)

    async def close(self) -> None:
        """Stop it: what was shown is recorded."""
        await self._pieces.close()


class Partners:
    """Who answers in the chat."""

    def __init__(self, house: House) -> None:
        self._upstream, self._pace = house.config.upstream, house.config.chat.pace
        self._offline = AsyncOffline()

    def has_key(self, environment: Any) -> bool:
        """Whether there is a key to ask a model with. A browser has none of its own."""
        return self._upstream.credentials == "held" and bool(environment.get(self._upstream.key_env))

    def begin(
        self, request: Request, caller: Caller, house: House, chat: Chat, content: Any, act: str | None, command: str
    ) -> Running:
        """Begin to answer what the user says; without `content`, what they said last."""
        wishes = {"asks_to_end": act == "request_end", "confirms_end": act == "confirm_end"}
        if chat.model.id == OFFLINE:
            return begin_answer(request, caller, house, chat, lambda: self._spoken(chat, content, wishes, command))
        model = request.app.state.models.of(request)
        said = {} if content is None else wishes | {"command_id": command}
        return begin_answer(request, caller, house, chat, lambda: model.stream(chat, content, **said))

    @asynccontextmanager
    async def _spoken(self, chat: Chat, content: Any, wishes: dict[str, bool], command: str) -> AsyncIterator[_Offline]:
        async with self._offline.stream(chat, content, **wishes, command_id=command, pace=self._pace) as pieces:
            yield _Offline(chat, pieces)


async def told(running: Running) -> AsyncIterator[bytes]:
    """Yield an answer as events: `turn`; `words`, with the HTML of blocks that became whole, and of the one that grows;
    and `over`, with a sentence if it failed.
    """
    growing, shown, waits = Growing(), 0.0, False
    async for _, said in running.read():
        if said is None:
            yield sse.comment("thinking")
        elif said.name == "delta":
            growing.add(said.data["text"])
            waits = True
            if (now := time.monotonic()) - shown >= _OFTEN:
                shown, waits = now, False
                yield _words(growing)
        elif said.name == "turn":
            yield sse.event("turn", {"turn": said.data["turn"]})
        else:
            if waits:
                yield _words(growing)
            yield sse.event("over", {"how": said.name, "status": said.data.get("status")})


def _words(growing: Growing) -> bytes:
    whole, grows = growing.take()
    return sse.event("words", {"whole": whole, "grows": grows})


def running_on(request: Request, caller: Caller, branch: str, turn: int) -> Running | None:
    """Return the answer to a turn that is under way in this process, None if none is."""
    found: Running | None = request.app.state.under_way.find(caller.tenant.name, branch, turn)
    return None if found is None or found.over_at is not None else found
