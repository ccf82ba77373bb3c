"""What conversations are found by beside their row in the directory: facts that several may be true of, a row each.

    directory_facts  a conversation, the name of a fact, its value: `ground` `last_resort`, `refused` and a rule, ...

They are written with the directory, by the same follower, and made again from the log as it is. A fact says that
something happened on some branch, but for `risk`, `hold` and `appeal`, whose value `open` goes away again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lastresort.application.outcomes import UnknownBranch
from lastresort.domain.events import (
    AppealDecided,
    AppealFiled,
    AttemptRefused,
    ConversationEnded,
    ConversationStarted,
    ErasureHeld,
    ErasureReleased,
    PolicyChanged,
    RecordedEvent,
    RiskCleared,
    RiskRaised,
)
from lastresort.domain.state import Conversation

from .counts import Changes
from .tables import Transaction

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}directory_facts (conversation TEXT NOT NULL, fact TEXT NOT NULL, "
    "value TEXT NOT NULL, PRIMARY KEY (conversation, fact, value))",
    "CREATE INDEX IF NOT EXISTS directory_facts_by_value ON {schema}directory_facts (fact, value, conversation)",
)
OPEN = "open"
_MANY, _SEVERAL = 2_000, 5
"""Of more conversations than that a fact is common: of several facts the rarest, of so many times more, since it may be
that they seldom meet."""


class Fact(NamedTuple):
    """A fact of a conversation that an event brings, or takes away."""

    conversation: str
    name: str
    value: str
    gone: bool = False


StateOf = Callable[[str, str], Conversation]


def facts_of(tree: str, one: RecordedEvent, state_of: StateOf) -> Iterable[Fact]:
    """Yield what an event says of its conversation."""
    match one.event:
        case ConversationStarted() | PolicyChanged() as event:
            yield Fact(tree, "policy", event.policy.name)
            yield Fact(tree, "law", str(event.law))
            yield Fact(tree, "mode", event.mode.value)
        case ConversationEnded() as event:
            yield Fact(tree, "ground", event.ground.value)
            if event.category is not None:
                yield Fact(tree, "category", event.category)
        case AttemptRefused() as event:
            yield from (Fact(tree, "refused", rule) for rule in event.rules)
        case AppealFiled():
            yield Fact(tree, "appeal", OPEN)
        case AppealDecided() as event:
            yield Fact(tree, "appeal", OPEN, gone=True)
            yield Fact(tree, "appeal", event.outcome.value)
        case RiskRaised():
            yield Fact(tree, "risk", OPEN)
            yield Fact(tree, "risk", "raised")
        case RiskCleared():
            yield Fact(tree, "risk", OPEN, gone=not _has(state_of, tree, one.branch, "risks"))
        case ErasureHeld():
            yield Fact(tree, "hold", OPEN)
        case ErasureReleased():
            yield Fact(tree, "hold", OPEN, gone=not _has(state_of, tree, one.branch, "holds"))
        case _:
            pass


def _has(state_of: StateOf, tree: str, branch: str, what: str) -> bool:
    try:
        return bool(getattr(state_of(tree, branch), what))
    except UnknownBranch:  # one of its parents is missing, as an audit says
        return False


def write(transaction: Transaction, facts: Iterable[Fact]) -> Changes:
    """Write facts in the order in which they came about; return what that changes in the counts."""
    last: dict[tuple[str, str, str], bool] = {}
    for one in facts:
        last[one.conversation, one.name, one.value] = one.gone
    known = _known(transaction, sorted({conversation for conversation, _, _ in last}))
    over = [row for row, gone in last.items() if gone and row in known]
    new = [row for row, gone in last.items() if not gone and row not in known]
    transaction.write("DELETE FROM {schema}directory_facts WHERE conversation = %s AND fact = %s AND value = %s", over)
    transaction.write("INSERT INTO {schema}directory_facts VALUES (%s, %s, %s)", new)
    changes = Changes(row[1:] for row in new)
    changes.subtract(row[1:] for row in over)
    return changes


def _known(transaction: Transaction, conversations: Sequence[str]) -> set[tuple[str, str, str]]:
    """Return the facts that are written of some conversations."""
    if not conversations:
        return set()
    among = ", ".join(["%s"] * len(conversations))
    statement = f"SELECT * FROM {{schema}}directory_facts WHERE conversation IN ({among})"
    return {(row["conversation"], row["fact"], row["value"]) for row in transaction.rows(statement, *conversations)}


def conditions(facts: Mapping[str, str], times: Callable[[str, str], int]) -> tuple[list[str], list[Any]]:
    """Return what has to hold of a row of the directory for all of these facts to be true of it, and the parameters.

    Args:
        facts: by name.
        times: says how many conversations have a value of a fact. Where they are many it is quicker to look at each
            conversation in the order of the list, until a page is full; few are looked up.
    """
    held: list[str] = []
    params: list[Any] = []
    known = {name: times(name, value) for name, value in facts.items()}
    rarest = min(known, key=known.__getitem__, default=None) if len(known) > 1 else None
    for name, value in facts.items():
        if known[name] > (_MANY * _SEVERAL if name == rarest else _MANY):
            held.append(
                "EXISTS (SELECT 1 FROM {schema}directory_facts f WHERE f.conversation = d.conversation "
                "AND f.fact = %s AND f.value = %s)"
            )
        else:
            held.append(
                "d.conversation IN (SELECT f.conversation FROM {schema}directory_facts f "
                "WHERE f.fact = %s AND f.value = %s)"
            )
        params += [name, value]
    return held, params
