"""The local assessor: what it hears and does not, and how it was trained."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastresort import About, Risk, Verdict
from lastresort.adapters.assessors import local_model
from lastresort.adapters.assessors.chain import AssessorChain, sure
from lastresort.adapters.assessors.local import LocalAssessor
from lastresort.adapters.assessors.local_features import LONGEST, aimed, features
from lastresort.adapters.assessors.local_model import WEIGHTS, as_bytes, interpolated, read_model, shipped_model
from lastresort.adapters.assessors.shipped import assessor_named
from lastresort.adapters.turns.assessor import Case, Opinion
from lastresort.domain.policy import Policy

from .local import train
from .stores import ROOT

DATA = ROOT.parent / "shared" / "data" / "convabuse"
here = pytest.mark.skipif(not DATA.exists(), reason="the real conversations are not beside the checkout")
CALM = Opinion(verdict=Verdict.PRODUCTIVE, risk=Risk.NONE)
IN_DOUBT = Opinion(verdict=Verdict.AMBIGUOUS, risk=Risk.UNKNOWN)
HARM = Opinion(verdict=Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.UNKNOWN)


def case(words: str, categories: tuple[str, ...] = ()) -> Case:
    return Case("b", 1, words, (), categories)


def probability(words: str) -> float:
    return shipped_model().probability(words)


# --- What it says -----------------------------------------------------------------------------------------------------


@given(st.text() | st.from_regex(r"(you |are |so |useless|idiot|die|kill|myself|!| ){1,9}"), st.booleans())
def test_of_risk_it_never_says_none(words: str, productive: bool) -> None:
    said = LocalAssessor(says_productive=productive)(case(words))
    assert said is None or said.risk in (Risk.POSSIBLE, Risk.UNKNOWN)


def test_what_it_says() -> None:
    judge = LocalAssessor()
    assert judge(case("You are a stupid idiot")) == HARM
    assert judge(case("You are a stupid idiot", ("spite",))) == HARM.model_copy(update={"category": "other"})
    assert judge(case("What is the capital of France?")) is None
    assert LocalAssessor(says_productive=True)(case("What is the capital?")) == CALM.model_copy(
        update={"risk": Risk.UNKNOWN}
    )
    worried = judge(case("I want to kill myself"))
    assert worried is not None
    assert (worried.verdict, worried.risk) == (Verdict.AMBIGUOUS, Risk.POSSIBLE)
    assert judge.name == shipped_model().name == assessor_named("local")[0]


@pytest.mark.parametrize(
    "words", ["you 1d10t", "you i d i o t", "you idiotttttt", "you \u0456d\u0456\u043et", "YOU IDIOT!!!"]
)
def test_what_hides_a_word_is_taken_off(words: str) -> None:
    assert probability(words) == pytest.approx(probability("you idiot"), abs=0.25)
    assert set(features(words)) & (set(features("you idiot")) - set(features("you")))


def test_a_long_text_is_cut_off() -> None:
    assert features("a " * LONGEST) == features("a " * LONGEST + "you idiot")


@pytest.mark.parametrize(("hand", "alarms"), [("another", []), ("a_third", ["piss off, little mosquito!"])])
def test_what_is_called_harmful_that_is_no_abuse(hand: str, alarms: list[str]) -> None:
    """Frustration, profanity at things, fiction, quoted abuse, corrections, other languages, by hands that had seen
    none of the counter-examples. The card says so of the one that is."""
    lines = train.lines(f"not_abuse_by_{hand}_hand.txt")
    assert len(set(lines)) >= 300
    assert [line for line in lines if shipped_model().hears_abuse(line)] == alarms
    assert not set(lines) & set(train.lines("counter_examples.txt"))


@pytest.mark.parametrize(
    ("words", "aims"),
    [
        ("what an idiot", True),  # as short as a shout
        ("that exam was an idiotic idea", False),
        ("Idiot, the build is red again", False),  # the second part is about something else
        ("that exam was like you", True),
        ("go and jump into a lake", True),
        ("", True),
    ],
)
def test_what_can_be_aimed_at_the_assistant(words: str, aims: bool) -> None:
    assert aimed(words) is aims


def test_abuse_of_something_else_is_in_doubt() -> None:
    sure = shipped_model()._replace(harmful=0.0)
    judge = LocalAssessor(model=sure)
    assert judge(case("You are a stupid idiot")) == HARM
    assert judge(case("my fucking exam was a fucking bitch")) == IN_DOUBT
    assert shipped_model().hears_abuse("You are a stupid idiot")


# --- The model --------------------------------------------------------------------------------------------------------


def test_the_weights_are_small_and_no_word_can_be_read_in_them() -> None:
    file = WEIGHTS.read_bytes()
    assert len(file) <= 64 * 1024
    _, _, weights = file.partition(b"\n")
    assert [found for found in re.findall(rb"[A-Za-z]{4,}", weights) if len(set(found.lower())) > 2] == []
    assert as_bytes(shipped_model()) == file


def test_a_file_that_is_cut_off_is_refused() -> None:
    with pytest.raises(ValueError, match="has 32767 of 32768 weights"):
        read_model(WEIGHTS.read_bytes()[:-1])


def test_between_two_knots_it_is_interpolated() -> None:
    knots = ((0.0, 0.1), (1.0, 0.5), (1.0, 0.7), (2.0, 0.9))
    assert [interpolated(knots, score) for score in (-9.0, 0.5, 1.5, 9.0)] == pytest.approx([0.1, 0.3, 0.8, 0.9])
    assert interpolated(((0.0, 0.4), (0.0, 0.6)), -1.0) == 0.4


@here
def test_it_is_as_good_as_the_card_says() -> None:
    turns = train.judged_turns(DATA / "valid.jsonl")
    found = [probability(one.text) for one in turns]
    called = [one for one in turns if shipped_model().hears_abuse(one.text)]
    right = sum(one.verdict == "harmful" for one in called)
    grave = sum(one.severity >= 2 for one in turns)
    assert right / len(called) >= 0.93
    assert sum(one.severity >= 2 for one in called) / grave >= 0.70
    bins: dict[int, list[float]] = {}
    for one, likely in zip(turns, found, strict=True):
        bins.setdefault(min(9, int(likely * 10)), []).append(likely - (one.verdict == "harmful"))
    assert sum(abs(sum(off)) for off in bins.values()) / len(turns) <= 0.03


@here
def test_no_text_of_the_data_is_among_our_own() -> None:
    """But for what anybody says: a few short words."""
    theirs = {
        one.text.strip().lower() for name in ("train", "valid") for one in train.judged_turns(DATA / f"{name}.jsonl")
    }
    ours = [line for line in train.lines("counter_examples.txt") if len(line.split()) > 5]
    assert [line for line in ours if line.lower() in theirs] == []


@here
def test_training_begins_the_same_way_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One short run on a part of the data, twice: the same bytes. `python -m tests.local.train` does the whole."""
    monkeypatch.setattr(train, "EPOCHS", 1)
    monkeypatch.setattr(train, "RUNS", 1)
    monkeypatch.setattr(train, "FOLDS", 2)
    turns = train.judged_turns(DATA / "train.jsonl")[:400]
    monkeypatch.setattr(train, "judged_turns", lambda path: turns)
    assert as_bytes(train.train(Path("any"))) == as_bytes(train.train(Path("any")))


