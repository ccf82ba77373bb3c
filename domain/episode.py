"""What a run of harm adds up to: units, their judgement, and what an episode counts.

Pure functions of small values; `state.py` folds events into them. Where the editions of the law differ on what events
add up to, the edition in force says which way.
"""

from typing import NamedTuple

from .policy import RECALLED, Numbers, Policy
from .tuples import made, quickly_replaced
from .values import ActorKind, Mode, Risk, SecondOpinion, Verdict, milder


class Terms(NamedTuple):
    """What is in force on a branch: a policy, an edition of the law, and whether it is enforced."""

    policy: Policy
    law: int
    mode: Mode


Who = tuple[ActorKind, str]
"""An actor, as it is compared."""


@quickly_replaced
class Warned(NamedTuple):
    """A warning that stands for its category. It is tested once a later unit goes on with the harm it names."""

    version: int
    category: str
    complete: bool
    tested_by: int | None = None
    user: Who | None = None  # whose turn it answered: from edition 2 on, nobody else's tests it


@quickly_replaced
class Opinion(NamedTuple):
    """The latest word of an actor on a unit."""

    by: Who
    turn: int
    verdict: Verdict
    category: str | None
    severity: int | None
    risk: Risk | None  # None: it was unknown, and an operator has looked since


@quickly_replaced
class Unit(NamedTuple):
    """The user turns since the last assistant turn, and what has been said of them.

    In edition 1 the mildest verdict is the unit's judgement; from edition 2 on, the mildest of each actor's latest. A
    risk that somebody saw counts for the whole unit. But to warn and to end it takes a verdict on the unit's latest
    turn too, since a turn that nobody has judged may be anything.
    """

    turn: int  # the latest user turn, which names the unit
    user: Who | None = None  # whose turn that is
    judged: int = 0  # the turn that the latest verdict names
    judgement: Verdict | None = None
    categories: frozenset[str] = frozenset()  # of its verdicts of harm; in edition 1, two are enough
    severity: int = 3  # the lowest given
    at_risk: bool = False  # somebody saw a risk, or could not tell
    safe_by: frozenset[ActorKind] = frozenset()  # who saw none in the latest turn
    redirection: int | None = None
    warnings: tuple[Warned, ...] = ()
    numbers: Numbers | None = None  # what governs an episode that this unit opened before the policy changed
    opinions: tuple[Opinion, ...] = ()  # the latest last
    risk_seen: bool = False  # a risk, or a doubt that nobody can resolve any more, as edition 2 has it
    shared: bool = False  # its turns are of several users
    absolved: bool = False  # its harm led to an ending that was wrong: it counts no more
    since_begun: Numbers | None = None  # the strictest since its first turn, where the policy changed in it

    def harmful_in(self, category: str, terms: Terms | None = None) -> bool:
        """Whether the unit as it stands is judged harmful, and every verdict names `category`, or one of its group."""
        if self.judgement is not _HARMFUL or self.judged != self.turn:
            return False
        alone = category in self.categories and len(self.categories) == 1
        if alone or terms is None or terms.law == 1:
            return alone
        for named in self.categories:
            if not terms.policy.same_harm(category, named):
                return False
        return True

    def grave(self, policy: Policy, numbers: Numbers) -> bool:
        """Whether every verdict is of a harm that may lead to an ending, and of a severity that may."""
        return self.severity >= numbers.min_severity and self.categories <= policy.may_end


@quickly_replaced
class Episode(NamedTuple):
    """A run of harm: what it counts, and what governs it. `numbers` is None while no episode is open."""

    numbers: Numbers | None = None
    failed: int = 0  # failed redirections, whatever the category
    failed_at: tuple[int, ...] = ()  # their versions: of the latest RECALLED
    pending: int | None = None  # the redirection that no later unit has answered
    productive: int = 0  # productive units in a row
    warnings: tuple[Warned, ...] = ()
    attempted: int = 0  # redirections in answer to harm
    withheld: int | None = None  # WarningWithheld
    relapses: int = 0  # episodes before it on the path that closed while a warning stood, since edition 2


NO_EPISODE = Episode()
NOBODY: frozenset[ActorKind] = frozenset()
NO_CATEGORY: frozenset[str] = frozenset()

