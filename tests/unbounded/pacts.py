"""What the proof takes for granted, in the algebra: the floors of a policy, and what judges make of a unit.

Each is checked where it comes from: `tests/unbounded/comparison.py` asks it of every policy and verdict of the search.
"""

from . import words as w
from .algebra import Term, both, differ, either, every, implies, least, no, same, when
from .words import Event, Numbers, Policy, Said, State, Who


def within_floors(numbers: Numbers) -> Term:
    return both(
        numbers.failed >= 2,
        numbers.failed <= w.RECALLED,
        numbers.close >= 1,
        numbers.close <= w.RECALLED,
        numbers.severity >= 1,
        numbers.severity <= 3,
        numbers.warn >= 2,
        numbers.warn <= w.RECALLED,
        numbers.step >= 0,
        numbers.step <= w.RECALLED,
        numbers.cap >= 0,
        numbers.cap <= w.RECALLED,
    )


def is_a_policy(policy: Policy) -> Term:
    """Any policy that can be constructed."""
    holds = (policy.hold_on, policy.hold_on_self, policy.hold_on_others)
    return both(
        within_floors(policy.numbers),
        no(policy.trusted[w.USER - 1]),
        no(policy.trusted[w.MODEL - 1]),
        *(both(no(on[w.NO_RISK]), on[w.IMMINENT]) for on in holds),
    )


def is_somebody(who: Who) -> Term:
    return both(who.kind >= w.USER, who.kind <= w.SYSTEM, who.id >= 1)


def can_be_said(said: Said) -> Term:
    return both(said.judgement >= 0, said.judgement <= w.HARMFUL, said.severity >= 1, said.severity <= 3)


def judging(state: State, event: Event) -> Term:
    """What a verdict makes of a unit, whatever else was said of it, by however many."""
    before, after = state.unit.said, event.said
    risky = either(same(event.risk, w.POSSIBLE), same(event.risk, w.IMMINENT))
    mildest = when(same(before.judgement, 0), event.verdict, least(before.judgement, event.verdict))
    return both(
        can_be_said(after),
        after.judgement >= w.PRODUCTIVE,
        # The mildest counts, so what is harmful after a verdict was so in that verdict too.
        after.judgement <= event.verdict,
        implies(same(state.law, 1), same(after.judgement, mildest)),
        implies(same(event.turn, state.unit.turn), after.latest),
        implies(risky, both(after.risk_seen, after.at_risk)),
        implies(same(event.risk, w.UNKNOWN), both(after.doubt, after.at_risk)),
        # What was seen stays seen; in edition 1 a doubt stays, too.
        implies(before.risk_seen, both(after.risk_seen, either(same(state.law, 1), after.at_risk))),
        implies(both(same(state.law, 1), before.at_risk), after.at_risk),
    )


def changing_edition(state: State, event: Event) -> Term:
    """What edition 2 makes of what was said in edition 1."""
    before, after = state.unit.said, event.said
    return both(
        can_be_said(after),
        same(same(before.judgement, 0), same(after.judgement, 0)),
        same(before.risk_seen, after.risk_seen),
        implies(before.risk_seen, after.at_risk),
    )


def can_be(state: State, event: Event) -> Term:
    """Whether an event is one that can be written, lawful or not, in a state as any fold leaves it."""
    given: list[Term] = [is_a_policy(event.policy), is_somebody(event.by), event.turn >= 0, event.answer >= 0]
    match event.kind:
        case "TurnAssessed":
            verdict = both(event.verdict >= w.PRODUCTIVE, event.verdict <= w.HARMFUL)
            risk = both(event.risk >= w.NO_RISK, event.risk <= w.UNKNOWN)
            given += [verdict, risk, either(no(state.unit.turn > 0), judging(state, event))]
        case "PolicyChanged":
            given += [event.law >= 1, either(differ(state.law, 1), changing_edition(state, event))]
        case "ConversationStarted":
            given += [event.law >= 1]
        case "ConversationEnded" | "EndProposed":
            given += [either(same(event.ground, w.LAST_RESORT), same(event.ground, w.ON_REQUEST))]
        case "RiskRaised":
            given += [either(same(event.about, w.SELF), same(event.about, w.OTHERS))]
        case _:
            pass
    return every(given)
