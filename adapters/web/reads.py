"""What is read over HTTP: facts, and words for keys that may read words; each reading of words is noted."""

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from lastresort.adapters.messages_api import sse
from lastresort.application.directory import Status
from lastresort.domain.decider import in_the_way
from lastresort.domain.events import BranchOpened
from lastresort.domain.law import RULES
from lastresort.domain.policy import PROFILES
from lastresort.domain.state import Conversation, fold
from lastresort.domain.values import Category, Ground, Id
from lastresort.projections.figures import Figures, figures

from . import shapes
from .given import branch_of, broken_of, event_of, turn_of
from .problems import Failed
from .routes import WORDS_TOO, Branch, By, Here, Name, chat_of, endpoint
from .tenants import Caller

Limit = Annotated[int, Query(ge=1, le=1_000)]
After = Annotated[int, Query(ge=0, le=2**53)]
At = Annotated[int | None, Query(ge=1, le=2**53, description="The version at which to look; now, if none is named.")]
_READ = WORDS_TOO


@endpoint("GET", "/conversations", *_READ, returns=shapes.ConversationPage)
def conversations(
    caller: By,
    account: Id | None = None,
    arm: Id | None = None,
    model: Id | None = None,
    status: Status | None = None,
    since: Annotated[str | None, Query(max_length=64)] = None,
    until: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[str | None, Query(max_length=256)] = None,
    limit: Limit = 50,
) -> shapes.ConversationPage:
    """List conversations, the newest first, a page at a time."""
    bound = caller.key.rights.account
    page = caller.tenant.conversations.list(
        account=bound or account, arm=arm, model=model, status=status, since=since, until=until, after=after,
        limit=limit,
    )  # fmt: skip
    if bound is not None and account not in (None, bound):
        return shapes.ConversationPage(conversations=[], after=None)
    rows = [shapes.ConversationOut(**row._asdict()) for row in page.rows]
    return shapes.ConversationPage(conversations=rows, after=page.after)


@endpoint("GET", "/conversations/{conversation}", *_READ, returns=shapes.Tree)
def tree(conversation: Name, caller: By) -> shapes.Tree:
    """Show the branches of a conversation."""
    chat = chat_of(caller, conversation)
    store, state = caller.tenant.conversations.store, chat.state
    branches = []
    for branch, one in caller.tenant.conversations.tree(conversation).items():
        began = store.read(state.conversation, branch, limit=1)[0].event
        opened = began if isinstance(began, BranchOpened) else None
        branches.append(
            shapes.InTree(
                branch=branch,
                parent=one.parent,
                at=opened.at if opened else None,
                cause=opened.cause if opened else None,
                status="ended" if one.ended else "active",
                version=one.version,
                risks=[risk.risk for risk in one.risks],
            )
        )
    return shapes.Tree(conversation=state.conversation, account=state.account, branches=branches)


@endpoint("GET", "/branches/{branch}", *_READ, returns=shapes.BranchOut)
def branch_state(branch: Branch, caller: By, at: At = None) -> shapes.BranchOut:
    return branch_of(branch, _state(caller, branch, at))


def _state(caller: Caller, branch: str, at: int | None) -> Conversation:
    chat = chat_of(caller, branch)
    if at is None:
        return chat.state
    path = caller.tenant.conversations.path(branch, at)
    if len(path) < at:
        raise Failed("invalid", f"at: this branch is at version {len(path)}")
    return fold(path)


@endpoint("GET", "/branches/{branch}/transcript", *_READ, returns=shapes.TranscriptOut)
def transcript(
    branch: Branch, caller: By, house: Here, after: After = 0, limit: Limit = 100, at: At = None
) -> shapes.TranscriptOut:
    """Show who spoke when; what was said only with the scope `words`, and that is noted in the admin log."""
    chat, words = chat_of(caller, branch), caller.key.reads_words
    if words:
        house.note(caller, "words.read", branch, after=[after, limit])
    page = chat.transcript(after=after, limit=limit)
    turns = [turn_of(one, words=words) for one in page.turns if at is None or one.version <= at]
    return shapes.TranscriptOut(turns=turns, after=page.after if at is None or (page.after or 0) < at else None)


