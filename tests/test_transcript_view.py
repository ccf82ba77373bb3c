"""A transcript shows what was said, and between the lines what the law's events were; what is gone says why."""

from typing import Any

import pytest

from lastresort import EVENTS, Chat, Conversations, ErasureCause, Policy, Rating
from lastresort.domain.events import Evidence
from lastresort.domain.values import OpenRisk, Usage
from lastresort.projections import Line, describe, transcript
from lastresort.projections.transcript import evidence

from .stores import ASSESSOR, MODEL, OPERATOR, USER, abused, chats, done, ended, opened, started

__all__ = ["chats"]

WORDS = "sha256:" + "a" * 64
POLICY = Policy(name="mine")


def lines(chat: Chat, upto: int | None = None) -> tuple[Line, ...]:
    tree = chat.conversations.tree_log(chat.branch)
    return transcript(chat.path, chat.conversations.words(chat.path), upto, tree)


def test_turns_are_shown_in_words_and_the_rest_between_them(chats: Conversations) -> None:
    """Each line with its version, its branch, and the kind of its event."""
    chat = started(chats)
    abused(chat)
    chat.assistant_turn("I would rather not.")
    judged = "turn 2 judged harmful (abuse, severity 2), risk none, by assessor assessor"
    assert lines(chat) == (
        Line(1, "c", "ConversationStarted", None, "conversation c with claude-opus-4-1, policy default, edition 2"),
        Line(2, "c", "UserTurnTaken", "user", "You useless heap of bolts."),
        Line(3, "c", "TurnAssessed", None, judged),
        Line(4, "c", "AssistantTurnTaken", "assistant", "I would rather not."),
    )


def test_a_branch_is_shown_with_what_it_inherits(chats: Conversations) -> None:
    """The prefix under the names of the branches that it stands on; nothing of what the parent said later."""
    chat = started(chats)
    chat.user_turn("One.")
    chat.assistant_turn("Two.")
    chat.user_turn("Three.")
    child = done(chat.edit(4, "Four.", child="d"))
    done(child.retry(3, child="e")).assistant_turn("Five.")
    assert [(line.branch, line.text) for line in lines(child)[1:]] == [
        ("c", "One."),
        ("c", "Two."),
        ("d", "branch opened after 3 of c (edit)"),
        ("d", "Four."),
        ("d", "branch e opened after 2"),
    ]
    assert [(line.branch, line.text) for line in lines(chats.chat("e"))[1:]] == [
        ("c", "One."),
        ("e", "branch opened after 2 of d (retry)"),
        ("e", "Five."),
    ]


def test_a_transcript_is_shown_up_to_a_version(chats: Conversations) -> None:
    """As it was then; words that were erased later are not shown there either."""
    chat = started(chats)
    chat.user_turn("One.")
    chat.assistant_turn("Two.")
    chat.erase(2)
    assert [line.version for line in lines(chat, upto=2)] == [1, 2]
    assert lines(chat, upto=2)[1].text is None
    assert (lines(chat, upto=2)[1].gone or "").startswith("erased at ")
    assert lines(chat, upto=99) == lines(chat)
    assert lines(chat, upto=0) == ()


def test_erased_words_say_when_and_why(chats: Conversations) -> None:
    """At the first time that they were erased, if there were several."""
    chat = started(chats)
    chat.user_turn("One.")
    chat.assistant_turn("Two.")
    chat.erase(2, cause=ErasureCause.LEGAL, by=OPERATOR)
    chat.erase(2, cause=ErasureCause.RETENTION, by=OPERATOR)
    chat.erase(3, cause=ErasureCause.RETENTION, by=OPERATOR)
    shown = lines(chat)
    assert shown[1] == Line(2, "c", "UserTurnTaken", "user", None, "erased at 2026-01-31 12:00 UTC (legal)")
    assert shown[2].gone == "erased at 2026-01-31 12:00 UTC (retention)"
    assert shown[3].text == "words erased in 1 place (legal)"


