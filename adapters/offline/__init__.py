"""A stand-in for `AsyncClaude` without a model or a key: to try an application out, and to test it."""

from .driver import AsyncOffline

__all__ = ["AsyncOffline"]
