"""Propose, then check: what a command becomes, and what a refusal says."""

from collections.abc import Iterable
from typing import Any

import pytest

from lastresort.domain import commands as ask
from lastresort.domain import events as log
from lastresort.domain import law, rules
from lastresort.domain.decider import Acceptance, Refused, decide, harm_of, in_the_way, propose
from lastresort.domain.events import Event
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import About, AppealOutcome, ErasureCause, ForkCause, Ground, Rating, Risk, Usage, Verdict

from .narrow import must_be
from .vocabulary import (
    ABUSED,
    ANOTHER_MODEL,
    ANSWERED,
    APPEALED,
    ASKED_AND_CONFIRMED,
    ASKED_TO_END,
    ASSESSOR,
    AT_RISK,
    CONFIRMED,
    EDITED,
    END,
    END_ON_REQUEST,
    ENDED,
    ERASED,
    FEEDBACK,
    HARMFUL,
    HOPELESS,
    LEFT,
    MODEL,
    OPERATOR,
    PRODUCTIVE,
    PROPOSED,
    SAID,
    STARTED,
    SYSTEM,
    THREE_FAILED_REDIRECTIONS,
    UP_TO_THE_END,
    USER,
    WARNED,
    WORDS,
    Step,
    Tell,
    appeal_decided,
    asked_to_end,
    branched_off,
    end,
    harmful,
    judged,
    model_changed,
    policy,
    policy_changed,
    proposed,
    redirected,
    resolve,
    risk_cleared,
    risk_raised,
    started,
    warned,
)

# --- what a command becomes ------------------------------------------------------------------------------------------


def test_a_start(given: Tell) -> None:
    default = Policy.default()
    given().when(STARTED).accepted_as(
        log.ConversationStarted(
            by=USER,
            conversation="c",
            account="account",
            policy=default,
            policy_hash=default.hash,
            model=MODEL.id,
            arm=None,
            law=2,
        )
    )


def test_a_branch(given: Tell) -> None:
    """It belongs to the conversation of its prefix, and carries the risks of its tree."""
    given(STARTED, AT_RISK, SAID).cut_at(2).when(EDITED).accepted_as(
        log.BranchOpened(
            by=USER,
            conversation="c",
            parent="c",
            at=2,
            cause=ForkCause.EDIT,
            risks=({"risk": "risk", "about": "self"},),
        )
    )


