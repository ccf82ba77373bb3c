"""The audit names every event that breaks a rule, and nothing else."""

from collections.abc import Callable

import pytest

from lastresort import Conversations, Ground, Risk, Verdict
from lastresort.domain.events import AppealDecided, AppealFiled, RiskCleared, RiskRaised
from lastresort.domain.law import RULES, governing
from lastresort.domain.policy import Policy
from lastresort.projections import audit
from lastresort.projections.audit import compare_live

from .service_kit import done
from .stores import ASSESSOR, LEFT, MODEL, OPERATOR, USER, abused, chats, ended, ended_on_request, log_of, started
from .tampered import Log, breaches, edited, ending, event_at, found, instead, then

__all__ = ["chats", "ending"]


# --- The law ----------------------------------------------------------------------------------------------------------


def test_a_lawful_log_has_no_finding(chats: Conversations) -> None:
    """Endings on both grounds, a refusal, branches, and a risk raised and cleared across a tree."""
    chat = ended(started(chats))
    child = done(chat.edit(10, "Let us start again.", child="d"))
    done(child.retry(8, child="e")).assistant_turn("Gladly.")
    child.raise_risk(risk="r")
    child.clear_risk("r", by=OPERATOR)
    ended_on_request(started(chats, "other"))
    started(chats, "refused").user_turn("Hello.")
    chats.chat("refused").end(category="abuse")
    chat.appeal("Why?")
    report = audit(chats.store.entries())
    assert report.findings == ()
    assert (report.events, report.branches) == (len(log_of(chats)), 5)
    assert report.states == {branch: chats.state(branch) for branch in ("c", "d", "e", "other", "refused")}


def test_an_empty_log_has_no_finding() -> None:
    report = audit([])
    assert (report.events, report.branches, report.findings) == (0, 0, ())


