"""A first look at what a user writes after an ending, unless you plug in something better.

It knows some plain phrases of crisis in English, and no more: it is a net with wide meshes, not a classifier. Pass
`screen=` to `open_conversations` to replace it.
"""

import re

from lastresort.domain.values import Risk

_CRISIS = re.compile(
    r"\b(kill(ing)? (myself|him|her|them|you all)|end(ing)? my (own )?life|suicid\w*|want to die|better off dead|"
    r"hurt(ing)? (myself|someone|him|her|them)|cut(ting)? myself|self[- ]harm\w*|overdos\w+|no reason to live)\b",
    re.IGNORECASE,
)


def phrase_screen(words: str) -> Risk:
    """Return `possible` if the words hold a phrase of crisis, else `unknown`: silence proves nothing."""
    return Risk.POSSIBLE if _CRISIS.search(words) else Risk.UNKNOWN
