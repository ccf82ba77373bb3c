"""What-if: logs in memory replayed under another policy, in events a second of processor time.

As `lastresort what-if` replays them, which keeps the garbage collector away meanwhile.
"""

from collections.abc import Callable, Iterable
from time import process_time

from lastresort import Chat, Policy, RecordedEvent, Refused, Risk, Verdict, open_conversations
from lastresort.adapters.upkeep.audited import without_collector
from lastresort.application.ports import Append
from lastresort.projections.what_if import what_if

from .contenders import MODEL, WORDS
from .diverse import diverse
from .measure import Contender, Round, Work, at_least, one_core, value
from .stories import Overheard, goes_on, many, write

_WAS = Policy.default()
_OTHERS: dict[str, tuple[Policy, int | None]] = {
    "the same policy": (_WAS, None),
    "one threshold": (Policy(name="other", min_failed_redirections=4), None),
    "categories and gravity": (Policy(name="other", categories=("abuse", "fraud"), min_severity=3), None),
    "edition 1": (_WAS, 1),
}


def work(events: int) -> Work:
    """Measure on logs of about `events` events: as a product has them, of harmless conversations, of abusive ones."""
    logs = {
        "1 in 100 abusive": _log(many([*[_told(_harmless)] * 99, _told(_attempting)], events // 25)),
        "harmless": _log(many([_told(_harmless)], events // 25)),
        "abusive": _log(many([_told(_abusive)], events // 28)),
        "abusive, attempts in each turn": _log(many([_told(_attempting)], events // 32)),
        "everything": _log(diverse(events)),
    }
    contenders: list[Contender] = []
    names: list[str] = []
    for kind, log in logs.items():
        for other, (policy, edition) in _OTHERS.items():
            name = f"{kind}; {other}"
            names.append(name)
            contenders.append(_rate(name, log, policy, edition))
    return Work(
        "what-if",
        f"logs of about {events:,} events supposed under another policy",
        contenders,
        [value(name, "events/s", at_least(200_000)) for name in names],
    )


def _rate(name: str, log: list[RecordedEvent], policy: Policy, edition: int | None) -> Contender:
    def run() -> Round:
        with one_core(), without_collector():
            start = process_time()
            found = what_if(log, policy, edition=edition)
            seconds = process_time() - start
        assert found.events == len(log)
        return {name: len(log) / seconds}

    return run


def _log(appends: Iterable[Append]) -> list[RecordedEvent]:
    with open_conversations("memory:") as chats:
        write(chats.store, appends)
        return list(chats.store.log())


def _told(story: Callable[[Chat], object]) -> list[Append]:
    with open_conversations("memory:") as told:
        told.service.ports.store = overheard = Overheard(told.store)
        story(told.start(model=MODEL, policy=_WAS))
        return overheard.appends


def _abusive(chat: Chat, attempts: bool = False) -> None:
    """Abuse that goes on, up to the ending; with `attempts`, the model tries to end in each turn."""
    for number in range(6):
        _done(chat.user_turn(WORDS))
        _done(chat.judge(Verdict.HARMFUL, category="abuse", severity=3, risk=Risk.NONE))
        if attempts:
            assert isinstance(chat.end(category="abuse"), Refused)
        _done(chat.assistant_turn(WORDS), chat.redirect() if number != 4 else chat.warn("abuse"))
    _done(chat.user_turn(WORDS), chat.judge(Verdict.HARMFUL, category="abuse", severity=3, risk=Risk.NONE))
    _done(chat.declare_hope_exhausted(), chat.end(category="abuse"))


def _harmless(chat: Chat) -> None:
    for _ in range(8):
        goes_on(chat)


def _attempting(chat: Chat) -> None:
    _abusive(chat, attempts=True)


def _done(*outcomes: object) -> None:
    for outcome in outcomes:
        assert not isinstance(outcome, Refused), str(outcome)
