"""The words of the law, for the second reading: what the events of a path add up to, one after the other.

Unit, judgement, episode, redirection, warning, request: the words as the law defines them, in its order. This module
and `second_reading` are written from the law alone. They import the types of events, values and policies and nothing
else of the domain, so a mistake in what an audit folds and asks cannot be in what it is compared with.

A `Path` is what is known of a path so far: a value that never changes, of a size that the length of the path does not
matter for, but for one byte an event, by which a version is looked up.
"""

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
    Event,
    HopeExhausted,
    ModelChanged,
    PolicyChanged,
    RedirectionAttempted,
    RiskCleared,
    RiskRaised,
    TurnAssessed,
    UserTurnTaken,
    WarningGiven,
)
from lastresort.domain.policy import Policy
from lastresort.domain.values import ActorKind, Ground, Risk, Verdict

Risks = frozenset[tuple[str, str]]
"""Open risks: of each its id, and whom it is about."""

RECALLED = 100
"""An ending lists at most so many failed redirections, the latest ones; and no policy asks for more."""

# Kinds are told apart by `type(event) is`, not `isinstance`, which is slow on pydantic models.


# --- Unit, verdict, judgement -----------------------------------------------------------------------------------------

MILDEST_FIRST = (Verdict.PRODUCTIVE, Verdict.UNPRODUCTIVE, Verdict.AMBIGUOUS, Verdict.HARMFUL)


class Opinion(NamedTuple):
    """What a verdict says of a unit, but for risk."""

    verdict: Verdict
    category: str | None
    severity: int | None


class WarningRecord(NamedTuple):
    """A warning that was given, and the user turn that tested it first."""

    version: int
    category: str
    is_complete: bool
    tested_by: int | None = None


class Unit(NamedTuple):
    """The user turns since the last assistant turn, and all that was said and done about them."""

    first: int
    name: int  # the latest of its turns
    opinions: frozenset[Opinion] = frozenset()
    judged: int = 0  # the latest of its turns that a verdict is about
    no_risk_by: frozenset[ActorKind] = frozenset()  # the kinds of actors who saw none in its latest turn
    at_risk: bool = False  # somebody saw a risk, or was unsure, in one of its turns
    opens: int = 0  # the verdict with which it opens an episode, if it is harm
    terms: "Terms | None" = None  # that governed since then
    redirection: int | None = None
    warnings: tuple[WarningRecord, ...] = ()
    request: int | None = None

    @property
    def judgement(self) -> Verdict | None:
        """The mildest verdict; None as long as there is none."""
        given = {opinion.verdict for opinion in self.opinions}
        return next((verdict for verdict in MILDEST_FIRST if verdict in given), None)

    def is_harm_of(self, category: str | None) -> bool:
        """Judged harmful, its latest turn included, and every verdict names this category."""
        named = {opinion.category for opinion in self.opinions}
        return self.judgement is Verdict.HARMFUL and named == {category} and self.judged == self.name

    def is_as_grave_as(self, least: int) -> bool:
        """Only harm is grave, and only if nobody thinks it mild."""
        return self.judgement is Verdict.HARMFUL and all((one.severity or 0) >= least for one in self.opinions)

    def has(self, turn: int) -> bool:
        return self.first <= turn <= self.name


# --- Episode ----------------------------------------------------------------------------------------------------------


class Terms(NamedTuple):
    """The numbers of a policy that govern an episode."""

    min_failed_redirections: int
    productive_to_close: int
    min_severity: int

    @classmethod
    def of(cls, policy: Policy) -> "Terms":
        return cls(policy.min_failed_redirections, policy.productive_to_close, policy.min_severity)

    def or_stricter(self, policy: Policy) -> "Terms":
        """The stricter value of each. An episode that closes sooner voids warnings sooner."""
        other = Terms.of(policy)
        return Terms(
            max(self.min_failed_redirections, other.min_failed_redirections),
            min(self.productive_to_close, other.productive_to_close),
            max(self.min_severity, other.min_severity),
        )


