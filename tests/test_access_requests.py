"""Somebody asks what there is of them: whatever a store can open of their words is in the JSON, and on the page."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lastresort import Chat, Conversations, Rating
from lastresort.adapters.exporters import account_json, account_page, conversation_json, conversation_page
from lastresort.application.accounts import export_one
from lastresort.application.ports import Place
from lastresort.domain.turn_text import ENDING_CALL, Piece, pieces
from lastresort.domain.values import Messages

from .browser import assert_fits, assert_whole, browser
from .cli_kit import run
from .stores import MODEL, OPERATOR, chats, ended, opened, started

__all__ = ["browser", "chats", "run"]

_NUMBERS = count(1)
PERSON = "ada@example.org"


def mark(field: str) -> str:
    """Return words that stand nowhere else."""
    return f"ZQ {field} {next(_NUMBERS)} QZ"


def marks_in(text: str) -> set[str]:
    return set(re.findall(r"ZQ [^Z]*? \d+ QZ", text))


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def of_user() -> list[dict[str, Any]]:
    """Every block that a user's turn can have."""
    return [
        text(mark("said")),
        {"type": "image", "source": {"type": "url", "url": mark("address")}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "document", "title": mark("title"), "source": {"type": "file", "file_id": mark("file")}},
        {"type": "document", "context": mark("context"), "source": {"type": "text", "data": mark("attached")}},
        {"type": "document", "source": {"type": "content", "content": [text(mark("content of a document"))]}},
        {"type": "search_result", "source": mark("source"), "content": [text(mark("found"))]},
    ]


def of_assistant() -> list[dict[str, Any]]:
    """Every block that an answer can have, the results of tools within it among them."""
    found = {"type": "web_search_result", "title": mark("page"), "url": mark("address of a page")}
    return [
        {"type": "thinking", "thinking": mark("thought"), "signature": mark("signature")},
        {"type": "redacted_thinking", "data": mark("redacted")},
        text(mark("answered"), citations=[{"type": "char_location", "cited_text": mark("cited")}]),
        {"type": "tool_use", "id": "t-1", "name": mark("tool"), "input": {"q": [{"deep": mark("asked of a tool")}]}},
        {"type": "tool_result", "tool_use_id": "t-1", "content": [text(mark("result")), {"type": "image"}]},
        {"type": "server_tool_use", "id": "t-2", "name": "web_search", "input": {"query": mark("query")}},
        {"type": "web_search_tool_result", "tool_use_id": "t-2", "content": [found]},
        {"type": "tool_result", "tool_use_id": "t-3", "content": mark("result in short"), "is_error": True},
        {"type": "of_tomorrow", "said": mark("of a kind that is not known"), "content": {"not": mark("blocks")}},
        {"type": "tool_use", "id": "t-4", "name": ENDING_CALL, "input": {}},
        text(mark("after a call to end")),
    ]


def every_field() -> Messages:
    """Words with all that the drivers, the gateway and an import keep with a turn."""
    kept = {
        "messages": [
            {"role": "user", "content": of_user(), "name": mark("name")},
            {"role": "assistant", "content": of_assistant()},
        ],
        "others": [
            {"speaker": "assistant", "before": 0, "id": mark("id"), "content": [text(mark("greeting"))]},
            {"speaker": "system", "before": 1, "content": [text(mark("midway"))]},
            {"speaker": "tool", "before": 9, "content": of_assistant()},
        ],
        "beside": {"m-2": {"edited": mark("edited"), "error": {"content": mark("error")}}},
        "id": mark("foreign id"),
        "ids": ["m-1", mark("folded")],
        "conversation": mark("foreign conversation"),
        "setup": {"system": [text(mark("prompt"))], "tools": [{"name": "t", "description": mark("description")}]},
        "container": {"id": mark("container")},
        "answers": 2,
    }
    return Messages(json.dumps(kept))


def told(chats: Conversations) -> tuple[Chat, set[str]]:
    """A conversation with all words that can be of one; return it with every mark in them."""
    chat = chats.start(model=MODEL.id, person=PERSON, conversation="c")
    chat.describe(title=mark("title"), tags=[mark("tag")])
    annotator = chats.service.annotator
    said = [every_field(), every_field(), every_field(), mark("remark"), mark("plain"), mark("shown"), mark("system")]
    chat.user_turn(said[0])
    chat.assistant_turn(said[1])
    chat.feedback(Rating.DOWN, said[3], turn=3)
    chat.user_turn(said[4])
    annotator.keep_shown("c", Place("c", 5), "m-1", said[5])
    annotator.keep_shown("c", Place("c", 5), "m-2", said[2])
    annotator.instruct("c", said[6])
    metadata = chat.metadata()
    return chat, set().union(*map(marks_in, (*said, metadata.title or "", *metadata.tags)))


