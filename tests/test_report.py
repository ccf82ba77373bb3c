"""Reports: each number counted a second way on random logs, what is not published, and what is in no report at all."""

import gc
from collections import Counter
from collections.abc import Sequence
from enum import Enum
from functools import cache
from math import sqrt
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import BaseModel

from bench.diverse import diverse
from bench.stories import write
from lastresort import Chat, Conversations, Policy, Rating, Risk, Verdict, open_conversations
from lastresort.adapters.testing.strategies import trees
from lastresort.domain.events import (
    AssistantTurnTaken,
    ContentErased,
    ConversationEnded,
    ConversationStarted,
    Evidence,
    FeedbackGiven,
    RecordedEvent,
    UserLeft,
)
from lastresort.domain.policy import RECALLED
from lastresort.domain.values import ErasureCause
from lastresort.projections.replay import fork_points
from lastresort.projections.reports.counts import Counts
from lastresort.projections.reports.lines import Counted
from lastresort.projections.reports.report import KEYS, MEASURES, LogReport, NotWhole, report

from .report_again import Again
from .stores import MODEL, OPERATOR, abused, chats, done, ended, ended_on_request, log_of, redirected, thanked

__all__ = ["chats"]

pytestmark = pytest.mark.xdist_group("report")  # one worker, so that each log is drawn once


@cache
def drawn(seed: int, events: int = 2_500) -> tuple[RecordedEvent, ...]:
    """A lawful log over some months, in which models decline and people rate."""
    with open_conversations("memory:") as told:
        write(told.store, diverse(events, seed))
        log = list(told.store.log())
    chance = Random(seed)
    hours = 0.0
    varied, at = [], ""
    for one in log:
        if one.recorded_at != at:
            at, hours = one.recorded_at, hours + chance.choice((0.01, 0.02, 0.5, 3))
        event: Any = one.event
        if isinstance(event, AssistantTurnTaken) and chance.random() < 0.05:
            event = event.model_copy(update={"stop_reason": "refusal"})
        if isinstance(event, ConversationStarted) and event.account:
            event = event.model_copy(update={"account": f"a-{int(event.account.rpartition('-')[2]) % 20}"})
        if isinstance(event, FeedbackGiven):
            event = event.model_copy(update={"rating": chance.choice((None, Rating.UP, Rating.DOWN))})
        day, hour = divmod(int(hours), 24)
        month, day = divmod(day, 28)
        when = (
            f"{2026 + month // 12}-{month % 12 + 1:02}-{day + 1:02}T{hour:02}:{int(hours * 60) % 60:02}:00.000000+00:00"
        )
        varied.append(one._replace(event=event, recorded_at=when))
    return tuple(varied)


def erased(log: Sequence[RecordedEvent], seed: int, *, later: bool) -> list[RecordedEvent]:
    """The log after the words of each branch were erased: at any place after its last event, or a month after all."""
    chance = Random(seed)
    last = {one.branch: place for place, one in enumerate(log)}
    places: dict[int, list[RecordedEvent]] = {}
    for place in last.values():
        at = len(log) - 1 if later else chance.randrange(place, len(log))
        event = ContentErased(by=OPERATOR, contents=(), cause=ErasureCause.USER_REQUEST)
        one = log[place]._replace(kind=event.kind, event=event, version=log[place].version + 1)
        places.setdefault(at, []).append(one._replace(recorded_at="2027-12-01" if later else log[at].recorded_at))
    return [one for place, event in enumerate(log) for one in (event, *places.get(place, ()))]


def counted(log: Sequence[RecordedEvent], **options: Any) -> Counted:
    counts = Counts(forks=fork_points(log), **options)
    counts.take(log)
    return counts.finish()


def assert_same(log: Sequence[RecordedEvent], by: Sequence[str] = (), **period: str) -> None:
    found, again = counted(log, by=by, **period), Again(log, by, **period).counted()
    told = {group.key: Counter(group.counts) for group in found.groups}
    assert told == again.counts
    spread = {group.key: group.spreads for group in found.groups if group.spreads}
    assert spread == again.spreads


