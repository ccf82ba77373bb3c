"""What two policies see differently, and the branches on which nothing of that has come up.

Of two states that differ in the policy alone, a rule that reads nothing of what differs says the same. So an act need
not be asked of the other law where no rule that governs it reads any of that, and one that was refused by such a rule
is refused there too.
"""

from operator import attrgetter
from typing import Any

from lastresort.domain.episode import Episode, Unit, settled
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
    TurnAssessed,
    UserLeft,
    WarningGiven,
    WarningWithheld,
)
from lastresort.domain.law import GOVERNING, RULES, UNKNOWN, Predicate, Rule, asked_often_of
from lastresort.domain.policy import Policy
from lastresort.domain.rules_of_conversations import NAMES_A_TURN
from lastresort.domain.state import Conversation
from lastresort.domain.tuples import made
from lastresort.domain.values import VOCABULARY, Risk, Verdict

from .attempts import OF_EVIDENCE, OF_ITS_PLACE, Attempts, Unasked

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
OF_NO_EDITION = OF_ITS_PLACE | {
    "asked-by-user", "cleared-by-authority", "grave-enough", "no-end-at-risk", "proposed-first", "redirects-harm",
    "risk-was-checked",
}  # fmt: skip
"""Rules that have one form, and read nothing that the editions add up otherwise on a branch in step."""
_OF_CHANGES = frozenset({OF_EVIDENCE, "stricter-governs"})
_NOTHING: frozenset[str] = frozenset()
_HARMFUL, _NO_RISK = Verdict.HARMFUL, Risk.NONE  # a look-up in its class takes as long as a call, before 3.12
_TO_WARN = CLOSING | {"min_redirections_to_warn"}  # what `redirected-first` reads for a warning, since edition 2
_FIELDS = tuple(Policy.model_fields)
_fields_of = attrgetter(*_FIELDS)
_EPISODE, _POLICY, _LAW = map(Conversation._fields.index, ("episode", "policy", "law"))


def _reads(kind: type[EventBase], rule: Rule, law: int) -> frozenset[str]:
    of_attempts = law > 1 and kind in (WarningGiven, WarningWithheld)
    return _TO_WARN if of_attempts and rule.id == "redirected-first" else READS.get(rule.id, _NOTHING)


_READ_BY: dict[tuple[type[EventBase], int], tuple[tuple[Predicate, frozenset[str], bool], ...]] = {
    (kind, law): tuple(
        (rule.lacks, _reads(kind, rule, law), rule.id not in OF_NO_EDITION) for rule in rules if rule.id != OF_EVIDENCE
    )
    for law, book in GOVERNING.items()
    for kind, rules in book.items()
}
"""What an edition asks of an event of a kind, what that reads of a policy, and whether another may ask otherwise."""


class Differences:
    """What a policy and an edition of the law see otherwise than another policy and edition.

    Attributes:
        fields: of the policy, those that differ.
        law: whether the editions differ.
        nothing: whether neither does.
        closing, gravity, groups, holds: whether what says that may be different.
    """

    def __init__(self, one: Policy, other: Policy, law: int, other_law: int) -> None:
        of_both = zip(_FIELDS, _fields_of(one), _fields_of(other), strict=True)
        self.fields = frozenset(field for field, here, there in of_both if here != there) - {"name"}
        self.law = law != other_law
        self.nothing = not self.law and not self.fields
        self.closing = self.law or bool(self.fields & CLOSING)
        self.gravity = self.law or bool(self.fields & GRAVITY)
        self.groups = self.law or "groups" in self.fields
        self.holds = self.law or bool(self.fields & HOLDS)
        self.clears_more = not set(other.may_clear_risk) <= set(one.may_clear_risk)
        self._laws = law, other_law
        self._asked: dict[tuple[type[EventBase], int], tuple[Predicate, ...]] = {}  # as they come up, by edition
        always = set[str]()
        if other.handshake and not one.handshake:
            always.add("proposed-first")  # the first of two calls to end would have been the proposal
        if self.clears_more:
            always.add("no-end-at-risk")
        if other_law < law:
            always.add("confirmed-later")  # another user may have confirmed it
        self._traceless = {True: frozenset(always), False: frozenset(always | {"hope-exhausted"})}
        alike = OF_NO_EDITION if self.law else RULES.keys() - _OF_CHANGES
        same = frozenset(rule for rule in alike if not self.fields & READS.get(rule, _NOTHING))
        self._same = {stated: same - rules for stated, rules in self._traceless.items()}
        self._in_step = {
            stated: Unasked.of(self._traceless[stated], same | _OF_CHANGES) for stated, same in self._same.items()
        }
        self._apart = {stated: Unasked.of(rules) for stated, rules in self._traceless.items()}

    def _asked_of(self, kind: type[EventBase], law: int) -> tuple[Predicate, ...]:
        """Return what an edition asks of an event of a kind that may come out otherwise in the other."""
        found = self._asked.get((kind, law))
        if found is None:
            asked = _READ_BY[kind, law if law in GOVERNING else UNKNOWN]
            found = self._asked[kind, law] = tuple([
                lacks for lacks, reads, by_edition in asked
                if (by_edition and self.law) or not self.fields.isdisjoint(reads)
            ])  # fmt: skip
        return found

    def asks(self, kind: type[EventBase]) -> bool:
        """Whether an event of a kind may be lawful in one and not in the other."""
        return bool(self._asked_of(kind, self._laws[1]))

    def forbid(self, other: Conversation, event: Event) -> bool:
        """Whether the other law refuses, in its state of a branch in step, what happened in the recorded one."""
        for lacks in self._asked_of(type(event), self._laws[1]):
            if lacks(other, event) is not None:
                return True
        return False

    def allow(self, state: Conversation, event: Event) -> bool:
        """Whether nothing that may come out otherwise refuses an event in the recorded state: whatever the other law
        allows this one allows."""
        for lacks in self._asked_of(type(event), self._laws[0]):
            if lacks(state, event) is not None:
                return False
        return True

    def unasked(self, state: Conversation, in_step: bool = False) -> Unasked:
        """Return the rules that the other law is not asked of an attempt.

        What leaves no trace is, for one, a statement that hope is exhausted: it may have been made, and refused.
        """
        return (self._in_step if in_step else self._apart)[state.wishes.hope is not None]

    def leave(self, refused: AttemptRefused, state: Conversation) -> bool:
        """Whether a rule that refused an attempt refuses it in any case."""
        return not self._same[state.wishes.hope is not None].isdisjoint(refused.rules)


