"""Who answers in the terminal: the offline partner, or Claude.

Claude is asked over an event loop of its own. Ctrl-C cancels there, and only where the answer is awaited: a turn that
is being recorded is recorded, so whatever the log says afterwards is what happened.
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import anyio

from lastresort.adapters.assessors.toy import judge_by_toy
from lastresort.adapters.exporters.stored_words import stored_words
from lastresort.adapters.turns.partner import OfflinePartner
from lastresort.adapters.turns.replies import STOPPED
from lastresort.application.chat import Chat

AGAIN = "/answer asks again; /edit changes what you said"
ANOTHER = "What you saw of the answer is kept, and the model will see it: go on, or /retry for another"
MAX_TOKENS = 4096  # of an answer

Show = Callable[[str], None]
"""Takes a piece of the answer as it comes."""


class NotAnswered(Exception):
    """No answer came of it, and why; what the user said is kept."""


class Partner(Protocol):
    """The one who answers."""

    greeting: str | None
    """What people are to know before they talk."""
    waiting: str | None
    """What to show until the answer begins to come."""

    def hear(self, chat: Chat, *, wish: bool) -> None:
        """Judge the latest unit, if somebody who judges belongs to the partner. `wish`: it is about an ending."""
        ...

    def answer(self, chat: Chat, show: Show) -> str | None:
        """Answer the latest unit; return what there is to say beside the answer. Raises NotAnswered."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class Offline:
    """The offline partner, which is there at once, and a toy assessor."""

    greeting: str | None = (
        "Nobody is here but you: the partner is a script, and what you say is judged by a toy that knows a few insults "
        "and phrases of crisis, and understands nothing. /label and /judge replace it with your own verdict."
    )
    waiting: str | None = None

    def __init__(self) -> None:
        self._partner = OfflinePartner()

    def hear(self, chat: Chat, *, wish: bool) -> None:
        """Have the toy judge all that was said since the last answer; of words that are damaged it hears nothing."""
        words, _ = stored_words(chat.conversations, chat.path)
        judge_by_toy(chat, words, wish=wish)

    def answer(self, chat: Chat, show: Show) -> str | None:
        """Answer, lawfully and always the same."""
        self._partner.answer(chat)
        return None

    def close(self) -> None:
        """Nothing is held."""


class WithClaude:
    """Claude, over the SDK, which finds its key and its address in the environment."""

    greeting: str | None = None
    waiting: str | None = "waiting for the answer; Ctrl-C cancels"

    def __init__(self) -> None:
        from lastresort.adapters.claude import AsyncClaude
        from lastresort.adapters.claude.environment import FAILURES, client_of_the_environment

        self._failures = FAILURES
        self._client = client_of_the_environment()
        self._claude = AsyncClaude(self._client, max_tokens=MAX_TOKENS)
        self._loop = asyncio.new_event_loop()

    def hear(self, chat: Chat, *, wish: bool) -> None:
        """Leave it to the assessor that is asked when Claude answers, as the policy says."""

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
        outcome, stream = None, self._claude.stream(chat)
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, scope.cancel)
            try:
                async with stream:
                    async for piece in stream:
                        show(piece)
                    outcome = await stream.reply()
            except self._failures as error:
                if chat.state.answered:
                    raise NotAnswered(f"the answer broke off: {_explained(error)}. {ANOTHER}") from error
                raise NotAnswered(f"no answer: {_explained(error)}. What you said is kept: {AGAIN}") from error
        if outcome is None and not chat.state.answered:
            raise NotAnswered(f"cancelled before anything was shown. {AGAIN}")
        if outcome is None:
            with suppress(RuntimeError):  # it was being recorded, whole
                outcome = await stream.reply()
        return outcome

    def close(self) -> None:
        """Close the connections."""
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


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
    if isinstance(outcome, Reply) and outcome.stop_reason == STOPPED:
        return f"stopped. {ANOTHER}"
    if isinstance(outcome, Reply) and outcome.stop_reason != "end_turn":
        return f"this answer is not whole: the model stopped at {outcome.stop_reason}"
    return None
