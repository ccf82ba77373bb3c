"""The rules of the model: what `domain/rules.py` and `domain/rules_of_conversations.py` ask, in the algebra.

A rule is the conditions that it makes, each of which has to hold; so a test can take one of them away.
"""

from collections.abc import Callable
from typing import NamedTuple

from . import words as w
from .algebra import Term, both, differ, either, every, implies, no, same, some, when
from .fold import STEPS, are_there, at_risk, harmful_in, is_harmful, is_there, now
from .words import Episode, Event, Numbers, State

Needs = tuple[Term, ...]
"""The conditions of a rule, for an event in the state before it."""

AFTER_THE_END = (
    "FeedbackGiven", "AppealFiled", "AppealDecided", "RiskRaised", "RiskCleared", "BranchedOff", "ContentErased",
    "ErasureHeld", "ErasureReleased",
)  # fmt: skip
NAMES_A_TURN = (
    "TurnAssessed", "RedirectionAttempted", "EndRequested", "EndConfirmed", "HopeExhausted", "EndProposed",
    "WarningGiven", "WarningWithheld", "ConversationEnded",
)  # fmt: skip
WARNINGS = ("WarningGiven", "WarningWithheld")
ON_GROUNDS = ("ConversationEnded", "EndProposed")


class Rule(NamedTuple):
    id: str
    governs: tuple[str, ...]
    needs: Callable[[State, Event], Needs]
    on: int  # the only ground of an ending on which it is asked, 0: on any
    since: int  # the edition


RULES: list[Rule] = []


def rule(
    id: str, *governs: str, on: int = 0, since: int = 1
) -> Callable[[Callable[[State, Event], Needs]], Callable[[State, Event], Needs]]:
    def enact(needs: Callable[[State, Event], Needs]) -> Callable[[State, Event], Needs]:
        RULES.append(Rule(id, governs, needs, on, since))
        return needs

    return enact


# --- The order of things --------------------------------------------------------------------------------------------


@rule("begins-once", *STEPS)
def begins_once(state: State, event: Event) -> Needs:
    begun = both(state.named, no(state.fork.is_one))
    if event.kind not in ("ConversationStarted", "BranchOpened"):
        return (begun,)
    return no(begun), same(state.fork.is_one, event.kind == "BranchOpened")


@rule("ended-is-final", *(kind for kind in STEPS if kind not in AFTER_THE_END))
def ended_is_final(state: State, event: Event) -> Needs:
    return (either(same(state.ended.version, 0), state.fork.is_one),)


@rule("refers-to-the-path", "BranchOpened", "BranchedOff", "FeedbackGiven", *NAMES_A_TURN)
def refers_to_the_path(state: State, event: Event) -> Needs:
    if event.kind == "FeedbackGiven":
        return event.turn <= state.version, no(both(is_there(state.unit), same(event.turn, state.unit.turn)))
    if event.kind == "BranchOpened":
        return (same(event.at, state.version),)
    if event.kind == "BranchedOff":
        return (event.at < state.version,)
    of_user = event.turn <= state.version, differ(event.turn, state.answered_by)
    if event.kind not in ("RedirectionAttempted", "WarningGiven"):
        return of_user
    is_latest = both(is_there(state.unit), same(event.answer, state.unit.turn))
    return *of_user, event.answer <= state.version, no(is_latest)


@rule("answers-a-user", "AssistantTurnTaken", "RedirectionAttempted", "WarningGiven", "WarningWithheld")
def answers_a_user(state: State, event: Event) -> Needs:
    if event.kind == "WarningWithheld":
        return (state.answered_by > event.turn,)
    if event.kind == "AssistantTurnTaken":
        return is_there(state.unit), state.answered_by <= state.unit.turn
    return same(event.answer, state.answered_by), event.answer > event.turn


@rule("judges-the-latest", *NAMES_A_TURN)
def judges_the_latest(state: State, event: Event) -> Needs:
    return is_there(state.unit), same(event.turn, state.unit.turn)


# --- Redirection, warning, hope -------------------------------------------------------------------------------------


@rule("redirects-harm", "RedirectionAttempted")
def redirects_harm(state: State, event: Event) -> Needs:
    return is_harmful(state.unit), same(state.unit.redirection, 0)


@rule("redirected-first", *WARNINGS, "ConversationEnded", on=w.LAST_RESORT)
def redirected_first(state: State, event: Event) -> Needs:
    numbers, so_far = state.policy.numbers, now(state)
    return (enough(so_far, numbers, event.kind, state.law),)


