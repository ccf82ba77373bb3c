"""Playing transcripts: the recorded side of the user against the offline partner, under the law."""

from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import count
from typing import Any, TypeVar, assert_never

from lastresort.adapters import open_conversations
from lastresort.adapters.turns.partner import OfflinePartner
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import BranchEnded, Receipt
from lastresort.application.ports import Ports
from lastresort.application.service import Service
from lastresort.domain.commands import AssessTurn
from lastresort.domain.policy import Policy
from lastresort.domain.values import VOCABULARY, About, Actor, ActorKind, Risk, RiskSeen, Verdict, graver
from lastresort.projections.figures import Figures, figures

from .inputs import BadInput
from .replay_store import NotPlayed, PlainVault, PlayedOtherwise, ReplayStore, TakenOnly
from .tally import Tally
from .transcripts import Act, Judged, Opinion, Step, Transcript, Turn, opening, steps

ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="transcript")
OTHER = "other"
"""The category of harm that a transcript does not name, or by a name that neither the law nor the policy knows. No
policy ends for it, unless it says so."""


Given = TypeVar("Given")


class Progress(Enum):
    """How much of a transcript is in a store."""

    NOTHING = "nothing"
    PART = "part"
    WHOLE = "whole"


class Places:
    """Where what a transcript says stands, by the index of the user turn in it.

    Attributes:
        said, answers: the branch and the version of each turn that was recorded, and of the latest answer to it.
        ended: the branches that had ended when a turn was said, which is on none of them.
    """

    def __init__(self) -> None:
        self.said: dict[int, tuple[str, int]] = {}
        self.answers: dict[int, tuple[str, int]] = {}
        self.ended: dict[int, Chat] = {}


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
        self._label: RiskSeen = Risk.UNKNOWN  # what the transcript says of the turn that is played
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
        places = Places()
        for act in opening(transcript):
            do(act, chat, places)
        for step in steps(transcript):
            before = chat
            chat = self._say(chat, step, places) if step.retry is None else _retried(chat, step, places)
            for act in step.before:
                do(act, chat, places)
            answered = step.number in places.said and (step.retry is None or chat is not before)
            if answered and not step.turn.goes_on:
                self._partner.answer(chat, step.reply, model=step.model)
                assert chat.answered is not None
                places.answers[step.number] = chat.branch, chat.answered
            for act in step.after:
                do(act, chat, places)

    def _say(self, chat: Chat, step: Step, places: Places) -> Chat:
        """Record a user turn, and return the branch on which the rest goes on."""
        said, ended = places.said, places.ended
        turn = step.turn
        self._label = _risk_of(turn)
        if turn.edits in said:
            branch, version = said[turn.edits]
            child = _spoken_by(turn, chat.conversations.chat(branch)).edit(version, turn.text)
            assert isinstance(child, Chat), child
            chat = child
        else:
            # What was said after an ending is on no branch: edited, it meets the same ending.
            there = chat if turn.edits is None else ended[turn.edits]
            outcome = _spoken_by(turn, there).user_turn(turn.text)
            if isinstance(outcome, BranchEnded):
                ended[step.number] = there
                return chat
            assert isinstance(outcome, Receipt), outcome
        assert chat.seen is not None
        said[step.number] = chat.branch, chat.seen
        _spoken_by(turn, chat)
        _judge(chat, turn, ASSESSOR, turn.about or About.SELF)
        for opinion in turn.opinions:
            _judge(chat, opinion, Actor(kind=opinion.kind, id=opinion.by), opinion.about)
        if turn.asks_to_end:
            chat.request_end()
        if turn.confirms_end:
            chat.confirm_end()
        return chat


def _risk_of(turn: Turn) -> RiskSeen:
    """Return what the transcript says of a risk in a turn, by whom it is about: the screen after an ending."""
    seen: dict[About, Risk] = {}
    words: tuple[Turn | Opinion, ...] = turn, *turn.opinions
    for said in words:
        about = said.about or About.SELF
        seen[about] = graver(seen.get(about, Risk.NONE), said.risk or Risk.UNKNOWN)
    return seen


def _spoken_by(turn: Turn, chat: Chat) -> Chat:
    """Return a handle on a branch on which the user of a turn acts."""
    chat.user = Actor(kind=ActorKind.USER, id=turn.by or chat.state.account or "user")
    return chat