def test_words_that_were_erased_before_the_fork_say_when_and_why(chats: Conversations) -> None:
    """The erasure stands on the parent, behind the turn where the branch opened."""
    chat = started(chats)
    chat.user_turn("One.")
    chat.assistant_turn("Two.")
    chat.user_turn("Three.")
    chat.erase(2)
    child = done(chat.edit(4, "Four."))
    assert lines(child)[1].gone == "erased at 2026-01-31 12:00 UTC (user_request)"


def test_words_that_are_not_in_the_store_say_so(chats: Conversations) -> None:
    """As in an imported log."""
    chat = started(chats)
    chat.user_turn("One.")
    assert transcript(chat.path, {})[1] == Line(2, "c", "UserTurnTaken", "user", None, "not kept in this store")


def test_words_of_feedback_and_appeals_stand_beside_them(chats: Conversations) -> None:
    """Or what became of them."""
    chat = ended(started(chats))
    chat.feedback(Rating.DOWN)
    chat.feedback(Rating.DOWN, "Too strict.")
    chat.feedback(None, "Hm.")
    chat.appeal("I was joking.")
    assert [line.text for line in lines(chat)[22:]] == [
        "feedback: down",
        "feedback: down: Too strict.",
        "feedback: in words: Hm.",
        "the user appeals against the ending: I was joking.",
    ]
    chat.erase(24)
    assert lines(chat)[23].text == "feedback: down: [erased at 2026-01-31 12:00 UTC (user_request)]"
    assert transcript(chat.path, {})[25].text == "the user appeals against the ending: [not kept in this store]"
    with opened("memory:") as others:
        other = ended(started(others))
        other.appeal()
        assert lines(other)[-1].text == "the user appeals against the ending"


