"""Peers, those that are installed: LangGraph with its checkpointers, and the sessions of OpenAI Agents.

Each is used as its documentation shows, but for one thing: what it keeps is as durable as with everybody else, so
LangGraph is asked to write each step before the next begins (`durability="sync"`).
"""

import asyncio
import operator
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

from .contenders import ROLES, WORDS, Fillable
from .place import absent


class Peer(NamedTuple):
    """A contender that may not be installed, and how to open it at a path or URL."""

    label: str
    opened: Callable[[Any], Fillable]


def on_sqlite() -> list[Peer]:
    """Return the peers that keep conversations in SQLite."""
    found = []
    if not absent(("langgraph", "langgraph-checkpoint-sqlite")):
        found.append(Peer("LangGraph", langgraph_on_sqlite))
    if not absent(("openai-agents",)):
        found.append(Peer("OpenAI Agents", Session))
    return found


def on_postgres() -> list[Peer]:
    """Return the peers that keep conversations in PostgreSQL."""
    found = not absent(("langgraph", "langgraph-checkpoint-postgres"))
    return [Peer("LangGraph", langgraph_on_postgres)] if found else []


class Messages(TypedDict):
    """The state of a graph that only talks."""

    messages: Annotated[list[dict[str, str]], operator.add]


class LangGraph:
    """A graph of one node, the model's; an invocation is an exchange, and its checkpoints are its turns."""

    def __init__(self, saver: Any, close: Callable[[], None]) -> None:
        from langgraph.graph import StateGraph

        graph = StateGraph(Messages)
        graph.add_node("model", lambda state: {"messages": [{"role": "assistant", "content": WORDS}]})
        graph.set_entry_point("model")
        graph.set_finish_point("model")
        self.graph = graph.compile(checkpointer=saver)
        self.close = close

    def start(self, conversation: str) -> None:
        pass

    def exchange(self, conversation: str) -> None:
        said: Any = {"messages": [{"role": "user", "content": WORDS}]}
        self.graph.invoke(said, self._thread(conversation), durability="sync")

    def load(self, conversation: str) -> Sequence[str]:
        kept = self.graph.get_state(self._thread(conversation)).values["messages"]
        return [message["content"] for message in kept]

    def fill(self, conversation: str, turns: int) -> None:
        """Give a thread that many turns, in one step, but for the last two."""
        said = [{"role": ROLES[number % 2], "content": WORDS} for number in range(turns - 2)]
        self.graph.update_state(self._thread(conversation), {"messages": said}, as_node="model")
        self.exchange(conversation)

    def head(self, conversation: str) -> Any:
        """Return where the thread stands, to branch from there later."""
        return self.graph.get_state(self._thread(conversation)).config

    def branch(self, at: Any) -> None:
        """Go on from an earlier checkpoint with another turn of the user."""
        self.graph.update_state(at, {"messages": [{"role": "user", "content": WORDS}]}, as_node="model")

    def _thread(self, conversation: str) -> Any:
        return {"configurable": {"thread_id": conversation}}


def langgraph_on_sqlite(path: Path) -> LangGraph:
    from langgraph.checkpoint.sqlite import SqliteSaver

    connection = sqlite3.connect(path, check_same_thread=False)
    saver = SqliteSaver(connection)
    saver.setup()
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "not as durable as the others"
    return LangGraph(saver, connection.close)


def langgraph_on_postgres(url: str) -> LangGraph:
    from langgraph.checkpoint.postgres import PostgresSaver

    opened = PostgresSaver.from_conn_string(url)
    saver = opened.__enter__()
    saver.setup()
    return LangGraph(saver, lambda: opened.__exit__(None, None, None))


class Session:
    """OpenAI Agents' SQLiteSession: an item a turn, as its runner adds them."""

    def __init__(self, path: Path) -> None:
        from agents import SQLiteSession

        self._new: Callable[[str], Any] = lambda conversation: SQLiteSession(conversation, path)
        self._sessions: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()

    def start(self, conversation: str) -> None:
        self._sessions[conversation] = self._new(conversation)

    def exchange(self, conversation: str) -> None:
        async def take() -> None:
            for role in ROLES:
                await self._sessions[conversation].add_items([{"role": role, "content": WORDS}])

        self._loop.run_until_complete(take())

    def fill(self, conversation: str, turns: int) -> None:
        """Give a session that many turns, in one commit."""
        self.start(conversation)
        items = [{"role": ROLES[number % 2], "content": WORDS} for number in range(turns)]
        self._loop.run_until_complete(self._sessions[conversation].add_items(items))

    def load(self, conversation: str) -> Sequence[str]:
        return [item["content"] for item in self._loop.run_until_complete(self._sessions[conversation].get_items())]

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()
        self._loop.close()
