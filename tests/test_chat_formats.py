"""Every form of file that is read: a small one of our own, and the samples that are shared with us, where they are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lastresort import Conversations, open_conversations
from lastresort.adapters.chats import claude_code
from lastresort.adapters.chats.chatgpt import EMPTY
from lastresort.adapters.chats.formats import FORMATS, format_of
from lastresort.adapters.importers.chat_import import OTHER_FILES, check_chats, import_chats
from lastresort.adapters.importers.chat_turns import Became
from lastresort.adapters.importers.inputs import BadInput
from lastresort.domain.values import Usage

from .chats_kit import (
    answers,
    asked,
    bring,
    feedback,
    kept_on,
    kinds_in,
    only,
    paths_of,
    response,
    root,
    write_json,
    write_lines,
)
from .test_chat_files import zipped

SAMPLES = next(
    (found for up in (2, 3) if (found := Path(__file__).parents[up] / "shared" / "samples").exists()), Path()
)
"""Beside the checkout, or beside the folder of work trees that it is in."""
Q, A = "user", "model"


@pytest.fixture
def chats() -> Iterator[Conversations]:
    with open_conversations("memory:") as chats:
        yield chats


# --- ChatGPT ----------------------------------------------------------------------------------------------------------


def node(id: str, parent: str | None, role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    content = more.pop("content", {"content_type": "text", "parts": list(parts)})
    return {"id": id, "parent": parent, "message": {"author": {"role": role}, "content": content, **more}}


def mapped(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"mapping": {one["id"]: one for one in nodes}, "conversation_id": "g1", "title": "T", **more}


def test_chatgpt(chats: Conversations, tmp_path: Path) -> None:
    """Calls of tools and their results, thoughts, pictures and files, a system midway, and what is not finished."""
    image = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://1"}
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "S", "content": "hm"}]}
    code = {"content_type": "code", "text": "1+1"}
    output = {"content_type": "execution_output", "text": "2"}
    recap = {"content_type": "reasoning_recap", "content": "for a second"}
    profile = {"content_type": "user_editable_context", "user_profile": "P", "user_instructions": "I"}
    path = write_json(
        tmp_path / "conversations.json",
        [
            mapped(
                {"id": "r", "parent": None, "message": None},
                node("s", "r", "system", ""),
                node("p", "s", "user", content=profile, metadata={"is_user_system_message": True}),
                node(
                    "u",
                    "p",
                    "user",
                    "Look:",
                    image,
                    {"text": "there"},
                    metadata={"attachments": [{"id": "f", "name": "a.txt"}]},
                ),
                node("t", "u", "assistant", content=thoughts, metadata={"model_slug": "m"}),
                node("e", "t", "assistant", content=recap, metadata={"model_slug": "m"}),
                node("c", "e", "assistant", content=code, recipient="python", metadata={"model_slug": "m"}),
                node("o", "c", "tool", content=output),
                node("x", "o", "tool", "more"),
                node("a", "x", "assistant", "Tw", status="in_progress", metadata={"model_slug": "m"}),
                node("b", "u", "assistant", "Cut", metadata={"finish_details": {"type": "interrupted"}}),
            )
        ],
    )
    report = only(bring(chats, path))
    assert report.asides == {EMPTY: 1}
    assert report.became == {Became.WITH_NEXT.value: 1, Became.PART_OF_ANSWER.value: 3, Became.TOOL_IN_ANSWER.value: 2}
    user = (Q, "Look:[image]there[a.txt]")
    assert paths_of(chats) == {(user, (A, "Tw")), (user, (A, "Cut"))}
    first, answer = kept_on(chats, root(chats))
    assert first["others"] == [
        {"speaker": "system", "before": 0, "id": "p", "content": [{"type": "text", "text": "P\n\nI"}]}
    ]
    assert answer["ids"] == ["t", "e", "c", "o", "x", "a"]
    roles = [one["role"] for one in answer["messages"]]
    assert roles == ["assistant", "assistant", "assistant", "user", "user", "assistant"]
    call, result = answer["messages"][2]["content"][0], answer["messages"][3]["content"][0]
    assert call == {"type": "tool_use", "id": "c", "name": "python", "input": {"text": "1+1"}}
    assert (result["type"], result["tool_use_id"]) == ("tool_result", "c")
    assert answer["messages"][0]["content"] == [{"type": "thinking", "thinking": "S\n\nhm"}]
    assert [(one.stop_reason, one.model) for one in answers(chats)] == [
        ("in_progress", "m"),
        ("interrupted", "unknown"),
    ]


def test_chatgpt_s_export_is_read_as_it_comes_zipped(chats: Conversations, tmp_path: Path) -> None:
    text = json.dumps([mapped(node("u", None, "user", "Hi"))])
    report = only(
        bring(chats, zipped(tmp_path / "e.zip", conversations_dot_json=text, chat_dot_html="", u_dot_json="[]"))
    )
    assert report.asides == {OTHER_FILES: 2}
    assert paths_of(chats) == {((Q, "Hi"),)}


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("u", None, "owner", "Hi")], "node 1: author.role: needs to be one of user, assistant"),
        ([{"id": "u", "message": {"author": {}}}], "node 1: author.role: is missing"),
        ([node("u", None, "user", 5)], "node 1: content.parts, 1: an object is needed, not a number"),
        ([node("u", 5, "user", "Hi")], "node 1: parent: text is needed"),  # type: ignore[arg-type]
    ],
)
def test_what_is_wrong_in_chatgpt_s_export_is_named(
    chats: Conversations, tmp_path: Path, nodes: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(BadInput) as raised:
        import_chats([write_json(tmp_path / "c.json", [mapped(*nodes)])], chats)
    assert f"entry 1: mapping, {said}" in str(raised.value)


# --- Claude.ai --------------------------------------------------------------------------------------------------------


def test_claude_ai(chats: Conversations, tmp_path: Path) -> None:
    """Files with their text and by their name; calls of tools, which have no ids there, paired with their results."""
    blocks = [
        {"type": "thinking", "thinking": "hm", "start_timestamp": "t"},
        {"type": "tool_use", "name": "a", "input": {}},
        {"type": "tool_use", "name": "b", "input": {}},
        {"type": "tool_result", "name": "b", "content": []},
        {"type": "tool_result", "name": "a", "content": []},
        {"type": "tool_result", "name": "c", "content": []},
        {"type": "text", "text": "Done."},
    ]
    attached = [{"file_name": "plan.txt", "extracted_content": "north"}]
    path = write_json(
        tmp_path / "conversations.json",
        [
            {
                "uuid": "c",
                "chat_messages": [
                    {
                        "uuid": "1",
                        "sender": "human",
                        "text": "Hi",
                        "attachments": attached,
                        "files": [{"file_name": "b"}],
                    },
                    {"uuid": "2", "sender": "assistant", "content": blocks},
                    {"sender": "human", "text": "Thanks"},
                ],
            }
        ],
    )
    bring(chats, path)
    assert paths_of(chats) == {((Q, "[plan.txt][b]Hi"), (A, "Done."), (Q, "Thanks"))}
    first, answer, last = kept_on(chats, root(chats))
    assert first["messages"][0]["content"][0]["source"] == {"type": "text", "media_type": "text/plain", "data": "north"}
    parts = [
        (one["role"], [block.get("id") or block.get("tool_use_id") for block in one["content"]])
        for one in answer["messages"]
    ]
    assert parts == [("assistant", [None, "2~2", "2~3"]), ("user", ["2~3", "2~2", "2~6"]), ("assistant", [None])]
    assert "start_timestamp" not in answer["messages"][0]["content"][0]
    assert "id" not in last


# --- Claude Code ------------------------------------------------------------------------------------------------------


def line(uuid: str, parent: str | None, kind: str, content: Any, **more: Any) -> dict[str, Any]:
    message = {"role": kind, "content": content, **more.pop("message", {})}
    return {"type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": "s", "message": message, **more}


def test_claude_code(chats: Conversations, tmp_path: Path) -> None:
    """Blocks of an answer in lines of their own, tools, a compaction, a sidechain, and lines that hold no message."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 3}
    one, two = (
        {"id": "r1", "model": "m", "usage": usage},
        {"id": "r2", "model": "m", "usage": usage, "stop_reason": "end_turn"},
    )
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "7"}
    path = write_lines(
        tmp_path / "session.jsonl",
        {"type": "summary", "summary": "Counting", "leafUuid": "z"},
        line("1", None, "user", "Caveat", isMeta=True),
        line("2", "1", "user", "Count."),
        line("3", "2", "assistant", [{"type": "text", "text": "I look."}], message=one),
        {"type": "progress", "uuid": "3p", "parentUuid": "3", "sessionId": "s"},
        line("4", "3p", "assistant", [call], message=one),
        line("5", "4", "user", [result]),
        line("6", "5", "assistant", [{"type": "text", "text": "Seven."}], message=two),
        line("s1", None, "user", "A task", isSidechain=True),
        {
            "type": "system",
            "uuid": "7",
            "parentUuid": None,
            "logicalParentUuid": "6",
            "sessionId": "s",
            "content": "Compacted",
        },
        line("8", "7", "user", "What came before.", isCompactSummary=True),
        line("9", "8", "assistant", "API Error", message={"model": "<synthetic>"}),
        line("10", "9", "user", "And folders?"),
        {"type": "mode", "sessionId": "s"},
        {"type": "file-history-snapshot", "messageId": "m"},
    )
    report = only(bring(chats, path))
    assert paths_of(chats) == {((Q, "Count."), (A, "I look.\n\nSeven."), (Q, "And folders?"))}
    assert report.asides == {claude_code.SIDECHAIN: 1, claude_code.OTHER: 4}
    assert report.places == {
        "folded into the answer that it is a part of": ["line 6", "line 8"],
        "a tool's, folded into the answer that called it": ["line 7"],
        Became.WITH_NEXT.value: ["line 2", "line 10", "line 11"],
        claude_code.SIDECHAIN: ["line 9"],
        claude_code.OTHER: ["line 1", "line 5", "line 14"],
    }
    (answer,) = answers(chats)
    assert (answer.model, answer.stop_reason) == ("m", "end_turn")
    assert answer.usage == Usage(input_tokens=24, output_tokens=6)
    first, said, last = kept_on(chats, root(chats))
    assert [one["role"] for one in said["messages"]] == ["assistant", "user", "assistant"]
    assert [block["type"] for block in said["messages"][0]["content"]] == ["text", "tool_use"]
    assert [one["speaker"] for one in first["others"]] == ["system"]
    assert [one["id"] for one in last["others"]] == ["7", "8", "9"]
    page = chats.list(with_metadata=True)
    assert page.metadata is not None
    assert page.metadata[root(chats)].title == "Counting"
    with pytest.raises(BadInput, match=r"session\.jsonl: line 3: [0-9]+ bytes; a turn may have 32$"):
        check_chats([path], max_words=1)


