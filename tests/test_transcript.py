"""What an embedder shows of a conversation: turns with time, text and blocks, in pages."""

from datetime import datetime
from pathlib import Path

import pytest

from lastresort import Chat, ErasureCause, TranscriptTurn, open_conversations
from lastresort.application.ports import Place
from lastresort.domain.values import Messages

MODEL = "claude-opus-4-1"
SENT = Messages(
    '{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"Let me '
    'look."},{"type":"tool_use","id":"t1","name":"look","input":{}}]},{"role":"user","content":[{"type":"tool_result",'
    '"tool_use_id":"t1","content":"x"}]},{"role":"assistant","content":[{"type":"text","text":"Found."}]}]}'
)


def test_a_turn_has_its_time_its_text_and_its_blocks(tmp_path: Path) -> None:
    chats = open_conversations(f"sqlite:///{tmp_path}/chats.db")
    chat = chats.start(model=MODEL, account="a-17")
    chat.user_turn("Where is it?")
    chat.assistant_turn(SENT)
    chat.feedback(words="Thank you.")  # no turn
    asked, answered = chat.transcript().turns
    assert (asked.version, asked.branch, asked.speaker, asked.by, asked.text) == (
        2, chat.branch, "user", chat.user, "Where is it?",
    )  # fmt: skip
    assert asked.blocks == ({"type": "text", "text": "Where is it?"},)
    assert datetime.fromisoformat(asked.at) <= datetime.fromisoformat(answered.at)
    assert (answered.speaker, answered.by.id, answered.text) == ("assistant", MODEL, "Let me look.\n\nFound.")
    assert [block["type"] for block in answered.blocks] == ["thinking", "text", "tool_use", "text"]
    chats.close()


def test_pages_follow_each_other() -> None:
    chat = open_conversations("memory:").start(model=MODEL)
    assert chat.transcript(limit=1) == ((), None)
    for number in range(5):
        chat.user_turn(f"{number}")
    whole = chat.transcript()
    assert whole.after is None
    found: list[TranscriptTurn] = []
    after: int | None = 0
    while after is not None:
        page = chat.transcript(after=after, limit=2)
        found += page.turns
        after = page.after
    assert tuple(found) == whole.turns


def test_a_branch_shows_what_it_inherits_and_why_words_are_gone() -> None:
    """The branch is opened where no erasure is on its path yet: that stands on its parent."""
    chats = open_conversations("memory:")
    chat = chats.start(model=MODEL)
    for words in ("My name is Zebra.", "And now?", "Hello?"):
        chat.user_turn(words)
    chat.erase(2, cause=ErasureCause.LEGAL)
    branch = chat.edit(4, "Good-bye.")
    assert isinstance(branch, Chat)
    turns = branch.transcript().turns
    assert [(turn.text, turn.erased, turn.blocks == ()) for turn in turns] == [
        (None, ErasureCause.LEGAL, True), ("And now?", None, False), ("Good-bye.", None, False),
    ]  # fmt: skip
    chats.store.drop([Place(turns[1].branch, turns[1].version)])  # a log without its words
    assert chat.transcript().turns[1][5:] == (None, (), None, None, (), None)


@pytest.mark.parametrize(("after", "limit", "named"), [(-1, None, "after"), (0, 0, "limit"), (0, 1_001, "limit")])
def test_an_argument_that_is_out_of_range_is_named(after: int, limit: int | None, named: str) -> None:
    chat = open_conversations("memory:").start(model=MODEL)
    with pytest.raises(ValueError, match=named):
        chat.transcript(after=after, limit=limit)
