"""What conversations are narrowed by in an address: the same in the list, in its files and in the reports of it."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from fastapi import Request
from pydantic import ValidationError

from lastresort.adapters.api import reads
from lastresort.adapters.api.reads import Facts
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import Caller, House

from .rendering import named, with_query

FACETS: Mapping[str, str] = {
    "status": "Status", "ground": "A branch ended on", "category": "A branch ended for", "risk": "Risk",
    "appeal": "Appeal", "refused": "Act refused under", "hold": "Legal hold", "policy": "Policy", "law": "Edition",
    "mode": "Mode", "model": "Model", "arm": "Arm",
}  # fmt: skip
"""What the list can be narrowed by, and what it is called there."""
_PAGING = frozenset({"after", "limit", "order", "titles"})
NARROWING = frozenset(Facts.model_fields) - _PAGING
"""The parameters that say which conversations are meant. Of these `by` says which time `since` and `until` bound."""
_VALUES: Mapping[tuple[str, str], str] = {
    ("status", "active"): "goes on", ("status", "ended"): "ended on every branch",
    ("finding", "any"): "anything",
}  # fmt: skip
_LABELS = {**FACETS, "account": "Account", "since": "Since", "until": "Before", "finding": "Found by the audit"}
_AT_ONCE = 1_000


class Chosen(NamedTuple):
    """A facet that was chosen, and the address of the page without it."""

    label: str
    value: str
    without: str


def in_words(name: str, value: str) -> str:
    """Return a value as the list names it. A conversation goes on while one of its branches does, so `status` says
    less of endings than the facets that tell of a branch.
    """
    return _VALUES.get((name, value), named(value) if name in FACETS else value)


def narrowing(request: Request) -> dict[str, str]:
    """Return the parameters of an address that say which conversations are meant. An empty field says nothing."""
    given = {name: value for name, value in request.query_params.items() if name in NARROWING and value.strip()}
    return given if given.keys() - {"by"} else {}


def chosen(request: Request) -> list[Chosen]:
    """Return what was chosen, each with the address of the page without it."""
    return [
        Chosen(
            _LABELS.get(name, name),
            in_words(name, value),
            with_query(request, **{name: None, "after": None, "upto": None}),
        )
        for name, value in narrowing(request).items()
        if name != "by"
    ]


def address(path: str, given: Mapping[str, str]) -> str:
    """Return the address of a page of the conversations that some parameters mean."""
    return f"{path}?{urlencode(given)}" if given else path


def asked_for(given: Mapping[str, object]) -> Facts:
    """Return what parameters ask for.

    Raises:
        Failed: one of them is out of range, or there is none of its name.
    """
    try:
        return Facts.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = str(first["loc"][0]) if first["loc"] else ""
        name = where if where in Facts.model_fields else "a parameter"
        said = "there is none of that name" if first["type"] == "extra_forbidden" else first["msg"]
        raise Failed("invalid", f"{name}: {said}") from None


def all_of(caller: Caller, house: House, asked: Facts) -> Iterator[str]:
    """Yield every conversation that is asked for, not one page of them alone."""
    after = None
    while True:
        page = reads.conversations(caller, house, asked.model_copy(update={"after": after, "limit": _AT_ONCE}))
        yield from (one.conversation for one in page.conversations)
        if (after := page.after) is None:
            return
