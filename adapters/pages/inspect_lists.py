"""The inspector's lists: conversations by what happened in them, with every choice in the address, and what of them is
shown as CSV or JSON lines; the queue of what waits for a person; the admin log.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import Annotated, NamedTuple

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from lastresort.adapters.api import reads, turns_to_judge
from lastresort.adapters.api.reads import Facts
from lastresort.adapters.exporters.text import cell
from lastresort.adapters.native_api.shapes import ConversationOut, ConversationPage
from lastresort.adapters.service.people import PREFIX
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import Caller, House
from lastresort.domain.values import About, Risk, Verdict

from .facets import FACETS, address, asked_for, chosen, in_words, narrowing
from .rendering import page, whole, with_query
from .visitors import Auditor, Here, NotForYou, Reviewer

_COLUMNS = tuple(ConversationOut.model_fields)
_SHOWN, _ENTRIES = 50, 200
_OF_BRANCHES = ("appeal", "hold", "model", "policy", "risk", "turn", "words")
"""What the names of acts begin with that somebody does to a branch, or reads of one."""
_VALUES = 12
"""Values of a facet that are offered; others are reached by address."""


class Choice(NamedTuple):
    """A value of a facet: how many conversations have it, and the address with it, or without it if it is chosen."""

    label: str
    times: int
    chosen: bool
    address: str


class Facet(NamedTuple):
    """What the list can be narrowed by."""

    label: str
    choices: tuple[Choice, ...]


def install(app: FastAPI) -> None:
    """Have an app serve the lists."""
    for path, run in (
        ("/inspect", show_list), ("/inspect/list.csv", as_csv), ("/inspect/list.jsonl", as_json_lines),
        ("/inspect/queue", show_queue), ("/inspect/log", show_log),
    ):  # fmt: skip
        app.add_api_route(path, run, methods=["GET"], include_in_schema=False, response_model=None)


def _asked(request: Request, caller: Caller) -> Facts:
    """Return what the address asks for. A field that was left empty asks for nothing."""
    given = {name: value for name, value in request.query_params.items() if value.strip()}
    return asked_for({"limit": _SHOWN, "titles": caller.key.reads_words, **given})


def _found(request: Request, caller: Caller, house: House) -> ConversationPage:
    return reads.conversations(caller, house, _asked(request, caller))


def show_list(request: Request, caller: Auditor, house: Here) -> Response:
    """Show a page of the list."""
    trouble, found = None, ConversationPage(conversations=[], after=None)
    try:
        found = _found(request, caller, house)
    except (Failed, ValueError) as error:
        trouble = str(error)
    counts = reads.facts(caller).facts
    total = sum(counts.get("status", {}).values())
    return page(
        "list.html", nav="list", caller=caller, found=found, facets=list(_facets(request, counts)),
        chosen=chosen(request), report=address("/inspect/report", narrowing(request)),
        trouble=trouble, amount=_amount(request, found, total), asked=request.query_params,
        wordless=_wordless(caller, found),
        next=with_query(request, after=found.after) if found.after else None,
        first=with_query(request, after=None) if request.query_params.get("after") else None,
        query=with_query(request).partition("?")[2], words=caller.key.reads_words,
    )  # fmt: skip


def _amount(request: Request, found: ConversationPage, total: int) -> str:
    """Return how many conversations are listed, of all. Of those that are narrowed down to, nobody counts the rest."""
    if not narrowing(request):
        return f"{whole(total)} in the log"
    if found.after is not None:
        return f"{whole(len(found.conversations))} on this page, and more; {whole(total)} in the log"
    if request.query_params.get("after"):
        return f"the last {whole(len(found.conversations))}; {whole(total)} in the log"
    return f"{whole(len(found.conversations))} of {whole(total)} in the log"


def _wordless(caller: Caller, found: ConversationPage) -> frozenset[str]:
    """Return those of which words were said and none are kept: they were erased, or never came to this store."""
    vault = caller.tenant.conversations.service.ports.vault
    spoken = (row.conversation for row in found.conversations if row.last_turn > row.started)
    return frozenset(one for one in spoken if not vault.has_key(one))


def _facets(request: Request, counts: Mapping[str, Mapping[str, int]]) -> Iterator[Facet]:
    for name, label in FACETS.items():
        values, asked = counts.get(name, {}), request.query_params.get(name)
        choices = tuple(
            Choice(in_words(name, value), count, value == asked,
                   with_query(request, **{name: None if value == asked else value, "after": None}))
            for value, count in list(values.items())[:_VALUES]
        )  # fmt: skip
        if choices:
            yield Facet(label, choices)


def as_csv(request: Request, caller: Auditor, house: Here) -> Response:
    """Give the page of the list that is shown, as CSV."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    columns = [name for name in _COLUMNS if caller.key.reads_words or name not in ("title", "tags")]
    writer.writerow(columns)
    for row in _found(request, caller, house).conversations:
        writer.writerow([cell(getattr(row, name)) for name in columns])
    return _file(out.getvalue(), "text/csv; charset=utf-8", "conversations.csv")


