"""What is known of a path, for the second reading: what its events add up to, one after the other.

A `Path` is a value that never changes, of a size that the length of the path does not matter for, but for one byte an
event, by which a version is looked up.
"""

from functools import cached_property
from typing import Any, NamedTuple

from lastresort.domain.events import (
    EVENTS,
    AppealDecided,
    AppealFiled,
    AssistantTurnTaken,
    BranchOpened,
    ConversationEnded,
    ConversationStarted,
    EndConfirmed,
    EndProposed,
    EndRequested,
    ErasureHeld,
    ErasureReleased,
    Event,
    HopeExhausted,
    ModelChanged,
    PolicyChanged,
    RedirectionAttempted,
    RiskCleared,
    RiskRaised,
    TurnAssessed,
    UserLeft,
    UserTurnTaken,
    WarningGiven,
    WarningWithheld,
)
from lastresort.domain.policy import Policy
from lastresort.domain.values import About, Actor, ActorKind, AppealOutcome, Ground, Mode, Risk, SecondOpinion, Verdict

from .second_words import Episode, Judge, Opinion, Request, Terms, Unit, WarningRecord, same_model

Risks = frozenset[tuple[str, str]]
"""Open risks: of each its id, and whom it is about."""

Holds = frozenset[tuple[str, str, str | None]]
"""Legal holds: of each its id, its reason, and until when."""


class Fork(NamedTuple):
    """Where a branch that is about to be opened leaves its parent."""

    next_in_parent: type[Event] | None
    open_in_tree: Risks
    holds: Holds = frozenset()  # on the tree
    absolved: bool = False  # an appeal against the parent's ending was granted


CODES: dict[type[Event], int] = {kind: code for code, kind in enumerate(EVENTS.values(), 1)}


class _Known(NamedTuple):
    version: int = 0
    kinds: bytearray = bytearray()  # one an event, shared with the paths before and after this one
    begun: bool = False  # whether the branch has events of its own
    law: int = 1
    mode: Mode = Mode.ENFORCED
    ended: int = 0  # where the ending is
    appealed: bool = False  # an appeal waits
    granted: bool = False  # one was
    policy: Policy = Policy.default()
    model: str | None = None
    answer: int = 0  # the latest assistant turn
    unit: Unit | None = None  # the latest
    asked: Request | None = None  # to end, in the unit before the latest
    episode: Episode = Episode()  # as of the units before the latest
    risks: Risks = frozenset()
    holds: Holds = frozenset()
    must_hold: bool = False  # the latest event is a verdict that saw a risk, and no hold was on
    confirmed: Request | None = None  # in the latest
    hope: int | None = None
    proposals: frozenset[tuple[Ground, ActorKind, str, int]] = frozenset()
    fork: Fork | None = None  # of a branch that is about to open


class Path(_Known):
    """What is known of a path, after its events so far. What is worked out of it is worked out once."""

    @property
    def unit_name(self) -> int:
        """The latest user turn, 0 if there is none."""
        return self.unit.name if self.unit else 0

    @cached_property
    def stands(self) -> Episode:
        """The episode as the latest unit makes it, as that is judged now: a judgement counts at once."""
        return self.episode.after(self.unit, self.unit.judgement) if self.unit else self.episode

    @property
    def attempts(self) -> int:
        """How many redirections were attempted in the episode, one in answer to the latest unit included."""
        unit = self.unit
        here = unit is not None and unit.redirection is not None and unit.judgement is Verdict.HARMFUL
        return self.stands.attempted + (here and not self.absolves_the_latest)

    @property
    def absolves_the_latest(self) -> bool:
        return self.unit is not None and self.unit.absolved

    @property
    def wish(self) -> tuple[int | None, int | None]:
        """The request and the confirmation that count: asked in the unit before the latest, confirmed in the latest.

        (2) Both are by the same user.
        """
        asked, confirmed = self.asked, self.confirmed
        if asked is None or confirmed is None or (self.law >= 2 and asked.user != confirmed.user):
            return None, None
        return asked.version, confirmed.version

    def is_a(self, version: int | None, kind: type[Event]) -> bool:
        """Whether the path has an event of this kind at `version`."""
        return version is not None and 0 < version <= self.version and self.kinds[version - 1] == CODES[kind]

    def then(self, event: Event) -> "Path":
        """What is known after one more event, whether it is lawful or not: it has happened."""
        version = self.version + 1
        # Another path may have gone on from here already: then what follows is not this one's.
        shared = 0 < len(self.kinds) == self.version
        kinds = self.kinds if shared else self.kinds[: self.version].ljust(self.version, b"\0")
        kinds.append(CODES[type(event)])
        path = self._replace(version=version, kinds=kinds, begun=True, must_hold=False, fork=None)
        step = _STEPS.get(type(event))
        return step(path, event) if step else path


# --- What each event adds ---------------------------------------------------------------------------------------------


def _judge(actor: Actor) -> Judge:
    return actor.kind, actor.id


