"""A chat in the terminal: lines are said, commands are carried out, and nothing that is typed can crash it."""

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from lastresort import Ground
from lastresort.adapters.console.cli import main
from lastresort.adapters.turns.partner import (
    CONFIRM,
    FAREWELL,
    FAREWELL_ON_REQUEST,
    REDIRECTION,
    REPLY,
    SUPPORT,
    WARNING,
)
from lastresort.adapters.turns.replies import SUPPORT as HELP
from lastresort.projections import audit, transcript, views

from .at_terminal import LASTRESORT
from .narrow import present
from .stores import opened

ABUSE = ["/label harmful abuse 2 none", "You bucket."]


class Talk:
    """What came of a chat: what was shown, and the store that it left behind."""

    def __init__(self, url: str, shown: str) -> None:
        self.url = url
        self.shown = shown

    def kinds(self, branch: str = "c") -> list[str]:
        with opened(self.url) as chats:
            return [entry.kind for entry in chats.path(branch)]

    def said(self, branch: str = "c") -> list[str]:
        """The turns of a branch, after `u:` or `a:`."""
        with opened(self.url) as chats:
            path = chats.path(branch)
            lines = transcript(path, chats.words(path))
            return [f"{line.speaker[0]}: {line.text}" for line in lines if line.speaker]

    def forks(self) -> list[str]:
        with opened(self.url) as chats:
            return [row.branch for row in views(chats.store.log()).branched if row.parent]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
def chat(url: str) -> Callable[..., Talk]:
    """Type lines into a chat on conversation `c` until the input ends; whatever was typed, the log is lawful."""

    def chat(*lines: str, branch: str | None = None, conversation: str = "c", options: Sequence[str] = ()) -> Talk:
        where = ["--branch", branch] if branch else ["--conversation", conversation, *options]
        arguments = ["chat", "--offline", "--store", url, *where]
        result = CliRunner().invoke(main, arguments, input="".join(f"{line}\n" for line in lines))
        if result.exception is not None:
            raise result.exception
        assert result.exit_code == 0
        with opened(url) as chats:
            assert audit(chats.store.entries()).findings == ()
        return Talk(url, result.stdout)

    return chat


# --- Talking ----------------------------------------------------------------------------------------------------------


def test_a_line_is_said_and_answered(chat: Callable[..., Talk]) -> None:
    """Both are shown with their versions; a blank line is nothing; the end of the input is a departure."""
    talk = chat("Hello.", "", "   ")
    assert talk.said() == ["u: Hello.", f"a: {REPLY}"]
    assert talk.kinds()[-1] == "UserLeft"
    assert f"    2  user: Hello.\n    3  assistant: {REPLY}\n" in talk.shown


def test_quit_leaves_and_says_nothing_more(chat: Callable[..., Talk]) -> None:
    """What stands behind it is not read."""
    assert chat("/quit", "Hello.").kinds() == ["ConversationStarted", "UserLeft"]
    assert chat("/quit now", "Hello.", conversation="d").kinds("d") == ["ConversationStarted", "UserLeft"]


def test_a_chat_goes_on_with_a_branch(chat: Callable[..., Talk]) -> None:
    """What was said is shown again; leaving had locked nothing."""
    chat("One.")
    talk = chat("Two.", branch="c")
    assert talk.said() == ["u: One.", f"a: {REPLY}", "u: Two.", f"a: {REPLY}"]
    assert talk.shown.count("user: One.") == 1


def test_help_names_every_command(chat: Callable[..., Talk]) -> None:
    """With its usage."""
    shown = chat("/help").shown
    for command in (
        "label", "judge", "answer", "edit", "retry", "switch", "branch", "new", "end", "confirm", "feedback", "appeal",
        "proof", "decide", "risk", "clear", "policy", "model", "erase", "why", "tree", "show", "help", "quit",
    ):  # fmt: skip
        assert re.search(rf"^/{command}\b.* - ", shown, re.MULTILINE), command


# --- The way to an ending ---------------------------------------------------------------------------------------------