@pytest.mark.parametrize("by", [(), KEYS, ("month",), ("arm", "model")])
@pytest.mark.parametrize("seed", range(3))
def test_every_number_is_what_it_is_counted_another_way(seed: int, by: Sequence[str]) -> None:
    """On logs in which everything happens."""
    assert_same(drawn(seed), by)


def test_of_a_log_in_which_everything_comes_up() -> None:
    """What seldom happens too; or it would not have been compared with anything."""
    log = drawn(3, 12_000)
    assert_same(log)
    came = {name for group in counted(log).groups for name, number in group.counts.items() if number}
    never = {one.name for one in MEASURES if not any(name.startswith(one.name) for name in came)}
    assert len(never) < 5


@pytest.mark.parametrize(("since", "until"), [("2026-02", "2026-02"), ("2026-01-15", "2026-03"), ("2026-03", "2027")])
def test_a_period(since: str, until: str) -> None:
    """What happened within it counts, what it came from or led to does not."""
    assert_same(drawn(2), ("month",), since=since, until=until)


@settings(max_examples=60, deadline=None)
@given(trees())
def test_of_trees(log: tuple[RecordedEvent, ...]) -> None:
    """And of lawful trees that are drawn small."""
    assert_same(log)
    assert_same(log, KEYS)


# --- Shares -----------------------------------------------------------------------------------------------------------


def wilson(count: int, of: int) -> tuple[float, float]:
    """The shares of which a sample like this is at most 1.96 standard deviations away, found by bisection."""

    def away(share: float) -> float:
        return (count / of - share) / max(1e-12, sqrt(share * (1 - share) / of))

    def found(z: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if away(middle) > z else (low, middle)
        return low

    return found(1.959963984540054), found(-1.959963984540054)


def test_shares_and_their_intervals() -> None:
    """The count of the base, per as many as is told, with the interval of Wilson."""
    found = report(drawn(1), smallest=1).groups[0].figures
    assert len(found) > len(MEASURES)
    for figure in found.values():
        if figure.base is None:
            assert (figure.of, figure.rate, figure.interval) == (None, None, None)
            continue
        assert figure.of == found[figure.base].count if figure.base in found else figure.of == 0
        assert figure.count is not None
        if not figure.of:
            assert figure.rate is None
            continue
        assert figure.rate == pytest.approx(figure.per * figure.count / figure.of)
        if figure.interval is not None:
            low, high = (bound / figure.per for bound in figure.interval)
            assert (low, high) == pytest.approx(wilson(figure.count, figure.of), abs=2e-6)
    without = {name for name, one in found.items() if one.of and one.interval is None}
    assert without == {name for name in found if name.startswith("attempts.rule.")}  # not shares: several to one


def test_the_branches_behind_a_number(chats: Conversations) -> None:
    """The first ones are named, of a conversation its root; as many as are asked for."""
    for number in range(8):
        ended(chats.start(model=MODEL.id, conversation=f"c-{number}"))
    child = done(chats.chat("c-0").edit(2, "Hello.", child="c-0-child"))
    abused(child)
    redirected(child)
    of = report(log_of(chats), branches=7, smallest=1).groups[0].figures
    assert of["endings"].branches == tuple(f"c-{number}" for number in range(7))
    assert of["redirections"].count == 25
    assert len(report(log_of(chats), smallest=1).groups[0].figures["redirections"].branches) == 9
    assert report(log_of(chats), branches=0).groups[0].figures["endings"].branches == ()
    assert report(log_of(chats), branches=0).endings == ()


def ended_after_a_warning(chat: Chat) -> None:
    """End as last resort what has had its redirections."""
    done(chat.assistant_turn("Stop, please, or I end this."))
    done(chat.warn("abuse"))
    abused(chat)
    done(chat.declare_hope_exhausted())
    done(chat.end(category="abuse"))


def test_an_ending_and_what_it_stands_on(chats: Conversations) -> None:
    """With when each was recorded, that on the path before a fork too."""
    chat = chats.start(model=MODEL.id, conversation="c")
    for _ in range(2):
        abused(chat)
        redirected(chat)
    abused(chat)
    done(chat.assistant_turn("I see."))
    child = done(chat.edit(10, "You tin can.", child="d"))
    done(child.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE))
    log = [*log_of(chats)]
    assert not report(log, smallest=1).endings
    for _ in range(3):
        redirected(child)
        abused(child)
    ended_after_a_warning(child)
    log = log_of(chats)
    (row,) = report(log, smallest=1).endings
    when = {(one.branch, one.version): one.recorded_at for one in log}
    inherited = [version for version in row.evidence.redirections if version < 10]
    assert inherited
    assert row.branch == "d"
    stands_on = [*row.evidence.redirections, row.evidence.warning or 0, row.evidence.hope or 0]
    assert row.dates == {version: when["c" if version < 10 else "d", version] for version in stands_on}


