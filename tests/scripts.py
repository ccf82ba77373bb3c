"""Scripts: users whose words do not depend on the model, and models that attempt the same acts whatever comes of them.

A script can be played under any policy, so it says what another policy really makes of a conversation.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from hypothesis import strategies as st

from lastresort.adapters.testing.asking import ASSESSOR, MODEL, OPERATOR, OTHER_MODEL, USER
from lastresort.domain import commands as ask
from lastresort.domain.decider import Acceptance, decide
from lastresort.domain.events import ConversationEnded, Event, RecordedEvent, WarningGiven, WarningWithheld
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import About, Actor, ActorKind, Ground, Mode, Risk, Verdict
from lastresort.projections.supposed import BranchOutcome, Outcome
from lastresort.projections.what_if import what_if

Step = tuple[Any, ...]
ANOTHER = Actor(kind=ActorKind.USER, id="another")
_SAID = {"names_behaviour": True, "redirects": True, "states_consequence": True}


class Played(NamedTuple):
    """What became of a script: the log, and by step what was said to the user and where it ended."""

    log: tuple[RecordedEvent, ...]
    step_of: dict[int, int]  # by version
    warned: tuple[int, ...]  # steps
    withheld: tuple[int, ...]
    ended: int | None  # step
    ground: Ground | None


def play(script: Sequence[Step], policy: Policy, law: int = 2, mode: Mode = Mode.ENFORCED) -> Played:
    """Play a script under a policy, up to its ending."""
    begin = ask.StartConversation(
        id="start", by=USER, conversation="c", account=None, policy=policy, model=MODEL.id, law=law, mode=mode
    )
    stage = _Stage()
    stage.do(-1, begin)
    for number, step in enumerate(script):
        for command in _commands(step, stage.state, number):
            stage.do(number, command)
        if stage.state.ended:
            break
    return Played(
        tuple(stage.log), stage.step_of, tuple(stage.warned), tuple(stage.withheld), stage.ended, stage.ground
    )


class _Stage:
    def __init__(self) -> None:
        self.state = Conversation()
        self.log: list[RecordedEvent] = []
        self.step_of: dict[int, int] = {}
        self.warned: list[int] = []
        self.withheld: list[int] = []
        self.ended: int | None = None
        self.ground: Ground | None = None

    def do(self, number: int, command: ask.Command) -> None:
        decision = decide(command, self.state)
        accepted = isinstance(decision, Acceptance)
        for event in decision.events if isinstance(decision, Acceptance) else decision.trace:
            self.state = evolve(self.state, event)
            version = self.state.version
            self.step_of[version] = number
            self.log.append(
                RecordedEvent(
                    version, "c", version, event.kind, "2026-01-01T00:00:00+00:00", command.id, event, command.id
                )
            )
            if accepted:
                self._note(number, event)

    def _note(self, number: int, event: Event) -> None:
        if isinstance(event, WarningGiven):
            self.warned.append(number)
        elif isinstance(event, WarningWithheld):
            self.withheld.append(number)
        elif isinstance(event, ConversationEnded):
            self.ended, self.ground = number, event.ground


def _commands(step: Step, state: Conversation, number: int) -> list[ask.Command]:
    """What a step comes to in a state. What it names is the latest, whatever was refused before it."""
    kind, *rest = step
    turn, answered = state.unit.turn if state.unit else 1, state.answered_by or 1
    id = f"step-{number}"
    model = Actor(kind=ActorKind.MODEL, id=state.model)
    simple: dict[str, Callable[[], ask.Command]] = {
        "says": lambda: ask.TakeUserTurn(id=id, by=rest[0]),
        "answers": lambda: ask.TakeAssistantTurn(id=id, by=model, model=state.model),
        "judges": lambda: ask.AssessTurn(
            id=id, by=rest[0], turn=turn, verdict=rest[1], category=rest[2], severity=rest[3], risk=rest[4]
        ),
        "redirects": lambda: ask.AttemptRedirection(id=id, by=model, turn=answered, answers=turn),
        "warns": lambda: ask.GiveWarning(id=id, by=model, turn=answered, seen=turn, category=rest[0], **_SAID),
        "withholds": lambda: ask.WithholdWarning(id=id, by=model, seen=turn, category=rest[0]),
        "loses hope": lambda: ask.DeclareHopeExhausted(id=id, by=model, turn=turn),
        "proposes": lambda: ask.ProposeEnding(id=id, by=model, seen=turn, ground=rest[0]),
        "ends": lambda: ask.EndConversation(id=id, by=model, seen=turn, ground=rest[0], category=rest[1]),
        "asks": lambda: ask.RequestEnd(id=id, by=rest[0], turn=turn),
        "confirms": lambda: ask.ConfirmEnd(id=id, by=rest[0], turn=turn),
        "raises": lambda: ask.RaiseRisk(id=id, by=USER, risk=id, about=About.OTHERS),
        "leaves": lambda: ask.Leave(id=id, by=USER),
        "changes model": lambda: ask.ChangeModel(id=id, by=OPERATOR, model=rest[0]),
        "changes mode": lambda: ask.ChangePolicy(id=id, by=OPERATOR, policy=state.policy, mode=rest[0]),
    }
    if kind == "clears":
        return [ask.ClearRisk(id=f"{id}-{place}", by=rest[0], risk=risk.risk) for place, risk in enumerate(state.risks)]
    return [simple[kind]()]


def _steps(played: Played, versions: tuple[int, ...]) -> set[int]:
    return {played.step_of[version] for version in versions}


def checked(
    script: Sequence[Step],
    was: Policy,
    other: Policy,
    law: int = 2,
    edition: int | None = None,
    mode: Mode = Mode.ENFORCED,
) -> BranchOutcome:
    """Suppose another policy, play it, and return what was supposed once the two agree in all that was decided."""
    played = play(script, was, law, mode)
    really = play(script, other, edition or law, mode)
    (row,) = what_if(played.log, other, edition=edition).branches
    until = len(script) if row.undecidable_from is None else played.step_of[row.undecidable_from]
    if row.undecidable_from is None:
        assert really.ended == (None if row.ends_at is None else played.step_of[row.ends_at])
        until = until if really.ended is None else really.ended
    else:
        assert really.ended is None or really.ended >= until
    if row.outcome is Outcome.WOULD_NOT_END:
        assert really.ended is None
    if row.outcome is Outcome.NOT_AS_LAST_RESORT:
        assert really.ground is not Ground.LAST_RESORT
    dropped, added = _steps(played, row.warnings_dropped), _steps(played, row.warnings_added)
    warned = set(played.warned) - dropped | added
    assert {step for step in warned if step < until} == {step for step in really.warned if step < until}
    assert not dropped & set(really.withheld)  # of what else could be withheld there is no trace
    return row


def harm(category: str = "abuse", severity: int = 3, risk: Risk = Risk.NONE) -> Step:
    """A verdict of harm."""
    return "judges", ASSESSOR, Verdict.HARMFUL, category, severity, risk


def last_resort(category: str = "abuse", *, handshake: bool = False) -> list[Step]:
    """A model that calls to end."""
    proposal: list[Step] = [("proposes", Ground.LAST_RESORT)] if handshake else []
    return [("loses hope",), *proposal, ("ends", Ground.LAST_RESORT, category)]


SAYS: Step = ("says", USER)
ANSWERS: Step = ("answers",)
REDIRECTS: Step = ("redirects",)
WISH: list[Step] = [
    SAYS, ("asks", USER), ANSWERS, SAYS, ("confirms", USER),
    ("judges", ASSESSOR, Verdict.PRODUCTIVE, None, None, Risk.NONE), ("ends", Ground.USER_REQUEST, None),
]  # fmt: skip
"""A user who asks to end it, and confirms that."""


_categories = st.sampled_from(["abuse", "abuse", "abuse", "abuse", "threats", "fraud"])


@st.composite
def _units(draw: st.DrawFn, *, shadow: bool) -> list[Step]:
    """What is said before the model answers, what is said of it, and what the model attempts before and after it."""
    steps: list[Step] = [("says", draw(st.sampled_from([USER] * 9 + [ANOTHER])))]
    category = draw(_categories)
    verdicts = [harm(category, severity) for severity in (1, 2, 3, 3, 3)] * 3 + [
        ("judges", ASSESSOR, Verdict.PRODUCTIVE, None, None, Risk.NONE),
        ("judges", ASSESSOR, Verdict.AMBIGUOUS, None, None, Risk.NONE),
        ("judges", OPERATOR, Verdict.PRODUCTIVE, None, None, Risk.UNKNOWN),
        ("judges", ASSESSOR, Verdict.HARMFUL, category, 2, Risk.POSSIBLE),
        ("judges", MODEL, Verdict.HARMFUL, category, 3, Risk.IMMINENT),
    ]
    steps += draw(st.lists(st.sampled_from(verdicts), min_size=1, max_size=2)) if draw(st.integers(0, 9)) else []
    around: list[Step] = [
        ("asks", USER), ("confirms", USER), ("confirms", ANOTHER), ("raises",), ("clears", OPERATOR),
        ("clears", ASSESSOR), ("leaves",), ("changes model", OTHER_MODEL.id), ("changes model", MODEL.id),
        ("changes mode", Mode.SHADOW), ("changes mode", Mode.ENFORCED), SAYS,
        ("proposes", Ground.USER_REQUEST), ("ends", Ground.USER_REQUEST, None),
    ]  # fmt: skip
    if draw(st.integers(0, 3)) == 0:
        steps += draw(st.lists(st.sampled_from(around), max_size=3))
    if draw(st.integers(0, 2)):
        steps += last_resort(draw(st.sampled_from([category, "abuse"])), handshake=draw(st.booleans()))
    if draw(st.integers(0, 9)):
        steps.append(ANSWERS)
        if draw(st.integers(0, 9)):
            steps.append(REDIRECTS)
        if draw(st.integers(0, 1)):
            steps.append(("withholds" if shadow else "warns", category))
        if draw(st.integers(0, 9)) == 0:
            steps += [draw(st.sampled_from(verdicts)), *last_resort(category)]
    return steps


@st.composite
def _steady(draw: st.DrawFn) -> list[Step]:
    """One more unit of the same abuse, and a model that does what the law asks for, sooner or later."""
    mostly = st.sampled_from([True, True, True, True, False])
    severity = draw(st.sampled_from([3, 3, 3, 3, 3, 3, 3, 2, 1]))
    acts = last_resort("abuse", handshake=draw(mostly)) if draw(mostly) else []
    warning: list[Step] = [("warns", "abuse")] if draw(mostly) else []
    return [SAYS, harm("abuse", severity), *acts, ANSWERS, REDIRECTS, *warning]


@st.composite
def scripts(draw: st.DrawFn, *, shadow: bool = False) -> list[Step]:
    """Scripts most of which are abusive, with a model that warns and ends, in season and out of it."""
    if shadow or draw(st.integers(0, 2)) == 0:
        units = st.lists(_units(shadow=shadow), min_size=4, max_size=9)
    else:
        units = st.lists(_steady() | _steady() | _steady() | _units(shadow=False), min_size=5, max_size=9)
    return [step for unit in draw(units) for step in unit]


def terms() -> st.SearchStrategy[Policy]:
    """Policies of small numbers, most of which can end a conversation."""
    often = [("claude-opus-*",)] * 6
    return st.builds(
        Policy,
        name=st.just("drawn"),
        min_failed_redirections=st.integers(2, 3),
        min_redirections_to_warn=st.integers(2, 3),
        productive_to_close=st.integers(1, 2),
        relapse_step=st.integers(0, 1),
        categories=st.sampled_from([*[("abuse", "threats")] * 5, ("abuse", "fraud", "threats"), ("threats",), ()]),
        min_severity=st.integers(1, 3),
        eligible_models=st.sampled_from([*often, ("*",), ()]),
        handshake=st.booleans(),
        hold_on=st.sampled_from([(Risk.IMMINENT,), (Risk.IMMINENT, Risk.POSSIBLE)]),
        trusted_for_risk=st.sampled_from([(ActorKind.ASSESSOR, ActorKind.OPERATOR)] * 7 + [()]),
        may_clear_risk=st.sampled_from([(), (ASSESSOR.id,)]),
        groups=st.sampled_from([{}, {"malice": ("abuse", "threats")}]),
        leaving_voids_warnings=st.booleans(),
    )


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Policy, Policy]:
    """Two policies, most of which differ in few things."""
    one, other = draw(terms()), draw(terms())
    if draw(st.integers(0, 3)) == 0:
        return one, other
    changed = draw(st.sets(st.sampled_from(sorted(Policy.model_fields)), min_size=1, max_size=3))
    return one, Policy(**{name: getattr(other if name in changed else one, name) for name in Policy.model_fields})


def toward_an_ending(random: Random) -> tuple[list[Step], Policy, Policy]:
    """A script of one abuse, whose model attempts an ending again and again, and whose user wishes for one at last, or
    does not; and two policies that differ in one field.

    What is drawn of everything seldom comes to an ending that only one of two policies allows; this mostly does.
    """
    script: list[Step] = []
    for _ in range(random.randint(3, 6)):
        acts = last_resort(handshake=random.random() < 0.5) if random.random() < 0.8 else []
        warning: list[Step] = [("warns", "abuse")] if random.random() < 0.6 else []
        script += [SAYS, harm(severity=random.choice([3, 3, 3, 2])), *acts, ANSWERS, REDIRECTS, *warning]
    if random.random() < 0.5:
        script += WISH
    one: dict[str, Any] = {"min_redirections_to_warn": 2, "min_failed_redirections": random.randint(2, 4)}
    differs: list[tuple[str, tuple[Any, ...]]] = [
        ("min_failed_redirections", (2, 3, 4)), ("min_redirections_to_warn", (2, 3)), ("min_severity", (2, 3)),
        ("handshake", (False, True)), ("eligible_models", (("claude-opus-*",), ())), ("appeal_months", (6, 12)),
        ("trusted_for_risk", ((ActorKind.ASSESSOR, ActorKind.OPERATOR), ())),
    ]  # fmt: skip
    field, values = random.choice(differs)
    was, other = random.sample(values, 2)
    return script, Policy(**{"name": "was", **one, field: was}), Policy(**{"name": "other", **one, field: other})
