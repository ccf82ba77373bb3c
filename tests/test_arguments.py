"""What a caller passes is refused under the name that it has there, and what is refused leaves nothing behind."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from lastresort import CommandIdReused, Conversations, Policy, UnknownBranch, open_conversations
from lastresort.adapters.claude import Claude
from lastresort.adapters.loopback import loopback
from lastresort.application.chat import Chat
from lastresort.domain.commands import StartConversation
from lastresort.domain.values import ErasureCause, HoldReason, Verdict

from .stores import OPERATOR

Act = Callable[[Conversations, Chat], object]


@pytest.fixture
def chats() -> Conversations:
    return open_conversations("memory:")


NO_ID: Any = "two words"
BYTES: Any = b"kid"
NOBODY: Any = None


@pytest.mark.parametrize(
    ("argument", "act"),
    [
        ("account", lambda chats, chat: chats.start(model="m", account=NO_ID)),
        ("account", lambda chats, chat: chats.start(model="m", account="")),
        ("account", lambda chats, chat: chats.start(model="m", account=BYTES)),
        ("account", lambda chats, chat: chats.start(model="m", account="zebra@example.org")),
        ("account", lambda chats, chat: chats.start(model="m", account="Zebra.Jones+x@mail.example.org")),
        ("model", lambda chats, chat: chats.start(model=NO_ID)),
        ("conversation", lambda chats, chat: chats.start(model="m", conversation=NO_ID)),
        ("arm", lambda chats, chat: chats.start(model="m", arm=NO_ID)),
        ("command_id", lambda chats, chat: chats.start(model="m", command_id=NO_ID)),
        ("command_id", lambda chats, chat: chat.user_turn("Hello.", command_id="")),
        ("command_id", lambda chats, chat: chat.leave(command_id=BYTES)),
        ("command_id", lambda chats, chat: chats.erase_conversation(
            "c", by=OPERATOR, cause=ErasureCause.USER_REQUEST, command_id=NO_ID)),
        ("words", lambda chats, chat: chat.user_turn("")),
        ("words", lambda chats, chat: chat.user_turn(" \n\t")),
        ("words", lambda chats, chat: chat.user_turn([{"type": "text", "text": ""}, {"type": "text", "text": " \n"}])),
        ("words", lambda chats, chat: chat.user_turn(" ", foreign_id="f-1")),
        ("words", lambda chats, chat: chat.edit(2, "  ")),
        ("words", lambda chats, chat: chat.user_turn(NOBODY)),
        ("words", lambda chats, chat: chat.user_turn(BYTES)),
        ("words", lambda chats, chat: chat.edit(2, "")),
        ("words", lambda chats, chat: chat.edit(2, NOBODY)),
        ("child", lambda chats, chat: chat.edit(2, "Hi.", child="")),
        ("child", lambda chats, chat: chat.edit(2, "Hi.", child=NO_ID)),
        ("child", lambda chats, chat: chat.edit(2, "Hi.", child=BYTES)),
        ("child", lambda chats, chat: chat.retry(3, child="")),
        ("risk", lambda chats, chat: chat.raise_risk(risk="")),
        ("risk", lambda chats, chat: chat.clear_risk(NO_ID, by=OPERATOR)),
        ("model", lambda chats, chat: chat.change_model(NO_ID, by=OPERATOR)),
        ("stop_reason", lambda chats, chat: chat.assistant_turn("Hello.", stop_reason=NO_ID)),
    ],
)  # fmt: skip
def test_a_malformed_argument_is_named_as_the_caller_names_it(chats: Conversations, argument: str, act: Act) -> None:
    """And not repeated: it may be a word that was passed by mistake. Nothing is recorded."""
    chat = chats.start(conversation="c", model="m")
    chat.user_turn("Hello.")
    chat.assistant_turn("Good morning.")
    before = chats.store.head()
    with pytest.raises(ValueError, match=f"^{argument}: ") as raised:
        act(chats, chat)
    assert "two words" not in str(raised.value)
    assert "example.org" not in str(raised.value)
    assert chats.store.head() == before
    chat.raise_risk()  # the tree can be written to as ever


WRONG: Any = "zebra"


@pytest.mark.parametrize(
    ("said", "act"),
    [
        ("verdict: needs to be 'productive', 'unproductive', 'ambiguous' or 'harmful'", lambda chat: chat.judge(WRONG)),
        ("risk: needs to be 'none', 'possible', 'imminent' or 'unknown'",
         lambda chat: chat.judge(Verdict.PRODUCTIVE, risk=WRONG)),
        ("by: needs to be of class Actor", lambda chat: chat.judge(Verdict.PRODUCTIVE, by=WRONG)),
        ("a verdict of harmful needs a category and a severity", lambda chat: chat.judge(Verdict.HARMFUL)),
        ("category: needs to be 1 to 64 of a-z, 0-9, _ and -, the first a letter", lambda chat: chat.warn("Zebra!")),
        ("severity: needs to be less than or equal to 3",
         lambda chat: chat.judge(Verdict.HARMFUL, category="abuse", severity=4)),
        ("ground: needs to be 'last_resort' or 'user_request'", lambda chat: chat.why(WRONG)),
        ("ground: needs to be 'last_resort' or 'user_request'", lambda chat: chat.end(WRONG)),
        ("hold: needs to be 1 to 128 printable ASCII characters without spaces",
         lambda chat: chat.release_hold("a zebra", by=OPERATOR)),
        ("until: needs to be a day, YYYY-MM-DD",
         lambda chat: chat.hold("case", reason=HoldReason.LITIGATION, until="zebra", by=OPERATOR)),
        ("until: needs to be a day, YYYY-MM-DD",
         lambda chat: chat.hold("case", reason=HoldReason.LITIGATION, until="2027-02-30", by=OPERATOR)),
        ("until: needs to be a day, YYYY-MM-DD",
         lambda chat: chat.hold("case", reason=HoldReason.LITIGATION, until="20270131", by=OPERATOR)),
        ("until: needs to be a day, YYYY-MM-DD",
         lambda chat: chat.hold("case", reason=HoldReason.LITIGATION, until=31, by=OPERATOR)),
        ("policy: needs to be of class Policy", lambda chat: chat.change_policy(WRONG, by=OPERATOR)),
        ("mode: needs to be 'enforced' or 'shadow'", lambda chat: chat.conversations.start(model="m", mode=WRONG)),
        ("cause: needs to be 'user_request', 'retention' or 'legal'",
         lambda chat: chat.conversations.erase_conversation("c", by=OPERATOR, cause=WRONG)),
        ("turn: an int is needed, not str", lambda chat: chat.edit(WRONG, "Hi.")),
        ("turn: an int is needed, not str", lambda chat: chat.erase(WRONG)),
    ],
)  # fmt: skip
def test_what_an_argument_needs_to_be_is_said_in_plain_words(
    chats: Conversations, said: str, act: Callable[[Chat], object]
) -> None:
    """On one line, without the class of a command that the caller never sees, and without what was passed."""
    chat = chats.start(conversation="c", model="m")
    chat.user_turn("Hello.")
    chat.assistant_turn("Good morning.")
    before = chats.store.head()
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        act(chat)
    assert chats.store.head() == before


def test_a_command_id_that_was_used_is_named_as_it_was_sent(chats: Conversations) -> None:
    """By the adapter too, which makes others of it."""
    import anthropic

    chat = chats.start(model="m", command_id="k1")
    with pytest.raises(CommandIdReused, match=r"of this id .length 2. was used"):
        chat.leave(command_id="k1")
    with loopback(["Hello.", "Good morning."]) as api:
        claude = Claude(anthropic.Anthropic(base_url=api.url, api_key="x"), max_tokens=64, assessor=lambda case: None)
        claude.send(chat, "Hello.", command_id="k2")
        with pytest.raises(CommandIdReused, match=r"of this id .length 2. was used for other words"):
            claude.send(chat, "Goodbye.", command_id="k2")
        claude.edit(chat, 2, "Good morning.", command_id="k3")
        with pytest.raises(CommandIdReused, match=r"of this id .length 2. was used for other words"):
            claude.edit(chat, 2, "Good night.", command_id="k3")


@pytest.mark.parametrize("law", [9, 0, "2", True])
def test_an_edition_that_this_program_does_not_know_is_refused_by_name(chats: Conversations, law: Any) -> None:
    """Where a conversation starts and where its policy changes. An earlier one is for the law to refuse."""
    chat = chats.start(model="m", conversation="c")
    said = "^edition: this program knows the editions 1, 2 of the law, and not the one that was passed; name"
    with pytest.raises(ValueError, match=said):
        chats.start(model="m", edition=law)
    with pytest.raises(ValueError, match=said):
        chat.change_policy(Policy.default(), edition=law, by=OPERATOR)
    command = StartConversation(
        id="x", by=chat.user, conversation="x", account=None, policy=Policy.default(), model="m", law=9
    )
    with pytest.raises(ValueError, match="known-edition: edition 9 is not one of 1, 2"):
        chats.service.begin(command)
    refused = chat.change_policy(Policy.default(), edition=1, by=OPERATOR)
    assert str(refused).endswith("edition 1 is earlier than 2, which is in force: name that, or none")
    assert chats.store.head() == 1


class Liar(str):
    """Text of a class of its own, which says what it likes of itself."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1

    def __str__(self) -> str:
        return "x"

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"x"


