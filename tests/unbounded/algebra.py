"""The algebra that the model is written in: of Python's values, and of the solver's terms.

What the model makes of ints and bools it makes of terms over them as well. So one text is run beside the real code, at
the speed of Python and without the solver, and is what the solver proves things of. `+`, `-`, `*`, `==`, `<=` and the
like are the same in both; `and`, `or`, `not` and `if` are not, and are here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

Term = Any
"""A bool or an int, or a term of the solver over them."""
T = TypeVar("T")


def _solver() -> Any:
    import z3  # only where something is unknown: what is compared with the real code needs no solver

    return z3


def no(term: Term) -> Term:
    return not term if isinstance(term, bool) else _solver().Not(term)


def both(*terms: Term) -> Term:
    """Whether all of them hold."""
    unknown = [term for term in terms if term is not True]
    if not unknown:
        return True
    if any(term is False for term in unknown):
        return False
    return unknown[0] if len(unknown) == 1 else _solver().And(unknown)


def either(*terms: Term) -> Term:
    """Whether one of them holds, or more."""
    unknown = [term for term in terms if term is not False]
    if not unknown:
        return False
    if any(term is True for term in unknown):
        return True
    return unknown[0] if len(unknown) == 1 else _solver().Or(unknown)


def implies(one: Term, other: Term) -> Term:
    return either(no(one), other)


def same(one: Any, other: Any) -> Term:
    """Whether two values are equal, part by part."""
    if isinstance(one, tuple):
        return both(*(same(of_one, of_other) for of_one, of_other in zip(one, other, strict=True)))
    return True if one is other else one == other


def differ(one: Any, other: Any) -> Term:
    return no(same(one, other))


def when(condition: Term, then: T, otherwise: T) -> T:
    """Return `then` where the condition holds, and else `otherwise`, which has the same parts."""
    if condition is True or then is otherwise:
        return then
    if condition is False:
        return otherwise
    if isinstance(then, tuple) and isinstance(otherwise, tuple):
        return made_like(then, [when(condition, one, other) for one, other in zip(then, otherwise, strict=True)])
    chosen: T = _solver().If(condition, then, otherwise)
    return chosen


def made_like(like: T, parts: Iterable[Any]) -> T:
    """Return a tuple of other parts, named as those of `like` are."""
    make: Any = getattr(like, "_make", tuple)
    made: T = make(parts)
    return made


def first(*cases: tuple[Term, Callable[[], T]]) -> T:
    """Return what the first case gives whose condition holds; the last one's always does. What is known not to hold is
    not worked out."""
    (condition, give), *others = cases
    if condition is True:
        return give()
    return first(*others) if condition is False else when(condition, give(), first(*others))


def least(one: Term, other: Term) -> Term:
    return when(one <= other, one, other)


def most(one: Term, other: Term) -> Term:
    return when(one >= other, one, other)


def at(values: Sequence[Any], place: int, put: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return `values` with another one at a place."""
    return tuple(put(value) if index == place else value for index, value in enumerate(values))


def some(terms: Iterable[Term]) -> Term:
    return either(*terms)


def every(terms: Iterable[Term]) -> Term:
    return both(*terms)
