"""A tracked request: from what a client shows to a turn under the law, and back to what the log is to be found by."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from lastresort.adapters.turns.replies import Pending
from lastresort.adapters.turns.steps import Steps
from lastresort.application.arguments import checked_id
from lastresort.application.chat import Chat
from lastresort.application.outcomes import UnknownBranch
from lastresort.application.ports import SealBroken
from lastresort.domain.values import Actor, ActorKind, Mode

from . import tables as kept
from .canon import Block, Chain, Message
from .matching import HEAD, NEW, REPLAY, RESUME, RETRY, Found, Matcher, NoConversation, words_of
from .request import Asked
from .tables import ANSWERED, ASKED, SAID, Link
from .turn import Turn, expansions, ours
from .visitors import Declined, Visitor

PARKED_SECONDS = 24 * 3600
_FIRST = 2  # the version of the first turn of a conversation
_MOST_RECENT, _RECENT_SECONDS = 10_000, 600.0
ACTS = ("request-end", "confirm-end")


class Session(NamedTuple):
    """A request where it stands: the turn, its steps, and what is kept of it when it is answered."""

    visitor: Visitor
    asked: Asked
    chat: Chat
    found: Found
    turn: Turn
    steps: Steps
    matcher: Matcher
    chain: Chain
    conversation: str

    # --- what is kept ---------------------------------------------------------------------------------------------

    def record_links(self, shown: Sequence[Block]) -> None:
        """Keep by what the answer is found again, given what the client sees of it."""
        seen, branch = self.turn.guard.seen, self.chat.branch
        if self.asked.prefill is not None:
            before = self.asked.prefill["content"]
            shown = [{"type": "text", "text": before} if isinstance(before, str) else before[0], *shown]
        after = self.chain.after(self.matcher.digests[-1], "assistant", shown)
        said = self.chain.answer(self.conversation, shown)
        kept.keep(
            self.visitor.tables,
            [
                Link(self.matcher.asked, branch, seen, ASKED, self.conversation),
                Link(after, branch, seen, ANSWERED, self.conversation),
                Link(said, branch, seen, SAID, self.conversation),
            ],
        )
        if names := [_parked(self.visitor, id) for id in self.asked.results]:
            kept.unpark(self.visitor.tables, names)

    def park(self, pending: Pending, shown: Sequence[Block]) -> None:
        """Keep a turn that waits for the client's tools, sealed, under the ids of their calls."""
        now = int(time.time())
        kept.keep(
            self.visitor.tables,
            [Link(self.matcher.asked, self.chat.branch, self.turn.guard.seen, ASKED, self.conversation)],
        )
        kept.park(
            self.visitor.tables, self.visitor.conversations.service.ports.vault,
            [_parked(self.visitor, call.id) for call in pending.calls], self.conversation, self.chat.branch,
            pending.model_dump_json(), expires=now + PARKED_SECONDS, now=now,
        )  # fmt: skip


def _parked(visitor: Visitor, call: str) -> str:
    return f"call {visitor.key} {call}"


def chain_of(visitor: Visitor, asked: Asked) -> Chain:
    """Return what histories of a caller's account are known by."""
    secret = kept.secret(visitor.tables, visitor.conversations.service.ports.vault, "links")
    return Chain(secret, f"{visitor.key} {account_of(visitor, asked, Chain(secret, '')) or '-'}")


def account_of(visitor: Visitor, asked: Asked, chain: Chain) -> str | None:
    """Return the pseudonym of the user: of the key, or of whom the client names."""
    if visitor.account is not None:
        return visitor.account
    return None if asked.user is None else chain.name("user", asked.user)


class Recent:
    """First turns of a moment ago, in this process: a client that lost an answer sends the same bytes again, and says
    so. By nothing else is a first turn found again."""

    def __init__(self) -> None:
        self._branches: OrderedDict[tuple[str, bytes], tuple[str, float]] = OrderedDict()

    def note(self, visitor: Visitor, asked: Asked, branch: str) -> None:
        """Note where a first turn went."""
        self._branches[_same(visitor, asked)] = branch, time.monotonic()
        while len(self._branches) > _MOST_RECENT:
            self._branches.popitem(last=False)

    def find(self, visitor: Visitor, asked: Asked) -> str | None:
        """Return where the same bytes went."""
        branch, at = self._branches.get(_same(visitor, asked), (None, 0.0))
        return branch if time.monotonic() - at < _RECENT_SECONDS else None


def _same(visitor: Visitor, asked: Asked) -> tuple[str, bytes]:
    return visitor.key, hashlib.sha256(asked.raw).digest()