def test_what_a_person_typed_beside_a_result_of_a_tool_is_a_turn(chats: Conversations, tmp_path: Path) -> None:
    """And what the program says there is none."""
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "7"}
    reminder = {"type": "text", "text": "<system-reminder>Be brief.</system-reminder>"}
    path = write_lines(
        tmp_path / "session.jsonl",
        line("1", None, "user", "Count."),
        line("2", "1", "assistant", [call], message={"id": "r1", "model": "m"}),
        line("3", "2", "user", [result, reminder, {"type": "text", "text": "No, folders."}]),
        line("4", "3", "assistant", [call | {"id": "t2"}], message={"id": "r2", "model": "m"}),
        line("5", "4", "user", [result | {"tool_use_id": "t2"}, reminder, {"type": "text", "text": " "}]),
        line("6", "5", "assistant", "Two.", message={"id": "r3", "model": "m"}),
    )
    report = only(bring(chats, path))
    assert report.brought.user_turns == 2
    assert report.became == {Became.TOOL_IN_ANSWER.value: 2, Became.PART_OF_ANSWER.value: 1}
    assert report.places[Became.TOOL_IN_ANSWER.value] == ["line 3", "line 5"]
    _, called, typed, _ = kept_on(chats, root(chats))
    assert typed["messages"] == [{"role": "user", "content": [{"type": "text", "text": "No, folders."}]}]
    assert typed["id"] == "3"
    assert called["messages"][1] == {"role": "user", "content": [result, reminder]}


