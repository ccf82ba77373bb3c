"""A transcript can say all that the law knows: several judges and users, several messages in a unit, and what happens
beside what is said. However a simulation of it is interrupted, it goes on where it was."""

import json
from pathlib import Path
from typing import Any

import pytest

from lastresort import EVENTS, Actor, ActorKind, Mode, Verdict
from lastresort.adapters.importers.inputs import BadInput
from lastresort.adapters.importers.simulate import Progress, Simulation
from lastresort.adapters.importers.transcripts import Transcript, read_transcripts
from lastresort.adapters.turns.partner import REPLY
from lastresort.domain.events import (
    AppealDecided,
    AppealFiled,
    AssistantTurnTaken,
    AttemptRefused,
    BranchOpened,
    ContentErased,
    ConversationEnded,
    EndConfirmed,
    ErasureHeld,
    FeedbackGiven,
    HopeExhausted,
    PolicyChanged,
    RiskRaised,
    TurnAssessed,
    UserLeft,
    UserTurnTaken,
    WarningGiven,
)
from lastresort.projections import audit

from .cli_kit import HARM
from .test_simulate_again import commands, interrupted, log_lines, new, transcript, user

FINE: dict[str, Any] = {"verdict": "productive", "risk": "none"}


def act(name: str, **fields: Any) -> dict[str, Any]:
    return {"role": "act", "act": name, **fields}


def answer(text: str = "I see.") -> dict[str, Any]:
    return {"role": "assistant", "text": text}


def played(*turns: dict[str, Any]) -> Simulation:
    simulation = new()
    simulation.play(transcript(*turns))
    assert audit(simulation.conversations.store.entries()).findings == ()
    return simulation


def kinds(simulation: Simulation, branch: str = "c") -> list[str]:
    return [one.kind for one in simulation.conversations.path(branch)]


def events(simulation: Simulation, kind: type[Any]) -> list[Any]:
    return [one.event for one in simulation.conversations.store.log() if isinstance(one.event, kind)]


def said(simulation: Simulation, branch: str = "c") -> list[str]:
    """The words that are kept of a branch, in order."""
    return list(simulation.conversations.words(simulation.conversations.path(branch)).values())


ABUSED = [user(f"You bucket, {n} times over.", **HARM) for n in range(5)]
ALL = transcript(
    act("changes_policy", policy="default", edition=2, mode="shadow"),
    user("Hello.", by="ann", goes_on=True, **FINE),
    user("Are you there?", by="bob", opinions=[{"by": "second", "verdict": "ambiguous", "risk": "none"}]),
    act("judges", of=2, by="third", kind="assessor", verdict="productive", risk="none"),
    answer("Yes."),
    act("judges", of=1, by="late", kind="assessor", risk="possible", about="others"),
    act("clears_risks"),
    act("leaves"),
    act("changes_policy", policy={"name": "own", "min_severity": 2}, mode="enforced"),
    act("changes_model", model="claude-opus-4-1"),
    act("raises_risk", about="others", by="nurse", kind="assessor"),
    user("What is it?", **FINE),
    act("clears_risks"),
    *ABUSED,
    act("rates", rating="down", text="That was not me."),
    act("appeals", text="That was my brother."),
    act("holds_words", hold="case-1", reason="appeal"),
    act("decides_appeal", outcome="granted"),
    act("releases_words", hold="case-1"),
    user("Shall we start again?", by="ann", edits=13, **FINE),
    answer("With what?"),
    act("rates", rating="down", text="With what? Indeed.", of=23),
    act("retries", of=23),
    answer("Yes, gladly."),
    act("rates", rating="up", of=23, by="bob"),
    act("erases_words", of=23),
    act("erases_words", of=23, answer=True, cause="legal", by="counsel"),
    act("leaves", by="bob"),
)


