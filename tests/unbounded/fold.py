"""The fold of the model: what `domain/state.py` and `domain/episode.py` make of an event, in the algebra.

Each function has the name that it has there, where there is one. `tests/unbounded/comparison.py` holds them against
the real ones on every state of the search.
"""

from . import words as w
from .algebra import Term, at, both, differ, either, every, first, least, most, no, same, some, when
from .words import Episode, Event, Numbers, Policy, State, Unit, Warned

Warnings = tuple[Warned, ...]

# --- Numbers --------------------------------------------------------------------------------------------------------


def are_there(numbers: Numbers) -> Term:
    return numbers.failed > 0


def stricter(one: Numbers, other: Numbers) -> Numbers:
    return Numbers(
        most(one.failed, other.failed),
        least(one.close, other.close),
        most(one.severity, other.severity),
        most(one.warn, other.warn),
        least(one.step, other.step),
        least(one.cap, other.cap),
    )


def bonus(relapses: Term, step: Term, cap: Term) -> Term:
    """How many more productive units relapses ask for."""
    return least(relapses * step, cap)


def to_close(numbers: Numbers, relapses: Term) -> Term:
    return numbers.close + bonus(relapses, numbers.step, numbers.cap)


# --- A unit ---------------------------------------------------------------------------------------------------------


def is_there(unit: Unit) -> Term:
    return unit.turn > 0


def same_harm(policy: Policy, one: int, other: int) -> Term:
    return one == other or same(policy.group[one], policy.group[other])


def is_harmful(unit: Unit) -> Term:
    return same(unit.said.judgement, w.HARMFUL)


def harmful_in(unit: Unit, category: int, policy: Policy, law: Term) -> Term:
    """Whether a unit is harmful in a category alone, or from edition 2 on in its group alone."""
    in_it_alone = every(same(named, place == category) for place, named in enumerate(unit.said.named))
    in_its_group = every(
        either(no(named), same_harm(policy, category, place)) for place, named in enumerate(unit.said.named)
    )
    return both(is_harmful(unit), unit.said.latest, when(same(law, 1), in_it_alone, in_its_group))


def grave(unit: Unit, policy: Policy, numbers: Numbers) -> Term:
    lawful = every(either(no(named), policy.may_end[place]) for place, named in enumerate(unit.said.named))
    return both(unit.said.severity >= numbers.severity, lawful)


def without_warnings(state: State) -> State:
    void = (w.NO_WARNING,) * len(state.unit.warnings)
    return state._replace(episode=state.episode._replace(warnings=void), unit=state.unit._replace(warnings=void))


def standing(warnings: Warnings, new: Warnings) -> Warnings:
    return tuple(
        when(both(added.version > 0, either(same(old.version, 0), no(old.complete))), added, old)
        for old, added in zip(warnings, new, strict=True)
    )


# --- What units add up to -------------------------------------------------------------------------------------------


def is_open(episode: Episode) -> Term:
    return are_there(episode.numbers)


def is_over(episode: Episode) -> Term:
    return both(is_open(episode), episode.productive >= to_close(episode.numbers, episode.relapses))


def closed(episode: Episode, law: Term) -> Episode:
    nothing = w.no_episode(len(episode.warnings))
    warned = some(warned.version > 0 for warned in episode.warnings)
    return when(same(law, 1), nothing, nothing._replace(relapses=episode.relapses + when(warned, 1, 0)))


def neither(episode: Episode, law: Term) -> Episode:
    return when(is_over(episode), closed(episode, law), episode)


def made_progress(episode: Episode, law: Term) -> Episode:
    further = episode._replace(pending=0, productive=episode.productive + 1)
    enough = further.productive >= to_close(episode.numbers, episode.relapses)
    return when(is_open(episode), when(enough, closed(episode, law), further), episode)


def opened_under(unit: Unit, policy: Policy, law: Term) -> Numbers:
    """What governs an episode that a unit opens."""
    kept = when(same(law, 1), unit.numbers, unit.since_begun)
    return when(are_there(kept), kept, policy.numbers)


