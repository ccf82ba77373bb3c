"""Keys: who calls, what they may, how much, and as whom they act.

Of a key the service keeps an id and a digest of the secret: the secret has 256 bits, so it needs no slow hash. The id
is matched before anything is looked up, and the digests are compared in constant time. Requests and tokens a minute are
buckets that fill up again, of this process.
"""

import hashlib
import hmac
import json
import re
import secrets
import string
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from threading import Lock
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from lastresort.adapters.followers.tables import Tables
from lastresort.adapters.gateway.headers import bare, is_ours
from lastresort.application.arguments import NotAllowed, Principal, as_actor
from lastresort.domain.values import Actor, ActorKind, Frozen, Id

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}service_keys (id TEXT PRIMARY KEY, digest TEXT NOT NULL, "
    "tenant TEXT NOT NULL, rights TEXT NOT NULL, last_used TEXT)",
)
ALPHABET = string.ascii_letters + string.digits
_KEY = re.compile(r"lrk_([0-9A-Za-z]{12})_([0-9A-Za-z_-]{43})")
_KNOWN = "SELECT id, digest, tenant, rights, last_used FROM {schema}service_keys WHERE id = %s"
_SCOPE = re.compile(r"(model|assess):([!-~]{1,128})")

SCOPES = {
    "converse": "acts as the user: turns, edits, retries, a request to end and its confirmation, leaving, feedback, "
    "appeals, raising a risk; only in the conversations of one account, if the key is bound to one",
    "gateway": "calls /v1; the model that answers acts, as far as it calls for it",
    "model:<glob>": "acts as the model of a conversation, if its name matches: judge, redirect, warn, declare that "
    "hope is exhausted, propose, end; record an answer",
    "assess:<id>": "acts as the assessor of that id: judge, raise a risk; clear one only if the policy names the id",
    "operate": "acts as an operator: clear a risk, decide an appeal, change policy and model, erase, hold from erasure",
    "audit": "acts as nobody: reads facts, audits, figures; no words",
    "words": "acts as nobody: with `converse`, `audit` or `operate`, and with `assess:<id>` of a turn that was taken, "
    "reads words; each reading is in the admin log",
    "admin": "acts as nobody: makes, rotates and revokes keys, reads the admin log; no words",
}
"""What a key may, scope by scope."""

_KINDS = {
    "converse": ActorKind.USER, "model": ActorKind.MODEL, "assess": ActorKind.ASSESSOR, "operate": ActorKind.OPERATOR,
}  # fmt: skip


def checked_scope(scope: str) -> str:
    """Return a scope.

    Raises:
        ValueError: there is none of that form.
    """
    if scope in SCOPES or _SCOPE.fullmatch(scope):
        return scope
    raise ValueError(f"a scope is one of {', '.join(SCOPES)}; {len(scope)} characters of another form were passed")


Scope = Annotated[str, AfterValidator(checked_scope), Field(json_schema_extra={"examples": list(SCOPES)})]


class Limits(Frozen):
    """How much a key may ask for; None: as much as it likes."""

    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    streams: Annotated[int, Field(ge=1, le=100_000)] | None = None


class Rights(Frozen):
    """What a key may, as whom, and until when."""

    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=20)]
    actor: Id
    account: Id | None = None
    limits: Limits = Limits()
    track: Annotated[str, Field(pattern="^(all|header)$")] = "all"
    ended_as: Annotated[str, Field(pattern="^(message|error)$")] = "message"
    created: str = ""
    expires: str | None = None
    revoked: bool = False
    in_place_of: str | None = Field(None, description="The first of the keys that it came in the place of.")


