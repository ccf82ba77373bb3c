"""The URLs of stores: `memory:`, `sqlite:///FILE`, `postgresql://USER@HOST/DATABASE`, with settings of ours."""

import re

from .errors import StoreError
from .settings import LEVELS, Settings

_URL = re.compile(r"memory:(\?|$)|sqlite:///(?!.*(:memory:|mode=memory))[^?]+|postgres(ql)?://")
_OCTET = "%(?!00)[0-9A-Fa-f]{2}"
_HOST = rf"(\[[^][@/?%]*\]|([^][:@/?,%]|{_OCTET})*)(:\d*)?"
_SETTING = rf"\w+=([^&=%]|{_OCTET})*"
_POSTGRESQL = re.compile(
    rf"(?P<scheme>postgres(ql)?://)((?P<user>([^:@/?%]|{_OCTET})*)(?P<password>:([^@/?%]|{_OCTET})*)?@)?"
    rf"(?P<place>{_HOST}(,{_HOST})*(/([^@?%]|{_OCTET})*)?)(\?({_SETTING}(&{_SETTING})*)?)?"
)
"""What PostgreSQL's library takes apart as we do: elsewhere it may show a piece of a password, as that of a host."""

_WRITTEN_OUT = "use postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for @, %2F for /, %3F for ?, %25 for %"


def located(url: str) -> tuple[str, Settings]:
    """Return the address of a store, without the settings of ours, and the settings.

    Raises:
        StoreError: the URL is of no known form, or has an unknown setting.
    """
    if not _URL.match(url):
        known = "memory:, sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        raise StoreError(f"not the URL of a store (length {len(url)}); use {known}")
    try:
        return _parsed(url)
    except StoreError as error:
        raise StoreError(f"cannot open {shown(url)}: {error}") from None


def shown(url: str) -> str:
    """Return a URL without settings and what may be a password: of an ambiguous one only the scheme."""
    if (parts := _POSTGRESQL.fullmatch(url)) is not None:
        password = ":***" if parts["password"] else ""
        user = "" if parts["user"] is None else f"{parts['user']}{password}@"
        return f"{parts['scheme']}{user}{parts['place']}"
    if url.startswith(("memory:", "sqlite:///")):
        return url.partition("?")[0]
    scheme = re.match(r"[a-z][a-z0-9+.-]*:(//)?", url)
    return f"{scheme[0] if scheme else ''}***"


def _parsed(url: str) -> tuple[str, Settings]:
    """Take the settings off a URL. What PostgreSQL's own library knows is left for it to judge."""
    scheme = url.partition(":")[0]
    address, _, query = url.partition("?")
    known = {"sqlite": {"synchronous", "deadline"}, "postgresql": {"deadline"}, "postgres": {"deadline"}}.get(
        scheme, set()
    )
    settings, left = Settings(), []
    for setting in filter(None, query.split("&")):
        name, _, value = setting.partition("=")
        if name not in known:
            left.append(setting)
        elif name == "deadline":
            settings = settings._replace(deadline=_seconds(value))
        elif value.upper() in LEVELS:
            settings = settings._replace(synchronous=value.upper())
        else:
            raise StoreError(f"synchronous: FULL or NORMAL is needed; {len(value)} other characters were passed")
    if scheme in ("postgresql", "postgres"):
        if not _POSTGRESQL.fullmatch(url):
            raise StoreError(f"the URL is ambiguous; {_WRITTEN_OUT}")
    elif left:
        name = left[0].partition("=")[0]
        known_here = ", ".join(sorted(known)) or "none"
        raise StoreError(f"unknown setting (length {len(name)}); known for this store: {known_here}")
    return "?".join(filter(None, (address, "&".join(left)))), settings


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3_600:
        raise StoreError(f"deadline: seconds from 0 to 3600 are needed; {len(value)} other characters were passed")
    return seconds