class Episode(NamedTuple):
    """A run of harm."""

    opened: int = 0  # by which verdict; 0 where none is open
    terms: Terms | None = None  # that governed in it
    productive: int = 0  # units in a row
    pending: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    warnings: tuple[WarningRecord, ...] = ()

    def warning_of(self, category: str | None) -> WarningRecord | None:
        return next((warning for warning in self.warnings if warning.category == category), None)

    def after(self, unit: Unit, judgement: Verdict | None) -> "Episode":
        """What a unit that is judged like this makes of it."""
        if judgement is Verdict.HARMFUL:
            # What was pending failed, whatever the category; a warning of this very harm was tested.
            opened, terms = (self.opened, self.terms) if self.opened else (unit.opens, unit.terms)
            warnings = tuple(
                warning._replace(tested_by=unit.name)
                if warning.tested_by is None and unit.is_harm_of(warning.category)
                else warning
                for warning in self.warnings
            )
            return Episode(opened, terms, 0, (), (*self.failed, *self.pending)[-RECALLED:], warnings)
        if judgement is Verdict.PRODUCTIVE:
            return self._replace(productive=self.productive + 1, pending=()).closed_if_it_can_be()
        return self.closed_if_it_can_be()

    def closed_if_it_can_be(self) -> "Episode":
        """It closes after enough productive units in a row: redirections and warnings are void."""
        enough = self.terms is not None and self.productive >= self.terms.productive_to_close
        return Episode() if enough else self

    def going_on_from(self, unit: Unit) -> "Episode":
        """What was done about a unit of harm counts from the next unit on: what was tried is pending, a warning stands.

        A warning takes the place of an incomplete one of its category, never of a complete one.
        """
        standing = {warning.category: warning for warning in self.warnings}
        for warning in unit.warnings:
            if warning.category not in standing or not standing[warning.category].is_complete:
                standing[warning.category] = warning
        tried = () if unit.redirection is None else (unit.redirection,)
        return self._replace(pending=(*self.pending, *tried)[-RECALLED:], warnings=tuple(standing.values()))


# --- What is known of a path ------------------------------------------------------------------------------------------


class Fork(NamedTuple):
    """Where a branch that is about to be opened leaves its parent."""

    next_in_parent: type[Event] | None
    open_in_tree: Risks


CODES: dict[type[Event], int] = {kind: code for code, kind in enumerate(EVENTS.values(), 1)}


class Path(NamedTuple):
    """What is known of a path, after its events so far."""

    version: int = 0
    kinds: bytearray = bytearray()  # one an event, shared with the paths before and after this one
    begun: bool = False  # whether the branch has events of its own
    ended: int = 0  # where the ending is
    appealed: bool = False  # an appeal waits
    policy: Policy = Policy.default()
    model: str | None = None
    answer: int = 0  # the latest assistant turn
    unit: Unit | None = None  # the latest
    asked: int | None = None  # where the user asked to end: in the unit before the latest
    episode: Episode = Episode()  # as of the units before the latest
    risks: Risks = frozenset()
    must_hold: bool = False  # the latest event is a verdict that saw a risk, and no hold was on
    confirmation: int | None = None
    hope: int | None = None
    proposals: frozenset[tuple[Ground, ActorKind, str, int]] = frozenset()
    fork: Fork | None = None  # of a branch that is about to open

    @property
    def unit_name(self) -> int:
        """The latest user turn, 0 if there is none."""
        return self.unit.name if self.unit else 0

    @property
    def stands(self) -> Episode:
        """The episode as the latest unit makes it, as that is judged now: a judgement counts at once."""
        return self.episode.after(self.unit, self.unit.judgement) if self.unit else self.episode

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


def _started(path: Path, event: ConversationStarted) -> Path:
    return path._replace(policy=event.policy, model=event.model)


def _opened(path: Path, event: BranchOpened) -> Path:
    """A branch starts with what its prefix adds up to, without what was asked, proposed and given up in it."""
    path = _without_wishes(path)
    return path._replace(risks=frozenset((risk.risk, risk.about) for risk in event.risks))


def _user_turn(path: Path, event: UserTurnTaken) -> Path:
    """A unit lasts until the next user turn that comes after an assistant turn; then it is settled."""
    path = path._replace(confirmation=None, hope=None, proposals=frozenset())
    unit = path.unit
    if unit is None:
        return path._replace(unit=Unit(path.version, path.version))
    if path.answer < unit.name:
        return path._replace(unit=unit._replace(name=path.version, no_risk_by=frozenset()))
    # One that was answered and has no verdict when the next begins counts as productive.
    judgement = unit.judgement or Verdict.PRODUCTIVE
    episode = path.episode.after(unit, judgement)
    if judgement is Verdict.HARMFUL:
        episode = episode.going_on_from(unit)
    return path._replace(unit=Unit(path.version, path.version), asked=unit.request, episode=episode)


def _assistant_turn(path: Path, event: AssistantTurnTaken) -> Path:
    return path._replace(answer=path.version)