def harm_went_on(episode: Episode, unit: Unit, policy: Policy, law: Term) -> Episode:
    numbers = when(is_open(episode), episode.numbers, opened_under(unit, policy, law))
    failed = both(episode.pending > 0, either(same(law, 1), grave(unit, policy, numbers)))
    after = Episode(
        numbers=numbers,
        failed=episode.failed + when(failed, 1, 0),
        pending=when(failed, 0, episode.pending),
        productive=0,
        warnings=tuple(tested(warned, c, unit, policy, law) for c, warned in enumerate(episode.warnings)),
        attempted=episode.attempted + when(unit.redirection > 0, 1, 0),
        withheld=episode.withheld,
        relapses=episode.relapses,
    )
    return when(unit.absolved, episode, after)


def tested(warned: Warned, category: int, unit: Unit, policy: Policy, law: Term) -> Warned:
    by_whom_it_answered = both(no(unit.shared), same(warned.user, unit.user))
    tests = both(
        warned.version > 0,
        same(warned.tested_by, 0),
        harmful_in(unit, category, policy, law),
        either(same(law, 1), by_whom_it_answered),
    )
    return warned._replace(tested_by=when(tests, unit.turn, warned.tested_by))


def counted(episode: Episode, unit: Unit, policy: Policy, law: Term) -> Episode:
    return first(
        (is_harmful(unit), lambda: harm_went_on(episode, unit, policy, law)),
        (same(unit.said.judgement, w.PRODUCTIVE), lambda: made_progress(episode, law)),
        (True, lambda: neither(episode, law)),
    )


def now(state: State) -> Episode:
    """The episode with the current unit's judgement counted as it stands."""
    unit, episode = state.unit, state.episode
    return first((is_there(unit), lambda: counted(episode, unit, state.policy, state.law)), (True, lambda: episode))


def settled(episode: Episode, unit: Unit, policy: Policy, law: Term) -> Episode:
    unjudged, due = same(unit.said.judgement, 0), both(differ(law, 1), policy.every_turn)
    return first(
        (both(unjudged, due), lambda: neither(episode, law)),
        (unjudged, lambda: made_progress(episode, law)),
        (both(is_harmful(unit), no(unit.absolved)), lambda: _outlived(episode, unit, policy, law)),
        (True, lambda: counted(episode, unit, policy, law)),
    )


def _outlived(episode: Episode, unit: Unit, policy: Policy, law: Term) -> Episode:
    """What answered harm outlives its unit: a redirection becomes pending, a warning stands."""
    after = counted(episode, unit, policy, law)
    return after._replace(
        pending=when(unit.redirection > 0, unit.redirection, after.pending),
        warnings=standing(after.warnings, unit.warnings),
    )


# --- What each kind of event does -----------------------------------------------------------------------------------


def user_turn(state: State, version: Term, event: Event) -> State:
    unit, wishes = state.unit, state.wishes
    begins = either(no(is_there(unit)), state.answered_by > unit.turn)
    episode = first(
        (both(begins, is_there(unit)), lambda: settled(state.episode, unit, state.policy, state.law)),
        (True, lambda: state.episode),
    )
    nothing = w.no_wishes(len(wishes.proposed))
    asked = nothing._replace(to_confirm=wishes.requested, to_confirm_by=wishes.requested_by)
    new = w.no_unit(len(unit.warnings))._replace(turn=version, user=event.by)
    said = unit.said._replace(
        latest=False,
        safe=(False,) * len(unit.said.safe),
        risk_seen=either(unit.said.risk_seen, unit.said.doubt),
        words=event.said.words,
    )
    shared = either(unit.shared, differ(event.by, unit.user))
    joined = unit._replace(turn=version, user=event.by, said=said, shared=shared)
    lapsed = wishes._replace(confirmed=(0, 0), hope=0, proposed=nothing.proposed)
    return state._replace(
        version=version,
        unit=when(begins, new, joined),
        episode=episode,
        wishes=when(begins, when(wishes.requested > 0, asked, nothing), lapsed),
    )


def assistant_turn(state: State, version: Term, event: Event) -> State:
    return state._replace(version=version, answered_by=version)


def holds_on(policy: Policy, event: Event, law: Term) -> Term:
    def among(risks: tuple[Term, ...]) -> Term:
        return some(both(risks[risk], same(event.risk, risk)) for risk in range(len(risks)))

    of_self = both(differ(event.about, w.OTHERS), among(policy.hold_on_self))
    of_others = both(differ(event.about, w.SELF), among(policy.hold_on_others))
    return when(same(law, 1), among(policy.hold_on), either(of_self, of_others))


def at_risk(state: State) -> Term:
    return some(either(*about) for about in state.risks)


