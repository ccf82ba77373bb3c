"""An answer as server-sent events, which counts as one of its key's streams for as long as somebody reads it."""

from collections.abc import AsyncIterator
from contextlib import nullcontext

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lastresort.adapters.messages_api import sse
from lastresort.adapters.service import problems
from lastresort.adapters.service.keys import Key, Meter, TooMuch


class Streamed(StreamingResponse):
    """Server-sent events.

    Args:
        events: as they are sent.
        meter, key: whose stream it is; nobody's, if there is no key: it is counted elsewhere.
    """

    def __init__(self, events: AsyncIterator[bytes], meter: Meter, key: Key | None) -> None:
        super().__init__(events, media_type=sse.MEDIA_TYPE, headers=sse.HEADERS)
        self._counted = nullcontext() if key is None else meter.stream(key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._counted:
                await super().__call__(scope, receive, send)
        except TooMuch as error:
            await problems.answered(error)(scope, receive, send)
