"""What a rule is, how it becomes law, and how the law is asked.

A rule is a predicate on the state of a branch and the event that would come next. It answers None where it has nothing
to say, and otherwise what is missing, in numbers and versions. `decide` asks the rules of the event that it would
record, the audit of each event that was recorded; so the law is written once and used for both.

The rules themselves stand in `rules.py`, which registers each here as it is imported. That module is imported with the
package, so nobody can meet this one before the law is whole.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from .events import EVENTS, ConversationEnded, Event, EventBase
from .state import Conversation, evolve
from .values import Ground


class Missing(NamedTuple):
    """Why a rule does not allow an event: text for people, and numbers for programs where there are any.

    `have` of `need` is a count (failed redirections, say); `at` is the version on the path that the text is about.
    """

    text: str
    have: int | None = None
    need: int | None = None
    at: int | None = None


Predicate = Callable[[Conversation, Any], Missing | None]
"""Returns what an event lacks in the state before it, None if nothing. Pure; asked only of the kinds it governs."""


class Rule(NamedTuple):
    """A condition on what may happen next in a branch.

    `id` is stored in events and public: never renamed, never reused. `source` says where the rule comes from: `post`,
    `tool` or `ours` (see `rules.py`). `governs` are the types of event that it is asked of, and `on` the only ground on
    which it is asked of an ending, None where it is asked on both.
    """

    id: str
    text: str
    source: str
    governs: tuple[type[EventBase], ...]
    lacks: Predicate
    on: Ground | None = None


class Broken(NamedTuple):
    """A rule that stands in the way of an event, by its id, and what is missing."""

    rule: str
    missing: Missing

    def __str__(self) -> str:
        return f"{self.rule}: {self.missing.text}"


Law = Mapping[type[EventBase], tuple[Rule, ...]]
"""The rules by the type of event that they govern, in order: what `broken_by` and the audit ask."""

ALL_EVENTS: tuple[type[EventBase], ...] = tuple(EVENTS.values())

RULES: dict[str, Rule] = {}
"""The law, rule by rule, in its order."""

GOVERNING: dict[type[EventBase], tuple[Rule, ...]] = {}
"""The whole law as it is asked."""


def rule(id: str, source: str, *governs: type[EventBase], on: Ground | None = None) -> Callable[[Predicate], Rule]:
    """Make a rule of a predicate, whose docstring is the rule's text, and add it to the law.

    With `on`, the predicate is not asked of an ending on another ground, and need not look at the ground.
    """

    def enact(lacks: Predicate) -> Rule:
        text = " ".join((lacks.__doc__ or "").split())
        RULES[id] = Rule(id, text, source, governs, lacks if on is None else _of_endings_on(on, lacks), on)
        GOVERNING.update(governing(RULES.values()))
        return RULES[id]

    return enact


def _of_endings_on(ground: Ground, lacks: Predicate) -> Predicate:
    def lacks_on_ground(state: Conversation, event: Event) -> Missing | None:
        if isinstance(event, ConversationEnded) and event.ground is not ground:
            return None
        return lacks(state, event)

    return lacks_on_ground


def governing(rules: Iterable[Rule]) -> dict[type[EventBase], tuple[Rule, ...]]:
    """Index `rules` by the type of event that they govern, so that a plain turn is asked of few.

    Returns every type of event, in the order of `EVENTS`; each with its rules in the order given, which may be none.
    """
    ordered = tuple(rules)
    return {kind: tuple(rule for rule in ordered if kind in rule.governs) for kind in ALL_EVENTS}


def broken_by(state: Conversation, event: Event, law: Law = GOVERNING) -> tuple[Broken, ...]:
    """Return every rule that does not allow `event` in `state`, and what is missing; empty if it is lawful.

    In the order of the law, at most once a rule.
    """
    broken: tuple[Broken, ...] = ()
    for rule in law[type(event)]:
        missing = rule.lacks(state, event)
        if missing is not None:
            broken = (*broken, Broken(rule.id, missing))
    return broken


def broken_rules(state: Conversation, events: Iterable[Event], law: Law = GOVERNING) -> tuple[Broken, ...]:
    """Return every rule that does not allow one of `events`, recorded one after the other from `state`.

    Event by event, each in the order of the law; a rule that two events break comes twice.
    """
    broken: tuple[Broken, ...] = ()
    for event in events:
        broken += broken_by(state, event, law)
        state = evolve(state, event)
    return broken
