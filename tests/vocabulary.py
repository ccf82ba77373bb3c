"""The words that the tests are written in, so that a test reads as the law does.

A *step* is a command, or an event where a test needs one that no command would propose, or a function from the state
so far to either: the versions that a step names are looked up when it is taken, never counted by hand. Steps nest,
so a phrase of several steps is a tuple of them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from lastresort.domain import commands as ask
from lastresort.domain import events as log
from lastresort.domain.decider import Accepted, decide
from lastresort.domain.events import EVENTS, Event
from lastresort.domain.policy import Policy
from lastresort.domain.rules import broken_by
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import (
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    ErasureCause,
    ForkCause,
    Ground,
    OpenRisk,
    Rating,
    Risk,
    SecondOpinion,
    Usage,
    Verdict,
)

Asked = ask.Command | Event
Step = Asked | Callable[[Conversation], Asked] | Sequence["Step"]

USER = Actor(kind=ActorKind.USER, id="user")
MODEL = Actor(kind=ActorKind.MODEL, id="claude-opus-4-1")
ANOTHER_MODEL = Actor(kind=ActorKind.MODEL, id="claude-opus-4-0")
ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="assessor")
NAMED_ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="crisis-desk")
OPERATOR = Actor(kind=ActorKind.OPERATOR, id="operator")
SYSTEM = Actor(kind=ActorKind.SYSTEM, id="system")

WORDS = "sha256:" + "a" * 64
"""The digest of some sealed words; which ones is nothing to the law."""


def policy(**fields: Any) -> Policy:
    """The default policy, but for `fields`."""
    return Policy(**{"name": "tested", **fields})


# --- taking steps ----------------------------------------------------------------------------------------------------


class Story(NamedTuple):
    """A history, and the state that it adds up to."""

    events: tuple[Event, ...] = ()
    state: Conversation = Conversation()

    def tell(self, *steps: Step) -> "Story":
        """Return the story with `steps` at its end. Each of them must be lawful: no test starts from what cannot be."""
        story = self
        for step in _flat(steps):
            for event in _events_of(resolve(step, story.state), story.state):
                broken = broken_by(story.state, event)
                assert not broken, f"not a lawful history: {event.kind} at {story.state.version + 1}: {broken}"
                story = Story((*story.events, event), evolve(story.state, event))
        return story


def resolve(step: Step, state: Conversation) -> Asked:
    """Fill in what `step` looks up in `state`."""
    return step(state) if callable(step) else step  # type: ignore[return-value]  # sequences are flattened before


def _flat(steps: Iterable[Step]) -> Iterable[Step]:
    for step in steps:
        if isinstance(step, tuple | list):
            yield from _flat(step)
        else:
            yield step


def _events_of(asked: Asked, state: Conversation) -> tuple[Event, ...]:
    if isinstance(asked, log.EventBase):
        return (asked,)
    decision = decide(asked, state)
    assert isinstance(decision, Accepted), f"not a lawful history: {decision}"
    return decision.events


def user_turn(state: Conversation) -> int:
    """The latest user turn; if nobody has spoken, the one that might be next."""
    return state.unit.turn if state.unit else state.version + 1


def assistant_turn(state: Conversation) -> int:
    """The latest assistant turn; if the model has not spoken, the one that might be next."""
    return state.answered_by or state.version + 1


# --- turns -----------------------------------------------------------------------------------------------------------


def started(policy: Policy | None = None, model: str = MODEL.id) -> ask.StartConversation:
    return ask.StartConversation(
        id="start", by=USER, conversation="c", account="account", policy=policy or Policy.default(), model=model
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


REDIRECTED: Step = (ANSWERED, redirected())
WARNED: Step = (ANSWERED, warned())
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

ENDED: Step = (ASKED_AND_CONFIRMED, END_ON_REQUEST)
"""The shortest way to an ending."""


# --- the rest --------------------------------------------------------------------------------------------------------


def policy_changed(to: Policy) -> ask.ChangePolicy:
    return ask.ChangePolicy(id="policy", by=OPERATOR, policy=to)


def model_changed(to: str = ANOTHER_MODEL.id) -> ask.ChangeModel:
    return ask.ChangeModel(id="model", by=OPERATOR, model=to)


def appeal_decided(outcome: AppealOutcome = AppealOutcome.UPHELD, *, by: Actor = OPERATOR) -> ask.DecideAppeal:
    return ask.DecideAppeal(id="decide", by=by, outcome=outcome)


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


# --- anything at all, for properties ---------------------------------------------------------------------------------

_ids = st.sampled_from(["~" * 128, "claude", '"\\"']) | st.characters(min_codepoint=33, max_codepoint=126)
_few_ids = st.sampled_from(["a", "b", "c"])
_digests = st.integers(0, 2**256 - 1).map("sha256:{:064x}".format)
_versions = st.integers(1, 40) | st.integers(1, 2**53)
_categories = st.sampled_from(["abuse", "threats", "a", "z" + 63 * "-", "z_9"])
_actors = st.builds(Actor, kind=st.sampled_from(ActorKind), id=st.sampled_from([MODEL.id, "a"]) | _ids)
_tuples_of_versions = st.lists(_versions, max_size=4).map(tuple)


def _tuples(of: st.SearchStrategy[Any], **options: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=3, **options).map(tuple)


policies = st.builds(
    Policy,
    name=_ids,
    min_failed_redirections=st.integers(2, 4),
    productive_to_close=st.integers(1, 3),
    categories=_tuples(_categories),
    min_severity=st.integers(1, 3),
    eligible_models=_tuples(st.sampled_from(["claude-*", "*"]) | _ids),
    handshake=st.booleans(),
    hold_on=st.sets(st.sampled_from([Risk.POSSIBLE, Risk.UNKNOWN])).map(lambda more: (Risk.IMMINENT, *more)),
    trusted_for_risk=_tuples(st.sampled_from([ActorKind.ASSESSOR, ActorKind.OPERATOR, ActorKind.SYSTEM])),
    may_clear_risk=_tuples(_ids),
    second_opinion=st.sampled_from(SecondOpinion),
)
"""Any policy that can be, with numbers small enough to be reached."""

_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "about": st.sampled_from(About),
    "account": st.none() | _ids,
    "answers": _versions,
    "arm": st.none() | _ids,
    "at": _versions,
    "attempted": _ids,
    "by": _actors,
    "category": _categories,
    "child": _few_ids,
    "content": _digests,
    "contents": _tuples(_digests),
    "conversation": _few_ids,
    "evidence": st.builds(
        log.Evidence,
        redirections=_tuples_of_versions,
        **{
            name: st.none() | _versions for name in ("warning", "tested_by", "hope", "request", "confirmation")
        },
    ),
    "ground": st.sampled_from(Ground),
    "handshake": st.booleans(),
    "id": _ids,
    "model": st.sampled_from([MODEL.id, "m"]) | _ids,
    "names_behaviour": st.booleans(),
    "outcome": st.sampled_from(AppealOutcome),
    "parent": _few_ids,
    "policy": policies,
    "policy_hash": _digests,
    "rating": st.none() | st.sampled_from(Rating),
    "redirects": st.booleans(),
    "risk": _few_ids,
    "risks": _tuples(st.builds(OpenRisk, risk=_few_ids, about=st.sampled_from(About))),
    "rules": _tuples(_ids, min_size=1),
    "seen": _versions,
    "states_consequence": st.booleans(),
    "stop_reason": st.none() | _ids,
    "turn": _versions,
    "usage": st.none() | st.builds(Usage, input_tokens=st.integers(0, 2**53), output_tokens=st.integers(0, 2**53)),
}  # fmt: skip


@st.composite
def _any_of(draw: st.DrawFn, kind: type[Any]) -> Any:
    fields = {name: draw(_FIELDS[name]) for name in kind.model_fields if name in _FIELDS}
    if "cause" in kind.model_fields:
        fields["cause"] = draw(st.sampled_from(ErasureCause if "contents" in fields else ForkCause))
    if "verdict" in kind.model_fields:
        verdict = draw(st.sampled_from(Verdict))
        harm = verdict is Verdict.HARMFUL
        fields |= {"verdict": verdict, "risk": draw(st.sampled_from(Risk))}
        fields |= {
            "category": fields["category"] if harm else None,
            "severity": draw(st.integers(1, 3)) if harm else None,
        }
    if "category" in fields and fields.get("ground") is Ground.USER_REQUEST:
        fields["category"] = None
    if "policy" in fields and "policy_hash" in fields:
        fields["policy_hash"] = fields["policy"].hash
    return kind(**fields)


def events_of(kind: str) -> st.SearchStrategy[Event]:
    """Any event of a kind that can be written, lawful or not."""
    return _any_of(EVENTS[kind])


any_event = st.sampled_from(sorted(EVENTS)).flatmap(events_of)
any_command = st.sampled_from(ask.Command.__args__).flatmap(_any_of)