LAST = "ended-is-final"
TAMPERED: list[tuple[str, Callable[[Log], Log], dict[int, set[str]]]] = [
    (
        "a redirection never happened",
        lambda log: instead(log, 9, LEFT),
        {17: {"redirected-first"}, 22: {"redirected-first", "evidence-is-true"}},
    ),
    (
        "a redirection answered a turn that was not harmful",
        lambda log: edited(log, 7, verdict=Verdict.UNPRODUCTIVE, category=None, severity=None),
        {9: {"redirects-harm"}, 17: {"redirected-first"}, 22: {"redirected-first", "evidence-is-true"}},
    ),
    (
        "the evidence leaves a redirection out",
        lambda log: edited(log, 22, evidence=event_at(log, 22).evidence.model_copy(update={"redirections": (5, 9)})),
        {22: {"evidence-is-true"}},
    ),
    (
        "the evidence names another warning",
        lambda log: edited(log, 22, evidence=event_at(log, 22).evidence.model_copy(update={"warning": 13})),
        {22: {"evidence-is-true"}},
    ),
    (
        "the policy hash is another's",
        lambda log: edited(log, 22, policy_hash="sha256:" + "0" * 64),
        {22: {"evidence-is-true"}},
    ),
    ("the model is another", lambda log: edited(log, 22, model="another"), {22: {"evidence-is-true"}}),
    ("the user ended it", lambda log: edited(log, 22, by=USER), {22: {"eligible-model"}}),
    (
        "the category is another",
        lambda log: edited(log, 22, category="threats"),
        {22: {"warned-first", "evidence-is-true"}},  # its group is the warning's, and it is not what was warned of
    ),
    (
        "the category is harmless",
        lambda log: edited(log, 22, category="boredom"),
        {22: {"warned-first", "still-harmful", "evidence-is-true", "grave-enough", "named-category"}},
    ),
    (
        "the warning did not say what would follow",
        lambda log: edited(log, 17, states_consequence=False),
        {20: {"hope-exhausted"}, 22: {"warned-first"}},
    ),
    (
        "the warning was about something else",
        lambda log: edited(log, 17, category="mass-violence"),
        {17: {"still-harmful"}, 20: {"hope-exhausted"}, 22: {"warned-first", "evidence-is-true"}},
    ),
    (
        "the user relented after the warning",
        lambda log: edited(log, 19, verdict=Verdict.PRODUCTIVE, category=None, severity=None),
        {20: {"hope-exhausted"}, 22: {"warned-first", "still-harmful", "grave-enough", "evidence-is-true"}},
    ),
    (
        "nobody judged the last turn",
        lambda log: instead(log, 19, LEFT),
        {
            20: {"hope-exhausted"},
            22: {"warned-first", "still-harmful", "grave-enough", "risk-was-checked", "evidence-is-true"},
        },
    ),
    ("the last harm was mild", lambda log: edited(log, 19, severity=1), {22: {"grave-enough"}}),
    ("the model judged the risk itself", lambda log: edited(log, 19, by=MODEL), {22: {"risk-was-checked"}}),
    (
        "nobody could tell whether there was a risk",
        lambda log: edited(log, 19, risk=Risk.UNKNOWN),
        {22: {"risk-was-checked"}},
    ),
    (
        "a risk was seen and nobody held",
        lambda log: edited(log, 19, risk=Risk.POSSIBLE),
        {20: {"risk-holds"}, 22: {"risk-was-checked"}},
    ),
    (
        "a risk was open",
        lambda log: instead(log, 20, RiskRaised(by=USER, risk="r", about="self")),
        {22: {"warned-first", "hope-exhausted", "no-end-at-risk", "evidence-is-true"}},
    ),
    ("hope was never given up", lambda log: instead(log, 20, LEFT), {22: {"hope-exhausted", "evidence-is-true"}}),
    ("hope was given up too early", lambda log: edited(log, 20, turn=14), {20: {"judges-the-latest"}}),
    (
        "hope was given up about no turn",
        lambda log: edited(log, 20, turn=16),
        {20: {"refers-to-the-path", "judges-the-latest"}},
    ),
    (
        "the user is made to ask",
        lambda log: edited(log, 22, ground=Ground.USER_REQUEST, category=None),
        {22: {"confirmed-later", "evidence-is-true"}},
    ),
    (
        "a verdict on a turn to come",
        lambda log: edited(log, 3, turn=18),
        {3: {"refers-to-the-path", "judges-the-latest"}},
    ),
    (
        "it began twice",
        lambda log: instead(log, 20, event_at(log, 1)),
        {
            20: {"begins-once"},
            21: {"answers-a-user"},
            22: {
                "redirected-first",
                "warned-first",
                "still-harmful",
                "hope-exhausted",
                "grave-enough",
                "risk-was-checked",
                "evidence-is-true",
                "judges-the-latest",
            },
        },
    ),
    ("the user went on after the end", lambda log: then(log, event_at(log, 2)), {23: {LAST}}),
    ("a verdict after the end", lambda log: then(log, event_at(log, 19)), {23: {LAST}}),
    ("it ended twice", lambda log: then(log, event_at(log, 22)), {23: {LAST}}),
    (
        "an appeal was decided that nobody made",
        lambda log: then(log, AppealDecided(by=OPERATOR, outcome="granted")),
        {23: {"answers-an-appeal"}},
    ),
    (
        "an appeal was decided twice, the first time by the model",
        lambda log: then(
            log,
            AppealFiled(by=USER, content=None),
            AppealDecided(by=MODEL, outcome="rejected"),
            AppealDecided(by=OPERATOR, outcome="granted"),
        ),
        {24: {"answers-an-appeal"}, 25: {"answers-an-appeal"}},
    ),
    (
        "a risk was cleared that was not open",
        lambda log: then(log, RiskCleared(by=OPERATOR, risk="r")),
        {23: {"cleared-by-authority"}},
    ),
    (
        "the user cleared a risk",
        lambda log: then(log, RiskRaised(by=USER, risk="r", about="self"), RiskCleared(by=USER, risk="r")),
        {24: {"cleared-by-authority"}},
    ),
]