def every_export(chats: Conversations, chat: Chat) -> Iterator[str]:
    account = chat.state.account or ""
    yield "".join(account_json(account, chats.export_account(account), person=PERSON))
    yield "".join(conversation_json(export_one(chats, chat.branch)))
    yield "".join(account_page(account, chats.export_account(account), person=PERSON))
    yield "".join(conversation_page(export_one(chats, chat.branch)))


def test_all_words_that_can_be_opened_are_handed_out(chats: Conversations) -> None:
    """Of each kind a mark, in every field in which words can be kept: none is missing in the JSON, and none on the
    page."""
    chat, expected = told(chats)
    assert len(expected) > 100
    for number, exported in enumerate(every_export(chats, chat)):
        assert expected - marks_in(exported) == set()
        assert (PERSON in exported) == (number in (0, 2))


def test_each_is_told_with_its_kind_and_place(chats: Conversations) -> None:
    chat, _ = told(chats)
    found = json.loads("".join(conversation_json(export_one(chats, chat.branch))))["conversation"]
    _, asked, answered, remark, plain = found["branches"][0]["events"]
    by_place = {one["place"]: one for one in asked["pieces"]}
    greeting = by_place["others, 1, content, 1"]
    assert (greeting["by"], greeting["kind"]) == ("assistant", "text")
    result = next(one for one in answered["pieces"] if one["place"] == "messages, 2, content, 5, content, 1")
    assert (result["by"], result["kind"], "result" in result["text"]) == ("tool", "text", True)
    assert by_place["beside"]["rest"]["m-2"]["error"]["content"] in json.dumps(asked)
    assert [(one["by"], one["kind"]) for one in remark["pieces"]] == [("user", "text")]
    assert [(one["by"], one["place"]) for one in (plain["pieces"][0], plain["pieces"][-1])] == [
        ("assistant", "overtook, 1"), ("user", ""),
    ]  # fmt: skip
    assert found["system"] in "".join(every_export(chats, chat))


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from leaves(one)
    elif isinstance(value, str):
        yield value


WITHIN: Any = [text("deep within")]
for _ in range(20):
    WITHIN = [{"type": "tool_result", "content": WITHIN}]


@pytest.mark.parametrize(
    "kept",
    [
        {"messages": [{"role": "user", "content": []}], "others": "of no form"},
        {"messages": [], "others": [{"speaker": "system", "before": -1, "content": [text("before")]}]},
        {"messages": [], "others": [{"speaker": "system", "content": [text("without a place")]}, 7]},
        {"messages": [], "others": [{"speaker": "system", "before": 0, "content": "no blocks"}]},
        {"messages": [{"role": "user", "content": [text("said", thinking="thought", content="content")]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ["no text"], "source": "a source"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "d", "source": {"type": "text", "data": ["no text"]}}]}]},
        {"messages": [{"role": "assistant", "content": WITHIN}]},
    ],
)
def test_what_is_of_no_known_form_is_not_lost(kept: dict[str, Any]) -> None:
    """Pieces hold all of what is kept, whatever form it has."""
    known = {"text", "tool_result", "user", "assistant", "system", "d"}  # which the pieces tell by their kind, and by
    found = list(pieces(Messages(json.dumps(kept)), "user"))
    assert set(leaves(kept)) - known <= {*(one.text for one in found), *leaves([one.rest for one in found])}


def test_plain_text_is_one_piece() -> None:
    assert list(pieces('{"messages": []}', "user")) == [Piece("user", "text", "", '{"messages": []}')]


def test_a_page_tells_the_law_in_sentences(chats: Conversations) -> None:
    """As `show` does: which verdict, of which category, how severe, and by whom; which model it is now."""
    chat = ended(started(chats))
    child = chat.edit(2, "A garden?", child="d")
    assert isinstance(child, Chat)
    child.change_model("claude-haiku-4-5", by=OPERATOR)
    page = "".join(conversation_page(export_one(chats, "c")))
    for sentence in (
        "judged harmful (abuse, severity 2), risk none, by assessor ",
        "warns of an ending for abuse",
        "hope is exhausted as of turn",
        "ended as a last resort for abuse",
        "model is now claude-haiku-4-5",
        "<span>by model claude-opus-4-1</span></span><b>turn ",
    ):
        assert sentence in page
    assert not re.search("TurnAssessed|WarningGiven|HopeExhausted", page)