def test_lines_without_a_message_are_counted_where_nothing_else_is(chats: Conversations, tmp_path: Path) -> None:
    summary = {"type": "summary", "summary": "S", "leafUuid": "z"}
    paths = [write_lines(tmp_path / f"{nth}.jsonl", summary, {"type": "queue-operation"}) for nth in (1, 2)]
    for report in bring(chats, *paths):
        assert report.asides == {claude_code.OTHER: 2}
        assert report.places == {claude_code.OTHER: ["line 1", "line 2"]}


def test_sessions_in_one_file_are_conversations_of_their_own(chats: Conversations, tmp_path: Path) -> None:
    """And a fork, whose parent is in another file, begins one."""
    other = line("b", "elsewhere", "user", "Two.") | {"sessionId": "t"}
    report = only(bring(chats, write_lines(tmp_path / "two.jsonl", line("a", None, "user", "One."), other)))
    assert paths_of(chats) == {((Q, "One."),), ((Q, "Two."),)}
    assert report.became == {Became.ORPHAN.value: 1}


# --- LibreChat --------------------------------------------------------------------------------------------------------


def of_librechat(id: str, parent: str, by_user: bool, text: str, **more: Any) -> dict[str, Any]:
    said = {"messageId": id, "parentMessageId": parent, "isCreatedByUser": by_user, "text": text}
    return {**said, "createdAt": "2026-03-01T09:00:00.000Z", "user": "u-17", **more}


