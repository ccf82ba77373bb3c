"""What the tests of imported chats share: files to write, and what is to be read of a store afterwards."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lastresort import Conversations
from lastresort.adapters.importers.chat_import import FileReport, import_chats
from lastresort.domain.events import AssistantTurnTaken, UserTurnTaken, content_of
from lastresort.domain.turn_text import readable
from lastresort.projections import audit

Said = tuple[tuple[str, str], ...]


def write_json(path: Path, value: Any, indent: int | None = 1) -> Path:
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    return path


def write_lines(path: Path, *values: Any) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def paths_of(chats: Conversations) -> set[Said]:
    """Who said what on the path of each branch of a store."""
    branches = [one.branch for one in chats.store.log() if one.kind in ("ConversationStarted", "BranchOpened")]
    return {said_on(chats, branch) for branch in branches}


def said_on(chats: Conversations, branch: str) -> Said:
    """Who said what on the path of a branch, as people read it."""
    path = chats.path(branch)
    words = chats.words(path)
    return tuple(
        (one.event.by.kind.value, readable(one, words[content_of(one.event) or ""]))
        for one in path
        if isinstance(one.event, UserTurnTaken | AssistantTurnTaken)
    )


def kept_on(chats: Conversations, branch: str) -> list[dict[str, Any]]:
    """What is kept of each turn of a branch."""
    path = chats.path(branch)
    words = chats.words(path)
    turns = [one.event for one in path if isinstance(one.event, UserTurnTaken | AssistantTurnTaken)]
    return [json.loads(words[turn.content]) for turn in turns]


def bring(chats: Conversations, *paths: Path, **options: Any) -> list[FileReport]:
    """Import files, look at the law, and import them again: nothing may come of that."""
    reports = import_chats(paths, chats, **options)
    report = audit(chats.store.log())
    assert report.findings == ()
    head = chats.store.head()
    again = import_chats(paths, chats, **options)
    assert chats.store.head() == head
    assert all(one.brought.changed == 0 for one in again)
    found = [one.brought.user_turns + one.brought.answers + one.brought.turns_there for one in reports]
    assert [one.brought.turns_there for one in again] == found
    return reports


def only(reports: Sequence[FileReport]) -> FileReport:
    (report,) = reports
    return report


def kinds_in(chats: Conversations) -> list[str]:
    return [one.kind for one in chats.store.log()]