class Key(Frozen):
    """A key, without its secret."""

    id: str
    tenant: str
    rights: Rights
    last_used: str | None = None

    @property
    def line(self) -> str:
        """The id of the first key that this one came in the place of, its own if of none.

        What a key's holder did is theirs however often the key is rotated: conversations are found by this.
        """
        return self.rights.in_place_of or self.id

    def names(self, family: str) -> str | None:
        """Return the scope of a family that the key has, `assess` of `assess:<id>` say; None if it has none."""
        return next((one for one in self.rights.scopes if one.partition(":")[0] == family), None)

    def may_any(self, families: Sequence[str]) -> bool:
        """Whether the key has one of these scopes."""
        return any(self.names(family) for family in families)

    def opens(self, now: datetime) -> bool:
        """Whether the key is neither revoked nor expired."""
        expires = self.rights.expires
        return not self.rights.revoked and (expires is None or expires > _text(now))

    @property
    def reads_words(self) -> bool:
        """Whether the key reads words."""
        return self.names("words") is not None

    def actor(self, families: Sequence[str], *, model: str, user: str) -> Actor:
        """Return whom the key acts as, by the first of these families that it has.

        Args:
            families: `converse`, `model`, `assess`, `operate`.
            model: of the conversation; it must match the glob of `model:<glob>`.
            user: of the conversation, whom `converse` acts as.

        Raises:
            NotAllowed: it has none of them, or the model is none that it may act as.
        """
        for family in families:
            for scope in self.rights.scopes:
                name, _, rest = scope.partition(":")
                if name != family or (family == "model" and not fnmatchcase(model, rest)):
                    continue
                id = {"converse": user, "model": model, "assess": rest}.get(family, self.rights.actor)
                return as_actor(Principal(id=id, may=frozenset({_KINDS[family]})), _KINDS[family])
        raise NotAllowed(f"this key has none of the scopes that this act needs: {', '.join(families)}")


class Made(Frozen):
    """A key that was just made: nobody can read the secret again."""

    key: str
    made: Key