@pytest.mark.parametrize("nested", [True, False])
def test_librechat(chats: Conversations, tmp_path: Path, nested: bool) -> None:
    """Within each other or flat, with its instructions, parts of content, an error, and an answer that is cut off."""
    parts = [
        {"type": "think", "think": "hm"},
        {"type": "text", "text": {"value": "Pea "}},
        {"type": "tool_call", "tool_call": {"id": "t", "name": "n", "args": "{}", "output": "o"}},
        {"type": "tool_call", "tool_call": {"name": "n"}},
        {"type": "text", "text": "soup."},
        {"type": "image_file", "image_file": {}},
    ]
    top = "00000000-0000-0000-0000-000000000000"
    one = of_librechat("1", top, True, "Soup?", files=[{"filename": "a.png", "type": "image/png", "file_id": "f"}])
    liked = {"rating": "thumbsUp", "tag": "accurate", "text": "Good."}
    two = of_librechat("2", "1", False, "", content=parts, model="m-1", feedback=liked)
    cut = of_librechat("3", "1", False, "Bor", unfinished=True, model="m-2")
    failed = of_librechat("4", "2", False, "No such key", error=True)
    last = of_librechat("5", "4", True, "Again?")
    messages = [one, two, cut, failed, last]
    if nested:
        messages = [one | {"children": [two | {"children": [failed | {"children": [last]}]}, cut]}]
    chat = {"conversationId": "c", "title": "Soup", "options": {"promptPrefix": "You cook."}, "messages": messages}
    report = only(bring(chats, write_json(tmp_path / "c.json", chat)))
    assert paths_of(chats) == {
        ((Q, "[a.png]Soup?"), (A, "Pea \n\nsoup."), (Q, "Again?")),
        ((Q, "[a.png]Soup?"), (A, "Bor")),
    }
    assert {(one.model, one.stop_reason) for one in answers(chats)} == {("m-1", None), ("m-2", "unfinished")}
    assert report.became == {Became.WITH_NEXT.value: 1}
    assert chats.service.annotator.instructions(root(chats)) == "You cook."
    assert len(chats.list(person="librechat:u-17").rows) == 1
    assert feedback(chats) == [("up", "Good.")]
    assert kept_on(chats, root(chats))[1]["beside"] == {"2": {"feedback": {"tag": "accurate"}}}
    messages[0 if nested else 1] |= {} if nested else {"feedback": {"rating": "thumbsDown"}}
    path = write_json(tmp_path / "c.json", chat)
    assert only(import_chats([path], chats)).brought.ratings == (not nested)  # another rating, in a later export


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"messageId": "1"}, "isCreatedByUser: true or false is needed, not null"),
        ({"isCreatedByUser": True}, "messageId: is missing"),
    ],
)
def test_what_is_wrong_in_librechat_s_export_is_named(
    chats: Conversations, tmp_path: Path, message: Any, said: str
) -> None:
    path = write_json(tmp_path / "c.json", {"conversationId": "c", "messages": [message]})
    with pytest.raises(BadInput, match=said):
        import_chats([path], chats)


