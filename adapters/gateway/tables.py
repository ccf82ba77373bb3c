"""What the gateway keeps beside the log: links from what a client shows to where it stands, names of conversations, and
turns that wait for the client's tools, sealed under the conversation's key.

A link is written before the answer that it is about is recorded, and believed only if the log has that answer: so after
a crash, links and log agree, whichever of the two was last. All of a conversation's rows go when its words are erased.
"""

import base64
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lastresort.adapters.followers.beside_log import forget_in
from lastresort.adapters.followers.tables import Tables
from lastresort.application.ports import Vault
from lastresort.application.words import ROLE, opened, place_of

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}gateway_links (digest TEXT NOT NULL, branch TEXT NOT NULL, "
    "turn BIGINT NOT NULL, kind TEXT NOT NULL, conversation TEXT NOT NULL, PRIMARY KEY (digest, branch, turn, kind))",
    "CREATE INDEX IF NOT EXISTS gateway_links_of ON {schema}gateway_links (conversation)",
    "CREATE TABLE IF NOT EXISTS {schema}gateway_aliases (name TEXT PRIMARY KEY, conversation TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {schema}gateway_parked (name TEXT PRIMARY KEY, conversation TEXT NOT NULL, "
    "branch TEXT NOT NULL, expires BIGINT NOT NULL, sealed TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {schema}gateway_secrets (name TEXT PRIMARY KEY, sealed TEXT NOT NULL)",
)

ASKED, ANSWERED, SAID = "asked", "answered", "said"
"""What a link is of: a history up to a user's turn, or up to its answer; or an answer by itself, whatever precedes."""

OWNER = "the gateway of this store"  # no conversation is called that: an id has no spaces
_MOST = 400  # digests in one query


class Link(NamedTuple):
    """Where a history stands: the branch, and the user's turn by version."""

    digest: str
    branch: str
    turn: int
    kind: str
    conversation: str


class Parked(NamedTuple):
    """A turn that waits for tools."""

    conversation: str
    branch: str
    text: str


def keep(tables: Tables, links: Iterable[Link]) -> None:
    """Keep links; those that are there stay."""
    with tables.transaction("gateway") as writing:
        writing.write(
            "INSERT INTO {schema}gateway_links VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", list(links)
        )


def find(tables: Tables, digests: Sequence[str]) -> list[Link]:
    """Return the links of digests."""
    found: list[Link] = []
    for begin in range(0, len(digests), _MOST):
        some = digests[begin : begin + _MOST]
        holders = ", ".join(["%s"] * len(some))
        rows = tables.rows(f"SELECT * FROM {{schema}}gateway_links WHERE digest IN ({holders})", *some)
        found += [Link(row["digest"], row["branch"], row["turn"], row["kind"], row["conversation"]) for row in rows]
    return found


def name(tables: Tables, alias: str, conversation: str) -> str:
    """Give a conversation a name, unless another one has it; return the one that has it."""
    if (before := named(tables, alias)) is not None:
        return before
    with tables.transaction("gateway") as writing:
        writing.write("INSERT INTO {schema}gateway_aliases VALUES (%s, %s) ON CONFLICT DO NOTHING",
                      [(alias, conversation)])  # fmt: skip
    return named(tables, alias) or conversation


def named(tables: Tables, alias: str) -> str | None:
    """Return the conversation that has a name."""
    rows = tables.rows("SELECT conversation FROM {schema}gateway_aliases WHERE name = %s", alias)
    return rows[0]["conversation"] if rows else None


def park(
    tables: Tables, vault: Vault, names: Sequence[str], conversation: str, branch: str, text: str, *, expires: int,
    now: int,
) -> None:  # fmt: skip
    """Keep a turn that waits, sealed, under each of its names; drop what has expired."""
    rows = [
        (one, conversation, branch, expires, _base64(vault.seal(conversation, *place_of(one), text, ROLE).data))
        for one in names
    ]
    with tables.transaction("gateway") as writing:
        writing.write("DELETE FROM {schema}gateway_parked WHERE expires < %s", [(now,)])
        writing.write("DELETE FROM {schema}gateway_parked WHERE name = %s", [(one,) for one in names])
        writing.write("INSERT INTO {schema}gateway_parked VALUES (%s, %s, %s, %s, %s)", rows)


def parked(tables: Tables, vault: Vault, name: str, *, now: int) -> Parked | None:
    """Return a turn that waits; None if there is none, it has expired, or its words were erased."""
    rows = tables.rows("SELECT * FROM {schema}gateway_parked WHERE name = %s AND expires >= %s", name, now)
    if not rows:
        return None
    row = rows[0]
    text = opened(vault, row["conversation"], name, base64.b64decode(row["sealed"]))
    return None if text is None else Parked(row["conversation"], row["branch"], text)


def unpark(tables: Tables, names: Iterable[str]) -> None:
    """Drop turns that wait no more."""
    with tables.transaction("gateway") as writing:
        writing.write("DELETE FROM {schema}gateway_parked WHERE name = %s", [(one,) for one in names])


def forget(tables: Tables, conversation: str) -> None:
    """Drop all that is kept of a conversation."""
    forget_in(tables, [conversation])


def secret(tables: Tables, vault: Vault, name: str) -> bytes:
    """Return a secret of the store, made when it is first asked for, and sealed by its vault."""
    statement = "SELECT sealed FROM {schema}gateway_secrets WHERE name = %s"
    if not (rows := tables.rows(statement, name)):
        sealed = _base64(vault.seal(OWNER, *place_of(name), vault.new_secret(), ROLE).data)
        with tables.transaction("gateway") as writing:
            writing.write("INSERT INTO {schema}gateway_secrets VALUES (%s, %s) ON CONFLICT DO NOTHING",
                          [(name, sealed)])  # fmt: skip
        rows = tables.rows(statement, name)
    text = opened(vault, OWNER, name, base64.b64decode(rows[0]["sealed"]))
    return bytes.fromhex(text or "")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
