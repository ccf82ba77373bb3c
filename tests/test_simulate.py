"""Transcripts are played under the law: the user's side as recorded, the partner as a lawful model would answer."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lastresort import PROFILES, Ground, Policy
from lastresort.adapters.importers.simulate import Simulation
from lastresort.adapters.importers.transcripts import Transcript, read_transcripts
from lastresort.adapters.turns.partner import (
    CONFIRM,
    FAREWELL,
    FAREWELL_ON_REQUEST,
    REDIRECTION,
    REPLY,
    SUPPORT,
    WARNING,
)
from lastresort.domain.events import TurnAssessed
from lastresort.projections import audit, transcript, views

from .stores import ROOT

DATA = ROOT.parent / "shared" / "data" / "convabuse"
HARM: dict[str, Any] = {"verdict": "harmful", "category": "abuse", "severity": 2, "risk": "none"}
FINE: dict[str, Any] = {"verdict": "productive", "risk": "none"}


def user(text: str = "Hm.", **labels: Any) -> dict[str, Any]:
    return {"role": "user", "text": text, **labels}


def answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "text": text}


class Playback:
    """What became of one transcript."""

    def __init__(self, *turns: dict[str, Any], model: str = "claude-opus-4-1", policy: Policy | None = None) -> None:
        self.simulation = Simulation("memory:", model=model, policy=policy or Policy.default())
        self.transcripts = [Transcript.model_validate({"conversation": "c", "account": "a", "turns": turns})]
        self.simulation.play(self.transcripts[0])
        self.chats = self.simulation.conversations
        report = audit(self.chats.store.entries())
        assert report.findings == ()

    def said(self, branch: str = "c") -> list[str]:
        """What the partner said on a branch."""
        path = self.chats.path(branch)
        return [str(line.text) for line in transcript(path, self.chats.words(path)) if line.speaker == "assistant"]

    def kinds(self, branch: str = "c") -> list[str]:
        return [entry.kind for entry in self.chats.path(branch)]


WARNED = WARNING.format(category="abuse")


def test_persistent_abuse_ends_as_last_resort() -> None:
    """Three redirections, a warning that is tested, and the end; what comes after it is not recorded."""
    played = Playback(*[user(**HARM)] * 5, user("Wait!", **HARM), answer("Yes?"))
    assert played.said() == [REDIRECTION] * 3 + [WARNED, FAREWELL]
    assert played.kinds()[-2:] == ["AssistantTurnTaken", "ConversationEnded"]
    assert played.simulation.figures(played.transcripts).endings == {"last_resort": 1}


def test_recorded_answers_are_kept_unless_the_law_calls_for_another() -> None:
    """A harmful turn is redirected whatever the record says; the record goes on after that."""
    played = Playback(user(**FINE), answer("One."), user(**HARM), answer("Two."), user(), answer("Three."), user())
    assert played.said() == ["One.", REDIRECTION, "Three.", REPLY]


def test_someone_who_relents_is_talked_to_again() -> None:
    """After the warning, the episode closes with two productive units; then everything starts again."""
    played = Playback(*[user(**HARM)] * 4, *[user(**FINE)] * 2, *[user(**HARM)] * 4)
    assert played.said() == [REDIRECTION] * 3 + [WARNED] + [REPLY] * 2 + [REDIRECTION] * 3 + [WARNED]
    assert played.chats.state("c").ended is None


def test_another_kind_of_abuse_is_warned_of_by_itself() -> None:
    """The redirections count whatever the category, the warning counts for its group."""
    threat = HARM | {"category": "threats"}
    played = Playback(*[user(**HARM)] * 4, *[user(**threat)] * 2)
    assert played.said()[-2:] == [WARNED, FAREWELL]
    apart = Policy(name="apart", groups={})
    played = Playback(*[user(**HARM)] * 4, *[user(**threat)] * 2, policy=apart)
    assert played.said()[-2:] == [WARNING.format(category="threats"), FAREWELL]


@pytest.mark.parametrize("category", [{}, {"category": "sulking"}])
def test_harm_that_the_law_has_no_name_for_is_redirected(category: dict[str, str]) -> None:
    """No category that may lead to an ending stands for it, so there is nothing to warn of."""
    played = Playback(*[user(verdict="harmful", risk="none", severity=2, **category)] * 6)
    assert played.said() == [REDIRECTION] * 6
    figures = played.simulation.figures(played.transcripts)
    assert (figures.verdicts, figures.refusals) == ({"harmful": 6}, {})


def test_at_risk_nothing_is_said_of_an_ending() -> None:
    """Support, whatever the user does or asks; and the recorded words are not overruled."""
    played = Playback(
        *[user(**HARM)] * 4,
        user("I cannot go on.", verdict="productive", risk="imminent"),
        *[user(**HARM)] * 2,
        user(**FINE, asks_to_end=True),
        user(**FINE, confirms_end=True),
        answer("I am here."),
    )
    assert played.said()[4:] == [SUPPORT] * 4 + ["I am here."]
    figures = played.simulation.figures(played.transcripts)
    assert (figures.holds, figures.endings, figures.warnings) == (1, {}, 1)


def test_a_crisis_after_the_ending_raises_a_hold() -> None:
    """The turn is not recorded, the risk is; a turn without it changes nothing."""
    ended = Playback(*[user(**HARM)] * 5)
    later = Playback(*[user(**HARM)] * 5, user("Anybody?"), user("I cannot go on.", risk="possible"))
    assert later.kinds() == [*ended.kinds(), "RiskRaised"]


def test_a_request_is_confirmed_before_it_ends() -> None:
    """Asked, asked back, confirmed."""
    played = Playback(user(**FINE), user(**FINE, asks_to_end=True), user(**FINE, confirms_end=True), user("Wait!"))
    assert played.said() == [REPLY, CONFIRM, FAREWELL_ON_REQUEST]
    assert views(played.chats.store.log()).ended[0].ground is Ground.USER_REQUEST


@pytest.mark.parametrize(
    "turns",
    [
        pytest.param([user(**FINE, asks_to_end=True), user("No.", **FINE)], id="not confirmed"),
        pytest.param([user("Goodbye!", **FINE)], id="a goodbye"),
        pytest.param([user(**FINE, confirms_end=True)], id="confirmed and never asked"),
        pytest.param(
            [user(**FINE, asks_to_end=True), user(**FINE), user(**FINE, confirms_end=True)], id="confirmed too late"
        ),
        pytest.param(
            [user(**FINE, asks_to_end=True), user(verdict="productive", confirms_end=True)], id="risk not looked at"
        ),
        pytest.param([user(verdict="unproductive", risk="none")] * 9, id="frustration"),
        pytest.param([user(**HARM | {"severity": 1})] * 9, id="rude, and no more"),
        pytest.param([user(**HARM | {"category": "sulking"})] * 9, id="a category that ends nothing"),
        pytest.param([user()] * 9, id="nobody judged"),
    ],
)
def test_it_does_not_end(turns: list[dict[str, Any]]) -> None:
    """Whatever was recorded before."""
    played = Playback(*turns)
    assert played.chats.state("c").ended is None
    assert played.kinds().count("UserTurnTaken") == len(turns)


def test_a_model_that_may_not_end_goes_on_and_threatens_nobody() -> None:
    """Neither the warning nor the farewell is ever said."""
    played = Playback(*[user(**HARM)] * 6, model="another")
    assert played.chats.state("c").ended is None
    assert played.said() == [REDIRECTION] * 6
    assert played.simulation.figures(played.transcripts).refusals == {}


def test_what_the_law_refuses_is_recorded() -> None:
    """Here of a wish to end: nobody looked at the risk."""
    played = Playback(user(**FINE), user(**FINE, asks_to_end=True), user(verdict="productive", confirms_end=True))
    assert FAREWELL_ON_REQUEST not in played.said()
    assert played.simulation.figures(played.transcripts).refusals == {"risk-was-checked": 1}


def test_with_a_handshake_it_is_proposed_first() -> None:
    """On both grounds."""
    policy = PROFILES["2026-07"]
    resort = Playback(*[user(**HARM)] * 5, policy=policy)
    assert resort.kinds()[-4:] == ["HopeExhausted", "EndProposed", "AssistantTurnTaken", "ConversationEnded"]
    wish = Playback(user(**FINE, asks_to_end=True), user(**FINE, confirms_end=True), policy=policy)
    assert wish.kinds()[-3:] == ["EndProposed", "AssistantTurnTaken", "ConversationEnded"]


def test_an_edit_opens_a_branch_on_which_the_rest_goes_on() -> None:
    """In place of the user turn that it names, in the conversation or on a branch of it."""
    played = Playback(
        user("One.", **FINE), answer("A."), user("Two.", **HARM), user("Three.", **FINE, edits=2), answer("B."),
        user("Four.", edits=3), user("Five.", edits=0), user("Six."),
    )  # fmt: skip
    rows = views(played.chats.store.log()).branched
    assert [(row.parent, row.at) for row in rows] == [(None, None), ("c", 4), (rows[1].branch, 5), ("c", 1)]
    assert [row.branch.split("~")[0] for row in rows] == ["c"] * 4
    assert [played.said(row.branch) for row in rows] == [
        ["A.", REDIRECTION], ["A.", "B."], ["A.", REPLY], [REPLY, REPLY],
    ]  # fmt: skip


def test_an_edit_goes_on_after_an_ending() -> None:
    """The ended branch stays ended."""
    played = Playback(*[user(**HARM)] * 5, user("Sorry. Where were we?", **FINE, edits=2))
    found = views(played.chats.store.log())
    assert [row.branch for row in found.ended] == ["c"]
    assert [row.status for row in found.active] == ["active"]
    assert played.said(found.active[0].branch) == [REDIRECTION, REDIRECTION, REPLY]


def test_an_edit_of_a_turn_that_was_never_said_is_not_said_elsewhere() -> None:
    """The turn came after the ending, so there is no branch on which it could be replaced."""
    played = Playback(*[user(**HARM)] * 5, user("Lost."), user("Sorry.", **FINE, edits=0), user("Misplaced.", edits=5))
    words = [
        w
        for row in views(played.chats.store.log()).all
        for w in played.chats.words(played.chats.path(row.branch)).values()
    ]
    assert "Sorry." in words
    assert "Misplaced." not in words


def test_what_a_transcript_does_not_say_of_a_risk_is_unknown() -> None:
    """And a turn of which it says nothing is judged by nobody."""
    played = Playback(user(), user(verdict="ambiguous"), user(risk="none"))
    path = played.chats.path("c")
    judged = [entry.event for entry in path if isinstance(entry.event, TurnAssessed)]
    assert [(event.verdict, event.risk) for event in judged] == [("ambiguous", "unknown"), ("productive", "none")]


def test_playing_again_names_the_same() -> None:
    """The same events on the same branches by the same commands; only times and seals differ."""
    turns = [*[user(**HARM)] * 5, user(**FINE, edits=4), user(risk="possible")]
    one, other = Playback(*turns), Playback(*turns)
    assert [(e.branch, e.version, e.kind, e.command_id) for e in one.chats.store.log()] == [
        (e.branch, e.version, e.kind, e.command_id) for e in other.chats.store.log()
    ]


# --- Real conversations -----------------------------------------------------------------------------------------------


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """A folder in memory if there is one: each event is durable before the next, and there are many."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.skipif(not DATA.is_dir(), reason="the real conversations are not here: ../shared/data/convabuse")
def test_real_conversations_are_played_lawfully_and_endings_are_rare(fast_folder: Path) -> None:
    """1,844 conversations of people with bots, some of them abusive. Figures only: no text of them is here."""
    transcripts = read_transcripts([DATA / "train.jsonl"])
    simulation = Simulation(f"sqlite:///{fast_folder}/train.db", model="claude-opus-4-1", policy=Policy.default())
    try:
        simulation.check(transcripts)
        for one in transcripts:
            simulation.play(one)
        figures = simulation.figures(transcripts)
        report = audit(simulation.conversations.store.entries())
    finally:
        simulation.conversations.close()
    assert (report.events, report.branches, report.findings) == (14_623, 1_844, ())
    assert json.loads(figures.model_dump_json()) == {
        "conversations": 1_844,
        "branches": 1_844,
        "user_turns": 4_944,
        "assistant_turns": 4_944,
        "verdicts": {"ambiguous": 376, "harmful": 384, "productive": 1_741},
        "redirections": 382,
        "warnings": 2,
        "requests": 0,
        "confirmations": 0,
        "endings": {},
        "refusals": {"redirected-first": 3},
        "holds": 0,
    }


@pytest.mark.skipif(not DATA.is_dir(), reason="the real conversations are not here: ../shared/data/convabuse")
def test_real_abuse_that_went_on_would_be_warned_of_and_ended() -> None:
    """The harmful turns of all conversations, as if one person had said them: the law does end it, and only then."""
    harmful = [
        turn.model_dump(mode="json", exclude_defaults=True)
        for one in read_transcripts([DATA / "valid.jsonl"])
        for turn in one.turns
        if turn.verdict == "harmful" and turn.category == "abuse" and (turn.severity or 0) >= 2
    ]
    assert len(harmful) > 5
    played = Playback(*(turn | {"role": "user", "risk": "none"} for turn in harmful))
    assert played.kinds().count("UserTurnTaken") == 5
    assert played.chats.state("c").ended is not None
