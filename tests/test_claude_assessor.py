"""The assessor that is a Claude: what it is asked, what its answer counts for, and what becomes of nonsense."""

import asyncio
import json
import threading
from typing import Any

import anthropic
import anyio
import pydantic
import pytest

from lastresort import About, Risk, Verdict
from lastresort.adapters.claude import (
    AsyncClaude,
    AsyncClaudeAssessor,
    Case,
    Claude,
    ClaudeAssessor,
    NoOpinion,
    Opinion,
)
from lastresort.adapters.loopback import Answer, Fault, Request, failing, hanging, loopback, text
from lastresort.adapters.turns.assessor import Failure, assess

from .claude_kit import ABUSE, CALM, ENDING, TWO_WAYS, Way, bench, brink, ended

CASE = Case(branch="b", version=2, turn=ABUSE, before=(("user", "Hi."), ("assistant", "Hello.")), categories=("abuse",))
HARMFUL = {"verdict": "harmful", "category": "abuse", "severity": 2, "risk": "none", "about": "self"}


def judged(script: Any, **how: Any) -> tuple[Opinion, list[dict[str, Any]]]:
    """What an assessor says, sync and async, and what was asked; the two must agree."""
    with loopback(lambda request: script) as api:
        connection: dict[str, Any] = {"base_url": api.url, "api_key": "x", "max_retries": 0}
        with anthropic.Anthropic(**connection) as client:
            one = ClaudeAssessor(client, **how)(CASE)

        async def awaited() -> Opinion:
            async with anthropic.AsyncAnthropic(**connection) as client:
                return await AsyncClaudeAssessor(client, **how)(CASE)

        assert anyio.run(awaited) == one
        assert api.requests[0] == api.requests[1]
        return one, api.requests


def test_it_is_asked_in_a_form_and_of_what_people_read() -> None:
    """A small model of its own; what it judges is material in JSON, which cannot speak to it as a system does."""
    opinion, requests = judged(json.dumps(HARMFUL))
    assert opinion == Opinion(verdict=Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE, about=About.SELF)
    asked = requests[0]
    assert asked["model"] == "claude-haiku-4-5"
    assert asked["output_config"]["format"]["type"] == "json_schema"
    assert json.loads(asked["messages"][0]["content"]) == {
        "categories": ["abuse", "other"],
        "before": [{"role": "user", "text": "Hi."}, {"role": "assistant", "text": "Hello."}],
        "turn": ABUSE,
    }
    assert "tools" not in asked


def test_another_model_may_be_asked() -> None:
    _, requests = judged(
        json.dumps({**HARMFUL, "verdict": "productive", "category": None, "severity": None}), model="m"
    )
    assert requests[0]["model"] == "m"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("I think it is harmful.", pydantic.ValidationError),
        ("{}", pydantic.ValidationError),
        (json.dumps({**HARMFUL, "severity": 4}), pydantic.ValidationError),
        (json.dumps({**HARMFUL, "severity": None}), pydantic.ValidationError),
        (json.dumps({**HARMFUL, "verdict": "productive"}), pydantic.ValidationError),
        (Answer([text(json.dumps(HARMFUL))], "refusal"), NoOpinion),
        (Answer([text(json.dumps(HARMFUL))], "max_tokens"), NoOpinion),
        (Answer([]), NoOpinion),
        (failing(529), anthropic.APIStatusError),
    ],
)
def test_what_is_no_opinion_is_an_error(answer: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        judged(answer)


@pytest.mark.parametrize("category", ["No Such Thing", "kill-ann-tomorrow", "harassment"])
def test_a_category_is_one_of_those_given(category: str) -> None:
    """The form has a list of them. Whatever else is named is `other`: no word of a turn enters the log there."""
    opinion, requests = judged(json.dumps({**HARMFUL, "category": category}))
    assert opinion.category == "other"
    form = requests[0]["output_config"]["format"]["schema"]["properties"]["category"]
    assert [one.get("enum") for one in form["anyOf"]] == [["abuse", "other"], None]


def test_what_is_thought_of_a_turn_is_in_no_error() -> None:
    """Nor is what the model wrote instead: errors end up in logs."""
    with pytest.raises(pydantic.ValidationError) as raised:
        judged(json.dumps({**HARMFUL, "severity": None, "category": "very private words"}))
    assert "very private words" not in str(raised.value)


@pytest.mark.parametrize("way", TWO_WAYS)
@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (json.dumps(HARMFUL), True),
        (json.dumps({**HARMFUL, "category": "other"}), False),
        (json.dumps({**HARMFUL, "risk": "unknown"}), False),
        (json.dumps({**HARMFUL, "risk": "imminent", "about": "others"}), False),
        ("nonsense", False),
        (failing(529), False),
        (hanging(), False),
    ],
)
def test_it_stands_at_the_gate_by_default(way: Way, answer: Any, ends: bool) -> None:
    """On the client of the chat, if none is passed: one call for the warning, one for the ending."""
    turns = iter([*brink(), ENDING, "Let us go on."])
    asked = []

    def script(request: Request) -> Any:
        if request.body["model"] != "claude-haiku-4-5":
            return next(turns)
        asked.append(request)
        return json.dumps(HARMFUL) if len(asked) == 1 else answer

    with bench(script, way, assessor=None) as b:
        chat = b.to_the_brink()
        b.params["patience"] = 0.3 if isinstance(answer, Fault) else 30
        outcome = b.say(chat)
        state = chat.state
    assert len(asked) == 2
    assert (state.ended is not None) == ends
    if ends:
        assert ended(outcome).category == "abuse"


@pytest.mark.parametrize("stopped", [SystemExit(ABUSE), GeneratorExit(ABUSE), asyncio.CancelledError(ABUSE)])
def test_an_assessor_that_stops_its_thread_has_judged_nothing(stopped: BaseException) -> None:
    """At once, rather than when patience is over; and nothing is printed of it."""

    def stop(case: Case) -> None:
        raise stopped

    answer = assess(stop, CASE, 30)
    assert isinstance(answer, Failure)
    assert ABUSE not in str(answer.error)


def test_one_that_takes_too_long_is_not_waited_for() -> None:
    """The thread that asks it is left behind; it holds nothing, and ends with the process."""
    never = threading.Event()
    try:
        answer = assess(lambda case: CALM if never.wait() else None, CASE, 0.05)
        assert isinstance(answer, Failure)
        assert isinstance(answer.error, TimeoutError)
    finally:
        never.set()


def test_its_word_is_recorded_as_its_own() -> None:
    """By its model's name; a function's as `assessor`."""
    client = anthropic.Anthropic(api_key="x")
    other = anthropic.AsyncAnthropic(api_key="x")
    named = Claude(client, assessor=ClaudeAssessor(client, model="m"), max_tokens=5)
    plain = Claude(client, assessor=lambda case: None, max_tokens=5)
    default = AsyncClaude(other, max_tokens=5)
    assert [one.terms.assessor.id for one in (named, plain, default)] == ["m", "assessor", "claude-haiku-4-5"]
    client.close()
    anyio.run(other.close)
