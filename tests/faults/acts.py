"""Acts drawn by chance, what came of them, and the oracle: what was acknowledged is in the log, once, and readable.

An act is JSON: it is said before it is carried out, so that a caller who was not answered can send it again.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from random import Random
from typing import Any, NamedTuple

from lastresort import (
    Actor,
    ActorKind,
    Chat,
    Conversations,
    Ground,
    HoldReason,
    RecordedEvent,
    Refused,
    Risk,
    Verdict,
    open_conversations,
)
from lastresort.application.outcomes import Contention, Receipt
from lastresort.application.ports import Place
from lastresort.domain.events import BranchOpened, ContentErased, ConversationEnded, content_of
from lastresort.projections import audit

MODEL = "claude-opus-4-1"
OPERATOR = Actor(kind=ActorKind.OPERATOR, id="operator")
HARM = "abuse"
_REDIRECTIONS = 3  # as many as the usual policy asks for
_PURSUED = 0.65
"""How often an act is the one that brings its branch nearer to an ending. By chance alone none ever comes so far."""

_WEIGHTS = {
    "user_turn": 6,
    "assistant_turn": 6,
    "judge": 4,
    "leave": 1,
    "feedback": 1,
    "raise_risk": 1,
    "clear_risk": 1,
    "edit": 1,
    "retry": 0.5,
    "request_end": 1,
    "confirm_end": 0.5,
    "end": 0.5,
    "hold": 0.5,
    "release_hold": 0.5,
    "erase": 4,
    "start": 0.2,
}
LEAST = {
    "redirect": 0.02,
    "warn": 0.005,
    "end last_resort": 0.001,
    "request_end": 0.005,
    "end user_request": 0.002,
    "raise_risk": 0.003,
    "hold": 0.003,
    "erase": 0.005,
}
"""What share of all that is committed each has at least: a test of faults says nothing of what is not drawn."""
ENOUGH = 1_000
"""Acts that were committed, to speak of shares."""

MASTER_KEY = b"no secret: for these tests only."


def open_at(url: str, **options: Any) -> Conversations:
    """Open the conversations at `url`; of an SQLite file the master key is beside it, as it is by default."""
    if url.startswith("postgresql:"):
        options["master_key"] = lambda: MASTER_KEY
    return open_conversations(url, **options)


class Act(NamedTuple):
    """A command: its id, where, the method of a `Chat` (or `start`), and its arguments."""

    id: str
    branch: str
    name: str
    arguments: dict[str, Any]


class Answer(NamedTuple):
    """What its caller was told: `committed`, `refused`, or `nothing` certain; and what was committed."""

    id: str
    what: str
    events: list[list[Any]]  # branch, version, kind
    words: dict[str, str]  # by digest
    name: str = ""  # of the act; of an ending with its ground


def committed(told: Iterable[Answer]) -> int:
    """Return how much was acknowledged: what was committed, and no refusal and no error."""
    return sum(one.what == "committed" for one in told)


def shares(drawn: "Counter[str]") -> str:
    """Say what was committed, the most frequent first; see that there is enough of each, where it was much."""
    whole = drawn.total()
    missing = [name for name, least in LEAST.items() if drawn[name] < least * whole]
    said = ", ".join(f"{name} {number / whole:.1%}" for name, number in drawn.most_common())
    assert whole < ENOUGH or not missing, f"too few: {', '.join(missing)}; of {whole} acts that were committed: {said}"
    return f"of {whole} acts: {said}"


def open_branches(told: Iterable[Answer], most: int) -> list[str]:
    """Return the latest branches that were begun and have not ended, so far as callers were told."""
    events = [event for one in told if one.what == "committed" for event in one.events]
    ended = {branch for branch, _, kind in events if kind == ConversationEnded.kind}
    return [branch for branch in dict.fromkeys(branch for branch, _, _ in events) if branch not in ended][-most:]


def draw(random: Random, state: Any, branch: str, command_id: str) -> Act:
    """Draw an act for a branch in `state`. Many are lawful, some are refused."""
    pursued = random.random() < _PURSUED
    name = _next(random, state) if pursued else random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    arguments: dict[str, Any] = {}
    if name in ("user_turn", "assistant_turn", "feedback", "edit"):
        arguments["words"] = f"words of {command_id}" + " and more" * random.choice([0, 1, 10, 200])
    if name in ("edit", "retry", "erase"):
        arguments["turn"] = random.randint(2, max(2, state.version))
    if name == "edit":
        arguments["child"] = f"opened-by-{command_id}"
    if name == "judge":
        risk = random.choice(["none", "none", "none", "imminent"]) if not pursued else "none"
        arguments |= {"verdict": "harmful" if pursued else "productive", "risk": risk}
    if name == "clear_risk":
        arguments["risk"] = next((risk.risk for risk in state.risks), "no-risk")
    if name == "hold":
        arguments["hold"] = f"case-{command_id}"
    if name == "release_hold":
        arguments["hold"] = next((hold.hold for hold in state.holds), "no-case")
    if name == "end":
        arguments["ground"] = "last_resort" if pursued and state.wishes.confirmed is None else "user_request"
    if name == "start":
        arguments["conversation"] = f"started-by-{command_id}"
    return Act(command_id, branch, name, arguments)


def _next(random: Random, state: Any) -> str:
    """Return the act that brings a branch nearer to its ending: on request, if the user asked, or as last resort."""
    unit, wishes = state.unit, state.wishes
    if state.ended:
        return random.choice(["start", "edit", "edit", "feedback"])
    if state.risks:
        return "clear_risk"
    if state.holds and random.random() < 0.3:
        return "release_hold"
    if unit is None:
        return "user_turn"
    if not unit.safe_by:
        return "judge"
    if wishes.confirmed is not None:
        return "end"
    if wishes.to_confirm is not None:
        return "confirm_end"
    if not state.answered:
        warned = None if wishes.requested is not None else state.warning(HARM)
        if warned is None or warned.tested_by is None:
            return "assistant_turn"
        return "declare_hope_exhausted" if wishes.hope is None else "end"
    if wishes.requested is not None or unit.warnings or state.warning(HARM):
        return "user_turn"
    if state.now.attempted >= _REDIRECTIONS:
        return "warn"
    return "redirect" if unit.redirection is None else "user_turn"


def carry_out(chats: Conversations, act: Act) -> Answer:
    """Carry out an act, and tell what the caller learns of it."""
    try:
        outcome = _asked(chats, act)
    except (ValueError, Contention) as error:  # no turn stands there; others wrote first
        return Answer(act.id, type(error).__name__, [], {})
    if isinstance(outcome, Chat):  # a branch, without the events that opened it
        events = list(chats.store.recorded_by(outcome.state.conversation, act.id))
    elif isinstance(outcome, Receipt):
        events = list(outcome.events)
    else:
        return Answer(act.id, "refused" if isinstance(outcome, Refused) else "ended", [], {})
    name = f"end {act.arguments['ground']}" if act.name == "end" else act.name
    words = {
        digest: act.arguments["words"] for e in events if "words" in act.arguments and (digest := content_of(e.event))
    }
    return Answer(act.id, "committed", [[e.branch, e.version, e.kind] for e in events], words, name)


def _asked(chats: Conversations, act: Act) -> object:
    arguments = act.arguments
    if act.name == "start":
        return chats.start(model=MODEL, command_id=act.id, **arguments)
    chat = chats.chat(act.branch)
    if act.name == "judge":
        harm: dict[str, Any] = {"category": HARM, "severity": 3} if arguments["verdict"] == "harmful" else {}
        return chat.judge(Verdict(arguments["verdict"]), risk=Risk(arguments["risk"]), command_id=act.id, **harm)
    if act.name == "warn":
        return chat.warn(HARM, command_id=act.id)
    if act.name == "end":
        ground = Ground(arguments["ground"])
        return chat.end(ground, category=HARM if ground is Ground.LAST_RESORT else None, command_id=act.id)
    if act.name in ("clear_risk", "release_hold"):
        return getattr(chat, act.name)(*arguments.values(), by=OPERATOR, command_id=act.id)
    if act.name == "hold":
        return chat.hold(arguments["hold"], reason=HoldReason.OTHER, by=OPERATOR, command_id=act.id)
    return getattr(chat, act.name)(command_id=act.id, **arguments)


def lost(log: Iterable[RecordedEvent], told: Iterable[Answer]) -> list[str]:
    """Return the commands that were acknowledged and are not in the log as they were told, whole."""
    there: dict[str, list[list[Any]]] = defaultdict(list)
    for entry in log:
        if isinstance(entry, RecordedEvent):  # and not Unreadable
            there[entry.command_id].append([entry.branch, entry.version, entry.kind])
    return [one.id for one in told if one.what == "committed" and there[one.id] != one.events]


def check(url: str, told: Iterable[Answer], again: Iterable[Act] = ()) -> list[RecordedEvent]:
    """Hold the store at `url`, opened again, to everything that was acknowledged; return its log.

    Args:
        url: the store.
        told: what writers were told.
        again: commands that were sent and not answered: they are sent once more first, by the same ids.
    """
    chats = open_at(url, create=False)
    try:
        told = [*told, *(carry_out(chats, act) for act in again)]
        log = list(chats.store.log())
        assert lost(log, told) == [], "acknowledged, and not in the log"
        check_log(chats, log)
        check_words(chats, log, told)
        return log
    finally:
        chats.close()


def check_log(chats: Conversations, log: list[RecordedEvent]) -> None:
    """The audit is clean; versions have no gaps and commands one append each, as counted without the audit."""
    report = audit(log)
    assert report.findings == (), report.findings
    versions: dict[str, int] = {}
    commands: dict[str, int] = {}
    for number, entry in enumerate(log, start=1):
        begins = entry.event.at if isinstance(entry.event, BranchOpened) else 0
        assert entry.version == versions.get(entry.branch, begins) + 1, f"a gap before {entry.branch} {entry.version}"
        versions[entry.branch] = entry.version
        assert commands.get(entry.command_id, number - 1) == number - 1, f"command {entry.command_id} wrote twice"
        commands[entry.command_id] = number
    for branch, state in report.states.items():
        assert chats.state(branch) == state, f"the state of {branch} is not what the log adds up to"


def check_words(chats: Conversations, log: list[RecordedEvent], told: Iterable[Answer]) -> None:
    """What was acknowledged can be read, word for word, unless it was erased; then it is not kept."""
    erased = {digest for entry in log if isinstance(entry.event, ContentErased) for digest in entry.event.contents}
    said = {digest: words for one in told for digest, words in one.words.items()}
    places = defaultdict(list)
    for entry in log:
        if content_of(entry.event) in said:
            places[entry.branch].append(entry)
    kept = {digest: words for on_branch in places.values() for digest, words in chats.words(on_branch).items()}
    for digest, words in said.items():
        assert kept.get(digest) == (None if digest in erased else words), f"the words under {digest}"
    gone = [Place(entry.branch, entry.version) for entry in log if content_of(entry.event) in erased]
    assert not chats.store.contents(gone), "erased words are kept"
