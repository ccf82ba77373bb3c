"""Audits and replays under another policy, which anyone with `audit` may have made. They write nothing to the log."""

from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from lastresort.adapters.native_api import bodies
from lastresort.adapters.service.jobs import Audited, Job, Jobs, Supposed
from lastresort.adapters.service.problems import Failed, wrong_in
from lastresort.domain.policy import Policy
from lastresort.domain.values import EDITIONS
from lastresort.projections.findings import Finding
from lastresort.projections.supposed import BranchOutcome

from .acts import named_policy
from .routes import By, Name, endpoint


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


Running = Annotated[Jobs, Depends(_jobs)]


class JobOut(BaseModel):
    id: str
    status: str


class AuditOut(JobOut):
    """An audit. What it found is there when its status is `done`."""

    events: int | None = None
    branches: int | None = None
    findings: tuple[Finding, ...] = ()
    more: bool = False


class WhatIfOut(JobOut):
    """A replay under another policy. What came of it is there when its status is `done`."""

    policy: str | None = None
    policy_hash: str | None = None
    edition: int | None = None
    head: int | None = None
    events: int | None = None
    branches: int | None = None
    outcomes: dict[str, int] | None = None
    untried: int | None = None
    differ: tuple[BranchOutcome, ...] = ()
    more: bool = False


@endpoint("POST", "/audits", "audit", returns=AuditOut, status=202, whole=True)
def begin_audit(body: bodies.Nothing, jobs: Running, caller: By) -> AuditOut:
    """Begin an audit of the whole log: by the law, and by the second reading of it."""
    return _audit_of(jobs.audit(caller.tenant))


@endpoint("GET", "/audits/{audit}", "audit", returns=AuditOut, whole=True)
def show_audit(audit: Name, jobs: Running, caller: By) -> AuditOut:
    if (found := jobs.find(caller.tenant, "audit", audit)) is None:
        raise Failed("not-found")
    return _audit_of(found)


def _audit_of(job: Job) -> AuditOut:
    told = {} if job.result is None else dict(Audited.model_validate_json(job.result))
    return AuditOut(id=job.id, status=job.status, **told)


@endpoint("POST", "/what-ifs", "audit", returns=WhatIfOut, status=202, whole=True)
def begin_what_if(body: bodies.Supposing, jobs: Running, caller: By) -> WhatIfOut:
    """Begin a replay of the whole log under another policy. It says what is decided, and guesses nothing."""
    if body.edition is not None and body.edition not in EDITIONS:
        raise Failed("invalid", f"edition: one of {', '.join(map(str, EDITIONS))}")
    return _what_if_of(jobs.what_if(caller.tenant, _policy(body.policy), body.edition))


@endpoint("GET", "/what-ifs/{replay}", "audit", returns=WhatIfOut, whole=True)
def show_what_if(replay: Name, jobs: Running, caller: By) -> WhatIfOut:
    if (found := jobs.find(caller.tenant, "what-if", replay)) is None:
        raise Failed("not-found")
    return _what_if_of(found)


def _what_if_of(job: Job) -> WhatIfOut:
    told = {} if job.result is None else dict(Supposed.model_validate_json(job.result))
    return WhatIfOut(id=job.id, status=job.status, **told)


def _policy(given: str | dict[str, Any]) -> Policy:
    if isinstance(given, str):
        return named_policy(given)
    try:
        return Policy.model_validate(given)
    except ValidationError as error:
        raise Failed("invalid", errors=wrong_in(error, "policy", Policy.model_fields)) from None
