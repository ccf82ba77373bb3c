"""What two policies see differently, and whether another law would have allowed what was refused.

Of two states that differ in the policy alone, a rule that reads nothing of what differs says the same. So an act need
not be asked of the other law where no rule that governs it reads any of that, and one that was refused by such a rule
is refused there too.

A refusal says which kind of event was attempted, by whom, and which rules were in its way; not its category, nor the
ground of an ending. So everything that it may have been is tried: what the recorded law refuses by exactly those rules.
Categories that both laws treat alike are tried once.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lastresort.domain.events import (
    AppealDecided,
    AppealFiled,
    AssistantTurnTaken,
    AttemptRefused,
    BranchedOff,
    ContentErased,
    ConversationEnded,
    EndConfirmed,
    EndProposed,
    ErasureHeld,
    ErasureReleased,
    Event,
    EventBase,
    FeedbackGiven,
    ModelChanged,
    RiskCleared,
    RiskRaised,
    TurnAssessed,
    UserLeft,
    WarningGiven,
    WarningWithheld,
)
from lastresort.domain.law import GOVERNING, RULES, UNKNOWN, Predicate, Rule, asked_often, rules_of
from lastresort.domain.policy import Policy
from lastresort.domain.rules_of_conversations import NAMES_A_TURN
from lastresort.domain.state import Conversation
from lastresort.domain.values import VOCABULARY, Ground, Risk, Verdict, with_field

from .supposed import ending_by, proposal_by, warning_by

_OF_ITS_PLACE = frozenset({
    "answers-a-user", "begins-once", "ended-is-final", "judges-the-latest", "refers-to-the-path", "risk-holds",
})  # fmt: skip
"""Rules that ask where an event stands, and not of a policy: what they refuse, any law refuses."""
_NOBODYS = "no-such-category"

ASKED = frozenset(NAMES_A_TURN) - {TurnAssessed} | {RiskCleared}
"""Acts, which the other law is asked of."""
_PLAIN = frozenset({
    AppealDecided, AppealFiled, BranchedOff, ContentErased, ErasureHeld, ErasureReleased, FeedbackGiven, ModelChanged,
})  # fmt: skip
"""What any policy makes the same of."""
CLOSING = frozenset({"productive_to_close", "relapse_cap", "relapse_step"})
"""What says when an episode closes."""
GRAVITY = frozenset({"categories", "min_severity"})
"""What says whether harm makes a redirection fail."""
HOLDS = frozenset({"hold_on", "hold_on_others", "hold_on_self"})
_STANDING = CLOSING | {"groups"}  # what says whether a warning stands, and is tested
READS: dict[str, frozenset[str]] = {
    "cleared-by-authority": frozenset({"may_clear_risk"}),
    "eligible-model": frozenset({"eligible_models"}),
    "grave-enough": GRAVITY,
    "hope-exhausted": _STANDING,
    "named-category": frozenset({"categories"}),
    "proposed-first": frozenset({"handshake"}),
    "redirected-first": CLOSING | GRAVITY | {"min_failed_redirections", "min_redirections_to_warn"},
    "risk-was-checked": frozenset({"trusted_for_risk"}),
    "shadow-says-nothing": CLOSING,
    "still-harmful": frozenset({"groups"}),
    "true-warnings": GRAVITY | {"eligible_models", "trusted_for_risk"},
    "warned-first": _STANDING,
}
"""What each rule reads of a policy, where the policy has not changed within an episode; the others read nothing of it.

