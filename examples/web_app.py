"""A chat in the browser, under the law: `python examples/web_app.py`, then open http://127.0.0.1:8000.

With ANTHROPIC_API_KEY set, Claude answers; without it, an offline partner. LASTRESORT_STORE names the store, and PORT
the port. docs/tutorials/web-app.md walks through this file.
"""

import hashlib
import json
import os
import pathlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import uvicorn
from anyio.to_thread import run_sync
from fastapi import Body, Cookie, Depends, FastAPI, HTTPException, Path, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import AfterValidator, BaseModel, StringConstraints

from lastresort import (
    BranchEnded,
    Chat,
    ErasureCause,
    Rating,
    Refused,
    Risk,
    UnknownBranch,
    Verdict,
    open_conversations,
)
from lastresort.adapters.assessors.screen import phrase_screen
from lastresort.adapters.turns.partner import OfflinePartner
from lastresort.projections import transcript

chats = open_conversations(os.environ.get("LASTRESORT_STORE", "sqlite:///web.db"))
claude: Any = None
if os.environ.get("ANTHROPIC_API_KEY"):
    from anthropic import APIError, AsyncAnthropic

    from lastresort.adapters.claude import AsyncClaude

    claude = AsyncClaude(AsyncAnthropic(), max_tokens=1024)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    chats.close()


app = FastAPI(lifespan=lifespan)


# --- Whose chat it is -------------------------------------------------------------------------------------------------


def pseudonym(session: str) -> str:
    """The log keeps this name for ever: it must say nothing of the person, and must not let anybody sign in."""
    return hashlib.sha256(session.encode()).hexdigest()[:32]


def owned(branch: str, session: Annotated[str, Cookie()]) -> Chat:
    """Return the chat, if it belongs to the session. The law does not know who may see what; the application does."""
    try:
        chat = chats.chat(branch)
    except UnknownBranch:
        raise HTTPException(404) from None
    if chat.state.account != pseudonym(session):
        raise HTTPException(404)
    return chat


Owned = Annotated[Chat, Depends(owned)]


# --- A turn -----------------------------------------------------------------------------------------------------------


def whole(text: str) -> str:
    """JSON can hold half of a character, which no answer of ours could hold again."""
    return text.encode(errors="replace").decode()


Text = Annotated[str, AfterValidator(whole)]
Version = Annotated[int, Path(ge=1, le=1_000_000)]


class Turn(BaseModel):
    """What the user does: says something, or (without text) waits for the answer to what they said last."""

    text: Text | None = None
    end: Literal["request", "confirm"] | None = None  # they pressed "End", or confirmed it
    id: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,64}$")] | None = None  # made by the browser

    def sent_as(self, branch: str) -> str | None:
        """Return the command id: sent again under it, a turn counts once. The branch keeps users' ids apart."""
        return self.id and f"{branch}.{self.id}"


def seen(chat: Chat) -> dict[str, Any]:
    """What the page needs to know after each step."""
    state = chat.refresh()
    return {"branch": chat.branch, "ended": state.ended and state.ended.ground, "holding": bool(state.risks)}


def lines(chat: Chat) -> list[dict[str, Any]]:
    path = chat.path
    told = transcript(path, chats.words(path), None, chats.tree_log(chat.branch))
    return [line._asdict() for line in told if line.speaker or line.kind == "ConversationEnded"]


def latest(chat: Chat, speaker: str) -> str:
    return next((line["text"] for line in reversed(lines(chat)) if line["speaker"] == speaker and line["text"]), "")


def answered_offline(chat: Chat, turn: Turn) -> str:
    """Record the turn, judge it with a toy, answer it; return the answer. It all runs in a worker thread."""
    text = turn.text
    if text is not None and isinstance(chat.user_turn(text, command_id=turn.sent_as(chat.branch)), BranchEnded):
        return "This conversation has ended. You can edit an earlier message, or start a new one."
    if not chat.refresh().answered:
        said = latest(chat, "user")
        risk = Risk.POSSIBLE if phrase_screen(said) is Risk.POSSIBLE else Risk.NONE  # a toy: use an assessor
        if any(word in said.lower() for word in ("useless", "stupid", "idiot")):
            chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=risk)
        else:
            chat.judge(Verdict.PRODUCTIVE, risk=risk)
        if turn.end == "request":
            chat.request_end()
        elif turn.end == "confirm":
            chat.confirm_end()
        OfflinePartner().answer(chat)
    return latest(chat, "assistant")


