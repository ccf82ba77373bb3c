"""Whether another law would have allowed what was refused, or what nobody tried.

A refusal says which kind of event was attempted, by whom, and which rules were in its way; not its category, nor the
ground of an ending. So everything that it may have been is tried: what the recorded law refuses by exactly those rules.
Categories that both laws treat alike are tried once. Where the other law refuses it, whichever it was, the recorded one
is not asked: the log says what that refused.
"""

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from lastresort.domain.events import (
    AttemptRefused,
    ConversationEnded,
    EndProposed,
    Event,
    EventBase,
    WarningGiven,
    WarningWithheld,
)
from lastresort.domain.law import GOVERNING, UNKNOWN, Predicate, Rule, asked_often, rules_of
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import VOCABULARY, Actor, ActorKind, Ground, Mode

from .acts import ending_by, proposal_by, warning_by, withheld_by

OF_ITS_PLACE = frozenset({
    "answers-a-user", "begins-once", "ended-is-final", "judges-the-latest", "refers-to-the-path", "risk-holds",
})  # fmt: skip
"""Rules that ask where an event stands, and not of a policy: what they refuse, any law refuses."""
_KNOWN = frozenset({"answers-a-user", "begins-once", "evidence-is-true", "judges-the-latest", "refers-to-the-path"})
"""Rules that allow whatever is tried here: it names the latest turns, and has the evidence of where it is asked."""
_NOBODYS = "no-such-category"

_GROUNDS: dict[str, tuple[Ground, ...]] = {
    ConversationEnded.kind: (Ground.USER_REQUEST, Ground.LAST_RESORT),
    EndProposed.kind: tuple(Ground),
    WarningGiven.kind: (Ground.LAST_RESORT,),
}
"""The acts that leave a trace where they are refused, and on which grounds."""
OF_A_CATEGORY = frozenset({"grave-enough", "named-category", "still-harmful", "true-warnings", "warned-first"})
"""The rules that read the category of a warning or an ending."""
OF_EVIDENCE = "evidence-is-true"
_NOTHING: frozenset[str] = frozenset()


def forbidden(state: Conversation, event: Event) -> bool:
    """Whether a rule does not allow an act in `state`, whatever evidence and policy it names: they are another's."""
    state = asked_often(state)
    for rule in rules_of(GOVERNING, state, event):  # no generator: each step of one takes as long as a rule
        if rule.id != OF_EVIDENCE and rule.lacks(state, event) is not None:
            return True
    return False


def may_end(state: Conversation, proposal: EndProposed) -> bool:
    """Whether what was proposed could be carried out now, of whatever category."""
    categories = [None] if proposal.ground is Ground.USER_REQUEST else [w.category for w in state.now.warnings]
    endings = [ending_by(proposal.by, state, proposal.ground, category) for category in categories]
    return any(not forbidden(state, ending) for ending in endings)


def _tried(attempted: str, by: Actor, state: Conversation, ground: Ground, category: str | None) -> Event:
    """Return an act that may have been attempted, without its evidence."""
    turn = state.unit.turn if state.unit else 1
    if attempted == EndProposed.kind:
        return proposal_by(by, turn, ground)
    if attempted == WarningGiven.kind:
        return warning_by(by, state.answered_by, turn, category or _NOBODYS)
    if attempted == WarningWithheld.kind:
        return withheld_by(by, turn, category or _NOBODYS)
    return ending_by(by, state, ground, category)


_REMEMBERED = 1_000  # sets of categories, or actors


_Pairs = tuple[tuple[str, Predicate], ...]
_Kind = tuple[Ground, str | None]
_PROPOSALS: tuple[_Kind, ...] = tuple((ground, None) for ground in Ground)


class _Asked(NamedTuple):
    """What is asked of an act of a kind on a ground: of whatever category it is, of its category, and the ids of all.

    Not asked is what is known: an act that may have been names the latest turns, and has the evidence of where it is
    asked. What is likely to refuse comes first: what is asked on one ground only, and what tells most categories apart.
    """

    of_any: _Pairs
    of_one: _Pairs
    ids: frozenset[str]

    def but(self, rules: frozenset[str]) -> "_Asked":
        """Return the same without some rules."""
        of_any, of_one = (tuple(pair for pair in pairs if pair[0] not in rules) for pairs in self[:2])
        return _Asked(of_any, of_one, self.ids)


def _asked(rules: Iterable[Rule], ground: Ground) -> _Asked:
    some = [rule for rule in rules if rule.on in (None, ground) and rule.id not in _KNOWN]
    some.sort(key=lambda rule: (rule.on is None, rule.id != "still-harmful"))
    pairs = [(rule.id, getattr(rule.lacks, "__wrapped__", rule.lacks)) for rule in some]
    return _Asked(
        tuple(pair for pair in pairs if pair[0] not in OF_A_CATEGORY),
        tuple(pair for pair in pairs if pair[0] in OF_A_CATEGORY),
        frozenset(rule.id for rule in some),
    )


