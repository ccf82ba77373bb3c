"""A log that comes in as a whole: what its appends write, chunk by chunk, and what of that the lists show.

An append of its own checks each row against the table. Here that is done beforehand and in memory, as far as the log
goes; the store is asked once a chunk, and only for branches that are not the log's own. What is kept of the log is
where each of its branches began and how far it has come: some 250 bytes a branch.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

from lastresort.application.ports import Append, CommandRecorded, Place

from .rows import ENDS, PAGE, Entry, checked_places, conflict


class Begun(NamedTuple):
    """A branch that there is: where in the log it began, and the version of its latest event."""

    position: int
    version: int


class Chunk:
    """What a part of a log writes."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []  # a position, and the fields of a `Row`
        self.contents: list[tuple[int, bytes]] = []
        self.snapshots: list[tuple[str, int, bytes]] = []
        self.erased: list[Place] = []
        self.branches: list[tuple[int, int, int]] = []  # position, root, branched
        self.branched: list[tuple[int]] = []  # the roots that have another branch now
        self.ended: list[tuple[int, int]] = []  # the ending's position, and the branch's


class Incoming:
    """Makes chunks of the appends of a log.

    Args:
        entries: returns the rows of an append, or says what is malformed.
        begun: returns what the store holds of branches, by name; of those that it does not have, nothing.
        recorded: says whether the store holds a command, by tree and id.
        position: the first that is free.
    """

    def __init__(
        self,
        entries: Callable[[Append], list[Entry]],
        begun: Callable[[Collection[str]], Mapping[str, Begun]],
        recorded: Callable[[str, str], object],
        position: int,
    ) -> None:
        self._entries = entries
        self._ask = begun
        self._recorded = recorded
        self._first = position
        self._is_new = position == 1  # the store: there is nothing to ask it
        self._begun: dict[str, Begun] = {}
        self.count = 0
        self._position = position

    def chunks(self, appends: Iterable[Append]) -> Iterator[Chunk]:
        """Yield what is to be written, in order: at most some `PAGE` rows at a time, and no append divided.

        Raises:
            VersionConflict: an event does not follow what its branch holds, or begins a branch that has begun.
            CommandRecorded: the store holds a command, or the chunk holds it twice in one tree. Whether it comes twice
                in the log, far from each other, takes an audit.
            ValueError: something is malformed.
        """
        part: list[tuple[Append, list[Entry]]] = []
        rows = 0
        for append in appends:
            part.append((append, self._entries(append)))
            rows += len(append.events)
            if rows >= PAGE:
                yield self._chunk(part)
                part, rows = [], 0
        if part:
            yield self._chunk(part)

    def _chunk(self, part: list[tuple[Append, list[Entry]]]) -> Chunk:
        if not self._is_new:
            self._look_up(part)
        chunk = Chunk()
        commands = set[tuple[str, str]]()
        for append, entries in part:
            command = append.tree, append.command_id
            if command in commands or (self._is_held(append.tree) and self._recorded(*command)):
                raise CommandRecorded(append.command_id)
            commands.add(command)
            for entry in entries:
                self._take(chunk, entry)
            if append.erased:
                chunk.erased += checked_places(append.erased)
        self.count += len(chunk.rows)
        return chunk

    def _take(self, chunk: Chunk, entry: Entry) -> None:
        row, begins, sealed, joins, snapshot = entry
        branch, version, kind = row[:3]
        position = self._position
        known = self._begun.get(branch)
        if begins and known is None:
            known = Begun(position, version)
            self._list(chunk, position, joins)
        elif known is None or begins or version != known.version + 1:
            raise conflict(row, begins)
        elif kind == ENDS:
            chunk.ended.append((position, known.position))
        self._begun[branch] = Begun(known.position, version)
        chunk.rows.append((position, *row))
        if sealed is not None:
            chunk.contents.append((position, sealed))
        if snapshot is not None:
            chunk.snapshots.append((branch, version, snapshot))
        self._position = position + 1

    def _list(self, chunk: Chunk, position: int, joins: str | None) -> None:
        if joins is None:
            chunk.branches.append((position, position, 0))
            return
        root = self._begun[joins].position if joins in self._begun else 0
        chunk.branches.append((position, root, 1))
        chunk.branched.append((root,))

    def _look_up(self, part: Iterable[tuple[Append, list[Entry]]]) -> None:
        """Ask the store for branches that are named for the first time."""
        named = {append.tree for append, _ in part}
        named |= {name for _, entries in part for one in entries for name in (one.row.branch, one.joins) if name}
        self._begun.update(self._ask(named - self._begun.keys()))

    def _is_held(self, tree: str) -> bool:
        """Whether the store held a tree before the log came."""
        return tree in self._begun and self._begun[tree].position < self._first


@contextmanager
def one_ahead() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Yield what has a piece of work done while the caller makes the next one ready.

    A piece waits for the one before. What one raises is raised by the next call, or at the end. So the database works
    while the next rows are checked, as it needs no interpreter for most of what it does.
    """
    with ThreadPoolExecutor(1, "import") as pool:
        last: list[Future[None]] = []

        def do(work: Callable[[], None]) -> None:
            if last:
                last.pop().result()
            last.append(pool.submit(work))

        yield do
        if last:
            last.pop().result()
