"""Acts drawn by chance, what came of them, and the oracle: what was acknowledged is in the log, once, and readable.

An act is JSON: it is said before it is carried out, so that a caller who was not answered can send it again.
"""

from collections import defaultdict
from collections.abc import Iterable
from random import Random
from typing import Any, NamedTuple

from lastresort import (
    Actor,
    ActorKind,
    Chat,
    Conversations,
    Ground,
    RecordedEvent,
    Refused,
    Risk,
    Verdict,
    open_conversations,
)
from lastresort.application.outcomes import Contention, Receipt
from lastresort.application.ports import Place
from lastresort.domain.events import BranchOpened, ContentErased, content_of
from lastresort.projections import audit

MODEL = "claude-opus-4-1"
OPERATOR = Actor(kind=ActorKind.OPERATOR, id="operator")
_WEIGHTS = {
    "user_turn": 6,
    "assistant_turn": 6,
    "judge": 4,
    "leave": 1,
    "feedback": 1,
    "raise_risk": 0.5,
    "clear_risk": 0.5,
    "edit": 1,
    "retry": 0.5,
    "request_end": 0.5,
    "confirm_end": 0.5,
    "end": 0.5,
    "erase": 1,
    "start": 1,
}

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


def draw(random: Random, state: Any, branch: str, command_id: str) -> Act:
    """Draw an act for a branch in `state`. Many are lawful, some are refused."""
    name = random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    arguments: dict[str, Any] = {}
    if name in ("user_turn", "assistant_turn", "feedback", "edit"):
        arguments["words"] = f"words of {command_id}" + " and more" * random.choice([0, 1, 10, 200])
    if name in ("edit", "retry", "erase"):
        arguments["turn"] = random.randint(2, max(2, state.version))
    if name == "judge":
        arguments |= {"verdict": "productive", "risk": random.choice(["none", "none", "none", "imminent"])}
    if name == "clear_risk":
        arguments["risk"] = next((risk.risk for risk in state.risks), "no-risk")
    if name == "end":
        arguments["ground"] = "user_request"
    if name == "start":
        arguments["conversation"] = f"started-by-{command_id}"
    return Act(command_id, branch, name, arguments)


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
    words = {
        digest: act.arguments["words"] for e in events if "words" in act.arguments and (digest := content_of(e.event))
    }
    return Answer(act.id, "committed", [[e.branch, e.version, e.kind] for e in events], words)


def _asked(chats: Conversations, act: Act) -> object:
    arguments = act.arguments
    if act.name == "start":
        return chats.start(model=MODEL, command_id=act.id, **arguments)
    chat = chats.chat(act.branch)
    if act.name == "judge":
        return chat.judge(Verdict(arguments["verdict"]), risk=Risk(arguments["risk"]), command_id=act.id)
    if act.name == "end":
        return chat.end(Ground(arguments["ground"]), command_id=act.id)
    if act.name == "clear_risk":
        return chat.clear_risk(arguments["risk"], by=OPERATOR, command_id=act.id)
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
