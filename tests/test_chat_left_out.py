"""Nothing in a file is dropped in silence: what holds text is among the words, or counted in the report."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lastresort import Conversations, open_conversations
from lastresort.adapters.chats import open_webui
from lastresort.adapters.chats.batches import NO_ANSWER
from lastresort.adapters.chats.left_out import LeftOut, known, says
from lastresort.adapters.chats.message_lists import NO_TEXT
from lastresort.adapters.importers.chat_import import RATED, import_chats
from lastresort.adapters.importers.chat_turns import Became

from .chats_kit import answers, asked, bring, feedback, kept_on, only, paths_of, response, root, write_json, write_lines
from .test_chat_formats import line, mapped, node, of_librechat, of_open_webui

Q, A = "user", "model"
TEXT = "text"


@pytest.fixture
def chats() -> Iterator[Conversations]:
    with open_conversations("memory:") as chats:
        yield chats


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def left(what: str, *names: str, unknown: int = 0) -> dict[str, int]:
    """What a report says of fields that are left out of an object."""
    strange = {f"fields of {what} that this format is not known to have, left out": unknown}
    return {f"`{name}` of {what}, left out": 1 for name in names} | (strange if unknown else {})


# --- What is counted --------------------------------------------------------------------------------------------------

EMPTY: tuple[Any, ...] = (5, None, [], {}, "")
TABLE = known("a thing", "used id", "left")


def test_a_field_that_is_not_used_is_counted_if_it_holds_text() -> None:
    """And named, if it is one that is known: another name may be somebody's words."""
    out = LeftOut()
    out.of({"used": "a", "id": "b", "left": {"a": [1, {"b": "words"}]}, "hunter2": ["c"], "more": "d"}, TABLE)
    out.of({"left": "", "hunter2": {"a": [1, None, True, " \n", {}]}, "more": 5}, TABLE)
    assert out.counted == left("a thing", "left", unknown=2)


def test_what_is_not_of_the_kind_that_is_read_is_counted_and_no_error() -> None:
    for value in EMPTY:
        out = LeftOut()
        assert (out.text({"used": value}, "used", TABLE) or None, out.mapping({"used": value}, "used", TABLE)) == (
            None,
            {},
        )
        assert out.objects({"used": value}, "used", TABLE) == []
        assert not out.counted
    assert out.text({"used": ["words"]}, "used", TABLE) is None
    assert out.mapping({"used": "words"}, "used", TABLE) == {}
    assert out.objects({"used": "words"}, "used", TABLE) == []
    assert out.objects({"used": [{"a": 1}, "words", 5]}, "used", TABLE) == [{"a": 1}]
    assert out.counted == {"`used` of a thing, left out": 4}


def test_a_text_that_repeats_the_content_is_not_counted() -> None:
    out = LeftOut()
    out.repeated("a b\nc", [text("a\n\nb"), {"type": "image"}, text("c d")], "left", TABLE)
    out.repeated(None, [], "left", TABLE)
    assert not out.counted
    out.repeated("e", [text("a")], "left", TABLE)
    assert out.counted == left("a thing", "left")


def test_nested_values_of_any_depth_are_looked_into() -> None:
    deep: Any = "words"
    for _ in range(100_000):
        deep = [deep]
    assert says(deep)


# --- ChatGPT ----------------------------------------------------------------------------------------------------------