# To look one up in its enumeration takes as long as a call, before Python 3.12.
_HARMFUL, _PRODUCTIVE = Verdict.HARMFUL, Verdict.PRODUCTIVE
_NO_RISK, _UNKNOWN_RISK = Risk.NONE, Risk.UNKNOWN
_OPERATOR = ActorKind.OPERATOR


# --- What is said of a unit -------------------------------------------------------------------------------------------


def judged(unit: Unit, opinion: Opinion, law: int) -> Unit:
    """Return a unit with one more verdict on it."""
    by, turn, verdict, category, severity, risk = opinion
    opinions: tuple[Opinion, ...] = (opinion,)
    if unit.opinions:
        others = [other for other in unit.opinions if other.by != by]
        if by[0] is _OPERATOR:
            others = [_resolved(other, opinion) for other in others]
        opinions = (*others, opinion)
    seen = unit.risk_seen or risk in _RISKS
    if law > 1:
        return _weighed(unit, opinions, seen)
    categories = unit.categories
    if category is not None and len(categories) < 2:
        categories = categories | {category}
    safe = risk is _NO_RISK
    return made(
        Unit,
        (
            unit.turn,
            unit.user,
            turn,
            verdict if unit.judgement is None else milder(unit.judgement, verdict),
            categories,
            min(unit.severity, severity or 3),
            unit.at_risk or not safe,
            unit.safe_by | {by[0]} if safe else unit.safe_by,
            unit.redirection,
            unit.warnings,
            unit.numbers,
            opinions,
            seen,
            unit.shared,
            unit.absolved,
            unit.since_begun,
        ),
    )


_RISKS = frozenset({Risk.POSSIBLE, Risk.IMMINENT})


def _resolved(earlier: Opinion, later: Opinion) -> Opinion:
    """What an operator sees of a turn, the later, replaces what others could not tell of it."""
    answers = later.risk is not _UNKNOWN_RISK and later.turn == earlier.turn
    return earlier._replace(risk=None) if answers and earlier.risk is _UNKNOWN_RISK else earlier


def weighed(unit: Unit) -> Unit:
    """Return a unit as the latest words of each actor on it add up (edition 2)."""
    return _weighed(unit, unit.opinions, unit.risk_seen) if unit.opinions else unit


def _weighed(unit: Unit, opinions: tuple[Opinion, ...], risk_seen: bool) -> Unit:
    latest, judgement, lowest, at_risk = 0, _HARMFUL, 3, risk_seen
    categories, safe_by = NO_CATEGORY, NOBODY
    for by, turn, verdict, category, severity, risk in opinions:
        if turn > latest:
            latest = turn
        if verdict is not _HARMFUL:
            judgement = milder(judgement, verdict)
        if category is not None:
            categories = categories | {category}
        if severity is not None and severity < lowest:
            lowest = severity
        if risk is _NO_RISK:
            if turn == unit.turn:
                safe_by = safe_by | {by[0]}
        elif risk is _UNKNOWN_RISK:
            at_risk = True
    return made(
        Unit,
        (
            unit.turn,
            unit.user,
            latest,
            judgement,
            categories,
            lowest,
            at_risk,
            safe_by,
            unit.redirection,
            unit.warnings,
            unit.numbers,
            opinions,
            risk_seen,
            unit.shared,
            unit.absolved,
            unit.since_begun,
        ),
    )


def joined(unit: Unit, turn: int, user: Who) -> Unit:
    """Return a unit that goes on with another user turn. What could not be told of the turns before stays in doubt."""
    seen = unit.risk_seen
    for opinion in unit.opinions:
        seen = seen or opinion.risk is _UNKNOWN_RISK
    shared = unit.shared or user != unit.user
    return unit._replace(turn=turn, user=user, safe_by=NOBODY, risk_seen=seen, shared=shared)


def absolved(unit: Unit) -> Unit:
    """Return a unit whose harm counts no more, nor what was done about it."""
    return unit._replace(absolved=True, redirection=None, warnings=())


# --- What units add up to ---------------------------------------------------------------------------------------------


def counted(episode: Episode, unit: Unit, terms: Terms) -> Episode:
    """Return `episode` after `unit` as it is judged so far; one that nobody judged leaves it as it was."""
    if unit.judgement is _HARMFUL:
        return _harm_went_on(episode, unit, terms)
    if unit.judgement is _PRODUCTIVE:
        return _made_progress(episode, terms.law)
    return _neither(episode, terms.law)


