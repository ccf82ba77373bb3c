"""Files of chats that were valid and are broken: only the documented error comes of them, and nothing is written.

What comes in of one is lawful, can be read, and does not come in again.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastresort import Conversations, open_conversations
from lastresort.adapters.chats import FORMATS
from lastresort.adapters.importers.chat_import import import_chats
from lastresort.adapters.importers.inputs import BadInput
from lastresort.domain.values import Messages
from lastresort.projections import audit

from .broken_files import SHAPES, Raw, break_bytes, break_structure, parsed, path, places, text_of
from .chats_kit import asked, response
from .drawing import examples
from .test_chat_formats import line, mapped, node, of_librechat, of_open_webui
from .test_fuzz import PROFILE, counted
from .test_import_chats import TREE, exported

__all__ = ["path"]

CALL = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": [1, {"b": None}]}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "7"}]}
ATTACHED: dict[str, Any] = {
    "attachments": [{"file_name": "a", "extracted_content": "b"}],
    "files": [{"file_name": "c"}],
}
MARKED = {"role": "user", "content": "Hi", "toxic": True, "turn_identifier": 5, "redacted": False}
FOLDED = '<details type="reasoning">a</details>b'
OUTPUT = [
    {"type": "reasoning", "content": [{"text": "hm"}]},
    {"type": "function_call", "call_id": "t", "name": "n", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "t", "output": [{"text": "7"}]},
]
VALID: dict[str, list[Any]] = {
    "chatgpt": [
        mapped(
            {"id": "r", "parent": None, "message": None},
            node("s", "r", "system", "Be brief."),
            node("u", "s", "user", "Hi", {"asset_pointer": "p"}, metadata={"attachments": [{"id": "f", "name": "a"}]}),
            node("c", "u", "assistant", content={"content_type": "code", "text": "1"}, recipient="python"),
            node("o", "c", "tool", "2"),
            node("a", "o", "assistant", "Two", create_time=1_772_359_200.5, metadata={"model_slug": "m"}),
            node("b", "u", "assistant", content={"content_type": "thoughts", "thoughts": [{"summary": "S"}]}),
            node("d", "u", "assistant", content={"content_type": "new", "body": ["B"]}, hunter2={"a": ["b"]}),
        )
    ],
    "claude-ai": [
        exported(TREE[0] | ATTACHED, *TREE[1:4], TREE[6] | {"content": [CALL, RESULT]}),
        exported(*TREE[:2], id="c2"),
    ],
    "claude-code": [
        {"type": "summary", "summary": "S", "leafUuid": "z"},
        line("1", None, "user", "Count.", timestamp="2026-03-01T10:00:00Z"),
        {"type": "progress", "uuid": "2", "parentUuid": "1", "sessionId": "s"},
        line("3", "2", "assistant", [CALL], message={"id": "r", "model": "m", "usage": {"input_tokens": 1}}),
        line("4", "3", "user", [RESULT, {"type": "text", "text": "Go on."}], toolUseResult={"stdout": "7"}),
        line("5", "4", "assistant", [{"type": "text", "text": "7"}], message={"id": "r", "stop_reason": "end_turn"}),
        line("6", None, "user", "A task", isSidechain=True),
    ],
    "librechat": [
        {
            "conversationId": "c", "title": "T", "options": {"promptPrefix": "P"},
            "messages": [
                of_librechat("1", "", True, "Soup?", files=[{"filename": "a", "type": "image/png", "text": "b"}])
                | {
                    "children": [
                        of_librechat("2", "1", False, "", content=[{"type": "think", "think": "hm"}], model="m"),
                        of_librechat("3", "1", False, "Pea", feedback={"rating": "thumbsUp", "tag": "t", "text": "x"}),
                    ]
                }
            ],
        }
    ],
    "open-webui": [
        {
            "id": "o", "user_id": "u", "title": "Hi", "meta": {"tags": ["t"]}, "created_at": 1_772_359_200,
            "chat": {
                "params": {"system": "Warm."},
                "history": {
                    "messages": {
                        "1": of_open_webui("1", None, "user", "Hi", files=[{"type": "image", "url": "data:;base64,"}]),
                        "2": of_open_webui("2", "1", "assistant", "A", originalContent="B", usage={"a": 1}),
                        "3": of_open_webui("3", "1", "assistant", "", annotation={"rating": 1}, error=True),
                        "4": of_open_webui("4", "1", "assistant", FOLDED, output=OUTPUT),
                    }
                },
            },
        }
    ],
    "llm": [
        response("a", "Hi", "Hm", 1, tool_calls=[{"name": "n", "arguments": {"a": 1}}], attachments=[{"url": "u"}]),
        response("b", "", "7", 2, tool_results=[{"output": "7", "exception": "E"}], system="Be brief."),
        response("d", "Hi", "7", 3, prompt_fragments=[{"source": "a", "content": "b"}], reasoning="hm"),
    ],
    "batches": [
        asked("1", "Hi", metadata={"user_id": "u"}),
        {"custom_id": "1", "result": {"type": "succeeded", "message": {"id": "a", "content": [CALL], "model": "m"}}},
        {"custom_id": "2", "body": {"messages": [{"role": "user", "content": "Hi"}], "tools": [{"name": "n"}]}},
        {"custom_id": "2", "response": {"body": {"choices": [{"message": {"content": "b"}}, {"message": {}}]}}},
    ],
    "sharegpt": [{"id": 5, "conversations": [{"from": "system", "value": "S"}, {"from": "human", "value": "Hi"}]}],
    "messages": [
        {
            "system": "S",
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org"}}]},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "t", "function": {"arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "t", "content": "7"},
                {"role": "assistant", "function_call": {"name": "n", "arguments": "{}"}, "audio": {"transcript": "a"}},
                {"role": "user", "content": [RESULT, {"type": "text", "text": "So?"}], "timestamp": 5},
            ],
        }
    ],
    "wildchat": [{"conversation_id": "w", "model": "m", "conversation": [MARKED], "timestamp": "2026-03-01 10:00:00"}],
    "lmsys": [
        {
            "conversation_id": "l",
            "conversation": [{"role": "user", "content": "Hi"}],
            "openai_moderation": [{"flagged": True, "categories": {"hate": True}}],
        }
    ],
}  # fmt: skip
"""Of each form what has most of its fields."""


def written(values: list[Any], lines: bool) -> bytes:
    text = "".join(text_of(one) + "\n" for one in values) if lines else text_of(values)
    return text.encode("utf-8", "surrogatepass")


@st.composite
def chat_files(draw: st.DrawFn) -> bytes:
    """A file of chats that was a valid one, of any form."""
    values: Any = parsed(json.dumps(VALID[draw(st.sampled_from(sorted(VALID)))]))
    for _ in range(draw(st.integers(0, 3))):
        break_structure(draw, values)
    data = written(values, draw(st.booleans()))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        data = break_bytes(draw, data)
    return SHAPES[draw(st.sampled_from([*["as it is"] * 6, *SHAPES]))](data)


def everything_in(chats: Conversations) -> object:
    """The log, and what is kept beside it but for the key that names are made by."""
    kept: Any = chats.service.ports.annotations
    return list(chats.store.log()), {owner: found for owner, found in kept._kept.items() if "accounts" not in owner}


def take(path: Path, data: bytes, form: str | None = None) -> str:
    """It comes in, lawful and to be read, or is refused by a line that names the file; then nothing is written."""
    path.write_bytes(data)
    with open_conversations("memory:") as chats:
        try:
            import_chats([path], chats, format=form)
        except BadInput as error:
            said = str(error)
            assert said.startswith(str(path)), said
            assert said.encode().count(b"\n") == 0
            assert everything_in(chats) == ([], {})
            return "refused"
        log = list(chats.store.log())
        assert audit(log).findings == ()
        for one in log:
            if one.kind in ("ConversationStarted", "BranchOpened"):
                chats.chat(one.branch).transcript()
                for words in chats.words(chats.path(one.branch)).values():
                    if isinstance(words, Messages):  # and not what somebody said of an answer
                        json.loads(words, parse_constant=pytest.fail)
        again = import_chats([path], chats, format=form)
        assert not any(one.brought.changed for one in again)
        assert list(chats.store.log()) == log
        return "came in"


def test_broken_files(path: Path) -> None:
    with counted("chats", "came in", "refused") as came:

        @settings(PROFILE, max_examples=examples(dev=200, ci=2_000, nightly=100_000))
        @given(chat_files())
        def run(data: bytes) -> None:
            came[take(path, data)] += 1

        run()


def test_valid_files(path: Path) -> None:
    """Or there would be nothing to break."""
    assert VALID.keys() == FORMATS.keys()
    for form, values in VALID.items():
        for lines in (True, False):
            assert take(path, written(parsed(json.dumps(values)), lines), form) == "came in", form


@pytest.mark.parametrize("form", VALID)
def test_nesting(path: Path, form: str) -> None:
    """In each place a value that is nested: whatever comes in can be read by who has less of the stack left."""
    came = set()
    for nth in range(len(list(places(parsed(json.dumps(VALID[form])))))):
        values: Any = parsed(json.dumps(VALID[form]))
        held, index = list(places(values))[nth]
        depth = (40, 300, 940, 960)[nth % 4]
        deep = Raw('{"a":' * depth + "1" + "}" * depth)
        held[index] = (held[index][0], deep) if isinstance(held[index], tuple) else deep
        came.add(take(path, written(values, True), form))
    assert came >= {"refused"}