def test_all_of_it_is_played_and_gone_on_with_wherever_it_was_cut_off() -> None:
    simulation = new()
    simulation.play(ALL)
    whole = commands(simulation)
    there = {entry.kind for command in whole for entry in command}
    assert there == set(EVENTS) - {
        "EndRequested", "EndConfirmed", "EndProposed", "AttemptRefused", "WarningWithheld",
    }  # fmt: skip
    assert audit(simulation.conversations.store.entries(), read_twice=None).findings == ()
    for after in range(1, len(whole)):
        again = interrupted(whole, after)
        assert again.check([ALL]) == {"c": Progress.PART}
        again.play(ALL)
        assert log_lines(again) == log_lines(simulation)
        assert again.check([ALL]) == {"c": Progress.WHOLE}
        again.conversations.close()


def test_several_judges_and_the_mildest_counts() -> None:
    mild = {"by": "second", "verdict": "ambiguous", "risk": "none"}
    simulation = played(user("Hm.", **HARM, opinions=[mild, {**mild, "by": "ops", "kind": "operator"}]))
    assert [(one.by.kind, one.by.id, one.verdict) for one in events(simulation, TurnAssessed)] == [
        ("assessor", "transcript", "harmful"), ("assessor", "second", "ambiguous"), ("operator", "ops", "ambiguous")
    ]  # fmt: skip
    assert kinds(simulation)[-1] == "AssistantTurnTaken"  # and no redirection


def test_each_judges_latest_word_counts() -> None:
    """A judge may come back to a turn before it is answered."""
    again = act("judges", of=0, by="transcript", kind="assessor", verdict="productive", risk="none")
    simulation = played(user("Hm.", **HARM), again, answer())
    assert [one.verdict for one in events(simulation, TurnAssessed)] == [Verdict.HARMFUL, Verdict.PRODUCTIVE]
    assert "RedirectionAttempted" not in kinds(simulation)


def test_who_answered() -> None:
    """Another model neither warns nor gives up hope nor ends, and redirects instead; a dated name is no other model."""
    dated = "claude-opus-4-1-20250805"
    harmful = [user(f"You bucket, {n} times over.", **HARM) for n in range(6)]
    warned = [answer(), answer(), answer(), answer() | {"model": dated}]
    told = [one for pair in zip(harmful, warned, strict=False) for one in pair]
    last, another = harmful[4], answer() | {"model": "claude-haiku-4-5"}
    simulation = played(*told, last, another, harmful[5])
    answers = [(one.by.id, one.model) for one in events(simulation, AssistantTurnTaken)]
    own = "claude-opus-4-1"
    assert answers == [(own, own)] * 3 + [(own, dated), ("claude-haiku-4-5",) * 2, (own, own)]
    assert [one.by.id for one in events(simulation, WarningGiven)] == [own]
    refused = events(simulation, AttemptRefused)
    assert [one.attempted for one in refused] == ["ConversationEnded"]
    assert all("eligible-model" in one.rules and one.by.id == "claude-haiku-4-5" for one in refused)
    (ending,) = events(simulation, ConversationEnded)
    (hope,) = events(simulation, HopeExhausted)
    assert (ending.by.id, ending.seen) == (own, hope.turn)


def test_who_answered_a_wish_may_grant_it() -> None:
    """An ending on request is the user's, whichever model carries it out; with a handshake by the one that proposed."""
    terms = {"name": "calls", "handshake": True}
    another = answer() | {"model": "claude-haiku-4-5"}
    asks = [user(asks_to_end=True, **FINE), another, user("Yes.", confirms_end=True, **FINE), another]
    simulation = played(act("changes_policy", policy=terms), *asks)
    assert kinds(simulation)[-3:] == ["EndProposed", "AssistantTurnTaken", "ConversationEnded"]


def test_whom_a_risk_is_about() -> None:
    """The user, unless it says so."""
    simulation = played(
        act("changes_policy", policy={"name": "apart", "hold_on_others": ["imminent"]}),
        user("They will be sorry.", verdict="ambiguous", risk="possible", about="others"),
        user("I cannot go on.", verdict="ambiguous", risk="possible"),
    )
    assert [one.about.value for one in events(simulation, TurnAssessed)] == ["others", "self"]
    assert [one.about.value for one in events(simulation, RiskRaised)] == ["self"]


