"""What the search keeps of a state (`canonical` in `tests/search.py`), in the algebra."""

from typing import Any

from .algebra import Term, both, either, every, implies, least, made_like, same, when
from .fold import is_there
from .words import Event, Numbers, Said, State


def view(state: State, cap: Term, most_relapses: Term, onward: bool) -> tuple[Any, ...]:
    """Return what `canonical` keeps: which versions there are, and counts up to a cap, and all the rest as it is."""
    unit, episode, wishes, ended = state.unit, state.episode, state.wishes, state.ended
    seconds = _of_the_second_edition(state, cap, most_relapses)
    return (
        state.version > 0,
        state.answered_by > 0,
        is_there(unit),
        (state.answered_by > unit.turn, _weighed_in_edition_1(unit.said)),
        unit.redirection > 0,
        tuple((warned.version > 0, warned.complete) for warned in unit.warnings),
        unit.numbers,
        (episode.numbers, least(episode.failed, cap), episode.pending > 0, episode.productive),
        tuple((warned.version > 0, warned.complete, warned.tested_by > 0) for warned in episode.warnings),
        (wishes.requested > 0, wishes.to_confirm > 0, wishes.confirmed[1] > 0, wishes.hope > 0),
        wishes.proposed,
        state.risks,
        same(state.hold_due, state.version),
        (ended.version > 0, ended.ground, ended.category, ended.appealed),
        (state.named, state.policy, state.model, state.eligible, state.fork, state.holds, state.shadow),
        when(episode.withheld > 0, when(both(is_there(unit), episode.withheld > unit.turn), 2, 1), 0),
        seconds if onward else when(state.law > 1, seconds, _nothing(seconds)),
    )


def _weighed_in_edition_1(said: Said) -> Said:
    return said._replace(risk_seen=False, doubt=False, words=0)


def _of_the_second_edition(state: State, cap: Term, most_relapses: Term) -> tuple[Any, ...]:
    unit, episode, wishes = state.unit, state.episode, state.wishes
    said = unit.said
    return (
        state.law,
        state.ended.granted,
        (wishes.requested_by, wishes.to_confirm_by),
        (said.risk_seen, said.doubt, said.words),
        (unit.user, unit.shared, unit.absolved, unit.since_begun),
        tuple(warned.user for warned in unit.warnings),
        tuple(warned.user for warned in episode.warnings),
        (least(episode.attempted, cap), least(episode.relapses, most_relapses)),
    )


def _nothing(like: Any) -> Any:
    if isinstance(like, tuple):
        return made_like(like, map(_nothing, like))
    return False if str(getattr(like, "sort", lambda: type(like).__name__)()) in ("Bool", "bool") else 0


def is_enough(cap: Term, most_relapses: Term, state: State, event: Event, onward: bool) -> Term:
    """Whether no policy in play asks for more than the caps: what a search has to see to."""
    of_both = onward or state.law == 2 or event.kind == "ConversationStarted"

    def covers(numbers: Numbers) -> Term:
        saturated = either(same(numbers.step, 0), most_relapses * numbers.step >= numbers.cap)
        return both(numbers.failed <= cap, implies(of_both, both(numbers.warn <= cap, saturated)))

    in_play = state.policy, event.policy
    return both(
        most_relapses >= 0,
        covers(state.episode.numbers),
        covers(state.unit.numbers),
        covers(state.unit.since_begun),
        *(covers(policy.numbers) for policy in in_play),
    )


def alike(one: State, of_one: Event, other: State, of_other: Event, onward: bool) -> Term:
    """Whether two events are one act in two states: equal, but for the versions that they name, and each of those
    before, at or after the same turns. What comes of a verdict is alike as far as a view keeps it."""
    apart = "kind", "turn", "answer", "at", "said"
    equal = every(same(getattr(of_one, name), getattr(of_other, name)) for name in Event._fields if name not in apart)
    said = [event.said if onward or one.law == 2 else _weighed_in_edition_1(event.said) for event in (of_one, of_other)]

    def order(state: State, event: Event) -> tuple[Term, ...]:
        named = (event.turn, event.answer)
        there = (state.unit.turn, state.answered_by, state.version)
        pairs = [(one, other) for one in named for other in there] + [named, (event.at, state.version)]
        return tuple(term for one, other in pairs for term in (one < other, same(one, other)))

    return both(equal, same(*said), same(order(one, of_one), order(other, of_other)))