def test_what_chatgpt_holds_in_no_known_form_is_kept_as_it_is(chats: Conversations, tmp_path: Path) -> None:
    image = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://1", "metadata": {"dalle": "P"}}
    heard = {"content_type": "audio_transcription", "text": "there", "direction": "in", "words": ["t"]}
    seen = {"content_type": "real_time_user_audio_video_asset_pointer", "audio_asset_pointer": {"asset_pointer": "p"}}
    quote = {"content_type": "tether_quote", "url": "https://example.org", "title": "T", "text": "Quoted"}
    display = {"content_type": "tether_browsing_display", "result": "R", "summary": "S", "assets": ["a"]}
    thoughts = {
        "content_type": "thoughts",
        "thoughts": [{"summary": "S", "content": "hm", "chunks": ["h"], "more": "x"}],
    }
    path = write_json(
        tmp_path / "c.json",
        [
            mapped(
                node("s", None, "system", content={"content_type": "model_editable_context", "model_set_context": "M"}),
                node("u", "s", "user", "Hi", heard, seen),
                node("c", "u", "assistant", "Make", image, recipient="dalle"),
                node("o", "c", "tool", content=quote),
                node("d", "o", "tool", content=display),
                node("e", "d", "tool", content={"content_type": "system_error", "name": "N", "text": "E"}),
                node("t", "e", "assistant", content=thoughts),
                node(
                    "a", "t", "assistant", content={"content_type": "new", "body": "B"}, metadata={"citations": ["c"]}
                ),
                moderation_results=["m"],
                hunter2="x",
            )
        ],
    )
    report = only(bring(chats, path))
    assert report.asides == {
        **left("a conversation", "moderation_results", unknown=1),
        **left("a part of a message", "metadata"),
        **left("the metadata of a message", "citations"),
    }
    assert report.became[Became.WITH_NEXT.value] == 1
    first, answer = kept_on(chats, root(chats))
    assert first["others"][0]["content"] == [text("M")]
    *_, words, video = first["messages"][0]["content"]
    assert (words["title"], words["source"]["data"]) == ("audio_transcription", '{"words": ["t"]}')
    assert video["title"] == seen["content_type"]
    assert '"asset_pointer": "p"' in video["source"]["data"]
    assert paths_of(chats) == {
        ((Q, "Hithere[audio_transcription][real_time_user_audio_video_asset_pointer]"), (A, "[thoughts]\n\n[new]"))
    }
    call, *results = (block for one in answer["messages"][:4] for block in one["content"])
    pointer = {"type": "image", "source": {"type": "file", "file_id": "file-service://1"}}
    assert call["input"] == {"text": "Make", "content": [pointer]}
    told = [[block.get("text") or block["source"]["data"] for block in one["content"]] for one in results]
    assert told == [["T\n\nhttps://example.org\n\nQuoted"], ["R\n\nS", '{"assets": ["a"]}'], ["N\n\nE"]]
    assert answer["messages"][-1]["content"][0]["source"]["data"] == '{"body": "B"}'


def test_the_name_of_a_tool_is_kept(chats: Conversations, tmp_path: Path) -> None:
    named = node("o", "c", "tool", "2")
    named["message"]["author"]["name"] = "python"
    call = node("c", "u", "assistant", "1+1", recipient="python")
    bring(chats, write_json(tmp_path / "c.json", [mapped(node("u", None, "user", "Hi"), call, named)]))
    assert kept_on(chats, root(chats))[1]["beside"] == {"o": {"name": "python"}}


# --- Claude.ai and Claude Code ----------------------------------------------------------------------------------------


def test_claude_ai_s_text_counts_where_content_has_none(chats: Conversations, tmp_path: Path) -> None:
    """What the program says of a tool there is nobody's; a summary, which goes on, is no change of what was said."""
    call = {"type": "tool_use", "name": "n", "input": {}}
    unsupported = "```\nThis block is not supported on your current device yet.\n```"
    messages = [
        {"uuid": "1", "sender": "human", "text": "Other", "content": [text("Hi")], "files_v2": [{"file_name": "a"}]},
        {"uuid": "2", "sender": "assistant", "text": f"{unsupported}Look.", "content": [call]},
        {"uuid": "3", "sender": "human", "text": "More", "content": [text("Mo"), text("re")]},
        {"uuid": "4", "sender": "assistant", "text": unsupported, "content": [call]},
    ]
    path = tmp_path / "conversations.json"
    chat = {"uuid": "c", "summary": "They greet.", "chat_messages": messages}
    report = only(bring(chats, write_json(path, [chat])))
    assert report.asides == left("a message", "files_v2", "text")
    assert paths_of(chats) == {((Q, "Hi"), (A, "Look."), (Q, "More"), (A, ""))}
    assert kept_on(chats, root(chats))[0]["about"] == {"summary": "They greet."}
    again = only(import_chats([write_json(path, [chat | {"summary": "They greet, and more."}])], chats))
    assert (again.brought.changed, again.brought.turns_there) == (0, 4)
    messages[2]["content"] = [text("Else")]
    assert only(import_chats([write_json(path, [chat])], chats)).brought.changed == 1