def test_an_ending_after_more_than_is_kept_of_a_branch(chats: Conversations) -> None:
    """Of what an ending can stand on no more, the dates are dropped; not of what it stands on."""
    chat = chats.start(model=MODEL.id, conversation="c")
    abused(chat)
    redirected(chat)
    for _ in range(2 * RECALLED):
        abused(chat)
        done(chat.request_end())
        done(chat.assistant_turn("Shall I end this conversation for good?"))
    for _ in range(2):
        abused(chat)
        redirected(chat)
    abused(chat)
    ended_after_a_warning(chat)
    log = log_of(chats)
    (row,) = report(log, smallest=1).endings
    found = row.evidence
    stands_on = [*found.redirections, found.warning or 0, found.hope or 0]
    assert min(stands_on) < 10
    assert row.dates == {version: log[version - 1].recorded_at for version in stands_on}


# --- What is not published --------------------------------------------------------------------------------------------


def figures(found: LogReport) -> dict[str, int | None]:
    return {name: one.count for name, one in found.groups[0].figures.items()}


def test_small_numbers_are_left_out(chats: Conversations) -> None:
    """And what would give them away: what is left of their base, and one more where one of a sum is missing."""
    for story, times in ((ended, 3), (thanked, 20)):
        for number in range(times):
            story(chats.start(model=MODEL.id, conversation=f"{story.__name__}-{number}"))
    found = report(log_of(chats))
    told = figures(found)
    assert told["conversations"] == 23
    assert told["endings"] is told["endings.ground.last_resort"] is told["conversations.ended"] is None
    assert told["endings.appealed"] is None  # its base is not published
    assert told["attempts"] == 0
    assert (told["units.verdict.harmful"], told["units.verdict.productive"]) == (15, 20)
    assert found.groups[0].spreads["turns_to_ending"].suppressed
    assert found.endings == ()
    hidden = found.groups[0].figures["endings"]
    assert (hidden.of, hidden.rate, hidden.interval, hidden.branches) == (None, None, None, ())
    for number in range(30):
        chat = chats.start(model=MODEL.id, conversation=f"more-{number}")
        abused(chat)
        if number < 2:
            done(chat.judge(Verdict.AMBIGUOUS, risk=Risk.NONE, by=OPERATOR))
    told = figures(report(log_of(chats)))
    assert told["units.verdict.ambiguous"] is None
    assert told["units.verdict.productive"] is None  # the smaller of the others
    assert told["units.verdict.harmful"] == 43
    everything = figures(report(log_of(chats), smallest=1))
    assert None not in everything.values()
    assert everything["endings"] == 3


def test_what_is_left_of_a_base_is_not_published(chats: Conversations) -> None:
    """Where 22 of 23 were judged, one was not."""
    for number in range(23):
        (thanked if number else lambda chat: done(chat.user_turn("Hello.")))(
            chats.start(model=MODEL.id, conversation=f"c-{number}")
        )
    told = figures(report(log_of(chats)))
    assert told["units"] == 23
    assert told["units.judged"] is told["units.unjudged"] is None


def test_bins_that_are_small() -> None:
    """One alone would follow from the rest."""
    for seed in range(3):
        for by in ((), ("arm",)):
            for group in report(drawn(seed), by=by).groups:
                for spread in group.spreads.values():
                    times = [one.times for one in spread.bins]
                    assert times.count(None) != 1 or len([one for one in times if one]) == 0
                    assert all(one is None or one == 0 or one >= 5 for one in times)
                    assert spread.suppressed or sum(one or 0 for one in times) <= (spread.of or 0)