def open_session(visitor: Visitor, asked: Asked, recent: Recent) -> Session:
    """Find where a request stands, and begin there.

    Raises:
        Declined: it names a conversation that is not there, or an act that is none.
    """
    assert asked.last is not None
    if (act := asked.headers.get("lastresort-act")) is not None and act not in ACTS:
        raise Declined(400, f"lastresort-act: one of {', '.join(ACTS)}")
    chain = chain_of(visitor, asked)
    named = _named(visitor, asked, chain)

    def start() -> Chat:
        try:
            model = checked_id("model", asked.body["model"])
        except ValueError:
            raise Declined(400, "model: no name of a model") from None
        account = account_of(visitor, asked, chain)
        return visitor.conversations.start(model=model, account=account, policy=visitor.policy)

    matcher = Matcher(
        visitor.conversations, visitor.tables, chain, start, asked.groups, asked.last, named, asked.is_sent_again
    )
    if asked.results and (waiting := _waiting(visitor, asked, matcher, chain)) is not None:
        return waiting
    last = asked.groups[asked.last]
    words = words_of(last.blocks)
    if not last.text and all(block.get("type") == "text" for block in last.blocks):
        raise Declined(400, "messages: text content blocks must be non-empty")
    try:
        found = _again(visitor, asked, recent) if asked.is_sent_again else None
        if found is None:
            wants_new = asked.headers.get("lastresort-conversation") == "new"
            found = Found(start(), NEW, True, {}) if wants_new else matcher.find(words)
    except NoConversation:
        raise Declined(404, "lastresort-conversation: there is no such conversation") from None
    if asked.session is not None and named is None:
        kept.name(visitor.tables, _alias(visitor, asked, chain), found.chat.state.conversation)
    if found.how == NEW:
        recent.note(visitor, asked, found.chat.branch)
    return _session(visitor, asked, matcher, chain, found, words, act)


def _again(visitor: Visitor, asked: Asked, recent: Recent) -> Found | None:
    """Return where a first turn went that is sent again."""
    if (branch := recent.find(visitor, asked)) is None:
        return None
    chat = visitor.conversations.chat(branch)
    state = chat.state
    if state.ended is not None or (state.unit is not None and state.unit.turn != _FIRST):
        return None  # it has gone on since
    return Found(chat, REPLAY if chat.state.answered else RESUME, False, {})


def _named(visitor: Visitor, asked: Asked, chain: Chain) -> str | None:
    """Return the conversation that a request names."""
    named = asked.headers.get("lastresort-conversation")
    if named is not None:
        if named == "new":
            return None
        try:
            return visitor.conversations.chat(named, account=visitor.account).state.conversation
        except (UnknownBranch, ValueError):
            raise Declined(404, "lastresort-conversation: there is no such conversation") from None
    return None if asked.session is None else kept.named(visitor.tables, _alias(visitor, asked, chain))


def _alias(visitor: Visitor, asked: Asked, chain: Chain) -> str:
    return chain.name("session", visitor.key, asked.session or "")


def _session(
    visitor: Visitor, asked: Asked, matcher: Matcher, chain: Chain, found: Found, words: str, act: str | None
) -> Session:
    assert asked.last is not None
    turn = Turn(found.chat, asked.body, before_of(asked, found), _assessor(visitor), asked.prefill)
    turn.messages = [dict(one) for one in asked.messages[asked.groups[asked.last].end :]]  # what tools said elsewhere
    if found.hear:
        sent_as = matcher.sent_as()
        content = asked.messages[asked.groups[asked.last].begin].get("content")
        steps = turn.say(
            words, sent_as=sent_as, content=content, asks=act == "request-end", confirms=act == "confirm-end"
        )
    else:
        steps = turn.resume()
    tree = found.chat.state.conversation
    return Session(visitor, asked, found.chat, found, turn, steps, matcher, chain, tree)


def before_of(asked: Asked, found: Found, upto: int | None = None) -> list[Message]:
    """Return the messages before a turn's own: the client's, with recorded answers for what it shows of them."""
    assert asked.last is not None
    end = asked.groups[asked.last].end if upto is None else upto
    known = expansions(found.chat, found.known.values())
    starts: dict[int, tuple[int, list[Message]]] = {}
    for place, turn in found.known.items():
        if turn not in known:
            continue
        begin = place  # of the whole turn: it may have gone on over results of tools
        while begin > 1 and asked.groups[begin - 1].results:
            begin -= 2
        starts[asked.groups[begin].begin] = (asked.groups[place].end, known[turn])
    messages, at = [], 0
    while at < end:
        if at in starts:
            at, recorded = starts[at]
            messages += recorded
        else:
            messages.append(asked.messages[at])
            at += 1
    return messages


