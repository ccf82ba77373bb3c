"""A conversation never bricks: what was recorded can be sent again, or is left out with a note, and stays on record."""

import json
from typing import Any

import anthropic
import pytest

from lastresort.adapters.claude import Full
from lastresort.adapters.claude.leaving_out import EARLIER, NOT_ALL, NOT_SHOWN
from lastresort.adapters.loopback import Answer, Request, Scripted, failing, text, thinking, tool_use

from .claude_kit import BOTH, EVERY_WAY, TWO_WAYS, Way, bench
from .loopback_kit import LOOK_UP
from .narrow import present
from .service_kit import done
from .stores import opened
from .test_claude_api import ran
from .test_claude_refused import said
from .test_claude_words import IMAGE, lines

DEAD = {"type": "image", "source": {"type": "url", "url": "https://example.com/gone.png"}}


class Api:
    """A model that answers each request, unless the API refuses it for what it holds."""

    def __init__(self, *script: Scripted) -> None:
        self.refuses: Any = lambda body: None
        self.script = iter(script)

    def __call__(self, request: Request) -> Scripted:
        why = self.refuses(request.body)
        return failing(400, message=why) if why else next(self.script, "Well.")


def refusing(body: dict[str, Any], kind: str, why: str) -> str | None:
    """What the API says of the first block of a kind."""
    for n, message in enumerate(body["messages"]):
        for m, block in enumerate(message["content"]):
            if block["type"] == kind:
                return f"messages.{n}.content.{m}{why}"
    return None


@EVERY_WAY
def test_a_block_that_the_api_once_took_and_takes_no_more(way: Way, tmp_path: Any) -> None:
    """In other processes and on branches it is left out from then on, without asking again."""
    url, api = f"sqlite:///{tmp_path}/chats.db", Api()
    with bench(api, way, url=url, enforce=False) as b:
        chat = b.start()
        b.reply(chat, [{"type": "text", "text": "Look."}, IMAGE])
        b.reply(chat, "Well?")
        api.refuses = lambda body: refusing(body, "image", ".image.source.base64: Could not process image")
        reply = b.reply(chat, "And now?", command_id="once")
        assert (reply.text, reply.as_text) == ("Well.", (2,))
        assert said(b.api.requests[-1])[0] == f"Look.[image]\n\n{NOT_ALL}"
        assert b.reply(chat, "And now?", command_id="once").as_text == (2,)
        calls = b.api.calls
        with opened(url) as others:
            elsewhere = others.chat(chat.branch)
            assert b.reply(elsewhere, "Really?").as_text == ()
            branch = elsewhere.edit(present(elsewhere.state.unit).turn, "Sure?")
            b.reply(branch, None)  # type: ignore[arg-type]
            assert lines(elsewhere)[0] == "Look.[image]"
            assert any("base64" in words for words in others.words(elsewhere.path).values())
        assert b.api.calls == calls + 2


@EVERY_WAY
def test_an_answer_that_the_api_takes_no_more(way: Way) -> None:
    """Its thinking, or its calls: what people read of it is sent."""
    answers = [Answer([thinking("Hm."), text("Hello.")]), Answer([thinking("Hm."), tool_use("look_up", {"word": "a"})])]
    api = Api(*answers)
    with bench(api, way, enforce=False, thinking={"type": "adaptive"}, tools=[LOOK_UP]) as b:
        chat = b.start()
        b.reply(chat, "Hi.")
        waiting = b.reply(chat, "Look it up.")
        api.script = iter([Answer([thinking("So.")])])
        assert b.reply(chat, {call.id: "x" for call in waiting.tool_calls}, pending=waiting.pending).text == ""
        api.refuses = lambda body: refusing(body, "thinking", ": Invalid `signature` in `thinking` block")
        api.script = iter([])
        assert b.reply(chat, "And now?").as_text == (3, 5)
        assert said(b.api.requests[-1]) == ["Hi.", "Hello.", "Look it up.", NOT_SHOWN, "And now?"]