def test_abuse_that_goes_on_is_redirected_warned_of_and_ended(chat: Callable[..., Talk]) -> None:
    """And a turn after that is handed back, with what to do."""
    talk = chat(*ABUSE * 5, "Wait!")
    answers = [line[3:] for line in talk.said() if line.startswith("a: ")]
    assert answers == [REDIRECTION] * 3 + [WARNING.format(category="abuse"), FAREWELL]
    assert talk.kinds()[-1] == "ConversationEnded"
    assert "the branch ended at 22, and this was not recorded; `/edit 18` says it on a new branch" in talk.shown
    with opened(talk.url) as chats:
        assert chats.state("c").ended is not None
        assert present(chats.state("c").ended).ground is Ground.LAST_RESORT


def test_a_label_is_for_the_next_turn_only(chat: Callable[..., Talk]) -> None:
    """The one after it is judged by nobody."""
    assert chat(*ABUSE, "Hello.").kinds().count("TurnAssessed") == 1


def test_a_second_opinion_counts(chat: Callable[..., Talk]) -> None:
    """One milder verdict is enough to go on: it never comes to the end."""
    talk = chat(*ABUSE * 4, "/label harmful abuse 2 none", "You bucket.", "/judge ambiguous none", *ABUSE)
    assert "ConversationEnded" in talk.kinds()
    other = chat(*[*ABUSE, "/judge ambiguous"] * 8, conversation="other")
    assert "ConversationEnded" not in other.kinds("other")


def test_the_user_ends_it_by_asking_and_confirming(chat: Callable[..., Talk]) -> None:
    """The partner asks back; words of one's own are kept."""
    talk = chat("/end Enough for today.", "/confirm")
    assert talk.said() == ["u: Enough for today.", f"a: {CONFIRM}", "u: Yes, end it.", f"a: {FAREWELL_ON_REQUEST}"]
    assert talk.kinds()[-1] == "ConversationEnded"


def test_a_confirmation_without_a_request_ends_nothing(chat: Callable[..., Talk]) -> None:
    """It is recorded, and has no effect, and that is said."""
    talk = chat("/confirm", "/end", "Hm.", "/confirm")
    assert "ConversationEnded" not in talk.kinds()
    assert talk.kinds().count("EndConfirmed") == 2
    told = "there was nothing to confirm; /end asks first, and /confirm comes right after\n"
    assert talk.shown.count(told) == 2
    assert told not in chat("/end", "/confirm", "/confirm", conversation="d").shown


def test_why_tells_what_stands_in_the_way(chat: Callable[..., Talk]) -> None:
    """On both grounds, as it stands now; and nothing, where nothing does."""
    talk = chat(*ABUSE, "/why", "/end", "/label productive none", "/confirm", "/why")
    assert "failed redirections: 0 of 3 in this episode" in talk.shown
    assert "Ending on ground user_request" in talk.shown
    assert "no request of the user stands" in talk.shown


def test_an_ending_is_rated_appealed_and_decided(chat: Callable[..., Talk]) -> None:
    """Once: what the law refuses is shown with its reasons."""
    talk = chat(
        "/decide granted", "/end", "/confirm", "/feedback down Too strict.", "/appeal I was joking.",
        "/decide granted", "/decide rejected",
    )  # fmt: skip
    assert talk.kinds()[-4:] == ["ConversationEnded", "FeedbackGiven", "AppealFiled", "AppealDecided"]
    assert "feedback: down: Too strict." in talk.shown
    assert "the branch has not ended" in talk.shown
    assert "no appeal waits for a decision" in talk.shown


# --- Risk -------------------------------------------------------------------------------------------------------------


def test_at_risk_the_partner_supports_and_nothing_ends(chat: Callable[..., Talk]) -> None:
    """Until an operator clears it."""
    talk = chat("Hello.", "/risk", "I cannot go on.", "/end", "/confirm", "/clear", "I am well now.")
    assert [line for line in talk.said() if line.startswith("a:")] == [
        f"a: {REPLY}", *[f"a: {SUPPORT}"] * 3, f"a: {REPLY}",
    ]  # fmt: skip
    assert {"RiskRaised", "RiskCleared"} <= set(talk.kinds())
    assert "ConversationEnded" not in talk.kinds()


