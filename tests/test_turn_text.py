"""What kind of words a turn holds is sealed with them: nobody's text, and no command id, makes them something else."""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from lastresort import CommandIdReused, Conversations
from lastresort.adapters.console.cli import main
from lastresort.adapters.vault.sealing import AesGcmVault, _place
from lastresort.application.ports import SealedWords, Unmarked
from lastresort.domain.turn_text import ENDING_CALL, messages_in, readable
from lastresort.domain.values import Messages
from lastresort.projections import transcript

from .stores import MODEL, opened
from .vault_kit import FormerKeys

KEPT = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Moss."}]}]}
AS_JSON = json.dumps(KEPT)


class FirstForm(AesGcmVault):
    """Seals as the first version did, which did not seal what kind of words they are, nor whose."""

    def seal(self, conversation: str, branch: str, version: int, words: str, role: str = "") -> SealedWords:
        name, cipher, _ = self._to_seal_with(conversation)
        nonce = os.urandom(12)
        data = name[:8] + nonce + cipher.encrypt(nonce, words.encode(), _place(conversation, branch, version))
        return SealedWords(f"sha256:{hashlib.sha256(data).hexdigest()}", data)


@pytest.fixture
def chats() -> Iterator[Conversations]:
    with opened("memory:") as chats:
        yield chats


def said(chats: Conversations, branch: str) -> list[str | None]:
    path = chats.path(branch)
    return [line.text for line in transcript(path, chats.words(path)) if line.speaker]


def test_any_command_id_is_allowed(chats: Conversations) -> None:
    """Text is text, whatever the id of its command begins with and whatever it looks like."""
    chat = chats.start(model=MODEL.id, conversation="c", command_id="messages:start")
    for number, words in enumerate(("hello", AS_JSON, '{"messages": 1}')):
        chat.user_turn(words, command_id=f"messages:{number}")
    chat.user_turn(Messages(AS_JSON), command_id="a")
    assert said(chats, "c") == ["hello", AS_JSON, '{"messages": 1}', "Moss."]
    assert [type(words) for words in chats.words(chat.path).values()] == [str, str, str, Messages]


def test_a_user_s_command_id_does_not_make_show_crash(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with opened(url) as chats:
        chats.start(model=MODEL.id, conversation="c").user_turn("hello", command_id="messages:mine")
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["show", "--store", url, "c"])
    assert "hello" in capsys.readouterr().out


def test_a_command_that_is_sent_again_comes_with_words_of_the_same_kind(chats: Conversations) -> None:
    chat = chats.start(model=MODEL.id)
    first = chat.user_turn(Messages(AS_JSON), command_id="say")
    assert chat.user_turn(Messages(AS_JSON), command_id="say") == first
    with pytest.raises(CommandIdReused):
        chat.user_turn(AS_JSON, command_id="say")


@pytest.mark.parametrize(("id", "text", "kind"), [("messages:1", "Moss.", Messages), ("mine", AS_JSON, str)])
def test_words_of_the_first_form_are_what_their_command_says(id: str, text: str, kind: type[str]) -> None:
    """As then: its id said whether they are messages."""
    keys = FormerKeys()
    with opened("memory:") as chats:
        chats.service.ports.vault = FirstForm(keys)
        chat = chats.start(model=MODEL.id, conversation="c")
        first = chat.user_turn(AS_JSON, command_id=id)
        chats.service.ports.vault = AesGcmVault(keys)
        assert said(chats, "c") == [text]
        assert [type(words) for words in chats.words(chat.path).values()] == [kind]
        assert chat.user_turn(kind(AS_JSON), command_id=id) == first
        chat.user_turn("And now?")
        assert said(chats, "c") == [text, "And now?"]


def test_the_forms_are_bound_to_what_is_sealed() -> None:
    """So words of the first form that begin like those of the second are not taken for them."""
    keys = FormerKeys()
    first, second = FirstForm(keys), AesGcmVault(keys)
    for words in ("m", "text", ""):
        opened = second.open("c", "c", 2, first.seal("c", "c", 2, words))
        assert (type(opened), opened) == (Unmarked, words)
        for kind in (str, Messages):
            opened = second.open("c", "c", 2, second.seal("c", "c", 2, kind(words)))
            assert (type(opened), opened) == (kind, words)


@pytest.mark.parametrize(
    "words",
    [
        "no JSON",
        "[]",
        "{}",
        '{"messages": {}}',
        '{"messages": [1]}',
        '{"messages": [{"content": []}]}',
        '{"messages": [{"role": "user", "content": "text"}]}',
        '{"messages": [{"role": "user", "content": [1]}]}',
        '{"messages": [{"role": "user", "content": [{}]}]}',
    ],
)
def test_words_that_say_that_they_are_messages_and_are_none_are_text(chats: Conversations, words: str) -> None:
    chat = chats.start(model=MODEL.id)
    chat.user_turn(Messages(words))
    assert messages_in(Messages(words)) is None
    assert readable(chat.path[-1], Messages(words)) == words


def test_blocks_without_what_they_should_hold_are_told_all_the_same(chats: Conversations) -> None:
    chat = chats.start(model=MODEL.id)
    content = [{"type": "text"}, {"type": "tool_use"}, {"type": "image"}]
    words = Messages(json.dumps({"messages": [{"role": "user", "content": content}]}))
    chat.user_turn(words)
    assert readable(chat.path[-1], words) == "[image]"


def test_what_follows_a_call_to_end_is_for_nobody_to_read(chats: Conversations) -> None:
    chat = chats.start(model=MODEL.id)
    chat.user_turn("hello")
    content = [
        {"type": "text", "text": "Goodbye."},
        {"type": "tool_use", "name": ENDING_CALL},
        {"type": "text", "text": "?"},
    ]
    words = Messages(json.dumps({"messages": [{"role": "assistant", "content": content}]}))
    chat.assistant_turn(words)
    assert readable(chat.path[-1], words) == "Goodbye."
