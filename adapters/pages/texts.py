"""What the chat says of itself, in the language of its reader. A text that a language lacks is said in English."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import SimpleNamespace

from fastapi import Request

RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})
COOKIE = "lang"


@cache
def languages() -> Mapping[str, Mapping[str, str]]:
    """Return the texts, by language."""
    folder = files(__package__).joinpath("texts")
    found = {
        one.name.removesuffix(".toml"): tomllib.loads(one.read_text(encoding="utf-8"))
        for one in folder.iterdir()
        if one.name.endswith(".toml")
    }
    return {name: found["en"] | found[name] for name in sorted(found)}


def said_in(language: str) -> SimpleNamespace:
    """Return the texts of a language, for templates: there, `say.copy` of a mapping would be its method."""
    return SimpleNamespace(**languages()[language])


def language_of(request: Request) -> str:
    """Return the language of a reader: that of the address, else the first that the browser names and there is."""
    asked = request.query_params.get("lang") or request.cookies.get(COOKIE, "")
    if asked in languages():
        return asked
    for part in request.headers.get("accept-language", "").split(","):
        name = part.split(";")[0].strip().lower().partition("-")[0]
        if name in languages():
            return name
    return "en"


def direction(language: str) -> str:
    """Return which way a language is written."""
    return "rtl" if language in RIGHT_TO_LEFT else "ltr"
