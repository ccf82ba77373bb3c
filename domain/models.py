"""Which names are names of the same model: those that differ only in a dated snapshot or a platform's dress.

A model that answered is known by the name that it answered under, and platforms dress names: Bedrock in regions,
vendors and versions, Vertex in dates after an `@`, LiteLLM and OpenRouter in the provider before a `/`. What is left
when the dress is off must be equal, letter by letter: a family is not a model, and neither is one of another number.
Two models taken for one would let the wrong one end a conversation; one taken for two only refuses. So a part of a name
is dress only where it is known to be no part of the model's own: `-v1` is Bedrock's in the ids of Anthropic's models,
and the number of a model in `llama-3-v1`.
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
_PLACE = re.compile(  # as LiteLLM puts it before a name on Bedrock: us-east-1/6-month-commitment
    r"^(?:[a-z]{2}(?:-gov)?-[a-z]+-\d|\d-month-commitment)$"
)
_ON_BEDROCK = re.compile(r"^(?:(?:us|us-gov|eu|apac|jp|au|ca|global)\.)?anthropic\.")
_ON_DATABRICKS = re.compile(r"^databricks-(?=claude-)")
_VARIANT = re.compile(r"(?:\[\d+[km]\]|:(?:beta|exacto|extended|floor|free|nitro|online|thinking))$")
_BEDROCK_VERSION = re.compile(r"(?<=\d)-v\d+(?::\d+)*(?::\d+k)?$")
_BEDROCK_SECOND = re.compile(r"^claude-v2(?::(\d))?(?::\d+k)?$")  # where `v` does say which model it is
_VERSION_OF_SNAPSHOT = re.compile(r"(?<=^claude-)(.+-20\d{6})-v\d+(?::\d+)*(?::\d+k)?$")
_SNAPSHOT = re.compile(r"(?:@(?:\d{8}|latest|default)|-(?:20\d{6}|20\d\d-\d\d-\d\d|latest))$")
_VERTEX_VERSION = re.compile(r"(?<=^claude-3-5-sonnet)-v2$")  # its second snapshot, the only one that is named so
_FAMILY_LAST = re.compile(r"^claude-([4-9](?:-\d)?)-(haiku|opus|sonnet|fable)$")
_FIRST = re.compile(r"^(claude-(?:[a-z]+-)?\d+)-0$")  # `claude-opus-4-0` names the latest snapshot of `claude-opus-4`


def plain_name(model: str) -> str:
    """Return a model's name without snapshot and dress, as it is compared; pure, and total.

    A name that is nothing but dress stands as it is, so that two of them are not one model.

    >>> plain_name("bedrock/us.anthropic.claude-opus-4-1-20250805-v1:0")
    'claude-opus-4-1'
    """
    name = model.lower()
    while (parts := name.partition("/"))[1] and (parts[0] in _PROVIDERS or _PLACE.match(parts[0])):
        name = parts[2]
    name = _undated(_unplaced(_VARIANT.sub("", _FOUNDRY_VERSION.sub("", _RESOURCE.sub("", name)))))
    if name.startswith("claude-"):
        name = _FIRST.sub(r"\1", _FAMILY_LAST.sub(r"claude-\2-\1", name.replace(".", "-")))
    return name or model.lower()


def _unplaced(name: str) -> str:
    """Take off what Bedrock and Databricks make of a name."""
    bare, on_bedrock = _ON_BEDROCK.subn("", name)
    if on_bedrock:
        return _BEDROCK_SECOND.sub(lambda found: f"claude-2.{found[1] or 0}", _BEDROCK_VERSION.sub("", bare))
    return _VERSION_OF_SNAPSHOT.sub(r"\1", _ON_DATABRICKS.sub("", name))


def _undated(name: str) -> str:
    """Take off which snapshot it is."""
    return _VERTEX_VERSION.sub("", _SNAPSHOT.sub("", name))


def same_model(one: str, other: str) -> bool:
    """Whether two names are of one model."""
    return one == other or plain_name(one) == plain_name(other)
