"""What a report leaves out cannot be worked out from what it publishes: by a reader who bounds what they do not see."""

from collections.abc import Iterator, Sequence
from functools import cache
from random import Random

import pytest

from lastresort.domain.events import ConversationStarted, RecordedEvent
from lastresort.projections.intervals import median_ranks
from lastresort.projections.reports.left_out import Numbers, left_out
from lastresort.projections.reports.narrowed import of_conversations
from lastresort.projections.reports.report import KEYS, GroupReport, LogReport, Spread, report

from .test_report import drawn

pytestmark = pytest.mark.xdist_group("report")  # with the other reports, so that each log is drawn once

ALWAYS = (
    "units = units.judged units.unjudged", "units.judged = units.verdict.*", "units.verdict.harmful = units.severity.*",
    "units.both = units.both.*", "episodes = episodes.opened episodes.carried",
    "episodes = episodes.relented episodes.ended.* episodes.left_open episodes.withdrawn",
    "redirections = redirections.succeeded redirections.failed redirections.pending redirections.void",
    "warnings = warnings.relented warnings.ended warnings.standing warnings.void.*",
    "attempts = attempts.of.*", "attempts = attempts.by.*", "attempts = attempts.to_end attempts.of.WarningGiven",
    "holds = holds.by.*", "hold_hours = holds.cleared_by.*", "endings = endings.ground.*", "endings = endings.by.*",
    "endings.ground.last_resort = endings.category.*", "endings.ground.last_resort = turns_to_ending",
    "endings.rated = endings.rated.*", "turns_to_ending = turns_to_ending.*", "hold_hours = hold_hours.*",
    "conversations.ended.last_resort = conversations.both conversations.bail_alone",
    "conversations.model_refused = conversations.both conversations.refusal_alone",
)  # fmt: skip
AS_A_RULE = (
    "units.verdict.harmful = units.category.*", "units.judged units.both = units.judged_by.*",
    "holds = holds.cleared_by.* holds.open", "attempts = attempts.rule.*",
    "conversations.attempt_refused = conversations.refused_under.*",
    "conversations.ended = conversations.ended.*", "endings = conversations.ended",
    "endings.ground.last_resort = conversations.ended.last_resort",
    "endings.ground.last_resort = episodes.ended.last_resort", "endings.ground.last_resort = warnings.ended",
    "endings.ground.user_request = conversations.ended.user_request",
    "endings.ground.user_request = episodes.ended.user_request", "warnings = conversations.warned",
    "redirections = conversations.redirected", "holds = conversations.held",
    "withheld = conversations.warning_withheld",
    "attempts = conversations.attempt_refused", "answers.refused = conversations.model_refused",
    "attempts.rule.no-end-at-risk = attempts.held", "attempts.held = attempts.held_alone",
)  # fmt: skip
AT_MOST = (
    "units.verdict.harmful <= units.category.*", "units.judged <= units.judged_by.*", "attempts <= attempts.rule.*",
    "units.both <= units.judged_by.model", "units.both <= units.judged_by.assessor",
    "holds.cleared_by.* holds.open <= holds", "conversations.ended <= conversations.ended.*",
    "conversations.ended.last_resort <= conversations.ended", "conversations.ended <= endings",
    "conversations.ended.last_resort <= endings.ground.last_resort", "warnings.ended <= endings.ground.last_resort",
    "conversations.redirected <= redirections", "conversations.warned <= warnings", "conversations.held <= holds",
    "conversations.attempt_refused <= attempts", "conversations.model_refused <= answers.refused",
    "conversations.harmful <= units.verdict.harmful", "attempts.held <= attempts.rule.no-end-at-risk",
    "conversations <= units answers branches.opened endings attempts holds",
)  # fmt: skip
MANY = 10**6
Line = tuple[tuple[tuple[int, str], ...], int]  # so many times each, which adds up to at most so much


