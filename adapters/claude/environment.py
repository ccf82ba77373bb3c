"""The SDK's own client, as the environment sets it up, and what can go wrong on the way to the API."""

import json

import httpx2
from anthropic import AnthropicError, APIStatusError, AsyncAnthropic

FAILURES: tuple[type[Exception], ...] = (
    AnthropicError,
    httpx2.TransportError,
    json.JSONDecodeError,
    ConnectionError,
    AssertionError,
)
"""What a call may raise. In the middle of a stream the SDK lets through the errors of what it is built on."""


def client_of_the_environment() -> AsyncAnthropic:
    """Return a client with the key and the address that the environment names.

    Raises:
        AnthropicError: there is no key.
    """
    return AsyncAnthropic()


def client_of(base_url: str, key: str, timeout: float) -> AsyncAnthropic:
    """Return a client of an address with a key, which looks at nothing in the environment."""
    return AsyncAnthropic(base_url=base_url, api_key=key, timeout=timeout)


def status_of(error: Exception) -> tuple[int | None, dict[str, str]]:
    """Return the status that the API answered with, if it did, and how long it says to wait, as a header."""
    if not isinstance(error, APIStatusError):
        return None, {}
    wait = error.response.headers.get("retry-after")
    return error.status_code, {} if wait is None else {"retry-after": wait}
