"""Chats of other products come in: turns, branches, models, times and words, and nothing that nobody said."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.chat_files import FORMS, taken, write
from lastresort import Actor, ActorKind, Conversations, ErasureCause, Ground, Policy, Risk, Verdict, open_conversations
from lastresort.adapters.importers import chat_import
from lastresort.adapters.importers.chat_import import NO_TURNS, SAME_CHAT, import_chats
from lastresort.adapters.importers.chat_writing import UNKNOWN_MODEL, Brought, Writer
from lastresort.adapters.importers.inputs import STANDARD_INPUT, BadInput
from lastresort.domain.events import AssistantTurnTaken
from lastresort.projections import audit

from .chats_kit import bring, kept_on, kinds_in, only, paths_of, said_on, write_json, write_lines
from .stores import DURABLE_STORES, STORES, done, ended_on_request, new_url

ROOT = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def chats() -> Iterator[Conversations]:
    with open_conversations("memory:") as chats:
        yield chats


def message(id: str, parent: str, sender: str, text: str, minute: int, **more: Any) -> dict[str, Any]:
    """A message of an export of Claude.ai."""
    said = {"uuid": id, "parent_message_uuid": parent, "sender": sender, "text": text}
    at = {"created_at": f"2026-03-01T10:{minute:02}:00.000000Z"}
    return {**said, **at, "content": [{"type": "text", "text": text}], "attachments": [], "files": [], **more}


def exported(*messages: dict[str, Any], id: str = "c1", **more: Any) -> dict[str, Any]:
    began = {"name": "Herbs", "created_at": "2026-03-01T10:00:00Z", "account": {"uuid": "acc-1"}}
    return {"uuid": id, **began, "chat_messages": list(messages), **more}


TREE = [
    message("m1", ROOT, "human", "Which herbs?", 0),
    message("m2", "m1", "assistant", "Mint.", 1),
    message("m3", "m2", "human", "And for sun?", 2),
    message("m4", "m3", "assistant", "Thyme.", 3),
    message("m5", "m2", "human", "And for slugs?", 4),
    message("m6", "m5", "assistant", "Copper.", 5),
    message("m7", "m5", "assistant", "Beer.", 6),
    message("m8", ROOT, "human", "Which trees?", 7),
]
Q, A = "user", "model"
PATHS = {
    ((Q, "Which herbs?"), (A, "Mint."), (Q, "And for sun?"), (A, "Thyme.")),
    ((Q, "Which herbs?"), (A, "Mint."), (Q, "And for slugs?"), (A, "Copper.")),
    ((Q, "Which herbs?"), (A, "Mint."), (Q, "And for slugs?"), (A, "Beer.")),
    ((Q, "Which trees?"),),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_json(tmp_path / "conversations.json", [exported(*TREE)])


@pytest.mark.parametrize("kind", STORES)
def test_a_tree_comes_in_with_all_its_branches(kind: str, request: pytest.FixtureRequest, path: Path) -> None:
    """On every engine: while the log is written, the same store is read, and its keys seal."""
    with open_conversations(new_url(kind, request)) as chats:
        report = only(bring(chats, path))
        assert paths_of(chats) == PATHS
        found = report.brought
        assert (found.conversations, found.user_turns, found.answers, found.branches) == (1, 4, 4, 3)
        assert chats.list(status="active").rows[0].branches == 4


def test_an_import_asserts_turns_and_branches_and_nothing_else(chats: Conversations, path: Path) -> None:
    bring(chats, path)
    allowed = {"ConversationStarted", "UserTurnTaken", "AssistantTurnTaken", "BranchedOff", "BranchOpened"}
    assert set(kinds_in(chats)) == allowed
    causes = [one.event.cause.value for one in chats.store.log() if one.kind == "BranchOpened"]  # type: ignore[union-attr]
    assert sorted(causes) == ["edit", "edit", "retry"]


def test_times_are_those_of_the_file(chats: Conversations, path: Path) -> None:
    bring(chats, path)
    times = [one.recorded_at for one in chats.store.log() if one.kind in ("UserTurnTaken", "AssistantTurnTaken")]
    assert times == [f"2026-03-01T10:0{minute}:00.000000+00:00" for minute in range(8)]


def test_names_and_words_of_the_file_are_not_in_the_log(chats: Conversations, path: Path) -> None:
    """Nor a digest that could be guessed: in another store the ids are others."""
    bring(chats, path)
    log = list(chats.store.log())
    assert not [one for one in log if re.search(r"\b(m1|c1|acc-1|herbs)\b", str(one), re.IGNORECASE)]
    with open_conversations("memory:") as others:
        bring(others, path)
        assert {one.branch for one in others.store.log()}.isdisjoint(one.branch for one in log)


def test_ids_title_and_user_are_kept_beside_the_log(chats: Conversations, path: Path) -> None:
    bring(chats, path)
    page = chats.list(person="claude-ai:acc-1", with_metadata=True)
    (row,) = page.rows
    assert page.metadata is not None
    assert page.metadata[row.conversation].title == "Herbs"
    turns = chats.chat(row.conversation).transcript().turns
    assert [turn.foreign_id for turn in turns] == ["m1", "m2", "m3", "m4"]
    assert kept_on(chats, row.conversation)[0]["conversation"] == "c1"


def test_a_file_that_has_grown_adds_what_is_new(chats: Conversations, tmp_path: Path, path: Path) -> None:
    bring(chats, path)
    head = chats.store.head()
    new = message("m9", "m6", "human", "Where?", 9), message("m10", "m1", "assistant", "Sage.", 10)
    again = write_json(tmp_path / "later.json", [exported(*TREE, *new), exported(TREE[0], id="c2")])
    report = only(bring(chats, again))
    found = report.brought
    assert (found.there, found.conversations, found.turns_there, found.changed) == (1, 1, 8, 0)
    assert (found.user_turns, found.answers, found.branches) == (2, 1, 1)
    assert chats.store.head() == head + 6
    assert ((Q, "Which herbs?"), (A, "Sage.")) in paths_of(chats)
    assert any(said[-1] == (Q, "Where?") and len(said) == 5 for said in paths_of(chats))


def test_what_was_changed_since_is_told_and_left_as_it_was(chats: Conversations, tmp_path: Path, path: Path) -> None:
    """An answer that was still being written when it was exported, say. What comes after it comes in."""
    bring(chats, path)
    longer = message("m4", "m3", "assistant", "Thyme and sage.", 3)
    new = message("m9", "m4", "human", "Thanks.", 9)
    changed = [longer if one["uuid"] == "m4" else one for one in TREE]
    reports = import_chats([write_json(tmp_path / "later.json", [exported(*changed, new)])], chats)
    assert only(reports).brought.changed == 1
    assert any(said[-2:] == ((A, "Thyme."), (Q, "Thanks.")) for said in paths_of(chats))


def test_erased_words_do_not_come_back(chats: Conversations, path: Path) -> None:
    bring(chats, path)
    conversation = chats.list().rows[0].conversation
    by = Actor(kind=ActorKind.OPERATOR, id="o")
    chats.erase_conversation(conversation, by=by, cause=ErasureCause.USER_REQUEST)
    head = chats.store.head()
    assert only(import_chats([path], chats)).brought.turns_there == 8
    assert chats.store.head() == head
    assert chats.words(chats.path(conversation)) == {}


def test_a_conversation_that_went_on_here_takes_what_is_new_on_a_branch(
    chats: Conversations, tmp_path: Path, path: Path
) -> None:
    """And one that has ended here takes nothing."""
    bring(chats, path)
    by = {said_on(chats, row): row for row in chats.tree(chats.list().rows[0].conversation)}
    thyme = next(branch for said, branch in by.items() if said[-1] == (A, "Thyme."))
    chats.chat(thyme).user_turn("Said here.")
    trees = next(branch for said, branch in by.items() if len(said) == 1)
    assert ended_on_request(chats.chat(trees)).state.ended is not None
    new = message("m9", "m4", "human", "Said there.", 9), message("m10", "m8", "assistant", "Oak.", 10)
    found = only(import_chats([write_json(tmp_path / "later.json", [exported(*TREE, *new)])], chats)).brought
    assert (found.user_turns, found.branches, found.answers, found.after_an_ending) == (1, 2, 1, 0)
    assert any(said[-2:] == ((A, "Thyme."), (Q, "Said there.")) for said in paths_of(chats))
    assert any(said[-2:] == ((A, "Thyme."), (Q, "Said here.")) for said in paths_of(chats))


def test_what_comes_after_an_ending_is_left_out_and_counted(chats: Conversations, tmp_path: Path) -> None:
    """The user asked and confirmed in turns that were imported, and it was ended here."""
    said = [
        message("1", ROOT, "human", "Please end this.", 1),
        message("2", "1", "assistant", "For good?", 2),
        message("3", "2", "human", "Yes.", 3),
        message("4", "3", "assistant", "Bye.", 4),
        message("5", "4", "human", "Wait!", 5),
    ]

    def grown(messages: int) -> Brought:
        return only(import_chats([write_json(tmp_path / "c.json", [exported(*said[:messages])])], chats)).brought

    grown(1)
    conversation = chats.list().rows[0].conversation
    done(chats.chat(conversation).request_end())
    assert grown(3).branches == 0
    chat = chats.chat(conversation)
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE))
    done(chat.confirm_end())
    done(chat.end(Ground.USER_REQUEST))
    found = grown(5)
    assert (found.turns_there, found.after_an_ending, found.answers, found.user_turns) == (3, 2, 0, 0)
    assert audit(chats.store.log()).findings == ()


def test_terms_and_account_are_the_caller_s(chats: Conversations, path: Path) -> None:
    policy = Policy(name="mine", categories=("abuse",))
    bring(chats, path, policy=policy, account="user-7")
    state = chats.state(chats.list(account="user-7").rows[0].conversation)
    assert state.policy == policy


def test_the_same_conversation_twice_counts_once(chats: Conversations, tmp_path: Path) -> None:
    path = write_json(tmp_path / "twice.json", [exported(*TREE), exported(*TREE), exported(id="empty")])
    report = only(bring(chats, path))
    assert report.asides == {SAME_CHAT: 1, NO_TURNS: 1}
    assert report.places[SAME_CHAT] == ["entry 2"]


def test_the_same_file_twice_counts_once(chats: Conversations, tmp_path: Path, path: Path) -> None:
    """Named twice, or twice in a zip file; another one of that name is told from it."""
    first, second = bring(chats, path, path)
    assert (first.brought.conversations, second.asides) == (1, {SAME_CHAT: 1})
    export = tmp_path / "e.zip"
    with zipfile.ZipFile(export, "w") as archive:
        for folder in ("a", "b"):
            archive.writestr(f"{folder}/conversations.json", path.read_text())
    assert [report.asides for report in bring(chats, export)] == [{}, {SAME_CHAT: 1}]
    with zipfile.ZipFile(export, "a") as archive:
        archive.writestr("c/conversations.json", json.dumps([exported(TREE[0])]))
    assert [report.brought.turns_there for report in import_chats([export], chats)][2] == 1


# --- Models -----------------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_named_is_unknown_and_may_end_nothing(chats: Conversations, path: Path) -> None:
    bring(chats, path)
    conversation = chats.list().rows[0].conversation
    assert chats.state(conversation).model == UNKNOWN_MODEL
    assert "eligible-model" in [broken.rule for broken in chats.chat(conversation).why(category="abuse")]


@pytest.mark.parametrize("pattern", ["*", "unk*"])
def test_no_policy_makes_the_unknown_model_eligible(chats: Conversations, path: Path, pattern: str) -> None:
    policy = Policy(name="all", eligible_models=(pattern,))
    with pytest.raises(BadInput, match=r"^policy all: a pattern of eligible_models is that of `unknown`"):
        import_chats([path], chats, policy=policy)
    assert chats.store.head() == 0


def test_each_answer_is_by_the_model_that_gave_it(chats: Conversations, tmp_path: Path) -> None:
    """A name that no event may carry is no name."""
    said = [
        message("1", ROOT, "human", "A?", 1),
        message("2", "1", "assistant", "a", 2, model="m-1"),
        message("3", "1", "assistant", "b", 3, model="m-2"),
        message("4", "2", "human", "B?", 4),
        message("5", "4", "assistant", "c", 5, model="my own model"),
    ]
    report = only(bring(chats, write_json(tmp_path / "models.json", [exported(*said)])))
    assert report.brought.models == {"m-1": 1, "m-2": 1, "unknown": 1}
    models = [one.event.model for one in chats.store.log() if isinstance(one.event, AssistantTurnTaken)]
    assert models == ["m-1", "m-2", "unknown"]
    assert kinds_in(chats).count("ModelChanged") == 2
    states = {chats.state(branch).model for branch in chats.tree(chats.list().rows[0].conversation)}
    assert states == {"m-2", "unknown"}


# --- All or nothing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_one_bad_file_leaves_the_store_as_it_was(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, path: Path
) -> None:
    bad = write_json(tmp_path / "bad.json", [exported(*TREE, id="c2"), {"chat_messages": [{"sender": "robot"}]}])
    with open_conversations(new_url(kind, request)) as chats:
        with pytest.raises(BadInput) as raised:
            import_chats([path, bad], chats)
        assert str(raised.value) == f"{bad}: entry 2: message 1: sender: needs to be one of human, assistant"
        assert chats.store.head() == 0


def test_a_file_that_changes_between_the_readings_leaves_the_store_as_it_was(
    chats: Conversations, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def meddled(*args: Any) -> Any:
        path.write_text(path.read_text()[:-20])
        return Writer(*args)

    monkeypatch.setattr(chat_import, "Writer", meddled)
    with pytest.raises(BadInput, match="it is cut off"):
        import_chats([path], chats)
    assert chats.store.head() == 0
    kept: Any = chats.service.ports.annotations
    assert not [owner for owner in kept._kept if owner.startswith("chat-")]  # no title of what did not come in


def test_what_somebody_else_writes_meanwhile_leaves_the_store_as_it_was(
    chats: Conversations, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(chats, path)
    conversation = chats.list().rows[0].conversation
    later = write_json(tmp_path / "later.json", [exported(*TREE, message("m9", "m4", "human", "More?", 9))])
    import_log = type(chats.store).import_log

    def raced(store: Any, appends: Any) -> int:
        found = list(appends)
        chats.chat(conversation).user_turn("First.")
        return import_log(store, found)

    monkeypatch.setattr(type(chats.store), "import_log", raced)
    head = chats.store.head()
    with pytest.raises(BadInput, match="somebody wrote to these conversations meanwhile"):
        import_chats([later], chats)
    assert chats.store.head() == head + 1


@pytest.mark.parametrize(
    ("chat", "said"),
    [
        ({"chat_messages": {}}, "not a chat in a known format"),
        (exported(*TREE, created_at="hunter2"), "entry 1: created_at: is not a time"),
        (exported(*TREE, name=5), "entry 1: name: text is needed, not a number"),
        (
            exported({**TREE[0], "content": ["a", 5]}),
            "entry 1: message 1: content, 2: an object is needed, not a number",
        ),
        (exported({**TREE[0], "content": [{"text": "hunter2"}]}), "entry 1: message 1: content, 1.type: is missing"),
        (exported({**TREE[0], "content": [{"type": "text"}]}), "message 1: content, 1.text: text is needed, not null"),
        (exported({**TREE[0], "attachments": ["a"]}), "message 1: attachments, 1: an object is needed, not text"),
        (exported(TREE[0], {**TREE[1], "uuid": "m1"}), "entry 1: message 2: has the id of message 1, and is another"),
        (exported({**TREE[0], "created_at": True}), "message 1: created_at: a time is needed, not true or false"),
        (exported({**TREE[0], "created_at": 1e300}), "message 1: created_at: is not a time"),
    ],
)
def test_a_field_that_is_wrong_is_named(chats: Conversations, tmp_path: Path, chat: Any, said: str) -> None:
    path = write_json(tmp_path / "bad.json", [chat])
    with pytest.raises(BadInput) as raised:
        import_chats([path], chats)
    assert said in str(raised.value)
    assert str(raised.value).startswith(str(path))
    assert "hunter2" not in str(raised.value)


def test_two_conversations_of_one_id_are_told(chats: Conversations, tmp_path: Path) -> None:
    """In one file, which does not say which of them came later."""
    path = write_json(tmp_path / "other.json", [exported(*TREE), exported(TREE[0])])
    with pytest.raises(
        BadInput, match=r"other.json: entry 2: the same conversation stands at .*other.json: entry 1, wi"
    ):
        import_chats([path], chats)


def test_what_cannot_be_read_is_told(chats: Conversations, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^standard input: is read once"):
        import_chats([STANDARD_INPUT], chats)
    with pytest.raises(BadInput, match="is an empty array"):
        import_chats([write_json(tmp_path / "none.json", [])], chats)
    with pytest.raises(BadInput, match="chat_messages: is missing"):
        import_chats([write_json(tmp_path / "none.json", [{}])], chats, format="claude-ai")


def test_a_turn_that_is_too_long_is_told(tmp_path: Path) -> None:
    path = write_json(tmp_path / "long.json", [exported(message("m1", ROOT, "human", "a" * 5_000, 1))])
    with open_conversations("memory:", max_words=100) as chats:
        with pytest.raises(BadInput, match=r"entry 1: message 1: 5,.* bytes; a turn may have 3,200"):
            import_chats([path], chats)
        assert chats.store.head() == 0


def test_half_a_character_is_marked(chats: Conversations, tmp_path: Path) -> None:
    path = write_json(tmp_path / "half.json", [exported(message("m1", ROOT, "human", "a\ud83d", 1), name="t\ud83d")])
    bring(chats, path)
    assert paths_of(chats) == {((Q, "a\N{REPLACEMENT CHARACTER}"),)}


def test_progress_is_told_to_the_end(chats: Conversations, path: Path) -> None:
    told: list[tuple[int, int]] = []
    import_chats([path], chats, progress=lambda read, of: told.append((read, of)))
    assert told[-1][0] == told[-1][1] == 2 * path.stat().st_size
    assert [read for read, _ in told] == sorted(read for read, _ in told)


def test_a_report_is_json(chats: Conversations, path: Path) -> None:
    (report,) = import_chats([path], chats)
    told = json.loads(json.dumps(report.as_json()))
    assert (told["format"], told["user_turns"], told["models"]) == ("claude-ai", 4, {"unknown": 4})


def test_files_of_several_forms_come_in_at_once(chats: Conversations, tmp_path: Path, path: Path) -> None:
    other = write_lines(tmp_path / "m.jsonl", {"messages": [{"role": "user", "content": "Hi"}]})
    reports = bring(chats, path, other)
    assert [report.format for report in reports] == ["claude-ai", "messages"]


@pytest.mark.parametrize("form", FORMS)
def test_the_large_files_of_the_docs_come_in(chats: Conversations, tmp_path: Path, form: str) -> None:
    """Small here; docs/how-to/import-chats.md says what a gigabyte took."""
    write(path := tmp_path / "large.json", form, 100_000)
    (report,) = import_chats([path], chats)
    assert report.format == form
    brought = report.brought
    assert brought.conversations > 1
    assert taken(path, tmp_path / "large.db")[:2] == (brought.conversations, brought.user_turns + brought.answers)