def test_a_rating_stands_with_its_words(chats: Conversations) -> None:
    chat = started(chats)
    chat.user_turn("Hello.")
    chat.assistant_turn("Hello!", stop_reason="refusal")
    chat.feedback(Rating.DOWN, "Cold.", turn=3)
    chat.erase(2)
    page = "".join(conversation_page(export_one(chats, "c")))
    assert re.search(r"<b>feedback on turn 3: down</b>.*<p dir=\"auto\">Cold.</p>", page)
    assert "<span>refusal</span>" in page
    assert '<p class="gone">[erased]</p>' in page


def test_the_page_fits_a_phone_and_has_a_dark_side(chats: Conversations, browser: Any, tmp_path: Path) -> None:
    """In a real browser, at three widths, in light and dark."""
    chat, _ = told(chats)
    for number, page in enumerate(list(every_export(chats, chat))[2:]):
        assert_whole(page)
        path = tmp_path / f"{number}.html"
        path.write_text(page)
        assert_fits(browser, path)


def open_webui() -> list[dict[str, Any]]:
    """A chat of Open WebUI with all that is not said in a turn: prompt, greeting, system, files, edits, errors."""

    def node(id: str, parent: str | None, role: str, **more: Any) -> dict[str, Any]:
        told = {"id": id, "parentId": parent, "role": role, "content": mark(role), "timestamp": 1_772_359_200}
        return {**told, "childrenIds": [], "model": "m", **more}

    nodes = [
        node("0", None, "assistant"),
        node("1", "0", "user", files=[{"type": "file", "name": mark("name"), "id": mark("file")}]),
        node("s", "1", "system"),
        node("2", "s", "assistant", annotation={"rating": -1, "reason": mark("reason")}),
        node("3", "1", "assistant", originalContent=mark("original")),
        node("4", "2", "user"),
        node("6", "4", "assistant", error={"content": mark("error")}),
    ]
    chat = {"params": {"system": mark("prompt")}, "history": {"messages": {one["id"]: one for one in nodes}}}
    return [{"id": "w", "user_id": PERSON, "title": mark("title"), "chat": chat, "meta": {"tags": [mark("tag")]}}]


def claude_ai() -> list[dict[str, Any]]:
    blocks = [
        {"type": "thinking", "thinking": mark("thought")},
        {"type": "tool_use", "name": "t", "input": {"q": mark("query")}},
        {"type": "tool_result", "name": "t", "content": [text(mark("result"))]},
        text(mark("answer")),
    ]
    attached = {"file_name": mark("name"), "extracted_content": mark("attached")}
    said = {"uuid": "m-1", "sender": "human", "text": "x", "content": [text(mark("said"))], "attachments": [attached]}
    messages = [said, {"uuid": "m-2", "sender": "assistant", "content": blocks}]
    told = {"uuid": "c", "name": mark("title"), "account": {"uuid": PERSON}, "created_at": "2026-03-01T10:00:00Z"}
    return [{**told, "chat_messages": messages}]


def test_what_an_import_brought_in_goes_out(run: Callable[..., Result], tmp_path: Path) -> None:
    """Whatever it made of it: a turn, or what is kept with one."""
    expected: set[str] = set()
    for name, found in (("w.json", open_webui()), ("c.json", claude_ai())):
        Path(name).write_text(json.dumps(found))
        expected |= marks_in(json.dumps(found))
        run("import-chats", name, "--store", "sqlite:///log.db", "--account", "a-1")
    for how in ((), ("--page",)):
        assert expected - marks_in(run("export-account", "a-1", *how, "--store", "sqlite:///log.db").stdout) == set()


def test_the_commands_hand_out_all_of_it(run: Callable[..., Result], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        _, expected = told(chats)
        ended(started(chats, "other"))
    for how in (
        ("export-account", "--person", PERSON),
        ("export-account", "--person", PERSON, "--page"),
        ("export-conversation", "c"),
        ("export-conversation", "c", "--page"),
    ):
        printed = run(*how, "--store", url).stdout
        assert expected - marks_in(printed) == set()
        assert (PERSON in printed) == ("--person" in how)
    run("export-account", "--person", PERSON, "--archive", "mine", "--store", url)
    archived = "".join(path.read_text() for path in Path("mine").rglob("*.json"))
    assert expected - marks_in(archived) == set()
    assert PERSON in archived
