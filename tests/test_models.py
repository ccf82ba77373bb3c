"""Which names are names of the same model."""

from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastresort.domain.models import plain_name, same_model
from lastresort.projections import second_words

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
    "claude-opus-4-1-20250805-v1:0",
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
    "bedrock/us-gov-west-1/anthropic.claude-opus-4-1-20250805-v1:0",
    "bedrock/us-west-2/6-month-commitment/anthropic.claude-opus-4-1-20250805-v1:0",
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
        "claude-3-5-sonnet-20241022-v2:0",
        "anthropic/claude-3.5-sonnet",
    ),
    ("claude-3-7-sonnet-latest", "anthropic/claude-3.7-sonnet:thinking"),
    ("claude-haiku-4-5", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
    ("claude-fable-5", "anthropic/claude-fable-5", "claude-fable-5-20260609"),
    ("claude-opus-4-6", "anthropic.claude-opus-4-6-v1", "us.anthropic.claude-opus-4-6-v1", "claude-opus-4-6@default"),
    ("claude-2", "claude-2.0", "anthropic.claude-v2", "anthropic.claude-v2:0:100k", "anthropic/claude-2.0"),
    (
        "claude-2.1",
        "anthropic.claude-v2:1",
        "anthropic.claude-v2:1:200k",
        "bedrock/us-west-2/1-month-commitment/anthropic.claude-v2:1",
        "openrouter/anthropic/claude-2.1",
    ),
    ("gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o", "azure/gpt-4o-2024-11-20"),
    ("gpt-4o-mini", "openrouter/openai/gpt-4o-mini"),
)
GROUPS = (OPUS_4_1, *OTHERS)
SameModel = Callable[[str, str], bool]
READINGS = (pytest.param(same_model, id="law"), pytest.param(second_words.same_model, id="second reading"))
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
    ("acme-2-v1", "acme-2-v2"),  # a number after `-v` is the model's own unless it is known to be Bedrock's
    ("llama-3-v1", "llama-3-v2"),
    ("llama-3-20250101-v1", "llama-3-20250101-v2"),
    ("stability.sd3-5-v1:0", "stability.sd3-5-v2:0"),
    ("azure/claude-4-v1", "azure/claude-4-v2"),  # names of somebody's deployments
    ("claude-opus-4-1-v1", "claude-opus-4-1"),
    ("anthropic.claude-v2", "anthropic.claude-v2:1"),
    ("anthropic.claude-v1", "anthropic.claude-v2"),
    ("claude-v2:1", "claude-2.1"),
    ("acme:1", "acme:2"),
    ("acme@1", "acme@2"),
    ("acme.anthropic.claude-opus-4-1", "claude-opus-4-1"),
    ("1-month-commitment", "6-month-commitment"),
    ("anthropic/", "openai/"),  # nothing but dress
    ("anthropic/", "anthropic."),
    ("anthropic.", "bedrock/anthropic."),
    ("-latest", "@latest"),
    ("claude-0", "claude"),
    ("claude-opus-4-1-0", "claude-opus-4-1"),
    ("~anthropic/claude-opus-latest", "claude-opus-4-1"),  # whichever is the latest of the family on that day
    ("~anthropic/claude-opus-4.1", "claude-opus-4-1"),  # no such name is known
    ("claude-v2@20240101", "claude@20240101"),
    ("claude-opus-v2@20260101", "claude-opus@20260101"),
    ("acme-claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet"),
    ("not-claude-opus-4-1", "claude-opus-4-1"),
)


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
@pytest.mark.parametrize("same", READINGS)
def test_snapshots_and_dress_make_no_other_model(names: tuple[str, ...], same: SameModel) -> None:
    assert all(same(one, other) for one, other in permutations(names, 2))


@pytest.mark.parametrize(("one", "other"), APART)
@pytest.mark.parametrize("same", READINGS)
def test_another_number_family_or_owner_does(one: str, other: str, same: SameModel) -> None:
    assert not same(one, other)
    assert not same(other, one)


def test_no_two_groups_are_one() -> None:
    assert len({plain_name(names[0]) for names in GROUPS}) == len(GROUPS)
    assert sum(len(names) for names in GROUPS) + len(APART) >= 40


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("anthropic", "anthropic"),
        ("bedrock/anthropic", "anthropic"),
        ("anthropic/", "anthropic/"),
        ("bedrock/anthropic/", "bedrock/anthropic/"),
        ("/claude-opus-4-1", "/claude-opus-4-1"),
    ],
)
def test_a_provider_is_dress_before_a_name_alone(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@given(st.text(alphabet=[chr(at) for at in range(33, 127)], min_size=1, max_size=128))
def test_any_name_is_its_own(name: str) -> None:
    """Total, and asking again changes nothing that has no dress in dress."""
    assert same_model(name, name)
    assert same_model(name, name.upper())


PIECES = """
/ anthropic/ bedrock/ us-east-1/ 1-month-commitment/ acme/ databricks/ databricks- anthropic. us. evil.
arn:aws:bedrock:us-east-1:1:inference-profile/ arn:aws:bedrock:us-east-1::foundation-model/ /versions/1
projects/p/locations/l/ publishers/anthropic/models/ azureml://registries/r/models/
claude- claude-v2 gpt-4o llama- acme opus -opus -sonnet 3-5-sonnet instant 4 4.1 -4 -4-1 1 2 -0 .0 v2 -v1 -v2 :0 :1
:200k -20250805 -2025-08-05 -latest @20250805 @latest [1m] :beta :thinking - . : @
"""


@given(st.lists(st.sampled_from(PIECES.split()), min_size=1, max_size=7).map("".join))
def test_the_second_reading_takes_off_the_same_dress(name: str) -> None:
    assert second_words.undressed(name) == plain_name(name)


def test_what_has_no_model_is_not_the_same_as_one() -> None:
    assert not second_words.same_model(None, "claude-opus-4-1")
