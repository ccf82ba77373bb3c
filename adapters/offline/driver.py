"""Answers chats by the calls that `AsyncClaude` has, with the offline partner and the toy assessor in place of models.

An application that is written for Claude runs on it unchanged. It says the same few things whatever it is told, and it
redirects, warns and ends as the law allows.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from lastresort.adapters.assessors.toy import judge_by_toy
from lastresort.adapters.turns.partner import OfflinePartner
from lastresort.application.arguments import Content
from lastresort.application.chat import Chat
from lastresort.application.outcomes import BranchEnded
from lastresort.domain.decider import Refused

ENDED = "This conversation has ended. You can edit an earlier message, or start a new one."


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
    ) -> AsyncIterator[AsyncIterator[str]]:
        """Record what the user says, or without `content` take what they said last; yield the answer in pieces.

        Args:
            chat: where.
            content: what the user says, text or content blocks.
            asks_to_end, confirms_end: whether the user also asks to end the conversation, or confirms that.
            command_id: sent again under the same id, it is said once and has one answer.
        """
        async with self._turns.setdefault(chat.branch, asyncio.Lock()):
            said = await asyncio.to_thread(_answer, chat, content, asks_to_end, confirms_end, command_id)
        yield _in_pieces(said)

    async def edit(self, chat: Chat, turn: int, content: Content, *, command_id: str | None = None) -> Chat | Refused:
        """Open a branch on which `content` stands in place of user turn `turn`, yet to be answered."""
        return await asyncio.to_thread(chat.edit, turn, content, command_id=command_id)


async def _in_pieces(text: str) -> AsyncIterator[str]:
    for word in text.split(" "):
        yield word + " "


def _answer(chat: Chat, content: Content | None, asks: bool, confirms: bool, command_id: str | None) -> str:
    """Record a turn, have it judged, answer it; return the answer."""
    if content is not None and isinstance(chat.user_turn(content, command_id=command_id), BranchEnded):
        return ENDED
    if not chat.refresh().answered:
        judge_by_toy(chat, chat.conversations.words(chat.path), wish=asks or confirms)
        if asks:
            chat.request_end()
        if confirms:
            chat.confirm_end()
        OfflinePartner().answer(chat)
    told = chat.transcript().turns
    return next((turn.text for turn in reversed(told) if turn.speaker == "assistant" and turn.text), "")