@EVERY_WAY
def test_a_picture_whose_link_has_died(way: Way) -> None:
    """The API names no place: what holds pictures and documents is sent as text, results of tools too."""
    api = Api("A rose.", Answer([tool_use("look_up", {"word": "a"})]))
    with bench(api, way, enforce=False, tools=[LOOK_UP]) as b:
        chat = b.start()
        b.reply(chat, [DEAD])
        waiting = b.reply(chat, "Look it up.")
        b.reply(chat, {call.id: [DEAD] for call in waiting.tool_calls}, pending=waiting.pending)
        api.refuses = lambda body: "gone.png" in str(body) and "Unable to download the file. Verify the URL."
        assert b.reply(chat, "And now?").as_text == (2, 5)
        assert said(b.api.requests[-1])[0] == f"[image]\n\n{NOT_ALL}"


@BOTH
@pytest.mark.parametrize("why", ["temperature: out of range", "messages.9.content.0: no", "messages.0.content.0: no"])
def test_what_would_not_help_is_not_left_out(way: Way, why: str) -> None:
    api = Api()
    with bench(api, way) as b:
        chat = b.start()
        api.refuses = lambda body: why
        with pytest.raises(anthropic.BadRequestError):
            b.say(chat, "Hi.")
        assert b.api.calls == 1
        api.refuses = lambda body: None
        assert b.reply(chat, "Hi?").as_text == ()


@BOTH
def test_the_error_is_raised_if_leaving_out_does_not_help(way: Way) -> None:
    api = Api()
    with bench(api, way, enforce=False) as b:
        chat = b.start()
        b.reply(chat, [IMAGE])
        api.refuses = lambda body: "messages.0.content.0: Could not process image"
        with pytest.raises(anthropic.BadRequestError):
            b.say(chat, "Hi.")
        assert b.api.calls == 3


@BOTH
def test_a_container_that_is_gone(way: Way) -> None:
    api = Api(ran("Four."))
    with bench(api, way, enforce=False) as b:
        chat = b.start()
        b.reply(chat, "2 + 2?")
        api.refuses = lambda body: "container: container_1 was not found" if "container" in body else None
        b.api.ledger._containers.clear()  # the loopback's own memory of it
        assert b.reply(chat, "And one?").container is None


# --- A window that is outgrown ----------------------------------------------------------------------------------------


def too_long(body: dict[str, Any]) -> str | None:
    return "prompt is too long: 213369 tokens > 200000 maximum" if len(body["messages"]) > 5 else None


@EVERY_WAY
def test_a_conversation_that_has_outgrown_the_window(way: Way, tmp_path: Any) -> None:
    """Of its turns, the later half is sent, and of those the later half again; all of them stay on record."""
    url, api = f"sqlite:///{tmp_path}/chats.db", Api()
    api.refuses = too_long
    with bench(api, way, url=url, enforce=False, on_full="drop-oldest") as b:
        chat = b.start()
        replies = [b.reply(chat, f"m{n}") for n in range(6)]
        assert [reply.since for reply in replies] == [0, 0, 0, 6, 6, 10]
        assert said(b.api.requests[-1]) == [EARLIER, "m4", "Well.", "m5"]
        calls = b.api.calls
        with opened(url) as others:
            b.reply(others.chat(chat.branch), "m6")
            assert len(lines(others.chat(chat.branch))) == 14
        assert b.api.calls == calls + 1


@BOTH
def test_an_application_says_what_to_send(way: Way) -> None:
    asked: list[Full] = []

    def on_full(full: Full) -> int:
        asked.append(full)
        return next(turn.version for turn in full.turns if turn.text == "m2")

    api = Api()
    api.refuses = too_long
    with bench(api, way, enforce=False, on_full=on_full) as b:
        chat = b.start()
        for n in range(4):
            reply = b.reply(chat, f"m{n}")
    assert [(turn.role, turn.text) for turn in asked[0].turns[-2:]] == [("assistant", "Well."), ("user", "m3")]
    assert (asked[0].branch, reply.since) == (chat.branch, 6)


