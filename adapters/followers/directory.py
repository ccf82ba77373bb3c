"""The directory of conversations, and a row of every branch, kept in the store's own database by a follower.

    directory           a row a conversation: what it is listed by
    directory_branches  a row a branch: its conversation, and what a view shows of it, as JSON
    directory_facts     what else a conversation is found by: see `facts`
    directory_counts    how many conversations have each value of all that: see `counts`

All of it can be made again from the log. A row of a branch is what the branch adds up to when it is written, which may
be more than the follower has read: what comes later writes it again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial

from lastresort.application.directory import ConversationRow, DirectoryQuery, utc
from lastresort.application.outcomes import UnknownBranch
from lastresort.application.ports import EventStore
from lastresort.domain.events import (
    AssistantTurnTaken,
    BranchOpened,
    ConversationEnded,
    ConversationStarted,
    ModelChanged,
    RecordedEvent,
    UserTurnTaken,
)
from lastresort.domain.state import Conversation, fold
from lastresort.projections.branches import Branch, row_after

from . import counts, facts
from .follower import Events, Follower, Mark
from .tables import Tables, Transaction

NAME = "directory.5"  # with another number it is made again from the log
_FILTERS = ("account", "arm", "model", "status")
_COUNTED = ("arm", "model", "status")
_TIMES = ("started", "last_turn")
_COLUMNS = ", ".join(ConversationRow._fields)
_TURNS = (UserTurnTaken, AssistantTurnTaken)
_AT_ONCE = 500  # rows read at a time
_STATES = 10_000  # that a follower remembers, about

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}directory (conversation TEXT PRIMARY KEY, account TEXT, arm TEXT, "
    "model TEXT NOT NULL, status TEXT NOT NULL, branches BIGINT NOT NULL, ended_branches BIGINT NOT NULL, "
    "started TEXT NOT NULL, last_turn TEXT NOT NULL)",
    *(
        f"CREATE INDEX IF NOT EXISTS directory_by_{time} ON {{schema}}directory ({time}, conversation)"
        for time in _TIMES
    ),
    *(
        f"CREATE INDEX IF NOT EXISTS directory_{name}_by_{time} ON {{schema}}directory ({name}, {time}, conversation)"
        for name in _FILTERS
        for time in _TIMES
    ),
    "CREATE TABLE IF NOT EXISTS {schema}directory_branches (branch TEXT PRIMARY KEY, conversation TEXT NOT NULL, "
    "position BIGINT NOT NULL UNIQUE, shown TEXT NOT NULL)",
    *facts.STATEMENTS,
    *counts.STATEMENTS,
)
"""The tables, as both engines understand them."""

TABLES = ("directory", "directory_branches", "directory_facts", counts.TABLE)

StateOf = Callable[[str, str], Conversation]
"""Returns the state of a branch as the log has it now: of a tree, the branch in it."""


class ConversationDirectory:
    """The directory of a store. See `application.directory.Directory`. Threads may share it.

    Args:
        store: has the log.
        tables: makes the tables, when the directory is first asked.
        state_of: says what a branch adds up to.
    """

    name, made_again = NAME, True
    table_names, statements = TABLES, STATEMENTS

    def __init__(self, store: EventStore, tables: Callable[[], Tables], state_of: StateOf) -> None:
        self.source = Events(store)
        self._make = tables
        self._state_of = state_of
        self._follower = Follower(self.source, self)
        self._states = _States()

    def catch_up(self) -> int:
        """Bring the directory up to what the log holds now; return the position that it has come to."""
        return self._follower.catch_up()

    def run(self, stopped: Callable[[], bool], patience: float = 1.0) -> None:
        """Keep the directory up until `stopped` says so: see `Follower.run`."""
        self._follower.run(stopped, patience)

    def select(self, query: DirectoryQuery) -> Sequence[ConversationRow]:
        self.catch_up()
        newest = query.order == "newest"
        wanted = {name: getattr(query, name) for name in _FILTERS if getattr(query, name) is not None}
        holds, params = facts.conditions(query.facts or {}, partial(counts.of, self.tables))
        holds += [f"{name} = %s" for name in wanted]
        params += wanted.values()
        if query.among is not None:
            holds.append(f"d.conversation IN ({', '.join(['%s'] * len(query.among)) or 'NULL'})")
            params += query.among
        for bound, value in ((">=", query.since), ("<", query.until)):
            if value is not None:
                holds.append(f"{query.by} {bound} %s")
                params.append(value)
        if query.after is not None:
            holds.append(f"({query.by}, d.conversation) {'<' if newest else '>'} (%s, %s)")
            params += query.after
        where = f"WHERE {' AND '.join(holds)} " if holds else ""
        by = f"{query.by} DESC, d.conversation DESC" if newest else f"{query.by}, d.conversation"
        statement = f"SELECT {_COLUMNS} FROM {{schema}}directory d {where}ORDER BY {by} LIMIT %s"
        return [ConversationRow(**row) for row in self.tables.rows(statement, *params, query.limit)]

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        self.catch_up()
        return counts.read(self.tables)

    def branches(self) -> Iterator[str]:
        self.catch_up()
        after = 0
        statement = (
            "SELECT position, shown FROM {schema}directory_branches WHERE position > %s ORDER BY position LIMIT %s"
        )
        while rows := self.tables.rows(statement, after, _AT_ONCE):
            yield from (row["shown"] for row in rows)
            after = rows[-1]["position"]

    @cached_property
    def tables(self) -> Tables:
        """The tables, which are made if they are not there."""
        return self._make()

    def mark(self) -> Mark | None:
        """Return how far it has come."""
        return self.tables.mark(self.name)

    def ready(self, mark: Mark | None, entries: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        """Return events as they are."""
        return entries

    @contextmanager
    def transaction(self) -> Iterator["_Writing"]:
        """Begin a transaction of the directory, for its follower."""
        with self.tables.transaction(self.name) as transaction:
            yield _Writing(transaction, self._state_of, self._states)

    def writer(self) -> Callable[[Transaction], "_Writing"]:
        """Return what writes rows in the transactions of a rebuild, one after the other."""
        return partial(_Writing, state_of=self._state_of, states=_States())


class _States:
    """The states of branches as this follower left them, for as long as no other one came in between."""

    def __init__(self) -> None:
        self._left: Mark | None = None
        self._states: dict[str, Conversation] = {}

    def begin(self, mark: Mark | None) -> None:
        if mark is None or mark != self._left or len(self._states) > _STATES:
            self._states.clear()

    def end(self, mark: Mark) -> None:
        self._left = mark

    def after(self, branch: str, own: Sequence[RecordedEvent]) -> Conversation | None:
        """Return what a branch adds up to after events of its own, if it is known what it was before them."""
        first, known = own[0], self._states.get(branch)
        if isinstance(first.event, ConversationStarted):
            known = Conversation()
        if known is None or [one.version for one in own] != [*range(known.version + 1, known.version + len(own) + 1)]:
            return None  # or there is a gap, as an audit says
        return fold(own, known)

    def keep(self, branch: str, state: Conversation) -> None:
        self._states[branch] = state


class _Writing:
    """A transaction of the directory."""

    def __init__(self, transaction: Transaction, state_of: StateOf, states: _States) -> None:
        self._transaction = transaction
        self._state_of = state_of
        self._states = states
        self.mark = transaction.mark
        self._rows: dict[str, ConversationRow] = {}
        self._written: dict[str, ConversationRow] = {}  # as they stand in the table
        self._trees: dict[str, str] = {}
        self._facts: list[facts.Fact] = []

    def clear(self) -> None:
        self._transaction.clear(*TABLES)

    def advance(self, mark: Mark) -> None:
        self._transaction.advance(mark)
        self._states.end(mark)

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        self._states.begin(self.mark())
        branches: dict[str, list[RecordedEvent]] = {}
        for one in events:
            self._take(one)
            branches.setdefault(one.branch, []).append(one)
        changes = self._write_conversations()
        self._write_branches(branches)
        changes.update(facts.write(self._transaction, self._facts))
        counts.write(self._transaction, changes)
        self._facts.clear()

    def _take(self, one: RecordedEvent) -> None:
        """Bring the row of a conversation up to one event."""
        event = one.event
        if isinstance(event, ConversationStarted):
            at = utc(one.recorded_at)
            self._trees[one.branch] = event.conversation
            self._rows[event.conversation] = ConversationRow(
                event.conversation, event.account, event.arm, event.model, "active", 1, 0, at, at
            )
            self._facts += facts.facts_of(event.conversation, one, self._state_of)
            return
        tree = event.conversation if isinstance(event, BranchOpened) else self._tree_of(one.branch)
        row = self._row(tree)
        if row is None:
            return  # a branch without a root: an audit says so, and there is no conversation to list
        if isinstance(event, BranchOpened):
            self._trees[one.branch] = tree
            row = row._replace(branches=row.branches + 1, status="active")
        elif isinstance(event, ConversationEnded):
            over = row.ended_branches + 1
            row = row._replace(ended_branches=over, status="ended" if over >= row.branches else "active")
        elif isinstance(event, ModelChanged) and one.branch == tree:
            row = row._replace(model=event.model)
        elif isinstance(event, _TURNS):
            row = row._replace(last_turn=max(row.last_turn, utc(one.recorded_at)))
        self._rows[tree] = row
        self._facts += facts.facts_of(tree, one, self._state_of)

    def _tree_of(self, branch: str) -> str:
        if branch not in self._trees:
            rows = self._transaction.rows(
                "SELECT conversation FROM {schema}directory_branches WHERE branch = %s", branch
            )
            self._trees[branch] = str(rows[0]["conversation"]) if rows else ""
        return self._trees[branch]

    def _row(self, tree: str) -> ConversationRow | None:
        if tree not in self._rows:
            rows = self._transaction.rows(f"SELECT {_COLUMNS} FROM {{schema}}directory WHERE conversation = %s", tree)
            if not rows:
                return None
            self._rows[tree] = self._written[tree] = ConversationRow(**rows[0])
        return self._rows[tree]

    def _write_conversations(self) -> counts.Changes:
        """Write the rows that are others than they were; return what that changes in the counts."""
        changed_rows = [row for tree, row in self._rows.items() if row != self._written.get(tree)]
        changes: counts.Changes = Counter()
        for row in changed_rows:
            for name in _COUNTED:
                before = getattr(self._written.get(row.conversation), name, None)
                for value, by in ((before, -1), (getattr(row, name), 1)):
                    if value is not None:
                        changes[name, value] += by
            self._written[row.conversation] = row
        marks = ", ".join(["%s"] * len(ConversationRow._fields))
        changed = ", ".join(f"{name} = excluded.{name}" for name in ConversationRow._fields[1:])
        statement = (
            f"INSERT INTO {{schema}}directory ({_COLUMNS}) VALUES ({marks}) "
            f"ON CONFLICT (conversation) DO UPDATE SET {changed}"
        )
        self._transaction.write(statement, changed_rows)
        return changes

    def _write_branches(self, branches: Mapping[str, list[RecordedEvent]]) -> None:
        new, known = [], []
        for branch, own in branches.items():
            tree = self._tree_of(branch)
            if self._row(tree) is None:
                continue  # as in `_take`
            before = None if own[0].version == 1 else self._before(branch)
            try:
                state = self._states.after(branch, own) or self._state_of(tree, branch)
            except UnknownBranch:
                continue  # one of its parents is missing
            self._states.keep(branch, state)
            row = row_after(before, branch, state, own)
            if before is None:
                new.append((branch, row.conversation, own[0].position, row.model_dump_json()))
            else:
                known.append((row.model_dump_json(), branch))
        self._transaction.write("INSERT INTO {schema}directory_branches VALUES (%s, %s, %s, %s)", new)
        self._transaction.write("UPDATE {schema}directory_branches SET shown = %s WHERE branch = %s", known)

    def _before(self, branch: str) -> Branch | None:
        rows = self._transaction.rows("SELECT shown FROM {schema}directory_branches WHERE branch = %s", branch)
        return Branch.model_validate_json(rows[0]["shown"]) if rows else None
