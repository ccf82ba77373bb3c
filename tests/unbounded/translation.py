"""What a real state and a real event are in the words of the model.

Names become numbers, and what is optional is there. Nothing is decided here but what the model is given: what judges
make of a unit, which the real `judged` says of the unit and the verdict alone; whether two names are of one model, and
match a policy; and whether an ending cites what the state has.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lastresort.domain import episode as real
from lastresort.domain import events as log
from lastresort.domain.events import EventBase
from lastresort.domain.models import plain_name, same_model
from lastresort.domain.policy import Numbers, Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import (
    VOCABULARY,
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    ForkCause,
    Ground,
    LegalHold,
    Mode,
    OpenRisk,
    Risk,
    SecondOpinion,
    Verdict,
)

from . import words as w

KINDS: Sequence[ActorKind] = tuple(ActorKind)
VERDICTS: dict[Verdict | None, int] = {None: 0}
VERDICTS |= {verdict: place for place, verdict in enumerate(Verdict, 1)}
RISKS = {risk: place for place, risk in enumerate((Risk.NONE, Risk.POSSIBLE, Risk.IMMINENT, Risk.UNKNOWN))}
ABOUT = {None: 0, About.SELF: w.SELF, About.OTHERS: w.OTHERS}
GROUNDS = {Ground.LAST_RESORT: w.LAST_RESORT, Ground.USER_REQUEST: w.ON_REQUEST}


_SAYS_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("category", "ground", "cause", "outcome", "law", "mode", "policy")),
    **dict.fromkeys(("turn", "answers", "seen", "at"), 0),
    "risks": (),
    "holds": (),
    "absolved": False,
}
"""What an event has for what is not among its fields."""


class Lexicon:
    """The names that there are, each with its place. One that is not among them is an error: add it to those given.

    Args:
        categories, risks, holds, actors: all that any state or event here may name.
    """

    def __init__(
        self, categories: Iterable[str], risks: Iterable[str], holds: Iterable[str], actors: Iterable[Actor]
    ) -> None:
        self.categories, self.risks, self.holds = tuple(categories), tuple(risks), tuple(holds)
        self.actors = tuple(dict.fromkeys(actors))
        self._numbers: dict[Any, int] = {}
        self._policies: dict[str, w.Policy] = {}
        self._eligible: dict[tuple[str, str, int], bool] = {}
        self._same_model: dict[tuple[str, str], bool] = {}

    def number(self, name: Any) -> int:
        """A number for a name, from 1, the same for the same."""
        return self._numbers.setdefault(name, len(self._numbers) + 1)

    # --- What governs -----------------------------------------------------------------------------------------------

    def policy(self, policy: Policy) -> w.Policy:
        if policy.hash not in self._policies:
            self._policies[policy.hash] = self._policy(policy)
        return self._policies[policy.hash]

    def _policy(self, policy: Policy) -> w.Policy:
        def among(risks: tuple[Risk, ...] | None) -> tuple[bool, ...]:
            return tuple(risk in (policy.hold_on if risks is None else risks) for risk in RISKS)

        groups = {category: name for name, group in policy.groups.items() for category in group}
        return w.Policy(
            name=self.number(policy.hash),
            numbers=numbers(policy.numbers),
            may_end=tuple(category in policy.categories for category in self.categories),
            group=tuple(self.number(("group", groups.get(one), groups.get(one, one))) for one in self.categories),
            handshake=policy.handshake,
            trusted=tuple(kind in policy.trusted_for_risk for kind in KINDS),
            hold_on=among(policy.hold_on),
            hold_on_self=among(policy.hold_on_self),
            hold_on_others=among(policy.hold_on_others),
            every_turn=policy.second_opinion is SecondOpinion.EVERY_TURN,
            leaving_voids=policy.leaving_voids_warnings,
        )

    def eligible(self, model: str, policy: Policy, law: int) -> bool:
        key = model, policy.hash, law
        if key not in self._eligible:
            names = (model,) if law == 1 else (model, plain_name(model))
            self._eligible[key] = any(fnmatchcase(one, of) for one in names for of in policy.eligible_models)
        return self._eligible[key]

    def same_model(self, one: str, other: str) -> bool:
        if (one, other) not in self._same_model:
            self._same_model[one, other] = same_model(one, other)
        return self._same_model[one, other]

    # --- A state ----------------------------------------------------------------------------------------------------

    def state(self, state: Conversation) -> w.State:
        fork = state.fork
        following = {log.UserTurnTaken: w.USER_TURN, log.AssistantTurnTaken: w.ASSISTANT_TURN}
        ended = state.ended
        return w.State(
            version=state.version,
            unit=self._unit(state.unit),
            answered_by=state.answered_by,
            episode=self._episode(state.episode),
            wishes=self._wishes(state),
            risks=self._risks(state.risks),
            hold_due=state.hold_due,
            ended=w.Ended(
                ended.version,
                GROUNDS[ended.ground],
                -1 if ended.category is None else self.categories.index(ended.category),
                ended.appealed,
                ended.granted,
            )
            if ended
            else w.NOT_ENDED,
            named=state.conversation != "",
            policy=self.policy(state.policy),
            model=self.number(state.model) if state.model else 0,
            eligible=state.model != "" and self.eligible(state.model, state.policy, state.law),
            fork=w.Fork(
                True,
                following.get(fork.next, w.NO_TURN) if fork.next else w.NO_TURN,
                self._risks(fork.risks),
                self._holds(fork.holds),
                fork.absolved,
            )
            if fork
            else w.Fork(False, 0, self._risks(()), self._holds(()), False),
            law=state.law,
            shadow=state.mode is Mode.SHADOW,
            holds=self._holds(state.holds),
        )

    def who(self, who: tuple[ActorKind, str] | None) -> w.Who:
        return w.Who(KINDS.index(who[0]) + 1, self.number(who[1])) if who else w.NOBODY

    def _risks(self, risks: tuple[OpenRisk, ...]) -> tuple[tuple[bool, bool], ...]:
        is_open = {(self.risks.index(one.risk), one.about) for one in risks}
        return tuple(
            ((place, About.SELF) in is_open, (place, About.OTHERS) in is_open) for place in range(len(self.risks))
        )

    def _holds(self, holds: tuple[LegalHold, ...]) -> tuple[bool, ...]:
        stand = {self.holds.index(one.hold) for one in holds}
        return tuple(place in stand for place in range(len(self.holds)))

    def _warnings(self, warnings: tuple[real.Warned, ...]) -> tuple[w.Warned, ...]:
        by_place = {self.categories.index(one.category): one for one in warnings}
        return tuple(
            w.Warned(one.version, one.complete, one.tested_by or 0, self.who(one.user)) if one else w.NO_WARNING
            for one in map(by_place.get, range(len(self.categories)))
        )

    def _unit(self, unit: real.Unit | None) -> w.Unit:
        if unit is None:
            return w.no_unit(len(self.categories))
        return w.Unit(
            turn=unit.turn,
            user=self.who(unit.user),
            said=self.said(unit),
            redirection=unit.redirection or 0,
            warnings=self._warnings(unit.warnings),
            numbers=numbers(unit.numbers),
            shared=unit.shared,
            absolved=unit.absolved,
            since_begun=numbers(unit.since_begun),
        )

    def said(self, unit: real.Unit) -> w.Said:
        opinions = frozenset(opinion._replace(turn=opinion.turn == unit.turn) for opinion in unit.opinions)
        for category in unit.categories:
            self.categories.index(category)
        return w.Said(
            latest=unit.judged == unit.turn,
            judgement=VERDICTS[unit.judgement],
            named=tuple(category in unit.categories for category in self.categories),
            severity=unit.severity,
            at_risk=unit.at_risk,
            safe=tuple(kind in unit.safe_by for kind in KINDS),
            risk_seen=unit.risk_seen,
            doubt=any(opinion.risk is Risk.UNKNOWN for opinion in unit.opinions),
            words=self.number(opinions) if opinions else 0,
        )

    def _episode(self, episode: real.Episode) -> w.Episode:
        return w.Episode(
            numbers=numbers(episode.numbers),
            failed=episode.failed,
            pending=episode.pending or 0,
            productive=episode.productive,
            warnings=self._warnings(episode.warnings),
            attempted=episode.attempted,
            withheld=episode.withheld or 0,
            relapses=episode.relapses,
        )

    def _wishes(self, state: Conversation) -> w.Wishes:
        wishes = state.wishes
        proposed = {(ground, self.actors.index(by)) for ground, by in wishes.proposed}
        return w.Wishes(
            requested=wishes.requested or 0,
            to_confirm=wishes.to_confirm or 0,
            confirmed=wishes.confirmed or (0, 0),
            hope=wishes.hope or 0,
            proposed=tuple(
                ((Ground.LAST_RESORT, place) in proposed, (Ground.USER_REQUEST, place) in proposed)
                for place in range(len(self.actors))
            ),
            requested_by=self.who(wishes.requested_by),
            to_confirm_by=self.who(wishes.to_confirm_by),
        )

    # --- An event ---------------------------------------------------------------------------------------------------

    def event(self, state: Conversation, event: Any) -> w.Event:
        """An event that may come next in a state."""
        by, model = event.by, state.model
        if isinstance(event, log.ConversationStarted | log.ModelChanged):
            model = event.model
        say = {**_SAYS_NOTHING, **event.__dict__}
        turn, answers, seen, category = say["turn"], say["answers"], say["seen"], say["category"]
        law, policy = say["law"] or state.law, say["policy"] or state.policy
        verdict = isinstance(event, log.TurnAssessed)
        return w.Event(
            kind=event.kind,
            by=self.who((by.kind, by.id)),
            policy=self.policy(policy),
            said=self._said_then(state, event),
            actor=self.actors.index(by),
            turn=seen or answers or turn or 0,  # of feedback that is about no answer it is none
            answer=turn if answers or seen else 0,
            category=-1 if category is None else self.categories.index(category),
            severity=(event.severity or 0) if verdict else 0,
            verdict=VERDICTS[event.verdict] if verdict else 0,
            risk=RISKS[event.risk] if verdict else 0,
            about=ABOUT[event.about] if isinstance(event, log.TurnAssessed | log.RiskRaised) else 0,
            of=self._of(event),
            complete=isinstance(event, log.WarningGiven)
            and (event.names_behaviour and event.redirects and event.states_consequence),
            ground=GROUNDS.get(say["ground"], 0),
            is_model=by.id == state.model if state.law == 1 else self.same_model(by.id, state.model),
            may_clear=by.id in state.policy.may_clear_risk,
            eligible=model != "" and self.eligible(model, policy, law),
            known=category is None or category in VOCABULARY or category in state.policy.categories,
            is_true=is_true(state, event),
            at=say["at"],
            edit=say["cause"] is ForkCause.EDIT,
            risks=self._risks(say["risks"]),
            holds=self._holds(say["holds"]),
            absolved=say["absolved"],
            law=law,
            shadow=(say["mode"] or state.mode) is Mode.SHADOW,
            granted=say["outcome"] is AppealOutcome.GRANTED,
            model=self.number(model) if model else 0,
            same_model=self.same_model(state.model, model),
        )

    def _of(self, event: EventBase) -> int:
        match event:
            case log.RiskRaised() | log.RiskCleared():
                return self.risks.index(event.risk)
            case log.ErasureHeld() | log.ErasureReleased():
                return self.holds.index(event.hold)
            case _:
                return 0

    def _said_then(self, state: Conversation, event: EventBase) -> w.Said:
        """What is said of the unit once the event has happened, as the unit and the event alone have it."""
        unit = state.unit
        if unit is None:
            return w.nothing_said(len(self.categories))
        match event:
            case log.UserTurnTaken():
                unit = real.joined(unit, state.version + 1, (event.by.kind, event.by.id))
            case log.TurnAssessed():
                by = event.by.kind, event.by.id
                opinion = real.Opinion(by, event.turn, event.verdict, event.category, event.severity, event.risk)
                unit = real.judged(unit, opinion, state.law)
            case log.PolicyChanged() if state.law == 1 < event.law:
                unit = real.weighed(unit)
            case _:
                pass
        return self.said(unit)


def numbers(numbers: Numbers | None) -> w.Numbers:
    if numbers is None:
        return w.NO_NUMBERS
    return w.Numbers(
        numbers.min_failed_redirections,
        numbers.productive_to_close,
        numbers.min_severity,
        numbers.min_redirections_to_warn,
        numbers.relapse_step,
        numbers.relapse_cap,
    )


def is_true(state: Conversation, event: EventBase) -> bool:
    """Whether an event that cites what the log says cites what the state has."""
    if not isinstance(event, log.ConversationEnded | log.WarningWithheld):
        return True
    if event.policy_hash != state.policy.hash or event.model != state.model:
        return False
    if isinstance(event, log.WarningWithheld):
        return True
    cited, wishes = event.evidence, state.wishes
    of_wish = cited.request, cited.confirmation
    of_harm = cited.redirections, cited.warning, cited.tested_by, cited.hope
    if event.ground is Ground.USER_REQUEST:
        return of_wish == (wishes.confirmed or (None, None)) and of_harm == ((), None, None, None)
    warned = next((one for one in state.now.warnings if one.category == event.category), None)
    stands = (warned.version, warned.tested_by) if warned else (None, None)
    return of_wish == (None, None) and of_harm == (state.now.failed_at, *stands, wishes.hope)
