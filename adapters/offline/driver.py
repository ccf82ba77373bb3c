"""Answers chats by the calls that `AsyncClaude` has, with the offline partner and the toy assessor in place of models.

An application that is written for Claude runs on it unchanged. It says the same few things whatever it is told, and it
redirects, warns and ends as the law allows.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from lastresort.adapters.assessors.toy import judge_by_toy
from lastresort.adapters.turns.partner import OfflinePartner, Saying
from lastresort.application.arguments import Content
from lastresort.application.chat import Chat
from lastresort.application.outcomes import BranchEnded
from lastresort.domain.decider import Refused

ENDED = "This conversation has ended. You can edit an earlier message, or start a new one."


class Pieces:
    """An answer of the offline partner, word by word. It is recorded once it is said."""

    def __init__(self, saying: Saying, pace: float) -> None:
        self._saying, self._pace = saying, pace
        self._words: str | None = None
        self._shown = ""
        self._step: asyncio.Future[str | None] | None = None

    async def begin(self) -> None:
        """Come to the first words: until then nothing can be shown."""
        await self._go_on(None)

    async def __aiter__(self) -> AsyncIterator[str]:
        while self._words is not None:
            for nth, word in enumerate(self._words.split(" ")):
                piece = f" {word}" if nth else word
                self._shown += piece
                yield piece
                await asyncio.sleep(self._pace)
            await self._go_on(None)

    async def close(self) -> None:
        """Stop. Of what was not said whole, that is recorded which was shown."""
        if self._step is not None and not self._step.done():
            self._words = await self._step  # which a cancellation does not reach: it is in a thread
        if self._words is not None:
            await self._go_on(self._shown)
        self._words = None
        await asyncio.to_thread(self._saying.close)

    async def _go_on(self, shown: str | None) -> None:
        self._step = asyncio.ensure_future(asyncio.to_thread(_next, self._saying, shown))
        self._words, self._shown = await asyncio.shield(self._step), ""


def _next(saying: Saying, shown: str | None) -> str | None:
    try:
        return saying.send(shown)
    except StopIteration:
        return None


class AsyncOffline:
    """Answers chats, of each branch one turn at a time. What touches the store runs in a worker thread."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def stream(
        self,
        chat: Chat,
        content: Content | None = None,
        *,
        asks_to_end: bool = False,
        confirms_end: bool = False,
        command_id: str | None = None,
        pace: float = 0.0,
    ) -> AsyncIterator[Pieces]:
        """Record what the user says, or without `content` take what they said last; yield the answer in pieces.

        Leaving the block before all of it was read stops the answer: what was shown is recorded, and redirects, warns
        and ends nothing.

        Args:
            chat: where.
            content: what the user says, text or content blocks.
            asks_to_end, confirms_end: whether the user also asks to end the conversation, or confirms that.
            command_id: sent again under the same id, it is said once and has one answer.
            pace: how long a word takes, in seconds.
        """
        async with self._turns.setdefault(chat.branch, asyncio.Lock()):
            pieces = Pieces(_saying(chat, content, asks_to_end, confirms_end, command_id), pace)
            try:
                await pieces.begin()
                yield pieces
            finally:
                await pieces.close()

    async def edit(self, chat: Chat, turn: int, content: Content, *, command_id: str | None = None) -> Chat | Refused:
        """Open a branch on which `content` stands in place of user turn `turn`, yet to be answered."""
        return await asyncio.to_thread(chat.edit, turn, content, command_id=command_id)


def _saying(chat: Chat, content: Content | None, asks: bool, confirms: bool, command_id: str | None) -> Saying:
    """Record a turn, have it judged, answer it; of a turn that was answered before, say what was."""
    if content is not None and isinstance(chat.user_turn(content, command_id=command_id), BranchEnded):
        yield ENDED
        return
    if chat.refresh().answered:
        told = chat.transcript().turns
        yield next((turn.text for turn in reversed(told) if turn.speaker == "assistant" and turn.text), "")
        return
    judge_by_toy(chat, chat.conversations.words(chat.path), wish=asks or confirms)
    if asks:
        chat.request_end()
    if confirms:
        chat.confirm_end()
    yield from OfflinePartner().saying(chat)
