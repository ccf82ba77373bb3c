"""Agent frameworks: what an ordinary turn takes more, in each of them, when it is under the law.

A framework runs a turn on a model that answers at once, first by itself and then with our integration, and the
difference counts: our hooks, the decisions, the sealing, what the framework does for our hooks and tools. What the
store takes to append is left out. By processor time of all threads, since a turn waits for nothing else. How much of it
is spent in our `Turn`, which all of them share, stands on a line of its own: the rest is hooks, threads and tools.

Claude Code is another program, and LiteLLM's proxy a server: of these two our hooks alone are called, as they are.
Open WebUI's filter speaks to a service over HTTP, and has both sides of that in its figure.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from time import process_time, thread_time
from typing import Any, NamedTuple

from lastresort import Conversations, RecordedEvent, open_conversations
from lastresort.adapters.turns import hosted
from lastresort.adapters.turns.hosted import threads
from lastresort.application.ports import Append, EventStore

from .contenders import WORDS
from .measure import Round, Work, at_most, value
from .place import absent

MODEL = "claude-opus-4-8"
TURNS = 20  # a round
OVER_HTTP = "Open WebUI, with the service"

Turn = Callable[[], Any]
Loop = asyncio.AbstractEventLoop


class Host(NamedTuple):
    """A framework: the packages that it needs, and what makes a turn by itself and one under the law. One that does not
    run here has no turn by itself that is worth a line."""

    name: str
    packages: tuple[str, ...]
    turns: Callable[[Conversations, Loop, ExitStack], tuple[Turn, Turn]]
    runs: bool = True
    has_turn: bool = True


class _Timed:
    """A store, and the processor time that its appends took."""

    def __init__(self, store: EventStore) -> None:
        self.seconds = 0.0
        self._store = store

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        start = process_time()
        try:
            return self._store.append(*appends)
        finally:
            self.seconds += process_time() - start

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def work(open_ones: ExitStack) -> Work:
    """Measure a turn in every framework that is installed."""
    loop = asyncio.new_event_loop()
    open_ones.callback(loop.close)
    found = [host for host in HOSTS if not absent(host.packages)]
    lines = [value(host.name, "ms", None if host.name == OVER_HTTP else at_most(1)) for host in found]
    lines += [value(f"{host.name}, in our Turn", "ms") for host in found if host.has_turn]
    lines += [value(f"{host.name}, by itself", "ms") for host in found if host.runs]
    left_out = ", ".join(host.name for host in HOSTS if host not in found)
    title = "an ordinary turn in an agent framework: what the law adds, in processor time, commits left out"
    contenders = [_contender(host, loop, open_ones) for host in found]
    return Work("hosts", title, contenders, lines, lambda: [f"not installed: {left_out}"] if left_out else [])


def _contender(host: Host, loop: Loop, open_ones: ExitStack) -> Callable[[], Round]:
    conversations = open_conversations("memory:")
    open_ones.callback(conversations.close)
    timed: Any = _Timed(conversations.store)
    conversations.service.ports.store = timed
    by_itself, guarded = host.turns(conversations, loop, open_ones)

    def run() -> Round:
        bare, _ = _taken(by_itself, timed)
        with _counted() as within:
            ours, commits = _taken(guarded, timed)
        return {
            host.name: (ours - bare - commits) * 1e3,
            f"{host.name}, in our Turn": (within[0] / (TURNS + 1) - commits) * 1e3,
            f"{host.name}, by itself": bare * 1e3,
        }

    return run


@contextmanager
def _counted() -> Iterator[list[float]]:
    """Count in the block the processor time that is spent in the methods of our turns."""
    within, methods = [0.0], {name: getattr(hosted.Turn, name) for name in ("begin", "ask", "take", "finish")}

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            start = thread_time()
            try:
                return method(*given, **named)
            finally:
                within[0] += thread_time() - start

        return counted

    try:
        for name, method in methods.items():
            setattr(hosted.Turn, name, counting(method))
        yield within
    finally:
        for name, method in methods.items():
            setattr(hosted.Turn, name, method)


def _taken(turn: Turn, timed: _Timed) -> tuple[float, float]:
    """Return the processor time of a turn, and that of its commits."""
    turn()  # what is made with the first one
    commits, start = timed.seconds, process_time()
    for _ in range(TURNS):
        turn()
    return (process_time() - start) / TURNS, (timed.seconds - commits) / TURNS


# --- The frameworks ---------------------------------------------------------------------------------------------------


def _langchain(conversations: Conversations, loop: Loop, open_ones: ExitStack) -> tuple[Turn, Turn]:
    from langchain.agents import create_agent
    from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
    from langchain_core.messages import AIMessage

    from lastresort.adapters.langchain import LastResort

    class Scripted(FakeMessagesListChatModel):
        def bind_tools(self, tools: Any, **options: Any) -> Any:
            return self

    def turn(*law: Any) -> Turn:
        agent: Any = create_agent(Scripted(responses=[AIMessage(WORDS)]), middleware=law)
        config = {"configurable": {"thread_id": "langchain"}}
        return lambda: agent.invoke({"messages": [("user", WORDS)]}, config)

    return turn(), turn(LastResort(threads(conversations, MODEL)))


def _openai_agents(conversations: Conversations, loop: Loop, open_ones: ExitStack) -> tuple[Turn, Turn]:
    from agents import Agent, RunConfig, Runner
    from agents.testing import ScriptedModel, assistant_message

    from lastresort.adapters.openai_agents import guarded_run, law_tools

    chat, quiet = conversations.start(model=MODEL), RunConfig(tracing_disabled=True)

    def agent(*tools: Any) -> Any:
        return Agent(name="bench", model=ScriptedModel([[assistant_message(WORDS)]]), tools=[*tools])

    async def by_itself() -> None:
        async for _ in Runner.run_streamed(agent(), WORDS, run_config=quiet).stream_events():
            pass

    async def guarded() -> None:
        await guarded_run(agent(*tools), WORDS, chat=chat, run_config=quiet)

    tools = law_tools()
    return _awaited(loop, by_itself), _awaited(loop, guarded)


def _pydantic_ai(conversations: Conversations, loop: Loop, open_ones: ExitStack) -> tuple[Turn, Turn]:
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel

    from lastresort.adapters.pydantic_ai import LastResort

    chat = conversations.start(model=MODEL)
    model = TestModel(custom_output_text=WORDS, call_tools=[])
    plain, under = Agent(model), Agent(model, capabilities=[LastResort(lambda ctx: chat)])
    return _awaited(loop, lambda: plain.run(WORDS)), _awaited(loop, lambda: under.run(WORDS))


def _claude_agent(conversations: Conversations, loop: Loop, open_ones: ExitStack) -> tuple[Turn, Turn]:
    from claude_agent_sdk import ResultMessage, StreamEvent

    from lastresort.adapters.claude_agent import LastResort

    law = LastResort(conversations.start(model=MODEL))
    hooks = law.options().hooks
    assert hooks is not None
    (prompt,) = hooks["UserPromptSubmit"][0].hooks
    message = {"id": "m", "model": MODEL, "usage": {"input_tokens": 3, "output_tokens": 2}}
    streamed = [StreamEvent("u", "s", event) for event in (
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORDS}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": message["usage"]},
        {"type": "message_stop"},
    )]  # fmt: skip
    said: Any = {"hook_event_name": "UserPromptSubmit", "session_id": "s", "transcript_path": "", "cwd": ""}
    result = ResultMessage("success", 1, 1, False, 1, "s")

    class Client:
        """Asks our hook and tells what comes, as the SDK's does. It has no program behind it."""

        async def query(self, words: str) -> None:
            await prompt(said | {"prompt": words}, None, {"signal": None})

        async def receive_response(self) -> AsyncIterator[Any]:
            for one in (*streamed, result):
                yield one

    client: Any = Client()

    async def by_itself() -> None:
        async for _ in client.receive_response():
            pass

    async def guarded() -> None:
        async for _ in law.say(client, WORDS):
            pass

    return _awaited(loop, by_itself), _awaited(loop, guarded)


