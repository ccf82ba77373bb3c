"""What takes the whole log to check, and not its trees: its positions, its appends, and the ids of its commands."""

from collections.abc import Iterable, Iterator

from lastresort.domain.events import BranchOpened, RecordedEvent, Unreadable

from .findings import Finding, LocatedFinding

Entry = RecordedEvent | Unreadable

ENTRIES = 0
"""The stage of what is found of the entries of an append, before what is found of it as a whole."""


def of_structure(entry: Entry, what: str, detail: str) -> Finding:
    """Return the finding that something is wrong with the structure of a log at an entry."""
    return Finding(branch=entry.branch, version=entry.version, rules=(f"structure-{what}",), detail=detail)


class WholeLog:
    """What takes the whole log to check."""

    def __init__(self) -> None:
        self.findings: list[LocatedFinding] = []
        self._position = self._place = 0  # of the entry before
        self._append = 0
        self._of = ("", "")  # the tree of the append being read, and the command that it carries out
        self._trees: dict[str, str] = {}  # by branch
        self._commands: dict[str, str] = {}  # by id, the first tree that had one of it
        self._elsewhere: set[tuple[str, str]] = set()  # the other trees, and the id

    def placed(self, log: Iterable[Entry]) -> Iterator[tuple[int, int, Entry]]:
        """Yield each entry of a log with its place and its append there, as a `PlacedEntry` has them.

        What comes in parts goes on where the part before ended.
        """
        position, trees = self._position, self._trees
        place = before = self._place
        tree, command = self._of
        for place, entry in enumerate(log, before + 1):
            position += 1
            if entry.position != position:
                self._find(place, entry, "gap", f"position {entry.position} where {position} was to come")
                position = entry.position
            if type(entry) is RecordedEvent:
                of = trees.get(entry.branch) or self._tree_of(entry)
                if entry.command_id != command or of != tree:
                    self._append += 1
                    self._of = tree, command = of, entry.command_id
                    if self._was_used(tree, command):
                        self._find(place, entry, "command", f"command id {command} was used by an earlier append")
            yield place, self._append, entry
        self._position, self._place = position, place

    def _tree_of(self, entry: RecordedEvent) -> str:
        tree = self._trees.get(entry.branch)
        if tree is None:
            above = entry.branch
            if isinstance(entry.event, BranchOpened):  # with which no append begins
                above = self._of[0] if entry.command_id == self._of[1] else entry.event.parent
            self._trees[entry.branch] = tree = self._trees.get(above, above)
        return tree

    def _was_used(self, tree: str, command: str) -> bool:
        """Whether a tree had a command of that id before. Nearly all ids are of one tree, and cost one entry each."""
        if (first := self._commands.get(command)) is None:
            self._commands[command] = tree
            return False
        again = first == tree or (tree, command) in self._elsewhere
        self._elsewhere.add((tree, command))
        return again

    def _find(self, place: int, entry: Entry, what: str, detail: str) -> None:
        self.findings.append(LocatedFinding(self._append, ENTRIES, place, of_structure(entry, what, detail)))