async def events(chat: Chat, turn: Turn) -> AsyncIterator[str]:
    """Yield the answer as server-sent events: its text in pieces, then what the page needs to know."""

    def event(name: str, data: Any) -> str:
        return f"event: {name}\ndata: {json.dumps(data)}\n\n"

    if claude is None:
        for piece in (await run_sync(answered_offline, chat, turn)).split(" "):
            yield event("text", piece + " ")
    else:
        asks, confirms = turn.end == "request", turn.end == "confirm"
        id = turn.sent_as(chat.branch)
        try:
            async with claude.stream(chat, turn.text, asks_to_end=asks, confirms_end=confirms, command_id=id) as stream:
                async for piece in stream:
                    yield event("text", piece)
        except APIError as error:  # the user's turn is on record: a turn without text has it answered
            yield event("error", type(error).__name__)
    yield event("done", await run_sync(seen, chat))


# --- What the browser calls -------------------------------------------------------------------------------------------


@app.get("/")
def page() -> FileResponse:
    return FileResponse(pathlib.Path(__file__).with_suffix(".html"))


@app.post("/chats")
def start(response: Response, session: Annotated[str | None, Cookie()] = None) -> dict[str, Any]:
    session = session or secrets.token_urlsafe()
    response.set_cookie("session", session, httponly=True, samesite="strict")
    return seen(chats.start(model="claude-opus-4-1", account=pseudonym(session)))


@app.get("/chats")
def listed(session: Annotated[str, Cookie()]) -> list[dict[str, Any]]:
    return [row._asdict() for row in chats.list(account=pseudonym(session), by="last_turn").rows]


@app.get("/chats/{branch}")
def history(chat: Owned) -> dict[str, Any]:
    return {**seen(chat), "lines": lines(chat)}


@app.post("/chats/{branch}/turns")
async def say(chat: Owned, turn: Turn) -> StreamingResponse:
    return StreamingResponse(events(chat, turn), media_type="text/event-stream")


@app.put("/chats/{branch}/turns/{version}")
async def edit(chat: Owned, version: Version, text: Annotated[Text, Body(embed=True)]) -> dict[str, Any]:
    """Open a branch with other words in place of a turn. The page then asks for its answer, by a turn without text."""
    try:
        child = await (run_sync(chat.edit, version, text) if claude is None else claude.edit(chat, version, text))
    except ValueError:
        raise HTTPException(404) from None
    if isinstance(child, Refused):
        raise HTTPException(409, "Only a message that you wrote yourself can be edited.")
    return await run_sync(seen, child)


@app.post("/chats/{branch}/feedback", status_code=204)
def feedback(chat: Owned, rating: Annotated[Rating, Body(embed=True)]) -> None:
    chat.feedback(rating)


def told_if_refused(outcome: object) -> None:
    """Nobody is to believe that something was erased which the law holds."""
    if isinstance(outcome, Refused):
        raise HTTPException(409, "These words have to be kept for now. Nothing was erased.")


@app.delete("/chats/{branch}/turns/{version}", status_code=204)
def erase_turn(chat: Owned, version: Version) -> None:
    try:
        told_if_refused(chat.erase(version))
    except ValueError:
        raise HTTPException(404) from None


@app.delete("/chats/{branch}", status_code=204)
def erase(chat: Owned) -> None:
    """Erase every word of the conversation, on all of its branches."""
    conversation, id = chat.state.conversation, chats.new_id()
    cause = ErasureCause.USER_REQUEST
    told_if_refused(chats.erase_conversation(conversation, by=chat.user, cause=cause, command_id=id))


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")), access_log=False)