Of `evidence-is-true`, which reads all of it, what is asked here has the evidence of where it is asked.
"""
_GROUNDS: dict[str, tuple[Ground, ...]] = {
    ConversationEnded.kind: (Ground.USER_REQUEST, Ground.LAST_RESORT),
    EndProposed.kind: tuple(Ground),
    WarningGiven.kind: (Ground.LAST_RESORT,),
}
"""The acts that leave a trace where they are refused, and on which grounds."""
OF_A_CATEGORY = frozenset({"grave-enough", "named-category", "still-harmful", "true-warnings", "warned-first"})
"""The rules that read the category of a warning or an ending."""
_OF_EVIDENCE = "evidence-is-true"
_OF_CHANGES = frozenset({_OF_EVIDENCE, "stricter-governs"})
_NOTHING: frozenset[str] = frozenset()
_TO_WARN = CLOSING | {"min_redirections_to_warn"}  # what `redirected-first` reads for a warning, since edition 2


class Differences:
    """What a policy and an edition of the law see otherwise than another policy and edition.

    Attributes:
        fields: of the policy, those that differ.
        law: whether the editions differ.
        nothing: whether neither does.
        closing, gravity, groups, holds: whether what says that may be different.
    """

    def __init__(self, one: Policy, other: Policy, law: int, other_law: int) -> None:
        self.fields = frozenset(f for f in Policy.model_fields if getattr(one, f) != getattr(other, f)) - {"name"}
        self.law = law != other_law
        self.nothing = not self.law and not self.fields
        self.closing = self.law or bool(self.fields & CLOSING)
        self.gravity = self.law or bool(self.fields & GRAVITY)
        self.groups = self.law or "groups" in self.fields
        self.holds = self.law or bool(self.fields & HOLDS)
        book = GOVERNING.get(other_law, {})
        self._asked = {kind: tuple(self._read_by(kind, rules, other_law)) for kind, rules in book.items()}

    def _read_by(self, kind: type[EventBase], rules: tuple[Rule, ...], law: int) -> Iterator[Predicate]:
        """Yield what the rules ask of an event of a kind that may come out otherwise."""
        of_attempts = law > 1 and kind in (WarningGiven, WarningWithheld)
        for rule in rules:
            reads = _TO_WARN if of_attempts and rule.id == "redirected-first" else READS.get(rule.id, _NOTHING)
            if rule.id != _OF_EVIDENCE and (self.law or self.fields & reads):
                yield rule.lacks

    def asks(self, kind: type[EventBase]) -> bool:
        """Whether an event of a kind may be lawful in one and not in the other."""
        return bool(self._asked.get(kind))

    def forbid(self, other: Conversation, event: Event) -> bool:
        """Whether the other law refuses, in its state of a branch in step, what happened in the recorded one."""
        return any(lacks(other, event) is not None for lacks in self._asked.get(type(event), ()))

    def let(self, state: Conversation, other: Conversation, event: Event) -> bool:
        """Whether the other law may allow what the recorded one refuses, on a branch in step."""
        asked = self._asked.get(type(event), ())
        return self.law or any(lacks(state, event) and not lacks(other, event) for lacks in asked)

    def leave(self, refused: AttemptRefused, open_to_doubt: frozenset[str]) -> bool:
        """Whether a rule that refused an attempt refuses it in any case."""
        return not self.law and any(
            rule in RULES and rule not in open_to_doubt and not self.fields & READS.get(rule, _NOTHING)
            for rule in refused.rules
            if rule not in _OF_CHANGES
        )


def forbidden(state: Conversation, event: Event) -> bool:
    """Whether a rule does not allow an act in `state`, whatever evidence and policy it names: they are another's."""
    state = asked_often(state)
    return any(
        rule.lacks(state, event) is not None for rule in rules_of(GOVERNING, state, event) if rule.id != _OF_EVIDENCE
    )


def may_end(state: Conversation, proposal: EndProposed) -> bool:
    """Whether what was proposed could be carried out now, of whatever category."""
    categories = [None] if proposal.ground is Ground.USER_REQUEST else [w.category for w in state.now.warnings]
    endings = [ending_by(proposal.by, state, proposal.ground, category) for category in categories]
    return any(not forbidden(state, ending) for ending in endings)


def _tried(refused: AttemptRefused, state: Conversation, ground: Ground) -> Event:
    """Return what may have been attempted on a ground, without its evidence, and of no category that anybody named."""
    turn = state.unit.turn if state.unit else 1
    if refused.attempted == WarningGiven.kind:
        return warning_by(refused.by, state.answered_by, turn, _NOBODYS)
    if refused.attempted == EndProposed.kind:
        return proposal_by(refused.by, turn, ground)
    return ending_by(refused.by, state, ground, None if ground is Ground.USER_REQUEST else _NOBODYS)


_REMEMBERED = 1_000  # sets of categories


class _Asked(NamedTuple):
    """What is asked of an act of a kind on a ground: rule by rule, and their ids."""

    rules: tuple[tuple[str, Predicate], ...]
    ids: frozenset[str]


def _asked(rules: Iterable[Rule], ground: Ground, of_a_category: bool) -> _Asked:
    """Return what is asked that reads the category of an act, or what does not; what tells most categories apart first.

    `evidence-is-true` is not asked: what may have been attempted has the evidence of where it is asked.
    """
    some = [rule for rule in rules if rule.on in (None, ground)]
    some = [rule for rule in some if rule.id != _OF_EVIDENCE and (rule.id in OF_A_CATEGORY) is of_a_category]
    some.sort(key=lambda rule: rule.id != "still-harmful")
    return _Asked(
        tuple((rule.id, getattr(rule.lacks, "__wrapped__", rule.lacks)) for rule in some),
        frozenset(rule.id for rule in some),
    )