# --- Open WebUI -------------------------------------------------------------------------------------------------------


def of_open_webui(id: str, parent: str | None, role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "parentId": parent, "role": role, "content": content, "timestamp": 1_772_359_200, **more}


def test_open_webui(chats: Conversations, tmp_path: Path) -> None:
    """Two models answer one message; a picture, a file, an error; and a person's words are not the model's."""
    files = [{"type": "image", "url": "data:image/png;base64,aGk="}, {"type": "file", "name": "a.txt", "id": "f"}]
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    messages = [
        of_open_webui("1", None, "user", "Hi", files=files),
        of_open_webui("2", "1", "assistant", "Edited.", originalContent="Hello.", model="m-1", done=True, usage=usage),
        of_open_webui("3", "1", "assistant", "Hello there.", model="m-2", done=False, annotation={"rating": -1}),
        of_open_webui("4", "2", "assistant", "", error={"content": "No such model"}),
        of_open_webui("5", "4", "user", "More"),
        of_open_webui("6", "5", "assistant", "Half", error=True, model="m-1"),
    ]
    chat = {
        "id": "o", "user_id": "u", "title": "Hi", "meta": {"tags": ["greeting", 5]}, "created_at": 1_772_359_200,
        "chat": {"params": {"system": "Be warm."}, "history": {"messages": {one["id"]: one for one in messages}}},
    }  # fmt: skip
    bring(chats, write_json(tmp_path / "c.json", [chat]))
    said = (Q, "[image][a.txt]Hi")
    assert paths_of(chats) == {(said, (A, "Hello."), (Q, "More"), (A, "Half")), (said, (A, "Hello there."))}
    first, answer, *_ = kept_on(chats, root(chats))
    assert first["messages"][0]["content"][0]["source"] == {"type": "base64", "media_type": "image/png", "data": "aGk="}
    assert answer["beside"] == {"2": {"edited": "Edited."}}
    page = chats.list(person="open-webui:u", with_metadata=True)
    assert page.metadata is not None
    assert page.metadata[root(chats)].tags == ("greeting",)
    assert {(one.model, one.stop_reason) for one in answers(chats)} == {("m-1", None), ("m-2", "unfinished")}
    assert answers(chats)[0].usage == Usage(input_tokens=3, output_tokens=4)
    assert feedback(chats) == [("down", None)]


def test_open_webui_without_a_tree(chats: Conversations, tmp_path: Path) -> None:
    messages = [of_open_webui("1", None, "user", "Hi"), of_open_webui("2", None, "assistant", "Hello.")]
    bring(chats, write_json(tmp_path / "c.json", {"id": "o", "chat": {"messages": messages}}))
    assert paths_of(chats) == {((Q, "Hi"), (A, "Hello."))}
    bad = write_json(tmp_path / "bad.json", {"chat": {"messages": [of_open_webui("1", None, "robot", "")]}})
    with pytest.raises(BadInput, match="line 1: message 1: role: needs to be one of user"):
        import_chats([bad], chats)


# --- Samples ----------------------------------------------------------------------------------------------------------

WHAT_COMES_IN: dict[str, tuple[str, int, int, int, int]] = {  # format, conversations, user turns, answers, branches
    "claude-ai-conversations.json": ("claude-ai", 1, 3, 4, 2),
    "chatgpt-conversations.json": ("chatgpt", 1, 3, 4, 2),
    "librechat-export.json": ("librechat", 1, 2, 3, 1),
    "openwebui-export.json": ("open-webui", 1, 2, 2, 1),
    "claude-code-session.jsonl": ("claude-code", 1, 3, 2, 1),
    "sharegpt.json": ("sharegpt", 2, 3, 2, 0),
    "wildchat.jsonl": ("wildchat", 1, 1, 1, 0),
    "lmsys.jsonl": ("lmsys", 1, 1, 1, 0),
    "openai-finetune.jsonl": ("messages", 1, 1, 1, 0),
    "batch-requests.jsonl": ("batches", 1, 1, 0, 0),
    "batch-results.jsonl": ("batches", 0, 0, 0, 0),
    "llm-logs.json": ("llm", 1, 1, 1, 0),
}