_KINDS: dict[str, type[EventBase]] = {
    kind.kind: kind for kind in (WarningGiven, WarningWithheld, EndProposed, ConversationEnded)
}
_ASKED_OF: dict[tuple[int, str], dict[Ground, _Asked]] = {
    (edition, attempted): {ground: _asked(book[kind], ground) for ground in Ground}
    for edition, book in GOVERNING.items()
    for attempted, kind in _KINDS.items()
}


@cache
def _asked_but(law: int, attempted: str, rules: frozenset[str]) -> dict[Ground, _Asked]:
    """Return what an edition asks of an act of a kind, by ground, without some rules."""
    asked = _ASKED_OF[law if law in GOVERNING else UNKNOWN, attempted]
    return {ground: of.but(rules) for ground, of in asked.items()}


class Unasked(NamedTuple):
    """Rules that another law is not asked of an attempt.

    `traceless` would not be in its way there if something had happened that leaves no trace. `alike` say the same in
    both states, and did not refuse it.
    """

    traceless: frozenset[str]
    alike: frozenset[str]
    both: frozenset[str]

    @classmethod
    def of(cls, traceless: frozenset[str], alike: frozenset[str] = _NOTHING) -> "Unasked":
        return cls(traceless, alike, traceless | alike)


class _Acts:
    """The acts of a kind that somebody may have attempted, by ground and category, as rules look at them.

    They are kept apart from where they may have been attempted, and name no turn: of those nothing is asked.
    """

    def __init__(self, attempted: str, by: Actor) -> None:
        self._attempted, self._by = attempted, by
        self._made: dict[tuple[Ground, str | None], Event] = {}

    def of(self, ground: Ground, category: str | None) -> Event:
        made = self._made.get((ground, category))
        if made is None:
            made = self._made[ground, category] = _tried(self._attempted, self._by, Conversation(), ground, category)
        return made


class _Answers:
    """What the law says in a state of acts of one kind, whatever evidence they name; but for some rules.

    Loops, and no generators, of which each step takes as long as a rule.
    """

    def __init__(self, state: Conversation, attempted: str, acts: _Acts, but: frozenset[str] = _NOTHING) -> None:
        self.state = asked_often(state)
        self._acts = acts
        self._asked = _asked_but(state.law, attempted, but)

    def refuses(self, ground: Ground, rules: frozenset[str]) -> bool:
        """Whether, of the rules that read no category, exactly those in `rules` refuse an act on a ground."""
        return self._refuse(self._asked[ground].of_any, self._acts.of(ground, _nobodys(ground)), rules)

    def refuses_of(self, ground: Ground, category: str | None, rules: frozenset[str]) -> bool:
        """Whether, of those that read it, exactly those in `rules` refuse an act of a category."""
        return self._refuse(self._asked[ground].of_one, self._acts.of(ground, category), rules)

    def leave(self, grounds: Iterable[Ground]) -> list[Ground]:
        """Return the grounds on which nothing refuses an act but its category."""
        return [ground for ground in grounds if self._leave(self._asked[ground].of_any, ground, _nobodys(ground))]

    def leave_of(self, kinds: Iterable[_Kind], grounds: Iterable[Ground]) -> list[_Kind]:
        """Return those of some kinds, on some grounds, that their category does not refuse."""
        state, of, left = self.state, self._acts.of, list[_Kind]()
        asked = {ground: self._asked[ground].of_one for ground in grounds}
        for kind in kinds:
            ground, category = kind
            if ground in asked:
                act = of(ground, category)
                for _, lacks in asked[ground]:
                    if lacks(state, act) is not None:
                        break
                else:
                    left.append(kind)
        return left

    def allow(self, ground: Ground, category: str | None) -> bool:
        asked = self._asked[ground]
        return self._leave(asked.of_any, ground, _nobodys(ground)) and self._leave(asked.of_one, ground, category)

    def _refuse(self, asked: _Pairs, act: Event, rules: frozenset[str]) -> bool:
        state = self.state
        for rule, lacks in asked:
            if (lacks(state, act) is not None) is not (rule in rules):
                return False
        return True

    def _leave(self, asked: _Pairs, ground: Ground, category: str | None) -> bool:
        state, act = self.state, self._acts.of(ground, category)
        for _, lacks in asked:
            if lacks(state, act) is not None:
                return False
        return True


@lru_cache(_REMEMBERED)
def _grounds_of(law: int, attempted: str, rules: tuple[str, ...]) -> tuple[Ground, ...]:
    """Return the grounds on which an act of a kind may have been refused by some rules."""
    asked = _asked_but(law, attempted, _NOTHING)
    return tuple(ground for ground in _GROUNDS[attempted] if asked[ground].ids.issuperset(rules))


def _nobodys(ground: Ground) -> str | None:
    return None if ground is Ground.USER_REQUEST else _NOBODYS


