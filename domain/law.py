"""What a rule is, how it becomes law, and how the law is asked.

A rule is a predicate on the state of a branch and the event that would come next. It answers None where it has nothing
to say, and otherwise what is missing, in numbers and versions. `decide` asks the rules of the event that it would
record, the audit of each event that was recorded; so the law is written once and used for both.

The law has editions. A rule that changes meaning gets another form, which stands since an edition, and the form before
it goes on being asked where an earlier edition is in force. So no log is found guilty of what became law later.

The rules themselves stand in `rules.py`, which registers each here as it is imported. That module is imported with the
package, so nobody can meet this one before the law is whole.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, NamedTuple

from .episode import Episode, Terms
from .events import EVENTS, ConversationEnded, ConversationStarted, EndProposed, Event, EventBase
from .state import Conversation, evolve
from .tuples import made
from .values import EDITIONS, Ground


class Missing(NamedTuple):
    """Why a rule does not allow an event: text for people, and numbers for programs where there are any.

    `have` of `need` is a count (failed redirections, say); `at` is the version on the path that the text is about.
    `by_opinion`: all that the rule lacks is somebody's word on the risk, and one that sees none could give it.
    """

    text: str
    have: int | None = None
    need: int | None = None
    at: int | None = None
    by_opinion: bool = False


Predicate = Callable[[Conversation, Any], Missing | None]
"""Returns what an event lacks in the state before it, None if nothing. Pure; asked only of the kinds it governs."""


class Rule(NamedTuple):
    """A condition on what may happen next in a branch.

    `id` is stored in events and public: never renamed, never reused. `source` says where the rule comes from: `post`,
    `tool` or `ours` (see `rules.py`). `governs` are the types of event that it is asked of, and `on` the only ground on
    which it is asked of an ending, None where it is asked on both. `since` is the edition since which it stands in this
    form; `asked_since`, where that is earlier, the one since which it is asked, since what was added to it could not be
    recorded before.
    """

    id: str
    text: str
    source: str
    governs: tuple[type[EventBase], ...]
    lacks: Predicate
    on: Ground | None
    since: int
    asked_since: int


class Broken(NamedTuple):
    """A rule that stands in the way of an event, by its id, and what is missing."""

    rule: str
    missing: Missing

    def __str__(self) -> str:
        return f"{self.rule}: {self.missing.text}"


Rulebook = Mapping[type[EventBase], tuple[Rule, ...]]
"""The rules of an edition by the type of event that they govern, in order."""

Law = Mapping[int, Rulebook]
"""The rules by edition: what `broken_by` and the audit ask. At `UNKNOWN`, those that are asked in any other edition."""

ALL_EVENTS: tuple[type[EventBase], ...] = tuple(EVENTS.values())
UNKNOWN = 0
_OF_EDITIONS = "known-edition"
_ON_A_GROUND = frozenset({ConversationEnded, EndProposed})

RULES: dict[str, Rule] = {}
"""The law, rule by rule, in its order, each in its latest form."""

FORMS: list[Rule] = []
"""Every form of every rule, the earlier before the later."""

GOVERNING: dict[int, Rulebook] = {}
"""The whole law as it is asked."""


def rule(
    id: str,
    source: str,
    *governs: type[EventBase],
    on: Ground | None = None,
    since: int = 1,
    asked_since: int | None = None,
) -> Callable[[Predicate], Rule]:
    """Make a rule of a predicate, whose docstring is the rule's text, and add it to the law.

    With `on`, the predicate is not asked of an ending on another ground, nor of a proposal, and need not look at it.
    A form that stands `since` a later edition takes the place of the one before it, from there on.
    """

    def enact(lacks: Predicate) -> Rule:
        text = " ".join((lacks.__doc__ or "").split())
        asked = lacks if on is None else _of_endings_on(on, lacks)
        RULES[id] = Rule(id, text, source, governs, asked, on, since, asked_since or since)
        FORMS.append(RULES[id])
        GOVERNING.update(governing(FORMS))
        return RULES[id]

    return enact


def _of_endings_on(ground: Ground, lacks: Predicate) -> Predicate:
    @wraps(lacks)
    def lacks_on_ground(state: Conversation, event: Event) -> Missing | None:
        if type(event) in _ON_A_GROUND and event.ground is not ground:  # type: ignore[union-attr]  # these have one
            return None
        return lacks(state, event)

    return lacks_on_ground


def governing(forms: Iterable[Rule]) -> dict[int, Rulebook]:
    """Index forms of rules by edition and type of event that they govern, so that a plain turn is asked of few.

    Returns every edition, and in each every type of event; each with its rules in the order of the law.
    """
    latest: dict[int, dict[str, Rule]] = {edition: {} for edition in EDITIONS}
    of_editions: tuple[Rule, ...] = ()
    for form in forms:
        for edition in EDITIONS:
            if edition >= form.asked_since:
                latest[edition][form.id] = form
        if form.id == _OF_EDITIONS:
            of_editions = (form,)
    law: dict[int, Rulebook] = {UNKNOWN: dict.fromkeys(ALL_EVENTS, of_editions)}
    for edition, by_id in latest.items():
        rules = [by_id[id] for id in RULES if id in by_id]
        law[edition] = {kind: tuple(form for form in rules if kind in form.governs) for kind in ALL_EVENTS}
    return law


def rules_of(law: Law, state: Conversation, event: Event) -> tuple[Rule, ...]:
    """Return the rules that an event is asked: of the edition in force, or of the one that it begins with."""
    edition = event.law if type(event) is ConversationStarted else state.law
    return law.get(edition, law[UNKNOWN])[type(event)]


class _NowOnce:
    """What an episode comes to, kept with a state that was asked for it: `cached_property` takes a lock before 3.12."""

    def __get__(self, state: "_AskedOften", _: type) -> Episode:
        now = state.__dict__["now"] = super(_AskedOften, state).now
        return now


class _TermsOnce:
    """What is in force, likewise."""

    def __get__(self, state: "_AskedOften", _: type) -> Terms:
        terms = state.__dict__["terms"] = super(_AskedOften, state).terms
        return terms


class _AskedOften(Conversation):
    """A state that makes out but once what many rules look at."""

    now = _NowOnce()
    terms = _TermsOnce()


def asked_often(state: Conversation) -> Conversation:
    """Return the same state, of which many rules are to be asked: what they all look at is made out once."""
    return state if type(state) is _AskedOften else made(_AskedOften, state)


def asked_often_of(values: Iterable[Any]) -> Conversation:
    """Return the state of which these are all values in their order, as `asked_often` does."""
    return made(_AskedOften, values)


def broken_by(state: Conversation, event: Event, law: Law = GOVERNING) -> tuple[Broken, ...]:
    """Return every rule that does not allow `event` in `state`, and what is missing; empty if it is lawful.

    In the order of the law, at most once a rule.
    """
    broken: tuple[Broken, ...] = ()
    for rule in rules_of(law, state, event):
        missing = rule.lacks(state, event)
        if missing is not None:
            broken = (*broken, Broken(rule.id, missing))
    return broken


def lawful(state: Conversation, event: Event, law: Law = GOVERNING) -> bool:
    """Whether every rule allows `event` in `state`: what `broken_by` says, where nobody wants to know why not."""
    for rule in rules_of(law, state, event):
        if rule.lacks(state, event) is not None:
            return False
    return True


def broken_rules(state: Conversation, events: Iterable[Event], law: Law = GOVERNING) -> tuple[Broken, ...]:
    """Return every rule that does not allow one of `events`, recorded one after the other from `state`.

    Event by event, each in the order of the law; a rule that two events break comes twice.
    """
    return judged(state, events, law)[0]


def judged(
    state: Conversation, events: Iterable[Event], law: Law = GOVERNING
) -> tuple[tuple[Broken, ...], Conversation]:
    """Return what `broken_rules` does, and the state after `events`, lawful or not."""
    broken: tuple[Broken, ...] = ()
    for event in events:
        broken += broken_by(state, event, law)
        state = evolve(state, event)
    return broken, state


def judged_on(
    before: Mapping[str, Conversation], written: Mapping[str, Iterable[Event]]
) -> tuple[tuple[Broken, ...], dict[str, Conversation]]:
    """Return what `judged` does of the events that are to be written on several branches, whose states are `before`."""
    broken: tuple[Broken, ...] = ()
    after: dict[str, Conversation] = {}
    for branch, events in written.items():
        found, after[branch] = judged(before[branch], events)
        broken += found
    return broken, after
