"""The forms of file that are lists: of messages, of calls, of the requests and results of a batch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lastresort import Conversations, open_conversations
from lastresort.adapters.chats import message_lists
from lastresort.adapters.chats.batches import NO_ANSWER, NO_REQUEST
from lastresort.adapters.importers.chat_import import import_chats
from lastresort.adapters.importers.chat_turns import Became
from lastresort.adapters.importers.inputs import BadInput
from lastresort.domain.events import TurnAssessed
from lastresort.domain.values import Usage

from .chats_kit import answers, asked, bring, kept_on, only, paths_of, response, root, write_json, write_lines

Q, A = "user", "model"


@pytest.fixture
def chats() -> Iterator[Conversations]:
    with open_conversations("memory:") as chats:
        yield chats


# --- Lists of messages ------------------------------------------------------------------------------------------------


def test_sharegpt(chats: Conversations, tmp_path: Path) -> None:
    """It may begin in the middle."""
    told = [
        {"from": "system", "value": "Be kind."},
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Hello!"},
    ]
    middle = [
        {"from": "gpt", "value": "(lost)"},
        {"from": "human", "value": "Go on."},
        {"role": "assistant", "content": "So."},
    ]
    path = write_json(tmp_path / "s.json", [{"id": "1", "conversations": told}, {"id": 2, "conversations": middle}])
    report = only(bring(chats, path))
    assert paths_of(chats) == {((Q, "Hi"), (A, "Hello!")), ((Q, "Go on."), (A, "So."))}
    assert report.became == {Became.OPENING.value: 1}
    assert report.brought.unknown_model == 2
    assert chats.service.annotator.instructions(root(chats)) in ("Be kind.", None)
    bad = write_json(tmp_path / "bad.json", [{"conversations": [{"from": "owner", "value": ""}]}])
    with pytest.raises(BadInput, match="entry 1: message 1: from: needs to be one of user, human"):
        import_chats([bad], chats)


def test_messages(chats: Conversations, tmp_path: Path) -> None:
    """As fine-tuning takes them: calls of tools, a picture, instructions midway, and no ids."""
    call = {"id": "t", "type": "function", "function": {"name": "w", "arguments": '{"a": 1}'}}
    odd = {"id": "t2", "type": "function", "function": {"name": "w", "arguments": "no JSON"}}
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Weather?"}, picture, {"type": "input_text", "text": "!"}],
        },
        {"role": "assistant", "content": None, "tool_calls": [call, odd]},
        {"role": "tool", "tool_call_id": "t", "content": "rain"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t2", "content": "x"}]},
        {"role": "assistant", "content": "Rain.", "weight": 1},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "Thanks."},
        {"role": "assistant", "refusal": "No."},
    ]
    path = write_lines(tmp_path / "m.jsonl", {"messages": messages}, {"messages": messages[:2], "system": "Both."})
    bring(chats, path)
    said = (Q, "Weather?[image]!")
    assert paths_of(chats) == {(said, (A, "Rain."), (Q, "Thanks."), (A, "No.")), (said,)}
    conversation = next(row.conversation for row in chats.list().rows if len(chats.path(row.conversation)) > 2)
    first, answer, thanks, _ = kept_on(chats, conversation)
    assert first["messages"][0]["content"][1]["source"] == {"type": "url", "url": "https://example.org/a.png"}
    calls = answer["messages"][0]["content"]
    assert [one["input"] for one in calls] == [{"a": 1}, {"arguments": "no JSON"}]
    assert [one["role"] for one in answer["messages"]] == ["assistant", "user", "user", "assistant"]
    assert [one["speaker"] for one in thanks["others"]] == ["system"]
    assert {chats.service.annotator.instructions(row.conversation) for row in chats.list().rows} == {
        "Be brief.",
        "Both.\n\nBe brief.",
    }


def test_labels_of_wildchat_and_lmsys_are_verdicts_of_named_assessors(chats: Conversations, tmp_path: Path) -> None:
    """Of risk they say nothing, and of severity no more than that there is harm."""
    said = [
        {"role": "user", "content": "You fool.", "toxic": True, "turn_identifier": 1},
        {"role": "assistant", "content": "Hm.", "toxic": False},
        {"role": "user", "content": "Sorry.", "toxic": False},
    ]
    flags = [{"flagged": True, "categories": {"harassment": True, "harassment/threatening": True, "odd": True}}]
    row = {"conversation_id": "w", "model": "gpt-4", "timestamp": "2023-05-01T10:00:00", "conversation": said}
    path = write_lines(tmp_path / "w.jsonl", {**row, "openai_moderation": flags, "detoxify_moderation": [{}, {}]})
    report = only(bring(chats, path))
    assert report.format == "wildchat"
    verdicts = [one.event for one in chats.store.log() if isinstance(one.event, TurnAssessed)]
    told = [(one.by.id, one.verdict.value, one.category, one.severity, one.risk.value) for one in verdicts]
    assert told == [
        ("wildchat-toxic", "harmful", "other", 1, "unknown"),
        ("openai-moderation", "harmful", "threats", 1, "unknown"),
        ("wildchat-toxic", "productive", None, None, "unknown"),
    ]
    assert report.asides == {message_lists.ON_ANSWERS: 1, message_lists.SCORES: 2}
    assert report.brought.labels == 3
    plain = {"conversation_id": "l", "model": "vicuna-13b", "conversation": [{"role": "user", "content": "Hi"}]}
    path = write_lines(tmp_path / "l.jsonl", plain | {"openai_moderation": [{"flagged": True, "categories": {}}]})
    assert only(bring(chats, path)).format == "lmsys"
    assert [one.event.category for one in chats.store.log() if isinstance(one.event, TurnAssessed)][-1] == "other"


# --- llm and batches --------------------------------------------------------------------------------------------------


def test_llm_logs(chats: Conversations, tmp_path: Path) -> None:
    """The newest may come first; results of tools come with the next prompt, or without one."""
    call = {"name": "n", "arguments": {"a": 1}, "tool_call_id": "t"}
    result = {"name": "n", "output": "o", "tool_call_id": "t"}
    attached = [{"id": "f", "type": "image/png", "url": "https://example.org/a.png"}, {"id": "g", "type": "text/plain"}]
    path = write_json(
        tmp_path / "logs.json",
        [
            response("3", "", "Wren!", 3, tool_results=[result], system="Be long."),
            response("1", "A bird?", "", 1, system="Be brief.", tool_calls=[call], attachments=attached),
            response("x", "Alone", "Yes", 2, conversation_id=None),
        ],
    )
    bring(chats, path)
    assert paths_of(chats) == {((Q, "[image][document]A bird?"), (A, "Wren!")), ((Q, "Alone"), (A, "Yes"))}
    (answer, alone) = answers(chats)
    assert answer.usage == Usage(input_tokens=18, output_tokens=4)
    assert chats.service.annotator.instructions(root(chats)) == "Be brief."
    assert alone.usage == Usage(input_tokens=9, output_tokens=2)
    bad = write_json(tmp_path / "bad.json", [response("1", "A", "B", 1, tool_results=[{"output": 5}])])
    with pytest.raises(BadInput, match=r"entry 1: tool_results.output: text is needed, not a number"):
        import_chats([bad], chats)


def answered(id: str, text: str) -> dict[str, Any]:
    usage = {"input_tokens": 9, "output_tokens": 4}
    message = {"id": f"msg-{id}", "model": "m", "content": [{"type": "text", "text": text}], "usage": usage}
    return {"custom_id": id, "result": {"type": "succeeded", "message": {**message, "stop_reason": "end_turn"}}}


def test_batches_are_joined_whichever_file_comes_first(chats: Conversations, tmp_path: Path) -> None:
    results = write_lines(
        tmp_path / "results.jsonl", answered("1", "Rowan."), {"custom_id": "2", "result": {"type": "expired"}},
        answered("9", "Lost."), answered("1", "Rowan."),
    )  # fmt: skip
    requests = write_lines(tmp_path / "requests.jsonl", asked("1", "A tree?"), asked("2", "A bird?"))
    report = only(bring(chats, results, requests))
    assert paths_of(chats) == {((Q, "A tree?"), (A, "Rowan.")), ((Q, "A bird?"),)}
    assert report.asides == {NO_ANSWER: 1, NO_REQUEST: 1}
    assert report.file == f"{results}, {requests}"
    (answer,) = answers(chats)
    assert (answer.stop_reason, answer.usage) == ("end_turn", Usage(input_tokens=9, output_tokens=4))
    other = write_lines(tmp_path / "other.jsonl", asked("1", "A fish?", metadata={"user_id": "u-17"}))
    assert only(bring(chats, other)).brought.conversations == 1
    assert len(chats.list(person="batches:u-17").rows) == 1
    with pytest.raises(BadInput, match=r"other.jsonl: line 1: custom_id: is that of .*requests.jsonl: line 1"):
        import_chats([requests, other], chats)


def test_batches_of_completions(chats: Conversations, tmp_path: Path) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "A tree?"}], "user": "u"}
    choice = {"message": {"role": "assistant", "content": "Rowan."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    said = {"id": "c-1", "model": "m-2026", "created": 1_772_359_200, "choices": [choice], "usage": usage}
    path = write_lines(
        tmp_path / "b.jsonl",
        {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body},
        {"custom_id": "1", "response": {"status_code": 200, "body": said}, "error": None},
    )
    bring(chats, path)
    assert paths_of(chats) == {((Q, "A tree?"), (A, "Rowan."))}
    assert (answers(chats)[0].model, answers(chats)[0].stop_reason) == ("m-2026", "stop")