class Keys:
    """The keys of a service. Threads may share it."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def make(self, tenant: str, rights: Rights, *, now: datetime) -> Made:
        """Make a key."""
        id = "".join(secrets.choice(ALPHABET) for _ in range(12))
        secret = secrets.token_urlsafe(32)
        rights = rights.model_copy(update={"created": _text(now)})
        with self._tables.transaction("service") as writing:
            row = (id, _digest(secret), tenant, rights.model_dump_json())
            writing.write(
                "INSERT INTO {schema}service_keys (id, digest, tenant, rights) VALUES (%s, %s, %s, %s)", [row]
            )
        return Made(key=f"lrk_{id}_{secret}", made=Key(id=id, tenant=tenant, rights=rights))

    def known(self, presented: str, *, now: datetime) -> Key | None:
        """Return the key that was presented, if it is one, and neither expired nor revoked."""
        found = _KEY.fullmatch(presented)
        row = self._row(found[1]) if found else None
        if found is None or row is None or not hmac.compare_digest(row["digest"], _digest(found[2])):
            return None
        key = _read(row)
        if not key.opens(now):
            return None
        if row["last_used"] != (day := _text(now)[:10]):
            with self._tables.transaction("service") as writing:
                writing.write("UPDATE {schema}service_keys SET last_used = %s WHERE id = %s", [(day, key.id)])
        return key

    def find(self, id: str) -> Key | None:
        """Return a key by its id, whatever became of it."""
        row = self._row(id)
        return None if row is None else _read(row)

    def page(self, tenant: str | None, after: str, limit: int) -> list[Key]:
        """Return keys by id, those of a tenant or all."""
        rows = self._tables.rows(
            "SELECT id, digest, tenant, rights, last_used FROM {schema}service_keys WHERE id > %s AND "
            "(tenant = %s OR %s = '') ORDER BY id LIMIT %s",
            after, tenant or "", tenant or "", limit,
        )  # fmt: skip
        return [_read(row) for row in rows]

    def any(self) -> bool:
        """Whether there is a key."""
        return bool(self._tables.rows("SELECT id FROM {schema}service_keys LIMIT 1"))

    def revoke(self, key: Key) -> Key:
        """Let a key open nothing from now on."""
        return self._set(key, lambda rights: {"revoked": True})

    def rotate(self, key: Key, *, grace: timedelta, now: datetime) -> Made | None:
        """Make another key of the same rights, which lasts as long; this one opens for `grace` longer.

        None: it was revoked meanwhile.
        """
        until = _text(now + grace)

        def sooner(rights: Rights) -> dict[str, Any]:
            return {} if rights.expires is not None and rights.expires <= until else {"expires": until}

        if self._set(key, sooner).rights.revoked:
            return None
        changed = {"expires": _as_long(key.rights, now), "in_place_of": key.line}
        return self.make(key.tenant, key.rights.model_copy(update=changed), now=now)

    def _set(self, key: Key, changes: Callable[[Rights], dict[str, Any]]) -> Key:
        """Change the rights of a key, as they are in the table: `key` may have been read before others changed them."""
        with self._tables.transaction("service") as writing:
            key = _read(writing.rows(_KNOWN, key.id)[0])
            rights = key.rights.model_copy(update=changes(key.rights))
            row = (rights.model_dump_json(), key.id)
            writing.write("UPDATE {schema}service_keys SET rights = %s WHERE id = %s", [row])
        return key.model_copy(update={"rights": rights})

    def _row(self, id: str) -> Any:
        return next(iter(self._tables.rows(_KNOWN, id)), None)


def _as_long(rights: Rights, now: datetime) -> str | None:
    """Return when a key expires that is made now and lasts as long as another one."""
    if rights.expires is None:
        return None
    return _text(now + (datetime.fromisoformat(rights.expires) - datetime.fromisoformat(rights.created)))


def _read(row: Any) -> Key:
    rights = Rights.model_validate(json.loads(row["rights"]))
    return Key(id=row["id"], tenant=row["tenant"], rights=rights, last_used=row["last_used"])


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def presented(headers: Mapping[bytes, bytes]) -> str:
    """Return the key of ours that a request presents, empty if none."""
    candidates = (headers.get(b"lastresort-key", b""), *_keys(headers))
    return next((one.decode("latin-1") for one in candidates if is_ours(one)), "")


def theirs(headers: Mapping[bytes, bytes]) -> str:
    """Return the key of the upstream that a request presents, empty if none: as the API takes one, in either header."""
    found = next((one for one in _keys(headers) if one and not is_ours(one)), b"")
    return found.decode("latin-1")


def _keys(headers: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    bearer = headers.get(b"authorization", b"")
    bearer = bare(bearer) if bearer[:7].lower() == b"bearer " else b""
    return headers.get(b"x-api-key", b""), bearer


# --- how much a key may ask for -------------------------------------------------------------------------------------


class TooMuch(Exception):
    """A key asks for more than it may.

    Attributes:
        what: of which.
        retry_after: in how many seconds it may ask again.
    """

    def __init__(self, what: str, retry_after: float) -> None:
        super().__init__(f"this key has used up its {what}; ask again in {retry_after:.0f} s")
        self.what, self.retry_after = what, max(1, round(retry_after + 0.5))


class _Bucket:
    def __init__(self, size: int, now: float) -> None:
        self.size, self.left, self.at = size, float(size), now

    def fill(self, now: float) -> None:
        self.left = min(self.size, self.left + (now - self.at) * self.size / 60)
        self.at = now

    def wait(self, amount: float) -> float:
        return (amount - self.left) * 60 / self.size


class Meter:
    """Counts what keys ask for. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._streams: dict[str, int] = {}
        self._lock = Lock()

    def request(self, key: Key) -> None:
        """Count a request.

        Raises:
            TooMuch: there were too many, or too many tokens.
        """
        with self._lock:
            if (size := key.rights.limits.requests_per_minute) is not None:
                bucket = self._bucket(key, "requests", size)
                if bucket.left < 1:
                    raise TooMuch("requests a minute", bucket.wait(1))
                bucket.left -= 1
            if (size := key.rights.limits.tokens_per_minute) is not None:
                bucket = self._bucket(key, "tokens", size)
                if bucket.left <= 0:
                    raise TooMuch("tokens a minute", bucket.wait(1))

    def tokens(self, key: Key, used: int) -> None:
        """Count tokens that were used; the next request pays for what was too much."""
        if (size := key.rights.limits.tokens_per_minute) is not None:
            with self._lock:
                self._bucket(key, "tokens", size).left -= used

    @contextmanager
    def stream(self, key: Key) -> Iterator[None]:
        """Count a stream while it lasts.

        Raises:
            TooMuch: there are too many.
        """
        most = key.rights.limits.streams
        with self._lock:
            if most is not None and self._streams.get(key.line, 0) >= most:
                raise TooMuch("streams at once", 1)
            self._streams[key.line] = self._streams.get(key.line, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._streams[key.line] -= 1
                if not self._streams[key.line]:
                    del self._streams[key.line]

    def _bucket(self, key: Key, name: str, size: int) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get((key.line, name))
        if bucket is None or bucket.size != size:
            bucket = self._buckets[key.line, name] = _Bucket(size, now)
        bucket.fill(now)
        return bucket