def _retried(chat: Chat, step: Step, places: Places) -> Chat:
    """Return the branch on which a turn is to be answered once more: this one, if it was not answered."""
    if (place := places.answers.get(step.number)) is None:
        return chat
    branch, version = place
    asking = _as_user(_given(step.retry), _spoken_by(step.turn, chat.conversations.chat(branch)))
    child = asking.retry(version)
    assert isinstance(child, Chat), child
    places.said[step.number] = child.branch, places.said[step.number][1]  # whose path begins with it, as before
    return _spoken_by(step.turn, child)


def _as_user(act: Act, chat: Chat) -> Chat:
    """Return a handle on the same branch on which the user acts whom an act names, if it names anybody."""
    if "by" not in act.model_fields_set:
        return chat
    there = chat.conversations.chat(chat.branch)
    there.user = Actor(kind=ActorKind.USER, id=act.by)
    return there


def _judge(chat: Chat, said: Judged, by: Actor, about: About = About.SELF) -> None:
    """Record what the transcript says of a turn. What it does not say of a risk is unknown, not none."""
    if said.verdict is not None or said.risk is not None:
        chat.judge(**_verdict(said, chat.state.policy), by=by, about=about)


def _verdict(said: Judged, policy: Policy) -> dict[str, Any]:
    harmful = said.verdict is Verdict.HARMFUL
    return {
        "verdict": said.verdict or Verdict.PRODUCTIVE,  # as the law counts a unit that has no verdict
        "category": _category(said, policy) if harmful else None,
        "severity": (said.severity or 1) if harmful else None,
        "risk": said.risk or Risk.UNKNOWN,
    }


def _category(turn: Judged, policy: Policy) -> str:
    known = turn.category in VOCABULARY or turn.category in policy.categories
    return turn.category if turn.category is not None and known else OTHER


def do(act: Act, chat: Chat, places: Places) -> None:
    """Have something happen beside what is said. What the law refuses does not happen."""
    by = Actor(kind=act.kind, id=act.by)
    match act.act:
        case "leaves":
            _as_user(act, chat).leave()
        case "rates":
            _rate(act, chat, places)
        case "appeals":
            _as_user(act, chat).appeal(act.text)
        case "decides_appeal":
            chat.decide_appeal(_given(act.outcome), by=by)
        case "judges":
            _judge_late(act, chat, by, places.said)
        case "raises_risk":
            chat.raise_risk(act.about, by=by)
        case "clears_risks":
            for risk in dict.fromkeys(one.risk for one in chat.refresh().risks):
                chat.clear_risk(risk, by=by)
        case "changes_policy":
            chat.change_policy(_given(act.policy), edition=act.edition, mode=act.mode, by=by)
        case "changes_model":
            chat.change_model(_given(act.model), by=by)
        case "holds_words":
            chat.hold(_given(act.hold), reason=_given(act.reason), until=act.until, by=by)
        case "releases_words":
            chat.release_hold(_given(act.hold), by=by)
        case "erases_words":
            _erase(act, chat, by, places)
        case "retries":
            raise AssertionError("another answer is a step of its own")
        case _:
            assert_never(act.act)


def _rate(act: Act, chat: Chat, places: Places) -> None:
    """Say what the user thinks of the conversation, or of an answer, on the branch on which it stands."""
    if act.of is None:
        _as_user(act, chat).feedback(act.rating, act.text)
    elif (place := places.answers.get(act.of)) is not None:
        there = chat.conversations.chat(place[0])
        there.user = chat.user
        _as_user(act, there).feedback(act.rating, act.text, turn=place[1])


def _erase(act: Act, chat: Chat, by: Actor, places: Places) -> None:
    """Erase the words of a turn, or of the answer to it. If there are none, there is nothing to erase."""
    if (place := (places.answers if act.answer else places.said).get(_given(act.of))) is not None:
        chat.conversations.chat(place[0]).erase(place[1], cause=act.cause, by=by)


def _judge_late(act: Act, chat: Chat, by: Actor, said: Mapping[int, tuple[str, int]]) -> None:
    """Judge a turn that may no longer be the latest. If it was said after an ending, it is nowhere."""
    if (place := said.get(_given(act.of))) is not None:
        branch, turn = place
        id, verdict = chat.conversations.new_id(), _verdict(act, chat.state.policy)
        chat.conversations.service.execute(branch, AssessTurn(id=id, by=by, turn=turn, about=act.about, **verdict))
        chat.refresh()


def _given(value: Given | None) -> Given:
    assert value is not None, "a transcript is checked before it is played"
    return value