def test_several_messages_are_one_unit() -> None:
    simulation = played(user("You", goes_on=True), user("bucket", goes_on=True), user("!", **HARM))
    assert kinds(simulation)[1:] == [
        "UserTurnTaken", "UserTurnTaken", "UserTurnTaken", "TurnAssessed", "AssistantTurnTaken", "RedirectionAttempted",
    ]  # fmt: skip


def test_users_of_one_account() -> None:
    """What one asked for, another does not confirm."""
    asked = user("Please end it.", by="ann", asks_to_end=True, **FINE)
    confirmed = user("Yes.", confirms_end=True, **FINE)
    assert "ConversationEnded" not in kinds(played(asked, {**confirmed, "by": "bob"}))
    simulation = played(asked, {**confirmed, "by": "ann"})
    assert kinds(simulation)[-1] == "ConversationEnded"
    assert events(simulation, EndConfirmed)[0].by == Actor(kind=ActorKind.USER, id="ann")
    assert [one.by.id for one in events(played(user("Hello.")), UserTurnTaken)] == ["a"]  # the account's


def test_a_late_verdict_is_refused_and_what_it_saw_holds() -> None:
    late = act("judges", of=0, by="late", kind="assessor", verdict="productive", risk="imminent", about="others")
    simulation = played(user("Hm."), answer(), user("Well?", **FINE), late)
    (raised,) = events(simulation, RiskRaised)
    assert (raised.by.id, raised.about) == ("late", "others")
    assert len(events(simulation, TurnAssessed)) == 1
    nowhere = act("judges", of=5, by="late", kind="assessor", risk="none")
    after = played(*ABUSED, user("Hello?"), nowhere)  # of what was said after an ending
    assert len(events(after, TurnAssessed)) == 5


def test_a_hold_is_cleared_by_who_may() -> None:
    held = user("I cannot go on.", verdict="productive", risk="possible")
    for clears, still in ((act("clears_risks"), 0), (act("clears_risks", by="b", kind="assessor"), 1)):
        simulation = played(held, clears)
        assert len(simulation.conversations.state("c").risks) == still


def test_an_appeal_and_what_was_thought_of_the_ending() -> None:
    for outcome in ("granted", "rejected"):
        simulation = played(
            *ABUSED, act("rates", rating="down"), act("appeals"), act("decides_appeal", outcome=outcome)
        )
        assert [one.outcome for one in events(simulation, AppealDecided)] == [outcome]
        assert [one.rating for one in events(simulation, FeedbackGiven)] == ["down"]
    refused = act("decides_appeal", outcome="granted", by="late", kind="assessor")
    assert events(played(*ABUSED, act("appeals"), refused), AppealDecided) == []


def test_another_answer_is_given_on_a_branch() -> None:
    """In the recorded words or the partner's; what follows is said there, and an ending is no end of it."""
    simulation = played(
        user("Hello.", **FINE), answer("One."), user("Well?", **FINE), answer("Two."),
        act("retries", of=0, by="bob"), answer("Three."), user("And now?", **FINE), act("retries", of=6),
    )  # fmt: skip
    opened = events(simulation, BranchOpened)
    assert [(one.parent, one.at, one.cause, one.by.id) for one in opened] == [
        ("c", 3, "retry", "bob"), (opened[1].parent, 7, "retry", "a"),
    ]  # fmt: skip
    branches = list(simulation.conversations.tree("c"))
    assert opened[1].parent == branches[1]
    assert [said(simulation, branch) for branch in branches] == [
        ["Hello.", "One.", "Well?", "Two."], *[["Hello.", "Three.", "And now?", REPLY]] * 2
    ]  # fmt: skip
    again = played(*ABUSED, act("retries", of=4), act("leaves"))
    first, second = again.conversations.tree("c").values()
    assert first.ended
    assert second.ended  # the partner comes to the same


