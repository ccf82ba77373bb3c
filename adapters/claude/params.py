"""What an embedder passes once, for every request. It is checked at once: by the first request, the user's turn would
be on record already."""

import inspect
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from lastresort.adapters.turns.tools import CALLS

from .words import Block

_LONGEST = 86_400  # seconds, a day
_OURS = {
    "model": "start the conversation with that model",
    "messages": "they are the chat's",
    "stream": "call `stream`",
    "compaction": "each request would compact again, and answer nothing; ask for an edit in context_management",
    "thread": "the conversation is kept here, and sent whole",
}


def check_client(client: Any, *, awaits: bool) -> None:
    """Raise TypeError if a client is asynchronous and should not be, or the other way round."""
    enters, other = ("__aenter__", "__enter__") if awaits else ("__enter__", "__aenter__")
    if hasattr(client, other) and not hasattr(client, enters):
        name = type(client).__name__
        told = f"{name} is not awaited: pass it to Claude" if awaits else f"{name} is awaited: pass it to AsyncClaude"
        raise TypeError(told)


def check_choices(
    on_full: Any, on_setup_change: str, notes_as: str, *, patience: float, rounds: int, remembered: int
) -> None:
    """Raise ValueError if one of these is not what can be asked for: a misspelt one would be found out by some later
    turn, or by nobody."""
    if not callable(on_full):
        _check_one_of("on_full", on_full, ("raise", "drop-oldest"), " or a function")
    _check_one_of("on_setup_change", on_setup_change, ("keep", "refuse"))
    _check_one_of("notes_as", notes_as, ("user", "system"))
    for name, number, least in (("rounds", rounds, 1), ("remembered", remembered, 0)):
        if type(number) is not int or number < least:
            raise ValueError(f"{name}: a whole number from {least} on is needed")
    if type(patience) not in (int, float) or not 0 < patience < _LONGEST:
        raise ValueError(f"patience: a number of seconds is needed, more than 0 and less than {_LONGEST:,}")


def _check_one_of(name: str, value: Any, known: tuple[str, ...], other: str = "") -> None:
    if type(value) is not str or value not in known:
        raise ValueError(f"{name}: needs to be {' or '.join(map(repr, known))}{other}")


def chosen(params: Mapping[str, Any], *, first: bool, last: bool) -> dict[str, Any]:
    """Return the choice among the tools for one request of a turn, as a parameter.

    What makes the model call is passed in the first one only: it would have to call for ever. In the last one it may
    not call.
    """
    choice = params.get("tool_choice") or {}
    if last:
        return {"tool_choice": {"type": "none"}}
    if first or choice.get("type") not in ("any", "tool"):
        return {}
    return {"tool_choice": {"type": "auto"} | {name: choice[name] for name in (_PARALLEL,) if name in choice}}


def container(params: Mapping[str, Any], ran_in: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the container to go on in, as a parameter: the one that earlier code ran in, unless the embedder names one
    or it has expired."""
    passed = params.get("container")
    if ran_in is None or isinstance(passed, str) or (passed or {}).get("id") or _is_over(ran_in.get("expires_at")):
        return {}
    return {"container": {**passed, "id": ran_in["id"]} if passed else ran_in["id"]}


def _is_over(expires_at: str | None) -> bool:
    return expires_at is not None and datetime.fromisoformat(expires_at) <= datetime.now(UTC)


_PARALLEL = "disable_parallel_tool_use"


def check_tools(tools: Iterable[Block]) -> None:
    """Raise ValueError if a tool has the name of one of ours."""
    if taken := [tool["name"] for tool in tools if tool.get("name") in CALLS]:
        raise ValueError(f"the tool {taken[0]} is this adapter's; give yours another name")


def check_system(system: Any) -> None:
    """Raise ValueError if this cannot be a conversation's own system prompt: the API would refuse each request."""
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    if not isinstance(blocks, list) or not all(map(_is_text, blocks)):
        raise ValueError("system: text is needed, or a list of blocks of text")


def _is_text(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)


def messages_of(client: Any, params: Mapping[str, Any]) -> Any:
    """Return the resource of the SDK to ask for messages: the beta one, if a beta is asked for.

    Only that one knows the blocks, stop reasons and pieces of a stream that betas bring. A beta is asked for by
    `betas`, by another parameter that only it takes, or by a header, of each request or of the client.
    """
    if not hasattr(client, "beta"):  # one that wraps another
        return client.messages
    headers = {**client.default_headers, **(params.get("extra_headers") or {})}
    plain, beta = (inspect.signature(one.create).parameters for one in (client.messages, client.beta.messages))
    by_header = any(name.lower() == "anthropic-beta" for name in headers)
    takes_any = any(one.kind is one.VAR_KEYWORD for one in plain.values())  # it was wrapped, by an instrument say
    by_name = not takes_any and any(name in beta and name not in plain for name in params)
    return client.beta.messages if by_header or by_name else client.messages


def check_params(messages: Any, params: Mapping[str, Any]) -> None:
    """Check the other parameters of a request to a resource of the SDK.

    Raises:
        ValueError: a parameter is not the embedder's to pass.
        TypeError: the installed SDK does not take a parameter, or requires one that is missing.
    """
    for name in params:
        if name in _OURS:
            raise ValueError(f"{name} is not passed here: {_OURS[name]}")
    for method in ("create", "stream"):
        known = inspect.signature(getattr(messages, method)).parameters.values()
        needed = {one.name for one in known if one.default is one.empty and one.kind is one.KEYWORD_ONLY}
        if missing := sorted(needed - _OURS.keys() - params.keys()):
            raise TypeError(f"{missing[0]} is missing: messages.{method} of the installed anthropic SDK has to have it")
        if any(one.kind is one.VAR_KEYWORD for one in known):
            continue
        if unknown := sorted(params.keys() - {one.name for one in known}):
            raise TypeError(
                f"{unknown[0]} is not taken by messages.{method} of the installed anthropic SDK; what the API takes "
                "beyond it goes into extra_body"
            )
