"""The page of the service, docs/reference/service.md, made from the code: `python -m tests.service_page` writes it."""

import lastresort.adapters.api.app  # noqa: F401  # whose import fills the table
from lastresort.adapters.api.routes import ENDPOINTS
from lastresort.adapters.gateway.headers import ANSWERED, ASKED
from lastresort.adapters.service.config import ChatPages, Config, OpenID, Server, TenantConfig, Upstream
from lastresort.adapters.service.keys import SCOPES, Limits
from lastresort.adapters.service.problems import KINDS

from .stores import ROOT

PAGE = ROOT / "docs" / "reference" / "service.md"
INTRODUCTION = """# The service

<!-- made by python -m tests.service_page; do not edit -->

`lastresort serve` needs the extra `serve`. It is one process: the native API under `/api/v1` (its OpenAPI 3.1
description is at `/api/v1/openapi.json`), the gateway under `/v1`, `/healthz` and `/readyz`. Text never has
authority: who acts follows from the key and from the model that answers, never from what is sent, and a `by` in a
body is refused.

A key is presented in `lastresort-key`, `x-api-key` or `authorization: Bearer`. What its tenant does not have is not
found, whichever tenant has it.

A refusal by the law is status 200, `{"refused": [{"rule", "missing", ...}]}`: it is a value, and recorded.
`Idempotency-Key` names a command: sent again, it is carried out once.
"""
NOT_PROMISED = """
## What a client sees of an ending

Status 200, the text said before it, a block of text with the notice, `stop_reason: "end_turn"`, and beside them, on
the message or on `message_delta` of a stream, `lastresort: {"ended": {"ground", "branch", "version", "options",
"appeal_until"}}`. What is sent to that branch later gets the notice alone, and no model is asked. A key with
`ended_as = "error"` gets status 400 with `details.error_code` `conversation_ended` instead, but for streams that
have begun. It is never a `refusal`: clients ask another model then.

## What is not promised

* None of this was run against the real API: upstream in the tests is [the loopback](loopback.md).
* A client's history that the log has not seen is sent upstream, and is not recorded: no verdict and no warning
  rests on it.
* A first message never matches an earlier one by its words. Edited without the header `lastresort-conversation`, it
  begins a new conversation, and an open hold stays with the old one.
* A caller of the gateway with a key that is bound to no account may name any conversation of the tenant by its id.
  Ids cannot be guessed; where callers do not trust each other, bind each key to an account.
* Text beside the results of tools goes to the model, and is no turn of its own on the record.
* `count_tokens` counts no note that the model would be given on the last turn.
* Limits, answers to rejoin as they come and first turns that are sent again are of one process.
* Batches, realtime and voice are under no law. Batches, files and skills are passed through where callers bring their
  own key of the upstream, or `shared` says so: they are one account's.
* Someone with the master key and the store, or a key with `words`, reads words. The service takes the application's
  word for who its users are.
"""


def _table(head: tuple[str, str], rows: dict[str, str]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {told} |" for name, told in rows.items())]) + "\n"


def _attributes(model: type) -> dict[str, str]:
    """Return what a model's docstring says of its attributes."""
    told: dict[str, str] = {}
    name = ""
    for line in (model.__doc__ or "").partition("Attributes:")[2].splitlines():
        text = line.strip()
        key, colon, rest = text.partition(": ")
        if (
            colon
            and line.startswith("        ")
            and not line.startswith("         ")
            and key.replace(", ", "").isidentifier()
        ):
            name = key
            told[name] = rest
        elif text and name:
            told[name] += f" {text}"
    return told


def _settings() -> dict[str, str]:
    rows = {}
    for table, model in (
        ("", Config),
        ("server.", Server),
        ("upstream.", Upstream),
        ("oidc.", OpenID),
        ("chat.", ChatPages),
        ("tenants.NAME.", TenantConfig),
    ):
        told = _attributes(model)
        for name, field in model.model_fields.items():
            if name in ("server", "upstream", "oidc", "tenants"):
                continue
            usual = "needed" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
            said = next((text for key, text in told.items() if name in key.split(", ")), "")
            rows[f"`{table}{name}`"] = f"{usual}{'; ' + said if said else ''}"
    return rows


def page() -> str:
    """Return the page."""
    scopes = {f"`{name}`": told for name, told in SCOPES.items()}
    routes = {
        f"`{one.method} {one.path}`": ", ".join(f"`{scope}`" for scope in one.scopes) or "any key"
        for one in sorted(ENDPOINTS, key=lambda one: (one.path, one.method))
    }
    problems = {f"`{name}`": f"{status}: {title}" for name, (status, title) in KINDS.items()}
    limits = ", ".join(f"`{name}`" for name in Limits.model_fields)
    parts = [
        INTRODUCTION,
        "## Scopes\n",
        _table(("scope", "what a key with it may"), scopes),
        f"A key may have limits: {limits}. What is too much is status 429 with `retry-after`.\n",
        "## Routes\n",
        _table(("route", "one of these scopes"), routes),
        "## Problems\n",
        "As RFC 9457 has them, `application/problem+json`. None repeats what was passed. The gateway answers in the "
        "API's own form.\n",
        _table(("kind", "status and title"), problems),
        "## Headers of the gateway\n",
        _table(("a client may send", "what it does"), {f"`{name}`": told for name, told in ASKED.items()}),
        _table(("comes back", "what it says"), {f"`{name}`": told for name, told in ANSWERED.items()}),
        "## Configuration\n",
        "`--config service.toml`. An error names the key and what is allowed.\n",
        _table(("key", "if it is left out; what it says"), _settings()),
    ]
    return "\n".join(parts) + NOT_PROMISED


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
