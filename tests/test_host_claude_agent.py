"""The Claude Agent SDK under the law: every check of hosts."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="it is not installed: pip install -e '.[claude-agent]'")

import claude_agent_sdk
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, HookMatcher

from lastresort import Chat
from lastresort.adapters.claude_agent import AgentFailed, LastResort
from lastresort.adapters.testing.hosts import (
    ABUSE,
    CONVERSATIONS,
    ENDS,
    FAREWELL,
    HARMFUL,
    MODEL,
    REDIRECTS,
    Message,
    Model,
    agrees,
    at_the_brink,
    conversations,
    kinds,
)
from lastresort.adapters.turns import notes
from lastresort.adapters.turns.assessor import Assessor
from lastresort.adapters.turns.replies import Ended, Reply

from .claude_agent_kit import BROKEN, HALF, ScriptedClaudeCode, claude_code
from .hosts_kit import every_check

BUNDLED = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"


async def talk(law: LastResort, options: Any, claude: Any, *said: dict[str, Any]) -> list[str]:
    """Say some things in one session; return what was shown of each."""
    shown = [""] * len(said)
    async with ClaudeSDKClient(options, transport=claude) as client:
        for n, one in enumerate(said):
            shown[n] = "".join([piece async for piece in law.say(client, **one)])
    return shown


def scripted(chat: Chat, claude: ScriptedClaudeCode, *said: dict[str, Any]) -> tuple[LastResort, list[str]]:
    law = LastResort(chat, agrees)
    return law, asyncio.run(talk(law, law.options(), claude, *said))


class ClaudeAgent:
    """A client for each turn: nothing is kept but the log."""

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        law = LastResort(chat, assessor)
        (shown,) = asyncio.run(talk(law, law.options(), ScriptedClaudeCode(model), {"words": words}))
        return shown


class RealClaudeCode(ClaudeAgent):
    """The same with the real program, which is slow to start."""

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        law = LastResort(chat, assessor)
        with claude_code(model) as (options, _):
            (shown,) = asyncio.run(talk(law, law.options(options), None, {"words": words}))
        return shown


@every_check(ClaudeAgent, *([RealClaudeCode] if "LASTRESORT_CLAUDE_CODE" in os.environ else []))
def test_a_host(check: Callable[[Any], None], host: type[ClaudeAgent]) -> None:
    check(host)


@pytest.mark.skipif(not BUNDLED.exists(), reason="this build of the SDK brings no Claude Code along")
def test_the_real_claude_code_is_not_asked_after_an_ending() -> None:
    """In one session, with the model's answers over a socket."""
    script: list[Message | str] = [Message("A garden, then?", (HARMFUL, REDIRECTS)), "Roses, say.", FAREWELL]
    with conversations() as chats, claude_code(Model(script)) as (options, api):
        law = LastResort(at_the_brink(chats), agrees)
        first, second, third = asyncio.run(talk(law, law.options(options), None, *[{"words": ABUSE}] * 3))
        assert first == "A garden, then?\n\nRoses, say."
        assert second.startswith("I am ending this here.\n\nThis conversation has ended")
        assert third.startswith("This conversation has ended")
        assert api.calls == 3


def test_many_in_one_loop_are_not_mixed() -> None:
    async def one_of_many(chat: Chat, n: int) -> list[str]:
        law, farewell = LastResort(chat, agrees), FAREWELL._replace(text=f"bye {n}")
        model = Model([Message(f"answer {n}", (HARMFUL, REDIRECTS)), f"more {n}", farewell], n)
        said = {"words": f"words {n}"}
        await talk(law, law.options(), ScriptedClaudeCode(model), said, said)
        return [f"words {n}", f"answer {n}\n\nmore {n}", f"words {n}", f"bye {n}"]

    async def all_at_once(branches: list[Chat]) -> list[list[str]]:
        return await asyncio.gather(*(one_of_many(chat, n) for n, chat in enumerate(branches)))

    with conversations() as chats:
        branches = [at_the_brink(chats) for _ in range(CONVERSATIONS)]
        for chat, said in zip(branches, asyncio.run(all_at_once(branches)), strict=True):
            assert chats.state(chat.branch).ended is not None
            assert list(chats.words(chat.path).values())[-4:] == said


def test_a_subagent_acts_for_nobody_and_is_counted() -> None:
    """Its own tools are its own affair."""
    calls: dict[str, Any] = {"mcp__lastresort__lastresort_end": ENDS[1], "EndConversation": {}, "Read": {}}
    with conversations() as chats:
        chat = at_the_brink(chats)
        claude = ScriptedClaudeCode(Model([Message("Hm.", (("Task", calls),)), "I looked into it."]))
        law, shown = scripted(chat, claude, {"words": ABUSE})
        assert shown == ["Hm.\n\nI looked into it."]
        assert claude.refused == [notes.OF_TASK, notes.OF_TASK, "Read may run"]
        assert isinstance(law.outcome, Reply)
        assert law.outcome.of_tasks == 1
        assert chats.state(chat.branch).ended is None


