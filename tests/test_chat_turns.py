"""Foreign trees of any shape become turns that the law takes, and no message is lost without a word."""

import json
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastresort import open_conversations
from lastresort.adapters.chats.shapes import ForeignChat, Message, Speaker, Wrong
from lastresort.adapters.importers.chat_turns import Became, Note, Part, Turn, turns_of

from .chats_kit import bring, only, paths_of, write_json
from .drawing import UNHURRIED, examples

U, A, T, S = Speaker.USER, Speaker.ASSISTANT, Speaker.TOOL, Speaker.SYSTEM


def said(number: int, speaker: Speaker, parent: str | None, id: str = "") -> Message:
    text = ({"type": "text", "text": f"{speaker} {number}"},)
    return Message(id or str(number), parent, speaker, text, number)


def chat_of(*messages: Message, roots_are_edits: bool = True) -> ForeignChat:
    return ForeignChat("test", "c", messages, roots_are_edits=roots_are_edits)


def in_a_row(*speakers: Speaker) -> ForeignChat:
    return chat_of(*(said(nth, one, str(nth - 1) if nth > 1 else None) for nth, one in enumerate(speakers, 1)))


def shape(turns: tuple[Turn, ...]) -> list[tuple[int | None, str, str]]:
    """The turns: which they follow, and the messages in them; and before them, the messages that are kept with them."""
    ids = [("".join(one.id for one in turn.before), "".join(one.id for one in turn.said)) for turn in turns]
    return [(turn.parent, *both) for turn, both in zip(turns, ids, strict=True)]


def became(chat: ForeignChat) -> dict[int, Became]:
    return {note.number: note.became for note in turns_of(chat)[1]}


def one_part(chat: ForeignChat) -> tuple[Turn, ...]:
    ((_, turns),) = turns_of(chat)[0]
    return turns


def test_what_a_model_and_its_tools_say_without_a_user_between_is_one_answer() -> None:
    chat = in_a_row(U, A, T, A, U, A)
    assert shape(one_part(chat)) == [(None, "", "1"), (0, "", "234"), (1, "", "5"), (2, "", "6")]
    assert became(chat) == {3: Became.TOOL_IN_ANSWER, 4: Became.PART_OF_ANSWER}


def test_a_system_midway_is_kept_with_the_turn_that_comes_next() -> None:
    chat = in_a_row(U, S, A, S, U)
    assert shape(one_part(chat)) == [(None, "", "1"), (0, "2", "3"), (1, "4", "5")]
    assert became(chat) == {2: Became.WITH_NEXT, 4: Became.WITH_NEXT}


def test_a_system_within_an_answer_is_kept_with_it() -> None:
    chat = in_a_row(U, A, S, A)
    assert shape(one_part(chat)) == [(None, "", "1"), (0, "", "234")]
    assert became(chat) == {3: Became.WITH_ANSWER, 4: Became.PART_OF_ANSWER}


def test_a_model_that_nobody_asked_is_kept_with_the_first_turn_of_the_user() -> None:
    chat = in_a_row(A, A, U, A)
    assert shape(one_part(chat)) == [(None, "12", "3"), (0, "", "4")]
    assert became(chat) == {1: Became.OPENING, 2: Became.OPENING}


def test_what_nothing_comes_after_is_left_out_and_said() -> None:
    assert became(in_a_row(U, A, S)) == {3: Became.NOTHING_AFTER}
    assert turns_of(in_a_row(A, S))[0] == ()
    assert became(in_a_row(A, S)) == {1: Became.NOTHING_AFTER, 2: Became.NOTHING_AFTER}


def test_what_is_kept_on_one_way_down_is_not_left_out() -> None:
    chat = chat_of(said(1, U, None), said(2, S, "1"), said(3, A, "2"), said(4, S, "2"))
    assert became(chat) == {2: Became.WITH_NEXT, 4: Became.NOTHING_AFTER}


def test_an_answer_that_ends_here_and_goes_on_there_is_two() -> None:
    """They are known by other messages than each other, so that each is known when the file comes again."""
    chat = chat_of(said(1, U, None), said(2, A, "1"), said(3, T, "2"), said(4, A, "3"), said(5, U, "2"))
    turns = one_part(chat)
    assert sorted(shape(turns), key=str) == sorted(
        [(None, "", "1"), (0, "", "2"), (0, "", "234"), (1, "", "5")], key=str
    )
    assert len({turn.key for turn in turns}) == len(turns)
    alone = {turn.key: shape((turn,))[0][2] for turn in one_part(chat_of(*chat.messages[:4]))}
    now = {turn.key: shape((turn,))[0][2] for turn in turns}
    assert alone.items() <= now.items()


def test_first_messages_are_edits_of_one_another_or_each_a_beginning() -> None:
    two = said(1, U, None), said(2, A, "1"), said(3, U, None)
    assert [turn.parent for turn in one_part(chat_of(*two))] == [None, 0, None]
    parts, notes = turns_of(chat_of(*two, roots_are_edits=False))
    assert [part.head for part in parts] == [None, "3"]
    assert notes[0] == (Became.SECOND_BEGINNING, 3)


