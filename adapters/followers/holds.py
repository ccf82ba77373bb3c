"""The legal holds that stand, kept in the store's own database by a follower.

    legal_holds     a row a hold that stands on a conversation

All of it can be made again from the log. A hold is an event on every branch of its tree, and so is its release; that
on the root takes it off the list, and one that stands on any branch is on it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

from lastresort.application.directory import HoldRow, utc
from lastresort.application.ports import EventStore
from lastresort.domain.events import ErasureHeld, ErasureReleased, RecordedEvent
from lastresort.domain.state import Conversation

from .follower import Events, Follower, Mark
from .tables import Tables, Transaction

NAME = "holds.1"  # with another number it is made again from the log
_COLUMNS = ", ".join(HoldRow._fields)

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}legal_holds (conversation TEXT NOT NULL, account TEXT, hold TEXT NOT NULL, "
    "reason TEXT NOT NULL, until TEXT, by TEXT NOT NULL, since TEXT NOT NULL, PRIMARY KEY (conversation, hold))",
)
"""The table, as both engines understand it."""

TABLES = ("legal_holds",)

StateOf = Callable[[str, str], Conversation]
"""Returns the state of a branch as the log has it now: of a tree, the branch in it."""


class StandingHolds:
    """The holds that stand in a store. See `application.directory.HoldList`. Threads may share it.

    Args:
        store: has the log.
        tables: makes the table, when the holds are first asked for.
        state_of: says whose a conversation is.
    """

    name, made_again = NAME, True
    table_names, statements = TABLES, STATEMENTS

    def __init__(self, store: EventStore, tables: Callable[[], Tables], state_of: StateOf) -> None:
        self._store = store
        self._make = tables
        self._state_of = state_of
        self.source = Events(store)
        self._follower = Follower(self.source, self)

    def select(self, account: str | None, after: tuple[str, str], limit: int) -> Sequence[HoldRow]:
        self._follower.catch_up()
        whose, params = ("", ()) if account is None else ("account = %s AND ", (account,))
        statement = (
            f"SELECT {_COLUMNS} FROM {{schema}}legal_holds WHERE {whose}(conversation, hold) > (%s, %s) "
            "ORDER BY conversation, hold LIMIT %s"
        )
        return [HoldRow(**row) for row in self.tables.rows(statement, *params, *after, limit)]

    @cached_property
    def tables(self) -> Tables:
        """The table, which is made if it is not there."""
        return self._make()

    def mark(self) -> Mark | None:
        """Return how far it has come."""
        return self.tables.mark(self.name)

    def ready(self, mark: Mark | None, entries: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        """Return events as they are."""
        return entries

    @contextmanager
    def transaction(self) -> Iterator["_Writing"]:
        """Begin a transaction of the list, for its follower."""
        with self.tables.transaction(self.name) as transaction:
            yield _Writing(transaction, self._row)

    def writer(self) -> Callable[[Transaction], "_Writing"]:
        """Return what writes rows in the transactions of a rebuild."""
        return partial(_Writing, row=self._row)

    def _row(self, one: RecordedEvent, event: ErasureHeld) -> HoldRow:
        tree = self._store.tree_of(one.branch) or one.branch
        account = self._state_of(tree, tree).account
        return HoldRow(tree, account, event.hold, event.reason, event.until, event.by.id, utc(one.recorded_at))


class _Writing:
    """A transaction of the list."""

    def __init__(self, transaction: Transaction, row: Callable[[RecordedEvent, ErasureHeld], HoldRow]) -> None:
        self._transaction = transaction
        self._row = row
        self.mark, self.advance = transaction.mark, transaction.advance

    def clear(self) -> None:
        self._transaction.clear(*TABLES)

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        marks = ", ".join(["%s"] * len(HoldRow._fields))
        changed = ", ".join(f"{name} = excluded.{name}" for name in HoldRow._fields[3:])
        for one in events:
            event: Any = one.event
            if isinstance(event, ErasureHeld):
                self._transaction.write(
                    f"INSERT INTO {{schema}}legal_holds ({_COLUMNS}) VALUES ({marks}) "
                    f"ON CONFLICT (conversation, hold) DO UPDATE SET {changed}",
                    [self._row(one, event)],
                )
            elif isinstance(event, ErasureReleased):
                self._transaction.write(
                    "DELETE FROM {schema}legal_holds WHERE conversation = %s AND hold = %s", [(one.branch, event.hold)]
                )
