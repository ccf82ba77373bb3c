"""Who answers in the terminal: the offline partner, or Claude.

Claude is asked over an event loop of its own. Ctrl-C cancels there, and only where the answer is awaited: a turn that
is being recorded is recorded, so whatever the log says afterwards is what happened.
"""

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any, Protocol

import anyio

from lastresort.adapters.turns.partner import OfflinePartner
from lastresort.application.chat import Chat
from lastresort.domain.values import Assessment, Risk, Verdict

AGAIN = "/answer asks again; /edit changes what you said"
MAX_TOKENS = 4096  # of an answer

Show = Callable[[str], None]
"""Takes a piece of the answer as it comes."""


class NotAnswered(Exception):
    """No answer came of it, and why; what the user said is kept."""


class Partner(Protocol):
    """Whoever answers."""

    wish: Assessment | None
    """How a turn that asks for an ending is judged, where nobody else judges it."""
    waiting: str | None
    """What to show until the answer begins to come."""

    def answer(self, chat: Chat, show: Show) -> str | None:
        """Answer the latest unit; return what there is to say beside the answer. Raises NotAnswered."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class Offline:
    """The offline partner, which is there at once."""

    wish: Assessment | None = Assessment(verdict=Verdict.PRODUCTIVE, risk=Risk.NONE)
    waiting: str | None = None

    def __init__(self) -> None:
        self._partner = OfflinePartner()

    def answer(self, chat: Chat, show: Show) -> str | None:
        """Answer, lawfully and always the same."""
        self._partner.answer(chat)
        return None

    def close(self) -> None:
        """Nothing is held."""


class WithClaude:
    """Claude, over the SDK, which finds its key and its address in the environment."""

    wish: Assessment | None = None  # the policy says whom to ask
    waiting: str | None = "waiting for the answer; Ctrl-C cancels"

    def __init__(self) -> None:
        from anthropic import AsyncAnthropic

        from lastresort.adapters.claude import AsyncClaude

        self._client = AsyncAnthropic()
        self._claude = AsyncClaude(self._client, max_tokens=MAX_TOKENS)
        self._loop = asyncio.new_event_loop()

    def answer(self, chat: Chat, show: Show) -> str | None:
        """Let Claude answer, in pieces; Ctrl-C cancels."""
        chat.refresh()
        before = signal.getsignal(signal.SIGINT)
        try:
            outcome = self._loop.run_until_complete(self._streamed(chat, show))
        finally:
            self._loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)
        chat.refresh()
        return _told(outcome)

    async def _streamed(self, chat: Chat, show: Show) -> Any:
        outcome = None
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, scope.cancel)
            try:
                async with self._claude.stream(chat) as stream:
                    async for piece in stream:
                        show(piece)
                    outcome = await stream.reply()
            except _failures() as error:
                raise NotAnswered(f"no answer: {_explained(error)}. What you said is kept: {AGAIN}") from error
        if outcome is None and not chat.state.answered:
            raise NotAnswered(f"cancelled: nothing of this answer is kept. {AGAIN}")
        return outcome

    def close(self) -> None:
        """Close the connections."""
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


def _failures() -> tuple[type[Exception], ...]:
    """What can go wrong on the way. In the middle of a stream the SDK lets through what it is built on."""
    import httpx2
    from anthropic import AnthropicError

    return AnthropicError, httpx2.TransportError, json.JSONDecodeError, ConnectionError, AssertionError


def _explained(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    if status == 401:
        return "the API does not know this key; see ANTHROPIC_API_KEY"
    said = _of_the_api(error) or getattr(error, "message", None) or str(error) or "the stream ended before it had begun"
    return f"{type(error).__name__}: {said.rstrip('.')}"  # it stands in a sentence


def _of_the_api(error: Exception) -> str | None:
    """Return the words of the API about an error, which the SDK shows as the body that they came in, or None."""
    body = getattr(error, "body", None)
    told = body.get("error") if isinstance(body, dict) else None
    said = told.get("message") if isinstance(told, dict) else None
    return said if isinstance(said, str) else None


def _told(outcome: Any) -> str | None:
    """Return what there is to say of an outcome beside what the log shows."""
    from lastresort.adapters.claude import Ended, Overtaken, Reply

    if isinstance(outcome, Ended):
        return outcome.notice
    if isinstance(outcome, Overtaken):
        return "somebody else wrote on this branch first: this answer is not recorded"
    if isinstance(outcome, Reply) and outcome.version is None:
        return f"no answer came: the model stopped at {outcome.stop_reason}. {AGAIN}"
    if isinstance(outcome, Reply) and outcome.stop_reason != "end_turn":
        return f"this answer is not whole: the model stopped at {outcome.stop_reason}"
    return None