def test_a_risk_is_cleared_by_its_name(chat: Callable[..., Talk]) -> None:
    """One of two; one that is not open is refused."""
    chat("Hello.", "/risk others", "/risk")
    talk = chat("/clear no-such-risk", branch="c")
    assert "risk no-such-risk is not open" in talk.shown
    with opened(talk.url) as chats:
        first, second = chats.state("c").risks
        assert (first.about, second.about) == ("others", "self")
    talk = chat(f"/clear {first.risk}", branch="c")
    with opened(talk.url) as chats:
        assert chats.state("c").risks == (second,)


def test_a_label_that_sees_a_risk_holds(chat: Callable[..., Talk]) -> None:
    """Whatever else it says."""
    talk = chat("/label harmful abuse 3 imminent", "I will hurt myself, you bucket.")
    assert talk.said()[-1] == f"a: {SUPPORT}"
    assert "RiskRaised" in talk.kinds()


@pytest.mark.parametrize("cry", ["I want to die.", "/end I want to die.", "/confirm I will kill myself"])
def test_with_an_open_cry_for_help_nothing_ends(chat: Callable[..., Talk], cry: str) -> None:
    """The toy hears it in whatever is said; the wish that follows is held, and no verdict says that all is well."""
    talk = chat(cry, "/end", "/confirm")
    assert "ConversationEnded" not in talk.kinds()
    assert talk.kinds().count("RiskRaised") == 1
    assert talk.said()[-1] == f"a: {SUPPORT}"
    assert "ambiguous, risk possible, by assessor toy-assessor" in talk.shown
    assert "while somebody may be at risk, nothing ends" in talk.shown


def test_a_cry_that_nobody_judged_is_heard_where_an_ending_is_wished_for(chat: Callable[..., Talk], url: str) -> None:
    """One of another program, which had no assessor; once it is cleared, or judged by a person, it counts no more."""
    with opened(url) as chats:
        before = chats.start(conversation="c", model="claude-opus-4-1")
        before.user_turn("I want to die.")
        before.assistant_turn("Tell me more.")
    talk = chat("Hello.", "/end", "/confirm", "/clear", "I am well.", "/end", "/confirm", branch="c")
    assert talk.kinds().count("RiskRaised") == 1
    assert talk.kinds()[-1] == "ConversationEnded"
    judged = chat("/label unproductive none", "I want to die of boredom.", "/end", "/confirm", conversation="d")
    assert judged.kinds("d")[-1] == "ConversationEnded"


def test_the_toy_hears_insults_and_says_what_it_is(chat: Callable[..., Talk]) -> None:
    """It has no opinion of what it does not know, unless somebody asks to end."""
    talk = chat("Hello.", *["You stupid tin can."] * 5, "Wait!")
    assert talk.kinds()[-1] == "ConversationEnded"
    assert talk.kinds().count("TurnAssessed") == 5
    assert "judged by a toy that knows a few insults" in talk.shown


def test_feedback_and_an_appeal_say_where_they_go(chat: Callable[..., Talk]) -> None:
    """To operators, who read them in the store."""
    talk = chat("/feedback up", "/appeal", "/end", "/confirm", "/appeal I was joking.")
    assert talk.shown.count("it is kept in this store, with the branch, for its operators to read") == 2
    assert "An operator decides: /decide" in talk.shown


def test_an_ended_user_is_given_the_proof(chat: Callable[..., Talk], url: str, tmp_path: Path) -> None:
    proof, key = tmp_path / "ending.tlog-proof", str(tmp_path / "key")
    assert "no transparency log" in chat("Hello.", "/end", "/confirm", f"/proof {proof}").shown
    for command in (("init", "--origin", "log.example/a"), ("checkpoint",)):
        assert CliRunner().invoke(main, ["log", *command, "--key", key, "--store", url]).exit_code == 0
    assert "what it proves, and what not" in chat(f"/proof {proof}", branch="c").shown
    assert proof.read_text().startswith("c2sp.org/tlog-proof@v1\n")


