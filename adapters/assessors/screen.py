"""A first look at what a user writes after an ending, unless you plug in something better.

It knows a list of phrases of crisis in English, and no other language: it is a net with wide meshes, not a classifier.
Figures on real conversations are in docs/explanation/risk-screen.md. Pass `screen=` to `open_conversations` to replace
it.
"""

import re
from unicodedata import category

from lastresort.domain.values import About, Risk, RiskSeen

from .phrases import IDIOMS, KINDS, TALE, Kind, compiled

_KINDS = [(kind, compiled(kind.phrases)) for kind in KINDS]
_IDIOMS, _TALE = compiled(IDIOMS), compiled((TALE,))
_SENTENCES = re.compile(r"[.!?;\n]+")
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc`\u00b4", "'''''")


def phrase_screen(words: str) -> RiskSeen:
    """Return `imminent` or `possible`, by whom the phrases of crisis in the words are about; if they hold none, just
    `unknown`: silence proves nothing.
    """
    heard: dict[About, Risk] = {}
    for kind in kinds_in(words):
        if heard.get(kind.about) is not Risk.IMMINENT:
            heard[kind.about] = kind.risk
    return heard or Risk.UNKNOWN


def gravest_heard(words: str) -> tuple[Risk, About]:
    """Return the gravest risk of which the words hold a phrase, and whom it is about; the user, if it is both."""
    kinds = kinds_in(words)
    for risk in (Risk.IMMINENT, Risk.POSSIBLE):
        about = {kind.about for kind in kinds if kind.risk is risk}
        if about:
            return risk, About.SELF if About.SELF in about else About.OTHERS
    return Risk.UNKNOWN, About.SELF


def kinds_in(words: str) -> list[Kind]:
    """Return the kinds of which the words hold a phrase."""
    sentences = [_plain(sentence) for seen in _as_seen(words) for sentence in _SENTENCES.split(seen)]
    return [kind for kind, phrases in _KINDS if any(_says(kind, phrases, sentence) for sentence in sentences)]


def _says(kind: Kind, phrases: "re.Pattern[str]", sentence: str) -> bool:
    if kind.about is About.OTHERS and _TALE.search(sentence):
        return False
    return phrases.search(sentence) is not None


def _as_seen(words: str) -> list[str]:
    """Return words without characters that nobody sees (Unicode's Cf: a space of no width, a soft hyphen), which may
    stand within a word or in place of a space.
    """
    unseen = [one for one in set(words) if not one.isascii() and category(one) == "Cf"]
    if not unseen:
        return [words]
    return [words.translate(dict.fromkeys(map(ord, unseen), instead)) for instead in ("", " ")]


def _plain(sentence: str) -> str:
    """Return a sentence in small letters, with straight apostrophes and single spaces, and without idioms."""
    return _IDIOMS.sub("_", " ".join(sentence.translate(_APOSTROPHES).lower().split()))
