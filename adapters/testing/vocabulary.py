"""The words that histories are told in, so that a test reads as the law does.

A *step* is a command, or an event where a test needs one that no command would propose, or a function from the state
so far to either: the versions that a step names are looked up when it is taken, never counted by hand. Steps nest,
so a phrase of several steps is a tuple of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

from lastresort.domain import commands as ask
from lastresort.domain.decider import Acceptance, decide
from lastresort.domain.events import Event, EventBase, RecordedEvent
from lastresort.domain.law import broken_by
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import (
    LATEST,
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    ErasureCause,
    ForkCause,
    Ground,
    HoldReason,
    Mode,
    Rating,
    Risk,
    Verdict,
)

from .asking import ASSESSOR, MODEL, OPERATOR, USER
from .lawful import as_text
from .strategies import THEN

__all__ = [
    "ABUSED",
    "AMBIGUOUS",
    "ANOTHER_MODEL",
    "ANSWERED",
    "APPEALED",
    "ASKED_AND_CONFIRMED",
    "ASKED_TO_END",
    "ASSESSOR",
    "AT_RISK",
    "CONFIRMED",
    "EDITED",
    "END",
    "ENDED",
    "END_ON_REQUEST",
    "ERASED",
    "FEEDBACK",
    "HARMFUL",
    "HELD",
    "HOPELESS",
    "LEFT",
    "MODEL",
    "NAMED_ASSESSOR",
    "OPERATOR",
    "PRODUCTIVE",
    "PRODUCTIVE_UNIT",
    "PROPOSED",
    "REDIRECTED",
    "RELEASED",
    "RETRIED",
    "SAID",
    "STARTED",
    "SYSTEM",
    "TESTED",
    "THREE_FAILED_REDIRECTIONS",
    "UNPRODUCTIVE",
    "UP_TO_THE_END",
    "USER",
    "WARNED",
    "WITHHELD",
    "WORDS",
    "Asked",
    "Failed",
    "Step",
    "Story",
    "appeal_decided",
    "asked_to_end",
    "assistant_turn",
    "branched_off",
    "confirmed",
    "end",
    "end_on_request",
    "failed_redirections",
    "harmful",
    "held",
    "hopeless",
    "judged",
    "model_changed",
    "opened",
    "policy",
    "policy_changed",
    "proposed",
    "redirected",
    "released",
    "resolve",
    "risk_cleared",
    "risk_raised",
    "started",
    "up_to_the_end",
    "user_turn",
    "warned",
    "withheld",
]

Asked = ask.Command | Event
Step = Asked | Callable[[Conversation], Asked] | Sequence["Step"]

ANOTHER_MODEL = Actor(kind=ActorKind.MODEL, id="claude-opus-4-0")
NAMED_ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="crisis-desk")
SYSTEM = Actor(kind=ActorKind.SYSTEM, id="system")

WORDS = "sha256:" + "a" * 64
"""The digest of some sealed words; which ones is nothing to the law."""


def policy(**fields: Any) -> Policy:
    """The default policy, but for `fields`."""
    return Policy(**{"name": "tested", **fields})


# --- taking steps ----------------------------------------------------------------------------------------------------


class Failed(AssertionError):
    """A story went otherwise than a test says. `history` tells it as a transcript, which the pytest plugin prints."""

    def __init__(self, message: str, story: "Story") -> None:
        self.history = as_text(story.log)
        super().__init__(message)


class Story(NamedTuple):
    """A history of one path, and the state that it adds up to."""

    events: tuple[Event, ...] = ()
    state: Conversation = Conversation()

    @property
    def log(self) -> tuple[RecordedEvent, ...]:
        """The history as a store would hold it, on a branch `c`, each event by a command of its own."""
        return tuple(
            RecordedEvent(at, "c", at, event.kind, THEN.isoformat(), f"command-{at}", event, f"command-{at}")
            for at, event in enumerate(self.events, start=1)
        )

    def tell(self, *steps: Step) -> "Story":
        """Return the story with `steps` at its end. Each of them must be lawful: no test starts from what cannot be.

        Raises:
            Failed: one of them is not; the message says what stands in its way.
        """
        __tracebackhide__ = True
        story = self
        for step in _flat(steps):
            for event in _events_of(step, story):
                broken = broken_by(story.state, event)
                if broken:
                    where = f"{event.kind} at {story.state.version + 1}"
                    raise Failed(f"not a lawful history: {where}: {'; '.join(map(str, broken))}", story)
                story = Story((*story.events, event), evolve(story.state, event))
        return story


def resolve(step: Step, state: Conversation) -> Asked:
    """Fill in what `step`, which is a single one, looks up in `state`."""
    return step(state) if callable(step) else cast(Asked, step)


def _flat(steps: Iterable[Step]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Sequence):
            yield from _flat(step)
        else:
            yield step


def _events_of(step: Step, story: Story) -> tuple[Event, ...]:
    asked = resolve(step, story.state)
    if isinstance(asked, EventBase):
        return (asked,)
    decision = decide(asked, story.state)
    if not isinstance(decision, Acceptance):
        raise Failed(f"not a lawful history: {decision}", story)
    return decision.events


def user_turn(state: Conversation) -> int:
    """The latest user turn; if nobody has spoken, the one that might be next."""
    return state.unit.turn if state.unit else state.version + 1


def assistant_turn(state: Conversation) -> int:
    """The latest assistant turn; if the model has not spoken, the one that might be next."""
    return state.answered_by or state.version + 1


# --- turns -----------------------------------------------------------------------------------------------------------


def started(
    policy: Policy | None = None, model: str = MODEL.id, *, law: int = LATEST, mode: Mode = Mode.ENFORCED
) -> ask.StartConversation:
    return ask.StartConversation(
        id="start",
        by=USER,
        conversation="c",
        account="account",
        policy=policy or Policy.default(),
        model=model,
        law=law,
        mode=mode,
    )


STARTED = started()
SAID = ask.TakeUserTurn(id="say", by=USER, content=WORDS)
ANSWERED = ask.TakeAssistantTurn(id="answer", by=MODEL, content=WORDS, model=MODEL.id, stop_reason="end_turn")
LEFT = ask.Leave(id="leave", by=USER)


# --- judging ---------------------------------------------------------------------------------------------------------


def judged(
    verdict: Verdict,
    category: str | None = None,
    severity: int | None = None,
    *,
    risk: Risk = Risk.NONE,
    by: Actor = ASSESSOR,
    turn: int | None = None,
) -> Step:
    """A verdict on the latest user turn, or on the one that is named."""
    return lambda state: ask.AssessTurn(
        id="seen-by-assessor",
        by=by,
        turn=turn or user_turn(state),
        verdict=verdict,
        category=category,
        severity=severity,
        risk=risk,
    )


def harmful(category: str = "abuse", severity: int = 2, **more: Any) -> Step:
    return judged(Verdict.HARMFUL, category, severity, **more)


HARMFUL = harmful()
PRODUCTIVE = judged(Verdict.PRODUCTIVE)
AMBIGUOUS = judged(Verdict.AMBIGUOUS)
UNPRODUCTIVE = judged(Verdict.UNPRODUCTIVE)


# --- leading away, and warning ---------------------------------------------------------------------------------------


def redirected(*, turn: int | None = None, answers: int | None = None) -> Step:
    """The latest assistant turn redirects the latest user turn, unless others are named."""
    return lambda state: ask.AttemptRedirection(
        id="redirect", by=MODEL, turn=turn or assistant_turn(state), answers=answers or user_turn(state)
    )


def warned(
    category: str = "abuse",
    *,
    turn: int | None = None,
    seen: int | None = None,
    names_behaviour: bool = True,
    redirects: bool = True,
    states_consequence: bool = True,
) -> Step:
    """The latest assistant turn warns, having seen the latest user turn, unless others are named."""
    return lambda state: ask.GiveWarning(
        id="warn",
        by=MODEL,
        turn=turn or assistant_turn(state),
        seen=seen or user_turn(state),
        category=category,
        names_behaviour=names_behaviour,
        redirects=redirects,
        states_consequence=states_consequence,
    )


def withheld(category: str = "abuse", *, by: Actor = MODEL, seen: int | None = None) -> Step:
    """In shadow mode: the latest assistant turn would have warned, having seen the latest user turn."""
    return lambda state: ask.WithholdWarning(id="withhold", by=by, seen=seen or user_turn(state), category=category)


REDIRECTED: Step = (ANSWERED, redirected())
WARNED: tuple[Step, ...] = (ANSWERED, warned())
WITHHELD: tuple[Step, ...] = (ANSWERED, withheld())
ABUSED: Step = (SAID, HARMFUL)
"""A unit that is judged harmful."""

PRODUCTIVE_UNIT: Step = (SAID, PRODUCTIVE, ANSWERED)
"""A unit that is judged productive, and answered."""


def failed_redirections(count: int, abused: Step = ABUSED) -> Step:
    """So many redirections, each of which failed: the harm went on, and goes on in the latest unit."""
    return ((abused, REDIRECTED) * count, abused)


THREE_FAILED_REDIRECTIONS: Sequence[Step] = (failed_redirections(3),)
TESTED: Step = ABUSED
"""After a warning: the harm that it named goes on."""


# --- risk ------------------------------------------------------------------------------------------------------------


def risk_raised(risk: str = "risk", *, about: About = About.SELF, by: Actor = USER) -> ask.RaiseRisk:
    return ask.RaiseRisk(id="raise", by=by, risk=risk, about=about)


def risk_cleared(risk: str = "risk", *, by: Actor = OPERATOR) -> ask.ClearRisk:
    return ask.ClearRisk(id="clear", by=by, risk=risk)


AT_RISK = risk_raised()


# --- the user's wish, and hope ---------------------------------------------------------------------------------------


def asked_to_end(*, by: Actor = USER, turn: int | None = None) -> Step:
    return lambda state: ask.RequestEnd(id="request", by=by, turn=turn or user_turn(state))


def confirmed(*, by: Actor = USER, turn: int | None = None) -> Step:
    return lambda state: ask.ConfirmEnd(id="confirm", by=by, turn=turn or user_turn(state))


def hopeless(*, turn: int | None = None) -> Step:
    return lambda state: ask.DeclareHopeExhausted(id="hope", by=MODEL, turn=turn or user_turn(state))


ASKED_TO_END = asked_to_end()
CONFIRMED = confirmed()
HOPELESS = hopeless()

ASKED_AND_CONFIRMED: Step = (SAID, ASKED_TO_END, ANSWERED, SAID, PRODUCTIVE, CONFIRMED)
"""The user asked to end, the model asked back, and the user confirmed it; nobody sees a risk."""


# --- ending ----------------------------------------------------------------------------------------------------------


def proposed(ground: Ground = Ground.LAST_RESORT, *, by: Actor = MODEL, seen: int | None = None) -> Step:
    return lambda state: ask.ProposeEnding(id="propose", by=by, seen=seen or user_turn(state), ground=ground)


def end(category: str = "abuse", *, by: Actor = MODEL, seen: int | None = None) -> Step:
    """An ending as last resort."""
    return lambda state: ask.EndConversation(
        id="end", by=by, seen=seen or user_turn(state), ground=Ground.LAST_RESORT, category=category
    )


def end_on_request(*, by: Actor = MODEL, seen: int | None = None) -> Step:
    return lambda state: ask.EndConversation(id="end", by=by, seen=seen or user_turn(state), ground=Ground.USER_REQUEST)


PROPOSED = proposed()
END = end()
END_ON_REQUEST = end_on_request()


def up_to_the_end(abused: Step = ABUSED) -> Sequence[Step]:
    """All that an ending as last resort for abuse needs, where each unit of harm is `abused`."""
    return (failed_redirections(3, abused), WARNED, abused, HOPELESS)


UP_TO_THE_END = up_to_the_end()

ENDED: tuple[Step, ...] = (ASKED_AND_CONFIRMED, END_ON_REQUEST)
"""The shortest way to an ending."""


# --- the rest --------------------------------------------------------------------------------------------------------


def policy_changed(to: Policy, *, law: int | None = None, mode: Mode | None = None) -> ask.ChangePolicy:
    return ask.ChangePolicy(id="policy", by=OPERATOR, policy=to, law=law, mode=mode)


def model_changed(to: str = ANOTHER_MODEL.id) -> ask.ChangeModel:
    return ask.ChangeModel(id="model", by=OPERATOR, model=to)


def appeal_decided(outcome: AppealOutcome = AppealOutcome.GRANTED, *, by: Actor = OPERATOR) -> ask.DecideAppeal:
    return ask.DecideAppeal(id="decide", by=by, outcome=outcome)


def held(
    hold: str = "case-7", *, reason: HoldReason = HoldReason.LITIGATION, until: str | None = None, by: Actor = OPERATOR
) -> ask.HoldErasure:
    return ask.HoldErasure(id="hold", by=by, hold=hold, reason=reason, until=until)


def released(hold: str = "case-7", *, by: Actor = OPERATOR) -> ask.ReleaseErasure:
    return ask.ReleaseErasure(id="release", by=by, hold=hold)


HELD = held()
RELEASED = released()


def branched_off(at: int, child: str = "child") -> ask.BranchOff:
    return ask.BranchOff(id="branch", by=USER, child=child, at=at)


FEEDBACK = ask.GiveFeedback(id="feedback", by=USER, rating=Rating.DOWN)
APPEALED = ask.FileAppeal(id="appeal", by=USER)
ERASED = ask.EraseContents(id="erase", by=USER, contents=(WORDS,), cause=ErasureCause.USER_REQUEST)


def opened(cause: ForkCause, *, at: int | None = None) -> Step:
    """A branch opens, at the end of the prefix unless another version is named."""
    return lambda state: ask.OpenBranch(id="open", by=USER, parent="c", at=at or state.version, cause=cause)


EDITED = opened(ForkCause.EDIT)
RETRIED = opened(ForkCause.RETRY)