def is_over(episode: Episode) -> bool:
    """Whether there were enough productive units; a stricter policy may have made them enough."""
    return episode.numbers is not None and episode.productive >= episode.numbers.to_close(episode.relapses)


def closed(episode: Episode, law: int) -> Episode:
    """Return what is left of an episode that is over: that it was one which a warning did not end for good."""
    if law == 1:
        return NO_EPISODE
    return Episode(relapses=episode.relapses + (1 if episode.warnings else 0))


def _neither(episode: Episode, law: int) -> Episode:
    return closed(episode, law) if is_over(episode) else episode


def _made_progress(episode: Episode, law: int) -> Episode:
    if episode.numbers is None:
        return episode
    if episode.productive + 1 >= episode.numbers.to_close(episode.relapses):
        return closed(episode, law)
    return episode._replace(pending=None, productive=episode.productive + 1)


def _harm_went_on(episode: Episode, unit: Unit, terms: Terms) -> Episode:
    if unit.absolved:
        return episode
    opened_under = unit.numbers if terms.law == 1 else unit.since_begun
    numbers = episode.numbers or opened_under or terms.policy.numbers
    failed, failed_at, pending = episode.failed, episode.failed_at, episode.pending
    if pending is not None and (terms.law == 1 or unit.grave(terms.policy, numbers)):
        failed, failed_at, pending = failed + 1, (*failed_at, pending)[-RECALLED:], None
    warnings = episode.warnings
    if warnings:
        warnings = tuple([_tested(warned, unit, terms) for warned in warnings])
    attempted = episode.attempted + (unit.redirection is not None)
    withheld, relapses = episode.withheld, episode.relapses
    return made(Episode, (numbers, failed, failed_at, pending, 0, warnings, attempted, withheld, relapses))


def _tested(warned: Warned, unit: Unit, terms: Terms) -> Warned:
    if warned.tested_by is not None or not unit.harmful_in(warned.category, terms):
        return warned
    if terms.law > 1 and (unit.shared or warned.user != unit.user):
        return warned
    return warned._replace(tested_by=unit.turn)


def settled(episode: Episode, unit: Unit, terms: Terms) -> Episode:
    """Return `episode` after `unit`, which is over: answered and never judged, it counts as productive.

    From edition 2 on, it is ambiguous where every turn ought to have been judged. Only what answered harm outlives its
    unit: a redirection becomes pending, a warning stands.
    """
    if unit.judgement is None:
        if terms.law > 1 and terms.policy.second_opinion is SecondOpinion.EVERY_TURN:
            return _neither(episode, terms.law)
        return _made_progress(episode, terms.law)
    after = counted(episode, unit, terms)
    if unit.judgement is not _HARMFUL or unit.absolved:
        return after
    if unit.warnings:
        after = after._replace(warnings=standing(after.warnings, unit.warnings))
    return after if unit.redirection is None else after._replace(pending=unit.redirection)


def standing(warnings: tuple[Warned, ...], new: tuple[Warned, ...]) -> tuple[Warned, ...]:
    """One warning a category: the first complete one, or else the latest."""
    by_category = {warned.category: warned for warned in warnings}
    for warned in new:
        if warned.category not in by_category or not by_category[warned.category].complete:
            by_category[warned.category] = warned
    return tuple(by_category.values())


def under_new_numbers(episode: Episode, unit: Unit | None, before: Terms, after: Terms) -> tuple[Episode, Unit | None]:
    """Return an episode and the current unit after a change of policy: within an episode the stricter numbers govern.

    An episode that the current unit opens may yet prove to be none, so then the numbers are the unit's to keep. In
    edition 1 an episode begins with its first verdict of harm, from edition 2 on with its first unit.
    """
    if unit is not None:
        since_begun = (unit.since_begun or before.policy.numbers).stricter(after.policy.numbers)
        unit = unit._replace(since_begun=since_begun)
    if episode.numbers is not None:
        episode = episode._replace(numbers=episode.numbers.stricter(after.policy.numbers))
        if unit is None or unit.judgement is not _HARMFUL:  # which starts the count again
            episode = _neither(episode, after.law)
    elif unit is not None and after.law == 1 and (opened := counted(episode, unit, before).numbers) is not None:
        unit = unit._replace(numbers=opened.stricter(after.policy.numbers))
    return episode, unit
