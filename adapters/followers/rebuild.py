"""A view made again beside the one that serves, and put in its place in one transaction.

The new generation has tables of its own, `directory_beside` and so on, and a mark of its own. A follower fills them
from the beginning of the log, while the live tables are followed and read as ever. Once the new ones have come as far,
one transaction renames both, and the mark goes with them. So readers see all of the one or all of the other, and
whatever was killed before left the live view as it was. What is retired is dropped afterwards, a piece at a time.

A rebuild that was killed is gone on with by the next one, where it stopped. To begin, a rebuild notes an id of its own
in the database, and looks at it in each of its transactions: one that finds another there has been taken over, and
stops. That needs no lock that outlives a transaction, which SQLite does not have, and holds for a process too that was
stopped for an hour.

An index keeps its name when its table is renamed, in SQLite, so each has two, of which the generations take turns.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from lastresort.adapters.databases.errors import StoreError
from lastresort.application.ports import NewId
from lastresort.domain.events import RecordedEvent

from .follower import Events, Follower, Mark, ViewTransaction, why_not_here
from .tables import OTHER, Tables, Transaction

_BESIDE, _RETIRED = "_beside", "_retired"
_AT_ONCE = 250
"""Events, or rows to drop, of one transaction: others wait for that in SQLite, and for a live batch after it."""
_REST = 0.02, 0.25
"""Seconds that a rebuild rests there between two transactions, at least and at most; else as long as the last one took.
SQLite serves those that wait in no order: who has waited longest looks again after 0.1 s."""
_INDEX = re.compile(r"^(CREATE (?:UNIQUE )?INDEX IF NOT EXISTS )(\w+)(.*)")

Events_ = Sequence[RecordedEvent]


class Rebuildable(Protocol):
    """A view in a database, all of which can be made again from the log."""

    @property
    def name(self) -> str:
        """Names the view and the version of its code, with a dot between them."""
        ...

    @property
    def source(self) -> Events:
        """What it follows."""
        ...

    @property
    def tables(self) -> Tables:
        """Where it is."""
        ...

    @property
    def table_names(self) -> Sequence[str]:
        """The names of its tables, in the order in which its queries name them."""
        ...

    @property
    def statements(self) -> Sequence[str]:
        """What makes them."""
        ...

    def ready(self, mark: Mark | None, entries: Events_) -> Events_:
        """As of a view: see `follower.View`."""
        ...

    def writer(self) -> Callable[[Transaction], ViewTransaction[Events_]]:
        """Return what writes its rows in the transactions of a rebuild."""
        ...


class Rebuilt(NamedTuple):
    """What a rebuild did: of how many events, and how many of them an earlier one had done that was interrupted."""

    events: int
    resumed: int


class TakenOver(StoreError):
    """Another rebuild of the same view began, and goes on from where this one was stopped."""


def beside(name: str) -> str:
    """Return the name of the mark of what is being made beside the view `name`."""
    return f"{name} beside"


def rebuild(view: Rebuildable, new_id: NewId, progress: Callable[[int, int], None] = lambda done, of: None) -> Rebuilt:
    """Make a view again, and put it in the place of the one that serves.

    Args:
        view: which goes on meanwhile.
        new_id: names this rebuild.
        progress: is told how many events the new rows are made of so far, and of how many.

    Raises:
        TakenOver: another rebuild of the view began meanwhile. That one goes on.
        StoreError: the database cannot be read or written now. The view is as it was, and the next rebuild goes on.
    """
    generation = _Generation(view, new_id(), progress)
    resumed = generation.begin()
    following = Follower(view.source, generation, _AT_ONCE)
    while True:
        following.catch_up()
        if (events := generation.switch()) is not None:
            break
    generation.end()
    return Rebuilt(events, resumed)


class _Generation:
    """The rows that are made beside a view: a view, which a follower keeps up."""

    made_again = True

    def __init__(self, view: Rebuildable, id: str, progress: Callable[[int, int], None]) -> None:
        self.name, self.ready = beside(view.name), view.ready
        self._view, self._tables, self._write = view, view.tables, view.writer()
        self._id, self._progress = id, progress
        self._claim = f"{view.name} rebuild"
        self._named = re.compile(rf"\{{schema\}}({'|'.join(view.table_names)})\b")

    def begin(self) -> int:
        """Take over what an interrupted rebuild left, or make tables; return how many events are in them."""
        with self._tables.transaction(self.name) as transaction:
            transaction.write(
                "INSERT INTO {schema}followers VALUES (%s, '', 0, %s, NULL) "
                "ON CONFLICT (name) DO UPDATE SET command_id = excluded.command_id",
                [(self._claim, self._id)],
            )
        self._drop(_RETIRED)
        if (left := self.mark()) is not None:
            return left.position
        self._drop(_BESIDE)
        statements = list(self._statements())
        with self._own_transaction() as transaction:
            transaction.forget_marks(beside(f"{self._view.name.partition('.')[0]}.%"))  # of other versions of the code
            for statement in statements:
                transaction.execute(statement)
        return 0

    def mark(self) -> Mark | None:
        """Return how far the new rows have come."""
        return self._tables.mark(self.name)

    @contextmanager
    def transaction(self) -> Iterator[ViewTransaction[Events_]]:
        """Begin a transaction of the new rows, for their follower."""
        with self._own_transaction() as transaction:
            yield self._write(transaction.of(self.name, self._beside))
        mark = self.mark()
        self._progress(mark.position if mark else 0, self._view.source.head())

    def switch(self) -> int | None:
        """Put the new rows in the place of those that serve; return of how many events they are.

        None if they have not come as far yet. What is missing of the latest events is written in the same transaction,
        or a follower of a busy log might always be ahead.
        """
        source = self._view.source
        with self._tables.transaction(self._view.name, self.name) as live:
            self._check_mine(live)
            new = live.of(self.name, self._beside)
            came, served = new.mark(), live.mark()
            if entries := source.read(came.position if came else 0, _AT_ONCE):
                writing = self._write(new)
                writing.apply(self.ready(came, entries))
                came = source.mark(entries[-1])._replace(log=source.identity())
                writing.advance(came)
            if came is None:
                return 0  # an empty log
            if served is not None and served.position > came.position and why_not_here(source, served) is None:
                return None
            for table in self._view.table_names:
                live.execute(f"ALTER TABLE {{schema}}{table} RENAME TO {table}{_RETIRED}")
                live.execute(f"ALTER TABLE {{schema}}{table}{_BESIDE} RENAME TO {table}")
            live.take_mark_of(self.name)
            return came.position

    def end(self) -> None:
        """Drop what is retired; leave no trace."""
        try:
            self._drop(_RETIRED)
            with self._own_transaction() as transaction:
                transaction.execute("DELETE FROM {schema}followers WHERE name = %s", self._claim)
        except TakenOver:
            pass  # by another rebuild, which drops it; this one has done what it was to do

    def _beside(self, statement: str) -> str:
        """Word a statement of the view for the tables beside."""
        return self._named.sub(rf"{{schema}}\1{_BESIDE}", statement)

    def _statements(self) -> Iterator[str]:
        """Yield what makes the tables beside, with the names of indexes that are not in use."""
        made = self._tables.made()
        for statement in self._view.statements:
            index = _INDEX.match(statement)
            named = f"{index[1]}{index[2]}{OTHER}{index[3]}" if index is not None and index[2] in made else statement
            yield self._beside(named)

    def _drop(self, which: str) -> None:
        """Drop tables: where it would keep others waiting, a piece at a time."""
        for table in self._view.table_names:
            named = f"{table}{which}"
            if named not in self._tables.made():
                continue
            some = f"SELECT rowid FROM {{schema}}{named} LIMIT {_AT_ONCE}"
            left = self._tables.one_writer  # where each page that is freed is overwritten, too
            while left:
                with self._own_transaction() as transaction:
                    transaction.execute(f"DELETE FROM {{schema}}{named} WHERE rowid IN ({some})")
                    left = bool(transaction.rows(f"SELECT 1 FROM {{schema}}{named} LIMIT 1"))
            with self._own_transaction() as transaction:
                transaction.execute(f"DROP TABLE {{schema}}{named}")

    @contextmanager
    def _own_transaction(self) -> Iterator[Transaction]:
        with self._tables.transaction(self.name) as transaction:
            begun = time.monotonic()
            self._check_mine(transaction)
            yield transaction
        if self._tables.one_writer:
            least, most = _REST
            time.sleep(min(most, max(least, time.monotonic() - begun)))

    def _check_mine(self, transaction: Transaction) -> None:
        found = transaction.rows("SELECT command_id FROM {schema}followers WHERE name = %s", self._claim)
        if [row["command_id"] for row in found] != [self._id]:
            raise TakenOver(
                f"{self._view.name}: another rebuild of it began, and goes on from where this one came to: let that "
                "one end"
            )