def test_what_a_tool_returned_in_claude_code_is_kept_whole(chats: Conversations, tmp_path: Path) -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "7"}
    path = write_lines(
        tmp_path / "s.jsonl",
        line("1", None, "user", "Count.", hunter2="x"),
        line("2", "1", "assistant", [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}], error="E"),
        line("3", "2", "user", [result], toolUseResult={"stdout": "7", "stderr": "slow"}),
    )
    report = only(bring(chats, path))
    assert report.asides == left("a line", "error", unknown=1)
    assert kept_on(chats, root(chats))[1]["beside"] == {"3": {"toolUseResult": {"stdout": "7", "stderr": "slow"}}}


# --- LibreChat and Open WebUI -----------------------------------------------------------------------------------------


def test_librechat_s_files_have_their_text(chats: Conversations, tmp_path: Path) -> None:
    held = [{"filename": "a.txt", "file_id": "f", "text": "north"}]
    messages = [
        of_librechat("1", "", True, "Hi", files=held, feedback={"rating": "thumbsUp", "text": "Mine."}, quotes=["q"]),
        of_librechat("2", "1", False, "Shown", content=[{"type": "think", "think": "hm"}], feedback={"text": "Good."}),
        of_librechat("3", "2", True, "Other", content=[{"type": "text", "text": "Said"}]),
    ]
    chat = {"conversationId": "c", "options": {"examples": ["e"]}, "messages": messages}
    report = only(bring(chats, write_json(tmp_path / "c.json", chat)))
    assert report.asides == {
        **left("the options of a conversation", "examples"),
        **left("a message", "quotes", "text"),
        RATED: 1,
    }
    assert paths_of(chats) == {((Q, "[a.txt]Hi"), (A, "Shown"), (Q, "Said"))}
    assert feedback(chats) == [(None, "Good.")]
    document = kept_on(chats, root(chats))[0]["messages"][0]["content"][0]
    assert document["source"] == {"type": "text", "media_type": "text/plain", "data": "north"}


def webui(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "o", "chat": {"history": {"messages": {one["id"]: one for one in messages}}, **more}}


