"""The chat: pages that show it, and what their scripts send that the native API has not: a first message, an answer as
HTML, other words with the same attachments, and erasing one's own. Everything else they send to the native API.
"""

import os
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from lastresort.adapters.api.routes import Branch
from lastresort.adapters.api.streamed import Streamed
from lastresort.adapters.native_api.bodies import Body, Nothing, Text, Turn
from lastresort.adapters.service import looking
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import OWN
from lastresort.application.arguments import checked_command_id
from lastresort.application.chat import Chat
from lastresort.application.outcomes import UnknownBranch
from lastresort.domain.decider import Refused
from lastresort.domain.values import ErasureCause

from .answers import OFFLINE, Partners, running_on, told
from .chat_view import chat_view, last_looked_at, listed, title_of, with_other_words
from .proofs import is_provable
from .rendering import page
from .texts import direction, language_of, languages, said_in
from .visitors import Here, Talker, account_of, own_chat

Command = Annotated[str, Header(alias="idempotency-key", pattern=r"^[!-~]{1,128}$")]
_LONGEST_SEARCH = 200
_FOR_SCRIPT = (
    "answer_again", "answered", "answering", "assistant", "cancel", "copied", "delete", "delete_ask",
    "delete_what", "deleted", "edit", "edit_send", "edit_what", "end_ask", "end_confirm_words", "end_go_on",
    "end_request", "end_what", "failed", "kept_words", "left", "not_deleted", "not_renamed", "not_taken",
    "reconnecting", "remove", "rename", "save", "sign_in_again", "too_large", "wrong_kind", "you",
)  # fmt: skip
"""The texts that the script says by itself."""


class First(Body):
    """The first message of a chat, which its title is made of."""

    title: Text = ""


class OtherWords(Body):
    """What stands in place of a user's turn: other words, and its attachments but for those that were removed."""

    turn: Annotated[int, Field(ge=1, le=2**53)]
    words: Text = ""
    without: Annotated[tuple[int, ...], Field(max_length=1_000)] = ()


def install(app: FastAPI) -> None:
    """Have an app serve the chat."""
    app.state.partners = Partners(app.state.house)
    for method, path, run in (
        ("GET", "/chat", new), ("POST", "/chat", start), ("GET", "/chat/c/{branch}", show),
        ("GET", "/chat/open/{branch}", reopen), ("POST", "/chat/c/{branch}/turns", say),
        ("POST", "/chat/c/{branch}/resume", resume), ("GET", "/chat/c/{branch}/turns/{turn}", rejoin),
        ("POST", "/chat/c/{branch}/edits", edit), ("POST", "/chat/c/{branch}/erasure", erase),
    ):  # fmt: skip
        app.add_api_route(path, run, methods=[method], include_in_schema=False, response_model=None)


def _partners(request: Request) -> Partners:
    partners: Partners = request.app.state.partners
    return partners


def _page(request: Request, caller: Talker, view: Any, search: str | None) -> Response:
    language = language_of(request)
    chats, more = listed(caller, search)
    partners = _partners(request)
    offline = view.chat.model.id == OFFLINE if view is not None else not partners.has_key(os.environ)
    texts = languages()[language]
    own = request.app.state.house.config.chat.help
    held = view is not None and view.held  # then nothing on the page speaks of an ending
    return page(
        "chat.html", say=said_in(language),
        for_script={name: texts[name] for name in _FOR_SCRIPT if not (held and "end" in name)},
        language=language, direction=direction(language),
        languages={name: one["language"] for name, one in languages().items()}, chats=chats, more=more,
        view=view, who=caller.key.id, in_memory=_is_in_memory(request, caller), search=search or "",
        offline=offline, inspects=_inspects(caller),
        model=view.chat.model.id if view is not None else request.app.state.house.config.upstream.model,
        provable=view is not None and is_provable(view.chat), help=own.get(language) or own.get("en"),
    )  # fmt: skip


def _is_in_memory(request: Request, caller: Talker) -> bool:
    config, tenant = request.app.state.house.config, caller.tenant.name
    return bool((config.store if tenant == OWN else config.tenants[tenant].store) == "memory:")