def test_a_text_of_another_class_is_taken_for_what_it_holds(chats: Conversations) -> None:
    """Two people do not share a pseudonym, and nothing is longer than it may be."""
    first, second = (chats.pseudonym(Liar(f"{name}@example.org")) for name in ("first", "second"))
    assert first != second
    assert [chats.person_of(account) for account in (first, second)] == ["first@example.org", "second@example.org"]
    chat = chats.start(model="m", account=Liar("a-1"))
    assert chat.state.account == "a-1"
    assert type(chat.state.account) is str
    with pytest.raises(ValueError, match="title: 501 characters"):
        chat.describe(title=Liar(501 * "x"))
    with pytest.raises(ValueError, match="person: nobody was named"):
        chats.pseudonym(Liar(""))
    chat.user_turn(Liar("Hello."))
    chat.assistant_turn(Liar("Good morning."))
    assert [turn.text for turn in chat.transcript().turns] == ["Hello.", "Good morning."]
    with pytest.raises(ValueError, match="1,048,577 bytes"):
        chat.user_turn(Liar((2**20 + 1) * "x"))
    status: Any = Liar("active")
    assert chats.list(status=status).rows == chats.list(status="active").rows


@pytest.mark.parametrize("words", ["I want to die", 300 * "x", "", b"kid", float("nan"), 10**400, "\ud800"])
def test_what_is_passed_for_a_branch_and_is_no_id_is_not_repeated(chats: Conversations, words: Any) -> None:
    for look in (chats.chat, chats.path, chats.state, chats.tree):
        with pytest.raises(UnknownBranch, match=r"^no branch of a malformed id in the store$"):
            look(words)


@pytest.mark.parametrize("wrong", ["I want to die", b"kid", float("nan"), True, [1], 10**400])
def test_pages_that_cannot_be_are_refused_without_what_was_passed(chats: Conversations, wrong: Any) -> None:
    asked: list[Callable[[], object]] = [
        lambda: chats.list(limit=wrong),
        lambda: chats.list(after=wrong),
        lambda: chats.list(status=wrong),
        lambda: chats.holds(limit=wrong),
        lambda: chats.holds(after=wrong),
        lambda: chats.page(wrong),
        lambda: chats.page("active", limit=wrong),
        lambda: chats.page("active", after=wrong),
    ]
    for ask in asked:
        with pytest.raises(ValueError, match=r"limit|after|status|list") as refused:
            ask()
        assert str(wrong) not in str(refused.value)
        assert len(str(refused.value)) < 200


def test_a_truth_value_is_no_version(chats: Conversations) -> None:
    chat = chats.start(model="m")
    with pytest.raises(ValueError, match="turn: an int is needed, not bool"):
        chat.edit(True, "Hi.")
