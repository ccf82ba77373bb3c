"""What the tests of imported chats share: files to write, and what is to be read of a store afterwards."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lastresort import Conversations
from lastresort.adapters.importers.chat_import import FileReport, import_chats
from lastresort.domain.events import AssistantTurnTaken, FeedbackGiven, UserTurnTaken, content_of
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


def root(chats: Conversations) -> str:
    return chats.list(limit=1, order="oldest").rows[0].conversation


def feedback(chats: Conversations) -> list[tuple[str | None, str | None]]:
    """What the user thought of answers, each event about the turn before it."""
    found = [one for one in chats.store.log() if isinstance(one.event, FeedbackGiven)]
    words = chats.words(found)
    given = [one.event for one in found if isinstance(one.event, FeedbackGiven)]
    assert [one.turn for one in given] == [one.version - 1 for one in found]
    return [(one.rating, words.get(one.content or "")) for one in given]


def answers(chats: Conversations) -> list[AssistantTurnTaken]:
    return [one.event for one in chats.store.log() if isinstance(one.event, AssistantTurnTaken)]


def response(id: str, prompt: str, answer: str, minute: int, **more: Any) -> dict[str, Any]:
    said = {"id": id, "conversation_id": "c", "model": "m-a", "prompt": prompt, "response": answer}
    return {
        **said,
        "datetime_utc": f"2026-03-01T10:{minute:02}:00+00:00",
        "input_tokens": 9,
        "output_tokens": 2,
        **more,
    }


def asked(id: str, text: str, **more: Any) -> dict[str, Any]:
    params = {"model": "m", "system": "Be brief.", "messages": [{"role": "user", "content": text}], **more}
    return {"custom_id": id, "params": params}
