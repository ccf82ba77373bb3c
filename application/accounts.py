"""Everything that a store has of one account: to hand it out, and to erase it."""

import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from lastresort.domain.decider import Refused
from lastresort.domain.events import content_of
from lastresort.domain.state import Conversation
from lastresort.domain.turn_text import readable
from lastresort.domain.values import Actor, ErasureCause

from .directory import MOST_ROWS, ConversationRow
from .transcript import Block, blocks_of, erasures

if TYPE_CHECKING:
    from .conversations import Conversations

_ERASED = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/lastresort/erase-account")


class AccountErasure(NamedTuple):
    """What became of the conversations of an account.

    Attributes:
        erased: the conversations whose words are gone.
        refused: those that the law let nobody erase, as under a legal hold, and why. Their words are all there.
    """

    erased: tuple[str, ...]
    refused: Mapping[str, Refused]


class ExportedEvent(NamedTuple):
    """An event, with the words that it stands for.

    Attributes:
        version, kind: of the event.
        at: when it was recorded, ISO 8601 in UTC.
        event: its fields, as JSON has them.
        text: what people read of its words; None if it has none, or they are gone.
        blocks: the content blocks of a turn.
        erased: why its words were erased, None if they were not.
    """

    version: int
    kind: str
    at: str
    event: dict[str, Any]
    text: str | None
    blocks: tuple[Block, ...]
    erased: ErasureCause | None


class ExportedBranch(NamedTuple):
    """The events of a branch's own. What it inherits is its parent's, up to version `forked_at`."""

    branch: str
    parent: str | None
    forked_at: int | None
    events: tuple[ExportedEvent, ...]


class ExportedConversation(NamedTuple):
    """A conversation, whole: its row in the directory, and its branches, the root first."""

    row: ConversationRow
    branches: tuple[ExportedBranch, ...]


def conversations_of(conversations: "Conversations", account: str) -> Iterator[ConversationRow]:
    """Yield the conversations of an account, the oldest first."""
    after: str | None = None
    while True:
        page = conversations.list(account=account, order="oldest", after=after, limit=MOST_ROWS)
        yield from page.rows
        if (after := page.after) is None:
            return


def erase_all(
    conversations: "Conversations", account: str, by: Actor, cause: ErasureCause, command_id: str
) -> AccountErasure:
    """Erase every conversation of an account. Each is a command of its own, whose id follows from `command_id`."""
    erased: list[str] = []
    refused: dict[str, Refused] = {}
    for row in conversations_of(conversations, account):
        id = uuid.uuid5(_ERASED, f"{command_id} {row.conversation}").hex
        outcome = conversations.erase_conversation(row.conversation, by=by, cause=cause, command_id=id)
        if isinstance(outcome, Refused):
            refused[row.conversation] = outcome
        else:
            erased.append(row.conversation)
    return AccountErasure(tuple(erased), refused)


def export_all(conversations: "Conversations", account: str) -> Iterator[ExportedConversation]:
    """Yield every conversation of an account, the oldest first; one is in memory at a time."""
    for row in conversations_of(conversations, account):
        gone = erasures(conversations.tree_log(row.conversation))
        tree = conversations.tree(row.conversation)
        yield ExportedConversation(row, tuple(_branch(conversations, one, tree[one], gone) for one in tree))


def _branch(
    conversations: "Conversations", branch: str, state: Conversation, gone: Mapping[str, ErasureCause]
) -> ExportedBranch:
    own = conversations.store.read(state.conversation, branch)
    said = conversations.words(own)
    events = []
    for recorded in own:
        digest = content_of(recorded.event)
        words = said.get(digest) if digest else None
        events.append(
            ExportedEvent(
                version=recorded.version,
                kind=recorded.kind,
                at=recorded.recorded_at,
                event=recorded.event.model_dump(mode="json"),
                text=None if words is None else readable(recorded, words),
                blocks=() if words is None else blocks_of(recorded, words),
                erased=gone.get(digest) if digest else None,
            )
        )
    return ExportedBranch(branch, state.parent, own[0].version - 1 or None, tuple(events))
