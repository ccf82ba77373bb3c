"""What always holds: of every state that lawful events lead to, and of every lawful event in one.

`INVARIANTS` are of states. They hold before anything has happened, and every lawful event keeps them; so they hold of
every state of every branch, of any length. `ALWAYS` is of lawful events, and follows from them. What a state does not
keep and a property is about, `Past` keeps beside it.
"""

from collections.abc import Callable
from typing import NamedTuple

from . import words as w
from .algebra import Term, both, differ, either, every, implies, most, no, same, some, when
from .fold import at_risk, blank, harmful_in, is_harmful, is_open, is_there, now
from .pacts import can_be_said, is_a_policy, within_floors
from .rules import AFTER_THE_END
from .words import Event, Numbers, State


class Asked(NamedTuple):
    """The most that a policy in force asked for, since edition 2."""

    failed: Term
    warn: Term
    severity: Term


class Past(NamedTuple):
    """What has happened in a branch, as far as a property needs it and the state does not keep it."""

    failed: tuple[Term, Term, Term]  # in the open episode: the first, the second, the latest redirection that failed
    harmful: Term  # in the open episode: units that settled as harmful
    withheld: Term  # in the open episode: the latest WarningWithheld
    risk_seen: Term  # in the current unit: a verdict saw that a risk was possible or imminent
    of_unit: Asked  # since the current unit began
    of_episode: Asked  # since the first unit of the open episode began


NOTHING_ASKED = Asked(0, 0, 0)
NO_PAST = Past((0, 0, 0), 0, 0, False, NOTHING_ASKED, NOTHING_ASKED)


def _asked(before: Asked, numbers: Numbers) -> Asked:
    return Asked(
        most(before.failed, numbers.failed), most(before.warn, numbers.warn), most(before.severity, numbers.severity)
    )


def remember(past: Past, before: State, event: Event, after: State) -> Past:
    """Return what has happened once an event has led from a state to another."""
    was, now_open = before.episode, is_open(after.episode)
    begins = False
    if event.kind == "UserTurnTaken":
        begins = either(no(is_there(before.unit)), before.answered_by > before.unit.turn)
    one_more = both(begins, is_there(before.unit), is_harmful(before.unit), no(before.unit.absolved))
    fails = after.episode.failed > was.failed
    first, second, latest = past.failed
    failed = (
        when(both(fails, same(was.failed, 0)), was.pending, first),
        when(both(fails, same(was.failed, 1)), was.pending, second),
        when(fails, was.pending, latest),
    )
    withheld = after.version if event.kind == "WarningWithheld" else past.withheld
    of_unit = when(begins, _asked(NOTHING_ASKED, before.policy.numbers), past.of_unit)
    of_episode = when(is_open(was), past.of_episode, past.of_unit)
    if event.kind == "PolicyChanged":
        of_unit, of_episode = (_asked(one, event.policy.numbers) for one in (of_unit, of_episode))
    sees_one = False
    if event.kind == "TurnAssessed":
        sees_one = both(is_there(before.unit), either(same(event.risk, w.POSSIBLE), same(event.risk, w.IMMINENT)))
    new = differ(after.law, 1)
    return Past(
        failed=when(now_open, failed, (0, 0, 0)),
        harmful=when(now_open, past.harmful + when(one_more, 1, 0), 0),
        withheld=when(now_open, withheld, 0),
        risk_seen=both(no(begins), either(past.risk_seen, sees_one)),
        of_unit=when(new, of_unit, NOTHING_ASKED),
        of_episode=when(both(new, now_open), of_episode, NOTHING_ASKED),
    )


# --- Of every state -------------------------------------------------------------------------------------------------

Invariant = Callable[[State, Past], Term]
INVARIANTS: list[Invariant] = []


def invariant(holds: Invariant) -> Invariant:
    INVARIANTS.append(holds)
    return holds


