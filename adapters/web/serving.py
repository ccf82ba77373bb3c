"""Running the service: one process. Told to stop, it finishes the answers under way, as far as there is time."""

import asyncio
import hashlib
import os
import signal
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn
from starlette.concurrency import run_in_threadpool

from lastresort.adapters.api.app import make_app
from lastresort.adapters.assessors.claude import AsyncClaudeAssessor
from lastresort.adapters.claude.environment import client_of
from lastresort.adapters.gateway.app import Gateway
from lastresort.adapters.gateway.upstream import Upstream
from lastresort.adapters.gateway.visitors import Declined, Visitor
from lastresort.adapters.pages.app import install as install_pages
from lastresort.adapters.service.config import Config
from lastresort.adapters.service.keys import Key, Made, Rights, TooMuch, presented, theirs
from lastresort.adapters.service.metrics import MetricsPort
from lastresort.adapters.service.people import link_path
from lastresort.adapters.service.protocol import PatientProtocol
from lastresort.adapters.service.tenants import OWN, House, bring_up_lists, open_house

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_OWNER = "owner"  # no digest of a subject is that
FIRST = ("converse", "gateway", "model:*", "operate", "audit", "words", "admin")
"""What the key may that is printed: the whole service is its owner's."""


class Serving:
    """A service on its socket. `run` serves until it is told to stop; `stop` may be called from any thread."""

    def __init__(
        self, config: Config, *, new_key: bool = False, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        """Open the stores and the socket.

        Args:
            new_key: whether to make a key that may do everything though there are keys, as where all were lost.
            tell: is told what takes long meanwhile.

        Raises:
            StoreError, ConfigError, OSError: one of them cannot be opened.
        """
        self.house = open_house(config)
        try:
            bring_up_lists(self.house, tell)
            self.made = _key_that_may_everything(self.house) if new_key or not self.house.keys.any() else None
            self._socket = socket.create_server((config.server.host, config.server.port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            self.house.close()
            raise
        self.is_local = config.server.host in LOOPBACK
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://{host}:{port}"
        gateway = _gateway(self.house)
        self.app: Any = make_app(self.house, gateway, on_close=gateway.close)
        install_pages(self.app.app)
        self._server = _Server(
            uvicorn.Config(
                self.app, log_config=None, log_level="critical", access_log=False, http=PatientProtocol, ws="none",
                lifespan="on", server_header=False, h11_max_incomplete_event_size=None,
                timeout_graceful_shutdown=int(config.server.graceful) + 5, timeout_keep_alive=75,
            ),
            self._stopping,
        )  # fmt: skip
        port = config.server.metrics_port
        self.metrics = None if port is None else MetricsPort(self.house.metrics, config.server.host, port)

    def link(self, *, stands: bool = False) -> str:
        """Make an address that signs its owner in, for the person who starts it: once, within ten minutes; or, if it
        `stands`, as often as it is opened."""
        people, now = self.house.people, self.house.now()
        owner = people.known(_OWNER)
        if owner is None:
            rights = Rights(scopes=(*FIRST, "assess:owner"), actor="owner")
            owner = people.make(OWN, rights, subject=_OWNER, now=now)
        self.house.log.note("person.link", who="serve", tenant=OWN, target=owner.id, now=now)
        return self.url + link_path(people.standing_link(owner, now=now) if stands else people.link(owner, now=now))

    def run(self, *, signals: bool = True) -> None:
        """Serve, and close the stores at the end.

        Args:
            signals: whether to stop at SIGINT and SIGTERM, which only the main thread hears.
        """
        try:
            asyncio.run(self._run(signals))
        finally:
            if self.metrics is not None:
                self.metrics.close()
            self.house.close()
            self._socket.close()

    async def _run(self, signals: bool) -> None:
        # Not `Server.serve`, which raises the signal again at its end: the process would end before stores are closed.
        if signals:
            for one in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(one, self._told_to_stop)
        await self._server._serve(sockets=[self._socket])

    def _told_to_stop(self) -> None:
        if self._server.should_exit:
            self._server.force_exit = True  # somebody has no more patience
        self.stop()

    def _stopping(self) -> None:
        self.app.app.state.stopping.set()

    def stop(self) -> None:
        """Stop: nothing new is taken, and what is under way ends."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """Tells the app that it is about to stop before it waits for connections to end."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)


class Reception:
    """Finds out who calls the gateway: by a key of ours, or by the key of the upstream that a caller has anyway."""

    def __init__(self, house: House) -> None:
        self._house, self._upstream = house, house.config.upstream
        self._enrols = self._upstream.enrol
        if self._enrols is None:
            self._enrols = house.config.server.host in LOOPBACK
        self._assessors: OrderedDict[str, AsyncClaudeAssessor] = OrderedDict()

    async def __call__(self, headers: Mapping[bytes, bytes], path: str) -> Visitor:
        """Return who calls. Raises Declined, if they may not."""
        own, held = theirs(headers), self._upstream.credentials == "held"
        ours = presented(headers)
        if ours:
            caller = await run_in_threadpool(self._house.caller, ours)
        elif own and not held:
            caller = await run_in_threadpool(partial(self._house.enrolled, own, enrol=bool(self._enrols)))
        else:
            caller = None
        if caller is None:
            raise Declined(401, "a key of this service is needed, in lastresort-key, x-api-key or authorization")
        if caller.key.names("gateway") is None:
            raise Declined(403, "this key has not the scope gateway")
        credentials, upstream_key = self._credentials(own, ours, held)
        try:
            self._house.meter.request(caller.key)
        except TooMuch as error:
            raise _too_much(error) from None
        rights, tenant = caller.key.rights, caller.tenant
        return Visitor(
            key=caller.key.line, conversations=tenant.conversations, tables=tenant.tables, policy=tenant.policy,
            account=rights.account, credentials=credentials, owns_account=not held or self._upstream.shared,
            track=rights.track, ended_as=rights.ended_as,
            assessor=self._assessor(upstream_key), used=partial(self._house.used, caller.key),
            stream=_counted(self._house, caller.key),
        )  # fmt: skip

    def _credentials(self, own: str, ours: str, held: bool) -> tuple[tuple[tuple[str, str], ...], str]:
        """Return what is presented upstream in place of what the client sent, and the key for the assessor."""
        if held:
            key = os.environ.get(self._upstream.key_env, "")
            if not key:
                raise Declined(502, f"the environment variable {self._upstream.key_env} has no key of the upstream")
            return (("x-api-key", key),), key
        if not own:
            raise Declined(401, "the upstream's key is needed in x-api-key, and this service's in lastresort-key")
        return (), own

    def _assessor(self, key: str) -> AsyncClaudeAssessor:
        name = hashlib.sha256(key.encode()).hexdigest()
        if name not in self._assessors:
            client = client_of(self._upstream.base_url, key or "none", self._upstream.timeout)
            self._assessors[name] = AsyncClaudeAssessor(client, model=self._upstream.assessor)
            while len(self._assessors) > _MOST_ASSESSORS:
                self._assessors.popitem(last=False)
        self._assessors.move_to_end(name)
        return self._assessors[name]


_MOST_ASSESSORS = 64


@contextmanager
def _counted(house: House, key: Key) -> Iterator[None]:
    try:
        with house.meter.stream(key):
            yield
    except TooMuch as error:
        raise _too_much(error) from None


def _too_much(error: TooMuch) -> Declined:
    return Declined(429, str(error), {"retry-after": str(error.retry_after)})


def _gateway(house: House) -> Gateway:
    up = house.config.upstream
    upstream = Upstream(up.base_url, up.timeout, house.metrics.upstream)
    return Gateway(upstream, Reception(house))


def _key_that_may_everything(house: House) -> Made:
    """Make a key for whom the machine is: so that somebody can begin, or go on."""
    made = house.keys.make(OWN, Rights(scopes=FIRST, actor="owner"), now=house.now())
    house.log.note("key.made", who="serve", tenant=OWN, target=made.made.id, now=house.now())
    return made
