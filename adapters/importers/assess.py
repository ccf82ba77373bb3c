"""What an assessor makes of chats that came in: its verdicts, dated now, in a shadow of each, never on its record.

A shadow is a conversation of its own, in shadow mode, with the turns and branches of the other, of the same account.
Its ids follow from the other's and from the assessor's name. So it is gone on with when the other has grown, and what
was judged is not judged again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lastresort.adapters.turns.assessor import Assessor, Failure, assess, case_of
from lastresort.application.arguments import derived_id
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import Receipt
from lastresort.domain import commands as ask
from lastresort.domain.decider import Refused
from lastresort.domain.events import (
    AssistantTurnTaken,
    BranchOpened,
    ConversationStarted,
    ModelChanged,
    RecordedEvent,
    UserTurnTaken,
    content_of,
)
from lastresort.domain.policy import Policy
from lastresort.domain.turn_text import said_by
from lastresort.domain.values import Actor, ActorKind, Messages, Mode

from .chat_writing import COMMAND

_GONE = Messages('{"messages":[]}')
_PATIENCE = 60.0
_NO_WORDS = ""


@dataclass
class Assessed:
    """What came of it.

    Attributes:
        conversations: the shadows that there are now, and `new` of them.
        units: what was judged now; `verdicts` and `risks` by what was said of it.
        silent: units of which the assessor had no opinion; `failed`, on which it failed; `gone`, whose words are gone.
        there: units that were looked at before.
    """

    conversations: int = 0
    new: int = 0
    units: int = 0
    silent: int = 0
    failed: int = 0
    gone: int = 0
    there: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    risks: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**vars(self), "verdicts": dict(self.verdicts), "risks": dict(self.risks)}


def assess_chats(
    conversations: Conversations,
    assessor: Assessor,
    name: str,
    *,
    policy: Policy | None = None,
    patience: float = _PATIENCE,
    progress: Callable[[int], None] = lambda looked_at: None,
) -> Assessed:
    """Have an assessor judge the chats that were imported.

    Args:
        conversations: of the store.
        assessor: judges a unit; None is no opinion.
        name: of the assessor, as the verdicts are by it.
        policy: of the shadows; if None, that of the conversation that each is of.
        patience: in seconds, for one opinion.
        progress: is told how many conversations were looked at.

    Raises:
        CommandIdReused, Contention: as every act.
        SealBroken: kept bytes are not what was sealed there.
    """
    done = Assessed()
    by = Actor(kind=ActorKind.ASSESSOR, id=name)
    trees = [one.branch for one in conversations.store.log() if _is_imported(one)]
    for looked_at, tree in enumerate(trees, 1):
        _Shadow(conversations, tree, by, assessor, patience, done).cast(policy)
        progress(looked_at)
    return done


def _is_imported(one: RecordedEvent) -> bool:
    return isinstance(one.event, ConversationStarted) and one.command_id.startswith(COMMAND)


class _Shadow:
    """The shadow of one conversation."""

    def __init__(
        self, conversations: Conversations, tree: str, by: Actor, assessor: Assessor, patience: float, done: Assessed
    ) -> None:
        self._conversations, self._service = conversations, conversations.service
        self._tree, self._by, self._assessor, self._patience = tree, by, assessor, patience
        self._done = done
        self._shadow = str(derived_id("shadow", tree, by.id)).replace("derived:", "shadow-")
        self._branches: dict[str, str] = {}  # of the conversation, and of its shadow
        self._versions: dict[str, dict[int, int]] = {}  # by branch, of its path: versions there, and in the shadow

    def cast(self, policy: Policy | None) -> None:
        """Make it, or go on with it."""
        tree = self._conversations.tree(self._tree)
        root = tree[self._tree]
        self._done.new += not self._conversations.store.read(self._shadow, self._shadow, limit=1)
        self._done.conversations += 1
        self._user = Actor(kind=ActorKind.USER, id=root.account or "user")
        for branch in tree:
            own = list(self._conversations.store.read(self._tree, branch))
            words = self._conversations.words(own)
            events = iter(own)
            first = next(events)
            if isinstance(first.event, BranchOpened):
                skip = self._open(first, first.event, own, words)
            else:
                assert isinstance(first.event, ConversationStarted)
                self._begin(first.event, policy)
                skip = 1
            self._go_through(branch, own[skip:], words)

    def _id(self, one: RecordedEvent, act: str) -> str:
        return str(derived_id("assess", self._shadow, one.branch, one.version, act)).replace("derived:", "assess~")

    def _begin(self, started: ConversationStarted, policy: Policy | None) -> None:
        begin = ask.StartConversation(
            id=self._shadow, by=self._by, conversation=self._shadow, account=started.account,
            policy=policy or started.policy, model=started.model, mode=Mode.SHADOW,
        )  # fmt: skip
        self._service.begin(begin)
        self._branches[self._tree] = self._shadow
        self._versions[self._tree] = {1: 1}

    def _open(
        self, one: RecordedEvent, opened: BranchOpened, own: Sequence[RecordedEvent], words: Mapping[str, str]
    ) -> int:
        """Open a branch as the conversation did, with its first turn if that is what was edited; return how many of its
        events that covers."""
        above = self._versions[opened.parent]
        at = above[opened.at + 1] - 1
        self._versions[one.branch] = {version: there for version, there in above.items() if version <= opened.at}
        child = f"{self._shadow}~{self._id(one, 'child').removeprefix('assess~')[:12]}"
        self._branches[one.branch] = child
        said = own[1] if len(own) > 1 and isinstance(own[1].event, UserTurnTaken) else None
        text = words.get(said.event.content, _GONE) if said and isinstance(said.event, UserTurnTaken) else None
        command = ask.OpenBranch(
            id=self._id(one, "open"), by=self._user, parent=self._branches[opened.parent], at=at, cause=opened.cause
        )
        receipt = self._recorded(command.id) or _receipt(self._service.fork(command, text, child=child))
        here = [recorded for recorded in receipt if recorded.branch == child]
        self._versions[one.branch][one.version] = here[0].version
        if said is None:
            return 1
        self._versions[one.branch][said.version] = here[1].version
        self._judge(said, own, words)
        return 2

    def _go_through(self, branch: str, own: Sequence[RecordedEvent], words: Mapping[str, str]) -> None:
        for nth, one in enumerate(own):
            event, there = one.event, self._branches[branch]
            command: ask.Command
            if isinstance(event, UserTurnTaken):
                command = ask.TakeUserTurn(id=self._id(one, "said"), by=self._user)
            elif isinstance(event, AssistantTurnTaken):
                command = ask.TakeAssistantTurn(
                    id=self._id(one, "answered"), by=event.by, model=event.model, stop_reason=event.stop_reason,
                    usage=event.usage,
                )  # fmt: skip
            elif isinstance(event, ModelChanged):
                command = ask.ChangeModel(id=self._id(one, "model"), by=event.by, model=event.model)
            else:
                continue
            text = None if isinstance(event, ModelChanged) else words.get(content_of(event) or "", _GONE)
            receipt = self._recorded(command.id) or _receipt(self._service.execute(there, command, text))
            self._versions[branch][one.version] = receipt[0].version
            if isinstance(event, UserTurnTaken):
                self._judge(one, own[nth:], words)

    def _recorded(self, id: str) -> tuple[RecordedEvent, ...]:
        return tuple(self._conversations.store.recorded_by(self._shadow, id))

    def _judge(self, one: RecordedEvent, own: Sequence[RecordedEvent], words: Mapping[str, str]) -> None:
        """Have the unit judged that ends with a turn of the user, unless it goes on with another one."""
        after = next((turn for turn in own if turn.version > one.version and _is_turn(turn)), None)
        if after is not None and isinstance(after.event, UserTurnTaken):
            return
        there = self._branches[one.branch]
        id = self._id(one, "judged")
        if self._recorded(id):
            self._done.there += 1
            return
        if content_of(one.event) not in words:
            self._done.gone += 1
            return
        turn = self._versions[one.branch][one.version]
        state = self._conversations.state(there)
        case = case_of(there, turn, self._said(there, turn), state.policy.categories)
        opinion = assess(self._assessor, case, self._patience)
        if isinstance(opinion, Failure):
            self._done.failed += 1
        elif opinion is None:
            self._done.silent += 1
        else:
            verdict = ask.AssessTurn(id=id, by=self._by, turn=turn, **dict(opinion))
            outcome = self._service.execute(there, verdict)
            if isinstance(outcome, Refused):  # of a category, say, that the policy does not name
                self._done.failed += 1
                return
            self._done.units += 1
            self._done.verdicts[opinion.verdict.value] += 1
            self._done.risks[opinion.risk.value] += 1

    def _said(self, branch: str, turn: int) -> Iterator[tuple[str, str]]:
        path = self._conversations.path(branch, upto=turn)
        words = self._conversations.words(path)
        for one in filter(_is_turn, path):
            role = "user" if isinstance(one.event, UserTurnTaken) else "assistant"
            yield role, said_by(role, words.get(content_of(one.event) or "", _NO_WORDS))


def _is_turn(one: RecordedEvent) -> bool:
    return isinstance(one.event, UserTurnTaken | AssistantTurnTaken)


def _receipt(outcome: Receipt | Refused) -> tuple[RecordedEvent, ...]:
    assert isinstance(outcome, Receipt), outcome
    return outcome.events
