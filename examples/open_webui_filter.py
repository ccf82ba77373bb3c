"""
title: Last resort
description: Records a chat under the law of lastresort, and asks no model once the conversation has ended.
version: 1.0.0
required_open_webui_version: 0.5.0
"""
# A filter for Open WebUI, in one file and without dependencies: it talks to `lastresort serve` over HTTP. Paste it
# under Admin Panel, Functions, and make it global. There is no switch for users: `self.toggle` would let them turn it
# off.

import asyncio
import json
from hashlib import sha256
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from pydantic import BaseModel, Field

NOTICE = (
    "This conversation has ended, and nothing more can be said in it. You can start a new one at any time, and appeal "
    "in this application."
)
NO_CHAT = (
    "lastresort: this request belongs to no chat, so it cannot be recorded. Open a chat, or call a model directly."
)


class Filter:
    """Records what the user says before the model is asked, and the answer after it was shown."""

    class Valves(BaseModel):
        """What an administrator sets."""

        url: str = Field(default="http://127.0.0.1:8417", description="Where `lastresort serve` listens.")
        key: str = Field(default="", description="A key with the scopes `converse` and `model:*`.")
        timeout: float = Field(default=30.0, description="How long to wait for it, in seconds.")

    def __init__(self) -> None:
        self.valves = self.Valves()

    async def inlet(
        self, body: dict[str, Any], __user__: dict[str, Any] | None = None, __metadata__: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Record what the user says.

        Raises:
            Exception: with what the user is to read: the conversation has ended, or could not be recorded.
        """
        metadata = __metadata__ or body.get("metadata") or {}
        if metadata.get("task"):  # a title, say: a task beside the conversation, in which it acts for nobody
            return body
        said = _said(body["messages"], "user")
        chat = metadata.get("chat_id") or body.get("chat_id")
        if not chat or not said:
            raise Exception(NO_CHAT)
        account = str((__user__ or {}).get("id") or "") or None
        branch = await self._branch(chat, body["model"], account)
        # The same message again, for another answer to it, is the same turn.
        turn = _name(chat, str(len(said)), said[-1])
        told = await self._post(f"branches/{quote(branch, safe='')}/turns", turn, content=said[-1], answer=False)
        if "ended" in told:
            raise Exception(NOTICE)
        return body

    async def outlet(
        self, body: dict[str, Any], __user__: dict[str, Any] | None = None, __metadata__: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Record the answer, which the user has. A second answer to a turn is refused, and the first one stands."""
        chat, said = body.get("chat_id") or (__metadata__ or {}).get("chat_id"), _said(body["messages"], "assistant")
        if chat and said and said[-1].strip():
            account = str((__user__ or {}).get("id") or "") or None
            branch = await self._branch(chat, body["model"], account)
            answer = _name(chat, "answer", str(len(said)), said[-1])
            await self._post(f"branches/{quote(branch, safe='')}/answers", answer, content=said[-1])
        return body

    async def _branch(self, chat: str, model: str, account: str | None) -> str:
        """Return the branch of a chat; it is started if there is none, once."""
        given = {"model": model} | ({"account": account} if account else {})
        return str((await self._post("conversations", _name(chat), **given))["branch"])

    async def _post(self, path: str, command: str, **body: Any) -> Any:
        return await asyncio.to_thread(self._send, path, command, body)

    def _send(self, path: str, command: str, body: dict[str, Any]) -> Any:
        headers = {"lastresort-key": self.valves.key, "idempotency-key": command, "content-type": "application/json"}
        request = Request(f"{self.valves.url.rstrip('/')}/api/v1/{path}", json.dumps(body).encode(), headers)
        try:
            with urlopen(request, timeout=self.valves.timeout) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise Exception(f"lastresort: status {error.code} at {path.rsplit('/', 1)[-1]}, nothing said") from None
        except OSError:
            raise Exception("lastresort: the service does not answer, so no model is asked; see its url") from None


def _said(messages: list[dict[str, Any]], role: str) -> list[str]:
    """Return the texts of one role: those of parts that are no text are left out."""
    said = []
    for message in messages:
        if message["role"] == role:
            content = message.get("content") or ""
            parts = [content] if isinstance(content, str) else [part.get("text") or "" for part in content]
            said.append("\n\n".join(filter(None, parts)))
    return said


def _name(*parts: str) -> str:
    """Return a command id that follows from what it is about, so that two workers and a retry send the same."""
    return "open-webui-" + sha256("\0".join(parts).encode()).hexdigest()[:40]