@BOTH
@pytest.mark.parametrize(
    ("says", "error"),
    [(None, anthropic.BadRequestError), (3, ValueError), (2, ValueError), (4.0, ValueError), ("m0", ValueError)],
)
def test_an_application_that_names_no_turn(way: Way, says: Any, error: type[Exception]) -> None:
    api = Api()
    with bench(api, way, enforce=False, on_full=lambda full: says) as b:
        chat = b.start()
        b.reply(chat, "m0")
        api.refuses = lambda body: "prompt is too long"
        with pytest.raises(error) as told:
            b.say(chat, "m1")
        assert "m0" not in str(told.value)


@BOTH
@pytest.mark.parametrize("on_full", ["raise", "drop-oldest"])
def test_where_nothing_more_can_be_left_out_the_error_is_raised(way: Way, on_full: str) -> None:
    api = Api()
    with bench(api, way, enforce=False, on_full=on_full) as b:
        chat = b.start()
        b.reply(chat, "m0")
        api.refuses = lambda body: "prompt is too long"
        with pytest.raises(anthropic.BadRequestError):
            b.say(chat, "m1")
        api.refuses = lambda body: None
        assert b.reply(chat, "m2").text == "Well."


@pytest.mark.parametrize("way", TWO_WAYS)
def test_a_refusal_for_an_old_turn_says_which_turns_it_may_be_for(way: Way) -> None:
    """The API may change its mind about a turn that it answered: then whatever is said is refused, and only an edit of
    that turn helps. The reply names those to try, and so it does when it is given again."""
    armed: list[bool] = []

    def script(request: Request) -> Scripted:
        return Answer([], "refusal") if armed and "plague" in json.dumps(request.messages) else "Gladly."

    with bench(script, way) as b:
        chat = b.start()
        assert b.reply(chat, "My essay is about the plague.").refused_for == ()
        b.reply(chat, "Thanks.")
        armed.append(True)
        assert b.reply(chat, "Hello?").refused_for == (6, 4, 2)
        again = b.reply(chat, "Are you there?")
        assert again.refused_for == (4, 2, 8)
        assert b.reply(chat, None).refused_for == (4, 2, 8)
        for turn in again.refused_for:
            branch = done(chat.edit(turn, "Let us talk about gardens."))
            if (reply := b.reply(branch, None)).stop_reason == "end_turn":
                break
        assert (turn, reply.text, reply.refused_for) == (2, "Gladly.", ())
        assert b.api.reports == []


@pytest.mark.parametrize("way", TWO_WAYS)
def test_a_refusal_of_the_first_turn_is_for_that(way: Way) -> None:
    with bench([Answer([], "refusal")], way) as b:
        assert b.reply(b.start(), "How do I make a plague?").refused_for == (2,)


@BOTH
@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"on_full": "edit-from"}, "on_full: needs to be 'raise' or 'drop-oldest' or a function"),
        ({"on_full": None}, "on_full: needs to be"),
        ({"on_setup_change": "Refuse"}, "on_setup_change: needs to be 'keep' or 'refuse'"),
        ({"notes_as": "developer"}, "notes_as: needs to be 'user' or 'system'"),
        ({"rounds": 0}, "rounds: a whole number from 1 on is needed"),
        ({"rounds": True}, "rounds: a whole number"),
        ({"remembered": -1}, "remembered: a whole number from 0 on is needed"),
        ({"patience": float("nan")}, "patience: a number of seconds is needed"),
        ({"patience": "60"}, "patience: a number of seconds is needed"),
    ],
)
def test_what_cannot_be_asked_for_is_said_before_anything_is_on_record(
    way: Way, params: dict[str, Any], told: str
) -> None:
    """A misspelt word would do nothing, or fail once somebody has said something."""
    with bench([], way, **params) as b:
        chat = b.start()
        before = chat.state.version
        with pytest.raises(ValueError, match=told):
            b.say(chat, "Hello.")
        assert chat.refresh().version == before