# --- What it is a report of -------------------------------------------------------------------------------------------


def test_it_is_the_same_without_words(chats: Conversations) -> None:
    """Nothing in it comes from what was said, and nothing changes in it when that is erased."""
    for number in range(6):
        ended(chats.start(model=MODEL.id, conversation=f"c-{number}", account=f"a-{number}"))
    log = log_of(chats)
    before = report(log, by=KEYS)
    for number in range(6):
        assert not chats.erase_account(f"a-{number}", by=OPERATOR, cause=ErasureCause.USER_REQUEST).refused
    assert len(log_of(chats)) == len(log) + 6
    assert report(log_of(chats), by=KEYS) == before


@pytest.mark.parametrize(
    "asked", [{}, {"by": ("month",)}, {"by": KEYS}, {"by": ("month",), "since": "2026-03"}, {"until": "2026-02-10"}]
)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_same_after_everything_was_erased(seed: int, asked: dict[str, Any]) -> None:
    """At any time after a branch was still, in the months of the log and in a later one."""
    log = drawn(seed)
    for later in (False, True):
        without = erased(log, seed, later=later)
        assert len(without) > len(log)
        assert report(without, **asked).model_dump_json() == report(log, **asked).model_dump_json()


def test_the_same_log_gives_the_same_bytes() -> None:
    """Read twice, or once, or from anywhere."""
    log = drawn(2)
    first = report(log, by=KEYS).model_dump_json()
    assert first == report(iter(log), by=KEYS).model_dump_json()
    assert first == report(iter(log), by=KEYS, forks=fork_points(log)).model_dump_json()
    assert report([]).groups == ()


def test_a_log_that_is_not_whole() -> None:
    """A number from it would be wrong."""
    log = drawn(2)
    with pytest.raises(NotWhole, match=r"branch \S+: what began it, or its parent, is missing"):
        report(log[1:])
    with pytest.raises(NotWhole, match=r"branch \S+: version \d+ follows \d+"):
        report([one for one in log if one.version != 5])


def held(log: Sequence[RecordedEvent]) -> int:
    """How many collections and records a count holds on to, beside its numbers and what the events consist of."""
    counts = Counts(most=0, forks=fork_points(log))
    counts.take(log)
    groups = set(map(id, counts._groups.values()))
    found: set[int] = set()
    left: list[object] = [counts._replay, counts._lines, counts._trees, counts._before_turns, counts._left]
    while left:
        one = left.pop()
        if id(one) in found | groups or isinstance(one, type | ModuleType | BaseModel | Enum):
            continue
        if gc.is_tracked(one):
            found.add(id(one))
            left += gc.get_referents(one)
    return len(found)


def test_what_it_holds_does_not_grow_with_what_happened() -> None:
    """Of a branch that ended as much as of any other that ended, and less than of one that goes on."""

    def log(conversations: int, more: int, *, ends: bool) -> list[RecordedEvent]:
        with open_conversations("memory:") as told:
            for number in range(conversations):
                chat = told.start(model=MODEL.id, conversation=f"c-{number}", account=f"a-{number}")
                for _ in range(more):
                    abused(chat)
                    redirected(chat)
                abused(chat)
                if ends:
                    redirected(chat)
                    ended(chat)
            return log_of(told)

    assert held(log(1, 0, ends=True)) == held(log(1, 9, ends=True))
    assert held(log(1, 3, ends=False)) == held(log(1, 9, ends=False))
    one, several = (held(log(number, 1, ends=True)) for number in (1, 4))
    going_on = held(log(4, 1, ends=False)) - held(log(1, 1, ends=False))
    assert several - one < going_on


def test_what_is_said_before_an_ending_counts_for_none(chats: Conversations) -> None:
    """A rating of a conversation that goes on is none of an ending; nor is what comes again counted again."""
    chat = chats.start(model=MODEL.id)
    thanked(chat)
    done(chat.feedback(Rating.UP))
    done(chat.assistant_turn("Gladly."))
    done(chat.edit(2, "Hello."))
    found = report(log_of(chats), smallest=1).groups[0].figures
    assert (found["endings.rated"].count, found["endings.branched"].count, found["branches.opened"].count) == (0, 0, 1)


