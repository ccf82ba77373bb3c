"""Which names are names of the same model: those that differ only in a dated snapshot or a platform's dress.

A model that answered is known by the name that it answered under, and platforms dress names: Bedrock in regions,
vendors and versions, Vertex in dates after an `@`, LiteLLM and OpenRouter in the provider before a `/`. What is left
when the dress is off must be equal, letter by letter: a family is not a model, and neither is one of another number.
"""

import re

_RESOURCE = re.compile(
    r"^(?:arn:aws[a-z-]*:bedrock:[^/]*:(?:foundation-model|inference-profile)/"  # Bedrock
    r"|(?:projects/[^/]+/locations/[^/]+/)?publishers/[^/]+/models/"  # Vertex
    r"|azureml://registries/[^/]+/models/)"  # Foundry
)
_FOUNDRY_VERSION = re.compile(r"/versions/[^/]+$")
_PROVIDERS = frozenset({
    "anthropic", "azure", "azure_ai", "bedrock", "bedrock_converse", "converse", "databricks", "github_copilot",
    "google", "invoke", "litellm_proxy", "openai", "openrouter", "vercel_ai_gateway", "vertex", "vertex_ai",
})  # fmt: skip
_REGION = re.compile(r"^[a-z]{2}(?:-gov)?-[a-z]+-\d$")  # us-east-1, as LiteLLM puts it before a name on Bedrock
_VENDOR = re.compile(r"^(?:(?:us|us-gov|eu|apac|jp|au|ca|global)\.)?anthropic\.|^databricks-(?=claude-)")
_VARIANT = re.compile(r"(?:\[\d+[km]\]|:(?:beta|exacto|extended|floor|free|nitro|online|thinking))$")
_BEDROCK_VERSION = re.compile(r"(?<=\d)-v\d+(?::\d+)*(?::\d+k)?$")
_SNAPSHOT = re.compile(r"(?:@(?:\d{8}|latest|default)|-(?:20\d{6}|20\d\d-\d\d-\d\d|latest))$")
_VERTEX_VERSION = re.compile(r"(?<=^claude-3-5-sonnet)-v2$")  # its second snapshot, the only one that is named so
_FAMILY_LAST = re.compile(r"^claude-([4-9](?:-\d)?)-(haiku|opus|sonnet|fable)$")


def plain_name(model: str) -> str:
    """Return a model's name without snapshot and dress, as it is compared; pure, and total.

    >>> plain_name("bedrock/us.anthropic.claude-opus-4-1-20250805-v1:0")
    'claude-opus-4-1'
    """
    name = model.lower()
    while (parts := name.partition("/"))[1] and (parts[0] in _PROVIDERS or _REGION.match(parts[0])):
        name = parts[2]
    name = _VENDOR.sub("", _FOUNDRY_VERSION.sub("", _RESOURCE.sub("", name)))
    for dress in (_VARIANT, _BEDROCK_VERSION, _SNAPSHOT, _VERTEX_VERSION):
        name = dress.sub("", name)
    if not name.startswith("claude-"):
        return name
    name = _FAMILY_LAST.sub(r"claude-\2-\1", name.replace(".", "-"))
    return name.removesuffix("-0")  # `claude-opus-4-0` is the name of the latest snapshot of `claude-opus-4`


def same_model(one: str, other: str) -> bool:
    """Whether two names are of one model."""
    return one == other or plain_name(one) == plain_name(other)
