"""Pages made from templates: everything in one file, nothing fetched, and nothing that a log says taken for markup."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from lastresort.adapters.exporters.page_style import LINES, PALETTE
from lastresort.adapters.exporters.text import readable_text

_ENVIRONMENT = Environment(
    loader=PackageLoader(__package__, "templates"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: readable_text(value) if type(value) is str else value,  # and not what is markup already
)


def page(template: str, **told: Any) -> str:
    """Return a page, as a template tells it."""
    return _ENVIRONMENT.get_template(template).render(**told)


def moment(at: str) -> str:
    """Return a time as people read it: the minute, in UTC, never broken over two lines."""
    return (
        f"{at[:16]} UTC".replace("T", " ", 1).replace("-", "\N{NON-BREAKING HYPHEN}").replace(" ", "\N{NO-BREAK SPACE}")
    )


def anchor(*parts: object) -> str:
    """Return what an element is called, so that a link finds it: no white space, and no two alike."""
    return ".".join("".join(c if c.isalnum() or c in "-_" else f"%{ord(c):x}." for c in str(part)) for part in parts)


_ENVIRONMENT.filters["moment"] = moment
_ENVIRONMENT.globals.update(palette=PALETTE, lines=LINES)