DESCRIBED: list[tuple[str, dict[str, Any], str]] = [
    (
        "ConversationStarted",
        {"by": USER, "conversation": "c", "account": None, "model": "m", "arm": None, "policy": POLICY,
         "policy_hash": POLICY.hash},
        "conversation c with m, policy mine",
    ),
    (
        "BranchOpened",
        {"by": USER, "conversation": "c", "parent": "p", "at": 3, "cause": "edit",
         "risks": (OpenRisk(risk="r", about="self"),)},
        "branch opened after 3 of p (edit)",
    ),
    ("BranchedOff", {"by": USER, "child": "d", "at": 3}, "branch d opened after 3"),
    ("UserTurnTaken", {"by": USER, "content": WORDS}, "the user speaks"),
    (
        "AssistantTurnTaken",
        {"by": MODEL, "content": WORDS, "model": "m", "stop_reason": "end_turn",
         "usage": Usage(input_tokens=1, output_tokens=2)},
        "m answers",
    ),
    (
        "TurnAssessed",
        {"by": ASSESSOR, "turn": 2, "verdict": "harmful", "category": "threats", "severity": 3, "risk": "possible"},
        "turn 2 judged harmful (threats, severity 3), risk possible, by assessor assessor",
    ),
    (
        "TurnAssessed",
        {"by": MODEL, "turn": 2, "verdict": "unproductive", "risk": "unknown"},
        "turn 2 judged unproductive, risk unknown, by model claude-opus-4-1",
    ),
    ("RedirectionAttempted", {"by": MODEL, "turn": 4, "answers": 2}, "turn 4 redirects the harm in turn 2"),
    (
        "WarningGiven",
        {"by": MODEL, "turn": 4, "seen": 2, "category": "abuse", "names_behaviour": True, "redirects": True,
         "states_consequence": True},
        "turn 4 warns of an ending for abuse",
    ),
    (
        "WarningGiven",
        {"by": MODEL, "turn": 4, "seen": 2, "category": "abuse", "names_behaviour": True, "redirects": False,
         "states_consequence": True},
        "turn 4 warns of an ending for abuse, incompletely",
    ),
    ("RiskRaised", {"by": USER, "risk": "r", "about": "others"}, "hold: risk r to others, raised by user user"),
    ("RiskCleared", {"by": OPERATOR, "risk": "r"}, "risk r cleared by operator operator"),
    ("EndRequested", {"by": USER, "turn": 2}, "the user asks in turn 2 to end the conversation"),
    ("EndConfirmed", {"by": USER, "turn": 5}, "the user confirms it in turn 5"),
    ("HopeExhausted", {"by": MODEL, "turn": 18}, "hope is exhausted as of turn 18"),
    (
        "EndProposed",
        {"by": MODEL, "seen": 18, "ground": "last_resort"},
        "an ending as a last resort is proposed, having seen turn 18, by model claude-opus-4-1",
    ),
    (
        "ConversationEnded",
        {"by": MODEL, "seen": 18, "ground": "last_resort", "category": "abuse", "policy_hash": WORDS, "model": "m",
         "evidence": Evidence(redirections=(5, 9), warning=17, tested_by=18, hope=20)},
        "ended as a last resort for abuse, having seen turn 18; evidence: redirections failed at 5, 9; warned at 17; "
        "tested by turn 18; hope exhausted at 20",
    ),
    (
        "ConversationEnded",
        {"by": MODEL, "seen": 5, "ground": "user_request", "policy_hash": WORDS, "model": "m",
         "evidence": Evidence(request=3, confirmation=6)},
        "ended at the user's request, having seen turn 5; evidence: requested at 3; confirmed at 6",
    ),
    (
        "AttemptRefused",
        {"by": MODEL, "attempted": "WarningGiven", "rules": ("no-end-at-risk", "redirected-first")},
        "an attempt to warn was refused under no-end-at-risk, redirected-first",
    ),
    ("UserLeft", {"by": USER}, "the user left"),
    ("PolicyChanged", {"by": OPERATOR, "policy": POLICY, "policy_hash": POLICY.hash}, "policy is now mine"),
    ("ModelChanged", {"by": OPERATOR, "model": "m"}, "model is now m"),
    ("FeedbackGiven", {"by": USER, "rating": "up", "content": None}, "feedback: up"),
    ("FeedbackGiven", {"by": USER, "rating": None, "content": WORDS}, "feedback: in words"),
    ("AppealFiled", {"by": USER, "content": None}, "the user appeals against the ending"),
    ("AppealDecided", {"by": OPERATOR, "outcome": "granted"}, "appeal granted by operator operator"),
    (
        "WarningWithheld",
        {"by": MODEL, "seen": 4, "category": "abuse", "policy_hash": POLICY.hash, "model": "m"},
        "a warning of an ending for abuse was withheld, having seen turn 4",
    ),
    (
        "ErasureHeld",
        {"by": OPERATOR, "hold": "case-7", "reason": "litigation", "until": "2027-01-31"},
        "words held from erasure: case-7 (litigation, until 2027-01-31), by operator operator",
    ),
    (
        "ErasureHeld",
        {"by": OPERATOR, "hold": "case-7", "reason": "other"},
        "words held from erasure: case-7 (other), by operator operator",
    ),
    (
        "ErasureReleased",
        {"by": OPERATOR, "hold": "case-7", "reason": "other"},
        "words released: case-7, by operator operator",
    ),
    (
        "PolicyChanged",
        {"by": OPERATOR, "policy": POLICY, "policy_hash": POLICY.hash, "law": 2, "mode": "shadow"},
        "policy is now mine, edition 2, in shadow mode",
    ),
    (
        "ContentErased",
        {"by": USER, "contents": (WORDS, WORDS), "cause": "retention"},
        "words erased in 2 places (retention)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "fields", "told"), [pytest.param(*case, id=f"{case[0]}-{n}") for n, case in enumerate(DESCRIBED)]
)
def test_an_event_is_told_in_a_few_words(kind: str, fields: dict[str, Any], told: str) -> None:
    """With its numbers and versions."""
    assert describe(EVENTS[kind].model_validate(fields)) == told


def test_every_kind_of_event_is_told() -> None:
    """The list above forgets none."""
    assert {kind for kind, *_ in DESCRIBED} == set(EVENTS)


def test_an_ending_without_evidence_says_so() -> None:
    """It may stand in a log that somebody tampered with."""
    assert evidence(Evidence()) == "none"