class Seen:
    """The numbers of a group: what they are, what a reader sees, and what is the base of what."""

    def __init__(self, number: int, told: GroupReport, true: GroupReport) -> None:
        self.truth = {name: one.count or 0 for name, one in true.figures.items()}
        self.shown = {name: one.count for name, one in told.figures.items()}
        self.bases = {name: one.base for name, one in told.figures.items()}
        for name, spread in true.spreads.items():
            self.truth[name], self.shown[name] = spread.of or 0, told.spreads[name].of
            public = {one.low: one.times for one in told.spreads[name].bins}
            for one in spread.bins:
                self.truth[f"{name}.{one.low}"], self.shown[f"{name}.{one.low}"] = one.times or 0, public.get(one.low)
        self.number, self.spreads = number, told.spreads

    def names(self, side: str) -> list[str]:
        found = []
        for one in side.split():
            begins = one.removesuffix("*")
            found += [name for name in self.truth if name == one or (one != begins and name.startswith(begins))]
        return found

    def lines(self) -> Iterator[Line]:
        """Everything that a reader knows of how these numbers are related."""
        for told in (*ALWAYS, *(one for one in AS_A_RULE if self.holds(one))):
            left, right = map(self.names, told.split(" = "))
            yield self.line(left, right)
            yield self.line(right, left)
        for told in AT_MOST:
            if not self.holds(told.replace(" <= ", " = ")) or told in AT_MOST[:3]:
                left, right = map(self.names, told.split(" <= "))
                if sum(map(self.truth.__getitem__, left)) <= sum(map(self.truth.__getitem__, right)):
                    yield self.line(left, right)
        yield from (
            self.line([name], [base]) for name, base in self.bases.items() if base in self.truth and self.per(name)
        )
        for name, spread in self.spreads.items():
            yield from self.of_median(name, spread)

    def per(self, name: str) -> bool:
        return not name.startswith("attempts.rule.")

    def holds(self, told: str) -> bool:
        left, right = (sum(self.truth[name] for name in self.names(side)) for side in told.split(" = "))
        return left == right

    def line(self, left: Sequence[str], right: Sequence[str], more: int = 0) -> Line:
        return tuple([(1, self.of(one)) for one in left] + [(-1, self.of(one)) for one in right]), more

    def of(self, name: str) -> str:
        return f"{self.number} {name}"

    def of_median(self, name: str, spread: Spread) -> Iterator[Line]:
        if spread.of and spread.median is not None and spread.interval is not None:
            values = spread.interval.low, spread.median, spread.interval.high
            for rank, value in zip(median_ranks(spread.of), values, strict=True):
                before = [f"{name}.{one.low}" for one in spread.bins if one.high is not None and one.high < value]
                upto = [f"{name}.{one.low}" for one in spread.bins if one.low <= value]
                yield self.line(before, [], rank - 1)
                yield self.line([], upto, -rank)


def worked_out(told: LogReport, true: LogReport) -> list[str]:
    """What a reader of a report can tell of what it leaves out, though it is not nothing."""
    seen = [Seen(number, *both) for number, both in enumerate(zip(told.groups, true.groups, strict=True))]
    truth = {one.of(name): count for one in seen for name, count in one.truth.items()}
    least, most = {}, {}
    for one in seen:
        for name, count in one.shown.items():
            base = one.bases.get(name)
            zero = count is None and ((base in one.shown and one.shown[base] is None) or name not in one.bases)
            least[one.of(name)] = count if count is not None else 0 if zero else 1
            most[one.of(name)] = MANY if count is None else count
    lines = [line for one in seen for line in one.lines()]
    for left, right in (
        ("endings.ground.last_resort", "episodes.ended.last_resort"), ("endings.ground.last_resort", "warnings.ended"),
        ("endings.ground.user_request", "episodes.ended.user_request"),
    ):  # fmt: skip
        here, there = ([one.of(name) for one in seen if name in one.truth] for name in (left, right))
        if sum(truth[name] for name in here) == sum(truth[name] for name in there):
            both = tuple([(1, name) for name in here] + [(-1, name) for name in there])
            lines += [(both, 0), (tuple((-sign, name) for sign, name in both), 0)]
    squeezed(lines, least, most)
    assert all(least[name] <= count <= most[name] for name, count in truth.items()), "what a reader knows is true"
    hidden = [one.of(name) for one in seen for name, count in one.shown.items() if count is None]
    return [name for name in hidden if truth[name] and least[name] == most[name]]


def squeezed(lines: Sequence[Line], least: dict[str, int], most: dict[str, int]) -> None:
    """Narrow the bounds as far as each line does by itself, for some rounds."""
    open_lines = [line for line in lines if any(least[name] < most[name] for _, name in line[0])]
    for _ in range(40):
        narrowed = False
        for terms, limit in open_lines:
            lowest = sum(least[name] if sign > 0 else -most[name] for sign, name in terms)
            for sign, name in terms:
                room = limit - lowest + (least[name] if sign > 0 else -most[name])
                if sign > 0 and room < most[name]:
                    most[name], narrowed = room, True
                elif sign < 0 and -room > least[name]:
                    least[name], narrowed = -room, True
                lowest = sum(least[name] if sign > 0 else -most[name] for sign, name in terms)
        if not narrowed:
            return


@cache
def conversations(seed: int) -> tuple[str, ...]:
    return tuple(one.branch for one in drawn(seed) if isinstance(one.event, ConversationStarted))


@pytest.mark.parametrize("by", [(), ("month",), ("arm", "model"), KEYS])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_is_left_out_can_be_worked_out(seed: int, by: Sequence[str]) -> None:
    """On logs in which everything happens, large and small, from whichever number on it is published."""
    chance = Random(f"{seed} {by}")
    of = conversations(seed)
    hidden = 0
    for share in (1.0, 0.7, 0.4, 0.2, 0.1):
        log: Sequence[RecordedEvent] = drawn(seed)
        if share < 1:
            log = [*of_conversations(log, chance.sample(of, int(share * len(of))))]
        true = report(log, by=by, smallest=1)
        for smallest in (2, 3, 5, 10):
            told = report(log, by=by, smallest=smallest)
            assert worked_out(told, true) == [], (share, smallest)
            hidden += sum(one.suppressed for group in told.groups for one in group.figures.values())
    assert hidden


# --- One by one -------------------------------------------------------------------------------------------------------