@pytest.mark.parametrize(
    ("history", "step", "event"),
    [
        ((), SAID, log.UserTurnTaken(by=USER, content=WORDS)),
        (
            (SAID,),
            ask.TakeAssistantTurn(
                id="a", by=MODEL, content=WORDS, model="m", usage=Usage(input_tokens=1, output_tokens=2)
            ),
            log.AssistantTurnTaken(
                by=MODEL, content=WORDS, model="m", stop_reason=None, usage=Usage(input_tokens=1, output_tokens=2)
            ),
        ),
        (
            (SAID,),
            harmful("threats", 3, risk=Risk.UNKNOWN),
            log.TurnAssessed(
                by=ASSESSOR, turn=2, verdict=Verdict.HARMFUL, category="threats", severity=3, risk=Risk.UNKNOWN
            ),
        ),
        ((ABUSED, ANSWERED), redirected(), log.RedirectionAttempted(by=MODEL, turn=4, answers=2)),
        (
            (*THREE_FAILED_REDIRECTIONS, ANSWERED),
            warned(states_consequence=False),
            log.WarningGiven(
                by=MODEL,
                turn=16,
                seen=14,
                category="abuse",
                names_behaviour=True,
                redirects=True,
                states_consequence=False,
            ),
        ),
        ((), AT_RISK, log.RiskRaised(by=USER, risk="risk", about=About.SELF)),
        ((AT_RISK,), risk_cleared(), log.RiskCleared(by=OPERATOR, risk="risk")),
        ((SAID,), ASKED_TO_END, log.EndRequested(by=USER, turn=2)),
        ((SAID,), CONFIRMED, log.EndConfirmed(by=USER, turn=2)),
        (UP_TO_THE_END[:-1], HOPELESS, log.HopeExhausted(by=MODEL, turn=18)),
        ((SAID,), PROPOSED, log.EndProposed(by=MODEL, seen=2, ground=Ground.LAST_RESORT)),
        (
            (ASKED_AND_CONFIRMED,),
            END_ON_REQUEST,
            log.ConversationEnded(
                by=MODEL,
                ground=Ground.USER_REQUEST,
                category=None,
                seen=5,
                evidence=log.Evidence(request=3, confirmation=7),
                policy_hash=Policy.default().hash,
                model=MODEL.id,
            ),
        ),
        ((), LEFT, log.UserLeft(by=USER)),
        (
            (),
            policy_changed(policy()),
            log.PolicyChanged(by=OPERATOR, policy=policy(), policy_hash=policy().hash, law=2),
        ),
        ((), model_changed(), log.ModelChanged(by=OPERATOR, model=ANOTHER_MODEL.id)),
        ((), FEEDBACK, log.FeedbackGiven(by=USER, rating=Rating.DOWN, content=None)),
        ((ENDED,), APPEALED, log.AppealFiled(by=USER, content=None)),
        (
            (ENDED, APPEALED),
            appeal_decided(AppealOutcome.REJECTED),
            log.AppealDecided(by=OPERATOR, outcome=AppealOutcome.REJECTED),
        ),
        ((SAID,), branched_off(1), log.BranchedOff(by=USER, child="child", at=1)),
        ((), ERASED, log.ContentErased(by=USER, contents=(WORDS,), cause=ErasureCause.USER_REQUEST)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_command_becomes_an_event(given: Tell, history: tuple[Step, ...], step: Step, event: Event) -> None:
    """The event is by the actor that asks, and the rest of it says what was asked for."""
    given(STARTED, *history).when(step).accepted_as(event)


def test_a_risk_that_a_verdict_saw_is_named_by_the_command_that_saw_it(given: Tell) -> None:
    """So that a verdict delivered twice raises one risk."""
    seen = ask.AssessTurn(
        id="command-7", by=ASSESSOR, turn=2, verdict=Verdict.PRODUCTIVE, risk=Risk.POSSIBLE, about=About.OTHERS
    )
    given(STARTED, SAID).when(seen).accepted_as(
        log.TurnAssessed(by=ASSESSOR, turn=2, verdict=Verdict.PRODUCTIVE, risk=Risk.POSSIBLE, about=About.OTHERS),
        log.RiskRaised(by=ASSESSOR, risk="command-7", about=About.OTHERS),
    )


@pytest.mark.parametrize("held", About)
@pytest.mark.parametrize("about", About)
def test_a_risk_seen_during_a_hold_is_raised_if_it_is_about_somebody_else(
    given: Tell, held: About, about: About
) -> None:
    """Clearing the one that is open must not forget the other."""
    seen = ask.AssessTurn(
        id="command-7", by=ASSESSOR, turn=2, verdict=Verdict.AMBIGUOUS, risk=Risk.IMMINENT, about=about
    )
    decision = given(STARTED, SAID, risk_raised(about=held)).when(seen).decision
    assert isinstance(decision, Acceptance)
    assert [type(event) for event in decision.events] == [log.TurnAssessed, log.RiskRaised][: 1 if held is about else 2]


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_refusal_names_every_rule_that_stands_in_the_way(given: Tell) -> None:
    """Not only the first; and each with what it lacks."""
    refusal = given(STARTED, SAID, AT_RISK).when(end("spam", by=ANOTHER_MODEL, seen=1)).decision
    assert isinstance(refusal, Refused)
    assert set(refusal.rules) >= {
        "judges-the-latest",
        "redirected-first",
        "warned-first",
        "still-harmful",
        "hope-exhausted",
        "grave-enough",
        "no-end-at-risk",
        "risk-was-checked",
        "eligible-model",
    }
    assert all(broken.missing.text for broken in refusal.broken)


def test_a_refusal_says_in_numbers_and_versions_what_is_missing(given: Tell) -> None:
    """For programs, beside the text for people."""
    refusal = must_be(Refused, given(STARTED, ABUSED, ANSWERED).when(warned()).decision)
    assert refusal.broken == (
        law.Broken("redirected-first", law.Missing("redirections: 0 of 3 in this episode", have=0, need=3, at=None)),
    )
    assert str(refusal) == ("WarningGiven refused: redirected-first: redirections: 0 of 3 in this episode")
    (at_risk,) = must_be(Refused, given(STARTED, SAID, AT_RISK).when(PROPOSED).decision).broken
    assert at_risk.missing == law.Missing("open risks: risk", have=1, need=0)
    too_early = given(STARTED, *THREE_FAILED_REDIRECTIONS, SAID, ANSWERED).when(warned()).decision
    not_judged, not_looked_at = must_be(Refused, too_early).broken
    assert (not_judged.missing.at, not_judged.missing.by_opinion) == (16, False)
    assert (not_looked_at.missing.at, not_looked_at.missing.by_opinion) == (16, True)


def test_the_rules_of_a_refusal_are_named_once() -> None:
    """Though several events of one command may break the same rule."""
    broken = law.Broken("begins-once", law.Missing("the branch has not begun"))
    assert Refused("TurnAssessed", (broken, broken)).rules == ("begins-once",)


def test_a_command_of_two_events_is_refused_as_a_whole(given: Tell) -> None:
    """A stale verdict raises no risk: the one who gave it is told, and may raise the risk itself."""
    stale = judged(Verdict.AMBIGUOUS, risk=Risk.IMMINENT, turn=2)
    outcome = given(STARTED, SAID, ANSWERED, SAID).when(stale).refused_by(rules.JUDGES_THE_LATEST)
    outcome.then(lambda state: state.risks == ())
    assert must_be(Refused, outcome.decision).attempted == "TurnAssessed"


def test_every_event_of_a_command_is_asked() -> None:
    """Neither the verdict nor the risk may come before the beginning."""
    verdict = resolve(judged(Verdict.AMBIGUOUS, risk=Risk.IMMINENT, turn=1), Conversation())
    refusal = must_be(Refused, decide(must_be(ask.AssessTurn, verdict), Conversation()))
    assert named(refusal.broken).count("begins-once") == 2


# --- traces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (warned(turn=3), "WarningGiven"),
        (proposed(seen=1), "EndProposed"),
        (END, "ConversationEnded"),
        (END_ON_REQUEST, "ConversationEnded"),
    ],
)
def test_a_refused_attempt_to_warn_propose_or_end_leaves_a_trace(given: Tell, step: Step, kind: str) -> None:
    """That a model tried to end before its time is a fact worth keeping."""
    refusal = must_be(Refused, given(STARTED, SAID, ANSWERED).when(step).decision)
    assert refusal.trace == (log.AttemptRefused(by=MODEL, attempted=kind, rules=refusal.rules),)


@pytest.mark.parametrize(
    "step", [ANSWERED, judged(Verdict.PRODUCTIVE, turn=2), redirected(), HOPELESS, asked_to_end(by=MODEL), STARTED]
)
def test_other_refusals_leave_none(given: Tell, step: Step) -> None:
    refusal = given(STARTED, SAID, ANSWERED, SAID, ANSWERED).when(step).decision
    assert isinstance(refusal, Refused)
    assert refusal.trace == ()


def test_no_trace_where_the_law_lets_nothing_be_recorded(given: Tell) -> None:
    """After the ending, before the beginning, and between a risk that was seen and its hold."""
    seen = log.TurnAssessed(by=ASSESSOR, turn=2, verdict=Verdict.AMBIGUOUS, risk=Risk.IMMINENT, about=About.SELF)
    for history in ((), (STARTED, ENDED), (STARTED, SAID, seen)):
        refusal = given(*history).when(END).decision
        assert isinstance(refusal, Refused)
        assert refusal.trace == ()


def test_a_trace_changes_nothing(given: Tell) -> None:
    """A refused attempt counts neither for nor against anybody."""
    ready = given(STARTED, *UP_TO_THE_END)
    refusal = must_be(Refused, ready.when(end("threats")).decision)
    given(*ready.story.events, *refusal.trace).when(END).accepted()


# --- what stands in the way ------------------------------------------------------------------------------------------


def named(broken: Iterable[law.Broken]) -> list[str]:
    return [one.rule for one in broken]


def test_nothing_stands_in_the_way_of_a_lawful_ending(given: Tell) -> None:
    assert in_the_way(given(STARTED, *UP_TO_THE_END).state, Ground.LAST_RESORT) == ()
    assert in_the_way(given(STARTED, ASKED_AND_CONFIRMED).state, Ground.USER_REQUEST) == ()


def test_whether_a_proposal_or_an_opinion_is_all_that_is_lacking(given: Tell) -> None:
    """Asked of what stands in the way, by whoever drives a conversation: it decides neither by itself."""
    handshake = started(policy(handshake=True))

    def lacking(*history: object) -> tuple[bool, bool]:
        broken = in_the_way(given(handshake, *history).state, Ground.LAST_RESORT)
        return rules.awaits_proposal(broken), rules.awaits_opinion(broken)

    assert lacking(*UP_TO_THE_END) == (True, True)
    assert lacking(*UP_TO_THE_END, PROPOSED) == (False, True)  # nothing is lacking
    assert lacking(*UP_TO_THE_END[:-1]) == (False, False)
    assert lacking(*UP_TO_THE_END, AT_RISK) == (False, False)
    own = law.Broken("risk-was-checked", law.Missing("nobody looked", by_opinion=True))
    proposal = law.Broken("proposed-first", law.Missing("no EndProposed"))
    assert (rules.awaits_proposal((own, proposal)), rules.awaits_opinion((own, proposal))) == (False, True)
    for other in (rules.HOPE_EXHAUSTED, rules.WARNED_FIRST):
        assert not rules.awaits_opinion((own, proposal, law.Broken(other.id, law.Missing("not yet"))))


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [0]), (1, [1]), (2, [2]), (500, [500]), (501, [500, 1]), (1_003, [500, 500, 3])]
)
def test_words_are_erased_in_events_of_500_digests(given: Tell, count: int, sizes: list[int]) -> None:
    """In their order, each once; and that of no words is one event too."""
    contents = tuple(f"sha256:{number:064x}" for number in range(count))
    command = ask.EraseContents(id="erase", by=USER, contents=contents, cause=ErasureCause.RETENTION)
    erasures = [must_be(log.ContentErased, event) for event in propose(command, given(STARTED).state)]
    assert [len(event.contents) for event in erasures] == sizes
    assert tuple(digest for event in erasures for digest in event.contents) == contents