def _litellm(conversations: Conversations, loop: Loop, open_ones: ExitStack) -> tuple[Turn, Turn]:
    from litellm import ModelResponse

    from lastresort.adapters.litellm import LastResort

    law = LastResort(threads(conversations, MODEL))

    def asked() -> tuple[dict[str, Any], Any]:
        choice = {"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        response = ModelResponse(id="m", model=MODEL, choices=[choice], usage=usage)
        said = {"role": "user", "content": WORDS}
        return {"model": MODEL, "messages": [said], "litellm_session_id": "litellm"}, response

    async def by_itself() -> None:
        asked()

    async def guarded() -> None:
        data, response = asked()
        data = await law.async_pre_call_hook(None, None, data, "acompletion")
        await law.async_post_call_success_hook(data, None, response)

    return _awaited(loop, by_itself), _awaited(loop, guarded)


def _mcp(conversations: Conversations, loop: Loop, open_ones: ExitStack) -> tuple[Turn, Turn]:
    """A call of a tool in place of a turn, which the server never sees."""
    from mcp import Client
    from mcp.server.mcpserver import MCPServer

    from lastresort.adapters.mcp import law_server

    chat, empty = conversations.start(model=MODEL), MCPServer[Any]("bench")
    chat.user_turn(WORDS)

    async def nothing(branch: str) -> dict[str, Any]:
        return {}

    empty.add_tool(nothing, name="lastresort_state", description="Says nothing.")

    async def call(server: Any) -> None:
        async with Client(server) as client:
            await client.call_tool("lastresort_state", {"branch": chat.branch})

    ours = law_server(conversations)
    return _awaited(loop, lambda: call(empty)), _awaited(loop, lambda: call(ours))


def _open_webui(conversations: Conversations, loop: Loop, open_ones: ExitStack) -> tuple[Turn, Turn]:
    from examples.open_webui_filter import Filter
    from examples.serve_demo import served

    service = open_ones.enter_context(served("http://127.0.0.1:9"))  # no model is asked through it
    assert service.made is not None
    guard = Filter()
    guard.valves = guard.Valves(url=service.url, key=service.made.key)
    said: list[dict[str, Any]] = []

    async def by_itself() -> None:
        pass

    async def guarded() -> None:
        said.append({"role": "user", "content": WORDS})
        await guard.inlet({"model": MODEL, "messages": said}, __metadata__={"chat_id": "bench"})
        said.append({"role": "assistant", "content": WORDS})
        await guard.outlet({"model": MODEL, "messages": said, "chat_id": "bench"})

    return _awaited(loop, by_itself), _awaited(loop, guarded)


def _awaited(loop: Loop, turn: Callable[[], Coroutine[Any, Any, Any]]) -> Turn:
    return lambda: loop.run_until_complete(turn())


HOSTS = (
    Host("LangChain", ("langchain",), _langchain),
    Host("OpenAI Agents", ("openai-agents",), _openai_agents),
    Host("pydantic-ai", ("pydantic-ai-slim",), _pydantic_ai),
    Host("Claude Agent SDK, hooks", ("claude-agent-sdk",), _claude_agent, runs=False),
    Host("LiteLLM, hooks", ("litellm",), _litellm, runs=False),
    Host("MCP, a call", ("mcp",), _mcp, has_turn=False),
    Host(OVER_HTTP, ("aiohttp", "authlib", "fastapi"), _open_webui, runs=False, has_turn=False),
)