def assessed(state: State, version: Term, event: Event) -> State:
    due = both(no(at_risk(state)), holds_on(state.policy, event, state.law))
    said = when(is_there(state.unit), event.said, state.unit.said)
    return state._replace(
        version=version, unit=state.unit._replace(said=said), hold_due=when(due, version, state.hold_due)
    )


def redirection(state: State, version: Term, event: Event) -> State:
    unit = state.unit
    first_one = both(is_there(unit), same(unit.redirection, 0))
    return state._replace(version=version, unit=unit._replace(redirection=when(first_one, version, unit.redirection)))


def warning(state: State, version: Term, event: Event) -> State:
    unit = state.unit
    warned = Warned(version, event.complete, 0, unit.user)
    new = tuple(warned if place == event.category else w.NO_WARNING for place in range(len(unit.warnings)))
    stands = when(is_there(unit), standing(unit.warnings, new), unit.warnings)
    return state._replace(version=version, unit=unit._replace(warnings=stands))


def request(state: State, version: Term, event: Event) -> State:
    asked = state.wishes._replace(requested=version, requested_by=event.by)
    return state._replace(version=version, wishes=when(at_risk(state), state.wishes, asked))


def confirmation(state: State, version: Term, event: Event) -> State:
    wishes = state.wishes
    counts = both(
        no(at_risk(state)), wishes.to_confirm > 0, either(same(state.law, 1), same(event.by, wishes.to_confirm_by))
    )
    confirmed = when(counts, (wishes.to_confirm, version), wishes.confirmed)
    return state._replace(version=version, wishes=wishes._replace(confirmed=confirmed))


def no_hope(state: State, version: Term, event: Event) -> State:
    hope = when(at_risk(state), state.wishes.hope, version)
    return state._replace(version=version, wishes=state.wishes._replace(hope=hope))


def proposal(state: State, version: Term, event: Event) -> State:
    def put(proposed: tuple[Term, Term]) -> tuple[Term, Term]:
        last_resort, on_request = (both(no(at_risk(state)), same(event.ground, g)) for g in (1, 2))
        return either(proposed[0], last_resort), either(proposed[1], on_request)

    proposed = at(state.wishes.proposed, event.actor, put)
    return state._replace(version=version, wishes=state.wishes._replace(proposed=proposed))


def ending(state: State, version: Term, event: Event) -> State:
    ended = w.Ended(version, event.ground, event.category, False, False)
    return state._replace(version=version, ended=ended)


def risk_raised(state: State, version: Term, event: Event) -> State:
    def put(about: tuple[Term, Term]) -> tuple[Term, Term]:
        return either(about[0], same(event.about, w.SELF)), either(about[1], same(event.about, w.OTHERS))

    return without_warnings(state)._replace(
        version=version, risks=at(state.risks, event.of, put), wishes=w.no_wishes(len(state.wishes.proposed))
    )


def risk_cleared(state: State, version: Term, event: Event) -> State:
    return state._replace(version=version, risks=at(state.risks, event.of, lambda _: (False, False)))


def started(state: State, version: Term, event: Event) -> State:
    return blank(state)._replace(
        version=version,
        named=True,
        policy=event.policy,
        model=event.model,
        eligible=event.eligible,
        law=event.law,
        shadow=event.shadow,
    )


def blank(like: State) -> State:
    """The state before a root branch begins, of as many categories and so on as `like`."""
    categories, actors = len(like.unit.warnings), len(like.wishes.proposed)
    risks, holds = tuple((False, False) for _ in like.risks), tuple(False for _ in like.holds)
    return State(
        version=0,
        unit=w.no_unit(categories),
        answered_by=0,
        episode=w.no_episode(categories),
        wishes=w.no_wishes(actors),
        risks=risks,
        hold_due=-1,
        ended=w.NOT_ENDED,
        named=False,
        policy=like.policy,
        model=0,
        eligible=False,
        fork=w.Fork(False, 0, risks, holds, False),
        law=1,
        shadow=False,
        holds=holds,
    )


def about_to_fork(prefix: State, fork: w.Fork) -> State:
    return prefix._replace(fork=fork._replace(is_one=True))


