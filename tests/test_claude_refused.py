"""What the API refuses to take, for good: a picture that it cannot read, a document too large.

The turn is on record, and would be sent again with every later one. So it is left out of the requests from the first
answer on that was given without it, everywhere; the law counts it all the same.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import anthropic
import pytest

from lastresort import Chat, Policy, Risk, Verdict
from lastresort.adapters.claude import Case, Claude, Opinion, Pending
from lastresort.adapters.loopback import Answer, Fault, Request, Scripted, failing, text, tool_use

from .claude_kit import ABUSE, BOTH, EVERY_WAY, Way, bench, harm, kinds, redirecting
from .loopback_kit import LOOK_UP
from .narrow import present
from .oracle import unlawful
from .stores import log_of, opened
from .test_claude_words import IMAGE, lines

PICTURE = [{"type": "text", "text": "Look at this."}, IMAGE]
CANNOT = failing(400, message="messages.2.content.1.image: Could not process image")
BOTHER = pytest.mark.parametrize("fault", [CANNOT, failing(413)], ids=["400", "413"])


def without_pictures(*script: Scripted, fault: Fault = CANNOT) -> Any:
    """Answer in order, but refuse whatever holds a picture."""
    answers = iter(script)

    def answer(request: Request) -> Scripted:
        return fault if "image" in blocks(request.body) else next(answers)

    return answer


def blocks(request: dict[str, Any]) -> list[str]:
    return [block["type"] for message in request["messages"] for block in message["content"]]


def said(request: dict[str, Any]) -> list[str]:
    """The words of a request, in order."""
    return [block.get("text", block["type"]) for message in request["messages"] for block in message["content"]]


def refused(b: Any, chat: Chat, content: Any = PICTURE) -> None:
    with pytest.raises(anthropic.APIStatusError):
        b.say(chat, content)


@EVERY_WAY
@BOTHER
def test_a_turn_that_the_api_refuses_does_not_block_the_branch(way: Way, fault: Fault, tmp_path: Path) -> None:
    """Nor in other processes, nor on branches; and from then on each request begins as the one before it."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench(without_pictures("Hello.", "Never mind.", "Yes.", "No.", fault=fault), way, url=url) as b:
        chat = b.start()
        b.reply(chat, "Hi.")
        refused(b, chat)
        reply = b.reply(chat, "Can you see it?", command_id="once")
        assert (reply.text, reply.without) == ("Never mind.", (4,))
        calls = b.api.calls
        again = b.reply(chat, "Can you see it?", command_id="once")
        assert (again.text, again.without, again.version) == (reply.text, reply.without, reply.version)
        with opened(url) as others:
            elsewhere = others.chat(chat.branch)
            assert b.reply(elsewhere, "Really?").without == ()
            branch = elsewhere.edit(present(elsewhere.state.unit).turn, "Sure?")
            assert isinstance(branch, Chat)
            b.reply(branch, None)
            assert lines(elsewhere)[2] == "Look at this.[image]"
        assert b.api.calls == calls + 2  # each asked once
        assert kinds(chat.path)[3:6] == ["UserTurnTaken", "UserTurnTaken", "AssistantTurnTaken"]
        sent = [request["messages"] for request in b.api.requests if "image" not in blocks(request)]
        assert (b.api.reports, b.api.refused) == ([], [])
    assert [said(request)[-1] for request in b.api.requests[-3:]] == ["Can you see it?", "Really?", "Sure?"]
    for before, after in [*pairwise(sent[:3]), (sent[1], sent[3])]:
        assert json.dumps(after[: len(before)]) == json.dumps(before)


@BOTH
def test_where_one_turn_waits_the_error_comes_through(way: Way) -> None:
    with bench(without_pictures("Hello."), way) as b:
        chat = b.start()
        for _ in range(2):
            with pytest.raises(anthropic.BadRequestError, match="Could not process image"):
                b.say(chat, PICTURE if len(chat.path) == 1 else None)
        assert b.api.calls == 2


