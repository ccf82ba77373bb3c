"""Playing transcripts: the recorded side of the user against the offline partner, under the law."""

from collections.abc import Iterable
from enum import Enum
from itertools import count

from lastresort.adapters import open_conversations
from lastresort.adapters.turns.partner import OfflinePartner
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import BranchEnded, Receipt
from lastresort.application.ports import Ports
from lastresort.application.service import Service
from lastresort.domain.policy import Policy
from lastresort.domain.values import VOCABULARY, Actor, ActorKind, Risk, Verdict
from lastresort.projections.figures import Figures, figures

from .inputs import BadInput
from .replay_store import NotPlayed, PlainVault, PlayedOtherwise, ReplayStore, TakenOnly
from .tally import Tally
from .transcripts import Step, Transcript, Turn, steps

ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="transcript")
OTHER = "other"
"""The category of harm that a transcript does not name, or by a name that neither the law nor the policy knows. No
policy ends for it, unless it says so."""


class Progress(Enum):
    """How much of a transcript is in a store."""

    NOTHING = "nothing"
    PART = "part"
    WHOLE = "whole"


class Simulation:
    """Plays transcripts into the store at `url`. Ids follow from the transcripts, so playing them again names the same.

    What was played before is not played again: a conversation that was played in part is gone on with.

    Raises:
        StoreError: the store cannot be opened.
    """

    def __init__(self, url: str, *, model: str, policy: Policy) -> None:
        self.tally = Tally()
        self.conversations = open_conversations(url, observer=self.tally)
        self._model = model
        self._policy = policy
        self._partner = OfflinePartner()
        self._label = Risk.UNKNOWN  # what the transcript says of the turn that is played
        self._prefix, self._numbers = "", count(1)

    def _new_id(self) -> str:
        return f"{self._prefix}~{next(self._numbers)}"

    def check(self, transcripts: Iterable[Transcript]) -> dict[str, Progress]:
        """Return how much of each conversation is in the store, by its id. Writes nothing.

        Raises:
            BadInput: one is in the store, and is not what this simulation would make of its transcript.
        """
        return {transcript.conversation: self._found(transcript) for transcript in transcripts}

    def _found(self, transcript: Transcript) -> Progress:
        if not self.conversations.store.read(transcript.conversation, transcript.conversation, limit=1):
            return Progress.NOTHING
        try:
            self._play(transcript, looking=True)
        except NotPlayed:
            return Progress.PART
        return Progress.WHOLE

    def figures(self, transcripts: Iterable[Transcript]) -> Figures:
        """Count what is in the store of these conversations."""
        played = {transcript.conversation for transcript in transcripts}
        return figures(entry for entry in self.conversations.store.log() if entry.branch.split("~")[0] in played)

    def play(self, transcript: Transcript) -> None:
        """Play one whole transcript; what is in the store of it is not recorded again.

        Raises:
            BadInput: the conversation is in the store, and is not what this simulation would make of the transcript.
        """
        self._play(transcript, looking=False)

    def _play(self, transcript: Transcript, *, looking: bool) -> None:
        try:
            self._go_through(transcript, self._from_the_beginning(transcript.conversation, looking))
        except PlayedOtherwise:
            raise BadInput(
                f"conversation {transcript.conversation} is in this store already, and was not played from this "
                "transcript on these terms; use another store"
            ) from None

    def _from_the_beginning(self, conversation: str, looking: bool) -> Conversations:
        """Return the conversations of the store, as they were before `conversation` was played."""
        there = self.conversations.service.ports
        vault = PlainVault() if looking else there.vault
        ports = Ports(
            ReplayStore(there.store, conversation, sealing=vault, kept=there.vault, looking=looking),
            vault,
            there.clock,
            self._new_id,
            lambda _: self._label,
            snapshots=TakenOnly(there.snapshots) if there.snapshots and not looking else None,
            observer=None if looking else there.observer,
            monotonic=there.monotonic,
        )
        return Conversations(Service(ports))

    def _go_through(self, transcript: Transcript, conversations: Conversations) -> None:
        self._prefix, self._numbers = transcript.conversation, count(1)
        chat = conversations.start(
            conversation=transcript.conversation, account=transcript.account, model=self._model, policy=self._policy
        )
        said: dict[int, tuple[str, int]] = {}  # by index in the transcript: branch and version
        ended: dict[int, Chat] = {}  # what was said after an ending, and where
        for step in steps(transcript):
            chat = self._say(chat, step, said, ended)
            if step.number in said:
                self._partner.answer(chat, step.reply)

    def _say(self, chat: Chat, step: Step, said: dict[int, tuple[str, int]], ended: dict[int, Chat]) -> Chat:
        """Record a user turn, and return the branch on which the rest goes on."""
        turn = step.turn
        self._label = turn.risk or Risk.UNKNOWN
        if turn.edits in said:
            branch, version = said[turn.edits]
            child = chat.conversations.chat(branch).edit(version, turn.text)
            assert isinstance(child, Chat), child
            chat = child
        else:
            # What was said after an ending is on no branch: edited, it meets the same ending.
            there = chat if turn.edits is None else ended[turn.edits]
            outcome = there.user_turn(turn.text)
            if isinstance(outcome, BranchEnded):
                ended[step.number] = there
                return chat
            assert isinstance(outcome, Receipt), outcome
        assert chat.seen is not None
        said[step.number] = chat.branch, chat.seen
        _judge(chat, turn)
        if turn.asks_to_end:
            chat.request_end()
        if turn.confirms_end:
            chat.confirm_end()
        return chat


def _judge(chat: Chat, turn: Turn) -> None:
    """Record what the transcript says of a turn. What it does not say of a risk is unknown, not none."""
    if turn.verdict is None and turn.risk is None:
        return
    harmful = turn.verdict is Verdict.HARMFUL
    chat.judge(
        turn.verdict or Verdict.PRODUCTIVE,  # as the law counts a unit that has no verdict
        category=_category(turn, chat.state.policy) if harmful else None,
        severity=(turn.severity or 1) if harmful else None,
        risk=turn.risk or Risk.UNKNOWN,
        by=ASSESSOR,
    )


def _category(turn: Turn, policy: Policy) -> str:
    known = turn.category in VOCABULARY or turn.category in policy.categories
    return turn.category if turn.category is not None and known else OTHER