def test_open_webui_s_output_is_the_answer(chats: Conversations, tmp_path: Path) -> None:
    """With what was thought and called, whether its text is there again or not."""
    output = [
        {"type": "reasoning", "summary": None, "content": [{"type": "output_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "t", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "t", "output": "7"},
        {"type": "function_call_output", "call_id": "t", "output": [{"type": "input_text", "text": "8"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "Seven."}]},
        {"type": "message", "content": [5]},
        {"type": "message", "content": "odd"},
        {"type": "message", "content": [{"type": "new", "text": None, "body": "b"}]},
        {"type": "message", "status": "completed", "content": []},
    ]
    folded = '<details type="reasoning" done="true"><summary>Thought</summary>\n&gt; hm\n&gt; so</details>\n'
    called = '<details type="tool_calls"><summary>Ran</summary></details>'
    messages = [
        of_open_webui("1", None, "user", "Hi <details type=\"reasoning\">mine</details>"),
        of_open_webui("2", "1", "assistant", "", output=output[:5]),
        of_open_webui("3", "1", "assistant", f"Well. {folded}{called}Seven.", output=output[:2]),
        of_open_webui("4", "1", "assistant", f"{called} Seven.", output=output[4:]),
        of_open_webui("5", "1", "assistant", f"{folded}Eight.<details open>", output=5),
        of_open_webui("6", "1", "assistant", "<details type=\"reasoning\">hm</details>Nine.", output=output[:1]),
        of_open_webui("7", "1", "assistant", "Ten.", output=[output[-1], {"type": "new", "body": "b"}]),
    ]  # fmt: skip
    report = only(bring(chats, write_json(tmp_path / "c.json", [webui(*messages)])))
    assert report.asides == {}
    said = {path[1][1] for path in paths_of(chats)}
    assert said == {
        "Seven.", f"Well.{called}Seven.", "Seven.[message][message]", "Eight.<details open>", "Nine.", "[new]Ten."
    }  # fmt: skip
    kept = {turn["id"]: turn["messages"] for one in chats.store.log() if one.kind == "BranchOpened"
            for turn in kept_on(chats, one.branch)[1:]}  # fmt: skip
    assert kept["3"][0]["content"] == [
        {"type": "thinking", "thinking": "hm"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"arguments": "{}"}},
        text("Well."),
        {"type": "thinking", "thinking": "hm\nso", "summary": "Thought"},
        text(f"{called}Seven."),
    ]
    assert kept["6"][0]["content"] == [{"type": "thinking", "thinking": "hm"}, text("Nine.")]
    first = kept_on(chats, root(chats))[1]["messages"]
    assert [[block["type"] for block in one["content"]] for one in first] == [
        ["thinking", "tool_use"], ["tool_result", "tool_result"], ["text"]
    ]  # fmt: skip


def test_what_an_answer_of_open_webui_rests_on_is_kept_beside_it(chats: Conversations, tmp_path: Path) -> None:
    rated = {"rating": 1, "comment": "Fine.", "tags": ["t"]}
    file = {"type": "file", "name": "a.txt", "id": "f", "file": {"data": {"content": "north"}}}
    beside = {"sources": [{"document": ["d"]}], "merged": {"content": "m"}, "code_executions": [{"code": "c"}]}
    messages = [
        of_open_webui("1", None, "user", "Hi", files=[file, {"type": "file", "url": "u"}], annotation=rated),
        of_open_webui("2", "1", "assistant", "Hello.", annotation=rated, followUps=["And?"], hunter2="x", **beside),
    ]
    listed = [messages[0], of_open_webui("9", None, "user", "Elsewhere")]
    chat = webui(*messages, system="Be warm.", params={"system": "Be brief."}, messages=listed)
    report = only(bring(chats, write_json(tmp_path / "c.json", [chat | {"meta": {"tags": [{"name": "greeting"}]}}])))
    assert report.asides == {**left("a message", "followUps", unknown=1), open_webui.BESIDE: 1, RATED: 1}
    assert paths_of(chats) == {((Q, "[a.txt][document]Hi"), (A, "Hello."))}
    assert chats.service.annotator.instructions(root(chats)) == "Be warm.\n\nBe brief."
    assert kept_on(chats, root(chats))[1]["beside"] == {"2": {**beside, "feedback": {"tags": ["t"]}}}
    assert feedback(chats) == [("up", "Fine.")]
    page = chats.list(with_metadata=True)
    assert page.metadata is not None
    assert page.metadata[root(chats)].tags == ("greeting",)


def test_what_is_within_a_part_is_counted_too(chats: Conversations, tmp_path: Path) -> None:
    """In whatever form: of a call, of a text, of an account, of the first instructions."""
    called = {"type": "tool_call", "tool_call": {"id": "t", "name": "n", "args": "{}", "auth": "a", "hunter2": "x"}}
    said = [of_librechat("1", "", True, "Hi"), of_librechat("2", "1", False, "", content=[called])]
    output = {"type": "message", "content": [{"type": "output_text", "text": "Ho", "annotations": [{"url": "u"}]}]}
    call = {"id": "t", "function": {"name": "n", "arguments": "{}", "hunter2": "x"}}
    system = {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "u"}}, text("Be kind.")]}
    roles = [system, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    asks = [of_open_webui("1", None, "user", "Hi")]
    author = node("u", None, "user", "Hi")
    author["message"]["author"]["metadata"] = {"real_author": "x"}
    written = {
        "librechat": {"conversationId": "c", "messages": said},
        "open-webui": webui(*asks, of_open_webui("2", "1", "assistant", "", output=[output])),
        "messages": {"messages": roles},
        "chatgpt": mapped(author),
        "claude-ai": {"account": {"uuid": "a", "full_name": "A"}, "chat_messages": [{"sender": "human", "text": "Hi"}]},
        "claude-code": line("1", None, "user", "Hi") | {"content": "Else"},
        "batches": asked("1", "Hi", metadata={"user_id": "u", "hunter2": "x"}),
    }  # fmt: skip
    paths = [write_lines(tmp_path / f"{form}.jsonl", value) for form, value in written.items()]
    assert {report.format: dict(report.asides) for report in bring(chats, *paths)} == {
        "librechat": left("a call of a tool", "auth", unknown=1),
        "open-webui": left("a text of the output", "annotations"),
        "messages": {**left("a call of a tool", unknown=1), NO_TEXT: 1},
        "chatgpt": left("an author", "metadata"),
        "claude-ai": left("an account", "full_name"),
        "claude-code": left("a line", "content"),
        "batches": left("the metadata of a request", unknown=1),
    }


# --- llm and batches --------------------------------------------------------------------------------------------------


def test_llm_s_fragments_thoughts_and_errors_of_tools_are_kept(chats: Conversations, tmp_path: Path) -> None:
    pieces = [{"hash": "h", "source": "a.txt", "content": "north"}, {"hash": "i", "content": ""}]
    image = {"type": "image/png", "id": "i", "path": "/a.png"}
    call = {"name": "n", "arguments": {}, "tool_call_id": "t"}
    failed = {"name": "n", "output": "", "tool_call_id": "t", "exception": "No such file", "attachments": [image]}
    path = write_json(
        tmp_path / "l.json",
        [
            response("a", "Hi", "Hm", 1, prompt_fragments=pieces, attachments=[image], system="Be brief.",
                     system_fragments=[{"content": "Be kind."}], reasoning="hm", tool_calls=[call],
                     tools=[{"name": "n"}]),
            response("b", "", "No.", 2, tool_results=[failed, failed | {"attachments": [], "exception": None}]),
        ],
    )  # fmt: skip
    assert only(bring(chats, path)).asides == left("a response", "tools")
    assert paths_of(chats) == {((Q, "[/a.png][a.txt]Hi"), (A, "Hm\n\nNo."))}
    assert chats.service.annotator.instructions(root(chats)) == "Be kind.\n\nBe brief."
    _, answer = kept_on(chats, root(chats))
    assert answer["messages"][0]["content"][0] == {"type": "thinking", "thinking": "hm"}
    one, other = answer["messages"][1]["content"]
    shown = {"type": "image", "source": {"type": "file", "file_id": "i"}, "title": "/a.png"}
    assert one == {
        "type": "tool_result", "tool_use_id": "t", "name": "n", "content": [text("No such file"), shown],
        "is_error": True,
    }  # fmt: skip
    assert other == {"type": "tool_result", "tool_use_id": "t", "name": "n", "content": ""}


def test_every_choice_of_a_batch_is_an_answer(chats: Conversations, tmp_path: Path) -> None:
    """And what went wrong is kept, which is no change of what was said."""
    choices = [
        {"index": nth, "message": {"content": said}, "logprobs": "l"} for nth, said in enumerate(("Rowan.", "Oak."))
    ]
    request = {"custom_id": "1", "body": {"messages": [{"role": "user", "content": "A tree?"}], "input": "i", "n": 2}}
    failed = {"custom_id": "2", "response": {"body": {"error": {"message": "No."}}}, "error": {"message": "Too long"}}
    asks = [request, asked("2", "A bush?", tools=[{"name": "t"}])]
    results = [{"custom_id": "1", "response": {"body": {"id": "r", "choices": choices}}}, failed]
    bring(chats, write_lines(tmp_path / "r.jsonl", *asks))
    report = only(bring(chats, write_lines(tmp_path / "b.jsonl", *asks, *results)))
    assert report.brought.changed == 0
    logprobs = "`logprobs` of a choice of a result, left out"
    assert report.asides == {NO_ANSWER: 1, **left("the parameters of a request", "input"), logprobs: 2}
    tree = (Q, "A tree?")
    assert paths_of(chats) == {(tree, (A, "Rowan.")), (tree, (A, "Oak.")), ((Q, "A bush?"),)}
    with open_conversations("memory:") as chats:
        bring(chats, tmp_path / "b.jsonl")
        kept = [kept_on(chats, row.conversation)[0] for row in chats.list().rows]
    about = next(one["about"] for one in kept if "about" in one)
    assert about == {"tools": [{"name": "t"}], "error": [{"message": "Too long"}, {"message": "No."}]}


# --- Lists of messages ------------------------------------------------------------------------------------------------


def test_messages_have_thoughts_calls_and_speech(chats: Conversations, tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "Weather?", "metadata": {"k": "v"}},
        {"role": "assistant", "content": None, "function_call": {"name": "w", "arguments": '{"city": "Turku"}'}},
        {"role": "function", "name": "w", "content": "rain"},
        {"role": "assistant", "content": "Rain.", "reasoning_content": "hm", "reasoning": 5, "refusal": "No more."},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "y"}, text("Say it.")]},
        {"role": "assistant", "content": None, "audio": {"transcript": "Rain!", "data": "AA"}},
        {"role": "user", "content": "Again."},
        {"role": "assistant", "content": "Rain again.", "audio": {"transcript": "Sun."}, "hunter2": "x"},
    ]
    report = only(bring(chats, write_lines(tmp_path / "m.jsonl", {"messages": messages, "tools": [{"name": "w"}]})))
    assert report.asides == {
        **left("a message", "metadata", unknown=1), **left("the audio of a message", "data", "transcript")
    }  # fmt: skip
    assert report.became == {Became.TOOL_IN_ANSWER.value: 2, Became.PART_OF_ANSWER.value: 1}
    assert paths_of(chats) == {
        ((Q, "Weather?"), (A, "Rain.No more."), (Q, "Say it."), (A, "Rain!"), (Q, "Again."), (A, "Rain again."))
    }
    first, answer, asks, *_ = kept_on(chats, root(chats))
    assert first["about"] == {"tools": [{"name": "w"}]}
    call, result, *_ = (block for one in answer["messages"] for block in one["content"])
    assert call == {"type": "tool_use", "id": "2", "name": "w", "input": {"city": "Turku"}}
    assert (result["type"], result["tool_use_id"]) == ("tool_result", "2")
    thought = {"type": "thinking", "thinking": "hm"}
    assert answer["messages"][2]["content"] == [thought, text("Rain."), text("No more.")]
    assert answer["messages"][3]["content"][0]["tool_use_id"] == "x"
    assert asks["messages"] == [{"role": "user", "content": [text("Say it.")]}]


