"""A chat in the browser, under the law: `python examples/web_app.py`, then open http://127.0.0.1:8000.

With ANTHROPIC_API_KEY set, Claude answers; without it, an offline partner. LASTRESORT_STORE names the store, and PORT
the port. docs/tutorials/web-app.md walks through this file.
"""

import hashlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from anyio.to_thread import run_sync
from fastapi import Body, Cookie, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import AfterValidator, BaseModel, Field

from lastresort import (
    Chat,
    CommandIdReused,
    Contention,
    ErasureCause,
    Rating,
    Refused,
    UnknownBranch,
    UnknownTurn,
    open_conversations,
)
from lastresort.adapters.claude import AsyncClaude
from lastresort.adapters.claude.environment import FAILURES, client_of_the_environment
from lastresort.adapters.offline import AsyncOffline

chats = open_conversations(os.environ.get("LASTRESORT_STORE", "sqlite:///web.db"))
with_key = bool(os.environ.get("ANTHROPIC_API_KEY"))
partner = AsyncClaude(client_of_the_environment(), max_tokens=1024) if with_key else AsyncOffline()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    with chats:
        yield


app = FastAPI(lifespan=lifespan)


# --- Whose chat it is -------------------------------------------------------------------------------------------------


Session = Annotated[str | None, Cookie()]


def pseudonym(session: str) -> str:
    """The log keeps this name for ever: it must say nothing of the person, and must not let anybody sign in."""
    return hashlib.sha256(session.encode()).hexdigest()[:32]


def account_of(session: Session = None) -> str:
    if not session:
        raise HTTPException(401, "No chat is yours yet: POST /chats starts one, and sets a cookie. Send it along.")
    return pseudonym(session)


Account = Annotated[str, Depends(account_of)]


def owned(branch: str, account: Account) -> Chat:
    """Return the chat, if it belongs to the session. The law does not know who may see what; the application does."""
    return chats.chat(branch, account=account)


Owned = Annotated[Chat, Depends(owned)]


@app.exception_handler(UnknownBranch)
@app.exception_handler(UnknownTurn)
def not_found(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "Not Found"}, status_code=404)


# --- A turn -----------------------------------------------------------------------------------------------------------


def whole(text: str) -> str:
    """JSON can hold half of a character, which no answer of ours could hold again."""
    return text.encode(errors="replace").decode()


Text = Annotated[str, AfterValidator(whole), Field(min_length=1)]


class Turn(BaseModel):
    """What the user does: says something, or (without text) waits for the answer to what they said last."""

    text: Text | None = None
    end: Literal["request", "confirm"] | None = None  # they pressed "End", or confirmed it
    id: Annotated[str, AfterValidator(whole), Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")] | None = None  # the browser's


def seen(chat: Chat) -> dict[str, Any]:
    """What the page needs to know after each step."""
    state = chat.refresh()
    return {"branch": chat.branch, "ended": state.ended and state.ended.ground, "holding": bool(state.risks)}


NOT_ANSWERED: tuple[type[Exception], ...] = (*FAILURES, CommandIdReused, Contention)


async def events(chat: Chat, turn: Turn) -> AsyncIterator[str]:
    """Yield the answer as server-sent events: its text in pieces, then what the page needs to know.

    After an error of the API, what the user said is on record, and what they saw of the answer. If they saw nothing, a
    turn without text has it answered.
    """

    def event(name: str, data: Any) -> str:
        return f"event: {name}\ndata: {json.dumps(data)}\n\n"

    asks, confirms = turn.end == "request", turn.end == "confirm"
    id = turn.id and f"{chat.branch}.{turn.id}"  # sent again, it counts once; the branch keeps users' ids apart
    try:
        async with partner.stream(chat, turn.text, asks_to_end=asks, confirms_end=confirms, command_id=id) as pieces:
            async for piece in pieces:
                yield event("text", piece)
    except NOT_ANSWERED as error:
        yield event("error", type(error).__name__)
    yield event("done", await run_sync(seen, chat))


# --- What the browser calls -------------------------------------------------------------------------------------------


PAGE = Path(__file__).with_suffix(".html")


@app.get("/")
def page() -> FileResponse:
    if not PAGE.exists():
        raise HTTPException(404, f"{PAGE.name} is not beside {Path(__file__).name}: copy both")
    return FileResponse(PAGE)


@app.post("/chats")
def start(response: Response, session: Session = None) -> dict[str, Any]:
    session = session or secrets.token_urlsafe()
    response.set_cookie("session", session, httponly=True, samesite="strict")
    return seen(chats.start(model="claude-opus-4-1", account=pseudonym(session)))


@app.get("/chats")
def listed(account: Account) -> list[dict[str, Any]]:
    return [row._asdict() for row in chats.list(account=account, by="last_turn").rows]


@app.get("/chats/{branch}")
def history(chat: Owned) -> dict[str, Any]:
    turns = chat.transcript().turns
    return {**seen(chat), "turns": [{"version": t.version, "speaker": t.speaker, "text": t.text} for t in turns]}


@app.post("/chats/{branch}/turns")
async def say(chat: Owned, turn: Turn) -> StreamingResponse:
    if turn.text is None and chat.seen is None:
        raise HTTPException(409, "Nobody has said anything yet.")
    return StreamingResponse(events(chat, turn), media_type="text/event-stream")


@app.put("/chats/{branch}/turns/{version}")
async def edit(chat: Owned, version: int, text: Annotated[Text, Body(embed=True)]) -> dict[str, Any]:
    """Open a branch with other words in place of a turn. The page then asks for its answer, by a turn without text."""
    child = await partner.edit(chat, version, text)
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
def erase_turn(chat: Owned, version: int) -> None:
    told_if_refused(chat.erase(version))


@app.delete("/chats/{branch}", status_code=204)
def erase(chat: Owned) -> None:
    """Erase every word of the conversation, on all of its branches."""
    told_if_refused(chats.erase_conversation(chat.branch, by=chat.user, cause=ErasureCause.USER_REQUEST))


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")), access_log=False)