def numbers(**counts: int) -> Numbers:
    """Numbers without bases; in their names two underscores stand for a dot."""
    named = {name.replace("__", "."): count for name, count in counts.items()}
    begins = ("units.category.", "endings.ground.", "attempts.rule.", "conversations.refused_under.")
    families = {one: [name for name in named if name.startswith(one)] for one in begins}
    return Numbers(named, {}, frozenset(), families, ())


def out(smallest: int = 5, **counts: int) -> set[str]:
    (found,) = left_out([numbers(**counts)], smallest)
    return found


def test_one_part_that_is_missing() -> None:
    """It follows from the rest, so that the smallest other part goes with it, or else the sum."""
    assert out(episodes=33, episodes__opened=30, episodes__carried=3) == {"episodes.opened", "episodes.carried"}
    assert out(episodes=33, episodes__relented=20, episodes__left_open=10, episodes__withdrawn=3) == {
        "episodes.left_open", "episodes.withdrawn",
    }  # fmt: skip
    assert out(episodes=30, episodes__opened=30, episodes__carried=0) == set()


def test_parts_that_are_one_each() -> None:
    """As many as are left of the sum are one each: a reader can count. Nor may each be the most that it can be."""
    both = {"warnings.relented", "warnings.standing"}
    assert out(warnings=22, warnings__ended=20, warnings__relented=1, warnings__standing=1) == {
        "warnings.ended", *both,
    }  # fmt: skip
    assert out(warnings=23, warnings__ended=20, warnings__relented=2, warnings__standing=1) == both
    assert out(warnings=28, warnings__ended=20, warnings__relented=4, warnings__standing=4) == {
        "warnings.ended", *both,
    }  # fmt: skip
    assert out(2, warnings=23, warnings__ended=20, warnings__relented=1, warnings__standing=2) == both


def test_one_number_under_two_names() -> None:
    """What is left out under one is left out under the other, where they are the same, in whatever sum that is."""
    ended = {"endings": 25, "endings__ground__last_resort": 23, "endings__ground__user_request": 2}
    as_conversations = {"conversations__ended__last_resort": 23, "conversations__both": 10}
    hidden = out(**ended, **as_conversations, conversations__bail_alone=13, episodes__ended__last_resort=22)
    assert hidden == {
        "endings.ground.last_resort", "endings.ground.user_request", "conversations.ended.last_resort",
        "conversations.both",
    }  # fmt: skip
    assert out(attempts__rule__a=4, conversations__refused_under__a=4) == {
        "attempts.rule.a", "conversations.refused_under.a",
    }  # fmt: skip


def test_categories_where_each_unit_has_one() -> None:
    """They add up to the harmful ones, unless some have several."""
    harm = {"units__verdict__harmful": 50, "units__category__threats": 1}
    assert out(**harm, units__category__abuse=49) == {"units.category.abuse", "units.category.threats"}
    assert out(**harm, units__category__abuse=50) == {"units.category.threats"}


def test_no_more_than_there_is_of_a_base() -> None:
    """Two of two conversations, where two rules stopped one each: then how many they are is not told either."""
    counted = {"conversations": 2, "conversations.attempt_refused": 2}
    by_rule = {"conversations.refused_under.a": 1, "conversations.refused_under.b": 1}
    bases = dict.fromkeys(("conversations.attempt_refused", *by_rule), "conversations")
    families = {"conversations.refused_under.": list(by_rule)}
    (hidden,) = left_out([Numbers({**counted, **by_rule}, bases, frozenset(), families, ())], 2)
    assert hidden == {*counted, *by_rule}


def test_what_all_groups_have_together() -> None:
    """An ending counts where it is, its episode where it began; over all groups they are as many."""
    here = {"endings": 22, "endings__ground__last_resort": 20, "endings__ground__user_request": 2}
    there = numbers(endings__ground__last_resort=10, episodes__ended__last_resort=11)
    hidden = left_out([numbers(**here, episodes__ended__last_resort=19), there], 5)
    assert hidden == [{"endings.ground.last_resort", "endings.ground.user_request"}, {"endings.ground.last_resort"}]
    apart = left_out([numbers(**here, episodes__ended__last_resort=18), there], 5)
    assert apart == [{"endings.ground.last_resort", "endings.ground.user_request"}, set()]


def test_bins_that_the_median_tells() -> None:
    """Where a rank of it ends a bin, a reader knows how many there are up to there."""
    counted = {"hold_hours": 20, "hold_hours.0": 4, "hold_hours.1": 3, "hold_hours.2": 13, "hold_hours median": 20}
    bases = dict.fromkeys(("hold_hours.0", "hold_hours.1", "hold_hours.2", "hold_hours median"), "hold_hours")
    families = {"hold_hours.": ["hold_hours.0", "hold_hours.1", "hold_hours.2"]}
    small = {"hold_hours.0", "hold_hours.1"}
    for told, more in (((), set()), (("hold_hours.0",), {"hold_hours median"})):
        also = [(("hold_hours median",), told)] if told else []
        (hidden,) = left_out([Numbers(counted, bases, frozenset(), families, also)], 5)
        assert hidden == small | more
