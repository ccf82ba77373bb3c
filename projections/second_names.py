"""Names, for the second reading: which of models are the same model, and which of categories the same harm."""

import re

from lastresort.domain.policy import Policy

VOCABULARY = frozenset({
    "abuse", "harassment", "hate", "threats", "sexual_content", "sexual_minors", "violence", "terrorism", "weapons",
    "self_harm", "child_safety", "harmful_content", "privacy", "fraud", "spam", "other",
})  # fmt: skip
"""The categories of edition 2."""


def is_named(category: str | None, policy: Policy) -> bool:
    """Whether a category is one of the policy's or of the vocabulary. What has no category names none that is not."""
    return category is None or category in VOCABULARY or category in policy.categories


def is_same_harm(one: str | None, other: str | None, policy: Policy) -> bool:
    """Whether two categories are one, or in one group of the policy's."""
    return one == other or any(one in group and other in group for group in policy.groups.values())


_PLATFORMS = frozenset({
    "anthropic", "azure", "azure_ai", "bedrock", "converse", "converse_like", "foundry", "invoke", "litellm",
    "litellm_proxy", "models", "openrouter", "publishers", "vertex", "vertex_ai",
})  # fmt: skip
_REGION = re.compile(r"(af|ap|apac|au|ca|cn|eu|global|il|jp|me|mx|sa|us|us-gov)(-[a-z]+-\d)?")
_PLACES = re.compile(r"projects/[^/]+/locations/[^/]+/|arn:aws[a-z-]*:bedrock:[^/]*/")
_VARIANT = re.compile(
    r":(\d+(:\d+k)?|beta|thinking|free|nitro|floor|online|extended|exacto)$|\[\d+[km]\]$|@[a-z0-9-]+$"
)
_SNAPSHOT = re.compile(r"-(20\d{6}|20\d\d-\d\d-\d\d|latest)$")
_DRESS = re.compile(r"-v\d+$")
_DOT = re.compile(r"(?<=\d)\.(?=\d)")


def same_model(one: str | None, other: str) -> bool:
    """Whether two names differ only in a dated snapshot or in a platform's dress."""
    return one is not None and undressed(one) == undressed(other)


def undressed(name: str) -> str:
    """Take off where a model is served, then in which variant, then which snapshot of it.

    anthropic.claude-opus-4-1-20250805-v1:0, anthropic/claude-opus-4.1:beta and claude-opus-4-1@20250805 are
    claude-opus-4-1.
    """
    *places, last = _PLACES.sub("", name.lower()).split("/")
    if any(place not in _PLATFORMS and not _REGION.fullmatch(place) for place in places):
        return name  # somebody's own model, perhaps
    region, maker, bare = last.rpartition("anthropic.")
    name = bare if maker and (not region or _REGION.fullmatch(region.removesuffix("."))) else last
    for dress in (_VARIANT, _VARIANT, _DRESS, _SNAPSHOT, _DRESS):
        name = dress.sub("", name)
    # The first of a family has two names: claude-opus-4-20250514 is claude-opus-4-0.
    return _DOT.sub("-", name).removesuffix("-0")