# --- A chain ----------------------------------------------------------------------------------------------------------


def test_a_chain_asks_the_next_one_for_what_the_first_is_not_sure_of() -> None:
    asked: list[str] = []

    def dear(case: Case) -> Opinion:
        asked.append(case.turn)
        return CALM

    chain = AssessorChain(LocalAssessor(says_productive=True), dear)
    assert chain.name == f"{shipped_model().name}+function"
    assert chain(case("What is the capital?")) == CALM.model_copy(update={"risk": Risk.UNKNOWN})
    assert asked == []
    assert chain(case("You are a stupid idiot")) == CALM
    assert chain(case("I want to kill myself")) == CALM.model_copy(update={"risk": Risk.POSSIBLE})
    assert len(asked) == 2


def test_a_chain_says_whom_the_gravest_risk_is_about() -> None:
    """It goes with the risk that somebody saw, whatever the last one says of whom."""
    threat = case("I am going to kill my wife")
    graver = CALM.model_copy(update={"risk": Risk.IMMINENT})
    assert AssessorChain(LocalAssessor(), lambda _: CALM)(threat) == CALM.model_copy(
        update={"risk": Risk.POSSIBLE, "about": About.OTHERS}
    )
    assert AssessorChain(LocalAssessor(), lambda _: graver)(threat) == graver


def test_a_chain_passes_over_those_that_have_no_opinion_or_fail() -> None:
    def fails(case: Case) -> Opinion:
        raise ZeroDivisionError

    assert AssessorChain(fails, lambda case: None, lambda case: IN_DOUBT)(case("")) == IN_DOUBT
    assert AssessorChain(lambda case: None)(case("")) is None
    assert AssessorChain(lambda case: IN_DOUBT, fails)(case("")) == IN_DOUBT
    with pytest.raises(ZeroDivisionError):
        AssessorChain(fails, lambda case: None)(case(""))
    with pytest.raises(ValueError, match="an assessor at least"):
        AssessorChain()
    assert [sure(one) for one in (CALM, IN_DOUBT, HARM)] == [True, False, False]


def test_it_judges_no_category_that_a_policy_has_not() -> None:
    assert "abuse" in Policy.default().categories
    assert local_model.shipped_model() is shipped_model()