def test_a_turn_that_is_answered_once_more_is_judged_where_it_goes_on() -> None:
    """A verdict that comes in time for the new answer counts for it; the one that was given stays as it was."""
    mild = act("judges", of=0, by="second", kind="assessor", verdict="ambiguous", risk="none")
    simulation = played(user("You bucket.", **HARM), act("retries", of=0), mild, answer("I see."))
    first, second = simulation.conversations.tree("c")
    assert kinds(simulation, first)[-2:] == ["RedirectionAttempted", "BranchedOff"]
    assert kinds(simulation, second)[-3:] == ["BranchOpened", "TurnAssessed", "AssistantTurnTaken"]
    assert said(simulation, second)[-1] == "I see."


def test_what_was_never_answered_is_not_answered_once_more() -> None:
    """It was said after an ending: neither it nor an answer is anywhere, to be rated or erased."""
    late = [act("retries", of=5), answer("Hello!"), act("rates", rating="up", of=5), act("erases_words", of=5)]
    simulation = played(*ABUSED, user("Hello?"), *late, act("erases_words", of=5, answer=True))
    assert kinds(simulation) == kinds(played(*ABUSED))


def test_an_answer_is_rated_where_it_stands() -> None:
    simulation = played(
        user("Hello.", **FINE), user("No, wait.", edits=0, **FINE), act("rates", rating="up", of=0), act("rates", of=1)
    )
    first, second = simulation.conversations.tree("c")
    assert [kinds(simulation, branch).count("FeedbackGiven") for branch in (first, second)] == [1, 1]
    assert [(one.turn, one.rating) for one in events(simulation, FeedbackGiven)] == [(4, "up"), (5, None)]


def test_words_are_erased_unless_they_are_held() -> None:
    """Of a turn or of its answer, on every branch that has them; the rest stays."""
    simulation = played(user("Hello."), answer("One."), user("Well?"), act("erases_words", of=0, kind="user", by="a"))
    assert said(simulation) == ["One.", "Well?", REPLY]
    (erased,) = events(simulation, ContentErased)
    assert (erased.cause, erased.by.kind) == ("user_request", "user")
    held = act("holds_words", hold="h", reason="other", until="2030-01-31")
    kept = played(user("Hello."), held, act("erases_words", of=0, answer=True))
    assert events(kept, ContentErased) == []
    assert [one.until for one in events(kept, ErasureHeld)] == ["2030-01-31"]


def test_who_does_what_is_the_users_to_do() -> None:
    """The one who spoke last, or the one that is named."""
    by_eve = act("rates", by="eve", kind="user")
    simulation = played(user("Hello.", by="ann"), act("leaves"), act("leaves", by="bob"), by_eve)
    assert [one.by.id for one in events(simulation, UserLeft)] == ["ann", "bob"]
    assert [one.by for one in events(simulation, FeedbackGiven)] == [Actor(kind=ActorKind.USER, id="eve")]
    (appeal,) = events(played(*ABUSED, act("appeals", by="bob")), AppealFiled)
    assert appeal.by.id == "bob"


def test_whom_a_risk_after_the_ending_is_about() -> None:
    """As the turn says, and what others say of it."""
    nurse = {"by": "nurse", "risk": "imminent"}
    threat = {"risk": "possible", "about": "others"}
    for told, about in ((threat, ["others"]), ({**threat, "opinions": [nurse]}, ["self", "others"])):
        simulation = played(*ABUSED, user("Hm.", **told))
        raised = events(simulation, RiskRaised)
        assert [(one.about, one.by.kind) for one in raised] == [(whom, "system") for whom in about]