@BOTH
def test_where_the_latest_turn_is_refused_too_the_error_comes_through(way: Way) -> None:
    """Asked once with all, and once with the latest; and the next turn goes on without both."""
    with bench(without_pictures("Hello.", "Well."), way) as b:
        chat = b.start()
        refused(b, chat)
        refused(b, chat)
        assert b.api.calls == 3
        assert b.reply(chat, "Hi.").without == (2, 3)
        b.reply(chat, "And now?")
        assert said(b.api.requests[-1]) == ["Hi.", "Hello.", "And now?"]


@BOTH
def test_another_error_leaves_nothing_out(way: Way) -> None:
    with bench([failing(529), failing(404), "Hello."], way) as b:
        chat = b.start()
        refused(b, chat, "Hi.")
        refused(b, chat, "Are you there?")
        assert b.reply(chat, None).without == ()
        assert said(b.api.requests[-1]) == ["Hi.", "Are you there?"]


@BOTH
def test_nothing_is_left_out_once_the_model_has_begun_to_answer(way: Way) -> None:
    """It has seen it: what the API refuses then is something else."""
    with bench([failing(529), Answer([text("Hm."), harm()]), CANNOT], way) as b:
        chat = b.start()
        refused(b, chat, "Hi.")
        with pytest.raises(anthropic.BadRequestError):
            b.say(chat, ABUSE)
        assert b.api.calls == 3


@BOTH
def test_a_turn_that_waits_for_tools_goes_on_without_it(way: Way) -> None:
    """In another process too."""
    script = without_pictures(Answer([tool_use("look_up", {"word": "a"})]), "It says.", "Yes.")
    with bench(script, way, tools=[LOOK_UP]) as b:
        chat = b.start()
        refused(b, chat)
        waits = b.reply(chat, "Look it up instead.")
        assert waits.pending is not None
        pending = Pending.model_validate_json(waits.pending.model_dump_json())
        reply = b.reply(chat, {waits.tool_calls[0].id: "A letter."}, pending=pending)
        assert (waits.without, reply.without) == ((2,), (2,))
        b.reply(chat, "Thanks.")
        assert (b.api.reports, b.api.calls) == ([], 5)
    assert "image" not in blocks(b.api.requests[-1])


@BOTH
def test_the_law_counts_a_turn_that_is_left_out(way: Way) -> None:
    """It is of the unit: the assessor is shown it, and what is stated of the turn is stated of both."""
    cases: list[Case] = []

    def calm(case: Case) -> Opinion:
        cases.append(case)
        return Opinion(verdict=Verdict.PRODUCTIVE, risk=Risk.NONE)

    policy = Policy(name="careful", second_opinion="every_turn")
    with bench(without_pictures(*redirecting(), "A."), way, assessor=calm) as b:
        chat = b.start(policy=policy)
        refused(b, chat)
        b.reply(chat)
        b.reply(chat, "Thanks.")
        assert cases[-2].turn == f"Look at this.[image]\n\n{ABUSE}"
        assert cases[-1].before[0] == ("user", "Look at this.[image]")
        assert unlawful(log_of(b.chats)) == []


def test_a_branch_before_the_answer_tries_again() -> None:
    """It has not the answer that was given without it."""
    with bench(without_pictures("Hello.", "Hello again.")) as b:
        chat = b.start()
        refused(b, chat)
        b.reply(chat, "Hi.")
        branch = chat.retry(chat.state.answered_by)
        assert isinstance(branch, Chat)
        assert b.reply(branch, None).without == (2,)


def test_what_is_kept_in_memory_leaves_it_out_as_what_is_read_again() -> None:
    requests = []
    for remembered in (0, 256):
        with bench(without_pictures("A.", "B.", "C."), remembered=remembered) as b:
            chat = b.start()
            with anthropic.Anthropic(**b.connection) as client:
                claude = Claude(client, **b.params)
                with pytest.raises(anthropic.BadRequestError):
                    claude.send(chat, PICTURE)
                for _ in range(3):
                    claude.send(chat, "Again.")
            requests.append(json.dumps(b.api.requests))
    assert requests[0] == requests[1]
