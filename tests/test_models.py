"""Which names are names of the same model."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastresort.domain.models import plain_name, same_model

OPUS_4_1 = (
    "claude-opus-4-1",
    "claude-opus-4-1-20250805",
    "claude-opus-4-1-latest",
    "claude-opus-4-1[1m]",
    "Claude-Opus-4-1",
    # Bedrock
    "anthropic.claude-opus-4-1-20250805-v1:0",
    "us.anthropic.claude-opus-4-1-20250805-v1:0",
    "eu.anthropic.claude-opus-4-1-20250805-v1:0",
    "global.anthropic.claude-opus-4-1-20250805-v1:0",
    "us-gov.anthropic.claude-opus-4-1-20250805-v1:0",
    "anthropic.claude-opus-4-1-v1",
    "anthropic.claude-opus-4-1-20250805-v1:0:200k",
    "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-1-20250805-v1:0",
    "arn:aws:bedrock:us-west-2:123456789012:inference-profile/us.anthropic.claude-opus-4-1-20250805-v1:0",
    # Vertex
    "claude-opus-4-1@20250805",
    "claude-opus-4-1@default",
    "publishers/anthropic/models/claude-opus-4-1@20250805",
    "projects/p/locations/us-east5/publishers/anthropic/models/claude-opus-4-1",
    # Foundry
    "azure_ai/claude-opus-4-1",
    "azureml://registries/azureml-anthropic/models/claude-opus-4-1/versions/1",
    # LiteLLM
    "anthropic/claude-opus-4-1-20250805",
    "bedrock/anthropic.claude-opus-4-1-20250805-v1:0",
    "bedrock/us-east-1/anthropic.claude-opus-4-1-20250805-v1:0",
    "bedrock/converse/us.anthropic.claude-opus-4-1-20250805-v1:0",
    "vertex_ai/claude-opus-4-1@20250805",
    "litellm_proxy/claude-opus-4-1",
    "databricks/databricks-claude-opus-4-1",
    # OpenRouter
    "anthropic/claude-opus-4.1",
    "openrouter/anthropic/claude-opus-4.1",
    "anthropic/claude-opus-4.1:beta",
    "anthropic/claude-opus-4.1:thinking",
)
OTHERS = (
    ("claude-opus-4", "claude-opus-4-0", "claude-opus-4-20250514", "claude-opus-4@20250514", "claude-4-opus-20250514"),
    (
        "claude-opus-4-5",
        "claude-opus-4-5-20251101",
        "bedrock/arn:aws:bedrock:us-east-1:123:inference-profile/us.anthropic.claude-opus-4-5-20251101-v1:0",
        "bedrock/converse/arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-5-20251101-v1:0",
        "vertex_ai/publishers/anthropic/models/claude-opus-4-5@20251101",
        "vercel_ai_gateway/anthropic/claude-opus-4.5",
        "github_copilot/claude-opus-4.5",
    ),
    ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "vertex_ai/claude-sonnet-4-5@20250929"),
    (
        "claude-3-5-sonnet-20240620",
        "claude-3-5-sonnet-20241022",
        "claude-3-5-sonnet@20240620",
        "claude-3-5-sonnet-v2@20241022",
        "vertex_ai/claude-3-5-sonnet-v2@20241022",
        "anthropic.claude-3-5-sonnet-20241022-v2:0",
        "anthropic/claude-3.5-sonnet",
    ),
    ("claude-3-7-sonnet-latest", "anthropic/claude-3.7-sonnet:thinking"),
    ("claude-haiku-4-5", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
    ("claude-fable-5", "anthropic/claude-fable-5", "claude-fable-5-20260609"),
    ("gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o", "azure/gpt-4o-2024-11-20"),
    ("gpt-4o-mini", "openrouter/openai/gpt-4o-mini"),
)
GROUPS = (OPUS_4_1, *OTHERS)
APART = (
    ("claude-opus-4-1", "claude-opus-4"),
    ("claude-opus-4-1", "claude-sonnet-4-1"),
    ("claude-opus-4-1", "claude-opus-4-10"),
    ("claude-opus-4-5", "claude-opus-4-1-20250805"),
    ("claude-3-5-sonnet", "claude-3-5-haiku"),
    ("anthropic.claude-v2:1", "anthropic.claude-instant-v1"),
    ("claude-opus-4-1-fast", "claude-opus-4-1"),
    ("acme/claude-opus-4-1", "claude-opus-4-1"),  # whose model that is, nobody knows
    ("gpt-4o-mini", "gpt-4o"),
    ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", "claude-opus-4-1"),
    ("bedrock/arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", "claude-opus-4-1"),
    ("bedrock/arn:aws:bedrock:us-east-1:1:application-inference-profile/claude-opus-4-1", "claude-opus-4-1"),
    ("github_copilot/acme/claude-opus-4.1", "claude-opus-4-1"),
    ("claude-v2@20240101", "claude@20240101"),
    ("claude-opus-v2@20260101", "claude-opus@20260101"),
    ("acme-claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet"),
    ("not-claude-opus-4-1", "claude-opus-4-1"),
)


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_snapshots_and_dress_make_no_other_model(names: tuple[str, ...]) -> None:
    assert all(same_model(one, other) for one, other in permutations(names, 2))


@pytest.mark.parametrize(("one", "other"), APART)
def test_another_number_family_or_owner_does(one: str, other: str) -> None:
    assert not same_model(one, other)
    assert not same_model(other, one)


def test_no_two_groups_are_one() -> None:
    assert len({plain_name(names[0]) for names in GROUPS}) == len(GROUPS)
    assert sum(len(names) for names in GROUPS) + len(APART) >= 40


@pytest.mark.parametrize(
    ("name", "plain"), [("anthropic", "anthropic"), ("anthropic/", ""), ("/claude-opus-4-1", "/claude-opus-4-1")]
)
def test_a_provider_is_dress_before_a_name_alone(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@given(st.text(alphabet=[chr(at) for at in range(33, 127)], min_size=1, max_size=128))
def test_any_name_is_its_own(name: str) -> None:
    """Total, and asking again changes nothing that has no dress in dress."""
    assert same_model(name, name)
    assert same_model(name, name.upper())