@pytest.mark.parametrize(("tamper", "expected"), [pytest.param(*rest, id=name) for name, *rest in TAMPERED])
def test_a_tampered_log_is_found_out(ending: Log, tamper: Callable[[Log], Log], expected: dict[int, set[str]]) -> None:
    """Exactly the events that the law does not allow any more, each under every rule that stands in its way."""
    assert breaches(ending) == {}
    assert breaches(tamper(ending)) == expected


def test_a_finding_says_what_is_missing(ending: Log) -> None:
    """For each rule, in numbers and versions."""
    report = audit(instead(ending, 9, LEFT))
    assert [finding.detail for finding in report.findings] == [
        "redirected-first: redirections: 2 of 3 in this episode",
        "redirected-first: failed redirections: 2 of 3 in this episode; "
        "evidence-is-true: not what the log says: evidence",
    ]


def test_an_ineligible_model_is_found_out(ending: Log) -> None:
    """The policy in the log is what counts."""
    policy = Policy(name="strict", eligible_models=("other-*",))
    begun = event_at(ending, 1).model_copy(update={"policy": policy, "policy_hash": policy.hash})
    log = edited(instead(ending, 1, begun), 22, policy_hash=policy.hash)
    assert breaches(log) == {17: {"true-warnings"}, 20: {"eligible-model"}, 22: {"eligible-model"}}


def test_a_missing_proposal_is_found_out(ending: Log) -> None:
    """Where the policy asks for the handshake."""
    policy = Policy(name="handshake", handshake=True)
    begun = event_at(ending, 1).model_copy(update={"policy": policy, "policy_hash": policy.hash})
    assert breaches(edited(instead(ending, 1, begun), 22, policy_hash=policy.hash)) == {22: {"proposed-first"}}


def test_a_hold_that_is_due_at_the_end_of_the_log_is_found(chats: Conversations) -> None:
    """Nothing came after the verdict, so nothing else could be blamed; on each branch by itself."""
    started(chats, "before").user_turn("Hello.")
    chat = started(chats)
    chat.user_turn("I cannot go on.")
    chat.judge(Verdict.PRODUCTIVE, risk=Risk.IMMINENT, by=ASSESSOR)
    log = log_of(chats)
    assert found(log) == []
    assert log[-1].kind == "RiskRaised"
    assert found(log[:-1]) == [("c", 3, {"risk-holds"})]
    assert audit(log[:-1]).findings[0].detail == "the verdict at 3 saw a risk, and no RiskRaised followed"


def test_another_law_is_another_audit(ending: Log) -> None:
    """What-if: the same log under fewer rules."""
    log = then(instead(ending, 9, LEFT), event_at(ending, 2))
    assert audit(log, governing([RULES["ended-is-final"]])).findings == audit(log).findings[-1:]
    assert audit(log, governing([])).findings == ()


# --- Live states ------------------------------------------------------------------------------------------------------


def test_a_live_state_that_differs_from_the_log_is_found(chats: Conversations) -> None:
    """And one that is not there."""
    ended(started(chats))
    abused(started(chats, "d"))
    report = audit(log_of(chats))
    live = {branch: chats.state(branch) for branch in ("c", "d")}
    assert compare_live(report, live) == ()
    for wrong in ({**live, "d": live["d"]._replace(ended=live["c"].ended)}, {"c": live["c"]}):
        (finding,) = compare_live(report, wrong)
        assert (finding.branch, finding.version, finding.rules) == ("d", 3, ("structure-state",))


def test_every_event_before_an_ending_is_needed_for_it(ending: Log) -> None:
    """None can be replaced by a departure without a finding, but for the farewell and the ending itself."""
    assert {version for version in range(1, 23) if not found(instead(ending, version, LEFT))} == {21, 22}
