"""People: who signs in with a browser, by a link that opens once or by an OpenID provider.

A person has rights as a key has them. Of who they are the service keeps a keyed digest of what the provider calls them,
and of a session or a link a digest. No passwords, no names, no addresses.
"""

import hashlib
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from lastresort.adapters.followers.tables import Tables
from lastresort.domain.values import Frozen

from .keys import ALPHABET, Key, Rights

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}service_people (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, "
    "rights TEXT NOT NULL, subject TEXT)",
    "CREATE UNIQUE INDEX IF NOT EXISTS service_people_by_subject ON {schema}service_people (subject)",
    "CREATE TABLE IF NOT EXISTS {schema}service_sessions (digest TEXT PRIMARY KEY, person TEXT NOT NULL, "
    "kind TEXT NOT NULL, since TEXT NOT NULL, expires TEXT NOT NULL)",
)
COOKIE = "__Host-lastresort"
LASTS = timedelta(hours=12)
LINK_LASTS = timedelta(minutes=10)
FRESH = timedelta(minutes=15)
"""For how long after signing in a person may do what cannot be undone."""
_SESSION, _LINK, _STATE = "session", "link", "state"
_STANDING = "standing"  # a link that opens again and again
_YEARS = timedelta(days=3650)
_TOKEN = re.compile(r"[0-9A-Za-z_-]{43}")
PREFIX = "person-"
LINK = "/auth/link/"


def link_path(token: str) -> str:
    """Return the path of a link."""
    return LINK + token


class Person(Frozen):
    """A person who may sign in."""

    id: str
    tenant: str
    rights: Rights

    @property
    def key(self) -> Key:
        """What they may, as a key has it."""
        return Key(id=PREFIX + self.id, tenant=self.tenant, rights=self.rights)


class Session(NamedTuple):
    """A person who has signed in, and when."""

    person: Person
    since: datetime