_ASKED_OF: dict[tuple[int, type[EventBase], Ground], tuple[_Asked, _Asked]] = {
    (edition, kind, ground): (_asked(book[kind], ground, False), _asked(book[kind], ground, True))
    for edition, book in GOVERNING.items()
    for kind in (WarningGiven, EndProposed, ConversationEnded)
    for ground in Ground
}


class _Answers:
    """What the law says in a state of acts of one kind that differ in ground and category, whatever evidence they name.

    Most rules read no category, and are asked once a ground.
    """

    def __init__(self, state: Conversation) -> None:
        self._state = asked_often(state)
        self._law = state.law if state.law in GOVERNING else UNKNOWN
        self._by_ground: dict[Ground, frozenset[str]] = {}

    def refuses(self, event: Event, ground: Ground, rules: frozenset[str]) -> bool:
        """Whether exactly those of `rules` that read the category of an act refuse it, for its category."""
        state, asked = self._state, _ASKED_OF[self._law, type(event), ground][1]
        for rule, lacks in asked.rules:
            if (lacks(state, event) is not None) is not (rule in rules):
                return False
        return rules & OF_A_CATEGORY <= asked.ids

    def leave(self, event: Event, ground: Ground, traceless: frozenset[str]) -> bool:
        """Whether no rules refuse an act but `traceless` ones."""
        if not self.of_any(event, ground) <= traceless:
            return False
        state = self._state
        for rule, lacks in _ASKED_OF[self._law, type(event), ground][1].rules:
            if rule not in traceless and lacks(state, event) is not None:
                return False
        return True

    def of_any(self, event: Event, ground: Ground) -> frozenset[str]:
        """Return the ids of the rules that refuse an act of whatever category."""
        known = self._by_ground.get(ground)
        if known is None:
            state, asked = self._state, _ASKED_OF[self._law, type(event), ground][0].rules
            known = frozenset([rule for rule, lacks in asked if lacks(state, event) is not None])
            self._by_ground[ground] = known
        return known


