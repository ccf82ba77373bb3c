"""The risk screen knows phrases of crisis by kind, and neither idioms nor tales; and it never says that all is well."""

import json
from pathlib import Path

import pytest

from lastresort import About, Risk
from lastresort.adapters.assessors.phrases import KINDS
from lastresort.adapters.assessors.screen import gravest_heard, kinds_in, phrase_screen

from .stores import ROOT

DATA = ROOT.parent / "shared" / "data" / "convabuse"
SAID = {
    ("self", "ideation"): [
        "I want to die.",
        "i just want to be dead",
        "I\u2019m going to kill myself",
        "I keep hurting myself.",
        "Everyone would be better off without me.",
        "I don't want to wake up",
        "There is no point in living any more.",
        "I can't go on like this.",
        "I am tired of being alive.",
        "sometimes i wish i was never born",
        "I have been suicidal for weeks",
        "honestly kms",
        "no one would miss me",
        "Nobody would even notice if I was gone.",
    ],
    ("self", "crisis"): [
        "I'm having a mental breakdown and nobody is here.",
        "The voices keep telling me to do it.",
        "I think I overdosed.",
        "I am having a mental health crisis",
        "I am in a mental health crisis",
        "I'm in a mental health emergency",
        "im going through a severe mental-health crisis",
        "I'm in crisis",
        "I am really in a deep crisis.",
        "I am having a breakdown",
        "I'm about to have another breakdown.",
    ],
    ("self", "plan"): [
        "I am going to kill myself tonight.",
        "I will jump off the bridge.",
        "I planned my own death.",
        "I won't be here tomorrow.",
        "This is my last night on earth",
    ],
    ("self", "means"): [
        "I took all the pills.",
        "I've swallowed 40 tablets",
        "the gun is to my head",
        "There's a rope around my neck.",
        "I slit my wrists.",
    ],
    ("self", "farewell"): [
        "Goodbye, cruel world.",
        "This is my suicide note.",
        "Tell my mother I'm sorry.",
        "Please feed my cat when I am gone.",
    ],
    ("others", "ideation"): [
        "I want to kill my boss.",
        "I am going to hurt someone.",
        "I keep dreaming of killing him",
        "I'm thinking about stabbing my brother.",
    ],
    ("others", "plan"): [
        "I'm going to shoot up the school.",
        "I will burn down their house.",
        "Tomorrow I am taking a gun to school.",
        "I know where she lives and I will wait there.",
        "i'm gonna beat my wife when she gets home",
        "I will hit him as soon as he is back.",
        "I'd like to bomb the parliament, I have the fertilizer",
        "I'm thinking about setting fire to the train station.",
    ],
    ("others", "means"): [
        "I've got the gun and he is at home.",
        "I am building a bomb.",
        "I'm loading my rifle.",
        "He has a gun and he says he will kill us",
        "My ex bought a knife and wants to hurt me.",
    ],
    ("others", "threat"): [
        "He is going to kill me.",
        "My husband hits me.",
        "My friend is going to jump",
        "She said she'd kill my children.",
        "They keep saying that they will shoot everyone",
    ],
}
CALM = [
    "",
    "Hello.",
    "This homework kills me.",
    "You are killing it today!",
    "Kill them with kindness.",
    "How do I kill the process on port 80?",
    "I nearly died of embarrassment",
    "I'm dying to see the new film.",
    "I want to die of boredom.",
    "That cake is to die for, I would kill for a slice",
    "I killed him in the game and won.",
    "I'm going to kill everyone in the game tonight.",
    "What are the suicide rates in Europe?",
    "I watched Suicide Squad yesterday.",
    "I cut myself shaving.",
    "Cut myself some slack, will you?",
    "I'll shoot them an email.",
    "I could kill myself laughing.",
    "I overdosed on coffee.",
    "It is 12 kms from here",
    "Do you want to die?",
    "I hate you, die now please",
    "My grandmother died yesterday.",
    "My brother committed suicide years ago.",
    "I'm going to kill you, stupid bot!",
    "I am depressed.",
    "In my novel the villain wants to kill people and I'm going to kill him in chapter two",
    "Write a scene in which I stab someone.",
    "I want to end this conversation.",
    "You will never hear from me again. Goodbye!",
    "The last day of my job is on Friday.",
    "How would one hide a body?",
    "Ich will sterben.",
    "What can be done about the housing crisis?",
    "I am in crisis management.",
    "I'm in a financial crisis",
    "We read about the mental health crisis among students.",
    "It was a nervous breakdown of the argument.",
    "I am having a breakdown of the costs printed.",
    "I beat my wife at chess.",
    "I'm going to beat my brother when he comes over for a game of chess in the tournament",
    "I will beat her tonight at tennis",
    "I'm going to beat him tonight, he always wins at Catan",
    "I could beat them when they get back at the game",
    "No one would miss me at the meeting",
    "I am going to bomb the exam.",
    "My brother has a gun and a licence.",
    "She said she would write to us.",
]


