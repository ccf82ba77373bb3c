"""What takes long: an audit of the log, and what another policy would have made of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from lastresort.adapters.api.reads import head_of
from lastresort.adapters.native_api.bodies import Body
from lastresort.adapters.service.jobs import Audited, Job, Jobs, Kind, Supposed, latest
from lastresort.adapters.service.problems import Failed
from lastresort.domain.law import RULES
from lastresort.domain.policy import PROFILES, Policy, PolicyError
from lastresort.domain.values import EDITIONS
from lastresort.projections.audit import DISAGREEMENT
from lastresort.projections.findings import Finding

from .inspect_reports import whole_log
from .rendering import page, with_query
from .visitors import Auditor

_NOT_WHOLE = "The log is not whole"
_FILE = "the file"
_FINDINGS, _BRANCHES = 100, 200
"""How many of each are on a page."""


class ToldFinding(NamedTuple):
    """A finding, with what the rules that it breaks say."""

    finding: Finding
    rules: tuple[tuple[str, str, str], ...]


class FromFile(Body):
    """A policy as its TOML file has it."""

    toml: Annotated[str, Field(max_length=100_000)]


def install(app: FastAPI) -> None:
    """Have an app serve these pages."""
    for method, path, run in (
        ("GET", "/inspect/audit", show_audit), ("GET", "/inspect/what-if", show_what_if),
        ("POST", "/inspect/what-ifs", begin_what_if),
    ):  # fmt: skip
        app.add_api_route(path, run, methods=[method], include_in_schema=False, response_model=None)


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


def _job(request: Request, caller: Auditor, kind: Kind, id: str | None) -> Job | None:
    id = id or latest(caller.tenant.tables, kind)
    return None if id is None else _jobs(request).find(caller.tenant, kind, id)


Name = Annotated[str | None, Query(max_length=64)]
From = Annotated[int, Query(alias="from", ge=0, le=100_000)]


class Piece(NamedTuple):
    """Where a page of many is: the addresses of those beside it, None if it is the first or the last."""

    begin: int
    end: int
    earlier: str | None
    later: str | None


def _piece(request: Request, of: int, begin: int, size: int) -> Piece:
    begin = min(begin, max(0, of - 1)) // size * size
    end = min(begin + size, of)
    earlier = with_query(request, **{"from": begin - size or None}) if begin else None
    return Piece(begin, end, earlier, with_query(request, **{"from": end}) if end < of else None)


def show_audit(request: Request, caller: Auditor, id: Name = None, begin: From = 0) -> Response:
    """Show the latest audit, or the one that is named."""
    whole_log(caller)
    job = _job(request, caller, "audit", id)
    done = Audited.model_validate_json(job.result) if job is not None and job.result is not None else None
    head, signed = head_of(caller)
    findings = sorted(_told(done.findings), key=_gravity) if done else []
    piece = _piece(request, len(findings), begin, _FINDINGS)
    return page(
        "audit.html", nav="audit", caller=caller, job=job, done=done, piece=piece,
        groups=_grouped(findings[piece.begin : piece.end]), sums=Counter(_group(one) for one in findings),
        by_rule=_by_rule(done.findings) if done else {}, head=head, signed=signed, edition=max(EDITIONS),
    )  # fmt: skip


def _grouped(findings: Sequence[ToldFinding]) -> Mapping[str, Sequence[ToldFinding]]:
    """Return findings by what they are against."""
    groups: dict[str, list[ToldFinding]] = {}
    for one in findings:
        groups.setdefault(_group(one), []).append(one)
    return groups


def _gravity(one: ToldFinding) -> tuple[int, int]:
    """Return what sorts findings: the gravest first, and then by the edition that has the rule."""
    if any(rule not in RULES and rule != DISAGREEMENT for rule in one.finding.rules):
        return 0, 0
    return (1, _since(one)) if one.rules else (2, 0)


def _group(one: ToldFinding) -> str:
    if _gravity(one)[0] == 0:
        return _NOT_WHOLE
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


def show_what_if(request: Request, caller: Auditor, id: Name = None, begin: From = 0) -> Response:
    """Show the latest replay, or the one that is named."""
    whole_log(caller)
    job = _job(request, caller, "what-if", id)
    done = Supposed.model_validate_json(job.result) if job is not None and job.result is not None else None
    piece = _piece(request, len(done.differ) if done else 0, begin, _BRANCHES)
    return page(
        "what_if.html", nav="what-if", caller=caller, job=job, done=done, piece=piece, profiles=sorted(PROFILES),
        editions=EDITIONS, head=caller.tenant.conversations.store.head(),
    )  # fmt: skip


def begin_what_if(request: Request, body: FromFile, caller: Auditor) -> JSONResponse:
    """Begin a replay under a policy from a file."""
    whole_log(caller)
    try:
        policy = Policy.from_toml(body.toml, _FILE)
    except PolicyError as error:
        wrong = [line.removeprefix(f"{_FILE}: ") for line in str(error).split("\n")]
        raise Failed("invalid", "\n".join((f"{_FILE} is no policy:", *wrong))) from None
    return JSONResponse({"id": _jobs(request).what_if(caller.tenant, policy, None).id}, 202)
