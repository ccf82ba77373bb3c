"""The tenants of a service: each a store of its own, with vault keys of its own, and tables of the service beside it.

A handler gets its conversations from the key that called, never from an id in the address: what is another tenant's is
as unknown as what does not exist.
"""

import base64
import binascii
import hmac
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.followers.beside_log import beside, forget_in
from lastresort.adapters.followers.directory import ConversationDirectory
from lastresort.adapters.followers.tables import Tables
from lastresort.adapters.gateway import tables as of_gateway
from lastresort.adapters.human_queue import HumanQueue
from lastresort.adapters.opening import open_conversations
from lastresort.application.conversations import Conversations
from lastresort.domain.policy import PROFILES, Policy

from . import admin_log, jobs, keys, looking, people
from .admin_log import AdminLog
from .config import Config, ConfigError, TenantConfig
from .keys import Key, Keys, Meter
from .metrics import Metrics
from .people import People

STATEMENTS = ("CREATE TABLE IF NOT EXISTS {schema}service_enrolled (digest TEXT PRIMARY KEY, key TEXT NOT NULL)",)
OWN = "default"
"""The operator's own tenant: its store also holds the keys and the admin log."""


@dataclass(frozen=True)
class Tenant:
    """A tenant, open. `queue`: the turns that wait for a person to judge them."""

    name: str
    conversations: Conversations
    tables: Tables
    policy: Policy
    queue: HumanQueue


@dataclass(frozen=True)
class Caller:
    """The caller who makes a request: with a key, or having signed in, `since` when."""

    key: Key
    tenant: Tenant
    since: datetime | None = None


@dataclass
class House:
    """What a running service holds. Close it.

    Attributes:
        config: as it was read.
        tenants: by name.
        keys, people, log: in the own store.
        metrics: counts what happens.
        meter: counts what keys ask for.
        now: the clock.
    """

    config: Config
    tenants: Mapping[str, Tenant]
    keys: Keys
    people: People
    log: AdminLog
    metrics: Metrics
    meter: Meter = field(default_factory=Meter)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _secrets: dict[str, bytes] = field(default_factory=dict)
    _noted: dict[tuple[str, str, str], tuple[datetime, date]] = field(default_factory=dict)

    def caller(self, presented: str) -> Caller | None:
        """Return who presents a key; None if it opens nothing."""
        key = self.keys.known(presented, now=self.now())
        tenant = self.tenants.get(key.tenant) if key is not None else None
        return Caller(key, tenant) if key is not None and tenant is not None else None

    def signed_in(self, token: str) -> Caller | None:
        """Return who has signed in with a browser; None if the session is none."""
        session = self.people.session(token, now=self.now())
        tenant = self.tenants.get(session.person.tenant) if session is not None else None
        return Caller(session.person.key, tenant, session.since) if session is not None and tenant is not None else None

    def subject_digest(self, subject: str) -> str:
        """Return what a person is known by whom the OpenID provider calls that."""
        issuer = self.config.oidc.issuer if self.config.oidc is not None else ""
        return hmac.digest(self._secret("people"), f"{issuer}\n{subject}".encode(), "sha256").hex()

    def start_id(self, caller: Caller, account: str | None, command: str) -> str:
        """Return the id of the command that begins a conversation, of which its id follows.

        Nobody but the same caller makes the same of an Idempotency-Key, so that nobody can take what others use, or
        guess the id of a conversation from it.
        """
        text = f"{caller.tenant.name}\n{account or ''}\n{command}"
        return hmac.digest(self._secret("starts"), text.encode(), "sha256").hex()

    def _secret(self, name: str) -> bytes:
        if name not in self._secrets:
            own = self.tenants[OWN]
            self._secrets[name] = of_gateway.secret(own.tables, own.conversations.service.ports.vault, name)
        return self._secrets[name]

    def enrolled(self, key: str, *, enrol: bool) -> Caller | None:
        """Return who is known by a key of the upstream, of which a keyed digest is kept; or take them in.

        They may call the gateway, and nothing else.
        """
        own = self.tenants[OWN]
        digest = hmac.digest(self._secret("keys"), key.encode(), "sha256").hex()
        statement = "SELECT key FROM {schema}service_enrolled WHERE digest = %s"
        rows = own.tables.rows(statement, digest)
        if not rows and enrol:
            made = self.keys.make(OWN, keys.Rights(scopes=("gateway",), actor="enrolled"), now=self.now())
            with own.tables.transaction("service") as writing:
                row = (digest, made.made.id)
                writing.write("INSERT INTO {schema}service_enrolled VALUES (%s, %s) ON CONFLICT DO NOTHING", [row])
            self.log.note("key.enrolled", who="gateway", tenant=OWN, target=made.made.id, now=self.now())
            rows = own.tables.rows(statement, digest)
        found = self.keys.find(rows[0]["key"]) if rows else None
        if found is None or not found.opens(self.now()):
            return None
        tenant = self.tenants.get(found.tenant)
        return None if tenant is None else Caller(found, tenant)

    def note(self, caller: Caller, act: str, target: str, before: object = None, after: object = None) -> None:
        """Note in the admin log what somebody did."""
        who, tenant = caller.key.id, caller.tenant.name
        self.log.note(act, who=who, tenant=tenant, target=target, before=before, after=after, now=self.now())

    def note_once(self, caller: Caller, act: str, target: str, after: object = None) -> None:
        """Note what somebody does again with every page that they open: once a day, and whenever they have signed in.

        What a key of a program does is noted each time.
        """
        if caller.since is not None:
            told, what = (caller.since, self.now().date()), (caller.key.id, act, target)
            if self._noted.get(what) == told:
                return
            self._noted[what] = told
        self.note(caller, act, target, after=after)

    def used(self, key: Key, tokens: int) -> None:
        """Count tokens that were used for a key."""
        self.meter.tokens(key, tokens)
        self.metrics.tokens(tokens)

    def close(self) -> None:
        """Close every store."""
        for tenant in self.tenants.values():
            tenant.conversations.close()