def test_what_stands_in_the_way_shrinks_as_the_law_is_followed(given: Tell) -> None:
    """The same rules as an attempt would be refused by, without an attempt."""
    way = [
        ((), 6),
        ((*THREE_FAILED_REDIRECTIONS,), 2),
        ((*THREE_FAILED_REDIRECTIONS, WARNED), 2),
        ((*UP_TO_THE_END[:-1],), 1),
        (UP_TO_THE_END, 0),
    ]
    for history, count in way:
        state = given(STARTED, SAID, ANSWERED, *history).state
        assert len(in_the_way(state, Ground.LAST_RESORT)) == count
    state = given(STARTED, *THREE_FAILED_REDIRECTIONS).state
    assert named(in_the_way(state, Ground.LAST_RESORT)) == ["warned-first", "hope-exhausted"]


def test_the_category_is_the_one_that_the_unit_is_harmful_in(given: Tell) -> None:
    """Or else one that was warned of, or else one that may lead to an ending at all."""

    def category_in(state: Conversation) -> str:
        (text,) = (b.missing.text for b in in_the_way(state, Ground.LAST_RESORT) if b.rule == "warned-first")
        return text

    assert category_in(given(STARTED, SAID, harmful("threats")).state) == "no warning of threats stands"
    warned_of = given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, SAID).state
    assert category_in(warned_of).startswith("no turn since the warning at 17")
    assert category_in(given(started(policy(categories=("hate",)))).state) == "no warning of hate stands"
    assert category_in(given(started(policy(categories=()))).state) == "no warning of harm stands"
    named_one = in_the_way(given(STARTED, SAID, HARMFUL).state, Ground.LAST_RESORT, "threats")
    assert "no warning of threats stands" in [broken.missing.text for broken in named_one]


