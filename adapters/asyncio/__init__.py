"""The handles for asyncio: what `lastresort.application` has, with the same names, awaited."""

from .handles import AsyncChat, AsyncConversations, open_async_conversations

__all__ = ["AsyncChat", "AsyncConversations", "open_async_conversations"]