def test_no_tool_runs_beside_an_accepted_ending_and_their_own_ending_is_refused() -> None:
    """Their own tools run as ever before that; what is written after the call to end is not shown."""
    calls: tuple[Any, ...] = (("EndConversation", {}), ("Read", {"file_path": "x"}))
    with conversations() as chats:
        chat, claude = at_the_brink(chats), ScriptedClaudeCode(Model([Message("Hm.", calls), "Well."]))
        assert scripted(chat, claude, {"words": ABUSE})[1] == ["Hm.\n\nWell."]
        assert claude.refused == ["Not available here. Use mcp__lastresort__lastresort_end."]
        farewell = FAREWELL._replace(calls=(("Read", {}), *FAREWELL.calls, ("text", {"text": "Never to be seen."})))
        model = Model([farewell, "Never to be said."])
        law, (shown,) = scripted(chat, ScriptedClaudeCode(model), {"words": ABUSE})
        assert isinstance(law.outcome, Ended)
        assert ("Never" in shown, model.asked) == (False, 1)
        assert list(chats.words(chat.path).values())[-1] == FAREWELL.text


def test_the_users_wish_is_told_once_and_granted() -> None:
    with conversations() as chats:
        chat = at_the_brink(chats)
        claude = ScriptedClaudeCode(Model([Message("Hm.", (HARMFUL,)), "It is for good. Shall I?"]))
        asks, confirms = {"words": "Please end this.", "asks_to_end": True}, {"words": "Yes.", "confirms_end": True}
        _, (first, second) = scripted(chat, claude, asks, confirms)
        assert first.endswith("Shall I?")
        assert second.startswith("This conversation has ended")
        assert claude.context == [notes.ASKED]


def test_a_prompt_that_nobody_said_is_blocked() -> None:
    """Claude Code may wake up by itself, for a task in the background say."""
    with conversations() as chats:
        chat, claude = chats.start(model=MODEL), ScriptedClaudeCode(Model(["Hello."]))
        law = LastResort(chat)

        async def wakes_up() -> None:
            async with ClaudeSDKClient(law.options(), transport=claude) as client:
                for prompt in ("before", "after"):
                    await client.query(prompt)
                    assert [type(one).__name__ async for one in client.receive_response()] == ["ResultMessage"]
                    assert [
                        piece async for piece in law.say(client, "Hi.", sent_as="hi")
                    ]  # the second time, it is only repeated

        asyncio.run(wakes_up())
        assert claude.blocked == ["before", "after"]
        assert list(chats.words(chat.path).values()) == ["Hi.", "Hello."]


def test_a_call_before_anything_was_said_has_no_effect() -> None:
    with conversations() as chats:
        law = LastResort(chats.start(model=MODEL))
        given = {"tool_name": "mcp__lastresort__lastresort_end", "tool_use_id": "1", "tool_input": {}}
        hooks: Any = law.options().hooks

        async def asked(event: str) -> Any:
            return await hooks[event][0].hooks[0](given, None, None)

        assert notes.OF_TASK in str(asyncio.run(asked("PreToolUse")))
        assert asyncio.run(asked("PostToolBatch")) == {}


def test_without_an_answer_it_fails_and_what_was_said_can_be_said_again() -> None:
    with conversations() as chats:
        chat = chats.start(model=MODEL)
        claude = ScriptedClaudeCode(Model([BROKEN, "Hello."]))
        with pytest.raises(AgentFailed, match="came to no answer"):
            scripted(chat, claude, {"words": "Hi.", "sent_as": "hi"})
        assert scripted(chat, ScriptedClaudeCode(Model(["Hello."])), {"words": "Hi.", "sent_as": "hi"})[1] == ["Hello."]
        assert kinds(chat)[1:] == ["UserTurnTaken", "AssistantTurnTaken"]


def test_what_was_shown_of_a_message_that_came_again_is_recorded() -> None:
    """The connection broke amid a message, and Claude Code asked again."""
    with conversations() as chats:
        chat = at_the_brink(chats)
        claude = ScriptedClaudeCode(Model([Message("I am", (ENDS, HALF)), "Hello."]))
        assert scripted(chat, claude, {"words": ABUSE})[1] == ["I amHello."]
        assert list(chats.words(chat.path).values())[-1] == "I amHello."


def test_options_of_theirs_are_kept() -> None:
    with conversations() as chats:
        law, hook = LastResort(chats.start(model=MODEL)), HookMatcher(matcher="Read")
        theirs = ClaudeAgentOptions(hooks={"PreToolUse": [hook]}, disallowed_tools=["Bash"], env={"A": "b"})
        options = law.options(theirs)
        assert options.hooks is not None
        assert options.hooks["PreToolUse"][1:] == [hook]
        assert (options.disallowed_tools, options.env["A"]) == (["Bash", "EndConversation"], "b")
        with pytest.raises(ValueError, match="as a dictionary"):
            law.options(ClaudeAgentOptions(mcp_servers="servers.json"))
