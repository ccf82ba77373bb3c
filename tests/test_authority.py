"""A principal becomes the actors that it may be, and no other."""

from itertools import chain, combinations

import pytest
from pydantic import ValidationError

from lastresort import Actor, ActorKind, NotAllowed, Principal, as_actor

KINDS = list(ActorKind)
SETS = [frozenset(kinds) for kinds in chain.from_iterable(combinations(KINDS, n) for n in range(len(KINDS) + 1))]


@pytest.mark.parametrize("may", SETS, ids=lambda may: "+".join(sorted(may)) or "nothing")
def test_a_principal_is_what_it_may_be(may: frozenset[ActorKind]) -> None:
    principal = Principal(id="p-17", may=may)
    for kind in ActorKind:
        if kind in may:
            assert as_actor(principal, kind) == Actor(kind=kind, id="p-17")
        else:
            with pytest.raises(NotAllowed, match=rf"this principal \(length 4\) may not act as {kind.value}, but as: "):
                as_actor(principal, kind)


def test_what_is_lacking_is_named() -> None:
    clerk = Principal(id="clerk", may=frozenset({ActorKind.USER, ActorKind.ASSESSOR}))
    with pytest.raises(PermissionError, match=r"^this principal \(length 5\) .* operator, but as: assessor, user$"):
        as_actor(clerk, ActorKind.OPERATOR)
    with pytest.raises(NotAllowed, match=r"but as: nothing$"):
        as_actor(Principal(id="nobody", may=frozenset()), ActorKind.USER)


def test_a_principal_is_made_of_what_the_log_can_hold() -> None:
    """Its id is an id, and what it may be are kinds of actors; it cannot be changed afterwards."""
    with pytest.raises(ValueError, match="Principal: id: needs to be 1 to 128 printable ASCII characters without"):
        Principal(id="two words", may=frozenset())
    with pytest.raises(ValueError, match="Principal: may"):
        Principal(id="p", may=frozenset({"root"}))  # as a caller may
    with pytest.raises(ValidationError):
        Principal(id="p", may=frozenset()).may = frozenset(KINDS)  # type: ignore[misc]  # as a caller may
