"""What runs in the processes that race each other."""

import time
from collections.abc import Callable
from typing import Any

from lastresort import Chat, Conversations, ErasureCause, Ground, HoldReason, Refused
from lastresort.application.conversations import RETENTION
from lastresort.application.erasing import _outcomes
from lastresort.application.outcomes import Receipt

from .acts import OPERATOR, open_at
from .zygote import Link


def race(link: Link, url: str) -> None:
    """Take part in race after race: get ready with what is seen by then, act at the word, say what came of it.

    A race is [branch, one of `ROLES`, command id, seconds that are given to the others].
    """
    chats = open_at(url)
    while (race := link.hear()) is not None:
        conversation, role, command_id, ahead = race
        chat = chats.chat(conversation)
        link.say("ready")
        link.hear()
        until = time.monotonic() + ahead
        while time.monotonic() < until:
            pass
        link.say(_outcome(chat, role, command_id))
    chats.close()


ROLES: dict[str, Callable[[Chat, str], object]] = {
    "user": lambda chat, id: chat.user_turn("wait", command_id=id),
    "end": lambda chat, id: chat.end(Ground.USER_REQUEST, command_id=id),
    "hold": lambda chat, id: chat.hold("case", reason=HoldReason.LITIGATION, by=OPERATOR, command_id=id),
    "erase a turn": lambda chat, id: chat.erase(2, by=OPERATOR, command_id=id),
    "erase all": lambda chat, id: chat.conversations.erase_conversation(
        chat.branch, by=OPERATOR, cause=ErasureCause.RETENTION, command_id=id
    ),
    "retain": lambda chat, id: _retained(chat),
}


def _retained(chat: Chat) -> object:
    """Erase a conversation as retention does, which erases what is due together and the rest one by one."""
    tree = chat.state.conversation
    ((_, outcome),) = _outcomes(chat.conversations.service, [tree], "9999", RETENTION, dry_run=False)
    return outcome


def _outcome(chat: Chat, role: str, command_id: str) -> list[Any]:
    outcome = ROLES[role](chat, command_id)
    if outcome is True:
        return ["committed", 0]
    if isinstance(outcome, Receipt):
        return ["committed", outcome.version]
    return ["refused", *outcome.rules] if isinstance(outcome, Refused) else ["ended"]


def race_for_an_account(link: Link, url: str) -> None:
    """Take part in race after race about an account: each is [account, one of `ABOUT_ACCOUNTS`, a new id, seconds].

    Say what came of it, and whether it is known, once that is done, whom the account stands for.
    """
    chats = open_at(url)
    while (race := link.hear()) is not None:
        account, role, id, ahead = race
        link.say("ready")
        link.hear()
        until = time.monotonic() + ahead
        while time.monotonic() < until:
            pass
        done = ABOUT_ACCOUNTS[role](chats, account, id)
        link.say([done, chats.person_of(account) is not None])
    chats.close()


def _start(chats: Conversations, account: str, id: str) -> int:
    return int(isinstance(chats.start(model="m", account=account, conversation=id).user_turn("I am back."), Receipt))


def _start_held(chats: Conversations, account: str, id: str) -> int:
    return _start(chats, account, id) * _hold(chats, account, id)


def _hold(chats: Conversations, account: str, id: str) -> int:
    return len(chats.hold_account(account, "case", reason=HoldReason.LITIGATION, by=OPERATOR, command_id=id).changed)


def _forget(chats: Conversations, account: str, id: str) -> bool:
    cause = ErasureCause.USER_REQUEST
    return chats.erase_account(account, by=OPERATOR, cause=cause, forget=True, command_id=id).forgotten


ABOUT_ACCOUNTS: dict[str, Callable[[Conversations, str, str], int]] = {
    "hold": _hold,
    "start": _start,
    "start held": _start_held,
    "forget": _forget,
}


def start_at_once(link: Link, url: str, name: str) -> None:
    """Open a store that nobody has opened before, at the word, and say something in it."""
    link.say("ready")
    link.hear()
    chats = open_at(url)
    outcome = chats.start(model="m", conversation=name).user_turn("hello")
    assert isinstance(outcome, Receipt)
    link.say(outcome.version)
    chats.close()
