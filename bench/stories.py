"""Logs to measure on: told through the service in memory, so that they are lawful, and then written in bulk."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from lastresort import Chat, Conversations, Event, Ground, RecordedEvent, Refused, Risk, Verdict, open_conversations
from lastresort.application.ports import Append, EventStore, NewEvent

from .contenders import MODEL, WORDS

_APPENDS = 1_000  # in one transaction
_NAMES = ("conversation", "parent", "child")  # the fields that name branches


class Overheard:
    """A store, and what was appended to it."""

    def __init__(self, store: EventStore) -> None:
        self.appends: list[Append] = []
        self._store = store

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        recorded = self._store.append(*appends)
        self.appends += appends
        return recorded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def tell_turns(conversations: Conversations, turns: int) -> str:
    """Write a conversation of that many turns, its words sealed by the vault of `conversations`; return its name."""
    told = open_conversations("memory:")
    told.service.ports.vault = conversations.service.ports.vault
    told.service.ports.store = overheard = Overheard(told.store)
    chat = told.start(model=MODEL)
    for number in range(turns):
        _done(chat.assistant_turn(WORDS) if number % 2 else chat.user_turn(WORDS))
    write(conversations.store, overheard.appends)
    return chat.branch


def write(store: EventStore, appends: Iterable[Append]) -> None:
    """Append in bulk."""
    rest = iter(appends)
    while chunk := list(islice(rest, _APPENDS)):
        store.append(*chunk)


# --- Many conversations -----------------------------------------------------------------------------------------------


def mixed() -> list[list[Append]]:
    """Return ten stories: seven go on, of which one is branched; two end on request, one as a last resort."""
    stories = []
    for story in (*[goes_on] * 6, _branches, *[_ends_on_request] * 2, _ends_as_last_resort):
        told = open_conversations("memory:")
        told.service.ports.store = overheard = Overheard(told.store)
        story(told.start(model=MODEL))
        stories.append(overheard.appends)
    return stories


def many(stories: Sequence[Sequence[Append]], conversations: int) -> Iterator[Append]:
    """Repeat stories by turns, each time under other names, until there are that many conversations. Without words."""
    for number in range(conversations):
        for append in stories[number % len(stories)]:
            command_id = f"{number}-{append.command_id}"
            placed = tuple(
                NewEvent(f"{number}-{one.branch}", one.version, _renamed(one.event, number)) for one in append.events
            )
            yield Append(f"{number}-{append.tree}", command_id, command_id, append.recorded_at, placed)


def _renamed(event: Event, number: int) -> Event:
    names = {name: f"{number}-{old}" for name in _NAMES if (old := getattr(event, name, None)) is not None}
    return event.model_copy(update=names) if names else event


def goes_on(chat: Chat) -> None:
    _done(chat.user_turn(WORDS), chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE), chat.assistant_turn(WORDS))


def _branches(chat: Chat) -> None:
    goes_on(chat)
    assert not isinstance(chat.edit(2, WORDS), Refused)


def _ends_on_request(chat: Chat) -> None:
    _done(chat.user_turn(WORDS), chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE), chat.request_end())
    _done(chat.assistant_turn(WORDS), chat.user_turn(WORDS), chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE))
    _done(chat.confirm_end(), chat.end(Ground.USER_REQUEST))


def _ends_as_last_resort(chat: Chat) -> None:
    for _ in range(3):
        _abused(chat)
        _done(chat.assistant_turn(WORDS), chat.redirect())
    _abused(chat)
    _done(chat.assistant_turn(WORDS), chat.warn("abuse"))
    _abused(chat)
    _done(chat.declare_hope_exhausted(), chat.assistant_turn(WORDS), chat.end(category="abuse"))


def _abused(chat: Chat) -> None:
    _done(chat.user_turn(WORDS), chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE))


def _done(*outcomes: object) -> None:
    for outcome in outcomes:
        assert not isinstance(outcome, Refused), str(outcome)