class People:
    """The people of a service, their sessions and links. Threads and processes may share it."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def make(self, tenant: str, rights: Rights, *, subject: str | None, now: datetime) -> Person:
        """Make a person; `subject` is the digest by which a provider's word for them is known."""
        id = "".join(secrets.choice(ALPHABET) for _ in range(12))
        rights = rights.model_copy(update={"created": _text(now)})
        with self._tables.transaction("service") as writing:
            row = (id, tenant, rights.model_dump_json(), subject)
            writing.write("INSERT INTO {schema}service_people VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", [row])
        made = self.find(id) or (self.known(subject) if subject is not None else None)
        assert made is not None, "a person is there, or one of that subject is"
        return made

    def find(self, id: str) -> Person | None:
        """Return a person."""
        return self._one("id", id)

    def known(self, subject: str) -> Person | None:
        """Return the person whom a provider calls that."""
        return self._one("subject", subject)

    def _one(self, column: str, value: str) -> Person | None:
        rows = self._tables.rows(f"SELECT * FROM {{schema}}service_people WHERE {column} = %s", value)
        return _person(rows[0]) if rows else None

    def page(self, tenant: str, after: str, limit: int) -> list[Person]:
        """Return people of a tenant, by id."""
        statement = "SELECT * FROM {schema}service_people WHERE tenant = %s AND id > %s ORDER BY id LIMIT %s"
        return [_person(row) for row in self._tables.rows(statement, tenant, after, limit)]

    def revoke(self, person: Person) -> Person:
        """Let a person in no more, and end what they have open."""
        rights = person.rights.model_copy(update={"revoked": True})
        with self._tables.transaction("service") as writing:
            row = (rights.model_dump_json(), person.id)
            writing.write("UPDATE {schema}service_people SET rights = %s WHERE id = %s", [row])
            writing.write("DELETE FROM {schema}service_sessions WHERE person = %s", [(person.id,)])
        return person.model_copy(update={"rights": rights})

    def link(self, person: Person, *, now: datetime) -> str:
        """Make a link that signs a person in once, soon; return its token."""
        return self._begin(person, _LINK, now, LINK_LASTS)

    def standing_link(self, person: Person, *, now: datetime) -> str:
        """Make a link that signs a person in whenever it is opened; return its token. It is for a store that is gone
        when the program ends: anybody who comes by the link is let in."""
        return self._begin(person, _STANDING, now, _YEARS)

    def stands(self, token: str) -> bool:
        """Whether a link opens again and again."""
        return _TOKEN.fullmatch(token) is not None and _row(self._tables, token, _STANDING) is not None

    def has_standing_link(self) -> bool:
        """Whether there is a link that opens again and again."""
        statement = "SELECT 1 AS there FROM {schema}service_sessions WHERE kind = %s LIMIT 1"
        return bool(self._tables.rows(statement, _STANDING))

    def follow(self, token: str, *, now: datetime) -> str | None:
        """Sign in by a link: it opens nothing again, unless it stands. Return the token of a session; None if it opens
        nothing."""
        if not _TOKEN.fullmatch(token):
            return None
        with self._tables.transaction("service") as writing:
            row = _row(writing, token, _LINK)
            if row is not None:
                writing.write("DELETE FROM {schema}service_sessions WHERE digest = %s", [(_digest(token),)])
            else:
                row = _row(writing, token, _STANDING)
        person = self.find(row["person"]) if row is not None and row["expires"] > _text(now) else None
        return None if person is None else self.sign_in(person, now=now)

    def sign_in(self, person: Person, *, now: datetime) -> str | None:
        """Begin a session, and return its token; None if the person is let in no more."""
        return self._begin(person, _SESSION, now, LASTS) if person.key.opens(now) else None

    def session(self, token: str, *, now: datetime) -> Session | None:
        """Return who has a session."""
        if not _TOKEN.fullmatch(token):
            return None
        row = _row(self._tables, token, _SESSION)
        person = self.find(row["person"]) if row is not None and row["expires"] > _text(now) else None
        if row is None or person is None or not person.key.opens(now):
            return None
        return Session(person, datetime.fromisoformat(row["since"]))

    def expect(self, state: str, said: str, *, now: datetime, lasts: timedelta) -> None:
        """Keep what is to be known when a browser comes back from the provider."""
        with self._tables.transaction("service") as writing:
            row = (_digest(state), said, _STATE, _text(now), _text(now + lasts))
            writing.write("INSERT INTO {schema}service_sessions VALUES (%s, %s, %s, %s, %s)", [row])

    def expected(self, state: str, *, now: datetime) -> str | None:
        """Return what was kept, once."""
        with self._tables.transaction("service") as writing:
            row = _row(writing, state, _STATE)
            writing.write("DELETE FROM {schema}service_sessions WHERE digest = %s", [(_digest(state),)])
        return row["person"] if row is not None and row["expires"] > _text(now) else None

    def sign_out(self, token: str) -> None:
        """End a session."""
        with self._tables.transaction("service") as writing:
            writing.write("DELETE FROM {schema}service_sessions WHERE digest = %s", [(_digest(token),)])

    def _begin(self, person: Person, kind: str, now: datetime, lasts: timedelta) -> str:
        token = secrets.token_urlsafe(32)
        with self._tables.transaction("service") as writing:
            row = (_digest(token), person.id, kind, _text(now), _text(now + lasts))
            writing.write("DELETE FROM {schema}service_sessions WHERE expires < %s", [(_text(now),)])
            writing.write("INSERT INTO {schema}service_sessions VALUES (%s, %s, %s, %s, %s)", [row])
        return token


def _row(tables: Any, token: str, kind: str) -> Any:
    statement = "SELECT person, since, expires FROM {schema}service_sessions WHERE digest = %s AND kind = %s"
    return next(iter(tables.rows(statement, _digest(token), kind)), None)


def _person(row: Any) -> Person:
    return Person(id=row["id"], tenant=row["tenant"], rights=Rights.model_validate_json(row["rights"]))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
