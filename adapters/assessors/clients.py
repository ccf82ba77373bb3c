"""The clients of the SDK that we take: of the API itself, and of the platforms that serve it under other names."""

from typing import Any

from lastresort.adapters import missing

try:
    import anthropic
except ModuleNotFoundError as error:
    missing(error, __name__, "claude")

SyncClient = (
    anthropic.Anthropic | anthropic.AnthropicBedrock | anthropic.AnthropicBedrockMantle | anthropic.AnthropicVertex
)
"""One that is not awaited. That of Foundry, for one, is an `anthropic.Anthropic`."""
AsyncClient = (
    anthropic.AsyncAnthropic
    | anthropic.AsyncAnthropicBedrock
    | anthropic.AsyncAnthropicBedrockMantle
    | anthropic.AsyncAnthropicVertex
)

SMALL = "claude-haiku-4-5"
"""The small model that judges if none is named, as the API names it."""
_ELSEWHERE = {
    "AnthropicBedrock": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "AnthropicBedrockMantle": "anthropic.claude-haiku-4-5",
    "AnthropicVertex": "claude-haiku-4-5@20251001",
    "AnthropicFoundry": "the name of your deployment of claude-haiku-4-5",
}
"""What it is called on platforms: which of its names an account may ask for, only its owner knows."""


def default_client() -> anthropic.Anthropic:
    """Return a client of the API itself, with the key in the environment.

    Raises:
        LookupError: there is none.
    """
    try:
        return anthropic.Anthropic()
    except anthropic.AnthropicError:
        raise LookupError("to ask Claude, set ANTHROPIC_API_KEY") from None


def small_model(client: Any) -> str:
    """Return the small model that judges if none is named.

    Raises:
        ValueError: the client's platform has names of its own. It says what to pass.
    """
    kinds = [cls.__name__.removeprefix("Async") for cls in type(client).__mro__]
    platform = next((kind for kind in kinds if kind in _ELSEWHERE), None)
    if platform is None:
        return SMALL
    awaited = "Async" if type(client).__name__.startswith("Async") else ""
    raise ValueError(
        f"{platform} has no model {SMALL}: name the model that judges as your platform does, for example "
        f'assessor={awaited}ClaudeAssessor(client, model="{_ELSEWHERE[platform]}"), or pass an assessor of your own'
    )