def _verdict(path: Path, event: TurnAssessed) -> Path:
    must_hold = event.risk in path.policy.hold_on and not path.risks
    unit = path.unit
    if unit is None or not unit.has(event.turn):
        return path._replace(must_hold=must_hold)
    unit = unit._replace(
        opinions=unit.opinions | {Opinion(event.verdict, event.category, event.severity)},
        judged=max(unit.judged, event.turn),
        at_risk=unit.at_risk or event.risk is not Risk.NONE,
    )
    if not unit.opens:
        unit = unit._replace(opens=path.version, terms=Terms.of(path.policy))
    if event.risk is Risk.NONE and event.turn == unit.name:
        unit = unit._replace(no_risk_by=unit.no_risk_by | {event.by.kind})
    return path._replace(unit=unit, must_hold=must_hold)


def _redirection(path: Path, event: RedirectionAttempted) -> Path:
    if path.unit is None or not path.unit.has(event.answers):
        return path
    return path._replace(unit=path.unit._replace(redirection=path.version))


def _warning(path: Path, event: WarningGiven) -> Path:
    if path.unit is None or not path.unit.has(event.seen):
        return path
    given = WarningRecord(path.version, event.category, is_complete(event))
    return path._replace(unit=path.unit._replace(warnings=(*path.unit.warnings, given)))


def is_complete(warning: WarningGiven) -> bool:
    return warning.names_behaviour and warning.redirects and warning.states_consequence


def _raised(path: Path, event: RiskRaised) -> Path:
    """It voids warnings, requests, confirmations, proposals and statements of hope. Failed redirections stay."""
    return _without_warnings(_without_wishes(path))._replace(risks=path.risks | {(event.risk, event.about)})


def _cleared(path: Path, event: RiskCleared) -> Path:
    return path._replace(risks=frozenset(risk for risk in path.risks if risk[0] != event.risk))


def _without_wishes(path: Path) -> Path:
    return path._replace(
        unit=path.unit._replace(request=None) if path.unit else None,
        asked=None,
        confirmation=None,
        hope=None,
        proposals=frozenset(),
    )


def _without_warnings(path: Path) -> Path:
    unit = path.unit._replace(warnings=()) if path.unit else None
    return path._replace(unit=unit, episode=path.episode._replace(warnings=()))


def _request(path: Path, event: EndRequested) -> Path:
    """Asked under a risk, it is recorded and has no effect, ever."""
    if path.risks or path.unit is None:
        return path
    return path._replace(unit=path.unit._replace(request=path.version))


def _confirmation(path: Path, event: EndConfirmed) -> Path:
    return path if path.risks else path._replace(confirmation=path.version)


def _hope(path: Path, event: HopeExhausted) -> Path:
    return path._replace(hope=path.version)


def _proposal(path: Path, event: EndProposed) -> Path:
    return path._replace(proposals=path.proposals | {(event.ground, event.by.kind, event.by.id, event.seen)})


def _policy(path: Path, event: PolicyChanged) -> Path:
    """It voids warnings; within an episode the stricter value of each number governs from now on, until it closes."""
    path = _without_warnings(path)._replace(policy=event.policy)
    unit, episode = path.unit, path.episode
    if unit is not None and unit.terms is not None:
        path = path._replace(unit=unit._replace(terms=unit.terms.or_stricter(event.policy)))
    if episode.terms is not None:
        episode = episode._replace(terms=episode.terms.or_stricter(event.policy))
        # Closing sooner is stricter, so it may have had enough productive units by now. What closes stays closed.
        if unit is None or unit.judgement is not Verdict.HARMFUL:
            episode = episode.closed_if_it_can_be()
    return path._replace(episode=episode)


def _model(path: Path, event: ModelChanged) -> Path:
    return _without_warnings(path)._replace(model=event.model)


def _ended(path: Path, event: ConversationEnded) -> Path:
    return path._replace(ended=path.version)


def _filed(path: Path, event: AppealFiled) -> Path:
    return path._replace(appealed=True)


def _decided(path: Path, event: AppealDecided) -> Path:
    return path._replace(appealed=False)


_STEPS: dict[type[Event], Any] = {
    ConversationStarted: _started,
    BranchOpened: _opened,
    UserTurnTaken: _user_turn,
    AssistantTurnTaken: _assistant_turn,
    TurnAssessed: _verdict,
    RedirectionAttempted: _redirection,
    WarningGiven: _warning,
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
}