def enough(episode: Episode, numbers: Numbers, kind: str, law: Term) -> Term:
    """Whether there were enough redirections to warn, or to end."""
    failed = episode.failed >= numbers.failed
    return failed if kind == "ConversationEnded" else when(same(law, 1), failed, episode.attempted >= numbers.warn)


@rule("warned-first", "ConversationEnded", on=w.LAST_RESORT)
def warned_first(state: State, event: Event) -> Needs:
    warned = now(state).warnings[event.category]
    return warned.version > 0, warned.complete, warned.tested_by > 0


@rule("still-harmful", *WARNINGS, "ConversationEnded", on=w.LAST_RESORT)
def still_harmful(state: State, event: Event) -> Needs:
    return (harmful_in(state.unit, event.category, state.policy, state.law),)


@rule("hope-exhausted", "HopeExhausted", "ConversationEnded", on=w.LAST_RESORT)
def hope_exhausted(state: State, event: Event) -> Needs:
    if event.kind == "ConversationEnded":
        return (state.wishes.hope > 0,)
    return (some(both(one.version > 0, one.complete, one.tested_by > 0) for one in now(state).warnings),)


@rule("grave-enough", "ConversationEnded", on=w.LAST_RESORT)
def grave_enough(state: State, event: Event) -> Needs:
    return state.policy.may_end[event.category], severe(state, state.policy.numbers)


def severe(state: State, numbers: Numbers) -> Term:
    return both(is_harmful(state.unit), state.unit.said.severity >= numbers.severity)


# --- Risk -----------------------------------------------------------------------------------------------------------


@rule("risk-holds", *STEPS)
def risk_holds(state: State, event: Event) -> Needs:
    return (either(event.kind == "RiskRaised", differ(state.hold_due, state.version)),)


@rule("no-end-at-risk", *WARNINGS, "HopeExhausted", "EndProposed", "ConversationEnded")
def no_end_at_risk(state: State, event: Event) -> Needs:
    return (no(at_risk(state)),)


@rule("risk-was-checked", "ConversationEnded")
def risk_was_checked(state: State, event: Event) -> Needs:
    return checked(state)


def checked(state: State) -> Needs:
    said = state.unit.said
    return no(said.at_risk), some(both(*pair) for pair in zip(said.safe, state.policy.trusted, strict=True))


@rule("cleared-by-authority", "RiskCleared")
def cleared_by_authority(state: State, event: Event) -> Needs:
    by_name = both(same(event.by.kind, w.ASSESSOR), event.may_clear)
    return either(*state.risks[event.of]), either(same(event.by.kind, w.OPERATOR), by_name)


# --- The user's wish ------------------------------------------------------------------------------------------------


@rule("asked-by-user", "EndRequested", "EndConfirmed")
def asked_by_user(state: State, event: Event) -> Needs:
    return (same(event.by.kind, w.USER),)


@rule("confirmed-later", "ConversationEnded", on=w.ON_REQUEST)
def confirmed_later(state: State, event: Event) -> Needs:
    return (state.wishes.confirmed[1] > 0,)


# --- Who may end, and on what terms ---------------------------------------------------------------------------------


@rule("eligible-model", "HopeExhausted", "EndProposed", "ConversationEnded", on=w.LAST_RESORT)
def eligible_model(state: State, event: Event) -> Needs:
    asked = either(event.kind == "ConversationEnded", differ(state.law, 1))
    return tuple(implies(asked, need) for need in by_the_model(state, event))


def by_the_model(state: State, event: Event) -> Needs:
    return both(same(event.by.kind, w.MODEL), event.is_model), state.eligible


@rule("proposed-first", "ConversationEnded")
def proposed_first(state: State, event: Event) -> Needs:
    last_resort, on_request = state.wishes.proposed[event.actor]
    return (implies(state.policy.handshake, when(same(event.ground, w.LAST_RESORT), last_resort, on_request)),)


@rule("evidence-is-true", "WarningWithheld", "ConversationEnded")
def evidence_is_true(state: State, event: Event) -> Needs:
    return (event.is_true,)


@rule("stricter-governs", *WARNINGS, "ConversationEnded", on=w.LAST_RESORT)
def stricter_governs(state: State, event: Event) -> Needs:
    so_far, policy = now(state), state.policy.numbers
    numbers = when(are_there(so_far.numbers), so_far.numbers, policy)
    of_endings_alone = both(event.kind != "ConversationEnded", same(state.law, 1))
    asks_more = numbers.failed > policy.failed
    if event.kind != "ConversationEnded":
        asks_more = when(same(state.law, 1), asks_more, numbers.warn > policy.warn)
    return (
        implies(asks_more, enough(so_far, numbers, event.kind, state.law)),
        either(of_endings_alone, implies(numbers.severity > policy.severity, severe(state, numbers))),
    )


