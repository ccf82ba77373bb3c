"""What was asked and answered: which conversation a request goes on with, what it cost, and whether the promises hold.

A conversation is known by its words, as by a prompt cache: a request belongs to the conversation whose blocks it
begins with. So two conversations that begin with the same words count as one, and one whose first turn was edited as
two, unless `metadata.user_id` tells them apart.

Two promises of this project are checked of each request: system prompt and tools never change within a conversation,
and what the model said comes back as it was said, after all that came before it then. In other words, a request is what
was sent before plus new blocks at its end: each branch has its parent's prefix. As with the API, some things make no
difference: how blocks are spread over messages of one role, a string in place of a block of text, blank text (which the
API sends and does not take back), marks for the prompt cache, fields that are null, half a character, and the order of
keys outside the input of a tool. Of an answer that was streamed, a text or the input of a call may come back
as far as it came: how much of a stream its reader has seen, nobody else knows.
"""

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from threading import Lock
from typing import Any, NamedTuple

from lastresort.adapters.messages_api.wire import Block

from .answers import Answer
from .checks import handed_over, marks


class Report(NamedTuple):
    """A promise that a request broke: `prefix`, `system` or `tools`; or `script`, which had no valid answer."""

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


@dataclass(slots=True)
class _Prefix:
    """Blocks that were sent or answered, from the first to some last one."""

    conversation: int
    heads: tuple[tuple[str, str], ...] = ()
    """Digests of the system prompt and of the tools that they were sent with."""


class _Item(NamedTuple):
    """A block of a request: where it stands, whose it is, and what names it and all before it."""

    place: str
    role: str
    link: str
    text: str = ""


class Place(NamedTuple):
    """Where a request stands; `seed` names it, and how often the same was asked before."""

    conversation: int
    seed: str
    link: str
    input_tokens: int
    cached_tokens: int
    reports: list[Report]


class Ledger:
    """The memory of the loopback; safe to share between threads."""

    def __init__(self, *, enforce: bool = False) -> None:
        self._enforce = enforce
        self.conversations: list[Conversation] = []
        self.reports: list[Report] = []
        self.requests: deque[dict[str, Any]] = deque(maxlen=1000)
        self.calls = 0
        self._prefixes: dict[str, _Prefix] = {}
        self._heads: dict[tuple[str, str], tuple[str, str]] = {}
        self._asked: dict[str, int] = {}
        self._signed: set[str] = set()
        self._paused: set[str] = set()
        self._streamed: dict[str, tuple[str, ...]] = {}  # texts, by what they came after
        self._containers: dict[str, dict[str, Any]] = {}
        self._lock = Lock()

    # --- before the answer --------------------------------------------------------------------------------------

    def enter(self, body: dict[str, Any]) -> Place:
        """Count a request, find its conversation, and check the promises."""
        root, items, head = _root(body), _items(body), _head(body)
        link = items[-1].link
        with self._lock:
            self.calls += 1
            self.requests.append(body)
            known = next((n for n in range(len(items), 0, -1) if items[n - 1].link in self._prefixes), 0)
            if known and known < len(items) and self._came(items[known - 1].link, items[known]):
                self._learn(items[known : known + 1], self._prefixes[items[known - 1].link].conversation, head)
                known += 1
            conversation = self._conversation(root, items, known)
            reports = [report._replace(conversation=conversation) for report in self._broken(items, known, head)]
            self.reports += reports
            self._learn([] if reports and self._enforce else items, conversation, head)
            asked = self._asked[link] = self._asked.get(link, -1) + 1
            tokens, cached = _cost(body, items[known].place if known < len(items) else None)
            self.conversations[conversation].calls += 1
            self.conversations[conversation].input_tokens += tokens
        return Place(conversation, f"{link[:24]}.{asked}", link, tokens, cached if known else 0, reports)

    def _came(self, after: str, item: _Item) -> bool:
        """Whether a block is the beginning of a text or a call that was streamed there."""
        return item.role == "assistant" and any(
            item.text and text.startswith(item.text) for text in self._streamed.get(after, ())
        )

    def _learn(self, items: list[_Item], conversation: int, head: tuple[str, str]) -> None:
        head = self._heads.setdefault(head, head)  # one for all, since there are few
        for item in items:
            prefix = self._prefixes.setdefault(item.link, _Prefix(conversation))
            if head not in prefix.heads:
                prefix.heads += (head,)

    def _conversation(self, root: str | None, items: list[_Item], known: int) -> int:
        """The conversation whose blocks the request begins with, or the one that it names, or a new one."""
        link = root or (items[known - 1].link if known else None)
        if link in self._prefixes:
            return self._prefixes[link].conversation
        self.conversations.append(Conversation())
        if root:
            self._prefixes[root] = _Prefix(len(self.conversations) - 1)
        return len(self.conversations) - 1

    def _broken(self, items: list[_Item], known: int, head: tuple[str, str]) -> Iterator[Report]:
        said = [n for n, item in enumerate(items) if item.role == "assistant"]
        if not said:
            return
        if said[-1] >= known:
            first = next(n for n in said if n >= known)
            wrong = "was not sent there" if first == known else f"was not sent after {items[known].place}"
            yield Report("prefix", self.calls, None, f"{items[first].place} {wrong}")
            return
        heads = self._prefixes[items[said[-1]].link].heads
        for n, kind in enumerate(("system", "tools")):
            if head[n] not in {one[n] for one in heads}:
                yield Report(kind, self.calls, None, f"{kind} changed since {items[said[-1]].place} was sent")

    def signed(self, block: Block) -> bool:
        """Whether a thinking block is one that was sent, unchanged."""
        return _digest(_canonical(block)) in self._signed

    def paused(self, body: dict[str, Any]) -> bool:
        """Whether a request ends with an answer that was sent and stopped at `pause_turn`, or after a compaction."""
        return _items(body)[-1].link in self._paused

    def container(self, body: dict[str, Any]) -> str | None:
        """Return the container that the latest answer in a request that ran code ran it in, by id; None if none did, or
        it has expired."""
        ran = (self._containers[item.link] for item in reversed(_items(body)) if item.link in self._containers)
        latest = next(ran, None)
        expired = latest is not None and datetime.fromisoformat(latest["expires_at"]) <= datetime.now(UTC)
        return None if latest is None or expired else str(latest["id"])

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
        taken_back = {"role": "assistant", "content": handed_over(content)}
        said = _continued(place.link, len(body["messages"]), taken_back)
        tokens, head = estimate(content), _head(body)
        with self._lock:
            self._learn(said, place.conversation, head)
            if body.get("stream"):
                for before, item in zip([place.link, *(one.link for one in said)], said, strict=False):
                    self._streamed[before] = (*self._streamed.get(before, ()), item.text)
            if answer.stop_reason in ("pause_turn", "compaction") and said:
                self._paused.add(said[-1].link)
            if answer.container is not None and said:
                self._containers[said[-1].link] = answer.container
            self.conversations[place.conversation].output_tokens += tokens
        return tokens

    def note(self, kind: str, detail: str, conversation: int | None = None) -> None:
        """Report something."""
        with self._lock:
            self.reports.append(Report(kind, self.calls, conversation, detail))