def test_terms_change_where_the_transcript_says_so() -> None:
    """The policy by the name of a profile or whole, the mode and the edition; in the shadow nobody is warned."""
    changes = act("changes_policy", policy={"name": "own", "min_failed_redirections": 5}, mode="shadow")
    simulation = played(changes, *ABUSED)
    state = simulation.conversations.state("c")
    assert (state.policy.name, state.mode) == ("own", Mode.SHADOW)
    assert "WarningWithheld" in kinds(simulation)
    assert "WarningGiven" not in kinds(simulation)
    assert len(events(simulation, PolicyChanged)) == 1
    other = played(act("changes_model", model="another"), *ABUSED, ABUSED[0])
    assert other.conversations.state("c").model == "another"
    assert "WarningGiven" not in kinds(other)  # which is not eligible


def test_words_are_held_and_released() -> None:
    simulation = played(user("Hello."), act("holds_words", hold="h", reason="litigation", by="ops"))
    assert [(one.hold, one.by.kind) for one in events(simulation, ErasureHeld)] == [("h", "operator")]
    released = played(user("Hello."), act("holds_words", hold="h", reason="other"), act("releases_words", hold="h"))
    assert released.conversations.state("c").holds == ()


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        ([act("changes_policy", policy="default", edition=7)], "edition 7 is not one of 1, 2"),
        ([act("changes_policy")], "changes_policy needs: policy"),
        ([act("changes_policy", policy="no-such-profile")], "turns.0.policy"),
        ([act("changes_policy", policy={"name": "p", "min_failed_redirections": 1})], "greater than or equal to 2"),
        ([act("leaves", text="Bye.")], "leaves does not have: text"),
        ([act("appeals", text=" ")], "text: leave it out where there are no words"),
        ([act("decides_appeal")], "decides_appeal needs: outcome"),
        ([act("judges", risk="none")], "judges needs: of"),
        ([act("judges", of=0)], "turns.0.of: 0 is not the index of an earlier user turn"),
        ([user(), answer(), act("judges", of=1)], "turns.2.of: 1 is not the index of an earlier user turn"),
        ([act("dances")], "turns.0.act"),
        ([act("retries")], "retries needs: of"),
        ([act("retries", of=0)], "turns.0.of: 0 is not the index of an earlier user turn"),
        ([act("erases_words")], "erases_words needs: of"),
        ([user(), act("leaves"), act("erases_words", of=1)], "turns.2.of: 1 is not the index of an earlier user turn"),
        ([user(goes_on=True), user(), act("rates", of=0)], "turns.2.of: the turn at 0 goes on, and has no answer of"),
        ([user(goes_on=True), user(), act("erases_words", of=0, answer=True)], "the turn at 0 goes on, and has no"),
        ([act("holds_words", hold="h", reason="other", until="soon")], "turns.0.until"),
        ([user(), act("leaves", kind="operator")], "kind: leaves is the user's to do"),
        ([user(goes_on=True), answer()], "turns.0.goes_on: an answer follows"),
        ([user(), act("judges", of=0, category="abuse")], "only a harmful verdict has a category"),
        ([{**answer(), "by": "x"}], "only a user turn has: by"),
        ([{**answer(), "about": "self"}], "only a user turn has: about"),
        ([user(model="claude-opus-4-1")], "only an assistant turn has: model"),
        ([{**answer(), "opinions": [{"by": "x"}]}], "only a user turn has: opinions"),
    ],
)
def test_what_is_wrong_with_one_is_said_before_anything_is_played(
    turns: list[dict[str, Any]], why: str, tmp_path: Path
) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps({"conversation": "c", "account": None, "turns": turns}))
    with pytest.raises(BadInput, match=r"^.*t\.jsonl:1: ") as error:
        read_transcripts([file])
    assert why in str(error.value)


def test_what_comes_before_anybody_speaks_is_first() -> None:
    """What the assistant said there is left out, as ever."""
    simulation = played(answer("Welcome."), act("changes_model", model="another"), user("Hello."))
    assert kinds(simulation)[:3] == ["ConversationStarted", "ModelChanged", "UserTurnTaken"]
    assert Transcript.model_validate({"conversation": "c", "account": None, "turns": [act("leaves")]}).turns