def _inspects(caller: Talker) -> bool:
    return caller.key.may_any(("audit", "operate")) and caller.key.rights.account is None


Search = Annotated[str | None, Query(max_length=_LONGEST_SEARCH)]


def new(request: Request, caller: Talker, q: Search = None) -> Response:
    """Show an empty chat."""
    return _page(request, caller, None, q)


def show(
    request: Request, branch: Branch, caller: Talker, q: Search = None,
    before: Annotated[int | None, Query(ge=2, le=2**53)] = None,
) -> Response:  # fmt: skip
    """Show a branch, and remember that the person looks at it."""
    try:
        chat = own_chat(caller, branch)
    except UnknownBranch:
        return _gone(request)
    looking.select(caller.tenant.tables, caller.key.line, chat.state.conversation, branch)
    return _page(request, caller, chat_view(caller, chat, before), q)


def reopen(branch: Branch, caller: Talker) -> Response:
    """Go to the branch of a conversation that the person looked at last."""
    return RedirectResponse(f"/chat/c/{last_looked_at(caller, own_chat(caller, branch))}", 303)


def _gone(request: Request) -> Response:
    language = language_of(request)
    return page("gone.html", status=404, say=said_in(language), language=language, direction=direction(language))


def start(request: Request, body: First, caller: Talker, house: Here, command: Command) -> JSONResponse:
    """Begin a chat. Its title is the first words of its first message, sealed as they are."""
    if not (first := title_of(body.title)):
        raise Failed("invalid", "title: nothing was said")
    offline = not _partners(request).has_key(os.environ)
    account = account_of(caller)
    chat = caller.tenant.conversations.start(
        account=account, model=OFFLINE if offline else house.config.upstream.model, policy=caller.tenant.policy,
        command_id=house.start_id(caller, account, checked_command_id(command)),
    )  # fmt: skip
    if chat.metadata().title is None:
        chat.describe(title=first)
    return JSONResponse({"branch": chat.branch}, 201)


async def say(
    request: Request, branch: Branch, body: Turn, caller: Talker, house: Here, command: Command
) -> Response:  # fmt: skip
    """Say something, and stream the answer."""
    chat = await run_in_threadpool(own_chat, caller, branch)
    running = _partners(request).begin(request, caller, house, chat, body.content, body.act, command)
    return Streamed(told(running), house.meter, None)


async def resume(request: Request, branch: Branch, body: Nothing, caller: Talker, house: Here) -> Response:
    """Have what the user said last answered, if it was not, and stream that."""
    chat = await run_in_threadpool(own_chat, caller, branch)
    if chat.seen is None:
        raise Failed("invalid", "nobody has spoken on this branch")
    command = f"resume-{branch}-{chat.seen}"
    running = _partners(request).begin(request, caller, house, chat, None, None, command)
    return Streamed(told(running), house.meter, None)


async def rejoin(request: Request, branch: Branch, turn: int, caller: Talker, house: Here) -> Response:
    """Stream the answer to a turn that is under way, from its beginning. No content, if none is under way here."""
    await run_in_threadpool(own_chat, caller, branch)
    running = running_on(request, caller, branch, turn)
    return Response(status_code=204) if running is None else Streamed(told(running), house.meter, caller.key)


def edit(branch: Branch, body: OtherWords, caller: Talker, command: Command) -> JSONResponse:
    """Open a branch on which other words stand in place of a turn; what was attached to it stays attached."""
    chat = own_chat(caller, branch)
    content = with_other_words(chat, body.turn, body.words, body.without)
    outcome = chat.edit(body.turn, content, command_id=checked_command_id(command))
    return JSONResponse({"branch": None if isinstance(outcome, Refused) else outcome.branch})


def erase(branch: Branch, body: Nothing, caller: Talker, command: Command) -> JSONResponse:
    """Erase every word of a conversation of one's own. A legal hold says no."""
    chat: Chat = own_chat(caller, branch)
    conversations = caller.tenant.conversations
    outcome = conversations.erase_conversation(
        branch, by=chat.user, cause=ErasureCause.USER_REQUEST, command_id=checked_command_id(command)
    )
    if isinstance(outcome, Refused):
        return JSONResponse({"erased": False})
    return JSONResponse({"erased": True})