def _started(path: Path, event: ConversationStarted) -> Path:
    return path._replace(policy=event.policy, model=event.model, law=event.law, mode=event.mode)


def _opened(path: Path, event: BranchOpened) -> Path:
    """A branch starts with what its prefix adds up to, without what was asked, proposed and given up in it.

    (2) One that carries a risk starts without its prefix's warnings; one that is absolved, without an episode.
    """
    path = _without_wishes(path)._replace(
        risks=frozenset((risk.risk, risk.about) for risk in event.risks),
        holds=frozenset((hold.hold, hold.reason, hold.until) for hold in event.holds),
    )
    if path.law == 1:
        return path
    if event.risks:
        path = _without_warnings(path)
    if event.absolved:
        unit = path.unit._replace(absolved=True, warnings=(), redirection=None) if path.unit else None
        path = path._replace(unit=unit, episode=Episode(relapses=path.episode.relapses))
    return path


def _user_turn(path: Path, event: UserTurnTaken) -> Path:
    """A unit lasts until the next user turn that comes after an assistant turn; then it is settled."""
    path = path._replace(confirmed=None, hope=None, proposals=frozenset())
    unit, user = path.unit, _judge(event.by)
    if unit is not None and path.answer < unit.name:
        users = unit.users | {user}
        return path._replace(unit=unit._replace(name=path.version, users=users, user=user, no_risk_by=frozenset()))
    new = Unit(path.version, path.version, frozenset({user}), user, Terms.of(path.policy, path.law))
    if unit is None:
        return path._replace(unit=new)
    judgement = unit.judgement or _of_what_nobody_judged(path)
    episode = path.episode.after(unit, judgement)
    if judgement is Verdict.HARMFUL and not unit.absolved:
        episode = episode.going_on_from(unit)
    episode = episode._replace(withheld=bool(episode.opened) and (episode.withheld or unit.withheld))
    return path._replace(unit=new, asked=unit.request, episode=episode)


def _of_what_nobody_judged(path: Path) -> Verdict:
    """What was answered and has no verdict when the next begins was productive; (2) ambiguous, where judging is due."""
    due = path.law != 1 and path.policy.second_opinion is SecondOpinion.EVERY_TURN
    return Verdict.AMBIGUOUS if due else Verdict.PRODUCTIVE


def _assistant_turn(path: Path, event: AssistantTurnTaken) -> Path:
    return path._replace(answer=path.version)


def _verdict(path: Path, event: TurnAssessed) -> Path:
    path = path._replace(must_hold=_raises_a_hold(event, path.policy, path.law) and not path.risks)
    unit = path.unit
    if unit is None or not unit.has(event.turn):
        return path
    judge, is_doubt = _judge(event.by), event.risk is Risk.UNKNOWN
    opinion = Opinion(event.verdict, event.category, event.severity)
    # Risk seen in any turn of the unit stays. `unknown` is replaced by a later word of the same actor, or of an
    # operator, about the same turn.
    replaces_all = event.by.kind is ActorKind.OPERATOR
    unsure = {one for one in unit.unsure if one[1] != event.turn or not (replaces_all or one[0] == judge)}
    no_risk_by = unit.no_risk_by
    if event.turn == unit.name:
        no_risk_by = no_risk_by - {judge} if event.risk is not Risk.NONE else no_risk_by | {judge}
    if not unit.first_verdict:
        unit = unit._replace(first_verdict=path.version, since_verdict=Terms.of(path.policy, path.law))
    return path._replace(
        unit=unit._replace(
            opinions=unit.opinions | {opinion},
            latest={**unit.latest, judge: opinion},
            judged=max(unit.judged, event.turn),
            no_risk_by=no_risk_by,
            at_risk=unit.at_risk or event.risk in (Risk.POSSIBLE, Risk.IMMINENT),
            unsure=frozenset(unsure | {(judge, event.turn)}) if is_doubt else frozenset(unsure),
            was_unsure=unit.was_unsure or is_doubt,
        )
    )


def _raises_a_hold(event: TurnAssessed, policy: Policy, law: int) -> bool:
    """Whether a policy holds on the risk that a verdict sees; (2) by whom it is about, by either where nobody knows."""
    if law == 1:
        return event.risk in policy.hold_on
    of_self = policy.hold_on if policy.hold_on_self is None else policy.hold_on_self
    of_others = policy.hold_on if policy.hold_on_others is None else policy.hold_on_others
    sets = {About.SELF: of_self, About.OTHERS: of_others, None: (*of_self, *of_others)}
    return event.risk in sets[event.about]


def _redirection(path: Path, event: RedirectionAttempted) -> Path:
    if path.unit is None or not path.unit.has(event.answers):
        return path
    return path._replace(unit=path.unit._replace(redirection=path.version))


def _warning(path: Path, event: WarningGiven) -> Path:
    if path.unit is None or not path.unit.has(event.seen):
        return path
    given = WarningRecord(path.version, event.category, is_complete(event), path.unit.user)
    return path._replace(unit=path.unit._replace(warnings=(*path.unit.warnings, given)))


