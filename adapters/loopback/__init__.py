"""A Messages API on this machine, for tests and for trying without a key. The real SDK talks to it over a real socket.

    with loopback(["Hello.", Answer([tool_use("look_up", {"word": "last"})])]) as api:
        client = anthropic.Anthropic(base_url=api.url, api_key="x")

It refuses what the API refuses, answers from a script, and counts. It is our reading of public sources, and not
Anthropic's. `python -m lastresort.adapters.loopback` serves it by hand.
"""

from lastresort.adapters import missing

try:
    from lastresort.adapters.messages_api.wire import Block

    from .answers import (
        Answer,
        Fault,
        FaultKind,
        Request,
        Script,
        Scripted,
        compaction,
        dropped,
        ended,
        failing,
        fallback,
        hanging,
        interrupted,
        iteration,
        malformed,
        redacted_thinking,
        server_tool,
        text,
        thinking,
        tool_use,
    )
    from .ledger import Conversation, Report, estimate
    from .models import Adversary, always_calls, never_calls
    from .server import Loopback, loopback
except ModuleNotFoundError as error:
    missing(error, __name__, "loopback")

__all__ = [
    "Adversary",
    "Answer",
    "Block",
    "Conversation",
    "Fault",
    "FaultKind",
    "Loopback",
    "Report",
    "Request",
    "Script",
    "Scripted",
    "always_calls",
    "compaction",
    "dropped",
    "ended",
    "estimate",
    "failing",
    "fallback",
    "hanging",
    "interrupted",
    "iteration",
    "loopback",
    "malformed",
    "never_calls",
    "redacted_thinking",
    "server_tool",
    "text",
    "thinking",
    "tool_use",
]