def test_a_message_whose_parent_is_missing_begins_a_conversation_of_its_own() -> None:
    chat = chat_of(said(1, U, None), said(2, U, "gone"), said(3, A, "2"))
    parts = turns_of(chat)[0]
    assert [(part.head, len(part.turns)) for part in parts] == [(None, 1), ("2", 2)]
    assert became(chat) == {2: Became.ORPHAN}


def test_an_answer_that_follows_nothing_and_that_nothing_follows_is_left_out_and_begins_nothing() -> None:
    """It is told once what became of it."""
    lone = said(2, A, "gone"), said(3, A, None), said(4, A, "4")
    chat = chat_of(said(1, U, None), *lone, roots_are_edits=False)
    assert len(turns_of(chat)[0]) == 1
    assert turns_of(chat)[1] == tuple(Note(Became.NOTHING_AFTER, nth) for nth in (2, 3, 4))


def test_a_circle_is_cut_before_its_first_message() -> None:
    chat = chat_of(said(1, U, "3"), said(2, A, "1"), said(3, U, "2"), said(4, A, "3"), said(5, U, "5"))
    parts = turns_of(chat)[0]
    assert [(part.head, len(part.turns)) for part in parts] == [("1", 4), ("5", 1)]
    assert became(chat) == {1: Became.CIRCLE, 5: Became.CIRCLE}


def test_the_same_message_twice_counts_once_and_two_of_one_id_are_an_error() -> None:
    chat = chat_of(said(1, U, None, "a"), Message("a", None, U, said(1, U, None).blocks, 2))
    assert became(chat) == {2: Became.TWICE}
    with pytest.raises(Wrong, match=r"^message 2: has the id of message 1"):
        turns_of(chat_of(said(1, U, None, "a"), said(2, U, None, "a")))


@st.composite
def forests(draw: st.DrawFn) -> ForeignChat:
    """Messages of any speakers under any parents: circles, missing ones, several beginnings."""
    size = draw(st.integers(1, 12))
    ids = [str(nth) for nth in range(1, size + 1)]
    parents = st.one_of(st.none(), st.sampled_from([*ids, "gone"]))
    below = [draw(st.one_of(parents, st.just(str(nth - 1) if nth > 1 else None))) for nth in range(1, size + 1)]
    messages = [said(nth, draw(st.sampled_from((U, U, A, A, T, S))), below[nth - 1]) for nth in range(1, size + 1)]
    return chat_of(*messages, roots_are_edits=draw(st.booleans()))


def ways(part: Part) -> set[tuple[str, ...]]:
    """The messages on the way to each turn, those that are kept with turns included."""
    found: list[tuple[str, ...]] = []
    for turn in part.turns:
        above = found[turn.parent] if turn.parent is not None else ()
        found.append((*above, *(one.id for one in (*turn.before, *turn.said))))
    return set(found)


@settings(UNHURRIED, max_examples=examples(dev=300, ci=2_000, nightly=20_000))
@given(forests())
def test_no_message_is_lost_and_each_way_down_is_that_of_the_file(chat: ForeignChat) -> None:
    parts, notes = turns_of(chat)
    kept = Counter(one.number for part in parts for turn in part.turns for one in (*turn.before, *turn.said))
    left = {note.number for note in notes if note.became is Became.NOTHING_AFTER}
    assert kept.keys() | left == {one.number for one in chat.messages}
    assert not kept.keys() & left
    folded = {number for number, what in became(chat).items() if what.value[:7] not in ("begins ", "left ou")}
    alone = {one.number for part in parts for turn in part.turns for one in turn.said[:1]}
    assert kept.keys() <= folded | alone
    parent = {one.id: one.parent for one in chat.messages}
    for part in parts:
        assert len({turn.key for turn in part.turns}) == len(part.turns)
        for turn in part.turns:
            above = part.turns[turn.parent].speaker if turn.parent is not None else None
            assert turn.speaker is not A or above is U
            assert (turn.speaker is U) == (turn.said[0].speaker is U)
        for way in ways(part):
            assert all(parent[below] == above for above, below in pairwise(way))


@settings(UNHURRIED, max_examples=examples(dev=25, ci=150, nightly=1_500))
@given(forests())
def test_every_forest_comes_in_under_the_law_and_comes_in_once(
    tmp_path_factory: pytest.TempPathFactory, chat: ForeignChat
) -> None:
    """As an export of ChatGPT: the audit of what came in has no finding, and what was said is on the branches."""
    node = {
        one.id: {
            "id": one.id,
            "parent": one.parent,
            "message": {
                "author": {"role": one.speaker.value},
                "content": {"content_type": "text", "parts": [one.blocks[0]["text"]]},
            },
        }
        for one in chat.messages
    }
    path = write_json(tmp_path_factory.mktemp("chat") / "conversations.json", [{"id": "c", "mapping": node}])
    with open_conversations("memory:") as chats:
        report = only(bring(chats, path))
        words = " ".join(json.dumps(said) for said in paths_of(chats))
        for one in chat.messages:
            assert one.speaker is not U or f"user {one.number}" in words
        assert report.brought.user_turns == sum(one.speaker is U for one in chat.messages)
