"""The Messages API behind the gateway, over aiohttp: bytes in, bytes out. No redirect is followed, and nothing is added
to a request but what a client sent.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from .headers import is_ours

Headers = Sequence[tuple[str, str]]
_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "host", "content-length", "expect", "cookie", "set-cookie",
}  # fmt: skip
_OURS = ("x-stainless-", "lastresort-")
FAILURES: tuple[type[Exception], ...] = (aiohttp.ClientError, TimeoutError, ConnectionError)
"""What asking may raise."""


def told_of(error: Exception) -> str:
    """Say what failed, and whether the upstream was reached at all: if not, its address is wrong, or the network is."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"The upstream cannot be reached ({type(error).__name__}); its address is base_url under [upstream]"
    return f"The upstream broke off: {type(error).__name__}"


class Upstream:
    """Where models are asked. It belongs to one event loop, once it is used; close it.

    Args:
        base_url: of the API.
        timeout: how long to wait for something to come, in seconds.
        told: is told the status of each answer, 0 if nobody answers.
    """

    def __init__(self, base_url: str, timeout: float, told: Callable[[int], None] = lambda status: None) -> None:
        self._base = base_url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=None, connect=30, sock_read=timeout)
        self._session: aiohttp.ClientSession | None = None
        self._told = told

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
                timeout=self._timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers={"Accept", "Accept-Encoding", "User-Agent", "Content-Type"},
            )
        return self._session

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, headers: Headers, body: bytes | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; the answer's body is read within the block. To leave it breaks the answer off.

        Raises:
            FAILURES: nobody answers.
        """
        url = URL(self._base + path, encoded=True)
        asked = self._opened().request(method, url, headers=headers, data=body, allow_redirects=False)
        try:
            response = await asked
        except FAILURES:
            self._told(0)
            raise
        self._told(response.status)
        async with response:
            try:
                yield response
            except BaseException:
                response.close()
                raise

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


def passed_on(headers: Iterable[tuple[bytes, bytes]], credentials: Headers, *, plain: bool) -> list[tuple[str, str]]:
    """Return the headers of a client's request as they go upstream: none with a key of this service, in whichever.

    Args:
        headers: as they came.
        credentials: in place of the client's, if there are any.
        plain: whether the answer is to be read, and so must not be compressed.
    """
    ours = {name.lower() for name, _ in credentials}
    dropped = (
        _HOP | ours | ({"authorization", "x-api-key"} if ours else set()) | ({"accept-encoding"} if plain else set())
    )
    kept = []
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        if name not in dropped and not name.startswith(_OURS) and not is_ours(value):
            kept.append((name, value.decode("latin-1")))
    return [*kept, *credentials]


def passed_back(headers: Iterable[tuple[str, str]], *, whole: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer as they go to the client; with its length only if its body is not changed."""
    dropped = _HOP - ({"content-length"} if whole else set())
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in headers
        if name.lower() not in dropped
    ]
