"""What administrators do over HTTP: keys, and the admin log. And audits, which anyone with `audit` may have made."""

import secrets
import threading
from collections import OrderedDict
from datetime import timedelta
from typing import Annotated

from fastapi import Query, Request
from pydantic import BaseModel, Field

from lastresort.application.conversations import Conversations
from lastresort.domain.values import Id
from lastresort.projections.audit import audit

from . import shapes
from .admin_log import Entry
from .keys import Key, Limits, Rights, Scope
from .problems import Failed
from .reads import After, Limit
from .routes import By, Here, Name, endpoint
from .shapes import Body
from .tenants import Caller, House

_MOST_JOBS = 100
_MOST_FINDINGS = 1_000


class NewKey(Body):
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)]
    actor: Id
    account: Id | None = None
    limits: Limits = Limits()
    track: Annotated[str, Field(pattern="^(all|header)$")] = "all"
    ended_as: Annotated[str, Field(pattern="^(message|error)$")] = "message"
    expires_in: Annotated[int, Field(ge=1, le=10 * 366 * 86_400)] | None = Field(None, description="In seconds.")


class Rotation(Body):
    grace: Annotated[int, Field(ge=0, le=30 * 86_400)] = Field(
        86_400, description="For how many seconds the old key still opens."
    )


class MadeOut(BaseModel):
    """A key that was just made. It is shown this once."""

    key: str
    id: str
    rights: Rights


class KeyOut(BaseModel):
    id: str
    rights: Rights
    last_used: str | None


class KeyPage(BaseModel):
    keys: list[KeyOut]
    after: str | None


class LogPage(BaseModel):
    """Entries of the admin log; `whole` says whether each follows from the one before it."""

    entries: list[Entry]
    after: int | None
    whole: bool


@endpoint("POST", "/admin/keys", "admin", returns=MadeOut, status=201)
def make_key(body: NewKey, caller: By, house: Here) -> MadeOut:
    expires = None
    if body.expires_in is not None:
        expires = (house.now() + timedelta(seconds=body.expires_in)).isoformat(timespec="seconds")
    rights = Rights(**body.model_dump(exclude={"expires_in"}), expires=expires)
    made = house.keys.make(caller.tenant.name, rights, now=house.now())
    house.note(caller, "key.made", made.made.id, after=made.made.rights.model_dump())
    return MadeOut(key=made.key, id=made.made.id, rights=made.made.rights)


@endpoint("GET", "/admin/keys", "admin", returns=KeyPage)
def list_keys(caller: By, house: Here, after: Annotated[str, Query(max_length=12)] = "", limit: Limit = 50) -> KeyPage:
    found = house.keys.page(caller.tenant.name, after, limit + 1)
    rows = [KeyOut(id=one.id, rights=one.rights, last_used=one.last_used) for one in found[:limit]]
    return KeyPage(keys=rows, after=rows[-1].id if len(found) > limit else None)


@endpoint("POST", "/admin/keys/{key}/revoke", "admin", returns=KeyOut)
def revoke_key(key: Name, body: shapes.Nothing, caller: By, house: Here) -> KeyOut:
    found = _key(house, caller, key)
    after = house.keys.revoke(found)
    house.note(caller, "key.revoked", found.id, before=found.rights.model_dump(), after=after.rights.model_dump())
    return KeyOut(id=after.id, rights=after.rights, last_used=after.last_used)


@endpoint("POST", "/admin/keys/{key}/rotate", "admin", returns=MadeOut, status=201)
def rotate_key(key: Name, body: Rotation, caller: By, house: Here) -> MadeOut:
    """Make another key of the same rights; this one opens for a while longer."""
    found = _key(house, caller, key)
    if found.rights.revoked:
        raise Failed("invalid", "key: it was revoked; make another one")
    made = house.keys.rotate(found, grace=timedelta(seconds=body.grace), now=house.now())
    house.note(caller, "key.rotated", found.id, after=made.made.id)
    return MadeOut(key=made.key, id=made.made.id, rights=made.made.rights)


def _key(house: House, caller: Caller, id: str) -> Key:
    found = house.keys.find(id)
    if found is None or found.tenant != caller.tenant.name:
        raise Failed("not-found")
    return found


@endpoint("GET", "/admin/log", "admin", "audit", returns=LogPage)
def admin_log(caller: By, house: Here, after: After = 0, limit: Limit = 100) -> LogPage:
    found = house.log.page(caller.tenant.name, after, limit + 1)
    last = found[limit - 1].seq if len(found) > limit else None
    return LogPage(entries=found[:limit], after=last, whole=house.log.broken_at() is None)


# --- audits -----------------------------------------------------------------------------------------------------------


class Jobs:
    """Audits that were asked for. Of this process, and forgotten with it."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[tuple[str, str], shapes.AuditOut] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, tenant: str, conversations: Conversations) -> shapes.AuditOut:
        """Begin an audit of a tenant's whole log, in a thread."""
        job = shapes.AuditOut(id=secrets.token_hex(8), status="running")
        with self._lock:
            self._by_name[tenant, job.id] = job
            while len(self._by_name) > _MOST_JOBS:
                self._by_name.popitem(last=False)
        threading.Thread(target=self._run, args=(job, conversations), name="audit", daemon=True).start()
        return job

    def find(self, tenant: str, id: str) -> shapes.AuditOut | None:
        """Return an audit of a tenant."""
        return self._by_name.get((tenant, id))

    @staticmethod
    def _run(job: shapes.AuditOut, conversations: Conversations) -> None:
        try:
            report = audit(conversations.store.entries())
        except Exception:  # in a thread of its own: whatever came between, who asks is told that it failed
            job.status = "failed"
            return
        job.events, job.branches = report.events, report.branches
        job.findings = [
            shapes.FindingOut(branch=one.branch, version=one.version, rules=list(one.rules), detail=one.detail)
            for one in report.findings[:_MOST_FINDINGS]
        ]
        job.status = "done"


@endpoint("POST", "/audits", "audit", returns=shapes.AuditOut, status=202)
def begin_audit(body: shapes.Nothing, request: Request, caller: By) -> shapes.AuditOut:
    """Begin an audit of the whole log: by the law, and by the second reading of it."""
    jobs: Jobs = request.app.state.jobs
    return jobs.begin(caller.tenant.name, caller.tenant.conversations)


@endpoint("GET", "/audits/{audit}", "audit", returns=shapes.AuditOut)
def show_audit(audit: Name, request: Request, caller: By) -> shapes.AuditOut:
    jobs: Jobs = request.app.state.jobs
    if (found := jobs.find(caller.tenant.name, audit)) is None:
        raise Failed("not-found")
    return found
