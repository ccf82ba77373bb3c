"""Pages from templates: one stylesheet, a few small modules, and nothing from anywhere else.

Whatever people or models said is escaped by the templates, or was made of markdown and sanitised. The policy below is
the second wall: no inline script or style runs, nothing is loaded from elsewhere, and no script makes HTML of text but
by the one function in `common.js` that takes what this service rendered. What nobody can see, or what would have words
read in another order than they were written in, is a mark on every page.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from lastresort.adapters.exporters.text import readable_text
from lastresort.adapters.service.problems import Failed

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types lastresort"
)
SAFE = {
    "cache-control": "no-store", "content-security-policy": CSP,
    "cross-origin-opener-policy": "same-origin",
}  # fmt: skip
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_ENVIRONMENT = Environment(
    loader=PackageLoader(__package__, "templates"), autoescape=select_autoescape(default=True),
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    finalize=lambda value: readable_text(value) if type(value) is str else value,  # and not what is markup already
)  # fmt: skip


@cache
def _assets() -> Mapping[str, bytes]:
    folder = files(__package__).joinpath("static")
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in _TYPES}


@cache
def _digest() -> str:
    digest = hashlib.sha256()
    for name, content in sorted(_assets().items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]


def asset(name: str) -> str:
    """Return the address of a file of the pages. It changes with any of them, so that browsers may keep it for ever."""
    return f"/static/{_digest()}/{name}"


async def static(digest: str, name: str) -> Response:
    """Give a file of the pages."""
    if name not in _assets() or digest != _digest():
        raise Failed("not-found")
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(_assets()[name], media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


def page(template: str, *, status: int = 200, **told: Any) -> HTMLResponse:
    """Return a page, as a template tells it."""
    return HTMLResponse(_ENVIRONMENT.get_template(template).render(**told), status, SAFE)


def minute(at: str) -> str:
    """Return a time as people read it: the minute, in UTC."""
    return f"{at[:16].replace('T', ' ')} UTC"


def whole(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def short(digest: str) -> str:
    """Return the beginning of a digest, enough to tell two apart."""
    return digest.removeprefix("sha256:")[:8]


def named(value: str) -> str:
    """Return a name of the code as people read it."""
    return value.replace("_", " ")


def coded(text: str) -> Markup:
    """Return a message of the code as HTML: what stands in it between backticks as code."""
    pieces = enumerate(text.split("`"))
    return Markup().join(Markup("<code>{}</code>").format(one) if at % 2 else escape(one) for at, one in pieces)


def with_query(request: Request, **changes: object) -> str:
    """Return the address of a page with other parameters; None takes one away."""
    path: str = request.scope["path"]
    kept = {name: value for name, value in request.query_params.items() if name not in changes}
    kept |= {name: str(value) for name, value in changes.items() if value is not None}
    query = request.url.replace(query="").include_query_params(**kept).query if kept else ""
    return f"{path}?{query}" if query else path


_ENVIRONMENT.filters["minute"] = minute
_ENVIRONMENT.filters["whole"] = whole
_ENVIRONMENT.filters["short"] = short
_ENVIRONMENT.filters["named"] = named
_ENVIRONMENT.filters["coded"] = coded
_ENVIRONMENT.globals["asset"] = asset