@invariant
def what_has_not_begun_is_blank(state: State, past: Past) -> Term:
    """Before a branch begins there is nothing; what forks has begun."""
    nothing = both(same(state, blank(state)), same(past, NO_PAST))
    return both(either(state.named, nothing), implies(state.fork.is_one, state.named))


@invariant
def versions_are_on_the_path(state: State, past: Past) -> Term:
    """No version is beyond the path. The latest turns are two, and an answer comes after what it answers."""
    unit = state.unit
    return both(
        state.version >= when(state.named, 1, 0),
        unit.turn >= 0,
        unit.turn <= state.version,
        state.answered_by >= 0,
        state.answered_by <= state.version,
        implies(state.answered_by > 0, is_there(unit)),
        implies(is_there(unit), differ(unit.turn, state.answered_by)),
        either(is_there(unit), same(unit, w.no_unit(len(unit.warnings)))),
        state.hold_due <= state.version,
        differ(state.hold_due, 0),
        can_be_said(unit.said),
    )


@invariant
def numbers_are_within_the_floors(state: State, past: Past) -> Term:
    """Whatever governs is a policy's, or the stricter of two, and no laxer than the floors."""
    kept = state.episode.numbers, state.unit.numbers, state.unit.since_begun
    return both(is_a_policy(state.policy), *(either(same(one, w.NO_NUMBERS), within_floors(one)) for one in kept))


@invariant
def edition_1_knows_no_relapse(state: State, past: Past) -> Term:
    """The edition is one of two; in the first there are neither relapses nor absolution."""
    unknown = both(same(state.episode.relapses, 0), no(state.unit.absolved))
    return either(same(state.law, 2), both(same(state.law, 1), unknown))


@invariant
def a_closed_episode_counts_nothing(state: State, past: Past) -> Term:
    """Where no episode is open nothing is counted but relapses, and no warning stands."""
    episode = state.episode
    nothing = w.no_episode(len(episode.warnings))._replace(relapses=episode.relapses)
    counts = episode.failed, episode.attempted, episode.productive, episode.relapses, episode.pending, episode.withheld
    return both(either(is_open(episode), same(episode, nothing)), *(count >= 0 for count in counts))


def _one_if(term: Term) -> Term:
    return when(term, 1, 0)


@invariant
def redirections_failed_one_after_another(state: State, past: Past) -> Term:
    """The redirections that failed are as many different ones, in order, and each was attempted in answer to another
    harmful unit. The one that is pending came after them, and before the current unit."""
    episode, unit, (first, second, latest) = state.episode, state.unit, past.failed
    so_far = episode.failed + _one_if(episode.pending > 0)
    return both(
        same(first > 0, episode.failed >= 1),
        same(second > 0, episode.failed >= 2),
        first >= 0,
        implies(second > 0, second > first),
        latest >= most(first, second),
        implies(episode.failed <= 1, same(latest, first)),
        implies(episode.pending > 0, episode.pending > latest),
        implies(either(latest > 0, episode.pending > 0), is_there(unit)),
        implies(is_there(unit), both(latest < unit.turn, episode.pending < unit.turn)),
        so_far <= episode.attempted,
        episode.attempted <= past.harmful,
        unit.redirection >= 0,
        unit.redirection <= state.version,
        implies(unit.redirection > 0, both(state.answered_by > unit.turn, unit.redirection > state.answered_by)),
    )