class Attempts:
    """Answers what the law would say of refused attempts under `policy`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._alike: dict[tuple[str, str, frozenset[str], frozenset[str]], list[_Kind]] = {}
        self._acts: dict[tuple[str, ActorKind, str], _Acts] = {}
        self._last: tuple[object, object, Event | bool | None] = None, None, None

    def allowed(
        self, refused: AttemptRefused, state: Conversation, other: Conversation, unasked: Unasked
    ) -> Event | bool | None:
        """Return what `_allowed` does. A branch that was in step is asked of once more as it goes apart."""
        if self._last[0] is not refused or self._last[1] is not other:
            self._last = refused, other, self._allowed(refused, state, other, unasked)
        return self._last[2]

    def _allowed(
        self, refused: AttemptRefused, state: Conversation, other: Conversation, unasked: Unasked
    ) -> Event | bool | None:
        """Return the event that an attempt would have been in `other`; False if it is refused there too.

        Args:
            refused: the attempt as it was refused in `state`.
            state: as it was recorded.
            other: the state under the other policy.
            unasked: what `other` is not asked.

        Returns:
            None if that cannot be told.
        """
        attempted, by = refused.attempted, refused.by
        if attempted not in _GROUNDS or state.unit is None or not OF_ITS_PLACE.isdisjoint(refused.rules):
            return False
        acts = self._acts_of(attempted, by.kind, by.id)
        there = _Answers(other, attempted, acts, unasked.both)
        rules, grounds = frozenset(refused.rules), _grounds_of(state.law, attempted, refused.rules)
        left = there.leave(grounds or _GROUNDS[attempted])
        if not left:
            return False  # of whatever category it was, on whichever of the grounds
        kinds = self._kinds(attempted, state, other)
        may = there.leave_of(kinds, left)
        if not may:
            return False  # whatever it was, on whichever of the grounds
        here, traced = _Answers(state, attempted, acts), _Answers(other, attempted, acts, unasked.alike)
        on = [ground for ground in grounds if here.refuses(ground, rules)]
        meant = [kind for kind in may if kind[0] in on and here.refuses_of(*kind, rules)]
        if not all(traced.allow(*kind) for kind in meant):
            return None
        not_there = any(kind[0] in on and here.refuses_of(*kind, rules) for kind in kinds if kind not in may)
        if meant:
            alone = not not_there and len({_what(attempted, kind[0]) for kind in meant}) == 1
            return _tried(attempted, by, state, *meant[0]) if alone else None
        if not_there:
            return False
        # The recorded law is not what refused it: the other one is asked all of it.
        return self._allowed(refused, state, other, Unasked.of(unasked.traceless)) if unasked.alike else None

    def may_warn(self, state: Conversation, category: str) -> bool:
        """Whether a model that has answered may warn now; in shadow mode, whether it may withhold a warning."""
        attempted, acts = self._warnings(state)
        return _Answers(state, attempted, acts).allow(Ground.LAST_RESORT, category)

    def warning(self, state: Conversation, category: str) -> Event:
        """Return the warning that is asked for there; it names no turn."""
        return self._warnings(state)[1].of(Ground.LAST_RESORT, category)

    def _warnings(self, state: Conversation) -> tuple[str, _Acts]:
        attempted = WarningWithheld.kind if state.mode is Mode.SHADOW else WarningGiven.kind
        return attempted, self._acts_of(attempted, ActorKind.MODEL, state.model or "none")

    def _acts_of(self, attempted: str, kind: ActorKind, id: str) -> _Acts:
        key = attempted, kind, id
        found = self._acts.get(key)
        if found is None:
            if len(self._acts) >= _REMEMBERED:
                self._acts.clear()
            found = self._acts[key] = _Acts(attempted, Actor(kind=kind, id=id))
        return found

    def _kinds(self, attempted: str, state: Conversation, other: Conversation) -> Sequence[_Kind]:
        """Return ground and category of what may have been attempted, one for all that the laws treat alike."""
        if attempted == EndProposed.kind:
            return _PROPOSALS
        units, warned = _NOTHING, _NOTHING
        for one in (state, other):
            units |= one.unit.categories if one.unit is not None else _NOTHING
            if one.episode.warnings:
                warned |= {warning.category for warning in one.episode.warnings}
        key = attempted, state.policy.hash, units, warned
        known = self._alike.get(key)
        if known is None:
            if len(self._alike) >= _REMEMBERED:
                self._alike.clear()
            known = [(Ground.LAST_RESORT, category) for category in self._apart(state.policy, units, warned)]
            if attempted == ConversationEnded.kind:
                known.insert(0, (Ground.USER_REQUEST, None))
            self._alike[key] = known
        return known

    def _apart(self, recorded: Policy, units: frozenset[str], warned: frozenset[str]) -> list[str]:
        policies = recorded, self._policy
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


def _what(attempted: str, ground: Ground) -> Ground | None:
    """What of an act matters to what follows: of a warning nothing, since what follows it is undecidable."""
    return None if attempted == WarningGiven.kind else ground
