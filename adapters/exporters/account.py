"""Everything of an account, for the person behind it: as JSON for programs, and as a page to read.

Both come in pieces, a conversation at a time, so that a long one is never in memory twice.
"""

import html
from collections.abc import Iterable, Iterator
from typing import Any

from lastresort.application.accounts import ExportedBranch, ExportedConversation, ExportedEvent

from .text import json_of, readable_text

FORMAT = {"format": "lastresort-account", "version": 1}
ONE = {"format": "lastresort-conversation", "version": 1}
_SPEAKERS = {"UserTurnTaken": "user", "AssistantTurnTaken": "assistant", "FeedbackGiven": "user", "AppealFiled": "user"}
_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 sans-serif; max-width: 45rem; margin: 2rem auto; padding: 0 1rem }}
dt {{ color: #555; margin-top: 1rem }} dd {{ margin: 0; white-space: pre-wrap }} .law {{ color: #777 }}
</style>
<h1>{title}</h1>
"""


def account_json(account: str, exported: Iterable[ExportedConversation]) -> Iterator[str]:
    """Yield a JSON object in pieces: `format`, `version`, `account`, `conversations`."""
    yield f"{json_of(FORMAT | {'account': account})[:-1]}, " + '"conversations": ['
    for number, one in enumerate(exported):
        yield (",\n" if number else "\n") + json_of(_conversation(one))
    yield "\n]}\n"


def conversation_json(exported: ExportedConversation) -> Iterator[str]:
    """Yield a JSON object: `format`, `version`, `conversation`."""
    yield json_of(ONE | {"conversation": _conversation(exported)}) + "\n"


def _conversation(one: ExportedConversation) -> dict[str, Any]:
    return one.row._asdict() | one.metadata._asdict() | {"branches": [_branch(branch) for branch in one.branches]}


def _branch(branch: ExportedBranch) -> dict[str, Any]:
    return branch._asdict() | {"events": [event._asdict() for event in branch.events]}


def account_page(account: str, exported: Iterable[ExportedConversation]) -> Iterator[str]:
    """Yield a page of HTML in pieces. It loads nothing, and what was said in it is text, whatever it looks like."""
    yield _HEAD.format(title=_escaped(f"Conversations of {account}"))
    for one in exported:
        yield from _told_of(one)


def conversation_page(exported: ExportedConversation) -> Iterator[str]:
    """Yield the page of one conversation, as `account_page` does."""
    yield _HEAD.format(title=_escaped(f"Conversation {exported.row.conversation}"))
    yield from _told_of(exported)


def _told_of(one: ExportedConversation) -> Iterator[str]:
    row = one.row
    yield f"<h2>{_escaped(one.metadata.title or row.conversation)}</h2>\n"
    tags = f" Tags: {_escaped(', '.join(one.metadata.tags))}." if one.metadata.tags else ""
    begun = f"with {_escaped(row.model)}, from {_time(row.started)}"
    yield f"<p>{_escaped(row.conversation)}, {begun}: {row.status}.{tags}</p>\n"
    for branch in one.branches:
        if branch.parent is not None:
            yield f"<h3>A branch, after {branch.forked_at} of {_escaped(branch.parent)}</h3>\n"
        yield "<dl>\n" + "".join(map(_told, branch.events)) + "</dl>\n"


def _told(event: ExportedEvent) -> str:
    speaker = _SPEAKERS.get(event.kind)
    about = f"{event.version}, {_time(event.at)}"
    if speaker is None or (event.text is None and event.event.get("content") is None):
        return f'<dt class="law">{about}: {_escaped(event.kind)}</dt>\n'
    gone = "erased" if event.erased is not None else "not kept in this store"
    said = _escaped(event.text) if event.text is not None else f"<em>{gone}</em>"
    shown = "".join(f"<dt>assistant, before that</dt>\n<dd>{_escaped(text)}</dd>\n" for text in event.overtook)
    return f"{shown}<dt>{about}, {speaker}</dt>\n<dd>{said}</dd>\n"


def _escaped(text: str) -> str:
    return html.escape(readable_text(text))


def _time(at: str) -> str:
    return _escaped(f"{at[:10]} {at[11:19]} UTC")