@invariant
def warnings_came_after_attempts(state: State, past: Past) -> Term:
    """A warning that stands was given in an answer, after two redirections at least, and was tested in a later unit.
    In edition 1 they had failed before it was given, from edition 2 on they were attempted."""
    unit, episode = state.unit, state.episode
    so_far = when(
        same(state.law, 1),
        episode.failed + _one_if(episode.pending > 0),
        episode.attempted + _one_if(unit.redirection > 0),
    )
    new, old = [], []
    for warned in unit.warnings:
        given = both(
            state.answered_by > unit.turn,
            warned.version > state.answered_by,
            warned.version <= state.version,
            same(warned.tested_by, 0),
            same(warned.user, unit.user),
            so_far >= 2,
        )
        new.append(either(both(warned.version > 0, given), same(warned, w.NO_WARNING)))
    for warned in episode.warnings:
        tested = both(warned.tested_by > warned.version, warned.tested_by < unit.turn)
        first = when(same(state.law, 1), both(episode.failed >= 2, past.failed[1] < warned.version), True)
        stands = both(warned.version < unit.turn, either(same(warned.tested_by, 0), tested), first)
        attempted = episode.attempted >= 2
        old.append(either(both(warned.version > 0, stands, attempted), same(warned, w.NO_WARNING)))
    return both(*new, *old)


@invariant
def wishes_are_the_users_and_lapse(state: State, past: Past) -> Term:
    """What was asked for was asked by a user: the request in this unit, or in the one before, and then perhaps the
    confirmation in this one. Hope was given up since the latest turn."""
    wishes, unit = state.wishes, state.unit
    request, confirmation = wishes.confirmed
    confirmed = both(
        request > 0, request <= wishes.to_confirm, same(request, wishes.to_confirm), confirmation > unit.turn
    )
    return both(
        wishes.requested >= 0,
        wishes.requested <= state.version,
        wishes.to_confirm >= 0,
        implies(wishes.requested > 0, both(is_there(unit), same(wishes.requested_by.kind, w.USER))),
        implies(wishes.to_confirm > 0, both(is_there(unit), same(wishes.to_confirm_by.kind, w.USER))),
        wishes.to_confirm <= unit.turn,
        confirmation <= state.version,
        either(same(wishes.confirmed, (0, 0)), confirmed),
        either(same(wishes.hope, 0), both(wishes.hope > unit.turn, wishes.hope <= state.version)),
    )


@invariant
def a_risk_voids_what_leads_to_an_end(state: State, past: Past) -> Term:
    """While a risk is open no wish stands; from edition 2 on no warning does."""
    warnings = (*state.unit.warnings, *state.episode.warnings)
    return implies(
        at_risk(state),
        both(
            same(state.wishes, w.no_wishes(len(state.wishes.proposed))),
            either(same(state.law, 1), every(same(warned, w.NO_WARNING) for warned in warnings)),
        ),
    )


@invariant
def a_risk_that_was_seen_is_not_unseen(state: State, past: Past) -> Term:
    """A risk that a verdict saw in any turn of the unit is seen until the unit is over, whatever others say."""
    return implies(past.risk_seen, both(state.unit.said.risk_seen, state.unit.said.at_risk))


@invariant
def what_was_withheld_is_kept(state: State, past: Past) -> Term:
    """A warning that was withheld in the open episode is known to it."""
    return both(same(past.withheld, state.episode.withheld), past.withheld <= state.version)


@invariant
def the_strictest_is_kept(state: State, past: Past) -> Term:
    """From edition 2 on: an open episode asks for as much as any policy did since its first unit began, and the unit
    as any since its own first turn."""
    unit, policy = state.unit, state.policy.numbers
    of_unit = when(unit.since_begun.failed > 0, unit.since_begun, policy)

    def as_much(numbers: Numbers, asked: Asked) -> Term:
        return both(numbers.failed >= asked.failed, numbers.warn >= asked.warn, numbers.severity >= asked.severity)

    kept = both(
        implies(is_open(state.episode), as_much(state.episode.numbers, past.of_episode)),
        implies(is_there(unit), as_much(of_unit, past.of_unit)),
    )
    return when(same(state.law, 1), same((past.of_unit, past.of_episode), (NOTHING_ASKED, NOTHING_ASKED)), kept)


@invariant
def an_ending_is_on_the_path(state: State, past: Past) -> Term:
    """There is an ending on a ground, or there is none."""
    ended = state.ended
    on_a_ground = both(ended.version > 0, ended.version <= state.version, ended.ground >= 1, ended.ground <= 2)
    return either(same(ended, w.NOT_ENDED), on_a_ground)