def test_a_time_in_another_form(chats: Conversations) -> None:
    """ISO 8601 has several."""
    thanked(chats.start(model=MODEL.id))
    log = [one._replace(recorded_at="20260131T120000Z") for one in log_of(chats)]
    assert [group.key for group in report(log, by=("month",)).groups] == [{"month": "2026-01"}]
    assert report(log, since="2026-02").groups == ()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"by": ("mood",)}, r"by: nothing has that name \(length 4\); group by model, policy, mode, arm, month"),
        ({"by": ("arm", "arm")}, "by: name each once"),
        ({"since": "2026"}, "since: write a day or a month, as 2026-07-31 or 2026-07"),
        ({"until": "2026-02-30"}, "until: write a day or a month"),
        ({"since": "2026-03-02", "until": "2026-03-01"}, "since: is after until"),
        ({"since": "2026-04-02", "until": "2026-03"}, "since: is after until"),
        ({"smallest": -1}, "smallest: 0 is the least"),
        ({"branches": -1}, "branches: 0 is the least"),
    ],
)
def test_what_cannot_be_asked(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        report([], **options)


def test_another_policy_closes_an_episode(chats: Conversations) -> None:
    """Where it asks for fewer productive turns than there were: the users had relented."""
    for number in range(2):
        chat = chats.start(model=MODEL.id, policy=Policy(name="slow", productive_to_close=3))
        abused(chat)
        redirected(chat)
        thanked(chat)
        done(chat.assistant_turn("Gladly."))
        if number:
            thanked(chat)
            done(chat.assistant_turn("Gladly."))
        done(chat.user_turn("And?"))
        done(chat.change_policy(Policy(name="quick", productive_to_close=1), by=OPERATOR))
        done(chat.assistant_turn("So."))
    assert_same(log_of(chats))
    found = report(log_of(chats), smallest=1).groups[0].figures
    assert (found["episodes"].count, found["episodes.relented"].count) == (2, 2)


def test_of_a_log_that_breaks_the_law() -> None:
    """What is there counts: only an audit says what is wrong with it."""
    log = drawn(1)
    for one in (UserLeft(by=OPERATOR), None):
        broken: list[RecordedEvent] = []
        for recorded in log:
            event: Any = recorded.event
            if isinstance(event, ConversationEnded):
                event = one or event.model_copy(update={"evidence": Evidence(hope=1)})
            broken.append(recorded._replace(event=event))
        found = report(broken, smallest=1, branches=10)
        assert bool(found.groups[0].figures["endings"].count) is (one is None)
        assert all(row.dates == {} for row in found.endings)


def test_what_is_spread_gives_no_number_away(chats: Conversations) -> None:
    """How many endings as last resort there are would tell how few were asked for; of holds, how few are open."""
    for number in range(6):
        ended(chats.start(model=MODEL.id))
        chat = chats.start(model=MODEL.id)
        thanked(chat)
        done(chat.raise_risk(risk="r", by=OPERATOR))
        if number:
            done(chat.clear_risk("r", by=OPERATOR))
    assert report(log_of(chats), smallest=1).groups[0].spreads["turns_to_ending"].of == 6
    ended_on_request(chats.start(model=MODEL.id))
    group = report(log_of(chats)).groups[0]
    assert (group.figures["endings"].count, group.figures["holds"].count) == (7, 6)
    assert all(one.suppressed and one.of is None and one.bins == () for one in group.spreads.values())
    shown = report(log_of(chats), smallest=1).groups[0].spreads
    assert (shown["turns_to_ending"].of, shown["hold_hours"].of) == (6, 5)


def test_one_small_bin_takes_another_with_it(chats: Conversations) -> None:
    """The seven endings are known, so that six of one kind would tell of the seventh."""
    for number in range(7):
        chat = chats.start(model=MODEL.id)
        for _ in range(number == 0):
            abused(chat)
            redirected(chat)
        ended(chat)
    spread = report(log_of(chats)).groups[0].spreads["turns_to_ending"]
    assert spread.of == 7
    assert [one.times for one in spread.bins] == [0, 0, 0, 0, None, None]
