"""The words of the model: a branch as the rules see it, what may come next, and what governs.

As in the domain, with these differences. What is optional is always there: 0 stands for no version and for nobody, and
numbers that ask for 0 failed redirections are no numbers. A tuple has one place for each category, risk, legal hold or
actor there is; the solver is given three of each, the one that an event is about and two others, and the comparison as
many as a search has. What one kind of event says stands in `Event`, which has room for all.

What judges make of a unit by what each of them says is not modelled: it is given (`Said`), and the proof holds whatever
it is, within what `pacts.py` says. The comparison takes it from the unit and the verdict alone.
"""

from typing import NamedTuple

from .algebra import Term

# Verdicts, the mildest first; 0: nobody judged.
PRODUCTIVE, UNPRODUCTIVE, AMBIGUOUS, HARMFUL = 1, 2, 3, 4
# Kinds of actors; 0: nobody.
USER, MODEL, ASSESSOR, OPERATOR, SYSTEM = 1, 2, 3, 4, 5
# What a verdict sees of a risk, and whom that is about; 0: nobody knows.
NO_RISK, POSSIBLE, IMMINENT, UNKNOWN = 0, 1, 2, 3
SELF, OTHERS = 1, 2
# Why a branch ends; 0: it has not.
LAST_RESORT, ON_REQUEST = 1, 2
# What comes next on a parent's path.
NO_TURN, USER_TURN, ASSISTANT_TURN = 0, 1, 2

RECALLED = 100  # the most that a policy may ask of any number


class Numbers(NamedTuple):
    failed: Term
    close: Term
    severity: Term
    warn: Term
    step: Term
    cap: Term


NO_NUMBERS = Numbers(0, 0, 0, 0, 0, 0)


class Policy(NamedTuple):
    """A policy as the fold and the rules read it. Which models are eligible is said where one is named."""

    name: Term
    numbers: Numbers
    may_end: tuple[Term, ...]  # by category: whether it may lead to an ending
    group: tuple[Term, ...]  # by category: the number of its group
    handshake: Term
    trusted: tuple[Term, ...]  # by kind of actor, from USER
    hold_on: tuple[Term, ...]  # by risk
    hold_on_self: tuple[Term, ...]
    hold_on_others: tuple[Term, ...]
    every_turn: Term  # a second opinion is due on every turn
    leaving_voids: Term


class Who(NamedTuple):
    kind: Term
    id: Term


NOBODY = Who(0, 0)


class Warned(NamedTuple):
    """A warning that stands for a category; version 0: none does."""

    version: Term
    complete: Term
    tested_by: Term
    user: Who


NO_WARNING = Warned(0, False, 0, NOBODY)


class Said(NamedTuple):
    """What all that was said of a unit comes to."""

    latest: Term  # whether its latest turn was judged
    judgement: Term
    named: tuple[Term, ...]  # by category: whether a verdict names it
    severity: Term
    at_risk: Term
    safe: tuple[Term, ...]  # by kind of actor: whether one saw no risk in the latest turn
    risk_seen: Term
    doubt: Term  # whether somebody's latest word is that they cannot tell
    words: Term  # all of it, as one number: equal where the same was said by the same of the latest turn


class Unit(NamedTuple):
    """The current unit; turn 0: there is none."""

    turn: Term
    user: Who
    said: Said
    redirection: Term
    warnings: tuple[Warned, ...]  # by category
    numbers: Numbers
    shared: Term
    absolved: Term
    since_begun: Numbers


class Episode(NamedTuple):
    """As the settled units left it; no numbers: none is open."""

    numbers: Numbers
    failed: Term
    pending: Term
    productive: Term
    warnings: tuple[Warned, ...]  # by category
    attempted: Term
    withheld: Term
    relapses: Term


class Wishes(NamedTuple):
    requested: Term
    to_confirm: Term
    confirmed: tuple[Term, Term]
    hope: Term
    proposed: tuple[tuple[Term, Term], ...]  # by actor: as last resort, on request
    requested_by: Who
    to_confirm_by: Who


class Ended(NamedTuple):
    version: Term
    ground: Term
    category: Term  # its place, -1: none
    appealed: Term
    granted: Term


NOT_ENDED = Ended(0, 0, -1, False, False)


class Fork(NamedTuple):
    """Where a branch is about to open, if it `is`."""

    is_one: Term
    next: Term
    risks: tuple[tuple[Term, Term], ...]
    holds: tuple[Term, ...]
    absolved: Term


class State(NamedTuple):
    version: Term
    unit: Unit
    answered_by: Term
    episode: Episode
    wishes: Wishes
    risks: tuple[tuple[Term, Term], ...]  # by risk: about the user, about others
    hold_due: Term
    ended: Ended
    named: Term  # whether the conversation has a name: it has begun, or is about to fork
    policy: Policy
    model: Term
    eligible: Term  # whether that model matches the policy, as the edition matches names
    fork: Fork
    law: Term
    shadow: Term
    holds: tuple[Term, ...]


class Event(NamedTuple):
    """What may come next. `kind` is Python's own; of the rest, each kind of event has some."""

    kind: str
    by: Who
    policy: Policy  # what it brings
    said: Said  # what is said of the unit, all told, once it has happened
    actor: int = 0  # the place of `by` among the actors there are
    turn: Term = 0  # the user turn that it names
    answer: Term = 0  # the assistant turn that it names
    category: int = -1  # its place, -1: none
    severity: Term = 0
    verdict: Term = 0
    risk: Term = 0
    about: Term = 0
    of: int = 0  # the place of the risk or the hold that it is about
    complete: Term = False
    ground: Term = 0
    is_model: Term = False  # whether the one who acts bears the name of the conversation's model
    may_clear: Term = False  # whether the policy names that assessor
    eligible: Term = False  # whether the model then in force matches the policy then in force
    known: Term = True  # whether the category is of the vocabulary or of the policy
    is_true: Term = True  # evidence, hash and model are what the log says
    at: Term = 0
    edit: Term = False
    risks: tuple[tuple[Term, Term], ...] = ()
    holds: tuple[Term, ...] = ()
    absolved: Term = False
    law: Term = 1
    shadow: Term = False
    granted: Term = False
    model: Term = 0
    same_model: Term = False  # whether it is another name of the model before


def nothing_said(categories: int) -> Said:
    return Said(False, 0, (False,) * categories, 3, False, (False,) * 5, False, False, 0)


def no_unit(categories: int) -> Unit:
    nothing, warnings = nothing_said(categories), (NO_WARNING,) * categories
    return Unit(0, NOBODY, nothing, 0, warnings, NO_NUMBERS, False, False, NO_NUMBERS)


def no_episode(categories: int) -> Episode:
    return Episode(NO_NUMBERS, 0, 0, 0, (NO_WARNING,) * categories, 0, 0, 0)


def no_wishes(actors: int) -> Wishes:
    return Wishes(0, 0, (0, 0), 0, ((False, False),) * actors, NOBODY, NOBODY)