@pytest.mark.parametrize("name", WHAT_COMES_IN)
def test_the_samples_that_are_shared_come_in(chats: Conversations, name: str) -> None:
    if not (SAMPLES / name).exists():
        pytest.skip("the samples are not shared with this checkout")
    report = only(bring(chats, SAMPLES / name))
    found = report.brought
    told = report.format, found.conversations, found.user_turns, found.answers, found.branches
    assert told == WHAT_COMES_IN[name]
    assert not {"WarningGiven", "ConversationEnded", "RiskRaised"} & set(kinds_in(chats))


def test_a_file_of_a_form_that_nobody_knows_is_told(chats: Conversations, tmp_path: Path) -> None:
    for value in ({"sender_id": "default", "events": []}, 5, "hunter2", None):
        with pytest.raises(BadInput, match="not a chat in a known format; name it by --format: chatgpt") as raised:
            import_chats([write_json(tmp_path / "t.json", [value])], chats)
        assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_another_form_than_is_named_is_told(chats: Conversations, tmp_path: Path, form: str) -> None:
    """By what it looks like; nothing is passed over in silence, and nothing is written."""
    exported = {"uuid": "c", "chat_messages": [{"uuid": "1", "sender": "human", "text": "hunter2"}]}
    other = exported if form != "claude-ai" else mapped(node("u", None, "user", "hunter2"))
    path = write_json(tmp_path / "t.json", [other, other])
    with pytest.raises(
        BadInput, match=f"look(s|ing) like {'chatgpt' if form == 'claude-ai' else 'claude-ai'}"
    ) as raised:
        import_chats([path], chats, format=form)
    assert str(raised.value).startswith(str(path))
    assert "hunter2" not in str(raised.value)
    with pytest.raises(BadInput, match="is an empty array: there is no chat in it"):
        import_chats([write_json(tmp_path / "t.json", [])], chats, format=form)
    assert chats.store.head() == 0


def test_a_file_of_no_form_is_told_where_one_is_named(chats: Conversations, tmp_path: Path) -> None:
    path = write_json(tmp_path / "t.json", [{"note": "hunter2"}])
    with pytest.raises(BadInput, match="nothing in it is in the format claude-code: not a chat in a known format"):
        import_chats([path], chats, format="claude-code")
    mixed = write_lines(tmp_path / "m.jsonl", {"messages": [{"role": "user", "content": "Hi"}]}, {"conversations": []})
    with pytest.raises(BadInput, match="line 2: messages: is missing; this looks like sharegpt, and is read as messag"):
        import_chats([mixed], chats)


def test_each_form_is_told_from_the_others() -> None:
    """By the first value; a form that is named is taken at its word."""
    values: dict[str, Any] = {
        "chatgpt": mapped(),
        "claude-ai": {"chat_messages": []},
        "claude-code": line("1", None, "user", "Hi"),
        "open-webui": {"chat": {"messages": []}},
        "librechat": {"conversationId": "c", "messages": []},
        "batches": asked("1", "Hi"),
        "llm": response("1", "Hi", "Hi", 1),
        "sharegpt": {"conversations": []},
        "wildchat": {"conversation": [{"role": "user", "toxic": False}]},
        "lmsys": {"conversation": [{"role": "user"}]},
        "messages": {"messages": [{"role": "user"}]},
    }
    assert values.keys() == FORMATS.keys()
    found = {name: format_of(value) for name, value in values.items()}
    assert {name: one and one.name for name, one in found.items()} == {name: name for name in values}
    assert format_of({"messages": [], "conversation": [], "chat": {}}) == FORMATS["messages"]
