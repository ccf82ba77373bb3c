"""Where a conversation went several ways: arrows between them come from the log alone, however it was forked."""

from lastresort import Chat, Conversations
from lastresort.projections.branches import Crossing, siblings

from .service_kit import chat, chats, done, ended, talk

__all__ = ["chat", "chats"]


def crossings(chat: Chat) -> tuple[Crossing, ...]:
    return siblings(chat.conversations.tree_log(chat.branch), chat.branch)


def shown(chat: Chat) -> list[tuple[int, list[str], int | None]]:
    return [(one.at, [way.branch for way in one.ways], one.taken) for one in crossings(chat)]


def test_a_conversation_that_went_one_way_has_no_crossing(chat: Chat) -> None:
    talk(chat, "one", "1")
    assert shown(chat) == []


def test_an_edit_of_an_edit_is_a_third_way_at_the_same_place(chat: Chat) -> None:
    talk(chat, "one", "1", "two", "2")
    second = done(chat.edit(4, "zwei", child="second"))
    third = done(second.edit(5, "deux", child="third"))
    for taken, one in enumerate((chat, second, third)):
        assert shown(one) == [(3, ["root", "second", "third"], taken)]
    assert [way.turn for way in crossings(chat)[0].ways] == [4, 5, 6]


def test_a_fork_in_what_a_branch_inherited_is_where_it_was_inherited_from(chat: Chat) -> None:
    talk(chat, "one", "1", "two", "2")
    second = done(chat.edit(4, "zwei", child="second"))
    other = done(second.edit(2, "eins", child="other"))
    assert shown(second) == [(1, ["root", "other"], 0), (3, ["root", "second"], 1)]
    assert shown(chat) == [(1, ["root", "other"], 0), (3, ["root", "second"], 0)]
    assert shown(other) == [(1, ["root", "other"], 1)]


def test_answers_that_were_given_again(chat: Chat) -> None:
    """A retry is a way before anything is said on it, and both kinds may be along one path."""
    talk(chat, "one", "1", "two", "2")
    again = done(chat.retry(3, child="again"))
    (found,) = crossings(again)
    assert [(way.branch, way.turn, way.cause) for way in found.ways] == [("root", 3, None), ("again", None, "retry")]
    assert (found.at, found.taken) == (2, 1)
    talk(again, "unused")  # the user speaks first
    edited = done(again.edit(4, "zwei", child="edited"))
    assert shown(edited)[0] == (2, ["root", "again", "edited"], 2)


def test_a_way_that_ended_says_so(chat: Chat) -> None:
    talk(chat, "one", "1")
    ended(done(chat.edit(2, "eins", child="other")))
    assert [way.ended for way in crossings(chat)[0].ways] == [False, True]


def test_a_path_that_stops_before_all_of_them(chats: Conversations, chat: Chat) -> None:
    """As it stood before; and a branch that the tree has not."""
    talk(chat, "one", "1")
    done(chat.retry(3, child="first"))
    earlier = [one for one in chats.tree_log("root") if one.branch != "root" or one.version <= 2]
    assert [one.taken for one in siblings(earlier, "root")] == [0]
    assert siblings(earlier, "nobody") == ()
