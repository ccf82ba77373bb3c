"""Who may act as what: the boundary at which somebody who was authenticated becomes an actor.

Inside, `by` is taken on trust: the law asks what kind of actor it is, and believes it. So a program that
lets others in, as a web application or the command line does, says here what each of them may be, and gets an actor or
an error.
"""

from lastresort.domain.values import Actor, ActorKind, Frozen, Id


class NotAllowed(PermissionError):
    """A principal may not act as the kind of actor that was asked for."""


class Principal(Frozen):
    """Somebody who was authenticated outside, and the kinds of actor that they may be.

    Attributes:
        id: a pseudonym, which stands in the log for ever.
        may: the kinds. A kind is authority: `operator` may clear a risk, decide an appeal and change the policy.
    """

    id: Id
    may: frozenset[ActorKind]


def as_actor(principal: Principal, kind: ActorKind) -> Actor:
    """Return the actor of a kind that a principal is.

        chat.clear_risk(risk, by=as_actor(principal, ActorKind.OPERATOR))

    Raises:
        NotAllowed: the principal may not be one. It names what is lacking.
    """
    if kind not in principal.may:
        may = ", ".join(sorted(principal.may)) or "nothing"
        raise NotAllowed(f"principal {principal.id} may not act as {kind.value}, but as: {may}")
    return Actor(kind=kind, id=principal.id)