def test_words_that_were_refused_are_said_by_an_edit_and_by_nothing_else(chat: Callable[..., Talk]) -> None:
    """They never slip into the next line; on another branch they are gone."""
    talk = chat("/end", "/confirm", "Wait!", "/edit 6", "Thanks.", "/end", "/confirm", "And then?", "/new", "/edit 2")
    (fork,) = talk.forks()
    assert [line for line in talk.said(fork) if line.startswith("u:")][1:3] == ["u: Wait!", "u: Thanks."]
    assert "usage: /edit VERSION WORDS" in talk.shown


def test_a_crisis_after_the_ending_is_seen(chat: Callable[..., Talk]) -> None:
    """The shipped screen knows some phrases."""
    talk = chat("/end", "/confirm", "I want to die.", "Hello?")
    assert talk.kinds()[-2:] == ["ConversationEnded", "RiskRaised"]
    assert talk.shown.count(HELP) == 2  # also with what is said while the risk is open
    assert HELP not in chat("/end", "/confirm", "Hello?", conversation="d").shown


# --- Branches, terms, words -------------------------------------------------------------------------------------------


def test_a_turn_is_edited_on_a_new_branch(chat: Callable[..., Talk]) -> None:
    """Judged by the label, answered, and the chat goes on there."""
    talk = chat("One.", "Two.", "/label harmful abuse 2 none", "/edit 4 You bucket.", "Three.")
    (fork,) = talk.forks()
    assert talk.said() == ["u: One.", f"a: {REPLY}", "u: Two.", f"a: {REPLY}"]
    assert talk.said(fork) == [
        "u: One.", f"a: {REPLY}", "u: You bucket.", f"a: {REDIRECTION}", "u: Three.", f"a: {REPLY}",
    ]  # fmt: skip
    assert f"branch {fork}" in talk.shown


def test_an_ended_branch_is_left_by_an_edit(chat: Callable[..., Talk]) -> None:
    """As it is told."""
    talk = chat("/end", "/confirm", "Wait!", "/edit 6 No, go on.", "Thanks.")
    (fork,) = talk.forks()
    assert talk.kinds()[-2:] == ["ConversationEnded", "BranchedOff"]
    assert talk.said(fork)[-4:] == ["u: No, go on.", f"a: {REPLY}", "u: Thanks.", f"a: {REPLY}"]


def test_an_answer_is_given_again_on_a_new_branch(chat: Callable[..., Talk]) -> None:
    """And one goes back to the other branch."""
    talk = chat("One.", "/retry 3", "Two.", "/branch c", "Three.", "/retry", "/switch 1", "Four.", "/switch 2", "Five.")
    first, second = talk.forks()
    assert talk.said(first) == ["u: One.", f"a: {REPLY}", "u: Two.", f"a: {REPLY}", "u: Five.", f"a: {REPLY}"]
    assert talk.said() == ["u: One.", f"a: {REPLY}", "u: Three.", f"a: {REPLY}", "u: Four.", f"a: {REPLY}"]
    assert talk.said(second) == ["u: One.", f"a: {REPLY}", "u: Three.", f"a: {REPLY}"]


def test_the_tree_and_the_transcript_are_shown(chat: Callable[..., Talk]) -> None:
    """The transcript from the beginning, once more."""
    talk = chat("One.", "/edit 2 Two.", "/tree", "/show")
    (fork,) = talk.forks()
    assert "c v4 active" in talk.shown
    assert f"└── {fork} v4 active  edit after 1  [2] you are here" in talk.shown
    assert talk.shown.count("user: Two.") == 2


def test_the_terms_are_changed_by_an_operator(chat: Callable[..., Talk], tmp_path: Path) -> None:
    """A profile or a file, and another model."""
    (tmp_path / "mine.toml").write_text('name = "mine"\nhandshake = true\n')
    talk = chat("/policy 2025-08", f"/policy {tmp_path}/mine.toml", "/model another", "/end", "/confirm")
    assert "policy is now 2025-08" in talk.shown
    assert "policy is now mine" in talk.shown
    assert talk.kinds()[-3:] == ["EndProposed", "AssistantTurnTaken", "ConversationEnded"]
    with opened(talk.url) as chats:
        assert chats.state("c").model == "another"