class Step:
    """The other state of a branch on which nothing has come up that the policies see differently: a branch *in step*.

    It is the recorded one but for the policy, the edition and the numbers that govern an episode.

    Attributes:
        last: the policy and the edition that were asked about last, and what differs from them.
    """

    def __init__(self, policy: Policy, edition: int | None, attempts: Attempts) -> None:
        self._policy, self._edition, self._numbers = policy, edition, policy.numbers
        self._named = VOCABULARY | set(policy.categories)
        self._attempts = attempts
        self._known: dict[tuple[str, int], Differences] = {}
        self.last: tuple[Policy | None, int, Differences] = None, 0, Differences(policy, policy, 1, 1)
        self._liked = (Conversation(), Conversation())  # the last state, and the other

    def differences(self, state: Conversation) -> Differences:
        """Return what the policies see differently, which most often is what they did in the last state."""
        policy, law, found = self.last
        if state.policy is policy and state.law == law:
            return found
        key = state.policy.hash, state.law
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Differences(state.policy, self._policy, state.law, self._edition or state.law)
        self.last = state.policy, state.law, known
        return known

    def makes_the_same(self, before: Conversation, event: Event, differs: Differences) -> bool:
        """Whether an event that is no turn of the user leaves a branch in step. An act is asked of the other law."""
        kind = type(event)
        if kind is AssistantTurnTaken:
            return not before.risks or not differs.clears_more
        if kind is TurnAssessed:
            return self._assessed_alike(before, event, differs)  # type: ignore[arg-type]  # that is its kind
        if kind is AttemptRefused:
            return self._refused_alike(before, event, differs)  # type: ignore[arg-type]  # that is its kind
        if kind in _PLAIN:
            return True
        if kind is UserLeft:
            return not differs.law and "leaving_voids_warnings" not in differs.fields
        if kind not in ASKED and kind is not ConversationEnded:
            return False
        if (kind is EndProposed and "handshake" in differs.fields) or (kind is EndConfirmed and differs.law):
            return False
        return not differs.asks(kind) or not differs.forbid(self.like(before), event)

    def settles_alike(self, before: Conversation, differs: Differences) -> bool:
        """Whether a user turn leaves behind the same episode, where it settles a unit."""
        episode, unit = before.episode, before.unit
        if differs.nothing or unit is None or before.answered_by <= unit.turn:
            return True
        if unit.judgement is not _HARMFUL:
            spoken_of = unit.judgement is not None or "second_opinion" not in differs.fields
            return episode.numbers is None or (spoken_of and not differs.closing) or self._settled_alike(before, unit)
        if episode.warnings and differs.groups:
            return self._settled_alike(before, unit)
        if episode.pending is None or not differs.gravity:
            return True
        numbers = episode.numbers or before.policy.numbers
        failed = before.law == 1 or unit.grave(before.policy, numbers)
        fails = (self._edition or before.law) == 1 or unit.grave(self._policy, self._policy.numbers)
        return failed is fails

    def _settled_alike(self, before: Conversation, unit: Unit) -> bool:
        other = self.like(before)
        here = settled(before.episode, unit, before.terms)
        return self._episode_like(here) == settled(other.episode, unit, other.terms)

    def _episode_like(self, episode: Episode) -> Episode:
        numbers = episode[0]
        if numbers is None or numbers == self._numbers:
            return episode
        return made(Episode, (self._numbers, *episode[1:]))

    def _assessed_alike(self, before: Conversation, event: TurnAssessed, differs: Differences) -> bool:
        if event.category is not None and event.category not in self._named:
            return False
        if event.risk is not _NO_RISK and differs.holds:
            return False
        if not differs.law:
            return True
        unit = before.unit  # the editions add up several verdicts otherwise, and not a first one
        return unit is not None and not unit.opinions and event.turn == unit.turn

    def _refused_alike(self, before: Conversation, event: AttemptRefused, differs: Differences) -> bool:
        if differs.nothing or differs.leave(event, before):
            return True
        unasked = differs.unasked(before, in_step=True)
        return self._attempts.allowed(event, before, self.like(before), unasked) is False

    def like(self, state: Conversation) -> Conversation:
        """Return the other state of a branch that is in step."""
        if state is self._liked[0]:
            return self._liked[1]
        values: list[Any] = [*state]
        values[_EPISODE], values[_POLICY] = self._episode_like(values[_EPISODE]), self._policy
        values[_LAW] = self._edition or values[_LAW]
        other = asked_often_of(values)
        self._liked = state, other
        return other

    def is_in_step(self, state: Conversation, other: Conversation) -> bool:
        """Whether the other state is as `_like` has it, and will be: no policy has changed within the episode."""
        episode, unit = state.episode, state.unit
        if unit is not None and (unit.numbers is not None or unit.since_begun is not None):
            return False
        if episode.numbers is not None and episode.numbers != state.policy.numbers:
            return False
        return other.episode == self._episode_like(episode) and other == self.like(state)
