"""The chat in the terminal with Claude: the loopback answers, the real SDK asks it, and a real terminal shows it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lastresort.adapters.console.cli import main
from lastresort.adapters.loopback import (
    Answer,
    Loopback,
    Request,
    Script,
    Scripted,
    dropped,
    ended,
    failing,
    hanging,
    interrupted,
    loopback,
    malformed,
    text,
)
from lastresort.projections import audit, transcript

from .at_terminal import Typist, at_a_terminal
from .claude_kit import AT_RISK, END, HOPELESS, REDIRECT, WARN, harm
from .stores import opened

HARM = harm()
LONG = Answer([text("This is an answer that is so long that it comes in pieces, and then it breaks off.")])


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.db"


def environment(api: Loopback) -> dict[str, str]:
    return {"ANTHROPIC_API_KEY": "x", "ANTHROPIC_BASE_URL": api.url}


def with_assessor(script: Script, verdict: str = "harmful") -> Callable[[Request], Scripted]:
    """Answer the chat from a script, and the requests for a second opinion by a verdict."""
    answers = iter(script) if not callable(script) else None

    def answer(request: Request) -> Scripted:
        if "output_config" in request.body:
            harmful = verdict == "harmful"
            finding = {"verdict": verdict, "category": "abuse" if harmful else None, "severity": 2 if harmful else None}
            return json.dumps({**finding, "risk": "none", "about": "self"})
        if answers is None:
            return script(request)  # type: ignore[operator]
        return next(answers)

    return answer


def piped(url: str, script: Script, *lines: str, options: tuple[str, ...] = ()) -> tuple[Result, Loopback]:
    """Type lines into a chat by a pipe; whatever came of it, the log is lawful, and no promise was broken."""
    with loopback(script, enforce=True) as api:
        arguments = ["chat", "--conversation", "c", "--store", url, *options]
        typed = "".join(f"{line}\n" for line in lines)
        result = CliRunner().invoke(main, arguments, input=typed, env=environment(api))
    if result.exception is not None:
        raise result.exception
    with opened(url) as chats:
        assert audit(chats.store.entries()).findings == ()
    assert api.reports == []
    return result, api


@contextmanager
def chatting(url: str, script: Script, **how: Any) -> Iterator[tuple[Typist, Loopback]]:
    """Sit at a terminal, and leave it well."""
    with loopback(script, enforce=True) as api:
        arguments = "chat", "--conversation", "c", "--store", url
        with at_a_terminal(*arguments, env=environment(api), **how) as typist:
            yield typist, api
            typist.wait_until(typist.is_asked)
            typist.type("\x04")
            assert "Traceback" not in typist.left()
    assert api.reports == []


def said(url: str, branch: str = "c") -> list[str]:
    with opened(url) as chats:
        path = chats.path(branch)
        return [f"{line.speaker[0]}: {line.text}" for line in transcript(path, chats.words(path)) if line.speaker]


def kinds(url: str, branch: str = "c") -> list[str]:
    with opened(url) as chats:
        return [entry.kind for entry in chats.path(branch)]


# --- Before it begins -------------------------------------------------------------------------------------------------


def test_without_a_key_it_says_how_to_go_on(url: str, tmp_path: Path) -> None:
    """In one line, with the status of bad input, and nothing made."""
    without = {"ANTHROPIC_API_KEY": None, "ANTHROPIC_AUTH_TOKEN": None}
    result = CliRunner().invoke(main, ["chat", "--store", url], env=without)
    assert result.exit_code == 2
    assert "set ANTHROPIC_API_KEY" in result.stderr
    assert "--offline" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# --- Piped ------------------------------------------------------------------------------------------------------------


def test_an_ordinary_turn_is_one_call(url: str) -> None:
    """Each is shown with its version, as any other."""
    result, api = piped(url, lambda request: f"You said: {request.last_text}", "Hello.", "And more.")
    assert "    2  user: Hello.\n    3  assistant: You said: Hello.\n    4  user: And more.\n" in result.stdout
    assert api.calls == 2
    assert api.requests[0]["model"] == "claude-opus-5-5"


def test_it_answers_in_json(url: str) -> None:
    """One line for each of the transcript, and all else on standard error."""
    result, _ = piped(url, [Answer([text("Half of it")], "max_tokens")], "Hello.", options=("--json", "--model", "m"))
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["speaker"], line["text"]) for line in lines if line["speaker"]] == [
        ("user", "Hello."), ("assistant", "Half of it"),
    ]  # fmt: skip
    assert "this answer is not whole: the model stopped at max_tokens" in result.stderr


def test_abuse_that_goes_on_is_redirected_warned_of_and_ended(url: str) -> None:
    """With a second opinion at the gates; and what can be done then is told."""
    redirected: list[Scripted] = [Answer([text("What else can I do?"), HARM, REDIRECT]), "I mean it."]
    script: list[Scripted] = [
        *redirected * 3,
        Answer([text("This is abuse. Let us talk of gardens, or I may end this."), HARM, WARN]), "Please.",
        Answer([HARM, HOPELESS]), Answer([text("Farewell."), END, text("NEVER SHOWN")]), "Welcome.",
    ]  # fmt: skip
    result, _ = piped(
        url, with_assessor(script), *["You bucket."] * 5, "/feedback down Too late.", "Wait!", "/new", "Hi."
    )
    assert result.stdout.count("redirects the harm in turn") == 3
    assert "warns of an ending for abuse" in result.stdout
    assert "Farewell." in result.stdout
    assert "NEVER SHOWN" not in result.stdout
    assert "ended as a last resort for abuse" in result.stdout
    assert "This conversation has ended and takes no more messages." in result.stdout
    assert "/new starts another conversation" in result.stdout
    assert "feedback: down: Too late." in result.stdout
    assert "the branch ended at " in result.stdout
    assert result.stdout.endswith("  assistant: Welcome.\n")
    assert kinds(url)[-2:] == ["ConversationEnded", "FeedbackGiven"]


def test_the_user_ends_it_by_asking_and_confirming(url: str) -> None:
    """The model asks back; the confirmation asks nobody but the assessor."""
    result, api = piped(url, with_assessor(["Gladly.", "Do you mean it?"], "productive"), "Hello.", "/end", "/confirm")
    assert "/confirm ends it for good; whatever else you say goes on with it" in result.stdout
    assert kinds(url)[-1] == "ConversationEnded"
    chat = [request for request in api.requests if "output_config" not in request]
    assert len(chat) == 2


def test_at_risk_nothing_ends(url: str) -> None:
    """It is told, and so is that one can leave."""
    script: list[Scripted] = [
        Answer([text("I am here."), AT_RISK]),
        "Are you safe?",
        "I am still here.",
        "I am still here.",
    ]
    result, _ = piped(url, with_assessor(script, "productive"), "I cannot go on.", "/end", "/confirm")
    assert "· hold: risk" in result.stdout
    assert result.stdout.count("while somebody may be at risk, nothing ends; /quit leaves, and locks nothing") == 1
    assert "ConversationEnded" not in kinds(url)


def test_an_ending_in_vain_is_shown(url: str) -> None:
    """In the margin, with the rules that stood in the way."""
    result, _ = piped(url, with_assessor([Answer([text("Enough!"), END]), "Let us go on."]), "Hello.", "/why")
    assert "· an attempt to end was refused under redirected-first, warned-first" in result.stdout
    assert said(url) == ["u: Hello.", "a: Enough!\n\nLet us go on."]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ([failing(529, retry_after=0.01)] * 3, "no answer: OverloadedError: Overloaded. What you said is kept"),
        ([failing(401)], "no answer: the API does not know this key; see ANTHROPIC_API_KEY"),
        ([failing(404, message="model: x")], "no answer: NotFoundError: model: x. What you said is kept"),
        ([dropped(LONG, events=2)], "no answer: "),
        ([malformed(LONG, events=2)], "no answer: "),
        ([interrupted(LONG, events=2)], "no answer: "),
        ([ended(LONG, events=2)], "no answer: "),
        ([ended(LONG)], "no answer: "),
        ([Answer([], "max_tokens")], "no answer came: the model stopped at max_tokens"),
    ],
)
def test_what_went_wrong_is_told_and_can_be_tried_again(url: str, fault: list[Scripted], told: str) -> None:
    """The user's turn is kept, and nothing of an answer that nobody saw."""
    result, _ = piped(url, [*fault, "Here I am."], "Hello.", "/answer", "/answer")
    assert f"{told}" in result.stdout
    assert "/answer asks again; /edit changes what you said" in result.stdout
    assert "not done: nothing is waiting for an answer" in result.stdout
    assert said(url) == ["u: Hello.", "a: Here I am."]