@pytest.mark.parametrize(("law", "category"), [(1, "threats"), (2, "abuse")])
def test_an_ending_names_the_category_that_was_warned_of(given: Tell, law: int, category: str) -> None:
    """From the second edition on, where the harm of the latest unit is of the same group; if nobody judged it, too."""
    warned_of = (started(law=law), *THREE_FAILED_REDIRECTIONS, WARNED)
    assert harm_of(given(*warned_of, SAID, harmful("threats")).state) == category
    assert harm_of(given(*warned_of, SAID).state) == "abuse"
    assert harm_of(given(*warned_of, SAID, harmful("mass-violence")).state) == "mass-violence"
    assert harm_of(given(started(law=law), SAID).state) is None


@pytest.mark.parametrize(("law", "category"), [(1, "hate"), (2, "threats")])
def test_of_several_harms_the_first_says_which_group_it_is(given: Tell, law: int, category: str) -> None:
    """In the order of their names."""
    threatened = (SAID, harmful("threats"), ANSWERED, redirected())
    warned_of = (started(law=law), *(threatened * 3), SAID, harmful("threats"), ANSWERED, warned("threats"))
    both = (SAID, harmful("mass-violence"), harmful("hate", by=OPERATOR))
    assert harm_of(given(*warned_of, *both).state) == category
    other_first = (SAID, harmful("mass-violence"), harmful("sexual-minors", by=OPERATOR))
    assert harm_of(given(*warned_of, *other_first).state) == "mass-violence"