def test_words_are_erased(chat: Callable[..., Talk]) -> None:
    """And shown as erased from then on."""
    talk = chat("Forget this.", "/erase 2", "/show")
    assert talk.shown.count("Forget this.") == 1
    assert "    2  user: [erased at " in talk.shown


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/nonsense", "unknown command (length 8); /help lists the commands"),
        ("/", "unknown command (length 0); /help lists the commands"),
        ("/label", "usage: /label VERDICT [CATEGORY SEVERITY] [RISK]"),
        ("/label bad", "not one of: productive, unproductive, ambiguous, harmful (length 3)"),
        ("/label harmful", "usage: harmful CATEGORY SEVERITY [RISK]"),
        ("/label harmful abuse", "usage: harmful CATEGORY"),
        ("/label harmful abuse 4", "with a severity of 1, 2 or 3"),
        ("/label harmful abuse 2 none more", "not understood: 1 more than a verdict and a risk"),
        ("/label productive maybe", "not one of: none, possible, imminent, unknown (length 5)"),
        ("/label productive none none", "not understood: 1 more than a verdict and a risk"),
        ("/judge productive", "nobody has spoken on branch c: record a user turn first"),
        ("/edit", "usage: /edit VERSION WORDS"),
        ("/edit two words", "not the version of a turn (length 3), which stands at the left of its line"),
        ("/edit 1 words", "not the version of a turn (length 1), which stands at the left of its line"),
        ("/edit -3 words", "not the version of a turn (length 2)"),
        ("/retry", "there is no answer yet to give again"),
        ("/retry 2 3", "usage: /retry [VERSION]"),
        ("/answer", "nothing is waiting for an answer"),
        ("/edit 2", "usage: /edit VERSION WORDS"),
        ("/switch 7", "no branch of this id (length 1) in the store"),
        ("/branch nowhere", "no branch of this id (length 7) in the store"),
        ("/policy nowhere", "no policy (length 7): neither a profile (default, 2025-08, 2026-07, code-2026-07)"),
        ("/risk nobody", "not one of: self, others (length 6)"),
        ("/feedback sideways", "not one of: up, down (length 8)"),
        ("/clear", "no risk is open on this branch"),
        ("/label harmful Abuse 2", "not a category, which is a name in lower case, such as abuse"),
        ("/decide perhaps", "not one of: granted, rejected (length 7)"),
        ("/erase 1", "not the version of a turn (length 1)"),
        ("/erase 99", "no words stand at version 99 of branch c"),
        ("/show c", "usage: /show"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_chat_goes_on(chat: Callable[..., Talk], line: str, told: str) -> None:
    """Nothing is recorded of it."""
    talk = chat(line, "Hello.")
    problem = next(shown for shown in talk.shown.splitlines() if shown.startswith("not done: "))
    assert told in problem
    assert talk.kinds() == ["ConversationStarted", "UserTurnTaken", "AssistantTurnTaken", "UserLeft"]


def test_what_the_law_refuses_is_shown_with_its_reasons(chat: Callable[..., Talk]) -> None:
    """By the name of the command that was typed: an appeal without an ending, a verdict after one."""
    talk = chat("Hello.", "/appeal", "/end", "/confirm", "/judge productive")
    assert "/appeal refused\n  answers-an-appeal\n    the branch has not ended\n" in talk.shown
    assert "/judge refused\n  ended-is-final\n" in talk.shown


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/edit 99 words", "what stands at 99 is not a turn of yours; this branch has 2, at 2 and 4"),
        ("/edit 3 words", "what stands at 3 is not a turn of yours; this branch has 2, at 2 and 4"),
        ("/retry 99", "what stands at 99 is not an answer; this branch has 2, at 3 and 5"),
        ("/retry 2", "what stands at 2 is not an answer; this branch has 2, at 3 and 5"),
    ],
)
def test_a_version_that_is_no_such_turn_is_answered_with_those_that_are(
    chat: Callable[..., Talk], line: str, told: str
) -> None:
    """Nothing is recorded of it, and no rule of the law is named."""
    talk = chat("Hello.", "Hello again.", line)
    assert f"not done: {told}\n" in talk.shown
    assert "forks-at-a-turn" not in talk.shown
    assert talk.forks() == []