LATE = 10_000
"""Of so many events that its lists have not read, a service says that it reads them before it serves."""


def bring_up_lists(house: House, tell: Callable[[str], None]) -> None:
    """Have the lists of each tenant read what is new in its log, so that nobody who asks for a page waits for that.

    Args:
        tell: is told, if that takes long.

    Raises:
        StoreError: a store cannot be read or written now.
    """
    for name, tenant in house.tenants.items():
        conversations = tenant.conversations
        directory = conversations.service.ports.directory
        if not isinstance(directory, ConversationDirectory):
            continue
        mark = directory.mark()
        new = conversations.store.head() - (mark.position if mark is not None else 0)
        if new > LATE:
            tell(f"tenant {name}: reading {new:,} events that its lists do not have yet, then it serves")
        directory.catch_up()
        conversations.holds(limit=1)


def open_house(config: Config, *, meter: Meter | None = None) -> House:
    """Open the stores of a service.

    Raises:
        StoreError: one cannot be opened.
        ConfigError: two tenants share a store, or a master key is not one.
    """
    named = {OWN: TenantConfig(store=config.store, policy=config.policy), **config.tenants}
    stores = [one.store for one in named.values() if one.store != "memory:"]
    if len(stores) != len(set(stores)):
        raise ConfigError("tenants: two tenants name the same store; each needs one of its own")
    metrics = Metrics()
    with ExitStack() as failing:
        tenants = {}
        for name, one in named.items():
            tenants[name] = _opened(name, one, metrics)
            failing.callback(tenants[name].conversations.close)
        failing.pop_all()
    own = tenants[OWN].tables
    return House(config, tenants, Keys(own), People(own), AdminLog(own), metrics, meter or Meter())


def _opened(name: str, one: TenantConfig, metrics: Metrics) -> Tenant:
    try:
        conversations = open_conversations(one.store, master_key=_master_key(name, one), observer=metrics)
    except StoreError as error:
        raise StoreError(f"tenant {name}: {error}") from error
    rooms = (keys, people, admin_log, jobs, looking, of_gateway)
    statements = (*STATEMENTS, *(one for room in rooms for one in room.STATEMENTS))
    tables = beside(conversations.store, statements)
    conversations.service.ports.forget_beside = partial(forget_in, tables)  # in memory, nobody else knows of them
    return Tenant(name, conversations, tables, PROFILES[one.policy], HumanQueue(conversations))


def _master_key(name: str, one: TenantConfig) -> Callable[[], bytes] | None:
    if one.master_key_env is None:
        return None
    try:
        key = base64.b64decode(os.environ.get(one.master_key_env, ""), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ConfigError(f"tenants.{name}.master_key_env: the environment variable needs 32 bytes in base64")
    return lambda: key
