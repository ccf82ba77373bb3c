"""Everything of an account, for the person behind it, as a page to read: what was said, and the law between the lines.

It comes in pieces, a conversation at a time, so that a long one is never in memory twice, and needs no extra.
"""

import html
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lastresort.application.accounts import ExportedBranch, ExportedConversation, ExportedEvent
from lastresort.domain.events import EVENTS, AssistantTurnTaken, Event, UserTurnTaken
from lastresort.domain.turn_text import Piece, leaves
from lastresort.projections.transcript import describe

from .page_style import HEAD, LINES, MARKS, PALETTE
from .text import readable_text

_STYLE = """h1 { font-size: 2rem; line-height: 1.2; font-weight: 650; margin: 2.4rem 0 .8rem; overflow-wrap: anywhere; }
h2 { font-size: 1.4rem; line-height: 1.25; font-weight: 650; margin: 3rem 0 .8rem; overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; font-weight: 650; margin: 2rem 0 .3rem; overflow-wrap: anywhere; }
.note { color: var(--muted); font-size: .9rem; max-width: 44rem; overflow-wrap: anywhere; }
.kind { color: var(--muted); font-size: .82rem; }
.piece { margin: .3rem 0; } .aside { border-left: 2px solid var(--line); padding-left: .7rem; font-size: .92rem; }
.aside p { white-space: pre-wrap; overflow-wrap: anywhere; margin: .1rem 0; max-width: 46rem; }
ul.rest { list-style: none; margin: .1rem 0; padding: 0; color: var(--muted); font-size: .88rem; }
ul.rest li { white-space: pre-wrap; overflow-wrap: anywhere; } ul.rest span { color: var(--ink); }
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --muted: #444; --line: #bbb; --wash: #f2f2f2; color-scheme: light; }
  .skip { display: none; } .wide { max-width: none; padding: 0; } h2, h3 { break-after: avoid; }
}
"""
_KINDS = {
    "thinking": "thinks", "tool_use": "calls a tool", "server_tool_use": "calls a tool", "tool_result": "returns",
    "document": "a document", "image": "a picture", "message": "about the message", "beside": "also in the file",
    "about": "about the conversation",
    "id": "id elsewhere", "ids": "ids elsewhere", "conversation": "conversation elsewhere", "setup": "prompt and tools",
}  # fmt: skip
"""What is said of a piece that is no text."""
_FOLDED = frozenset({"setup"})
"""What is long, and begins folded."""


def account_page(account: str, exported: Iterable[ExportedConversation], *, person: str | None = None) -> Iterator[str]:
    """Yield a page of HTML in pieces. It loads nothing, and what was said in it is text, whatever it looks like."""
    yield from _begun(f"Conversations of {account}")
    if person is not None:
        yield f"<p>The account stands for {_escaped(person)}.</p>\n"
    for one in exported:
        yield from _told_of(one)
    yield _END


def conversation_page(exported: ExportedConversation) -> Iterator[str]:
    """Yield the page of one conversation, as `account_page` does."""
    yield from _begun(f"Conversation {exported.row.conversation}")
    yield from _told_of(exported)
    yield _END


_END = "</main>\n</div>\n</body>\n</html>\n"


def _begun(title: str) -> Iterator[str]:
    yield f'<!doctype html>\n<html lang="en">\n<head>\n{HEAD}<title>{_escaped(title)}</title>\n'
    yield f"<style>\n{PALETTE}{LINES}{_STYLE}</style>\n</head>\n<body>\n"
    yield '<a class="skip" href="#content">To the content</a>\n<div class="wide">\n'
    yield f'<h1>{_escaped(title)}</h1>\n<main id="content">\n'


def _told_of(one: ExportedConversation) -> Iterator[str]:
    row = one.row
    yield f"<section>\n<h2>{_escaped(one.metadata.title or row.conversation)}</h2>\n"
    tags = f" Tags: {_escaped(', '.join(one.metadata.tags))}." if one.metadata.tags else ""
    begun = f"with {_escaped(row.model)}, from {_time(row.started)}"
    yield f'<p class="note">{_escaped(row.conversation)}, {begun}: {row.status}.{tags}</p>\n'
    if one.system is not None:
        yield _piece(Piece("system", "prompt", "system", one.system), "user")
    for branch in one.branches:
        yield from _branch(branch)
    yield "</section>\n"


