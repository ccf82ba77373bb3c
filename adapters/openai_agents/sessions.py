"""A session that takes nothing more once its conversation has ended. The SDK's own is no gate."""

import asyncio
from typing import Any

from agents.items import TResponseInputItem
from agents.memory import Session, SessionABC

from lastresort.application.chat import Chat


class ClosedSession(RuntimeError):
    """The conversation of this session has ended. Start a new one, or branch it by editing an earlier message."""

    def __init__(self, branch: str) -> None:
        super().__init__(f"branch {branch} has ended: start a new conversation, or edit an earlier message")


class GuardedSession(SessionABC):
    """A session of theirs, closed by the ending: nothing can be added, popped or cleared after it.

    Args:
        session: keeps the items.
        chat: whose ending closes it.
    """

    def __init__(self, session: Session, chat: Chat) -> None:
        self._session, self._chat = session, chat
        self.session_id, self.session_settings = session.session_id, session.session_settings

    async def _open(self) -> Session:
        state = await asyncio.to_thread(self._chat.conversations.state, self._chat.branch)
        if state.ended is not None:
            raise ClosedSession(self._chat.branch)
        return self._session

    async def get_items(self, limit: int | None = None, **options: Any) -> list[TResponseInputItem]:
        """Return its items, as the other does."""
        return await self._session.get_items(limit, **options)

    async def add_items(self, items: list[TResponseInputItem], **options: Any) -> None:
        """Add items.

        Raises:
            ClosedSession: the conversation has ended.
        """
        await (await self._open()).add_items(items, **options)

    async def pop_item(self) -> TResponseInputItem | None:
        """Take the latest item away.

        Raises:
            ClosedSession: the conversation has ended.
        """
        return await (await self._open()).pop_item()

    async def clear_session(self) -> None:
        """Take all items away.

        Raises:
            ClosedSession: the conversation has ended.
        """
        await (await self._open()).clear_session()
