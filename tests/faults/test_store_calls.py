"""Every command, with a fault at every call that it makes of the store: before it is carried out, and after.

State, log and answer agree, and the command that is sent again takes effect once.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import product
from typing import Any

import pytest

from lastresort import BranchEnded, Chat, Conversations, Ground, Refused, StoreError
from lastresort.application.outcomes import Receipt
from lastresort.domain.state import fold
from lastresort.domain.values import ErasureCause

from ..service_kit import ACTS, asked_and_confirmed, ended, in_turn, talk
from ..stores import MODEL, OPERATOR, store_of
from .acts import check_log, open_at
from .servers import ENGINES


def begun(chat: Chat, id: str) -> Chat:
    return chat.conversations.start(model=MODEL.id, conversation=f"begun-by-{id}", command_id=id)


def erased_whole(chat: Chat, id: str) -> None:
    chat.conversations.erase_conversation(chat.branch, by=OPERATOR, cause=ErasureCause.LEGAL, command_id=id)


MORE_ACTS = {
    "start": (lambda chat: None, begun),
    "edit": (lambda chat: talk(chat, "hello"), lambda chat, id: chat.edit(2, "hi", command_id=id)),
    "retry": (lambda chat: talk(chat, "hello", "hello"), lambda chat, id: chat.retry(3, command_id=id)),
    "refused attempt": (lambda chat: talk(chat, "hello"), lambda chat, id: chat.end(category="abuse", command_id=id)),
    "refused without a trace": (lambda chat: None, lambda chat, id: chat.assistant_turn("hello", command_id=id)),
    "user turn after the end": (ended, lambda chat, id: chat.user_turn("I want to kill myself", command_id=id)),
    "stale ending": (
        in_turn(asked_and_confirmed, lambda chat: chat.conversations.chat(chat.branch).user_turn("wait")),
        lambda chat, id: chat.end(Ground.USER_REQUEST, command_id=id),
    ),
    "risk across a tree": (
        in_turn(lambda chat: talk(chat, "hello"), lambda chat: chat.edit(2, "hi")),
        lambda chat, id: chat.raise_risk(command_id=id),
    ),
    "erasure across a tree": (
        in_turn(lambda chat: talk(chat, "oops", "hm", "well"), lambda chat: chat.edit(4, "hi")),
        lambda chat, id: chat.erase(2, command_id=id),
    ),
    "erasure of a conversation": (lambda chat: talk(chat, "oops", "hm"), erased_whole),
}


CALLS = {"append", "read", "recorded_by", "tree_of", "heads", "contents", "page", "barrier"}


class Faulty:
    """A store, one call of which fails once it is armed."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.calls: list[str] = []
        self.fails: int | None = None  # the number of the call, from 0
        self.after = False  # whether it has been carried out by then

    def arm(self, fails: int | None, *, after: bool = False) -> None:
        self.calls, self.fails, self.after = [], fails, after

    def __getattr__(self, name: str) -> Any:
        wanted = getattr(self._store, name)
        return self._watched(name, wanted) if name in CALLS else wanted

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            fails = len(self.calls) - 1 == self.fails
            if fails and not self.after:
                raise StoreError("a fault before the call")
            answer = call(*arguments, **named)
            if fails:
                raise StoreError("a fault after the call")
            return answer

        return watched


@pytest.fixture(params=["memory", *ENGINES], scope="module")
def chats(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversations]:
    url = "memory:"
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('store')}/log.db"
    elif request.param == "postgresql":
        url = request.getfixturevalue("server").create_database()
    with closing(open_at(url)) as conversations:
        faulty: Any = Faulty(conversations.store)
        conversations.service.ports.store = faulty
        yield conversations


@pytest.mark.parametrize("name", [*ACTS, *MORE_ACTS])
def test_a_fault_at_every_call(chats: Conversations, name: str) -> None:
    """Whatever the caller was told is so; told nothing, they send it again, and it takes effect once."""
    before, act = (ACTS | MORE_ACTS)[name]
    store = store_of(chats)
    case = f"{name.replace(' ', '-')}-without"
    chat = prepared(chats, case, before)
    act(chat, case)
    made = len(store.calls)
    store.arm(None)
    expected = written(chats, chat, case)
    assert made, "it asked nothing of the store"
    for call, after in product(range(made), (False, True)):
        case = f"{name.replace(' ', '-')}-{call}-{after}"
        chat = prepared(chats, case, before)
        store.arm(call, after=after)
        outcome = None
        with suppress(StoreError):
            outcome = act(chat, case)
        assert len(store.calls) > call, "no fault"
        store.arm(None)
        agree(chats, chat, outcome, case)
        for _ in range(2):
            act(chat, case)
            assert written(chats, chat, case) == expected
    check_log(chats, list(chats.store.log()))


def prepared(chats: Conversations, case: str, before: Callable[[Chat], object]) -> Chat:
    chat = chats.start(model=MODEL.id, account="account", conversation=f"in-{case}")
    before(chat)
    store_of(chats).arm(None)
    return chat


def written(chats: Conversations, chat: Chat, case: str) -> tuple[list[str], int]:
    """Return the kinds of events that a command wrote, and how many there are in the conversation with its own."""
    wrote = [one.kind for one in chats.store.recorded_by(chat.branch, case)]
    return wrote, len(chats.tree_log(chat.branch))


def agree(chats: Conversations, chat: Chat, outcome: object, case: str) -> None:
    """The answer is in the log, if there was one; the state that is kept is the log's."""
    recorded = [one._replace(position=0) for one in chats.store.recorded_by(chat.branch, case)]
    if isinstance(outcome, Receipt):
        assert [one._replace(position=0) for one in outcome.events] == recorded
    elif isinstance(outcome, Chat):
        assert outcome.branch in {one.branch for one in recorded}
    elif isinstance(outcome, Refused):
        assert [one.kind for one in recorded] in ([], ["AttemptRefused"])
    elif isinstance(outcome, BranchEnded):
        assert recorded == []
    for branch in chats.tree(chat.branch):
        assert chats.service.reading.state(branch, fresh=False) == fold(chats.path(branch)) == chats.state(branch)