def as_json_lines(request: Request, caller: Auditor, house: Here) -> Response:
    """Give the page of the list that is shown, a line of JSON a conversation."""
    rows = _found(request, caller, house).conversations
    exclude = None if caller.key.reads_words else {"title", "tags"}
    text = "".join(row.model_dump_json(exclude=exclude) + "\n" for row in rows)
    return _file(text, "application/x-ndjson", "conversations.jsonl")


def _file(text: str, media_type: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(text, media_type=media_type, headers=headers)


def show_queue(caller: Reviewer, house: Here) -> Response:
    """Show what waits for a person: turns to judge, appeals to decide, and risks to look at."""
    words, whole = caller.key.reads_words, caller.key.may_any(("audit", "operate"))
    appeals = risks = holds = claim = None
    if whole:
        appeals = reads.conversations(caller, house, Facts(appeal="open", order="oldest", titles=words))
        risks = reads.conversations(caller, house, Facts(risk="open", order="oldest", titles=words))
        holds = reads.holds(caller)
    judges = turns_to_judge.person_of(caller) if caller.key.names("assess") else None
    if judges is not None and words and (held := caller.tenant.queue.held(judges)):
        claim = turns_to_judge.shown(caller, house, held[0])
    return page(
        "queue.html", nav="queue", caller=caller, appeals=appeals, risks=risks, holds=holds, whole=whole, claim=claim,
        waiting=caller.tenant.queue.waiting(_SHOWN), judges=judges, verdicts=list(Verdict),
        risk_seen=list(Risk), abouts=list(About),
    )  # fmt: skip


def show_log(
    request: Request, caller: Auditor, house: Here, before: Annotated[int, Query(ge=1, le=2**53)] = 2**53
) -> Response:  # fmt: skip
    """Show the admin log, the newest entries first, and what is known of its chain."""
    if not caller.key.may_any(("admin", "audit")):
        raise NotForYou("The admin log is for people who have the scope admin or audit.")
    found = house.log.latest(caller.tenant.name, before, _ENTRIES + 1)
    following = with_query(request, before=found[_ENTRIES - 1].seq) if len(found) > _ENTRIES else None
    first = with_query(request, before=None) if before < 2**53 else None
    return page("log.html", nav="log", caller=caller, entries=found[:_ENTRIES], next=following, first=first,
                actors=_actors(house, {one.who for one in found}), of_branches=_OF_BRANCHES,
                known=house.log.checked(house.now()))  # fmt: skip


def _actors(house: House, ids: Iterable[str]) -> Mapping[str, str]:
    """Return under which name each person and key acts: by that name the log of conversations knows them."""
    found = {}
    for one in ids:
        person = house.people.find(one.removeprefix(PREFIX)) if one.startswith(PREFIX) else None
        known = person.key if person is not None else house.keys.find(one)
        if known is not None:
            found[one] = known.rights.actor
    return found
