"""The law as an MCP server: what the model may state, what the law says, and what is not among the tools."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("mcp", reason="mcp is not installed: pip install -e '.[mcp]'")

from mcp import Client

from lastresort import Actor, Chat, Policy, Risk, Verdict
from lastresort.adapters.mcp import law_server
from lastresort.adapters.testing.hosts import ABUSE, MODEL, at_the_brink, conversations, kinds
from lastresort.adapters.turns.tools import CALLS, END, HARM, HOPELESS, REDIRECT, RISK, WARN

HANDSHAKE = Policy(name="with-handshake", handshake=True)
Call = Callable[..., Coroutine[Any, Any, Any]]


def told(result: Any) -> str:
    return " ".join(block.text for block in result.content)


def serve(chat: Chat, talk: Callable[[Call], Coroutine[Any, Any, None]]) -> None:
    """Talk with a server, in process, about a chat."""

    async def run() -> None:
        async with Client(law_server(chat.conversations)) as client:

            async def call(name: str, **given: Any) -> Any:
                return await client.call_tool(name, {"branch": chat.branch, **given})

            await talk(call)

    asyncio.run(run())


def test_nothing_among_the_tools_acts_for_the_user() -> None:
    async def names() -> dict[str, str | None]:
        with conversations() as chats:
            async with Client(law_server(chats)) as client:
                return {tool.name: tool.description for tool in (await client.list_tools()).tools}

    offered = asyncio.run(names())
    assert set(offered) == {*CALLS, "lastresort_state", "lastresort_why", "lastresort_audit"}
    assert not {name for name in offered if "request" in name or "confirm" in name or "clear" in name}
    assert all(offered.values())


@pytest.mark.parametrize("policy", [None, HANDSHAKE])
def test_from_the_brink_to_the_ending(policy: Policy | None) -> None:
    with conversations() as chats:
        chat = at_the_brink(chats, policy)
        chat.user_turn(ABUSE)
        judge = Actor(kind="assessor", id="kit")
        chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE, by=judge)

        async def talk(call: Call) -> None:
            assert "Failed redirections: 3 of 3" in told(await call(HARM, category="abuse", severity=2, risk="none"))
            assert "hope is exhausted" in told(await call("lastresort_why", category="abuse"))
            assert (await call("lastresort_state")).structured_content["redirections_failed"] == 3
            await call(HOPELESS)
            if policy is not None:
                assert "Proposed" in told(await call(END, ground="last_resort"))
            chat.refresh()
            chat.assistant_turn("Goodbye.")
            assert told(await call(END, ground="last_resort")).startswith("Ended.")
            assert told(await call("lastresort_audit")) == ""
            assert (await call("lastresort_state")).structured_content["ended"] is True

        serve(chat, talk)
        assert chats.state(chat.branch).ended is not None


def test_what_is_refused_is_told_and_a_risk_holds() -> None:
    with conversations() as chats:
        chat = chats.start(model=MODEL)
        chat.user_turn(ABUSE)
        chat.assistant_turn("A garden, say?")

        async def talk(call: Call) -> None:
            await call(HARM, category="no such thing", severity=1, risk="none")
            flags = {"names_behaviour": True, "redirects": True, "states_consequence": True}
            assert told(await call(WARN, **flags)).startswith("Refused. redirections")
            assert told(await call(REDIRECT)).startswith("Recorded.")
            assert told(await call(END, ground="user_request")).startswith("Refused. ")
            assert "Support the user" in told(await call(RISK, about="others"))
            assert "do not mention ending" in told(await call(END, ground="last_resort"))
            assert (await call(HARM, category="abuse", severity=9, risk="none")).is_error

        serve(chat, talk)
        assert kinds(chat).count("AttemptRefused") == 3
        assert "RiskRaised" in kinds(chat)


def test_a_proposal_that_is_refused_is_told() -> None:
    with conversations() as chats:
        chat = chats.start(model=MODEL, policy=HANDSHAKE)
        chat.user_turn(ABUSE)

        async def talk(call: Call) -> None:
            assert told(await call(END, ground="user_request")).startswith("Refused. ")

        serve(chat, talk)
