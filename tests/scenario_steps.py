"""What scenarios are told in: short steps in plain words, played through a store in memory with the offline partner.

A step is a function of a `Play`. Whatever a step takes for granted must be done, or the play fails; what somebody tries
in vain is said with `tries`, and the rules that stood in the way are kept with the point in the story.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from lastresort.adapters.turns.partner import OfflinePartner
from lastresort.application.chat import ASSESSOR, Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import BranchEnded
from lastresort.domain.decider import Refused
from lastresort.domain.events import AssistantTurnTaken, ConversationEnded, RecordedEvent, UserTurnTaken
from lastresort.domain.policy import Policy
from lastresort.domain.values import (
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    ErasureCause,
    Ground,
    HoldReason,
    Mode,
    Risk,
    Verdict,
)

MODEL = "claude-opus-4-1"
OPERATOR = Actor(kind=ActorKind.OPERATOR, id="on-call")
SECOND_JUDGE = Actor(kind=ActorKind.ASSESSOR, id="second")
THE_MODEL = Actor(kind=ActorKind.MODEL, id=MODEL)
REQUEST = Ground.USER_REQUEST
PARTNER = OfflinePartner()


class Word(NamedTuple):
    """What a judge says of a unit."""

    verdict: Verdict
    category: str | None = None
    severity: int | None = None
    risk: Risk = Risk.NONE
    about: About = About.SELF
    by: Actor = ASSESSOR


def harm(category: str = "abuse", severity: int = 2, **also: Any) -> Word:
    return Word(Verdict.HARMFUL, category, severity, **also)


def fine(**also: Any) -> Word:
    return Word(Verdict.PRODUCTIVE, **also)


def unclear(**also: Any) -> Word:
    return Word(Verdict.AMBIGUOUS, **also)


def frustrated(**also: Any) -> Word:
    return Word(Verdict.UNPRODUCTIVE, **also)


class Play:
    """A story as far as it has been told: a handle on the branch that it is about now, and those that it left."""

    def __init__(self, conversations: Conversations, policy: Policy, law: int, mode: Mode) -> None:
        self.chat = conversations.start(
            model=MODEL, account="ann", policy=policy, edition=law, mode=mode, conversation="c", command_id="start"
        )
        self.left: list[Chat] = []
        self.branches = 0
        self.point: str | None = None
        self.rules: frozenset[str] = frozenset()

    def new_branch(self) -> str:
        self.branches += 1
        return f"b{self.branches}"

    def stand(self, point: str, rules: tuple[str, ...]) -> None:
        """Keep what stands in the way at a point, the last that the story names."""
        self.point, self.rules = point, frozenset(rules)


Step = Callable[[Play], None]


def done(outcome: Any) -> Any:
    """Check that what a step takes for granted was done."""
    assert not isinstance(outcome, Refused | BranchEnded), str(outcome)
    return outcome


# --- What the user says ---------------------------------------------------------------------------------------------


def begins(words: str, *judges: Word, user: str = "ann") -> Step:
    """The user says something, and the judges of it; nobody answers yet."""

    def step(play: Play) -> None:
        play.chat.user = Actor(kind=ActorKind.USER, id=user)
        done(play.chat.user_turn(words))
        judged(*judges)(play)

    return step


def says(words: str, *judges: Word, user: str = "ann") -> Step:
    """The user says something, the judges of it, and the assistant answers."""
    return in_turn(begins(words, *judges, user=user), answers)


def judged(*judges: Word) -> Step:
    """The judges say something of the latest unit, later perhaps than it was answered."""

    def step(play: Play) -> None:
        for word in judges:
            done(_judge(play.chat, word))

    return step


def judged_in_vain(word: Word) -> Step:
    """A judge says something that is refused, for being late, say."""
    return tries("a late verdict", lambda chat: _judge(chat, word))


def _judge(chat: Chat, word: Word) -> Any:
    return chat.judge(**word._asdict())


def in_turn(*steps: Step) -> Step:
    def all_of_them(play: Play) -> None:
        for step in steps:
            step(play)

    return all_of_them


def times(number: int, *steps: Step) -> Step:
    return in_turn(*steps * number)


def asks(words: str = "Please end this chat.", *judges: Word, user: str = "ann") -> Step:
    """The user asks to end, and the assistant asks back whether it is to be for good."""
    return in_turn(begins(words, *judges or (unclear(),), user=user), _requested, answers)


def confirms(words: str = "Yes, for good.", *judges: Word, user: str = "ann") -> Step:
    return in_turn(begins(words, *judges or (unclear(),), user=user), _confirmed, answers)


def _requested(play: Play) -> None:
    done(play.chat.request_end())


def _confirmed(play: Play) -> None:
    done(play.chat.confirm_end())


def leaves(play: Play) -> None:
    done(play.chat.leave())


def writes_after_the_end(words: str) -> Step:
    def step(play: Play) -> None:
        outcome = play.chat.user_turn(words)
        assert isinstance(outcome, BranchEnded), outcome
        assert outcome.words == words, "the words are handed back"

    return step


# --- What stands in the way -----------------------------------------------------------------------------------------


def point(name: str, ground: Ground = Ground.LAST_RESORT) -> Step:
    """Ask, at this point, what stands between the branch and an ending."""
    return lambda play: play.stand(name, tuple(one.rule for one in play.chat.why(ground)))


def tries(name: str, act: Callable[[Chat], Any]) -> Step:
    """Somebody tries what the law refuses."""

    def step(play: Play) -> None:
        outcome = act(play.chat)
        assert isinstance(outcome, Refused), outcome
        play.stand(name, outcome.rules)

    return step


def does(act: Callable[[Chat], Any]) -> Step:
    """Somebody does what the law lets them do."""

    def step(play: Play) -> None:
        done(act(play.chat))

    return step


# --- What others do -------------------------------------------------------------------------------------------------


def clears(play: Play) -> None:
    """An operator looks, and clears every risk that is open."""
    for risk in play.chat.state.risks:
        done(play.chat.clear_risk(risk.risk, by=OPERATOR))


def raises_risk(play: Play) -> None:
    """The model says that somebody may be about to harm themselves."""
    done(play.chat.raise_risk(by=THE_MODEL))


def new_policy(policy: Policy, **terms: Any) -> Step:
    return does(lambda chat: chat.change_policy(policy, by=OPERATOR, **terms))


def new_model(model: str) -> Step:
    return does(lambda chat: chat.change_model(model, by=OPERATOR))


def appeals(outcome: AppealOutcome) -> Step:
    def step(play: Play) -> None:
        done(play.chat.appeal("That was not what it looked like."))
        done(play.chat.decide_appeal(outcome, by=OPERATOR))

    return step


def edits(number: int, words: str, *judges: Word) -> Step:
    """The user goes back to their turn `number` and says something else there, and the assistant answers."""

    def step(play: Play) -> None:
        child = done(play.chat.edit(_user_turns(play.chat.path)[number - 1], words, child=play.new_branch()))
        play.left.append(play.chat)
        play.chat = child
        judged(*judges)(play)
        answers(play)

    return step


def retries(number: int) -> Step:
    """The user asks for another answer to their turn `number`, and gets it."""

    def step(play: Play) -> None:
        asked = _user_turns(play.chat.path)[number - 1]
        answer = next(r.version for r in play.chat.path if r.version > asked and r.kind == AssistantTurnTaken.kind)
        play.left.append(play.chat)
        play.chat = done(play.chat.retry(answer, child=play.new_branch()))
        answers(play)

    return step


def goes_to(branch: str) -> Step:
    """The user goes back to another branch: `c`, the first one, or `b1`, `b2`, as they were opened."""

    def step(play: Play) -> None:
        play.left.append(play.chat)
        play.chat = play.chat.conversations.chat(branch)

    return step


def holds(play: Play) -> None:
    done(play.chat.hold("case-7", reason=HoldReason.LITIGATION, by=OPERATOR))


def releases(play: Play) -> None:
    done(play.chat.release_hold("case-7", by=OPERATOR))


def erase_all(chat: Chat) -> Any:
    conversations = chat.conversations
    outcome = conversations.erase_conversation(chat.branch, by=chat.user, cause=ErasureCause.USER_REQUEST)
    kept = conversations.words(chat.path)
    assert bool(kept) is isinstance(outcome, Refused), "all of the words are gone, or none"
    return outcome


def erases(play: Play) -> None:
    done(erase_all(play.chat))


# --- The assistant --------------------------------------------------------------------------------------------------


def answers(play: Play) -> None:
    """Answer as a lawful assistant: support in a hold, else redirect, warn and end as soon as the law allows."""
    PARTNER.answer(play.chat)


# --- What came of it ------------------------------------------------------------------------------------------------


def _user_turns(path: list[RecordedEvent]) -> list[int]:
    return [recorded.version for recorded in path if isinstance(recorded.event, UserTurnTaken)]


def outcome(chat: Chat) -> str:
    """Say how a branch stands: `active`, `warned`, `warning withheld`, `ended ...`; and `held` where a risk is open."""
    state = chat.refresh()
    if state.ended is not None:
        ending = next(r for r in chat.path if isinstance(r.event, ConversationEnded))
        number = len(_user_turns(chat.path[: ending.version]))
        said = "last resort" if state.ended.ground is Ground.LAST_RESORT else "on request"
        how = f"ended at {number}, {said}"
    elif state.now.withheld is not None:
        how = "warning withheld"
    elif state.now.warnings or (state.unit and state.unit.warnings and state.unit.judgement is Verdict.HARMFUL):
        how = "warned"
    else:
        how = "active"
    return f"{how}, held" if state.risks else how