def test_what_stands_in_the_way_of_what_has_not_begun() -> None:
    """The question may be asked of nothing at all."""
    assert "begins-once" in named(in_the_way(Conversation(), Ground.LAST_RESORT))
    assert "confirmed-later" in named(in_the_way(Conversation(), Ground.USER_REQUEST))


def test_what_stands_in_the_way_before_anybody_has_spoken(given: Tell) -> None:
    """That nobody has; what is asked about is on the path all the same."""
    in_way = in_the_way(given(STARTED).state, Ground.USER_REQUEST)
    assert named(in_way) == ["judges-the-latest", "risk-was-checked", "confirmed-later"]
    assert in_way[0].missing.text == "the latest user turn is none, not 1"


def test_what_stands_in_the_way_of_ending_again(given: Tell) -> None:
    assert "ended-is-final" in named(in_the_way(given(STARTED, ENDED).state, Ground.USER_REQUEST))


def test_an_ending_that_is_proposed_is_judged_before_it_is_recorded(given: Tell) -> None:
    """`propose` says what would be recorded, lawful or not; `decide` records it only if it is lawful."""
    state = given(STARTED, SAID, PRODUCTIVE).state
    command = must_be(ask.EndConversation, resolve(END, state))
    (event,) = propose(command, state)
    assert decide(command, state) == Refused(
        "ConversationEnded",
        law.broken_by(state, event),
        (
            log.AttemptRefused(
                by=MODEL,
                attempted="ConversationEnded",
                rules=tuple(named(in_the_way(state, Ground.LAST_RESORT, "abuse"))),
            ),
        ),
    )
    lawful = LEFT
    assert decide(lawful, state) == Acceptance(propose(lawful, state))


def test_anybody_may_leave_whatever_they_are(given: Tell) -> None:
    """No rule asks who leaves, so no rule can keep anybody."""
    for actor in (USER, SYSTEM):
        given(STARTED, AT_RISK).when(ask.Leave(id="leave", by=actor)).accepted()


@pytest.mark.parametrize(
    ("command", "words", "lacking"),
    [
        (ask.TakeUserTurn(id="x", by=USER), 7, "words: a str is needed, not int"),
        (ask.TakeUserTurn(id="x", by=USER), None, "words: TakeUserTurn needs them"),
        (ask.Leave(id="x", by=USER), "Bye.", "words: Leave takes none"),
    ],
)
def test_words_come_with_what_says_something_alone(command: ask.Command, words: Any, lacking: str) -> None:
    with pytest.raises(ValueError, match=f"^{lacking}$"):
        ask.check_words(command, words)
