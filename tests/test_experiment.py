"""What came of an experiment: what is counted in which arm, and what the data can tell apart."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastresort import AppealOutcome, Arm, Chat, Conversations, Experiment, Mode, Policy, Rating, Risk, Verdict
from lastresort.adapters.testing.strategies import trees
from lastresort.domain.events import ConversationStarted, RecordedEvent
from lastresort.projections import ArmReport, ExperimentReport, experiment, fork_points

from .drawing import drawn
from .stores import ASSESSOR, MODEL, OPERATOR, abused, chats, done, ended, ended_on_request, log_of, redirected, thanked

__all__ = ["chats"]

CONTROL, PATIENT = "patience:control", "patience:patient"
Story = Callable[[Chat], object]


def begun(chats: Conversations, arm: str = CONTROL, account: str | None = "a", **options: Any) -> Chat:
    return chats.start(model=MODEL.id, account=account, arm=arm, **options)


def told(chats: Conversations, *stories: Story, arm: str = CONTROL, **options: Any) -> ArmReport:
    """Tell stories, each on an account of its own, and return what came of the arm."""
    for number, story in enumerate(stories):
        story(begun(chats, arm, f"{arm}-{number}", **options))
    return arm_of(report(chats), arm)


def report(chats: Conversations, **options: Any) -> ExperimentReport:
    log = log_of(chats)
    found = experiment(log, **options)
    assert found == experiment(iter(log), **options)
    assert found == experiment(iter(log), forks=fork_points(log), **options)
    return found


def arm_of(found: ExperimentReport, arm: str = CONTROL) -> ArmReport:
    return next(one for one in found.arms if one.arm == arm)


def share(arm: ArmReport, name: str) -> tuple[int, int]:
    return arm.shares[name].count, arm.shares[name].of


def neither(chat: Chat, verdict: Verdict = Verdict.AMBIGUOUS) -> None:
    done(chat.user_turn("Hm."))
    done(chat.judge(verdict, risk=Risk.NONE, by=ASSESSOR))


# --- What is counted --------------------------------------------------------------------------------------------------


def test_an_ending_and_what_led_to_it(chats: Conversations) -> None:
    """Three redirections after which the harm went on, a warning likewise, and an ending that saw the fifth turn."""
    arm = told(chats, ended)
    assert {name: count for name, count in arm.totals.items() if count} == {
        "accounts": 1, "conversations": 1, "user_turns": 5, "redirections": 3, "went_on_after_redirection": 3,
        "warnings": 1, "went_on_after_warning": 1, "endings_last_resort": 1,
    }  # fmt: skip
    assert share(arm, "warned") == share(arm, "ended_as_last_resort") == (1, 1)
    assert share(arm, "relented_after_redirection") == share(arm, "relented_after_warning") == (0, 1)
    assert (arm.turns_to_ending.of, arm.turns_to_ending.median) == (1, 5)


def test_an_ending_on_request(chats: Conversations) -> None:
    """It is none as last resort, and no turns are counted to it."""
    arm = told(chats, ended_on_request)
    assert share(arm, "ended_on_request") == (1, 1)
    assert share(arm, "ended_as_last_resort") == (0, 1)
    assert arm.turns_to_ending.median is None


def then(*steps: Story) -> Story:
    """Harm that was redirected, and what came then."""

    def story(chat: Chat) -> None:
        abused(chat)
        redirected(chat)
        for step in steps:
            step(chat)

    return story


def answered(chat: Chat) -> None:
    done(chat.assistant_turn("I see."))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], (0, 0)),  # nothing came then
        ([thanked], (1, 1)),
        ([abused], (0, 1)),
        ([neither, answered, thanked], (1, 1)),  # what is neither decides nothing
        ([lambda chat: chat.user_turn("What?"), answered, abused], (0, 1)),  # nor does what nobody judged
        ([neither], (0, 0)),
        ([thanked, answered, abused], (1, 1)),  # the first counts
        ([abused, redirected, thanked], (0, 1)),
        ([lambda chat: neither(chat, Verdict.UNPRODUCTIVE), answered], (0, 0)),
    ],
)
def test_who_relents(chats: Conversations, steps: list[Story], expected: tuple[int, int]) -> None:
    """The first later unit that was judged harmful or productive says it."""
    assert share(told(chats, then(*steps)), "relented_after_redirection") == expected


def test_a_redirection_of_what_was_no_harm_after_all(chats: Conversations) -> None:
    """A milder word on the same unit makes it void."""

    def story(chat: Chat) -> None:
        then(lambda chat: chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, by=OPERATOR), abused)(chat)

    assert share(told(chats, story), "relented_after_redirection") == (0, 0)


def test_a_warning_that_was_withheld_counts_beside_one_that_was_given(chats: Conversations) -> None:
    """What a shadow arm is compared with."""

    def story(chat: Chat) -> None:
        for _ in range(3):
            abused(chat)
            redirected(chat)
        abused(chat)
        answered(chat)
        done(chat.withhold_warning("abuse"))
        thanked(chat)

    arm = told(chats, story, edition=2, mode=Mode.SHADOW)
    assert (arm.totals["warnings"], arm.totals["warnings_withheld"]) == (0, 1)
    assert share(arm, "warned") == share(arm, "relented_after_warning") == (1, 1)
    assert [(one.law, one.mode) for one in arm.terms] == [(2, Mode.SHADOW)]


def test_feedback_appeals_and_holds(chats: Conversations) -> None:
    """The latest rating counts, an appeal of those that ended, a decision of those that were decided."""

    def granted(chat: Chat) -> None:
        ended(chat)
        done(chat.appeal("That was not abuse."))
        done(chat.decide_appeal(AppealOutcome.GRANTED, by=OPERATOR))
        done(chat.feedback(Rating.DOWN))
        done(chat.feedback(Rating.UP))

    def rejected(chat: Chat) -> None:
        ended(chat)
        done(chat.appeal(None))
        done(chat.decide_appeal(AppealOutcome.REJECTED, by=OPERATOR))
        done(chat.feedback(Rating.UP))
        done(chat.feedback(None))

    def at_risk(chat: Chat) -> None:
        thanked(chat)
        answered(chat)
        done(chat.edit(2, "Hello.", child=f"{chat.branch}-child"))
        done(chat.raise_risk(risk="r"))

    arm = told(chats, granted, rejected, at_risk)
    assert share(arm, "appealed") == (2, 2)
    assert share(arm, "appeal_granted") == (1, 2)
    assert share(arm, "rated_up") == (1, 1)
    assert share(arm, "held_for_risk") == (1, 3)
    assert [arm.totals[name] for name in ("holds", "feedback_up", "feedback_down", "feedback_withdrawn")] == [
        1,
        2,
        1,
        1,
    ]


def test_turns_on_a_branch_are_counted_from_the_root(chats: Conversations) -> None:
    """With those of the prefix, whichever branch that is on; and what answered the prefix is not asked again."""

    def story(chat: Chat) -> None:
        ended(chat)
        child = done(chat.edit(6, "Go away.", child=f"{chat.branch}-d"))
        abused(child)
        grandchild = done(child.retry(4, child=f"{chat.branch}-e"))
        redirected(grandchild)
        ended(grandchild)

    arm = told(chats, story)
    assert arm.totals["endings_last_resort"] == 2
    assert arm.turns_to_ending.of == 1  # the first of the account
    assert share(arm, "relented_after_redirection") == (0, 1)
    begun(chats, PATIENT, "p")
    chat = chats.start(model=MODEL.id, account="q", arm=PATIENT)
    thanked(chat)
    answered(chat)
    thanked(chat)
    answered(chat)
    ended(done(chat.edit(5, "You bucket.", child="q-d")))
    assert arm_of(report(chats), PATIENT).turns_to_ending.median == 7


# --- Accounts ---------------------------------------------------------------------------------------------------------


def test_an_account_counts_once(chats: Conversations) -> None:
    """However many conversations it has; totals are of all of them."""
    for _ in range(3):
        ended(begun(chats))
    arm = arm_of(report(chats))
    assert share(arm, "ended_as_last_resort") == (1, 1)
    assert (arm.totals["accounts"], arm.totals["conversations"], arm.totals["endings_last_resort"]) == (1, 3, 3)


def test_who_is_left_out(chats: Conversations) -> None:
    """An account in two arms, and what has no account: counted, and in no arm."""
    begun(chats, CONTROL, "both")
    begun(chats, PATIENT, "both")
    ended(begun(chats, CONTROL, None))
    begun(chats, CONTROL, "a")
    chats.start(model=MODEL.id, account="elsewhere")
    found = report(chats)
    assert (found.accounts, found.in_several_arms, found.without_account) == (1, 1, 1)
    assert [arm.totals["conversations"] for arm in found.arms] == [1, 0]
    assert found.events == len(log_of(chats))


def test_which_experiment(chats: Conversations) -> None:
    """The only one, or the one that is named; an account may be in both. Arms without a colon are of one more."""
    with pytest.raises(ValueError, match="no conversation is in an experiment"):
        report(chats)
    begun(chats)
    assert report(chats).experiment == "patience"
    begun(chats, "other:control")
    begun(chats, "by-hand", "b")
    with pytest.raises(ValueError, match="several experiments, name one: '', 'other', 'patience'"):
        report(chats)
    for name in ("other", "patience", ""):
        found = report(chats, name=name)
        assert (found.experiment, found.accounts, found.in_several_arms, len(found.arms)) == (name, 1, 0, 1)
    with pytest.raises(ValueError, match=r"no conversation is in an experiment of that name \(length 5\)"):
        report(chats, name="third")


def test_which_arm_the_others_are_compared_with(chats: Conversations) -> None:
    """The first by name, or of the weights, or the one that is named."""
    begun(chats, CONTROL, "a")
    begun(chats, PATIENT, "b")
    assert [arm.arm for arm in report(chats).arms] == [CONTROL, PATIENT]
    weights = {PATIENT: 2, CONTROL: 1, "patience:nobody": 1}
    found = report(chats, weights=weights)
    assert [(arm.arm, arm.weight, arm.totals["accounts"]) for arm in found.arms] == [
        (PATIENT, 2, 1), (CONTROL, 1, 1), ("patience:nobody", 1, 0),
    ]  # fmt: skip
    assert report(chats, weights=weights, base=CONTROL).arms[0].arm == CONTROL
    assert report(chats, weights={"patient": 2, "control": 1}, base="control").arms[0].arm == CONTROL
    with pytest.raises(ValueError, match=r"base: no arm has that name \(length 6\)"):
        report(chats, base="nobody")
    with pytest.raises(
        ValueError, match="arm patience:patient has conversations, and was given no weight; name every arm"
    ):
        report(chats, weights={CONTROL: 1})


def test_an_arm_that_was_changed(chats: Conversations) -> None:
    """It says every policy under which its conversations began."""
    begun(chats)
    begun(chats, policy=Policy(name="five", min_failed_redirections=5))
    assert [one.policy for one in arm_of(report(chats)).terms] == ["default", "five"]


# --- What the data can tell -------------------------------------------------------------------------------------------


def split(chats: Conversations, control: int, patient: int, **options: Any) -> ExperimentReport:
    for arm, accounts in ((CONTROL, control), (PATIENT, patient)):
        for number in range(accounts):
            begun(chats, arm, f"{arm}-{number}")
    return report(chats, **options)


def test_a_split_that_was_not_meant(chats: Conversations) -> None:
    """60 to 20 where the weights are alike; as meant where they are three to one."""
    found = split(chats, 60, 20)
    assert found.mismatch
    assert found.p_value == pytest.approx(7.74e-6, rel=0.01)
    meant = report(chats, weights={CONTROL: 3, PATIENT: 1})
    assert (meant.p_value, meant.mismatch) == (1, False)


def test_a_split_of_a_few(chats: Conversations) -> None:
    """Nobody can say where the weights are alike. At nine to one, half of them in the lesser arm is another matter."""
    found = split(chats, 4, 4)
    assert (found.p_value, found.mismatch) == (None, None)
    assert report(chats, weights={CONTROL: 9, PATIENT: 1}).mismatch is False, "one in a hundred"
    assert report(chats, weights={CONTROL: 29, PATIENT: 1}).mismatch is True


def test_a_split_of_a_few_where_few_are_meant(chats: Conversations) -> None:
    """Two are expected in an arm, and one is there: as meant. Of 41, 21 are there where 4.1 are expected: not meant."""
    found = split(chats, 19, 1)
    meant = report(chats, weights={CONTROL: 9, PATIENT: 1})
    assert (meant.mismatch, found.mismatch) == (False, True)
    for number in range(20):
        begun(chats, PATIENT, f"more-{number}")
    begun(chats, CONTROL, "another")
    gross = report(chats, weights={CONTROL: 9, PATIENT: 1})
    assert gross.mismatch is True
    assert gross.p_value == pytest.approx(2 * 3.6356e-11, rel=1e-4)


def test_arms_that_differ_and_arms_that_do_not(chats: Conversations) -> None:
    """Twenty relent in one arm and none in the other: told apart. Neither ends anything: not told apart."""
    told(chats, *[then(abused)] * 20)
    told(chats, *[then(thanked)] * 20, arm=PATIENT)
    base, other = report(chats).arms
    relented = other.shares["relented_after_redirection"]
    assert (relented.difference, relented.apart) == (1.0, True)
    assert relented.difference_interval is not None
    assert relented.difference_interval.low > 0.7
    same = other.shares["ended_as_last_resort"]
    assert (same.difference, same.apart) == (0.0, False)
    assert 0 < (same.detectable or 0) < 0.3
    assert other.shares["appealed"].share is None
    assert (base.shares["ended_as_last_resort"].difference, base.turns_to_ending.apart) == (None, None)


def test_turns_to_an_ending(chats: Conversations) -> None:
    """Twice as many in the patient arm, in each of ten accounts."""

    def later(chat: Chat) -> None:
        for _ in range(5):
            thanked(chat)
            answered(chat)
        ended(chat)

    told(chats, *[ended] * 10)
    turns = told(chats, *[later] * 10, arm=PATIENT).turns_to_ending
    assert (turns.median, turns.difference, turns.difference_interval, turns.apart) == (10, 5, (5, 5), True)


KEY = bytes(32)


def test_of_an_experiment_as_it_is_embedded(chats: Conversations) -> None:
    """Its weights are by the name that events have of an arm."""
    of = Experiment(name="e", key=KEY, arms=(Arm(name="one", weight=3), Arm(name="two")))
    for number in range(60):
        chats.start(model=MODEL.id, account=f"a-{number}", experiment=of)
    found = report(chats, weights=of.weights)
    assert found.mismatch is False
    assert found.in_several_arms == 0
    assert [arm.weight for arm in found.arms] == [3, 1]


@settings(**drawn(60))
@given(trees(max_steps=30), st.sampled_from(["e:a", "b"]))
def test_trees(log: tuple[RecordedEvent, ...], arm: str) -> None:
    """Total, and the same whether or not it is known where branches open."""
    first = log[0].event
    assert isinstance(first, ConversationStarted)
    event = first.model_copy(update={"arm": arm, "account": "a"})
    named = [log[0]._replace(event=event), *log[1:]]
    found = experiment(named)
    assert found == experiment(iter(named))
    assert found.accounts == 1
