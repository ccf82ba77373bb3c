"""What was asked and answered: which conversation a request goes on with, what it cost, and whether the promises hold.

A conversation is known by its words alone, as by a prompt cache: a request belongs to the one whose messages and answer
it begins with. `metadata.user_id` keeps apart conversations that would begin with the same words.

Two promises of this project are checked of each request: system prompt and tools never change within a conversation,
and whatever the model said comes back as it was said, after all that came before it then. In other words, but for the
turns at its end that are new, a request is what was sent before: each branch has its parent's prefix. Marks for the
prompt cache and fields that are null are no part of that; the order of keys is, inside the input of a tool.
"""

import json
from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from typing import Any, NamedTuple

from .answers import Answer, Block


class Report(NamedTuple):
    """A promise that a request did not keep: `prefix`, `system` or `tools`; or `script`, which had no lawful answer."""

    kind: str
    request: int
    """The number of the call, from 1."""
    conversation: int | None
    detail: str


@dataclass
class Conversation:
    """What one conversation has cost. Tokens are an estimate: bytes of UTF-8 by four, rounded up."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass
class _Prefix:
    """Messages that were sent or answered, from the first to some last one."""

    conversation: int
    heads: set[tuple[str, str]] = field(default_factory=set)


class Place(NamedTuple):
    """Where a request stands."""

    conversation: int
    seed: str
    input_tokens: int
    cached_tokens: int
    reports: list[Report]


class Ledger:
    """The memory of the loopback; safe to share between threads."""

    def __init__(self) -> None:
        self.conversations: list[Conversation] = []
        self.reports: list[Report] = []
        self.requests: deque[dict[str, Any]] = deque(maxlen=1000)
        self.calls = 0
        self._prefixes: dict[str, _Prefix] = {}
        self._asked: dict[str, int] = {}
        self._signed: set[str] = set()
        self._paused: set[str] = set()
        self._lock = Lock()

    # --- before the answer --------------------------------------------------------------------------------------

    def enter(self, body: dict[str, Any]) -> Place:
        """Count a request, find its conversation, and check the promises."""
        links = _links(body)
        with self._lock:
            self.calls += 1
            self.requests.append(body)
            known = next((n for n in range(len(links) - 1, 0, -1) if links[n] in self._prefixes), 0)
            reports = self._broken(body, links, known)
            conversation = self._conversation(links, known)
            self.reports += (report._replace(conversation=conversation) for report in reports)
            head = _head(body)
            for link in links[1:]:
                self._prefixes.setdefault(link, _Prefix(conversation)).heads.add(head)
            asked = self._asked[links[-1]] = self._asked.get(links[-1], -1) + 1
            cost = self.conversations[conversation]
            cost.calls += 1
            tokens, cached = _cost(body, known)
            cost.input_tokens += tokens
        return Place(conversation, f"{links[-1][:24]}.{asked}", tokens, cached, reports)

    def _conversation(self, links: list[str], known: int) -> int:
        """The conversation of the longest known prefix that a model has a part in, or a new one."""
        if known > 1:
            return self._prefixes[links[known]].conversation
        if known == 1 and len(links) == 2:
            return self._prefixes[links[1]].conversation  # the same first words again: a retry
        self.conversations.append(Conversation())
        return len(self.conversations) - 1

    def _broken(self, body: dict[str, Any], links: list[str], known: int) -> list[Report]:
        said = [n for n, message in enumerate(body["messages"]) if message["role"] == "assistant"]
        if not said:
            return []
        if said[-1] >= known:
            changed = "is not what was sent at its place" if known <= said[0] else "follows what was not sent before"
            place = f"messages.{next(n for n in said if n >= known)}"
            return [Report("prefix", self.calls, None, f"{place} {changed}; messages.{known} differs first")]
        heads = self._prefixes[links[said[-1] + 1]].heads
        system, tools = _head(body)
        return [
            Report(kind, self.calls, None, f"{kind}: not as it was when messages.{said[-1]} was sent")
            for kind, mine, theirs in (
                ("system", system, {head[0] for head in heads}),
                ("tools", tools, {head[1] for head in heads}),
            )
            if mine not in theirs
        ]

    def signed(self, block: Block) -> bool:
        """Whether a thinking block is one that was sent, unchanged."""
        return _digest(_canonical(block)) in self._signed

    def paused(self, messages: list[dict[str, Any]]) -> bool:
        """Whether the messages end with an answer that was sent and stopped at `pause_turn`."""
        return _digest(_canonical(messages[-1])) in self._paused

    # --- after the answer ---------------------------------------------------------------------------------------

    def sign(self, block: Block) -> Block:
        """Return a thinking block with its signature, and remember it."""
        if block["type"] == "thinking" and "signature" not in block:
            block = {**block, "signature": "sig" + _digest(block["thinking"])}
        with self._lock:
            self._signed.add(_digest(_canonical(block)))
        return block

    def leave(self, body: dict[str, Any], place: Place, content: list[Block], answer: Answer) -> int:
        """Remember what was answered; return its tokens."""
        said = {"role": "assistant", "content": content}
        tokens = estimate(content)
        with self._lock:
            link = _link(_links(body)[-1], said)
            self._prefixes.setdefault(link, _Prefix(place.conversation)).heads.add(_head(body))
            if answer.stop_reason == "pause_turn":
                self._paused.add(_digest(_canonical(said)))
            self.conversations[place.conversation].output_tokens += tokens
        return tokens

    def note(self, kind: str, detail: str, conversation: int | None = None) -> None:
        """Report something."""
        with self._lock:
            self.reports.append(Report(kind, self.calls, conversation, detail))


def estimate(value: Any) -> int:
    """Return what something costs in tokens: its bytes as JSON in UTF-8, by four, rounded up."""
    return -(-len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) // 4)


def _cost(body: dict[str, Any], known: int) -> tuple[int, int]:
    """Return the tokens of a request, and how many of them a prompt cache would have: those of the known prefix."""
    head = estimate([body.get("tools"), body.get("system")])
    sizes = [estimate(message) for message in body["messages"]]
    return head + sum(sizes), (head + sum(sizes[:known]) if known else 0)


def _head(body: dict[str, Any]) -> tuple[str, str]:
    return _digest(_canonical(body.get("system"))), _digest(_canonical(body.get("tools") or None))


def _links(body: dict[str, Any]) -> list[str]:
    """Return a digest for each prefix of the messages, from none of them to all."""
    links = [_digest(str((body.get("metadata") or {}).get("user_id")))]
    for message in body["messages"]:
        links.append(_link(links[-1], message))
    return links


def _link(before: str, message: dict[str, Any]) -> str:
    return _digest(before + _canonical(message))


def _canonical(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Drop what is no part of the words, and put the keys in order, except inside the input of a tool."""
    if isinstance(value, dict):
        kept = ((name, value[name]) for name in sorted(value) if name != "cache_control" and value[name] is not None)
        return {name: inner if name in ("input", "input_schema") else _plain(inner) for name, inner in kept}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _digest(words: str) -> str:
    return sha256(words.encode()).hexdigest()