def test_a_message_of_a_list_may_have_a_time_and_a_model_of_its_own(chats: Conversations, tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "Hi", "timestamp": 1_772_359_200},
        {"role": "assistant", "content": "Ho", "created_at": "2026-03-01T10:00:05Z", "model": "m-2"},
        {"role": "user", "content": "So?", "timestamp": "yesterday"},
        {"role": "assistant", "content": "So.", "model": ["m"]},
    ]
    chat = {"messages": messages, "model": "m-1", "created_at": "2026-03-02T10:00:00Z"}
    report = only(bring(chats, write_lines(tmp_path / "m.jsonl", chat)))
    assert report.asides == left("a message", "timestamp", "model")
    assert [one.model for one in answers(chats)] == ["m-2", "m-1"]
    said = [one for one in chats.store.log() if one.kind.endswith("TurnTaken")]
    times = ["2026-03-01T10:00:00", "2026-03-01T10:00:05", "2026-03-02T10:00:00", "2026-03-02T10:00:00"]
    assert [one.recorded_at[:19] for one in said] == times


def test_sharegpt_has_instructions_tools_and_pictures(chats: Conversations, tmp_path: Path) -> None:
    said = [{"from": "human", "value": "Hi", "markdown": "Hi"}, {"from": "gpt", "value": "Ho", "model": "m-2"}]
    chat = {"system": "Be kind.", "tools": "[]", "images": ["a.png"], "conversations": said, "title": "T"}
    report = only(bring(chats, write_json(tmp_path / "s.json", [chat])))
    assert report.asides == {**left("a conversation", "title"), **left("a message", "markdown")}
    assert chats.service.annotator.instructions(root(chats)) == "Be kind."
    assert kept_on(chats, root(chats))[0]["about"] == {"tools": "[]", "images": ["a.png"]}
    assert [one.model for one in answers(chats)] == ["m-2"]


def test_wildchat_s_answers_have_times_of_their_own(chats: Conversations, tmp_path: Path) -> None:
    """A row has that of its last answer, and users' messages none; where they are from is left out, and told."""
    said = [
        {"role": "user", "content": "Hi", "toxic": False, "country": "FI"},
        {"role": "assistant", "content": "Ho", "timestamp": "2023-05-01T10:00:30"},
        {"role": "user", "content": "So?"},
        {"role": "assistant", "content": "So.", "timestamp": "2023-05-02T10:00:30"},
    ]
    row = {"conversation_id": "w", "timestamp": "2023-05-02T10:00:30", "conversation": said, "hashed_ip": "h"}
    report = only(bring(chats, write_lines(tmp_path / "w.jsonl", row)))
    assert report.asides == {**left("a conversation", "hashed_ip"), **left("a message", "country")}
    said_at = [one.recorded_at[8:16] for one in chats.store.log() if one.kind.endswith("TurnTaken")]
    assert said_at == ["01T10:00", "01T10:00", "01T10:00", "02T10:00"]
