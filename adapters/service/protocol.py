"""What uvicorn leaves open: how long a client may take to send what it began, and to take what it is sent.

A connection on which nothing moves for too long is broken off: one that has not sent all its headers, or the rest of a
body that is awaited, or that takes nothing of an answer. Nothing of it stays in memory then.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS, STALLED = 30.0, 60.0
"""For how many seconds a client may be in the middle of its headers, and do nothing else that it has to do."""


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools, with an end to patience."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._sending: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._awaits(HEADERS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._awaits(None)
        self.resume_writing()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._awaits(HEADERS)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._awaits(STALLED)

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._awaits(STALLED)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._awaits(None)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking = self.loop.call_later(STALLED, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _awaits(self, seconds: float | None) -> None:
        if self._sending is not None:
            self._sending.cancel()
        self._sending = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self.flow.read_paused:  # it is we who do not read
            self._awaits(STALLED)
            return
        self.transport.abort()
