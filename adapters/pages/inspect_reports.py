"""Figures, reports, and the shadow beside what is enforced: of the whole log, or of what the list is narrowed to."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Annotated, Literal

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic_core import to_json

from lastresort.adapters.exporters.report_table import Section, as_csv, of_key, sections
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import Caller, House
from lastresort.projections.figures import Figures, figures
from lastresort.projections.reports.report import LogReport
from lastresort.projections.reports.shadow import BY, BY_POLICY, shadow_against_enforced

from . import facets
from .counted import Asked, Counted, Group, Reported, Since, Until, Upto, asked, counted, has_plots, reported, result_of
from .rendering import page, with_query
from .visitors import Auditor, Here, NotForYou

_FILE_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
_FILE = {"content-security-policy": _FILE_CSP, "cache-control": "no-store"}
_SHORT = (
    ("conversations", "conversations"), ("conversations.harmful", "with harm"),
    ("conversations.warned", "with a warning"), ("conversations.held", "held for a risk"),
    ("conversations.ended.last_resort", "ended as last resort"),
    ("conversations.ended.user_request", "ended on request"),
)  # fmt: skip
"""What is told of each group first."""
_COMPARED = {
    "harmful": ("Conversations with harm", ""),
    "redirected": ("Conversations with a redirection", ""),
    "relented_after_redirection": ("Users relented after a redirection", "of those that a decisive message followed"),
    "warned": ("Conversations with a warning", "in the shadow: with one withheld"),
    "relented_after_warning": ("Users relented after a warning", "in the shadow: after one was withheld"),
    "within_reach": ("Users went on after it", "an ending came within reach; in the shadow none could follow"),
    "ended_last_resort": ("Conversations ended as a last resort", "in the shadow none can be"),
    "ended_user_request": ("Conversations ended on request", ""),
    "held": ("Conversations held for a risk", ""),
    "attempt_refused": ("Conversations with an act refused", ""),
}  # fmt: skip
"""What the rows of the comparison are called, and what is to be known of them."""


def install(app: FastAPI) -> None:
    """Have an app serve these pages."""
    for path, run in (
        ("/inspect/figures", show_figures), ("/inspect/report", show_report), ("/inspect/shadow", show_shadow),
        ("/inspect/report.csv", report_as_csv), ("/inspect/report.json", report_as_json),
        ("/inspect/report.html", report_as_page), ("/inspect/report/{number}.svg", show_plot),
        ("/inspect/shadow.json", shadow_as_json),
    ):  # fmt: skip
        app.add_api_route(path, run, methods=["GET"], include_in_schema=False, response_model=None)


def whole_log(caller: Caller) -> None:
    """Refuse people who may not be told of the whole log."""
    if caller.key.names("audit") is None:
        raise NotForYou("This tells of the whole log, and is for people who have the scope audit.")


def show_figures(request: Request, caller: Auditor, upto: Upto = None) -> Response:
    """Show how often the law came into play."""
    whole_log(caller)
    found = counted(request, caller, "figures", "figures", upto, lambda log: figures(log.events()).model_dump_json())
    done = None if found.job.result is None else Figures.model_validate_json(found.job.result)
    return page("figures.html", nav="figures", here="figures", given={}, caller=caller, found=found, done=done)


# --- The report -------------------------------------------------------------------------------------------------------


def show_report(
    request: Request, caller: Auditor, house: Here, group: Group = "", since: Since = None, until: Until = None,
    upto: Upto = None, part: Annotated[int, Query(ge=0, le=10_000)] = 0,
) -> Response:  # fmt: skip
    """Show the report of what is listed: its groups side by side, and one of them whole."""
    whole_log(caller)
    what = asked(request, (group,) if group else (), since, until)
    found, done, trouble = _tried(request, caller, house, what, upto)
    groups = done.report.groups if done else ()
    part = min(part, max(0, len(groups) - 1))
    return page(
        "report.html", nav="figures", here="report", caller=caller, found=found, done=done, trouble=trouble, part=part,
        given=what.narrowing, chosen=facets.chosen(request), group=group, since=since or "", until=until or "",
        titles=_titles(done), short=_SHORT, sections=list(_sections(done.report, part)) if done and groups else (),
        has_plots=has_plots(), listed=facets.address("/inspect", what.narrowing),
        link=lambda **changes: with_query(request, **changes), file=_files(request, found),
    )  # fmt: skip


def _tried(
    request: Request, caller: Caller, house: House, what: Asked, upto: int | None
) -> tuple[Counted | None, Reported | None, str | None]:
    """Return what counts a report, the report once it is there, and what is wrong with what was asked for."""
    try:
        found = reported(request, caller, house, what, upto)
    except (Failed, ValueError) as error:
        return None, None, str(error)
    return found, result_of(found), None


def _titles(done: Reported | None) -> list[str]:
    if done is None:
        return []
    whole = "The whole log" if done.listed is None else "All that is listed"
    return [of_key(one, done.report) or whole for one in done.report.groups]


def _sections(told: LogReport, part: int) -> Iterator[Section]:
    """Yield the numbers of a group, without parts of which there are none."""
    for one in sections(told.groups[part]):
        rows = tuple(row for row in one.rows if row.figure.count != 0 or not row.part)
        yield one._replace(rows=rows)


def _files(request: Request, found: Counted | None) -> Mapping[str, str]:
    """Return the query of what is shown as files: up to the same position, so that they say the same."""
    return {} if found is None else {"query": with_query(request, upto=found.job.head, part=None).partition("?")[2]}


def report_as_csv(
    request: Request, caller: Auditor, house: Here, group: Group = "", since: Since = None, until: Until = None,
    upto: Upto = None,
) -> Response:  # fmt: skip
    """Give every number of the report as CSV."""
    done = _settled(request, caller, house, asked(request, (group,) if group else (), since, until), upto)
    if done is None:
        return _back(request)
    headers = {"content-disposition": 'attachment; filename="report.csv"', "cache-control": "no-store"}
    return Response(as_csv(done.report), media_type="text/csv; charset=utf-8", headers=headers)


def report_as_json(
    request: Request, caller: Auditor, house: Here, group: Group = "", since: Since = None, until: Until = None,
    upto: Upto = None,
) -> Response:  # fmt: skip
    """Give the report as JSON."""
    done = _settled(request, caller, house, asked(request, (group,) if group else (), since, until), upto)
    return _back(request) if done is None else _json(done.report, "report.json")


def report_as_page(
    request: Request, caller: Auditor, house: Here, group: Group = "", since: Since = None, until: Until = None,
    upto: Upto = None,
) -> Response:  # fmt: skip
    """Give the report with its plots as one file, which can be kept and opens offline."""
    try:
        from lastresort.adapters.documents.report_page import report_page  # its plots need matplotlib
    except ImportError as error:
        return _no_report(f"{error}.")
    done = _settled(request, caller, house, asked(request, (group,) if group else (), since, until), upto)
    return _back(request) if done is None else HTMLResponse(report_page(done.report, version("lastresort")), 200, _FILE)


def show_plot(
    request: Request, caller: Auditor, house: Here, number: Annotated[int, Path(ge=0, le=10_000)], group: Group = "",
    since: Since = None, until: Until = None, upto: Upto = None,
) -> Response:  # fmt: skip
    """Give a plot of the report."""
    done = _settled(request, caller, house, asked(request, (group,) if group else (), since, until), upto)
    if done is None or number >= len(done.pictures):
        raise Failed("not-found")
    return Response(done.pictures[number].svg, media_type="image/svg+xml", headers=_FILE)


def _settled(request: Request, caller: Caller, house: House, what: Asked, upto: int | None) -> Reported | None:
    """Return a report for a file; None while it is still being counted.

    Raises:
        Failed: one of the parameters is out of range.
    """
    whole_log(caller)
    try:
        return result_of(reported(request, caller, house, what, upto))
    except ValueError as error:
        raise Failed("invalid", str(error)) from None


def _back(request: Request) -> Response:
    """Send somebody to the page that waits for what they asked for as a file."""
    path: str = request.scope["path"]
    return RedirectResponse(f"{path.rpartition('.')[0]}?{request.url.query}", 303)


def _json(told: object, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(to_json(told), media_type="application/json", headers=headers)


def _no_report(why: str) -> Response:
    return page("told.html", status=501, title="There is no such report", sentences=(why[0].upper() + why[1:],),
                link="/inspect/report", label="Back to the report")  # fmt: skip


# --- The shadow -------------------------------------------------------------------------------------------------------

By = Annotated[Literal["", "policy"], Query()]


def show_shadow(
    request: Request, caller: Auditor, house: Here, group: By = "", since: Since = None, until: Until = None,
    upto: Upto = None,
) -> Response:  # fmt: skip
    """Show conversations in the shadow beside those in which the law is enforced, of what is listed."""
    whole_log(caller)
    what = asked(request, BY_POLICY if group else BY, since, until)
    found, done, trouble = _tried(request, caller, house, what, upto)
    return page(
        "shadow.html", nav="figures", here="shadow", caller=caller, found=found, done=done, trouble=trouble,
        given=what.narrowing, chosen=facets.chosen(request), group=group, since=since or "", until=until or "",
        compared=shadow_against_enforced(done.report) if done else (), labels=_COMPARED,
        listed=facets.address("/inspect", what.narrowing), file=_files(request, found),
    )  # fmt: skip


def shadow_as_json(
    request: Request, caller: Auditor, house: Here, group: By = "", since: Since = None, until: Until = None,
    upto: Upto = None,
) -> Response:  # fmt: skip
    """Give the comparison as JSON."""
    done = _settled(request, caller, house, asked(request, BY_POLICY if group else BY, since, until), upto)
    return _back(request) if done is None else _json(shadow_against_enforced(done.report), "shadow.json")
