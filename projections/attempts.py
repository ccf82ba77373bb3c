"""What a refused attempt may have been, and whether another law would have allowed it.

A refusal says which kind of event was attempted, by whom, and which rules were in its way; not its category, nor the
ground of an ending. So everything that it may have been is tried: what the recorded law refuses by exactly those rules.
Categories that both laws treat alike are tried once.
"""

from collections.abc import Callable, Iterator

from lastresort.domain.commands import Command, EndConversation, GiveWarning, ProposeEnding, WithholdWarning
from lastresort.domain.decider import Accepted, decide, propose
from lastresort.domain.events import AttemptRefused, ConversationEnded, EndProposed, Event, WarningGiven
from lastresort.domain.law import broken_by
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import VOCABULARY, Actor, ActorKind, Ground, Mode

_OF_ITS_PLACE = frozenset({
    "answers-a-user", "begins-once", "ended-is-final", "judges-the-latest", "refers-to-the-path", "risk-holds",
})  # fmt: skip
"""Rules that ask where an event stands, and not of a policy: what they refuse, any law refuses."""
_NOBODYS = "no-such-category"


def ending_of(state: Conversation, by: Actor, ground: Ground, category: str | None) -> ConversationEnded:
    """Return the ending that an actor would record now, lawful or not."""
    (event,) = propose(_ending(by, state, ground, category), state)
    assert isinstance(event, ConversationEnded)
    return event


def may_end(state: Conversation, proposal: EndProposed) -> bool:
    """Whether what was proposed could be carried out now, of whatever category."""
    categories = [None] if proposal.ground is Ground.USER_REQUEST else [w.category for w in state.now.warnings]
    endings = [ending_of(state, proposal.by, proposal.ground, category) for category in categories]
    return any(not broken_by(state, ending) for ending in endings)


def may_warn(state: Conversation, category: str) -> bool:
    """Whether the conversation's model may warn now; in shadow mode, whether that would be withheld."""
    by = Actor(kind=ActorKind.MODEL, id=state.model)
    given = _warning(by, state, Ground.LAST_RESORT, category)
    warning: Command = given
    if state.mode is Mode.SHADOW:
        warning = WithholdWarning(id="asked", by=by, seen=given.seen, category=category)
    return isinstance(decide(warning, state), Accepted)


class Attempts:
    """Answers what the law would say of refused attempts under `policy`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def allowed(
        self, refused: AttemptRefused, state: Conversation, other: Conversation, *, clears_more: bool
    ) -> Event | bool | None:
        """Return the event that an attempt would have been in `other`; False if it is refused there too.

        Args:
            refused: the attempt as it was refused in `state`.
            state: as it was recorded.
            other: the state under the other policy.
            clears_more: whether that lets somebody clear risks who could not.

        Returns:
            None if that cannot be told.
        """
        unit = state.unit
        make = _MAKE.get(refused.attempted)
        if make is None or unit is None or _OF_ITS_PLACE.intersection(refused.rules):
            return False
        open_to_doubt = _traceless(state, other, clears_more)
        tried: list[tuple[Event, Event]] = []
        possible = False
        for ground, category in self._kinds(refused.attempted, state, other):
            command = make(refused.by, state, ground, category)
            (there,) = propose(command, other)
            lacks = {broken.rule for broken in broken_by(other, there)}
            possible = possible or lacks <= open_to_doubt
            tried.append((propose(command, state)[0], there))
        if not possible:
            return False
        rules = set(refused.rules)
        meant = [there for here, there in tried if {broken.rule for broken in broken_by(state, here)} == rules]
        return _one_of(meant, other, open_to_doubt)

    def _kinds(self, attempted: str, state: Conversation, other: Conversation) -> Iterator[tuple[Ground, str | None]]:
        """Yield ground and category of what may have been attempted, one for all that the laws treat alike."""
        if attempted == EndProposed.kind:
            yield from ((ground, None) for ground in Ground)
            return
        if attempted == ConversationEnded.kind:
            yield Ground.USER_REQUEST, None
        for category in self._categories(state, other):
            yield Ground.LAST_RESORT, category

    def _categories(self, state: Conversation, other: Conversation) -> list[str]:
        policies = state.policy, self._policy
        units = {category for one in (state, other) if one.unit for category in one.unit.categories}
        warned = {warned.category for one in (state, other) for warned in one.now.warnings}
        named = {_NOBODYS, *VOCABULARY, *units, *warned}
        for policy in policies:
            named.update(policy.categories, *policy.groups.values())
        alike: dict[object, str] = {}
        for category in sorted(named):
            key = (
                category if category in warned else None,
                category in units,
                category in VOCABULARY,
                *(category in policy.categories for policy in policies),
                *(policy.same_harm(category, unit) for policy in policies for unit in sorted(units)),
            )
            alike.setdefault(key, category)
        return list(alike.values())


def _traceless(state: Conversation, other: Conversation, clears_more: bool) -> frozenset[str]:
    """Return the rules that would not be in the way of an act if something happened that leaves no trace."""
    rules = set[str]()
    if state.wishes.hope is None:
        rules.add("hope-exhausted")  # it may have been stated, and refused
    if other.policy.handshake and not state.policy.handshake:
        rules.add("proposed-first")  # the first of two calls to end would have been the proposal
    if clears_more:
        rules.add("no-end-at-risk")
    if other.law < state.law:
        rules.add("confirmed-later")  # another user may have confirmed it
    return frozenset(rules)


def _one_of(meant: list[Event], other: Conversation, traceless: frozenset[str]) -> Event | bool | None:
    """Return what all that may have been meant comes to, None where it does not come to the same."""
    lacks = [{broken.rule for broken in broken_by(other, event)} for event in meant]
    if meant and not any(lacks):
        return meant[0] if len({_what(event) for event in meant}) == 1 else None
    if not meant or any(rules <= traceless for rules in lacks):
        return None
    return False


def _what(event: Event) -> object:
    """What of an event matters to what follows: of a warning nothing, since what follows it is undecidable."""
    return event.ground if isinstance(event, ConversationEnded | EndProposed) else None


def _warning(by: Actor, state: Conversation, _: Ground, category: str | None) -> GiveWarning:
    assert state.unit is not None
    assert category is not None
    said = {"names_behaviour": True, "redirects": True, "states_consequence": True}
    turn, seen = state.answered_by, state.unit.turn
    return GiveWarning(id="asked", by=by, turn=turn, seen=seen, category=category, **said)


def _proposal(by: Actor, state: Conversation, ground: Ground, _: str | None) -> Command:
    assert state.unit is not None
    return ProposeEnding(id="asked", by=by, seen=state.unit.turn, ground=ground)


def _ending(by: Actor, state: Conversation, ground: Ground, category: str | None) -> Command:
    seen = state.unit.turn if state.unit else 1  # before anybody has spoken it is lawful nowhere
    return EndConversation(id="asked", by=by, seen=seen, ground=ground, category=category)


_MAKE: dict[str, Callable[[Actor, Conversation, Ground, str | None], Command]] = {
    WarningGiven.kind: _warning,
    EndProposed.kind: _proposal,
    ConversationEnded.kind: _ending,
}