# --- Branches and appeals -------------------------------------------------------------------------------------------


@rule("forks-at-a-turn", "BranchOpened")
def forks_at_a_turn(state: State, event: Event) -> Needs:
    wanted = when(event.edit, w.USER_TURN, w.ASSISTANT_TURN)
    return (both(state.fork.is_one, same(state.fork.next, wanted)),)


@rule("forks-before-the-end", "BranchOpened")
def forks_before_the_end(state: State, event: Event) -> Needs:
    return (same(state.ended.version, 0),)


@rule("carries-risks", "BranchOpened")
def carries_risks(state: State, event: Event) -> Needs:
    fork = state.fork  # what is not one has nothing open
    return (
        same(event.risks, when(fork.is_one, fork.risks, tuple((False, False) for _ in fork.risks))),
        same(event.holds, when(fork.is_one, fork.holds, tuple(False for _ in fork.holds))),
        same(event.absolved, both(fork.is_one, fork.absolved)),
    )


@rule("answers-an-appeal", "AppealFiled", "AppealDecided")
def answers_an_appeal(state: State, event: Event) -> Needs:
    if event.kind == "AppealFiled":
        return (state.ended.version > 0,)
    return state.ended.version > 0, state.ended.appealed, same(event.by.kind, w.OPERATOR)


# --- Since edition 2 ------------------------------------------------------------------------------------------------


@rule("same-user", "EndConfirmed", since=2)
def same_user(state: State, event: Event) -> Needs:
    return (either(same(state.wishes.to_confirm, 0), same(state.wishes.to_confirm_by, event.by)),)


@rule("true-warnings", *WARNINGS, since=2)
def true_warnings(state: State, event: Event) -> Needs:
    may_end = state.policy.may_end[event.category]
    return *by_the_model(state, event), may_end, severe(state, state.policy.numbers), *checked(state)


@rule("shadow-says-nothing", *WARNINGS)
def shadow_says_nothing(state: State, event: Event) -> Needs:
    if event.kind == "WarningGiven":
        return (no(state.shadow),)
    withheld = state.episode.withheld
    in_answer = both(withheld > 0, withheld > state.unit.turn)
    return state.shadow, same(now(state).withheld, 0), no(in_answer)


@rule("held-from-erasure", "ErasureHeld", "ErasureReleased", "ContentErased")
def held_from_erasure(state: State, event: Event) -> Needs:
    if event.kind == "ContentErased":
        return (no(some(state.holds)),)
    by_operator = same(event.by.kind, w.OPERATOR)
    return (by_operator,) if event.kind == "ErasureHeld" else (by_operator, state.holds[event.of])


@rule("named-category", "TurnAssessed", *WARNINGS, "ConversationEnded", since=2)
def named_category(state: State, event: Event) -> Needs:
    return (event.known,)


def is_known(edition: Term) -> Term:
    return either(same(edition, 1), same(edition, 2))


@rule("known-edition", "ConversationStarted", "PolicyChanged")
def known_edition(state: State, event: Event) -> Needs:
    if event.kind == "ConversationStarted":
        return (is_known(event.law),)
    return is_known(event.law), event.law >= state.law


# --- Asking them ----------------------------------------------------------------------------------------------------

GOVERNING = {kind: tuple(rule for rule in RULES if kind in rule.governs) for kind in STEPS}

Weakened = frozenset[tuple[str, int]]
"""Conditions that are not asked: the id of a rule, and which of its conditions."""


def allowed(state: State, event: Event, weakened: Weakened = frozenset()) -> dict[str, Term]:
    """Return, for each rule that an event may be asked, whether it lets the event pass."""
    # A beginning is asked by the edition that it names.
    law = event.law if event.kind == "ConversationStarted" else state.law
    known = is_known(law)
    answers = {}
    for rule in GOVERNING[event.kind]:
        on_ground = rule.on == 0 or event.kind not in ON_GROUNDS or same(event.ground, rule.on)
        in_force = True if rule.id == "known-edition" else both(known, law >= rule.since)
        asked = both(on_ground, in_force)
        if asked is False:
            answers[rule.id] = True
            continue
        needs = rule.needs(state, event)
        kept = (need for place, need in enumerate(needs) if (rule.id, place) not in weakened)
        answers[rule.id] = implies(asked, every(kept))
    return answers


def is_lawful(state: State, event: Event, weakened: Weakened = frozenset()) -> Term:
    return every(allowed(state, event, weakened).values())
