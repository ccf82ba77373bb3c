"""How long words and policies may be, which commands are taken, and what is said of an id of somebody else's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lastresort import CommandIdReused, Conversations, Policy, Receipt
from lastresort.domain import commands
from lastresort.domain.values import Ground, Messages, Risk

from .stores import USER, done, opened, started


def test_words_have_a_limit() -> None:
    """Of bytes, whoever speaks and wherever; what is refused is not in the log."""
    with opened("memory:", max_words=10) as chats:
        chat = started(chats, "c")
        done(chat.user_turn("x" * 10))
        for words in ("x" * 11, "\N{SNOWMAN}" * 4):
            for act in (
                chat.user_turn,
                chat.assistant_turn,
                lambda said: chat.edit(2, said),
                lambda said: chat.feedback(None, said),
            ):
                with pytest.raises(ValueError, match=r"^words: 1\d bytes; a turn may have 10\. `max_words`"):
                    act(words)
        assert [one.kind for one in chat.path] == ["ConversationStarted", "UserTurnTaken"]
        blocks = Messages(
            '{"messages": [{"role": "user", "content": [{"type": "text", "text": "' + "x" * 200 + '"}]}]}'
        )
        done(chat.user_turn(blocks))
        with pytest.raises(ValueError, match="a turn may have 320"):
            chat.user_turn(Messages(blocks + " " * 100))


def test_the_usual_limit_is_a_megabyte() -> None:
    with opened("memory:") as chats:
        chat = started(chats, "c")
        done(chat.user_turn("x" * 2**20))
        with pytest.raises(ValueError, match="1,048,577 bytes; a turn may have 1,048,576"):
            chat.user_turn("x" * (2**20 + 1))


@pytest.mark.parametrize("field", ["categories", "eligible_models", "may_clear_risk"])
def test_a_list_of_a_policy_has_a_limit(field: str) -> None:
    """It stands in every log that begins with it."""
    names = tuple(f"n{number}" for number in range(100))
    Policy.model_validate({"name": "long", field: names})
    with pytest.raises(ValueError, match="101 are named; name at most 100"):
        Policy.model_validate({"name": "longer", field: (*names, "one-more")})


def test_groups_of_a_policy_have_a_limit() -> None:
    for groups in ({f"g{n}": (f"c{n}",) for n in range(101)}, {"g": tuple(f"c{n}" for n in range(101))}):
        with pytest.raises(ValueError, match="name at most 100 groups"):
            Policy(name="long", groups=groups)


def test_a_conversation_begins_with_no_other_command() -> None:
    """Nor with a class that has what a beginning needs and does something else."""

    class Sneak(commands.EndConversation):
        conversation: str

    with opened("memory:") as chats:
        sneak = Sneak(id="z", by=USER, conversation="c", seen=1, ground=Ground.USER_REQUEST)
        with pytest.raises(ValueError, match="begins with StartConversation, not with Sneak"):
            chats.service.begin(sneak)  # type: ignore[arg-type]  # what is tried
        assert chats.store.head() == 0


def test_a_command_of_a_class_of_somebodys_own_is_not_carried_out() -> None:
    class Sneak(commands.TakeUserTurn):
        pass

    with opened("memory:") as chats:
        started(chats, "c")
        with pytest.raises(ValueError, match=r"a command is one of `domain\.commands`"):
            chats.service.execute("c", Sneak(id="z", by=USER), "Hello.")
        assert chats.store.head() == 1


@pytest.fixture(params=["memory:", "sqlite"])
def chats(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Conversations]:
    with opened("memory:" if request.param == "memory:" else f"sqlite:///{tmp_path}/log.db") as found:
        yield found


def test_an_id_that_somebody_else_used_is_free_in_another_conversation(chats: Conversations) -> None:
    """So that nobody learns that it was used, nor for which words."""
    theirs, mine = started(chats, "theirs"), started(chats, "mine")
    done(theirs.user_turn("secret", command_id="k"))
    assert done(mine.user_turn("other", command_id="k")).events[0].branch == "mine"
    with pytest.raises(CommandIdReused, match=r"of this id .length 1. was used for UserTurnTaken on branch mine"):
        mine.user_turn("secret", command_id="k")
    assert isinstance(mine.judge("productive", risk=Risk.NONE), Receipt)  # type: ignore[arg-type]  # what it takes too
