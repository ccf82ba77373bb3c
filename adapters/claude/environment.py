"""The SDK's own client, as the environment sets it up, and what can go wrong on the way to the API."""

import json

import httpx2
from anthropic import AnthropicError, AsyncAnthropic

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
