"""What the inspector shows of a branch at a version: the tree, the lines with the law between them, and the state."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
"""Events on a page."""
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
    """A line as it is shown: of an ending with its evidence, of evidence with the ending that stands on it."""

    line: Line
    at: str
    mark: str
    by: str
    proofs: tuple[Proof, ...]
    stands_for: tuple[Proof, ...]
    erased_by: str | None


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
        lines: a window of the lines up to `at`.
        earlier, later: where the windows beside it begin.
        turns: the versions of all turns, for stepping.
        ending: what ended it, if it has ended by then.
    """

    chat: Chat
    at: int
    last: int
    state: Conversation
    tree: tuple[Twig, ...]
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


def branch_view(
    caller: Caller, chat: Chat, at: int | None, begin: int | None, ground: Ground, category: str | None
) -> BranchView:
    """Return what to show of a branch.

    Args:
        caller: who looks: without the scope for words they see none.
        chat: the branch.
        at: the version at which to look; the last one, if none is named.
        begin: the version at which the window of lines begins; it ends at `at`, if none is named.
        ground, category: of the ending that is asked about: what is in its way.
    """
    conversations, path = chat.conversations, chat.path
    last = len(path)
    at = last if at is None else max(1, min(at, last))
    state = fold(path[:at])
    begin = max(1, at - WINDOW + 1) if begin is None else max(1, min(begin, at))
    end = min(at, begin + WINDOW - 1)
    window, log = path[begin - 1 : end], conversations.tree_log(chat.branch)
    words = conversations.words(window) if caller.key.reads_words else {}
    lines = transcript(window, words, tree=log)
    address = _Addresses(chat.branch, at, begin, end)
    proofs, stands_for = _evidence(path[:at], address)
    erased = _erased_by(log)
    harm = category or (harm_of(state) if ground is Ground.LAST_RESORT else None)
    return BranchView(
        chat=chat, at=at, last=last, state=state, tree=tuple(_tree(chat, log)),
        lines=tuple(
            _line(line, one, proofs, stands_for, erased, words_shown=caller.key.reads_words)
            for line, one in zip(lines, window, strict=True)
        ),
        earlier=max(1, begin - WINDOW) if begin > 1 else None, later=end + 1 if end < at else None,
        turns=tuple(one.version for one in path if isinstance(one.event, UserTurnTaken | AssistantTurnTaken)),
        ground=ground, category=harm,
        why=tuple(_missing(one) for one in in_the_way(state, ground, category)) if state.ended is None else (),
        counters=tuple(_counters(state)),
        title=chat.metadata().title if caller.key.reads_words else None,
        appealed=any(isinstance(one.event, AppealFiled) for one in path[:at]),
        ending=next((Ending(at, address.of(at), told) for at, told in proofs.items()), None),
    )  # fmt: skip


class _Addresses(NamedTuple):
    """Where the line of a version is: on this page if it is in its window, else on another one."""

    branch: str
    at: int
    begin: int
    end: int

    def of(self, version: int) -> str:
        if self.begin <= version <= self.end:
            return f"#v{version}"
        begin = (version - 1) // WINDOW * WINDOW + 1
        return f"/inspect/b/{self.branch}?at={self.at}&from={begin}#v{version}"


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
        about = f" for {one.event.category}" if one.event.category else ""
        how = "as a last resort" if one.event.ground is Ground.LAST_RESORT else "at the user's request"
        line = line._replace(text=f"ended {how}{about}, having seen turn {one.event.seen}")
    elif line.speaker is None and not words_shown and digest is not None:
        line = line._replace(text=(line.text or "").partition(": [")[0])
    return LineView(
        line, one.recorded_at, _MARKS.get(one.kind, ""), f"{one.event.by.kind} {one.event.by.id}",
        proofs.get(one.version, ()), stands_for.get(one.version, ()), by,
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