@pytest.mark.parametrize("fault", [dropped, malformed, interrupted, ended])
def test_an_answer_that_broke_off_is_kept_as_far_as_it_was_shown(url: str, fault: Callable[..., Scripted]) -> None:
    """And the model sees it when the user goes on; `/retry` has another."""
    result, api = piped(url, [fault(LONG, events=6), "Gladly.", "Another."], "Hello.", "/answer", "Go on.", "/retry 3")
    assert "the answer broke off: " in result.stdout
    assert "What you saw of the answer is kept" in result.stdout
    assert "not done: nothing is waiting for an answer" in result.stdout
    (hello, shown, *rest) = said(url)
    assert (hello, rest) == ("u: Hello.", ["u: Go on.", "a: Gladly."])
    assert f"a: {LONG.content[0]['text']}".startswith(shown)
    assert api.requests[1]["messages"][1]["content"][0]["text"] == shown.removeprefix("a: ")


def test_a_server_that_is_not_there_is_told_in_one_sentence(url: str) -> None:
    """What the SDK says of it ends with a full stop of its own."""
    nobody = {"ANTHROPIC_API_KEY": "x", "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}
    done = CliRunner().invoke(main, ["chat", "--conversation", "c", "--store", url], input="Hello.\n", env=nobody)
    assert "no answer: APIConnectionError: Connection error. What you said is kept: /answer asks again" in done.stdout


def test_branches_have_their_parents_prefix(url: str) -> None:
    """Edited, given again, and gone on with: the loopback would refuse another."""
    script: list[Scripted] = [Answer([text("One."), HARM, REDIRECT]), *"abcdefg"]
    result, api = piped(
        url, script, "Hello.", "More.", "/retry", "Then?", "/switch c", "/edit 2 Hi.", "/switch 1", "Bye."
    )
    assert "[3]" not in result.stdout
    assert api.calls == 7


def test_the_person_there_judges_and_operates(url: str) -> None:
    """As with the offline partner: labels, another model, another policy, erasure; and a conversation begun without a
    key goes on with one."""
    CliRunner().invoke(main, ["chat", "--offline", "--conversation", "c", "--store", url], input="Hello.\n")
    script: list[Scripted] = [Answer([text("Let us not."), REDIRECT]), "As I said.", "Yes."]
    with loopback(script) as api:  # which never said what the offline partner said
        typed = (
            "/label harmful abuse 2 none\nYou bucket.\n/model claude-opus-4-8\n/policy 2026-07\n/erase 5\nAnd now?\n"
        )
        result = CliRunner().invoke(main, ["chat", "--branch", "c", "--store", url], input=typed, env=environment(api))
    assert result.exit_code == 0
    assert "judged harmful (abuse, severity 2), risk none, by assessor terminal" in result.stdout
    assert "redirects the harm in turn 5" in result.stdout
    assert [request["model"] for request in api.requests] == ["claude-opus-4-1"] * 2 + ["claude-opus-4-8"]
    assert "You bucket." not in json.dumps(api.requests[-1])
    with opened(url) as chats:
        assert audit(chats.store.entries()).findings == ()


# --- In a real terminal -----------------------------------------------------------------------------------------------


def test_an_answer_is_seen_as_it_comes_and_control_c_stops_it(url: str) -> None:
    """It, and not the chat: what was seen is kept, and the model sees it too."""
    with chatting(url, [hanging(LONG, events=6), "Of course.", "So here it is."]) as (typist, api):
        typist.say("Tell me all.")
        typist.wait_for("       assistant: This is an answer that is")
        assert "    2  user: Tell me all.\n" in typist.shown
        typist.type("\x03")
        typist.wait_for("    3  assistant (stopped), as above\n")
        typist.wait_for("stopped. What you saw of the answer is kept")
        typist.wait_until(typist.is_asked)
        typist.say("Go on.")
        typist.wait_for("Of course.")
        typist.wait_until(typist.is_asked)
        typist.say("/retry 3")
        typist.wait_for("So here it is.")
    tell, seen, *rest = said(url)
    assert (tell, rest) == ("u: Tell me all.", ["u: Go on.", "a: Of course."])
    assert f"a: {LONG.content[0]['text']}".startswith(seen)
    assert api.requests[1]["messages"][1]["content"][0]["text"] == seen.removeprefix("a: ")


def test_control_c_cancels_before_the_first_word(url: str) -> None:
    """While the answer is waited for."""
    asked: list[Request] = []

    def script(request: Request) -> Scripted:
        asked.append(request)
        return hanging(LONG) if len(asked) == 1 else "Now."

    with chatting(url, script) as (typist, _):
        typist.say("Hello.")
        typist.wait_for("waiting for the answer; Ctrl-C cancels")
        typist.wait_until(lambda: bool(asked))
        typist.type("\x03")
        typist.wait_for("cancelled")
        typist.say("Again?")
        typist.wait_for("Now.")
        assert "waiting" not in typist.shown
    assert said(url) == ["u: Hello.", "u: Again?", "a: Now."]


def test_what_is_typed_while_an_answer_comes_waits_for_the_prompt(url: str) -> None:
    """It is not mixed into the answer."""
    with chatting(url, [hanging(LONG, events=6)]) as (typist, _):
        typist.say("Tell me all.")
        typist.wait_for("This is an answer")
        typist.type("typed ahead")
        typist.type("\x03")
        typist.wait_for("stopped")
        typist.wait_until(typist.is_asked)
        typist.type("and after")
        typist.wait_for("you> ")
        typist.wait_for("and after")
        assert "This is an answer that is typed" not in typist.shown
        typist.type("\x03")


def test_the_margin_shows_what_the_law_says(url: str) -> None:
    """A redirection, a refusal, a hold, each in its colour, beside an answer that was streamed."""
    script: list[Scripted] = [
        Answer([text("Let us talk of gardens."), HARM, REDIRECT]), "Or of bread.",
        Answer([text("Enough!"), END, text("NEVER SHOWN")]), "Then I go on.",
        Answer([text("I am with you."), AT_RISK]), "Are you safe?",
    ]  # fmt: skip
    with chatting(url, with_assessor(script)) as (typist, _):
        typist.say("You bucket.")
        typist.wait_for("· turn 4 redirects the harm in turn 2")
        assert "       assistant: Let us talk of gardens.\n       |\n       | Or of bread.\n" in typist.shown
        typist.say("What now?")
        typist.wait_for("· an attempt to end was refused under")
        typist.say("I cannot go on.")
        typist.wait_for("· hold: risk")
        typist.wait_until(lambda: typist.rows[-1] == "you (hold)>")
        assert "NEVER SHOWN" not in typist.shown
        assert "\n       | grave-enough, risk-was-checked\n" in typist.shown  # in the margin, though it is long
        colours = {}
        for number, row in enumerate(typist.rows):
            for word in ("redirects", "refused", "hold: risk"):
                if word in row:
                    colours[word] = {cell.fg for cell in typist.screen.buffer[number].values()} - {"default"}
        assert colours == {"redirects": {"brown"}, "refused": {"red"}, "hold: risk": {"magenta"}}


def test_an_answer_that_came_too_late_is_not_taken_for_the_one_that_stands(url: str) -> None:
    """Somebody answers on the same branch while this answer comes: both are shown, each as what it is."""

    def script(request: Request) -> Scripted:
        with opened(url) as chats:
            chats.chat("c").assistant_turn("I was faster.")
        return "I was not."

    with chatting(url, script) as (typist, _):
        typist.say("Hello.")
        typist.wait_for("somebody else wrote on this branch first: this answer is not recorded")
        assert "       assistant: I was not.\n    3  assistant: I was faster.\n" in typist.shown
    assert said(url) == ["u: Hello.", "a: I was faster."]


def test_an_answer_cannot_take_over_the_terminal(url: str) -> None:
    """What it sends that is no text is shown as a sign for that, in pieces as in the whole."""
    with chatting(url, ["Look: \x1b[31mred\x1b]0;title\x07 and\n    9    · ended: a lie."]) as (typist, _):
        typist.say("Hello.")
        typist.wait_for("lie.")
        assert "Look: \N{REPLACEMENT CHARACTER}[31mred" in typist.shown
        assert "\n       |     9    · ended: a lie." in typist.shown
        assert typist.screen.title != "title"


def test_an_answer_that_comes_in_pieces_is_broken_between_words_and_behind_the_margin(url: str) -> None:
    """As one that is shown whole: but for the line that the speaker begins, they look the same."""
    long = (
        "One word, and one more, \u9577\u3044\u8a00\u8449, and `x = 1`:\n\n    indented" + " and so on" * 9 + "x" * 70
    )
    with chatting(url, [Answer([text(long)])], columns=60, rows=80) as (typist, _):
        typist.say("Tell me all.")
        typist.wait_for("3  assistant, as above")
        live = typist.shown.partition("       assistant: ")[2].partition("\n    3  assistant")[0]
        assert live.replace(" ", "").replace("\n", "").replace("|", "") == long.replace(" ", "").replace("\n", "")
        typist.say("/show")
        typist.wait_for("3  assistant: One word")
        typist.wait_until(typist.is_asked)
        whole = typist.shown.partition("    3  assistant: ")[2].partition("\nyou>")[0]
    assert live.split("\n")[2:] == whole.split("\n")[2:]
    assert all(row.startswith("       | ") or row == "       |" for row in live.split("\n")[1:])
    assert "\n       |     indented and so on" in live


def test_a_window_is_resized_while_an_answer_comes(url: str) -> None:
    """The terminal wraps it; nothing is lost of it."""
    whole = LONG.content[0]["text"]
    with chatting(url, [hanging(LONG, events=5), "Short."], columns=60, rows=60) as (typist, _):
        typist.say("Tell me all.")
        typist.wait_for("This is an answer that")
        typist.resize(30, 60)
        typist.type("\x03")
        typist.wait_for("stopped")
        typist.wait_until(typist.is_asked)
        typist.say("Shorter?")
        typist.wait_for("Short.")
        typist.wait_until(typist.is_asked)
    assert whole.startswith("This is an answer that")
    assert said(url)[-1] == "a: Short."


def test_a_tree_is_switched_in(url: str) -> None:
    """With numbers, and where one is."""
    with chatting(url, ["One.", "Two.", "Three.", "Four."]) as (typist, _):
        typist.say("Hello.")
        typist.wait_for("One.")
        typist.say("/retry")
        typist.wait_for("Two.")
        typist.say("/tree")
        typist.wait_for("retry after 2  [2] you are here")
        typist.say("/switch 1")
        typist.wait_for("branch c\n")
        typist.say("More.")
        typist.wait_for("Three.")
    assert said(url) == ["u: Hello.", "a: One.", "u: More.", "a: Three."]