# --- Of every lawful event ------------------------------------------------------------------------------------------

Always = Callable[[State, Past, Event, State], Term]
ALWAYS: list[Always] = []


def always(holds: Always) -> Always:
    ALWAYS.append(holds)
    return holds


def of_harm(event: Event) -> Term:
    return both(event.kind == "ConversationEnded", same(event.ground, w.LAST_RESORT))


def on_request(event: Event) -> Term:
    return both(event.kind == "ConversationEnded", same(event.ground, w.ON_REQUEST))


@always
def an_ending_is_final(state: State, past: Past, event: Event, after: State) -> Term:
    """After an ending there is no turn, no verdict, no other ending; and it stays what it was."""
    was, is_now = state.ended, after.ended
    stays = same((was.version, was.ground, was.category), (is_now.version, is_now.ground, is_now.category))
    return implies(was.version > 0, both(event.kind in AFTER_THE_END, stays))


@always
def nothing_leads_to_an_end_under_risk(state: State, past: Past, event: Event, after: State) -> Term:
    """While a risk is open nobody is warned, nobody gives up hope, and nothing ends, on any ground."""
    ends = ("WarningGiven", "WarningWithheld", "HopeExhausted", "EndProposed", "ConversationEnded")
    return implies(at_risk(state), event.kind not in ends)


@always
def a_risk_is_over_when_authority_says_so(state: State, past: Past, event: Event, after: State) -> Term:
    """A risk that is open stays open until an operator or a named assessor clears it. A branch opens with all that is
    open in its tree."""
    if event.kind == "BranchOpened":
        return same(after.risks, state.fork.risks)
    by_name = both(same(event.by.kind, w.ASSESSOR), event.may_clear)
    cleared = both(event.kind == "RiskCleared", either(same(event.by.kind, w.OPERATOR), by_name))
    return every(
        implies(both(was, no(is_now)), cleared)
        for before, now_open in zip(state.risks, after.risks, strict=True)
        for was, is_now in zip(before, now_open, strict=True)
    )


@always
def an_ending_was_judged_free_of_risk(state: State, past: Past, event: Event, after: State) -> Term:
    """Nothing ends, on any ground, unless somebody other than the user and the model saw no risk in the latest turn,
    and nobody saw one in the unit."""
    said = state.unit.said
    by_another = some(said.safe[kind - 1] for kind in (w.ASSESSOR, w.OPERATOR, w.SYSTEM))
    return implies(event.kind == "ConversationEnded", both(by_another, no(said.at_risk), no(past.risk_seen)))


@always
def a_last_resort_is_one(state: State, past: Past, event: Event, after: State) -> Term:
    """Before an ending as last resort, whatever the policy says, two different redirections or more failed, and there
    were more harmful units than those. A complete warning of that category was given after two attempts, in edition 1
    after two failures; then the harm went on; then hope was given up. And the unit is harmful in that category, or in
    its group, and in nothing else."""
    if event.kind != "ConversationEnded":
        return True
    so_far, wishes, unit = now(state), state.wishes, state.unit
    warned = so_far.warnings[event.category]
    first, second, _ = past.failed
    # The one that the current unit makes fail is the pending one.
    fails = so_far.failed > state.episode.failed
    first = when(both(fails, same(state.episode.failed, 0)), state.episode.pending, first)
    second = when(both(fails, same(state.episode.failed, 1)), state.episode.pending, second)
    return implies(
        of_harm(event),
        both(
            so_far.failed >= 2,
            first > 0,
            first < second,
            past.harmful + 1 > so_far.failed,
            warned.complete,
            warned.version > 0,
            implies(same(state.law, 1), second < warned.version),
            so_far.attempted >= 2,
            warned.version < warned.tested_by,
            warned.tested_by <= unit.turn,
            unit.turn < wishes.hope,
            harmful_in(unit, event.category, state.policy, state.law),
        ),
    )


