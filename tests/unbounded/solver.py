"""Unknown states and events, and what the solver says of them."""

from typing import Any

import z3

from . import words as w
from .algebra import Term, both, made_like
from .fold import blank
from .words import Event, Policy, State

OF_EACH = 3
"""How many categories, risks, legal holds and actors there are: the one that an event is about, and two others."""

_NUMBERS = w.Numbers(2, 1, 1, 2, 0, 0)
_OFF = (False,) * OF_EACH
_BITS = (False,) * 4
A_POLICY = Policy(0, _NUMBERS, _OFF, (0,) * OF_EACH, False, (False,) * 5, _BITS, _BITS, _BITS, False, False)
_RISKS = ((False, False),) * OF_EACH
_LIKE = State(
    0, w.no_unit(OF_EACH), 0, w.no_episode(OF_EACH), w.no_wishes(OF_EACH), _RISKS, -1, w.NOT_ENDED, False, A_POLICY,
    0, False, w.Fork(False, 0, _RISKS, _OFF, False), 1, False, _OFF,
)  # fmt: skip
BLANK = blank(_LIKE)
"""The state before anything."""
_AN_EVENT = Event("", w.NOBODY, A_POLICY, w.nothing_said(OF_EACH), risks=_RISKS, holds=_OFF)


def unknown(name: str, like: Any) -> Any:
    """Return a value of the same parts as `like`, each of which may be anything of its sort."""
    if isinstance(like, tuple):
        names = getattr(like, "_fields", range(len(like)))
        return made_like(like, [unknown(f"{name}.{of}", part) for of, part in zip(names, like, strict=True)])
    return z3.Bool(name) if isinstance(like, bool) else z3.Int(name)


def any_state(name: str, law: int) -> State:
    state: State = unknown(name, BLANK)
    return state._replace(law=law)


def any_event(name: str, kind: str) -> Event:
    """Any event of a kind, by the first actor, about the first category, risk and hold: names have no order."""
    event: Event = unknown(name, _AN_EVENT._replace(kind=0))  # type: ignore[arg-type]
    return event._replace(kind=kind, actor=0, category=0, of=0)


class Unproven(AssertionError):
    """What does not follow, with the values of an example."""


def counterexample(conclusion: Term, *given: Term, milliseconds: int = 120_000) -> Any:
    """Return values under which all that is given holds and the conclusion does not; None if there are none.

    Raises:
        Unproven: the solver found no answer in that time.
    """
    if conclusion is True:
        return None
    solver = z3.Solver()
    solver.set("timeout", milliseconds)
    solver.add(both(*given), z3.Not(conclusion) if conclusion is not False else True)
    answer = solver.check()
    if answer == z3.unknown:
        raise Unproven(f"no answer: {solver.reason_unknown()}")
    return solver.model() if answer == z3.sat else None


def told(model: Any, value: Any) -> Any:
    """Return a value as an example has it."""
    if isinstance(value, tuple):
        return made_like(value, [told(model, part) for part in value])
    if not z3.is_expr(value):
        return value
    said = model.eval(value, model_completion=True)
    return z3.is_true(said) if z3.is_bool(said) else said.as_long()