def estimate(value: Any) -> int:
    """Return what something costs in tokens: its bytes as JSON in UTF-8, by four, rounded up."""
    return -(-len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")) // 4)


def _cost(body: dict[str, Any], new: str | None) -> tuple[int, int]:
    """Return the tokens of a request, and those before the message that holds the first new block."""
    head = estimate([body.get("tools"), body.get("system")])
    sizes = [estimate(message) for message in body["messages"]]
    before = sizes if new is None else sizes[: int(new.split(".")[1])]
    return head + sum(sizes), head + sum(before) if marks(body) else 0


def _head(body: dict[str, Any]) -> tuple[str, str]:
    system = body.get("system")
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    return _digest(_canonical(blocks)), _digest(_canonical(body.get("tools") or None))


def _root(body: dict[str, Any]) -> str | None:
    user = (body.get("metadata") or {}).get("user_id")
    return None if user is None else _digest(f"user {user}")


def _items(body: dict[str, Any]) -> list[_Item]:
    items: list[_Item] = []
    link = _root(body) or ""
    for n, message in enumerate(body["messages"]):
        items += _continued(items[-1].link if items else link, n, message)
    return items


def _continued(link: str, n: int, message: dict[str, Any]) -> list[_Item]:
    """Return the blocks of a message that follows what `link` names."""
    content, role = message["content"], message["role"]
    items = []
    for at, block in enumerate([{"type": "text", "text": content}] if isinstance(content, str) else content):
        if block["type"] == "text" and not block["text"].strip():
            continue
        link = _digest(f"{link}{role}{_canonical(block)}")
        items.append(_Item(f"messages.{n}.content.{at}", role, link, block.get("text") or block.get("id", "")))
    return items


def _canonical(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Drop what is no part of the words, and put the keys in order, except inside the input of a tool."""
    if isinstance(value, dict):
        kept = ((name, value[name]) for name in sorted(value) if name != "cache_control" and value[name] is not None)
        return {name: inner if name in ("input", "input_schema") else _plain(inner) for name, inner in kept}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _digest(words: str) -> str:
    return sha256(words.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()).hexdigest()
