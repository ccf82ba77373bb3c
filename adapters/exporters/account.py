"""Everything of an account, for the person behind it, as JSON for programs.

It comes in pieces, a conversation at a time, so that a long one is never in memory twice.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from lastresort.application.accounts import ExportedBranch, ExportedConversation, ExportedEvent

from .text import json_of

FORMAT = {"format": "lastresort-account", "version": 1}
ONE = {"format": "lastresort-conversation", "version": 1}


def account_json(account: str, exported: Iterable[ExportedConversation], *, person: str | None = None) -> Iterator[str]:
    """Yield a JSON object in pieces: `format`, `version`, `account`, `person`, `conversations`.

    Args:
        account: whose.
        exported: their conversations.
        person: whom the account stands for, if that is known.
    """
    yield f"{json_of(FORMAT | {'account': account, 'person': person})[:-1]}, " + '"conversations": ['
    for number, one in enumerate(exported):
        yield (",\n" if number else "\n") + json_of(_conversation(one))
    yield "\n]}\n"


def conversation_json(exported: ExportedConversation) -> Iterator[str]:
    """Yield a JSON object: `format`, `version`, `conversation`."""
    yield json_of(ONE | {"conversation": _conversation(exported)}) + "\n"


def _conversation(one: ExportedConversation) -> dict[str, Any]:
    branches = [_branch(branch) for branch in one.branches]
    return one.row._asdict() | one.metadata._asdict() | {"system": one.system, "branches": branches}


def _branch(branch: ExportedBranch) -> dict[str, Any]:
    return branch._asdict() | {"events": [_event(event) for event in branch.events]}


def _event(event: ExportedEvent) -> dict[str, Any]:
    return event._asdict() | {"pieces": [piece._asdict() for piece in event.pieces]}