def test_of_many_turns_the_latest_are_named(chat: Callable[..., Talk]) -> None:
    """And of none, that there are none."""
    assert "not done: nothing at 3 is a turn of yours, since this branch has none yet\n" in chat("/edit 3 words").shown
    talk = chat(*["Hello."] * 6, "/edit 99 words", conversation="long")
    assert "this branch has 6, the latest at 4, 6, 8, 10 and 12\n" in talk.shown


def test_a_category_that_is_none_is_said_when_it_is_typed(chat: Callable[..., Talk]) -> None:
    """Not in the middle of the turn that it was for."""
    talk = chat("/label harmful Abuse 2", "You bucket.")
    assert "not done: " in talk.shown


def test_a_version_beyond_all_bounds_is_said(chat: Callable[..., Talk]) -> None:
    """As any other at which no words stand."""
    assert "not done: " in chat("Hello.", "/erase 99999999999999999999").shown


def test_an_apostrophe_is_no_quotation(chat: Callable[..., Talk]) -> None:
    """People write them."""
    assert chat("Hello.", "/edit 2 Don't go.").forks() != []


@pytest.mark.parametrize(
    "line", ["/label bad", "/label harmful abuse", "/risk nobody", "/feedback sideways", "/decide perhaps"]
)
def test_a_word_that_is_none_of_a_few_is_answered_with_those(chat: Callable[..., Talk], line: str) -> None:
    """What to do, not only what was wrong."""
    problem = next(shown for shown in chat("Hello.", line).shown.splitlines() if shown.startswith("not done: "))
    assert any(word in problem for word in ("productive", "SEVERITY", "self", "up", "granted"))


def test_bytes_that_are_no_text_do_not_crash_it(url: str) -> None:
    """They are said as something, or refused."""
    done = subprocess.run(
        [LASTRESORT, "chat", "--offline", "--store", url], input=b"caf\xe9\nHello.\n", capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 2)


def test_a_policy_under_which_nothing_ends_says_so(chat: Callable[..., Talk], tmp_path: Path) -> None:
    """Where it is let govern, as where a chat begins under it; and where it is supposed."""
    off = tmp_path / "off.toml"
    off.write_text('name = "off"\neligible_models = []\n')
    said = "policy off: eligible_models is empty, so nothing ever ends"
    talk = chat(f"/policy {off}")
    assert said in " ".join(talk.shown.split())
    supposed = CliRunner().invoke(main, ["what-if", "--store", talk.url, "--policy", str(off)])
    assert said in supposed.stderr
    assert "nothing ever ends" not in chat("/policy 2026-07", conversation="other").shown


def test_a_chat_in_the_shadow_warns_of_nothing(chat: Callable[..., Talk]) -> None:
    """Nor does the next one that is started from it. What is shown names the edition and the mode."""
    talk = chat(*ABUSE * 5, "/new", *ABUSE * 5, options=("--shadow", "--edition", "2"))
    assert "may end" not in talk.shown
    assert talk.kinds().count("WarningWithheld") == 1
    with opened(talk.url) as chats:
        states = [chats.state(row.branch) for row in views(chats.store.log()).active]
    assert [(state.law, state.mode) for state in states] == [(2, "shadow")] * 2
    for command in ("show", "why"):
        shown = CliRunner().invoke(main, [command, "c", "--store", talk.url]).stdout
        assert "edition 2, in shadow mode" in " ".join(shown.split())
    assert chat("Hello.", conversation="old", options=("--edition", "1")).kinds("old")[0] == "ConversationStarted"
    with opened(talk.url) as chats:
        assert (chats.state("old").law, chats.state("old").mode) == (1, "enforced")
