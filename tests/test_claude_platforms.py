"""Claude on platforms: Bedrock, Vertex and Foundry have clients of their own, and other names for models."""

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import anyio
import pytest

from lastresort import Conversations, Policy
from lastresort.adapters.claude import AsyncClaude, AsyncClaudeAssessor, Claude, ClaudeAssessor, Ended
from lastresort.adapters.loopback import Answer, Loopback, Scripted, loopback, text
from lastresort.adapters.turns.replies import Reply
from lastresort.domain.values import SecondOpinion

from .claude_kit import ABUSE, ENDING, SECOND, brink
from .narrow import must_be
from .stores import opened

Client = Callable[[Loopback], Any]

VERTEX: dict[str, Any] = {"region": "us-east5", "project_id": "p", "access_token": "x"}
BEDROCK: dict[str, Any] = {"aws_region": "us-east-1", "api_key": "x"}
ON_VERTEX, ON_BEDROCK = "claude-opus-4-8@20260115", "us.anthropic.claude-opus-4-8-20260115-v1:0"

SYNC = [
    pytest.param(lambda api: anthropic.AnthropicVertex(base_url=api.url, **VERTEX), ON_VERTEX, True, id="Vertex"),
    pytest.param(lambda api: anthropic.AnthropicBedrock(base_url=api.url, **BEDROCK), ON_BEDROCK, False, id="Bedrock"),
    pytest.param(
        lambda api: anthropic.AnthropicFoundry(base_url=api.url, api_key="x"), "claude-opus-4-8", True, id="Foundry"
    ),
]
ASYNC = [
    pytest.param(lambda api: anthropic.AsyncAnthropicVertex(base_url=api.url, **VERTEX), ON_VERTEX, id="Vertex"),
    pytest.param(lambda api: anthropic.AsyncAnthropicBedrock(base_url=api.url, **BEDROCK), ON_BEDROCK, id="Bedrock"),
    pytest.param(
        lambda api: anthropic.AsyncAnthropicFoundry(base_url=api.url, api_key="x"), "claude-opus-4-8", id="Foundry"
    ),
]


@pytest.fixture
def chats() -> Iterator[Conversations]:
    with opened("memory:") as conversations:
        yield conversations


def undressed(script: list[Scripted]) -> list[Scripted]:
    """Answers under the name that the API has for the model, as platforms give them."""
    return [Answer(one.content, model="claude-opus-4-8-20260115") for one in script if isinstance(one, Answer)]


@pytest.mark.parametrize(("client", "model", "streams"), SYNC)
def test_a_chat_on_a_platform(client: Client, model: str, streams: bool, chats: Conversations) -> None:
    """From a redirection to an ending: the model that answers is the conversation's, and eligible, in any dress."""
    with loopback(undressed([*brink(), ENDING]), enforce=True) as api, client(api) as asks:
        claude = Claude(asks, max_tokens=500, assessor=lambda case: SECOND)
        policy = Policy(name="every-turn", second_opinion=SecondOpinion.EVERY_TURN)
        chat = chats.start(model=model, edition=2, policy=policy)
        outcomes = []
        for _ in range(5):
            if streams:
                with claude.stream(chat, ABUSE) as stream:
                    outcomes.append(stream.reply)
            else:
                outcomes.append(claude.send(chat, ABUSE))
        assert api.refused == []
        assert {one["model"] for one in api.requests} == {model}
    assert isinstance(outcomes[-1], Ended)


@pytest.mark.parametrize(("client", "model"), ASYNC)
def test_a_chat_on_a_platform_that_is_awaited(client: Client, model: str, chats: Conversations) -> None:
    async def answered(api: Loopback) -> Any:
        async def second(case: object) -> Any:
            return SECOND

        async with client(api) as asks:
            return await AsyncClaude(asks, max_tokens=500, assessor=second).send(chats.start(model=model), "Hi.")

    with loopback(["Hello."]) as api:
        assert anyio.run(answered, api).text == "Hello."


@pytest.mark.parametrize("client", [one.values[0] for one in SYNC], ids=["Vertex", "Bedrock", "Foundry"])
def test_without_an_assessor_it_says_what_to_pass(client: Client) -> None:
    """Rather than ask for a model that the platform does not have, and refuse every ending for ever."""
    with loopback([]) as api, client(api) as asks:
        with pytest.raises(ValueError, match=r"assessor=ClaudeAssessor\(client, model=.*haiku"):
            Claude(asks, max_tokens=1)
        with pytest.raises(ValueError, match="haiku"):
            ClaudeAssessor(asks)
        named = ClaudeAssessor(asks, model="a-small-one")
    assert named.name == "a-small-one"


@pytest.mark.parametrize("client", [one.values[0] for one in ASYNC], ids=["Vertex", "Bedrock", "Foundry"])
def test_nor_is_one_that_is_awaited_built(client: Client) -> None:
    async def built(api: Loopback) -> None:
        async with client(api) as asks:
            with pytest.raises(ValueError, match=r"assessor=AsyncClaudeAssessor\(client, model="):
                AsyncClaude(asks, max_tokens=1)
            with pytest.raises(ValueError, match="haiku"):
                AsyncClaudeAssessor(asks)

    with loopback([]) as api:
        anyio.run(built, api)


def test_a_beta_on_a_platform(chats: Conversations) -> None:
    block = {"type": "compaction", "content": "A garden."}
    with (
        loopback([Answer([block, text("Tulips.")])]) as api,
        anthropic.AnthropicVertex(base_url=api.url, **VERTEX) as client,
    ):
        claude = Claude(client, max_tokens=500, assessor=lambda case: SECOND, betas=["compact-2026-01-12"])
        with claude.stream(chats.start(model=ON_VERTEX), "Hi.") as stream:
            messages = must_be(Reply, stream.reply).messages
    assert messages[0]["content"][0]["content"] == "A garden."
