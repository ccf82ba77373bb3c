"""The configuration of the service: TOML, checked as a whole before anything starts.

An error names the key and what is allowed there, and repeats nothing of the file: a secret may stand on the wrong line.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from lastresort.domain.policy import PROFILES
from lastresort.domain.values import Frozen, Id

from .keys import Scope

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class ConfigError(ValueError):
    """The configuration cannot be used: the message names the key, and what is allowed there."""


class Upstream(Frozen):
    """Where models are asked.

    Attributes:
        base_url: of a Messages API.
        credentials: `held`: the service has a key of its own for it, in the environment variable `key_env`;
            `pass-through`: clients send theirs, in `x-api-key` or `authorization`, and the service's own key in
            `lastresort-key`. It is never stored.
        enrol: with `pass-through`, whether a caller of /v1 whose key is not known is taken in as a caller of the
            gateway; if nothing is said, only where the service listens on loopback.
        key_env: the environment variable with the key.
        shared: with `held`, whether callers of /v1 may use batches, files and skills. They are of one account: each
            caller, of any tenant, then sees those of all.
        assessor: the model that gives second opinions; a small Claude, if none is named.
        model: that answers over the native API, unless a conversation is started with another.
        max_tokens: of an answer over the native API.
        timeout: how long to wait for something to come, in seconds.
    """

    base_url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] = "https://api.anthropic.com"
    credentials: Literal["held", "pass-through"] = "pass-through"
    enrol: bool | None = None
    shared: bool = False
    assessor: Id | None = None
    key_env: str = "ANTHROPIC_API_KEY"
    model: Id = "claude-opus-5-5"
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 4_096
    timeout: Seconds = 600.0


class Server(Frozen):
    """Where the service listens, and what it takes.

    Attributes:
        hosts: the names under which it may be asked; any, if none are named.
        graceful: how long streams may go on once it is told to stop, in seconds.
        metrics_port: the port at which Prometheus finds /metrics, on the same host; none, if it is not named. Nobody
            is asked for a key there: let nobody else reach it.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_417
    hosts: tuple[str, ...] = ()
    graceful: Seconds = 30.0
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None


class OpenID(Frozen):
    """How people sign in by an OpenID provider.

    Attributes:
        issuer: its address: https, or http on this machine.
        client_id: by which it knows this service.
        client_secret_env: the environment variable with the client's secret.
        public_url: the address of this service, as browsers have it. `/auth/oidc/back` there is what the provider
            sends people back to.
        enrol: the scopes of those who are let in though nobody made them a person before, each with an account of
            their own; none: they are not let in.
    """

    issuer: Annotated[str, Field(pattern=r"^(https://|http://(localhost|127\.0\.0\.1)(:\d+)?)[^\s?#]*$")]
    client_id: Annotated[str, Field(min_length=1, max_length=255)]
    client_secret_env: str = "OIDC_CLIENT_SECRET"
    public_url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+$")]
    enrol: tuple[Scope, ...] = ()


class ChatPages(Frozen):
    """What the chat in the browser says.

    Attributes:
        pace: how long a word of the offline partner takes, in seconds, so that an answer is seen to come.
        help: what somebody reads while they, or others, may be at risk: your help lines, say; by language, as `en`. A
            language that is not here is helped in English, if that is, or else by the text that is shipped.
    """

    pace: Annotated[float, Field(ge=0, le=10)] = 0.03
    help: dict[Annotated[str, Field(pattern="^[a-z]{2}$")], Annotated[str, Field(min_length=1, max_length=2_000)]] = (
        Field(default_factory=dict)
    )


def _shipped(name: str) -> str:
    if name not in PROFILES:
        raise ValueError(f"one of {', '.join(sorted(PROFILES))}")
    return name


Profile = Annotated[str, AfterValidator(_shipped)]
"""The name of a policy that is shipped."""


class TenantConfig(Frozen):
    """A tenant: a store of its own, with vault keys of its own. Its master key is in `master_key_env`, in base64."""

    store: str
    master_key_env: str | None = None
    policy: Profile = "default"


class Config(Frozen):
    """All of it."""

    store: str = "memory:"
    policy: Profile = "default"
    server: Server = Server()
    upstream: Upstream = Upstream()
    oidc: OpenID | None = None
    chat: ChatPages = ChatPages()
    tenants: dict[Id, TenantConfig] = Field(default_factory=dict)


def load(path: Path) -> Config:
    """Read a configuration.

    Raises:
        ConfigError: it cannot be read or used.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: it is not UTF-8") from None
    return parse(text, str(path))


def parse(text: str, source: str = "service.toml") -> Config:
    """Read a configuration from TOML. Raises as `load` does."""
    try:
        fields = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what tomllib lets through beside it
        where = str(error).rpartition("(")[2].rstrip(")") if "(at " in str(error) else "somewhere"
        raise ConfigError(f"{source}: not TOML, {where}") from None
    try:
        return Config.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
    raise ConfigError("\n".join(f"{source}: {_told(one)}" for one in found))


def _told(one: Any) -> str:
    *above, last = one["loc"]
    known = _fields_at([str(part) for part in above])
    if one["type"] == "extra_forbidden":
        place = ".".join(map(str, above)) or "the top"
        return f"an unknown key of {len(str(last))} characters at {place}; allowed: {', '.join(known)}"
    said = one["msg"].removeprefix("Value error, ").replace("Input should be", "needs to be")
    return f"{'.'.join(map(str, one['loc']))}: {said}"


def _fields_at(above: list[str]) -> list[str]:
    match above:
        case []:
            return list(Config.model_fields)
        case ["server"]:
            return list(Server.model_fields)
        case ["upstream"]:
            return list(Upstream.model_fields)
        case ["chat"]:
            return list(ChatPages.model_fields)
        case ["oidc"]:
            return list(OpenID.model_fields)
        case _:
            return list(TenantConfig.model_fields)
