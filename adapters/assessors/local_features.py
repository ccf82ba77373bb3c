"""What the model sees of a text: hashed words, pairs and triples of words, parts of words, and each word beside who is
spoken of.

The last of these tells "you are useless" from "my phone is useless": a word counts once by itself, and once more with
whether the text has somebody addressed, is short, or has somebody or something else in it.

And what the model does not decide: whether a text can be aimed at the assistant at all.
"""

import re
import unicodedata
from itertools import pairwise
from zlib import crc32

BITS = 15
"""The model has two to the power of this many weights."""
LONGEST = 4_000
"""Characters of a text that are looked at."""

_ADDRESSED = frozenset(
    ["you", "your", "you're", "youre", "u", "ur", "ya", "yourself", "bot", "robot", "eliza", "alexa"]
)
_OTHERS = frozenset(
    ["my", "he", "she", "they", "his", "her", "their", "him", "them", "this", "that", "the", "someone", "people"]
)
_BEGINS = re.compile(
    r"[^a-z0-9']*(?:i(?:'?m|'ll|'ve|'d)?|we|my|our|he|she|they|it(?:'?s)?|his|her|their|this|that(?:'s)?|these|those"
    r"|the|an?|some|every(?:one|body)?|there|what|who|why|how)(?![a-z'])"
)
"""What a sentence about oneself, or about somebody or something else, begins with."""
_CLAUSE = re.compile(r"[,.;:!?\n]+|\s-+\s")
_WORD = re.compile(r"[a-z']+|\d+|[?!]")
_REPEATED = re.compile(r"(.)\1{2,}")
_SPELT_OUT = re.compile(r"(?<!\w)(?:\w[ .\-_*]){3,}\w(?!\w)")
_TOKEN = re.compile(r"\S+")
_LOOKS_LIKE = str.maketrans(
    "0134578@$!|\u0430\u0435\u043e\u0440\u0441\u0445\u0443\u0456\u0458\u0455\u03bf", "oieastbasiiaeopcxyijso"
)
"""Digits and signs for letters, and Cyrillic and Greek letters that look like others."""
_SHORT = 3
_PART = crc32(b"3")  # what the checksum of a part of a word goes on from
_LAST = (1 << BITS) - 1


def features(text: str) -> list[int]:
    """Return the numbers of the features that a text has, in order, each once."""
    words = _WORD.findall(_plain(text))
    beside = f"c{_seen(words, _ADDRESSED)}{int(len(words) <= _SHORT)}{_seen(words, _OTHERS)}"
    row = ["^", *words, "$"]
    named = {f"1{word}" for word in row}
    named.update(beside + word for word in row)
    named.update(f"2{one} {two}" for one, two in pairwise(row))
    named.update(f"33{one} {two} {three}" for one, two, three in zip(row, row[1:], row[2:], strict=False))
    found = {crc32(one.encode()) & _LAST for one in named}
    for word in set(words):
        whole = f"<{word}>".encode()
        for size in (3, 4, 5):
            found.update([crc32(whole[at : at + size], _PART) & _LAST for at in range(len(whole) - size + 1)])
    return sorted(found)


def aimed(text: str) -> bool:
    """Return whether a text can be aimed at the assistant: it addresses somebody, is as short as a shout, or has no
    part that begins as a sentence about something else does. "That exam was a bitch" is aimed at nobody here."""
    plain = _plain(text)
    words = _WORD.findall(plain)
    if _seen(words, _ADDRESSED) or len([word for word in words if word not in "?!"]) <= _SHORT:
        return True
    return not any(map(_BEGINS.match, _CLAUSE.split(plain)))


def _seen(words: list[str], any_of: frozenset[str]) -> int:
    return int(not any_of.isdisjoint(words))


def _plain(text: str) -> str:
    """Return a text in small letters, without what hides a word: signs in place of letters, spaces between them."""
    text = unicodedata.normalize("NFKC", text[:LONGEST]).lower()
    text = _SPELT_OUT.sub(lambda spelt: re.sub(r"[ .\-_*]", "", spelt[0]), text)
    text = _TOKEN.sub(lambda token: _letters(token[0]), text)
    return _REPEATED.sub(r"\1\1", text)


def _letters(token: str) -> str:
    """Return a word that has a letter of ours in it with letters in place of what looks like them."""
    if token.isascii() and token.isalpha():
        return token
    core = token.rstrip("!?.,;:")
    if not any("a" <= character <= "z" for character in core):
        return token
    return core.translate(_LOOKS_LIKE) + token[len(core) :]
