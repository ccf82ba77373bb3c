"""Logs to measure on: told through the service in memory, so that they are lawful, and then written in bulk."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

from lastresort.adapters import open_conversations
from lastresort.domain import Chat, Conversations, Event, Ground, Recorded, Refused, Risk, Verdict
from lastresort.domain.events import content_of
from lastresort.domain.ports import Append, EventStore, Placed, Sealed

from .contenders import MODEL, WORDS

_APPENDS = 1_000  # in one transaction
_NAMES = ("conversation", "parent", "child", "branch")  # the fields that name branches


def tell_turns(conversations: Conversations, turns: int) -> str:
    """Write a conversation of that many turns, its words sealed by the vault of `conversations`; return its name."""
    told = open_conversations("memory:")
    told.vault = conversations.vault
    chat = told.start(model=MODEL)
    for number in range(turns):
        _done(chat.assistant_turn(WORDS) if number % 2 else chat.user_turn(WORDS))
    write(conversations.store, appends(told.store.log(), told.store))
    return chat.branch


def write(store: EventStore, them: Iterable[Append]) -> None:
    """Append in bulk."""
    rest = iter(them)
    while chunk := list(islice(rest, _APPENDS)):
        store.append(*chunk)


def appends(log: Iterable[Recorded], words: EventStore | None = None) -> Iterator[Append]:
    """Return what was appended to make a log, with the words that a store keeps of it."""
    for command_id, group in groupby(log, lambda recorded: recorded.command_id):
        them = list(group)
        digests = [digest for one in them if (digest := content_of(one.event))]
        kept = words.contents(digests) if words else {}
        yield Append(
            command_id=command_id,
            correlation_id=them[0].correlation_id,
            recorded_at=them[0].recorded_at,
            events=tuple(Placed(one.branch, one.version, one.event) for one in them),
            contents=tuple(Sealed(digest, data) for digest, data in kept.items()),
        )


# --- Many conversations -----------------------------------------------------------------------------------------------


def mixed() -> list[list[Recorded]]:
    """Return ten stories: seven go on, of which one is branched; two ended on request, one as a last resort."""
    stories = []
    for story in (*[_goes_on] * 6, _branches, *[_ends_on_request] * 2, _ends_as_last_resort):
        with_words = open_conversations("memory:")
        story(with_words.start(model=MODEL))
        stories.append(list(with_words.store.log()))
    return stories


def many(stories: Sequence[Sequence[Recorded]], conversations: int) -> Iterator[Recorded]:
    """Repeat stories by turns, each time under other names, until there are that many conversations."""
    for number in range(conversations):
        for recorded in stories[number % len(stories)]:
            yield recorded._replace(
                branch=f"{number}-{recorded.branch}",
                command_id=f"{number}-{recorded.command_id}",
                correlation_id=f"{number}-{recorded.correlation_id}",
                event=_renamed(recorded.event, number),
            )


def _renamed(event: Event, number: int) -> Event:
    names = {name: f"{number}-{old}" for name in _NAMES if (old := getattr(event, name, None)) is not None}
    return event.model_copy(update=names) if names else event


def _goes_on(chat: Chat) -> None:
    _done(chat.user_turn(WORDS), chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE), chat.assistant_turn(WORDS))


def _branches(chat: Chat) -> None:
    _goes_on(chat)
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
