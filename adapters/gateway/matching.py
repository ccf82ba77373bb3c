"""Which conversation is it? What a client shows is a claim; here it is compared with what the log has.

The first that fits wins: a conversation that is named, by a header or by the session of a client; else the longest
prefix of what is shown that was recorded. A first message alone never matches: many begin with the same words.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lastresort.adapters.followers.tables import Tables
from lastresort.application.arguments import derived_id
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import UnknownBranch
from lastresort.domain.decider import Refused
from lastresort.domain.events import AssistantTurnTaken, RecordedEvent, UserTurnTaken
from lastresort.domain.state import Conversation
from lastresort.domain.turn_text import readable
from lastresort.domain.values import Messages

from . import tables as kept
from .canon import Chain, Group
from .tables import ANSWERED, ASKED, SAID, Link

NEW, HEAD, EDIT, RETRY, RESUME, REPLAY, TRIMMED, ENDED, UNTRACKED = (
    "new", "head", "edit", "retry", "resume", "replay", "trimmed", "ended", "untracked",
)  # fmt: skip
BROKEN_OFF = ("stopped", "dropped")


class NoConversation(LookupError):
    """A request names a conversation that is not there, or not its to see."""


class Found(NamedTuple):
    """Where a request stands.

    Attributes:
        chat: the branch that the user's turn is, or is to be, on.
        how: how it was found.
        hear: whether the user's turn is yet to be recorded there; else it is, and waits for its answer.
        known: the places of answers among the groups, and the user's turns that they answer, by version.
        replay: whether an answer that is recorded is to be given again, without asking a model.
    """

    chat: Chat
    how: str
    hear: bool
    known: dict[int, int]
    replay: bool = False


class Matcher:
    """Finds where a request stands, and writes what is needed to begin there.

    Args:
        conversations, tables: of the tenant.
        chain: of the tenant and the caller's account.
        start: starts a conversation.
        groups: of the request, up to the user's last turn or further, a prefill aside.
        last: the place of the group that is the user's last turn.
        named: the conversation that is named, if one is.
        again: whether the client says that it sends a request again, which it sent a moment ago.
    """

    def __init__(
        self,
        conversations: Conversations,
        tables: Tables,
        chain: Chain,
        start: Callable[[], Chat],
        groups: Sequence[Group],
        last: int,
        named: str | None,
        again: bool,
    ) -> None:
        self._conversations, self._tables, self._chain, self._start = conversations, tables, chain, start
        self.groups, self._last, self._named, self._again = groups, last, named, again
        self.digests = chain.of(groups)

    @property
    def asked(self) -> str:
        """The digest of what is shown up to the user's last turn."""
        return self.digests[self._last]

    def find(self, words: str) -> Found:
        """Return where the request stands; `words` are those of the user's last turn, to be kept on a new branch."""
        links = kept.find(self._tables, self.digests)
        if self._named is not None:
            links = [link for link in links if link.conversation == self._named]
        by_place: dict[int, list[Link]] = {}
        for link in links:
            by_place.setdefault(self.digests.index(link.digest), []).append(link)
        if self._last > 0 or self._named is not None:
            for link in self._best(by_place.get(self._last, ()), ASKED):
                if (found := self._answered_before(link, by_place)) is not None:
                    return found
        for place in range(self._last - 1, -1, -1):
            at = by_place.get(place, ())
            kind = ANSWERED if self.groups[place].role == "assistant" else None
            for link in self._best(at, kind) if kind else ():
                if (found := self._goes_on(link, place, words, by_place)) is not None:
                    return found
            if place == self._last - 2:
                for link in self._best(at, ASKED):
                    if (
                        self._kept_a_part(link)
                        and (found := self._goes_on(link, place + 1, words, by_place)) is not None
                    ):
                        return found
        if self._named is not None:
            return self._aligned(words)
        return Found(self._start(), NEW, True, {})

    def shown(self) -> Chat | None:
        """Return the branch whose answers the client shows before the user's last turn, the most of them; None if it
        shows none that were recorded. It begins nothing."""
        links = kept.find(self._tables, self.digests[: self._last])
        if self._named is not None:
            links = [link for link in links if link.conversation == self._named]
        links.sort(key=lambda link: self.digests.index(link.digest), reverse=True)
        for link in links:
            if self._best([link], ANSWERED) and self._after(link.branch, link.turn)[0] is not None:
                return self._conversations.chat(link.branch)
        return None

    # --- candidates ---------------------------------------------------------------------------------------------

    def _best(self, links: Sequence[Link], kind: str) -> list[Link]:
        """Return the links of a kind in the order in which they are tried: heads before inner points, and of those the
        ones with an open hold first."""
        found = []
        for link in links:
            if link.kind == kind and (state := self._state(link)) is not None:
                head = state.unit is not None and state.unit.turn == link.turn and state.answered
                found.append(((not head, not state.risks), link))
        return [link for _, link in sorted(found, key=lambda one: one[0])]

    def _state(self, link: Link) -> Conversation | None:
        """Return the state of a link's branch, None if it is not there: the link was written before a crash."""
        try:
            return self._conversations.state(link.branch)
        except UnknownBranch:
            return None

    def _after(self, branch: str, turn: int) -> tuple[RecordedEvent | None, RecordedEvent | None]:
        """Return the answer to a user's turn, and the next turn of the user, as far as there are any."""
        answer = None
        for one in self._conversations.path(branch):
            if one.version <= turn:
                continue
            if isinstance(one.event, AssistantTurnTaken) and answer is None:
                answer = one
            elif isinstance(one.event, UserTurnTaken):
                return answer, one
        return answer, None

    def _kept_a_part(self, link: Link) -> bool:
        """Whether what the client shows as the answer to a turn is the beginning of one that broke off."""
        answer, _ = self._after(link.branch, link.turn)
        if answer is None or not isinstance(answer.event, AssistantTurnTaken):
            return False
        if answer.event.stop_reason not in BROKEN_OFF:
            return False
        words = self._conversations.words([answer]).get(answer.event.content)
        shown = self.groups[self._last - 1]
        return bool(words) and shown.role == "assistant" and readable(answer, words or "").startswith(shown.text)

    # --- what comes of one --------------------------------------------------------------------------------------

    def _answered_before(self, link: Link, by_place: dict[int, list[Link]]) -> Found | None:
        """The user's last turn, too, was recorded and answered: the answer is given again, or another one is wanted."""
        answer, _ = self._after(link.branch, link.turn)
        if answer is None:
            return None
        chat = self._conversations.chat(link.branch)
        known = self.known(chat, by_place, self._last)
        if self._again or chat.state.ended is not None:
            return Found(chat, REPLAY if chat.state.ended is None else ENDED, False, known, replay=True)
        opened = chat.retry(answer.version)
        if isinstance(opened, Refused):
            return None
        return Found(opened, RETRY, False, known)

    def _goes_on(self, link: Link, place: int, words: str, by_place: dict[int, list[Link]]) -> Found | None:
        answer, following = self._after(link.branch, link.turn)
        if answer is None:
            return None  # the answer was never recorded
        chat = self._conversations.chat(link.branch)
        by_place = by_place | {place: [*by_place.get(place, ()), link._replace(kind=ANSWERED)]}
        known = self.known(chat, by_place, place + 1)
        if following is None:
            how = ENDED if chat.state.ended is not None else HEAD
            return Found(chat, how, True, known)
        return self._instead(chat, following, words, known, EDIT)

    def _instead(
        self, chat: Chat, following: RecordedEvent, words: str, known: dict[int, int], how: str
    ) -> Found | None:
        """The user's turn stands in place of another one; unless it is that one, sent again after a fault."""
        state = chat.state
        waits = state.unit is not None and state.unit.turn == following.version and not state.answered
        if waits and following.command_id == self.sent_as_id(chat.branch):
            return Found(chat, RESUME, True, known)
        id = derived_id("gateway-edit", chat.branch, following.version, self.asked)
        opened = chat.edit(following.version, words, command_id=id)
        if isinstance(opened, Refused):
            return None
        return Found(opened, how, False, known)

    def sent_as(self) -> str:
        """Return the id under which the user's last turn is said once, however often it is sent."""
        return "gateway-" + self.asked[:64]

    def sent_as_id(self, branch: str) -> str:
        """Return the id of the command that records it."""
        return str(derived_id("turn", "user", self.sent_as()))

    def known(self, chat: Chat, by_place: dict[int, list[Link]], upto: int) -> dict[int, int]:
        """Return which groups before `upto` are answers on a branch's path, and to which turns."""
        path = {chat.branch, *(one.branch for one in chat.path)}
        found = {}
        for place, links in by_place.items():
            turns = [link.turn for link in links if link.kind == ANSWERED and link.branch in path]
            if place < upto and turns:
                found[place] = turns[0]
        return found

    # --- a conversation that is named, and shown in another way ------------------------------------------------------

    def _aligned(self, words: str) -> Found:
        """The client trims, summarises or reorders: go by the latest answer in it that was recorded."""
        assert self._named is not None
        try:
            root = self._conversations.chat(self._named)
        except UnknownBranch:
            raise NoConversation from None
        digests = {
            place: self._chain.answer(self._named, group.blocks)
            for place, group in enumerate(self.groups[: self._last])
            if group.role == "assistant" and (group.text or any(one.get("type") == "tool_use" for one in group.blocks))
        }
        links = [link for link in kept.find(self._tables, list(digests.values())) if link.kind == SAID]
        by_place = {
            place: [link for link in links if link.digest == digest and link.conversation == self._named]
            for place, digest in digests.items()
        }
        answered = {place: [link._replace(kind=ANSWERED) for link in some] for place, some in by_place.items()}
        for place in sorted(answered, reverse=True):
            for link in self._best(answered[place], ANSWERED):
                found = self._goes_on(link, place, words, answered)
                if found is not None:
                    return found._replace(how=TRIMMED) if found.how == HEAD else found
        first = next((one for one in root.path if isinstance(one.event, UserTurnTaken)), None)
        if first is None:
            return Found(root, HEAD, True, {})
        found = self._instead(root, first, words, {}, EDIT)
        return found or Found(root, ENDED if root.state.ended is not None else HEAD, True, {})


def words_of(blocks: Sequence[Any]) -> str:
    """Return the words to keep of a user's turn: text if it is nothing else."""
    if len(blocks) == 1 and blocks[0].get("type") == "text" and set(blocks[0]) <= {"type", "text", "cache_control"}:
        return str(blocks[0].get("text", ""))
    content = [dict(block) for block in blocks]
    kept_as = json.dumps({"messages": [{"role": "user", "content": content}]}, ensure_ascii=False)
    return Messages(kept_as)
