"""What is passed as `content` and is none is told before anything is recorded or asked, by the name of the argument."""

from collections.abc import Callable
from typing import Any

import anthropic
import anyio
import pytest

from lastresort import Chat
from lastresort.adapters.claude import AsyncClaude, Claude
from lastresort.adapters.claude.words import kept_user

from .claude_kit import Bench, bench

NONE_OF_IT: list[tuple[Any, type[Exception], str]] = [
    (None, ValueError, "nothing was said; to answer what the user said last, call `resume`"),
    ("", ValueError, "the user's turn is empty"),
    (" \n", ValueError, "the user's turn is empty"),
    ([], ValueError, "the user's turn is empty"),
    (b"Hi.", TypeError, "text is needed, or a list of content blocks, not bytes"),
    (7, TypeError, "text is needed, or a list of content blocks, not int"),
    ({"type": "text", "text": "Hi."}, TypeError, "a list of content blocks, not dict"),
    ([{"type": "image", "source": b"png"}], TypeError, "a bytes is not JSON"),
    ([{"type": "thinking"}], ValueError, "blocks of these types"),
    ("x\ud800", ValueError, "half a character"),
]
"""What is passed, which error it is, and what that says after the name of the argument."""

ACTS: dict[str, Callable[[Any, Chat, Any], Any]] = {
    "send": lambda claude, chat, content: claude.send(chat, content),
    "request_end": lambda claude, chat, content: claude.request_end(chat, content),
    "confirm_end": lambda claude, chat, content: claude.confirm_end(chat, content),
    "edit": lambda claude, chat, content: claude.edit(chat, 2, content),
}


def at_once(b: Bench, act: Callable[[Any, Chat, Any], Any], chat: Chat, content: Any) -> Any:
    with anthropic.Anthropic(**b.connection) as client:
        return act(Claude(client, **b.params), chat, content)


def awaited(b: Bench, act: Callable[[Any, Chat, Any], Any], chat: Chat, content: Any) -> Any:
    async def run() -> Any:
        async with anthropic.AsyncAnthropic(**b.connection) as client:
            return await act(AsyncClaude(client, **{**b.params, "assessor": None}), chat, content)

    return anyio.run(run)


@pytest.mark.parametrize("drive", [at_once, awaited])
@pytest.mark.parametrize("act", ACTS)
def test_what_is_no_content_is_told_by_name(drive: Callable[..., Any], act: str) -> None:
    """After an answered turn too, where nothing to say could be taken for `resume`."""
    with bench(["Hello."]) as b:
        chat = b.start()
        b.reply(chat, "Hi.")
        recorded, asked = len(chat.path), b.api.calls
        for content, error, why in NONE_OF_IT:
            with pytest.raises(error, match=f"^content: .*{why}"):
                drive(b, ACTS[act], chat, content)
        assert (len(chat.path), b.api.calls) == (recorded, asked)


@pytest.mark.parametrize(("content", "error", "why"), NONE_OF_IT)
def test_what_is_no_content_is_not_kept(content: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=f"^content: .*{why}"):
        kept_user(content)
