"""What is done with many conversations: those of an account are handed out, erased and held.

A legal hold is of one conversation: of its whole tree, under whichever edition of the law. A hold on an account is one
on each conversation that it has by then, each an event of its own, so that the log of a conversation says by itself
what was held. A conversation that is begun later is not held: hold the account again, which passes over what is held.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from lastresort.domain.decider import Refused
from lastresort.domain.events import AssistantTurnTaken, ConversationStarted, ErasureHeld, RecordedEvent, content_of
from lastresort.domain.rules import HELD_FROM_ERASURE
from lastresort.domain.state import Conversation
from lastresort.domain.turn_text import Piece, pieces, readable, said_by
from lastresort.domain.values import Actor, ActorKind, ErasureCause, LegalHold

from .arguments import DerivedId, checked_id, derived_id, optional_id
from .directory import (
    HOLD_JOINT,
    MOST_ROWS,
    ConversationRow,
    DirectoryPage,
    DirectoryQuery,
    HoldPage,
    Metadata,
    cursor_of,
    hold_cursor_of,
    utc,
)
from .outcomes import Receipt
from .ports import EventStore, Place
from .transcript import Block, blocks_of, erasures
from .words import one_account

if TYPE_CHECKING:
    from .conversations import Conversations
    from .service import Service

_ROUNDS = 10
"""How often what was said meanwhile is erased too, before somebody who goes on talking is not forgotten."""


class AccountErasure(NamedTuple):
    """What became of the conversations of an account.

    Attributes:
        erased: the conversations whose words are gone.
        refused: those that the law let nobody erase, as under a legal hold, and why. Their words are all there; what
            is held is erased when its hold is released.
        forgotten: whether it was known whom the account stands for, and is not any more.
    """

    erased: tuple[str, ...]
    refused: Mapping[str, Refused]
    forgotten: bool = False


class AccountHold(NamedTuple):
    """What became of the conversations of an account when it was held, or released.

    Attributes:
        changed: the conversations on which the hold was set, or from which it was taken.
        unchanged: those that were held so already, or not held.
        refused: those on which the law let nobody change it, and why.
        erased: those that were erased when it was released, since the hold had deferred the erasure of their account.
    """

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    refused: Mapping[str, Refused]
    erased: tuple[str, ...] = ()


class ExportedEvent(NamedTuple):
    """An event, with the words that it stands for.

    Attributes:
        version, kind: of the event.
        at: when it was recorded, ISO 8601 in UTC.
        event: its fields, as JSON has them.
        text: what people read of its words; None if it has none, or they are gone.
        blocks: the content blocks of a turn.
        erased: why its words were erased, None if they were not.
        overtook: what the user was shown of answers that this turn of theirs overtook.
        pieces: all that is kept of its words, by whomever and read or not; first of answers that it overtook.
    """

    version: int
    kind: str
    at: str
    event: dict[str, Any]
    text: str | None
    blocks: tuple[Block, ...]
    erased: ErasureCause | None
    overtook: tuple[str, ...] = ()
    pieces: tuple[Piece, ...] = ()


class ExportedBranch(NamedTuple):
    """The events of a branch's own. What it inherits is its parent's, up to version `forked_at`."""

    branch: str
    parent: str | None
    forked_at: int | None
    events: tuple[ExportedEvent, ...]


class ExportedConversation(NamedTuple):
    """A conversation, whole: its row in the directory, its branches, the root first, its title and tags, and the
    `system` prompt that it was given, if one is kept."""

    row: ConversationRow
    branches: tuple[ExportedBranch, ...]
    metadata: Metadata = Metadata()
    system: str | None = None


def conversations_of(conversations: "Conversations", account: str) -> Iterator[ConversationRow]:
    """Yield the conversations of an account, the oldest first."""
    after: str | None = None
    while True:
        page = conversations.list(account=account, order="oldest", after=after, limit=MOST_ROWS)
        yield from page.rows
        if (after := page.after) is None:
            return


def conversations_page(
    service: "Service", query: DirectoryQuery, person: str | None, *, with_metadata: bool
) -> DirectoryPage:
    """Return a page of the directory: of a person, if one is named.

    Raises:
        ValueError: these conversations were opened without one, or a person is named and an account too.
    """
    directory, annotator = service.ports.directory, service.annotator
    if directory is None:
        raise ValueError("these conversations were opened without a directory")
    if person is not None:
        if (account := one_account(annotator, query.account, person)) is None:
            return DirectoryPage((), None)
        query = query._replace(account=account)
    found = tuple(directory.select(query._replace(limit=query.limit + 1)))
    rows, more = found[: query.limit], len(found) > query.limit
    metadata = annotator.metadata_of([row.conversation for row in rows]) if with_metadata else None
    return DirectoryPage(rows, cursor_of(rows[-1], query.by) if more else None, metadata)


def erase_all(
    conversations: "Conversations", account: str, by: Actor, cause: ErasureCause, command_id: str, *, forget: bool
) -> AccountErasure:
    """Erase every conversation of an account. Each is a command of its own, whose id follows from `command_id`.

    Whom the account stands for is forgotten if that is asked for, and nothing of it had to stay.
    """
    annotator = conversations.annotator
    known = forget and annotator.person_of(account) is not None
    erased: dict[str, None] = {}
    refused: dict[str, Refused] = {}
    for again in range(_ROUNDS):
        since = [part.store.head() for part in conversations.parts]
        trees = [row.conversation for row in conversations_of(conversations, account)]
        for tree in trees:
            words = conversations.of(tree).service.words
            said = sorted(words.said_on(tree, conversations.tree(tree))) if again else ()
            id = derived_id("erase-account", command_id, tree, *said)
            outcome = conversations.erase_conversation(tree, by=by, cause=cause, command_id=id)
            if isinstance(outcome, Refused):
                refused[tree] = outcome
            else:
                erased[tree] = None
        if not forget or refused or any(_is_held(conversations, tree) for tree in trees):
            break
        if not any(part.store.with_words(trees) for part in conversations.parts) and _forget(
            conversations, account, set(trees), since
        ):
            break
    later = {"kind": by.kind, "id": by.id, "cause": cause, "command": command_id, "forget": "yes" if forget else ""}
    for tree in [tree for tree in trees if conversations.of(tree).service.ports.annotations]:
        held = tree in refused and HELD_FROM_ERASURE.id in refused[tree].rules
        conversations.of(tree).annotator.defer(account, tree, later if held else None)
    forgotten = known and annotator.person_of(account) is None
    return AccountErasure(tuple(tree for tree in erased if tree not in refused), refused, forgotten)


def finish_deferred(conversations: "Conversations", tree: str) -> None:
    """Erase a conversation whose account was erased while a legal hold stood on it, unless one still does.

    It is erased as it was to be: by whom, for which cause, and under that command. Once that is done for each
    conversation of the account, whom it stands for is forgotten, if that was asked for.
    """
    here = conversations.of(tree)
    account = here.state(tree).account
    later = {} if account is None else here.annotator.deferred(account)
    if account is None or tree not in later or _is_held(here, tree):
        return
    erasure, by = later[tree], Actor(kind=ActorKind(later[tree]["kind"]), id=later[tree]["id"])
    cause, command_id = ErasureCause(erasure["cause"]), erasure["command"]
    id = derived_id("erase-account", command_id, tree)
    if isinstance(here.erase_conversation(tree, by=by, cause=cause, command_id=id), Refused):
        return  # as while somebody may be at risk: it is done when a hold is released again, or the account erased
    here.annotator.defer(account, tree, None)
    if erasure["forget"] and not any(part.annotator.deferred(account) for part in here.whole.parts):
        erase_all(here.whole, account, by, cause, command_id, forget=True)


def _is_deferred(conversations: "Conversations", tree: str) -> bool:
    """Whether the erasure of a conversation waits until no legal hold stands on it."""
    here = conversations.of(tree)
    account = here.state(tree).account
    return account is not None and tree in here.annotator.deferred(account)


def released(conversations: "Conversations", outcome: Receipt | Refused) -> Receipt | Refused:
    """Finish what a legal hold deferred, once it is released; return what became of the release."""
    if isinstance(outcome, Receipt):
        finish_deferred(conversations, outcome.state.conversation)
    return outcome


def _is_held(conversations: "Conversations", tree: str) -> bool:
    """Whether a legal hold stands on a conversation, be it one that was erased before."""
    return any(state.holds for state in conversations.tree(tree).values())


def _forget(conversations: "Conversations", account: str, trees: Collection[str], since: Sequence[int]) -> bool:
    """Forget whom an account stands for, unless something of it changed in one of the stores since then.

    All are kept still meanwhile, in their order: the first by `Annotator.forget`, which is its own.
    """
    stores = [part.store for part in conversations.parts]
    changed = [_changed(store, account, trees, at) for store, at in zip(stores, since, strict=True)]
    with ExitStack() as still:
        for store in stores[1:]:
            still.enter_context(store.still())
        return conversations.annotator.forget(account, lambda: any(one() for one in changed))


def _changed(store: EventStore, account: str, trees: Collection[str], since: int) -> Callable[[], bool]:
    """Return what says whether an account has another conversation since a position in the log, or one of its `trees`
    has words or a hold that it did not have.

    Most of the log since then is read at once, so that the answer comes quickly: it is asked for while nobody writes.
    """
    seen, found = since, False

    def changed() -> bool:
        nonlocal seen, found
        for one in store.log(after=seen):
            event, seen = one.event, one.position
            if isinstance(event, ConversationStarted):
                found |= event.account == account
            elif isinstance(event, ErasureHeld) or content_of(event) is not None:
                found |= store.tree_of(one.branch) in trees
        return found

    changed()
    return changed


def hold_all(
    conversations: "Conversations", trees: Iterable[str], hold: LegalHold, by: Actor, command_id: str
) -> AccountHold:
    """Hold the words of conversations, in their order."""

    def act(conversation: str, id: DerivedId) -> Receipt | Refused | None:
        if all(hold in state.holds for state in conversations.tree(conversation).values()):
            return None
        chat = conversations.chat(conversation)
        return chat.hold(hold.hold, reason=hold.reason, until=hold.until, by=by, command_id=id)

    return _on_each(trees, command_id, act)


def release_all(
    conversations: "Conversations", trees: Iterable[str], hold: str, by: Actor, command_id: str
) -> AccountHold:
    """Release a hold on those of conversations on which it stands."""
    erased: list[str] = []

    def act(conversation: str, id: DerivedId) -> Receipt | Refused | None:
        deferred = _is_deferred(conversations, conversation)
        outcome = release_one(conversation, id)
        if deferred and not _is_deferred(conversations, conversation):
            erased.append(conversation)
        return outcome

    def release_one(conversation: str, id: DerivedId) -> Receipt | Refused | None:
        states = conversations.tree(conversation).values()
        if all(one.hold != hold for state in states for one in state.holds):
            finish_deferred(conversations, conversation)  # or a release that was interrupted
            return None
        return conversations.chat(conversation).release_hold(hold, by=by, command_id=id)

    return _on_each(trees, command_id, act)._replace(erased=tuple(erased))


def trees_of(conversations: "Conversations", account: str | None, person: str | None) -> Iterator[str]:
    """Return the conversations of an account, or of a person, the oldest first: none, if nobody knows the person.

    Raises:
        ValueError: both were passed, or neither, or one is malformed.
    """
    meant = one_account(conversations.annotator, account, person)
    return iter(()) if meant is None else (row.conversation for row in conversations_of(conversations, meant))


def _on_each(
    trees: Iterable[str], command_id: str, act: Callable[[str, DerivedId], Receipt | Refused | None]
) -> AccountHold:
    """Act on each conversation, under an id that follows from `command_id`; None: nothing to do.

    Raises:
        ValueError: there is none.
    """
    changed, unchanged, refused = [], [], {}
    for tree in trees:
        outcome = act(tree, derived_id("hold-account", command_id, tree))
        if outcome is None:
            unchanged.append(tree)
        elif isinstance(outcome, Refused):
            refused[tree] = outcome
        else:
            changed.append(tree)
    if not changed and not unchanged and not refused:  # mistyped, and not to pass for done
        raise ValueError("no conversation of this account, or of this person, is in the store")
    return AccountHold(tuple(changed), tuple(unchanged), refused)


def holds_page(service: "Service", account: str | None, person: str | None, after: str | None, limit: int) -> HoldPage:
    """Return a page of the holds that stand.

    Raises:
        ValueError: there is no list of them, `after` is no cursor, or another argument is malformed.
    """
    if service.ports.holds is None:
        raise ValueError("these conversations were opened without a list of legal holds")
    if person is not None and (account := one_account(service.annotator, account, person)) is None:
        return HoldPage((), None)
    optional_id("account", account)
    if type(limit) is not int or not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit: a whole number from 1 to {MOST_ROWS} is needed")
    try:
        begin = ("", "") if after is None else tuple(checked_id("after", one) for one in after.split(HOLD_JOINT))
        conversation, hold = begin
    except (ValueError, AttributeError, TypeError):
        raise ValueError("after: not a cursor; pass the `after` of the page before") from None
    rows = tuple(service.ports.holds.select(account, (conversation, hold), limit + 1))
    last = rows[limit - 1] if len(rows) > limit else None
    return HoldPage(rows[:limit], last and hold_cursor_of(last))


def export_all(conversations: "Conversations", account: str) -> Iterator[ExportedConversation]:
    """Yield every conversation of an account, the oldest first; one is in memory at a time."""
    for row in conversations_of(conversations, account):
        here = conversations.of(row.conversation)
        yield _exported(here, row, here.tree(row.conversation))


def export_one(conversations: "Conversations", branch: str) -> ExportedConversation:
    """Return everything that a store has of the conversation that a branch belongs to, words included.

    Raises:
        UnknownBranch: the store has no such branch.
        SealBroken: kept bytes are not what was sealed there.
    """
    here = conversations.of(branch)
    tree = here.tree(branch)
    root = next(iter(tree))
    ended = sum(state.ended is not None for state in tree.values())
    begun = here.store.read(root, root)[0]
    assert isinstance(begun.event, ConversationStarted)
    started = utc(begun.recorded_at)
    row = ConversationRow(
        root, tree[root].account, begun.event.arm, tree[root].model,
        "ended" if ended == len(tree) else "active", len(tree), ended, started,
        here.service.reading.last_turn(root, tree) or started,
    )  # fmt: skip
    return _exported(here, row, tree)


def _exported(here: "Conversations", row: ConversationRow, tree: Mapping[str, Conversation]) -> ExportedConversation:
    gone = erasures(here.tree_log(row.conversation))
    shown = here.annotator.shown(row.conversation)
    branches = tuple(_branch(here, branch, state, gone, shown) for branch, state in tree.items())
    annotator = here.annotator
    return ExportedConversation(
        row, branches, annotator.metadata(row.conversation), annotator.instructions(row.conversation)
    )


def _branch(
    here: "Conversations",
    branch: str,
    state: Conversation,
    gone: Mapping[str, ErasureCause],
    shown: Mapping[Place, tuple[str, ...]],
) -> ExportedBranch:
    own = here.store.read(state.conversation, branch)
    said = here.words(own)
    events = []
    for recorded in own:
        digest = content_of(recorded.event)
        words = said.get(digest) if digest else None
        overtook = shown.get(Place(branch, recorded.version), ())
        events.append(
            ExportedEvent(
                version=recorded.version,
                kind=recorded.kind,
                at=recorded.recorded_at,
                event=recorded.event.model_dump(mode="json"),
                text=None if words is None else readable(recorded, words),
                blocks=() if words is None else blocks_of(recorded, words),
                erased=gone.get(digest) if digest else None,
                overtook=tuple(said_by("assistant", answer) for answer in overtook),
                pieces=(*_overtaken(overtook), *(() if words is None else pieces(words, _speaker(recorded)))),
            )
        )
    return ExportedBranch(branch, state.parent, own[0].version - 1 or None, tuple(events))


def _overtaken(answers: Iterable[str]) -> Iterator[Piece]:
    for number, answer in enumerate(answers, 1):
        yield from pieces(answer, "assistant", f"overtook, {number}")


def _speaker(recorded: RecordedEvent) -> str:
    return "assistant" if isinstance(recorded.event, AssistantTurnTaken) else "user"
