"""What administrators do over HTTP: keys, people, and the admin log."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from lastresort.adapters.native_api import bodies
from lastresort.adapters.native_api.bodies import Body
from lastresort.adapters.service.admin_log import Entry
from lastresort.adapters.service.keys import Key, Limits, Rights, Scope
from lastresort.adapters.service.people import Person, link_path
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import OWN, Caller, House
from lastresort.application.arguments import pseudonymous_id
from lastresort.domain.values import Id

from .reads import After, Limit
from .routes import By, Here, Name, endpoint


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


class NewPerson(Body):
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)]
    actor: Id
    account: Id | None = None
    limits: Limits = Limits()
    subject: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        None, description="What the OpenID provider calls them, its `sub`. Only a keyed digest of it is kept."
    )


class PersonOut(BaseModel):
    id: str
    rights: Rights


class PersonPage(BaseModel):
    people: list[PersonOut]
    after: str | None


class LinkOut(BaseModel):
    """An address that signs a person in, once, within ten minutes. It is shown this once."""

    path: str


class TenantOut(BaseModel):
    """A tenant, as it is configured; never where its store is."""

    tenant: str
    policy: str
    events: int


class UpstreamOut(BaseModel):
    """Where models are asked, as it is configured; never with what credentials."""

    credentials: str
    model: str
    max_tokens: int


_WHOLE = (
    "Whether each entry of the whole log follows from the one before it. A log of more than 1,000 entries is checked "
    "piece by piece, with each request, and again after ten minutes: `null` until that has come to the end once."
)


class LogPage(BaseModel):
    """Entries of the admin log."""

    entries: list[Entry]
    after: int | None
    whole: Annotated[bool | None, Field(description=_WHOLE)]
    checked: Annotated[datetime | None, Field(description="When the check began that says so.")]


def _rights(given: dict[str, Any], **more: Any) -> Rights:
    """Return rights of which no id is an address: events bear them for ever. Those made before stay as they are."""
    for field in ("actor", "account"):
        pseudonymous_id(field, given[field])
    return Rights(**given, **more)


@endpoint("POST", "/admin/keys", "admin", returns=MadeOut, status=201, whole=True)
def make_key(body: NewKey, caller: By, house: Here) -> MadeOut:
    expires = None
    if body.expires_in is not None:
        expires = (house.now() + timedelta(seconds=body.expires_in)).isoformat(timespec="seconds")
    rights = _rights(body.model_dump(exclude={"expires_in"}), expires=expires)
    made = house.keys.make(caller.tenant.name, rights, now=house.now())
    house.note(caller, "key.made", made.made.id, after=made.made.rights.model_dump())
    return MadeOut(key=made.key, id=made.made.id, rights=made.made.rights)


@endpoint("GET", "/admin/keys", "admin", returns=KeyPage, whole=True)
def list_keys(caller: By, house: Here, after: Annotated[str, Query(max_length=12)] = "", limit: Limit = 50) -> KeyPage:
    found = house.keys.page(caller.tenant.name, after, limit + 1)
    rows = [KeyOut(id=one.id, rights=one.rights, last_used=one.last_used) for one in found[:limit]]
    return KeyPage(keys=rows, after=rows[-1].id if len(found) > limit else None)


@endpoint("POST", "/admin/keys/{key}/revoke", "admin", returns=KeyOut, whole=True)
def revoke_key(key: Name, body: bodies.Nothing, caller: By, house: Here) -> KeyOut:
    found = _key(house, caller, key)
    after = house.keys.revoke(found)
    house.note(caller, "key.revoked", found.id, before=found.rights.model_dump(), after=after.rights.model_dump())
    return KeyOut(id=after.id, rights=after.rights, last_used=after.last_used)


@endpoint("POST", "/admin/keys/{key}/rotate", "admin", returns=MadeOut, status=201, whole=True)
def rotate_key(key: Name, body: Rotation, caller: By, house: Here) -> MadeOut:
    """Make another key of the same rights; this one opens for a while longer."""
    found = _key(house, caller, key)
    made = house.keys.rotate(found, grace=timedelta(seconds=body.grace), now=house.now())
    if made is None:
        raise Failed("invalid", "key: it was revoked; make another one")
    house.note(caller, "key.rotated", found.id, after=made.made.id)
    return MadeOut(key=made.key, id=made.made.id, rights=made.made.rights)


def _key(house: House, caller: Caller, id: str) -> Key:
    found = house.keys.find(id)
    if found is None or found.tenant != caller.tenant.name:
        raise Failed("not-found")
    return found


@endpoint("GET", "/admin/log", "admin", "audit", returns=LogPage, whole=True)
def admin_log(caller: By, house: Here, after: After = 0, limit: Limit = 100) -> LogPage:
    found = house.log.page(caller.tenant.name, after, limit + 1)
    last = found[limit - 1].seq if len(found) > limit else None
    known = house.log.checked(house.now())
    whole = None if known.at is None else known.broken_at is None
    return LogPage(entries=found[:limit], after=last, whole=whole, checked=known.at)


# --- people -----------------------------------------------------------------------------------------------------------


@endpoint("POST", "/admin/people", "admin", returns=PersonOut, status=201, whole=True)
def make_person(body: NewPerson, caller: By, house: Here) -> PersonOut:
    """Let a person sign in, by links that are made for them or by the OpenID provider."""
    rights = _rights(body.model_dump(exclude={"subject"}))
    subject = None if body.subject is None else house.subject_digest(body.subject)
    if subject is not None and house.people.known(subject) is not None:
        raise Failed("invalid", "subject: a person of that subject may sign in already")
    made = house.people.make(caller.tenant.name, rights, subject=subject, now=house.now())
    house.note(caller, "person.made", made.id, after=rights.model_dump())
    return PersonOut(id=made.id, rights=made.rights)


@endpoint("GET", "/admin/people", "admin", returns=PersonPage, whole=True)
def list_people(
    caller: By, house: Here, after: Annotated[str, Query(max_length=12)] = "", limit: Limit = 50
) -> PersonPage:
    found = house.people.page(caller.tenant.name, after, limit + 1)
    rows = [PersonOut(id=one.id, rights=one.rights) for one in found[:limit]]
    return PersonPage(people=rows, after=rows[-1].id if len(found) > limit else None)


@endpoint("POST", "/admin/people/{person}/link", "admin", returns=LinkOut, status=201, whole=True)
def make_link(person: Name, body: bodies.Nothing, caller: By, house: Here) -> LinkOut:
    """Make an address that signs a person in once, within ten minutes."""
    found = _person(house, caller, person)
    if found.rights.revoked:
        raise Failed("invalid", "person: they are let in no more")
    house.note(caller, "person.link", found.id)
    return LinkOut(path=link_path(house.people.link(found, now=house.now())))


@endpoint("POST", "/admin/people/{person}/revoke", "admin", returns=PersonOut, whole=True)
def revoke_person(person: Name, body: bodies.Nothing, caller: By, house: Here) -> PersonOut:
    found = _person(house, caller, person)
    after = house.people.revoke(found)
    house.note(caller, "person.revoked", found.id, before=found.rights.model_dump(), after=after.rights.model_dump())
    return PersonOut(id=after.id, rights=after.rights)


def _person(house: House, caller: Caller, id: str) -> Person:
    found = house.people.find(id)
    if found is None or found.tenant != caller.tenant.name:
        raise Failed("not-found")
    return found


@endpoint("GET", "/admin/tenants", "admin", returns=list[TenantOut], whole=True)
def list_tenants(caller: By, house: Here) -> list[TenantOut]:
    """Show this key's tenant; the operator's own key sees all."""
    shown = house.tenants.values() if caller.tenant.name == OWN else [caller.tenant]
    return [TenantOut(tenant=one.name, policy=one.policy.name, events=one.conversations.store.head()) for one in shown]


@endpoint("GET", "/admin/upstreams", "admin", returns=list[UpstreamOut])
def list_upstreams(house: Here) -> list[UpstreamOut]:
    up = house.config.upstream
    return [UpstreamOut(credentials=up.credentials, model=up.model, max_tokens=up.max_tokens)]
