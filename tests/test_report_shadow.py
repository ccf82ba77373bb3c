"""The shadow beside what is enforced, and reports of some conversations alone: pure folds over a log."""

import pytest

from lastresort import Chat, Conversations, Policy, open_conversations
from lastresort.domain.events import RecordedEvent
from lastresort.domain.values import Mode
from lastresort.projections.experiment import experiment
from lastresort.projections.intervals import Interval, difference_interval, share_interval
from lastresort.projections.reports.narrowed import of_conversations
from lastresort.projections.reports.report import LogReport, report
from lastresort.projections.reports.shadow import BY, BY_POLICY, ROWS, Comparison, Row, shadow_against_enforced

from .stores import MODEL, abused, done, ended, ended_on_request, log_of, redirected, thanked

OTHER = Policy(name="other", min_redirections_to_warn=2)


def withheld(chat: Chat, *, relents: bool) -> Chat:
    """Go up to a warning that is withheld; then the user relents, or goes on."""
    for _ in range(3):
        abused(chat)
        redirected(chat)
    abused(chat)
    done(chat.assistant_turn("I would rather help."))
    done(chat.redirect())
    done(chat.withhold_warning("abuse"))
    if relents:
        thanked(chat)
    else:
        abused(chat)
    return chat


def told(chats: Conversations) -> None:
    """Eight conversations on either side: of the enforced ones all end; in the shadow half of the users go on."""
    for number in range(8):
        ended(chats.start(model=MODEL.id, conversation=f"e-{number}", account=f"a-{number}", arm="x:on"))
        shy = chats.start(
            model=MODEL.id, conversation=f"s-{number}", account=f"b-{number}", arm="x:shadow", mode=Mode.SHADOW
        )
        withheld(shy, relents=number % 2 == 0)
    for number in range(6):
        thanked(chats.start(model=MODEL.id, conversation=f"o-{number}", policy=OTHER))
    ended_on_request(chats.start(model=MODEL.id, conversation="alone", mode=Mode.SHADOW, policy=OTHER))


@pytest.fixture(scope="module")
def log() -> list[RecordedEvent]:
    with open_conversations("memory:") as chats:
        told(chats)
        return list(log_of(chats))


def rows(one: Comparison) -> dict[str, Row]:
    assert tuple(row.name for row in one.rows) == ROWS
    return {row.name: row for row in one.rows}


def test_what_can_be_compared_is_compared_with_intervals(log: list[RecordedEvent]) -> None:
    (found,) = shadow_against_enforced(report(log, by=BY, smallest=1))
    assert (found.policy, found.enforced, found.shadow) == (None, 14, 9)
    of = rows(found)
    warned = of["warned"]
    assert (warned.enforced.count, warned.enforced.of, warned.shadow.count, warned.shadow.of) == (8, 14, 8, 9)
    assert warned.enforced.share == pytest.approx(800 / 14)
    wilson = share_interval(8, 14)
    assert wilson is not None
    assert warned.enforced.interval == Interval(100 * wilson.low, 100 * wilson.high)
    newcombe = difference_interval(8, 9, 8, 14)
    assert newcombe is not None
    assert warned.difference == pytest.approx(800 / 9 - 800 / 14)
    assert warned.difference_interval == Interval(100 * newcombe.low, 100 * newcombe.high)
    assert warned.apart is (not newcombe.has(0))
    went_on = of["within_reach"]
    assert (went_on.enforced.count, went_on.enforced.of) == (8, 8)
    assert (went_on.shadow.count, went_on.shadow.of) == (4, 8)
    assert of["relented_after_warning"].shadow.count == 4
    endings = of["ended_last_resort"]
    assert (endings.enforced.count, endings.shadow.count, endings.difference) == (8, None, None)
    assert of["held"].enforced.count == 0
    assert of["held"].difference == 0


def test_it_says_what_the_report_of_an_experiment_says(log: list[RecordedEvent]) -> None:
    """Where both count the same: conversations of one account each."""
    arms = {one.arm: one for one in experiment(log).arms}
    of = rows(shadow_against_enforced(report(log, by=BY, smallest=1))[0])
    for name in ("relented_after_redirection", "relented_after_warning"):
        assert of[name].shadow.count == arms["x:shadow"].totals[name], name
        assert of[name].enforced.count == arms["x:on"].totals[name], name


def test_policies_stand_by_themselves_and_what_is_small_is_not_published(log: list[RecordedEvent]) -> None:
    found = shadow_against_enforced(report(log, by=BY_POLICY))
    one = next(each for each in found if each.policy == OTHER.hash)
    assert (one.enforced, one.shadow) == (6, None)
    assert all(row.shadow.share is None and row.difference is None for row in one.rows)
    assert rows(one)["harmful"].shadow.suppressed
    assert rows(one)["relented_after_redirection"].enforced.share is None  # there was none to relent after
    (other,) = (each for each in found if each.policy != OTHER.hash)
    assert (other.enforced, other.shadow) == (8, 8)
    assert rows(other)["within_reach"].shadow.suppressed  # four of eight


def test_where_nothing_was_in_the_shadow_there_is_nothing_beside_it() -> None:
    with open_conversations("memory:") as chats:
        for _ in range(5):
            thanked(chats.start(model=MODEL.id))
        (found,) = shadow_against_enforced(report(log_of(chats), by=BY))
    assert (found.enforced, found.shadow) == (5, 0)
    assert not rows(found)["harmful"].shadow.suppressed
    assert shadow_against_enforced(report((), by=BY)) == ()
    with pytest.raises(ValueError, match="grouped by mode"):
        shadow_against_enforced(report((), by=("model",)))


def test_a_report_of_some_conversations_is_that_of_a_log_without_the_others(log: list[RecordedEvent]) -> None:
    with open_conversations("memory:") as chats:
        told(chats)
        branch = done(chats.chat("e-1").edit(2, "Could you help?")).branch
        whole = list(log_of(chats))
    some = list(of_conversations(whole, {"e-1", "alone"}))
    assert {one.branch for one in some} == {"e-1", "alone", branch}
    assert some == [one for one in whole if one.branch in {"e-1", "alone", branch}]
    made: LogReport = report(some, smallest=1)
    assert made.groups[0].figures["conversations"].count == 2
    assert made.groups[0].figures["branches.opened"].count == 1
    assert list(of_conversations(whole, ())) == []