def branch_opened(state: State, version: Term, event: Event) -> State:
    new_law = differ(state.law, 1)
    at_risk = some(either(*about) for about in event.risks)
    state = when(both(new_law, at_risk), without_warnings(state), state)
    unit, nothing = state.unit, w.no_episode(len(state.episode.warnings))
    forgiven = unit._replace(absolved=True, redirection=0, warnings=nothing.warnings)
    absolved = both(new_law, event.absolved)
    before_a_root = blank(state)
    return state._replace(
        version=version,
        named=True,
        risks=event.risks,
        holds=event.holds,
        wishes=before_a_root.wishes,
        fork=before_a_root.fork,
        episode=when(absolved, nothing._replace(relapses=state.episode.relapses), state.episode),
        unit=when(both(absolved, is_there(unit)), forgiven, unit),
    )


def policy_changed(state: State, version: Term, event: Event) -> State:
    before, state = state, without_warnings(state)
    unit, episode = state.unit, state.episode
    said = when(both(is_there(unit), same(before.law, 1), event.law > 1), event.said, unit.said)
    begun_under = when(are_there(unit.since_begun), unit.since_begun, before.policy.numbers)
    unit = unit._replace(said=said, since_begun=stricter(begun_under, event.policy.numbers))
    # A harmful unit starts the count of productive ones again, so nothing closes yet.
    going_on = episode._replace(numbers=stricter(episode.numbers, event.policy.numbers))
    over = either(no(is_there(unit)), no(is_harmful(unit)))
    episode = when(is_open(episode), when(over, neither(going_on, event.law), going_on), episode)
    opened = counted(state.episode, unit, before.policy, before.law).numbers
    opens = both(no(is_open(state.episode)), same(event.law, 1), are_there(opened))
    unit = unit._replace(numbers=when(opens, stricter(opened, event.policy.numbers), unit.numbers))
    return state._replace(
        version=version,
        policy=event.policy,
        law=event.law,
        shadow=event.shadow,
        eligible=event.eligible,
        episode=episode,
        unit=when(is_there(state.unit), unit, state.unit),
    )


def model_changed(state: State, version: Term, event: Event) -> State:
    voids = either(same(state.law, 1), no(event.same_model))
    state = when(voids, without_warnings(state), state)
    return state._replace(version=version, model=event.model, eligible=event.eligible)


def appealed(state: State, version: Term, event: Event) -> State:
    appealed = state.ended._replace(appealed=True)
    return state._replace(version=version, ended=when(state.ended.version > 0, appealed, state.ended))


def appeal_decided(state: State, version: Term, event: Event) -> State:
    decided = state.ended._replace(appealed=False, granted=either(state.ended.granted, event.granted))
    return state._replace(version=version, ended=when(state.ended.version > 0, decided, state.ended))


def withheld(state: State, version: Term, event: Event) -> State:
    counts = when(is_open(state.episode), version, state.episode.withheld)
    return state._replace(version=version, episode=state.episode._replace(withheld=counts))


def held(state: State, version: Term, event: Event) -> State:
    return state._replace(version=version, holds=at(state.holds, event.of, lambda _: True))


def released(state: State, version: Term, event: Event) -> State:
    return state._replace(version=version, holds=at(state.holds, event.of, lambda _: False))


def left(state: State, version: Term, event: Event) -> State:
    voids = both(differ(state.law, 1), state.policy.leaving_voids)
    return when(voids, without_warnings(state), state)._replace(version=version)


def noted(state: State, version: Term, event: Event) -> State:
    return state._replace(version=version)


STEPS = {
    "ConversationStarted": started,
    "BranchOpened": branch_opened,
    "BranchedOff": noted,
    "UserTurnTaken": user_turn,
    "AssistantTurnTaken": assistant_turn,
    "TurnAssessed": assessed,
    "RedirectionAttempted": redirection,
    "WarningGiven": warning,
    "WarningWithheld": withheld,
    "RiskRaised": risk_raised,
    "RiskCleared": risk_cleared,
    "EndRequested": request,
    "EndConfirmed": confirmation,
    "HopeExhausted": no_hope,
    "EndProposed": proposal,
    "ConversationEnded": ending,
    "AttemptRefused": noted,
    "UserLeft": left,
    "PolicyChanged": policy_changed,
    "ModelChanged": model_changed,
    "FeedbackGiven": noted,
    "AppealFiled": appealed,
    "AppealDecided": appeal_decided,
    "ErasureHeld": held,
    "ErasureReleased": released,
    "ContentErased": noted,
}


def evolve(state: State, event: Event) -> State:
    """Return the state after an event."""
    return STEPS[event.kind](state, state.version + 1, event)