def is_complete(warning: WarningGiven) -> bool:
    return warning.names_behaviour and warning.redirects and warning.states_consequence


def _withheld(path: Path, event: WarningWithheld) -> Path:
    return path._replace(unit=path.unit._replace(withheld=True)) if path.unit else path


def _raised(path: Path, event: RiskRaised) -> Path:
    """It voids warnings, requests, confirmations, proposals and statements of hope. Failed redirections stay."""
    return _without_warnings(_without_wishes(path))._replace(risks=path.risks | {(event.risk, event.about)})


def _cleared(path: Path, event: RiskCleared) -> Path:
    return path._replace(risks=frozenset(risk for risk in path.risks if risk[0] != event.risk))


def _without_wishes(path: Path) -> Path:
    unit = path.unit._replace(request=None) if path.unit else None
    return path._replace(unit=unit, asked=None, confirmed=None, hope=None, proposals=frozenset())


def _without_warnings(path: Path) -> Path:
    unit = path.unit._replace(warnings=()) if path.unit else None
    return path._replace(unit=unit, episode=path.episode._replace(warnings=()))


def _request(path: Path, event: EndRequested) -> Path:
    """Asked under a risk, it is recorded and has no effect, ever."""
    if path.risks or path.unit is None:
        return path
    return path._replace(unit=path.unit._replace(request=Request(path.version, _judge(event.by))))


def _confirmation(path: Path, event: EndConfirmed) -> Path:
    return path if path.risks else path._replace(confirmed=Request(path.version, _judge(event.by)))


def _hope(path: Path, event: HopeExhausted) -> Path:
    return path._replace(hope=path.version)


def _proposal(path: Path, event: EndProposed) -> Path:
    return path._replace(proposals=path.proposals | {(event.ground, event.by.kind, event.by.id, event.seen)})


def _policy(path: Path, event: PolicyChanged) -> Path:
    """It voids warnings; within an episode the stricter value of each number governs from now on, until it closes."""
    path = _without_warnings(path)._replace(policy=event.policy, law=event.law, mode=event.mode)
    unit, episode = path.unit, path.episode
    if unit is not None:
        since = unit.since_verdict.or_stricter(event.policy, event.law) if unit.since_verdict else None
        unit = unit._replace(terms=unit.terms.or_stricter(event.policy, event.law), since_verdict=since)
    if episode.terms is not None:
        episode = episode._replace(terms=episode.terms.or_stricter(event.policy, event.law))
        # Closing sooner is stricter, so it may have had enough productive units by now. What closes stays closed.
        if unit is None or unit.judgement is not Verdict.HARMFUL:
            episode = episode.closed_if_it_can_be()
    return path._replace(unit=unit, episode=episode)


def _model(path: Path, event: ModelChanged) -> Path:
    """It voids warnings; (2) not where the same model goes by another of its names."""
    same = path.law >= 2 and same_model(path.model, event.model)
    return (path if same else _without_warnings(path))._replace(model=event.model)


def _ended(path: Path, event: ConversationEnded) -> Path:
    return path._replace(ended=path.version)


def _filed(path: Path, event: AppealFiled) -> Path:
    return path._replace(appealed=True)


def _decided(path: Path, event: AppealDecided) -> Path:
    return path._replace(appealed=False, granted=path.granted or event.outcome is AppealOutcome.GRANTED)


def _left(path: Path, event: UserLeft) -> Path:
    """It locks nothing; (2) it voids warnings where the policy says so."""
    return _without_warnings(path) if path.law != 1 and path.policy.leaving_voids_warnings else path


def _held(path: Path, event: ErasureHeld) -> Path:
    return path._replace(holds=_without(path.holds, event.hold) | {(event.hold, event.reason, event.until)})


def _released(path: Path, event: ErasureReleased) -> Path:
    return path._replace(holds=_without(path.holds, event.hold))


def _without(holds: Holds, hold: str) -> Holds:
    return frozenset(one for one in holds if one[0] != hold)


_STEPS: dict[type[Event], Any] = {
    ConversationStarted: _started,
    BranchOpened: _opened,
    UserTurnTaken: _user_turn,
    AssistantTurnTaken: _assistant_turn,
    TurnAssessed: _verdict,
    RedirectionAttempted: _redirection,
    WarningGiven: _warning,
    WarningWithheld: _withheld,
    RiskRaised: _raised,
    RiskCleared: _cleared,
    EndRequested: _request,
    EndConfirmed: _confirmation,
    HopeExhausted: _hope,
    EndProposed: _proposal,
    PolicyChanged: _policy,
    ModelChanged: _model,
    ConversationEnded: _ended,
    AppealFiled: _filed,
    AppealDecided: _decided,
    UserLeft: _left,
    ErasureHeld: _held,
    ErasureReleased: _released,
}