class Attempts:
    """Answers what the law would say of refused attempts under `policy`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._alike: dict[tuple[str, frozenset[str], frozenset[str]], list[str]] = {}

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
        if refused.attempted not in _GROUNDS or state.unit is None or _OF_ITS_PLACE.intersection(refused.rules):
            return False
        traceless = _traceless(state, other.policy, other.law, clears_more)
        here, there, rules = _Answers(state), _Answers(other), frozenset(refused.rules)
        bare = {ground: _tried(refused, state, ground) for ground in _GROUNDS[refused.attempted]}
        if not any(there.of_any(event, ground) <= traceless for ground, event in bare.items()):
            return False  # of whatever category it was
        kinds = list(self._kinds(refused.attempted, state, other))
        alike = {ground for ground, event in bare.items() if here.of_any(event, ground) == rules - OF_A_CATEGORY}
        tried = [(_of_category(bare[ground], category), ground) for ground, category in kinds if ground in alike]
        meant = [(event, ground) for event, ground in tried if here.refuses(event, ground, rules)]
        if not meant:
            tried = [(_of_category(bare[ground], category), ground) for ground, category in kinds]
        if not any(there.leave(event, ground, traceless) for event, ground in meant or tried):
            return False  # whatever it was
        certain = all(there.leave(event, ground, _NOTHING) for event, ground in meant)
        return meant[0][0] if certain and len({_what(event) for event, _ in meant}) == 1 else None

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
        units = frozenset(category for one in (state, other) if one.unit for category in one.unit.categories)
        warned = frozenset(warned.category for one in (state, other) for warned in one.now.warnings)
        known = state.policy.hash, units, warned
        if known not in self._alike:
            if len(self._alike) >= _REMEMBERED:
                self._alike.clear()
            self._alike[known] = self._apart(state.policy, units, warned)
        return self._alike[known]

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


class Step:
    """The other state of a branch on which nothing has come up that the policies see differently: a branch *in step*.

    It is the recorded one but for the policy, the edition and the numbers that govern an episode.
    """

    def __init__(self, policy: Policy, edition: int | None) -> None:
        self._policy, self._edition = policy, edition
        self._named = VOCABULARY | set(policy.categories)
        self._attempts = Attempts(policy)
        self._known: dict[tuple[str, int], Differences] = {}
        self._liked = (Conversation(), Conversation())  # the last state, and the other

    def differences(self, state: Conversation) -> Differences:
        key = state.policy.hash, state.law
        found = self._known.get(key)
        if found is None:
            law = self._edition or state.law
            found = self._known[key] = Differences(state.policy, self._policy, state.law, law)
        return found

    def makes_the_same(self, before: Conversation, event: Event, differs: Differences) -> bool:
        """Whether an event that is no turn of the user leaves a branch in step. An act is asked of the other law."""
        kind = type(event)
        if kind is AssistantTurnTaken:
            return not before.risks or "may_clear_risk" not in differs.fields
        if isinstance(event, TurnAssessed):
            return self._assessed_alike(before, event, differs)
        if isinstance(event, AttemptRefused):
            return self._refused_alike(before, event, differs)
        if kind in _PLAIN:
            return True
        if kind is UserLeft:
            return not differs.law and "leaving_voids_warnings" not in differs.fields
        if kind is RiskRaised:
            return not differs.holds
        if kind not in ASKED and kind is not ConversationEnded:
            return False
        if (kind is EndProposed and "handshake" in differs.fields) or (kind is EndConfirmed and differs.law):
            return False
        return not differs.asks(kind) or not differs.forbid(self.like(before), event)

    def settles_alike(self, before: Conversation, differs: Differences) -> bool:
        """Whether a user turn leaves behind the same episode, where it settles a unit."""
        episode, unit = before.episode, before.unit
        if differs.nothing or unit is None or not before.answered:
            return True
        if unit.judgement is not Verdict.HARMFUL:
            spoken_of = unit.judgement is not None or "second_opinion" not in differs.fields
            return episode.numbers is None or (spoken_of and not differs.closing)
        if episode.warnings and differs.groups:
            return False
        if episode.pending is None or not differs.gravity:
            return True
        there = self.like(before)
        failed, fails = (
            one.law == 1 or unit.grave(one.policy, one.episode.numbers or one.policy.numbers) for one in (before, there)
        )
        return failed is fails

    def _assessed_alike(self, before: Conversation, event: TurnAssessed, differs: Differences) -> bool:
        if event.category is not None and event.category not in self._named:
            return False
        if event.risk is not Risk.NONE and differs.holds:
            return False
        if not differs.law:
            return True
        unit = before.unit  # the editions add up several verdicts otherwise, and not a first one
        return unit is not None and not unit.opinions and event.turn == unit.turn

    def _refused_alike(self, before: Conversation, event: AttemptRefused, differs: Differences) -> bool:
        if differs.nothing:
            return True
        more = self.lets_more_clear(before)
        if differs.leave(event, _traceless(before, self._policy, self._edition or before.law, more)):
            return True
        return self._attempts.allowed(event, before, self.like(before), clears_more=more) is False

    def like(self, state: Conversation) -> Conversation:
        """Return the other state of a branch that is in step."""
        if state is self._liked[0]:
            return self._liked[1]
        episode = state.episode
        if episode.numbers is not None:
            episode = episode._replace(numbers=self._policy.numbers)
        other = state._replace(policy=self._policy, law=self._edition or state.law, episode=episode)
        self._liked = state, other
        return other

    def is_in_step(self, state: Conversation, other: Conversation) -> bool:
        """Whether the other state is as `_like` has it, and will be: no policy has changed within the episode."""
        episode, unit = state.episode, state.unit
        if unit is not None and (unit.numbers is not None or unit.since_begun is not None):
            return False
        if episode.numbers is not None and episode.numbers != state.policy.numbers:
            return False
        return other == self.like(state)

    def lets_more_clear(self, state: Conversation) -> bool:
        return not set(self._policy.may_clear_risk) <= set(state.policy.may_clear_risk)


def _traceless(state: Conversation, policy: Policy, law: int, clears_more: bool) -> frozenset[str]:
    """Return the rules that would not be in the way of an act if something happened that leaves no trace."""
    rules = set[str]()
    if state.wishes.hope is None:
        rules.add("hope-exhausted")  # it may have been stated, and refused
    if policy.handshake and not state.policy.handshake:
        rules.add("proposed-first")  # the first of two calls to end would have been the proposal
    if clears_more:
        rules.add("no-end-at-risk")
    if law < state.law:
        rules.add("confirmed-later")  # another user may have confirmed it
    return frozenset(rules)


def _of_category(event: Event, category: str | None) -> Event:
    """Return an act of another category, one that the log or a policy names."""
    return event if category is None else with_field(event, "category", category)


def _what(event: Event) -> object:
    """What of an event matters to what follows: of a warning nothing, since what follows it is undecidable."""
    return event.ground if isinstance(event, ConversationEnded | EndProposed) else None