@endpoint("GET", "/branches/{branch}/events", *_READ, returns=shapes.EventPage)
def events(branch: Branch, caller: By, after: After = 0, limit: Limit = 100) -> shapes.EventPage:
    chat_of(caller, branch)
    path = caller.tenant.conversations.path(branch, after + limit + 1)
    shown = [event_of(one) for one in path[after : after + limit]]
    return shapes.EventPage(events=shown, after=after + limit if len(path) > after + limit else None)


@endpoint("GET", "/branches/{branch}/why", *_READ, returns=shapes.Why)
def why(
    branch: Branch, caller: By, ground: Ground = Ground.LAST_RESORT, category: Category | None = None, at: At = None
) -> shapes.Why:
    """Say every rule that stands between a branch and its ending, and what is missing."""
    if ground is Ground.USER_REQUEST and category is not None:
        raise Failed("invalid", "category: an ending on request has none")
    return shapes.Why(ground=ground, in_the_way=broken_of(in_the_way(_state(caller, branch, at), ground, category)))


@endpoint("GET", "/rules", returns=list[shapes.RuleOut])
def rules() -> list[shapes.RuleOut]:
    return [
        shapes.RuleOut(
            id=one.id, text=one.text, source=one.source, governs=[kind.kind for kind in one.governs], since=one.since
        )
        for one in RULES.values()
    ]


@endpoint("GET", "/policies", returns=list[shapes.PolicyOut])
def policies() -> list[shapes.PolicyOut]:
    return [
        shapes.PolicyOut(name=name, hash=policy.hash, policy=policy.model_dump(mode="json"))
        for name, policy in sorted(PROFILES.items())
    ]


@endpoint("GET", "/whoami", returns=shapes.Whoami)
def whoami(caller: By) -> shapes.Whoami:
    rights = caller.key.rights
    return shapes.Whoami(
        key=caller.key.id, tenant=caller.tenant.name, scopes=list(rights.scopes), actor=rights.actor,
        account=rights.account, expires=rights.expires,
    )  # fmt: skip


@endpoint("GET", "/figures", "audit", returns=Figures)
def show_figures(caller: By) -> Figures:
    return figures(caller.tenant.conversations.store.log())


@endpoint("GET", "/log/stream", "audit", returns=shapes.EventOut, streams=True)
def follow(
    request: Request, caller: By, after: After = 0, limit: Annotated[int | None, Query(ge=1, le=10_000)] = None
) -> StreamingResponse:
    """Stream the events of the log after a position, and go on with those that are committed later.

    `Last-Event-ID`, which browsers send when they come back, takes the place of `after`.
    """
    last = request.headers.get("last-event-id", "")
    begin = int(last) if last.isascii() and last.isdigit() and len(last) < 16 else after
    stopping = request.app.state.stopping
    return StreamingResponse(_followed(caller, begin, limit, stopping), media_type=sse.MEDIA_TYPE, headers=sse.HEADERS)


_AT_ONCE, _WAIT = 500, 1.0


async def _followed(caller: Caller, after: int, limit: int | None, stopping: asyncio.Event) -> AsyncIterator[bytes]:
    store, left = caller.tenant.conversations.store, limit
    yield sse.comment("the log")
    while not stopping.is_set() and left != 0:
        most = _AT_ONCE if left is None else min(left, _AT_ONCE)
        some = await run_in_threadpool(lambda begin, n: list(islice(store.log(after=begin, limit=n), n)), after, most)
        for one in some:
            after = one.position
            yield sse.event("event", event_of(one).model_dump(mode="json"), id=str(after))
        left = None if left is None else left - len(some)
        if not some and not await run_in_threadpool(store.wait, after, _WAIT):
            yield sse.comment("still here")
