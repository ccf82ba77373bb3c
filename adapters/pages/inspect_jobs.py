"""What takes long: an audit of the log, what another policy would have made of it, figures and reports."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from threading import Lock
from typing import Annotated, NamedTuple

from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import Field

from lastresort.adapters.api.reads import head_of
from lastresort.adapters.native_api.bodies import Body
from lastresort.adapters.service.jobs import Audited, Job, Jobs, Kind, Supposed, latest
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import Tenant
from lastresort.domain.law import RULES
from lastresort.domain.policy import PROFILES, Policy, PolicyError
from lastresort.domain.values import EDITIONS
from lastresort.projections.audit import DISAGREEMENT
from lastresort.projections.figures import Figures, figures
from lastresort.projections.findings import Finding

from .rendering import page
from .visitors import Auditor, NotForYou

_REPORT_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
_NOT_WHOLE = "The log is not whole"
_WHOLE_LOG = "This tells of the whole log, and is for people who have the scope audit."


class ToldFinding(NamedTuple):
    """A finding, with what the rules that it breaks say."""

    finding: Finding
    rules: tuple[tuple[str, str, str], ...]


class FromFile(Body):
    """A policy as its TOML file has it."""

    toml: Annotated[str, Field(max_length=100_000)]


class _Counted:
    """Figures of a tenant's log, counted once for each length of it."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, tuple[int, Figures]] = {}
        self._lock = Lock()

    def of(self, tenant: Tenant) -> tuple[int, Figures]:
        with self._lock:
            store = tenant.conversations.store
            head = store.head()
            known = self._by_tenant.get(tenant.name)
            if known is None or known[0] != head:
                known = self._by_tenant[tenant.name] = head, figures(store.log(limit=head))
            return known


def install(app: FastAPI) -> None:
    """Have an app serve these pages."""
    app.state.counted = _Counted()
    for method, path, run in (
        ("GET", "/inspect/audit", show_audit), ("GET", "/inspect/what-if", show_what_if),
        ("POST", "/inspect/what-ifs", begin_what_if), ("GET", "/inspect/figures", show_figures),
        ("GET", "/inspect/report", show_report),
    ):  # fmt: skip
        app.add_api_route(path, run, methods=[method], include_in_schema=False, response_model=None)


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


def _whole(caller: Auditor) -> None:
    if caller.key.names("audit") is None:
        raise NotForYou(_WHOLE_LOG)


def _job(request: Request, caller: Auditor, kind: Kind, id: str | None) -> Job | None:
    id = id or latest(caller.tenant.tables, kind)
    return None if id is None else _jobs(request).find(caller.tenant, kind, id)


Name = Annotated[str | None, Query(max_length=64)]


def show_audit(request: Request, caller: Auditor, id: Name = None) -> Response:
    """Show the latest audit, or the one that is named."""
    _whole(caller)
    job = _job(request, caller, "audit", id)
    done = Audited.model_validate_json(job.result) if job is not None and job.result is not None else None
    head, signed = head_of(caller)
    return page(
        "audit.html", nav="audit", caller=caller, job=job, done=done, groups=_grouped(done.findings) if done else {},
        by_rule=_by_rule(done.findings) if done else {}, head=head, signed=signed, edition=max(EDITIONS),
    )  # fmt: skip


def _grouped(findings: Sequence[Finding]) -> Mapping[str, Sequence[ToldFinding]]:
    """Return findings by how grave they are, the gravest first, and then by the edition that has the rule."""
    groups: dict[str, list[ToldFinding]] = {}
    for one in sorted(_told(findings), key=_gravity):
        groups.setdefault(_NOT_WHOLE if _gravity(one)[0] == 0 else _group(one), []).append(one)
    return groups


def _gravity(one: ToldFinding) -> tuple[int, int]:
    if any(rule not in RULES and rule != DISAGREEMENT for rule in one.finding.rules):
        return 0, 0
    return (1, _since(one)) if one.rules else (2, 0)


def _group(one: ToldFinding) -> str:
    return f"Against the law, in rules since edition {_since(one)}" if one.rules else "The two readings disagree"


def _since(one: ToldFinding) -> int:
    return max((RULES[rule].since for rule, _, _ in one.rules), default=0)


def _told(findings: Sequence[Finding]) -> list[ToldFinding]:
    return [
        ToldFinding(one, tuple((rule, RULES[rule].text, RULES[rule].source) for rule in one.rules if rule in RULES))
        for one in findings
    ]


def _by_rule(findings: Sequence[Finding]) -> Mapping[str, int]:
    return dict(Counter(rule for one in findings for rule in one.rules).most_common())


def show_what_if(request: Request, caller: Auditor, id: Name = None) -> Response:
    """Show the latest replay, or the one that is named."""
    _whole(caller)
    job = _job(request, caller, "what-if", id)
    done = Supposed.model_validate_json(job.result) if job is not None and job.result is not None else None
    return page(
        "what_if.html", nav="what-if", caller=caller, job=job, done=done, profiles=sorted(PROFILES),
        editions=EDITIONS, head=caller.tenant.conversations.store.head(),
    )  # fmt: skip


def begin_what_if(request: Request, body: FromFile, caller: Auditor) -> JSONResponse:
    """Begin a replay under a policy from a file."""
    _whole(caller)
    try:
        policy = Policy.from_toml(body.toml, "the file")
    except PolicyError as error:
        raise Failed("invalid", str(error)) from None
    return JSONResponse({"id": _jobs(request).what_if(caller.tenant, policy, None).id}, 202)


def show_figures(request: Request, caller: Auditor) -> Response:
    """Show how often the law came into play."""
    _whole(caller)
    head, counted = request.app.state.counted.of(caller.tenant)
    reports = find_spec("matplotlib") is not None
    return page("figures.html", nav="figures", caller=caller, head=head, counted=counted, reports=reports)


Day = Annotated[str | None, Query(max_length=10)]


def show_report(
    caller: Auditor, by: Annotated[str, Query(max_length=64)] = "model",
    since: Day = None, until: Day = None,
) -> Response:  # fmt: skip
    """Show the report of the log, with its plots: a page of its own, which can be kept."""
    _whole(caller)
    try:
        from lastresort.adapters.documents.report_page import report_page  # its plots need matplotlib
    except ImportError as error:
        return _no_report(501, f"{error}.")
    from lastresort.projections.reports.report import report

    log = list(caller.tenant.conversations.store.log())
    try:
        counted = report(log, by=[by] if by else [], since=since or None, until=until or None)
    except ValueError as error:
        return _no_report(422, f"{error}.")
    headers = {"content-security-policy": _REPORT_CSP, "cache-control": "no-store"}
    return HTMLResponse(report_page(counted, version("lastresort")), headers=headers)


def _no_report(status: int, why: str) -> Response:
    return page("told.html", status=status, title="There is no such report", sentences=(f"{why[0].upper()}{why[1:]}",),
                link="/inspect/figures", label="Back to the figures")  # fmt: skip