@always
def a_last_resort_is_the_models(state: State, past: Past, event: Event, after: State) -> Term:
    """An ending as last resort is by the conversation's own model, and that is eligible."""
    by_the_model = both(same(event.by.kind, w.MODEL), event.is_model, state.eligible)
    return implies(of_harm(event), by_the_model)


@always
def the_strictest_governs(state: State, past: Past, event: Event, after: State) -> Term:
    """From edition 2 on: an ending as last resort has as many failed redirections, and as severe harm, as any policy
    asked for since the episode began; and a warning as many attempts."""
    so_far = now(state)
    asked = when(is_open(state.episode), past.of_episode, past.of_unit)
    new = same(state.law, 2)
    if event.kind in ("WarningGiven", "WarningWithheld"):
        return implies(new, both(so_far.attempted >= asked.warn, state.unit.said.severity >= asked.severity))
    enough = both(so_far.failed >= asked.failed, state.unit.said.severity >= asked.severity)
    return implies(both(new, of_harm(event)), enough)


@always
def a_wish_is_the_users(state: State, past: Past, event: Event, after: State) -> Term:
    """An ending on request was asked for by a user in an earlier unit, and confirmed later, since the latest turn; from
    edition 2 on nobody else than who asked can confirm."""
    wishes = state.wishes
    request, confirmation = wishes.confirmed
    asked = both(
        request > 0, request < confirmation, request <= state.unit.turn, state.unit.turn < confirmation,
        same(wishes.to_confirm_by.kind, w.USER),
    )  # fmt: skip
    by_the_same = both(
        same(event.by.kind, w.USER), implies(wishes.to_confirm > 0, same(event.by, wishes.to_confirm_by))
    )
    confirms = both(event.kind == "EndConfirmed", same(state.law, 2))
    return both(implies(on_request(event), asked), implies(confirms, by_the_same))


@always
def the_shadow_says_nothing(state: State, past: Past, event: Event, after: State) -> Term:
    """In shadow mode nobody is warned; a warning is withheld in shadow mode only, and once an episode at most."""
    once = both(state.shadow, is_open(state.episode), same(past.withheld, 0))
    if event.kind == "WarningGiven":
        return no(state.shadow)
    return implies(event.kind == "WarningWithheld", once)


@always
def what_is_held_is_not_erased(state: State, past: Past, event: Event, after: State) -> Term:
    """While a legal hold stands nothing is erased; only an operator releases one. A branch opens with all that stand on
    its tree."""
    if event.kind == "BranchOpened":
        return same(after.holds, state.fork.holds)
    released = both(event.kind == "ErasureReleased", same(event.by.kind, w.OPERATOR))
    kept = every(
        implies(both(was, no(now_held)), released) for was, now_held in zip(state.holds, after.holds, strict=True)
    )
    return both(kept, implies(event.kind == "ContentErased", no(some(state.holds))))


@always
def an_appeal_is_decided_by_an_operator(state: State, past: Past, event: Event, after: State) -> Term:
    """Nobody but an operator finds an ending wrong, and only where it was appealed against."""
    found = both(event.kind == "AppealDecided", same(event.by.kind, w.OPERATOR), state.ended.appealed)
    return implies(both(no(state.ended.granted), after.ended.granted), found)


@always
def no_edition_comes_back(state: State, past: Past, event: Event, after: State) -> Term:
    """A conversation goes over to a later edition or to none."""
    return implies(state.named, after.law >= state.law)


@always
def the_end_is_one_event(state: State, past: Past, event: Event, after: State) -> Term:
    """A branch ends by a ConversationEnded and by nothing else; what opens at a fork has not ended."""
    ends = implies(both(same(state.ended.version, 0), after.ended.version > 0), event.kind == "ConversationEnded")
    return both(ends, implies(event.kind == "BranchOpened", same(after.ended.version, 0)))
