"""What a client's messages are known by: a chain of keyed digests, one for each message and all before it.

It is for recognising only, never for sending. Clients drop and reformat thinking, signatures, citations, marks for the
cache and the order of keys, and write text as a string or as blocks: all of that makes no difference. The key is the
tenant's, since a plain digest of words could be guessed.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Message = dict[str, Any]
Block = Mapping[str, Any]
_CALLS = ("tool_use",)
_MEDIA = ("image", "document", "container_upload")


class Group(NamedTuple):
    """Consecutive messages of one role, as the API reads them: where they stand, and their blocks."""

    role: str
    begin: int
    end: int
    blocks: tuple[Block, ...]

    @property
    def results(self) -> list[str]:
        """The ids of the calls whose results it has."""
        return [str(block.get("tool_use_id")) for block in self.blocks if block.get("type") == "tool_result"]

    @property
    def text(self) -> str:
        """What it says."""
        return text_of(self.blocks)


def text_of(blocks: Iterable[Block]) -> str:
    """Return the text of blocks, without white space around it."""
    return "".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text").strip()


def blocks_of(content: Any) -> tuple[Block, ...]:
    """Return the content of a message as blocks; what is none is left out."""
    if isinstance(content, str):
        return ({"type": "text", "text": content},)
    if not isinstance(content, list):
        return ()
    return tuple(block for block in content if isinstance(block, dict))


def groups_of(messages: Sequence[Message]) -> list[Group]:
    """Return the messages of a request in groups by role. Notes of the system between them are passed over."""
    groups: list[Group] = []
    for place, message in enumerate(messages):
        role = message.get("role")
        if role not in ("user", "assistant"):
            continue
        blocks = blocks_of(message.get("content"))
        if groups and groups[-1].role == role:
            groups[-1] = Group(role, groups[-1].begin, place + 1, groups[-1].blocks + blocks)
        else:
            groups.append(Group(role, place, place + 1, blocks))
    return groups


def canonical(role: str, blocks: Iterable[Block]) -> bytes:
    """Return what a group of messages is known by."""
    blocks = tuple(blocks)
    said: list[Any] = [role, text_of(blocks)]
    for block in blocks:
        kind = block.get("type")
        if kind in _CALLS:
            said.append([block.get("id"), block.get("name")])
        elif kind == "tool_result":
            said.append([block.get("tool_use_id")])
        elif kind in _MEDIA:
            source = json.dumps(block.get("source", block.get("file_id")), sort_keys=True).encode()
            said.append(hashlib.sha256(source).hexdigest())
    return json.dumps(said, separators=(",", ":")).encode()


class Chain:
    """Digests of histories, under a key of the tenant and a scope within it."""

    def __init__(self, key: bytes, scope: str) -> None:
        self._key, self._scope = key, scope

    def begin(self) -> str:
        """Return the digest of nothing."""
        return self._digest(b"begin", self._scope.encode())

    def after(self, digest: str, role: str, blocks: Iterable[Block]) -> str:
        """Return the digest of a history and one more group."""
        return self._digest(digest.encode(), canonical(role, blocks))

    def of(self, groups: Iterable[Group]) -> list[str]:
        """Return the digest of each prefix of a history, the shortest first."""
        digest, found = self.begin(), []
        for group in groups:
            digest = self.after(digest, group.role, group.blocks)
            found.append(digest)
        return found

    def answer(self, conversation: str, blocks: Iterable[Block]) -> str:
        """Return the digest of an answer by itself, within a conversation."""
        return self._digest(b"answer", conversation.encode(), canonical("assistant", blocks))

    def name(self, *parts: str) -> str:
        """Return what somebody or something is known by, of whom nothing is to be told."""
        return self._digest(b"name", *(part.encode("utf-8", "replace") for part in parts))[:32]

    def _digest(self, *parts: bytes) -> str:
        text = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hmac.digest(self._key, text, "sha256").hex()
