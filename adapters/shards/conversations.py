"""The conversations of several stores, as those of one.

A conversation lies in one store, with all of its branches: in that to which its id leads, through one of 256 virtual
shards. Each store is one like any other, with a service, a vault and a log of its own, and decides alone: what is here
only finds the store, and merges lists. No command is about two conversations, so none needs two stores.

Whom accounts stand for is kept in the first store, that of shard 0.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from heapq import merge
from itertools import islice
from typing import Any
from uuid import uuid5

from lastresort.application.arguments import checked_events, checked_id, optional_id
from lastresort.application.chat import Chat
from lastresort.application.conversations import STARTED, Conversations
from lastresort.application.directory import DirectoryPage, HoldPage, Order, TimeField, cursor_of, hold_cursor_of
from lastresort.application.ports import EventStore
from lastresort.application.reading import unknown
from lastresort.application.words import Annotator, one_account
from lastresort.domain.events import RecordedEvent
from lastresort.domain.state import Conversation

from .merged_log import MergedLog

_MOST_FOUND = 100_000  # branches of which it is remembered where they lie


def shard_of(conversation: str) -> int:
    """Return the virtual shard of a conversation, 0 to 255: the first byte of the SHA-256 of its id."""
    return sha256(conversation.encode()).digest()[0]


class ShardedConversations(Conversations):
    """The conversations of several stores. `open_conversations` returns it for a `shards.toml`. Threads may share it.

    What is done with a branch is done by the conversations of its store, which `of` returns, and a `Chat` holds. Where
    a branch lies that is no root is asked of each store once, and remembered.

    Ids that you choose are to be unique over all stores: of an id in two of them, which one is meant is not defined.

    Args:
        stores: the conversations of each store, and its virtual shards, 256 in all.
    """

    def __init__(self, stores: Sequence[tuple[Conversations, Sequence[int]]]) -> None:
        super().__init__(None)
        ordered = sorted(stores, key=lambda store: min(store[1]))
        self._parts = tuple(part for part, _ in ordered)
        self._by_shard = {shard: part for part, shards in ordered for shard in shards}
        self._found: dict[str, Conversations] = {}
        logs = {min(shards): part.store for part, shards in ordered}
        self._log = MergedLog(logs, lambda tree: self.holding(tree).store, self._store_of)
        for part in self._parts:
            part.whole = self

    @property
    def store(self) -> EventStore:
        """The logs of all stores as one, to be read once: see `merged_log`."""
        return self._log

    @property
    def parts(self) -> tuple[Conversations, ...]:
        """The conversations of each store, that of shard 0 first."""
        return self._parts

    @property
    def annotator(self) -> Annotator:
        """What knows whom the accounts stand for: that of shard 0."""
        return self._parts[0].annotator

    def holding(self, conversation: str) -> Conversations:
        """Return the conversations of the store that holds a conversation, or would if it was started."""
        return self._by_shard[shard_of(conversation)]

    def of(self, branch: str) -> Conversations:
        """Return the conversations of the store in which a branch lies.

        Raises:
            UnknownBranch: no store has it.
        """
        if (known := self._found.get(branch)) is not None:
            return known
        checked_id("branch", branch)
        likely = self.holding(branch)  # which it is in if it is a root
        for part in (likely, *(one for one in self._parts if one is not likely)):
            if part.store.tree_of(branch) is not None:
                return self._remember(branch, part)
        raise unknown(branch)

    def _remember(self, branch: str, part: Conversations) -> Conversations:
        if len(self._found) >= _MOST_FOUND:
            self._found.clear()
        self._found[branch] = part
        return part

    def _store_of(self, branch: str) -> EventStore | None:
        try:
            return self.of(branch).store
        except LookupError:
            return None

    def new_id(self) -> str:
        """Return an id that nobody has used."""
        return self._parts[0].new_id()

    def close(self) -> None:
        """Release all stores and their vaults."""
        for part in self._parts:
            part.close()

    # --- one conversation ---------------------------------------------------------------------------------------

    def start(self, *, conversation: str | None = None, command_id: str | None = None, **given: Any) -> Chat:
        """Start a conversation in the store to which its id leads. See `Conversations.start`."""
        for name, value in (("conversation", conversation), ("command_id", command_id)):
            optional_id(name, value)
        if (person := given.pop("person", None)) is not None:
            if given.get("account") is not None:
                raise ValueError("person: pass either an account or a person")
            given["account"] = self.pseudonym(person)
        if conversation is None:
            conversation = self.new_id() if command_id is None else uuid5(STARTED, command_id).hex
        part = self.holding(conversation)
        chat = part.start(conversation=conversation, command_id=command_id, **given)
        self._remember(chat.branch, part)
        return chat

    def chat(self, branch: str, *, account: str | None = None) -> Chat:
        """Return a handle on a branch. See `Conversations.chat`."""
        return self.of(branch).chat(branch, account=account)

    def state(self, branch: str) -> Conversation:
        """Return the state of a branch. See `Conversations.state`."""
        return self.of(branch).state(branch)

    def path(self, branch: str, upto: int | None = None) -> list[RecordedEvent]:
        """Return the events on the path of a branch. See `Conversations.path`."""
        return self.of(branch).path(branch, upto)

    def tree(self, branch: str) -> dict[str, Conversation]:
        """Return the states of the branches of a tree. See `Conversations.tree`."""
        return self.of(branch).tree(branch)

    def tree_log(self, branch: str) -> list[RecordedEvent]:
        """Return the events of every branch of a tree. See `Conversations.tree_log`."""
        return self.of(branch).tree_log(branch)

    def appeal_until(self, branch: str) -> str | None:
        """Return the day until which an appeal is open. See `Conversations.appeal_until`."""
        return self.of(branch).appeal_until(branch)

    def words(self, path: Iterable[RecordedEvent]) -> dict[str, str]:
        """Return the words that stand on a path. See `Conversations.words`."""
        events = checked_events("path", path)
        return self.of(events[0].branch).words(events) if events else {}

    def erase_conversation(self, branch: str, **given: Any) -> Any:
        """Erase a conversation. See `Conversations.erase_conversation`."""
        return self.of(branch).erase_conversation(branch, **given)

    # --- all of them --------------------------------------------------------------------------------------------

    def list(
        self,
        *,
        account: str | None = None,
        person: str | None = None,
        by: TimeField = "started",
        order: Order = "newest",
        limit: int = 50,
        **where: Any,
    ) -> DirectoryPage:
        """Return a page of the conversations of all stores: a page of each, merged. See `Conversations.list`."""
        if person is not None and (account := one_account(self.annotator, account, person)) is None:
            return DirectoryPage((), None)
        pages = [part.list(account=account, by=by, order=order, limit=limit, **where) for part in self._parts]
        rows, more = _merged(pages, limit, lambda row: (getattr(row, by), row.conversation), reverse=order == "newest")
        said = {tree: told for page in pages for tree, told in (page.metadata or {}).items()}
        metadata = {row.conversation: said[row.conversation] for row in rows} if where.get("with_metadata") else None
        return DirectoryPage(rows, cursor_of(rows[-1], by) if more else None, metadata)

    def holds(
        self, *, account: str | None = None, person: str | None = None, after: str | None = None, limit: int = 50
    ) -> HoldPage:
        """Return a page of the legal holds of all stores: a page of each, merged. See `Conversations.holds`."""
        if person is not None and (account := one_account(self.annotator, account, person)) is None:
            return HoldPage((), None)
        pages = [part.holds(account=account, after=after, limit=limit) for part in self._parts]
        rows, more = _merged(pages, limit, lambda row: (row.conversation, row.hold))
        return HoldPage(rows, hold_cursor_of(rows[-1]) if more else None)

    def branch_rows(self) -> Iterator[str]:
        """Yield a row of every branch as JSON, store after store. See `Conversations.branch_rows`."""
        for part in self._parts:
            yield from part.branch_rows()


def _merged(
    pages: Sequence[Any], limit: int, key: Callable[[Any], Any], *, reverse: bool = False
) -> tuple[tuple[Any, ...], bool]:
    """Return the first rows of pages that are each in order, and whether there are more."""
    rows = tuple(islice(merge(*(page.rows for page in pages), key=key, reverse=reverse), limit))
    more = sum(len(page.rows) for page in pages) > len(rows) or any(page.after is not None for page in pages)
    return rows, more
