"""The loopback sees whether a client keeps what the API builds on: a prefix that only grows."""

from typing import Any

import anthropic
import pytest

from lastresort.adapters.loopback import Answer, text, tool_use

from .loopback_kit import EVERYTHING, HELLO, LOOK_UP, MARKED, MODEL, asked, model, result, said, served, tool, user


def test_a_conversation_goes_on_as_one() -> None:
    """With what the SDK returned sent back, nothing is reported, however the blocks are spread over messages."""
    with served([EVERYTHING, "There you are.", "Gladly."], enforce=True) as (api, client):
        first = client.messages.create(**asked(tools=[LOOK_UP]))
        results = [result(block.id) for block in first.content if block.type == "tool_use"]
        talk = [HELLO, first.to_param(), user(*results)]
        talk += [
            client.messages.create(**asked(tools=[LOOK_UP], messages=talk)).to_param(),
            user(text("Good."), MARKED),
        ]
        client.messages.create(**asked(tools=[LOOK_UP], messages=talk))
    assert api.reports == []
    assert [one.calls for one in api.conversations] == [3]
    assert len(api.requests) == 3


def turns(client: Any, number: int, **more: Any) -> list[Any]:
    """Talk for so many turns, and return the messages."""
    talk: list[Any] = []
    for n in range(number):
        talk.append({"role": "user", "content": f"Turn {n}."})
        talk.append(client.messages.create(**asked(messages=talk, **more)).to_param())
    return talk


def test_branches_have_their_parents_prefix() -> None:
    """An edit, a retry, and a turn that came before the answer: all lawful."""
    with served(lambda request: f"Answer to {request.last_text}", enforce=True) as (api, client):
        talk = turns(client, 3)
        for branch in ([*talk[:2], user(text("Edited."))], talk[:3], [*talk[:3], user(text("And more."))], talk[:1]):
            client.messages.create(**asked(messages=branch))
    assert api.reports == []
    assert [one.calls for one in api.conversations] == [7]


def test_history_that_was_changed_is_reported() -> None:
    """By the first block of the model that does not stand where it stood."""
    with served(lambda request: f"Answer to {request.last_text}") as (api, client):
        talk = turns(client, 3)
        altered = [talk[0], model(text("What I never said.")), *talk[2:4], HELLO]
        swapped = [user(text("What they never said.")), *talk[1:4], HELLO]
        missing = [*talk[2:4], HELLO]
        inserted = [talk[0], talk[1], HELLO, model(text("x")), *talk[2:4], HELLO]
        for messages in (altered, swapped, missing, inserted):
            client.messages.create(**asked(messages=messages))
    assert [(report.kind, report.detail) for report in api.reports] == [
        ("prefix", "messages.1.content.0 was not sent there"),
        ("prefix", "messages.1.content.0 was not sent after messages.0.content.0"),
        ("prefix", "messages.1.content.0 was not sent after messages.0.content.0"),
        ("prefix", "messages.3.content.0 was not sent after messages.2.content.0"),
    ]
    assert [report.request for report in api.reports] == [4, 5, 6, 7]


def test_the_input_of_a_call_keeps_the_order_of_its_keys() -> None:
    """A prompt cache would miss, and so does this."""
    with served([Answer([tool_use("look_up", {"word": "x", "a": 1})]), "Well."]) as (api, client):
        block = client.messages.create(**asked(tools=[LOOK_UP])).to_dict()["content"][0]
        block["input"] = dict(sorted(block["input"].items()))
        client.messages.create(**asked(tools=[LOOK_UP], messages=[HELLO, model(block), user(result(block["id"]))]))
    assert [report.kind for report in api.reports] == ["prefix"]


def test_system_and_tools_stay_as_they_are() -> None:
    """In a conversation; another one, with the same first words, may have its own."""
    with served(lambda request: f"Answer to {request.last_text}") as (api, client):
        talk = turns(client, 2, system="Be kind.", tools=[LOOK_UP])
        client.messages.create(**asked(system="Be curt.", tools=[LOOK_UP]))
        assert api.reports == []
        more = asked(messages=[*talk, HELLO])
        client.messages.create(**{**more, "system": "Be curt.", "tools": [LOOK_UP]})
        client.messages.create(**{**more, "system": "Be kind.", "tools": [tool(description="Otherwise.")]})
        client.messages.create(**{**more, "system": [text("Be kind.")]})  # the same prompt, but no tools
    assert [(report.kind, report.detail) for report in api.reports] == [
        ("system", "system changed since messages.3.content.0 was sent"),
        ("tools", "tools changed since messages.3.content.0 was sent"),
        ("tools", "tools changed since messages.3.content.0 was sent"),
    ]


def test_promises_can_be_enforced() -> None:
    """What is reported is then refused, and no model is asked."""
    with served(["Hello."], enforce=True) as (api, client):
        with pytest.raises(anthropic.BadRequestError, match=r"loopback: messages\.1\.content\.0 was not sent after"):
            client.messages.create(**asked(messages=[HELLO, model(text("x")), HELLO]))
        assert said(client.messages.create(**asked())) == "Hello."
    assert [report.kind for report in api.reports] == ["prefix"]


def test_conversations_are_kept_apart_by_name() -> None:
    """Else those that begin with the same words are one, and one whose first turn was edited is two."""
    with served(lambda request: "Hello.") as (api, client):
        for name in ("a", "b", "a"):
            client.messages.create(**asked(metadata={"user_id": name}))
        client.messages.create(**asked(metadata={"user_id": "a"}, messages=[user(text("Edited."))]))
        client.messages.create(**asked())
        client.messages.create(**asked())
        client.messages.create(**asked(messages=[user(text("Edited."))]))
    assert [one.calls for one in api.conversations] == [3, 1, 2, 1]


def test_what_a_prompt_cache_would_have_is_not_charged_again() -> None:
    """If the request has a mark for it; the sum is the same."""
    with served(lambda request: "Hello.") as (api, client):
        talk = [HELLO, client.messages.create(**asked(system=[MARKED])).to_param(), user(text("More."))]
        usage = client.messages.create(**asked(system=[MARKED], messages=talk)).usage
        plain = client.messages.count_tokens(model=MODEL, system=[MARKED], messages=talk)
        assert usage.cache_read_input_tokens > usage.input_tokens > 0
        assert usage.input_tokens + usage.cache_read_input_tokens == plain.input_tokens
    assert sum(one.input_tokens + one.output_tokens for one in api.conversations) == api.tokens