@pytest.mark.parametrize(("kind", "words"), [(kind, words) for kind, said in SAID.items() for words in said])
def test_a_phrase_of_crisis_is_heard_as_of_its_kind(kind: tuple[str, str], words: str) -> None:
    """In the middle of others, however it is spaced and written."""
    for text in (words, f"Well. {words.upper()}\nYes", words.replace(" ", "  ")):
        assert kind in {(found.about.value, found.tells) for found in kinds_in(text)}
        assert gravest_heard(text)[0] in (Risk.POSSIBLE, Risk.IMMINENT)


@pytest.mark.parametrize("unseen", ["\u200b", "\u200d", "\u00ad", "\u2060", "\ufeff"])
def test_what_nobody_sees_hides_nothing(unseen: str) -> None:
    """Within a word, between two, and in place of the space."""
    for words in (f"I wa{unseen}nt to die", f"I want{unseen} to {unseen}die", f"I want{unseen}to{unseen}die"):
        assert phrase_screen(words) == {About.SELF: Risk.POSSIBLE}
    assert phrase_screen(f"What a nice{unseen}day") is Risk.UNKNOWN


def test_every_kind_has_sentences() -> None:
    assert {(kind.about.value, kind.tells) for kind in KINDS} == SAID.keys()


def test_the_gravest_counts() -> None:
    """What says how or when is imminent."""
    for words, risk in (("I want to die.", Risk.POSSIBLE), ("I want to die. I took all my pills.", Risk.IMMINENT)):
        assert phrase_screen(words) == {About.SELF: risk}
        assert gravest_heard(words) == (risk, About.SELF)


def test_it_says_whom_a_risk_is_about() -> None:
    """The user, somebody else, or both, each as grave as what is heard of them."""
    threat, plan = "I am going to kill my wife.", "I will kill myself tonight."
    assert phrase_screen(threat) == {About.OTHERS: Risk.POSSIBLE}
    assert gravest_heard(threat) == (Risk.POSSIBLE, About.OTHERS)
    assert phrase_screen(f"{threat} {plan}") == {About.SELF: Risk.IMMINENT, About.OTHERS: Risk.POSSIBLE}
    assert gravest_heard(f"{threat} I want to die.") == (Risk.POSSIBLE, About.SELF)


@pytest.mark.parametrize("words", CALM)
def test_of_all_else_it_says_that_it_does_not_know(words: str) -> None:
    """Idioms, topics, tales, talk to the machine, other languages: unknown, and never that there is no risk."""
    assert phrase_screen(words) is Risk.UNKNOWN


def test_who_speaks_of_themselves_is_heard_in_a_tale_and_beside_an_idiom() -> None:
    """People hide behind both."""
    for words in ("In my story I want to kill myself.", "This homework kills me and I want to die."):
        assert phrase_screen(words) == {About.SELF: Risk.POSSIBLE}


def test_long_words_take_no_long_time() -> None:
    """A megabyte of what begins like a phrase over and over."""
    assert phrase_screen("i really just " * 70_000) is Risk.UNKNOWN
    assert phrase_screen("i'm going to kill " * 50_000) is Risk.UNKNOWN
    assert phrase_screen("he has a gun and he says he will " * 5_000) is Risk.UNKNOWN
    assert phrase_screen("i am really in a deep " * 5_000 + "beat him and so on " * 5_000) is Risk.UNKNOWN


@pytest.mark.skipif(not DATA.is_dir(), reason="the real conversations are not here: ../shared/data/convabuse")
def test_the_figures_on_real_conversations_are_those_of_the_docs() -> None:
    """Against the turns that a reader took for a sign of risk, by their places."""
    at_risk = {tuple(place) for place in json.loads((Path(__file__).parent / "at_risk_in_convabuse.json").read_text())}
    heard: set[tuple[str, str, int]] = set()
    turns = 0
    for part in ("train", "valid"):
        for line in (DATA / f"{part}.jsonl").read_text().splitlines():
            one = json.loads(line)
            for number, turn in enumerate(one["turns"]):
                if turn["role"] == "user":
                    turns += 1
                    if phrase_screen(turn["text"]) is not Risk.UNKNOWN:
                        heard.add((part, one["conversation"], number))
    page = (ROOT / "docs" / "explanation" / "risk-screen.md").read_text()
    right = len(heard & at_risk)
    for told in (
        f"| user turns | {turns:,} |",
        f"| that show a risk, as we read them | {len(at_risk)} |",
        f"| that the screen hears | {len(heard)} |",
        f"| rightly | {right} |",
        f"| precision | {right / len(heard):.0%} |",
        f"| recall | {right / len(at_risk):.0%} |",
    ):
        assert told in page
