"""What the inspector shows of a branch at a version: the tree, the lines with the law between them, and the state."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from lastresort.adapters.service.tenants import Caller
from lastresort.application.chat import Chat
from lastresort.domain.decider import harm_of, in_the_way
from lastresort.domain.events import (
    AppealFiled,
    AssistantTurnTaken,
    ContentErased,
    ConversationEnded,
    Evidence,
    RecordedEvent,
    TurnAssessed,
    UserTurnTaken,
    content_of,
)
from lastresort.domain.law import RULES, Broken
from lastresort.domain.state import Conversation, fold
from lastresort.domain.values import Ground, Risk
from lastresort.projections.transcript import Line, transcript

WINDOW = 200
"""Events on a page, at most."""
_ROOM, _EACH = 150_000, 500
"""Bytes that the lines of a page may take, and what each takes beside its words: a window of long turns has fewer."""
_LONGEST = 100_000
"""Bytes of one line that are shown."""
_TWIGS = 100
"""Branches on a page."""
_MARKS = {
    "ConversationEnded": "ending", "WarningGiven": "warning", "WarningWithheld": "warning", "HopeExhausted": "warning",
    "RedirectionAttempted": "redirection", "RiskRaised": "risk", "RiskCleared": "risk", "AttemptRefused": "refused",
    "AppealFiled": "appeal", "AppealDecided": "appeal", "ContentErased": "erased", "ErasureHeld": "held",
    "ErasureReleased": "held",
}  # fmt: skip
_EVIDENCE = {
    "redirections": "failed redirection", "warning": "warning", "tested_by": "tested by this turn",
    "hope": "hope exhausted", "request": "asked for it", "confirmation": "confirmed it",
}  # fmt: skip


class Proof(NamedTuple):
    """An event that an ending stands on: what it is there, its version, and the address of its line."""

    what: str
    version: int
    address: str


class Ending(NamedTuple):
    """The event that ended a branch, and what it stands on."""

    version: int
    address: str
    proofs: tuple[Proof, ...]


class LineView(NamedTuple):
    """A line as it is shown: of an ending with its evidence, of evidence with the ending that stands on it.

    `cut`: it is longer than is shown.
    """

    line: Line
    at: str
    mark: str
    by: str
    proofs: tuple[Proof, ...]
    stands_for: tuple[Proof, ...]
    erased_by: str | None
    cut: bool


class Counter(NamedTuple):
    """A count of the state beside the number of the policy that it is held against."""

    label: str
    have: int
    need: int


class Missing(NamedTuple):
    """A rule that is in the way, and what is missing."""

    rule: str
    text: str
    source: str
    broken: Broken


class Twig(NamedTuple):
    """A branch in the tree, how deep it stands, and whether its path is the one that is shown."""

    branch: str
    depth: int
    state: Conversation
    cause: str | None
    at: int | None
    here: bool


class BranchView(NamedTuple):
    """A branch at a version.

    Attributes:
        at, last: the version that is shown, and the last that there is.
        tree: a window of the branches, each below its parent; `of` how many there are, it begins at `twig`.
        lines: a window of the lines up to `at`.
        earlier, later: where the windows beside it begin.
        turns: the versions of the turns before and after `at`, for stepping.
        ending: what ended it, if it has ended by then.
    """

    chat: Chat
    at: int
    last: int
    state: Conversation
    tree: tuple[Twig, ...]
    twig: int
    of: int
    lines: tuple[LineView, ...]
    earlier: int | None
    later: int | None
    turns: tuple[int, ...]
    ground: Ground
    category: str | None
    why: tuple[Missing, ...]
    counters: tuple[Counter, ...]
    title: str | None
    appealed: bool
    ending: Ending | None


class Asked(NamedTuple):
    """What to show of a branch.

    Attributes:
        at: the version at which to look; the last one, if none is named.
        begin, end: the version at which the window of lines begins, or ends; it ends at `at`, if none is named.
        ground, category: of the ending that is asked about: what is in its way.
        twig: at which branch the window of the tree begins; that one in which this branch is, if none is named.
    """

    at: int | None
    begin: int | None
    end: int | None
    ground: Ground
    category: str | None
    twig: int | None


def branch_view(caller: Caller, chat: Chat, asked: Asked) -> BranchView:
    """Return what to show of a branch.

    Args:
        caller: who looks: without the scope for words they see none.
        chat: the branch.
        asked: what is asked for.
    """
    log, ground = chat.conversations.tree_log(chat.branch), asked.ground
    path = _path(log, chat.branch)
    last = len(path)
    at = last if asked.at is None else max(1, min(asked.at, last))
    state = fold(path[:at])
    begin, lines = _window(caller, chat, path[:at], log, asked)
    end = begin + len(lines) - 1
    address = _Addresses(chat.branch, at, begin, end)
    proofs, stands_for = _evidence(path[:at], address)
    erased = _erased_by(log)
    harm = asked.category or (harm_of(state) if ground is Ground.LAST_RESORT else None)
    twigs, twig = _twigs(list(_tree(chat, log)), asked.twig)
    return BranchView(
        chat=chat, at=at, last=last, state=state, tree=twigs[twig : twig + _TWIGS], twig=twig, of=len(twigs),
        lines=tuple(
            _line(line, one, proofs, stands_for, erased, words_shown=caller.key.reads_words)
            for line, one in zip(lines, path[begin - 1 : end], strict=True)
        ),
        earlier=begin - 1 if begin > 1 else None, later=end + 1 if end < at else None,
        turns=_turns_beside(path, at),
        ground=ground, category=harm,
        why=tuple(_missing(one) for one in in_the_way(state, ground, asked.category)) if state.ended is None else (),
        counters=tuple(_counters(state)),
        title=chat.metadata().title if caller.key.reads_words else None,
        appealed=any(isinstance(one.event, AppealFiled) for one in path[:at]),
        ending=next((Ending(at, address.of(at), told) for at, told in proofs.items()), None),
    )  # fmt: skip


def _path(log: Iterable[RecordedEvent], branch: str) -> list[RecordedEvent]:
    """Return the events on the path of a branch, of those of its tree: which are read once, not twice."""
    own: dict[str, list[RecordedEvent]] = {}
    for one in log:
        own.setdefault(one.branch, []).append(one)
    path, here = own[branch], branch
    while (parent := getattr(own[here][0].event, "parent", None)) is not None:
        inherited = [one for one in own[parent] if one.version < path[0].version]
        path, here = inherited + path, parent
    return path


def _window(
    caller: Caller, chat: Chat, path: Sequence[RecordedEvent], log: Sequence[RecordedEvent], asked: Asked
) -> tuple[int, tuple[Line, ...]]:
    """Return the version of the first line that is shown, and the lines: as many as there is room for, one at least."""
    if asked.begin is not None:
        begin = max(1, min(asked.begin, len(path)))
        end = min(len(path), begin + WINDOW - 1)
    else:
        end = len(path) if asked.end is None else max(1, min(asked.end, len(path)))
        begin = max(1, end - WINDOW + 1)
    window = path[begin - 1 : end]
    lines = transcript(window, chat.conversations.words(window) if caller.key.reads_words else {}, tree=log)
    sizes = [_EACH + len((line.text or "").encode()) for line in lines]
    if asked.begin is not None:
        return begin, lines[: _fit(sizes)]
    fit = _fit(sizes[::-1])
    return end - fit + 1, lines[-fit:]


def _fit(sizes: Iterable[int]) -> int:
    """Return how many there is room for, of these in their order."""
    return max(1, sum(taken <= _ROOM for taken in accumulate(min(one, _LONGEST) for one in sizes)))


def _twigs(twigs: Sequence[Twig], begin: int | None) -> tuple[tuple[Twig, ...], int]:
    """Return the branches, and at which of them the window begins."""
    here = next((nth for nth, one in enumerate(twigs) if one.here), 0)
    asked = here if begin is None else min(begin, len(twigs) - 1)
    return tuple(twigs), asked // _TWIGS * _TWIGS


def _turns_beside(path: Sequence[RecordedEvent], at: int) -> tuple[int, ...]:
    turns = [one.version for one in path if isinstance(one.event, UserTurnTaken | AssistantTurnTaken)]
    before, after = [one for one in turns if one < at], [one for one in turns if one > at]
    return (*before[-1:], *after[:1])


class _Addresses(NamedTuple):
    """Where the line of a version is: on this page if it is in its window, else on another one."""

    branch: str
    at: int
    begin: int
    end: int

    def of(self, version: int) -> str:
        if self.begin <= version <= self.end:
            return f"#v{version}"
        return f"/inspect/b/{self.branch}?at={self.at}&from={version}#v{version}"


def _evidence(
    path: Iterable[RecordedEvent], address: _Addresses
) -> tuple[Mapping[int, tuple[Proof, ...]], Mapping[int, tuple[Proof, ...]]]:
    """Return the evidence of each ending, by its version, and by the version of evidence what stands on it."""
    found: dict[int, tuple[Proof, ...]] = {}
    back: dict[int, tuple[Proof, ...]] = {}
    checked = None
    for one in path:
        if isinstance(one.event, TurnAssessed) and one.event.risk is Risk.NONE:
            checked = one.version
        if not isinstance(one.event, ConversationEnded):
            continue
        proofs = tuple(_proofs(one.event.evidence, checked, address))
        found[one.version] = proofs
        for proof in proofs:
            told = Proof(proof.what, one.version, address.of(one.version))
            back[proof.version] = (*back.get(proof.version, ()), told)
    return found, back


def _proofs(evidence: Evidence, checked: int | None, address: _Addresses) -> Iterator[Proof]:
    for name, what in _EVIDENCE.items():
        value = getattr(evidence, name)
        for version in value if isinstance(value, tuple) else (value,) if value is not None else ():
            yield Proof(what, version, address.of(version))
    if checked is not None:
        yield Proof("no risk seen", checked, address.of(checked))


def _erased_by(log: Iterable[RecordedEvent]) -> Mapping[str, str]:
    """Return who erased words, and when, by digest."""
    return {
        digest: f"{one.event.by.kind} {one.event.by.id}, {one.recorded_at[:16].replace('T', ' ')} UTC"
        for one in log
        if isinstance(one.event, ContentErased)
        for digest in one.event.contents
    }


def _line(
    line: Line, one: RecordedEvent, proofs: Mapping[int, tuple[Proof, ...]],
    stands_for: Mapping[int, tuple[Proof, ...]], erased: Mapping[str, str], *, words_shown: bool,
) -> LineView:  # fmt: skip
    digest = content_of(one.event)
    by = erased.get(digest) if digest else None
    if not words_shown and by is None and line.speaker is not None:
        line = line._replace(text=None, gone="words not shown")
    if line.speaker is None and isinstance(one.event, ConversationEnded):
        line = line._replace(text=(line.text or "").partition("; evidence: ")[0])  # which has its own place
    elif line.speaker is None and not words_shown and digest is not None:
        line = line._replace(text=(line.text or "").partition(": [")[0])
    said = (line.text or "").encode()
    if cut := len(said) > _LONGEST:
        line = line._replace(text=said[:_LONGEST].decode(errors="ignore"))
    return LineView(
        line, one.recorded_at, _MARKS.get(one.kind, ""), f"{one.event.by.kind} {one.event.by.id}",
        proofs.get(one.version, ()), stands_for.get(one.version, ()), by, cut,
    )  # fmt: skip


def _counters(state: Conversation) -> Iterator[Counter]:
    numbers, episode = state.governing, state.now
    yield Counter("redirections", episode.attempted, numbers.min_redirections_to_warn)
    yield Counter("of them failed", episode.failed, numbers.min_failed_redirections)
    if episode.numbers is not None:
        yield Counter("productive in a row", episode.productive, numbers.to_close(episode.relapses))


def _missing(broken: Broken) -> Missing:
    rule = RULES[broken.rule]
    return Missing(rule.id, rule.text, rule.source, broken)


def _tree(chat: Chat, log: Sequence[RecordedEvent]) -> Iterator[Twig]:
    """Yield the branches of a conversation, each below its parent."""
    states = chat.conversations.tree(chat.branch)
    opened = {one.branch: one.event for one in log if one.kind == "BranchOpened"}
    below: dict[str | None, list[str]] = {}
    for branch, state in states.items():
        below.setdefault(state.parent, []).append(branch)
    waiting = [(branch, 0) for branch in reversed(below.get(None, []))]
    while waiting:
        branch, depth = waiting.pop()
        began = opened.get(branch)
        yield Twig(
            branch, depth, states[branch], getattr(began, "cause", None), getattr(began, "at", None),
            branch == chat.branch,
        )  # fmt: skip
        waiting += [(child, depth + 1) for child in reversed(below.get(branch, []))]