def _branch(branch: ExportedBranch) -> Iterator[str]:
    if branch.parent is not None:
        yield f"<h3>A branch, after {branch.forked_at} of {_escaped(branch.parent)}</h3>\n"
    yield '<ol class="lines">\n'
    yield from map(_told, branch.events)
    yield "</ol>\n"


def _told(exported: ExportedEvent) -> str:
    event: Event = EVENTS[exported.kind].model_validate(exported.event)
    about = f"<span>{exported.version}</span>"
    when = f'<time datetime="{_escaped(exported.at)}">{_time(exported.at)}</time>'
    if isinstance(event, UserTurnTaken | AssistantTurnTaken):
        speaker = "user" if isinstance(event, UserTurnTaken) else "assistant"
        reason = getattr(event, "stop_reason", None)
        by = f"<span>{_escaped(event.by.id)}</span>"
        stopped = f"<span>{_escaped(reason)}</span>" if reason else ""
        head = f'<span class="who">{about}<span>{speaker}</span>{by}{when}{stopped}</span>'
        return f'<li class="said {speaker}">{head}{_said(exported, speaker)}</li>\n'
    by, sentence = f"by {event.by.kind} {event.by.id}", describe(event)
    judged = "" if sentence.endswith(by) else f"<span>{_escaped(by)}</span>"
    told = f'<span class="who">{about}{when}{judged}</span><b>{_escaped(sentence)}</b>'
    said = _said(exported, "user") if "content" in exported.event else ""
    return f'<li class="law {MARKS.get(exported.kind, "")}">{told}{said}</li>\n'


def _said(exported: ExportedEvent, speaker: str) -> str:
    said = "".join(_piece(piece, speaker) for piece in exported.pieces)
    kept = any(not piece.place.startswith("overtook") for piece in exported.pieces)
    if kept or exported.event.get("content") is None:
        return said
    return f'{said}<p class="gone">[{"erased" if exported.erased is not None else "not kept in this store"}]</p>'


def _piece(piece: Piece, speaker: str) -> str:
    """Return a piece as HTML: what the speaker of its turn says as it is, and else with a word on what it is."""
    if piece.by is None and piece.kind not in _FOLDED:
        return _rest({_label(piece): piece.text or piece.rest})
    plain = piece.by == speaker and piece.kind == "text" and piece.read and not piece.place.startswith("overtook")
    label = "" if plain else f'<span class="kind">{_escaped(_label(piece))}</span>'
    text = f'<p dir="auto">{_escaped(piece.text)}</p>' if piece.text else ""
    rest = _rest(piece.rest)
    if piece.kind in _FOLDED and piece.by is None:
        return f'<details class="piece aside"><summary>{_escaped(_label(piece))}</summary>{text}{rest}</details>\n'
    return f'<div class="piece{"" if plain else " aside"}">{label}{text}{rest}</div>\n'


def _rest(data: Mapping[str, Any]) -> str:
    lines = (f'<li dir="auto">{_escaped(name)}: <span>{_escaped(value)}</span></li>' for name, value in leaves(data))
    told = "".join(lines)
    return f'<ul class="rest">{told}</ul>\n' if told else ""


def _label(piece: Piece) -> str:
    kind = _KINDS.get(piece.kind, "" if piece.kind == "text" else piece.kind.replace("_", " "))
    overtaken = "shown before this turn" if piece.place.startswith("overtook") else ""
    unread = "" if piece.read else "not shown to the user"
    return ", ".join(filter(None, (piece.by, kind, overtaken, unread)))


def _escaped(text: str) -> str:
    return html.escape(readable_text(text))


def _time(at: str) -> str:
    return _escaped(f"{at[:10]} {at[11:19]} UTC")
