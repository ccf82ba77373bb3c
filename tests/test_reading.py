"""The read side: which branches a tree has is asked once, and believed of their own events alone."""

from collections.abc import Sequence
from typing import Any

import pytest

from lastresort import Chat, Conversations
from lastresort.application.outcomes import UnknownBranch
from lastresort.application.ports import EventStore, Head
from lastresort.application.reading import state_of
from lastresort.domain.commands import EraseContents
from lastresort.domain.events import content_of
from lastresort.domain.values import ErasureCause

from .narrow import present
from .service_kit import another, chat, chats, done, talk, tree

__all__ = ["chat", "chats", "tree"]

BRANCHES = {"root", "inner", "leaf", "other"}


class Counting:
    """A real store that counts how often it is asked for a branch and for a tree."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, tree: str, branch: str, **part: Any) -> Any:
        self.asked.append(branch)
        return self._store.read(tree, branch, **part)

    def heads(self, tree: str) -> Sequence[Head]:
        self.asked.append("heads")
        return self._store.heads(tree)


def test_a_tree_whose_states_are_at_hand_is_one_question(chats: Conversations, tree: dict[str, Chat]) -> None:
    """What another process wrote is read, and no more. A risk is raised on every branch without a question."""
    assert chats.tree("leaf").keys() == BRANCHES
    store = Counting(chats.store)
    chats.service.ports.store = store
    done(tree["leaf"].raise_risk(risk="risk"))
    assert store.asked == []
    done(another(chats).chat("inner").user_turn("and now?"))
    store.asked.clear()
    states = chats.tree("other")
    assert store.asked == ["heads", "inner"]
    assert states == {branch: chats.state(branch) for branch in BRANCHES}


def test_a_risk_is_raised_on_a_branch_that_another_process_opened(chats: Conversations, tree: dict[str, Chat]) -> None:
    """What is at hand lacks it; its parent has gone on, so the append conflicts, and all is looked at again."""
    chats.tree("root")
    store = Counting(chats.store)
    chats.service.ports.store = store
    done(another(chats).chat("other").edit(2, "from elsewhere", child="new"))
    done(tree["leaf"].raise_risk(risk="risk"))
    assert "heads" in store.asked
    assert {branch for branch, state in another(chats).tree("root").items() if state.risks} == {*BRANCHES, "new"}


def test_words_are_erased_that_were_said_on_a_branch_that_another_process_opened(
    chats: Conversations, tree: dict[str, Chat]
) -> None:
    """Where they stand is looked up on the tree as it is now."""
    chats.tree("root")
    new = done(another(chats).chat("other").edit(2, "from elsewhere", child="new"))
    digest = present(content_of(new.path[-1].event))
    command = EraseContents(id="erase", by=new.user, contents=(digest,), cause=ErasureCause.USER_REQUEST)
    assert done(chats.service.execute("leaf", command)).events
    assert digest not in chats.words(chats.path("new"))


def test_a_branch_that_the_store_has_not_listed_is_of_the_tree(chats: Conversations, tree: dict[str, Chat]) -> None:
    """A list can be damaged, and a risk has to be raised everywhere all the same."""

    class Forgetful(Counting):
        def heads(self, tree: str) -> Sequence[Head]:
            return self._store.heads(tree)[:1]

    done(another(chats, store=Forgetful(chats.store)).chat("root").raise_risk(risk="risk"))
    assert all(state.risks for state in another(chats).tree("root").values())


def test_a_state_without_a_branch(chats: Conversations, chat: Chat) -> None:
    talk(chat, "hello")
    assert state_of(chats.store, None, "root", "root") == chats.state("root")
    with pytest.raises(UnknownBranch):
        state_of(chats.store, None, "root", "nowhere")


def test_conversations_without_a_directory_say_so(chats: Conversations, chat: Chat) -> None:
    without = another(chats, directory=None)
    for ask in (without.list, without.branch_rows):
        with pytest.raises(ValueError, match="opened without a directory"):
            ask()