def to_count(visitor: Visitor, asked: Asked) -> dict[str, Any]:
    """Return what would be sent upstream for a request, but for notes on its last turn. Nothing is begun by it."""
    assert asked.last is not None
    chain = chain_of(visitor, asked)
    matcher = Matcher(
        visitor.conversations, visitor.tables, chain, _begins_nothing, asked.groups, asked.last,
        _named(visitor, asked, chain), again=False,
    )  # fmt: skip
    chat = matcher.shown()
    if chat is None:
        return {
            **asked.body,
            "tools": [*ours(visitor.policy.categories, Mode.ENFORCED), *(asked.body.get("tools") or [])],
        }
    found = Found(chat, HEAD, False, _known(visitor, matcher, chat, asked))
    messages = [*before_of(asked, found), *asked.messages[asked.groups[asked.last].end :]]
    if asked.prefill is not None:
        messages.append(asked.prefill)
    state = chat.state
    tools = [*ours(state.policy.categories, state.mode), *(asked.body.get("tools") or [])]
    return {**asked.body, "messages": messages, "tools": tools}


def _begins_nothing() -> Chat:
    raise AssertionError("to count begins no conversation")


def _assessor(visitor: Visitor) -> Actor:
    return Actor(kind=ActorKind.ASSESSOR, id=getattr(visitor.assessor, "name", "assessor"))


# --- turns that waited for tools --------------------------------------------------------------------------------------


def _waiting(visitor: Visitor, asked: Asked, matcher: Matcher, chain: Chain) -> Session | None:
    """Return the turn that waits for the results that a request brings; None if none does."""
    vault, now = visitor.conversations.service.ports.vault, int(time.time())
    brought = asked.groups[-1].blocks
    for id in asked.results:
        try:
            parked = kept.parked(visitor.tables, vault, _parked(visitor, id), now=now)
        except SealBroken:
            parked = None
        if parked is not None:
            pending = Pending.model_validate_json(parked.text)
            chat = visitor.conversations.chat(parked.branch)
            found = Found(chat, RESUME, False, _known(visitor, matcher, chat, asked))
            return _gone_on(visitor, asked, matcher, chain, found, pending, brought)
    return _lost(visitor, asked, matcher, chain)


def _known(visitor: Visitor, matcher: Matcher, chat: Chat, asked: Asked) -> dict[int, int]:
    assert asked.last is not None
    links = kept.find(visitor.tables, matcher.digests[: asked.last])
    by_place: dict[int, list[Link]] = {}
    for link in links:
        by_place.setdefault(matcher.digests.index(link.digest), []).append(link)
    return matcher.known(chat, by_place, asked.last)


def _gone_on(
    visitor: Visitor, asked: Asked, matcher: Matcher, chain: Chain, found: Found, pending: Pending,
    brought: Sequence[Any],
) -> Session:  # fmt: skip
    turn = Turn(found.chat, asked.body, before_of(asked, found), _assessor(visitor), asked.prefill)
    called = {call.id for call in pending.calls}
    results = [dict(one) for one in brought if one.get("type") != "tool_result" or one.get("tool_use_id") in called]
    tree = found.chat.state.conversation
    return Session(visitor, asked, found.chat, found, turn, turn.go_on(pending, results), matcher, chain, tree)


def _lost(visitor: Visitor, asked: Asked, matcher: Matcher, chain: Chain) -> Session | None:
    """Return the turn that the results go on with, by what the client shows of it: what was kept of it is gone."""
    assert asked.last is not None
    for link in kept.find(visitor.tables, [matcher.asked]):
        if link.kind != ASKED:
            continue
        try:
            chat = visitor.conversations.chat(link.branch)
        except UnknownBranch:
            continue
        state = chat.state
        how = RESUME
        if asked.is_sent_again and state.unit is not None and state.unit.turn == link.turn and state.answered:
            return _replayed(visitor, asked, matcher, chain, chat)
        if state.unit is None or state.unit.turn != link.turn or state.answered:
            answer = next(
                (one for one in chat.path if one.version > link.turn and one.kind == "AssistantTurnTaken"), None
            )
            opened = chat.retry(answer.version) if answer is not None else None
            if not isinstance(opened, Chat):
                continue
            chat, how = opened, RETRY
        found = Found(chat, how, False, _known(visitor, matcher, chat, asked))
        turn = Turn(chat, asked.body, before_of(asked, found), _assessor(visitor), asked.prefill)
        shown = asked.messages[asked.groups[asked.last].end :]
        return Session(visitor, asked, chat, found, turn, turn.take_up(shown), matcher, chain, chat.state.conversation)
    return None


def _replayed(visitor: Visitor, asked: Asked, matcher: Matcher, chain: Chain, chat: Chat) -> Session:
    """Return the turn whose answer the client has lost: it is given again, without a call."""
    found = Found(chat, REPLAY, False, {}, replay=True)
    turn = Turn(chat, asked.body, (), _assessor(visitor))
    return Session(visitor, asked, chat, found, turn, turn.resume(), matcher, chain, chat.state.conversation)
