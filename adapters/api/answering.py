"""Turns over the native API: the user speaks, the service asks the model under the law, and the answer comes back whole
or as server-sent events: `turn`, `delta`, then one of `tool_calls`, `done`, `ended`, `overtaken`, `error`.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import Header, Path, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from lastresort.adapters.claude import AsyncClaude, Ended, Outcome, Overtaken, Pending
from lastresort.adapters.claude.environment import FAILURES, client_of, status_of
from lastresort.adapters.gateway import tables as of_gateway
from lastresort.adapters.messages_api import sse
from lastresort.adapters.native_api import bodies, shapes
from lastresort.adapters.native_api.shapes import Answered, EndedOut, EndingOut, OvertakenOut
from lastresort.adapters.service import problems
from lastresort.adapters.service.keys import theirs
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import Caller, House
from lastresort.adapters.service.under_way import Running, Said, UnderWay
from lastresort.application.chat import Chat
from lastresort.application.outcomes import UnknownBranch
from lastresort.application.transcript import TranscriptTurn
from lastresort.domain.decider import Refused

from .given import outcome_of, refused_of
from .routes import Branch, By, Command, Here, chat_of, endpoint
from .streamed import Streamed

PENDING_SECONDS = 24 * 3600
_PENDING = "pending "
_CLIENTS = 64
Given = Answered | EndedOut | OvertakenOut


class Models:
    """Who answers, by the credentials that models are asked with."""

    def __init__(self, house: House) -> None:
        self._upstream = house.config.upstream
        self._by_key: OrderedDict[str, AsyncClaude] = OrderedDict()

    def of(self, request: Request) -> AsyncClaude:
        """Return who answers a request.

        Raises:
            Failed: there are no credentials to ask a model with.
        """
        up = self._upstream
        held = up.credentials == "held"
        key = os.environ.get(up.key_env, "") if held else theirs(dict(request.headers.raw))
        if not key:
            where = f"the environment variable {up.key_env}" if held else "the header x-api-key"
            raise Failed("upstream", f"no credentials of the upstream in {where}")
        name = hashlib.sha256(key.encode()).hexdigest()
        if name not in self._by_key:
            client = client_of(up.base_url, key, up.timeout)
            self._by_key[name] = AsyncClaude(client, max_tokens=up.max_tokens)
            while len(self._by_key) > _CLIENTS:
                self._by_key.popitem(last=False)
        self._by_key.move_to_end(name)
        return self._by_key[name]


@endpoint("POST", "/branches/{branch}/turns", "converse", returns=Given | shapes.Done | shapes.RefusedOut, streams=True)
async def turn(branch: Branch, body: bodies.Turn, request: Request, caller: By, house: Here, command: Command) -> Any:
    """Record what the user says and answer it: once, however often it is sent under its Idempotency-Key."""
    chat = await run_in_threadpool(chat_of, caller, branch)
    if not body.answer:
        if body.act is not None:
            raise Failed("invalid", "act: an act needs an answer")
        took = await run_in_threadpool(lambda: chat.user_turn(body.content, command_id=command))
        return outcome_of(took)
    model = request.app.state.models.of(request)
    asks, confirms = body.act == "request_end", body.act == "confirm_end"
    return await _answered(
        request, caller, house, chat,
        lambda: model.stream(chat, body.content, asks_to_end=asks, confirms_end=confirms, command_id=command),
    )  # fmt: skip


@endpoint("POST", "/branches/{branch}/resume", "converse", returns=Given, streams=True)
async def resume(branch: Branch, body: bodies.Nothing, request: Request, caller: By, house: Here) -> Any:
    """Answer what the user said last; if that was answered, give that answer."""
    chat = await run_in_threadpool(chat_of, caller, branch)
    if chat.seen is None:
        raise Failed("invalid", "nobody has spoken on this branch")
    model = request.app.state.models.of(request)
    return await _answered(request, caller, house, chat, lambda: model.stream(chat))


@endpoint("POST", "/branches/{branch}/tool_results", "converse", returns=Given, streams=True)
async def tool_results(branch: Branch, body: bodies.ToolResults, request: Request, caller: By, house: Here) -> Any:
    """Go on with a turn that waits for the results of its calls."""
    chat = await run_in_threadpool(chat_of, caller, branch)
    vault, tables = caller.tenant.conversations.service.ports.vault, caller.tenant.tables
    now = int(time.time())
    kept = await run_in_threadpool(lambda: of_gateway.parked(tables, vault, _PENDING + body.pending, now=now))
    if kept is None or kept.branch != branch:
        raise Failed("not-found", "no turn of this branch waits under that name; `resume` answers it again")
    pending = Pending.model_validate_json(kept.text)
    model = request.app.state.models.of(request)
    given = await _answered(request, caller, house, chat, lambda: model.stream(chat, body.results, pending=pending))
    await run_in_threadpool(of_gateway.unpark, tables, [_PENDING + body.pending])
    return given


@endpoint("POST", "/branches/{branch}/stop", "converse", returns=shapes.Stopped)
async def stop(branch: Branch, body: bodies.Nothing, request: Request, caller: By) -> shapes.Stopped:
    """Stop the answer under way on a branch. What was shown of it is recorded, and warns and redirects nobody."""
    await run_in_threadpool(chat_of, caller, branch)
    stopped = 0
    for one in request.app.state.under_way.on(caller.tenant.name, branch):
        if one.task is not None and one.task.cancel():
            stopped += 1
            await one.last()
    return shapes.Stopped(stopped=stopped)


@endpoint("GET", "/branches/{branch}/turns/{turn}/stream", "converse", returns=Given, streams=True)
async def rejoin(
    branch: Branch,
    turn: Annotated[int, Path(ge=1, le=2**53)],
    request: Request,
    caller: By,
    house: Here,
    last_event_id: Annotated[str | None, Header(max_length=128)] = None,
) -> Response:
    """Read the answer to a turn from the event after `Last-Event-ID` on; once it is over, the recorded one."""
    chat = await run_in_threadpool(chat_of, caller, branch)
    under_way: UnderWay = request.app.state.under_way
    last = last_event_id or ""
    after = int(last) if last.isascii() and last.isdigit() and len(last) < 16 else 0
    running = under_way.find(caller.tenant.name, branch, turn)
    if running is None:
        running = await run_in_threadpool(_recorded, house, caller, chat, turn)
        after = 0
    return Streamed(_told(running, after), house.meter, caller.key)


def _recorded(house: House, caller: Caller, chat: Chat, turn: int) -> Running:
    """Return the answer that the log has to a turn, as it would have come."""
    found: TranscriptTurn | None = None
    page = chat.transcript(after=turn, limit=1)
    if page.turns and page.turns[0].speaker == "assistant":
        found = page.turns[0]
    if found is None:
        raise Failed("not-found", "that turn has no answer, and none is under way here; `resume` asks for one")
    house.note(caller, "words.read", chat.branch, after=[turn])
    running = Running()
    given = Answered(
        branch=chat.branch, turn=turn, version=found.version, text=found.text or "", stop_reason=found.stop_reason,
        model=found.by.id,
    )  # fmt: skip
    running.events = [
        Said("turn", {"branch": chat.branch, "turn": turn}),
        Said("delta", {"text": found.text or ""}),
        Said("done", given.model_dump(mode="json")),
    ]
    running.end()
    return running


async def _answered(request: Request, caller: Caller, house: House, chat: Chat, begin: Callable[[], Any]) -> Response:
    """Begin an answer, and give it as the request asks for it: in pieces, or whole."""
    running = begin_answer(request, caller, house, chat, begin)
    if sse.MEDIA_TYPE in request.headers.get("accept", ""):
        return Streamed(_told(running, 0), house.meter, None)
    last = await asyncio.shield(asyncio.ensure_future(running.last()))
    if last.name == "error":
        body = {key: value for key, value in last.data.items() if key != "headers"}
        return JSONResponse(body, body["status"], last.data.get("headers"), media_type="application/problem+json")
    return JSONResponse(last.data)


def begin_answer(request: Request, caller: Caller, house: House, chat: Chat, begin: Callable[[], Any]) -> Running:
    """Begin an answer, which goes on even if nobody reads it, and return it.

    Args:
        request: that asks for it.
        caller, house: for whom, and what counts it.
        chat: where.
        begin: returns an asynchronous context manager of a stream, as `AsyncClaude.stream` does.

    Raises:
        Failed: the service is about to stop.
        TooMuch: the key has as many streams as it may.
    """
    if request.app.state.stopping.is_set():
        raise Failed("stopping", headers={"retry-after": "1"})
    under_way: UnderWay = request.app.state.under_way
    streams = contextlib.ExitStack()
    streams.enter_context(house.meter.stream(caller.key))

    async def work(running: Running) -> None:
        with streams:
            await _carry_out(under_way, running, caller, house, chat, begin)

    return under_way.begin(work)


async def _told(running: Running, after: int) -> AsyncIterator[bytes]:
    async for number, said in running.read(after):
        yield sse.comment("thinking") if said is None else sse.event(said.name, said.data, id=str(number))


async def _carry_out(
    under_way: UnderWay, running: Running, caller: Caller, house: House, chat: Chat, begin: Callable[[], Any]
) -> None:
    before, told = chat.seen, False

    def tell(turn: int | None) -> None:
        nonlocal told
        if not told and turn is not None:
            told = True
            under_way.place(caller.tenant.name, chat.branch, turn, running)
            running.say("turn", {"branch": chat.branch, "turn": turn})

    async def watch() -> None:
        while chat.seen == before:
            await asyncio.sleep(0.01)
        tell(chat.seen)

    watching = asyncio.create_task(watch())
    try:
        async with begin() as stream:
            try:
                async for piece in stream:
                    tell(chat.seen)
                    running.say("delta", {"text": piece})
                outcome: Outcome = await stream.reply()
            except asyncio.CancelledError:
                await stream.close()
                tell(chat.seen)
                running.say("done", _stopped(chat))
                return
        tell(chat.seen)
        if (used := getattr(outcome, "usage", None)) is not None:
            house.used(caller.key, used.input_tokens + used.output_tokens)
        running.say(*await run_in_threadpool(_given, caller, chat, outcome))
    except FAILURES as error:
        running.say("error", _upstream(error))
    except Exception as error:  # whatever it is, the reader is told that the answer is over, and nothing of words
        running.say("error", problems.of(error))
    finally:
        watching.cancel()


def _stopped(chat: Chat) -> dict[str, Any]:
    with contextlib.suppress(UnknownBranch):
        state = chat.state
        turn = state.unit.turn if state.unit else 0
        version = state.answered_by if state.answered else None
        given = Answered(branch=chat.branch, turn=turn, version=version, text="", stop_reason="stopped")
        return given.model_dump(mode="json")
    return {}


def _given(caller: Caller, chat: Chat, outcome: Outcome) -> tuple[str, dict[str, Any]]:
    """Return the last event of an answer."""
    if isinstance(outcome, Overtaken):
        return "overtaken", OvertakenOut(text=outcome.text).model_dump(mode="json")
    if isinstance(outcome, Ended):
        ending = EndingOut(
            branch=outcome.branch, version=outcome.version, ground=outcome.ground, category=outcome.category,
            options=list(outcome.options), notice=outcome.notice, text=outcome.text,
            appeal_until=outcome.appeal_until, turn=outcome.turn,
        )  # fmt: skip
        ended = EndedOut(ended=ending, handed_back=outcome.handed_back, risk=outcome.risk)
        return "ended", ended.model_dump(mode="json")
    pending = _parked(caller, outcome.pending) if outcome.pending is not None else None
    given = Answered(
        branch=chat.branch,
        turn=chat.seen or 0,
        version=outcome.version,
        text=outcome.text,
        stop_reason=outcome.stop_reason,
        model=outcome.model,
        holding=outcome.holding,
        tool_calls=[shapes.ToolCallOut(**call.model_dump()) for call in outcome.tool_calls],
        pending=pending,
        refusals=[refused_of(one) for one in outcome.refusals if isinstance(one, Refused)],
    )
    return ("tool_calls" if pending else "done"), given.model_dump(mode="json")


def _parked(caller: Caller, pending: Pending) -> str:
    conversations, now = caller.tenant.conversations, int(time.time())
    name = secrets.token_urlsafe(16)
    tree = conversations.state(pending.branch).conversation
    of_gateway.park(
        caller.tenant.tables, conversations.service.ports.vault, [_PENDING + name], tree, pending.branch,
        pending.model_dump_json(), expires=now + PENDING_SECONDS, now=now,
    )  # fmt: skip
    return name


def _upstream(error: Exception) -> dict[str, Any]:
    """Return a failure of the model's API as a problem, with its status and nothing of what it says."""
    status, headers = status_of(error)
    told = f"the upstream answered {status}" if status else f"the upstream failed: {type(error).__name__}"
    return problems.problem("upstream", told) | ({"headers": headers} if headers else {})
